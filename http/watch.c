/* watch.c - the watcher: deadlines and lost clients.
 *
 * The library's own timer counts inactivity only, and a suspended connection
 * sees neither its client go nor any timeout. So one thread of ours keeps the
 * table of all connections, hangs up on those past their absolute deadline
 * (L3), wakes requests that wait for something to take when it is there or their
 * time is over, and has every socket in an epoll set of its own, for its end alone.
 *
 * The end of a client is told by the kernel once, and the library, whose set
 * is edge-triggered, forgets it when it came together with bytes: it reads
 * those, reads no further, and waits for an edge that was. So the end is kept
 * here (`ended`), and used three ways: a request that waits for a worker is
 * cancelled, also when the end was there before it began to wait; when a
 * request is answered, a moment later, and every tick, the library is told
 * again. Telling is shutdown(SHUT_RD), which raises a new edge and loses
 * nothing: what arrived is still read, what is being sent is still sent.
 *
 * Hanging up is shutdown(): the library sees the end of the connection and
 * closes it in its own time. A descriptor stays in the table until the library
 * says CLOSED, which comes before the number can be used again; so shutdown
 * under the watch lock never meets a stranger's socket. Events carry the
 * connection's serial beside the number, because an event fetched before the
 * lock was taken may be older than the connection that stands there now.
 *
 * Thread: the watcher's own; the functions are for any. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/request.h"
#include "http/sse.h"
#include "http/views.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/os.h"

#define WATCH_TICK_NS UINT64_C(500000000)
#define WATCH_AGAIN_NS UINT64_C(20000000) /* after an end: tell it again */
#define WATCH_EVENTS 64
#define WATCH_WAKE UINT64_MAX
#define WATCH_POST (UINT64_MAX - 1)
#define WATCH_CONNS_FIRST 64
#define WATCH_CONNS_MAX (1u << 20)

static uint64_t watch_key(const struct http_conn *conn)
{
    return (uint64_t)conn->serial << 32 | (uint32_t)conn->fd;
}

/* ---- the table ----------------------------------------------------------------- */

static bool watch_grow(struct http_server *server, unsigned fd)
{
    unsigned cap = server->conn_cap ? server->conn_cap : WATCH_CONNS_FIRST;

    while (cap <= fd)
        cap *= 2;
    if (cap > WATCH_CONNS_MAX)
        return false;
    struct http_conn **conns = kv_mem_realloc(
        KV_MEM_CLIENT, server->conns, server->conn_cap * sizeof(*conns),
        cap * sizeof(*conns));
    if (conns == NULL)
        return false;
    memset(conns + server->conn_cap, 0,
           (cap - server->conn_cap) * sizeof(*conns));
    server->conns = conns;
    server->conn_cap = cap;
    return true;
}

struct http_conn *http_watch_opened(struct http_server *server, int fd)
{
    struct http_conn *conn = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *conn);

    if (conn == NULL)
        return NULL;
    kv_lock_take(&server->watch_lock);
    if ((unsigned)fd >= server->conn_cap && !watch_grow(server, (unsigned)fd)) {
        kv_lock_drop(&server->watch_lock);
        kv_mem_free(KV_MEM_CLIENT, conn, sizeof *conn);
        return NULL;
    }
    conn->fd = fd;
    conn->serial = ++server->conn_serial;
    server->conns[fd] = conn;
    /* One shot: our own shutdown() is no news. Without the event the client's
     * end is only seen at a deadline; not a fault. */
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT,
                                .data.u64 = watch_key(conn)};
    (void)epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event);
    kv_lock_drop(&server->watch_lock);
    return conn;
}

void http_watch_closed(struct http_server *server, struct http_conn *conn)
{
    kv_lock_take(&server->watch_lock);
    KV_ASSERT(conn->request == NULL); /* H2: not suspended any more */
    (void)epoll_ctl(server->epoll, EPOLL_CTL_DEL, conn->fd, NULL);
    server->conns[conn->fd] = NULL;
    kv_lock_drop(&server->watch_lock);
    kv_mem_free(KV_MEM_CLIENT, conn, sizeof *conn);
}

