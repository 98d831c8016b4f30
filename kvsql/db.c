/* db.c - opening and closing a store, its keeper, and the calls that belong to
 * the handle as a whole.
 *
 * A start judges before it changes anything (R1): the directory must be ours
 * or empty, the MANIFEST must be whole, all segments it names must have their
 * headers, one snapshot must be good, every frame behind it must be readable.
 * Only then are leftovers tidied away, a torn tail cut, and the wal opened.
 *
 * Always true:
 *   DB1  the first durable file of a new store is a MANIFEST that names no
 *        segment, so no crash while it is made can look like damage.
 *   DB2  with read_only nothing in the directory is created, changed, locked.
 *
 * Thread: open and close once each; the rest any. */
#include "kvsql/admin.h"
#include "kvsql/db.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/diag.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"
#include "kvsql/db_private.h"
#include "kvsql/recover.h"

#define DB_LOCK_NAME "LOCK"
#define DB_SNAPSHOT_KEEP 2
#define DB_SNAPSHOT_EVERY_S 3600
#define DB_SNAPSHOT_WAL (1ull << 30)
#define DB_TICK_MS 100
#define DB_TICK_MORE_MS 1

/* ---- the directory ------------------------------------------------------------- */

static kvsql_rc db_open_dir(kvsql *db, struct kvsql_error *err)
{
    const struct kv_os *os = db->os;
    const bool create = !db->options.read_only;
    const int rc = os->dir_open(os->arg, db->path, create, &db->dir);

    if (rc < 0) {
        db->dir = -1;
        return kv_fail(err, rc == -ENOENT ? KVSQL_NOTFOUND : kv_seg_rc(-rc),
                       "cannot open the data directory %s: %s", db->path,
                       kv_os_error(-rc));
    }
    return KVSQL_OK;
}

static kvsql_rc db_locked(kvsql *db, struct kvsql_error *err)
{
    char pid[24] = "";
    const int64_t got = db->os->read_at(db->os->arg, db->lock_file, pid,
                                        sizeof(pid) - 1, 0);
    const size_t size = got > 0 ? strcspn(pid, "\n") : 0;

    pid[size] = '\0';
    return kv_fail(err, KVSQL_LOCKED,
                   "the data directory %s is in use by pid %s: stop that "
                   "process or choose another directory",
                   db->path, size > 0 ? pid : "(unknown)");
}

static kvsql_rc db_take_lock(kvsql *db, struct kvsql_error *err)
{
    const struct kv_os *os = db->os;
    char pid[24];

    int rc = os->open(os->arg, db->dir, DB_LOCK_NAME,
                      KV_OS_WRITE | KV_OS_CREATE, &db->lock_file);
    if (rc < 0) {
        db->lock_file = -1;
        return kv_fail(err, kv_seg_rc(-rc), "cannot open %s/" DB_LOCK_NAME
                       ": %s", db->path, kv_os_error(-rc));
    }
    rc = os->lock(os->arg, db->lock_file);
    if (rc == -EWOULDBLOCK) {
        return db_locked(db, err);
    }
    if (rc == 0) {
        rc = os->truncate(os->arg, db->lock_file, 0);
    }
    if (rc == 0) {
        const int size = snprintf(pid, sizeof(pid), "%d\n", kv_os_pid());
        const int64_t written = os->write_at(os->arg, db->lock_file, pid,
                                             (size_t)size, 0);
        rc = written < 0 ? (int)written : 0;
    }
    if (rc < 0) {
        return kv_fail(err, kv_seg_rc(-rc), "cannot lock %s/" DB_LOCK_NAME
                       ": %s", db->path, kv_os_error(-rc));
    }
    return KVSQL_OK;
}

bool kv_db_is_foreign(const char *name)
{
    const size_t size = strlen(name);

    return name[0] != '.' && strcmp(name, DB_LOCK_NAME) != 0 &&
           strcmp(name, "lost+found") != 0 &&
           !(size > 4 && strcmp(name + size - 4, ".tmp") == 0);
}

static kvsql_rc db_new_manifest(kvsql *db, struct kvsql_error *err)
{
    if (db->options.read_only) {
        return kv_fail(err, KVSQL_NOTFOUND,
                       "there is no store in %s: it has no MANIFEST", db->path);
    }
    db->os->random(db->os->arg, db->manifest.store_id,
                   sizeof(db->manifest.store_id));
    return kv_manifest_write(&db->manifest, err); /* DB1 */
}

