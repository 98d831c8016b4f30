/* plist.c - large lists: a tree by position (EN2).
 *
 *   leaf:   | header 24 | gap | items, packed ... | gap |
 *                        hint                used    cap
 *   inner:  | header 24 | n slots {child, count, spare} | free |
 *
 * Every change is a splice. In a leaf, bytes [at, at + gone) become others: in
 * place when the leaf is owned and the shorter side can be moved into a gap,
 * else into one new leaf, or two. In an inner node, `gone` slots become 0, 1
 * or 2 in the same manner. Pushes at an edge leave a full leaf as it is and
 * begin a new one, so queues and stacks fill their leaves.
 *
 * Always true:
 *   PL1  slot.count is the number of items below slot.child.
 *   PL2  items fill [hint, used) exactly; 24 <= hint <= used <= cap.
 *   PL3  no node is empty; an inner root has two children or more.
 *   PL4  all leaves are at the same depth, at most KV_HEIGHT_MAX nodes.
 *   PL5  a blob belongs to exactly one item.
 *   PL6  bytes that leave [hint, used), or the slots in use, are announced
 *        when they leave (I5); so bytes outside are those of no state that an
 *        undo can reach, and are written without announcing them.
 *
 * Thread: reading any (on views), changing the holder of the store lock. */
#include "kvsql/plist_private.h"

/* ---- the path ----------------------------------------------------------- */

static kvsql_rc plist_begin(struct plist_change *c, struct kv_store *store,
                            struct kv_tree *tree, unsigned blocks)
{
    c->store = store;
    c->tree = tree;
    KV_ASSERT(kv_owned(store, tree));
    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS + blocks)) {
        return KVSQL_NOMEM;
    }
    _Static_assert(offsetof(struct kv_tree, bytes) ==
                       offsetof(struct kv_tree, root[2]) + 24,
                   "root[2], count and bytes are announced together");
    kv_edit(store, &tree->root[2], 32);
    return KVSQL_OK;
}

/* Own the first `inner` nodes of the path, announce the slots it takes there
 * and add `delta` to their counts. */
static bool plist_own(struct plist_change *c, unsigned inner, int64_t delta)
{
    struct plist_path *const path = &c->path;

    for (unsigned d = 0; d < inner; d++) {
        struct kv_node *node = path->node[d];

        if (!kv_owned(c->store, node)) {
            struct kv_node *const copy = kv_block_copy(c->store, node);

            if (copy == NULL) {
                return false;
            }
            if (d == 0) {
                c->tree->root[2] = copy;
            } else {
                plist_slots(path->node[d - 1])[path->index[d - 1]].child = copy;
            }
            kv_retire(c->store, node);
            path->node[d] = node = copy;
        }
        struct kv_pos_slot *const slot = &plist_slots(node)[path->index[d]];
        kv_edit(c->store, slot, sizeof(*slot));
        slot->count = (uint32_t)(slot->count + delta);
    }
    return true;
}

/* Make a root of what the old one became. */
static bool plist_root(struct plist_change *c, const struct plist_result *r)
{
    struct kv_pos_slot slots[2] = {{NULL, 0, 0}, {NULL, 0, 0}};

    if (r->n < 2) {
        c->tree->root[2] = r->n == 0 ? NULL : r->node[0];
        return true;
    }
    for (unsigned i = 0; i < 2; i++) {
        slots[i].child = r->node[i];
        slots[i].count = (uint32_t)plist_count(r->node[i]);
    }
    const uint8_t level = (uint8_t)(r->node[0]->level + 1);
    KV_ASSERT(level < KV_HEIGHT_MAX); /* PL4 */
    c->tree->root[2] = kv_plist_inner(c, level, slots, 2);
    return c->tree->root[2] != NULL;
}

/* The node at `depth` of the path became `r`: tell its parents. Afterwards
 * the path is right down to the lowest node that is one node still; its depth
 * is *good. */
static bool plist_raise(struct plist_change *c, unsigned depth,
                        struct plist_result *r, unsigned *good)
{
    struct plist_path *const path = &c->path;

