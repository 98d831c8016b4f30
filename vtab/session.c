/* session.c - one SQL connection over a store: open, limits, transactions.
 *
 * A session is an in-memory SQLite connection with our tables and functions.
 * Its statements are in statement.c, what they write in txn.c.
 *
 * Thread: one at a time; vt_interrupt from any. */
#include "vtab/edit.h"

#include "kvsql/base/os.h"

#define SESSION_DEADLINE_MS 10000
#define SESSION_ROW_MAX 10000
#define SESSION_BYTE_MAX (16u << 20)
#define SESSION_PROGRESS 100     /* VM steps between looks at the clock */
#define SESSION_PROGRESS_FREE 2000

static struct vt_host session_host;

void vt_host_set(const struct vt_host *host)
{
    session_host = *host;
}

const struct vt_host *vt_host_get(void)
{
    return &session_host;
}

/* ---- open and close ------------------------------------------------------------- */

static int session_progress(void *arg)
{
    struct vt_session *session = (struct vt_session *)arg;
    const uint64_t steps = session->limits.trusted ? SESSION_PROGRESS_FREE
                                                   : SESSION_PROGRESS;

    atomic_store_explicit(
        &session->seen.steps,
        atomic_load_explicit(&session->seen.steps, memory_order_relaxed) +
            steps,
        memory_order_relaxed);
    return !session->internal && vt_cancelled(session);
}

static int session_config(struct vt_session *session, int what, int value)
{
    return sqlite3_db_config(session->sql, what, value, (int *)NULL);
}

