// common.mjs - what the scripts for clients of npm share: the server's address
// out of the environment, and steps.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

export { strict as assert } from "node:assert";

export const host = process.env.REDIS_HOST;
export const port = Number(process.env.REDIS_PORT);
export const password = process.env.REDIS_PASSWORD || undefined;
export const http = process.env.REDIS_HTTP; // the URL of the HTTP door
export const resp = Number(process.env.REDIS_RESP || 2);
export const url = (auth = password ? `:${password}@` : "") =>
    `redis://${auth}${host}:${port}/0`;

export function step(name) {
    console.log("ok " + name);
}

// Say which version of a package is here. A package may not export its
// package.json, so the file is looked for beside this one.
export function version(name) {
    const here = dirname(createRequire(import.meta.url).resolve("./common.mjs"));
    const file = join(here, "node_modules", name, "package.json");
    console.log("version " + JSON.parse(readFileSync(file)).version);
}

// A script that hangs is a failure, not a wait.
export function limit(seconds) {
    setTimeout(() => {
        console.error(`not done after ${seconds} s`);
        process.exit(1);
    }, seconds * 1000).unref();
}

export const eventually = (emitter, event) =>
    new Promise((resolve) => emitter.once(event, resolve));
