/* kvsql.c - the public C API, a thin layer over inside.h.
 *
 * What this file adds to inside.h is what a stranger needs and our own rooms
 * do not: arguments are checked before they are used, values are copied out,
 * handles are counted, and a thread cannot lock itself out.
 *
 *   reading   every reading call takes a kvsql_view. A pinned one owns a
 *             kv_view; the one inside a txn reads the live tree.
 *   writing   every change takes a kvsql_txn. The one-call forms build a
 *             kvsql_txn on the stack and use the same functions.
 *   cursors   hang on their view in a list. A view that ends, or a txn that is
 *             restored, ends them: what they point into is gone. A cursor of a
 *             txn pins a view of the batch, for the tree below changes (UN4).
 *
 * Always true:
 *   A1  api_txn_here is the txn that this thread has open, or NULL; no call
 *       that could wait for the store lock is made while it is set.
 *   A2  kv_db_handles counts the views, txns and cursors that strangers hold,
 *       so kvsql_close can refuse.
 *   A3  an answer leaves only behind its gate (D3), also a negative one: a
 *       one-call form commits even when it found nothing.
 *
 * Thread: as kvsql.h says. */
#include "kvsql/kvsql.h"

#include <string.h>

#include "kvsql/base/buf.h"
#include "kvsql/base/error.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"
#include "kvsql/inside.h"

#define API_LOCK_TIMEOUT_MS 5000 /* of the one-call forms */
#define API_COPY_MAX 16384       /* bytes copied under the store lock (VW7) */
#define API_SHOW_SIZE 64         /* a key in a message */

struct kvsql_view {
    kvsql *db;
    struct kv_view *view; /* NULL: the view of a txn */
    struct kv_txn *txn;   /* NULL: a pinned view */
    struct kv_at at;
    kvsql_cursor *cursors;
    kvsql_view *next; /* in `released` of a txn */
};

struct kvsql_txn {
    struct kvsql_view reader;
    struct kv_txn *txn;
    kvsql_view *released; /* pinned views that end with the txn (A1) */
};

struct kvsql_cursor {
    kvsql *db;
    kvsql_view *view; /* NULL: it has ended */
    kvsql_cursor *next, *previous;
    struct kv_view *own; /* pinned for a cursor of a txn */
    bool over_elems, started, on_row;
    /* keys */
    struct kv_keys keys;
    struct kv_buf bounds; /* bytes of prefix, from, to */
    struct kv_key prefix, from, to;
    bool has_from, has_to;
    uint8_t phase; /* class that is walked: KV_TEXT, KV_BLOB, then the end */
    struct kv_val value;
    /* elements */
    struct kv_elems elems;
};

_Static_assert((int)KVSQL_TYPE_ZSET == (int)KV_ZSET &&
                   (int)KVSQL_TYPE_SET == (int)KV_SET &&
                   (int)KVSQL_TYPE_LIST == (int)KV_LIST &&
                   (int)KVSQL_TYPE_HASH == (int)KV_HASH &&
                   (int)KVSQL_TYPE_STRING == (int)KV_STRING,
               "the public types have the numbers of enum kv_type");
_Static_assert(sizeof(kvsql_savepoint) == sizeof(struct kv_mark),
               "a savepoint carries a mark");

static _Thread_local kvsql_txn *api_txn_here; /* A1 */

/* ---- arguments, results, copies --------------------------------------------- */

static void api_handles_add(kvsql *db, int64_t change)
{
    (void)__atomic_add_fetch(kv_db_handles(db), (uint64_t)change,
                             __ATOMIC_ACQ_REL);
}

/* A1: refuse where waiting would never end. */
static kvsql_rc api_check_thread(struct kvsql_error *err)
{
    if (api_txn_here == NULL)
        return KVSQL_OK;
    return kv_fail(err, KVSQL_BUSY,
                   "this thread has a transaction open: work through it, or "
                   "end it first");
}

static kvsql_rc api_check_slice(kvsql_slice slice, size_t size_max,
                                const char *what, struct kvsql_error *err)
{
    if (slice.p == NULL && slice.size > 0)
        return kv_fail(err, KVSQL_INVALID,
                       "the %s is a NULL pointer with a size of %zu", what,
                       slice.size);
    if (slice.size > size_max)
        return kv_fail(err, KVSQL_TOOBIG,
                       "the %s has %zu bytes, the limit is %zu", what,
                       slice.size, size_max);
    return KVSQL_OK;
}

static kvsql_rc api_key(kvsql_slice slice, struct kv_key *key,
                        struct kvsql_error *err)
{
    kvsql_rc rc = api_check_slice(slice, KVSQL_KEY_MAX, "key", err);

