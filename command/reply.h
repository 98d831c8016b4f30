/* reply.h - an answer, in one of two forms behind the same writers.
 *
 *   typed   a flat run of items in memory of its own, before any protocol has
 *           dressed them: what is asked over HTTP, from the shell, in tests
 *   RESP    the bytes of the Redis protocol 2 or 3, straight behind what a
 *           connection's output holds already: nothing is made twice
 *
 * Aggregates say how many items follow (n pairs of a map or of PAIRS are
 * followed by 2n items, nested as they come). The shapes are RESP3's; RESP2
 * and JSON flatten maps, sets and doubles.
 *
 * A command must leave exactly one value at the top level. Bytes are copied in.
 * Thread: the request's. */
#ifndef KVSQL_COMMAND_REPLY_H
#define KVSQL_COMMAND_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/buf.h"
#include "kvsql/kvsql.h"

enum cmd_reply_kind {
    CMD_REPLY_NULL,       /* $-1 */
    CMD_REPLY_NULL_ARRAY, /* *-1 */
    CMD_REPLY_STATUS,     /* +OK */
    CMD_REPLY_ERROR,      /* -ERR ...: the whole line without '-' */
    CMD_REPLY_INT,
    CMD_REPLY_DOUBLE,
    CMD_REPLY_BULK,
    CMD_REPLY_VERBATIM,   /* INFO */
    CMD_REPLY_ARRAY,
    CMD_REPLY_MAP,        /* n pairs */
    CMD_REPLY_SET,
    CMD_REPLY_BOOL,       /* RESP2: 0 or 1 */
    CMD_REPLY_PAIRS       /* n pairs: RESP3 an array of n arrays of 2, RESP2
                             and JSON one flat array of 2n (WITHSCORES) */
};

/* One item, decoded by the reader. */
struct cmd_item {
    enum cmd_reply_kind kind;
    int64_t number;     /* INT, BOOL; count of aggregates (of pairs: MAP, PAIRS) */
    double real;        /* DOUBLE */
    const uint8_t *p;   /* STATUS, ERROR, BULK, VERBATIM; DOUBLE: the text to
                           show, size 0: the shortest that reads back equal */
    size_t size;
};

/* Stays where it was made: buf may point into it. */
struct cmd_reply {
    struct kv_buf *buf;  /* where it is written: `own`, or another's */
    size_t start;        /* ... and begins there */
    uint64_t pair_items; /* RESP3: items of PAIRS that are still to come */
    kvsql_rc rc;         /* of a top-level error, else KVSQL_OK */
    uint8_t resp;        /* 2 or 3: the bytes of that protocol; 0: typed */
    struct kv_buf own;
};

/* Typed, in memory of its own that `size_max` bounds. */
KV_INTERNAL void cmd_reply_init(struct cmd_reply *reply, size_t size_max);
KV_INTERNAL void cmd_reply_fini(struct cmd_reply *reply);
/* In protocol 2 or 3, behind the bytes of `out`, which has not failed and is
 * nobody else's until the reply is there. Needs no fini. */
static inline void cmd_reply_init_resp(struct cmd_reply *reply,
                                       struct kv_buf *out, unsigned resp)
{
    KV_DEBUG_ASSERT((resp == 2 || resp == 3) && !out->failed);
    reply->buf = out;
    reply->start = out->size;
    reply->pair_items = 0;
    reply->rc = KVSQL_OK;
    reply->resp = (uint8_t)resp;
}
/* The next value of `whole`, as a reply by itself: in the same form, behind
 * what `whole` holds. Until cmd_reply_part_end() nothing else is written to
 * `whole`. Needs no fini. */
KV_INTERNAL void cmd_reply_part(struct cmd_reply *part,
                                const struct cmd_reply *whole);
/* What failed becomes its error. False: not even that has room. */
KV_INTERNAL bool cmd_reply_part_end(struct cmd_reply *part,
                                    struct cmd_reply *whole) KV_MUST_USE;
/* Forget the content, keep some memory; what was there before the reply began
 * is not touched. */
