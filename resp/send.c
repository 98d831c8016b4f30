/* send.c - replies on their way out, in order, and not before they may go.
 *
 * Output is one stream of bytes with marks in it. A mark stands where a reply
 * begins whose ticket was not open when it was made (D2, D3); bytes in front
 * of the first mark may go. When a batch was undone because its write failed,
 * the reply that said it was done is replaced by an error before it leaves.
 *
 * Always true:
 *   SD1  Once there is a mark, every later reply has one, so a reply's end is
 *        the next mark or the end of the stream. Between two parts of a reply
 *        nothing else is put in: no request runs, no message is taken (PU1).
 *
 * Thread: the loop's. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "command/stats.h"
#include "kvsql/base/num.h"
#include "resp/door.h"

#define SEND_MARKS_KEEP ((size_t)16 << 10) /* bytes of open marks */

/* A short reply's mark is longer than the reply. */
size_t resp_send_waiting(const struct resp_conn *conn)
{
    return conn->out.size - conn->out_at + conn->marks.size -
           conn->mark_first * sizeof(struct resp_mark);
}

static size_t send_mark_count(const struct resp_conn *conn)
{
    return conn->marks.size / sizeof(struct resp_mark);
}

static struct resp_mark send_mark(const struct resp_conn *conn, size_t index)
{
    struct resp_mark mark;

    memcpy(&mark, conn->marks.p + index * sizeof(mark), sizeof(mark));
    return mark;
}

static bool send_has_marks(const struct resp_conn *conn)
{
    return conn->mark_first * sizeof(struct resp_mark) < conn->marks.size;
}

bool resp_send_is_gated(const struct resp_conn *conn,
                        struct kv_ticket *ticket)
{
    if (!send_has_marks(conn)) {
        return false;
    }
    *ticket = send_mark(conn, conn->mark_first).ticket;
    return true;
}

/* ---- putting in --------------------------------------------------------- */

/* What was released stays so: in one epoch, neither what is at a position that
 * was open nor what is before it has to be asked for again. */
static inline bool send_was_open(const struct resp_loop *loop,
                                 struct kv_ticket ticket)
{
    return ticket.epoch == UINT64_MAX ||
           (ticket.epoch == loop->open.epoch &&
            ticket.position <= loop->open.position);
}

/* May what has this ticket go? */
static bool send_is_open(struct resp_loop *loop, struct kv_ticket ticket)
{
    kvsql *db;

    if (send_was_open(loop, ticket)) {
        return true;
    }
    db = atomic_load_explicit(&loop->server->db, memory_order_relaxed);
    if (!kv_gate_open(db, ticket)) {
        return false;
    }
    loop->open = ticket;
    return true;
}

/* Note that a reply begins at conn->out.p[start], if it has to wait. False: no
 * memory. */
static bool send_mark_at(struct resp_conn *conn, size_t start,
                         struct kv_ticket ticket)
{
    struct resp_mark mark;

    if (!send_has_marks(conn) && send_is_open(conn->loop, ticket)) {
        return true;
    }
    mark = (struct resp_mark){.start = conn->out_start + start,
                              .ticket = ticket};
    kv_buf_add(&conn->marks, &mark, sizeof(mark));
    return !conn->marks.failed;
}

static bool send_begin(struct resp_conn *conn, struct kv_ticket ticket)
{
    return send_mark_at(conn, conn->out.size, ticket);
}

/* What was put in must be whole, or nothing after it makes sense. */
static void send_check(struct resp_conn *conn)
{
    if (conn->out.failed || conn->marks.failed) {
        conn->closed = true;
    }
    resp_loop_ready(conn);
}

/* Messages about what led to the state that the reply tells of go before it
 * (PU2). False: no memory. */
static bool send_pushes(struct resp_conn *conn, struct cmd_reply *reply,
                        struct kv_ticket ticket)
{
    const size_t size = conn->out.size - reply->start;
    struct kv_buf bytes;
    bool ok = true;

