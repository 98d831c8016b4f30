/* dbfile.h - rows of a statement as an SQLite file, made in memory.
 *
 *   vt_dbfile_open(statement, &file, &err)   its columns become a table
 *   vt_dbfile_row(file, &err)                for each row, before the next step
 *   vt_dbfile_bytes(file, out, &err)         the whole file
 *   vt_dbfile_close(file)                    always
 *
 * Thread: the session's. */
#ifndef KVSQL_VTAB_DBFILE_H
#define KVSQL_VTAB_DBFILE_H

#include "kvsql/base/buf.h"
#include "vtab/session.h"

struct vt_dbfile;

/* An empty table "result" with the statement's columns; of several of one name
 * the later ones are "name:1", "name:2" and so on. The statement must outlive
 * the file. *file is NULL on failure. NOMEM; INVALID: it has no columns. */
KV_INTERNAL kvsql_rc vt_dbfile_open(const struct vt_statement *statement,
                                    struct vt_dbfile **file,
                                    struct kvsql_error *err) KV_MUST_USE;
/* The row that the statement stands on. NOMEM; TOOBIG: over SQLite's limit. */
KV_INTERNAL kvsql_rc vt_dbfile_row(struct vt_dbfile *file,
                                   struct kvsql_error *err) KV_MUST_USE;
/* Append the bytes of the file, which gets no more rows. NOMEM, TOOBIG: `out`
 * has no room. */
KV_INTERNAL kvsql_rc vt_dbfile_bytes(struct vt_dbfile *file,
                                     struct kv_buf *out,
                                     struct kvsql_error *err) KV_MUST_USE;
/* NULL is fine. */
KV_INTERNAL void vt_dbfile_close(struct vt_dbfile *file);

#endif
