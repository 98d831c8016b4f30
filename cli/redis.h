/* redis.h - a connection to a server of the Redis protocol, as a client.
 *
 * Commands gather and are sent together; replies come item by item, in the
 * order of the protocol: an array is its count, its elements follow. RESP2.
 *
 * Thread: the owner's. */
#ifndef KVSQL_CLI_REDIS_H
#define KVSQL_CLI_REDIS_H

#include "kvsql/base/buf.h"
#include "kvsql/kvsql.h"

struct cli_redis;

enum cli_redis_kind {
    CLI_REDIS_STATUS,
    CLI_REDIS_ERROR,
    CLI_REDIS_INT,
    CLI_REDIS_BULK,
    CLI_REDIS_ARRAY,
    CLI_REDIS_NULL
};
struct cli_redis_item {
    enum cli_redis_kind kind;
    int64_t number;    /* INT; elements of an ARRAY */
    kvsql_slice bytes; /* of the others; until the next call */
};

/* `url` is redis://[user@]host[:port][/0]; a password comes apart, "" is none.
 * Connects and authenticates. KVSQL_INVALID: not such a URL, or one with a
 * password in it; KVSQL_CLOSED: no server; KVSQL_AUTH: the server's words;
 * KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc cli_redis_open(const char *url, const char *password,
                                    struct cli_redis **redis,
                                    struct kvsql_error *err) KV_MUST_USE;
/* A connection that stands; its end closes `fd`, -1 is none. NULL: no memory.
 * For tests. */
KV_INTERNAL struct cli_redis *cli_redis_of(int fd);
/* NULL is nothing. */
KV_INTERNAL void cli_redis_close(struct cli_redis *redis);
/* A command of `count` words, then cli_redis_word for each of them. */
KV_INTERNAL void cli_redis_command(struct cli_redis *redis, unsigned count,
                                   const char *name);
KV_INTERNAL void cli_redis_word(struct cli_redis *redis, kvsql_slice word);
KV_INTERNAL void cli_redis_text(struct cli_redis *redis, const char *word);
/* Send what has gathered. KVSQL_IO: the connection broke; KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc cli_redis_send(struct cli_redis *redis,
                                    struct kvsql_error *err) KV_MUST_USE;
/* The next item; waits a minute for it. KVSQL_IO: the connection broke, or the
 * server is silent; KVSQL_CORRUPT: that is no RESP2; KVSQL_NOMEM, TOOBIG. */
KV_INTERNAL kvsql_rc cli_redis_next(struct cli_redis *redis,
                                    struct cli_redis_item *item,
                                    struct kvsql_error *err) KV_MUST_USE;
/* The same, and it must be of this kind: an error reply is KVSQL_INVALID with
 * its words, another kind KVSQL_CORRUPT. */
KV_INTERNAL kvsql_rc cli_redis_want(struct cli_redis *redis,
                                    enum cli_redis_kind kind,
                                    struct cli_redis_item *item,
                                    struct kvsql_error *err) KV_MUST_USE;

#endif
