/* command_diff_peer.c - a connection to a server of the Redis protocol.
 *
 * Thread: main. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/api/command_diff.h"

#define PEER_PATIENCE_S 120

bool diff_connect(struct diff_peer *peer, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port)};
    const struct timeval patience = {.tv_sec = PEER_PATIENCE_S};
    const int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->at = peer->size = 0;
    peer->fd = socket(AF_INET, SOCK_STREAM, 0);
    return peer->fd >= 0 &&
           setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ==
               0 &&
           setsockopt(peer->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
                      sizeof(patience)) == 0 &&
           connect(peer->fd, (struct sockaddr *)&address, sizeof(address)) ==
               0;
}

bool diff_write(struct diff_peer *peer, const void *p, size_t size)
{
    const uint8_t *from = p;

    while (size > 0) {
        const ssize_t n = send(peer->fd, from, size, MSG_NOSIGNAL);

        if (n <= 0) {
            return false;
        }
        from += n;
        size -= (size_t)n;
    }
    return true;
}

static int peer_byte(struct diff_peer *peer)
{
    if (peer->at == peer->size) {
        const ssize_t n = recv(peer->fd, peer->in, sizeof(peer->in), 0);

        if (n <= 0) {
            return -1;
        }
        peer->at = 0;
        peer->size = (size_t)n;
    }
    return peer->in[peer->at++];
}

/* One line with its CR LF; its number, if it has one, in *number. */
static bool peer_line(struct diff_peer *peer, struct kv_buf *out, char *mark,
                      long long *number)
{
    const size_t start = out->size;
    int ch;

    do {
        ch = peer_byte(peer);
        if (ch < 0) {
            return false;
        }
        kv_buf_byte(out, (uint8_t)ch);
    } while (ch != '\n');
    kv_buf_byte(out, 0);
    out->size--;
    *mark = (char)out->p[start];
    *number = strtoll((const char *)out->p + start + 1, NULL, 10);
    return !out->failed;
}

bool diff_receive(struct diff_peer *peer, struct kv_buf *out)
{
    long long left = 1;

    while (left > 0) {
        long long number;
        char mark;

        if (!peer_line(peer, out, &mark, &number)) {
            return false;
        }
        left--;
        if ((mark == '*' || mark == '~' || mark == '>') && number > 0) {
            left += number;
        } else if (mark == '%' && number > 0) {
            left += 2 * number;
        }
        for (long long n = (mark == '$' || mark == '=') && number >= 0
                               ? number + 2
                               : 0;
             n > 0; n--) {
            const int ch = peer_byte(peer);

            if (ch < 0) {
                return false;
            }
            kv_buf_byte(out, (uint8_t)ch);
        }
    }
    return true;
}

void diff_pack(const struct diff_command *c, struct kv_buf *out)
{
    kv_buf_printf(out, "*%u\r\n", c->argc);
    for (unsigned i = 0; i < c->argc; i++) {
        kv_buf_printf(out, "$%zu\r\n", c->size[i]);
        kv_buf_add(out, c->text[i], c->size[i]);
        kv_buf_add(out, "\r\n", 2);
    }
}
