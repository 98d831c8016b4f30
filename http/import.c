/* import.c - /v1/import: lines of NDJSON become keys.
 *
 *   {"key":K,"type":T,"value":V,"expires_at":MS,"field_expires_at":{F:MS}}
 *
 * or, for names that are no text, "field_expires_at":{"$pairs":[[F,MS],..]}:
 *
 * the form that /v1/export and `kvsql export` write: values as in value.h,
 * times in ms since the epoch, both may be absent. A key replaces what was
 * there, in one batch; with "continue":true its elements are added to those of
 * the lines before. The last line of an export, {"done":true,..}, is passed
 * over, and so are empty ones. The first line that is wrong ends it: the
 * problem names the line, and what stood before it is there.
 *
 * Thread: workers. */
#include <stdio.h>
#include <string.h>

#include "command/stats.h"
#include "http/value.h"
#include "kvsql/base/num.h"

#define IMPORT_WAIT_MS 10000 /* for the store */

struct import {
    struct http_request *request;
    uint64_t line, keys;
    struct http_call call; /* of the line */
    kvsql_slice until;     /* expires_at; p NULL: none */
    uint32_t fields;       /* token of field_expires_at; 0: none */
    bool more;             /* "continue" */
};

/* ---- a line ------------------------------------------------------------------------ */

static enum kv_type import_type(kvsql_slice name)
{
    for (enum kv_type type = KV_STRING; type <= KV_ZSET; type++)
        if (http_is(name, kv_type_name(type)))
            return type;
    return KV_NONE;
}

static bool import_time(struct http_call *call, kvsql_slice text)
{
    int64_t ms;

    return kv_num_int(text.p, text.size, &ms) && ms > 0
               ? true
               : http_call_refuse(call, HTTP_P_JSON,
                                  "a time is a whole number of milliseconds "
                                  "from 1 on");
}

/* The members of the line; *type KV_NONE: it is the last one of an export. */
static bool import_members(struct import *import, enum kv_type *type)
{
    static const char *const names[] = {
        "key", "type", "value", "expires_at", "field_expires_at", "continue",
        NULL};
    struct http_call *call = &import->call;
    const struct http_json_token *tokens = call->json.tokens;
    uint32_t more = http_json_find(&call->json, 0, "continue");
    struct kvsql_error err;
    kvsql_slice name;

    *type = KV_NONE;
    if (tokens[0].kind != HTTP_JSON_OBJECT)
        return http_call_refuse(call, HTTP_P_JSON, "a line is an object");
    if (http_json_find(&call->json, 0, "done") != 0)
        return true;
    if (http_json_only(&call->json, 0, names, &err) != KVSQL_OK)
        return http_call_refuse(call, HTTP_P_JSON, "%s", err.text);
    if (!http_value_member(call, "key", &call->key) ||
        !http_value_member(call, "type", &name) ||
        !http_value_option(call, "expires_at", &import->until) ||
        (import->until.p != NULL && !import_time(call, import->until)))
        return false;
    import->fields = http_json_find(&call->json, 0, "field_expires_at");
    import->more = tokens[more].kind == HTTP_JSON_TRUE;
    *type = import_type(name);
    return *type != KV_NONE
               ? true
               : http_call_refuse(call, HTTP_P_JSON,
                                  "\"type\" is string, hash, list, set or "
                                  "zset");
}

/* ---- its commands -------------------------------------------------------------------- */

static bool import_command(struct import *import, struct kv_txn *txn,
                           unsigned argc, const kvsql_slice *argv)
{
    struct cmd_reply reply;

    cmd_reply_init(&reply, HTTP_BLOCK);
    cmd_slowlog_origin("http", NULL);
    bool good = cmd_run_in(txn, argc, argv, &reply) == KVSQL_OK;
    if (!good) {
        http_fail_reply(import->request, &reply);
        import->call.refused = true;
    }
    cmd_reply_fini(&reply);
    return good;
}

static bool import_field(struct import *import, struct kv_txn *txn,
                         uint32_t field, uint32_t at)
{
    struct http_call *call = &import->call;
    kvsql_slice time = http_json_slice(&call->json.tokens[at]);
    kvsql_slice argv[] = {HTTP_WORD("HPEXPIREAT"), call->key,
                          time,                    HTTP_WORD("FIELDS"),
                          HTTP_WORD("1"),          {NULL, 0}};

    return http_value_bytes(call, field, "a field", &argv[5]) &&
           import_time(call, time) && import_command(import, txn, 6, argv);
}

