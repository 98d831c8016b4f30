/* batch.c - /v1/batch: commands and SQL in one transaction, all or nothing.
 *
 *   {"atomic":true, "if":[{"key":"k","version":7}],
 *    "ops":[["SET","k","v"], {"sql":"DELETE FROM sets WHERE key = ?",
 *                             "params":["s"]}]}
 *
 * Commands alone run in a txn of the store. As soon as one op is SQL, the
 * whole batch runs in one SQL transaction, and its commands in the txn behind
 * it (batch_sql.c). Either way the conditions of "if" are checked before the
 * first op: under the store's lock in the first case, in the second by what the
 * transaction reads, since a store that moves on between that and the first
 * write ends it with KVSQL_SNAPSHOT.
 *
 * With "atomic":false each op runs by itself and errors stand in the results.
 *
 * Thread: workers. */
#include "http/batch.h"

#include <stdio.h>
#include <string.h>

#include "http/again.h"
#include "http/tier1.h"
#include "kvsql/base/text.h"

#define BATCH_TXN_WAIT_MS 5000

/* ---- results --------------------------------------------------------------------- */

void http_batch_failed(struct http_batch *batch, unsigned index, kvsql_rc rc,
                       const char *text)
{
    char extra[48];

    snprintf(extra, sizeof extra, ",\"failed_index\":%u", index);
    http_fail(batch->request, rc, text, extra);
}

void http_batch_moved(struct http_batch *batch,
                      const struct http_batch_if *condition, uint64_t version)
{
    char shown[128], text[192], extra[48];

    snprintf(text, sizeof text, "key '%s' is at version %llu",
             kv_text_show(shown, sizeof shown, condition->key.p,
                          condition->key.size),
             (unsigned long long)version);
    snprintf(extra, sizeof extra, ",\"current\":%llu",
             (unsigned long long)version);
    http_refuse_with(batch->request, HTTP_P_VERSION, text, extra);
}

void http_batch_done(struct http_batch *batch, uint64_t position)
{
    struct http_request *request = batch->request;
    struct kv_buf *out = &request->answer.body;

    http_answer(request, 200, HTTP_TYPE_JSON);
    kv_buf_printf(out, "{\"position\":%llu,%s\"results\":[",
                  (unsigned long long)position,
                  batch->prefer.dry ? "\"rolled_back\":true," : "");
    if (batch->results.failed)
        out->failed = true;
    kv_buf_add(out, batch->results.p, batch->results.size);
    kv_buf_text(out, "]}");
    http_prefer_applied(request, &batch->prefer, "");
    http_answer_header(request, "X-KVSQL-Position", "%llu",
                       (unsigned long long)position);
}

void http_batch_comma(struct http_batch *batch)
{
    if (batch->results.size > 0)
        kv_buf_byte(&batch->results, ',');
}

/* An error among the results of a batch that is not atomic. */
static void batch_error(struct http_batch *batch, kvsql_rc rc, const char *text)
{
    char id[65];

    kv_buf_text(&batch->results, "{\"error\":");
    http_problem_body(&batch->results, rc, text,
                      http_request_id(batch->request, id), NULL);
    kv_buf_byte(&batch->results, '}');
}

/* The sentence of an error reply. */
const char *http_batch_reply_text(const struct cmd_reply *reply,
                                  char out[KVSQL_ERROR_SIZE])
{
    struct cmd_item item;
    size_t offset = 0;

    out[0] = 0;
    if (cmd_reply_next(reply, &offset, &item) && item.kind == CMD_REPLY_ERROR)
        snprintf(out, KVSQL_ERROR_SIZE, "%.*s", (int)item.size,
                 (const char *)item.p);
    return out;
}

/* With an Idempotency-Key the answer is made before the commit and kept with
 * the effect. False: refused. */
bool http_batch_keep(struct http_batch *batch, struct kv_txn *txn)
{
    if (!http_again_asked(batch->request))
        return true;
    http_batch_done(batch, http_again_position(txn));
    return http_again_keep(batch->request, txn);
}

/* As many changes as the client allowed? False: refused. */
bool http_batch_few(struct http_batch *batch)
{
    return !batch->prefer.has_most ||
           batch->changes <= batch->prefer.most ||
           http_prefer_beyond(batch->request, &batch->prefer, batch->changes);
}

/* ---- commands alone ---------------------------------------------------------------- */

static bool batch_check(struct http_batch *batch)
{
    struct kvsql_error err;

    for (unsigned i = 0; i < batch->count; i++) {
        const struct http_batch_op *op = &batch->ops[i];
        if (op->argv == NULL)
            continue;
        kvsql_rc rc = cmd_check(op->argc, op->argv, true, true, &err);
        if (rc != KVSQL_OK) {
            http_batch_failed(batch, i, rc, err.text);
            return false;
        }
    }
    return true;
}

/* Under the lock: are the keys at the versions that were asked for? */
static bool batch_holds(struct http_batch *batch, const struct kv_txn *txn)
{
    struct kv_at at;

    kv_at_txn(txn, &at);
    for (unsigned i = 0; i < batch->condition_count; i++) {
        const struct http_batch_if *condition = &batch->conditions[i];
        struct kv_key key = kv_key_of(condition->key.p, condition->key.size);
        struct kv_item item;
        uint64_t version = 0;
        if (kv_get(&at, &key, &item))
            version = kv_item_version(&at, &item);
        if (condition->version != version) {
            http_batch_moved(batch, condition, version);
            return false;
        }
    }
    return true;
}

