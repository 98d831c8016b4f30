/* store.c - one keyspace: opening, the clock, keys put and removed, the keeper's
 * tick, statistics.
 *
 * The live root is changed by kv_key_put and kv_key_remove alone, for whatever
 * type; collections change below the entry that they own (collection.c).
 *
 * Thread: the holder of the store lock, but for what is atomic. */
#include "kvsql/admin.h"
#include "kvsql/store.h"

#include <string.h>

#include "kvsql/base/diag.h"
#include "kvsql/lru.h"

#define CLOCK_STEP_MS 1000 /* a smaller step back of the wall is ignored */
#define TICK_GC_BLOCKS 256
#define TICK_RELEASE_BLOCKS 128
#define TICK_REAP_BLOCKS 256
#define UNDO_TXN_MAX (1u << 20) /* UN3 */

/* ---- opening and closing --------------------------------------------------- */

kvsql_rc kv_store_open(kvsql *db, const struct kv_os *os,
                       struct kv_store **out, struct kvsql_error *err)
{
    struct kv_store *const store = kv_mem_zalloc(KV_MEM_MISC, sizeof(*store));

    *out = NULL;
    if (store == NULL)
        return kv_fail(err, KVSQL_NOMEM, "store: no memory to open");
    kv_lock_init(&store->lock, KV_RANK_STORE);
    store->db = db;
    store->os = os;
    store->gen = UINT64_C(1) << KV_GEN_SHIFT;
    store->undo_base = 1;
    store->undo_txn_max = UNDO_TXN_MAX;
    atomic_store(&store->clock_offset, INT64_MIN);
    store->txn.store = store;
    kv_buf_init(&store->lru_at, KV_MEM_MISC, KVSQL_KEY_MAX + 1);
    kv_buf_init(&store->schema.bytes, KV_MEM_MISC, SIZE_MAX / 4);
    kv_buf_init(&store->schema.was, KV_MEM_MISC, SIZE_MAX / 4);
    kv_buf_init(&store->schema.will, KV_MEM_MISC, SIZE_MAX / 4);
    kv_buf_init(&store->schema.before, KV_MEM_MISC, SIZE_MAX / 4);
    kv_buf_init(&store->schema.rival, KV_MEM_MISC, KVSQL_KEY_MAX + 1);
    kv_buf_init(&store->schema.at, KV_MEM_MISC, KVSQL_KEY_MAX + 1);
    atomic_init(&store->latency_least, UINT64_MAX);
    store->lfu_factor = KV_LFU_FACTOR;
    store->lfu_minutes = KV_LFU_MINUTES;
    kv_buf_init(&store->txn.ops, KV_MEM_WAL, SIZE_MAX / 2);
    *out = store;
    return KVSQL_OK;
}

void kv_store_close(struct kv_store *store)
{
    if (store == NULL)
        return;
    kv_lock_take(&store->lock);
    KV_ASSERT(!store->txn.open);
    kv_view_close(store);
    kv_reap_close(store);
    kv_lock_drop(&store->lock);
    kv_shelf_clear(store);
    kv_undo_fini(store);
    while (store->spare != NULL) {
        struct kv_list_chunk *const chunk = store->spare;
        store->spare = chunk->next;
        kv_list_chunk_free(chunk);
    }
    kv_mem_free(KV_MEM_UNDO, store->marks,
                store->mark_cap * sizeof(*store->marks));
    kv_buf_fini(&store->txn.ops);
    kv_buf_fini(&store->lru_at);
    kv_evict_fini(store);
    kv_index_fini(store);
    kv_lock_fini(&store->lock);
    kv_mem_free(KV_MEM_MISC, store, sizeof(*store));
}

void kv_store_sink(struct kv_store *store, const struct kv_sink *sink)
{
    kv_lock_take(&store->lock);
    store->sink = *sink;
    kv_lock_drop(&store->lock);
}

struct kv_lock *kv_store_lock(struct kv_store *store)
{
    return &store->lock;
}

const struct kv_os *kv_store_os(const struct kv_store *store)
{
    return store->os;
}

uint64_t kv_store_position(const struct kv_store *store)
{
    return atomic_load(&store->position_hint);
}

uint64_t kv_store_released(const struct kv_store *store)
{
    return atomic_load(&store->released);
}

