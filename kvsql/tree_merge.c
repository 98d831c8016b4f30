/* tree_merge.c - two neighbours of the tree become one (ST7).
 *
 * Of inner nodes the key between them comes down from the parent, for slot 0 of
 * the second has none (T2). The prefix of both together is mostly shorter than
 * that of either was.
 *
 * Thread: the holder of the store lock. */
#include "kvsql/tree_private.h"

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
    kv_tree_fence_low(&at, parent + 1, &pair->low);
    kv_tree_fence_high(&at, parent + 1, 1, &pair->high);
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
            !kv_tree_fresh_blob(store, out, out->plen, between))
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
    kv_tree_slot_update(store, &slot[left]);
    if (path->at[parent].index > left) /* the path went through b */
        path->at[parent + 1].index += a->n;
    path->at[parent].index = left;
    path->at[parent + 1].node = out;
    kv_retire(store, a);
    kv_retire(store, b);
    return true;
}

bool kv_tree_settle(struct kv_store *store, struct kv_node **root,
                    struct kv_path *path)
{
    for (unsigned d = path->depth - 1; d > 0; d--) {
        bool done = false;

        if (!tree_is_small(path->at[d].node))
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
