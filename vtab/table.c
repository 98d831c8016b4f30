/* table.c - the data tables as SQLite sees them: one module for all.
 *
 * Tables are eponymous: xCreate is xConnect, dropping one drops a name (WR9).
 * A cursor joins the session's list when it is opened and leaves it when it is
 * closed. Everything about transactions goes to the session's one object
 * (txn.c); a table that has not begun takes no part (TX2).
 *
 * Thread: the session's. */
#include "vtab/guest.h"
#include "vtab/khash.h"
#include "vtab/module.h"
#include "vtab/table.h"

#include "kvsql/base/num.h"

#include <string.h>

static const struct vt_def *const vtable_defs[] = {
    &vt_keys_def, &vt_strings_def, &vt_hashes_def,
    &vt_lists_def, &vt_sets_def,   &vt_zsets_def};
#define VTABLE_COUNT (sizeof(vtable_defs) / sizeof(vtable_defs[0]))

/* What a module is registered with: which session, which table. */
struct vtable_aux {
    struct vt_session *session;
    const struct vt_def *def;
};

static void vtable_aux_free(void *aux_arg)
{
    vt_unshare(((struct vtable_aux *)aux_arg)->session);
    sqlite3_free(aux_arg);
}

/* ---- life ---------------------------------------------------------------------- */

/* "CREATE TABLE x(...)" of the table, from columns.def. */
static char *vtable_declare(const char *name)
{
    const char *table, *column, *type, *doc;
    sqlite3_str *text = sqlite3_str_new(NULL);
    bool hidden, first = true, packed = false;

    sqlite3_str_appendall(text, "CREATE TABLE x(");
    for (unsigned i = 0; vt_column_row(i, &table, &column, &type, &hidden, &doc);
         i++)
        if (strcmp(table, name) == 0 && strcmp(column, "_id") == 0)
            packed = true;
    for (unsigned i = 0; vt_column_row(i, &table, &column, &type, &hidden, &doc);
         i++) {
        bool id = strcmp(column, "_id") == 0;
        bool key = packed ? id : strcmp(column, "key") == 0;
        if (strcmp(table, name) != 0) continue;
        sqlite3_str_appendf(text, "%s\"%w\" %s%s", first ? "" : ", ", column,
                            type, hidden ? " HIDDEN" : "");
        if (key) sqlite3_str_appendall(text, " PRIMARY KEY");
        if (key || vt_column_notnull(i))
            sqlite3_str_appendall(text, " NOT NULL");
        first = false;
    }
    sqlite3_str_appendall(text, ") WITHOUT ROWID");
    return sqlite3_str_finish(text);
}

static int vtable_connect(sqlite3 *sql, void *aux_arg, int argc,
                          const char *const *argv, sqlite3_vtab **out,
                          char **error)
{
    const struct vtable_aux *aux = (const struct vtable_aux *)aux_arg;
    struct vt_table *table;
    const int rc = vt_connect(aux->session, vtable_declare(aux->def->name),
                              VT_CONSTRAINTS | VT_INNOCUOUS, sizeof(*table),
                              out);

    (void)sql;
    (void)argc;
    (void)argv;
    (void)error;
    if (rc != SQLITE_OK) return rc;
    table = (struct vt_table *)*out;
    table->session = aux->session;
    table->def = aux->def;
    vt_table_enter(table);
    return SQLITE_OK;
}

static int vtable_disconnect(sqlite3_vtab *vtab)
{
    vt_table_leave((struct vt_table *)vtab);
    return vt_disconnect(vtab);
}

void vt_table_enter(struct vt_table *table)
{
    struct vt_session *session = table->session;

    table->next = session->tables;
    table->link = &session->tables;
    if (table->next != NULL) table->next->link = &table->next;
    session->tables = table;
}

void vt_table_leave(struct vt_table *table)
{
    *table->link = table->next;
    if (table->next != NULL) table->next->link = table->link;
    table->session->schema++; /* nobody has it in mind any more */
}

bool vt_table_text(const struct vt_table *table, int column)
{
    return table->def->labels != NULL
               ? vt_khash_is_text((const struct vt_khash *)table, column)
               : vt_column_text(table->def->name,
                                vt_column_label(table->def, column));
}

static int vtable_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    struct vt_table *table = (struct vt_table *)vtab;
    const int rc = vt_plan(table, info);

    return rc == SQLITE_OK ? vt_plan_tell(table->session, info) : rc;
}