uint64_t kv_store_epoch(const struct kv_store *store)
{
    return atomic_load(&store->epoch);
}

void kv_store_release_to(struct kv_store *store, uint64_t position)
{
    atomic_store(&store->released, position);
}

/* ---- the clock (DL2) ---------------------------------------------------------- */

uint64_t kv_store_clock(struct kv_store *store, int64_t *skew)
{
    const int64_t wall = store->os->wall_ms(store->os->arg);
    const int64_t boot =
        (int64_t)(store->os->boot_ns(store->os->arg) / 1000000);
    int_fast64_t offset = atomic_load(&store->clock_offset);

    /* store time = boot time + offset; the offset only grows */
    while (wall - boot > offset &&
           !atomic_compare_exchange_weak(&store->clock_offset, &offset,
                                         wall - boot))
        continue;
    if (wall - boot > offset)
        offset = wall - boot;
    const int64_t now = boot + offset;
    *skew = wall - now;
    if (*skew > -CLOCK_STEP_MS)
        *skew = 0; /* two clocks read one after the other, not a step: times
                      that were given must be shown as they were given */
    return now > 0 ? (uint64_t)now : 1;
}

/* ---- keys ------------------------------------------------------------------------ */

/* What is looked for is mostly changed next, and in bulk what lies beside it:
 * so the way there is kept. It is a hint, held against the tree before it is
 * taken again; `near` says that this may be worth it. */
struct kv_path *kv_key_path(struct kv_txn *txn, const struct kv_key *key)
{
    struct kv_node *const root = txn->store->live.keys[key->cls];
    const struct kv_path *const hint = kv_key_hint(txn, key);

    if (hint != NULL)
        txn->path = *hint;
    else if (!txn->near || !kv_tree_path_near(root, key->p, key->size, &txn->path))
        (void)kv_tree_path(root, key->p, key->size, &txn->path);
    txn->near = txn->path.found;
    return &txn->path;
}

struct kv_path *kv_key_hint_slow(struct kv_txn *txn, const struct kv_key *key)
{
    struct kv_path *const hint = &txn->hints->key;

    return kv_tree_path_again(txn->store->live.keys[key->cls], key->p,
                              key->size, hint)
               ? hint
               : NULL;
}

bool kv_key_find(struct kv_store *store, const struct kv_key *key,
                 struct kv_cell *cell)
{
    const struct kv_node *leaf;
    uint32_t index;

    if (!kv_tree_find(store->live.keys[key->cls], key->p, key->size, &leaf,
                      &index))
        return false;
    entry_cell(leaf, index, cell);
    return true;
}

/* The path to the key that is about to change, when it was looked for; NULL: it
 * was not. False: no memory. */
static bool store_path_owned(struct kv_txn *txn, const struct kv_key *key,
                             struct kv_path **path)
{
    struct kv_node **const root = &txn->store->live.keys[key->cls];

    *path = NULL;
    if (txn->near) {
        txn->near = false; /* the next change is another one's */
        if (kv_tree_path_near(*root, key->p, key->size, &txn->path))
            *path = &txn->path;
    } else {
        *path = kv_key_hint(txn, key);
    }
    return *path == NULL || kv_tree_path_own(txn->store, root, *path);
}

void kv_cell_drop(struct kv_store *store, const struct kv_cell *cell)
{
    if (cell->form == KV_FORM_BLOB || cell->form == KV_FORM_PACKED_BLOB)
        kv_retire(store, cell->ptr);
    else if (cell->form == KV_FORM_TREE)
        kv_retire_tree(store, cell->ptr);
}

static void store_count_key(struct kv_store *store, unsigned cls, int change)
{
    kv_edit(store, &store->live.count[cls], sizeof(store->live.count[cls]));
    store->live.count[cls] += (uint64_t)(int64_t)change;
}

void kv_store_count(struct kv_store *store, uint64_t *counter)
{
    kv_edit(store, counter, sizeof(*counter));
    ++*counter;
}

static void store_count_expiry(struct kv_store *store, int change)
{
    if (change == 0)
        return;
    uint64_t *const count = &store->tally.with_expiry;
    kv_edit(store, count, sizeof(*count));
    *count += (uint64_t)(int64_t)change;
}

