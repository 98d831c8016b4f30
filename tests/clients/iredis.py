#!/usr/bin/env python3
"""iredis.py - iredis: commands from a pipe, `peek` of each type."""
import os
import subprocess

OPTIONS = ["-h", os.environ["REDIS_HOST"], "-p", os.environ["REDIS_PORT"]]
PASSWORD = os.environ.get("REDIS_PASSWORD", "")
# It keeps a history at home.
ENVIRONMENT = dict(os.environ, HOME=os.environ["REDIS_WORK"], LC_ALL="C.UTF-8")


def step(name):
    print("ok " + name, flush=True)


def iredis(text, *words, password=PASSWORD):
    """What iredis prints for commands from a pipe; it takes none of its
    arguments when its input is no terminal."""
    login = ["-a", password] if password else []
    done = subprocess.run(["iredis", *OPTIONS, "--no-raw", *login, *words],
                          input=text, env=ENVIRONMENT, capture_output=True,
                          text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def has(got, *wanted):
    for words in wanted:
        assert words in got, f"no {words!r} in {got!r}"


def main():
    print("version " + subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "iredis"],
        capture_output=True, text=True, check=False).stdout.split("-")[0])
    has(iredis("flushall\n"), "OK")
    has(iredis("set s text\nget s\nincr s\n"), "OK", "text",
        "value is not an integer or out of range")
    step("commands from a pipe")
    has(iredis("rpush l a b\nhset h name Ann\nsadd t x\nzadd z 1.5 m\n"
               "lrange l 0 -1\nzscore z m\n"), "a\nb\n", "1.5")
    step("commands on each type")
    for key, wanted in (("s", ("key: string", "strlen: 4", '"text"')),
                        ("l", ("key: list", "llen: 2", '2) "b"')),
                        ("h", ("key: hash", "hlen: 1", '"Ann"')),
                        ("t", ("key: set", "cardinality: 1", '"x"')),
                        ("z", ("key: zset", "zcount: 1", "1.5", '"m"'))):
        has(iredis(f"peek {key}\n"), " mem: ", ", ttl: -1", *wanted)
        step("peek of a " + wanted[0][5:])
    at = f":{PASSWORD}@" if PASSWORD else ""
    has(iredis("get s\n", "--url",
               f"redis://{at}{OPTIONS[1]}:{OPTIONS[3]}/0", password=""), "text")
    step("an URL with database 0")
    if PASSWORD:
        has(iredis("get s\n", password="wrong"), "WRONGPASS")
        step("a wrong password")


if __name__ == "__main__":
    main()
