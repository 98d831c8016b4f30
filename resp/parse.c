/* parse.c - requests of the Redis protocol out of a stream of bytes.
 *
 *   left < 0     the first line: `*N`, or an inline request
 *   bulk < 0     a line `$N`
 *   else         N bytes, then CR LF
 *
 * Always true:
 *   RQ1  memory grows with bytes received, not with numbers announced: argv
 *        doubles as arguments arrive.
 *   RQ2  `at` never passes the bytes given, and never goes back.
 *
 * Thread: the owner's. */
#include "resp/parse.h"

#include <string.h>

#include "command/command.h"
#include "kvsql/base/num.h"

#define PARSE_ARGS_FIRST 16
#define PARSE_ARGS_KEEP 256
#define PARSE_HEADER_MAX 32 /* bytes of a line `*N` or `$N` */

void resp_parser_init(struct resp_parser *parser)
{
    *parser = (struct resp_parser){.left = -1, .bulk = -1};
    kv_buf_init(&parser->line, KV_MEM_CLIENT, (size_t)1 << 20);
}

void resp_parser_fini(struct resp_parser *parser)
{
    kv_mem_free(KV_MEM_CLIENT, parser->argv,
                parser->cap * sizeof(*parser->argv));
    kv_buf_fini(&parser->line);
    *parser = (struct resp_parser){.left = -1, .bulk = -1};
}

static void parse_again(struct resp_parser *parser)
{
    parser->at = 0;
    parser->left = parser->bulk = -1;
    parser->argc = 0;
}

void resp_parser_reset(struct resp_parser *parser)
{
    parse_again(parser);
    kv_buf_reset(&parser->line, 0);
    if (parser->cap > PARSE_ARGS_KEEP) {
        kv_mem_free(KV_MEM_CLIENT, parser->argv,
                    parser->cap * sizeof(*parser->argv));
        parser->argv = NULL;
        parser->cap = 0;
    }
}

/* ---- what is wrong ------------------------------------------------------ */

static enum resp_parsed parse_broken(struct kvsql_error *err, const char *what)
{
    (void)kv_fail(err, KVSQL_SYNTAX, "ERR Protocol error: %s", what);
    return RESP_BROKEN;
}

static enum resp_parsed parse_no_memory(struct kvsql_error *err)
{
    (void)kv_fail(err, KVSQL_NOMEM, "OOM no memory for the request");
    return RESP_BROKEN;
}

/* ---- lines -------------------------------------------------------------- */

/* The end of the line that begins at p: its LF, or NULL. */
static const uint8_t *parse_line_end(const uint8_t *p, size_t size, size_t max)
{
    return size == 0 ? NULL : memchr(p, '\n', size < max ? size : max);
}

/* The number of a line `*N` or `$N`, CR LF behind it. RESP_REQUEST: there it
 * is, and *used counts the line. */
static enum resp_parsed parse_header(const uint8_t *p, size_t size,
                                     int64_t *number, size_t *used,
                                     const char *what, struct kvsql_error *err)
{
    const uint8_t *end = parse_line_end(p, size, PARSE_HEADER_MAX);

    if (KV_LIKELY(end != NULL)) {
        if (end - p < 3 || end[-1] != '\r' ||
            !kv_num_int(p + 1, (size_t)(end - p) - 2, number)) {
            return parse_broken(err, what);
        }
        *used = (size_t)(end - p) + 1;
        return RESP_REQUEST;
    }
    return size < PARSE_HEADER_MAX ? RESP_MORE : parse_broken(err, what);
}

/* ---- inline requests ---------------------------------------------------- */

static bool parse_begins(const uint8_t *p, size_t size, const char *word)
{
    const size_t n = strlen(word);

    return size >= n && memcmp(p, word, n) == 0;
}

/* What browsers and TLS clients send first (X13). The end of a line tells only
 * when the line is whole. */
