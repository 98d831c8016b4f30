/* type_string.c - whole strings, partial writes, and what every type shares:
 * delete, expiry, rename, flush.
 *
 * A blob that no view sees and that has room is written in place; else it is
 * copied whole (MA5).
 *
 * Thread: the holder of the store lock. */
#include <string.h>

#include "kvsql/base/num.h"
#include "kvsql/collection.h"

#define PATCH_LOG_MAX 65535     /* bytes of one undo record */
#define PATCH_SLACK_MAX (1u << 20)
#define PATCH_SCAN_MAX 1024     /* EN5 */

kvsql_rc kv_del_as(struct kv_txn *txn, const struct kv_key *key,
                   enum kv_type type, bool *existed, struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_DEL, .key = kv_slice_of(key)};
    struct kv_mark mark;
    struct kv_cell cell;
    bool exists;
    kvsql_rc rc = kv_change_begin(txn, key, 0, false, &mark, err);

    if (rc == KVSQL_OK)
        rc = kv_change_find(txn, key, type, &exists, &cell, err);
    if (rc != KVSQL_OK)
        return rc;
    if (existed != NULL)
        *existed = exists;
    if (!exists)
        return KVSQL_OK;
    mark = kv_txn_mark(txn);
    return kv_change_end(txn, &mark, kv_key_remove_found(txn, key), &op, err);
}

kvsql_rc kv_del(struct kv_txn *txn, const struct kv_key *key, bool *existed,
                struct kvsql_error *err)
{
    return kv_del_as(txn, key, KV_NONE, existed, err);
}

/* A time that has come already means "delete", but not at replay (T5). */
static bool string_is_past(const struct kv_txn *txn, int64_t expires_at)
{
    return !txn->replay && expires_at != 0 &&
           kv_time_keep(expires_at, txn->skew) <= txn->now;
}

/* `found`: kv_txn_get has just found it, and its path still leads there. */
KV_INLINE kvsql_rc string_set(struct kv_txn *txn, const struct kv_key *key,
                              kvsql_slice value, int64_t expires_at, bool found,
                              struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_SET,
                             .key = kv_slice_of(key),
                             .a = value,
                             .time = expires_at};
    const uint64_t seen = found ? kv_undo_mark(txn->store) : 0;
    struct kv_mark mark;
    struct kv_cell cell;

    if (string_is_past(txn, expires_at))
        return kv_del(txn, key, NULL, err);
    const kvsql_rc rc =
        kv_change_begin(txn, key, value.size, true, &mark, err);
    if (rc != KVSQL_OK)
        return rc;
    if (found && mark.undo != seen) /* keys went to make room */
        return kv_set(txn, key, value, expires_at, err);
    const struct kv_key bytes = kv_key_of(value.p, value.size);
    bool ok = (found || kv_index_gone(txn->store, key)) &&
              kv_cell_value(txn->store, &bytes, &cell);
    if (ok) {
        cell.type = KV_STRING;
        cell.exp = kv_time_keep(expires_at, txn->skew);
        ok = found ? kv_key_own_found(txn, key) &&
                         kv_key_put_at(txn, key, &txn->path, &cell, false)
                   : kv_key_put(txn, key, &cell, false);
    }
    return kv_change_end(txn, &mark, ok, &op, err);
}

kvsql_rc kv_set(struct kv_txn *txn, const struct kv_key *key, kvsql_slice value,
                int64_t expires_at, struct kvsql_error *err)
{
    return string_set(txn, key, value, expires_at, false, err);
}

kvsql_rc kv_set_found(struct kv_txn *txn, const struct kv_key *key,
                      kvsql_slice value, int64_t expires_at,
                      struct kvsql_error *err)
{
    return string_set(txn, key, value, expires_at, true, err);
}

/* One search, but for a key whose time has come: that one is replaced, with the
 * op of SET alone. */
kvsql_rc kv_set_new(struct kv_txn *txn, const struct kv_key *key,
                    kvsql_slice value, int64_t expires_at, bool *existed,
                    struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_SET,
                             .key = kv_slice_of(key),
                             .a = value,
                             .time = expires_at};
    struct kv_store *const store = txn->store;
    struct kv_path *path;
    struct kv_mark mark;
    struct kv_cell cell;
    const kvsql_rc rc =
        kv_change_new(txn, key, value.size, existed, &path, &mark, err);

    if (rc != KVSQL_OK || *existed)
        return rc;
    if (path == NULL || string_is_past(txn, expires_at))
        return kv_set(txn, key, value, expires_at, err);
    const struct kv_key bytes = kv_key_of(value.p, value.size);
    bool ok = kv_cell_value(store, &bytes, &cell);
    if (ok) {
        cell.type = KV_STRING;
        cell.exp = kv_time_keep(expires_at, txn->skew);
        ok = kv_tree_path_own(store, &store->live.keys[key->cls], path) &&
             kv_key_put_at(txn, key, path, &cell, false);
    }
    return kv_change_end(txn, &mark, ok, &op, err);
}

