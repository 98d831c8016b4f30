/* node_ops.h - one node: search, keys, building, inserting a slot.
 *
 * Search (ST1): branch-free binary search over the 4-byte heads, then, among
 * equal heads, over the rest of the keys.
 * Heap bytes are append-only (ST5, I6): a removed entry stays as garbage, and
 * when room is short the node is built anew in another block.
 *
 * Thread: reading any, building the holder of the store lock. */
#ifndef KVSQL_NODE_OPS_H
#define KVSQL_NODE_OPS_H

#include "kvsql/store_private.h"

/* A key and cell that is to become an entry. keyblob is set when the suffix is
 * longer than KV_SUFFIX_MAX. */
struct kv_fresh {
    const uint8_t *key;
    uint32_t size;
    const struct kv_cell *cell; /* leaf */
    struct kv_inner_slot slot;  /* inner: child, count, types, min_exp */
    struct kv_blob *keyblob;
};

/* What an inner slot says of its child. */
struct kv_summary {
    uint32_t count;
    uint8_t types;
    uint64_t bound;
};

static inline uint32_t node_slot_size(const struct kv_node *node)
{
    return node->level > 0 ? (uint32_t)sizeof(struct kv_inner_slot)
                           : (uint32_t)sizeof(struct kv_leaf_slot);
}
/* Bytes in use without garbage. */
static inline uint32_t node_live(const struct kv_node *node)
{
    return (uint32_t)sizeof(*node) + node->n * node_slot_size(node) +
           node->used - node->garb;
}
static inline uint32_t node_free(const struct kv_node *node)
{
    return node->cap - (uint32_t)sizeof(*node) -
           node->n * node_slot_size(node) - node->used;
}

static inline int suffix_compare(const uint8_t *a, uint32_t a_size,
                                 const uint8_t *b_rest, uint32_t b_size)
{
    const uint32_t ar = a_size > 4 ? a_size - 4 : 0;
    const uint32_t br = b_size > 4 ? b_size - 4 : 0;
    const uint32_t n = ar < br ? ar : br;
    const int c = n > 0 ? memcmp(a + 4, b_rest, n) : 0;

    if (c != 0)
        return c;
    return a_size < b_size ? -1 : a_size > b_size;
}

/* Suffix `s` against leaf entry `index`, heads known to be equal. */
static inline int leaf_compare(const struct kv_node *leaf, uint32_t index,
                               const uint8_t *s, uint32_t size)
{
    const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[index].off);
    const uint8_t *const rest = e + 2 + (node_typed(leaf) ? 1 : 0);

    if (KV_UNLIKELY(e[1] & META_KEYBLOB)) {
        const struct kv_blob *blob;
        memcpy(&blob, rest, sizeof(blob));
        return suffix_compare(s, size, blob->d + leaf->plen + 4,
                              blob->len - leaf->plen);
    }
    return suffix_compare(s, size, rest, e[0]);
}

#define INNER_KEYBLOB 255
static inline int inner_compare(const struct kv_node *node, uint32_t index,
                                const uint8_t *s, uint32_t size)
{
    const uint8_t *const e = entry_at(node, inner_slots(node)[index].off);

    if (KV_UNLIKELY(e[0] == INNER_KEYBLOB)) {
        const struct kv_blob *blob;
        memcpy(&blob, e + 1, sizeof(blob));
        return suffix_compare(s, size, blob->d + node->plen + 4,
                              blob->len - node->plen);
    }
    return suffix_compare(s, size, e + 1, e[0]);
}

/* First slot whose head is >= `head`. */
static inline uint32_t leaf_lower(const struct kv_node *leaf, uint32_t head)
{
    const struct kv_leaf_slot *const slot = leaf_slots(leaf);
    uint32_t base = 0, len = leaf->n;

    while (len > 1) {
        const uint32_t half = len / 2;
        base += slot[base + half - 1].head < head ? half : 0;
        len -= half;
    }
    if (len == 1 && slot[base].head < head)
        base++;
    return base;
}

