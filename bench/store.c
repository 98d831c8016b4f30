/* store.c - the store alone, without files and doors: nanoseconds per
 * operation, beside two peers in the same process (bench/lib/peers.h).
 *
 *   store [COUNT]     COUNT elements, 1,000,000 unless said
 *   store --large     lookups among 10,000,000 keys
 *
 * Each group of rows runs in a forked child, so that memory starts clean. Times
 * are of the processor, taken once: neighbours that use the caches are in them;
 * bench/icount is the steadier judge. bench/memory measures bytes.
 *
 * "tree" rows change the tree with its undo log, which is what stands beside a
 * dict; "store" rows are whole transactions of 20 with their ops.
 *
 * Thread: one; the store runs without its keeper and is ticked by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/bench.h"
#include "bench/lib/peers.h"
#include "kvsql/store_private.h"

#define GROUP 16
#define PROBES 500000u
#define LOG_GROUP 256 /* changes whose log is kept at once (goal 13) */

static uint8_t (*keys)[KEY_SIZE];
static struct kv_at at;

static struct kv_key key_at(unsigned i)
{
    return (struct kv_key){.p = keys[i], .size = KEY_SIZE, .cls = KV_BLOB};
}

static struct kv_key key_any(void)
{
    return key_at((unsigned)(bench_random() % bench_count));
}

static uint64_t value_of(unsigned i)
{
    return (uint64_t)i * 2654435761u | 255;
}

static void make_keys(unsigned count, bool ascending)
{
    keys = bench_alloc((size_t)count * KEY_SIZE);
    for (unsigned i = 0; i < count; i++) {
        const uint64_t a = ascending ? __builtin_bswap64(i) : bench_random();
        const uint64_t b = bench_random();
        memcpy(keys[i], &a, 8);
        memcpy(keys[i] + 8, &b, 8);
        keys[i][0] |= 0x80; /* all of class BLOB: one tree */
    }
}

/* ---- inserting ------------------------------------------------------------------ */

static void set(unsigned unused, unsigned i)
{
    const struct kv_key key = key_at(i);
    const uint64_t value = value_of(i);

    (void)unused;
    bench_must(kv_set(bench_txn, &key, (kvsql_slice){(const void *)&value, 8},
                      0, &bench_err));
}

/* What a commit does about the log and what was retired. */
static void tree_forget(struct kv_store *store)
{
    void *block[128];

    kv_undo_trim(store);
    const unsigned n = kv_view_collect(store, block, 128);
    for (unsigned i = 0; i < n; i++)
        kv_block_free(block[i]);
}

/* Keys [from, to) into the tree, the log of `group` kept; ns for each. */
static double tree_fill(unsigned from, unsigned to, unsigned group)
{
    struct kv_store *const store = kv_db_store(bench_db);
    const double begun = bench_now();

    for (unsigned i = from; i < to; i++) {
        const uint64_t value = value_of(i);
        const struct kv_cell cell = {.form = KV_FORM_BYTES,
                                     .cls = KV_BLOB,
                                     .type = KV_STRING,
                                     .size = 8,
                                     .payload = (const void *)&value};
        struct kv_cell old;
        bool found;
        if (!kv_tree_put(store, &store->live.keys[KV_BLOB], KV_NODE_TYPED,
                         keys[i], KEY_SIZE, &cell, &old, &found))
            exit(1);
        if (i % group == 0)
            tree_forget(store);
    }
    return (bench_now() - begun) / (to - from);
}

static double fill_peer(void (*put)(const uint8_t *, uint64_t))
{
    const double from = bench_now();

    for (unsigned i = 0; i < bench_count; i++)
        put(keys[i], value_of(i));
    return (bench_now() - from) / bench_count;
}

static void measure_inserts(unsigned ascending)
{
    const char *const how = ascending ? "ascending" : "random";
    const double goal = ascending ? 0.30 : 1.05;
    char text[64];

    make_keys(bench_count, ascending);
    const double dict = fill_peer(peer_dict_put);
    const double table = fill_peer(peer_table_put);
    snprintf(text, sizeof(text), "tree: insert %s, ns / dict", how);
    bench_row(text, tree_fill(0, bench_count, BENCH_BATCH), dict, goal);
    bench_begin();
    bench_must(kv_flush(bench_txn, &bench_err));
    bench_commit();
    (void)bench_tick_all();
    snprintf(text, sizeof(text), "store: insert %s, ns / dict", how);
    const double ours = bench_fill(set, 0);
    bench_row(text, ours, dict, goal);
    bench_row("  beside open addressing", ours, table, 0);
}

