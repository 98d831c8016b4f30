/* plist_node.c - one node of a large list: new ones, and what a splice makes
 * of a leaf or of an inner node. Rules and drawing: plist.c.
 *
 * Thread: the holder of the store lock. */
#include "kvsql/plist_private.h"

/* ---- one node ----------------------------------------------------------- */

bool kv_plist_left_edge(const struct plist_path *path, unsigned depth)
{
    while (depth > 0 && path->index[depth - 1] == 0) {
        depth--;
    }
    return depth == 0;
}

static bool plist_right_edge(const struct plist_path *path, unsigned depth)
{
    while (depth > 0 &&
           path->index[depth - 1] + 1 == path->node[depth - 1]->n) {
        depth--;
    }
    return depth == 0;
}

void kv_plist_drop(struct plist_change *c, struct kv_node *node)
{
    c->tree->bytes -= node->cap;
    kv_retire(c->store, node);
}

void kv_plist_drop_blob(struct plist_change *c, struct kv_blob *blob)
{
    c->tree->bytes -= kv_block_size(blob);
    kv_retire(c->store, blob);
}

/* A leaf of at least `room` bytes for items. What is more than `size` becomes
 * gap: `left_of_4` quarters of it at the left. The items are not filled in. */
static struct kv_node *plist_leaf_new(struct plist_change *c, uint32_t room,
                                      uint32_t size, uint32_t items,
                                      uint32_t left_of_4)
{
    if (room > PLIST_LEAF_ROOM) {
        room = PLIST_LEAF_ROOM;
    }
    KV_ASSERT(size <= room);
    struct kv_node *const leaf =
        kv_node_new(c->store, PLIST_HEAD + room, 0, KV_NODE_LIST);
    if (leaf == NULL) {
        return NULL;
    }
    const uint32_t gap = leaf->cap - PLIST_HEAD - size;

    leaf->hint = (uint16_t)(PLIST_HEAD + gap / 4 * left_of_4 +
                            gap % 4 * left_of_4 / 4);
    leaf->used = (uint16_t)(leaf->hint + size);
    leaf->n = (uint16_t)items;
    c->tree->bytes += leaf->cap;
    return leaf;
}

struct kv_node *kv_plist_leaf(struct plist_change *c,
                              const uint8_t *bytes, uint32_t size,
                              uint32_t items, uint32_t left_of_4)
{
    struct kv_node *const leaf =
        plist_leaf_new(c, size + size / 8, size, items, left_of_4);

    if (leaf != NULL) {
        memcpy((uint8_t *)leaf + leaf->hint, bytes, size);
    }
    return leaf;
}

struct kv_node *kv_plist_inner(struct plist_change *c, uint8_t level,
                               const struct kv_pos_slot *slots,
                               uint32_t n)
{
    const uint32_t bytes = n * (uint32_t)sizeof(*slots);
    struct kv_node *const node =
        kv_node_new(c->store, PLIST_HEAD + bytes, level, KV_NODE_LIST);

    if (node == NULL) {
        return NULL;
    }
    memcpy(plist_slots(node), slots, bytes);
    node->n = (uint16_t)n;
    c->tree->bytes += node->cap;
    return node;
}

/* ---- splicing a leaf ---------------------------------------------------- */

/* Move one side of the leaf and put the new bytes in; false when neither gap
 * can take it. The leaf is owned. */
static bool plist_leaf_edit(struct plist_change *c, struct kv_node *leaf,
                            const struct plist_splice *s)
{
    uint8_t *const base = (uint8_t *)leaf;
    const int32_t delta = (int32_t)s->size - (int32_t)s->gone;
    const uint32_t behind = s->at + s->gone;
    const uint32_t head = s->at - leaf->hint, tail = leaf->used - behind;
    const bool can_tail = leaf->used + delta <= leaf->cap;
    const bool can_head = leaf->hint - delta >= (int32_t)PLIST_HEAD;
    uint32_t at = s->at;

    if (!can_tail && !can_head) {
        return false;
    }
    if (delta != 0) {
        kv_edit(c->store, &leaf->n, PLIST_HEAD - sizeof(leaf->gen));
    }
    if (delta == 0) {
        kv_edit(c->store, base + at, s->gone);
    } else if (can_tail && (!can_head || tail <= head)) {
        if (leaf->used > at) {
            kv_edit(c->store, base + at, leaf->used - at); /* PL6 */
        }
        memmove(base + at + s->size, base + behind, tail);
        leaf->used = (uint16_t)(leaf->used + delta);
    } else {
        if (behind > leaf->hint) {
            kv_edit(c->store, base + leaf->hint, behind - leaf->hint);
        }
        memmove(base + leaf->hint - delta, base + leaf->hint, head);
        leaf->hint = (uint16_t)(leaf->hint - delta);
        at = (uint32_t)((int32_t)at - delta);
    }
    if (s->size > 0) {
        memcpy(base + at, s->bytes, s->size);
    }
    if (delta != 0) {
        leaf->n = (uint16_t)(leaf->n + s->items);
    }
    return true;
}

