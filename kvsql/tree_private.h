/* tree_private.h - what the files of the tree share.
 *
 *   tree.c        reading, owning a path, removing; what is always true (T1-T3)
 *   tree_put.c    inserting and replacing
 *   tree_append.c inserting in order
 *   tree_split.c  one node becomes two
 *   tree_merge.c  two neighbours become one
 *
 * Thread: the holder of the store lock. */
#ifndef KVSQL_TREE_PRIVATE_H
#define KVSQL_TREE_PRIVATE_H

#include <string.h>

#include "kvsql/node_ops.h"
#include "kvsql/tree.h"

/* ---- prefixes (T1) ------------------------------------------------------------ */

struct tree_fence {
    const uint8_t *p; /* NULL: none */
    uint32_t size;
    uint8_t buffer[KV_KEY_BUFFER];
};

/* Lower fence of node number d of the path. */
KV_INTERNAL void kv_tree_fence_low(const struct kv_path *path, unsigned d,
                                   struct tree_fence *fence);
/* Upper fence of the node `skip` slots to the right of the path at level d. */
KV_INTERNAL void kv_tree_fence_high(const struct kv_path *path, unsigned d,
                                    unsigned skip, struct tree_fence *fence);

/* How many bytes two keys begin with alike. */
static inline uint32_t tree_lcp(const uint8_t *a, uint32_t a_size,
                                const uint8_t *b, uint32_t b_size)
{
    const uint32_t n = a_size < b_size ? a_size : b_size;
    uint32_t i = 0;

    while (i < n && a[i] == b[i])
        i++;
    return i;
}

/* The prefix that two fences tell; 0 bytes without one of them. */
static inline uint32_t tree_prefix(const uint8_t *low, uint32_t low_size,
                                   const uint8_t *high, uint32_t high_size)
{
    if (low == NULL || high == NULL)
        return 0;
    const uint32_t n = tree_lcp(low, low_size, high, high_size);
    return n < KV_PREFIX_MAX ? n : KV_PREFIX_MAX;
}

/* ---- along a path ---------------------------------------------------------------- */

/* kv_tree_own() without making room in the log. */
KV_INTERNAL bool kv_tree_descend(struct kv_store *store, struct kv_node **root,
                                 const uint8_t *key, uint32_t size,
                                 struct kv_path *path) KV_MUST_USE;
/* Replace node number d of the path by `node`. */
KV_INTERNAL void kv_tree_replace(struct kv_store *store, struct kv_node **root,
                                 struct kv_path *path, unsigned d,
                                 struct kv_node *node);
/* Announce and rewrite what the parent's slot says of its child. */
KV_INTERNAL void kv_tree_slot_update(struct kv_store *store,
                                     struct kv_inner_slot *slot);
/* Add to what the slots of the path above level d say. */
KV_INTERNAL void kv_tree_add_up(struct kv_store *store, struct kv_path *path,
                                unsigned d, uint32_t added, uint8_t types,
                                uint64_t bound);
/* Bound of a cell that is being written (fields of a hash included). */
static inline uint64_t tree_cell_bound(uint8_t flags,
                                       const struct kv_cell *cell)
{
    const uint64_t own = bound_of(cell->exp);

    if (!(flags & KV_NODE_TYPED) || cell->type != KV_HASH)
        return own;
    const uint64_t fields = kv_cell_field_bound(cell);
    return fields < own ? fields : own;
}
/* A key longer than the limit of a node like `node` with prefix `plen` gets a
 * key blob of its own; but the long member of a zset lies in one already
 * (EN4). */
KV_INTERNAL bool kv_tree_fresh_blob(struct kv_store *store,
                                    const struct kv_node *node, uint32_t plen,
                                    struct kv_fresh *fresh) KV_MUST_USE;

/* ---- splitting and merging ---------------------------------------------------------- */

/* The sequence that a split divides: the node's entries with the fresh one at
 * `index`, in place of the old one when `replace`. */
struct tree_sequence {
    struct kv_node *node;
    const struct kv_fresh *fresh;
    uint32_t index, count;
    uint32_t bytes; /* of all, with the node's prefix */
    uint32_t plen;  /* what all share of the node's prefix (T1) */
    bool replace;
};

/* One part of the sequence, and what its node will be like. */
struct tree_part {
    uint32_t from, to;
    uint32_t size; /* of slots and entries */
    struct kv_prefix prefix;
    uint8_t buffer[KV_KEY_BUFFER]; /* the prefix may lie here */
};

/* Few keys, or a run that goes on, tell little of those that will come. */
#define SEQUENCE_FEW 4

/* What the keys of a part have in common, at most KV_PREFIX_MAX bytes; *key
 * begins with it. */
KV_INTERNAL uint32_t kv_tree_common(const struct tree_sequence *seq,
                                    struct tree_part *part,
                                    const uint8_t **key);
/* Bytes of a node with prefix `plen` and the slots [from, to) (T2), the prefix
 * and the header apart. */
KV_INTERNAL uint32_t kv_tree_part_bytes(const struct tree_sequence *seq,
                                        uint32_t from, uint32_t to,
                                        uint32_t plen);
/* Split node number d of the path; *up is the slot for the second half (its
 * key lives in key_buffer, a key blob, or the fresh key). */
KV_INTERNAL bool kv_tree_split(struct kv_store *store, struct kv_node **root,
                               struct kv_path *path, unsigned d,
                               const struct tree_sequence *seq,
                               struct kv_fresh *up,
                               uint8_t *key_buffer) KV_MUST_USE;
/* Is the node to be merged with a neighbour (ST7)? */
static inline bool tree_is_small(const struct kv_node *node)
{
    return node_live(node) < KV_LEAF_MAX / 4 || node->n == 0 ||
           (node->level > 0 && node->n == 1);
}
/* Something was removed from the path's leaf, which is small: merge what became small with a
 * neighbour, from the leaf up; lower the tree (ST7). */
KV_INTERNAL bool kv_tree_settle(struct kv_store *store, struct kv_node **root,
                                struct kv_path *path) KV_MUST_USE;

#endif
