/* tier1.c - commands as JSON: the wire of Upstash's REST clients.
 *
 *   POST /            ["SET","k","v"]              {"result":"OK"}
 *   GET  /get/k                                    {"result":"v"}
 *   POST /pipeline    [["SET","k","v"],["GET","k"]]  [{"result":"OK"},..]
 *   POST /multi-exec  the same, as one batch
 *
 * All four become a list of argument vectors that borrow from the body or the
 * target; the list is run, and the typed replies are dressed as RESP2 in JSON:
 * numbers are numbers, everything else is a string, maps and sets are flat.
 *
 * A position is told with every 200 (upstash-sync-token). One that a request
 * brings is not waited for: this node takes all the writes itself, so there is
 * none that it has not applied.
 *
 * Thread: the event loop's for short work, a worker for the rest. */
#include "http/tier1.h"

#include <stdio.h>
#include <string.h>

#include "command/client.h"
#include "command/stats.h"
#include "http/value.h"

#define TIER1_ITEMS_MAX 10000  /* commands of one pipeline */
#define TIER1_ITEMS_INLINE 128 /* about 0.1 ms; more go to a worker */
#define TIER1_PIPE_NS 100000   /* about so long others wait for one txn */
#define TIER1_DRESS_MAX 4096   /* bytes of a reply that is dressed within it */

enum tier1_kind { TIER1_ONE, TIER1_PIPELINE, TIER1_MULTI };

struct tier1_call {
    enum tier1_kind kind;
    bool base64, resp2;
    unsigned count;
    unsigned *argc;
    const kvsql_slice **argv;
};

/* ---- reading ---------------------------------------------------------------- */

static bool tier1_nomem(struct http_request *request)
{
    http_fail(request, KVSQL_NOMEM, "no memory for the arguments", NULL);
    return false;
}

static bool tier1_room(struct http_request *request, struct tier1_call *call,
                       unsigned count)
{
    call->argc = http_alloc(request, (count + 1) * sizeof *call->argc);
    call->argv = http_alloc(request, (count + 1) * sizeof *call->argv);
    return call->argc != NULL && call->argv != NULL ? true
                                                    : tier1_nomem(request);
}

kvsql_slice *http_words(struct http_request *request,
                        const struct http_json *json, uint32_t at,
                        unsigned *argc)
{
    const struct http_json_token *array = &json->tokens[at], *token;
    uint32_t next = at + 1;

    if (array->kind != HTTP_JSON_ARRAY || array->count == 0 ||
        array[1].kind != HTTP_JSON_STRING || array[1].size == 0) {
        http_refuse(request, HTTP_P_JSON,
                    "a command is an array that begins with its name, such as "
                    "[\"GET\",\"key\"]");
        return NULL;
    }
    kvsql_slice *argv = http_alloc(request, array->count * sizeof *argv);
    if (argv == NULL) {
        (void)tier1_nomem(request);
        return NULL;
    }
    for (uint32_t i = 0; i < array->count; i++) {
        token = &json->tokens[next];
        if (token->kind == HTTP_JSON_OBJECT &&
            http_value_base64(request, json, next, &argv[i])) {
            next = token->next;
            continue;
        }
        if (token->kind == HTTP_JSON_NULL || token->kind == HTTP_JSON_ARRAY ||
            token->kind == HTTP_JSON_OBJECT) {
            http_refuse(request, HTTP_P_JSON,
                        "argument %u is no string, number or truth value", i);
            return NULL;
        }
        argv[i] = http_json_slice(token);
        next = token->next;
    }
    *argc = array->count;
    return argv;
}

static bool tier1_words(struct http_request *request, struct tier1_call *call,
                        const struct http_json *json, uint32_t at)
{
    kvsql_slice *argv = http_words(request, json, at,
                                   &call->argc[call->count]);

    if (argv != NULL)
        call->argv[call->count++] = argv;
    return argv != NULL;
}

