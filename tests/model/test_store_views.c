/* test_store_views.c - views, undo and the wal's failures in any order (TS2).
 *
 * A random walk over everything that section 5 of the store's design allows:
 * batches with nested marks and views of their own statements, allocations
 * that fail, batches that the sink refuses; views taken, shared, read, kept
 * back until their position is released, dropped unread; positions released
 * late or never (kv_store_fail); the keeper's work in whole ticks and in
 * slices of a few blocks.
 *
 * A third of the time a batch turns long after some hundred bytes of log (UN3),
 * so that marks, views and failures of the wal meet LONG records too.
 *
 *   After each undo the hash over every byte of the store equals the one that
 *   was taken before. Each view says at its end what it said at its begin. In
 *   the end every block is back.
 *
 * KVSQL_MODEL_STEPS makes the walk longer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/admin.h"
#include "tests/lib/clock_fx.h"
#include "tests/lib/rand.h"
#include "tests/lib/store_fx.h"

#define STEPS 6000
#define KEYS 160
#define ELEMENTS 400
#define KEY_BYTES 1200
#define VIEWS 10
#define MARKS 6
#define STATEMENTS 3
#define BATCHES 4096 /* unreleased ones, at most */
#define SHORT (1u << 20) /* bytes of log of a batch that is never long */

static struct rand_state r;
static bool refuse; /* the sink has no room for a batch */
static uint64_t long_taken, long_restored, long_undone, long_failed;

static kvsql_rc sink_reserve(void *arg, size_t size, struct kvsql_error *e)
{
    (void)arg;
    ck_assert_uint_gt(size, 0);
    return refuse ? kv_fail(e, KVSQL_NOMEM, "no room") : KVSQL_OK;
}

static void sink_append(void *arg, uint64_t position, const uint8_t *ops,
                        size_t size, uint64_t count)
{
    (void)arg, (void)ops, (void)size, (void)count;
    ck_assert_uint_eq(position, store->pos);
}

static void setup(void)
{
    const struct kv_sink sink = {.reserve = sink_reserve,
                                 .append = sink_append};

    clock_start(1000000);
    refuse = false;
    store_fx_open(&clock_os);
    kv_store_sink(store, &sink);
}

static void release_all(void)
{
    kv_store_release_to(store, store->pos);
}

/* ---- what a root says ---------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const void *p, size_t size)
{
    const uint8_t *const b = p;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
    return (hash ^ size) * UINT64_C(0x100000001b3);
}

static uint64_t digest_elems(uint64_t hash, const struct kv_at *at,
                             const struct kv_item *item,
                             enum kv_elem_order order)
{
    struct kv_elems elems;

    kv_elems_init(&elems, at, item, order);
    for (bool ok = kv_elems_first(&elems); ok; ok = kv_elems_next(&elems)) {
        const struct kv_elem *const e = &elems.elem;
        hash = mix(hash, e->key.p, e->key.size);
        hash = mix(hash, e->value.p, e->value.size);
        hash = mix(hash, &e->expires_at, sizeof(e->expires_at));
        if (item->type == KV_ZSET)
            hash = mix(hash, &e->score, sizeof(e->score));
    }
    return hash;
}

/* Everything that can be read there, in every order. */
static uint64_t digest(const struct kv_root *root)
{
    const struct kv_at at = {.store = store, .root = root, .now = 1};
    uint64_t hash = mix(1, root->count, sizeof(root->count));
    struct kv_keys keys;
    struct kv_val value;

    kv_keys_init(&keys, &at, 0);
    for (bool ok = kv_keys_first(&keys); ok; ok = kv_keys_next(&keys)) {
        const struct kv_item *const item = &keys.item;
        hash = mix(hash, keys.key.p, keys.key.size);
        hash = mix(hash, &item->expires_at, sizeof(item->expires_at));
        hash = mix(hash, &item->version, sizeof(item->version));
        if (item->type == KV_STRING) {
            kv_item_string(item, &value);
            hash = mix(hash, value.p, value.size);
        } else if (item->type == KV_LIST) {
            hash = digest_elems(hash, &at, item, KV_ELEMS_INDEX);
        } else {
            hash = digest_elems(hash, &at, item, KV_ELEMS_KEY);
        }
        if (item->type == KV_ZSET)
            hash = digest_elems(hash, &at, item, KV_ELEMS_SCORE);
    }
    return hash;
}

