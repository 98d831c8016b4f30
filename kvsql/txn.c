/* txn.c - a batch: begin, marks, commit, rollback; the frame of every effect.
 *
 * A txn is the store's one writer. Its changes go straight to the live tree,
 * its ops into one buffer; rolling back is an undo to its mark (UN1, UN2).
 *
 *   begin     lock; the batch's mark goes into the ring of unreleased batches
 *   prepare   room in the wal; all that can fail (TX3)
 *   commit    position + 1; ops to the sink; unlock
 *   rollback  undo; unlock
 *
 * Thread: one at a time, the holder of the store lock. */
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "kvsql/store_private.h"

#define TXN_OPS_KEEP_MAX (2u << 20)
#define TXN_CLOCK_NS 20000
#define TXN_PREPARE_MORE ((size_t)4 << 10)
#define TXN_COLLECT 128 /* retired blocks that a commit frees */

/* ---- begin and end ----------------------------------------------------------- */

/* Reading the system's clocks takes as long as a small command. Txns that
 * begin within TXN_CLOCK_NS share a reading: deadlines are milliseconds. It is
 * one reading for all, so that what one txn saw expire stays so for the
 * next. */
void kv_txn_clock(struct kv_store *store)
{
    const bool real = store->os == kv_os_real(); /* others are set by tests */
    const uint64_t now = real ? kv_os_quick_ns() : 0;

    if (real && store->clock_now != 0 &&
        now - store->clock_read_ns < TXN_CLOCK_NS)
        return;
    store->clock_read_ns = now;
    store->clock_now = kv_store_clock(store, &store->clock_skew);
}

kvsql_rc kv_txn_open(struct kv_store *store, bool replay,
                     struct kvsql_error *err)
{
    struct kv_txn *const txn = &store->txn;

    KV_ASSERT(!txn->open);
    kv_undo_trim(store);
    if (store->mark_count == store->mark_cap) {
        const uint32_t cap = store->mark_cap > 0 ? store->mark_cap * 2 : 64;
        struct kv_batch_mark *const marks =
            kv_mem_alloc(KV_MEM_UNDO, cap * sizeof(*marks));
        if (marks == NULL)
            return kv_fail(err, KVSQL_NOMEM, "store: no memory to begin");
        for (uint32_t i = 0; i < store->mark_count; i++)
            marks[i] =
                store->marks[(store->mark_first + i) % store->mark_cap];
        kv_mem_free(KV_MEM_UNDO, store->marks,
                    store->mark_cap * sizeof(*marks));
        store->marks = marks;
        store->mark_cap = cap;
        store->mark_first = 0;
    }
    kv_buf_reset(&txn->ops, TXN_OPS_KEEP_MAX);
    txn->count = txn->told = 0;
    txn->base = txn->keep = kv_undo_mark(store);
    txn->keys = store->live.count[0] + store->live.count[1];
    txn->with_expiry = store->tally.with_expiry;
    KV_ASSERT(txn->longs == 0 && txn->long_gen == 0);
    kv_txn_clock(store);
    txn->now = store->clock_now;
    txn->skew = store->clock_skew;
    txn->prepared = 0;
    txn->replay = replay;
    txn->numbered = false;
    txn->hints = NULL;
    txn->ended = NULL;
    txn->keep_bounds = false;
    txn->roomy = txn->lenient = txn->near = false;
    txn->used_key = NULL;
    txn->open = true;
    return KVSQL_OK;
}

kvsql_rc kv_txn_begin(kvsql *db, bool write, uint64_t timeout_ms,
                      struct kv_txn **out, struct kvsql_error *err)
{
    struct kv_store *const store = kv_db_store(db);

    *out = NULL;
    if (write && store->sink.wait_room != NULL)
        store->sink.wait_room(store->sink.arg);
    if (timeout_ms == 0) {
        kv_lock_take(&store->lock);
    } else if (!kv_lock_take_within(&store->lock, timeout_ms)) {
        return kv_fail(err, KVSQL_BUSY,
                       "another transaction holds the store for longer than "
                       "%llu ms; try again",
                       (unsigned long long)timeout_ms);
    }
    const kvsql_rc rc = kv_txn_open(store, false, err);
    if (rc != KVSQL_OK) {
        kv_lock_drop(&store->lock);
        return rc;
    }
    *out = &store->txn;
    return KVSQL_OK;
}

/* Where there was a small change there may come another one. */
static size_t txn_prepare_size(const struct kv_txn *txn)
{
    return txn->ops.size <= TXN_PREPARE_MORE ? 2 * TXN_PREPARE_MORE
                                             : txn->ops.size;
}

