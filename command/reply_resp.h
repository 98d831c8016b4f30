/* reply_resp.h - the RESP form of a reply, for reply.c alone.
 *
 * Every function writes behind reply->buf, in protocol reply->resp, which is 2
 * or 3. What does not fit marks the buffer failed.
 *
 * Thread: the request's. */
#ifndef KVSQL_COMMAND_REPLY_RESP_H
#define KVSQL_COMMAND_REPLY_RESP_H

#include "command/reply.h"

KV_INTERNAL void cmd_resp_item(struct cmd_reply *reply,
                               const struct cmd_item *item);
/* The same for an item BULK, which most are. */
KV_INTERNAL void cmd_resp_bulk(struct cmd_reply *reply, const void *p,
                               size_t size);
/* An aggregate that begins at the end of the buffer; its count, when `place` is
 * where it began. The buffer has not failed then. */
KV_INTERNAL void cmd_resp_begin(struct cmd_reply *reply,
                                enum cmd_reply_kind kind);
KV_INTERNAL void cmd_resp_end(struct cmd_reply *reply, size_t place,
                              uint64_t count);
/* The line of a reply that is one error. */
KV_INTERNAL kvsql_slice cmd_resp_line(const struct cmd_reply *reply);

#endif
