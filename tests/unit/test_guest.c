/* test_guest.c - our tables in a connection that is not our own: memory that
 * runs out at each place, the entry that programs link, kvsql_sql_register(). */
#include <stdio.h>
#include <string.h>

#include "tests/lib/tempdir.h"
#include "tests/lib/unit.h"
#include "vtab/guest.h"
#include "vtab/session.h"

#define GUEST_CALLS_MAX 100000

static kvsql *db;
static struct vt_store store;
static struct kvsql_error err;
static unsigned left;

static void count_left(void *arg)
{
    (*(unsigned *)arg)++;
}

static void setup(void)
{
    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(kvsql_open(NULL, NULL, &db, &err), KVSQL_OK);
    vt_store_init(&store);
    left = 0;
}

static void teardown(void)
{
    vt_store_fini(&store);
    ck_assert_int_eq(kvsql_close(db, &err), KVSQL_OK);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_VIEW), 0);
}

static sqlite3 *connection(void)
{
    sqlite3 *sql = NULL;

    ck_assert_int_eq(sqlite3_open(":memory:", &sql), SQLITE_OK);
    return sql;
}

/* "1" for a count that is one, and so on; "" when there is no row. */
static int first(void *out, int columns, char **value, char **name)
{
    (void)columns;
    (void)name;
    (void)snprintf(out, 64, "%s", value[0] != NULL ? value[0] : "NULL");
    return 0;
}

static int run(sqlite3 *sql, const char *text, char out[64])
{
    out[0] = '\0';
    return sqlite3_exec(sql, text, first, out, NULL);
}

static void gives(sqlite3 *sql, const char *text, const char *wanted)
{
    char out[64];

    ck_assert_msg(run(sql, text, out) == SQLITE_OK, "%s: %s", text,
                  sqlite3_errmsg(sql));
    ck_assert_str_eq(out, wanted);
}

static sqlite3 *guest(bool read_only)
{
    sqlite3 *sql = connection();

    ck_assert_msg(vt_guest_open(sql, db, &store, read_only, count_left, &left,
                                &err) == KVSQL_OK,
                  "%s", err.text);
    return sql;
}