kvsql_rc kv_txn_prepare(struct kv_txn *txn, struct kvsql_error *err)
{
    struct kv_store *const store = txn->store;

    if (txn->count == 0 || txn->ops.size <= txn->prepared)
        return KVSQL_OK;
    if (store->sink.reserve != NULL) {
        const size_t size = txn_prepare_size(txn);
        const kvsql_rc rc = store->sink.reserve(store->sink.arg, size, err);
        if (rc != KVSQL_OK)
            return rc;
        txn->prepared = size;
    }
    return KVSQL_OK;
}

/* The batch is finished: it has a position and its undo log is kept until that
 * is released. */
static void txn_finish(struct kv_txn *txn)
{
    struct kv_store *const store = txn->store;
    const uint32_t at =
        (store->mark_first + store->mark_count) % store->mark_cap;

    store->pos++;
    store->marks[at] =
        (struct kv_batch_mark){.position = store->pos,
                               .undo = txn->base,
                               .keys = txn->keys,
                               .with_expiry = txn->with_expiry};
    store->mark_count++;
    store->commits++;
    store->ops += txn->count;
    if (store->sink.append != NULL)
        store->sink.append(store->sink.arg, store->pos, txn->ops.p,
                           txn->ops.size, txn->count);
    else
        atomic_store(&store->released, store->pos);
    atomic_store(&store->position_hint, store->pos);
    if (KV_UNLIKELY(store->live.defs_version !=
                    atomic_load_explicit(&store->defs_hint,
                                         memory_order_relaxed)))
        atomic_store(&store->defs_hint, store->live.defs_version);
    if (KV_UNLIKELY(atomic_load_explicit(&store->observer,
                                         memory_order_relaxed) != NULL))
        kv_observe_done(txn);
    if (KV_UNLIKELY(txn->long_gen != 0))
        kv_long_end(store);
    txn->open = false;
}

static void txn_undo(struct kv_txn *txn)
{
    kv_undo_to(txn->store, txn->base, UINT64_MAX);
    if (KV_UNLIKELY(txn->long_gen != 0))
        kv_long_end(txn->store);
}

kvsql_rc kv_txn_commit(struct kv_txn *txn, struct kv_ticket *ticket,
                       struct kvsql_error *err)
{
    struct kv_store *const store = txn->store;
    void *block[TXN_COLLECT];

    KV_ASSERT(txn->open);
    const kvsql_rc rc = kv_txn_prepare(txn, err);
    if (rc != KVSQL_OK) {
        kv_txn_rollback(txn);
        return rc;
    }
    if (txn->count > 0)
        txn_finish(txn);
    else if (txn->keep_bounds && txn->long_gen == 0)
        kv_undo_lower(store, store->pos); /* no batch to wait for: trap 8 */
    else if (kv_undo_mark(store) != txn->base || txn->long_gen != 0)
        txn_undo(txn); /* copies of paths that nothing came of; bounds and
                          bytes of use that are not worth a LONG view */
    if (txn->count == 0 && txn->prepared > 0 && store->sink.cancel != NULL)
        store->sink.cancel(store->sink.arg); /* restored since */
    txn->open = false;
    if (ticket != NULL || KV_UNLIKELY(txn->ended != NULL)) {
        const struct kv_ticket is = {.position = store->pos,
                                     .epoch = atomic_load(&store->epoch)};
        if (ticket != NULL)
            *ticket = is;
        if (KV_UNLIKELY(txn->ended != NULL))
            txn->ended(txn, &is);
    }
    const unsigned n = store->pend.count == 0
                           ? 0
                           : kv_view_collect(store, block, TXN_COLLECT);
    kv_lock_drop(&store->lock);
    for (unsigned i = 0; i < n; i++) /* while they are still in the cache */
        kv_block_free(block[i]);
    return KVSQL_OK;
}

void kv_txn_rollback(struct kv_txn *txn)
{
    struct kv_store *const store = txn->store;

    KV_ASSERT(txn->open);
    txn_undo(txn);
    if (txn->prepared > 0 && store->sink.cancel != NULL)
        store->sink.cancel(store->sink.arg);
    txn->open = false;
    if (KV_UNLIKELY(txn->ended != NULL))
        txn->ended(txn, NULL);
    kv_lock_drop(&store->lock);
}