/* Share of a leaf's gap that goes to the left, in quarters. */
static uint32_t plist_gap_side(const struct plist_path *path, bool at_left)
{
    if (!kv_plist_left_edge(path, path->depth)) {
        return 0;
    }
    if (!plist_right_edge(path, path->depth)) {
        return 4;
    }
    return at_left ? 3 : 1;
}

/* Two leaves of bytes that one cannot hold, cut as near the middle as items
 * allow. */
static bool plist_leaf_split(struct plist_change *c, const uint8_t *bytes,
                             uint32_t size, uint32_t items,
                             struct plist_result *result)
{
    const uint32_t half = size / 2;
    uint32_t cut = plist_item_size(bytes), before = 1;

    while (cut < half) {
        const uint32_t next = cut + plist_item_size(bytes + cut);

        if (next > half && next - half > half - cut) {
            break;
        }
        cut = next;
        before++;
    }
    KV_ASSERT(before > 0 && before < items);
    KV_ASSERT(cut <= PLIST_LEAF_ROOM && size - cut <= PLIST_LEAF_ROOM);
    const bool left_edge = kv_plist_left_edge(&c->path, c->path.depth);
    result->n = 2;
    result->node[0] =
        kv_plist_leaf(c, bytes, cut, before, left_edge ? 4 : 0);
    result->node[1] =
        kv_plist_leaf(c, bytes + cut, size - cut, items - before, 0);
    return result->node[0] != NULL && result->node[1] != NULL;
}

/* A full leaf at an edge stays; the pushed item begins a new one. */
static bool plist_leaf_push(struct plist_change *c, struct kv_node *leaf,
                            const struct plist_splice *s, bool left,
                            struct plist_result *result)
{
    const struct plist_path *const path = &c->path;
    const bool many =
        path->depth > 1 || (path->depth == 1 &&
                            path->node[0]->n >= PLIST_EDGE_LEAVES);
    struct kv_node *const fresh =
        plist_leaf_new(c, many ? PLIST_LEAF_ROOM : PLIST_EDGE_MIN - PLIST_HEAD,
                       s->size, 1, left ? 4 : 0);

    if (fresh == NULL) {
        return false;
    }
    memcpy((uint8_t *)fresh + fresh->hint, s->bytes, s->size);
    result->n = 2;
    result->node[left] = leaf;
    result->node[!left] = fresh;
    return true;
}

/* Bytes to keep free in a new leaf: a pushed end goes on growing. */
static uint32_t plist_slack(const struct plist_path *path,
                            const struct plist_splice *s, uint32_t size,
                            uint32_t head, uint32_t tail)
{
    if (s->size <= s->gone) {
        return 0;
    }
    if ((tail == 0 && plist_right_edge(path, path->depth)) ||
        (head == 0 && kv_plist_left_edge(path, path->depth))) {
        return size / 2;
    }
    return size / 8;
}

/* Build what the leaf becomes in new blocks; the leaf goes. */
static bool plist_leaf_rebuild(struct plist_change *c, struct kv_node *leaf,
                               const struct plist_splice *s,
                               struct plist_result *result)
{
    uint8_t bytes[KV_LEAF_MAX + PLIST_BYTES_MAX];
    const uint8_t *const base = (const uint8_t *)leaf;
    const uint32_t head = s->at - leaf->hint;
    const uint32_t tail = leaf->used - s->at - s->gone;
    const uint32_t size = head + s->size + tail;
    const uint32_t items = (uint32_t)(leaf->n + s->items);

    result->n = 0;
    if (size > 0) {
        memcpy(bytes, base + leaf->hint, head);
        if (s->size > 0) {
            memcpy(bytes + head, s->bytes, s->size);
        }
        memcpy(bytes + head + s->size, base + s->at + s->gone, tail);
    }
    if (size > PLIST_LEAF_ROOM) {
        if (!plist_leaf_split(c, bytes, size, items, result)) {
            return false;
        }
    } else if (size > 0) {
        const bool at_left = head == 0 && tail > 0;

        result->n = 1;
        result->node[0] = plist_leaf_new(
            c, size + plist_slack(&c->path, s, size, head, tail), size, items,
            plist_gap_side(&c->path, at_left));
        if (result->node[0] == NULL) {
            return false;
        }
        memcpy((uint8_t *)result->node[0] + result->node[0]->hint, bytes, size);
    }
    kv_plist_drop(c, leaf);
    return true;
}

