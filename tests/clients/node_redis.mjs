// node_redis.mjs - node-redis: types, MULTI, scanIterator, a pool, how it opens.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createClient, createClientPool, WatchError } from "redis";
import { assert, limit, password, resp, step, url, version } from
    "./common.mjs";

limit(60);
version("redis");
const errors = [];
const options = { url: url(), RESP: resp, name: "tester" };
const r = createClient(options).on("error", (error) => errors.push(error));
await r.connect();
await r.flushAll();
assert.equal(await r.clientGetName(), "tester");
const me = await r.clientInfo();
// A Redis before 7.2 keeps no name of the library.
assert.match(me.libName ?? "node-redis", /^node-redis/);
assert.equal(Number(me.resp), resp);
step("it opens, names its library and its protocol");

assert.equal(await r.set("s", "v", {
    expiration: { type: "EX", value: 100 }, condition: "NX",
}), "OK");
assert.equal(await r.set("s", "x", { condition: "NX" }), null);
assert.equal(await r.get("s"), "v");
assert.ok((await r.ttl("s")) > 90);
assert.equal(await r.mSet({ a: "1", b: "2" }), "OK");
assert.deepEqual(await r.mGet(["a", "none", "b"]), ["1", null, "2"]);
assert.equal(await r.incrBy("a", 9), 10);
assert.equal(await r.incrByFloat("b", 0.5), "2.5");
assert.equal(await r.exists(["a", "b", "none"]), 2);
assert.equal(await r.expire("b", 5, "NX"), 1);
step("strings and expiry");

assert.equal(await r.hSet("h", { name: "Ann", age: 7 }), 2);
assert.deepEqual({ ...(await r.hGetAll("h")) }, { name: "Ann", age: "7" });
assert.deepEqual(await r.hmGet("h", ["age", "none"]), ["7", null]);
assert.equal(await r.rPush("l", ["a", "b", "c"]), 3);
assert.deepEqual(await r.lRange("l", 0, -1), ["a", "b", "c"]);
assert.equal(await r.lPop("l"), "a");
assert.equal(await r.sAdd("t", ["x", "y"]), 2);
assert.deepEqual([...(await r.sMembers("t"))].sort(), ["x", "y"]);
assert.equal(await r.sIsMember("t", "x"), 1);
step("hashes, lists, sets");

assert.equal(await r.zAdd("z", [
    { score: 1.5, value: "a" }, { score: 2, value: "b" },
    { score: Infinity, value: "c" },
]), 3);
assert.equal(await r.zScore("z", "a"), 1.5);
assert.equal(await r.zScore("z", "none"), null);
assert.deepEqual(await r.zRangeWithScores("z", 0, -1), [
    { value: "a", score: 1.5 }, { value: "b", score: 2 },
    { value: "c", score: Infinity },
]);
assert.deepEqual(await r.zRange("z", "(1.5", "+inf", {
    BY: "SCORE", LIMIT: { offset: 0, count: 1 },
}), ["b"]);
assert.deepEqual(await r.zPopMin("z"), { value: "a", score: 1.5 });
step("sorted sets");

assert.equal(await r.geoAdd("geo", {
    longitude: 13.361389, latitude: 38.115556, member: "Palermo",
}), 1);
assert.deepEqual(await r.geoSearch("geo",
    { longitude: 13, latitude: 38 }, { radius: 100, unit: "km" }), ["Palermo"]);
assert.equal(await r.pfAdd("hll", ["a", "b"]), 1);
assert.equal(await r.pfCount("hll"), 2);
assert.equal(await r.setBit("bits", 7, 1), 0);
assert.equal(await r.bitCount("bits"), 1);
step("places, HyperLogLog, bits");

assert.deepEqual(
    await r.multi().set("p", "1").incr("p").hGetAll("h").exec().then(
        ([ok, two, hash]) => [ok, two, { ...hash }]),
    ["OK", 2, { name: "Ann", age: "7" }]);
const other = r.duplicate().on("error", (error) => errors.push(error));
await other.connect();
await r.watch("p");
await other.set("p", "else");
await assert.rejects(r.multi().set("p", "mine").exec(), WatchError);
assert.equal(await r.get("p"), "else");
const numbers = await Promise.all(
    Array.from({ length: 5000 }, () => r.incr("many")));