    for (;; depth--) {
        if (r->n == 1) {
            *good = depth;
            path->node[depth] = r->node[0];
        }
        if (depth == 0) {
            return plist_root(c, r);
        }
        struct kv_pos_slot slots[2] = {{NULL, 0, 0}, {NULL, 0, 0}};
        for (unsigned i = 0; i < r->n; i++) {
            slots[i].child = r->node[i];
        }
        if (r->n == 1) { /* the slot is announced, its count is right */
            plist_slots(path->node[depth - 1])[path->index[depth - 1]].child =
                r->node[0];
            return true;
        }
        for (unsigned i = 0; i < r->n; i++) {
            slots[i].count = (uint32_t)plist_count(r->node[i]);
        }
        if (!kv_plist_inner_splice(c, depth - 1, slots, r->n, r)) {
            return false;
        }
    }
}

/* ---- merging (ST7) ------------------------------------------------------ */

static uint32_t plist_fill(const struct kv_node *node)
{
    return node->level == 0 ? (uint32_t)(node->used - node->hint)
                            : node->n * (uint32_t)sizeof(struct kv_pos_slot);
}

static uint32_t plist_fill_max(const struct kv_node *node)
{
    return node->level == 0
               ? PLIST_LEAF_ROOM
               : PLIST_SLOTS_MAX * (uint32_t)sizeof(struct kv_pos_slot);
}

/* One node of two neighbours. `left` tells that it is the left edge. */
static struct kv_node *plist_join(struct plist_change *c,
                                  const struct kv_node *a,
                                  const struct kv_node *b, bool left)
{
    const uint32_t a_size = plist_fill(a), b_size = plist_fill(b);

    if (a->level == 0) {
        uint8_t bytes[KV_LEAF_MAX];

        memcpy(bytes, (const uint8_t *)a + a->hint, a_size);
        memcpy(bytes + a_size, (const uint8_t *)b + b->hint, b_size);
        return kv_plist_leaf(c, bytes, a_size + b_size, (uint32_t)a->n + b->n,
                             left ? 4 : 0);
    }
    struct kv_pos_slot all[PLIST_SLOTS_MAX];
    memcpy(all, plist_slots(a), a_size);
    memcpy(all + a->n, plist_slots(b), b_size);
    return kv_plist_inner(c, a->level, all, (uint32_t)a->n + b->n);
}

/* Merge slots `at` and `at + 1` of the owned node at `depth`. */
static bool plist_merge(struct plist_change *c, unsigned depth, uint32_t at)
{
    struct kv_node *const parent = c->path.node[depth];
    const struct kv_pos_slot *const slots = plist_slots(parent);
    struct kv_node *const a = slots[at].child, *const b = slots[at + 1].child;

    c->path.index[depth] = at;
    struct kv_node *const both =
        plist_join(c, a, b, kv_plist_left_edge(&c->path, depth + 1));
    if (both == NULL) {
        return false;
    }
    const struct kv_pos_slot slot = {
        both, slots[at].count + slots[at + 1].count, 0};
    kv_plist_drop(c, a);
    kv_plist_drop(c, b);
    kv_plist_inner_edit(c, parent, at, 2, &slot, 1);
    return true;
}

/* Merge the node at `depth` with a neighbour where ST7 asks for it, and so on
 * upwards; then let a root with one child go. */
static bool plist_mend(struct plist_change *c, unsigned depth)
{
    for (; depth > 0; depth--) {
        const struct kv_node *const node = c->path.node[depth];
        const struct kv_node *const parent = c->path.node[depth - 1];
        const struct kv_pos_slot *const slots = plist_slots(parent);
        const uint32_t i = c->path.index[depth - 1];
        const uint32_t fill = plist_fill(node), max = plist_fill_max(node);
        uint32_t at;

        if (fill >= max / 4) {
            break;
        }
        if (i > 0 && fill + plist_fill(slots[i - 1].child) <= max / 4 * 3) {
            at = i - 1;
        } else if (i + 1u < parent->n &&
                   fill + plist_fill(slots[i + 1].child) <= max / 4 * 3) {
            at = i;
        } else {
            break;
        }
        if (!plist_merge(c, depth - 1, at)) {
            return false;
        }
    }
    for (;;) {
        struct kv_node *const root = c->tree->root[2];

        if (root == NULL || root->level == 0 || root->n > 1) {
            return true;
        }
        c->tree->root[2] = plist_slots(root)[0].child;
        kv_plist_drop(c, root);
    }
}

