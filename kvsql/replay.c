/* replay.c - batches of the wal and what a snapshot holds, applied to a store
 * that nobody reads yet (T5: no decision about expiry is made).
 *
 * Frames come many at once. Their ops are decoded in turns of a few, across the
 * borders of frames; where a turn goes is looked up together (warm.c), then it is
 * applied op by op along the ways that were found. Each batch is whole or not at all (D4): a turn may end
 * within one, whose undo log is kept until its last op. Nobody takes back more
 * at the start, so the log is forgotten batch by batch.
 *
 * Thread: the opener's, single-threaded. */
#include "kvsql/replay.h"

#include "kvsql/store_private.h"

#define REPLAY_GC 4096            /* blocks that wait to be freed */
#define REPLAY_FREE 256           /* of them that a turn frees */
#define REPLAY_WARM_MIN 4         /* ops that are worth to be looked up together */
#define REPLAY_LOG_MAX (8u << 10) /* bytes of undo log that stay in the cache */

/* Is `a` of the op a name? What is a value is not looked through for its class,
 * which may take longer than the op. */
static bool replay_names(const struct kv_op *op)
{
    return op->kind == KV_OP_RENAME || op->kind == KV_OP_HSET ||
           op->kind == KV_OP_HDEL || op->kind == KV_OP_HEXPIRE ||
           op->kind == KV_OP_SADD || op->kind == KV_OP_SREM ||
           op->kind == KV_OP_ZADD || op->kind == KV_OP_ZREM;
}

static kvsql_rc replay_change(struct kv_txn *txn, const struct kv_replay_op *r,
                              struct kvsql_error *err)
{
    const struct kv_op *const op = &r->op;

    switch (op->kind) {
    case KV_OP_DEL:
        return kv_del(txn, &r->key, NULL, err);
    case KV_OP_SET:
        return kv_set(txn, &r->key, op->a, op->time, err);
    case KV_OP_PATCH:
        return kv_patch(txn, &r->key, op->index, op->a, err);
    case KV_OP_EXPIRE:
        return kv_expire(txn, &r->key, op->time, err);
    case KV_OP_RENAME:
        return kv_rename(txn, &r->key, &r->a, err);
    case KV_OP_HSET:
        return kv_hset(txn, &r->key, &r->a, op->b, op->time, NULL, err);
    case KV_OP_HDEL:
        return kv_hdel(txn, &r->key, &r->a, NULL, err);
    case KV_OP_HEXPIRE:
        return kv_hexpire(txn, &r->key, &r->a, op->time, err);
    case KV_OP_SADD:
        return kv_sadd(txn, &r->key, &r->a, NULL, err);
    case KV_OP_SREM:
        return kv_srem(txn, &r->key, &r->a, NULL, err);
    case KV_OP_ZADD:
        return kv_zadd(txn, &r->key, &r->a, op->score, NULL, err);
    case KV_OP_ZREM:
        return kv_zrem(txn, &r->key, &r->a, NULL, err);
    case KV_OP_PUSH:
        return kv_push(txn, &r->key, op->index == 0 ? KV_LEFT : KV_RIGHT, op->a,
                       err);
    case KV_OP_LINSERT:
        return kv_linsert(txn, &r->key, op->index, op->a, err);
    case KV_OP_LSET:
        return kv_lset(txn, &r->key, op->index, op->a, err);
    case KV_OP_LREMOVE:
        return kv_lremove(txn, &r->key, op->index, op->count, err);
    case KV_OP_FLUSH:
        return kv_flush(txn, err);
    case KV_OP_DEFINE:
        return kv_define(txn,
                         &(struct kv_def){
                             .name = op->key, .text = op->a, .view = op->b},
                         err);
    case KV_OP_ANSWER:
        return kv_answer_keep(txn, op->key, op->a, op->time, err);
    case KV_OP_SET_RESERVED:
        break;
    }
    return kv_fail(err, KVSQL_NEWER, "op kind %d is not known", (int)op->kind);
}

/* An op whose key is missing has one defined effect, none; so NOTFOUND is no
 * fault here (T5). */
static kvsql_rc replay_op(struct kv_txn *txn, const struct kv_replay_op *op,
                          struct kvsql_error *err)
{
    const kvsql_rc rc = replay_change(txn, op, err);

    return rc == KVSQL_NOTFOUND ? KVSQL_OK : rc;
}

/* The names in it get their class, once for all. */
static void replay_key(struct kv_replay_op *r)
{
    r->key = kv_key_of(r->op.key.p, r->op.key.size);
    r->a = replay_names(&r->op) ? kv_key_of(r->op.a.p, r->op.a.size)
                                : (struct kv_key){.size = 0};
}

void kv_store_set_position(struct kv_store *store, uint64_t position)
{
    kv_lock_take(&store->lock);
    store->pos = position;
    atomic_store(&store->position_hint, position);
    atomic_store(&store->defs_hint, store->live.defs_version);
    atomic_store(&store->released, position);
    kv_lock_drop(&store->lock);
}

static void replay_trim(struct kv_store *store)
{
    if (store->newest == NULL && store->mark_count == 0)
        kv_undo_trim(store);
}

/* Free what a large op has left; drops the lock. */
static void replay_end(struct kv_store *store)
{
    const bool sweep =
        store->pend.count > REPLAY_GC || store->reap.count > REPLAY_GC;

    store->txn.open = false;
    if (sweep)
        while (kv_reap_some(store, REPLAY_GC))
            continue;
    kv_lock_drop(&store->lock);
    if (sweep)
        (void)kv_view_gc(store, UINT32_MAX);
}

