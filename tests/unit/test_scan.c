/* test_scan.c - statements that are rows of one table, or their number, and run
 * without SQLite (vtab/program.c, vtab/scan.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/store.h"
#include "tests/lib/kept_fx.h"

#define ALL "SELECT key, value, expires_at FROM strings ORDER BY key"
#define COUNT "SELECT count(*) FROM strings"

/* Whether it needs no SQLite, now that it is kept. */
static bool scans_alone(struct vt_session *session, const char *sql)
{
    return alone(session, sql, NUMBERS);
}

static void gives(const char *sql, const char *rows)
{
    ck_assert_msg(ask(fx.session, sql, 0) == KVSQL_OK, "%s: %s", sql,
                  fx.err.text);
    ck_assert_msg(strcmp(fx.text, rows) == 0, "%s: %s", sql, fx.text);
}

static void fill(void)
{
    ok("INSERT INTO strings(key, value, expires_at) VALUES('a', 'one', NULL), "
       "('b', 42, 1800000000000), ('7', '007', NULL), ('', 'empty', NULL), "
       "(x'ff', x'00ff', NULL), ('gone', 'x', 1700000005000), "
       "('ab', printf('%.*c', 5000, 'x'), NULL), ('big', 123456789012, NULL)");
    ok("INSERT INTO hashes(key, field, value) VALUES('h', 'f', 1), "
       "('h', 'g', 'w'), ('h', x'ff', x'fe')");
    ok("INSERT INTO lists(key, value) VALUES('l', 'x'), ('l', 'y'), ('l', 3)");
    ok("INSERT INTO sets VALUES('s', 'm'), ('s', 'n'), ('a:s', 7)");
    ok("INSERT INTO zsets VALUES('z', 'm', 1.5), ('z', 'n', 2), ('z', 'o', -3)");
    ok("CREATE VIRTUAL TABLE users USING kv_hash('u:{id}', id, name TEXT, "
       "age INTEGER, city TEXT, INDEX(age), INDEX(city, age))");
    ok("WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n LIMIT "
       "90) INSERT INTO users SELECT i, 'n' || i, i, 'c' || (i % 20) FROM n");
    ok("INSERT INTO users VALUES('1', 'ann', 7, 'a'), ('2', 'bob', 2, 'a'), "
       "('3', 'cid', NULL, 'b'), ('4', NULL, 'old', 'a'), (5, 'eve', 2.5, 7)");
    __atomic_store_n(&fx.wall, 1700000006000, __ATOMIC_RELAXED);
}

static const char *const plain[] = {
    ALL, COUNT,
    "SELECT key, key FROM strings",
    "SELECT * FROM strings ORDER BY key DESC LIMIT 3",
    "SELECT key, value FROM strings WHERE key >= ? AND key < ?",
    "SELECT value, key FROM strings WHERE key > ? ORDER BY key LIMIT ?",
    "SELECT key FROM strings WHERE key <= 'b' ORDER BY key DESC",
    "SELECT key FROM strings WHERE key GLOB ?",
    "SELECT key, rank FROM strings WHERE key GLOB 'a*'",
    "SELECT count(*) FROM strings WHERE key >= ?",
    "SELECT count(*) FROM keys",
    "SELECT value, expires_at, key, rank FROM strings WHERE key = ?",
    "SELECT rank, key FROM strings WHERE key = ?",
    "SELECT value FROM strings WHERE key = ? LIMIT 1",
    "SELECT value FROM strings WHERE key = 'a'",
    "SELECT key FROM strings WHERE rank BETWEEN 1 AND 3",
    "SELECT key, type, length, expires_at, ttl FROM keys ORDER BY key",
    "SELECT key FROM keys WHERE expires_at > ? ORDER BY expires_at",
    "SELECT field, value, _id FROM hashes WHERE key = 'h' ORDER BY field",
    "SELECT value FROM hashes WHERE key = 'h' AND field = ?",
    "SELECT idx, value FROM lists WHERE key = 'l' AND idx >= ? ORDER BY idx",
    "SELECT key, member FROM sets ORDER BY key, member",
    "SELECT member, score FROM zsets WHERE key = 'z' ORDER BY score DESC "
    "LIMIT ?",
    "SELECT id, name, age, city FROM users WHERE id = ?",
    "SELECT id, name, age, city, expires_at, key FROM users ORDER BY id",
    "SELECT id, age FROM users WHERE city = ? ORDER BY age DESC LIMIT 2",
    "SELECT id, name FROM users WHERE age >= ? ORDER BY age",
    "SELECT id, name FROM users WHERE age = 7"};