/* Q4: what no client may have. */
static int session_harden(struct vt_session *session)
{
    int rc = SQLITE_OK;

    if (rc == SQLITE_OK)
        rc = session_config(session, SQLITE_DBCONFIG_DEFENSIVE, 1);
    if (rc == SQLITE_OK)
        rc = session_config(session, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0);
    if (rc == SQLITE_OK)
        rc = session_config(session, SQLITE_DBCONFIG_DQS_DML, 0);
    if (rc == SQLITE_OK)
        rc = session_config(session, SQLITE_DBCONFIG_DQS_DDL, 0);
    if (rc == SQLITE_OK)
        rc = session_config(session, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(session->sql, "PRAGMA temp_store=2", NULL, NULL,
                          NULL);
    return rc;
}

void vt_session_limits(struct vt_session *session,
                       const struct vt_limits *limits)
{
    bool stricter = session->limits.trusted != limits->trusted ||
                    session->limits.read_only != limits->read_only ||
                    session->limits.admin != limits->admin;

    vt_resume(session);
    atomic_store_explicit(&session->seen.client, limits->client,
                          memory_order_relaxed);
    atomic_store_explicit(&session->seen.user, limits->user,
                          memory_order_relaxed);
    session->last_set = false; /* another may ask from here on */
    session->limits = *limits;
    if (!limits->trusted) {
        if (limits->deadline_ms == 0)
            session->limits.deadline_ms = SESSION_DEADLINE_MS;
        if (limits->row_max == 0) session->limits.row_max = SESSION_ROW_MAX;
        if (limits->byte_max == 0) session->limits.byte_max = SESSION_BYTE_MAX;
    }
    session->budget.size_max =
        limits->trusted ? 0 : vt_limit_get(VT_LIMIT_MEMORY);
    sqlite3_progress_handler(session->sql,
                             limits->trusted ? SESSION_PROGRESS_FREE
                                             : SESSION_PROGRESS,
                             session_progress, session);
    if (!limits->trusted) vt_limit_apply(session->sql); /* Q5 */
    if (!stricter) return;
    vt_statements_forget(session); /* rights are decided at prepare */
    session->internal = true; /* nobody else may say so */
    (void)sqlite3_exec(session->sql,
                       limits->read_only ? "PRAGMA query_only=1"
                                         : "PRAGMA query_only=0",
                       NULL, NULL, NULL);
    session->internal = session->query_only = false;
}

/* The connection itself; tables come later. */
static kvsql_rc session_connect(struct vt_session *session, const char *path,
                                int flags, struct kvsql_error *err)
{
    int rc = sqlite3_open_v2(path, &session->sql,
                             flags | SQLITE_OPEN_NOMUTEX, NULL);

    session->reals.sql = session->sql;
    if (rc == SQLITE_OK) rc = sqlite3_extended_result_codes(session->sql, 1);
    if (rc == SQLITE_OK) rc = session_harden(session);
    if (rc == SQLITE_OK) return KVSQL_OK;
    if ((rc & 0xff) == SQLITE_NOMEM)
        return kv_fail(err, KVSQL_NOMEM, "sql: no memory for a session");
    return kv_fail(err, (rc & 0xff) == SQLITE_NOTADB ? KVSQL_CORRUPT : KVSQL_IO,
                   "sql: cannot open %s: %s", path,
                   session->sql != NULL ? sqlite3_errmsg(session->sql)
                                        : sqlite3_errstr(rc));
}

/* The SQL view of streams that files have too (TB2) waits for the streams;
 * everything else that SQL sees is registered here. */
static kvsql_rc session_register(struct vt_session *session,
                                 struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    if (session->db != NULL) rc = vt_tables_register(session, err);
    if (rc == KVSQL_OK) rc = vt_functions_register(session, err);
    if (rc == KVSQL_OK && session->db != NULL &&
        (vt_info_register(session) != SQLITE_OK ||
         vt_exec_register(session) != SQLITE_OK ||
         vt_tvf_register(session) != SQLITE_OK ||
         vt_changes_register(session) != SQLITE_OK ||
         vt_khash_register(session) != SQLITE_OK ||
         vt_count_register(session) != SQLITE_OK))
        rc = kv_fail(err, KVSQL_NOMEM, "sql: no memory for a session");
    if (rc == KVSQL_OK && vt_text_register(session) != SQLITE_OK)
        rc = kv_fail(err, KVSQL_NOMEM, "sql: no memory for a session");
    return rc;
}

bool vt_session_keep_rollback(struct vt_session *session)
{
    const bool internal = session->internal;
    sqlite3_stmt *stmt = NULL;
    int rc;

    session->internal = true;
    rc = sqlite3_prepare_v3(session->sql, "ROLLBACK", -1,
                            SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    session->internal = internal;
    if (rc != SQLITE_OK) return false;
    (void)sqlite3_finalize(session->rollback);
    session->rollback = stmt;
    return true;
}

struct vt_session *vt_session_new(kvsql *db)
{
    struct vt_session *session =
        kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*session));

    if (session == NULL) return NULL;
    session->db = db;
    session->error_offset = -1;
    session->limits.trusted = true; /* while it is being made */
    kv_buf_init(&session->gaps.key, KV_MEM_MISC, KVSQL_KEY_MAX);
    vt_answer_init(&session->last);
    return session;
}

void vt_session_free(struct vt_session *session)
{
    kv_mem_free(KV_MEM_UNDO, session->save,
                (size_t)session->save_cap * sizeof(*session->save));
    kv_mem_free(KV_MEM_MISC, session->gaps.runs,
                session->gaps.cap * sizeof(*session->gaps.runs));
    kv_buf_fini(&session->gaps.key);
    vt_answer_fini(&session->last);
    kv_mem_free(KV_MEM_CLIENT, session, sizeof(*session));
}

static kvsql_rc session_open(kvsql *db, const char *path, int flags,
                             const struct vt_limits *limits,
                             struct vt_session **out, struct kvsql_error *err)
{
    struct vt_session *session;
    struct vt_budget *before;
    kvsql_rc rc = db != NULL ? vt_indexes_keep(db, err) : vt_start(err);

    *out = NULL;
    if (rc != KVSQL_OK) return rc;
    session = vt_session_new(db);
    if (session == NULL)
        return kv_fail(err, KVSQL_NOMEM, "sql: no memory for a session");
    before = vt_budget_enter(&session->budget);
    rc = session_connect(session, path, flags, err);
    if (rc == KVSQL_OK) rc = session_register(session, err);
    if (rc == KVSQL_OK &&
        sqlite3_set_authorizer(session->sql, vt_authorize, session) !=
            SQLITE_OK)
        rc = kv_fail(err, KVSQL_NOMEM, "sql: no memory for a session");
    if (rc == KVSQL_OK && !vt_session_keep_rollback(session))
        rc = kv_fail(err, KVSQL_NOMEM, "sql: no memory for a session");
    if (rc == KVSQL_OK) vt_session_limits(session, limits);
    if (rc == KVSQL_OK) vt_query_enter(session);
    vt_budget_leave(before);
    if (rc != KVSQL_OK) {
        vt_session_close(session);
        return rc;
    }
    *out = session;
    return KVSQL_OK;
}

