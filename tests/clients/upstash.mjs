// upstash.mjs - @upstash/redis over HTTP: every group of commands that kvsql
// has, with base64 and without, pipelines, transactions, auto-pipelining,
// errors, the sync token.
import { Redis } from "@upstash/redis";
import { assert, http, limit, password, step, version } from "./common.mjs";

limit(120);
version("@upstash/redis");
const token = password ?? "any";
const make = (options = {}) =>
    new Redis({ url: http, token, retry: false, enableTelemetry: true,
        enableAutoPipelining: false, ...options });
const r = make();
const sorted = (list) => [...list].sort();
const entries = (object) => sorted(Object.entries(object ?? {}));

assert.equal(await r.flushall(), "OK");
assert.equal(await r.ping(), "PONG");
assert.equal(await r.echo("h\u00e9"), "h\u00e9");
assert.equal((await r.time()).length, 2);
step("connection");

assert.equal(await r.set("s", "bar", { ex: 100, nx: true }), "OK");
assert.equal(await r.set("s", "x", { nx: true }), null);
assert.equal(await r.set("s", "baz", { get: true, keepTtl: true }), "bar");
assert.ok((await r.ttl("s")) > 90);
assert.equal(await r.append("s", "!"), 4);
assert.equal(await r.strlen("s"), 4);
assert.equal(await r.getrange("s", 1, 2), "az");
assert.equal(await r.setrange("s", 1, "o"), 4);
assert.equal(await r.getset("s", "v"), "boz!");
assert.equal(await r.getex("s", { ex: 50 }), "v");
assert.equal(await r.getdel("s"), "v");
assert.equal(await r.get("s"), null);
assert.equal(await r.mset({ a: 1, b: { deep: [1, "x"] }, c: true }), "OK");
assert.deepEqual(await r.mget("a", "b", "c", "none"),
    [1, { deep: [1, "x"] }, true, null]);
assert.equal(await r.msetnx({ a: 2, d: 2 }), 0);
assert.deepEqual([await r.incr("n"), await r.incrby("n", 9), await r.decr("n"),
    await r.decrby("n", 4), await r.incrbyfloat("f", 1.5)], [1, 10, 9, 5, 1.5]);
assert.equal(await r.setex("e", 10, "x"), "OK");
assert.equal(await r.psetex("e", 10000, "x"), "OK");
assert.equal(await r.setnx("e", "y"), 0);
step("strings");

const texts = make({ automaticDeserialization: false });
const plain = make({ automaticDeserialization: false, responseEncoding: false });
for (const text of ["", "OK", "\u0000\u0001", "\u00e9\u2028\u{1F600}",
    "a\r\nb", "{", "[1", "\"q\"", "x".repeat(100000)]) {
    await texts.set("t", text);
    assert.equal(await texts.get("t"), text);
    assert.equal(await plain.get("t"), text);
}
await r.set("big", "9007199254740993");
assert.equal(await texts.get("big"), "9007199254740993");
for (const key of ["a/b", "a b", "?x=1", "%41", "\u00fc", "#", "..", "\u0000k"]) {
    await r.set(key, key);
    assert.equal(await r.get(key), key);
    assert.equal(await r.del(key), 1);
}
step("any text as value and key, with base64 and without");

assert.equal(await r.setbit("bits", 7, 1), 0);
assert.equal(await r.getbit("bits", 7), 1);
assert.equal(await r.bitcount("bits", 0, -1), 1);
assert.equal(await r.bitpos("bits", 1), 7);
assert.equal(await r.bitop("not", "bits2", "bits"), 1);
assert.deepEqual(await r.bitfield("bf").set("u8", 0, 255).incrby("u8", 0, 1)
    .get("u8", "#1").exec(), [0, 0, 0]);
assert.equal(await r.pfadd("hll", "a", "b", "c"), 1);
assert.equal(await r.pfcount("hll"), 3);
assert.equal(await r.pfmerge("hll2", "hll"), "OK");
step("bitmaps and counts");

