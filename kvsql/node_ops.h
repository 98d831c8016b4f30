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
 * longer than KV_SUFFIX_MAX, or the member of a zset too long (EN4). */
struct kv_fresh {
    const uint8_t *key;
    uint32_t size;
    const struct kv_cell *cell; /* leaf */
    struct kv_inner_slot slot;  /* inner: child, count, types, min_exp */
    struct kv_blob *keyblob;
};

/* What all keys of a node begin with. */
struct kv_prefix {
    const uint8_t *p;
    uint32_t size;
    bool own; /* KV_NODE_OWN */
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

static inline struct kv_prefix node_prefix_of(const struct kv_node *node)
{
    return (struct kv_prefix){.p = node_prefix(node),
                              .size = node->plen,
                              .own = (node->flags & KV_NODE_OWN) != 0};
}

/* Does the key begin with the node's prefix? That ends with the block, whose
 * last eight bytes are there in any case. */
KV_INLINE bool node_shares(const struct kv_node *node, const uint8_t *key,
                           uint32_t size)
{
    const uint32_t n = node->plen;
    uint64_t x, y;

    if (size < n)
        return false;
    if (n - 1 > 7 || size < 8)
        return bytes_equal(node_prefix(node), key, n);
    memcpy(&x, (const uint8_t *)node + node->cap - 8, 8);
    memcpy(&y, key, 8);
    return (x >> (64 - 8 * n) ^ y) << (64 - 8 * n) == 0;
}
/* Is the key one of those that come to the node though they do not share its
 * prefix? They belong before all slots or behind them. */
KV_INLINE bool node_outside(const struct kv_node *node, const uint8_t *key,
                            uint32_t size)
{
    return KV_UNLIKELY(node->flags & KV_NODE_OWN) &&
           !node_shares(node, key, size);
}
/* Where such a key belongs: 0, or the number of slots. */
KV_INTERNAL uint32_t kv_node_beside(const struct kv_node *node,
                                    const uint8_t *key, uint32_t size);

#define NODE_RUN 4 /* ascending inserts in a row that make a run (ST6) */

/* Is the suffix `s` that of leaf entry `index`, whose head is the same? Not of
 * a key that is a blob: leave that to kv_leaf_among(). */
static inline bool leaf_equal(const struct kv_node *leaf, uint32_t index,
                              const uint8_t *s, uint32_t size)
{
    const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[index].off);

    return e[0] == size && !(e[1] & META_KEYBLOB) &&
           (size <= 4 ||
            bytes_equal(s + 4, e + 2 + (node_typed(leaf) ? 1 : 0), size - 4));
}

#define INNER_KEYBLOB 255
/* The block that holds the key of an inner slot, or NULL. */
static inline struct kv_blob *inner_keyblob(const struct kv_node *node,
                                            uint32_t index)
{
    const uint8_t *const e = entry_at(node, inner_slots(node)[index].off);
    struct kv_blob *blob = NULL;

    if (KV_UNLIKELY(e[0] == INNER_KEYBLOB))
        memcpy(&blob, e + 1, sizeof(blob));
    return blob;
}

/* Among slots with equal heads, from `base` on: first leaf slot whose key is
 * >= the suffix (*found when it is equal); first inner slot whose key is > the
 * suffix. */
KV_INTERNAL uint32_t kv_leaf_among(const struct kv_node *leaf, uint32_t base,
                                   uint32_t head, const uint8_t *s,
                                   uint32_t size, bool *found);
/* With `run`, where a run of inserts goes on is looked at first. */
KV_INTERNAL uint32_t kv_inner_among(const struct kv_node *node, uint32_t base,
                                    uint32_t head, const uint8_t *s,
                                    uint32_t size, bool run);

/* `at` moved on by `count` slots if the condition holds, without a branch: it
 * would be guessed wrong every other time. */
#define SEARCH_SKIP(at, count, condition)                                     \
    ((at) = (const void *)((const char *)(at) +                               \
                           (((size_t)0 - (size_t)(condition)) &               \
                            ((size_t)(count) * sizeof(*(at))))))
/* One step of the search over heads: 2 * half candidates become half. */
#define SEARCH_STEP(at, half, wanted)                                         \
    SEARCH_SKIP(at, half, (at)[(half) - 1].head < (wanted))
