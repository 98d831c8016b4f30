/* test_plan.c - what plans take from a statement, and that walks by them give
 * what was asked for (sql.md 3). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/rows_fx.h"

/* What EXPLAIN QUERY PLAN says of the table, behind the colon. */
static void plan(const char *sql, const char *text)
{
    char explain[512];
    const char *colon;

    (void)snprintf(explain, sizeof(explain), "EXPLAIN QUERY PLAN %s", sql);
    ok(explain);
    colon = strchr(fx.text, ':');
    ck_assert_ptr_nonnull(colon);
    ck_assert_str_eq(colon + 1, text);
}

START_TEST(plans_take_what_they_can)
{
    plan("SELECT * FROM strings WHERE key = ?", "key=?");
    plan("SELECT * FROM strings WHERE key IN (?, ?) ORDER BY key DESC",
         "key IN");
    plan("SELECT * FROM strings WHERE key = ? OR key = 'b' ORDER BY key",
         "key IN");
    plan("SELECT * FROM keys WHERE key > ? ORDER BY key", "key range");
    plan("SELECT * FROM keys WHERE key GLOB 'a*'", "key prefix");
    plan("SELECT * FROM keys WHERE key LIKE 'a%'", "key prefix");
    plan("SELECT * FROM keys WHERE key = ? COLLATE NOCASE", "");
    plan("SELECT * FROM keys WHERE rank BETWEEN 1 AND 2", "rank range");
    plan("SELECT * FROM keys WHERE expires_at < ? ORDER BY expires_at",
         "expires_at range");
    plan("SELECT * FROM hashes WHERE key = ? AND field = ?", "key=? field=?");
    plan("SELECT * FROM hashes WHERE field = ?", "field=?");
    plan("SELECT * FROM lists WHERE key = ? AND idx >= ? ORDER BY idx",
         "key=? idx range");
    plan("SELECT * FROM lists WHERE key = ? AND idx IN (1, 2)",
         "key=? idx IN");
    plan("SELECT * FROM zsets WHERE key = ? AND score > ? ORDER BY score DESC",
         "key=? score range");
    plan("SELECT * FROM zsets WHERE key = ? AND rank = 0", "key=? rank=?");
    plan("SELECT * FROM zsets WHERE key = ? ORDER BY score LIMIT 3", "key=?");
    plan("SELECT max(key) FROM keys", "");
}
END_TEST

/* The table that is read first. */
static void leads(const char *sql, const char *name)
{
    char explain[512], scan[64];

    (void)snprintf(explain, sizeof(explain), "EXPLAIN QUERY PLAN %s", sql);
    (void)snprintf(scan, sizeof(scan), "SCAN %s ", name);
    ok(explain);
    const char *found = strstr(fx.text, "SCAN ");
    ck_assert_msg(found != NULL && strncmp(found, scan, strlen(scan)) == 0,
                  "%s: %s", sql, fx.text);
}

/* Ranges of literals are counted: the smaller one is the outer loop. */
START_TEST(a_range_of_literals_is_known_by_its_rows)
{
    ok("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n LIMIT "
       "1000) INSERT INTO strings(key, value) SELECT printf('many:%04d', i), i "
       "FROM n");
    ok("INSERT INTO strings(key, value) VALUES('few:1', 'a'), ('few:2', 'b')");
    leads("SELECT 1 FROM strings a, strings b WHERE a.key GLOB 'many:*' AND "
          "b.key GLOB 'few:*' AND a.value=b.value",
          "b");
    leads("SELECT 1 FROM strings b, strings a WHERE a.key GLOB 'few:*' AND "
          "b.key GLOB 'many:*' AND a.value=b.value",
          "a");
    leads("SELECT 1 FROM strings a, strings b WHERE a.key>='many:0001' AND "
          "b.key>='many:0990' AND a.value=b.value",
          "b");
    ok("BEGIN");
    ok("DELETE FROM strings WHERE key>='many:0003'");
    ok("INSERT INTO strings(key, value) VALUES('few:3', ''), ('few:4', ''), "
       "('few:5', ''), ('few:6', '')");
    leads("SELECT 1 FROM strings a, strings b WHERE a.key GLOB 'many:*' AND "
          "b.key GLOB 'few:?' AND b.key GLOB 'few:*' AND a.value=b.value",
          "a");
    ok("ROLLBACK");
}
END_TEST

