/* sql.js - the view of SQL: a statement, its parameters, what it gives, its plan;
 * the tables at the side, statements that were kept and those that were run. */
import { ask, Problem, rows, send } from "./api.js";
import { brief, isBlob } from "./bytes.js";
import { button, complain, count, dialog, duration, h, labelled, note, refuse, save,
    tried } from "./dom.js";
import { field } from "./field.js";
import { parameters } from "./statement.js";
import { textOf } from "./text.js";

const SAVED = "kvsql.saved", RUN = "kvsql.history";
const HISTORY = 50;
const ROWS = 500; /* shown at a time */
const FIRST = "SELECT key, type, length, memory, ttl\nFROM keys\nORDER BY key LIMIT 100";

let schema = null; /* Map: table -> [columns], of the server */

/* ---- what is kept here --------------------------------------------------------- */

function kept(name) {
    try {
        const list = JSON.parse(localStorage.getItem(name));
        return Array.isArray(list) ? list : [];
    } catch {
        return [];
    }
}
function keep(name, list) {
    try {
        localStorage.setItem(name, JSON.stringify(list));
    } catch {
        note("The browser keeps nothing for this page", "bad");
    }
}

/* ---- tables ----------------------------------------------------------------------- */

async function readSchema() {
    const list = await rows("SELECT tbl, name, type, doc, hidden FROM kv_columns " +
        "ORDER BY tbl, cid");
    schema = new Map();
    for (const [table, name] of list)
        schema.set(table, [...schema.get(table) ?? [], name]);
    return list;
}

/* Numbered arguments of tables that are called are too many to list. */
function tables(list, insert) {
    const groups = Map.groupBy ? Map.groupBy(list, row => row[0]) :
        list.reduce((map, row) => map.set(row[0], [...map.get(row[0]) ?? [], row]), new Map());
    return [...groups].map(([table, columns]) => h("details", null,
        h("summary", { class: "mono" }, table),
        h("ul", null, columns.filter(([,, , , hidden], i) => !hidden || i < 12)
            .map(([, name, type, doc]) => h("li", null, button(name, () => insert(name),
                { class: "plain mono", title: doc, "aria-label":
                    `Insert ${name}: ${doc}` }), h("small", null, type.toLowerCase()))))));
}

/* ---- results ------------------------------------------------------------------------- */

const isNumber = (value, type) => typeof value === "number" ||
    (type === "INTEGER" && /^-?\d+$/.test(value));

/* A value of a result: cut in the table, whole when it is opened. */
function cell(value, type) {
    if (value === null)
        return h("td", { class: "null" }, "NULL");
    const number = isNumber(value, type), text = number ? String(value) : brief(value, 200);
    const long = !number && (isBlob(value) || String(value).length > 200);
    return h("td", { class: (number ? "number" : "") + (isBlob(value) ? " blob" : "") },
        long ? button(text, () => {
            const shown = textOf(value);
            dialog({ title: "Value", no: "Close", body: [shown.modes, shown.box] });
        }, { class: "plain value-button" }) : text);
}

function resultTable(answer) {
    const body = h("tbody"), more = h("div", { class: "row more" });
    let shown = 0;
    const show = () => {
        body.append(...answer.rows.slice(shown, shown + ROWS).map((row, i) =>
            h("tr", null, h("th", { scope: "row", class: "number index" }, shown + i + 1),
                row.map((value, j) => cell(value, answer.columns[j].type)))));
        shown = Math.min(shown + ROWS, answer.rows.length);
        more.replaceChildren(shown < answer.rows.length ? button(
            `Show more (${count(answer.rows.length - shown)} are hidden)`, show) : "");
        more.hidden = shown >= answer.rows.length;
    };
    show();
    return [h("div", { class: "scroll result", tabindex: "0", role: "region",
        "aria-label": "Rows" }, h("table", { class: "mono" }, h("thead", null,
        h("tr", null, h("th", { scope: "col", class: "number index" },
            h("span", { class: "unseen" }, "Row")), answer.columns.map(column =>
            h("th", { scope: "col" }, visibleName(column.name))))), body)), more];
}
const visibleName = name => brief(name, 80);

