/* tree.c - find, rank, own, remove on the B+tree of tree.h; the rest of its
 * changes is in tree_put.c, tree_split.c, tree_merge.c.
 *
 * A change walks down owning each node (copy on write), changes the leaf, and
 * walks up: a leaf or inner node without room is built anew larger, or split
 * (ST4, ST6) and its second half inserted one level up; a node that became
 * small is merged with a neighbour (ST7). Counts, types and bounds are kept on
 * the path in hand (ST8).
 *
 * Always true:
 *   T1  a node's prefix is the common prefix of its two fences, the separators
 *       in its ancestors, at most KV_PREFIX_MAX bytes (ST3). The root and the
 *       nodes at both edges lack a fence: their prefix is their own, flagged
 *       KV_NODE_OWN, what their keys have in common when they are built. A
 *       search compares it first. A key that does not share it belongs at one
 *       end; when it comes in, the prefix becomes shorter, or, without the room
 *       for that, the key gets a node of its own beside. So nodes with fences
 *       may have an own prefix, too, longer than those tell.
 *   T2  slot 0 of an inner node has no key: the lower fence of its child is
 *       the node's own, which stands in its ancestors.
 *   T3  a leaf is empty only when no neighbour could take it in.
 *
 * Thread: see tree.h. */
#include "kvsql/tree.h"

#include "kvsql/tree_private.h"

/* ---- reading -------------------------------------------------------------- */

bool kv_tree_find(const struct kv_node *root, const uint8_t *key, uint32_t size,
                  const struct kv_node **leaf, uint32_t *index)
{
    const struct kv_node *node = root;
    bool found;

    if (node == NULL)
        return false;
    while (node->level > 0) {
        const unsigned level = node->level;
        node = inner_slots(node)[inner_find(node, key, size)].child;
        node_prefetch(node, level - 1);
    }
    *index = leaf_find(node, key, size, &found);
    *leaf = node;
    return found;
}

void kv_tree_find_batch(const struct kv_node *const *roots,
                        const uint8_t *const *keys, const uint32_t *sizes,
                        unsigned n, const struct kv_node **leaves,
                        uint32_t *indexes, bool *found)
{
    bool more = true;

    KV_ASSERT(n <= KV_BATCH_MAX);
    for (unsigned i = 0; i < n; i++) {
        leaves[i] = roots[i];
        found[i] = false;
    }
    while (more) {
        more = false;
        for (unsigned i = 0; i < n; i++) {
            const struct kv_node *const node = leaves[i];
            if (node == NULL || node->level == 0)
                continue;
            const uint32_t at = inner_find(node, keys[i], sizes[i]);
            leaves[i] = inner_slots(node)[at].child;
            node_prefetch(leaves[i], node->level - 1u);
            more = true;
        }
    }
    uint32_t heads[KV_BATCH_MAX];
    for (unsigned i = 0; i < n; i++) { /* by heads only: brings the entry */
        const struct kv_node *const leaf = leaves[i];
        if (leaf == NULL)
            continue;
        if (node_outside(leaf, keys[i], sizes[i])) {
            leaves[i] = NULL;
            continue;
        }
        heads[i] = key_head(keys[i] + leaf->plen, sizes[i] - leaf->plen);
        indexes[i] = leaf_lower(leaf, heads[i]);
        if (indexes[i] < leaf->n)
            __builtin_prefetch(
                entry_at(leaf, leaf_slots(leaf)[indexes[i]].off));
    }
    for (unsigned i = 0; i < n; i++) {
        const struct kv_node *const leaf = leaves[i];
        if (leaf != NULL)
            indexes[i] = leaf_among(leaf, indexes[i], heads[i],
                                    keys[i] + leaf->plen,
                                    sizes[i] - leaf->plen, &found[i]);
    }
}

/* One step down for each path that is not at its leaf; false: there is none.
 * `depth` is the number of the node that a path has come to. */
static bool tree_paths_down(const uint8_t *const *keys, const uint32_t *sizes,
                            unsigned n, struct kv_path *const *paths)
{
    bool more = false;

    for (unsigned i = 0; i < n; i++) {
        struct kv_path *const path = paths[i];
        const struct kv_node *const node = path->at[path->depth].node;
        if (node == NULL || node->level == 0)
            continue;
        const uint32_t at = inner_find(node, keys[i], sizes[i]);
        struct kv_node *const child = inner_slots(node)[at].child;
        path->at[path->depth].index = at;
        path->at[++path->depth].node = child;
        if (node->level > 1) /* all that the search may step on */
            for (unsigned line = 0; line < 24; line++)
                __builtin_prefetch((const char *)child + 64u * line);
        else
            node_prefetch(child, 0);
        more = true;
    }
    return more;
}

