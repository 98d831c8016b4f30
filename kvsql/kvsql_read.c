/* kvsql_read.c - the public C API: views, reading, cursors.
 *
 * Every reading call takes a kvsql_view: a pinned one, which owns a kv_view,
 * or that of a txn, which reads the live tree. A cursor of a txn pins a view
 * of the batch for itself, for the tree below it changes (UN4).
 *
 * Thread: as kvsql.h says. */
#include "kvsql/admin.h"
#include "kvsql/api.h"

#include <string.h>

/* ---- views -------------------------------------------------------------- */

kvsql_rc kvsql_view_pin(kvsql *db, kvsql_view **view, struct kvsql_error *err)
{
    *view = NULL;
    kvsql_rc rc = kv_api_check_thread(db, err);
    if (rc != KVSQL_OK)
        return rc;
    kvsql_view *made = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *made);
    if (made == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for a view");
    rc = kv_pin(db, &made->view, err);
    if (rc != KVSQL_OK) {
        kv_mem_free(KV_MEM_CLIENT, made, sizeof *made);
        return rc;
    }
    kv_view_hold(made->view, "library");
    made->db = db;
    kv_at_view(made->view, &made->at);
    kv_handles_add(db, 1);
    *view = made;
    return KVSQL_OK;
}

/* What the cursor points into goes away: let go of it. */
static void api_cursor_end(kvsql_cursor *cursor)
{
    kvsql_view *view = cursor->view;

    if (cursor->previous != NULL)
        cursor->previous->next = cursor->next;
    else
        view->cursors = cursor->next;
    if (cursor->next != NULL)
        cursor->next->previous = cursor->previous;
    kv_unpin(cursor->own);
    cursor->own = NULL;
    cursor->view = NULL;
    cursor->on_row = false;
}

void kv_api_cursors_end(kvsql_view *view)
{
    while (view->cursors != NULL)
        api_cursor_end(view->cursors);
}

void kvsql_view_release(kvsql_view *view)
{
    if (view == NULL)
        return;
    KV_ASSERT(view->txn == NULL); /* the view of a txn is not given back */
    kv_api_cursors_end(view);
    kvsql_txn *txn = kv_api_txn_here();
    if (txn != NULL) { /* A1: kv_unpin takes the lock */
        view->next = txn->released;
        txn->released = view;
        return;
    }
    if (kv_api_sql_here(view->db)) /* its transaction has the lock */
        kv_unpin_locked(view->view);
    else
        kv_unpin(view->view);
    kv_handles_add(view->db, -1);
    kv_mem_free(KV_MEM_CLIENT, view, sizeof *view);
}

uint64_t kvsql_view_position(const kvsql_view *view)
{
    return view->at.position;
}

uint64_t kvsql_view_count(const kvsql_view *view)
{
    return kv_count_all(&view->at);
}

/* ---- reading one key ---------------------------------------------------- */

/* The value under `key`, which must be of `type`: OK, NOTFOUND, WRONGTYPE. */
kvsql_rc kv_api_find(const struct kv_at *at, const struct kv_key *key,
                     enum kv_type type, struct kv_item *item,
                     struct kvsql_error *err)
{
    if (!kv_get(at, key, item))
        return KVSQL_NOTFOUND;
    if (item->type != type)
        return kv_api_wrong_type(key, item->type, type, err);
    return KVSQL_OK;
}

kvsql_rc kvsql_view_get(kvsql_view *view, kvsql_slice key, kvsql_bytes *value,
                        struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    struct kv_val val;

    *value = (kvsql_bytes){.p = NULL};
    kvsql_rc rc = kv_api_key(key, &name, err);
    if (rc == KVSQL_OK)
        rc = kv_api_find(&view->at, &name, KV_STRING, &item, err);
    if (rc != KVSQL_OK)
        return rc;
    kv_item_string(&item, &val);
    return kv_api_copy(val.p, val.size, value, err);
}

