/* sql.c - /v1/sql: one statement, asked by URL or body.
 *
 * Everything happens in a worker: reading the request, preparing, stepping,
 * writing. The session is the worker's; a request whose client is lost has its
 * statement interrupted, and the session is given up then, so that nothing of
 * the interruption reaches the next statement.
 *
 * Thread: workers. */
#include "http/sql.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "command/stats.h"
#include "http/views.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"
#include "kvsql/base/text.h"

struct sql_call {
    kvsql_slice text;
    enum http_rows_format format;
    uint64_t row_max, deadline_ms;
    struct http_json json; /* of a JSON body */
    uint32_t params;       /* its token "params", 0 = none */
    bool big_text, plan; /* EXPLAIN QUERY PLAN */
    struct http_prefer prefer;
    struct http_page page;
    char tag[HTTP_ETAG_SIZE]; /* "": none */
};

/* ---- session ------------------------------------------------------------------ */

struct vt_session *http_sql_session(struct http_request *request,
                                    struct http_worker *worker,
                                    const struct vt_limits *limits)
{
    struct vt_limits mine = *limits;
    struct kvsql_error err;
    kvsql_rc rc = KVSQL_OK;

    if (request->view == NULL && !http_view_asked(request))
        return NULL;
    if (request->view != NULL) {
        mine.read_only = true;
        mine.view = request->view->view;
        mine.at = &request->view->at;
    }
    if (worker->session != NULL)
        vt_session_limits(worker->session, &mine);
    else
        rc = vt_session_open(atomic_load(&request->server->db), &mine,
                             &worker->session, &err);
    if (rc != KVSQL_OK) {
        worker->session = NULL;
        http_fail(request, rc, err.text, NULL);
        return NULL;
    }
    kv_lock_take(&request->lock);
    bool gone = request->gone;
    if (!gone)
        request->session = worker->session;
    kv_lock_drop(&request->lock);
    if (gone)
        return NULL;
    atomic_fetch_add(&request->server->stats.sql_running, 1);
    cmd_gauge_add(CMD_GAUGE_SQL_RUNNING, 1);
    return worker->session;
}

void http_sql_leave(struct http_request *request, struct http_worker *worker)
{
    /* First of all: an open write holds the store's lock (H4). */
    if (vt_in_transaction(worker->session))
        vt_rollback(worker->session);
    kv_lock_take(&request->lock);
    request->session = NULL;
    bool gone = request->gone;
    kv_lock_drop(&request->lock);
    atomic_fetch_sub(&request->server->stats.sql_running, 1);
    cmd_gauge_add(CMD_GAUGE_SQL_RUNNING, -1);
    if (gone) {
        atomic_fetch_add(&request->server->stats.sql_interrupted, 1);
        vt_session_close(worker->session);
        worker->session = NULL;
    }
}

const char *http_sql_user(const struct http_request *request)
{
    return request->rights == HTTP_RIGHT_ALL ? "default" : "readonly";
}

/* ---- the format ------------------------------------------------------------------ */

static bool sql_format_named(kvsql_slice name, enum http_rows_format *format)
{
    if (http_is(name, "json"))
        *format = HTTP_ROWS_JSON;
    else if (http_is(name, "ndjson"))
        *format = HTTP_ROWS_NDJSON;
    else if (http_is(name, "csv"))
        *format = HTTP_ROWS_CSV;
    else if (http_is(name, "db"))
        *format = HTTP_ROWS_FILE;
    else
        return false;
    return true;
}

/* The first media type of Accept that we can make. */
static bool sql_format_accepted(kvsql_slice accept,
                                enum http_rows_format *format)
{
    static const struct {
        const char *name;
        enum http_rows_format format;
    } types[] = {{"application/json", HTTP_ROWS_JSON},
                 {"*/*", HTTP_ROWS_JSON},
                 {"application/*", HTTP_ROWS_JSON},
                 {"application/x-ndjson", HTTP_ROWS_NDJSON},
                 {"application/ndjson", HTTP_ROWS_NDJSON},
                 {"application/vnd.sqlite3", HTTP_ROWS_FILE},
                 {"text/csv", HTTP_ROWS_CSV},
                 {"text/*", HTTP_ROWS_CSV}};
    const char *p = accept.p, *end = p + accept.size;

    while (p < end) {
        while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
            p++;
        const char *first = p;
        while (p < end && *p != ',' && *p != ';' && *p != ' ')
            p++;
        kvsql_slice name = {first, (size_t)(p - first)};
        for (unsigned i = 0; i < sizeof types / sizeof *types; i++)
            if (http_is_fold(name, types[i].name)) {
                *format = types[i].format;
                return true;
            }
        while (p < end && *p != ',')
            p++;
    }
    return false;
}

