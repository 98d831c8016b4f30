"""door.py - for tests in python of the HTTP door: a server on a free port, one
connection to it, and how to judge.

    from door import Server, check, result      (tests/lib is in sys.path)

check() prints PASS and FAIL lines; result() is the exit code."""
import http.client
import os
import re
import subprocess
import time

KVSQL = os.path.realpath(os.environ.get("KVSQL", "build/kvsql"))
JSON = {"Content-Type": "application/json"}
_failed = False


def check(name, got, want):
    global _failed
    if got == want:
        print(f"PASS {name}")
    else:
        _failed = True
        print(f"FAIL {name}: {str(got)[:400]!r}, not {str(want)[:400]!r}")


def run(suites):
    """Each suite by itself: a reply of another shape ends one alone."""
    global _failed
    for suite in suites:
        try:
            suite()
        except Exception as error:
            _failed = True
            print(f"FAIL {suite.__name__}: {type(error).__name__} {error}")


def result():
    return int(_failed)


class Client:
    """One connection; for one thread."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port,
                                                     timeout=120)
        self.heard = time.monotonic()

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and bytes of the answer."""
        if time.monotonic() - self.heard > 20:
            self.connection.close()  # the server does so, after a minute
        try:
            self.connection.request(method, path, body, headers or {})
            response = self.connection.getresponse()
            if response.headers["Content-Type"] == "text/event-stream" and \
                    method != "HEAD":  # it has no end
                self.connection.close()
                return response.status, response.headers, b""
            data = response.read()
            self.heard = time.monotonic()
        except Exception:
            self.connection.close()  # the next one begins anew
            raise
        return response.status, response.headers, data

    def close(self):
        self.connection.close()


class Server(Client):
    """`kvsql serve` of a directory, and a connection to it."""

    def __init__(self, directory, *options):
        self.process = subprocess.Popen(
            [KVSQL, "serve", "--dir", directory, "--http-port", "0", "--port",
             "0", *options],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = self.resp = None
        for line in self.process.stdout:
            found = re.search(r"http://127\.0\.0\.1:(\d+)/get/", line)
            if found:
                self.port = int(found.group(1))
            found = re.search(r"redis-cli -p (\d+)", line)
            if found:
                self.resp = int(found.group(1))
            if line.startswith("ready in"):
                break
        super().__init__(self.port)

    def another(self):
        """One more connection."""
        return Client(self.port)

    def stop(self):
        self.process.terminate()
        return self.process.wait()