kvsql_rc kvsql_view_type(kvsql_view *view, kvsql_slice key,
                         enum kvsql_type *type, struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    kvsql_rc rc = kv_api_key(key, &name, err);

    if (rc == KVSQL_OK)
        *type = kv_get(&view->at, &name, &item) ? (enum kvsql_type)item.type
                                                : KVSQL_TYPE_NONE;
    return rc;
}

kvsql_rc kvsql_view_ttl(kvsql_view *view, kvsql_slice key, int64_t *ttl_ms,
                        struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    kvsql_rc rc = kv_api_key(key, &name, err);

    *ttl_ms = -2;
    if (rc != KVSQL_OK)
        return rc;
    if (!kv_get(&view->at, &name, &item))
        return KVSQL_NOTFOUND;
    *ttl_ms = -1;
    if (item.expires_at != 0) {
        int64_t left = item.expires_at - kv_at_wall(&view->at);
        *ttl_ms = left < 1 ? 1 : left;
    }
    return KVSQL_OK;
}

kvsql_rc kvsql_view_length(kvsql_view *view, kvsql_slice key, uint64_t *length,
                           struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    kvsql_rc rc = kv_api_key(key, &name, err);

    if (rc == KVSQL_OK)
        *length = kv_get(&view->at, &name, &item) ? kv_item_length(&item) : 0;
    return rc;
}

/* ---- reading one element ------------------------------------------------ */

kvsql_rc kvsql_hash_get(kvsql_view *view, kvsql_slice key, kvsql_slice field,
                        kvsql_bytes *value, struct kvsql_error *err)
{
    struct kv_key name, elem;
    struct kv_item item;
    struct kv_elem found;

    *value = (kvsql_bytes){.p = NULL};
    kvsql_rc rc = kv_api_keys(key, &name, field, &elem, "field", err);
    if (rc == KVSQL_OK)
        rc = kv_api_find(&view->at, &name, KV_HASH, &item, err);
    if (rc != KVSQL_OK)
        return rc;
    if (!kv_elem_find(&view->at, &item, &elem, &found))
        return KVSQL_NOTFOUND;
    return kv_api_copy(found.value.p, found.value.size, value, err);
}

kvsql_rc kvsql_set_contains(kvsql_view *view, kvsql_slice key,
                            kvsql_slice member, bool *contains,
                            struct kvsql_error *err)
{
    struct kv_key name, elem;
    struct kv_item item;
    kvsql_rc rc = kv_api_keys(key, &name, member, &elem, "member", err);

    if (rc == KVSQL_OK)
        rc = kv_api_find(&view->at, &name, KV_SET, &item, err);
    *contains =
        rc == KVSQL_OK && kv_elem_find(&view->at, &item, &elem, NULL);
    return rc == KVSQL_NOTFOUND ? KVSQL_OK : rc;
}

kvsql_rc kvsql_zset_score(kvsql_view *view, kvsql_slice key,
                          kvsql_slice member, double *score,
                          struct kvsql_error *err)
{
    struct kv_key name, elem;
    struct kv_item item;
    struct kv_elem found;
    kvsql_rc rc = kv_api_keys(key, &name, member, &elem, "member", err);

    if (rc == KVSQL_OK)
        rc = kv_api_find(&view->at, &name, KV_ZSET, &item, err);
    if (rc != KVSQL_OK)
        return rc;
    if (!kv_elem_find(&view->at, &item, &elem, &found))
        return KVSQL_NOTFOUND;
    *score = found.score;
    return KVSQL_OK;
}

kvsql_rc kvsql_zset_rank(kvsql_view *view, kvsql_slice key, kvsql_slice member,
                         uint64_t *rank, struct kvsql_error *err)
{
    struct kv_key name, elem;
    struct kv_item item;
    kvsql_rc rc = kv_api_keys(key, &name, member, &elem, "member", err);

    if (rc == KVSQL_OK)
        rc = kv_api_find(&view->at, &name, KV_ZSET, &item, err);
    if (rc != KVSQL_OK)
        return rc;
    return kv_elem_rank(&view->at, &item, &elem, rank) ? KVSQL_OK
                                                       : KVSQL_NOTFOUND;
}

