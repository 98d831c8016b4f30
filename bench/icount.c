/* icount.c - one operation of the store many times, for callgrind to count.
 *
 *   icount KEYS OPERATION[.SHAPE] COUNT
 *
 * Loads KEYS 16-byte keys with 8-byte values, does OPERATION some times to warm
 * up, then COUNT times inside of measured(). The script bench/icount has
 * callgrind collect there only. The keys are random bytes, or as SHAPE says:
 *
 *   named      key:000000012345, in any order
 *   ascending  the same, each loaded key larger than the one before */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/store_private.h"

#define KEY_SIZE 16
#define GROUP 16
#define WARM 2000
#define STEP UINT64_C(104729) /* a prime: names come in no order */

static uint64_t random_state = UINT64_C(88172645463325252);

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static struct kvsql_error err;
static kvsql *db;
static struct kv_store *store;
static struct kv_txn *txn;
static uint8_t (*keys)[KEY_SIZE];
static unsigned loaded;
static volatile uint64_t sink;

static void must(kvsql_rc rc)
{
    if (rc != KVSQL_OK) {
        fprintf(stderr, "icount: %s\n", err.text);
        exit(1);
    }
}

static uint8_t cls = KV_BLOB; /* of all keys: one tree */

static struct kv_key key_at(unsigned i)
{
    return (struct kv_key){.p = keys[i], .size = KEY_SIZE, .cls = cls};
}

static struct kv_key key_any(void)
{
    return key_at((unsigned)(random_next() % loaded));
}

static const uint8_t value[8] = {0xff, 2, 3, 4, 5, 6, 7, 8};

static void make_random(uint8_t key[KEY_SIZE])
{
    for (unsigned k = 0; k < KEY_SIZE; k += 8) {
        const uint64_t r = random_next();
        memcpy(key + k, &r, 8);
    }
    key[0] |= 0x80; /* no text */
}

static void make_name(uint8_t key[KEY_SIZE], uint64_t number)
{
    char name[KEY_SIZE + 1];

    snprintf(name, sizeof(name), "key:%012u", (unsigned)number);
    memcpy(key, name, KEY_SIZE);
}

/* `step` from one name to the next, round and round; 0: random keys. */
static void load(unsigned count, unsigned more, uint64_t step)
{
    const unsigned all = count + more;

    keys = malloc((size_t)all * KEY_SIZE);
    if (keys == NULL)
        exit(1);
    cls = step > 0 ? KV_TEXT : KV_BLOB;
    for (unsigned i = 0; i < all; i++)
        if (step > 0)
            make_name(keys[i], i * step % all);
        else
            make_random(keys[i]);
    for (unsigned i = 0; i < count; i++) {
        const struct kv_key key = key_at(i);
        must(kv_txn_begin(db, true, 0, &txn, &err));
        must(kv_set(txn, &key, (kvsql_slice){value, sizeof(value)}, 0, &err));
        must(kv_txn_commit(txn, NULL, &err));
    }
    loaded = count;
}

static void put(const struct kv_key *key)
{
    static const struct kv_cell cell = {.form = KV_FORM_BYTES,
                                        .cls = KV_BLOB,
                                        .type = KV_STRING,
                                        .size = sizeof(value),
                                        .payload = value};
    struct kv_cell old;
    bool found;

    if (!kv_tree_put(store, &store->live.keys[cls], KV_NODE_TYPED, key->p,
                     key->size, &cell, &old, &found))
        exit(1);
}

static void run_group(const struct kv_at *at, unsigned count)
{
    struct kv_key group[GROUP];
    struct kv_item items[GROUP];
    bool found[GROUP];

    for (unsigned i = 0; i < count; i += GROUP) {
        for (unsigned k = 0; k < GROUP; k++)
            group[k] = key_any();
        kv_get_batch(at, group, items, found, GROUP);
    }
}

static void run_scan(const struct kv_at *at, unsigned count)
{
    struct kv_walk walk = {.root = {at->root->keys[0], at->root->keys[1]}};
    bool ok = kv_walk_first(&walk);

    for (unsigned i = 0; i < count; i++)
        ok = ok && kv_walk_next(&walk) ? true : kv_walk_first(&walk);
}

/* Seek and ten steps of the bare cursor, as the prototype counted. */
static void run_seek(const struct kv_at *at, unsigned count)
{
    struct kv_walk walk = {.root = {at->root->keys[0], at->root->keys[1]}};

    for (unsigned i = 0; i < count; i++) {
        const struct kv_key key = key_any();
        sink += kv_walk_seek(&walk, key.cls, key.p, key.size, false);
        for (unsigned k = 0; k < 10; k++)
            sink += kv_walk_next(&walk);
    }
}

