/* tree.c - put, remove, find, rank on the B+tree of tree.h.
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

#include <string.h>

#include "kvsql/node_ops.h"

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

static bool tree_descend(struct kv_store *store, struct kv_node **root,
                         const uint8_t *key, uint32_t size,
                         struct kv_path *path)
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
    return tree_descend(store, root, key, size, path);
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

/* From the root down, each node is looked at only when its parent says that it
 * is in the tree: so one that was freed meanwhile is not. The key is mostly
 * the one that the path led to, or the next. */
bool kv_tree_path_near(struct kv_node *root, const uint8_t *key, uint32_t size,
                       struct kv_path *path)
{
    struct kv_node *node = root;
    unsigned d = 0;

    if (path->depth == 0)
        return false;
    for (; d + 1 < path->depth; d++) {
        if (node != path->at[d].node || node->level == 0 ||
            path->at[d].index >= node->n)
            return false;
        node = inner_slots(node)[path->at[d].index].child;
    }
    if (node != path->at[d].node || node->level > 0 ||
        !node_shares(node, key, size))
        return false;
    const uint8_t *const s = key + node->plen;
    const uint32_t rest = size - node->plen, last = path->at[d].index;
    path->found = tree_is_at(node, last, s, rest);
    if (!path->found && tree_is_at(node, last + 1, s, rest)) {
        path->at[d].index = last + 1;
        path->found = true;
    }
    if (!path->found)
        path->at[d].index = leaf_find(node, key, size, &path->found);
    return path->found;
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

/* Replace node number d of the path by `node`. */
static void tree_replace(struct kv_store *store, struct kv_node **root,
                         struct kv_path *path, unsigned d,
                         struct kv_node *node)
{
    struct kv_node *const old = path->at[d].node;

