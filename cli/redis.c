/* redis.c - a connection to a server of the Redis protocol, as a client.
 *
 * Bytes that have arrived stand in one buffer; [at, size) is not yet taken. A
 * bulk is given in place, when all of it is there; before more is read, what
 * was taken is moved away.
 *
 * Thread: the owner's. */
#include "cli/redis.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "kvsql/base/num.h"

#define REDIS_WAIT_S 60
#define REDIS_BLOCK ((size_t)64 << 10)
#define REDIS_LINE_MAX 65536
#define REDIS_ITEM_MAX ((size_t)513 << 20) /* bytes of one bulk, and a block */

struct cli_redis {
    int fd;
    char host[256], port[16], user[128];
    struct kv_buf in, out;
    size_t at;
};

/* ---- connecting ------------------------------------------------------------------ */

/* Copy [p, end) as text; false when it is empty or too long. */
static bool redis_part(char *out, size_t size, const char *p, const char *end)
{
    if (end <= p || (size_t)(end - p) >= size)
        return false;
    memcpy(out, p, (size_t)(end - p));
    out[end - p] = '\0';
    return true;
}

/* host, host:port, [::1]:port */
static bool redis_address(struct cli_redis *redis, const char *p,
                          const char *end)
{
    static const char usual[] = "6379";
    const char *host_end = *p == '[' ? memchr(p, ']', (size_t)(end - p))
                                     : memchr(p, ':', (size_t)(end - p));
    int64_t port;

    if (*p == '[' && host_end == NULL)
        return false;
    const char *rest = host_end == NULL ? end : host_end + (*p == '[');
    if (!redis_part(redis->host, sizeof(redis->host), p + (*p == '['),
                    host_end == NULL ? end : host_end))
        return false;
    if (rest == end)
        return redis_part(redis->port, sizeof(redis->port), usual,
                          &usual[sizeof(usual) - 1]);
    return *rest == ':' &&
           redis_part(redis->port, sizeof(redis->port), rest + 1, end) &&
           kv_num_int(redis->port, strlen(redis->port), &port) && port > 0 &&
           port < 65536;
}

static kvsql_rc redis_url(struct cli_redis *redis, const char *url,
                          struct kvsql_error *err)
{
    static const char scheme[] = "redis://";
    const bool known = strncmp(url, scheme, sizeof(scheme) - 1) == 0;
    const char *p = url + (known ? sizeof(scheme) - 1 : 0);
    const char *end = p + strcspn(p, "/");
    const char *user = memchr(p, '@', (size_t)(end - p));

    if (user != NULL && memchr(p, ':', (size_t)(user - p)) != NULL)
        return kv_fail(err, KVSQL_INVALID,
                       "a password is not for the command line, where others "
                       "could read it: put it into a file, "
                       "--from-password-file");
    if (!known ||
        (user != NULL &&
         !redis_part(redis->user, sizeof(redis->user), p, user)) ||
        !redis_address(redis, user != NULL ? user + 1 : p, end) ||
        (strcmp(end, "") != 0 && strcmp(end, "/") != 0 &&
         strcmp(end, "/0") != 0))
        return kv_fail(err, KVSQL_INVALID,
                       "'%s' is not like redis://HOST:PORT", url);
    return KVSQL_OK;
}

static int redis_connect_to(const struct addrinfo *address)
{
    const struct timeval wait = {.tv_sec = REDIS_WAIT_S};
    const int fd = socket(address->ai_family,
                          address->ai_socktype | SOCK_CLOEXEC,
                          address->ai_protocol);

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        const int number = errno;
        (void)close(fd);
        return -number;
    }
    return fd;
}

static kvsql_rc redis_connect(struct cli_redis *redis, struct kvsql_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    const int found = getaddrinfo(redis->host, redis->port, &hints, &list);
    int fd = -EADDRNOTAVAIL;

    if (found != 0)
        return kv_fail(err, KVSQL_CLOSED, "cannot find %s: %s", redis->host,
                       gai_strerror(found));
    for (const struct addrinfo *at = list; at != NULL && fd < 0;
         at = at->ai_next)
        fd = redis_connect_to(at);
    freeaddrinfo(list);
    if (fd < 0)
        return kv_fail(err, KVSQL_CLOSED, "no server answers at %s:%s: %s",
                       redis->host, redis->port, strerror(-fd));
    redis->fd = fd;
    return KVSQL_OK;
}

