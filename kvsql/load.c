/* load.c - an empty store is filled in the order of its keys.
 *
 * What a snapshot holds comes in order, and no key twice. So a string goes to
 * the right edge of its tree (tree_append.c), without a transaction: nobody sees
 * the store, nothing is taken back but a step that found no memory, and no
 * decision about expiry is made (T5). Other types come as ops (replay.c); the
 * edges are let go before and found anew behind them.
 *
 * Thread: the opener's, who alone has the store; so its lock is not taken. */
#include "kvsql/load.h"

#include "kvsql/store_private.h"

#define LOAD_TURN 64      /* strings between looks after the store */
#define LOAD_GC 64        /* blocks that wait to be freed */

void kv_load_begin(struct kv_load *load, struct kv_store *store)
{
    KV_ASSERT(store->live.count[0] + store->live.count[1] == 0);
    KV_ASSERT(store->newest == NULL && store->mark_count == 0);
    *load = (struct kv_load){.store = store};
    kv_txn_clock(store);
}

/* What piles up: the log, which nobody needs, and blocks that were left. */
static void load_turn(struct kv_load *load)
{
    struct kv_store *const store = load->store;

    load->turn = 0;
    kv_undo_trim(store);
    kv_txn_clock(store);
    if (store->pend.count > LOAD_GC)
        (void)kv_view_gc(store, UINT32_MAX);
}

static kvsql_rc load_no_memory(struct kvsql_error *err)
{
    return kv_fail(err, KVSQL_NOMEM,
                   "store: no memory for the change; nothing changed");
}

kvsql_rc kv_load_op(struct kv_load *load, const struct kv_op *op,
                    struct kvsql_error *err)
{
    kv_tree_append_end(&load->edge[0]);
    kv_tree_append_end(&load->edge[1]);
    return kv_store_load(load->store, op, err);
}

static bool load_append(struct kv_load *load, const struct kv_key *key,
                        const struct kv_key *value, int64_t expires_at)
{
    struct kv_store *const store = load->store;
    const uint64_t mark = kv_undo_mark(store);
    struct kv_cell cell;

    if (!kv_cell_value(store, value, &cell))
        return false;
    cell.type = KV_STRING;
    cell.exp = kv_time_keep(expires_at, store->clock_skew);
    if (!kv_tree_append(store, &store->live.keys[key->cls],
                        &load->edge[key->cls], KV_NODE_TYPED, key->p,
                        key->size, &cell)) {
        kv_undo_to(store, mark, UINT64_MAX); /* its blob */
        return false;
    }
    store->live.count[key->cls]++;
    store->tally.with_expiry += cell.exp != 0;
    return true;
}

kvsql_rc kv_load_string(struct kv_load *load, const struct kv_key *key,
                        const struct kv_key *value, int64_t expires_at,
                        struct kvsql_error *err)
{
    const struct kv_store *const store = load->store;

    if (KV_UNLIKELY(store->lru_mode != KV_LRU_NONE ||
                    atomic_load(&store->versions_from) != 0)) {
        const struct kv_op op = {.kind = KV_OP_SET, /* entries say more */
                                 .key = kv_slice_of(key),
                                 .a = kv_slice_of(value),
                                 .time = expires_at};
        return kv_load_op(load, &op, err);
    }
    if (++load->turn == LOAD_TURN)
        load_turn(load);
    return load_append(load, key, value, expires_at)
               ? KVSQL_OK
               : load_no_memory(err);
}

kvsql_rc kv_load_end(struct kv_load *load, struct kvsql_error *err)
{
    struct kv_store *const store = load->store;
    bool ok = true;

    for (unsigned cls = 0; cls < 2; cls++)
        ok &= kv_tree_append_fit(store, &store->live.keys[cls],
                                 &load->edge[cls]);
    load_turn(load);
    (void)kv_view_gc(store, UINT32_MAX);
    return ok ? KVSQL_OK : load_no_memory(err);
}
