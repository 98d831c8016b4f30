/* test_nomem.c - TE9 of the SQL reference: memory that runs out at the n-th
 * allocation, ours or SQLite's, for every n, in every method of every module:
 * connecting, planning, reading, writing, savepoints, commit.
 *
 * A statement that fails leaves what was there, to the byte; one that succeeds
 * has done all of its work. The session goes on, and at the end nothing is left
 * of it. Each is tried in a session that has run it before, and in a new one,
 * which connects its tables.
 *
 * Which methods were reached is counted between SQLite and the modules
 * (modules.h): at the end each method of each module has been called while an
 * allocation was to fail, and it did fail inside of each that allocates. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "command/client.h"
#include "command/stats.h"
#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/store.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/fakevfs.h"
#include "tests/lib/modules.h"
#include "tests/lib/rows.h"

#define CALLS_MAX 20000 /* of one statement */
#define SCRIPT_MAX 10

static struct rows fx;
static struct fakeos *fake;
static bool cold; /* each time in a new session, which connects its tables */
static char before[ROWS_TEXT_MAX], after[ROWS_TEXT_MAX];

#define ok(sql) rows_ok(&fx, sql)

/* An option, and somebody whom DELETE FROM clients ends. */
static const char *option_name(void *arg, unsigned index)
{
    (void)arg;
    return index == 0 ? "one" : NULL;
}

static void option_get(void *arg, unsigned index, struct kv_buf *out)
{
    (void)arg;
    (void)index;
    kv_buf_text(out, "1");
}

static bool option_initial(void *arg, unsigned index, struct kv_buf *out)
{
    option_get(arg, index, out);
    return true;
}

static kvsql_rc option_set(void *arg, struct kv_txn *txn, unsigned count,
                           const kvsql_slice *pairs, struct kvsql_error *err)
{
    (void)arg;
    (void)txn;
    (void)count;
    (void)pairs;
    (void)err;
    return KVSQL_OK;
}

static struct cmd_client client;

static void client_kill(struct cmd_client *who)
{
    (void)who;
}

static void client_facts(struct cmd_client *who, struct cmd_client_facts *facts)
{
    (void)who;
    memset(facts, 0, sizeof(*facts));
}

static void diag_drop(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

static void fill(void)
{
    ok("INSERT INTO kv_exec(cmd) VALUES('FLUSHALL')");
    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 'two'),"
       " ('c', 'three'), (x'ff', x'fe')");
    ok("INSERT INTO hashes(key, field, value) VALUES('h', 'f', 1),"
       " ('h', 'g', 'w'), ('u:1', 'name', 'ann'), ('u:1', 'age', 7),"
       " ('u:2', 'name', 'bob'), ('u:2', 'other', 'x')");
    ok("INSERT INTO lists(key, value) VALUES('l', 'x'), ('l', 'y'), ('l', 'z')");
    ok("INSERT INTO sets VALUES('s', 'm'), ('s', 'n')");
    ok("INSERT INTO zsets VALUES('z', 'm', 1), ('z', 'n', 2), ('z', 'o', 3)");
    ok("UPDATE keys SET expires_at = 1800000000000 WHERE key = 'c'");
}

static void setup(void)
{
    static const struct cmd_host host = {
        .config = {.name = option_name, .get = option_get,
                   .initial = option_initial, .set = option_set}};
    static const struct cmd_door door = {.kill = client_kill,
                                         .facts = client_facts};
    const struct kvsql_options options = {.no_keeper = true};
    struct kv_snapshot_info snapshot;

    kv_diag_sink(diag_drop, NULL);
    cli_join_sql();
    cmd_host_set(&host);
    memset(&client, 0, sizeof(client));
    cmd_client_open(&client, &door);
    fake = fakeos_new(1);
    ck_assert_int_eq(vt_start(&fx.err), KVSQL_OK);
    fakevfs_in(fakeos_os(fake));
    rows_init_os(&fx, "data", fakeos_os(fake), &options);
    ok("CREATE VIRTUAL TABLE users USING kv_hash('u:{id}', id, name TEXT,"
       " age INTEGER, INDEX(age), UNIQUE(name))");
    ck_assert_int_eq(kv_snapshot_run(fx.db, NULL, NULL, &snapshot, &fx.err),
                     KVSQL_OK);
    fill();
    while (kv_store_tick(kv_db_store(fx.db))) continue;
    cmd_slowlog_limits(0, 128);
    ok("INSERT INTO kv_exec(cmd) VALUES('TYPE a')");
    cmd_slowlog_limits(-1, 128); /* its entries stay */
}

