/* packed.h - small collections as one run of bytes (EN1).
 *
 *   u8 flags | u8 count | items
 *   item: varint tag (length << 2 | kind) | bytes | [NUL]
 *   kind: 0 TEXT, 1 BLOB (both followed by one NUL byte)
 *         2 int: 1-8 bytes little endian two's complement, no NUL
 *         3 the 6-byte deadline (store time, ms) of the item that follows;
 *           8 bytes from 2^48 on
 *
 *   hash   field, [deadline], value, ... in insertion order
 *   set    members in insertion order
 *   zset   score (8 bytes IEEE little endian, tag kind 1, no NUL), member;
 *          sorted by score, then bytes of the member
 *   list   items
 *
 * count is the number of elements (<= 128). All functions here are pure: they
 * read one run and write another into a caller's buffer; the store decides
 * where the run lives. Runs are ours and well formed (asserted). Decimal
 * integers in canonical form are kept as kind 2.
 *
 * Thread: any. */
#ifndef KVSQL_PACKED_H
#define KVSQL_PACKED_H

#include "kvsql/node.h"

#define KV_PACKED_ITEM_MAX 128 /* bytes of one field, member, value, item */
/* A change never makes a run longer than this; the caller checks the result
 * against KV_PACKED_SIZE_MAX and converts to a tree when it is longer. */
#define KV_PACKED_BUFFER (KV_PACKED_SIZE_MAX + 2 * KV_PACKED_ITEM_MAX + 64)

struct kv_packed_item { /* one element, decoded; pointers into the run */
    struct kv_val key;   /* field, member; list: the item */
    struct kv_val value; /* hash */
    double score;        /* zset */
    uint64_t deadline;   /* hash: store time ms, 0 = none */
    uint32_t offset;     /* of the element's first item */
    uint32_t next;       /* offset behind the element */
};

/* Flag: a Redis listpack limit was once passed. kv_packed_put sets it with
 * the first key or value over 64 bytes; it stays. */
#define KV_PACKED_BIG 1
/* Flag: a field may have a deadline; set with the first one, it stays. */
#define KV_PACKED_DEADLINES 2

/* An empty run into out; returns its size (2). */
KV_INTERNAL uint32_t kv_packed_init(uint8_t *out);
static inline uint32_t kv_packed_count(const uint8_t *run)
{
    return run[1];
}
/* Decode the element at `offset` (2 = the first); false at the end. */
KV_INTERNAL bool kv_packed_at(enum kv_type type, const uint8_t *run,
                              uint32_t size, uint32_t offset,
                              struct kv_packed_item *item);
/* Find field or member by bytes; false: absent. */
KV_INTERNAL bool kv_packed_find(enum kv_type type, const uint8_t *run,
                                uint32_t size, const struct kv_key *key,
                                struct kv_packed_item *item);
/* Element number `index`. */
KV_INTERNAL bool kv_packed_index(enum kv_type type, const uint8_t *run,
                                 uint32_t size, uint32_t index,
                                 struct kv_packed_item *item);
/* Offsets of all elements in KO1 order of their key, or in run order for
 * lists and for zsets with by_score; returns the count. */
KV_INTERNAL uint32_t kv_packed_sort(enum kv_type type, const uint8_t *run,
                                    uint32_t size, bool by_score,
                                    uint16_t out[KV_PACKED_COUNT_MAX]);
/* Add or replace; writes the new run to out (KV_PACKED_BUFFER bytes, those of a
 * hash's run itself perhaps), returns its size; *created tells which. `value`, `deadline` for hashes, `score` for
 * zsets. Returns 0 when the run would have more than 128 elements. Keys and
 * values longer than KV_PACKED_ITEM_MAX are the caller's error (asserted). */
KV_INTERNAL uint32_t kv_packed_put(enum kv_type type, const uint8_t *run,
                                   uint32_t size, const struct kv_key *key,
                                   const struct kv_key *value,
                                   uint64_t deadline, double score,
                                   uint8_t *out, bool *created);
/* Without the element that begins at `item->offset`. */
KV_INTERNAL uint32_t kv_packed_remove(const uint8_t *run, uint32_t size,
                                      const struct kv_packed_item *item,
                                      uint8_t *out);
/* List: insert so that it gets `index`; set; remove a range. insert returns 0
 * when there would be more than 128 elements. */
KV_INTERNAL uint32_t kv_packed_list_insert(const uint8_t *run, uint32_t size,
                                           uint32_t index,
                                           const struct kv_key *value,
                                           uint8_t *out);
KV_INTERNAL uint32_t kv_packed_list_set(const uint8_t *run, uint32_t size,
                                        uint32_t index,
                                        const struct kv_key *value,
                                        uint8_t *out);
KV_INTERNAL uint32_t kv_packed_list_remove(const uint8_t *run, uint32_t size,
                                           uint32_t index, uint32_t count,
                                           uint8_t *out);
/* Hash: lowest deadline of all fields, 0 = none. */
KV_INTERNAL uint64_t kv_packed_deadline(const uint8_t *run, uint32_t size);

/* One item by itself, as list leaves hold them too: bytes of the encoding of
 * a value, writing it, and decoding at p (returns the bytes). */
KV_INTERNAL uint32_t kv_packed_item_size(const struct kv_key *value);
KV_INTERNAL uint32_t kv_packed_item_write(uint8_t *out,
                                          const struct kv_key *value);
KV_INTERNAL uint32_t kv_packed_item_read(const uint8_t *p, struct kv_val *out);

#endif