KV_INTERNAL void cmd_reply_reset(struct cmd_reply *reply);
/* From here on in protocol 2 or 3, if it is in one at all. */
static inline void cmd_reply_speak(struct cmd_reply *reply, unsigned resp)
{
    if (reply->resp != 0) {
        reply->resp = (uint8_t)resp;
    }
}
/* The reply is written, and others' bytes may follow: when it failed, it
 * becomes one error line. False: there is no room for that, and the buffer
 * ends where the reply began. */
KV_INTERNAL bool cmd_reply_mend(struct cmd_reply *reply) KV_MUST_USE;
static inline KV_MUST_USE bool cmd_reply_finish(struct cmd_reply *reply)
{
    return KV_LIKELY(!reply->buf->failed) || cmd_reply_mend(reply);
}

/* Writers. What does not fit marks the buffer failed; the dispatcher turns
 * that into one error reply. */
static inline bool cmd_reply_failed(const struct cmd_reply *reply)
{
    return reply->buf->failed;
}
KV_INTERNAL void cmd_reply_null(struct cmd_reply *reply);
KV_INTERNAL void cmd_reply_null_array(struct cmd_reply *reply);
KV_INTERNAL void cmd_reply_status(struct cmd_reply *reply, const char *text);
KV_INTERNAL void cmd_reply_int(struct cmd_reply *reply, int64_t number);
KV_INTERNAL void cmd_reply_bool(struct cmd_reply *reply, bool value);
KV_INTERNAL void cmd_reply_double(struct cmd_reply *reply, double real);
/* A double that is shown as `text` (coordinates: 17 decimals). */
KV_INTERNAL void cmd_reply_double_as(struct cmd_reply *reply, double real,
                                     const char *text, size_t size);
KV_INTERNAL void cmd_reply_bulk(struct cmd_reply *reply, const void *p,
                                size_t size);
KV_INTERNAL void cmd_reply_text(struct cmd_reply *reply, const char *text);
KV_INTERNAL void cmd_reply_verbatim(struct cmd_reply *reply, const void *p,
                                    size_t size);
KV_INTERNAL void cmd_reply_array(struct cmd_reply *reply, uint64_t count);
KV_INTERNAL void cmd_reply_map(struct cmd_reply *reply, uint64_t pairs);
KV_INTERNAL void cmd_reply_set(struct cmd_reply *reply, uint64_t count);
KV_INTERNAL void cmd_reply_pairs(struct cmd_reply *reply, uint64_t pairs);
/* An array that RESP3 marks as a message: what SUBSCRIBE answers. */
KV_INTERNAL void cmd_reply_push(struct cmd_reply *reply, uint64_t count);
/* For aggregates whose count is known later: begin returns a place, end fills
 * the count in. */
KV_INTERNAL size_t cmd_reply_begin(struct cmd_reply *reply,
                                   enum cmd_reply_kind kind);
KV_INTERNAL void cmd_reply_end(struct cmd_reply *reply, size_t place,
                               uint64_t count);
/* An error line "PREFIX sentence"; CR and LF become blanks. */
KV_INTERNAL void cmd_reply_error(struct cmd_reply *reply, kvsql_rc rc,
                                 const char *format, ...) KV_PRINTF(3, 4);

/* The line of a reply whose rc is not KVSQL_OK, or which failed; until the
 * reply changes. */
KV_INTERNAL kvsql_slice cmd_reply_line(const struct cmd_reply *reply);
/* The `size` bytes of the bulk that was written last; until the reply
 * changes. */
KV_INTERNAL const uint8_t *cmd_reply_last(const struct cmd_reply *reply,
                                          size_t size);

/* Reading what is typed: start at *offset = 0; false at the end. */
KV_INTERNAL bool cmd_reply_next(const struct cmd_reply *reply, size_t *offset,
                                struct cmd_item *item);
/* The bytes of a typed reply in protocol 2 or 3 (reply_resp.c). */
KV_INTERNAL void cmd_reply_resp(const struct cmd_reply *reply, unsigned resp,
                                struct kv_buf *out);
static inline void cmd_reply_resp2(const struct cmd_reply *reply,
                                   struct kv_buf *out)
{
    cmd_reply_resp(reply, 2, out);
}

#endif
