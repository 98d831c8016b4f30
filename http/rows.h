/* rows.h - rows of SQL on their way out: JSON, NDJSON, CSV.
 *
 * A writer appends to the answer's body and hands full blocks to the stream,
 * so a result of any size needs the memory of a block. What fits into one
 * block leaves as an answer of known length, with its true status.
 *
 * Thread: the worker that has the request. */
#ifndef KVSQL_HTTP_ROWS_H
#define KVSQL_HTTP_ROWS_H

#include "http/page.h"
#include "http/request.h"
#include "vtab/session.h"

enum http_rows_format { HTTP_ROWS_JSON, HTTP_ROWS_NDJSON, HTTP_ROWS_CSV,
                        HTTP_ROWS_FILE /* sqlfile.c */ };

struct http_plan;

struct http_rows {
    struct http_request *request;
    const struct vt_statement *statement;
    enum http_rows_format format;
    bool big_text; /* integers beyond 2^53 as strings */
    bool whole;    /* nothing leaves before the end */
    int columns;
    uint64_t count;
    struct http_page *page; /* pages of a result that is cut (page.h), or NULL */
    struct http_plan *plan; /* EXPLAIN QUERY PLAN: its steps in words, members
                               of the JSON; NULL: another statement */
};

/* One value in JSON. */
KV_INTERNAL void http_rows_value(struct kv_buf *out,
                                 const struct vt_value *value, bool big_text);
/* A text as a cell of CSV, in quotes where it must be; `empty`: an empty one
 * is in quotes, too. */
KV_INTERNAL void http_csv_text(struct kv_buf *out, const uint8_t *p,
                               size_t size, bool empty);
/* Status 200 and what stands before the first row. */
KV_INTERNAL void http_rows_begin(struct http_rows *rows);
/* The statement's current row. False: nobody reads any more; stop. */
KV_INTERNAL bool http_rows_add(struct http_rows *rows);
/* What stands behind the last row. */
KV_INTERNAL void http_rows_end(struct http_rows *rows, bool truncated,
                               int64_t changes, uint64_t position,
                               uint64_t elapsed_ms);
/* An error: a problem if nothing has left yet, else the stream is cut. */
KV_INTERNAL void http_rows_fail(struct http_rows *rows, kvsql_rc rc,
                                const char *detail, const char *extra);
/* plan.c: is it EXPLAIN QUERY PLAN? */
KV_INTERNAL bool http_plan_asked(kvsql_slice text);
/* NULL: no memory, refused. It is the request's. */
KV_INTERNAL struct http_plan *http_plan_new(struct http_request *request);
KV_INTERNAL void http_plan_fini(struct http_plan *plan);
/* The current row is its next step. */
KV_INTERNAL void http_plan_step(struct http_rows *rows);
/* "plan":[..],"estimate_rows":n, into the answer. */
KV_INTERNAL void http_plan_end(struct http_rows *rows);
/* The same end for an answer that is no rows: the last block of a stream that
 * is open, or the problem. */
KV_INTERNAL void http_rows_close(struct http_request *request, kvsql_rc rc,
                                 const char *detail);

#endif
