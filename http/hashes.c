/* hashes.c - /v1/hashes/{key} and its fields.
 *
 * Thread: the one that has the request. */
#include "http/value.h"
#include "kvsql/base/num.h"

/* ---- all fields ------------------------------------------------------------------ */

static bool hashes_get(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("HGETALL"), call->key);
}

static void hashes_got(struct http_call *call)
{
    http_value_answer(call, KV_HASH, &call->commands[0].reply);
}

HTTP_DEED(hashes_get, .type = KV_HASH, .flags = HTTP_CALL_WIDE,
          .say = hashes_get, .show = hashes_got)

static bool hashes_put(struct http_call *call)
{
    return http_value_replace(call, KV_HASH, 0);
}

HTTP_DEED(hashes_put, .type = KV_HASH,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .say = hashes_put)

static bool hashes_patch(struct http_call *call)
{
    return http_value_merge(call, 0);
}

HTTP_DEED(hashes_patch, .type = KV_HASH,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .say = hashes_patch)

static bool hashes_incr(struct http_call *call)
{
    kvsql_slice field, by = HTTP_WORD("1");
    int64_t number;

    if (!http_value_member(call, "field", &field) ||
        !http_value_option(call, "by", &by))
        return false;
    return kv_num_int(by.p, by.size, &number)
               ? HTTP_SAY(call, HTTP_WORD("HINCRBY"), call->key, field, by)
               : HTTP_SAY(call, HTTP_WORD("HINCRBYFLOAT"), call->key, field,
                          by);
}

HTTP_DEED(hashes_incr, .type = KV_HASH,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .members = (const char *const[]){"field", "by", NULL},
          .say = hashes_incr, .show = http_value_counted)

/* ---- one field -------------------------------------------------------------------- */

static bool hashes_field_get(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("HGET"), call->key,
                    http_call_segment(call, 1));
}

static void hashes_field_got(struct http_call *call)
{
    struct cmd_item item = http_call_item(call, 0);

    if (item.kind == CMD_REPLY_NULL)
        http_call_absent(call, "field", http_call_segment(call, 1));
    else
        http_call_raw(call, &item);
}

HTTP_DEED(hashes_field_get, .type = KV_HASH, .say = hashes_field_get,
          .show = hashes_field_got)

static bool hashes_field_put(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("HSET"), call->key,
                    http_call_segment(call, 1), http_call_body(call));
}

HTTP_DEED(hashes_field_put, .type = KV_HASH,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_ELEMENT,
          .say = hashes_field_put)

static bool hashes_field_delete(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("HDEL"), call->key,
                    http_call_segment(call, 1));
}

static void hashes_field_gone(struct http_call *call)
{
    http_call_removed(call, "field");
}

HTTP_DEED(hashes_field_delete, .type = KV_HASH, .flags = HTTP_CALL_WRITES,
          .say = hashes_field_delete, .show = hashes_field_gone)
