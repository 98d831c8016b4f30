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
#include "kvsql/plist.h"

#include <string.h>

#include "kvsql/packed.h"
#include "kvsql/store_private.h"

#define PLIST_HEAD ((uint32_t)sizeof(struct kv_node))
#define PLIST_LEAF_ROOM (KV_LEAF_MAX - PLIST_HEAD)
#define PLIST_SLOTS_MAX                                                        \
    ((KV_INNER_MAX - PLIST_HEAD) / (uint32_t)sizeof(struct kv_pos_slot))
/* Longer items are blobs. In small test nodes an item must still leave room
 * for a split into two. */
#define PLIST_ITEM_MAX                                                         \
    (KV_LEAF_MAX >= 512 ? KV_PACKED_ITEM_MAX : KV_LEAF_MAX / 4)
#define PLIST_KIND_POINTER 3
#define PLIST_POINTER_TAG (9 << 2 | PLIST_KIND_POINTER)
#define PLIST_POINTER_SIZE 10
#define PLIST_BYTES_MAX (KV_PACKED_ITEM_MAX + 3) /* tag, NUL */
#define PLIST_COUNT_MAX UINT32_MAX
#define PLIST_EDGE_MIN 256  /* first size of a new leaf at an edge ... */
#define PLIST_EDGE_LEAVES 8 /* ... until its parent has that many */

struct plist_path {
    struct kv_node *node[KV_HEIGHT_MAX];
    uint32_t index[KV_HEIGHT_MAX]; /* of the slot taken; in the leaf: item */
    unsigned depth;                /* node[depth] is the leaf */
};

/* One change in progress. */
struct plist_change {
    struct kv_store *store;
    struct kv_tree *tree;
    struct plist_path path;
};

/* [at, at + gone) of a leaf becomes bytes[0, size). */
struct plist_splice {
    uint32_t at, gone;
    const uint8_t *bytes;
    uint32_t size;
    int32_t items; /* change of the number of items */
};

/* What a node became: 0, 1 or 2 nodes. */
struct plist_result {
    struct kv_node *node[2];
    unsigned n;
};

/* ---- reading -------------------------------------------------------------- */

static inline struct kv_pos_slot *plist_slots(const struct kv_node *node)
{
    return (struct kv_pos_slot *)(void *)((uint8_t *)(uintptr_t)node +
                                          PLIST_HEAD);
}

static inline uint32_t plist_item_size(const uint8_t *p)
{
    uint32_t t = p[0];

    if (KV_LIKELY(t < 128)) {
        return 1 + (t >> 2) + ((t & 3) < 2);
    }
    t = (t & 127) | ((uint32_t)p[1] << 7);
    return 2 + (t >> 2) + ((t & 3) < 2);
}

/* Offset of item `index` of a leaf; n gives the end. Runs of items with equal
 * tags are stepped over without waiting for each load: the tag is only
 * compared, so the processor can run ahead. */
static uint32_t plist_offset(const struct kv_node *leaf, uint32_t index)
{
    const uint8_t *p = (const uint8_t *)leaf + leaf->hint;

    if (index == leaf->n) {
        return leaf->used;
    }
    while (index > 0) {
        const uint8_t tag = p[0];
        const uint32_t size = plist_item_size(p);

        p += size;
        index--;
        if (tag < 128) {
            while (index > 0 && p[0] == tag) {
                p += size;
                index--;
            }
        }
    }
    return (uint32_t)(p - (const uint8_t *)leaf);
}

/* The pointer of a pointer item; NULL for any other item. */
static struct kv_blob *plist_blob(const uint8_t *p)
{
    struct kv_blob *blob = NULL;

    if (p[0] == PLIST_POINTER_TAG) {
        memcpy(&blob, p + 1, sizeof(blob));
    }
    return blob;
}

static void plist_decode(const uint8_t *p, struct kv_val *out)
{
    const struct kv_blob *const blob = plist_blob(p);

    if (blob == NULL) {
        kv_packed_item_read(p, out);
        return;
    }
    out->p = blob->d;
    out->size = blob->len;
    out->cls = p[9];
    out->stable = true;
    out->is_int = false;
    out->number = 0;
}

/* Index of the child that holds item *index of `total`; *index becomes relative
 * to it. With `edge` an index just behind a child's last item belongs to it.
 * Counts are summed from the nearer side. */
