/* overview.js - the first view: what the server holds and does, live. */
import { rows } from "./api.js";
import { chart } from "./chart.js";
import { brief } from "./bytes.js";
import { bytes, count, duration, h, micros, moment, short, table } from "./dom.js";
import { info, KEPT, keysOf, listen, samples, STEP_MS } from "./pulse.js";

const TABLE_MS = 6000;

/* [title, value, small print, is it bad?] of the figures on top. */
function figures(facts) {
    const last = samples.at(-1) ?? {};
    const hits = Number(facts.keyspace_hits), misses = Number(facts.keyspace_misses);
    const limit = Number(facts.maxmemory);
    const ok = facts.wal_state === "ok";
    return [
        ["Keys", count(keysOf(facts)), (facts.db0 ?? "").replace(/.*expires=(\d+).*/,
            (_, n) => count(n) + " expire")],
        ["Commands", last.ops === null || last.ops === undefined ? "–" :
            short(last.ops) + "/s", short(facts.total_commands_processed) + " in all"],
        ["Latency p99", last.p99 ? micros(last.p99) : "–",
            "p50 " + (last.p50 ? micros(last.p50) : "–")],
        ["Memory", bytes(facts.used_memory), limit ? "of " + bytes(limit) :
            bytes(facts.used_memory_rss) + " resident"],
        ["Hits", hits + misses ? (100 * hits / (hits + misses)).toFixed(1) + " %" : "–",
            short(hits + misses) + " reads of keys"],
        ["Clients", count(facts.connected_clients), count(facts.http_connections) +
            " by HTTP"],
        ["Log", ok ? facts.wal_policy : facts.wal_state, bytes(facts.wal_size) +
            " in " + count(facts.wal_segments) + (facts.wal_segments === "1" ?
            " segment" : " segments"), !ok],
        ["Up", duration(facts.uptime_in_seconds * 1000), "version " +
            facts.kvsql_version],
    ];
}

function facts(list) {
    return h("dl", { class: "facts" }, list.map(([name, value]) =>
        h("div", null, h("dt", null, name), h("dd", null, value))));
}

function durability(info) {
    const never = info.snapshot_count === "0";
    return [
        ["Position", count(info.wal_position)],
        ["On disk up to", count(info.wal_durable_position)],
        ["Changes since the snapshot", count(info.rdb_changes_since_last_save)],
        ["Snapshots", never ? "none yet" : count(info.snapshot_count)],
        ["Last snapshot", never ? "–" : moment(info.rdb_last_save_time * 1000)],
        ["Views", count(info.view_count) + (info.view_count === "0" ? "" :
            ", " + bytes(info.view_retained_bytes) + " kept")],
        ["Expired, evicted", count(info.expired_keys) + ", " + count(info.evicted_keys)],
        ["Received, sent", bytes(info.total_net_input_bytes) + ", " +
            bytes(info.total_net_output_bytes)],
    ];
}

const commandColumns = [
    { title: "Command", class: "mono", cell: row => row[0] },
    { title: "Calls", class: "number", cell: row => count(row[1]) },
    { title: "p50", class: "number", cell: row => micros(row[2]) },
    { title: "p99", class: "number", cell: row => micros(row[3]) },
    { title: "Longest", class: "number", cell: row => micros(row[4]) },
];
const queryColumns = [
    { title: "User", cell: row => row[0] },
    { title: "Statement", class: "mono wide", cell: row => brief(row[1], 160) },
    { title: "Since", class: "number", cell: row => duration(Math.max(0,
        Date.now() - Number(row[2]))) },
];

/* A table of what was asked, or why there is none; a server that is away is told
 * by the pulse. */
function fill(place, { status, value, reason }, caption, columns, none) {
    if (status === "rejected" && reason.status === 0)
        return;
    place.replaceChildren(status === "rejected" ?
        h("p", { class: "empty" }, reason.message) : value.length ?
            table(caption, columns, value) : h("p", { class: "empty" }, none));
}

export function view(main) {
    const cards = h("div", { class: "figures" });
    const disk = h("div");
    const busy = h("div"), running = h("div");
    const charts = [
        chart({ title: "Operations per second", span: KEPT, step_ms: STEP_MS,
            show: short, series: [
                { name: "commands", pick: p => p.ops, area: true },
                { name: "writes", pick: p => p.writes },
                { name: "SQL", pick: p => p.sql }] }),
        chart({ title: "Latency of commands", span: KEPT, step_ms: STEP_MS,
            show: micros, series: [
                { name: "p99", pick: p => p.p99 },
                { name: "p50", pick: p => p.p50 }] }),
        chart({ title: "Memory", span: KEPT, step_ms: STEP_MS, show: bytes,
            floor: 1 << 20, binary: true, series: [
                { name: "used", pick: p => p.used, area: true },
                { name: "resident", pick: p => p.rss }] }),
        chart({ title: "Keys", span: KEPT, step_ms: STEP_MS, show: short,
            series: [{ name: "keys", pick: p => p.keys, area: true }] }),
    ];
    const update = () => {
        if (info === null)
            return;
        cards.replaceChildren(...figures(info).map(([title, value, small, bad]) =>
            h("div", { class: "figure" + (bad ? " bad" : "") },
                h("span", { class: "title" }, title), h("strong", null, value),
                h("small", null, small))));
        disk.replaceChildren(facts(durability(info)));
        for (const one of charts)
            one.update(samples);
    };
    const tables = async () => {
        if (document.hidden)
            return;
        const [calls, now] = await Promise.allSettled([rows("SELECT command, calls, " +
            "p50_us, p99_us, max_us FROM latency ORDER BY calls DESC LIMIT 12"),
        rows("SELECT user, sql, started FROM queries WHERE sql NOT LIKE '%FROM queries%' " +
            "ORDER BY started LIMIT 12")]);
        fill(busy, calls, "Commands by calls", commandColumns, "No command has run yet.");
        fill(running, now, "Running statements", queryColumns, "No statement runs.");
    };
    main.append(h("h1", { class: "unseen" }, "Overview"), cards,
        h("div", { class: "charts" }, charts.map(one => one.box)),
        h("div", { class: "columns" },
            h("section", { class: "card" }, h("header", null, h("h2", null,
                "Commands by calls")), busy),
            h("div", { class: "stack" },
                h("section", { class: "card" }, h("header", null,
                    h("h2", null, "Durability")), disk),
                h("section", { class: "card" }, h("header", null,
                    h("h2", null, "Running statements")), running))));
    update();
    tables();
    const timer = setInterval(tables, TABLE_MS), stop = listen(update);
    return () => {
        clearInterval(timer);
        stop();
    };
}
