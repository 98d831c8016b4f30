/* planner.c - see planner.h. */
#include "tests/lib/planner.h"

#include <string.h>

struct planner_table {
    sqlite3_vtab base;
    struct planner *planner;
};

static const char *const names[] = {"key", "value", "n"};

static int planner_connect(sqlite3 *sql, void *aux, int argc,
                           const char *const *argv, sqlite3_vtab **out,
                           char **error)
{
    struct planner_table *table = sqlite3_malloc(sizeof(*table));

    (void)argc, (void)argv, (void)error;
    if (table == NULL) return SQLITE_NOMEM;
    memset(table, 0, sizeof(*table));
    table->planner = aux;
    *out = &table->base;
    return sqlite3_declare_vtab(sql, "CREATE TABLE x(key TEXT NOT NULL PRIMARY"
                                     " KEY, value TEXT NOT NULL, n INTEGER)"
                                     " WITHOUT ROWID");
}

static int planner_disconnect(sqlite3_vtab *table)
{
    sqlite3_free(table);
    return SQLITE_OK;
}

static const char *operator_of(unsigned op)
{
    static const struct {
        unsigned op;
        const char *name;
    } operators[] = {{SQLITE_INDEX_CONSTRAINT_EQ, "EQ"},
                     {SQLITE_INDEX_CONSTRAINT_GT, "GT"},
                     {SQLITE_INDEX_CONSTRAINT_LE, "LE"},
                     {SQLITE_INDEX_CONSTRAINT_LT, "LT"},
                     {SQLITE_INDEX_CONSTRAINT_GE, "GE"},
                     {SQLITE_INDEX_CONSTRAINT_LIKE, "LIKE"},
                     {SQLITE_INDEX_CONSTRAINT_GLOB, "GLOB"},
                     {SQLITE_INDEX_CONSTRAINT_NE, "NE"},
                     {SQLITE_INDEX_CONSTRAINT_IS, "IS"},
                     {SQLITE_INDEX_CONSTRAINT_ISNULL, "ISNULL"},
                     {SQLITE_INDEX_CONSTRAINT_ISNOT, "ISNOT"},
                     {SQLITE_INDEX_CONSTRAINT_ISNOTNULL, "NOTNULL"},
                     {73, "LIMIT"}, /* SQLITE_INDEX_CONSTRAINT_LIMIT */
                     {74, "OFFSET"}};

    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
        if (operators[i].op == op) return operators[i].name;
    return "OTHER";
}

static void say_constraint(sqlite3_str *out, sqlite3_index_info *info, int i)
{
    const int column = info->aConstraint[i].iColumn;
    const unsigned char op = info->aConstraint[i].op;
    sqlite3_value *value = NULL;

    if (i > 0) sqlite3_str_appendall(out, ", ");
    if (op < 73)
        sqlite3_str_appendf(out, "%s ", column < 0 ? "rowid" : names[column]);
    sqlite3_str_appendf(out, "%s ", operator_of(op));
    if (sqlite3_vtab_rhs_value(info, i, &value) != SQLITE_OK || value == NULL)
        sqlite3_str_appendall(out, "?");
    else if (sqlite3_value_type(value) == SQLITE_TEXT)
        sqlite3_str_appendf(out, "%Q", sqlite3_value_text(value));
    else
        sqlite3_str_appendf(out, "%s", sqlite3_value_text(value));
    if (op < 73)
        sqlite3_str_appendf(out, " %s", sqlite3_vtab_collation(info, i));
    if (op == SQLITE_INDEX_CONSTRAINT_EQ && sqlite3_vtab_in(info, i, -1))
        sqlite3_str_appendall(out, " IN");
    if (!info->aConstraint[i].usable) sqlite3_str_appendall(out, " -");
}

static int planner_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    struct planner *planner = ((struct planner_table *)base)->planner;
    sqlite3_str *out = sqlite3_str_new(NULL);
    const size_t size = strlen(planner->text);
    char *text;

    for (int i = 0; i < info->nConstraint; i++) say_constraint(out, info, i);
    for (int i = 0; i < info->nOrderBy; i++)
        sqlite3_str_appendf(out, "%s %s%s", i > 0 ? "," : "; order",
                            names[info->aOrderBy[i].iColumn],
                            info->aOrderBy[i].desc ? " DESC" : "");
    sqlite3_str_appendf(out, "; distinct %d; cols %lld\n",
                        sqlite3_vtab_distinct(info), info->colUsed);
    text = sqlite3_str_finish(out);
    if (text == NULL) return SQLITE_NOMEM;
    sqlite3_snprintf((int)(PLANNER_TEXT_MAX - size), planner->text + size, "%s",
                     text);
    sqlite3_free(text);
    info->estimatedCost = 1000;
    return SQLITE_OK;
}

static int planner_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
    (void)table;
    *out = sqlite3_malloc(sizeof(**out));
    return *out != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

static int planner_close(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int planner_filter(sqlite3_vtab_cursor *cursor, int plan,
                          const char *text, int argc, sqlite3_value **argv)
{
    (void)cursor, (void)plan, (void)text, (void)argc, (void)argv;
    return SQLITE_OK;
}

static int planner_next(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return SQLITE_OK;
}

static int planner_eof(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return 1;
}

static int planner_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context,
                          int column)
{
    (void)cursor, (void)context, (void)column;
    return SQLITE_OK;
}

static const sqlite3_module planner_module = {
    .xCreate = planner_connect,
    .xConnect = planner_connect,
    .xBestIndex = planner_best_index,
    .xDisconnect = planner_disconnect,
    .xDestroy = planner_disconnect,
    .xOpen = planner_open,
    .xClose = planner_close,
    .xFilter = planner_filter,
    .xNext = planner_next,
    .xEof = planner_eof,
    .xColumn = planner_column};

int planner_register(sqlite3 *sql, struct planner *planner)
{
    planner->text[0] = 0;
    return sqlite3_create_module(sql, "planner", &planner_module, planner);
}