void kv_tree_path_batch(struct kv_node *const *roots,
                        const uint8_t *const *keys, const uint32_t *sizes,
                        unsigned n, struct kv_path *const *paths)
{
    uint32_t heads[KV_BATCH_MAX];

    KV_ASSERT(n <= KV_BATCH_MAX);
    for (unsigned i = 0; i < n; i++) {
        paths[i]->depth = 0;
        paths[i]->found = false;
        paths[i]->at[0].node = roots[i];
    }
    while (tree_paths_down(keys, sizes, n, paths))
        continue;
    for (unsigned i = 0; i < n; i++) { /* by heads only: brings the entry */
        struct kv_path *const path = paths[i];
        const struct kv_node *const leaf = path->at[path->depth].node;
        if (leaf == NULL || node_outside(leaf, keys[i], sizes[i]))
            continue;
        heads[i] = key_head(keys[i] + leaf->plen, sizes[i] - leaf->plen);
        const uint32_t index = leaf_lower(leaf, heads[i]);
        path->at[path->depth].index = index;
        if (index < leaf->n)
            __builtin_prefetch(entry_at(leaf, leaf_slots(leaf)[index].off));
        __builtin_prefetch(entry_at(leaf, leaf->used)); /* others come there */
    }
    for (unsigned i = 0; i < n; i++) {
        struct kv_path *const path = paths[i];
        const struct kv_node *const leaf = path->at[path->depth].node;
        if (leaf == NULL)
            continue;
        uint32_t *const index = &path->at[path->depth++].index;
        *index = node_outside(leaf, keys[i], sizes[i])
                     ? kv_node_beside(leaf, keys[i], sizes[i])
                     : leaf_among(leaf, *index, heads[i], keys[i] + leaf->plen,
                                  sizes[i] - leaf->plen, &path->found);
    }
}

/* Entries below the slots [slot, end). */
static uint64_t tree_count_slots(const struct kv_inner_slot *slot,
                                 const struct kv_inner_slot *end)
{
    uint64_t count = 0;

    for (; end - slot >= 4; slot += 4)
        count += (uint64_t)slot[0].count + slot[1].count + slot[2].count +
                 slot[3].count;
    for (; slot < end; slot++)
        count += slot->count;
    return count;
}

uint64_t kv_tree_count(const struct kv_node *root)
{
    if (root == NULL)
        return 0;
    if (root->level == 0)
        return root->n;
    return tree_count_slots(inner_slots(root), inner_slots(root) + root->n);
}

uint64_t kv_tree_rank(const struct kv_node *root, const uint8_t *key,
                      uint32_t size, bool *found)
{
    const struct kv_node *node = root;
    uint64_t rank = 0, below = 0; /* entries below the node, 0 = not known */

    *found = false;
    if (node == NULL)
        return 0;
    while (node->level > 0) {
        const struct kv_inner_slot *const slot = inner_slots(node);
        const uint32_t at = inner_find(node, key, size);
        const unsigned level = node->level;
        rank += below > 0 && at > node->n / 2u /* count the shorter side */
                    ? below - tree_count_slots(slot + at, slot + node->n)
                    : tree_count_slots(slot, slot + at);
        below = slot[at].count;
        node = slot[at].child;
        node_prefetch(node, level - 1);
    }
    return rank + leaf_find(node, key, size, found);
}

const uint8_t *kv_tree_key(const struct kv_node *node, uint32_t index,
                           uint8_t buffer[KV_KEY_BUFFER], uint32_t *size,
                           bool *stable)
{
    return kv_node_key(node, index, buffer, size, stable);
}

uint64_t kv_tree_bound(const struct kv_node *node)
{
    struct kv_summary summary;

    if (node == NULL)
        return BOUND_NONE;
    kv_node_summary(node, &summary);
    return summary.bound;
}

uint64_t kv_entry_bound(const struct kv_node *leaf, uint32_t index)
{
    struct kv_cell cell;

    entry_cell(leaf, index, &cell);
    uint64_t bound = bound_of(cell.exp);
    if (node_typed(leaf) && cell.type == KV_HASH) {
        const uint64_t fields = kv_cell_field_bound(&cell);
        if (fields < bound)
            bound = fields;
    }
    return bound;
}

/* ---- owning a path ---------------------------------------------------------- */

