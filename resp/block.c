/* block.c - connections that wait until something is there: BLPOP and its kin.
 *
 * The request stays with the connection, parsed, and nothing behind it runs. Who
 * puts something into a key it waits for leaves word with its loop, in order; the
 * loop has it look again before it runs the next request of anybody, so what was
 * put there by another of its connections is taken before others can look. Times
 * are in a heap, the next one first.
 *
 * Always true:
 *   BL1  A connection that waits has its request in conn->parser, from the end of
 *        the turn's part that began it on; before that it is not asked to look.
 *   BL2  What is taken is taken for a connection that is open a moment before.
 *
 * Thread: the loop's, but for resp_block_wake. */
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

#include "resp/door.h"

#define BLOCK_NS_PER_MS 1000000ull
#define BLOCK_HEAP_MIN 64

/* ---- times ---------------------------------------------------------------- */

static void block_put(struct resp_loop *loop, size_t at,
                      struct resp_conn *conn)
{
    loop->heap[at] = conn;
    conn->heap_at = at + 1;
}

/* The connection belongs at `at` or nearer to the front. */
static void block_up(struct resp_loop *loop, size_t at, struct resp_conn *conn)
{
    while (at > 0 && loop->heap[(at - 1) / 2]->until_ns > conn->until_ns) {
        block_put(loop, at, loop->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    block_put(loop, at, conn);
}

/* ... or further from it. */
static void block_down(struct resp_loop *loop, size_t at,
                       struct resp_conn *conn)
{
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < loop->heap_count &&
            loop->heap[child + 1]->until_ns < loop->heap[child]->until_ns) {
            child++;
        }
        if (child >= loop->heap_count ||
            loop->heap[child]->until_ns >= conn->until_ns) {
            break;
        }
        block_put(loop, at, loop->heap[child]);
        at = child;
    }
    block_put(loop, at, conn);
}

static bool block_add(struct resp_loop *loop, struct resp_conn *conn)
{
    if (loop->heap_count == loop->heap_cap) {
        const size_t cap =
            loop->heap_cap > 0 ? 2 * loop->heap_cap : BLOCK_HEAP_MIN;
        struct resp_conn **grown = kv_mem_realloc(
            KV_MEM_CLIENT, loop->heap,
            loop->heap_cap * sizeof(struct resp_conn *),
            cap * sizeof(struct resp_conn *));

        if (grown == NULL) {
            return false;
        }
        loop->heap = grown;
        loop->heap_cap = cap;
    }
    block_up(loop, loop->heap_count++, conn);
    return true;
}

static void block_remove(struct resp_loop *loop, struct resp_conn *conn)
{
    const size_t at = conn->heap_at - 1;
    struct resp_conn *last;

    if (conn->heap_at == 0) {
        return;
    }
    conn->heap_at = 0;
    last = loop->heap[--loop->heap_count];
    if (last == conn) {
        return;
    }
    if (at > 0 && loop->heap[(at - 1) / 2]->until_ns > last->until_ns) {
        block_up(loop, at, last);
    } else {
        block_down(loop, at, last);
    }
}

int resp_block_rest_ms(const struct resp_loop *loop, int most)
{
    uint64_t rest;

    if (loop->heap_count == 0) {
        return most;
    }
    rest = loop->heap[0]->until_ns > loop->now_ns
               ? (loop->heap[0]->until_ns - loop->now_ns + BLOCK_NS_PER_MS -
                  1) / BLOCK_NS_PER_MS
               : 0;
    return rest < (uint64_t)most ? (int)rest : most;
}

/* ---- the end of it --------------------------------------------------------- */

/* Is the other side gone? It has no word to say while it waits, but for what is
 * not read yet. */
static bool block_is_gone(const struct resp_conn *conn)
{
    uint8_t byte;
    const ssize_t got =
        recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK &&
                        errno != EINTR);
}

/* It is answered; what stands behind it runs at the end of the turn. */
static void block_done(struct resp_conn *conn)
{
    block_remove(conn->loop, conn);
    kv_lock_take(&conn->loop->post_lock);
    conn->post_unblock = RESP_UNBLOCK_NO; /* too late for that */
    kv_lock_drop(&conn->loop->post_lock);
    conn->hold = RESP_HOLD_NO;
    resp_conn_parser_drop(conn); /* CN2 */
    resp_conn_trim(conn);
    conn->resume = true;
    resp_loop_ready(conn);
}