/* ---- cursors -------------------------------------------------------------------- */

/* A cursor that holds nothing: a spare one, or a new one. */
static struct vt_cursor *vtable_cursor(struct vt_session *session)
{
    struct vt_cursor *cursor = session->spare;

    if (cursor != NULL) {
        session->spare = cursor->next;
        session->spares--;
        return cursor;
    }
    cursor = sqlite3_malloc64(sizeof(*cursor));
    if (cursor != NULL) memset(cursor, 0, sizeof(*cursor));
    return cursor;
}

struct vt_cursor *vt_cursor_open(struct vt_table *table)
{
    struct vt_session *session = table->session;
    struct vt_cursor *cursor = vtable_cursor(session);

    if (cursor == NULL) return NULL;
    vt_cursor_init(cursor);
    cursor->table = table;
    cursor->next = session->cursors;
    cursor->link = &session->cursors;
    if (cursor->next != NULL) cursor->next->link = &cursor->next;
    session->cursors = cursor;
    return cursor;
}

static int vtable_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    struct vt_cursor *cursor = vt_cursor_open((struct vt_table *)vtab);

    if (cursor == NULL) return SQLITE_NOMEM;
    *out = &cursor->base;
    return SQLITE_OK;
}

void vt_cursor_close(struct vt_cursor *cursor)
{
    struct vt_session *session = cursor->table->session;

    *cursor->link = cursor->next;
    if (cursor->next != NULL) cursor->next->link = cursor->link;
    vt_cursor_fini(cursor);
    if (session->spares < VT_SPARES_MAX) {
        cursor->next = session->spare;
        session->spare = cursor;
        session->spares++;
    } else {
        vt_seek_free(cursor);
        sqlite3_free(cursor);
    }
}

static int vtable_close(sqlite3_vtab_cursor *base)
{
    vt_cursor_close((struct vt_cursor *)base);
    return SQLITE_OK;
}

void vt_cursors_free(struct vt_session *session)
{
    while (session->spare != NULL) {
        struct vt_cursor *next = session->spare->next;
        vt_seek_free(session->spare);
        sqlite3_free(session->spare);
        session->spare = next;
    }
    session->spares = 0;
}

static int vtable_filter(sqlite3_vtab_cursor *base, int plan, const char *text,
                         int argc, sqlite3_value **argv)
{
    (void)text;
    return vt_cursor_filter((struct vt_cursor *)base, (unsigned)plan, argc,
                            argv);
}

static inline int vtable_step(struct vt_cursor *cursor)
{
    if (cursor->left > 0) {
        cursor->left--;
        return SQLITE_OK;
    }
    if (cursor->lazy && kv_keys_next_plain(&cursor->walk)) {
        cursor->stale = true;
        return SQLITE_OK;
    }
    return vt_cursor_next(cursor);
}

static int vtable_next(sqlite3_vtab_cursor *base)
{
    return vtable_step((struct vt_cursor *)base);
}

int vt_cursor_step(struct vt_cursor *cursor)
{
    return vtable_step(cursor);
}

static int vtable_eof(sqlite3_vtab_cursor *base)
{
    return ((struct vt_cursor *)base)->eof;
}

/* A copy that lives until the statement is over, beside the session while there
 * is room: a row that is changed by its key has little else to hand out. */
static void vtable_emit_copy(struct vt_session *session,
                             sqlite3_context *context,
                             const struct vt_cell *cell)
{
    uint8_t *place = session->row + session->row_used;

    if (session->guest != NULL || /* nobody says when its statement is over */
        cell->size >= sizeof(session->row) - session->row_used) {
        vt_result_bytes(context, cell->p, cell->size, cell->cls, false);
        return;
    }
    if (cell->size > 0) memcpy(place, cell->p, cell->size);
    place[cell->size] = 0;
    session->row_used += (unsigned)cell->size + 1;
    vt_result_bytes(context, place, cell->size, cell->cls, true);
}

