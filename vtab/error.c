/* error.c - results of ours as SQLite's codes, and back (sql.md 2.6).
 *
 * A module call that fails leaves its sentence in session->failure. When
 * SQLite reports the same sentence at the end of the statement, the result it
 * came with is the one the caller gets; anything else is SQLite's own error
 * and is translated by its code.
 *
 * Thread: the session's. */
#include "vtab/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int vt_code(kvsql_rc rc)
{
    switch (rc) {
    case KVSQL_OK: return SQLITE_OK;
    case KVSQL_EXISTS: return SQLITE_CONSTRAINT_PRIMARYKEY;
    case KVSQL_NOTFOUND:
    case KVSQL_WRONGTYPE:
    case KVSQL_NOTINT:
    case KVSQL_NOTFLOAT:
    case KVSQL_OVERFLOW:
    case KVSQL_RANGE:
    case KVSQL_CONSTRAINT: return SQLITE_CONSTRAINT_VTAB;
    case KVSQL_TOOBIG: return SQLITE_TOOBIG;
    case KVSQL_READONLY: return SQLITE_READONLY;
    case KVSQL_NOMEM: return SQLITE_NOMEM;
    case KVSQL_OOM:
    case KVSQL_FULL: return SQLITE_FULL;
    case KVSQL_IO: return SQLITE_IOERR;
    case KVSQL_CORRUPT: return SQLITE_CORRUPT;
    case KVSQL_BUSY:
    case KVSQL_LOADING: return SQLITE_BUSY;
    case KVSQL_SNAPSHOT: return SQLITE_BUSY_SNAPSHOT;
    case KVSQL_INTERRUPT: return SQLITE_INTERRUPT;
    case KVSQL_AUTH: return SQLITE_AUTH;
    case KVSQL_ABORT: return SQLITE_ABORT;
    case KVSQL_CLOSED: return SQLITE_MISUSE;
    case KVSQL_LOCKED:
    case KVSQL_NEWER: return SQLITE_CANTOPEN;
    case KVSQL_INTERNAL: return SQLITE_INTERNAL;
    case KVSQL_SYNTAX:
    case KVSQL_ARITY:
    case KVSQL_UNKNOWN:
    case KVSQL_INVALID: return SQLITE_ERROR;
    }
    return SQLITE_ERROR;
}

int vt_failed(struct vt_session *session, sqlite3_vtab *vtab, int code,
              const struct kvsql_error *err)
{
    session->failure = *err;
    if (vtab != NULL) {
        sqlite3_free(vtab->zErrMsg);
        vtab->zErrMsg = sqlite3_mprintf("%s", err->text);
    }
    return code;
}

int vt_fail(struct vt_session *session, sqlite3_vtab *vtab,
            const struct kvsql_error *err)
{
    KV_ASSERT(err->rc != KVSQL_OK);
    return vt_failed(session, vtab, vt_code(err->rc), err);
}

int vt_constraint(struct vt_session *session, sqlite3_vtab *vtab, int code,
                  const char *format, ...)
{
    struct kvsql_error err;
    char text[KVSQL_ERROR_SIZE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)kv_fail(&err,
                  code == SQLITE_CONSTRAINT_PRIMARYKEY ? KVSQL_EXISTS
                                                       : KVSQL_CONSTRAINT,
                  "%s", text);
    return vt_failed(session, vtab, code, &err);
}

