/* remote.h - requests to a running server: one connection, one at a time.
 *
 * The only file that knows libcurl is remote.c.
 *
 * Thread: the owner's. */
#ifndef KVSQL_CLI_REMOTE_H
#define KVSQL_CLI_REMOTE_H

#include <signal.h>

#include "kvsql/base/buf.h"
#include "kvsql/kvsql.h"

#define REMOTE_ANSWER_MAX ((size_t)1 << 30) /* bytes of one answer */

struct cli_remote;

/* Set by a handler of SIGINT: the request that runs ends with
 * KVSQL_INTERRUPT. */
extern volatile sig_atomic_t cli_interrupted;

/* `url` is http://host:port, `token` may be NULL; both are copied. Nothing is
 * sent yet. KVSQL_INVALID: not such a URL. KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc cli_remote_open(const char *url, const char *token,
                                     struct cli_remote **remote,
                                     struct kvsql_error *err) KV_MUST_USE;
/* Version of the libcurl that runs; static. */
KV_INTERNAL const char *cli_remote_library(void);
KV_INTERNAL void cli_remote_close(struct cli_remote *remote);
KV_INTERNAL const char *cli_remote_url(const struct cli_remote *remote);

/* Send a request: GET when `body` is NULL, else POST of JSON. `header` is one
 * more header line or NULL. The answer's body is appended to `out`. *status
 * is the HTTP status, which is not judged here. KVSQL_CLOSED: no server, err
 * says how to get one; KVSQL_INTERRUPT; KVSQL_IO: broke off; KVSQL_NOMEM;
 * KVSQL_TOOBIG. */
KV_INTERNAL kvsql_rc cli_remote_request(struct cli_remote *remote,
                                        const char *path,
                                        const struct kv_buf *body,
                                        const char *header, long *status,
                                        struct kv_buf *out,
                                        struct kvsql_error *err) KV_MUST_USE;

#endif
