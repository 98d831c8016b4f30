/* keys.js - the view of keys: at the left all of them in order, folded at ":",
 * at the right the one that is looked at (value.js, folder.js).
 *
 * A level of the tree is one statement that steps from one name to the next: it
 * costs what it shows, however many keys stand below. */
import { ask, rows } from "./api.js";
import { brief, fromName, isBlob, same, toName } from "./bytes.js";
import { button, complain, count, duration, h, labelled, problem, select } from "./dom.js";
import { create } from "./edit.js";
import { folder } from "./folder.js";
import { tree } from "./tree.js";
import { value } from "./value.js";

export const TYPES = ["string", "hash", "list", "set", "zset"];
const PAGE = 200;
const SEARCHES = 10; /* pages in a row that may be empty */
/* Greater than every key that is text, not greater than any that is bytes. */
const BEHIND_TEXT = { $base64: "AA==" };
const LAST = "\u{10FFFF}";

/* ?1 first name, ?2 behind the last, ?3 where the rest of a name begins, from 1,
 * ?4 how many. Names of the level, where a ":" stands in the rest (0: nowhere),
 * and how many keys stand before. */
const LEVEL = `
WITH RECURSIVE level(k, n) AS (
  SELECT (SELECT key FROM keys WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 1), 1
  UNION ALL
  SELECT (SELECT key FROM keys WHERE key < ?2 AND key >=
      CASE instr(substr(k, ?3), ':') WHEN 0 THEN k || char(1)
      ELSE substr(k, 1, ?3 + instr(substr(k, ?3), ':') - 2) || ';' END
    ORDER BY key LIMIT 1), n + 1
  FROM level WHERE k IS NOT NULL AND n < ?4)
SELECT k, instr(substr(k, ?3), ':'), rank, type, ttl FROM level JOIN keys ON key = k`;
const BEHIND = `SELECT coalesce((SELECT rank FROM keys WHERE key >= ?1 ORDER BY key
  LIMIT 1), (SELECT value FROM stats WHERE name = 'keys'))`;

export const address = params => "#/keys?" + new URLSearchParams(
    Object.entries(params).filter(([, text]) => text));

/* ---- nodes ------------------------------------------------------------------- */

const leaf = (key, label, type, ttl) => ({ key, label, kind: type,
    title: isBlob(key) ? "bytes" : brief(key, 2000),
    note: ttl === null ? null : duration(Number(ttl)) });

/* A page of the names between `base` and `upper` from `first` on. */
async function level(base, upper, first) {
    const at = [...base].length;
    const [list, [[behind]]] = await Promise.all([
        rows(LEVEL, [first, upper, at + 1, PAGE + 1]), rows(BEHIND, [upper])]);
    const more = list.length > PAGE ? list.pop() : null;
    const nodes = list.map(([key, colon, rank, type, ttl], i) => {
        const rest = [...key].slice(at);
        if (colon === 0)
            return leaf(key, rest.length ? brief(rest.join("")) : "(nothing behind)",
                type, ttl);
        const prefix = base + rest.slice(0, colon).join("");
        const next = list[i + 1]?.[2] ?? more?.[2] ?? behind;
        return { prefix, label: brief(rest.slice(0, colon).join("")),
            title: brief(prefix, 2000), note: count(Math.max(1, next - rank)),
            open: () => level(prefix, prefix.slice(0, -1) + ";", prefix) };
    });
    return { nodes, more: more && (() => level(base, upper, startOf(more, base, at))) };
}

/* The name from which the page after it begins: for a folder its beginning. */
function startOf([key, colon], base, at) {
    return colon === 0 ? key : base + [...key].slice(at, at + colon).join("");
}

async function byteKeys(first) {
    const list = await rows("SELECT key, type, ttl FROM keys WHERE key >= ?1 " +
        "ORDER BY key LIMIT ?2", [first, PAGE + 1]);
    const more = list.length > PAGE ? list.pop() : null;
    return { nodes: list.map(([key, type, ttl]) => leaf(key, brief(key), type, ttl)),
        more: more && (() => byteKeys(more[0])) };
}

async function whole(prefix) {
    const page = await level(prefix, prefix ? prefix + LAST : BEHIND_TEXT, prefix);
    if (prefix)
        return page;
    const [[some]] = await rows("SELECT count(*) FROM (SELECT 1 FROM keys " +
        "WHERE key >= ?1 LIMIT 1000)", [BEHIND_TEXT]);
    if (some)
        page.nodes.push({ label: "keys that are no text", bytes: true,
            note: some === 1000 ? "1,000+" : String(some),
            open: () => byteKeys(BEHIND_TEXT) });
    return page;
}

