/* wal_file.c - the active segment of the wal: writing, syncing, the next one.
 *
 * Writing is pwrite at an offset that we own (W10), of frames that stay in
 * memory until they are durable; so every failure has the same two ways out:
 * cut the file back to what we own, or leave it where it was last durable and
 * write the rest again into a fresh segment.
 *
 * Always true:
 *   L1  bytes of the active segment in front of active.tail are whole frames
 *       of positions up to `written`.
 *   L2  a file whose sync failed is never synced again: after the failure the
 *       kernel takes its pages for clean, and the next sync would lie (F4).
 *   L3  a segment that a MANIFEST on disk may name exists, with a durable
 *       header (W7), and the one before it is durable up to its `end` (W8).
 *
 * Thread: the log thread; at the opening, the opener. */
#include "kvsql/admin.h"
#include "kvsql/wal_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kvsql/base/diag.h"
#include "kvsql/store_private.h"

#define WAL_PREALLOCATE (4u << 20)
#define WAL_TIME_NS 1000000000ull /* under load, from mark to mark */
#define WAL_RESERVE_NAME "reserve"
#define WAL_RESERVE_SIZE (1u << 20)
#define WAL_NUMBER_TRIES 16 /* numbers passed over for files in the way */

/* ---- writing ---------------------------------------------------------------- */

/* Take room ahead, in steps; only a hint to the file system, so what it
 * answers does not matter (W11). Without the lock. */
static void wal_allocate(struct kv_wal *wal, uint64_t end)
{
    struct wal_segment *active = &wal->active;
    const uint64_t step = wal->segment_size / 4 < WAL_PREALLOCATE
                              ? wal->segment_size / 4
                              : WAL_PREALLOCATE;

    if (end <= active->allocated || step < 4096) {
        return;
    }
    active->allocated = end + step;
    if (wal->os->space_free(wal->os->arg, wal->dir) / 16 > step) {
        (void)wal->os->preallocate(wal->os->arg, active->file, end, step);
    }
}

/* Complete the frames of a run and write them. Without the lock. `syncing`: the
 * sync thread may have the file. */
static int wal_write_run(struct kv_wal *wal, const struct kv_log_run *run,
                         uint64_t synced, bool syncing)
{
    size_t at = 0;

    while (at < run->size) {
        struct kv_frame frame;

        kv_frame_seal(run->p + at, wal->active.seed, synced);
        kv_frame_get(run->p + at, &frame);
        at += KV_FRAME_HEADER_SIZE + frame.size;
    }
    wal_allocate(wal, wal->active.tail + run->size);
    const uint64_t begun = kv_latency_begin(wal->store);
    const int64_t written =
        wal->os->write_at(wal->os->arg, wal->active.file, run->p, run->size,
                          wal->active.tail);
    kv_latency_end(wal->store, KV_LATENCY_WAL_WRITE, begun);
    kv_latency_end(wal->store,
                   syncing ? KV_LATENCY_WAL_WRITE_SYNCING
                           : KV_LATENCY_WAL_WRITE_ALONE,
                   begun);
    return written < 0 ? (int)written : 0;
}

bool kv_wal_mark(struct kv_wal *wal)
{
    if (!kv_logbuf_mark(&wal->buf, wal->os->wall_ms(wal->os->arg))) {
        return false;
    }
    wal->timed = wal->buf.last;
    wal->timed_ns = kv_os_mono_ns();
    return true;
}

int kv_wal_write_pending(struct kv_wal *wal)
{
    const uint64_t last = wal->buf.last;
    uint64_t begun = kv_os_mono_ns();
    struct kv_log_run run;

    if (begun - wal->timed_ns >= WAL_TIME_NS && last > wal->timed) {
        (void)kv_wal_mark(wal); /* no room: with the next group */
    }
    /* Up to what stood there at the beginning: the sync must have its turn. */
    while (kv_logbuf_run(&wal->buf, wal->active.tail, &run)) {
        const uint64_t durable = wal->durable;
        const bool syncing = wal->sync_asked;

        kv_lock_drop(&wal->lock);
        const int rc = wal_write_run(wal, &run, durable, syncing);
        kv_lock_take(&wal->lock);
        if (rc < 0) {
            return rc;
        }
        kv_logbuf_written(&wal->buf, run.size);
        wal->active.tail += run.size; /* L1 */
        wal->written = run.last;
        wal->marked = durable > wal->marked ? durable : wal->marked;
        wal->bytes += run.size;
        wal->writes++;
        if (run.last > wal->durable) {
            /* A running sync may or may not have seen these bytes. */
            uint64_t *oldest = wal->sync_asked ? &wal->oldest_next_ns
                                               : &wal->oldest_ns;

            *oldest = *oldest ? *oldest : begun;
        }
        if (run.last >= last) {
            break;
        }
        begun = kv_os_mono_ns();
    }
    return 0;
}

