#!/usr/bin/env python3
"""redis_py.py - redis-py: types, pipelines, optimistic loops, scans, INFO."""
import os
import re
import subprocess
import sys
import threading

import redis

OPTIONS = {"host": os.environ["REDIS_HOST"],
           "port": int(os.environ["REDIS_PORT"]),
           "password": os.environ.get("REDIS_PASSWORD") or None}


def step(name):
    print("ok " + name, flush=True)


def same(got, wanted):
    assert got == wanted, f"{got!r} instead of {wanted!r}"


def raises(kind, call, words=""):
    try:
        call()
    except kind as error:
        assert words in str(error), error
        return
    raise AssertionError(f"no {kind.__name__}")


def strings(r):
    binary = bytes(range(256))
    same(r.set("s", binary, ex=100), True)
    same(r.get("s"), binary)
    assert 0 < r.ttl("s") <= 100
    same(r.set("s", "new", nx=True), None)
    same(r.set("s", "new", keepttl=True, get=True), binary)
    same(r.mset({"m1": 1, "m2": 2.5}), True)
    same(r.mget("m1", "m2", "none"), [b"1", b"2.5", None])
    same(r.incrbyfloat("m2", 0.25), 2.75)
    same([r.append("s", "er"), r.getrange("s", 0, 2), r.strlen("s")],
         [5, b"new", 5])
    same([r.setbit("bits", 7, 1), r.bitcount("bits")], [0, 1])
    same(r.bitfield("field").incrby("u8", 0, 255).set("i4", 8, -3).execute(),
         [255, 0])
    same([r.pfadd("hll", "a", "b", "c"), r.pfcount("hll")], [1, 3])
    step("strings, bits, HyperLogLog")


def collections(r):
    same(r.hset("h", mapping={"a": 1, "b": b"\0\xff"}), 2)
    same(r.hgetall("h"), {b"a": b"1", b"b": b"\0\xff"})
    same([r.hincrby("h", "a", 4), r.hmget("h", "a", "none"), r.hexists("h", "b")],
         [5, [b"5", None], True])
    step("hashes")
    same(r.rpush("l", *range(10)), 10)
    same([r.lpop("l"), r.rpop("l", 2), r.lrange("l", 0, 1), r.lpos("l", 4)],
         [b"0", [b"9", b"8"], [b"1", b"2"], 3])
    same([r.linsert("l", "before", "4", "x"), r.lmove("l", "l2"), r.llen("l")],
         [8, b"1", 7])
    step("lists")
    same([r.sadd("set1", "a", "b", "c"), r.sadd("set2", "b", "c", "d")], [3, 3])
    same([r.sinter("set1", "set2"), r.sismember("set1", "a")],
         [{b"b", b"c"}, True])
    same([r.smismember("set1", "a", "z"), r.sunionstore("set3", "set1", "set2")],
         [[1, 0], 4])
    step("sets")
    same(r.zadd("z", {"a": 1.5, "b": 2, "c": float("inf")}), 3)
    same(r.zrange("z", 0, -1, withscores=True),
         [(b"a", 1.5), (b"b", 2.0), (b"c", float("inf"))])
    same([r.zadd("z", {"a": 0.25}, incr=True), r.zscore("z", "none")],
         [1.75, None])
    same([r.zrangebyscore("z", "(1.75", "+inf", start=0, num=1),
          r.zrevrank("z", "a"), r.zpopmin("z")],
         [[b"b"], 2, [(b"a", 1.75)]])
    same(r.zunion({"z": 2}, withscores=True)[0], (b"b", 4.0))
    step("sorted sets")
    same(r.geoadd("geo", (13.361389, 38.115556, "Palermo",
                          15.087269, 37.502669, "Catania")), 2)
    same(r.geodist("geo", "Palermo", "Catania", unit="km"), 166.2742)
    same(r.geosearch("geo", longitude=15, latitude=37, radius=100, unit="km"),
         [b"Catania"])
    step("places")
    raises(redis.ResponseError, lambda: r.lpush("h", 1),
           "WRONGTYPE Operation against a key holding the wrong kind of value")
    step("errors")


