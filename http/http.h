/* http.h - the HTTP door: the face that cli/serve.c sees.
 *
 * One port, three tiers: Redis commands as JSON (the wire of Upstash's REST
 * clients), resources under /v1, SQL under /v1/sql. The door runs threads of
 * its own: event loops, SQL workers and one watcher of deadlines and lost
 * clients. It may start before the store is open, to answer /livez and
 * /readyz while a directory is loading.
 *
 *   http_start(NULL, &config, &server, &err)   the port answers 503 LOADING
 *   http_ready(server, db)                     ... and now everything
 *   http_stop(server)                          before kvsql_close(db)
 *
 * Thread: http_start, http_ready and http_stop from one thread, the owner's;
 * the rest from any. */
#ifndef KVSQL_HTTP_HTTP_H
#define KVSQL_HTTP_HTTP_H

#include <stdint.h>

#include "kvsql/admin.h"
#include "kvsql/base/attr.h"
#include "kvsql/base/error.h"
#include "kvsql/inside.h"

struct http_server;

#define HTTP_TOKEN_MAX 256 /* bytes of a token or password */
#define HTTP_HOSTS_MAX 32  /* names in each of the two lists below */

/* What the door is told at start; zeroes are the defaults. Strings are copied.
 */
struct http_config {
    const char *bind;           /* addresses as kv_listen takes them; NULL =
                                   "127.0.0.1" */
    uint16_t port;              /* 0 = any free port, see http_port */
    const char *token;          /* all rights; NULL or "" = none */
    const char *token_readonly; /* read commands only; NULL or "" = none */
    const char *password;       /* requirepass: as bearer token, and as Basic
                                   default:password; NULL or "" = none */
    const char *const *allowed_hosts; /* NULL-terminated names for Host, may
                                         be NULL */
    const char *const *cors_origins;  /* NULL-terminated "scheme://host:port"
                                         or "*", may be NULL */
    uint64_t body_max;          /* bytes; 0 = 1 MiB */
    size_t record_max;          /* bytes of a record of /v1/import; 0 = 1 GiB */
    unsigned stream_max;        /* event streams at a time; 0 = 1,000 */
    unsigned threads;           /* event loops of the first address; 0 = 2;
                                   the others have one each */
    unsigned sql_threads;       /* 0 = 4 */
    unsigned connection_max;    /* of each address; 0 = 10,000, or what descriptors allow */
    uint64_t sql_deadline_ms;   /* of one statement; 0 = 10,000 */
    uint64_t sql_row_max;       /* 0 = 10,000 */
    uint64_t sql_byte_max;      /* 0 = 16 MiB */
    uint64_t again_ttl_ms;      /* answers to an Idempotency-Key are kept so
                                   long; 0 = a day */
    uint64_t again_byte_max;    /* bytes of all of them; 0 = 64 MiB */
    unsigned view_max;          /* views that clients hold; 0 = 64 */
    uint64_t view_lease_ms;     /* of one that nobody uses; 0 = a minute */
    uint64_t head_ms, body_ms;  /* absolute deadlines, for tests; 0 = 10 s for a
                                   head, 20 s and 1 s per 32 KiB for a body */
};

/* Bind, listen, start the threads. With `db` NULL every path but /livez,
 * /readyz and /healthz answers 503 LOADING until http_ready.
 *
 * KVSQL_INVALID  an address that is none, a token that is too long, a bind
 *                outside loopback without token or password (X1).
 * KVSQL_IO       the port is taken (err says by whom and what to do) or a
 *                socket or thread could not be made.
 * KVSQL_NOMEM    nothing is left behind in any of these cases. */
KV_INTERNAL kvsql_rc http_start(kvsql *db, const struct http_config *config,
                                struct http_server **server,
                                struct kvsql_error *err) KV_MUST_USE;

/* The store is open: serve it. Call once, only after a start with NULL. */
KV_INTERNAL void http_ready(struct http_server *server, kvsql *db);

/* Another password, or none with "": from the next request on. `text` has
 * HTTP_TOKEN_MAX bytes at most. Any thread. */
KV_INTERNAL void http_password_set(struct http_server *server,
                                   const char *text);

/* The tokens from the next request on, "" = none; the same limit. Any thread. */
KV_INTERNAL void http_tokens_set(struct http_server *server, const char *token,
                                 const char *token_readonly);

/* While loading: what /readyz shows. Any thread. */
KV_INTERNAL void http_loading(struct http_server *server,
                              const struct kv_progress *progress);

/* The port that is listened on (of interest after a start with port 0). */
KV_INTERNAL uint16_t http_port(const struct http_server *server);
/* An address by which this machine reaches it: "127.0.0.1", "[::1]" ... */
KV_INTERNAL const char *http_address(const struct http_server *server);

/* Stop gracefully: no new connections, running statements are interrupted,
 * waiting requests answered or cut, then threads end and memory goes. Blocks
 * until all that is done, a few seconds at most. NULL is fine. Replies that
 * wait for the disk are given up (their writes stand or fall by themselves);
 * the store must be closed after this, not before. */
KV_INTERNAL void http_stop(struct http_server *server);

/* Version of the libmicrohttpd that runs, "0.9.75"; static. Any thread. */
KV_INTERNAL const char *http_library_version(void);

#endif
