/* info.c - small tables about kvsql itself, as SQLite sees them: one module for
 * all (sql.md 2.7).
 *
 * Their rows are made at xFilter, so nothing can change under a cursor. Some of
 * them can be changed: that is no part of a transaction and cannot be rolled
 * back.
 *
 * Thread: the session's. */
#include "vtab/guest.h"
#include "vtab/info.h"
#include "vtab/module.h"

#include <string.h>

static const struct vt_info info_tables[] = {
    {.name = "kv_columns", .fill = vt_fill_columns},
    {.name = "kv_meta", .fill = vt_fill_meta, .walk = vt_walk_meta},
    {.name = "kv_schema", .fill = vt_fill_schema},
    {.name = "stats", .fill = vt_fill_stats},
    {.name = "snapshots", .fill = vt_fill_snapshots},
    {.name = "views", .fill = vt_fill_views},
    {.name = "queries", .fill = vt_fill_queries, .direct = true,
     .numbered = true, .remove = vt_query_remove},
    {.name = "commands", .fill = vt_fill_commands, .there = vt_has_commands},
    {.name = "clients", .fill = vt_fill_clients, .there = vt_has_clients,
     .direct = true, .numbered = true, .remove = vt_client_remove},
    {.name = "config", .fill = vt_fill_config, .there = vt_has_config,
     .direct = true, .update = vt_config_update},
    {.name = "slowlog", .fill = vt_fill_slowlog, .there = vt_has_slowlog,
     .direct = true},
    {.name = "latency", .fill = vt_fill_latency, .there = vt_has_latency}};
#define INFO_COUNT (sizeof(info_tables) / sizeof(info_tables[0]))

struct info_table {
    sqlite3_vtab base;
    struct vt_session *session;
    const struct vt_info *info;
    unsigned columns;
};

struct info_cursor {
    sqlite3_vtab_cursor base;
    struct vt_rows rows;
    uint64_t at;
    bool whole; /* nothing is left to be walked for */
};

/* What a module is registered with. */
struct info_aux {
    struct vt_session *session;
    const struct vt_info *info;
};

static unsigned info_columns(const char *name)
{
    const char *table, *column, *type, *doc;
    unsigned count = 0;
    bool hidden;

    for (unsigned i = 0; vt_column_row(i, &table, &column, &type, &hidden,
                                       &doc);
         i++)
        count += strcmp(table, name) == 0;
    return count;
}

static int info_connect(sqlite3 *sql, void *aux_arg, int argc,
                        const char *const *argv, sqlite3_vtab **out,
                        char **error)
{
    const struct info_aux *aux = (const struct info_aux *)aux_arg;
    struct info_table *table;
    const int rc = vt_connect(
        aux->session, vt_declare(aux->info->name),
        VT_CONSTRAINTS | (aux->info->direct ? VT_DIRECTONLY : VT_INNOCUOUS),
        sizeof(*table), out);

    (void)sql;
    (void)argc;
    (void)argv;
    (void)error;
    if (rc != SQLITE_OK) return rc;
    table = (struct info_table *)*out;
    table->session = aux->session;
    table->info = aux->info;
    table->columns = info_columns(aux->info->name);
    return SQLITE_OK;
}

static int info_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    info->estimatedCost = 200;
    info->estimatedRows = 100;
    return vt_plan_tell(((struct info_table *)vtab)->session, info);
}

static int info_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    struct info_cursor *cursor = sqlite3_malloc64(sizeof(*cursor));

    if (cursor == NULL) return SQLITE_NOMEM;
    memset(cursor, 0, sizeof(*cursor));
    vt_rows_init(&cursor->rows, ((struct info_table *)vtab)->columns);
    *out = &cursor->base;
    return SQLITE_OK;
}

static int info_close(sqlite3_vtab_cursor *base)
{
    vt_rows_fini(&((struct info_cursor *)base)->rows);
    sqlite3_free(base);
    return SQLITE_OK;
}

/* What needs a walk over the store. Outside of a write the statement's view
 * stays what it is, so it can wait until somebody asks. */
static int info_walk(struct info_cursor *cursor)
{
    struct info_table *table = (struct info_table *)cursor->base.pVtab;
    struct vt_session *session = table->session;
    struct kvsql_error err;

    cursor->whole = true;
    if (table->info->walk(&cursor->rows, session, &err) != KVSQL_OK)
        return vt_fail(session, &table->base, &err);
    return SQLITE_OK;
}

