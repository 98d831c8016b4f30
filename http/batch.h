/* batch.h - what the files of /v1/batch share: batch.c, batch_read.c,
 * batch_sql.c.
 *
 * Thread: the worker that has the request. */
#ifndef KVSQL_HTTP_BATCH_H
#define KVSQL_HTTP_BATCH_H

#include "command/command.h"
#include "http/sql.h"

struct http_batch_op {
    unsigned argc;       /* a command */
    kvsql_slice *argv;   /* NULL: SQL */
    kvsql_slice sql;
    uint32_t params;     /* token, 0 = none */
};

/* An element of "if". */
struct http_batch_if {
    kvsql_slice key;
    uint64_t version; /* 0: it must be absent */
};

struct http_batch {
    struct http_request *request;
    struct http_worker *worker;
    struct http_json json;
    struct http_batch_op *ops;
    unsigned count;
    struct http_batch_if *conditions;
    unsigned condition_count;
    bool atomic, has_sql;
    struct http_prefer prefer;
    uint64_t changes; /* so far, of an atomic batch */
    struct kv_buf results;
};

/* batch_read.c: from the request's body. False: refused. */
KV_INTERNAL bool http_batch_read(struct http_batch *batch);

/* batch.c */
/* Op `index` failed, and the batch with it. */
KV_INTERNAL void http_batch_failed(struct http_batch *batch, unsigned index,
                                   kvsql_rc rc, const char *text);
/* A key is at another version than "if" says: 412. */
KV_INTERNAL void http_batch_moved(struct http_batch *batch,
                                  const struct http_batch_if *condition,
                                  uint64_t version);
/* The answer from the results. */
KV_INTERNAL void http_batch_done(struct http_batch *batch, uint64_t position);
KV_INTERNAL void http_batch_comma(struct http_batch *batch);
/* The sentence of an error reply; `out`. */
KV_INTERNAL const char *http_batch_reply_text(const struct cmd_reply *reply,
                                              char out[KVSQL_ERROR_SIZE]);
/* With an Idempotency-Key: the answer, kept in the transaction. False: refused.
 */
KV_INTERNAL bool http_batch_keep(struct http_batch *batch, struct kv_txn *txn);

/* As many changes as Prefer: max-affected allows? False: refused. */
KV_INTERNAL bool http_batch_few(struct http_batch *batch);

/* batch_sql.c */
/* Run a statement; its rows or changes become a result. */
KV_INTERNAL kvsql_rc http_batch_statement(struct http_batch *batch,
                                          struct vt_session *session,
                                          const struct http_batch_op *op,
                                          struct kvsql_error *err) KV_MUST_USE;
/* All of an atomic batch, answer included. */
KV_INTERNAL void http_batch_sql(struct http_batch *batch,
                                struct vt_session *session);

#endif
