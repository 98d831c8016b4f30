/* test_atomic.c - TE8 of the SQL reference: transactions over several tables on
 * a disk that fails, fills up or loses power at any moment, without memory, and
 * beside another module whose xSync fails: all of it or nothing.
 *
 * The n-th transaction puts n into a string, a field of a hash, a typed row, the
 * end of a list, a set and a sorted set. What opens after an accident says the
 * same n six times, at least the last that was acknowledged. Two transactions
 * instead of one are found half done: the control. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/unit.h"
#include "vtab/state.h"

#define TRANSACTIONS 3
#define EVENTS_MAX 400 /* calls of one kind in a run */

static struct fakeos *fake;
static kvsql *db;
static struct vt_session *session;
static struct kvsql_error err;
static int sent, acked;
static bool split; /* the control */
static int pad; /* KiB that a transaction has more */
static uint64_t commit_fails; /* the allocation of a COMMIT; 0: none */
static bool commit_failed;

static void diag_drop(void *arg, const char *line)
{
    (void)arg, (void)line;
}

/* ---- a store -------------------------------------------------------------- */

static kvsql_rc store_open(void)
{
    const struct vt_limits limits = {.trusted = true};
    const struct kvsql_options options = {.fsync = KVSQL_FSYNC_ALWAYS,
                                          .wal_segment_size = 1024,
                                          .no_keeper = true};
    const kvsql_rc rc = kv_open_os("data", &options, fakeos_os(fake), NULL,
                                   NULL, &db, &err);

    session = NULL;
    if (rc != KVSQL_OK) return rc;
    ck_assert_int_eq(vt_session_open(db, &limits, &session, &err), KVSQL_OK);
    return rc;
}

static void store_close(void)
{
    if (session == NULL) return;
    vt_session_close(session);
    (void)kv_close(db, &err);
    session = NULL;
}

static kvsql_rc run(const char *sql, int64_t *value)
{
    struct vt_statement *statement;
    struct vt_value v = {.kind = VT_NULL};
    bool row = true;
    kvsql_rc rc = vt_prepare(session, sql, strlen(sql), NULL, &statement, &err);

    if (rc != KVSQL_OK) return rc;
    while ((rc = vt_step(statement, &row, &err)) == KVSQL_OK && row) {
        vt_column(statement, 0, &v);
        if (value != NULL) *value = v.integer;
    }
    vt_finish(statement);
    return rc;
}

#define OK(sql)                                                               \
    do {                                                                      \
        const kvsql_rc ok_rc = run(sql, NULL);                                \
        ck_assert_msg(ok_rc == KVSQL_OK, "%s: %s", sql, err.text);            \
    } while (0)

static void begin_store(uint64_t seed)
{
    fake = fakeos_new(seed);
    sent = acked = 0;
    ck_assert_int_eq(store_open(), KVSQL_OK);
    OK("CREATE VIRTUAL TABLE users USING kv_hash('u:{id}', id, n INTEGER)");
}

static void end_store(void)
{
    store_close();
    fakeos_free(fake);
}

/* ---- transactions ------------------------------------------------------------ */

/* Statement i of transaction n; false behind the last. */
static bool statement_of(int i, int n, char *sql, size_t size)
{
    static const char *const statements[] = {
        "INSERT OR REPLACE INTO strings(key, value) VALUES('n', %d)",
        "REPLACE INTO hashes(key, field, value) VALUES('h', 'n', %d)",
        "SAVEPOINT s -- %d", "DELETE FROM keys -- %d", "ROLLBACK TO s -- %d",
        "INSERT INTO lists(key, value) VALUES('l', %d)",
        "REPLACE INTO users(id, n) VALUES('1', %d)",
        "INSERT INTO sets VALUES('s', %d)",
        "INSERT INTO zsets(key, member, score) SELECT 'z', value, value + 0"
        " FROM strings WHERE key = 'n' AND value = '%d'"};

    if (i == (int)(sizeof(statements) / sizeof(statements[0]))) return false;
    (void)sqlite3_snprintf((int)size, sql, statements[i], n);
    return true;
}

