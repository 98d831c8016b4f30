/* batch.c - /v1/batch: commands and SQL in one transaction, all or nothing.
 *
 *   {"atomic":true, "if":[{"key":"k","version":7}],
 *    "ops":[["SET","k","v"], {"sql":"DELETE FROM sets WHERE key = ?",
 *                             "params":["s"]}]}
 *
 * Commands alone run in a txn of the store. As soon as one op is SQL, the
 * whole batch runs in one SQL transaction, and its commands in the txn behind
 * it. Either way the conditions of "if" are checked before the first op: under
 * the store's lock in the first case, in the second by what the transaction
 * reads, since a store that moves on between that and the first write ends it
 * with KVSQL_SNAPSHOT.
 *
 * With "atomic":false each op runs by itself and errors stand in the results.
 *
 * Thread: workers. */
#include <stdio.h>
#include <string.h>

#include "http/prefer.h"
#include "http/sql.h"
#include "http/tier1.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define BATCH_OPS_MAX 10000
#define BATCH_TXN_WAIT_MS 5000

struct batch_op {
    unsigned argc;       /* a command */
    kvsql_slice *argv;   /* NULL: SQL */
    kvsql_slice sql;
    uint32_t params;     /* token, 0 = none */
};

struct batch {
    struct http_request *request;
    struct http_worker *worker;
    struct http_json json;
    struct batch_op *ops;
    unsigned count;
    uint32_t conditions; /* token "if", 0 = none */
    bool atomic, has_sql, dry; /* dry: Prefer: tx=rollback */
    struct kv_buf results;
};

/* ---- reading ------------------------------------------------------------------ */

static bool batch_bad(struct batch *batch, const char *what)
{
    http_refuse(batch->request, HTTP_P_JSON, "%s", what);
    return false;
}

static bool batch_sql_op(struct batch *batch, uint32_t at, struct batch_op *op)
{
    static const char *const names[] = {"sql", "params", NULL};
    const struct http_json *json = &batch->json;
    struct kvsql_error err;
    uint32_t sql = http_json_find(json, at, "sql");

    if (http_json_only(json, at, names, &err) != KVSQL_OK)
        return batch_bad(batch, err.text);
    if (sql == 0 || json->tokens[sql].kind != HTTP_JSON_STRING)
        return batch_bad(batch, "an op is a command or has a string \"sql\"");
    op->sql = http_json_slice(&json->tokens[sql]);
    op->params = http_json_find(json, at, "params");
    if (json->tokens[op->params].kind == HTTP_JSON_NULL)
        op->params = 0;
    batch->has_sql = true;
    return true;
}

static bool batch_ops(struct batch *batch, uint32_t list)
{
    const struct http_json_token *tokens = batch->json.tokens;
    uint32_t count = tokens[list].count;

    if (list == 0 || tokens[list].kind != HTTP_JSON_ARRAY || count == 0 ||
        count > BATCH_OPS_MAX)
        return batch_bad(batch, "\"ops\" must be there: an array of 1 to "
                                "10000 commands and statements");
    batch->ops = http_alloc(batch->request, count * sizeof *batch->ops);
    if (batch->ops == NULL) {
        http_fail(batch->request, KVSQL_NOMEM, "no memory for the ops", NULL);
        return false;
    }
    for (uint32_t i = list + 1; i < tokens[list].next; i = tokens[i].next) {
        struct batch_op *op = &batch->ops[batch->count];
        *op = (struct batch_op){0};
        if (tokens[i].kind == HTTP_JSON_OBJECT) {
            if (!batch_sql_op(batch, i, op))
                return false;
        } else {
            op->argv = http_words(batch->request, &batch->json, i,
                                  &op->argc);
            if (op->argv == NULL)
                return false;
        }
        batch->count++;
    }
    return true;
}