    kv_edit_ptr(store, tree_place(root, path, d), node);
    path->at[d].node = node;
    kv_retire(store, old);
}

/* ---- fences (ST3) ----------------------------------------------------------- */

struct tree_fence {
    const uint8_t *p; /* NULL: none */
    uint32_t size;
    uint8_t buffer[KV_KEY_BUFFER];
};

/* Lower fence of node number d: the key of the slot in the nearest ancestor
 * whose slot has one (T2). */
static void tree_fence_low(const struct kv_path *path, unsigned d,
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

/* Upper fence of the node `skip` slots to the right of the path at level d:
 * the next slot's key in the nearest ancestor that has one. */
static void tree_fence_high(const struct kv_path *path, unsigned d,
                            unsigned skip, struct tree_fence *fence)
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

static uint32_t tree_lcp(const uint8_t *a, uint32_t a_size, const uint8_t *b,
                         uint32_t b_size)
{
    const uint32_t n = a_size < b_size ? a_size : b_size;
    uint32_t i = 0;

    while (i < n && a[i] == b[i])
        i++;
    return i;
}

static const struct kv_prefix tree_bare = {.size = 0}; /* no prefix */

static uint32_t tree_prefix(const uint8_t *low, uint32_t low_size,
                            const uint8_t *high, uint32_t high_size)
{
    if (low == NULL || high == NULL)
        return 0;
    const uint32_t n = tree_lcp(low, low_size, high, high_size);
    return n < KV_PREFIX_MAX ? n : KV_PREFIX_MAX;
}

/* ---- inserting ---------------------------------------------------------------- */

/* Bytes for a node that is changing and will go on: block sizes lie so close
 * above KV_LEAF_MAX / 2 that it would soon move again. */
static uint32_t tree_roomy(uint32_t size)
{
    const uint32_t step = KV_LEAF_MAX / 8;

    return size > KV_LEAF_MAX / 2 ? (size + step - 1) / step * step : size;
}

/* The same node in a larger block: slots count from its begin, the heap from
 * its end, so both are copied as they are. A run at the end of the node goes on
 * until it is full: twice the room at once. */
static bool tree_enlarge(struct kv_store *store, struct kv_node **root,
                         struct kv_path *path, unsigned d, uint32_t index,
                         uint32_t need)
{
    const struct kv_node *const node = path->at[d].node;
    const uint32_t front =
        (uint32_t)sizeof(*node) + node->n * node_slot_size(node);
    uint32_t size = front + node->used + need;

    if (node->run >= NODE_RUN && index == node->n && size < 2u * node->cap)
        size = 2u * node->cap < KV_LEAF_MAX ? 2u * node->cap : KV_LEAF_MAX;
    struct kv_node *const out =
        kv_node_new(store, tree_roomy(size), node->level, node->flags);
    if (out == NULL)
        return false;
    node_copy(out, out->cap, node);
    tree_replace(store, root, path, d, out);
    return true;
}

/* Build the path's node anew with the fresh entry at `index` (replacing the
 * one there when `replace`) and this prefix; `live` bytes in all. */
static bool tree_rebuild(struct kv_store *store, struct kv_node **root,
                         struct kv_path *path, unsigned d, uint32_t index,
                         const struct kv_fresh *fresh, bool replace,
                         const struct kv_prefix *prefix, uint32_t live)
{
    const struct kv_node *const node = path->at[d].node;
    struct kv_node *const out =
        kv_node_make(store, node, prefix,
                     (replace ? tree_roomy(live) : live) -
                         (uint32_t)sizeof(*node) - prefix->size);
    if (out == NULL || !kv_node_add(store, out, node, 0, index))
        return false;
    kv_node_insert(store, out, index, fresh,
                   kv_node_fresh_size(out, fresh, out->plen), false);
    if (!kv_node_add(store, out, node, index + (replace ? 1 : 0), node->n))
        return false;
    out->hint = (uint16_t)(index + 1);
    out->run = node->hint == index && !replace && node->run < 255
                   ? (uint8_t)(node->run + 1)
                   : 0;
    tree_replace(store, root, path, d, out);
    return true;
}

/* The sequence that a split divides: the node's entries with the fresh one at
 * `index`, in place of the old one when `replace`. */
struct tree_sequence {
    struct kv_node *node;
    const struct kv_fresh *fresh;
    uint32_t index, count;
    uint32_t bytes; /* of all, with the node's prefix */
    uint32_t plen;  /* what all share of the node's prefix (T1) */
    bool replace;
};

static bool sequence_is_fresh(const struct tree_sequence *seq, uint32_t i,
                              uint32_t *old)
{
    *old = !seq->replace && i > seq->index ? i - 1 : i;
    return i == seq->index;
}

static uint32_t sequence_size(const struct tree_sequence *seq, uint32_t i,
                              uint32_t plen)
{
    uint32_t old;

    if (sequence_is_fresh(seq, i, &old))
        return kv_node_fresh_size(seq->node, seq->fresh, plen);
    return kv_node_item_size(seq->node, old, plen);
}

static const uint8_t *sequence_key(const struct tree_sequence *seq, uint32_t i,
                                   uint8_t *buffer, uint32_t *size)
{
    uint32_t old;
    bool stable;

    if (sequence_is_fresh(seq, i, &old)) {
        *size = seq->fresh->size;
        return seq->fresh->key;
    }
    return kv_node_key(seq->node, old, buffer, size, &stable);
}

/* Bytes of the slots [from, to) with prefix `plen`. */
static uint32_t sequence_sum(const struct tree_sequence *seq, uint32_t from,
                             uint32_t to, uint32_t plen)
{
    const uint32_t skip = seq->replace ? 0 : 1; /* old slots behind `index` */
    const uint32_t at = seq->index;

    if (from > at)
        return kv_node_items_size(seq->node, from - skip, to - skip, plen);
    if (to <= at)
        return kv_node_items_size(seq->node, from, to, plen);
    return kv_node_fresh_size(seq->node, seq->fresh, plen) +
           kv_node_items_size(seq->node, from, at, plen) +
           kv_node_items_size(seq->node, at + 1 - skip, to - skip, plen);
}

/* Bytes of a node with prefix `plen` and these slots (T2), the prefix and the
 * header apart. */
static uint32_t sequence_bytes(const struct tree_sequence *seq, uint32_t from,
                               uint32_t to, uint32_t plen)
{
    if (seq->node->level == 0)
        return sequence_sum(seq, from, to, plen);
    return INNER_FIRST_SIZE + sequence_sum(seq, from + 1, to, plen);
}

/* One part of the sequence, and what its node will be like. */
struct tree_part {
    uint32_t from, to;
    uint32_t size; /* of slots and entries */
    struct kv_prefix prefix;
    uint8_t buffer[KV_KEY_BUFFER]; /* the prefix may lie here */
};

/* The entry that a split moves: as slot 0 of an inner node it has no key (T2). */
static void sequence_insert(struct kv_store *store,
                            const struct tree_sequence *seq,
                            struct kv_node *out, uint32_t index)
{
    struct kv_fresh fresh = *seq->fresh;

    if (out->level > 0 && index == 0) {
        fresh.key = node_prefix(out);
        fresh.size = out->plen;
        fresh.keyblob = NULL;
    }
    kv_node_insert(store, out, index, &fresh,
                   kv_node_fresh_size(out, &fresh, out->plen), false);
}

static struct kv_node *sequence_build(struct kv_store *store,
                                      const struct tree_sequence *seq,
                                      const struct tree_part *part)
{
    const uint32_t skip = seq->replace ? 0 : 1; /* old slots behind `index` */
    const uint32_t from = part->from, to = part->to;
    const bool fresh = seq->index >= from && seq->index < to;
    const uint32_t end = fresh ? seq->index : to;
    struct kv_node *const out =
        kv_node_make(store, seq->node, &part->prefix, part->size);

    if (out == NULL)
        return NULL;
    if (from > seq->index) /* all behind the fresh one */
        return kv_node_add(store, out, seq->node, from - skip, to - skip)
                   ? out
                   : NULL;
    if (!kv_node_add(store, out, seq->node, from, end))
        return NULL;
    if (!fresh)
        return out;
    sequence_insert(store, seq, out, seq->index - from);
    out->hint = (uint16_t)(seq->index - from + 1);
    return kv_node_add(store, out, seq->node, seq->index + 1 - skip, to - skip)
               ? out
               : NULL;
}

/* Did the node take a run of ascending inserts that goes on here (ST6)? */
static bool sequence_runs(const struct tree_sequence *seq)
{
    return !seq->replace && seq->node->run >= NODE_RUN && seq->index > 0 &&
           seq->node->hint == seq->index;
}

/* Where to divide so that both halves are about as large; *left are the bytes of
 * the first. Each then fits: half a node, one entry more, the longest
 * prefix. */
static uint32_t sequence_middle(const struct tree_sequence *seq, uint32_t *left)
{
    const uint32_t half = node_live(seq->node) / 2; /* near enough */
    uint32_t m = 0;

    for (*left = 0; m < seq->count - 1 && *left < half; m++)
        *left += sequence_size(seq, m, seq->node->plen);
    KV_ASSERT(m > 0);
    return m;
}

/* What the keys of a part have in common, at most KV_PREFIX_MAX bytes; *key
 * begins with it. */
static uint32_t sequence_common(const struct tree_sequence *seq,
                                struct tree_part *part, const uint8_t **key)
{
    uint8_t buffer[KV_KEY_BUFFER];
    uint32_t size, last_size;
    const uint32_t first = part->from + (seq->node->level > 0 ? 1 : 0); /* T2 */

    if (first >= part->to)
        return 0;
    *key = sequence_key(seq, first, part->buffer, &size);
    const uint8_t *const last =
        sequence_key(seq, part->to - 1, buffer, &last_size);
    const uint32_t n = tree_lcp(*key, size, last, last_size);
    return n < KV_PREFIX_MAX ? n : KV_PREFIX_MAX;
}

/* Few keys, or a run that goes on, tell little of those that will come. */
#define SEQUENCE_FEW 4

/* The prefix of a part between these fences (T1): no shorter than what its
 * entries share of the node's, so that they take no more room than they did.
 * `usual` is how long that of a neighbour is, for a part that does not tell. */
static void sequence_prefix(const struct tree_sequence *seq,
                            struct tree_part *part,
                            const struct tree_fence *low,
                            const struct tree_fence *high, uint32_t usual)
{
    const bool fresh = seq->index >= part->from && seq->index < part->to;
    const uint32_t told = tree_prefix(low->p, low->size, high->p, high->size);
    const uint32_t shared = fresh ? seq->plen : seq->node->plen;
    const uint8_t *key = low->p;

    part->prefix =
        (struct kv_prefix){.p = low->p, .size = told, .own = false};
    if (told >= shared && low->p != NULL && high->p != NULL)
        return;
    uint32_t own = sequence_common(seq, part, &key);
    const bool few =
        part->to - part->from < SEQUENCE_FEW ||
        (seq->node->level == 0 && fresh && seq->node->run >= NODE_RUN);
    const uint32_t most = usual > shared ? usual : shared;
    if (few && own > most)
        own = most;
    if (own > told)
        part->prefix = (struct kv_prefix){.p = key, .size = own, .own = true};
}

/* A place to divide at: the separator there and what it makes of both halves. */
struct tree_cut {
    const uint8_t *sep;
    uint32_t m, sep_size;
    struct tree_part left, right;
};

/* `left`: bytes of the first m with the node's prefix. */
static void sequence_cut(const struct tree_sequence *seq, uint32_t m,
                         uint32_t left, const struct tree_fence *low,
                         const struct tree_fence *high, uint8_t *key_buffer,
                         struct tree_cut *cut)
{
    uint8_t before_buffer[KV_KEY_BUFFER];
    uint32_t before_size;
    struct tree_fence sep;

    cut->m = m;
    cut->left.from = 0;
    cut->left.to = cut->right.from = m;
    cut->right.to = seq->count;
    cut->sep = sequence_key(seq, m, key_buffer, &cut->sep_size);
    if (seq->node->level > 0 && cut->sep == seq->fresh->key) {
        /* it lives in the buffer that the next split will use */
        if (seq->fresh->keyblob != NULL)
            cut->sep = seq->fresh->keyblob->d;
        else
            cut->sep = memcpy(key_buffer, cut->sep, cut->sep_size);
    }
    if (seq->node->level == 0) { /* ST4: shortest separator */
        const uint8_t *const before =
            sequence_key(seq, m - 1, before_buffer, &before_size);
        cut->sep_size =
            tree_lcp(before, before_size, cut->sep, cut->sep_size) + 1;
    }
    sep.p = cut->sep;
    sep.size = cut->sep_size;
    sequence_prefix(seq, &cut->left, low, &sep, 0);
    sequence_prefix(seq, &cut->right, &sep, high, /* a run goes on likewise */
                    sequence_runs(seq) ? cut->left.prefix.size : 0);
    const uint32_t plen = seq->node->plen;
    const bool same = seq->node->level == 0 && seq->plen == plen;
    cut->left.size =
        same && cut->left.prefix.size == plen
            ? left
            : sequence_bytes(seq, 0, m, cut->left.prefix.size);
    cut->right.size =
        same && cut->right.prefix.size == plen
            ? seq->bytes - left
            : sequence_bytes(seq, m, seq->count, cut->right.prefix.size);
}

/* Do both halves fit into a node? An entry whose key is a blob does not shrink
 * when the prefix grows, so a half may be larger than the whole was. */
static bool cut_fits(const struct tree_cut *cut)
{
    const uint32_t max = KV_LEAF_MAX - (uint32_t)sizeof(struct kv_node);

    return cut->left.prefix.size + cut->left.size <= max &&
           cut->right.prefix.size + cut->right.size <= max;
}

static void sequence_choose(const struct tree_sequence *seq,
                            const struct tree_fence *low,
                            const struct tree_fence *high, uint8_t *key_buffer,
                            struct tree_cut *cut)
{
    uint32_t left;

    if (seq->plen < seq->node->plen) { /* apart from all others, but for slot 0 (T2) */
        const uint32_t m = seq->index == seq->count - 1 ? seq->index
                           : seq->node->level > 0       ? 2
                                                        : 1;
        sequence_cut(seq, m, 0, low, high, key_buffer, cut);
        return;
    }
    if (sequence_runs(seq)) {
        uint32_t m = seq->index;
        left = seq->bytes - sequence_sum(seq, m, seq->count, seq->node->plen);
        if (left < seq->bytes / 2 && m + 1 < seq->count) /* room for the run */
            left += sequence_size(seq, m++, seq->node->plen);
        sequence_cut(seq, m, left, low, high, key_buffer, cut);
        if (cut_fits(cut))
            return;
    }
    const uint32_t m = sequence_middle(seq, &left);
    sequence_cut(seq, m, left, low, high, key_buffer, cut);
}

/* The first half of the sequence. When nothing but the fresh entry leaves and
 * the prefix stays, the node is that half already. */
static struct kv_node *sequence_left(struct kv_store *store,
                                     const struct tree_sequence *seq,
                                     const struct tree_part *part)
{
    struct kv_node *const node = seq->node;
    const unsigned flags = node->flags & ~(unsigned)KV_NODE_OWN;

    if (part->to < node->n || seq->index < node->n ||
        part->prefix.size != node->plen)
        return sequence_build(store, seq, part);
    kv_edit(store, node, sizeof(*node));
    node->hint = 0;
    node->flags = (uint8_t)(flags | (part->prefix.own ? KV_NODE_OWN : 0u));
    return node;
}

/* The key of the second half's first slot goes one level up (T2): its blob is no
 * more needed, once another has been made there. */
static void sequence_forget(struct kv_store *store,
                            const struct tree_sequence *seq, uint32_t m)
{
    struct kv_blob *blob = seq->fresh->keyblob;
    uint32_t old;

    if (!sequence_is_fresh(seq, m, &old))
        blob = inner_keyblob(seq->node, old);
    if (blob != NULL)
        kv_retire(store, blob);
}

/* Split node number d of the path; *up is the slot for the second half (its
 * key lives in key_buffer, a key blob, or the fresh key). */
static bool tree_split(struct kv_store *store, struct kv_node **root,
                       struct kv_path *path, unsigned d,
                       const struct tree_sequence *seq, struct kv_fresh *up,
                       uint8_t *key_buffer)
{
    struct tree_fence low, high;
    struct kv_summary summary;
    struct tree_cut cut;

    tree_fence_low(path, d, &low);
    tree_fence_high(path, d, 0, &high);
    sequence_choose(seq, &low, &high, key_buffer, &cut);
    struct kv_node *const right = sequence_build(store, seq, &cut.right);
    if (right == NULL)
        return false;
    const uint8_t run = sequence_runs(seq) ? seq->node->run : 0;
    if (right->level > 0)
        sequence_forget(store, seq, cut.m);
    struct kv_node *const left = sequence_left(store, seq, &cut.left);
    if (left == NULL)
        return false;
    left->run = cut.m > seq->index ? run : 0; /* it goes with the fresh one */
    right->run = cut.m > seq->index ? 0 : run;
    *up = (struct kv_fresh){.key = cut.sep, .size = cut.sep_size};
    kv_node_summary(right, &summary);
    up->slot.child = right;
    up->slot.count = summary.count;
    up->slot.types = summary.types;
    bound_put(up->slot.min_exp, summary.bound);
    if (left != seq->node)
        tree_replace(store, root, path, d, left);
    return true;
}

/* Announce and rewrite what the parent's slot says of its child. */
static void tree_slot_update(struct kv_store *store, struct kv_inner_slot *slot)
{
    struct kv_summary summary;

    kv_node_summary(slot->child, &summary);
    kv_edit(store, slot, sizeof(*slot));
    slot->count = summary.count;
    slot->types = summary.types;
    bound_put(slot->min_exp, summary.bound);
}

static bool tree_grow_root(struct kv_store *store, struct kv_node **root,
                           const struct kv_fresh *up)
{
    const struct kv_node *const left = *root;
    struct kv_fresh first = {.key = (const uint8_t *)"", .size = 0};
    struct kv_summary summary;
    const struct kv_node like = {.level = (uint8_t)(left->level + 1),
                                 .flags = left->flags};
    const uint32_t size = kv_node_fresh_size(&like, &first, 0) +
                          kv_node_fresh_size(&like, up, 0);
    struct kv_node *const node = kv_node_make(store, &like, &tree_bare, size);

    if (node == NULL)
        return false;
    kv_node_summary(left, &summary);
    first.slot.child = *root;
    first.slot.count = summary.count;
    first.slot.types = summary.types;
    bound_put(first.slot.min_exp, summary.bound);
    kv_node_insert(store, node, 0, &first,
                   kv_node_fresh_size(node, &first, 0), false);
    kv_node_insert(store, node, 1, up, kv_node_fresh_size(node, up, 0), false);
    kv_edit_ptr(store, root, node);
    return true;
}

/* A key longer than the limit of a node like `node` with prefix `plen` gets a
 * key blob of its own; but the long member of a zset lies in one already
 * (EN4). */
static bool tree_fresh_blob(struct kv_store *store, const struct kv_node *node,
                            uint32_t plen, struct kv_fresh *fresh)
{
    if (node->level == 0 && (node->flags & (KV_NODE_SCORE | KV_NODE_MEMBER))) {
        const uint32_t skip = leaf_blob_skip(node);
        const uintptr_t at =
            (uintptr_t)fresh->key - skip - offsetof(struct kv_blob, d);
        if (fresh->size + skip > KV_SUFFIX_MAX)
            fresh->keyblob = (struct kv_blob *)at;
        return true;
    }
    if (fresh->size - plen <= KV_SUFFIX_MAX)
        return true;
    fresh->keyblob = kv_blob_new(store, fresh->size);
    if (fresh->keyblob == NULL)
        return false;
    memcpy(fresh->keyblob->d, fresh->key, fresh->size);
    return true;
}

/* The root takes in a fresh entry and more room: when its keys have more in
 * common than its prefix it is built anew instead, *done. But few tell little of
 * those that will come, and a run will leave that again (T1). */
static bool tree_tighten(struct kv_store *store, struct kv_node **root,
                         struct kv_path *path, uint32_t index,
                         const struct kv_fresh *fresh, bool *done)
{
    struct kv_node *const node = path->at[0].node;
    const struct tree_sequence seq = {.node = node,
                                      .fresh = fresh,
                                      .index = index,
                                      .count = node->n + 1u,
                                      .plen = node->plen};
    struct tree_part all = {.from = 0, .to = seq.count};

    *done = false;
    if (seq.count < SEQUENCE_FEW || (node->level == 0 && node->run >= NODE_RUN))
        return true;
    all.prefix.own = true;
    all.prefix.size = sequence_common(&seq, &all, &all.prefix.p);
    if (all.prefix.size <= node->plen)
        return true;
    *done = true;
    return tree_rebuild(store, root, path, 0, index, fresh, false, &all.prefix,
                        (uint32_t)sizeof(*node) + all.prefix.size +
                            sequence_bytes(&seq, 0, seq.count,
                                           all.prefix.size));
}

/* A fresh key that does not share the prefix of node number d (T1): the node
 * gets a shorter prefix when it has the room, else the key one of its own. */
static bool tree_insert_outside(struct kv_store *store, struct kv_node **root,
                                struct kv_path *path, unsigned d,
                                uint32_t index, struct kv_fresh *fresh,
                                struct kv_fresh *up, uint8_t *key_buffer,
                                bool *split)
{
    struct kv_node *const node = path->at[d].node;
    const uint32_t plen = tree_lcp(node_prefix(node), node->plen, fresh->key,
                                   fresh->size);
    const struct kv_prefix prefix = {
        .p = node_prefix(node), .size = plen, .own = plen > 0};

    if (!tree_fresh_blob(store, node, plen, fresh))
        return false;
    const uint32_t live = (uint32_t)sizeof(*node) + plen +
                          kv_node_items_size(node, 0, node->n, plen) +
                          kv_node_fresh_size(node, fresh, plen);
    if (live <= KV_LEAF_MAX)
        return tree_rebuild(store, root, path, d, index, fresh, false, &prefix,
                            live);
    const struct tree_sequence seq = {.node = node,
                                      .fresh = fresh,
                                      .index = index,
                                      .count = node->n + 1u,
                                      .plen = plen};
    *split = true;
    return tree_split(store, root, path, d, &seq, up, key_buffer);
}

/* Insert the fresh entry into node number d: in place, into a larger node, or
 * by a split, whose second half *up must go one level up (*split). */
static bool tree_insert_at(struct kv_store *store, struct kv_node **root,
                           struct kv_path *path, unsigned d, uint32_t index,
                           struct kv_fresh *fresh, bool replace,
                           struct kv_fresh *up, uint8_t *key_buffer,
                           bool *split)
{
    struct kv_node *const node = path->at[d].node;
    bool done = false;

    *split = false;
    if (node_outside(node, fresh->key, fresh->size))
        return tree_insert_outside(store, root, path, d, index, fresh, up,
                                   key_buffer, split);
    if (fresh->keyblob == NULL &&
        !tree_fresh_blob(store, node, node->plen, fresh))
        return false;
    const uint32_t need = kv_node_fresh_size(node, fresh, node->plen);
    uint32_t live = node_live(node) + need;
    if (!replace && node_free(node) >= need) {
        kv_node_insert(store, node, index, fresh, need, true);
        return true;
    }
    if (!replace && live + node->garb <= KV_LEAF_MAX &&
        node->garb <= node->used / 8) {
        if (d == 0 && !tree_tighten(store, root, path, index, fresh, &done))
            return false;
        if (done)
            return true;
        if (!tree_enlarge(store, root, path, d, index, need))
            return false;
        kv_node_insert(store, path->at[d].node, index, fresh, need, false);
        return true;
    }
    if (replace)
        live -= kv_node_item_size(node, index, node->plen);
    const struct kv_prefix prefix = node_prefix_of(node);
    if (live <= KV_LEAF_MAX)
        return tree_rebuild(store, root, path, d, index, fresh, replace,
                            &prefix, live);
    const struct tree_sequence seq = {.node = node,
                                      .fresh = fresh,
                                      .index = index,
                                      .count = node->n + (replace ? 0u : 1u),
                                      .bytes = live - node->plen -
                                               (uint32_t)sizeof(*node),
                                      .plen = node->plen,
                                      .replace = replace};
    *split = true;
    return tree_split(store, root, path, d, &seq, up, key_buffer);
}

/* Add to what the slots of the path above level d say. */
static void tree_add_up(struct kv_store *store, struct kv_path *path,
                        unsigned d, uint32_t added, uint8_t types,
                        uint64_t bound)
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

/* Carry a split of node number d upwards until a parent has room. *d is the
 * level whose ancestors still count the old way. */
static bool tree_carry(struct kv_store *store, struct kv_node **root,
                       struct kv_path *path, unsigned *d, struct kv_fresh *up,
                       uint8_t *key_buffer)
{
    uint8_t other_buffer[KV_KEY_BUFFER];
    uint8_t *mine = key_buffer, *other = other_buffer;
    bool split = true;

    while (split && *d > 0) {
        const unsigned parent = --*d;
        const uint32_t index = path->at[parent].index;
        struct kv_fresh next = {.key = NULL};

        tree_slot_update(store,
                         &inner_slots(path->at[parent].node)[index]);
        if (!tree_insert_at(store, root, path, parent, index + 1, up, false,
                            &next, other, &split))
            return false;
        if (split) {
            *up = next;
            uint8_t *const swap = mine;
            mine = other;
            other = swap;
        }
    }
    if (!split)
        return true;
    const struct kv_node like = {.level = (uint8_t)((*root)->level + 1)};
    return tree_fresh_blob(store, &like, 0, up) &&
           tree_grow_root(store, root, up);
}

/* Overwrite the entry's cell `old`, whose bytes begin at `tail`, in place when
 * nothing but its bytes changes. */
static bool tree_overwrite(struct kv_store *store, struct kv_node *leaf,
                           uint32_t index, const uint8_t *tail,
                           const struct kv_cell *old,
                           const struct kv_cell *cell)
{
    uint8_t *const e =
        (uint8_t *)leaf + leaf->cap - leaf_slots(leaf)[index].off;
    uint8_t *const place = e + (tail - e);
    const uint8_t meta =
        (uint8_t)(cell_meta(cell) | (e[1] & META_KEYBLOB));
    const bool typed = node_typed(leaf);
    const uint8_t type = cell_type(cell);
    const bool alike = meta == e[1] && (!typed || type == e[2]);
    /* of the same form the size of the payload tells that of the tail */
    if (alike ? cell->size != old->size
              : cell_tail_size(cell) != cell_tail_size(old))
        return false;
    if (!alike) {
        kv_edit(store, e + 1, typed ? 2 : 1);
        e[1] = meta;
        if (typed)
            e[2] = type;
    }
    const uint32_t size = cell_tail_size(cell);
    if (size > 0) { /* a member that is there already has nothing to write */
        kv_edit(store, place, size);
        cell_write_tail(place, cell);
    }
    return true;
}

/* Replace the entry in place with a longer or shorter one if the heap has
 * room: append the new bytes, leave the old as garbage. */
static bool tree_replace_in_heap(struct kv_store *store, struct kv_node *leaf,
                                 uint32_t index, const struct kv_fresh *fresh)
{
    const uint32_t slot_size = (uint32_t)sizeof(struct kv_leaf_slot);
    const uint32_t need =
        kv_node_fresh_size(leaf, fresh, leaf->plen) - slot_size;
    const uint32_t old = kv_node_item_size(leaf, index, leaf->plen) - slot_size;

    if (node_free(leaf) < need)
        return false;
    struct kv_entry entry;
    entry_open(leaf, index, &entry);
    const uint32_t frame = (uint32_t)(entry.tail - entry.start);
    kv_edit(store, leaf, sizeof(*leaf)); /* I5 */
    kv_edit(store, &leaf_slots(leaf)[index], slot_size);
    leaf->used = (uint16_t)(leaf->used + need);
    leaf->garb = (uint16_t)(leaf->garb + old);
    uint8_t *const p = (uint8_t *)leaf + leaf->cap - leaf->used;
    memcpy(p, entry.start, frame);
    p[1] = (uint8_t)(cell_meta(fresh->cell) | (p[1] & META_KEYBLOB));
    if (node_typed(leaf))
        p[2] = cell_type(fresh->cell);
    cell_write_tail(p + frame, fresh->cell);
    leaf_slots(leaf)[index].off = leaf->used;
    return true;
}

static bool tree_first(struct kv_store *store, struct kv_node **root,
                       uint8_t flags, const uint8_t *key, uint32_t size,
                       const struct kv_cell *cell)
{
    const struct kv_node like = {.level = 0, .flags = flags};
    struct kv_fresh fresh = {.key = key, .size = size, .cell = cell};

    if (!tree_fresh_blob(store, &like, 0, &fresh))
        return false;
    struct kv_node *const leaf = kv_node_make(
        store, &like, &tree_bare, kv_node_fresh_size(&like, &fresh, 0));
    if (leaf == NULL)
        return false;
    kv_node_insert(store, leaf, 0, &fresh, kv_node_fresh_size(leaf, &fresh, 0),
                   false);
    kv_edit_ptr(store, root, leaf);
    return true;
}

/* Bound of a cell that is being written (fields of a hash included). */
static uint64_t tree_cell_bound(uint8_t flags, const struct kv_cell *cell)
{
    const uint64_t own = bound_of(cell->exp);

    if (!(flags & KV_NODE_TYPED) || cell->type != KV_HASH)
        return own;
    const uint64_t fields = kv_cell_field_bound(cell);
    return fields < own ? fields : own;
}

/* The fresh entry does not fit where the path leads: into a larger leaf, or two.
 * *d is the level whose ancestors still count the old way. */
static bool tree_put_moved(struct kv_store *store, struct kv_node **root,
                           struct kv_path *path, unsigned *d,
                           struct kv_fresh *fresh)
{
    uint8_t key_buffer[KV_KEY_BUFFER];
    struct kv_fresh up = {.key = NULL};
    bool split = false;

    return tree_insert_at(store, root, path, *d, path->at[*d].index, fresh,
                          path->found, &up, key_buffer, &split) &&
           (!split || tree_carry(store, root, path, d, &up, key_buffer));
}

/* Put the cell at the end of the path: over the entry there, which is too short
 * or too long for it, or (!path->found) as a new one. */
static bool tree_put_entry(struct kv_store *store, struct kv_node **root,
                           struct kv_path *path, const uint8_t *key,
                           uint32_t size, const struct kv_cell *cell)
{
    struct kv_fresh fresh = {.key = key, .size = size, .cell = cell};
    unsigned d = path->depth - 1;
    struct kv_node *const leaf = path->at[d].node;
    const uint32_t index = path->at[d].index;
    const uint8_t types =
        (uint8_t)(node_typed(leaf) ? 1u << cell->type : 0);
    const uint64_t bound = tree_cell_bound(leaf->flags, cell);
    bool done = false;

    if (path->found) {
        /* the blob is shared with the entry that goes: only read here */
        fresh.keyblob = entry_keyblob(leaf, index);
        done = tree_replace_in_heap(store, leaf, index, &fresh);
    } else if (!node_outside(leaf, key, size)) {
        if (!tree_fresh_blob(store, leaf, leaf->plen, &fresh))
            return false;
        const uint32_t need = kv_node_fresh_size(leaf, &fresh, leaf->plen);
        done = node_free(leaf) >= need;
        if (done)
            kv_node_insert(store, leaf, index, &fresh, need, true);
    }
    if (!done && !tree_put_moved(store, root, path, &d, &fresh))
        return false;
    store->running = path->at[path->depth - 1].node->run >= NODE_RUN;
    tree_add_up(store, path, d, path->found ? 0 : 1, types, bound);
    return true;
}

/* Insert or replace where the owned path leads. */
static bool tree_put_at(struct kv_store *store, struct kv_node **root,
                        struct kv_path *path, const uint8_t *key,
                        uint32_t size, const struct kv_cell *cell,
                        struct kv_cell *old)
{
    if (!path->found)
        return tree_put_entry(store, root, path, key, size, cell);
    store->running = false;
    struct kv_node *const leaf = path->at[path->depth - 1].node;
    const uint32_t index = path->at[path->depth - 1].index;
    const uint8_t *const tail = entry_cell(leaf, index, old);
    if (!tree_overwrite(store, leaf, index, tail, old, cell))
        return tree_put_entry(store, root, path, key, size, cell);
    if (old->type != cell->type || cell->exp != 0 || cell->type == KV_HASH)
        tree_add_up(store, path, path->depth - 1, 0,
                    (uint8_t)(node_typed(leaf) ? 1u << cell->type : 0),
                    tree_cell_bound(leaf->flags, cell));
    return true;
}

bool kv_tree_put(struct kv_store *store, struct kv_node **root, uint8_t flags,
                 const uint8_t *key, uint32_t size, const struct kv_cell *cell,
                 struct kv_cell *old, bool *found)
{
    struct kv_path path;

    *found = false;
    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
    if (*root == NULL)
        return tree_first(store, root, flags, key, size, cell);
    if (!tree_descend(store, root, key, size, &path))
        return false;
    *found = path.found;
    return tree_put_at(store, root, &path, key, size, cell, old);
}

bool kv_tree_put_at(struct kv_store *store, struct kv_node **root,
                    struct kv_path *path, const uint8_t *key, uint32_t size,
                    const struct kv_cell *cell, struct kv_cell *old)
{
    return kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS) &&
           tree_put_at(store, root, path, key, size, cell, old);
}

/* ---- removing ------------------------------------------------------------------ */

/* Two neighbours that are to become one: slots `left` and left + 1 of node
 * number `parent` of the path. */
struct tree_pair {
    struct kv_node *a, *b;
    struct tree_fence low, high;
    struct kv_fresh between; /* inner: slot 0 of b with its key from `up` */
    struct kv_prefix prefix; /* of both together */
    uint32_t size;           /* bytes of slots and entries with that */
    uint8_t key[KV_KEY_BUFFER], first[KV_KEY_BUFFER], last[KV_KEY_BUFFER];
};

/* What the keys of both have in common, at most KV_PREFIX_MAX bytes; *p begins
 * with it. */
static uint32_t pair_common(struct tree_pair *pair, const uint8_t **p)
{
    const struct kv_node *const a = pair->a, *const b = pair->b;
    const bool inner = a->level > 0;
    const uint32_t skip = inner ? 1 : 0; /* T2 */
    const uint8_t *low = pair->between.key, *high = pair->between.key;
    uint32_t low_size = pair->between.size, high_size = pair->between.size;
    bool stable;

    if (!inner && a->n + b->n == 0)
        return 0;
    if (a->n > skip)
        low = kv_node_key(a, skip, pair->first, &low_size, &stable);
    else if (!inner)
        low = kv_node_key(b, 0, pair->first, &low_size, &stable);
    if (b->n > skip)
        high = kv_node_key(b, b->n - 1u, pair->last, &high_size, &stable);
    else if (!inner)
        high = kv_node_key(a, a->n - 1u, pair->last, &high_size, &stable);
    const uint32_t n = tree_lcp(low, low_size, high, high_size);
    *p = low;
    return n < KV_PREFIX_MAX ? n : KV_PREFIX_MAX;
}

/* T1: mostly shorter than that of either was. */
static void pair_prefix(struct tree_pair *pair)
{
    const unsigned flags = pair->a->flags | pair->b->flags;
    const uint32_t told = tree_prefix(pair->low.p, pair->low.size,
                                      pair->high.p, pair->high.size);
    const bool fenced = pair->low.p != NULL && pair->high.p != NULL;
    const uint8_t *p = NULL;

    pair->prefix = (struct kv_prefix){.p = pair->low.p, .size = told};
    if (fenced && !(flags & KV_NODE_OWN))
        return;
    const uint32_t own = pair_common(pair, &p);
    if (own > told)
        pair->prefix = (struct kv_prefix){.p = p, .size = own, .own = true};
}

/* Bytes of slots and entries of both together. */
static uint32_t pair_size(const struct tree_pair *pair)
{
    const struct kv_fresh *const between = &pair->between;
    const uint32_t plen = pair->prefix.size, klen = between->size - plen;
    const bool blob = between->keyblob != NULL || klen > KV_SUFFIX_MAX;
    const uint32_t size = kv_node_items_size(pair->a, 0, pair->a->n, plen) +
                          kv_node_items_size(pair->b, 0, pair->b->n, plen);

    return pair->a->level > 0 ? size + node_rest_size(klen, blob) : size;
}

static void pair_look(const struct kv_path *path, unsigned parent,
                      uint32_t left, struct tree_pair *pair)
{
    struct kv_node *const up = path->at[parent].node;
    struct kv_inner_slot *const slot = inner_slots(up);
    struct kv_path at = *path;
    bool stable;

    pair->a = slot[left].child;
    pair->b = slot[left + 1].child;
    at.at[parent].index = left;
    tree_fence_low(&at, parent + 1, &pair->low);
    tree_fence_high(&at, parent + 1, 1, &pair->high);
    pair->between = (struct kv_fresh){.keyblob = inner_keyblob(up, left + 1)};
    pair->between.key =
        kv_node_key(up, left + 1, pair->key, &pair->between.size, &stable);
    if (pair->b->level > 0)
        pair->between.slot = inner_slots(pair->b)[0];
    pair_prefix(pair);
    pair->size = pair_size(pair);
}

/* Both in one new node. A blob of the key between them goes along or, with
 * leaves, away. NULL: no memory. */
static struct kv_node *pair_join(struct kv_store *store, struct tree_pair *pair)
{
    struct kv_node *const a = pair->a, *const b = pair->b;
    struct kv_fresh *const between = &pair->between;
    struct kv_node *const out =
        kv_node_make(store, a, &pair->prefix, pair->size);
    const bool inner = a->level > 0;

