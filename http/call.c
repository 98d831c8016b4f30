/* call.c - what all requests on one key share: see call.h.
 *
 * Always true:
 *   CA1  the key is looked at, changed and looked at again under one lock, or
 *        read of one view; nothing between can be another's.
 *   CA2  whatever is told of a state waits at the gate for that state, a
 *        refusal too (D3).
 *
 * Thread: the event loop's for short work, a worker for the rest. */
#include "http/call.h"

#include <stdio.h>
#include <string.h>

#include "command/stats.h"
#include "http/again.h"
#include "http/value.h"
#include "http/views.h"
#include "kvsql/base/num.h"

#define CALL_WAIT_MS 10000          /* for the store, as commands do */
#define CALL_CACHE_SIZE 48
#define CALL_MEMORY_INLINE 65536    /* of a value that an event loop copies */
#define CALL_MEMORY_WHOLE (1u << 20) /* of one that is copied under the lock */

/* ---- the key -------------------------------------------------------------------- */

static void call_look(const struct http_call *call, const struct kv_at *at,
                      struct http_key *seen)
{
    const struct kv_key key = kv_key_of(call->key.p, call->key.size);
    struct kv_item item = {0};

    *seen = (struct http_key){.ttl_ms = -1};
    seen->found = kv_get(at, &key, &item);
    /* Asked for an absent key, too: from now on they are kept. */
    const uint64_t version = kv_item_version(at, &item);
    if (!seen->found)
        return;
    seen->type = item.type;
    seen->version = version;
    seen->memory = kv_item_memory(&item, key.size);
    seen->length = kv_item_length(&item);
    if (item.expires_at > 0)
        seen->ttl_ms = item.expires_at - kv_at_wall(at);
}

/* 412, with what the version is. */
static bool call_moved(struct http_call *call, const char *etag)
{
    const struct http_key *key = &call->before;
    char current[32] = "null", extra[48], text[128];

    snprintf(text, sizeof text, "the key is %s%s", key->found ? "at " : "absent",
             key->found ? etag : "");
    if (key->found)
        snprintf(current, sizeof current, "%llu",
                 (unsigned long long)key->version);
    snprintf(extra, sizeof extra, ",\"current\":%s", current);
    http_refuse_with(call->request, HTTP_P_VERSION, text, extra);
    if (key->found)
        http_answer_header(call->request, "ETag", "%s", etag);
    call->refused = true;
    return false;
}

static bool call_matches(struct http_call *call)
{
    const kvsql_slice *headers = call->request->headers;
    kvsql_slice match = headers[HTTP_H_IF_MATCH];
    kvsql_slice none = headers[HTTP_H_IF_NONE_MATCH];
    const struct http_key *key = &call->before;
    char etag[HTTP_ETAG_SIZE];

    if (match.p == NULL && none.p == NULL)
        return true;
    http_etag(call->request, key->version, etag);
    if (match.p != NULL && !(key->found && http_version_in(match, etag, true)))
        return call_moved(call, etag);
    if (none.p == NULL || !key->found || !http_version_in(none, etag, false))
        return true;
    if (call->deed->flags & HTTP_CALL_WRITES)
        return call_moved(call, etag);
    http_answer(call->request, 304, NULL);
    call->request->answer.cache = "no-cache";
    http_answer_header(call->request, "ETag", "%s", etag);
    call->refused = true;
    return false;
}

static bool call_type_fits(struct http_call *call)
{
    enum kv_type want = call->deed->type, has = call->before.type;
    struct kv_buf extra;
    char text[96];

    if (want == KV_NONE || want == has || !call->before.found)
        return true;
    snprintf(text, sizeof text, "the key holds a %s, this path is for a %s",
             kv_type_name(has), kv_type_name(want));
    kv_buf_init(&extra, KV_MEM_CLIENT, 4 * HTTP_URI_MAX);
    kv_buf_printf(&extra, ",\"actual_type\":\"%s\",\"path\":\"",
                  kv_type_name(has));
    http_value_path(&extra, has, call->key);
    kv_buf_byte(&extra, '"');
    kv_buf_byte(&extra, 0);
    (void)http_call_fail(call, KVSQL_WRONGTYPE, text,
                    extra.failed ? NULL : (const char *)extra.p);
    kv_buf_fini(&extra);
    return false;
}

