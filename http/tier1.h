/* tier1.h - commands in JSON: what tier 1 and batches share.
 *
 * Thread: the one that has the request. */
#ifndef KVSQL_HTTP_TIER1_H
#define KVSQL_HTTP_TIER1_H

#include "command/command.h"
#include "http/json.h"
#include "http/request.h"

/* The array of words and numbers at token `at` as arguments, in the request's
 * arena, their bytes borrowed from the JSON text. An argument may be
 * {"$base64":".."}, too. NULL: refused. */
KV_INTERNAL kvsql_slice *http_words(struct http_request *request,
                                    const struct http_json *json, uint32_t at,
                                    unsigned *argc);
/* {"result":..} or {"error":".."}; true when it is a result. With `base64`
 * every string of the result but a bare OK is encoded. */
KV_INTERNAL bool http_reply_object(struct kv_buf *out,
                                   const struct cmd_reply *reply, bool base64);

#endif