static kvsql_rc redis_authenticate(struct cli_redis *redis,
                                   const char *password,
                                   struct kvsql_error *err)
{
    struct cli_redis_item item;

    if (password[0] == '\0')
        return KVSQL_OK;
    cli_redis_command(redis, redis->user[0] != '\0' ? 3 : 2, "AUTH");
    if (redis->user[0] != '\0')
        cli_redis_text(redis, redis->user);
    cli_redis_text(redis, password);
    kvsql_rc rc = cli_redis_send(redis, err);
    if (rc == KVSQL_OK)
        rc = cli_redis_want(redis, CLI_REDIS_STATUS, &item, err);
    if (rc == KVSQL_INVALID)
        err->rc = rc = KVSQL_AUTH;
    return rc;
}

struct cli_redis *cli_redis_of(int fd)
{
    struct cli_redis *redis = kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*redis));

    if (redis == NULL)
        return NULL;
    redis->fd = fd;
    kv_buf_init(&redis->in, KV_MEM_CLIENT, REDIS_ITEM_MAX);
    kv_buf_init(&redis->out, KV_MEM_CLIENT, REDIS_ITEM_MAX);
    return redis;
}

kvsql_rc cli_redis_open(const char *url, const char *password,
                        struct cli_redis **out, struct kvsql_error *err)
{
    struct cli_redis *redis = cli_redis_of(-1);

