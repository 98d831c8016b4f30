/* test_defs.c - kv_hash tables as definitions of the store (sql.md KH7): other
 * sessions learn them, wal and snapshot keep them, a snapshot file has a view
 * that gives the same values. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "kvsql/store.h"
#include "tests/lib/unit.h"
#include "vtab/state.h"

#define TEXT_MAX 65536

static struct {
    kvsql *db;
    struct vt_session *a, *b;
    char dir[64];
    char text[TEXT_MAX], other[TEXT_MAX];
    struct kvsql_error err;
} fx;

static struct vt_session *open_session(const struct vt_limits *limits)
{
    struct vt_session *session;

    ck_assert_int_eq(vt_session_open(fx.db, limits, &session, &fx.err),
                     KVSQL_OK);
    return session;
}

static void open_store(void)
{
    const struct vt_limits limits = {.trusted = true};
    const struct kvsql_options options = {.fsync = KVSQL_FSYNC_NO};

    ck_assert_msg(kvsql_open(fx.dir, &options, &fx.db, &fx.err) == KVSQL_OK,
                  "%s", fx.err.text);
    fx.a = open_session(&limits);
    fx.b = open_session(&limits);
}

static void close_store(void)
{
    vt_session_close(fx.a);
    vt_session_close(fx.b);
    ck_assert_int_eq(kvsql_close(fx.db, &fx.err), KVSQL_OK);
}

static void reopen(void)
{
    close_store();
    open_store();
}

static void setup(void)
{
    memset(&fx, 0, sizeof(fx));
    ck_assert_int_eq(vt_start(&fx.err), KVSQL_OK);
    (void)snprintf(fx.dir, sizeof(fx.dir), "/tmp/kvsql-defs-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fx.dir));
    open_store();
}

static void teardown(void)
{
    char command[96];

    close_store();
    (void)snprintf(command, sizeof(command), "rm -r %s", fx.dir);
    ck_assert_int_eq(system(command), 0);
}

static void put_value(size_t *size, const struct vt_value *v)
{
    char *const out = fx.text + *size;
    const size_t left = TEXT_MAX - *size;

    ck_assert_uint_gt(left, 64 + 2 * v->size);
    switch (v->kind) {
    case VT_NULL: *size += (size_t)snprintf(out, left, "NULL"); break;
    case VT_INTEGER:
        *size += (size_t)snprintf(out, left, "%lld", (long long)v->integer);
        break;
    case VT_REAL: *size += (size_t)snprintf(out, left, "r%.17g", v->real); break;
    case VT_TEXT:
        *size += (size_t)snprintf(out, left, "'%.*s'", (int)v->size, v->p);
        break;
    case VT_BLOB:
        *size += (size_t)snprintf(out, left, "x");
        for (size_t i = 0; i < v->size; i++)
            *size += (size_t)snprintf(fx.text + *size, 3, "%02x", v->p[i]);
        break;
    }
}

static kvsql_rc run(struct vt_session *session, const char *sql)
{
    struct vt_statement *statement;
    size_t size = 0;
    bool row = false;
    kvsql_rc rc =
        vt_prepare(session, sql, strlen(sql), NULL, &statement, &fx.err);

    fx.text[0] = 0;
    if (rc != KVSQL_OK) return rc;
    while ((rc = vt_step(statement, &row, &fx.err)) == KVSQL_OK && row)
        for (int i = 0; i < vt_column_count(statement); i++) {
            struct vt_value v;
            vt_column(statement, i, &v);
            if (size > 0) fx.text[size++] = i == 0 ? '\n' : '|';
            put_value(&size, &v);
        }
    vt_finish(statement);
    return rc;
}

static void ok(struct vt_session *session, const char *sql)
{
    const kvsql_rc rc = run(session, sql);

    ck_assert_msg(rc == KVSQL_OK, "%s: %s", sql, fx.err.text);
}

#define GIVES(session, sql, rows)                                             \
    do {                                                                      \
        ok(session, sql);                                                     \
        ck_assert_str_eq(fx.text, rows);                                      \
    } while (0)
#define FAILS(session, sql, code, sentence)                                   \
    do {                                                                      \
        ck_assert_int_eq(run(session, sql), code);                            \
        ck_assert_str_eq(fx.err.text, sentence);                              \
    } while (0)

#define USERS                                                                 \
    "CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, name TEXT,"    \
    " age INTEGER, score REAL, n NUMERIC, data BLOB)"
#define KEPT                                                                  \
    "'users'|'CREATE VIRTUAL TABLE \"users\" USING kv_hash('user:{id}', id,"  \
    " name TEXT, age INTEGER, score REAL, n NUMERIC, data BLOB)'"

START_TEST(a_table_that_one_session_declares_is_there_for_all)
{
    FAILS(fx.b, "SELECT * FROM users", KVSQL_SYNTAX, "no such table: users");
    ok(fx.a, USERS);
    ok(fx.b, "INSERT INTO users(id, name) VALUES('1', 'Ann')");
    GIVES(fx.a, "SELECT id, name FROM users", "'1'|'Ann'");
    GIVES(fx.b, "SELECT name FROM kv_schema", "'users'");
    FAILS(fx.b, "CREATE VIRTUAL TABLE USERS USING kv_hash('x:{k}', k, v)",
          KVSQL_SYNTAX, "table USERS already exists");
    ok(fx.b, "DROP TABLE Users");
    FAILS(fx.a, "SELECT id, name FROM users", KVSQL_SYNTAX,
          "no such table: users");
    GIVES(fx.a, "SELECT count(*) FROM kv_schema", "0");
    GIVES(fx.a, "SELECT key, field, value FROM hashes",
          "'user:1'|'name'|'Ann'");
    ok(fx.a, "CREATE VIRTUAL TABLE users USING kv_hash('user:{k}', k, x)");
    GIVES(fx.b, "SELECT k, x FROM users", "'1'|NULL");
}
END_TEST

/* Nothing is learnt inside of it, so it is learnt before. */
START_TEST(a_transaction_of_a_session_begins_with_all_tables)
{
    ok(fx.a, USERS);
    ck_assert_int_eq(vt_begin(fx.b, &fx.err), KVSQL_OK);
    ok(fx.b, "INSERT INTO users(id, name) VALUES('1', 'a')");
    ck_assert_int_eq(vt_commit(fx.b, &fx.err), KVSQL_OK);
    GIVES(fx.a, "SELECT id, name FROM users", "'1'|'a'");
}
END_TEST

