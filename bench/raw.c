/* raw.c - a peer of the HTTP door: one loop over epoll and no library.
 *
 *   raw
 *
 * What the least costs that answers a POST of a JSON command at all: it looks for
 * the end of the head and for Content-Length, parses the body with cJSON, which
 * must be an array, and answers 64 constant bytes in one write. It checks nothing
 * else. It prints the port that the system chose, and ends when its input does.
 *
 * Thread: main's. */
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAW_CONNS 1024
#define RAW_ROOM 8192
#define RAW_EVENTS 64

struct raw_conn {
    size_t size;
    char text[RAW_ROOM];
};

static const char raw_answer[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n"
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
static struct raw_conn *raw_conns[RAW_CONNS];

static void raw_die(const char *what)
{
    perror(what);
    exit(1);
}

/* Bytes of the first request that is whole, 0 when none is yet; its body. */
static size_t raw_request(const char *p, size_t size, const char **body,
                          size_t *body_size)
{
    static const char name[] = "\r\nContent-Length:";
    const char *const end = memmem(p, size, "\r\n\r\n", 4);

    if (end == NULL)
        return 0;
    *body = end + 4;
    *body_size = 0;
    for (const char *at = p; at < end; at++)
        if (*at == '\r' && strncasecmp(at, name, sizeof name - 1) == 0)
            *body_size = strtoul(at + sizeof name - 1, NULL, 10);
    const size_t whole = (size_t)(*body - p) + *body_size;
    return whole <= size ? whole : 0;
}

static bool raw_serve(int fd, struct raw_conn *conn)
{
    const char *body;
    size_t body_size, whole;
    const ssize_t n =
        recv(fd, conn->text + conn->size, RAW_ROOM - 1 - conn->size, 0);

    if (n <= 0)
        return false;
    conn->size += (size_t)n;
    conn->text[conn->size] = 0;
    while ((whole = raw_request(conn->text, conn->size, &body, &body_size)) >
           0) {
        cJSON *const root = cJSON_ParseWithLength(body, body_size);
        const bool good =
            cJSON_IsArray(root) &&
            send(fd, raw_answer, sizeof raw_answer - 1, MSG_NOSIGNAL) ==
                (ssize_t)sizeof raw_answer - 1;
        cJSON_Delete(root);
        if (!good)
            return false;
        conn->size -= whole;
        memmove(conn->text, conn->text + whole, conn->size + 1);
    }
    return conn->size < RAW_ROOM - 1;
}

static void raw_accept(int loop, int door)
{
    const int fd = accept(door, NULL, NULL);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (fd >= RAW_CONNS || (fd >= 0 && raw_conns[fd] == NULL &&
                            (raw_conns[fd] = malloc(sizeof **raw_conns)) == NULL))
        close(fd);
    else if (fd >= 0) {
        raw_conns[fd]->size = 0;
        if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
            raw_die("raw: epoll_ctl");
    }
}

static int raw_listen(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int door = socket(AF_INET, SOCK_STREAM, 0);

    if (door < 0 || bind(door, (struct sockaddr *)&address, size) < 0 ||
        listen(door, 512) < 0 ||
        getsockname(door, (struct sockaddr *)&address, &size) < 0)
        raw_die("raw: listen");
    printf("port=%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return door;
}

int main(void)
{
    const int loop = epoll_create1(0), door = raw_listen();
    struct epoll_event events[RAW_EVENTS];

    if (loop < 0)
        raw_die("raw: epoll_create1");
    for (int i = 0; i < 2; i++) {
        const int fd = i == 0 ? door : STDIN_FILENO;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
            raw_die("raw: epoll_ctl");
    }
    for (;;) {
        const int count = epoll_wait(loop, events, RAW_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            const int fd = events[i].data.fd;
            if (fd == STDIN_FILENO)
                return 0;
            if (fd == door)
                raw_accept(loop, door);
            else if (!raw_serve(fd, raw_conns[fd]))
                close(fd);
        }
    }
}