kvsql_rc kv_set_filled(struct kv_txn *txn, const struct kv_key *key,
                       size_t size, struct kvsql_error *err,
                       void (*fill)(void *arg, uint8_t *p), void *arg)
{
    uint8_t few[KV_INLINE_MAX];
    struct kv_op op = {.kind = KV_OP_SET, .key = kv_slice_of(key)};
    struct kv_mark mark;

    KV_ASSERT(size > 0);
    if (size <= sizeof(few)) {
        fill(arg, few);
        return kv_set(txn, key, (kvsql_slice){few, size}, 0, err);
    }
    const kvsql_rc rc = kv_change_begin(txn, key, size, true, &mark, err);
    if (rc != KVSQL_OK)
        return rc;
    struct kv_blob *const blob =
        kv_room(txn->store, 0, 1) ? kv_blob_new(txn->store, (uint32_t)size)
                                  : NULL;
    bool ok = blob != NULL;
    if (ok) {
        fill(arg, blob->d);
        const struct kv_cell cell = {.form = KV_FORM_BLOB,
                                     .type = KV_STRING,
                                     .cls = kv_class_of(blob->d, size),
                                     .ptr = blob};
        op.a = (kvsql_slice){blob->d, size};
        ok = kv_index_gone(txn->store, key) &&
             kv_key_put(txn, key, &cell, false);
    }
    return kv_change_end(txn, &mark, ok, &op, err);
}

/* One search: the sum is mostly as long as the number was and goes where that
 * lies. */
kvsql_rc kv_add(struct kv_txn *txn, const struct kv_key *key, int64_t step,
                int64_t *sum, struct kvsql_error *err)
{
    struct kv_op op = {.kind = KV_OP_SET, .key = kv_slice_of(key)};
    char text[KV_INT_TEXT_MAX];
    struct kv_collection c;
    struct kv_mark mark;
    struct kv_cell cell;
    int64_t number = 0;
    kvsql_rc rc = kv_change_begin(txn, key, 0, true, &mark, err);

    if (rc == KVSQL_OK)
        rc = kv_collection_open(&c, txn, key, KV_STRING, err);
    if (rc != KVSQL_OK)
        return rc;
    if (c.exists && !kv_cell_number(&c.cell, &number))
        return kv_fail(err, KVSQL_NOTINT,
                       "value is not an integer or out of range");
    if (__builtin_add_overflow(number, step, &number))
        return kv_fail(err, KVSQL_OVERFLOW,
                       "increment or decrement would overflow");
    mark = kv_txn_mark(txn);
    kv_cell_int(&cell, number);
    cell.type = KV_STRING;
    cell.exp = c.exists ? c.cell.exp : 0;
    op.a = (kvsql_slice){text, kv_num_format_int(text, number)};
    op.time = kv_time_show(cell.exp, txn->skew);
    rc = kv_change_end(txn, &mark,
                       kv_key_put_at(txn, key, c.owned ? &c.path : NULL, &cell,
                                     false),
                       &op, err);
    if (rc == KVSQL_OK)
        *sum = number;
    return rc;
}

/* ---- partial writes ----------------------------------------------------------- */

/* Class of a string after bytes were written into it (EN5). */
static uint8_t patch_class(uint8_t cls, const struct kv_blob *blob,
                           bool append, const struct kv_key *bytes)
{
    if (append && cls == KV_TEXT && bytes->cls == KV_TEXT)
        return KV_TEXT;
    if (blob->len <= PATCH_SCAN_MAX)
        return (uint8_t)kv_class_of(blob->d, blob->len);
    return KV_CLASS_UNKNOWN;
}

/* Write into an owned blob with room, announced. */
static void patch_in_place(struct kv_store *store, struct kv_blob *blob,
                           uint64_t offset, const struct kv_key *bytes)
{
    const uint64_t end = offset + bytes->size;
    const uint64_t old_end = end < blob->len ? end : blob->len + UINT64_C(1);

    if (offset < old_end)
        kv_edit(store, blob->d + offset, (size_t)(old_end - offset));
    if (end > blob->len) {
        if (offset > blob->len) {
            kv_edit(store, blob->d + blob->len, 1);
            memset(blob->d + blob->len, 0, (size_t)(offset - blob->len));
        }
        kv_edit(store, &blob->len, sizeof(blob->len));
        blob->len = (uint32_t)end;
        blob->d[end] = 0;
    }
    memcpy(blob->d + offset, bytes->p, bytes->size);
}