/* May it go on, by what the key is? */
static bool call_allowed(struct http_call *call)
{
    unsigned flags = call->deed->flags;
    bool asked = (flags & HTTP_CALL_WRITES) &&
                 call->request->headers[HTTP_H_IF_MATCH].p != NULL;

    if (!call->before.found && !(flags & HTTP_CALL_MAKES) && !asked) {
        http_call_absent(call, "key", call->key);
        return false;
    }
    return call_matches(call) && call_type_fits(call);
}

/* ---- running -------------------------------------------------------------------- */

/* In `txn`, or on a view. */
static bool call_command(struct http_call *call, struct kv_txn *txn,
                         const struct kv_at *at, unsigned argc,
                         const kvsql_slice *argv, struct cmd_reply *reply)
{
    kvsql_rc rc;

    cmd_slowlog_origin("http", NULL);
    rc = txn != NULL ? cmd_run_in(txn, argc, argv, reply)
                     : cmd_run_at(atomic_load(&call->request->server->db), at,
                                  argc, argv, reply);
    if (rc == KVSQL_OK && !cmd_reply_failed(reply))
        return true;
    http_fail_reply(call->request, reply);
    call->refused = true;
    return false;
}

/* All of the value, for Prefer: return=. */
static bool call_whole(struct http_call *call, struct kv_txn *txn,
                       const struct http_key *key)
{
    kvsql_slice argv[HTTP_VALUE_WORDS];

    if (!key->found)
        return true;
    cmd_reply_init(&call->whole, HTTP_REPLY_MAX);
    call->has_whole = true;
    return call_command(call, txn, NULL,
                        http_value_command(key->type, call->key, argv), argv,
                        &call->whole);
}

static bool call_expire(struct http_call *call, struct kv_txn *txn)
{
    char text[KV_INT_TEXT_MAX];
    size_t size = kv_num_format_int(text, call->ttl_ms);
    const kvsql_slice argv[] = {HTTP_WORD("PEXPIRE"), call->key, {text, size}};
    struct cmd_reply reply;

    if (call->ttl_ms == 0)
        return true;
    cmd_reply_init(&reply, HTTP_BLOCK);
    bool good = call_command(call, txn, NULL, 3, argv, &reply);
    cmd_reply_fini(&reply);
    return good;
}

/* Of a key that is read, at the place of `at`. */
static bool call_aim(struct http_call *call, const struct kv_at *at)
{
    return call->deed->aim == NULL || call->deed->aim(call, at);
}

static bool call_commands(struct http_call *call, struct kv_txn *txn,
                          const struct kv_at *at)
{
    for (unsigned i = 0; i < call->count; i++) {
        struct http_command *command = &call->commands[i];
        if (!call_command(call, txn, at, command->argc, command->argv,
                          &command->reply))
            return false;
    }
    return true;
}

/* Prefer: return= of what it can be given for: no value whose copying would
 * hold up all others. */
static enum http_return call_return(const struct http_call *call)
{
    bool whole = (call->deed->flags & HTTP_CALL_WHOLE) != 0;

    switch (call->prefer.result) {
    case HTTP_RETURN_PREVIOUS:
        whole = whole && call->before.memory <= CALL_MEMORY_WHOLE;
        break;
    case HTTP_RETURN_REPRESENTATION:
        whole = whole && call->after.memory <= CALL_MEMORY_WHOLE;
        break;
    default:
        return call->prefer.result;
    }
    return whole ? call->prefer.result : HTTP_RETURN_DEFAULT;
}

static bool call_change(struct http_call *call, struct kv_txn *txn)
{
    struct kv_at at;

    if (call_return(call) == HTTP_RETURN_PREVIOUS &&
        !call_whole(call, txn, &call->before))
        return false;
    if (!call_commands(call, txn, NULL) || !call_expire(call, txn))
        return false;
    kv_at_txn(txn, &at);
    call_look(call, &at, &call->after);
    return call_return(call) != HTTP_RETURN_REPRESENTATION ||
           call_whole(call, txn, &call->after);
}

