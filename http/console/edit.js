/* edit.js - dialogs that write: a value, a new key, a name, a time to live.
 * A value is typed as text, or with escapes (\xff, \n) when it is bytes or has
 * ends of lines that a field does not keep. */
import { ask } from "./api.js";
import { brief, bytesTyped, isBent, segment, typedOf } from "./bytes.js";
import { button, dialog, h, labelled, refuse, select } from "./dom.js";

/* A field for bytes: {box, get()}; get() gives the form of JSON, or refuses. */
export function bytesField(name, value, { lines = 3, hint, one = false } = {}) {
    const field = h(one ? "input" : "textarea", { class: "mono", rows: one ? null : lines,
        spellcheck: "false", autocomplete: "off", value: typedOf(value, one) });
    const escapes = h("input", { type: "checkbox", checked: isBent(value, one) });
    return {
        field,
        box: h("div", { class: "field bytes" }, labelled(name, field, hint),
            h("label", { class: "tick-box" }, escapes, "with escapes: \\xff \\n \\\\")),
        get() {
            const got = escapes.checked ? bytesTyped(field.value) : field.value;
            if (got === null)
                throw refuse(`${name}: \\xff, \\n, \\r, \\t, \\0 and \\\\ are known`);
            return got;
        },
    };
}

/* ---- a new key ------------------------------------------------------------------ */

/* Elements of a type: titles of their fields, and the value of rows of them. */
const FORMS = {
    string: { titles: ["Value"], single: true, make: list => list[0]?.[0] ?? "" },
    hash: { titles: ["Field", "Value"], make: list => ({ $pairs: list }) },
    list: { titles: ["Element"], make: list => list.map(([one]) => one) },
    set: { titles: ["Member"], make: list => list.map(([one]) => one) },
    zset: { titles: ["Member", "Score"], make: list => list.map(([one, score]) => {
        if (!/^[+-]?(inf|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)$/i.test(score))
            throw refuse("A score is a number, inf or -inf");
        return { member: one, score };
    }) },
};

/* Rows of fields, one more by a button. */
function elements(type) {
    const form = FORMS[type], body = h("div", { class: "elements" });
    const add = () => {
        const number = body.childElementCount + 1;
        const fields = form.titles.map((title, i) => h(form.titles.length === 1 || i ?
            "textarea" : "input", { class: "mono grow", rows: "1", "aria-label":
            form.single ? title : `${title} ${number}`, placeholder: title,
        spellcheck: "false", autocomplete: "off" }));
        body.append(h("div", { class: "row" }, fields));
        return fields[0];
    };
    add();
    return {
        box: h("div", { class: "field" }, body, form.single ? null :
            button("One more", () => add().focus(), { class: "plain" })),
        get: () => form.make([...body.children].map(row =>
            [...row.children].map(field => field.value))
            .filter((row, i) => i === 0 || row.some(text => text !== ""))),
    };
}

/* The key that was made, or null. */
export async function create(prefix) {
    const key = bytesField("Key", prefix, { one: true });
    const type = select(Object.keys(FORMS), "string");
    const ttl = h("input", { type: "text", inputmode: "numeric", autocomplete: "off" });
    const place = h("div");
    let form;
    const shape = () => {
        form = elements(type.value);
        place.replaceChildren(form.box);
    };
    type.addEventListener("change", shape);
    shape();
    return dialog({ title: "New key", yes: "Make it",
        body: [key.box, labelled("Type", type), h("div", { role: "group",
            "aria-label": "Value" }, place),
        labelled("Seconds to live", ttl, "Nothing: it stays.")],
        deed: async () => {
            const name = key.get(), json = { type: type.value, value: form.get() };
            const ms = ttlOf(ttl.value);
            if (name === "")
                throw refuse("A key has a name here.");
            if (ms !== null)
                json.ttl_ms = ms;
            await ask("PUT", "/v1/keys/" + segment(name),
                { json, headers: { "If-None-Match": "*", Prefer: "return=minimal" } })
                .catch(error => {
                    throw error.status === 412 ?
                        refuse("There is a key of this name already.") : error;
                });
            return name;
        } });
}

/* ---- name, time, end ----------------------------------------------------------------- */

/* Milliseconds of "90", "1.5", "" (null); refuses. */
function ttlOf(text) {
    if (text.trim() === "")
        return null;
    const ms = Math.round(Number(text) * 1000);
    if (!(ms >= 1) || ms > 9e15)
        throw refuse("Seconds to live are a number above 0");
    return ms;
}

export function rename(key) {
    const field = bytesField("New name", key, { one: true });
    const over = h("input", { type: "checkbox" });
    return dialog({ title: "Rename " + brief(key, 60), yes: "Rename", body: [field.box,
        h("label", { class: "tick-box" }, over, "replace a key that has this name")],
    deed: async () => {
        const to = field.get();
        await ask("PATCH", "/v1/keys/" + segment(key),
            { json: { rename_to: to, overwrite: over.checked } });
        return to;
    } });
}

export function expire(key, ttl_ms) {
    const field = h("input", { type: "text", inputmode: "numeric", autocomplete: "off",
        value: ttl_ms === null ? "" : String(Number(ttl_ms) / 1000) });
    return dialog({ title: "Time to live of " + brief(key, 60), yes: "Set",
        body: labelled("Seconds", field, "Nothing: it stays for good."),
        deed: async () => {
            const ms = ttlOf(field.value);
            if (ms !== null || ttl_ms !== null)
                await ask("PATCH", "/v1/keys/" + segment(key),
                    { json: ms === null ? { persist: true } : { ttl_ms: ms } });
            return true;
        } });
}

export function remove(key) {
    return dialog({ title: "Delete " + brief(key, 60) + "?", yes: "Delete", danger: true,
        body: h("p", null, "The key and all that it holds go."),
        deed: async () => {
            await ask("DELETE", "/v1/keys/" + segment(key));
            return true;
        } });
}
