/* accept.c - new connections, and what happens when there are too many.
 *
 * All loops listen, on each address; the kernel wakes one of them. Without a
 * descriptor to spare a loop looks away from the listeners for a while: waiting
 * clients stay in the kernel's queue, and nothing spins (L10).
 *
 * Thread: the loop's. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "command/stats.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/os.h"
#include "resp/door.h"

#define ACCEPT_BURST 64 /* connections taken in one turn */
#define ACCEPT_AGAIN_NS 100000000ull

static void accept_refuse(int fd)
{
    static const char full[] = "-ERR max number of clients reached\r\n";

    cmd_stat_add(CMD_STAT_REJECTED, 1);
    (void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(fd);
}

static void accept_watch(struct resp_loop *loop, bool on)
{
    struct kv_listeners *listeners = &loop->listening->set;

    for (unsigned i = 0; i < listeners->count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                    .data.ptr = &listeners->at[i]};

        (void)epoll_ctl(loop->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
                        listeners->at[i].fd, &event);
    }
}

/* Look away for 100 ms. */
static void accept_later(struct resp_loop *loop, int number)
{
    if (loop->accept_again_ns == 0) {
        kv_diag(KV_WARN, "resp.accept", "why=\"%s\" hint=\"raise the limit "
                "of open files, or lower maxclients\"",
                kv_os_error(number));
        accept_watch(loop, false);
    }
    loop->accept_again_ns = loop->now_ns + ACCEPT_AGAIN_NS;
}

static void accept_one(struct resp_loop *loop, int fd)
{
    struct resp_server *server = loop->server;
    struct resp_conn *conn;

    cmd_stat_add(CMD_STAT_CONNECTIONS, 1);
    if (atomic_load(&server->connections) >= atomic_load(&server->connection_max)) {
        accept_refuse(fd);
        return;
    }
    conn = resp_conn_new(loop, fd);
    if (conn != NULL) {
        resp_conn_readable(conn); /* mostly the first request is there */
    }
}

/* False: there are no descriptors. */
static bool accept_some(struct resp_loop *loop,
                        const struct kv_listener *listener)
{
    for (unsigned i = 0; i < ACCEPT_BURST; i++) {
        const int fd =
            accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            accept_one(loop, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) {
            continue;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            accept_later(loop, errno);
            return false;
        }
        break;
    }
    return true;
}

void resp_accept(struct resp_loop *loop, const struct kv_listener *listener)
{
    if (loop->accept_again_ns == 0) { /* else it was seen before we looked
                                         away */
        (void)accept_some(loop, listener);
    }
}

void resp_accept_last(struct resp_loop *loop)
{
    struct kv_listeners *listeners = &loop->listening->set;

    for (unsigned i = 0; i < listeners->count; i++) {
        resp_accept(loop, &listeners->at[i]);
    }
    if (loop->accept_again_ns == 0) {
        accept_watch(loop, false);
    }
}

void resp_accept_first(struct resp_loop *loop)
{
    if (loop->accept_again_ns == 0) {
        accept_watch(loop, true);
    }
}

void resp_accept_again(struct resp_loop *loop)
{
    const struct kv_listeners *listeners = &loop->listening->set;

    for (unsigned i = 0; i < listeners->count; i++) {
        if (!accept_some(loop, &listeners->at[i])) {
            return;
        }
    }
    loop->accept_again_ns = 0;
    accept_watch(loop, true);
}
