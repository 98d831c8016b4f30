/* folder.js - what begins with a prefix: how much it is, what can be done with
 * all of it. */
import { ask, rows, send } from "./api.js";
import { brief } from "./bytes.js";
import { button, bytes, complain, count, dialog, h, labelled, note, refuse, save, table,
    tried } from "./dom.js";

const QUICK_MS = 500; /* what is counted unasked */
const LAST = "\u{10FFFF}";
const SUMS = `SELECT type, count(*), sum(memory), count(ttl) FROM keys
  WHERE key >= ?1 AND key < ?2 GROUP BY type ORDER BY 3 DESC`;

const columns = [
    { title: "Type", cell: row => row[0] },
    { title: "Keys", class: "number", cell: row => count(row[1]) },
    { title: "Memory", class: "number", cell: row => bytes(row[2]) },
    { title: "With a time to live", class: "number", cell: row => count(row[3]) },
];

/* All go, or none: the server refuses when there are more than were said. */
function removeAll(prefix, changed) {
    const most = h("input", { type: "text", inputmode: "numeric", autocomplete: "off" });
    return dialog({ title: `Delete all that begins with ${brief(prefix, 60)}?`,
        yes: "Delete", danger: true,
        body: labelled("How many keys at most", most,
            "If there are more, none is deleted."),
        deed: async () => {
            if (!/^\d+$/.test(most.value))
                throw refuse("A number of keys is needed.");
            const answer = await ask("POST", "/v1/keys:delete", { json: { prefix },
                headers: { Prefer: "max-affected=" + most.value } });
            note(count(answer.deleted) + " deleted");
            changed();
            return true;
        } });
}

export function folder(prefix, { changed }) {
    const sums = h("div", { class: "body" });
    const measure = tried(async () => {
        sums.replaceChildren(h("p", { class: "empty" }, "Counting …"));
        try {
            sums.replaceChildren(table("Keys below " + brief(prefix, 60), columns,
                await rows(SUMS, [prefix, prefix + LAST])));
        } catch (error) {
            sums.replaceChildren();
            complain(error);
        }
    });
    /* Unasked, if it is quick. */
    rows(SUMS, [prefix, prefix + LAST], { timeout_ms: QUICK_MS }).then(list =>
        sums.childElementCount === 0 && sums.append(table("Keys below " +
            brief(prefix, 60), columns, list)), () => {});
    const load = tried(async () => save(await (await send("GET", "/v1/export?" +
        new URLSearchParams({ prefix }))).blob(), "export.ndjson"));
    return { box: h("div", null, h("header", { class: "about" },
        h("h2", { class: "mono" }, brief(prefix, 2000)),
        h("p", { class: "soft" }, "All keys that begin with this."),
        h("div", { class: "row" },
            button("Count and measure", measure),
            button("Download (NDJSON)", load),
            button("Delete all…", () => removeAll(prefix, changed), { class: "danger" }))),
    sums) };
}
