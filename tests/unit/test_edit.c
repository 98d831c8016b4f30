/* test_edit.c - strings changed and removed by their keys without SQLite
 * (vtab/edit.c), and what is counted then (vtab/counts.c). */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/store.h"
#include "tests/lib/rand.h"
#include "tests/lib/kept_fx.h"

static const char *const edits[] = {
    "DELETE FROM strings WHERE key = ?",
    "DELETE FROM strings WHERE key = 'a'",
    "DELETE FROM strings WHERE key > ? AND key <= ?",
    "DELETE FROM strings WHERE key >= ?",
    "DELETE FROM strings WHERE key < ?",
    "UPDATE strings SET value = ? WHERE key = ?",
    "UPDATE strings SET value = ?2 WHERE key = ?1",
    "UPDATE strings SET value = ?1 WHERE key = ?1",
    "UPDATE strings SET value = ? WHERE key BETWEEN ? AND ?",
    "UPDATE strings SET value = ? WHERE key < ?",
    "UPDATE strings SET value = ?"};
#define EDITS (sizeof(edits) / sizeof(edits[0]))

/* Whether it needs no SQLite, now that it is kept. */
static bool edits_alone(const char *sql)
{
    return alone(fx.session, sql, 0);
}

/* A transaction that strings has joined. */
static void begin(void)
{
    ok("BEGIN");
    ok("DELETE FROM strings WHERE 0");
}

static void fill_strings(void)
{
    ok("INSERT INTO strings(key, value, expires_at) VALUES('a', 'one', NULL), "
       "('b', 42, 1800000000000), ('', 'empty', NULL), (x'ff', x'00ff', NULL), "
       "('gone', 'x', 1700000005000), ('7', 7, NULL), "
       "(printf('%.*c', 3000, 'l'), printf('%.*c', 5000, 'x'), NULL)");
    ok("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT "
       "900) INSERT INTO strings(key, value) SELECT printf('k:%03d', i), i "
       "FROM n");
}

static void fill(void)
{
    fill_strings();
    ok("INSERT INTO hashes(key, field, value) VALUES('h', 'f', 1)");
    ok("INSERT INTO lists(key, value) VALUES('k:150l', 'x')");
    __atomic_store_n(&fx.wall, 1700000006000, __ATOMIC_RELAXED);
}

#define CONTENTS "SELECT key, value, expires_at FROM strings ORDER BY key"

START_TEST(only_changes_by_keys_of_strings_are_made_without_sqlite)
{
    static const char *const no[] = {
        "DELETE FROM keys WHERE key = ?", "DELETE FROM sets WHERE key = ?",
        "DELETE FROM strings WHERE key = ? OR key = ?",
        "DELETE FROM strings WHERE key GLOB 'x*'",
        "DELETE FROM strings WHERE key = ? AND value = ?",
        "DELETE FROM strings WHERE rank = 100000",
        "DELETE FROM strings WHERE key = ? || 'x'",
        "DELETE FROM strings WHERE key > ? LIMIT 1",
        "DELETE FROM strings WHERE key = ? RETURNING key",
        "UPDATE strings SET expires_at = NULL WHERE key = ?",
        "UPDATE strings SET value = value || ? WHERE key = ?",
        "UPDATE strings SET value = 'x', expires_at = NULL WHERE key = ?",
        "UPDATE strings SET incr = 1 WHERE key = 'none'",
        "UPDATE strings SET append = ? WHERE key = ?",
        "UPDATE strings SET key = 'other' WHERE key = 'none'",
        "UPDATE OR IGNORE strings SET value = ? WHERE key = ?",
        "UPDATE OR REPLACE strings SET value = ? WHERE key = ?",
        "UPDATE hashes SET value = ? WHERE key = 'h'",
        "UPDATE strings SET value = l.value FROM lists l WHERE l.key = "
        "strings.key",
        "UPDATE strings SET value = (SELECT 1) WHERE key = ?",
        "INSERT OR REPLACE INTO strings(key, value) VALUES(?, ?)"};

    fill();
    begin();
    for (size_t i = 0; i < EDITS; i++)
        ck_assert_msg(edits_alone(edits[i]), "%s", edits[i]);
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        const bool returns = strstr(no[i], "RETURNING") != NULL;
        if (!returns) ck_assert_msg(!edits_alone(no[i]), "%s", no[i]);
    }
    ok("ROLLBACK");
    /* by itself, and with a table that has not joined: a range joins, one key is
     * SQLite's, the first time */
    for (size_t i = 0; i < EDITS; i++) {
        const bool range = strstr(edits[i], "key = ") == NULL;
        int before;
        ck_assert_msg(edits_alone(edits[i]), "%s", edits[i]);
        before = rows_runs(fx.session, edits[i]);
        for (int sets = 0; sets < 2; sets++) {
            ok("BEGIN");
            if (sets) ok("DELETE FROM sets WHERE 0");
            for (int again = 0; again < 2; again++)
                ck_assert_int_eq(ask(fx.session, edits[i], 0), KVSQL_OK);
            ck_assert_int_eq(rows_runs(fx.session, edits[i]) - before,
                             range ? 0 : sets + 1);
            ok("ROLLBACK");
        }
    }
}
END_TEST

