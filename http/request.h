/* request.h - what the files of the door share: the server, one connection,
 * one request, and the few verbs between them.
 *
 * A request is a state machine, because the library calls the same handler
 * again and again: first with the headers, then with pieces of the body, then
 * to be answered, and once more after each suspension.
 *
 *   first call    guard -> target -> access -> route        (refusals)
 *   body          collected, bounded, under a deadline
 *   run           the route's handler: an answer, or work for a worker
 *   waiting       suspended: a worker, the gate, room in a stream, or something
 *                 to take (await.c)
 *   answered      the response is queued
 *
 * Always true:
 *   H1  `suspended` is set, under the request's lock, before the connection is
 *       suspended, and cleared by the one who resumes it. So no wake-up is
 *       lost and nothing is resumed twice.
 *   H2  every request that is suspended stands in its connection's slot, where
 *       the watcher and the shutdown find it.
 *   H3  a reference is held by the connection, by a queued or running job and
 *       by a waiter at the gate; the last one frees.
 *   H4  locks: request, then watch, then queue; none is held while a handler,
 *       a statement or a command runs. The library is called with the
 *       request's lock at most. */
#ifndef KVSQL_HTTP_REQUEST_H
#define KVSQL_HTTP_REQUEST_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "command/reply.h"
#include "http/http.h"
#include "kvsql/admin.h"
#include "kvsql/base/buf.h"
#include "kvsql/base/listen.h"
#include "kvsql/base/lock.h"

struct MHD_Connection;
struct MHD_Daemon;
struct MHD_Response;
struct vt_session;
struct http_request;
struct http_view;
struct http_views;
struct http_worker;
struct http_intake;
struct http_sse;
struct http_tail;

#define HTTP_RANK_REQUEST ((enum kv_lock_rank)KV_RANK_DOOR)
#define HTTP_RANK_WATCH ((enum kv_lock_rank)(KV_RANK_DOOR + 1))
#define HTTP_RANK_QUEUE ((enum kv_lock_rank)(KV_RANK_DOOR + 2))
#define HTTP_RANK_SSE KV_RANK_POST

#define HTTP_URI_MAX 8192        /* bytes of a target */
#define HTTP_HEADERS_MAX 100     /* of one request */
#define HTTP_BODY_INLINE 65536   /* larger bodies go to a worker (L5) */
#define HTTP_REPLY_MAX (64u << 20) /* bytes of a reply of commands */
#define HTTP_BLOCK 65536         /* bytes handed to a stream at a time */
#define HTTP_STREAM_MAX (1u << 20) /* bytes that wait in a stream */

enum http_method {
    HTTP_GET = 1,
    HTTP_HEAD = 2,
    HTTP_POST = 4,
    HTTP_PUT = 8,
    HTTP_PATCH = 16,
    HTTP_DELETE = 32,
    HTTP_OPTIONS = 64
};

/* Headers that mean something to us; the table is in guard.c. */
enum http_header_id {
    HTTP_H_ACCEPT,
    HTTP_H_ACCEPT_ENCODING,
    HTTP_H_AGAIN, /* Idempotency-Key */
    HTTP_H_AUTHORIZATION,
    HTTP_H_CONTENT_LENGTH,
    HTTP_H_CONTENT_TYPE,
    HTTP_H_CORS_METHOD, /* Access-Control-Request-Method */
    HTTP_H_HOST,
    HTTP_H_IF_MATCH,
    HTTP_H_IF_NONE_MATCH,
    HTTP_H_IF_RANGE,
    HTTP_H_LAST_EVENT, /* Last-Event-ID */
    HTTP_H_ORIGIN,
    HTTP_H_PREFER,
    HTTP_H_RANGE,
    HTTP_H_REQUEST_ID,
    HTTP_H_SEC_FETCH_SITE,
    HTTP_H_TRANSFER_ENCODING,
    HTTP_H_ENCODING, /* Upstash-Encoding */
    HTTP_H_FORMAT,   /* Upstash-Response-Format */
    HTTP_H_TTL,      /* X-KVSQL-TTL */
    HTTP_H_COUNT
};

