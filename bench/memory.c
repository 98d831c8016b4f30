/* memory.c - bytes that a key or element takes.
 *
 *   memory [COUNT]         COUNT elements, 1,000,000 unless said
 *   memory --large         5,000,000 strings of 16 + 32 bytes
 *
 * Each row runs in a forked child, so that memory starts clean. Peers are what
 * redis-server 7.0.15 takes (bench/redis measures it).
 *
 * Thread: one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lib/bench.h"
#include "kvsql/admin.h"

enum shape { RANDOM8, USER, RANDOM32, RANDOM32TTL, HASH3, HASH, SET, ZSET,
             LIST };
/* A goal beside a peer is a ratio; `bytes` is one of bytes, 0 = none. */
static const struct {
    const char *name;
    double redis, goal, bytes;
} shapes[] = {
    {"B/key random 16+8", 104, 0.33, 34},
    {"B/key user:N:field", 102, 0.25, 25},
    {"B/key random 16+32", 0, 0, 0},
    {"B/key random 16+32 with TTL", 0, 0, 0},
    {"B/key hash of 3 small fields", 120, 0.75, 0},
    {"B/field of a large hash", 88, 0.40, 0},
    {"B/member of a large set", 72, 0.40, 0},
    {"B/member of a large zset", 126, 0.52, 0},
    {"B/element of a large list", 10.1, 1.05, 0},
};

static void add_plain(enum shape shape, unsigned i, uint8_t *value)
{
    char text[48];
    uint64_t bytes[2] = {bench_random(), bench_random()};
    const size_t size = shape == USER || shape == RANDOM8 ? 8 : 32;
    const int64_t at =
        shape == RANDOM32TTL ? kv_now(bench_db) + 1000000 + i : 0;
    struct kv_key key = kv_key_of(bytes, sizeof(bytes));

    if (shape == USER)
        key = kv_key_of(text, (size_t)snprintf(text, sizeof(text),
                                               "user:%u:field", i));
    bench_must(kv_set(bench_txn, &key, (kvsql_slice){value, size}, at,
                      &bench_err));
}

static void add_hash3(unsigned i)
{
    char name[24], field[16], value[16];
    const struct kv_key key =
        kv_key_of(name, (size_t)snprintf(name, sizeof(name), "user:%u", i));

    for (unsigned k = 0; k < 3; k++) {
        const int n = snprintf(field, sizeof(field), "field%u", k);
        const int m = snprintf(value, sizeof(value), "val%u",
                               (unsigned)(bench_random() % 4096));
        const struct kv_key f = kv_key_of(field, (size_t)n);
        bench_must(kv_hset(bench_txn, &key, &f,
                           (kvsql_slice){(void *)value, (size_t)m}, 0, NULL,
                           &bench_err));
    }
}

static void add(unsigned shape, unsigned i)
{
    struct kv_txn *const txn = bench_txn;
    char member[24];
    uint8_t value[32];
    const struct kv_key big = kv_key_of("k", 1);
    const struct kv_key elem = bench_member(member, i);
    kvsql_rc rc = KVSQL_OK;

    for (unsigned k = 0; k < sizeof(value); k += 8) {
        const uint64_t r = bench_random();
        memcpy(value + k, &r, 8);
    }
    if (shape < HASH3)
        add_plain((enum shape)shape, i, value);
    else if (shape == HASH3)
        add_hash3(i);
    else if (shape == HASH)
        rc = kv_hset(txn, &big, &elem, (kvsql_slice){value, 8}, 0, NULL,
                     &bench_err);
    else if (shape == SET)
        rc = kv_sadd(txn, &big, &elem, NULL, &bench_err);
    else if (shape == ZSET)
        rc = kv_zadd(txn, &big, &elem, (double)(bench_random() % 1000000),
                     NULL, &bench_err);
    else
        rc = kv_push(txn, &big, KV_RIGHT, (kvsql_slice){value, 8},
                     &bench_err);
    bench_must(rc);
}