    if (rc == KVSQL_OK)
        *key = kv_key_of(slice.p, slice.size);
    return rc;
}

/* A key with a field or member of it. */
static kvsql_rc api_keys(kvsql_slice slice, struct kv_key *key,
                         kvsql_slice elem_slice, struct kv_key *elem,
                         const char *what, struct kvsql_error *err)
{
    kvsql_rc rc = api_key(slice, key, err);

    if (rc == KVSQL_OK)
        rc = api_check_slice(elem_slice, KVSQL_VALUE_MAX, what, err);
    if (rc == KVSQL_OK)
        *elem = kv_key_of(elem_slice.p, elem_slice.size);
    return rc;
}

static kvsql_rc api_wrong_type(const struct kv_key *key, enum kv_type is,
                               enum kv_type wanted, struct kvsql_error *err)
{
    char shown[API_SHOW_SIZE];

    return kv_fail(err, KVSQL_WRONGTYPE, "key '%s' holds a %s, not a %s",
                   kv_text_show(shown, sizeof shown, key->p, key->size),
                   kv_type_name(is), kv_type_name(wanted));
}

/* Wall time of `ttl_ms` from now; 0 stays 0 (no expiry). */
static kvsql_rc api_deadline(const struct kv_at *at, uint64_t ttl_ms,
                             int64_t *expires_at, struct kvsql_error *err)
{
    int64_t now = kv_at_wall(at);

    *expires_at = 0;
    if (ttl_ms == 0)
        return KVSQL_OK;
    if (ttl_ms > INT64_MAX ||
        __builtin_add_overflow(now, (int64_t)ttl_ms, expires_at))
        return kv_fail(err, KVSQL_OVERFLOW,
                       "a time to live of %llu ms reaches beyond the end of "
                       "time",
                       (unsigned long long)ttl_ms);
    return KVSQL_OK;
}

static kvsql_rc api_copy(const uint8_t *p, size_t size, kvsql_bytes *out,
                         struct kvsql_error *err)
{
    void *copy = kv_mem_dup(KV_MEM_CLIENT, p, size);