/* No MANIFEST: a new store, or one that has lost it. */
static kvsql_rc db_no_manifest(kvsql *db, const struct kv_wal_config *config,
                               struct kvsql_error *err)
{
    struct kv_buf names;
    kvsql_rc rc = kv_recover_list(config, kv_db_is_foreign, &names, err);

    if (rc == KVSQL_OK && names.size == 0) {
        rc = db_new_manifest(db, err);
    } else if (rc == KVSQL_OK && db->options.repair &&
               !db->options.read_only) {
        rc = kv_wal_rebuild(config, &db->manifest, err);
    } else if (rc == KVSQL_OK) {
        rc = kv_fail(err, KVSQL_CORRUPT,
                     "wal.damaged file=" KV_MANIFEST_NAME " offset=0 "
                     "why=\"absent, but %s holds other files, like %.40s\" "
                     "hint=\"choose an empty directory, restore a copy, or "
                     "start with --repair to rebuild it\"",
                     db->path, (const char *)names.p);
    }
    kv_buf_fini(&names);
    return rc;
}

static kvsql_rc db_read_manifest(kvsql *db, const struct kv_wal_config *config,
                                 struct kvsql_error *err)
{
    kvsql_rc rc = kv_manifest_read(&db->manifest, err);

    if (rc == KVSQL_NOTFOUND) {
        rc = db_no_manifest(db, config, err);
    } else if (rc == KVSQL_CORRUPT && db->options.repair &&
               !db->options.read_only) {
        rc = kv_wal_rebuild(config, &db->manifest, err);
    }
    for (unsigned i = 0; i < sizeof(db->manifest.store_id); i++) {
        (void)snprintf(db->store_id + 2 * i, 3, "%02x",
                       db->manifest.store_id[i]);
    }
    return rc;
}

/* Snapshots that were not good leave the directory, now that a MANIFEST
 * without them is durable. */
static void db_move_bad(const struct kv_wal_config *config,
                        const struct kv_buf *bad)
{
    for (size_t at = 0; at < bad->size;) {
        const char *name = (const char *)bad->p + at;
        struct kvsql_error err;

        if (kv_damaged_move(config, name, &err) != KVSQL_OK) {
            kv_diag(KV_WARN, "snapshot.bad", "why=\"%s\"", err.text);
        }
        at += strlen(name) + 1;
    }
}

static kvsql_rc db_readonly_writable(void *arg, struct kvsql_error *err)
{
    const kvsql *db = arg;

    return kv_fail(err, KVSQL_READONLY,
                   "the store in %s was opened for reading only", db->path);
}

static kvsql_rc db_open_wal(kvsql *db, const struct kv_wal_config *config,
                            struct kvsql_error *err)
{
    if (db->options.read_only) {
        const struct kv_sink sink = {.arg = db,
                                     .writable = db_readonly_writable};

        kv_store_sink(db->store, &sink); /* DB2 */
        return KVSQL_OK;
    }
    return kv_wal_open(config, &db->manifest, db->store, &db->wal, err);
}

static kvsql_rc db_recover(kvsql *db, const struct kv_wal_config *config,
                           kv_progress_fn progress, void *arg,
                           struct kvsql_error *err)
{
    const bool write = !db->options.read_only;
    const bool repair = db->options.repair && write;
    const uint64_t began = kv_os_mono_ns();
    struct kv_wal_report report = {.frames = 0};
    struct kv_buf bad;

    kv_buf_init(&bad, KV_MEM_MISC, 1u << 20);
    /* What lies behind `to` may be as it is. */
    kvsql_rc rc = repair || db->to != 0
                      ? KVSQL_OK
                      : kv_wal_headers(config, &db->manifest, err);
    if (rc == KVSQL_OK) {
        rc = kv_db_load(db, progress, arg, &bad, err);
    }
    if (rc == KVSQL_OK) {
        rc = kv_wal_recover(config, &db->manifest, db->store, write, repair,
                            progress, arg, &report, err);
    }
    if (rc == KVSQL_OK) {
        rc = db_open_wal(db, config, err);
    }
    if (rc == KVSQL_OK && write) {
        db_move_bad(config, &bad);
    }
    kv_buf_fini(&bad);
    if (rc == KVSQL_OK) {
        kv_diag(KV_INFO, "store.open",
                "dir=%s position=%" PRIu64 " frames=%" PRIu64
                " bytes=%" PRIu64 " ms=%" PRIu64,
                db->path, kv_store_position(db->store), report.frames,
                report.bytes, (kv_os_mono_ns() - began) / 1000000);
        if (repair && report.lost_from == 0) {
            kv_diag(KV_INFO, "wal.repaired", "lost=0 why=\"%s\"",
                    "nothing behind the snapshot was damaged");
        }
    }
    return rc;
}

