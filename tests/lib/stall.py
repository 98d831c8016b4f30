#!/usr/bin/env python3
"""stall.py - run a test on a machine that stands still now and then: one of its
processes, or all of them, stop for a moment.

    O=build KVSQL=build/kvsql tests/lib/stall.py tests/api/t_http_views

STALL: seconds of a stop at most (1). EVERY: seconds between two at most (2).
KVSQL_SEED as printed. Its exit code is that of the test."""
import os
import random
import signal
import subprocess
import sys
import time

SEED = int(os.environ.get("KVSQL_SEED") or random.SystemRandom().getrandbits(32))
STALL = float(os.environ.get("STALL", "1"))
EVERY = float(os.environ.get("EVERY", "2"))
SHELLS = ("bash", "sh", "timeout", "setarch")  # they only wait


def below(root):
    """The processes that `root` and its own have started."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                head, rest = file.read().rsplit(")", 1)
        except OSError:
            continue  # it has ended
        parents.setdefault(int(rest.split()[1]), []).append(
            (int(name), head.split("(", 1)[1]))
    found, todo = [], [root]
    while todo:
        for pid, name in parents.get(todo.pop(), []):
            todo.append(pid)
            if name not in SHELLS:
                found.append(pid)
    return found


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def main():
    rng, stalls = random.Random(SEED), 0
    test = subprocess.Popen(sys.argv[1:])
    while test.poll() is None:
        time.sleep(rng.random() * EVERY)
        pids = [test.pid] + below(test.pid)
        pids = pids if rng.random() < 0.4 else [rng.choice(pids)]
        if test.poll() is not None:
            break
        send(pids, signal.SIGSTOP)
        time.sleep(rng.random() * STALL)
        send(pids, signal.SIGCONT)
        stalls += 1
    print(f"# {stalls} stops, seed {SEED}", file=sys.stderr)
    return test.returncode


if __name__ == "__main__":
    sys.exit(main())