/* ---- frames ------------------------------------------------------------------- */

struct replay {
    struct kv_store *store;
    struct kv_txn *txn;
    const struct kv_frame *frames;
    unsigned n;
    unsigned done;    /* frames that are in the store */
    unsigned decoded; /* frames decoded to their end */
    const uint8_t *p; /* in the next of them; NULL: at its begin */
    struct kv_replay_op ops[KV_BATCH_MAX];
    unsigned count;
    struct kv_hints hints[KV_BATCH_MAX];
};

/* Decode a turn. An error is of frame `decoded`: what the turn has of that is
 * dropped, what it has of those before it stays. */
static kvsql_rc replay_decode(struct replay *r, struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    r->count = 0;
    while (r->decoded < r->n && r->count < KV_BATCH_MAX) {
        const struct kv_frame *const frame = &r->frames[r->decoded];
        const uint8_t *const end = frame->payload + frame->size;

        if (r->p == NULL)
            r->p = frame->payload;
        while (r->p < end && r->count < KV_BATCH_MAX) {
            struct kv_replay_op *const op = &r->ops[r->count];
            rc = kv_op_decode(&r->p, end, &op->op, err);
            if (rc != KVSQL_OK) {
                while (r->count > 0 &&
                       r->ops[r->count - 1].frame == r->decoded)
                    r->count--;
                return rc;
            }
            op->frame = r->decoded;
            replay_key(op);
            r->count++;
        }
        if (r->p == end) {
            r->decoded++;
            r->p = NULL;
        }
    }
    return rc;
}

/* The frames before `to` are whole: each has its position now. */
static void replay_finish(struct replay *r, unsigned to)
{
    struct kv_store *const store = r->store;

    for (; r->done < to; r->done++) {
        KV_ASSERT(r->frames[r->done].position == store->pos + 1); /* W3 */
        store->pos++;
        store->ops += r->txn->count;
        r->txn->count = 0;
        if (store->undo_used > REPLAY_LOG_MAX)
            replay_trim(store);
        r->txn->base = r->txn->keep = kv_undo_mark(store);
    }
}

/* What the store is now, told to those who ask without the lock. */
static void replay_publish(struct kv_store *store)
{
    atomic_store(&store->released, store->pos);
    atomic_store(&store->position_hint, store->pos);
    if (store->live.defs_version != atomic_load(&store->defs_hint))
        atomic_store(&store->defs_hint, store->live.defs_version);
}

/* Blocks that the turn has left, while they are still in the cache: only those of
 * batches that are whole. */
static void replay_free(struct kv_store *store)
{
    void *block[REPLAY_FREE];
    const unsigned n = kv_view_collect(store, block, REPLAY_FREE);

    for (unsigned i = 0; i < n; i++)
        kv_block_free(block[i]);
}

static kvsql_rc replay_turn(struct replay *r, struct kvsql_error *err)
{
    const kvsql_rc decoded = replay_decode(r, err);
    const bool warm = r->count >= REPLAY_WARM_MIN;

    if (warm)
        kv_store_warm(r->store, r->ops, r->count, r->hints);
    for (unsigned i = 0; i < r->count; i++) {
        struct kvsql_error cause;
        replay_finish(r, r->ops[i].frame);
        r->txn->near = false;
        r->txn->hints = warm ? &r->hints[i] : NULL;
        const kvsql_rc rc = replay_op(r->txn, &r->ops[i], &cause);
        if (rc != KVSQL_OK) {
            if (err != NULL)
                *err = cause;
            return rc;
        }
    }
    r->txn->hints = NULL;
    replay_finish(r, r->decoded);
    replay_publish(r->store);
    replay_free(r->store);
    return decoded;
}

kvsql_rc kv_store_replay(struct kv_store *store, const struct kv_frame *frames,
                         unsigned n, unsigned *done, struct kvsql_error *err)
{
    struct replay r; /* large: what is not set here is set turn by turn */
    kvsql_rc rc;

    r.store = store;
    r.txn = &store->txn;
    r.frames = frames;
    r.n = n;
    r.done = r.decoded = 0;
    r.p = NULL;
    *done = 0;
    kv_lock_take(&store->lock);
    rc = kv_txn_open(store, true, err);
    if (rc != KVSQL_OK) {
        kv_lock_drop(&store->lock);
        return rc;
    }
    store->txn.numbered = true;
    while (rc == KVSQL_OK && r.done < n)
        rc = replay_turn(&r, err);
    store->txn.hints = NULL;
    if (rc != KVSQL_OK) /* views, a repair follow */
        kv_undo_to(store, r.txn->base, UINT64_MAX);
    replay_publish(store);
    replay_trim(store);
    replay_end(store);
    *done = r.done;
    return rc;
}

/* ---- loading ------------------------------------------------------------------ */

kvsql_rc kv_store_load(struct kv_store *store, const struct kv_op *op,
                       struct kvsql_error *err)
{
    struct kv_replay_op one = {.op = *op};
    kvsql_rc rc;

    kv_lock_take(&store->lock);
    rc = kv_txn_open(store, true, err);
    if (rc != KVSQL_OK) {
        kv_lock_drop(&store->lock);
        return rc;
    }
    replay_key(&one);
    rc = replay_op(&store->txn, &one, err);
    replay_trim(store);
    replay_end(store);
    return rc;
}
