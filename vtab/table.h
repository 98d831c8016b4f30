/* table.h - the data tables: one driver, one descriptor for each of them.
 *
 * Each table is two nested loops: over keys, and over the elements of a key
 * (keys and strings have none). plan.c says which part of each loop a query
 * wants, cursor.c walks, table.c speaks to SQLite, t_<table>.c knows what a
 * column holds and what a changed row means. */
#ifndef KVSQL_VTAB_TABLE_H
#define KVSQL_VTAB_TABLE_H

#include "vtab/value.h"

/* How elements are found and ordered. */
enum vt_elem_kind { VT_ELEM_NONE, VT_ELEM_KEY, VT_ELEM_INDEX };

/* What one column of the current row holds. */
enum vt_cell_kind {
    VT_CELL_NULL, VT_CELL_INT, VT_CELL_REAL, VT_CELL_BYTES,
    VT_CELL_FAILED /* `integer` is SQLite's code */
};
struct vt_cell {
    enum vt_cell_kind kind;
    unsigned cls;
    int64_t integer;
    double real;
    const uint8_t *p;
    size_t size;
    bool keep;  /* p lives in the view, as long as it is pinned */
    bool owned; /* p is sqlite3_malloc'ed and goes to SQLite */
};

struct vt_table;
struct vt_cursor;
struct vt_write;

struct vt_def {
    const char *name;
    enum kv_type type; /* KV_NONE: keys of all types */
    enum vt_elem_kind elem;
    /* Columns that plans use; -1 where there is none. */
    int col_elem, col_score, col_rank, col_expires, col_id;
    int columns;
    int col_plain; /* the value of a string, or 0 */
    uint64_t keyless; /* bits: columns that an item has without its key */
    const char *elem_name, *unique; /* "field"; "hashes.key, hashes.field" */
    /* Declared tables; NULL of those in columns.def. */
    const struct kv_key *prefix; /* column 0 is the key behind it */
    const char *const *labels;   /* names of the columns */
    void (*column)(struct vt_cursor *cursor, int column, struct vt_cell *cell);
    int (*insert)(struct vt_write *write);
    int (*update)(struct vt_write *write);
    int (*remove)(struct vt_write *write);
};
KV_INTERNAL_DATA const struct vt_def vt_keys_def;
KV_INTERNAL_DATA const struct vt_def vt_strings_def;
KV_INTERNAL_DATA const struct vt_def vt_hashes_def;
KV_INTERNAL_DATA const struct vt_def vt_lists_def;
KV_INTERNAL_DATA const struct vt_def vt_sets_def;
KV_INTERNAL_DATA const struct vt_def vt_zsets_def;

struct vt_table {
    sqlite3_vtab base;
    struct vt_session *session;
    const struct vt_def *def; /* NULL: kv_exec */
    bool joined; /* between xBegin and xCommit or xRollback */
    struct vt_table *next, **link; /* of session->tables */
};

/* It is connected, and known to its session until it goes. */
KV_INTERNAL void vt_table_enter(struct vt_table *table);
KV_INTERNAL void vt_table_leave(struct vt_table *table);

/* Whether a column is declared TEXT. */
KV_INTERNAL bool vt_table_text(const struct vt_table *table, int column);
/* What every module whose tables are struct vt_table has in common. */
KV_INTERNAL void vt_table_methods(sqlite3_module *module);
KV_INTERNAL int vt_table_begin(sqlite3_vtab *vtab);
KV_INTERNAL int vt_table_sync(sqlite3_vtab *vtab);
KV_INTERNAL int vt_table_commit(sqlite3_vtab *vtab);
KV_INTERNAL int vt_table_rollback(sqlite3_vtab *vtab);
KV_INTERNAL int vt_table_savepoint(sqlite3_vtab *vtab, int n);
KV_INTERNAL int vt_table_release(sqlite3_vtab *vtab, int n);
KV_INTERNAL int vt_table_rollback_to(sqlite3_vtab *vtab, int n);

/* ---- plans: the bits of idxNum (PL7) ---------------------------------------- */

/* Of the key; shifted by VT_PLAN_ELEM for the element. In this order the
 * arguments come, keys first. */