static bool sql_format(struct http_request *request, struct sql_call *call)
{
    kvsql_slice asked = http_param(request, "format");
    kvsql_slice accept = request->headers[HTTP_H_ACCEPT];
    const char *dot = strchr(request->route->pattern, '.');

    call->format = HTTP_ROWS_JSON;
    if (dot != NULL)
        return sql_format_named((kvsql_slice){dot + 1, strlen(dot + 1)},
                                &call->format);
    if (asked.p != NULL) {
        if (sql_format_named(asked, &call->format))
            return true;
    } else if (accept.p == NULL || accept.size == 0 ||
               sql_format_accepted(accept, &call->format)) {
        return true;
    }
    http_refuse(request, HTTP_P_ACCEPT,
                "rows are made as json, ndjson, csv or db");
    return false;
}

/* ---- reading the request ------------------------------------------------------------ */

static bool sql_number(struct http_request *request, const char *name,
                       kvsql_slice text, uint64_t most, uint64_t *out)
{
    uint64_t value;

    if (text.p == NULL)
        return true;
    if (!kv_num_uint(text.p, text.size, &value) || value == 0) {
        http_refuse(request, HTTP_P_PARAMETER,
                    "%s is a whole number from 1 on", name);
        return false;
    }
    *out = value < most ? value : most; /* lowered only */
    return true;
}

static bool sql_limits(struct http_request *request, struct sql_call *call,
                       kvsql_slice rows, kvsql_slice timeout)
{
    return sql_number(request, "max_rows", rows, request->server->sql_row_max,
                      &call->row_max) &&
           sql_number(request, "timeout_ms", timeout,
                      request->server->sql_deadline_ms, &call->deadline_ms);
}

static kvsql_slice sql_member(const struct http_json *json, const char *name)
{
    uint32_t at = http_json_find(json, 0, name);

    if (at == 0 || json->tokens[at].kind == HTTP_JSON_NULL)
        return (kvsql_slice){NULL, 0};
    return http_json_slice(&json->tokens[at]);
}

static bool sql_body(struct http_request *request, struct sql_call *call)
{
    static const char *const names[] = {"sql", "params", "max_rows",
                                        "timeout_ms", "view", "cursor", NULL};
    struct http_json *json = &call->json;
    struct kvsql_error err;
    kvsql_rc rc = http_json_parse(
        json, request->body.p ? request->body.p : (uint8_t *)(uintptr_t)"",
        request->body.size, &err);

    if (rc == KVSQL_OK && json->tokens[0].kind != HTTP_JSON_OBJECT)
        rc = kv_fail(&err, KVSQL_SYNTAX,
                     "the body is an object such as {\"sql\":\"SELECT 1\"}");
    if (rc == KVSQL_OK)
        rc = http_prefer_only(request, json, 0, names, &err);
    if (rc == KVSQL_TOOBIG || rc == KVSQL_NOMEM) {
        http_fail(request, rc, err.text, NULL);
        return false;
    }
    uint32_t at = rc == KVSQL_OK ? http_json_find(json, 0, "sql") : 0;
    if (rc == KVSQL_OK &&
        (at == 0 || json->tokens[at].kind != HTTP_JSON_STRING))
        rc = kv_fail(&err, KVSQL_SYNTAX, "\"sql\" must be there, a string");
    if (rc != KVSQL_OK) {
        http_refuse(request, HTTP_P_JSON, "%s", err.text);
        return false;
    }
    call->text = http_json_slice(&json->tokens[at]);
    call->params = http_json_find(json, 0, "params");
    if (json->tokens[call->params].kind == HTTP_JSON_NULL)
        call->params = 0;
    const kvsql_slice view = sql_member(json, "view");
    if (view.p != NULL && http_param(request, "view").p == NULL &&
        !http_view_enter(request, view))
        return false;
    return sql_limits(request, call, sql_member(json, "max_rows"),
                      sql_member(json, "timeout_ms"));
}

