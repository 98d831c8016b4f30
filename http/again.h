/* again.h - requests that may be sent again: Idempotency-Key (rest.md 4.4).
 *
 * A client that lost the answer to a POST or PATCH sends the request again with
 * the same Idempotency-Key, and gets the answer of the first one. That answer is
 * kept by the store in the transaction of the effect (kv_answer_keep), so both
 * are there or none, after a crash, too; it is kept for http-idempotency-ttl.
 * An error had no effect and is not kept: the request is tried anew.
 *
 *   http_again_ask(request)             before the body is read as JSON, which
 *                                       changes it
 *   http_again_fresh(request, txn)      in the transaction, before anything
 *   ... commands, then the whole answer, whose position is
 *   http_again_position(request, txn)
 *   http_again_keep(request, txn)       before the commit
 *
 * Two of one key at the same time: transactions come one after the other, so
 * the second finds the answer of the first.
 *
 * Thread: the one that has the request. */
#ifndef KVSQL_HTTP_AGAIN_H
#define KVSQL_HTTP_AGAIN_H

#include "http/request.h"

/* One that is no transaction, and so is seen by another of its key only here. */
struct http_again_run {
    struct http_again_run *next; /* in server->again_runs, queue_lock */
    kvsql_slice name;            /* p NULL: it is not there */
};

/* Was the header given, and does it count for this method and path? */
KV_INTERNAL bool http_again_asked(const struct http_request *request);
/* The header is good for this path, if it is there. False: refused. */
KV_INTERNAL bool http_again_route(struct http_request *request);
/* Note what is asked, so that another request under the same key is seen. */
KV_INTERNAL void http_again_ask(struct http_request *request);
/* The same of a body that is not held, piece by piece behind it. */
KV_INTERNAL void http_again_more(struct http_request *request, const void *p,
                                 size_t size);
/* Is an answer kept under its key, whatever was asked then? False when there is
 * no key. */
KV_INTERNAL bool http_again_is_kept(const struct http_request *request,
                                    const struct kv_txn *txn);
/* Is it the first of its key? False: the answer of the first is made, or it is
 * refused; the transaction is to be rolled back. True at once when there is no
 * key. */
KV_INTERNAL bool http_again_fresh(struct http_request *request,
                                  const struct kv_txn *txn);
/* The position that the transaction will have with the answer in it. */
KV_INTERNAL uint64_t http_again_position(const struct kv_txn *txn);
/* Keep the answer, unless it is an error. False: it cannot be kept, the
 * request is refused and the transaction is to be rolled back. */
KV_INTERNAL bool http_again_keep(struct http_request *request,
                                 struct kv_txn *txn);

/* It runs from here on. False: another of its key does, refused. True at once
 * when there is no key. */
KV_INTERNAL bool http_again_begin(struct http_request *request,
                                  struct http_again_run *run);
/* Any thread; twice is fine. */
KV_INTERNAL void http_again_end(struct http_server *server,
                                struct http_again_run *run);
/* Of one whose effect is no transaction: may it be done? False: it is answered,
 * by the first of its key or an error. */
KV_INTERNAL bool http_again_may(struct http_request *request);
/* It was: keep the answer in a transaction of its own. An answer that cannot be
 * kept becomes an error. */
KV_INTERNAL void http_again_did(struct http_request *request);

#endif
