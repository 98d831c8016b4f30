/* type_hash.c - several fields of a hash set in one go.
 *
 * HSET of many fields, or a row of a declared table, would look for the key,
 * write a new run and change entries of indexes once for each field. Here the
 * run is made with all fields in it and put once, and entries of indexes are
 * those of before and after. The ops are those of each kv_hset by itself.
 *
 * What a run cannot hold, and hashes whose fields have deadlines, go the way of
 * kv_hset, field by field.
 *
 * Thread: the holder of the store lock. */
#include <string.h>

#include "kvsql/collection.h"

/* Bytes of the longest name or value. */
static size_t hash_longest(const struct kv_field *field, unsigned n)
{
    size_t size = 0;

    for (unsigned i = 0; i < n; i++) {
        size = field[i].name.size > size ? field[i].name.size : size;
        size = field[i].value.size > size ? field[i].value.size : size;
    }
    return size;
}

/* Put the fields into the run. Bytes of it then, 0: it cannot hold them. */
static uint32_t hash_pack(uint8_t run[KV_PACKED_BUFFER], uint32_t size,
                          const struct kv_field *field, unsigned n,
                          unsigned *created)
{
    for (unsigned i = 0; i < n && size > 0; i++) {
        const struct kv_key value =
            kv_key_of(field[i].value.p, field[i].value.size);
        bool made = false;
        size = kv_packed_put(KV_HASH, run, size, &field[i].name, &value, 0, 0,
                             run, &made);
        *created += made;
        if (size > KV_PACKED_SIZE_MAX)
            size = 0;
    }
    return size;
}

/* kv_change_end() with an op for each field. */
static kvsql_rc hash_end(struct kv_txn *txn, const struct kv_mark *mark,
                         bool ok, const struct kv_key *key,
                         const struct kv_field *field, unsigned n,
                         struct kvsql_error *err)
{
    struct kv_op op = {.kind = KV_OP_HSET, .key = kv_slice_of(key)};

    for (unsigned i = 0;; i++) {
        op.a = kv_slice_of(&field[i].name);
        op.b = field[i].value;
        if (i + 1 == n)
            return kv_change_end(txn, mark, ok, &op, err);
        kv_op_encode(&txn->ops, &op); /* the last sees whether it failed */
        txn->count++;
    }
}

/* The way of kv_hset. All or nothing, too. */
static kvsql_rc hash_set_each(struct kv_txn *txn, const struct kv_key *key,
                              const struct kv_field *field, unsigned n,
                              int64_t expires_at, unsigned *created,
                              struct kvsql_error *err)
{
    const struct kv_mark mark = kv_txn_mark(txn);
    const bool hold = n > 1 && txn->store->schema.held == NULL;
    kvsql_rc rc = KVSQL_OK;
    bool made;

    if (hold && !kv_index_hold(txn, key))
        return kv_change_end(txn, &mark, false, NULL, err);
    for (unsigned i = 0; rc == KVSQL_OK && i < n; i++) {
        made = false;
        rc = kv_hset(txn, key, &field[i].name, field[i].value, expires_at,
                     &made, err);
        *created += made;
    }
    if (hold && !kv_index_release(txn, rc == KVSQL_OK) && rc == KVSQL_OK)
        return kv_change_end(txn, &mark, false, NULL, err);
    if (rc != KVSQL_OK)
        kv_txn_restore(txn, mark);
    return rc;
}

kvsql_rc kv_hset_many(struct kv_txn *txn, const struct kv_key *key,
                      const struct kv_field *field, unsigned n,
                      int64_t expires_at, unsigned *created,
                      struct kvsql_error *err)
{
    const size_t longest = hash_longest(field, n);
    uint8_t run[KV_PACKED_BUFFER];
    struct kv_collection c;
    struct kv_mark mark;
    uint32_t size = 0;
    unsigned made = 0;
    kvsql_rc rc;

    KV_ASSERT(n > 0 && (expires_at == 0 || expires_at == KV_KEEP_EXPIRY));
    *created = 0;
    if (n == 1 || longest > KV_PACKED_ITEM_MAX)
        return hash_set_each(txn, key, field, n, expires_at, created, err);
    rc = kv_change_begin(txn, key, longest, true, &mark, err);
    if (rc == KVSQL_OK)
        rc = kv_collection_open(&c, txn, key, KV_HASH, err);
    if (rc != KVSQL_OK)
        return rc;
    mark = kv_txn_mark(txn);
    if (!c.exists) {
        size = kv_packed_init(run);
    } else if (!kv_collection_is_tree(&c) &&
               kv_cell_field_bound(&c.cell) == BOUND_NONE) {
        const uint8_t *const old = kv_cell_run(&c.cell, &size);
        memcpy(run, old, size);
    }
    if (size > 0)
        size = hash_pack(run, size, field, n, &made);
    if (size == 0)
        return hash_set_each(txn, key, field, n, expires_at, created, err);
    const struct kv_cell will = {
        .form = KV_FORM_PACKED, .type = KV_HASH, .payload = run, .size = size};
    const bool ok =
        kv_index_between(txn->store, key, c.exists ? &c.cell : NULL, &will) &&
        kv_collection_store(&c, run, size);
    *created = made;
    return hash_end(txn, &mark, ok, key, field, n, err);
}

kvsql_rc kv_hset_new(struct kv_txn *txn, const struct kv_key *key,
                     const struct kv_field *field, unsigned n, bool *existed,
                     struct kvsql_error *err)
{
    const size_t longest = hash_longest(field, n);
    struct kv_collection c = {.txn = txn, .key = key, .type = KV_HASH};
    uint8_t run[KV_PACKED_BUFFER];
    struct kv_path *path;
    struct kv_mark mark;
    unsigned made = 0;
    uint32_t size = 0;
    const kvsql_rc rc =
        kv_change_new(txn, key, longest, existed, &path, &mark, err);

    KV_ASSERT(n > 0);
    if (rc != KVSQL_OK || *existed)
        return rc;
    if (path != NULL && longest <= KV_PACKED_ITEM_MAX)
        size = hash_pack(run, kv_packed_init(run), field, n, &made);
    if (size == 0)
        return kv_hset_many(txn, key, field, n, 0, &made, err);
    const struct kv_cell will = {
        .form = KV_FORM_PACKED, .type = KV_HASH, .payload = run, .size = size};
    bool ok = kv_index_between(txn->store, key, NULL, &will) &&
              kv_tree_path_own(txn->store, &txn->store->live.keys[key->cls],
                               path);
    if (ok) {
        c.placed = true;
        c.path = *path;
        ok = kv_collection_store(&c, run, size);
    }
    return hash_end(txn, &mark, ok, key, field, n, err);
}
