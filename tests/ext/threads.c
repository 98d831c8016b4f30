/* threads.c - one process, one store, a connection for each thread.
 *
 *   threads EXTENSION DIRECTORY
 *
 * Writers move units between accounts, so that the sum stays; readers add them
 * up in single statements and in transactions, where it must also stay the
 * same. A reader never waits for a writer's disk, a writer that is refused
 * tries again. At the end everything is closed and opened once more. */
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS 8
#define TOTAL 800
#define ROUNDS 150
#define TRIES 1000

static const char *extension, *directory;

static void stop(sqlite3 *sql, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, sql != NULL ? sqlite3_errmsg(sql) : "");
    exit(1);
}

static sqlite3 *connect_store(void)
{
    sqlite3 *sql = NULL;
    char text[4096], *error = NULL;

    if (sqlite3_open(":memory:", &sql) != SQLITE_OK ||
        sqlite3_enable_load_extension(sql, 1) != SQLITE_OK)
        stop(sql, "open");
    if (sqlite3_load_extension(sql, extension, NULL, &error) != SQLITE_OK) {
        fprintf(stderr, "load: %s\n", error);
        exit(1);
    }
    snprintf(text, sizeof(text), "SELECT kv_open('%s')", directory);
    if (sqlite3_exec(sql, text, NULL, NULL, NULL) != SQLITE_OK)
        stop(sql, "kv_open");
    return sql;
}

/* Again while another connection is at it. */
static int run(sqlite3 *sql, const char *text)
{
    for (int i = 0; i < TRIES; i++) {
        int rc = sqlite3_exec(sql, text, NULL, NULL, NULL);
        if (rc == SQLITE_OK) return 1;
        if (rc != SQLITE_BUSY) stop(sql, text);
        if (!sqlite3_get_autocommit(sql)) return 0;
    }
    stop(sql, text);
    return 0;
}

static int number(void *out, int columns, char **value, char **name)
{
    (void)columns;
    (void)name;
    *(int *)out = value[0] != NULL ? atoi(value[0]) : -1;
    return 0;
}

static void check_sum(sqlite3 *sql)
{
    int sum = 0;

    if (sqlite3_exec(sql, "SELECT sum(value + 0) FROM strings", number, &sum,
                     NULL) != SQLITE_OK)
        stop(sql, "sum");
    if (sum != TOTAL) {
        fprintf(stderr, "the sum is %d\n", sum);
        exit(1);
    }
}

static void *move_some(void *arg)
{
    sqlite3 *sql = connect_store();
    unsigned from = (unsigned)(size_t)arg;
    char text[256];

    for (int i = 0; i < ROUNDS; i++) {
        const unsigned to = (from * 5 + (unsigned)i) % ACCOUNTS;
        if (!run(sql, "BEGIN")) continue;
        snprintf(text, sizeof(text),
                 "UPDATE strings SET incr = -1 WHERE key = 'account:%u';"
                 "UPDATE strings SET incr = 1 WHERE key = 'account:%u'",
                 from, to);
        if (run(sql, text) && i % 10 != 9)
            run(sql, "COMMIT");
        else
            run(sql, "ROLLBACK");
        from = to;
    }
    sqlite3_close(sql);
    return NULL;
}

static void *add_up(void *arg)
{
    sqlite3 *sql = connect_store();
    int first = 0, again = 0;

    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        static const char one[] =
            "SELECT value FROM strings WHERE key = 'account:3'";
        check_sum(sql);
        if (!run(sql, "BEGIN") ||
            sqlite3_exec(sql, one, number, &first, NULL) != SQLITE_OK)
            stop(sql, "read");
        check_sum(sql);
        if (sqlite3_exec(sql, one, number, &again, NULL) != SQLITE_OK ||
            again != first)
            stop(sql, "another value in the same transaction");
        run(sql, i % 2 ? "COMMIT" : "ROLLBACK");
    }
    sqlite3_close(sql);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread[4];
    sqlite3 *sql;
    char text[256];

    if (argc != 3) return 2;
    extension = argv[1];
    directory = argv[2];
    sql = connect_store();
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        snprintf(text, sizeof(text),
                 "INSERT INTO strings(key, value) VALUES ('account:%u', %d)", i,
                 TOTAL / ACCOUNTS);
        run(sql, text);
    }
    for (size_t i = 0; i < 4; i++)
        if (pthread_create(&thread[i], NULL, i < 2 ? move_some : add_up,
                           (void *)i) != 0)
            return 2;
    for (size_t i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    check_sum(sql);
    if (sqlite3_close(sql) != SQLITE_OK) stop(sql, "close");
    sql = connect_store();
    check_sum(sql);
    if (sqlite3_close(sql) != SQLITE_OK) stop(sql, "close");
    return 0;
}
