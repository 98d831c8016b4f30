/* key.h - values read by SQL: what /v1/keys and /v1/export share.
 *
 * Thread: the worker that has the request. */
#ifndef KVSQL_HTTP_KEY_H
#define KVSQL_HTTP_KEY_H

#include "http/sql.h"

#define HTTP_KEY_STRING "SELECT value FROM strings WHERE key = ?1"

struct http_key_read {
    struct http_request *request;
    struct vt_session *session; /* in a transaction, so that it is one state */
    struct vt_value key;
    char type[16];    /* "hash"; of the key */
    bool peek, pairs; /* a part of it; a hash as pairs */
    bool cut;         /* a part it was */
    bool times;       /* fields of it have a time to live */
};

/* Append ,"value":.. of the key to the answer's body, handing on full blocks.
 * INTERRUPT: nobody reads any more. TOOBIG: over the session's limit. */
KV_INTERNAL kvsql_rc http_key_value(struct http_key_read *read,
                                    struct kvsql_error *err) KV_MUST_USE;
/* Behind that: ,"field_expires_at":.. of a hash whose fields have times, in the
 * shape of its value. The same results. */
KV_INTERNAL kvsql_rc http_key_times(struct http_key_read *read,
                                    struct kvsql_error *err) KV_MUST_USE;
/* The statement that reads the elements of a key of that type, ?1 the key; a
 * hash has its times in the third column. NULL: of no type that is read. */
KV_INTERNAL const char *http_key_sql(const char *type);
/* A key, or the beginning of one, to bind. */
KV_INTERNAL struct vt_value http_key_bound(bool blob, const void *p,
                                           size_t size);

/* export_csv.c: the first line, and a line for each element of the key, which
 * expires at `until` (0: never), handing on full blocks. INTERRUPT: nobody
 * reads any more. */
KV_INTERNAL void http_csv_head(struct kv_buf *out);
KV_INTERNAL kvsql_rc http_key_csv(struct http_key_read *read, int64_t until,
                                  struct kvsql_error *err) KV_MUST_USE;

#endif