static uint32_t plist_child(const struct kv_node *node, uint64_t total,
                            uint64_t *index, bool edge)
{
    const struct kv_pos_slot *const slot = plist_slots(node);
    uint64_t start = 0;
    uint32_t i = 0;

    if (*index < total / 2) {
        while (i + 1u < node->n && *index >= start + slot[i].count + edge) {
            start += slot[i].count;
            i++;
        }
    } else {
        i = node->n - 1u;
        start = total - slot[i].count;
        while (i > 0 && *index < start + edge) {
            i--;
            start -= slot[i].count;
        }
    }
    *index -= start;
    return i;
}

/* Path to item `index`; with `edge` to the place where it would be put. */
static void plist_find(struct plist_path *path, const struct kv_tree *tree,
                       uint64_t index, bool edge)
{
    struct kv_node *node = tree->root[2];
    uint64_t total = tree->count[0];

    path->depth = 0;
    for (;;) {
        path->node[path->depth] = node;
        if (node->level == 0) {
            break;
        }
        const uint32_t i = plist_child(node, total, &index, edge);
        path->index[path->depth] = i;
        total = plist_slots(node)[i].count;
        node = plist_slots(node)[i].child;
        path->depth++;
        KV_ASSERT(path->depth < KV_HEIGHT_MAX); /* PL4 */
    }
    KV_ASSERT(index <= node->n);
    path->index[path->depth] = (uint32_t)index;
}

bool kv_plist_get(const struct kv_tree *tree, uint64_t index,
                  struct kv_val *out)
{
    const struct kv_node *node = tree->root[2];
    uint64_t total = tree->count[0];

    if (index >= total) {
        return false;
    }
    while (node->level > 0) {
        const uint32_t i = plist_child(node, total, &index, false);

        total = plist_slots(node)[i].count;
        node = plist_slots(node)[i].child;
    }
    plist_decode((const uint8_t *)node + plist_offset(node, (uint32_t)index),
                 out);
    return true;
}

/* ---- cursor --------------------------------------------------------------- */

bool kv_plist_seek(const struct kv_tree *tree, uint64_t index,
                   struct kv_walk *walk, uint32_t *offset)
{
    struct plist_path path;

    walk->root[0] = tree->root[2];
    walk->root[1] = NULL;
    walk->which = 0;
    walk->valid = index < tree->count[0];
    if (!walk->valid) {
        return false;
    }
    plist_find(&path, tree, index, false);
    for (unsigned d = 0; d <= path.depth; d++) {
        walk->path[d] = (struct kv_cursor_step){path.node[d], path.index[d]};
    }
    walk->depth = (uint8_t)path.depth;
    *offset = plist_offset(path.node[path.depth], path.index[path.depth]);
    return true;
}

void kv_plist_item(const struct kv_walk *walk, uint32_t offset,
                   struct kv_val *out)
{
    const struct kv_node *const leaf = walk->path[walk->depth].node;

    KV_ASSERT(walk->valid && offset >= leaf->hint && offset < leaf->used);
    plist_decode((const uint8_t *)leaf + offset, out);
}

/* Move to the next (or previous) leaf; its item index is set. */
static bool plist_turn(struct kv_walk *walk, bool forward)
{
    unsigned d = walk->depth;

    for (;;) {
        if (d == 0) {
            walk->valid = false;
            return false;
        }
        d--;
        struct kv_cursor_step *const step = &walk->path[d];
        if (forward ? step->index + 1 < step->node->n : step->index > 0) {
            step->index += forward ? 1u : UINT32_MAX;
            break;
        }
    }
    while (d < walk->depth) {
        const struct kv_cursor_step step = walk->path[d];
        const struct kv_node *const child =
            plist_slots(step.node)[step.index].child;

        if (forward && step.index + 1 < step.node->n) {
            __builtin_prefetch(plist_slots(step.node)[step.index + 1].child);
        }
        d++;
        walk->path[d].node = child;
        walk->path[d].index = forward ? 0 : child->n - 1u;
    }
    return true;
}