START_TEST(a_table_that_changed_meanwhile_is_the_new_one_everywhere)
{
    ok(fx.a, USERS);
    GIVES(fx.b, "SELECT count(*) FROM users", "0");
    ok(fx.a, "DROP TABLE users");
    ok(fx.a, "CREATE VIRTUAL TABLE users USING kv_hash('u:{id}', id, name)");
    ok(fx.b, "INSERT INTO users VALUES('1', 'x')");
    GIVES(fx.a, "SELECT key FROM keys", "'u:1'");
    ok(fx.b, "CREATE VIRTUAL TABLE temp.mine USING kv_hash('u:{id}', id, name)");
    ok(fx.b, "ALTER TABLE mine RENAME TO own");
    GIVES(fx.b, "SELECT name FROM own", "'x'");
    FAILS(fx.a, "SELECT * FROM own", KVSQL_SYNTAX, "no such table: own");
    GIVES(fx.b, "SELECT count(*) FROM kv_schema", "1");
}
END_TEST

START_TEST(declaring_stands_outside_of_transactions)
{
    ok(fx.a, USERS);
    ok(fx.a, "BEGIN");
    FAILS(fx.a, "CREATE VIRTUAL TABLE x USING kv_hash('x:{id}', id, v)",
          KVSQL_INVALID, "kv_hash: tables are made outside of transactions");
    ck_assert_int_ne(run(fx.a, "DROP TABLE users"), KVSQL_OK);
    ok(fx.a, "INSERT INTO users(id, name) VALUES('1', 'a')");
    ok(fx.a, "COMMIT");
    FAILS(fx.a, "ALTER TABLE users RENAME TO people", KVSQL_INVALID,
          "kv_hash: drop users and create it with the other name; the hashes "
          "stay");
    FAILS(fx.a, "CREATE VIRTUAL TABLE kv_meta USING kv_hash('x:{id}', id, v)",
          KVSQL_INVALID, "kv_hash: kv_meta is a table that is always there");
    GIVES(fx.a, "SELECT id, name FROM users", "'1'|'a'");
    GIVES(fx.b, "SELECT * FROM kv_schema", KEPT);
}
END_TEST

