/* db_snapshot.c - snapshots of an open store: loading at the start, taking,
 * the schedule, the list.
 *
 * Taking one, in this order, so that a crash after any step leaves the old
 * ones whole (P2, P5, W8, W9):
 *
 *   delete what has expired by ordinary batches (P10), pin a view at P
 *   new segment: all frames up to P are in sealed, synced files
 *   snap-P.db.tmp written and synced; renamed; directory synced
 *   read again for size and CRC32C
 *   MANIFEST names it and no longer what is too old (history.c)
 *   the oldest file and the segments that only it needed are removed
 *
 * Thread: taking is done by one thread at a time, the caller's or the
 * snapshot thread's; writers go on meanwhile. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/os.h"
#include "kvsql/db_private.h"
#include "kvsql/seg.h"
#include "kvsql/snapshot.h"
#include "kvsql/store_private.h"

#define DBSNAP_TICKS_MAX 10000
#define DBSNAP_RETRY_NS (60ull * 1000000000u)
#define DBSNAP_NS_PER_S 1000000000ull

/* ---- loading ---------------------------------------------------------------------- */

static kvsql_rc dbsnap_path(const kvsql *db, const char *name,
                            char out[DB_PATH_MAX], struct kvsql_error *err)
{
    const int size = snprintf(out, DB_PATH_MAX, "%s/%s", db->path, name);

    if (size < 0 || size >= DB_PATH_MAX) {
        return kv_fail(err, KVSQL_TOOBIG, "the path of %s in %.64s... is longer"
                       " than %d bytes", name, db->path, DB_PATH_MAX - 1);
    }
    return KVSQL_OK;
}

/* P3: the CRC before SQLite sees a byte; then load. */
static kvsql_rc dbsnap_load_one(kvsql *db,
                                const struct kv_manifest_snapshot *snapshot,
                                kv_progress_fn progress, void *arg,
                                struct kv_snapshot_info *info,
                                struct kvsql_error *err)
{
    char path[DB_PATH_MAX];
    uint64_t size;
    uint32_t crc;

    kvsql_rc rc = kv_snapshot_checksum(db->os, db->dir, snapshot->name, &size,
                                       &crc, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    if (size != snapshot->size || crc != snapshot->crc) {
        return kv_fail(err, KVSQL_CORRUPT,
                       "snapshot.damaged file=%s offset=0 expected_size=%" PRIu64
                       " found_size=%" PRIu64 " expected_crc=%08" PRIx32
                       " found_crc=%08" PRIx32 " hint=\"a snapshot that a "
                       "person has changed is read by kvsql import\"",
                       snapshot->name, snapshot->size, size, snapshot->crc,
                       crc);
    }
    rc = dbsnap_path(db, snapshot->name, path, err);
    if (rc == KVSQL_OK) {
        rc = kv_snapshot_load(db->store, path, db->store_id, progress, arg,
                              info, err);
    }
    if (rc == KVSQL_OK && info->position != snapshot->position) {
        rc = kv_fail(err, KVSQL_CORRUPT,
                     "snapshot.damaged file=%s offset=0 expected_position=%"
                     PRIu64 " found_position=%" PRIu64, snapshot->name,
                     snapshot->position, info->position);
    }
    return rc;
}

/* Is this a fault of the file, so that an older one may do? */
static bool dbsnap_is_bad(kvsql_rc rc)
{
    return rc == KVSQL_CORRUPT || rc == KVSQL_NOTFOUND;
}

static kvsql_rc dbsnap_none_left(kvsql *db, const struct kvsql_error *cause,
                                 struct kvsql_error *err)
{
    const struct kv_manifest *manifest = &db->manifest;

