/* bytes.js - keys and values are bytes. In JSON they are a string when they are
 * text, else {"$base64":".."}; that form is kept here from answer to request,
 * and this file alone knows how it is shown and typed.
 *
 * Always true:
 *   B1  what is stored reaches the page as text of a node, never as markup;
 *       what cannot be seen, or would turn the text around, is shown as an
 *       escape. */

/* Controls, marks of direction, fillers: \u0000 ... */
const UNSEEN = new RegExp("[\\u0000-\\u001f\\u007f-\\u00a0\\u00ad\\u061c\\u115f\\u1160" +
    "\\u180e\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u3000\\u3164\\ufeff" +
    "\\ufff9-\\ufffb]", "gu");

export const isBlob = value => value !== null && typeof value === "object" &&
    typeof value.$base64 === "string";

/* Bytes of either form. */
export function toBytes(value) {
    if (!isBlob(value))
        return new TextEncoder().encode(String(value));
    return Uint8Array.from(atob(value.$base64), c => c.charCodeAt(0));
}

/* The form of bytes: a string when they are UTF-8 without NUL. */
export function fromBytes(bytes) {
    if (!bytes.includes(0)) {
        try {
            return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
                .decode(bytes);
        } catch {
            /* no text */
        }
    }
    let binary = "";
    for (const byte of bytes)
        binary += String.fromCharCode(byte);
    return { $base64: btoa(binary) };
}

export const sizeOf = value => toBytes(value).length;
export const same = (a, b) => isBlob(a) ? isBlob(b) && a.$base64 === b.$base64
    : a === b;

/* A string with what cannot be seen made visible. */
export function visible(text) {
    return text.replace(UNSEEN, c => c === " " ? c : c === "\n" ? "⏎" :
        c === "\t" ? "⇥" : "\\u{" + c.codePointAt(0).toString(16) + "}");
}

/* Bytes as text: printable ASCII as it is, the others as \xff. */
function escaped(bytes) {
    let out = "";
    for (const byte of bytes)
        out += byte === 92 ? "\\\\" : byte >= 32 && byte < 127 ?
            String.fromCharCode(byte) :
            "\\x" + byte.toString(16).padStart(2, "0");
    return out;
}

/* One line of a value, at most `most` characters. */
export function brief(value, most = 200) {
    if (value === null || value === undefined)
        return "NULL";
    let cut = false, text;
    if (isBlob(value)) {
        const bytes = toBytes(value);
        cut = bytes.length > most;
        text = escaped(bytes.subarray(0, most));
    } else {
        text = String(value);
        cut = text.length > most;
        text = visible(cut ? text.slice(0, most) : text);
    }
    return cut ? text + "…" : text;
}

/* Lines of a hex dump: offset, bytes, characters. */
export function dump(value, most = 4096) {
    const bytes = toBytes(value), lines = [];
    for (let i = 0; i < Math.min(bytes.length, most); i += 16) {
        const row = [...bytes.subarray(i, Math.min(i + 16, most))];
        lines.push(i.toString(16).padStart(6, "0") + "  " +
            row.map(b => b.toString(16).padStart(2, "0")).join(" ").padEnd(48) +
            " " + row.map(b => b >= 32 && b < 127 ? String.fromCharCode(b) : "·")
                .join(""));
    }
    if (bytes.length > most)
        lines.push("… " + (bytes.length - most) + " bytes more");
    return lines.join("\n");
}

/* Would a field give back something else? Fields turn \r into \n, and those of
 * one line drop both. */
export const isBent = (value, one) => isBlob(value) ||
    (one ? /[\r\n]/ : /\r/).test(value);

/* "\xff\n" as it is typed for bytes, and back. Null: a bad escape. */
export const typedOf = (value, one) => isBent(value, one) ? escaped(toBytes(value)) :
    value;
export function bytesTyped(text) {
    const source = new TextEncoder().encode(text), out = [];
    for (let i = 0; i < source.length; i++) {
        if (source[i] !== 92) {
            out.push(source[i]);
            continue;
        }
        const next = String.fromCharCode(source[i + 1] ?? 0);
        const hex = new TextDecoder().decode(source.subarray(i + 2, i + 4));
        if (next === "x" && /^[0-9a-f]{2}$/i.test(hex)) {
            out.push(parseInt(hex, 16));
            i += 3;
        } else if ("\\nrt0".includes(next) && i + 1 < source.length) {
            out.push({ "\\": 92, n: 10, r: 13, t: 9, 0: 0 }[next]);
            i++;
        } else {
            return null;
        }
    }
    return fromBytes(Uint8Array.from(out));
}

/* One segment of a path: every byte may stand in a key. */
export function segment(value) {
    if (!isBlob(value))
        return encodeURIComponent(value);
    let out = "";
    for (const byte of toBytes(value))
        out += "%" + byte.toString(16).padStart(2, "0");
    return out;
}

/* For the address of a view: text as it is, bytes behind a "~". */
export const toName = value => isBlob(value) ? "~" + value.$base64 :
    value.startsWith("~") ? "~~" + value.slice(1) : value;
export function fromName(name) {
    if (name.startsWith("~~"))
        return "~" + name.slice(2);
    return name.startsWith("~") ? { $base64: name.slice(1) } : name;
}
