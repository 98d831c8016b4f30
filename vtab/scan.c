/* scan.c - a statement that gives rows of one table is run without SQLite's
 * machine.
 *
 *   SELECT id, age FROM users WHERE city = ? ORDER BY age DESC LIMIT 10
 *
 * program.c has found that it is no more than a plan of the table, its columns,
 * and perhaps a LIMIT or count(*). So the table's own cursor, which SQLite would
 * drive, is driven here: between two rows SQLite takes ten times as long as the
 * cursor does.
 *
 * Values of a row lie in the view, or in the cursor until its next step; what is
 * made for a column is copied beside the scan.
 *
 * Always true:
 *   SC1  cursor != NULL only between vt_scan_start() and vt_scan_end(), and then
 *        the session's statement is the one of this scan, which holds the view.
 *
 * Thread: the session's. */
#include "vtab/scan.h"

#include <string.h>

#define SCAN_CHECK_EVERY 64 /* rows between looks at the clock */
#define SCAN_KEEP 4096      /* bytes of a row that wait for the next statement */

struct vt_scan {
    struct vt_session *session;
    struct vt_table *table;
    unsigned plan, argc;
    bool counts;
    unsigned columns;
    uint8_t column[VT_SHAPE_COLUMNS_MAX];
    bool limited, limit_bound; /* LIMIT; of a parameter */
    int64_t limit;
    struct vt_params params; /* arguments, then LIMIT */
    struct vt_cursor *cursor;
    int64_t left;   /* rows to come, if it is limited; below 0: all */
    bool first;     /* the cursor stands on a row that was not given */
    bool done;
    unsigned steps; /* since the last look at the clock */
    struct kv_buf row;
    struct vt_value value[VT_SHAPE_COLUMNS_MAX];
};

/* ---- life -------------------------------------------------------------------- */

struct vt_scan *vt_scan_new(struct vt_session *session,
                            const struct vt_shape *shape)
{
    struct vt_scan *scan = kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*scan));

    if (scan == NULL) return NULL;
    scan->session = session;
    scan->table = shape->table;
    scan->plan = shape->plan;
    scan->argc = shape->argc;
    scan->counts = shape->kind == VT_SHAPE_COUNT;
    scan->columns = scan->counts ? 1 : shape->columns;
    memcpy(scan->column, shape->column, sizeof(scan->column));
    scan->limited = shape->limited;
    scan->limit_bound = shape->limit_bound;
    scan->limit = shape->limit;
    kv_buf_init(&scan->row, KV_MEM_CLIENT, KVSQL_VALUE_MAX);
    if (vt_params_init(&scan->params, session->sql, shape->param,
                       shape->argc + shape->limit_bound, shape->literals))
        return scan;
    vt_scan_free(scan);
    return NULL;
}

void vt_scan_free(struct vt_scan *scan)
{
    if (scan == NULL) return;
    KV_ASSERT(scan->cursor == NULL); /* SC1 */
    vt_params_fini(&scan->params);
    kv_buf_fini(&scan->row);
    kv_mem_free(KV_MEM_CLIENT, scan, sizeof(*scan));
}

struct vt_params *vt_scan_params(struct vt_scan *scan)
{
    return &scan->params;
}

/* ---- walking ----------------------------------------------------------------- */

/* Whether the statement is to end; looked at before the first row, and then
 * every so many. */
static bool scan_stopped(struct vt_scan *scan, unsigned rows)
{
    struct vt_session *session = scan->session;

    scan->steps += rows;
    if (KV_LIKELY(scan->steps < SCAN_CHECK_EVERY)) return false;
    atomic_store_explicit(
        &session->seen.steps,
        atomic_load_explicit(&session->seen.steps, memory_order_relaxed) +
            scan->steps,
        memory_order_relaxed);
    scan->steps = 0;
    return vt_cancelled(session);
}

/* What the cursor's method has returned. */
static kvsql_rc scan_result(struct vt_scan *scan, int code,
                            struct kvsql_error *err)
{
    if (KV_LIKELY(code == SQLITE_OK)) return KVSQL_OK;
    return vt_module_error(scan->session, &scan->table->base, code, err);
}

/* The arguments, in *argv, and LIMIT. *can false: it is no number. */
static kvsql_rc scan_take(struct vt_scan *scan, sqlite3_value **argv, bool *can,
                          struct kvsql_error *err)
{
    const int rc = vt_params_take(&scan->params, argv);
    sqlite3_value *limit;

    *can = true;
    scan->left = scan->limited ? scan->limit : -1;
    if (rc != SQLITE_OK)
        return vt_sqlite_error(scan->session, rc, false, err);
    if (!scan->limit_bound) return KVSQL_OK;
    limit = argv[scan->argc];
    *can = sqlite3_value_type(limit) == SQLITE_INTEGER;
    scan->left = sqlite3_value_int64(limit);
    return KVSQL_OK;
}

/* The first row, if there is one. */
static kvsql_rc scan_filter(struct vt_scan *scan, sqlite3_value **argv,
                            struct kvsql_error *err)
{
    int rc = SQLITE_NOMEM;

    scan->first = true;
    scan->steps = SCAN_CHECK_EVERY;
    scan->cursor = vt_cursor_open(scan->table);
    if (scan->cursor != NULL) {
        scan->cursor->base.pVtab = &scan->table->base;
        rc = vt_cursor_filter(scan->cursor, scan->plan, (int)scan->argc, argv);
    }
    return scan_result(scan, rc, err);
}

