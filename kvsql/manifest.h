/* manifest.h - MANIFEST: the text file that names all that must be there
 * (reliability section 2). Read whole, replaced whole by rename.
 *
 * Always true:
 *   M1  every file that a MANIFEST on disk may name is there: files are made
 *       and synced before they are named, and removed after a MANIFEST without
 *       them is durable (W7, W9).
 *   M2  only the last segment is not sealed; numbers ascend, and each first
 *       position is the last one of the segment before it plus one (W3).
 *
 * Thread: any; has its own lock, which is held while the file is written: it
 * is taken by the log thread, the snapshot writer and for the list of files,
 * never by a writer or a reader. */
#ifndef KVSQL_MANIFEST_H
#define KVSQL_MANIFEST_H

#include "kvsql/base/buf.h"
#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"
#include "kvsql/inside.h"

#define KV_MANIFEST_SNAPSHOTS_MAX 64
#define KV_MANIFEST_SEGMENTS_MAX 65536
#define KV_MANIFEST_NAME "MANIFEST"

struct kv_manifest_snapshot {
    char name[40]; /* snap-0000000000088000.db */
    uint64_t size, position;
    uint32_t crc;
};
struct kv_manifest_segment {
    uint64_t number;
    uint64_t first, last, end; /* last, end: 0 while it is active */
    bool sealed;
};
struct kv_manifest {
    const struct kv_os *os;
    int dir;
    struct kv_lock lock;
    uint8_t store_id[16];
    struct kv_manifest_snapshot snapshots[KV_MANIFEST_SNAPSHOTS_MAX];
    unsigned snapshot_count; /* newest first */
    struct kv_manifest_segment *segments; /* ascending */
    unsigned segment_count, segment_cap;
    uint64_t durable;
    uint64_t clean; /* position of an orderly stop */
    bool has_clean;
    bool unsure; /* a write failed at its rename (EIO) or after it: either text
                    may be the one on disk, until a write succeeds */
    bool unsure_last; /* the last write was such a one: nobody knows whether what
                         it says is on disk */
};

KV_INTERNAL void kv_manifest_init(struct kv_manifest *manifest,
                                  const struct kv_os *os, int dir);
KV_INTERNAL void kv_manifest_fini(struct kv_manifest *manifest);
/* Fill from `size` bytes of text; on failure the manifest is as it was.
 * KVSQL_CORRUPT with the line and offset, KVSQL_NEWER, KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc kv_manifest_parse(struct kv_manifest *manifest,
                                       const char *text, size_t size,
                                       struct kvsql_error *err) KV_MUST_USE;
/* The text, with its crc32c line. NOMEM shows as buf->failed. */
KV_INTERNAL void kv_manifest_format(const struct kv_manifest *manifest,
                                    struct kv_buf *buf);
/* KVSQL_NOTFOUND: there is none. KVSQL_CORRUPT, KVSQL_NEWER, KVSQL_IO. */
KV_INTERNAL kvsql_rc kv_manifest_read(struct kv_manifest *manifest,
                                      struct kvsql_error *err) KV_MUST_USE;
/* Read it again: is it another one now? False when it cannot be read. */
KV_INTERNAL bool kv_manifest_changed(struct kv_manifest *manifest);
/* MANIFEST.tmp, fsync, rename, fsync directory. Caller holds manifest->lock
 * or is alone. On failure see `unsure` and `unsure_last`. */
KV_INTERNAL kvsql_rc kv_manifest_write(struct kv_manifest *manifest,
                                       struct kvsql_error *err) KV_MUST_USE;

/* Enter an active segment behind the others. Caller as above. NOMEM. */
KV_INTERNAL kvsql_rc kv_manifest_add_segment(struct kv_manifest *manifest,
                                             uint64_t number, uint64_t first,
                                             struct kvsql_error *err)
    KV_MUST_USE;

/* Snapshot writer: enter a finished snapshot (newest first), drop those from the
 * list that are not kept[] (of the new one, which is, then of the list), write.
 * Names that fell out go to dropped[] for
 * removal by the caller; *oldest is the position of the oldest kept. Takes the
 * lock. On failure the list is as before, and nothing may be removed. */
KV_INTERNAL kvsql_rc kv_manifest_add_snapshot(
    struct kv_manifest *manifest, const struct kv_manifest_snapshot *snapshot,
    const bool *kept, char dropped[][40], unsigned *dropped_count,
    uint64_t *oldest, struct kvsql_error *err) KV_MUST_USE;
/* Take a snapshot from the list, write. NOTFOUND; CONSTRAINT: the newest, with
 * which a start begins. Takes the lock; on failure the list is as before. */
KV_INTERNAL kvsql_rc kv_manifest_drop_snapshot(struct kv_manifest *manifest,
                                               const char *name,
                                               struct kvsql_error *err)
    KV_MUST_USE;

#endif
