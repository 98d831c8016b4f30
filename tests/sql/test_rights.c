/* test_rights.c - TE11 of the SQL reference: what a session may do, by action and
 * object (RU1, RU3, RU5, RU6, reliability Q4-Q7), as one table of cases.
 *
 * Sessions are a reader, a writer and an administrator from outside; a trusted
 * one of the process itself is only watched (EX5). Patterns of keys (RU2, Q10)
 * come with users. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "kvsql/admin.h"
#include "tests/lib/rows.h"

enum who { READER = 1, WRITER = 2, ADMIN = 4 };
#define NOBODY 0
#define ALL (READER | WRITER | ADMIN)
#define WRITERS (WRITER | ADMIN)

static struct rows fx;

static void setup(void)
{
    cli_join_sql();
    rows_init(&fx);
    rows_ok(&fx, "CREATE VIRTUAL TABLE users USING kv_hash('u:{id}', id, n)");
    rows_ok(&fx, "INSERT INTO strings(key, value) VALUES('a', 'x')");
    rows_ok(&fx, "INSERT INTO hashes(key, field, value) VALUES('u:1', 'n', 1)");
}

static void teardown(void)
{
    rows_fini(&fx);
}

static struct vt_limits limits_of(enum who who)
{
    return (struct vt_limits){.read_only = who == READER,
                              .admin = who == ADMIN};
}

struct row {
    const char *sql;
    unsigned may; /* who */
};
static const struct row rows[] = {
    /* reading: tables, functions, SQLite's own that only compute */
    {"SELECT * FROM keys, strings, hashes, lists, sets, zsets", ALL},
    {"SELECT * FROM users", ALL},
    {"SELECT * FROM kv_columns", ALL},
    {"SELECT * FROM commands", ALL},
    {"SELECT * FROM stats", ALL},
    {"SELECT * FROM latency", ALL},
    {"SELECT * FROM views", ALL},
    {"SELECT * FROM snapshots", ALL},
    {"SELECT * FROM kv_schema", ALL},
    {"SELECT kv_get('a'), kv_hget('u:1', 'n'), kv_type('a'), kv_ttl('a'),"
     " kv_len('a'), kv_exists('a'), kv_zscore('z', 'm'), kv_zrank('z', 'm'),"
     " kv_count('*'), kv_num('1'), kv_key(x'61'), kv_text('a')", ALL},
    {"SELECT * FROM kv('GET', 'a')", ALL},
    {"SELECT * FROM json_each('[1]'), json_tree('[1]')", ALL},
    {"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3)"
     " SELECT i FROM n", ALL},
    {"SELECT sum(length(value)) OVER () FROM strings", ALL},
    {"PRAGMA table_info(strings)", ALL},
    {"PRAGMA compile_options", ALL},
    {"SELECT * FROM sqlite_schema", ALL},
    {"EXPLAIN QUERY PLAN SELECT * FROM keys", ALL},
    /* about the server and those who use it */
    {"SELECT * FROM config", ADMIN},
    {"SELECT * FROM clients", ADMIN},
    {"SELECT * FROM slowlog", ADMIN},
    {"SELECT * FROM queries", ADMIN},
    {"DELETE FROM queries WHERE id = 0", ADMIN},
    {"DELETE FROM clients WHERE id = 0", ADMIN},
    {"UPDATE config SET value = value WHERE name = 'none'", ADMIN},
    {"SELECT 1 WHERE EXISTS (SELECT * FROM config)", ADMIN},
    {"CREATE TEMP VIEW c AS SELECT * FROM config", NOBODY},
    /* writing */
    {"INSERT OR REPLACE INTO strings(key, value) VALUES('a', 'y')", WRITERS},
    {"UPDATE strings SET value = 'y'", WRITERS},
    {"DELETE FROM keys", WRITERS},
    {"DELETE FROM keys WHERE 0", WRITERS},
    {"INSERT INTO lists(key, value) VALUES('l', 1)", WRITERS},
    {"REPLACE INTO users(id, n) VALUES('2', 2)", WRITERS},
    {"INSERT OR IGNORE INTO users(id, n) VALUES('3', 2)", WRITERS},
    {"UPDATE users SET n = 3 WHERE id = '1'", WRITERS},
    {"UPDATE users SET expires_at = 1 WHERE id = 'none'", WRITERS},
    {"DELETE FROM users WHERE n > 1", WRITERS},
    {"INSERT INTO kv_exec(cmd) VALUES('SET b 1')", WRITERS},
    {"INSERT INTO kv_exec(cmd) VALUES('GET a')", WRITERS},
    {"INSERT INTO kv_exec(cmd) VALUES('CONFIG SET maxmemory 1')", NOBODY},
    {"INSERT INTO kv_exec(cmd) VALUES('SHUTDOWN')", NOBODY},
    {"SELECT * FROM kv('DEL', 'a')", NOBODY},
    {"SELECT * FROM kv('CONFIG', 'GET', '*')", NOBODY},
    {"INSERT INTO stats(name, value) VALUES('a', 1)", NOBODY},
    {"DELETE FROM commands", NOBODY},
    {"INSERT INTO kv_schema VALUES('a', 'b')", NOBODY},
    /* the schema */
    {"CREATE VIRTUAL TABLE v USING kv_hash('v:{id}', id, n)", ADMIN},
    {"CREATE VIRTUAL TABLE IF NOT EXISTS v USING KV_HASH('v:{id}', id, n INT,"
     " INDEX(n))", ADMIN},
    {"CREATE VIRTUAL TABLE main.v USING kv_hash('v:{id}', id, n)", ADMIN},
    {"CREATE VIRTUAL TABLE temp.v USING kv_hash('v:{id}', id, n)", NOBODY},
    {"CREATE VIRTUAL TABLE strings USING kv_hash('v:{id}', id, n)", NOBODY},
    {"CREATE VIRTUAL TABLE sqlite_v USING kv_hash('v:{id}', id, n)", NOBODY},
    {"DROP TABLE users", ADMIN},
    {"DROP TABLE IF EXISTS main.users", ADMIN},
    {"ALTER TABLE users RENAME TO people", NOBODY},
    {"ALTER TABLE users ADD COLUMN m", NOBODY},
    {"CREATE INDEX i ON users(n)", NOBODY},
    {"CREATE TEMP TRIGGER g AFTER INSERT ON users BEGIN SELECT 1; END", NOBODY},
    {"DELETE FROM kv_schema", NOBODY},
    {"UPDATE kv_schema SET sql = ''", NOBODY},
    /* the session is somebody else's next: no other tables stay in it */
    {"CREATE VIRTUAL TABLE strings USING hashes", NOBODY},
    {"CREATE VIRTUAL TABLE temp.strings USING hashes", NOBODY},
    {"CREATE VIRTUAL TABLE mine USING strings", NOBODY},
    {"CREATE VIRTUAL TABLE temp.mine USING keys", NOBODY},
    {"CREATE VIRTUAL TABLE users2 USING kv", NOBODY},
    {"CREATE VIRTUAL TABLE k USING kv_meta", NOBODY},
    {"CREATE VIRTUAL TABLE j USING json_each", NOBODY},
    {"CREATE VIRTUAL TABLE p USING pragma_table_info", NOBODY},
    {"CREATE VIRTUAL TABLE x USING kvsql_transaction", NOBODY},
    {"DROP TABLE strings", NOBODY},
    {"CREATE TABLE t(a)", NOBODY},
    {"CREATE TEMP TABLE t(a)", NOBODY}, /* to named users: with users */
    {"CREATE VIEW v AS SELECT 1", NOBODY},
    {"CREATE TEMP TRIGGER g INSTEAD OF INSERT ON strings BEGIN SELECT 1; END",
     NOBODY},
    {"CREATE INDEX i ON strings(value)", NOBODY},
    {"ALTER TABLE strings RENAME TO s", NOBODY},
    {"CREATE VIRTUAL TABLE f USING fts5(a)", NOBODY},
    {"CREATE VIRTUAL TABLE r USING rtree(a, b, c)", NOBODY},
    {"CREATE VIRTUAL TABLE d USING dbstat", NOBODY},
    {"INSERT INTO sqlite_schema VALUES(1, 2, 3, 4, 5)", NOBODY},
    {"UPDATE sqlite_schema SET sql = ''", NOBODY},
    {"DELETE FROM sqlite_schema", NOBODY},
    {"ANALYZE", NOBODY},
    {"REINDEX", ALL}, /* of no index: nothing is asked */
    {"REINDEX main.strings", NOBODY},
    {"VACUUM", NOBODY},
    /* files, the process, SQLite's settings */
    {"ATTACH ':memory:' AS x", NOBODY},
    {"DETACH main", NOBODY},
    {"VACUUM INTO 'DIR/v.db'", NOBODY},
    {"SELECT load_extension('x')", NOBODY},
    {"SELECT readfile('/etc/passwd')", NOBODY},
    {"SELECT writefile('DIR/w', 'x')", NOBODY},
    {"SELECT edit('x')", NOBODY},
    {"SELECT fts3_tokenizer('simple')", NOBODY},
    {"SELECT printf('%d', 1)", NOBODY},
    {"SELECT format('%d', 1)", NOBODY},
    {"SELECT json_patch('{}', '{}')", NOBODY},
    {"PRAGMA query_only = 0", NOBODY},
    {"PRAGMA writable_schema = 1", NOBODY},
    {"PRAGMA temp_store_directory = '/tmp'", NOBODY},
    {"PRAGMA temp_store = 1", NOBODY},
    {"PRAGMA mmap_size = 1000000", NOBODY},
    {"PRAGMA hard_heap_limit = 1", NOBODY},
    {"PRAGMA case_sensitive_like = 1", NOBODY},
    {"PRAGMA database_list", NOBODY},
    {"SELECT * FROM pragma_database_list", NOBODY},
    /* transactions: the door's */
    {"BEGIN", NOBODY},
    {"SAVEPOINT s", NOBODY},
    {"COMMIT", NOBODY},
    /* one statement (Q7) */
    {"SELECT 1; DELETE FROM keys", NOBODY},
    {"SELECT 1; -- and nothing more", ALL},
};

