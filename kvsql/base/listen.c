/* listen.c - the listening sockets: bound by us, so that what is wrong can be
 * said in a sentence, with the name of the program that has the port.
 *
 * Thread: the owner's, at start. */
#include "kvsql/base/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

#define LISTEN_BACKLOG 1024
#define LISTEN_TRIES 8 /* for a port that is free on all addresses */
#define LISTEN_TABLE_MAX (256u << 10) /* of /proc/net/tcp, looked at */

union listen_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* ---- who has the port ----------------------------------------------------------- */

struct listen_search {
    const struct kv_os *os;
    char link[40]; /* "socket:[12345]" */
    char holder[64]; /* found: "redis-server (pid 4711)" */
    char pid[24];
    bool found;
};

/* Some first bytes of a file under /proc; 0 when it cannot be read. */
static size_t listen_read(const struct kv_os *os, const char *dir,
                          const char *name, char *out, size_t size)
{
    int handle, file;
    int64_t got = 0;

    if (os->dir_open(os->arg, dir, false, &handle) < 0)
        return 0;
    if (os->open(os->arg, handle, name, KV_OS_READ, &file) >= 0) {
        got = os->read_at(os->arg, file, out, size - 1, 0);
        os->close(os->arg, file);
    }
    os->dir_close(os->arg, handle);
    if (got < 0)
        got = 0;
    out[got] = 0;
    return (size_t)got;
}

/* Inode of the socket that listens on `port`, "" when none is seen. */
static void listen_inode(const char *table, uint16_t port, char out[24])
{
    char want[16];

    out[0] = 0;
    snprintf(want, sizeof want, ":%04X", port);
    for (const char *line = strchr(table, '\n'); line != NULL;
         line = strchr(line, '\n')) {
        char local[64], state[8], inode[24];
        line++;
        if (sscanf(line, " %*s %63s %*s %7s %*s %*s %*s %*s %*s %23s", local,
                   state, inode) != 3)
            continue;
        const char *colon = strrchr(local, ':');
        if (colon != NULL && strcmp(colon, want) == 0 &&
            strcmp(state, "0A") == 0) {
            snprintf(out, 24, "%s", inode);
            return;
        }
    }
}

static void listen_each_fd(void *arg, const char *name)
{
    struct listen_search *search = arg;
    char path[320], target[40];

    snprintf(path, sizeof path, "/proc/%s/fd/%s", search->pid, name);
    ssize_t size = readlink(path, target, sizeof target - 1);
    if (size <= 0)
        return;
    target[size] = 0;
    if (strcmp(target, search->link) == 0)
        search->found = true;
}

static void listen_each_process(void *arg, const char *name)
{
    struct listen_search *search = arg;
    char path[64], comm[32];
    int64_t pid;
    int dir;

    if (search->holder[0] != 0 || !kv_num_int(name, strlen(name), &pid))
        return;
    snprintf(search->pid, sizeof search->pid, "%lld", (long long)pid);
    snprintf(path, sizeof path, "/proc/%s/fd", search->pid);
    if (search->os->dir_open(search->os->arg, path, false, &dir) < 0)
        return;
    (void)search->os->dir_list(search->os->arg, dir, listen_each_fd, search);
    search->os->dir_close(search->os->arg, dir);
    if (!search->found)
        return;
    snprintf(path, sizeof path, "/proc/%s", search->pid);
    size_t size = listen_read(search->os, path, "comm", comm, sizeof comm);
    while (size > 0 && comm[size - 1] == '\n')
        comm[--size] = 0;
    snprintf(search->holder, sizeof search->holder, "%s (pid %s)",
             size ? comm : "a program", search->pid);
}

/* Best effort: another user's program cannot be looked into. */
static const char *listen_holder(uint16_t port, bool v6, char out[64])
{
    struct listen_search search = {.os = kv_os_real()};
    char inode[24] = "";
    int dir;

    snprintf(out, 64, "another program (ss -ltnp shows which)");
    char *table = kv_mem_alloc(KV_MEM_CLIENT, LISTEN_TABLE_MAX);
    if (table == NULL)
        return out;
    if (listen_read(search.os, "/proc/net", v6 ? "tcp6" : "tcp", table,
                    LISTEN_TABLE_MAX) > 0)
        listen_inode(table, port, inode);
    kv_mem_free(KV_MEM_CLIENT, table, LISTEN_TABLE_MAX);
    if (inode[0] == 0 ||
        search.os->dir_open(search.os->arg, "/proc", false, &dir) < 0)
        return out;
    snprintf(search.link, sizeof search.link, "socket:[%s]", inode);
    (void)search.os->dir_list(search.os->arg, dir, listen_each_process,
                              &search);
    search.os->dir_close(search.os->arg, dir);
    if (search.holder[0] != 0)
        snprintf(out, 64, "%s", search.holder);
    return out;
}