static bool batch_run_commands(struct http_batch *batch, struct kv_txn *txn)
{
    char text[KVSQL_ERROR_SIZE];
    struct cmd_reply reply;
    kvsql_rc rc = KVSQL_OK;

    cmd_reply_init(&reply, HTTP_REPLY_MAX);
    for (unsigned i = 0; rc == KVSQL_OK && i < batch->count; i++) {
        cmd_reply_reset(&reply);
        rc = cmd_run_in(txn, batch->ops[i].argc, batch->ops[i].argv, &reply);
        if (rc != KVSQL_OK) {
            http_batch_failed(batch, i, rc,
                              http_batch_reply_text(&reply, text));
        } else {
            http_batch_comma(batch);
            (void)http_reply_object(&batch->results, &reply, false);
        }
    }
    cmd_reply_fini(&reply);
    batch->changes = kv_txn_count(txn);
    return rc == KVSQL_OK && http_batch_few(batch);
}

/* Conditions, commands, answer; false: refused. */
static bool batch_in(struct http_batch *batch, struct kv_txn *txn)
{
    return http_again_fresh(batch->request, txn) && batch_holds(batch, txn) &&
           batch_run_commands(batch, txn) &&
           (batch->prefer.dry || http_batch_keep(batch, txn));
}

static void batch_commands(struct http_batch *batch)
{
    struct http_request *request = batch->request;
    kvsql *db = atomic_load(&request->server->db);
    struct kv_ticket ticket = {0};
    struct kvsql_error err;
    struct kv_txn *txn;
    kvsql_rc rc = kv_txn_begin(db, true, BATCH_TXN_WAIT_MS, &txn, &err);

    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return;
    }
    request->ticket = kv_txn_ticket(txn); /* what is refused tells, too */
    request->has_ticket = true;
    if (!batch_in(batch, txn)) {
        kv_txn_rollback(txn);
        return;
    }
    if (batch->prefer.dry) {
        kv_txn_rollback(txn);
    } else if ((rc = kv_txn_commit(txn, &ticket, &err)) != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return;
    }
    if (!batch->prefer.dry)
        request->ticket = ticket;
    if (!http_again_asked(request) || batch->prefer.dry)
        http_batch_done(batch, ticket.position);
}

/* ---- not atomic ------------------------------------------------------------------------ */

static void batch_each_command(struct http_batch *batch,
                               const struct http_batch_op *op)
{
    struct http_request *request = batch->request;
    kvsql *db = atomic_load(&request->server->db);
    char text[KVSQL_ERROR_SIZE];
    struct kv_ticket ticket = {0};
    struct cmd_reply reply;
    struct kvsql_error err;
    kvsql_rc rc = cmd_check(op->argc, op->argv, false, true, &err);

    http_batch_comma(batch);
    if (rc != KVSQL_OK) {
        batch_error(batch, rc, err.text);
        return;
    }
    cmd_reply_init(&reply, HTTP_REPLY_MAX);
    cmd_run(db, op->argc, op->argv, true, &reply, &ticket);
    if (reply.rc != KVSQL_OK)
        batch_error(batch, reply.rc, http_batch_reply_text(&reply, text));
    else
        (void)http_reply_object(&batch->results, &reply, false);
    cmd_reply_fini(&reply);
    if (!request->has_ticket || ticket.position >= request->ticket.position)
        request->ticket = ticket;
    request->has_ticket = true;
}

static void batch_each(struct http_batch *batch, struct vt_session *session)
{
    uint64_t position = 0;

    for (unsigned i = 0; i < batch->count; i++) {
        const struct http_batch_op *op = &batch->ops[i];
        struct kvsql_error err;
        if (op->argv != NULL) {
            batch_each_command(batch, op);
            continue;
        }
        kvsql_rc rc = http_batch_statement(batch, session, op, &err);
        if (vt_in_transaction(session)) {
            vt_rollback(session);
            rc = kv_fail(&err, KVSQL_AUTH,
                         "BEGIN, COMMIT and ROLLBACK are the batch's own");
        }
        if (rc != KVSQL_OK) {
            http_batch_comma(batch);
            batch_error(batch, rc, err.text);
        }
        if (vt_position(session) > position)
            position = vt_position(session);
    }
    if (batch->request->has_ticket &&
        batch->request->ticket.position > position)
        position = batch->request->ticket.position;
    http_batch_done(batch, position);
}

/* ---- work ------------------------------------------------------------------------------- */

static void batch_with_session(struct http_batch *batch)
{
    const struct http_server *server = batch->request->server;
    struct vt_limits limits = {.admin =
                                   batch->request->rights == HTTP_RIGHT_ALL,
                               .user = http_sql_user(batch->request),
                               .deadline_ms = server->sql_deadline_ms,
                               .row_max = server->sql_row_max,
                               .byte_max = server->sql_byte_max};
    struct vt_session *session =
        http_sql_session(batch->request, batch->worker, &limits);

    if (session == NULL)
        return;
    if (!batch->atomic)
        batch_each(batch, session);
    else
        http_batch_sql(batch, session);
    http_sql_leave(batch->request, batch->worker);
}

static void batch_work(struct http_request *request, struct http_worker *worker)
{
    struct http_batch batch = {.request = request, .worker = worker};

    kv_buf_init(&batch.results, KV_MEM_CLIENT, HTTP_REPLY_MAX);
    if (http_batch_read(&batch) && (!batch.atomic || batch_check(&batch))) {
        if (batch.atomic && !batch.has_sql)
            batch_commands(&batch);
        else
            batch_with_session(&batch);
    }
    kv_buf_fini(&batch.results);
    http_json_fini(&batch.json);
}

enum http_next http_do_batch(struct http_request *request)
{
    request->work = batch_work;
    return HTTP_NEXT_WORK;
}