#define PLAIN (sizeof(plain) / sizeof(plain[0]))

START_TEST(only_rows_of_one_table_are_run_without_sqlite)
{
    static const char *const no[] = {
        "SELECT key || '' FROM strings", "SELECT key, 1 FROM strings",
        "SELECT DISTINCT value FROM strings", "SELECT count(key) FROM strings",
        "SELECT count(*), 1 FROM strings", "SELECT 2 * count(*) FROM strings",
        "SELECT count(*) FROM strings LIMIT 1",
        "SELECT sum(value) FROM strings",
        "SELECT key FROM strings ORDER BY value",
        "SELECT key FROM strings WHERE value = ?",
        "SELECT key FROM strings WHERE key LIKE 'a%'",
        "SELECT key FROM strings WHERE key = ? COLLATE NOCASE",
        "SELECT key FROM strings WHERE key = 'a' OR value = 'b'",
        "SELECT key FROM strings WHERE key IN ('a', 'b')",
        "SELECT key FROM strings LIMIT 3 OFFSET 1",
        "SELECT s.key FROM strings s, keys k WHERE s.key = k.key",
        "SELECT key FROM strings UNION ALL SELECT key FROM sets",
        "SELECT key FROM (SELECT key FROM strings LIMIT 3) WHERE key > 'a'",
        "SELECT key FROM strings WHERE key > (SELECT min(key) FROM sets)",
        "SELECT count(*) FILTER (WHERE value = 'x') FROM strings",
        "SELECT key FROM strings WHERE ? AND key > 'a'",
        "SELECT name FROM kv_columns", "SELECT 1", "VALUES(1)",
        "UPDATE strings SET value = value WHERE key = ?",
        "DELETE FROM sets WHERE key = 'none'"};

    fill();
    for (size_t i = 0; i < PLAIN; i++)
        ck_assert_msg(scans_alone(fx.session, plain[i]), "%s", plain[i]);
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        ck_assert_msg(!scans_alone(fx.session, no[i]), "%s", no[i]);
}
END_TEST

/* What SQLite says the first time, and in a session whose tables take no plan. */
START_TEST(rows_are_those_that_sqlite_gives_whatever_is_asked)
{
    static char first[ROWS_TEXT_MAX];
    struct vt_limits much = {.row_max = 1000};

    fill();
    vt_session_limits(fx.other, &much);
    for (size_t i = 0; i < PLAIN; i++)
        for (size_t v = 0; v < VALUES; v++) {
            kvsql_rc rc;
            vt_session_plan_off(fx.other, true);
            ck_assert_int_eq(ask(fx.other, "SELECT 1", 0), KVSQL_OK);
            rc = ask(fx.other, plain[i], v);
            memcpy(first, fx.text, sizeof(first));
            for (int again = 0; again < 3; again++) {
                ck_assert_msg(ask(fx.session, plain[i], v) == rc,
                              "%s, %zu: %s", plain[i], v, fx.err.text);
                ck_assert_msg(strcmp(fx.text, first) == 0 ||
                                  strstr(plain[i], "ORDER") == NULL,
                              "%s, %zu: %s, not %s", plain[i], v, fx.text,
                              first);
            }
            vt_session_plan_off(fx.other, false);
            for (int again = 0; again < 3; again++) {
                ck_assert_int_eq(ask(fx.other, plain[i], v), rc);
                if (again == 0) memcpy(first, fx.text, sizeof(first));
                ck_assert_msg(strcmp(fx.text, first) == 0, "%s, %zu: %s, not %s",
                              plain[i], v, fx.text, first);
            }
        }
}
END_TEST