/* Find a list and the element that `index` means (negative: from the right):
 * OK, NOTFOUND, WRONGTYPE, RANGE. */
kvsql_rc kv_api_list_at(const struct kv_at *at, const struct kv_key *key,
                        int64_t index, struct kv_item *item,
                        uint64_t *place, struct kvsql_error *err)
{
    kvsql_rc rc = kv_api_find(at, key, KV_LIST, item, err);

    if (rc != KVSQL_OK)
        return rc;
    uint64_t length = kv_item_length(item);
    /* Unsigned, so that INT64_MIN needs no case of its own. */
    *place = index >= 0 ? (uint64_t)index : length + (uint64_t)index;
    if (*place < length)
        return KVSQL_OK;
    char shown[KV_API_SHOW_SIZE];
    return kv_fail(err, KVSQL_RANGE,
                   "index %lld is outside of list '%s', which has %llu "
                   "elements",
                   (long long)index,
                   kv_text_show(shown, sizeof shown, key->p, key->size),
                   (unsigned long long)length);
}

kvsql_rc kvsql_list_get(kvsql_view *view, kvsql_slice key, int64_t index,
                        kvsql_bytes *value, struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    struct kv_elem found;
    uint64_t place;

    *value = (kvsql_bytes){.p = NULL};
    kvsql_rc rc = kv_api_key(key, &name, err);
    if (rc == KVSQL_OK)
        rc = kv_api_list_at(&view->at, &name, index, &item, &place, err);
    if (rc != KVSQL_OK)
        return rc;
    bool there = kv_elem_at(&view->at, &item, place, &found);
    KV_ASSERT(there); /* place is below the length */
    return kv_api_copy(found.value.p, found.value.size, value, err);
}

/* ---- cursors ------------------------------------------------------------ */

/* A cursor on `view`; *at is what it reads. */
static kvsql_rc api_cursor_new(kvsql_view *view, kvsql_cursor **out,
                               struct kv_at *at, struct kvsql_error *err)
{
    kvsql_cursor *cursor = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *cursor);

    *out = NULL;
    if (cursor == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for a cursor");
    *at = view->at;
    if (view->txn != NULL) {
        kvsql_rc rc = kv_txn_view(view->txn, &cursor->own, err);
        if (rc != KVSQL_OK) {
            kv_mem_free(KV_MEM_CLIENT, cursor, sizeof *cursor);
            return rc;
        }
        kv_at_view(cursor->own, at);
        at->now = view->at.now; /* one `now` for the batch (T3) */
        at->skew = view->at.skew;
    }
    kv_buf_init(&cursor->bounds, KV_MEM_CLIENT, 3 * KVSQL_KEY_MAX);
    cursor->db = view->db;
    cursor->view = view;
    cursor->next = view->cursors;
    if (cursor->next != NULL)
        cursor->next->previous = cursor;
    view->cursors = cursor;
    kv_handles_add(view->db, 1);
    *out = cursor;
    return KVSQL_OK;
}

void kvsql_cursor_close(kvsql_cursor *cursor)
{
    if (cursor == NULL)
        return;
    if (cursor->view != NULL)
        api_cursor_end(cursor);
    kv_buf_fini(&cursor->bounds);
    kv_handles_add(cursor->db, -1);
    kv_mem_free(KV_MEM_CLIENT, cursor, sizeof *cursor);
}

static kvsql_rc api_cursor_check(const kvsql_cursor *cursor, bool over_elems,
                                 struct kvsql_error *err)
{
    if (cursor->over_elems != over_elems)
        return kv_fail(err, KVSQL_INVALID, "the cursor walks over %s",
                       cursor->over_elems ? "elements: use kvsql_elems_next"
                                          : "keys: use kvsql_keys_next");
    if (cursor->view == NULL)
        return kv_fail(err, KVSQL_ABORT,
                       "the view or transaction of the cursor has ended");
    return KVSQL_OK;
}

