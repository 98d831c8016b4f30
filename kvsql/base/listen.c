/* listen.c - the listening socket: bound by us, so that what is wrong can be
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

/* ---- binding ----------------------------------------------------------------------- */

static bool listen_parse(const char *bind, uint16_t port,
                         union listen_address *address, socklen_t *size)
{
    memset(address, 0, sizeof *address);
    if (strcmp(bind, "localhost") == 0)
        bind = "127.0.0.1";
    if (inet_pton(AF_INET, bind, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(port);
        *size = sizeof address->v4;
        return true;
    }
    if (inet_pton(AF_INET6, bind, &address->v6.sin6_addr) == 1) {
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

/* How Host and URLs write the address. */
static void listen_name(struct kv_listener *listener,
                        const union listen_address *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    bool v6 = address->any.sa_family == AF_INET6;

    if (v6)
        (void)inet_ntop(AF_INET6, &address->v6.sin6_addr, text, sizeof text);
    else
        (void)inet_ntop(AF_INET, &address->v4.sin_addr, text, sizeof text);
    snprintf(listener->address, sizeof listener->address, v6 ? "[%s]" : "%s", text);
    listener->wildcard =
        v6 ? IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr)
           : address->v4.sin_addr.s_addr == htonl(INADDR_ANY);
}

static kvsql_rc listen_failed(const struct kv_listener *listener,
                              uint16_t port, bool v6, int number,
                              struct kvsql_error *err)
{
    const char *door = listener->door;
    char holder[64];

    if (number == EADDRINUSE)
        return kv_fail(err, KVSQL_IO,
                       "%s: port %u on %s is in use by %s; stop it or "
                       "choose another --%s",
                       door, port, listener->address,
                       listen_holder(port, v6, holder), listener->option);
    if (number == EACCES)
        return kv_fail(err, KVSQL_IO,
                       "%s: port %u needs rights that this user lacks; "
                       "choose one above 1023",
                       door, port);
    if (number == EADDRNOTAVAIL)
        return kv_fail(err, KVSQL_IO,
                       "%s: %s is no address of this machine; see ip addr",
                       door, listener->address);
    return kv_fail(err, KVSQL_IO, "%s: cannot listen on %s port %u: %s", door,
                   listener->address, port, kv_os_error(number));
}

kvsql_rc kv_listen(struct kv_listener *listener, const char *bind_to,
                   uint16_t port, bool secret, struct kvsql_error *err)
{
    union listen_address address;
    socklen_t size;
    int one = 1;

    listener->fd = -1;
    if (!listen_parse(bind_to, port, &address, &size))
        return kv_fail(err, KVSQL_INVALID,
                       "%s: cannot bind to \"%s\": give a numeric address "
                       "such as 127.0.0.1 or ::1",
                       listener->door, bind_to);
    listen_name(listener, &address);
    listener->exposed = !listen_is_loopback(&address);
    if (!secret && listener->exposed) /* X1 */
        return kv_fail(err, KVSQL_INVALID,
                       "%s: will not listen on %s without a %s: set %s, or "
                       "bind to 127.0.0.1",
                       listener->door, listener->address, listener->secret,
                       listener->secret_option);
    const bool v6 = address.any.sa_family == AF_INET6;
    const int fd = socket(address.any.sa_family,
                          SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return listen_failed(listener, port, v6, errno, err);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) <
                   0) ||
        bind(fd, &address.any, size) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
        getsockname(fd, &address.any, &size) < 0) {
        const kvsql_rc rc = listen_failed(listener, port, v6, errno, err);
        (void)close(fd);
        return rc;
    }
    listener->fd = fd;
    listener->port = ntohs(v6 ? address.v6.sin6_port : address.v4.sin_port);
    return KVSQL_OK;
}
