/* check.c - the whole store looked at: invariants asserted, bytes hashed. For
 * tests (TS2, TS4); nothing here changes anything.
 *
 * Thread: takes the store lock. */
#include <string.h>

#include "kvsql/node_ops.h"
#include "kvsql/packed.h"
#include "kvsql/plist.h"

struct check_fence {
    const uint8_t *p; /* NULL: none */
    uint32_t size;
};

static int check_compare(const uint8_t *a, uint32_t a_size, const uint8_t *b,
                         uint32_t b_size)
{
    const struct kv_key x = {.p = a, .size = a_size},
                        y = {.p = b, .size = b_size};

    return kv_key_compare(&x, &y);
}

static void check_prefix(const struct kv_node *node,
                         const struct check_fence *low,
                         const struct check_fence *high)
{
    const bool own = (node->flags & KV_NODE_OWN) != 0;

    KV_ASSERT(!own || (node->plen > 0 && node->plen <= KV_PREFIX_MAX));
    if (own) /* T1: the keys are compared with the fences */
        return;
    if (low->p == NULL || high->p == NULL) {
        KV_ASSERT(node->plen == 0); /* T1 */
        return;
    }
    KV_ASSERT(node->plen <= low->size && node->plen <= high->size);
    KV_ASSERT(memcmp(low->p, high->p, node->plen) == 0);
    KV_ASSERT(node->plen == 0 ||
              memcmp(node_prefix(node), low->p, node->plen) == 0);
}

static void check_key(const struct kv_node *node, uint32_t index,
                      const struct check_fence *low,
                      const struct check_fence *high, uint8_t *last,
                      uint32_t *last_size)
{
    uint8_t buffer[KV_KEY_BUFFER];
    uint32_t size;
    bool stable;
    const uint8_t *const key = kv_node_key(node, index, buffer, &size, &stable);

    KV_ASSERT(size >= node->plen); /* a key blob is the whole key */
    KV_ASSERT(memcmp(key, node_prefix(node), node->plen) == 0);
    KV_ASSERT(low->p == NULL ||
              check_compare(low->p, low->size, key, size) <= 0);
    KV_ASSERT(high->p == NULL ||
              check_compare(key, size, high->p, high->size) < 0);
    KV_ASSERT(*last_size > KV_KEY_BUFFER ||
              check_compare(last, *last_size, key, size) < 0);
    *last_size = size;
    if (size <= KV_KEY_BUFFER)
        memcpy(last, key, size);
}

static void check_tree(struct kv_store *store, const struct kv_tree *tree,
                       enum kv_type type);

static void check_cell(struct kv_store *store, const struct kv_cell *cell)
{
    if (entry_has_ptr(cell->form))
        KV_ASSERT((*(const uint64_t *)cell->ptr & ~UINT64_C(0xff)) <=
                  store->gen);
    if (cell->type != KV_NONE && cell->form == KV_FORM_TREE)
        check_tree(store, cell->ptr, (enum kv_type)cell->type);
}

static struct kv_summary check_node(struct kv_store *store,
                                    const struct kv_node *node, unsigned depth,
                                    const struct check_fence *low,
                                    const struct check_fence *high);

/* T2: slot 0 has the fence of the node itself. */
static void check_inner(struct kv_store *store, const struct kv_node *node,
                        unsigned depth, const struct check_fence *low,
                        const struct check_fence *high)
{
    uint8_t low_buffer[KV_KEY_BUFFER], high_buffer[KV_KEY_BUFFER];
    bool stable;

    for (uint32_t i = 0; i < node->n; i++) {
        const struct kv_inner_slot *const slot = &inner_slots(node)[i];
        struct check_fence below = *low, above = *high;
        if (i > 0)
            below.p = kv_node_key(node, i, low_buffer, &below.size, &stable);
        if (i + 1 < node->n)
            above.p =
                kv_node_key(node, i + 1, high_buffer, &above.size, &stable);
        KV_ASSERT(slot->child->level == node->level - 1);
        KV_ASSERT(kv_block_newer(node, store->viewgen) ||
                  !kv_block_newer(slot->child, store->viewgen)); /* I2 */
        const struct kv_summary summary =
            check_node(store, slot->child, depth + 1, &below, &above);
        KV_ASSERT(summary.count == slot->count); /* ST8 */
        KV_ASSERT((summary.types & ~slot->types) == 0);
        KV_ASSERT(bound_get(slot->min_exp) <= summary.bound);
    }
}

