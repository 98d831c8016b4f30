/* loop.c - the event loops of the door.
 *
 * A turn: wait for the sockets; read and run, connection by connection; take
 * what others left in the post box; then send to all that have something to be
 * sent, and stand at the gate for those that must wait. So the writes of all
 * connections of a turn are one group of the log.
 *
 * epoll is used directly, edge-triggered for connections (CN3 of conn.c): see
 * docs/decisions/resp-loop.md. How it waits is wait.c's.
 *
 * Always true:
 *   LP1  A connection is freed at the end of a turn only, when no worker has
 *        it and the post box does not name it.
 *   LP2  The loop has at most one waiter at the gate.
 *
 * Thread: the loop's own, but for what says otherwise. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "command/track.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/os.h"
#include "resp/door.h"

#define LOOP_EVENTS 256
#define LOOP_TICK_MS 100           /* longest sleep while something is timed */
#define LOOP_REST_MS 1000          /* longest sleep */
#define LOOP_SWEEP_NS 1000000000ull
#define LOOP_NS_PER_MS 1000000ull

/* ---- lists -------------------------------------------------------------- */

void resp_loop_ready(struct resp_conn *conn)
{
    if (!conn->ready) {
        conn->ready = true;
        conn->ready_next = conn->loop->ready;
        conn->loop->ready = conn;
    }
}

void resp_loop_gated(struct resp_conn *conn)
{
    struct resp_loop *loop = conn->loop;

    if (!conn->gated) {
        conn->gated = true;
        conn->gated_next = NULL;
        *loop->gated_last = conn;
        loop->gated_last = &conn->gated_next;
    }
}

void resp_loop_paused(struct resp_conn *conn)
{
    if (!conn->paused) {
        conn->paused = true;
        conn->paused_next = conn->loop->pausing;
        conn->loop->pausing = conn;
    }
}

/* ---- the parts of a turn ------------------------------------------------ */

void resp_loop_look_at_gated(struct resp_loop *loop)
{
    struct resp_conn *conn = loop->gated;

    loop->gated = NULL;
    loop->gated_last = &loop->gated;
    while (conn != NULL) {
        struct resp_conn *next = conn->gated_next;

        conn->gated = false;
        resp_loop_ready(conn);
        conn = next;
    }
}

/* The end of a pause: those that it held go on. */
static void loop_resume_paused(struct resp_loop *loop)
{
    struct resp_conn *conn = loop->pausing;

    if (conn == NULL || cmd_pause_ns() != 0) {
        return;
    }
    loop->pausing = NULL;
    while (conn != NULL) {
        struct resp_conn *next = conn->paused_next;

        conn->paused = false;
        if (!conn->closed) {
            resp_conn_resume(conn);
        }
        conn = next;
    }
}

static void loop_event(struct resp_conn *conn, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        resp_conn_readable(conn);
    }
    if (events & (EPOLLHUP | EPOLLERR)) {
        conn->closed = true; /* nobody waits for the answer: L6 */
    } else if (events & EPOLLRDHUP) {
        conn->half = true; /* is read when reading goes on */
        conn->half_ns = conn->loop->now_ns;
        conn->closed = conn->closed || conn->hold == RESP_HOLD_BLOCK;
        resp_conn_watch(conn);
    }
    if (events & EPOLLOUT) {
        resp_loop_ready(conn);
    }
    if (conn->closed) {
        resp_loop_ready(conn);
    }
}

/* ---- sending, and closing ----------------------------------------------- */

static void loop_show(struct resp_conn *conn)
{
    atomic_store_explicit(&conn->shown_in, conn->in.size - conn->in_at,
                          memory_order_relaxed);
    atomic_store_explicit(&conn->shown_out, resp_send_waiting(conn),
                          memory_order_relaxed);
}

static void loop_list_drop(struct resp_conn **list, struct resp_conn *conn,
                           size_t offset)
{
    while (*list != NULL) {
        struct resp_conn **next =
            (struct resp_conn **)(void *)((char *)*list + offset);

        if (*list == conn) {
            *list = *next;
            return;
        }
        list = next;
    }
}

