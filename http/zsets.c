/* zsets.c - /v1/zsets/{key}: what changes it, and its members; ranges are in
 * zrange.c.
 *
 * Thread: the one that has the request. */
#include "http/value.h"

static bool zsets_put(struct http_call *call)
{
    return http_value_replace(call, KV_ZSET, 0);
}

HTTP_DEED(zsets_put, .type = KV_ZSET,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .say = zsets_put)

/* ---- verbs ------------------------------------------------------------------------- */

static bool zsets_add(struct http_call *call)
{
    static const struct {
        const char *name;
        kvsql_slice word;
    } options[] = {{"nx", {"NX", 2}}, {"xx", {"XX", 2}}, {"gt", {"GT", 2}},
                   {"lt", {"LT", 2}}, {"ch", {"CH", 2}}};
    kvsql_slice words[7] = {HTTP_WORD("ZADD"), call->key};
    unsigned count = 2;

    for (unsigned i = 0; i < sizeof options / sizeof *options; i++) {
        uint32_t at = http_json_find(&call->json, 0, options[i].name);
        enum http_json_kind kind = call->json.tokens[at].kind;
        if (at != 0 && kind == HTTP_JSON_TRUE)
            words[count++] = options[i].word;
        else if (at != 0 && kind != HTTP_JSON_FALSE)
            return http_call_refuse(call, HTTP_P_JSON,
                                    "\"%s\" is true or false",
                                    options[i].name);
    }
    return http_value_scores(call, http_value_place(call, "members"), words,
                             count);
}

static void zsets_added(struct http_call *call)
{
    uint32_t ch = http_json_find(&call->json, 0, "ch");

    http_call_number(call, ch != 0 && call->json.tokens[ch].kind ==
                                          HTTP_JSON_TRUE
                               ? "changed" : "added");
}

HTTP_DEED(zsets_add, .type = KV_ZSET,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .members = (const char *const[]){"members", "nx", "xx", "gt", "lt",
                                           "ch", NULL},
          .say = zsets_add, .show = zsets_added)

static bool zsets_incr(struct http_call *call)
{
    kvsql_slice member, by = HTTP_WORD("1");

    return http_value_member(call, "member", &member) &&
           http_value_option(call, "by", &by) &&
           HTTP_SAY(call, HTTP_WORD("ZINCRBY"), call->key, by, member);
}

static void zsets_scored(struct http_call *call)
{
    struct kv_buf *out = http_call_answer(call);

    kv_buf_text(out, "{\"score\":");
    http_json_double(out, http_call_item(call, 0).real, false);
    kv_buf_byte(out, '}');
}

HTTP_DEED(zsets_incr, .type = KV_ZSET,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .members = (const char *const[]){"member", "by", NULL},
          .say = zsets_incr, .show = zsets_scored)

static bool zsets_pop(struct http_call *call)
{
    kvsql_slice end = HTTP_WORD("min"), count = HTTP_WORD("1");

    if (!http_value_option(call, "end", &end) ||
        !http_value_option(call, "count", &count))
        return false;
    if (!http_is(end, "min") && !http_is(end, "max"))
        return http_call_refuse(call, HTTP_P_JSON,
                                "\"end\" is \"min\" or \"max\"");
    return HTTP_SAY(call, http_is(end, "min") ? HTTP_WORD("ZPOPMIN")
                                              : HTTP_WORD("ZPOPMAX"),
                    call->key, count);
}

static void zsets_popped(struct http_call *call)
{
    struct kv_buf *out = http_call_answer(call);

    kv_buf_text(out, "{\"members\":");
    http_value_scored(out, &call->commands[0].reply);
    kv_buf_byte(out, '}');
}

HTTP_DEED(zsets_pop, .type = KV_ZSET,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_JSON | HTTP_CALL_WHOLE |
                   HTTP_CALL_WAITS,
          .members = (const char *const[]){"end", "count", NULL},
          .say = zsets_pop, .show = zsets_popped)

/* ---- one member -------------------------------------------------------------------- */

static bool zsets_member_get(struct http_call *call)
{
    kvsql_slice member = http_call_segment(call, 1);

    return HTTP_SAY(call, HTTP_WORD("ZSCORE"), call->key, member) &&
           HTTP_SAY(call, HTTP_WORD("ZRANK"), call->key, member);
}

static void zsets_member_got(struct http_call *call)
{
    struct cmd_item score = http_call_item(call, 0);

    if (score.kind == CMD_REPLY_NULL) {
        http_call_absent(call, "member", http_call_segment(call, 1));
        return;
    }
    struct kv_buf *out = http_call_answer(call);
    kv_buf_text(out, "{\"score\":");
    http_json_double(out, score.real, false);
    kv_buf_printf(out, ",\"rank\":%lld}",
                  (long long)http_call_item(call, 1).number);
}

HTTP_DEED(zsets_member_get, .type = KV_ZSET, .say = zsets_member_get,
          .show = zsets_member_got)

static bool zsets_member_put(struct http_call *call)
{
    kvsql_slice score;

    return http_value_member(call, "score", &score) &&
           HTTP_SAY(call, HTTP_WORD("ZADD"), call->key, score,
                    http_call_segment(call, 1));
}

HTTP_DEED(zsets_member_put, .type = KV_ZSET,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_ELEMENT,
          .members = (const char *const[]){"score", NULL},
          .say = zsets_member_put)

static bool zsets_member_delete(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("ZREM"), call->key,
                    http_call_segment(call, 1));
}

static void zsets_member_gone(struct http_call *call)
{
    http_call_removed(call, "member");
}

HTTP_DEED(zsets_member_delete, .type = KV_ZSET, .flags = HTTP_CALL_WRITES,
          .say = zsets_member_delete, .show = zsets_member_gone)