/* ---- effects --------------------------------------------------------------------- */

/* Keys of all shapes: short, alike, empty, with NULs, long prefixes, longer
 * than a node keeps. */
static struct kv_key some_key(uint8_t *p, uint32_t n, uint32_t salt)
{
    uint32_t size = 0;

    switch (n % 8) {
    case 0:
        size = (uint32_t)snprintf((char *)p, 64, "user:%u:field", n / 8);
        break;
    case 1:
        size = n / 8 % 12;
        for (uint32_t i = 0; i < size; i++)
            p[i] = (uint8_t)("ab"[n >> i & 1]);
        break;
    case 2:
        memset(p, 'p', 600);
        size = 600 + (uint32_t)snprintf((char *)p + 600, 64, "%06u", n);
        break;
    case 3:
        memset(p, 'L', 300);
        snprintf((char *)p, 64, "%u", n);
        size = 300;
        break;
    case 4:
        memset(p, 0xff, 8);
        size = 1 + n / 8 % 7;
        break;
    case 5:
        memset(p, 'q', 505);
        size = 505 + (uint32_t)snprintf((char *)p + 505, 64, "%u", n);
        break;
    case 6:
        memset(p, 'z', 1100);
        size = 900 + n % 200;
        break;
    default:
        size = (uint32_t)snprintf((char *)p, 64, "%u", n * 2654435761u);
        p[size++] = (uint8_t)(n % 3 == 0 ? 0 : 'x');
        break;
    }
    p[size++] = (uint8_t)('a' + salt);
    return kv_key_of(p, size);
}

static kvsql_slice some_value(uint8_t *p)
{
    size_t size = rand_below(&r, 40);

    if (rand_one_in(&r, 6))
        size = rand_below(&r, 700);
    if (rand_one_in(&r, 4))
        size = (size_t)snprintf((char *)p, 64, "%d", (int)rand_below(&r, 100000));
    else
        memset(p, (int)rand_between(&r, 'a', 'z'), size);
    return (kvsql_slice){.p = p, .size = size};
}

static int64_t some_time(void)
{
    return rand_one_in(&r, 3) ? clock_wall + (int64_t)rand_between(&r, 1, 900)
                              : 0;
}

static kvsql_rc string_effect(struct kv_txn *txn, const struct kv_key *key,
                              uint32_t salt)
{
    uint8_t bytes[1024], name[KEY_BYTES];
    const kvsql_slice value = some_value(bytes);

    switch (rand_below(&r, 8)) {
    case 0:
        return kv_del(txn, key, NULL, &err);
    case 1:
        return kv_expire(txn, key, some_time(), &err);
    case 2: {
        const struct kv_key to =
            some_key(name, (uint32_t)rand_below(&r, KEYS), salt);
        return kv_rename(txn, key, &to, &err);
    }
    case 3:
    case 4:
        return kv_patch(txn, key, rand_below(&r, 300), value, &err);
    case 5: {
        int64_t sum;
        return kv_add(txn, key, (int64_t)rand_below(&r, 300) - 150, &sum,
                      &err);
    }
    default:
        return kv_set(txn, key, value, some_time(), &err);
    }
}

static kvsql_rc list_effect(struct kv_txn *txn, const struct kv_key *key)
{
    uint8_t bytes[1024];
    const kvsql_slice value = some_value(bytes);

    switch (rand_below(&r, 8)) {
    case 0:
        return kv_linsert(txn, key, rand_below(&r, 60), value, &err);
    case 1:
        return kv_lset(txn, key, rand_below(&r, 60), value, &err);
    case 2:
        return kv_lremove(txn, key, rand_below(&r, 40),
                          rand_between(&r, 1, rand_one_in(&r, 9) ? 60 : 4),
                          &err);
    default:
        return kv_push(txn, key, rand_below(&r, 2) ? KV_LEFT : KV_RIGHT, value,
                       &err);
    }
}

