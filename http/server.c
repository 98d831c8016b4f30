/* server.c - the library's daemon: start, the one handler, stop.
 *
 * The library calls server_handle for every request at least twice: with the
 * headers, and when the body is complete; and once more after each time the
 * request was suspended. What to do next stands in the request (request.h).
 *
 * A response that is queued in the first call ends the connection. That is
 * right for refused framing and for bodies nobody wants to read; every other
 * answer waits for the second call.
 *
 * Stopping: the library aborts the process when it is stopped with a
 * suspended connection, so the order is: no new connections, no new waiting,
 * let what waits come to its end for a moment, cancel the rest, join the
 * workers, hang up, wait for the last request, stop.
 *
 * Thread: server_handle and the notifications run in the event loops. */
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "command/stats.h"
#include "http/again.h"
#include "http/gzip.h"
#include "http/intake.h"
#include "http/request.h"
#include "http/sse.h"
#include "http/views.h"
#include "kvsql/admin.h"
#include "kvsql/base/listen.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"
#include "vtab/session.h"

#define SERVER_POOL 8192            /* bytes of the library's pool */
#define SERVER_VERSION_TESTED 0x00097500
#define SERVER_HEADER_MS 10000      /* the head, from the first byte */
#define SERVER_BODY_MS 20000        /* the body, and 1 s per 32 KiB */
#define SERVER_IDLE_MS 60000        /* between two requests */
#define SERVER_GRACE_MS 1000        /* what waits at stop may still end */
#define SERVER_STOP_MS 5000
#define SERVER_BODY_MAX (1u << 20)
#define SERVER_RECORD_MAX ((size_t)1 << 30)
#define SERVER_STREAMS 1000
#define SERVER_RESERVED_FDS 32      /* L9 */
#define SERVER_THREADS_MAX 64
#define SERVER_AGAIN_MS (24u * 60 * 60 * 1000)

/* ---- gate ------------------------------------------------------------------------ */

static void server_gate_done(struct kv_waiter *waiter, kvsql_rc rc)
{
    struct http_request *request = waiter->arg;

    kv_lock_take(&request->lock);
    request->gate_rc = rc;
    request->gate_done = true;
    http_wake(request);
    kv_lock_drop(&request->lock);
    http_request_unref(request); /* H3: the waiter's */
}

static enum MHD_Result server_answer(struct http_request *request)
{
    if (request->gate_rc != KVSQL_OK)
        http_fail(request, request->gate_rc,
                  "the write could not be made durable and was undone", NULL);
    return http_send(request) ? MHD_YES : MHD_NO;
}

/* The answer is made: let it go when its position is released. */
static enum MHD_Result server_gate(struct http_request *request)
{
    kvsql *db = atomic_load(&request->server->db);
    bool suspended = false;

    request->phase = HTTP_PHASE_ANSWER;
    if (!request->has_ticket || kv_gate_open(db, request->ticket))
        return server_answer(request);
    request->waiter = (struct kv_waiter){.ticket = request->ticket,
                                         .done = server_gate_done,
                                         .arg = request};
    http_request_ref(request);
    request->phase = HTTP_PHASE_GATE;
    if (kv_gate_watch(db, &request->waiter)) {
        http_request_unref(request);
        return server_answer(request);
    }
    kv_lock_take(&request->lock);
    bool done = request->gate_done;
    if (!done)
        suspended = http_suspend(request, false);
    kv_lock_drop(&request->lock);
    if (done)
        return server_answer(request);
    return suspended ? MHD_YES : MHD_NO;
}

/* ---- the steps of a request --------------------------------------------------------- */

static enum MHD_Result server_work(struct http_request *request)
{
    bool given, suspended = false;

    request->phase = HTTP_PHASE_WORK;
    const bool owns = http_headers_own(request);
    kv_lock_take(&request->lock);
    given = owns && http_work_give(request);
    if (given)
        suspended = http_suspend(request, true);
    if (given && !suspended)
        request->gone = true;
    kv_lock_drop(&request->lock);
    if (given)
        return suspended ? MHD_YES : MHD_NO;
    if (request->packing) /* it goes as it is */
        return server_gate(request);
    if (owns)
        http_refuse(request, HTTP_P_BUSY, "%u requests wait for a worker",
                    HTTP_QUEUE_MAX);
    else
        http_fail(request, KVSQL_NOMEM, "no memory for the request", NULL);
    return server_answer(request);
}

