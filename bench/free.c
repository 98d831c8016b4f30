/* free.c - the longest tick while something huge is freed (TS9).
 *
 *   free [COUNT]      a sorted set of COUNT members, 10,000,000 unless said, and
 *                     a fifth as many strings
 *
 * A tick's time is that of its thread's processor, which other programs do not
 * disturb; wall time stands beside it. Between two ticks some keys are written.
 *
 * Thread: one; the store runs without its keeper and is ticked by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kvsql/admin.h"
#include "kvsql/store_private.h"

static struct kvsql_error err;
static kvsql *db;

static double now_us(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(kvsql_rc rc)
{
    if (rc != KVSQL_OK) {
        fprintf(stderr, "free: %s\n", err.text);
        exit(1);
    }
}

static void set(struct kv_txn *txn, unsigned n, const char *value)
{
    char name[32];
    const int size = snprintf(name, sizeof(name), "key:%u", n);
    const struct kv_key key = kv_key_of(name, (size_t)size);

    must(kv_set(txn, &key, (kvsql_slice){.p = value, .size = strlen(value)}, 0,
                &err));
}

static void set_all(unsigned count, const char *value)
{
    struct kv_txn *txn;

    for (unsigned i = 0; i < count;) {
        must(kv_txn_begin(db, true, 0, &txn, &err));
        for (unsigned k = 0; k < 100 && i < count; k++, i++)
            set(txn, (unsigned)((uint64_t)i * 7919 % count), value);
        must(kv_txn_commit(txn, NULL, &err));
    }
}

static void fill_zset(unsigned count)
{
    const struct kv_key zset = kv_key_of("zset", 4);
    struct kv_txn *txn;
    char name[32];

    for (unsigned i = 0; i < count;) {
        must(kv_txn_begin(db, true, 0, &txn, &err));
        for (unsigned k = 0; k < 100 && i < count; k++, i++) {
            const int n = snprintf(name, sizeof(name), "member:%u", i);
            const struct kv_key member = kv_key_of(name, (size_t)n);
            must(kv_zadd(txn, &zset, &member,
                         (double)((uint64_t)i * 7919 % count), NULL, &err));
        }
        must(kv_txn_commit(txn, NULL, &err));
        (void)kv_store_tick(kv_db_store(db));
    }
}

/* Tick until nothing is left, with `writes` changes between two. */
static void drain(const char *what, unsigned writes)
{
    double longest = 0, longest_wall = 0, all = 0;
    struct kv_txn *txn;
    unsigned ticks = 0;
    bool more = true;

    while (more) {
        if (writes > 0) {
            must(kv_txn_begin(db, true, 0, &txn, &err));
            for (unsigned i = 0; i < writes; i++)
                set(txn, ticks * 31 + i * 7, "a value");
            must(kv_txn_commit(txn, NULL, &err));
        }
        const double wall = now_us(CLOCK_MONOTONIC);
        const double cpu = now_us(CLOCK_THREAD_CPUTIME_ID);
        more = kv_store_tick(kv_db_store(db));
        const double used = now_us(CLOCK_THREAD_CPUTIME_ID) - cpu;
        const double passed = now_us(CLOCK_MONOTONIC) - wall;
        longest = used > longest ? used : longest;
        longest_wall = passed > longest_wall ? passed : longest_wall;
        all += used;
        ticks++;
    }
    printf("%-34s %8u %9.1f ms %8.0f us %8.0f us %s\n", what, ticks,
           all / 1e3, longest, longest_wall, longest <= 1000 ? "met" : "missed");
}

int main(int argc, char **argv)
{
    const struct kvsql_options options = {.no_keeper = true};
    const unsigned count =
        argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000000;
    const struct kv_key zset = kv_key_of("zset", 4);
    struct kv_view *view;
    struct kv_txn *txn;

    printf("%-34s %8s %12s %11s %11s goal: 1 ms\n", "", "ticks", "in all",
           "longest", "wall");
    must(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err));
    set_all(count / 5, "a value of some length");
    fill_zset(count);
    must(kv_txn_begin(db, true, 0, &txn, &err));
    must(kv_del(txn, &zset, NULL, &err));
    must(kv_txn_commit(txn, NULL, &err));
    drain("DEL of the sorted set, writes", 20);
    must(kv_pin(db, &view, &err));
    set_all(count / 5, "a value of another length, longer");
    kv_unpin(view);
    drain("view behind which all was written", 0);
    fill_zset(count / 5);
    must(kv_txn_begin(db, true, 0, &txn, &err));
    must(kv_flush(txn, &err));
    must(kv_txn_commit(txn, NULL, &err));
    drain("FLUSHALL", 0);
    must(kv_close(db, &err));
    return 0;
}
