/* resp.h - the door of the Redis protocol: the face that cli/serve.c sees.
 *
 * One port. Event loops read, run commands and write; what may take long runs
 * on workers. The door may be open before the store is, to say LOADING.
 *
 *   resp_start(&config, &server, &err)     commands answer -LOADING
 *   resp_ready(server, db)                 ... and now everything
 *   resp_stop(server)                      before kvsql_close(db)
 *
 * Thread: start, ready and stop from the owner's; the rest from any. */
#ifndef KVSQL_RESP_RESP_H
#define KVSQL_RESP_RESP_H

#include <stdbool.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/error.h"
#include "kvsql/inside.h"

struct resp_server;

/* Zeroes are the defaults. */
struct resp_config {
    const char *bind;          /* addresses as kv_listen takes them; NULL =
                                  "127.0.0.1" */
    uint16_t port;             /* 0 = any free port, see resp_port */
    bool secret;               /* a password is set: any address may be bound */
    unsigned threads;          /* event loops (io-threads); 0 = 1 */
    unsigned workers;          /* of SQL and long commands; 0 = 4 */
    unsigned connection_max;   /* maxclients; 0 = 10,000, or what descriptors
                                  allow */
    uint64_t idle_ms;          /* close when silent for so long; 0 = never */
    uint64_t keepalive_s;      /* TCP keepalive; 0 = 300 */
    uint64_t bulk_max;         /* proto-max-bulk-len; 0 = 512 MiB */
    uint64_t sql_deadline_ms;  /* of one statement; 0 = 10,000 */
    uint64_t sql_row_max;      /* 0 = 10,000 */
    uint64_t sql_byte_max;     /* 0 = 16 MiB */
};

/* Bind, listen, start the threads.
 * KVSQL_INVALID  an address that is none, or outside loopback without secret
 * KVSQL_IO       the port is taken (err says by whom), no socket, no thread
 * KVSQL_NOMEM    nothing is left behind in any of these cases. */
KV_INTERNAL kvsql_rc resp_start(const struct resp_config *config,
                                struct resp_server **server,
                                struct kvsql_error *err) KV_MUST_USE;
/* What may change while it runs: from the next accept, turn or request on. */
struct resp_limit_set {
    unsigned connection_max; /* 0 = none may come */
    uint64_t idle_ms;        /* 0 = never */
    uint64_t keepalive_s;    /* of connections to come; 0 = none */
    uint64_t bulk_max;
    /* client-output-buffer-limit of who has subscribed: messages that it does
     * not read, at once, and for so long; 0 = no limit. */
    uint64_t pubsub_hard, pubsub_soft, pubsub_soft_s;
};
KV_INTERNAL void resp_set(struct resp_server *server,
                          const struct resp_limit_set *limits);
/* Connections that descriptors allow, `wanted` at most. */
KV_INTERNAL unsigned resp_connections_possible(unsigned wanted);
/* Does it listen outside loopback? */
KV_INTERNAL bool resp_is_exposed(struct resp_server *server);
/* Listen elsewhere: first the new sockets, which may fail as at the start and
 * then leaves nothing behind, then either they take the place of those that the
 * server has, from the next turn of each loop on, or they are dropped (NULL is
 * fine). Connections stay. Any thread; listen may look through /proc. */
struct resp_listening;
KV_INTERNAL kvsql_rc resp_listen(const char *bind, uint16_t port, bool secret,
                                 struct resp_listening **out,
                                 struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void resp_listen_take(struct resp_server *server,
                                  struct resp_listening *listening);
KV_INTERNAL void resp_listen_drop(struct resp_listening *listening);
/* The store is open. Call once. */
KV_INTERNAL void resp_ready(struct resp_server *server, kvsql *db);
/* The port that is listened on. */
KV_INTERNAL uint16_t resp_port(struct resp_server *server);
/* An address by which this machine reaches it: "127.0.0.1", "[::1]" ... At the
 * start, before others can listen elsewhere. */
KV_INTERNAL const char *resp_address(const struct resp_server *server);
/* No more connections, running statements are interrupted, replies that may
 * go are sent, threads end, memory goes. Blocks a second at most. NULL is
 * fine. */
KV_INTERNAL void resp_stop(struct resp_server *server);

#endif