/* ---- the answer ----------------------------------------------------------------- */

/* ?cache=n: for n seconds, and no longer than the key lives. */
static void call_keep(struct http_call *call, int64_t ttl_ms)
{
    char *text = http_alloc(call->request, CALL_CACHE_SIZE);
    uint64_t seconds = call->cache;

    if (ttl_ms >= 0 && (uint64_t)ttl_ms / 1000 < seconds)
        seconds = (uint64_t)ttl_ms / 1000;
    if (text == NULL)
        return; /* then it is not kept */
    snprintf(text, CALL_CACHE_SIZE, "private, max-age=%llu",
             (unsigned long long)seconds);
    call->request->answer.cache = text;
}

static void call_heads(struct http_call *call, const struct http_key *key)
{
    struct http_request *request = call->request;
    char etag[HTTP_ETAG_SIZE];

    request->answer.cache = "no-cache";
    if (!key->found)
        return;
    http_etag(request, key->version, etag);
    http_answer_header(request, "ETag", "%s", etag);
    if (key->ttl_ms >= 0)
        http_answer_header(request, "X-KVSQL-TTL-Remaining-Ms", "%lld",
                           (long long)key->ttl_ms);
    if (call->cache > 0)
        call_keep(call, key->ttl_ms);
}

static void call_applied(struct http_call *call, enum http_return result)
{
    static const char *const words[] = {
        [HTTP_RETURN_DEFAULT] = "",
        [HTTP_RETURN_MINIMAL] = "return=minimal",
        [HTTP_RETURN_REPRESENTATION] = "return=representation",
        [HTTP_RETURN_PREVIOUS] = "return=previous"};

    http_prefer_applied(call->request, &call->prefer, words[result]);
}

/* Was something made: the element, or the key? */
static bool call_made(const struct http_call *call)
{
    if (call->deed->flags & HTTP_CALL_ELEMENT)
        return http_call_item(call, 0).number == 1;
    return (call->deed->flags & HTTP_CALL_WHOLE) && call->after.found &&
           !call->before.found;
}

static void call_show(struct http_call *call)
{
    struct http_request *request = call->request;
    enum http_return result = call_return(call);
    unsigned bare = call_made(call) ? 201 : 204;

    if (call->has_whole)
        http_value_answer(call,
                          result == HTTP_RETURN_PREVIOUS ? call->before.type
                                                         : call->after.type,
                          &call->whole);
    else if (call->deed->show != NULL)
        call->deed->show(call);
    else
        http_answer(request, bare, NULL);
    if (call->refused)
        return;
    if (call->has_whole && call->deed->show == NULL && bare == 201)
        request->answer.status = bare;
    if (result == HTTP_RETURN_MINIMAL)
        http_answer(request, bare, NULL);
    call_heads(call, &call->after);
    call_applied(call, result);
}

static void call_position(struct http_call *call, uint64_t position)
{
    http_answer_number(call->request, "X-KVSQL-Position", "", position);
}

/* With an Idempotency-Key the answer is made before the commit and becomes a
 * part of it. *kept: it did. False: refused, take all back. */
static bool call_keep_answer(struct http_call *call, struct kv_txn *txn,
                             bool *kept)
{
    const uint64_t position = http_again_position(txn);

    if (call->after.version == 0)
        call->after.version = position;
    call_show(call);
    *kept = !call->refused;
    if (!*kept)
        return true; /* nothing was there to change */
    call_position(call, position);
    return http_again_keep(call->request, txn);
}

static void call_commit(struct http_call *call, struct kv_txn *txn)
{
    struct http_request *request = call->request;
    const bool asked = http_again_asked(request);
    struct kvsql_error err;
    bool kept = false;

    if (asked && !call_keep_answer(call, txn, &kept)) {
        kv_txn_rollback(txn);
        return;
    }
    const kvsql_rc rc = kv_txn_commit(txn, &request->ticket, &err);
    if (rc != KVSQL_OK) {
        (void)http_call_fail(call, rc, err.text, NULL);
        return;
    }
    if (call->after.version == 0)
        call->after.version = request->ticket.position;
    if (!asked)
        call_show(call);
    if (!kept)
        call_position(call, request->ticket.position);
}