/* Check the bounds and copy their bytes into the cursor. */
static kvsql_rc api_range_copy(kvsql_cursor *cursor,
                               const struct kvsql_range *range,
                               struct kvsql_error *err)
{
    kvsql_rc rc =
        kv_api_check_slice(range->prefix, KVSQL_KEY_MAX, "prefix", err);

    if (rc == KVSQL_OK && range->has_from)
        rc = kv_api_check_slice(range->from, KVSQL_KEY_MAX, "lower bound", err);
    if (rc == KVSQL_OK && range->has_to)
        rc = kv_api_check_slice(range->to, KVSQL_KEY_MAX, "upper bound", err);
    if (rc != KVSQL_OK)
        return rc;
    cursor->has_from = range->has_from;
    cursor->has_to = range->has_to;
    size_t from_size = range->has_from ? range->from.size : 0;
    size_t to_size = range->has_to ? range->to.size : 0;
    if (!kv_buf_reserve(&cursor->bounds,
                        range->prefix.size + from_size + to_size))
        return kv_buf_result(&cursor->bounds, "the bounds of a cursor", err);
    kv_buf_add(&cursor->bounds, range->prefix.p, range->prefix.size);
    if (from_size > 0)
        kv_buf_add(&cursor->bounds, range->from.p, from_size);
    if (to_size > 0)
        kv_buf_add(&cursor->bounds, range->to.p, to_size);
    const uint8_t *p = cursor->bounds.p;
    cursor->prefix = kv_key_of(p, range->prefix.size);
    p = p == NULL ? NULL : p + range->prefix.size;
    cursor->from = kv_key_of(p, from_size);
    p = p == NULL ? NULL : p + from_size;
    cursor->to = kv_key_of(p, to_size);
    return KVSQL_OK;
}

kvsql_rc kvsql_keys_open(kvsql_view *view, const struct kvsql_range *range,
                         kvsql_cursor **cursor, struct kvsql_error *err)
{
    static const struct kvsql_range all;
    struct kv_at at;
    kvsql_rc rc = api_cursor_new(view, cursor, &at, err);

    if (rc != KVSQL_OK)
        return rc;
    range = range == NULL ? &all : range;
    kv_keys_init(&(*cursor)->keys, &at,
                 range->type == KVSQL_TYPE_NONE ? 0
                                                : 1u << (unsigned)range->type);
    rc = api_range_copy(*cursor, range, err);
    if (rc != KVSQL_OK) {
        kvsql_cursor_close(*cursor);
        *cursor = NULL;
    }
    return rc;
}

/* To the first key of the current class that the bounds may allow. */
static bool api_keys_seek(kvsql_cursor *cursor)
{
    struct kv_key start = cursor->prefix;

    start.cls = cursor->phase; /* text keys and blob keys may share a prefix */
    if (cursor->has_from) {
        if (cursor->from.cls > cursor->phase)
            return false;
        if (kv_key_compare(&cursor->from, &start) > 0)
            start = cursor->from;
    }
    return kv_keys_seek(&cursor->keys, &start, false);
}

static bool api_keys_inside(const kvsql_cursor *cursor)
{
    const struct kv_key *key = &cursor->keys.key;
    const struct kv_key *prefix = &cursor->prefix;

    return key->cls == cursor->phase && key->size >= prefix->size &&
           memcmp(key->p, prefix->p, prefix->size) == 0 &&
           (!cursor->has_to || kv_key_compare(key, &cursor->to) < 0);
}

static bool api_keys_step(kvsql_cursor *cursor)
{
    bool there = false;

    if (cursor->started && cursor->phase <= KV_BLOB)
        there = kv_keys_next(&cursor->keys);
    else if (!cursor->started)
        there = api_keys_seek(cursor);
    cursor->started = true;
    while (!(there && api_keys_inside(cursor))) {
        if (cursor->phase >= KV_BLOB) {
            cursor->phase = KV_BLOB + 1; /* the end, and it stays so */
            return false;
        }
        cursor->phase++;
        there = api_keys_seek(cursor);
    }
    return true;
}

