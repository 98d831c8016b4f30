/* db_private.h - struct kvsql, and what its files share. */
#ifndef KVSQL_DB_PRIVATE_H
#define KVSQL_DB_PRIVATE_H

#include "kvsql/admin.h"
#include "kvsql/db.h"
#include "kvsql/manifest.h"
#include "kvsql/wal.h"

#define DB_PATH_MAX 4096

struct kvsql {
    const struct kv_os *os;
    struct kvsql_options options; /* with the defaults filled in */
    char path[DB_PATH_MAX];       /* "" = without files */
    int dir, lock_file;           /* -1 = none */
    uint64_t to;                  /* the last position that is read; 0 = all */
    char store_id[33], start_id[17];
    struct kv_strangers strangers;
    struct kv_manifest manifest;
    struct kv_store *store;
    struct kv_wal *wal; /* NULL: without files, or read only */

    struct kv_lock tick_lock; /* one tick at a time; held while it runs */
    struct kv_lock lock;      /* all below */
    struct kv_cond keeper_work, snapshot_work, snapshot_begun;
    struct kv_thread keeper, snapshotter;
    bool stop;
    bool snapshot_wanted, snapshot_running, snapshot_last_ok;
    uint64_t snapshot_begun_ns; /* of the one that is running */
    uint64_t snapshot_runs;     /* that have pinned their view, or failed to */
    uint64_t snapshot_of;       /* position of the last of them; 0: it failed */
    /* Keys of that, as its thread tells. */
    _Atomic uint64_t snapshot_done, snapshot_total;
    uint64_t snapshot_next_ns;  /* not before, after a failure */
    uint64_t snapshot_since_ns; /* begin of the hour */
    uint64_t snapshot_wal_bytes; /* written by the wal up to the last one */
    /* When one is due; changed at run time. */
    _Atomic uint64_t snapshot_every_s, snapshot_wal_size;
    uint64_t snapshot_count;
    struct kv_snapshot_info known[KV_MANIFEST_SNAPSHOTS_MAX]; /* newest first */
    unsigned known_count;
};

/* db_snapshot.c */

/* Load the newest good snapshot of the manifest, if it names any; the names of
 * bad ones are taken out of the list and put into `bad`, each with its NUL. */
KV_INTERNAL kvsql_rc kv_db_load(kvsql *db, kv_progress_fn progress, void *arg,
                                struct kv_buf *bad, struct kvsql_error *err)
    KV_MUST_USE;
/* May this lie in a directory that is to become a new store? */
KV_INTERNAL bool kv_db_is_foreign(const char *name);
/* kv_open_os to read the state at position `to` (0 = all); what comes behind it
 * is not looked at. KVSQL_INVALID: the directory does not go back, or on, so far. */
KV_INTERNAL kvsql_rc kv_db_open_at(const char *dir, const struct kv_os *os,
                                   uint64_t to, kv_progress_fn progress,
                                   void *arg, kvsql **out,
                                   struct kvsql_error *err) KV_MUST_USE;
/* Does the schedule ask for a snapshot? Sets snapshot_wanted. Lock held. */
KV_INTERNAL void kv_db_snapshot_due(kvsql *db);
KV_INTERNAL void *kv_db_snapshot_thread(void *arg);
/* history.c */

/* Which of `count` snapshots, newest first and made at[i] (wall ms), stay: the
 * newest `keep`, and with a span those that it takes to go back to `since`. */
KV_INTERNAL void kv_history_keep(const int64_t *at, unsigned count,
                                 unsigned keep, int64_t since,
                                 uint64_t span_ms, bool *kept);
/* The same for a new snapshot, kept[0], and those of the manifest behind it.
 * *from_begin: the wal from position 1 on stays, too. */
KV_INTERNAL void kv_history_choose(kvsql *db, int64_t now,
                                   bool kept[KV_MANIFEST_SNAPSHOTS_MAX + 1],
                                   bool *from_begin);

/* One tick of the store. True when there is more to do. */
KV_INTERNAL bool kv_db_tick(kvsql *db);

#endif