/* Files that a statement has made. */
static unsigned files_in(const char *place)
{
    DIR *dir = opendir(place);
    unsigned count = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL) count++;
    (void)closedir(dir);
    return count - 2;
}

START_TEST(a_session_may_do_this_and_nothing_else)
{
    char place[] = "/tmp/kvsql-rights-XXXXXX", sql[1024];
    const struct row *row = &rows[_i];
    const char *mark = strstr(row->sql, "DIR/");

    ck_assert_ptr_nonnull(mkdtemp(place));
    if (mark != NULL)
        (void)snprintf(sql, sizeof(sql), "%.*s%s%s", (int)(mark - row->sql),
                       row->sql, place, mark + strlen("DIR"));
    else
        (void)snprintf(sql, sizeof(sql), "%s", row->sql);
    for (unsigned who = READER; who <= ADMIN; who *= 2) {
        const struct vt_limits limits = limits_of((enum who)who);
        struct vt_session *session;
        kvsql_rc rc;

        ck_assert_int_eq(
            vt_session_open(fx.db, &limits, &session, &fx.err), KVSQL_OK);
        rc = rows_run(&fx, session, sql);
        if (row->may & who)
            ck_assert_msg(rc == KVSQL_OK, "%s, by %u: %s", sql, who,
                          fx.err.text);
        else
            ck_assert_msg(rc != KVSQL_OK, "%s, by %u: is done", sql, who);
        vt_session_close(session);
        ck_assert_uint_eq(files_in(place), 0);
    }
    ck_assert_int_eq(rmdir(place), 0);
}
END_TEST