/* Copy the node that a view sees. Its parent was copied just before when it was
 * seen, too (I2): then `place` needs no announcement. */
static struct kv_node *tree_own_node(struct kv_store *store,
                                     struct kv_node **place, bool in_copy)
{
    struct kv_node *const node = *place;
    struct kv_node *const copy = kv_node_clone(store, node);

    if (copy == NULL)
        return NULL;
    if (!in_copy)
        kv_edit(store, place, sizeof(*place)); /* I5 */
    *place = copy;
    kv_retire(store, node);
    return copy;
}

/* The place that holds the pointer to node number `d` of the path. */
static struct kv_node **tree_place(struct kv_node **root, struct kv_path *path,
                                   unsigned d)
{
    if (d == 0)
        return root;
    return &inner_slots(path->at[d - 1].node)[path->at[d - 1].index].child;
}

bool kv_tree_descend(struct kv_store *store, struct kv_node **root,
                     const uint8_t *key, uint32_t size, struct kv_path *path)
{
    struct kv_node **place = root;
    bool in_copy = false;
    unsigned d = 0;

    KV_ASSERT((*root)->level < KV_HEIGHT_MAX); /* ST10 */
    for (;; d++) {
        struct kv_node *node = *place;
        if (KV_UNLIKELY(!kv_block_newer(node, store->viewgen))) {
            node = tree_own_node(store, place, in_copy);
            in_copy = true;
        }
        if (node == NULL)
            return false;
        path->at[d].node = node;
        if (node->level == 0) {
            path->at[d].index = leaf_find(node, key, size, &path->found);
            path->depth = d + 1;
            return true;
        }
        const uint32_t at = inner_find_for(node, key, size, store->running);
        path->at[d].index = at;
        place = &inner_slots(node)[at].child;
        node_prefetch(*place, node->level - 1u);
    }
}

bool kv_tree_own(struct kv_store *store, struct kv_node **root,
                 const uint8_t *key, uint32_t size, struct kv_path *path)
{
    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
    return kv_tree_descend(store, root, key, size, path);
}

bool kv_tree_path(struct kv_node *root, const uint8_t *key, uint32_t size,
                  struct kv_path *path)
{
    struct kv_node *node = root;
    unsigned d = 0;

    path->depth = 0;
    path->found = false;
    if (node == NULL)
        return false;
    for (; node->level > 0; d++) {
        const unsigned level = node->level;
        const uint32_t at = inner_find(node, key, size);
        path->at[d].node = node;
        path->at[d].index = at;
        node = inner_slots(node)[at].child;
        node_prefetch(node, level - 1);
    }
    path->at[d].node = node;
    path->at[d].index = leaf_find(node, key, size, &path->found);
    path->depth = d + 1;
    return path->found;
}

/* Is the suffix that of entry `index`? False, too, when that is dear to say. */
static bool tree_is_at(const struct kv_node *leaf, uint32_t index,
                       const uint8_t *s, uint32_t size)
{
    return index < leaf->n &&
           leaf_slots(leaf)[index].head == key_head(s, size) &&
           leaf_equal(leaf, index, s, size);
}

/* The leaf at the end of a path, if that leads through the tree as it is now;
 * else NULL. From the root down, each node is looked at only when its parent
 * says that it is in the tree: so one that was freed meanwhile is not. */
static struct kv_node *tree_path_leaf(struct kv_node *root,
                                      const struct kv_path *path)
{
    struct kv_node *node = root;
    unsigned d = 0;

    if (path->depth == 0)
        return NULL;
    for (; d + 1 < path->depth; d++) {
        if (node != path->at[d].node || node->level == 0 ||
            path->at[d].index >= node->n)
            return NULL;
        node = inner_slots(node)[path->at[d].index].child;
    }
    return node == path->at[d].node && node->level == 0 ? node : NULL;
}

/* The key is mostly the one that the path led to, or the next. */
bool kv_tree_path_near(struct kv_node *root, const uint8_t *key, uint32_t size,
                       struct kv_path *path)
{
    const struct kv_node *const leaf = tree_path_leaf(root, path);

    if (leaf == NULL || !node_shares(leaf, key, size))
        return false;
    const uint8_t *const s = key + leaf->plen;
    uint32_t *const index = &path->at[path->depth - 1].index;
    const uint32_t rest = size - leaf->plen, last = *index;
    path->found = tree_is_at(leaf, last, s, rest);
    if (!path->found && tree_is_at(leaf, last + 1, s, rest)) {
        *index = last + 1;
        path->found = true;
    }
    if (!path->found)
        *index = leaf_find(leaf, key, size, &path->found);
    return path->found;
}