bool kv_key_put(struct kv_txn *txn, const struct kv_key *key,
                const struct kv_cell *given, bool keep)
{
    struct kv_path *path = NULL;

    if (KV_UNLIKELY(txn->near || txn->hints != NULL) &&
        !store_path_owned(txn, key, &path))
        return false;
    return kv_key_put_at(txn, key, path, given, keep);
}

bool kv_key_put_at(struct kv_txn *txn, const struct kv_key *key,
                   struct kv_path *path, const struct kv_cell *given,
                   bool keep)
{
    struct kv_store *const store = txn->store;
    struct kv_node **const root = &store->live.keys[key->cls];
    struct kv_cell cell = *given, old;
    uint8_t inline_bytes[KV_INLINE_MAX + 8], lru[KV_LRU_SIZE];
    bool found;

    if (!entry_has_ptr(cell.form) && cell.size > 0) {
        /* the bytes may lie in the very leaf that is about to change */
        KV_ASSERT(cell.size <= sizeof(inline_bytes));
        bytes_copy(inline_bytes, given->payload, cell.size);
        cell.payload = inline_bytes;
    }
    cell.has_ver = atomic_load(&store->versions_from) != 0;
    cell.ver = cell.has_ver ? store->pos + 1 : 0; /* EN6 */
    cell.lru = store->lru_mode != KV_LRU_NONE
                   ? kv_lru_written(txn, key, given, lru)
                   : NULL;
    if (path != NULL) {
        found = path->found;
        if (!kv_tree_put_at(store, root, path, key->p, key->size, &cell, &old))
            return false;
    } else if (!kv_tree_put(store, root, KV_NODE_TYPED, key->p, key->size,
                            &cell, &old, &found)) {
        return false;
    }
    if (!found)
        store_count_key(store, key->cls, 1);
    store_count_expiry(store, (cell.exp != 0) - (found && old.exp != 0));
    if (found && !keep)
        kv_cell_drop(store, &old);
    return true;
}

/* What was under the key has been taken out of the tree. */
static bool store_removed(struct kv_store *store, const struct kv_key *key,
                          const struct kv_cell *old, bool keep)
{
    store_count_key(store, key->cls, -1);
    store_count_expiry(store, old->exp != 0 ? -1 : 0);
    if (!keep)
        kv_cell_drop(store, old);
    return true;
}

bool kv_key_remove(struct kv_txn *txn, const struct kv_key *key, bool keep,
                   bool *existed)
{
    struct kv_store *const store = txn->store;
    struct kv_node **const root = &store->live.keys[key->cls];
    struct kv_path *path;
    struct kv_cell old;
    bool found;

    if (!kv_index_gone(store, key) || !store_path_owned(txn, key, &path))
        return false;
    if (path == NULL) {
        if (!kv_tree_remove(store, root, key->p, key->size, &old, &found))
            return false;
    } else {
        found = path->found;
        if (found && !kv_tree_remove_at(store, root, path, &old))
            return false;
    }
    if (existed != NULL)
        *existed = found;
    return !found || store_removed(store, key, &old, keep);
}

bool kv_key_own_found(struct kv_txn *txn, const struct kv_key *key)
{
    struct kv_node **const root = &txn->store->live.keys[key->cls];

    KV_ASSERT(txn->near && txn->path.found);
    KV_DEBUG_ASSERT(
        kv_tree_path_near(*root, key->p, key->size, &txn->path));
    txn->near = false; /* the next change is another one's */
    return kv_tree_path_own(txn->store, root, &txn->path);
}

bool kv_key_remove_found(struct kv_txn *txn, const struct kv_key *key)
{
    struct kv_store *const store = txn->store;
    struct kv_cell old;

    return kv_index_gone(store, key) && kv_key_own_found(txn, key) &&
           kv_tree_remove_at(store, &store->live.keys[key->cls], &txn->path,
                             &old) &&
           store_removed(store, key, &old, false);
}

/* ---- keeper and statistics --------------------------------------------------------- */

static void store_tell_ended(const struct kv_view_news *news)
{
    if (news->count > 0)
        kv_diag(KV_WARN, "view.ended",
                "views=%u why=%s retained_bytes=%llu age_ms=%llu",
                news->count,
                news->why == KV_VIEW_BIG ? "view-max-bytes" : "view-max-age",
                (unsigned long long)news->bytes,
                (unsigned long long)news->age_ms);
}

