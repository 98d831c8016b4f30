/* load.h - an empty store that is filled in the order of its keys: see load.c. */
#ifndef KVSQL_LOAD_H
#define KVSQL_LOAD_H

#include "kvsql/op.h"
#include "kvsql/packed.h"
#include "kvsql/tree.h"

struct kv_load {
    struct kv_store *store;
    struct kv_tree_edge edge[2]; /* of the keys of class TEXT, BLOB */
    unsigned turn; /* keys since it was looked after the store */

    struct kv_key key; /* of the collection that is being loaded ... */
    enum kv_type type;
    bool packed;       /* ... all of which is in the run so far */
    unsigned at;       /* that is run[at], of ... */
    uint32_t size;     /* ... so many bytes */
    uint8_t run[2][KV_PACKED_BUFFER];
};

/* An element, or what its type has of this. */
struct kv_load_elem {
    struct kv_key key; /* field or member */
    struct kv_key value;
    int64_t expires_at; /* of a field: wall ms, 0: never */
    double score;
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
/* A key of another type, as above: it is begun, gets its elements, one or more, in
 * order and each once, and is ended. `key` is lent until then. */
KV_INTERNAL void kv_load_elems(struct kv_load *load, const struct kv_key *key,
                               enum kv_type type);
KV_INTERNAL kvsql_rc kv_load_elem(struct kv_load *load,
                                  const struct kv_load_elem *elem,
                                  struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc kv_load_elems_end(struct kv_load *load,
                                       int64_t expires_at,
                                       struct kvsql_error *err) KV_MUST_USE;
/* All is there, or nothing more comes: the store is as any other, also when
 * the result is KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc kv_load_end(struct kv_load *load,
                                 struct kvsql_error *err) KV_MUST_USE;

#endif
