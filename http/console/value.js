/* value.js - one key: what it is, what it holds, by its type, and how it is
 * changed. Elements come in pages; a long one is shown in part and fetched whole
 * when it is opened. Changes are commands in a batch, so that every byte passes. */
import { batch, rows } from "./api.js";
import { brief, isBlob, visible } from "./bytes.js";
import { bytesField, expire, remove, rename } from "./edit.js";
import { button, bytes, copy, count, dialog, duration, h, labelled, note, refuse, table,
    tried } from "./dom.js";
import { textOf } from "./text.js";

const PAGE = 100;
const SHOWN = 400;        /* characters of an element in a table */
const WHOLE = 256 * 1024; /* characters of a string that are shown */

const META = `SELECT type, length, ttl, memory, encoding, version FROM keys WHERE key = ?1`;

/* ---- elements --------------------------------------------------------------------- */

/* Statements of a page: ?1 the key, ?2 where it begins, ?3 how many; `at` is the
 * place of a row, from which the next page goes on. Then what changes a row. */
const KINDS = {
    hash: {
        titles: ["Field", "Value"],
        page: (from, find) => ["SELECT field, substr(value, 1, 400), length(value), " +
            "expires_at FROM hashes WHERE key = ?1" + (from === null ? "" : " AND field > ?2") +
            (find ? " AND field >= ?4 AND field < ?4 || char(1114111)" : "") +
            " ORDER BY field LIMIT ?3"],
        at: row => row[0],
        finds: "Fields that begin with",
        one: "SELECT value FROM hashes WHERE key = ?1 AND field = ?2",
        fields: ["Field", "Value"],
        add: (key, [field, value]) => [{ sql: "INSERT INTO hashes(key, field, value) " +
            "VALUES (?1, ?2, ?3)", params: [key, field, value] }],
        set: (key, row, [field, value]) => [...renamed("hashes", "field", key, row[0], field),
            ["HSETEX", key, "KEEPTTL", "FIELDS", "1", field, value]],
        drop: (key, row) => [["HDEL", key, row[0]]],
    },
    list: {
        titles: ["Index", "Element"],
        page: from => ["SELECT idx, substr(value, 1, 400), length(value) FROM lists " +
            "WHERE key = ?1" + (from === null ? "" : " AND idx > ?2") +
            " ORDER BY idx LIMIT ?3"],
        at: row => row[0],
        one: "SELECT value FROM lists WHERE key = ?1 AND idx = ?2",
        fields: [null, "Element"],
        versioned: true, /* places move */
        add: (key, [, value], head) => [[head ? "LPUSH" : "RPUSH", key, value]],
        set: (key, row, [, value]) => [["LSET", key, String(row[0]), value]],
        drop: (key, row) => [{ sql: "DELETE FROM lists WHERE key = ?1 AND idx = ?2",
            params: [key, row[0]] }],
    },
    set: {
        titles: ["Member"],
        page: (from, find) => ["SELECT substr(member, 1, 400), member, length(member) " +
            "FROM sets WHERE key = ?1" + (from === null ? "" : " AND member > ?2") +
            (find ? " AND member >= ?4 AND member < ?4 || char(1114111)" : "") +
            " ORDER BY member LIMIT ?3"],
        at: row => row[1],
        finds: "Members that begin with",
        fields: ["Member"],
        add: (key, [member]) => [["SADD", key, member]],
        set: (key, row, [member]) => renamed("sets", "member", key, row[1], member),
        drop: (key, row) => [["SREM", key, row[1]]],
    },
    zset: {
        titles: ["Rank", "Member", "Score"],
        page: (from, find, down) => ["SELECT rank, member, score FROM zsets WHERE key = ?1" +
            (from === null ? "" : ` AND rank ${down ? "<" : ">"} ?2`) +
            ` ORDER BY rank ${down ? "DESC" : ""} LIMIT ?3`],
        at: row => row[0],
        turns: true,
        fields: ["Member", "Score"],
        add: (key, [member, score]) => [{ sql: "INSERT INTO zsets(key, member, score) " +
            "VALUES (?1, ?2, 0)", params: [key, member] },
        ["ZADD", key, scoreOf(score), member]],
        set: (key, row, [member, score]) => [...renamed("zsets", "member", key, row[1],
            member), ["ZADD", key, scoreOf(score), member]],
        drop: (key, row) => [["ZREM", key, row[1]]],
    },
};
const sameBytes = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/* By a statement: it fails where another has the name, and keeps the rest. */
const renamed = (table, column, key, from, to) => sameBytes(from, to) ? [] :
    [{ sql: `UPDATE ${table} SET ${column} = ?3 WHERE key = ?1 AND ${column} = ?2`,
        params: [key, from, to] }];

