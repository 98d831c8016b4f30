/* guest.c - sessions in connections that are not our own (guest.h).
 *
 * The table that tells the end of a transaction stands in temp, which nobody
 * shares and which is never written to a file: to take part in a transaction
 * is to write, and writing in main would lock the process's own file. It is
 * made when a transaction first reads. A connection that may not write
 * (query_only) cannot have it; there each statement has a view of its own.
 *
 * Thread: as guest.h says. */
#include "vtab/guest.h"

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "vtab/module.h"
#include "vtab/table.h"

#define GUEST_SQLITE_LEAST 3038000
#define GUEST_HOLD "kvsql_transaction" /* the module and its table */

/* ---- the store that they share --------------------------------------------------- */

void vt_store_init(struct vt_store *store)
{
    *store = (struct vt_store){.late = NULL};
    kv_lock_init(&store->lock, KV_RANK_COMMAND);
    kv_cond_init(&store->turn);
}

static struct vt_snap *guest_late_take(struct vt_store *store)
{
    struct vt_snap *snap = NULL;

    kv_lock_take(&store->lock);
    if (store->writer == NULL && store->late != NULL) {
        snap = store->late;
        store->late = snap->next;
    }
    kv_lock_drop(&store->lock);
    return snap;
}

static void guest_late_put(struct vt_store *store, struct vt_snap *snap)
{
    kv_lock_take(&store->lock);
    snap->next = store->late;
    store->late = snap;
    kv_lock_drop(&store->lock);
}

/* Unpin what waits for it, as far as nobody has the lock. */
static void guest_late(struct vt_store *store)
{
    struct vt_snap *snap;

    while ((snap = guest_late_take(store)) != NULL) {
        if (!kv_unpin_try(snap->view)) {
            guest_late_put(store, snap);
            return;
        }
        kv_mem_free(KV_MEM_VIEW, snap, sizeof(*snap));
    }
}

void vt_guest_unpin(struct vt_snap *snap)
{
    struct vt_store *store = snap->store;

    guest_late_put(store, snap);
    guest_late(store);
}

void vt_store_fini(struct vt_store *store)
{
    struct vt_snap *snap;

    KV_ASSERT(store->writer == NULL);
    while ((snap = guest_late_take(store)) != NULL) {
        kv_unpin(snap->view);
        kv_mem_free(KV_MEM_VIEW, snap, sizeof(*snap));
    }
    kv_cond_fini(&store->turn);
    kv_lock_fini(&store->lock);
}

kvsql_rc vt_guest_turn(struct vt_session *session, struct kvsql_error *err)
{
    struct vt_store *store = session->guest;
    kvsql_rc rc = KVSQL_OK;

    if (store == NULL || session->txn != NULL) return KVSQL_OK;
    rc = kv_txn_none_here(err); /* GU1 */
    if (rc != KVSQL_OK) return rc;
    kv_lock_take(&store->lock);
    while (rc == KVSQL_OK && store->writer != NULL) {
        if (pthread_equal(store->thread, pthread_self())) /* GU1 */
            rc = kv_fail(err, KVSQL_BUSY,
                         "another connection of this thread has written and "
                         "not committed: end its transaction first");
        else if (!kv_cond_wait_within(&store->turn, &store->lock, VT_BUSY_MS))
            rc = kv_fail(err, KVSQL_BUSY,
                         "another connection has written and not committed "
                         "for longer than %d ms; try again",
                         VT_BUSY_MS);
    }
    kv_lock_drop(&store->lock);
    return rc;
}

void vt_guest_writes(struct vt_session *session)
{
    struct vt_store *store = session->guest;

    if (store == NULL) return;
    kv_lock_take(&store->lock);
    /* The one before may have let go of the store and not yet said so here. */
    store->writer = session;
    store->thread = pthread_self();
    kv_sql_writes(session->db);
    kv_lock_drop(&store->lock);
    /* What a statement before has read is not of this transaction (TX9). */
    if (!session->held) vt_guest_aside(session);
}

void vt_guest_wrote(struct vt_session *session)
{
    struct vt_store *store = session->guest;

    if (store == NULL) return;
    kv_lock_take(&store->lock);
    if (store->writer == session) {
        store->writer = NULL;
        kv_sql_wrote(session->db);
    }
    kv_cond_wake_all(&store->turn);
    kv_lock_drop(&store->lock);
    guest_late(store);
}