    if (out == NULL || !kv_node_add(store, out, a, 0, a->n))
        return NULL;
    if (inner) {
        if (between->keyblob == NULL &&
            !tree_fresh_blob(store, out, out->plen, between))
            return NULL;
        kv_node_insert(store, out, out->n, between,
                       kv_node_fresh_size(out, between, out->plen), false);
    } else if (between->keyblob != NULL) {
        kv_retire(store, between->keyblob);
    }
    return kv_node_add(store, out, b, inner ? 1 : 0, b->n) ? out : NULL;
}

/* Join slots `left` and left + 1 of node number `parent` of the path into one
 * node. *done is false when they do not fit. */
static bool tree_merge(struct kv_store *store, struct kv_path *path,
                       unsigned parent, uint32_t left, bool *done)
{
    struct kv_node *const up = path->at[parent].node;
    struct kv_inner_slot *const slot = inner_slots(up);
    struct tree_pair pair;

    pair_look(path, parent, left, &pair);
    struct kv_node *const a = pair.a, *const b = pair.b;
    const uint32_t total =
        pair.size + pair.prefix.size + (uint32_t)sizeof(*a);
    const bool empty = a->n == 0 || b->n == 0 ||
                       (a->level > 0 && (a->n == 1 || b->n == 1));
    *done = total <= (empty ? KV_LEAF_MAX : KV_LEAF_MAX / 4 * 3);
    if (!*done)
        return true;
    struct kv_node *const out = pair_join(store, &pair);
    if (out == NULL)
        return false;
    kv_node_cut(store, up, left + 1,
                kv_node_item_size(up, left + 1, up->plen) -
                    node_slot_size(up));
    kv_edit_ptr(store, &slot[left].child, out);
    tree_slot_update(store, &slot[left]);
    if (path->at[parent].index > left) /* the path went through b */
        path->at[parent + 1].index += a->n;
    path->at[parent].index = left;
    path->at[parent + 1].node = out;
    kv_retire(store, a);
    kv_retire(store, b);
    return true;
}

/* Shrink or merge node number d, then its ancestors; lower the tree (ST7). */
static bool tree_settle(struct kv_store *store, struct kv_node **root,
                        struct kv_path *path)
{
    for (unsigned d = path->depth - 1; d > 0; d--) {
        struct kv_node *const node = path->at[d].node;
        const uint32_t limit = KV_LEAF_MAX / 4;
        const bool small = node_live(node) < limit || node->n == 0 ||
                           (node->level > 0 && node->n == 1);
        bool done = false;

        if (!small)
            break;
        const struct kv_node *const up = path->at[d - 1].node;
        const uint32_t index = path->at[d - 1].index;
        if (index + 1 < up->n &&
            !tree_merge(store, path, d - 1, index, &done))
            return false;
        if (!done && index > 0 &&
            !tree_merge(store, path, d - 1, index - 1, &done))
            return false;
        if (!done)
            break;
    }
    while (*root != NULL && (*root)->level > 0 && (*root)->n == 1) {
        struct kv_node *const old = *root;
        struct kv_node *const child = inner_slots(old)[0].child;
        kv_edit_ptr(store, root, child);
        kv_retire(store, old);
    }
    if ((*root)->level == 0 && (*root)->n == 0) {
        struct kv_node *const old = *root;
        kv_edit_ptr(store, root, NULL);
        kv_retire(store, old);
    }
    return true;
}

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
    tree_replace(store, root, path, d, out);
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

bool kv_tree_remove_at(struct kv_store *store, struct kv_node **root,
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

    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
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
    if (!tree_shrink(store, root, path) || !tree_settle(store, root, path))
        return false;
    if (*root != NULL && path->at[d].node->n == 0 && (*root)->level > 0)
        kv_tree_rebound(store, path); /* T3: nothing is due in an empty leaf */
    return true;
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
        !tree_descend(store, root, key, size, &path))
        return false;
    *found = path.found;
    return !path.found || kv_tree_remove_at(store, root, &path, old);
}

/* ---- deadlines ------------------------------------------------------------------- */

void kv_tree_lower(struct kv_store *store, struct kv_path *path, uint64_t exp)
{
    tree_add_up(store, path, path->depth - 1, 0, 0, bound_of(exp));
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