bool kv_plist_next(struct kv_walk *walk, uint32_t *offset)
{
    struct kv_cursor_step *const step = &walk->path[walk->depth];

    KV_ASSERT(walk->valid);
    if (step->index + 1 < step->node->n) {
        step->index++;
        *offset += plist_item_size((const uint8_t *)step->node + *offset);
        return true;
    }
    if (!plist_turn(walk, true)) {
        return false;
    }
    *offset = step->node->hint;
    return true;
}

/* Decode the item at p; returns where the next one is. */
static inline const uint8_t *plist_read(const uint8_t *p, struct kv_val *out)
{
    const uint32_t tag = p[0];

    if (KV_LIKELY(tag < 128 && (tag & 3) <= KV_BLOB)) {
        kv_val_bytes(out, p + 1, tag >> 2, tag & 3, true);
        return p + 2 + (tag >> 2); /* tag, bytes, NUL */
    }
    plist_decode(p, out);
    return p + plist_item_size(p);
}

uint32_t kv_plist_read(struct kv_walk *walk, uint32_t *offset,
                       struct kv_val *out, uint32_t max)
{
    struct kv_cursor_step *const step = &walk->path[walk->depth];
    uint32_t count = 0;

    while (walk->valid && count < max) {
        const struct kv_node *const leaf = step->node;
        const uint8_t *p = (const uint8_t *)leaf + *offset;
        const uint32_t left = leaf->n - step->index;
        const uint32_t end = count + (left < max - count ? left : max - count);

        step->index += end - count;
        while (count < end) {
            p = plist_read(p, &out[count++]);
        }
        KV_ASSERT(p <= (const uint8_t *)leaf + leaf->used); /* PL2 */
        *offset = (uint32_t)(p - (const uint8_t *)leaf);
        if (step->index == leaf->n && plist_turn(walk, true)) {
            *offset = step->node->hint;
        }
    }
    return count;
}

bool kv_plist_prev(struct kv_walk *walk, uint32_t *offset)
{
    struct kv_cursor_step *const step = &walk->path[walk->depth];

    KV_ASSERT(walk->valid);
    if (step->index > 0) {
        step->index--;
    } else if (!plist_turn(walk, false)) {
        return false;
    }
    *offset = plist_offset(step->node, step->index);
    return true;
}

/* ---- one node ------------------------------------------------------------- */

static bool plist_left_edge(const struct plist_path *path, unsigned depth)
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

static uint64_t plist_count(const struct kv_node *node)
{
    uint64_t count = 0;

    if (node->level == 0) {
        return node->n;
    }
    for (uint32_t i = 0; i < node->n; i++) {
        count += plist_slots(node)[i].count;
    }
    return count;
}

static void plist_drop(struct plist_change *c, struct kv_node *node)
{
    c->tree->bytes -= node->cap;
    kv_retire(c->store, node);
}

static void plist_drop_blob(struct plist_change *c, struct kv_blob *blob)
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

