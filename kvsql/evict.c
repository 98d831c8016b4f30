/* evict.c - room under maxmemory: how much is used, which keys go (EV1, EV3).
 *
 * Over maxmemory keys are evicted, but only while what is not held by views
 * alone is over the limit, for evicting what a view holds frees nothing; when
 * none is left that may go, the change is refused. Under noeviction memory that
 * pinned views hold counts too; under the other policies a view, a snapshot
 * say, may hold what is overwritten meanwhile.
 *
 * An eviction is a DEL: an op of the batch that needs the room, or of one of
 * the keeper's when there is more to evict than one command should wait for.
 *
 * Candidates: leaves are taken by chance, all entries of each are looked at,
 * and the 16 best are kept by name, also from one eviction to the next. What
 * was used or changed since is passed over. volatile-ttl takes the keys in
 * order of deadline instead. Keys that have expired go first.
 *
 * Thread: the holder of the store lock, inside a txn. */
#include <string.h>
#include <strings.h>

#include "kvsql/admin.h"
#include "kvsql/lru.h"
#include "kvsql/node_ops.h"

#define EVICT_SAMPLES 5       /* leaves, by default */
#define EVICT_SAMPLES_MAX 64
#define EVICT_LEAF_KEYS 8     /* that may go, expected of each leaf */
#define EVICT_SPARSE 4        /* times as many leaves where there are few */
#define EVICT_KEYS_MAX 64     /* that one command waits for */
#define EVICT_TICK_KEYS 256   /* of the keeper's batch */
#define EVICT_BUFFERS_AGE 64  /* looks that one reading of buffers serves */
#define EVICT_FEW (KV_VICTIMS_MAX / 4 * 3) /* look for better ones */
#define EVICT_EXPIRED UINT64_MAX /* score of what is gone already */

/* ---- policies ---------------------------------------------------------------- */

static const char *const evict_names[] = {
    "noeviction",  "allkeys-lru",  "allkeys-lfu",     "allkeys-random",
    "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"};
#define EVICT_POLICIES (sizeof(evict_names) / sizeof(evict_names[0]))

const char *kv_maxmemory_policy_name(enum kvsql_maxmemory_policy policy)
{
    return (unsigned)policy < EVICT_POLICIES ? evict_names[policy]
                                             : evict_names[KVSQL_NOEVICTION];
}

bool kv_maxmemory_policy_of(const char *name,
                            enum kvsql_maxmemory_policy *policy)
{
    for (unsigned i = 0; i < EVICT_POLICIES; i++) {
        if (strcasecmp(name, evict_names[i]) == 0) {
            *policy = (enum kvsql_maxmemory_policy)i;
            return true;
        }
    }
    return false;
}

static bool evict_volatile(const struct kv_store *store)
{
    return store->evict_policy >= KVSQL_VOLATILE_LRU;
}

static enum kv_lru_mode evict_mode(enum kvsql_maxmemory_policy policy)
{
    if (policy == KVSQL_ALLKEYS_LRU || policy == KVSQL_VOLATILE_LRU)
        return KV_LRU_CLOCK;
    if (policy == KVSQL_ALLKEYS_LFU || policy == KVSQL_VOLATILE_LFU)
        return KV_LRU_FREQ;
    return KV_LRU_NONE;
}

static void evict_forget(struct kv_store *store)
{
    store->victim_count = 0;
}

static void evict_set_policy(struct kv_store *store,
                             enum kvsql_maxmemory_policy policy,
                             unsigned samples)
{
    store->evict_samples = samples == 0                  ? EVICT_SAMPLES
                           : samples > EVICT_SAMPLES_MAX ? EVICT_SAMPLES_MAX
                                                         : samples;
    if (store->evict_policy != policy) {
        store->evict_policy = policy;
        evict_forget(store); /* their scores mean another thing */
        kv_lru_select(store, evict_mode(policy));
    }
}

void kv_store_set_policy(struct kv_store *store,
                         enum kvsql_maxmemory_policy policy, unsigned samples)
{
    kv_lock_take(&store->lock);
    evict_set_policy(store, policy, samples);
    kv_lock_drop(&store->lock);
}

void kv_txn_set_policy(struct kv_txn *txn, enum kvsql_maxmemory_policy policy,
                       unsigned samples)
{
    evict_set_policy(txn->store, policy, samples);
}

void kv_evict_fini(struct kv_store *store)
{
    for (unsigned i = 0; i < KV_VICTIMS_MAX; i++)
        kv_mem_free(KV_MEM_MISC, store->victims[i].key, store->victims[i].cap);
}

/* ---- what is used (M6) --------------------------------------------------------- */

/* Buffers of clients. Those of the wal have a bound of their own (F8), and a
 * burst of writes fills them: it would sweep a small store empty, and each
 * eviction adds to them. The sum is over every thread's counters, so it is not
 * read anew for each command. */
