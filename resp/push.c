/* push.c - messages between replies: MONITOR, invalidations.
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
 * Thread: the loop's, but for resp_push_add. */
#include <string.h>

#include "resp/door.h"

struct push_head {
    uint64_t position;
    size_t size;
    uint8_t resp;
};

/* Part of it without the rest is worse than none: the buffer has failed, and
 * the loop closes the connection. */
static struct kv_buf *push_list(struct resp_conn *conn, uint64_t position)
{
    return position == CMD_PUSH_BEHIND ? &conn->post_behind
                                       : &conn->post_push;
}

/* Part of it without the rest is worse than none: the buffer has failed, and
 * the loop closes the connection. */
void resp_push_add(struct resp_conn *conn, const struct cmd_push *push)
{
    const struct push_head head = {.position = push->position,
                                   .size = push->size,
                                   .resp = push->resp};
    struct kv_buf *to = push_list(conn, push->position);

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

/* Add those with positions up to this one to `out`, which the client can read;
 * how many bytes of `from` they are. */
static size_t push_add_to(const struct resp_conn *conn,
                          const struct kv_buf *from, uint64_t position,
                          struct kv_buf *out)
{
    struct push_head head;
    size_t at = 0;

    while (!from->failed && at < from->size) {
        memcpy(&head, from->p + at, sizeof(head));
        if (head.position > position) {
            break;
        }
        at += sizeof(head);
        if (head.resp == 0 || head.resp == conn->client.resp) {
            kv_buf_add(out, from->p + at, head.size);
        }
        at += head.size;
    }
    return at;
}

static void push_move(struct resp_conn *conn, struct kv_buf *from,
                      uint64_t position, struct kv_buf *out)
{
    const size_t size = push_add_to(conn, from, position, out);

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
    (void)push_add_to(conn, &conn->post_push, UINT64_MAX, out);
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
    kv_buf_init(&bytes, KV_MEM_CLIENT, RESP_PUSH_MAX);
    resp_push_take(conn, CMD_PUSH_BEHIND, &bytes);
    if (bytes.failed) {
        conn->closed = true;
        resp_loop_ready(conn);
    } else if (bytes.size > 0) {
        resp_send_bytes(conn, bytes.p, bytes.size, CMD_NO_TICKET);
    }
    kv_buf_fini(&bytes);
}
