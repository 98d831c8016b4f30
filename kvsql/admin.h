/* admin.h - the third face of the library: a store as who runs it sees it.
 *
 * Opening, closing, checking and restoring a directory, snapshots, what INFO
 * shows, settings that change while it runs. For our own upper rooms, as
 * inside.h, which has the data. */
#ifndef KVSQL_ADMIN_H
#define KVSQL_ADMIN_H

#include "kvsql/inside.h"

/* ---- snapshots --------------------------------------------------------------- */

struct kv_progress {
    const char *what; /* "snapshot", "load": keys; "replay", "verify": bytes */
    uint64_t done, total; /* total 0 = unknown */
    uint64_t bytes;
};
typedef void (*kv_progress_fn)(void *arg, const struct kv_progress *progress);

struct kv_snapshot_info {
    char file[64];     /* bare name in the data directory */
    uint64_t position;
    int64_t created_at;
    uint64_t size;     /* bytes */
    uint64_t keys;
    uint64_t ms;       /* time it took */
};
/* Write a snapshot now, in the calling thread; one at a time (KVSQL_BUSY).
 * KVSQL_IO, KVSQL_FULL, KVSQL_NOMEM: the old one stays. */
KV_INTERNAL kvsql_rc kv_snapshot_run(kvsql *db, kv_progress_fn progress,
                                     void *arg, struct kv_snapshot_info *info,
                                     struct kvsql_error *err);
/* Ask the background thread for one; returns at once. KVSQL_BUSY when one is
 * running. */
KV_INTERNAL kvsql_rc kv_snapshot_start(kvsql *db, struct kvsql_error *err);
/* The same, and of which position it is: waits until the view is taken, a moment.
 * 0: it failed before. */
KV_INTERNAL kvsql_rc kv_snapshot_begin(kvsql *db, uint64_t *position,
                                       struct kvsql_error *err) KV_MUST_USE;
#define KV_SNAPSHOT_NAME_SIZE 40
/* Name of the file of a snapshot of that position. */
KV_INTERNAL void kv_snapshot_name(uint64_t position,
                                  char out[KV_SNAPSHOT_NAME_SIZE]);
/* The format of a file of that state (docs/FORMATS.md), and its tables but
 * kv_answers and kv_meta in the order of the file; index < KV_SNAPSHOT_TABLES.
 * Static. */
KV_INTERNAL const char *kv_snapshot_format(const struct kv_at *at);
#define KV_SNAPSHOT_TABLES 12
KV_INTERNAL const char *kv_snapshot_table(unsigned index);
/* How many rows each would have in a snapshot of `at`. O(keys), and of hashes
 * whose fields expire O(fields). False: stop(arg), which is asked now and then,
 * said so. */
KV_INTERNAL bool kv_snapshot_count(const struct kv_at *at,
                                   bool (*stop)(void *arg), void *arg,
                                   uint64_t rows[KV_SNAPSHOT_TABLES]);
/* Remove one that is kept, but for the newest (CONSTRAINT). NOTFOUND; BUSY: one
 * is being written; IO, FULL: nothing is removed. Any thread; blocks for a few
 * syncs. */
KV_INTERNAL kvsql_rc kv_snapshot_remove(kvsql *db, const char *name,
                                        struct kvsql_error *err) KV_MUST_USE;
/* Kept snapshots, newest first; returns how many were filled. */
KV_INTERNAL unsigned kv_snapshot_list(kvsql *db, struct kv_snapshot_info *out,
                                      unsigned max);
/* Open a kept snapshot for reading, "latest.db" the newest. *file is a handle
 * of the os, the caller's to close; its bytes stay even if the snapshot is
 * removed meanwhile. *info (its size that of the file) says which it is. Any
 * thread.
 * NOTFOUND: there is none of this name; IO. Nothing is open then. */
KV_INTERNAL kvsql_rc kv_snapshot_open(kvsql *db, const char *name, int *file,
                                      struct kv_snapshot_info *info,
                                      struct kvsql_error *err) KV_MUST_USE;

/* ---- state, statistics ------------------------------------------------------- */

/* Everything that INFO, /metrics, stats and the console show of the library.
 * Cheap: no walk over keys. */