static void teardown(void)
{
    cmd_client_close(&client);
    cmd_slowlog_clear();
    rows_fini(&fx);
    fakevfs_out();
    fakeos_free(fake);
    for (int kind = 0; kind < KV_MEM_KINDS; kind++)
        ck_assert_msg(kv_mem_blocks((enum kv_mem_kind)kind) == 0,
                      "%llu blocks of kind %d are left, %llu bytes",
                      (unsigned long long)kv_mem_blocks(kind), kind,
                      (unsigned long long)kv_mem_bytes(kind));
}

/* Everything that is there; seen by another session, whose statement is cached,
 * but for what a transaction alone sees. */
static const char *content(void)
{
    struct vt_session *session =
        vt_in_transaction(fx.session) ? fx.session : fx.other;
    const kvsql_rc rc = rows_run(
        &fx, session,
        "SELECT quote(key), type, length, expires_at, NULL FROM keys UNION ALL"
        " SELECT quote(key), quote(value), expires_at, 1, NULL FROM strings"
        " UNION ALL SELECT key, field, value, expires_at, 2 FROM hashes"
        " UNION ALL SELECT key, idx, value, 3, NULL FROM lists"
        " UNION ALL SELECT key, member, 4, NULL, NULL FROM sets"
        " UNION ALL SELECT key, member, score, 5, NULL FROM zsets");

    ck_assert_msg(rc == KVSQL_OK, "%s", fx.err.text);
    return fx.text;
}

static void session_open(void)
{
    const struct vt_limits limits = {.trusted = true};

    ck_assert_int_eq(vt_session_open(fx.db, &limits, &fx.session, &fx.err),
                     KVSQL_OK);
}

static void reopen(void)
{
    vt_session_close(fx.session);
    session_open();
}

/* Run the statements of a script; the first that fails ends it. */
static kvsql_rc run(const char *const script[])
{
    kvsql_rc rc = KVSQL_OK;

    for (int i = 0; rc == KVSQL_OK && i < SCRIPT_MAX && script[i]; i++)
        rc = rows_run(&fx, fx.session, script[i]);
    return rc;
}

/* The same with the n-th allocation failing; *failed: one did. */
static kvsql_rc run_failing(const char *const script[], uint64_t n,
                            bool *failed)
{
    kvsql_rc rc;

    if (cold) reopen();
    (void)modules_fail_at(n);
    rc = run(script);
    *failed = modules_fail_at(0);
    ck_assert_msg(rc == KVSQL_OK || (*failed && rc == KVSQL_NOMEM),
                  "%s, n = %llu: %s", script[0], (unsigned long long)n,
                  fx.err.text);
    if (vt_in_transaction(fx.session)) {
        ck_assert(rc != KVSQL_OK);
        ok("ROLLBACK");
    }
    return rc;
}

static void check(const char *const script[], const char *wanted, uint64_t n)
{
    ck_assert_msg(strcmp(content(), wanted) == 0,
                  "%s, n = %llu, is torn:\n%s\n-- wanted\n%s", script[0],
                  (unsigned long long)n, fx.text, wanted);
}

/* For every n, until nothing fails. */
static void fail_each(const char *const script[])
{
    bool failed = true;
    uint64_t n = 0;

    (void)snprintf(before, sizeof(before), "%s", content());
    ck_assert_msg(run(script) == KVSQL_OK, "%s: %s", script[0], fx.err.text);
    (void)snprintf(after, sizeof(after), "%s", content());
    fill();
    while (failed) {
        const kvsql_rc rc = run_failing(script, ++n, &failed);
        ck_assert_uint_lt(n, CALLS_MAX);
        check(script, rc == KVSQL_OK ? after : before, n);
        if (rc == KVSQL_OK && strcmp(before, after) != 0) fill();
    }
}

