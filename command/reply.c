/* reply.c - an answer: its writers, and its typed form, a flat run of items.
 *
 *   item:  u8 kind | body
 *   body   NULL, NULL_ARRAY                    nothing
 *          INT, BOOL                           i64
 *          DOUBLE                              IEEE bits, 8 | varint size |
 *                                              text, empty: the shortest
 *          STATUS, ERROR, BULK, VERBATIM       varint size | bytes
 *          ARRAY, MAP, SET, PAIRS              u64 count (fixed, so that it can
 *                                              be filled in later)
 *
 * Always true:
 *   RP1  A reply whose buffer failed is exactly one error, whatever was written
 *        before: memory that ran out half-way never shows.
 *   RP2  What was written is read back by the same file; so the reader asserts
 *        and does not check.
 *   RP3  Bytes in front of reply->start are not the reply's: it cuts its buffer
 *        there, and never below.
 *
 * The bytes of the RESP form are made in reply_resp.c.
 *
 * Thread: the request's. */
#include "command/reply.h"

#include <stdio.h>
#include <string.h>

#include "command/reply_resp.h"
#include "kvsql/base/num.h"

#define REPLY_KEEP_MAX (64u << 10) /* bytes kept over a reset */
#define REPLY_WORD_SIZE 9
#define REPLY_LINE_MAX 1024        /* bytes of an error line */

static const char REPLY_NO_MEMORY[] = "OOM no memory for the reply";
static const char REPLY_TOO_BIG[] =
    "ERR the reply is larger than this door's limit; ask for less at a time";

void cmd_reply_init(struct cmd_reply *reply, size_t size_max)
{
    *reply = (struct cmd_reply){.buf = &reply->own, .rc = KVSQL_OK};
    kv_buf_init(&reply->own, KV_MEM_CLIENT, size_max);
}

void cmd_reply_fini(struct cmd_reply *reply)
{
    if (reply->buf == &reply->own) {
        kv_buf_fini(&reply->own);
    }
}

void cmd_reply_reset(struct cmd_reply *reply)
{
    if (reply->buf == &reply->own) {
        kv_buf_reset(&reply->own, REPLY_KEEP_MAX);
    } else {
        kv_buf_cut(reply->buf, reply->start); /* RP3 */
    }
    reply->pair_items = 0;
    reply->rc = KVSQL_OK;
}

void cmd_reply_part(struct cmd_reply *part, const struct cmd_reply *whole)
{
    KV_ASSERT(!cmd_reply_failed(whole) && whole->pair_items == 0);
    part->buf = whole->buf;
    part->start = whole->buf->size;
    part->pair_items = 0;
    part->rc = KVSQL_OK;
    part->resp = whole->resp;
}

bool cmd_reply_part_end(struct cmd_reply *part, struct cmd_reply *whole)
{
    KV_ASSERT(part->buf == whole->buf);
    whole->resp = part->resp;
    return cmd_reply_finish(part);
}

/* ---- writing ------------------------------------------------------------ */

static void reply_bare(struct cmd_reply *reply, enum cmd_reply_kind kind)
{
    if (reply->resp != 0) {
        cmd_resp_item(reply, &(struct cmd_item){.kind = kind});
    } else {
        kv_buf_byte(reply->buf, (uint8_t)kind);
    }
}

void cmd_reply_null(struct cmd_reply *reply)
{
    reply_bare(reply, CMD_REPLY_NULL);
}

void cmd_reply_null_array(struct cmd_reply *reply)
{
    reply_bare(reply, CMD_REPLY_NULL_ARRAY);
}

/* Room for `size` more bytes without growing; strictly, for the last byte of a
 * buffer is not for content (B1 of buf.c). */
static bool reply_fits(const struct kv_buf *buf, size_t size)
{
    return !buf->failed && size < buf->cap - buf->size;
}

static void reply_word(struct cmd_reply *reply, enum cmd_reply_kind kind,
                       uint64_t word)
{
    struct kv_buf *buf = reply->buf;
    uint8_t *p;

    if (reply->resp != 0) {
        cmd_resp_item(reply, &(struct cmd_item){.kind = kind,
                                                .number = (int64_t)word});
        return;
    }
    if (!reply_fits(buf, REPLY_WORD_SIZE) &&
        !kv_buf_reserve(buf, REPLY_WORD_SIZE)) {
        return;
    }
    p = buf->p + buf->size;
    p[0] = (uint8_t)kind;
    kv_u64_put(p + 1, word);
    buf->size += REPLY_WORD_SIZE;
}

