/* lru.c - when and how often a key was used: three bytes in its entry (EV2).
 *
 *   CLOCK  store time in seconds, 24 bits little endian; they go round in 194
 *          days, so a key that was idle for longer seems younger
 *   FREQ   u8 counter | u16 minutes of its last decay, little endian
 *
 * The counter grows with a chance of 1 / (lfu-log-factor x counter + 1), with
 * the usual 10 so that 255 stands for about a million uses, and loses one for
 * each lfu-decay-time minutes that pass, 1 as a rule: the numbers and the ways
 * of Redis. A new key begins with 5.
 *
 * The bytes are there while something needs them: a policy of maxmemory, or,
 * from the first time anyone asks how long a key has been idle, every key that
 * is asked about or written afterwards; when SQL asks, which cannot write, every
 * key. When a policy comes or goes, the keeper
 * visits all keys and adds, resets or removes the bytes.
 *
 * Always true:
 *   LR1  they are written by the holder of the store lock alone, one relaxed
 *        atomic store each, even in blocks that views see; they are not
 *        logged, not announced to the undo log, and no checksum holds them.
 *   LR2  reading a key through a view, in SQL or in an export is no use of it.
 *   LR3  one command uses a key once, however often it looks.
 *
 * Thread: the holder of the store lock. */
#include "kvsql/admin.h"
#include "kvsql/lru.h"

#include <string.h>

#include "kvsql/tree.h"

#define LRU_CLOCK_MASK 0xffffffu
#define LRU_FREQ_NEW 5
#define LRU_FREQ_MAX 255
#define LRU_SWEEP_KEYS 256  /* of one tick */

static uint32_t lru_load(const uint8_t *p)
{
    return (uint32_t)__atomic_load_n(p, __ATOMIC_RELAXED) |
           (uint32_t)__atomic_load_n(p + 1, __ATOMIC_RELAXED) << 8 |
           (uint32_t)__atomic_load_n(p + 2, __ATOMIC_RELAXED) << 16;
}

static void lru_store(const uint8_t *place, uint32_t value)
{
    uint8_t *const p = (uint8_t *)(uintptr_t)place; /* LR1 */

    __atomic_store_n(p, (uint8_t)value, __ATOMIC_RELAXED);
    __atomic_store_n(p + 1, (uint8_t)(value >> 8), __ATOMIC_RELAXED);
    __atomic_store_n(p + 2, (uint8_t)(value >> 16), __ATOMIC_RELAXED);
}

/* ---- values ---------------------------------------------------------------- */

static uint32_t lru_clock(uint64_t now)
{
    return (uint32_t)(now / 1000) & LRU_CLOCK_MASK;
}

static uint32_t lru_minutes(uint64_t now)
{
    return (uint32_t)(now / 60000) & 0xffff;
}

/* The counter as it is now; it never decays when lfu-decay-time is 0. */
static uint32_t lru_decayed(const struct kv_store *store, uint32_t value,
                            uint64_t now)
{
    const uint32_t counter = value & 0xff;
    const uint32_t passed = (lru_minutes(now) - (value >> 8)) & 0xffff;
    const uint32_t each =
        __atomic_load_n(&store->lfu_minutes, __ATOMIC_RELAXED);
    const uint32_t lost = each > 0 ? passed / each : 0;

    return lost > counter ? 0 : counter - lost;
}

static uint32_t lru_grown(struct kv_store *store, uint32_t counter)
{
    const uint64_t base = counter > LRU_FREQ_NEW ? counter - LRU_FREQ_NEW : 0;

    if (counter == LRU_FREQ_MAX)
        return counter;
    return counter + (kv_random(store, base * store->lfu_factor + 1) == 0);
}

/* What a key has that nobody used yet. */
static uint32_t lru_new(const struct kv_store *store, uint64_t now)
{
    return store->lru_mode == KV_LRU_FREQ
               ? lru_minutes(now) << 8 | LRU_FREQ_NEW
               : lru_clock(now);
}

static uint32_t lru_used(struct kv_store *store, uint64_t now, uint32_t value)
{
    if (store->lru_mode != KV_LRU_FREQ)
        return lru_clock(now);
    return lru_minutes(now) << 8 |
           lru_grown(store, lru_decayed(store, value, now));
}

