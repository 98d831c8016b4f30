/* program.h - what SQLite has made of a statement, where that is plain
 * (program.c).
 *
 * Thread: the session's. */
#ifndef KVSQL_VTAB_PROGRAM_H
#define KVSQL_VTAB_PROGRAM_H

#include "vtab/params.h"
#include "vtab/table.h"

#define VT_SHAPE_ARGS_MAX 8
#define VT_SHAPE_COLUMNS_MAX 16
#define VT_SHAPE_LITERALS_MAX 1024 /* bytes of them */
_Static_assert(VT_SHAPE_ARGS_MAX + 1 <= VT_PARAMS_MAX,
              "LIMIT or a new value comes behind the arguments");

enum vt_shape_kind {
    VT_SHAPE_ROWS,   /* these columns of each row */
    VT_SHAPE_COUNT,  /* one row: how many there are */
    VT_SHAPE_DELETE, /* each row is removed */
    VT_SHAPE_UPDATE  /* ... gets a new value of one column */
};

/* A statement about rows of one table: everything that it asks is asked of the
 * table by its plan. */
struct vt_shape {
    enum vt_shape_kind kind;
    struct vt_table *table;
    unsigned plan;
    unsigned argc;         /* arguments of xFilter */
    struct vt_param param[VT_PARAMS_MAX]; /* those, then LIMIT, the new value */
    unsigned columns;
    uint8_t column[VT_SHAPE_COLUMNS_MAX]; /* of UPDATE the one */
    bool limited;          /* to so many rows: */
    bool limit_bound;      /* a parameter, or */
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