void kv_txn_at_end(struct kv_txn *txn, kv_txn_ended *ended)
{
    KV_ASSERT(txn->open);
    if (ended == NULL && txn->ended != NULL)
        txn->ended(txn, NULL);
    txn->ended = ended;
}

uint64_t kv_txn_undo(const struct kv_txn *txn)
{
    return kv_undo_mark(txn->store);
}

struct kv_mark kv_txn_mark(const struct kv_txn *txn)
{
    return (struct kv_mark){.undo = kv_undo_mark(txn->store),
                            .ops_size = txn->ops.size,
                            .ops_count = txn->count};
}

void kv_txn_restore(struct kv_txn *txn, struct kv_mark mark)
{
    KV_ASSERT(txn->open && mark.ops_size <= txn->ops.size);
    kv_undo_to(txn->store, mark.undo, UINT64_MAX);
    if (txn->keep > mark.undo)
        txn->keep = mark.undo;
    txn->ops.size = mark.ops_size;
    txn->ops.failed = txn->ops.too_big = false;
    txn->count = mark.ops_count;
    if (txn->told > txn->ops.size)
        txn->told = txn->ops.size;
}

kvsql_rc kv_txn_command(struct kv_txn *txn, bool grows,
                        struct kvsql_error *err)
{
    txn->used_key = NULL;
    txn->roomy = true;
    return grows && atomic_load(&txn->store->maxmemory) != 0
               ? kv_evict_room(txn, err)
               : KVSQL_OK;
}

void kv_txn_command_done(struct kv_txn *txn)
{
    txn->used_key = NULL;
    txn->roomy = false;
}

void kv_txn_keep(struct kv_txn *txn, const struct kv_mark *newest)
{
    const uint64_t before = txn->keep;

    KV_ASSERT(txn->open);
    txn->keep = newest != NULL ? newest->undo : txn->base;
    KV_ASSERT(txn->keep <= kv_undo_mark(txn->store));
    if (txn->keep < before && txn->longs > 0)
        kv_long_step(txn->store); /* before the next mark stands in the way */
}

void kv_txn_step(struct kv_txn *txn)
{
    struct kv_store *const store = txn->store;

    KV_ASSERT(txn->open);
    if (KV_UNLIKELY(txn->longs > 0 ||
                    kv_undo_mark(store) - txn->base > store->undo_txn_max))
        kv_long_step(store);
}

void kv_at_txn(const struct kv_txn *txn, struct kv_at *at)
{
    *at = (struct kv_at){.store = txn->store,
                         .root = &txn->store->live,
                         .now = txn->now,
                         .skew = txn->skew,
                         .position = txn->store->pos,
                         .live = true};
}

void kv_txn_set_views(struct kv_txn *txn, uint64_t age_ms, uint64_t bytes)
{
    kv_store_set_views_held(txn->store, age_ms, bytes);
}

kvsql *kv_txn_db(const struct kv_txn *txn)
{
    return txn->store->db;
}

struct kv_ticket kv_txn_ticket(const struct kv_txn *txn)
{
    return (struct kv_ticket){.position =
                                  txn->store->pos + (txn->count > 0 ? 1 : 0),
                              .epoch = atomic_load(&txn->store->epoch)};
}

uint64_t kv_txn_epoch(const struct kv_txn *txn)
{
    return atomic_load(&txn->store->epoch);
}

uint64_t kv_txn_count(const struct kv_txn *txn)
{
    return txn->count;
}

void kv_store_fail(struct kv_store *store)
{
    kv_lock_take(&store->lock);
    KV_ASSERT(!store->txn.open);
    const uint64_t released = atomic_load(&store->released);
    kv_undo_trim(store);
    if (store->mark_count > 0) /* F2 */
        kv_undo_to(store, store->marks[store->mark_first].undo, released);
    store->mark_count = 0;
    store->pos = released;
    atomic_store(&store->position_hint, released);
    atomic_store(&store->defs_hint, store->live.defs_version);
    atomic_fetch_add(&store->epoch, 1);
    kv_observe_undone(store);
    kv_lock_drop(&store->lock);
}

/* ---- the frame of an effect ---------------------------------------------------- */

static kvsql_rc change_limits(const struct kv_key *key, size_t size,
                              struct kvsql_error *err)
{
    if (key != NULL && key->size > KVSQL_KEY_MAX)
        return kv_fail(err, KVSQL_TOOBIG,
                       "key of %u bytes is longer than the limit of %u",
                       key->size, KVSQL_KEY_MAX);
    if (size > KVSQL_VALUE_MAX)
        return kv_fail(err, KVSQL_TOOBIG,
                       "value of %zu bytes is longer than the limit of %u "
                       "(proto-max-bulk-len)",
                       size, KVSQL_VALUE_MAX);
    return KVSQL_OK;
}

