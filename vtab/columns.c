/* columns.c - columns.def as a table (sql.md section 1).
 *
 * Thread: any; nothing changes. */
#include "vtab/state.h"

#include <string.h>

struct columns_row {
    const char *table, *column, *type, *doc;
    int pk;
    bool notnull, hidden;
};

static const struct columns_row columns_rows[] = {
#define VT_COLUMN(table, column, type, pk, notnull, hidden, doc)              \
    {#table, #column, type, doc, pk, notnull, hidden},
#include "vtab/columns.def"
#undef VT_COLUMN
};
#define COLUMNS_COUNT (sizeof(columns_rows) / sizeof(columns_rows[0]))

bool vt_column_row(unsigned index, const char **table, const char **column,
                   const char **type, bool *hidden, const char **doc)
{
    const struct columns_row *row;

    if (index >= COLUMNS_COUNT) return false;
    row = &columns_rows[index];
    *table = row->table;
    *column = row->column;
    *type = row->type;
    *hidden = row->hidden;
    *doc = row->doc;
    return true;
}

bool vt_column_notnull(unsigned index)
{
    return index < COLUMNS_COUNT && columns_rows[index].notnull;
}

int vt_column_pk(unsigned index)
{
    return index < COLUMNS_COUNT ? columns_rows[index].pk : 0;
}

bool vt_column_text(const char *table, const char *column)
{
    for (unsigned i = 0; i < COLUMNS_COUNT; i++)
        if (sqlite3_stricmp(columns_rows[i].table, table) == 0 &&
            sqlite3_stricmp(columns_rows[i].column, column) == 0)
            return strcmp(columns_rows[i].type, "TEXT") == 0;
    return false;
}

bool vt_table_known(const char *name)
{
    for (unsigned i = 0; i < COLUMNS_COUNT; i++)
        if (sqlite3_stricmp(columns_rows[i].table, name) == 0) return true;
    return false;
}

char *vt_declare(const char *name)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    bool first = true;

    sqlite3_str_appendall(text, "CREATE TABLE x(");
    for (unsigned i = 0; i < COLUMNS_COUNT; i++) {
        const struct columns_row *row = &columns_rows[i];
        if (strcmp(row->table, name) != 0) continue;
        sqlite3_str_appendf(text, "%s\"%w\" %s%s", first ? "" : ", ",
                            row->column, row->type,
                            row->hidden ? " HIDDEN" : "");
        first = false;
    }
    sqlite3_str_appendall(text, ")");
    return sqlite3_str_finish(text);
}