static bool sql_read(struct http_request *request, struct sql_call *call)
{
    call->row_max = request->server->sql_row_max;
    call->deadline_ms = request->server->sql_deadline_ms;
    call->big_text = http_is(http_param(request, "big"), "string");
    if (!sql_format(request, call) ||
        !http_prefer_read(request, &call->prefer))
        return false;
    if (request->method == HTTP_POST && request->body_type == HTTP_BODY_JSON)
        return sql_body(request, call);
    if (request->method == HTTP_POST)
        call->text = (kvsql_slice){request->body.p, request->body.size};
    else
        call->text = http_param(request, "q");
    if (call->text.p == NULL) {
        http_refuse(request, HTTP_P_PARAMETER,
                    "no statement: give q=SELECT..., or send one by POST");
        return false;
    }
    return sql_limits(request, call, http_param(request, "max_rows"),
                      http_param(request, "timeout_ms"));
}

/* Of which page: the first, or the one behind a cursor. */
static bool sql_page(struct http_request *request, struct sql_call *call)
{
    const bool json = request->method == HTTP_POST &&
                      request->body_type == HTTP_BODY_JSON;
    const kvsql_slice cursor = json ? sql_member(&call->json, "cursor")
                                    : http_param(request, "cursor");

    http_page_init(&call->page, call->text);
    if (call->format != HTTP_ROWS_JSON)
        call->page.terms = 0;
    if (cursor.size == 0)
        return true;
    if (http_page_resume(&call->page, cursor)) {
        call->text = (kvsql_slice){call->page.wrapped.p,
                                   call->page.wrapped.size};
        return true;
    }
    http_refuse(request, HTTP_P_CURSOR,
                "this cursor is none of this statement, answered as JSON");
    return false;
}

/* ---- running ------------------------------------------------------------------------- */

const char *http_sql_offset(const struct vt_session *session,
                            char out[HTTP_SQL_OFFSET_SIZE])
{
    int offset = vt_error_offset(session);

    if (offset < 0)
        return NULL;
    snprintf(out, HTTP_SQL_OFFSET_SIZE, ",\"offset\":%d", offset);
    return out;
}

static kvsql_rc sql_may(const struct http_request *request,
                        const struct vt_statement *statement,
                        struct kvsql_error *err)
{
    if (vt_is_readonly(statement))
        return KVSQL_OK;
    if (request->method != HTTP_POST)
        return kv_fail(err, KVSQL_READONLY,
                       "this statement writes; send it by POST");
    if (request->rights < HTTP_RIGHT_ALL)
        return kv_fail(err, KVSQL_AUTH,
                       "this statement writes, and the token may only read");
    return KVSQL_OK;
}

static void sql_tag(struct http_request *request, const char *tag)
{
    request->answer.cache = "no-cache";
    http_answer_header(request, "ETag", "W/%s", tag);
}

static void sql_step_all(struct http_rows *rows, struct vt_session *session,
                         struct vt_statement *statement, const char *tag)
{
    struct http_stats *stats = &rows->request->server->stats;
    uint64_t started_ns = kv_os_mono_ns();
    struct kvsql_error err;
    char extra[HTTP_SQL_OFFSET_SIZE];
    kvsql_rc rc;
    bool row;

    http_rows_begin(rows);
    http_prefer_applied(rows->request, &(struct http_prefer){0}, "");
    if (tag[0] != 0)
        sql_tag(rows->request, tag);
    http_page_bind(rows->page, statement);
    while ((rc = vt_step(statement, &row, &err)) == KVSQL_OK && row) {
        if (http_page_skip(rows->page, statement))
            continue;
        if (!http_rows_add(rows)) {
            rc = kv_fail(&err, KVSQL_INTERRUPT, "the result was not taken");
            break;
        }
        http_page_note(rows->page, statement);
    }
    atomic_fetch_add(&stats->sql_rows, rows->count);
    if (rc == KVSQL_OK && rows->page->ties > 0 && rows->count == 0 &&
        vt_truncated(statement))
        rc = kv_fail(&err, KVSQL_TOOBIG,
                     "a page has no room for more rows of one key: order by "
                     "what is unique in it, too");
    if (rc != KVSQL_OK) {
        http_rows_fail(rows, rc, err.text, http_sql_offset(session, extra));
        return;
    }
    if (vt_in_transaction(session)) {
        http_rows_fail(rows, KVSQL_AUTH,
                       "a transaction does not outlive its request; send its "
                       "statements together to /v1/batch",
                       NULL);
        return;
    }
    bool truncated = vt_truncated(statement);
    if (truncated)
        atomic_fetch_add(&stats->sql_truncated, 1);
    http_rows_end(rows, truncated,
                  vt_is_readonly(statement) ? -1 : vt_changes(session),
                  vt_position(session),
                  (kv_os_mono_ns() - started_ns) / 1000000);
}

