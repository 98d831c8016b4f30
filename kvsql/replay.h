/* replay.h - ops of the wal on their way into the store: see replay.c. */
#ifndef KVSQL_REPLAY_H
#define KVSQL_REPLAY_H

#include "kvsql/op.h"
#include "kvsql/seg.h"
#include "kvsql/store.h"

/* An op that is about to be applied. */
struct kv_replay_op {
    struct kv_op op;
    struct kv_key key, a; /* its key; the name in `a`, if that is one */
    unsigned frame;       /* number of the frame that it is of */
};

/* Apply n good frames, batches with the positions behind the store's. *done of
 * them are in the store; when the result is not KVSQL_OK it is frame *done that
 * failed, and nothing of it is there. No expiry decision is made (T5).
 * KVSQL_CORRUPT, KVSQL_NEWER: its ops are none; KVSQL_NOMEM; else it is what the
 * store answered to them. Behind the last, kv_store_replay_end().
 * Single-threaded. */
KV_INTERNAL kvsql_rc kv_store_replay(struct kv_store *store,
                                     const struct kv_frame *frames, unsigned n,
                                     unsigned *done, struct kvsql_error *err)
    KV_MUST_USE;
/* The last frame is in: sorted sets that wait for their order get it (order.c).
 * Until then nobody may read one, or take a view. KVSQL_NOMEM: the store is good
 * to be closed only. Single-threaded. O(1), or O(n log n) in the members of such
 * sets, and some 50 MB for a while at most. */
KV_INTERNAL kvsql_rc kv_store_replay_end(struct kv_store *store,
                                         struct kvsql_error *err) KV_MUST_USE;
/* Where these ops will go, into hints[n], and so into the cache; n <= KV_BATCH_MAX.
 * They need not be valid, but their slices must be. Changes nothing. The holder of
 * the store lock. */
struct kv_hints;
KV_INTERNAL void kv_store_warm(struct kv_store *store,
                               const struct kv_replay_op *ops, unsigned n,
                               struct kv_hints *hints);

#endif
