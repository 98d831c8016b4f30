/* test_pins.c - TE7 of the SQL reference: what a statement has been handed lives
 * as long as the statement, whatever is written meanwhile (RD1-RD5).
 *
 * Freed entries are poisoned under AddressSanitizer, and overwritten in a DEBUG
 * build; else what is read shows it. Values are long and short, collections
 * packed and trees.
 *
 * Between two steps of a statement everything is taken away and other things
 * are put in the same places, by commands and by another session. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "tests/lib/rows.h"
#include "vtab/guest.h"

#define ELEMS 200 /* of a collection that is a tree */

static struct rows fx;
static char expected[ROWS_TEXT_MAX], got[ROWS_TEXT_MAX];

#define ok(sql) rows_ok(&fx, sql)
#define GIVES(sql, rows) ROWS_GIVES(&fx, sql, rows)

static void setup(void)
{
    cli_join_sql();
    rows_init(&fx);
}

static void teardown(void)
{
    rows_fini(&fx);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_VIEW), 0);
}

#define MANY "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n" \
             " LIMIT 200) "

static void fill(void)
{
    ok("INSERT INTO strings(key, value) VALUES('int', 12345), ('short', 'abc'),"
       " ('long', replace(hex(zeroblob(3000)), '00', 'xy')), (x'ff', x'fe'),"
       " ('empty', ''), ('a:1', 'one'), ('a:2', 'two')");
    ok("INSERT INTO hashes(key, field, value) VALUES('h', 'f', 'v'),"
       " ('h', 'g', 42), ('h', x'80', replace(hex(zeroblob(500)), '0', 'z'))");
    ok(MANY "INSERT INTO hashes(key, field, value) SELECT 'ht', 'f' || i,"
            " 'value ' || i FROM n");
    ok("INSERT INTO lists(key, value) VALUES('l', 'a'), ('l', 2), ('l', 'c')");
    ok(MANY "INSERT INTO lists(key, value) SELECT 'lt', 'element ' || i FROM n");
    ok("INSERT INTO sets VALUES('s', 'm'), ('s', 7), ('s', x'00')");
    ok(MANY "INSERT INTO sets SELECT 'st', 'member ' || i FROM n");
    ok("INSERT INTO zsets VALUES('z', 'm', 1), ('z', 'n', 0.5)");
    ok(MANY "INSERT INTO zsets SELECT 'zt', 'member ' || i, i FROM n");
}

/* Everything goes, and other things come where it was. */
static void disturb(unsigned n)
{
    char sql[256];

    ck_assert_int_eq(rows_run(&fx, fx.other, n % 2 ? "DELETE FROM keys"
                                                   : "INSERT INTO kv_exec(cmd)"
                                                     " VALUES('FLUSHALL')"),
                     KVSQL_OK);
    (void)snprintf(sql, sizeof(sql),
                   MANY "INSERT INTO strings(key, value) SELECT 'other:' || i,"
                        " 'written %u ' || i FROM n", n);
    ck_assert_int_eq(rows_run(&fx, fx.other, sql), KVSQL_OK);
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              MANY "INSERT INTO hashes(key, field, value)"
                                   " SELECT 'ht', i, 'overwritten' FROM n"),
                     KVSQL_OK);
}

static void note(char *out, size_t *size, const struct vt_value *v)
{
    const size_t left = ROWS_TEXT_MAX - *size;
    int n = 0;

    ck_assert_uint_gt(left, 64 + v->size);
    if (v->kind == VT_INTEGER)
        n = snprintf(out + *size, left, "%lld|", (long long)v->integer);
    else if (v->kind == VT_REAL)
        n = snprintf(out + *size, left, "%g|", v->real);
    else
        n = snprintf(out + *size, left, "%.*s|", (int)v->size,
                     v->size > 0 ? (const char *)v->p : "");
    *size += (size_t)n;
}

/* All rows, with a disturbance between a step and the look at its row. */
static void run(const char *sql, char *out, bool disturbed)
{
    struct vt_statement *statement;
    size_t size = 0;
    bool row;

    out[0] = 0;
    ck_assert_msg(vt_prepare(fx.session, sql, strlen(sql), NULL, &statement,
                             &fx.err) == KVSQL_OK,
                  "%s: %s", sql, fx.err.text);
    for (unsigned n = 0;; n++) {
        ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
        if (!row) break;
        if (disturbed && n < 3) disturb(n);
        for (int i = 0; i < vt_column_count(statement); i++) {
            struct vt_value v;
            vt_column(statement, i, &v);
            note(out, &size, &v);
        }
    }
    vt_finish(statement);
}