static struct kv_node *plist_leaf_of(struct plist_change *c,
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

static struct kv_node *plist_inner_of(struct plist_change *c, uint8_t level,
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

/* ---- splicing a leaf ------------------------------------------------------- */

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
    if (!plist_left_edge(path, path->depth)) {
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
    const bool left_edge = plist_left_edge(&c->path, c->path.depth);
    result->n = 2;
    result->node[0] =
        plist_leaf_of(c, bytes, cut, before, left_edge ? 4 : 0);
    result->node[1] =
        plist_leaf_of(c, bytes + cut, size - cut, items - before, 0);
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
        (head == 0 && plist_left_edge(path, path->depth))) {
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
    plist_drop(c, leaf);
    return true;
}

/* True when half of the block would do; the open leaves at the edges of a
 * longer list keep their gap. */
static bool plist_leaf_roomy(const struct plist_path *path,
                             const struct kv_node *leaf, uint32_t size)
{
    if (path->depth > 0 && (plist_left_edge(path, path->depth) ||
                            plist_right_edge(path, path->depth))) {
        return false;
    }
    return kv_size_class(PLIST_HEAD + size) * 2 <= leaf->cap;
}

/* Splice the leaf of the path; the inner nodes above are owned. */
static bool plist_leaf_splice(struct plist_change *c,
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
        if (s->at == leaf->hint && plist_left_edge(path, path->depth)) {
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

/* ---- splicing an inner node ------------------------------------------------ */

/* `gone` slots at `at` become `n` others, in place. Owned, and there is room
 * for it. */
static void plist_inner_edit(struct plist_change *c, struct kv_node *node,
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
    if (at == 0 && plist_left_edge(path, depth)) {
        return 1;
    }
    return total / 2;
}

/* Put `n` slots in the place of the path's slot at `depth`. */
static bool plist_inner_splice(struct plist_change *c, unsigned depth,
                               const struct kv_pos_slot *slots, uint32_t n,
                               struct plist_result *result)
{
    struct kv_node *const node = c->path.node[depth];
    const uint32_t at = c->path.index[depth];
    const uint32_t total = node->n - 1u + n;
    struct kv_pos_slot all[PLIST_SLOTS_MAX + 1];

    if (total == 0) {
        result->n = 0;
        plist_drop(c, node);
        return true;
    }
    if (total <= (node->cap - PLIST_HEAD) / sizeof(*slots)) {
        plist_inner_edit(c, node, at, 1, slots, n);
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
            plist_inner_of(c, node->level, all + cut, total - cut);
    }
    result->n = cut < total ? 2 : 1;
    result->node[0] = plist_inner_of(c, node->level, all, cut);
    if (result->node[0] == NULL || result->node[result->n - 1] == NULL) {
        return false;
    }
    plist_drop(c, node);
    return true;
}

/* ---- the path ------------------------------------------------------------- */

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
    c->tree->root[2] = plist_inner_of(c, level, slots, 2);
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
        if (!plist_inner_splice(c, depth - 1, slots, r->n, r)) {
            return false;
        }
    }
}

/* ---- merging (ST7) -------------------------------------------------------- */

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
        return plist_leaf_of(c, bytes, a_size + b_size, (uint32_t)a->n + b->n,
                             left ? 4 : 0);
    }
    struct kv_pos_slot all[PLIST_SLOTS_MAX];
    memcpy(all, plist_slots(a), a_size);
    memcpy(all + a->n, plist_slots(b), b_size);
    return plist_inner_of(c, a->level, all, (uint32_t)a->n + b->n);
}

/* Merge slots `at` and `at + 1` of the owned node at `depth`. */
static bool plist_merge(struct plist_change *c, unsigned depth, uint32_t at)
{
    struct kv_node *const parent = c->path.node[depth];
    const struct kv_pos_slot *const slots = plist_slots(parent);
    struct kv_node *const a = slots[at].child, *const b = slots[at + 1].child;

    c->path.index[depth] = at;
    struct kv_node *const both =
        plist_join(c, a, b, plist_left_edge(&c->path, depth + 1));
    if (both == NULL) {
        return false;
    }
    const struct kv_pos_slot slot = {
        both, slots[at].count + slots[at + 1].count, 0};
    plist_drop(c, a);
    plist_drop(c, b);
    plist_inner_edit(c, parent, at, 2, &slot, 1);
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
        plist_drop(c, root);
    }
}

