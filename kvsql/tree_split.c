/* tree_split.c - one node of the tree becomes two (ST4, ST6).
 *
 * What is divided is a sequence: the entries of the node with the fresh one at
 * its place. Mostly it is cut in the middle; where a run of ascending inserts
 * goes on, at that place; a key that does not share the node's prefix is cut
 * off (T1). Each half gets the prefix that its fences tell, or its own.
 *
 * Thread: the holder of the store lock. */
#include "kvsql/tree_private.h"

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

uint32_t kv_tree_part_bytes(const struct tree_sequence *seq, uint32_t from,
                            uint32_t to, uint32_t plen)
{
    if (seq->node->level == 0)
        return sequence_sum(seq, from, to, plen);
    return INNER_FIRST_SIZE + sequence_sum(seq, from + 1, to, plen);
}

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

uint32_t kv_tree_common(const struct tree_sequence *seq, struct tree_part *part,
                        const uint8_t **key)
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
    uint32_t own = kv_tree_common(seq, part, &key);
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
            : kv_tree_part_bytes(seq, 0, m, cut->left.prefix.size);
    cut->right.size =
        same && cut->right.prefix.size == plen
            ? seq->bytes - left
            : kv_tree_part_bytes(seq, m, seq->count, cut->right.prefix.size);
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

    if (seq->plen < seq->node->plen) { /* apart from all but slot 0 (T2) */
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

bool kv_tree_split(struct kv_store *store, struct kv_node **root,
                   struct kv_path *path, unsigned d,
                   const struct tree_sequence *seq, struct kv_fresh *up,
                   uint8_t *key_buffer)
{
    struct tree_fence low, high;
    struct kv_summary summary;
    struct tree_cut cut;

    kv_tree_fence_low(path, d, &low);
    kv_tree_fence_high(path, d, 0, &high);
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
        kv_tree_replace(store, root, path, d, left);
    return true;
}
