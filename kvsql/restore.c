/* restore.c - a data directory as it was, into a new one (inside.h).
 *
 * The newest snapshot at or before the position is loaded and the wal replayed
 * up to it, in memory; that state is written as the one snapshot of the new
 * directory. It has a store id of its own, for from here on it is another
 * history: no segment of the old one is ever taken for one of the new one.
 *
 * A time becomes a position by the marks of the wal and the headers of its
 * segments: each says that all before it had been committed at its time. The
 * last one that is not later than the time wins, so what is restored is never
 * newer than asked for, and under load at most a second older. When the clock
 * was put back, it is the last moment at which it showed the time.
 *
 * The old directory is only read, and no lock of it taken: a server may have it
 * open. When something is missing because its MANIFEST has changed meanwhile,
 * all begins again. The MANIFEST of the new one is the last thing that is
 * written, so a restore that was cut short is no store.
 *
 * Thread: the caller's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/db_private.h"
#include "kvsql/recover.h"
#include "kvsql/snapshot.h"

#define RESTORE_TRIES 4
#define RESTORE_LOCK_NAME "LOCK"

struct restore {
    const struct kv_restore *what;
    const struct kv_os *os;
    kv_progress_fn progress;
    void *progress_arg;
    struct kv_manifest manifest; /* of the old directory */
    uint64_t to;                 /* 0 = all */
    int64_t at;                  /* wall ms that says so, 0 = none does */
};

/* ---- from a time to a position ------------------------------------------------ */

static void restore_skipped(const char *name, const char *why)
{
    kv_diag(KV_WARN, "restore.skipped", "file=%s why=\"%s\"", name, why);
}

/* Read the marks of an open segment up to its end, or to what is damaged. */
static kvsql_rc restore_marks(struct restore *r, struct kv_seg_reader *reader,
                              const char *name, bool *found,
                              struct kvsql_error *err)
{
    struct kv_frame frame;
    enum kv_scan scan;

    while ((scan = kv_seg_next(reader, &frame, err)) == KV_SCAN_FRAME)
        if (frame.type == KV_FRAME_MARK && frame.time > 1 &&
            frame.time <= r->what->time) {
            r->to = frame.position;
            r->at = frame.time;
            *found = true;
        }
    if (scan == KV_SCAN_BAD)
        restore_skipped(name, reader->why);
    return scan == KV_SCAN_ERROR ? reader->rc : KVSQL_OK;
}

/* Does this segment know the time, or one before it? */
static kvsql_rc restore_segment(struct restore *r,
                                const struct kv_manifest_segment *segment,
                                bool *found, struct kvsql_error *err)
{
    struct kv_seg_reader reader;
    struct kvsql_error cause = {.rc = KVSQL_OK};
    char name[KV_SEG_NAME_SIZE];

    kv_seg_name(name, segment->number);
    kvsql_rc rc = kv_seg_open(&reader, r->os, r->manifest.dir, segment->number,
                              &cause);
    if (rc == KVSQL_CORRUPT) {
        restore_skipped(name, cause.text);
        return KVSQL_OK;
    }
    if (rc != KVSQL_OK)
        return kv_fail(err, rc, "%s", cause.text);
    if (segment->sealed && segment->end < reader.limit)
        reader.limit = segment->end;
    if (reader.header.created <= r->what->time) {
        r->to = segment->first - 1;
        r->at = reader.header.created;
        *found = true;
    }
    rc = restore_marks(r, &reader, name, found, err);
    kv_seg_close(&reader);
    return rc;
}

/* The last position that had been committed at the time, or before. */
static kvsql_rc restore_find(struct restore *r, struct kvsql_error *err)
{
    bool found = false;

    for (unsigned i = r->manifest.segment_count; i-- > 0 && !found;) {
        const kvsql_rc rc =
            restore_segment(r, &r->manifest.segments[i], &found, err);
        if (rc != KVSQL_OK)
            return rc;
    }
    if (!found)
        return kv_fail(err, KVSQL_INVALID,
                       "the wal in %s does not go back to that time",
                       r->what->from);
    if (r->to == 0)
        return kv_fail(err, KVSQL_INVALID,
                       "nothing had been written to %s at that time",
                       r->what->from);
    return KVSQL_OK;
}

/* ---- the old directory ---------------------------------------------------------- */

