/* clients.js - the view of connections of the Redis protocol: who is there, and
 * an end to it. */
import { ask } from "./api.js";
import { brief } from "./bytes.js";
import { button, bytes, count, dialog, duration, h, note, table, tried } from "./dom.js";
import { page } from "./page.js";

async function end(row, again) {
    await dialog({ title: `Close the connection of ${brief(row.addr, 60)}?`, yes: "Close it",
        danger: true, body: h("p", null, "The client may connect again."),
        deed: async () => {
            await ask("DELETE", "/v1/clients/" + row.id);
            note("Closed");
            return true;
        } });
    await again();
}

const columns = again => [
    { title: "Id", class: "number tight", cell: row => String(row.id) },
    { title: "Address", class: "mono short", cell: row => brief(row.addr, 60) },
    { title: "Name", class: "short", cell: row => brief(row.name || "–", 60) },
    { title: "User", class: "short", cell: row => brief(row.user || "–", 60) },
    { title: "Last command", class: "mono short", cell: row => brief(row.cmd || "–", 60) },
    { title: "Here for", class: "number", cell: row => duration(Number(row.age) * 1000) },
    { title: "Idle", class: "number", cell: row => duration(Number(row.idle) * 1000) },
    { title: "Input waits", class: "number", cell: row => bytes(row.in_bytes ?? 0) },
    { title: "Replies wait", class: "number", cell: row => bytes(row.out_bytes ?? 0) },
    { title: h("span", { class: "unseen" }, "Close"), class: "tight", cell: row =>
        button("Close…", tried(() => end(row, again)),
            { class: "plain", "aria-label": "Close " + brief(row.addr, 60) }) },
];

export const view = page("Clients", {
    every_ms: 3000,
    async read(again) {
        const { items } = await ask("GET", "/v1/clients");
        return [`${count(items.length)} connected by the Redis protocol`, items.length ?
            table("Clients", columns(again), items) :
            h("p", { class: "empty" }, "Nobody is connected by the Redis protocol.")];
    },
});
