/* value.h - values of the five types in JSON, both ways (rest.md 4.1).
 *
 *   string       "text" or {"$base64":".."}; a number keeps its source text
 *   hash         {"f":"v",..} or {"$pairs":[["f","v"],..]}
 *   list, set    ["v",..]
 *   sorted set   [{"member":"m","score":1.5},..]; in: [["m",1.5],..], too
 *
 * Thread: the one that has the request. */
#ifndef KVSQL_HTTP_VALUE_H
#define KVSQL_HTTP_VALUE_H

#include "http/call.h"

/* ---- in: tokens of the body become words of commands ------------------------- */

/* The bytes that the token means: a string, a number, {"$base64":".."}. False:
 * refused, and `what` says what was wanted. */
KV_INTERNAL bool http_value_bytes(struct http_call *call, uint32_t at,
                                  const char *what, kvsql_slice *out);
/* The bytes of {"$base64":".."} in the request's arena; false when the object
 * is none, or for want of memory. */
KV_INTERNAL bool http_value_base64(struct http_request *request,
                                   const struct http_json *json, uint32_t at,
                                   kvsql_slice *out);
/* Token of a member of the body; UINT32_MAX: it is not there. */
KV_INTERNAL uint32_t http_value_place(const struct http_call *call,
                                      const char *name);
/* Member `name` of the body, which must be there. */
KV_INTERNAL bool http_value_member(struct http_call *call, const char *name,
                                   kvsql_slice *out);
/* The same, `out` is left as it is when it is not there. */
KV_INTERNAL bool http_value_option(struct http_call *call, const char *name,
                                   kvsql_slice *out);
/* A command of `words`, then all values of the array at `at`; or all its
 * members with scores, or all pairs of an object. There must be one at least.
 */
KV_INTERNAL bool http_value_each(struct http_call *call, uint32_t at,
                                 const kvsql_slice *words, unsigned count);
KV_INTERNAL bool http_value_scores(struct http_call *call, uint32_t at,
                                   const kvsql_slice *words, unsigned count);
/* Fields and values that are set, and those that are null: HSET, HDEL. */
KV_INTERNAL bool http_value_merge(struct http_call *call, uint32_t at);
/* The commands that make the token the whole value of the key. */
KV_INTERNAL bool http_value_replace(struct http_call *call, enum kv_type type,
                                    uint32_t at);

/* The type that is called so; KV_NONE: none of those that values are of. */
KV_INTERNAL enum kv_type http_value_type(kvsql_slice name);

/* ---- out ---------------------------------------------------------------------- */

#define HTTP_VALUE_WORDS 5
/* The command that reads all of a value; gives the number of words. */
KV_INTERNAL unsigned http_value_command(enum kv_type type, kvsql_slice key,
                                        kvsql_slice argv[HTTP_VALUE_WORDS]);
/* "/v1/hashes/a%2Fb": the path for a key of this type. */
KV_INTERNAL void http_value_path(struct kv_buf *out, enum kv_type type,
                                 kvsql_slice key);
/* A prefix as a pattern of Redis: its own letters, then anything. */
KV_INTERNAL void http_value_pattern(struct kv_buf *out, kvsql_slice prefix);
/* Bytes as a JSON value. */
KV_INTERNAL void http_value_item(struct kv_buf *out,
                                 const struct cmd_item *item);
/* The elements of an array or set; of pairs with their scores; of a map. */
KV_INTERNAL void http_value_array(struct kv_buf *out,
                                  const struct cmd_reply *reply);
KV_INTERNAL void http_value_scored(struct kv_buf *out,
                                   const struct cmd_reply *reply);
KV_INTERNAL void http_value_object(struct kv_buf *out,
                                   const struct cmd_reply *reply, bool pairs);
/* The reply of http_value_command() as an answer: strings raw, else JSON. */
KV_INTERNAL void http_value_answer(struct http_call *call, enum kv_type type,
                                   const struct cmd_reply *reply);
/* {"value":n} of the first reply, an integer or the text of a number. */
KV_INTERNAL void http_value_counted(struct http_call *call);
/* {"NAME":[..]} of the first reply. */
KV_INTERNAL void http_value_list(struct http_call *call, const char *name);

#endif
