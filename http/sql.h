/* sql.h - what the handlers that use a worker's SQL session share.
 *
 * Thread: the worker that has the request. */
#ifndef KVSQL_HTTP_SQL_H
#define KVSQL_HTTP_SQL_H

#include "http/json.h"
#include "http/prefer.h"
#include "http/request.h"
#include "http/rows.h"
#include "vtab/session.h"

/* The worker's session with these limits, known to the request so that a lost
 * client interrupts it. NULL: refused, or the client is gone. */
KV_INTERNAL struct vt_session *http_sql_session(struct http_request *request,
                                                struct http_worker *worker,
                                                const struct vt_limits *limits);
/* Whose statements a request runs; static. */
KV_INTERNAL const char *http_sql_user(const struct http_request *request);
/* Done with it. An open transaction is rolled back. */
KV_INTERNAL void http_sql_leave(struct http_request *request,
                                struct http_worker *worker);
#define HTTP_SQL_OFFSET_SIZE 32
/* Where the session's last error was, as an extra of http_fail(): `out`, or
 * NULL when it was nowhere. */
KV_INTERNAL const char *http_sql_offset(const struct vt_session *session,
                                        char out[HTTP_SQL_OFFSET_SIZE]);
/* Bind the JSON array or object at token `params` (0 = none) and, with
 * `query`, the request's p. parameters; all of the statement's must be given.
 * KVSQL_INVALID names the one that is wrong. */
KV_INTERNAL kvsql_rc http_sql_bind(struct http_request *request,
                                   struct vt_statement *statement,
                                   const struct http_json *json,
                                   uint32_t params, bool query,
                                   struct kvsql_error *err) KV_MUST_USE;
/* sqlwrite.c: is a writing statement's fate decided only when it has run? */
KV_INTERNAL bool http_sql_decided(const struct http_request *request,
                                  const struct http_prefer *prefer);
/* Run one that is bound in a transaction, and answer; the session may be left in
 * it, to be rolled back. Not of HTTP_ROWS_FILE. */
KV_INTERNAL void http_sql_write(struct http_rows *rows,
                                struct vt_session *session,
                                struct vt_statement *statement,
                                const struct http_prefer *prefer);
/* All rows of the statement as an SQLite file in the answer, and how many they
 * are. TOOBIG: over a limit of rows or bytes; INVALID: a statement without
 * rows, which has not run. */
KV_INTERNAL kvsql_rc http_sql_file(struct http_request *request,
                                   struct vt_statement *statement,
                                   uint64_t *count, struct kvsql_error *err)
    KV_MUST_USE;

#endif
