/* rows.c - rows of a table that are all made at xFilter, so nothing can change
 * under a cursor (sql.md 2.7).
 *
 * Cells stand one behind the other, row by row, their bytes in a buffer of
 * their own. A row may be left short: the rest is NULL.
 *
 * Thread: the session's. */
#include "vtab/rows.h"
#include "vtab/value.h"

#include <string.h>

#define ROWS_SIZE_MAX ((size_t)1 << 31)

struct rows_cell {
    uint8_t kind, cls;
    union {
        int64_t integer;
        double real;
        size_t at; /* in bytes */
    } is;
    size_t size;
};

void vt_rows_init(struct vt_rows *rows, unsigned columns)
{
    *rows = (struct vt_rows){.columns = columns};
    kv_buf_init(&rows->cells, KV_MEM_CLIENT, ROWS_SIZE_MAX);
    kv_buf_init(&rows->bytes, KV_MEM_CLIENT, ROWS_SIZE_MAX);
}

void vt_rows_fini(struct vt_rows *rows)
{
    kv_buf_fini(&rows->cells);
    kv_buf_fini(&rows->bytes);
}

bool vt_rows_failed(const struct vt_rows *rows)
{
    return rows->cells.failed || rows->bytes.failed;
}

void vt_row(struct vt_rows *rows)
{
    while (rows->count > 0 && rows->column < rows->columns) vt_row_null(rows);
    rows->column = 0;
    rows->count++;
}

static void rows_add(struct vt_rows *rows, const struct rows_cell *cell)
{
    KV_ASSERT(rows->count > 0 && rows->column < rows->columns);
    rows->column++;
    kv_buf_add(&rows->cells, cell, sizeof(*cell));
}

void vt_row_null(struct vt_rows *rows)
{
    rows_add(rows, &(struct rows_cell){.kind = VT_NULL});
}

void vt_row_int(struct vt_rows *rows, int64_t integer)
{
    rows_add(rows,
             &(struct rows_cell){.kind = VT_INTEGER, .is.integer = integer});
}

void vt_row_real(struct vt_rows *rows, double real)
{
    rows_add(rows, &(struct rows_cell){.kind = VT_REAL, .is.real = real});
}

void vt_row_bytes(struct vt_rows *rows, const void *p, size_t size)
{
    rows_add(rows, &(struct rows_cell){.kind = VT_TEXT,
                                       .cls = (uint8_t)kv_class_of(p, size),
                                       .is.at = rows->bytes.size,
                                       .size = size});
    kv_buf_add(&rows->bytes, p, size);
}

void vt_row_text(struct vt_rows *rows, const char *text)
{
    vt_row_bytes(rows, text, strlen(text));
}

void vt_rows_get(const struct vt_rows *rows, uint64_t row, unsigned column,
                 struct vt_value_at *out)
{
    const size_t index = (size_t)row * rows->columns + column;
    struct rows_cell cell = {.kind = VT_NULL};

    if ((index + 1) * sizeof(cell) <= rows->cells.size)
        memcpy(&cell, rows->cells.p + index * sizeof(cell), sizeof(cell));
    *out = (struct vt_value_at){.kind = (enum vt_value_kind)cell.kind,
                                .cls = cell.cls, .size = cell.size,
                                .p = (const uint8_t *)""};
    if (cell.kind == VT_INTEGER) out->integer = cell.is.integer;
    if (cell.kind == VT_REAL) out->real = cell.is.real;
    if (cell.kind == VT_TEXT && cell.size > 0)
        out->p = rows->bytes.p + cell.is.at;
}

void vt_rows_set_int(struct vt_rows *rows, uint64_t row, unsigned column,
                     int64_t integer)
{
    const struct rows_cell cell = {.kind = VT_INTEGER, .is.integer = integer};
    const size_t index = (size_t)row * rows->columns + column;

    KV_ASSERT((index + 1) * sizeof(cell) <= rows->cells.size);
    memcpy(rows->cells.p + index * sizeof(cell), &cell, sizeof(cell));
}

void vt_rows_result(const struct vt_rows *rows, uint64_t row, unsigned column,
                    sqlite3_context *context)
{
    struct vt_value_at value;

    vt_rows_get(rows, row, column, &value);
    if (value.kind == VT_INTEGER)
        sqlite3_result_int64(context, value.integer);
    else if (value.kind == VT_REAL)
        sqlite3_result_double(context, value.real);
    else if (value.kind == VT_TEXT)
        vt_result_bytes(context, value.p, value.size, value.cls, false);
}
