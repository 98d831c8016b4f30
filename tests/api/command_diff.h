/* command_diff.h - the parts of the comparison with a Redis: making commands,
 * asking over a socket, comparing replies.
 *
 *   command_diff.c        random commands
 *   command_diff_reply.c  are two replies equal, or differ as we mean it?
 *   command_diff_peer.c   a connection to a server
 *   command_diff_local.c  program: kvsql in this process, RESP2
 *   command_diff_wire.c   program: both servers over sockets, RESP2 or RESP3
 *
 * Thread: main. */
#ifndef TESTS_API_COMMAND_DIFF_H
#define TESTS_API_COMMAND_DIFF_H

#include "kvsql/base/buf.h"
#include "kvsql/kvsql.h"

#define DIFF_ARGS_MAX 16
#define DIFF_ARG_SIZE 96
#define DIFF_SHOWN_MAX 20
#define DIFF_REPLY_MAX ((size_t)64 << 20)
#define DIFF_NEAR_S 120 /* a machine stood still between one server and the other */

/* ---- command_diff.c ------------------------------------------------------ */

enum diff_how {
    DIFF_EXACT,
    DIFF_SET,   /* one array in any order */
    DIFF_MAP,   /* pairs in any order */
    DIFF_SCORES, /* pairs in any order, the second as numbers */
    DIFF_REAL,  /* texts that are equal as numbers */
    DIFF_NEAR,  /* seconds that differ by DIFF_NEAR_S at most */
    DIFF_SHAPE, /* chosen by chance or by the clock: the same kind of reply */
    DIFF_SCAN   /* [cursor, array in any order] */
};

struct diff_row {
    const char *name, *shape; /* letters: see the table */
    enum diff_how how;
};

struct diff_command {
    char text[DIFF_ARGS_MAX][DIFF_ARG_SIZE];
    size_t size[DIFF_ARGS_MAX];
    unsigned argc;
    enum diff_how how;
};

/* The seed, and where it has come to. */
extern uint64_t diff_state;
uint64_t diff_next(void);
unsigned diff_below(unsigned n);

/* A command of a row of the table, of one row. */
void diff_make(struct diff_command *c);
void diff_make_row(struct diff_command *c, const struct diff_row *row);
/* One argument more. */
void diff_add(struct diff_command *c, const char *p, size_t size);

/* ---- command_diff_reply.c ------------------------------------------------ */

/* Bytes of the reply at p, RESP2 or RESP3; 0 when it is not whole. */
size_t diff_reply_size(const uint8_t *p, size_t size);
bool diff_equal(enum diff_how how, kvsql_slice ours, kvsql_slice theirs);
/* Equal, or different as it is meant: then *allowed. `type` is what TYPE says
 * of the first key of a SORT. */
bool diff_accept(const struct diff_command *c, const char *type,
                 kvsql_slice ours, kvsql_slice theirs, bool *allowed);
/* For people. */
void diff_show(const char *who, kvsql_slice bytes);
void diff_show_command(const struct diff_command *c);

/* ---- command_diff_peer.c ------------------------------------------------- */

struct diff_peer {
    int fd;
    size_t at, size;
    uint8_t in[1 << 16];
};

bool diff_connect(struct diff_peer *peer, uint16_t port);
bool diff_write(struct diff_peer *peer, const void *p, size_t size);
/* One whole reply behind `out`. False: the server hung up. */
bool diff_receive(struct diff_peer *peer, struct kv_buf *out);
/* The command as an array of bulk strings, behind `out`. */
void diff_pack(const struct diff_command *c, struct kv_buf *out);

#endif
