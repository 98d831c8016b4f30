/* wal_private.h - struct kv_wal and what its files share.
 *
 *   wal.c         opening and closing, the sink, requests, the gate, figures
 *   wal_file.c    the active segment: writing, syncing, the next one
 *   wal_thread.c  the log thread: what it does when; faults and their end
 *
 * Two threads belong to a wal. The log thread owns the files, the positions
 * and the buffer's write end; while it sleeps, the end of a door's turn may
 * borrow them for one write (kv_wal_lend). The sync thread runs fdatasync beside the
 * appends under `everysec` and `no`, and does nothing else. */
#ifndef KVSQL_WAL_PRIVATE_H
#define KVSQL_WAL_PRIVATE_H

#include <stdatomic.h>

#include "kvsql/gate.h"
#include "kvsql/logbuf.h"
#include "kvsql/wal.h"

enum wal_state { WAL_OK, WAL_FULL, WAL_FAILED };

/* The active segment. Log thread. */
struct wal_segment {
    int file;
    uint64_t number, first;
    uint32_t seed;
    uint64_t tail;         /* owned end: the next byte goes here (W10) */
    uint64_t synced_tail;  /* tail of the last sync that returned 0 */
    uint64_t allocated;    /* room taken ahead up to here */
    bool poisoned;         /* a sync failed: never sync this file again (F4) */
};

struct kv_wal {
    const struct kv_os *os;
    int dir;
    struct kv_manifest *manifest;
    struct kv_store *store;
    uint64_t segment_size, buffer_max;
    struct kv_thread log_thread, sync_thread;

    struct kv_lock lock; /* all below but for what says otherwise */
    struct kv_cond work;      /* the log thread waits */
    struct kv_cond sync_work; /* the sync thread waits */
    struct kv_cond room;      /* writers wait (F8) */
    struct kv_cond changed;   /* rotate, sync, close wait */
    struct kv_gate gate;      /* has its own lock */
    struct kv_logbuf buf;
    enum kvsql_fsync policy;
    atomic_bool easy; /* state ok, and room in the buffer: no need to ask */
    bool idle;   /* the log thread waits for work */
    bool lent;   /* ... and a writer does its work meanwhile: it stays so */
    bool roused; /* the log thread woke while its work was lent */
    uint64_t sleep_ns;       /* until when it sleeps, 0 = for good */
    _Atomic unsigned turns;  /* kv_wal_turn_begin without its end */

    /* released <= written, durable <= written <= buf.last */
    uint64_t written, durable, released;
    uint64_t marked; /* durable position that a frame on disk tells (W5) */
    uint64_t timed;  /* position of the last mark, which tells a time */

    struct wal_segment active; /* log thread */
    struct wal_segment next;   /* made, not yet in the MANIFEST for sure */
    uint64_t keep, keep_end;   /* where the old one ends when `next` takes over */

    /* Monotonic ns, 0 = none. */
    uint64_t oldest_ns;      /* write of the oldest frame not yet synced */
    uint64_t oldest_next_ns; /* ... of those that the running sync misses */
    uint64_t synced_ns;      /* end of the last sync */
    uint64_t rotate_ns;      /* a rotation failed: not again before */
    uint64_t timed_ns;       /* the last mark, or the segment's header */

    /* The sync thread's work. */
    bool sync_asked, sync_done, sync_stop;
    int sync_file, sync_result;
    uint64_t sync_position, sync_tail;

    /* Under `always`, of a group that is waited for; see wal_gather. */
    uint64_t gather_from;  /* last position when that began */
    uint64_t gather_to;    /* position that makes it whole; 0: none */
    uint64_t gather_until; /* monotonic ns */
    unsigned gather_rest;  /* so many groups are not waited for */

    /* Faults. state_rc, state_text: the cause, while state is not ok. */
    enum wal_state state;
    kvsql_rc state_rc;
    char state_text[KVSQL_ERROR_SIZE];
    bool reseat;       /* the active segment takes nothing more (F3) */
    uint64_t retry_ns; /* next try to get out of the state */
    uint64_t backoff_ms;
    bool reserve_wanted, reserve_present; /* F7 */

    /* Requests. */
    bool stop, stopped;
    bool tell; /* a waiter's fate was known when it came */
    uint64_t sync_wanted; /* position */
    uint64_t rotate_asked, rotate_done;
    kvsql_rc rotate_rc;
    char rotate_text[KVSQL_ERROR_SIZE];

    uint64_t bytes, syncs, writes; /* figures */
    uint64_t segments, sealed_size; /* of the manifest, without its lock */
};

/* wal_file.c. All are called by the log thread (or alone, at the opening) with
 * the lock held, which they drop while they wait for the disk. */

/* Write all that is pending; 0 or -errno, then bytes behind the tail may be
 * anything. */
KV_INTERNAL int kv_wal_write_pending(struct kv_wal *wal);
/* fdatasync of the active segment up to its tail, here and now; 0 or -errno,
 * then it is poisoned. */
KV_INTERNAL int kv_wal_sync_now(struct kv_wal *wal);
/* What a sync up to `position` at `tail` that returned 0 means. */
KV_INTERNAL void kv_wal_synced(struct kv_wal *wal, uint64_t position,
                               uint64_t tail);
/* A mark behind all that there is; false when there is no room for it now. */
KV_INTERNAL bool kv_wal_mark(struct kv_wal *wal);
/* Cut the active segment's file to its tail; 0 or -errno. */
KV_INTERNAL int kv_wal_cut(struct kv_wal *wal);
/* W7, W8: seal the active segment where it is durable, make the next one, name
 * it, write there what is not durable yet, and sync that. On failure the old
 * one stays, unless a MANIFEST that names the new one may be on disk: then
 * nothing can be written before this call has succeeded. */
KV_INTERNAL kvsql_rc kv_wal_switch(struct kv_wal *wal, struct kvsql_error *err)
    KV_MUST_USE;
/* Take the figures of the manifest. Without the wal's lock, the manifest's
 * held. */
KV_INTERNAL void kv_wal_count(struct kv_wal *wal);
KV_INTERNAL void kv_wal_reserve_make(struct kv_wal *wal);
KV_INTERNAL void kv_wal_reserve_drop(struct kv_wal *wal);

/* Lock held: after a change of the state or of the buffer's size. */
static inline void kv_wal_note(struct kv_wal *wal)
{
    atomic_store_explicit(&wal->easy,
                          wal->state == WAL_OK && !wal->stop &&
                              wal->buf.bytes < wal->buffer_max,
                          memory_order_release);
}

/* wal_thread.c */
/* In a writer's thread: write and release what is pending, if that is all that
 * there is to do. Lock held; dropped meanwhile. */
KV_INTERNAL void kv_wal_lend(struct kv_wal *wal);
KV_INTERNAL void *kv_wal_log_thread(void *arg);
KV_INTERNAL void *kv_wal_sync_thread(void *arg);

#endif
