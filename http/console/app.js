/* app.js - the frame: which view stands at which address, light and dark, the
 * token, and whether the server is there.
 *
 * The address behind # is the whole state of a view: #/keys?key=user:1. A view
 * is a module with view(main, params), which gives what ends it. */
import { ask, forgetToken, hasToken, onToken } from "./api.js";
import { complain, dialog, h, labelled, problem, refuse } from "./dom.js";
import { jump } from "./jump.js";
import * as pulse from "./pulse.js";

const views = [
    ["overview", "Overview", () => import("./overview.js")],
    ["keys", "Keys", () => import("./keys.js")],
    ["sql", "SQL", () => import("./sql.js")],
    ["slow", "Slow log", () => import("./slow.js")],
    ["clients", "Clients", () => import("./clients.js")],
    ["config", "Options", () => import("./config.js")],
    ["snapshots", "Snapshots", () => import("./snapshots.js")],
];
let end = null; /* of the open view */
let turn = 0;   /* grows with each address, so that a late module is let go */

/* ---- addresses ------------------------------------------------------------------- */

export function here() {
    const [name, query] = location.hash.replace(/^#\/?/, "").split("?");
    return { name: name || "overview", params: new URLSearchParams(query ?? "") };
}

async function open() {
    const { name, params } = here(), mine = ++turn;
    const main = document.getElementById("main");
    const found = views.find(one => one[0] === name);
    for (const link of document.querySelectorAll("#views a"))
        if (link.dataset.view === name) {
            link.setAttribute("aria-current", "page");
            link.scrollIntoView({ block: "nearest", inline: "nearest" });
        } else {
            link.removeAttribute("aria-current");
        }
    document.title = (found?.[1] ?? "Nothing") + " · kvsql";
    try {
        const module = await found?.[2]();
        if (mine !== turn)
            return;
        end?.();
        main.replaceChildren();
        main.dataset.view = name;
        end = module?.view(main, params) ?? null;
        if (!module)
            main.append(h("h1", null, "Nothing stands here"),
                h("p", null, "The views are above."));
    } catch (error) {
        complain(error);
        main.replaceChildren(problem(error));
    }
}

/* ---- light and dark ---------------------------------------------------------------- */

const dark = () => matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ??
    (dark().matches ? "dark" : "light")) === "dark";

function showTheme() {
    const field = document.getElementById("theme");
    field.textContent = isDark() ? "☀" : "☾";
    field.setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
    field.title = field.getAttribute("aria-label");
}

function switchTheme() {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
        localStorage.setItem("kvsql.theme", theme);
    } catch {
        /* for this page only, then */
    }
    showTheme();
}

/* ---- the token ----------------------------------------------------------------------- */

async function signIn(refused) {
    const field = h("input", { type: "password", autocomplete: "off",
        spellcheck: "false", required: true });
    const token = await dialog({ title: "This server asks for a token",
        body: [refused ? h("p", null, "The last one is not taken.") : null,
            labelled("Token", field, "Of the option token-file, or the password. " +
                "It stays in this tab until it is closed.")],
        yes: "Sign in", no: null,
        deed: async () => {
            if (field.value === "")
                throw refuse("A token is needed.");
            await ask("GET", "/v1/stats", { quiet: true,
                headers: { Authorization: "Bearer " + field.value } });
            return field.value;
        } });
    document.getElementById("leave").hidden = token === null;
    return token;
}

/* ---- the server ------------------------------------------------------------------------ */

function showState() {
    const state = document.getElementById("state"), failure = pulse.failure;
    const text = failure === null ? "live" :
        failure.code === "LOADING" || /LOADING/.test(failure.message) ? "loading" :
            failure.status === 401 ? "signed out" :
                failure.status === 0 ? "away" : "error";
    if (state.textContent !== text) {
        state.textContent = text;
        state.className = "state " + text.replace(" ", "-");
        state.title = failure?.message ?? "The server answers.";
    }
}

/* ---- start ------------------------------------------------------------------------------- */

document.getElementById("views").append(...views.map(([name, title]) =>
    h("a", { href: "#/" + name, "data-view": name }, title)));
const toJump = () => document.querySelector("dialog[open]") ||
    jump(views, address => { location.hash = address; });
document.getElementById("jump").addEventListener("click", toJump);
addEventListener("keydown", event => {
    if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) &&
        !event.altKey && !event.shiftKey) {
        event.preventDefault();
        toJump();
    }
});
document.getElementById("theme").addEventListener("click", switchTheme);
document.getElementById("leave").addEventListener("click", () => {
    forgetToken();
    localStorage.removeItem("kvsql.history"); /* may hold what others shall not see */
    location.reload();
});
document.getElementById("leave").hidden = !hasToken();
dark().addEventListener("change", showTheme);
showTheme();
onToken(signIn);
pulse.listen(showState);
addEventListener("hashchange", open);
open();
pulse.start();