/* ---- addresses -------------------------------------------------------------------- */

/* The next word of *text; false at the end. *optional: it had a "-". */
static bool listen_word(const char **text, char out[KV_ADDRESS_MAX],
                        bool *optional)
{
    const char *word = *text + strspn(*text, " \t");
    size_t size = strcspn(word, " \t");

    *text = word + size;
    if (size == 0)
        return false;
    *optional = *word == '-';
    word += *optional;
    size -= *optional;
    if (size >= KV_ADDRESS_MAX)
        size = KV_ADDRESS_MAX - 1; /* is none, whatever comes behind */
    memcpy(out, word, size);
    out[size] = 0;
    return true;
}

static bool listen_parse(const char *word, uint16_t port,
                         union listen_address *address, socklen_t *size)
{
    memset(address, 0, sizeof *address);
    if (strcmp(word, "localhost") == 0)
        word = "127.0.0.1";
    else if (strcmp(word, "*") == 0)
        word = "0.0.0.0";
    else if (strcmp(word, "::*") == 0)
        word = "::";
    if (inet_pton(AF_INET, word, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(port);
        *size = sizeof address->v4;
        return true;
    }
    if (inet_pton(AF_INET6, word, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(port);
        *size = sizeof address->v6;
        return true;
    }
    return false;
}

static bool listen_is_loopback(const union listen_address *address)
{
    if (address->any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
    return (ntohl(address->v4.sin_addr.s_addr) >> 24) == 127;
}

/* How Host and URLs write the address, and what it means. */
static void listen_describe(struct kv_listener *listener,
                            const union listen_address *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    const bool v6 = address->any.sa_family == AF_INET6;

    if (v6)
        (void)inet_ntop(AF_INET6, &address->v6.sin6_addr, text, sizeof text);
    else
        (void)inet_ntop(AF_INET, &address->v4.sin_addr, text, sizeof text);
    snprintf(listener->address, sizeof listener->address, v6 ? "[%s]" : "%s",
             text);
    listener->wildcard =
        v6 ? IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr)
           : address->v4.sin_addr.s_addr == htonl(INADDR_ANY);
    listener->exposed = !listen_is_loopback(address);
}

bool kv_listen_exposed(const struct kv_listeners *listeners)
{
    for (unsigned i = 0; i < listeners->count; i++)
        if (listeners->at[i].exposed)
            return true;
    return false;
}

const char *kv_listen_local(const struct kv_listeners *listeners)
{
    static const char *const names[2] = {"127.0.0.1", "[::1]"};

    for (unsigned n = 0; n < 2; n++)
        for (unsigned i = 0; i < listeners->count; i++) {
            const struct kv_listener *at = &listeners->at[i];

            if (strcmp(at->address, names[n]) == 0 ||
                (at->wildcard && (at->address[0] == '[') == (n == 1)))
                return names[n];
        }
    return listeners->count > 0 ? listeners->at[0].address : "";
}

/* ---- binding ----------------------------------------------------------------------- */

static kvsql_rc listen_failed(const struct kv_listeners *listeners,
                              const struct kv_listener *listener,
                              uint16_t port, int number,
                              struct kvsql_error *err)
{
    const char *door = listeners->door, *address = listener->address;
    char holder[64];

    if (number == EADDRINUSE)
        return kv_fail(err, KVSQL_IO,
                       "%s: port %u on %s is in use by %s; stop it or "
                       "choose another --%s",
                       door, port, address,
                       listen_holder(port, address[0] == '[', holder),
                       listeners->option);
    if (number == EACCES)
        return kv_fail(err, KVSQL_IO,
                       "%s: port %u on %s needs rights that this user lacks; "
                       "choose one above 1023",
                       door, port, address);
    if (number == EADDRNOTAVAIL)
        return kv_fail(err, KVSQL_IO,
                       "%s: %s is no address of this machine; see ip addr",
                       door, address);
    return kv_fail(err, KVSQL_IO, "%s: cannot listen on %s port %u: %s", door,
                   address, port, kv_os_error(number));
}

/* A socket that listens; *address tells the port then. -errno: there is none. */
static int listen_socket(union listen_address *address, socklen_t size)
{
    const bool v6 = address->any.sa_family == AF_INET6;
    const int fd = socket(address->any.sa_family,
                          SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1;

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) <
                   0) ||
        bind(fd, &address->any, size) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
        getsockname(fd, &address->any, &size) < 0) {
        const int number = errno;

        (void)close(fd);
        return -number;
    }
    return fd;
}