    kv_buf_init(&bytes, KV_MEM_CLIENT, RESP_OUTPUT_MAX);
    resp_push_take(conn, ticket.position, &bytes);
    if (bytes.size > 0 && !bytes.failed) {
        ok = send_mark_at(conn, reply->start, CMD_NO_TICKET) &&
             kv_buf_reserve(&conn->out, bytes.size);
        if (ok) {
            uint8_t *at = conn->out.p + reply->start;

            memmove(at + bytes.size, at, size);
            memcpy(at, bytes.p, bytes.size);
            conn->out.size += bytes.size;
            reply->start += bytes.size;
        }
    }
    ok = ok && !bytes.failed;
    kv_buf_fini(&bytes);
    return ok;
}

/* The long way, which takes registers of its own. */
static KV_NOINLINE void send_reply(struct resp_conn *conn,
                                   struct cmd_reply *reply,
                                   struct kv_ticket ticket)
{
    if (atomic_load_explicit(&conn->pushed, memory_order_relaxed) &&
        (ticket.epoch != UINT64_MAX || ticket.position > 0) &&
        (!cmd_reply_finish(reply) || !send_pushes(conn, reply, ticket))) {
        conn->closed = true;
    }
    if (!cmd_reply_finish(reply) ||
        !send_mark_at(conn, reply->start, ticket)) {
        conn->out.size = reply->start; /* D2: not without its mark */
    }
    send_check(conn);
}

void resp_send_reply(struct resp_conn *conn, struct cmd_reply *reply,
                     struct kv_ticket ticket)
{
    if (KV_LIKELY(conn->ready && !cmd_reply_failed(reply) &&
                  !atomic_load_explicit(&conn->pushed,
                                        memory_order_relaxed) &&
                  !send_has_marks(conn) &&
                  send_was_open(conn->loop, ticket))) {
        return; /* mostly it is there already, and may go */
    }
    send_reply(conn, reply, ticket);
}

bool resp_send_flows(const struct resp_conn *conn, struct kv_ticket ticket)
{
    return conn->ready && !conn->closed && !send_has_marks(conn) &&
           send_was_open(conn->loop, ticket);
}

void resp_send_bytes(struct resp_conn *conn, const void *p, size_t size,
                     struct kv_ticket ticket)
{
    if (send_begin(conn, ticket)) {
        kv_buf_add(&conn->out, p, size);
    }
    send_check(conn);
}

void resp_send_take(struct resp_conn *conn, struct kv_buf *bytes,
                    struct kv_ticket ticket)
{
    if (conn->out.size > 0 || conn->out.failed || bytes->failed) {
        resp_send_bytes(conn, bytes->p, bytes->size, ticket);
        return;
    }
    if (send_begin(conn, ticket)) {
        const size_t size_max = bytes->size_max;

        kv_buf_fini(&conn->out);
        conn->out = *bytes;
        conn->out.size_max = RESP_OUTPUT_MAX;
        kv_buf_init(bytes, KV_MEM_CLIENT, size_max);
    }
    send_check(conn);
}

void resp_send_more(struct resp_conn *conn, const void *p, size_t size)
{
    kv_buf_add(&conn->out, p, size);
    send_check(conn);
}

void resp_send_error(struct resp_conn *conn, const char *text)
{
    if (send_begin(conn, CMD_NO_TICKET)) {
        kv_buf_printf(&conn->out, "-%s\r\n", text);
    }
    send_check(conn);
}

/* ---- gates -------------------------------------------------------------- */

