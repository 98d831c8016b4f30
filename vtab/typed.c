/* typed.c - text in the store as values of a declared type, and back.
 *
 * A column reads as a native column of its type would after the text was
 * stored in it: '41' and '041' in an INTEGER column are 41, 'abc' stays 'abc'.
 * The bytes in the store stay as they are. Whole numbers are read here; what
 * has a point or an exponent is read by SQLite itself, whose last bit depends
 * on its version, so that a row is what the same text is in a snapshot file.
 *
 * A REAL that is written gets as many digits as it takes to read the same
 * again; SQLite's own text of it has 15.
 *
 * Thread: the session's. */
#include "vtab/khash.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define TYPED_DIGITS_MAX 19

/* ---- affinity -------------------------------------------------------------- */

static bool typed_has(const char *type, const char *word)
{
    const int size = (int)strlen(word);

    for (; *type != 0; type++)
        if (sqlite3_strnicmp(type, word, size) == 0) return true;
    return false;
}

enum vt_affinity vt_affinity_of(const char *type)
{
    if (type[0] == 0) return VT_AFFINITY_TEXT;
    if (typed_has(type, "INT")) return VT_AFFINITY_INTEGER;
    if (typed_has(type, "CHAR") || typed_has(type, "CLOB") ||
        typed_has(type, "TEXT"))
        return VT_AFFINITY_TEXT;
    if (typed_has(type, "BLOB")) return VT_AFFINITY_NONE;
    if (typed_has(type, "REAL") || typed_has(type, "FLOA") ||
        typed_has(type, "DOUB"))
        return VT_AFFINITY_REAL;
    return VT_AFFINITY_NUMERIC;
}

/* ---- reading --------------------------------------------------------------- */

