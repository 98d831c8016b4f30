/* store.h - the store behind inside.h, for the files of kvsql/ alone.
 *
 * One struct kv_store holds one keyspace: the live root, views, undo log,
 * lists of retired blocks, clock. It knows no files: a commit sink takes the
 * batches, and whoever fills it moves `released`. */
#ifndef KVSQL_STORE_H
#define KVSQL_STORE_H

#include <stdatomic.h>

#include "kvsql/admin.h"
#include "kvsql/base/buf.h"
#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"
#include "kvsql/node.h"
#include "kvsql/op.h"

/* Where batches go. Filled by the wal (wal.c); all NULL = a store without
 * files: every batch is released at once. */
struct kv_sink {
    void *arg;
    /* Before the store lock is taken by a writer: wait for room (F8). */
    void (*wait_room)(void *arg);
    /* May a change begin now? KVSQL_OK, FULL, IO with the cause. Under the
     * store lock; O(1). */
    kvsql_rc (*writable)(void *arg, struct kvsql_error *err);
    /* Room for a batch of `size` bytes of ops: TOOBIG, NOMEM. Under the store
     * lock, so it must not wait. A second call replaces the first. */
    kvsql_rc (*reserve)(void *arg, size_t size, struct kvsql_error *err);
    void (*cancel)(void *arg); /* drop the reservation */
    /* Takes the batch; cannot fail after reserve. Under the store lock. */
    void (*append)(void *arg, uint64_t position, const uint8_t *ops,
                   size_t size, uint64_t count);
};

/* Made by kv_store_open, empty, position 0. `db` is only handed back by
 * kv_txn_db and used for the gate. */
KV_INTERNAL kvsql_rc kv_store_open(kvsql *db, const struct kv_os *os,
                                   struct kv_store **store,
                                   struct kvsql_error *err) KV_MUST_USE;
/* No view may be pinned. Frees everything. */
KV_INTERNAL void kv_store_close(struct kv_store *store);
KV_INTERNAL void kv_store_sink(struct kv_store *store,
                               const struct kv_sink *sink);
KV_INTERNAL struct kv_lock *kv_store_lock(struct kv_store *store);
KV_INTERNAL const struct kv_os *kv_store_os(const struct kv_store *store);
KV_INTERNAL const struct kv_store *kv_view_store(const struct kv_view *view);

/* Positions. `position`: last finished batch (under the lock, or a hint).
 * released: atomic, only grows but for kv_store_fail. */
KV_INTERNAL uint64_t kv_store_position(const struct kv_store *store);
KV_INTERNAL uint64_t kv_store_released(const struct kv_store *store);
KV_INTERNAL uint64_t kv_store_epoch(const struct kv_store *store);
/* Log thread: replies up to `position` may go. Any thread, no lock. */
KV_INTERNAL void kv_store_release_to(struct kv_store *store, uint64_t position);
/* Log thread: the wal lost everything behind released (F2): takes the store
 * lock, undoes, position = released, epoch + 1. */
KV_INTERNAL void kv_store_fail(struct kv_store *store);

/* Recovery: set position (and released) of an empty or just loaded store; the
 * wal behind it follows through replay.h. */
KV_INTERNAL void kv_store_set_position(struct kv_store *store,
                                       uint64_t position);
/* Loading a snapshot: apply one op without position, wal or undo kept. */
KV_INTERNAL kvsql_rc kv_store_load(struct kv_store *store,
                                   const struct kv_op *op,
                                   struct kvsql_error *err) KV_MUST_USE;

/* Keeper, every tick: expire (as ordinary batches through the sink), release
 * views, free retired blocks, reap; each within a small budget. Returns true
 * when there is more to do now. */
KV_INTERNAL bool kv_store_tick(struct kv_store *store);

/* The library's part of struct kv_info (keys, positions, memory, views,
 * expired, commits). */
KV_INTERNAL void kv_store_info(struct kv_store *store, struct kv_info *info);
/* The same by who holds the store lock. */
KV_INTERNAL void kv_store_info_held(struct kv_store *store,
                                    struct kv_info *info);
KV_INTERNAL void kv_store_set_maxmemory(struct kv_store *store, uint64_t bytes);
/* Limits of a view, 0 = none (M8). */
KV_INTERNAL void kv_store_set_views(struct kv_store *store, uint64_t age_ms,
                                    uint64_t bytes);
KV_INTERNAL void kv_store_set_views_held(struct kv_store *store,
                                         uint64_t age_ms, uint64_t bytes);
KV_INTERNAL void kv_store_set_policy(struct kv_store *store,
                                     enum kvsql_maxmemory_policy policy,
                                     unsigned samples);

/* The store of a handle: db.c. */
KV_INTERNAL struct kv_store *kv_db_store(kvsql *db);

/* Asserts everything TS4 lists; for tests. Takes the lock. */
KV_INTERNAL void kv_store_check(struct kv_store *store);
/* Hash over every byte that undo must restore (header, slots, heap of every
 * node, trees, blobs); for TS2. */
KV_INTERNAL uint64_t kv_store_hash(struct kv_store *store);

#endif