void http_watch_until(struct http_conn *conn, uint64_t now_ns, uint64_t ms)
{
    atomic_store_explicit(&conn->deadline_ns, now_ns + ms * 1000000,
                          memory_order_relaxed);
}

void http_watch_deadline(struct http_conn *conn, uint64_t ms)
{
    if (ms > 0)
        http_watch_until(conn, kv_os_mono_ns(), ms);
    else
        atomic_store_explicit(&conn->deadline_ns, 0, memory_order_relaxed);
}

/* Let the watcher look at what there is to do. */
static void watch_kick(struct http_server *server)
{
    (void)eventfd_write(server->wake, 1); /* full: it looks anyway */
}

bool http_watch_enter(struct http_request *request, bool lost)
{
    struct http_server *server = request->server;
    struct http_conn *conn = request->conn;
    const uint64_t due_ns =
        request->phase == HTTP_PHASE_AWAIT ? request->wait.until_ns : 0;

    kv_lock_take(&server->watch_lock);
    bool good = !atomic_load(&server->stopping);
    if (good && lost && atomic_load(&conn->ended)) {
        atomic_fetch_add(&server->stats.lost, 1);
        good = false;
    }
    if (good) {
        conn->request = request; /* H2 */
        conn->lost = lost;
        conn->due_ns = due_ns;
    }
    const bool sooner = good && due_ns != 0 && due_ns < server->due_ns;
    if (sooner)
        server->due_ns = due_ns;
    kv_lock_drop(&server->watch_lock);
    if (sooner)
        watch_kick(server);
    return good;
}

void http_watch_leave(struct http_request *request)
{
    struct http_server *server = request->server;
    struct http_conn *conn = request->conn;

    kv_lock_take(&server->watch_lock);
    conn->request = NULL;
    conn->due_ns = 0;
    kv_cond_wake_all(&server->watch_quiet);
    kv_lock_drop(&server->watch_lock);
}

void http_watch_answered(struct http_conn *conn)
{
    if (atomic_load(&conn->ended))
        (void)shutdown(conn->fd, SHUT_RD);
}

/* ---- the thread -------------------------------------------------------------------- */

static void watch_ended(struct http_server *server, uint64_t key)
{
    unsigned fd = (uint32_t)key;
    struct http_request *request = NULL;

    kv_lock_take(&server->watch_lock);
    struct http_conn *conn = fd < server->conn_cap ? server->conns[fd] : NULL;
    if (conn != NULL && watch_key(conn) == key) {
        atomic_store(&conn->ended, true);
        (void)shutdown(conn->fd, SHUT_RD);
        if (conn->lost)
            request = conn->request;
    }
    if (request != NULL)
        http_request_ref(request);
    kv_lock_drop(&server->watch_lock);
    if (request == NULL)
        return;
    atomic_fetch_add(&server->stats.lost, 1);
    http_request_cancel(request);
    http_request_unref(request);
}

/* The tick: deadlines, and ends of which the library was told too early. */
static void watch_tick(struct http_server *server)
{
    uint64_t now = kv_os_mono_ns();

    kv_lock_take(&server->watch_lock);
    for (unsigned i = 0; i < server->conn_cap; i++) {
        struct http_conn *conn = server->conns[i];
        if (conn == NULL)
            continue;
        http_watch_answered(conn);
        uint64_t at =
            atomic_load_explicit(&conn->deadline_ns, memory_order_relaxed);
        if (at == 0 || now < at)
            continue;
        atomic_store_explicit(&conn->deadline_ns, 0, memory_order_relaxed);
        atomic_fetch_add(&server->stats.reaped, 1);
        (void)shutdown(conn->fd, SHUT_RDWR);
    }
    kv_lock_drop(&server->watch_lock);
}

