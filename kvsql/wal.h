/* wal.h - the log of writes and the gate: segments, group commit, positions.
 *
 * The log thread owns the files. Writers append encoded batches to the log
 * buffer under the store lock (struct kv_sink); the log thread writes all that
 * arrived with one pwrite, syncs by policy, moves `released` and `durable`,
 * opens gates. Formats and fault rules: docs/FORMATS.md, W and F. */
#ifndef KVSQL_WAL_H
#define KVSQL_WAL_H

#include "kvsql/admin.h"
#include "kvsql/manifest.h"
#include "kvsql/store.h"

#define KV_WAL_FRAME_MAX (256u << 20) /* bytes of one frame's payload */

struct kv_wal;

struct kv_wal_config {
    const struct kv_os *os;
    int dir;
    const char *path; /* of dir, for the directory `damaged` in it */
    enum kvsql_fsync fsync;
    uint64_t segment_size, buffer_max;
    uint64_t to; /* reading: the last position that counts; 0 = all */
};

/* The wal takes over a recovered directory: opens (or makes) the active
 * segment behind manifest's last, starts the log thread, fills the store's
 * sink. The manifest is shared with the snapshot writer (its own lock). */
KV_INTERNAL kvsql_rc kv_wal_open(const struct kv_wal_config *config,
                                 struct kv_manifest *manifest,
                                 struct kv_store *store, struct kv_wal **wal,
                                 struct kvsql_error *err) KV_MUST_USE;
/* Write and sync all, write `clean` into the manifest, stop the threads. Always
 * frees. KVSQL_FULL, KVSQL_IO: the end could not be made durable. */
KV_INTERNAL kvsql_rc kv_wal_close(struct kv_wal *wal, struct kvsql_error *err);
/* Block until `position` is durable, whatever the policy. KVSQL_FULL, IO. */
KV_INTERNAL kvsql_rc kv_wal_sync(struct kv_wal *wal, uint64_t position,
                                 struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void kv_wal_set_fsync(struct kv_wal *wal, enum kvsql_fsync policy);
/* Start a new segment at the next frame (W12: at each snapshot). Waits for
 * it. */
KV_INTERNAL kvsql_rc kv_wal_rotate(struct kv_wal *wal, struct kvsql_error *err)
    KV_MUST_USE;
/* Forget and remove segments that hold nothing behind `position` (W9). */
KV_INTERNAL kvsql_rc kv_wal_trim(struct kv_wal *wal, uint64_t position,
                                 struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void kv_wal_info(struct kv_wal *wal, struct kv_info *info);

/* kv_turn_begin and kv_turn_end of inside.h; wal may be NULL. */
KV_INTERNAL void kv_wal_turn_begin(struct kv_wal *wal);
KV_INTERNAL void kv_wal_turn_end(struct kv_wal *wal);

/* The gate's calls behind inside.h; wal NULL: a store without files, always
 * open up to released. */
KV_INTERNAL bool kv_wal_gate_open(struct kv_wal *wal, struct kv_store *store,
                                  struct kv_ticket ticket);
KV_INTERNAL kvsql_rc kv_wal_gate_state(struct kv_wal *wal,
                                       struct kv_ticket ticket,
                                       struct kvsql_error *err);
KV_INTERNAL kvsql_rc kv_wal_gate_wait(struct kv_wal *wal,
                                      struct kv_store *store,
                                      struct kv_ticket ticket,
                                      struct kvsql_error *err);
KV_INTERNAL bool kv_wal_gate_watch(struct kv_wal *wal, struct kv_store *store,
                                   struct kv_waiter *waiter);

/* W1 for every segment that the manifest names, before anything is loaded. */
KV_INTERNAL kvsql_rc kv_wal_headers(const struct kv_wal_config *config,
                                    struct kv_manifest *manifest,
                                    struct kvsql_error *err) KV_MUST_USE;

/* Read all frames behind the store's position in the segments the manifest
 * names, judge them (W4, R) and replay them; nothing is written before all is
 * read (R1). With `write` a torn tail is then cut, and said, and leftovers are
 * tidied away. With `repair` damage leaves a clean prefix (R3). KVSQL_CORRUPT
 * with the one-line message of R2; KVSQL_NEWER, IO, NOMEM. With store NULL
 * everything is judged from the first segment on and nothing replayed. With
 * config->to nothing behind that position is read or judged; KVSQL_INVALID when
 * the wal ends before it. */
struct kv_wal_report {
    uint64_t frames, ops, bytes; /* read */
    uint64_t position;           /* last good */
    uint64_t torn_bytes;         /* cut, or to be cut */
    uint64_t lost_from, lost_to; /* repair: positions given up */
};
KV_INTERNAL kvsql_rc kv_wal_recover(const struct kv_wal_config *config,
                                    struct kv_manifest *manifest,
                                    struct kv_store *store, bool write,
                                    bool repair, kv_progress_fn progress,
                                    void *progress_arg,
                                    struct kv_wal_report *report,
                                    struct kvsql_error *err) KV_MUST_USE;
/* Make a manifest anew from the files of a directory that has lost it. */
KV_INTERNAL kvsql_rc kv_wal_rebuild(const struct kv_wal_config *config,
                                    struct kv_manifest *manifest,
                                    struct kvsql_error *err) KV_MUST_USE;

#endif