/* PL6: whether SQLite looks at the rows again. */
static bool rechecked(const char *sql)
{
    char explain[512];

    ck_assert_int_lt(snprintf(explain, sizeof(explain), "EXPLAIN %s", sql),
                     (int)sizeof(explain));
    ok(explain);
    return strstr(fx.text, "|Ne|") != NULL || strstr(fx.text, "|Le|") != NULL ||
           strstr(fx.text, "|Ge|") != NULL;
}

START_TEST(only_what_compares_text_alone_is_not_looked_at_again)
{
    ok("INSERT INTO strings(key, value) VALUES('7', 'a'), ('007', 'b'), "
       "('7.0', 'c'), ('x', 'd')");
    ok("CREATE TABLE texts(t TEXT, n INTEGER, any)");
    ok("INSERT INTO texts VALUES('7', 7, 7)");
    ok("CREATE VIEW numbers AS SELECT n FROM texts");
    ck_assert(!rechecked("SELECT value FROM strings WHERE key=?"));
    ck_assert(!rechecked("SELECT value FROM strings WHERE key>=? AND key<?"));
    ck_assert(!rechecked("SELECT value FROM texts, strings WHERE key=t"));
    ck_assert(rechecked("SELECT value FROM strings, texts WHERE key=? AND "
                        "n IS NOT NULL"));
    ck_assert(rechecked("SELECT value FROM texts, strings WHERE key=n"));
    GIVES("SELECT value FROM strings WHERE key=7", "a");
    GIVES("SELECT value FROM strings WHERE key IN (7, 'x')", "a\nd");
    GIVES("SELECT value FROM texts, strings WHERE key=t", "a");
    GIVES("SELECT count(*) FROM texts, strings WHERE key=n", "3");
    GIVES("SELECT count(*) FROM numbers, strings WHERE key=n", "3");
    GIVES("SELECT count(*) FROM strings WHERE key=(SELECT n FROM texts)", "3");
    GIVES("SELECT count(*) FROM strings WHERE key=CAST('7' AS INTEGER)", "3");
    GIVES("WITH w(n) AS (VALUES(CAST('7' AS INTEGER))) SELECT count(*) FROM w, "
          "strings WHERE key=n",
          "3");
    GIVES("UPDATE strings SET value='e' WHERE key=7", "");
    GIVES("SELECT value FROM strings WHERE key IN ('7', '7.0')", "e\nc");
    /* one name in two schemas */
    ok("CREATE TABLE both(n INTEGER)");
    ok("INSERT INTO both VALUES(7)");
    ok("CREATE TEMP TABLE both(n TEXT)");
    GIVES("SELECT count(*) FROM main.both AS b, strings WHERE key=b.n", "3");
    ok("CREATE TABLE turned(n TEXT)");
    ok("CREATE TEMP TABLE turned(n INTEGER)");
    ok("INSERT INTO turned VALUES(7)");
    GIVES("SELECT count(*) FROM turned AS b, strings WHERE key=b.n", "3");
    /* a table of the session's own with the name of one of ours */
    ok("CREATE TEMP TABLE sets(key INTEGER, member TEXT)");
    ok("INSERT INTO sets VALUES(7, 'm')");
    GIVES("SELECT count(*) FROM sets, strings ON strings.key=sets.key", "3");
}
END_TEST

/* SQLite looks at what a list of row values found as if the list had no
 * affinity: where it has numbers, nothing may be looked up by it. */
