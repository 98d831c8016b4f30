// ioredis.mjs - ioredis: types, pipelines, MULTI, streams of SCAN, coming back
// after its connection was closed.
import Redis from "ioredis";
import {
    assert, eventually, host, limit, password, port, resp, step, url, version,
} from "./common.mjs";

const options = { host, port, password, protocol: resp };
limit(60);
version("ioredis");
const r = new Redis({ ...options, connectionName: "tester" });
await eventually(r, "ready");
await r.flushall();
assert.equal(await r.client("GETNAME"), "tester");
step("ready, under its name");

const bytes = Buffer.from([...Array(256).keys()]);
assert.equal(await r.set("s", bytes, "EX", 100, "NX"), "OK");
assert.deepEqual(await r.getBuffer("s"), bytes);
assert.equal(await r.set("s", "x", "NX"), null);
assert.equal(await r.mset({ a: 1, b: "2" }), "OK");
assert.deepEqual(await r.mget("a", "none", "b"), ["1", null, "2"]);
assert.equal(await r.incrby("a", 9), 10);
assert.equal(await r.incrbyfloat("b", "0.5"), "2.5");
assert.ok((await r.pttl("s")) > 90000);
step("strings");

assert.equal(await r.hset("h", { name: "Ann", age: 7 }), 2);
assert.deepEqual({ ...(await r.hgetall("h")) }, { name: "Ann", age: "7" });
assert.deepEqual(await r.hmget("h", "age", "none"), ["7", null]);
assert.equal(await r.hincrby("h", "age", 1), 8);
assert.equal(await r.rpush("l", "a", "b", "c"), 3);
assert.deepEqual(await r.lrange("l", 0, -1), ["a", "b", "c"]);
assert.equal(await r.lmove("l", "l2", "LEFT", "RIGHT"), "a");
assert.equal(await r.sadd("t", ["x", "y"]), 2);
assert.deepEqual((await r.smembers("t")).sort(), ["x", "y"]);
step("hashes, lists, sets");

assert.equal(await r.zadd("z", 1.5, "a", 2, "b", 1795326698.5, "c"), 3);
assert.equal(Number(await r.zscore("z", "a")), 1.5);
assert.deepEqual(
    (await r.zrange("z", 0, 1, "WITHSCORES")).flat().map(String),
    ["a", "1.5", "b", "2"]);
assert.deepEqual(await r.zrangebyscore("z", "(2", "+inf"), ["c"]);
assert.deepEqual((await r.zpopmin("z")).map(String), ["a", "1.5"]);
step("sorted sets");

const replies = await r.pipeline().set("p", 1).incr("p").lpush("p", "x")
    .get("p").exec();
assert.deepEqual(replies.map(([error, value]) => error ? "error" : value),
    ["OK", 2, "error", "2"]);
assert.match(replies[2][0].message, /^WRONGTYPE Operation against a key/);
assert.deepEqual(await r.multi().incr("p").get("none").exec(),
    [[null, 3], [null, null]]);
const numbers = await Promise.all(
    Array.from({ length: 5000 }, () => r.incr("many")));
assert.equal(numbers.at(-1), 5000);
step("pipelines and MULTI");

const other = new Redis(options);
await r.watch("p");
await other.set("p", "else");
assert.equal(await r.multi().set("p", "mine").exec(), null);
assert.equal(await r.get("p"), "else");
await assert.rejects(r.multi().set("q", 1).call("NOSUCH").exec(),
    /EXECABORT Transaction discarded because of previous errors/);
step("WATCH, and a transaction that is refused");

const subscriber = new Redis(options);
const heard = [];
const allHeard = new Promise((resolve) => {
    subscriber.on("message", (channel, text) => heard.push([channel, text]));
    subscriber.on("pmessage", (pattern, channel, text) => {
        heard.push([pattern, channel, text]);
        if (text === "2") {
            resolve();
        }
    });
});
assert.equal(await subscriber.subscribe("news", "more"), 2);
assert.equal(await subscriber.psubscribe("n*"), 3);
assert.equal(await r.publish("news", "1"), 2);
assert.equal(await r.publish("nothing", "2"), 1);
await allHeard;
assert.deepEqual(heard, [["news", "1"], ["n*", "news", "1"],
    ["n*", "nothing", "2"]]);
assert.deepEqual(await r.pubsub("NUMSUB", "news", "x"), ["news", 1, "x", 0]);
assert.equal(await subscriber.unsubscribe("news", "more"), 1);
assert.equal(await subscriber.punsubscribe("n*"), 0);
assert.equal(await subscriber.get("p"), "else");
subscriber.disconnect();
step("publish and subscribe");

const setting = r.pipeline();
for (let i = 0; i < 500; i++) {
    setting.set(`scan:${i}`, i);
}
await setting.exec();
const found = new Set();
for await (const keys of r.scanStream({ match: "scan:*", count: 100 })) {
    keys.forEach((key) => found.add(key));
}
assert.equal(found.size, 500);
const fields = [];
for await (const pairs of r.hscanStream("h")) {
    fields.push(...pairs);
}
assert.equal(fields.length, 4);
step("scanStream, hscanStream");

const info = await r.info();
assert.match(info, /^redis_mode:standalone\r$/m);
assert.match(info, /^loading:0\r$/m);
const policy = await r.config("GET", "maxmemory-policy");
assert.deepEqual([policy].flat(), ["maxmemory-policy", "noeviction"]);
await assert.rejects(r.call("NOSUCH", "a"),
    /ERR unknown command 'NOSUCH', with args beginning with: 'a'/);
assert.ok((await r.command("COUNT")) > 200);
step("INFO, CONFIG, errors");

const back = eventually(r, "reconnecting");
await other.client("KILL", "ID", await r.client("ID"));
await back;
assert.equal(await r.get("p"), "else");
assert.equal(await r.client("GETNAME"), "tester");
step("coming back after its connection was closed");

const prefixed = new Redis(url(), { keyPrefix: "app:", protocol: resp });
await prefixed.set("a", 1);
assert.equal(await other.get("app:a"), "1");
const first = new Redis({ ...options, db: 1, lazyConnect: true });
const refused = eventually(first, "error");
first.connect().catch(() => {});
assert.match((await refused).message, /DB index is out of range/);
step("an URL with database 0, a prefix; no other database");

if (password) {
    const closed = new Redis({
        host, port, protocol: resp, password: "wrong", lazyConnect: true,
        retryStrategy: null,
    });
    const error = eventually(closed, "error");
    closed.connect().catch(() => {});
    assert.match((await error).message, /WRONGPASS/);
    step("a wrong password");
    closed.disconnect();
}
for (const client of [r, other, prefixed, first]) {
    client.disconnect();
}