/* Slices with the log and without it by turns. `twice`: keys that are there. */
static void compare_log(const char *what, unsigned from, double goal)
{
    struct kv_store *const store = kv_db_store(bench_db);
    const unsigned slice = bench_count / 20;
    double took[2] = {0, 0};

    for (unsigned i = 0; i < 20; i++) {
        store->undo_off = i % 2 == 0;
        took[i % 2] +=
            tree_fill(from + i * slice, from + (i + 1) * slice, LOG_GROUP);
    }
    store->undo_off = false;
    bench_row(what, took[1] / 10, took[0] / 10, goal);
}

static void measure_log(unsigned unused)
{
    (void)unused;
    make_keys(2 * bench_count, false);
    (void)tree_fill(0, bench_count, LOG_GROUP);
    compare_log("tree: update, ns / without its log", 0, 1.05);
    compare_log("tree: insert, ns / without its log", bench_count, 1.10);
}

/* ---- looking up ------------------------------------------------------------------- */

static uint64_t get_ours(const uint8_t *p)
{
    const struct kv_key key = {.p = p, .size = KEY_SIZE, .cls = KV_BLOB};
    struct kv_item item;
    struct kv_val value;
    uint64_t out = 0;

    if (!kv_get(&at, &key, &item))
        exit(1);
    kv_item_string(&item, &value);
    memcpy(&out, value.p, 8);
    return out;
}

/* Each key is chosen by the value before it, so nothing overlaps. */
static double get_dependent(uint64_t (*get)(const uint8_t *))
{
    uint64_t last = 0;
    const double from = bench_now();

    for (unsigned i = 0; i < PROBES; i++)
        last = get(keys[(bench_random() ^ last) % bench_count]);
    bench_sink += last;
    return (bench_now() - from) / PROBES;
}

static double get_groups(void)
{
    const double from = bench_now();

    for (unsigned i = 0; i < PROBES; i += GROUP) {
        struct kv_key group[GROUP];
        struct kv_item items[GROUP];
        bool found[GROUP];
        for (unsigned k = 0; k < GROUP; k++)
            group[k] = key_any();
        kv_get_batch(&at, group, items, found, GROUP);
        bench_sink += found[0];
    }
    return (bench_now() - from) / PROBES;
}

static void measure_gets(unsigned unused)
{
    (void)unused;
    make_keys(bench_count, false);
    (void)bench_fill(set, 0);
    (void)fill_peer(peer_dict_put);
    (void)fill_peer(peer_table_put);
    bench_begin();
    kv_at_txn(bench_txn, &at);
    const double ours = get_dependent(get_ours);
    bench_row("get dependent, ns / dict", ours, get_dependent(peer_dict_get),
              0.85);
    bench_row("  beside open addressing", ours,
              get_dependent(peer_table_get), 1.4);
    bench_row("get in groups of 16, ns / single", get_groups(), ours, 0.35);
}

static void measure_in_cache(unsigned unused)
{
    (void)unused;
    bench_count = 2000;
    make_keys(bench_count, false);
    (void)bench_fill(set, 0);
    (void)fill_peer(peer_dict_put);
    (void)fill_peer(peer_table_put);
    bench_begin();
    kv_at_txn(bench_txn, &at);
    const double ours = get_dependent(get_ours);
    bench_row("get in cache, 2,000 keys, ns", ours, 0, 60);
    bench_row("  beside the dict", ours, get_dependent(peer_dict_get), 0);
    bench_row("  beside open addressing", ours,
              get_dependent(peer_table_get), 0);
}

/* ---- in order ----------------------------------------------------------------------- */

/* The bare cursor, reading a byte of each key and value as the dict's walks
 * do. */
static double scan_bare(void)
{
    struct kv_walk walk = {.root = {at.root->keys[0], at.root->keys[1]}};
    uint64_t sum = 0;
    unsigned seen = 0;
    const double from = bench_now();

    for (bool ok = kv_walk_first(&walk); ok; ok = kv_walk_next(&walk)) {
        struct kv_cell cell;
        const struct kv_node *const leaf = kv_walk_leaf(&walk);
        entry_cell(leaf, kv_walk_index(&walk), &cell);
        sum += (uint64_t)leaf_slots(leaf)[kv_walk_index(&walk)].head +
               cell.payload[0];
        seen++;
    }
    bench_sink += sum;
    if (seen != bench_count)
        exit(1);
    return (bench_now() - from) / seen;
}