/* The plan as a tree, which is what EXPLAIN QUERY PLAN gives: id, parent, -, words. */
function plan(list) {
    const below = parent => {
        const own = list.filter(row => row[1] === parent);
        return own.length ? h("ul", null, own.map(row => h("li", null,
            h("code", null, brief(row[3], 500)), below(row[0])))) : null;
    };
    return h("div", { class: "plan body" }, below(0) ??
        h("p", { class: "empty" }, "There is nothing to plan."));
}

function summary(answer) {
    const parts = [];
    if (answer.rows)
        parts.push(`${count(answer.rows.length)} ${answer.rows.length === 1 ? "row" : "rows"}`);
    if (answer.changes !== undefined)
        parts.push(`${count(answer.changes)} changed`);
    parts.push(duration(answer.elapsed_ms));
    if (answer.truncated)
        parts.push("cut: there are more than the server gives at a time");
    return parts.join(" · ");
}

/* ---- the view ---------------------------------------------------------------------------- */

class Desk {
    constructor(main, params) {
        this.fields = h("div", { class: "row params" });
        this.status = h("p", { class: "soft grow", role: "status" });
        this.output = h("div", { class: "output" });
        this.side = h("div", { class: "side-list" });
        this.place = h("div", { class: "editor" });
        this.running = null;
        this.values = new Map();
        this.runButton = button(["Run ", h("kbd", null, "Ctrl ⏎")], () => this.run(),
            { class: "main" });
        this.stopButton = button("Cancel", () => this.running?.abort(), { disabled: true });
        this.files = ["CSV", "JSON", "NDJSON", "db"].map(name => button(name, tried(() =>
            this.download(name.toLowerCase())), { "aria-label": `Download as ${name}` }));
        this.text = params.get("q") ?? kept(RUN)[0] ?? FIRST;
        main.append(h("h1", { class: "unseen" }, "SQL"), h("div", { class: "desk" },
            h("aside", { class: "card pane", "aria-label": "Tables and statements" }, this.side),
            h("div", { class: "stack grow" },
                h("section", { class: "card", "aria-label": "Statement" }, this.place,
                    this.fields, h("div", { class: "row bar-of mid" }, this.runButton,
                        this.stopButton, button("Explain", () => this.explain()),
                        button("Keep…", tried(() => this.keepIt())), h("span", { class: "grow" }),
                        h("span", { class: "soft" }, "Download"), this.files)),
                h("section", { class: "card results", "aria-label": "Result" },
                    h("header", null, this.status), this.output))));
        this.status.textContent = "Ctrl-Enter runs, Ctrl-Space completes.";
        this.ready = this.start(params.get("run") === "1");
    }

    async start(run) {
        this.editor = await field(this.place, this.text, { run: () => this.run(),
            schema: () => schema ?? new Map(), typed: () => this.typed() });
        this.typed();
        readSchema().then(list => this.showSide(list), complain);
        if (run)
            await this.run();
    }

    typed() {
        const names = parameters(this.editor.get());
        if (names.join() === [...this.fields.children].map(one => one.dataset.name).join())
            return;
        this.fields.replaceChildren(...names.map(name => {
            const box = labelled(name, h("input", { type: "text", class: "mono", autocomplete:
                "off", spellcheck: "false", value: this.values.get(name) ?? "", oninput:
                event => this.values.set(name, event.target.value) }));
            box.dataset.name = name;
            return box;
        }));
    }

    showSide(list) {
        const statement = (sql, name, drop) => h("li", { class: "row tight" },
            button(name, () => this.take(sql), { class: "plain mono grow one-line", title: sql }),
            drop && button("×", drop, { class: "plain", "aria-label": "Forget " + name }));
        const saved = kept(SAVED), run = kept(RUN);
        const again = () => this.showSide(list);
        this.side.replaceChildren(
            h("h2", null, "Tables"), ...tables(list, name => {
                this.editor.insert(name);
                this.editor.focus();
            }),
            h("h2", null, "Kept"), saved.length ? h("ul", null, saved.map(([name, sql], i) =>
                statement(sql, name, () => {
                    keep(SAVED, saved.filter((_, at) => at !== i));
                    again();
                }))) : h("p", { class: "soft" }, "Statements that you keep, in this browser."),
            h("h2", null, "Run before"), run.length ? h("ul", null, run.map(sql =>
                statement(sql, brief(sql.replace(/\s+/g, " "), 60)))) :
                h("p", { class: "soft" }, "None yet."));
        this.again = again;
    }