/* ---- writes ----------------------------------------------------------------- */

static const char *const writes[] = {
    "INSERT INTO strings(key, value) VALUES('n1', 'v'), ('n2', x'ff')",
    "INSERT OR IGNORE INTO strings VALUES('a', 'v', 1900000000000),"
    " ('n', 'w', 1900000000000)",
    "REPLACE INTO strings(key, value) SELECT key, type FROM keys",
    "INSERT INTO strings(key, incr) VALUES('a', 5), ('n', 1.5)",
    "INSERT INTO strings(key, append) VALUES('b', 'x'), ('n', 'y')",
    "UPDATE strings SET value = value || 'x', expires_at = NULL",
    "UPDATE OR REPLACE strings SET key = 'b' WHERE key = 'a'",
    "DELETE FROM strings WHERE key LIKE 'A%' OR value = 'two'",
    "INSERT INTO hashes SELECT 'h2', key, value, 1900000000000 FROM strings",
    "REPLACE INTO hashes(key, field, value) VALUES('h', 'f', 'v'),"
    " ('h', x'80', 'w')",
    "INSERT INTO hashes(key, field, incr) VALUES('h', 'f', 3)",
    "UPDATE hashes SET field = field || 'x', value = value || 'y'",
    "UPDATE hashes SET key = 'k', expires_at = 1900000000000 WHERE key = 'h'",
    "DELETE FROM hashes WHERE key = 'h' AND field IN ('f', 'g')",
    "INSERT INTO lists(key, value) VALUES('l', 'p'), ('q', 'r')",
    "REPLACE INTO lists VALUES('l', 1, 'new'), ('l', -1, 'first')",
    "UPDATE lists SET value = value || idx WHERE idx > 0",
    "DELETE FROM lists WHERE idx IN (0, 2)",
    "INSERT OR IGNORE INTO sets VALUES('s', 'm'), ('s', 'p'), ('t', 'q')",
    "UPDATE sets SET member = member || 'x'",
    "UPDATE sets SET key = 't' WHERE member = 'm'",
    "DELETE FROM sets WHERE member GLOB '[mn]*'",
    "INSERT OR REPLACE INTO zsets SELECT key, member, score + 1 FROM zsets",
    "INSERT INTO zsets(key, member, incr) VALUES('z', 'm', 1), ('y', 'n', 2)",
    "UPDATE zsets SET score = score * 2 WHERE score BETWEEN 1 AND 2",
    "DELETE FROM zsets WHERE key = 'z' AND rank < 2",
    "UPDATE keys SET expires_at = 1900000000000",
    "UPDATE OR REPLACE keys SET key = 'b' WHERE key = 'z'",
    "DELETE FROM keys WHERE key IN (SELECT key FROM strings)",
    "DELETE FROM keys WHERE expires_at < 1900000000000",
    "INSERT INTO kv_exec(cmd) VALUES('SET n v'), ('RPUSH l p q'),"
    " ('ZADD z 5 m 6 q'), ('RENAME h hh')",
    "INSERT INTO kv_exec(cmd, a1, a2) SELECT 'SADD', 'new', key FROM keys",
    "INSERT INTO users(id, name, age) VALUES('3', 'cyd', 30), ('4', 'di', 1)",
    "REPLACE INTO users(id, name) SELECT id, name || 'x' FROM users",
    "UPDATE OR REPLACE users SET id = '2', age = age + 1 WHERE id = '1'",
    "UPDATE users SET name = NULL, age = 3 WHERE id GLOB '*'",
    "DELETE FROM users WHERE age = 7",
    "UPDATE strings SET value = d.v FROM (SELECT 'a' AS k, 'new' AS v) d"
    " WHERE d.k = strings.key",
};

START_TEST(a_write_is_done_or_not_done)
{
    const char *const script[SCRIPT_MAX] = {writes[_i / 2]};

    cold = _i % 2 == 1;
    fail_each(script);
}
END_TEST

