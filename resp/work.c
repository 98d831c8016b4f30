/* work.c - the workers: SQL, and commands that read much.
 *
 * A worker runs one command of one connection at a time, and makes the bytes
 * of its reply, so that the loop only has to send them; of a long one the next
 * part, and then it is free for others. Each has one SQL session, opened with
 * its first statement and kept.
 *
 * Thread: the workers' own; give and cancel are the loops'. */
#include <string.h>

#include "kvsql/base/diag.h"
#include "resp/door.h"
#include "vtab/session.h"

/* ---- the queue ---------------------------------------------------------- */

static struct resp_job *work_take(struct resp_worker *worker)
{
    struct resp_server *server = worker->server;
    struct resp_job *job;

    kv_lock_take(&server->pool_lock);
    while (server->queue == NULL && !server->pool_closed) {
        kv_cond_wait(&server->pool_more, &server->pool_lock);
    }
    job = server->queue;
    if (job != NULL) {
        server->queue = job->next;
        if (server->queue == NULL) {
            server->queue_last = &server->queue;
        }
        job->next = NULL;
    }
    kv_lock_drop(&server->pool_lock);
    return job;
}

/* Put a job behind the others. False: the workers have ended. */
static bool work_put(struct resp_server *server, struct resp_job *job)
{
    kv_lock_take(&server->pool_lock);
    const bool closed = server->pool_closed;
    if (!closed) {
        job->conn->job = job;
        *server->queue_last = job;
        server->queue_last = &job->next;
        kv_cond_wake_one(&server->pool_more);
    }
    kv_lock_drop(&server->pool_lock);
    return !closed;
}

bool resp_work_give(struct resp_conn *conn)
{
    struct resp_server *server = conn->loop->server;
    struct resp_job *job = kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*job));

    if (job == NULL) {
        return false;
    }
    job->conn = conn;
    job->db = atomic_load(&server->db);
    job->slice.cancelled = &job->cancelled;
    kv_buf_init(&job->out, KV_MEM_CLIENT, RESP_REPLY_MAX);
    if (!work_put(server, job)) {
        kv_mem_free(KV_MEM_CLIENT, job, sizeof(*job));
        return false;
    }
    return true;
}

bool resp_work_again(struct resp_job *job)
{
    return work_put(job->conn->loop->server, job);
}

void resp_work_free(struct resp_job *job)
{
    cmd_slice_end(&job->slice);
    kv_buf_fini(&job->out);
    kv_mem_free(KV_MEM_CLIENT, job, sizeof(*job));
}

void resp_work_cancel(struct resp_conn *conn)
{
    struct resp_server *server = conn->loop->server;

    if (conn->job == NULL) {
        return;
    }
    kv_lock_take(&server->pool_lock);
    atomic_store(&conn->job->cancelled, true);
    if (conn->job->session != NULL) {
        vt_interrupt(conn->job->session);
    }
    kv_lock_drop(&server->pool_lock);
}

/* ---- one job ------------------------------------------------------------ */

static kvsql_rc work_session(struct resp_worker *worker,
                             const struct resp_job *job,
                             struct kvsql_error *err)
{
    const struct resp_config *config = &worker->server->config;
    const struct vt_limits limits = {.admin = true, /* there is one user */
                                     .client = job->conn->client.id,
                                     .deadline_ms = config->sql_deadline_ms,
                                     .row_max = config->sql_row_max,
                                     .byte_max = config->sql_byte_max};

    if (worker->session != NULL) {
        vt_session_limits(worker->session, &limits);
        return KVSQL_OK;
    }
    return vt_session_open(job->db, &limits, &worker->session, err);
}

/* False: the client has left or the server stops, and nothing is to be done.
 * From here on whoever says so interrupts the session. */
static bool work_enter(struct resp_worker *worker, struct resp_job *job)
{
    kv_lock_take(&worker->server->pool_lock);
    const bool wanted = !atomic_load(&job->cancelled) &&
                        !worker->server->pool_closed;
    job->session = wanted ? worker->session : NULL;
    worker->running = wanted;
    kv_lock_drop(&worker->server->pool_lock);
    return wanted;
}

static void work_leave(struct resp_worker *worker, struct resp_job *job)
{
    if (worker->session != NULL && vt_in_transaction(worker->session)) {
        vt_rollback(worker->session);
    }
    kv_lock_take(&worker->server->pool_lock);
    job->session = NULL;
    worker->running = false;
    kv_lock_drop(&worker->server->pool_lock);
}

/* The first part of the reply, mostly all of it. */
static void work_first(struct resp_worker *worker, struct resp_job *job)
{
    struct resp_conn *conn = job->conn;
    struct kvsql_error err;
    kvsql_rc rc = work_session(worker, job, &err);

    job->ticket = CMD_NO_TICKET;
    cmd_reply_init_resp(&job->reply, &job->out, conn->client.resp);
    if (rc != KVSQL_OK) {
        worker->session = NULL;
        cmd_reply_error(&job->reply, rc, "%s %s", kv_error_row(rc)->resp,
                        err.text);
    } else if (work_enter(worker, job)) {
        cmd_client_work(&conn->client, job->db, worker->session,
                        conn->parser->argc, conn->parser->argv, &job->reply,
                        &job->ticket, &job->slice);
        work_leave(worker, job);
    }
    job->failed = !cmd_reply_finish(&job->reply);
}

static void work_run_job(struct resp_worker *worker, struct resp_job *job)
{
    struct resp_conn *conn = job->conn;

    if (job->slice.more == NULL) {
        work_first(worker, job);
    } else {
        (void)cmd_client_more(&conn->client, job->db, conn->parser->argc,
                              conn->parser->argv, &job->reply, &job->slice,
                              &job->why);
    }
}

static void *work_run(void *arg)
{
    struct resp_worker *worker = arg;
    struct resp_job *job;

    kv_thread_step_back(KV_BACK_WORK);
    while ((job = work_take(worker)) != NULL) {
        work_run_job(worker, job);
        resp_post_job_done(job->conn->loop, job);
    }
    vt_session_close(worker->session);
    worker->session = NULL;
    return NULL;
}

/* ---- start and stop ----------------------------------------------------- */

kvsql_rc resp_work_start(struct resp_server *server, struct kvsql_error *err)
{
    for (unsigned i = 0; i < server->config.workers; i++) {
        struct resp_worker *worker = &server->workers[i];

        worker->server = server;
        const kvsql_rc rc = kv_thread_start(&worker->thread, "resp-work",
                                            work_run, worker, err);
        if (rc != KVSQL_OK) {
            return rc;
        }
        server->worker_count++;
    }
    return KVSQL_OK;
}

void resp_work_stop(struct resp_server *server)
{
    kv_lock_take(&server->pool_lock);
    server->pool_closed = true;
    for (unsigned i = 0; i < server->worker_count; i++) {
        if (server->workers[i].running) {
            vt_interrupt(server->workers[i].session);
        }
    }
    kv_cond_wake_all(&server->pool_more);
    kv_lock_drop(&server->pool_lock);
    for (unsigned i = 0; i < server->worker_count; i++) {
        kv_thread_join(&server->workers[i].thread);
    }
    server->worker_count = 0;
}
