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

/* INDEX(column, ...), UNIQUE(column, ...): the entries that the store keeps for
 * it. */
#define VT_KHASH_INDEXES_MAX 16
struct vt_khash_index {
    int columns;
    int column[KV_INDEX_COLUMNS_MAX];
    unsigned flags;   /* enum kv_index_flag */
    struct kv_buf id; /* its name in the store */
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
    struct vt_khash_index index[VT_KHASH_INDEXES_MAX];
    int indexes;
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

/* Append what index i is made of (kv_index_id). */
KV_INTERNAL void vt_khash_spec(const struct vt_khash *khash, int i,
                               struct kv_buf *out);

/* Whether a column is declared TEXT, or is so without a type. */
KV_INTERNAL bool vt_khash_is_text(const struct vt_khash *khash, int column);
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

/* The row under the key was written: no other one may have its values in an
 * index that is UNIQUE; with OR REPLACE those are removed (khash_unique.c). */
KV_INTERNAL int vt_khash_unique(struct vt_write *write,
                                const struct kv_key *key);
KV_INTERNAL int vt_khash_insert(struct vt_write *write);
KV_INTERNAL int vt_khash_update(struct vt_write *write);
KV_INTERNAL int vt_khash_remove(struct vt_write *write);

/* ---- typed values (typed.c) ----------------------------------------------- */

/* The affinity of a declared type, as SQLite finds it; without a type TEXT. */
KV_INTERNAL enum vt_affinity vt_affinity_of(const char *type);
/* What a column of a native table would hold after the bytes were stored in
 * it. */
KV_INTERNAL int vt_typed_cell(struct vt_reals *reals, enum vt_affinity affinity,
                              const struct kv_val *val, struct vt_cell *cell);
/* The same for an index; it points to what the cell points to. */
KV_INTERNAL void vt_typed_datum(const struct vt_cell *cell,
                                struct kv_datum *datum);
/* Bytes that read as the value; it is not NULL. */
KV_INTERNAL int vt_typed_input(struct vt_reals *reals,
                               enum vt_affinity affinity, sqlite3_value *value,
                               struct vt_input *input);
/* Whether a cell holds the value. */
KV_INTERNAL bool vt_typed_same(const struct vt_cell *cell,
                               sqlite3_value *value);

/* ---- rows by an index (khash_plan.c, seek.c, khash_rows.c) ------------------ */

/* The bits of idxNum with VT_PLAN_KEY_INDEX: the number of the index, how many
 * of its columns are compared for equality, what comes behind them. In this
 * order the arguments come. */
enum vt_seek_bit {
    VT_SEEK_NUMBER = 15,       /* mask */
    VT_SEEK_EQUAL = 15 << 4,   /* mask: columns that are equal to something */
    VT_SEEK_IN = 1 << 8,       /* the next one is one of a list */
    VT_SEEK_LO = 1 << 9,       /* ... or in a range */
    VT_SEEK_LO_OPEN = 1 << 10,
    VT_SEEK_HI = 1 << 11,
    VT_SEEK_HI_OPEN = 1 << 12,
    VT_SEEK_HI_KNOWN = 1 << 13,
    VT_SEEK_SORT = 1 << 14,    /* rows in the order of what follows EQUAL */
    VT_SEEK_IS = 255 << 15,    /* mask of those compared by IS: NULL is one */
    VT_SEEK_DESC = VT_PLAN_KEY_DESC,
    VT_SEEK_COVER = VT_PLAN_NO_KEY /* the columns of the index are enough */
};
#define VT_SEEK_EQUAL_SHIFT 4
#define VT_SEEK_IS_SHIFT 15

/* Intervals of entries, ascending and disjoint: lo <= entry < hi, bytes. */
struct vt_arm_bytes {
    size_t lo, lo_size, hi, hi_size; /* places in `bytes` */
};
struct vt_seek_row;
struct vt_seek {
    struct vt_khash *khash;
    const struct vt_khash_index *index;
    unsigned bits;
    bool loose; /* a superset that is not in the order of what follows EQUAL */
    int fixed_columns; /* values that all entries begin with, and their bytes */
    size_t fixed;
    struct kv_buf bytes, scratch;
    struct vt_arm_bytes *arms;
    unsigned count, cap;
    unsigned arm;   /* the next one */
    bool walking;
    struct kv_buf text; /* the key of the row */
    struct kv_key key;
    bool covers;        /* rows are not looked up until they have to be ... */
    struct kv_key entry; /* ... but read from this */
    int parsed;          /* values from fixed_columns on begin there; -1: none */
    size_t place[KV_INDEX_COLUMNS_MAX + 1];
    /* Rows that were collected and sorted (khash_rows.c). */
    struct vt_seek_row *rows;
    size_t row_count, row_cap, row;
    struct kv_buf pile;
    bool piled;
};
KV_INTERNAL void vt_seek_init(struct vt_seek *seek);
/* Anew, for this plan. */
KV_INTERNAL void vt_seek_begin(struct vt_seek *seek, struct vt_khash *khash,
                               unsigned bits);
KV_INTERNAL void vt_seek_fini(struct vt_seek *seek);
/* The intervals that the arguments say. `bound`, `text`: see struct vt_set.
 * Also with values known at prepare, where no IN can be. */
KV_INTERNAL int vt_seek_arms(struct vt_seek *seek, bool bound, bool text,
                             sqlite3_value **argv);
/* Entries in the intervals. */
KV_INTERNAL uint64_t vt_seek_count(const struct vt_seek *seek,
                                   const struct kv_at *at,
                                   const struct kv_item *entries);
/* A column of the row from its entry; false: it is read from the hash, which
 * has been looked up. */
KV_INTERNAL bool vt_seek_cell(struct vt_cursor *cursor, int column,
                              struct vt_cell *cell);
/* The same straight to SQLite, for a row that no change can reach. False,
 * nothing done: it is for vt_seek_cell(). */
KV_INTERNAL bool vt_seek_result(struct vt_cursor *cursor, int column,
                                sqlite3_context *context);
/* Read by an index where that is better than what vt_plan() said. */
KV_INTERNAL int vt_khash_plan(struct vt_khash *khash, sqlite3_index_info *info);

#endif