assert.equal(numbers.at(-1), 5000);
await assert.rejects(r.lPush("h", "x"), /^Error: WRONGTYPE|WRONGTYPE/);
step("MULTI, WATCH, pipelines, errors");

const subscriber = r.duplicate().on("error", (error) => errors.push(error));
await subscriber.connect();
const news = new Promise((resolve) => {
    subscriber.subscribe("news", (text, channel) => resolve([text, channel]));
});
const shapes = new Promise((resolve) => {
    subscriber.pSubscribe("n*", (text, channel) => resolve([text, channel]), true);
});
while ((await r.pubSubNumSub(["news"])).news !== 1 ||
        await r.pubSubNumPat() !== 1) {
    await new Promise((resolve) => setTimeout(resolve, 10));
}
assert.equal(await r.publish("news", "hello"), 2);
assert.deepEqual(await news, ["hello", "news"]);
assert.deepEqual((await shapes).map(String), ["hello", "news"]);
assert.deepEqual(await r.pubSubChannels(), ["news"]);
assert.equal(String(await subscriber.ping()).toUpperCase(), "PONG");
await subscriber.unsubscribe("news");
await subscriber.pUnsubscribe();
assert.equal(await r.publish("news", "hello"), 0);
await subscriber.close();
step("publish and subscribe");

await Promise.all(
    Array.from({ length: 500 }, (_, i) => r.set(`scan:${i}`, String(i))));
const found = new Set();
for await (const keys of r.scanIterator({ MATCH: "scan:*", COUNT: 100 })) {
    keys.forEach((key) => found.add(key));
}
assert.equal(found.size, 500);
const fields = [];
for await (const entries of r.hScanIterator("h")) {
    fields.push(...entries.map((entry) => entry.field));
}
assert.deepEqual(fields.sort(), ["age", "name"]);
step("scanIterator, hScanIterator");

assert.match(await r.info("server"), /^redis_mode:standalone\r$/m);
assert.equal((await r.configGet("maxmemory-policy"))["maxmemory-policy"],
    "noeviction");
assert.ok((await r.clientList()).length >= 2);
assert.ok((await r.dbSize()) > 500);
assert.ok((await r.commandCount()) > 200);
step("INFO, CONFIG, CLIENT, COMMAND");

const pool = await createClientPool(options, { minimum: 2, maximum: 4 })
    .on("error", (error) => errors.push(error)).connect();
const counted = await Promise.all(
    Array.from({ length: 200 }, () => pool.incr("pooled")));
assert.equal(Math.max(...counted), 200);
await pool.close();
step("a pool");

const closed = new Promise((resolve) => r.once("reconnecting", resolve));
await other.sendCommand(["CLIENT", "KILL", "ID", String(await r.clientId())]);
await closed;
assert.equal(await r.get("p"), "else");
assert.equal(errors.length, 1);
step("coming back after its connection was closed");

// The example of the documentation; what is kvsql's own is left out on a Redis.
if (/^kvsql_version:/m.test(await r.info()) && !password) {
    const page = readFileSync(process.env.REDIS_PAGE, "utf-8");
    const block = page.match(/^```js\n(.*?)^```/ms)[1]
        .replace("redis://127.0.0.1:6379/0", url());
    const out = execFileSync(process.execPath,
        ["--input-type=module", "-e", block], {
            cwd: import.meta.dirname, encoding: "utf-8" });
    assert.equal(out, "[ { field: 'city', value: 'Oslo' }, " +
        "{ field: 'name', value: 'Ann' } ]\n");
    step("the example of the documentation");
}

const first = createClient({ ...options, database: 1,
    socket: { reconnectStrategy: false } }).on("error", () => {});
await assert.rejects(first.connect(), /DB index is out of range/);
if (password) {
    for (const [auth, wanted] of [[":wrong@", /WRONGPASS/], ["", /NOAUTH/]]) {
        const bad = createClient({ url: url(auth), RESP: resp, socket: {
            reconnectStrategy: false } }).on("error", () => {});
        await assert.rejects(bad.connect().then(() => bad.get("a")), wanted);
        if (bad.isOpen) {
            bad.destroy();
        }
    }
    step("a wrong password and none");
}
await other.close();
await r.close();
step("no other database, closing");