/* Rows, count and ops are those that SQLite makes, whatever is bound. */
START_TEST(a_change_is_the_one_that_sqlite_makes)
{
    static char rows[ROWS_TEXT_MAX];
    char text[KVSQL_ERROR_SIZE];

    fill();
    for (size_t e = 0; e < EDITS; e++)
        for (size_t v = 0; v < VALUES; v++) {
            int64_t changes = 0;
            uint64_t ops = 0;
            kvsql_rc rc = KVSQL_OK;
            vt_statements_forget(fx.session); /* the first is SQLite's */
            for (int again = 0; again < 3; again++) {
                kvsql_rc now;
                begin();
                now = ask(fx.session, edits[e], v);
                if (again == 0) {
                    rc = now;
                    changes = vt_changes(fx.session);
                    ops = kv_txn_count(fx.session->txn);
                    memcpy(text, fx.err.text, sizeof(text));
                }
                ck_assert_msg(now == rc, "%s, %zu: %s", edits[e], v,
                              fx.err.text);
                if (rc != KVSQL_OK) ck_assert_str_eq(fx.err.text, text);
                ck_assert_msg(vt_changes(fx.session) == changes &&
                                  kv_txn_count(fx.session->txn) == ops,
                              "%s, %zu: %lld rows, not %lld", edits[e], v,
                              (long long)vt_changes(fx.session),
                              (long long)changes);
                ok(CONTENTS);
                if (again == 0) memcpy(rows, fx.text, sizeof(rows));
                ck_assert_msg(strcmp(rows, fx.text) == 0, "%s, %zu", edits[e],
                              v);
                ok("ROLLBACK");
            }
        }
}
END_TEST

/* The rows of the table, where a change is committed at once, or is the first of a
 * transaction. */
static void changed(bool first, const char *sql, size_t from, kvsql_rc *rc,
                    int64_t *changes)
{
    ok("DELETE FROM strings");
    fill_strings();
    if (first) ok("BEGIN");
    *rc = ask(fx.session, sql, from);
    *changes = vt_changes(fx.session);
    if (first) ok("COMMIT");
    ck_assert(!vt_in_transaction(fx.session) && fx.session->txn == NULL);
    ck_assert_int_eq(rows_run(&fx, fx.other, CONTENTS), KVSQL_OK);
}

START_TEST(a_change_that_is_alone_is_the_one_that_sqlite_makes)
{
    static char rows[ROWS_TEXT_MAX];
    const struct vt_limits limits = {.row_max = 2000};

    fill();
    vt_session_limits(fx.other, &limits);
    for (size_t e = 0; e < EDITS; e++)
        for (size_t v = 0; v < VALUES; v += 1 + e % 3) {
            int64_t changes = 0, now_changes;
            kvsql_rc rc = KVSQL_OK, now;
            uint64_t position;
            vt_statements_forget(fx.session); /* the first is SQLite's */
            for (int again = 0; again < 4; again++) {
                changed(again == 3, edits[e], v, &now, &now_changes);
                position = vt_position(fx.session);
                ok("SELECT 1 FROM strings");
                ck_assert_uint_eq(vt_position(fx.session), position);
                ck_assert_int_eq(rows_run(&fx, fx.other, CONTENTS), KVSQL_OK);
                if (again == 0) {
                    rc = now;
                    changes = now_changes;
                    memcpy(rows, fx.text, sizeof(rows));
                }
                ck_assert_msg(now == rc && now_changes == changes &&
                                  strcmp(rows, fx.text) == 0,
                              "%s, %zu: %s", edits[e], v, fx.err.text);
            }
        }
}
END_TEST

/* ---- histories ------------------------------------------------------------------ */

static sqlite3 *native;

static void native_value(sqlite3_stmt *stmt, int i, const struct vt_value *v)
{
    if (v->kind == VT_TEXT)
        sqlite3_bind_text(stmt, i, (const char *)v->p, (int)v->size,
                          SQLITE_STATIC);
    else
        sqlite3_bind_int64(stmt, i, v->integer);
}

