/* usage.c - the memory that one key takes.
 *
 * A key has no block of its own: it lies in a leaf beside its neighbours. So
 * its share is counted: of the leaf, in proportion to its bytes there; of each
 * inner node above, one part in as many as there are entries below. The shares
 * of all keys together are the bytes of the whole keyspace.
 *
 * Thread: any on a view; on a txn the holder of the store lock. */
#include "kvsql/node_ops.h"

/* Bytes of what the cell points to. */
static uint64_t usage_behind(const struct kv_cell *cell)
{
    if (!entry_has_ptr(cell->form))
        return 0;
    if (cell->form == KV_FORM_TREE)
        return sizeof(struct kv_tree) + ((const struct kv_tree *)cell->ptr)->bytes;
    return kv_block_size(cell->ptr);
}

/* Part of the leaf's block that the entry stands for. */
static double usage_in_leaf(const struct kv_node *leaf, uint32_t index)
{
    const uint32_t mine = kv_node_item_size(leaf, index, leaf->plen);
    const uint32_t all =
        node_live(leaf) - (uint32_t)sizeof(*leaf) - leaf->plen;

    return (double)leaf->cap * mine / all;
}

bool kv_key_memory(const struct kv_at *at, const struct kv_key *key,
                   uint64_t *bytes)
{
    const struct kv_node *node = at->root->keys[key->cls];
    double share = 0;
    struct kv_cell cell;
    bool found = false;

    if (node == NULL)
        return false;
    uint64_t below = kv_tree_count(node);
    while (node->level > 0) {
        const struct kv_inner_slot *const slot =
            &inner_slots(node)[inner_find(node, key->p, key->size)];
        share += (double)node->cap / (double)below;
        below = slot->count;
        node = slot->child;
    }
    const uint32_t index = leaf_find(node, key->p, key->size, &found);
    if (!found)
        return false;
    entry_cell(node, index, &cell);
    if (kv_cell_hidden(&cell, at->now))
        return false;
    share += usage_in_leaf(node, index);
    const struct kv_blob *const keyblob = entry_keyblob(node, index);
    if (keyblob != NULL)
        share += (double)kv_block_size(keyblob);
    *bytes = (uint64_t)(share + 0.5) + usage_behind(&cell);
    return true;
}