static bool parse_is_foreign(const uint8_t *p, size_t size, bool whole)
{
    static const char http[] = " HTTP/1.";

    if (parse_begins(p, size, "POST ") || parse_begins(p, size, "Host:") ||
        parse_begins(p, size, "\x16\x03")) {
        return true;
    }
    while (size > 0 && (p[size - 1] == '\r' || p[size - 1] == '\n')) {
        size--;
    }
    return whole && size >= sizeof(http) &&
           memcmp(p + size - sizeof(http), http, sizeof(http) - 1) == 0;
}

static bool parse_args_room(struct resp_parser *parser, unsigned wanted)
{
    unsigned cap = parser->cap > 0 ? parser->cap : PARSE_ARGS_FIRST;
    kvsql_slice *grown;

    if (KV_LIKELY(wanted <= parser->cap)) {
        return true;
    }
    while (cap < wanted) {
        cap *= 2;
    }
    grown = kv_mem_realloc(KV_MEM_CLIENT, parser->argv,
                           parser->cap * sizeof(*grown),
                           cap * sizeof(*grown));
    if (grown == NULL) {
        return false;
    }
    parser->argv = grown;
    parser->cap = cap;
    return true;
}

static enum resp_parsed parse_inline(struct resp_parser *parser,
                                     const struct resp_limits *limits,
                                     const uint8_t *p, size_t size,
                                     size_t *used, struct kvsql_error *err)
{
    const uint8_t *end = parse_line_end(p, size, limits->inline_max);
    size_t line;

    if (parse_is_foreign(p, end != NULL ? (size_t)(end - p) : size,
                         end != NULL)) {
        return RESP_FOREIGN;
    }
    if (end == NULL) {
        return size < limits->inline_max
                   ? RESP_MORE
                   : parse_broken(err, "too big inline request");
    }
    *used = (size_t)(end - p) + 1;
    line = (size_t)(end - p);
    line -= line > 0 && p[line - 1] == '\r';
    if (memchr(p, '\0', line) != NULL) {
        return parse_broken(err, "NUL in an inline request");
    }
    if (!parse_args_room(parser, CMD_LINE_ARGS_MAX)) {
        return parse_no_memory(err);
    }
    const kvsql_rc rc = cmd_split((const char *)p, line, &parser->line,
                                  parser->argv, &parser->argc, err);
    if (rc == KVSQL_NOMEM) {
        return parse_no_memory(err);
    }
    if (rc != KVSQL_OK) {
        return parse_broken(err, rc == KVSQL_SYNTAX
                                     ? "unbalanced quotes in request"
                                     : "too big inline request");
    }
    return parser->argc > 0 ? RESP_REQUEST : RESP_NOTHING;
}

/* ---- arrays ------------------------------------------------------------- */

/* The header of an argument, in every form that it may come. */
static enum resp_parsed parse_bulk_head(struct resp_parser *parser,
                                        const struct resp_limits *limits,
                                        const uint8_t *p, size_t size,
                                        struct kvsql_error *err)
{
    size_t used;
    enum resp_parsed got;

    if (size > 0 && p[0] != '$') {
        char what[32] = "expected '$', got '?'";

        what[19] = p[0] >= 0x20 && p[0] < 0x7f ? (char)p[0] : '?';
        return parse_broken(err, what);
    }
    got = parse_header(p, size, &parser->bulk, &used, "invalid bulk length",
                       err);
    if (got != RESP_REQUEST) {
        parser->bulk = -1;
        return got;
    }
    if (parser->bulk < 0 || (uint64_t)parser->bulk > limits->bulk_max) {
        parser->bulk = -1;
        return parse_broken(err, limits->anonymous
                                     ? "unauthenticated bulk length"
                                     : "invalid bulk length");
    }
    parser->at += used;
    return RESP_REQUEST;
}

#define PARSE_QUICK_SIZE 10 /* bytes that parse_quick may look at */

/* The length of a header `$N` CR LF of up to six digits, and N; 0: look at it
 * with more care. PARSE_QUICK_SIZE bytes are there. */
static inline size_t parse_quick(const uint8_t *p, int64_t *number)
{
    unsigned n = (unsigned)p[1] - '0', digit;
    size_t i = 2;

    if (KV_UNLIKELY(n > 9)) {
        return 0;
    }
    while ((digit = (unsigned)p[i] - '0') <= 9) {
        n = n * 10 + digit;
        if (++i == 8) {
            return 0;
        }
    }
    if (KV_UNLIKELY(p[i] != '\r' || p[i + 1] != '\n' ||
                    (p[1] == '0' && i > 2))) {
        return 0;
    }
    *number = n;
    return i + 2;
}