/* {"field":ms,..}, or {"$pairs":[[field,ms],..]}. */
static bool import_fields(struct import *import, struct kv_txn *txn)
{
    struct http_call *call = &import->call;
    const struct http_json_token *tokens = call->json.tokens;
    uint32_t at = import->fields, pairs = 0;

    if (at == 0)
        return true;
    if (tokens[at].kind != HTTP_JSON_OBJECT)
        return http_call_refuse(call, HTTP_P_JSON,
                                "\"field_expires_at\" is an object");
    if (tokens[at].count == 1)
        pairs = http_json_find(&call->json, at, "$pairs");
    if (tokens[pairs].kind == HTTP_JSON_ARRAY)
        at = pairs;
    for (uint32_t i = at + 1; i < tokens[at].next; i = tokens[i].next) {
        uint32_t field = i + (at == pairs);
        if (at == pairs &&
            (tokens[i].kind != HTTP_JSON_ARRAY || tokens[i].count != 2))
            return http_call_refuse(call, HTTP_P_JSON,
                                    "an element of \"$pairs\" is "
                                    "[field,time]");
        if (!import_field(import, txn, field, tokens[field].next))
            return false;
        if (at != pairs)
            i++; /* the time is behind it */
    }
    return true;
}

static bool import_run(struct import *import, struct kv_txn *txn)
{
    struct http_call *call = &import->call;
    const kvsql_slice expire[] = {HTTP_WORD("PEXPIREAT"), call->key,
                                  import->until};

    for (unsigned i = 0; i < call->count; i++) {
        const struct http_command *command = &call->commands[i];
        if (import->more && http_is(command->argv[0], "DEL"))
            continue;
        if (!import_command(import, txn, command->argc, command->argv))
            return false;
    }
    return (import->until.p == NULL ||
            import_command(import, txn, 3, expire)) &&
           import_fields(import, txn);
}

/* The key of the line, in a batch of its own. */
static bool import_key(struct import *import, enum kv_type type)
{
    struct http_call *call = &import->call;
    struct http_request *request = import->request;
    uint32_t value = http_json_find(&call->json, 0, "value");
    struct kvsql_error err;
    struct kv_txn *txn;

    if (value == 0)
        return http_call_refuse(call, HTTP_P_JSON, "\"value\" must be there");
    if (!http_value_replace(call, type, value))
        return false;
    kvsql_rc rc = kv_txn_begin(atomic_load(&request->server->db), true,
                               IMPORT_WAIT_MS, &txn, &err);
    if (rc != KVSQL_OK)
        return http_call_fail(call, rc, err.text, NULL);
    if (!import_run(import, txn)) {
        kv_txn_rollback(txn);
        return false;
    }
    rc = kv_txn_commit(txn, &request->ticket, &err);
    if (rc != KVSQL_OK)
        return http_call_fail(call, rc, err.text, NULL);
    request->has_ticket = true;
    import->keys++;
    return true;
}

static bool import_line(struct import *import, uint8_t *p, size_t size)
{
    struct http_call *call = &import->call;
    struct kvsql_error err;
    enum kv_type type;
    kvsql_rc rc = http_json_parse(&call->json, p, size, &err);
    bool good;

    if (rc == KVSQL_TOOBIG || rc == KVSQL_NOMEM)
        good = http_call_fail(call, rc, err.text, NULL);
    else if (rc != KVSQL_OK)
        good = http_call_refuse(call, HTTP_P_JSON, "%s", err.text);
    else
        good = import_members(import, &type) &&
               (type == KV_NONE || import_key(import, type));
    http_json_fini(&call->json);
    for (unsigned i = 0; i < call->count; i++)
        cmd_reply_fini(&call->commands[i].reply);
    return good;
}

/* ---- all lines ------------------------------------------------------------------------ */

/* Is anything but blanks in the line? */
static bool import_is_empty(const uint8_t *p, size_t size)
{
    while (size > 0 && strchr(" \t\r", p[size - 1]) != NULL &&
           p[size - 1] != 0)
        size--;
    return size == 0;
}

/* Which line it was, and how many keys are there. */
static void import_failed(const struct import *import)
{
    struct kv_buf *out = &import->request->answer.body;

    if (out->failed || out->size == 0)
        return;
    out->size--; /* the closing brace */
    kv_buf_printf(out, ",\"line\":%llu,\"imported\":%llu}",
                  (unsigned long long)import->line,
                  (unsigned long long)import->keys);
}

static void import_work(struct http_request *request,
                        struct http_worker *worker)
{
    struct kv_buf *body = &request->body;
    struct import import = {.request = request};

    (void)worker;
    for (size_t at = 0; at < body->size;) {
        uint8_t *p = body->p + at, *end = memchr(p, '\n', body->size - at);
        size_t size = end != NULL ? (size_t)(end - p) : body->size - at;
        at += size + (end != NULL);
        import.line++;
        if (import_is_empty(p, size))
            continue;
        import.call = (struct http_call){.request = request};
        import.until = (kvsql_slice){NULL, 0};
        if (!import_line(&import, p, size)) {
            import_failed(&import);
            return;
        }
    }
    http_answer(request, 200, HTTP_TYPE_JSON);
    kv_buf_printf(&request->answer.body, "{\"imported\":%llu}",
                  (unsigned long long)import.keys);
    if (request->has_ticket)
        http_answer_header(request, "X-KVSQL-Position", "%llu",
                           (unsigned long long)request->ticket.position);
}

enum http_next http_do_import(struct http_request *request)
{
    request->work = import_work;
    return HTTP_NEXT_WORK;
}
