/* batch_sql.c - a batch with statements: one SQL transaction (batch.c).
 *
 * Thread: workers. */
#include <string.h>

#include "http/again.h"
#include "http/batch.h"
#include "http/tier1.h"

/* ---- ops ----------------------------------------------------------------------------- */

/* Rows of a statement as one result. */
static kvsql_rc batch_rows(struct http_batch *batch, struct vt_session *session,
                           struct vt_statement *statement,
                           struct kvsql_error *err)
{
    struct kv_buf *out = &batch->results;
    int columns = vt_column_count(statement);
    uint64_t count = 0;
    kvsql_rc rc;
    bool row;

    kv_buf_text(out, columns > 0 ? "{\"columns\":[" : "{");
    for (int i = 0; i < columns; i++) {
        if (i > 0)
            kv_buf_byte(out, ',');
        http_json_text(out, vt_column_name(statement, i));
    }
    if (columns > 0)
        kv_buf_text(out, "],\"rows\":[");
    while ((rc = vt_step(statement, &row, err)) == KVSQL_OK && row) {
        kv_buf_text(out, count++ ? ",[" : "[");
        for (int i = 0; i < columns; i++) {
            struct vt_value value;
            if (i > 0)
                kv_buf_byte(out, ',');
            vt_column(statement, i, &value);
            http_rows_value(out, &value, false);
        }
        kv_buf_byte(out, ']');
    }
    if (columns > 0)
        kv_buf_printf(out, "],\"truncated\":%s",
                      vt_truncated(statement) ? "true" : "false");
    if (!vt_is_readonly(statement))
        kv_buf_printf(out, "%s\"changes\":%lld", columns > 0 ? "," : "",
                      (long long)vt_changes(session));
    kv_buf_byte(out, '}');
    return rc;
}

kvsql_rc http_batch_statement(struct http_batch *batch,
                              struct vt_session *session,
                              const struct http_batch_op *op,
                              struct kvsql_error *err)
{
    struct vt_statement *statement = NULL;
    size_t before = batch->results.size;
    kvsql_rc rc =
        vt_prepare(session, op->sql.p, op->sql.size, NULL, &statement, err);

    if (rc == KVSQL_OK && statement == NULL)
        rc = kv_fail(err, KVSQL_SYNTAX, "there is no statement in the text");
    if (rc == KVSQL_OK)
        rc = http_sql_bind(batch->request, statement, &batch->json, op->params,
                           false, err);
    if (rc == KVSQL_OK) {
        http_batch_comma(batch);
        rc = batch_rows(batch, session, statement, err);
    }
    if (rc == KVSQL_OK && !vt_is_readonly(statement))
        batch->changes += (uint64_t)vt_changes(session);
    if (statement != NULL)
        vt_finish(statement);
    if (rc != KVSQL_OK && batch->results.size > before)
        batch->results.size = before; /* nothing of it is told */
    return rc;
}

/* A command inside the SQL transaction. */
static kvsql_rc batch_exec(struct http_batch *batch, struct vt_session *session,
                           const struct http_batch_op *op,
                           struct kvsql_error *err)
{
    char text[KVSQL_ERROR_SIZE];
    struct cmd_reply reply;
    struct kv_txn *txn;
    kvsql_rc rc = vt_write(session, &txn, err);

    if (rc != KVSQL_OK)
        return rc;
    const uint64_t before = kv_txn_count(txn);
    cmd_reply_init(&reply, HTTP_REPLY_MAX);
    rc = cmd_run_in(txn, op->argc, op->argv, &reply);
    batch->changes += kv_txn_count(txn) - before;
    if (rc != KVSQL_OK) {
        rc = kv_fail(err, rc, "%s", http_batch_reply_text(&reply, text));
    } else {
        http_batch_comma(batch);
        (void)http_reply_object(&batch->results, &reply, false);
    }
    cmd_reply_fini(&reply);
    return rc;
}

