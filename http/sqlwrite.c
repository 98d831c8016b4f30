/* sqlwrite.c - a statement that writes, in a transaction of its own: for what is
 * decided when it has run.
 *
 *   Idempotency-Key         its answer becomes a part of what it wrote (again.h)
 *   Prefer: max-affected=n  more rows changed: 409, and none is
 *   Prefer: tx=rollback     it is done, told and taken back
 *
 * Nothing of the answer leaves before the end, so it is made as a whole.
 *
 * Thread: workers. */
#include "http/sql.h"

#include "http/again.h"
#include "http/prefer.h"
#include "kvsql/base/os.h"

bool http_sql_decided(const struct http_request *request,
                      const struct http_prefer *prefer)
{
    return http_again_asked(request) || prefer->dry || prefer->has_most;
}

/* Is it the first of its key? False: answered or refused. */
static bool sqlwrite_fresh(struct http_request *request,
                           struct vt_session *session)
{
    struct kvsql_error err;
    struct kv_txn *txn;

    if (!http_again_asked(request))
        return true;
    kvsql_rc rc = vt_write(session, &txn, &err);
    if (rc == KVSQL_OK)
        return http_again_fresh(request, txn);
    http_fail(request, rc, err.text, NULL);
    return false;
}

/* All rows into the answer. False: refused. */
static bool sqlwrite_rows(struct http_rows *rows, struct vt_session *session,
                          struct vt_statement *statement)
{
    struct kvsql_error err;
    char extra[HTTP_SQL_OFFSET_SIZE];
    kvsql_rc rc;
    bool row;

    rows->whole = true;
    http_rows_begin(rows);
    while ((rc = vt_step(statement, &row, &err)) == KVSQL_OK && row)
        if (!http_rows_add(rows)) {
            rc = kv_fail(&err, KVSQL_NOMEM, "no memory for the rows");
            break;
        }
    if (rc != KVSQL_OK)
        http_rows_fail(rows, rc, err.text, http_sql_offset(session, extra));
    return rc == KVSQL_OK;
}

/* As many as the client allowed? False: refused. */
static bool sqlwrite_few(struct http_request *request, int64_t changes,
                         const struct http_prefer *prefer)
{
    return !prefer->has_most || (uint64_t)changes <= prefer->most ||
           http_prefer_beyond(request, prefer, (uint64_t)changes);
}

/* The end of the answer and of the transaction. */
static void sqlwrite_end(struct http_rows *rows, struct vt_session *session,
                         bool truncated, int64_t changes, uint64_t elapsed_ms,
                         const struct http_prefer *prefer)
{
    struct http_request *request = rows->request;
    const bool keep = http_again_asked(request) && !prefer->dry;
    struct kvsql_error err;
    struct kv_txn *txn;
    kvsql_rc rc = KVSQL_OK;

    if (prefer->dry) {
        vt_rollback(session);
    } else if (!keep) {
        rc = vt_commit(session, &err);
    } else if ((rc = vt_write(session, &txn, &err)) == KVSQL_OK) {
        http_rows_end(rows, truncated, changes, http_again_position(txn),
                      elapsed_ms);
        http_prefer_applied(request, prefer, "");
        if (!http_again_keep(request, txn))
            return; /* who leaves the session rolls back */
        rc = vt_commit(session, &err);
    }
    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
    } else if (!keep) {
        http_rows_end(rows, truncated, changes, vt_position(session),
                      elapsed_ms);
        http_prefer_applied(request, prefer, "");
    }
}

void http_sql_write(struct http_rows *rows, struct vt_session *session,
                    struct vt_statement *statement,
                    const struct http_prefer *prefer)
{
    struct http_request *request = rows->request;
    const uint64_t started_ns = kv_os_mono_ns();
    struct kvsql_error err;
    kvsql_rc rc = vt_begin(session, &err);

    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return;
    }
    if (!sqlwrite_fresh(request, session) ||
        !sqlwrite_rows(rows, session, statement))
        return; /* who leaves the session rolls back */
    const bool truncated = vt_truncated(statement);
    const int64_t changes = vt_changes(session);
    if (sqlwrite_few(request, changes, prefer))
        sqlwrite_end(rows, session, truncated, changes,
                     (kv_os_mono_ns() - started_ns) / 1000000, prefer);
}
