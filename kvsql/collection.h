/* collection.h - hashes, sets, sorted sets: see collection.c. */
#ifndef KVSQL_COLLECTION_H
#define KVSQL_COLLECTION_H

#include "kvsql/packed.h"
#include "kvsql/store_private.h"

/* One element to be written. */
struct kv_element {
    const struct kv_key *key;
    const struct kv_key *value; /* hash, else NULL */
    uint64_t deadline;          /* hash: store time, 0 = none */
    double score;               /* zset */
};

struct kv_collection {
    struct kv_txn *txn;
    const struct kv_key *key;
    enum kv_type type;
    bool exists;
    bool same;            /* a put had nothing to change: take it back */
    bool looked, there;   /* zset in tree form: the member was looked up ... */
    double score;         /* ... and has this score */
    struct kv_blob *keyblob; /* ... and lies in this blob, if it is long */
    struct kv_cell cell;
    bool owned;           /* the path is the key's, from when it was found */
    bool placed;          /* or, owned too, leads to where the key would come */
    struct kv_path path;  /* owned path of the key */
    struct kv_tree *tree; /* tree form: owned */
    struct kv_path *lead; /* the way to the element in its tree; NULL: none */
    bool hinted;          /* zset: by a hint to this element */
    struct kv_path looked_at; /* zset: the lead, when it was looked up here */
};

/* Find the key for a change; WRONGTYPE, NOMEM. */
KV_INTERNAL kvsql_rc kv_collection_open(struct kv_collection *c,
                                        struct kv_txn *txn,
                                        const struct kv_key *key,
                                        enum kv_type type,
                                        struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL bool kv_collection_is_tree(const struct kv_collection *c);
/* Add or replace an element; false: no memory, take it back. With c->same the
 * element was there already, just so. */
KV_INTERNAL bool kv_collection_put(struct kv_collection *c,
                                   const struct kv_element *e,
                                   bool *created) KV_MUST_USE;
KV_INTERNAL bool kv_collection_put_tree(struct kv_collection *c,
                                        const struct kv_element *e,
                                        bool *created) KV_MUST_USE;
/* Remove an element; the last one removes the key. When it did not exist,
 * take back what was done, too. */
KV_INTERNAL bool kv_collection_remove(struct kv_collection *c,
                                      const struct kv_key *key,
                                      bool *existed) KV_MUST_USE;
KV_INTERNAL bool kv_collection_find(const struct kv_tree *tree,
                                    const struct kv_key *key,
                                    struct kv_cell *cell);
/* A field of the hash in a cell, expired or not; false: it is absent. */
KV_INTERNAL bool kv_cell_field(const struct kv_cell *cell,
                               const struct kv_key *field, uint64_t *deadline,
                               struct kv_val *value);
/* Before a field of a hash is put (index.c), or with a value of NULL removed.
 * False: no memory. */
KV_INTERNAL bool kv_index_field_slow(const struct kv_collection *c,
                                     const struct kv_element *e) KV_MUST_USE;
KV_MUST_USE static inline bool kv_index_field(const struct kv_collection *c,
                                              const struct kv_element *e)
{
    return KV_LIKELY(c->txn->store->live.defs == NULL) ||
           c->type != KV_HASH || kv_index_field_slow(c, e);
}
/* Make `run` the key's value. */
KV_INTERNAL bool kv_collection_store(struct kv_collection *c,
                                     const uint8_t *run,
                                     uint32_t size) KV_MUST_USE;
/* Own the key's path and the kv_tree block. */
KV_INTERNAL bool kv_collection_own(struct kv_collection *c) KV_MUST_USE;
/* The same for what is no change of the key: no new version (EN6). */
KV_INTERNAL bool kv_collection_own_path(struct kv_collection *c) KV_MUST_USE;
/* A new, empty tree as the value of the key (keeps expiry). The old run is
 * retired: copy it first. */
KV_INTERNAL bool kv_collection_new_tree(struct kv_collection *c) KV_MUST_USE;
/* Add what delta_bytes grew by since `before` to the tree's bytes. */
KV_INTERNAL void kv_tree_bytes(struct kv_store *store, struct kv_tree *tree,
                               int64_t before);

#endif
