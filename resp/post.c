/* post.c - the post box of a loop: what other threads leave for it.
 *
 * The log thread (a gate is open), workers (a job is done, or a part of its
 * reply), other loops' commands (CLIENT KILL, MONITOR, invalidations) and the
 * stop put word into the box and wake the loop, which takes all of it at once,
 * in the middle of a turn.
 *
 * Thread: any, until "taking"; that is the loop's. */
#include <stddef.h>
#include <sys/eventfd.h>

#include "resp/door.h"

/* ---- leaving (any thread) ----------------------------------------------- */

/* Wake the loop if it sleeps. post_lock held. */
static void post_wake(struct resp_loop *loop)
{
    if (!loop->woken) {
        loop->woken = true;
        (void)eventfd_write(loop->wake, 1);
    }
}

/* post_lock held. */
static void post_put(struct resp_conn *conn)
{
    struct resp_loop *loop = conn->loop;

    if (!conn->posted) {
        conn->posted = true;
        conn->post_next = loop->post;
        loop->post = conn;
        post_wake(loop);
    }
}

static void post_kill_client(struct cmd_client *client)
{
    struct resp_conn *conn = (struct resp_conn *)client;

    kv_lock_take(&conn->loop->post_lock);
    conn->post_kill = true;
    post_put(conn);
    kv_lock_drop(&conn->loop->post_lock);
}

static void post_push_client(struct cmd_client *client,
                             const struct cmd_push *push)
{
    struct resp_conn *conn = (struct resp_conn *)client;

    kv_lock_take(&conn->loop->post_lock);
    resp_push_add(conn, push);
    post_put(conn);
    kv_lock_drop(&conn->loop->post_lock);
}

/* Sizes may be a turn old: they are the loop's. */
static void post_facts(struct cmd_client *client,
                       struct cmd_client_facts *facts)
{
    struct resp_conn *conn = (struct resp_conn *)client;

    facts->query_size = atomic_load(&conn->shown_in);
    facts->output_size = atomic_load(&conn->shown_out);
    facts->memory = sizeof(*conn) + facts->query_size + facts->output_size;
}

static void post_wake_client(struct cmd_client *client)
{
    struct resp_conn *conn = (struct resp_conn *)client;

    kv_lock_take(&conn->loop->post_lock);
    resp_block_wake(conn);
    post_wake(conn->loop);
    kv_lock_drop(&conn->loop->post_lock);
}

static void post_unblock_client(struct cmd_client *client, bool error)
{
    struct resp_conn *conn = (struct resp_conn *)client;

    kv_lock_take(&conn->loop->post_lock);
    conn->post_unblock = error ? RESP_UNBLOCK_ERROR : RESP_UNBLOCK_TIMEOUT;
    resp_block_wake(conn);
    post_wake(conn->loop);
    kv_lock_drop(&conn->loop->post_lock);
}

const struct cmd_door resp_post_door = {.kill = post_kill_client,
                                        .push = post_push_client,
                                        .facts = post_facts,
                                        .wake = post_wake_client,
                                        .unblock = post_unblock_client};

void resp_post_job_done(struct resp_loop *loop, struct resp_job *job)
{
    kv_lock_take(&loop->post_lock);
    *loop->done_last = job;
    loop->done_last = &job->next;
    post_wake(loop);
    kv_lock_drop(&loop->post_lock);
}

void resp_post_gate_done(struct kv_waiter *waiter, kvsql_rc rc)
{
    struct resp_loop *loop = waiter->arg;

    (void)rc;
    kv_lock_take(&loop->post_lock);
    loop->gate_opened = true;
    post_wake(loop);
    kv_lock_drop(&loop->post_lock);
}

void resp_post_listen(struct resp_loop *loop)
{
    kv_lock_take(&loop->post_lock);
    loop->relisten = true;
    post_wake(loop);
    kv_lock_drop(&loop->post_lock);
}

void resp_post_stop(struct resp_loop *loop)
{
    kv_lock_take(&loop->post_lock);
    loop->stop = true;
    post_wake(loop);
    kv_lock_drop(&loop->post_lock);
}

/* ---- taking (the loop) -------------------------------------------------- */

/* A push that did not fit means a client that does not read: it goes. */
static void post_take_one(struct resp_conn *conn)
{
    struct resp_loop *loop = conn->loop;
    bool kill, over;

    kv_lock_take(&loop->post_lock);
    conn->posted = false;
    over = conn->post_over;
    kill = conn->post_kill || over || resp_push_failed(conn);
    kv_lock_drop(&loop->post_lock);
    if (over && !conn->closed) {
        resp_push_complain(conn);
    }
    if (kill) {
        conn->closed = true;
        resp_loop_ready(conn);
    } else {
        resp_push_send(conn);
    }
}

void resp_post_take_jobs(struct resp_job *job)
{
    while (job != NULL) {
        struct resp_job *next = job->next;
        struct resp_conn *conn = job->conn;

        job->next = NULL;
        if (job->slice.more != NULL && !conn->closed &&
            cmd_client_speaks(&conn->client)) {
            resp_part_some(conn, job);
        } else {
            conn->job = NULL;
            resp_part_last(conn, job);
            resp_work_free(job);
        }
        job = next;
    }
}

bool resp_post_take(struct resp_loop *loop)
{
    struct resp_conn *post;
    struct resp_job *done;
    eventfd_t count;
    bool opened, stop, relisten;

    (void)eventfd_read(loop->wake, &count);
    kv_lock_take(&loop->post_lock);
    post = loop->post;
    done = loop->done;
    opened = loop->gate_opened;
    stop = loop->stop;
    relisten = loop->relisten;
    loop->post = NULL;
    loop->done = NULL;
    loop->done_last = &loop->done;
    loop->gate_opened = loop->woken = loop->relisten = false;
    kv_lock_drop(&loop->post_lock);
    while (post != NULL) {
        struct resp_conn *next = post->post_next;

        post_take_one(post);
        post = next;
    }
    resp_post_take_jobs(done);
    if (relisten) {
        resp_listen_switch(loop); /* no event of this turn is left */
    }
    if (opened) {
        loop->waiting = false;
        resp_loop_look_at_gated(loop);
    }
    return !stop;
}
