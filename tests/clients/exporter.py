#!/usr/bin/env python3
"""exporter.py - Prometheus's exporter for Redis: it makes at least NAMES names
of metrics (128 of a Redis 7.0), and these say what is so."""
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from stock import free_port  # noqa: E402

NAMES = 110
ADDRESS = (os.environ["REDIS_HOST"], int(os.environ["REDIS_PORT"]))
PASSWORD = os.environ.get("REDIS_PASSWORD", "")
PATIENCE = 120  # seconds


def step(name):
    print("ok " + name, flush=True)


def ask(*lines):
    """Send inline commands; all that comes until the server closes."""
    with socket.create_connection(ADDRESS, PATIENCE) as client:
        login = [f"AUTH {PASSWORD}"] if PASSWORD else []
        client.sendall("".join(line + "\r\n" for line in
                               [*login, *lines, "QUIT"]).encode())
        got = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    assert "-" not in [line[:1] for line in got.split("\r\n")], got


def scrape(process, port):
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as page:
                return page.read().decode()
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the exporter does not answer")


def metrics(*options):
    port = free_port()
    with subprocess.Popen(
            ["prometheus-redis-exporter", *options, "-redis.addr",
             "redis://%s:%d" % ADDRESS, "-web.listen-address",
             f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL) as process:
        try:
            return scrape(process, port)
        finally:
            process.kill()


def has(page, *lines):
    for line in lines:
        assert re.search("^" + line, page, re.M), (
            line, [row for row in page.splitlines()
                   if row.startswith(line.split("{")[0].split(" ")[0])])


def main():
    done = subprocess.run(["prometheus-redis-exporter", "--version"],
                          capture_output=True, text=True, check=False)
    print("version " + re.search(r"(\d+\.\d+\.\d+|\d+\.\d+)",
                                 done.stdout + done.stderr).group(1))
    ask("FLUSHALL", "SLOWLOG RESET", "CONFIG RESETSTAT", "SET a 1",
        "RPUSH list 1 2 3", "HSET h f v")
    login = ["-redis.password", PASSWORD] if PASSWORD else []
    page = metrics(*login, "-check-single-keys", "list,a")
    names = set(re.findall(r"^redis_[a-z0-9_]+", page, re.M))
    assert len(names) >= NAMES, sorted(names)
    has(page, "redis_up 1$")
    step(f"{NAMES} names of metrics or more")
    has(page, r'redis_db_keys\{db="db0"\} 3$',
        r'redis_instance_info\{.*role="master"',
        r'redis_commands_total\{cmd="set"\} 1$', "redis_slowlog_length 0$",
        "redis_memory_used_bytes [1-9]", "redis_connected_clients [1-9]")
    step("what they say of keys, commands, memory and clients")
    has(page, r'redis_key_size\{db="db0",key="list"\} 3$',
        r'redis_key_value\{db="db0",key="a"\} 1$')
    step("single keys")
    if PASSWORD:
        has(metrics("-redis.password", "wrong"), "redis_up 0$")
        step("a wrong password is down")


if __name__ == "__main__":
    main()
