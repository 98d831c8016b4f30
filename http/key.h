/* key.h - values read by SQL: what /v1/keys and /v1/export share.
 *
 * Thread: the worker that has the request. */
#ifndef KVSQL_HTTP_KEY_H
#define KVSQL_HTTP_KEY_H

#include "http/sql.h"

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
/* A key, or the beginning of one, to bind. */
KV_INTERNAL struct vt_value http_key_bound(bool blob, const void *p,
                                           size_t size);

#endif