START_TEST(rows_are_those_that_their_statement_may_see)
{
    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2)");
    ck_assert(scans_alone(fx.session, ALL) && scans_alone(fx.session, COUNT));
    ck_assert_int_eq(rows_run(&fx, fx.other, "DELETE FROM strings "
                                             "WHERE key = 'a'"),
                     KVSQL_OK);
    gives(ALL, "b|2|NULL");
    ok("BEGIN");
    gives(COUNT, "1");
    ck_assert_int_eq(rows_run(&fx, fx.other, "INSERT INTO strings(key, value) "
                                             "VALUES('c', 3)"),
                     KVSQL_OK);
    gives(ALL, "b|2|NULL"); /* as it was read first */
    ck_assert(scans_alone(fx.session, ALL));
    ok("ROLLBACK");
    gives(ALL, "b|2|NULL\nc|3|NULL");
    ok("BEGIN");
    ok("DELETE FROM strings WHERE key = 'b'");
    gives(ALL, "c|3|NULL"); /* its own, of SQLite */
    ck_assert(!scans_alone(fx.session, COUNT));
    ok("ROLLBACK");
    gives(COUNT, "2");
    ck_assert(scans_alone(fx.session, COUNT));
}
END_TEST

/* Between two rows others write; the view stays. */
START_TEST(a_view_stays_while_its_rows_are_read)
{
    struct vt_statement *statement;
    struct vt_value value;
    bool row;

    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2), ('c', 3)");
    ck_assert(scans_alone(fx.session, ALL));
    ck_assert_int_eq(vt_prepare(fx.session, ALL, sizeof(ALL) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
        ck_assert(row);
        vt_column(statement, 0, &value);
        ck_assert_int_eq(value.p[0], 'a' + i);
        vt_column(statement, 7, &value);
        ck_assert_int_eq(value.kind, VT_NULL);
        ck_assert_int_eq(rows_run(&fx, fx.other, "DELETE FROM strings"),
                         KVSQL_OK);
        FAILS("SELECT 1", KVSQL_INVALID,
              "another statement of this session is running: read it to its "
              "end, or finish it, first");
    }
    ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
    ck_assert(!row);
    vt_finish(statement);
    gives(ALL, "");
}
END_TEST

START_TEST(a_name_that_means_another_table_is_noticed)
{
    static const char users[] = "SELECT id, age FROM users WHERE id = '1'";

    fill();
    ck_assert(scans_alone(fx.session, "SELECT value FROM strings WHERE key = 'a'"));
    ok("CREATE TEMP TABLE strings AS SELECT 'a' AS key, 'native' AS value");
    gives("SELECT value FROM strings WHERE key = 'a'", "native");
    ok("DROP TABLE temp.strings");
    gives("SELECT value FROM strings WHERE key = 'a'", "one");
    ck_assert(scans_alone(fx.session, users));
    gives(users, "1|7");
    ok("DROP TABLE users");
    ck_assert_int_eq(ask(fx.session, users, 0), KVSQL_SYNTAX);
    ok("CREATE VIRTUAL TABLE users USING kv_hash('u:{id}', id, name TEXT, "
       "city TEXT, age TEXT, INDEX(age))");
    gives(users, "1|7");
    ck_assert(scans_alone(fx.session, users));
    /* by another session */
    ck_assert_int_eq(ask(fx.other, users, 0), KVSQL_OK);
    ck_assert(scans_alone(fx.other, users));
    ok("DROP TABLE users");
    ck_assert_int_eq(ask(fx.other, users, 0), KVSQL_SYNTAX);
    ok("CREATE VIRTUAL TABLE users USING kv_hash('u:{age}', age, id TEXT)");
    ck_assert_int_eq(ask(fx.other, users, 0), KVSQL_OK);
    ck_assert_str_eq(fx.text, "");
    ck_assert(!scans_alone(fx.other, users));
}
END_TEST

