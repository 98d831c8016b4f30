/* type_set.c - effects on hashes, sets and sorted sets: one op each, on the
 * forms of collection.c.
 *
 * Thread: the holder of the store lock. */
#include <math.h>
#include <string.h>

#include "kvsql/collection.h"

/* There was nothing to do: owned paths and a new version of the key are taken
 * back, and there is no op. */
static void set_forget(struct kv_txn *txn, const struct kv_mark *mark)
{
    if (kv_undo_mark(txn->store) != mark->undo)
        kv_undo_to(txn->store, mark->undo, UINT64_MAX);
}

static kvsql_rc set_remove(struct kv_txn *txn, const struct kv_key *key,
                           enum kv_type type, const struct kv_key *element,
                           enum kv_op_kind kind, bool *existed,
                           struct kvsql_error *err)
{
    const struct kv_op op = {.kind = kind,
                             .key = kv_slice_of(key),
                             .a = kv_slice_of(element)};
    struct kv_collection c;
    struct kv_mark mark;
    bool there = false;
    kvsql_rc rc = kv_change_begin(txn, key, 0, false, &mark, err);

    if (rc == KVSQL_OK)
        rc = kv_collection_open(&c, txn, key, type, err);
    if (rc != KVSQL_OK)
        return rc;
    mark = kv_txn_mark(txn);
    const bool ok = kv_collection_remove(&c, element, &there);
    if (ok && !there) {
        set_forget(txn, &mark);
        if (existed != NULL)
            *existed = false;
        return KVSQL_OK;
    }
    rc = kv_change_end(txn, &mark, ok, &op, err);
    if (rc == KVSQL_OK && existed != NULL)
        *existed = there;
    return rc;
}

/* The field as it is now: deadline and value. False when absent. */
static bool set_field(const struct kv_collection *c, const struct kv_key *field,
                      uint64_t *deadline, struct kv_val *value)
{
    return c->exists && kv_cell_field(&c->cell, field, deadline, value);
}

/* A field that expired is removed by an op of its own before it is written
 * anew or deleted, so that `created` and `existed` tell what readers see
 * (T4). The collection is open as before then. */
static kvsql_rc set_expire_field(struct kv_collection *c,
                                 const struct kv_key *field,
                                 int64_t *expires_at, struct kvsql_error *err)
{
    struct kv_txn *const txn = c->txn;
    struct kv_val value;
    uint64_t deadline = 0;
    kvsql_rc rc = KVSQL_OK;

    const bool there = c->exists &&
                       kv_cell_field_bound(&c->cell) != BOUND_NONE &&
                       set_field(c, field, &deadline, &value);
    if (there && deadline != 0 && deadline <= txn->now && !txn->replay) {
        deadline = 0;
        rc = set_remove(txn, c->key, KV_HASH, field, KV_OP_HDEL, NULL, err);
        if (rc == KVSQL_OK) {
            kv_store_count(txn->store, &txn->store->tally.expired_fields);
            rc = kv_collection_open(c, txn, c->key, KV_HASH, err);
        }
    }
    if (*expires_at == KV_KEEP_EXPIRY)
        *expires_at = kv_time_show(deadline, txn->skew);
    return rc;
}

/* Everything that adds or replaces one element; op->time is its deadline,
 * KV_KEEP_EXPIRY the one that it has. */
static kvsql_rc set_put(struct kv_txn *txn, const struct kv_key *key,
                        enum kv_type type, struct kv_element *e,
                        struct kv_op *op, bool *created,
                        struct kvsql_error *err)
{
    const size_t value_size = e->value != NULL ? e->value->size : 0;
    const size_t size = e->key->size > value_size ? e->key->size : value_size;
    struct kv_collection c;
    struct kv_mark mark;
    bool made = false;
    kvsql_rc rc = kv_change_begin(txn, key, size, true, &mark, err);

    if (rc == KVSQL_OK)
        rc = kv_collection_open(&c, txn, key, type, err);
    if (rc == KVSQL_OK && type == KV_HASH)
        rc = set_expire_field(&c, e->key, &op->time, err);
    if (rc != KVSQL_OK)
        return rc;
    mark = kv_txn_mark(txn);
    e->deadline = kv_time_keep(op->time, txn->skew);
    op->key = kv_slice_of(key);
    op->a = kv_slice_of(e->key);
    const bool ok = kv_collection_put(&c, e, &made);
    if (ok && c.same)
        set_forget(txn, &mark);
    else
        rc = kv_change_end(txn, &mark, ok, op, err);
    if (rc == KVSQL_OK && created != NULL)
        *created = made;
    return rc;
}

