/* conn.c - one connection: from bytes to requests to commands.
 *
 * Input is read into the loop's own buffer, and requests run straight from
 * there; only what is not whole yet is copied to the connection. So a
 * connection that rests holds no buffer at all.
 *
 * A request that must not run now (a worker has it, CLIENT PAUSE, too much
 * output that nobody reads) stays at the front of conn->in, and with it all
 * that follows: replies keep the order of requests.
 *
 * Always true:
 *   CN1  conn->hold != NO, or output over RESP_OUTPUT_PAUSE: nothing is read.
 *   CN2  conn->parser is set only while conn->in holds a request that has
 *        begun, or a worker's command points into it.
 *
 *   CN3  The kernel tells once that there is input. What was not read then is
 *        asked for anew (conn->more), as soon as it may be read.
 *
 * Thread: the loop's. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "command/stats.h"
#include "kvsql/base/diag.h"
#include "resp/door.h"

#define CONN_PARSER_WORTH ((size_t)16 << 10) /* bytes that are not parsed anew */

/* ---- opening and closing ------------------------------------------------ */

static void conn_address(const struct sockaddr_storage *address, char *out,
                         size_t size)
{
    char text[INET6_ADDRSTRLEN] = "";

    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const void *)address;

        (void)inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof(text));
        (void)snprintf(out, size, "[%s]:%u", text, ntohs(six->sin6_port));
    } else {
        const struct sockaddr_in *four = (const void *)address;

        (void)inet_ntop(AF_INET, &four->sin_addr, text, sizeof(text));
        (void)snprintf(out, size, "%s:%u", text, ntohs(four->sin_port));
    }
}

static void conn_names(struct resp_conn *conn)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);

    if (getpeername(conn->fd, (struct sockaddr *)&address, &size) == 0) {
        conn_address(&address, conn->client.addr, sizeof(conn->client.addr));
    }
    size = sizeof(address);
    if (getsockname(conn->fd, (struct sockaddr *)&address, &size) == 0) {
        conn_address(&address, conn->client.laddr,
                     sizeof(conn->client.laddr));
    }
}

static void conn_options(struct resp_conn *conn)
{
    const uint64_t keepalive_s = atomic_load(&conn->loop->server->keepalive_s);
    const int one = 1, idle = (int)keepalive_s,
              step = keepalive_s >= 3 ? (int)keepalive_s / 3 : 1;

    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (keepalive_s == 0) {
        return;
    }
    (void)setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle,
                     sizeof(idle));
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPINTVL, &step,
                     sizeof(step));
}

struct resp_conn *resp_conn_new(struct resp_loop *loop, int fd)
{
    struct resp_conn *conn = kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*conn));
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};

    if (conn == NULL) {
        (void)close(fd);
        return NULL;
    }
    conn->loop = loop;
    conn->fd = conn->client.fd = fd;
    conn->events = event.events;
    event.events |= EPOLLET;
    event.data.ptr = conn;
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        (void)close(fd);
        kv_mem_free(KV_MEM_CLIENT, conn, sizeof(*conn));
        return NULL;
    }
    kv_buf_init(&conn->in, KV_MEM_CLIENT, RESP_INPUT_MAX);
    kv_buf_init(&conn->out, KV_MEM_CLIENT, RESP_OUTPUT_MAX);
    kv_buf_init(&conn->marks, KV_MEM_CLIENT, RESP_OUTPUT_MAX);
    kv_buf_init(&conn->post_push, KV_MEM_CLIENT, RESP_OUTPUT_MAX);
    kv_buf_init(&conn->post_behind, KV_MEM_CLIENT, RESP_PUSH_MAX);
    conn_names(conn);
    conn_options(conn);
    conn->next = loop->first;
    conn->link = &loop->first;
    if (conn->next != NULL) {
        conn->next->link = &conn->next;
    }
    loop->first = conn;
    atomic_fetch_add(&loop->server->connections, 1);
    cmd_client_open(&conn->client, &resp_post_door);
    return conn;
}

void resp_conn_parser_drop(struct resp_conn *conn)
{
    if (conn->parser != NULL) {
        resp_parser_fini(conn->parser);
        kv_mem_free(KV_MEM_CLIENT, conn->parser, sizeof(*conn->parser));
        conn->parser = NULL;
    }
}

void resp_conn_free(struct resp_conn *conn)
{
    atomic_fetch_sub(&conn->loop->server->connections, 1);
    *conn->link = conn->next;
    if (conn->next != NULL) {
        conn->next->link = conn->link;
    }
    (void)close(conn->fd);
    resp_conn_parser_drop(conn);
    kv_buf_fini(&conn->in);
    kv_buf_fini(&conn->out);
    kv_buf_fini(&conn->marks);
    kv_buf_fini(&conn->post_push);
    kv_buf_fini(&conn->post_behind);
    kv_mem_free(KV_MEM_CLIENT, conn, sizeof(*conn));
}

