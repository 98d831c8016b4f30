/* point.c - a statement that looks one key up is run without SQLite's machine.
 *
 *   SELECT value, expires_at FROM strings WHERE key = ?
 *
 * What SQLite does for such a statement beside the lookup costs three times as
 * much as the lookup. So a statement that is kept is compiled once more, as
 * EXPLAIN, and when its program shows that it is no more than a plan of one
 * table (program.c) it is run here, or, when it is not one key of strings that is
 * looked up, in scan.c.
 *
 * The program says so of one schema. session->schema grows with each statement
 * that may change what a name means, when it is prepared and when it has run,
 * and with each table that goes; a program is judged between transactions, so
 * what it was judged by cannot be rolled back.
 *
 * Values that are long, keys that are no text or BLOB, and reads of a write
 * transaction are SQLite's.
 *
 * Thread: the session's. */
#include "vtab/point.h"

#define POINT_SIZE_MAX 2048 /* below every limit of a value (Q5) */

/* Is it a lookup of the one parameter, in strings, of columns that lie there? */
static bool point_fits(const struct vt_shape *shape)
{
    const unsigned may = VT_PLAN_UNIQUE | VT_PLAN_BOUND | VT_PLAN_TEXT |
                         VT_PLAN_NO_KEY;

    if (shape->table->def != &vt_strings_def || shape->counts ||
        shape->limited || (shape->plan & ~may) != VT_PLAN_EQ ||
        shape->argc != 1 || shape->arg[0].param != 1 ||
        shape->columns > VT_POINT_COLUMNS_MAX)
        return false;
    for (unsigned i = 0; i < shape->columns; i++)
        if (shape->column[i] >= VT_POINT_COLUMNS_MAX) return false;
    return true;
}

static void point_judge(struct vt_session *session, struct vt_point *point,
                        sqlite3_stmt *stmt)
{
    struct vt_shape shape;

    vt_scan_free(point->scan);
    point->scan = NULL;
    point->ready = false;
    if (!vt_shape_of(session, stmt, &shape)) return;
    point->ready = point_fits(&shape);
    if (!point->ready) {
        point->scan = vt_scan_new(session, &shape);
        return;
    }
    point->count = shape.columns;
    for (unsigned i = 0; i < shape.columns; i++)
        point->column[i] = shape.column[i];
}

void vt_point_learn(struct vt_session *session, struct vt_point *point,
                    sqlite3_stmt *stmt)
{
    struct vt_budget *before;

    if (KV_LIKELY(!point->may || point->schema == session->schema) ||
        session->active != NULL || !sqlite3_get_autocommit(session->sql))
        return;
    before = vt_session_enter(session, true);
    point_judge(session, point, stmt);
    vt_budget_leave(before);
    point->schema = session->schema;
}

/* Whether the session is to end what it does: one lookup is over at once, but
 * one after the other may be what holds a view, or works for nobody. */
static bool point_stopped(const struct vt_session *session)
{
    struct kvsql_error ignored;

    return atomic_load_explicit(&session->cancel, memory_order_relaxed) ||
           kv_view_ended(session->pin, &ignored) != KVSQL_OK; /* RD7 */
}

kvsql_rc vt_point_read(struct vt_session *session, struct vt_point *point,
                       enum vt_point_found *found, struct kvsql_error *err)
{
    kvsql_slice bytes;
    struct vt_snap *snap;
    struct kv_at at;
    unsigned cls;
    kvsql_rc rc;

    *found = VT_POINT_NONE;
    rc = vt_read_at(session, true, &at, &snap, err);
    if (rc != KVSQL_OK) return rc;
    if (KV_UNLIKELY(point_stopped(session))) return vt_stopped(session, err);
    if (!kv_get(&at, &point->key, &point->item) ||
        point->item.type != KV_STRING)
        return KVSQL_OK;
    if (kv_item_text(&point->item, &bytes, &cls)) {
        point->value.p = bytes.p;
        point->value.size = (uint32_t)bytes.size;
        point->value.cls = (uint8_t)cls;
    } else {
        kv_item_string(&point->item, &point->value);
    }
    *found = point->value.size < POINT_SIZE_MAX ? VT_POINT_ROW : VT_POINT_SQLITE;
    return KVSQL_OK;
}

static void point_bytes(const uint8_t *p, uint32_t size, unsigned cls,
                        struct vt_value *out)
{
    out->kind = cls == KV_TEXT ? VT_TEXT : VT_BLOB;
    out->size = size;
    if (size > 0) out->p = p;
}

void vt_point_column(const struct vt_point *point, int column,
                     struct vt_value *out)
{
    *out = (struct vt_value){.kind = VT_NULL, .p = (const uint8_t *)""};
    if (column < 0 || (unsigned)column >= point->count) return;
    switch (point->column[column]) {
    case 0:
        point_bytes(point->key.p, point->key.size, point->key.cls, out);
        break;
    case 1:
        point_bytes(point->value.p, point->value.size, point->value.cls, out);
        break;
    default:
        if (point->item.expires_at == 0) break;
        out->kind = VT_INTEGER;
        out->integer = point->item.expires_at;
        break;
    }
}
