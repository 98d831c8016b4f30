"""crash.py - for the suites that kill servers and break disks: a server on a
free port, a client of the Redis protocol, writers whose writes tell afterwards
whether any of them is lost, and the shim between a server and its files.

A transaction of a writer: INCR g, SET w:n N, RPUSH w:l N. Its reply has the
number that g got, so what is there afterwards must be a beginning of one
history: with G = g, every transaction that was answered with a number <= G is
there, none with a greater one, and each list is 1..N (D1, D4).
"""
import json
import mmap
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
KVSQL = os.path.realpath(os.environ.get("KVSQL", "build/kvsql"))
OUT = os.path.realpath(os.environ.get("O", "build"))
SEED = int(os.environ.get("KVSQL_SEED") or random.SystemRandom().getrandbits(32))
PATIENCE = 120  # seconds; how long a loaded machine may take


def number(name, quick):
    """A size of the run, from the environment."""
    return int(os.environ.get(name) or quick)


def wait_for(condition, what):
    """Until it is so; what it gave."""
    deadline = time.monotonic() + PATIENCE
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < deadline, "waited in vain for " + what
        time.sleep(0.002)


def wait_count(count, wanted, what, over=lambda: False):
    """Until there are so many, or it is over; on a slow machine one more in each
    PATIENCE is enough."""
    while count() < wanted and not over():
        last = count()
        wait_for(lambda: count() > last or over(), what)


class Stalls(threading.Thread):
    """How long the machine has stood still for us at most, by a clock of short
    sleeps: what is promised within a second comes so much later."""
    STEP_NS = 10_000_000

    def __init__(self):
        super().__init__(daemon=True)
        self.over, self.most_ns = threading.Event(), 0

    def run(self):
        last, over = time.monotonic_ns(), False
        while not over:
            over = self.over.wait(self.STEP_NS / 1e9)
            now = time.monotonic_ns()
            self.most_ns = max(self.most_ns, now - last - self.STEP_NS)
            last = now

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


class Refused(Exception):
    """An error reply."""


