// rate_limiter_flexible.mjs - what rate-limiter-flexible does without a script:
// limits that never end, the form that is not atomic, blocks, rewards.
import Redis from "ioredis";
import {
    RateLimiterRedis, RateLimiterRedisNonAtomic, RateLimiterRes,
} from "rate-limiter-flexible";
import { createClient } from "redis";
import { assert, host, limit, password, port, resp, step, url, version } from
    "./common.mjs";

limit(60);
version("rate-limiter-flexible");
const storeClient = new Redis({ host, port, password, protocol: resp });
await storeClient.flushall();

async function work(name, options) {
    const forever = new RateLimiterRedis({
        ...options, keyPrefix: `${name}-forever`, points: 3, duration: 0,
    });
    for (let left = 2; left >= 0; left--) {
        assert.equal((await forever.consume("a")).remainingPoints, left);
    }
    await assert.rejects(forever.consume("a"),
        (error) => error instanceof RateLimiterRes
            && error.consumedPoints === 4);
    assert.equal((await forever.consume("b", 2)).remainingPoints, 1);
    step(`${name}: a limit that never ends`);

    assert.equal((await forever.get("a")).consumedPoints, 4);
    assert.equal(await forever.get("none"), null);
    assert.equal((await forever.penalty("b", 1)).consumedPoints, 3);
    assert.equal((await forever.reward("b", 2)).consumedPoints, 1);
    assert.equal(await forever.delete("a"), true);
    assert.equal(await forever.delete("a"), false);
    step(`${name}: get, penalty, reward, delete`);

    await forever.block("bad", 60);
    const state = await forever.get("bad");
    assert.ok(state.consumedPoints > 3);
    assert.ok(state.msBeforeNext > 50000 && state.msBeforeNext <= 60000);
    assert.equal((await forever.set("some", 2, 60)).consumedPoints, 2);
    step(`${name}: block and set for a while`);

    const minute = new RateLimiterRedisNonAtomic({
        ...options, keyPrefix: `${name}-minute`, points: 2, duration: 60,
        blockDuration: 120,
    });
    const first = await minute.consume("a");
    assert.ok(first.isFirstInDuration && first.remainingPoints === 1);
    assert.ok(first.msBeforeNext > 50000 && first.msBeforeNext <= 60000);
    await minute.consume("a");
    await assert.rejects(minute.consume("a"),
        (error) => error.msBeforeNext > 100000);
    assert.ok((await minute.get("a")).msBeforeNext > 100000);
    step(`${name}: limits of a minute, without a script`);
}

await work("ioredis", { storeClient });
const client = await createClient({ url: url(), RESP: resp }).connect();
await work("node-redis", { storeClient: client, useRedisPackage: true });
await client.close();
storeClient.disconnect();
