/* lock.h - ranked mutexes, conditions and threads.
 *
 * A thread may only take a lock of a higher rank than those it holds; a debug
 * build (-DKVSQL_DEBUG) asserts it. Locks are never held across I/O or a
 * callback. */
#ifndef KVSQL_BASE_LOCK_H
#define KVSQL_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/error.h"

enum kv_lock_rank {
    KV_RANK_DOOR = 10,     /* a connection or request of a door */
    KV_RANK_SESSION = 20,  /* SQL session pools */
    KV_RANK_SNAPSHOT = 30, /* one snapshot at a time */
    KV_RANK_REWRITE = 35,  /* the configuration file is written anew */
    KV_RANK_DB = 40,       /* one tick of the keeper */
    KV_RANK_STORE = 50,    /* struct kv_store: one txn */
    KV_RANK_MANIFEST = 51, /* list of files; held while MANIFEST is written */
    KV_RANK_HANDLE = 52,   /* threads and snapshots of a kvsql handle */
    KV_RANK_CONFIG = 55,   /* options of a running server (cli/live.c) */
    KV_RANK_WAL = 60,      /* log buffer, positions */
    KV_RANK_GATE = 70,     /* waiters */
    KV_RANK_TRACK = 75,    /* keys whose changes clients are told of */
    KV_RANK_COMMAND = 80,  /* scan cursors, counters of commands */
    KV_RANK_POST = 85,     /* what threads leave for a door's event loop */
    KV_RANK_DIAG = 90
};

struct kv_lock {
    pthread_mutex_t mutex;
    enum kv_lock_rank rank;
};
struct kv_cond {
    pthread_cond_t cond; /* CLOCK_MONOTONIC */
};

KV_INTERNAL void kv_lock_init(struct kv_lock *lock, enum kv_lock_rank rank);
KV_INTERNAL void kv_lock_fini(struct kv_lock *lock);
KV_INTERNAL void kv_lock_take(struct kv_lock *lock);
/* False when `timeout_ms` milliseconds passed first. */
KV_INTERNAL bool kv_lock_take_within(struct kv_lock *lock, uint64_t timeout_ms)
    KV_MUST_USE;
KV_INTERNAL void kv_lock_drop(struct kv_lock *lock);

KV_INTERNAL void kv_cond_init(struct kv_cond *cond);
KV_INTERNAL void kv_cond_fini(struct kv_cond *cond);
KV_INTERNAL void kv_cond_wait(struct kv_cond *cond, struct kv_lock *lock);
/* False when `timeout_ms` milliseconds passed first. */
KV_INTERNAL bool kv_cond_wait_within(struct kv_cond *cond, struct kv_lock *lock,
                                     uint64_t timeout_ms);
/* The same in nanoseconds, at most a second. */
KV_INTERNAL bool kv_cond_wait_briefly(struct kv_cond *cond,
                                      struct kv_lock *lock,
                                      uint64_t timeout_ns);
KV_INTERNAL void kv_cond_wake_one(struct kv_cond *cond);
KV_INTERNAL void kv_cond_wake_all(struct kv_cond *cond);

struct kv_thread {
    pthread_t thread;
    bool running;
};
/* Start `run(arg)`, with all signals blocked; the name shows in ps -T
 * (<= 15 bytes). */
KV_INTERNAL kvsql_rc kv_thread_start(struct kv_thread *thread,
                                     const char *name, void *(*run)(void *),
                                     void *arg, struct kvsql_error *err)
    KV_MUST_USE;
/* The calling thread does what takes long: where processors are short, threads
 * that answer go before it. By so many steps of nice. */
enum kv_thread_back {
    KV_BACK_WORK = 5, /* somebody waits for it, who asked for much */
    KV_BACK_FILES = 10
};
KV_INTERNAL void kv_thread_step_back(enum kv_thread_back steps);
/* The calling thread answers at once, and rests in between: when it wakes up,
 * it goes before one that has run for a while. */
KV_INTERNAL void kv_thread_be_quick(void);
KV_INTERNAL void kv_thread_join(struct kv_thread *thread);

#endif