/* What a code of SQLite's own means to our callers. */
static kvsql_rc verror_result(int code, bool preparing)
{
    switch (code) {
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_ROWID: return KVSQL_EXISTS;
    case SQLITE_BUSY_SNAPSHOT: return KVSQL_SNAPSHOT;
    default: break;
    }
    switch (code & 0xff) {
    case SQLITE_ERROR: return preparing ? KVSQL_SYNTAX : KVSQL_INVALID;
    case SQLITE_CONSTRAINT: return KVSQL_CONSTRAINT;
    case SQLITE_TOOBIG: return KVSQL_TOOBIG;
    case SQLITE_READONLY: return KVSQL_READONLY;
    case SQLITE_NOMEM: return KVSQL_NOMEM;
    case SQLITE_FULL: return KVSQL_FULL;
    case SQLITE_IOERR: return KVSQL_IO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return KVSQL_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return KVSQL_BUSY;
    case SQLITE_INTERRUPT: return KVSQL_INTERRUPT;
    case SQLITE_AUTH: return KVSQL_AUTH;
    case SQLITE_ABORT: return KVSQL_ABORT;
    case SQLITE_RANGE: return KVSQL_RANGE;
    case SQLITE_CANTOPEN: return KVSQL_NOTFOUND;
    case SQLITE_MISMATCH: return KVSQL_INVALID;
    default: return KVSQL_INTERNAL;
    }
}

kvsql_rc vt_stopped(const struct vt_session *session, struct kvsql_error *err)
{
    if ((session->timed_out || session->budget.late) && session->write_late)
        return kv_fail(err, KVSQL_INTERRUPT,
                       "the transaction held the store for longer than %d ms "
                       "(sql-write-deadline): write less at once",
                       vt_limit_get(VT_LIMIT_WRITE));
    if (session->timed_out || session->budget.late)
        return kv_fail(err, KVSQL_INTERRUPT,
                       "the statement ran into its deadline of %llu ms "
                       "(sql-timeout)",
                       (unsigned long long)session->limits.deadline_ms);
    if (session->pin != NULL &&
        kv_view_ended(session->pin, err) != KVSQL_OK) /* RD7 */
        return KVSQL_INTERRUPT;
    return kv_fail(err, KVSQL_INTERRUPT, "the statement was cancelled");
}

kvsql_rc vt_command_stopped(const struct vt_command *command,
                            struct kvsql_error *err)
{
    KV_ASSERT(command->session != NULL);
    return vt_cancelled(command->session)
               ? vt_stopped(command->session, err)
               : KVSQL_OK;
}

/* The result of a code of SQLite's whose sentence is `text`. */
static kvsql_rc verror_say(struct vt_session *session, int code, bool preparing,
                           const char *text, struct kvsql_error *err)
{
    /* What xBestIndex says while a statement is compiled comes as text. */
    bool stopped = (code & 0xff) == SQLITE_INTERRUPT || session->budget.late ||
                   (preparing && strcmp(text, "interrupted") == 0);
    const struct kvsql_error *failure = &session->failure;
    const bool ours = failure->rc != KVSQL_OK && failure->rc != KVSQL_NOMEM &&
                      code == vt_code(failure->rc);
    kvsql_rc rc, met;

    if (ours && strcmp(text, failure->text) == 0)
        return kv_fail(err, failure->rc, "%s", text);
    if (stopped) return vt_stopped(session, err);
    /* there was no memory to hand on the sentence */
    if (ours && strcmp(text, sqlite3_errstr(code)) == 0) {
        *err = *failure;
        return failure->rc;
    }
    if (preparing && session->denied)
        return kv_fail(err, KVSQL_AUTH, "%s", text);
    rc = verror_result(code, preparing);
    met = vt_limit_met(session, code, rc, text, err);
    return met != KVSQL_OK ? met : kv_fail(err, rc, "%s", text);
}

kvsql_rc vt_sqlite_error(struct vt_session *session, int code, bool preparing,
                         struct kvsql_error *err)
{
    const char *text = sqlite3_errmsg(session->sql);

    session->error_offset = sqlite3_error_offset(session->sql);
    if (preparing && session->error_offset < 0)
        session->error_offset =
            vt_place(text, session->reads.sql, session->reads.size);
    return verror_say(session, code, preparing, text, err);
}

kvsql_rc vt_module_error(struct vt_session *session, sqlite3_vtab *vtab,
                         int code, struct kvsql_error *err)
{
    const kvsql_rc rc = verror_say(
        session, code, false,
        vtab->zErrMsg != NULL ? vtab->zErrMsg : sqlite3_errstr(code), err);

    sqlite3_free(vtab->zErrMsg);
    vtab->zErrMsg = NULL;
    return rc;
}