/* The same with key and item filled at each of the eleven places. */
static void run_keys(const struct kv_at *at, unsigned count)
{
    static struct kv_keys cursor;

    for (unsigned i = 0; i < count; i++) {
        const struct kv_key key = key_any();
        kv_keys_init(&cursor, at, 0);
        sink += kv_keys_seek(&cursor, &key, false);
        for (unsigned k = 0; k < 10; k++)
            sink += kv_keys_next(&cursor);
    }
}

/* A view taken and released, with an update between when `update`; then what
 * that retired is collected, as a commit does. No txn is open, or its blocks
 * would wait for its end. */
static void run_view(unsigned count, bool update)
{
    void *block[16];

    for (unsigned i = 0; i < count; i++) {
        if (kv_view_take(store, false) == NULL)
            exit(1);
        if (update) {
            const struct kv_key key = key_any();
            put(&key);
        }
        atomic_fetch_add(&store->unpin_wanted, 1);
        while (kv_view_release_some(store, UINT32_MAX))
            continue;
        for (unsigned n = update ? kv_view_collect(store, block, 16) : 0;
             n-- > 0;)
            kv_block_free(block[n]);
    }
}

enum operation { NOTHING, GET, UPDATE, INSERT, DELETE, RANK, SELECT, SET };
static const char *const operation_name[] = {
    "nothing", "get", "update", "insert", "delete", "rank", "select", "set"};

static void run_one(const struct kv_at *at, enum operation what, unsigned i)
{
    struct kv_key key = key_any();
    struct kv_walk walk;
    struct kv_cell old;
    struct kv_item item;
    bool found;

    switch (what) {
    case NOTHING:
        sink += key.p[0];
        break;
    case GET:
        sink += kv_get(at, &key, &item);
        break;
    case UPDATE:
        put(&key);
        break;
    case INSERT:
        key = key_at(loaded + i);
        put(&key);
        break;
    case DELETE:
        key = key_at(i);
        if (!kv_tree_remove(store, &store->live.keys[cls], key.p, key.size,
                            &old, &found))
            exit(1);
        break;
    case RANK:
        sink += kv_rank(at, &key);
        break;
    case SELECT:
        walk.root[0] = NULL;
        walk.root[1] = at->root->keys[cls];
        sink += kv_walk_rank(&walk, random_next() % loaded);
        break;
    case SET:
        must(kv_set(txn, &key, (kvsql_slice){value, sizeof(value)}, 0, &err));
        break;
    }
}

static void run_many(const struct kv_at *at, const char *name, unsigned count)
{
    static unsigned done;
    unsigned what = 0;

    while (what <= SET && strcmp(operation_name[what], name) != 0)
        what++;
    if (what > SET) {
        fprintf(stderr, "icount: no operation '%s'\n", name);
        exit(2);
    }
    for (unsigned i = 0; i < count; i++)
        run_one(at, (enum operation)what, done++);
}

static void run(const struct kv_at *at, const char *name, unsigned count)
{
    if (strcmp(name, "group") == 0)
        run_group(at, count);
    else if (strcmp(name, "scan") == 0)
        run_scan(at, count);
    else if (strcmp(name, "seek10") == 0)
        run_seek(at, count);
    else if (strcmp(name, "keys10") == 0)
        run_keys(at, count);
    else if (strcmp(name, "view") == 0)
        run_view(count, false);
    else if (strcmp(name, "viewset") == 0)
        run_view(count, true);
    else
        run_many(at, name, count);
}

__attribute__((noinline)) static void measured(const struct kv_at *at,
                                               const char *name, unsigned count)
{
    run(at, name, count);
}

int main(int argc, char **argv)
{
    const struct kvsql_options options = {.no_keeper = true};
    struct kv_at at;

    char *const shape = argc == 4 ? strchr(argv[2], '.') : NULL;
    uint64_t step = 0;
    if (shape != NULL) {
        *shape = 0;
        step = strcmp(shape + 1, "ascending") == 0 ? 1
               : strcmp(shape + 1, "named") == 0   ? STEP
                                                   : 0;
    }
    if (argc != 4 || (shape != NULL && step == 0)) {
        fprintf(stderr, "usage: icount KEYS OPERATION[.named|.ascending] "
                        "COUNT\n");
        return 2;
    }
    const unsigned count = (unsigned)strtoul(argv[3], NULL, 10);
    must(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err));
    store = kv_db_store(db);
    load((unsigned)strtoul(argv[1], NULL, 10), 40000, step);
    must(kv_txn_begin(db, true, 0, &txn, &err));
    if (!kv_room(store, 64u << 20, KV_ROOM_BLOCKS)) /* the log's growth apart */
        return 1;
    kv_at_txn(txn, &at);
    if (strncmp(argv[2], "view", 4) == 0)
        kv_txn_rollback(txn);
    run(&at, argv[2], WARM);
    measured(&at, argv[2], count);
    return 0; /* without the txn's end, which would take everything back */
}