/* One of them; OK: it is acknowledged. */
static kvsql_rc transaction(int n)
{
    char sql[256];
    kvsql_rc rc = run("BEGIN", NULL);

    sent = n;
    for (int i = 0; rc == KVSQL_OK && statement_of(i, n, sql, sizeof(sql));
         i++) {
        if (split && i == 5) rc = run("COMMIT", NULL);
        if (split && i == 5 && rc == KVSQL_OK) rc = run("BEGIN", NULL);
        if (rc == KVSQL_OK) rc = run(sql, NULL);
    }
    (void)sqlite3_snprintf(sizeof(sql), sql,
                           "REPLACE INTO strings(key, value)"
                           " VALUES('pad', hex(zeroblob(512 * %d)))", pad);
    if (rc == KVSQL_OK && pad > 0) rc = run(sql, NULL);
    kv_mem_fail_at(commit_fails, 0);
    if (rc == KVSQL_OK) rc = run("COMMIT", NULL);
    commit_failed = kv_mem_failed() != 0;
    kv_mem_fail_at(0, 0);
    if (vt_in_transaction(session)) (void)run("ROLLBACK", NULL);
    if (rc == KVSQL_OK) acked = n;
    return rc;
}

static void transactions(void)
{
    for (int n = 1; n <= TRANSACTIONS; n++)
        if (transaction(n) != KVSQL_OK && !split) return;
}

/* The number that all six say, or -1. */
static int64_t said(void)
{
    static const char sql[] =
        "SELECT CASE WHEN a = b AND b = c AND c = d AND d = e AND e = f AND f ="
        " g THEN a ELSE -1 END FROM (SELECT"
        " ifnull((SELECT value + 0 FROM strings WHERE key = 'n'), 0) AS a,"
        " ifnull((SELECT value + 0 FROM hashes WHERE key = 'h'), 0) AS b,"
        " ifnull((SELECT max(n) FROM users), 0) AS c,"
        " (SELECT count(*) FROM lists WHERE key = 'l' AND value = idx + 1 ||"
        " '') AS d, ifnull((SELECT length FROM keys WHERE key = 'l'), 0) AS e,"
        " (SELECT count(*) FROM sets) AS f,"
        " ifnull((SELECT max(score) FROM zsets), 0) AS g)";
    int64_t value = -2;

    ck_assert_msg(run(sql, &value) == KVSQL_OK, "%s", err.text);
    return value;
}

static bool whole(void)
{
    const int64_t value = said();

    return value >= acked && value <= sent;
}

/* What there is after an accident, and that it goes on from there. */
static void check(const char *what, uint64_t n)
{
    int64_t value;

    ck_assert_msg(store_open() == KVSQL_OK, "%s %llu: %s", what,
                  (unsigned long long)n, err.text);
    value = said();
    ck_assert_msg(value >= acked && value <= sent,
                  "%s %llu: %lld is there, %d acknowledged, %d sent", what,
                  (unsigned long long)n, (long long)value, acked, sent);
    ck_assert_msg(transaction((int)value + 1) == KVSQL_OK, "%s", err.text);
    ck_assert_int_eq(said(), value + 1);
}

/* ---- the disk -------------------------------------------------------------------- */

struct fault {
    enum fakeos_call call;
    int error;
    bool persistent;
};
static const struct fault faults[] = {
    {FAKEOS_WRITE, EIO, false},      {FAKEOS_WRITE, EIO, true},
    {FAKEOS_WRITE, ENOSPC, false},   {FAKEOS_WRITE, ENOSPC, true},
    {FAKEOS_DATA_SYNC, EIO, false},  {FAKEOS_DATA_SYNC, EIO, true},
    {FAKEOS_OPEN, EMFILE, true},     {FAKEOS_ANY, EIO, false}};

/* The n-th call fails: what is open stays whole, and so does what opens. */
START_TEST(a_call_that_fails_leaves_all_or_nothing)
{
    const struct fault *fault = &faults[_i];
    uint64_t calls;

    kv_diag_sink(diag_drop, NULL);
    begin_store(0);
    calls = fakeos_calls(fake, fault->call);
    transactions();
    calls = fakeos_calls(fake, fault->call) - calls;
    end_store();
    ck_assert_uint_gt(calls, 0);
    ck_assert_uint_lt(calls, EVENTS_MAX);
    for (uint64_t n = 1; n <= calls; n++) {
        begin_store(n);
        fakeos_fail(fake, fault->call, n, fault->error, fault->persistent);
        transactions();
        ck_assert_msg(whole(), "live, n = %llu: %lld, %d acknowledged",
                      (unsigned long long)n, (long long)said(), acked);
        fakeos_fail(fake, fault->call, 0, 0, false);
        store_close();
        fakeos_kill(fake);
        check("call", n);
        end_store();
    }
}
END_TEST

