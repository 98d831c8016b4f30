/* gate.h - who waits for which position (D2, D3).
 *
 * A ticket names the last position that a reply saw, and the epoch of the
 * state it saw: each failure of the wal takes back what is not released and
 * begins a new epoch, in which the positions that were taken back are used
 * again. So the same position can mean two batches, and the epoch tells them
 * apart. The gate remembers, for the last failures, up to where the epoch that
 * ended had been released: at or below it a ticket is good for ever, above it
 * the batch was undone.
 *
 * Always true:
 *   G1  released never falls.
 *   G2  the end of an epoch is recorded before anything of the next one is
 *       released, so who reads released and then epoch is never fooled.
 *
 * Thread: advance, tell, end_epoch and close are the log thread's; the rest any. */
#ifndef KVSQL_GATE_H
#define KVSQL_GATE_H

#include <stdatomic.h>

#include "kvsql/base/lock.h"
#include "kvsql/inside.h"

#define KV_GATE_ENDS 64 /* failures remembered */

struct kv_gate_end {
    uint64_t epoch, released;
    kvsql_rc rc;
};

struct kv_gate {
    struct kv_lock lock;
    atomic_uint_fast64_t released, epoch;
    struct kv_waiter *first, **last; /* of any order */
    struct kv_gate_end ends[KV_GATE_ENDS];
    uint64_t end_count;
    bool closed;
};

KV_INTERNAL void kv_gate_init(struct kv_gate *gate, uint64_t released,
                              uint64_t epoch);
KV_INTERNAL void kv_gate_fini(struct kv_gate *gate);
/* Replies up to `position` may go: calls their done(). */
KV_INTERNAL void kv_gate_advance(struct kv_gate *gate, uint64_t position);
/* Take those out whose fate is known and call their done(). */
KV_INTERNAL void kv_gate_tell(struct kv_gate *gate);
/* Everything above released was undone because of `rc`: `epoch` has begun. */
KV_INTERNAL void kv_gate_end_epoch(struct kv_gate *gate, uint64_t epoch,
                                   kvsql_rc rc);
/* Nothing will be released any more: who waits gets CLOSED. */
KV_INTERNAL void kv_gate_close(struct kv_gate *gate);

/* KVSQL_OK: may go. KVSQL_BUSY: not yet. Else why it never will. */
KV_INTERNAL kvsql_rc kv_gate_check(struct kv_gate *gate,
                                   struct kv_ticket ticket);
KV_INTERNAL kvsql_rc kv_gate_await(struct kv_gate *gate,
                                   struct kv_ticket ticket);
/* KVSQL_OK: may go, done() will not be called. KVSQL_BUSY: done() will be
 * called, once. Else the same, at the next kv_gate_tell. */
KV_INTERNAL kvsql_rc kv_gate_enter(struct kv_gate *gate,
                                   struct kv_waiter *waiter);

#endif
