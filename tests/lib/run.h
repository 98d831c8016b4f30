/* run.h - numbered writes on a disk in memory, and whether what opens after an
 * accident is the state at one position (D1).
 *
 * A run puts the number i under the key k<i mod RUN_KEYS>, one batch each, and
 * remembers which number each position carried and up to where it was
 * acknowledged. After any accident the store that opens must be the state at
 * one position, and under `always` at none below the last acknowledged.
 *
 * Thread: the test's. */
#ifndef TESTS_LIB_RUN_H
#define TESTS_LIB_RUN_H

#include "kvsql/inside.h"
#include "tests/lib/fakeos.h"

#define RUN_KEYS 13
#define RUN_PUTS_MAX 512

struct run {
    struct fakeos *fake;
    kvsql *db;
    struct kvsql_options options;
    struct kvsql_error err;
    int at[RUN_PUTS_MAX], before[RUN_PUTS_MAX]; /* number put at a position;
                                    the one that it had before an undo */
    uint64_t last, acked;
};

/* An empty disk and options of a store with small segments. */
void run_init(struct run *run, uint64_t seed, enum kvsql_fsync fsync);
void run_fini(struct run *run);
kvsql_rc run_open(struct run *run);
kvsql_rc run_close(struct run *run);
/* Put one number and wait for its gate; an odd one in a turn of its own. */
kvsql_rc run_put(struct run *run, int number);
uint64_t run_position(struct run *run);
/* Is what is open the state at its position? With `old`, positions that were
 * never acknowledged may carry what was undone (D6). */
bool run_is_prefix(struct run *run, bool old);
/* ... or the test fails with these words. */
void run_check(struct run *run, const char *what, uint64_t n);
/* Wait until the wal is in this state. */
void run_wait_state(struct run *run, const char *state);

#endif