static kvsql_rc restore_read_once(struct restore *r, kvsql **db,
                                  struct kvsql_error *err)
{
    kvsql_rc rc = kv_manifest_read(&r->manifest, err);

    r->to = r->what->position;
    r->at = 0;
    if (rc == KVSQL_OK && r->what->time != 0)
        rc = restore_find(r, err);
    if (rc == KVSQL_OK)
        rc = kv_db_open_at(r->what->from, r->os, r->to, r->progress,
                           r->progress_arg, db, err);
    return rc;
}

static kvsql_rc restore_read(struct restore *r, kvsql **db,
                             struct kvsql_error *err)
{
    int dir;
    const int opened = r->os->dir_open(r->os->arg, r->what->from, false, &dir);
    kvsql_rc rc = KVSQL_OK;

    if (opened < 0)
        return kv_fail(err, opened == -ENOENT ? KVSQL_NOTFOUND : KVSQL_IO,
                       "cannot open the data directory %s: %s", r->what->from,
                       kv_os_error(-opened));
    kv_manifest_init(&r->manifest, r->os, dir);
    for (unsigned i = 0; i < RESTORE_TRIES; i++) {
        rc = restore_read_once(r, db, err);
        if (rc == KVSQL_OK || !kv_manifest_changed(&r->manifest))
            break;
    }
    kv_manifest_fini(&r->manifest);
    r->os->dir_close(r->os->arg, dir);
    return rc;
}

/* ---- the new directory ---------------------------------------------------------- */

struct restore_target {
    int dir, lock; /* -1: none */
    char name[40], tmp[48];
    char store_id[33];
};

static kvsql_rc restore_empty(const struct restore *r, int dir,
                              struct kvsql_error *err)
{
    const struct kv_wal_config config = {
        .os = r->os, .dir = dir, .path = r->what->to};
    struct kv_buf names;
    kvsql_rc rc = kv_recover_list(&config, kv_db_is_foreign, &names, err);

    if (rc == KVSQL_OK && names.size > 0)
        rc = kv_fail(err, KVSQL_INVALID,
                     "%s is not empty, it holds %.40s: choose a new directory",
                     r->what->to, (const char *)names.p);
    kv_buf_fini(&names);
    return rc;
}

/* Open it, keep others out, see that it is empty. */
static kvsql_rc restore_target_open(const struct restore *r,
                                    struct restore_target *target,
                                    struct kvsql_error *err)
{
    const struct kv_os *os = r->os;

    target->lock = -1;
    int rc = os->dir_open(os->arg, r->what->to, true, &target->dir);
    if (rc < 0) {
        target->dir = -1;
        return kv_fail(err, kv_seg_rc(-rc), "cannot make the directory %s: %s",
                       r->what->to, kv_os_error(-rc));
    }
    const kvsql_rc empty = restore_empty(r, target->dir, err);
    if (empty != KVSQL_OK)
        return empty;
    rc = os->open(os->arg, target->dir, RESTORE_LOCK_NAME,
                  KV_OS_WRITE | KV_OS_CREATE, &target->lock);
    if (rc < 0)
        target->lock = -1;
    else
        rc = os->lock(os->arg, target->lock);
    if (rc < 0)
        return kv_fail(err, rc == -EWOULDBLOCK ? KVSQL_LOCKED : kv_seg_rc(-rc),
                       "cannot lock %s: %s", r->what->to, kv_os_error(-rc));
    return restore_empty(r, target->dir, err); /* nobody was quicker */
}

static void restore_target_close(const struct restore *r,
                                 struct restore_target *target)
{
    if (target->lock >= 0)
        r->os->close(r->os->arg, target->lock);
    if (target->dir >= 0)
        r->os->dir_close(r->os->arg, target->dir);
}

/* The MANIFEST that names the snapshot and no segment. */
static kvsql_rc restore_name(const struct restore *r,
                             struct restore_target *target, uint64_t position,
                             const uint8_t store_id[16],
                             struct kvsql_error *err)
{
    struct kv_manifest manifest;
    struct kv_manifest_snapshot *snapshot;

    kv_manifest_init(&manifest, r->os, target->dir);
    memcpy(manifest.store_id, store_id, sizeof(manifest.store_id));
    snapshot = &manifest.snapshots[0];
    memcpy(snapshot->name, target->name, sizeof(snapshot->name));
    snapshot->position = manifest.durable = position;
    kvsql_rc rc = kv_snapshot_checksum(r->os, target->dir, target->name,
                                       &snapshot->size, &snapshot->crc, err);
    if (rc == KVSQL_OK) {
        manifest.snapshot_count = 1;
        rc = kv_manifest_write(&manifest, err);
    }
    kv_manifest_fini(&manifest);
    return rc;
}

