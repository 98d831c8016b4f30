/* gzip.h - answers compressed on their way out, when the client asks for it
 * (Accept-Encoding) and there is more than HTTP_GZIP_MIN of it.
 *
 * A body that is whole is compressed as a whole and has its true length. A
 * stream is compressed block by block, each flushed, so that no row waits for
 * the next. Tier 1 is left as it is: its wire is another's.
 *
 * The tag of an answer that is compressed ends in -gzip, for it is of other
 * bytes; a client may send it back in If-Match and If-None-Match (prefer.c).
 *
 * Thread: the one that has the request. */
#ifndef KVSQL_HTTP_GZIP_H
#define KVSQL_HTTP_GZIP_H

#include "http/request.h"

#define HTTP_GZIP_MIN 1024 /* bytes from which on it is worth while */
#define HTTP_GZIP_TAG "-gzip"

/* Does the client take gzip? */
KV_INTERNAL bool http_takes_gzip(const struct http_request *request);
/* Is the answer, a whole one, to be compressed? */
KV_INTERNAL bool http_gzip_wanted(const struct http_request *request);
/* Compress the whole answer, if it is to be and becomes smaller. Without memory
 * it stays as it is. Bytes / 100 MB/s or so. */
KV_INTERNAL void http_gzip_answer(struct http_request *request);
/* The answer's body is the next block of a stream; `first`: its head has not
 * left yet. False: no memory, the stream is to be cut. */
KV_INTERNAL bool http_gzip_block(struct http_request *request, bool first);
/* What stands behind the last block, into the stream's queue. The request's
 * lock is held. */
KV_INTERNAL void http_gzip_end(struct http_request *request);
/* The headers that depend on it: Vary, the tag of a 304. Once, at the end; the
 * body of an answer whose stream is `open` is its worker's. */
KV_INTERNAL void http_gzip_heads(struct http_request *request, bool open);
KV_INTERNAL void http_gzip_free(struct http_request *request);

#endif
