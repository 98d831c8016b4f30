/* test_resp_parse.c - requests of the Redis protocol: every error, and every
 * place where a stream can be cut. */
#include "resp/parse.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/rand.h"
#include "tests/lib/requests.h"
#include "tests/lib/unit.h"

#define INLINE_MAX 64

static const struct resp_limits open_limits = {
    .args_max = 1 << 20, .bulk_max = 1 << 20, .inline_max = INLINE_MAX};
static const struct resp_limits closed_limits = {.args_max = 4,
                                                 .bulk_max = 8,
                                                 .inline_max = INLINE_MAX,
                                                 .anonymous = true};

#define BROKEN(what) "!ERR Protocol error: " what "|"

struct parse_case {
    const char *stream;
    size_t size;
    const char *told;
};
#define CASE(stream, told) {stream, sizeof(stream) - 1, told}

static const struct parse_case open_cases[] = {
    /* whole requests */
    CASE("*1\r\n$4\r\nPING\r\n", "[PING]|<0>"),
    CASE("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "[GET][]|<0>"),
    CASE("*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n*1\r\n$1\r\nx\r\n",
         "[GET][a\r\nb]|[x]|<0>"),
    CASE("PING\r\n", "[PING]|<0>"),
    CASE("PING\nGET  a \r\n", "[PING]|[GET][a]|<0>"),
    CASE("set \"a b\" 'c d' \"\\x41\\n\"\r\n", "[set][a b][c d][A\n]|<0>"),
    CASE("\r\n\n  \r\n*0\r\n*1\r\n$1\r\nx\r\n\r\n", "+|+|+|+|[x]|+|<0>"),
    CASE("*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
         "[PING]|[PING]|[PING]|<0>"),
    /* more is to come */
    CASE("", "<0>"),
    CASE("PIN", "<3>"),
    CASE("*", "<1>"),
    CASE("*1\r", "<3>"),
    CASE("*2\r\n$3\r\nGET\r\n$5\r\nab", "<19>"),
    CASE("*1\r\n$4\r\nPING\r", "<13>"),
    CASE("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\nab", "<32>"),
    CASE("x\r\nGET / HTT", "[x]|<9>"),
    /* the first line */
    CASE("*-1\r\n", BROKEN("invalid multibulk length")),
    CASE("*-2147483649\r\n", BROKEN("invalid multibulk length")),
    CASE("*\r\n", BROKEN("invalid multibulk length")),
    CASE("*x\r\n", BROKEN("invalid multibulk length")),
    CASE("*+1\r\n", BROKEN("invalid multibulk length")),
    CASE("* 1\r\n", BROKEN("invalid multibulk length")),
    CASE("*1 \r\n", BROKEN("invalid multibulk length")),
    CASE("*01\r\n", BROKEN("invalid multibulk length")),
    CASE("*1\n$4\r\nPING\r\n", BROKEN("invalid multibulk length")),
    CASE("*1048577\r\n", BROKEN("invalid multibulk length")),
    CASE("*9223372036854775807\r\n", BROKEN("invalid multibulk length")),
    CASE("*9223372036854775808\r\n", BROKEN("invalid multibulk length")),
    CASE("*00000000000000000000000000000001\r\n",
         BROKEN("invalid multibulk length")),
    CASE("*11111111111111111111111111111111",
         BROKEN("invalid multibulk length")),
    CASE("PING\r\n*x\r\nPING\r\n",
         "[PING]|" BROKEN("invalid multibulk length")),
    /* an argument's line */
    CASE("*1\r\n$-1\r\n", BROKEN("invalid bulk length")),
    CASE("*1\r\n$\r\n", BROKEN("invalid bulk length")),
    CASE("*1\r\n$4x\r\n", BROKEN("invalid bulk length")),
    CASE("*1\r\n$4\nPING\r\n", BROKEN("invalid bulk length")),
    CASE("*1\r\n$1048577\r\n", BROKEN("invalid bulk length")),
    CASE("*1\r\n$9223372036854775807\r\n", BROKEN("invalid bulk length")),
    CASE("*1\r\n$18446744073709551617\r\n", BROKEN("invalid bulk length")),
    CASE("*1\r\n$11111111111111111111111111111111",
         BROKEN("invalid bulk length")),
    CASE("*2\r\n$1\r\na\r\n$-1\r\n", BROKEN("invalid bulk length")),
    CASE("*1\r\nPING\r\n", BROKEN("expected '$', got 'P'")),
    CASE("*1\r\n*1\r\n", BROKEN("expected '$', got '*'")),
    CASE("*1\r\n\r\n", BROKEN("expected '$', got '?'")),
    CASE("*2\r\n$1\r\na\r\n:1\r\n", BROKEN("expected '$', got ':'")),
    /* the end of an argument */
    CASE("*1\r\n$4\r\nPINGxx", BROKEN("no CR LF behind an argument")),
    CASE("*1\r\n$4\r\nPING\rx", BROKEN("no CR LF behind an argument")),
    CASE("*1\r\n$3\r\nPING\r\n", BROKEN("no CR LF behind an argument")),
    /* lines */
    CASE("GET 'a\r\n", BROKEN("unbalanced quotes in request")),
    CASE("GET \"a\r\n", BROKEN("unbalanced quotes in request")),
    CASE("GET \"a\"b\r\n", BROKEN("unbalanced quotes in request")),
    CASE("GET 'a'b\r\n", BROKEN("unbalanced quotes in request")),
    CASE("GET a\0b\r\n", BROKEN("NUL in an inline request")),
    CASE("0123456789012345678901234567890123456789012345678901234567890123",
         BROKEN("too big inline request")),
    CASE("012345678901234567890123456789012345678901234567890123456789012\n",
         "[012345678901234567890123456789012345678901234567890123456789012]|"
         "<0>"),
    CASE("0123456789012345678901234567890123456789012345678901234567890123\n",
         BROKEN("too big inline request")),
    /* not for us */
    CASE("POST / HTTP/1.1\r\n", "x|"),
    CASE("GET / HTTP/1.1\r\n", "x|"),
    CASE("GET / HTTP/1.0\n", "x|"),
    CASE("Host: a\r\n", "x|"),
    CASE("\x16\x03\x01\x02", "x|"),
    CASE("PING\r\nPOST ", "[PING]|x|"),
    CASE("GET \" HTTP/1.1 \"\r\n", "[GET][ HTTP/1.1 ]|<0>"),
    CASE("GET / HTTP/1.1 a\r\n", "[GET][/][HTTP/1.1][a]|<0>"),
    CASE("POSTER\r\n", "[POSTER]|<0>"),
};

static const struct parse_case closed_cases[] = {
    CASE("*2\r\n$4\r\nAUTH\r\n$8\r\npassword\r\n", "[AUTH][password]|<0>"),
    CASE("*5\r\n", BROKEN("unauthenticated multibulk length")),
    CASE("*-1\r\n", BROKEN("unauthenticated multibulk length")),
    CASE("*2\r\n$4\r\nAUTH\r\n$9\r\n", BROKEN("unauthenticated bulk length")),
    CASE("*x\r\n", BROKEN("invalid multibulk length")),
};

static void check_case(const struct parse_case *c,
                       const struct resp_limits *limits, const uint8_t *sizes,
                       size_t size_count)
{
    static const unsigned runs[] = {0, 2, RESP_RUN_MAX};

    for (unsigned mode = 0; mode < 6; mode++) {
        struct requests r = {.limits = limits, .sizes = sizes,
                             .size_count = size_count, .anew = mode % 2 != 0,
                             .run = runs[mode / 2]};
        struct kv_buf told;

        kv_buf_init(&told, KV_MEM_MISC, 1 << 20);
        requests_read(&r, (const uint8_t *)c->stream, c->size, &told);
        kv_buf_byte(&told, 0);
        ck_assert_msg(r.wrong == NULL, "%s: %s", c->stream, r.wrong);
        ck_assert_msg(strcmp((char *)told.p, c->told) == 0,
                      "\"%s\" in pieces of %u is %s, not %s", c->stream,
                      size_count > 0 ? sizes[0] : 0, (char *)told.p, c->told);
        kv_buf_fini(&told);
    }
}

static void check_cuts(const struct parse_case *c,
                       const struct resp_limits *limits)
{
    check_case(c, limits, NULL, 0);
    for (size_t i = 1; i < c->size && i < 256; i++) {
        const uint8_t two[] = {(uint8_t)i, 0}; /* a cut there, or every i */

        check_case(c, limits, two, 2);
        check_case(c, limits, two, 1);
    }
}

START_TEST(each_stream_gives_its_requests_however_it_is_cut)
{
    for (size_t i = 0; i < sizeof(open_cases) / sizeof(open_cases[0]); i++) {
        check_cuts(&open_cases[i], &open_limits);
    }
    for (size_t i = 0; i < sizeof(closed_cases) / sizeof(closed_cases[0]);
         i++) {
        check_cuts(&closed_cases[i], &closed_limits);
    }
}
END_TEST

/* Requests that are built alike, mostly; every second stream has a byte that is
 * another one. */
static size_t random_stream(struct rand_state *rand, uint8_t *p, size_t max)
{
    static const char *const args[] = {"", "k", "key", "GET", "SET",
                                       "0123456789abcdef", "a\r\nb"};
    size_t size = 0;
    unsigned argc = 0, kind[3] = {0};

    for (unsigned n = 1 + (unsigned)rand_below(rand, 12); n > 0; n--) {
        if (argc == 0 || rand_below(rand, 4) == 0) {
            argc = 1 + (unsigned)rand_below(rand, 3);
            for (unsigned i = 0; i < argc; i++) {
                kind[i] = (unsigned)rand_below(rand, 7);
            }
        }
        size += (size_t)snprintf((char *)p + size, max - size, "*%u\r\n", argc);
        for (unsigned i = 0; i < argc; i++) {
            size += (size_t)snprintf((char *)p + size, max - size,
                                     "$%zu\r\n%s\r\n", strlen(args[kind[i]]),
                                     args[kind[i]]);
        }
    }
    if (rand_below(rand, 2) == 0) {
        p[rand_below(rand, size)] = "\r\n*$0123"[rand_below(rand, 8)];
    }
    return size;
}

START_TEST(a_run_of_requests_is_what_each_of_them_is)
{
    struct rand_state rand = rand_of(rand_seed("resp_parse", 7));
    uint8_t stream[1024];

    for (int i = 0; i < 20000; i++) {
        const size_t size = random_stream(&rand, stream, sizeof(stream));
        const uint8_t piece = (uint8_t)rand_below(&rand, 256);
        struct requests one = {.limits = &open_limits},
                        run = {.limits = &open_limits, .sizes = &piece,
                               .size_count = rand_below(&rand, 2),
                               .run = 1 + (unsigned)rand_below(&rand, 32)};
        struct kv_buf told_one, told_run;

        kv_buf_init(&told_one, KV_MEM_MISC, 1 << 20);
        kv_buf_init(&told_run, KV_MEM_MISC, 1 << 20);
        requests_read(&one, stream, size, &told_one);
        requests_read(&run, stream, size, &told_run);
        ck_assert_ptr_null(one.wrong);
        ck_assert_ptr_null(run.wrong);
        ck_assert_msg(told_one.size == told_run.size &&
                          memcmp(told_one.p, told_run.p, told_one.size) == 0,
                      "\"%.*s\" is %.*s in a run, not %.*s", (int)size,
                      (char *)stream, (int)told_run.size, (char *)told_run.p,
                      (int)told_one.size, (char *)told_one.p);
        kv_buf_fini(&told_one);
        kv_buf_fini(&told_run);
    }
}
END_TEST

/* RQ1 */
START_TEST(memory_grows_with_bytes_and_not_with_numbers)
{
    static const char head[] = "*1048576\r\n$1048576\r\n";
    const uint64_t before = kv_mem_bytes(KV_MEM_CLIENT);
    struct resp_parser parser;
    struct kvsql_error err;
    size_t used;

    resp_parser_init(&parser);
    ck_assert_int_eq(resp_parse(&parser, &open_limits, (const uint8_t *)head,
                                sizeof(head) - 1, &used, &err),
                     RESP_MORE);
    ck_assert_uint_lt(kv_mem_bytes(KV_MEM_CLIENT) - before, 1024);
    ck_assert_uint_eq(resp_parse_missing(&parser, sizeof(head) - 1),
                      1048576 + 2);
    resp_parser_fini(&parser);
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_CLIENT), before);
}
END_TEST