    if (db->options.repair && manifest->segment_count > 0 &&
        manifest->segments[0].first == 1) {
        kv_diag(KV_WARN, "snapshot.bad", "hint=\"%s\"",
                "no snapshot is good; the wal goes back to the beginning");
        return KVSQL_OK;
    }
    return kv_fail(err, KVSQL_CORRUPT, "%.380s (no older snapshot is left: "
                   "restore a copy)", cause->text);
}

/* A store that nothing was loaded into. */
static kvsql_rc dbsnap_fresh_store(kvsql *db, struct kvsql_error *err)
{
    struct kv_store *fresh;
    const kvsql_rc rc = kv_store_open(db, db->os, &fresh, err);

    if (rc == KVSQL_OK) {
        kv_store_close(db->store);
        db->store = fresh;
    }
    return rc;
}

/* Leave out the snapshots that are newer than what is to be read. */
static kvsql_rc dbsnap_back_to(kvsql *db, struct kvsql_error *err)
{
    struct kv_manifest *manifest = &db->manifest;
    unsigned newer = 0;

    while (newer < manifest->snapshot_count &&
           manifest->snapshots[newer].position > db->to) {
        newer++;
    }
    const uint64_t oldest =
        newer > 0 ? manifest->snapshots[newer - 1].position : 0;
    manifest->snapshot_count -= newer;
    memmove(manifest->snapshots, manifest->snapshots + newer,
            manifest->snapshot_count * sizeof(manifest->snapshots[0]));
    if (manifest->snapshot_count > 0 || newer == 0 ||
        (manifest->segment_count > 0 && manifest->segments[0].first == 1)) {
        return KVSQL_OK;
    }
    return kv_fail(err, KVSQL_INVALID,
                   "%s goes back to position %" PRIu64 ", that of its oldest "
                   "snapshot: position %" PRIu64 " is not there any more",
                   db->path, oldest, db->to);
}

kvsql_rc kv_db_load(kvsql *db, kv_progress_fn progress, void *arg,
                    struct kv_buf *bad, struct kvsql_error *err)
{
    struct kv_manifest *manifest = &db->manifest;
    struct kvsql_error cause = {.rc = KVSQL_OK};
    const kvsql_rc reaches =
        db->to != 0 ? dbsnap_back_to(db, err) : KVSQL_OK;

    if (reaches != KVSQL_OK || manifest->snapshot_count == 0) {
        return reaches;
    }
    while (manifest->snapshot_count > 0) {
        struct kv_manifest_snapshot *newest = &manifest->snapshots[0];
        struct kv_snapshot_info info = {.size = 0};
        kvsql_rc rc = dbsnap_load_one(db, newest, progress, arg, &info, &cause);

        if (rc == KVSQL_OK) {
            memcpy(info.file, newest->name, sizeof(newest->name));
            info.size = newest->size;
            db->known[0] = info;
            db->known_count = 1;
            return KVSQL_OK;
        }
        if (!dbsnap_is_bad(rc)) {
            return kv_fail(err, rc, "%s", cause.text);
        }
        kv_diag(KV_ERROR_LEVEL, "snapshot.bad", "file=%s why=\"%s\"",
                newest->name, cause.text);
        kv_buf_add(bad, newest->name, strlen(newest->name) + 1);
        rc = dbsnap_fresh_store(db, err);
        if (rc == KVSQL_OK) {
            rc = kv_buf_result(bad, "snapshot: names", err);
        }
        if (rc != KVSQL_OK) {
            return rc;
        }
        manifest->snapshot_count--;
        memmove(manifest->snapshots, manifest->snapshots + 1,
                manifest->snapshot_count * sizeof(*newest));
    }
    return dbsnap_none_left(db, &cause, err);
}

/* ---- taking ------------------------------------------------------------------------- */

/* The wal is durable and sealed up to the view, so that file and following
 * segments agree whatever happens. */
static kvsql_rc dbsnap_settle(kvsql *db, uint64_t position,
                              struct kvsql_error *err)
{
    const kvsql_rc rc = kv_wal_rotate(db->wal, err);

    return rc == KVSQL_OK ? kv_wal_sync(db->wal, position, err) : rc;
}

static kvsql_rc dbsnap_write(kvsql *db, const struct kv_view *view,
                             const char *tmp, kv_progress_fn progress,
                             void *arg, struct kv_snapshot_info *info,
                             struct kvsql_error *err)
{
    char path[DB_PATH_MAX];
    kvsql_rc rc = dbsnap_path(db, tmp, path, err);

