/* observe.c - telling an observer which keys a batch has changed.
 *
 * The ops of a batch are all that changes anything, whoever asked for it:
 * commands, SQL, REST, the keeper's expiry, eviction. So they are read once
 * more when the batch ends, and only when somebody wants to know; expiry and
 * eviction say so at once, for their ops are like any other's later.
 *
 * Thread: the holder of the store lock; kv_observe any. */
#include <string.h>

#include "kvsql/store_private.h"

void kv_observe(kvsql *db, const struct kv_observer *observer)
{
    struct kv_store *const store = kv_db_store(db);

    if (atomic_load(&store->observer) != observer)
        atomic_store(&store->observer, observer);
}

/* The observer, if it wants to know anything now. */
static const struct kv_observer *observe_observer(const struct kv_txn *txn)
{
    const struct kv_observer *const observer =
        atomic_load_explicit(&txn->store->observer, memory_order_acquire);

    return observer != NULL && atomic_load_explicit(observer->wanted,
                                                    memory_order_relaxed) > 0
               ? observer
               : NULL;
}

static enum kv_observed observe_kind(const struct kv_op *op)
{
    switch (op->kind) {
    case KV_OP_SET:
    case KV_OP_PATCH:
    case KV_OP_HSET:
    case KV_OP_SADD:
    case KV_OP_ZADD:
    case KV_OP_PUSH:
        return KV_OBSERVED_PUT;
    case KV_OP_FLUSH:
        return KV_OBSERVED_FLUSH;
    default:
        return KV_OBSERVED_REST;
    }
}

/* One place in the ops, and the key that the last one was about. */
struct observe_walk {
    const uint8_t *p, *end;
    struct kv_op op;
    enum kv_observed change;
};

/* The next op that is about another key, or does something else to it: many
 * elements of one key are one change. */
static bool observe_next(struct observe_walk *walk)
{
    while (walk->p < walk->end) {
        const struct kv_op last = walk->op;
        const enum kv_observed before = walk->change;
        struct kvsql_error err;
        const bool good =
            kv_op_decode(&walk->p, walk->end, &walk->op, &err) == KVSQL_OK;

        KV_ASSERT(good); /* encoded a moment ago */
        if (walk->op.kind == KV_OP_DEFINE ||
            walk->op.kind == KV_OP_ANSWER) { /* about no key */
            walk->op = last;
            continue;
        }
        walk->change = observe_kind(&walk->op);
        if (last.key.p == NULL || walk->change != before ||
            walk->op.kind == KV_OP_RENAME || last.kind == KV_OP_RENAME ||
            walk->op.key.size != last.key.size ||
            memcmp(walk->op.key.p, last.key.p, last.key.size) != 0)
            return true;
    }
    return false;
}

static void observe_tell(const struct kv_txn *txn, size_t from,
                         bool upkeep,
                         void (*tell)(enum kv_observed change, kvsql_slice key))
{
    struct observe_walk walk = {.p = txn->ops.p + from,
                                .end = txn->ops.p + txn->ops.size};

    while (observe_next(&walk)) {
        tell(upkeep ? KV_OBSERVED_UPKEEP : walk.change, walk.op.key);
        if (walk.op.kind == KV_OP_RENAME)
            tell(KV_OBSERVED_PUT, walk.op.a);
    }
}

static void observe_early(struct kv_txn *txn, bool upkeep)
{
    const struct kv_observer *const observer = observe_observer(txn);

    if (observer != NULL && txn->told < txn->ops.size) {
        observer->begin(txn->store->pos + 1);
        observe_tell(txn, txn->told, upkeep, observer->key);
        observer->end();
    }
    txn->told = txn->ops.size;
}

void kv_txn_tell(struct kv_txn *txn)
{
    observe_early(txn, false);
}

void kv_observe_upkeep(struct kv_txn *txn)
{
    observe_early(txn, true);
}

void kv_observe_done(const struct kv_txn *txn)
{
    const struct kv_observer *const observer = observe_observer(txn);

    if (observer == NULL)
        return;
    observer->begin(txn->store->pos);
    observe_tell(txn, txn->told, false, observer->key);
    observe_tell(txn, 0, false, observer->done);
    observer->end();
}

void kv_observe_undone(struct kv_store *store)
{
    const struct kv_observer *const observer =
        atomic_load_explicit(&store->observer, memory_order_acquire);

    if (observer != NULL && observer->undone != NULL)
        observer->undone();
}