static bool tier1_list(struct http_request *request, struct tier1_call *call,
                       const struct http_json *json)
{
    const struct http_json_token *root = json->tokens;

    if (call->kind == TIER1_ONE)
        return tier1_room(request, call, 1) &&
               tier1_words(request, call, json, 0);
    if (root->kind != HTTP_JSON_ARRAY || root->count == 0 ||
        root->count > TIER1_ITEMS_MAX) {
        http_refuse(request, HTTP_P_JSON,
                    "give an array of 1 to %d commands, each an array",
                    TIER1_ITEMS_MAX);
        return false;
    }
    if (!tier1_room(request, call, root->count))
        return false;
    for (uint32_t i = 1; i < root->next; i = root[i].next)
        if (!tier1_words(request, call, json, i))
            return false;
    return true;
}

static bool tier1_body(struct http_request *request, struct tier1_call *call)
{
    struct http_json json;
    struct kvsql_error err;
    kvsql_rc rc = http_json_parse(
        &json, request->body.p ? request->body.p : (uint8_t *)(uintptr_t)"",
        request->body.size, &err);

    if (rc == KVSQL_SYNTAX) {
        http_refuse(request, HTTP_P_JSON, "%s", err.text);
        return false;
    }
    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return false;
    }
    bool good = tier1_list(request, call, &json);
    http_json_fini(&json); /* the arguments borrow from the body */
    return good;
}

/* /{cmd}/{a}/{b}, then the body as one argument, then the query. */
static bool tier1_path(struct http_request *request, struct tier1_call *call)
{
    bool body = (request->method & (HTTP_POST | HTTP_PUT)) &&
                request->body.size > 0;
    unsigned n = 0;

    if (!tier1_room(request, call, 1))
        return false;
    kvsql_slice *argv = http_alloc(
        request, (request->segment_count + 1 + 2 * request->param_count) *
                     sizeof *argv);
    if (argv == NULL)
        return tier1_nomem(request);
    for (unsigned i = 0; i < request->segment_count; i++)
        argv[n++] = request->segments[i];
    if (body)
        argv[n++] = (kvsql_slice){request->body.p, request->body.size};
    for (unsigned i = 0; i < request->param_count; i++) {
        const struct http_param *param = &request->params[i];
        if (http_is(param->name, "_token"))
            continue;
        argv[n++] = param->name;
        if (param->value.p != NULL)
            argv[n++] = param->value;
    }
    call->argc[0] = n;
    call->argv[0] = argv;
    call->count = 1;
    return true;
}

static bool tier1_formats(struct http_request *request,
                          struct tier1_call *call)
{
    kvsql_slice format = request->headers[HTTP_H_FORMAT];

    call->base64 = http_is_fold(request->headers[HTTP_H_ENCODING], "base64");
    if (call->kind == TIER1_MULTI || format.p == NULL ||
        http_is_fold(format, "json"))
        return true;
    if (!http_is_fold(format, "resp2")) {
        http_refuse(request, HTTP_P_PARAMETER,
                    "Upstash-Response-Format is json or resp2");
        return false;
    }
    if (call->base64) {
        http_refuse(request, HTTP_P_PARAMETER,
                    "Upstash-Encoding: base64 does not go with "
                    "Upstash-Response-Format: resp2");
        return false;
    }
    call->resp2 = true;
    return true;
}

/* ---- rights ------------------------------------------------------------------- */

/* What every client library says when it connects, and what has no effect
 * here: answered OK. */
static bool tier1_is_greeting(unsigned argc, const kvsql_slice *argv)
{
    if (argc == 2 && http_is_fold(argv[0], "select"))
        return http_is(argv[1], "0");
    return argc >= 3 && http_is_fold(argv[0], "client") &&
           (http_is_fold(argv[1], "setinfo") ||
            http_is_fold(argv[1], "setname"));
}

/* The service's COPY of a key onto itself copies nothing; Redis's fails. */
static void tier1_mend(unsigned argc, const kvsql_slice *argv,
                       struct cmd_reply *reply)
{
    static const char same[] = "ERR source and destination objects are the "
                               "same";

