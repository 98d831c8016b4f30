/* facts.c - what the server knows of itself, under /v1: stats, config, slowlog,
 * clients, commands. The tables of SQL say it, as {"name":value,..} where a row
 * is a name and its value, else as {"items":[{..},..]}; changes are statements
 * and commands.
 *
 * Thread: workers. */
#include <stdio.h>
#include <string.h>

#include "command/command.h"
#include "command/stats.h"
#include "http/again.h"
#include "http/call.h"
#include "http/sql.h"
#include "kvsql/base/num.h"

#define FACTS_WAIT_MS 10000   /* for the store */
#define FACTS_ROWS_MAX 100000 /* clients are the most */

/* ---- a table -------------------------------------------------------------------- */

static const struct facts_table {
    const char *name, *sql;
    bool pairs;
} facts_tables[] = {
    {"clients", "SELECT * FROM clients ORDER BY id", false},
    {"commands", "SELECT * FROM commands ORDER BY name", false},
    {"config", "SELECT name, value FROM config ORDER BY name", true},
    {"slowlog", "SELECT * FROM slowlog ORDER BY id DESC", false},
    {"stats", "SELECT name, value FROM stats ORDER BY name", true},
};

static void facts_row(struct kv_buf *out, const struct vt_statement *statement,
                      bool pairs)
{
    struct vt_value value;

    if (!pairs)
        kv_buf_byte(out, '{');
    for (int i = 0; i < vt_column_count(statement); i++) {
        vt_column(statement, i, &value);
        if (pairs) {
            http_rows_value(out, &value, false);
            if (i == 0)
                kv_buf_byte(out, ':');
            continue;
        }
        if (i > 0)
            kv_buf_byte(out, ',');
        http_json_text(out, vt_column_name(statement, i));
        kv_buf_byte(out, ':');
        http_rows_value(out, &value, false);
    }
    if (!pairs)
        kv_buf_byte(out, '}');
}

static kvsql_rc facts_rows(struct http_request *request,
                           struct vt_session *session,
                           const struct facts_table *table,
                           struct kvsql_error *err)
{
    struct kv_buf *out = &request->answer.body;
    struct vt_statement *statement = NULL;
    bool row = false, first = true;
    kvsql_rc rc = vt_prepare(session, table->sql, strlen(table->sql), NULL,
                             &statement, err);

    http_answer(request, 200, HTTP_TYPE_JSON);
    kv_buf_text(out, table->pairs ? "{" : "{\"items\":[");
    while (rc == KVSQL_OK && (rc = vt_step(statement, &row, err)) == KVSQL_OK &&
           row) {
        if (!first)
            kv_buf_byte(out, ',');
        first = false;
        facts_row(out, statement, table->pairs);
    }
    kv_buf_text(out, table->pairs ? "}" : "]}");
    if (statement != NULL)
        vt_finish(statement);
    return rc;
}

static struct vt_session *facts_session(struct http_request *request,
                                        struct http_worker *worker)
{
    const struct vt_limits limits = {
        .read_only = (request->method & (HTTP_GET | HTTP_HEAD)) != 0,
        .admin = request->rights == HTTP_RIGHT_ALL,
        .user = http_sql_user(request),
        .deadline_ms = request->server->sql_deadline_ms,
        .row_max = FACTS_ROWS_MAX,
        .byte_max = request->server->sql_byte_max};

    return http_sql_session(request, worker, &limits);
}

static void facts_work(struct http_request *request,
                       struct http_worker *worker)
{
    struct vt_session *session = facts_session(request, worker);
    const struct facts_table *table = facts_tables;
    struct kvsql_error err;

    if (session == NULL)
        return;
    while (!http_is(request->segments[1], table->name))
        table++; /* routes.def names those that are there */
    kvsql_rc rc = facts_rows(request, session, table, &err);
    if (rc != KVSQL_OK)
        http_fail(request, rc, err.text, NULL);
    http_sql_leave(request, worker);
}

enum http_next http_do_facts(struct http_request *request)
{
    request->work = facts_work;
    return HTTP_NEXT_WORK;
}

/* ---- changes ---------------------------------------------------------------------- */

/* With an Idempotency-Key: once, in the transaction that keeps its answer. What
 * the command does is no part of it, but done twice it is the same. */
static void facts_once(struct http_request *request, unsigned argc,
                       const kvsql_slice *argv, struct cmd_reply *reply)
{
    kvsql *db = atomic_load(&request->server->db);
    struct kvsql_error err;
    struct kv_txn *txn;
    kvsql_rc rc = kv_txn_begin(db, true, FACTS_WAIT_MS, &txn, &err);

    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return;
    }
    request->ticket = kv_txn_ticket(txn);
    request->has_ticket = true;
    bool good = http_again_fresh(request, txn);
    if (good && cmd_run_in(txn, argc, argv, reply) != KVSQL_OK) {
        http_fail_reply(request, reply);
        good = false;
    } else if (good) {
        http_answer(request, 204, NULL);
        good = http_again_keep(request, txn);
    }
    if (!good)
        kv_txn_rollback(txn);
    else if ((rc = kv_txn_commit(txn, &request->ticket, &err)) != KVSQL_OK)
        http_fail(request, rc, err.text, NULL);
}

