/* op.c - ops to bytes and back, driven by one table of fields.
 *
 * Each kind is a short program of letters, one a field, in the order in which
 * op.h draws them:
 *
 *   k key    a first bytes    b second bytes    (varint length, data)
 *   t time   8 bytes, little endian             s score, 8 bytes IEEE
 *   i index  varint           n count, varint   d side, varint 0 or 1
 *
 * Bytes that are decoded come from a disk or, later, a network: every length
 * is held against the bytes left and against the limits of the store before it
 * is used, and nothing here ever asserts on them.
 *
 * Thread: any; nothing is shared. */
#include "kvsql/op.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kvsql/base/num.h"
#include "kvsql/entry.h"

#define OP_KIND_MAX KV_OP_ANSWER
#define OP_BYTES_FIELDS 3  /* key, a, b: the most that one op carries */
#define OP_FIXED_MAX 64    /* kind, lengths, time, index, count, score */

static const char *const op_fields[OP_KIND_MAX + 1] = {
    [KV_OP_DEL] = "k",      [KV_OP_SET] = "kat",     [KV_OP_PATCH] = "kia",
    [KV_OP_EXPIRE] = "kt",  [KV_OP_RENAME] = "ka",   [KV_OP_HSET] = "kabt",
    [KV_OP_HDEL] = "ka",    [KV_OP_HEXPIRE] = "kat", [KV_OP_ZADD] = "kas",
    [KV_OP_ZREM] = "ka",    [KV_OP_PUSH] = "kda",    [KV_OP_LINSERT] = "kia",
    [KV_OP_LSET] = "kia",   [KV_OP_LREMOVE] = "kin", [KV_OP_FLUSH] = "",
    [KV_OP_SADD] = "ka",    [KV_OP_SREM] = "ka",     [KV_OP_DEFINE] = "kab",
    [KV_OP_ANSWER] = "kat",
};

static uint8_t *op_put_bytes(uint8_t *p, kvsql_slice bytes)
{
    if (bytes.size < 0x80) { /* mostly; kv_varint_put would do the same */
        *p++ = (uint8_t)bytes.size;
    } else {
        p += kv_varint_put(p, bytes.size);
    }
    if (bytes.size > 0) {
        bytes_copy(p, bytes.p, (uint32_t)bytes.size);
    }
    return p + bytes.size;
}

static uint8_t *op_put_field(uint8_t *p, char field, const struct kv_op *op)
{
    switch (field) {
    case 'k':
        return op_put_bytes(p, op->key);
    case 'a':
        return op_put_bytes(p, op->a);
    case 'b':
        return op_put_bytes(p, op->b);
    case 't':
        kv_u64_put(p, (uint64_t)op->time);
        return p + 8;
    case 's': {
        uint64_t bits;
        memcpy(&bits, &op->score, 8);
        kv_u64_put(p, bits);
        return p + 8;
    }
    case 'n':
        return p + kv_varint_put(p, op->count);
    default: /* i, d */
        return p + kv_varint_put(p, op->index);
    }
}

void kv_op_encode(struct kv_buf *buf, const struct kv_op *op)
{
    KV_ASSERT((unsigned)op->kind <= OP_KIND_MAX);
    const char *field = op_fields[op->kind];
    KV_ASSERT(field != NULL);

    static_assert(OP_FIXED_MAX >= 1 + OP_BYTES_FIELDS * 10 + 8 + 10,
                  "room for the fixed part of every kind");
    if (!kv_buf_reserve(buf, OP_FIXED_MAX + op->key.size + op->a.size +
                                 op->b.size)) {
        return;
    }
    uint8_t *p = buf->p + buf->size;
    *p++ = (uint8_t)op->kind;
    for (; *field != '\0'; field++) {
        p = op_put_field(p, *field, op);
    }
    buf->size = (size_t)(p - buf->p);
}

static bool op_get_number(const uint8_t **p, const uint8_t *end,
                          uint64_t *value)
{
    const size_t used = kv_varint_get(*p, end, value);

    *p += used;
    return used > 0;
}

static bool op_get_bytes(const uint8_t **p, const uint8_t *end, size_t max,
                         kvsql_slice *bytes)
{
    uint64_t size;

    if (!op_get_number(p, end, &size) || size > max ||
        size > (size_t)(end - *p)) {
        return false;
    }
    *bytes = (kvsql_slice){.p = *p, .size = (size_t)size};
    *p += size;
    return true;
}

static bool op_get_fixed(const uint8_t **p, const uint8_t *end, uint64_t *bits)
{
    if (end - *p < 8) {
        return false;
    }
    *bits = kv_u64_get(*p);
    *p += 8;
    return true;
}

static bool op_get_field(const uint8_t **p, const uint8_t *end, char field,
                         struct kv_op *op)
{
    uint64_t bits;

    switch (field) {
    case 'k':
        return op_get_bytes(p, end, KVSQL_KEY_MAX, &op->key);
    case 'a':
        return op_get_bytes(p, end, KVSQL_VALUE_MAX, &op->a);
    case 'b':
        return op_get_bytes(p, end, KVSQL_VALUE_MAX, &op->b);
    case 't':
        if (!op_get_fixed(p, end, &bits)) {
            return false;
        }
        op->time = (int64_t)bits;
        return true;
    case 's':
        if (!op_get_fixed(p, end, &bits)) {
            return false;
        }
        memcpy(&op->score, &bits, 8);
        return !isnan(op->score);
    case 'n':
        return op_get_number(p, end, &op->count);
    case 'd':
        return op_get_number(p, end, &op->index) && op->index <= KV_RIGHT;
    default: /* i */
        return op_get_number(p, end, &op->index);
    }
}

kvsql_rc kv_op_decode(const uint8_t **p, const uint8_t *end, struct kv_op *op,
                      struct kvsql_error *err)
{
    if (*p >= end) {
        return kv_fail(err, KVSQL_CORRUPT, "op: no bytes left for an op");
    }
    const uint8_t *at = *p;
    const unsigned kind = *at++;
    const char *field = kind <= OP_KIND_MAX ? op_fields[kind] : NULL;
    if (field == NULL) {
        return kv_fail(err, KVSQL_NEWER,
                       "op: kind %u is unknown to kvsql " KVSQL_VERSION
                       ": written by a newer version, open it with that one",
                       kind);
    }
    *op = (struct kv_op){.kind = (enum kv_op_kind)kind,
                         .key = {"", 0}, .a = {"", 0}, .b = {"", 0}};
    for (; *field != '\0'; field++) {
        if (!op_get_field(&at, end, *field, op)) {
            return kv_fail(err, KVSQL_CORRUPT,
                           "op: kind %u has a bad field '%c' at byte %zu", kind,
                           *field, (size_t)(at - *p));
        }
    }
    *p = at;
    return KVSQL_OK;
}