/* Move `at`, which stands on slot 0, to the first of `count` > 0 slots whose
 * head is >= `wanted`, behind them if there is none. The first step leaves a
 * power of two of candidates; the others are unrolled, for a loop around so
 * little work costs as much again (ST1). */
#define SEARCH_HEADS(at, count, wanted)                                       \
    do {                                                                      \
        const unsigned top_ = 31u - (unsigned)__builtin_clz(count);           \
        uint32_t half_ = UINT32_C(1) << top_;                                 \
        SEARCH_SKIP(at, (count) - half_ + 1,                                  \
                    (at)[half_ - 1].head < (wanted));                         \
        switch (top_) {                                                       \
        default:                                                              \
            for (; half_ > 128; half_ /= 2)                                   \
                SEARCH_STEP(at, half_ / 2, wanted); /* fallthrough */         \
        case 7:                                                               \
            SEARCH_STEP(at, 64, wanted); /* fallthrough */                    \
        case 6:                                                               \
            SEARCH_STEP(at, 32, wanted); /* fallthrough */                    \
        case 5:                                                               \
            SEARCH_STEP(at, 16, wanted); /* fallthrough */                    \
        case 4:                                                               \
            SEARCH_STEP(at, 8, wanted); /* fallthrough */                     \
        case 3:                                                               \
            SEARCH_STEP(at, 4, wanted); /* fallthrough */                     \
        case 2:                                                               \
            SEARCH_STEP(at, 2, wanted); /* fallthrough */                     \
        case 1:                                                               \
            SEARCH_STEP(at, 1, wanted); /* fallthrough */                     \
        case 0:                                                               \
            break;                                                            \
        }                                                                     \
    } while (0)

/* First slot whose head is >= `head`. */
KV_INLINE uint32_t leaf_lower(const struct kv_node *leaf, uint32_t head)
{
    const struct kv_leaf_slot *at = leaf_slots(leaf);

    if (KV_UNLIKELY(leaf->n == 0))
        return 0;
    SEARCH_HEADS(at, leaf->n, head);
    return (uint32_t)(at - leaf_slots(leaf));
}

/* First slot whose key is >= the suffix, from the first slot of an equal head
 * (`base`) on; *found when it is equal. The first try mostly hits. */
KV_INLINE uint32_t leaf_among(const struct kv_node *leaf, uint32_t base,
                                  uint32_t head, const uint8_t *s,
                                  uint32_t size, bool *found)
{
    if (base == leaf->n || leaf_slots(leaf)[base].head != head) {
        *found = false;
        return base;
    }
    *found = leaf_equal(leaf, base, s, size);
    return KV_LIKELY(*found)
               ? base
               : kv_leaf_among(leaf, base, head, s, size, found);
}

/* First slot whose key is >= the key; *found when it is equal. */
KV_INLINE uint32_t leaf_find(const struct kv_node *leaf, const uint8_t *key,
                             uint32_t size, bool *found)
{
    if (node_outside(leaf, key, size)) {
        *found = false;
        return kv_node_beside(leaf, key, size);
    }
    const uint8_t *const s = key + leaf->plen;
    const uint32_t rest = size - leaf->plen, head = key_head(s, rest);
    return leaf_among(leaf, leaf_lower(leaf, head), head, s, rest, found);
}

/* The child that covers the key: last slot with key <= it. */
KV_INLINE uint32_t inner_find_for(const struct kv_node *node,
                                  const uint8_t *key, uint32_t size, bool run)
{
    const struct kv_inner_slot *const slot = inner_slots(node), *at = slot;

    if (node_outside(node, key, size)) {
        const uint32_t i = kv_node_beside(node, key, size);
        return i > 0 ? i - 1 : 0;
    }
    const uint8_t *const s = key + node->plen;
    size -= node->plen;
    const uint32_t head = key_head(s, size);
    SEARCH_HEADS(at, node->n, head);
    uint32_t base = (uint32_t)(at - slot);
    if (KV_UNLIKELY(base < node->n && at->head == head))
        base = kv_inner_among(node, base, head, s, size, run);
    return base > 0 ? base - 1 : 0;
}
KV_INLINE uint32_t inner_find(const struct kv_node *node, const uint8_t *key,
                              uint32_t size)
{
    return inner_find_for(node, key, size, false);
}

