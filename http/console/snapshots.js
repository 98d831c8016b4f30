/* snapshots.js - the view of snapshots: SQLite files of the whole store. */
import { ask, hasToken, send } from "./api.js";
import { button, bytes, copy, count, h, moment, note, save, table, tried } from "./dom.js";
import { page } from "./page.js";

/* With a token the file must pass through the page, as no address may hold it. */
async function load(name) {
    if (hasToken())
        save(await (await send("GET", "/v1/snapshots/" + encodeURIComponent(name))).blob(), name);
    else
        h("a", { href: "/v1/snapshots/" + encodeURIComponent(name), download: name }).click();
}

const columns = [
    { title: "File", class: "mono short", cell: row => row.name },
    { title: "Made", class: "short", cell: row => moment(row.created_at) },
    { title: "Position", class: "number", cell: row => count(row.position) },
    { title: "Keys", class: "number", cell: row => count(row.keys) },
    { title: "Size", class: "number", cell: row => bytes(row.size) },
    { title: "Took", class: "number", cell: row => row.ms ? count(row.ms) + " ms" : "–" },
    { title: h("span", { class: "unseen" }, "Use"), class: "tight", cell: row => [
        button("Download", tried(() => load(row.name)),
            { class: "plain", "aria-label": "Download " + row.name }),
        button("Copy the command", () => copy(`curl -O ${location.origin}/v1/snapshots/` +
            `${row.name} && sqlite3 ${row.name}`),
        { class: "plain", "aria-label": "Copy the command that opens " + row.name })] },
];

export const view = page("Snapshots", {
    every_ms: 5000,
    about: "Each is a plain SQLite file with the tables strings, hashes, lists, sets and " +
        "zsets: sqlite3, DB Browser or pandas open it.",
    async read() {
        const { running, items } = await ask("GET", "/v1/snapshots");
        return [running ? "One is being made" : `${count(items.length)} kept`, items.length ?
            table("Snapshots", columns, items) :
            h("p", { class: "empty" }, "There is none yet.")];
    },
    tools: again => [button("Make one", tried(async event => {
        event.target.disabled = true;
        try {
            const made = await ask("POST", "/v1/snapshots?wait=1");
            note(`${made.name}: ${count(made.keys)} keys, ${bytes(made.size)}`);
        } finally {
            event.target.disabled = false;
        }
        await again();
    }), { class: "main" })],
});