uint64_t kv_random(struct kv_store *store, uint64_t below)
{
    uint64_t x = store->random;

    if (x == 0) { /* the first: xorshift needs one that is not 0 */
        store->os->random(store->os->arg, &x, sizeof(x));
        x |= 1;
    }
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    store->random = x;
    return x % below;
}

/* ---- use --------------------------------------------------------------------- */

/* LR3: a command names its key by the same bytes each time. */
static bool lru_first_use(struct kv_txn *txn, const struct kv_key *key)
{
    if (txn->used_key == key->p && txn->used_size == key->size)
        return false;
    txn->used_key = key->p;
    txn->used_size = key->size;
    return true;
}

void kv_lru_use(struct kv_txn *txn, const struct kv_key *key,
                const uint8_t *place)
{
    struct kv_store *const store = txn->store;

    if (place == NULL || store->lru_mode == KV_LRU_NONE ||
        !lru_first_use(txn, key))
        return;
    const uint32_t value = lru_load(place);
    const uint32_t used = lru_used(store, txn->now, value);
    if (used != value) /* else the line stays clean */
        lru_store(place, used);
}

void kv_item_note(const struct kv_at *at, const struct kv_key *key,
                  const struct kv_item *item)
{
    if (at->live)
        kv_lru_use(&at->store->txn, key, item->lru);
}

/* A counter lives on when the value is replaced; `given` may be the cell of
 * the entry that goes, or of another key (RENAME). */
const uint8_t *kv_lru_written(struct kv_txn *txn, const struct kv_key *key,
                              const struct kv_cell *given,
                              uint8_t out[KV_LRU_SIZE])
{
    struct kv_store *const store = txn->store;
    struct kv_cell was = {.lru = NULL};
    uint32_t value = lru_new(store, txn->now);

    if (store->lru_mode == KV_LRU_FREQ) {
        if (!kv_key_find(store, key, &was) || was.lru == NULL)
            was.lru = given->lru;
        if (was.lru != NULL) {
            value = lru_load(was.lru);
            if (lru_first_use(txn, key))
                value = lru_used(store, txn->now, value);
        }
    }
    lru_store(out, value);
    return out;
}

uint32_t kv_lru_idle(const struct kv_store *store, const uint8_t *place,
                     uint64_t now)
{
    if (place == NULL || store->lru_mode != KV_LRU_CLOCK)
        return 0;
    return (lru_clock(now) - lru_load(place)) & LRU_CLOCK_MASK;
}

uint32_t kv_lru_freq(const struct kv_store *store, const uint8_t *place,
                     uint64_t now)
{
    if (place == NULL || store->lru_mode != KV_LRU_FREQ)
        return LRU_FREQ_NEW;
    return lru_decayed(store, lru_load(place), now);
}

/* Views are read without the lock, and ask what the bytes mean. */
static void lru_mode_set(struct kv_store *store, enum kv_lru_mode mode)
{
    __atomic_store_n(&store->lru_mode, mode, __ATOMIC_RELAXED);
}

int64_t kv_item_idle_at(const struct kv_at *at, const struct kv_item *item)
{
    struct kv_store *const store = at->store;

    if (__atomic_load_n(&store->lru_mode, __ATOMIC_RELAXED) == KV_LRU_NONE) {
        if (!at->live)
            kv_lock_take(&store->lock);
        store->lru_asked = true;
        kv_lru_select(store, KV_LRU_CLOCK); /* the keeper does the rest */
        if (!at->live)
            kv_lock_drop(&store->lock);
    }
    if (item->lru == NULL ||
        __atomic_load_n(&store->lru_mode, __ATOMIC_RELAXED) != KV_LRU_CLOCK)
        return -1;
    const uint32_t idle = (lru_clock(at->now) - lru_load(item->lru)) &
                          LRU_CLOCK_MASK;
    /* used after `at` began */
    return idle > LRU_CLOCK_MASK / 2 ? 0 : (int64_t)idle * 1000;
}

/* Redis's sentences. */
static kvsql_rc lru_no_idle(struct kvsql_error *err)
{
    return kv_fail(err, KVSQL_INVALID,
                   "An LFU maxmemory policy is selected, idle time not "
                   "tracked. " KV_LRU_NOTE);
}

