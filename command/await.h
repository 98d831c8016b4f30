/* await.h - who waits until something is put into a key: a pop of a list or
 * sorted set that is empty.
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
 * something that is there. As long as nobody waits this costs a change nothing.
 *
 * Thread: any; under cmd_track's lock. */
#ifndef KVSQL_COMMAND_AWAIT_H
#define KVSQL_COMMAND_AWAIT_H

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
    bool queued, told;
};

/* Once before the first txn that may wait; changes are told from then on. */
KV_INTERNAL void cmd_await_observe(kvsql *db);
/* Inside a txn, whose lock is held. */
KV_INTERNAL void cmd_await_enter(struct cmd_waiter *waiter);
/* It waits no more, or for a moment not; any state. One that was told hands on
 * to the next behind it, when there may be something `left`. No lock held, or a
 * txn's. */
KV_INTERNAL void cmd_await_end(struct cmd_waiter *waiter, bool left);

/* track_tell.c calls it, under cmd_track's lock: something was put there. */
KV_INTERNAL void cmd_await_told(kvsql_slice key);

#endif
