/* point.h - statements that are no more than one lookup (point.c), rows of one
 * table (scan.h), or a change of strings (edit.h).
 *
 * Thread: the session's. */
#ifndef KVSQL_VTAB_POINT_H
#define KVSQL_VTAB_POINT_H

#include "vtab/edit.h"
#include "vtab/scan.h"

#define VT_POINT_COLUMNS_MAX 3

/* Beside each statement that may be one. */
struct vt_point {
    bool may;        /* it reads a table of data */
    bool ready;      /* it is a lookup, as long as the schema is this: */
    uint64_t schema; /* of the session, when it was judged */
    unsigned count;
    uint8_t column[VT_POINT_COLUMNS_MAX]; /* of the table strings */
    bool bound;        /* `key` is its parameter, and SQLite has none */
    struct kv_key key; /* beside the statement */
    struct kv_item item; /* of the row; lives as long as the pin */
    struct kv_val value;
    struct vt_scan *scan; /* or these rows, as long; NULL: no */
    struct vt_edit *edit; /* or this change */
};

/* Whether it is one, as the schema is now: then it is run by vt_point_read(). */
static inline bool vt_point_ready(const struct vt_session *session,
                                  const struct vt_point *point)
{
    return point->ready && point->schema == session->schema;
}
/* The same of rows: then it is run by vt_scan_start(). */
static inline bool vt_point_scans(const struct vt_session *session,
                                  const struct vt_point *point)
{
    return point->scan != NULL && point->schema == session->schema;
}
/* The same of a change, run by vt_edit_run(). */
static inline bool vt_point_edits(const struct vt_session *session,
                                  const struct vt_point *point)
{
    return point->edit != NULL && point->schema == session->schema;
}
/* Where its parameters are bound, if it is rows, or a change that can be made now,
 * and has some; else NULL. */
KV_INTERNAL struct vt_params *vt_point_params(const struct vt_session *session,
                                              const struct vt_point *point);
/* Find out which of them it is, if it is not known: compiles the text once more.
 * For who has found the statement among those that are kept; nothing runs.
 * KVSQL_NOMEM: the transaction was rolled back. */
KV_INTERNAL kvsql_rc vt_point_learn(struct vt_session *session,
                                    struct vt_point *point, sqlite3_stmt *stmt,
                                    struct kvsql_error *err) KV_MUST_USE;
enum vt_point_found {
    VT_POINT_NONE,  /* there is no row */
    VT_POINT_ROW,
    VT_POINT_SQLITE /* it is a row that SQLite must give */
};
/* Forget it. */
KV_INTERNAL void vt_point_forget(struct vt_point *point);
/* Look `key` up in the view of the statement, which is pinned. */
KV_INTERNAL kvsql_rc vt_point_read(struct vt_session *session,
                                   struct vt_point *point,
                                   enum vt_point_found *found,
                                   struct kvsql_error *err) KV_MUST_USE;
/* A column of the row, as vt_column() has it. */
KV_INTERNAL void vt_point_column(const struct vt_point *point, int column,
                                 struct vt_value *out);

#endif