    if (rc != KVSQL_OK) {
        return rc;
    }
    const int removed = db->os->remove(db->os->arg, db->dir, tmp);
    if (removed < 0 && removed != -ENOENT) {
        return kv_fail(err, kv_seg_rc(-removed), "snapshot: cannot remove %s: "
                       "%s", tmp, kv_os_error(-removed));
    }
    return kv_snapshot_write(view, path, db->store_id, progress, arg, info,
                             err);
}

/* Rename, sync, read again, name. *oldest: no segment up to it is needed. */
static kvsql_rc dbsnap_publish(kvsql *db, const char *tmp,
                               struct kv_manifest_snapshot *snapshot,
                               char dropped[][40], unsigned *dropped_count,
                               uint64_t *oldest, struct kvsql_error *err)
{
    const struct kv_os *os = db->os;
    bool kept[KV_MANIFEST_SNAPSHOTS_MAX + 1], from_begin;

    int rc = os->rename(os->arg, db->dir, tmp, db->dir, snapshot->name);
    if (rc == 0) {
        rc = os->dir_sync(os->arg, db->dir);
    }
    if (rc < 0) {
        return kv_fail(err, kv_seg_rc(-rc), "snapshot: cannot rename %s: %s",
                       tmp, kv_os_error(-rc));
    }
    const kvsql_rc read = kv_snapshot_checksum(
        os, db->dir, snapshot->name, &snapshot->size, &snapshot->crc, err);
    if (read != KVSQL_OK) {
        return read;
    }
    kv_history_choose(db, os->wall_ms(os->arg), kept, &from_begin);
    const kvsql_rc named =
        kv_manifest_add_snapshot(&db->manifest, snapshot, kept, dropped,
                                 dropped_count, oldest, err);
    *oldest = from_begin ? 0 : *oldest;
    return named;
}

/* What nobody needs any more. A failure here costs room, not truth: it is
 * tried again with the next snapshot, or at the next start. */
static void dbsnap_clean(kvsql *db, char dropped[][40], unsigned dropped_count,
                         uint64_t oldest)
{
    struct kvsql_error err;

    for (unsigned i = 0; i < dropped_count; i++) {
        const int rc = db->os->remove(db->os->arg, db->dir, dropped[i]);

        if (rc < 0) {
            kv_diag(KV_WARN, "snapshot.remove", "file=%s why=\"%s\"",
                    dropped[i], kv_os_error(-rc));
        }
    }
    if (kv_wal_trim(db->wal, oldest, &err) != KVSQL_OK) {
        kv_diag(KV_WARN, "wal.trim", "why=\"%s\"", err.text);
    }
}

void kv_snapshot_name(uint64_t position, char out[KV_SNAPSHOT_NAME_SIZE])
{
    (void)snprintf(out, KV_SNAPSHOT_NAME_SIZE, "snap-%016" PRIu64 ".db",
                   position);
}

/* All but the marks of who is running. */
static kvsql_rc dbsnap_take(kvsql *db, const struct kv_view *view,
                            kv_progress_fn progress, void *arg,
                            struct kv_snapshot_info *info,
                            struct kvsql_error *err)
{
    struct kv_manifest_snapshot snapshot = {
        .position = kv_view_position(view)};
    char dropped[KV_MANIFEST_SNAPSHOTS_MAX][40];
    char tmp[48];
    unsigned dropped_count = 0;
    uint64_t oldest = 0;