/* A new blob with the old content and the bytes; growing strings get slack. */
static struct kv_blob *patch_copy(struct kv_store *store,
                                  const struct kv_val *old, uint64_t offset,
                                  const struct kv_key *bytes)
{
    const uint64_t end = offset + bytes->size;
    const uint32_t size = end > old->size ? (uint32_t)end : old->size;
    const uint32_t slack = size == old->size       ? 0
                           : size < PATCH_SLACK_MAX ? size / 4
                                                    : PATCH_SLACK_MAX / 4;
    struct kv_blob *const blob = kv_blob_new(store, size + slack);

    if (blob == NULL)
        return NULL;
    blob->len = size;
    memcpy(blob->d, old->p, old->size);
    if (offset > old->size)
        memset(blob->d + old->size, 0, (size_t)(offset - old->size));
    memcpy(blob->d + offset, bytes->p, bytes->size);
    blob->d[size] = 0;
    return blob;
}

static bool patch_blob(struct kv_txn *txn, const struct kv_key *key,
                       struct kv_cell *cell, bool exists, uint64_t offset,
                       const struct kv_key *bytes)
{
    struct kv_store *const store = txn->store;
    struct kv_blob *blob = exists && cell->form == KV_FORM_BLOB ? cell->ptr
                                                                : NULL;
    const uint8_t cls = exists ? cell->cls : KV_TEXT;
    const uint64_t end = offset + bytes->size;
    struct kv_val old;

    if (!kv_room(store, KV_ROOM_STEP + PATCH_LOG_MAX, KV_ROOM_BLOCKS))
        return false;
    if (blob != NULL && kv_owned(store, blob) && end < blob->cap &&
        bytes->size < PATCH_LOG_MAX) {
        const bool append = offset == blob->len;
        patch_in_place(store, blob, offset, bytes);
        cell->cls = patch_class(cls, blob, append, bytes);
        return kv_key_put(txn, key, cell, true);
    }
    if (exists)
        kv_cell_read(cell, &old);
    else
        kv_val_bytes(&old, (const uint8_t *)"", 0, KV_TEXT, true);
    blob = patch_copy(store, &old, offset, bytes);
    if (blob == NULL)
        return false;
    struct kv_cell fresh = {.form = KV_FORM_BLOB,
                            .type = KV_STRING,
                            .ptr = blob,
                            .exp = exists ? cell->exp : 0};
    fresh.cls = patch_class(cls, blob, offset == old.size, bytes);
    return kv_key_put(txn, key, &fresh, false);
}

/* Short results become what SET would make of them. */
static bool patch_short(struct kv_txn *txn, const struct kv_key *key,
                        const struct kv_cell *cell, bool exists,
                        uint64_t offset, const struct kv_key *bytes)
{
    uint8_t buffer[KV_INLINE_MAX] = {0};
    struct kv_val old = {.size = 0};
    struct kv_cell fresh;

    if (exists) {
        kv_cell_read(cell, &old);
        memcpy(buffer, old.p, old.size);
    }
    memcpy(buffer + offset, bytes->p, bytes->size);
    const uint64_t end = offset + bytes->size;
    const struct kv_key whole =
        kv_key_of(buffer, end > old.size ? (size_t)end : old.size);
    if (!kv_cell_value(txn->store, &whole, &fresh))
        return false;
    fresh.type = KV_STRING;
    fresh.exp = exists ? cell->exp : 0;
    return kv_key_put(txn, key, &fresh, false);
}

kvsql_rc kv_patch(struct kv_txn *txn, const struct kv_key *key, uint64_t offset,
                  kvsql_slice bytes, struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_PATCH,
                             .key = kv_slice_of(key),
                             .a = bytes,
                             .index = offset};
    struct kv_mark mark;
    struct kv_cell cell;
    bool exists;

    if (offset > KVSQL_VALUE_MAX)
        offset = KVSQL_VALUE_MAX + UINT64_C(1); /* refused by the size */
    kvsql_rc rc = kv_change_begin(txn, key, (size_t)offset + bytes.size, true,
                                  &mark, err);
    if (rc == KVSQL_OK)
        rc = kv_change_find(txn, key, KV_STRING, &exists, &cell, err);
    if (rc != KVSQL_OK)
        return rc;
    if (bytes.size == 0)
        return KVSQL_OK;
    mark = kv_txn_mark(txn);
    const struct kv_key b = kv_key_of(bytes.p, bytes.size);
    const bool is_short =
        offset + bytes.size <= KV_INLINE_MAX &&
        (!exists || cell.form == KV_FORM_INT ||
         (cell.form == KV_FORM_BYTES && cell.size <= KV_INLINE_MAX));
    const bool ok =
        is_short ? patch_short(txn, key, &cell, exists, offset, &b)
                 : patch_blob(txn, key, &cell, exists, offset, &b);
    return kv_change_end(txn, &mark, ok, &op, err);
}

