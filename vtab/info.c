/* info.c - small read-only tables about kvsql itself: kv_columns, kv_meta,
 * kv_schema, stats, snapshots, commands (sql.md 2.7).
 *
 * Their rows are made at xFilter, so nothing can change under a cursor.
 *
 * Thread: the session's. */
#include "vtab/state.h"

#include "kvsql/base/num.h"

#include <string.h>

#define INFO_COLUMNS_MAX 8
#define INFO_SNAPSHOTS_MAX 64

/* One value; text is copied into the row's own memory. */
struct info_cell {
    enum vt_value_kind kind;
    int64_t integer;
    const char *text; /* static, or in the rows' memory */
};

struct info_cursor;
struct info_def {
    const char *name;
    void (*fill)(struct info_cursor *cursor, struct vt_session *session);
};

struct info_table {
    sqlite3_vtab base;
    struct vt_session *session;
    const struct info_def *def;
};

struct info_row {
    struct info_cell cell[INFO_COLUMNS_MAX];
};

struct info_cursor {
    sqlite3_vtab_cursor base;
    struct info_row *rows;
    unsigned count, cap, at, column;
    bool nomem;
};

/* ---- making rows ------------------------------------------------------------------ */

static void info_row_new(struct info_cursor *cursor)
{
    cursor->column = 0;
    if (cursor->nomem) return;
    if (cursor->count == cursor->cap) {
        unsigned cap = cursor->cap > 0 ? cursor->cap * 2 : 32;
        struct info_row *grown = sqlite3_realloc64(
            cursor->rows, (sqlite3_uint64)cap * sizeof(*grown));
        cursor->nomem = grown == NULL;
        if (cursor->nomem) return;
        cursor->rows = grown;
        cursor->cap = cap;
    }
    memset(&cursor->rows[cursor->count++], 0, sizeof(struct info_row));
}

static struct info_cell *info_cell(struct info_cursor *cursor)
{
    KV_ASSERT(cursor->column < INFO_COLUMNS_MAX);
    return &cursor->rows[cursor->count - 1].cell[cursor->column++];
}

static void info_int(struct info_cursor *cursor, int64_t value)
{
    struct info_cell *cell;

    if (cursor->nomem) return;
    cell = info_cell(cursor);
    cell->kind = VT_INTEGER;
    cell->integer = value;
}

static void info_text(struct info_cursor *cursor, const char *text)
{
    struct info_cell *cell;
    char *copy;

    if (cursor->nomem) return;
    copy = sqlite3_mprintf("%s", text);
    cursor->nomem = copy == NULL;
    if (cursor->nomem) return;
    cell = info_cell(cursor);
    cell->kind = VT_TEXT;
    cell->text = copy;
}

static void info_clear(struct info_cursor *cursor)
{
    for (unsigned i = 0; i < cursor->count; i++)
        for (int c = 0; c < INFO_COLUMNS_MAX; c++)
            sqlite3_free((void *)(uintptr_t)cursor->rows[i].cell[c].text);
    sqlite3_free(cursor->rows);
    cursor->rows = NULL;
    cursor->count = cursor->cap = cursor->at = 0;
    cursor->nomem = false;
}

/* ---- the tables --------------------------------------------------------------------- */

static void info_columns(struct info_cursor *cursor,
                         struct vt_session *session)
{
    const char *table, *column, *type, *doc, *last = "";
    bool hidden;
    int cid = 0;

    (void)session;
    for (unsigned i = 0; vt_column_row(i, &table, &column, &type, &hidden,
                                       &doc);
         i++) {
        cid = strcmp(table, last) == 0 ? cid + 1 : 0;
        last = table;
        info_row_new(cursor);
        info_text(cursor, table);
        info_int(cursor, cid);
        info_text(cursor, column);
        info_text(cursor, type);
        info_int(cursor, vt_column_pk(i));
        info_int(cursor, hidden);
        info_text(cursor, doc);
    }
}

static void info_pair_text(struct info_cursor *cursor, const char *name,
                           const char *value)
{
    info_row_new(cursor);
    info_text(cursor, name);
    info_text(cursor, value);
}

static void info_pair_int(struct info_cursor *cursor, const char *name,
                          int64_t value)
{
    info_row_new(cursor);
    info_text(cursor, name);
    info_int(cursor, value);
}

/* A session that writes holds the store's lock. */
static void info_facts(const struct vt_session *session, struct kv_info *info)
{
    if (session->txn != NULL) {
        kv_info_get_in(session->txn, info);
    } else {
        kv_info_get(session->db, info);
    }
}