static kvsql_rc element_effect(struct kv_txn *txn, const struct kv_key *key,
                               enum kv_type type)
{
    static const double score[] = {0, -0.0, 1, 1, 2.5, -1e300, 1e300};
    uint8_t bytes[1024], name[KEY_BYTES];
    const struct kv_key e =
        some_key(name, (uint32_t)rand_below(&r, ELEMENTS), 0);
    const bool add = !rand_one_in(&r, 4);

    if (type == KV_SET)
        return add ? kv_sadd(txn, key, &e, NULL, &err)
                   : kv_srem(txn, key, &e, NULL, &err);
    if (type == KV_ZSET)
        return add ? kv_zadd(txn, key, &e, score[rand_below(&r, 7)], NULL, &err)
                   : kv_zrem(txn, key, &e, NULL, &err);
    if (rand_one_in(&r, 6))
        return kv_hexpire(txn, key, &e, some_time(), &err);
    return add ? kv_hset(txn, key, &e, some_value(bytes),
                         rand_one_in(&r, 3) ? KV_KEEP_EXPIRY : some_time(),
                         NULL, &err)
               : kv_hdel(txn, key, &e, NULL, &err);
}

/* A key's last byte says what it mostly holds, so that types meet seldom. */
static kvsql_rc effect(struct kv_txn *txn)
{
    uint8_t name[KEY_BYTES];
    const bool large = rand_one_in(&r, 2);
    const uint32_t type = (uint32_t)rand_between(&r, 0, 5);
    const struct kv_key key =
        large ? some_key(name, 8 * type + 2 * (type & 1), type)
              : some_key(name, (uint32_t)rand_below(&r, KEYS), type);

    if (rand_one_in(&r, 3000))
        return kv_flush(txn, &err);
    if (rand_one_in(&r, large ? 900 : 30))
        return kv_del(txn, &key, NULL, &err);
    switch (type) {
    case 0:
    case 1:
        return string_effect(txn, &key, type);
    case 2:
        return list_effect(txn, &key);
    case 3:
        return element_effect(txn, &key, KV_HASH);
    case 4:
        return element_effect(txn, &key, KV_SET);
    default:
        return element_effect(txn, &key, KV_ZSET);
    }
}

/* Keys go as they do when maxmemory is reached (EV3). */
static kvsql_rc evict(struct kv_txn *txn)
{
    kv_set_maxmemory(db, store->bytes_live * rand_between(&r, 80, 99) / 100 +
                             1);
    const kvsql_rc rc = kv_txn_command(txn, true, &err);
    kv_txn_command_done(txn);
    kv_set_maxmemory(db, 0);
    return rc == KVSQL_OOM ? KVSQL_OK : rc; /* nothing may go, or no memory */
}

/* Some key is used: its bytes change, no hash does (LR1). */
static void use(struct kv_txn *txn)
{
    const uint64_t count = store->live.count[0] + store->live.count[1];
    const uint64_t hash = kv_store_hash(store);
    struct kv_keys keys;
    struct kv_at at;

    kv_at_txn(txn, &at);
    kv_keys_init(&keys, &at, 0);
    if (count > 0 && kv_keys_seek_rank(&keys, rand_below(&r, count)))
        kv_item_use(&at, &keys.key, &keys.item);
    ck_assert_uint_eq(kv_store_hash(store), hash);
}

