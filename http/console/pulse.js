/* pulse.js - how the server does: asked every two seconds while somebody looks,
 * kept for five minutes, whichever view is open. INFO and LATENCY HISTOGRAM are
 * asked; what these two count of themselves is left out. The
 * read-only token may not ask for the second. */
import { commands, own, Problem } from "./api.js";

export const STEP_MS = 2000;
export const KEPT = 150;
const OURS = ["info", "latency|histogram", "latency", "client", "auth"];

export const samples = []; /* {at, ops, reads, writes, sql, p50, p99, used, rss, keys} */
export let info = null;    /* the last INFO, name -> text */
export let failure = null; /* why there is none */

let before = null, timer = null, running = false;
const listeners = new Set();

export function listen(heard) {
    listeners.add(heard);
    return () => listeners.delete(heard);
}

function parse(text) {
    const found = {};
    for (const line of text.split("\r\n")) {
        const colon = line.indexOf(":");
        if (colon > 0)
            found[line.slice(0, colon)] = line.slice(colon + 1);
    }
    return found;
}

/* Calls of all commands together, by the end of their bucket in microseconds.
 * Each comes as name, ["calls", n, "histogram_usec", [end, count so far, ..]]. */
function histogram(list) {
    const total = new Map();
    for (let i = 0; i < list.length; i += 2) {
        if (OURS.includes(list[i]))
            continue;
        const buckets = list[i + 1][3];
        for (let j = 0, below = 0; j < buckets.length; j += 2) {
            const end = Number(buckets[j]), upto = Number(buckets[j + 1]);
            total.set(end, (total.get(end) ?? 0) + upto - below);
            below = upto;
        }
    }
    return total;
}

/* The bucket below which the part `share` of what came since lies; null: nothing
 * came. */
function percentile(now, then, share) {
    const fresh = [...now].map(([end, n]) => [end, n - (then.get(end) ?? 0)])
        .filter(([, n]) => n > 0).sort((a, b) => a[0] - b[0]);
    let left = share * fresh.reduce((sum, [, n]) => sum + n, 0);
    for (const [end, n] of fresh) {
        left -= n;
        if (left <= 0)
            return end;
    }
    return null;
}

export const keysOf = facts =>
    Number(/keys=(\d+)/.exec(facts.db0 ?? "")?.[1] ?? 0);

function sample(at, facts, calls, asked) {
    const point = { at, used: Number(facts.used_memory),
        rss: Number(facts.used_memory_rss), keys: keysOf(facts),
        ops: null, reads: null, writes: null, sql: null, p50: null, p99: null };
    /* After a restart counters begin anew. */
    if (before !== null && before.facts.run_id === facts.run_id) {
        const seconds = (at - before.at) / 1000;
        const rate = (name, ours) => Math.max(0,
            (facts[name] - before.facts[name] - ours) / seconds);
        point.ops = rate("total_commands_processed", 2);
        point.reads = rate("total_reads_processed", 0);
        point.writes = rate("total_writes_processed", 0);
        point.sql = rate("sql_statements_total", asked - before.asked);
        point.p50 = percentile(calls, before.calls, 0.5);
        point.p99 = percentile(calls, before.calls, 0.99);
    }
    before = { at, facts, calls, asked };
    samples.push(point);
    if (samples.length > KEPT)
        samples.shift();
}

export async function beat() {
    if (running)
        return;
    running = true;
    try {
        const asked = own.statements;
        const [text, list] = await commands([["INFO", "everything"],
            ["LATENCY", "HISTOGRAM"]]);
        if (text instanceof Problem)
            throw text;
        info = parse(text);
        failure = null;
        sample(performance.now(), info,
            list instanceof Problem ? new Map() : histogram(list), asked);
    } catch (error) {
        failure = error;
    }
    running = false;
    for (const heard of listeners)
        heard();
}

/* Nobody asks for a page that is not seen. */
export function start() {
    const turn = () => {
        clearInterval(timer);
        timer = document.hidden ? null : setInterval(beat, STEP_MS);
        if (!document.hidden)
            beat();
    };
    document.addEventListener("visibilitychange", turn);
    turn();
}
