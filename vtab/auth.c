/* auth.c - what a statement may name (reliability Q6, sql.md RU1).
 *
 * An allow-list by action: what is not listed is denied. A trusted session is
 * only watched: whether the table that is planned next is the one that an
 * UPDATE or a DELETE names is noted, because it decides about one-pass plans
 * (PL5) and about what a parameter is compared as (texts.c). SQLite says UPDATE
 * and DELETE before it plans their table, and SELECT before it plans tables of a
 * query, a subquery or an UPDATE .. FROM.
 *
 * Thread: the session's, inside prepare. */
#include "vtab/edit.h"

#include <string.h>

/* Functions that stop no clock, reach files or change the process (Q6). */
static const char *const vauth_functions[] = {
    "load_extension", "fts3_tokenizer", "printf", "format", "json_patch",
    "readfile", "writefile", "edit", NULL};

static const char *const vauth_pragmas[] = {
    "table_info", "table_xinfo", "table_list", "function_list",
    "module_list", "compile_options", NULL};

/* Tables of ours about the server and those who use it (RU1). */
static const char *const vauth_admin[] = {"clients", "config", "queries",
                                          "slowlog", NULL};

static bool vauth_listed(const char *const *names, const char *name)
{
    for (; *names != NULL; names++)
        if (name != NULL && sqlite3_stricmp(*names, name) == 0) return true;
    return false;
}

static bool vauth_is_schema(const char *table)
{
    return sqlite3_stricmp(table, "sqlite_master") == 0 ||
           sqlite3_stricmp(table, "sqlite_temp_master") == 0 ||
           sqlite3_stricmp(table, "sqlite_schema") == 0;
}

/* Writing to a table by name: ours, and SQLite's own bookkeeping, which it
 * asks about when it connects an eponymous table. */
static bool vauth_writable(const struct vt_session *session, const char *table)
{
    return table != NULL &&
           (vt_table_known(table) || vt_khash_known(session, table) ||
            vauth_is_schema(table));
}

/* Declaring a table over hashes, and dropping it: for all sessions, so only for
 * those with all rights. Another virtual table, a second name for one of ours or
 * one that takes the place of another, would stay in the session for whoever has
 * it next. (Eponymous tables are there without CREATE.) */
static bool vauth_defines(const struct vt_session *session, const char *module,
                          const char *database)
{
    return module != NULL && sqlite3_stricmp(module, "kv_hash") == 0 &&
           database != NULL && sqlite3_stricmp(database, "main") == 0 &&
           session->limits.admin && !session->limits.read_only;
}

/* The table that is planned next: of a query, or named by UPDATE or DELETE. */
static void vauth_target(struct vt_session *session, int action,
                         const char *table)
{
    if (session->declaring) return;
    if (action == SQLITE_SELECT)
        session->target = false;
    else if (action == SQLITE_UPDATE || action == SQLITE_DELETE)
        session->target = table != NULL && !vauth_is_schema(table);
}

/* A table, view or virtual table that takes the name of one of ours, or that
 * some table takes by ALTER (EX4). */
static bool vauth_makes(int action, const char *one, const char *two)
{
    switch (action) {
    case SQLITE_ALTER_TABLE: return true;
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_TEMP_VIEW: return one != NULL && vt_table_known(one);
    case SQLITE_CREATE_VTABLE:
        return one != NULL && two != NULL && vt_table_known(one) &&
               sqlite3_stricmp(one, two) != 0;
    default: return false;
    }
}

/* A view or a trigger: what it says, statements say that use it. */
static void vauth_keep_rows_in(struct vt_session *session, int action)
{
    if (action == SQLITE_CREATE_VIEW || action == SQLITE_CREATE_TEMP_VIEW ||
        action == SQLITE_CREATE_TRIGGER ||
        action == SQLITE_CREATE_TEMP_TRIGGER)
        session->rows_in = vt_reads_rows_in(session);
}

/* What may change which table a name means, or how a text is compiled. */
static bool vauth_shapes(int action, const char *one)
{
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE: return false;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE: return one == NULL || vauth_is_schema(one);
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT: /* a program is judged outside of transactions */
        return false;
    default: return true;
    }
}

/* What SQLite counts: rows that are changed, but not those of a table that is
 * dropped. (A table-valued function is made when it is read first, which looks
 * like CREATE TABLE.) */
static void vauth_rows(struct vt_session *session, int action, const char *one)
{
    if (action == SQLITE_INSERT || action == SQLITE_UPDATE ||
        action == SQLITE_DELETE)
        session->saw_rows = session->saw_rows ||
                            (one != NULL && !vauth_is_schema(one));
    if (action == SQLITE_DROP_TABLE || action == SQLITE_DROP_TEMP_TABLE ||
        action == SQLITE_DROP_VTABLE || action == SQLITE_DROP_VIEW ||
        action == SQLITE_DROP_TEMP_VIEW || action == SQLITE_ANALYZE)
        session->drops = true;
}

/* What asks for the counts of changes, or may when it is used. */
static bool vauth_counts(int action, const char *two)
{
    switch (action) {
    case SQLITE_FUNCTION:
        return two != NULL && (sqlite3_stricmp(two, "changes") == 0 ||
                               sqlite3_stricmp(two, "total_changes") == 0);
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_ATTACH: return true;
    default: return false;
    }
}

int vt_authorize(void *arg, int action, const char *one, const char *two,
                 const char *three, const char *four)
{
    struct vt_session *session = (struct vt_session *)arg;
    bool allow = false;

    if (action == SQLITE_DELETE && one != NULL &&
        (vt_table_known(one) || vt_khash_known(session, one)))
        session->saw_delete = true;
    vauth_target(session, action, one);
    if (action == SQLITE_READ && one != NULL && !session->declaring)
        vt_reads_note(session, one, two, three, four);
    if (vauth_makes(action, one, two)) session->shadowed = true;
    vauth_keep_rows_in(session, action);
    if (!session->declaring && vauth_shapes(action, one)) {
        session->shapes = true;
        session->schema++;
    }
    if (!session->declaring) vauth_rows(session, action, one);
    if (vauth_counts(action, two)) vt_count_asked(session);
    if (action == SQLITE_PRAGMA && two != NULL && !session->internal &&
        sqlite3_stricmp(one, "query_only") == 0)
        session->query_only = true;
    if (session->limits.trusted || session->internal) return SQLITE_OK;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE: allow = true; break;
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_VTABLE:
        allow = vauth_defines(session, two, three);
        break;
    case SQLITE_FUNCTION: allow = !vauth_listed(vauth_functions, two); break;
    case SQLITE_PRAGMA:
        allow = vauth_listed(vauth_pragmas, one);
        break;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE: 
        allow = vauth_writable(session, one);
        break;
    default: break;
    }
    if (!session->limits.admin &&
        vauth_listed(vauth_admin, action == SQLITE_CREATE_VTABLE ? two : one))
        allow = false;
    if (!allow) session->denied = true;
    return allow ? SQLITE_OK : SQLITE_DENY;
}
