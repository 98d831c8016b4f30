/* http_fx.h - the fixture of a test program that is about the HTTP door: a store,
 * the door on a free port, and bytes of the test's own making to it, because a
 * well-behaved client cannot ask what a hostile one does.
 *
 * Thread: the test's. */
#ifndef TESTS_LIB_HTTP_FX_H
#define TESTS_LIB_HTTP_FX_H

#include "http/request.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "tests/lib/unit.h"
#include "vtab/session.h"

#define SLICE(s) (s), sizeof(s) - 1
#define HOST "Host: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"
#define REPLY_MAX (4u << 20)
#define PATIENCE_S 120 /* a loaded machine takes its time */
#define POST "POST / HTTP/1.1\r\n" HOST JSON

static struct kvsql_error err;
static kvsql *db;
static struct http_server *server;
static char *reply;
static size_t reply_size;
static bool heard_end; /* the peer closed, in time */

static inline void start(struct http_config config)
{
    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(kvsql_open(NULL, NULL, &db, &err), KVSQL_OK);
    ck_assert_msg(http_start(db, &config, &server, &err) == KVSQL_OK, "%s",
                  err.text);
    reply = malloc(REPLY_MAX);
    ck_assert_ptr_nonnull(reply);
}

static inline void start_os(const char *dir, enum kvsql_fsync fsync,
                            const struct kv_os *os)
{
    const struct kvsql_options options = {.fsync = fsync};
    const struct http_config config = {0};

    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(kv_open_os(dir, &options, os, NULL, NULL, &db, &err),
                     KVSQL_OK);
    ck_assert_int_eq(http_start(db, &config, &server, &err), KVSQL_OK);
    reply = malloc(REPLY_MAX);
    ck_assert_ptr_nonnull(reply);
}

static inline void start_in(const char *dir, enum kvsql_fsync fsync)
{
    start_os(dir, fsync, kv_os_real());
}

static inline void stop(void)
{
    http_stop(server);
    ck_assert_int_eq(kvsql_close(db, &err), KVSQL_OK);
    free(reply);
}

static inline int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
                                sizeof patience),
                     0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static inline void say(int fd, const char *p, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* refused early: what was answered is there to read */
        p += n;
        size -= (size_t)n;
    }
}

static inline void say_text(int fd, const char *text)
{
    say(fd, text, strlen(text));
}

/* Does an answer begin that has no end? */
static inline bool hear_endless(void)
{
    reply[reply_size] = 0;
    return strstr(reply, "Content-Type: text/event-stream") != NULL &&
           strstr(reply, "\r\n\r\n") != NULL;
}

/* Everything until the peer closes; the head of an event stream. */
static inline const char *hear_all(int fd)
{
    ssize_t n;

    reply_size = 0;
    while ((n = recv(fd, reply + reply_size, REPLY_MAX - 1 - reply_size, 0)) >
               0 &&
           (reply_size += (size_t)n) > 0 && !hear_endless())
        ;
    heard_end = n == 0 || errno == ECONNRESET;
    reply[reply_size] = 0;
    close(fd);
    return reply;
}

/* One answer of known length on a connection that stays. */
static inline const char *hear_one(int fd)
{
    const char *end = NULL, *length;
    size_t want = 0;

    reply_size = 0;
    reply[0] = 0;
    while (end == NULL || reply_size < want) {
        ssize_t n = recv(fd, reply + reply_size, 1, 0);
        if (n <= 0)
            break;
        reply_size += (size_t)n;
        reply[reply_size] = 0;
        if (end == NULL && (end = strstr(reply, "\r\n\r\n")) != NULL) {
            length = strcasestr(reply, "Content-Length: ");
            ck_assert_ptr_nonnull(length);
            want = reply_size + strtoul(length + 16, NULL, 10);
        }
    }
    return reply;
}

static inline int status_of(const char *text)
{
    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? (int)strtol(text + 9, NULL, 10)
                                              : 0;
}

static inline unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;

    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        count++;
    return count;
}

static inline const char *ask(const char *p, size_t size)
{
    int fd = dial();

    say(fd, p, size);
    if (memmem(p, size, "Connection: close", 17) == NULL)
        shutdown(fd, SHUT_WR);
    return hear_all(fd);
}

static inline uint64_t metric(const char *name)
{
    const char *got = ask(SLICE("GET /metrics HTTP/1.1\r\n" HOST
                                "Connection: close\r\n\r\n"));
    char line[128];

    snprintf(line, sizeof line, "\n%s ", name);
    const char *found = strstr(got, line);
    ck_assert_ptr_nonnull(found);
    return strtoull(found + strlen(line), NULL, 10);
}

/* Until the metric has at least this value; each look is a request, and the
 * case's own timeout ends a test where it never comes. */
static inline void until(const char *name, uint64_t least)
{
    while (metric(name) < least)
        ;
}

static atomic_bool disk_waits, disk_asked;

/* A disk that takes its time, as long as it is told to. */
static inline int slow_sync(void *arg, int file)
{
    if (atomic_load(&disk_waits))
        atomic_store(&disk_asked, true);
    while (atomic_load(&disk_waits))
        kv_os_sleep_ms(1);
    return kv_os_real()->data_sync(arg, file);
}

#endif