/* LP1: or not yet. */
static void loop_close(struct resp_conn *conn)
{
    struct resp_loop *loop = conn->loop;

    (void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, conn->fd, NULL);
    if (conn->job != NULL && conn->job->resting) {
        resp_work_free(conn->job);
        conn->job = NULL;
    }
    if (conn->job != NULL) {
        resp_work_cancel(conn);
        return; /* its job's end brings it back here */
    }
    cmd_client_close(&conn->client); /* from here nobody posts for it */
    resp_block_leave(conn);
    kv_lock_take(&loop->post_lock);
    if (conn->posted) {
        loop_list_drop(&loop->post, conn,
                       offsetof(struct resp_conn, post_next));
        conn->posted = false;
    }
    kv_lock_drop(&loop->post_lock);
    if (conn->gated) {
        loop_list_drop(&loop->gated, conn,
                       offsetof(struct resp_conn, gated_next));
        loop->gated_last = &loop->gated;
        while (*loop->gated_last != NULL) {
            loop->gated_last = &(*loop->gated_last)->gated_next;
        }
    }
    if (conn->paused) {
        loop_list_drop(&loop->pausing, conn,
                       offsetof(struct resp_conn, paused_next));
    }
    resp_conn_free(conn);
}

/* Nothing more to say to it. */
static bool loop_is_over(const struct resp_conn *conn)
{
    return conn->hold != RESP_HOLD_WORK && conn->client.closing &&
           resp_send_waiting(conn) == 0;
}

static void loop_send(struct resp_loop *loop)
{
    struct resp_conn *conn = loop->ready;

    loop->ready = NULL;
    while (conn != NULL) {
        struct resp_conn *next = conn->ready_next;
        const bool full = resp_send_waiting(conn) > RESP_OUTPUT_PAUSE;

        if (conn->push_kept && !conn->closed) {
            resp_push_send(conn);
        }
        conn->ready = false;
        if (!conn->closed) {
            resp_send_some(conn);
            resp_part_feed(conn);
        }
        loop_show(conn);
        if (conn->closed || loop_is_over(conn)) {
            conn->closed = true;
            loop_close(conn);
            conn = next;
            continue;
        }
        if (conn->resume ||
            (full && resp_send_waiting(conn) <= RESP_OUTPUT_PAUSE)) {
            conn->resume = false;
            resp_conn_resume(conn);
        } else {
            resp_conn_watch(conn);
        }
        if (conn->push_kept && !resp_push_waits(conn)) {
            resp_loop_ready(conn); /* there is room for it now */
        }
        conn = next;
    }
}

/* Take the first off the list. */
static void loop_ungate(struct resp_loop *loop)
{
    struct resp_conn *conn = loop->gated;

    conn->gated = false;
    loop->gated = conn->gated_next;
    if (loop->gated == NULL) {
        loop->gated_last = &loop->gated;
    }
}

/* One waiter for the first reply of those that wait: the log is written in
 * groups, so with the first mostly all may go. */
static void loop_stand_at_gate(struct resp_loop *loop)
{
    struct kv_ticket ticket;

    while (!loop->waiting && loop->gated != NULL) {
        kvsql *db = atomic_load(&loop->server->db);

        if (!resp_send_is_gated(loop->gated, &ticket)) {
            loop_ungate(loop); /* sent meanwhile */
            continue;
        }
        loop->waiter = (struct kv_waiter){
            .ticket = ticket, .done = resp_post_gate_done, .arg = loop};
        loop->waiting = true; /* LP2 */
        if (kv_gate_watch(db, &loop->waiter)) {
            loop->waiting = false;
            resp_loop_look_at_gated(loop);
            loop_send(loop);
        }
    }
}

/* ---- timers ------------------------------------------------------------- */

