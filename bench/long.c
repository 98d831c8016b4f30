/* long.c - an UPDATE of every row in one SQL transaction, taken back: what the
 * whole undo log costs beside LONG views (UN3).
 *
 *   long [COUNT]      COUNT strings of 32 bytes, 1,000,000 unless said
 *
 * Memory is that of the store's blocks, its undo log with the lists of retired
 * blocks, and the log of ops; times are wall clock, taken once.
 *
 * Thread: one; the store runs without its keeper and is ticked by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kvsql/admin.h"
#include "kvsql/store_private.h"
#include "vtab/session.h"

#define KEY "user:%07u:name"

static struct kvsql_error err;

static double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(kvsql_rc rc)
{
    if (rc != KVSQL_OK) {
        fprintf(stderr, "long: %s\n", err.text);
        exit(1);
    }
}

static void run(struct vt_session *session, const char *sql)
{
    struct vt_statement *statement;
    bool row = true;

    must(vt_prepare(session, sql, strlen(sql), NULL, &statement, &err));
    while (row)
        must(vt_step(statement, &row, &err));
    vt_finish(statement);
}

static void fill(kvsql *db, unsigned count)
{
    struct kv_txn *txn;
    char name[32], value[33];

    for (unsigned i = 0; i < count;) {
        must(kv_txn_begin(db, true, 0, &txn, &err));
        for (unsigned k = 0; k < 500 && i < count; k++, i++) {
            const int n = snprintf(name, sizeof(name), KEY, i);
            const struct kv_key key = kv_key_of(name, (size_t)n);
            snprintf(value, sizeof(value), "%032u", i);
            must(kv_set(txn, &key, (kvsql_slice){.p = value, .size = 32}, 0,
                        &err));
        }
        must(kv_txn_commit(txn, NULL, &err));
        while (kv_store_tick(kv_db_store(db)))
            continue;
    }
}

/* The highest resident size since the last call, in kB. */
static unsigned long peak(void)
{
    char line[128];
    unsigned long kb = 0;
    FILE *file = fopen("/proc/self/status", "r");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0)
            kb = strtoul(line + 6, NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    file = fopen("/proc/self/clear_refs", "w");
    if (file != NULL) {
        (void)fputs("5", file);
        (void)fclose(file);
    }
    return kb;
}

static void row(const char *what, double seconds)
{
    const double mb = 1 << 20;

    printf("%-28s %7.2f s %8.1f %8.1f %8.1f %8.1f\n", what, seconds,
           (double)kv_mem_bytes(KV_MEM_NODE) / mb,
           (double)kv_mem_bytes(KV_MEM_UNDO) / mb,
           (double)kv_mem_bytes(KV_MEM_WAL) / mb, (double)peak() / 1024);
}

static void measure(const char *what, size_t limit, unsigned count)
{
    const struct kvsql_options options = {.no_keeper = true};
    const struct vt_limits limits = {.trusted = true};
    struct vt_session *session;
    kvsql *db;
    char text[64];

    must(vt_start(&err));
    must(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err));
    if (limit != 0)
        kv_db_store(db)->undo_txn_max = limit;
    must(vt_session_open(db, &limits, &session, &err));
    fill(db, count);
    printf("%s\n", what);
    row("  filled", 0);
    for (unsigned updates = 1; updates <= 3; updates += 2) {
        double start = now_s();
        must(vt_begin(session, &err));
        for (unsigned i = 0; i < updates; i++)
            run(session, "UPDATE strings SET value = upper(value) || 'x'");
        snprintf(text, sizeof(text), "  %u UPDATE of all rows", updates);
        row(text, now_s() - start);
        start = now_s();
        vt_rollback(session);
        row("  rolled back", now_s() - start);
        start = now_s();
        while (kv_store_tick(kv_db_store(db)))
            continue;
        row("  and what was left freed", now_s() - start);
    }
    vt_session_close(session);
    must(kv_close(db, &err));
}

int main(int argc, char **argv)
{
    const unsigned count =
        argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000;
    int status = 0;

    printf("%-28s %9s %8s %8s %8s %8s\n", "", "time", "data MB", "undo MB",
           "ops MB", "peak RSS");
    fflush(stdout);
    for (unsigned whole = 0; whole < 2 && status == 0; whole++) {
        const pid_t pid = fork();
        if (pid == 0) {
            measure(whole ? "the whole log" : "LONG views",
                    whole ? SIZE_MAX : 0, count);
            exit(0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            status = 1;
    }
    return status != 0;
}