enum vt_plan_part {
    VT_PLAN_EQ = 1,
    VT_PLAN_IN = 2,
    VT_PLAN_LO = 4,
    VT_PLAN_LO_OPEN = 8,
    VT_PLAN_HI = 16,
    VT_PLAN_HI_OPEN = 32,
    VT_PLAN_HI_KNOWN = 64,
    VT_PLAN_GLOB = 128,
    VT_PLAN_LIKE = 256
};
#define VT_PLAN_ELEM 9
enum vt_plan_bit {
    VT_PLAN_KEY_RANK = 1 << 18,   /* the key part speaks of rank */
    VT_PLAN_KEY_TIME = 1 << 19,   /* ... of expires_at */
    VT_PLAN_ELEM_SCORE = 1 << 20, /* the element part speaks of score */
    VT_PLAN_ELEM_RANK = 1 << 21,  /* ... of rank */
    VT_PLAN_BY_SCORE = 1 << 22,   /* walk a zset in score order */
    VT_PLAN_KEY_DESC = 1 << 23,
    VT_PLAN_ELEM_DESC = 1 << 24,
    VT_PLAN_UNIQUE = 1 << 25,     /* SQLite looks at one row only (PL5) */
    VT_PLAN_MERGE = 1 << 26,      /* elements in order across equal keys */
    VT_PLAN_FIRST = 1 << 27,      /* one row for each key will do */
    VT_PLAN_BARE = VT_PLAN_FIRST, /* no elements: no column is asked for */
    VT_PLAN_BOUND = 1 << 28,      /* a parameter may be compared as a number */
    VT_PLAN_TEXT = 1 << 29,       /* nothing is compared as a number (PL6) */
    VT_PLAN_NO_KEY = 1 << 30      /* the key of a row is never asked for */
};
/* The idxNum of rows found by an index of a declared table: other bits mean
 * what khash.h says, from VT_PLAN_BOUND on what is here. */
#define VT_PLAN_KEY_INDEX (1u << 31)
KV_INTERNAL int vt_plan(struct vt_table *table, sqlite3_index_info *info);

/* ---- cursors ------------------------------------------------------------------ */

struct vt_seek;  /* entries of an index (khash_rows.c) */
struct vt_due;   /* keys with a deadline, in order of it (due.c) */
struct vt_group; /* keys that were looked up together (cursor.c) */

/* One of several equal keys whose elements are merged. */
struct vt_arm;
#define VT_SOUGHT_MAX 40

struct vt_cursor {
    sqlite3_vtab_cursor base;
    struct vt_cursor *next, **link; /* of the session's open cursors */
    struct vt_table *table;
    struct kv_at at;
    struct vt_snap *snap;
    bool eof, aborted;
    bool copy;   /* VS3: hand out copies */
    bool live;   /* one entry of the live tree: settle before a change */
    bool single; /* one lookup of a key */
    unsigned plan;
    unsigned steps;

    /* The loop over keys. */
    struct vt_set keys;
    unsigned key_range;
    struct kv_key key_glob;
    struct vt_due *due;
    struct vt_seek *seek; /* kept for the next filter, also by spare cursors */
    bool seeking;         /* rows come from it */
    bool covering;        /* ... from entries alone, in a view */
    const struct kv_key *key; /* of the current row: of walk, a lookup, due */
    const struct kv_item *item;
    struct kv_item looked_up;
    struct kv_key sought; /* `single`; in the bytes, if it is short */
    uint8_t sought_bytes[VT_SOUGHT_MAX];
    struct vt_group *group; /* keys of a list, looked up together */
    bool walking;
    bool quick; /* rows follow from kv_keys_next() with few questions asked */
    bool keyless; /* ... or from kv_keys_next_item() */
    bool counting; /* ... or a leaf's strings at once by kv_keys_run() */
    uint32_t left; /* of those, rows not given yet */
    int give;     /* `col_plain`, where its bytes may be handed out; or 0 */
    bool plain;   /* rows may be stepped on without a look at them */
    bool lazy;    /* ... and are, as the row before was not looked at */
    bool stale;   /* ... and so were: key and item are not filled yet */
    bool asked;   /* more than the key and `col_plain` was asked of this row */
    bool ended;   /* kv_keys_end() knows the upper bound of this interval */
    unsigned run; /* rows compared with it so far */
    struct kv_keys walk;

    /* The loop over elements of `*item`. */
    struct vt_set elems;
    unsigned elem_range;
    struct kv_key elem_glob;
    struct vt_span span;        /* idx or rank */
    struct vt_scores scores;
    int64_t *points;            /* idx IN (...), ascending */
    unsigned point_count, point;
    int64_t place, place_end;   /* position in span, running */
    bool by_place, elem_walking;
    const struct kv_elem *elem; /* current */
    struct kv_elem found;
    struct kv_elems elem_walk;
    struct vt_arm *arms;
    unsigned arm_count, arm;

