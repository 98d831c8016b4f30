/* reply.h - an answer, before any protocol has dressed it.
 *
 * A reply is a flat run of typed items in an arena of its own; aggregates say
 * how many items follow (n pairs of a map or of PAIRS are followed by 2n items,
 * nested as they come). The shapes are RESP3's; RESP2 and JSON flatten maps,
 * sets and doubles themselves (clients.md section 7).
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

struct cmd_reply {
    struct kv_buf buf;  /* encoded items */
    kvsql_rc rc;        /* of a top-level error, else KVSQL_OK */
};

/* `size_max` bounds the memory of the reply. */
KV_INTERNAL void cmd_reply_init(struct cmd_reply *reply, size_t size_max);
KV_INTERNAL void cmd_reply_fini(struct cmd_reply *reply);
/* Forget the content, keep some memory. */
KV_INTERNAL void cmd_reply_reset(struct cmd_reply *reply);

/* Writers. What does not fit marks the buffer failed; the dispatcher turns
 * that into one error reply. */
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
/* For aggregates whose count is known later: begin returns a place, end fills
 * the count in. */
KV_INTERNAL size_t cmd_reply_begin(struct cmd_reply *reply,
                                   enum cmd_reply_kind kind);
KV_INTERNAL void cmd_reply_end(struct cmd_reply *reply, size_t place,
                               uint64_t count);
/* An error line "PREFIX sentence"; CR and LF become blanks. */
KV_INTERNAL void cmd_reply_error(struct cmd_reply *reply, kvsql_rc rc,
                                 const char *format, ...) KV_PRINTF(3, 4);

/* The whole of `part` as the next value; what failed becomes its error. */
KV_INTERNAL void cmd_reply_append(struct cmd_reply *reply,
                                  const struct cmd_reply *part);

/* Reading: start at *offset = 0; false at the end. */
KV_INTERNAL bool cmd_reply_next(const struct cmd_reply *reply, size_t *offset,
                                struct cmd_item *item);
/* The bytes of the whole reply in protocol 2 or 3 (reply_resp.c). */
KV_INTERNAL void cmd_reply_resp(const struct cmd_reply *reply, unsigned resp,
                                struct kv_buf *out);
static inline void cmd_reply_resp2(const struct cmd_reply *reply,
                                   struct kv_buf *out)
{
    cmd_reply_resp(reply, 2, out);
}

#endif
