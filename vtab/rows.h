/* rows.h - rows that were made before they are read (rows.c).
 *
 * Those who fill them see vt_row() and its kin in session.h. */
#ifndef KVSQL_VTAB_ROWS_H
#define KVSQL_VTAB_ROWS_H

#include "kvsql/base/buf.h"
#include "vtab/session.h"
#include "vtab/sqlite.h"

struct vt_rows {
    unsigned columns; /* of each row */
    unsigned column;  /* the next one of the row that is being made */
    uint64_t count;   /* rows */
    struct kv_buf cells, bytes;
};

struct vt_value_at {
    enum vt_value_kind kind;
    unsigned cls;
    int64_t integer;
    double real;
    const uint8_t *p;
    size_t size;
};

KV_INTERNAL void vt_rows_init(struct vt_rows *rows, unsigned columns);
KV_INTERNAL void vt_rows_fini(struct vt_rows *rows);
/* Something did not fit: no memory. */
KV_INTERNAL bool vt_rows_failed(const struct vt_rows *rows);
/* p lives until the rows change. */
KV_INTERNAL void vt_rows_get(const struct vt_rows *rows, uint64_t row,
                             unsigned column, struct vt_value_at *out);
/* Replace a value that was written. */
KV_INTERNAL void vt_rows_set_int(struct vt_rows *rows, uint64_t row,
                                 unsigned column, int64_t integer);
/* The same as get, to SQLite, as a copy. */
KV_INTERNAL void vt_rows_result(const struct vt_rows *rows, uint64_t row,
                                unsigned column, sqlite3_context *context);

#endif