/* ---- those that wait for something to take ------------------------------------------ */

static void watch_wake(struct http_request *request, bool late)
{
    kv_lock_take(&request->lock);
    if (late)
        request->wait.late = true;
    else
        request->wait.told = true;
    if (request->wait.stands)
        http_wake(request);
    request->wait.stands = false;
    kv_lock_drop(&request->lock);
    http_request_unref(request);
}

void http_watch_tell(struct http_request *request)
{
    struct http_server *server = request->server;

    http_request_ref(request);
    kv_lock_take(&server->told_lock);
    request->wait.told_next = server->told_first;
    server->told_first = request;
    kv_lock_drop(&server->told_lock);
    watch_kick(server);
}

static void watch_told(struct http_server *server)
{
    kv_lock_take(&server->told_lock);
    struct http_request *request = server->told_first;
    server->told_first = NULL;
    kv_lock_drop(&server->told_lock);
    while (request != NULL) {
        struct http_request *next = request->wait.told_next;
        watch_wake(request, false);
        request = next;
    }
}

/* Some of those whose time is over, each with a reference; how many. None is
 * taken twice for one wait, however long it then stays. Sets when the next one's
 * is. */
static unsigned watch_late(struct http_server *server, uint64_t now,
                           struct http_request *late[WATCH_EVENTS])
{
    unsigned count = 0;

    kv_lock_take(&server->watch_lock);
    server->due_ns = UINT64_MAX;
    for (unsigned i = 0; i < server->conn_cap && count < WATCH_EVENTS; i++) {
        struct http_conn *conn = server->conns[i];
        if (conn == NULL || conn->due_ns == 0)
            continue;
        if (now >= conn->due_ns) {
            KV_ASSERT(conn->request != NULL);
            http_request_ref(conn->request);
            late[count++] = conn->request;
            conn->due_ns = 0;
        } else if (conn->due_ns < server->due_ns) {
            server->due_ns = conn->due_ns;
        }
    }
    kv_lock_drop(&server->watch_lock);
    return count;
}

static void watch_due(struct http_server *server)
{
    struct http_request *late[WATCH_EVENTS];
    unsigned count;

    kv_lock_take(&server->watch_lock);
    const uint64_t due = server->due_ns;
    kv_lock_drop(&server->watch_lock);
    if (kv_os_mono_ns() < due)
        return;
    do {
        count = watch_late(server, kv_os_mono_ns(), late);
        for (unsigned i = 0; i < count; i++)
            watch_wake(late[i], true);
    } while (count == WATCH_EVENTS);
}

/* When there is something to do next. */
static uint64_t watch_next(struct http_server *server, uint64_t tick_at)
{
    kv_lock_take(&server->watch_lock);
    const uint64_t due = server->due_ns;
    kv_lock_drop(&server->watch_lock);
    return due < tick_at ? due : tick_at;
}

/* Milliseconds from now until `at`, rounded up. */
static int watch_until(uint64_t at)
{
    uint64_t now = kv_os_mono_ns();

    return at > now ? (int)((at - now + 999999) / 1000000) : 0;
}

static void *watch_run(void *arg)
{
    struct http_server *server = arg;
    struct epoll_event events[WATCH_EVENTS];
    uint64_t tick_at = kv_os_mono_ns() + WATCH_TICK_NS;

    for (;;) {
        int n = epoll_wait(server->epoll, events, WATCH_EVENTS,
                           watch_until(watch_next(server, tick_at)));
        bool ended = false;
        for (int i = 0; i < n; i++) {
            eventfd_t kicks;
            if (events[i].data.u64 == WATCH_WAKE) {
                (void)eventfd_read(server->wake, &kicks);
            } else if (events[i].data.u64 == WATCH_POST) {
                http_sse_carry(server);
            } else {
                watch_ended(server, events[i].data.u64);
                ended = true;
            }
        }
        if (atomic_load(&server->watch_over))
            return NULL;
        watch_told(server);
        watch_due(server);
        if (n < 0 && errno != EINTR) {
            kv_diag(KV_ERROR_LEVEL, "http.watch", "error=%s",
                    kv_os_error(errno));
            return NULL;
        }
        uint64_t now = kv_os_mono_ns();
        if (now >= tick_at) {
            watch_tick(server);
            http_sse_beat(server);
            http_views_tick(server);
            tick_at = now + WATCH_TICK_NS;
        } else if (ended && tick_at > now + WATCH_AGAIN_NS) {
            tick_at = now + WATCH_AGAIN_NS;
        }
    }
}