static enum resp_parsed parse_array_head(struct resp_parser *parser,
                                         const struct resp_limits *limits,
                                         const uint8_t *p, size_t size,
                                         size_t *used, struct kvsql_error *err)
{
    size_t quick = 0;

    if (KV_LIKELY(size >= PARSE_QUICK_SIZE)) {
        quick = parse_quick(p, &parser->left);
    }
    if (KV_LIKELY(quick > 0)) {
        *used = quick;
    } else {
        const enum resp_parsed got =
            parse_header(p, size, &parser->left, used,
                         "invalid multibulk length", err);

        if (got != RESP_REQUEST) {
            parser->left = -1;
            return got;
        }
    }
    if (parser->left < 0 || (uint64_t)parser->left > limits->args_max) {
        return parse_broken(err, limits->anonymous
                                     ? "unauthenticated multibulk length"
                                     : "invalid multibulk length");
    }
    parser->at = *used;
    return parser->left == 0 ? RESP_NOTHING : RESP_MORE;
}

/* parser->bulk becomes the size of the argument at parser->at. */
static inline enum resp_parsed parse_size(struct resp_parser *parser,
                                          const struct resp_limits *limits,
                                          const uint8_t *p, size_t size,
                                          struct kvsql_error *err)
{
    const uint8_t *head = p + parser->at;
    const size_t left = size - parser->at;
    size_t used = 0;
    int64_t bulk = 0;

    if (KV_LIKELY(left >= PARSE_QUICK_SIZE && head[0] == '$')) {
        used = parse_quick(head, &bulk);
    }
    if (KV_LIKELY(used > 0 && (uint64_t)bulk <= limits->bulk_max)) {
        parser->bulk = bulk;
        parser->at += used;
        return RESP_REQUEST;
    }
    return parse_bulk_head(parser, limits, head, left, err);
}

/* The rest of an array: for each argument its size, its bytes, CR LF. */
static enum resp_parsed parse_array(struct resp_parser *parser,
                                    const struct resp_limits *limits,
                                    const uint8_t *p, size_t size,
                                    size_t *used, struct kvsql_error *err)
{
    while (parser->left > 0) {
        enum resp_parsed got = RESP_REQUEST;

        if (parser->bulk < 0) {
            got = parse_size(parser, limits, p, size, err);
            if (KV_UNLIKELY(got != RESP_REQUEST)) {
                return got;
            }
        }
        const size_t bulk = (size_t)parser->bulk;
        const uint8_t *data = p + parser->at;

        if (KV_UNLIKELY(size - parser->at < bulk + 2)) {
            return RESP_MORE;
        }
        if (KV_UNLIKELY(data[bulk] != '\r' || data[bulk + 1] != '\n')) {
            return parse_broken(err, "no CR LF behind an argument");
        }
        const unsigned place = parser->first + parser->argc;

        if (KV_UNLIKELY(place == parser->cap) &&
            !parse_args_room(parser, place + 1)) {
            return parse_no_memory(err);
        }
        parser->argv[place] = (kvsql_slice){
            .p = (const void *)(uintptr_t)parser->at, .size = bulk};
        parser->argc++;
        parser->at += bulk + 2;
        parser->left--;
        parser->bulk = -1;
    }
    for (unsigned i = 0; i < parser->argc; i++) {
        kvsql_slice *arg = &parser->argv[parser->first + i];

        arg->p = p + (uintptr_t)arg->p;
    }
    *used = parser->at;
    return RESP_REQUEST;
}

static enum resp_parsed parse_one(struct resp_parser *parser,
                                  const struct resp_limits *limits,
                                  const uint8_t *p, size_t size, size_t *used,
                                  struct kvsql_error *err)
{
    enum resp_parsed got = RESP_MORE;

