/* load.h - an empty store that is filled in the order of its keys: see load.c. */
#ifndef KVSQL_LOAD_H
#define KVSQL_LOAD_H

#include "kvsql/op.h"
#include "kvsql/tree.h"

struct kv_load {
    struct kv_store *store;
    struct kv_tree_edge edge[2]; /* of the keys of class TEXT, BLOB */
    unsigned turn; /* strings since it was looked after the store */
};

/* Begin to fill an empty store, which nobody else has until kv_load_end(). */
KV_INTERNAL void kv_load_begin(struct kv_load *load, struct kv_store *store);
/* A string. The key is behind all others of its class, which is not checked; its
 * size and that of the value are within the limits. `expires_at` wall ms, 0:
 * never. KVSQL_NOMEM: it is not there. */
KV_INTERNAL kvsql_rc kv_load_string(struct kv_load *load,
                                    const struct kv_key *key,
                                    const struct kv_key *value,
                                    int64_t expires_at,
                                    struct kvsql_error *err) KV_MUST_USE;
/* Any other op, by kv_store_load(). */
KV_INTERNAL kvsql_rc kv_load_op(struct kv_load *load, const struct kv_op *op,
                                struct kvsql_error *err) KV_MUST_USE;
/* All is there, or nothing more comes: the store is as any other, also when
 * the result is KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc kv_load_end(struct kv_load *load,
                                 struct kvsql_error *err) KV_MUST_USE;

#endif