    struct vt_cell *settled; /* the row, when it was saved from a change */
};

KV_INTERNAL void vt_cursor_init(struct vt_cursor *cursor);
KV_INTERNAL void vt_cursor_fini(struct vt_cursor *cursor);
/* Start over with a plan and its arguments. */
KV_INTERNAL int vt_cursor_filter(struct vt_cursor *cursor, unsigned plan,
                                 int argc, sqlite3_value **argv);
KV_INTERNAL int vt_cursor_next(struct vt_cursor *cursor);
/* What SQLite calls, for who walks without it (table.c): a cursor of the table,
 * NULL: no memory; its next row; a column of the row, whose bytes live until the
 * cursor is asked for another column or row, unless `keep`; the end. */
KV_INTERNAL struct vt_cursor *vt_cursor_open(struct vt_table *table);
KV_INTERNAL int vt_cursor_step(struct vt_cursor *cursor);
KV_INTERNAL void vt_cursor_cell(struct vt_cursor *cursor, int column,
                                struct vt_cell *cell);
KV_INTERNAL void vt_cursor_close(struct vt_cursor *cursor);
/* Arguments into sets and spans (args.c). */
KV_INTERNAL int vt_cursor_args(struct vt_cursor *cursor, int argc,
                               sqlite3_value **argv);
/* Merged arms (merge.c): elements of several equal keys in one order. */
KV_INTERNAL int vt_merge_start(struct vt_cursor *cursor);
KV_INTERNAL int vt_merge_next(struct vt_cursor *cursor);
KV_INTERNAL void vt_merge_free(struct vt_cursor *cursor);
/* Keys by deadline (due.c). */
KV_INTERNAL int vt_due_start(struct vt_cursor *cursor);
KV_INTERNAL int vt_due_next(struct vt_cursor *cursor, bool *found);
KV_INTERNAL void vt_due_free(struct vt_cursor *cursor);

/* Rows by an index: its arguments, then rows (khash_rows.c). */
KV_INTERNAL int vt_seek_args(struct vt_cursor *cursor, unsigned plan,
                             sqlite3_value **argv);
KV_INTERNAL int vt_seek_start(struct vt_cursor *cursor);
KV_INTERNAL int vt_seek_next(struct vt_cursor *cursor, bool *found);
/* No rows come from it any more; its memory stays, if it is little. */
KV_INTERNAL void vt_seek_end(struct vt_cursor *cursor);
KV_INTERNAL void vt_seek_free(struct vt_cursor *cursor);

/* Behind the interval, in the direction of the walk? */
static inline bool vt_range_behind(const struct vt_range *range,
                                   const struct kv_key *key, bool desc)
{
    int order;

    if (desc) {
        if (!range->has_lo) return false;
        order = kv_key_compare(key, &range->lo);
        return order < 0 || (order == 0 && range->lo_open);
    }
    if (!range->has_hi) return false;
    order = kv_key_compare(key, &range->hi);
    return order > 0 || (order == 0 && range->hi_open);
}
static inline struct kv_key vt_val_key(const struct kv_val *val)
{
    return (struct kv_key){val->p, val->size, val->cls};
}
/* idx IN (...). */
static inline bool vt_cursor_by_points(const struct vt_cursor *cursor)
{
    return cursor->table->def->elem == VT_ELEM_INDEX &&
           cursor->plan & (unsigned)VT_PLAN_IN << VT_PLAN_ELEM;
}
/* Whether a key or element is matched by the rest of a pattern, p NULL: there
 * is none. *rc: the statement ends. */
KV_INTERNAL bool vt_cursor_glob(struct vt_cursor *cursor,
                                const struct kv_key *pattern,
                                const struct kv_key *key, int *rc);

/* Place elem_walk of `cursor` on the first element of `item` that the plan
 * wants, in its direction, and go on from there; false: none is left. */
KV_INTERNAL bool vt_elem_first(struct vt_cursor *cursor, int *rc);
KV_INTERNAL bool vt_elem_next(struct vt_cursor *cursor, int *rc);

/* Every open cursor of the session: end those that read the batch (UN4); save
 * the rows of those that stand on one entry of the live tree. */
KV_INTERNAL void vt_cursors_abort(struct vt_session *session);
KV_INTERNAL bool vt_cursors_settle(struct vt_session *session);