enum http_rights { HTTP_RIGHT_NONE, HTTP_RIGHT_READ, HTTP_RIGHT_ALL };
enum http_tier { HTTP_TIER_COMMAND, HTTP_TIER_RESOURCE, HTTP_TIER_SQL };
#define HTTP_TIERS 3

/* WAIT: until the request is told, or its time is over; then `again` runs. */
enum http_next { HTTP_NEXT_ANSWER, HTTP_NEXT_WORK, HTTP_NEXT_WAIT };

/* One row of routes.def. */
struct http_route {
    unsigned methods;    /* mask of enum http_method */
    /* "/v1/keys/{key}"; a last "**" takes all the rest, "{key}:verb" a name and
     * what stands behind its last raw ':'. */
    const char *pattern;
    enum http_next (*run)(struct http_request *request);
    enum http_rights rights; /* NONE: open to all */
    unsigned bodies;         /* mask of enum http_body_type */
    enum http_tier tier;
    const char *takes, *asks, *gives, *summary; /* see routes.def */
};

enum http_body_type {
    HTTP_BODY_NONE = 0,  /* a body is read and ignored */
    HTTP_BODY_JSON = 1,  /* application/json */
    HTTP_BODY_SQL = 2,   /* application/sql */
    HTTP_BODY_BYTES = 4, /* application/octet-stream and other types that a
                            browser does not send without asking first */
    HTTP_BODY_STREAM = 8 /* no type: it is not held, but goes to a worker as
                            it comes (intake.h); `run` is asked before */
};

struct http_param {
    kvsql_slice name, value; /* value.p NULL: a bare name */
};

struct http_header {
    const char *name; /* static */
    char value[192];
};
#define HTTP_ANSWER_HEADERS 12

/* What will be sent. */
struct http_answer {
    struct kv_buf body; /* its memory is kept (request.c) */
    unsigned status;
    const char *type; /* static Content-Type; NULL with 204, 304 */
    const char *cache; /* Cache-Control, static or in the arena; NULL =
                          no-store */
    bool has_file;     /* instead of the body: */
    int file;          /* descriptor, closed with the answer */
    uint64_t file_first, file_size; /* the bytes that are sent */
    unsigned header_count;
    const char *link; /* Link, in the arena; NULL: none */
    struct http_header headers[HTTP_ANSWER_HEADERS];
};

/* The response that went last, if it was plain: one of the same size and type
 * takes it over, but for what is its own (answer.c). Its bytes are answer.body's. */
#define HTTP_KEPT_HEADERS 3
#define HTTP_KEPT_VALUE 80
struct http_kept_value {
    char *stored; /* the response's own copy; NULL: not known */
    size_t size;
    char text[HTTP_KEPT_VALUE];
};
struct http_kept {
    struct MHD_Response *response; /* NULL: none; a reference of ours */
    const uint8_t *p;
    size_t size;
    const char *type;
    unsigned count; /* headers besides those that all have */
    const char *names[HTTP_KEPT_HEADERS];
    struct http_kept_value values[HTTP_KEPT_HEADERS], cache, id;
};

/* A body that is made while it is sent. Guarded by the request's lock. */
struct http_stream {
    struct kv_buf queue;
    size_t offset;      /* bytes of queue that are sent */
    struct kv_cond room;
    bool open;          /* the head is decided, body blocks follow */
    bool ended;         /* nothing more comes */
    bool cut;           /* ... and it must not look complete */
};

enum http_phase {
    HTTP_PHASE_NEW,
    HTTP_PHASE_BODY,    /* the first call is done */
    HTTP_PHASE_RUN,     /* the body is complete */
    HTTP_PHASE_WORK,    /* a worker has it */
    HTTP_PHASE_ANSWER,  /* the answer is made, its gate may be shut */
    HTTP_PHASE_GATE,    /* waiting for the gate */
    HTTP_PHASE_AWAIT,   /* waiting for something to take */
    HTTP_PHASE_SENT
};

/* ?wait= of a request, for something to take: zeroes when it has none. Waiting at
 * the gate is the request's `waiter`, waiting for what a stream is to send is
 * its http_sse's; this is neither. */