    kv_snapshot_name(snapshot.position, snapshot.name);
    (void)snprintf(tmp, sizeof(tmp), "%s.tmp", snapshot.name);
    kvsql_rc rc = dbsnap_settle(db, snapshot.position, err);
    if (rc == KVSQL_OK) {
        rc = dbsnap_write(db, view, tmp, progress, arg, info, err);
    }
    if (rc == KVSQL_OK) {
        rc = dbsnap_publish(db, tmp, &snapshot, dropped, &dropped_count,
                            &oldest, err);
    }
    if (rc != KVSQL_OK) {
        (void)db->os->remove(db->os->arg, db->dir, tmp);
        kv_lock_take(&db->manifest.lock);
        const bool unsure = db->manifest.unsure;
        kv_lock_drop(&db->manifest.lock);
        if (!unsure) { /* else the MANIFEST on disk may name it (M1) */
            (void)db->os->remove(db->os->arg, db->dir, snapshot.name);
        }
        return rc;
    }
    memcpy(info->file, snapshot.name, sizeof(snapshot.name));
    info->size = snapshot.size;
    dbsnap_clean(db, dropped, dropped_count, oldest);
    return KVSQL_OK;
}

/* Lock held. */
static void dbsnap_remember(kvsql *db, const struct kv_snapshot_info *info)
{
    const unsigned most = KV_MANIFEST_SNAPSHOTS_MAX - 1;
    const unsigned kept = db->known_count < most ? db->known_count : most;

    memmove(&db->known[1], &db->known[0], kept * sizeof(db->known[0]));
    db->known[0] = *info;
    db->known_count = kept + 1;
    db->snapshot_count++;
}

/* The newest one there is, when nothing has changed since. */
static bool dbsnap_unchanged(kvsql *db, uint64_t position,
                             struct kv_snapshot_info *info)
{
    return kv_snapshot_list(db, info, 1) == 1 && info->position == position;
}

/* P10: what had expired when this began is gone when it ends, fields too. A hash
 * with one that is only hidden would have another length in the file. */
static void dbsnap_expire(kvsql *db)
{
    unsigned ticks = 0;

    if (kv_expire_pending(db->store)) {
        kv_os_sleep_ms(KV_EXPIRE_STEP_MS);
    }
    while (ticks++ < DBSNAP_TICKS_MAX && kv_db_tick(db)) {
    }
}

/* It is known which state the snapshot is of; 0: there is no view. */
static void dbsnap_begun(kvsql *db, uint64_t position)
{
    kv_lock_take(&db->lock);
    db->snapshot_of = position;
    db->snapshot_runs++;
    kv_cond_wake_all(&db->snapshot_begun);
    kv_lock_drop(&db->lock);
}

static kvsql_rc dbsnap_run(kvsql *db, kv_progress_fn progress, void *arg,
                           struct kv_snapshot_info *info,
                           struct kvsql_error *err)
{
    struct kv_view *view;

    dbsnap_expire(db);
    kvsql_rc rc = kv_pin_own(db, &view, err);
    dbsnap_begun(db, rc == KVSQL_OK ? kv_view_position(view) : 0);
    if (rc != KVSQL_OK) {
        return rc;
    }
    kv_view_hold(view, "snapshot");
    if (dbsnap_unchanged(db, kv_view_position(view), info)) {
        kv_unpin(view);
        return KVSQL_OK;
    }
    struct kv_info before = {.wal_bytes = 0};
    kv_wal_info(db->wal, &before);
    rc = dbsnap_take(db, view, progress, arg, info, err);
    kv_unpin(view);
    if (rc == KVSQL_OK) {
        kv_lock_take(&db->lock);
        dbsnap_remember(db, info);
        db->snapshot_wal_bytes = before.wal_bytes;
        kv_lock_drop(&db->lock);
    }
    return rc;
}

static kvsql_rc dbsnap_allowed(const kvsql *db, struct kvsql_error *err)
{
    if (db->wal != NULL) {
        return KVSQL_OK;
    }
    return db->path[0] == '\0'
               ? kv_fail(err, KVSQL_INVALID,
                         "snapshot: a store without files has no snapshots")
               : kv_fail(err, KVSQL_READONLY,
                         "snapshot: the store in %s was opened for reading "
                         "only", db->path);
}

/* Who asks how far a snapshot is finds it in the store, too. */
struct dbsnap_told {
    kvsql *db;
    kv_progress_fn progress;
    void *arg;
};

static void dbsnap_tell(void *arg, const struct kv_progress *progress)
{
    const struct dbsnap_told *told = arg;

    atomic_store_explicit(&told->db->snapshot_done, progress->done,
                          memory_order_relaxed);
    atomic_store_explicit(&told->db->snapshot_total, progress->total,
                          memory_order_relaxed);
    if (told->progress != NULL) {
        told->progress(told->arg, progress);
    }
}

kvsql_rc kv_snapshot_run(kvsql *db, kv_progress_fn progress, void *arg,
                         struct kv_snapshot_info *out, struct kvsql_error *err)
{
    struct kv_snapshot_info info = {.size = 0};
    struct kvsql_error own = {.rc = KVSQL_OK};
    struct dbsnap_told told = {db, progress, arg};

