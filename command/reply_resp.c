/* reply_resp.c - a reply in the bytes of the Redis protocol, RESP2 or RESP3.
 *
 *   item            RESP2                 RESP3
 *   NULL            $-1                   _
 *   NULL_ARRAY      *-1                   _
 *   BOOL            :0 :1                 #f #t
 *   DOUBLE          bulk text             ,text
 *   VERBATIM        bulk                  =size txt:...
 *   MAP of n        *2n                   %n
 *   SET of n        *n                    ~n
 *   PAIRS of n      *2n                   *n of *2
 *
 * Source: the RESP3 specification (antirez, 2018) and Redis 7's replies.
 *
 * Always true:
 *   RW1  No line of an error or status holds CR or LF: what would break the
 *        protocol was made blank where the reply was written, and is asserted
 *        here.
 *
 * Thread: the request's. */
#include <string.h>

#include "command/reply.h"
#include "kvsql/base/num.h"

struct resp_out {
    struct kv_buf *buf;
    unsigned resp;
    uint64_t pair_items; /* items of PAIRS still to come, RESP3 */
};

static void resp_line(struct kv_buf *buf, char mark, const void *p,
                      size_t size)
{
    uint8_t *to;

    if (!kv_buf_reserve(buf, size + 3)) {
        return;
    }
    to = buf->p + buf->size;
    *to++ = (uint8_t)mark;
    if (size > 0) {
        memcpy(to, p, size);
    }
    to[size] = '\r';
    to[size + 1] = '\n';
    buf->size += size + 3;
}

static void resp_number(struct kv_buf *buf, char mark, int64_t number)
{
    char text[KV_INT_TEXT_MAX];

    resp_line(buf, mark, text, kv_num_format_int(text, number));
}

static void resp_bulk(struct kv_buf *buf, const void *p, size_t size)
{
    resp_number(buf, '$', (int64_t)size);
    kv_buf_add(buf, p, size);
    kv_buf_add(buf, "\r\n", 2);
}

static void resp_verbatim(struct kv_buf *buf, const void *p, size_t size)
{
    resp_number(buf, '=', (int64_t)size + 4);
    kv_buf_add(buf, "txt:", 4);
    kv_buf_add(buf, p, size);
    kv_buf_add(buf, "\r\n", 2);
}

static void resp_sentence(struct kv_buf *buf, char mark,
                          const struct cmd_item *item)
{
    KV_ASSERT(memchr(item->p, '\r', item->size) == NULL &&
              memchr(item->p, '\n', item->size) == NULL); /* RW1 */
    resp_line(buf, mark, item->p, item->size);
}

/* What both protocols write alike. */
static void resp_item(struct kv_buf *buf, const struct cmd_item *item)
{
    char text[KV_DOUBLE_TEXT_MAX];

    switch (item->kind) {
    case CMD_REPLY_NULL:
        kv_buf_add(buf, "$-1\r\n", 5);
        break;
    case CMD_REPLY_NULL_ARRAY:
        kv_buf_add(buf, "*-1\r\n", 5);
        break;
    case CMD_REPLY_STATUS:
        resp_sentence(buf, '+', item);
        break;
    case CMD_REPLY_ERROR:
        resp_sentence(buf, '-', item);
        break;
    case CMD_REPLY_INT:
    case CMD_REPLY_BOOL:
        resp_number(buf, ':', item->number);
        break;
    case CMD_REPLY_DOUBLE:
        if (item->size > 0) {
            resp_bulk(buf, item->p, item->size);
        } else {
            resp_bulk(buf, text, kv_num_format_double(text, item->real));
        }
        break;
    case CMD_REPLY_BULK:
    case CMD_REPLY_VERBATIM:
        resp_bulk(buf, item->p, item->size);
        break;
    case CMD_REPLY_ARRAY:
    case CMD_REPLY_SET:
        resp_number(buf, '*', item->number);
        break;
    case CMD_REPLY_MAP:
    case CMD_REPLY_PAIRS:
        resp_number(buf, '*', 2 * item->number);
        break;
    }
}

static void resp_item3(struct resp_out *out, const struct cmd_item *item)
{
    struct kv_buf *buf = out->buf;
    char text[KV_DOUBLE_TEXT_MAX];

    if (out->pair_items > 0 && out->pair_items-- % 2 == 0) {
        kv_buf_add(buf, "*2\r\n", 4);
    }
    switch (item->kind) {
    case CMD_REPLY_NULL:
    case CMD_REPLY_NULL_ARRAY:
        kv_buf_add(buf, "_\r\n", 3);
        break;
    case CMD_REPLY_BOOL:
        kv_buf_add(buf, item->number ? "#t\r\n" : "#f\r\n", 4);
        break;
    case CMD_REPLY_DOUBLE:
        if (item->size > 0) {
            resp_line(buf, ',', item->p, item->size);
        } else {
            resp_line(buf, ',', text, kv_num_format_double(text, item->real));
        }
        break;
    case CMD_REPLY_VERBATIM:
        resp_verbatim(buf, item->p, item->size);
        break;
    case CMD_REPLY_MAP:
        resp_number(buf, '%', item->number);
        break;
    case CMD_REPLY_SET:
        resp_number(buf, '~', item->number);
        break;
    case CMD_REPLY_PAIRS: /* of plain values only */
        KV_ASSERT(out->pair_items == 0);
        resp_number(buf, '*', item->number);
        out->pair_items = 2 * (uint64_t)item->number;
        break;
    default:
        resp_item(buf, item);
        break;
    }
}

void cmd_reply_resp(const struct cmd_reply *reply, unsigned resp,
                    struct kv_buf *buf)
{
    struct resp_out out = {.buf = buf, .resp = resp};
    struct cmd_item item;
    size_t offset = 0;

    while (cmd_reply_next(reply, &offset, &item)) {
        if (out.resp == 3) {
            resp_item3(&out, &item);
        } else {
            resp_item(buf, &item);
        }
    }
}