/* Where the key is not, the leaf is its own for sure only between two others: at
 * an end it may be the neighbour's since a split. Where it is, the prefix is not
 * looked at, for it may lie far from all else: the leaf had it when the path was
 * made. A key beside the leaf has not, and others may have come behind all. */
bool kv_tree_path_again(struct kv_node *root, const uint8_t *key,
                        uint32_t size, struct kv_path *path)
{
    const struct kv_node *const leaf = tree_path_leaf(root, path);

    if (leaf == NULL || size < leaf->plen)
        return false;
    const struct kv_leaf_slot *const slot = leaf_slots(leaf);
    const uint8_t *const s = key + leaf->plen;
    uint32_t *const index = &path->at[path->depth - 1].index;
    const uint32_t rest = size - leaf->plen, head = key_head(s, rest);
    if (path->found) {
        if (tree_is_at(leaf, *index, s, rest))
            return true;
    } else if (*index > 0 && *index < leaf->n &&
               slot[*index - 1].head < head && head < slot[*index].head &&
               !node_outside(leaf, key, size)) {
        return true;
    }
    *index = leaf_find(leaf, key, size, &path->found);
    return path->found || (*index > 0 && *index < leaf->n);
}

bool kv_tree_path_own(struct kv_store *store, struct kv_node **root,
                      struct kv_path *path)
{
    struct kv_node **place = root;
    bool in_copy = false;

    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
    for (unsigned d = 0; d < path->depth; d++) {
        struct kv_node *node = path->at[d].node;
        KV_ASSERT(*place == node);
        if (KV_UNLIKELY(!kv_block_newer(node, store->viewgen))) {
            node = tree_own_node(store, place, in_copy);
            in_copy = true;
        }
        if (node == NULL)
            return false;
        path->at[d].node = node;
        if (d + 1 < path->depth)
            place = &inner_slots(node)[path->at[d].index].child;
    }
    return true;
}

void kv_tree_replace(struct kv_store *store, struct kv_node **root,
                     struct kv_path *path, unsigned d, struct kv_node *node)
{
    struct kv_node *const old = path->at[d].node;

    kv_edit_ptr(store, tree_place(root, path, d), node);
    path->at[d].node = node;
    kv_retire(store, old);
}

/* ---- fences (ST3) ----------------------------------------------------------- */

void kv_tree_fence_low(const struct kv_path *path, unsigned d,
                       struct tree_fence *fence)
{
    bool stable;

    fence->p = NULL;
    while (d > 0 && path->at[d - 1].index == 0)
        d--;
    if (d > 0)
        fence->p = kv_node_key(path->at[d - 1].node, path->at[d - 1].index,
                               fence->buffer, &fence->size, &stable);
}

void kv_tree_fence_high(const struct kv_path *path, unsigned d, unsigned skip,
                        struct tree_fence *fence)
{
    bool stable;

    fence->p = NULL;
    while (d-- > 0) {
        const struct kv_node *const node = path->at[d].node;
        const uint32_t next = path->at[d].index + 1 + skip;
        skip = 0;
        if (next < node->n) {
            fence->p = kv_node_key(node, next, fence->buffer, &fence->size,
                                   &stable);
            return;
        }
    }
}

/* ---- what slots say of what is below (ST8) ------------------------------------- */

void kv_tree_slot_update(struct kv_store *store, struct kv_inner_slot *slot)
{
    struct kv_summary summary;

    kv_node_summary(slot->child, &summary);
    kv_edit(store, slot, sizeof(*slot));
    slot->count = summary.count;
    slot->types = summary.types;
    bound_put(slot->min_exp, summary.bound);
}

void kv_tree_add_up(struct kv_store *store, struct kv_path *path, unsigned d,
                    uint32_t added, uint8_t types, uint64_t bound)
{
    while (d-- > 0) {
        struct kv_inner_slot *const slot =
            &inner_slots(path->at[d].node)[path->at[d].index];
        if (added != 0) {
            kv_edit(store, &slot->count, sizeof(slot->count));
            slot->count += added;
        }
        if ((slot->types | types) != slot->types) {
            kv_edit(store, &slot->types, 1);
            slot->types |= types;
        }
        if (bound < bound_get(slot->min_exp)) {
            kv_edit(store, slot->min_exp, sizeof(slot->min_exp));
            bound_put(slot->min_exp, bound);
        }
    }
}

/* ---- removing ------------------------------------------------------------------ */

