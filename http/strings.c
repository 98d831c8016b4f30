/* strings.c - /v1/strings/{key}: raw bytes, ranges of them, counters.
 *
 * Thread: the one that has the request. */
#include "http/value.h"
#include "kvsql/base/num.h"

/* ---- reading --------------------------------------------------------------------- */

/* Whether a range is of this version is known when the key is looked at, so
 * then the whole is read. */
static bool strings_get(struct http_call *call)
{
    struct http_range range = http_range_of(call->request);
    char *text = http_alloc(call->request, 2 * KV_INT_TEXT_MAX);
    char *end = text + KV_INT_TEXT_MAX;
    size_t first, last;

    if (text == NULL)
        return http_call_fail(call, KVSQL_NOMEM, "no memory for the range",
                              NULL);
    if (!range.asked || call->request->headers[HTTP_H_IF_RANGE].p != NULL)
        return HTTP_SAY(call, HTTP_WORD("GET"), call->key);
    if (range.suffix && range.last == 0) /* the last none: an empty part */
        return HTTP_SAY(call, HTTP_WORD("GETRANGE"), call->key,
                        HTTP_WORD("1"), HTTP_WORD("0"));
    first = kv_num_format_int(text, range.suffix ? -(int64_t)range.last
                                                 : (int64_t)range.first);
    last = kv_num_format_int(end, range.suffix || range.open
                                      ? -1 : (int64_t)range.last);
    return HTTP_SAY(call, HTTP_WORD("GETRANGE"), call->key, {text, first},
                    {end, last});
}

static void strings_part(struct http_call *call,
                         const struct http_range *range,
                         const struct cmd_item *item)
{
    struct http_request *request = call->request;
    const unsigned long long length = call->before.length;
    const unsigned long long first =
        range->suffix ? length - item->size : range->first;

    if (item->size == 0) {
        (void)http_call_refuse(call, HTTP_P_RANGE, "the value has %llu bytes",
                               length);
        http_answer_header(request, "Content-Range", "bytes */%llu", length);
        return;
    }
    http_call_raw(call, item);
    request->answer.status = 206;
    request->answer.type = "application/octet-stream"; /* a part of a text */
    http_answer_header(request, "Content-Range", "bytes %llu-%llu/%llu", first,
                       first + item->size - 1, length);
}

static void strings_get_show(struct http_call *call)
{
    kvsql_slice given = call->request->headers[HTTP_H_IF_RANGE];
    struct http_range range = http_range_of(call->request);
    struct cmd_item item = http_call_item(call, 0);
    char etag[HTTP_ETAG_SIZE];

    http_etag(call->request, call->before.version, etag);
    if (range.asked && given.p != NULL) {
        range.asked = http_is(given, etag);
        uint64_t first, size;
        if (range.asked) {
            http_range_fit(&range, item.size, &first, &size);
            item.p += first;
            item.size = (size_t)size;
        }
    }
    if (range.asked) {
        strings_part(call, &range, &item);
    } else {
        http_call_raw(call, &item);
        http_answer_header(call->request, "Accept-Ranges", "bytes");
    }
}

HTTP_DEED(strings_get, .type = KV_STRING, .flags = HTTP_CALL_WIDE,
          .say = strings_get, .show = strings_get_show)

/* ---- writing -------------------------------------------------------------------- */

static bool strings_put(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("SET"), call->key, http_call_body(call));
}

HTTP_DEED(strings_put, .type = KV_STRING,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_WHOLE,
          .say = strings_put)

static bool strings_append(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("APPEND"), call->key,
                    http_call_body(call));
}

static void strings_length(struct http_call *call)
{
    http_call_number(call, "length");
}

HTTP_DEED(strings_append, .type = KV_STRING,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_WHOLE,
          .say = strings_append, .show = strings_length)

static bool strings_incr(struct http_call *call)
{
    kvsql_slice by = HTTP_WORD("1");
    int64_t number;

    if (!http_value_option(call, "by", &by))
        return false;
    return kv_num_int(by.p, by.size, &number)
               ? HTTP_SAY(call, HTTP_WORD("INCRBY"), call->key, by)
               : HTTP_SAY(call, HTTP_WORD("INCRBYFLOAT"), call->key, by);
}

HTTP_DEED(strings_incr, .type = KV_STRING,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .members = (const char *const[]){"by", NULL}, .say = strings_incr,
          .show = http_value_counted)