static void check_effect(struct kv_txn *txn)
{
    kvsql_rc rc;

    if (rand_one_in(&r, 8))
        use(txn);
    if (!rand_one_in(&r, 60)) {
        rc = rand_one_in(&r, 40) ? evict(txn) : effect(txn);
    } else { /* TS8: some allocation fails */
        struct kv_mark before = kv_txn_mark(txn);
        const uint64_t hash = kv_store_hash(store);
        kv_mem_fail_at(rand_between(&r, 1, 12), (int)rand_below(&r, 2));
        rc = rand_one_in(&r, 8) ? evict(txn) : effect(txn);
        kv_mem_fail_at(0, 0);
        if (rc == KVSQL_NOMEM) { /* a deletion before it may stand (T4) */
            kv_txn_restore(txn, before);
            ck_assert_uint_eq(kv_store_hash(store), hash);
        }
    }
    ck_assert(rc == KVSQL_OK || rc == KVSQL_NOTFOUND || rc == KVSQL_RANGE ||
              rc == KVSQL_NOTINT || rc == KVSQL_WRONGTYPE ||
              rc == KVSQL_NOMEM);
}

/* ---- a batch ----------------------------------------------------------------------- */

/* The bytes when batch number `position` began: what an undo of it restores. */
static uint64_t hash_begin[BATCHES];

struct walk_mark {
    struct kv_mark mark;
    uint64_t hash;
};

struct statement {
    struct kv_view *view;
    uint64_t digest;
};

static void statement_end(struct statement *s)
{
    if (s->view == NULL)
        return;
    if (!s->view->dropped)
        ck_assert_uint_eq(digest(&s->view->root), s->digest);
    kv_unpin(s->view);
    s->view = NULL;
}

static void statement_step(struct kv_txn *txn, struct statement *s)
{
    statement_end(s);
    if (rand_one_in(&r, 3) || kv_txn_view(txn, &s->view, &err) != KVSQL_OK)
        return;
    s->digest = digest(&store->live);
    ck_assert_uint_eq(digest(&s->view->root), s->digest);
}

/* A boundary: the marks that stand are the ones that may be asked for. Its
 * allocations may fail, itself it cannot. */
static void batch_boundary(struct kv_txn *txn, const struct walk_mark *marks,
                           unsigned depth)
{
    const unsigned before = txn->longs;
    const uint64_t hash = rand_one_in(&r, 20) ? kv_store_hash(store) : 0;

    kv_txn_keep(txn, depth > 0 ? &marks[depth - 1].mark : NULL);
    if (rand_one_in(&r, 30))
        kv_mem_fail_at(rand_between(&r, 1, 3), (int)rand_below(&r, 2));
    kv_txn_step(txn);
    kv_mem_fail_at(0, 0);
    long_taken += txn->longs > before;
    if (hash != 0)
        ck_assert_uint_eq(kv_store_hash(store), hash);
}

static void batch_restore(struct kv_txn *txn, const struct walk_mark *mark)
{
    const unsigned before = txn->longs;

    kv_txn_restore(txn, mark->mark);
    ck_assert_uint_eq(kv_store_hash(store), mark->hash);
    long_restored += txn->longs < before;
}

static void batch_steps(struct kv_txn *txn, struct statement *statements)
{
    struct walk_mark marks[MARKS];
    unsigned depth = 0;
    const uint64_t n = rand_one_in(&r, 10) ? 120 : rand_below(&r, 16);

    for (uint64_t i = 0; i < n; i++) {
        if (!rand_one_in(&r, 4))
            batch_boundary(txn, marks, depth);
        check_effect(txn);
        if (rand_one_in(&r, 12))
            statement_step(txn, &statements[rand_below(&r, STATEMENTS)]);
        if (depth < MARKS && rand_one_in(&r, 12))
            marks[depth++] = (struct walk_mark){.mark = kv_txn_mark(txn),
                                                .hash = kv_store_hash(store)};
        if (depth > 0 && rand_one_in(&r, 20)) {
            depth = (unsigned)rand_below(&r, depth);
            batch_restore(txn, &marks[depth]);
            if (rand_one_in(&r, 2))
                depth++; /* the mark stays good */
        }
        if (depth > 0 && rand_one_in(&r, 30))
            depth = (unsigned)rand_below(&r, depth); /* released */
    }
}

