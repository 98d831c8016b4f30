/* program.h - what SQLite has made of a statement, where that is plain
 * (program.c).
 *
 * Thread: the session's. */
#ifndef KVSQL_VTAB_PROGRAM_H
#define KVSQL_VTAB_PROGRAM_H

#include "vtab/table.h"

#define VT_SHAPE_ARGS_MAX 8
#define VT_SHAPE_COLUMNS_MAX 16
#define VT_SHAPE_LITERALS_MAX 1024 /* bytes of them */

/* Where an argument of xFilter comes from. */
struct vt_shape_arg {
    int param;           /* its number, from 1; or 0, and then: */
    bool text;           /* a text at `place` of the literals, with a NUL */
    uint32_t place;
    int64_t integer;     /* else this */
};

/* A statement that gives rows of one table, or tells how many there are:
 * everything that it asks is asked of the table by its plan. */
struct vt_shape {
    struct vt_table *table;
    unsigned plan;
    unsigned argc;
    struct vt_shape_arg arg[VT_SHAPE_ARGS_MAX];
    bool counts;           /* one row: their number. Else these columns: */
    unsigned columns;
    uint8_t column[VT_SHAPE_COLUMNS_MAX];
    bool limited;          /* to so many rows: */
    int limit_param;       /* a parameter, or */
    int64_t limit;         /* above 0 */
    int params;            /* the highest number of a parameter */
    uint32_t literals_size;
    char literals[VT_SHAPE_LITERALS_MAX];
};

/* Compile the text of `stmt` once more, as EXPLAIN, and take that apart. False:
 * it is not of that kind, or there was no memory. Nothing else of the session
 * may run. */
KV_INTERNAL bool vt_shape_of(struct vt_session *session, sqlite3_stmt *stmt,
                             struct vt_shape *shape);

#endif
