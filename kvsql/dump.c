/* dump.c - one value as bytes that another store can take in: DUMP, RESTORE,
 * COPY.
 *
 *   "KVD" | u8 version, 1 | u8 type | ops ... | u32 crc
 *
 * The ops are those of the wal, with an empty key: one SET for a string, and
 * for each element in its order an HSET, PUSH (right), SADD or ZADD. Times of
 * fields are absolute. The CRC32C is over all bytes before it. docs/FORMATS.md
 * draws it, too.
 *
 * Always true:
 *   DU1  A payload is checked whole before anything is changed: it comes from
 *        a client.
 *   DU2  A restore that fails has changed nothing.
 *
 * Thread: reading, any; restoring, that of the txn. */
#include <string.h>

#include "kvsql/base/crc32c.h"
#include "kvsql/base/num.h"
#include "kvsql/op.h"

#define DUMP_VERSION 1
#define DUMP_HEAD 5
#define DUMP_TAIL 4
#define DUMP_COPY_MAX ((size_t)1 << 30) /* bytes of a value that is copied */

static const uint8_t DUMP_MAGIC[] = {'K', 'V', 'D', DUMP_VERSION};

/* The one kind of op that values of a type are made of. */
static enum kv_op_kind dump_kind(enum kv_type type)
{
    switch (type) {
    case KV_STRING:
        return KV_OP_SET;
    case KV_HASH:
        return KV_OP_HSET;
    case KV_LIST:
        return KV_OP_PUSH;
    case KV_SET:
        return KV_OP_SADD;
    case KV_ZSET:
        return KV_OP_ZADD;
    default:
        return KV_OP_SET_RESERVED;
    }
}

/* ---- out ---------------------------------------------------------------- */

static kvsql_slice dump_slice(const struct kv_val *value)
{
    return (kvsql_slice){value->p, value->size};
}

static uint64_t dump_elements(const struct kv_at *at,
                              const struct kv_item *item, struct kv_buf *out)
{
    const bool list = item->type == KV_LIST;
    struct kv_elems elems;
    uint64_t count = 0;

    kv_elems_init(&elems, at, item, list ? KV_ELEMS_INDEX : KV_ELEMS_KEY);
    for (bool valid = kv_elems_first(&elems); valid && !out->failed;
         valid = kv_elems_next(&elems), count++) {
        const struct kv_elem *const e = &elems.elem;
        const struct kv_op op = {
            .kind = dump_kind(item->type),
            .a = dump_slice(list ? &e->value : &e->key),
            .b = dump_slice(&e->value),
            .time = e->expires_at,
            .index = KV_RIGHT,
            .score = e->score,
        };

        kv_op_encode(out, &op);
    }
    return count;
}

bool kv_item_dump(const struct kv_at *at, const struct kv_item *item,
                  struct kv_buf *out)
{
    const size_t start = out->size;
    uint64_t count = 1;

    kv_buf_add(out, DUMP_MAGIC, sizeof(DUMP_MAGIC));
    kv_buf_byte(out, (uint8_t)item->type);
    if (item->type == KV_STRING) {
        struct kv_op op = {.kind = KV_OP_SET};
        struct kv_val value;

        kv_item_string(item, &value);
        op.a = dump_slice(&value);
        kv_op_encode(out, &op);
    } else {
        count = dump_elements(at, item, out);
    }
    if (!out->failed) {
        kv_buf_u32(out, kv_crc32c(0, out->p + start, out->size - start));
    }
    return count > 0;
}

/* ---- in ----------------------------------------------------------------- */

static kvsql_rc dump_bad(struct kvsql_error *err)
{
    return kv_fail(err, KVSQL_CORRUPT,
                   "DUMP payload version or checksum are wrong");
}

/* The next op of a payload; it must be of its type. */
static kvsql_rc dump_next(const uint8_t **p, const uint8_t *end,
                          enum kv_type type, struct kv_op *op,
                          struct kvsql_error *err)
{
    const kvsql_rc rc = kv_op_decode(p, end, op, err);

    if (rc != KVSQL_OK || op->kind != dump_kind(type) || op->key.size != 0 ||
        op->time < 0 || (type == KV_LIST && op->index != KV_RIGHT)) {
        return dump_bad(err);
    }
    return KVSQL_OK;
}