void kv_wal_synced(struct kv_wal *wal, uint64_t position, uint64_t tail)
{
    KV_ASSERT(position >= wal->durable && position <= wal->written);
    wal->durable = position;
    wal->active.synced_tail = tail;
    wal->oldest_ns = position == wal->written ? 0 : wal->oldest_next_ns;
    wal->oldest_next_ns = 0;
    wal->synced_ns = kv_os_mono_ns();
    wal->syncs++;
    kv_logbuf_forget(&wal->buf, position);
    kv_wal_note(wal);
    kv_cond_wake_all(&wal->room);
    kv_cond_wake_all(&wal->changed);
}

int kv_wal_sync_now(struct kv_wal *wal)
{
    const uint64_t position = wal->written, tail = wal->active.tail;

    KV_ASSERT(!wal->active.poisoned && !wal->sync_asked); /* L2 */
    const bool waited = wal->policy == KVSQL_FSYNC_ALWAYS;
    kv_lock_drop(&wal->lock);
    const uint64_t begun = kv_latency_begin(wal->store);
    const int rc = wal->os->data_sync(wal->os->arg, wal->active.file);
    kv_latency_end(wal->store, KV_LATENCY_WAL_SYNC, waited ? begun : 0);
    kv_lock_take(&wal->lock);
    if (rc < 0) {
        wal->active.poisoned = true;
        return rc;
    }
    kv_wal_synced(wal, position, tail);
    return 0;
}

int kv_wal_cut(struct kv_wal *wal)
{
    const uint64_t tail = wal->active.tail;

    wal->active.allocated = 0;
    kv_lock_drop(&wal->lock);
    const int rc = wal->os->truncate(wal->os->arg, wal->active.file, tail);
    kv_lock_take(&wal->lock);
    return rc;
}

/* ---- the next segment ------------------------------------------------------- */

/* Make the next segment's file. Without the lock. */
static kvsql_rc wal_next_make(struct kv_wal *wal, uint64_t first,
                              struct kvsql_error *err)
{
    struct kv_seg_header header = {
        .number = wal->active.number,
        .first = first,
        .created = wal->os->wall_ms(wal->os->arg),
    };
    kvsql_rc rc = KVSQL_EXISTS;
    int file = -1;

    memcpy(header.store_id, wal->manifest->store_id, sizeof(header.store_id));
    for (unsigned i = 0; rc == KVSQL_EXISTS && i < WAL_NUMBER_TRIES; i++) {
        header.number++;
        rc = kv_seg_create(wal->os, wal->dir, &header, &file, err);
    }
    if (rc != KVSQL_OK) {
        return rc == KVSQL_EXISTS ? KVSQL_IO : rc;
    }
    wal->next = (struct wal_segment){.file = file, .number = header.number,
                                     .first = first, .seed = header.crc,
                                     .tail = KV_SEG_HEADER_SIZE,
                                     .synced_tail = KV_SEG_HEADER_SIZE};
    return KVSQL_OK;
}

static void wal_next_drop(struct kv_wal *wal)
{
    char name[KV_SEG_NAME_SIZE];

    kv_seg_name(name, wal->next.number);
    wal->os->close(wal->os->arg, wal->next.file);
    /* Named by nobody, no frame in it: when it stays, the next start removes
     * it, and our next try takes another number. */
    (void)wal->os->remove(wal->os->arg, wal->dir, name);
    wal->next.file = -1;
}

void kv_wal_count(struct kv_wal *wal)
{
    const struct kv_manifest *manifest = wal->manifest;
    uint64_t size = 0;

    for (unsigned i = 0; i < manifest->segment_count; i++) {
        size += manifest->segments[i].end;
    }
    kv_lock_take(&wal->lock);
    wal->segments = manifest->segment_count;
    wal->sealed_size = size;
    kv_lock_drop(&wal->lock);
}

/* Seal the old one and name the next one in memory, then on disk. When only
 * the first happened, memory goes back; when nobody knows, it stays. Without
 * the wal's lock. */
static kvsql_rc wal_next_name(struct kv_wal *wal, bool named,
                              struct kvsql_error *err)
{
    struct kv_manifest *manifest = wal->manifest;
    kvsql_rc rc = KVSQL_OK;

    kv_lock_take(&manifest->lock);
    const bool sealed = wal->active.file >= 0 && !named;
    struct kv_manifest_segment *old;
    if (sealed) {
        old = &manifest->segments[manifest->segment_count - 1];
        KV_ASSERT(old->number == wal->active.number && !old->sealed);
        old->last = wal->keep;
        old->end = wal->keep_end;
        old->sealed = true;
    }
    if (!named) {
        rc = kv_manifest_add_segment(manifest, wal->next.number,
                                     wal->next.first, err);
    }
    const bool added = !named && rc == KVSQL_OK;
    if (rc == KVSQL_OK) {
        if (manifest->durable < wal->keep) {
            manifest->durable = wal->keep;
        }
        manifest->has_clean = false;
        rc = kv_manifest_write(manifest, err);
    }
    const bool back =
        rc != KVSQL_OK && !named && !(added && manifest->unsure_last);
    if (back) {
        manifest->segment_count -= added ? 1 : 0;
        if (sealed) {
            old = &manifest->segments[manifest->segment_count - 1];
            old->last = old->end = 0;
            old->sealed = false;
        }
    }
    kv_wal_count(wal);
    kv_lock_drop(&manifest->lock);
    if (back) {
        wal_next_drop(wal);
    }
    return rc;
}