/* ---- what epoll looks for ----------------------------------------------- */

static bool conn_may_read(const struct resp_conn *conn)
{
    return conn->hold == RESP_HOLD_NO && !conn->client.closing &&
           !conn->gone && resp_send_waiting(conn) <= RESP_OUTPUT_PAUSE;
}

void resp_conn_watch(struct resp_conn *conn)
{
    struct epoll_event event = {.data.ptr = conn};

    if (conn_may_read(conn)) {
        event.events |= EPOLLIN;
    }
    if (!conn->gone && !conn->half) {
        event.events |= EPOLLRDHUP;
    }
    if (conn->stalled_ns != 0) {
        event.events |= EPOLLOUT;
    }
    if (event.events != conn->events ||
        (conn->more && (event.events & EPOLLIN))) { /* CN3 */
        conn->events = event.events;
        conn->more = false;
        event.events |= EPOLLET;
        (void)epoll_ctl(conn->loop->epoll, EPOLL_CTL_MOD, conn->fd, &event);
    }
}

/* ---- input that stays --------------------------------------------------- */

/* Keep input that is not run yet: `p` may be conn->in itself, or not. */
static void conn_keep(struct resp_conn *conn, const uint8_t *p, size_t size)
{
    const bool own = conn->in.p != NULL && p >= conn->in.p &&
                     p <= conn->in.p + conn->in.size;

    if (own) {
        conn->in_at = (size_t)(p - conn->in.p);
        if (size == 0) {
            conn->in_at = 0;
            kv_buf_reset(&conn->in, 0);
        } else if (conn->in_at > 0 && conn->in_at >= conn->in.size / 2) {
            memmove(conn->in.p, p, size);
            conn->in.size = size;
            conn->in_at = 0;
        }
        return;
    }
    KV_ASSERT(conn->in.size == 0);
    conn->in_at = 0;
    if (size > 0) {
        kv_buf_add(&conn->in, p, size);
    }
    if (conn->in.failed) {
        conn->closed = true;
    }
}

void resp_conn_trim(struct resp_conn *conn)
{
    conn_keep(conn, conn->in.p + conn->in_at, conn->in.size - conn->in_at);
}

/* The state of a long request is worth keeping; a short one is looked at
 * anew. */
static void conn_keep_parser(struct resp_conn *conn,
                             struct resp_parser *parser, size_t size,
                             bool always)
{
    if (conn->parser == parser && parser != NULL) {
        return;
    }
    if (size < CONN_PARSER_WORTH && !always) {
        resp_parser_reset(parser);
        return;
    }
    conn->parser = kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*conn->parser));
    if (conn->parser == NULL) {
        resp_parser_reset(parser);
        conn->closed = true;
        return;
    }
    *conn->parser = *parser;
    resp_parser_init(parser);
}

/* `parser`, the loop's or the connection's own, has no request any more. */
static void conn_parser_done(struct resp_conn *conn,
                             struct resp_parser *parser)
{
    if (parser != conn->parser) {
        resp_parser_reset(parser);
    }
    resp_conn_parser_drop(conn);
}

/* ---- running ------------------------------------------------------------ */

enum conn_step {
    CONN_ON,   /* the request is over, look at the next */
    CONN_STOP, /* later, or never */
};

static void conn_broken(struct resp_conn *conn, const char *text)
{
    resp_send_error(conn, text);
    conn->client.closing = true;
}

/* Run a request. */
static enum conn_step conn_command(struct resp_conn *conn,
                                   const struct cmd_request *request)
{
    struct resp_loop *loop = conn->loop;
    kvsql *db = atomic_load_explicit(&loop->server->db, memory_order_acquire);
    struct cmd_reply reply;
    struct kv_ticket ticket;

    cmd_reply_init_resp(&reply, &conn->out, conn->client.resp);
    switch (cmd_client_run(&conn->client, db, &loop->pipe, request->argc,
                           request->argv, &reply, &ticket)) {
    case CMD_WORK:
        conn->hold = RESP_HOLD_WORK;
        return CONN_STOP;
    case CMD_HOLD:
        conn->hold = RESP_HOLD_PAUSE;
        return CONN_STOP;
    case CMD_WAIT:
        conn->hold = RESP_HOLD_BLOCK;
        return CONN_STOP;
    case CMD_DONE:
        break;
    }
    if (!cmd_client_speaks(&conn->client)) {
        cmd_reply_reset(&reply);
    } else {
        resp_send_reply(conn, &reply, ticket);
        if (loop->pipe.left > 0 && resp_send_flows(conn, ticket)) {
            cmd_reply_init_resp(&reply, &conn->out, conn->client.resp);
            (void)cmd_client_gets(&conn->client, &loop->pipe, &reply);
        }
    }
    return conn->closed || conn->client.closing ? CONN_STOP : CONN_ON;
}

