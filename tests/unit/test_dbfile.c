/* test_dbfile.c - rows of a statement as an SQLite file: every value comes back
 * as it was, and memory may run out. */
#include "vtab/dbfile.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/mem.h"
#include "tests/lib/unit.h"

static struct kvsql_error err;
static kvsql *db;
static struct vt_session *session;

static void setup(void)
{
    const struct vt_limits limits = {.trusted = true};

    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(kvsql_open(NULL, NULL, &db, &err), KVSQL_OK);
    ck_assert_int_eq(vt_session_open(db, &limits, &session, &err), KVSQL_OK);
}

static void teardown(void)
{
    vt_session_close(session);
    ck_assert_int_eq(kvsql_close(db, &err), KVSQL_OK);
}

/* The file of a statement, into `out`. */
static kvsql_rc make(const char *sql, struct kv_buf *out)
{
    struct vt_statement *statement = NULL;
    struct vt_dbfile *file = NULL;
    bool row;
    kvsql_rc rc = vt_prepare(session, sql, strlen(sql), NULL, &statement, &err);

    if (rc == KVSQL_OK)
        rc = vt_dbfile_open(statement, &file, &err);
    while (rc == KVSQL_OK && (rc = vt_step(statement, &row, &err)) == KVSQL_OK &&
           row)
        rc = vt_dbfile_row(file, &err);
    if (rc == KVSQL_OK)
        rc = vt_dbfile_bytes(file, out, &err);
    vt_dbfile_close(file);
    if (statement != NULL)
        vt_finish(statement);
    return rc;
}

/* One text that a stock SQLite says of the file. */
static const char *told(struct kv_buf *file, const char *sql)
{
    static char text[512];
    sqlite3_stmt *statement;
    sqlite3 *stock;

    ck_assert_int_eq(sqlite3_open(":memory:", &stock), SQLITE_OK);
    ck_assert_int_eq(sqlite3_deserialize(stock, "main", file->p,
                                         (sqlite3_int64)file->size,
                                         (sqlite3_int64)file->size,
                                         SQLITE_DESERIALIZE_READONLY),
                     SQLITE_OK);
    ck_assert_msg(sqlite3_prepare_v2(stock, sql, -1, &statement, NULL) ==
                      SQLITE_OK,
                  "%s", sqlite3_errmsg(stock));
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    snprintf(text, sizeof text, "%s", sqlite3_column_text(statement, 0));
    ck_assert_int_eq(sqlite3_finalize(statement), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(stock), SQLITE_OK);
    return text;
}

START_TEST(values_keep_their_types)
{
    struct kv_buf out;

    kv_buf_init(&out, KV_MEM_CLIENT, 1u << 20);
    ck_assert_int_eq(make("SELECT NULL AS n, 9223372036854775807 AS i, "
                          "2.5 AS r, 'a' || char(0) || 'b' AS t, x'00ff' AS b, "
                          "'' AS e, x'' AS z, '5' AS five",
                          &out),
                     KVSQL_OK);
    ck_assert_str_eq(
        told(&out, "SELECT typeof(n)||','||i||','||typeof(r)||r||','||"
                   "hex(t)||typeof(t)||','||hex(b)||typeof(b)||','||typeof(e)"
                   "||length(e)||','||typeof(z)||length(z)||','||typeof(five) "
                   "FROM result"),
        "null,9223372036854775807,real2.5,610062text,00FFblob,text0,blob0,"
        "text");
    ck_assert_str_eq(told(&out, "PRAGMA integrity_check"), "ok");
    kv_buf_fini(&out);
}
END_TEST

START_TEST(columns_of_one_name_are_told_apart)
{
    struct kv_buf out;

    kv_buf_init(&out, KV_MEM_CLIENT, 1u << 20);
    ck_assert_int_eq(make("SELECT 1 AS a, 2 AS A, 3 AS a, 4 AS \"q\"\"x\" "
                          "UNION ALL SELECT 5, 6, 7, 8",
                          &out),
                     KVSQL_OK);
    ck_assert_str_eq(told(&out, "SELECT group_concat(name) FROM "
                                "pragma_table_info('result')"),
                     "a,A:1,a:2,q\"x");
    ck_assert_str_eq(told(&out, "SELECT count(*)||sum(\"a:2\") FROM result"),
                     "210");
    kv_buf_fini(&out);
}
END_TEST

START_TEST(no_rows_are_a_table_and_no_columns_are_none)
{
    struct kv_buf out;

    kv_buf_init(&out, KV_MEM_CLIENT, 1u << 20);
    ck_assert_int_eq(make("SELECT key FROM keys", &out), KVSQL_OK);
    ck_assert_str_eq(told(&out, "SELECT count(*) FROM result"), "0");
    ck_assert_int_eq(make("DELETE FROM keys", &out), KVSQL_INVALID);
    kv_buf_fini(&out);
    kv_buf_init(&out, KV_MEM_CLIENT, 100);
    ck_assert_int_eq(make("SELECT 1", &out), KVSQL_TOOBIG);
    kv_buf_fini(&out);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    struct kv_buf out;
    kvsql_rc rc = KVSQL_NOMEM;
    unsigned n = 0;

    kv_buf_init(&out, KV_MEM_CLIENT, 1u << 20);
    while (rc != KVSQL_OK) {
        kv_buf_reset(&out, 0);
        kv_mem_fail_at(++n, 0);
        rc = make("SELECT 1 AS a, 'b' AS b", &out);
        kv_mem_fail_at(0, 0);
        ck_assert_msg(rc == KVSQL_OK || rc == KVSQL_NOMEM, "%u: %s", n,
                      err.text);
    }
    ck_assert_uint_gt(n, 1);
    ck_assert_str_eq(told(&out, "SELECT a||b FROM result"), "1b");
    kv_buf_fini(&out);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, values_keep_their_types);
    tcase_add_test(tests, columns_of_one_name_are_told_apart);
    tcase_add_test(tests, no_rows_are_a_table_and_no_columns_are_none);
    tcase_add_test(tests, every_allocation_may_fail);
}

int main(void)
{
    return unit_run("dbfile", add);
}