static double scan_filled(struct kv_keys *cursor)
{
    unsigned seen = 0;
    const double from = bench_now();

    kv_keys_init(cursor, &at, 0);
    for (bool ok = kv_keys_first(cursor); ok; ok = kv_keys_next(cursor)) {
        bench_sink += cursor->key.p[0];
        seen++;
    }
    return (bench_now() - from) / seen;
}

static double scan_peer(uint64_t (*scan)(void))
{
    const double from = bench_now();

    bench_sink += scan();
    return (bench_now() - from) / bench_count;
}

static void measure_scan(unsigned unused)
{
    static struct kv_keys cursor;

    (void)unused;
    make_keys(bench_count, false);
    (void)bench_fill(set, 0);
    (void)fill_peer(peer_dict_put);
    bench_begin();
    kv_at_txn(bench_txn, &at);
    const double bare = scan_bare();
    bench_row("scan per key, ns / dict's SCAN", bare,
              scan_peer(peer_dict_scan), 0.35);
    bench_row("  beside its buckets in a row", bare,
              scan_peer(peer_dict_walk), 0);
    bench_row("  key and item filled", scan_filled(&cursor), 0, 0);
    const double from = bench_now();
    for (unsigned i = 0; i < PROBES / 10; i++) {
        const struct kv_key key = key_any();
        bench_sink += kv_keys_seek(&cursor, &key, false);
        for (unsigned k = 0; k < 10; k++)
            bench_sink += kv_keys_next(&cursor);
    }
    bench_row("seek + 10, ns / LMDB's 1589",
              (bench_now() - from) / (PROBES / 10), 1589, 0.9);
}

/* ---- views ------------------------------------------------------------------------------ */

/* Pins with a change before each, so that each takes a view; ns of take and
 * pin, and of the call that gives it back. */
static void measure_pins(void)
{
    const unsigned times = 20000;
    struct kv_view *view;
    double pin = 0, unpin = 0;

    for (unsigned i = 0; i < times; i++) {
        bench_begin();
        set(0, i);
        bench_commit();
        const double a = bench_wall();
        bench_must(kv_pin(bench_db, &view, &bench_err));
        const double b = bench_wall();
        kv_unpin(view);
        unpin += bench_wall() - b;
        pin += b - a;
        (void)kv_store_tick(kv_db_store(bench_db));
    }
    bench_row("take + pin, a change before each, ns", pin / times, 0, 1000);
    bench_row("release call, ns", unpin / times, 0, 5000);
}

/* The first change of a node under a view copies it: one write in 25 under a
 * fresh view each time, beside as many without one. */
static void measure_first_touch(void)
{
    const unsigned slice = bench_count / 25;
    const unsigned all = bench_count;
    uint8_t (*const first)[KEY_SIZE] = keys;
    struct kv_view *view;
    double plain = 0, under = 0;

    bench_count = slice;
    for (unsigned i = 0; i < 10; i += 2) {
        keys = first + (size_t)i * slice;
        plain += bench_fill(set, 0) / 5;
        bench_must(kv_pin(bench_db, &view, &bench_err));
        keys = first + (size_t)(i + 1) * slice;
        under += bench_fill(set, 0) / 5;
        kv_unpin(view);
        (void)bench_tick_all();
    }
    keys = first;
    bench_count = all;
    bench_row("first touch under a view / plain", under, plain, 2.0);
}

static void measure_views(unsigned unused)
{
    struct kv_view *view;

    (void)unused;
    make_keys(bench_count, false);
    (void)bench_fill(set, 0);
    measure_pins();
    (void)bench_tick_all();
    measure_first_touch();
    const double plain = bench_fill(set, 0);
    bench_must(kv_pin(bench_db, &view, &bench_err));
    bench_row("overwrite all under a view / plain", bench_fill(set, 0), plain,
              0);
    bench_row("  once more / plain", bench_fill(set, 0), plain, 1.3);
    kv_unpin(view);
    bench_row("view release: longest tick, us", bench_tick_all() / 1e3, 0,
              200);
    bench_begin();
    bench_must(kv_flush(bench_txn, &bench_err));
    bench_commit();
    bench_row("FLUSHALL: longest tick, us", bench_tick_all() / 1e3, 0, 200);
}

