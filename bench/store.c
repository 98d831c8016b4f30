/* store.c - the store alone, without files and doors: bytes and nanoseconds
 * per operation, beside two peers in the same process.
 *
 *   store [COUNT]     COUNT elements, 1,000,000 unless said
 *
 * Each row runs in a forked child, so that memory starts clean. Peers: a
 * chained dict of Redis's shape (entry, key and value are blocks of malloc)
 * and a bare open-addressing table. Both grow by doubling at once and use a
 * cheap hash, which favours them. Times are wall clock, taken once: noise of
 * a busy machine is in them; bench/icount is the steadier judge.
 *
 * Thread: one; the store runs without its keeper and is ticked by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kvsql/inside.h"
#include "kvsql/store.h"

#define KEY_SIZE 16
#define GROUP 16
#define BATCH 20
#define PROBES 500000u

static uint64_t random_state = UINT64_C(88172645463325252);
static struct kvsql_error err;
static kvsql *db;
static struct kv_txn *txn;
static unsigned count = 1000000;
static uint8_t (*keys)[KEY_SIZE];
static volatile uint64_t sink;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static double now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(kvsql_rc rc)
{
    if (rc != KVSQL_OK) {
        fprintf(stderr, "store: %s\n", err.text);
        exit(1);
    }
}

static void *must_alloc(size_t size)
{
    void *p = calloc(1, size);

    if (p == NULL)
        exit(1);
    return p;
}

static void begin(void)
{
    must(kv_txn_begin(db, true, 0, &txn, &err));
}

static void commit(void)
{
    must(kv_txn_commit(txn, NULL, &err));
}

/* Ticks until nothing is left to do; the longest in ns. */
static double tick_all(void)
{
    double longest = 0;

    for (bool more = true; more;) {
        const double from = now_ns();
        more = kv_store_tick(kv_db_store(db));
        const double took = now_ns() - from;
        if (took > longest)
            longest = took;
    }
    return longest;
}

/* One row of the table. A goal of 0 is "none"; ours must not exceed it, as a
 * ratio to the peer when there is one. */
static void row(const char *what, double ours, double peer, double goal)
{
    const double judged = peer > 0 ? ours / peer : ours;

    printf("%-34s %10.1f", what, ours);
    if (peer > 0)
        printf(" %10.1f %7.2f", peer, judged);
    else
        printf(" %10s %7s", "-", "-");
    if (goal > 0)
        printf(" %8.2f  %s\n", goal, judged <= goal ? "met" : "missed");
    else
        printf(" %8s\n", "-");
}

/* ---- memory ---------------------------------------------------------------- */

enum shape { RANDOM8, USER, RANDOM32, RANDOM32TTL, HASH3, HASH, SET, ZSET,
             LIST };
/* What redis-server 7.0.15 took (store.md section 12), and the goal. */
static const struct {
    const char *name;
    double redis, goal;
} shapes[] = {
    {"B/key random 16+8", 104, 0.33},  {"B/key user:N:field", 102, 0.25},
    {"B/key random 16+32", 0, 0},      {"B/key random 16+32 with TTL", 0, 0},
    {"B/key hash of 3 small fields", 120, 0.75},
    {"B/field of a large hash", 88, 0.40},
    {"B/member of a large set", 72, 0.40},
    {"B/member of a large zset", 126, 0.52},
    {"B/element of a large list", 10.1, 1.05},
};

static void add_plain(enum shape shape, unsigned i, uint8_t *value)
{
    char text[48];
    uint64_t bytes[2] = {random_next(), random_next()};
    const size_t size = shape == USER || shape == RANDOM8 ? 8 : 32;
    const int64_t at = shape == RANDOM32TTL ? kv_now(db) + 1000000 + i : 0;
    struct kv_key key = kv_key_of(bytes, sizeof(bytes));

    if (shape == USER)
        key = kv_key_of(text, (size_t)snprintf(text, sizeof(text),
                                               "user:%u:field", i));
    must(kv_set(txn, &key, (kvsql_slice){value, size}, at, &err));
}

static void add_hash3(unsigned i)
{
    char name[24], field[16], value[16];
    const struct kv_key key =
        kv_key_of(name, (size_t)snprintf(name, sizeof(name), "user:%u", i));

    for (unsigned k = 0; k < 3; k++) {
        const int n = snprintf(field, sizeof(field), "field%u", k);
        const int m = snprintf(value, sizeof(value), "val%u",
                               (unsigned)(random_next() % 4096));
        const struct kv_key f = kv_key_of(field, (size_t)n);
        must(kv_hset(txn, &key, &f, (kvsql_slice){(void *)value, (size_t)m}, 0,
                     NULL, &err));
    }
}