/* A worker compresses what takes long; who gave it to him does the rest. */
static void server_pack(struct http_request *request,
                        struct http_worker *worker)
{
    (void)request;
    (void)worker;
}

/* A body that is not held has come to its end. */
static enum MHD_Result server_intake(struct http_request *request)
{
    request->phase = HTTP_PHASE_WORK;
    switch (http_intake_end(request)) {
    case HTTP_INTAKE_DONE:
        return server_gate(request);
    case HTTP_INTAKE_WAIT:
        return MHD_YES;
    case HTTP_INTAKE_GONE:
        break;
    }
    return MHD_NO;
}

static bool server_loads(struct http_request *request)
{
    if (atomic_load(&request->server->db) != NULL ||
        request->route->rights == HTTP_RIGHT_NONE ||
        request->route->run == http_do_readyz ||
        request->route->run == http_do_metrics)
        return false;
    http_refuse(request, HTTP_P_LOADING,
                "the data directory is still being read");
    return true;
}

/* What may write does it as a turn: where the policy asks for no sync, and the
 * log thread rests, its gate is open at the end, and nothing is suspended. */
static enum http_next server_route(struct http_request *request)
{
    kvsql *db = atomic_load(&request->server->db);
    const bool turn =
        db != NULL && !(request->method & (HTTP_GET | HTTP_HEAD));

    if (turn)
        kv_turn_begin(db);
    const enum http_next next = request->route->run(request);
    if (turn)
        kv_turn_end(db);
    return next;
}

/* Wait for something to take, unless it came meanwhile: then look again. */
static enum http_next server_await(struct http_request *request,
                                   bool *suspended)
{
    struct http_wait *wait = &request->wait;
    enum http_next next;

    request->phase = HTTP_PHASE_AWAIT;
    do {
        kv_lock_take(&request->lock);
        wait->late = wait->late || kv_os_mono_ns() >= wait->until_ns;
        const bool look = wait->told || wait->late;
        *suspended = !look && http_suspend(request, true);
        wait->stands = *suspended;
        kv_lock_drop(&request->lock);
        next = look ? wait->again(request) : HTTP_NEXT_WAIT;
        if (!look)
            break;
    } while (next == HTTP_NEXT_WAIT);
    return next;
}

/* The handler has run. */
static enum MHD_Result server_next(struct http_request *request,
                                   enum http_next next)
{
    if (next == HTTP_NEXT_WAIT) {
        bool suspended;
        next = server_await(request, &suspended);
        if (next == HTTP_NEXT_WAIT)
            return suspended ? MHD_YES : MHD_NO;
    }
    if (next == HTTP_NEXT_WORK)
        return server_work(request);
    if (!http_gzip_wanted(request))
        return server_gate(request);
    if (request->answer.body.size > HTTP_BODY_INLINE) {
        request->packing = true;
        request->work = server_pack;
        return server_work(request);
    }
    http_gzip_answer(request);
    return server_gate(request);
}

/* After a suspension. */
static enum MHD_Result server_resumed(struct http_request *request)
{
    kv_lock_take(&request->lock);
    bool gone = request->gone, open = request->stream.open;
    bool ready = request->phase == HTTP_PHASE_WORK    ? request->work_done
                 : request->phase == HTTP_PHASE_AWAIT ? true
                                                      : request->gate_done;
    kv_lock_drop(&request->lock);
    if (gone || !ready)
        return MHD_NO;
    if (request->phase == HTTP_PHASE_AWAIT)
        return server_next(request, HTTP_NEXT_WAIT);
    if (request->phase == HTTP_PHASE_WORK && request->then != NULL &&
        request->answer.status == 0)
        return server_next(request, request->then(request));
    if (request->phase == HTTP_PHASE_GATE || open)
        return server_answer(request);
    return server_gate(request);
}

static enum MHD_Result server_run(struct http_request *request)
{
    http_watch_deadline(request->conn, 0);
    if (request->intake != NULL)
        return server_intake(request);
    request->phase = HTTP_PHASE_RUN;
    if (request->answer.status != 0)
        return server_answer(request); /* refused in the first call */
    if (server_loads(request))
        return server_answer(request);
    if (request->headers[HTTP_H_AGAIN].p != NULL)
        http_again_ask(request);
    return server_next(request, server_route(request));
}