struct kv_info {
    uint64_t keys, keys_with_expiry;
    uint64_t position, released, durable, epoch;
    uint64_t memory_data, memory_retired, memory_undo, memory_views,
        memory_wal, memory_clients, memory_misc, memory_max;
    uint64_t views, views_oldest_ms, views_ended;
    uint64_t views_retained; /* held back by the view that holds most */
    uint64_t expired_keys, expired_fields, evicted_keys;
    const char *maxmemory_policy; /* "noeviction", ... */
    uint64_t commits, ops;
    uint64_t wal_bytes, wal_syncs, wal_writes, wal_segments, wal_size;
    const char *wal_state;  /* "ok", "full", "failed" */
    const char *wal_policy; /* "always", "everysec", "no" */
    const char *dir;        /* "" for a store without files */
    char store_id[33], start_id[17];
    bool snapshot_running, snapshot_last_ok;
    uint64_t snapshot_position, snapshot_count, snapshot_ms;
    /* Of the one that is running, else 0: keys that are written, all (0: not
     * begun to write), and how long it has run. */
    uint64_t snapshot_done, snapshot_total, snapshot_running_ms;
    uint64_t snapshot_of; /* its position, once its view is taken */
    int64_t snapshot_at;
};
/* It waits for no gate: keys and keys_with_expiry are those of the last released
 * position (D3). */
KV_INTERNAL void kv_info_get(kvsql *db, struct kv_info *info);
/* Inside a txn, whose lock is held: as the txn sees them, and its reply waits. */
KV_INTERNAL void kv_info_get_in(struct kv_txn *txn, struct kv_info *info);

/* What may hold writers up, or the log; see kv_set_latency. */
enum kv_latency {
    KV_LATENCY_EXPIRE_CYCLE,   /* one slice of removing what has expired */
    KV_LATENCY_EVICTION_CYCLE, /* making room under maxmemory */
    KV_LATENCY_EVICTION_DEL,   /* ... one key of it */
    KV_LATENCY_WAL_WRITE,      /* one write to the wal */
    KV_LATENCY_WAL_WRITE_ALONE,   /* ... while nothing else used its file, */
    KV_LATENCY_WAL_WRITE_SYNCING, /* ... or while it was synced */
    KV_LATENCY_WAL_SYNC,       /* fdatasync that replies wait for (always) */
    KV_LATENCY_SNAPSHOT,       /* a snapshot, from its view to its MANIFEST; it
                                  holds nobody up by itself */
    KV_LATENCY_COUNT
};
/* Call `note` when one of these took `least_ns` or more; from any thread, which
 * may hold the store lock or the wal's. UINT64_MAX: never, and nothing is
 * measured. */
typedef void (*kv_latency_fn)(enum kv_latency what, uint64_t ns);
KV_INTERNAL void kv_set_latency(kvsql *db, kv_latency_fn note,
                                uint64_t least_ns);

/* ---- settings that may change at run time ------------------------------------ */

KV_INTERNAL void kv_set_maxmemory(kvsql *db, uint64_t bytes);
/* `samples`: leaves looked at when candidates are chosen, 0 = 5. */
KV_INTERNAL void kv_set_maxmemory_policy(kvsql *db,
                                         enum kvsql_maxmemory_policy policy,
                                         unsigned samples);
/* The same inside a txn, whose lock is held. Candidates for eviction are kept
 * when the policy is the one that was set. */
KV_INTERNAL void kv_txn_set_policy(struct kv_txn *txn,
                                   enum kvsql_maxmemory_policy policy,
                                   unsigned samples);
/* How old a view may become, and how many bytes it may hold back that writes
 * have replaced; 0 = no limit, as at the start. */
KV_INTERNAL void kv_set_views(kvsql *db, uint64_t age_ms, uint64_t bytes);
/* The same inside a txn, whose lock is held. */
KV_INTERNAL void kv_txn_set_views(struct kv_txn *txn, uint64_t age_ms,
                                  uint64_t bytes);
/* How the counters of the LFU policies grow and decay (lru.c); 0 minutes: they
 * do not decay. */
#define KV_LFU_FACTOR 10
#define KV_LFU_MINUTES 1
KV_INTERNAL void kv_txn_set_lfu(struct kv_txn *txn, uint32_t log_factor,
                                uint32_t decay_minutes);
/* The word of a policy, and back in any case; false: there is no such policy. */
KV_INTERNAL const char *kv_maxmemory_policy_name(
    enum kvsql_maxmemory_policy policy);
KV_INTERNAL bool kv_maxmemory_policy_of(const char *name,
                                        enum kvsql_maxmemory_policy *policy);
KV_INTERNAL void kv_set_fsync(kvsql *db, enum kvsql_fsync policy);
/* A snapshot when so many seconds passed, or so many bytes of wal were written,
 * since the last; both > 0. */