assert.equal(await r.hset("h", { name: "Ann", age: 7, tags: ["x"] }), 3);
assert.equal(await r.hget("h", "name"), "Ann");
assert.deepEqual(await r.hgetall("h"), { name: "Ann", age: 7, tags: ["x"] });
assert.deepEqual(await r.hmget("h", "age", "none"), { age: 7, none: null });
assert.equal(await r.hgetall("none"), null);
assert.equal(await r.hincrby("h", "age", 2), 9);
assert.equal(await r.hincrbyfloat("h", "age", 0.5), 9.5);
assert.equal(await r.hsetnx("h", "age", 1), 0);
assert.equal(await r.hexists("h", "age"), 1);
assert.equal(await r.hstrlen("h", "name"), 3);
assert.deepEqual(sorted(await r.hkeys("h")), ["age", "name", "tags"]);
assert.equal((await r.hvals("h")).length, 3);
assert.equal(await r.hlen("h"), 3);
assert.equal((await r.hscan("h", 0))[1].length, 6);
assert.ok(["age", "name", "tags"].includes(await r.hrandfield("h")));
assert.equal(entries(await r.hrandfield("h", 3, true)).length, 3);
assert.deepEqual(await r.hexpire("h", "age", 100), [1]);
assert.ok((await r.httl("h", "age"))[0] > 90);
assert.ok((await r.hpttl("h", "age"))[0] > 90000);
assert.ok((await r.hexpiretime("h", "age"))[0] > 1.7e9);
assert.deepEqual(await r.hpersist("h", "age"), [1]);
assert.deepEqual(await r.hpexpire("h", "age", 100000), [1]);
assert.equal(await r.hdel("h", "age", "none"), 1);
step("hashes, times to live of fields");

assert.equal(await r.rpush("l", "a", { b: 1 }, "c"), 3);
assert.deepEqual(await r.lrange("l", 0, -1), ["a", { b: 1 }, "c"]);
assert.equal(await r.lpush("l", "z"), 4);
assert.equal(await r.lpushx("none", "z"), 0);
assert.equal(await r.rpushx("l", "z"), 5);
assert.equal(await r.lindex("l", 0), "z");
assert.equal(await r.lset("l", 0, "y"), "OK");
assert.equal(await r.linsert("l", "before", "y", "x"), 6);
assert.equal(await r.lpos("l", "c"), 4);
assert.deepEqual(await r.lpos("l", "z", { rank: -1, count: 2 }), [5]);
assert.equal(await r.lrem("l", 1, "z"), 1);
assert.equal(await r.lmove("l", "l2", "left", "right"), "x");
assert.equal(await r.lpop("l"), "y");
assert.deepEqual(await r.rpop("l", 2), ["c", { b: 1 }]);
assert.equal(await r.ltrim("l", 0, 0), "OK");
assert.deepEqual(await r.lmpop(2, ["none", "l"], "LEFT", 1), ["l", ["a"]]);
assert.equal(await r.llen("l"), 0);
step("lists");

assert.equal(await r.sadd("t1", "a", "b", "c"), 3);
assert.equal(await r.sadd("t2", "b", "c", "d"), 3);
assert.deepEqual(sorted(await r.smembers("t1")), ["a", "b", "c"]);
assert.equal(await r.sismember("t1", "a"), 1);
assert.deepEqual(await r.smismember("t1", ["a", "d"]), [1, 0]);
assert.equal(await r.scard("t1"), 3);
assert.deepEqual(sorted(await r.sinter("t1", "t2")), ["b", "c"]);
assert.deepEqual(await r.sdiff("t1", "t2"), ["a"]);
assert.equal((await r.sunion("t1", "t2")).length, 4);
assert.equal(await r.sinterstore("t3", "t1", "t2"), 2);
assert.equal(await r.sunionstore("t3", "t1", "t2"), 4);
assert.equal(await r.sdiffstore("t3", "t1", "t2"), 1);
assert.equal(await r.smove("t1", "t2", "a"), 1);
assert.equal((await r.sscan("t1", 0))[1].length, 2);
assert.equal((await r.srandmember("t1", 2)).length, 2);
assert.equal(await r.srem("t1", "b"), 1);
assert.equal(await r.spop("t1"), "c");
step("sets");

