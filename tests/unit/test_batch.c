/* test_batch.c - /v1/batch, commands and SQL in one transaction, through the
 * open door: what each of both sees of the other, and that an error of either
 * takes back all. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "http/http.h"
#include "kvsql/inside.h"
#include "tests/lib/unit.h"
#include "vtab/session.h"

#define HEAD "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"              \
             "Content-Type: application/json\r\n"

static struct kvsql_error err;
static kvsql *db;
static struct http_server *server;
static char reply[65536];

static void start(void)
{
    const struct http_config config = {0};

    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(kvsql_open(NULL, NULL, &db, &err), KVSQL_OK);
    ck_assert_msg(http_start(db, &config, &server, &err) == KVSQL_OK, "%s",
                  err.text);
}

static void stop(void)
{
    http_stop(server);
    ck_assert_int_eq(kvsql_close(db, &err), KVSQL_OK);
}

/* The status; `reply` is the whole answer. */
static int post(const char *path, const char *headers, const char *body)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 120};
    char text[4096];
    int fd = socket(AF_INET, SOCK_STREAM, 0), status = 0;
    size_t size = 0;
    ssize_t n;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
                                sizeof patience),
                     0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    n = snprintf(text, sizeof text,
                 "POST %s " HEAD "%sContent-Length: %zu\r\n\r\n%s", path,
                 headers, strlen(body), body);
    ck_assert_int_lt(n, (int)sizeof text);
    ck_assert_int_eq(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    while ((n = recv(fd, reply + size, sizeof reply - 1 - size, 0)) > 0)
        size += (size_t)n;
    reply[size] = 0;
    close(fd);
    ck_assert_int_eq(sscanf(reply, "HTTP/1.1 %d", &status), 1);
    return status;
}

static void expect(int status, const char *headers, const char *ops,
                   const char *part)
{
    char body[2048];

    snprintf(body, sizeof body, "{\"ops\":[%s]}", ops);
    ck_assert_msg(post("/v1/batch", headers, body) == status &&
                      strstr(reply, part) != NULL,
                  "%s\nwanted %d %s, got %s", ops, status, part, reply);
}

static void holds(const char *key, const char *result)
{
    char body[256];

    snprintf(body, sizeof body, "[\"GET\",\"%s\"]", key);
    ck_assert_int_eq(post("/", "", body), 200);
    ck_assert_msg(strstr(reply, result) != NULL, "%s: %s", key, reply);
}

START_TEST(commands_and_sql_see_each_other_in_one_batch)
{
    start();
    expect(200, "",
           "[\"SET\",\"k\",\"1\"],"
           "{\"sql\":\"SELECT value FROM strings WHERE key = 'k'\"},"
           "{\"sql\":\"UPDATE strings SET value = 5 WHERE key = 'k'\"},"
           "[\"INCR\",\"k\"],"
           "{\"sql\":\"SELECT count(*), max(value) FROM strings\"},"
           "[\"GET\",\"k\"]",
           "\"results\":[{\"result\":\"OK\"},"
           "{\"columns\":[\"value\"],\"rows\":[[\"1\"]],\"truncated\":false},"
           "{\"changes\":1},{\"result\":6},"
           "{\"columns\":[\"count(*)\",\"max(value)\"],\"rows\":[[1,\"6\"]],"
           "\"truncated\":false},{\"result\":\"6\"}]");
    expect(200, "", "{\"sql\":\"SELECT 1\"},[\"INCR\",\"k\"]",
           "{\"result\":7}");
    holds("k", "{\"result\":\"7\"}");
    stop();
}
END_TEST

START_TEST(an_error_of_either_takes_back_both)
{
    static const char *const last[] = {
        "{\"sql\":\"selec\"}", "[\"LPUSH\",\"k\",\"x\"]",
        "{\"sql\":\"INSERT INTO strings(key, value) VALUES ('k', 1)\"}",
        "[\"INCR\",\"word\"]"};

    start();
    ck_assert_int_eq(post("/", "", "[\"MSET\",\"k\",\"1\",\"word\",\"x\"]"),
                     200);
    for (unsigned i = 0; i < sizeof last / sizeof *last; i++) {
        char ops[512];
        snprintf(ops, sizeof ops,
                 "[\"INCR\",\"k\"],[\"SET\",\"new\",\"1\"],"
                 "{\"sql\":\"DELETE FROM strings WHERE key = 'word'\"},"
                 "[\"SET\",\"word\",\"y\"],%s",
                 last[i]);
        char body[1024];
        snprintf(body, sizeof body, "{\"ops\":[%s]}", ops);
        int status = post("/v1/batch", "", body);
        ck_assert_msg(status == 400 || status == 409, "%s", reply);
        ck_assert_msg(strstr(reply, "\"failed_index\":4") != NULL, "%s",
                      reply);
        holds("k", "{\"result\":\"1\"}");
        holds("word", "{\"result\":\"x\"}");
        holds("new", "{\"result\":null}");
    }
    stop();
}
END_TEST

START_TEST(what_is_only_tried_leaves_nothing)
{
    start();
    expect(200, "Prefer: tx=rollback\r\n",
           "[\"SET\",\"k\",\"1\"],{\"sql\":\"SELECT value FROM strings\"}",
           "\"rows\":[[\"1\"]]");
    holds("k", "{\"result\":null}");
    stop();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, commands_and_sql_see_each_other_in_one_batch);
    tcase_add_test(tests, an_error_of_either_takes_back_both);
    tcase_add_test(tests, what_is_only_tried_leaves_nothing);
}

int main(void)
{
    return unit_run("batch", add);
}
