/* prefer.h - headers and parameters that any request on a key may have: tags
 * of versions, Prefer, times to live.
 *
 * Thread: the one that has the request. */
#ifndef KVSQL_HTTP_PREFER_H
#define KVSQL_HTTP_PREFER_H

#include "http/json.h"
#include "http/request.h"

enum http_return {
    HTTP_RETURN_DEFAULT,
    HTTP_RETURN_MINIMAL,
    HTTP_RETURN_REPRESENTATION,
    HTTP_RETURN_PREVIOUS
};

struct http_prefer {
    enum http_return result;
    bool dry;           /* tx=rollback */
    bool has_most;
    uint64_t most;      /* max-affected: changes at most */
};

/* Preference-Applied: `result` ("" or what return= was done), and what else was
 * heeded; nothing when there is nothing. */
KV_INTERNAL void http_prefer_applied(struct http_request *request,
                                     const struct http_prefer *prefer,
                                     const char *result);
/* 409: more would change than max-affected allows. Always false. */
KV_INTERNAL bool http_prefer_beyond(struct http_request *request,
                                    const struct http_prefer *prefer,
                                    uint64_t count);
/* Does the object have no other members than these (http_json_only), or does
 * Prefer: handling=lenient let the others pass? */
KV_INTERNAL kvsql_rc http_prefer_only(const struct http_request *request,
                                      const struct http_json *json,
                                      uint32_t object,
                                      const char *const *names,
                                      struct kvsql_error *err) KV_MUST_USE;
/* Is handling=lenient asked for, of a path that takes Prefer? */
KV_INTERNAL bool http_prefer_lenient(const struct http_request *request);
/* What Prefer says; words that are not known are ignored (RFC 7240). False:
 * refused, a value is none. */
KV_INTERNAL bool http_prefer_read(struct http_request *request,
                                  struct http_prefer *prefer);

#define HTTP_ETAG_SIZE 64
/* The tag of a version: "v7-0011223344556677" in quotes. */
KV_INTERNAL void http_etag(const struct http_request *request,
                           uint64_t version, char out[HTTP_ETAG_SIZE]);
/* Is `etag` among the tags of If-Match or If-None-Match, "*" included? With
 * `strong` a weak tag is none. */
KV_INTERNAL bool http_etag_in(kvsql_slice list, const char *etag, bool strong);
/* The same of a version, which the tag of its compressed bytes names, too. */
KV_INTERNAL bool http_version_in(kvsql_slice list, const char *etag,
                                 bool strong);

/* The range of bytes that a request asks for. */
struct http_range {
    bool asked, suffix, open; /* "-5": the last five; "5-": from there on */
    uint64_t first, last;
};
/* One range; several, other units and what is no range are ignored (RFC 9110):
 * `asked` is false then. */
KV_INTERNAL struct http_range http_range_of(const struct http_request *request);
/* The part of `length` bytes that it is; *size 0: there is none (416). */
KV_INTERNAL void http_range_fit(const struct http_range *range,
                                uint64_t length, uint64_t *first,
                                uint64_t *size);

/* Milliseconds of "30s", "1500ms", "2h"; false when it is none, or 0. */
KV_INTERNAL bool http_duration(kvsql_slice text, int64_t *ms);
/* ?ttl= or X-KVSQL-TTL; 0 when there is none. False: refused. */
KV_INTERNAL bool http_ttl_asked(struct http_request *request, int64_t *ms);

#endif
