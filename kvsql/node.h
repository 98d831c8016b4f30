/* node.h - the bytes of one node, and the blocks that the store is made of.
 *
 * Every block of store memory begins with a 64-bit word:
 *
 *   bits 8..63  birth: the generation in which it was made
 *   bits 0..2   kind (enum kv_block_kind)
 *   bit  3      KV_BACK: an undo is bringing this block back (store.md 5.3)
 *
 * A node is a B+tree node of one block; slots grow up behind the header, the
 * heap grows down from the end of the block; the last `plen` bytes of the
 * block are the prefix that all keys of the node share.
 *
 *   | header 24 | slots n x 6 or 24 or 16 | free | heap ... | prefix |
 *
 * Leaf entry, at block + cap - off:
 *   u8 klen | u8 meta | [u8 type] | rest of suffix behind its first 4 bytes
 *   | [exp 6 or 8] | [ver 6] | [lru 3] | [u8 vlen] | payload | [NUL]
 * The first 4 bytes of the suffix are the slot's head, big endian, zero
 * padded. With META_KEYBLOB klen is 0 and the rest is a pointer to a kv_blob
 * that holds the whole key (EN7). In a sorted set both trees point to the same
 * blob, which holds score and member: the order-preserving 8 bytes of the score
 * make the key by score, what follows is the key by member (EN4).
 * Inner entry: u8 klen | rest; klen 255 = pointer to a kv_blob, whole key.
 * Slot i of an inner node holds the lower bound of its child; slot 0 has no key,
 * klen 0 and head 0: whatever is below the others goes there. */
#ifndef KVSQL_NODE_H
#define KVSQL_NODE_H

#include <stdint.h>
#include <stddef.h>
#include <stdbool.h>

#include "kvsql/inside.h"

#ifndef KV_LEAF_MAX
#define KV_LEAF_MAX 2048 /* bytes of the largest node; tests use 256..512 */
#endif
#ifndef KV_INNER_MAX
#define KV_INNER_MAX KV_LEAF_MAX
#endif
#if KV_LEAF_MAX >= 2048
#define KV_INLINE_MAX 128 /* bytes of a value kept in the leaf */
#define KV_SUFFIX_MAX 240 /* bytes of a key kept in the node */
#define KV_PREFIX_MAX 512
#else /* at least three entries must fit (EN7) */
#define KV_INLINE_MAX 24
#define KV_SUFFIX_MAX 24
#define KV_PREFIX_MAX 16
#endif
#define KV_PACKED_SIZE_MAX 1024 /* bytes of a packed collection */

enum kv_block_kind {
    KV_BLOCK_NODE = 0,
    KV_BLOCK_TREE = 1, /* struct kv_tree */
    KV_BLOCK_BLOB = 2  /* struct kv_blob */
};
#define KV_BACK UINT64_C(8)
#define KV_GEN_SHIFT 8

#define KV_SCORE_SIZE 8u /* bytes of a score in a key (EN3) */
enum kv_node_flags {
    KV_NODE_KEYED = 0,
    KV_NODE_LIST = 1,
    KV_NODE_TYPED = 2, /* keyspace: leaf entries have a type byte */
    KV_NODE_SCORE = 4, /* zset by score: its leaves borrow their key blobs */
    KV_NODE_MEMBER = 8, /* zset by member: they own them, and a score is before
                           the key in each (EN4) */
    KV_NODE_OWN = 16 /* the prefix is the node's own: keys without it may come
                        (T1 of tree.c) */
};
/* A zset keeps a member in a blob, whatever the prefix, when the score before
 * it makes it longer than that: so both trees agree. */
#define KV_MEMBER_INLINE_MAX (KV_SUFFIX_MAX - KV_SCORE_SIZE)

struct kv_node {
    uint64_t gen;
    uint16_t n;    /* slots (list leaf: items) */
    uint16_t cap;  /* bytes of the block */
    uint16_t used; /* bytes at the end of the block: heap and prefix */
    uint16_t garb; /* dead bytes among them */
    uint16_t plen; /* prefix */
    uint8_t level; /* 0 = leaf */
    uint8_t flags;
    uint16_t hint; /* slot behind the newest insert (ST6) */
    uint8_t run, spare;
};
_Static_assert(sizeof(struct kv_node) == 24, "node header");

struct __attribute__((packed)) kv_leaf_slot {
    uint32_t head;
    uint16_t off;
};
_Static_assert(sizeof(struct kv_leaf_slot) == 6, "leaf slot");

struct kv_inner_slot {
    struct kv_node *child;
    uint32_t head, count;
    uint16_t off;
    uint8_t types;      /* mask of 1 << type that may occur below */
    uint8_t min_exp[5]; /* lower bound of deadlines, units of 64 ms */
};
_Static_assert(sizeof(struct kv_inner_slot) == 24, "inner slot");

struct kv_pos_slot { /* inner nodes of lists */
    struct kv_node *child;
    uint32_t count, spare;
};
_Static_assert(sizeof(struct kv_pos_slot) == 16, "position slot");

/* One collection. root[0], root[1]: elements with keys of class TEXT, BLOB;
 * root[2]: order (zset: by score; list: by position). */
struct kv_tree {
    uint64_t gen;
    struct kv_node *root[3];
    uint64_t count[2];
    uint64_t bytes;                 /* all blocks below, this one excluded */
    uint64_t min_exp : 48, flags : 16;
};
_Static_assert(sizeof(struct kv_tree) == 64, "tree");

struct kv_blob {
    uint64_t gen;
    uint32_t len, cap; /* cap: bytes behind the header, NUL included */
    uint8_t d[];
};
_Static_assert(sizeof(struct kv_blob) == 16, "blob");

/* By value in the store and in views. */
struct kv_root {
    struct kv_node *keys[2];
    uint64_t count[2];
    struct kv_blob *defs; /* definitions (defs.c); NULL: none */
    uint64_t defs_version;
    struct kv_node *indexes; /* name -> kv_tree of each index (index.c) */
    struct kv_tree *answers; /* name -> answer (answers.c); NULL: none */
};

#endif