/* Run the requests of loop->run, as far as they may run now; *used is what
 * those took. Before the password each is looked at for itself: with it, other
 * limits hold for the next. */
static enum conn_step conn_commands(struct resp_conn *conn,
                                    const struct resp_parser *parser,
                                    bool known, size_t *used)
{
    struct resp_loop *loop = conn->loop;
    const struct resp_run *run = &loop->run;
    enum conn_step step = CONN_ON;

    for (unsigned i = 0; i < run->count; i++) {
        loop->requests[i].argc = run->at[i].argc;
        loop->requests[i].argv = parser->argv + run->at[i].first;
    }
    *used = 0;
    for (unsigned i = 0, n; i < run->count && step == CONN_ON; i = n) {
        if (i > 0 && (resp_send_waiting(conn) > RESP_OUTPUT_PAUSE ||
                      cmd_client_is_known(&conn->client) != known)) {
            break; /* the next time, with what holds then */
        }
        loop->pipe.next = &loop->requests[i + 1];
        loop->pipe.left = run->count - i - 1;
        step = conn_command(conn, &loop->requests[i]);
        n = run->count - loop->pipe.left; /* it may have been several */
        for (unsigned k = i; k < n && conn->hold == RESP_HOLD_NO; k++) {
            *used += run->at[k].used;
        }
        if (KV_UNLIKELY(atomic_load_explicit(&loop->has_woken,
                                             memory_order_relaxed)) &&
            loop->pipe.txn == NULL && conn->hold == RESP_HOLD_NO) {
            resp_block_serve(loop); /* before the next one looks */
        }
    }
    cmd_pipe_end(&loop->pipe);
    return step;
}

/* The requests at p; *used is what they took, 0 when the first one stays. */
static enum conn_step conn_requests(struct resp_conn *conn,
                                    struct resp_parser *parser,
                                    const uint8_t *p, size_t size,
                                    size_t *used)
{
    struct resp_server *server = conn->loop->server;
    const bool known = cmd_client_is_known(&conn->client);
    struct resp_run *run = &conn->loop->run;
    struct kvsql_error err;

    *used = 0;
    switch (resp_parse_run(parser,
                           known ? &server->limits : &server->anonymous, p,
                           size, known ? RESP_RUN_MAX : 1, run, &err)) {
    case RESP_MORE:
        return CONN_STOP;
    case RESP_NOTHING:
        *used = run->at[0].used;
        return CONN_ON;
    case RESP_REQUEST:
        return conn_commands(conn, parser, known, used);
    case RESP_BROKEN:
        conn_broken(conn, err.text);
        return CONN_STOP;
    case RESP_FOREIGN:
        conn->closed = true; /* X13: not a word */
        return CONN_STOP;
    }
    return CONN_STOP;
}

/* The request at the front of conn->in is kept by itself: it goes to a worker, or
 * waits. False: no memory. */
static bool conn_take(struct resp_conn *conn)
{
    struct resp_parser *parser = &conn->loop->parser;
    struct resp_server *server = conn->loop->server;
    const uint8_t *p = conn->in.p + conn->in_at;
    struct kvsql_error err;
    size_t used;

    conn->half_ns = conn->loop->now_ns;
    resp_conn_parser_drop(conn);
    resp_parser_reset(parser);
    if (resp_parse(parser, &server->limits, p, conn->in.size - conn->in_at,
                   &used, &err) != RESP_REQUEST) {
        conn->closed = true; /* it was whole a moment ago: no memory */
        return false;
    }
    conn->in_at += used;
    conn->begun_ns = conn->begun_bytes = 0; /* it is whole: L3 */
    conn_keep_parser(conn, parser, 0, true);
    return !conn->closed;
}