    take(sql) {
        this.editor.set(sql);
        this.editor.focus();
    }

    keepIt() {
        const name = h("input", { type: "text", autocomplete: "off" });
        return dialog({ title: "Keep this statement", yes: "Keep",
            body: labelled("Name", name), deed: () => {
                if (name.value.trim() === "")
                    throw refuse("It needs a name.");
                keep(SAVED, [...kept(SAVED).filter(([old]) => old !== name.value.trim()),
                    [name.value.trim(), this.editor.get()]]);
                this.again?.();
                return true;
            } });
    }

    /* What was typed: canonical numbers are numbers, as for ?p.name=. */
    body(sql) {
        const names = parameters(sql);
        const value = name => {
            const text = this.values.get(name) ?? "";
            return /^-?(0|[1-9]\d{0,14})(\.\d+)?$/.test(text) ? Number(text) : text;
        };
        if (names.length === 0)
            return { sql };
        if (names.every(name => name.startsWith("?"))) {
            const most = Math.max(...names.map(name => Number(name.slice(1))));
            return { sql, params: Array.from({ length: most }, (_, i) => value("?" + (i + 1))) };
        }
        return { sql, params: Object.fromEntries(names.map(name =>
            [name.replace(/^[:@$]/, ""), value(name)])) };
    }

    /* Run `deed(signal)`; one at a time, and Cancel ends it at the server, too. */
    async alone(deed) {
        if (this.running)
            return;
        this.running = new AbortController();
        this.runButton.disabled = true;
        this.stopButton.disabled = false;
        this.status.textContent = "Running …";
        try {
            await deed(this.running.signal);
        } catch (error) {
            this.status.textContent = error.name === "AbortError" ? "Cancelled" : "Refused";
            if (error.name !== "AbortError")
                this.refused(error);
        }
        this.running = null;
        this.runButton.disabled = false;
        this.stopButton.disabled = true;
    }

    refused(error) {
        this.output.replaceChildren(h("div", { class: "body" }, h("p",
            { class: "problem", role: "alert" }, error.message,
            error.hint ? h("small", null, error.hint) : null)));
        if (error.offset !== undefined)
            this.editor.wrong(error.offset);
        if (!(error instanceof Problem))
            console.error(error);
    }

    run() {
        const sql = this.editor.get();
        return this.alone(async signal => {
            history.replaceState(null, "", "#/sql?" + new URLSearchParams({ q: sql }));
            keep(RUN, [sql, ...kept(RUN).filter(old => old !== sql)].slice(0, HISTORY));
            this.again?.();
            const answer = await ask("POST", "/v1/sql?big=string",
                { json: this.body(sql), signal });
            this.status.textContent = summary(answer);
            this.output.replaceChildren(...answer.rows === undefined ? [] :
                answer.rows.length ? resultTable(answer) :
                    [h("p", { class: "empty" }, "No rows.")]);
        });
    }

    explain() {
        const sql = this.editor.get().replace(/^\s*explain\s+(query\s+plan\s+)?/i, "");
        return this.alone(async signal => {
            const answer = await ask("POST", "/v1/sql", { signal,
                json: this.body("EXPLAIN QUERY PLAN " + sql) })
                .catch(error => {
                    if (error.offset !== undefined)
                        error.offset = Math.max(0, error.offset - 19);
                    throw error;
                });
            this.status.textContent = "Plan";
            this.output.replaceChildren(plan(answer.rows));
        });
    }

    async download(format) {
        await this.alone(async signal => {
            const response = await send("POST", "/v1/sql." + format,
                { json: this.body(this.editor.get()), signal });
            save(await response.blob(), "result." + format);
            this.status.textContent = "Saved as result." + format;
        });
    }
}

export function view(main, params) {
    const desk = new Desk(main, params);
    desk.ready.catch(complain);
    return () => desk.running?.abort();
}
