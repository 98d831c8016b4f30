/* khash.h - kv_hash: the hashes under a pattern as rows of typed columns
 * (sql.md section 8).
 *
 * A table's definition is text; khash_def.c takes it apart, khash.c is the
 * module and reads rows, khash_write.c changes them, typed.c turns text into
 * typed values and back. Rows are found by the common plans and cursors
 * (table.h): the key column is the key without the pattern's prefix. */
#ifndef KVSQL_VTAB_KHASH_H
#define KVSQL_VTAB_KHASH_H

#include "vtab/table.h"

/* SQLite's affinity of a declared type; NONE is a column of BLOBs. */
enum vt_affinity {
    VT_AFFINITY_TEXT, VT_AFFINITY_NONE, VT_AFFINITY_NUMERIC,
    VT_AFFINITY_INTEGER, VT_AFFINITY_REAL
};

#define VT_KHASH_COLUMNS_MAX 200
#define VT_KHASH_NAME_MAX 1000 /* bytes of a column's name, or type */
/* Columns behind those of the definition. */
enum vt_khash_hidden {
    VT_KHASH_KEY, VT_KHASH_EXPIRES, VT_KHASH_EXTRA, VT_KHASH_HIDDEN
};

struct vt_khash_column {
    struct kv_key field; /* its name; ends with a NUL */
    char *type;          /* as it was written; "" */
    enum vt_affinity affinity;
};

struct vt_khash {
    struct vt_table table;
    struct vt_def def;
    struct vt_khash *next, **link; /* of the session */
    struct kv_key prefix;
    /* The first is the key column. */
    struct vt_khash_column column[VT_KHASH_COLUMNS_MAX];
    const char *label[VT_KHASH_COLUMNS_MAX + VT_KHASH_HIDDEN];
    int columns;
    char *name, *unique;
    char *text; /* the statement that makes it again */
    bool temp;  /* the session's alone, no definition of the store */
    bool stuck; /* SQLite did not drop it */
};

/* Take the arguments of CREATE VIRTUAL TABLE apart (argv as xCreate gets
 * them). SQLITE_ERROR: *error is a sentence. What is made belongs to `khash`,
 * also then. */
KV_INTERNAL int vt_khash_define(struct vt_khash *khash, int argc,
                                const char *const *argv, char **error);
KV_INTERNAL void vt_khash_undefine(struct vt_khash *khash);

/* Column of the row `item`; its bytes may be in *elem. Not SQLITE_OK: no
 * memory, or interrupted. */
KV_INTERNAL int vt_khash_cell(struct vt_khash *khash, const struct kv_at *at,
                              const struct kv_item *item, int column,
                              struct kv_elem *elem, struct vt_cell *cell);

/* Texts, sqlite3_free(); NULL: no memory. */
KV_INTERNAL char *vt_khash_text(int argc, const char *const *argv);
KV_INTERNAL char *vt_khash_view(const struct vt_khash *khash);
/* The statement that runs makes the table, or drops it (defs.c). */
KV_INTERNAL int vt_defs_note(struct vt_session *session,
                             const struct vt_khash *khash, bool drop);

KV_INTERNAL int vt_khash_insert(struct vt_write *write);
KV_INTERNAL int vt_khash_update(struct vt_write *write);
KV_INTERNAL int vt_khash_remove(struct vt_write *write);

/* ---- typed values (typed.c) ----------------------------------------------- */

/* The affinity of a declared type, as SQLite finds it; without a type TEXT. */
KV_INTERNAL enum vt_affinity vt_affinity_of(const char *type);
/* What a column of a native table would hold after the bytes were stored in
 * it. */
KV_INTERNAL int vt_typed_cell(struct vt_session *session,
                              enum vt_affinity affinity,
                              const struct kv_val *val, struct vt_cell *cell);
/* Bytes that read as the value; it is not NULL. */
KV_INTERNAL int vt_typed_input(struct vt_session *session,
                               enum vt_affinity affinity, sqlite3_value *value,
                               struct vt_input *input);
/* Whether a cell holds the value. */
KV_INTERNAL bool vt_typed_same(const struct vt_cell *cell,
                               sqlite3_value *value);

#endif
