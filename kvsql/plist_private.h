/* plist_private.h - what the files of large lists share.
 *
 *   plist.c       changes: the path, splices raised to the root, merging
 *   plist_node.c  one node: what a splice makes of it
 *   plist_read.c  finding, the cursor, reaping and checking
 *
 * Thread: reading any (on views), changing the holder of the store lock. */
#ifndef KVSQL_PLIST_PRIVATE_H
#define KVSQL_PLIST_PRIVATE_H

#include <string.h>

#include "kvsql/packed.h"
#include "kvsql/plist.h"
#include "kvsql/store_private.h"

#define PLIST_HEAD ((uint32_t)sizeof(struct kv_node))
#define PLIST_LEAF_ROOM (KV_LEAF_MAX - PLIST_HEAD)
#define PLIST_SLOTS_MAX                                                        \
    ((KV_INNER_MAX - PLIST_HEAD) / (uint32_t)sizeof(struct kv_pos_slot))
/* Longer items are blobs. In small test nodes an item must still leave room
 * for a split into two. */
#define PLIST_ITEM_MAX                                                         \
    (KV_LEAF_MAX >= 512 ? KV_PACKED_ITEM_MAX : KV_LEAF_MAX / 4)
#define PLIST_KIND_POINTER 3
#define PLIST_POINTER_TAG (9 << 2 | PLIST_KIND_POINTER)
#define PLIST_POINTER_SIZE 10
#define PLIST_BYTES_MAX (KV_PACKED_ITEM_MAX + 3) /* tag, NUL */
#define PLIST_COUNT_MAX UINT32_MAX
#define PLIST_EDGE_MIN 256  /* first size of a new leaf at an edge ... */
#define PLIST_EDGE_LEAVES 8 /* ... until its parent has that many */

struct plist_path {
    struct kv_node *node[KV_HEIGHT_MAX];
    uint32_t index[KV_HEIGHT_MAX]; /* of the slot taken; in the leaf: item */
    unsigned depth;                /* node[depth] is the leaf */
};

/* One change in progress. */
struct plist_change {
    struct kv_store *store;
    struct kv_tree *tree;
    struct plist_path path;
};

/* [at, at + gone) of a leaf becomes bytes[0, size). */
struct plist_splice {
    uint32_t at, gone;
    const uint8_t *bytes;
    uint32_t size;
    int32_t items; /* change of the number of items */
};

/* What a node became: 0, 1 or 2 nodes. */
struct plist_result {
    struct kv_node *node[2];
    unsigned n;
};

/* ---- bytes -------------------------------------------------------------- */

KV_HEADER_INLINE struct kv_pos_slot *plist_slots(const struct kv_node *node)
{
    return (struct kv_pos_slot *)(void *)((uint8_t *)(uintptr_t)node +
                                          PLIST_HEAD);
}

KV_HEADER_INLINE uint32_t plist_item_size(const uint8_t *p)
{
    uint32_t t = p[0];

    if (KV_LIKELY(t < 128)) {
        return 1 + (t >> 2) + ((t & 3) < 2);
    }
    t = (t & 127) | ((uint32_t)p[1] << 7);
    return 2 + (t >> 2) + ((t & 3) < 2);
}

/* The pointer of a pointer item; NULL for any other item. */
KV_HEADER_INLINE struct kv_blob *plist_blob(const uint8_t *p)
{
    struct kv_blob *blob = NULL;

    if (p[0] == PLIST_POINTER_TAG) {
        memcpy(&blob, p + 1, sizeof(blob));
    }
    return blob;
}

KV_HEADER_INLINE uint64_t plist_count(const struct kv_node *node)
{
    uint64_t count = 0;

    if (node->level == 0) {
        return node->n;
    }
    for (uint32_t i = 0; i < node->n; i++) {
        count += plist_slots(node)[i].count;
    }
    return count;
}

/* ---- plist_read.c ------------------------------------------------------- */

/* Offset of item `index` of a leaf; n gives the end. */
KV_INTERNAL uint32_t kv_plist_offset(const struct kv_node *leaf,
                                     uint32_t index);
/* Path to item `index`; with `edge` to the place where it would be put. */
KV_INTERNAL void kv_plist_find(struct plist_path *path,
                               const struct kv_tree *tree, uint64_t index,
                               bool edge);

/* ---- plist_node.c: NULL and false mean no memory ------------------------ */

/* Whether the node at `depth` is at the left edge of the list. */
KV_INTERNAL bool kv_plist_left_edge(const struct plist_path *path,
                                    unsigned depth);
KV_INTERNAL void kv_plist_drop(struct plist_change *c, struct kv_node *node);
KV_INTERNAL void kv_plist_drop_blob(struct plist_change *c,
                                    struct kv_blob *blob);
/* New nodes; `left_of_4` quarters of a leaf's gap are at its left. */
KV_INTERNAL struct kv_node *kv_plist_leaf(struct plist_change *c,
                                          const uint8_t *bytes, uint32_t size,
                                          uint32_t items, uint32_t left_of_4);
KV_INTERNAL struct kv_node *kv_plist_inner(struct plist_change *c,
                                           uint8_t level,
                                           const struct kv_pos_slot *slots,
                                           uint32_t n);
/* Splice the leaf of the path; the inner nodes above are owned. */
KV_INTERNAL bool kv_plist_leaf_splice(struct plist_change *c,
                                      const struct plist_splice *s,
                                      struct plist_result *result);
/* `gone` slots at `at` become `n` others, in place. Owned, and there is room
 * for it. */
KV_INTERNAL void kv_plist_inner_edit(struct plist_change *c,
                                     struct kv_node *node, uint32_t at,
                                     uint32_t gone,
                                     const struct kv_pos_slot *slots,
                                     uint32_t n);
/* Put `n` slots in the place of the path's slot at `depth`. */
KV_INTERNAL bool kv_plist_inner_splice(struct plist_change *c, unsigned depth,
                                       const struct kv_pos_slot *slots,
                                       uint32_t n,
                                       struct plist_result *result);

#endif