/* In a transaction: what was done before it stays. */
START_TEST(a_write_that_fails_in_a_transaction_leaves_the_rest_of_it)
{
    const char *const script[SCRIPT_MAX] = {writes[_i]};
    bool failed = true;
    uint64_t n = 0;

    ok("BEGIN");
    ok("INSERT INTO sets VALUES('in', 'txn')");
    (void)snprintf(before, sizeof(before), "%s", content());
    ok("SAVEPOINT s");
    ck_assert_int_eq(run(script), KVSQL_OK);
    (void)snprintf(after, sizeof(after), "%s", content());
    ok("ROLLBACK TO s");
    while (failed) {
        kvsql_rc rc;
        (void)modules_fail_at(++n);
        rc = run(script);
        failed = modules_fail_at(0);
        ck_assert_uint_lt(n, CALLS_MAX);
        if (!vt_in_transaction(fx.session)) { /* SQLite took all of it back */
            ck_assert(rc == KVSQL_NOMEM);
            ok("BEGIN");
            ok("INSERT INTO sets VALUES('in', 'txn')");
            ok("SAVEPOINT s");
        }
        check(script, rc == KVSQL_OK ? after : before, n);
        ok("ROLLBACK TO s");
        check(script, before, n);
    }
    ok("COMMIT");
}
END_TEST

/* ---- refusals ------------------------------------------------------------------- */

static const char *const refused[] = {
    "INSERT INTO lists(key, value) VALUES('a', 'x')",
    "INSERT INTO strings(key, value) VALUES('a', 'x')",
    "UPDATE strings SET value = NULL WHERE key = 'a'",
    "INSERT INTO zsets VALUES('z', 'p', 'none')"};

/* Memory for the sentence may be what runs out: the refusal is the same. */
START_TEST(a_write_is_refused_for_what_it_is_or_for_no_memory)
{
    const char *const script[SCRIPT_MAX] = {refused[_i / 2]};
    const kvsql_rc wanted = run(script);
    bool failed = true;

    ck_assert(wanted != KVSQL_OK && wanted != KVSQL_NOMEM);
    cold = _i % 2 == 1;
    for (uint64_t n = 1; failed; n++) {
        if (cold) reopen();
        (void)modules_fail_at(n);
        const kvsql_rc rc = run(script);
        failed = modules_fail_at(0);
        ck_assert_uint_lt(n, CALLS_MAX);
        ck_assert_msg(rc == wanted || (failed && rc == KVSQL_NOMEM),
                      "%s, n = %llu: %d %s", script[0], (unsigned long long)n,
                      (int)rc, fx.err.text);
    }
}
END_TEST

/* ---- transactions --------------------------------------------------------------- */

static const char *const scripts[][SCRIPT_MAX] = {
    {"BEGIN", "INSERT INTO strings(key, value) VALUES('n', 1)",
     "DELETE FROM lists", "COMMIT"},
    {"BEGIN", "SELECT count(*) FROM keys", "DELETE FROM keys WHERE 0",
     "SELECT key, value FROM strings ORDER BY value", "UPDATE zsets SET score"
     " = 7", "COMMIT"},
    {"SAVEPOINT a", "INSERT INTO sets VALUES('n', 1)", "SAVEPOINT b",
     "UPDATE strings SET value = 'x'", "ROLLBACK TO b",
     "INSERT INTO zsets VALUES('n2', 'm', 1)", "RELEASE a"},
    {"BEGIN", "SAVEPOINT a", "SAVEPOINT b",
     "INSERT INTO strings(key, value) VALUES('n', 1)", "RELEASE b",
     "DELETE FROM hashes", "SAVEPOINT c", "ROLLBACK TO a",
     "INSERT INTO sets VALUES('n', 'm')", "COMMIT"},
    {"BEGIN", "CREATE TEMP TABLE IF NOT EXISTS n(x)",
     "INSERT INTO n SELECT value FROM lists",
     "INSERT INTO lists(key, value) SELECT 'copy', x FROM n", "DELETE FROM n",
     "INSERT INTO kv_exec(cmd) VALUES('LPOP l')", "COMMIT"},
    {"BEGIN", "INSERT INTO users(id, name) VALUES('9', 'zoe')",
     "SELECT kv_get('a'), kv_last() FROM users",
     "INSERT INTO kv_exec(cmd) VALUES('HSET u:1 age 9')",
     "DELETE FROM users WHERE age = 9", "COMMIT"},
    {"BEGIN", "DELETE FROM keys", "ROLLBACK"},
    {"BEGIN", "DELETE FROM strings WHERE key = 'a'",
     "DELETE FROM hashes WHERE 0", "DELETE FROM users WHERE 0",
     "SAVEPOINT s", "REPLACE INTO users(id, name, age) VALUES('1', 'new', 8)",
     "ROLLBACK TO s", "RELEASE s", "SELECT id FROM users WHERE age > 6",
     "ROLLBACK"},
    {"BEGIN", "DELETE FROM sets WHERE 0", "DELETE FROM zsets WHERE 0",
     "DELETE FROM lists WHERE 0", "DELETE FROM keys WHERE 0", "SAVEPOINT s",
     "INSERT INTO kv_exec(cmd) VALUES('SADD n m'), ('LPUSH l a'), ('DEL z')",
     "ROLLBACK TO s", "RELEASE s", "ROLLBACK"},
    {"BEGIN", "INSERT INTO kv_exec(cmd) VALUES('SET n 1')", "SAVEPOINT s",
     "INSERT INTO kv_exec(cmd) VALUES('SET n 2')", "ROLLBACK TO s", "COMMIT"},
};