static void vtable_emit(struct vt_session *session, sqlite3_context *context,
                        struct vt_cell *cell, bool copy)
{
    switch (cell->kind) {
    case VT_CELL_NULL: sqlite3_result_null(context); break;
    case VT_CELL_INT: sqlite3_result_int64(context, cell->integer); break;
    case VT_CELL_REAL: sqlite3_result_double(context, cell->real); break;
    case VT_CELL_BYTES:
        if (cell->owned && cell->cls == KV_TEXT)
            sqlite3_result_text64(context, (const char *)cell->p, cell->size,
                                  sqlite3_free, SQLITE_UTF8);
        else if (cell->owned)
            sqlite3_result_blob64(context, cell->p, cell->size, sqlite3_free);
        else if (copy)
            vtable_emit_copy(session, context, cell);
        else
            vt_result_bytes(context, cell->p, cell->size, cell->cls,
                            cell->keep);
        break;
    case VT_CELL_FAILED: break;
    }
}

/* The value of a string as it lies in the view; false: it is made. */
static inline bool vtable_give(struct vt_cursor *cursor,
                               sqlite3_context *context)
{
    kvsql_slice bytes;
    unsigned cls;

    if (cursor->stale) {
        if (!kv_keys_plain_text(&cursor->walk, &bytes)) return false;
        /* short, for it lies in a leaf, and a NUL behind it */
        sqlite3_result_text(context, bytes.p, -1, SQLITE_STATIC);
        return true;
    }
    if (!kv_item_text(cursor->item, &bytes, &cls)) return false;
    vt_result_bytes(context, bytes.p, bytes.size, cls, true);
    return true;
}

/* The key of a row that nobody has looked at yet. */
static void vtable_give_key(struct vt_cursor *cursor, sqlite3_context *context)
{
    const struct kv_key *key = kv_keys_plain_key(&cursor->walk);

    vt_result_bytes(context, key->p, key->size, key->cls,
                    cursor->walk.key_stable);
}

/* A column that is made of the row. */
static KV_NOINLINE int vtable_make(struct vt_cursor *cursor,
                                   sqlite3_context *context, int column)
{
    struct vt_cell cell;

    if (cursor->stale) {
        kv_keys_plain_fill(&cursor->walk);
        cursor->lazy = cursor->stale = false; /* the next one will be, too */
    }
    if (cursor->covering && vt_seek_result(cursor, column, context))
        return SQLITE_OK;
    if (cursor->aborted) return SQLITE_ABORT;
    cursor->asked |= column != 0 && column != cursor->table->def->col_plain;
    /* what changes nothing reads no live tree */
    if (cursor->copy && sqlite3_vtab_nochange(context)) return SQLITE_OK;
    if (cursor->settled != NULL) {
        cell = cursor->settled[column];
        cell.owned = cell.keep = false;
        if (cell.kind == VT_CELL_FAILED) return (int)cell.integer;
        vtable_emit(cursor->table->session, context, &cell, true);
        return SQLITE_OK;
    }
    cell.kind = VT_CELL_NULL;
    cell.owned = false;
    cursor->table->def->column(cursor, column, &cell);
    if (cell.kind == VT_CELL_FAILED) return (int)cell.integer;
    vtable_emit(cursor->table->session, context, &cell, cursor->copy);
    return SQLITE_OK;
}

static int vtable_column(sqlite3_vtab_cursor *base, sqlite3_context *context,
                         int column)
{
    struct vt_cursor *cursor = (struct vt_cursor *)base;

    if (column > 0 && column == cursor->give && vtable_give(cursor, context))
        return SQLITE_OK;
    if (column == 0 && cursor->stale) {
        vtable_give_key(cursor, context);
        return SQLITE_OK;
    }
    return vtable_make(cursor, context, column);
}

/* Key or value of a row that nobody has looked at yet, as it lies in the view;
 * false: it is made. */
static inline bool vtable_lend(struct vt_cursor *cursor, int column,
                               struct vt_cell *cell)
{
    const struct kv_key *key;
    kvsql_slice bytes;

    cell->kind = VT_CELL_BYTES;
    if (column == 0) {
        key = kv_keys_plain_key(&cursor->walk);
        cell->p = key->p;
        cell->size = key->size;
        cell->cls = key->cls;
        cell->keep = cursor->walk.key_stable;
        return true;
    }
    if (column != cursor->give || !kv_keys_plain_text(&cursor->walk, &bytes))
        return false;
    cell->p = bytes.p;
    cell->size = bytes.size;
    cell->cls = KV_TEXT;
    cell->keep = true;
    return true;
}