    if (reply->rc != KVSQL_OK && argc >= 3 && http_is_fold(argv[0], "copy") &&
        http_is(cmd_reply_line(reply), same)) {
        cmd_reply_reset(reply);
        cmd_reply_int(reply, 0);
    }
}

/* Commands that the read-only token may not run though they only read. */
static bool tier1_is_wide(const char *name)
{
    static const char *const names[] = {"SCAN",  "KEYS",   "MONITOR",
                                        "CONFIG", "RANDOMKEY", "SAVE",
                                        "BGSAVE"};

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

#define TIER1_SHOWN 63 /* bytes of a command's name in a sentence */

static int tier1_shown(kvsql_slice name)
{
    return name.size < TIER1_SHOWN ? (int)name.size : TIER1_SHOWN;
}

/* May this request run this command, whose row is *found then? Else err has the
 * sentence. */
static kvsql_rc tier1_may(const struct http_request *request, unsigned argc,
                          const kvsql_slice *argv, bool in_batch,
                          const struct cmd_row **found, struct kvsql_error *err)
{
    kvsql_rc rc = cmd_check_row(argc, argv, in_batch, true, found, err);

    if (rc != KVSQL_OK)
        return rc;
    const struct cmd_row *row = *found;
    const bool admin = (row->flags & CMD_ADMIN) != 0;
    const bool changes = (row->flags & CMD_WRITE) != 0 || admin ||
                         strcmp(row->name, "PUBLISH") == 0;
    if (request->rights < HTTP_RIGHT_ALL &&
        (changes || tier1_is_wide(row->name)))
        return kv_fail(err, KVSQL_AUTH,
                       "NOPERM this user has no permissions to run the "
                       "'%.*s' command",
                       tier1_shown(argv[0]), (const char *)argv[0].p);
    if (changes && (request->method & (HTTP_GET | HTTP_HEAD)) &&
        !request->token_given) /* X7 */
        return kv_fail(err, KVSQL_AUTH,
                       "NOAUTH writing by GET needs an Authorization header; "
                       "send '%.*s' by POST",
                       tier1_shown(argv[0]), (const char *)argv[0].p);
    return KVSQL_OK;
}

static void tier1_remember(struct http_request *request,
                           struct kv_ticket ticket)
{
    if (!request->has_ticket || ticket.position >= request->ticket.position)
        request->ticket = ticket;
    request->has_ticket = true;
}

static void tier1_sync_token(struct http_request *request)
{
    if (request->answer.status == 200)
        http_answer_number(request, "upstash-sync-token",
                           request->server->sync_id,
                           request->ticket.position);
}

/* ---- running --------------------------------------------------------------------- */

/* One command, which may share its txn with those of the pipe, if there is one;
 * leaves one value in `reply`. */
static void tier1_run(struct http_request *request, struct cmd_pipe *pipe,
                      unsigned argc, const kvsql_slice *argv,
                      struct cmd_reply *reply)
{
    const struct cmd_row *row;
    kvsql *db = atomic_load(&request->server->db);
    struct kv_ticket ticket = {0};
    struct kvsql_error err;

    cmd_reply_reset(reply);
    if (tier1_is_greeting(argc, argv)) {
        cmd_reply_status(reply, "OK");
        return;
    }
    kvsql_rc rc = tier1_may(request, argc, argv, false, &row, &err);
    if (rc != KVSQL_OK) {
        cmd_reply_error(reply, rc, "%s", err.text);
        return;
    }
    cmd_slowlog_origin("http", NULL);
    cmd_run_row(db, pipe, row, argc, argv, reply, &ticket);
    tier1_mend(argc, argv, reply);
    tier1_remember(request, ticket);
}

static void tier1_one(struct http_request *request,
                      const struct tier1_call *call)
{
    struct cmd_reply *reply = &request->reply;
    struct kv_buf *out = &request->answer.body;

    tier1_run(request, NULL, call->argc[0], call->argv[0], reply);
    http_answer(request, 200,
                call->resp2 ? "application/octet-stream" : HTTP_TYPE_JSON);
    if (call->resp2)
        cmd_reply_resp2(reply, out);
    if (call->resp2 ? out->size > 0 && out->p[0] == '-'
                    : !http_reply_object(out, reply, call->base64))
        request->answer.status = http_command_status(reply->rc);
    if (request->answer.status == 503)
        http_answer_header(request, "Retry-After", "1");
    tier1_sync_token(request);
}

static struct cmd_request *tier1_requests(struct http_request *request,
                                          const struct tier1_call *call)
{
    struct cmd_request *to = http_alloc(request, call->count * sizeof *to);

    for (unsigned i = 0; to != NULL && i < call->count; i++)
        to[i] = (struct cmd_request){call->argc[i], call->argv[i]};
    return to;
}

/* Commands that follow each other share the store's lock and a batch, as those
 * of the Redis protocol that come in one go (command/pipe.c). */
static void tier1_pipeline(struct http_request *request,
                           const struct tier1_call *call)
{
    const struct cmd_request *requests = tier1_requests(request, call);
    struct cmd_pipe pipe = {.most_ns = TIER1_PIPE_NS};
    struct cmd_reply *reply = &request->reply;
    struct kv_buf *out = &request->answer.body;

    if (requests == NULL) {
        (void)tier1_nomem(request);
        return;
    }
    http_answer(request, 200,
                call->resp2 ? "application/octet-stream" : HTTP_TYPE_JSON);
    if (!call->resp2)
        kv_buf_byte(out, '[');
    for (unsigned i = 0; i < call->count; i++) {
        pipe.next = requests + i + 1;
        pipe.left = call->count - i - 1;
        tier1_run(request, &pipe, requests[i].argc, requests[i].argv, reply);
        if (reply->own.size > TIER1_DRESS_MAX)
            cmd_pipe_end(&pipe);
        if (call->resp2) {
            cmd_reply_resp2(reply, out);
            continue;
        }
        if (i > 0)
            kv_buf_byte(out, ',');
        (void)http_reply_object(out, reply, call->base64);
    }
    cmd_pipe_end(&pipe);
    if (!call->resp2)
        kv_buf_byte(out, ']');
    tier1_sync_token(request);
}

/* Check all before any runs; true when the transaction may begin. */
static bool tier1_queue(struct http_request *request,
                        const struct tier1_call *call)
{
    const struct cmd_row *row;
    struct kvsql_error err;
    struct kv_buf why;
    char text[KVSQL_ERROR_SIZE];
    bool good = true;

    kv_buf_init(&why, KV_MEM_CLIENT, sizeof text - 80);
    for (unsigned i = 0; i < call->count; i++) {
        if (tier1_may(request, call->argc[i], call->argv[i], true, &row,
                      &err) == KVSQL_OK)
            continue;
        if (!good)
            kv_buf_text(&why, ", ");
        kv_buf_text(&why, err.text);
        good = false;
    }
    if (!good) {
        /* The word EXECABORT comes with the row of the result. */
        snprintf(text, sizeof text, "Transaction discarded because of: %.*s",
                 (int)why.size, why.p ? (const char *)why.p : "");
        http_fail(request, KVSQL_ABORT, text, NULL);
    }
    kv_buf_fini(&why);
    return good;
}

static void tier1_multi(struct http_request *request,
                        const struct tier1_call *call)
{
    kvsql *db = atomic_load(&request->server->db);
    struct kv_buf *out = &request->answer.body;
    struct kv_ticket ticket = {0};
    struct kvsql_error err;
    unsigned failed;

    if (!tier1_queue(request, call))
        return;
    struct cmd_reply *replies =
        http_alloc(request, call->count * sizeof *replies);
    if (replies == NULL) {
        (void)tier1_nomem(request);
        return;
    }
    for (unsigned i = 0; i < call->count; i++)
        cmd_reply_init(&replies[i], HTTP_REPLY_MAX);
    cmd_slowlog_origin("http", NULL);
    kvsql_rc rc = cmd_run_batch(db, call->count, call->argc, call->argv, false,
                                replies, &failed, &ticket, &err);
    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
    } else {
        tier1_remember(request, ticket);
        http_answer(request, 200, HTTP_TYPE_JSON);
        for (unsigned i = 0; i < call->count; i++) {
            kv_buf_byte(out, i > 0 ? ',' : '[');
            tier1_mend(call->argc[i], call->argv[i], &replies[i]);
            (void)http_reply_object(out, &replies[i], call->base64);
        }
        kv_buf_byte(out, ']');
        tier1_sync_token(request);
    }
    for (unsigned i = 0; i < call->count; i++)
        cmd_reply_fini(&replies[i]);
}

