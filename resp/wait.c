/* wait.c - how a loop waits for its sockets.
 *
 * To sleep and to be woken costs more than most requests do: the loop's thread
 * goes and comes back, and the one that sends has to call its processor. On a
 * virtual machine that is 10 to 20 us, of which each side pays a part. So a
 * turn that is over looks once without waiting, and when there is nothing:
 *
 *   many clients  The loop takes a nap from which nothing wakes it, and what
 *                 comes meanwhile is one turn: one epoll_wait, one write of the
 *                 log, no waking. How long: a sixteenth of the time in which an
 *                 active connection sends once, 50 us at most, so a client
 *                 loses little. It pays when two or more come in it, which asks
 *                 for 32 clients that wait for their replies.
 *   some clients  It looks again and again, for as long as a sleep would cost,
 *                 as long as that is mostly worth it.
 *   few, none     It sleeps.
 *
 * Who is active is counted in windows of 10 ms.
 *
 * Always true:
 *   WT1  What has nothing to do sleeps: each turn naps or looks again once, and
 *        only behind one that had something to do.
 *   WT2  What waits for the log is not kept waiting by a nap.
 *
 * Thread: the loop's own. */
#include <sys/epoll.h>

#include "kvsql/base/os.h"
#include "resp/door.h"

#define WAIT_WINDOW_NS 10000000ull
#define WAIT_NAP_MAX_NS 50000ull
#define WAIT_NAP_PART 16   /* of a connection's cycle */
#define WAIT_NAP_READS 2   /* come in a nap that pays */
#define WAIT_LOOK_NS 20000ull /* about what a sleep costs */
#define WAIT_WORTH_MAX 16u
#define WAIT_WORTH 8u      /* from here on it looks again */
#define WAIT_WORTH_VAIN 3u /* is lost when nothing came */
#define WAIT_PROBE 64u     /* else it looks again once in so many turns */

void resp_wait_init(struct resp_wait *wait, uint64_t now_ns)
{
    *wait = (struct resp_wait){
        .since_ns = now_ns, .window = 1, .naps = kv_os_nap_fine()};
}

uint64_t resp_wait_nap_ns(uint64_t elapsed_ns, uint64_t reads,
                          uint64_t active)
{
    const uint64_t cycle_ns = reads > 0 ? elapsed_ns / reads * active : 0;
    const uint64_t part_ns = cycle_ns / WAIT_NAP_PART;
    const uint64_t nap_ns =
        part_ns < WAIT_NAP_MAX_NS ? part_ns : WAIT_NAP_MAX_NS;

    return nap_ns * reads >= WAIT_NAP_READS * elapsed_ns ? nap_ns : 0;
}

/* The window is over: what does it say? */
static void wait_conclude(struct resp_wait *wait, uint64_t now_ns)
{
    wait->nap_ns = wait->naps ? resp_wait_nap_ns(now_ns - wait->since_ns,
                                                 wait->reads, wait->active)
                              : 0;
    wait->since_ns = now_ns;
    wait->reads = wait->active = 0;
    wait->window++;
}

/* Look again and again. */
static int wait_look(struct resp_loop *loop, struct epoll_event *events,
                     int most)
{
    struct resp_wait *wait = &loop->wait;
    const uint64_t start_ns = kv_os_mono_ns();
    int n;

    do {
        n = epoll_wait(loop->epoll, events, most, 0);
    } while (n == 0 && kv_os_mono_ns() - start_ns < WAIT_LOOK_NS);
    if (n != 0) {
        wait->worth += wait->worth < WAIT_WORTH_MAX;
    } else {
        wait->worth -= wait->worth < WAIT_WORTH_VAIN ? wait->worth
                                                     : WAIT_WORTH_VAIN;
    }
    return n;
}

static bool wait_is_worth_it(struct resp_wait *wait)
{
    return wait->worth >= WAIT_WORTH || ++wait->skipped % WAIT_PROBE == 0;
}

static int wait_awake(struct resp_loop *loop, struct epoll_event *events,
                      int most)
{
    struct resp_wait *wait = &loop->wait;
    int n = epoll_wait(loop->epoll, events, most, 0);

    if (n != 0 || loop->waiting) { /* WT2 */
        return n;
    }
    if (wait->nap_ns != 0) {
        kv_os_nap(wait->nap_ns);
        n = epoll_wait(loop->epoll, events, most, 0);
    } else if (wait_is_worth_it(wait)) {
        n = wait_look(loop, events, most);
    }
    return n;
}

int resp_wait(struct resp_loop *loop, struct epoll_event *events, int most,
              int rest_ms)
{
    struct resp_wait *wait = &loop->wait;
    int n = 0;

    if (loop->now_ns - wait->since_ns >= WAIT_WINDOW_NS) {
        wait_conclude(wait, loop->now_ns);
    }
    if (wait->found && rest_ms > 0) { /* WT1 */
        n = wait_awake(loop, events, most);
    }
    if (n == 0) {
        n = epoll_wait(loop->epoll, events, most, rest_ms);
    }
    wait->found = n > 0;
    return n;
}