/* The leaf of the path in a block of just its size. */
static bool tree_fit(struct kv_store *store, struct kv_node **root,
                     struct kv_path *path)
{
    const unsigned d = path->depth - 1;
    const struct kv_node *const node = path->at[d].node;
    const struct kv_prefix prefix = node_prefix_of(node);
    struct kv_node *const out =
        kv_node_make(store, node, &prefix,
                     node_live(node) - (uint32_t)sizeof(*node) - node->plen);

    if (out == NULL || !kv_node_add(store, out, node, 0, node->n))
        return false;
    kv_tree_replace(store, root, path, d, out);
    return true;
}

/* A leaf that is mostly garbage or empty room goes into a smaller block. */
static bool tree_shrink(struct kv_store *store, struct kv_node **root,
                        struct kv_path *path)
{
    const struct kv_node *const node = path->at[path->depth - 1].node;

    if (node_live(node) * 2 >= node->cap || node->cap <= 128 || node->n == 0)
        return true;
    return tree_fit(store, root, path);
}

bool kv_tree_fit(struct kv_store *store, struct kv_node **root,
                 const uint8_t *key, uint32_t size)
{
    struct kv_path path;

    if (*root == NULL)
        return true;
    if (!kv_tree_own(store, root, key, size, &path))
        return false;
    const struct kv_node *const leaf = path.at[path.depth - 1].node;
    return leaf->n == 0 || kv_size_class(node_live(leaf)) >= leaf->cap ||
           tree_fit(store, root, &path);
}

/* Remove where the owned path leads. */
KV_INLINE bool tree_take_out(struct kv_store *store, struct kv_node **root,
                             struct kv_path *path, struct kv_cell *old)
{
    const unsigned d = path->depth - 1;
    struct kv_node *const leaf = path->at[d].node;
    const uint32_t index = path->at[d].index;
    const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[index].off);
    const uint8_t *const tail = entry_cell(leaf, index, old);
    struct kv_blob *const keyblob =
        leaf->flags & KV_NODE_SCORE ? NULL /* EN4: the member tree's */
                                    : entry_keyblob(leaf, index);

    kv_node_cut(store, leaf, index,
                (uint32_t)(tail - e) + cell_tail_size(old));
    if (keyblob != NULL)
        kv_retire(store, keyblob);
    for (unsigned i = d; i-- > 0;) {
        struct kv_inner_slot *const slot =
            &inner_slots(path->at[i].node)[path->at[i].index];
        kv_edit(store, &slot->count, sizeof(slot->count));
        slot->count--;
    }
    if (!tree_shrink(store, root, path))
        return false;
    if (!tree_is_small(path->at[d].node))
        return true;
    if (!kv_tree_settle(store, root, path))
        return false;
    if (*root != NULL && path->at[d].node->n == 0 && (*root)->level > 0)
        kv_tree_rebound(store, path); /* T3: nothing is due in an empty leaf */
    return true;
}

bool kv_tree_remove_at(struct kv_store *store, struct kv_node **root,
                       struct kv_path *path, struct kv_cell *old)
{
    return kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS) &&
           tree_take_out(store, root, path, old);
}

bool kv_tree_remove(struct kv_store *store, struct kv_node **root,
                    const uint8_t *key, uint32_t size, struct kv_cell *old,
                    bool *found)
{
    struct kv_path path;

    *found = false;
    if (*root == NULL)
        return true;
    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS) ||
        !kv_tree_descend(store, root, key, size, &path))
        return false;
    *found = path.found;
    return !path.found || tree_take_out(store, root, &path, old);
}

/* ---- deadlines ------------------------------------------------------------------- */

void kv_tree_lower(struct kv_store *store, struct kv_path *path, uint64_t exp)
{
    kv_tree_add_up(store, path, path->depth - 1, 0, 0, bound_of(exp));
}

void kv_tree_rebound(struct kv_store *store, struct kv_path *path)
{
    for (unsigned d = path->depth - 1; d > 0; d--) {
        struct kv_summary summary;
        struct kv_inner_slot *const slot =
            &inner_slots(path->at[d - 1].node)[path->at[d - 1].index];
        kv_node_summary(path->at[d].node, &summary);
        if (summary.bound != bound_get(slot->min_exp)) {
            kv_edit(store, slot->min_exp, sizeof(slot->min_exp));
            bound_put(slot->min_exp, summary.bound);
        }
        if (summary.types != slot->types) {
            kv_edit(store, &slot->types, 1);
            slot->types = summary.types;
        }
    }
}