static enum MHD_Result server_body(struct http_request *request,
                                   const char *piece, size_t *size)
{
    kv_buf_add(&request->body, piece, *size);
    if (request->body.failed)
        return MHD_NO; /* nothing can be queued while a body arrives */
    *size = 0;
    if (request->body.size == request->content_length)
        return MHD_YES; /* it is complete, and called again at once */
    const uint64_t now_ns = kv_os_mono_ns();
    const uint64_t took_ms = (now_ns - request->started_ns) / 1000000;
    const uint64_t allowed_ms =
        request->server->body_ms + request->body.size / 32;
    if (took_ms >= allowed_ms)
        return MHD_NO;
    http_watch_until(request->conn, now_ns, allowed_ms - took_ms);
    return MHD_YES;
}

static bool server_has_body(const struct http_request *request)
{
    kvsql_slice length = request->headers[HTTP_H_CONTENT_LENGTH];

    return request->headers[HTTP_H_TRANSFER_ENCODING].p != NULL ||
           (length.p != NULL && !http_is(length, "0"));
}

/* A body that is not held: ask its handler now. False: refused. */
static bool server_opens(struct http_request *request)
{
    if ((request->route->bodies & HTTP_BODY_STREAM) == 0)
        return true;
    if (server_loads(request))
        return false;
    if (request->headers[HTTP_H_AGAIN].p != NULL)
        http_again_ask(request);
    (void)request->route->run(request);
    return request->intake != NULL;
}

static enum MHD_Result server_first(struct http_request *request,
                                    const char *url, const char *method,
                                    const char *version)
{
    request->tier = http_tier_of(request->raw);
    bool framed = http_guard(request, url, method, version);

    request->phase = HTTP_PHASE_BODY;
    if (!framed) {
        atomic_fetch_add(&request->server->stats.refused, 1);
        return server_answer(request);
    }
    bool good = http_target(request) && http_route(request) &&
                server_opens(request);
    KV_ASSERT(good || request->answer.status != 0);
    if (!server_has_body(request))
        return MHD_YES; /* and called again at once */
    if (!good)
        return server_answer(request);
    http_watch_until(request->conn, request->started_ns,
                     request->server->body_ms);
    return MHD_YES;
}

static enum MHD_Result server_handle(void *arg,
                                     struct MHD_Connection *connection,
                                     const char *url, const char *method,
                                     const char *version, const char *upload,
                                     size_t *upload_size, void **state)
{
    struct http_server *server = arg;
    struct http_request *request = *state;

    if (request == NULL)
        return MHD_queue_response(connection, 507, server->last_words[1]);
    switch (request->phase) {
    case HTTP_PHASE_NEW:
        return server_first(request, url, method, version);
    case HTTP_PHASE_BODY:
        if (*upload_size > 0 && request->intake != NULL)
            return http_intake_piece(request, upload, upload_size) ==
                           HTTP_INTAKE_WAIT
                       ? MHD_YES
                       : MHD_NO;
        if (*upload_size > 0)
            return server_body(request, upload, upload_size);
        return server_run(request);
    case HTTP_PHASE_WORK:
    case HTTP_PHASE_GATE:
    case HTTP_PHASE_AWAIT:
        return server_resumed(request);
    case HTTP_PHASE_RUN:
    case HTTP_PHASE_ANSWER:
    case HTTP_PHASE_SENT:
        break;
    }
    return MHD_NO;
}

/* ---- what the library tells ----------------------------------------------------------- */

static void *server_target(void *arg, const char *raw,
                           struct MHD_Connection *connection)
{
    struct http_server *server = arg;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_conn *conn = info ? info->socket_context : NULL;

    if (conn == NULL)
        return NULL;
    struct http_request *request = http_request_new(server, raw);
    if (request == NULL)
        return NULL;
    request->conn = conn;
    request->connection = connection;
    http_watch_until(conn, request->started_ns, server->head_ms);
    return request;
}

static void server_completed(void *arg, struct MHD_Connection *connection,
                             void **state,
                             enum MHD_RequestTerminationCode code)
{
    struct http_server *server = arg;
    struct http_request *request = *state;
    const uint64_t now_ns = kv_os_mono_ns();

    (void)connection;
    *state = NULL;
    if (request == NULL)
        return;
    kv_lock_take(&request->lock);
    KV_ASSERT(!request->suspended);
    request->connection = NULL;
    request->gone = true;
    if (request->session != NULL)
        vt_interrupt(request->session);
    kv_cond_wake_all(&request->stream.room);
    kv_lock_drop(&request->lock);
    if (request->wait.drop != NULL)
        request->wait.drop(request);
    http_sse_close(request);
    http_stats_done(request, now_ns);
    http_watch_until(request->conn, now_ns, SERVER_IDLE_MS);
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        http_watch_answered(request->conn);
    http_request_done(request);
    if (atomic_fetch_sub(&server->stats.active, 1) == 1)
        http_watch_went_down(server);
}

