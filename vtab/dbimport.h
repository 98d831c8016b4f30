/* dbimport.h - the portable tables of an SQLite file, read with suspicion (P8).
 *
 *   vt_dbimport_open(path, &file, &err)        checks the file as a whole
 *   vt_dbimport_define(file, &def, &err)       its declared tables, one a call
 *   vt_dbimport_next(file, &row, &err)         its elements, a key's together
 *   vt_dbimport_again(file, &err)              back to the first of both
 *   vt_dbimport_close(file)                    always
 *
 * The file is a snapshot, or any other that has some of the tables `keys`,
 * `strings`, `hashes`, `lists`, `sets`, `zsets`, `kv_schema`; docs/FORMATS.md
 * ("A file to import") says which columns they need. It is never written to.
 *
 * Thread: the owner's. Cost: memory for one row; SQLite sorts what has no
 * index in the order of the store. */
#ifndef KVSQL_VTAB_DBIMPORT_H
#define KVSQL_VTAB_DBIMPORT_H

#include "kvsql/inside.h"

struct vt_dbimport;

/* Bytes live until the next call. */
struct vt_dbimport_row {
    enum kv_type type;  /* KV_NONE behind the last row */
    kvsql_slice key;
    bool first;         /* of the key */
    int64_t expires_at; /* of the key, ms; 0 never */
    kvsql_slice name;   /* field or member */
    kvsql_slice value;  /* string, value of a field, element of a list */
    double score;       /* never NaN */
    int64_t field_expires_at; /* ms; 0 never */
};

struct vt_dbimport_def {
    kvsql_slice name; /* p NULL behind the last */
    kvsql_slice sql;  /* CREATE VIRTUAL TABLE .. USING kv_hash(..) */
};

/* IO, NOMEM; CORRUPT: SQLite finds fault with it; INVALID: it has none of the
 * tables, or one of them in another form; NEWER: a snapshot of a later format,
 * or one with streams. *file is NULL then. Reads the whole file. */
KV_INTERNAL kvsql_rc vt_dbimport_open(const char *path,
                                      struct vt_dbimport **file,
                                      struct kvsql_error *err) KV_MUST_USE;
/* INVALID: the row is none that a store can have; err names table, row and
 * key. CORRUPT, IO, NOMEM. */
KV_INTERNAL kvsql_rc vt_dbimport_define(struct vt_dbimport *file,
                                        struct vt_dbimport_def *def,
                                        struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc vt_dbimport_next(struct vt_dbimport *file,
                                      struct vt_dbimport_row *row,
                                      struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void vt_dbimport_again(struct vt_dbimport *file);
/* Elements in all tables, and those read since the first. */
KV_INTERNAL uint64_t vt_dbimport_rows(const struct vt_dbimport *file);
KV_INTERNAL uint64_t vt_dbimport_read(const struct vt_dbimport *file);
/* NULL is fine. */
KV_INTERNAL void vt_dbimport_close(struct vt_dbimport *file);

#endif
