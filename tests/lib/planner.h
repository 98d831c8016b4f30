/* planner.h - a virtual table that says what SQLite's planner passes to it.
 *
 *   CREATE VIRTUAL TABLE p USING planner;    p(key TEXT, value TEXT, n INTEGER)
 *
 * It has no rows and takes nothing. Each call of xBestIndex is one line:
 *
 *   key EQ 'a' BINARY, value GT ? NOCASE -; order key DESC; distinct 2; cols 5
 *
 * a constraint is its column, operator, right-hand side where it is known (`?`
 * if not), collation, `IN` when all values of a list can be had at once, `-`
 * when it is not usable; then the order, sqlite3_vtab_distinct() and colUsed.
 *
 * Thread: the connection's. */
#ifndef KVSQL_TESTS_LIB_PLANNER_H
#define KVSQL_TESTS_LIB_PLANNER_H

#include "vtab/sqlite.h"

#define PLANNER_TEXT_MAX 8192

struct planner {
    char text[PLANNER_TEXT_MAX]; /* of all calls since it was emptied */
};

/* Register the module; `planner` lives as long as the connection. */
int planner_register(sqlite3 *sql, struct planner *planner);

#endif
