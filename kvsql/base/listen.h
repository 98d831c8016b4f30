/* listen.h - the listening sockets of a door, and what is wrong with them when
 * there are none, in a sentence: who has the port, what to do.
 *
 * Thread: the owner's, at start. */
#ifndef KVSQL_BASE_LISTEN_H
#define KVSQL_BASE_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/error.h"

#define KV_ADDRESS_MAX 64
#define KV_LISTEN_MAX 16 /* addresses */

struct kv_listener {
    int fd;        /* not blocking; -1 = given away */
    bool wildcard; /* listens on every address of its family */
    bool exposed;  /* ... or on one outside loopback */
    char address[KV_ADDRESS_MAX]; /* "127.0.0.1", "[::1]" */
};

struct kv_listeners {
    /* filled by the caller: words for the sentences */
    const char *door;          /* "http" */
    const char *option;        /* of the port: "http-port" */
    const char *secret;        /* "token" */
    const char *secret_option; /* "token-file" */
    /* filled by kv_listen; count 0: there are none */
    struct kv_listener at[KV_LISTEN_MAX];
    unsigned count;
    uint16_t port;
};

/* Bind to each of the addresses and listen, all on one port; 0 takes any.
 *
 * `addresses` is what redis.conf's `bind` takes: numeric addresses or
 * "localhost" with blanks between, "*" for all of IPv4, "::*" for all of IPv6;
 * one with "-" before it is left out when this machine does not have it. Each
 * kind of address that the machine does not speak is left out, too, but one
 * must be left. Outside loopback a secret is required (X1).
 *
 * KVSQL_INVALID  no address, or no secret
 * KVSQL_IO       the port is taken, or there is no socket to be had
 * In both cases nothing is left open. */
KV_INTERNAL kvsql_rc kv_listen(struct kv_listeners *listeners,
                               const char *addresses, uint16_t port,
                               bool secret, struct kvsql_error *err)
    KV_MUST_USE;
/* Close what is still open. */
KV_INTERNAL void kv_listen_close(struct kv_listeners *listeners);
/* Is one of them outside loopback? */
KV_INTERNAL bool kv_listen_exposed(const struct kv_listeners *listeners);
/* The address by which this machine reaches the door, as URLs write it:
 * "127.0.0.1" when that is listened on, else "[::1]", else the first. */
KV_INTERNAL const char *kv_listen_local(const struct kv_listeners *listeners);

#endif