/* Is the "if" of the right shape? What it says is looked at later. */
static bool batch_conditions(struct batch *batch)
{
    static const char *const names[] = {"key", "version", NULL};
    const struct http_json *json = &batch->json;
    const struct http_json_token *tokens = json->tokens;
    uint32_t list = batch->conditions;
    struct kvsql_error err;
    uint64_t version;

    if (list == 0)
        return true;
    if (tokens[list].kind != HTTP_JSON_ARRAY || !batch->atomic)
        return batch_bad(batch, "\"if\" is an array and needs \"atomic\"");
    for (uint32_t i = list + 1; i < tokens[list].next; i = tokens[i].next) {
        uint32_t key = http_json_find(json, i, "key");
        uint32_t number = http_json_find(json, i, "version");
        if (tokens[i].kind != HTTP_JSON_OBJECT || key == 0 || number == 0 ||
            tokens[key].kind != HTTP_JSON_STRING ||
            !kv_num_uint(tokens[number].p, tokens[number].size, &version))
            return batch_bad(batch, "an element of \"if\" has a string "
                                    "\"key\" and a number \"version\" (0: "
                                    "must be absent)");
        if (http_json_only(json, i, names, &err) != KVSQL_OK)
            return batch_bad(batch, err.text);
    }
    return true;
}

static bool batch_read(struct batch *batch)
{
    static const char *const names[] = {"atomic", "if", "ops", NULL};
    struct http_request *request = batch->request;
    struct http_json *json = &batch->json;
    struct http_prefer prefer;
    struct kvsql_error err;
    kvsql_rc rc = http_json_parse(
        json, request->body.p ? request->body.p : (uint8_t *)(uintptr_t)"",
        request->body.size, &err);

    if (rc == KVSQL_TOOBIG || rc == KVSQL_NOMEM) {
        http_fail(request, rc, err.text, NULL);
        return false;
    }
    if (rc == KVSQL_OK && json->tokens[0].kind != HTTP_JSON_OBJECT)
        rc = kv_fail(&err, KVSQL_SYNTAX, "the body is an object with \"ops\"");
    if (rc == KVSQL_OK)
        rc = http_json_only(json, 0, names, &err);
    if (rc != KVSQL_OK)
        return batch_bad(batch, err.text);
    uint32_t atomic = http_json_find(json, 0, "atomic");
    batch->atomic =
        atomic == 0 || json->tokens[atomic].kind == HTTP_JSON_TRUE;
    if (atomic != 0 && !batch->atomic &&
        json->tokens[atomic].kind != HTTP_JSON_FALSE)
        return batch_bad(batch, "\"atomic\" is true or false");
    batch->conditions = http_json_find(json, 0, "if");
    if (!http_prefer_read(request, &prefer))
        return false;
    batch->dry = prefer.dry;
    if (batch->dry && !batch->atomic)
        return batch_bad(batch, "Prefer: tx=rollback needs \"atomic\"");
    return batch_conditions(batch) &&
           batch_ops(batch, http_json_find(json, 0, "ops"));
}

/* ---- results --------------------------------------------------------------------- */

static void batch_failed(struct batch *batch, unsigned index, kvsql_rc rc,
                         const char *text)
{
    char extra[48];

    snprintf(extra, sizeof extra, ",\"failed_index\":%u", index);
    http_fail(batch->request, rc, text, extra);
}

static void batch_moved(struct batch *batch, uint32_t key, uint64_t version)
{
    const struct http_json_token *token = &batch->json.tokens[key];
    char shown[128], text[192], extra[48];

    snprintf(text, sizeof text, "key '%s' is at version %llu",
             kv_text_show(shown, sizeof shown, token->p, token->size),
             (unsigned long long)version);
    snprintf(extra, sizeof extra, ",\"current\":%llu",
             (unsigned long long)version);
    http_refuse_with(batch->request, HTTP_P_VERSION, text, extra);
}