static kvsql_rc lru_no_freq(struct kvsql_error *err)
{
    return kv_fail(err, KVSQL_INVALID,
                   "An LFU maxmemory policy is not selected, access "
                   "frequency not tracked. " KV_LRU_NOTE);
}

kvsql_rc kv_item_idle_seen(const struct kv_at *at, const struct kv_item *item,
                           uint64_t *idle, struct kvsql_error *err)
{
    const int64_t ms = kv_item_idle_at(at, item);

    *idle = ms > 0 ? (uint64_t)ms / 1000 : 0;
    return __atomic_load_n(&at->store->lru_mode, __ATOMIC_RELAXED) ==
                   KV_LRU_FREQ
               ? lru_no_idle(err)
               : KVSQL_OK;
}

kvsql_rc kv_item_freq_seen(const struct kv_at *at, const struct kv_item *item,
                           uint64_t *freq, struct kvsql_error *err)
{
    const struct kv_store *const store = at->store;

    *freq = 0;
    if (__atomic_load_n(&store->lru_mode, __ATOMIC_RELAXED) != KV_LRU_FREQ)
        return lru_no_freq(err);
    *freq = item->lru == NULL
                ? LRU_FREQ_NEW
                : lru_decayed(store, lru_load(item->lru), at->now);
    return KVSQL_OK;
}

/* ---- putting the bytes in, and taking them out --------------------------------- */

/* Write the key's entry anew, with or without the bytes; no change of the key. */
static bool lru_rewrite(struct kv_txn *txn, const struct kv_key *key,
                        const struct kv_cell *given)
{
    struct kv_store *const store = txn->store;
    struct kv_cell cell = *given, old;
    uint8_t bytes[KV_LRU_SIZE], payload[KV_INLINE_MAX];
    bool found;

    if (!entry_has_ptr(cell.form) && cell.size > 0) {
        memcpy(payload, given->payload, cell.size);
        cell.payload = payload;
    }
    cell.lru = NULL;
    if (store->lru_mode != KV_LRU_NONE) {
        lru_store(bytes, lru_new(store, txn->now));
        cell.lru = bytes;
    }
    txn->keep_bounds = true;
    return kv_tree_put(store, &store->live.keys[key->cls], KV_NODE_TYPED,
                       key->p, key->size, &cell, &old, &found);
}

kvsql_rc kv_item_idle(struct kv_txn *txn, const struct kv_key *key,
                      uint64_t *idle, struct kvsql_error *err)
{
    struct kv_store *const store = txn->store;
    const struct kv_mark mark = kv_txn_mark(txn);
    struct kv_cell cell;

    *idle = 0;
    if (!kv_key_find(store, key, &cell) || kv_cell_hidden(&cell, txn->now))
        return kv_fail(err, KVSQL_NOTFOUND, "no such key");
    if (store->lru_mode == KV_LRU_FREQ)
        return lru_no_idle(err);
    store->lru_asked = true;
    lru_mode_set(store, KV_LRU_CLOCK);
    *idle = kv_lru_idle(store, cell.lru, txn->now);
    if (cell.lru != NULL || lru_rewrite(txn, key, &cell))
        return KVSQL_OK;
    kv_txn_restore(txn, mark);
    return kv_fail(err, KVSQL_NOMEM, "no memory to watch a key");
}

kvsql_rc kv_item_freq(struct kv_txn *txn, const struct kv_key *key,
                      uint64_t *freq, struct kvsql_error *err)
{
    struct kv_store *const store = txn->store;
    struct kv_cell cell;

    *freq = 0;
    if (!kv_key_find(store, key, &cell) || kv_cell_hidden(&cell, txn->now))
        return kv_fail(err, KVSQL_NOTFOUND, "no such key");
    if (store->lru_mode != KV_LRU_FREQ)
        return lru_no_freq(err);
    *freq = kv_lru_freq(store, cell.lru, txn->now);
    return KVSQL_OK;
}