KV_INTERNAL void kv_set_snapshots(kvsql *db, uint64_t every_s,
                                  uint64_t wal_size);

/* ---- opening, closing -------------------------------------------------------- */

/* Open with another operating system (tests), see os.h. */
KV_INTERNAL kvsql_rc kv_open_os(const char *dir,
                                const struct kvsql_options *options,
                                const struct kv_os *os, kv_progress_fn progress,
                                void *progress_arg, kvsql **db,
                                struct kvsql_error *err);
/* Orderly stop: ends the threads, writes and syncs the wal, frees db. No view
 * is pinned and no txn open any more (kvsql_close has looked). Always frees;
 * KVSQL_IO, KVSQL_FULL when the end of the wal could not be made durable. */
KV_INTERNAL kvsql_rc kv_close(kvsql *db, struct kvsql_error *err);
/* Block until `position` is durable: asks the log thread for a sync now,
 * whatever the policy. At once in a store without files. KVSQL_FULL, KVSQL_IO:
 * it cannot be made durable. */
KV_INTERNAL kvsql_rc kv_sync(kvsql *db, uint64_t position,
                             struct kvsql_error *err) KV_MUST_USE;
/* What the public API keeps of its callers; kept in the db, and the API's own.
 * Starts as zeroes. */
struct kv_strangers {
    uint64_t handles;     /* open views, txns, cursors, connections; atomic */
    uintptr_t sql_thread; /* in which a connection writes, or 0; atomic */
};
KV_INTERNAL struct kv_strangers *kv_db_strangers(kvsql *db);
/* One more handle that keeps kvsql_close from closing; or one less. */
KV_INTERNAL void kv_handles_add(kvsql *db, int64_t change);
/* An SQL connection of this thread has the store lock: calls of kvsql.h that
 * would wait for it answer BUSY here. And it has the lock no more. One
 * connection at a time; that is the caller's to see to. */
KV_INTERNAL void kv_sql_writes(kvsql *db);
KV_INTERNAL void kv_sql_wrote(kvsql *db);
/* KVSQL_BUSY: this thread has a kvsql_txn open, of whatever store. */
KV_INTERNAL kvsql_rc kv_txn_none_here(struct kvsql_error *err) KV_MUST_USE;

/* ---- a directory that is not open -------------------------------------------- */

/* Read and judge everything in a data directory; report() gets one line per
 * thing that is good, progress() how far it is; both may be NULL. Changes
 * nothing, takes no lock, works beside a running server (R4). With `repair` the
 * directory is opened, repaired and closed first (R3). KVSQL_OK; KVSQL_CORRUPT
 * with file and offset; NEWER, NOTFOUND, LOCKED (repair), IO, NOMEM. */
KV_INTERNAL kvsql_rc kv_check(const char *dir, const struct kv_os *os,
                              bool repair,
                              void (*report)(void *arg, const char *line),
                              kv_progress_fn progress, void *arg,
                              struct kvsql_error *err) KV_MUST_USE;

/* The state of a data directory at a position or a time, as a new store. */
struct kv_restore {
    const char *from;  /* a data directory; a server may have it open */
    const char *to;    /* a directory that is empty or not there */
    uint64_t position; /* the last one that counts; 0 and time 0: all */
    int64_t time;      /* or wall ms: what was committed then; 0 = none */
};
struct kv_restored {
    uint64_t position, keys, size; /* size in bytes, of the snapshot */
    int64_t at; /* wall ms at which the position had been committed; 0 when it
                   was not looked for */
};
/* Restore, by loading and replaying up to there in memory. Keys that have
 * expired by now are left out. `from` is only read. `restored` is filled.
 *
 * KVSQL_INVALID   `to` is not empty; `from` does not go back, or on, so far; or
 *                 nothing had been written yet.
 * KVSQL_CORRUPT   damage before the position, by file and offset; what lies
 *                 behind it may be damaged.
 * KVSQL_NOTFOUND, LOCKED, NEWER, FULL, IO, NOMEM, TOOBIG.
 *
 * After a failure `to` is no store. The caller's thread; takes the time and the
 * memory of a start. */
KV_INTERNAL kvsql_rc kv_restore_dir(const struct kv_restore *what,
                                    const struct kv_os *os,
                                    kv_progress_fn progress, void *arg,
                                    struct kv_restored *restored,
                                    struct kvsql_error *err) KV_MUST_USE;

#endif
