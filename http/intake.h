/* intake.h - a body that is not held but goes to a worker as it comes, so that
 * one of any size takes the memory of a piece (routes.def: STREAM).
 *
 * The event loop adds what arrives to `fresh`; a worker takes all of it, uses
 * it, and comes back for what came meanwhile. While INTAKE_FRESH_MAX bytes wait
 * the connection is suspended: the client sends no faster than its bytes are
 * used, and no worker ever waits for a client. A piece is a job of its own, so
 * that others have their turn between two.
 *
 * The library takes no answer while a body arrives. So a refusal in the middle is
 * written to the socket beside it, as the last words of this connection: we say no
 * more then (SHUT_WR), and read and drop the rest, for a while, so that nothing that
 * the client has sent before it looked makes its end of the connection lose them.
 * The library has nothing to write there: it is reading this body, and the answer of
 * the request before has left.
 *
 *   first call   the route's handler: http_intake_open(), or it refuses
 *   body         http_intake_piece, to be called again with what it left
 *   complete     http_intake_end; then the answer is there, or a worker makes it
 *
 * Always true, under the request's lock:
 *   IN1  `working`: a job is queued or runs, and only it touches the state.
 *   IN2  the answer is made once, by the job or, when there is no room for a
 *        job, by the event loop; from then on nothing is used any more.
 *   IN3  `told`: it was a refusal and has left; the connection ends with the body.
 *
 * A body that does not come to its end has no last call of `use`. */
#ifndef KVSQL_HTTP_INTAKE_H
#define KVSQL_HTTP_INTAKE_H

#include "http/request.h"

struct http_intake {
    /* Worker. Use all bytes of `piece` (empty it, or change it for an empty
     * one); `end`: they are the last ones, and the answer is to be made. It may
     * be made earlier: a refusal. */
    void (*use)(struct http_request *request, struct kv_buf *piece, bool end);
    /* With the request, in any thread. */
    void (*free)(void *state);
    void *state;

    struct kv_buf piece; /* the job's */
    uint64_t size;       /* bytes of the body so far; the event loop's */
    uint64_t held_at_ns; /* suspended since; 0: it is not; the event loop's */
    uint64_t held_ns;    /* and so long before; the event loop's */

    /* Guarded by the request's lock. */
    struct kv_buf fresh;
    bool working, ended, answered;
    uint64_t told_ns; /* IN3; 0: not told */
};

enum http_intake_step {
    HTTP_INTAKE_GONE, /* give up: the client is lost, or the server stops */
    HTTP_INTAKE_WAIT, /* more is to come, or a worker has it: suspended */
    HTTP_INTAKE_DONE  /* the answer is made */
};

/* The handler, in the first call: take the body so. False: no memory, refused;
 * `state` is the caller's then. */
KV_INTERNAL bool http_intake_open(
    struct http_request *request,
    void (*use)(struct http_request *, struct kv_buf *, bool),
    void (*free)(void *), void *state);
/* Event loop. *size becomes what is left, for the next call. */
KV_INTERNAL enum http_intake_step http_intake_piece(
    struct http_request *request, const char *piece, size_t *size);
/* Event loop: the body is complete. */
KV_INTERNAL enum http_intake_step http_intake_end(struct http_request *request);
/* Worker: one job, whose reference it drops. */
KV_INTERNAL void http_intake_work(struct http_request *request);
/* With the request. */
KV_INTERNAL void http_intake_free(struct http_request *request);

#endif