void vt_guest_gate(struct vt_session *session)
{
    struct kvsql_error err;

    if (session->guest == NULL || vt_txn_gate(session, &err) == KVSQL_OK)
        return;
    /* SQLite does not listen here; the store refuses writes from now on. */
    session->failure = err;
    kv_diag(KV_ERROR_LEVEL, "sql.commit_lost", "why=\"%s\"", err.text);
}

/* ---- the table that tells the end of a transaction --------------------------------- */

struct guest_hold {
    sqlite3_vtab base;
    struct vt_session *session;
};

static int hold_connect(sqlite3 *sql, void *aux, int argc,
                        const char *const *argv, sqlite3_vtab **out,
                        char **error)
{
    const int rc = vt_connect((struct vt_session *)aux,
                              sqlite3_mprintf("CREATE TABLE x(n)"), 0,
                              sizeof(struct guest_hold), out);

    (void)sql;
    (void)argc;
    (void)argv;
    (void)error;
    if (rc == SQLITE_OK)
        ((struct guest_hold *)*out)->session = (struct vt_session *)aux;
    return rc;
}

static int hold_create(sqlite3 *sql, void *aux, int argc,
                       const char *const *argv, sqlite3_vtab **out,
                       char **error)
{
    return hold_connect(sql, aux, argc, argv, out, error);
}

static int hold_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                       sqlite3_int64 *rowid)
{
    (void)argc;
    (void)argv;
    (void)rowid;
    sqlite3_free(vtab->zErrMsg);
    vtab->zErrMsg = sqlite3_mprintf("%s", GUEST_HOLD " has no rows");
    return SQLITE_CONSTRAINT_VTAB;
}

static int hold_begin(sqlite3_vtab *vtab)
{
    (void)vtab;
    return SQLITE_OK;
}

/* The transaction is over, and what it has read with it. */
static int hold_end(sqlite3_vtab *vtab)
{
    struct vt_session *session = ((struct guest_hold *)vtab)->session;

    session->held = false;
    vt_guest_aside(session);
    return SQLITE_OK;
}

static const sqlite3_module hold_module = {
    .iVersion = 1,
    .xCreate = hold_create, /* not xConnect: no table without CREATE */
    .xConnect = hold_connect,
    VT_EMPTY_METHODS,
    .xDisconnect = vt_disconnect,
    .xDestroy = vt_disconnect,
    .xUpdate = hold_update,
    .xBegin = hold_begin,
    .xSync = hold_begin,
    .xCommit = hold_end,
    .xRollback = hold_end};

/* Take part in the transaction, so as to hear of its end. */
static kvsql_rc guest_hold(struct vt_session *session, struct kvsql_error *err)
{
    static const char join[] = "DELETE FROM temp." GUEST_HOLD " WHERE 0";
    static const char make[] = "CREATE VIRTUAL TABLE temp." GUEST_HOLD
                               " USING " GUEST_HOLD;
    int rc = sqlite3_exec(session->sql, join, NULL, NULL, NULL);

    if (rc == SQLITE_ERROR) /* it is not there */
        rc = sqlite3_exec(session->sql, make, NULL, NULL, NULL);
    session->held = rc == SQLITE_OK;
    if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_READONLY) return KVSQL_OK;
    return kv_fail(err, (rc & 0xff) == SQLITE_NOMEM ? KVSQL_NOMEM
                                                    : KVSQL_INTERNAL,
                   "cannot take part in the transaction: %s",
                   sqlite3_errmsg(session->sql));
}

/* ---- reading ------------------------------------------------------------------------- */

/* Some cursor reads a pinned view: a statement is running (RD2). */
static bool guest_reading(const struct vt_session *session)
{
    for (const struct vt_cursor *cursor = session->cursors; cursor != NULL;
         cursor = cursor->next)
        if (cursor->snap != NULL && cursor->snap->store != NULL) return true;
    return false;
}

void vt_guest_aside(struct vt_session *session)
{
    if (session->pinned == NULL) return;
    vt_snap_drop(session->aside);
    session->aside = session->pinned;
    session->pinned = NULL;
    session->pin = NULL;
}