static kvsql_rc restore_publish(const struct restore *r,
                                const struct restore_target *target,
                                struct kvsql_error *err)
{
    const struct kv_os *os = r->os;
    int rc = os->rename(os->arg, target->dir, target->tmp, target->dir,
                        target->name);

    if (rc == 0)
        rc = os->dir_sync(os->arg, target->dir);
    return rc == 0 ? KVSQL_OK
                   : kv_fail(err, kv_seg_rc(-rc), "cannot rename %s: %s",
                             target->tmp, kv_os_error(-rc));
}

static kvsql_rc restore_write(const struct restore *r,
                              struct restore_target *target,
                              const struct kv_view *view,
                              struct kv_snapshot_info *info,
                              struct kvsql_error *err)
{
    const uint64_t position = kv_view_position(view);
    char path[DB_PATH_MAX];
    uint8_t id[16];

    r->os->random(r->os->arg, id, sizeof(id));
    for (unsigned i = 0; i < sizeof(id); i++)
        (void)snprintf(target->store_id + 2 * i, 3, "%02x", id[i]);
    (void)snprintf(target->name, sizeof(target->name), "snap-%016" PRIu64 ".db",
                   position);
    (void)snprintf(target->tmp, sizeof(target->tmp), "%s.tmp", target->name);
    const int size =
        snprintf(path, sizeof(path), "%s/%s", r->what->to, target->tmp);
    if (size < 0 || size >= (int)sizeof(path))
        return kv_fail(err, KVSQL_TOOBIG, "the path of %s is longer than %d "
                       "bytes", r->what->to, DB_PATH_MAX - 1);
    const int gone = r->os->remove(r->os->arg, target->dir, target->tmp);
    if (gone < 0 && gone != -ENOENT)
        return kv_fail(err, kv_seg_rc(-gone), "cannot remove %s: %s", path,
                       kv_os_error(-gone));
    kvsql_rc rc = kv_snapshot_write(view, path, target->store_id, r->progress,
                                    r->progress_arg, info, err);
    if (rc == KVSQL_OK)
        rc = restore_publish(r, target, err);
    if (rc == KVSQL_OK)
        rc = restore_name(r, target, position, id, err);
    if (rc != KVSQL_OK) { /* no MANIFEST names them */
        (void)r->os->remove(r->os->arg, target->dir, target->tmp);
        (void)r->os->remove(r->os->arg, target->dir, target->name);
    }
    memcpy(info->file, target->name, sizeof(target->name));
    return rc;
}

/* ---- the whole ------------------------------------------------------------------- */

static kvsql_rc restore_state(const struct restore *r, kvsql *db,
                              struct restore_target *target,
                              struct kv_snapshot_info *info,
                              struct kvsql_error *err)
{
    struct kv_view *view;
    kvsql_rc rc = kv_pin_own(db, &view, err);

    if (rc != KVSQL_OK)
        return rc;
    rc = kv_view_position(view) == 0
             ? kv_fail(err, KVSQL_INVALID, "nothing has been written to %s",
                       r->what->from)
             : restore_write(r, target, view, info, err);
    kv_unpin(view);
    return rc;
}

kvsql_rc kv_restore_dir(const struct kv_restore *what, const struct kv_os *os,
                        kv_progress_fn progress, void *arg,
                        struct kv_restored *restored, struct kvsql_error *err)
{
    struct restore r = {.what = what, .os = os, .progress = progress,
                        .progress_arg = arg};
    struct restore_target target = {.dir = -1};
    struct kv_snapshot_info info = {.size = 0};
    struct kvsql_error closing;
    kvsql *db;
    kvsql_rc rc = restore_target_open(&r, &target, err);

    if (rc == KVSQL_OK)
        rc = restore_read(&r, &db, err);
    if (rc == KVSQL_OK) {
        rc = restore_state(&r, db, &target, &info, err);
        (void)kv_close(db, &closing); /* it was only read */
    }
    restore_target_close(&r, &target);
    *restored = (struct kv_restored){.position = info.position, .at = r.at,
                                     .keys = info.keys, .size = info.size};
    return rc;
}
