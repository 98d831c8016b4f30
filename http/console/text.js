/* text.js - a value to be read: as text, as JSON set out, as bytes. */
import { brief, dump, isBlob } from "./bytes.js";
import { button, h } from "./dom.js";

/* A text as JSON set out in lines; null when it is none. Numbers keep their
 * digits: the text is laid out, not read and written. */
export function pretty(text) {
    if (!/^\s*[[{]/.test(text))
        return null;
    try {
        JSON.parse(text);
    } catch {
        return null;
    }
    const words = text.match(/"(?:\\.|[^"\\])*"|[[\]{}:,]|[^\s"[\]{}:,]+/g) ?? [];
    let depth = 0, out = "";
    const line = () => "\n" + "  ".repeat(depth);
    words.forEach((word, i) => {
        const next = words[i + 1];
        if (word === "{" || word === "[") {
            depth++;
            out += word + (next === "}" || next === "]" ? "" : line());
        } else if (word === "}" || word === "]") {
            depth--;
            out += (words[i - 1] === "{" || words[i - 1] === "[" ? "" : line()) + word;
        } else {
            out += word + (word === "," ? line() : word === ":" ? " " : "");
        }
    });
    return out;
}

/* {box, modes}: the value, and buttons that say how it is shown. */
export function textOf(value) {
    const json = isBlob(value) ? null : pretty(value);
    const ways = isBlob(value) ? { Bytes: () => dump(value, 65536), Escapes: () =>
        brief(value, 65536) } : {
        ...json === null ? {} : { JSON: () => json },
        /* Lines stay lines here; what cannot be seen is shown all the same. */
        Text: () => value.split("\n").map(line => brief(line, 1 << 20)).join("\n"),
        Bytes: () => dump(value, 65536),
    };
    const box = h("pre", { class: "value-of", tabindex: "0", role: "region",
        "aria-label": "The value" });
    const buttons = Object.keys(ways).map(name => button(name, () => show(name)));
    function show(name) {
        box.textContent = ways[name]();
        for (const one of buttons)
            one.setAttribute("aria-pressed", String(one.textContent === name));
    }
    show(Object.keys(ways)[0]);
    return { box, modes: h("div", { class: "row tight", role: "group",
        "aria-label": "Shown as" }, buttons) };
}