/* ---- hashes ------------------------------------------------------------------ */

static bool set_is_past(const struct kv_txn *txn, int64_t expires_at)
{
    return !txn->replay && expires_at > 0 &&
           kv_time_keep(expires_at, txn->skew) <= txn->now;
}

kvsql_rc kv_hset(struct kv_txn *txn, const struct kv_key *key,
                 const struct kv_key *field, kvsql_slice value,
                 int64_t expires_at, bool *created, struct kvsql_error *err)
{
    const struct kv_key v = kv_key_of(value.p, value.size);
    struct kv_element e = {.key = field, .value = &v};
    struct kv_op op = {.kind = KV_OP_HSET, .b = value, .time = expires_at};

    if (set_is_past(txn, expires_at)) {
        if (created != NULL)
            *created = false;
        return kv_hdel(txn, key, field, NULL, err);
    }
    return set_put(txn, key, KV_HASH, &e, &op, created, err);
}

kvsql_rc kv_hdel(struct kv_txn *txn, const struct kv_key *key,
                 const struct kv_key *field, bool *existed,
                 struct kvsql_error *err)
{
    int64_t expires_at = 0;
    struct kv_collection c;
    kvsql_rc rc = kv_collection_open(&c, txn, key, KV_HASH, err);

    if (rc == KVSQL_OK)
        rc = set_expire_field(&c, field, &expires_at, err);
    if (rc != KVSQL_OK)
        return rc;
    return set_remove(txn, key, KV_HASH, field, KV_OP_HDEL, existed, err);
}

kvsql_rc kv_hexpire(struct kv_txn *txn, const struct kv_key *key,
                    const struct kv_key *field, int64_t expires_at,
                    struct kvsql_error *err)
{
    struct kv_op op = {.kind = KV_OP_HEXPIRE, .time = expires_at};
    struct kv_collection c;
    struct kv_val value;
    uint64_t deadline = 0;
    const kvsql_rc rc = kv_collection_open(&c, txn, key, KV_HASH, err);

    if (rc != KVSQL_OK)
        return rc;
    if (!set_field(&c, field, &deadline, &value) ||
        (!txn->replay && deadline != 0 && deadline <= txn->now))
        return kv_fail(err, KVSQL_NOTFOUND, "no such field");
    if (set_is_past(txn, expires_at))
        return kv_hdel(txn, key, field, NULL, err);
    /* the value's bytes may lie where the put writes: copy short ones, long
     * ones are blobs and get a blob of their own */
    uint8_t copy[KV_PACKED_ITEM_MAX];
    struct kv_key v = {.p = value.p, .size = value.size, .cls = value.cls};
    if (v.size <= sizeof(copy)) {
        memcpy(copy, v.p, v.size);
        v.p = copy;
    }
    struct kv_element e = {.key = field, .value = &v};
    return set_put(txn, key, KV_HASH, &e, &op, NULL, err);
}

/* ---- sets ---------------------------------------------------------------------- */

kvsql_rc kv_sadd(struct kv_txn *txn, const struct kv_key *key,
                 const struct kv_key *member, bool *created,
                 struct kvsql_error *err)
{
    struct kv_element e = {.key = member};
    struct kv_op op = {.kind = KV_OP_SADD};

    return set_put(txn, key, KV_SET, &e, &op, created, err);
}

kvsql_rc kv_srem(struct kv_txn *txn, const struct kv_key *key,
                 const struct kv_key *member, bool *existed,
                 struct kvsql_error *err)
{
    return set_remove(txn, key, KV_SET, member, KV_OP_SREM, existed, err);
}

/* ---- sorted sets ----------------------------------------------------------------- */

kvsql_rc kv_zadd(struct kv_txn *txn, const struct kv_key *key,
                 const struct kv_key *member, double score, bool *created,
                 struct kvsql_error *err)
{
    struct kv_element e = {.key = member, .score = score};
    struct kv_op op = {.kind = KV_OP_ZADD, .score = score};

    if (isnan(score))
        return kv_fail(err, KVSQL_INVALID, "a score must not be NaN");
    return set_put(txn, key, KV_ZSET, &e, &op, created, err);
}

kvsql_rc kv_zrem(struct kv_txn *txn, const struct kv_key *key,
                 const struct kv_key *member, bool *existed,
                 struct kvsql_error *err)
{
    return set_remove(txn, key, KV_ZSET, member, KV_OP_ZREM, existed, err);
}
