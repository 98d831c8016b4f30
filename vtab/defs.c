/* defs.c - kv_hash tables as definitions of the store (sql.md KH7).
 *
 * CREATE and DROP run in the session's own connection first: SQLite and the
 * module say whether they can be. Behind the statement what it said goes into
 * the store as a batch of its own; that is why they stand outside of
 * transactions. All other sessions learn it when they prepare their next
 * statement: the store has a number that changes with the definitions, and a
 * session whose number is another one makes its schema what a released view
 * says.
 *
 * A TEMP table is the session's alone.
 *
 * Thread: the session's. */
#include "vtab/khash.h"

#include <string.h>

#define DEFS_UNKNOWN UINT64_MAX

static kvsql_slice defs_slice(const char *text)
{
    return (kvsql_slice){text, strlen(text)};
}

/* ---- what a statement said -------------------------------------------------- */

void vt_defs_forget(struct vt_session *session)
{
    sqlite3_free(session->define_name);
    sqlite3_free(session->define_text);
    sqlite3_free(session->define_view);
    session->define_name = session->define_text = session->define_view = NULL;
}

int vt_defs_note(struct vt_session *session, const struct vt_khash *khash,
                 bool drop)
{
    vt_defs_forget(session);
    session->define_name = sqlite3_mprintf("%s", khash->name);
    session->define_text = sqlite3_mprintf("%s", drop ? "" : khash->text);
    session->define_view = drop ? sqlite3_mprintf("") : vt_khash_view(khash);
    if (session->define_name != NULL && session->define_text != NULL &&
        session->define_view != NULL)
        return SQLITE_OK;
    vt_defs_forget(session);
    return SQLITE_NOMEM;
}

/* Whether there is a definition of that name, in any case. */
static bool defs_find(const struct kv_at *at, const char *name,
                      struct kv_def *def)
{
    const size_t size = strlen(name);

    for (size_t place = 0; kv_def_next(at, &place, def);)
        if (def->name.size == size &&
            sqlite3_strnicmp(def->name.p, name, (int)size) == 0)
            return true;
    return false;
}

/* In the txn: the old one may be spelled otherwise. */
static kvsql_rc defs_define(struct vt_session *session, struct kv_txn *txn,
                            struct kvsql_error *err)
{
    const struct kv_def def = {.name = defs_slice(session->define_name),
                               .text = defs_slice(session->define_text),
                               .view = defs_slice(session->define_view)};
    const bool drop = def.text.size == 0;
    struct kv_at at;
    struct kv_def old;

    kv_at_txn(txn, &at);
    if (!defs_find(&at, session->define_name, &old))
        return drop ? KVSQL_OK : kv_define(txn, &def, err);
    if (!drop)
        return kv_fail(err, KVSQL_EXISTS, "table %s already exists",
                       session->define_name);
    return kv_define(txn, &def, err);
}

/* Behind a statement that is over; `rc` is what came of it. What it said is in
 * the store then, and session->ticket tells of the batch. */
kvsql_rc vt_defs_store(struct vt_session *session, kvsql_rc rc,
                       struct kvsql_error *err)
{
    struct kv_txn *txn = NULL;

    if (session->define_name == NULL) return rc;
    session->defs_seen = DEFS_UNKNOWN;
    if (rc == KVSQL_OK) {
        KV_ASSERT(session->txn == NULL);
        rc = kv_txn_begin(session->db, true, VT_BUSY_MS, &txn, err);
        if (rc == KVSQL_OK) {
            rc = defs_define(session, txn, err);
            if (rc != KVSQL_OK)
                kv_txn_rollback(txn);
            else
                rc = kv_txn_commit(txn, &session->ticket, err);
            if (rc == KVSQL_OK) {
                session->ticket_set = true;
                session->position = session->ticket.position;
            }
        }
    }
    vt_defs_forget(session);
    return rc;
}

/* ---- what others said -------------------------------------------------------- */

/* Run a statement of the schema; what is no lack of memory or time is SQLite's
 * no to a name, and then the session is without the table. */
static kvsql_rc defs_run(struct vt_session *session, char *sql,
                         struct kvsql_error *err)
{
    const int rc = sql != NULL
                       ? sqlite3_exec(session->sql, sql, NULL, NULL, NULL)
                       : SQLITE_NOMEM;

    sqlite3_free(sql);
    if (rc == SQLITE_NOMEM)
        return kv_fail(err, KVSQL_NOMEM, "sql: no memory for a table");
    if (rc == SQLITE_INTERRUPT) return vt_sqlite_error(session, rc, false, err);
    return KVSQL_OK;
}

/* A table of ours that the store does not have, or not so. */
static struct vt_khash *defs_stale(struct vt_session *session,
                                   const struct kv_at *at)
{
    struct vt_khash *khash = session->khashes;
    struct kv_def def;

    for (; khash != NULL; khash = khash->next)
        if (!khash->temp && !khash->stuck &&
            (!defs_find(at, khash->name, &def) ||
             def.text.size != strlen(khash->text) ||
             memcmp(def.text.p, khash->text, def.text.size) != 0))
            return khash;
    return NULL;
}

static bool defs_have(const struct vt_session *session,
                      const struct kv_def *def)
{
    const struct vt_khash *khash = session->khashes;

    for (; khash != NULL; khash = khash->next)
        if (!khash->temp && strlen(khash->text) == def->text.size &&
            memcmp(khash->text, def->text.p, def->text.size) == 0)
            return true;
    return false;
}

static kvsql_rc defs_apply(struct vt_session *session, const struct kv_at *at,
                           struct kvsql_error *err)
{
    struct vt_khash *khash;
    struct kv_def def;
    kvsql_rc rc = KVSQL_OK;

    while (rc == KVSQL_OK && (khash = defs_stale(session, at)) != NULL) {
        khash->stuck = true; /* not twice; it is gone, mostly */
        rc = defs_run(session,
                      sqlite3_mprintf("DROP TABLE main.\"%w\"", khash->name),
                      err);
    }
    for (size_t place = 0; rc == KVSQL_OK && kv_def_next(at, &place, &def);)
        if (!defs_have(session, &def))
            rc = defs_run(session,
                          sqlite3_mprintf("%.*s", (int)def.text.size,
                                          (const char *)def.text.p),
                          err);
    return rc;
}

static void defs_query_only(struct vt_session *session, bool on)
{
    if (session->limits.read_only)
        (void)sqlite3_exec(session->sql,
                           on ? "PRAGMA query_only=1" : "PRAGMA query_only=0",
                           NULL, NULL, NULL);
}

kvsql_rc vt_defs_learn(struct vt_session *session, struct kvsql_error *err)
{
    struct kv_view *view = NULL;
    struct kv_at at;
    kvsql_rc rc;

    if (session->db == NULL || kv_defs_hint(session->db) == session->defs_seen ||
        session->active != NULL || session->txn != NULL ||
        session->pin != NULL || !sqlite3_get_autocommit(session->sql))
        return KVSQL_OK;
    rc = kv_pin(session->db, &view, err);
    if (rc != KVSQL_OK) return rc;
    kv_at_view(view, &at);
    if (kv_defs_version(&at) != session->defs_seen) {
        session->internal = session->learning = true;
        defs_query_only(session, false);
        rc = defs_apply(session, &at, err);
        vt_statements_forget(session); /* an index is complete, perhaps */
        defs_query_only(session, true);
        session->internal = session->learning = false;
        session->defs_seen =
            rc == KVSQL_OK ? kv_defs_version(&at) : DEFS_UNKNOWN;
    }
    kv_unpin(view);
    return rc;
}