/* Parameters that were bound beside the statement go to SQLite when the schema
 * has changed, when the transaction writes, when LIMIT is no number. */
START_TEST(what_was_bound_is_handed_over)
{
    static const char sql[] = "SELECT key FROM strings WHERE key >= ?1 AND "
                              "key < ?2 LIMIT ?3";
    const struct vt_value a = TEXT_OF("a"), c = BLOB_OF("c"),
                          two = {.kind = VT_INTEGER, .integer = 2},
                          text = TEXT_OF("2"), word = TEXT_OF("two");
    struct vt_statement *statement;

    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2), ('c', 3)");
    ck_assert(scans_alone(fx.session, "SELECT key FROM strings WHERE key >= ?1 AND "
                                "key < ?2"));
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(vt_prepare(fx.session, sql, sizeof(sql) - 1, NULL,
                                    &statement, &fx.err),
                         KVSQL_OK);
        ck_assert_int_eq(vt_bind(statement, 1, &c, &fx.err), KVSQL_OK);
        ck_assert_int_eq(vt_bind(statement, 1, &a, &fx.err), KVSQL_OK);
        ck_assert_int_eq(vt_bind(statement, 2, &c, &fx.err), KVSQL_OK);
        ck_assert_int_eq(vt_bind(statement, 3, i == 5 ? &word
                                               : i == 4 ? &text
                                                        : &two,
                                 &fx.err),
                         KVSQL_OK);
        ck_assert_int_eq(vt_bind(statement, 4, &two, &fx.err), KVSQL_RANGE);
        if (i == 2) ok("CREATE TEMP TABLE aside(x)");
        if (i == 3) {
            ok("BEGIN");
            ok("INSERT INTO strings(key, value) VALUES('aa', 1)");
        }
        ck_assert_int_eq(rows_drain(&fx, statement),
                         i == 5 ? KVSQL_INVALID : KVSQL_OK);
        ck_assert_str_eq(fx.text, i == 3 ? "a\naa" : i == 5 ? "" : "a\nb");
        vt_finish(statement);
        if (i == 3) ok("ROLLBACK");
    }
    /* and is forgotten */
    gives("SELECT key FROM strings WHERE key = 'a'", "a");
    ck_assert_int_eq(vt_prepare(fx.session, sql, sizeof(sql) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_bind(statement, 3, &two, &fx.err), KVSQL_OK);
    ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
    ck_assert_str_eq(fx.text, "");
    vt_finish(statement);
}
END_TEST

/* Of a lookup, of rows, of SQLite's. */
START_TEST(nothing_is_bound_while_rows_are_read)
{
    static const char *const asks[] = {
        "SELECT value FROM strings WHERE key = ?",
        "SELECT value FROM strings WHERE key >= ?",
        "SELECT value || '' FROM strings WHERE key >= ?"};
    const struct vt_value a = TEXT_OF("a"), b = TEXT_OF("b");
    struct vt_statement *statement;
    bool row;

    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2)");
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
        for (int again = 0; again < 3; again++) {
            ck_assert_int_eq(vt_prepare(fx.session, asks[i], strlen(asks[i]),
                                        NULL, &statement, &fx.err),
                             KVSQL_OK);
            ck_assert_int_eq(vt_bind(statement, 1, &a, &fx.err), KVSQL_OK);
            ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
            ck_assert(row);
            ck_assert_int_eq(vt_bind(statement, 1, &b, &fx.err), KVSQL_INVALID);
            ck_assert_str_eq(fx.err.text,
                             "the statement runs: read it to its end, or finish "
                             "it, before its parameters change");
            ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
            ck_assert_str_eq(fx.text, i == 0 ? "" : "2");
            ck_assert_int_eq(vt_bind(statement, 1, &b, &fx.err), KVSQL_OK);
            ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
            ck_assert_str_eq(fx.text, "2");
            vt_finish(statement);
        }
}
END_TEST