/* Members come in a scattered order, each once (7654321 and 10^7 share no
 * divisor): ascending ones would fill leaves fuller than life does. */
static struct kv_key member_of(char text[24], unsigned i)
{
    const unsigned n = (unsigned)((uint64_t)i * 7654321u % 10000000u);

    return kv_key_of(text, (size_t)snprintf(text, 24, "member:%07u", n));
}

static void add(enum shape shape, unsigned i)
{
    char member[24];
    uint8_t value[32];
    const struct kv_key big = kv_key_of("k", 1);
    const struct kv_key elem = member_of(member, i);

    for (unsigned k = 0; k < sizeof(value); k += 8) {
        const uint64_t r = random_next();
        memcpy(value + k, &r, 8);
    }
    if (shape < HASH3)
        add_plain(shape, i, value);
    else if (shape == HASH3)
        add_hash3(i);
    else if (shape == HASH)
        must(kv_hset(txn, &big, &elem, (kvsql_slice){value, 8}, 0, NULL, &err));
    else if (shape == SET)
        must(kv_sadd(txn, &big, &elem, NULL, &err));
    else if (shape == ZSET)
        must(kv_zadd(txn, &big, &elem, (double)(random_next() % 1000000), NULL,
                     &err));
    else
        must(kv_push(txn, &big, KV_RIGHT, (kvsql_slice){value, 8}, &err));
}