static kvsql_rc db_open_files(kvsql *db, kv_progress_fn progress, void *arg,
                              struct kvsql_error *err)
{
    kvsql_rc rc = db_open_dir(db, err);

    if (rc == KVSQL_OK && !db->options.read_only) {
        rc = db_take_lock(db, err);
    }
    if (rc != KVSQL_OK) {
        return rc;
    }
    const struct kv_wal_config config = {
        .os = db->os,
        .dir = db->dir,
        .path = db->path,
        .fsync = db->options.fsync,
        .segment_size = db->options.wal_segment_size,
        .buffer_max = db->options.wal_buffer_max,
        .to = db->to,
    };
    db->manifest.dir = db->dir;
    rc = db_read_manifest(db, &config, err);
    return rc == KVSQL_OK ? db_recover(db, &config, progress, arg, err) : rc;
}

/* ---- the keeper ------------------------------------------------------------------ */

bool kv_db_tick(kvsql *db)
{
    kv_lock_take(&db->tick_lock);
    const bool more = kv_store_tick(db->store);
    kv_lock_drop(&db->tick_lock);
    return more;
}

static void *db_keeper_thread(void *arg)
{
    kvsql *db = arg;

    kv_lock_take(&db->lock);
    while (!db->stop) {
        kv_lock_drop(&db->lock);
        const bool more = kv_db_tick(db);
        kv_lock_take(&db->lock);
        if (db->wal != NULL) {
            kv_db_snapshot_due(db);
        }
        if (!db->stop) {
            (void)kv_cond_wait_within(&db->keeper_work, &db->lock,
                                      more ? DB_TICK_MORE_MS : DB_TICK_MS);
        }
    }
    kv_lock_drop(&db->lock);
    return NULL;
}

static kvsql_rc db_start_threads(kvsql *db, struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    if (db->options.read_only) {
        return KVSQL_OK;
    }
    db->snapshot_since_ns = kv_os_mono_ns();
    if (db->wal != NULL) {
        rc = kv_thread_start(&db->snapshotter, "kv-snapshot",
                             kv_db_snapshot_thread, db, err);
    }
    if (rc == KVSQL_OK && !db->options.no_keeper) {
        rc = kv_thread_start(&db->keeper, "kv-keeper", db_keeper_thread, db,
                             err);
    }
    return rc;
}

static void db_stop_threads(kvsql *db)
{
    kv_lock_take(&db->lock);
    db->stop = true;
    kv_cond_wake_all(&db->keeper_work);
    kv_cond_wake_all(&db->snapshot_work);
    kv_cond_wake_all(&db->snapshot_begun);
    kv_lock_drop(&db->lock);
    if (db->keeper.running) {
        kv_thread_join(&db->keeper);
    }
    if (db->snapshotter.running) {
        kv_thread_join(&db->snapshotter);
    }
}

/* ---- open, close ------------------------------------------------------------------- */

static void db_options(kvsql *db, const struct kvsql_options *options)
{
    static const struct kvsql_options defaults;

    db->options = options ? *options : defaults;
    if (db->options.snapshot_keep == 0) {
        db->options.snapshot_keep = DB_SNAPSHOT_KEEP;
    }
    if (db->options.snapshot_keep > KV_MANIFEST_SNAPSHOTS_MAX) {
        db->options.snapshot_keep = KV_MANIFEST_SNAPSHOTS_MAX;
    }
    if (db->options.snapshot_every_s == 0) {
        db->options.snapshot_every_s = DB_SNAPSHOT_EVERY_S;
    }
    if (db->options.snapshot_wal_size == 0) {
        db->options.snapshot_wal_size = DB_SNAPSHOT_WAL;
    }
    kv_set_snapshots(db, db->options.snapshot_every_s,
                     db->options.snapshot_wal_size);
}