/* ---- collections --------------------------------------------------------------------------- */

static const char *const big = "k";

static void add_member(unsigned unused, unsigned i)
{
    const struct kv_key key = kv_key_of(big, 1);
    char text[24];
    const struct kv_key member = bench_member(text, i);

    (void)unused;
    bench_must(kv_zadd(bench_txn, &key, &member,
                       (double)(bench_random() % 1000000), NULL, &bench_err));
}

static void add_item(unsigned unused, unsigned i)
{
    const struct kv_key key = kv_key_of(big, 1);
    const uint64_t value = value_of(i);

    (void)unused;
    bench_must(kv_push(bench_txn, &key, KV_RIGHT,
                       (kvsql_slice){(const void *)&value, 8}, &bench_err));
}

static void find_big(struct kv_item *item)
{
    const struct kv_key key = kv_key_of(big, 1);

    bench_begin();
    kv_at_txn(bench_txn, &at);
    if (!kv_get(&at, &key, item))
        exit(1);
}

static void measure_zset(unsigned unused)
{
    static struct kv_elems cursor;
    struct kv_item item;
    uint64_t rank;
    char text[24];

    (void)unused;
    bench_row("zset insert, ns / 2464", bench_fill(add_member, 0), 2464, 0.65);
    find_big(&item);
    double from = bench_now();
    for (unsigned i = 0; i < PROBES; i++) {
        const struct kv_key m =
            bench_member(text, (unsigned)(bench_random() % bench_count));
        if (!kv_elem_rank(&at, &item, &m, &rank))
            exit(1);
    }
    bench_row("zset rank, ns / 2930", (bench_now() - from) / PROBES, 2930,
              0.3);
    kv_elems_init(&cursor, &at, &item, KV_ELEMS_SCORE);
    from = bench_now();
    for (unsigned i = 0; i < PROBES; i++)
        bench_sink += kv_elems_seek_rank(&cursor, bench_random() % bench_count);
    bench_row("zset by rank, ns / 2330", (bench_now() - from) / PROBES, 2330,
              0.3);
    const unsigned times = PROBES / 25;
    from = bench_now();
    for (unsigned i = 0; i < times; i++) {
        bench_sink +=
            kv_elems_seek_rank(&cursor, bench_random() % (bench_count - 100));
        for (unsigned k = 1; k < 100; k++)
            bench_sink += kv_elems_next(&cursor);
    }
    bench_row("zset 100 rows by rank, ns / 20840", (bench_now() - from) / times,
              20840, 0.2);
}

static void measure_list(unsigned unused)
{
    const struct kv_key key = kv_key_of(big, 1);
    struct kv_item item;
    struct kv_elem elem;

    (void)unused;
    bench_row("list push, ns", bench_fill(add_item, 0), 0, 150);
    find_big(&item);
    double from = bench_now();
    for (unsigned i = 0; i < PROBES; i++)
        bench_sink += kv_elem_at(&at, &item, bench_random() % bench_count,
                                 &elem);
    bench_row("list index, ns", (bench_now() - from) / PROBES, 0, 400);
    const unsigned pops = bench_count / 2;
    from = bench_now();
    for (unsigned i = 0; i < pops; i++)
        bench_must(kv_lremove(bench_txn, &key, 0, 1, &bench_err));
    bench_row("list pop left, ns", (bench_now() - from) / pops, 0, 0);
    bench_commit();
}

int main(int argc, char **argv)
{
    int failed = 0;

    if (argc > 1 && strcmp(argv[1], "--large") == 0) {
        bench_count = 10000000;
        bench_head();
        return bench_forked(measure_gets, 0);
    }
    if (argc > 1)
        bench_count = (unsigned)strtoul(argv[1], NULL, 10);
    if (bench_count < 1000 || bench_count > 10000000) {
        fprintf(stderr, "usage: store [--large | COUNT], COUNT 1000 to "
                        "10000000\n");
        return 2;
    }
    bench_head();
    failed |= bench_forked(measure_inserts, false);
    failed |= bench_forked(measure_inserts, true);
    failed |= bench_forked(measure_log, 0);
    failed |= bench_forked(measure_gets, 0);
    failed |= bench_forked(measure_in_cache, 0);
    failed |= bench_forked(measure_scan, 0);
    failed |= bench_forked(measure_views, 0);
    failed |= bench_forked(measure_zset, 0);
    failed |= bench_forked(measure_list, 0);
    return failed;
}