/* Too long silent, too slow with a request, reading nothing. */
static const char *loop_overdue(const struct resp_loop *loop,
                                const struct resp_conn *conn)
{
    const uint64_t idle_ms = atomic_load_explicit(&loop->server->idle_ms,
                                                  memory_order_relaxed);
    const uint64_t now = loop->now_ns;
    const uint64_t used = (uint64_t)atomic_load_explicit(
        &conn->client.used_ns, memory_order_relaxed);

    if (conn->stalled_ns != 0 && now - conn->stalled_ns > RESP_STALL_NS &&
        resp_send_waiting(conn) > RESP_OUTPUT_PAUSE) {
        return "reads no replies";
    }
    if (conn->begun_ns != 0 && conn->hold == RESP_HOLD_NO &&
        now - conn->begun_ns >
            RESP_TAKE_NS + conn->begun_bytes / RESP_TAKE_RATE * 1000000000) {
        return "request too slow";
    }
    if (conn->half && conn->hold == RESP_HOLD_WORK &&
        now - conn->half_ns > RESP_HALF_NS) {
        return "left while its command runs";
    }
    if (idle_ms != 0 && conn->hold == RESP_HOLD_NO &&
        !atomic_load(&conn->client.monitor) &&
        !atomic_load(&conn->client.subscribed) &&
        now > used + idle_ms * LOOP_NS_PER_MS) {
        return "silent for longer than timeout";
    }
    return NULL;
}

static void loop_sweep(struct resp_loop *loop)
{
    if (loop->now_ns - loop->swept_ns < LOOP_SWEEP_NS) {
        return;
    }
    loop->swept_ns = loop->now_ns;
    cmd_track_tidy();
    for (struct resp_conn *conn = loop->first; conn != NULL;
         conn = conn->next) {
        const char *why = loop_overdue(loop, conn);
        struct kvsql_error err;

        if (why == NULL) {
            why = resp_part_rests(conn, &err);
        }
        if (why == NULL && !conn->closed && resp_push_is_over(conn)) {
            resp_push_complain(conn);
            conn->closed = true;
            resp_loop_ready(conn);
        }
        if (why != NULL && !conn->closed) {
            kv_diag(KV_INFO, "client.closed", "addr=%s why=\"%s\"",
                    conn->client.addr, why);
            conn->closed = true;
            resp_loop_ready(conn);
        }
    }
}

/* What epoll gives is a listener or a connection. */
static bool loop_is_listener(const struct resp_loop *loop, const void *p)
{
    const char *first = (const char *)loop->listening;

    return (const char *)p >= first &&
           (const char *)p < first + sizeof(*loop->listening);
}

/* Not at all when the sending of this turn let a connection go on that has
 * something to send now. */
static int loop_timeout(const struct resp_loop *loop)
{
    if (loop->ready != NULL) {
        return 0;
    }
    return resp_block_rest_ms(
        loop, loop->pausing != NULL || loop->accept_again_ns != 0
                  ? LOOP_TICK_MS
                  : LOOP_REST_MS);
}

/* ---- the thread --------------------------------------------------------- */

static void *loop_run(void *arg)
{
    struct resp_loop *loop = arg;
    struct epoll_event events[LOOP_EVENTS];
    bool on = true;

    kv_thread_be_quick();
    loop->now_ns = kv_os_mono_ns();
    resp_wait_init(&loop->wait, loop->now_ns);
    while (on) {
        kvsql *db;
        const int n =
            resp_wait(loop, events, LOOP_EVENTS, loop_timeout(loop));
        bool mail = false;

        loop->now_ns = kv_os_mono_ns();
        db = atomic_load(&loop->server->db);
        if (db != NULL) {
            kv_turn_begin(db);
        }
        if (atomic_load_explicit(&loop->has_woken, memory_order_relaxed)) {
            resp_block_serve(loop); /* before others look */
        }
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == loop) {
                mail = true;
            } else if (loop_is_listener(loop, events[i].data.ptr)) {
                resp_accept(loop, events[i].data.ptr);
            } else {
                loop_event(events[i].data.ptr, events[i].events);
            }
        }
        if (mail) {
            on = resp_post_take(loop);
        }
        if (loop->accept_again_ns != 0 &&
            loop->now_ns >= loop->accept_again_ns) {
            resp_accept_again(loop);
        }
        loop_resume_paused(loop);
        resp_block_expire(loop);
        loop_sweep(loop);
        if (db != NULL) {
            kv_turn_end(db);
        }
        loop_send(loop);
        loop_stand_at_gate(loop);
    }
    return NULL;
}

