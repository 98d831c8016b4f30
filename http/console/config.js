/* config.js - the view of options: what they are, which are not as they come, and
 * another value for those that take one while the server runs. */
import { ask, rows } from "./api.js";
import { brief } from "./bytes.js";
import { button, count, dialog, h, labelled, note, table, tried } from "./dom.js";
import { page } from "./page.js";

async function change([name, value], again) {
    const field = h("input", { class: "mono", type: "text", value, spellcheck: "false",
        autocomplete: "off" });
    await dialog({ title: name, yes: "Set", body: labelled("Value", field,
        "Until the server ends; CONFIG REWRITE writes it to the file."),
    deed: async () => {
        await ask("PATCH", "/v1/config", { json: { [name]: field.value } });
        note(`${name} is set`);
        return true;
    } });
    await again();
}

const columns = again => [
    { title: "Option", class: "mono name", cell: row => row[0] },
    { title: "Value", class: "mono", cell: row => row[1] === row[2] ? brief(row[1], 300) :
        h("strong", null, brief(row[1], 300) || "(nothing)") },
    { title: "Comes as", class: "mono soft", cell: row => row[1] === row[2] ? "" :
        brief(row[2], 300) || "(nothing)" },
    { title: h("span", { class: "unseen" }, "Change"), class: "tight", cell: row => row[3] ?
        button("Change…", tried(() => change(row, again)),
            { class: "plain", "aria-label": "Change " + row[0] }) : null },
];

const find = h("input", { type: "search", "aria-label": "Options that have these words in " +
    "their name", placeholder: "Part of a name", spellcheck: "false", autocomplete: "off" });

export const view = page("Options", {
    every_ms: 10000,
    async read(again) {
        const list = await rows("SELECT name, coalesce(value, ''), coalesce(default_value, ''), " +
            "mutable FROM config WHERE instr(name, ?1) ORDER BY name", [find.value.trim()]);
        const other = list.filter(row => row[1] !== row[2]).length;
        return [`${count(list.length)} options, ${count(other)} not as they come`,
            list.length ? table("Options", columns(again), list) :
                h("p", { class: "empty" }, "No option has this in its name.")];
    },
    tools: again => {
        find.oninput = tried(again);
        return [find];
    },
});
