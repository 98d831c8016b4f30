/* reply_resp.c - replies in the bytes of the Redis protocol, RESP2 or RESP3.
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
 * An aggregate whose count is not known yet begins with a header of one digit,
 * in whose place its kind stands; at its end, when the count has more digits,
 * what follows moves up by so many bytes.
 *
 * Source: the RESP3 specification (antirez, 2018) and Redis 7's replies.
 *
 * Always true:
 *   RW1  No line of an error or status holds CR or LF: what would break the
 *        protocol was made blank where the reply was written, and is asserted
 *        here.
 *   RW2  Items of PAIRS are plain values, and no aggregate begins among them.
 *
 * Thread: the request's. */
#include "command/reply_resp.h"

#include <string.h>

#include "kvsql/base/num.h"

/* pair_items of PAIRS whose count is not known yet: even, and never used up. */
#define RESP_PAIRS_OPEN (UINT64_MAX - 1)
#define RESP_HEADER_MAX (KV_INT_TEXT_MAX + 3) /* mark, number, CR LF */
#define RESP_HEADER_OPEN 4                    /* mark, kind, CR LF */

/* Is there room for `size` more bytes without growing? Strictly less, for the
 * last byte of a buffer is not for content (B1 of buf.c). */
static inline bool resp_has_room(const struct kv_buf *buf, size_t size)
{
    return !buf->failed && size < buf->cap - buf->size;
}

/* Make room for `size` more bytes, which is there mostly. */
static inline bool resp_room(struct kv_buf *buf, size_t size)
{
    return KV_LIKELY(resp_has_room(buf, size)) || kv_buf_reserve(buf, size);
}

/* A mark, a number, CR LF; RESP_HEADER_MAX bytes are there. Returns where they
 * end. */
static inline uint8_t *resp_header(uint8_t *to, char mark, int64_t number)
{
    *to++ = (uint8_t)mark;
    if (number >= 0 && number < 100) {
        if (number >= 10) {
            *to++ = (uint8_t)('0' + number / 10);
        }
        *to++ = (uint8_t)('0' + number % 10);
    } else {
        to += kv_num_format_int((char *)to, number);
    }
    to[0] = '\r';
    to[1] = '\n';
    return to + 2;
}