static uint64_t evict_buffers(struct kv_store *store)
{
    if (store->evict_age++ % EVICT_BUFFERS_AGE == 0)
        store->evict_buffers = kv_mem_bytes(KV_MEM_CLIENT);
    return store->evict_buffers;
}

/* More than maxmemory, by what evicting can do something about. The undo log is
 * left out: it holds what the evictions of this batch overwrite. */
static bool evict_over(struct kv_store *store)
{
    const uint64_t max = atomic_load(&store->maxmemory);

    return max != 0 && store->bytes_live + evict_buffers(store) > max;
}

/* LONG views are the undo log of a transaction, not a reader's. */
static bool evict_pinned(const struct kv_store *store)
{
    for (const struct kv_view *v = store->oldest; v != NULL; v = v->newer)
        if (!v->lasting && atomic_load(&v->refs) != 0)
            return true;
    return false;
}

/* More than maxmemory, with what views hold. What only waits for the disk or
 * the keeper to be freed is no reason to refuse. */
static bool evict_full(struct kv_store *store)
{
    const uint64_t max = atomic_load(&store->maxmemory);

    return max != 0 &&
           (evict_over(store) ||
            (store->bytes_live + store->bytes_retired + store->evict_buffers >
                 max &&
             evict_pinned(store)));
}

/* ---- candidates ------------------------------------------------------------------ */

static uint64_t evict_score(const struct kv_store *store,
                            const struct kv_cell *cell, uint64_t now)
{
    if (kv_cell_hidden(cell, now))
        return EVICT_EXPIRED;
    if (store->evict_policy == KVSQL_VOLATILE_TTL)
        return EVICT_EXPIRED - 1 - cell->exp;
    return store->lru_mode == KV_LRU_FREQ
               ? 255 - kv_lru_freq(store, cell->lru, now)
               : kv_lru_idle(store, cell->lru, now);
}

static bool evict_known(const struct kv_store *store, const struct kv_key *key)
{
    for (unsigned i = 0; i < store->victim_count; i++) {
        const struct kv_victim *const v = &store->victims[i];
        if (v->size == key->size && v->cls == key->cls &&
            memcmp(v->key, key->p, key->size) == 0)
            return true;
    }
    return false;
}

/* Keep the key if it is among the best. One that there is no memory for is not
 * kept. */
static void evict_offer(struct kv_store *store, const struct kv_key *key,
                        uint64_t score)
{
    unsigned n = store->victim_count;

    if (evict_known(store, key))
        return;
    /* the place behind the last, or the last: its key's memory is used again */
    struct kv_victim v = store->victims[n < KV_VICTIMS_MAX ? n : n - 1];
    if (key->size >= v.cap) {
        const uint32_t cap = key->size + 32;
        uint8_t *const p = kv_mem_alloc(KV_MEM_MISC, cap);
        if (p == NULL)
            return;
        kv_mem_free(KV_MEM_MISC, v.key, v.cap);
        v.key = p;
        v.cap = cap;
    }
    memcpy(v.key, key->p, key->size);
    v.size = key->size;
    v.cls = key->cls;
    v.score = score;
    if (n < KV_VICTIMS_MAX)
        store->victim_count = ++n;
    unsigned i = n - 1;
    for (; i > 0 && store->victims[i - 1].score < score; i--)
        store->victims[i] = store->victims[i - 1];
    store->victims[i] = v;
}

/* False: it is none that may go. */
static bool evict_offer_entry(struct kv_txn *txn, const struct kv_node *leaf,
                              uint32_t index, uint8_t cls)
{
    struct kv_store *const store = txn->store;
    uint8_t buffer[KV_KEY_BUFFER];
    struct kv_key key = {.cls = cls};
    struct kv_cell cell;
    bool stable;

    entry_cell(leaf, index, &cell);
    if (evict_volatile(store) && cell.exp == 0)
        return false;
    const uint64_t score = evict_score(store, &cell, txn->now);
    if (store->victim_count == KV_VICTIMS_MAX &&
        store->victims[KV_VICTIMS_MAX - 1].score >= score)
        return true;
    key.p = kv_node_key(leaf, index, buffer, &key.size, &stable);
    evict_offer(store, &key, score);
    return true;
}

/* ---- leaves by chance ------------------------------------------------------------- */

/* Keys below a slot that may be chosen: all, or none when keys with expiry are
 * wanted and there is none below. */
static uint64_t evict_weight(const struct kv_inner_slot *slot, bool with_expiry)
{
    return with_expiry && bound_get(slot->min_exp) == BOUND_NONE ? 0
                                                                 : slot->count;
}

static uint64_t evict_root_weight(const struct kv_node *root, bool with_expiry)
{
    if (root == NULL || (with_expiry && kv_tree_bound(root) == BOUND_NONE))
        return 0;
    return kv_tree_count(root);
}