    if (copy == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory to copy %zu bytes", size);
    *out = (kvsql_bytes){.p = copy, .size = size};
    return KVSQL_OK;
}

void kvsql_bytes_free(kvsql_bytes *bytes)
{
    if (bytes == NULL || bytes->p == NULL)
        return;
    kv_mem_free(KV_MEM_CLIENT, bytes->p, bytes->size + 1);
    *bytes = (kvsql_bytes){.p = NULL};
}

/* ---- opening and closing ------------------------------------------------------- */

kvsql_rc kvsql_open(const char *dir, const struct kvsql_options *options,
                    kvsql **db, struct kvsql_error *err)
{
    static const struct kvsql_options defaults;

    *db = NULL;
    kvsql_rc rc = api_check_thread(err);
    if (rc != KVSQL_OK)
        return rc;
    return kv_open_os(dir == NULL ? "" : dir,
                      options == NULL ? &defaults : options, kv_os_real(),
                      NULL, NULL, db, err);
}

kvsql_rc kvsql_close(kvsql *db, struct kvsql_error *err)
{
    if (db == NULL)
        return KVSQL_OK;
    uint64_t open = __atomic_load_n(kv_db_handles(db), __ATOMIC_ACQUIRE);
    if (open > 0) /* A2 */
        return kv_fail(err, KVSQL_BUSY,
                       "cannot close the store: %llu views, transactions and "
                       "cursors are still open",
                       (unsigned long long)open);
    return kv_close(db, err);
}

const char *kvsql_version(void)
{
    return KVSQL_VERSION;
}

unsigned kvsql_version_number(void)
{
    return KVSQL_VERSION_NUMBER;
}

const char *kvsql_error_name(kvsql_rc rc)
{
    return kv_error_row(rc)->name;
}

const char *kvsql_error_words(kvsql_rc rc)
{
    return kv_error_row(rc)->words;
}

const char *kvsql_error_hint(kvsql_rc rc)
{
    return kv_error_row(rc)->hint;
}

/* ---- views ------------------------------------------------------------------------ */

kvsql_rc kvsql_view_pin(kvsql *db, kvsql_view **view, struct kvsql_error *err)
{
    *view = NULL;
    kvsql_rc rc = api_check_thread(err);
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
    made->db = db;
    kv_at_view(made->view, &made->at);
    api_handles_add(db, 1);
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

static void api_cursors_end(kvsql_view *view)
{
    while (view->cursors != NULL)
        api_cursor_end(view->cursors);
}

void kvsql_view_release(kvsql_view *view)
{
    if (view == NULL)
        return;
    KV_ASSERT(view->txn == NULL); /* the view of a txn is not given back */
    api_cursors_end(view);
    if (api_txn_here != NULL) { /* A1: kv_unpin takes the lock */
        view->next = api_txn_here->released;
        api_txn_here->released = view;
        return;
    }
    kv_unpin(view->view);
    api_handles_add(view->db, -1);
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

/* ---- reading one key ---------------------------------------------------------------- */

/* The value under `key`, which must be of `type`: OK, NOTFOUND, WRONGTYPE. */
static kvsql_rc api_find(const struct kv_at *at, const struct kv_key *key,
                         enum kv_type type, struct kv_item *item,
                         struct kvsql_error *err)
{
    if (!kv_get(at, key, item))
        return KVSQL_NOTFOUND;
    if (item->type != type)
        return api_wrong_type(key, item->type, type, err);
    return KVSQL_OK;
}

kvsql_rc kvsql_view_get(kvsql_view *view, kvsql_slice key, kvsql_bytes *value,
                        struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    struct kv_val val;

    *value = (kvsql_bytes){.p = NULL};
    kvsql_rc rc = api_key(key, &name, err);
    if (rc == KVSQL_OK)
        rc = api_find(&view->at, &name, KV_STRING, &item, err);
    if (rc != KVSQL_OK)
        return rc;
    kv_item_string(&item, &val);
    return api_copy(val.p, val.size, value, err);
}

kvsql_rc kvsql_view_type(kvsql_view *view, kvsql_slice key,
                         enum kvsql_type *type, struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    kvsql_rc rc = api_key(key, &name, err);

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
    kvsql_rc rc = api_key(key, &name, err);

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
    kvsql_rc rc = api_key(key, &name, err);

    if (rc == KVSQL_OK)
        *length = kv_get(&view->at, &name, &item) ? kv_item_length(&item) : 0;
    return rc;
}

/* ---- reading one element -------------------------------------------------------------- */

kvsql_rc kvsql_hash_get(kvsql_view *view, kvsql_slice key, kvsql_slice field,
                        kvsql_bytes *value, struct kvsql_error *err)
{
    struct kv_key name, elem;
    struct kv_item item;
    struct kv_elem found;

    *value = (kvsql_bytes){.p = NULL};
    kvsql_rc rc = api_keys(key, &name, field, &elem, "field", err);
    if (rc == KVSQL_OK)
        rc = api_find(&view->at, &name, KV_HASH, &item, err);
    if (rc != KVSQL_OK)
        return rc;
    if (!kv_elem_find(&view->at, &item, &elem, &found))
        return KVSQL_NOTFOUND;
    return api_copy(found.value.p, found.value.size, value, err);
}

kvsql_rc kvsql_set_contains(kvsql_view *view, kvsql_slice key,
                            kvsql_slice member, bool *contains,
                            struct kvsql_error *err)
{
    struct kv_key name, elem;
    struct kv_item item;
    kvsql_rc rc = api_keys(key, &name, member, &elem, "member", err);

    if (rc == KVSQL_OK)
        rc = api_find(&view->at, &name, KV_SET, &item, err);
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
    kvsql_rc rc = api_keys(key, &name, member, &elem, "member", err);

    if (rc == KVSQL_OK)
        rc = api_find(&view->at, &name, KV_ZSET, &item, err);
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
    kvsql_rc rc = api_keys(key, &name, member, &elem, "member", err);

    if (rc == KVSQL_OK)
        rc = api_find(&view->at, &name, KV_ZSET, &item, err);
    if (rc != KVSQL_OK)
        return rc;
    return kv_elem_rank(&view->at, &item, &elem, rank) ? KVSQL_OK
                                                       : KVSQL_NOTFOUND;
}

/* Find a list and the element that `index` means (negative: from the right):
 * OK, NOTFOUND, WRONGTYPE, RANGE. */
static kvsql_rc api_list_at(const struct kv_at *at, const struct kv_key *key,
                            int64_t index, struct kv_item *item,
                            uint64_t *place, struct kvsql_error *err)
{
    kvsql_rc rc = api_find(at, key, KV_LIST, item, err);

    if (rc != KVSQL_OK)
        return rc;
    uint64_t length = kv_item_length(item);
    /* Unsigned, so that INT64_MIN needs no case of its own. */
    *place = index >= 0 ? (uint64_t)index : length + (uint64_t)index;
    if (*place < length)
        return KVSQL_OK;
    char shown[API_SHOW_SIZE];
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
    kvsql_rc rc = api_key(key, &name, err);
    if (rc == KVSQL_OK)
        rc = api_list_at(&view->at, &name, index, &item, &place, err);
    if (rc != KVSQL_OK)
        return rc;
    bool there = kv_elem_at(&view->at, &item, place, &found);
    KV_ASSERT(there); /* place is below the length */
    return api_copy(found.value.p, found.value.size, value, err);
}

/* ---- cursors ------------------------------------------------------------------------------ */

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
    api_handles_add(view->db, 1);
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
    api_handles_add(cursor->db, -1);
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
        api_check_slice(range->prefix, KVSQL_KEY_MAX, "prefix", err);

    if (rc == KVSQL_OK && range->has_from)
        rc = api_check_slice(range->from, KVSQL_KEY_MAX, "lower bound", err);
    if (rc == KVSQL_OK && range->has_to)
        rc = api_check_slice(range->to, KVSQL_KEY_MAX, "upper bound", err);
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
        return api_wrong_type(&keys->key, keys->item.type, KV_STRING, err);
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
    kvsql_rc rc = api_key(key, &name, err);
    if (rc == KVSQL_OK)
        rc = api_cursor_new(view, cursor, &at, err);
    if (rc != KVSQL_OK)
        return rc;
    if (!kv_get(&at, &name, &item))
        rc = KVSQL_NOTFOUND;
    else if (by_score && item.type != KV_ZSET)
        rc = api_wrong_type(&name, item.type, KV_ZSET, err);
    else if (item.type == KV_STRING)
        rc = api_wrong_type(&name, KV_STRING, KV_HASH, err);
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

/* ---- transactions ---------------------------------------------------------------------------- */

static kvsql_rc api_begin(kvsql *db, bool write, uint64_t timeout_ms,
                          kvsql_txn *txn, struct kvsql_error *err)
{
    kvsql_rc rc = api_check_thread(err);

    if (rc != KVSQL_OK)
        return rc;
    *txn = (kvsql_txn){.reader = {.db = db}};
    rc = kv_txn_begin(db, write, timeout_ms, &txn->txn, err);
    if (rc != KVSQL_OK)
        return rc;
    txn->reader.txn = txn->txn;
    kv_at_txn(txn->txn, &txn->reader.at);
    api_txn_here = txn;
    return KVSQL_OK;
}

/* The store lock is free again: let go of what waited for it. */
static void api_unlocked(kvsql_txn *txn)
{
    api_txn_here = NULL;
    while (txn->released != NULL) {
        kvsql_view *view = txn->released;
        txn->released = view->next;
        kvsql_view_release(view);
    }
}

/* Commit, drop the lock, wait for the gate. */
static kvsql_rc api_commit(kvsql_txn *txn, struct kvsql_error *err)
{
    struct kv_ticket ticket;

    KV_ASSERT(api_txn_here == txn); /* A1: ended by the thread that began it */
    api_cursors_end(&txn->reader);
    kvsql_rc rc = kv_txn_commit(txn->txn, &ticket, err);
    api_unlocked(txn);
    return rc != KVSQL_OK ? rc : kv_gate_wait(txn->reader.db, ticket, err);
}

static void api_rollback(kvsql_txn *txn)
{
    KV_ASSERT(api_txn_here == txn); /* A1 */
    api_cursors_end(&txn->reader);
    kv_txn_rollback(txn->txn);
    api_unlocked(txn);
}

/* Did the call look at the store and answer, or did it fail? */
static bool api_answers(kvsql_rc rc)
{
    return rc == KVSQL_OK || rc == KVSQL_NOTFOUND || rc == KVSQL_WRONGTYPE ||
           rc == KVSQL_NOTINT || rc == KVSQL_OVERFLOW || rc == KVSQL_RANGE;
}

/* End a one-call form whose work gave `rc` (A3). */
static kvsql_rc api_end(kvsql_txn *txn, kvsql_rc rc, struct kvsql_error *err)
{
    if (!api_answers(rc)) {
        api_rollback(txn);
        return rc;
    }
    struct kvsql_error failure;
    kvsql_rc ended = api_commit(txn, &failure);
    if (ended == KVSQL_OK)
        return rc;
    if (err != NULL)
        *err = failure;
    return ended;
}

kvsql_rc kvsql_begin(kvsql *db, uint64_t timeout_ms, kvsql_txn **txn,
                     struct kvsql_error *err)
{
    *txn = NULL;
    kvsql_txn *made = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *made);
    if (made == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for a transaction");
    kvsql_rc rc = api_begin(db, true, timeout_ms, made, err);
    if (rc != KVSQL_OK) {
        kv_mem_free(KV_MEM_CLIENT, made, sizeof *made);
        return rc;
    }
    api_handles_add(db, 1);
    *txn = made;
    return KVSQL_OK;
}

static void api_txn_free(kvsql_txn *txn)
{
    api_handles_add(txn->reader.db, -1);
    kv_mem_free(KV_MEM_CLIENT, txn, sizeof *txn);
}

kvsql_rc kvsql_commit(kvsql_txn *txn, struct kvsql_error *err)
{
    kvsql_rc rc = api_commit(txn, err);

    api_txn_free(txn);
    return rc;
}

void kvsql_rollback(kvsql_txn *txn)
{
    if (txn == NULL)
        return;
    api_rollback(txn);
    api_txn_free(txn);
}

kvsql_view *kvsql_txn_view(kvsql_txn *txn)
{
    return &txn->reader;
}

kvsql_savepoint kvsql_savepoint_set(kvsql_txn *txn)
{
    struct kv_mark mark = kv_txn_mark(txn->txn);

    return (kvsql_savepoint){{mark.undo, mark.ops_size, mark.ops_count}};
}

void kvsql_restore(kvsql_txn *txn, kvsql_savepoint savepoint)
{
    api_cursors_end(&txn->reader);
    kv_txn_restore(txn->txn,
                   (struct kv_mark){.undo = savepoint.private_[0],
                                    .ops_size = savepoint.private_[1],
                                    .ops_count = savepoint.private_[2]});
}

uint64_t kvsql_txn_count(const kvsql_txn *txn)
{
    return kv_txn_count(txn->txn);
}

/* ---- changes: keys and strings ------------------------------------------------------------------ */

kvsql_rc kvsql_txn_put(kvsql_txn *txn, kvsql_slice key, kvsql_slice value,
                       uint64_t ttl_ms, struct kvsql_error *err)
{
    struct kv_key name;
    int64_t expires_at = 0;
    kvsql_rc rc = api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = api_check_slice(value, KVSQL_VALUE_MAX, "value", err);
    if (rc == KVSQL_OK)
        rc = api_deadline(&txn->reader.at, ttl_ms, &expires_at, err);
    return rc != KVSQL_OK ? rc
                          : kv_set(txn->txn, &name, value, expires_at, err);
}

kvsql_rc kvsql_txn_delete(kvsql_txn *txn, kvsql_slice key,
                          struct kvsql_error *err)
{
    struct kv_key name;
    bool existed = false;
    kvsql_rc rc = api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = kv_del(txn->txn, &name, &existed, err);
    return rc == KVSQL_OK && !existed ? KVSQL_NOTFOUND : rc;
}

kvsql_rc kvsql_txn_expire(kvsql_txn *txn, kvsql_slice key, uint64_t ttl_ms,
                          struct kvsql_error *err)
{
    struct kv_key name;
    int64_t expires_at = 0;
    kvsql_rc rc = api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = api_deadline(&txn->reader.at, ttl_ms, &expires_at, err);
    return rc != KVSQL_OK ? rc
                          : kv_expire(txn->txn, &name, expires_at, err);
}

/* The integer under `key`, 0 when it is absent, and its expiry. */
static kvsql_rc api_integer(const struct kv_at *at, const struct kv_key *key,
                            int64_t *number, int64_t *expires_at,
                            struct kvsql_error *err)
{
    struct kv_item item;
    struct kv_val val;
    kvsql_rc rc = api_find(at, key, KV_STRING, &item, err);

    *number = 0;
    *expires_at = 0;
    if (rc != KVSQL_OK)
        return rc == KVSQL_NOTFOUND ? KVSQL_OK : rc;
    *expires_at = item.expires_at;
    kv_item_string(&item, &val);
    if (val.is_int)
        *number = val.number;
    else if (!kv_num_int(val.p, val.size, number))
        return kv_fail(err, KVSQL_NOTINT,
                       "the value is no decimal integer of 64 bits");
    return KVSQL_OK;
}

kvsql_rc kvsql_txn_incr(kvsql_txn *txn, kvsql_slice key, int64_t by,
                        int64_t *value, struct kvsql_error *err)
{
    struct kv_key name;
    int64_t number, expires_at, sum;
    kvsql_rc rc = api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = api_integer(&txn->reader.at, &name, &number, &expires_at, err);
    if (rc != KVSQL_OK)
        return rc;
    if (__builtin_add_overflow(number, by, &sum))
        return kv_fail(err, KVSQL_OVERFLOW,
                       "%lld + %lld does not fit in 64 bits",
                       (long long)number, (long long)by);
    char text[KV_INT_TEXT_MAX];
    size_t size = kv_num_format_int(text, sum);
    rc = kv_set(txn->txn, &name, (kvsql_slice){text, size}, expires_at, err);
    if (rc == KVSQL_OK && value != NULL)
        *value = sum;
    return rc;
}

kvsql_rc kvsql_txn_rename(kvsql_txn *txn, kvsql_slice from, kvsql_slice to,
                          struct kvsql_error *err)
{
    struct kv_key old, new;
    kvsql_rc rc = api_key(from, &old, err);

    if (rc == KVSQL_OK)
        rc = api_key(to, &new, err);
    return rc != KVSQL_OK ? rc : kv_rename(txn->txn, &old, &new, err);
}

kvsql_rc kvsql_txn_flush(kvsql_txn *txn, struct kvsql_error *err)
{
    return kv_flush(txn->txn, err);
}

/* ---- changes: collections --------------------------------------------------------------------------- */

kvsql_rc kvsql_hash_set(kvsql_txn *txn, kvsql_slice key, kvsql_slice field,
                        kvsql_slice value, uint64_t ttl_ms, bool *created,
                        struct kvsql_error *err)
{
    struct kv_key name, elem;
    int64_t expires_at = 0;
    kvsql_rc rc = api_keys(key, &name, field, &elem, "field", err);

    if (rc == KVSQL_OK)
        rc = api_check_slice(value, KVSQL_VALUE_MAX, "value", err);
    if (rc == KVSQL_OK)
        rc = api_deadline(&txn->reader.at, ttl_ms, &expires_at, err);
    return rc != KVSQL_OK ? rc
                          : kv_hset(txn->txn, &name, &elem, value, expires_at,
                                    created, err);
}

kvsql_rc kvsql_hash_delete(kvsql_txn *txn, kvsql_slice key, kvsql_slice field,
                           struct kvsql_error *err)
{
    struct kv_key name, elem;
    bool existed = false;
    kvsql_rc rc = api_keys(key, &name, field, &elem, "field", err);

    if (rc == KVSQL_OK)
        rc = kv_hdel(txn->txn, &name, &elem, &existed, err);
    return rc == KVSQL_OK && !existed ? KVSQL_NOTFOUND : rc;
}

kvsql_rc kvsql_set_add(kvsql_txn *txn, kvsql_slice key, kvsql_slice member,
                       bool *created, struct kvsql_error *err)
{
    struct kv_key name, elem;
    kvsql_rc rc = api_keys(key, &name, member, &elem, "member", err);

    return rc != KVSQL_OK ? rc
                          : kv_sadd(txn->txn, &name, &elem, created, err);
}

kvsql_rc kvsql_set_remove(kvsql_txn *txn, kvsql_slice key, kvsql_slice member,
                          struct kvsql_error *err)
{
    struct kv_key name, elem;
    bool existed = false;
    kvsql_rc rc = api_keys(key, &name, member, &elem, "member", err);

    if (rc == KVSQL_OK)
        rc = kv_srem(txn->txn, &name, &elem, &existed, err);
    return rc == KVSQL_OK && !existed ? KVSQL_NOTFOUND : rc;
}

kvsql_rc kvsql_zset_add(kvsql_txn *txn, kvsql_slice key, kvsql_slice member,
                        double score, bool *created, struct kvsql_error *err)
{
    struct kv_key name, elem;
    kvsql_rc rc = api_keys(key, &name, member, &elem, "member", err);

    return rc != KVSQL_OK
               ? rc
               : kv_zadd(txn->txn, &name, &elem, score, created, err);
}

kvsql_rc kvsql_zset_remove(kvsql_txn *txn, kvsql_slice key, kvsql_slice member,
                           struct kvsql_error *err)
{
    struct kv_key name, elem;
    bool existed = false;
    kvsql_rc rc = api_keys(key, &name, member, &elem, "member", err);

    if (rc == KVSQL_OK)
        rc = kv_zrem(txn->txn, &name, &elem, &existed, err);
    return rc == KVSQL_OK && !existed ? KVSQL_NOTFOUND : rc;
}

kvsql_rc kvsql_list_push(kvsql_txn *txn, kvsql_slice key, enum kvsql_side side,
                         kvsql_slice value, uint64_t *length,
                         struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    kvsql_rc rc = api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = api_check_slice(value, KVSQL_VALUE_MAX, "value", err);
    if (rc == KVSQL_OK)
        rc = kv_push(txn->txn, &name, side == KVSQL_LEFT ? KV_LEFT : KV_RIGHT,
                     value, err);
    if (rc == KVSQL_OK && length != NULL)
        *length = kv_get(&txn->reader.at, &name, &item) ? kv_item_length(&item)
                                                        : 0;
    return rc;
}

kvsql_rc kvsql_list_pop(kvsql_txn *txn, kvsql_slice key, enum kvsql_side side,
                        kvsql_bytes *value, struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    struct kv_elem found;
    uint64_t place;
    kvsql_bytes copy = {.p = NULL};

    if (value != NULL)
        *value = copy;
    kvsql_rc rc = api_key(key, &name, err);
    if (rc == KVSQL_OK)
        rc = api_list_at(&txn->reader.at, &name, side == KVSQL_LEFT ? 0 : -1,
                         &item, &place, err);
    if (rc != KVSQL_OK)
        return rc;
    if (value != NULL) {
        bool there = kv_elem_at(&txn->reader.at, &item, place, &found);
        KV_ASSERT(there); /* place is below the length */
        rc = api_copy(found.value.p, found.value.size, &copy, err);
    }
    if (rc == KVSQL_OK)
        rc = kv_lremove(txn->txn, &name, place, 1, err);
    if (rc != KVSQL_OK)
        kvsql_bytes_free(&copy);
    else if (value != NULL)
        *value = copy;
    return rc;
}

kvsql_rc kvsql_list_set(kvsql_txn *txn, kvsql_slice key, int64_t index,
                        kvsql_slice value, struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    uint64_t place;
    kvsql_rc rc = api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = api_check_slice(value, KVSQL_VALUE_MAX, "value", err);
    if (rc == KVSQL_OK)
        rc = api_list_at(&txn->reader.at, &name, index, &item, &place, err);
    return rc != KVSQL_OK ? rc : kv_lset(txn->txn, &name, place, value, err);
}

kvsql_rc kvsql_list_remove(kvsql_txn *txn, kvsql_slice key, int64_t index,
                           uint64_t count, struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    uint64_t place;
    kvsql_rc rc = api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = api_list_at(&txn->reader.at, &name, index, &item, &place, err);
    if (rc != KVSQL_OK || count == 0)
        return rc;
    uint64_t behind = kv_item_length(&item) - place;
    return kv_lremove(txn->txn, &name, place, count < behind ? count : behind,
                      err);
}

/* ---- one call, one transaction ------------------------------------------------------------------------ */

kvsql_rc kvsql_put(kvsql *db, kvsql_slice key, kvsql_slice value,
                   uint64_t ttl_ms, struct kvsql_error *err)
{
    kvsql_txn txn;
    kvsql_rc rc = api_begin(db, true, API_LOCK_TIMEOUT_MS, &txn, err);

    if (rc != KVSQL_OK)
        return rc;
    return api_end(&txn, kvsql_txn_put(&txn, key, value, ttl_ms, err), err);
}

kvsql_rc kvsql_delete(kvsql *db, kvsql_slice key, struct kvsql_error *err)
{
    kvsql_txn txn;
    kvsql_rc rc = api_begin(db, true, API_LOCK_TIMEOUT_MS, &txn, err);

    if (rc != KVSQL_OK)
        return rc;
    return api_end(&txn, kvsql_txn_delete(&txn, key, err), err);
}

kvsql_rc kvsql_expire(kvsql *db, kvsql_slice key, uint64_t ttl_ms,
                      struct kvsql_error *err)
{
    kvsql_txn txn;
    kvsql_rc rc = api_begin(db, true, API_LOCK_TIMEOUT_MS, &txn, err);

    if (rc != KVSQL_OK)
        return rc;
    return api_end(&txn, kvsql_txn_expire(&txn, key, ttl_ms, err), err);
}

kvsql_rc kvsql_incr(kvsql *db, kvsql_slice key, int64_t by, int64_t *value,
                    struct kvsql_error *err)
{
    kvsql_txn txn;
    kvsql_rc rc = api_begin(db, true, API_LOCK_TIMEOUT_MS, &txn, err);

    if (rc != KVSQL_OK)
        return rc;
    return api_end(&txn, kvsql_txn_incr(&txn, key, by, value, err), err);
}

kvsql_rc kvsql_type(kvsql *db, kvsql_slice key, enum kvsql_type *type,
                    struct kvsql_error *err)
{
    kvsql_txn txn;
    kvsql_rc rc = api_begin(db, false, API_LOCK_TIMEOUT_MS, &txn, err);

    if (rc != KVSQL_OK)
        return rc;
    return api_end(&txn, kvsql_view_type(&txn.reader, key, type, err), err);
}

kvsql_rc kvsql_exists(kvsql *db, kvsql_slice key, bool *exists,
                      struct kvsql_error *err)
{
    enum kvsql_type type = KVSQL_TYPE_NONE;
    kvsql_rc rc = kvsql_type(db, key, &type, err);

    if (rc == KVSQL_OK)
        *exists = type != KVSQL_TYPE_NONE;
    return rc;
}

kvsql_rc kvsql_ttl(kvsql *db, kvsql_slice key, int64_t *ttl_ms,
                   struct kvsql_error *err)
{
    kvsql_txn txn;
    kvsql_rc rc = api_begin(db, false, API_LOCK_TIMEOUT_MS, &txn, err);

    if (rc != KVSQL_OK)
        return rc;
    return api_end(&txn, kvsql_view_ttl(&txn.reader, key, ttl_ms, err), err);
}

/* Copy a large value from a view, so that no writer waits for the copy. */
static kvsql_rc api_get_pinned(kvsql *db, kvsql_slice key, kvsql_bytes *value,
                               struct kvsql_error *err)
{
    kvsql_view *view;
    kvsql_rc rc = kvsql_view_pin(db, &view, err);

    if (rc == KVSQL_OK)
        rc = kvsql_view_get(view, key, value, err);
    kvsql_view_release(view);
    return rc;
}

kvsql_rc kvsql_get(kvsql *db, kvsql_slice key, kvsql_bytes *value,
                   struct kvsql_error *err)
{
    kvsql_txn txn;
    uint64_t length = 0;

    *value = (kvsql_bytes){.p = NULL};
    kvsql_rc rc = api_begin(db, false, API_LOCK_TIMEOUT_MS, &txn, err);
    if (rc != KVSQL_OK)
        return rc;
    rc = kvsql_view_length(&txn.reader, key, &length, err);
    if (rc == KVSQL_OK && length > API_COPY_MAX) {
        api_rollback(&txn);
        return api_get_pinned(db, key, value, err);
    }
    if (rc == KVSQL_OK)
        rc = kvsql_view_get(&txn.reader, key, value, err);
    rc = api_end(&txn, rc, err);
    if (rc != KVSQL_OK)
        kvsql_bytes_free(value);
    return rc;
}

/* ---- durability, snapshots, statistics ------------------------------------------------------------------ */

kvsql_rc kvsql_sync(kvsql *db, struct kvsql_error *err)
{
    struct kv_info info;
    kvsql_rc rc = api_check_thread(err);

    if (rc != KVSQL_OK)
        return rc;
    kv_info_get(db, &info);
    return kv_sync(db, info.position, err);
}

kvsql_rc kvsql_snapshot(kvsql *db, struct kvsql_snapshot_info *info,
                        struct kvsql_error *err)
{
    struct kv_snapshot_info made;
    kvsql_rc rc = api_check_thread(err);

    if (rc == KVSQL_OK)
        rc = kv_snapshot_run(db, NULL, NULL, &made, err);
    if (rc != KVSQL_OK || info == NULL)
        return rc;
    *info = (struct kvsql_snapshot_info){.position = made.position,
                                         .created_at = made.created_at,
                                         .size = made.size,
                                         .keys = made.keys,
                                         .ms = made.ms};
    _Static_assert(sizeof info->file == sizeof made.file, "names fit");
    memcpy(info->file, made.file, sizeof info->file);
    return KVSQL_OK;
}

kvsql_rc kvsql_statistics_get(kvsql *db, struct kvsql_statistics *statistics,
                              struct kvsql_error *err)
{
    struct kv_info info;
    kvsql_rc rc = api_check_thread(err);

    if (rc != KVSQL_OK)
        return rc;
    kv_info_get(db, &info);
    *statistics = (struct kvsql_statistics){
        .keys = info.keys,
        .keys_with_expiry = info.keys_with_expiry,
        .position = info.position,
        .durable = info.durable,
        .memory = info.memory_data + info.memory_retired + info.memory_undo +
                  info.memory_views + info.memory_wal + info.memory_clients +
                  info.memory_misc,
        .memory_max = info.memory_max,
        .views = info.views,
        .expired_keys = info.expired_keys,
        .expired_fields = info.expired_fields,
        .transactions = info.commits,
        .changes = info.ops,
        .wal_size = info.wal_size,
        .wal_syncs = info.wal_syncs,
        .snapshots = info.snapshot_count,
        .snapshot_position = info.snapshot_position,
        .writable = strcmp(info.wal_state, "ok") == 0};
    return KVSQL_OK;
}
