/* type_list.c - effects on lists: packed run while small, plist.c when large.
 *
 * Thread: the holder of the store lock. */
#include <string.h>

#include "kvsql/collection.h"
#include "kvsql/plist.h"

static uint64_t list_length(const struct kv_collection *c)
{
    uint32_t size;

    if (!c->exists)
        return 0;
    if (kv_collection_is_tree(c))
        return ((const struct kv_tree *)c->cell.ptr)->count[0];
    return kv_packed_count(kv_cell_run(&c->cell, &size));
}

static bool list_convert(struct kv_collection *c)
{
    uint8_t copy[KV_PACKED_BUFFER];
    struct kv_packed_item item;
    uint32_t size = 0, offset = 2;

    if (c->exists) {
        const uint8_t *const run = kv_cell_run(&c->cell, &size);
        memcpy(copy, run, size);
    }
    if (!kv_collection_new_tree(c))
        return false;
    while (size > 0 && kv_packed_at(KV_LIST, copy, size, offset, &item)) {
        const struct kv_key value = {
            .p = item.key.p, .size = item.key.size, .cls = item.key.cls};
        if (kv_plist_insert(c->txn->store, c->tree, c->tree->count[0],
                            &value) != KVSQL_OK)
            return false;
        offset = item.next;
    }
    return true;
}

/* Both ways to write one value, in a packed run and in a tree. */
struct list_write {
    uint32_t (*packed)(const uint8_t *run, uint32_t size, uint32_t index,
                       const struct kv_key *value, uint8_t *out);
    kvsql_rc (*tree)(struct kv_store *store, struct kv_tree *tree,
                     uint64_t index, const struct kv_key *value);
};
static const struct list_write list_insert = {kv_packed_list_insert,
                                              kv_plist_insert};
static const struct list_write list_set = {kv_packed_list_set, kv_plist_set};

static bool list_write(struct kv_collection *c, const struct list_write *how,
                       uint64_t index, const struct kv_key *value)
{
    uint8_t empty[2], out[KV_PACKED_BUFFER];

    if (!kv_collection_is_tree(c)) {
        uint32_t size = 0;
        const uint8_t *run = empty;
        if (c->exists)
            run = kv_cell_run(&c->cell, &size);
        else
            size = kv_packed_init(empty);
        const uint32_t n =
            value->size <= KV_PACKED_ITEM_MAX
                ? how->packed(run, size, (uint32_t)index, value, out)
                : 0;
        if (n > 0 && n <= KV_PACKED_SIZE_MAX)
            return kv_collection_store(c, out, n);
        if (!list_convert(c))
            return false;
    } else if (!kv_collection_own(c)) {
        return false;
    }
    return how->tree(c->txn->store, c->tree, index, value) == KVSQL_OK;
}

static bool list_remove(struct kv_collection *c, uint64_t index,
                        uint64_t count)
{
    uint8_t out[KV_PACKED_BUFFER];
    uint32_t size;

    if (count == list_length(c))
        return kv_key_remove(c->txn, c->key, false, NULL);
    if (!kv_collection_is_tree(c)) {
        const uint8_t *const run = kv_cell_run(&c->cell, &size);
        return kv_collection_store(
            c, out,
            kv_packed_list_remove(run, size, (uint32_t)index, (uint32_t)count,
                                  out));
    }
    return kv_collection_own(c) &&
           kv_plist_remove(c->txn->store, c->tree, index, count) == KVSQL_OK;
}

/* Open the list for a change; `must` = it has to be there. */
static kvsql_rc list_open(struct kv_collection *c, struct kv_txn *txn,
                          const struct kv_key *key, size_t size, bool must,
                          struct kv_mark *mark, struct kvsql_error *err)
{
    kvsql_rc rc = kv_change_begin(txn, key, size, size > 0, mark, err);

    if (rc == KVSQL_OK)
        rc = kv_collection_open(c, txn, key, KV_LIST, err);
    if (rc != KVSQL_OK)
        return rc;
    *mark = kv_txn_mark(txn);
    if (must && !c->exists)
        return kv_fail(err, KVSQL_NOTFOUND, "no such key");
    return KVSQL_OK;
}

static kvsql_rc list_range(uint64_t index, uint64_t length,
                           struct kvsql_error *err)
{
    return kv_fail(err, KVSQL_RANGE,
                   "index %llu is out of range: the list has %llu elements",
                   (unsigned long long)index, (unsigned long long)length);
}

kvsql_rc kv_push(struct kv_txn *txn, const struct kv_key *key,
                 enum kv_side side, kvsql_slice value, struct kvsql_error *err)
{
    uint64_t length;

    return kv_push_length(txn, key, side, value, &length, err);
}

kvsql_rc kv_push_length(struct kv_txn *txn, const struct kv_key *key,
                        enum kv_side side, kvsql_slice value, uint64_t *length,
                        struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_PUSH,
                             .key = kv_slice_of(key),
                             .a = value,
                             .index = side};
    const struct kv_key v = kv_key_of(value.p, value.size);
    struct kv_collection c;
    struct kv_mark mark;
    const kvsql_rc rc =
        list_open(&c, txn, key, value.size + 1, false, &mark, err);

    if (rc != KVSQL_OK)
        return rc;
    const uint64_t before = list_length(&c);
    const bool ok =
        list_write(&c, &list_insert, side == KV_LEFT ? 0 : before, &v);
    *length = before + 1;
    return kv_change_end(txn, &mark, ok, &op, err);
}

kvsql_rc kv_linsert(struct kv_txn *txn, const struct kv_key *key,
                    uint64_t index, kvsql_slice value, struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_LINSERT,
                             .key = kv_slice_of(key),
                             .a = value,
                             .index = index};
    const struct kv_key v = kv_key_of(value.p, value.size);
    struct kv_collection c;
    struct kv_mark mark;
    const kvsql_rc rc =
        list_open(&c, txn, key, value.size + 1, true, &mark, err);

    if (rc != KVSQL_OK)
        return rc;
    if (index > list_length(&c))
        return list_range(index, list_length(&c), err);
    const bool ok = list_write(&c, &list_insert, index, &v);
    return kv_change_end(txn, &mark, ok, &op, err);
}

kvsql_rc kv_lset(struct kv_txn *txn, const struct kv_key *key, uint64_t index,
                 kvsql_slice value, struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_LSET,
                             .key = kv_slice_of(key),
                             .a = value,
                             .index = index};
    const struct kv_key v = kv_key_of(value.p, value.size);
    struct kv_collection c;
    struct kv_mark mark;
    const kvsql_rc rc =
        list_open(&c, txn, key, value.size + 1, true, &mark, err);

    if (rc != KVSQL_OK)
        return rc;
    if (index >= list_length(&c))
        return list_range(index, list_length(&c), err);
    const bool ok = list_write(&c, &list_set, index, &v);
    return kv_change_end(txn, &mark, ok, &op, err);
}

kvsql_rc kv_lremove(struct kv_txn *txn, const struct kv_key *key,
                    uint64_t index, uint64_t count, struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_LREMOVE,
                             .key = kv_slice_of(key),
                             .index = index,
                             .count = count};
    struct kv_collection c;
    struct kv_mark mark;
    const kvsql_rc rc = list_open(&c, txn, key, 0, true, &mark, err);

    if (rc != KVSQL_OK)
        return rc;
    const uint64_t length = list_length(&c);
    if (index > length || count > length - index)
        return list_range(index, length, err);
    if (count == 0)
        return KVSQL_OK;
    return kv_change_end(txn, &mark, list_remove(&c, index, count), &op, err);
}