assert.equal(await r.zadd("z", { score: 1, member: "a" },
    { score: 2.5, member: "b" }, { score: 1795326698.5, member: "c" }), 3);
assert.equal(await r.zadd("z", { nx: true }, { score: 9, member: "a" }), 0);
assert.equal(await r.zscore("z", "b"), 2.5);
assert.deepEqual(await r.zmscore("z", ["a", "none"]), [1, null]);
assert.equal(await r.zincrby("z", 2, "a"), 3);
assert.deepEqual(await r.zrange("z", 0, -1), ["b", "a", "c"]);
assert.deepEqual(await r.zrange("z", "(2.5", "+inf", {
    byScore: true, withScores: true, offset: 0, count: 1 }), ["a", 3]);
assert.deepEqual(await r.zrange("z", 0, 0, { rev: true }), ["c"]);
assert.equal(await r.zrank("z", "c"), 2);
assert.equal(await r.zrevrank("z", "c"), 0);
assert.equal(await r.zcard("z"), 3);
assert.equal(await r.zcount("z", 0, 10), 2);
assert.equal(await r.zlexcount("z", "-", "+"), 3);
assert.equal((await r.zscan("z", 0))[1].length, 6);
assert.equal(await r.zunionstore("z2", 1, ["z"]), 3);
assert.equal(await r.zinterstore("z3", 2, ["z", "z2"], { aggregate: "max" }), 3);
assert.equal(await r.zdiffstore("z4", 2, "z", "z2"), 0);
assert.deepEqual(await r.zunion(1, ["z"], { withScores: true }).then((x) => x.length), 6);
assert.deepEqual(await r.zpopmin("z"), ["b", 2.5]);
assert.deepEqual(await r.zpopmax("z"), ["c", 1795326698.5]);
assert.equal(await r.zrem("z", "a"), 1);
assert.equal(await r.zremrangebyscore("z2", 0, 3), 2);
assert.equal(await r.zremrangebyrank("z2", 0, 0), 1);
step("sorted sets");

assert.equal(await r.geoadd("g",
    { longitude: 13.361389, latitude: 38.115556, member: "Palermo" },
    { longitude: 15.087269, latitude: 37.502669, member: "Catania" }), 2);
assert.ok(Math.abs((await r.geodist("g", "Palermo", "Catania", "KM")) - 166.27) < 0.1);
assert.equal((await r.geohash("g", "Palermo"))[0], "sqc8b49rny0");
assert.ok(Math.abs((await r.geopos("g", "Palermo"))[0].lng - 13.361389) < 1e-4);
assert.deepEqual((await r.geosearch("g", { type: "FROMLONLAT",
    coordinate: { lon: 15, lat: 37 } }, { type: "BYRADIUS", radius: 100,
    radiusType: "KM" }, "ASC")).map((x) => x.member), ["Catania"]);
step("places");

