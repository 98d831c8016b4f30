/* parse.h - requests of the Redis protocol out of a stream of bytes.
 *
 * A request is an array of bulk strings, `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`, or
 * an inline line, `GET k\r\n`. The parser never copies an argument of an
 * array: it points into the input. It may be called again with more bytes
 * behind those it has seen, and does not look at them twice.
 *
 * Source: the RESP specification, Redis 7's replies to what breaks it, and
 * section 12 of the reliability rules.
 *
 * Thread: the owner's. */
#ifndef KVSQL_RESP_PARSE_H
#define KVSQL_RESP_PARSE_H

#include "kvsql/base/buf.h"
#include "kvsql/kvsql.h"

struct resp_limits {
    uint64_t args_max;   /* arguments of one request */
    _Atomic uint64_t bulk_max; /* bytes of one argument; may change */
    size_t inline_max;   /* bytes of an inline line, and of a header line */
    bool anonymous;      /* before the password: other words in the errors */
};

struct resp_parser {
    size_t at;           /* bytes of this request that are done with */
    int64_t left;        /* arguments to come; -1: the first line is */
    int64_t bulk;        /* size of the argument that comes; -1: its header */
    kvsql_slice *argv;   /* p is an offset until the request is whole */
    unsigned argc, cap;
    unsigned first;      /* arguments in front, of the requests before it */
    struct kv_buf line;  /* arguments of an inline request */
};

enum resp_parsed {
    RESP_MORE,    /* the request goes on behind the input */
    RESP_REQUEST, /* whole: parser->argc and argv, until the next call */
    RESP_NOTHING, /* an empty line, an empty array: skip *used bytes */
    RESP_BROKEN,  /* answer err->text ("ERR Protocol error: ...") and close */
    RESP_FOREIGN  /* this is HTTP or TLS: close at once (X13) */
};

KV_INTERNAL void resp_parser_init(struct resp_parser *parser);
KV_INTERNAL void resp_parser_fini(struct resp_parser *parser);
/* Forget a request that has begun; keeps some memory. */
KV_INTERNAL void resp_parser_reset(struct resp_parser *parser);

/* Look at the request that begins at `p`, of which `size` bytes are there.
 * *used is its length when it is over (RESP_REQUEST, RESP_NOTHING). The next
 * call is for the next request, or, behind RESP_MORE, for the same one with
 * more bytes, which may lie elsewhere. */
KV_INTERNAL enum resp_parsed resp_parse(struct resp_parser *parser,
                                        const struct resp_limits *limits,
                                        const uint8_t *p, size_t size,
                                        size_t *used, struct kvsql_error *err);

/* Requests that stand one behind the other. */
#define RESP_RUN_MAX 32
#define RESP_RUN_ARGS 128                 /* arguments of all of them, mostly */
#define RESP_RUN_SIZE ((size_t)32 << 10)  /* bytes; one alone may be longer */
struct resp_run {
    unsigned count;
    struct {
        unsigned first, argc; /* in parser->argv */
        size_t used;
    } at[RESP_RUN_MAX];
};

/* The same for as many requests as are whole, `max` and the limits above at
 * most. With RESP_REQUEST there is at least one, and what follows them is for
 * the next call; with RESP_NOTHING run->at[0].used is what it took. */
KV_INTERNAL enum resp_parsed resp_parse_run(struct resp_parser *parser,
                                            const struct resp_limits *limits,
                                            const uint8_t *p, size_t size,
                                            unsigned max,
                                            struct resp_run *run,
                                            struct kvsql_error *err);

/* Bytes that are known to be missing, at least 1: how much to read. */
KV_INTERNAL size_t resp_parse_missing(const struct resp_parser *parser,
                                      size_t size);

#endif
