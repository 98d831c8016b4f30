/* requests.h - a stream of bytes through the parser of the Redis protocol, in
 * pieces, and what it says of them as text:
 *
 *   [GET][a]|[PING]|+|!ERR Protocol error: ...|
 *
 * a request is its arguments in brackets, `+` is nothing (an empty line), `!`
 * an error, `x` another protocol; in the end, in <>, how many bytes begin a
 * request that is not whole.
 *
 * Each piece is added to a block of its own exact size, as memory that moves.
 *
 * Thread: the caller's. */
#ifndef TESTS_LIB_REQUESTS_H
#define TESTS_LIB_REQUESTS_H

#include <stdlib.h>
#include <string.h>

#include "resp/parse.h"

struct requests {
    const struct resp_limits *limits;
    const uint8_t *sizes; /* of the pieces, again and again; 0 is 256 */
    size_t size_count;    /* 0: all at once */
    bool anew;            /* forget, between pieces, how far it was */
    unsigned run;         /* so many requests at a time; 0: one, by itself */
    const char *wrong;    /* a promise that was not kept, or NULL */
};

static inline void requests_tell(const kvsql_slice *argv, unsigned argc,
                                 struct kv_buf *told)
{
    for (unsigned i = 0; i < argc; i++) {
        kv_buf_byte(told, '[');
        kv_buf_add(told, argv[i].p, argv[i].size);
        kv_buf_byte(told, ']');
    }
    kv_buf_byte(told, '|');
}

/* One request, or several: they are told. */
static inline enum resp_parsed requests_next(struct requests *r,
                                             struct resp_parser *parser,
                                             const uint8_t *p, size_t size,
                                             size_t *used, struct kv_buf *told,
                                             struct kvsql_error *err)
{
    struct resp_run run;
    enum resp_parsed got;

    if (r->run == 0) {
        got = resp_parse(parser, r->limits, p, size, used, err);
        if (got == RESP_REQUEST) {
            requests_tell(parser->argv, parser->argc, told);
        }
        return got;
    }
    got = resp_parse_run(parser, r->limits, p, size, r->run, &run, err);
    *used = run.at[0].used;
    for (unsigned i = 0; got == RESP_REQUEST && i < run.count; i++) {
        *used = i == 0 ? *used : *used + run.at[i].used;
        requests_tell(parser->argv + run.at[i].first, run.at[i].argc, told);
    }
    if (run.count > r->run || (got == RESP_REQUEST) != (run.count > 0)) {
        r->wrong = "too many requests, or none";
    }
    return got;
}

/* All requests in [p, p + size); *used moves behind them. False: it is over. */
static inline bool requests_run(struct requests *r, struct resp_parser *parser,
                                const uint8_t *p, size_t size, size_t *used,
                                size_t *least, struct kv_buf *told)
{
    struct kvsql_error err;
    size_t one = 0;

    while (*used < size) {
        switch (requests_next(r, parser, p + *used, size - *used, &one, told,
                              &err)) {
        case RESP_MORE: {
            const size_t missing = resp_parse_missing(parser, size - *used);

            if (missing == 0) {
                r->wrong = "nothing is missing";
            }
            *least = size + missing;
            return true;
        }
        case RESP_REQUEST:
            break;
        case RESP_NOTHING:
            kv_buf_text(told, "+|");
            break;
        case RESP_BROKEN:
            kv_buf_byte(told, '!');
            kv_buf_text(told, err.text);
            kv_buf_byte(told, '|');
            return false;
        case RESP_FOREIGN:
            kv_buf_text(told, "x|");
            return false;
        }
        if (one == 0 || one > size - *used) {
            r->wrong = "a request has no length, or is longer than its bytes";
            return false;
        }
        *used += one;
        if (*used < *least) {
            r->wrong = "less was missing than was said";
        }
        *least = 0;
    }
    return true;
}

static inline void requests_read(struct requests *r, const uint8_t *p,
                                 size_t size, struct kv_buf *told)
{
    struct resp_parser parser;
    size_t used = 0, at = 0, least = 0;
    bool on = true;

    resp_parser_init(&parser);
    for (size_t i = 0; at < size && on && r->wrong == NULL; i++) {
        size_t piece = r->size_count == 0 ? size
                                          : r->sizes[i % r->size_count];
        const size_t start = used;
        uint8_t *block;

        piece = piece == 0 ? 256 : piece;
        at = piece < size - at ? at + piece : size;
        block = malloc(at - start);
        memcpy(block, p + start, at - start);
        if (r->anew) {
            resp_parser_reset(&parser);
        }
        used = 0;
        least = least > start ? least - start : 0;
        on = requests_run(r, &parser, block, at - start, &used, &least, told);
        used += start;
        least += least > 0 ? start : 0;
        free(block);
    }
    if (on) {
        kv_buf_printf(told, "<%zu>", size - used);
    }
    resp_parser_fini(&parser);
}

#endif