/* Rows of a failed loop. */
KV_INTERNAL int vt_cursor_nomem(struct vt_cursor *cursor);
KV_INTERNAL int vt_cursor_interrupted(struct vt_cursor *cursor);
/* True when a long loop must end; counts its calls. */
static inline bool vt_cursor_stop(struct vt_cursor *cursor)
{
    return ++cursor->steps % VT_CHECK_EVERY == 0 &&
           vt_cancelled(cursor->table->session);
}

/* ---- cells ------------------------------------------------------------------------ */

KV_INTERNAL void vt_cell_int(struct vt_cell *cell, int64_t value);
/* 0 is NULL. */
KV_INTERNAL void vt_cell_time(struct vt_cell *cell, int64_t wall_ms);
KV_INTERNAL void vt_cell_text(struct vt_cell *cell, const char *literal);
KV_INTERNAL void vt_cell_val(struct vt_cell *cell, const struct kv_val *val);
KV_INTERNAL void vt_cell_key(struct vt_cursor *cursor, struct vt_cell *cell);
KV_INTERNAL void vt_cell_failed(struct vt_cell *cell, int code);
/* _id of the current row: varint size of the key, key, element (index as 8
 * bytes, highest first, so that byte order is row order). */
KV_INTERNAL void vt_cell_id(struct vt_cursor *cursor, struct vt_cell *cell);

/* ---- writes ------------------------------------------------------------------------- */

struct vt_write {
    struct vt_table *table;
    struct vt_session *session;
    struct kv_txn *txn;
    struct kv_at at; /* the live tree */
    sqlite3_value *old_key, *new_key; /* argv[0], argv[1]; NULL of INSERT */
    sqlite3_value **column;           /* argv + 2 */
    bool replace;                     /* OR REPLACE */
    struct kvsql_error err;
};

/* The column was given and is not NULL. */
KV_INTERNAL bool vt_given(struct vt_write *write, int column);
/* The column of an UPDATE that was not named in SET. */
KV_INTERNAL bool vt_untouched(struct vt_write *write, int column);
/* Bytes of a NOT NULL column. */
KV_INTERNAL int vt_take_bytes(struct vt_write *write, int column,
                              struct vt_input *input);
/* Wall ms, 0 = NULL. */
KV_INTERNAL int vt_take_time(struct vt_write *write, int column, int64_t *out);
/* A deadline that has come. */
KV_INTERNAL bool vt_time_past(struct vt_write *write, int64_t wall_ms);
/* Key and element of a packed _id. */
KV_INTERNAL int vt_take_id(struct vt_write *write, struct kv_key *key,
                           struct kv_key *elem);
/* _id in INSERT, or changed in UPDATE, is refused. */
KV_INTERNAL int vt_refuse_id(struct vt_write *write);
/* Look the key up: *found; WRONGTYPE unless it is of the table's type. */
KV_INTERNAL int vt_take_item(struct vt_write *write, const struct kv_key *key,
                             struct kv_item *item, bool *found);
/* A number to add: *real tells which of the two. */
KV_INTERNAL int vt_take_number(struct vt_write *write, int column, bool *real,
                               int64_t *integer, double *number);
/* What a command column said, for kv_last(): as its command says it (SB2).
 * Without memory it is forgotten. */
KV_INTERNAL void vt_say(struct vt_write *write, const struct vt_reply *reply);
/* The same of a sum that vt_take_sum() made. */
KV_INTERNAL void vt_say_sum(struct vt_write *write, int incr, const char *sum,
                            size_t size);
/* value + the number of command column `incr`, as INCRBY or INCRBYFLOAT. */
#define VT_SUM_MAX KV_DOUBLE_TEXT_MAX
KV_INTERNAL int vt_take_sum(struct vt_write *write, int incr,
                            const struct kv_val *value, char out[VT_SUM_MAX],
                            size_t *size);
KV_INTERNAL int vt_duplicate(struct vt_write *write);
KV_INTERNAL int vt_missing(struct vt_write *write, int column);
KV_INTERNAL int vt_refuse(struct vt_write *write, const char *format, ...)
    KV_PRINTF(2, 3);
/* The result of an effect. */
KV_INTERNAL int vt_done(struct vt_write *write, kvsql_rc rc);
KV_INTERNAL const char *vt_column_label(const struct vt_def *def, int column);
/* A new value of the string under the key; or the string is removed. *found: there
 * is one. Of `write`, table, session, txn and at are set. */
KV_INTERNAL int vt_strings_change(struct vt_write *write,
                                  const struct kv_key *key, kvsql_slice value,
                                  bool *found);
KV_INTERNAL int vt_strings_remove(struct vt_write *write,
                                  const struct kv_key *key, bool *found);

#endif
