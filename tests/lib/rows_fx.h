/* rows_fx.h - the fixture of a test program that is about statements: `fx`, made
 * new for each test.
 *
 * Thread: as rows.h. */
#ifndef KVSQL_TESTS_LIB_ROWS_FX_H
#define KVSQL_TESTS_LIB_ROWS_FX_H

#include "tests/lib/rows.h"

static struct rows fx;

static inline void fixture_setup(void)
{
    rows_init(&fx);
}

static inline void fixture_teardown(void)
{
    rows_fini(&fx);
}

static inline void ok(const char *sql)
{
    rows_ok(&fx, sql);
}

#define GIVES(sql, rows) ROWS_GIVES(&fx, sql, rows)
#define FAILS(sql, code, sentence) ROWS_FAILS(&fx, sql, code, sentence)

#endif