void vt_cursor_cell(struct vt_cursor *cursor, int column, struct vt_cell *cell)
{
    KV_ASSERT(!cursor->copy); /* it reads a view (VS3) */
    cell->owned = cell->keep = false;
    if (cursor->stale) {
        if (vtable_lend(cursor, column, cell)) return;
        kv_keys_plain_fill(&cursor->walk);
        cursor->lazy = cursor->stale = false;
    }
    cursor->asked |= column != 0 && column != cursor->table->def->col_plain;
    cell->kind = VT_CELL_NULL;
    cursor->table->def->column(cursor, column, cell);
}

/* Tables without rowid have none to give. */
static int vtable_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    (void)base;
    *rowid = 0;
    return SQLITE_OK;
}

/* ---- cells ------------------------------------------------------------------------ */

void vt_cell_int(struct vt_cell *cell, int64_t value)
{
    cell->kind = VT_CELL_INT;
    cell->integer = value;
}

void vt_cell_time(struct vt_cell *cell, int64_t wall_ms)
{
    cell->kind = wall_ms != 0 ? VT_CELL_INT : VT_CELL_NULL;
    cell->integer = wall_ms;
}

void vt_cell_text(struct vt_cell *cell, const char *literal)
{
    cell->kind = VT_CELL_BYTES;
    cell->cls = KV_TEXT;
    cell->p = (const uint8_t *)literal;
    cell->size = strlen(literal);
    cell->keep = true;
}

void vt_cell_val(struct vt_cell *cell, const struct kv_val *val)
{
    cell->kind = VT_CELL_BYTES;
    cell->cls = val->cls;
    cell->p = val->p;
    cell->size = val->size;
    cell->keep = val->stable;
}

void vt_cell_key(struct vt_cursor *cursor, struct vt_cell *cell)
{
    cell->kind = VT_CELL_BYTES;
    cell->cls = cursor->key->cls;
    cell->p = cursor->key->p;
    cell->size = cursor->key->size;
    cell->keep = cursor->key == &cursor->walk.key && cursor->walk.key_stable;
}

void vt_cell_failed(struct vt_cell *cell, int code)
{
    cell->kind = VT_CELL_FAILED;
    cell->integer = code;
}

void vt_cell_id(struct vt_cursor *cursor, struct vt_cell *cell)
{
    bool index = cursor->table->def->elem == VT_ELEM_INDEX;
    size_t elem = index ? 8 : cursor->elem->key.size, n;
    uint8_t *id = sqlite3_malloc64(10 + cursor->key->size + elem);

    if (id == NULL) { /* a NULL would be taken for the key of an INSERT */
        vt_cell_failed(cell, SQLITE_NOMEM);
        return;
    }
    n = kv_varint_put(id, cursor->key->size);
    memcpy(id + n, cursor->key->p, cursor->key->size);
    n += cursor->key->size;
    if (index)
        for (int i = 0; i < 8; i++)
            id[n + (size_t)i] = (uint8_t)((uint64_t)cursor->place >>
                                          (56 - 8 * i));
    else
        memcpy(id + n, cursor->elem->key.p, elem);
    cell->kind = VT_CELL_BYTES;
    cell->cls = KV_BLOB;
    cell->p = id;
    cell->size = n + elem;
    cell->owned = true;
}

/* ---- writing ------------------------------------------------------------------------ */

/* A table that was made in the transaction has not begun, and SQLite tells it of no
 * savepoint that was open before it (TX2). */
static int vtable_is_new(struct vt_table *table)
{
    struct kvsql_error err;

    (void)kv_fail(&err, KVSQL_INVALID,
                  "%s: a table that is made in a transaction is written to when "
                  "that is over", table->def->name);
    return vt_fail(table->session, &table->base, &err);
}

static int vtable_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                         sqlite3_int64 *rowid)
{
    struct vt_table *table = (struct vt_table *)vtab;
    struct vt_session *session = table->session;
    struct vt_write write; /* err is long, and filled when it is needed */
    struct kv_mark mark;
    int rc;

    (void)rowid;
    if (KV_UNLIKELY(!table->joined)) return vtable_is_new(table);
    KV_ASSERT(session->txn != NULL); /* TX1 */
    if (vt_cancelled(session)) return SQLITE_INTERRUPT;
    if (!vt_cursors_settle(session)) return SQLITE_NOMEM;
    kv_txn_step(session->txn);
    write.table = table;
    write.session = session;
    write.txn = session->txn;
    kv_at_txn(session->txn, &write.at);
    write.replace =
        argc > 1 && sqlite3_vtab_on_conflict(session->sql) == SQLITE_REPLACE;
    write.old_key = argv[0];
    write.new_key = NULL;
    write.column = NULL;
    mark = kv_txn_mark(session->txn);
    if (argc == 1) {
        rc = table->def->remove(&write);
    } else {
        write.new_key = argv[1];
        write.column = argv + 2;
        rc = sqlite3_value_type(argv[0]) == SQLITE_NULL
                 ? table->def->insert(&write)
                 : table->def->update(&write);
    }
    if (rc != SQLITE_OK) kv_txn_restore(session->txn, mark); /* WR2 */
    return rc;
}