START_TEST(a_list_of_row_values_finds_what_is_equal_as_a_number)
{
    ok("INSERT INTO sets(key, member) VALUES('7', 'm'), ('007', 'm'),"
       " ('8', 'm'), ('x', '007')");
    ok("CREATE TEMP TABLE t(k INTEGER, m TEXT, n INTEGER)");
    ok("INSERT INTO t VALUES(7, 'm', 7)");
    GIVES("SELECT key FROM sets WHERE (key, member) IN (SELECT k, m FROM t)",
          "007\n7");
    GIVES("SELECT key FROM sets WHERE (key, member)in(SELECT k, m FROM t)",
          "007\n7");
    GIVES("SELECT key FROM sets WHERE (key, member) /**/ IN"
          " (VALUES(CAST(7 AS INT), 'm'), (CAST(9 AS INT), 'm'))", "007\n7");
    GIVES("SELECT key FROM sets WHERE (member, key) IN"
          " (SELECT n, 'x' FROM t)", "x");
    GIVES("SELECT key FROM sets WHERE (key, member) NOT IN"
          " (SELECT k, m FROM t)", "8\nx");
    ok("INSERT INTO strings(key, value) VALUES('07', 'v'), ('+7', 'w')");
    GIVES("SELECT value FROM strings WHERE (key, value) IN"
          " (SELECT k, 'v' FROM t)", "v");
    ok("CREATE VIRTUAL TABLE people USING kv_hash('p:{id}', id, code TEXT,"
       " age INTEGER, INDEX(code))");
    ok("INSERT INTO people(id, code, age) VALUES('1', '007', 40)");
    GIVES("SELECT id FROM people WHERE (code, age) IN (SELECT n, '40' FROM t)",
          "1");
    GIVES("SELECT id FROM people WHERE (id, age) IN"
          " (SELECT CAST('01' AS INT), 40)", "1");
    /* what is known is looked up as ever, and a list of single values */
    ok("EXPLAIN QUERY PLAN SELECT key FROM sets WHERE key = 'a' AND"
       " (key, member) IN (SELECT k, m FROM t)");
    ck_assert_ptr_nonnull(strstr(fx.text, ":key=?\n"));
    ok("EXPLAIN QUERY PLAN SELECT key FROM sets WHERE key IN (SELECT k FROM t)");
    ck_assert_ptr_nonnull(strstr(fx.text, ":key IN\n"));
    ok("EXPLAIN QUERY PLAN SELECT key FROM t JOIN sets ON key = k");
    ck_assert_ptr_nonnull(strstr(fx.text, ":key=?"));
    ok("CREATE TEMP VIEW found AS SELECT key FROM sets WHERE (key, member) IN"
       " (SELECT k, m FROM t)");
    GIVES("SELECT * FROM found", "007\n7"); /* its text says nothing */
}
END_TEST

/* PL6, of one table that has other columns than text. */
START_TEST(what_reads_one_table_once_compares_its_text_as_text)
{
    ck_assert(!rechecked("SELECT * FROM strings WHERE key=?")); /* the first */
    ok("INSERT INTO strings(key, value, expires_at) VALUES"
       "('1900000000000.0', 'a', 1900000000000), ('7', 'b', NULL), "
       "('007', 'c', NULL), ('7.0', 'd', 1900000000000)");
    ck_assert(!rechecked("SELECT * FROM strings WHERE key=?"));
    ck_assert(!rechecked("SELECT s.key, expires_at FROM main.Strings AS s "
                         "WHERE key=? ORDER BY rank"));
    ck_assert(!rechecked("SELECT * FROM strings WHERE key=? AND expires_at IS "
                         "NULL"));
    ck_assert(rechecked("SELECT * FROM strings WHERE key=? AND expires_at=?"));
    ck_assert(rechecked("SELECT * FROM strings WHERE key=CAST(? AS TEXT)"));
    ck_assert(rechecked("SELECT a.value FROM strings a, strings b WHERE "
                        "a.key=b.expires_at"));
    GIVES("SELECT value, expires_at FROM strings WHERE key=7", "b|NULL");
    GIVES("SELECT value, expires_at FROM strings WHERE key IN (7, 8)",
          "b|NULL");
    GIVES("SELECT count(expires_at), count(*) FROM strings WHERE key<=7",
          "1|3");
    /* a number that takes the place of a column */
    GIVES("SELECT value FROM strings WHERE key=expires_at", "a");
    GIVES("SELECT value FROM strings WHERE key=expires_at AND "
          "expires_at=1900000000000",
          "a");
    GIVES("SELECT expires_at AS e, value FROM strings WHERE key=e AND "
          "e=1900000000000",
          "1900000000000|a");
    GIVES("SELECT value FROM strings WHERE 1900000000000=expires_at AND "
          "expires_at=key",
          "a");
    GIVES("SELECT b.value FROM strings a, strings b WHERE b.key=a.expires_at "
          "AND a.key='7.0'",
          "a");
    GIVES("SELECT count(*) FROM strings WHERE key IN (SELECT expires_at FROM "
          "strings)",
          "1");
    GIVES("SELECT count(*) FROM strings WHERE key=CAST('7' AS INTEGER)", "3");
}
END_TEST