/* The old segment is durable up to `durable`, by a last sync if it takes one. */
static void wal_settle(struct kv_wal *wal)
{
    if (wal->active.file < 0) {
        wal->keep = wal->durable;
        wal->keep_end = 0;
        return;
    }
    if (wal->active.allocated > wal->active.tail && !wal->active.poisoned) {
        /* Gives back the room taken ahead; nothing depends on it. */
        (void)kv_wal_cut(wal);
    }
    if (!wal->active.poisoned && (wal->written > wal->durable ||
                                  wal->active.tail > wal->active.synced_tail)) {
        const int rc = kv_wal_sync_now(wal);

        if (rc < 0) { /* it is poisoned now: all the same here */
            kv_diag(KV_WARN, "wal.sync",
                    "durable=%" PRIu64 " why=\"wal: cannot sync segment %" PRIu64
                    ": %s\" hint=\"what is not durable is written again into the "
                    "next segment\"",
                    wal->durable, wal->active.number, kv_os_error(-rc));
        }
    }
    wal->keep = wal->durable;
    wal->keep_end = wal->active.synced_tail;
}

/* Take over: the old file is closed, what is not durable is written again. */
static kvsql_rc wal_take_over(struct kv_wal *wal, struct kvsql_error *err)
{
    const int old = wal->active.file;
    int rc = 0;

    wal->active = wal->next;
    wal->next.file = -1;
    wal->written = wal->durable;
    wal->marked = wal->timed = wal->durable;
    wal->timed_ns = kv_os_mono_ns(); /* the header tells it */
    wal->reseat = false;
    wal->oldest_ns = wal->oldest_next_ns = 0;
    kv_logbuf_rewind(&wal->buf, wal->durable);
    if (old >= 0) {
        wal->os->close(wal->os->arg, old);
    }
    if (wal->released > wal->durable) { /* said to be done: not for long lost */
        KV_PROBE("wal: acknowledged frames written again");
        rc = kv_wal_write_pending(wal);
        if (rc == 0) {
            rc = kv_wal_sync_now(wal);
        }
    }
    if (rc < 0) {
        /* A full disk only asks for patience; all else for another segment. */
        wal->reseat = wal->active.poisoned || kv_seg_rc(-rc) != KVSQL_FULL ||
                      kv_wal_cut(wal) < 0;
        return kv_fail(err, kv_seg_rc(-rc),
                       "wal: cannot write acknowledged changes again into "
                       "segment %" PRIu64 ": %s",
                       wal->active.number, kv_os_error(-rc));
    }
    return KVSQL_OK;
}

kvsql_rc kv_wal_switch(struct kv_wal *wal, struct kvsql_error *err)
{
    const bool named = wal->next.file >= 0;
    kvsql_rc rc = KVSQL_OK;

    if (!named) {
        wal_settle(wal);
    }
    kv_lock_drop(&wal->lock);
    if (!named) {
        rc = wal_next_make(wal, wal->keep + 1, err);
    }
    if (rc == KVSQL_OK) {
        rc = wal_next_name(wal, named, err);
    }
    kv_lock_take(&wal->lock);
    if (rc != KVSQL_OK) {
        return rc;
    }
    return wal_take_over(wal, err);
}

/* ---- the reserve (F7) -------------------------------------------------------- */

void kv_wal_reserve_make(struct kv_wal *wal)
{
    const struct kv_os *os = wal->os;
    int file;

    if (wal->reserve_present ||
        os->open(os->arg, wal->dir, WAL_RESERVE_NAME,
                 KV_OS_WRITE | KV_OS_CREATE, &file) < 0) {
        return;
    }
    wal->reserve_present =
        os->preallocate(os->arg, file, 0, WAL_RESERVE_SIZE) == 0;
    os->close(os->arg, file);
    if (!wal->reserve_present) {
        /* A file without room is of no use; if it stays, it is harmless. */
        (void)os->remove(os->arg, wal->dir, WAL_RESERVE_NAME);
    }
}

void kv_wal_reserve_drop(struct kv_wal *wal)
{
    if (!wal->reserve_present) {
        return;
    }
    const int rc =
        wal->os->remove(wal->os->arg, wal->dir, WAL_RESERVE_NAME);
    if (rc < 0 && rc != -ENOENT) {
        kv_diag(KV_WARN, "wal.reserve", "error=\"%s\" hint=\"%s\"",
                kv_os_error(-rc),
                "cannot remove the file reserve: its MiB stays taken");
        return;
    }
    wal->reserve_present = false;
}