def transactions(r):
    with r.pipeline() as pipe:
        same(pipe.set("p", 1).incr("p").hset("ph", "f", "v").get("p").execute(),
             [True, 2, 1, b"2"])
    with r.pipeline(transaction=False) as pipe:
        for i in range(1000):
            pipe.rpush("many", i)
        same(pipe.execute(), list(range(1, 1001)))
    with r.pipeline() as pipe:
        pipe.set("p", "text").incr("p").set("q", 1)
        raises(redis.ResponseError, pipe.execute, "not an integer")
        same(r.get("q"), b"1")
    step("pipelines and MULTI")

    def add():
        with redis.Redis(**OPTIONS) as mine, mine.pipeline() as pipe:
            for _ in range(20):
                while True:
                    try:
                        pipe.watch("shared")
                        now = int(pipe.get("shared") or 0)
                        pipe.multi()
                        pipe.set("shared", now + 1)
                        pipe.execute()
                        break
                    except redis.WatchError:
                        retries.append(1)
    retries = []
    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(r.get("shared"), b"80")
    with r.pipeline() as pipe:
        pipe.watch("shared")
        r.set("shared", "else")
        pipe.multi()
        pipe.set("shared", 1)
        raises(redis.WatchError, pipe.execute)
    same(r.transaction(lambda p: p.multi() or p.incr("n"), "n"), [1])
    step("WATCH and try again")


def messages(r):
    p = r.pubsub()
    p.subscribe("news")
    p.psubscribe(**{"n*": lambda message: heard.append(message["data"])})
    heard, got = [], []
    same(p.ping(), None)
    while len(got) < 3: # two confirmations and the PONG
        got.append(p.get_message(timeout=60)["type"])
    same(got, ["subscribe", "psubscribe", "pong"])
    same([r.publish("news", b"\0\xff"), r.publish("none", 1)], [2, 1])
    same(p.get_message(timeout=60)["data"], b"\0\xff")
    while len(heard) < 2:
        p.get_message(timeout=60)
    same(heard, [b"\0\xff", b"1"])
    same([r.pubsub_channels(), r.pubsub_numsub("news", "x"), r.pubsub_numpat()],
         [[b"news"], [(b"news", 1), (b"x", 0)], 1])
    with r.pipeline() as pipe:
        pipe.publish("news", "in MULTI").set("told", 1)
        same(pipe.execute(), [2, True])
    same(p.get_message(timeout=60)["data"], b"in MULTI")
    p.unsubscribe()
    p.punsubscribe()
    while p.subscribed:
        p.get_message(timeout=60)
    p.close()
    q = r.pubsub(ignore_subscribe_messages=True)
    loud = threading.Event()
    q.subscribe(loud=lambda message: loud.set())
    thread = q.run_in_thread(sleep_time=0.01)
    same(r.publish("loud", "x"), 1)
    assert loud.wait(60)
    thread.stop()
    thread.join()
    step("publish and subscribe, in a thread, too")


def waits(r):
    same([r.blpop("jobs", timeout=1), r.bzpopmin("due", timeout=1)],
         [None, None])
    got = []

    def work():
        with redis.Redis(**OPTIONS) as mine:
            while True:
                queue, job = mine.brpop(["urgent", "jobs"])
                if job == b"end":
                    return
                got.append((queue, job))
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(100):
        r.lpush("urgent" if number % 10 == 0 else "jobs", number)
    for _ in threads:
        r.lpush("jobs", "end")
    for thread in threads:
        thread.join()
    same(sorted(int(job) for _, job in got), list(range(100)))
    same(r.rpush("jobs", "x", "y"), 2)
    same([r.brpoplpush("jobs", "done"), r.blmove("jobs", "done", 1),
          r.lrange("done", 0, -1)], [b"y", b"x", [b"y", b"x"]])
    r.zadd("due", {"a": 1, "b": 2.5})
    same([r.bzpopmax("due", timeout=1), r.bzpopmin(["no", "due"], timeout=1)],
         [(b"due", b"b", 2.5), (b"due", b"a", 1.0)])
    step("pops that wait, in threads")


