/* changes.c - the wal as rows, one for each op (sql.md 2.7).
 *
 * Bounds on position seek to the segment; everything else is SQLite's. A
 * statement sees the batches up to its view and no further, so what it reads
 * here fits what it reads in the other tables, and all of it has been released.
 * A lower bound that is no longer kept is an error, never a silent gap; without
 * one the rows begin with the oldest that is kept.
 *
 * Thread: the session's. */
#include "vtab/module.h"
#include "vtab/value.h"

#include <string.h>

enum vchanges_column {
    CHANGES_POSITION, CHANGES_N, CHANGES_AT, CHANGES_OP, CHANGES_KEY,
    CHANGES_TYPE, CHANGES_FIELD, CHANGES_VALUE, CHANGES_EXPIRES
};
#define CHANGES_BOUNDS_MAX 8 /* constraints on position that are looked at */
#define CHANGES_OP_BITS 3    /* of idxNum, for each of them */

struct vchanges_table {
    sqlite3_vtab base;
    struct vt_session *session;
};

struct vchanges_cursor {
    sqlite3_vtab_cursor base;
    struct kv_changes *changes;
    struct kv_change change;
    int64_t row;
    bool eof;
};

static int vchanges_connect(sqlite3 *sql, void *aux, int argc,
                            const char *const *argv, sqlite3_vtab **out,
                            char **error)
{
    struct vt_session *session = (struct vt_session *)aux;
    const int rc = vt_connect(session, vt_declare("changes"), VT_INNOCUOUS,
                              sizeof(struct vchanges_table), out);

    (void)sql;
    (void)argc;
    (void)argv;
    (void)error;
    if (rc == SQLITE_OK)
        ((struct vchanges_table *)*out)->session = session;
    return rc;
}

/* ---- planning: idxNum has an operator for each argument, from the lowest bits -- */

static const int vchanges_ops[] = {
    0, SQLITE_INDEX_CONSTRAINT_EQ, SQLITE_INDEX_CONSTRAINT_GT,
    SQLITE_INDEX_CONSTRAINT_GE, SQLITE_INDEX_CONSTRAINT_LT,
    SQLITE_INDEX_CONSTRAINT_LE};
#define CHANGES_OPS ((int)(sizeof(vchanges_ops) / sizeof(vchanges_ops[0])))

static int vchanges_op(const struct sqlite3_index_constraint *constraint)
{
    if (!constraint->usable || constraint->iColumn != CHANGES_POSITION)
        return 0;
    for (int i = 1; i < CHANGES_OPS; i++)
        if (constraint->op == vchanges_ops[i]) return i;
    return 0;
}

static bool vchanges_ordered(const sqlite3_index_info *info)
{
    return info->nOrderBy >= 1 && info->nOrderBy <= 2 &&
           info->aOrderBy[0].iColumn == CHANGES_POSITION &&
           !info->aOrderBy[0].desc &&
           (info->nOrderBy == 1 || (info->aOrderBy[1].iColumn == CHANGES_N &&
                                    !info->aOrderBy[1].desc));
}

static int vchanges_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    bool equal = false, low = false;
    int count = 0, plan = 0;

    for (int i = 0; i < info->nConstraint && count < CHANGES_BOUNDS_MAX; i++) {
        const int op = vchanges_op(&info->aConstraint[i]);
        if (op == 0) continue;
        plan |= op << (CHANGES_OP_BITS * count);
        info->aConstraintUsage[i].argvIndex = ++count; /* a superset: PL2 */
        equal = equal || op == 1;
        low = low || op == 2 || op == 3;
    }
    info->idxNum = plan;
    info->idxStr = (char *)(uintptr_t)(equal  ? "position=?" /* PL7: static */
                                       : low  ? "position>?"
                                       : plan ? "position<?"
                                              : "all that is kept");
    info->orderByConsumed = vchanges_ordered(info);
    info->estimatedRows = equal ? 10 : low ? 10000 : 1000000;
    info->estimatedCost = (double)info->estimatedRows * 3 + 1000;
    return vt_plan_tell(((struct vchanges_table *)vtab)->session, info);
}

/* ---- cursors ------------------------------------------------------------------------- */

static int vchanges_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    struct vchanges_cursor *cursor = sqlite3_malloc64(sizeof(*cursor));

    (void)vtab;
    if (cursor == NULL) return SQLITE_NOMEM;
    memset(cursor, 0, sizeof(*cursor));
    cursor->eof = true;
    *out = &cursor->base;
    return SQLITE_OK;
}

static int vchanges_close(sqlite3_vtab_cursor *base)
{
    kv_changes_close(((struct vchanges_cursor *)base)->changes);
    sqlite3_free(base);
    return SQLITE_OK;
}

static int vchanges_next(sqlite3_vtab_cursor *base)
{
    struct vchanges_cursor *cursor = (struct vchanges_cursor *)base;
    struct vchanges_table *table = (struct vchanges_table *)base->pVtab;
    struct kvsql_error err;
    bool found;

    if (++cursor->row % VT_CHECK_EVERY == 0 && vt_cancelled(table->session))
        return SQLITE_INTERRUPT; /* RD8 */
    if (kv_changes_next(cursor->changes, &cursor->change, &found, &err) !=
        KVSQL_OK)
        return vt_fail(table->session, &table->base, &err);
    cursor->eof = !found;
    return SQLITE_OK;
}