/* As many changes as the client allowed? */
static bool call_few(struct http_call *call, uint64_t count)
{
    const struct http_prefer *prefer = &call->prefer;

    if (prefer->has_most && count > prefer->most)
        call->refused = !http_prefer_beyond(call->request, prefer, count);
    return !call->refused;
}

static void call_write(struct http_call *call)
{
    struct http_request *request = call->request;
    kvsql *db = atomic_load(&request->server->db);
    struct kvsql_error err;
    struct kv_txn *txn;
    struct kv_at at;
    kvsql_rc rc = kv_txn_begin(db, true, CALL_WAIT_MS, &txn, &err);

    if (rc != KVSQL_OK) {
        (void)http_call_fail(call, rc, err.text, NULL);
        return;
    }
    request->ticket = kv_txn_ticket(txn); /* CA2 */
    request->has_ticket = true;
    kv_at_txn(txn, &at);
    if (!http_again_fresh(request, txn)) {
        kv_txn_rollback(txn);
        return;
    }
    call_look(call, &at, &call->before);
    if (http_call_wait(call) || !call_allowed(call) ||
        !call_change(call, txn) ||
        !call_few(call, kv_txn_count(txn))) {
        kv_txn_rollback(txn);
        return;
    }
    if (!call->prefer.dry) {
        call_commit(call, txn);
        return;
    }
    call->after.version += call->after.found && call->after.version == 0
                               ? at.position + 1 : 0;
    kv_txn_rollback(txn);
    call_show(call);
}

/* False: it is too much for an event loop. */
static bool call_read(struct http_call *call)
{
    struct http_request *request = call->request;
    kvsql *db = atomic_load(&request->server->db);
    struct kvsql_error err;
    struct kv_txn *txn;
    struct kv_at at;
    kvsql_rc rc = kv_txn_begin(db, false, CALL_WAIT_MS, &txn, &err);

    if (rc != KVSQL_OK)
        return http_call_fail(call, rc, err.text, NULL), true;
    kv_at_txn(txn, &at);
    call_look(call, &at, &call->before);
    bool heavy = (call->deed->flags & HTTP_CALL_WIDE) &&
                 call->before.memory > CALL_MEMORY_INLINE;
    bool good = !heavy && call_allowed(call) && call_aim(call, &at) &&
                call_commands(call, txn, NULL);
    rc = kv_txn_commit(txn, &request->ticket, &err);
    if (heavy)
        return false;
    request->has_ticket = rc == KVSQL_OK;
    if (rc != KVSQL_OK)
        return http_call_fail(call, rc, err.text, NULL), true;
    call->after = call->before;
    if (good)
        call_show(call);
    return true;
}

static void call_read_view(struct http_call *call)
{
    kvsql *db = atomic_load(&call->request->server->db);
    struct kvsql_error err;
    struct kv_view *view = NULL;
    struct kv_at at;

    if (!http_view_asked(call->request)) {
        call->refused = true;
        return;
    }
    if (call->request->view != NULL) {
        at = call->request->view->at;
    } else {
        const kvsql_rc rc = kv_pin(db, &view, &err);
        if (rc != KVSQL_OK) {
            (void)http_call_fail(call, rc, err.text, NULL);
            return;
        }
        kv_view_hold(view, "http");
        kv_at_view(view, &at);
    }
    call_look(call, &at, &call->before);
    bool good = call_allowed(call) && call_aim(call, &at) &&
                call_commands(call, NULL, &at);
    kv_unpin(view);
    call->after = call->before;
    if (good)
        call_show(call);
}

/* ---- from the request to the commands ---------------------------------------------- */

static bool call_json(struct http_call *call)
{
    struct http_request *request = call->request;
    struct http_json *json = &call->json;
    bool bare = request->body.size == 0 && request->method == HTTP_POST;
    struct kvsql_error err;
    kvsql_rc rc;

    if (bare) /* all its members have defaults, perhaps */
        kv_buf_text(&request->body, "{}");
    rc = http_json_parse(json,
                         request->body.p ? request->body.p
                                         : (uint8_t *)(uintptr_t)"",
                         request->body.size, &err);
    if (rc == KVSQL_TOOBIG || rc == KVSQL_NOMEM)
        return http_call_fail(call, rc, err.text, NULL);
    if (rc == KVSQL_OK && call->deed->members != NULL) {
        if (json->tokens[0].kind != HTTP_JSON_OBJECT)
            return http_call_refuse(call, HTTP_P_JSON, "the body is an object");
        rc = http_prefer_only(request, json, 0, call->deed->members, &err);
    }
    return rc == KVSQL_OK ? true
                          : http_call_refuse(call, HTTP_P_JSON, "%s", err.text);
}

