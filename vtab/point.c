/* point.c - a statement that looks one key up is run without SQLite's machine.
 *
 *   SELECT value, expires_at FROM strings WHERE key = ?
 *
 * What SQLite does for such a statement beside the lookup costs three times as
 * much as the lookup. So a statement that is kept is compiled once more, as
 * EXPLAIN, and when its program shows that it is no more than a plan of one
 * table (program.c) it is run here, or, when it is not one key of strings that is
 * looked up, in scan.c and edit.c.
 *
 * The program says so of one schema. session->schema grows with each statement
 * that may change what a name means, when it is prepared and when it has run,
 * and with each table that goes. A program is judged outside of a transaction, or
 * in one where that has not grown, so what it was judged by cannot be rolled back.
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

    if (shape->table->def != &vt_strings_def ||
        shape->kind != VT_SHAPE_ROWS || shape->limited || (shape->plan & ~may) != VT_PLAN_EQ ||
        shape->argc != 1 || shape->param[0].number != 1 ||
        shape->columns > VT_POINT_COLUMNS_MAX)
        return false;
    for (unsigned i = 0; i < shape->columns; i++)
        if (shape->column[i] >= VT_POINT_COLUMNS_MAX) return false;
    return true;
}

void vt_point_forget(struct vt_point *point)
{
    vt_scan_free(point->scan);
    vt_edit_free(point->edit);
    point->scan = NULL;
    point->edit = NULL;
    point->ready = false;
}

struct vt_params *vt_point_params(const struct vt_session *session,
                                  const struct vt_point *point)
{
    struct vt_params *params;

    if (vt_point_scans(session, point))
        params = vt_scan_params(point->scan);
    else if (vt_point_edits(session, point) && vt_edit_may(point->edit))
        params = vt_edit_params(point->edit);
    else
        return NULL;
    return params->stmt != NULL ? params : NULL;
}

static void point_judge(struct vt_session *session, struct vt_point *point,
                        sqlite3_stmt *stmt)
{
    struct vt_shape shape;

    vt_point_forget(point);
    if (!vt_shape_of(session, stmt, &shape)) return;
    if (shape.kind > VT_SHAPE_COUNT) {
        if (vt_edit_fits(&shape)) point->edit = vt_edit_new(session, &shape);
        return;
    }
    point->ready = point_fits(&shape);
    if (!point->ready) {
        point->scan = vt_scan_new(session, &shape);
        return;
    }
    point->count = shape.columns;
    for (unsigned i = 0; i < shape.columns; i++)
        point->column[i] = shape.column[i];
}

kvsql_rc vt_point_learn(struct vt_session *session, struct vt_point *point,
                        sqlite3_stmt *stmt, struct kvsql_error *err)
{
    const bool inside = !sqlite3_get_autocommit(session->sql);
    struct vt_budget *before;
    kvsql_rc rc;

    if (KV_LIKELY(!point->may || point->schema == session->schema) ||
        session->active != NULL ||
        (inside && session->schema != session->settled))
        return KVSQL_OK;
    before = vt_session_enter(session, true);
    point_judge(session, point, stmt);
    point->schema = session->schema;
    rc = inside ? vt_session_stands(session, err) : KVSQL_OK;
    vt_budget_leave(before);
    return rc;
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