static void batch(void)
{
    struct statement statements[STATEMENTS] = {{NULL, 0}};
    struct kv_txn *const txn = begin();
    const uint64_t hash = kv_store_hash(store);

    hash_begin[(store->pos + 1) % BATCHES] = hash;
    store->undo_txn_max = rand_one_in(&r, 3) ? rand_below(&r, 3000) : SHORT;
    batch_steps(txn, statements);
    if (rand_one_in(&r, 6)) {
        long_undone += txn->longs > 0;
        kv_txn_rollback(txn); /* views may outlive it by a moment */
        ck_assert_uint_eq(kv_store_hash(store), hash);
        for (unsigned i = 0; i < STATEMENTS; i++)
            statement_end(&statements[i]);
        return;
    }
    for (unsigned i = 0; i < STATEMENTS; i++)
        statement_end(&statements[i]);
    refuse = rand_one_in(&r, 15);
    const uint64_t count = kv_txn_count(txn);
    const kvsql_rc rc = kv_txn_commit(txn, NULL, &err);
    ck_assert_int_eq(rc, refuse && count > 0 ? KVSQL_NOMEM : KVSQL_OK);
    if (rc != KVSQL_OK || count == 0)
        ck_assert_uint_eq(kv_store_hash(store), hash);
    refuse = false;
}

/* ---- views from outside ------------------------------------------------------------ */

struct reader {
    struct kv_view *view;
    uint64_t digest;
};
static struct reader readers[VIEWS];

static void reader_end(struct reader *reader)
{
    struct kv_view *const view = reader->view;

    if (view == NULL)
        return;
    /* I7: nobody is inside before its position is released */
    if (!view->dropped && view->pos <= kv_store_released(store))
        ck_assert_uint_eq(digest(&view->root), reader->digest);
    kv_unpin(view);
    reader->view = NULL;
}

/* Like kv_pin, but comes back although the position is not released. */
static void reader_begin(struct reader *reader)
{
    kv_lock_take(&store->lock);
    struct kv_view *view = store->oldest;
    while (view != NULL && (view->inside || view->closing ||
                            view->pos < kv_store_released(store)))
        view = view->newer;
    const bool fresh = view == NULL;
    if (fresh)
        view = kv_view_take(store, false);
    ck_assert_ptr_nonnull(view);
    atomic_fetch_add(&view->refs, 1);
    kv_lock_drop(&store->lock);
    reader->view = view;
    reader->digest = digest(&view->root);
    if (fresh)
        ck_assert_uint_eq(reader->digest, digest(&store->live));
    for (unsigned i = 0; i < VIEWS; i++)
        if (readers[i].view == view)
            ck_assert_uint_eq(readers[i].digest, reader->digest);
}

static void wal_fails(void)
{
    const uint64_t released = kv_store_released(store);
    const uint64_t epoch = kv_store_epoch(store);
    const uint64_t hash = store->pos > released
                              ? hash_begin[(released + 1) % BATCHES]
                              : kv_store_hash(store);

    for (const struct kv_view *view = store->newest; view != NULL;
         view = view->older)
        if (view->lasting && view->pos > released) {
            long_failed++;
            break;
        }
    bool gone[VIEWS];
    for (unsigned i = 0; i < VIEWS; i++)
        gone[i] = readers[i].view == NULL || readers[i].view->dropped;
    kv_store_fail(store);
    ck_assert_uint_eq(kv_store_hash(store), hash);
    ck_assert_uint_eq(kv_store_position(store), released);
    ck_assert_uint_eq(kv_store_epoch(store), epoch + 1);
    for (unsigned i = 0; i < VIEWS; i++)
        if (!gone[i])
            ck_assert_int_eq(readers[i].view->dropped,
                             readers[i].view->pos > released);
}