/* ---- changes ------------------------------------------------------------ */

/* Encode a value as an item of a leaf; a long one gets its blob. Returns the
 * bytes, 0 without memory. */
static uint32_t plist_encode(struct plist_change *c, const struct kv_key *value,
                             uint8_t *out)
{
    if (value->size <= PLIST_ITEM_MAX) {
        return kv_packed_item_write(out, value);
    }
    struct kv_blob *const blob = kv_blob_new(c->store, value->size);
    if (blob == NULL) {
        return 0;
    }
    memcpy(blob->d, value->p, value->size);
    c->tree->bytes += kv_block_size(blob);
    out[0] = PLIST_POINTER_TAG;
    memcpy(out + 1, &blob, sizeof(blob));
    out[9] = value->cls;
    return PLIST_POINTER_SIZE;
}

kvsql_rc kv_plist_insert(struct kv_store *store, struct kv_tree *tree,
                         uint64_t index, const struct kv_key *value)
{
    struct plist_change c;
    struct plist_splice s = {.items = 1};
    struct plist_result result;
    uint8_t bytes[PLIST_BYTES_MAX];
    unsigned good;

    KV_ASSERT(index <= tree->count[0]);
    if (tree->count[0] >= PLIST_COUNT_MAX) {
        return KVSQL_TOOBIG;
    }
    if (plist_begin(&c, store, tree, 0) != KVSQL_OK) {
        return KVSQL_NOMEM;
    }
    s.bytes = bytes;
    s.size = plist_encode(&c, value, bytes);
    if (s.size == 0) {
        return KVSQL_NOMEM;
    }
    if (tree->root[2] == NULL) {
        tree->count[0] = 1;
        tree->root[2] = kv_plist_leaf(&c, bytes, s.size, 1, 0);
        return tree->root[2] != NULL ? KVSQL_OK : KVSQL_NOMEM;
    }
    kv_plist_find(&c.path, tree, index, true);
    tree->count[0]++;
    const unsigned depth = c.path.depth;
    s.at = kv_plist_offset(c.path.node[depth], c.path.index[depth]);
    if (!plist_own(&c, depth, 1) || !kv_plist_leaf_splice(&c, &s, &result) ||
        !plist_raise(&c, depth, &result, &good)) {
        return KVSQL_NOMEM;
    }
    return KVSQL_OK;
}

kvsql_rc kv_plist_set(struct kv_store *store, struct kv_tree *tree,
                      uint64_t index, const struct kv_key *value)
{
    struct plist_change c;
    struct plist_splice s = {.items = 0};
    struct plist_result result;
    uint8_t bytes[PLIST_BYTES_MAX];
    unsigned good = 0;

    KV_ASSERT(index < tree->count[0]);
    if (plist_begin(&c, store, tree, 0) != KVSQL_OK) {
        return KVSQL_NOMEM;
    }
    s.bytes = bytes;
    s.size = plist_encode(&c, value, bytes);
    if (s.size == 0) {
        return KVSQL_NOMEM;
    }
    kv_plist_find(&c.path, tree, index, false);
    const unsigned depth = c.path.depth;
    const struct kv_node *const leaf = c.path.node[depth];
    s.at = kv_plist_offset(leaf, c.path.index[depth]);

    const uint8_t *const old = (const uint8_t *)leaf + s.at;
    struct kv_blob *const old_blob = plist_blob(old);
    s.gone = plist_item_size(old);
    if (!plist_own(&c, depth, 0) || !kv_plist_leaf_splice(&c, &s, &result) ||
        !plist_raise(&c, depth, &result, &good)) {
        return KVSQL_NOMEM;
    }
    if (old_blob != NULL) {
        kv_plist_drop_blob(&c, old_blob);
    }
    if (s.size < s.gone && !plist_mend(&c, good)) {
        return KVSQL_NOMEM;
    }
    return KVSQL_OK;
}

/* Retire the blobs of the items in [from, to) of a leaf. */
static void plist_drop_blobs(struct plist_change *c, const struct kv_node *leaf,
                             uint32_t from, uint32_t to)
{
    while (from < to) {
        const uint8_t *const p = (const uint8_t *)leaf + from;
        struct kv_blob *const blob = plist_blob(p);

        if (blob != NULL) {
            kv_plist_drop_blob(c, blob);
        }
        from += plist_item_size(p);
    }
}