    err = err ? err : &own;
    kvsql_rc rc = dbsnap_allowed(db, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    kv_lock_take(&db->lock);
    const bool busy = db->snapshot_running;
    db->snapshot_running = true;
    if (!busy) {
        db->snapshot_begun_ns = kv_os_mono_ns();
        db->snapshot_of = 0;
        atomic_store(&db->snapshot_done, 0);
        atomic_store(&db->snapshot_total, 0);
    }
    kv_lock_drop(&db->lock);
    if (busy) {
        return kv_fail(err, KVSQL_BUSY, "snapshot: one is being written now");
    }
    const uint64_t begun = kv_latency_begin(db->store);
    rc = dbsnap_run(db, dbsnap_tell, &told, &info, err);
    kv_latency_end(db->store, KV_LATENCY_SNAPSHOT, begun);
    kv_lock_take(&db->lock);
    db->snapshot_running = false;
    db->snapshot_last_ok = rc == KVSQL_OK;
    db->snapshot_since_ns = kv_os_mono_ns();
    db->snapshot_next_ns =
        rc == KVSQL_OK ? 0 : db->snapshot_since_ns + DBSNAP_RETRY_NS;
    kv_lock_drop(&db->lock);
    if (rc == KVSQL_OK) {
        kv_diag(KV_INFO, "snapshot.done",
                "file=%s position=%" PRIu64 " keys=%" PRIu64 " bytes=%" PRIu64
                " ms=%" PRIu64,
                info.file, info.position, info.keys, info.size, info.ms);
    } else {
        kv_diag(KV_WARN, "snapshot.failed", "why=\"%s\"", err->text);
    }
    if (out != NULL) {
        *out = info;
    }
    return rc;
}

/* ---- schedule, list ------------------------------------------------------------------ */

void kv_db_snapshot_due(kvsql *db)
{
    const uint64_t now = kv_os_mono_ns();
    const uint64_t taken = db->known_count > 0 ? db->known[0].position : 0;
    struct kv_info info = {.wal_bytes = 0};

    if (db->snapshot_wanted || db->snapshot_running ||
        now < db->snapshot_next_ns ||
        kv_store_released(db->store) <= taken) {
        return;
    }
    const bool time = now - db->snapshot_since_ns >=
                      atomic_load(&db->snapshot_every_s) * DBSNAP_NS_PER_S;
    if (!time) {
        kv_wal_info(db->wal, &info);
    }
    if (time || info.wal_bytes - db->snapshot_wal_bytes >=
                    atomic_load(&db->snapshot_wal_size)) {
        db->snapshot_wanted = true;
        kv_cond_wake_all(&db->snapshot_work);
    }
}

/* *runs: those before it. */
static kvsql_rc dbsnap_start(kvsql *db, uint64_t *runs,
                             struct kvsql_error *err)
{
    const kvsql_rc rc = dbsnap_allowed(db, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    kv_lock_take(&db->lock);
    const bool busy = db->snapshot_running || db->snapshot_wanted;
    *runs = db->snapshot_runs;
    if (!busy) {
        db->snapshot_wanted = true;
        kv_cond_wake_all(&db->snapshot_work);
    }
    kv_lock_drop(&db->lock);
    return busy ? kv_fail(err, KVSQL_BUSY,
                          "snapshot: one is being written now")
                : KVSQL_OK;
}

kvsql_rc kv_snapshot_start(kvsql *db, struct kvsql_error *err)
{
    uint64_t runs;

    return dbsnap_start(db, &runs, err);
}

kvsql_rc kv_snapshot_begin(kvsql *db, uint64_t *position,
                           struct kvsql_error *err)
{
    uint64_t runs;