static double resident(void)
{
    unsigned long all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL || fscanf(file, "%lu %lu", &all, &pages) != 2)
        pages = 0;
    if (file != NULL)
        (void)fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double data(void)
{
    struct kv_info info;

    kv_info_get(bench_db, &info);
    return (double)info.memory_data / bench_count;
}

static double filled(unsigned shape)
{
    (void)bench_fill(add, shape);
    (void)bench_tick_all();
    return data();
}

static void measure(unsigned shape)
{
    const double before = resident();
    const double bytes = filled(shape);

    bench_row(shapes[shape].name, bytes, shapes[shape].redis,
              shapes[shape].goal);
    if (shapes[shape].bytes > 0)
        bench_row("  in bytes", bytes, 0, shapes[shape].bytes);
    bench_row("  resident", (resident() - before) / bench_count, 0, 0);
}

static void measure_large(unsigned unused)
{
    const double before = resident();

    (void)unused;
    bench_count = 5000000;
    const double bytes = filled(RANDOM32);
    bench_row("B/key random 16+32, 5M", bytes, 0, 0);
    bench_row("  resident", (resident() - before) / bench_count, 0, 70);
}

/* ---- on top (goal 2) --------------------------------------------------------------- */

static void empty(void)
{
    bench_begin();
    bench_must(kv_flush(bench_txn, &bench_err));
    bench_commit();
    (void)bench_tick_all();
}

/* The first question, from which on versions are kept (EN6). */
static void ask_version(void)
{
    const struct kv_key key = kv_key_of("k", 1);
    struct kv_item item;
    struct kv_at at;

    bench_begin();
    bench_must(kv_set(bench_txn, &key, (kvsql_slice){"v", 1}, 0, &bench_err));
    kv_at_txn(bench_txn, &at);
    if (!kv_get(&at, &key, &item))
        exit(1);
    bench_sink += kv_item_version(&at, &item);
    bench_commit();
}

static void measure_on_top(unsigned shape)
{
    const char *const which = shape == USER ? "user:N:field" : "random 16+8";
    char text[64];
    const double plain = filled(shape);

    kv_set_maxmemory_policy(bench_db, KVSQL_ALLKEYS_LRU, 0);
    (void)bench_tick_all(); /* the keeper's sweep adds them to what is there */
    snprintf(text, sizeof(text), "lru on top, swept in, %s", which);
    bench_row(text, data() - plain, 0, 4);
    empty();
    snprintf(text, sizeof(text), "lru on top, %s", which);
    bench_row(text, filled(shape) - plain, 0, 4);
    kv_set_maxmemory_policy(bench_db, KVSQL_NOEVICTION, 0);
    empty();
    ask_version();
    snprintf(text, sizeof(text), "version on top, %s", which);
    bench_row(text, filled(shape) - plain, 0, 7);
}

static void measure_ttl(unsigned unused)
{
    (void)unused;
    const double plain = filled(RANDOM32);
    empty();
    bench_row("TTL on top, random 16+32", filled(RANDOM32TTL) - plain, 0, 7);
}

int main(int argc, char **argv)
{
    int failed = 0;

    if (argc > 1 && strcmp(argv[1], "--large") == 0) {
        bench_head();
        return bench_forked(measure_large, 0);
    }
    if (argc > 1)
        bench_count = (unsigned)strtoul(argv[1], NULL, 10);
    if (bench_count < 1000 || bench_count > 10000000) {
        fprintf(stderr, "usage: memory [--large | COUNT], COUNT 1000 to "
                        "10000000\n");
        return 2;
    }
    bench_head();
    for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        failed |= bench_forked(measure, i);
    failed |= bench_forked(measure_ttl, 0);
    failed |= bench_forked(measure_on_top, RANDOM8);
    failed |= bench_forked(measure_on_top, USER);
    return failed;
}