static void server_connection(void *arg, struct MHD_Connection *connection,
                              void **context,
                              enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = arg;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*context != NULL)
            http_watch_closed(server, *context);
        *context = NULL;
        atomic_fetch_sub(&server->stats.connected, 1);
        cmd_gauge_add(CMD_GAUGE_HTTP_CONNECTIONS, -1);
        return;
    }
    atomic_fetch_add(&server->stats.connections, 1);
    atomic_fetch_add(&server->stats.connected, 1);
    cmd_gauge_add(CMD_GAUGE_HTTP_CONNECTIONS, 1);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *conn =
        info ? http_watch_opened(server, info->connect_fd) : NULL;
    if (conn != NULL)
        http_watch_deadline(conn, server->head_ms);
    *context = conn; /* NULL: server_handle answers 507 */
}

/* Nothing is decoded by the library: segments are split first (H7). */
static size_t server_unescape(void *arg, struct MHD_Connection *connection,
                              char *text)
{
    (void)arg;
    (void)connection;
    return strlen(text);
}

static void server_log(void *arg, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
static void server_log(void *arg, const char *format, va_list args)
{
    char text[256];

    (void)arg;
    int size = vsnprintf(text, sizeof text, format, args);
    if (size < 0 || strstr(text, "Application reported internal error"))
        return; /* its word for a connection that we ended */
    text[strcspn(text, "\r\n")] = 0;
    kv_diag(KV_DEBUG, "http.library", "text=\"%s\"", text);
}

/* ---- start --------------------------------------------------------------------------------- */

static kvsql_rc server_list(char *to[HTTP_HOSTS_MAX + 1],
                            const char *const *from, const char *what,
                            struct kvsql_error *err)
{
    for (unsigned i = 0; from != NULL && from[i] != NULL; i++) {
        if (i == HTTP_HOSTS_MAX)
            return kv_fail(err, KVSQL_INVALID,
                           "http: more than %d names in %s", HTTP_HOSTS_MAX,
                           what);
        to[i] = kv_mem_dup(KV_MEM_CLIENT, from[i], strlen(from[i]));
        if (to[i] == NULL)
            return kv_fail(err, KVSQL_NOMEM, "http: no memory to start");
    }
    return KVSQL_OK;
}

static void server_list_free(char *list[HTTP_HOSTS_MAX + 1])
{
    for (unsigned i = 0; i < HTTP_HOSTS_MAX && list[i] != NULL; i++) {
        kv_mem_free(KV_MEM_CLIENT, list[i], strlen(list[i]) + 1);
        list[i] = NULL;
    }
}

static kvsql_rc server_listen(struct http_server *server,
                              const struct http_config *config, bool secret,
                              struct kvsql_error *err)
{
    server->listeners = (struct kv_listeners){.door = "http",
                                              .option = "http-port",
                                              .secret = "token",
                                              .secret_option = "token-file"};
    return kv_listen(&server->listeners,
                     config->bind ? config->bind : "127.0.0.1", config->port,
                     secret, err);
}

static kvsql_rc server_configure(struct http_server *server,
                                 const struct http_config *config,
                                 struct kvsql_error *err)
{
    kvsql_rc rc;

    server->body_max = config->body_max ? config->body_max : SERVER_BODY_MAX;
    if (server->body_max > (1u << 30))
        server->body_max = 1u << 30;
    server->record_max =
        config->record_max ? config->record_max : SERVER_RECORD_MAX;
    server->sql_deadline_ms =
        config->sql_deadline_ms ? config->sql_deadline_ms : 10000;
    server->sql_row_max = config->sql_row_max ? config->sql_row_max : 10000;
    server->sql_byte_max =
        config->sql_byte_max ? config->sql_byte_max : 16u << 20;
    server->sse_max = config->stream_max ? config->stream_max : SERVER_STREAMS;
    server->head_ms = config->head_ms ? config->head_ms : SERVER_HEADER_MS;
    server->body_ms = config->body_ms ? config->body_ms : SERVER_BODY_MS;
    server->again_ttl_ms =
        config->again_ttl_ms ? config->again_ttl_ms : SERVER_AGAIN_MS;
    server->again_byte_max =
        config->again_byte_max ? config->again_byte_max : 64u << 20;
    if ((rc = http_secret_set(&server->token, "token", config->token, err)) ||
        (rc = http_secret_set(&server->token_readonly, "read-only token",
                              config->token_readonly, err)) ||
        (rc = http_secret_set(&server->password, "password", config->password,
                              err)) ||
        (rc = server_list(server->hosts, config->allowed_hosts,
                          "http-allowed-hosts", err)) ||
        (rc = server_list(server->origins, config->cors_origins, "cors-origin",
                          err)))
        return rc;
    bool secret = server->token.size || server->token_readonly.size ||
                  server->password.size;
    for (unsigned i = 0; server->origins[i] != NULL; i++)
        if (strcmp(server->origins[i], "*") == 0 && !secret)
            return kv_fail(err, KVSQL_INVALID,
                           "http: cors-origin * needs a token: set "
                           "token-file, or list the origins");
    return server_listen(server, config, secret, err);
}

static unsigned server_connection_max(unsigned wanted)
{
    struct rlimit limit;
    unsigned most = wanted ? wanted : 10000;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < (rlim_t)most + SERVER_RESERVED_FDS)
        most = limit.rlim_cur > 2 * SERVER_RESERVED_FDS
                   ? (unsigned)limit.rlim_cur - SERVER_RESERVED_FDS
                   : SERVER_RESERVED_FDS;
    return most;
}

