/* scan.h - statements that are the rows of one table, or their number (scan.c).
 *
 * Thread: the session's. */
#ifndef KVSQL_VTAB_SCAN_H
#define KVSQL_VTAB_SCAN_H

#include "vtab/program.h"

struct vt_scan;

/* Of a statement that has this shape, as long as the schema is what it is. NULL:
 * no memory. */
KV_INTERNAL struct vt_scan *vt_scan_new(struct vt_session *session,
                                        const struct vt_shape *shape);
KV_INTERNAL void vt_scan_free(struct vt_scan *scan);
/* Where its parameters are bound, instead of in the statement. */
KV_INTERNAL struct vt_params *vt_scan_params(struct vt_scan *scan);

/* Begin, outside of a write transaction. *can false: nothing has happened, and
 * SQLite must run the statement. When it is true, and also when this fails,
 * vt_scan_end() comes before the view goes. */
KV_INTERNAL kvsql_rc vt_scan_start(struct vt_scan *scan, bool *can,
                                   struct kvsql_error *err) KV_MUST_USE;
/* *row: there is one more. */
KV_INTERNAL kvsql_rc vt_scan_next(struct vt_scan *scan, bool *row,
                                  struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void vt_scan_end(struct vt_scan *scan);
/* A column of the row, as vt_column() has it; lives until the next one. */
KV_INTERNAL void vt_scan_column(const struct vt_scan *scan, int column,
                                struct vt_value *out);

#endif