static void reply_bytes(struct cmd_reply *reply, enum cmd_reply_kind kind,
                        const void *p, size_t size)
{
    struct kv_buf *buf = reply->buf;

    if (reply->resp != 0) {
        cmd_resp_item(reply,
                      &(struct cmd_item){.kind = kind, .p = p, .size = size});
        return;
    }
    if (size > 0 && size < 128 && reply_fits(buf, size + 2)) { /* mostly */
        uint8_t *to = buf->p + buf->size;

        to[0] = (uint8_t)kind;
        to[1] = (uint8_t)size;
        memcpy(to + 2, p, size);
        buf->size += size + 2;
        return;
    }
    kv_buf_byte(buf, (uint8_t)kind);
    kv_buf_varint(buf, size);
    kv_buf_add(buf, p, size);
}

void cmd_reply_status(struct cmd_reply *reply, const char *text)
{
    reply_bytes(reply, CMD_REPLY_STATUS, text, strlen(text));
}

void cmd_reply_int(struct cmd_reply *reply, int64_t number)
{
    reply_word(reply, CMD_REPLY_INT, (uint64_t)number);
}

void cmd_reply_bool(struct cmd_reply *reply, bool value)
{
    reply_word(reply, CMD_REPLY_BOOL, value ? 1 : 0);
}

void cmd_reply_double(struct cmd_reply *reply, double real)
{
    cmd_reply_double_as(reply, real, "", 0);
}

void cmd_reply_double_as(struct cmd_reply *reply, double real, const char *text,
                         size_t size)
{
    uint64_t bits;

    if (reply->resp != 0) {
        cmd_resp_item(reply, &(struct cmd_item){.kind = CMD_REPLY_DOUBLE,
                                                .real = real,
                                                .p = (const uint8_t *)text,
                                                .size = size});
        return;
    }
    memcpy(&bits, &real, sizeof(bits));
    reply_word(reply, CMD_REPLY_DOUBLE, bits);
    kv_buf_varint(reply->buf, size);
    kv_buf_add(reply->buf, text, size);
}

void cmd_reply_bulk(struct cmd_reply *reply, const void *p, size_t size)
{
    if (KV_LIKELY(reply->resp != 0)) {
        cmd_resp_bulk(reply, p, size);
    } else {
        reply_bytes(reply, CMD_REPLY_BULK, p, size);
    }
}

void cmd_reply_text(struct cmd_reply *reply, const char *text)
{
    cmd_reply_bulk(reply, text, strlen(text));
}

void cmd_reply_verbatim(struct cmd_reply *reply, const void *p, size_t size)
{
    reply_bytes(reply, CMD_REPLY_VERBATIM, p, size);
}

void cmd_reply_array(struct cmd_reply *reply, uint64_t count)
{
    reply_word(reply, CMD_REPLY_ARRAY, count);
}

void cmd_reply_map(struct cmd_reply *reply, uint64_t pairs)
{
    reply_word(reply, CMD_REPLY_MAP, pairs);
}

void cmd_reply_set(struct cmd_reply *reply, uint64_t count)
{
    reply_word(reply, CMD_REPLY_SET, count);
}

void cmd_reply_pairs(struct cmd_reply *reply, uint64_t pairs)
{
    reply_word(reply, CMD_REPLY_PAIRS, pairs);
}

size_t cmd_reply_begin(struct cmd_reply *reply, enum cmd_reply_kind kind)
{
    const size_t place = reply->buf->size;

    KV_ASSERT(kind == CMD_REPLY_ARRAY || kind == CMD_REPLY_MAP ||
              kind == CMD_REPLY_SET || kind == CMD_REPLY_PAIRS);
    if (reply->resp != 0) {
        cmd_resp_begin(reply, kind);
    } else {
        reply_word(reply, kind, 0);
    }
    return place;
}

void cmd_reply_end(struct cmd_reply *reply, size_t place, uint64_t count)
{
    reply->pair_items = 0; /* RW2: PAIRS end no later than this */
    if (reply->buf->failed) {
        return;
    }
    KV_ASSERT(place >= reply->start); /* RP3 */
    if (reply->resp != 0) {
        cmd_resp_end(reply, place, count);
        return;
    }
    KV_ASSERT(place + REPLY_WORD_SIZE <= reply->buf->size);
    kv_u64_put(reply->buf->p + place + 1, count);
}

void cmd_reply_error(struct cmd_reply *reply, kvsql_rc rc, const char *format,
                     ...)
{
    char line[REPLY_LINE_MAX];
    va_list args;
    size_t size;
    int printed;

    KV_ASSERT(rc != KVSQL_OK);
    if (reply->buf->size == reply->start) {
        reply->rc = rc;
    }
    va_start(args, format);
    printed = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    size = printed < 0 ? 0 : (size_t)printed;
    if (size >= sizeof(line)) {
        size = sizeof(line) - 1;
    }
    for (size_t i = 0; i < size; i++) {
        if (line[i] == '\r' || line[i] == '\n') {
            line[i] = ' ';
        }
    }
    reply_bytes(reply, CMD_REPLY_ERROR, line, size);
}

