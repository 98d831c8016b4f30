/* kvsql_txn.c - the public C API: transactions, changes, one-call forms.
 *
 * Every change takes a kvsql_txn. The one-call forms make one on the stack and
 * use the same functions.
 *
 * Thread: as kvsql.h says. */
#include "kvsql/admin.h"
#include "kvsql/api.h"

#include <string.h>

#include "kvsql/base/num.h"

#define API_LOCK_TIMEOUT_MS 5000 /* of the one-call forms */
#define API_COPY_MAX 16384       /* bytes copied under the store lock (VW7) */

static _Thread_local kvsql_txn *api_txn_here; /* A1 */

kvsql_txn *kv_api_txn_here(void)
{
    return api_txn_here;
}

/* ---- transactions ------------------------------------------------------- */

static kvsql_rc api_begin(kvsql *db, bool write, uint64_t timeout_ms,
                          kvsql_txn *txn, struct kvsql_error *err)
{
    kvsql_rc rc = kv_api_check_thread(db, err);

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
    kv_api_cursors_end(&txn->reader);
    kvsql_rc rc = kv_txn_commit(txn->txn, &ticket, err);
    api_unlocked(txn);
    return rc != KVSQL_OK ? rc : kv_gate_wait(txn->reader.db, ticket, err);
}

static void api_rollback(kvsql_txn *txn)
{
    KV_ASSERT(api_txn_here == txn); /* A1 */
    kv_api_cursors_end(&txn->reader);
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
    kv_handles_add(db, 1);
    *txn = made;
    return KVSQL_OK;
}