kvsql_rc kv_txn_writable(const struct kv_txn *txn, struct kvsql_error *err)
{
    const struct kv_sink *sink = &txn->store->sink;

    return sink->writable != NULL ? sink->writable(sink->arg, err) : KVSQL_OK;
}

kvsql_rc kv_change_begin(struct kv_txn *txn, const struct kv_key *key,
                         size_t size, bool grow, struct kv_mark *mark,
                         struct kvsql_error *err)
{
    struct kv_store *const store = txn->store;
    kvsql_rc rc = change_limits(key, size, err);

    KV_ASSERT(txn->open);
    if (rc == KVSQL_OK && !txn->replay)
        rc = kv_txn_writable(txn, err);
    if (rc == KVSQL_OK && grow && !txn->replay && !txn->roomy &&
        atomic_load(&store->maxmemory) != 0)
        rc = kv_evict_room(txn, err);
    *mark = kv_txn_mark(txn);
    return rc;
}

kvsql_rc kv_change_end(struct kv_txn *txn, const struct kv_mark *mark,
                       bool ok, const struct kv_op *op,
                       struct kvsql_error *err)
{
    if (ok && !txn->replay) {
        kv_op_encode(&txn->ops, op);
        ok = !txn->ops.failed;
    }
    if (!ok) {
        kv_txn_restore(txn, *mark);
        if (txn->store->schema.clash != NULL)
            return kv_index_refused(txn->store, err);
        return kv_fail(err, KVSQL_NOMEM,
                       "store: no memory for the change; nothing changed");
    }
    txn->count++;
    if (!txn->roomy)
        txn->used_key = NULL; /* the next change is a use of its own (LR3) */
    return KVSQL_OK;
}

kvsql_rc kv_change_new(struct kv_txn *txn, const struct kv_key *key,
                       size_t size, bool *existed, struct kv_path **path,
                       struct kv_mark *mark, struct kvsql_error *err)
{
    struct kv_path *const to = kv_key_path(txn, key);
    const uint64_t seen = kv_undo_mark(txn->store);
    struct kv_cell cell;

    *path = NULL;
    *existed = false;
    if (to->found) {
        entry_cell(to->at[to->depth - 1].node, to->at[to->depth - 1].index,
                   &cell);
        *existed = !kv_cell_hidden(&cell, txn->now);
        if (*existed)
            return KVSQL_OK;
    }
    const kvsql_rc rc = kv_change_begin(txn, key, size, true, mark, err);
    if (!to->found && to->depth > 0 &&
        kv_undo_mark(txn->store) == seen) /* else keys went to make room */
        *path = to;
    return rc;
}

kvsql_rc kv_change_find(struct kv_txn *txn, const struct kv_key *key,
                        enum kv_type type, bool *exists, struct kv_cell *cell,
                        struct kvsql_error *err)
{
    const struct kv_path *const path = kv_key_path(txn, key);

    *exists = path->found;
    if (!path->found)
        return KVSQL_OK;
    entry_cell(path->at[path->depth - 1].node, path->at[path->depth - 1].index,
               cell);
    return kv_change_check(txn, key, type, exists, cell, err);
}

kvsql_rc kv_change_check(struct kv_txn *txn, const struct kv_key *key,
                         enum kv_type type, bool *exists,
                         const struct kv_cell *cell, struct kvsql_error *err)
{
    struct kv_mark mark;
    char shown[96];

    if (!txn->replay && kv_cell_hidden(cell, txn->now)) { /* T4 */
        const struct kv_op op = {.kind = KV_OP_DEL, .key = kv_slice_of(key)};
        kvsql_rc rc = kv_change_begin(txn, key, 0, false, &mark, err);
        if (rc == KVSQL_OK)
            rc = kv_change_end(txn, &mark,
                               kv_key_remove(txn, key, false, NULL), &op, err);
        if (rc == KVSQL_OK)
            kv_store_count(txn->store, &txn->store->tally.expired_keys);
        *exists = false;
        return rc;
    }
    if (type != KV_NONE && cell->type != type)
        return kv_fail(err, KVSQL_WRONGTYPE, "key '%s' holds a %s, not a %s",
                       kv_text_show(shown, sizeof(shown), key->p, key->size),
                       kv_type_name((enum kv_type)cell->type),
                       kv_type_name(type));
    return KVSQL_OK;
}