START_TEST(a_transaction_is_done_or_not_done)
{
    cold = _i % 2 == 1;
    fail_each(scripts[_i / 2]);
}
END_TEST

/* ---- reads ----------------------------------------------------------------------- */

static const char *const reads[] = {
    "SELECT *, rank, ttl, memory, encoding, idle, version FROM keys",
    "SELECT * FROM keys WHERE expires_at > 5 ORDER BY expires_at DESC",
    "SELECT * FROM strings WHERE key IN ('a', 'b', x'ff', 7) ORDER BY key DESC",
    "SELECT * FROM strings WHERE key LIKE 'A%' OR key GLOB '[bc]*'",
    "SELECT * FROM hashes WHERE key = 'h' AND field >= 'f'",
    "SELECT *, _id FROM hashes WHERE key IN ('h', 'u:1') ORDER BY field",
    "SELECT * FROM lists WHERE idx IN (2, 0) ORDER BY key DESC, idx DESC",
    "SELECT * FROM sets ORDER BY member",
    "SELECT * FROM zsets WHERE key = 'z' AND score > 1 ORDER BY score DESC",
    "SELECT * FROM zsets WHERE key = 'z' AND rank IN (0, 2)",
    "SELECT a.key, b.value FROM keys a LEFT JOIN strings b USING(key)",
    "SELECT max(value), min(key) FROM strings GROUP BY length(value)",
    "SELECT DISTINCT type FROM keys UNION SELECT value FROM lists",
    "SELECT kv_get('a'), kv_hget('h', 'f'), kv_type('l'), kv_ttl('c'),"
    " kv_len('z'), kv_exists('a'), kv_zscore('z', 'm'), kv_zrank('z', 'n'),"
    " kv_count('*'), kv_num('7'), kv_key(x'61'), kv_text(x'ff')",
    "SELECT * FROM kv('ZRANGE', 'z', 0, -1, 'WITHSCORES')",
    "SELECT k.key, v.value FROM keys k, kv('TYPE', k.key) v",
    "SELECT *, key, expires_at, _extra FROM users WHERE id >= '1' AND age > 1",
    "SELECT id FROM users WHERE id IN ('1', '2') ORDER BY id DESC",
    "SELECT id, age FROM users WHERE age = 7 AND name IS NOT NULL",
    "SELECT age FROM users WHERE age IN (1, 7, NULL) ORDER BY age DESC, id DESC",
    "SELECT id FROM users WHERE name = 'ann' OR name > 'b' ORDER BY name",
    "SELECT *, rowid FROM commands", "SELECT *, rowid FROM kv_columns",
    "SELECT *, rowid FROM config", "SELECT *, rowid FROM kv_schema",
    "SELECT name, rowid FROM kv_meta",
    "SELECT command, rowid FROM latency",
    "SELECT *, rowid FROM slowlog", "SELECT addr, rowid FROM clients",
    "SELECT name, rowid FROM stats",
    "SELECT holder, rowid FROM views",
    "SELECT file, position, rowid FROM snapshots",
    "SELECT sql, rowid FROM queries",
    "SELECT * FROM kv_exec", "SELECT *, rowid FROM kv('LRANGE', 'l', 0, 9)",
    "SELECT op, key, field, value, rowid FROM changes WHERE position BETWEEN 3"
    " AND 9",
    "SELECT n FROM changes WHERE position IN (3, 5) ORDER BY position DESC",
    "SELECT lag(value) OVER (ORDER BY key) FROM strings",
    "SELECT replace(value, 'w', 'v'), trim(value), instr(value, 'o'),"
    " value LIKE '%o' FROM strings",
    "SELECT zeroblob(700), replace(zeroblob(701), 'w', 'v'),"
    " trim(zeroblob(702)), instr(zeroblob(703), x'01')",
    "SELECT (SELECT value FROM strings WHERE key = zeroblob(700)),"
    " (SELECT count(*) FROM strings WHERE key > zeroblob(701)),"
    " (SELECT id FROM users WHERE name = zeroblob(702)),"
    " (SELECT id FROM users WHERE age > zeroblob(703))",
};

