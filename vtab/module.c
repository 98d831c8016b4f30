/* module.c - what the modules of virtual tables share: connecting, and the
 * reading side of a table that has no rows (module.h).
 *
 * Thread: the session's. */
#include "vtab/module.h"

#include <string.h>

int vt_declare_as(struct vt_session *session, const char *text)
{
    int rc;

    if (text == NULL) return SQLITE_NOMEM;
    session->declaring = true;
    rc = sqlite3_declare_vtab(session->sql, text);
    session->declaring = false;
    return rc;
}

int vt_connect(struct vt_session *session, char *text, unsigned flags,
               size_t size, sqlite3_vtab **out)
{
    sqlite3 *sql = session->sql;
    int rc = vt_declare_as(session, text);

    KV_ASSERT(size >= sizeof(**out));
    sqlite3_free(text);
    if (rc == SQLITE_OK && (flags & VT_CONSTRAINTS) != 0)
        rc = sqlite3_vtab_config(sql, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
    if (rc == SQLITE_OK && (flags & VT_INNOCUOUS) != 0)
        rc = sqlite3_vtab_config(sql, SQLITE_VTAB_INNOCUOUS);
    if (rc == SQLITE_OK && (flags & VT_DIRECTONLY) != 0)
        rc = sqlite3_vtab_config(sql, SQLITE_VTAB_DIRECTONLY);
    if (rc != SQLITE_OK) return rc;
    *out = sqlite3_malloc64(size);
    if (*out == NULL) return SQLITE_NOMEM;
    memset(*out, 0, size);
    return SQLITE_OK;
}

int vt_plan_tell(const struct vt_session *session, sqlite3_index_info *info)
{
    char *text;

    if (KV_LIKELY(!session->limits.estimates)) return SQLITE_OK;
    text = sqlite3_mprintf("%s%s~%lld", info->idxStr ? info->idxStr : "",
                           info->idxStr ? " " : "", info->estimatedRows);
    if (text == NULL) return SQLITE_NOMEM;
    if (info->needToFreeIdxStr) sqlite3_free(info->idxStr);
    info->idxStr = text;
    info->needToFreeIdxStr = 1;
    return SQLITE_OK;
}

int vt_disconnect(sqlite3_vtab *vtab)
{
    sqlite3_free(vtab);
    return SQLITE_OK;
}

/* ---- nothing to read -------------------------------------------------------------- */

int vt_empty_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    (void)vtab;
    info->estimatedCost = 1;
    info->estimatedRows = 1;
    return SQLITE_OK;
}

int vt_empty_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    (void)vtab;
    *out = sqlite3_malloc64(sizeof(**out));
    if (*out == NULL) return SQLITE_NOMEM;
    memset(*out, 0, sizeof(**out));
    return SQLITE_OK;
}

int vt_empty_close(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

int vt_empty_filter(sqlite3_vtab_cursor *cursor, int plan, const char *text,
                    int argc, sqlite3_value **argv)
{
    (void)cursor;
    (void)plan;
    (void)text;
    (void)argc;
    (void)argv;
    return SQLITE_OK;
}

int vt_empty_next(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return SQLITE_OK;
}

int vt_empty_eof(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return 1;
}

int vt_empty_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context,
                    int column)
{
    (void)cursor;
    (void)context;
    (void)column;
    return SQLITE_OK;
}

int vt_empty_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
    (void)cursor;
    *rowid = 0;
    return SQLITE_OK;
}