/* Positions between the bounds; empty when lo > hi. */
static int vchanges_bounds(int plan, int argc, sqlite3_value **argv,
                           struct vt_span *span)
{
    struct vt_number number;

    vt_span_all(span);
    for (int i = 0; i < argc; i++) {
        const int op = plan >> (CHANGES_OP_BITS * i) &
                       ((1 << CHANGES_OP_BITS) - 1);
        if (!vt_number_get(argv[i], &number)) return SQLITE_NOMEM;
        vt_span_narrow(span, vchanges_ops[op], &number);
    }
    return SQLITE_OK;
}

/* Where the statement reads, which no batch may be behind. */
static kvsql_rc vchanges_last(struct vt_session *session, uint64_t *last,
                              struct kvsql_error *err)
{
    struct vt_snap *snap;
    struct kv_at at;
    kvsql_rc rc;

    if (session->txn != NULL)
        return kv_fail(err, KVSQL_INVALID,
                       "changes cannot be read by a transaction that has "
                       "begun to write");
    rc = vt_read_at(session, true, &at, &snap, err);
    if (rc == KVSQL_OK) *last = at.position;
    return rc;
}

static int vchanges_filter(sqlite3_vtab_cursor *base, int plan,
                           const char *text, int argc, sqlite3_value **argv)
{
    struct vchanges_cursor *cursor = (struct vchanges_cursor *)base;
    struct vchanges_table *table = (struct vchanges_table *)base->pVtab;
    struct vt_session *session = table->session;
    struct kvsql_error err;
    struct vt_span span;
    uint64_t last = 0, from;
    kvsql_rc rc;

    (void)text;
    kv_changes_close(cursor->changes);
    cursor->changes = NULL;
    cursor->eof = true;
    cursor->row = -1;
    if (vchanges_bounds(plan, argc, argv, &span) != SQLITE_OK)
        return SQLITE_NOMEM;
    if (span.lo > span.hi || span.hi < 1) return SQLITE_OK;
    rc = vchanges_last(session, &last, &err);
    if (rc != KVSQL_OK) return vt_fail(session, &table->base, &err);
    if ((uint64_t)span.hi < last) last = (uint64_t)span.hi;
    from = span.lo == INT64_MIN ? 0 : span.lo < 1 ? 1 : (uint64_t)span.lo;
    rc = kv_changes_open(session->db, from, last, &cursor->changes, &err);
    if (rc != KVSQL_OK) return vt_fail(session, &table->base, &err);
    return vchanges_next(base);
}

static int vchanges_eof(sqlite3_vtab_cursor *base)
{
    return ((const struct vchanges_cursor *)base)->eof;
}

static void vchanges_bytes(sqlite3_context *context, kvsql_slice bytes)
{
    vt_result_bytes(context, bytes.p, bytes.size,
                    kv_class_of(bytes.p, bytes.size), false);
}

static void vchanges_value(sqlite3_context *context,
                           const struct kv_change_value *value)
{
    switch (value->kind) {
    case KV_CHANGE_NULL: break;
    case KV_CHANGE_INT: sqlite3_result_int64(context, value->integer); break;
    case KV_CHANGE_REAL:
        sqlite3_result_double(context, value->real + 0.0); /* VA6 */
        break;
    case KV_CHANGE_BYTES: vchanges_bytes(context, value->bytes); break;
    }
}

static int vchanges_column(sqlite3_vtab_cursor *base, sqlite3_context *context,
                           int column)
{
    const struct kv_change *change =
        &((const struct vchanges_cursor *)base)->change;

    switch ((enum vchanges_column)column) {
    case CHANGES_POSITION:
        sqlite3_result_int64(context, (sqlite3_int64)change->position);
        break;
    case CHANGES_N:
        sqlite3_result_int64(context, (sqlite3_int64)change->n);
        break;
    case CHANGES_AT: sqlite3_result_int64(context, change->since); break;
    case CHANGES_OP:
        sqlite3_result_text(context, change->op, -1, SQLITE_STATIC);
        break;
    case CHANGES_KEY:
        if (change->has_key) vchanges_bytes(context, change->key);
        break;
    case CHANGES_TYPE:
        if (change->type != KV_NONE)
            sqlite3_result_text(context, kv_type_name(change->type), -1,
                                SQLITE_STATIC);
        break;
    case CHANGES_FIELD: vchanges_value(context, &change->field); break;
    case CHANGES_VALUE: vchanges_value(context, &change->value); break;
    case CHANGES_EXPIRES:
        if (change->expires_at != 0)
            sqlite3_result_int64(context, change->expires_at);
        break;
    }
    return SQLITE_OK;
}

static int vchanges_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    *rowid = ((const struct vchanges_cursor *)base)->row;
    return SQLITE_OK;
}

static const sqlite3_module vchanges_module = {
    .iVersion = 1,
    .xConnect = vchanges_connect, /* no xCreate: eponymous only */
    .xBestIndex = vchanges_best_index,
    .xDisconnect = vt_disconnect,
    .xOpen = vchanges_open,
    .xClose = vchanges_close,
    .xFilter = vchanges_filter,
    .xNext = vchanges_next,
    .xEof = vchanges_eof,
    .xColumn = vchanges_column,
    .xRowid = vchanges_rowid};

int vt_changes_register(struct vt_session *session)
{
    return sqlite3_create_module_v2(session->sql, "changes", &vchanges_module,
                                    session, NULL);
}
