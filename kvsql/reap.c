/* reap.c - freeing removed trees in slices (MA2).
 *
 * A removed tree waits on store->reap until its removal is released. Then it is
 * walked with an explicit path, nothing being written into its nodes, and each
 * block is retired against the current views, without a DEAD record: its
 * removal cannot be undone any more. Trees inside (a flushed keyspace) join the
 * queue.
 *
 * When a store is closed nobody reads it any more: then everything is freed
 * where it is met, without lists, which would need memory (M4).
 *
 * Thread: the holder of the store lock, between batches. */
#include <string.h>

#include "kvsql/node_ops.h"
#include "kvsql/plist.h"

static void below_leaf(const struct kv_node *leaf,
                       const struct kv_below *below)
{
    struct kv_entry entry;
    struct kv_cell cell;

    if (leaf->flags & KV_NODE_SCORE)
        return; /* no values, and blobs that are the member tree's (EN4) */
    for (uint32_t i = 0; i < leaf->n; i++) {
        entry_open(leaf, i, &entry);
        if (entry.keyblob != NULL)
            below->blob(below->arg, (void *)(uintptr_t)entry.keyblob);
        entry_cell(leaf, i, &cell);
        if (cell.form == KV_FORM_TREE)
            below->tree(below->arg, cell.ptr);
        else if (entry_has_ptr(cell.form))
            below->blob(below->arg, cell.ptr);
    }
}

static void below_inner(const struct kv_node *node,
                        const struct kv_below *below)
{
    for (uint32_t i = 0; i < node->n; i++) {
        struct kv_blob *const blob = inner_keyblob(node, i);
        if (blob != NULL)
            below->blob(below->arg, blob);
    }
}

void kv_node_below(const struct kv_node *node, const struct kv_below *below)
{
    if (node->flags & KV_NODE_LIST) {
        if (node->level == 0)
            kv_plist_leaf_blobs(node, below->blob, below->arg);
    } else if (node->level > 0) {
        below_inner(node, below);
    } else {
        below_leaf(node, below);
    }
}

struct kv_node *kv_node_child(const struct kv_node *node, uint32_t index)
{
    const uint8_t *const slots = (const uint8_t *)node + sizeof(*node);
    struct kv_node *child;

    if (node->flags & KV_NODE_LIST)
        memcpy(&child, slots + index * sizeof(struct kv_pos_slot),
               sizeof(child));
    else
        child = inner_slots(node)[index].child;
    return child;
}

/* The walk: the next node, and none below it is left. */
static struct kv_node *reap_step(struct kv_path *path)
{
    for (;;) {
        struct kv_node *const node = path->at[path->depth - 1].node;
        const uint32_t index = path->at[path->depth - 1].index++;
        if (node->level == 0 || index == node->n) {
            path->depth--;
            return node;
        }
        KV_ASSERT(path->depth < KV_HEIGHT_MAX);
        path->at[path->depth].node = kv_node_child(node, index);
        path->at[path->depth++].index = 0;
    }
}

static void reap_root(struct kv_path *path, struct kv_node *root)
{
    path->depth = 1;
    path->at[0].node = root;
    path->at[0].index = 0;
}

static void reap_blob(void *arg, struct kv_blob *blob)
{
    kv_retire_reaped(arg, blob);
}

static void reap_tree(void *arg, struct kv_tree *tree)
{
    struct kv_store *const store = arg;

    kv_list_push(store, &store->reap, tree, store->pos);
}

/* The next root of the tree in hand, or the next tree; false: none is due. */
static bool reap_next_root(struct kv_store *store)
{
    struct kv_list_entry entry;
    struct kv_path *const path = &store->reap_path;

    for (;;) {
        if (store->reap_tree == NULL) {
            if (!kv_list_pop(store, &store->reap, &entry,
                             atomic_load(&store->released)))
                return false;
            store->reap_tree = entry.block;
            store->reap_root = 0;
        }
        while (store->reap_root < 3) {
            struct kv_node *const root =
                store->reap_tree->root[store->reap_root++];
            if (root == NULL)
                continue;
            reap_root(path, root);
            return true;
        }
        kv_retire_reaped(store, store->reap_tree);
        store->reap_tree = NULL;
    }
}

bool kv_reap_some(struct kv_store *store, unsigned budget)
{
    struct kv_path *const path = &store->reap_path;
    const struct kv_below below = {
        .arg = store, .blob = reap_blob, .tree = reap_tree};

    if (store->long_count > 0) /* LG3 */
        return false;
    while (budget > 0) {
        if (!kv_room(store, 0, KV_LEAF_MAX)) /* later, when there is memory */
            return false;
        if (path->depth == 0 && !reap_next_root(store))
            return false;
        struct kv_node *const node = reap_step(path);
        const unsigned blocks = 1 + (node->level == 0 ? node->n : 0u);
        kv_node_below(node, &below);
        kv_retire_reaped(store, node);
        budget -= blocks < budget ? blocks : budget;
    }
    return true;
}

/* ---- closing ---------------------------------------------------------------- */

static void reap_free_blob(void *arg, struct kv_blob *blob)
{
    (void)arg;
    kv_block_free(blob);
}

/* The nodes from where the path leads on, and what is below them. */
static void reap_free_path(struct kv_path *path, const struct kv_below *below)
{
    while (path->depth > 0) {
        struct kv_node *const node = reap_step(path);
        kv_node_below(node, below);
        kv_block_free(node);
    }
}

static void reap_free_roots(struct kv_node *const *roots, unsigned from,
                            const struct kv_below *below)
{
    struct kv_path path;

    for (unsigned i = from; i < 3; i++) {
        if (roots[i] == NULL)
            continue;
        reap_root(&path, roots[i]);
        reap_free_path(&path, below);
    }
}

/* A key's collection, or an index: no tree is below it. */
static void reap_free_inner(void *arg, struct kv_tree *tree)
{
    const struct kv_below below = {.blob = reap_free_blob};

    (void)arg;
    reap_free_roots(tree->root, 0, &below);
    kv_block_free(tree);
}

void kv_reap_close(struct kv_store *store)
{
    const struct kv_below below = {.blob = reap_free_blob,
                                   .tree = reap_free_inner};
    struct kv_node *const live[3] = {store->live.keys[0], store->live.keys[1],
                                     store->live.indexes};
    struct kv_list_entry entry;

    reap_free_path(&store->reap_path, &below); /* of a tree that was begun */
    if (store->reap_tree != NULL) {
        reap_free_roots(store->reap_tree->root, store->reap_root, &below);
        kv_block_free(store->reap_tree);
    }
    while (kv_list_pop(store, &store->reap, &entry, UINT64_MAX)) {
        reap_free_roots(((struct kv_tree *)entry.block)->root, 0, &below);
        kv_block_free(entry.block);
    }
    reap_free_roots(live, 0, &below);
    if (store->live.answers != NULL)
        reap_free_inner(NULL, store->live.answers);
    if (store->live.defs != NULL)
        kv_block_free(store->live.defs);
    store->live = (struct kv_root){.defs = NULL};
    store->reap_tree = NULL;
}