/* The power goes after each change of the disk; returns how many were half. */
static unsigned cut_everywhere(void)
{
    uint64_t changes;
    unsigned half = 0;

    begin_store(0);
    changes = fakeos_changes(fake);
    transactions();
    changes = fakeos_changes(fake) - changes;
    end_store();
    ck_assert_uint_lt(changes, EVENTS_MAX);
    for (uint64_t n = 1; n <= changes; n++) {
        begin_store(n);
        fakeos_cut_after(fake, n);
        transactions();
        store_close();
        fakeos_restart(fake);
        if (split) {
            ck_assert_int_eq(store_open(), KVSQL_OK);
            half += !whole();
        } else {
            check("cut", n);
        }
        end_store();
    }
    return half;
}

START_TEST(a_power_cut_leaves_all_or_nothing)
{
    kv_diag_sink(diag_drop, NULL);
    split = _i == 1;
    if (split)
        ck_assert_uint_gt(cut_everywhere(), 0);
    else
        ck_assert_uint_eq(cut_everywhere(), 0);
}
END_TEST

START_TEST(a_full_disk_leaves_all_or_nothing_and_reads_go_on)
{
    kvsql_rc rc = KVSQL_OK;

    kv_diag_sink(diag_drop, NULL);
    begin_store((uint64_t)_i);
    pad = 64;
    fakeos_space(fake, (2u << 20) + 11000u * (unsigned)_i);
    for (int n = 1; n < 10000 && (rc = transaction(n)) == KVSQL_OK; n++)
        ck_assert_int_eq(said(), n);
    ck_assert_int_gt(acked, 0);
    ck_assert_int_eq(rc, KVSQL_FULL);
    ck_assert_int_eq(said(), acked);
    store_close();
    fakeos_kill(fake);
    fakeos_space(fake, UINT64_MAX);
    check("full", (uint64_t)_i);
    end_store();
}
END_TEST

/* ---- memory --------------------------------------------------------------------- */

START_TEST(a_commit_without_memory_leaves_all_or_nothing)
{
    bool failed = true;
    uint64_t n = 0;

    kv_diag_sink(diag_drop, NULL);
    while (failed) {
        kvsql_rc rc;
        begin_store(n);
        ck_assert_int_eq(transaction(1), KVSQL_OK);
        commit_fails = ++n;
        pad = 2048; /* more than there is room for in the log buffer */
        rc = transaction(2);
        failed = commit_failed;
        commit_fails = 0;
        pad = 0;
        ck_assert(rc == KVSQL_OK || (failed && rc == KVSQL_NOMEM));
        ck_assert_int_eq(said(), rc == KVSQL_OK ? 2 : 1);
        store_close();
        fakeos_kill(fake);
        check("memory", n);
        end_store();
    }
    ck_assert_uint_gt(n, 1);
}
END_TEST

/* ---- another module ----------------------------------------------------------------- */

static int sync_answer; /* of the other module */
static unsigned sync_calls;

struct other_table {
    sqlite3_vtab base;
};

static int other_connect(sqlite3 *sql, void *aux, int argc,
                         const char *const *argv, sqlite3_vtab **out,
                         char **error)
{
    (void)aux, (void)argc, (void)argv, (void)error;
    *out = sqlite3_malloc(sizeof(struct other_table));
    memset(*out, 0, sizeof(struct other_table));
    return sqlite3_declare_vtab(sql, "CREATE TABLE x(a)");
}

static int other_disconnect(sqlite3_vtab *table)
{
    sqlite3_free(table);
    return SQLITE_OK;
}

static int other_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    info->estimatedCost = 1;
    return SQLITE_OK;
}