START_TEST(a_read_gives_all_its_rows_or_none)
{
    const char *sql = reads[_i / 2];
    bool failed = true;
    uint64_t n = 0;

    cold = _i % 2 == 1;
    ck_assert_int_eq(vt_begin(fx.other, &fx.err), KVSQL_OK);
    if (strstr(sql, "views") != NULL) /* so that there is one */
        ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT 1 FROM keys"),
                         KVSQL_OK);
    ok(sql);
    (void)snprintf(after, sizeof(after), "%s", fx.text);
    if (cold) reopen();
    while (failed) {
        kvsql_rc rc;
        (void)modules_fail_at(++n);
        rc = rows_run(&fx, fx.session, sql);
        if (cold) vt_session_close(fx.session);
        failed = modules_fail_at(0);
        if (cold) session_open();
        ck_assert_uint_lt(n, CALLS_MAX);
        ck_assert_msg(rc == KVSQL_OK || (failed && rc == KVSQL_NOMEM),
                      "%s: %s", sql, fx.err.text);
        if (rc == KVSQL_OK && strstr(sql, "memory") == NULL &&
            strstr(sql, "queries") == NULL && strstr(sql, "slowlog") == NULL)
            /* of these two a text may be left out */
            ck_assert_str_eq(fx.text, after);
    }
}
END_TEST

/* ---- what has no content ------------------------------------------------------ */

/* Each from a new session; what is left behind goes with it. */
static const char *const others[][SCRIPT_MAX] = {
    {"UPDATE config SET value = value WHERE mutable"},
    {"DELETE FROM clients"},
    {"DELETE FROM queries"},
#define SECOND_NAME(table)                                                    \
    {"CREATE VIRTUAL TABLE temp.x USING " table, "SELECT * FROM x",           \
     "ALTER TABLE x RENAME TO y", "SELECT * FROM y", "DROP TABLE y"}
    SECOND_NAME("keys"), SECOND_NAME("strings"), SECOND_NAME("hashes"),
    SECOND_NAME("lists"), SECOND_NAME("sets"), SECOND_NAME("zsets"),
    {"CREATE VIRTUAL TABLE temp.x USING kv_hash('u:{id}', id, name, age INT)",
     "UPDATE x SET age = age + 0", "ALTER TABLE x RENAME TO y",
     "SELECT * FROM y", "DROP TABLE y"},
};

START_TEST(what_changes_no_key_is_done_or_not_done)
{
    bool failed = true;
    uint64_t n = 0;

    cold = true;
    (void)snprintf(before, sizeof(before), "%s", content());
    while (failed) {
        (void)run_failing(others[_i], ++n, &failed);
        ck_assert_uint_lt(n, CALLS_MAX);
        reopen();
        check(others[_i], before, n);
    }
}
END_TEST