function scoreOf(text) {
    if (!/^[+-]?(inf|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)$/i.test(text))
        throw refuse("A score is a number, inf or -inf");
    return text;
}

/* What is typed for an element: of the row, or nothing yet. */
const typed = {
    hash: async (row, whole) => [row[0], await whole()],
    list: async (row, whole) => [null, await whole()],
    set: async row => [row[1]],
    zset: async row => [row[1], String(row[2])],
};

/* Ask for the fields of an element; `deed` gets what was typed. */
function ask(title, kind, values, deed, extra) {
    const fields = kind.fields.map((name, i) => name === null ? null :
        name === "Score" ? { plain: h("input", { type: "text", class: "mono", value: values[i],
            autocomplete: "off" }) } :
            bytesField(name, values[i], { lines: name === "Value" || name === "Element" ? 8 : 1,
                one: name === "Field" }));
    return dialog({ title, yes: "Save", body: [fields.map((field, i) => field &&
        (field.plain ? labelled(kind.fields[i], field.plain) : field.box)), extra],
    deed: () => deed(fields.map(field => field && (field.plain ? field.plain.value :
        field.get()))) });
}

function elements(key, meta, again) {
    const kind = KINDS[meta.type], place = h("div"), rest = h("div", { class: "row more" });
    const find = h("input", { type: "search", class: "mono", spellcheck: "false",
        autocomplete: "off" });
    let list = [], down = meta.type === "zset";
    const conditions = kind.versioned ? [{ key, version: Number(meta.version) }] : undefined;

    async function change(ops, said) {
        try {
            if (ops.length)
                await batch(ops, conditions);
        } catch (error) {
            throw error.code === "EXISTS" ?
                refuse(`There is such a ${kind.fields[0].toLowerCase()} already`) : error;
        }
        note(said);
        await again();
        return true;
    }
    const whole = row => async () => (await rows(kind.one, [key, row[0]]))[0]?.[0] ?? "";
    const edit = tried(async row => ask(`Change ${kind.fields.at(-1).toLowerCase()}`, kind,
        await typed[meta.type](row, whole(row)),
        values => change(kind.set(key, row, values), "Saved")));
    const drop = tried(async row => {
        const name = brief(meta.type === "list" ? row[0] : kind.at(row) === row[0] &&
            meta.type !== "zset" ? row[0] : row[1], 60);
        await dialog({ title: `Remove ${name}?`, yes: "Remove", danger: true,
            body: h("p", null, list.length === 1 && Number(meta.length) === 1 ?
                "It is the last one: the key goes with it." : "This cannot be taken back."),
            deed: () => change(kind.drop(key, row), "Removed") });
    });
    const add = tried(async () => {
        const head = meta.type === "list" && h("input", { type: "checkbox" });
        await ask("Add to " + brief(key, 60), kind, kind.fields.map(() => ""),
            values => change(kind.add(key, values, head?.checked), "Added"),
            head && h("label", { class: "tick-box" }, head, "at the beginning"));
    });

    const part = (value, size) => [h("span", { class: isBlob(value) ? "blob" : null },
        brief(value, SHOWN)), size > SHOWN ? h("small", null, ` ${count(size)} in all`) : null];
    const cells = {
        hash: row => [brief(row[0], SHOWN), [part(row[1], row[2]), row[3] === null ? null :
            h("small", { class: "ttl" }, " goes in " + duration(row[3] - Date.now()))]],
        list: row => [row[0], part(row[1], row[2])],
        set: row => [part(row[0], row[2])],
        zset: row => [count(row[0]), brief(row[1], SHOWN), String(row[2])],
    }[meta.type];
    const columns = kind.titles.map((title, i) => ({ title, cell: row => cells(row)[i],
        class: title === "Index" || title === "Rank" ? "number tight" :
            title === "Score" ? "number" : title === "Field" ? "mono name" : "mono" }));
    const named = row => brief(meta.type === "list" ? row[0] : meta.type === "zset" ||
        meta.type === "set" ? row[1] : row[0], 40);
    columns.push({ title: h("span", { class: "unseen" }, "Change"), class: "tight",
        cell: row => [button("Edit", () => edit(row), { class: "plain",
            "aria-label": "Edit " + named(row) }), button("Remove", () => drop(row),
            { class: "plain", "aria-label": "Remove " + named(row) })] });

    async function page(from = null) {
        const params = [key, from ?? 0, PAGE + 1];
        if (find.value)
            params.push(find.value);
        const fresh = await rows(kind.page(from, find.value, down)[0], params);
        const more = fresh.length > PAGE || (fresh.cut && fresh.length > 0);
        list = [...from === null ? [] : list, ...fresh.slice(0, PAGE)];
        place.replaceChildren(list.length ? table("Elements", columns, list) :
            h("p", { class: "empty" }, "Nothing here."));
        rest.replaceChildren(h("small", null, `${count(list.length)} of ` +
            `${count(meta.length)} shown`), more ? button("Show more",
            tried(() => page(kind.at(list.at(-1))))) : "");
    }
    const turn = kind.turns && button("Highest first", tried(async event => {
        down = !down;
        event.target.setAttribute("aria-pressed", String(down));
        await page();
    }), { "aria-pressed": "true" });
    const bar = h("form", { class: "row bar-of", role: "search", "aria-label": "Elements",
        onsubmit: event => {
        event.preventDefault();
        tried(page)();
    } }, kind.finds ? labelled(kind.finds, find) : h("span", { class: "grow" }), turn,
    button("Add…", add));
    return { box: [bar, place, rest], ready: page() };
}