bool kv_store_tick(struct kv_store *store)
{
    bool more = false;

    more |= kv_expire_some(store);
    more |= kv_evict_some(store);
    more |= kv_lru_sweep_some(store);
    more |= kv_index_build_some(store);
    kv_lock_take(&store->lock);
    if (!store->txn.open)
        kv_undo_trim(store);
    kv_view_end_some(store, false);
    const struct kv_view_news news = store->view_news;
    store->view_news.count = 0;
    more |= kv_view_release_some(store, TICK_RELEASE_BLOCKS);
    more |= kv_reap_some(store, TICK_REAP_BLOCKS);
    kv_lock_drop(&store->lock);
    store_tell_ended(&news);
    more |= kv_view_gc(store, TICK_GC_BLOCKS);
    more |= kv_shelf_tick(store);
    return more;
}

void kv_set_latency(kvsql *db, kv_latency_fn note, uint64_t least_ns)
{
    struct kv_store *const store = kv_db_store(db);

    atomic_store(&store->latency_note, note);
    atomic_store(&store->latency_least, least_ns);
}

void kv_latency_end(const struct kv_store *store, enum kv_latency what,
                    uint64_t begun)
{
    const uint64_t least = atomic_load(&store->latency_least);
    const kv_latency_fn note = atomic_load(&store->latency_note);

    if (begun == 0 || note == NULL)
        return;
    const uint64_t ns = kv_os_mono_ns() - begun;
    if (ns >= least)
        note(what, ns);
}

void kv_store_info_held(struct kv_store *store, struct kv_info *info)
{
    info->keys = store->live.count[0] + store->live.count[1];
    info->keys_with_expiry = store->tally.with_expiry;
    info->position = store->pos;
    info->released = atomic_load(&store->released);
    info->epoch = atomic_load(&store->epoch);
    info->memory_data = store->bytes_live;
    info->memory_retired = store->bytes_retired;
    info->memory_undo = kv_mem_bytes(KV_MEM_UNDO);
    info->memory_views = kv_mem_bytes(KV_MEM_VIEW);
    info->memory_wal = kv_mem_bytes(KV_MEM_WAL);
    info->memory_clients = kv_mem_bytes(KV_MEM_CLIENT);
    info->memory_misc = kv_mem_bytes(KV_MEM_MISC);
    info->memory_max = atomic_load(&store->maxmemory);
    info->views = store->view_count;
    info->views_ended = store->views_ended;
    info->views_retained = 0;
    for (const struct kv_view *v = store->oldest; v != NULL; v = v->newer)
        if (v->retained > info->views_retained)
            info->views_retained = v->retained;
    info->views_oldest_ms =
        store->oldest != NULL
            ? (kv_os_mono_ns() - store->oldest->taken_ns) / 1000000
            : 0;
    info->expired_keys = store->tally.expired_keys;
    info->expired_fields = store->tally.expired_fields;
    info->evicted_keys = store->tally.evicted_keys;
    info->maxmemory_policy = kv_maxmemory_policy_name(store->evict_policy);
    info->commits = store->commits;
    info->ops = store->ops;
}

/* What is shown waits for no gate, so it is of the last released position (D3):
 * what was there before the first batch that is not. */
static void store_info_released(const struct kv_store *store,
                                struct kv_info *info)
{
    if (store->mark_count == 0)
        return;
    KV_ASSERT(store->marks[store->mark_first].position <= info->released + 1);
    const uint64_t gone = /* positions grow by one: W3 */
        info->released + 1 - store->marks[store->mark_first].position;
    if (gone >= store->mark_count)
        return;
    const struct kv_batch_mark *mark =
        &store->marks[(store->mark_first + gone) % store->mark_cap];
    KV_ASSERT(mark->position == info->released + 1);
    info->keys = mark->keys;
    info->keys_with_expiry = mark->with_expiry;
}

void kv_store_info(struct kv_store *store, struct kv_info *info)
{
    kv_lock_take(&store->lock);
    kv_store_info_held(store, info);
    store_info_released(store, info);
    kv_lock_drop(&store->lock);
}

void kv_store_set_maxmemory(struct kv_store *store, uint64_t bytes)
{
    atomic_store(&store->maxmemory, bytes);
}
