/* index.h - what index.c, index_schema.c and index_build.c share.
 *
 * Thread: the holder of the store lock. */
#ifndef KVSQL_INDEX_H
#define KVSQL_INDEX_H

#include "kvsql/collection.h"

/* kv_tree.flags of an index */
#define KV_INDEX_COMPLETE 0x8000
#define KV_INDEX_STATES 0x4000 /* a hash has had more than one entry */
#define KV_INDEX_KEEP (64u << 10) /* bytes that a buffer keeps */

/* A typist is there. */
KV_INTERNAL bool kv_index_kept(const struct kv_store *store);
/* Make store->schema that of the live root; false: no memory. */
KV_INTERNAL bool kv_index_schema(struct kv_store *store) KV_MUST_USE;
/* The key begins with the prefix. */
KV_INTERNAL bool kv_index_covers(const struct kv_index *index,
                                 const struct kv_key *key);

/* { u32 size, entry }... of the hash, changed by `change` (or NULL); none for
 * no hash. False: no memory. */
KV_INTERNAL bool kv_index_entries(const struct kv_store *store,
                                  const struct kv_index *index,
                                  const struct kv_key *key,
                                  const struct kv_cell *hash,
                                  const struct kv_element *change,
                                  struct kv_buf *out) KV_MUST_USE;
KV_INTERNAL kvsql_slice kv_index_next_entry(const struct kv_buf *buf,
                                            size_t *place);

/* The tree of an index, or NULL; the same to be changed, false: no memory. */
KV_INTERNAL struct kv_tree *kv_index_find(const struct kv_node *indexes,
                                          const struct kv_key *id);
KV_INTERNAL bool kv_index_own(struct kv_store *store, const struct kv_key *id,
                              struct kv_tree **tree) KV_MUST_USE;
/* From the entries schema.was to schema.will. */
KV_INTERNAL bool kv_index_turn(struct kv_store *store,
                               const struct kv_index *index) KV_MUST_USE;
/* A tree without entries; `complete` when it is to have none. Away with it. */
KV_INTERNAL bool kv_index_make(struct kv_store *store,
                               const struct kv_index *index,
                               bool complete) KV_MUST_USE;
KV_INTERNAL bool kv_index_drop(struct kv_store *store,
                               const struct kv_key *id) KV_MUST_USE;

#endif
