/* bench.h - what the measuring programs of the store share: one open store
 * without files, batches, random numbers, clocks, rows of the table.
 *
 * Thread: one; the store runs without its keeper and is ticked by hand. */
#ifndef BENCH_LIB_BENCH_H
#define BENCH_LIB_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "kvsql/inside.h"
#include "kvsql/store.h"

#define BENCH_BATCH 20 /* changes in a transaction */

extern kvsql *bench_db;
extern struct kv_txn *bench_txn; /* the one that bench_begin() began */
extern struct kvsql_error bench_err;
extern unsigned bench_count;    /* elements; set by the program */
extern volatile uint64_t bench_sink;

uint64_t bench_random(void);
double bench_now(void);  /* ns of processor time; dear to ask */
double bench_wall(void); /* ns, cheap */
void bench_must(kvsql_rc rc);
void *bench_alloc(size_t size);
void bench_begin(void);
void bench_commit(void);
/* Call add(arg, i) for each i < bench_count, BENCH_BATCH to a transaction; ns
 * for each. */
double bench_fill(void (*add)(unsigned arg, unsigned i), unsigned arg);
/* Ticks until nothing is left to do; the longest in ns. */
double bench_tick_all(void);
void bench_head(void);
/* One row of the table. A goal of 0 is "none"; ours must not exceed it, as a
 * ratio to the peer when there is one. */
void bench_row(const char *what, double ours, double peer, double goal);
/* measure(arg) in a child with a store of its own, so that memory starts clean;
 * 1 when it failed. */
int bench_forked(void (*measure)(unsigned), unsigned arg);
/* Member number i of a large collection: members come in a scattered order,
 * each once (7654321 and 10^7 share no divisor), for ascending ones would fill
 * leaves fuller than life does. */
struct kv_key bench_member(char text[24], unsigned i);

#endif