/* What is not done changes nothing, whatever it would have been. */
START_TEST(a_reader_changes_nothing)
{
    const struct vt_limits limits = limits_of(READER);
    struct vt_session *session;
    struct kv_info before, after;

    ck_assert_int_eq(vt_session_open(fx.db, &limits, &session, &fx.err),
                     KVSQL_OK);
    kv_info_get(fx.db, &before);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        (void)rows_run(&fx, session, rows[i].sql);
    kv_info_get(fx.db, &after);
    ck_assert_uint_eq(before.position, after.position);
    ck_assert_int_eq(rows_run(&fx, session, "PRAGMA query_only"), KVSQL_AUTH);
    vt_session_close(session);
}
END_TEST

/* Every action code that SQLite may ask about is either one of those that the
 * table above shows to be allowed, or denied; so is one that it does not know. */
START_TEST(an_unknown_action_is_denied)
{
    static const int known[] = {
        SQLITE_SELECT, SQLITE_READ, SQLITE_RECURSIVE, SQLITE_FUNCTION,
        SQLITE_PRAGMA, SQLITE_INSERT, SQLITE_UPDATE, SQLITE_DELETE,
        SQLITE_CREATE_VTABLE, SQLITE_DROP_VTABLE};

    for (int action = 0; action < 100; action++) {
        bool listed = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            listed = listed || known[i] == action;
        if (!listed)
            ck_assert_int_eq(vt_authorize(fx.other, action, "strings", "value",
                                          "main", NULL),
                             SQLITE_DENY);
    }
    /* ... and of those, what has no name or another one */
    ck_assert_int_eq(vt_authorize(fx.other, SQLITE_PRAGMA, "new_pragma", NULL,
                                  NULL, NULL),
                     SQLITE_DENY);
    ck_assert_int_eq(vt_authorize(fx.other, SQLITE_INSERT, "native", NULL,
                                  "main", NULL),
                     SQLITE_DENY);
    ck_assert_int_eq(vt_authorize(fx.other, SQLITE_CREATE_VTABLE, "x", "csv",
                                  "main", NULL),
                     SQLITE_DENY);
    ck_assert_int_eq(vt_authorize(fx.other, SQLITE_FUNCTION, NULL, "edit",
                                  NULL, NULL),
                     SQLITE_DENY);
}
END_TEST

/* RU5, Q4: a sort stays in memory and ends at its limit. */
START_TEST(a_sort_of_an_outsider_does_not_reach_the_disk)
{
    const struct vt_limits limits = limits_of(WRITER);
    struct vt_session *session;

    vt_limit_set(VT_LIMIT_MEMORY, 4 << 20);
    ck_assert_int_eq(vt_session_open(fx.db, &limits, &session, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(
        rows_run(&fx, session,
                 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM"
                 " n LIMIT 200000) SELECT count(*) FROM (SELECT hex(zeroblob("
                 "100)) || i AS s FROM n ORDER BY s) WHERE s > ''"),
        KVSQL_NOMEM);
    ck_assert_ptr_nonnull(strstr(fx.err.text, "sql-memory"));
    vt_session_close(session);
    vt_limit_set(VT_LIMIT_MEMORY, 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, a_session_may_do_this_and_nothing_else, 0,
                        (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_test(tests, a_reader_changes_nothing);
    tcase_add_test(tests, an_unknown_action_is_denied);
    tcase_add_test(tests, a_sort_of_an_outsider_does_not_reach_the_disk);
}

int main(void)
{
    return unit_run("rights", add);
}
