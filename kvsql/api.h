/* api.h - what the files of the public C API share: the handles, and the
 * checks of arguments. The API is a thin layer over inside.h; it adds what a
 * stranger needs and our own rooms do not: arguments are checked before they
 * are used, values are copied out, handles are counted, and a thread cannot
 * lock itself out.
 *
 * Always true:
 *   A1  kv_api_txn_here is the txn that this thread has open, or NULL; no call
 *       that could wait for the store lock is made while it is set, or while
 *       an SQL connection of this thread writes (kv_api_sql_here).
 *   A2  kv_strangers.handles counts the views, txns, cursors and connections
 *       that strangers hold, so kvsql_close can refuse.
 *   A3  an answer leaves only behind its gate (D3), also a negative one: a
 *       one-call form commits even when it found nothing.
 *   A4  cursors hang on their view in a list. A view that ends, or a txn that
 *       is restored, ends them: what they point into is gone.
 *
 * Thread: that of the handle. */
#ifndef KVSQL_API_PRIVATE_H
#define KVSQL_API_PRIVATE_H

#include "kvsql/base/buf.h"
#include "kvsql/base/error.h"
#include "kvsql/base/mem.h"
#include "kvsql/inside.h"

#define KV_API_SHOW_SIZE 64 /* a key in a message */

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

/* The txn that this thread has open (A1). */
KV_INTERNAL kvsql_txn *kv_api_txn_here(void);
/* Whether an SQL connection of this thread writes to the store (A1). */
KV_INTERNAL bool kv_api_sql_here(kvsql *db);
/* KVSQL_BUSY when there is one of both: waiting would never end. `db` may be
 * NULL. */
KV_INTERNAL kvsql_rc kv_api_check_thread(kvsql *db, struct kvsql_error *err)
    KV_MUST_USE;

/* Bytes from a stranger: INVALID, TOOBIG; `what` names them. */
KV_INTERNAL kvsql_rc kv_api_check_slice(kvsql_slice slice, size_t size_max,
                                        const char *what,
                                        struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc kv_api_key(kvsql_slice slice, struct kv_key *key,
                                struct kvsql_error *err) KV_MUST_USE;
/* A key with a field or member of it. */
KV_INTERNAL kvsql_rc kv_api_keys(kvsql_slice slice, struct kv_key *key,
                                 kvsql_slice elem_slice, struct kv_key *elem,
                                 const char *what,
                                 struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc kv_api_wrong_type(const struct kv_key *key,
                                       enum kv_type is, enum kv_type wanted,
                                       struct kvsql_error *err);
/* A copy that is the caller's: NOMEM. */
KV_INTERNAL kvsql_rc kv_api_copy(const uint8_t *p, size_t size,
                                 kvsql_bytes *out,
                                 struct kvsql_error *err) KV_MUST_USE;

/* The value under `key`, which must be of `type`: OK, NOTFOUND, WRONGTYPE. */
KV_INTERNAL kvsql_rc kv_api_find(const struct kv_at *at,
                                 const struct kv_key *key, enum kv_type type,
                                 struct kv_item *item,
                                 struct kvsql_error *err) KV_MUST_USE;
/* A list and the element that `index` means, negative from the right: OK,
 * NOTFOUND, WRONGTYPE, RANGE. */
KV_INTERNAL kvsql_rc kv_api_list_at(const struct kv_at *at,
                                    const struct kv_key *key, int64_t index,
                                    struct kv_item *item, uint64_t *place,
                                    struct kvsql_error *err) KV_MUST_USE;
/* End all cursors of a view (A4). */
KV_INTERNAL void kv_api_cursors_end(kvsql_view *view);

#endif