static void keeper(void)
{
    hash_begin[(store->pos + 1) % BATCHES] = kv_store_hash(store);
    if (rand_one_in(&r, 2)) {
        (void)kv_store_tick(store);
        return;
    }
    kv_lock_take(&store->lock);
    (void)kv_view_release_some(store, (unsigned)rand_between(&r, 1, 9));
    (void)kv_reap_some(store, (unsigned)rand_between(&r, 1, 9));
    kv_lock_drop(&store->lock);
    (void)kv_view_gc(store, (unsigned)rand_between(&r, 1, 200));
}

/* Entries get their lru bytes and lose them, in slices between batches. */
static void policy(void)
{
    static const enum kvsql_maxmemory_policy all[] = {
        KVSQL_NOEVICTION,    KVSQL_ALLKEYS_LRU,     KVSQL_ALLKEYS_LFU,
        KVSQL_VOLATILE_LRU,  KVSQL_VOLATILE_LFU,    KVSQL_ALLKEYS_RANDOM,
        KVSQL_VOLATILE_TTL,  KVSQL_VOLATILE_RANDOM};

    kv_set_maxmemory_policy(db, all[rand_below(&r, 8)],
                            (unsigned)rand_below(&r, 7));
}

static void step(void)
{
    struct reader *const reader = &readers[rand_below(&r, VIEWS)];
    const uint64_t behind = store->pos - kv_store_released(store);

    switch (rand_below(&r, 16)) {
    case 0:
    case 1:
        if (reader->view == NULL)
            reader_begin(reader);
        else
            reader_end(reader);
        break;
    case 2:
    case 3:
    case 4:
        if (behind > 0)
            kv_store_release_to(store,
                                store->pos - rand_below(&r, behind));
        break;
    case 5:
        if (rand_one_in(&r, 6))
            wal_fails();
        break;
    case 6:
    case 7:
    case 8:
        keeper();
        break;
    case 9:
        if (rand_one_in(&r, 20))
            policy();
        pass_ms((int64_t)rand_below(&r, 150));
        break;
    default:
        if (behind < BATCHES - 2)
            batch();
        break;
    }
}

static void settle(void)
{
    for (unsigned i = 0; i < VIEWS; i++)
        reader_end(&readers[i]);
    release_all();
    do {
        while (kv_store_tick(store))
            release_all();
        release_all();
    } while (kv_store_tick(store));
    kv_store_check(store);
    ck_assert_uint_eq(store->pend.count, 0);
    ck_assert_uint_eq(store->dead.count, 0);
    ck_assert_uint_eq(store->reap.count, 0);
    ck_assert_ptr_null(store->oldest);
    ck_assert_uint_eq(store->bytes_retired, 0);
    ck_assert_uint_eq(store->bytes_live, kv_mem_bytes(KV_MEM_NODE));
}

START_TEST(views_and_undo_hold_in_any_order_of_events)
{
    const char *const text = getenv("KVSQL_MODEL_STEPS");
    const uint64_t steps = text != NULL ? strtoull(text, NULL, 10) : STEPS;
    struct kv_at at;
    struct kv_item item = {.type = KV_STRING};

    long_taken = long_restored = long_undone = long_failed = 0;
    r = rand_of(rand_seed("views", 20));
    for (uint64_t i = 0; i < steps; i++) {
        step();
        if (i % 64 == 0) {
            kv_store_check(store);
            ck_assert_uint_eq(store->bytes_live + store->bytes_retired,
                              kv_mem_bytes(KV_MEM_NODE));
        }
        if (i == steps / 2) { /* EN6: entries carry versions from here on */
            struct kv_txn *const txn = begin();
            kv_at_txn(txn, &at);
            (void)kv_item_version(&at, &item);
            commit(txn);
        }
        if (i % 1500 == 1499)
            settle();
    }
    settle();
    printf("LONG views: %llu taken; met by %llu restores, %llu rollbacks, "
           "%llu failures of the wal\n",
           (unsigned long long)long_taken, (unsigned long long)long_restored,
           (unsigned long long)long_undone, (unsigned long long)long_failed);
    ck_assert_uint_gt(long_taken, steps / 20);
    ck_assert_uint_gt(long_restored, steps / 100);
    ck_assert_uint_gt(long_undone, steps / 200);
    ck_assert_uint_gt(long_failed, steps / 1000);
}
END_TEST