/* What fits a pattern or a type, or the greatest: a page of /v1/keys. */
async function found(filter, cursor = null, seen = 0) {
    const query = new URLSearchParams({ limit: PAGE });
    for (const name of ["prefix", "match", "type", "order"])
        if (filter[name])
            query.set(name, filter[name]);
    let items = [];
    for (let i = 0; i < SEARCHES && items.length === 0; i++) {
        if (cursor)
            query.set("cursor", cursor);
        const page = await ask("GET", "/v1/keys?" + query);
        items = page.items;
        cursor = page.next;
        if (cursor === null)
            break;
    }
    return { nodes: items.map(one => leaf(one.key, brief(one.key), one.type, one.ttl_ms)),
        more: cursor && (() => found(filter, cursor)),
        searched: items.length ? null : "Nothing among these" };
}

/* ---- the view ------------------------------------------------------------------ */

/* "user:" is a beginning, "user:*:name" a pattern. */
function filterOf(params) {
    const text = params.get("q") ?? "";
    const filter = { type: params.get("type") ?? "", order: params.get("order") ?? "" };
    filter[/[*?[]/.test(text) ? "match" : "prefix"] = text;
    return filter;
}

/* Selecting changes the address without making the view anew. */
export function view(main, params) {
    const state = Object.fromEntries(params);
    const pane = h("section", { class: "card pane", "aria-label": "The key" });
    const list = h("div", { class: "list scroll" });
    const query = h("input", { class: "mono", type: "search", value: state.q ?? "",
        placeholder: "user:  or  user:*:name", spellcheck: "false", autocomplete: "off" });
    const type = select([["", "all types"], ...TYPES], state.type ?? "",
        { "aria-label": "Type" });
    const order = select([["", "by name"], ["size", "largest first"], ["ttl", "next to expire"]],
        state.order ?? "", { "aria-label": "Order" });
    let turn = 0, close = null;

    const go = fresh => {
        Object.assign(state, fresh);
        history.replaceState(null, "", address(state));
    };
    async function show(node) {
        go({ key: node.key !== undefined ? toName(node.key) : "",
            folder: node.prefix ?? "" });
        const mine = ++turn;
        pane.setAttribute("aria-busy", "true");
        try {
            const what = node.key !== undefined ? await value(node.key, { changed, gone }) :
                node.prefix !== undefined ? folder(node.prefix, { changed }) :
                    { box: hint() };
            if (mine !== turn)
                return;
            close?.();
            close = what.close ?? null;
            pane.replaceChildren(what.box);
        } catch (error) {
            if (mine === turn)
                pane.replaceChildren(problem(error));
        }
        pane.removeAttribute("aria-busy");
    }
    const branches = tree({ label: "Keys", pick: show });

    async function fill() {
        const filter = filterOf(new URLSearchParams(state));
        const flat = filter.match || filter.type || filter.order;
        list.setAttribute("aria-busy", "true");
        try {
            const page = flat ? await found(filter) : await whole(filter.prefix);
            branches.show(page);
            list.replaceChildren(branches.root);
            if (page.nodes.length === 0)
                list.append(h("p", { class: "empty" }, state.q || state.type ?
                    "No key fits." : "There are no keys yet."));
            mark();
        } catch (error) {
            list.replaceChildren(problem(error));
        }
        list.removeAttribute("aria-busy");
    }
    const mark = () => branches.mark(node => node.key !== undefined && state.key !== "" &&
        state.key !== undefined && same(node.key, fromName(state.key)));
    /* A key was made, renamed, or went. */
    async function changed(key) {
        await fill();
        if (key !== undefined)
            await show({ key });
        mark();
    }
    async function gone() {
        await changed();
        go({ key: "" });
        pane.replaceChildren(hint("It is gone."));
    }
    const hint = (text = "Choose a key at the left, or make one.") =>
        h("p", { class: "empty" }, text);
    const filter = () => {
        go({ q: query.value, type: type.value, order: order.value });
        fill();
    };

    type.addEventListener("change", filter);
    order.addEventListener("change", filter);
    main.append(h("h1", { class: "unseen" }, "Keys"), h("div", { class: "split" },
        h("section", { class: "card pane", "aria-label": "All keys" },
            h("form", { class: "filter", role: "search", "aria-label": "Keys", onsubmit: event => {
                event.preventDefault();
                filter();
            } }, labelled("Beginning or pattern", query), h("div", { class: "row" }, type, order,
                button("Look", filter, { type: "submit" }),
                button("New key…", () => create(filterOf(new URLSearchParams(state)).prefix ?? "")
                    .then(key => key !== null && changed(key)).catch(complain),
                { class: "main" }))), list), pane));
    fill();
    if (state.key !== undefined && state.key !== "")
        show({ key: fromName(state.key) });
    else if (state.folder)
        show({ prefix: state.folder });
    else
        pane.append(hint());
    return () => {
        turn++;
        close?.();
    };
}