/* What a file written from the statement's view would say of itself. */
static void info_meta(struct info_cursor *cursor, struct vt_session *session)
{
    struct kv_info info;
    struct kv_at at;
    struct vt_snap *snap;
    struct kvsql_error err;

    if (vt_read_at(session, true, &at, &snap, &err) != KVSQL_OK) {
        cursor->nomem = true;
        return;
    }
    info_facts(session, &info);
    info_pair_int(cursor, "created_at", kv_at_wall(&at));
    info_pair_int(cursor, "position", (int64_t)at.position);
    info_pair_text(cursor, "store_id", info.store_id);
    info_pair_text(cursor, "written_by", "kvsql " KVSQL_VERSION);
}

/* Declared tables (kv_hash) come with a later version: there are none. */
static void info_schema(struct info_cursor *cursor, struct vt_session *session)
{
    (void)cursor;
    (void)session;
}

static void info_stat(struct info_cursor *cursor, const char *name,
                      uint64_t value, const char *unit)
{
    info_pair_int(cursor, name, (int64_t)value);
    info_text(cursor, unit);
}

static void info_stat_text(struct info_cursor *cursor, const char *name,
                           const char *value)
{
    info_pair_text(cursor, name, value);
    info_text(cursor, "text");
}

static void info_stats(struct info_cursor *cursor, struct vt_session *session)
{
    struct kv_info info;

    info_facts(session, &info);
    info_stat(cursor, "keys", info.keys, "count");
    info_stat(cursor, "keys_with_expiry", info.keys_with_expiry, "count");
    info_stat(cursor, "position", info.position, "count");
    info_stat(cursor, "released", info.released, "count");
    info_stat(cursor, "durable", info.durable, "count");
    info_stat(cursor, "commits", info.commits, "count");
    info_stat(cursor, "ops", info.ops, "count");
    info_stat(cursor, "expired_keys", info.expired_keys, "count");
    info_stat(cursor, "evicted_keys", info.evicted_keys, "count");
    info_stat(cursor, "expired_fields", info.expired_fields, "count");
    info_stat(cursor, "memory_data", info.memory_data, "bytes");
    info_stat(cursor, "memory_retired", info.memory_retired, "bytes");
    info_stat(cursor, "memory_undo", info.memory_undo, "bytes");
    info_stat(cursor, "memory_views", info.memory_views, "bytes");
    info_stat(cursor, "memory_wal", info.memory_wal, "bytes");
    info_stat(cursor, "memory_clients", info.memory_clients, "bytes");
    info_stat(cursor, "memory_misc", info.memory_misc, "bytes");
    info_stat(cursor, "memory_max", info.memory_max, "bytes");
    info_stat(cursor, "views", info.views, "count");
    info_stat(cursor, "views_oldest", info.views_oldest_ms, "ms");
    info_stat(cursor, "wal_bytes", info.wal_bytes, "bytes");
    info_stat(cursor, "wal_size", info.wal_size, "bytes");
    info_stat(cursor, "wal_segments", info.wal_segments, "count");
    info_stat(cursor, "wal_writes", info.wal_writes, "count");
    info_stat(cursor, "wal_syncs", info.wal_syncs, "count");
    info_stat(cursor, "snapshots", info.snapshot_count, "count");
    info_stat(cursor, "snapshot_position", info.snapshot_position, "count");
    info_stat(cursor, "snapshot_time", info.snapshot_ms, "ms");
    info_stat_text(cursor, "wal_state", info.wal_state);
    info_stat_text(cursor, "wal_policy", info.wal_policy);
    info_stat_text(cursor, "dir", info.dir);
    info_stat_text(cursor, "store_id", info.store_id);
    info_stat_text(cursor, "start_id", info.start_id);
    info_stat_text(cursor, "version", KVSQL_VERSION);
}

static void info_snapshots(struct info_cursor *cursor,
                           struct vt_session *session)
{
    struct kv_snapshot_info kept[INFO_SNAPSHOTS_MAX];
    unsigned count = kv_snapshot_list(session->db, kept, INFO_SNAPSHOTS_MAX);

    for (unsigned i = 0; i < count; i++) {
        info_row_new(cursor);
        info_text(cursor, kept[i].file);
        info_int(cursor, (int64_t)kept[i].position);
        info_int(cursor, kept[i].created_at);
        info_int(cursor, (int64_t)kept[i].size);
        info_text(cursor, "kept");
    }
}

static void info_commands(struct info_cursor *cursor,
                          struct vt_session *session)
{
    const struct vt_host *host = vt_host_get();
    const char *name, *group, *summary;
    int arity, first, last, step;
    unsigned flags;

    (void)session;
    for (unsigned i = 0; host->command_row(i, &name, &arity, &flags, &first,
                                           &last, &step, &group, &summary);
         i++) {
        info_row_new(cursor);
        info_text(cursor, name);
        info_int(cursor, arity);
        info_int(cursor, flags);
        info_int(cursor, first);
        info_int(cursor, last);
        info_int(cursor, step);
        info_text(cursor, group);
        info_text(cursor, summary);
    }
}

