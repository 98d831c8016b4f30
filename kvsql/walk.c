/* walk.c - a cursor over one tree or two (TEXT, then BLOB): a path of {node,
 * index} (ST10). Empty leaves (T3) are stepped over.
 *
 * Thread: any on a view; on a txn the holder of the store lock. */
#include "kvsql/node_ops.h"

static uint32_t walk_slots(const struct kv_node *node)
{
    return node->n;
}

/* From step d of the path down to the first (last) leaf below its index. */
static void walk_down(struct kv_walk *walk, unsigned d, bool last)
{
    while (walk->path[d].node->level > 0) {
        const struct kv_node *const child =
            inner_slots(walk->path[d].node)[walk->path[d].index].child;
        KV_ASSERT(d + 1 < KV_HEIGHT_MAX);
        walk->path[++d].node = child;
        walk->path[d].index = last && child->n > 0 ? child->n - 1u : 0;
        if (child->level == 0)
            __builtin_prefetch(child);
    }
    walk->depth = (uint8_t)(d + 1);
}

static bool walk_root(struct kv_walk *walk, unsigned which, bool last)
{
    const struct kv_node *const root = walk->root[which];

    walk->which = (uint8_t)which;
    walk->depth = 0;
    if (root == NULL)
        return false;
    walk->path[0].node = root;
    walk->path[0].index = last && root->n > 0 ? root->n - 1u : 0;
    walk_down(walk, 0, last);
    return true;
}

/* The leaf to the right (left); false at the edge of the tree. */
static bool walk_leaf_next(struct kv_walk *walk)
{
    for (unsigned d = walk->depth - 1u; d-- > 0;) {
        const struct kv_node *const node = walk->path[d].node;
        if (walk->path[d].index + 1 < walk_slots(node)) {
            walk->path[d].index++;
            if (walk->path[d].index + 1 < walk_slots(node))
                __builtin_prefetch(
                    inner_slots(node)[walk->path[d].index + 1].child);
            walk_down(walk, d, false);
            return true;
        }
    }
    return false;
}

static bool walk_leaf_prev(struct kv_walk *walk)
{
    for (unsigned d = walk->depth - 1u; d-- > 0;) {
        if (walk->path[d].index > 0) {
            walk->path[d].index--;
            walk_down(walk, d, true);
            return true;
        }
    }
    return false;
}

bool kv_walk_settle(struct kv_walk *walk)
{
    for (;;) {
        if (walk->depth > 0) {
            struct kv_cursor_step *const step = &walk->path[walk->depth - 1];
            if (step->index < step->node->n)
                return walk->valid = true;
            if (walk_leaf_next(walk))
                continue;
        }
        if (walk->which == 1)
            return walk->valid = false;
        if (!walk_root(walk, 1, false) && walk->root[1] == NULL)
            return walk->valid = false;
    }
}

/* Backwards: `step` entries of the path's leaf lie before the place. */
static bool walk_settle_back(struct kv_walk *walk, bool inside)
{
    for (;;) {
        if (walk->depth > 0) {
            const struct kv_cursor_step *const step =
                &walk->path[walk->depth - 1];
            if (inside && step->index < step->node->n)
                return walk->valid = true;
            if (walk_leaf_prev(walk)) {
                inside = walk->path[walk->depth - 1].node->n > 0;
                continue;
            }
        }
        if (walk->which == 0)
            return walk->valid = false;
        if (!walk_root(walk, 0, true))
            return walk->valid = false;
        inside = walk->path[walk->depth - 1].node->n > 0;
    }
}

bool kv_walk_first(struct kv_walk *walk)
{
    walk_root(walk, 0, false);
    return kv_walk_settle(walk);
}

bool kv_walk_last(struct kv_walk *walk)
{
    const bool any = walk_root(walk, 1, true);
    return walk_settle_back(
        walk, any && walk->path[walk->depth - 1].node->n > 0);
}

/* Place the path at the first entry >= key; *equal tells. */
static void walk_find(struct kv_walk *walk, unsigned which, const uint8_t *key,
                      uint32_t size, bool *equal)
{
    const struct kv_node *node = walk->root[which];
    unsigned d = 0;

    *equal = false;
    walk->which = (uint8_t)which;
    walk->depth = 0;
    if (node == NULL)
        return;
    for (;; d++) {
        KV_ASSERT(d < KV_HEIGHT_MAX);
        walk->path[d].node = node;
        if (node->level == 0)
            break;
        const uint32_t at = inner_find(node, key, size);
        walk->path[d].index = at;
        const unsigned level = node->level;
        node = inner_slots(node)[at].child;
        node_prefetch(node, level - 1);
    }
    walk->path[d].index = leaf_find(node, key, size, equal);
    walk->depth = (uint8_t)(d + 1);
}

