/* twin.h - the same statement on a session over a store and on a plain SQLite
 * database with the portable tables; result codes and rows must be equal.
 *
 * One pair at a time. Rows that nothing puts in order are sorted first.
 *
 * Thread: the test's. */
#ifndef TESTS_SQL_TWIN_H
#define TESTS_SQL_TWIN_H

#include "tests/sql/gen.h"
#include "vtab/state.h"

#define TWIN_ROWS_MAX 20000

struct twin_rows {
    char *row[TWIN_ROWS_MAX]; /* values by '|', each with its type */
    unsigned count;
    bool error, duplicate, null;
    char message[KVSQL_ERROR_SIZE];
};

struct twin {
    struct gen gen;
    kvsql *db;
    struct vt_session *ours;
    sqlite3 *native;
    struct twin_rows a, b; /* ours; native */
    uint64_t judged; /* where SQLite agrees only without its optimizer */
};

/* An empty pair with t; KVSQL_SEED, else `seed`. */
void twin_open(struct twin *twin, const char *test, uint64_t seed);
void twin_close(struct twin *twin);
/* Every key of the pool to one table, with a few rows, now and then with many,
 * so that large forms are seen too; what was there is gone. */
void twin_fill(struct twin *twin);
void twin_empty(struct twin *twin);

/* Begin the next step, until KVSQL_SQL_STEPS, else `steps`, are made. */
bool twin_more(struct twin *twin, uint64_t steps);
/* Run gen.sql with its parameters on one side. */
void twin_ours(struct twin *twin, const char *sql, struct twin_rows *rows);
void twin_native(struct twin *twin, const char *sql, struct twin_rows *rows);
/* Rows of both are equal, or the test fails with all that is known. */
void twin_compare(struct twin *twin, const char *sql);
/* All of that. */
void twin_both(struct twin *twin, const char *sql);
/* ... without parameters, and it must not fail. */
void twin_do(struct twin *twin, const char *sql);

#endif