static void db_init(kvsql *db, const struct kvsql_options *options,
                    const struct kv_os *os)
{
    uint8_t id[8];

    db_options(db, options);
    db->os = os;
    db->dir = db->lock_file = -1;
    db->snapshot_last_ok = true;
    os->random(os->arg, id, sizeof(id));
    for (unsigned i = 0; i < sizeof(id); i++) {
        (void)snprintf(db->start_id + 2 * i, 3, "%02x", id[i]);
    }
    kv_manifest_init(&db->manifest, os, -1);
    kv_lock_init(&db->tick_lock, KV_RANK_DB);
    kv_lock_init(&db->lock, KV_RANK_HANDLE);
    kv_cond_init(&db->keeper_work);
    kv_cond_init(&db->snapshot_work);
    kv_cond_init(&db->snapshot_begun);
}

/* Everything but the wal, which is closed or was never opened. */
static void db_free(kvsql *db)
{
    if (db->store != NULL) {
        kv_store_close(db->store);
    }
    if (db->lock_file >= 0) {
        db->os->close(db->os->arg, db->lock_file);
    }
    if (db->dir >= 0) {
        db->os->dir_close(db->os->arg, db->dir);
    }
    kv_cond_fini(&db->snapshot_work);
    kv_cond_fini(&db->snapshot_begun);
    kv_cond_fini(&db->keeper_work);
    kv_lock_fini(&db->lock);
    kv_lock_fini(&db->tick_lock);
    kv_manifest_fini(&db->manifest);
    kv_mem_free(KV_MEM_MISC, db, sizeof(*db));
}

static kvsql_rc db_open(const char *dir, const struct kvsql_options *options,
                        const struct kv_os *os, uint64_t to,
                        kv_progress_fn progress, void *progress_arg,
                        kvsql **out, struct kvsql_error *err)
{
    const size_t size = dir ? strlen(dir) : 0;
    struct kvsql_error ignored;

    *out = NULL;
    if (size >= DB_PATH_MAX) {
        return kv_fail(err, KVSQL_TOOBIG,
                       "the path of the data directory is longer than %d bytes",
                       DB_PATH_MAX - 1);
    }
    kvsql *db = kv_mem_zalloc(KV_MEM_MISC, sizeof(*db));
    if (db == NULL) {
        return kv_fail(err, KVSQL_NOMEM, "no memory to open a store");
    }
    db_init(db, options, os);
    db->to = to;
    memcpy(db->path, size ? dir : "", size);
    kvsql_rc rc = kv_store_open(db, os, &db->store, err);
    if (rc == KVSQL_OK) { /* before loading: entries get their lru bytes */
        kv_set_maxmemory_policy(db, db->options.maxmemory_policy,
                                db->options.maxmemory_samples);
    }
    if (rc == KVSQL_OK && size > 0) {
        rc = db_open_files(db, progress, progress_arg, err);
    }
    if (rc == KVSQL_OK) {
        kv_store_set_maxmemory(db->store, db->options.maxmemory);
        rc = db_start_threads(db, err);
    }
    if (rc != KVSQL_OK) {
        db_stop_threads(db);
        if (db->wal != NULL) {
            (void)kv_wal_close(db->wal, &ignored); /* the first error counts */
        }
        db_free(db);
        return rc;
    }
    *out = db;
    return KVSQL_OK;
}

kvsql_rc kv_open_os(const char *dir, const struct kvsql_options *options,
                    const struct kv_os *os, kv_progress_fn progress,
                    void *progress_arg, kvsql **out, struct kvsql_error *err)
{
    return db_open(dir, options, os, 0, progress, progress_arg, out, err);
}

kvsql_rc kv_db_open_at(const char *dir, const struct kv_os *os, uint64_t to,
                       kv_progress_fn progress, void *arg, kvsql **out,
                       struct kvsql_error *err)
{
    const struct kvsql_options options = {.read_only = true,
                                          .no_keeper = true};

    return db_open(dir, &options, os, to, progress, arg, out, err);
}