/* Version of a key in the transaction that will write; 0: it is absent. */
static kvsql_rc batch_version(struct vt_session *session, kvsql_slice key,
                              uint64_t *version, struct kvsql_error *err)
{
    static const char sql[] = "SELECT version FROM keys WHERE key = ?1";
    struct vt_statement *statement = NULL;
    struct vt_value value = {
        .kind = kv_class_of(key.p, key.size) == KV_BLOB ? VT_BLOB : VT_TEXT,
        .p = key.p,
        .size = key.size};
    bool row = false;
    kvsql_rc rc =
        vt_prepare(session, sql, sizeof sql - 1, NULL, &statement, err);

    if (rc == KVSQL_OK)
        rc = vt_bind(statement, 1, &value, err);
    if (rc == KVSQL_OK)
        rc = vt_step(statement, &row, err);
    value.integer = 0;
    if (rc == KVSQL_OK && row)
        vt_column(statement, 0, &value);
    if (statement != NULL)
        vt_finish(statement);
    *version = (uint64_t)value.integer;
    return rc;
}

/* False: refused. */
static bool batch_holds_sql(struct http_batch *batch,
                            struct vt_session *session)
{
    for (unsigned i = 0; i < batch->condition_count; i++) {
        const struct http_batch_if *condition = &batch->conditions[i];
        struct kvsql_error err;
        uint64_t version;
        kvsql_rc rc = batch_version(session, condition->key, &version, &err);
        if (rc != KVSQL_OK) {
            http_fail(batch->request, rc, err.text, NULL);
            return false;
        }
        if (version != condition->version) {
            http_batch_moved(batch, condition, version);
            return false;
        }
    }
    return true;
}

/* With an Idempotency-Key: the first of it? The transaction writes from here
 * on, so that nobody comes between. False: refused, or answered. */
static bool batch_fresh_sql(struct http_batch *batch,
                            struct vt_session *session)
{
    struct kvsql_error err;
    struct kv_txn *txn;

    if (!http_again_asked(batch->request))
        return true;
    kvsql_rc rc = vt_write(session, &txn, &err);
    if (rc == KVSQL_OK)
        return http_again_fresh(batch->request, txn);
    http_fail(batch->request, rc, err.text, NULL);
    return false;
}

static bool batch_keep_sql(struct http_batch *batch, struct vt_session *session)
{
    struct kvsql_error err;
    struct kv_txn *txn;

    if (!http_again_asked(batch->request))
        return true;
    kvsql_rc rc = vt_write(session, &txn, &err);
    if (rc == KVSQL_OK)
        return http_batch_keep(batch, txn);
    http_fail(batch->request, rc, err.text, NULL);
    return false;
}

/* All ops, each in its place. False: refused. */
static bool batch_ops_sql(struct http_batch *batch, struct vt_session *session)
{
    for (unsigned i = 0; i < batch->count; i++) {
        const struct http_batch_op *op = &batch->ops[i];
        struct kvsql_error err;
        kvsql_rc rc = op->argv ? batch_exec(batch, session, op, &err)
                               : http_batch_statement(batch, session, op, &err);
        if (rc != KVSQL_OK) {
            http_batch_failed(batch, i, rc, err.text);
            return false;
        }
        if (!vt_in_transaction(session)) {
            http_batch_failed(batch, i, KVSQL_AUTH,
                              "BEGIN, COMMIT and ROLLBACK are the batch's own");
            return false;
        }
    }
    return http_batch_few(batch);
}

void http_batch_sql(struct http_batch *batch, struct vt_session *session)
{
    struct kvsql_error err;
    kvsql_rc rc = vt_begin(session, &err);

    if (rc != KVSQL_OK) {
        http_fail(batch->request, rc, err.text, NULL);
        return;
    }
    if (!batch_fresh_sql(batch, session) || !batch_holds_sql(batch, session) ||
        !batch_ops_sql(batch, session) ||
        (!batch->prefer.dry && !batch_keep_sql(batch, session)))
        return; /* who leaves the session rolls back */
    if (batch->prefer.dry)
        vt_rollback(session);
    else
        rc = vt_commit(session, &err);
    if (rc != KVSQL_OK)
        http_fail(batch->request, rc, err.text, NULL);
    else if (batch->prefer.dry || !http_again_asked(batch->request))
        http_batch_done(batch, vt_position(session));
}
