/* undo.h - blocks, ownership and the undo log: the rules that every change of
 * store memory obeys (store.md section 5).
 *
 * To change anything:
 *   1  kv_room() once, before the first change of a step;
 *   2  own the path top-down: a block is yours when kv_owned(); else copy it
 *      (kv_block_copy), announce and change the parent's pointer, retire it;
 *   3  kv_edit(place, n) BEFORE each in-place write to bytes that existed
 *      (I5); blocks made by kv_block_* in this step need none;
 *   4  kv_retire() what is no longer reachable; never free it.
 *
 * Thread: the holder of the store lock only. */
#ifndef KVSQL_UNDO_H
#define KVSQL_UNDO_H

#include "kvsql/node.h"

/* kv_room(store, bytes, blocks): make sure that `bytes` of undo log and list
 * entries for `blocks` births and retirements exist. False, no memory: nothing
 * has happened. The usual step (one insert or removal in one tree) is within
 * KV_ROOM_STEP. In store_private.h, for it is inline. */
#define KV_ROOM_STEP (32 * 1024)
#define KV_ROOM_BLOCKS 64

/* True when no view can see the block. */
static inline bool kv_block_newer(const void *block, uint64_t viewgen)
{
    return *(const uint64_t *)block > viewgen;
}
KV_INTERNAL bool kv_owned(const struct kv_store *store, const void *block);

/* New blocks, born now, recorded as NEW. NULL: no memory, nothing happened.
 * `size` of a node is rounded up to its size class (ST2) and set as cap. */
KV_INTERNAL struct kv_node *kv_node_new(struct kv_store *store, uint32_t size,
                                        uint8_t level, uint8_t flags);
KV_INTERNAL struct kv_tree *kv_tree_block_new(struct kv_store *store);
/* Room for `len` data bytes and a NUL; len set, data not filled, NUL set. */
KV_INTERNAL struct kv_blob *kv_blob_new(struct kv_store *store, uint32_t len);
/* A copy of a node, or of a block of any kind, born now. */
KV_INTERNAL struct kv_node *kv_node_clone(struct kv_store *store,
                                          const struct kv_node *node);
KV_INTERNAL void *kv_block_copy(struct kv_store *store, const void *block);
/* Bytes of the block as allocated. */
KV_INTERNAL size_t kv_block_size(const void *block);

/* Announce that [p, p + n) will be overwritten; n <= 65535. */
KV_INTERNAL void kv_edit(struct kv_store *store, void *p, size_t n);
/* Announce and write a pointer. */
static inline void kv_edit_ptr(struct kv_store *store, void *place, void *value)
{
    kv_edit(store, place, sizeof(value));
    __builtin_memcpy(place, &value, sizeof(value));
}
/* The block is no longer reachable from live. It stays readable until the end
 * of the step at least, but do not rely on its content after changing things
 * (trap 4). */
KV_INTERNAL void kv_retire(struct kv_store *store, void *block);
/* Put a whole removed tree (kv_tree and all below, tree->bytes of them) on the
 * reap queue: O(1), freed in slices by the keeper (MA2). Its bytes are no longer
 * live at once. */
KV_INTERNAL void kv_retire_tree(struct kv_store *store, struct kv_tree *tree);

/* Size class of at least `size` bytes: 64, 80, 96, 112, 128, 160 ... 1024, four
 * to a doubling; 1152 ... 2048, eight. */
KV_INTERNAL uint32_t kv_size_class(uint32_t size);

#endif