START_TEST(definitions_outlive_a_restart_from_wal_and_from_snapshot)
{
    struct kvsql_snapshot_info info;

    ok(fx.a, USERS);
    ok(fx.a, "CREATE VIRTUAL TABLE gone USING kv_hash('x:{id}', id, v)");
    ok(fx.a, "INSERT INTO users(id, name) VALUES('1', 'a')");
    ok(fx.a, "DROP TABLE gone");
    GIVES(fx.a, "SELECT op, key, field FROM changes WHERE op = 'define'",
          "'define'|NULL|'users'\n'define'|NULL|'gone'\n"
          "'define'|NULL|'gone'");
    reopen();
    GIVES(fx.a, "SELECT * FROM kv_schema", KEPT);
    GIVES(fx.b, "SELECT id, name FROM users", "'1'|'a'");
    ck_assert_int_eq(kvsql_snapshot(fx.db, &info, &fx.err), KVSQL_OK);
    reopen();
    GIVES(fx.b, "SELECT id, name FROM users", "'1'|'a'");
    GIVES(fx.a, "SELECT * FROM kv_schema", KEPT);
    ck_assert_int_eq(kvsql_snapshot(fx.db, &info, &fx.err), KVSQL_OK);
    reopen(); /* from one that was written by a store that was loaded */
    GIVES(fx.b, "SELECT id, name FROM users", "'1'|'a'");
    ok(fx.b, "DROP TABLE users");
    reopen();
    GIVES(fx.a, "SELECT count(*) FROM kv_schema", "0");
}
END_TEST

START_TEST(a_flush_of_the_keys_leaves_definitions)
{
    ok(fx.a, USERS);
    ok(fx.a, "INSERT INTO users(id, name) VALUES('1', 'a')");
    ok(fx.a, "DELETE FROM keys");
    {
        struct kv_txn *txn;
        struct kv_ticket ticket;
        ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
        ck_assert_int_eq(kv_flush(txn, &fx.err), KVSQL_OK);
        ck_assert_int_eq(kv_txn_commit(txn, &ticket, &fx.err), KVSQL_OK);
    }
    GIVES(fx.b, "SELECT count(*) FROM users", "0");
    GIVES(fx.b, "SELECT * FROM kv_schema", KEPT);
}
END_TEST

