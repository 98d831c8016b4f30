/* kept_fx.h - rows_fx.h, and statements that are asked again and again with values
 * of every kind: are they run by SQLite, or without it (vtab/point.h)?
 *
 * Thread: as rows.h. */
#ifndef KVSQL_TESTS_LIB_KEPT_FX_H
#define KVSQL_TESTS_LIB_KEPT_FX_H

#include <math.h>

#include "tests/lib/rows_fx.h"

#define BYTES_OF(kind_, text)                                                 \
    {                                                                         \
        .kind = (kind_), .p = (const uint8_t *)(text),                        \
        .size = sizeof(text) - 1                                              \
    }
#define TEXT_OF(text) BYTES_OF(VT_TEXT, text)
#define BLOB_OF(text) BYTES_OF(VT_BLOB, text)
#define INT_OF(number) {.kind = VT_INTEGER, .integer = (number)}
#define REAL_OF(number) {.kind = VT_REAL, .real = (number)}

static const struct vt_value values[] = {
    TEXT_OF("a"), TEXT_OF("b"), TEXT_OF("k:100"), TEXT_OF("k:400"),
    TEXT_OF(""), TEXT_OF("gone"), TEXT_OF("h"), TEXT_OF("zz"),
    TEXT_OF("\xff"), TEXT_OF("nul\0x"), TEXT_OF("one"), TEXT_OF("7"),
    TEXT_OF("a*"), TEXT_OF("u:"), BLOB_OF("a"), BLOB_OF("\xff"),
    BLOB_OF("\x00"), BLOB_OF(""), BLOB_OF("z\0z"),
    INT_OF(7), INT_OF(2), INT_OF(-1), INT_OF(0),
    INT_OF(INT64_MAX), INT_OF(INT64_MIN),
    REAL_OF(2.5), REAL_OF(7), REAL_OF(-0.0), REAL_OF(1e300),
    REAL_OF(INFINITY), REAL_OF(-INFINITY), REAL_OF(NAN),
    {.kind = VT_NULL}};
#define VALUES (sizeof(values) / sizeof(values[0]))
#define NUMBERS 19 /* the first that LIMIT may have; so may the third behind it */

/* Run a statement with parameters taken from `values` on. */
static inline kvsql_rc ask(struct vt_session *session, const char *sql,
                           size_t from)
{
    return rows_ask(&fx, session, sql, values, VALUES, from);
}

/* Whether it needs no SQLite, now that it is kept. */
static inline bool alone(struct vt_session *session, const char *sql,
                         size_t from)
{
    int before;

    for (int i = 0; i < 2; i++)
        ck_assert_msg(ask(session, sql, from) == KVSQL_OK, "%s: %s", sql,
                      fx.err.text);
    before = rows_runs(session, sql);
    ck_assert_int_eq(ask(session, sql, from), KVSQL_OK);
    return rows_runs(session, sql) == before;
}

#endif