    const kvsql_rc rc = dbsnap_start(db, &runs, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    kv_lock_take(&db->lock);
    while (db->snapshot_runs == runs && !db->stop) {
        kv_cond_wait(&db->snapshot_begun, &db->lock);
    }
    *position = db->snapshot_runs == runs ? 0 : db->snapshot_of;
    kv_lock_drop(&db->lock);
    return KVSQL_OK;
}

void *kv_db_snapshot_thread(void *arg)
{
    kvsql *db = arg;

    kv_thread_step_back(KV_BACK_FILES);
    kv_lock_take(&db->lock);
    while (!db->stop) {
        if (!db->snapshot_wanted) {
            kv_cond_wait(&db->snapshot_work, &db->lock);
            continue;
        }
        struct kvsql_error err;
        kv_lock_drop(&db->lock);
        /* What went wrong is said and counted by the call itself. */
        (void)kv_snapshot_run(db, NULL, NULL, NULL, &err);
        kv_lock_take(&db->lock);
        db->snapshot_wanted = false;
    }
    kv_lock_drop(&db->lock);
    return NULL;
}

unsigned kv_snapshot_list(kvsql *db, struct kv_snapshot_info *out, unsigned max)
{
    unsigned count = 0;

    kv_lock_take(&db->manifest.lock);
    kv_lock_take(&db->lock);
    for (; count < db->manifest.snapshot_count && count < max; count++) {
        const struct kv_manifest_snapshot *from =
            &db->manifest.snapshots[count];

        out[count] = (struct kv_snapshot_info){.position = from->position,
                                               .size = from->size};
        memcpy(out[count].file, from->name, sizeof(from->name));
        for (unsigned i = 0; i < db->known_count; i++) {
            if (db->known[i].position == from->position) {
                out[count] = db->known[i];
            }
        }
    }
    kv_lock_drop(&db->lock);
    kv_lock_drop(&db->manifest.lock);
    return count;
}

kvsql_rc kv_snapshot_open(kvsql *db, const char *name, int *file,
                          struct kv_snapshot_info *info,
                          struct kvsql_error *err)
{
    struct kv_snapshot_info kept[KV_MANIFEST_SNAPSHOTS_MAX];
    const unsigned count =
        kv_snapshot_list(db, kept, KV_MANIFEST_SNAPSHOTS_MAX);
    const bool latest = strcmp(name, "latest.db") == 0;
    unsigned i = 0;

    while (i < count && !latest && strcmp(kept[i].file, name) != 0) {
        i++;
    }
    if (i == count) {
        return kv_fail(err, KVSQL_NOTFOUND, "there is no snapshot '%.64s'",
                       name);
    }
    *info = kept[i];
    const int opened = db->os->open(db->os->arg, db->dir, info->file,
                                    KV_OS_READ, file);
    if (opened == -ENOENT) { /* an older one: removed since it was listed */
        return kv_fail(err, KVSQL_NOTFOUND, "snapshot %s is gone",
                       info->file);
    }
    if (opened < 0) {
        return kv_fail(err, KVSQL_IO, "snapshot: cannot open %s: %s",
                       info->file, strerror(-opened));
    }
    const int64_t size = db->os->size(db->os->arg, *file);
    if (size < 0) {
        db->os->close(db->os->arg, *file);
        return kv_fail(err, KVSQL_IO, "snapshot: cannot ask for the size of %s",
                       info->file);
    }
    info->size = (uint64_t)size;
    return KVSQL_OK;
}

/* The segments of the wal that only it needed go with the next snapshot. */
kvsql_rc kv_snapshot_remove(kvsql *db, const char *name,
                            struct kvsql_error *err)
{
    kvsql_rc rc = dbsnap_allowed(db, err);

    if (rc != KVSQL_OK) {
        return rc;
    }
    kv_lock_take(&db->lock); /* who writes one has looked at the list */
    /* who asked for one waits until that has begun: it must not find this */
    const bool busy = db->snapshot_running || db->snapshot_wanted;
    db->snapshot_running = db->snapshot_running || !busy;
    kv_lock_drop(&db->lock);
    if (busy) {
        return kv_fail(err, KVSQL_BUSY, "snapshot: one is being written now");
    }
    rc = kv_manifest_drop_snapshot(&db->manifest, name, err);
    if (rc == KVSQL_OK) {
        const int removed = db->os->remove(db->os->arg, db->dir, name);
        if (removed < 0 && removed != -ENOENT) { /* at the next start, then */
            kv_diag(KV_WARN, "snapshot.remove", "file=%s why=\"%s\"", name,
                    kv_os_error(-removed));
        }
    }
    kv_lock_take(&db->lock);
    db->snapshot_running = false;
    kv_lock_drop(&db->lock);
    if (rc == KVSQL_OK) {
        kv_diag(KV_INFO, "snapshot.removed", "file=%s", name);
    }
    return rc;
}
