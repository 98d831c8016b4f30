/* part.c - what workers made comes back to its connection.
 *
 * A reply is one piece, or several of them: then the job rests between two,
 * until its client has taken what there is.
 *
 * Thread: the loop's. */
#include "kvsql/base/diag.h"
#include "resp/door.h"

/* What is sent of the reply stays a part; the client must not take what follows
 * for the rest of it. */
static void part_cut(struct resp_conn *conn, const char *why)
{
    if (!conn->closed) {
        kv_diag(KV_INFO, "client.closed",
                "addr=%s why=\"the reply ends early: %s\"",
                conn->client.addr, why);
    }
    conn->closed = true;
}

/* PU2: before the reply, or its first part. */
static void part_pushes(struct resp_conn *conn)
{
    struct kv_buf bytes;

    kv_buf_init(&bytes, KV_MEM_CLIENT, RESP_OUTPUT_MAX);
    resp_push_copy(conn, &bytes);
    if (bytes.failed) {
        conn->closed = true;
    } else if (bytes.size > 0) {
        resp_send_bytes(conn, bytes.p, bytes.size, CMD_NO_TICKET);
    }
    kv_buf_fini(&bytes);
}

static void part_bytes(struct resp_conn *conn, struct resp_job *job)
{
    if (!conn->flowing &&
        atomic_load_explicit(&conn->pushed, memory_order_relaxed)) {
        part_pushes(conn);
    }
    if (job->why.rc != KVSQL_OK) {
        part_cut(conn, job->why.text);
    } else if (conn->flowing) {
        resp_send_more(conn, job->out.p, job->out.size);
    } else if (job->failed) {
        resp_send_error(conn, "OOM no memory for the reply");
    } else if (cmd_client_speaks(&conn->client)) {
        resp_send_take(conn, &job->out, job->ticket);
    }
    resp_loop_ready(conn);
}

void resp_part_some(struct resp_conn *conn, struct resp_job *job)
{
    part_bytes(conn, job);
    kv_buf_reset(&job->out, 2 * CMD_SLICE_SIZE);
    conn->flowing = true;
    job->resting = true;
    resp_part_feed(conn);
}

void resp_part_feed(struct resp_conn *conn)
{
    const size_t ahead = conn->eager ? RESP_OUTPUT_PAUSE : RESP_AHEAD;
    struct resp_job *job = conn->job;

    if (job == NULL || !job->resting || conn->closed ||
        resp_send_waiting(conn) > ahead) {
        return;
    }
    job->resting = false;
    if (!resp_work_again(job)) {
        job->resting = true;
        conn->closed = true; /* the server stops */
        resp_loop_ready(conn);
    }
}

/* Many clients send all they have before they read a byte: after a second the
 * reply is made up to RESP_OUTPUT_PAUSE all the same (L1). */
const char *resp_part_rests(struct resp_conn *conn, struct kvsql_error *err)
{
    if (conn->job == NULL || !conn->job->resting || conn->closed) {
        return NULL;
    }
    if (cmd_slice_ended(&conn->job->slice, err) != KVSQL_OK) {
        return err->text;
    }
    if (conn->stalled_ns != 0 &&
        conn->loop->now_ns - conn->stalled_ns >= RESP_EAGER_NS) {
        conn->eager = true;
        resp_part_feed(conn);
    }
    return NULL;
}

void resp_part_last(struct resp_conn *conn, struct resp_job *job)
{
    conn->hold = RESP_HOLD_NO;
    resp_conn_parser_drop(conn); /* CN2 */
    part_bytes(conn, job);
    conn->flowing = conn->eager = false;
    if (conn->push_kept && !conn->closed) {
        resp_push_send(conn); /* before the next one begins */
    }
    resp_conn_trim(conn);
    resp_conn_resume(conn);
}
