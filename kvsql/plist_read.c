/* plist_read.c - large lists, read: finding an item, the cursor, and the walks
 * for reaping and checking. Rules and drawing: plist.c.
 *
 * Thread: any (on views). */
#include "kvsql/plist_private.h"

/* ---- reading ------------------------------------------------------------ */

/* Offset of item `index` of a leaf; n gives the end. Runs of items with equal
 * tags are stepped over without waiting for each load: the tag is only
 * compared, so the processor can run ahead. */
uint32_t kv_plist_offset(const struct kv_node *leaf, uint32_t index)
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

void kv_plist_find(struct plist_path *path, const struct kv_tree *tree,
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
    plist_decode((const uint8_t *)node + kv_plist_offset(node, (uint32_t)index),
                 out);
    return true;
}

/* ---- cursor ------------------------------------------------------------- */

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
    kv_plist_find(&path, tree, index, false);
    for (unsigned d = 0; d <= path.depth; d++) {
        walk->path[d] = (struct kv_cursor_step){path.node[d], path.index[d]};
    }
    walk->depth = (uint8_t)path.depth;
    *offset = kv_plist_offset(path.node[path.depth], path.index[path.depth]);
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
    *offset = kv_plist_offset(step->node, step->index);
    return true;
}

/* ---- reaping and checking ----------------------------------------------- */

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