static struct kv_summary check_node(struct kv_store *store,
                                    const struct kv_node *node, unsigned depth,
                                    const struct check_fence *low,
                                    const struct check_fence *high)
{
    uint8_t last[KV_KEY_BUFFER];
    uint32_t last_size = UINT32_MAX, bytes = node->plen; /* no last key yet */
    struct kv_summary summary;
    struct kv_cell cell;

    KV_ASSERT(depth < KV_HEIGHT_MAX);
    KV_ASSERT(sizeof(*node) + node->n * node_slot_size(node) + node->used <=
              node->cap);
    check_prefix(node, low, high);
    for (uint32_t i = 0; i < node->n; i++) {
        if (node->level == 0 || i > 0)
            check_key(node, i, low, high, last, &last_size);
        else
            KV_ASSERT(inner_slots(node)[0].head == 0); /* T2 */
        bytes += kv_node_item_size(node, i, node->plen) - node_slot_size(node);
        if (node->level == 0) {
            entry_cell(node, i, &cell);
            check_cell(store, &cell);
        }
    }
    KV_ASSERT(bytes + node->garb == node->used);
    if (node->level > 0)
        check_inner(store, node, depth, low, high);
    kv_node_summary(node, &summary);
    return summary;
}

static uint64_t check_root(struct kv_store *store, const struct kv_node *root)
{
    const struct check_fence none = {.p = NULL};

    if (root == NULL)
        return 0;
    return check_node(store, root, 0, &none, &none).count;
}

/* EN4: whether a member lies in a blob depends on its size alone, and the entry
 * by score points to the member's own. Returns how many blobs were seen. */
static uint64_t check_blobs(const struct kv_tree *tree,
                            const struct kv_node *node)
{
    const struct kv_node *leaf;
    struct kv_entry entry, owner;
    uint64_t blobs = 0;
    uint32_t index;

    for (uint32_t i = 0; node != NULL && i < node->n; i++) {
        if (node->level > 0) {
            blobs += check_blobs(tree, inner_slots(node)[i].child);
            continue;
        }
        entry_open(node, i, &entry);
        const uint32_t size = entry.klen + node->plen + leaf_blob_skip(node);
        KV_ASSERT((entry.keyblob != NULL) == (size > KV_SUFFIX_MAX));
        blobs += entry.keyblob != NULL;
        if (entry.keyblob == NULL || !(node->flags & KV_NODE_SCORE))
            continue;
        const uint8_t *const member = entry.keyblob->d + KV_SCORE_SIZE;
        const bool there =
            kv_tree_find(tree->root[0], member, size - KV_SCORE_SIZE,
                         &leaf, &index) ||
            kv_tree_find(tree->root[1], member, size - KV_SCORE_SIZE,
                         &leaf, &index);
        KV_ASSERT(there);
        entry_open(leaf, index, &owner);
        KV_ASSERT(owner.keyblob == entry.keyblob);
    }
    return blobs;
}

static void check_tree(struct kv_store *store, const struct kv_tree *tree,
                       enum kv_type type)
{
    if (type == KV_LIST) {
        KV_ASSERT(kv_plist_check(tree) == tree->bytes);
        return;
    }
    for (unsigned cls = 0; cls < 2; cls++)
        KV_ASSERT(check_root(store, tree->root[cls]) == tree->count[cls]);
    const uint64_t scored = check_root(store, tree->root[2]);
    if (type != KV_ZSET)
        return;
    KV_ASSERT(scored == tree->count[0] + tree->count[1]);
    KV_ASSERT(check_blobs(tree, tree->root[2]) ==
              check_blobs(tree, tree->root[0]) +
                  check_blobs(tree, tree->root[1]));
}

static uint64_t check_held(const struct kv_list *list,
                           const struct kv_view *view)
{
    uint64_t bytes = 0;

    for (const struct kv_list_chunk *chunk = list->head; chunk != NULL;
         chunk = chunk->next)
        for (uint32_t i = chunk->from; i < chunk->to; i++)
            if (chunk->entry[i].block != NULL &&
                !kv_block_newer(chunk->entry[i].block, view->gen))
                bytes += kv_block_size(chunk->entry[i].block);
    return bytes;
}

/* What a view holds back is what died behind it and was born before. */
static void check_views(const struct kv_store *store)
{
    for (const struct kv_view *view = store->oldest; view != NULL;
         view = view->newer) {
        uint64_t bytes = check_held(&store->dead, view);
        for (const struct kv_view *v = view->newer; v != NULL; v = v->newer)
            bytes += check_held(&v->dead, view);
        KV_ASSERT(view->closing || view->retained == bytes);
    }
}

/* The tree of each index is a set of BLOBs. */
static void check_indexes(struct kv_store *store, const struct kv_node *node)
{
    struct kv_cell cell;

    for (uint32_t i = 0; node != NULL && i < node->n; i++) {
        if (node->level > 0) {
            check_indexes(store, inner_slots(node)[i].child);
            continue;
        }
        entry_cell(node, i, &cell);
        KV_ASSERT(cell.form == KV_FORM_TREE);
        check_tree(store, cell.ptr, KV_SET);
    }
}

