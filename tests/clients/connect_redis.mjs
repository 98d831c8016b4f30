// connect_redis.mjs - sessions of an express application in connect-redis: real
// requests with a cookie.
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { assert, limit, resp, step, url, version } from "./common.mjs";

limit(60);
version("connect-redis");
const client = await createClient({ url: url(), RESP: resp }).connect();
await client.flushAll();
const store = new RedisStore({ client, prefix: "sess:", ttl: 100 });
const app = express();
app.use(session({
    store, secret: "not a secret", resave: false, saveUninitialized: false,
}));
app.get("/count", (request, response) => {
    request.session.count = (request.session.count ?? 0) + 1;
    response.json(request.session.count);
});
app.get("/look", (request, response) => response.json(
    request.session.count ?? null));
app.get("/leave", (request, response) => request.session.destroy(
    () => response.json("gone")));
const server = app.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const base = `http://127.0.0.1:${server.address().port}`;
const ask = async (path, cookie) => {
    const response = await fetch(base + path, {
        headers: { ...(cookie && { cookie }), connection: "close" } });
    return {
        value: await response.json(),
        cookie: response.headers.get("set-cookie")?.split(";")[0],
    };
};
const promised = (method, ...words) => new Promise((resolve, reject) =>
    store[method](...words, (error, value) =>
        error ? reject(error) : resolve(value)));

const { value, cookie } = await ask("/count");
assert.equal(value, 1);
assert.equal((await ask("/count", cookie)).value, 2);
assert.equal((await ask("/count")).value, 1);
step("a cookie goes round");

const ids = await promised("ids");
assert.equal(ids.length, 2);
assert.equal(await promised("length"), 2);
assert.deepEqual((await promised("all")).map((s) => s.count).sort(), [1, 2]);
assert.equal(await client.exists(`sess:${ids[0]}`), 1);
step("ids, length, all");

for (const id of ids) {
    await client.expire(`sess:${id}`, 10);
}
assert.equal((await ask("/look", cookie)).value, 2);
const times = await Promise.all(ids.map((id) => client.ttl(`sess:${id}`)));
assert.deepEqual(times.map((seconds) => seconds > 10).sort(), [false, true]);
step("a look touches the session");

assert.equal((await ask("/leave", cookie)).value, "gone");
assert.equal((await ask("/look", cookie)).value, null);
assert.equal(await promised("length"), 1);
await promised("clear");
assert.equal(await promised("length"), 0);
step("destroy and clear");
server.close();
await client.close();