/* The library listens on one socket only: each address gets a daemon. */
static kvsql_rc server_daemon(struct http_server *server,
                              const struct http_config *config, unsigned index,
                              struct kvsql_error *err)
{
    unsigned threads = index > 0         ? 1
                       : config->threads ? config->threads
                                         : 2;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_ERROR_LOG;

    if (threads > SERVER_THREADS_MAX)
        threads = SERVER_THREADS_MAX;
    struct MHD_OptionItem pool[] = {
        {threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END,
         (intptr_t)threads, NULL},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, server_handle, server,
        MHD_OPTION_EXTERNAL_LOGGER, server_log, server,
        MHD_OPTION_LISTEN_SOCKET, server->listeners.at[index].fd,
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, server_unescape, server,
        MHD_OPTION_URI_LOG_CALLBACK, server_target, server,
        MHD_OPTION_NOTIFY_COMPLETED, server_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, server_connection, server,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)SERVER_POOL,
        MHD_OPTION_CONNECTION_LIMIT,
        server_connection_max(config->connection_max),
        MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
    if (daemon == NULL)
        return kv_fail(err, KVSQL_IO,
                       "http: the event loops could not be started: %s",
                       kv_os_error(errno));
    server->daemons[server->daemon_count++] = daemon;
    return KVSQL_OK;
}

/* Accept no more: who connects is refused from now on. MHD_quiesce_daemon would
 * do it, but takes the socket from a loop's epoll set while the loop may do the
 * same, and the later of the two ends the process (MHD_PANIC). So it stays there,
 * and wakes its loops again and again for the moment that a stop takes. */
static void server_quiesce(struct http_server *server)
{
    for (unsigned i = 0; i < server->daemon_count; i++)
        (void)shutdown(server->listeners.at[i].fd, SHUT_RD);
}

/* Each closes the socket that it was given. */
static void server_stop_daemons(struct http_server *server)
{
    for (unsigned i = 0; i < server->daemon_count; i++) {
        MHD_stop_daemon(server->daemons[i]);
        server->listeners.at[i].fd = -1;
    }
    server->daemon_count = 0;
}

/* One cannot be started: those before end as http_stop ends them. */
static kvsql_rc server_daemons(struct http_server *server,
                               const struct http_config *config,
                               struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    for (unsigned i = 0; i < server->listeners.count && rc == KVSQL_OK; i++)
        rc = server_daemon(server, config, i, err);
    if (rc != KVSQL_OK) {
        server_quiesce(server);
        server_stop_daemons(server);
    }
    return rc;
}

static void server_free(struct http_server *server)
{
    http_tail_leave(server);
    for (unsigned i = 0; i < 2; i++)
        if (server->last_words[i] != NULL)
            MHD_destroy_response(server->last_words[i]);
    http_requests_fini(server);
    http_views_stop(server);
    kv_listen_close(&server->listeners);
    server_list_free(server->hosts);
    server_list_free(server->origins);
    kv_cond_fini(&server->watch_quiet);
    kv_lock_fini(&server->watch_lock);
    kv_lock_fini(&server->told_lock);
    kv_cond_fini(&server->queue_more);
    kv_lock_fini(&server->queue_lock);
    kv_lock_fini(&server->sse_lock);
    kv_lock_fini(&server->secrets_lock);
    explicit_bzero(&server->token, sizeof server->token);
    explicit_bzero(&server->token_readonly, sizeof server->token_readonly);
    explicit_bzero(&server->password, sizeof server->password);
    kv_mem_free(KV_MEM_CLIENT, server, sizeof *server);
}

