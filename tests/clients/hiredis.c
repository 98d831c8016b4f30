/* hiredis.c - hiredis: binary arguments, pipelines, types of replies, and the
 * asynchronous form on epoll. */
#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CHECK(what)                                                            \
    do {                                                                       \
        if (!(what)) {                                                         \
            printf("line %d: %s\n", __LINE__, #what);                          \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

static const char *host, *password;
static int port;

static void step(const char *name)
{
    printf("ok %s\n", name);
    fflush(stdout);
}

static bool is_status(redisReply *reply, const char *text)
{
    const bool is = reply != NULL && reply->type == REDIS_REPLY_STATUS &&
                    strcmp(reply->str, text) == 0;

    freeReplyObject(reply);
    return is;
}

static bool is_bytes(redisReply *reply, const void *p, size_t size)
{
    const bool is = reply != NULL && reply->type == REDIS_REPLY_STRING &&
                    (size_t)reply->len == size &&
                    memcmp(reply->str, p, size) == 0;

    freeReplyObject(reply);
    return is;
}

static bool is_number(redisReply *reply, long long number)
{
    const bool is = reply != NULL && reply->type == REDIS_REPLY_INTEGER &&
                    reply->integer == number;

    freeReplyObject(reply);
    return is;
}

static bool is_error(redisReply *reply, const char *head)
{
    const bool is = reply != NULL && reply->type == REDIS_REPLY_ERROR &&
                    strncmp(reply->str, head, strlen(head)) == 0;

    freeReplyObject(reply);
    return is;
}

static bool is_nil(redisReply *reply)
{
    const bool is = reply != NULL && reply->type == REDIS_REPLY_NIL;

    freeReplyObject(reply);
    return is;
}

static redisContext *connected(void)
{
    redisContext *c = redisConnect(host, port);

    CHECK(c != NULL && c->err == 0);
    if (password != NULL) {
        CHECK(is_error(redisCommand(c, "GET a"), "NOAUTH "));
        CHECK(is_error(redisCommand(c, "AUTH wrong"), "WRONGPASS "));
        CHECK(is_status(redisCommand(c, "AUTH %s", password), "OK"));
    }
    return c;
}

static void types(redisContext *c)
{
    const unsigned char key[] = {0, '\r', '\n', ' ', 0xff};
    unsigned char value[256];

    for (int i = 0; i < 256; i++) {
        value[i] = (unsigned char)i;
    }
    CHECK(is_status(redisCommand(c, "PING"), "PONG"));
    CHECK(is_status(
        redisCommand(c, "SET %b %b", key, sizeof(key), value, sizeof(value)),
        "OK"));
    CHECK(is_bytes(redisCommand(c, "GET %b", key, sizeof(key)), value,
                   sizeof(value)));
    step("bytes of any kind in keys and values");
    CHECK(is_number(redisCommand(c, "INCRBY n %lld", 9000000000LL),
                    9000000000LL));
    CHECK(is_nil(redisCommand(c, "GET none")));
    CHECK(is_error(redisCommand(c, "LPUSH n x"), "WRONGTYPE "));
    CHECK(is_error(redisCommand(c, "NOSUCH a"),
                   "ERR unknown command 'NOSUCH', with args beginning with: "
                   "'a' "));
    redisReply *reply = redisCommand(c, "HSET h f1 v1 f2 %s", "two words");
    CHECK(is_number(reply, 2));
    reply = redisCommand(c, "HMGET h f2 none");
    CHECK(reply != NULL && reply->type == REDIS_REPLY_ARRAY);
    CHECK(reply->elements == 2);
    CHECK(strcmp(reply->element[0]->str, "two words") == 0);
    CHECK(reply->element[1]->type == REDIS_REPLY_NIL);
    freeReplyObject(reply);
    step("types of replies");
}

static void pipelined(redisContext *c)
{
    redisReply *reply;

    for (int i = 0; i < 10000; i++) {
        CHECK(redisAppendCommand(c, "RPUSH list %d", i) == REDIS_OK);
    }
    for (int i = 0; i < 10000; i++) {
        CHECK(redisGetReply(c, (void **)&reply) == REDIS_OK);
        CHECK(is_number(reply, i + 1));
    }
    reply = redisCommand(c, "LRANGE list 0 -1");
    CHECK(reply != NULL && reply->elements == 10000);
    CHECK(strcmp(reply->element[9999]->str, "9999") == 0);
    freeReplyObject(reply);
    step("10,000 commands in a pipeline, 10,000 elements in a reply");
    const char *words[] = {"MSET", "m1", "a", "m2", "b"};
    CHECK(is_status(redisCommandArgv(c, 5, words, NULL), "OK"));
    CHECK(is_status(redisCommand(c, "MULTI"), "OK"));
    CHECK(is_status(redisCommand(c, "APPEND m1 x"), "QUEUED"));
    CHECK(is_status(redisCommand(c, "MGET m1 m2"), "QUEUED"));
    reply = redisCommand(c, "EXEC");
    CHECK(reply != NULL && reply->elements == 2);
    CHECK(reply->element[0]->integer == 2);
    CHECK(strcmp(reply->element[1]->element[0]->str, "ax") == 0);
    freeReplyObject(reply);
    step("MULTI and EXEC");
    const size_t size = 8 << 20;
    char *large = malloc(size);
    CHECK(large != NULL);
    memset(large, 'x', size);
    CHECK(is_status(redisCommand(c, "SET large %b", large, size), "OK"));
    CHECK(is_bytes(redisCommand(c, "GET large"), large, size));
    free(large);
    step("a value of 8 MiB");
}

/* ---- asynchronous, on epoll: what hiredis asks of an event loop ----------- */

struct loop {
    int epoll;
    uint32_t wanted;
    long long got;
    bool over;
};

static void loop_want(struct loop *loop, const redisAsyncContext *c)
{
    struct epoll_event event = {.events = loop->wanted};

    if (epoll_ctl(loop->epoll, EPOLL_CTL_MOD, c->c.fd, &event) != 0) {
        CHECK(errno == ENOENT);
        CHECK(epoll_ctl(loop->epoll, EPOLL_CTL_ADD, c->c.fd, &event) == 0);
    }
}

static redisAsyncContext *async_context;

static void on_read(void *p)
{
    ((struct loop *)p)->wanted |= EPOLLIN;
    loop_want(p, async_context);
}

static void on_write(void *p)
{
    ((struct loop *)p)->wanted |= EPOLLOUT;
    loop_want(p, async_context);
}

static void no_write(void *p)
{
    ((struct loop *)p)->wanted &= ~(uint32_t)EPOLLOUT;
    loop_want(p, async_context);
}

static void on_incr(redisAsyncContext *c, void *reply, void *p)
{
    struct loop *loop = p;

    CHECK(reply != NULL);
    CHECK(((redisReply *)reply)->type == REDIS_REPLY_INTEGER);
    CHECK(((redisReply *)reply)->integer == ++loop->got);
    if (loop->got == 1000) {
        redisAsyncDisconnect(c);
    }
}

static void on_auth(redisAsyncContext *c, void *reply, void *p)
{
    (void)c;
    (void)p;
    CHECK(((redisReply *)reply)->type == REDIS_REPLY_STATUS);
}

static void on_end(const redisAsyncContext *c, int status)
{
    CHECK(status == REDIS_OK);
    ((struct loop *)c->ev.data)->over = true;
}

static void asynchronous(void)
{
    struct loop loop = {.epoll = epoll_create1(0)};
    struct epoll_event event;

    CHECK(loop.epoll >= 0);
    async_context = redisAsyncConnect(host, port);
    CHECK(async_context != NULL && async_context->err == 0);
    async_context->ev.data = &loop;
    async_context->ev.addRead = on_read;
    async_context->ev.addWrite = on_write;
    async_context->ev.delWrite = no_write;
    CHECK(redisAsyncSetDisconnectCallback(async_context, on_end) == REDIS_OK);
    if (password != NULL) {
        redisAsyncCommand(async_context, on_auth, NULL, "AUTH %s", password);
    }
    for (int i = 0; i < 1000; i++) {
        redisAsyncCommand(async_context, on_incr, &loop, "INCR async");
    }
    while (!loop.over) {
        CHECK(epoll_wait(loop.epoll, &event, 1, 20000) == 1);
        if (event.events & EPOLLIN) {
            redisAsyncHandleRead(async_context);
        }
        if (!loop.over && (event.events & EPOLLOUT)) {
            redisAsyncHandleWrite(async_context);
        }
    }
    close(loop.epoll);
    CHECK(loop.got == 1000);
    step("asynchronous, on epoll");
}

int main(void)
{
    host = getenv("REDIS_HOST");
    port = (int)strtol(getenv("REDIS_PORT"), NULL, 10);
    password = getenv("REDIS_PASSWORD");
    if (password != NULL && *password == 0) {
        password = NULL;
    }
    printf("version %d.%d.%d\n", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    redisContext *c = connected();
    CHECK(is_status(redisCommand(c, "FLUSHALL"), "OK"));
    if (password != NULL) {
        step("the password");
    }
    types(c);
    pipelined(c);
    asynchronous();
    CHECK(is_status(redisCommand(c, "QUIT"), "OK"));
    redisFree(c);
    return 0;
}