struct http_wait {
    /* The event loop's, set before it waits, by await.c. */
    uint64_t until_ns; /* monotonic; 0: it does not wait */
    enum http_next (*again)(struct http_request *request); /* look again */
    /* Let go of what the handler holds; NULL: nothing. Once, when no more of
     * the handler is to come. */
    void (*drop)(struct http_request *request);

    /* Guarded by the request's lock. */
    bool stands; /* it waits: suspended by server_await() */
    bool told, late; /* something may be there; the time is over */

    /* The watcher's list; guarded by the server's told_lock. */
    struct http_request *told_next;
};

#define HTTP_TARGET_INLINE 256
#define HTTP_PARTS_INLINE 16

struct http_block; /* of a request's arena */

struct http_request {
    struct http_server *server;
    struct http_conn *conn;
    atomic_uint refs; /* H3 */
    struct kv_lock lock;

    /* With their memory for the next request, when this one is over. */
    struct kv_buf body;
    struct http_block *arena;
    struct http_stream stream;
    struct cmd_reply reply; /* of a command that is run by itself */
    struct http_kept kept;

    /* All from here to answer.headers, but for answer.body, is zero when a
     * request begins (request_begin). */
    uint64_t id, started_ns;
    enum http_phase phase;

    /* The target as it came, in the library's buffer until the first call. */
    const char *raw;
    size_t raw_size;
    /* Ours: decoded segments and parameters. */
    char *target; /* copy; changed in place while it is decoded */
    size_t target_size;
    kvsql_slice *segments;
    unsigned segment_count;
    size_t colon; /* where the last raw ':' of the last segment stands in it;
                     SIZE_MAX: nowhere */
    struct http_param *params;
    unsigned param_count;
    /* p NULL when absent; trimmed. In the library's buffer, which goes when the
     * client does, until they are our own. */
    kvsql_slice headers[HTTP_H_COUNT];
    enum http_method method;
    enum http_tier tier;
    enum http_rights rights;
    const struct http_route *route;
    const char *cors; /* static in the server: the origin to echo */
    bool token_given; /* an Authorization header came (X7) */
    bool close;       /* end the connection after this answer */
    bool headers_own; /* they are in the arena (http_headers_own) */
    unsigned body_type;

    struct kv_ticket ticket; /* the answer waits for it */
    bool has_ticket;
    uint64_t content_length; /* Content-Length, 0 when there is none */
    uint64_t digest; /* of what is asked (again.c) */
    void *state; /* the handler's, in the arena */
    /* What `state` holds beside that, with the request; any thread. */
    void (*state_free)(void *state);
    /* Event loop, the lock is held: little is unread of an event stream. */
    void (*drained)(struct http_request *request);
    /* Event loop: what to do when a worker is through and has not answered. */
    enum http_next (*then)(struct http_request *request);
    struct http_intake *intake; /* of a body that is not held, in the arena */
    struct http_sse *sse; /* the answer is an event stream, in the arena */
    struct http_view *view; /* that it reads; NULL: none (views.h) */
    void *gzip;  /* of a stream that is compressed (gzip.c) */
    bool listens; /* its answer is an event stream that workers fill */
    bool packing; /* done, its answer is only to be compressed by a worker */

    /* What left, for the statistics: the event loop's alone, while a worker
     * may still write into the answer. */
    unsigned sent_status;
    uint64_t sent_bytes;
    bool head_stream; /* HEAD of what GET would stream: no length is known */

    /* Guarded by lock. */
    bool suspended;           /* H1 */
    bool gone;                /* client lost or server stopping: give up */
    bool work_done;           /* the worker is through, or streaming */
    bool gate_done;
    kvsql_rc gate_rc;
    struct MHD_Connection *connection; /* NULL once completed */
    struct vt_session *session; /* a statement runs for this request */

    struct http_wait wait;    /* for something to take */
    struct kv_waiter waiter;  /* at the gate */
    void (*work)(struct http_request *request, struct http_worker *worker);
    struct http_request *queue_next; /* guarded by the queue's lock */
    uint64_t queued_ns;              /* when it was given to the workers */