void kv_item_used(struct kv_txn *txn, const struct kv_key *key, int64_t idle,
                  int64_t freq)
{
    const enum kv_lru_mode mode = txn->store->lru_mode;
    struct kv_cell cell;

    if (!kv_key_find(txn->store, key, &cell) || cell.lru == NULL)
        return;
    if (mode == KV_LRU_FREQ && freq >= 0) {
        lru_store(cell.lru, lru_minutes(txn->now) << 8 |
                                (uint32_t)(freq < LRU_FREQ_MAX
                                               ? freq
                                               : LRU_FREQ_MAX));
    } else if (mode == KV_LRU_CLOCK && idle >= 0) {
        const uint32_t most = LRU_CLOCK_MASK / 2; /* see above */
        const uint32_t passed = idle < most ? (uint32_t)idle : most;
        lru_store(cell.lru,
                  (lru_clock(txn->now) - passed) & LRU_CLOCK_MASK);
    }
}

void kv_txn_set_lfu(struct kv_txn *txn, uint32_t log_factor,
                    uint32_t decay_minutes)
{
    txn->store->lfu_factor = log_factor;
    __atomic_store_n(&txn->store->lfu_minutes, decay_minutes,
                     __ATOMIC_RELAXED);
}

void kv_lru_select(struct kv_store *store, enum kv_lru_mode wanted)
{
    if (wanted == KV_LRU_NONE && store->lru_asked)
        wanted = KV_LRU_CLOCK;
    if (wanted == store->lru_mode)
        return;
    lru_mode_set(store, wanted);
    store->lru_sweep = store->live.count[0] + store->live.count[1] > 0;
    store->lru_at.size = 0;
    store->lru_cls = KV_TEXT;
}

/* One key of the sweep. */
static bool lru_sweep_key(struct kv_txn *txn, const struct kv_key *key)
{
    struct kv_store *const store = txn->store;
    struct kv_cell cell;

    if (!kv_key_find(store, key, &cell))
        return true;
    if ((cell.lru != NULL) != (store->lru_mode != KV_LRU_NONE))
        return lru_rewrite(txn, key, &cell);
    if (cell.lru != NULL)
        lru_store(cell.lru, lru_new(store, txn->now));
    return true;
}

/* The next keys of the sweep; false: no memory. */
static bool lru_sweep_batch(struct kv_txn *txn)
{
    struct kv_store *const store = txn->store;
    struct kv_buf *const at = &store->lru_at; /* behind this key; a NUL first */
    uint8_t buffer[KV_KEY_BUFFER];
    bool stable;

    for (unsigned n = 0; n < LRU_SWEEP_KEYS; n++) {
        struct kv_walk walk = {.root = {store->live.keys[0],
                                        store->live.keys[1]}};
        const bool valid =
            at->size == 0
                ? kv_walk_first(&walk)
                : kv_walk_seek(&walk, store->lru_cls, at->p + 1,
                               (uint32_t)at->size - 1, true);
        if (!valid) {
            store->lru_sweep = false;
            kv_buf_fini(at);
            return true;
        }
        struct kv_key key = {.cls = walk.which};
        const uint8_t *const p =
            kv_tree_key(kv_walk_leaf(&walk), kv_walk_index(&walk), buffer,
                        &key.size, &stable);
        kv_buf_reset(at, KV_KEY_BUFFER);
        kv_buf_byte(at, 0);
        kv_buf_add(at, p, key.size);
        if (at->failed)
            return false;
        store->lru_cls = key.cls;
        key.p = at->p + 1;
        if (!lru_sweep_key(txn, &key))
            return false;
    }
    return true;
}

bool kv_lru_sweep_some(struct kv_store *store)
{
    struct kvsql_error err;
    struct kv_txn *txn;

    kv_lock_take(&store->lock);
    const bool wanted = store->lru_sweep;
    kv_lock_drop(&store->lock);
    if (!wanted || kv_txn_begin(store->db, false, 0, &txn, &err) != KVSQL_OK)
        return false;
    if (!lru_sweep_batch(txn)) { /* from the start, at the next tick */
        kv_buf_fini(&store->lru_at);
        store->lru_cls = KV_TEXT;
        kv_txn_rollback(txn);
        return false;
    }
    const bool more = store->lru_sweep;
    return kv_txn_commit(txn, NULL, &err) == KVSQL_OK && more;
}
