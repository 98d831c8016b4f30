/* await.h - who waits until something is put into a key: a pop of a list or
 * sorted set that is empty, over HTTP (one key) or by the Redis protocol (several).
 *
 * A waiter stands in a queue for its key, from inside the transaction that found
 * nothing there, so that nothing comes between. The first change that puts
 * something there takes the first waiter out and tells it; it then looks again, in
 * a transaction of its own, and says whether something is left for the next one:
 *
 *   txn, nothing is there -> cmd_await_enter() -> rollback
 *   ... waiter->ready()
 *   txn: taken, or nothing again -> cmd_await_enter(), at its old place
 *   cmd_await_end(), whatever came of it
 *
 * So one who is told and does not take it hands on, and nobody waits beside
 * something that is there. Until it has looked it keeps its place, and who comes to
 * wait meanwhile (cmd_await_busy) stands behind it. As long as nobody waits this
 * costs a change nothing.
 *
 * Thread: any; under cmd_track's lock. */
#ifndef KVSQL_COMMAND_AWAIT_H
#define KVSQL_COMMAND_AWAIT_H

#include <stdatomic.h>

#include "kvsql/inside.h"

/* Owned by the caller, zeroes but for the first three. */
struct cmd_waiter {
    kvsql_slice key; /* lives as long as it waits */
    /* Something may be there. Once for each enter; under the store lock and
     * ours: it must not wait, and calls nothing of this file. */
    void (*ready)(struct cmd_waiter *waiter);
    void *arg;
    struct cmd_waiter *before, *behind; /* private, as all that follows */
    uint64_t turn; /* who came first */
    uint64_t told; /* the later the larger; 0: it was not */
    bool queued;
};

/* Waiters that are queued, of all keys: a change is to be told as soon as it is
 * made. Grows with the store locked only. */
extern _Atomic unsigned cmd_await_count;
static inline bool cmd_await_is_on(void)
{
    return KV_UNLIKELY(atomic_load_explicit(&cmd_await_count,
                                            memory_order_relaxed) != 0);
}

/* Once before the first txn that may wait; changes are told from then on. */
KV_INTERNAL void cmd_await_observe(kvsql *db);
/* Inside a txn, whose lock is held. */
KV_INTERNAL void cmd_await_enter(struct cmd_waiter *waiter);
/* Inside a txn: somebody was told of the key and has not looked yet. */
KV_INTERNAL bool cmd_await_busy(kvsql_slice key);
/* Inside a txn that has entered it: something is in the key; if nobody has been told,
 * the first one is. */
KV_INTERNAL void cmd_await_remind(kvsql_slice key);
/* When it was told; 0: it was not. */
KV_INTERNAL uint64_t cmd_await_told_at(const struct cmd_waiter *waiter);
/* It waits no more, or for a moment not; any state. One that was told hands on
 * to the next behind it, when there may be something `left`. No lock held, or a
 * txn's. */
KV_INTERNAL void cmd_await_end(struct cmd_waiter *waiter, bool left);

/* track_tell.c calls it, under cmd_track's lock: something was put there. */
KV_INTERNAL void cmd_await_told(kvsql_slice key);
/* Under the store lock: batches were undone, and what they took may be there
 * again; the first one of each key looks. O(waiters of a hash, squared). */
KV_INTERNAL void cmd_await_undone(void);

#endif