START_TEST(rows_count_against_the_limits_and_are_shown)
{
    struct vt_limits little = {.row_max = 2};
    struct vt_statement *statement;
    bool row;

    ok("INSERT INTO strings(key, value) VALUES('a', 'one'), ('b', 'two'), "
       "('c', printf('%.*c', 9000, 'x'))");
    ck_assert(scans_alone(fx.other, ALL));
    vt_session_limits(fx.other, &little);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(vt_prepare(fx.other, ALL, sizeof(ALL) - 1, NULL,
                                    &statement, &fx.err),
                         KVSQL_OK);
        ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
        ck_assert_str_eq(fx.text, "a|one|NULL\nb|two|NULL");
        ck_assert(vt_truncated(statement));
        vt_finish(statement);
        little = (struct vt_limits){.byte_max = 60}; /* 28 for each of two */
        vt_session_limits(fx.other, &little);
    }
    ck_assert_int_eq(vt_prepare(fx.other, ALL, sizeof(ALL) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
    GIVES("SELECT count(*) FROM queries WHERE sql = '" ALL "' AND rows = 1",
          "1");
    vt_finish(statement); /* in the middle */
    GIVES("SELECT count(*) FROM queries WHERE sql = '" ALL "'", "0");
    GIVES("SELECT count(*) FROM views", "0");
    little = (struct vt_limits){0};
    vt_limit_set(VT_LIMIT_VALUE, 4096);
    vt_session_limits(fx.other, &little);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ask(fx.other, ALL, 0), KVSQL_TOOBIG);
        ck_assert_str_eq(fx.err.text, "string or blob too big: the limit "
                                      "sql-max-value is 4096");
        ck_assert_str_eq(fx.text, "a|one|NULL\nb|two|NULL");
    }
    ck_assert_int_eq(sqlite3_limit(fx.other->sql, SQLITE_LIMIT_LENGTH, -1),
                     4096);
    vt_limit_set(VT_LIMIT_VALUE, 0);
}
END_TEST

#define MANY "SELECT key FROM strings"
#define MANY_COUNT "SELECT count(*) FROM strings"

