/* edit.h - strings changed or removed by their keys without SQLite (edit.c).
 *
 * Thread: the session's; it holds the store lock inside vt_edit_run() (VS1). */
#ifndef KVSQL_VTAB_EDIT_H
#define KVSQL_VTAB_EDIT_H

#include "vtab/program.h"

struct vt_edit;

/* Whether a change of this shape can be made here at all. */
KV_INTERNAL bool vt_edit_fits(const struct vt_shape *shape);
/* Of one that can, as long as the schema is what it is. NULL: no memory. */
KV_INTERNAL struct vt_edit *vt_edit_new(struct vt_session *session,
                                        const struct vt_shape *shape);
KV_INTERNAL void vt_edit_free(struct vt_edit *edit);
/* Where its parameters are bound, instead of in the statement. */
KV_INTERNAL struct vt_params *vt_edit_params(struct vt_edit *edit);

/* Whether it could be made now: the session may write, nobody reads or counts. */
KV_INTERNAL bool vt_edit_may(const struct vt_edit *edit);
/* Make the change: *changes is what changes() gives then. Outside of a transaction
 * it is committed. *done false: nothing has changed, and SQLite must run the
 * statement, which makes it or says what stands in the way. What begins a
 * transaction for it fails as for SQLite (2.6), and then the statement has. */
KV_INTERNAL kvsql_rc vt_edit_run(struct vt_edit *edit, bool *done,
                                 int64_t *changes,
                                 struct kvsql_error *err) KV_MUST_USE;

/* ---- counts (counts.c) -------------------------------------------------------- */

/* SQLite counts its own changes alone. The last statement changed so many rows
 * without it. */
KV_INTERNAL void vt_count_own(struct vt_session *session, int64_t changes);
/* A statement that is compiled may ask for the counts, or a view or trigger of it
 * may: from here on all changes are SQLite's. */
KV_INTERNAL void vt_count_asked(struct vt_session *session);
/* ... once the counts of SQLite have been told what it has missed, before the next
 * statement begins. Nothing else of the session runs. KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc vt_count_settle(struct vt_session *session,
                                     struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL int vt_count_register(struct vt_session *session);

#endif