kvsql_rc kvsql_keys_next(kvsql_cursor *cursor, struct kvsql_key *key,
                         struct kvsql_error *err)
{
    kvsql_rc rc = api_cursor_check(cursor, false, err);

    if (rc != KVSQL_OK)
        return rc;
    cursor->on_row = api_keys_step(cursor);
    if (!cursor->on_row)
        return KVSQL_NOTFOUND;
    const struct kv_keys *keys = &cursor->keys;
    if (key != NULL)
        *key = (struct kvsql_key){.key = {keys->key.p, keys->key.size},
                                  .type = (enum kvsql_type)keys->item.type,
                                  .length = kv_item_length(&keys->item),
                                  .expires_at = keys->item.expires_at};
    return KVSQL_OK;
}

kvsql_rc kvsql_keys_value(kvsql_cursor *cursor, kvsql_slice *value,
                          struct kvsql_error *err)
{
    kvsql_rc rc = api_cursor_check(cursor, false, err);

    if (rc != KVSQL_OK)
        return rc;
    if (!cursor->on_row)
        return KVSQL_NOTFOUND;
    const struct kv_keys *keys = &cursor->keys;
    if (keys->item.type != KV_STRING)
        return kv_api_wrong_type(&keys->key, keys->item.type, KV_STRING, err);
    kv_item_string(&keys->item, &cursor->value);
    *value = (kvsql_slice){cursor->value.p, cursor->value.size};
    return KVSQL_OK;
}

kvsql_rc kvsql_elems_open(kvsql_view *view, kvsql_slice key, bool by_score,
                          kvsql_cursor **cursor, struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_at at;
    struct kv_item item;

    *cursor = NULL;
    kvsql_rc rc = kv_api_key(key, &name, err);
    if (rc == KVSQL_OK)
        rc = api_cursor_new(view, cursor, &at, err);
    if (rc != KVSQL_OK)
        return rc;
    if (!kv_get(&at, &name, &item))
        rc = KVSQL_NOTFOUND;
    else if (by_score && item.type != KV_ZSET)
        rc = kv_api_wrong_type(&name, item.type, KV_ZSET, err);
    else if (item.type == KV_STRING)
        rc = kv_api_wrong_type(&name, KV_STRING, KV_HASH, err);
    if (rc != KVSQL_OK) {
        kvsql_cursor_close(*cursor);
        *cursor = NULL;
        return rc;
    }
    (*cursor)->over_elems = true;
    kv_elems_init(&(*cursor)->elems, &at, &item,
                  by_score                 ? KV_ELEMS_SCORE
                  : item.type == KV_LIST ? KV_ELEMS_INDEX
                                           : KV_ELEMS_KEY);
    return KVSQL_OK;
}

kvsql_rc kvsql_elems_next(kvsql_cursor *cursor, struct kvsql_elem *elem,
                          struct kvsql_error *err)
{
    kvsql_rc rc = api_cursor_check(cursor, true, err);

    if (rc != KVSQL_OK)
        return rc;
    if (!cursor->started)
        cursor->on_row = kv_elems_first(&cursor->elems);
    else if (cursor->on_row)
        cursor->on_row = kv_elems_next(&cursor->elems);
    cursor->started = true;
    if (!cursor->on_row)
        return KVSQL_NOTFOUND;
    if (elem == NULL)
        return KVSQL_OK;
    const struct kv_elem *at = &cursor->elems.elem;
    enum kv_type type = cursor->elems.item.type;
    *elem = (struct kvsql_elem){.expires_at = 0};
    if (type != KV_LIST)
        elem->name = (kvsql_slice){at->key.p, at->key.size};
    if (type == KV_LIST || type == KV_HASH)
        elem->value = (kvsql_slice){at->value.p, at->value.size};
    if (type == KV_LIST)
        elem->index = at->index;
    else if (type == KV_ZSET)
        elem->score = at->score;
    else if (type == KV_HASH)
        elem->expires_at = at->expires_at;
    return KVSQL_OK;
}