static const char *const queries[] = {
    "SELECT * FROM keys",
    "SELECT *, rank, memory, encoding FROM keys ORDER BY key DESC",
    "SELECT * FROM strings",
    "SELECT value, key FROM strings WHERE key IN ('long', 'int', 'short', 'a')",
    "SELECT * FROM strings WHERE key LIKE 'A:%' OR key GLOB '[l-s]*'",
    "SELECT * FROM hashes",
    "SELECT * FROM hashes WHERE key = 'ht' AND field IN ('f9', 'f8', 'f7')",
    "SELECT * FROM hashes WHERE key = 'h' ORDER BY field DESC",
    "SELECT * FROM lists",
    "SELECT * FROM lists WHERE key = 'lt' AND idx IN (199, 0, 7) ORDER BY idx",
    "SELECT * FROM sets",
    "SELECT * FROM zsets",
    "SELECT * FROM zsets WHERE key = 'zt' AND score > 20 ORDER BY score DESC",
    "SELECT * FROM zsets WHERE key = 'zt' AND rank BETWEEN 3 AND 30",
    /* rows that wait: sorters, coroutines, automatic indexes */
    "SELECT value, max(value), min(key) FROM strings",
    "SELECT key, max(value) FROM hashes GROUP BY key",
    "SELECT x.v, y.value FROM (SELECT value AS v FROM lists ORDER BY value"
    " LIMIT 5) x JOIN hashes y ON y.value > x.v",
    "WITH c AS MATERIALIZED (SELECT key, member FROM sets) SELECT * FROM c,"
    " keys k WHERE k.key = c.key",
    "SELECT a.member, b.member FROM sets a, zsets b WHERE a.member = b.member",
    "SELECT value FROM strings UNION SELECT value FROM lists ORDER BY 1",
    "SELECT key, lag(value) OVER w, first_value(value) OVER w FROM lists"
    " WINDOW w AS (ORDER BY key, idx)",
    "SELECT k.key, (SELECT max(value) FROM hashes h WHERE h.key = k.key)"
    " FROM keys k",
    "SELECT k.key, kv_get(k.key), kv_hget(k.key, 'f'), kv_len(k.key)"
    " FROM keys k",
    "SELECT k.key, v.value FROM keys k, kv('TYPE', k.key) v",
    "SELECT DISTINCT type, length FROM keys",
};

START_TEST(a_commit_between_two_steps_changes_no_row)
{
    fill();
    run(queries[_i], expected, false);
    run(queries[_i], got, true);
    ck_assert_str_eq(got, expected);
    ck_assert_uint_gt(strlen(expected), 0);
    run("SELECT count(*) FROM keys WHERE key = 'long'", got, false);
    ck_assert_str_eq(got, "0|"); /* it was gone all the while */
}
END_TEST

START_TEST(an_update_that_closes_its_cursor_first_has_its_old_values)
{
    fill();
    ok("UPDATE strings SET value = value || '+' || key || value"
       " WHERE key = 'long'");
    GIVES("SELECT length(value), substr(value, 1, 3), substr(value, 6000, 7)"
          " FROM strings WHERE key = 'long'",
          "12005|xyx|y+longx");
    ok("UPDATE strings SET key = value, value = key WHERE key = 'short'");
    GIVES("SELECT value FROM strings WHERE key = 'abc'", "short");
    ok("UPDATE hashes SET field = value, value = field || value"
       " WHERE key = 'ht' AND field = 'f200'");
    GIVES("SELECT value FROM hashes WHERE key = 'ht' AND field = 'value 200'",
          "f200value 200");
    ok("UPDATE zsets SET member = member || score, score = length(member)"
       " WHERE key = 'zt' AND member = 'member 7'");
    GIVES("SELECT score FROM zsets WHERE member = 'member 77.0'", "8");
    ok("UPDATE lists SET value = value || '/' || value WHERE key = 'lt'");
    GIVES("SELECT count(*) FROM lists WHERE value LIKE 'element 1%/element 1%'",
          "111");
}
END_TEST

START_TEST(statements_that_write_while_they_read_see_one_state)
{
    fill();
    ok("BEGIN");
    ok("INSERT INTO sets SELECT 'copy:' || key, value FROM hashes");
    ok("UPDATE strings SET value = (SELECT group_concat(member, '') FROM sets"
       " WHERE key = 'copy:h') WHERE key = 'short'");
    ok("DELETE FROM hashes WHERE field IN (SELECT field FROM hashes WHERE"
       " value GLOB 'value 1*') AND value IN (SELECT member FROM sets)");
    GIVES("SELECT count(*) FROM hashes", "92");
    ok("INSERT OR REPLACE INTO strings(key, value) SELECT key, key || value"
       " FROM strings");
    GIVES("SELECT value FROM strings WHERE key = 'int'", "int12345");
    ok("REPLACE INTO hashes SELECT key, field, value || value, NULL FROM hashes"
       " WHERE key = 'ht' ORDER BY value DESC");
    ok("ROLLBACK");
    GIVES("SELECT count(*), max(length(value)) FROM hashes", "203|1000");
}
END_TEST

