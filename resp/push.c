/* push.c - messages between replies: of PUBLISH, MONITOR, invalidations.
 *
 * Other threads leave them with the connection; its loop takes them at the end
 * of a turn. Two things must hold for a client that keeps copies of values:
 *
 *   PU1  A message that a value is no longer good comes behind the reply with
 *        that value. So while a worker has a command nothing is taken: the
 *        reply may tell of a state before the message. Else a reply is in the
 *        output before anything newer is posted.
 *   PU2  A reply that tells of a state comes behind the messages of what led to
 *        it: who sees in one key that others have changed must not find copies
 *        of those still good. So what is posted is looked at when a reply is
 *        made (resp_send_reply), and what its position covers goes before it.
 *        With a worker's reply PU1 holds, too: what is posted about values goes
 *        before it, and again behind it (resp_push_copy).
 *
 * Who sends messages never waits for who hears them: when more than the limit
 * waits, the connection is closed (client-output-buffer-limit).
 *
 * Thread: the loop's, but for resp_push_add. */
#include <string.h>

#include "kvsql/base/diag.h"
#include "resp/door.h"

struct push_head {
    uint64_t position;
    size_t size;
    uint8_t resp;
    bool message; /* of PUBLISH */
};

static struct kv_buf *push_list(struct resp_conn *conn, uint64_t position)
{
    return position == CMD_PUSH_BEHIND ? &conn->post_behind
                                       : &conn->post_push;
}

/* What was sent to it and is not read yet, with this one: is it too much? Its
 * output may be a turn old. post_lock held. */
static bool push_is_too_much(const struct resp_conn *conn,
                             const struct cmd_push *push)
{
    const uint64_t most =
        push->message ? atomic_load_explicit(&conn->loop->server->pubsub_hard,
                                             memory_order_relaxed)
                      : RESP_PUSH_MAX;
    const uint64_t waiting =
        conn->post_push.size +
        (push->message ? atomic_load_explicit(&conn->shown_out,
                                              memory_order_relaxed)
                       : 0);

    return push->position != CMD_PUSH_BEHIND && most != 0 &&
           waiting + push->size > most;
}

/* Part of it without the rest is worse than none: the buffer has failed, and
 * the loop closes the connection. */
void resp_push_add(struct resp_conn *conn, const struct cmd_push *push)
{
    const struct push_head head = {.position = push->position,
                                   .size = push->size,
                                   .resp = push->resp,
                                   .message = push->message};
    struct kv_buf *to = push_list(conn, push->position);

    conn->post_over = conn->post_over || push_is_too_much(conn, push);
    if (conn->post_over) {
        return;
    }
    kv_buf_add(to, &head, sizeof(head));
    kv_buf_add(to, push->p, push->size);
    if (to == &conn->post_push) {
        atomic_store_explicit(&conn->pushed, true, memory_order_relaxed);
    }
}

bool resp_push_failed(const struct resp_conn *conn)
{
    return conn->post_push.failed || conn->post_behind.failed;
}

/* Add those with positions up to this one to `out`, which the client can read,
 * with the messages or without; how many bytes of `from` they are. */
static size_t push_add_to(const struct resp_conn *conn,
                          const struct kv_buf *from, uint64_t position,
                          bool messages, struct kv_buf *out)
{
    const bool three = conn->client.resp == 3;
    struct push_head head;
    size_t at = 0;

    while (!from->failed && at < from->size) {
        memcpy(&head, from->p + at, sizeof(head));
        if (head.position > position) {
            break;
        }
        at += sizeof(head);
        if (head.message && messages) {
            kv_buf_byte(out, three ? '>' : '*');
            kv_buf_add(out, from->p + at + 1, head.size - 1);
        } else if (!head.message &&
                   (head.resp == 0 || head.resp == conn->client.resp)) {
            kv_buf_add(out, from->p + at, head.size);
        }
        at += head.size;
    }
    return at;
}

static void push_move(struct resp_conn *conn, struct kv_buf *from,
                      uint64_t position, struct kv_buf *out)
{
    const size_t size = push_add_to(conn, from, position, true, out);

    if (size > 0) {
        from->size -= size;
        memmove(from->p, from->p + size, from->size);
    }
    if (from->size == 0 && !from->failed) {
        kv_buf_reset(from, 0);
    }
}

void resp_push_take(struct resp_conn *conn, uint64_t position,
                    struct kv_buf *out)
{
    kv_lock_take(&conn->loop->post_lock);
    push_move(conn, &conn->post_push, position, out);
    if (position == CMD_PUSH_BEHIND) {
        push_move(conn, &conn->post_behind, position, out);
    }
    if (conn->post_push.size == 0 && !conn->post_push.failed) {
        atomic_store_explicit(&conn->pushed, false, memory_order_relaxed);
    }
    kv_lock_drop(&conn->loop->post_lock);
}

void resp_push_copy(struct resp_conn *conn, struct kv_buf *out)
{
    kv_lock_take(&conn->loop->post_lock);
    (void)push_add_to(conn, &conn->post_push, UINT64_MAX, false, out);
    kv_lock_drop(&conn->loop->post_lock);
}

bool resp_push_waits(const struct resp_conn *conn)
{
    return conn->hold == RESP_HOLD_WORK || /* PU1 */
           resp_send_waiting(conn) > RESP_OUTPUT_PAUSE;
}

void resp_push_send(struct resp_conn *conn)
{
    struct kv_buf bytes;

    conn->push_kept = resp_push_waits(conn);
    if (conn->push_kept) {
        return;
    }
    kv_buf_init(&bytes, KV_MEM_CLIENT, RESP_OUTPUT_MAX);
    resp_push_take(conn, CMD_PUSH_BEHIND, &bytes);
    if (bytes.failed) {
        conn->closed = true;
        resp_loop_ready(conn);
    } else if (bytes.size > 0) {
        resp_send_bytes(conn, bytes.p, bytes.size, CMD_NO_TICKET);
    }
    kv_buf_fini(&bytes);
}

void resp_push_complain(const struct resp_conn *conn)
{
    kv_diag(KV_WARN, "client.closed",
            "id=%llu addr=%s why=\"reads no messages\" "
            "hint=\"client-output-buffer-limit\"",
            (unsigned long long)conn->client.id, conn->client.addr);
}

bool resp_push_is_over(struct resp_conn *conn)
{
    const struct resp_server *server = conn->loop->server;
    const uint64_t now = conn->loop->now_ns;
    const uint64_t most = atomic_load_explicit(&server->pubsub_soft,
                                               memory_order_relaxed);
    const uint64_t wait_ns = atomic_load_explicit(&server->pubsub_soft_s,
                                                  memory_order_relaxed) *
                             1000000000;

    if (most == 0 || !atomic_load(&conn->client.subscribed) ||
        resp_send_waiting(conn) <= most) {
        conn->over_ns = 0;
    } else if (conn->over_ns == 0) {
        conn->over_ns = now;
    }
    return conn->over_ns != 0 && now - conn->over_ns > wait_ns;
}