static void batch_done(struct batch *batch, uint64_t position)
{
    struct http_request *request = batch->request;
    struct kv_buf *out = &request->answer.body;

    http_answer(request, 200, HTTP_TYPE_JSON);
    kv_buf_printf(out, "{\"position\":%llu,%s\"results\":[",
                  (unsigned long long)position,
                  batch->dry ? "\"rolled_back\":true," : "");
    if (batch->results.failed)
        out->failed = true;
    kv_buf_add(out, batch->results.p, batch->results.size);
    kv_buf_text(out, "]}");
    if (batch->dry)
        http_answer_header(request, "Preference-Applied", "tx=rollback");
    http_answer_header(request, "X-KVSQL-Position", "%llu",
                       (unsigned long long)position);
}

static void batch_comma(struct batch *batch)
{
    if (batch->results.size > 0)
        kv_buf_byte(&batch->results, ',');
}

/* An error among the results of a batch that is not atomic. */
static void batch_error(struct batch *batch, kvsql_rc rc, const char *text)
{
    char id[65];

    kv_buf_text(&batch->results, "{\"error\":");
    http_problem_body(&batch->results, rc, text,
                      http_request_id(batch->request, id), NULL);
    kv_buf_byte(&batch->results, '}');
}

/* The sentence of an error reply. */
static const char *batch_reply_text(const struct cmd_reply *reply,
                                    char out[KVSQL_ERROR_SIZE])
{
    struct cmd_item item;
    size_t offset = 0;

    out[0] = 0;
    if (cmd_reply_next(reply, &offset, &item) &&
        item.kind == CMD_REPLY_ERROR)
        snprintf(out, KVSQL_ERROR_SIZE, "%.*s", (int)item.size,
                 (const char *)item.p);
    return out;
}

/* ---- commands alone ---------------------------------------------------------------- */

static bool batch_check(struct batch *batch)
{
    struct kvsql_error err;

    for (unsigned i = 0; i < batch->count; i++) {
        const struct batch_op *op = &batch->ops[i];
        if (op->argv == NULL)
            continue;
        kvsql_rc rc = cmd_check(op->argc, op->argv, true, true, &err);
        if (rc != KVSQL_OK) {
            batch_failed(batch, i, rc, err.text);
            return false;
        }
    }
    return true;
}

/* Under the lock: are the keys at the versions that were asked for? */
static bool batch_holds(struct batch *batch, const struct kv_txn *txn)
{
    const struct http_json *json = &batch->json;
    const struct http_json_token *tokens = json->tokens;
    uint32_t list = batch->conditions;
    struct kv_at at;

    kv_at_txn(txn, &at);
    for (uint32_t i = list + 1; list != 0 && i < tokens[list].next;
         i = tokens[i].next) {
        uint32_t name = http_json_find(json, i, "key");
        uint32_t number = http_json_find(json, i, "version");
        struct kv_key key = kv_key_of(tokens[name].p, tokens[name].size);
        struct kv_item item;
        uint64_t wanted = 0, version = 0;
        if (kv_get(&at, &key, &item))
            version = kv_item_version(&at, &item);
        if (!kv_num_uint(tokens[number].p, tokens[number].size, &wanted) ||
            wanted != version) {
            batch_moved(batch, name, version);
            return false;
        }
    }
    return true;
}

static bool batch_run_commands(struct batch *batch, struct kv_txn *txn)
{
    char text[KVSQL_ERROR_SIZE];
    struct cmd_reply reply;
    kvsql_rc rc = KVSQL_OK;

    cmd_reply_init(&reply, HTTP_REPLY_MAX);
    for (unsigned i = 0; rc == KVSQL_OK && i < batch->count; i++) {
        cmd_reply_reset(&reply);
        rc = cmd_run_in(txn, batch->ops[i].argc, batch->ops[i].argv, &reply);
        if (rc != KVSQL_OK) {
            batch_failed(batch, i, rc, batch_reply_text(&reply, text));
        } else {
            batch_comma(batch);
            (void)http_reply_object(&batch->results, &reply, false);
        }
    }
    cmd_reply_fini(&reply);
    return rc == KVSQL_OK;
}