void kv_store_check(struct kv_store *store)
{
    kv_lock_take(&store->lock);
    for (unsigned cls = 0; cls < 2; cls++)
        KV_ASSERT(check_root(store, store->live.keys[cls]) ==
                  store->live.count[cls]);
    (void)check_root(store, store->live.indexes);
    check_indexes(store, store->live.indexes);
    if (store->live.answers != NULL)
        check_tree(store, store->live.answers, KV_HASH);
    kv_index_check(store);
    check_views(store);
    uint64_t stamp = 0;
    for (const struct kv_list_chunk *chunk = store->pend.head; chunk != NULL;
         chunk = chunk->next) {
        for (uint32_t i = chunk->from; i < chunk->to; i++) {
            if (chunk->entry[i].block == NULL)
                continue;
            KV_ASSERT(chunk->entry[i].stamp >= stamp); /* I9 */
            stamp = chunk->entry[i].stamp;
        }
    }
    kv_lock_drop(&store->lock);
}

/* ---- hash of every byte that an undo restores -------------------------------- */

static uint64_t check_mix(uint64_t hash, const void *p, size_t size)
{
    const uint8_t *const b = p; /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t check_hash_tree(uint64_t hash, const struct kv_tree *tree,
                                enum kv_type type);

/* The heap, without the lru bytes of its entries (LR1). */
static uint64_t check_hash_heap(uint64_t hash, const struct kv_node *node)
{
    const uint8_t *const heap = (const uint8_t *)node + node->cap - node->used;
    uint8_t copy[KV_LEAF_MAX];
    struct kv_cell cell;

    memcpy(copy, heap, node->used);
    for (uint32_t i = 0; node->level == 0 && i < node->n; i++) {
        entry_cell(node, i, &cell);
        if (cell.lru != NULL)
            memset(copy + (cell.lru - heap), 0, KV_LRU_SIZE);
    }
    return check_mix(hash, copy, node->used);
}

static uint64_t check_hash_node(uint64_t hash, const struct kv_node *node)
{
    struct kv_entry entry;
    struct kv_cell cell;

    if (node == NULL)
        return hash;
    hash = check_mix(hash, node,
                     sizeof(*node) + (size_t)node->n * node_slot_size(node));
    hash = check_hash_heap(hash, node);
    for (uint32_t i = 0; i < node->n; i++) {
        if (node->level > 0) {
            hash = check_hash_node(hash, inner_slots(node)[i].child);
            continue;
        }
        entry_open(node, i, &entry);
        entry_cell(node, i, &cell);
        if (entry.keyblob != NULL)
            hash = check_mix(hash, entry.keyblob->d, entry.keyblob->len);
        if (cell.form == KV_FORM_TREE) {
            hash = check_hash_tree(hash, cell.ptr, (enum kv_type)cell.type);
        } else if (entry_has_ptr(cell.form)) {
            const struct kv_blob *const blob = cell.ptr;
            hash = check_mix(hash, blob, sizeof(*blob) + blob->len + 1);
        }
    }
    return hash;
}

static uint64_t check_hash_list(uint64_t hash, const struct kv_tree *tree)
{
    struct kv_walk walk;
    struct kv_val value;
    uint32_t offset;

    for (bool ok = kv_plist_seek(tree, 0, &walk, &offset); ok;
         ok = kv_plist_next(&walk, &offset)) {
        kv_plist_item(&walk, offset, &value);
        hash = check_mix(hash, value.p, value.size);
    }
    return hash;
}

static uint64_t check_hash_tree(uint64_t hash, const struct kv_tree *tree,
                                enum kv_type type)
{
    hash = check_mix(hash, tree, sizeof(*tree));
    if (type == KV_LIST)
        return check_hash_list(hash, tree);
    for (unsigned i = 0; i < 3; i++)
        hash = check_hash_node(hash, tree->root[i]);
    return hash;
}

uint64_t kv_store_hash(struct kv_store *store)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    /* inside a txn the caller holds the lock already */
    const bool mine = !store->txn.open;
    if (mine)
        kv_lock_take(&store->lock);
    hash = check_mix(hash, &store->live, sizeof(store->live));
    hash = check_mix(hash, &store->tally, sizeof(store->tally));
    for (unsigned cls = 0; cls < 2; cls++)
        hash = check_hash_node(hash, store->live.keys[cls]);
    hash = check_hash_node(hash, store->live.indexes);
    if (store->live.defs != NULL)
        hash = check_mix(hash, store->live.defs->d, store->live.defs->len);
    if (store->live.answers != NULL)
        hash = check_hash_tree(hash, store->live.answers, KV_HASH);
    if (mine)
        kv_lock_drop(&store->lock);
    return hash;
}