static void tier1_execute(struct http_request *request)
{
    const struct tier1_call *call = request->state;

    switch (call->kind) {
    case TIER1_ONE:
        tier1_one(request, call);
        break;
    case TIER1_PIPELINE:
        tier1_pipeline(request, call);
        break;
    case TIER1_MULTI:
        tier1_multi(request, call);
        break;
    }
}

/* ---- where it runs -------------------------------------------------------------------- */

/* In a worker; the same turn that what is short has in its event loop. */
static void tier1_work_run(struct http_request *request,
                           struct http_worker *worker)
{
    const struct tier1_call *call = request->state;
    kvsql *db = atomic_load(&request->server->db);
    const bool turn = call->kind == TIER1_PIPELINE;

    (void)worker;
    if (turn)
        kv_turn_begin(db);
    tier1_execute(request);
    if (turn)
        kv_turn_end(db);
}

static void tier1_work_all(struct http_request *request,
                           struct http_worker *worker)
{
    if (tier1_body(request, request->state))
        tier1_work_run(request, worker);
}

static bool tier1_is_heavy(const struct tier1_call *call)
{
    if (call->count > TIER1_ITEMS_INLINE)
        return true;
    for (unsigned i = 0; i < call->count; i++) {
        const struct cmd_row *row =
            cmd_find(call->argv[i][0].p, call->argv[i][0].size);
        if (row != NULL && (row->flags & (CMD_LONG | CMD_CONTROL)) &&
            !(row->flags & CMD_FAST))
            return true;
    }
    return false;
}

