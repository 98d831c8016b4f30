// better_sqlite3.mjs - the loadable extension in better-sqlite3, whose SQLite is
// its own and a newer one, built with SQLite's asserts; beside the running server
// its directory read only, and its snapshot.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { createClient } from "redis";
import { assert, limit, step, url, version } from "./common.mjs";

limit(120);
version("better-sqlite3");
const extension = process.env.KVSQL_EXTENSION;
const directory = join(process.env.REDIS_WORK, "data");

function open(...words) {
    const db = new Database(":memory:");
    db.loadExtension(extension);
    db.prepare(`SELECT kv_open(${words.map(() => "?").join(", ")})`).get(...words);
    return db;
}
const one = (db, sql, ...params) => db.prepare(sql).pluck().get(...params);
const all = (db, sql, ...params) => db.prepare(sql).raw().all(...params);
const code = (fn) => {
    try {
        fn();
    } catch (error) {
        return error.code;
    }
    return "no error";
};

const db = open(directory);
const [major, minor] = one(db, "SELECT sqlite_version()").split(".").map(Number);
assert.ok(major > 3 || minor >= 45);
db.exec(`INSERT INTO strings(key, value) VALUES ('s', 'v'), ('n', 41);
    INSERT INTO hashes(key, field, value) VALUES ('h', 'f', 1), ('h', 'g', 2);
    INSERT INTO lists(key, value) VALUES ('l', 'a'), ('l', 'b');
    INSERT INTO sets(key, member) VALUES ('t', 'x');
    INSERT INTO zsets(key, member, score) VALUES ('z', 'm', 2.5)`);
assert.deepEqual(all(db, "SELECT key, type, length FROM keys"), [
    ["h", "hash", 2], ["l", "list", 2], ["n", "string", 2], ["s", "string", 1],
    ["t", "set", 1], ["z", "zset", 1]]);
assert.equal(one(db, "SELECT kv_get('s') || kv_hget('h', 'f')"), "v1");
assert.equal(one(db, "SELECT score FROM zsets WHERE key = 'z'"), 2.5);
step("all types, functions");

const put = db.prepare("REPLACE INTO strings(key, value) VALUES (?, ?)");
put.run(Buffer.from([0xff, 0]), Buffer.from([0, 1]));
assert.deepEqual(one(db, "SELECT value FROM strings WHERE key = x'ff00'"),
                 Buffer.from([0, 1]));
put.run("big", 9007199254740993n);
assert.equal(one(db, "SELECT value FROM strings WHERE key = ?", "big"),
             "9007199254740993");
db.prepare("UPDATE strings SET incr = @by WHERE key = @key")
    .run({ by: 1, key: "n" });
assert.equal(one(db, "SELECT kv_num(value) FROM strings WHERE key = 'n'"), 42);
assert.equal(one(db, "SELECT count(*) FROM strings WHERE key IN ('n', 's', 7)"), 2);
db.function("twice", (text) => text + text);
assert.equal(one(db, "SELECT twice(value) FROM strings WHERE key = 's'"), "vv");
assert.match(db.prepare("EXPLAIN QUERY PLAN SELECT * FROM strings WHERE key GLOB"
                        + " 'a*'").all()[0].detail, /VIRTUAL TABLE INDEX .*:key/);
step("parameters, bytes, big integers, a function of one's own, plans");

db.exec("CREATE TABLE price(item TEXT PRIMARY KEY, cents INTEGER)");
const buy = db.transaction((item, fails) => {
    db.prepare("INSERT INTO price VALUES (?, 5)").run(item);
    db.prepare("INSERT INTO sets(key, member) VALUES ('bought', ?)").run(item);
    if (fails) {
        throw new Error("taken back");
    }
});
buy("tea", false);
assert.throws(() => buy("mug", true), /taken back/);
db.transaction(() => {
    buy("pot", false); // savepoints
    assert.throws(() => buy("cup", true), /taken back/);
})();
assert.deepEqual(all(db, "SELECT member, cents FROM sets JOIN price ON item ="
                         + " member WHERE key = 'bought' ORDER BY member"),
                 [["pot", 5], ["tea", 5]]);
step("transactions and savepoints with a table of one's own");

const other = open(directory); // of the same store
const seen = [];
for (const key of db.prepare("SELECT key FROM keys").pluck().iterate()) {
    other.prepare("DELETE FROM keys WHERE key = 'z'").run();
    seen.push(String(key));
}
assert.ok(seen.includes("z") && one(other, "SELECT kv_exists('z')") === 0);
db.transaction(() => {
    assert.equal(one(db, "SELECT kv_get('s')"), "v");
    other.prepare("UPDATE strings SET value = 'w' WHERE key = 's'").run();
    assert.equal(one(db, "SELECT kv_get('s')"), "v");
    assert.equal(code(() => put.run("s", "x")), "SQLITE_BUSY_SNAPSHOT");
})();
db.transaction(() => {
    put.run("s", "y");
    assert.equal(code(() => one(other, "SELECT count(*) FROM keys")),
                 "SQLITE_BUSY");
})();
assert.equal(one(other, "SELECT kv_get('s')"), "y");
step("two connections: one view each, one writer");

assert.equal(code(() => db.exec("INSERT INTO strings(key, value) VALUES ('s', 1)")),
             "SQLITE_CONSTRAINT_PRIMARYKEY");
assert.equal(code(() => db.exec("REPLACE INTO lists(key, value) VALUES ('s', 1)")),
             "SQLITE_CONSTRAINT_VTAB");
assert.equal(code(() => db.exec("INSERT INTO strings(value) VALUES (1)")),
             "SQLITE_CONSTRAINT_NOTNULL");
assert.equal(code(() => open(join(directory, "none", "deep"))), "SQLITE_CANTOPEN");
other.close();
db.close();
const again = open(directory);
assert.equal(one(again, "SELECT kv_get('s')"), "y");
again.close();
step("errors; what was written is there again");

const client = await createClient({ url: url() }).connect();
await client.flushAll();
await client.hSet("user:7", { name: "Ann", age: "41" });
const beside = open(process.env.KVSQL_DATA, "readonly");
assert.deepEqual(all(beside, "SELECT field, value FROM hashes"),
                 [["age", "41"], ["name", "Ann"]]);
assert.equal(code(() => beside.exec("DELETE FROM keys")), "SQLITE_READONLY");
beside.close();
await client.sendCommand(["SAVE"]);
const newest = readdirSync(process.env.KVSQL_DATA)
    .filter((name) => /^snap-.*\.db$/.test(name)).sort().pop();
const snapshot = new Database(join(process.env.KVSQL_DATA, newest),
                              { readonly: true });
assert.equal(one(snapshot, "SELECT value FROM hashes WHERE field = 'name'"), "Ann");
snapshot.close();
await client.close();
step("beside a running server: read only, and its snapshot");
