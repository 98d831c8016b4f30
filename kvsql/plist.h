/* plist.h - large lists: a tree by position (EN2).
 *
 * The leaves are kv_nodes with KV_NODE_LIST: header, then packed items
 * (packed.h) between two offsets, with a gap at the left when it is the left
 * edge; no slots. In a leaf
 *
 *   n     items                       hint  offset of the first item
 *   cap   bytes of the block          used  offset behind the last item
 *
 * and garb, plen, run, spare are 0; bytes outside [hint, used) mean nothing
 * and are not restored by an undo. An item longer than KV_PACKED_ITEM_MAX is
 * kind 3 with 9 bytes: pointer to a kv_blob, class. Inner nodes hold n
 * kv_pos_slots. tree->root[2] is the root, tree->count[0] the length,
 * tree->bytes all blocks below; all three are kept here by kv_edit.
 *
 * The kv_tree block passed to the changing functions is owned by the caller
 * (kv_owned); everything below is owned here as needed. Each changing function
 * calls kv_room itself first; KVSQL_NOMEM may leave a half-done change: the
 * caller takes it back by its undo mark.
 *
 * Thread: reading any (on views), changing the holder of the store lock. */
#ifndef KVSQL_PLIST_H
#define KVSQL_PLIST_H

#include "kvsql/node.h"

/* The bytes of a leaf's items. */
static inline __attribute__((unused)) const uint8_t *
kv_plist_leaf_items(const struct kv_node *leaf, uint32_t *size)
{
    *size = (uint32_t)(leaf->used - leaf->hint);
    return (const uint8_t *)leaf + leaf->hint;
}

/* Values are bytes with class; index <= length for insert, < length else.
 * KVSQL_TOOBIG: a list holds at most 2^32 - 1 items; nothing changed. */
KV_INTERNAL kvsql_rc kv_plist_insert(struct kv_store *store,
                                     struct kv_tree *tree, uint64_t index,
                                     const struct kv_key *value) KV_MUST_USE;
KV_INTERNAL kvsql_rc kv_plist_set(struct kv_store *store, struct kv_tree *tree,
                                  uint64_t index,
                                  const struct kv_key *value) KV_MUST_USE;
/* O(count removed in leaves + log n): whole subtrees inside the range are
 * retired block by block; the caller removes whole lists itself. */
KV_INTERNAL kvsql_rc kv_plist_remove(struct kv_store *store,
                                     struct kv_tree *tree, uint64_t index,
                                     uint64_t count) KV_MUST_USE;
/* Element `index`; false behind the end. O(log n). */
KV_INTERNAL bool kv_plist_get(const struct kv_tree *tree, uint64_t index,
                              struct kv_val *out);
/* A cursor: walk->path and *offset name an item; get decodes it. */
KV_INTERNAL bool kv_plist_seek(const struct kv_tree *tree, uint64_t index,
                               struct kv_walk *walk, uint32_t *offset);
KV_INTERNAL void kv_plist_item(const struct kv_walk *walk, uint32_t offset,
                               struct kv_val *out);
KV_INTERNAL bool kv_plist_next(struct kv_walk *walk, uint32_t *offset);
/* The items from the cursor on, at most `max`; it goes on to the one behind
 * them. Returns how many. */
KV_INTERNAL uint32_t kv_plist_read(struct kv_walk *walk, uint32_t *offset,
                                   struct kv_val *out, uint32_t max);
/* prev: costs a walk over the leaf. */
KV_INTERNAL bool kv_plist_prev(struct kv_walk *walk, uint32_t *offset);
/* Walk for reaping and checking: calls each block below `node` that belongs
 * to it alone: for a leaf its item blobs. (Inner nodes' children are walked by
 * the caller.) */
KV_INTERNAL void kv_plist_leaf_blobs(const struct kv_node *leaf,
                                     void (*each)(void *arg, struct kv_blob *),
                                     void *arg);
/* Asserts counts, bytes and shape of the whole list; returns its block bytes.
 * For tests. */
KV_INTERNAL uint64_t kv_plist_check(const struct kv_tree *tree);

#endif