START_TEST(the_view_in_a_snapshot_gives_the_values_of_the_table)
{
    static const char *const values[] = {
        "'7'", "'007'", "'7.0'", "' 7 '", "'+7'", "'.5'", "'1e1'", "'1e17'",
        "'abc'", "''", "'-5'", "'0x7'", "'7a'", "x'ff'", "x'3700'", "'-0.0'",
        "'9223372036854775807'", "'9223372036854775808'", "'-9223372036854775808'",
        "'0.30000000000000004'", "'9e999'", "'Inf'", "'9007199254740993'",
        "'123456789012345678901234567890'", "'9007199254740993.0'", "'1.'",
        "'5e-324'", "'\xc3\xa9'", "'1_0'", "'1e'", "'-'"};
    static const char *const fields[] = {"name", "age", "score", "n", "data",
                                         "other"};
    static const char query[] = "SELECT * FROM users ORDER BY id";
    struct kvsql_snapshot_info info;
    struct vt_session *file;
    char path[192], sql[256];

    ok(fx.a, USERS);
    ok(fx.a, "CREATE VIRTUAL TABLE every USING kv_hash('{k}', k, age INT,"
             " \"o'dd \"\"name\" TEXT)");
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        for (size_t j = 0; j < sizeof(fields) / sizeof(fields[0]); j++) {
            (void)snprintf(sql, sizeof(sql), "INSERT INTO hashes(key, field,"
                           " value) VALUES('user:%zu', '%s', %s)", i, fields[j],
                           values[(i + j * 7) % (sizeof(values) /
                                                 sizeof(values[0]))]);
            ok(fx.a, sql);
            if (i % 5 == j) break; /* the rest is NULL */
        }
    ok(fx.a, "INSERT INTO hashes(key, field, value) VALUES"
             " (CAST('user:' AS BLOB) || x'ff', 'age', 5), ('user:', 'n', '1'),"
             " ('user:\xc3\xa9', 'name', 'x'), ('user;', 'name', 'y'),"
             " ('user:8', 'o''dd \"name', 'z')");
    ok(fx.a, "INSERT INTO strings(key, value) VALUES('user:no', 'x')");
    ck_assert_int_eq(kvsql_snapshot(fx.db, &info, &fx.err), KVSQL_OK);
    (void)snprintf(path, sizeof(path), "%s/%s", fx.dir, info.file);
    ck_assert_int_eq(vt_session_open_file(path, &file, &fx.err), KVSQL_OK);
    ok(fx.a, query);
    memcpy(fx.other, fx.text, sizeof(fx.other));
    ck_assert_uint_gt(strlen(fx.other), 800);
    GIVES(file, query, fx.other);
    ok(fx.a, "SELECT * FROM every ORDER BY k");
    memcpy(fx.other, fx.text, sizeof(fx.other));
    GIVES(file, "SELECT * FROM every ORDER BY k", fx.other);
    ok(fx.a, "SELECT * FROM kv_schema");
    memcpy(fx.other, fx.text, sizeof(fx.other));
    GIVES(file, "SELECT * FROM kv_schema", fx.other);
    vt_session_close(file);
}
END_TEST

START_TEST(only_sessions_with_all_rights_declare_and_all_use)
{
    const struct vt_limits admin = {.admin = true}, plain = {.admin = false},
                           reader = {.read_only = true};
    struct vt_session *all = open_session(&admin), *some = open_session(&plain),
                      *none = open_session(&reader);

    FAILS(some, USERS, KVSQL_AUTH, "not authorized");
    FAILS(all, "CREATE VIRTUAL TABLE temp.x USING kv_hash('x:{id}', id, v)",
          KVSQL_AUTH, "not authorized");
    ok(all, USERS);
    ok(some, "INSERT INTO users(id, name) VALUES('1', 'a')");
    ok(some, "UPDATE users SET name = 'b'");
    GIVES(none, "SELECT id, name FROM users", "'1'|'b'");
    ck_assert_int_ne(run(none, "DELETE FROM users"), KVSQL_OK);
    ck_assert_int_eq(run(some, "DROP TABLE users"), KVSQL_AUTH);
    ck_assert_int_ne(run(none, "DROP TABLE users"), KVSQL_OK);
    ok(some, "DELETE FROM users");
    ok(all, "DROP TABLE users");
    FAILS(none, "SELECT * FROM users", KVSQL_SYNTAX, "no such table: users");
    vt_session_close(all);
    vt_session_close(some);
    vt_session_close(none);
}
END_TEST

static struct kv_def def_of(const char *name, const char *text)
{
    return (struct kv_def){.name = kvsql_text(name), .text = kvsql_text(text),
                           .view = kvsql_text("")};
}

static void define(struct kv_txn *txn, const char *name, const char *text)
{
    const struct kv_def def = def_of(name, text);

    ck_assert_int_eq(kv_define(txn, &def, &fx.err), KVSQL_OK);
}

/* All names and texts of a state. */
static const char *definitions(const struct kv_at *at)
{
    struct kv_def def;
    size_t place = 0, size = 0;

    fx.text[0] = 0;
    while (kv_def_next(at, &place, &def))
        size += (size_t)snprintf(fx.text + size, TEXT_MAX - size, "%.*s=%.*s ",
                                 (int)def.name.size, (const char *)def.name.p,
                                 (int)def.text.size, (const char *)def.text.p);
    return fx.text;
}