/* Make `out`, a fresh block of `cap` bytes, a copy of the node: its size or more
 * (a list: its size). Slots count from the begin of a block and the heap from
 * its end, so both move as they are. */
static inline void node_copy(struct kv_node *out, uint32_t cap,
                             const struct kv_node *node)
{
    const uint64_t gen = out->gen;
    uint32_t front = cap;

    if (!(node->flags & KV_NODE_LIST)) {
        const uint32_t used = node->used;
        front = (uint32_t)sizeof(*node) + node->n * node_slot_size(node);
        KV_ASSERT(front + used <= cap);
        memcpy((uint8_t *)out + cap - used,
               (const uint8_t *)node + node->cap - used, used);
    }
    memcpy(out, node, front);
    out->gen = gen;
    out->cap = (uint16_t)cap;
}

/* Fetch what the search of a node of this level will touch. Without branches it
 * cannot run ahead of its loads, so they would come one after the other: of a
 * leaf header and slots, of an inner node header and the middles of the first
 * steps. */
KV_INLINE void node_prefetch(const struct kv_node *node, unsigned level)
{
    const char *const p = (const char *)node;

    __builtin_prefetch(p);
    if (level == 0) {
        __builtin_prefetch(p + 64);
        __builtin_prefetch(p + 128);
        __builtin_prefetch(p + 192);
        __builtin_prefetch(p + 256);
        __builtin_prefetch(p + 320);
    } else {
        __builtin_prefetch(p + 384);
        __builtin_prefetch(p + 576);
        __builtin_prefetch(p + 768);
        __builtin_prefetch(p + 960);
        __builtin_prefetch(p + 1152);
    }
}

/* Bytes of the key part of an entry with a suffix of klen bytes. */
static inline uint32_t node_rest_size(uint32_t klen, bool keyblob)
{
    if (keyblob)
        return 8;
    return klen > 4 ? klen - 4 : 0;
}
#define INNER_FIRST_SIZE /* slot and entry of slot 0, which has no key */       \
    ((uint32_t)sizeof(struct kv_inner_slot) + 1)

/* Full key of a slot, but not of slot 0 of an inner node: in the store, or
 * assembled in buffer. */
KV_INTERNAL const uint8_t *kv_node_key(const struct kv_node *node,
                                       uint32_t index, uint8_t *buffer,
                                       uint32_t *size, bool *stable);
KV_INTERNAL void kv_node_summary(const struct kv_node *node,
                                 struct kv_summary *summary);
/* Bytes that slot `index` of `node` takes in a node with prefix `plen`, its
 * slot included. */
KV_INTERNAL uint32_t kv_node_item_size(const struct kv_node *node,
                                       uint32_t index, uint32_t plen);
/* The same of the slots [from, to). */
KV_INTERNAL uint32_t kv_node_items_size(const struct kv_node *node,
                                        uint32_t from, uint32_t to,
                                        uint32_t plen);
KV_INTERNAL uint32_t kv_node_fresh_size(const struct kv_node *like,
                                        const struct kv_fresh *fresh,
                                        uint32_t plen);
/* Append slots [begin, end) of `from` to `out`, which has another prefix or the
 * same. What becomes slot 0 of an inner node loses its key. False: no memory (a
 * key blob that a shorter prefix asks for). */
KV_INTERNAL bool kv_node_add(struct kv_store *store, struct kv_node *out,
                             const struct kv_node *from, uint32_t begin,
                             uint32_t end) KV_MUST_USE;
/* Put a fresh entry at `index` of `out`, which has room for its `need` bytes
 * (kv_node_fresh_size). In place: announces header and slots when
 * `announce`. */
KV_INTERNAL void kv_node_insert(struct kv_store *store, struct kv_node *out,
                                uint32_t index, const struct kv_fresh *fresh,
                                uint32_t need, bool announce);
/* A new node like `like` with this prefix and room for `size` bytes of slots
 * and entries. */
KV_INTERNAL struct kv_node *kv_node_make(struct kv_store *store,
                                         const struct kv_node *like,
                                         const struct kv_prefix *prefix,
                                         uint32_t size);
/* Take slot `index` out, announced; `dead` are the bytes of its entry. */
KV_INTERNAL void kv_node_cut(struct kv_store *store, struct kv_node *node,
                             uint32_t index, uint32_t dead);

#endif