/* Text as SQLite reads it. */
static int typed_real(struct vt_reals *reals, const uint8_t *p, size_t size,
                      double *out)
{
    static const char sql[] = "SELECT CAST(?1 AS REAL)";
    sqlite3_stmt *stmt = reals->stmt;
    int rc = SQLITE_OK;

    if (stmt == NULL) {
        rc = sqlite3_prepare_v3(reals->sql, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                &stmt, NULL);
        if (rc != SQLITE_OK) return rc;
        reals->stmt = stmt;
    }
    rc = sqlite3_bind_text64(stmt, 1, (const char *)p, size, SQLITE_STATIC,
                             SQLITE_UTF8);
    if (rc == SQLITE_OK) rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) *out = sqlite3_column_double(stmt, 0);
    (void)sqlite3_reset(stmt);
    (void)sqlite3_clear_bindings(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Whether a number column that is not REAL keeps it as an integer. */
static bool typed_whole(double real, int64_t *out)
{
    const double limit = 9223372036854775808.0;

    if (!(real > -limit && real < limit) || real != floor(real)) return false;
    *out = (int64_t)real;
    return true;
}

int vt_typed_cell(struct vt_reals *reals, enum vt_affinity affinity,
                  const struct kv_val *val, struct vt_cell *cell)
{
    struct vt_number number;
    int64_t whole = 0;
    int rc;

    vt_cell_val(cell, val);
    if (affinity == VT_AFFINITY_NONE) cell->cls = KV_BLOB;
    if (affinity == VT_AFFINITY_TEXT || affinity == VT_AFFINITY_NONE ||
        val->cls != KV_TEXT || !vt_number_of_text(val->p, val->size, &number))
        return SQLITE_OK;
    if (number.kind == VT_NUM_REAL) {
        rc = typed_real(reals, val->p, val->size, &number.real);
        if (rc != SQLITE_OK) return rc;
        if (affinity != VT_AFFINITY_REAL && typed_whole(number.real, &whole)) {
            number.kind = VT_NUM_INT;
            number.integer = whole;
        }
    }
    if (number.kind == VT_NUM_INT && affinity != VT_AFFINITY_REAL) {
        vt_cell_int(cell, number.integer);
        return SQLITE_OK;
    }
    cell->kind = VT_CELL_REAL;
    cell->real = number.kind == VT_NUM_INT ? (double)number.integer
                                           : number.real;
    if (cell->real == 0) cell->real = 0; /* never -0.0 (VA6) */
    return SQLITE_OK;
}

void vt_typed_datum(const struct vt_cell *cell, struct kv_datum *datum)
{
    *datum = (struct kv_datum){.kind = KV_DATUM_NULL};
    switch (cell->kind) {
    case VT_CELL_INT:
        datum->kind = KV_DATUM_INT;
        datum->integer = cell->integer;
        return;
    case VT_CELL_REAL:
        datum->kind = KV_DATUM_REAL;
        datum->real = cell->real;
        return;
    case VT_CELL_BYTES:
        datum->kind = cell->cls == KV_TEXT ? KV_DATUM_TEXT : KV_DATUM_BLOB;
        datum->p = cell->p;
        datum->size = (uint32_t)cell->size;
        return;
    case VT_CELL_NULL:
    case VT_CELL_FAILED: return;
    }
}

/* ---- writing --------------------------------------------------------------- */

/* `real` with so many digits, as a REAL is written. */
static void typed_print(double real, int digits, char out[KV_DOUBLE_TEXT_MAX])
{
    (void)snprintf(out, KV_DOUBLE_TEXT_MAX, "%.*g", digits, real);
    if (strpbrk(out, ".e") == NULL)
        (void)snprintf(out, KV_DOUBLE_TEXT_MAX, "%.1f", real);
}

/* The shortest text that SQLite reads as `real` again. Near the ends of what a
 * double holds some versions find none and are off by the last bit; then one
 * that others read. */
static int typed_text(struct vt_reals *reals, double real,
                      char out[KV_DOUBLE_TEXT_MAX])
{
    double back = 0;
    int rc;

    if (isinf(real)) {
        (void)snprintf(out, KV_DOUBLE_TEXT_MAX, "%s",
                       real > 0 ? "9e999" : "-9e999");
        return SQLITE_OK;
    }
    for (int digits = 15; digits <= TYPED_DIGITS_MAX; digits++) {
        typed_print(real, digits, out);
        rc = typed_real(reals, (const uint8_t *)out, strlen(out), &back);
        if (rc != SQLITE_OK || back == real) return rc;
    }
    typed_print(real, DBL_DECIMAL_DIG, out);
    return SQLITE_OK;
}

int vt_typed_input(struct vt_reals *reals, enum vt_affinity affinity,
                   sqlite3_value *value, struct vt_input *input)
{
    int64_t whole = 0;
    double real;
    int rc;

    if (affinity == VT_AFFINITY_TEXT || affinity == VT_AFFINITY_NONE ||
        sqlite3_value_type(value) != SQLITE_FLOAT)
        return vt_input_init(input, value) ? SQLITE_OK : SQLITE_NOMEM;
    input->dup = NULL;
    real = sqlite3_value_double(value);
    if (affinity != VT_AFFINITY_REAL && typed_whole(real, &whole)) {
        (void)kv_num_format_int(input->scratch, whole);
    } else {
        rc = typed_text(reals, real, input->scratch);
        if (rc != SQLITE_OK) return rc;
    }
    input->key = (struct kv_key){(const uint8_t *)input->scratch,
                                 (uint32_t)strlen(input->scratch), KV_TEXT};
    return SQLITE_OK;
}

bool vt_typed_same(const struct vt_cell *cell, sqlite3_value *value)
{
    const int type = sqlite3_value_type(value);
    size_t size;
    const void *p;

    switch (cell->kind) {
    case VT_CELL_NULL: return type == SQLITE_NULL;
    case VT_CELL_INT:
        return type == SQLITE_INTEGER &&
               sqlite3_value_int64(value) == cell->integer;
    case VT_CELL_REAL:
        return type == SQLITE_FLOAT &&
               !(sqlite3_value_double(value) < cell->real) &&
               !(sqlite3_value_double(value) > cell->real);
    case VT_CELL_FAILED: return false;
    case VT_CELL_BYTES: break;
    }
    if (type != (cell->cls == KV_BLOB ? SQLITE_BLOB : SQLITE_TEXT))
        return false;
    size = (size_t)sqlite3_value_bytes(value);
    p = sqlite3_value_blob(value);
    return size == cell->size &&
           (size == 0 || (p != NULL && memcmp(p, cell->p, size) == 0));
}