kvsql_rc vt_session_open(kvsql *db, const struct vt_limits *limits,
                         struct vt_session **session, struct kvsql_error *err)
{
    KV_ASSERT(db != NULL);
    return session_open(db, ":memory:",
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, limits,
                        session, err);
}

kvsql_rc vt_session_open_file(const char *path, struct vt_session **session,
                              struct kvsql_error *err)
{
    const struct vt_limits limits = {.trusted = true, .read_only = true};
    struct kvsql_error read;
    kvsql_rc rc = session_open(NULL, path, SQLITE_OPEN_READONLY, &limits,
                               session, err);

    if (rc != KVSQL_OK) return rc;
    if (sqlite3_exec((*session)->sql, "SELECT count(*) FROM sqlite_schema",
                     NULL, NULL, NULL) == SQLITE_OK)
        return KVSQL_OK;
    (void)kv_fail(&read, KVSQL_CORRUPT, "%s",
                  sqlite3_errmsg((*session)->sql));
    vt_session_close(*session);
    *session = NULL;
    return kv_fail(err, KVSQL_CORRUPT, "sql: cannot read %s: %s", path,
                   read.text);
}

void vt_session_close(struct vt_session *session)
{
    struct vt_budget *before;

    if (session == NULL) return;
    KV_ASSERT(session->active == NULL);
    vt_query_leave(session);
    before = vt_budget_enter(&session->budget);
    session->budget.size_max = 0;
    session->budget.deadline_ns = 0;
    if (session->sql != NULL) {
        vt_rollback(session);
        vt_statements_forget(session);
        (void)sqlite3_finalize(session->begin);
        (void)sqlite3_finalize(session->commit);
        (void)sqlite3_finalize(session->rollback);
        (void)sqlite3_finalize(session->join);
        (void)sqlite3_finalize(session->reals.stmt);
        vt_read_end(session);
        (void)sqlite3_close_v2(session->sql);
    }
    vt_cursors_free(session);
    vt_defs_forget(session);
    vt_budget_leave(before);
    KV_ASSERT(session->txn == NULL && session->cursors == NULL);
    vt_session_free(session);
}

/* ---- turns ------------------------------------------------------------------- */

/* Begin a turn: clock, flags, budget. */
struct vt_budget *vt_session_enter(struct vt_session *session, bool fresh)
{
    if (fresh) {
        uint64_t deadline = session->limits.deadline_ms;
        session->failure.rc = KVSQL_OK;
        session->timed_out = false;
        session->budget.over = session->budget.late = false;
        session->budget.refused = false;
        session->budget.deadline_ns =
            deadline > 0 ? kv_os_mono_ns() + deadline * 1000000 : 0;
        session->write_late = false;
        vt_write_deadline(session);
    }
    return vt_budget_enter(&session->budget);
}

void vt_session_settle(struct vt_session *session)
{
    if (!sqlite3_get_autocommit(session->sql)) {
        session->inside = true;
        return;
    }
    if (session->inside && session->schema != session->settled)
        session->schema++;
    session->inside = false;
    session->settled = session->schema;
}

kvsql_rc vt_session_learn(struct vt_session *session, struct kvsql_error *err)
{
    struct vt_budget *before;
    uint64_t seen;
    kvsql_rc rc;

    if (session->db == NULL || session->active != NULL ||
        KV_LIKELY(kv_defs_hint(session->db) == session->defs_seen))
        return KVSQL_OK;
    before = vt_session_enter(session, true);
    seen = session->defs_seen;
    rc = vt_defs_learn(session, err);
    if (session->defs_seen != seen) vt_statements_forget(session);
    vt_budget_leave(before);
    return rc;
}

int64_t vt_changes(const struct vt_session *session)
{
    return session->changes;
}