/* The same on both sides; their codes, counts and rows are equal. */
static void both(const char *sql, const struct vt_value *bound, int count,
                 bool counts)
{
    struct vt_statement *statement;
    sqlite3_stmt *stmt;
    int code;
    kvsql_rc rc;

    ck_assert_int_eq(sqlite3_prepare_v2(native, sql, -1, &stmt, NULL),
                     SQLITE_OK);
    for (int i = 0; i < count; i++) native_value(stmt, i + 1, &bound[i]);
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) continue;
    (void)sqlite3_finalize(stmt);
    ck_assert_int_eq(vt_prepare(fx.session, sql, strlen(sql), NULL, &statement,
                                &fx.err),
                     KVSQL_OK);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(vt_bind(statement, i + 1, &bound[i], &fx.err),
                         KVSQL_OK);
    rc = rows_drain(&fx, statement);
    vt_finish(statement);
    ck_assert_msg((rc == KVSQL_OK) == (code == SQLITE_DONE), "%s: %s, %s", sql,
                  fx.err.text, sqlite3_errmsg(native));
    if (counts && rc == KVSQL_OK)
        ck_assert_msg(vt_changes(fx.session) == sqlite3_changes64(native),
                      "%s: %lld rows, not %lld", sql,
                      (long long)vt_changes(fx.session),
                      (long long)sqlite3_changes64(native));
}