START_TEST(views_and_rollbacks_know_definitions_as_they_know_keys)
{
    struct kv_store *store = kv_db_store(fx.db);
    struct kv_view *view;
    struct kv_txn *txn;
    struct kv_mark mark;
    struct kv_ticket ticket;
    struct kv_at at, old;
    uint64_t hash, version;

    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    define(txn, "b", "1");
    define(txn, "a", "2");
    define(txn, "c", "3");
    ck_assert_int_eq(kv_txn_commit(txn, &ticket, &fx.err), KVSQL_OK);
    ck_assert_int_eq(kv_pin(fx.db, &view, &fx.err), KVSQL_OK);
    kv_at_view(view, &old);
    version = kv_defs_version(&old);

    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    kv_at_txn(txn, &at);
    define(txn, "a", "");
    mark = kv_txn_mark(txn);
    hash = kv_store_hash(store);
    define(txn, "b", "4");
    define(txn, "d", "5");
    ck_assert_str_eq(definitions(&at), "b=4 c=3 d=5 ");
    kv_txn_restore(txn, mark);
    ck_assert_uint_eq(kv_store_hash(store), hash);
    ck_assert_str_eq(definitions(&at), "b=1 c=3 ");
    kv_txn_rollback(txn);
    ck_assert_uint_eq(kv_defs_hint(fx.db), version);

    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    kv_at_txn(txn, &at);
    ck_assert_str_eq(definitions(&at), "a=2 b=1 c=3 ");
    define(txn, "a", "");
    define(txn, "b", "");
    define(txn, "c", "");
    ck_assert_str_eq(definitions(&at), "");
    ck_assert_int_eq(kv_txn_commit(txn, &ticket, &fx.err), KVSQL_OK);
    ck_assert_uint_gt(kv_defs_hint(fx.db), version);
    ck_assert_str_eq(definitions(&old), "a=2 b=1 c=3 ");
    kv_unpin(view);
    kv_store_check(store);
}
END_TEST

START_TEST(definitions_have_a_limit_that_is_named)
{
    static char text[KV_DEFS_SIZE_MAX];
    struct kv_txn *txn;
    struct kv_def def;

    memset(text, 'x', sizeof(text) - 1);
    def = def_of("a", text);
    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    ck_assert_int_eq(kv_define(txn, &def, &fx.err), KVSQL_TOOBIG);
    ck_assert_str_eq(fx.err.text,
                     "the definitions of a store are at most 1048576 bytes");
    ck_assert_uint_eq(kv_txn_count(txn), 0);
    kv_txn_rollback(txn);
}
END_TEST

START_TEST(nothing_is_torn_when_an_allocation_fails)
{
    static const char *const statements[] = {
        USERS, "SELECT count(*) FROM users", "DROP TABLE users"};

    for (unsigned i = 0; i < 3; i++) {
        struct vt_session *session = i == 1 ? fx.b : fx.a;
        int failed = 1;
        for (uint64_t n = 1; failed; n++) {
            kvsql_rc rc;
            kv_mem_fail_at(n, 0);
            rc = run(session, statements[i]);
            failed = kv_mem_failed();
            kv_mem_fail_at(0, 0);
            if (rc == KVSQL_OK) break;
            ck_assert_msg(failed && rc == KVSQL_NOMEM, "%s: %s", statements[i],
                          fx.err.text);
            ok(fx.a, "SELECT count(*) FROM kv_schema");
            ck_assert_str_eq(fx.text, i == 0 ? "0" : "1");
            ck_assert_int_eq(run(fx.a, "SELECT * FROM users"),
                             i == 0 ? KVSQL_SYNTAX : KVSQL_OK);
        }
    }
    GIVES(fx.b, "SELECT count(*) FROM kv_schema", "0");
    FAILS(fx.b, "SELECT * FROM users", KVSQL_SYNTAX, "no such table: users");
}
END_TEST

/* ---- threads --------------------------------------------------------------- */

#define TURNS 60