static kvsql_rc guest_pin(struct vt_session *session, struct kvsql_error *err)
{
    struct vt_snap *snap;
    kvsql_rc rc = vt_guest_turn(session, err);

    if (rc != KVSQL_OK) return rc;
    guest_late(session->guest);
    snap = kv_mem_zalloc(KV_MEM_VIEW, sizeof(*snap));
    if (snap == NULL)
        return kv_fail(err, KVSQL_NOMEM, "sql: no memory for a view");
    rc = kv_pin_within(session->db, VT_BUSY_MS, &snap->view, err);
    if (rc != KVSQL_OK) {
        kv_mem_free(KV_MEM_VIEW, snap, sizeof(*snap));
        return rc;
    }
    snap->store = session->guest;
    snap->refs = 1;
    session->pinned = snap;
    session->pin = snap->view;
    kv_at_view(session->pin, &session->pin_at);
    kv_view_hold(session->pin, "connection");
    session->keys_hint = kv_count_all(&session->pin_at);
    session->position = kv_view_position(session->pin);
    return KVSQL_OK;
}

kvsql_rc vt_guest_read(struct vt_session *session, struct vt_snap **snap,
                       struct kv_at *at, struct kvsql_error *err)
{
    const bool reading = guest_reading(session);
    bool keep = session->held || reading;
    kvsql_rc rc = KVSQL_OK;

    KV_ASSERT(session->txn == NULL);
    if (!session->held && !sqlite3_get_autocommit(session->sql)) {
        rc = guest_hold(session, err);
        if (rc != KVSQL_OK) return rc;
        keep = !session->held && reading; /* the first view of a transaction */
    }
    if (session->pinned == NULL || !keep) {
        vt_guest_aside(session);
        if (!reading) { /* RD5: nobody points into it */
            vt_snap_drop(session->aside);
            session->aside = NULL;
        }
        rc = guest_pin(session, err);
        if (rc != KVSQL_OK) return rc;
    }
    *at = session->pin_at;
    if (snap != NULL) {
        *snap = session->pinned;
        session->pinned->refs++;
    }
    return KVSQL_OK;
}

/* ---- life ---------------------------------------------------------------------------- */

struct vt_session *vt_share(struct vt_session *session)
{
    session->shares++;
    return session;
}

static void guest_end(struct vt_session *session)
{
    void (*left)(void *arg) = session->left;
    void *arg = session->left_arg;

    KV_ASSERT(session->txn == NULL && session->cursors == NULL);
    vt_query_leave(session);
    vt_guest_aside(session);
    vt_snap_drop(session->aside);
    vt_cursors_free(session);
    vt_session_free(session);
    left(arg);
}

void vt_unshare(void *arg)
{
    struct vt_session *session = (struct vt_session *)arg;

    KV_ASSERT(session->shares > 0);
    if (--session->shares == 0 && session->guest != NULL) guest_end(session);
}

kvsql_rc vt_guest_fit(struct kvsql_error *err)
{
    if (sqlite3_libversion_number() < GUEST_SQLITE_LEAST)
        return kv_fail(err, KVSQL_INVALID,
                       "kvsql: this process has SQLite %s, 3.38.0 or later is "
                       "needed",
                       sqlite3_libversion());
    if (!sqlite3_threadsafe())
        return kv_fail(err, KVSQL_INVALID,
                       "kvsql: this process has an SQLite without threads "
                       "(SQLITE_THREADSAFE=0)");
    return KVSQL_OK;
}

kvsql_rc vt_guest_open(sqlite3 *sql, kvsql *db, struct vt_store *store,
                       bool read_only, void (*left)(void *arg), void *arg,
                       struct kvsql_error *err)
{
    struct vt_session *session = NULL;
    kvsql_rc rc = KVSQL_OK;

    if (vt_query_knows(sql))
        rc = kv_fail(err, KVSQL_INVALID,
                     "this connection has the tables of a store already: open "
                     "another connection");
    else if ((session = vt_session_new(db)) == NULL)
        rc = kv_fail(err, KVSQL_NOMEM, "sql: no memory for a session");
    if (session == NULL) {
        left(arg);
        return rc;
    }
    session->sql = session->reals.sql = sql;
    session->guest = store;
    session->left = left;
    session->left_arg = arg;
    session->limits.read_only = read_only;
    vt_query_enter(session);
    (void)vt_share(session);
    rc = vt_tables_register(session, err);
    if (rc == KVSQL_OK) rc = vt_functions_register(session, err);
    if (rc == KVSQL_OK &&
        (vt_khash_register(session) != SQLITE_OK ||
         vt_info_register(session) != SQLITE_OK ||
         vt_changes_register(session) != SQLITE_OK ||
         sqlite3_create_module_v2(sql, GUEST_HOLD, &hold_module,
                                  vt_share(session),
                                  vt_unshare) != SQLITE_OK))
        rc = kv_fail(err, KVSQL_NOMEM, "sql: no memory for a session");
    vt_unshare(session);
    return rc;
}