    *out = redis;
    if (redis == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for a connection");
    kvsql_rc rc = redis_url(redis, url, err);
    if (rc == KVSQL_OK)
        rc = redis_connect(redis, err);
    if (rc == KVSQL_OK)
        rc = redis_authenticate(redis, password, err);
    if (rc == KVSQL_OK)
        return KVSQL_OK;
    cli_redis_close(redis);
    *out = NULL;
    return rc;
}

void cli_redis_close(struct cli_redis *redis)
{
    if (redis == NULL)
        return;
    if (redis->fd >= 0)
        (void)close(redis->fd);
    kv_buf_fini(&redis->in);
    kv_buf_fini(&redis->out);
    kv_mem_free(KV_MEM_CLIENT, redis, sizeof(*redis));
}

/* ---- commands --------------------------------------------------------------------- */

void cli_redis_word(struct cli_redis *redis, kvsql_slice word)
{
    kv_buf_printf(&redis->out, "$%zu\r\n", word.size);
    kv_buf_add(&redis->out, word.p, word.size);
    kv_buf_text(&redis->out, "\r\n");
}

void cli_redis_text(struct cli_redis *redis, const char *word)
{
    cli_redis_word(redis, (kvsql_slice){word, strlen(word)});
}

void cli_redis_command(struct cli_redis *redis, unsigned count,
                       const char *name)
{
    kv_buf_printf(&redis->out, "*%u\r\n", count);
    cli_redis_text(redis, name);
}

kvsql_rc cli_redis_send(struct cli_redis *redis, struct kvsql_error *err)
{
    kvsql_rc rc = kv_buf_result(&redis->out, "commands to a server", err);
    size_t done = 0;

    while (rc == KVSQL_OK && done < redis->out.size) {
        const ssize_t n = send(redis->fd, redis->out.p + done,
                               redis->out.size - done, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = kv_fail(err, KVSQL_IO, "the connection to %s:%s broke: %s",
                         redis->host, redis->port, strerror(errno));
        else
            done += (size_t)n;
    }
    kv_buf_reset(&redis->out, REDIS_BLOCK);
    return rc;
}

/* ---- replies ----------------------------------------------------------------------- */

/* Read some more. Memory grows with what has come, not with what was said to
 * come. */
static kvsql_rc redis_fill(struct cli_redis *redis, struct kvsql_error *err)
{
    struct kv_buf *in = &redis->in;

    if (redis->at > 0) {
        memmove(in->p, in->p + redis->at, in->size - redis->at);
        kv_buf_cut(in, in->size - redis->at);
        redis->at = 0;
    }
    if (!kv_buf_reserve(in, REDIS_BLOCK))
        return kv_buf_result(in, "a reply of a server", err);
    for (;;) {
        const ssize_t n = recv(redis->fd, in->p + in->size,
                               in->cap - in->size, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return kv_fail(err, KVSQL_IO, "the connection to %s:%s broke: %s",
                           redis->host, redis->port,
                           n == 0 ? "the server closed it"
                           : errno == EAGAIN ? "the server is silent"
                                             : strerror(errno));
        in->size += (size_t)n;
        return KVSQL_OK;
    }
}

static kvsql_rc redis_wrong(const struct cli_redis *redis,
                            struct kvsql_error *err)
{
    return kv_fail(err, KVSQL_CORRUPT,
                   "what %s:%s answers is not the Redis protocol",
                   redis->host, redis->port);
}

/* The next line, without its end; taken. */
static kvsql_rc redis_line(struct cli_redis *redis, kvsql_slice *line,
                           struct kvsql_error *err)
{
    for (;;) {
        const size_t left = redis->in.size - redis->at;
        const uint8_t *p = left > 0 ? redis->in.p + redis->at : NULL;
        const uint8_t *end = left > 0 ? memchr(p, '\n', left) : NULL;

        if (end != NULL) {
            if (end < p + 2 || end[-1] != '\r')
                return redis_wrong(redis, err);
            *line = (kvsql_slice){p, (size_t)(end - p) - 1};
            redis->at += (size_t)(end - p) + 1;
            return KVSQL_OK;
        }
        if (left > REDIS_LINE_MAX)
            return redis_wrong(redis, err);
        const kvsql_rc rc = redis_fill(redis, err);
        if (rc != KVSQL_OK)
            return rc;
    }
}

static kvsql_rc redis_bulk(struct cli_redis *redis, size_t size,
                           struct cli_redis_item *item, struct kvsql_error *err)
{
    while (redis->in.size - redis->at < size + 2) {
        const kvsql_rc rc = redis_fill(redis, err);
        if (rc != KVSQL_OK)
            return rc;
    }
    item->bytes = (kvsql_slice){redis->in.p + redis->at, size};
    if (memcmp(redis->in.p + redis->at + size, "\r\n", 2) != 0)
        return redis_wrong(redis, err);
    redis->at += size + 2;
    return KVSQL_OK;
}

kvsql_rc cli_redis_next(struct cli_redis *redis, struct cli_redis_item *item,
                        struct kvsql_error *err)
{
    kvsql_slice line = {"", 0};
    const kvsql_rc rc = redis_line(redis, &line, err);

    if (rc != KVSQL_OK)
        return rc;
    const char *text = line.p;
    *item = (struct cli_redis_item){
        .bytes = {text + 1, line.size - 1}};
    switch (text[0]) {
    case '+': item->kind = CLI_REDIS_STATUS; return KVSQL_OK;
    case '-': item->kind = CLI_REDIS_ERROR; return KVSQL_OK;
    case ':': item->kind = CLI_REDIS_INT; break;
    case '$': item->kind = CLI_REDIS_BULK; break;
    case '*': item->kind = CLI_REDIS_ARRAY; break;
    default: return redis_wrong(redis, err);
    }
    if (!kv_num_int(text + 1, line.size - 1, &item->number))
        return redis_wrong(redis, err);
    if (item->kind == CLI_REDIS_INT)
        return KVSQL_OK;
    if (item->number < -1 || item->number > (int64_t)KVSQL_VALUE_MAX)
        return redis_wrong(redis, err);
    if (item->number < 0)
        item->kind = CLI_REDIS_NULL;
    return item->kind == CLI_REDIS_BULK
               ? redis_bulk(redis, (size_t)item->number, item, err)
               : KVSQL_OK;
}

kvsql_rc cli_redis_want(struct cli_redis *redis, enum cli_redis_kind kind,
                        struct cli_redis_item *item, struct kvsql_error *err)
{
    const kvsql_rc rc = cli_redis_next(redis, item, err);

    if (rc != KVSQL_OK || item->kind == kind)
        return rc;
    if (item->kind == CLI_REDIS_ERROR)
        return kv_fail(err, KVSQL_INVALID, "%s:%s says: %.*s", redis->host,
                       redis->port, (int)item->bytes.size,
                       (const char *)item->bytes.p);
    return redis_wrong(redis, err);
}