/* Rewrite the output from the first mark on: what was undone says so. */
static void send_rewrite(struct resp_conn *conn, kvsql *db)
{
    const size_t count = send_mark_count(conn), size = conn->out.size;
    struct kv_buf out;

    kv_buf_init(&out, KV_MEM_CLIENT, RESP_OUTPUT_MAX);
    for (size_t i = conn->mark_first; i < count; i++) {
        struct resp_mark mark = send_mark(conn, i);
        const size_t from = (size_t)(mark.start - conn->out_start);
        const size_t to =
            i + 1 < count
                ? (size_t)(send_mark(conn, i + 1).start - conn->out_start)
                : size;
        struct kvsql_error err;
        const kvsql_rc rc = mark.ticket.epoch == UINT64_MAX
                                ? KVSQL_OK
                                : kv_gate_state(db, mark.ticket, &err);

        if (i == conn->mark_first) {
            kv_buf_add(&out, conn->out.p, from);
        }
        mark.start = conn->out_start + out.size;
        if (rc == KVSQL_OK || rc == KVSQL_BUSY) {
            kv_buf_add(&out, conn->out.p + from, to - from);
        } else {
            kv_buf_printf(&out, "-%s %s\r\n", kv_error_row(rc)->resp,
                          err.text);
            mark.ticket = CMD_NO_TICKET;
        }
        memcpy(conn->marks.p + i * sizeof(mark), &mark, sizeof(mark));
    }
    kv_buf_fini(&conn->out);
    conn->out = out;
    if (out.failed) {
        conn->closed = true;
    }
}

/* Give back marks that are open: a client that never pauses has always one
 * more that is not. */
static void send_trim_marks(struct resp_conn *conn)
{
    const size_t gone = conn->mark_first * sizeof(struct resp_mark);

    if (gone > SEND_MARKS_KEEP && gone > conn->marks.size / 2) {
        memmove(conn->marks.p, conn->marks.p + gone, conn->marks.size - gone);
        conn->marks.size -= gone;
        conn->mark_first = 0;
    }
}

/* How many bytes of out may go now. Drops the marks that are open. */
static size_t send_allowed(struct resp_conn *conn)
{
    kvsql *db = atomic_load(&conn->loop->server->db);
    struct kvsql_error err;

    while (send_has_marks(conn)) {
        const struct resp_mark mark = send_mark(conn, conn->mark_first);
        kvsql_rc rc = KVSQL_OK;

        if (mark.ticket.epoch != UINT64_MAX) {
            rc = kv_gate_state(db, mark.ticket, &err);
        }
        if (rc == KVSQL_BUSY) {
            send_trim_marks(conn);
            return (size_t)(mark.start - conn->out_start);
        }
        if (rc != KVSQL_OK) {
            send_rewrite(conn, db);
            if (conn->closed) {
                return 0;
            }
            continue;
        }
        conn->mark_first++;
    }
    conn->mark_first = 0;
    kv_buf_reset(&conn->marks, 0);
    return conn->out.size;
}

/* ---- sending ------------------------------------------------------------ */

/* Bytes in front of out_at are sent: give them back. */
static void send_trim(struct resp_conn *conn)
{
    if (conn->out_at == conn->out.size) {
        conn->out_start += conn->out.size;
        conn->out_at = 0;
        kv_buf_reset(&conn->out, RESP_OUTPUT_KEEP);
    } else if (conn->out_at > RESP_READ_MAX &&
               conn->out_at > conn->out.size / 2) {
        memmove(conn->out.p, conn->out.p + conn->out_at,
                conn->out.size - conn->out_at);
        conn->out.size -= conn->out_at;
        conn->out_start += conn->out_at;
        conn->out_at = 0;
    }
}

void resp_send_some(struct resp_conn *conn)
{
    const size_t allowed = send_allowed(conn);
    const size_t before = conn->out_at;

    while (conn->out_at < allowed && !conn->closed) {
        const ssize_t sent =
            send(conn->fd, conn->out.p + conn->out_at, allowed - conn->out_at,
                 MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                conn->closed = true;
            }
            break;
        }
        conn->out_at += (size_t)sent;
    }
    if (conn->out_at > before) {
        cmd_stat_add(CMD_STAT_NET_OUT, conn->out_at - before);
        cmd_stat_add(CMD_STAT_WRITES, 1);
        conn->stalled_ns = 0;
        conn->half_ns = conn->loop->now_ns; /* it reads: it is there (L6) */
        atomic_store_explicit(&conn->client.used_ns,
                              (int64_t)conn->loop->now_ns,
                              memory_order_relaxed);
    }
    if (conn->out_at < allowed && conn->stalled_ns == 0) {
        conn->stalled_ns = conn->loop->now_ns;
    }
    send_trim(conn);
    if (send_has_marks(conn)) {
        resp_loop_gated(conn);
    }
}