/* ---- reading ------------------------------------------------------------ */

static const char *reply_failed_text(const struct cmd_reply *reply)
{
    return reply->buf->too_big ? REPLY_TOO_BIG : REPLY_NO_MEMORY;
}

/* RP1: the one item of a reply that has no room for its content. */
static bool reply_next_failed(const struct cmd_reply *reply, size_t *offset,
                              struct cmd_item *item)
{
    const char *text = reply_failed_text(reply);

    if (*offset != 0) {
        return false;
    }
    *item = (struct cmd_item){.kind = CMD_REPLY_ERROR,
                              .p = (const uint8_t *)text,
                              .size = strlen(text)};
    *offset = 1;
    return true;
}

/* A size and so many bytes; returns what is behind them. */
static const uint8_t *reply_next_bytes(const uint8_t *p, const uint8_t *end,
                                       struct cmd_item *item)
{
    uint64_t size;
    const size_t used = kv_varint_get(p, end, &size);

    KV_ASSERT(used != 0 && size <= (uint64_t)(end - p) - used); /* RP2 */
    item->p = p + used;
    item->size = (size_t)size;
    return p + used + size;
}

bool cmd_reply_next(const struct cmd_reply *reply, size_t *offset,
                    struct cmd_item *item)
{
    const uint8_t *p, *end;
    uint64_t word;

    if (reply->buf->failed) {
        return reply_next_failed(reply, offset, item);
    }
    if (*offset >= reply->buf->size - reply->start) {
        return false;
    }
    KV_ASSERT(reply->resp == 0);
    p = reply->buf->p + reply->start + *offset;
    end = reply->buf->p + reply->buf->size;
    *item = (struct cmd_item){.kind = (enum cmd_reply_kind)*p++};
    switch (item->kind) {
    case CMD_REPLY_NULL:
    case CMD_REPLY_NULL_ARRAY:
        break;
    case CMD_REPLY_DOUBLE:
        word = kv_u64_get(p);
        memcpy(&item->real, &word, sizeof(item->real));
        p = reply_next_bytes(p + 8, end, item);
        break;
    case CMD_REPLY_STATUS:
    case CMD_REPLY_ERROR:
    case CMD_REPLY_BULK:
    case CMD_REPLY_VERBATIM:
        p = reply_next_bytes(p, end, item);
        break;
    case CMD_REPLY_INT:
    case CMD_REPLY_BOOL:
    case CMD_REPLY_ARRAY:
    case CMD_REPLY_MAP:
    case CMD_REPLY_SET:
    case CMD_REPLY_PAIRS:
        item->number = (int64_t)kv_u64_get(p);
        p += 8;
        break;
    }
    KV_ASSERT(p <= end); /* RP2 */
    *offset = (size_t)(p - reply->buf->p) - reply->start;
    return true;
}

/* ---- the end ------------------------------------------------------------ */

kvsql_slice cmd_reply_line(const struct cmd_reply *reply)
{
    struct cmd_item item = {0};
    size_t offset = 0;

    KV_ASSERT(reply->rc != KVSQL_OK || reply->buf->failed);
    if (reply->resp != 0 && !reply->buf->failed) {
        return cmd_resp_line(reply);
    }
    (void)cmd_reply_next(reply, &offset, &item);
    KV_ASSERT(item.kind == CMD_REPLY_ERROR);
    return (kvsql_slice){.p = item.p, .size = item.size};
}

const uint8_t *cmd_reply_last(const struct cmd_reply *reply, size_t size)
{
    const size_t behind = size + (reply->resp != 0 ? 2 : 0); /* CR LF */

    KV_ASSERT(!reply->buf->failed && reply->buf->size >= behind);
    return reply->buf->p + reply->buf->size - behind;
}

bool cmd_reply_mend(struct cmd_reply *reply)
{
    const char *text = reply_failed_text(reply);
    const kvsql_rc rc = reply->buf->too_big ? KVSQL_TOOBIG : KVSQL_NOMEM;

    KV_ASSERT(reply->buf->failed);
    kv_buf_cut(reply->buf, reply->start); /* RP1, RP3 */
    reply->pair_items = 0;
    cmd_reply_error(reply, rc, "%s", text);
    if (!reply->buf->failed) {
        return true;
    }
    reply->buf->size = reply->start;
    return false;
}