/* ---- one thing at a time ------------------------------------------------------------ */

static kvsql_slice text(const char *p)
{
    return (kvsql_slice){.p = p, .size = strlen(p)};
}

static void set(const struct kv_key *key, kvsql_slice value)
{
    struct kv_txn *const txn = begin();

    ck_assert_int_eq(kv_set(txn, key, value, 0, &err), KVSQL_OK);
    commit(txn);
    release_all();
}

/* ST6: the run of ascending keys splits at its end, but a half that gets a
 * long prefix while its keys are blobs does not shrink. */
START_TEST(ascending_keys_behind_a_long_prefix_split)
{
    char name[KEY_BYTES];

    memset(name, 'p', sizeof(name));
    for (unsigned i = 0; i < 4000; i++) {
        const int n = snprintf(name + 600, 64, "%08u", i);
        const struct kv_key key = kv_key_of(name, 600u + (unsigned)n);
        set(&key, text("v"));
    }
    kv_store_check(store);
    ck_assert_uint_eq(store->live.count[0], 4000);
}
END_TEST

/* ST6: nor does the half behind the run, when it gets the larger entry. */
START_TEST(a_run_before_a_full_rest_splits)
{
    char name[64], large[KV_INLINE_MAX];
    struct kv_key key;

    memset(large, 'v', sizeof(large));
    for (unsigned i = 0; i < 14; i++) { /* 1,914 of 2,048 bytes */
        snprintf(name, sizeof(name), "z%02u", i);
        key = kv_key_of(name, strlen(name));
        set(&key, (kvsql_slice){.p = large, .size = sizeof(large) - 4});
    }
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "a%02u", i);
        key = kv_key_of(name, strlen(name));
        set(&key, i % 6 == 5 ? (kvsql_slice){.p = large, .size = sizeof(large)}
                             : text(""));
    }
    kv_store_check(store);
}
END_TEST

/* A reap retires what a view sees without a DEAD record. When the view is
 * dropped by a failure of the wal, nobody would release that. */
START_TEST(what_was_reaped_under_a_dropped_view_is_freed)
{
    const struct kv_key big = kv_key_of("big", 3), k = kv_key_of("k", 1);
    struct kv_txn *txn = begin();
    char name[32];

    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "member:%u", i);
        const struct kv_key member = kv_key_of(name, strlen(name));
        ck_assert_int_eq(kv_sadd(txn, &big, &member, NULL, &err), KVSQL_OK);
    }
    commit(txn);
    txn = begin();
    ck_assert_int_eq(kv_del(txn, &big, NULL, &err), KVSQL_OK);
    commit(txn);
    release_all();
    txn = begin(); /* not released: its view is never read */
    ck_assert_int_eq(kv_set(txn, &k, text("v"), 0, &err), KVSQL_OK);
    commit(txn);
    reader_begin(&readers[0]);
    for (unsigned i = 0; i < 100; i++)
        (void)kv_store_tick(store);
    kv_store_fail(store);
    settle();
}
END_TEST

/* Raising a bound is no change: no version, nothing that waits for a batch
 * which may never come. */
