/* test_point.c - statements that are one lookup, and run without SQLite
 * (vtab/point.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/store.h"
#include "tests/lib/rows_fx.h"

#define LOOKUP "SELECT value FROM strings WHERE key = ?"

static const struct vt_value k = {.kind = VT_TEXT, .p = (const uint8_t *)"k",
                                  .size = 1};

static kvsql_rc ask(struct vt_session *session, const char *sql,
                    const struct vt_value *value)
{
    return rows_ask(&fx, session, sql, value, 1, 0);
}

/* Whether it needs no SQLite, now that it is kept. */
static bool alone(const char *sql)
{
    int before;

    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ask(fx.session, sql, &k), KVSQL_OK);
    before = rows_runs(fx.session, sql);
    ck_assert_int_eq(ask(fx.session, sql, &k), KVSQL_OK);
    return rows_runs(fx.session, sql) == before;
}

static void gives(const char *rows)
{
    ck_assert_int_eq(ask(fx.session, LOOKUP, &k), KVSQL_OK);
    ck_assert_str_eq(fx.text, rows);
}

START_TEST(only_what_is_one_lookup_is_run_without_sqlite)
{
    static const char *const yes[] = {
        LOOKUP, "SELECT key, value, expires_at FROM strings WHERE key = :k",
        "SELECT * FROM main.Strings AS s WHERE ?1 IS s.key",
        "SELECT expires_at FROM strings WHERE key IN (?)",
        "SELECT expires_at, value FROM strings WHERE key = ?"};
    static const char *const no[] = {
        "SELECT length(value) FROM strings WHERE key = ?",
        "SELECT value, 1 FROM strings WHERE key = ?",
        "SELECT value FROM strings WHERE key = ? COLLATE NOCASE",
        "SELECT value FROM strings WHERE key = ? || ''",
        "SELECT value FROM strings WHERE key = ? AND value <> 'x'",
        "SELECT value FROM strings WHERE key = CAST(? AS INTEGER)",
        "UPDATE sets SET member = 'w' WHERE key = ?"};

    ok("INSERT INTO strings(key, value) VALUES('k', 'v'), ('l', 'w')");
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        ck_assert_msg(alone(yes[i]), "%s", yes[i]);
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        ck_assert_msg(!alone(no[i]), "%s", no[i]);
}
END_TEST

#define BYTES(kind_, text)                                                    \
    {                                                                         \
        .kind = (kind_), .p = (const uint8_t *)(text),                        \
        .size = sizeof(text) - 1                                              \
    }
static const struct vt_value values[] = {
    BYTES(VT_TEXT, "k"),       BYTES(VT_BLOB, "k"),
    BYTES(VT_TEXT, "7"),       BYTES(VT_TEXT, "long"),
    BYTES(VT_TEXT, "blob"),    BYTES(VT_BLOB, "\xff"),
    BYTES(VT_TEXT, "\xff"),    BYTES(VT_TEXT, "a\0b"),
    BYTES(VT_TEXT, ""),        BYTES(VT_BLOB, ""),
    BYTES(VT_TEXT, "list"),    BYTES(VT_TEXT, "due"),
    BYTES(VT_TEXT, "late"),    BYTES(VT_TEXT, "none"),
    BYTES(VT_TEXT, "a key that is longer than what lies in a leaf, and so on"),
    {.kind = VT_INTEGER, .integer = 7}, {.kind = VT_REAL, .real = 7},
    {.kind = VT_NULL}};
#define VALUES (sizeof(values) / sizeof(values[0]))

START_TEST(a_lookup_gives_what_a_scan_gives_whatever_is_looked_up)
{
    static const char *const asks[] = {
        LOOKUP, "SELECT key, value, expires_at FROM strings WHERE key = ?",
        "SELECT value, typeof(value) FROM strings WHERE key = ?",
        "SELECT * FROM strings WHERE key = ?"};
    char *wanted;

    ok("INSERT INTO strings(key, value, expires_at) VALUES('k', 'v', NULL), "
       "('7', 42, NULL), ('long', printf('%.*c', 5000, 'x'), NULL), "
       "('blob', x'00ff', 1700000009000), (x'ff', '', NULL), "
       "(x'610062', 'nul', NULL), ('', 'empty', NULL), "
       "('due', 'd', 1700000005000), ('late', '-0', 1800000000000), "
       "('a key that is longer than what lies in a leaf, and so on', 1.5, "
       "NULL)");
    ok("INSERT INTO lists(key, value) VALUES('list', 'a')");
    __atomic_store_n(&fx.wall, 1700000006000, __ATOMIC_RELAXED);
    vt_session_plan_off(fx.other, true);
    for (size_t a = 0; a < sizeof(asks) / sizeof(asks[0]); a++)
        for (size_t v = 0; v < VALUES; v++) {
            ck_assert_int_eq(ask(fx.other, asks[a], &values[v]), KVSQL_OK);
            wanted = strdup(fx.text);
            ck_assert_ptr_nonnull(wanted);
            for (int i = 0; i < 3; i++) {
                ck_assert_int_eq(ask(fx.session, asks[a], &values[v]),
                                 KVSQL_OK);
                ck_assert_msg(strcmp(fx.text, wanted) == 0,
                              "%s, value %zu: %s, not %s", asks[a], v, fx.text,
                              wanted);
            }
            free(wanted);
        }
    ck_assert(alone(LOOKUP));
}
END_TEST

