/* batch_read.c - the body of a batch: shape, conditions, ops (batch.c).
 *
 * Thread: workers. */
#include <string.h>

#include "http/again.h"
#include "http/batch.h"
#include "http/prefer.h"
#include "http/tier1.h"
#include "http/value.h"
#include "kvsql/base/num.h"

#define BATCH_OPS_MAX 10000

/* ---- reading ------------------------------------------------------------------ */

static bool batch_bad(struct http_batch *batch, const char *what)
{
    http_refuse(batch->request, HTTP_P_JSON, "%s", what);
    return false;
}

static bool batch_sql_op(struct http_batch *batch, uint32_t at,
                         struct http_batch_op *op)
{
    static const char *const names[] = {"sql", "params", NULL};
    const struct http_json *json = &batch->json;
    struct kvsql_error err;
    uint32_t sql = http_json_find(json, at, "sql");

    if (http_prefer_only(batch->request, json, at, names, &err) != KVSQL_OK)
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

static bool batch_ops(struct http_batch *batch, uint32_t list)
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
        struct http_batch_op *op = &batch->ops[batch->count];
        *op = (struct http_batch_op){0};
        if (tokens[i].kind == HTTP_JSON_OBJECT) {
            if (!batch_sql_op(batch, i, op))
                return false;
        } else {
            op->argv = http_words(batch->request, &batch->json, i, &op->argc);
            if (op->argv == NULL)
                return false;
        }
        batch->count++;
    }
    return true;
}

/* One element of "if". */
static bool batch_condition(struct http_batch *batch, uint32_t at,
                            struct http_batch_if *condition)
{
    static const char *const names[] = {"key", "version", NULL};
    const struct http_json *json = &batch->json;
    const struct http_json_token *tokens = json->tokens;
    uint32_t key = http_json_find(json, at, "key");
    uint32_t number = http_json_find(json, at, "version");
    struct kvsql_error err;
    bool good =
        tokens[at].kind == HTTP_JSON_OBJECT && key != 0 && number != 0 &&
        kv_num_uint(tokens[number].p, tokens[number].size, &condition->version);

    if (good && tokens[key].kind == HTTP_JSON_STRING)
        condition->key = http_json_slice(&tokens[key]);
    else
        good = good && tokens[key].kind == HTTP_JSON_OBJECT &&
               http_value_base64(batch->request, json, key, &condition->key);
    if (!good)
        return batch_bad(batch, "an element of \"if\" has a \"key\", a string "
                                "or {\"$base64\":\"..\"}, and a number "
                                "\"version\" (0: must be absent)");
    return http_prefer_only(batch->request, json, at, names, &err) == KVSQL_OK ||
           batch_bad(batch, err.text);
}

static bool batch_conditions(struct http_batch *batch, uint32_t list)
{
    const struct http_json_token *tokens = batch->json.tokens;

    if (list == 0)
        return true;
    if (tokens[list].kind != HTTP_JSON_ARRAY || !batch->atomic)
        return batch_bad(batch, "\"if\" is an array and needs \"atomic\"");
    batch->conditions = http_alloc(
        batch->request, (tokens[list].count + 1) * sizeof *batch->conditions);
    if (batch->conditions == NULL) {
        http_fail(batch->request, KVSQL_NOMEM, "no memory for \"if\"", NULL);
        return false;
    }
    for (uint32_t i = list + 1; i < tokens[list].next; i = tokens[i].next)
        if (!batch_condition(batch, i,
                             &batch->conditions[batch->condition_count++]))
            return false;
    return true;
}

bool http_batch_read(struct http_batch *batch)
{
    static const char *const names[] = {"atomic", "if", "ops", NULL};
    struct http_request *request = batch->request;
    struct http_json *json = &batch->json;
    struct kvsql_error err;
    kvsql_rc rc = http_json_parse(
        json, request->body.p ? request->body.p : (uint8_t *)(uintptr_t) "",
        request->body.size, &err);

    if (rc == KVSQL_TOOBIG || rc == KVSQL_NOMEM) {
        http_fail(request, rc, err.text, NULL);
        return false;
    }
    if (rc == KVSQL_OK && json->tokens[0].kind != HTTP_JSON_OBJECT)
        rc = kv_fail(&err, KVSQL_SYNTAX, "the body is an object with \"ops\"");
    if (rc == KVSQL_OK)
        rc = http_prefer_only(request, json, 0, names, &err);
    if (rc != KVSQL_OK)
        return batch_bad(batch, err.text);
    uint32_t atomic = http_json_find(json, 0, "atomic");
    batch->atomic = atomic == 0 || json->tokens[atomic].kind == HTTP_JSON_TRUE;
    if (atomic != 0 && !batch->atomic &&
        json->tokens[atomic].kind != HTTP_JSON_FALSE)
        return batch_bad(batch, "\"atomic\" is true or false");
    if (!http_prefer_read(request, &batch->prefer))
        return false;
    if ((batch->prefer.dry || batch->prefer.has_most) && !batch->atomic)
        return batch_bad(batch, "Prefer: tx=rollback and max-affected need "
                                "\"atomic\"");
    if (http_again_asked(request) && !batch->atomic)
        return batch_bad(batch, "an Idempotency-Key needs \"atomic\"");
    return batch_conditions(batch, http_json_find(json, 0, "if")) &&
           batch_ops(batch, http_json_find(json, 0, "ops"));
}
