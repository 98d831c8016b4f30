/* statement.js - a statement of SQL as text: its words, the names of its
 * parameters, and what could stand where the cursor is. */

const WORDS = `abort all alter and as asc autoincrement begin between by cascade case cast check
collate commit conflict constraint create cross current default deferrable deferred delete desc
distinct do drop each else end escape except exclude exists explain fail filter first following
for foreign from full glob group groups having if ignore immediate in index indexed inner insert
instead intersect into is isnull join key last left like limit match materialized natural no not
nothing notnull null nulls of offset on or order others outer over partition plan pragma preceding
primary query raise range recursive references regexp release rename replace restrict returning
right rollback row rows savepoint select set table temp then ties to transaction trigger unbounded
union unique update using vacuum values view virtual when where window with without`
    .split(/\s+/);
const FUNCTIONS = `abs avg char coalesce count cume_dist date datetime dense_rank first_value
format glob group_concat hex ifnull iif instr json json_array json_each json_extract json_object
json_group_array json_group_object julianday lag last_value lead length like lower ltrim max min
nth_value ntile nullif percent_rank printf quote random rank replace round row_number rtrim sign
strftime substr sum time total trim typeof unicode unixepoch upper zeroblob`.split(/\s+/);

export const KEYWORDS = new Set(WORDS);

/* One token at a time: a comment, a text, a name in quotes, bytes, a number, a
 * parameter, a word, or one character. */
const TOKEN = new RegExp([
    "(?<comment>--[^\\n]*|/\\*[\\s\\S]*?(?:\\*/|$))",
    "(?<text>[xX]?'(?:[^']|'')*(?:'|$))",
    "(?<name>\"(?:[^\"]|\"\")*(?:\"|$)|`[^`]*(?:`|$)|\\[[^\\]]*(?:\\]|$))",
    "(?<number>0[xX][0-9a-fA-F]+|(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][+-]?\\d+)?)",
    "(?<parameter>\\?\\d*|[:@$][\\p{L}_][\\p{L}\\p{N}_]*)",
    "(?<word>[\\p{L}_][\\p{L}\\p{N}_$]*)",
    "(?<blank>\\s+)",
    "(?<other>[\\s\\S])",
].join("|"), "gu");

export function* tokens(sql) {
    for (const match of sql.matchAll(TOKEN)) {
        const kind = Object.keys(match.groups).find(name => match.groups[name] !== undefined);
        yield { kind, text: match[0], at: match.index };
    }
}

/* Names of parameters, each once, in order; those without a name by number. */
export function parameters(sql) {
    const found = [];
    let greatest = 0;
    for (const { kind, text } of tokens(sql)) {
        if (kind !== "parameter")
            continue;
        const name = text === "?" ? "?" + (greatest + 1) : text;
        if (name.startsWith("?"))
            greatest = Math.max(greatest, Number(name.slice(1)));
        if (!found.includes(name))
            found.push(name);
    }
    return found;
}

/* Tables that a statement names, with the names it gives them: alias -> table. */
function named(sql, schema) {
    const words = [...tokens(sql)].filter(t => t.kind === "word" || t.kind === "name" ||
        t.text === "," || t.text === "(" || t.text === ")");
    const found = new Map();
    words.forEach((word, i) => {
        const table = word.text.toLowerCase();
        if (!schema.has(table))
            return;
        found.set(table, table);
        const next = words[i + 1]?.text.toLowerCase() === "as" ? words[i + 2] : words[i + 1];
        if (next?.kind === "word" && !KEYWORDS.has(next.text.toLowerCase()))
            found.set(next.text.toLowerCase(), table);
    });
    return found;
}

/* What may stand at `at`: {from, list: [{text, note}]}. `schema`: table -> names of
 * columns. */
export function completions(sql, at, schema) {
    const before = [...tokens(sql.slice(0, at))], last = before.at(-1);
    if (last && ["comment", "text", "number", "parameter"].includes(last.kind))
        return { from: at, list: [] };
    const typed = last?.kind === "word" ? last.text : "";
    const rest = (typed ? before.slice(0, -1) : before).filter(t => t.kind !== "blank");
    const from = at - typed.length, tables = named(sql, schema);
    const column = (name, table) => ({ text: name, note: table });
    let list;
    if (rest.at(-1)?.text === ".") {
        const table = tables.get(rest.at(-2)?.text.toLowerCase());
        list = (schema.get(table) ?? []).map(name => column(name, table));
    } else if (["from", "join", "into", "update", "table"]
        .includes(rest.at(-1)?.text.toLowerCase())) {
        list = [...schema.keys()].map(name => ({ text: name, note: "table" }));
    } else {
        list = [
            ...[...new Set(tables.values())].flatMap(table =>
                schema.get(table).map(name => column(name, table))),
            ...[...tables].filter(([alias, table]) => alias !== table)
                .map(([alias, table]) => ({ text: alias, note: table })),
            ...[...schema.keys()].map(name => ({ text: name, note: "table" })),
            ...WORDS.map(name => ({ text: name.toUpperCase(), note: "" })),
            ...FUNCTIONS.map(name => ({ text: name + "(", note: "function" })),
        ];
    }
    const seen = new Set(), start = typed.toLowerCase();
    return { from, list: list.filter(({ text }) => text.toLowerCase().startsWith(start) &&
        text.toLowerCase() !== start && !seen.has(text) && seen.add(text)) };
}

/* Where byte `offset` of the statement stands, in characters of the page. */
export function placeOf(sql, offset) {
    const bytes = new TextEncoder().encode(sql);
    return new TextDecoder().decode(bytes.subarray(0, offset)).length;
}

/* The word that stands at a place, for the line under it. */
export function wordAt(sql, at) {
    for (const token of tokens(sql))
        if (at < token.at + token.text.length)
            return [token.at, token.at + Math.max(1, token.text.length)];
    return [Math.max(0, sql.length - 1), sql.length];
}
