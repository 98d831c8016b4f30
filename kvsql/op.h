/* op.h - one logical change as bytes: what the wal carries and replays.
 *
 *   op: u8 kind | fields of the kind, in the order of the table below
 *   bytes: varint length | data     time: i64 little endian, wall ms, 0 = none
 *   index, count, offset: varint    score: 8 bytes IEEE little endian
 *
 *   1 DEL     key                       10 ZADD    key member score
 *   2 SET     key value time            11 ZREM    key member
 *   3 PATCH   key offset bytes          12 PUSH    key side(varint 0|1) value
 *   4 EXPIRE  key time                  13 LINSERT key index value
 *   5 RENAME  key to                    14 LSET    key index value
 *   6 HSET    key field value time      15 LREMOVE key index count
 *   7 HDEL    key field                 16 FLUSH
 *   8 HEXPIRE key field time            17 SADD key member   18 SREM key member
 *                                       19 DEFINE name text view
 *                                       20 ANSWER name answer time
 *
 * Effects only, absolute values, no clock, no pointer. An unknown kind is
 * refused as written by a newer version (W6).
 * Thread: any. */
#ifndef KVSQL_OP_H
#define KVSQL_OP_H

#include "kvsql/base/buf.h"
#include "kvsql/inside.h"

enum kv_op_kind {
    KV_OP_DEL = 1,
    KV_OP_SET,
    KV_OP_PATCH,
    KV_OP_EXPIRE,
    KV_OP_RENAME,
    KV_OP_HSET,
    KV_OP_HDEL,
    KV_OP_HEXPIRE,
    KV_OP_SET_RESERVED, /* 9: never written */
    KV_OP_ZADD = 10,
    KV_OP_ZREM,
    KV_OP_PUSH,
    KV_OP_LINSERT,
    KV_OP_LSET,
    KV_OP_LREMOVE,
    KV_OP_FLUSH,
    KV_OP_SADD,
    KV_OP_SREM,
    KV_OP_DEFINE, /* key: the name; a empty: no definition any more */
    KV_OP_ANSWER  /* key: the name; a empty: no answer any more */
};

struct kv_op {
    enum kv_op_kind kind;
    kvsql_slice key;
    kvsql_slice a; /* field, member, value, bytes, `to` */
    kvsql_slice b; /* HSET: value; DEFINE: its SQL view */
    int64_t time;
    uint64_t index; /* offset, index, side */
    uint64_t count;
    double score;
};

KV_INTERNAL void kv_op_encode(struct kv_buf *buf, const struct kv_op *op);
/* Decode the op at *p and move *p behind it; slices point into the input.
 * KVSQL_CORRUPT (checked arithmetic, lengths against the bytes left) or
 * KVSQL_NEWER. */
KV_INTERNAL kvsql_rc kv_op_decode(const uint8_t **p, const uint8_t *end,
                                  struct kv_op *op, struct kvsql_error *err)
    KV_MUST_USE;

#endif
