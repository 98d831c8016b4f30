// keyv.mjs - keyv on @keyv/redis: values, times to live, namespaces.
import KeyvRedis, { createKeyv } from "@keyv/redis";
import { createClient } from "redis";
import Keyv from "keyv";
import { assert, limit, step, url, version } from "./common.mjs";

limit(60);
version("@keyv/redis");
const plain = await createClient({ url: url() }).connect();
await plain.flushAll();

const cache = createKeyv(url(), { namespace: "cache" });
const errors = [];
cache.on("error", (error) => errors.push(error));
assert.equal(await cache.set("a", { list: [1, null, "é"] }, 60000), true);
assert.deepEqual(await cache.get("a"), { list: [1, null, "é"] });
assert.equal(await cache.get("none"), undefined);
assert.equal(await cache.has("a"), true);
assert.equal(await cache.has("none"), false);
const [key] = await plain.keys("*a");
assert.ok((await plain.pTTL(key)) > 50000);
step("set, get, has, with a time to live");

await cache.set("short", 1, 30);
for (let i = 0; i < 200 && (await cache.get("short")) !== undefined; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
}
assert.equal(await cache.get("short"), undefined);
step("what is over is gone");

await cache.setMany([{ key: "m1", value: 1 }, { key: "m2", value: "two" }]);
assert.deepEqual(await cache.get(["m1", "none", "m2"]), [1, undefined, "two"]);
assert.equal(await cache.delete("m1"), true);
assert.equal(await cache.delete("m1"), false);
assert.equal(await cache.delete(["m2", "none"]), true);
step("several at once, delete");

const other = new Keyv({ store: new KeyvRedis(url()), namespace: "other" });
for (let i = 0; i < 50; i++) {
    await cache.set(`many${i}`, i);
}
await other.set("a", "stays");
const names = new Set();
for await (const [name] of cache.iterator()) {
    names.add(name);
}
assert.equal(names.size, 51);
step("the keys of a namespace");
await cache.clear();
assert.equal(await cache.get("a"), undefined);
assert.equal(await other.get("a"), "stays");
assert.equal((await plain.keys("*")).length, 1);
step("clear empties one namespace");
assert.deepEqual(errors, []);
await cache.disconnect();
await other.disconnect();
await plain.close();
step("no error");
