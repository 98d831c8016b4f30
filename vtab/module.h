/* module.h - what the modules of virtual tables share.
 *
 * Thread: the session's. */
#ifndef KVSQL_VTAB_MODULE_H
#define KVSQL_VTAB_MODULE_H

#include "vtab/state.h"

/* What SQLite is told about a table. */
#define VT_INNOCUOUS 1u   /* views and triggers of anyone may read it (WR8) */
#define VT_DIRECTONLY 2u  /* no view and no trigger may */
#define VT_CONSTRAINTS 4u /* it answers ON CONFLICT itself */

/* Declare a table (text NULL: NOMEM). What SQLite reads of its schema for that
 * is not read by the statement that is prepared. */
KV_INTERNAL int vt_declare_as(struct vt_session *session, const char *text);
/* The work of xConnect: declare the table and make *out, `size` bytes of zeros
 * that begin with a sqlite3_vtab; vt_disconnect() frees them.
 *
 * text   "CREATE TABLE x(...)", of sqlite3_malloc: taken, freed in any case.
 *        NULL: there was no memory for it.
 *
 * SQLite's code; when it is not SQLITE_OK there is nothing to free. */
KV_INTERNAL int vt_connect(struct vt_session *session, char *text,
                           unsigned flags, size_t size, sqlite3_vtab **out);
KV_INTERNAL int vt_disconnect(sqlite3_vtab *vtab);
/* The end of an xBestIndex: estimatedRows go into idxStr, where the session's
 * limits ask for it. SQLite's code. */
KV_INTERNAL int vt_plan_tell(const struct vt_session *session,
                             sqlite3_index_info *info);

/* The reading side of a table that never has a row. */
KV_INTERNAL int vt_empty_best_index(sqlite3_vtab *vtab,
                                    sqlite3_index_info *info);
KV_INTERNAL int vt_empty_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out);
KV_INTERNAL int vt_empty_close(sqlite3_vtab_cursor *cursor);
KV_INTERNAL int vt_empty_filter(sqlite3_vtab_cursor *cursor, int plan,
                                const char *text, int argc,
                                sqlite3_value **argv);
KV_INTERNAL int vt_empty_next(sqlite3_vtab_cursor *cursor);
KV_INTERNAL int vt_empty_eof(sqlite3_vtab_cursor *cursor);
KV_INTERNAL int vt_empty_column(sqlite3_vtab_cursor *cursor,
                                sqlite3_context *context, int column);
KV_INTERNAL int vt_empty_rowid(sqlite3_vtab_cursor *cursor,
                               sqlite3_int64 *rowid);

/* All of it, for the initializer of a module. */
#define VT_EMPTY_METHODS                                                      \
    .xBestIndex = vt_empty_best_index, .xOpen = vt_empty_open,                \
    .xClose = vt_empty_close, .xFilter = vt_empty_filter,                     \
    .xNext = vt_empty_next, .xEof = vt_empty_eof,                             \
    .xColumn = vt_empty_column, .xRowid = vt_empty_rowid

#endif