/* May the address be left out? */
static bool listen_may_miss(int number, bool optional)
{
    return (optional && number == EADDRNOTAVAIL) || number == EAFNOSUPPORT ||
           number == EPFNOSUPPORT || number == EPROTONOSUPPORT ||
           number == ESOCKTNOSUPPORT;
}

/* One of the addresses. *number: errno of what is wrong, or of what was left
 * out. */
static kvsql_rc listen_one(struct kv_listeners *listeners, const char *word,
                           bool optional, uint16_t port, bool secret,
                           int *number, struct kvsql_error *err)
{
    struct kv_listener *listener = &listeners->at[listeners->count];
    union listen_address address;
    socklen_t size;

    if (listeners->count == KV_LISTEN_MAX)
        return kv_fail(err, KVSQL_INVALID,
                       "%s: bind has more than %d addresses", listeners->door,
                       KV_LISTEN_MAX);
    if (!listen_parse(word, port, &address, &size))
        return kv_fail(err, KVSQL_INVALID,
                       "%s: cannot bind to \"%s\": give a numeric address "
                       "such as 127.0.0.1 or ::1",
                       listeners->door, word);
    listen_describe(listener, &address);
    if (!secret && listener->exposed) /* X1 */
        return kv_fail(err, KVSQL_INVALID,
                       "%s: will not listen on %s without a %s: set %s, or "
                       "bind to 127.0.0.1",
                       listeners->door, listener->address, listeners->secret,
                       listeners->secret_option);
    listener->fd = listen_socket(&address, size);
    if (listener->fd < 0) {
        *number = -listener->fd;
        return listen_may_miss(*number, optional)
                   ? KVSQL_OK
                   : listen_failed(listeners, listener, port, *number, err);
    }
    listeners->port = ntohs(address.any.sa_family == AF_INET6
                                ? address.v6.sin6_port
                                : address.v4.sin_port);
    listeners->count++;
    return KVSQL_OK;
}

/* All of them; the port that the first takes is that of the others. *number is
 * errno of what went wrong, 0 for what is no matter of sockets. */
static kvsql_rc listen_all(struct kv_listeners *listeners, const char *text,
                           uint16_t port, bool secret, int *number,
                           struct kvsql_error *err)
{
    char word[KV_ADDRESS_MAX];
    kvsql_rc rc = KVSQL_OK;
    unsigned words = 0;
    bool optional;

    listeners->count = 0;
    *number = 0;
    for (; rc == KVSQL_OK && listen_word(&text, word, &optional); words++) {
        rc = listen_one(listeners, word, optional,
                        listeners->count > 0 ? listeners->port : port, secret,
                        number, err);
    }
    if (rc == KVSQL_OK && words == 0)
        rc = kv_fail(err, KVSQL_INVALID, "%s: bind has no address",
                     listeners->door);
    if (rc == KVSQL_OK && listeners->count == 0)
        rc = listen_failed(listeners, &listeners->at[0], port, *number, err);
    if (rc != KVSQL_OK)
        kv_listen_close(listeners);
    return rc;
}

kvsql_rc kv_listen(struct kv_listeners *listeners, const char *addresses,
                   uint16_t port, bool secret, struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;
    int number = 0;

    /* A port that is free on one address may be taken on the next. */
    for (unsigned i = 0; i < LISTEN_TRIES; i++) {
        rc = listen_all(listeners, addresses, port, secret, &number, err);
        if (rc == KVSQL_OK || port != 0 || number != EADDRINUSE)
            break;
    }
    return rc;
}

void kv_listen_close(struct kv_listeners *listeners)
{
    for (unsigned i = 0; i < listeners->count; i++) {
        if (listeners->at[i].fd >= 0)
            (void)close(listeners->at[i].fd);
    }
    listeners->count = 0;
}
