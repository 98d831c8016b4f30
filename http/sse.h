/* sse.h - event streams: text/event-stream to clients that listen for long.
 *
 * A stream has no thread. What it is to send is put into its inbox by whoever
 * knows it: a sender of a message, in the middle of his command. The watcher
 * carries it over to the connection, wakes that, sends ": ping" every 15 s into
 * a silence, and ends all streams when the server stops.
 *
 * Always true:
 *   SE1  A stream with more than HTTP_STREAM_MAX bytes unread, inbox and
 *        connection each, is closed: never stalled, and never with a gap.
 *   SE2  It is in its server's list, and known to those who fill it, from
 *        http_sse_open until http_sse_close, which its request's end calls.
 *
 * Thread: the event loop's, but for what is said. */
#ifndef KVSQL_HTTP_SSE_H
#define KVSQL_HTTP_SSE_H

#include "http/request.h"

#define HTTP_SSE_TYPE "text/event-stream"

struct http_sse {
    struct http_request *request;
    /* No more of it is wanted: whoever fills it forgets it. Event loop. */
    void (*leave)(struct http_sse *sse);

    /* Guarded by server->sse_lock. */
    struct http_sse *next, **link; /* server->sse_first */
    struct http_sse *post_next;    /* server->sse_post */
    struct kv_buf inbox;
    bool posted, over, ended;
    uint64_t put_ns; /* when it was sent something last */
};

/* Make the answer of the request a stream, which begins with `text`. False: it
 * is refused, or its method is HEAD; nothing is open. `leave` is called once
 * from then on. */
KV_INTERNAL bool http_sse_open(struct http_request *request,
                               struct http_sse *sse, kvsql_slice text,
                               void (*leave)(struct http_sse *sse));
/* The request is over; if it has no stream, nothing happens. */
KV_INTERNAL void http_sse_close(struct http_request *request);
/* Any thread, up to rank POST. Send these bytes, whole events. */
KV_INTERNAL void http_sse_put(struct http_sse *sse, const struct kv_buf *text);
/* Any thread. It ends when all that was put is sent. */
KV_INTERNAL void http_sse_end(struct http_sse *sse);

/* "data: TEXT", a line for each of its lines, U+FFFD for what is no UTF-8. The
 * event is to be ended by one more "\n". */
KV_INTERNAL void http_sse_data(struct kv_buf *out, const struct kv_buf *text);

/* For /v1/events (events.c): before the first request, and behind the last. */
KV_INTERNAL kvsql_rc http_tail_new(struct http_server *server,
                                   struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void http_tail_leave(struct http_server *server);

/* The watcher: carry over what was put; the seconds have gone on. */
KV_INTERNAL void http_sse_carry(struct http_server *server);
KV_INTERNAL void http_sse_beat(struct http_server *server);
/* All streams end, and no more begin. */
KV_INTERNAL void http_sse_stop(struct http_server *server);

#endif