    struct http_answer answer;
    char client_id[65];       /* X-Request-Id, "" = ours */
    char target_inline[HTTP_TARGET_INLINE];
    union {
        kvsql_slice segments[HTTP_PARTS_INLINE];
        char bytes[HTTP_PARTS_INLINE * sizeof(kvsql_slice)];
    } parts_inline;
};

/* ---- server ----------------------------------------------------------------- */

/* One TCP connection. Allocated when it is accepted, freed when it is closed,
 * always inside the watch lock's table. */
struct http_conn {
    int fd;
    uint32_t serial; /* tells a reused descriptor */
    _Atomic uint64_t deadline_ns; /* monotonic; 0 = none */
    atomic_bool ended; /* the client sends no more; set by the watcher */
    /* Guarded by the watch lock. */
    struct http_request *request; /* H2 */
    bool lost; /* ... which ends with its client */
    uint64_t due_ns; /* its ?wait= is over then; 0: none, or it was taken */
};

#define HTTP_LATENCY_BUCKETS 14
struct http_stats {
    _Atomic uint64_t requests[HTTP_TIERS][6]; /* by status / 100 */
    _Atomic uint64_t latency[HTTP_TIERS][HTTP_LATENCY_BUCKETS + 1];
    _Atomic uint64_t latency_ns[HTTP_TIERS];
    _Atomic uint64_t refused;       /* by the guard */
    _Atomic uint64_t reaped;        /* connections past a deadline */
    _Atomic uint64_t lost;          /* clients gone while we worked */
    _Atomic uint64_t connections;   /* accepted in all */
    _Atomic uint64_t connected;     /* now */
    _Atomic uint64_t waiting;       /* suspended now */
    _Atomic uint64_t active;        /* requests now */
    _Atomic uint64_t streams;       /* event streams now */
    _Atomic uint64_t sql_running;   /* sessions in use by requests now */
    _Atomic uint64_t sql_rows, sql_truncated, sql_interrupted;
    _Atomic uint64_t bytes_in, bytes_out;
};

struct http_worker {
    struct http_server *server;
    struct kv_thread thread;
    struct vt_session *session; /* opened with the first statement */
};

#define HTTP_WORKERS_MAX 64
#define HTTP_QUEUE_MAX 4096 /* jobs that wait for a worker */

/* A secret, kept so that comparing it touches every byte (X4). */
struct http_secret {
    uint8_t bytes[HTTP_TOKEN_MAX];
    size_t size; /* 0 = not configured */
};

/* Rows of routes.def in chains, in the order of the table, by whether they are
 * below /v1 and by their first segment (below /v1 their second): route_chain. */
#define HTTP_ROUTES_MAX UINT8_MAX /* ... which is the end of a chain, too */
struct http_routes {
    uint8_t first[2][256], next[HTTP_ROUTES_MAX];
};

#define HTTP_SPARES 8 /* requests that are kept for their memory */

struct http_server {
    _Atomic(kvsql *) db; /* NULL while loading */
    _Atomic(struct http_request *) spares[HTTP_SPARES];
    struct MHD_Daemon *daemons[KV_LISTEN_MAX]; /* one for each listener */
    unsigned daemon_count;
    struct MHD_Response *last_words[2]; /* made at start: 503, 507 (M3) */
    struct kv_listeners listeners; /* their names stand in Host */
    size_t record_max; /* bytes of a record of an import */
    uint64_t body_max, sql_deadline_ms, sql_row_max, sql_byte_max;
    uint64_t again_ttl_ms, again_byte_max; /* of answers that are kept */
    uint64_t head_ms, body_ms;             /* absolute deadlines (L3) */
    struct http_views *views;
    struct kv_lock secrets_lock; /* COMMAND */
    struct http_secret token, token_readonly, password; /* guarded by it */
    char *hosts[HTTP_HOSTS_MAX + 1];
    char *origins[HTTP_HOSTS_MAX + 1];
    char store_id[9], start_id[17];
    char sync_id[10]; /* store_id and a dash */
    uint64_t id_base;   /* of request ids */
    atomic_uint_fast64_t id_next;
    atomic_bool stopping;
    struct http_stats stats;
    struct http_routes routes;