static int info_filter(sqlite3_vtab_cursor *base, int plan, const char *text,
                       int argc, sqlite3_value **argv)
{
    struct info_cursor *cursor = (struct info_cursor *)base;
    struct info_table *table = (struct info_table *)base->pVtab;
    struct kvsql_error err;
    kvsql_rc rc;

    (void)plan;
    (void)text;
    (void)argc;
    (void)argv;
    vt_rows_fini(&cursor->rows);
    vt_rows_init(&cursor->rows, table->columns);
    cursor->at = 0;
    cursor->whole = table->info->walk == NULL;
    rc = vt_guest_turn(table->session, &err);
    if (rc == KVSQL_OK)
        rc = table->info->fill(&cursor->rows, table->session, &err);
    if (rc != KVSQL_OK) return vt_fail(table->session, &table->base, &err);
    if (vt_rows_failed(&cursor->rows)) return SQLITE_NOMEM;
    if (!cursor->whole &&
        (table->session->txn != NULL || table->session->guest != NULL))
        return info_walk(cursor);
    return SQLITE_OK;
}

static int info_next(sqlite3_vtab_cursor *base)
{
    ((struct info_cursor *)base)->at++;
    return SQLITE_OK;
}

static int info_eof(sqlite3_vtab_cursor *base)
{
    const struct info_cursor *cursor = (const struct info_cursor *)base;

    return cursor->at >= cursor->rows.count;
}

static int info_column(sqlite3_vtab_cursor *base, sqlite3_context *context,
                       int column)
{
    struct info_cursor *cursor = (struct info_cursor *)base;
    struct vt_value_at value;
    int rc = SQLITE_OK;

    if (!cursor->whole && column == 1) {
        vt_rows_get(&cursor->rows, cursor->at, 1, &value);
        if (value.kind == VT_NULL) rc = info_walk(cursor);
        if (rc != SQLITE_OK) return rc;
    }
    vt_rows_result(&cursor->rows, cursor->at, (unsigned)column, context);
    return SQLITE_OK;
}

static int info_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    const struct info_cursor *cursor = (const struct info_cursor *)base;
    const struct info_table *table = (const struct info_table *)base->pVtab;
    struct vt_value_at number;

    *rowid = (sqlite3_int64)cursor->at;
    if (!table->info->numbered) return SQLITE_OK;
    vt_rows_get(&cursor->rows, cursor->at, 0, &number);
    *rowid = number.integer;
    return SQLITE_OK;
}

/* DELETE: argv[0] is the number; UPDATE: and the columns behind argv[1] (WR3). */
static int info_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                       sqlite3_int64 *rowid)
{
    struct info_table *table = (struct info_table *)vtab;
    const struct vt_info *info = table->info;
    struct vt_session *session = table->session;
    const bool insert = sqlite3_value_type(argv[0]) == SQLITE_NULL;
    const int64_t number = sqlite3_value_int64(argv[0]);
    struct kvsql_error err;
    kvsql_rc rc;

    (void)rowid;
    if (session->limits.read_only)
        rc = kv_fail(&err, KVSQL_READONLY, "this session only reads");
    else if (argc == 1 && info->remove != NULL)
        rc = info->remove(session, number, &err);
    else if (argc > 1 && !insert && info->update != NULL)
        rc = info->update(session, number, argv + 2, &err);
    else
        rc = kv_fail(&err, KVSQL_CONSTRAINT, "rows of %s cannot be %s",
                     info->name,
                     argc == 1 ? "deleted" : insert ? "inserted" : "changed");
    return rc == KVSQL_OK ? SQLITE_OK : vt_fail(session, vtab, &err);
}

#define INFO_METHODS                                                          \
    .iVersion = 1, .xConnect = info_connect, /* eponymous only */             \
        .xBestIndex = info_best_index, .xDisconnect = vt_disconnect,        \
        .xOpen = info_open, .xClose = info_close, .xFilter = info_filter,     \
        .xNext = info_next, .xEof = info_eof, .xColumn = info_column,         \
        .xRowid = info_rowid
static const sqlite3_module info_module = {INFO_METHODS};
static const sqlite3_module info_module_changes = {INFO_METHODS,
                                                   .xUpdate = info_update};

bool vt_table_there(const char *name)
{
    const struct vt_host *host = vt_host_get();

    if (strcmp(name, "kv") == 0 || strcmp(name, "kv_exec") == 0)
        return host->command_run != NULL;
    for (size_t i = 0; i < INFO_COUNT; i++)
        if (strcmp(info_tables[i].name, name) == 0)
            return info_tables[i].there == NULL || info_tables[i].there(host);
    return true;
}

int vt_info_register(struct vt_session *session)
{
    const struct vt_host *host = vt_host_get();
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < INFO_COUNT; i++) {
        const struct vt_info *info = &info_tables[i];
        struct info_aux *aux;
        if (info->there != NULL && !info->there(host)) continue;
        aux = sqlite3_malloc64(sizeof(*aux));
        if (aux == NULL) return SQLITE_NOMEM;
        *aux = (struct info_aux){session, info};
        rc = sqlite3_create_module_v2(
            session->sql, info->name,
            info->remove != NULL || info->update != NULL ? &info_module_changes
                                                         : &info_module,
            aux, sqlite3_free);
    }
    return rc;
}