static int other_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
    (void)table;
    *out = sqlite3_malloc(sizeof(**out));
    return SQLITE_OK;
}

static int other_close(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int other_filter(sqlite3_vtab_cursor *cursor, int plan, const char *text,
                        int argc, sqlite3_value **argv)
{
    (void)cursor, (void)plan, (void)text, (void)argc, (void)argv;
    return SQLITE_OK;
}

static int other_next(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return SQLITE_OK;
}

static int other_eof(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return 1;
}

static int other_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context,
                        int column)
{
    (void)cursor, (void)context, (void)column;
    return SQLITE_OK;
}

static int other_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
    (void)cursor;
    *rowid = 0;
    return SQLITE_OK;
}

static int other_update(sqlite3_vtab *table, int argc, sqlite3_value **argv,
                        sqlite3_int64 *rowid)
{
    (void)table, (void)argc, (void)argv;
    *rowid = 1;
    return SQLITE_OK;
}

static int other_ok(sqlite3_vtab *table)
{
    (void)table;
    return SQLITE_OK;
}

static int other_sync(sqlite3_vtab *table)
{
    (void)table;
    sync_calls++;
    return sync_answer;
}

static const sqlite3_module other_module = {
    .xCreate = other_connect, .xConnect = other_connect,
    .xBestIndex = other_best_index, .xDisconnect = other_disconnect,
    .xDestroy = other_disconnect, .xOpen = other_open, .xClose = other_close,
    .xFilter = other_filter, .xNext = other_next, .xEof = other_eof,
    .xColumn = other_column, .xRowid = other_rowid, .xUpdate = other_update,
    .xBegin = other_ok, .xSync = other_sync, .xCommit = other_ok,
    .xRollback = other_ok};

/* Its table joins before ours (0) or behind them (1). */
START_TEST(another_module_that_cannot_sync_takes_all_back)
{
    uint64_t position;
    struct kv_info info;

    kv_diag_sink(diag_drop, NULL);
    begin_store(1);
    ck_assert_int_eq(sqlite3_create_module(vt_session_sqlite(session), "other",
                                           &other_module, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(transaction(1), KVSQL_OK);
    kv_info_get(db, &info);
    position = info.position;
    sync_answer = SQLITE_IOERR;
    for (unsigned round = 1; round <= 3; round++) {
        OK("BEGIN");
        if (_i == 0) OK("INSERT INTO other VALUES(1)");
        OK("DELETE FROM lists");
        OK("UPDATE strings SET value = 99");
        OK("INSERT INTO zsets VALUES('z', 'x', 99)");
        if (_i == 1) OK("INSERT INTO other VALUES(1)");
        ck_assert_int_ne(run("COMMIT", NULL), KVSQL_OK);
        ck_assert_uint_eq(sync_calls, round);
        if (vt_in_transaction(session)) OK("ROLLBACK");
        ck_assert_int_eq(said(), 1);
        kv_info_get(db, &info);
        ck_assert_uint_eq(info.position, position); /* nothing in the wal */
    }
    sync_answer = SQLITE_OK;
    OK("BEGIN");
    OK("INSERT INTO other VALUES(1)");
    OK("COMMIT");
    ck_assert_int_eq(transaction(2), KVSQL_OK);
    store_close();
    fakeos_kill(fake);
    check("module", 0);
    end_store();
}
END_TEST

static void add(TCase *tests)
{
    struct kvsql_error unused;

    cli_join_sql();
    if (vt_start(&unused) != KVSQL_OK) abort();
    tcase_set_timeout(tests, 240);
    tcase_add_loop_test(tests, a_call_that_fails_leaves_all_or_nothing, 0,
                        (int)(sizeof(faults) / sizeof(faults[0])));
    tcase_add_loop_test(tests, a_power_cut_leaves_all_or_nothing, 0, 2);
    tcase_add_loop_test(
        tests, a_full_disk_leaves_all_or_nothing_and_reads_go_on, 0, 6);
    tcase_add_test(tests, a_commit_without_memory_leaves_all_or_nothing);
    tcase_add_loop_test(
        tests, another_module_that_cannot_sync_takes_all_back, 0, 2);
}

int main(void)
{
    return unit_run("atomic", add);
}