/* ---- any type --------------------------------------------------------------------- */

kvsql_rc kv_expire(struct kv_txn *txn, const struct kv_key *key,
                   int64_t expires_at, struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_EXPIRE,
                             .key = kv_slice_of(key),
                             .time = expires_at};
    struct kv_mark mark;
    struct kv_cell cell;
    bool exists;
    kvsql_rc rc = kv_change_begin(txn, key, 0, false, &mark, err);

    if (rc == KVSQL_OK)
        rc = kv_change_find(txn, key, KV_NONE, &exists, &cell, err);
    if (rc != KVSQL_OK)
        return rc;
    if (!exists)
        return kv_fail(err, KVSQL_NOTFOUND, "no such key");
    if (string_is_past(txn, expires_at))
        return kv_del(txn, key, NULL, err);
    cell.exp = kv_time_keep(expires_at, txn->skew);
    return kv_change_end(txn, &mark, kv_key_put(txn, key, &cell, true), &op,
                         err);
}

kvsql_rc kv_rename(struct kv_txn *txn, const struct kv_key *from,
                   const struct kv_key *to, struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_RENAME,
                             .key = kv_slice_of(from),
                             .a = kv_slice_of(to)};
    uint8_t inline_bytes[KV_INLINE_MAX];
    struct kv_mark mark;
    struct kv_cell cell;
    bool exists;
    kvsql_rc rc = kv_change_begin(txn, from, 0, false, &mark, err);

    if (rc == KVSQL_OK)
        rc = kv_change_begin(txn, to, 0, false, &mark, err);
    if (rc == KVSQL_OK)
        rc = kv_change_find(txn, from, KV_NONE, &exists, &cell, err);
    if (rc != KVSQL_OK)
        return rc;
    if (!exists)
        return kv_fail(err, KVSQL_NOTFOUND, "no such key");
    if (kv_key_compare(from, to) == 0)
        return KVSQL_OK;
    if (!entry_has_ptr(cell.form) && cell.size > 0) {
        memcpy(inline_bytes, cell.payload, cell.size);
        cell.payload = inline_bytes;
    }
    const bool ok = kv_key_remove(txn, from, true, NULL) &&
                    kv_index_gone(txn->store, to) &&
                    kv_index_came(txn->store, to, &cell) &&
                    kv_key_put(txn, to, &cell, false);
    return kv_change_end(txn, &mark, ok, &op, err);
}

/* The whole keyspace and its indexes become one removed tree (MA2); the
 * definitions stay, and so do the answers. */
static void flush_take(struct kv_store *store, struct kv_tree *tree)
{
    tree->bytes = store->bytes_live - sizeof(*tree);
    if (store->live.defs != NULL)
        tree->bytes -= kv_block_size(store->live.defs);
    if (store->live.answers != NULL)
        tree->bytes -=
            sizeof(*store->live.answers) + store->live.answers->bytes;
    for (unsigned cls = 0; cls < 2; cls++) {
        tree->root[cls] = store->live.keys[cls];
        kv_edit_ptr(store, &store->live.keys[cls], NULL);
        kv_edit(store, &store->live.count[cls], sizeof(uint64_t));
        store->live.count[cls] = 0;
    }
    tree->root[2] = store->live.indexes;
    kv_edit_ptr(store, &store->live.indexes, NULL);
    kv_retire_tree(store, tree);
}

kvsql_rc kv_flush(struct kv_txn *txn, struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_FLUSH};
    struct kv_store *const store = txn->store;
    struct kv_mark mark;
    const kvsql_rc rc = kv_change_begin(txn, NULL, 0, false, &mark, err);
    bool ok = true;

    if (rc != KVSQL_OK)
        return rc;
    if (store->live.keys[0] != NULL || store->live.keys[1] != NULL) {
        ok = kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS);
        struct kv_tree *const tree = ok ? kv_tree_block_new(store) : NULL;
        ok = tree != NULL;
        if (ok)
            flush_take(store, tree);
        ok = ok && kv_index_flush(store);
    }
    uint64_t *const expiring = &store->tally.with_expiry;
    if (ok && *expiring != 0) {
        kv_edit(store, expiring, sizeof(*expiring));
        *expiring = 0;
    }
    return kv_change_end(txn, &mark, ok, &op, err);
}