/* A child, each as likely as it has keys; NULL: there is none with expiry (a
 * bound above was too low). */
static const struct kv_node *evict_child(struct kv_store *store,
                                         const struct kv_node *node,
                                         bool with_expiry)
{
    const struct kv_inner_slot *const slot = inner_slots(node);
    uint64_t sum = 0;

    for (uint32_t i = 0; i < node->n; i++)
        sum += evict_weight(&slot[i], with_expiry);
    if (sum == 0)
        return NULL;
    uint64_t rank = kv_random(store, sum);
    for (uint32_t i = 0;; i++) {
        const uint64_t weight = evict_weight(&slot[i], with_expiry);
        if (rank < weight)
            return slot[i].child;
        rank -= weight;
    }
}

/* A leaf, each as likely as it has keys. */
static const struct kv_node *evict_leaf(struct kv_store *store, uint8_t *cls)
{
    const bool with_expiry = evict_volatile(store);
    const uint64_t text =
        evict_root_weight(store->live.keys[KV_TEXT], with_expiry);
    const uint64_t sum =
        text + evict_root_weight(store->live.keys[KV_BLOB], with_expiry);

    if (sum == 0)
        return NULL;
    *cls = kv_random(store, sum) < text ? KV_TEXT : KV_BLOB;
    const struct kv_node *node = store->live.keys[*cls];
    while (node != NULL && node->level > 0)
        node = evict_child(store, node, with_expiry);
    return node;
}

/* ---- filling up -------------------------------------------------------------------- */

/* As many leaves as asked for; more, when few of their keys may go. */
static void evict_sample(struct kv_txn *txn)
{
    const unsigned wanted = txn->store->evict_samples;
    unsigned seen = 0;
    uint8_t cls;

    for (unsigned n = 0;
         n < wanted ||
         (n < wanted * EVICT_SPARSE && seen < wanted * EVICT_LEAF_KEYS);
         n++) {
        const struct kv_node *const leaf = evict_leaf(txn->store, &cls);
        for (uint32_t i = 0; leaf != NULL && i < leaf->n; i++)
            seen += evict_offer_entry(txn, leaf, i, cls);
    }
}

static bool evict_each(void *arg, const struct kv_key *key,
                       const struct kv_item *item)
{
    struct kv_txn *const txn = arg;
    struct kv_cell cell;

    (void)item;
    if (kv_key_find(txn->store, key, &cell))
        evict_offer(txn->store, key,
                    evict_score(txn->store, &cell, txn->now));
    return txn->store->victim_count < KV_VICTIMS_MAX;
}

/* The keys with the soonest deadlines, what has expired among them. */
static void evict_soonest(struct kv_txn *txn)
{
    struct kvsql_error err;
    struct kv_at at;

    kv_at_txn(txn, &at);
    at.now = 0; /* hides nothing */
    /* without memory there are fewer candidates, or none */
    (void)kv_deadlines(&at, 0, INT64_MAX, evict_each, txn, &err);
}

/* A random policy takes one entry of one leaf. */
static void evict_any(struct kv_txn *txn)
{
    struct kv_store *const store = txn->store;
    uint8_t cls;

    evict_forget(store);
    for (unsigned n = 0; n < store->evict_samples && store->victim_count == 0;
         n++) {
        const struct kv_node *const leaf = evict_leaf(store, &cls);
        if (leaf == NULL || leaf->n == 0)
            continue;
        uint32_t i = (uint32_t)kv_random(store, leaf->n);
        for (uint32_t k = 0; k < leaf->n && store->victim_count == 0; k++) {
            (void)evict_offer_entry(txn, leaf, i, cls);
            i = i + 1 < leaf->n ? i + 1 : 0;
        }
    }
}

/* More candidates, and better ones perhaps; false: there are none. */
static bool evict_fill(struct kv_txn *txn)
{
    struct kv_store *const store = txn->store;

    if (evict_volatile(store) && store->tally.with_expiry == 0)
        return false;
    switch (store->evict_policy) {
    case KVSQL_NOEVICTION:
        return false;
    case KVSQL_ALLKEYS_RANDOM:
    case KVSQL_VOLATILE_RANDOM:
        evict_any(txn);
        break;
    case KVSQL_ALLKEYS_LRU:
    case KVSQL_ALLKEYS_LFU:
    case KVSQL_VOLATILE_LRU:
    case KVSQL_VOLATILE_LFU:
        evict_sample(txn);
        break;
    case KVSQL_VOLATILE_TTL:
        evict_soonest(txn);
        break;
    }
    /* few keys with expiry among bounds that are too low: go straight there */
    if (store->victim_count == 0 && evict_volatile(store))
        evict_soonest(txn);
    return store->victim_count > 0;
}