    /* Loading, guarded by watch_lock. */
    struct kv_progress progress;

    /* The watcher (watch.c). */
    struct kv_lock watch_lock;
    struct kv_cond watch_quiet; /* active or waiting requests went down */
    struct http_conn **conns;   /* by descriptor; guarded by watch_lock */
    unsigned conn_cap;
    uint32_t conn_serial;
    int epoll, wake;            /* descriptors */
    struct kv_thread watcher;
    uint64_t due_ns; /* the first time is over then, of those that wait */
    atomic_bool watch_over; /* the watcher is to end */
    /* Those that were told, each with a reference, for the watcher to wake: who
     * tells holds locks of higher ranks. */
    struct kv_lock told_lock; /* POST */
    struct http_request *told_first;

    /* Event streams (sse.c), guarded by sse_lock. */
    struct kv_lock sse_lock;
    struct http_sse *sse_first, *sse_post; /* all; those with something put */
    unsigned sse_count, sse_max;
    bool sse_stopped;
    int post; /* descriptor: there is something put */
    struct http_tail *tail; /* of those who follow the wal (events.c) */

    /* Workers (work.c), guarded by queue_lock. */
    struct kv_lock queue_lock;
    struct kv_cond queue_more;
    struct http_request *queue_first, *queue_last;
    unsigned queue_count;
    bool queue_closed;
    struct http_worker workers[HTTP_WORKERS_MAX];
    unsigned worker_count;
    struct http_again_run *again_runs; /* guarded by it */
    atomic_uint exports; /* running: fewer than workers, if there are several */
};

/* ---- request.c: life, memory, waiting ----------------------------------------- */

KV_INTERNAL struct http_request *http_request_new(struct http_server *server,
                                                  const char *raw);
KV_INTERNAL void http_request_ref(struct http_request *request);
KV_INTERNAL void http_request_unref(struct http_request *request);
/* The connection's or a job's reference goes, while the server is there: with the
 * last one the request is freed, or kept for the next. */
KV_INTERNAL void http_request_done(struct http_request *request);
KV_INTERNAL void http_requests_fini(struct http_server *server);
/* Memory that lives as long as the request; NULL when there is none. */
KV_INTERNAL void *http_alloc(struct http_request *request, size_t size);
/* The client is lost or the server stops: interrupt, wake, give up. */
KV_INTERNAL void http_request_cancel(struct http_request *request);
/* Suspend, unless the request is gone or the server stops: false then. The
 * lock is held. `lost`: and unless the client has left, now or later. */
KV_INTERNAL bool http_suspend(struct http_request *request, bool lost);
/* Resume if suspended. The lock is held. */
KV_INTERNAL void http_wake(struct http_request *request);
/* Body blocks from a worker: hand the content of answer.body on and empty it.
 * The first call decides status and headers; for HEAD the bytes are dropped
 * instead, and nothing is open. False: stop, nobody reads. */
KV_INTERNAL bool http_stream_push(struct http_request *request);
/* Any thread, does not wait: more bytes for a stream without a worker, whose end
 * they may be. One with more than HTTP_STREAM_MAX bytes unread is cut, and so is
 * one with `p` NULL. */
KV_INTERNAL void http_stream_put(struct http_request *request, const void *p,
                                 size_t size, bool end);
/* Bytes that are unread of it. The lock is held. */
KV_INTERNAL size_t http_stream_unread(const struct http_request *request);
/* Bytes of the stream for the connection: > 0, or one of these. */
#define HTTP_STREAM_WAIT 0 /* suspended */
#define HTTP_STREAM_END (-1)
#define HTTP_STREAM_CUT (-2)
KV_INTERNAL int64_t http_stream_read(struct http_request *request, char *out,
                                     size_t size);

/* ---- guard.c, target.c, access.c, route.c: the first call ----------------------- */

/* Each answers true, or has refused the request (answer is made). */
KV_INTERNAL bool http_guard(struct http_request *request, const char *url,
                            const char *method, const char *version);
/* Event loop, before a worker has it: copy the headers into the arena, since a
 * worker may be at it when its client is gone. Twice is fine. False: no memory. */