START_TEST(a_walk_ends_at_its_upper_bound_however_many_rows_it_has)
{
    char sql[160];

    ok("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n LIMIT "
       "3000) INSERT INTO strings(key, value) SELECT printf('k%04d', i), 'v' "
       "FROM n");
    ok("UPDATE strings SET expires_at=1700000000000+50000 WHERE key IN "
       "('k0100', 'k1999', 'k2000', 'k2001')");
    ok("INSERT INTO sets(key, member) VALUES('k1500x', 'm'), ('k1999x', 'm')");
    for (int round = 0; round < 2; round++) {
        for (int n = 0; n < 3000; n += n < 40 ? 1 : 487) {
            (void)snprintf(sql, sizeof(sql),
                           "SELECT count(*), count(key), sum(length(value)), "
                           "max(key) FROM strings WHERE key<'k%04d'",
                           n);
            const int gone = round ? (n > 100) + (n > 1999) + (n > 2000) +
                                         (n > 2001)
                                   : 0;
            char wanted[80];
            if (n == 0)
                (void)snprintf(wanted, sizeof(wanted), "0|0|NULL|NULL");
            else
                (void)snprintf(wanted, sizeof(wanted), "%d|%d|%d|k%04d",
                               n - gone, n - gone, n - gone, n - 1);
            GIVES(sql, wanted);
            (void)snprintf(sql, sizeof(sql),
                           "SELECT count(*) FROM strings WHERE key<'k%04d'", n);
            (void)snprintf(wanted, sizeof(wanted), "%d", n - gone);
            GIVES(sql, wanted);
        }
        GIVES("SELECT count(*) FROM strings WHERE key GLOB 'k1*'",
              round ? "999" : "1000");
        GIVES("SELECT count(*) FROM keys WHERE key GLOB 'k1*'",
              round ? "1001" : "1002");
        GIVES("SELECT count(*) FROM strings WHERE key>='k0100' AND key<='k0100'",
              round ? "0" : "1");
        fx.wall += 60000;
    }
}
END_TEST

/* Keys of a list are looked up in groups; every third of these is there, and
 * one is longer than what is kept together. */
static void list_of_keys(char *sql, size_t size, const char *order)
{
    size_t used = (size_t)snprintf(
        sql, size, "SELECT count(*), min(key), max(key), group_concat(value) "
                   "FROM (SELECT key, value FROM strings WHERE key IN (");

    for (int i = 99; i >= 0; i--)
        used += (size_t)snprintf(sql + used, size - used, "'k%02d', ", i);
    (void)snprintf(sql + used, size - used,
                   "printf('%%.*c', 2000, 'x'), x'ff') ORDER BY key %s)",
                   order);
}

START_TEST(a_long_list_of_keys_is_found_whole_in_both_directions)
{
    char sql[4096];

    ok("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE "
       "i < 99) INSERT INTO strings(key, value) SELECT printf('k%02d', i), i "
       "FROM n WHERE i % 3 = 0");
    ok("INSERT INTO strings(key, value) VALUES (printf('%.*c', 2000, 'x'), "
       "'long'), (x'ff', 'blob')");
    ok("INSERT INTO sets(key, member) VALUES ('k01', 'a')");
    for (int writing = 0; writing < 2; writing++) {
        list_of_keys(sql, sizeof(sql), "");
        ok(sql);
        ck_assert_ptr_nonnull(strstr(fx.text, "36|k00|x'ff'|0,3,6,9,12,15,18"));
        ck_assert_ptr_nonnull(strstr(fx.text, ",96,99,long,blob"));
        list_of_keys(sql, sizeof(sql), "DESC");
        ok(sql);
        ck_assert_ptr_nonnull(strstr(fx.text, "|blob,long,99,96,93"));
        ck_assert_ptr_nonnull(strstr(fx.text, ",9,6,3,0"));
        if (writing > 0) break;
        ok("BEGIN");
        ok("UPDATE strings SET value = value WHERE key = 'k00'");
    }
    ok("ROLLBACK");
}
END_TEST