static void same(void)
{
    sqlite3_stmt *stmt;
    char *p = fx.text;

    ok("SELECT key, value FROM strings ORDER BY key");
    ck_assert_int_eq(sqlite3_prepare_v2(native,
                                        "SELECT key || '|' || value FROM "
                                        "strings ORDER BY key",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *row = (const char *)sqlite3_column_text(stmt, 0);
        const size_t size = strlen(row);
        ck_assert_msg(strncmp(p, row, size) == 0, "%.40s, not %s", p, row);
        p += size + (p[size] == '\n');
    }
    ck_assert_str_eq(p, "");
    (void)sqlite3_finalize(stmt);
}

#define STEPS 6000

START_TEST(histories_with_savepoints_are_those_of_a_native_table)
{
    static const char *const names[] = {"SAVEPOINT a", "SAVEPOINT b",
                                        "RELEASE a", "RELEASE b",
                                        "ROLLBACK TO a", "ROLLBACK TO b"};
    struct rand_state rand;
    char key[2][16];
    bool inside = false;
    int open_a = 0, open_b = 0, own = 0, own_alone = 0;

    rand = rand_of(rand_seed("edit", 5));
    ck_assert_int_eq(sqlite3_open(":memory:", &native), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(native,
                                  "CREATE TABLE strings(key TEXT PRIMARY KEY "
                                  "NOT NULL, value TEXT NOT NULL, expires_at "
                                  "INTEGER) WITHOUT ROWID",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    for (int step = 0; step < STEPS; step++) {
        struct vt_value bound[3];
        const unsigned what = (unsigned)rand_below(&rand, inside ? 16 : 12);
        for (int i = 0; i < 2; i++)
            (void)snprintf(key[i], sizeof(key[i]), "k%02u",
                           (unsigned)rand_below(&rand, 60));
        for (int i = 0; i < 3; i++)
            bound[i] = (struct vt_value){.kind = VT_TEXT,
                                         .p = (const uint8_t *)key[i % 2],
                                         .size = 3};
        if (!inside && rand_below(&rand, 3) > 0) {
            both("BEGIN", NULL, 0, false);
            inside = true;
        } else if (what < 5) {
            both("INSERT OR REPLACE INTO strings(key, value) VALUES(?, ?)",
                 bound, 2, true);
        } else if (what < 8) {
            both("DELETE FROM strings WHERE key = ?", bound, 1, true);
        } else if (what == 8) {
            both("DELETE FROM strings WHERE key > ? AND key < ?", bound, 2,
                 true);
        } else if (what == 9) {
            both("UPDATE strings SET value = ? WHERE key = ?", bound, 2, true);
        } else if (what == 10) {
            bound[0] = (struct vt_value){.kind = VT_INTEGER, .integer = step};
            both("UPDATE strings SET value = ? WHERE key >= ? AND key <= ?",
                 bound, 3, true);
        } else if (what == 11) {
            both("UPDATE strings SET value = value || '+' WHERE key = ?",
                 bound, 1, true);
        } else if (what < 15) {
            const unsigned name = (unsigned)rand_below(&rand, 6);
            const bool b = name & 1;
            if (name < 2) {
                both(names[name], NULL, 0, false);
                open_a += !b;
                open_b += b;
            } else if (b ? open_b > 0 && open_a == 0 : open_a > 0 && open_b == 0) {
                both(names[name], NULL, 0, false);
                if (name < 4) *(b ? &open_b : &open_a) -= 1;
            }
        } else {
            both(rand_below(&rand, 2) ? "COMMIT" : "ROLLBACK", NULL, 0, false);
            inside = false;
            open_a = open_b = 0;
            same();
        }
        if (step % 50 == 0) same();
        own += fx.session->changes_own;
        own_alone += fx.session->changes_own && !inside;
    }
    ck_assert_int_gt(own, STEPS / 10);
    ck_assert_int_gt(own_alone, STEPS / 100);
    if (inside) both("COMMIT", NULL, 0, false);
    same();
    ck_assert_int_eq(sqlite3_close(native), SQLITE_OK);
}
END_TEST

/* ---- counts -------------------------------------------------------------------- */

#define BY_KEY "DELETE FROM strings WHERE key = ?"
#define BY_RANGE "UPDATE strings SET value = ?1 WHERE key >= ?1"

/* Two changes that SQLite has not made: of 1 row, and then of `rows`. */
static void two_changes(const char *rows)
{
    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2), ('c', 3)");
    begin();
    for (int i = 0; i < 2; i++) {
        ok("SAVEPOINT s");
        ck_assert_int_eq(ask(fx.session, BY_KEY, 0), KVSQL_OK);
        ck_assert_int_eq(ask(fx.session, BY_RANGE, 1), KVSQL_OK);
        ck_assert_int_eq(vt_changes(fx.session), atoi(rows));
        if (i == 0) ok("ROLLBACK TO s");
    }
    ck_assert(fx.session->changes_own);
}

START_TEST(who_asks_for_the_counts_gets_them)
{
    two_changes("2");
    GIVES("SELECT 1", "1");
    ck_assert_int_eq(vt_changes(fx.session), 2);
    GIVES("SELECT total_changes(), changes()", "9|2"); /* 3, 1 and 2, 1 and 2 */
    ck_assert(!fx.session->changes_own);
    ck_assert(!edits_alone(BY_KEY) && !edits_alone(BY_RANGE)); /* from here on */
    ck_assert_int_eq(ask(fx.session, BY_RANGE, 1), KVSQL_OK);
    GIVES("SELECT changes()", "2");
    GIVES("SELECT total_changes()", "17");
    ok("ROLLBACK");
}
END_TEST

START_TEST(who_asks_while_rows_are_read_gets_the_counts_behind_them)
{
    static const char rows[] = "SELECT key FROM strings",
                      counts[] = "SELECT total_changes(), changes()";
    struct vt_statement *read, *ask_counts;
    bool row;

    two_changes("2");
    ck_assert_int_eq(vt_prepare(fx.session, rows, sizeof(rows) - 1, NULL, &read,
                                &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_step(read, &row, &fx.err), KVSQL_OK);
    ck_assert(row);
    ck_assert_int_eq(vt_prepare(fx.session, counts, sizeof(counts) - 1, NULL,
                                &ask_counts, &fx.err),
                     KVSQL_OK);
    ck_assert(fx.session->changes_own);
    vt_finish(read);
    ck_assert_int_eq(rows_drain(&fx, ask_counts), KVSQL_OK);
    vt_finish(ask_counts);
    ck_assert_str_eq(fx.text, "9|2");
    ok("ROLLBACK");
}
END_TEST

START_TEST(a_trigger_gets_the_counts)
{
    two_changes("2");
    ok("CREATE TEMP TABLE log(n)");
    ck_assert(fx.session->changes_own);
    ok("CREATE TEMP TABLE rows(n)");
    ok("CREATE TEMP TRIGGER t AFTER INSERT ON rows BEGIN INSERT INTO log "
       "VALUES(changes()); DELETE FROM log WHERE n = 'none'; INSERT INTO log "
       "VALUES(changes()); END");
    ok("INSERT INTO rows VALUES(changes())");
    GIVES("SELECT n FROM rows", "2");
    GIVES("SELECT n FROM log", "2\n0");
    ok("ROLLBACK");
}
END_TEST

START_TEST(what_changes_nothing_counts_nothing)
{
    two_changes("2");
    ck_assert_int_eq(ask(fx.session, BY_KEY, 0), KVSQL_OK);
    ck_assert_int_eq(vt_changes(fx.session), 0);
    ok("CREATE TEMP TABLE log(n)");
    ck_assert_int_eq(vt_changes(fx.session), 0);
    ok("INSERT INTO log VALUES(1), (2)");
    ck_assert_int_eq(vt_changes(fx.session), 2);
    ok("SELECT * FROM log");
    ck_assert_int_eq(vt_changes(fx.session), 2);
    ck_assert_int_eq(ask(fx.session, BY_KEY, 0), KVSQL_OK);
    GIVES("SELECT changes()", "0");
    ok("ROLLBACK");
}
END_TEST

START_TEST(rows_of_a_pragma_are_counted_where_they_go)
{
    static const char sql[] =
        "INSERT INTO sets SELECT 's', name FROM pragma_table_info('sets')";

    for (int i = 0; i < 2; i++) {
        two_changes("2");
        ok("PRAGMA table_info(sets)");
        ok("PRAGMA user_version = 1");
        ck_assert_int_eq(vt_changes(fx.session), 2);
        ok("INSERT OR IGNORE INTO strings(key, value) VALUES('z', 1)");
        ck_assert_int_eq(vt_changes(fx.session), 1);
        ok(sql); /* the second time it is kept */
        ck_assert_int_eq(vt_changes(fx.session), 2);
        ok("CREATE TEMP TABLE aside AS SELECT key FROM strings");
        ok("DROP TABLE aside");
        ck_assert_int_eq(vt_changes(fx.session), 2);
        ok("ROLLBACK");
        ok("DELETE FROM strings");
    }
}
END_TEST

/* ---- what stands in the way ------------------------------------------------------- */

START_TEST(a_name_that_means_another_table_is_noticed)
{
    fill();
    begin();
    ck_assert(edits_alone(edits[1]));
    ok("ROLLBACK");
    ok("CREATE TEMP TABLE strings(key, value, expires_at)");
    ok("INSERT INTO temp.strings VALUES('a', 1, 2)");
    begin();
    ok("DELETE FROM main.strings WHERE 0");
    ck_assert(!edits_alone(edits[1]));
    GIVES("SELECT count(*) FROM temp.strings", "0");
    GIVES("SELECT count(*) FROM main.strings WHERE key = 'a'", "1");
    ok("ROLLBACK");
    ok("DROP TABLE temp.strings");
    /* in a transaction that changes the schema nothing is judged */
    ok("BEGIN");
    ok("CREATE TEMP TABLE strings(key, value, expires_at)");
    ok("DELETE FROM main.strings WHERE 0");
    ck_assert(!edits_alone(edits[1]));
    ok("ROLLBACK");
    begin();
    ck_assert(edits_alone(edits[1]));
    GIVES("SELECT count(*) FROM strings WHERE key = 'a'", "0");
    ok("COMMIT");
}
END_TEST

/* Prepared and bound before the transaction, and run in it, and the other way
 * around. */
START_TEST(what_was_bound_is_what_is_changed)
{
    const struct vt_value a = TEXT_OF("a"), b = TEXT_OF("b"),
                          value = {.kind = VT_INTEGER, .integer = 7};
    struct vt_statement *statement;

    fill();
    begin();
    ck_assert(edits_alone(edits[5]));
    ok("ROLLBACK");
    for (int early = 0; early < 2; early++) {
        if (!early) begin();
        ck_assert_int_eq(vt_prepare(fx.session, edits[5], strlen(edits[5]),
                                    NULL, &statement, &fx.err),
                         KVSQL_OK);
        ck_assert_int_eq(vt_bind(statement, 2, &b, &fx.err), KVSQL_OK);
        ck_assert_int_eq(vt_bind(statement, 1, &value, &fx.err), KVSQL_OK);
        ck_assert_int_eq(vt_bind(statement, 2, &a, &fx.err), KVSQL_OK);
        if (early) begin();
        else ok("COMMIT");
        ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
        vt_finish(statement);
        ck_assert_int_eq(vt_changes(fx.session), 1);
        GIVES("SELECT value FROM strings WHERE key IN ('a', 'b')", "7\n42");
        if (early) ok("ROLLBACK");
        ok("UPDATE strings SET value = 'one' WHERE key = 'a'");
    }
    /* nothing is left of it */
    begin();
    ck_assert_int_eq(vt_prepare(fx.session, edits[5], strlen(edits[5]), NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
    vt_finish(statement);
    ck_assert_int_eq(vt_changes(fx.session), 0);
    ok("ROLLBACK");
}
END_TEST

/* The first rows are changed when it is cancelled: that is taken back, and SQLite
 * says what it says of a change that is interrupted. */
START_TEST(a_change_that_is_stopped_has_changed_nothing)
{
    static const char sql[] = "UPDATE strings SET value = 'x' WHERE key >= 'k'";
    static char before[ROWS_TEXT_MAX];
    kvsql_rc rc;

    fill();
    ok(CONTENTS);
    memcpy(before, fx.text, sizeof(before));
    for (int kept = 0; kept < 5; kept++) {
        if (kept < 3) {
            ck_assert_int_eq(vt_begin(fx.other, &fx.err), KVSQL_OK);
            ck_assert_int_eq(ask(fx.other, "DELETE FROM strings WHERE 0", 0),
                             KVSQL_OK);
        } else if (kept == 3) {
            ck_assert_int_eq(vt_begin(fx.other, &fx.err), KVSQL_OK);
        }
        if (kept > 0) vt_interrupt(fx.other);
        rc = ask(fx.other, sql, 0);
        ck_assert_int_eq(rc, kept > 0 ? KVSQL_INTERRUPT : KVSQL_OK);
        if (kept > 0) ck_assert_str_eq(fx.err.text, "the statement was cancelled");
        ck_assert_int_eq(vt_in_transaction(fx.other), kept == 0);
        vt_rollback(fx.other);
        vt_session_limits(fx.other, &(struct vt_limits){0});
        ok(CONTENTS);
        ck_assert_str_eq(fx.text, before);
    }
}
END_TEST

/* Memory that runs out at the n-th allocation: all of it, or nothing. */
START_TEST(without_memory_a_change_is_whole_or_not_made)
{
    static char before[ROWS_TEXT_MAX], after[ROWS_TEXT_MAX];

    fill();
    for (size_t e = 0; e < EDITS; e++) {
        kvsql_rc rc = KVSQL_NOMEM;
        uint64_t ops;
        begin();
        ok(CONTENTS);
        memcpy(before, fx.text, sizeof(before));
        ck_assert_int_eq(ask(fx.session, edits[e], 0), KVSQL_OK);
        ops = kv_txn_count(fx.session->txn);
        ok(CONTENTS);
        memcpy(after, fx.text, sizeof(after));
        ok("ROLLBACK");
        for (uint64_t n = 1; rc != KVSQL_OK || n < 12; n++) {
            ck_assert_uint_lt(n, 2000);
            begin();
            ok("SAVEPOINT s");
            kv_mem_fail_at(n, 0);
            rc = ask(fx.session, edits[e], 0);
            kv_mem_fail_at(0, 0);
            ck_assert(rc == KVSQL_OK || rc == KVSQL_NOMEM);
            if (rc == KVSQL_OK) /* once, also when SQLite has done it */
                ck_assert_uint_eq(kv_txn_count(fx.session->txn), ops);
            ck_assert_int_eq(fx.session->depth,
                             vt_in_transaction(fx.session));
            ok(CONTENTS);
            ck_assert_str_eq(fx.text, rc == KVSQL_OK ? after : before);
            if (vt_in_transaction(fx.session)) ok("ROLLBACK");
        }
    }
}
END_TEST

/* The same of one that is committed at once, and of the first of a transaction. */
START_TEST(without_memory_a_change_that_is_alone_is_whole_or_not_made)
{
    static char before[ROWS_TEXT_MAX], after[ROWS_TEXT_MAX];

    fill();
    ok(CONTENTS);
    memcpy(before, fx.text, sizeof(before));
    for (size_t e = 0; e < EDITS; e++) {
        bool first = e % 2 == 1;
        kvsql_rc rc = KVSQL_NOMEM;
        ok("DELETE FROM strings");
        fill_strings();
        ok("BEGIN");
        ck_assert_int_eq(ask(fx.session, edits[e], 0), KVSQL_OK);
        ok(CONTENTS);
        memcpy(after, fx.text, sizeof(after));
        ok("ROLLBACK");
        for (uint64_t n = 1; rc != KVSQL_OK || n < 12; n++) {
            ck_assert_uint_lt(n, 2000);
            ok("DELETE FROM strings");
            fill_strings();
            if (first) ok("BEGIN");
            kv_mem_fail_at(n, 0);
            rc = ask(fx.session, edits[e], 0);
            kv_mem_fail_at(0, 0);
            ck_assert(rc == KVSQL_OK || rc == KVSQL_NOMEM);
            if (vt_in_transaction(fx.session)) ok("COMMIT");
            ck_assert(fx.session->txn == NULL && fx.session->pin == NULL);
            ok(CONTENTS);
            ck_assert_msg(strcmp(fx.text,
                                 rc == KVSQL_OK ? after : before) == 0,
                          "%s, allocation %llu: %d", edits[e],
                          (unsigned long long)n, (int)rc);
        }
    }
}
END_TEST

/* Memory that runs out while it is found out what a statement is, or while SQLite
 * counts: the transaction is rolled back, and that is said. */
START_TEST(without_memory_nobody_goes_on_outside_of_the_transaction)
{
    fill();
    for (int counts = 0; counts < 2; counts++) {
        const char *sql = counts ? "SELECT changes()" : edits[5];
        bool failed = true;
        for (uint64_t n = 1; failed; n++) {
            kvsql_rc rc;
            begin();
            ck_assert_int_eq(ask(fx.session, sql, 0), KVSQL_OK);
            fx.session->counts_asked = false;
            for (int i = 0; i < 2; i++)
                ck_assert_int_eq(ask(fx.session, edits[8], 0), KVSQL_OK);
            ck_assert(fx.session->changes_own);
            fx.session->counts_asked = counts != 0;
            kv_mem_fail_at(n, 0);
            rc = ask(fx.session, sql, 0);
            failed = kv_mem_failed() != 0;
            kv_mem_fail_at(0, 0);
            ck_assert(rc == KVSQL_OK || (failed && rc == KVSQL_NOMEM));
            if (counts && rc == KVSQL_OK)
                ck_assert_int_eq(atoll(fx.text), fx.session->changes);
            ck_assert(rc != KVSQL_OK || vt_in_transaction(fx.session));
            if (vt_in_transaction(fx.session)) ok("ROLLBACK");
            ck_assert(fx.session->pin == NULL && fx.session->txn == NULL);
            GIVES("SELECT value FROM strings WHERE key = 'k:100'", "100");
            fx.session->counts_asked = false;
            fx.session->schema++; /* to be found out again */
        }
    }
}
END_TEST

/* ---- in the way of one that is alone ------------------------------------------ */

static _Atomic int holder_state; /* 1: holds the store; 2: shall let go */

static void *hold(void *arg)
{
    struct rows *rows = arg;
    struct kvsql_error err;
    struct kv_txn *txn;

    if (vt_begin(rows->session, &err) == KVSQL_OK &&
        vt_write(rows->session, &txn, &err) == KVSQL_OK)
        atomic_store(&holder_state, 1);
    while (atomic_load(&holder_state) != 2) kv_os_sleep_ms(1);
    vt_rollback(rows->session);
    return NULL;
}

/* It waits for the store no longer than it would in SQLite, and says the same. */
START_TEST(a_change_that_is_alone_waits_for_the_store)
{
    static const char wanted[] = "another transaction holds the store for longer "
                                 "than 2";
    const struct vt_limits limits = {.trusted = true, .deadline_ms = 200};
    pthread_t thread;
    kvsql_rc rc;

    fill();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ask(fx.other, edits[8], 0), KVSQL_OK);
    vt_session_limits(fx.other, &limits);
    for (int i = 0; i < 2; i++)
        ck_assert(alone(fx.other, edits[8], 0));
    ck_assert_int_eq(pthread_create(&thread, NULL, hold, &fx), 0);
    while (atomic_load(&holder_state) != 1) kv_os_sleep_ms(1);
    for (int first = 0; first < 2; first++) {
        const int before = rows_runs(fx.other, edits[8]);
        if (first) ck_assert_int_eq(vt_begin(fx.other, &fx.err), KVSQL_OK);
        rc = ask(fx.other, edits[8], 0);
        ck_assert_msg((rc == KVSQL_BUSY &&
                       strncmp(fx.err.text, wanted, sizeof(wanted) - 1) == 0) ||
                          rc == KVSQL_INTERRUPT, /* it looked late */
                      "%s", fx.err.text);
        ck_assert_int_eq(rows_runs(fx.other, edits[8]), before);
        ck_assert_int_eq(vt_changes(fx.other), 0);
        ck_assert_int_eq(vt_in_transaction(fx.other), first);
        vt_rollback(fx.other);
    }
    atomic_store(&holder_state, 2);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(ask(fx.other, edits[8], 0), KVSQL_OK);
}
END_TEST

START_TEST(the_first_change_sees_that_the_store_moved_on)
{
    fill();
    ck_assert(edits_alone(edits[8]));
    ok("BEGIN");
    GIVES("SELECT count(*) FROM sets", "0");
    ck_assert_int_eq(rows_run(&fx, fx.other, "INSERT INTO sets VALUES('s', 1)"),
                     KVSQL_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ask(fx.session, edits[8], 0), KVSQL_SNAPSHOT);
        ck_assert_str_eq(fx.err.text,
                         "the store moved on since this transaction read: begin "
                         "the transaction with a write");
        ck_assert(vt_in_transaction(fx.session) && fx.session->txn == NULL);
        GIVES("SELECT count(*) FROM sets", "0");
    }
    ok("ROLLBACK");
}
END_TEST

/* The text that joins may mean another table: then the change is SQLite's. */
START_TEST(a_second_name_for_strings_is_changed_by_it)
{
    static const char sql[] = "UPDATE aside SET value = ? WHERE key >= 'b'";

    fill();
    ok("CREATE VIRTUAL TABLE temp.aside USING strings");
    ck_assert(edits_alone(sql));
    ok("CREATE TABLE main.strings(key, value)");
    ck_assert(edits_alone(sql));
    for (int table = 1; table >= 0; table--) {
        ok("BEGIN");
        ck_assert_int_eq(ask(fx.session, sql, 1), KVSQL_OK);
        ck_assert_int_gt(vt_changes(fx.session), 0);
        ck_assert(edits_alone(sql));
        ok("ROLLBACK");
        if (table) ok("DROP TABLE strings");
    }
}
END_TEST

START_TEST(a_session_that_only_reads_changes_nothing)
{
    const struct vt_limits all = {.admin = true};
    struct vt_limits limits = {.trusted = true, .read_only = true};

    fill();
    vt_session_limits(fx.other, &all);
    ck_assert(edits_alone(edits[0]));
    begin();
    ck_assert(edits_alone(edits[0]));
    ok("PRAGMA query_only = 1");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ask(fx.session, edits[0], 0), KVSQL_READONLY);
        ck_assert_str_eq(fx.err.text, "attempt to write a readonly database");
        if (i == 0) ok("ROLLBACK");
    }
    ok("PRAGMA query_only = 0");
    for (int remote = 0; remote < 2; remote++) {
        limits.trusted = remote == 0;
        limits.read_only = true;
        vt_session_limits(fx.session, &limits);
        for (int i = 0; i < 3; i++) {
            ck_assert_int_eq(ask(fx.session, edits[0], 0), KVSQL_READONLY);
            ck_assert_str_eq(fx.err.text,
                             "attempt to write a readonly database");
        }
        /* it learns meanwhile, and may write to its own schema for that */
        ck_assert_int_eq(rows_run(&fx, fx.other,
                                  remote ? "DROP TABLE u"
                                         : "CREATE VIRTUAL TABLE u USING "
                                           "kv_hash('u:{id}', id, a)"),
                         KVSQL_OK);
        ok("SELECT 1");
        limits.read_only = false;
        vt_session_limits(fx.session, &limits);
        ck_assert(edits_alone(edits[0]));
    }
}
END_TEST

static void oom(const char *sql, size_t from)
{
    char rows[64];
    uint64_t ops;

    for (int again = 0; again < 3; again++) {
        begin();
        ok("UPDATE strings SET value = 'y' WHERE key = 'a'");
        ops = kv_txn_count(fx.session->txn);
        ck_assert_int_eq(ask(fx.session, sql, from), KVSQL_OOM);
        ok("SELECT count(*), sum(length(value)) FROM strings");
        if (again == 0) (void)snprintf(rows, sizeof(rows), "%.60s", fx.text);
        ck_assert_str_eq(fx.text, rows);
        ck_assert_uint_eq(kv_txn_count(fx.session->txn), ops);
        ok("ROLLBACK");
    }
}

/* Room for some of the rows: those are taken back before SQLite tries. */
START_TEST(a_change_without_room_is_taken_back)
{
    struct kv_info info;

    ok("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT "
       "4000) INSERT INTO strings(key, value) SELECT printf('k:%05d', i), 1 "
       "FROM n");
    ok("INSERT INTO strings(key, value) VALUES('a', 1)");
    kv_info_get(fx.db, &info);
    kv_set_maxmemory(fx.db, info.memory_data + kv_mem_bytes(KV_MEM_CLIENT) +
                                100000);
    oom("UPDATE strings SET value = 'a value that is longer than the one there, "
        "and by so much that not all of them have room' WHERE key >= ?",
        1);
    kv_set_maxmemory(fx.db, 0);
}
END_TEST

/* The undo log of one statement goes on with a view of its begin, and back. */
START_TEST(a_long_change_is_taken_back)
{
    static const char sql[] = "UPDATE strings SET value = ? WHERE key >= 'k'";

    ok("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT "
       "60000) INSERT INTO strings(key, value) SELECT printf('k:%05d', i), "
       "printf('%040d', i) FROM n");
    begin();
    ok("SAVEPOINT s");
    ck_assert_int_eq(ask(fx.session, sql, 3), KVSQL_OK);
    ck_assert(edits_alone(sql));
    ck_assert_int_eq(vt_changes(fx.session), 60000);
    GIVES("SELECT count(*), min(value), max(value) FROM strings",
          "60000|a|a");
    ok("ROLLBACK TO s");
    GIVES("SELECT count(*), count(DISTINCT value) FROM strings", "60000|60000");
    ck_assert_int_eq(ask(fx.session, "DELETE FROM strings WHERE key < ?", 7),
                     KVSQL_OK);
    ok("ROLLBACK");
    GIVES("SELECT count(*), count(DISTINCT value) FROM strings", "60000|60000");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests,
                   only_changes_by_keys_of_strings_are_made_without_sqlite);
    tcase_add_test(tests, a_change_is_the_one_that_sqlite_makes);
    tcase_add_test(tests,
                   histories_with_savepoints_are_those_of_a_native_table);
    tcase_add_test(tests,
                   a_change_that_is_alone_is_the_one_that_sqlite_makes);
    tcase_add_test(tests,
                   without_memory_a_change_that_is_alone_is_whole_or_not_made);
    tcase_add_test(tests, a_change_that_is_alone_waits_for_the_store);
    tcase_add_test(tests, the_first_change_sees_that_the_store_moved_on);
    tcase_add_test(tests, a_second_name_for_strings_is_changed_by_it);
    tcase_add_test(tests, a_session_that_only_reads_changes_nothing);
    tcase_add_test(tests, who_asks_for_the_counts_gets_them);
    tcase_add_test(tests,
                   who_asks_while_rows_are_read_gets_the_counts_behind_them);
    tcase_add_test(tests, a_trigger_gets_the_counts);
    tcase_add_test(tests, what_changes_nothing_counts_nothing);
    tcase_add_test(tests, rows_of_a_pragma_are_counted_where_they_go);
    tcase_add_test(tests, a_name_that_means_another_table_is_noticed);
    tcase_add_test(tests, what_was_bound_is_what_is_changed);
    tcase_add_test(tests, a_change_that_is_stopped_has_changed_nothing);
    tcase_add_test(tests, without_memory_a_change_is_whole_or_not_made);
    tcase_add_test(tests,
                   without_memory_nobody_goes_on_outside_of_the_transaction);
    tcase_add_test(tests, a_change_without_room_is_taken_back);
    tcase_add_test(tests, a_long_change_is_taken_back);
}

int main(void)
{
    return unit_run("edit", add);
}