kvsql_rc vt_scan_start(struct vt_scan *scan, bool *can, struct kvsql_error *err)
{
    sqlite3_value *argv[VT_PARAMS_MAX];
    kvsql_rc rc;

    KV_ASSERT(scan->cursor == NULL && scan->session->txn == NULL); /* SC1 */
    rc = scan_take(scan, argv, can, err);
    scan->done = scan->left == 0;
    if (rc == KVSQL_OK && *can && !scan->done)
        rc = scan_filter(scan, argv, err);
    vt_params_drop(&scan->params);
    return rc;
}

void vt_scan_end(struct vt_scan *scan)
{
    if (scan->cursor != NULL) vt_cursor_close(scan->cursor);
    scan->cursor = NULL;
    kv_buf_reset(&scan->row, SCAN_KEEP);
}

/* ---- rows -------------------------------------------------------------------- */

/* The cell as a value. What does not lie still goes to `row`: then value->p is
 * set when that is whole. */
static bool scan_value(struct vt_scan *scan, const struct vt_cell *cell,
                       struct vt_value *value)
{
    *value = (struct vt_value){.kind = VT_NULL, .p = (const uint8_t *)""};
    switch (cell->kind) {
    case VT_CELL_NULL:
    case VT_CELL_FAILED: break;
    case VT_CELL_INT:
        value->kind = VT_INTEGER;
        value->integer = cell->integer;
        break;
    case VT_CELL_REAL:
        value->kind = VT_REAL;
        value->real = cell->real;
        break;
    case VT_CELL_BYTES:
        value->kind = cell->cls == KV_TEXT ? VT_TEXT : VT_BLOB;
        value->size = cell->size;
        if (cell->size == 0) break;
        value->p = cell->p;
        if (cell->keep && !cell->owned) break;
        value->p = NULL;
        kv_buf_add(&scan->row, cell->p, cell->size);
        break;
    }
    return !scan->row.failed;
}

/* A value that no statement of the session may have. */
static bool scan_too_long(const struct vt_scan *scan, size_t size)
{
    const int size_max = sqlite3_limit(scan->session->sql, SQLITE_LIMIT_LENGTH,
                                       -1);

    return size > (size_t)size_max;
}

static int scan_cell(struct vt_scan *scan, unsigned i)
{
    struct vt_cell cell;
    int rc = SQLITE_OK;

    vt_cursor_cell(scan->cursor, scan->column[i], &cell);
    if (cell.kind == VT_CELL_FAILED) return (int)cell.integer;
    if (cell.kind == VT_CELL_BYTES && scan_too_long(scan, cell.size))
        rc = SQLITE_TOOBIG;
    else if (!scan_value(scan, &cell, &scan->value[i]))
        rc = SQLITE_NOMEM;
    if (cell.kind == VT_CELL_BYTES && cell.owned)
        sqlite3_free((void *)(uintptr_t)cell.p);
    return rc;
}

/* The columns of the row that the cursor stands on. */
static int scan_row(struct vt_scan *scan)
{
    const uint8_t *p;
    int rc = SQLITE_OK;

    kv_buf_cut(&scan->row, 0);
    for (unsigned i = 0; rc == SQLITE_OK && i < scan->columns; i++)
        rc = scan_cell(scan, i);
    p = scan->row.p;
    for (unsigned i = 0; rc == SQLITE_OK && i < scan->columns; i++)
        if (scan->value[i].p == NULL) {
            scan->value[i].p = p;
            p += scan->value[i].size;
        }
    return rc;
}

/* How many rows there are, as one row. */
static int scan_count(struct vt_scan *scan)
{
    struct vt_cursor *cursor = scan->cursor;
    int64_t count = 0;
    int rc = SQLITE_OK;

    while (rc == SQLITE_OK && !cursor->eof) {
        const uint32_t rows = cursor->left + 1; /* of one leaf */
        if (scan_stopped(scan, rows)) return SQLITE_INTERRUPT;
        count += rows;
        cursor->left = 0;
        rc = vt_cursor_step(cursor);
    }
    scan->value[0] = (struct vt_value){.kind = VT_INTEGER, .integer = count,
                                       .p = (const uint8_t *)""};
    scan->done = true;
    return rc;
}

static int scan_next(struct vt_scan *scan, bool *row)
{
    int rc = SQLITE_OK;

    if (scan_stopped(scan, 1)) return SQLITE_INTERRUPT;
    if (scan->counts) {
        *row = true;
        return scan_count(scan);
    }
    if (!scan->first) rc = vt_cursor_step(scan->cursor);
    scan->first = false;
    if (rc != SQLITE_OK || scan->cursor->eof) return rc;
    if (scan->left > 0) scan->done = --scan->left == 0;
    *row = true;
    return scan_row(scan);
}

kvsql_rc vt_scan_next(struct vt_scan *scan, bool *row, struct kvsql_error *err)
{
    kvsql_rc rc;

    *row = false;
    if (scan->done) return KVSQL_OK;
    rc = scan_result(scan, scan_next(scan, row), err);
    if (rc != KVSQL_OK) *row = false;
    return rc;
}

void vt_scan_column(const struct vt_scan *scan, int column,
                    struct vt_value *out)
{
    if (column >= 0 && (unsigned)column < scan->columns)
        *out = scan->value[column];
    else
        *out = (struct vt_value){.kind = VT_NULL, .p = (const uint8_t *)""};
}
