/* program.c - a stranger's program on the single file: put, close, open again,
 * get, and ask in SQL. Exit 0 when the value is still there. */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "kvsql.h"

static int fail(const char *what, const struct kvsql_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    return 1;
}

static int seen(void *found, int columns, char **value, char **name)
{
    (void)name;
    *(int *)found = columns == 1 && strcmp(value[0], "value!") == 0;
    return 0;
}

/* The store's tables in a connection of the program. */
static int ask(kvsql *db, struct kvsql_error *err)
{
    sqlite3 *sql = NULL;
    int found = 0;

    if (sqlite3_open(":memory:", &sql) != SQLITE_OK ||
        kvsql_sql_register(db, sql, err) != KVSQL_OK)
        return fail("register", err);
    if (sqlite3_exec(sql, "UPDATE strings SET append = '!' WHERE key = 'key';"
                          "SELECT value FROM strings",
                     seen, &found, NULL) != SQLITE_OK ||
        !found)
        return fail(sqlite3_errmsg(sql), err);
    return sqlite3_close(sql) != SQLITE_OK;
}

int main(int argc, char **argv)
{
    const struct kvsql_options options = {.fsync = KVSQL_FSYNC_ALWAYS};
    struct kvsql_error err = {.rc = KVSQL_OK};
    kvsql_bytes value = {NULL, 0};
    kvsql *db = NULL;

    if (argc != 2)
        return 2;
    if (kvsql_open(argv[1], &options, &db, &err) != KVSQL_OK)
        return fail("open", &err);
    if (kvsql_put(db, (kvsql_slice){"key", 3}, (kvsql_slice){"value", 5}, 0,
                  &err) != KVSQL_OK)
        return fail("put", &err);
    if (kvsql_close(db, &err) != KVSQL_OK)
        return fail("close", &err);
    if (kvsql_open(argv[1], &options, &db, &err) != KVSQL_OK)
        return fail("open again", &err);
    if (kvsql_get(db, (kvsql_slice){"key", 3}, &value, &err) != KVSQL_OK)
        return fail("get", &err);
    if (value.size != 5 || memcmp(value.p, "value", 5) != 0)
        return fail("compare", &err);
    kvsql_bytes_free(&value);
    if (ask(db, &err) != 0)
        return 1;
    if (kvsql_close(db, &err) != KVSQL_OK)
        return fail("close again", &err);
    return 0;
}
