/* dom.js - making the page: elements, messages, dialogs, numbers. Text is
 * always the text of a node; there is no way here to write markup. */

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
    for (const [name, value] of Object.entries(properties ?? {})) {
        if (value === undefined || value === null || value === false)
            continue;
        if (name.startsWith("on"))
            element.addEventListener(name.slice(2), value);
        else if (name === "value" || name === "checked" || name === "indeterminate")
            element[name] = value;
        else
            element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity)
        .filter(child => child !== null && child !== undefined && child !== false));
    return element;
}

/* h("p", {class: "x"}, "text", [more]) */
export const h = (name, properties, ...children) =>
    fill(document.createElement(name), properties, children);
export const s = (name, properties, ...children) =>
    fill(document.createElementNS(SVG, name), properties, children);

export const button = (text, click, properties = {}) =>
    h("button", { type: "button", onclick: click, ...properties }, text);

let serial = 0;
export const fresh = prefix => prefix + "-" + ++serial;

/* A label over a field; `field` is made by h(). */
export function labelled(text, field, hint) {
    field.id ||= fresh("field");
    const note = hint && h("small", { id: field.id + "-hint" }, hint);
    if (note)
        field.setAttribute("aria-describedby", note.id);
    return h("div", { class: "field" },
        h("label", { for: field.id }, text), field, note);
}

export const select = (options, value, properties) => {
    const field = h("select", properties, options.map(option => {
        const [name, text] = Array.isArray(option) ? option : [option, option];
        return h("option", { value: name }, text);
    }));
    field.value = value;
    return field;
};

/* ---- words for people --------------------------------------------------------- */

export const count = n => Number(n).toLocaleString("en-US");

export function bytes(n) {
    let unit = 0;
    for (n = Number(n); n >= 1024 && unit < 5; n /= 1024)
        unit++;
    return (unit && n < 100 ? n.toFixed(1) : Math.round(n)) + " " +
        ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit];
}

export function short(n) {
    let unit = 0;
    for (n = Number(n); n >= 1000 && unit < 4; n /= 1000)
        unit++;
    return (unit && n < 100 ? n.toFixed(1) : n < 10 && n % 1 ? n.toFixed(1) :
        Math.round(n)) + ["", " k", " M", " G", " T"][unit];
}

export function micros(us) {
    return us === 0 ? "0" : us < 1000 ? (us < 10 ? us.toFixed(1) : Math.round(us)) + " µs" :
        us < 1e6 ? (us / 1000).toPrecision(3) + " ms" :
            (us / 1e6).toPrecision(3) + " s";
}

export function duration(ms) {
    const seconds = Math.floor(ms / 1000);
    if (ms < 1000)
        return Math.round(ms) + " ms";
    if (seconds < 120)
        return seconds + " s";
    if (seconds < 7200)
        return Math.floor(seconds / 60) + " min";
    if (seconds < 172800)
        return (seconds / 3600).toFixed(1) + " h";
    return Math.floor(seconds / 86400) + " days";
}

export function moment(ms) {
    const date = new Date(Number(ms));
    return Number.isNaN(date.getTime()) ? String(ms) :
        date.toLocaleString("sv-SE");
}

/* ---- messages ------------------------------------------------------------------- */

export function note(text, kind = "good") {
    const item = h("div", { class: "note " + kind }, h("span", null, text));
    const gone = () => item.remove();
    item.append(button("×", gone, { class: "plain", "aria-label": "Close the message" }));
    document.getElementById("notes").append(item);
    setTimeout(gone, kind === "bad" ? 12000 : 4000);
}

export function complain(error) {
    if (error.name !== "AbortError")
        note(error.message + (error.hint ? " — " + error.hint : ""), "bad");
    if (error.status === undefined && error.name !== "AbortError")
        console.error(error);
}

/* A handler that may fail, for an event. */
export const tried = deed => async (...args) => {
    try {
        return await deed(...args);
    } catch (error) {
        complain(error);
    }
};

/* What stands where something should: an error, nothing, a wait. */
export const problem = error => h("p", { class: "problem", role: "alert" },
    error.message, error.hint ? h("small", null, error.hint) : null);

/* ---- dialogs ---------------------------------------------------------------------- */

/* Ask. `deed` is run by the button `yes`; while it fails the dialog stays and
 * says why. The promise ends with what it gave, or null. */
export function dialog({ title, body, yes = "OK", danger = false, deed,
    no = "Cancel" }) {
    return new Promise(done => {
        let result = null;
        const wrong = h("p", { class: "problem", role: "alert", hidden: true });
        const go = h("button", { type: "submit", class: danger ? "danger" : "main" }, yes);
        const form = h("form", { novalidate: true }, h("h2", { id: "dialog-title" }, title),
            h("div", { class: "body" }, body), wrong,
            h("div", { class: "row end" },
                no && button(no, () => box.close()), deed && go));
        const box = h("dialog", { "aria-labelledby": "dialog-title" }, form);
        form.addEventListener("submit", async event => {
            event.preventDefault();
            go.disabled = true;
            try {
                result = await deed() ?? true;
                box.close();
            } catch (error) {
                wrong.textContent = error.message + (error.hint ? " — " + error.hint : "");
                wrong.hidden = false;
                if (error.status === undefined && !(error instanceof RangeError))
                    console.error(error);
            }
            go.disabled = false;
        });
        box.addEventListener("close", () => {
            box.remove();
            done(result);
        });
        document.body.append(box);
        box.showModal();
    });
}

/* A refusal of our own, for a deed. */
export const refuse = text => new RangeError(text);

/* ---- tables ------------------------------------------------------------------------ */

/* columns: [{title, class, cell(row)}] */
export function table(caption, columns, list) {
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
        h("table", null,
            h("thead", null, h("tr", null, columns.map(column =>
                h("th", { scope: "col", class: column.class }, column.title)))),
            h("tbody", null, list.map(row => h("tr", null, columns.map(column =>
                h("td", { class: column.class }, column.cell(row))))))));
}

export function save(blob, name) {
    const link = h("a", { href: URL.createObjectURL(blob), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

export async function copy(text) {
    try {
        await navigator.clipboard.writeText(text);
        note("Copied");
    } catch {
        note("The browser does not let this page copy", "bad");
    }
}
