/* gate.c - waiters and the positions they wait for.
 *
 * The common question, "may this reply go?", is two atomic loads. Who has to
 * wait stands in one list; each advance takes out all that are ready and calls
 * them after the lock is dropped. With group commit an advance frees most of
 * the list, so a plain list costs about one visit per waiter.
 *
 * Thread: see gate.h. */
#include "kvsql/gate.h"

void kv_gate_init(struct kv_gate *gate, uint64_t released, uint64_t epoch)
{
    *gate = (struct kv_gate){.first = NULL};
    gate->last = &gate->first;
    atomic_init(&gate->released, released);
    atomic_init(&gate->epoch, epoch);
    kv_lock_init(&gate->lock, KV_RANK_GATE);
}

void kv_gate_fini(struct kv_gate *gate)
{
    KV_ASSERT(gate->first == NULL);
    kv_lock_fini(&gate->lock);
}

/* What became of a ticket of an epoch that ended. Lock held. */
static kvsql_rc gate_past(const struct kv_gate *gate, struct kv_ticket ticket)
{
    const uint64_t oldest =
        gate->end_count > KV_GATE_ENDS ? gate->end_count - KV_GATE_ENDS : 0;

    for (uint64_t i = oldest; i < gate->end_count; i++) {
        const struct kv_gate_end *end = &gate->ends[i % KV_GATE_ENDS];

        if (end->epoch == ticket.epoch) {
            return ticket.position <= end->released ? KVSQL_OK : end->rc;
        }
    }
    return KVSQL_IO; /* so many failures ago that nobody knows (D6) */
}

/* Lock held. */
static kvsql_rc gate_judge(const struct kv_gate *gate, struct kv_ticket ticket)
{
    if (ticket.epoch < gate->epoch) {
        return gate_past(gate, ticket);
    }
    if (ticket.position <= gate->released) {
        return KVSQL_OK;
    }
    return gate->closed ? KVSQL_CLOSED : KVSQL_BUSY;
}

kvsql_rc kv_gate_check(struct kv_gate *gate, struct kv_ticket ticket)
{
    /* In this order: a released of the next epoch comes with its epoch. G2 */
    const uint64_t released = atomic_load(&gate->released);
    const uint64_t epoch = atomic_load(&gate->epoch);

    if (ticket.epoch >= epoch && ticket.position <= released) {
        return KVSQL_OK;
    }
    kv_lock_take(&gate->lock);
    const kvsql_rc rc = gate_judge(gate, ticket);
    kv_lock_drop(&gate->lock);
    return rc;
}

/* Judge, and put the waiter on the list when it must wait; with `failed` also
 * when it will never pass. */
static kvsql_rc gate_enter(struct kv_gate *gate, struct kv_waiter *waiter,
                           bool failed)
{
    kv_lock_take(&gate->lock);
    const kvsql_rc rc = gate_judge(gate, waiter->ticket);
    if (rc == KVSQL_BUSY || (failed && rc != KVSQL_OK)) {
        waiter->next = NULL;
        *gate->last = waiter;
        gate->last = &waiter->next;
    }
    kv_lock_drop(&gate->lock);
    return rc;
}

kvsql_rc kv_gate_enter(struct kv_gate *gate, struct kv_waiter *waiter)
{
    return gate_enter(gate, waiter, true);
}

/* Take those out whose fate is known, and tell them without the lock. Taking
 * out keeps the order of arrival. */
void kv_gate_tell(struct kv_gate *gate)
{
    struct kv_waiter *ready = NULL, **ready_last = &ready;
    struct kv_waiter **link = &gate->first;

    kv_lock_take(&gate->lock);
    while (*link != NULL) {
        struct kv_waiter *waiter = *link;

        if (gate_judge(gate, waiter->ticket) == KVSQL_BUSY) {
            link = &waiter->next;
            continue;
        }
        *link = waiter->next;
        waiter->next = NULL;
        *ready_last = waiter;
        ready_last = &waiter->next;
    }
    gate->last = link;
    kv_lock_drop(&gate->lock);
    while (ready != NULL) {
        struct kv_waiter *waiter = ready;

        ready = waiter->next;
        waiter->done(waiter, kv_gate_check(gate, waiter->ticket));
    }
}

void kv_gate_advance(struct kv_gate *gate, uint64_t position)
{
    KV_ASSERT(position >= gate->released); /* G1 */
    kv_lock_take(&gate->lock);
    atomic_store(&gate->released, position);
    const bool waiting = gate->first != NULL;
    kv_lock_drop(&gate->lock);
    if (waiting) {
        kv_gate_tell(gate);
    }
}

void kv_gate_end_epoch(struct kv_gate *gate, uint64_t epoch, kvsql_rc rc)
{
    kv_lock_take(&gate->lock);
    KV_ASSERT(epoch == gate->epoch + 1);
    gate->ends[gate->end_count % KV_GATE_ENDS] =
        (struct kv_gate_end){.epoch = gate->epoch, .released = gate->released,
                             .rc = rc};
    gate->end_count++;
    atomic_store(&gate->epoch, epoch); /* G2 */
    kv_lock_drop(&gate->lock);
    kv_gate_tell(gate);
}

void kv_gate_close(struct kv_gate *gate)
{
    kv_lock_take(&gate->lock);
    gate->closed = true;
    kv_lock_drop(&gate->lock);
    kv_gate_tell(gate);
}

/* A thread that sleeps until its ticket is known; lives on its stack. */
struct gate_sleeper {
    struct kv_waiter waiter;
    struct kv_lock lock;
    struct kv_cond cond;
    kvsql_rc rc;
    bool done;
};

static void gate_sleeper_done(struct kv_waiter *waiter, kvsql_rc rc)
{
    struct gate_sleeper *sleeper = waiter->arg;

    kv_lock_take(&sleeper->lock);
    sleeper->rc = rc;
    sleeper->done = true;
    kv_cond_wake_one(&sleeper->cond);
    kv_lock_drop(&sleeper->lock);
}

kvsql_rc kv_gate_await(struct kv_gate *gate, struct kv_ticket ticket)
{
    kvsql_rc rc = kv_gate_check(gate, ticket);
    if (rc != KVSQL_BUSY) {
        return rc;
    }
    struct gate_sleeper sleeper = {.waiter = {.ticket = ticket,
                                              .done = gate_sleeper_done}};
    sleeper.waiter.arg = &sleeper;
    kv_lock_init(&sleeper.lock, KV_RANK_GATE);
    kv_cond_init(&sleeper.cond);
    rc = gate_enter(gate, &sleeper.waiter, false);
    if (rc == KVSQL_BUSY) { /* entered: from here on rc is the sleeper's */
        kv_lock_take(&sleeper.lock);
        while (!sleeper.done) {
            kv_cond_wait(&sleeper.cond, &sleeper.lock);
        }
        rc = sleeper.rc;
        kv_lock_drop(&sleeper.lock);
    }
    kv_cond_fini(&sleeper.cond);
    kv_lock_fini(&sleeper.lock);
    return rc;
}
