/* slow.js - the view of slow commands: which took long, and from what on they
 * are written down. */
import { ask, rows } from "./api.js";
import { brief } from "./bytes.js";
import { button, count, dialog, h, labelled, micros, moment, note, refuse, table, tried }
    from "./dom.js";
import { page } from "./page.js";

const columns = [
    { title: "When", class: "tight", cell: row => moment(row.at) },
    { title: "Took", class: "number tight", cell: row => micros(Number(row.duration_us)) },
    { title: "Client", class: "tight", cell: row => brief(row.client, 60) },
    { title: "Command", class: "mono wide", cell: row => brief(row.command, 1000) },
];

async function limit() {
    const [[now]] = await rows("SELECT value FROM config WHERE name = " +
        "'slowlog-log-slower-than'");
    const field = h("input", { type: "text", inputmode: "numeric", value: now,
        autocomplete: "off" });
    return dialog({ title: "Which commands are slow?", yes: "Set",
        body: labelled("Microseconds", field,
            "Longer ones are written down; 0 means all, -1 none."),
        deed: async () => {
            if (!/^-?\d+$/.test(field.value))
                throw refuse("A whole number is needed.");
            await ask("PATCH", "/v1/config",
                { json: { "slowlog-log-slower-than": field.value } });
            note("Set");
            return true;
        } });
}

export const view = page("Slow commands", {
    every_ms: 5000,
    async read() {
        const { items } = await ask("GET", "/v1/slowlog");
        return [`${count(items.length)} written down`, items.length ?
            table("Slow commands", columns, items) :
            h("p", { class: "empty" }, "No command was slow.")];
    },
    tools: again => [button("What is slow…", tried(limit)),
        button("Forget them", tried(async () => {
            await ask("DELETE", "/v1/slowlog");
            await again();
        }), { class: "danger" })],
});
