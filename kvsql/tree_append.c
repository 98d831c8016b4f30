/* tree_append.c - filling a tree in the order of its keys (ST9).
 *
 * What comes behind all others goes into the last leaf, whose path is kept: no
 * search, nothing announced, and the slots above are told of many entries at
 * once. The leaf gets its block when its second entry comes, of such a size that
 * a later insert makes it larger before it must be split. A key that has no
 * place there, for the leaf is full, its prefix another, or it is a blob, takes
 * the way of all inserts (tree_put.c), as one of a run (ST6): the full leaf stays
 * as it is and the key begins the next.
 *
 * Always true:
 *   TA1  all nodes on the path are owned, and each index on it is the last.
 *   TA2  what is not announced is what nothing takes back: the tree belongs to
 *        the caller, and the mark of a way that may fail stands behind it.
 *
 * Thread: the caller's, who alone has the store. */
#include "kvsql/tree_private.h"

#define APPEND_LEAF (KV_LEAF_MAX / 16 * 15) /* bytes of a full leaf's block */

static struct kv_node *append_leaf(const struct kv_tree_edge *edge)
{
    return edge->path.at[edge->path.depth - 1].node;
}

/* Tell the slots above of what was appended. */
static void append_settle(struct kv_tree_edge *edge)
{
    for (unsigned d = edge->path.depth; d-- > 1;) {
        struct kv_inner_slot *const slot = &inner_slots(
            edge->path.at[d - 1].node)[edge->path.at[d - 1].index];
        slot->count += edge->added;
        slot->types |= edge->types;
        if (edge->bound < bound_get(slot->min_exp))
            bound_put(slot->min_exp, edge->bound);
    }
    edge->added = 0;
    edge->types = 0;
    edge->bound = BOUND_NONE;
}

/* The leaf in the block that it will fill. */
static bool append_grow(struct kv_store *store, struct kv_node **root,
                        struct kv_tree_edge *edge)
{
    const unsigned d = edge->path.depth - 1;
    const struct kv_node *const leaf = append_leaf(edge);

    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
    struct kv_node *const out =
        kv_node_new(store, APPEND_LEAF, leaf->level, leaf->flags);
    if (out == NULL)
        return false;
    node_copy(out, out->cap, leaf);
    kv_tree_replace(store, root, &edge->path, d, out);
    return true;
}

/* Has the key a place in the last leaf, as it is or in a larger block? `need`:
 * bytes of its entry. */
static bool append_belongs(const struct kv_tree_edge *edge,
                           const struct kv_fresh *fresh, uint32_t *need)
{
    if (edge->path.depth == 0)
        return false;
    const struct kv_node *const leaf = append_leaf(edge);
    if (node_outside(leaf, fresh->key, fresh->size) ||
        fresh->size + leaf_blob_skip(leaf) > KV_SUFFIX_MAX)
        return false;
    *need = kv_node_fresh_size(leaf, fresh, leaf->plen);
    return node_free(leaf) >= *need ||
           (leaf->cap < APPEND_LEAF && leaf->garb == 0 &&
            node_live(leaf) + *need <= APPEND_LEAF);
}

static void append_here(struct kv_store *store, struct kv_tree_edge *edge,
                        const struct kv_fresh *fresh, uint32_t need)
{
    struct kv_node *const leaf = append_leaf(edge);
    const uint64_t bound = tree_cell_bound(leaf->flags, fresh->cell);

    edge->path.at[edge->path.depth - 1].index = leaf->n;
    kv_node_insert(store, leaf, leaf->n, fresh, need, false);
    edge->added++;
    if (node_typed(leaf))
        edge->types |= (uint8_t)(1u << fresh->cell->type);
    if (bound < edge->bound)
        edge->bound = bound;
}

/* However few the leaf has, they came in order (ST6). */
static void append_run(const struct kv_tree_edge *edge)
{
    struct kv_node *const leaf = append_leaf(edge);
    leaf->hint = leaf->n;
    if (leaf->run < NODE_RUN)
        leaf->run = NODE_RUN;
}

bool kv_tree_append(struct kv_store *store, struct kv_node **root,
                    struct kv_tree_edge *edge, uint8_t flags,
                    const uint8_t *key, uint32_t size,
                    const struct kv_cell *cell)
{
    const struct kv_fresh fresh = {.key = key, .size = size, .cell = cell};
    struct kv_cell old;
    uint32_t need;
    bool found;

    if (KV_LIKELY(append_belongs(edge, &fresh, &need))) {
        if (KV_UNLIKELY(node_free(append_leaf(edge)) < need) &&
            !append_grow(store, root, edge))
            return false;
        append_here(store, edge, &fresh, need);
        return true;
    }
    append_settle(edge);
    if (edge->path.depth > 0)
        append_run(edge);
    const uint64_t mark = kv_undo_mark(store); /* TA2 */
    if (!kv_tree_put(store, root, flags, key, size, cell, &old, &found)) {
        kv_undo_to(store, mark, UINT64_MAX);
        return false;
    }
    KV_ASSERT(!found);
    (void)kv_tree_path(*root, key, size, &edge->path);
    for (unsigned d = 0; d < edge->path.depth; d++) /* TA1 */
        KV_ASSERT(edge->path.at[d].index + 1 == edge->path.at[d].node->n);
    return true;
}

void kv_tree_append_end(struct kv_tree_edge *edge)
{
    append_settle(edge);
    edge->path.depth = 0;
}

bool kv_tree_append_fit(struct kv_store *store, struct kv_node **root,
                        struct kv_tree_edge *edge)
{
    uint8_t buffer[KV_KEY_BUFFER];
    uint32_t size;
    bool stable;

    append_settle(edge);
    if (edge->path.depth == 0)
        return true;
    const struct kv_node *const leaf = append_leaf(edge);
    const uint8_t *const key =
        kv_node_key(leaf, leaf->n - 1u, buffer, &size, &stable);
    const uint64_t mark = kv_undo_mark(store);
    edge->path.depth = 0;
    if (kv_tree_fit(store, root, key, size))
        return true;
    kv_undo_to(store, mark, UINT64_MAX);
    return false;
}