KV_INTERNAL bool http_headers_own(struct http_request *request);
KV_INTERNAL bool http_target(struct http_request *request);
KV_INTERNAL bool http_access(struct http_request *request);
KV_INTERNAL bool http_route(struct http_request *request);
/* The tier in whose words a target is refused before it is understood. */
KV_INTERNAL enum http_tier http_tier_of(const char *raw);
KV_INTERNAL const struct http_route *http_route_at(unsigned index);
KV_INTERNAL void http_routes_init(struct http_routes *routes);
/* "GET, HEAD, POST" of a mask. */
KV_INTERNAL const char *http_methods(unsigned mask, char *out, size_t size);
/* Value of a parameter, p NULL when absent. */
KV_INTERNAL kvsql_slice http_param(const struct http_request *request,
                                   const char *name);
/* A parameter or header equals `text`. */
static inline bool http_is(kvsql_slice slice, const char *text)
{
    return slice.p != NULL && slice.size == strlen(text) &&
           memcmp(slice.p, text, slice.size) == 0;
}
static inline bool http_is_fold(kvsql_slice slice, const char *text)
{
    return slice.p != NULL && slice.size == strlen(text) &&
           strncasecmp(slice.p, text, slice.size) == 0;
}
KV_INTERNAL kvsql_rc http_secret_set(struct http_secret *secret,
                                     const char *what, const char *text,
                                     struct kvsql_error *err);
/* Append the bytes as a part of an address: all but letters, digits, -_.~ as
 * %XX. */
KV_INTERNAL void http_escape(struct kv_buf *out, kvsql_slice text);
/* Decode %XX in place; false on a bad one. */
KV_INTERNAL bool http_percent(char *p, size_t *size, bool plus);

/* ---- answer.c --------------------------------------------------------------------- */

/* Problems that are the door's own; rows in problems.def. */
enum http_problem {
#define HTTP_PROBLEM_ROW(name, status, slug, title, hint) HTTP_P_##name,
#include "http/problems.def"
#undef HTTP_PROBLEM_ROW
    HTTP_P_COUNT
};

/* Make the answer an error, in the tier's shape. `extra` (may be NULL) is a
 * run of JSON members: ",\"offset\":7". */
KV_INTERNAL void http_refuse(struct http_request *request,
                             enum http_problem problem, const char *format,
                             ...) KV_PRINTF(3, 4);
KV_INTERNAL void http_refuse_args(struct http_request *request,
                                  enum http_problem problem,
                                  const char *format, va_list args)
    KV_PRINTF(3, 0);
KV_INTERNAL void http_refuse_with(struct http_request *request,
                                  enum http_problem problem,
                                  const char *detail, const char *extra);
/* The same for a limit that was passed, which the problem names as `limit`. */
KV_INTERNAL void http_refuse_limit(struct http_request *request,
                                   enum http_problem problem, uint64_t limit,
                                   const char *format, ...) KV_PRINTF(4, 5);
/* `limit` as an extra; `out`. */
#define HTTP_LIMIT_SIZE 40
KV_INTERNAL const char *http_limit(uint64_t limit, char out[HTTP_LIMIT_SIZE]);
KV_INTERNAL void http_fail(struct http_request *request, kvsql_rc rc,
                           const char *detail, const char *extra);
/* A problem document without a request behind it: for error records. */
KV_INTERNAL void http_problem_body(struct kv_buf *out, kvsql_rc rc,
                                   const char *detail, const char *id,
                                   const char *extra);
KV_INTERNAL unsigned http_rc_status(kvsql_rc rc);
/* Of a failed command on tier 1: 400 when its sender is wrong, the row's own
 * status when the server cannot (F5: a full disk is 507 for every write). */
KV_INTERNAL unsigned http_command_status(kvsql_rc rc);
/* Begin an answer: status and type; the body is empty. */
KV_INTERNAL void http_answer(struct http_request *request, unsigned status,
                             const char *type);
/* The bytes [first, first + size) of a file as the body; the file is ours. */
KV_INTERNAL void http_answer_file(struct http_request *request, int file,
                                  uint64_t first, uint64_t size);