START_TEST(many_arguments_are_read_and_forgotten)
{
    struct resp_parser parser;
    struct kvsql_error err;
    struct kv_buf in;
    size_t used;

    kv_buf_init(&in, KV_MEM_MISC, 16 << 20);
    kv_buf_text(&in, "*1048576\r\n");
    for (int i = 0; i < 1048576; i++) {
        kv_buf_text(&in, "$1\r\nx\r\n");
    }
    resp_parser_init(&parser);
    const uint64_t before = kv_mem_bytes(KV_MEM_CLIENT);
    ck_assert_int_eq(resp_parse(&parser, &open_limits, in.p, in.size, &used,
                                &err),
                     RESP_REQUEST);
    ck_assert_uint_eq(parser.argc, 1048576);
    ck_assert_uint_eq(used, in.size);
    ck_assert_ptr_eq(parser.argv[1048575].p, in.p + in.size - 3);
    resp_parser_reset(&parser);
    ck_assert_uint_le(kv_mem_bytes(KV_MEM_CLIENT), before + 4096);
    resp_parser_fini(&parser);
    kv_buf_fini(&in);
}
END_TEST

/* With the n-th allocation failing, for every n: an answer that says so. */
START_TEST(without_memory_a_request_is_refused)
{
    static const struct parse_case cases[] = {
        CASE("set \"a b\" 'c d' e\r\n", "[set][a b][c d][e]|<0>"),
        CASE("*20\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n"
             "$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n"
             "$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n"
             "$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n",
             "[a][a][a][a][a][a][a][a][a][a][a][a][a][a][a][a][a][a][a][a]|"
             "<0>"),
    };

    for (size_t i = 0; i < 2; i++) {
        unsigned n = 0;
        bool failed = true;

        while (failed) {
            struct resp_parser parser;
            struct kvsql_error err;
            enum resp_parsed got;
            size_t used;

            resp_parser_init(&parser);
            kv_mem_fail_at(++n, 0);
            got = resp_parse(&parser, &open_limits,
                             (const uint8_t *)cases[i].stream, cases[i].size,
                             &used, &err);
            failed = kv_mem_failed() != 0;
            kv_mem_fail_at(0, 0);
            ck_assert_int_eq(got, failed ? RESP_BROKEN : RESP_REQUEST);
            if (failed) {
                ck_assert_str_eq(err.text, "OOM no memory for the request");
            }
            resp_parser_fini(&parser);
        }
        ck_assert_uint_gt(n, 1);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, each_stream_gives_its_requests_however_it_is_cut);
    tcase_add_test(tests, a_run_of_requests_is_what_each_of_them_is);
    tcase_add_test(tests, memory_grows_with_bytes_and_not_with_numbers);
    tcase_add_test(tests, many_arguments_are_read_and_forgotten);
    tcase_add_test(tests, without_memory_a_request_is_refused);
}

int main(void)
{
    return unit_run("resp_parse", add);
}