uint64_t vt_position(const struct vt_session *session)
{
    return session->position;
}

/* ---- transactions ---------------------------------------------------------------------- */

/* Run one of the session's own statements to its end. */
static kvsql_rc session_own(struct vt_session *session, sqlite3_stmt **stmt,
                            const char *sql, struct kvsql_error *err)
{
    struct vt_budget *before;
    struct kvsql_error gate;
    kvsql_rc result = vt_session_idle(session, err), waited;
    int rc = SQLITE_OK;

    if (result != KVSQL_OK) return result;
    vt_session_settle(session);
    session->internal = true; /* what ends a transaction is never too late */
    before = vt_session_enter(session, true);
    if (*stmt == NULL)
        rc = sqlite3_prepare_v3(session->sql, sql, -1,
                                SQLITE_PREPARE_PERSISTENT, stmt, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(*stmt);
    if (rc != SQLITE_DONE) result = vt_sqlite_error(session, rc, false, err);
    (void)sqlite3_reset(*stmt);
    session->internal = false;
    vt_read_end(session);
    vt_budget_leave(before);
    if (session->txn != NULL) return result;
    waited = vt_txn_gate(session, &gate);
    if (result != KVSQL_OK || waited == KVSQL_OK) return result;
    return kv_fail(err, waited, "%s", gate.text);
}

kvsql_rc vt_session_stands(struct vt_session *session, struct kvsql_error *err)
{
    struct kvsql_error gate;

    if (!sqlite3_get_autocommit(session->sql)) return KVSQL_OK;
    vt_read_end(session);
    if (vt_txn_gate(session, &gate) != KVSQL_OK) session->failure = gate;
    return vt_sqlite_error(session, SQLITE_NOMEM, false, err);
}

kvsql_rc vt_begin(struct vt_session *session, struct kvsql_error *err)
{
    const kvsql_rc rc = vt_session_learn(session, err); /* not inside of it */

    return rc == KVSQL_OK ? session_own(session, &session->begin, "BEGIN", err)
                          : rc;
}

kvsql_rc vt_commit(struct vt_session *session, struct kvsql_error *err)
{
    kvsql_rc rc = vt_session_idle(session, err);

    if (rc != KVSQL_OK) return rc;
    rc = session_own(session, &session->commit, "COMMIT", err);
    if (rc != KVSQL_OK) vt_rollback(session);
    return rc;
}

void vt_rollback(struct vt_session *session)
{
    struct kvsql_error err;

    if (sqlite3_get_autocommit(session->sql)) return;
    vt_statement_stop(session);
    if (session_own(session, &session->rollback, "ROLLBACK", &err) != KVSQL_OK)
        session->failure = err;
    KV_ASSERT(session->txn == NULL);
}

bool vt_in_transaction(const struct vt_session *session)
{
    return !sqlite3_get_autocommit(session->sql);
}

/* SQLite ends only those tables that it began itself, so a statement that
 * changes nothing joins one. */
kvsql_rc vt_write(struct vt_session *session, struct kv_txn **txn,
                  struct kvsql_error *err)
{
    static const char join[] = "DELETE FROM keys WHERE 0";
    struct vt_statement *statement = NULL;
    kvsql_rc rc = KVSQL_OK;
    bool row;

    *txn = NULL;
    KV_ASSERT(vt_in_transaction(session));
    if (session->txn == NULL) {
        rc = vt_prepare(session, join, sizeof(join) - 1, NULL, &statement, err);
        if (rc == KVSQL_OK) rc = vt_step(statement, &row, err);
        if (statement != NULL) vt_finish(statement);
    }
    KV_ASSERT(rc != KVSQL_OK || session->txn != NULL);
    *txn = session->txn;
    return rc;
}

void vt_interrupt(struct vt_session *session)
{
    atomic_store_explicit(&session->cancel, true, memory_order_relaxed);
}

void vt_resume(struct vt_session *session)
{
    atomic_store_explicit(&session->cancel, false, memory_order_relaxed);
}

void vt_session_plan_off(struct vt_session *session, bool off)
{
    session->plan_off = off;
    vt_statements_forget(session);
}

sqlite3 *vt_session_sqlite(struct vt_session *session)
{
    return session->sql;
}