static void server_know(struct http_server *server, kvsql *db)
{
    struct kv_info info;

    kv_info_get(db, &info);
    memcpy(server->store_id, info.store_id, 8);
    snprintf(server->sync_id, sizeof server->sync_id, "%s-", server->store_id);
    memcpy(server->start_id, info.start_id, sizeof server->start_id);
    server->start_id[sizeof server->start_id - 1] = 0;
    atomic_store(&server->db, db);
}

kvsql_rc http_start(kvsql *db, const struct http_config *config,
                    struct http_server **out, struct kvsql_error *err)
{
    const struct kv_os *os = kv_os_real();
    struct http_server *server = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *server);
    kvsql_rc rc;

    *out = NULL;
    if (server == NULL)
        return kv_fail(err, KVSQL_NOMEM, "http: no memory to start");
    server->epoll = server->wake = server->post = -1;
    kv_lock_init(&server->secrets_lock, KV_RANK_COMMAND);
    kv_lock_init(&server->watch_lock, HTTP_RANK_WATCH);
    kv_lock_init(&server->told_lock, KV_RANK_POST);
    server->due_ns = UINT64_MAX;
    kv_cond_init(&server->watch_quiet);
    kv_lock_init(&server->sse_lock, HTTP_RANK_SSE);
    kv_lock_init(&server->queue_lock, HTTP_RANK_QUEUE);
    kv_cond_init(&server->queue_more);
    http_routes_init(&server->routes);
    os->random(os->arg, &server->id_base, sizeof server->id_base);
    if (db != NULL)
        server_know(server, db);
    if (MHD_is_feature_supported(MHD_FEATURE_EPOLL) != MHD_YES)
        kv_diag(KV_WARN, "http.library", "text=\"no epoll\"");
    if (((unsigned long)MHD_VERSION & 0xFFFFFF00) != SERVER_VERSION_TESTED ||
        strcmp(MHD_get_version(), "0.9.75") != 0)
        kv_diag(KV_WARN, "http.library",
                "version=%s tested=0.9.75 do=\"run make check\"",
                MHD_get_version());
    if ((rc = server_configure(server, config, err)) ||
        (rc = http_last_words(server, err)) ||
        (rc = http_tail_new(server, err)) ||
        (rc = http_views_start(server, config->view_max, config->view_lease_ms,
                               err)) ||
        (rc = http_watch_start(server, err)) ||
        (rc = http_work_start(
             server, config->sql_threads ? config->sql_threads : 4, err)) ||
        (rc = server_daemons(server, config, err))) {
        http_work_stop(server);
        http_watch_stop(server);
        server_free(server);
        return rc;
    }
    *out = server;
    return KVSQL_OK;
}

void http_ready(struct http_server *server, kvsql *db)
{
    KV_ASSERT(atomic_load(&server->db) == NULL);
    server_know(server, db);
}

void http_loading(struct http_server *server,
                  const struct kv_progress *progress)
{
    kv_lock_take(&server->watch_lock);
    server->progress = *progress;
    kv_lock_drop(&server->watch_lock);
}

uint16_t http_port(const struct http_server *server)
{
    return server->listeners.port;
}

const char *http_address(const struct http_server *server)
{
    return kv_listen_local(&server->listeners);
}

/* ---- stop ---------------------------------------------------------------------------------- */

void http_stop(struct http_server *server)
{
    if (server == NULL)
        return;
    atomic_store(&server->stopping, true);
    server_quiesce(server);
    http_sse_stop(server);
    (void)http_watch_quiet(server, true, SERVER_GRACE_MS);
    http_watch_cancel_all(server);
    http_work_stop(server);
    (void)http_watch_quiet(server, false, SERVER_GRACE_MS / 4);
    http_watch_hang_up(server);
    if (!http_watch_quiet(server, false, SERVER_STOP_MS))
        kv_diag(KV_WARN, "http.stop", "left=%llu",
                (unsigned long long)atomic_load(&server->stats.active));
    server_stop_daemons(server);
    http_watch_stop(server);
    server_free(server);
}