static const struct info_def info_defs[] = {
    {"kv_columns", info_columns}, {"kv_meta", info_meta},
    {"kv_schema", info_schema},   {"stats", info_stats},
    {"snapshots", info_snapshots}, {"commands", info_commands}};

/* ---- the module ------------------------------------------------------------------------ */

struct info_aux {
    struct vt_session *session;
    const struct info_def *def;
};

static int info_connect(sqlite3 *sql, void *aux_arg, int argc,
                        const char *const *argv, sqlite3_vtab **out,
                        char **error)
{
    const struct info_aux *aux = (const struct info_aux *)aux_arg;
    struct info_table *made;
    char *declare = vt_declare(aux->def->name);
    int rc;

    (void)argc;
    (void)argv;
    (void)error;
    if (declare == NULL) return SQLITE_NOMEM;
    rc = sqlite3_declare_vtab(sql, declare);
    sqlite3_free(declare);
    if (rc != SQLITE_OK) return rc;
    made = sqlite3_malloc64(sizeof(*made));
    if (made == NULL) return SQLITE_NOMEM;
    *made = (struct info_table){.session = aux->session, .def = aux->def};
    *out = &made->base;
    return sqlite3_vtab_config(sql, SQLITE_VTAB_INNOCUOUS);
}

static int info_disconnect(sqlite3_vtab *vtab)
{
    sqlite3_free(vtab);
    return SQLITE_OK;
}

static int info_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    (void)vtab;
    info->estimatedCost = 200;
    info->estimatedRows = 100;
    return SQLITE_OK;
}

static int info_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    struct info_cursor *cursor = sqlite3_malloc64(sizeof(*cursor));

    (void)vtab;
    if (cursor == NULL) return SQLITE_NOMEM;
    memset(cursor, 0, sizeof(*cursor));
    *out = &cursor->base;
    return SQLITE_OK;
}

static int info_close(sqlite3_vtab_cursor *base)
{
    info_clear((struct info_cursor *)base);
    sqlite3_free(base);
    return SQLITE_OK;
}

static int info_filter(sqlite3_vtab_cursor *base, int plan, const char *text,
                       int argc, sqlite3_value **argv)
{
    struct info_cursor *cursor = (struct info_cursor *)base;
    struct info_table *table = (struct info_table *)base->pVtab;

    (void)plan;
    (void)text;
    (void)argc;
    (void)argv;
    info_clear(cursor);
    table->def->fill(cursor, table->session);
    return cursor->nomem ? SQLITE_NOMEM : SQLITE_OK;
}

static int info_next(sqlite3_vtab_cursor *base)
{
    ((struct info_cursor *)base)->at++;
    return SQLITE_OK;
}

static int info_eof(sqlite3_vtab_cursor *base)
{
    const struct info_cursor *cursor = (const struct info_cursor *)base;

    return cursor->at >= cursor->count;
}

static int info_column(sqlite3_vtab_cursor *base, sqlite3_context *context,
                       int column)
{
    const struct info_cursor *cursor = (const struct info_cursor *)base;
    const struct info_cell *cell = &cursor->rows[cursor->at].cell[column];

    if (cell->kind == VT_INTEGER)
        sqlite3_result_int64(context, cell->integer);
    else if (cell->kind == VT_TEXT)
        sqlite3_result_text(context, cell->text, -1, SQLITE_TRANSIENT);
    return SQLITE_OK;
}

static int info_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    *rowid = ((const struct info_cursor *)base)->at;
    return SQLITE_OK;
}

static const sqlite3_module info_module = {
    .iVersion = 1,
    .xConnect = info_connect, /* no xCreate: eponymous only */
    .xBestIndex = info_best_index,
    .xDisconnect = info_disconnect,
    .xOpen = info_open,
    .xClose = info_close,
    .xFilter = info_filter,
    .xNext = info_next,
    .xEof = info_eof,
    .xColumn = info_column,
    .xRowid = info_rowid};

int vt_info_register(struct vt_session *session)
{
    const struct vt_host *host = vt_host_get();
    int rc = SQLITE_OK;

    for (size_t i = 0;
         rc == SQLITE_OK && i < sizeof(info_defs) / sizeof(info_defs[0]);
         i++) {
        struct info_aux *aux;
        if (info_defs[i].fill == info_commands && host->command_row == NULL)
            continue;
        aux = sqlite3_malloc64(sizeof(*aux));
        if (aux == NULL) return SQLITE_NOMEM;
        *aux = (struct info_aux){session, &info_defs[i]};
        rc = sqlite3_create_module_v2(session->sql, info_defs[i].name,
                                      &info_module, aux, sqlite3_free);
    }
    return rc;
}
