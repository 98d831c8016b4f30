/* purge.c - POST /v1/keys:delete: all keys under a prefix, up to a number.
 *
 *   {"prefix":"cache:", "match":"*:tmp", "type":"string"}
 *   Prefer: max-affected=1000
 *
 * What is there to delete is looked up on a view, so that a long walk holds up
 * nobody, and deleted in one transaction. More keys than the client allowed:
 * 409, and nothing is deleted. A key that came after the look stays.
 *
 * Thread: workers. */
#include <stdio.h>
#include <string.h>

#include "http/again.h"
#include "http/value.h"

#define PURGE_MOST 100000   /* keys of one request */
#define PURGE_WAIT_MS 10000 /* for the store */

struct purge {
    struct http_request *request;
    struct http_prefer prefer;
    struct http_json json;
    kvsql_slice prefix, match, type;
    struct kv_buf pattern;
    struct cmd_reply found; /* of SCAN: [cursor, [key ..]] */
    uint64_t count;
    kvsql_slice *argv; /* DEL key .. */
};

/* ---- reading the request ---------------------------------------------------------- */

static bool purge_text(struct purge *purge, const char *name, kvsql_slice *out)
{
    uint32_t at = http_json_find(&purge->json, 0, name);
    const struct http_json_token *token = &purge->json.tokens[at];

    if (at == 0)
        return true;
    if (token->kind == HTTP_JSON_STRING) {
        *out = http_json_slice(token);
        return true;
    }
    if (token->kind == HTTP_JSON_OBJECT &&
        http_value_base64(purge->request, &purge->json, at, out))
        return true;
    http_refuse(purge->request, HTTP_P_JSON,
                "\"%s\" is a string or {\"$base64\":\"..\"}", name);
    return false;
}

static bool purge_type(struct purge *purge)
{
    if (purge->type.p == NULL || http_value_type(purge->type) != KV_NONE)
        return true;
    http_refuse(purge->request, HTTP_P_JSON,
                "\"type\" is string, hash, list, set or zset");
    return false;
}

static bool purge_read(struct purge *purge)
{
    static const char *const names[] = {"prefix", "match", "type", NULL};
    struct http_request *request = purge->request;
    struct kvsql_error err;
    kvsql_rc rc;

    if (!http_prefer_read(request, &purge->prefer))
        return false;
    if (!purge->prefer.has_most || purge->prefer.most > PURGE_MOST) {
        http_refuse_limit(request, HTTP_P_PARAMETER, PURGE_MOST,
                          "say how many keys may go: Prefer: max-affected=n, "
                          "at most %d",
                          PURGE_MOST);
        return false;
    }
    rc = http_json_parse(&purge->json, request->body.p
                                           ? request->body.p
                                           : (uint8_t *)(uintptr_t)"",
                         request->body.size, &err);
    if (rc == KVSQL_OK && purge->json.tokens[0].kind != HTTP_JSON_OBJECT)
        rc = kv_fail(&err, KVSQL_SYNTAX, "the body is an object with "
                                         "\"prefix\"");
    if (rc == KVSQL_OK)
        rc = http_prefer_only(request, &purge->json, 0, names, &err);
    if (rc == KVSQL_OK && http_json_find(&purge->json, 0, "prefix") == 0)
        rc = kv_fail(&err, KVSQL_SYNTAX, "\"prefix\" must be there; \"\" is "
                                         "every key");
    if (rc == KVSQL_TOOBIG || rc == KVSQL_NOMEM) {
        http_fail(request, rc, err.text, NULL);
        return false;
    }
    if (rc != KVSQL_OK) {
        http_refuse(request, HTTP_P_JSON, "%s", err.text);
        return false;
    }
    return purge_text(purge, "prefix", &purge->prefix) &&
           purge_text(purge, "match", &purge->match) &&
           purge_text(purge, "type", &purge->type) && purge_type(purge);
}

/* ---- finding ---------------------------------------------------------------------- */

/* All keys of the pattern and type, of one state. False: refused. */
static bool purge_find(struct purge *purge)
{
    kvsql *db = atomic_load(&purge->request->server->db);
    const kvsql_slice argv[] = {
        HTTP_WORD("SCAN"),  HTTP_WORD("0"),
        HTTP_WORD("COUNT"), HTTP_WORD("1000000000000"),
        HTTP_WORD("MATCH"), {purge->pattern.p, purge->pattern.size},
        HTTP_WORD("TYPE"),  purge->type};
    struct kvsql_error err;
    struct kv_view *view;
    struct kv_at at;
    kvsql_rc rc = purge->pattern.failed
                      ? kv_fail(&err, KVSQL_NOMEM, "no memory for a pattern")
                      : kv_pin(db, &view, &err);

    if (rc != KVSQL_OK) {
        http_fail(purge->request, rc, err.text, NULL);
        return false;
    }
    kv_view_hold(view, "http");
    kv_at_view(view, &at);
    rc = cmd_run_at(db, &at, purge->type.p != NULL ? 8 : 6, argv,
                    &purge->found);
    kv_unpin(view);
    if (rc == KVSQL_OK && !cmd_reply_failed(&purge->found))
        return true;
    http_fail_reply(purge->request, &purge->found);
    return false;
}

