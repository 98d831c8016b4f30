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
void resp_push_add(struct resp_conn *conn, const struct cmd_push *push)
{
    const struct push_head head = {.position = push->position,
                                   .size = push->size,
                                   .resp = push->resp};

    kv_buf_add(&conn->post_push, &head, sizeof(head));
    kv_buf_add(&conn->post_push, push->p, push->size);
    atomic_store_explicit(&conn->pushed, true, memory_order_relaxed);
}

void resp_push_take(struct resp_conn *conn, uint64_t position,
                    struct kv_buf *out)
{
    struct kv_buf *from = &conn->post_push;
    struct push_head head;
    size_t at = 0;

    kv_lock_take(&conn->loop->post_lock);
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
    if (at > 0) {
        from->size -= at;
        memmove(from->p, from->p + at, from->size);
    }
    if (from->size == 0 && !from->failed) {
        kv_buf_reset(from, 0);
        atomic_store_explicit(&conn->pushed, false, memory_order_relaxed);
    }
    kv_lock_drop(&conn->loop->post_lock);
}

void resp_push_copy(struct resp_conn *conn, struct kv_buf *out)
{
    const struct kv_buf *from = &conn->post_push;
    struct push_head head;

    kv_lock_take(&conn->loop->post_lock);
    for (size_t at = 0; !from->failed && at < from->size; at += head.size) {
        memcpy(&head, from->p + at, sizeof(head));
        at += sizeof(head);
        if (head.position != CMD_PUSH_BEHIND &&
            head.resp == conn->client.resp) {
            kv_buf_add(out, from->p + at, head.size);
        }
    }
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
    resp_push_take(conn, UINT64_MAX, &bytes);
    if (bytes.failed) {
        conn->closed = true;
        resp_loop_ready(conn);
    } else if (bytes.size > 0) {
        resp_send_bytes(conn, bytes.p, bytes.size, CMD_NO_TICKET);
    }
    kv_buf_fini(&bytes);
}