assert.equal(await r.exists("h", "h", "none"), 2);
assert.equal(await r.type("h"), "hash");
assert.equal(await r.copy("h", "h2"), "COPIED");
assert.equal(await r.copy("h", "h"), "NOT_COPIED");
assert.equal(await r.rename("h2", "h3"), "OK");
assert.equal(await r.renamenx("h3", "h"), 0);
assert.equal(await r.expire("h3", 100), 1);
assert.equal(await r.pexpire("h3", 100000, "LT"), 0);
assert.equal(await r.expireat("h3", 4102444800), 1);
assert.equal(await r.pexpireat("h3", 4102444800000), 1);
assert.ok((await r.pttl("h3")) > 1e11);
assert.equal(await r.persist("h3"), 1);
assert.equal(await r.touch("h3", "none"), 1);
assert.equal(await r.unlink("h3"), 1);
assert.equal(typeof (await r.randomkey()), "string");
assert.ok((await r.dbsize()) > 10);
assert.deepEqual(await r.keys("h"), ["h"]);
let cursor = "0";
const seen = new Map();
do {
    const [next, keys] = await r.scan(cursor, { count: 3, withType: true });
    assert.equal(typeof next, "string");
    keys.forEach(({ key, type }) => seen.set(key, type));
    cursor = next;
} while (cursor !== "0");
assert.equal(seen.size, await r.dbsize());
assert.equal(seen.get("h"), "hash");
assert.deepEqual((await r.scan(0, { match: "h", type: "hash" }))[1], ["h"]);
step("keys, SCAN with types");

const pipe = r.pipeline();
pipe.set("p", 1).incr("p").lpush("p", "x").get("p");
const replies = await pipe.exec({ keepErrors: true });
assert.deepEqual(replies.map(({ result, error }) => error ? error.split(" ")[0] : result),
    ["OK", 2, "WRONGTYPE", 2]);
assert.deepEqual(await r.multi().incr("p").get("none").exec(), [3, null]);
await assert.rejects(r.multi().set("p", 9).lpush("p").exec(),
    /EXECABORT Transaction discarded because of: ERR wrong number/);
assert.equal(await r.get("p"), 3);
const many = r.pipeline();
for (let i = 0; i < 1000; i++) {
    many.incr("many");
}
assert.equal((await many.exec()).at(-1), 1000);
step("pipelines and transactions");

const auto = make({ enableAutoPipelining: true });
const numbers = await Promise.all(
    Array.from({ length: 500 }, () => auto.incr("auto")));
assert.equal(numbers.at(-1), 500);
assert.ok(auto.pipelineCounter < 50);
step("auto-pipelining");

await assert.rejects(r.lpush("p", "x"), /WRONGTYPE Operation against a key/);
await assert.rejects(r.eval("return 1", [], []), /scripts and functions are not in/);
await assert.rejects(r.xadd("x", "*", { a: 1 }), /streams are not in this version/);
step("errors, and what is not there");

const told = (subscriber, type) =>
    new Promise((resolve) => subscriber.on(type, resolve));
const listener = texts.subscribe("ch:a");
assert.equal(await told(listener, "subscribe"), 1);
const patterns = r.psubscribe("ch*");
assert.equal(await told(patterns, "psubscribe"), 1);
const heard = told(listener, "message");
const matched = told(patterns, "pmessage");
assert.equal(await r.publish("ch:a", { n: [1, "h\u00e9,\n"] }), 2);
assert.deepEqual(await heard,
    { channel: "ch:a", message: '{"n":[1,"h\u00e9,\\n"]}' });
assert.deepEqual(await matched, { pattern: "ch*", channel: "ch:a",
    message: { n: [1, "h\u00e9,\n"] } });
await patterns.unsubscribe();
await listener.unsubscribe();
while (await r.publish("ch:a", "x") !== 0) {
    await new Promise((resolve) => setTimeout(resolve, 20));
}
step("publish and subscribe");

const tokens = [r.readYourWritesSyncToken];
for (let i = 0; i < 2; i++) {
    await r.incr("sync");
    tokens.push(r.readYourWritesSyncToken);
    assert.match(tokens.at(-1), /^[0-9a-f]{8}-[0-9]+$/);
}
assert.equal(new Set(tokens).size, 3);
step("the sync token moves with every write");

if (password) {
    const closed = make({ token: "wrong" });
    await assert.rejects(closed.get("a"), /WRONGPASS invalid or missing auth token/);
    await assert.rejects(closed.pipeline().get("a").exec(), /WRONGPASS/);
    step("a wrong token");
}
