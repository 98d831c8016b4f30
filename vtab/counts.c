/* counts.c - changes() and total_changes() where not all changes are SQLite's.
 *
 * A change that is made without SQLite's machine (edit.c) is not in its counts,
 * and there is no call to put it there. vt_changes() is told by the session. As for
 * SQL: from the first statement that asks on, or could by a view or a trigger,
 * all changes of the session are SQLite's again. Before that statement runs SQLite
 * counts what it has missed of the last statement, row by row, with a table that
 * does nothing. What it has missed of all is added in total_changes().
 *
 * Thread: the session's. */
#include "vtab/edit.h"
#include "vtab/module.h"

void vt_count_own(struct vt_session *session, int64_t changes)
{
    session->changes = changes;
    session->changes_own = true;
    session->total_own += changes;
}

void vt_count_asked(struct vt_session *session)
{
    session->counts_asked = true;
}

/* ---- SQLite counts --------------------------------------------------------------- */

static int counts_connect(sqlite3 *sql, void *aux, int argc,
                          const char *const *argv, sqlite3_vtab **out,
                          char **error)
{
    (void)sql;
    (void)argc;
    (void)argv;
    (void)error;
    return vt_connect((struct vt_session *)aux,
                      sqlite3_mprintf("CREATE TABLE x(n)"), VT_DIRECTONLY,
                      sizeof(sqlite3_vtab), out);
}

static int counts_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                         sqlite3_int64 *rowid)
{
    (void)vtab;
    (void)argc;
    (void)argv;
    *rowid = 0;
    return SQLITE_OK;
}

static const sqlite3_module counts_module = {
    .iVersion = 2,
    .xConnect = counts_connect, /* no xCreate: eponymous only */
    VT_EMPTY_METHODS,
    .xDisconnect = vt_disconnect,
    .xUpdate = counts_update};

kvsql_rc vt_count_settle(struct vt_session *session, struct kvsql_error *err)
{
    static const char text[] =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT "
        "?1) INSERT INTO \"kv uncounted\" SELECT i FROM n";
    sqlite3_stmt *stmt = NULL;
    const bool inside = !sqlite3_get_autocommit(session->sql);
    kvsql_rc result = KVSQL_OK;
    int rc;

    if (!session->changes_own || !session->counts_asked) return KVSQL_OK;
    KV_ASSERT(session->active == NULL);
    session->internal = true;
    rc = sqlite3_prepare_v2(session->sql, text, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(stmt, 1, session->changes);
    if (rc == SQLITE_OK) rc = sqlite3_step(stmt);
    if (rc != SQLITE_DONE) result = vt_sqlite_error(session, rc, false, err);
    (void)sqlite3_finalize(stmt);
    session->internal = false;
    if (result != KVSQL_OK && inside &&
        vt_session_stands(session, err) != KVSQL_OK)
        return KVSQL_NOMEM;
    if (result != KVSQL_OK) return result;
    session->total_own -= session->changes;
    session->changes_own = false;
    return KVSQL_OK;
}

/* ---- all of them ------------------------------------------------------------------ */

static void counts_total(sqlite3_context *context, int argc,
                         sqlite3_value **argv)
{
    const struct vt_session *session =
        (const struct vt_session *)sqlite3_user_data(context);

    (void)argc;
    (void)argv;
    sqlite3_result_int64(context, sqlite3_total_changes64(session->sql) +
                                      session->total_own);
}

int vt_count_register(struct vt_session *session)
{
    int rc = sqlite3_create_module_v2(session->sql, "kv uncounted",
                                      &counts_module, session, NULL);

    if (rc != SQLITE_OK) return rc;
    return sqlite3_create_function_v2(session->sql, "total_changes", 0,
                                      SQLITE_UTF8, session, counts_total, NULL,
                                      NULL, NULL);
}