/* ---- strings ------------------------------------------------------------------------ */

function string(key, meta, again) {
    const place = h("div", { class: "body" });
    const ready = rows(`SELECT substr(value, 1, ${WHOLE}) FROM strings WHERE key = ?1`, [key])
        .then(([row]) => {
            const value = row?.[0] ?? "", part = Number(meta.length) > WHOLE;
            const text = textOf(value);
            const edit = () => {
                const field = bytesField("Value", value, { lines: 16 });
                return dialog({ title: "Change " + brief(key, 60), yes: "Save",
                    body: field.box, deed: async () => {
                        /* KEEPTTL: a new value is no new key. */
                        await batch([["SET", key, field.get(), "KEEPTTL"]],
                            [{ key, version: Number(meta.version) }]);
                        note("Saved");
                        await again();
                        return true;
                    } });
            };
            place.replaceChildren(h("div", { class: "row bar-of" }, text.modes,
                h("span", { class: "grow" }),
                button("Copy", () => copy(isBlob(value) ? brief(value, WHOLE) : value)),
                part ? h("small", null, `the first ${bytes(WHOLE)}`) :
                    button("Edit…", tried(edit))), text.box);
        });
    return { box: place, ready };
}

/* ---- the key ----------------------------------------------------------------------------- */

export async function value(key, { changed, gone }) {
    const box = h("div");
    async function fill() {
        const [row] = await rows(META, [key]);
        if (!row) {
            box.replaceChildren(h("p", { class: "empty" }, "There is no key ",
                h("code", null, brief(key, 200)), ". It may have expired."));
            return;
        }
        const meta = Object.fromEntries(["type", "length", "ttl", "memory", "encoding",
            "version"].map((name, i) => [name, row[i]]));
        const units = { string: "bytes", hash: "fields", list: "elements" }[meta.type] ??
            "members";
        const shown = meta.type === "string" ? string(key, meta, fill) :
            KINDS[meta.type] ? elements(key, meta, fill) :
                { box: h("p", { class: "empty" }, "This type is not shown here.") };
        await shown.ready;
        box.replaceChildren(h("header", { class: "about" },
            h("div", { class: "row" }, h("span", { class: "kind t-" + meta.type },
                meta.type), h("h2", { class: "mono grow" }, brief(key, 2000))),
            h("p", { class: "soft" }, [`${count(meta.length)} ${units}`,
                `${bytes(meta.memory)} of memory`, meta.encoding, meta.ttl === null ?
                    "stays for good" : `goes in ${duration(Number(meta.ttl))}`,
                `version ${count(meta.version)}`].join(" · ")),
            h("div", { class: "row" },
                button("Read again", tried(fill)),
                button("Time to live…", tried(async () => await expire(key, meta.ttl) &&
                    await fill())),
                button("Rename…", tried(async () => {
                    const to = await rename(key);
                    if (to !== null)
                        await changed(to);
                })),
                button("Copy name", () => copy(isBlob(key) ? visible(brief(key, 5000)) : key)),
                button("Delete…", tried(async () => await remove(key) && await gone()),
                    { class: "danger" }))), ...[shown.box].flat());
    }
    await fill();
    return { box };
}
