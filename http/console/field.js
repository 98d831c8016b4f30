/* field.js - where a statement is typed: Debian's CodeMirror, taught our words,
 * when it is in the program, else a plain field that can do the same but colours
 * and completion. Tab leaves it; Ctrl-Space completes. */
import { h } from "./dom.js";
import { completions, KEYWORDS, placeOf, tokens, wordAt } from "./statement.js";

let loading = null;

/* The editor's code and look, once; null when the program has none. */
function load() {
    loading ??= new Promise(done => {
        const look = h("link", { rel: "stylesheet", href: new URL("editor.css",
            import.meta.url).href });
        look.addEventListener("load", () => import("./editor.js").then(
            () => done(globalThis.CodeMirror), () => done(null)));
        look.addEventListener("error", () => done(null));
        document.head.prepend(look);
    });
    return loading;
}

/* Colours by our own words; a text or comment over lines is kept in the state. */
function mode() {
    const styles = { text: "string", name: "variable-2", number: "number",
        parameter: "atom", comment: "comment" };
    return {
        startState: () => ({ open: "" }),
        token(stream, state) {
            const rest = stream.string.slice(stream.start);
            const [first] = tokens(state.open + rest);
            const shown = first.text.length - state.open.length;
            stream.pos = stream.start + Math.max(1, shown);
            const end = { "'": /^[xX]?'(?:[^']|'')*'$/, '"': /^"(?:[^"]|"")*"$/ };
            const over = first.kind === "comment" && first.text.startsWith("/*") &&
                !first.text.endsWith("*/") ? "/*" :
                first.kind === "text" && !end["'"].test(first.text) ? "'" :
                    first.kind === "name" && first.text[0] === '"' &&
                    !end['"'].test(first.text) ? '"' : "";
            state.open = over;
            return first.kind === "word" ?
                KEYWORDS.has(first.text.toLowerCase()) ? "keyword" : "variable" :
                styles[first.kind] ?? null;
        },
    };
}

function hint(editor, schema) {
    const doc = editor.getDoc(), at = doc.indexFromPos(doc.getCursor());
    const { from, list } = completions(doc.getValue(), at, schema());
    return { from: doc.posFromIndex(from), to: doc.getCursor(),
        list: list.slice(0, 60).map(({ text, note }) => ({ text,
            render: item => item.append(h("span", null, text), h("small", null, note)) })) };
}

function rich(CodeMirror, place, text, { run, schema, typed }) {
    CodeMirror.defineMode("kvsql", mode);
    const complete = { completeSingle: false, updateOnCursorActivity: false,
        hint: editor => hint(editor, schema) };
    const editor = CodeMirror(place, { value: text, mode: "kvsql", lineNumbers: true,
        lineWrapping: true, matchBrackets: true, autoCloseBrackets: "()[]''\"\"",
        screenReaderLabel: "SQL statement", inputStyle: "contenteditable", spellcheck: false,
        viewportMargin: 50,
        extraKeys: { Tab: false, "Shift-Tab": false, "Ctrl-Space": field =>
            field.showHint(complete), "Ctrl-Enter": run, "Cmd-Enter": run } });
    let mark = null;
    editor.on("change", () => {
        mark?.clear();
        typed();
    });
    editor.on("inputRead", (field, change) => {
        if (change.origin === "+input" && /[\w.]$/.test(change.text.at(-1)) &&
            !field.state.completionActive)
            field.showHint(complete);
    });
    /* At once, not by the next frame: Enter takes what belongs to what is typed. */
    editor.on("cursorActivity", field => {
        const { line, ch } = field.getCursor(), active = field.state.completionActive;
        if (!active)
            return;
        if (line === active.startPos.line && !field.somethingSelected() &&
            /[\w.]$/.test(field.getLine(line).slice(0, ch)))
            active.update();
        else
            active.close();
    });
    return {
        get: () => editor.getValue(),
        set(value) {
            editor.setValue(value);
            editor.setCursor(editor.lineCount(), 0);
        },
        insert: value => editor.replaceSelection(value),
        focus: () => editor.focus(),
        wrong(offset) {
            const [from, to] = wordAt(editor.getValue(), placeOf(editor.getValue(), offset));
            mark = editor.markText(editor.posFromIndex(from), editor.posFromIndex(to),
                { className: "wrong" });
            editor.setCursor(editor.posFromIndex(from));
        },
    };
}

function plain(place, text, { run, typed }) {
    const field = h("textarea", { class: "mono", rows: "8", spellcheck: "false",
        "aria-label": "SQL statement", value: text, oninput: typed, onkeydown: event => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
                event.preventDefault();
                run();
            }
        } });
    place.append(field);
    return {
        get: () => field.value,
        set: value => { field.value = value; },
        insert: value => field.setRangeText(value, field.selectionStart,
            field.selectionEnd, "end"),
        focus: () => field.focus(),
        wrong(offset) {
            const [from, to] = wordAt(field.value, placeOf(field.value, offset));
            field.focus();
            field.setSelectionRange(from, to);
        },
    };
}

/* run(): Ctrl-Enter; schema(): tables and columns; typed(): the text is another. */
export async function field(place, text, deeds) {
    const CodeMirror = await load();
    return CodeMirror ? rich(CodeMirror, place, text, deeds) : plain(place, text, deeds);
}
