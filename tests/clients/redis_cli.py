#!/usr/bin/env python3
"""redis_cli.py - redis-cli: the prompt on a terminal, pipes, and its modes."""
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

ADDRESS = ["-h", os.environ["REDIS_HOST"], "-p", os.environ["REDIS_PORT"]]
PASSWORD = os.environ.get("REDIS_PASSWORD", "")
if PASSWORD:
    ADDRESS += ["-a", PASSWORD, "--no-auth-warning"]
if os.environ.get("REDIS_RESP") == "3":
    ADDRESS += ["-3"]
PROMPT = f"{os.environ['REDIS_HOST']}:{os.environ['REDIS_PORT']}"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def step(name):
    print("ok " + name, flush=True)


def same(got, wanted):
    assert got == wanted, f"{got!r} instead of {wanted!r}"


def cli(*words, text=None):
    done = subprocess.run(["redis-cli", *ADDRESS, *words], input=text,
                          stdin=subprocess.DEVNULL if text is None else None,
                          capture_output=True, timeout=120, text=True,
                          check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


class Terminal:
    """redis-cli on a terminal of 100 columns, as a person has it."""

    def __init__(self, *words):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
            os.environ.update(TERM="xterm", HOME="/nonexistent")
            os.execvp("redis-cli", ["redis-cli", *ADDRESS, *words])

    def until(self, wanted, last="", seconds=20):
        """What came until there is `wanted` and `last` is at the end."""
        raw, got, end = b"", "", time.monotonic() + seconds
        while wanted not in got or not got.endswith(last):
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], (
                f"no {wanted!r} in {got[-600:]!r}")
            raw += os.read(self.fd, 65536)
            got = ESCAPES.sub("", raw.decode("utf-8", "replace")).rstrip("\r")
        return got

    def type(self, text, wanted):
        os.write(self.fd, text.encode())
        return self.until(wanted)

    def enter(self, text, wanted):
        """A whole line, until the next prompt: what comes before it is lost."""
        os.write(self.fd, text.encode() + b"\r")
        return self.until(wanted, "> ")

    def end(self):
        os.write(self.fd, b"quit\r")
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def a_prompt():
    terminal = Terminal()
    terminal.until(PROMPT + "> ", "> ")
    terminal.enter("set greeting hello", "OK\r\n")
    terminal.enter("get greeting", '"hello"')
    step("the prompt answers")
    terminal.type("getrange ", "key start end")
    terminal.enter("greeting 0 1", '"he"')
    step("what a command takes is shown while one types")
    got = terminal.enter("help getrange", "group: string")
    assert "GETRANGE key start end" in got and "summary: " in got, got
    assert "since: 2.4.0" in got, got
    step("help of a command")
    terminal.enter("help @hash", "HSETNX key field value")
    step("help of a group")
    terminal.type("hgetal\t", "HGETALL")
    terminal.enter(" none", "(empty ")
    step("a name is completed")
    terminal.enter("multi", "(TX)> ")
    terminal.enter("incr counter", "QUEUED")
    terminal.enter("exec", "(integer) 1")
    step("a transaction shows in the prompt")
    terminal.enter("get a b", "(error) ERR wrong number of arguments for "
                               "'get' command")
    same(terminal.end(), 0)
    step("quit")


def pipes():
    same(cli(text="set a 1\nincr a\nget a\n").split(), ["OK", "2", "2"])
    step("commands from a pipe")
    same(cli("-r", "3", "incr", "a").split(), ["3", "4", "5"])
    same(cli("-x", "set", "b", text="with\nlines"), "OK\n")
    same(cli("--no-raw", "get", "b"), '"with\\nlines"\n')
    step("-r, -x, --no-raw")
    stream = "".join(f"SET user:{i} {i}\r\n" for i in range(10000))
    got = cli("--pipe", text=stream)
    assert "errors: 0, replies: 10000" in got, got
    step("--pipe of 10,000 commands")


def scans():
    got = sorted(cli("--scan", "--pattern", "user:12*").split())
    same(got, sorted(f"user:{i}" for i in range(10000)
                     if str(i).startswith("12")))
    step("--scan --pattern")
    cli("zadd", "board", "1", "a", "2", "b", "3", "c")
    cli("rpush", "queue", *map(str, range(300)))
    cli("hset", "record", "name", "Ann", "city", "Oslo")
    cli("sadd", "tags", "x", "y")
    got = cli("--bigkeys")
    for line in ("Sampled 10007 keys in the keyspace", "Biggest   list found",
                 "'\"queue\"' has 300 items", "'\"board\"' has 3 members",
                 "'\"record\"' has 2 fields", "'\"tags\"' has 2 members"):
        assert line in got, (line, got)
    step("--bigkeys")
    got = cli("--memkeys")
    assert re.search(r"""list found '"queue"' has \d+ bytes""", got), got
    step("--memkeys")


def numbers():
    with subprocess.Popen(["redis-cli", *ADDRESS, "--stat", "-i", "0.05"],
                          stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(4)]
        process.terminate()
    assert "keys" in lines[1] and "clients" in lines[1], lines
    assert re.match(r"^10007 +[\d.]+[KM] +\d+ +0 +\d+ \(\+\d+\) +\d+", lines[2]
                    ), lines
    step("--stat")
    got = cli("--latency", "-i", "0.3", "--raw").split()
    assert len(got) == 4 and int(got[3]) > 0, got
    step("--latency")


def shapes():
    got = cli("--json", "hgetall", "record")
    same(json.loads(got), {"name": "Ann", "city": "Oslo"})
    got = cli("--json", "zrange", "board", "0", "-1", "withscores")
    same(json.loads(got), [["a", 1], ["b", 2], ["c", 3]])
    step("--json")
    same(cli("--csv", "lrange", "queue", "0", "2"), '"0","1","2"\n')
    step("--csv")
    resp3 = "-3" in ADDRESS
    got = cli("--no-raw", "hgetall", "record")
    assert re.search(r'^\d# "name" => "Ann"' if resp3 else r'^\d\) "Ann"', got,
                     re.M), got
    got = cli("--no-raw", "zscore", "board", "b")
    same(got, "(double) 2\n" if resp3 else '"2"\n')
    step("maps and doubles, with -3")


def main():
    version = subprocess.run(["redis-cli", "--version"], capture_output=True,
                             text=True, check=True).stdout
    print("version " + version.split()[1])
    cli("flushall")
    a_prompt()
    cli("flushall")
    cli("set", "greeting", "hello")
    pipes()
    scans()
    numbers()
    shapes()
    same(cli("-u", f"redis://{'default:' + PASSWORD + '@' if PASSWORD else ''}"
             f"{PROMPT}/0", "ping"), "PONG\n")
    step("an URL with database 0")
    if PASSWORD:
        address = ADDRESS[:4]
        got = subprocess.run(["redis-cli", *address, "get", "a"], text=True,
                             capture_output=True, timeout=120, check=False)
        assert "NOAUTH Authentication required." in got.stdout + got.stderr
        got = subprocess.run(["redis-cli", *address, "-a", "wrong", "get",
                              "a"], text=True, capture_output=True,
                             timeout=120, check=False)
        assert "WRONGPASS" in got.stdout + got.stderr, got
        step("without the password nothing is told")


if __name__ == "__main__":
    main()