START_TEST(a_lookup_reads_what_its_statement_may_see)
{
    ok("INSERT INTO strings(key, value) VALUES('k', 'a')");
    ck_assert(alone(LOOKUP));
    ck_assert_int_eq(rows_run(&fx, fx.other, "REPLACE INTO strings(key, value) "
                                             "VALUES('k', 'b')"),
                     KVSQL_OK);
    gives("b");
    ok("BEGIN");
    gives("b");
    ck_assert_int_eq(rows_run(&fx, fx.other, "REPLACE INTO strings(key, value) "
                                             "VALUES('k', 'c')"),
                     KVSQL_OK);
    gives("b"); /* as it was read first */
    ck_assert(alone(LOOKUP));
    FAILS("UPDATE strings SET value = 'd'", KVSQL_SNAPSHOT,
          "the store moved on since this transaction read: begin the "
          "transaction with a write");
    ok("ROLLBACK");
    gives("c");
    ok("BEGIN");
    ok("UPDATE strings SET value = 'd' WHERE key = 'k'");
    gives("d");
    ok("ROLLBACK");
    gives("c");
    ok("DELETE FROM strings");
    gives("");
}
END_TEST

START_TEST(a_name_that_means_another_table_is_noticed)
{
    ok("INSERT INTO strings(key, value) VALUES('k', 'ours')");
    ck_assert(alone(LOOKUP));
    ok("CREATE TEMP TABLE strings(key, value)");
    ok("INSERT INTO temp.strings VALUES('k', 'native')");
    gives("native");
    ck_assert(!alone(LOOKUP));
    ok("DROP TABLE temp.strings");
    gives("ours");
    ck_assert(alone(LOOKUP));
    ok("CREATE TEMP VIEW strings AS SELECT 'k' AS key, 'view' AS value");
    gives("view");
    ok("DROP VIEW strings");
    gives("ours");
    ok("CREATE TABLE rows(key, value)");
    ok("INSERT INTO rows VALUES('k', 'renamed')");
    ck_assert(alone(LOOKUP));
    ok("ALTER TABLE rows RENAME TO strings");
    gives("renamed");
    /* what is rolled back was never judged by */
    ok("BEGIN");
    ok("DROP TABLE strings");
    gives("ours");
    gives("ours");
    ok("ROLLBACK");
    gives("renamed");
    gives("renamed");
    ok("DROP TABLE strings");
    gives("ours");
    ck_assert(alone(LOOKUP));
    ok("BEGIN");
    ok("CREATE TEMP TABLE strings(key, value)");
    gives("");
    ok("ROLLBACK");
    gives("ours");
    ck_assert(alone(LOOKUP));
    ok("ATTACH ':memory:' AS aside");
    ok("CREATE TABLE aside.strings AS SELECT 'k' AS key, 'aside' AS value");
    gives("aside");
    ok("DETACH aside");
    gives("ours");
    /* prepared before, and run when a lookup has been judged already */
    {
        static const char make[] = "CREATE TEMP TABLE strings(key, value)";
        struct vt_statement *statement;
        bool row;
        ck_assert_int_eq(vt_prepare(fx.session, make, sizeof(make) - 1, NULL,
                                    &statement, &fx.err),
                         KVSQL_OK);
        gives("ours");
        ck_assert(alone(LOOKUP));
        ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
        vt_finish(statement);
        gives("");
    }
}
END_TEST