KV_INTERNAL void http_answer_drop(struct http_request *request);
KV_INTERNAL void http_kept_drop(struct http_kept *kept);
KV_INTERNAL void http_answer_header(struct http_request *request,
                                    const char *name, const char *format, ...)
    KV_PRINTF(3, 4);
/* The same of `before` and a number behind it. */
KV_INTERNAL void http_answer_number(struct http_request *request,
                                    const char *name, const char *before,
                                    uint64_t number);
#define HTTP_LINK_MAX 2048 /* bytes of a Link: the library's pool is small */
/* Link: the page behind this one, which is asked for like this one but for the
 * cursor. Left out when it is longer than HTTP_LINK_MAX. */
KV_INTERNAL void http_answer_next(struct http_request *request,
                                  kvsql_slice cursor);
/* Give all its headers to `add`, until that is false; a value may be NULL or empty:
 * there is no such header. */
KV_INTERNAL bool http_answer_heads(const struct http_request *request,
                                   bool (*add)(void *to, const char *name,
                                               const char *value),
                                   void *to);
/* Has the head of a stream left? Then status and headers are fixed. */
KV_INTERNAL bool http_stream_is_open(struct http_request *request);
/* Hand the answer (or, when open, the stream) to the library. */
KV_INTERNAL bool http_send(struct http_request *request);
KV_INTERNAL const char *http_request_id(const struct http_request *request,
                                        char out[65]);
KV_INTERNAL kvsql_rc http_last_words(struct http_server *server,
                                     struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void http_stats_done(struct http_request *request,
                                 uint64_t now_ns);

#define HTTP_TYPE_JSON "application/json"
#define HTTP_TYPE_PROBLEM "application/problem+json"

/* ---- watch.c ------------------------------------------------------------------------ */

KV_INTERNAL kvsql_rc http_watch_start(struct http_server *server,
                                      struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void http_watch_stop(struct http_server *server);
KV_INTERNAL struct http_conn *http_watch_opened(struct http_server *server,
                                                int fd);
KV_INTERNAL void http_watch_closed(struct http_server *server,
                                   struct http_conn *conn);
/* Absolute time by which the next thing must have happened; 0 = never. */
KV_INTERNAL void http_watch_deadline(struct http_conn *conn, uint64_t ms);
/* ... for one who has looked at the clock. */
KV_INTERNAL void http_watch_until(struct http_conn *conn, uint64_t now_ns,
                                  uint64_t ms);
/* Enter and leave the slot (H2). enter: false while stopping and, with `lost`,
 * when the client has left already. */
KV_INTERNAL bool http_watch_enter(struct http_request *request, bool lost);
KV_INTERNAL void http_watch_leave(struct http_request *request);
/* The library is about to wait for more of this connection: remind it of an
 * end that it saw and forgot. */
KV_INTERNAL void http_watch_answered(struct http_conn *conn);
/* Something may be there for a request that waits; under any lock below POST. */
KV_INTERNAL void http_watch_tell(struct http_request *request);
/* Stop: cancel all that is suspended; hang up on everybody. */
KV_INTERNAL void http_watch_cancel_all(struct http_server *server);
KV_INTERNAL void http_watch_hang_up(struct http_server *server);
/* Wait until no request is left (or, with `waiting`, none suspended); false
 * when `ms` passed first. */
KV_INTERNAL bool http_watch_quiet(struct http_server *server, bool waiting,
                                  uint64_t ms);
KV_INTERNAL void http_watch_went_down(struct http_server *server);

/* ---- work.c --------------------------------------------------------------------------- */

KV_INTERNAL kvsql_rc http_work_start(struct http_server *server,
                                     unsigned threads, struct kvsql_error *err)
    KV_MUST_USE;
KV_INTERNAL void http_work_stop(struct http_server *server);
/* Queue request->work; false when the queue is full or closed. */
KV_INTERNAL bool http_work_give(struct http_request *request);

/* ---- handlers (routes.def) ----------------------------------------------------------------- */

#define HTTP_ROUTE(methods, pattern, handler, ...)                            \
    KV_INTERNAL enum http_next http_do_##handler(struct http_request *request);
#include "http/routes.def"
#undef HTTP_ROUTE

#endif
