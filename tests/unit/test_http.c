/* test_http.c - the HTTP door over raw sockets: framing, waiting, stopping.
 *
 * Each test opens a store in memory, starts the door on a free port and speaks
 * bytes of its own making, because a well-behaved client cannot ask what a
 * hostile one does. Nothing sleeps to wait for an answer: reads end at the
 * peer's close or at a socket timeout, which is a failure. */
#include "tests/lib/http_fx.h"

#include <signal.h>
#include <sys/resource.h>

#include "command/stats.h"

#define SLOW_SQL                                                              \
    "GET /v1/sql?q=WITH+RECURSIVE+c(x)+AS+(SELECT+1+UNION+ALL+SELECT+x%2B1+" \
    "FROM+c)+SELECT+count(*)+FROM+c HTTP/1.1\r\n" HOST "\r\n"

/* ---- framing -------------------------------------------------------------------- */

#define GET "GET /get/k HTTP/1.1\r\n"
#define BODY "[\"GET\",\"k\"]"
#define SECOND "GET /set/smuggled/1 HTTP/1.1\r\n" HOST                        \
               "Authorization: Bearer x\r\n\r\n"

START_TEST(framing_that_two_readers_could_read_differently_is_refused)
{
    static const struct {
        const char *name, *p;
        size_t size;
        int status;
    } rows[] = {
        {"plain", SLICE(GET HOST "Connection: close\r\n\r\n"), 200},
        {"empty value", SLICE(GET HOST "X-A:\r\nConnection: close\r\n\r\n"),
         200},
        {"padded value",
         SLICE(GET HOST "X-A: \t b \t\r\nConnection: close\r\n\r\n"), 200},
        {"cookie",
         SLICE(GET HOST "Cookie: a=b; c=\"d\"\r\nConnection: close\r\n\r\n"),
         200},
        {"two lengths",
         SLICE(POST "Content-Length: 11\r\nContent-Length: 5\r\n\r\n" BODY),
         400},
        {"two equal lengths",
         SLICE(POST "Content-Length: 11\r\nContent-Length: 11\r\n\r\n" BODY),
         400},
        {"length and chunks",
         SLICE(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "0\r\n\r\n" SECOND),
         400},
        {"chunks and length",
         SLICE(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
                    "0\r\n\r\n" SECOND),
         400},
        {"two codings",
         SLICE(POST "Transfer-Encoding: chunked\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         400},
        {"other coding",
         SLICE(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 400},
        {"chunks in 1.0",
         SLICE("POST / HTTP/1.0\r\n" HOST JSON
               "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         400},
        {"signed length", SLICE(POST "Content-Length: +11\r\n\r\n" BODY), 400},
        {"two hosts", SLICE(GET HOST "Host: evil\r\n\r\n"), 400},
        {"two tokens",
         SLICE(GET HOST "Authorization: Bearer a\r\n"
                        "Authorization: Bearer b\r\n\r\n"),
         400},
        {"two origins",
         SLICE(GET HOST "Origin: http://localhost\r\nOrigin: null\r\n\r\n"),
         400},
        {"space before colon", SLICE(GET HOST "X-A : b\r\n\r\n"), 400},
        {"bare CR in value", SLICE(GET HOST "X-A: b\rc\r\n\r\n"), 400},
        {"control byte", SLICE(GET HOST "X-A: b\x01\r\n\r\n"), 400},
        {"delete byte", SLICE(GET HOST "X-A: b\x7f\r\n\r\n"), 400},
        {"NUL in value",
         SLICE(GET HOST "Authorization: Bearer T\0x\r\n\r\n"), 400},
        {"NUL in name", SLICE(GET HOST "X-\0A: b\r\n\r\n"), 400},
        {"bare LF", SLICE(GET HOST "X-A: b\nX-B: c\r\n\r\n"), 400},
        {"folded", SLICE(GET HOST "X-A: b\r\n c\r\nX-B: d\r\n\r\n"), 400},
        {"folded by tab", SLICE(GET HOST "X-A: b\r\n\tc\r\n\r\n"), 400},
        {"NUL in target",
         SLICE("GET /get/k\0y HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"absolute form",
         SLICE("GET http://localhost/get/k HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"star", SLICE("GET * HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"no slash", SLICE("GET get/k HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"bad percent", SLICE("GET /get/%zz HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"cut percent", SLICE("GET /get/%4 HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"bad percent in query",
         SLICE("GET /get/k?a=%q1 HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"unknown method", SLICE("FOO /get/k HTTP/1.1\r\n" HOST "\r\n"), 501},
        {"small method", SLICE("get /get/k HTTP/1.1\r\n" HOST "\r\n"), 501},
        {"no host in 1.1", SLICE("GET /get/k HTTP/1.1\r\n\r\n"), 400},
        {"no host in 1.0", SLICE("GET /get/k HTTP/1.0\r\n\r\n"), 421},
        {"other host", SLICE(GET "Host: evil.example\r\n\r\n"), 421},
        {"other port", SLICE(GET "Host: localhost:1\r\n\r\n"), 421},
        {"host with user", SLICE(GET "Host: a@localhost\r\n\r\n"), 421},
    };

    start((struct http_config){0});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *got = ask(rows[i].p, rows[i].size);
        ck_assert_msg(status_of(got) == rows[i].status ||
                          (rows[i].status == 400 && reply_size == 0),
                      "%s: %.200s", rows[i].name, got);
        /* What stood behind was not served as a request of its own. */
        ck_assert_msg(count_of(got, "HTTP/1.1 200") ==
                          (rows[i].status == 200),
                      "%s: %s", rows[i].name, got);
    }
    const char *got = ask(SLICE("GET /get/smuggled HTTP/1.1\r\n" HOST
                                "Connection: close\r\n\r\n"));
    ck_assert_ptr_nonnull(strstr(got, "{\"result\":null}"));
    stop();
}
END_TEST

START_TEST(a_refusal_by_the_guard_says_close)
{
    start((struct http_config){0});
    int fd = dial();
    say_text(fd, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n");
    const char *got = hear_all(fd); /* the server closes */
    ck_assert_int_eq(status_of(got), 400);
    ck_assert_ptr_nonnull(strcasestr(got, "connection: close"));
    /* in the words of the tier that was asked */
    ck_assert_ptr_nonnull(strstr(got, "\r\n\r\n{\"error\":\"ERR "));
    fd = dial();
    say_text(fd, "GET /v1/keys HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n");
    got = hear_all(fd);
    ck_assert_int_eq(status_of(got), 400);
    ck_assert_ptr_nonnull(strstr(got, "application/problem+json"));
    stop();
}
END_TEST

START_TEST(segments_are_data_however_they_look)
{
    static const struct {
        const char *set, *get;
    } rows[] = {
        {"/set/a%2Fb/1", "/get/a%2Fb"},
        {"/set/%00/1", "/get/%00"},
        {"/set/../1", "/get/.."},
        {"/set/v1/1", "/get/v1"},
        {"/set/a+b/1", "/get/a%2Bb"},
        {"/set//1", "/get/?x"},
    };

    start((struct http_config){0});
    for (size_t i = 0; i + 1 < sizeof rows / sizeof *rows; i++) {
        char text[256];
        int fd = dial();
        snprintf(text, sizeof text,
                 "POST %s HTTP/1.1\r\n" HOST JSON "\r\n", rows[i].set);
        say_text(fd, text);
        ck_assert_msg(status_of(hear_one(fd)) == 200, "%s: %s", rows[i].set,
                      reply);
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n",
                 rows[i].get);
        say_text(fd, text);
        ck_assert_msg(strstr(hear_one(fd), "{\"result\":\"1\"}") != NULL,
                      "%s: %s", rows[i].get, reply);
        close(fd);
    }
    stop();
}
END_TEST

START_TEST(bodies_over_the_limit_are_refused_known_or_not)
{
    char *big = malloc(4096);

    memset(big, ' ', 4096);
    start((struct http_config){.body_max = 1000});
    const char *got = ask(SLICE(POST "Content-Length: 2000\r\n\r\n"));
    ck_assert_int_eq(status_of(got), 413);
    got = ask(SLICE(POST "Expect: 100-continue\r\n"
                         "Content-Length: 2000\r\n\r\n"));
    ck_assert_int_eq(status_of(got), 413);
    int fd = dial();
    say_text(fd, POST "Transfer-Encoding: chunked\r\n\r\n1000\r\n");
    say(fd, big, 4096);
    say_text(fd, "\r\n0\r\n\r\n");
    ck_assert_uint_eq(strlen(hear_all(fd)), 0); /* cut, nothing to read */
    got = ask(SLICE(POST "Transfer-Encoding: chunked\r\n"
                         "Connection: close\r\n\r\n"
                         "5\r\n[\"GET\r\n6\r\n\",\"k\"]\r\n0\r\n\r\n"));
    ck_assert_ptr_nonnull(strstr(got, "{\"result\":null}"));
    free(big);
    stop();
}
END_TEST

/* ---- connections ------------------------------------------------------------------ */

START_TEST(a_connection_serves_many_requests_and_pipelined_ones_in_order)
{
    start((struct http_config){0});
    int fd = dial();
    for (int i = 1; i <= 20; i++) {
        char want[32];
        snprintf(want, sizeof want, "{\"result\":%d}", i);
        say_text(fd, POST "Content-Length: 12\r\n\r\n[\"INCR\",\"n\"]");
        ck_assert_ptr_nonnull(strstr(hear_one(fd), want));
    }
    say_text(fd, "GET /v1/nope HTTP/1.1\r\n" HOST "\r\n"); /* 404 stays open */
    ck_assert_int_eq(status_of(hear_one(fd)), 404);
    for (int i = 0; i < 5; i++)
        say_text(fd, POST "Content-Length: 12\r\n\r\n[\"INCR\",\"n\"]");
    for (int i = 21; i <= 25; i++) {
        char want[32];
        snprintf(want, sizeof want, "{\"result\":%d}", i);
        ck_assert_ptr_nonnull(strstr(hear_one(fd), want));
    }
    close(fd);
    stop();
}
END_TEST

START_TEST(each_request_of_a_connection_is_judged_by_itself)
{
    start((struct http_config){.token = "all-rights",
                               .token_readonly = "read-only",
                               .password = "secret"});
    int fd = dial();
    say_text(fd, GET HOST "Authorization: Bearer all-rights\r\n\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 200);
    say_text(fd, GET HOST "\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 401);
    ck_assert_ptr_nonnull(strstr(reply, "WWW-Authenticate: Bearer"));
    ck_assert_ptr_nonnull(strstr(
        reply, "{\"error\":\"WRONGPASS invalid or missing auth token\"}"));
    say_text(fd, "GET /get/k?_token=all-rights HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 200);
    say_text(fd, "GET /nothing/here HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 401);
    say_text(fd, "GET /v1/../livez HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 401);
    say_text(fd, "GET /livez HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 200);
    say_text(fd, GET HOST "Authorization: Bearer all-right\r\n\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 401);
    say_text(fd, GET HOST "Authorization: Basic "
                          "ZGVmYXVsdDpzZWNyZXQ=\r\n\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 200);
    say_text(fd, GET HOST "Authorization: Basic "
                          "ZGVmYXVsdDpzZWNyZVQ=\r\n\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 401);
    say_text(fd, GET HOST "Authorization: Bearer read-only\r\n\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 200);
    say_text(fd, "GET /keys/* HTTP/1.1\r\n" HOST
                 "Authorization: Bearer read-only\r\n\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 400);
    ck_assert_ptr_nonnull(strstr(reply, "NOPERM this user has no permissions "
                                        "to run the 'keys' command"));
    say_text(fd, "GET /slowlog/reset HTTP/1.1\r\n" HOST
                 "Authorization: Bearer read-only\r\n\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 400);
    ck_assert_ptr_nonnull(strstr(reply, "NOPERM this user has no permissions "
                                        "to run the 'slowlog' command"));
    say_text(fd, "GET /v1/keys HTTP/1.1\r\n" HOST
                 "Authorization: Bearer read-only\r\n\r\n");
    ck_assert_int_eq(status_of(hear_one(fd)), 403);
    close(fd);
    stop();
}
END_TEST

START_TEST(web_pages_of_strangers_are_refused)
{
    static const struct {
        const char *headers;
        int status;
    } rows[] = {
        {"", 200},
        {"Origin: http://localhost\r\n", 200},
        {"Origin: https://app.example\r\n", 200}, /* listed */
        {"Origin: https://evil.example\r\n", 403},
        {"Origin: https://localhost\r\n", 403},
        {"Origin: null\r\n", 403},
        {"Sec-Fetch-Site: cross-site\r\n", 403},
        {"Sec-Fetch-Site: same-origin\r\n", 200},
        {"Sec-Fetch-Mode: cors\r\n", 200},
        {"Origin: https://app.example\r\nSec-Fetch-Site: cross-site\r\n",
         200},
    };
    const char *origins[] = {"https://app.example", NULL};

    start((struct http_config){.cors_origins = origins});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];
        int n = snprintf(text, sizeof text,
                         GET HOST "%sConnection: close\r\n\r\n",
                         rows[i].headers);
        ck_assert_msg(status_of(ask(text, (size_t)n)) == rows[i].status,
                      "%s: %s", rows[i].headers, reply);
        bool listed = strstr(rows[i].headers, "app.example") != NULL;
        ck_assert(listed == (strstr(reply, "Access-Control-Allow-Origin: "
                                           "https://app.example") != NULL));
    }
    const char *got = ask(SLICE("OPTIONS / HTTP/1.1\r\n" HOST
                                "Origin: https://app.example\r\n"
                                "Access-Control-Request-Method: POST\r\n"
                                "Connection: close\r\n\r\n"));
    ck_assert_int_eq(status_of(got), 204);
    ck_assert_ptr_nonnull(strstr(got, "Access-Control-Allow-Methods: "
                                      "GET, HEAD, POST, PUT, OPTIONS"));
    ck_assert_ptr_nonnull(strstr(got, "Access-Control-Max-Age: 600"));
    stop();
}
END_TEST

/* ---- waiting ------------------------------------------------------------------------ */

static void answers_42(void)
{
    int fd = dial();

    say_text(fd, "GET /v1/sql?q=SELECT+42 HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_ptr_nonnull(strstr(hear_one(fd), "\"rows\":[[42]]"));
    close(fd);
}

START_TEST(a_statement_ends_when_its_client_leaves)
{
    start((struct http_config){.sql_threads = 1});
    int fd = dial();
    say_text(fd, SLOW_SQL);
    until("kvsql_sql_running", 1);
    close(fd);
    until("kvsql_http_lost_total", 1);
    until("kvsql_sql_interrupted_total", 1);
    /* The only worker is free again, and its session is a good one. */
    answers_42();
    stop();
}
END_TEST

START_TEST(a_statement_whose_client_left_before_its_turn_never_runs)
{
    start((struct http_config){.sql_threads = 1});
    int first = dial();
    say_text(first, SLOW_SQL);
    until("kvsql_sql_running", 1);
    int second = dial();
    say_text(second, SLOW_SQL);
    until("kvsql_http_requests_waiting", 2);
    close(second);
    until("kvsql_http_lost_total", 1);
    close(first);
    answers_42();
    ck_assert_uint_eq(metric("kvsql_sql_interrupted_total"), 1);
    stop();
}
END_TEST

/* The end of a client may reach us in one piece with its request, before, while
 * and after it is worked on: it is seen each time, at once or by the next tick,
 * and never only at a deadline, of which the server counts those that it met.
 * Deadlines are 10 s and more: a machine that stands still so long meets one. */
START_TEST(a_client_that_ends_with_its_request_is_seen)
{
    static const struct {
        const char *text;
        bool whole;
    } rows[] = {
        {GET HOST "\r\n", true},
        {GET HOST "\r\n" GET HOST "\r\n", true},
        {SLOW_SQL, false},
        {POST "Content-Length: 12\r\n\r\n[\"INCR\"", false},
        {"GET /get/k HT", false},
        {"", false},
    };
    uint64_t longest_ns = 0;

    start((struct http_config){.sql_threads = 1,
                               .sql_deadline_ms = PATIENCE_S * 1000});
    for (int round = 0; round < 5; round++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            const uint64_t begun = kv_os_mono_ns();
            int fd = dial();
            say_text(fd, rows[i].text);
            ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
            hear_all(fd);
            ck_assert_msg(heard_end, "%s: still open", rows[i].text);
            if (rows[i].whole)
                ck_assert_int_eq(status_of(reply), 200);
            const uint64_t took = kv_os_mono_ns() - begun;
            longest_ns = took > longest_ns ? took : longest_ns;
        }
    answers_42();
    if (metric("kvsql_http_reaped_total") > 0)
        ck_assert_uint_ge(longest_ns, UINT64_C(10000000000));
    stop();
}
END_TEST

START_TEST(a_statement_ends_at_its_deadline)
{
    int status;

    start((struct http_config){.sql_deadline_ms = 200});
    do { /* 503: a machine that stood still before a worker took it */
        int fd = dial();
        say_text(fd, SLOW_SQL);
        status = status_of(hear_one(fd));
        close(fd);
    } while (status == 503);
    ck_assert_int_eq(status, 504);
    ck_assert_ptr_nonnull(strstr(reply, "\"code\":\"INTERRUPT\""));
    stop();
}
END_TEST

START_TEST(what_waits_too_long_for_a_worker_is_told_to_come_again)
{
    int fd[4], ran, refused, status;

    start((struct http_config){.sql_deadline_ms = 200, .sql_threads = 1});
    do { /* on a machine that stands still all may run, or none */
        ran = refused = 0; /* which goes first is the threads' affair */
        for (int i = 0; i < 4; i++) {
            fd[i] = dial();
            say_text(fd[i], SLOW_SQL);
        }
        for (int i = 0; i < 4; i++) {
            status = status_of(hear_one(fd[i]));
            ran += status == 504;
            refused += status == 503 && strstr(reply, "\"code\":\"BUSY\"");
            close(fd[i]);
        }
        ck_assert_int_eq(ran + refused, 4);
    } while (ran == 0 || refused == 0);
    do {
        fd[0] = dial();
        say_text(fd[0], "GET /v1/sql?q=SELECT+1 HTTP/1.1\r\n" HOST "\r\n");
        status = status_of(hear_one(fd[0]));
        close(fd[0]);
        ck_assert(status == 200 || status == 503 || status == 504);
    } while (status != 200);
    stop();
}
END_TEST

START_TEST(stopping_with_fifty_waiting_ends_them_all)
{
    int fd[50];

    start((struct http_config){.sql_threads = 4,
                               .sql_deadline_ms = 24 * 3600 * 1000});
    for (int i = 0; i < 50; i++) {
        fd[i] = dial();
        say_text(fd[i], SLOW_SQL);
    }
    until("kvsql_http_requests_waiting", 50);
    for (int i = 0; i < 50; i += 2)
        close(fd[i]);
    stop(); /* aborts if one is still suspended, waits for none of the others */
    for (int i = 1; i < 50; i += 2)
        close(fd[i]);
}
END_TEST

START_TEST(writes_wait_for_the_disk_and_all_come_back)
{
    char dir[] = "/tmp/kvsql-http-XXXXXX", command[128];
    int fd[40];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    start_in(dir, KVSQL_FSYNC_ALWAYS);
    for (int i = 0; i < 40; i++)
        fd[i] = dial();
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 40; i++)
            say_text(fd[i], POST "Content-Length: 12\r\n\r\n[\"INCR\",\"n\"]");
        for (int i = 0; i < 40; i++)
            ck_assert_int_eq(status_of(hear_one(fd[i])), 200);
    }
    for (int i = 0; i < 40; i++)
        close(fd[i]);
    ck_assert_ptr_nonnull(strstr(ask(SLICE("GET /get/n HTTP/1.1\r\n" HOST
                                           "Connection: close\r\n\r\n")),
                                 "{\"result\":\"400\"}"));
    stop();
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* Files may not grow beyond this: EFBIG, which is a full disk to us (F). */
static void disk_size(rlim_t size)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* "METHOD TARGET", a JSON body or NULL: the status of the answer. */
static int status_for(const char *line, const char *body)
{
    static char text[65536];
    int n = snprintf(text, sizeof text,
                     "%s HTTP/1.1\r\n" HOST JSON "Content-Length: %zu\r\n"
                     "Connection: close\r\n\r\n%s",
                     line, body ? strlen(body) : 0, body ? body : "");

    ck_assert_int_lt(n, (int)sizeof text);
    return status_of(ask(text, (size_t)n));
}

START_TEST(a_full_disk_is_507_for_every_write_and_none_for_reads)
{
    static const struct {
        const char *line, *body;
    } writes[] = {
        {"POST /", "[\"SET\",\"k\",\"w\"]"},
        {"POST /set/k", "\"w\""},
        {"POST /multi-exec", "[[\"SET\",\"k\",\"w\"],[\"INCR\",\"n\"]]"},
        {"DELETE /v1/keys/k", NULL},
        {"POST /v1/sql", "{\"sql\":\"UPDATE strings SET value='w'\"}"},
        {"POST /v1/batch", "{\"ops\":[[\"SET\",\"k\",\"w\"]]}"},
        {"POST /v1/batch", "{\"ops\":[{\"sql\":\"DELETE FROM strings\"}]}"},
    };
    char dir[] = "/tmp/kvsql-http-XXXXXX", command[128];

    static char big[60000];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    start_in(dir, KVSQL_FSYNC_ALWAYS);
    ck_assert_int_eq(status_for("POST /", "[\"SET\",\"k\",\"v\"]"), 200);
    disk_size(100000);
    /* The write that meets the end is told so by its gate... */
    int status = 200;
    memset(big, 'x', sizeof big - 1);
    for (int i = 0; i < 3 && status == 200; i++)
        status = status_for("POST /append/big", big);
    ck_assert_int_eq(status, 507);
    ck_assert_ptr_nonnull(strstr(reply, "{\"error\":\"MISCONF "));
    /* ... those behind it by the store, and all in the same words. */
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        ck_assert_msg(status_for(writes[i].line, writes[i].body) == 507,
                      "%s: %s", writes[i].line, reply);
        ck_assert_msg(strstr(reply, i < 3 ? "{\"error\":\"MISCONF "
                                          : "\"code\":\"FULL\"") != NULL,
                      "%s: %s", writes[i].line, reply);
    }
    ck_assert_int_eq(status_for("POST /pipeline",
                                "[[\"SET\",\"k\",\"w\"],[\"GET\",\"k\"]]"),
                     200);
    ck_assert_ptr_nonnull(strstr(reply, "[{\"error\":\"MISCONF "));
    ck_assert_ptr_nonnull(strstr(reply, "{\"result\":\"v\"}]"));
    ck_assert_int_eq(status_for("GET /get/k", NULL), 200);
    ck_assert_int_eq(status_for("GET /v1/sql?q=SELECT+value+FROM+strings",
                                NULL),
                     200);
    ck_assert_ptr_nonnull(strstr(reply, "[\"v\"]"));
    ck_assert_int_eq(status_for("POST /", "[\"NOSUCH\"]"), 400);
    disk_size(RLIM_INFINITY);
    uint64_t before = kv_os_mono_ns();
    while (status_for("POST /", "[\"SET\",\"k\",\"w\"]") == 507)
        ck_assert_uint_lt((kv_os_mono_ns() - before) / 1000000000, PATIENCE_S);
    ck_assert_int_eq(status_of(reply), 200);
    stop();
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(a_batch_tells_nothing_that_is_not_durable_yet)
{
    static const struct {
        const char *prefer, *body, *wanted;
        int status;
    } batches[] = {
        {"", "{\"ops\":[[\"LPUSH\",\"k\",\"1\"]]}", "WRONGTYPE", 409},
        {"", "{\"ops\":[[\"GET\",\"k\"]]}", "\"v\"", 200},
        {"", "{\"if\":[{\"key\":\"k\",\"version\":0}],"
             "\"ops\":[[\"SET\",\"l\",\"1\"]]}", "\"current\":1", 412},
        {"Prefer: tx=rollback\r\n", "{\"ops\":[[\"GET\",\"k\"]]}", "\"v\"",
         200}};
    enum { COUNT = sizeof batches / sizeof *batches };
    char dir[] = "/tmp/kvsql-http-XXXXXX", command[128], text[512];
    struct kv_os os = *kv_os_real();
    int fd[COUNT + 1];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    os.data_sync = slow_sync;
    start_os(dir, KVSQL_FSYNC_ALWAYS, &os);
    atomic_store(&disk_asked, false);
    atomic_store(&disk_waits, true);
    fd[COUNT] = dial();
    say_text(fd[COUNT], POST "Content-Length: 15\r\n\r\n[\"SET\",\"k\",\"v\"]");
    while (!atomic_load(&disk_asked))
        kv_os_sleep_ms(1);
    for (int i = 0; i < COUNT; i++) {
        char early;
        (void)snprintf(text, sizeof text,
                       "POST /v1/batch HTTP/1.1\r\n" HOST JSON
                       "%sContent-Length: %zu\r\n\r\n%s",
                       batches[i].prefer, strlen(batches[i].body),
                       batches[i].body);
        fd[i] = dial();
        say_text(fd[i], text);
        kv_os_sleep_ms(50);
        ck_assert_msg(recv(fd[i], &early, 1, MSG_PEEK | MSG_DONTWAIT) < 0, "%s",
                      batches[i].body);
    }
    atomic_store(&disk_waits, false);
    ck_assert_int_eq(status_of(hear_one(fd[COUNT])), 200);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(status_of(hear_one(fd[i])), batches[i].status);
        ck_assert_msg(strstr(reply, batches[i].wanted) != NULL, "%s", reply);
        close(fd[i]);
    }
    close(fd[COUNT]);
    stop();
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* The manifest's lock is held while the disk takes its time. */
static int slow_manifest(void *arg, int file)
{
    if (atomic_load(&disk_waits))
        atomic_store(&disk_asked, true);
    while (atomic_load(&disk_waits))
        kv_os_sleep_ms(1);
    return kv_os_real()->sync(arg, file);
}

START_TEST(who_asks_for_events_waits_for_the_disk_alone)
{
    enum { EVENTS = 3, OTHERS = 8 };
    char dir[] = "/tmp/kvsql-http-XXXXXX", command[128];
    struct kv_os os = *kv_os_real();
    int events[EVENTS], maker;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    os.sync = slow_manifest;
    start_os(dir, KVSQL_FSYNC_NO, &os);
    ck_assert_int_eq(status_for("POST /", "[\"SET\",\"k\",\"v\"]"), 200);
    atomic_store(&disk_asked, false);
    atomic_store(&disk_waits, true);
    maker = dial();
    say_text(maker, "POST /v1/snapshots?wait=1 HTTP/1.1\r\n" HOST
                    "Content-Length: 0\r\nConnection: close\r\n\r\n");
    while (!atomic_load(&disk_asked))
        kv_os_sleep_ms(1);
    for (int i = 0; i < EVENTS; i++) {
        events[i] = dial();
        /* what is behind the snapshot is kept, whoever comes first */
        say_text(events[i], "GET /v1/events?after=1 HTTP/1.1\r\n" HOST "\r\n");
    }
    until("kvsql_http_requests_waiting", EVENTS + 1);
    for (int i = 0; i < OTHERS; i++) /* of both loops */
        ck_assert_int_eq(status_for("GET /livez", NULL), 200);
    atomic_store(&disk_waits, false);
    ck_assert_int_eq(status_of(hear_all(maker)), 201);
    for (int i = 0; i < EVENTS; i++)
        ck_assert_int_eq(status_of(hear_all(events[i])), 200);
    stop();
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* Drops of what has no end, until the server has had enough of it; the time that
 * took, in ms. */
static uint64_t drip(const char *begin, const char *drop)
{
    const uint64_t started = kv_os_mono_ns();
    uint64_t took_ms = 0;
    char answer[1024];
    bool open = true;
    int fd = dial();

    say_text(fd, begin);
    while (open) {
        took_ms = (kv_os_mono_ns() - started) / 1000000;
        ck_assert_uint_lt(took_ms, PATIENCE_S * 1000);
        open = send(fd, drop, strlen(drop), MSG_NOSIGNAL) > 0;
        kv_os_sleep_ms(5);
        const ssize_t n = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        open = open && (n > 0 || (n < 0 && errno == EAGAIN));
    }
    close(fd);
    return took_ms;
}

START_TEST(who_sends_in_drops_is_cut_at_an_absolute_time)
{
    static const struct {
        const char *name, *begin, *drop;
        uint64_t least_ms;
    } slow[] = {
        {"a request line", "GET /", "x", 200},
        {"headers", "GET /livez HTTP/1.1\r\n" HOST, "X-A: b\r\n", 200},
        {"a body", POST "Content-Length: 900000\r\n\r\n", "[", 400},
        {"a body in chunks", POST "Transfer-Encoding: chunked\r\n\r\n",
         "1\r\n[\r\n", 400},
        {"records", "POST /v1/import HTTP/1.1\r\n" HOST
                    "Content-Type: application/x-ndjson\r\n"
                    "Content-Length: 900000\r\n\r\n",
         " ", 400},
        {"records in chunks", "POST /v1/import HTTP/1.1\r\n" HOST
                              "Content-Type: application/x-ndjson\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n",
         "1\r\n\n\r\n", 400}};

    start((struct http_config){.head_ms = 200, .body_ms = 400});
    for (size_t i = 0; i < sizeof slow / sizeof *slow; i++) {
        const uint64_t took_ms = drip(slow[i].begin, slow[i].drop);
        ck_assert_msg(took_ms >= slow[i].least_ms / 2, "%s: cut after %llu ms",
                      slow[i].name, (unsigned long long)took_ms);
    }
    ck_assert_int_eq(status_for("GET /livez", NULL), 200);
    stop();
}
END_TEST

/* ---- streams --------------------------------------------------------------------------- */

#define MANY                                                                  \
    "q=WITH+RECURSIVE+c(x)+AS+(SELECT+1+UNION+ALL+SELECT+x%2B1+FROM+c+WHERE+" \
    "x%3C9000)+SELECT+x,hex(zeroblob(100))+AS+z+FROM+c"

START_TEST(a_large_result_streams_whole_to_a_slow_reader)
{
    char small[257];
    size_t size = 0;
    ssize_t n;
    int window = 32768;

    start((struct http_config){0});
    int fd = dial();
    ck_assert_int_eq(
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window), 0);
    say_text(fd, "GET /v1/sql.ndjson?" MANY " HTTP/1.1\r\n" HOST
                 "Connection: close\r\n\r\n");
    while ((n = recv(fd, small, 256, 0)) > 0) {
        ck_assert_uint_lt(size + (size_t)n, REPLY_MAX);
        memcpy(reply + size, small, (size_t)n);
        size += (size_t)n;
    }
    reply[size] = 0;
    close(fd);
    ck_assert_ptr_nonnull(strcasestr(reply, "transfer-encoding: chunked"));
    ck_assert_ptr_nonnull(strstr(reply, "\"rows\":9000"));
    ck_assert_str_eq(reply + size - 5, "0\r\n\r\n");
    stop();
}
END_TEST

START_TEST(a_stream_whose_reader_leaves_frees_its_worker)
{
    start((struct http_config){.sql_threads = 1});
    for (int i = 0; i < 5; i++) {
        char some[100];
        int fd = dial();
        say_text(fd, "GET /v1/sql.ndjson?" MANY " HTTP/1.1\r\n" HOST "\r\n");
        ck_assert_int_gt((int)recv(fd, some, sizeof some, 0), 0);
        close(fd);
    }
    int fd = dial();
    say_text(fd, "GET /v1/sql?q=SELECT+42 HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_ptr_nonnull(strstr(hear_one(fd), "\"rows\":[[42]]"));
    close(fd);
    stop();
}
END_TEST

START_TEST(head_never_starts_a_stream)
{
    start((struct http_config){0});
    int fd = dial();
    say_text(fd, "HEAD /v1/sql?" MANY " HTTP/1.1\r\n" HOST
                 "Connection: close\r\n\r\n");
    const char *got = hear_all(fd);
    ck_assert_int_eq(status_of(got), 200);
    ck_assert_str_eq(strstr(got, "\r\n\r\n"), "\r\n\r\n");
    ck_assert_ptr_null(strcasestr(got, "chunked"));
    ck_assert_ptr_null(strcasestr(got, "Content-Length: "));
    stop();
}
END_TEST

/* ---- start and stop ------------------------------------------------------------------------ */

START_TEST(before_the_store_is_open_only_health_answers)
{
    struct http_config config = {0};
    struct kv_progress progress = {.what = "replay", .done = 5, .total = 10};

    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(http_start(NULL, &config, &server, &err), KVSQL_OK);
    reply = malloc(REPLY_MAX);
    http_loading(server, &progress);
    ck_assert_int_eq(status_of(ask(SLICE("GET /livez HTTP/1.1\r\n" HOST
                                         "Connection: close\r\n\r\n"))),
                     200);
    ck_assert_int_eq(status_of(ask(SLICE("GET /readyz HTTP/1.1\r\n" HOST
                                         "Connection: close\r\n\r\n"))),
                     503);
    ck_assert_ptr_nonnull(strstr(reply, "replay: 5 of 10 bytes"));
    ck_assert_int_eq(status_of(ask(SLICE("GET /metrics HTTP/1.1\r\n" HOST
                                         "Connection: close\r\n\r\n"))),
                     200);
    ck_assert_ptr_nonnull(strstr(reply, "\nkvsql_loading 1\n"));
    cmd_stats_loading(&progress);
    ck_assert_int_eq(status_of(ask(SLICE("GET /metrics HTTP/1.1\r\n" HOST
                                         "Connection: close\r\n\r\n"))),
                     200);
    ck_assert_ptr_nonnull(strstr(reply, "\nkvsql_loading 1\n"));
    ck_assert_ptr_nonnull(strstr(reply, "{stage=\"load\"} 0\n"));
    ck_assert_ptr_nonnull(strstr(reply, "{stage=\"replay\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(reply, "\nkvsql_loading_done 5\n"));
    ck_assert_ptr_nonnull(strstr(reply, "\nkvsql_loading_total 10\n"));
    ck_assert_ptr_null(strstr(reply, "\nkvsql_keys "));
    cmd_stats_loading(NULL);
    ck_assert_int_eq(
        status_of(ask(SLICE(GET HOST "Connection: close\r\n\r\n"))), 503);
    ck_assert_ptr_nonnull(strstr(reply, "{\"error\":\"LOADING"));
    ck_assert_ptr_nonnull(strstr(reply, "Retry-After: 1"));
    ck_assert_int_eq(kvsql_open(NULL, NULL, &db, &err), KVSQL_OK);
    http_ready(server, db);
    ck_assert_int_eq(
        status_of(ask(SLICE(GET HOST "Connection: close\r\n\r\n"))), 200);
    stop();
}
END_TEST

START_TEST(what_cannot_be_started_says_why)
{
    struct http_server *other;

    start((struct http_config){0});
    struct http_config config = {.port = http_port(server)};
    ck_assert_int_eq(http_start(db, &config, &other, &err), KVSQL_IO);
    ck_assert_ptr_null(other);
    ck_assert_ptr_nonnull(strstr(err.text, "is in use by test_http (pid "));
    ck_assert_ptr_nonnull(strstr(err.text, "--http-port"));
    config = (struct http_config){.bind = "0.0.0.0"};
    ck_assert_int_eq(http_start(db, &config, &other, &err), KVSQL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "token"));
    config = (struct http_config){.bind = "example.org"};
    ck_assert_int_eq(http_start(db, &config, &other, &err), KVSQL_INVALID);
    config = (struct http_config){.bind = "192.0.2.1", .token = "t"};
    ck_assert_int_eq(http_start(db, &config, &other, &err), KVSQL_IO);
    stop();
}
END_TEST

START_TEST(every_row_of_the_routes_answers_something_documented)
{
    start((struct http_config){0});
    for (unsigned i = 0; http_route_at(i) != NULL; i++) {
        const struct http_route *row = http_route_at(i);
        for (unsigned method = 1; method <= HTTP_DELETE; method <<= 1) {
            char text[256], name[16], path[64];
            snprintf(path, sizeof path, "%s", row->pattern);
            for (char *p = path; *p; p++)
                if (strchr("{}*", *p))
                    *p = 'x';
            http_methods(method, name, sizeof name);
            int n = snprintf(text, sizeof text,
                             "%s %s HTTP/1.1\r\n" HOST JSON
                             "Content-Length: 0\r\nConnection: close\r\n\r\n",
                             name, path);
            int fd = dial();
            say(fd, text, (size_t)n);
            int status = status_of(hear_all(fd));
            ck_assert_msg(status >= 200 && status < 500, "%s %s: %s", name,
                          path, reply);
            ck_assert_ptr_nonnull(
                strstr(reply, "X-Content-Type-Options: nosniff"));
            ck_assert_ptr_nonnull(strstr(reply, "X-Request-Id: "));
            /* What is open to all may be kept; nothing else is. */
            ck_assert(strstr(reply, "Cache-Control: no-") != NULL ||
                      (row->rights == HTTP_RIGHT_NONE && status == 200 &&
                       strstr(reply, "Cache-Control: public") != NULL));
            if (status == 405)
                ck_assert_ptr_nonnull(strstr(reply, "Allow: "));
        }
    }
    stop();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(
        tests, framing_that_two_readers_could_read_differently_is_refused);
    tcase_add_test(tests, a_refusal_by_the_guard_says_close);
    tcase_add_test(tests, segments_are_data_however_they_look);
    tcase_add_test(tests, bodies_over_the_limit_are_refused_known_or_not);
    tcase_add_test(
        tests, a_connection_serves_many_requests_and_pipelined_ones_in_order);
    tcase_add_test(tests, each_request_of_a_connection_is_judged_by_itself);
    tcase_add_test(tests, web_pages_of_strangers_are_refused);
    tcase_add_test(tests, a_statement_ends_when_its_client_leaves);
    tcase_add_test(tests,
                   a_statement_whose_client_left_before_its_turn_never_runs);
    tcase_add_test(tests, a_client_that_ends_with_its_request_is_seen);
    tcase_add_test(tests, a_statement_ends_at_its_deadline);
    tcase_add_test(tests,
                   what_waits_too_long_for_a_worker_is_told_to_come_again);
    tcase_add_test(tests, stopping_with_fifty_waiting_ends_them_all);
    tcase_add_test(tests, writes_wait_for_the_disk_and_all_come_back);
    tcase_add_test(tests,
                   a_full_disk_is_507_for_every_write_and_none_for_reads);
    tcase_add_test(tests, a_batch_tells_nothing_that_is_not_durable_yet);
    tcase_add_test(tests, who_asks_for_events_waits_for_the_disk_alone);
    tcase_add_test(tests, who_sends_in_drops_is_cut_at_an_absolute_time);
    tcase_add_test(tests, a_large_result_streams_whole_to_a_slow_reader);
    tcase_add_test(tests, a_stream_whose_reader_leaves_frees_its_worker);
    tcase_add_test(tests, head_never_starts_a_stream);
    tcase_add_test(tests, before_the_store_is_open_only_health_answers);
    tcase_add_test(tests, what_cannot_be_started_says_why);
    tcase_add_test(tests,
                   every_row_of_the_routes_answers_something_documented);
}

int main(void)
{
    return unit_run("http", add);
}
