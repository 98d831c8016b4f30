// contract.mjs - requests made from /openapi.json by fast-check, answers held
// against it by ajv: status, media type and schema of each must be documented.
//
// CONTRACT_URL is the server, CONTRACT_CASES how many requests, CONTRACT_SEED
// their seed. With --control the document loses its 404 first, and a finding is
// what is expected: it shows that a gap would be found.
import fc from "fast-check";
import Ajv from "ajv/dist/2020.js";
import http from "node:http";
import { gunzipSync } from "node:zlib";

const base = new URL(process.env.CONTRACT_URL);
const total = Number(process.env.CONTRACT_CASES ?? 2000);
const seed = Number(process.env.CONTRACT_SEED ?? 1);
const control = process.argv.includes("--control");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

// What would change the server itself instead of its data, or end it.
const apart = new Set(["PATCH /v1/config"]);
const forbidden = new Set(["shutdown", "debug", "config", "acl"]);
// This one has no answer without an error; see redocly.yaml.
const elsewhere = "/";

function send(method, path, headers, body) {
    return new Promise((resolve, reject) => {
        const request = http.request({
            hostname: base.hostname, port: base.port, method, path, headers,
            agent,
        }, (answer) => {
            const parts = [];
            const done = () => resolve({
                status: answer.statusCode, headers: answer.headers,
                data: Buffer.concat(parts),
            });
            if (kind(answer.headers) === "text/event-stream") {
                answer.destroy(); // it has no end
                done();
                return;
            }
            answer.on("data", (part) => parts.push(part));
            answer.on("end", done);
            answer.on("error", reject);
        });
        request.on("error", reject);
        request.end(body);
    });
}

const kind = (headers) => (headers["content-type"] ?? "").split(";")[0];

// ---- the document -----------------------------------------------------------

const doc = JSON.parse((await send("GET", "/openapi.json", {})).data);
const ajv = new Ajv({ strict: false, validateFormats: false });
ajv.addSchema(doc, "doc");

function follow(thing) {
    return thing?.$ref
        ? thing.$ref.slice(2).split("/").reduce((at, name) => at[name], doc)
        : thing;
}

const validators = new Map();
// What is wrong with the data, or null.
function wrong(schema, data) {
    const text = JSON.stringify(schema).replaceAll('"#/', '"doc#/');
    if (!validators.has(text))
        validators.set(text, ajv.compile(JSON.parse(text)));
    const validate = validators.get(text);
    return validate(data) ? null : ajv.errorsText(validate.errors);
}

// ---- requests ---------------------------------------------------------------

const hostile = [
    "a/b", "%", "\0", "..", ".", "?x", "#", "+", "\u0301", "\u{1F600}", "a:b",
    ":", " ", "%2F", "k", "0", "-1", "x".repeat(300), "'", '"', "*", "\r\n",
    "\\",
];
const words = fc.constantFrom(
    "", "0", "1", "-1", "x", "rank", "score", "lex", "pairs", "30s", "*",
    "bytes=0-1", "bytes=9-", '"v1-x"', "return=previous", "tx=rollback",
    "return=minimal", "return=representation", "SELECT 1", "SELECT",
    "DELETE FROM keys", "user:", "csv", "(1", "[a", "inf", "gzip", "ndjson",
    "json", "999999999999");
const waits = fc.constantFrom("0", "1", "1ms", "x", "-1", ""); // none is long
const text = fc.oneof(fc.constantFrom(...hostile),
    fc.string({ minLength: 1, maxLength: 12, unit: "grapheme" }));

// Values of a schema: its examples, and others.
function values(schema, depth = 0) {
    const known = follow(schema) ?? {};
    if (depth > 3)
        return fc.constant("x");
    if (!known.examples || depth === 3)
        return made(known, depth);
    return fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(...known.examples) },
        { weight: 2, arbitrary: made(known, depth) });
}

function made(schema, depth) {
    const inner = (one) => values(one, depth + 1);
    if (schema.enum)
        return fc.constantFrom(...schema.enum);
    if ("const" in schema)
        return fc.constant(schema.const);
    const several = schema.oneOf ?? schema.anyOf;
    if (several)
        return fc.oneof(...several.map(inner));
    switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case "string":
        return text;
    case "integer":
        return fc.oneof(fc.integer(), fc.constantFrom(0, 1, -1, 20));
    case "number":
        return fc.double({ noNaN: true, noDefaultInfinity: true });
    case "boolean":
        return fc.boolean();
    case "array":
        return fc.array(inner(schema.items), { maxLength: 4 });
    case "object": {
        const members = Object.entries(schema.properties ?? {})
            .map(([name, one]) => [name, inner(one)]);
        return members.length > 0
            ? fc.record(Object.fromEntries(members),
                { requiredKeys: schema.required ?? [] })
            : fc.dictionary(text, text, { maxKeys: 4 });
    }
    default:
        return fc.jsonValue();
    }
}