static void batch_commands(struct batch *batch)
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
    if (!batch_holds(batch, txn) || !batch_run_commands(batch, txn)) {
        kv_txn_rollback(txn);
        return;
    }
    if (batch->dry) {
        kv_txn_rollback(txn);
    } else if ((rc = kv_txn_commit(txn, &ticket, &err)) != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return;
    }
    request->ticket = ticket;
    request->has_ticket = !batch->dry;
    batch_done(batch, ticket.position);
}

/* ---- SQL ---------------------------------------------------------------------------- */

/* Rows of a statement as one result. */
static kvsql_rc batch_rows(struct batch *batch, struct vt_session *session,
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

static kvsql_rc batch_statement(struct batch *batch,
                                struct vt_session *session,
                                const struct batch_op *op,
                                struct kvsql_error *err)
{
    struct vt_statement *statement = NULL;
    size_t before = batch->results.size;
    kvsql_rc rc = vt_prepare(session, op->sql.p, op->sql.size, NULL,
                             &statement, err);

    if (rc == KVSQL_OK && statement == NULL)
        rc = kv_fail(err, KVSQL_SYNTAX, "there is no statement in the text");
    if (rc == KVSQL_OK)
        rc = http_sql_bind(batch->request, statement, &batch->json,
                           op->params, false, err);
    if (rc == KVSQL_OK) {
        batch_comma(batch);
        rc = batch_rows(batch, session, statement, err);
    }
    if (statement != NULL)
        vt_finish(statement);
    if (rc != KVSQL_OK && batch->results.size > before)
        batch->results.size = before; /* nothing of it is told */
    return rc;
}

/* A command inside the SQL transaction. */
static kvsql_rc batch_exec(struct batch *batch, struct vt_session *session,
                           const struct batch_op *op, struct kvsql_error *err)
{
    char text[KVSQL_ERROR_SIZE];
    struct cmd_reply reply;
    struct kv_txn *txn;
    kvsql_rc rc = vt_write(session, &txn, err);

    if (rc != KVSQL_OK)
        return rc;
    cmd_reply_init(&reply, HTTP_REPLY_MAX);
    rc = cmd_run_in(txn, op->argc, op->argv, &reply);
    if (rc != KVSQL_OK) {
        rc = kv_fail(err, rc, "%s", batch_reply_text(&reply, text));
    } else {
        batch_comma(batch);
        (void)http_reply_object(&batch->results, &reply, false);
    }
    cmd_reply_fini(&reply);
    return rc;
}

/* The conditions, read by the transaction that will write. */
static bool batch_holds_sql(struct batch *batch, struct vt_session *session,
                            kvsql_rc *rc, struct kvsql_error *err)
{
    const struct http_json *json = &batch->json;
    const struct http_json_token *tokens = json->tokens;
    uint32_t list = batch->conditions;

    *rc = KVSQL_OK;
    for (uint32_t i = list + 1; list != 0 && i < tokens[list].next;
         i = tokens[i].next) {
        static const char sql[] = "SELECT version FROM keys WHERE key = ?1";
        uint32_t name = http_json_find(json, i, "key");
        kvsql_slice wanted =
            http_json_slice(&tokens[http_json_find(json, i, "version")]);
        struct vt_statement *statement = NULL;
        struct vt_value value = {
            .kind = kv_class_of(tokens[name].p, tokens[name].size) == KV_BLOB
                        ? VT_BLOB
                        : VT_TEXT,
            .p = tokens[name].p,
            .size = tokens[name].size};
        uint64_t number = 0;
        bool row = false;
        *rc = vt_prepare(session, sql, sizeof sql - 1, NULL, &statement, err);
        if (*rc == KVSQL_OK)
            *rc = vt_bind(statement, 1, &value, err);
        if (*rc == KVSQL_OK)
            *rc = vt_step(statement, &row, err);
        value.integer = 0;
        if (*rc == KVSQL_OK && row)
            vt_column(statement, 0, &value);
        if (statement != NULL)
            vt_finish(statement);
        if (*rc != KVSQL_OK)
            return false;
        if (!kv_num_uint(wanted.p, wanted.size, &number) ||
            number != (uint64_t)value.integer) {
            batch_moved(batch, name, (uint64_t)value.integer);
            return false;
        }
    }
    return true;
}

static bool batch_run_sql(struct batch *batch, struct vt_session *session)
{
    struct kvsql_error err;
    kvsql_rc rc = vt_begin(session, &err);

    if (rc != KVSQL_OK ||
        !batch_holds_sql(batch, session, &rc, &err)) {
        if (rc != KVSQL_OK)
            http_fail(batch->request, rc, err.text, NULL);
        return false;
    }
    for (unsigned i = 0; i < batch->count; i++) {
        const struct batch_op *op = &batch->ops[i];
        rc = op->argv ? batch_exec(batch, session, op, &err)
                      : batch_statement(batch, session, op, &err);
        if (rc != KVSQL_OK) {
            batch_failed(batch, i, rc, err.text);
            return false;
        }
        if (!vt_in_transaction(session)) {
            batch_failed(batch, i, KVSQL_AUTH,
                         "BEGIN, COMMIT and ROLLBACK are the batch's own");
            return false;
        }
    }
    if (batch->dry)
        vt_rollback(session);
    else
        rc = vt_commit(session, &err);
    if (rc != KVSQL_OK)
        http_fail(batch->request, rc, err.text, NULL);
    return rc == KVSQL_OK;
}

/* ---- not atomic ------------------------------------------------------------------------ */

static void batch_each_command(struct batch *batch, const struct batch_op *op)
{
    struct http_request *request = batch->request;
    kvsql *db = atomic_load(&request->server->db);
    char text[KVSQL_ERROR_SIZE];
    struct kv_ticket ticket = {0};
    struct cmd_reply reply;
    struct kvsql_error err;
    kvsql_rc rc = cmd_check(op->argc, op->argv, false, true, &err);

    batch_comma(batch);
    if (rc != KVSQL_OK) {
        batch_error(batch, rc, err.text);
        return;
    }
    cmd_reply_init(&reply, HTTP_REPLY_MAX);
    cmd_run(db, op->argc, op->argv, true, &reply, &ticket);
    if (reply.rc != KVSQL_OK)
        batch_error(batch, reply.rc, batch_reply_text(&reply, text));
    else
        (void)http_reply_object(&batch->results, &reply, false);
    cmd_reply_fini(&reply);
    if (!request->has_ticket || ticket.position >= request->ticket.position)
        request->ticket = ticket;
    request->has_ticket = true;
}

static void batch_each(struct batch *batch, struct vt_session *session)
{
    uint64_t position = 0;

    for (unsigned i = 0; i < batch->count; i++) {
        const struct batch_op *op = &batch->ops[i];
        struct kvsql_error err;
        if (op->argv != NULL) {
            batch_each_command(batch, op);
            continue;
        }
        kvsql_rc rc = batch_statement(batch, session, op, &err);
        if (vt_in_transaction(session)) {
            vt_rollback(session);
            rc = kv_fail(&err, KVSQL_AUTH,
                         "BEGIN, COMMIT and ROLLBACK are the batch's own");
        }
        if (rc != KVSQL_OK) {
            batch_comma(batch);
            batch_error(batch, rc, err.text);
        }
        if (vt_position(session) > position)
            position = vt_position(session);
    }
    if (batch->request->has_ticket &&
        batch->request->ticket.position > position)
        position = batch->request->ticket.position;
    batch_done(batch, position);
}

/* ---- work ------------------------------------------------------------------------------- */

static void batch_with_session(struct batch *batch)
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
    else if (batch_run_sql(batch, session))
        batch_done(batch, vt_position(session));
    http_sql_leave(batch->request, batch->worker);
}

static void batch_work(struct http_request *request,
                       struct http_worker *worker)
{
    struct batch batch = {.request = request, .worker = worker};

    kv_buf_init(&batch.results, KV_MEM_CLIENT, HTTP_REPLY_MAX);
    if (batch_read(&batch) && (!batch.atomic || batch_check(&batch))) {
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