/* Those that match, too, as the words of a DEL. False: refused. */
static bool purge_choose(struct purge *purge)
{
    struct cmd_item item;
    size_t offset = 0, keys;

    for (unsigned i = 0; i < 3; i++) /* the pair, the cursor, how many */
        (void)cmd_reply_next(&purge->found, &offset, &item);
    keys = (size_t)item.number;
    purge->argv = http_alloc(purge->request,
                             ((keys < purge->prefer.most
                                   ? keys : purge->prefer.most) + 1) *
                                 sizeof *purge->argv);
    if (purge->argv == NULL) {
        http_fail(purge->request, KVSQL_NOMEM, "no memory for the keys", NULL);
        return false;
    }
    purge->argv[0] = HTTP_WORD("DEL");
    while (cmd_reply_next(&purge->found, &offset, &item)) {
        if (purge->match.p != NULL &&
            !kv_glob_match(purge->match.p, purge->match.size, item.p,
                           item.size, false))
            continue;
        if (purge->count == purge->prefer.most) {
            http_refuse_limit(purge->request, HTTP_P_AFFECTED,
                              purge->prefer.most,
                              "more than %llu keys would go; nothing was "
                              "deleted",
                              (unsigned long long)purge->prefer.most);
            return false;
        }
        purge->argv[++purge->count] = (kvsql_slice){item.p, item.size};
    }
    return true;
}

/* ---- deleting --------------------------------------------------------------------- */

static void purge_done(struct purge *purge, int64_t deleted)
{
    http_answer(purge->request, 200, HTTP_TYPE_JSON);
    kv_buf_printf(&purge->request->answer.body, "{\"deleted\":%lld}",
                  (long long)deleted);
    http_prefer_applied(purge->request, &purge->prefer, "");
}

/* In an open txn; false: refused. */
static bool purge_run(struct purge *purge, struct kv_txn *txn)
{
    struct cmd_item item = {0};
    struct cmd_reply reply;
    size_t offset = 0;
    bool good = true;

    cmd_reply_init(&reply, HTTP_BLOCK);
    if (purge->count > 0) /* one command: DEL has a key at least */
        good = cmd_run_in(txn, (unsigned)purge->count + 1, purge->argv,
                          &reply) == KVSQL_OK;
    if (good && purge->count > 0)
        (void)cmd_reply_next(&reply, &offset, &item);
    if (good)
        purge_done(purge, item.number);
    else
        http_fail_reply(purge->request, &reply);
    cmd_reply_fini(&reply);
    return good;
}

static void purge_delete(struct purge *purge)
{
    struct http_request *request = purge->request;
    kvsql *db = atomic_load(&request->server->db);
    struct kvsql_error err;
    struct kv_txn *txn;
    kvsql_rc rc = kv_txn_begin(db, true, PURGE_WAIT_MS, &txn, &err);

    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return;
    }
    request->ticket = kv_txn_ticket(txn);
    request->has_ticket = true;
    if (!http_again_fresh(request, txn) || !purge_run(purge, txn) ||
        purge->prefer.dry || !http_again_keep(request, txn)) {
        kv_txn_rollback(txn);
        return;
    }
    rc = kv_txn_commit(txn, &request->ticket, &err);
    if (rc != KVSQL_OK)
        http_fail(request, rc, err.text, NULL);
}

static void purge_work(struct http_request *request,
                       struct http_worker *worker)
{
    struct purge purge = {.request = request};

    (void)worker;
    kv_buf_init(&purge.pattern, KV_MEM_CLIENT, 4 * request->server->body_max);
    cmd_reply_init(&purge.found, HTTP_REPLY_MAX);
    if (purge_read(&purge)) {
        http_value_pattern(&purge.pattern, purge.prefix);
        if (purge_find(&purge) && purge_choose(&purge))
            purge_delete(&purge);
    }
    cmd_reply_fini(&purge.found);
    kv_buf_fini(&purge.pattern);
    http_json_fini(&purge.json);
}

enum http_next http_do_keys_purge(struct http_request *request)
{
    request->work = purge_work;
    return HTTP_NEXT_WORK;
}
