/* defs.c - definitions: named texts that belong to the store and not to its
 * keys, such as the tables that SQL declares over hashes (sql.md KH7).
 *
 * All of them are one block that hangs in the root, so views, undo and rollback
 * know them as they know keys; a change writes it anew. They are few and small,
 * and a flush of the keys leaves them.
 *
 *   block: { varint size, name | varint size, text | varint size, view }...
 *          names ascending, no two the same
 *
 * The version is a number that no other content of the root has had, nor one
 * that was taken back.
 *
 * Thread: reading any, of a pinned view; changing the holder of the lock. */
#include <string.h>

#include "kvsql/base/num.h"
#include "kvsql/store_private.h"

static void defs_put(struct kv_buf *buf, const struct kv_def *def)
{
    kv_buf_varint(buf, def->name.size);
    kv_buf_add(buf, def->name.p, def->name.size);
    kv_buf_varint(buf, def->text.size);
    kv_buf_add(buf, def->text.p, def->text.size);
    kv_buf_varint(buf, def->view.size);
    kv_buf_add(buf, def->view.p, def->view.size);
}

static kvsql_slice defs_get(const uint8_t **p, const uint8_t *end)
{
    uint64_t size = 0;
    kvsql_slice out;

    *p += kv_varint_get(*p, end, &size);
    KV_ASSERT(size <= (uint64_t)(end - *p)); /* written by defs_put */
    out = (kvsql_slice){.p = *p, .size = (size_t)size};
    *p += size;
    return out;
}

static bool defs_next(const struct kv_blob *blob, size_t *place,
                      struct kv_def *def)
{
    if (blob == NULL || *place >= blob->len)
        return false;
    const uint8_t *p = blob->d + *place;
    const uint8_t *const end = blob->d + blob->len;
    def->name = defs_get(&p, end);
    def->text = defs_get(&p, end);
    def->view = defs_get(&p, end);
    *place = (size_t)(p - blob->d);
    return true;
}

bool kv_def_next(const struct kv_at *at, size_t *place, struct kv_def *def)
{
    return defs_next(at->root->defs, place, def);
}

uint64_t kv_defs_version(const struct kv_at *at)
{
    return at->root->defs_version;
}

uint64_t kv_defs_hint(kvsql *db)
{
    return atomic_load_explicit(&kv_db_store(db)->defs_hint,
                                memory_order_acquire);
}

static int defs_compare(kvsql_slice a, kvsql_slice b)
{
    const size_t size = a.size < b.size ? a.size : b.size;
    const int order = memcmp(a.p, b.p, size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* All definitions, with `def` in its place, or without one of its name. */
static void defs_merge(const struct kv_store *store, const struct kv_def *def,
                       struct kv_buf *out)
{
    struct kv_def old;
    size_t place = 0;
    bool done = def->text.size == 0;

    while (defs_next(store->live.defs, &place, &old)) {
        const int order = defs_compare(old.name, def->name);
        if (order >= 0 && !done) {
            defs_put(out, def);
            done = true;
        }
        if (order != 0)
            defs_put(out, &old);
    }
    if (!done)
        defs_put(out, def);
}

/* The block becomes `content`; an empty one is none. */
static bool defs_replace(struct kv_store *store, const struct kv_buf *content)
{
    struct kv_blob *const old = store->live.defs;
    struct kv_blob *fresh = NULL;

    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
    if (content->size > 0) {
        fresh = kv_blob_new(store, (uint32_t)content->size);
        if (fresh == NULL)
            return false;
        memcpy(fresh->d, content->p, content->size);
    }
    kv_edit_ptr(store, &store->live.defs, fresh);
    kv_edit(store, &store->live.defs_version, sizeof(uint64_t));
    store->live.defs_version = ++store->defs_last;
    if (old != NULL)
        kv_retire(store, old);
    return true;
}

kvsql_rc kv_define(struct kv_txn *txn, const struct kv_def *def,
                   struct kvsql_error *err)
{
    const struct kv_op op = {.kind = KV_OP_DEFINE, .key = def->name,
                             .a = def->text, .b = def->view};
    struct kv_buf content;
    struct kv_mark mark;
    kvsql_rc rc = kv_change_begin(txn, NULL, 0, def->text.size > 0, &mark, err);

    if (rc != KVSQL_OK)
        return rc;
    kv_buf_init(&content, KV_MEM_MISC, KV_DEFS_SIZE_MAX);
    defs_merge(txn->store, def, &content);
    if (content.too_big)
        rc = kv_fail(err, KVSQL_TOOBIG,
                     "the definitions of a store are at most %u bytes",
                     KV_DEFS_SIZE_MAX);
    else
        rc = kv_change_end(txn, &mark,
                           !content.failed &&
                               kv_index_undefine(txn->store, def->name) &&
                               defs_replace(txn->store, &content) &&
                               kv_index_define(txn->store, def->name),
                           &op, err);
    kv_buf_fini(&content);
    return rc;
}