kvsql_rc http_watch_start(struct http_server *server, struct kvsql_error *err)
{
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->post = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll < 0 || server->wake < 0 || server->post < 0)
        return kv_fail(err, KVSQL_IO, "http: cannot make an epoll set: %s",
                       kv_os_error(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WATCH_WAKE};
    struct epoll_event post = {.events = EPOLLIN, .data.u64 = WATCH_POST};
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->wake, &event) < 0 ||
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->post, &post) < 0)
        return kv_fail(err, KVSQL_IO, "http: cannot watch a descriptor: %s",
                       kv_os_error(errno));
    return kv_thread_start(&server->watcher, "http-watch", watch_run, server,
                           err);
}

void http_watch_stop(struct http_server *server)
{
    if (server->watcher.running) {
        atomic_store(&server->watch_over, true);
        watch_kick(server);
        kv_thread_join(&server->watcher);
    }
    if (server->epoll >= 0)
        (void)close(server->epoll);
    if (server->wake >= 0)
        (void)close(server->wake);
    if (server->post >= 0)
        (void)close(server->post);
    kv_mem_free(KV_MEM_CLIENT, server->conns,
                server->conn_cap * sizeof(*server->conns));
    server->conns = NULL;
    server->conn_cap = 0;
    server->epoll = server->wake = server->post = -1;
}

/* ---- stopping -------------------------------------------------------------------------- */

void http_watch_cancel_all(struct http_server *server)
{
    for (unsigned i = 0;; i++) {
        struct http_request *request = NULL;
        kv_lock_take(&server->watch_lock);
        if (i >= server->conn_cap) {
            kv_lock_drop(&server->watch_lock);
            return;
        }
        if (server->conns[i] != NULL)
            request = server->conns[i]->request;
        if (request != NULL)
            http_request_ref(request);
        kv_lock_drop(&server->watch_lock);
        if (request != NULL) {
            http_request_cancel(request);
            http_request_unref(request);
        }
    }
}

void http_watch_hang_up(struct http_server *server)
{
    kv_lock_take(&server->watch_lock);
    for (unsigned i = 0; i < server->conn_cap; i++)
        if (server->conns[i] != NULL)
            (void)shutdown(server->conns[i]->fd, SHUT_RDWR);
    kv_lock_drop(&server->watch_lock);
}

void http_watch_went_down(struct http_server *server)
{
    kv_lock_take(&server->watch_lock);
    kv_cond_wake_all(&server->watch_quiet);
    kv_lock_drop(&server->watch_lock);
}

bool http_watch_quiet(struct http_server *server, bool waiting, uint64_t ms)
{
    uint64_t end = kv_os_mono_ns() + ms * 1000000;
    _Atomic uint64_t *count =
        waiting ? &server->stats.waiting : &server->stats.active;

    kv_lock_take(&server->watch_lock);
    uint64_t now = kv_os_mono_ns();
    while (atomic_load(count) > 0 && now < end) {
        (void)kv_cond_wait_within(&server->watch_quiet, &server->watch_lock,
                                  (end - now) / 1000000 + 1);
        now = kv_os_mono_ns();
    }
    kv_lock_drop(&server->watch_lock);
    return atomic_load(count) == 0;
}
