// stage.mjs - what the scenes stand on: servers, a browser that tells all that
// goes wrong in it, and how to judge.
import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";
import { chromium } from "playwright-core";

const PATIENCE_MS = Number(process.env.PATIENCE_MS ?? 120000);
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
let failed = false;

export function check(name, got, want) {
    if (isDeepStrictEqual(got, want)) {
        console.log("PASS " + name);
    } else {
        failed = true;
        console.log(`FAIL ${name}: ${JSON.stringify(got)?.slice(0, 400)}, not ` +
            JSON.stringify(want)?.slice(0, 400));
    }
}
export const fail = (name, why) => {
    failed = true;
    console.log(`FAIL ${name}: ${String(why).replaceAll("\n", " ").slice(0, 600)}`);
};
export const result = () => failed ? 1 : 0;

// Wait until `look` gives something true; what it gave.
export async function until(look, what) {
    for (const end = Date.now() + PATIENCE_MS; ;) {
        const got = await look();
        if (got)
            return got;
        if (Date.now() > end)
            throw new Error("never: " + what);
        await new Promise(done => setTimeout(done, 50));
    }
}

// ---- servers -------------------------------------------------------------------

export async function serve(environment = {}) {
    const child = spawn(process.env.KVSQL, ["serve", "--dir",
        mkdtempSync(join(process.env.WORK, "data-")), "--http-port", "0", "--port", "0"],
    { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "ignore"] });
    const server = { ended: new Promise(done => child.on("exit", done)) };
    for await (const line of createInterface({ input: child.stdout })) {
        server.url = /(http:\/\/\S+?)\/_\/$/.exec(line)?.[1] ?? server.url;
        server.resp ??= /redis-cli -p (\d+)/.exec(line)?.[1];
        if (line.startsWith("ready in"))
            break;
    }
    child.stdout.resume();
    process.on("exit", () => child.kill("SIGKILL"));
    server.stop = () => {
        child.kill("SIGTERM");
        return server.ended;
    };
    server.token = environment.KVSQL_REQUIREPASS;
    return server;
}

// A JSON answer of the server.
export async function ask(server, method, path, json) {
    const response = await fetch(server.url + path, { method,
        headers: { ...json !== undefined ? { "Content-Type": "application/json" } : {},
            ...server.token ? { Authorization: "Bearer " + server.token } : {} },
        body: json === undefined ? undefined : JSON.stringify(json) });
    const text = await response.text();
    return text && JSON.parse(text);
}
export const command = async (server, ...words) =>
    (await ask(server, "POST", "/", words)).result;
// Commands whose words may be {"$base64":".."}.
export const write = (server, ...ops) => ask(server, "POST", "/v1/batch", { ops });

// A client of the Redis protocol that only stands there; `closed` ends with it.
export function standing(server) {
    const socket = createConnection(Number(server.resp), "127.0.0.1");
    socket.write("PING\r\n");
    const closed = new Promise(done => socket.on("close", done));
    socket.on("error", () => {});
    return new Promise(done => socket.once("data", () => done({ socket, closed })));
}

// ---- the browser -----------------------------------------------------------------

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM,
    args: ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"] });

// A page, with what went wrong in it in page.wrong. A refusal by the server is
// written down by the browser itself: those are counted in page.refused.
export async function open(browser, server, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 },
        acceptDownloads: true, reducedMotion: "reduce", ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    await context.addInitScript(() => document.addEventListener("securitypolicyviolation",
        event => console.error("policy: " + event.violatedDirective + " " +
            event.blockedURI + " " + event.sourceFile)));
    const page = await context.newPage();
    if (process.env.SLOW)
        await (await context.newCDPSession(page)).send("Emulation.setCPUThrottlingRate",
            { rate: Number(process.env.SLOW) });
    if (process.env.LATE)
        await page.route(url => !url.pathname.startsWith("/_/"), async route => {
            await new Promise(done => setTimeout(done, Number(process.env.LATE)));
            await route.continue().catch(() => {}); // the page may be gone
        });
    page.wrong = [];
    page.refused = 0;
    page.on("console", message => {
        if (/^Failed to load resource: .* status of 4\d\d/.test(message.text()))
            page.refused++;
        else if (["error", "warning"].includes(message.type()))
            page.wrong.push(message.text());
    });
    page.on("pageerror", error => page.wrong.push(error.stack));
    page.on("dialog", dialog => {
        page.wrong.push("a dialog: " + dialog.message());
        dialog.dismiss();
    });
    page.at = async view => {
        await page.goto(server.url + "/_/#/" + view);
        await page.locator(`main[data-view="${view.split("?")[0]}"]`).waitFor();
        await page.waitForFunction(() => document.getElementById("state").textContent !== "");
    };
    return page;
}

// What axe finds wrong, as lines.
export async function axe(page) {
    if (!await page.evaluate(() => "axe" in window))
        await page.evaluate(await import("node:fs").then(fs =>
            fs.readFileSync(AXE, "utf8"))); // by the debugger: no policy forbids it
    const { violations } = await page.evaluate(() => window.axe.run(document,
        { resultTypes: ["violations"] }));
    return violations.map(one => `${one.id}: ` + one.nodes.slice(0, 3).map(node =>
        node.target.join(" ")).join(", "));
}

export const texts = locator => locator.allTextContents();
