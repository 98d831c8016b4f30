/* listen.h - a listening socket of a door, and what is wrong with it when there
 * is none, in a sentence: who has the port, what to do.
 *
 * Thread: the owner's, at start. */
#ifndef KVSQL_BASE_LISTEN_H
#define KVSQL_BASE_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/error.h"

#define KV_ADDRESS_MAX 64

struct kv_listener {
    /* filled by the caller: words for the sentences */
    const char *door;          /* "http" */
    const char *option;        /* of the port: "http-port" */
    const char *secret;        /* "token" */
    const char *secret_option; /* "token-file" */
    /* filled by kv_listen */
    int fd;                    /* not blocking; -1 = none */
    uint16_t port;
    bool wildcard;             /* listens on every address */
    bool exposed;              /* ... on one outside loopback */
    char address[KV_ADDRESS_MAX]; /* "127.0.0.1", "[::1]" */
};

/* Bind to a numeric address or "localhost", and listen; port 0 takes any.
 * Outside loopback a secret is required (X1).
 * KVSQL_INVALID  no address, or no secret
 * KVSQL_IO       the port is taken, or there is no socket to be had */
KV_INTERNAL kvsql_rc kv_listen(struct kv_listener *listener,
                               const char *bind_to, uint16_t port, bool secret,
                               struct kvsql_error *err) KV_MUST_USE;

#endif