kvsql_rc kv_close(kvsql *db, struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    db_stop_threads(db);
    if (db->wal != NULL) {
        const uint64_t position = kv_store_position(db->store);

        rc = kv_wal_close(db->wal, err);
        kv_diag(KV_INFO, "store.close", "dir=%s position=%" PRIu64 " clean=%s",
                db->path, position, rc == KVSQL_OK ? "yes" : "no");
    }
    db_free(db);
    return rc;
}

/* ---- the handle as a whole ------------------------------------------------------------ */

struct kv_store *kv_db_store(kvsql *db)
{
    return db->store;
}

struct kv_strangers *kv_db_strangers(kvsql *db)
{
    return &db->strangers;
}

int64_t kv_now(kvsql *db)
{
    return db->os->wall_ms(db->os->arg);
}

void kv_set_maxmemory(kvsql *db, uint64_t bytes)
{
    kv_store_set_maxmemory(db->store, bytes);
}

void kv_set_maxmemory_policy(kvsql *db, enum kvsql_maxmemory_policy policy,
                             unsigned samples)
{
    kv_store_set_policy(db->store, policy, samples);
}

void kv_set_views(kvsql *db, uint64_t age_ms, uint64_t bytes)
{
    kv_store_set_views(db->store, age_ms, bytes);
}

void kv_set_fsync(kvsql *db, enum kvsql_fsync policy)
{
    if (db->wal != NULL) {
        kv_wal_set_fsync(db->wal, policy);
    }
}

void kv_set_snapshots(kvsql *db, uint64_t every_s, uint64_t wal_size)
{
    atomic_store(&db->snapshot_every_s, every_s);
    atomic_store(&db->snapshot_wal_size, wal_size);
}

kvsql_rc kv_sync(kvsql *db, uint64_t position, struct kvsql_error *err)
{
    return db->wal ? kv_wal_sync(db->wal, position, err) : KVSQL_OK;
}

bool kv_gate_open(kvsql *db, struct kv_ticket ticket)
{
    return kv_wal_gate_open(db->wal, db->store, ticket);
}

void kv_turn_begin(kvsql *db)
{
    kv_wal_turn_begin(db->wal);
}

void kv_turn_end(kvsql *db)
{
    kv_wal_turn_end(db->wal);
}

kvsql_rc kv_gate_state(kvsql *db, struct kv_ticket ticket,
                       struct kvsql_error *err)
{
    return kv_wal_gate_state(db->wal, ticket, err);
}

kvsql_rc kv_gate_wait(kvsql *db, struct kv_ticket ticket,
                      struct kvsql_error *err)
{
    return kv_wal_gate_wait(db->wal, db->store, ticket, err);
}

bool kv_gate_watch(kvsql *db, struct kv_waiter *waiter)
{
    return kv_wal_gate_watch(db->wal, db->store, waiter);
}

/* All but the store's. */
static void db_info(kvsql *db, struct kv_info *info)
{
    info->durable = info->released;
    if (db->wal != NULL) {
        kv_wal_info(db->wal, info);
    }
    info->dir = db->path;
    memcpy(info->store_id, db->store_id, sizeof(info->store_id));
    memcpy(info->start_id, db->start_id, sizeof(info->start_id));
    kv_lock_take(&db->lock);
    info->snapshot_running = db->snapshot_running;
    info->snapshot_last_ok = db->snapshot_last_ok;
    info->snapshot_count = db->snapshot_count;
    if (db->snapshot_running) {
        info->snapshot_done = atomic_load(&db->snapshot_done);
        info->snapshot_total = atomic_load(&db->snapshot_total);
        info->snapshot_of = db->snapshot_of;
        info->snapshot_running_ms =
            (kv_os_mono_ns() - db->snapshot_begun_ns) / 1000000;
    }
    if (db->known_count > 0) {
        info->snapshot_position = db->known[0].position;
        info->snapshot_ms = db->known[0].ms;
        info->snapshot_at = db->known[0].created_at;
    }
    kv_lock_drop(&db->lock);
}

void kv_info_get_in(struct kv_txn *txn, struct kv_info *info)
{
    kvsql *db = kv_txn_db(txn);

    *info = (struct kv_info){.wal_state = "ok", .wal_policy = "no"};
    kv_store_info_held(db->store, info);
    db_info(db, info);
}

void kv_info_get(kvsql *db, struct kv_info *info)
{
    *info = (struct kv_info){.wal_state = "ok", .wal_policy = "no"};
    kv_store_info(db->store, info);
    db_info(db, info);
}