/* A session of its own: rows when the table is there, else its absence. */
static void *use(void *arg)
{
    static const char *const statements[] = {
        "REPLACE INTO users(id, name) VALUES('1', 'x')",
        "SELECT count(*) FROM users WHERE name = 'x'",
        "SELECT count(*) FROM kv_schema"};
    const struct vt_limits limits = {.trusted = true};
    struct vt_session *session = NULL;
    struct kvsql_error err;
    unsigned *const done = arg;

    if (vt_session_open(fx.db, &limits, &session, &err) != KVSQL_OK)
        return NULL;
    for (unsigned i = 0; i < TURNS * 4; i++) {
        const char *sql = statements[i % 3];
        struct vt_statement *statement = NULL;
        bool row = true;
        kvsql_rc rc =
            vt_prepare(session, sql, strlen(sql), NULL, &statement, &err);
        while (rc == KVSQL_OK && row) rc = vt_step(statement, &row, &err);
        vt_finish(statement);
        if (rc == KVSQL_OK || strcmp(err.text, "no such table: users") == 0)
            ++*done;
    }
    vt_session_close(session);
    return NULL;
}

START_TEST(tables_come_and_go_while_others_use_them)
{
    pthread_t thread[2];
    unsigned done[2] = {0, 0};

    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, use, &done[i]), 0);
    for (unsigned i = 0; i < TURNS; i++) {
        ok(fx.a, USERS);
        ok(fx.b, "DELETE FROM users");
        ok(fx.b, "DROP TABLE users");
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
        ck_assert_uint_eq(done[i], TURNS * 4);
    }
    GIVES(fx.a, "SELECT count(*) FROM kv_schema", "0");
}
END_TEST

/* Until the keeper has built it. */
static void wait_for_plan(const char *sql, const char *plan)
{
    char explain[512];

    (void)snprintf(explain, sizeof(explain), "EXPLAIN QUERY PLAN %s", sql);
    for (unsigned i = 0; i < 12000; i++) { /* two minutes */
        ok(fx.a, explain);
        if (strstr(fx.text, plan) != NULL) return;
        (void)usleep(10000);
    }
    ck_abort_msg("%s: %s", sql, fx.text);
}

START_TEST(indexes_are_built_again_after_a_start)
{
    static const char count[] = "SELECT count(*) FROM users WHERE age = 41";
    struct kv_snapshot_info info;

    ok(fx.a, "CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, name"
             " TEXT, age INTEGER, INDEX(age))");
    ok(fx.a, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n"
             " LIMIT 5000) INSERT INTO users SELECT i, 'n', i % 50 FROM n");
    wait_for_plan(count, "index age: age=?");
    GIVES(fx.b, count, "100");
    reopen(); /* from the wal */
    wait_for_plan(count, "index age: age=?");
    GIVES(fx.b, count, "100");
    ok(fx.b, "UPDATE users SET age = 41 WHERE age = 7");
    ck_assert_int_eq(kv_snapshot_run(fx.db, NULL, NULL, &info, &fx.err),
                     KVSQL_OK);
    ok(fx.b, "DELETE FROM users WHERE age = 9");
    reopen(); /* from the snapshot, and the wal behind it */
    GIVES(fx.b, count, "200");
    wait_for_plan(count, "index age: age=?");
    GIVES(fx.b, count, "200");
    GIVES(fx.b, "SELECT max(age), count(*) FROM users WHERE age >= 9 AND age <"
                " 11", "10|100");
    kv_store_check(kv_db_store(fx.db));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, indexes_are_built_again_after_a_start);
    tcase_add_test(tests, a_table_that_one_session_declares_is_there_for_all);
    tcase_add_test(tests, a_transaction_of_a_session_begins_with_all_tables);
    tcase_add_test(tests,
                   a_table_that_changed_meanwhile_is_the_new_one_everywhere);
    tcase_add_test(tests, declaring_stands_outside_of_transactions);
    tcase_add_test(tests,
                   definitions_outlive_a_restart_from_wal_and_from_snapshot);
    tcase_add_test(tests, a_flush_of_the_keys_leaves_definitions);
    tcase_add_test(tests,
                   the_view_in_a_snapshot_gives_the_values_of_the_table);
    tcase_add_test(tests, only_sessions_with_all_rights_declare_and_all_use);
    tcase_add_test(tests,
                   views_and_rollbacks_know_definitions_as_they_know_keys);
    tcase_add_test(tests, definitions_have_a_limit_that_is_named);
    tcase_add_test(tests, nothing_is_torn_when_an_allocation_fails);
    tcase_add_test(tests, tables_come_and_go_while_others_use_them);
}

int main(void)
{
    return unit_run("defs", add);
}