/* A definition of the store: each statement of its life comes whole or not. */
START_TEST(a_typed_table_is_made_and_dropped_or_is_not)
{
    static const char *const script[SCRIPT_MAX] = {
        "CREATE VIRTUAL TABLE pets USING kv_hash('u:{id}', id, name,"
        " age INTEGER, INDEX(age), UNIQUE(name, age) STRICT)",
        "SELECT id FROM pets WHERE age = 7 AND name > 'a'", "DROP TABLE pets"};
    bool failed = true;
    uint64_t n = 0;

    cold = true;
    (void)snprintf(before, sizeof(before), "%s", content());
    while (failed) {
        const kvsql_rc rc = run_failing(script, ++n, &failed);
        ck_assert_uint_lt(n, CALLS_MAX);
        reopen();
        ok("SELECT name FROM kv_schema WHERE name <> 'users'");
        ck_assert(rc == KVSQL_OK ? fx.text[0] == 0
                                 : strcmp(fx.text, "") == 0 ||
                                       strcmp(fx.text, "pets") == 0);
        kv_store_check(kv_db_store(fx.db));
        ok("DROP TABLE IF EXISTS pets");
        check(script, before, n);
    }
}
END_TEST

/* ---- sessions --------------------------------------------------------------------- */

/* A new session connects every table. */
static kvsql_rc session_life(void)
{
    static const char *const tables[] = {"keys", "strings", "hashes", "lists",
                                         "sets", "zsets", "users", "config"};
    const struct vt_limits limits = {.trusted = true};
    struct vt_session *session;
    char sql[64];
    kvsql_rc rc = vt_session_open(fx.db, &limits, &session, &fx.err);

    if (rc != KVSQL_OK) return rc;
    for (size_t i = 0; rc == KVSQL_OK && i < sizeof(tables) / sizeof(*tables);
         i++) {
        (void)snprintf(sql, sizeof(sql), "SELECT * FROM %s", tables[i]);
        rc = rows_run(&fx, session, sql);
    }
    vt_session_close(session);
    return rc;
}

START_TEST(a_session_opens_or_does_not)
{
    bool failed = true;
    uint64_t n = 0;
    int64_t used;

    ck_assert_int_eq(session_life(), KVSQL_OK);
    used = sqlite3_memory_used();
    while (failed) {
        kvsql_rc rc;
        (void)modules_fail_at(++n);
        rc = session_life();
        failed = modules_fail_at(0);
        ck_assert_uint_lt(n, CALLS_MAX);
        ck_assert_msg(rc == KVSQL_OK || (failed && rc == KVSQL_NOMEM), "%s",
                      fx.err.text);
        ck_assert_int_eq(sqlite3_memory_used(), used);
    }
    ck_assert_uint_gt(n, 500);
}
END_TEST

#define COUNT(list) ((int)(sizeof(list) / sizeof((list)[0])))

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, a_write_is_done_or_not_done, 0,
                        2 * COUNT(writes));
    tcase_add_loop_test(
        tests, a_write_that_fails_in_a_transaction_leaves_the_rest_of_it,
        0, COUNT(writes));
    tcase_add_loop_test(tests, a_write_is_refused_for_what_it_is_or_for_no_memory,
                        0, 2 * COUNT(refused));
    tcase_add_loop_test(tests, a_transaction_is_done_or_not_done, 0,
                        2 * COUNT(scripts));
    tcase_add_loop_test(tests, a_read_gives_all_its_rows_or_none, 0,
                        2 * COUNT(reads));
    tcase_add_loop_test(tests, what_changes_no_key_is_done_or_not_done, 0,
                        COUNT(others));
    tcase_add_test(tests, a_typed_table_is_made_and_dropped_or_is_not);
    tcase_add_test(tests, a_session_opens_or_does_not);
}

/* ---- what was reached ------------------------------------------------------------- */

struct mark {
    const char *module; /* NULL: each */
    enum modules_method method;
};