/* ---- start and stop ----------------------------------------------------- */

static kvsql_rc loop_watch(struct resp_loop *loop, int fd, void *what,
                           uint32_t events, struct kvsql_error *err)
{
    struct epoll_event event = {.events = events, .data.ptr = what};

    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0) {
        return KVSQL_OK;
    }
    return kv_fail(err, KVSQL_IO, "resp: cannot wait for events: %s",
                   kv_os_error(errno));
}

kvsql_rc resp_loop_start(struct resp_loop *loop, struct kvsql_error *err)
{
    kvsql_rc rc;

    kv_lock_init(&loop->post_lock, KV_RANK_POST);
    loop->gated_last = &loop->gated;
    loop->woken_last = &loop->woken_first;
    loop->done_last = &loop->done;
    resp_parser_init(&loop->parser);
    loop->pipe.most_ns = RESP_PIPE_NS;
    loop->scratch = kv_mem_alloc(KV_MEM_CLIENT, RESP_READ_SIZE);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->scratch == NULL) {
        return kv_fail(err, KVSQL_NOMEM, "resp: no memory for a loop");
    }
    if (loop->epoll < 0 || loop->wake < 0) {
        return kv_fail(err, KVSQL_IO, "resp: cannot make an event loop: %s",
                       kv_os_error(errno));
    }
    rc = loop_watch(loop, loop->wake, loop, EPOLLIN, err);
    resp_listen_enter(loop);
    struct kv_listeners *listeners = &loop->listening->set;
    for (unsigned i = 0; i < listeners->count && rc == KVSQL_OK; i++) {
        rc = loop_watch(loop, listeners->at[i].fd, &listeners->at[i],
                        EPOLLIN | EPOLLEXCLUSIVE, err);
    }
    if (rc == KVSQL_OK) {
        rc = kv_thread_start(&loop->thread, "resp-loop", loop_run, loop, err);
    }
    return rc;
}

/* The gate calls back even when nobody listens: wait for it. */
static void loop_await_gate(struct resp_loop *loop)
{
    bool waiting = loop->waiting;

    while (waiting) {
        struct kvsql_error err;

        (void)kv_gate_wait(atomic_load(&loop->server->db),
                           loop->waiter.ticket, &err);
        kv_lock_take(&loop->post_lock);
        waiting = !loop->gate_opened;
        kv_lock_drop(&loop->post_lock);
        if (waiting) {
            kv_os_sleep_ms(1);
        }
    }
}

void resp_loop_fini(struct resp_loop *loop)
{
    kv_thread_join(&loop->thread);
    resp_post_take_jobs(loop->done);
    loop->done = NULL;
    loop_await_gate(loop);
    while (loop->first != NULL) {
        struct resp_conn *conn = loop->first;

        resp_send_some(conn); /* what may go */
        if (conn->job != NULL) { /* it rests: the workers have ended */
            resp_work_free(conn->job);
        }
        cmd_client_close(&conn->client);
        resp_block_leave(conn);
        resp_conn_free(conn);
    }
    kv_mem_free(KV_MEM_CLIENT, loop->heap,
                loop->heap_cap * sizeof(struct resp_conn *));
    resp_listen_leave(loop);
    if (loop->epoll >= 0) {
        (void)close(loop->epoll);
    }
    if (loop->wake >= 0) {
        (void)close(loop->wake);
    }
    kv_mem_free(KV_MEM_CLIENT, loop->scratch, RESP_READ_SIZE);
    resp_parser_fini(&loop->parser);
    kv_lock_fini(&loop->post_lock);
}
