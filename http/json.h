/* json.h - JSON in and out, exact to the byte.
 *
 * In: one pass over a body makes a flat run of tokens. Numbers keep their
 * source text, strings are decoded in place, so a token lends its bytes from
 * the body and both live equally long. Nothing ever passes through a double
 * on its way to the store.
 *
 * Out: writers append to a kv_buf; nothing is built twice.
 *
 * Thread: the request's. */
#ifndef KVSQL_HTTP_JSON_H
#define KVSQL_HTTP_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/buf.h"
#include "kvsql/base/error.h"
#include "kvsql/kvsql.h"

enum http_json_kind {
    HTTP_JSON_NULL,
    HTTP_JSON_FALSE,
    HTTP_JSON_TRUE,
    HTTP_JSON_NUMBER, /* p, size: the source text */
    HTTP_JSON_STRING, /* p, size: the decoded bytes, may hold NUL */
    HTTP_JSON_ARRAY,  /* count elements follow, each with its subtree */
    HTTP_JSON_OBJECT  /* count pairs follow: STRING name, then the value */
};

struct http_json_token {
    const uint8_t *p; /* of the value; of a container: its bracket */
    uint32_t size;
    uint32_t next;    /* index of the token behind this one's subtree */
    uint32_t count;   /* elements or pairs of a container */
    uint8_t kind;     /* enum http_json_kind */
};

struct http_json {
    struct http_json_token *tokens; /* [0] is the root */
    uint32_t count, cap, most; /* most: that there may be */
};

#define HTTP_JSON_DEPTH_MAX 64
#define HTTP_JSON_TOKENS_MAX 100000
#define HTTP_JSON_RECORD_TOKENS (1u << 23) /* of a line of an import */

/* Read one JSON text (RFC 8259) from `text`, which is changed in place: the
 * bytes of strings with escapes are decoded where they stand. KVSQL_SYNTAX
 * names the first bad byte and its offset; a BOM, bad UTF-8, lone surrogates
 * and anything but blanks behind the value are refused. KVSQL_TOOBIG: a limit
 * above. KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc http_json_parse(struct http_json *json, uint8_t *text,
                                     size_t size, struct kvsql_error *err)
    KV_MUST_USE;
/* The same with another limit than HTTP_JSON_TOKENS_MAX. */
KV_INTERNAL kvsql_rc http_json_parse_most(struct http_json *json,
                                          uint8_t *text, size_t size,
                                          uint32_t most,
                                          struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void http_json_fini(struct http_json *json);

/* Index of the value of `name` in the object at `object`; 0 when absent (0 is
 * the root and never a value). */
KV_INTERNAL uint32_t http_json_find(const struct http_json *json,
                                    uint32_t object, const char *name);
/* The object at `object` may only have the NULL-terminated `names`, each
 * once. KVSQL_INVALID names the first that is unknown or repeated. */
KV_INTERNAL kvsql_rc http_json_only(const struct http_json *json,
                                    uint32_t object, const char *const *names,
                                    struct kvsql_error *err) KV_MUST_USE;
/* The object at `object` has each of its names once (names.c). KVSQL_INVALID names
 * one that it has twice; NOMEM. O(n log n). */
KV_INTERNAL kvsql_rc http_json_once(const struct http_json *json,
                                    uint32_t object,
                                    struct kvsql_error *err) KV_MUST_USE;
/* The token's bytes as a slice (numbers and words: their source text). */
KV_INTERNAL kvsql_slice http_json_slice(const struct http_json_token *token);

/* A string. Invalid UTF-8 becomes U+FFFD, one per maximal bad part. */
KV_INTERNAL void http_json_string(struct kv_buf *out, const void *p,
                                  size_t size);
/* The same without quotes and escapes. */
KV_INTERNAL void http_json_utf8(struct kv_buf *out, const void *p,
                                size_t size);
KV_INTERNAL void http_json_text(struct kv_buf *out, const char *text);
KV_INTERNAL void http_json_int(struct kv_buf *out, int64_t value);
KV_INTERNAL void http_json_uint(struct kv_buf *out, uint64_t value);
/* Shortest text that reads back equal; infinities as strings. With `real` a
 * whole number shows that it is a REAL: 3.0. */
KV_INTERNAL void http_json_double(struct kv_buf *out, double value, bool real);
/* A string in base64 of any bytes. */
KV_INTERNAL void http_json_base64(struct kv_buf *out, const void *p,
                                  size_t size);
/* A value of the store: TEXT as a string, BLOB as {"$base64":".."}. */
KV_INTERNAL void http_json_bytes(struct kv_buf *out, const void *p,
                                 size_t size, bool blob);

#endif