    KV_ASSERT(parser->at <= size); /* RQ2 */
    if (size == 0) {
        return RESP_MORE;
    }
    if (parser->left < 0) {
        parser->argc = 0;
        got = p[0] == '*'
                  ? parse_array_head(parser, limits, p, size, used, err)
                  : parse_inline(parser, limits, p, size, used, err);
    }
    if (got == RESP_MORE && parser->left > 0) {
        got = parse_array(parser, limits, p, size, used, err);
    }
    if (got == RESP_REQUEST || got == RESP_NOTHING) {
        parser->at = 0;
        parser->left = parser->bulk = -1;
    }
    return got;
}

enum resp_parsed resp_parse(struct resp_parser *parser,
                            const struct resp_limits *limits, const uint8_t *p,
                            size_t size, size_t *used,
                            struct kvsql_error *err)
{
    parser->first = 0;
    return parse_one(parser, limits, p, size, used, err);
}

/* ---- runs of requests --------------------------------------------------- */

static inline uint64_t parse_word(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* The bytes of two headers are the same; 8 can be read at each. */
static inline bool parse_alike(const uint8_t *a, const uint8_t *b, size_t size)
{
    const uint64_t differ = parse_word(a) ^ parse_word(b);

    if (size < 8) {
        return differ << (64 - 8 * size) == 0; /* little endian */
    }
    if (size > 16) {
        return memcmp(a, b, size) == 0;
    }
    return (differ | (parse_word(a + size - 8) ^ parse_word(b + size - 8))) ==
           0;
}

/* Requests of a pipeline are mostly built like the one before: the same name,
 * arguments of the same sizes. Then every header is at its place and has the
 * same bytes as there, and nothing has to be read as a number. `last` began
 * `back` bytes before p. False: not alike, nothing done. */
static bool parse_again_alike(struct resp_parser *parser,
                              const uint8_t *p, size_t size, size_t back,
                              unsigned first, unsigned argc)
{
    const uint8_t *last = p - back;
    kvsql_slice *argv = parser->argv + first;
    size_t at = 0;

    if (size < back + PARSE_QUICK_SIZE || first + 2 * argc > parser->cap) {
        return false;
    }
    for (unsigned i = 0; i < argc; i++) {
        const size_t begin = (size_t)((const uint8_t *)argv[i].p - last);
        const uint8_t *end = p + begin + argv[i].size;

        if (!parse_alike(last + at, p + at, begin - at) ||
            memcmp(end, "\r\n", 2) != 0) {
            return false;
        }
        argv[argc + i] =
            (kvsql_slice){.p = p + begin, .size = argv[i].size};
        at = begin + argv[i].size + 2;
    }
    return at == back;
}

enum resp_parsed resp_parse_run(struct resp_parser *parser,
                                const struct resp_limits *limits,
                                const uint8_t *p, size_t size, unsigned max,
                                struct resp_run *run, struct kvsql_error *err)
{
    size_t used = 0, at = 0;
    enum resp_parsed got = resp_parse(parser, limits, p, size, &used, err);
    const bool array = size > 0 && p[0] == '*';

    run->count = 0;
    while (got == RESP_REQUEST) {
        const unsigned first = parser->first, argc = parser->argc;

        run->at[run->count].first = first;
        run->at[run->count].argc = argc;
        run->at[run->count++].used = used;
        at += used;
        if (!array || at == size || p[at] != '*' || at > RESP_RUN_SIZE ||
            run->count == max ||
            first + 2 * argc > RESP_RUN_ARGS) {
            break;
        }
        parser->first = first + argc;
        if (parse_again_alike(parser, p + at, size - at, used, first, argc)) {
            continue;
        }
        got = parse_one(parser, limits, p + at, size - at, &used, err);
    }
    if (run->count == 0) {
        run->at[0].used = used;
        return got;
    }
    parser->first = 0;
    parse_again(parser); /* it is looked at anew */
    return RESP_REQUEST;
}

size_t resp_parse_missing(const struct resp_parser *parser, size_t size)
{
    if (parser->left > 0 && parser->bulk >= 0) {
        const size_t end = parser->at + (size_t)parser->bulk + 2;

        return end > size ? end - size : 1;
    }
    return 1;
}
