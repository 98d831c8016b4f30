/* api.js - asking the server: JSON, problems, the token.
 *
 * The token is kept for this tab alone and sent as a header; nothing of it is in
 * an address. Who is refused for want of one is asked for it once, and the
 * request is sent again. */

const TOKEN = "kvsql.token";
let signing = null; /* the promise of a token that is being asked for */
let askToken = async () => null;

/* An error that the server told, or that it could not be reached (status 0). */
export class Problem extends Error {
    constructor(status, body) {
        super(body.detail || body.error || "error " + status);
        this.status = status;
        this.code = body.code || "";
        this.hint = body.hint || "";
        this.offset = body.offset;
    }
}

export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;
export const forgetToken = () => sessionStorage.removeItem(TOKEN);
export function onToken(ask) {
    askToken = ask;
}

async function sign(refused) {
    signing ??= askToken(refused).finally(() => { signing = null; });
    const token = await signing;
    if (token === null)
        throw new Problem(401, { detail: "a token is needed" });
    sessionStorage.setItem(TOKEN, token);
}

function settle(response, text) {
    let body = { detail: text.slice(0, 500) };
    try {
        body = JSON.parse(text);
    } catch {
        /* a page of the library's own */
    }
    return new Problem(response.status, body);
}

/* The response of a request that went well. `options`: json (a body), headers,
 * signal, quiet (no token is asked for). */
export async function send(method, path, options = {}) {
    for (;;) {
        const headers = { ...options.headers };
        const token = sessionStorage.getItem(TOKEN);
        if (token !== null)
            headers.Authorization = "Bearer " + token;
        if (options.json !== undefined)
            headers["Content-Type"] = "application/json";
        let response;
        try {
            response = await fetch(path, {
                method, headers, signal: options.signal, cache: "no-store",
                credentials: "omit", referrerPolicy: "no-referrer",
                body: options.json === undefined ? options.body :
                    JSON.stringify(options.json),
            });
        } catch (error) {
            if (error.name === "AbortError")
                throw error;
            throw new Problem(0, { detail: "the server cannot be reached" });
        }
        if (response.ok)
            return response;
        const problem = settle(response, await response.text());
        if (response.status !== 401 || options.quiet)
            throw problem;
        if (sessionStorage.getItem(TOKEN) === token)
            await sign(token !== null);
    }
}

/* The same, as JSON; integers that a number cannot hold come as strings. */
export async function ask(method, path, options) {
    const response = await send(method, path, options);
    const text = await response.text();
    return text === "" ? null : JSON.parse(text);
}

/* Statements that the console itself has asked, so that it need not show them. */
export const own = { statements: 0 };

/* Rows of a statement, as arrays; `limits`: timeout_ms, max_rows. `cut`: there are
 * more than one answer holds. */
export async function rows(sql, params = [], limits = {}) {
    own.statements++;
    const answer = await ask("POST", "/v1/sql?big=string",
        { json: { sql, params, ...limits } });
    return Object.assign(answer.rows, { cut: answer.truncated });
}

/* Commands and statements, all or none; their results. */
export async function batch(ops, conditions) {
    const json = { ops };
    if (conditions)
        json.if = conditions;
    const answer = await ask("POST", "/v1/batch", { json });
    return answer.results.map(one => one.result);
}

/* Commands that read, each by itself: what it gave, or the Problem that it met. */
export async function commands(list, options = {}) {
    const answer = await ask("POST", "/pipeline", { ...options, json: list });
    return answer.map(one => one.error === undefined ? one.result :
        new Problem(400, { detail: one.error }));
}