int vt_table_begin(sqlite3_vtab *vtab)
{
    struct vt_table *table = (struct vt_table *)vtab;
    int rc;

    if (table->joined) return SQLITE_OK;
    rc = vt_txn_begin(table->session, vtab);
    table->joined = rc == SQLITE_OK;
    return rc;
}

int vt_table_sync(sqlite3_vtab *vtab)
{
    struct vt_table *table = (struct vt_table *)vtab;

    return table->joined ? vt_txn_prepare(table->session, vtab) : SQLITE_OK;
}

int vt_table_commit(sqlite3_vtab *vtab)
{
    struct vt_table *table = (struct vt_table *)vtab;

    if (table->joined) vt_txn_commit(table->session);
    table->joined = false;
    return SQLITE_OK;
}

int vt_table_rollback(sqlite3_vtab *vtab)
{
    struct vt_table *table = (struct vt_table *)vtab;

    if (table->joined) vt_txn_rollback(table->session);
    table->joined = false;
    return SQLITE_OK;
}

int vt_table_savepoint(sqlite3_vtab *vtab, int n)
{
    struct vt_table *table = (struct vt_table *)vtab;

    return table->joined ? vt_txn_savepoint(table->session, n) : SQLITE_OK;
}

int vt_table_release(sqlite3_vtab *vtab, int n)
{
    struct vt_table *table = (struct vt_table *)vtab;

    if (table->joined) vt_txn_release(table->session, n);
    return SQLITE_OK;
}

int vt_table_rollback_to(sqlite3_vtab *vtab, int n)
{
    struct vt_table *table = (struct vt_table *)vtab;

    if (table->joined) vt_txn_rollback_to(table->session, n);
    return SQLITE_OK;
}

/* ALTER TABLE RENAME of a second name: nothing is stored under it (WR9). */
static int vtable_rename(sqlite3_vtab *vtab, const char *name)
{
    (void)vtab;
    (void)name;
    return SQLITE_OK;
}

static const sqlite3_module vtable_module = {
    .iVersion = 2,
    .xCreate = vtable_connect,
    .xConnect = vtable_connect,
    .xBestIndex = vtable_best_index,
    .xDisconnect = vtable_disconnect,
    .xDestroy = vtable_disconnect,
    .xOpen = vtable_open,
    .xClose = vtable_close,
    .xFilter = vtable_filter,
    .xNext = vtable_next,
    .xEof = vtable_eof,
    .xColumn = vtable_column,
    .xRowid = vtable_rowid,
    .xUpdate = vtable_update,
    .xBegin = vt_table_begin,
    .xSync = vt_table_sync,
    .xCommit = vt_table_commit,
    .xRollback = vt_table_rollback,
    .xRename = vtable_rename,
    .xSavepoint = vt_table_savepoint,
    .xRelease = vt_table_release,
    .xRollbackTo = vt_table_rollback_to};

void vt_table_methods(sqlite3_module *module)
{
    *module = vtable_module;
}

kvsql_rc vt_tables_register(struct vt_session *session, struct kvsql_error *err)
{
    for (size_t i = 0; i < VTABLE_COUNT; i++) {
        struct vtable_aux *aux = sqlite3_malloc64(sizeof(*aux));
        int rc = SQLITE_NOMEM;
        if (aux != NULL) {
            *aux = (struct vtable_aux){vt_share(session), vtable_defs[i]};
            rc = sqlite3_create_module_v2(session->sql, vtable_defs[i]->name,
                                          &vtable_module, aux,
                                          vtable_aux_free);
        }
        if (rc != SQLITE_OK)
            return kv_fail(err, KVSQL_NOMEM, "sql: cannot make table %s: %s",
                           vtable_defs[i]->name, sqlite3_errstr(rc));
    }
    return KVSQL_OK;
}
