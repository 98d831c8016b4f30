/* point.c - a statement that looks one key up is run without SQLite's machine.
 *
 *   SELECT value, expires_at FROM strings WHERE key = ?
 *
 * What SQLite does for such a statement beside the lookup costs three times as
 * much as the lookup. So a statement that is kept is compiled once more, as
 * EXPLAIN, and when the program is this one, op by op, it is run here:
 *
 *   VOpen strings · Variable 1 · VFilter key=? · VColumn ... · ResultRow · Halt
 *
 * So SQLite itself has said that names, types, affinities and order are
 * nothing that anybody has to look at: no other column is compared, nothing is
 * computed, nothing is left to be checked.
 *
 * The program says so of one schema. session->schema grows with each statement
 * that may change what a name means, when it is prepared and when it has run;
 * a program is judged between transactions, so what it was judged by cannot be
 * rolled back.
 *
 * Values that are long, keys that are no text or BLOB, and reads of a write
 * transaction are SQLite's.
 *
 * Thread: the session's. */
#include "vtab/point.h"

#include "vtab/table.h"

#include <string.h>

#define POINT_SIZE_MAX 2048 /* below every limit of a value (Q5) */
#define POINT_OPS_MAX 16

/* One op of the program, as EXPLAIN lists it. */
enum point_field { POINT_ADDR, POINT_OP, POINT_P1, POINT_P2, POINT_P3,
                   POINT_P4, POINT_P5 };

static bool point_op(sqlite3_stmt *program, const char *name, int *p1, int *p2,
                     int *p3)
{
    const void *op;

    if (sqlite3_step(program) != SQLITE_ROW) return false;
    op = sqlite3_column_blob(program, POINT_OP);
    *p1 = sqlite3_column_int(program, POINT_P1);
    *p2 = sqlite3_column_int(program, POINT_P2);
    *p3 = sqlite3_column_int(program, POINT_P3);
    return op != NULL && (size_t)sqlite3_column_bytes(program, POINT_OP) ==
                             strlen(name) &&
           memcmp(op, name, strlen(name)) == 0 &&
           sqlite3_column_int(program, POINT_P5) == 0;
}

/* The cursor is one of the table strings. */
static bool point_is_strings(struct vt_session *session, sqlite3_stmt *program)
{
    char wanted[64];
    const void *p4 = sqlite3_column_blob(program, POINT_P4);
    const int size = sqlite3_column_bytes(program, POINT_P4);

    if (session->strings == NULL || p4 == NULL) return false;
    (void)sqlite3_snprintf(sizeof(wanted), wanted, "vtab:%p",
                           (void *)session->strings);
    return (size_t)size == strlen(wanted) &&
           memcmp(p4, wanted, (size_t)size) == 0;
}

/* What comes before the columns: *cursor, *halt are places. */
static bool point_begins(struct vt_session *session, sqlite3_stmt *program,
                         int *setup, int *cursor, int *halt)
{
    const unsigned may = VT_PLAN_UNIQUE | VT_PLAN_BOUND | VT_PLAN_TEXT |
                         VT_PLAN_NO_KEY;
    int p1, p2, p3, plan, key;

    if (!point_op(program, "Init", &p1, setup, &p3) ||
        !point_op(program, "VOpen", cursor, &p2, &p3) ||
        !point_is_strings(session, program) ||
        !point_op(program, "Variable", &p1, &key, &p3) || p1 != 1 ||
        !point_op(program, "Integer", &p1, &plan, &p3) ||
        ((unsigned)p1 & ~may) != VT_PLAN_EQ || plan + 2 != key ||
        !point_op(program, "Integer", &p1, &p2, &p3) || p1 != 1 ||
        p2 != plan + 1)
        return false;
    return point_op(program, "VFilter", &p1, halt, &p3) && p1 == *cursor &&
           p3 == plan;
}

/* The columns and what follows them. */
static bool point_ends(struct vt_point *point, sqlite3_stmt *program,
                       unsigned count, int setup, int cursor, int halt)
{
    int p1, p2, p3, from = 0, first = 0;

    for (unsigned i = 0; i < count; i++) {
        if (!point_op(program, "VColumn", &p1, &p2, &p3) || p1 != cursor ||
            p2 < 0 || p2 >= VT_POINT_COLUMNS_MAX)
            return false;
        if (i == 0) {
            from = p3;
            first = sqlite3_column_int(program, POINT_ADDR);
        }
        if (p3 != from + (int)i) return false;
        point->column[i] = (uint8_t)p2;
    }
    if (!point_op(program, "ResultRow", &p1, &p2, &p3) || p1 != from ||
        p2 != (int)count ||
        !point_op(program, "VNext", &p1, &p2, &p3) || p1 != cursor ||
        p2 != first ||
        !point_op(program, "Halt", &p1, &p2, &p3) || p1 != 0 ||
        sqlite3_column_int(program, POINT_ADDR) != halt)
        return false;
    if (sqlite3_step(program) != SQLITE_ROW || /* Transaction, Goto: any */
        sqlite3_column_int(program, POINT_ADDR) != setup ||
        !point_op(program, "Goto", &p1, &p2, &p3) || p2 != 1)
        return false;
    point->count = count;
    return sqlite3_step(program) == SQLITE_DONE;
}

static bool point_judge(struct vt_session *session, struct vt_point *point,
                        sqlite3_stmt *stmt)
{
    const int count = sqlite3_column_count(stmt);
    char *text = sqlite3_mprintf("EXPLAIN %s", sqlite3_sql(stmt));
    sqlite3_stmt *program = NULL;
    int setup, cursor, halt;
    bool ready = false;

    if (text == NULL) return false;
    vt_reads_start(session, text, SIZE_MAX);
    if (count >= 1 && count <= VT_POINT_COLUMNS_MAX &&
        sqlite3_prepare_v2(session->sql, text, -1, &program, NULL) ==
            SQLITE_OK)
        ready = point_begins(session, program, &setup, &cursor, &halt) &&
                point_ends(point, program, (unsigned)count, setup, cursor,
                           halt);
    (void)sqlite3_finalize(program);
    vt_reads_start(session, NULL, 0);
    sqlite3_free(text);
    return ready;
}

void vt_point_learn(struct vt_session *session, struct vt_point *point,
                    sqlite3_stmt *stmt)
{
    struct vt_budget *before;

    if (KV_LIKELY(!point->may || point->schema == session->schema) ||
        session->active != NULL || !sqlite3_get_autocommit(session->sql))
        return;
    before = vt_session_enter(session, true);
    point->ready = point_judge(session, point, stmt);
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