/* ---- evicting ------------------------------------------------------------------------ */

/* Take the best candidate off; false when it is none any more: gone, used or
 * given a later deadline since it was chosen. */
static bool evict_take(struct kv_txn *txn, struct kv_victim *out)
{
    struct kv_store *const store = txn->store;
    const struct kv_victim best = store->victims[0];
    const unsigned last = --store->victim_count;
    const struct kv_key key = {
        .p = best.key, .size = best.size, .cls = best.cls};
    struct kv_cell cell;

    memmove(&store->victims[0], &store->victims[1],
            last * sizeof(store->victims[0]));
    store->victims[last] = best; /* its memory, for the next */
    *out = best;
    if (!kv_key_find(store, &key, &cell) ||
        (evict_volatile(store) && cell.exp == 0))
        return false;
    return evict_score(store, &cell, txn->now) >= best.score;
}

/* Delete one key. NOTFOUND: there is none to delete. */
static kvsql_rc evict_one(struct kv_txn *txn, struct kvsql_error *err)
{
    struct kv_store *const store = txn->store;
    struct kv_victim victim;
    bool existed = false;

    do {
        if (store->victim_count <= EVICT_FEW && !evict_fill(txn))
            return KVSQL_NOTFOUND;
    } while (!evict_take(txn, &victim));
    const struct kv_key key = {
        .p = victim.key, .size = victim.size, .cls = victim.cls};
    const struct kv_mark mark = kv_txn_mark(txn);
    const uint64_t begun = kv_latency_begin(store);
    const kvsql_rc rc = kv_del(txn, &key, &existed, err);
    if (rc != KVSQL_OK)
        return rc;
    kv_latency_end(store, KV_LATENCY_EVICTION_DEL, begun);
    if (existed) /* else it had expired, and is counted so */
        kv_store_count(store, &store->tally.evicted_keys);
    /* room in the leaf is of no use: the block must get smaller */
    if (kv_tree_fit(store, &store->live.keys[key.cls], key.p, key.size))
        return KVSQL_OK;
    kv_txn_restore(txn, mark);
    return kv_fail(err, KVSQL_NOMEM, "eviction: no memory");
}

/* Evict up to `keys` keys while something can be done about it. NOTFOUND: there
 * is no key left that may go. */
static kvsql_rc evict_keys(struct kv_txn *txn, unsigned keys,
                           struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    if (KV_LIKELY(!evict_over(txn->store)))
        return rc;
    kv_txn_tell(txn); /* of what is not evicted */
    const uint64_t begun = kv_latency_begin(txn->store);
    for (unsigned n = 0;
         rc == KVSQL_OK && n < keys && evict_over(txn->store); n++)
        rc = evict_one(txn, err);
    kv_latency_end(txn->store, KV_LATENCY_EVICTION_CYCLE, begun);
    kv_observe_upkeep(txn);
    return rc;
}

/* Before anybody is refused or evicted, readers that hold back too much end
 * (EV3). What they held is freed when they have let go. */
static void evict_views(struct kv_store *store)
{
    const uint64_t max = atomic_load(&store->maxmemory);

    if (store->view_bytes_max != 0 && max != 0 &&
        store->bytes_live + store->bytes_retired + evict_buffers(store) > max)
        kv_view_end_some(store, true);
}

kvsql_rc kv_evict_room(struct kv_txn *txn, struct kvsql_error *err)
{
    struct kv_store *const store = txn->store;
    struct kvsql_error why;
    bool full;

    evict_views(store);
    if (store->evict_policy == KVSQL_NOEVICTION)
        full = evict_full(store);
    else /* what is left after these the keeper evicts */
        full = evict_keys(txn, EVICT_KEYS_MAX, &why) != KVSQL_OK;
    return KV_UNLIKELY(full) ? kv_fail(err, KVSQL_OOM, "command not allowed when used "
                                          "memory > 'maxmemory'.")
                : KVSQL_OK;
}

bool kv_evict_some(struct kv_store *store)
{
    struct kvsql_error err;
    struct kv_txn *txn;

    kv_lock_take(&store->lock);
    store->evict_age = 0; /* buffers are read at each tick */
    evict_views(store);
    const bool over = store->evict_policy != KVSQL_NOEVICTION &&
                      evict_over(store);
    kv_lock_drop(&store->lock);
    if (!over || kv_txn_begin(store->db, true, 0, &txn, &err) != KVSQL_OK)
        return false;
    const kvsql_rc rc = evict_keys(txn, EVICT_TICK_KEYS, &err);
    const bool more = rc == KVSQL_OK && evict_over(store);
    if (rc != KVSQL_OK && rc != KVSQL_NOTFOUND) {
        kv_txn_rollback(txn); /* tried again at the next tick */
        return false;
    }
    return kv_txn_commit(txn, NULL, &err) == KVSQL_OK && more;
}