START_TEST(a_guest_leaves_with_its_connection)
{
    sqlite3 *one = guest(false), *two = guest(true);
    sqlite3_stmt *running;

    gives(one, "INSERT INTO strings(key, value) VALUES ('a', '1'), ('b', '2')",
          "");
    gives(two, "SELECT count(*) FROM strings", "2");
    ck_assert_int_ne(run(two, "DELETE FROM strings", (char[64]){0}), SQLITE_OK);
    ck_assert_int_eq(sqlite3_extended_errcode(two) & 0xff, SQLITE_READONLY);
    ck_assert_int_eq(sqlite3_prepare_v2(two, "SELECT key FROM strings", -1,
                                        &running, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(running), SQLITE_ROW);
    ck_assert_int_eq(sqlite3_close_v2(two), SQLITE_OK);
    ck_assert_uint_eq(left, 0); /* its statement runs */
    gives(one, "DELETE FROM strings", "");
    ck_assert_int_eq(sqlite3_step(running), SQLITE_ROW);
    ck_assert_str_eq((const char *)sqlite3_column_text(running, 0), "b");
    ck_assert_int_eq(sqlite3_finalize(running), SQLITE_OK);
    ck_assert_uint_eq(left, 1);
    gives(one, "BEGIN; SELECT count(*) FROM strings", "0");
    gives(one, "INSERT INTO strings(key, value) VALUES ('c', '3')", "");
    ck_assert_int_eq(sqlite3_close(one), SQLITE_OK);
    ck_assert_uint_eq(left, 2);
    one = guest(false);
    gives(one, "SELECT count(*) FROM keys", "0"); /* it was rolled back */
    ck_assert_int_eq(sqlite3_close(one), SQLITE_OK);
}
END_TEST

/* What a transaction does, as far as it gets. */
static bool live(sqlite3 *sql)
{
    static const char *const steps[] = {
        "BEGIN",
        "SELECT value FROM strings WHERE key = 'a'",
        "SELECT kv_get('a')",
        "SAVEPOINT s",
        "UPDATE strings SET value = value || 'x' WHERE key GLOB '*'",
        "ROLLBACK TO s",
        "REPLACE INTO strings(key, value) VALUES ('a', '1')",
        "COMMIT",
        "SELECT s.value FROM strings s JOIN keys k ON k.key = s.key"};
    char out[64];

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (run(sql, steps[i], out) != SQLITE_OK) {
            ck_assert_int_eq(sqlite3_errcode(sql) & 0xff, SQLITE_NOMEM);
            return false;
        }
    return true;
}

START_TEST(memory_that_runs_out_leaves_nothing_behind)
{
    sqlite3 *sql = guest(false);
    int failed = 1;
    uint64_t n = 0;

    gives(sql, "INSERT INTO strings(key, value) VALUES ('a', '1')", "");
    ck_assert_int_eq(sqlite3_close(sql), SQLITE_OK);
    while (failed && n < GUEST_CALLS_MAX) {
        bool whole;
        sql = connection();
        left = 0;
        kv_mem_fail_at(++n, 0);
        whole = vt_guest_open(sql, db, &store, false, count_left, &left,
                              &err) == KVSQL_OK &&
                live(sql);
        failed = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        ck_assert(whole || failed);
        ck_assert_int_eq(sqlite3_close(sql), SQLITE_OK);
        ck_assert_uint_eq(left, 1);
        sql = guest(false);
        gives(sql, "SELECT group_concat(key || value) FROM strings", "a1");
        ck_assert_int_eq(sqlite3_close(sql), SQLITE_OK);
    }
    ck_assert_uint_gt(n, 50);
    ck_assert(!failed);
}
END_TEST

START_TEST(the_entry_serves_programs_that_link_it)
{
    extern int sqlite3_kvsql_init(sqlite3 *, char **,
                                  const sqlite3_api_routines *);
    sqlite3 *sql = connection();
    char *why = NULL, out[64], dir[TEMPDIR_MAX], text[TEMPDIR_MAX + 32];

    ck_assert_int_eq(sqlite3_kvsql_init(sql, &why, NULL),
                     SQLITE_OK_LOAD_PERMANENTLY);
    ck_assert_int_eq(sqlite3_kvsql_init(sql, &why, NULL),
                     SQLITE_OK_LOAD_PERMANENTLY);
    ck_assert_int_ne(run(sql, "SELECT kv_open('/dev/null')", out), SQLITE_OK);
    ck_assert_ptr_nonnull(strstr(sqlite3_errmsg(sql), "/dev/null"));
    ck_assert_int_eq(run(sql, "SELECT kv_get('a')", out), SQLITE_ERROR);
    ck_assert_int_eq(kvsql_sql_register(db, sql, &err), KVSQL_OK);
    tempdir_make(dir, "test_guest");
    (void)snprintf(text, sizeof(text), "SELECT kv_open('%s')", dir);
    ck_assert_int_ne(run(sql, text, out), SQLITE_OK);
    ck_assert_ptr_nonnull(strstr(sqlite3_errmsg(sql), "has the tables of"));
    tempdir_remove(dir);
    gives(sql, "SELECT count(*) FROM keys", "0");
    ck_assert_int_eq(sqlite3_close(sql), SQLITE_OK);
}
END_TEST

static sqlite3 *registered(void)
{
    sqlite3 *sql = connection();

    ck_assert_msg(kvsql_sql_register(db, sql, &err) == KVSQL_OK, "%s",
                  err.text);
    return sql;
}

#define REFUSED(code, words, call)                                            \
    do {                                                                      \
        ck_assert_int_eq((call), (code));                                     \
        ck_assert_msg(strstr(err.text, (words)) != NULL, "%s", err.text);     \
    } while (0)

START_TEST(a_program_has_the_stores_tables_in_its_own_connection)
{
    sqlite3 *one = registered(), *two = registered();
    kvsql_bytes value;

    ck_assert_int_eq(kvsql_put(db, kvsql_text("a"), kvsql_text("1"), 0, &err),
                     KVSQL_OK);
    gives(one, "CREATE TABLE note(key TEXT PRIMARY KEY, text TEXT)", "");
    gives(one, "INSERT INTO note VALUES ('a', 'first')", "");
    gives(one, "SELECT s.value || n.text FROM strings s JOIN note n"
               " ON n.key = s.key", "1first");
    gives(two, "INSERT INTO strings(key, value) VALUES ('b', '2')", "");
    ck_assert_int_eq(kvsql_get(db, kvsql_text("b"), &value, &err), KVSQL_OK);
    ck_assert_str_eq(value.p, "2");
    kvsql_bytes_free(&value);

    gives(one, "BEGIN; DELETE FROM strings; DELETE FROM note; ROLLBACK", "");
    gives(one, "SELECT (SELECT count(*) FROM strings) || count(*) FROM note",
          "21");
    gives(one, "SELECT kv_get('b')", "2");
    gives(one, "SELECT value FROM kv_meta WHERE name = 'rows.strings'", "2");
    REFUSED(KVSQL_INVALID, "has the tables of a store already",
            kvsql_sql_register(db, one, &err));
    REFUSED(KVSQL_INVALID, "no store", kvsql_sql_register(NULL, one, &err));
    REFUSED(KVSQL_INVALID, "no connection", kvsql_sql_register(db, NULL, &err));
    gives(one, "SELECT count(*) FROM keys", "2"); /* as before */
    REFUSED(KVSQL_BUSY, "2 views, transactions, cursors and connections",
            kvsql_close(db, &err));
    ck_assert_int_eq(sqlite3_close(two), SQLITE_OK);
    REFUSED(KVSQL_BUSY, "1 views", kvsql_close(db, &err));
    ck_assert_int_eq(sqlite3_close(one), SQLITE_OK);
}
END_TEST

/* Waiting for itself would never end. */
START_TEST(a_thread_that_writes_by_sql_and_by_calls_is_told_so)
{
    sqlite3 *sql = registered();
    kvsql_view *view, *other;
    kvsql_txn *txn;
    char out[64];

    ck_assert_int_eq(kvsql_view_pin(db, &view, &err), KVSQL_OK);
    gives(sql, "BEGIN; INSERT INTO strings(key, value) VALUES ('a', '1')", "");
    REFUSED(KVSQL_BUSY, "an SQL connection of this thread has written",
            kvsql_put(db, kvsql_text("b"), kvsql_text("2"), 0, &err));
    REFUSED(KVSQL_BUSY, "an SQL connection", kvsql_begin(db, 0, &txn, &err));
    REFUSED(KVSQL_BUSY, "an SQL connection", kvsql_view_pin(db, &other, &err));
    REFUSED(KVSQL_BUSY, "2 views", kvsql_close(db, &err));
    kvsql_view_release(view); /* at once: the lock is this thread's */
    REFUSED(KVSQL_BUSY, "1 views", kvsql_close(db, &err));
    gives(sql, "COMMIT", "");
    REFUSED(KVSQL_BUSY, "1 views", kvsql_close(db, &err));

    ck_assert_int_eq(kvsql_begin(db, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(run(sql, "SELECT count(*) FROM keys", out), SQLITE_BUSY);
    ck_assert_str_eq(sqlite3_errmsg(sql), "this thread has a transaction open: "
                                          "work through it, or end it first");
    ck_assert_int_eq(run(sql, "DELETE FROM keys", out), SQLITE_BUSY);
    REFUSED(KVSQL_BUSY, "a transaction open",
            kvsql_sql_register(db, sql, &err));
    kvsql_rollback(txn);
    gives(sql, "SELECT key FROM keys", "a");
    ck_assert_int_eq(sqlite3_close(sql), SQLITE_OK);
}
END_TEST

START_TEST(registering_without_memory_leaves_nothing_behind)
{
    int failed = 1;
    uint64_t n = 0;

    while (failed && n < GUEST_CALLS_MAX) {
        sqlite3 *sql = connection();
        kvsql_rc rc;
        kv_mem_fail_at(++n, 0);
        rc = kvsql_sql_register(db, sql, &err);
        failed = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        ck_assert(rc == KVSQL_OK || (failed && rc == KVSQL_NOMEM));
        ck_assert_int_eq(sqlite3_close(sql), SQLITE_OK);
    }
    ck_assert_uint_gt(n, 10);
    ck_assert(!failed);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_guest_leaves_with_its_connection);
    tcase_add_test(tests, memory_that_runs_out_leaves_nothing_behind);
    tcase_add_test(tests, the_entry_serves_programs_that_link_it);
    tcase_add_test(tests,
                   a_program_has_the_stores_tables_in_its_own_connection);
    tcase_add_test(tests,
                   a_thread_that_writes_by_sql_and_by_calls_is_told_so);
    tcase_add_test(tests, registering_without_memory_leaves_nothing_behind);
}

int main(void)
{
    return unit_run("guest", add_tests);
}
