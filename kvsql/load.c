/* load.c - an empty store is filled in the order of its keys.
 *
 * What a snapshot holds comes in order, and no key twice. So a key goes to the
 * right edge of its tree (tree_append.c), without a transaction: nobody sees the
 * store, nothing is taken back but a step that found no memory, and no decision
 * about expiry is made (T5). The elements of a small hash, set or sorted set are
 * gathered in a run, which is put once. Where that ends, and for lists, elements
 * are ops (replay.c); the edges are let go before and found anew behind them.
 *
 * Thread: the opener's, who alone has the store; so its lock is not taken. */
#include "kvsql/load.h"

#include <string.h>

#include "kvsql/store_private.h"

#define LOAD_TURN 64      /* keys between looks after the store */
#define LOAD_GC 64        /* blocks that wait to be freed */

void kv_load_begin(struct kv_load *load, struct kv_store *store)
{
    KV_ASSERT(store->live.count[0] + store->live.count[1] == 0);
    KV_ASSERT(store->newest == NULL && store->mark_count == 0);
    load->store = store; /* the runs are large: not zeroed */
    memset(load->edge, 0, sizeof(load->edge));
    load->turn = 0;
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

static kvsql_rc load_op(struct kv_load *load, const struct kv_op *op,
                        struct kvsql_error *err)
{
    kv_tree_append_end(&load->edge[0]);
    kv_tree_append_end(&load->edge[1]);
    return kv_store_load(load->store, op, err);
}

/* Do entries say no more than key, value and deadline? */
static bool load_plain(const struct kv_load *load)
{
    return load->store->lru_mode == KV_LRU_NONE &&
           atomic_load(&load->store->versions_from) == 0;
}

/* Put the cell behind all keys; what it points to was made behind the mark. */
static bool load_append(struct kv_load *load, const struct kv_key *key,
                        struct kv_cell *cell, enum kv_type type,
                        int64_t expires_at, uint64_t mark)
{
    struct kv_store *const store = load->store;

    cell->type = (uint8_t)type;
    cell->exp = kv_time_keep(expires_at, store->clock_skew);
    if (!kv_tree_append(store, &store->live.keys[key->cls],
                        &load->edge[key->cls], KV_NODE_TYPED, key->p,
                        key->size, cell)) {
        kv_undo_to(store, mark, UINT64_MAX);
        return false;
    }
    store->live.count[key->cls]++;
    store->tally.with_expiry += cell->exp != 0;
    return true;
}

kvsql_rc kv_load_string(struct kv_load *load, const struct kv_key *key,
                        const struct kv_key *value, int64_t expires_at,
                        struct kvsql_error *err)
{
    struct kv_cell cell;

    if (KV_UNLIKELY(!load_plain(load))) {
        const struct kv_op op = {.kind = KV_OP_SET,
                                 .key = kv_slice_of(key),
                                 .a = kv_slice_of(value),
                                 .time = expires_at};
        return load_op(load, &op, err);
    }
    if (++load->turn == LOAD_TURN)
        load_turn(load);
    const uint64_t mark = kv_undo_mark(load->store);
    return kv_cell_value(load->store, value, &cell) &&
                   load_append(load, key, &cell, KV_STRING, expires_at, mark)
               ? KVSQL_OK
               : load_no_memory(err);
}

/* ---- collections -------------------------------------------------------------- */

void kv_load_elems(struct kv_load *load, const struct kv_key *key,
                   enum kv_type type)
{
    KV_ASSERT(type != KV_NONE && type != KV_STRING && type <= KV_ZSET);
    if (++load->turn == LOAD_TURN)
        load_turn(load);
    load->key = *key;
    load->type = type;
    load->packed = type != KV_LIST && load_plain(load);
    load->at = 0;
    load->size = load->packed ? kv_packed_init(load->run[0]) : 0;
}

/* Make the run the key's value. */
static bool load_put_run(struct kv_load *load, int64_t expires_at)
{
    struct kv_store *const store = load->store;
    const uint64_t mark = kv_undo_mark(store);
    struct kv_cell cell = {.form = KV_FORM_PACKED,
                           .cls = KV_BLOB,
                           .size = load->size,
                           .payload = load->run[load->at]};

    load->packed = false;
    if (load->size > KV_INLINE_MAX) {
        struct kv_blob *const blob =
            kv_room(store, 0, 1) ? kv_blob_new(store, load->size) : NULL;
        if (blob == NULL)
            return false;
        memcpy(blob->d, load->run[load->at], load->size);
        cell.form = KV_FORM_PACKED_BLOB;
        cell.size = 0;
        cell.ptr = blob;
    }
    return load_append(load, &load->key, &cell, load->type, expires_at, mark);
}

/* Put the element into the run; false: it cannot hold that one. */
static bool load_pack(struct kv_load *load, const struct kv_load_elem *elem)
{
    const struct kv_key *const value =
        load->type == KV_HASH ? &elem->value : NULL;
    uint8_t *const to = load->run[1 - load->at];
    bool created;

    if (elem->key.size > KV_PACKED_ITEM_MAX ||
        (value != NULL && value->size > KV_PACKED_ITEM_MAX))
        return false;
    const uint32_t size = kv_packed_put(
        load->type, load->run[load->at], load->size, &elem->key, value,
        kv_time_keep(elem->expires_at, load->store->clock_skew), elem->score,
        to, &created);
    if (size == 0 || size > KV_PACKED_SIZE_MAX)
        return false;
    load->at = 1 - load->at;
    load->size = size;
    return true;
}

kvsql_rc kv_load_elem(struct kv_load *load, const struct kv_load_elem *elem,
                      struct kvsql_error *err)
{
    struct kv_op op = {.key = kv_slice_of(&load->key),
                       .a = kv_slice_of(&elem->key)};

    if (load->packed) {
        if (load_pack(load, elem))
            return KVSQL_OK;
        if (kv_packed_count(load->run[load->at]) == 0)
            load->packed = false;
        else if (!load_put_run(load, 0))
            return load_no_memory(err);
    }
    switch (load->type) {
    case KV_HASH:
        op.kind = KV_OP_HSET;
        op.b = kv_slice_of(&elem->value);
        op.time = elem->expires_at;
        break;
    case KV_LIST:
        op.kind = KV_OP_PUSH;
        op.index = KV_RIGHT;
        op.a = kv_slice_of(&elem->value);
        break;
    case KV_SET:
        op.kind = KV_OP_SADD;
        break;
    default:
        op.kind = KV_OP_ZADD;
        op.score = elem->score;
        break;
    }
    return load_op(load, &op, err);
}

kvsql_rc kv_load_elems_end(struct kv_load *load, int64_t expires_at,
                           struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_EXPIRE,
                             .key = kv_slice_of(&load->key),
                             .time = expires_at};

    if (load->packed)
        return load_put_run(load, expires_at) ? KVSQL_OK : load_no_memory(err);
    return expires_at == 0 ? KVSQL_OK : load_op(load, &op, err);
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
