/* work.c - the workers: threads that may take their time.
 *
 * SQL, long commands and large bodies run here while their connection is
 * suspended, so that no event loop ever waits. A worker has one SQL session,
 * opened with its first statement and kept.
 *
 * Thread: the workers' own; http_work_give from an event loop. */
#include <string.h>

#include "command/stats.h"
#include "http/gzip.h"
#include "http/intake.h"
#include "http/request.h"
#include "http/views.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/os.h"
#include "vtab/session.h"

static struct http_request *work_take(struct http_server *server)
{
    struct http_request *request;

    kv_lock_take(&server->queue_lock);
    while (server->queue_first == NULL && !server->queue_closed)
        kv_cond_wait(&server->queue_more, &server->queue_lock);
    request = server->queue_first;
    if (request != NULL) {
        server->queue_first = request->queue_next;
        if (server->queue_first == NULL)
            server->queue_last = NULL;
        server->queue_count--;
        request->queue_next = NULL;
    }
    kv_lock_drop(&server->queue_lock);
    return request;
}

/* The worker is through with it: end the stream, or let the answer go. */
static void work_done(struct http_request *request)
{
    http_view_leave(request);
    kv_lock_take(&request->lock);
    request->session = NULL;
    http_gzip_end(request);
    request->stream.ended = true;
    request->work_done = true;
    http_wake(request);
    kv_lock_drop(&request->lock);
    http_request_done(request); /* H3: the job's; jobs end before the server */
}

static bool work_wanted(struct http_request *request)
{
    kv_lock_take(&request->lock);
    bool wanted = !request->gone;
    kv_lock_drop(&request->lock);
    return wanted;
}

/* Whether it has waited longer than a statement may run: its client is told
 * to come again, or a crowd of long ones would hold up the short for hours. */
static bool work_stale(struct http_request *request)
{
    const uint64_t most = request->server->sql_deadline_ms;
    const uint64_t waited =
        (kv_os_mono_ns() - request->queued_ns) / 1000000;

    if (waited <= most)
        return false;
    http_refuse(request, HTTP_P_BUSY,
                "no worker was free within %llu ms; nothing was done",
                (unsigned long long)most);
    return true;
}

static void work_do(struct http_request *request, struct http_worker *worker)
{
    request->work(request, worker);
    if (!http_stream_is_open(request))
        http_gzip_answer(request);
}

static void work_one(struct http_request *request, struct http_worker *worker)
{
    if (request->listens) { /* more of a stream that has no end */
        if (work_wanted(request))
            request->work(request, worker);
        http_request_unref(request); /* H3: the job's */
        return;
    }
    if (work_wanted(request) && (request->packing || !work_stale(request)))
        work_do(request, worker);
    work_done(request);
}

static void *work_run(void *arg)
{
    struct http_worker *worker = arg;
    struct http_request *request;

    kv_thread_step_back(KV_BACK_WORK);
    cmd_slowlog_origin("http", NULL);
    while ((request = work_take(worker->server)) != NULL) {
        if (request->intake != NULL) {
            http_intake_work(request);
            continue;
        }
        work_one(request, worker);
    }
    vt_session_close(worker->session);
    worker->session = NULL;
    return NULL;
}

bool http_work_give(struct http_request *request)
{
    struct http_server *server = request->server;

    http_request_ref(request);
    request->queued_ns = kv_os_mono_ns();
    kv_lock_take(&server->queue_lock);
    bool room = !server->queue_closed && server->queue_count < HTTP_QUEUE_MAX;
    if (room) {
        if (server->queue_last != NULL)
            server->queue_last->queue_next = request;
        else
            server->queue_first = request;
        server->queue_last = request;
        server->queue_count++;
        kv_cond_wake_one(&server->queue_more);
    }
    kv_lock_drop(&server->queue_lock);
    if (!room)
        http_request_unref(request);
    return room;
}

kvsql_rc http_work_start(struct http_server *server, unsigned threads,
                         struct kvsql_error *err)
{
    if (threads > HTTP_WORKERS_MAX)
        threads = HTTP_WORKERS_MAX;
    for (unsigned i = 0; i < threads; i++) {
        struct http_worker *worker = &server->workers[i];
        worker->server = server;
        kvsql_rc rc = kv_thread_start(&worker->thread, "http-work", work_run,
                                      worker, err);
        if (rc != KVSQL_OK)
            return rc;
        server->worker_count++;
    }
    return KVSQL_OK;
}

void http_work_stop(struct http_server *server)
{
    kv_lock_take(&server->queue_lock);
    server->queue_closed = true;
    kv_cond_wake_all(&server->queue_more);
    kv_lock_drop(&server->queue_lock);
    for (unsigned i = 0; i < server->worker_count; i++)
        kv_thread_join(&server->workers[i].thread);
    server->worker_count = 0;
}