START_TEST(the_body_of_a_trigger_reads_and_writes_our_tables)
{
    ok("CREATE TEMP TABLE log(k, v)");
    ok("CREATE TEMP TRIGGER t AFTER INSERT ON log BEGIN"
       " INSERT OR REPLACE INTO strings(key, value) SELECT new.k, new.v ||"
       " ifnull((SELECT value FROM strings WHERE key = new.k), '.');"
       " UPDATE hashes SET value = value || new.v WHERE key = 'h';"
       " DELETE FROM lists WHERE value = (SELECT max(value) FROM lists);"
       " INSERT INTO zsets SELECT 'seen', member || new.k, score FROM zsets"
       " WHERE key = 'zt' AND score < 3; END");
    fill();
    ok("INSERT INTO log SELECT key, 'x' || value FROM strings WHERE key <> 'long'"
       " AND typeof(key) = 'text'");
    GIVES("SELECT value FROM strings WHERE key GLOB 'a:*' OR key = 'int'",
          "xoneone\nxtwotwo\nx1234512345");
    GIVES("SELECT value FROM hashes WHERE key = 'h' AND field = 'f'",
          "vxonextwoxx12345xabc");
    GIVES("SELECT count(*) FROM lists", "198");
    GIVES("SELECT count(*) FROM zsets WHERE key = 'seen'", "10");
}
END_TEST

/* ---- several statements of one connection ---------------------------------- */

static void guest_do(sqlite3 *sql, const char *text)
{
    ck_assert_msg(sqlite3_exec(sql, text, NULL, NULL, NULL) == SQLITE_OK,
                  "%s: %s", text, sqlite3_errmsg(sql));
}

static void guest_left(void *arg)
{
    (*(unsigned *)arg)++;
}

/* One row of a statement that runs, as text; "" at the end. */
static const char *guest_row(sqlite3_stmt *statement)
{
    static char text[16384];
    size_t size = 0;
    const int rc = sqlite3_step(statement);

    text[0] = 0;
    ck_assert(rc == SQLITE_ROW || rc == SQLITE_DONE);
    for (int i = 0; rc == SQLITE_ROW && i < sqlite3_column_count(statement);
         i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%.*s|",
                                 sqlite3_column_bytes(statement, i),
                                 (const char *)sqlite3_column_blob(statement,
                                                                   i));
    return text;
}

START_TEST(statements_of_one_connection_take_turns)
{
    struct vt_store store;
    unsigned left = 0;
    sqlite3_stmt *one, *two;
    sqlite3 *sql;

    fill();
    vt_store_init(&store);
    ck_assert_int_eq(sqlite3_open(":memory:", &sql), SQLITE_OK);
    ck_assert_int_eq(vt_guest_open(sql, fx.db, &store, false, guest_left,
                                   &left, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(sql, "SELECT key, value FROM strings",
                                        -1, &one, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(sql, "SELECT value FROM lists WHERE"
                                             " key = 'lt'", -1, &two, NULL),
                     SQLITE_OK);
    ck_assert_str_eq(guest_row(one), "a:1|one|");
    guest_do(sql, "UPDATE strings SET value = 'new' WHERE key > 'a:1'");
    ck_assert_str_eq(guest_row(two), "element 1|");
    ck_assert_str_eq(guest_row(one), "a:2|two|");
    guest_do(sql, "DELETE FROM keys; INSERT INTO strings(key, value)"
                  " VALUES('int', 'other'), ('zz', 'other')");
    ck_assert_str_eq(guest_row(one), "empty||");
    ck_assert_str_eq(guest_row(two), "element 2|");
    ck_assert_str_eq(guest_row(one), "int|12345|");
    ck_assert_int_eq(sqlite3_finalize(one), SQLITE_OK);
    for (int i = 3; i <= ELEMS; i++) {
        char want[32];
        (void)snprintf(want, sizeof(want), "element %d|", i);
        ck_assert_str_eq(guest_row(two), want);
    }
    ck_assert_str_eq(guest_row(two), "");
    ck_assert_int_eq(sqlite3_finalize(two), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(sql), SQLITE_OK);
    ck_assert_uint_eq(left, 1);
    vt_store_fini(&store);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, a_commit_between_two_steps_changes_no_row, 0,
                        (int)(sizeof(queries) / sizeof(queries[0])));
    tcase_add_test(tests,
                   an_update_that_closes_its_cursor_first_has_its_old_values);
    tcase_add_test(tests, statements_that_write_while_they_read_see_one_state);
    tcase_add_test(tests, the_body_of_a_trigger_reads_and_writes_our_tables);
    tcase_add_test(tests, statements_of_one_connection_take_turns);
}

int main(void)
{
    return unit_run("pins", add);
}