/* Rows that nobody looks at are stepped over; the same rows, all of which are
 * looked at, say what should come. */
START_TEST(a_scan_gives_what_it_is_asked_for_wherever_that_is)
{
    static const char *const wanted[] = {
        "value", "key", "expires_at", "rank",
        "CASE WHEN value LIKE '%7' THEN key ELSE value END",
        "CASE WHEN length(value) > 3 THEN expires_at ELSE value END",
        "key || value", "CASE WHEN key LIKE '%7' THEN key ELSE value END",
        "CASE WHEN value LIKE '%1' THEN expires_at ELSE key END",
        "CASE WHEN value LIKE '%3' THEN key || value || rank END"};
    static const char *const from[] = {"strings",
                                       "strings WHERE key > 'k100'",
                                       "strings WHERE key < 'k300'"};
    char sql[512];

    ok("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE "
       "i < 399) INSERT INTO strings(key, value, expires_at) SELECT "
       "printf('k%03d', i), CASE i % 5 WHEN 0 THEN i WHEN 1 THEN 'v' || i "
       "WHEN 2 THEN CAST('b' || i AS BLOB) || x'ff' WHEN 3 THEN printf('%.*c', "
       "i, 'x') || i ELSE '' END, iif(i % 11 = 0, 1800000000000 + i, NULL) "
       "FROM n");
    ok("INSERT INTO sets(key, member) VALUES ('k200x', 'b')");
    ok("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE "
       "i < 9) INSERT INTO strings(key, value) SELECT printf('k150%0*d', 9 * i "
       "+ 1, i), 'long' FROM n"); /* keys are not always copied in one go */
    for (size_t f = 0; f < sizeof(from) / sizeof(from[0]); f++)
        for (size_t w = 0; w < sizeof(wanted) / sizeof(wanted[0]); w++) {
            char *expected;
            (void)snprintf(sql, sizeof(sql),
                           "WITH m AS MATERIALIZED (SELECT key, value, "
                           "expires_at, rank FROM %s) SELECT count(*), "
                           "group_concat(ifnull(hex(%s), '-')) FROM m",
                           from[f], wanted[w]);
            ok(sql);
            expected = strdup(fx.text);
            ck_assert_ptr_nonnull(expected);
            (void)snprintf(sql, sizeof(sql),
                           "SELECT count(*), group_concat(ifnull(hex(%s), "
                           "'-')) FROM %s",
                           wanted[w], from[f]);
            ok(sql);
            ck_assert_str_eq(fx.text, expected);
            free(expected);
        }
}
END_TEST

START_TEST(deadlines_come_in_order_in_portions)
{
    ok("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE"
       " x < 2000) INSERT INTO strings(key, value, expires_at)"
       " SELECT 'k' || x, x, 1700000001000 + (x * 7919 % 500) FROM c");
    GIVES("SELECT count(*), count(DISTINCT key) FROM keys WHERE"
          " expires_at >= 0",
          "2000|2000");
    GIVES("SELECT count(*) FROM (SELECT expires_at e, lag(expires_at) OVER"
          " () p FROM (SELECT expires_at FROM keys WHERE expires_at > 0 ORDER"
          " BY expires_at)) WHERE e < p",
          "0");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_add_test(tests, plans_take_what_they_can);
    tcase_add_test(tests, a_range_of_literals_is_known_by_its_rows);
    tcase_add_test(tests,
                   only_what_compares_text_alone_is_not_looked_at_again);
    tcase_add_test(tests, what_reads_one_table_once_compares_its_text_as_text);
    tcase_add_test(tests,
                   a_list_of_row_values_finds_what_is_equal_as_a_number);
    tcase_add_test(tests,
                   a_walk_ends_at_its_upper_bound_however_many_rows_it_has);
    tcase_add_test(
        tests, a_long_list_of_keys_is_found_whole_in_both_directions);
    tcase_add_test(tests, a_scan_gives_what_it_is_asked_for_wherever_that_is);
    tcase_add_test(tests, deadlines_come_in_order_in_portions);
}

int main(void)
{
    return unit_run("plan", add);
}