static enum http_next tier1_begin(struct http_request *request,
                                  enum tier1_kind kind, bool path)
{
    struct tier1_call *call = http_alloc(request, sizeof *call);

    if (call == NULL) {
        (void)tier1_nomem(request);
        return HTTP_NEXT_ANSWER;
    }
    *call = (struct tier1_call){.kind = kind};
    request->state = call;
    if (!tier1_formats(request, call))
        return HTTP_NEXT_ANSWER;
    if (!path && request->body.size > HTTP_BODY_INLINE) {
        request->work = tier1_work_all;
        return HTTP_NEXT_WORK;
    }
    if (!(path ? tier1_path(request, call) : tier1_body(request, call)))
        return HTTP_NEXT_ANSWER;
    if (tier1_is_heavy(call)) {
        request->work = tier1_work_run;
        return HTTP_NEXT_WORK;
    }
    tier1_execute(request);
    return HTTP_NEXT_ANSWER;
}

enum http_next http_do_command(struct http_request *request)
{
    return tier1_begin(request, TIER1_ONE, false);
}

enum http_next http_do_path(struct http_request *request)
{
    return tier1_begin(request, TIER1_ONE, true);
}

enum http_next http_do_pipeline(struct http_request *request)
{
    return tier1_begin(request, TIER1_PIPELINE, false);
}

enum http_next http_do_multi_exec(struct http_request *request)
{
    return tier1_begin(request, TIER1_MULTI, false);
}
