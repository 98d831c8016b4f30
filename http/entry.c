/* entry.c - writing a key whatever its type: /v1/keys/{key}, and DELETE of the
 * paths for one type.
 *
 * Thread: the one that has the request. */
#include <string.h>

#include "http/value.h"
#include "kvsql/base/num.h"

/* ---- deleting ------------------------------------------------------------------- */

static bool entry_delete(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("DEL"), call->key);
}

#define ENTRY_DELETE(name, kind)                                              \
    HTTP_DEED(name, .type = kind,                                             \
              .flags = HTTP_CALL_WRITES | HTTP_CALL_WHOLE,                    \
              .say = entry_delete)
ENTRY_DELETE(keys_delete, KV_NONE)
ENTRY_DELETE(strings_delete, KV_STRING)
ENTRY_DELETE(hashes_delete, KV_HASH)
ENTRY_DELETE(lists_delete, KV_LIST)
ENTRY_DELETE(sets_delete, KV_SET)
ENTRY_DELETE(zsets_delete, KV_ZSET)

/* ---- {"type":..,"value":..,"ttl_ms":n} -------------------------------------------- */

/* Milliseconds of a member, 1 to what a time can be. */
static bool entry_ms(struct http_call *call, const char *name, kvsql_slice text,
                     int64_t *ms)
{
    if (kv_num_int(text.p, text.size, ms) && *ms > 0)
        return true;
    return http_call_refuse(call, HTTP_P_JSON,
                            "\"%s\" is a whole number of milliseconds from 1 "
                            "on",
                            name);
}

static bool entry_put(struct http_call *call)
{
    kvsql_slice name, ttl = {NULL, 0};
    uint32_t value = http_json_find(&call->json, 0, "value");
    enum kv_type type;

    if (!http_value_member(call, "type", &name) ||
        !http_value_option(call, "ttl_ms", &ttl) ||
        (ttl.p != NULL && !entry_ms(call, "ttl_ms", ttl, &call->ttl_ms)))
        return false;
    type = http_value_type(name);
    if (type == KV_NONE || value == 0)
        return http_call_refuse(call, HTTP_P_JSON,
                                "\"type\" is string, hash, list, set or zset, "
                                "and \"value\" one of that type");
    return http_value_replace(call, type, value);
}

HTTP_DEED(keys_put, .type = KV_NONE,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .members = (const char *const[]){"type", "value", "ttl_ms", NULL},
          .say = entry_put)

/* ---- PATCH ------------------------------------------------------------------------ */

static bool entry_rename(struct http_call *call, kvsql_slice to)
{
    uint32_t at = http_json_find(&call->json, 0, "overwrite");
    const struct http_json_token *over = &call->json.tokens[at];

    if (at != 0 && over->kind != HTTP_JSON_TRUE &&
        over->kind != HTTP_JSON_FALSE)
        return http_call_refuse(call, HTTP_P_JSON,
                                "\"overwrite\" is true or false");
    return at != 0 && over->kind == HTTP_JSON_TRUE
               ? HTTP_SAY(call, HTTP_WORD("RENAME"), call->key, to)
               : HTTP_SAY(call, HTTP_WORD("RENAMENX"), call->key, to);
}

static bool entry_patch(struct http_call *call)
{
    kvsql_slice ttl = {NULL, 0}, at = ttl, to = ttl;
    uint32_t persist = http_json_find(&call->json, 0, "persist");
    int64_t ms;

    if (!http_value_option(call, "ttl_ms", &ttl) ||
        !http_value_option(call, "expire_at_ms", &at) ||
        !http_value_option(call, "rename_to", &to))
        return false;
    if ((ttl.p != NULL) + (at.p != NULL) + (to.p != NULL) + (persist != 0) != 1)
        return http_call_refuse(call, HTTP_P_JSON,
                                "give one of \"ttl_ms\", \"expire_at_ms\", "
                                "\"persist\":true and \"rename_to\"");
    if (to.p != NULL)
        return entry_rename(call, to);
    if (ttl.p != NULL)
        return entry_ms(call, "ttl_ms", ttl, &ms) &&
               HTTP_SAY(call, HTTP_WORD("PEXPIRE"), call->key, ttl);
    if (at.p != NULL)
        return entry_ms(call, "expire_at_ms", at, &ms) &&
               HTTP_SAY(call, HTTP_WORD("PEXPIREAT"), call->key, at);
    if (call->json.tokens[persist].kind != HTTP_JSON_TRUE)
        return http_call_refuse(call, HTTP_P_JSON, "\"persist\" is true");
    return HTTP_SAY(call, HTTP_WORD("PERSIST"), call->key);
}

/* RENAMENX says 0 when the other key is there. */
static void entry_patched(struct http_call *call)
{
    const struct http_command *command = &call->commands[0];
    struct cmd_item item = http_call_item(call, 0);

    if (http_is(command->argv[0], "RENAMENX") && item.number == 0)
        (void)http_call_fail(call, KVSQL_EXISTS,
                             "a key of the new name is there; "
                             "\"overwrite\":true replaces it",
                             NULL);
    else
        http_answer(call->request, 204, NULL);
}

HTTP_DEED(keys_patch, .type = KV_NONE,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_JSON,
          .members = (const char *const[]){"ttl_ms", "expire_at_ms", "persist",
                                           "rename_to", "overwrite", NULL},
          .say = entry_patch, .show = entry_patched)
