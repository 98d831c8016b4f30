/* lists.c - /v1/lists/{key} and its elements by index.
 *
 * Thread: the one that has the request. */
#include "http/value.h"
#include "kvsql/base/num.h"

/* ---- slices ------------------------------------------------------------------------ */

static bool lists_get(struct http_call *call)
{
    kvsql_slice start = http_param(call->request, "start");
    kvsql_slice stop = http_param(call->request, "stop");

    return HTTP_SAY(call, HTTP_WORD("LRANGE"), call->key,
                    start.p != NULL ? start : HTTP_WORD("0"),
                    stop.p != NULL ? stop : HTTP_WORD("-1"));
}

static void lists_got(struct http_call *call)
{
    http_value_answer(call, KV_LIST, &call->commands[0].reply);
}

HTTP_DEED(lists_get, .type = KV_LIST, .flags = HTTP_CALL_WIDE,
          .say = lists_get, .show = lists_got)

static bool lists_put(struct http_call *call)
{
    return http_value_replace(call, KV_LIST, 0);
}

HTTP_DEED(lists_put, .type = KV_LIST,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .say = lists_put)

/* ---- verbs ------------------------------------------------------------------------- */

/* Member `name`, "left" or "right"; left as it is when absent. */
static bool lists_side(struct http_call *call, const char *name, bool *left)
{
    kvsql_slice side = {NULL, 0};

    if (!http_value_option(call, name, &side))
        return false;
    if (side.p == NULL)
        return true;
    *left = http_is(side, "left");
    return *left || http_is(side, "right")
               ? true
               : http_call_refuse(call, HTTP_P_JSON,
                                  "\"%s\" is \"left\" or \"right\"", name);
}

static bool lists_push(struct http_call *call)
{
    bool left = false;

    if (!lists_side(call, "side", &left))
        return false;
    const kvsql_slice words[] = {
        left ? HTTP_WORD("LPUSH") : HTTP_WORD("RPUSH"), call->key};
    return http_value_each(call, http_value_place(call, "values"), words, 2);
}

static void lists_length(struct http_call *call)
{
    kv_buf_printf(http_call_answer(call), "{\"length\":%llu}",
                  (unsigned long long)call->after.length);
}

HTTP_DEED(lists_push, .type = KV_LIST,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .members = (const char *const[]){"side", "values", NULL},
          .say = lists_push, .show = lists_length)

static bool lists_pop(struct http_call *call)
{
    kvsql_slice count = HTTP_WORD("1");
    bool left = true;

    return lists_side(call, "side", &left) &&
           http_value_option(call, "count", &count) &&
           HTTP_SAY(call, left ? HTTP_WORD("LPOP") : HTTP_WORD("RPOP"),
                    call->key, count);
}

static void lists_popped(struct http_call *call)
{
    http_value_list(call, "values");
}

HTTP_DEED(lists_pop, .type = KV_LIST,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_JSON | HTTP_CALL_WHOLE |
                   HTTP_CALL_WAITS,
          .members = (const char *const[]){"side", "count", NULL},
          .say = lists_pop, .show = lists_popped)

static bool lists_move(struct http_call *call)
{
    bool from = true, to = false;
    kvsql_slice key;

    return http_value_member(call, "to", &key) &&
           lists_side(call, "from_side", &from) &&
           lists_side(call, "to_side", &to) &&
           HTTP_SAY(call, HTTP_WORD("LMOVE"), call->key, key,
                    from ? HTTP_WORD("LEFT") : HTTP_WORD("RIGHT"),
                    to ? HTTP_WORD("LEFT") : HTTP_WORD("RIGHT"));
}

static void lists_moved(struct http_call *call)
{
    struct kv_buf *out = http_call_answer(call);
    struct cmd_item item = http_call_item(call, 0);

    kv_buf_text(out, "{\"value\":");
    http_value_item(out, &item);
    kv_buf_byte(out, '}');
}

HTTP_DEED(lists_move, .type = KV_LIST,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_JSON | HTTP_CALL_WAITS,
          .members = (const char *const[]){"to", "from_side", "to_side", NULL},
          .say = lists_move, .show = lists_moved)

static bool lists_trim(struct http_call *call)
{
    kvsql_slice start = HTTP_WORD("0"), stop = HTTP_WORD("-1");

    return http_value_option(call, "start", &start) &&
           http_value_option(call, "stop", &stop) &&
           HTTP_SAY(call, HTTP_WORD("LTRIM"), call->key, start, stop);
}

HTTP_DEED(lists_trim, .type = KV_LIST,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_JSON | HTTP_CALL_WHOLE,
          .members = (const char *const[]){"start", "stop", NULL},
          .say = lists_trim, .show = lists_length)

/* ---- one element -------------------------------------------------------------------- */

static bool lists_index_get(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("LINDEX"), call->key,
                    http_call_segment(call, 1));
}

static void lists_index_got(struct http_call *call)
{
    struct cmd_item item = http_call_item(call, 0);

    if (item.kind == CMD_REPLY_NULL)
        http_call_absent(call, "element", http_call_segment(call, 1));
    else
        http_call_raw(call, &item);
}

HTTP_DEED(lists_index_get, .type = KV_LIST, .say = lists_index_get,
          .show = lists_index_got)

static bool lists_index_put(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("LSET"), call->key,
                    http_call_segment(call, 1), http_call_body(call));
}

HTTP_DEED(lists_index_put, .type = KV_LIST, .flags = HTTP_CALL_WRITES,
          .say = lists_index_put)