/* True when half of the block would do; the open leaves at the edges of a
 * longer list keep their gap. */
static bool plist_leaf_roomy(const struct plist_path *path,
                             const struct kv_node *leaf, uint32_t size)
{
    if (path->depth > 0 && (kv_plist_left_edge(path, path->depth) ||
                            plist_right_edge(path, path->depth))) {
        return false;
    }
    return kv_size_class(PLIST_HEAD + size) * 2 <= leaf->cap;
}

bool kv_plist_leaf_splice(struct plist_change *c,
                          const struct plist_splice *s,
                          struct plist_result *result)
{
    const struct plist_path *const path = &c->path;
    struct kv_node *const leaf = path->node[path->depth];
    const uint32_t size = leaf->used - leaf->hint + s->size - s->gone;

    if (size > PLIST_LEAF_ROOM && s->gone == 0) {
        if (s->at == leaf->used && plist_right_edge(path, path->depth)) {
            return plist_leaf_push(c, leaf, s, false, result);
        }
        if (s->at == leaf->hint && kv_plist_left_edge(path, path->depth)) {
            return plist_leaf_push(c, leaf, s, true, result);
        }
    }
    if (kv_owned(c->store, leaf) && size > 0 &&
        (s->size >= s->gone || !plist_leaf_roomy(path, leaf, size)) &&
        plist_leaf_edit(c, leaf, s)) {
        result->n = 1;
        result->node[0] = leaf;
        return true;
    }
    return plist_leaf_rebuild(c, leaf, s, result);
}

/* ---- splicing an inner node --------------------------------------------- */

void kv_plist_inner_edit(struct plist_change *c, struct kv_node *node,
                         uint32_t at, uint32_t gone,
                         const struct kv_pos_slot *slots, uint32_t n)
{
    struct kv_pos_slot *const all = plist_slots(node);
    const uint32_t tail = node->n - at - gone;

    kv_edit(c->store, &node->n, sizeof(node->n));
    kv_edit(c->store, &all[at], (node->n - at) * sizeof(*all)); /* PL6 */
    memmove(&all[at + n], &all[at + gone], tail * sizeof(*all));
    node->n = (uint16_t)(at + n + tail);
    if (n > 0) {
        memcpy(&all[at], slots, n * sizeof(*all));
    }
}

/* Where to cut total slots into two nodes: pushes at an edge leave the old
 * node full. */
static uint32_t plist_inner_cut(const struct plist_path *path, unsigned depth,
                                uint32_t at, uint32_t total)
{
    if (at + 2 == total && plist_right_edge(path, depth)) {
        return total - 1;
    }
    if (at == 0 && kv_plist_left_edge(path, depth)) {
        return 1;
    }
    return total / 2;
}

bool kv_plist_inner_splice(struct plist_change *c, unsigned depth,
                           const struct kv_pos_slot *slots, uint32_t n,
                           struct plist_result *result)
{
    struct kv_node *const node = c->path.node[depth];
    const uint32_t at = c->path.index[depth];
    const uint32_t total = node->n - 1u + n;
    struct kv_pos_slot all[PLIST_SLOTS_MAX + 1];

    if (total == 0) {
        result->n = 0;
        kv_plist_drop(c, node);
        return true;
    }
    if (total <= (node->cap - PLIST_HEAD) / sizeof(*slots)) {
        kv_plist_inner_edit(c, node, at, 1, slots, n);
        result->n = 1;
        result->node[0] = node;
        return true;
    }
    const struct kv_pos_slot *const old = plist_slots(node);
    memcpy(all, old, at * sizeof(*all));
    memcpy(all + at, slots, n * sizeof(*all));
    memcpy(all + at + n, old + at + 1, (node->n - at - 1u) * sizeof(*all));

    uint32_t cut = total;
    if (total > PLIST_SLOTS_MAX) {
        cut = plist_inner_cut(&c->path, depth, at, total);
        result->node[1] =
            kv_plist_inner(c, node->level, all + cut, total - cut);
    }
    result->n = cut < total ? 2 : 1;
    result->node[0] = kv_plist_inner(c, node->level, all, cut);
    if (result->node[0] == NULL || result->node[result->n - 1] == NULL) {
        return false;
    }
    kv_plist_drop(c, node);
    return true;
}