/* Remove `count` items of the path's leaf, which has that many from there. */
static bool plist_remove_items(struct plist_change *c, uint32_t count)
{
    const unsigned depth = c->path.depth;
    const struct kv_node *const leaf = c->path.node[depth];
    const uint32_t first = c->path.index[depth];
    struct plist_splice s = {.items = -(int32_t)count};
    struct plist_result result;
    unsigned good = 0;

    s.at = kv_plist_offset(leaf, first);
    s.gone = s.at;
    for (uint32_t i = 0; i < count; i++) {
        s.gone += plist_item_size((const uint8_t *)leaf + s.gone);
    }
    s.gone -= s.at;
    plist_drop_blobs(c, leaf, s.at, s.at + s.gone);
    c->tree->count[0] -= count;
    return plist_own(c, depth, -(int64_t)count) &&
           kv_plist_leaf_splice(c, &s, &result) &&
           plist_raise(c, depth, &result, &good) && plist_mend(c, good);
}

/* Remove the leaves [first, end) of the lowest inner node of the path, which
 * hold `count` items. Room is asked for leaf by leaf. */
static bool plist_remove_leaves(struct plist_change *c, uint32_t end,
                                uint64_t count)
{
    const unsigned depth = c->path.depth - 1;
    const uint32_t first = c->path.index[depth];
    unsigned good = 0;

    c->tree->count[0] -= count;
    if (!plist_own(c, depth + 1, -(int64_t)count)) {
        return false;
    }
    struct kv_node *const node = c->path.node[depth];
    for (uint32_t i = first; i < end; i++) {
        struct kv_node *const leaf = plist_slots(node)[i].child;

        if (!kv_room(c->store, KV_ROOM_STEP, KV_ROOM_BLOCKS + leaf->n)) {
            return false;
        }
        plist_drop_blobs(c, leaf, leaf->hint, leaf->used);
        kv_plist_drop(c, leaf);
    }
    if (end - first < node->n) {
        kv_plist_inner_edit(c, node, first, end - first, NULL, 0);
        good = depth;
    } else {
        struct plist_result result = {.n = 0};

        kv_plist_drop(c, node);
        if (!plist_raise(c, depth, &result, &good)) {
            return false;
        }
    }
    return plist_mend(c, good);
}

/* One step of a removal: whole leaves below one parent, or items of one leaf.
 * *done is how many went. */
static kvsql_rc plist_remove_some(struct kv_store *store, struct kv_tree *tree,
                                  uint64_t index, uint64_t count,
                                  uint64_t *done)
{
    struct plist_change c;
    struct plist_path *const path = &c.path;

    kv_plist_find(path, tree, index, false);
    const struct kv_node *const leaf = path->node[path->depth];
    const uint32_t first = path->index[path->depth];
    const uint32_t here = leaf->n - first;

    *done = here < count ? here : count;
    if (plist_begin(&c, store, tree, (unsigned)*done) != KVSQL_OK) {
        return KVSQL_NOMEM;
    }
    if (path->depth == 0 || first > 0 || here > count) {
        return plist_remove_items(&c, (uint32_t)*done) ? KVSQL_OK
                                                       : KVSQL_NOMEM;
    }
    const struct kv_node *const parent = path->node[path->depth - 1];
    const struct kv_pos_slot *const slots = plist_slots(parent);
    uint32_t end = path->index[path->depth - 1] + 1;

    while (end < parent->n && *done + slots[end].count <= count) {
        *done += slots[end].count;
        end++;
    }
    return plist_remove_leaves(&c, end, *done) ? KVSQL_OK : KVSQL_NOMEM;
}

kvsql_rc kv_plist_remove(struct kv_store *store, struct kv_tree *tree,
                         uint64_t index, uint64_t count)
{
    KV_ASSERT(index <= tree->count[0] && count <= tree->count[0] - index);
    while (count > 0) {
        uint64_t done;
        const kvsql_rc rc =
            plist_remove_some(store, tree, index, count, &done);

        if (rc != KVSQL_OK) {
            return rc;
        }
        count -= done;
    }
    return KVSQL_OK;
}