/* The result as a file: whole, or refused. */
static void sql_file(struct http_request *request, struct vt_session *session,
                     struct vt_statement *statement)
{
    struct kvsql_error err;
    char extra[HTTP_SQL_OFFSET_SIZE];
    uint64_t count;
    kvsql_rc rc = http_sql_file(request, statement, &count, &err);

    atomic_fetch_add(&request->server->stats.sql_rows, count);
    if (rc != KVSQL_OK)
        http_fail(request, rc, err.text, http_sql_offset(session, extra));
    else
        http_answer_header(request, "X-KVSQL-Position", "%llu",
                           (unsigned long long)vt_position(session));
}

/* Of a statement that is bound. */
static void sql_answer(struct http_request *request,
                       struct vt_session *session,
                       struct vt_statement *statement, struct sql_call *call)
{
    const bool decided = !vt_is_readonly(statement) &&
                         http_sql_decided(request, &call->prefer);
    struct http_rows rows = {.request = request,
                             .statement = statement,
                             .format = call->format,
                             .big_text = call->big_text,
                             .page = &call->page};

    if (decided && call->format == HTTP_ROWS_FILE) {
        http_refuse(request, HTTP_P_PARAMETER,
                    "a file of rows goes with no Idempotency-Key and no "
                    "Prefer");
    } else if (decided) {
        http_sql_write(&rows, session, statement, &call->prefer);
    } else if (call->format == HTTP_ROWS_FILE) {
        sql_file(request, session, statement);
    } else {
        if (call->plan && (rows.plan = http_plan_new(request)) == NULL)
            return;
        sql_step_all(&rows, session, statement, call->tag);
        http_plan_fini(rows.plan);
    }
}

static void sql_run(struct http_request *request, struct vt_session *session,
                    struct sql_call *call)
{
    struct vt_statement *statement = NULL;
    struct kvsql_error err;
    char extra[HTTP_SQL_OFFSET_SIZE];
    kvsql_rc rc = vt_prepare(session, call->text.p, call->text.size, NULL,
                             &statement, &err);

    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, http_sql_offset(session, extra));
        return;
    }
    if (statement == NULL) {
        http_fail(request, KVSQL_SYNTAX, "there is no statement in the text",
                  NULL);
        return;
    }
    rc = sql_may(request, statement, &err);
    if (rc == KVSQL_OK)
        rc = http_sql_bind(request, statement, &call->json, call->params,
                           request->body_type != HTTP_BODY_JSON, &err);
    if (rc != KVSQL_OK)
        http_fail(request, rc, err.text, NULL);
    else
        sql_answer(request, session, statement, call);
    vt_finish(statement);
}

/* Of a view the same question has the same answer: its tag, a weak one, for the
 * time that it took is told, too. True: the client has it. */
static bool sql_same(struct http_request *request, const struct sql_call *call,
                     char tag[HTTP_ETAG_SIZE])
{
    static const char formats[] = "jncd"; /* enum http_rows_format */

    tag[0] = 0;
    if (request->view == NULL || !(request->method & (HTTP_GET | HTTP_HEAD)))
        return false;
    snprintf(tag, HTTP_ETAG_SIZE, "\"view-%s-%c\"", request->view->id,
             formats[call->format]);
    return http_version_in(request->headers[HTTP_H_IF_NONE_MATCH], tag, false);
}

static void sql_work(struct http_request *request, struct http_worker *worker)
{
    struct sql_call call = {0};

    http_page_init(&call.page, (kvsql_slice){0}); /* of no text yet */
    if (sql_read(request, &call) && sql_page(request, &call)) {
        call.plan = http_plan_asked(call.text);
        struct vt_limits limits = {
            .read_only = request->method != HTTP_POST ||
                         request->rights < HTTP_RIGHT_ALL,
            .admin = request->rights == HTTP_RIGHT_ALL,
            .estimates = call.plan,
            .user = http_sql_user(request),
            .deadline_ms = call.deadline_ms,
            .row_max = call.row_max + call.page.skip,
            .byte_max = request->server->sql_byte_max};
        struct vt_session *session = http_sql_session(request, worker,
                                                      &limits);
        if (session != NULL) {
            if (sql_same(request, &call, call.tag)) {
                http_answer(request, 304, NULL);
                sql_tag(request, call.tag);
            } else {
                sql_run(request, session, &call);
            }
            http_sql_leave(request, worker);
        }
    }
    http_page_fini(&call.page);
    http_json_fini(&call.json);
}

enum http_next http_do_sql(struct http_request *request)
{
    request->work = sql_work;
    return HTTP_NEXT_WORK;
}