/* Nothing is allocated in these: all they do is free, step, or look. */
static const struct mark quiet[] = {
    {NULL, MODULES_DISCONNECT},    {NULL, MODULES_DESTROY},
    {NULL, MODULES_CLOSE},         {NULL, MODULES_NEXT},
    {NULL, MODULES_EOF},           {NULL, MODULES_ROWID},
    {NULL, MODULES_BEGIN},         {NULL, MODULES_COMMIT},
    {NULL, MODULES_ROLLBACK},      {NULL, MODULES_RELEASE},
    {NULL, MODULES_ROLLBACK_TO},   {NULL, MODULES_SAVEPOINT},
    {NULL, MODULES_SYNC}, /* the log's room: test_atomic has it */
    {"keys", MODULES_RENAME},      {"strings", MODULES_RENAME},
    {"hashes", MODULES_RENAME},    {"lists", MODULES_RENAME},
    {"sets", MODULES_RENAME},      {"zsets", MODULES_RENAME},
    {"kv_columns", MODULES_BEST_INDEX}, {"kv_meta", MODULES_BEST_INDEX},
    {"kv_schema", MODULES_BEST_INDEX},  {"stats", MODULES_BEST_INDEX},
    {"snapshots", MODULES_BEST_INDEX},  {"views", MODULES_BEST_INDEX},
    {"queries", MODULES_BEST_INDEX},    {"commands", MODULES_BEST_INDEX},
    {"clients", MODULES_BEST_INDEX},    {"config", MODULES_BEST_INDEX},
    {"slowlog", MODULES_BEST_INDEX},    {"latency", MODULES_BEST_INDEX},
    {"changes", MODULES_BEST_INDEX},    {"kv", MODULES_BEST_INDEX},
    {"kv_exec", MODULES_BEST_INDEX},    {"kv_exec", MODULES_FILTER},
    {"queries", MODULES_UPDATE},        {"clients", MODULES_UPDATE},
};

/* Of who asks for the counts of changes: test_edit does, without memory. */
#define UNCOUNTED "kv uncounted"

/* SQLite never calls these: a table WITHOUT ROWID has no rowid, and kv_exec no
 * row. */
static const struct mark idle[] = {
    {"keys", MODULES_ROWID},    {"strings", MODULES_ROWID},
    {"hashes", MODULES_ROWID},  {"lists", MODULES_ROWID},
    {"sets", MODULES_ROWID},    {"zsets", MODULES_ROWID},
    {"kv_hash", MODULES_ROWID}, {"kv_exec", MODULES_ROWID},
    {"kv_exec", MODULES_NEXT},  {"kv_exec", MODULES_COLUMN},
    {UNCOUNTED, MODULES_CONNECT}, {UNCOUNTED, MODULES_DISCONNECT},
    {UNCOUNTED, MODULES_BEST_INDEX}, {UNCOUNTED, MODULES_OPEN},
    {UNCOUNTED, MODULES_CLOSE}, {UNCOUNTED, MODULES_FILTER},
    {UNCOUNTED, MODULES_NEXT}, {UNCOUNTED, MODULES_EOF},
    {UNCOUNTED, MODULES_COLUMN}, {UNCOUNTED, MODULES_ROWID},
    {UNCOUNTED, MODULES_UPDATE},
};

static bool among(const struct mark *marks, size_t count, const char *module,
                  enum modules_method method)
{
    for (size_t i = 0; i < count; i++)
        if (marks[i].method == method &&
            (marks[i].module == NULL || strcmp(marks[i].module, module) == 0))
            return true;
    return false;
}
#define AMONG(marks, module, method)                                          \
    among(marks, sizeof(marks) / sizeof((marks)[0]), module, method)

/* How many methods were not reached; the tests before it ran them. */
static unsigned unreached(void)
{
    unsigned modules = 0, missing = 0;

    for (const struct modules_module *m; (m = modules_at(modules)); modules++)
        for (int i = 0; i < MODULES_METHODS; i++) {
            const struct modules_count *count = &m->method[i];
            const bool called = count->armed > 0 || AMONG(idle, m->name, i);
            if (!count->there ||
                (called && (count->failed > 0 || AMONG(quiet, m->name, i) ||
                            AMONG(idle, m->name, i))))
                continue;
            printf("%s of %s: no allocation failed in %llu calls\n",
                   modules_method_name(i), m->name,
                   (unsigned long long)count->armed);
            missing++;
        }
    return missing + (modules < 22);
}

int main(void)
{
    int rc;

    modules_share();
    rc = unit_run("nomem", add);
    return rc == EXIT_SUCCESS && unreached() > 0 ? EXIT_FAILURE : rc;
}