static void resp_line(struct kv_buf *buf, char mark, const void *p,
                      size_t size)
{
    uint8_t *to;

    if (!resp_room(buf, size + 3)) {
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
    if (resp_room(buf, RESP_HEADER_MAX)) {
        const uint8_t *end = resp_header(buf->p + buf->size, mark, number);

        buf->size = (size_t)(end - buf->p);
    }
}

#define RESP_SHORT_MAX 16 /* bytes of a bulk that are not worth a call */

static inline void resp_copy_short(uint8_t *to, const uint8_t *from,
                                   size_t size)
{
    if (size >= 8) {
        uint64_t first, last;

        memcpy(&first, from, 8);
        memcpy(&last, from + size - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + size - 8, &last, 8);
    } else if (size >= 4) {
        uint32_t first, last;

        memcpy(&first, from, 4);
        memcpy(&last, from + size - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + size - 4, &last, 4);
    } else if (size > 0) { /* 1 to 3: none of these is outside */
        to[0] = from[0];
        to[size / 2] = from[size / 2];
        to[size - 1] = from[size - 1];
    }
}

static void resp_bulk(struct kv_buf *buf, const void *p, size_t size)
{
    uint8_t *to;

    if (KV_UNLIKELY(!resp_room(buf, RESP_HEADER_MAX + size + 2))) {
        return;
    }
    to = resp_header(buf->p + buf->size, '$', (int64_t)size);
    if (size > 0) {
        memcpy(to, p, size);
    }
    to[size] = '\r';
    to[size + 1] = '\n';
    buf->size = (size_t)(to + size + 2 - buf->p);
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

static inline void resp_word(struct kv_buf *buf, const char *word, size_t size)
{
    if (resp_room(buf, size)) {
        memcpy(buf->p + buf->size, word, size);
        buf->size += size;
    }
}

/* What both protocols write alike. */
static void resp_item(struct kv_buf *buf, const struct cmd_item *item)
{
    char text[KV_DOUBLE_TEXT_MAX];

    switch (item->kind) {
    case CMD_REPLY_NULL:
        resp_word(buf, "$-1\r\n", 5);
        break;
    case CMD_REPLY_NULL_ARRAY:
        resp_word(buf, "*-1\r\n", 5);
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

/* In RESP3 each pair of PAIRS is an array of its own. */
static void resp_pair(struct cmd_reply *reply)
{
    if (KV_UNLIKELY(reply->pair_items > 0) && reply->pair_items-- % 2 == 0) {
        kv_buf_add(reply->buf, "*2\r\n", 4);
    }
}

/* RW2; a reply that failed may lack items. */
static void resp_no_pair(const struct cmd_reply *reply)
{
    KV_ASSERT(reply->pair_items == 0 || reply->buf->failed);
}

static void resp_item3(struct cmd_reply *reply, const struct cmd_item *item)
{
    struct kv_buf *buf = reply->buf;
    char text[KV_DOUBLE_TEXT_MAX];

    resp_pair(reply);
    switch (item->kind) {
    case CMD_REPLY_NULL:
    case CMD_REPLY_NULL_ARRAY:
        resp_word(buf, "_\r\n", 3);
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
    case CMD_REPLY_PAIRS:
        resp_no_pair(reply);
        resp_number(buf, '*', item->number);
        reply->pair_items = 2 * (uint64_t)item->number;
        break;
    default:
        resp_item(buf, item);
        break;
    }
}

void cmd_reply_push(struct cmd_reply *reply, uint64_t count)
{
    if (reply->resp == 3) {
        resp_no_pair(reply);
        resp_number(reply->buf, '>', (int64_t)count);
    } else {
        cmd_reply_array(reply, count);
    }
}

void cmd_resp_item(struct cmd_reply *reply, const struct cmd_item *item)
{
    if (reply->resp == 3) {
        resp_item3(reply, item);
    } else {
        resp_item(reply->buf, item);
    }
}

/* By itself, so that the short way below needs no frame. */
static __attribute__((noinline)) void
resp_bulk_any(struct cmd_reply *reply, const void *p, size_t size)
{
    resp_pair(reply);
    resp_bulk(reply->buf, p, size);
}

void cmd_resp_bulk(struct cmd_reply *reply, const void *p, size_t size)
{
    struct kv_buf *buf = reply->buf;
    uint8_t *to;

    if (size > RESP_SHORT_MAX || reply->pair_items > 0 ||
        KV_UNLIKELY(
            !resp_has_room(buf, RESP_HEADER_MAX + RESP_SHORT_MAX + 2))) {
        resp_bulk_any(reply, p, size);
        return;
    }
    to = resp_header(buf->p + buf->size, '$', (int64_t)size);
    resp_copy_short(to, p, size);
    to[size] = '\r';
    to[size + 1] = '\n';
    buf->size = (size_t)(to + size + 2 - buf->p);
}

/* ---- counts that are known later ----------------------------------------- */

void cmd_resp_begin(struct cmd_reply *reply, enum cmd_reply_kind kind)
{
    uint8_t header[RESP_HEADER_OPEN] = {'*', (uint8_t)kind, '\r', '\n'};

    resp_no_pair(reply);
    if (reply->resp == 3) {
        header[0] = kind == CMD_REPLY_MAP   ? '%'
                    : kind == CMD_REPLY_SET ? '~'
                                            : '*';
        reply->pair_items = kind == CMD_REPLY_PAIRS ? RESP_PAIRS_OPEN : 0;
    }
    kv_buf_add(reply->buf, header, sizeof(header));
}

void cmd_resp_end(struct cmd_reply *reply, size_t place, uint64_t count)
{
    struct kv_buf *buf = reply->buf;
    const size_t from = place + RESP_HEADER_OPEN - 2; /* of CR LF */
    char text[KV_INT_TEXT_MAX];
    enum cmd_reply_kind kind;
    size_t more;

    KV_ASSERT(from + 2 <= buf->size && buf->p[from] == '\r');
    kind = (enum cmd_reply_kind)buf->p[place + 1];
    if (reply->resp == 2 &&
        (kind == CMD_REPLY_MAP || kind == CMD_REPLY_PAIRS)) {
        count *= 2;
    }
    more = kv_num_format_int(text, (int64_t)count) - 1;
    if (more > 0) {
        if (!resp_room(buf, more)) {
            return;
        }
        memmove(buf->p + from + more, buf->p + from, buf->size - from);
        buf->size += more;
    }
    memcpy(buf->p + place + 1, text, more + 1);
}

/* ---- an error's line ----------------------------------------------------- */

kvsql_slice cmd_resp_line(const struct cmd_reply *reply)
{
    const uint8_t *p = reply->buf->p + reply->start;
    const size_t size = reply->buf->size - reply->start;

    KV_ASSERT(size >= 3 && p[0] == '-' && p[size - 2] == '\r');
    return (kvsql_slice){.p = p + 1, .size = size - 3};
}

/* ---- what is typed ------------------------------------------------------- */

void cmd_reply_resp(const struct cmd_reply *reply, unsigned resp,
                    struct kv_buf *buf)
{
    struct cmd_reply direct;
    struct cmd_item item;
    size_t offset = 0;

    cmd_reply_init_resp(&direct, buf, resp);
    while (cmd_reply_next(reply, &offset, &item)) {
        cmd_resp_item(&direct, &item);
    }
}