/* DU1. */
static kvsql_rc dump_check(kvsql_slice payload, struct kvsql_error *err)
{
    const uint8_t *p = payload.p, *end;
    enum kv_type type;
    unsigned count = 0;

    if (payload.size <= DUMP_HEAD + DUMP_TAIL ||
        memcmp(p, DUMP_MAGIC, sizeof(DUMP_MAGIC)) != 0) {
        return dump_bad(err);
    }
    end = p + payload.size - DUMP_TAIL;
    type = (enum kv_type)p[DUMP_HEAD - 1];
    if (kv_crc32c(0, p, payload.size - DUMP_TAIL) != kv_u32_get(end)) {
        return dump_bad(err);
    }
    for (p += DUMP_HEAD; p < end;) {
        struct kv_op op;
        const kvsql_rc rc = dump_next(&p, end, type, &op, err);

        if (rc != KVSQL_OK || (type == KV_STRING && count > 0)) {
            return dump_bad(err);
        }
        count = 1;
    }
    return KVSQL_OK;
}

static kvsql_rc dump_apply(struct kv_txn *txn, const struct kv_key *key,
                           const struct kv_op *op, struct kvsql_error *err)
{
    const struct kv_key a = kv_key_of(op->a.p, op->a.size);

    switch (op->kind) {
    case KV_OP_SET:
        return kv_set(txn, key, op->a, 0, err);
    case KV_OP_HSET:
        return kv_hset(txn, key, &a, op->b, op->time, NULL, err);
    case KV_OP_SADD:
        return kv_sadd(txn, key, &a, NULL, err);
    case KV_OP_ZADD:
        return kv_zadd(txn, key, &a, op->score, NULL, err);
    default:
        KV_ASSERT(op->kind == KV_OP_PUSH);
        return kv_push(txn, key, KV_RIGHT, op->a, err);
    }
}

/* All ops of a payload that has been checked. */
static kvsql_rc dump_apply_all(struct kv_txn *txn, const struct kv_key *key,
                               kvsql_slice payload, struct kvsql_error *err)
{
    const uint8_t *const start = payload.p;
    const uint8_t *const end = start + payload.size - DUMP_TAIL;
    const enum kv_type type = (enum kv_type)start[DUMP_HEAD - 1];

    for (const uint8_t *p = start + DUMP_HEAD; p < end;) {
        struct kv_op op;
        kvsql_rc rc = dump_next(&p, end, type, &op, err);

        if (rc == KVSQL_OK)
            rc = dump_apply(txn, key, &op, err);
        if (rc != KVSQL_OK)
            return rc;
    }
    return KVSQL_OK;
}

kvsql_rc kv_restore(struct kv_txn *txn, const struct kv_key *key,
                    kvsql_slice payload, int64_t expires_at,
                    struct kvsql_error *err)
{
    const struct kv_mark mark = kv_txn_mark(txn);
    kvsql_rc rc = dump_check(payload, err);

    if (rc != KVSQL_OK)
        return rc;
    rc = kv_del(txn, key, NULL, err);
    if (rc == KVSQL_OK)
        rc = dump_apply_all(txn, key, payload, err);
    if (rc == KVSQL_OK && expires_at != 0) {
        rc = kv_expire(txn, key, expires_at, err);
        if (rc == KVSQL_NOTFOUND) /* all its fields had expired */
            rc = KVSQL_OK;
    }
    if (rc != KVSQL_OK)
        kv_txn_restore(txn, mark); /* DU2 */
    return rc;
}

/* ---- copies ------------------------------------------------------------- */

kvsql_rc kv_copy(struct kv_txn *txn, const struct kv_key *from,
                 const struct kv_key *to, struct kvsql_error *err)
{
    struct kv_item item;
    struct kv_buf buf; /* what is read moves when the store changes */
    struct kv_at at;

    kv_at_txn(txn, &at);
    if (!kv_get(&at, from, &item))
        return kv_fail(err, KVSQL_NOTFOUND, "no such key");
    kv_buf_init(&buf, KV_MEM_CLIENT, DUMP_COPY_MAX);
    const int64_t expires_at = item.expires_at;
    const bool any = kv_item_dump(&at, &item, &buf);
    kvsql_rc rc = kv_buf_result(&buf, "the copy of a value", err);
    if (rc == KVSQL_OK)
        rc = any ? kv_restore(txn, to, (kvsql_slice){buf.p, buf.size},
                              expires_at, err)
                 : kv_fail(err, KVSQL_NOTFOUND, "no such key");
    kv_buf_fini(&buf);
    return rc;
}
