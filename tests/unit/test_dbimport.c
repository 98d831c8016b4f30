/* test_dbimport.c - an SQLite file that is imported: what it holds comes in the
 * order of the store, any allocation may fail. What is refused is the matter of
 * tests/api/t_export. */
#include "vtab/dbimport.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kvsql/base/mem.h"
#include "tests/lib/unit.h"
#include "vtab/session.h"

static struct kvsql_error err;
static char path[] = "/tmp/kvsql-dbimport.XXXXXX";

static void setup(void)
{
    static const char sql[] =
        "CREATE TABLE keys(key TEXT PRIMARY KEY, type, expires_at);"
        "CREATE TABLE strings(key, value, expires_at);"
        "CREATE TABLE hashes(value, field, key, expires_at);"
        "CREATE TABLE lists(key, idx, value);"
        "CREATE TABLE zsets(key, member, score);"
        "CREATE TABLE kv_schema(name, sql);"
        "INSERT INTO keys VALUES('','string',1),('h','hash',9),('l','list',5);"
        "INSERT INTO strings VALUES('',1.5,7),('b','',NULL);"
        "INSERT INTO hashes VALUES('w',x'00','h',3),('v','f','h',NULL);"
        "INSERT INTO lists VALUES('l',3,'c'),('l',-1,'a'),('m',0,-5);"
        "INSERT INTO zsets VALUES('z','m',-9e999),('z','a',2);"
        "INSERT INTO kv_schema VALUES('u',"
        "'CREATE VIRTUAL TABLE u USING kv_hash(''u:{id}'', id)')";
    sqlite3 *db;
    int fd;

    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    strcpy(path + sizeof path - 7, "XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static void teardown(void)
{
    ck_assert_int_eq(unlink(path), 0);
}

static void tell(char *out, size_t size, const struct vt_dbimport_row *row)
{
    const size_t n = strlen(out);

    snprintf(out + n, size - n, "%s%.*s/%.*s/%.*s/%g/%lld/%lld ",
             row->first ? "+" : "", (int)row->key.size, (const char *)row->key.p,
             (int)row->name.size, (const char *)row->name.p,
             (int)row->value.size, (const char *)row->value.p, row->score,
             (long long)row->expires_at, (long long)row->field_expires_at);
}

/* All rows behind each other. */
static kvsql_rc told(char *out, size_t size)
{
    struct vt_dbimport *file;
    struct vt_dbimport_row row = {.type = KV_STRING};
    struct vt_dbimport_def def = {.name = {"", 0}};
    kvsql_rc rc = vt_dbimport_open(path, &file, &err);

    out[0] = '\0';
    while (rc == KVSQL_OK && def.name.p != NULL)
        rc = vt_dbimport_define(file, &def, &err);
    while (rc == KVSQL_OK && row.type != KV_NONE) {
        rc = vt_dbimport_next(file, &row, &err);
        if (rc == KVSQL_OK && row.type != KV_NONE)
            tell(out, size, &row);
    }
    vt_dbimport_close(file);
    return rc;
}

#define ALL                                                                   \
    "+//1.5/0/7/7 +b///0/0/0 +h/f/v/0/9/0 h//w/0/9/3 +l//a/0/5/0 "            \
    "l//c/0/5/0 +m//-5/0/0/0 +z/a//2/0/0 z/m//-inf/0/0 "

START_TEST(rows_come_in_the_order_of_the_store)
{
    char text[1024];

    ck_assert_int_eq(told(text, sizeof text), KVSQL_OK);
    ck_assert_str_eq(text, ALL);
}
END_TEST

START_TEST(it_can_be_read_again)
{
    struct vt_dbimport *file;
    struct vt_dbimport_row row;
    struct vt_dbimport_def def;

    ck_assert_int_eq(vt_dbimport_open(path, &file, &err), KVSQL_OK);
    ck_assert_uint_eq(vt_dbimport_rows(file), 9);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(vt_dbimport_next(file, &row, &err), KVSQL_OK);
    ck_assert_uint_eq(vt_dbimport_read(file), 4);
    vt_dbimport_again(file);
    ck_assert_int_eq(vt_dbimport_next(file, &row, &err), KVSQL_OK);
    ck_assert(row.type == KV_STRING && row.first && row.key.size == 0);
    ck_assert_int_eq(vt_dbimport_define(file, &def, &err), KVSQL_OK);
    ck_assert(def.name.size == 1 && memcmp(def.sql.p, "CREATE", 6) == 0);
    ck_assert_int_eq(vt_dbimport_define(file, &def, &err), KVSQL_OK);
    ck_assert_ptr_null(def.name.p);
    vt_dbimport_close(file);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    kvsql_rc rc = KVSQL_NOMEM;
    char text[1024];
    unsigned n = 0;

    while (rc != KVSQL_OK) {
        kv_mem_fail_at(++n, 0);
        rc = told(text, sizeof text);
        kv_mem_fail_at(0, 0);
        ck_assert_msg(rc == KVSQL_OK || rc == KVSQL_NOMEM, "n %u: %s", n,
                      err.text);
    }
    ck_assert_uint_gt(n, 3);
    ck_assert_str_eq(text, ALL);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, rows_come_in_the_order_of_the_store);
    tcase_add_test(tests, it_can_be_read_again);
    tcase_add_test(tests, every_allocation_may_fail);
}

int main(void)
{
    return unit_run("dbimport", add);
}
