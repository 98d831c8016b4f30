/* manifest.h - MANIFEST: the text file that names all that must be there
 * (reliability section 2). Read whole, replaced whole by rename.
 *
 * Thread: any; has its own lock (rank KV_RANK_WAL for the wal's part is not
 * held while the file is written). */
#ifndef KVSQL_MANIFEST_H
#define KVSQL_MANIFEST_H

#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"
#include "kvsql/inside.h"

#define KV_MANIFEST_SNAPSHOTS_MAX 64
#define KV_MANIFEST_SEGMENTS_MAX 65536

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
};

KV_INTERNAL void kv_manifest_init(struct kv_manifest *manifest,
                                  const struct kv_os *os, int dir);
KV_INTERNAL void kv_manifest_fini(struct kv_manifest *manifest);
/* KVSQL_NOTFOUND: there is none. KVSQL_CORRUPT, KVSQL_NEWER, KVSQL_IO. */
KV_INTERNAL kvsql_rc kv_manifest_read(struct kv_manifest *manifest,
                                      struct kvsql_error *err) KV_MUST_USE;
/* MANIFEST.tmp, fsync, rename, fsync directory. Caller holds manifest->lock
 * or is alone. */
KV_INTERNAL kvsql_rc kv_manifest_write(struct kv_manifest *manifest,
                                       struct kvsql_error *err) KV_MUST_USE;

/* Snapshot writer: enter a finished snapshot (newest first), drop those beyond
 * `keep` from the list, write. Names that fell out go to dropped[] for
 * removal by the caller; *oldest is the position of the oldest kept. */
KV_INTERNAL kvsql_rc kv_manifest_add_snapshot(
    struct kv_manifest *manifest, const struct kv_manifest_snapshot *snapshot,
    unsigned keep, char dropped[][40], unsigned *dropped_count,
    uint64_t *oldest, struct kvsql_error *err) KV_MUST_USE;

#endif