static bool call_prepare(struct http_call *call)
{
    struct http_request *request = call->request;
    kvsql_slice cache = http_param(request, "cache");

    if (cache.p != NULL && !kv_num_uint(cache.p, cache.size, &call->cache))
        return http_call_refuse(call, HTTP_P_PARAMETER,
                                "cache is a whole number of seconds");
    if (!http_prefer_read(request, &call->prefer) ||
        !http_ttl_asked(request, &call->ttl_ms) || !http_call_may_wait(call))
        return false;
    if ((call->deed->flags & HTTP_CALL_JSON) && !call_json(call))
        return false;
    return call->deed->say(call);
}

void http_call_end(struct http_call *call)
{
    http_json_fini(&call->json);
    while (call->count > 0)
        http_call_unsay(call);
    if (call->has_whole)
        cmd_reply_fini(&call->whole);
}

static bool call_writes(const struct http_call *call)
{
    return (call->deed->flags & HTTP_CALL_WRITES) && !call->reads;
}

/* May a command take long that writes, or reads other keys, too? How long one
 * takes that reads this key alone is seen at the key. */
static bool call_is_long(const struct http_call *call)
{
    if (!(call->deed->flags & HTTP_CALL_WRITES))
        return false;
    for (unsigned i = 0; i < call->count; i++) {
        const struct http_command *command = &call->commands[i];
        const struct cmd_row *row = cmd_row_of(command->argc, command->argv);
        if (row != NULL && (row->flags & CMD_LONG))
            return true;
    }
    return false;
}

/* The commands are said: what remains for a worker. */
static void call_more(struct http_call *call)
{
    if (call_writes(call))
        call_write(call);
    else
        call_read_view(call);
}

/* False: the commands are said, and a worker is to do the rest. */
static bool call_do(struct http_call *call)
{
    if (!call_prepare(call))
        return true;
    if (call_is_long(call))
        return false;
    if (!call_writes(call)) /* letting go of a view may wait */
        return http_param(call->request, "view").p == NULL && call_read(call);
    call_write(call);
    return true;
}

static void call_work_more(struct http_request *request,
                           struct http_worker *worker)
{
    (void)worker;
    call_more(request->state);
    http_call_end(request->state);
}

static void call_work(struct http_request *request, struct http_worker *worker)
{
    (void)worker;
    if (!call_do(request->state))
        call_more(request->state);
    http_call_end(request->state);
}

/* It has looked: it waits, or is done. */
static enum http_next call_next(struct http_call *call)
{
    if (call->waits)
        return HTTP_NEXT_WAIT;
    http_call_waited(call);
    http_call_end(call);
    return HTTP_NEXT_ANSWER;
}

enum http_next http_call_again(struct http_request *request)
{
    struct http_call *call = request->state;

    call->waits = false;
    call->again = true;
    call_write(call);
    return call_next(call);
}

enum http_next http_call_run(struct http_request *request,
                             const struct http_deed *deed)
{
    struct http_call *call = http_alloc(request, sizeof *call);

    if (call == NULL) {
        http_fail(request, KVSQL_NOMEM, "no memory for the request", NULL);
        return HTTP_NEXT_ANSWER;
    }
    *call = (struct http_call){.request = request,
                               .deed = deed,
                               .key = request->segments[2]};
    request->state = call;
    if (request->body.size > HTTP_BODY_INLINE) {
        request->work = call_work;
        return HTTP_NEXT_WORK;
    }
    if (!call_do(call)) {
        call->wait_ms = 0; /* no command that waits is a long one */
        request->work = call_work_more;
        return HTTP_NEXT_WORK;
    }
    return call_next(call);
}
