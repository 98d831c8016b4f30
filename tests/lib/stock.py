"""stock.py - for tests in python that compare with a real Redis: one on a free
port, without files.

    from stock import free_port, start_redis     (tests/lib is in sys.path)"""
import random
import socket
import subprocess


def free_port():
    """None of those that the kernel gives to connections: what is free now is
    free a moment later."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first = int(file.read().split()[0])
    while True:
        port = random.randrange(10000, max(first, 11000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def start_redis(directory, *options):
    """The process, which has told that it is ready, and its port."""
    for _ in range(5):
        port = free_port()
        process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1",
             "--save", "", "--appendonly", "no", "--databases", "1", "--dir",
             directory, *options], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        for line in process.stdout:
            if "Ready to accept" in line:
                return process, port
        process.wait()
    raise RuntimeError("redis-server does not start")