START_TEST(the_keeper_without_an_op_leaves_no_version_and_no_stamp)
{
    const struct kv_key h = kv_key_of("h", 1);
    struct kv_txn *txn = begin();
    struct kv_item item;
    struct kv_at at;
    char name[32];

    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "field:%u", i);
        const struct kv_key f = kv_key_of(name, strlen(name));
        ck_assert_int_eq(kv_hset(txn, &h, &f, text("v"),
                                 i == 250 ? clock_wall + 100 : 0, NULL, &err),
                         KVSQL_OK);
    }
    commit(txn);
    txn = begin();
    const struct kv_key f = kv_key_of("field:250", 9);
    ck_assert_int_eq(kv_hexpire(txn, &h, &f, 0, &err), KVSQL_OK);
    commit(txn);
    release_all();
    txn = begin();
    kv_at_txn(txn, &at);
    ck_assert(kv_get(&at, &h, &item));
    const uint64_t version = kv_item_version(&at, &item);
    commit(txn);
    pass_ms(1000);
    while (kv_store_tick(store))
        continue;
    txn = begin();
    kv_at_txn(txn, &at);
    ck_assert(kv_get(&at, &h, &item));
    ck_assert_uint_eq(kv_item_version(&at, &item), version);
    commit(txn);
    settle(); /* nothing waits */
}
END_TEST

START_TEST(times_at_the_ends_of_the_clock_do_not_wrap)
{
    const struct kv_key k = kv_key_of("k", 1);
    struct kv_item item;
    struct kv_at at;

    struct kv_txn *txn = begin();
    commit(txn);
    clock_wall -= 100000; /* the wall steps back: a skew */
    txn = begin();
    ck_assert_int_eq(kv_set(txn, &k, text("v"), INT64_MAX, &err), KVSQL_OK);
    kv_at_txn(txn, &at);
    ck_assert(kv_get(&at, &k, &item));
    ck_assert_int_gt(item.expires_at, INT64_MAX - 1000000);
    ck_assert_int_eq(kv_expire(txn, &k, INT64_MIN, &err), KVSQL_OK);
    ck_assert(!kv_get(&at, &k, &item));
    commit(txn);
    settle();
}
END_TEST

/* M1: what was half done when memory ended is taken back, so closing finds
 * every block. */
START_TEST(loading_that_runs_out_of_memory_leaves_whole_ops)
{
    const kvsql_slice key = text("list"), value = text("0123456789abcdef");
    uint64_t failed = 0;

    kv_store_sink(store, &(struct kv_sink){.arg = NULL});
    for (uint64_t n = 1; n < 4000; n++) {
        const struct kv_key member = {.p = (const uint8_t *)&n, .size = 8};
        const struct kv_op ops[] = {
            {.kind = KV_OP_PUSH, .key = key, .a = value, .index = n % 2},
            {.kind = KV_OP_ZADD,
             .key = text("zset"),
             .a = kv_slice_of(&member),
             .score = (double)(n % 50)},
            {.kind = KV_OP_SET, .key = kv_slice_of(&member), .a = value}};
        const struct kv_op *const op = &ops[n % 3];
        const uint64_t hash = kv_store_hash(store);
        kv_mem_fail_at(1 + n % 5, 0);
        const kvsql_rc rc = kv_store_load(store, op, &err);
        kv_mem_fail_at(0, 0);
        ck_assert(rc == KVSQL_OK || rc == KVSQL_NOMEM);
        if (rc == KVSQL_NOMEM) {
            failed++;
            ck_assert_uint_eq(kv_store_hash(store), hash);
            ck_assert_int_eq(kv_store_load(store, op, &err), KVSQL_OK);
        }
    }
    ck_assert_uint_gt(failed, 100);
    settle();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, store_fx_close);
    tcase_set_timeout(tests, 600);
    tcase_add_test(tests, ascending_keys_behind_a_long_prefix_split);
    tcase_add_test(tests, a_run_before_a_full_rest_splits);
    tcase_add_test(tests, what_was_reaped_under_a_dropped_view_is_freed);
    tcase_add_test(tests,
                   the_keeper_without_an_op_leaves_no_version_and_no_stamp);
    tcase_add_test(tests, times_at_the_ends_of_the_clock_do_not_wrap);
    tcase_add_test(tests, loading_that_runs_out_of_memory_leaves_whole_ops);
    tcase_add_test(tests, views_and_undo_hold_in_any_order_of_events);
}

int main(void)
{
    return unit_run("views of the store", add);
}
