/* peer.h - the same statements on a session and on a plain SQLite database, made
 * at random piece by piece; both must fail, or give the same rows.
 *
 * KVSQL_SEED gives another run, KVSQL_SQL_STEPS more statements.
 *
 * Thread: the test's. */
#ifndef TESTS_LIB_PEER_H
#define TESTS_LIB_PEER_H

#include "tests/lib/rand.h"
#include "tests/lib/rows.h"

#define PEER_SQL_MAX 4096

struct peer {
    struct rows *rows; /* our side, with literal values */
    sqlite3 *native;
    struct rand_state rand;
    bool sentences; /* a constraint must fail in the same words */
    char sql[PEER_SQL_MAX], text[ROWS_TEXT_MAX]; /* what native rows are */
};
/* An empty database beside `rows`. */
void peer_open(struct peer *peer, struct rows *rows, const char *test,
               uint64_t seed);
void peer_close(struct peer *peer);
/* On the native side alone; it must not fail. */
void peer_native(struct peer *peer, const char *sql);

unsigned peer_below(struct peer *peer, unsigned n);
#define PEER_PICK(peer, list)                                                 \
    ((list)[peer_below((peer), (unsigned)(sizeof(list) / sizeof((list)[0])))])
/* Behind what peer->sql says. */
void peer_say(struct peer *peer, const char *format, ...) KV_PRINTF(2, 3);
/* Run peer->sql on both sides, and another text. */
void peer_both(struct peer *peer);
void peer_run(struct peer *peer, const char *sql);
/* BEGIN, ROLLBACK TO a, ... */
const char *peer_control(struct peer *peer);
/* How many statements are to be tried. */
unsigned peer_steps(unsigned otherwise);

#endif