/* What comes behind a run of requests. */
static void conn_settle(struct resp_conn *conn, struct resp_parser *parser,
                        const uint8_t *p, size_t size)
{
    conn_keep(conn, p, size);
    if (conn->closed || conn->client.closing) {
        resp_parser_reset(parser);
        resp_loop_ready(conn);
        return;
    }
    if (conn->hold == RESP_HOLD_NO) {
        if (size == 0) {
            conn->begun_ns = 0;
            conn->begun_bytes = 0;
            conn_parser_done(conn, parser);
        } else {
            if (conn->begun_ns == 0) {
                conn->begun_ns = conn->loop->now_ns;
            }
            conn_keep_parser(conn, parser, size, false);
        }
    } else {
        conn_parser_done(conn, parser);
        if (conn->hold == RESP_HOLD_PAUSE) {
            resp_loop_paused(conn);
        } else if (conn_take(conn)) {
            if (conn->hold == RESP_HOLD_BLOCK) {
                resp_block_begin(conn);
            } else if (!resp_work_give(conn)) {
                conn->closed = true;
            }
        }
    }
    resp_loop_ready(conn);
}

/* Run the requests in [p, p + size). */
static void conn_run(struct resp_conn *conn, const uint8_t *p, size_t size)
{
    struct resp_parser *parser =
        conn->parser != NULL ? conn->parser : &conn->loop->parser;

    while (size > 0 && !conn->closed && !conn->client.closing &&
           resp_send_waiting(conn) <= RESP_OUTPUT_PAUSE) {
        size_t used;
        const enum conn_step step =
            conn_requests(conn, parser, p, size, &used);

        p += used;
        size -= used;
        if (used > 0) {
            conn->begun_ns = 0;
            conn->begun_bytes = 0;
        }
        if (step == CONN_STOP) {
            break;
        }
    }
    conn_settle(conn, parser, p, size);
}

void resp_conn_resume(struct resp_conn *conn)
{
    if (conn->hold == RESP_HOLD_PAUSE) {
        conn->hold = RESP_HOLD_NO;
    }
    if (conn->hold == RESP_HOLD_NO && conn->in.size > conn->in_at) {
        conn_run(conn, conn->in.p + conn->in_at, conn->in.size - conn->in_at);
    }
    if (!conn->closed) {
        resp_conn_watch(conn);
    }
}

/* ---- reading ------------------------------------------------------------ */

/* Where the next bytes go, and how many: behind what is kept, else into the
 * loop's buffer. */
static uint8_t *conn_room(struct resp_conn *conn, size_t *size)
{
    size_t wanted = RESP_READ_SIZE;

    if (conn->in.size == conn->in_at) {
        *size = RESP_READ_SIZE;
        return conn->loop->scratch;
    }
    if (conn->parser != NULL) {
        wanted = resp_parse_missing(conn->parser,
                                    conn->in.size - conn->in_at);
    }
    wanted = wanted < RESP_READ_SIZE  ? RESP_READ_SIZE
             : wanted > RESP_READ_MAX ? RESP_READ_MAX
                                      : wanted;
    if (!kv_buf_reserve(&conn->in, wanted)) {
        return NULL;
    }
    *size = wanted;
    return conn->in.p + conn->in.size;
}

/* A request must arrive at some speed once it has begun (L3). */
static void conn_note_begun(struct resp_conn *conn, size_t got)
{
    if (conn->begun_ns == 0) {
        conn->begun_ns = conn->loop->now_ns;
    }
    conn->begun_bytes += got;
}

static void conn_got(struct resp_conn *conn, uint8_t *room, size_t got)
{
    cmd_stat_add(CMD_STAT_NET_IN, got);
    cmd_stat_add(CMD_STAT_READS, 1);
    atomic_store_explicit(&conn->client.used_ns, (int64_t)conn->loop->now_ns,
                          memory_order_relaxed);
    conn_note_begun(conn, got);
    resp_wait_note(conn);
    if (room == conn->loop->scratch) {
        conn_run(conn, room, got);
        return;
    }
    conn->in.size += got;
    conn_run(conn, conn->in.p + conn->in_at, conn->in.size - conn->in_at);
}

void resp_conn_readable(struct resp_conn *conn)
{
    size_t size;
    uint8_t *room;
    ssize_t got;

    if (conn->closed || !conn_may_read(conn)) {
        conn->more = true; /* CN3 */
        return;
    }
    room = conn_room(conn, &size);
    if (room == NULL) {
        resp_send_error(conn, "ERR Protocol error: the request is longer than "
                              "client-query-buffer-limit");
        conn->client.closing = true;
        resp_loop_ready(conn);
        return;
    }
    got = recv(conn->fd, room, size, MSG_DONTWAIT);
    conn->more = got == (ssize_t)size || (got < 0 && errno == EINTR); /* CN3 */
    if (got > 0) {
        conn_got(conn, room, (size_t)got);
    } else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK &&
                            errno != EINTR)) {
        conn->gone = true;
        conn->closed = got < 0;
        conn->client.closing = true;
        resp_loop_ready(conn);
    } else if (conn->more) {
        resp_loop_ready(conn);
    }
}