// A body of one of the types that an operation takes: [type, text].
function bodies(operation) {
    const content = operation.requestBody?.content;
    if (!content)
        return fc.constant([]);
    return fc.oneof(...Object.entries(content).map(([type, { schema }]) =>
        fc.tuple(fc.constant(type), type === "application/json"
            ? fc.oneof(
                { weight: 4, arbitrary: values(schema).map(
                    (x) => JSON.stringify(x)) },
                { weight: 1, arbitrary: fc.oneof(fc.json(), text) })
            : fc.oneof(text, fc.constant("12")))));
}

// All operations, each with an arbitrary of its requests.
function operations() {
    const all = [];
    for (const [path, item] of Object.entries(doc.paths))
        for (const [name, operation] of Object.entries(item)) {
            const method = name.toUpperCase();
            const takes = (operation.parameters ?? []).map(follow);
            const inside = takes.filter((p) => p.in === "path");
            const others = takes.filter((p) => p.in !== "path");
            if (apart.has(`${method} ${path}`))
                continue;
            all.push({ path, method, operation, inside, others,
                requests: fc.record({
                    segments: fc.tuple(...inside.map(() => text)),
                    given: fc.tuple(...others.map((p) => fc.option(
                        p.name === "wait" ? waits
                            : fc.oneof(words, values(p.schema).map(String)),
                        { freq: 3 }))),
                    body: bodies(operation),
                }) });
        }
    return all;
}

const encode = (value) => encodeURIComponent(value.toWellFormed());

// Path, headers and body of one request, null for one that is not to be sent.
function target({ path, inside, others }, { segments, given, body }) {
    const [type, bytes] = body;
    const headers = {}, query = [];
    let to = path;
    inside.forEach((p, i) => {
        to = to.replace(`{${p.name}}`, () => encode(segments[i]));
    });
    const first = decodeURIComponent(to.split("/")[1]).toLowerCase();
    if (path === "/{rest}" && (forbidden.has(first) ||
        Object.keys(doc.paths).some((p) => p.split("/")[1] === first)))
        return null;
    given.forEach((value, i) => {
        if (value === null)
            return;
        const name = others[i].name.replace("p.name", "p.a");
        const plain = value.replace(/[^\x20-\x7e]/g, "").trim();
        if (others[i].in === "query")
            query.push(`${encode(name)}=${encode(value)}`);
        else if (plain !== "")
            headers[name] = plain;
    });
    if (query.length > 0)
        to += "?" + query.join("&");
    if (type)
        headers["Content-Type"] = type;
    if (bytes !== undefined)
        headers["Content-Length"] = Buffer.byteLength(bytes);
    return { to, headers, body: bytes };
}

// ---- judging ----------------------------------------------------------------

// What of the answer is not documented, or null.
function undocumented({ method, operation }, answer) {
    const told = follow(operation.responses[answer.status]);
    const type = kind(answer.headers);
    let { data } = answer;
    if (!told)
        return "is not told of";
    if (method === "HEAD" || !told.content)
        return data.length > 0 ? "has a body" : null;
    if (type === "" && data.length === 0)
        return answer.status === 201 ? null : "has no body";
    const content = told.content[type];
    if (!content)
        return `has type ${type}`;
    if (answer.headers["content-encoding"] === "gzip")
        data = gunzipSync(data);
    if (!/json$/.test(type) || /ndjson$/.test(type))
        return null;
    return wrong(content.schema, JSON.parse(data));
}

async function ask(one, request, statuses) {
    const sent = target(one, request);
    if (sent === null)
        return null;
    const answer = await send(one.method, sent.to, sent.headers, sent.body);
    statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
    const why = undocumented(one, answer);
    return why && `${one.method} ${sent.to} ${JSON.stringify(sent.headers)} ` +
        `${sent.body ?? ""}: ${answer.status} ${why}: ` +
        answer.data.subarray(0, 200);
}

function findings(all) {
    return all.filter(({ path, operation }) => path !== elsewhere &&
            !Object.keys(operation.responses).some((s) => s < "300"))
        .map(({ path, method }) => `${method} ${path} has only errors`);
}

async function main() {
    const all = operations();
    const rounds = Math.ceil(total / all.length);
    const began = Date.now(), statuses = {}, found = findings(all);
    if (control)
        all.forEach(({ operation }) => delete operation.responses[404]);
    const samples = all.map((one, i) =>
        fc.sample(one.requests, { numRuns: rounds, seed: seed + i }));
    for (let round = 0; round < rounds && found.length < 10; round++)
        for (const [i, one] of all.entries()) {
            const why = await ask(one, samples[i][round], statuses);
            if (why)
                found.push(why);
        }
    agent.destroy();
    const asked = Object.values(statuses).reduce((a, b) => a + b, 0);
    const what = control ? "a document without 404 is found out"
        : `${asked} requests to ${all.length} operations are answered as ` +
            `documented (seed ${seed})`;
    if (control ? found.length > 0 : found.length === 0)
        console.log(`PASS ${what}`);
    else
        console.log(`FAIL ${what}: ${found[0] ?? "it is not"}`);
    found.slice(0, control ? 0 : 10).forEach((why) => console.log(why));
    console.log(Date.now() - began, "ms", JSON.stringify(statuses));
    process.exitCode = (found.length > 0) === control ? 0 : 1;
}

await main();