START_TEST(the_schema_may_change_between_the_key_and_the_lookup)
{
    struct vt_statement *statement;
    bool row;

    ok("INSERT INTO strings(key, value) VALUES('k', 'ours')");
    ck_assert(alone(LOOKUP));
    ck_assert_int_eq(vt_prepare(fx.session, LOOKUP, sizeof(LOOKUP) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_bind(statement, 1, &k, &fx.err), KVSQL_OK);
    ok("CREATE TEMP TABLE strings AS SELECT 'k' AS key, 'native' AS value");
    ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
    ck_assert(row);
    vt_finish(statement);
    ok("DROP TABLE temp.strings");
    gives("ours");
    /* a key that was bound is gone, and may be bound anew as anything */
    ck_assert_int_eq(vt_prepare(fx.session, LOOKUP, sizeof(LOOKUP) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
    ck_assert_str_eq(fx.text, "");
    ck_assert_int_eq(vt_bind(statement, 1, &k, &fx.err), KVSQL_OK);
    ck_assert_int_eq(vt_bind(statement, 1, &values[VALUES - 1], &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
    ck_assert_str_eq(fx.text, "");
    /* what cannot be bound changes nothing */
    ck_assert_int_eq(vt_bind(statement, 1, &k, &fx.err), KVSQL_OK);
    ck_assert_int_eq(vt_bind(statement, 2, &k, &fx.err), KVSQL_RANGE);
    ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
    ck_assert_str_eq(fx.text, "ours");
    vt_finish(statement);
    gives("ours");
}
END_TEST

START_TEST(a_lookup_counts_against_the_limits_and_is_shown)
{
    const struct vt_limits little = {.byte_max = 20};
    struct vt_statement *statement;
    struct vt_value value;
    bool row;

    ok("INSERT INTO strings(key, value) VALUES('k', 'twelve bytes')");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ask(fx.other, LOOKUP, &k), KVSQL_OK);
    ck_assert_str_eq(fx.text, "twelve bytes");
    ck_assert_int_eq(vt_prepare(fx.other, LOOKUP, sizeof(LOOKUP) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_bind(statement, 1, &k, &fx.err), KVSQL_OK);
    ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
    ck_assert(row);
    GIVES("SELECT count(*) FROM queries WHERE sql = '" LOOKUP "' AND rows = 1",
          "1");
    vt_column(statement, 0, &value);
    ck_assert_uint_eq(value.size, 12);
    vt_column(statement, 1, &value);
    ck_assert_int_eq(value.kind, VT_NULL);
    ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
    ck_assert(!row && !vt_truncated(statement));
    vt_finish(statement);
    vt_session_limits(fx.other, &little); /* 8 for each column, and its bytes */
    ck_assert_int_eq(ask(fx.other, LOOKUP, &k), KVSQL_OK);
    ck_assert_str_eq(fx.text, "twelve bytes");
    ok("UPDATE strings SET value = 'thirteen, now' WHERE key = 'k'");
    ck_assert_int_eq(vt_prepare(fx.other, LOOKUP, sizeof(LOOKUP) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_bind(statement, 1, &k, &fx.err), KVSQL_OK);
    ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
    ck_assert(!row && vt_truncated(statement));
    vt_finish(statement);
}
END_TEST

/* No lookup takes long; many may, of a client that has gone or in a view that
 * was given up. */
START_TEST(a_lookup_ends_when_its_session_is_to_end)
{
    const struct vt_limits limits = {0};

    ok("INSERT INTO strings(key, value) VALUES('k', 'v')");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ask(fx.other, LOOKUP, &k), KVSQL_OK);
    vt_interrupt(fx.other);
    ck_assert_int_eq(ask(fx.other, LOOKUP, &k), KVSQL_INTERRUPT);
    ck_assert_str_eq(fx.err.text, "the statement was cancelled");
    vt_session_limits(fx.other, &limits); /* the next client's */
    ck_assert_int_eq(ask(fx.other, LOOKUP, &k), KVSQL_OK);
    ck_assert_str_eq(fx.text, "v");

    ck_assert(alone(LOOKUP));
    kv_set_views(fx.db, 1, 0);
    ok("BEGIN");
    gives("v");
    kv_os_sleep_ms(5);
    while (kv_store_tick(kv_db_store(fx.db))) continue;
    ck_assert_int_eq(ask(fx.session, LOOKUP, &k), KVSQL_INTERRUPT);
    ck_assert_ptr_nonnull(strstr(fx.err.text, "view-max-age"));
    ok("ROLLBACK");
    gives("v");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_add_test(tests, only_what_is_one_lookup_is_run_without_sqlite);
    tcase_add_test(tests,
                   a_lookup_gives_what_a_scan_gives_whatever_is_looked_up);
    tcase_add_test(tests, a_lookup_reads_what_its_statement_may_see);
    tcase_add_test(tests, a_name_that_means_another_table_is_noticed);
    tcase_add_test(tests, the_schema_may_change_between_the_key_and_the_lookup);
    tcase_add_test(tests, a_lookup_counts_against_the_limits_and_is_shown);
    tcase_add_test(tests, a_lookup_ends_when_its_session_is_to_end);
}

int main(void)
{
    return unit_run("point", add);
}