static void api_txn_free(kvsql_txn *txn)
{
    kv_handles_add(txn->reader.db, -1);
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

/* Savepoints are not released one by one: all that were set are kept. */
kvsql_savepoint kvsql_savepoint_set(kvsql_txn *txn)
{
    struct kv_mark mark = kv_txn_mark(txn->txn);

    kv_txn_keep(txn->txn, &mark);
    return (kvsql_savepoint){{mark.undo, mark.ops_size, mark.ops_count}};
}

void kvsql_restore(kvsql_txn *txn, kvsql_savepoint savepoint)
{
    kv_api_cursors_end(&txn->reader);
    kv_txn_restore(txn->txn,
                   (struct kv_mark){.undo = savepoint.private_[0],
                                    .ops_size = savepoint.private_[1],
                                    .ops_count = savepoint.private_[2]});
}

uint64_t kvsql_txn_count(const kvsql_txn *txn)
{
    return kv_txn_count(txn->txn);
}

/* ---- changes: keys and strings ------------------------------------------ */

/* What the change goes to; the ones before it are done (UN3). */
static struct kv_txn *api_step(kvsql_txn *txn)
{
    kv_txn_step(txn->txn);
    return txn->txn;
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

kvsql_rc kvsql_txn_put(kvsql_txn *txn, kvsql_slice key, kvsql_slice value,
                       uint64_t ttl_ms, struct kvsql_error *err)
{
    struct kv_key name;
    int64_t expires_at = 0;
    kvsql_rc rc = kv_api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = kv_api_check_slice(value, KVSQL_VALUE_MAX, "value", err);
    if (rc == KVSQL_OK)
        rc = api_deadline(&txn->reader.at, ttl_ms, &expires_at, err);
    return rc != KVSQL_OK ? rc
                          : kv_set(api_step(txn), &name, value, expires_at,
                                   err);
}

kvsql_rc kvsql_txn_delete(kvsql_txn *txn, kvsql_slice key,
                          struct kvsql_error *err)
{
    struct kv_key name;
    bool existed = false;
    kvsql_rc rc = kv_api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = kv_del(api_step(txn), &name, &existed, err);
    return rc == KVSQL_OK && !existed ? KVSQL_NOTFOUND : rc;
}

kvsql_rc kvsql_txn_expire(kvsql_txn *txn, kvsql_slice key, uint64_t ttl_ms,
                          struct kvsql_error *err)
{
    struct kv_key name;
    int64_t expires_at = 0;
    kvsql_rc rc = kv_api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = api_deadline(&txn->reader.at, ttl_ms, &expires_at, err);
    return rc != KVSQL_OK ? rc
                          : kv_expire(api_step(txn), &name, expires_at, err);
}

/* The integer under `key`, 0 when it is absent, and its expiry. */
static kvsql_rc api_integer(const struct kv_at *at, const struct kv_key *key,
                            int64_t *number, int64_t *expires_at,
                            struct kvsql_error *err)
{
    struct kv_item item;
    struct kv_val val;
    kvsql_rc rc = kv_api_find(at, key, KV_STRING, &item, err);

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
    kvsql_rc rc = kv_api_key(key, &name, err);

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
    rc = kv_set(api_step(txn), &name, (kvsql_slice){text, size}, expires_at,
                err);
    if (rc == KVSQL_OK && value != NULL)
        *value = sum;
    return rc;
}

kvsql_rc kvsql_txn_rename(kvsql_txn *txn, kvsql_slice from, kvsql_slice to,
                          struct kvsql_error *err)
{
    struct kv_key old, new;
    kvsql_rc rc = kv_api_key(from, &old, err);

    if (rc == KVSQL_OK)
        rc = kv_api_key(to, &new, err);
    return rc != KVSQL_OK ? rc
                          : kv_rename(api_step(txn), &old, &new, err);
}

kvsql_rc kvsql_txn_flush(kvsql_txn *txn, struct kvsql_error *err)
{
    return kv_flush(api_step(txn), err);
}

/* ---- changes: collections ----------------------------------------------- */

kvsql_rc kvsql_hash_set(kvsql_txn *txn, kvsql_slice key, kvsql_slice field,
                        kvsql_slice value, uint64_t ttl_ms, bool *created,
                        struct kvsql_error *err)
{
    struct kv_key name, elem;
    int64_t expires_at = 0;
    kvsql_rc rc = kv_api_keys(key, &name, field, &elem, "field", err);

    if (rc == KVSQL_OK)
        rc = kv_api_check_slice(value, KVSQL_VALUE_MAX, "value", err);
    if (rc == KVSQL_OK)
        rc = api_deadline(&txn->reader.at, ttl_ms, &expires_at, err);
    return rc != KVSQL_OK ? rc
                          : kv_hset(api_step(txn), &name, &elem, value,
                                    expires_at, created, err);
}

kvsql_rc kvsql_hash_delete(kvsql_txn *txn, kvsql_slice key, kvsql_slice field,
                           struct kvsql_error *err)
{
    struct kv_key name, elem;
    bool existed = false;
    kvsql_rc rc = kv_api_keys(key, &name, field, &elem, "field", err);

    if (rc == KVSQL_OK)
        rc = kv_hdel(api_step(txn), &name, &elem, &existed, err);
    return rc == KVSQL_OK && !existed ? KVSQL_NOTFOUND : rc;
}

kvsql_rc kvsql_set_add(kvsql_txn *txn, kvsql_slice key, kvsql_slice member,
                       bool *created, struct kvsql_error *err)
{
    struct kv_key name, elem;
    kvsql_rc rc = kv_api_keys(key, &name, member, &elem, "member", err);

    return rc != KVSQL_OK ? rc
                          : kv_sadd(api_step(txn), &name, &elem, created, err);
}

kvsql_rc kvsql_set_remove(kvsql_txn *txn, kvsql_slice key, kvsql_slice member,
                          struct kvsql_error *err)
{
    struct kv_key name, elem;
    bool existed = false;
    kvsql_rc rc = kv_api_keys(key, &name, member, &elem, "member", err);

    if (rc == KVSQL_OK)
        rc = kv_srem(api_step(txn), &name, &elem, &existed, err);
    return rc == KVSQL_OK && !existed ? KVSQL_NOTFOUND : rc;
}

kvsql_rc kvsql_zset_add(kvsql_txn *txn, kvsql_slice key, kvsql_slice member,
                        double score, bool *created, struct kvsql_error *err)
{
    struct kv_key name, elem;
    kvsql_rc rc = kv_api_keys(key, &name, member, &elem, "member", err);

    return rc != KVSQL_OK
               ? rc
               : kv_zadd(api_step(txn), &name, &elem, score, created, err);
}

kvsql_rc kvsql_zset_remove(kvsql_txn *txn, kvsql_slice key, kvsql_slice member,
                           struct kvsql_error *err)
{
    struct kv_key name, elem;
    bool existed = false;
    kvsql_rc rc = kv_api_keys(key, &name, member, &elem, "member", err);

    if (rc == KVSQL_OK)
        rc = kv_zrem(api_step(txn), &name, &elem, &existed, err);
    return rc == KVSQL_OK && !existed ? KVSQL_NOTFOUND : rc;
}

kvsql_rc kvsql_list_push(kvsql_txn *txn, kvsql_slice key, enum kvsql_side side,
                         kvsql_slice value, uint64_t *length,
                         struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    kvsql_rc rc = kv_api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = kv_api_check_slice(value, KVSQL_VALUE_MAX, "value", err);
    if (rc == KVSQL_OK)
        rc = kv_push(api_step(txn), &name,
                     side == KVSQL_LEFT ? KV_LEFT : KV_RIGHT,
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
    kvsql_rc rc = kv_api_key(key, &name, err);
    if (rc == KVSQL_OK)
        rc = kv_api_list_at(&txn->reader.at, &name, side == KVSQL_LEFT ? 0 : -1,
                            &item, &place, err);
    if (rc != KVSQL_OK)
        return rc;
    if (value != NULL) {
        bool there = kv_elem_at(&txn->reader.at, &item, place, &found);
        KV_ASSERT(there); /* place is below the length */
        rc = kv_api_copy(found.value.p, found.value.size, &copy, err);
    }
    if (rc == KVSQL_OK)
        rc = kv_lremove(api_step(txn), &name, place, 1, err);
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
    kvsql_rc rc = kv_api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = kv_api_check_slice(value, KVSQL_VALUE_MAX, "value", err);
    if (rc == KVSQL_OK)
        rc = kv_api_list_at(&txn->reader.at, &name, index, &item, &place, err);
    return rc != KVSQL_OK
               ? rc
               : kv_lset(api_step(txn), &name, place, value, err);
}

kvsql_rc kvsql_list_remove(kvsql_txn *txn, kvsql_slice key, int64_t index,
                           uint64_t count, struct kvsql_error *err)
{
    struct kv_key name;
    struct kv_item item;
    uint64_t place;
    kvsql_rc rc = kv_api_key(key, &name, err);

    if (rc == KVSQL_OK)
        rc = kv_api_list_at(&txn->reader.at, &name, index, &item, &place, err);
    if (rc != KVSQL_OK || count == 0)
        return rc;
    uint64_t behind = kv_item_length(&item) - place;
    return kv_lremove(api_step(txn), &name, place,
                      count < behind ? count : behind, err);
}

/* ---- one call, one transaction ------------------------------------------ */

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
