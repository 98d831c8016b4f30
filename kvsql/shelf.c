/* shelf.c - released blocks of the larger nodes, kept for the next that is
 * made.
 *
 * malloc is slow above a kilobyte, and nodes come and go: one that grows, is
 * split, or is copied under a view leaves a block of a size that is soon asked
 * for again. A few of each size wait here, linked through their second word.
 *
 * Always true:
 *   SH1  what lies here nobody reaches: it came off pend, released (I4).
 *   SH2  it counts as retired memory until it is taken or given back.
 *   SH3  the keeper gives all of it back when none was taken for a tick.
 *
 * Thread: the holder of the store lock; clear and tick take it. */
#include "kvsql/store_private.h"

bool kv_shelf_put(struct kv_store *store, void *block, size_t size)
{
    struct kv_shelf *const shelf = &store->shelf;
    struct kv_shelf_block *const b = block;
    const size_t of = size / KV_SHELF_STEP;

    if (size < KV_SHELF_MIN || size > KV_LEAF_MAX ||
        size % KV_SHELF_STEP != 0 || shelf->count[of] == KV_SHELF_BLOCKS)
        return false;
#ifdef KVSQL_DEBUG
    memset(block, 0xDD, size); /* TS5 */
#endif
    b->gen = UINT64_MAX; /* of no view */
    b->next = shelf->first[of];
    kv_mem_hide(b + 1, size - sizeof(*b));
    shelf->first[of] = b;
    shelf->count[of]++;
    return true;
}

void kv_shelf_clear(struct kv_store *store)
{
    kv_lock_take(&store->lock);
    const struct kv_shelf shelf = store->shelf;
    store->shelf = (struct kv_shelf){.taken = false};
    for (size_t of = 0; of < KV_SHELF_SIZES; of++)
        store->bytes_retired -= shelf.count[of] * of * KV_SHELF_STEP;
    kv_lock_drop(&store->lock);
    for (size_t of = 0; of < KV_SHELF_SIZES; of++) { /* MA3 */
        for (struct kv_shelf_block *b = shelf.first[of], *next; b != NULL;
             b = next) {
            next = b->next;
            kv_mem_free(KV_MEM_NODE, b, of * KV_SHELF_STEP);
        }
    }
}

bool kv_shelf_tick(struct kv_store *store)
{
    kv_lock_take(&store->lock);
    const bool taken = store->shelf.taken;
    store->shelf.taken = false;
    kv_lock_drop(&store->lock);
    if (!taken)
        kv_shelf_clear(store);
    return taken;
}