static double fill(enum shape shape)
{
    const double from = now_ns();

    for (unsigned i = 0; i < count; i++) {
        if (i % BATCH == 0)
            begin();
        add(shape, i);
        if (i % BATCH == BATCH - 1 || i + 1 == count)
            commit();
    }
    return (now_ns() - from) / count;
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

static void measure_memory(unsigned shape)
{
    struct kv_info info;
    const double before = resident();

    (void)fill((enum shape)shape);
    (void)tick_all();
    kv_info_get(db, &info);
    row(shapes[shape].name, (double)info.memory_data / count,
        shapes[shape].redis, shapes[shape].goal);
    row("  resident", (resident() - before) / count, 0, 0);
}

/* ---- peers ------------------------------------------------------------------- */

struct entry {
    uint8_t *key;   /* 1 byte of header, bytes, NUL */
    uint8_t *value; /* 16 bytes of header, bytes */
    struct entry *next;
};
static struct entry **dict;
static size_t dict_size, dict_used;
struct slot {
    uint8_t key[KEY_SIZE];
    uint64_t value;
};
static struct slot *table; /* key[0] 0 = free: ours have its top bit set */
static size_t table_size, table_used;

static uint64_t hash_of(const uint8_t *key)
{
    uint64_t a, b;

    memcpy(&a, key, 8);
    memcpy(&b, key + 8, 8);
    a = (a ^ (b >> 29) ^ (b << 31)) * UINT64_C(0x9e3779b97f4a7c15);
    return a ^ (a >> 32);
}

static void dict_grow(void)
{
    const size_t size = dict_size ? dict_size * 2 : 4;
    struct entry **bigger = must_alloc(size * sizeof(*bigger));

    for (size_t i = 0; i < dict_size; i++)
        for (struct entry *e = dict[i], *next; e != NULL; e = next) {
            const size_t at = hash_of(e->key + 1) & (size - 1);
            next = e->next;
            e->next = bigger[at];
            bigger[at] = e;
        }
    free(dict);
    dict = bigger;
    dict_size = size;
}

static void dict_put(const uint8_t *key, uint64_t value)
{
    if (dict_used++ == dict_size)
        dict_grow();
    const size_t at = hash_of(key) & (dict_size - 1);
    struct entry *e = must_alloc(sizeof(*e));
    e->key = must_alloc(KEY_SIZE + 2);
    e->value = must_alloc(16 + 8 + 3);
    memcpy(e->key + 1, key, KEY_SIZE);
    memcpy(e->value + 16, &value, 8);
    e->next = dict[at];
    dict[at] = e;
}

static uint64_t dict_get(const uint8_t *key)
{
    uint64_t value = 0;
    struct entry *e = dict[hash_of(key) & (dict_size - 1)];

    while (e != NULL && memcmp(e->key + 1, key, KEY_SIZE) != 0)
        e = e->next;
    if (e != NULL)
        memcpy(&value, e->value + 16, 8);
    return value;
}

static struct slot *table_find(const uint8_t *key)
{
    size_t at = hash_of(key) & (table_size - 1);

    while (table[at].key[0] != 0 && memcmp(table[at].key, key, KEY_SIZE) != 0)
        at = (at + 1) & (table_size - 1);
    return &table[at];
}

static void table_put(const uint8_t *key, uint64_t value)
{
    if (table_used++ * 2 >= table_size) {
        struct slot *old = table;
        const size_t size = table_size;
        table_size = size ? size * 2 : 4;
        table = must_alloc(table_size * sizeof(*table));
        for (size_t i = 0; i < size; i++)
            if (old[i].key[0] != 0)
                *table_find(old[i].key) = old[i];
        free(old);
    }
    struct slot *slot = table_find(key);
    memcpy(slot->key, key, KEY_SIZE);
    slot->value = value;
}

/* ---- times -------------------------------------------------------------------- */

static struct kv_key key_at(unsigned i)
{
    return (struct kv_key){.p = keys[i], .size = KEY_SIZE, .cls = KV_BLOB};
}

static void make_keys(bool ascending)
{
    keys = must_alloc((size_t)count * KEY_SIZE);
    for (unsigned i = 0; i < count; i++) {
        const uint64_t a = ascending ? __builtin_bswap64(i) : random_next();
        const uint64_t b = random_next();
        memcpy(keys[i], &a, 8);
        memcpy(keys[i] + 8, &b, 8);
        keys[i][0] |= 0x80; /* all of class BLOB: one tree */
    }
}

static double insert_ours(void)
{
    const double from = now_ns();

    for (unsigned i = 0; i < count; i++) {
        const struct kv_key key = key_at(i);
        const uint64_t value = (uint64_t)i * 2654435761u | 255;
        if (i % BATCH == 0)
            begin();
        must(kv_set(txn, &key, (kvsql_slice){(const void *)&value, 8}, 0,
                    &err));
        if (i % BATCH == BATCH - 1 || i + 1 == count)
            commit();
    }
    return (now_ns() - from) / count;
}

static double insert_peer(void (*put)(const uint8_t *, uint64_t))
{
    const double from = now_ns();

    for (unsigned i = 0; i < count; i++)
        put(keys[i], (uint64_t)i * 2654435761u | 255);
    return (now_ns() - from) / count;
}

static struct kv_at at;

static uint64_t ours_get(const uint8_t *p)
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

static uint64_t table_get(const uint8_t *key)
{
    return table_find(key)->value;
}

/* Each key is chosen by the value before it, so nothing overlaps. */
static double get_dependent(uint64_t (*get)(const uint8_t *))
{
    uint64_t last = 0;
    const double from = now_ns();

    for (unsigned i = 0; i < PROBES; i++)
        last = get(keys[(random_next() ^ last) % count]);
    sink += last;
    return (now_ns() - from) / PROBES;
}

static double get_groups(void)
{
    const double from = now_ns();

    for (unsigned i = 0; i < PROBES; i += GROUP) {
        struct kv_key group[GROUP];
        struct kv_item items[GROUP];
        bool found[GROUP];
        for (unsigned k = 0; k < GROUP; k++)
            group[k] = key_at((unsigned)(random_next() % count));
        kv_get_batch(&at, group, items, found, GROUP);
        sink += found[0];
    }
    return (now_ns() - from) / PROBES;
}

static void measure_gets(unsigned in_cache)
{
    if (in_cache)
        count = 2000;
    make_keys(false);
    const double ours = insert_ours(), chained = insert_peer(dict_put);
    const double open = insert_peer(table_put);
    begin();
    kv_at_txn(txn, &at);
    const double get = get_dependent(ours_get);
    if (in_cache) {
        row("get in cache, 2,000 keys, ns", get, 0, 60);
        row("  beside open addressing", get, get_dependent(table_get), 0);
        return;
    }
    row("insert random, ns / dict", ours, chained, 1.05);
    row("  beside open addressing", ours, open, 0);
    row("get dependent, ns / dict", get, get_dependent(dict_get), 0.85);
    row("  beside open addressing", get, get_dependent(table_get), 1.4);
    row("get in groups of 16, ns / single", get_groups(), get, 0.35);
    commit();
}

static void measure_ascending(unsigned unused)
{
    (void)unused;
    make_keys(true);
    const double ours = insert_ours();
    row("insert ascending, ns / dict", ours, insert_peer(dict_put), 0.30);
}

static double scan_dict(void)
{
    const double from = now_ns();

    for (size_t i = 0; i < dict_size; i++)
        for (const struct entry *e = dict[i]; e != NULL; e = e->next)
            sink += e->key[1] + e->value[16];
    return (now_ns() - from) / count;
}

static void measure_scan(unsigned unused)
{
    static struct kv_keys cursor;
    unsigned seen = 0;

    (void)unused;
    make_keys(false);
    (void)insert_ours();
    (void)insert_peer(dict_put);
    begin();
    kv_at_txn(txn, &at);
    double from = now_ns();
    kv_keys_init(&cursor, &at, 0);
    for (bool ok = kv_keys_first(&cursor); ok; ok = kv_keys_next(&cursor))
        seen++;
    if (seen != count)
        exit(1);
    row("scan per key, ns / dict", (now_ns() - from) / count, scan_dict(),
        0.35);
    from = now_ns();
    for (unsigned i = 0; i < PROBES / 10; i++) {
        const struct kv_key key = key_at((unsigned)(random_next() % count));
        sink += kv_keys_seek(&cursor, &key, false);
        for (unsigned k = 0; k < 10; k++)
            sink += kv_keys_next(&cursor);
    }
    row("seek + 10, ns / LMDB's 1589", (now_ns() - from) / (PROBES / 10), 1589,
        0.9);
    commit();
}

static void measure_views(unsigned unused)
{
    struct kv_view *view;
    const unsigned times = 100000;

    (void)unused;
    make_keys(false);
    (void)insert_ours();
    const double from = now_ns();
    for (unsigned i = 0; i < times; i++) {
        must(kv_pin(db, &view, &err));
        kv_unpin(view);
    }
    row("pin + unpin, nothing between, ns", (now_ns() - from) / times, 0, 1000);
    (void)tick_all();
    const double plain = insert_ours();
    must(kv_pin(db, &view, &err));
    row("overwrite all under a view / plain", insert_ours(), plain, 0);
    row("  once more / plain", insert_ours(), plain, 1.3);
    kv_unpin(view);
    row("view release: longest tick, us", tick_all() / 1e3, 0, 200);
    begin();
    must(kv_flush(txn, &err));
    commit();
    row("FLUSHALL: longest tick, us", tick_all() / 1e3, 0, 200);
}

static void measure_zset(unsigned unused)
{
    struct kv_item item;
    uint64_t rank;
    char member[24];
    const struct kv_key key = kv_key_of("k", 1);

    (void)unused;
    row("zset insert, ns / 2464", fill(ZSET), 2464, 0.65);
    begin();
    kv_at_txn(txn, &at);
    if (!kv_get(&at, &key, &item))
        exit(1);
    double from = now_ns();
    for (unsigned i = 0; i < PROBES; i++) {
        const struct kv_key m =
            member_of(member, (unsigned)(random_next() % count));
        if (!kv_elem_rank(&at, &item, &m, &rank))
            exit(1);
    }
    row("zset rank, ns / 2930", (now_ns() - from) / PROBES, 2930, 0.3);
    static struct kv_elems cursor;
    kv_elems_init(&cursor, &at, &item, KV_ELEMS_SCORE);
    from = now_ns();
    for (unsigned i = 0; i < PROBES; i++)
        sink += kv_elems_seek_rank(&cursor, random_next() % count);
    row("zset by rank, ns / 2330", (now_ns() - from) / PROBES, 2330, 0.3);
    commit();
}

static void measure_list(unsigned unused)
{
    struct kv_item item;
    struct kv_elem elem;
    const struct kv_key key = kv_key_of("k", 1);

    (void)unused;
    row("list push, ns", fill(LIST), 0, 150);
    begin();
    kv_at_txn(txn, &at);
    if (!kv_get(&at, &key, &item))
        exit(1);
    double from = now_ns();
    for (unsigned i = 0; i < PROBES; i++)
        sink += kv_elem_at(&at, &item, random_next() % count, &elem);
    row("list index, ns", (now_ns() - from) / PROBES, 0, 400);
    const unsigned pops = count / 2;
    from = now_ns();
    for (unsigned i = 0; i < pops; i++)
        must(kv_lremove(txn, &key, 0, 1, &err));
    row("list pop left, ns", (now_ns() - from) / pops, 0, 0);
    commit();
}

static int run_forked(void (*measure)(unsigned), unsigned arg)
{
    const struct kvsql_options options = {.no_keeper = true};
    int status;

    (void)fflush(stdout);
    const pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        must(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err));
        measure(arg);
        (void)fflush(stdout);
        _exit(0);
    }
    return waitpid(child, &status, 0) != child || status != 0;
}

int main(int argc, char **argv)
{
    int failed = 0;

    if (argc > 1)
        count = (unsigned)strtoul(argv[1], NULL, 10);
    if (count < 1000 || count > 10000000) {
        fprintf(stderr, "usage: store [COUNT], 1000 to 10000000\n");
        return 2;
    }
    printf("%-34s %10s %10s %7s %8s\n", "what", "ours", "peer", "ratio", "goal");
    for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        failed |= run_forked(measure_memory, i);
    failed |= run_forked(measure_gets, 0);
    failed |= run_forked(measure_gets, 1);
    failed |= run_forked(measure_ascending, 0);
    failed |= run_forked(measure_scan, 0);
    failed |= run_forked(measure_views, 0);
    failed |= run_forked(measure_zset, 0);
    failed |= run_forked(measure_list, 0);
    return failed;
}