START_TEST(rows_end_when_their_session_is_to_end)
{
    const struct vt_limits limits = {0};
    struct vt_statement *statement;
    kvsql_rc rc = KVSQL_OK;
    bool row = true;
    int rows = 0;

    ok("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
       "LIMIT 5000) INSERT INTO strings(key, value) SELECT 'many' || i, i FROM "
       "n");
    ck_assert(scans_alone(fx.other, MANY) && scans_alone(fx.other, MANY_COUNT));
    vt_interrupt(fx.other); /* before */
    ck_assert_int_eq(ask(fx.other, MANY, 0), KVSQL_INTERRUPT);
    ck_assert_str_eq(fx.err.text, "the statement was cancelled");
    ck_assert_str_eq(fx.text, "");
    ck_assert_int_eq(ask(fx.other, MANY_COUNT, 0), KVSQL_INTERRUPT);
    vt_session_limits(fx.other, &limits); /* the next client's */
    ck_assert_int_eq(ask(fx.other, MANY_COUNT, 0), KVSQL_OK);
    ck_assert_str_eq(fx.text, "5000");
    /* in the middle, and by its number */
    ck_assert_int_eq(vt_prepare(fx.other, MANY, sizeof(MANY) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    for (; rc == KVSQL_OK && row; rows++) {
        if (rows == 1000) ok("DELETE FROM queries WHERE sql = '" MANY "'");
        rc = vt_step(statement, &row, &fx.err);
    }
    vt_finish(statement);
    ck_assert_int_eq(rc, KVSQL_INTERRUPT);
    ck_assert_int_ge(rows, 1000);
    ck_assert_int_lt(rows, 1200);
    ck_assert_int_eq(ask(fx.other, MANY_COUNT, 0), KVSQL_OK);

    ck_assert(scans_alone(fx.session, MANY));
    kv_set_views(fx.db, 1, 0);
    ok("BEGIN");
    gives("SELECT count(*) FROM strings WHERE key = 'none'", "0");
    kv_os_sleep_ms(5);
    while (kv_store_tick(kv_db_store(fx.db))) continue;
    ck_assert_int_eq(ask(fx.session, MANY, 0), KVSQL_INTERRUPT);
    ck_assert_ptr_nonnull(strstr(fx.err.text, "view-max-age"));
    ok("ROLLBACK");
}
END_TEST

START_TEST(rows_end_with_their_transaction)
{
    struct vt_statement *statement;
    bool row;

    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2)");
    ck_assert(scans_alone(fx.session, ALL));
    ck_assert_int_eq(vt_begin(fx.session, &fx.err), KVSQL_OK);
    ck_assert_int_eq(vt_prepare(fx.session, ALL, sizeof(ALL) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
    vt_rollback(fx.session);
    GIVES("SELECT count(*) FROM views", "0");
    vt_finish(statement);
    gives(COUNT, "2");
}
END_TEST

/* Memory that runs out at the n-th allocation, of a statement that is kept. */
START_TEST(without_memory_rows_fail_and_nothing_is_left)
{
    static char whole[ROWS_TEXT_MAX];

    fill();
    for (size_t i = 0; i < PLAIN; i++) {
        kvsql_rc rc = KVSQL_NOMEM;
        ck_assert(scans_alone(fx.session, plain[i]));
        memcpy(whole, fx.text, sizeof(whole));
        for (uint64_t n = 1; rc != KVSQL_OK; n++) {
            ck_assert_uint_lt(n, 200);
            kv_mem_fail_at(n, 0);
            rc = ask(fx.session, plain[i], NUMBERS);
            kv_mem_fail_at(0, 0);
            ck_assert_msg(rc == KVSQL_OK || rc == KVSQL_NOMEM, "%s: %s",
                          plain[i], fx.err.text);
        }
        ck_assert_str_eq(fx.text, whole);
        ck_assert(fx.session->cursors == NULL && fx.session->pin == NULL);
        /* found out anew, too: then SQLite may run it, and all rows are there */
        for (uint64_t n = 1; n < 60; n++) {
            fx.session->schema++;
            ck_assert_int_eq(ask(fx.session, plain[i], NUMBERS), KVSQL_OK);
            kv_mem_fail_at(n, 0);
            rc = ask(fx.session, plain[i], NUMBERS);
            kv_mem_fail_at(0, 0);
            ck_assert(rc == KVSQL_NOMEM || strcmp(fx.text, whole) == 0);
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, only_rows_of_one_table_are_run_without_sqlite);
    tcase_add_test(tests,
                   rows_are_those_that_sqlite_gives_whatever_is_asked);
    tcase_add_test(tests, rows_are_those_that_their_statement_may_see);
    tcase_add_test(tests, a_view_stays_while_its_rows_are_read);
    tcase_add_test(tests, a_name_that_means_another_table_is_noticed);
    tcase_add_test(tests, what_was_bound_is_handed_over);
    tcase_add_test(tests, nothing_is_bound_while_rows_are_read);
    tcase_add_test(tests, rows_count_against_the_limits_and_are_shown);
    tcase_add_test(tests, rows_end_when_their_session_is_to_end);
    tcase_add_test(tests, rows_end_with_their_transaction);
    tcase_add_test(tests, without_memory_rows_fail_and_nothing_is_left);
}

int main(void)
{
    return unit_run("scan", add);
}