/* First slot whose key is >= the suffix, from the first slot of an equal head
 * (`base`) on; *found when it is equal. The first try mostly hits. */
static inline uint32_t leaf_among(const struct kv_node *leaf, uint32_t base,
                                  uint32_t head, const uint8_t *s,
                                  uint32_t size, bool *found)
{
    const struct kv_leaf_slot *const slot = leaf_slots(leaf);
    uint32_t high = leaf->n;

    *found = false;
    while (base < high) {
        if (slot[base].head != head)
            return base;
        int c = leaf_compare(leaf, base, s, size);
        if (c <= 0) {
            *found = c == 0;
            return base;
        }
        base++;
        if (base == high || slot[base].head != head)
            return base;
        const uint32_t mid = base + (high - base) / 2;
        if (slot[mid].head > head)
            high = mid;
        else if ((c = leaf_compare(leaf, mid, s, size)) > 0)
            base = mid + 1;
        else if (c == 0) {
            *found = true;
            return mid;
        } else
            high = mid;
    }
    return base;
}

/* First slot whose key is >= the suffix; *found when it is equal. */
static inline uint32_t leaf_search(const struct kv_node *leaf,
                                   const uint8_t *s, uint32_t size,
                                   bool *found)
{
    const uint32_t head = key_head(s, size);

    return leaf_among(leaf, leaf_lower(leaf, head), head, s, size, found);
}

/* The child that covers the suffix: last slot with key <= suffix. */
static inline uint32_t inner_search(const struct kv_node *node,
                                    const uint8_t *s, uint32_t size)
{
    const struct kv_inner_slot *const slot = inner_slots(node);
    const uint32_t head = key_head(s, size);
    uint32_t base = 0, len = node->n, high;

    while (len > 1) {
        const uint32_t half = len / 2;
        base += slot[base + half - 1].head < head ? half : 0;
        len -= half;
    }
    if (len == 1 && slot[base].head < head)
        base++;
    /* base: first head >= ours; look among equal heads for the first key > s */
    high = node->n;
    while (base < high && slot[base].head == head) {
        const uint32_t mid = base + (high - base) / 2;
        if (slot[mid].head > head || inner_compare(node, mid, s, size) < 0)
            high = mid;
        else
            base = mid + 1;
    }
    return base > 0 ? base - 1 : 0;
}

/* Full key of a slot: in the store, or assembled in buffer. */
KV_INTERNAL const uint8_t *kv_node_key(const struct kv_node *node,
                                       uint32_t index, uint8_t *buffer,
                                       uint32_t *size, bool *stable);
KV_INTERNAL void kv_node_summary(const struct kv_node *node,
                                 struct kv_summary *summary);
/* Bytes that slot `index` of `node` takes in a node with prefix `plen`, its
 * slot included. */
KV_INTERNAL uint32_t kv_node_item_size(const struct kv_node *node,
                                       uint32_t index, uint32_t plen);
KV_INTERNAL uint32_t kv_node_fresh_size(const struct kv_node *like,
                                        const struct kv_fresh *fresh,
                                        uint32_t plen);
/* Append slot `index` of `from` to `out`, which has another prefix or the same.
 * False: no memory (a key blob that a shorter prefix asks for). */
KV_INTERNAL bool kv_node_add(struct kv_store *store, struct kv_node *out,
                             const struct kv_node *from, uint32_t index)
    KV_MUST_USE;
/* Put a fresh entry at `index` of `out`, which has room. In place: announces
 * header and slots when `announce`. */
KV_INTERNAL void kv_node_insert(struct kv_store *store, struct kv_node *out,
                                uint32_t index, const struct kv_fresh *fresh,
                                bool announce);
/* A new node like `like` with this prefix and room for `size` bytes of slots
 * and entries. */
KV_INTERNAL struct kv_node *kv_node_make(struct kv_store *store,
                                         const struct kv_node *like,
                                         const uint8_t *prefix, uint32_t plen,
                                         uint32_t size);
/* Take slot `index` out, announced. */
KV_INTERNAL void kv_node_cut(struct kv_store *store, struct kv_node *node,
                             uint32_t index);

#endif
