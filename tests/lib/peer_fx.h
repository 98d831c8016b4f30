/* peer_fx.h - the fixture of a test program that compares statements made at
 * random on a typed table with those on a native one: `fx` and `peer`, and words
 * for values that are hard to tell apart.
 *
 * Thread: the test's. */
#ifndef TESTS_LIB_PEER_FX_H
#define TESTS_LIB_PEER_FX_H

#include "kvsql/store.h"
#include "tests/lib/peer.h"
#include "tests/lib/rows_fx.h"

static struct peer peer;

static inline unsigned below(unsigned n)
{
    return peer_below(&peer, n);
}

#define PICK(list) PEER_PICK(&peer, list)
#define say(...) peer_say(&peer, __VA_ARGS__)

/* What the keeper does, which the fixture has none of: without it every view that
 * was ever pinned is kept, and a long run takes the square of its length. */
static inline void keep_up(unsigned step)
{
    if (step % 64 > 0 || vt_in_transaction(fx.session)) return;
    while (kv_store_tick(kv_db_store(fx.db))) continue;
}

/* One to three rows behind VALUES: an id, four values, of which the third may be
 * NULL, and a BLOB. */
#define SAY_ROWS(ids, values)                                                 \
    do {                                                                      \
        for (unsigned say_i = 0, say_n = 1 + below(3); say_i < say_n;         \
             say_i++)                                                         \
            say("%s(%s, %s, %s, %s, %s, %s)", say_i > 0 ? ", " : "",          \
                PICK(ids), PICK(values), PICK(values),                        \
                below(4) ? PICK(values) : "NULL", PICK(values),               \
                below(2) ? "x'ff'" : "x'37'");                                \
    } while (0)

#endif
