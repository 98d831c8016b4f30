/* jump.js - Ctrl-K: a few letters, and one is at a key or a view. Keys are in
 * order, so their beginnings are looked up, among millions, too. */
import { rows } from "./api.js";
import { brief, toName } from "./bytes.js";
import { complain, h } from "./dom.js";

const SHOWN = 9;
const LAST = "\u{10FFFF}";

/* `views`: [[name, title]]; `go(address)`. */
export function jump(views, go) {
    const list = h("ul", { role: "listbox", id: "jump-list", "aria-label": "Where to", class:
        "choices" });
    const field = h("input", { type: "text", role: "combobox", "aria-expanded": "true",
        "aria-controls": "jump-list", "aria-autocomplete": "list", "aria-label":
        "A key or a view", placeholder: "A key or a view", spellcheck: "false",
        autocomplete: "off", class: "mono" });
    const box = h("dialog", { class: "jump", "aria-label": "Go to" }, field, list);
    let at = 0, turn = 0, found = [], looking = null;

    function mark(index) {
        const items = [...list.children];
        at = Math.max(0, Math.min(index, items.length - 1));
        items.forEach((item, i) => item.setAttribute("aria-selected", String(i === at)));
        items[at]?.scrollIntoView({ block: "nearest" });
        if (items[at])
            field.setAttribute("aria-activedescendant", items[at].id);
        else
            field.removeAttribute("aria-activedescendant");
    }
    function fill(choices) {
        list.replaceChildren(...choices.map(([text, kind, address], i) => h("li", {
            role: "option", id: "jump-" + i, "data-address": address, "aria-selected": "false",
            onclick: () => take(address) }, h("span", { class: "grow" }, text),
        h("small", { class: "t-" + kind }, kind))));
        mark(0);
    }
    const viewsOf = text => views.filter(([, title]) => title.toLowerCase()
        .startsWith(text.toLowerCase())).map(([name, title]) => [title, "view", "#/" + name]);

    const keysOf = keys => keys.map(([key, type]) => [brief(key, 120), type,
        "#/keys?" + new URLSearchParams({ key: toName(key) })]);

    /* What is shown is at any time of what is typed: keys that no longer fit are
     * gone at once, others come when the server has found them. */
    async function look() {
        const text = field.value, mine = ++turn, views = viewsOf(text);
        found = found.filter(([key]) => text && typeof key === "string" &&
            key.startsWith(text));
        fill([...views, ...keysOf(found)]);
        if (text === "")
            return;
        try {
            const keys = await rows("SELECT key, type FROM keys WHERE key >= ?1 AND key < ?2 " +
                "ORDER BY key LIMIT ?3", [text, text + LAST, SHOWN]);
            if (mine !== turn)
                return;
            const chosen = at;
            found = keys;
            fill([...views, ...keysOf(found)]);
            mark(chosen);
        } catch (error) {
            complain(error);
        }
    }
    async function enter() {
        if (!list.children.length)
            await looking;
        if (box.open)
            take(list.children[at]?.dataset.address);
    }
    function take(address) {
        box.close();
        if (address)
            go(address);
    }
    field.addEventListener("input", () => { looking = look(); });
    field.addEventListener("keydown", event => {
        const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (by) {
            event.preventDefault();
            mark(at + by);
        } else if (event.key === "Enter") {
            event.preventDefault();
            enter();
        }
    });
    box.addEventListener("click", event => {
        if (event.target === box)
            box.close();
    });
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    fill(viewsOf(""));
    box.showModal();
}
