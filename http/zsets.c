/* zsets.c - /v1/zsets/{key}: ranges by rank, score or name, and members.
 *
 * Thread: the one that has the request. */
#include "http/value.h"
#include "kvsql/base/num.h"

/* ---- ranges ------------------------------------------------------------------------ */

struct zsets_query {
    bool score, lex, rev;
    kvsql_slice min, max, limit;
};

static bool zsets_query(struct http_call *call, struct zsets_query *query)
{
    struct http_request *request = call->request;
    kvsql_slice by = http_param(request, "by");
    kvsql_slice min = http_param(request, "min"), max = http_param(request, "max");
    uint64_t limit = 1;

    *query = (struct zsets_query){.score = http_is(by, "score"),
                                  .lex = http_is(by, "lex"),
                                  .rev = http_is(http_param(request, "rev"), "1"),
                                  .limit = http_param(request, "limit")};
    if (by.p != NULL && !query->score && !query->lex && !http_is(by, "rank"))
        return http_call_refuse(call, HTTP_P_PARAMETER,
                                "by is rank, score or lex");
    if (query->limit.p != NULL &&
        (!kv_num_uint(query->limit.p, query->limit.size, &limit) ||
         limit < 1 || limit > INT64_MAX))
        return http_call_refuse(call, HTTP_P_PARAMETER,
                                "limit is a whole number from 1 on");
    query->min = min.p != NULL  ? min
                 : query->score ? HTTP_WORD("-inf")
                 : query->lex   ? HTTP_WORD("-")
                                : HTTP_WORD("0");
    query->max = max.p != NULL  ? max
                 : query->score ? HTTP_WORD("+inf")
                 : query->lex   ? HTTP_WORD("+")
                                : HTTP_WORD("-1");
    return true;
}

/* By score and by name the greater end comes first in reverse order; by rank
 * the ranks are those of that order. */
static bool zsets_get(struct http_call *call)
{
    struct zsets_query query;

    if (!zsets_query(call, &query))
        return false;
    bool turn = query.rev && (query.score || query.lex);
    if (!HTTP_SAY_MORE(call, 6, HTTP_WORD("ZRANGE"), call->key,
                       turn ? query.max : query.min,
                       turn ? query.min : query.max))
        return false;
    if (query.score || query.lex)
        http_call_word(call, query.score ? HTTP_WORD("BYSCORE")
                                         : HTTP_WORD("BYLEX"));
    if (query.rev)
        http_call_word(call, HTTP_WORD("REV"));
    if (query.limit.p != NULL && (query.score || query.lex)) {
        http_call_word(call, HTTP_WORD("LIMIT"));
        http_call_word(call, HTTP_WORD("0"));
        http_call_word(call, query.limit);
    } else if (query.limit.p != NULL) {
        return http_call_refuse(call, HTTP_P_PARAMETER,
                                "limit goes with by=score and by=lex; ranks "
                                "are a range already");
    }
    if (!query.lex)
        http_call_word(call, HTTP_WORD("WITHSCORES"));
    return true;
}

static void zsets_got(struct http_call *call)
{
    http_value_answer(call, KV_ZSET, &call->commands[0].reply);
}

HTTP_DEED(zsets_get, .type = KV_ZSET, .flags = HTTP_CALL_WIDE,
          .say = zsets_get, .show = zsets_got)

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
          .flags = HTTP_CALL_WRITES | HTTP_CALL_JSON | HTTP_CALL_WHOLE,
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