/* ---- changes -------------------------------------------------------------- */

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
        tree->root[2] = plist_leaf_of(&c, bytes, s.size, 1, 0);
        return tree->root[2] != NULL ? KVSQL_OK : KVSQL_NOMEM;
    }
    plist_find(&c.path, tree, index, true);
    tree->count[0]++;
    const unsigned depth = c.path.depth;
    s.at = plist_offset(c.path.node[depth], c.path.index[depth]);
    if (!plist_own(&c, depth, 1) || !plist_leaf_splice(&c, &s, &result) ||
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
    plist_find(&c.path, tree, index, false);
    const unsigned depth = c.path.depth;
    const struct kv_node *const leaf = c.path.node[depth];
    s.at = plist_offset(leaf, c.path.index[depth]);

    const uint8_t *const old = (const uint8_t *)leaf + s.at;
    struct kv_blob *const old_blob = plist_blob(old);
    s.gone = plist_item_size(old);
    if (!plist_own(&c, depth, 0) || !plist_leaf_splice(&c, &s, &result) ||
        !plist_raise(&c, depth, &result, &good)) {
        return KVSQL_NOMEM;
    }
    if (old_blob != NULL) {
        plist_drop_blob(&c, old_blob);
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
            plist_drop_blob(c, blob);
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

    s.at = plist_offset(leaf, first);
    s.gone = s.at;
    for (uint32_t i = 0; i < count; i++) {
        s.gone += plist_item_size((const uint8_t *)leaf + s.gone);
    }
    s.gone -= s.at;
    plist_drop_blobs(c, leaf, s.at, s.at + s.gone);
    c->tree->count[0] -= count;
    return plist_own(c, depth, -(int64_t)count) &&
           plist_leaf_splice(c, &s, &result) &&
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
        plist_drop(c, leaf);
    }
    if (end - first < node->n) {
        plist_inner_edit(c, node, first, end - first, NULL, 0);
        good = depth;
    } else {
        struct plist_result result = {.n = 0};

        plist_drop(c, node);
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

    plist_find(path, tree, index, false);
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

/* ---- reaping and checking --------------------------------------------------- */

void kv_plist_leaf_blobs(const struct kv_node *leaf,
                         void (*each)(void *arg, struct kv_blob *), void *arg)
{
    KV_ASSERT(leaf->level == 0 && leaf->flags == KV_NODE_LIST);
    for (uint32_t at = leaf->hint; at < leaf->used;) {
        const uint8_t *const p = (const uint8_t *)leaf + at;
        struct kv_blob *const blob = plist_blob(p);

        at += plist_item_size(p); /* `each` may free the blob, not the leaf */
        if (blob != NULL) {
            each(arg, blob);
        }
    }
}

/* Asserts one leaf; returns its bytes and those of its blobs. */
static uint64_t plist_check_leaf(const struct kv_node *leaf)
{
    uint64_t bytes = leaf->cap;
    uint32_t at = leaf->hint, items = 0;

    KV_ASSERT(leaf->hint >= PLIST_HEAD && leaf->used <= leaf->cap); /* PL2 */
    KV_ASSERT(leaf->cap <= KV_LEAF_MAX);
    KV_ASSERT(leaf->cap == kv_size_class(leaf->cap));
    KV_ASSERT((leaf->garb | leaf->plen | leaf->run | leaf->spare) == 0);
    while (at < leaf->used) {
        const uint8_t *const p = (const uint8_t *)leaf + at;
        const struct kv_blob *const blob = plist_blob(p);

        if (blob != NULL) {
            KV_ASSERT(blob->len > PLIST_ITEM_MAX);
            KV_ASSERT(blob->d[blob->len] == 0);
            bytes += kv_block_size(blob);
        }
        at += plist_item_size(p);
        items++;
    }
    KV_ASSERT(at == leaf->used);                /* PL2 */
    KV_ASSERT(items == leaf->n && items > 0);   /* PL3 */
    return bytes;
}

uint64_t kv_plist_check(const struct kv_tree *tree)
{
    struct kv_cursor_step path[KV_HEIGHT_MAX];
    unsigned depth = 0;
    uint64_t bytes = 0, items = 0;

    if (tree->root[2] == NULL) {
        KV_ASSERT(tree->count[0] == 0 && tree->bytes == 0);
        return 0;
    }
    path[0] = (struct kv_cursor_step){tree->root[2], 0};
    KV_ASSERT(path[0].node->level == 0 || path[0].node->n > 1); /* PL3 */
    KV_ASSERT(plist_count(path[0].node) == tree->count[0]);
    for (;;) {
        const struct kv_node *const node = path[depth].node;
        const uint32_t i = path[depth].index++;

        KV_ASSERT(node->flags == KV_NODE_LIST && node->n > 0);
        if (node->level > 0 && i < node->n) {
            const struct kv_pos_slot *const slot = &plist_slots(node)[i];

            KV_ASSERT(slot->child->level + 1 == node->level);      /* PL4 */
            KV_ASSERT(slot->count == plist_count(slot->child));    /* PL1 */
            KV_ASSERT(++depth < KV_HEIGHT_MAX);                    /* PL4 */
            path[depth] = (struct kv_cursor_step){slot->child, 0};
            continue;
        }
        bytes += node->level == 0 ? plist_check_leaf(node) : node->cap;
        items += node->level == 0 ? node->n : 0u;
        KV_ASSERT(node->cap >= PLIST_HEAD +
                  (node->level > 0 ? node->n * sizeof(struct kv_pos_slot) : 0));
        if (depth == 0) {
            break;
        }
        depth--;
    }
    KV_ASSERT(items == tree->count[0] && bytes == tree->bytes);
    return bytes;
}