bool kv_walk_seek(struct kv_walk *walk, unsigned which, const uint8_t *key,
                  uint32_t size, bool after)
{
    bool equal;

    walk_find(walk, which, key, size, &equal);
    if (equal && after)
        walk->path[walk->depth - 1].index++;
    return kv_walk_settle(walk);
}

bool kv_walk_seek_back(struct kv_walk *walk, unsigned which, const uint8_t *key,
                       uint32_t size, bool before)
{
    bool equal;

    walk_find(walk, which, key, size, &equal);
    if (walk->depth > 0) {
        if (equal && !before)
            return walk->valid = true;
        struct kv_cursor_step *const step = &walk->path[walk->depth - 1];
        if (step->index > 0) {
            step->index--;
            return walk->valid = true;
        }
    }
    return walk_settle_back(walk, false);
}

/* The slot below which entry number *left of the node is; *left is its number
 * there. The end of the slots: the node has fewer. */
static const struct kv_inner_slot *walk_slot_of(const struct kv_node *node,
                                                uint64_t *left)
{
    const struct kv_inner_slot *slot = inner_slots(node);
    const struct kv_inner_slot *const end = slot + node->n;
    uint64_t rest = *left;

    for (; end - slot >= 4; slot += 4) {
        const uint64_t four = (uint64_t)slot[0].count + slot[1].count +
                              slot[2].count + slot[3].count;
        if (rest < four)
            break;
        rest -= four;
    }
    while (slot < end && rest >= slot->count)
        rest -= (slot++)->count;
    *left = rest;
    return slot;
}

/* Go down from the root to the entry of the rank; *rank is what is left of it
 * when the tree is too short. */
static bool walk_rank_in(struct kv_walk *walk, unsigned which, uint64_t *rank)
{
    const struct kv_node *node = walk->root[which];
    uint64_t left = *rank;
    unsigned d = 0;

    walk->which = (uint8_t)which;
    for (; node != NULL && node->level > 0; d++) {
        const struct kv_inner_slot *const slot = walk_slot_of(node, &left);
        const uint32_t i = (uint32_t)(slot - inner_slots(node));
        if (i == node->n) { /* only at the root: counts are exact (ST8) */
            *rank = left;
            return false;
        }
        walk->path[d].node = node;
        walk->path[d].index = i;
        node = slot->child;
    }
    if (node == NULL || left >= node->n) {
        *rank = left - (node != NULL ? node->n : 0);
        return false;
    }
    walk->path[d].node = node;
    walk->path[d].index = (uint32_t)left;
    walk->depth = (uint8_t)(d + 1);
    return true;
}

bool kv_walk_rank(struct kv_walk *walk, uint64_t rank)
{
    walk->valid = walk_rank_in(walk, 0, &rank) || walk_rank_in(walk, 1, &rank);
    if (!walk->valid)
        walk->depth = 0;
    return walk->valid;
}

bool kv_walk_prev(struct kv_walk *walk)
{
    struct kv_cursor_step *const step = &walk->path[walk->depth - 1];

    if (KV_LIKELY(step->index > 0)) {
        step->index--;
        return true;
    }
    return walk_settle_back(walk, false);
}

/* Skip to the right while the subtrees there hold nothing of the mask. */
bool kv_walk_next_typed(struct kv_walk *walk, unsigned types)
{
    struct kv_cursor_step *const step = &walk->path[walk->depth - 1];

    if (++step->index < step->node->n)
        return true;
    for (unsigned d = walk->depth - 1u; d-- > 0;) {
        const struct kv_node *const node = walk->path[d].node;
        uint32_t i = walk->path[d].index + 1;
        while (i < node->n && !(inner_slots(node)[i].types & types))
            i++;
        if (i < node->n) {
            walk->path[d].index = i;
            walk_down(walk, d, false);
            return kv_walk_settle(walk);
        }
        walk->path[d].index = node->n - 1u;
    }
    walk->path[walk->depth - 1].index = walk->path[walk->depth - 1].node->n;
    return kv_walk_settle(walk);
}