/* A command without a key: 204, or its error. */
static void facts_command(struct http_request *request, unsigned argc,
                          const kvsql_slice *argv)
{
    kvsql *db = atomic_load(&request->server->db);
    struct cmd_reply reply;

    cmd_reply_init(&reply, HTTP_BLOCK);
    cmd_slowlog_origin("http", NULL);
    if (http_again_asked(request)) {
        facts_once(request, argc, argv, &reply);
    } else {
        cmd_run(db, argc, argv, true, &reply, &request->ticket);
        request->has_ticket = true;
        if (reply.rc == KVSQL_OK)
            http_answer(request, 204, NULL);
        else
            http_fail_reply(request, &reply);
    }
    cmd_reply_fini(&reply);
}

static void facts_slowlog_work(struct http_request *request,
                               struct http_worker *worker)
{
    const kvsql_slice argv[] = {HTTP_WORD("SLOWLOG"), HTTP_WORD("RESET")};

    (void)worker;
    facts_command(request, 2, argv);
}

enum http_next http_do_slowlog_reset(struct http_request *request)
{
    request->work = facts_slowlog_work;
    return HTTP_NEXT_WORK;
}

/* {"name":value,..}: all of them or none. */
static void facts_config(struct http_request *request, struct http_json *json)
{
    const struct http_json_token *tokens = json->tokens;
    uint32_t count = tokens[0].count, argc = 2;
    kvsql_slice *argv =
        http_alloc(request, (2 * (size_t)count + 2) * sizeof *argv);

    if (argv == NULL) {
        http_fail(request, KVSQL_NOMEM, "no memory for the options", NULL);
        return;
    }
    argv[0] = HTTP_WORD("CONFIG");
    argv[1] = HTTP_WORD("SET");
    for (uint32_t i = 1; i < tokens[0].next; i = tokens[i + 1].next) {
        const struct http_json_token *value = &tokens[i + 1];
        if (value->kind != HTTP_JSON_STRING && value->kind != HTTP_JSON_NUMBER) {
            http_refuse(request, HTTP_P_JSON,
                        "the value of an option is a string or a number");
            return;
        }
        argv[argc++] = http_json_slice(&tokens[i]);
        argv[argc++] = http_json_slice(value);
    }
    facts_command(request, argc, argv);
}

static void facts_config_work(struct http_request *request,
                              struct http_worker *worker)
{
    struct http_json json;
    struct kvsql_error err;
    kvsql_rc rc = http_json_parse(
        &json, request->body.p ? request->body.p : (uint8_t *)(uintptr_t)"",
        request->body.size, &err);

    (void)worker;
    if (rc == KVSQL_TOOBIG || rc == KVSQL_NOMEM)
        http_fail(request, rc, err.text, NULL);
    else if (rc != KVSQL_OK)
        http_refuse(request, HTTP_P_JSON, "%s", err.text);
    else if (json.tokens[0].kind != HTTP_JSON_OBJECT ||
             json.tokens[0].count == 0)
        http_refuse(request, HTTP_P_JSON,
                    "the body is an object of options and their values");
    else if ((rc = http_json_once(&json, 0, &err)) == KVSQL_NOMEM)
        http_fail(request, rc, err.text, NULL);
    else if (rc != KVSQL_OK)
        http_refuse(request, HTTP_P_JSON, "%s", err.text);
    else
        facts_config(request, &json);
    http_json_fini(&json);
}

enum http_next http_do_config_patch(struct http_request *request)
{
    request->work = facts_config_work;
    return HTTP_NEXT_WORK;
}

/* ---- a client --------------------------------------------------------------------- */

static kvsql_rc facts_kill(struct vt_session *session, int64_t id,
                           int64_t *killed, struct kvsql_error *err)
{
    static const char sql[] = "DELETE FROM clients WHERE id = ?1";
    const struct vt_value value = {.kind = VT_INTEGER, .integer = id};
    struct vt_statement *statement = NULL;
    bool row;
    kvsql_rc rc = vt_prepare(session, sql, sizeof sql - 1, NULL, &statement,
                             err);

    if (rc == KVSQL_OK)
        rc = vt_bind(statement, 1, &value, err);
    if (rc == KVSQL_OK)
        rc = vt_step(statement, &row, err);
    if (rc == KVSQL_OK)
        *killed = vt_changes(session);
    if (statement != NULL)
        vt_finish(statement);
    return rc;
}

static void facts_client_work(struct http_request *request,
                              struct http_worker *worker)
{
    kvsql_slice name = request->segments[2];
    struct kvsql_error err;
    int64_t id = 0, killed = 0;
    struct vt_session *session;

    if (!kv_num_int(name.p, name.size, &id)) {
        http_refuse(request, HTTP_P_PARAMETER,
                    "a client is named by its number");
        return;
    }
    session = facts_session(request, worker);
    if (session == NULL)
        return;
    kvsql_rc rc = facts_kill(session, id, &killed, &err);
    if (rc == KVSQL_OK && killed == 0)
        rc = kv_fail(&err, KVSQL_NOTFOUND, "there is no client %lld",
                     (long long)id);
    if (rc == KVSQL_OK)
        http_answer(request, 204, NULL);
    else
        http_fail(request, rc, err.text, NULL);
    http_sql_leave(request, worker);
}

enum http_next http_do_client_delete(struct http_request *request)
{
    request->work = facts_client_work;
    return HTTP_NEXT_WORK;
}