static void block_look(struct resp_conn *conn, enum resp_unblock unblock,
                       bool over)
{
    kvsql *db = atomic_load(&conn->loop->server->db);
    struct kv_ticket ticket = CMD_NO_TICKET;
    struct cmd_reply reply;

    if (block_is_gone(conn)) { /* BL2 */
        conn->closed = true;
        resp_loop_ready(conn);
        return;
    }
    cmd_reply_init_resp(&reply, &conn->out, conn->client.resp);
    if (unblock != RESP_UNBLOCK_NO) {
        cmd_client_unblock(&conn->client, unblock == RESP_UNBLOCK_ERROR,
                           &reply);
    } else if (!cmd_client_again(&conn->client, db, conn->parser->argc,
                                 conn->parser->argv, over, &reply, &ticket)) {
        cmd_reply_reset(&reply);
        return;
    }
    if (cmd_client_speaks(&conn->client)) {
        resp_send_reply(conn, &reply, ticket);
    } else {
        cmd_reply_reset(&reply);
    }
    block_done(conn);
}

/* ---- for the loop ----------------------------------------------------------- */

void resp_block_begin(struct resp_conn *conn)
{
    struct resp_loop *loop = conn->loop;

    conn->until_ns = cmd_client_until(&conn->client);
    if (conn->half || (conn->until_ns != 0 && !block_add(loop, conn))) {
        conn->closed = true; /* it has left, or there is no memory */
    }
}

void resp_block_leave(struct resp_conn *conn)
{
    struct resp_loop *loop = conn->loop;

    block_remove(loop, conn);
    kv_lock_take(&loop->post_lock);
    if (conn->woken) {
        struct resp_conn **at = &loop->woken_first;

        while (*at != conn) {
            at = &(*at)->woken_next;
        }
        *at = conn->woken_next;
        loop->woken_last = &loop->woken_first;
        while (*loop->woken_last != NULL) {
            loop->woken_last = &(*loop->woken_last)->woken_next;
        }
        conn->woken = false;
    }
    kv_lock_drop(&loop->post_lock);
}

void resp_block_wake(struct resp_conn *conn)
{
    struct resp_loop *loop = conn->loop;

    if (!conn->woken) {
        conn->woken = true;
        conn->woken_next = NULL;
        *loop->woken_last = conn;
        loop->woken_last = &conn->woken_next;
        atomic_store_explicit(&loop->has_woken, true, memory_order_relaxed);
    }
}

/* The first of those that were woken, or NULL. */
static struct resp_conn *block_take(struct resp_loop *loop,
                                    enum resp_unblock *unblock)
{
    struct resp_conn *conn;

    kv_lock_take(&loop->post_lock);
    conn = loop->woken_first;
    if (conn != NULL) {
        loop->woken_first = conn->woken_next;
        conn->woken = false;
        conn->closed = conn->closed || conn->post_kill; /* BL2 */
        *unblock = conn->post_unblock;
        conn->post_unblock = RESP_UNBLOCK_NO;
    }
    if (loop->woken_first == NULL) {
        loop->woken_last = &loop->woken_first;
        atomic_store_explicit(&loop->has_woken, false, memory_order_relaxed);
    }
    kv_lock_drop(&loop->post_lock);
    return conn;
}

void resp_block_serve(struct resp_loop *loop)
{
    enum resp_unblock unblock = RESP_UNBLOCK_NO;
    struct resp_conn *conn;

    KV_ASSERT(loop->pipe.txn == NULL);
    while ((conn = block_take(loop, &unblock)) != NULL) {
        if (conn->closed) {
            resp_loop_ready(conn);
        } else if (conn->hold == RESP_HOLD_BLOCK) {
            KV_ASSERT(conn->parser != NULL); /* BL1 */
            block_look(conn, unblock, false);
        }
    }
}

void resp_block_expire(struct resp_loop *loop)
{
    while (loop->heap_count > 0 &&
           loop->heap[0]->until_ns <= loop->now_ns) {
        struct resp_conn *conn = loop->heap[0];

        if (conn->closed) {
            block_remove(loop, conn); /* it is on its way out */
        } else {
            block_look(conn, RESP_UNBLOCK_NO, true);
        }
        if (conn->closed && conn->heap_at != 0) {
            block_remove(loop, conn);
        }
    }
}