class Client:
    """One connection of the Redis protocol."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, *commands):
        out = []
        for words in commands:
            out.append(b"*%d\r\n" % len(words))
            for word in words:
                word = word if isinstance(word, bytes) else str(word).encode()
                out.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.socket.sendall(b"".join(out))

    def reply(self):
        """A reply; an error is an object of class Refused."""
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server is gone")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            return Refused(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            data = self.file.read(size + 2)
            if len(data) != size + 2:
                raise ConnectionError("the server is gone")
            return data[:-2]
        if kind == b"*":
            return None if int(rest) < 0 else [self.reply() for _ in range(int(rest))]
        return rest.decode()

    def ask(self, *words):
        self.send(words)
        got = self.reply()
        if isinstance(got, Refused):
            raise got
        return got

    def read(self, *words):
        """What a read gives. One that has seen what is undone at that moment gets
        the error of the write (D3); the next one does not."""
        for _ in range(5):
            try:
                return self.ask(*words)
            except Refused as why:
                assert "undone" in str(why), "%s: %s" % (words, why)
        raise AssertionError("%s: no read is answered" % (words,))

    def transaction(self, *commands):
        """The replies of MULTI .. EXEC; Refused when it was not done."""
        self.send(("MULTI",), *commands, ("EXEC",))
        replies = [self.reply() for _ in range(len(commands) + 2)]
        for got in replies:
            if isinstance(got, Refused):
                raise got
        return replies[-1]


class Server:
    """kvsql serve; `env` adds variables, those of the shim for example; `program`
    is another than the one that is tested."""

    def __init__(self, directory, *options, env=None, program=None):
        self.directory = directory
        self.lines = []
        self.process = subprocess.Popen(
            [program or KVSQL, "serve", "--dir", directory, "--http-port", "0", "--port", "0",
             "--save", "", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, **(env or {})))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.port, self.http, ready = None, None, False
        for line in self.process.stdout:
            if "redis-cli -p " in line:
                self.port = int(line.split("redis-cli -p ")[1].split()[0])
            if "/get/" in line and "127.0.0.1:" in line:
                self.http = int(line.split("127.0.0.1:")[1].split("/")[0])
            if line.startswith("ready in"):
                ready = True
                break
        if not ready:
            self.process.wait()
            self.reader.join()
            self.process.stdout.close()
            raise NoStart(self.process.returncode, "".join(self.lines))

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
        self.process.stderr.close()

    def client(self):
        return Client(self.port)

    def alive(self):
        return self.process.poll() is None

    def _gone(self, signal_):
        self.process.send_signal(signal_)
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.reader.join()
        return code

    def kill(self):
        return self._gone(signal.SIGKILL)

    def stop(self):
        code = self._gone(signal.SIGTERM)
        assert code == 0, "TERM gave exit code %d" % code

    def snapshot(self):
        self.process.send_signal(signal.SIGUSR1)

    def said(self, event):
        return sum(event in line for line in self.lines)

    def snapshot_taken(self):
        """One more snapshot is there. Asked again when the one before it has not
        quite ended."""
        done, refused = self.said("snapshot.done"), self.said("snapshot.refused")
        self.snapshot()

        def taken():
            nonlocal refused
            if self.said("snapshot.refused") > refused:
                refused += 1
                self.snapshot()
            return self.said("snapshot.done") > done
        wait_for(taken, "a snapshot")


class NoStart(Exception):
    """A server that did not start: its exit code and what it said."""

    def __init__(self, code, text):
        super().__init__("exit %s: %s" % (code, text[-2000:]))
        self.code, self.text = code, text


class Writer(threading.Thread):
    """Transaction after transaction until `until` says so or the server is gone.
    An error reply is counted, and what was asked may be there or not (D6)."""

    def __init__(self, name, port, first, clock=lambda: 0, until=lambda: False,
                 pad=0):
        super().__init__(daemon=True)
        self.pad = "x" * pad
        self.name_, self.port, self.next = name, port, first
        self.acknowledged = []  # (n, g, what the clock showed then)
        self.clock, self.until = clock, until
        self.sent, self.refused, self.problem = first - 1, 0, None

    def run(self):
        try:
            client = Client(self.port)
        except OSError:
            return
        try:
            while not self.until():
                n = self.next
                self.sent = max(self.sent, n)
                try:
                    replies = client.transaction(
                        ("INCR", "g"), ("SET", self.name_ + ":n", n),
                        ("RPUSH", self.name_ + ":l", n),
                        *((("SET", self.name_ + ":pad", self.pad),)
                          if self.pad else ()))
                except Refused as why:
                    self.refused += 1
                    if "MISCONF" not in str(why) and "EXECABORT" not in str(why):
                        self.problem = str(why)
                        return
                    time.sleep(0.005)
                    continue
                if replies[1] != "OK" or replies[2] != n:
                    self.problem = "%s: %s for %d" % (self.name_, replies, n)
                    return
                self.acknowledged.append((n, replies[0], self.clock()))
                self.next = n + 1
        except (OSError, ValueError):
            pass  # the server is gone
        finally:
            client.close()


def difference(numbers):
    """Where a list that should be 1, 2, 3 .. goes wrong."""
    for i, got in enumerate(numbers):
        if got != i + 1:
            return "%d long, at %d: %s" % (len(numbers), i, numbers[max(0, i - 2):i + 3])
    return "1..%d" % len(numbers)


class History:
    """Writers over several lives of a server, and what must be there."""

    def __init__(self, count):
        self.last = {"w%d" % i: 0 for i in range(count)}
        self.total = 0
        self.writers = []
        self.stalled_ns = 0  # what Stalls has seen meanwhile

    def start(self, port, clock=lambda: 0, until=lambda: False, pad=0):
        self.writers = [Writer(name, port, last + 1, clock, until, pad)
                        for name, last in self.last.items()]
        for writer in self.writers:
            writer.start()

    def count(self):
        return sum(len(writer.acknowledged) for writer in self.writers)

    def refusals(self):
        return sum(writer.refused for writer in self.writers)

    def join(self):
        for writer in self.writers:
            writer.join(PATIENCE)
            assert not writer.is_alive(), "a writer hangs"
            assert writer.problem is None, writer.problem

    def judge(self, state, must=lambda moment: True):
        """`state` is read by read_state; an acknowledged transaction must be
        there when must(moment of its reply). Gives (lost that may be, g)."""
        got, lost = state.get("g", 0), 0
        total = 0
        for writer in self.writers:
            here = state.get(writer.name_ + ":n", 0)
            assert state.get(writer.name_ + ":l", []) == list(range(1, here + 1)), \
                "%s: the list is not 1..%d but %s (D4)" % (
                    writer.name_, here, difference(state.get(writer.name_ + ":l", [])))
            assert here <= writer.sent, "%s: %d was never sent" % (writer.name_, here)
            total += here
            for n, g, moment in writer.acknowledged:
                assert (n <= here) == (g <= got), \
                    "%s: %d had number %d, %d and %d are there: a hole (D1)" \
                    % (writer.name_, n, g, here, got)
                if n > here:
                    lost += 1
                    assert not must(moment), \
                        "%s: %d was acknowledged and is lost" % (writer.name_, n)
        assert total == got, "%d transactions, g is %d (D4)" % (total, got)
        return lost, got

    def keep(self, state):
        """Go on from what is there."""
        self.total += self.count()
        for name in self.last:
            self.last[name] = state.get(name + ":n", 0)


def state_of_dump(text):
    """What kvsql export printed, as read_state gives it."""
    state = {}
    for line in text.splitlines():
        row = json.loads(line)
        if row["type"] == "list":  # a long one comes in several rows
            state.setdefault(row["key"], []).extend(int(v) for v in row["value"])
        elif not row["key"].endswith(":pad"):
            state[row["key"]] = int(row["value"])
    return state


def read_state(client, names):
    state = {}
    for name in names:
        got = client.ask("GET", name + ":n")
        if got is not None:
            state[name + ":n"] = int(got)
            state[name + ":l"] = [int(v) for v in
                                  client.ask("LRANGE", name + ":l", 0, -1)]
    got = client.ask("GET", "g")
    if got is not None:
        state["g"] = int(got)
    return state


def kvsql(*words, timeout=PATIENCE):
    return subprocess.run([KVSQL, *words], capture_output=True, text=True,
                          timeout=timeout)


# ---- the shim ---------------------------------------------------------------------

KINDS = ["write", "fsync", "fdatasync", "open", "rename", "truncate", "allocate",
         "unlink", "mkdir", "malloc"]
SHORT, LIE, DIE = 9999, 9998, 9997


def shim_build():
    """The library, made when it is not there; None when that cannot be."""
    target = os.path.join(OUT, "tests", "shim.so")
    source = os.path.join(ROOT, "tests", "crash", "shim.c")
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        mine = "%s.%d" % (target, os.getpid())
        made = subprocess.run(
            [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall",
             "-Wextra", "-Werror", "-shared", "-fPIC", source, "-o", mine, "-ldl"],
            capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        os.rename(mine, target)
    return target


class Shim:
    """Between the servers started with `env` and the files of `directory`."""

    def __init__(self, work, directory, log=None):
        path = os.path.join(work, "shim.ctl")
        with open(path, "wb") as file:
            file.write(bytes(64 * 8))
        self.file = open(path, "r+b")
        self.words = memoryview(mmap.mmap(self.file.fileno(), 64 * 8)).cast("Q")
        self.env = {"LD_PRELOAD": shim_build(), "KVSQL_SHIM_CTL": path,
                    "KVSQL_SHIM_DIR": os.path.realpath(directory)}
        if log is not None:
            self.env["KVSQL_SHIM_LOG"] = log

    def arm(self, kinds, n, error, persistent):
        self.words[0] = 0
        self.words[4] = 0
        self.words[1], self.words[2], self.words[3] = n, error, int(persistent)
        self.words[0] = sum(1 << KINDS.index(kind) for kind in kinds)

    def disarm(self):
        self.words[0] = 0
        return self.words[4]  # how many have failed

    def clock(self, seconds):
        """The wall clock is off by this much from now on."""
        self.words[6] = seconds * 1000 & (1 << 64) - 1

    def slow(self, us):
        """Each write and each sync takes so much longer from now on."""
        self.words[7] = us

    def fired(self):
        return self.words[4]

    def records(self):
        return self.words[5]

    def calls(self, kind):
        return self.words[8 + KINDS.index(kind)]


class Disk:
    """The watched directory from the log of the shim, record by record, and
    what may be left of it when the power goes then: what was synced, and of
    what was not all, nothing, a beginning, or any sectors and names."""

    SECTOR = 512
    HEAD = struct.Struct("<QQIIQQ")

    class File:
        def __init__(self):
            self.synced, self.now = b"", bytearray()
            self.changes = []  # (offset, bytes) or (size, None)

    def __init__(self, log):
        self.log, self.at, self.count, self.ns = log, 0, 0, 0
        self.names, self.lasting = {}, {}  # path -> File (None: a directory)
        self.pending = []                  # names since the directory was synced
        self.open, self.syncing = {}, {}

    def _rename(self, changes):
        self.names.update({k: v for k, v in changes if v is not False})
        for path, file in changes:
            if file is False:
                self.names.pop(path, None)
        self.pending.append(changes)

    def _bytes(self, file, offset, data):
        if len(file.now) < offset:
            file.now.extend(bytes(offset - len(file.now)))
        file.now[offset:offset + len(data)] = data
        file.changes.append((offset, data))

    def step(self):
        """Apply one record; False at the end of the log."""
        if self.at + self.HEAD.size > len(self.log):
            return False
        size, self.ns, kind, fd, a, _ = self.HEAD.unpack_from(self.log, self.at)
        body = self.log[self.at + self.HEAD.size:self.at + size]
        self.at += size
        self.count += 1
        if kind in (0, 1, 6, 7, 8, 9):
            one, two = body.decode().split("\n")
        if kind == 0:
            self.open[fd] = self.names[one]
        elif kind == 1:
            self.open[fd] = self.File()
            self._rename([(one, self.open[fd])])
        elif kind == 2:
            self._bytes(self.open[fd], a, body)
        elif kind == 3:
            file = self.open[fd]
            del file.now[a:]
            file.now.extend(bytes(a - len(file.now)))
            file.changes.append((a, None))
        elif kind == 4:
            file = self.open[fd]
            self.syncing[a] = (file, list(self.pending), None) \
                if isinstance(file, str) else \
                (file, bytes(file.now), file.changes[-1] if file.changes else None)
        elif kind == 5:
            self._synced(*self.syncing.pop(a))
        elif kind == 6:
            self._rename([(one, False), (two, self.names[one])])
        elif kind == 7:
            self._rename([(one, False)])
        elif kind == 8:
            self.open[fd] = one  # a directory: its path
        elif kind == 9:
            self._rename([(one, None)])
        return True

    def _synced(self, file, what, last):
        if isinstance(file, str):  # a directory: its names
            left = []
            for changes in self.pending:
                if any(changes is seen for seen in what) and \
                        any(os.path.dirname(c[0]) == file for c in changes):
                    self._last(self.lasting, changes)
                else:
                    left.append(changes)
            self.pending = left
        elif last is not None and any(c is last for c in file.changes):
            file.synced = what
            while file.changes.pop(0) is not last:
                pass

    @staticmethod
    def _last(names, changes):
        for path, file in changes:
            if file is False:
                names.pop(path, None)
            else:
                names[path] = file

    def _survive(self, file, rng, mode):
        data = bytearray(file.synced)
        changes = file.changes
        if mode == "beginning":
            changes = changes[:rng.randrange(len(changes) + 1)]
        for offset, new in changes if mode != "nothing" else []:
            if new is None:
                if mode != "any" or rng.random() < 0.5:
                    del data[offset:]
                    data.extend(bytes(offset - len(data)))
                continue
            for at in range(offset - offset % self.SECTOR, offset + len(new), self.SECTOR):
                low, high = max(at, offset), min(at + self.SECTOR, offset + len(new))
                if mode != "any" or rng.random() < 0.5:
                    if len(data) < low:
                        data.extend(bytes(low - len(data)))
                    data[low:high] = new[low - offset:high - offset]
        return data

    def leave(self, target, rng):
        """Make `target` what the power cut has left."""
        mode = rng.choice(("all", "nothing", "beginning", "any", "any"))
        names = dict(self.lasting)
        pending = self.pending
        if mode == "beginning":
            pending = pending[:rng.randrange(len(pending) + 1)]
        for changes in pending if mode != "nothing" else []:
            if mode != "any" or rng.random() < 0.5:
                self._last(names, changes)
        os.mkdir(target)
        for path, file in sorted(names.items()):
            where = os.path.join(target, path)
            if file is None:
                os.makedirs(where, exist_ok=True)
                continue
            if not os.path.isdir(os.path.dirname(where)):
                continue  # its directory did not last
            with open(where, "wb") as out:
                out.write(self._survive(file, rng, mode))
        return mode


def alone(name, path):
    """This program again in a mount namespace of its own, or True when it is
    there; False, with a SKIP, where that is not allowed."""
    if os.environ.get("KVSQL_ALONE"):
        return True
    user = [] if os.geteuid() == 0 else ["-r"]
    probe = ["unshare", *user, "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    if shutil.which("unshare") is None or \
            subprocess.run(probe, capture_output=True).returncode != 0:
        print("SKIP %s: nothing can be mounted here" % name)
        return False
    os.environ["KVSQL_ALONE"] = "1"
    os.execvp("unshare", ["unshare", *user, "-m", sys.executable,
                          os.path.realpath(path)])


def run_suite(name, main, shim, memory):
    """main(work) with a directory of its own, in `memory` where there is a file
    system for that; PASS or FAIL, and the seed."""
    if shim and os.environ.get("SAN"):
        print("SKIP %s: a preloaded library and a sanitizer do not go together" % name)
        return 0
    shm = "/dev/shm" if memory and os.access("/dev/shm", os.W_OK) else None
    work = tempfile.mkdtemp(prefix="kvsql-%s." % name, dir=shm)
    try:
        print("PASS %s: %s" % (name, main(work)))
        return 0
    except (AssertionError, NoStart, subprocess.TimeoutExpired) as problem:
        kept = os.environ.get("KVSQL_KEEP")
        if kept:
            shutil.copytree(work, kept, dirs_exist_ok=True)
        print("FAIL %s: seed %d: %s" % (name, SEED, str(problem).replace("\n", " ")))
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main(name, function, shim=False, memory=False):
    print("seed %d" % SEED)
    sys.exit(run_suite(name, function, shim, memory))
