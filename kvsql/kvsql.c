/* kvsql.c - the public C API: the store as a whole, and what the other two
 * files of the API share (kvsql_read.c, kvsql_txn.c; see api.h).
 *
 * Thread: as kvsql.h says. */
#include "kvsql/admin.h"
#include "kvsql/api.h"

#include <string.h>

#include "kvsql/base/os.h"

/* ---- arguments, results, copies ----------------------------------------- */

void kv_handles_add(kvsql *db, int64_t change)
{
    (void)__atomic_add_fetch(&kv_db_strangers(db)->handles, (uint64_t)change,
                             __ATOMIC_ACQ_REL);
}

/* A thread is known by the place of a variable of its own. */
static uintptr_t api_thread(void)
{
    static _Thread_local char here;

    return (uintptr_t)&here;
}

bool kv_api_sql_here(kvsql *db)
{
    return __atomic_load_n(&kv_db_strangers(db)->sql_thread,
                           __ATOMIC_ACQUIRE) == api_thread();
}

void kv_sql_writes(kvsql *db)
{
    __atomic_store_n(&kv_db_strangers(db)->sql_thread, api_thread(),
                     __ATOMIC_RELEASE);
}

void kv_sql_wrote(kvsql *db)
{
    __atomic_store_n(&kv_db_strangers(db)->sql_thread, 0, __ATOMIC_RELEASE);
}

kvsql_rc kv_txn_none_here(struct kvsql_error *err)
{
    if (kv_api_txn_here() == NULL)
        return KVSQL_OK;
    return kv_fail(err, KVSQL_BUSY,
                   "this thread has a transaction open: work through it, or "
                   "end it first");
}

/* A1: refuse where waiting would never end. */
kvsql_rc kv_api_check_thread(kvsql *db, struct kvsql_error *err)
{
    kvsql_rc rc = kv_txn_none_here(err);

    if (rc != KVSQL_OK || db == NULL || !kv_api_sql_here(db))
        return rc;
    return kv_fail(err, KVSQL_BUSY,
                   "an SQL connection of this thread has written and not "
                   "committed: end its transaction first");
}

kvsql_rc kv_api_check_slice(kvsql_slice slice, size_t size_max,
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

kvsql_rc kv_api_key(kvsql_slice slice, struct kv_key *key,
                    struct kvsql_error *err)
{
    kvsql_rc rc = kv_api_check_slice(slice, KVSQL_KEY_MAX, "key", err);

    if (rc == KVSQL_OK)
        *key = kv_key_of(slice.p, slice.size);
    return rc;
}

/* A key with a field or member of it. */
kvsql_rc kv_api_keys(kvsql_slice slice, struct kv_key *key,
                     kvsql_slice elem_slice, struct kv_key *elem,
                     const char *what, struct kvsql_error *err)
{
    kvsql_rc rc = kv_api_key(slice, key, err);

    if (rc == KVSQL_OK)
        rc = kv_api_check_slice(elem_slice, KVSQL_VALUE_MAX, what, err);
    if (rc == KVSQL_OK)
        *elem = kv_key_of(elem_slice.p, elem_slice.size);
    return rc;
}

kvsql_rc kv_api_wrong_type(const struct kv_key *key, enum kv_type is,
                           enum kv_type wanted, struct kvsql_error *err)
{
    char shown[KV_API_SHOW_SIZE];

    return kv_fail(err, KVSQL_WRONGTYPE, "key '%s' holds a %s, not a %s",
                   kv_text_show(shown, sizeof shown, key->p, key->size),
                   kv_type_name(is), kv_type_name(wanted));
}

kvsql_rc kv_api_copy(const uint8_t *p, size_t size, kvsql_bytes *out,
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

/* ---- opening and closing ------------------------------------------------ */

kvsql_rc kvsql_open(const char *dir, const struct kvsql_options *options,
                    kvsql **db, struct kvsql_error *err)
{
    static const struct kvsql_options defaults;

    *db = NULL;
    kvsql_rc rc = kv_api_check_thread(NULL, err);
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
    uint64_t open = __atomic_load_n(&kv_db_strangers(db)->handles,
                                    __ATOMIC_ACQUIRE);
    if (open > 0) /* A2 */
        return kv_fail(err, KVSQL_BUSY,
                       "cannot close the store: %llu views, transactions, "
                       "cursors and connections are still open",
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

/* ---- durability, snapshots, statistics ---------------------------------- */

kvsql_rc kvsql_sync(kvsql *db, struct kvsql_error *err)
{
    struct kv_info info;
    kvsql_rc rc = kv_api_check_thread(db, err);

    if (rc != KVSQL_OK)
        return rc;
    kv_info_get(db, &info);
    return kv_sync(db, info.position, err);
}

kvsql_rc kvsql_snapshot(kvsql *db, struct kvsql_snapshot_info *info,
                        struct kvsql_error *err)
{
    struct kv_snapshot_info made;
    kvsql_rc rc = kv_api_check_thread(db, err);

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
    kvsql_rc rc = kv_api_check_thread(db, err);

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
