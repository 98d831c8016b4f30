/* dress.c - typed replies as RESP2 in JSON, for tier 1 and batches: numbers are
 * numbers, everything else is a string, maps and sets are flat.
 *
 * Thread: the one that has the request. */
#include <string.h>

#include "http/tier1.h"
#include "kvsql/base/num.h"

#define DRESS_DEPTH_MAX 32 /* nesting of our own replies */

static void dress_string(struct kv_buf *out, const void *p, size_t size,
                         bool base64)
{
    if (base64)
        http_json_base64(out, p, size);
    else
        http_json_string(out, p, size);
}

/* One item that is no aggregate. */
static void dress_scalar(struct kv_buf *out, const struct cmd_item *item,
                         bool base64)
{
    char number[KV_DOUBLE_TEXT_MAX];

    switch (item->kind) {
    case CMD_REPLY_NULL:
    case CMD_REPLY_NULL_ARRAY:
        kv_buf_text(out, "null");
        break;
    case CMD_REPLY_INT:
    case CMD_REPLY_BOOL:
        http_json_int(out, item->number);
        break;
    case CMD_REPLY_DOUBLE:
        if (item->size > 0) {
            dress_string(out, item->p, item->size, base64);
            break;
        }
        dress_string(out, number, kv_num_format_double(number, item->real),
                     base64);
        break;
    default: /* strings of all kinds */
        dress_string(out, item->p, item->size, base64);
        break;
    }
}

/* Elements that follow an aggregate, flat; -1 for a scalar. */
static int64_t dress_count(const struct cmd_item *item)
{
    switch (item->kind) {
    case CMD_REPLY_ARRAY:
    case CMD_REPLY_SET:
        return item->number;
    case CMD_REPLY_MAP:
    case CMD_REPLY_PAIRS:
        return 2 * item->number;
    default:
        return -1;
    }
}

/* The client decodes everything but a bare OK. */
static bool dress_is_ok(const struct cmd_item *item)
{
    return item->kind == CMD_REPLY_STATUS && item->size == 2 &&
           memcmp(item->p, "OK", 2) == 0;
}

/* An aggregate, with all that follows it. */
static void dress_value(struct kv_buf *out, const struct cmd_reply *reply,
                        bool base64)
{
    int64_t left[DRESS_DEPTH_MAX];
    unsigned depth = 0;
    size_t offset = 0;
    struct cmd_item item;

    while (cmd_reply_next(reply, &offset, &item)) {
        int64_t count = dress_count(&item);
        if (count >= 0) {
            KV_ASSERT(depth < DRESS_DEPTH_MAX);
            kv_buf_byte(out, '[');
            left[depth++] = count;
        } else {
            KV_ASSERT(depth > 0);
            dress_scalar(out, &item, base64);
            left[depth - 1]--;
        }
        while (depth > 0 && left[depth - 1] == 0) {
            kv_buf_byte(out, ']');
            depth--;
            if (depth > 0)
                left[depth - 1]--;
        }
        if (depth > 0 && out->size > 0 && out->p[out->size - 1] != '[')
            kv_buf_byte(out, ',');
    }
}

bool http_reply_object(struct kv_buf *out, const struct cmd_reply *reply,
                       bool base64)
{
    struct cmd_item item;
    size_t offset = 0;

    KV_ASSERT(cmd_reply_next(reply, &offset, &item));
    bool error = item.kind == CMD_REPLY_ERROR;
    if (error) {
        kv_buf_text(out, "{\"error\":");
        http_json_string(out, item.p, item.size);
    } else {
        kv_buf_text(out, "{\"result\":");
        if (dress_count(&item) < 0)
            dress_scalar(out, &item, base64 && !dress_is_ok(&item));
        else
            dress_value(out, reply, base64);
    }
    kv_buf_byte(out, '}');
    return !error;
}