def keys(r):
    r.mset({f"scan:{i}": i for i in range(500)})
    same(len(set(r.scan_iter("scan:*", count=50))), 500)
    same(set(r.scan_iter(_type="zset")), {b"z"} | {b"geo"})
    same(len(dict(r.hscan_iter("h"))), 2)
    same(set(r.sscan_iter("set1")), {b"a", b"b", b"c"})
    same(dict(r.zscan_iter("z"))[b"b"], 2.0)
    step("scan_iter of keys, hashes, sets, sorted sets")
    same([r.expire("s", 10), r.persist("s"), r.ttl("s"), r.pttl("none")],
         [True, True, -1, -2])
    same([r.rename("s", "s2"), r.exists("s", "s2"), r.type("s2"),
          r.copy("s2", "s3"), r.unlink("s2", "s3")],
         [True, 1, b"string", True, 2])
    same([r.object("encoding", "m1"), r.touch("m1", "none")], [b"int", 1])
    same(r.sort("many", start=0, num=2, desc=True), [b"999", b"998"])
    dump = r.dump("h")
    same([r.restore("h2", 0, dump), r.hgetall("h2") == r.hgetall("h")],
         [b"OK", True])
    step("keys of any type")


def server(r):
    info = r.info()
    same([info["redis_mode"], info["role"], info["db0"]["keys"]],
         ["standalone", "master", r.dbsize()])
    assert tuple(map(int, info["redis_version"].split("."))) >= (6, 2)
    assert info["used_memory"] > 0 and info["uptime_in_seconds"] >= 0
    assert r.info("commandstats")["cmdstat_get"]["calls"] > 0
    step("info()")
    same(r.client_setname("tester"), True)
    same([c["name"] for c in r.client_list() if c["name"]], ["tester"])
    same(r.client_getname(), "tester")
    assert r.client_id() > 0 and r.client_info()["name"] == "tester"
    same(r.config_get("maxmemory-policy"), {"maxmemory-policy": "noeviction"})
    same([r.config_set("slowlog-log-slower-than", 0), r.ping(), r.echo("x")],
         [True, True, b"x"])
    assert r.slowlog_get(10)[0]["duration"] >= 0
    same([r.config_set("slowlog-log-slower-than", 10000), r.slowlog_reset()],
         [True, True])
    assert r.time()[0] > 1500000000 and r.lastsave()
    assert r.memory_usage("many") > 1000 and r.memory_stats()["keys.count"] > 0
    assert r.command_count() > 200 and "get" in r.command()
    same(r.command_getkeys("MSET", "a", 1, "b", 2), ["a", "b"])
    same(r.acl_whoami(), "default")
    step("clients, configuration, slow log, commands")


def documented():
    """The block of docs/CLIENTS.md."""
    with open(os.environ["REDIS_PAGE"], encoding="utf-8") as text:
        block = re.search(r"^```python\n(.*?)^```", text.read(), re.M | re.S)[1]
    block = block.replace('"127.0.0.1"', repr(OPTIONS["host"])).replace(
        "6379", str(OPTIONS["port"]))
    out = subprocess.run([sys.executable, "-c", block], capture_output=True,
                         text=True, timeout=120, check=True).stdout
    same(out, "[['city', 'Oslo'], ['name', 'Ann']]\n")
    step("the example of the documentation")


def main():
    print("version " + redis.__version__)
    r = redis.Redis(**OPTIONS, decode_responses=False)
    r.flushall()
    for part in (strings, collections, transactions, messages, waits, keys, server):
        part(r)
    url = "redis://{}{}:{}/0".format(
        f":{OPTIONS['password']}@" if OPTIONS["password"] else "",
        OPTIONS["host"], OPTIONS["port"])
    text = redis.from_url(url, decode_responses=True, client_name="by-url",
                          health_check_interval=1)
    same(text.hgetall("ph"), {"f": "v"})
    raises(redis.ResponseError,
           redis.Redis(**OPTIONS, db=1).ping, "DB index is out of range")
    step("an URL with database 0, and no other database")
    # What is kvsql's own is left out on a Redis.
    if "kvsql_version" in r.info() and not OPTIONS["password"]:
        documented()
    if OPTIONS["password"]:
        raises(redis.AuthenticationError, redis.Redis(
            OPTIONS["host"], OPTIONS["port"]).ping, "Authentication required")
        raises(redis.ResponseError, redis.Redis(
            OPTIONS["host"], OPTIONS["port"], password="wrong").ping,
               "WRONGPASS")
        same(redis.Redis(**OPTIONS, username="default").ping(), True)
        step("passwords")
    same(r.flushdb(), True)


if __name__ == "__main__":
    main()
