/* session.c - one SQL connection over a store: open, limits, statements.
 *
 * A session is an in-memory SQLite connection with our tables and functions.
 * Statements are kept by their text, the least recently used goes (a prepare
 * costs as much as seven lookups). vt_step() is one turn: SQLite runs under
 * the budget and the deadline; when the statement is over, pins go, and outside
 * a transaction the turn waits at the gate, with the store lock long gone
 * (TX4).
 *
 * Thread: one at a time; vt_interrupt from any. */
#include "vtab/state.h"

#include "kvsql/base/os.h"

#include <string.h>

#define SESSION_DEADLINE_MS 10000
#define SESSION_ROW_MAX 10000
#define SESSION_BYTE_MAX (16u << 20)
#define SESSION_PROGRESS 100     /* VM steps between looks at the clock */
#define SESSION_PROGRESS_FREE 2000

struct vt_statement {
    struct vt_session *session;
    sqlite3_stmt *stmt;
    char *text; /* the first of it; NULL: there was no memory */
    size_t size, text_size;
    bool keep;  /* the text is whole, and all of the statement */
    uint64_t hash;
    struct vt_statement *chain;        /* of a bucket */
    struct vt_statement *older, *newer; /* of the kept ones */
    bool running, truncated;
    uint64_t rows, bytes;
};

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
    return vt_cancelled(session);
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
    atomic_store_explicit(&session->cancel, false, memory_order_relaxed);
    bool stricter = session->limits.trusted != limits->trusted ||
                    session->limits.read_only != limits->read_only ||
                    session->limits.admin != limits->admin;

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
    (void)sqlite3_exec(session->sql,
                       limits->read_only ? "PRAGMA query_only=1"
                                         : "PRAGMA query_only=0",
                       NULL, NULL, NULL);
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
         vt_khash_register(session) != SQLITE_OK))
        rc = kv_fail(err, KVSQL_NOMEM, "sql: no memory for a session");
    if (rc == KVSQL_OK && vt_text_register(session) != SQLITE_OK)
        rc = kv_fail(err, KVSQL_NOMEM, "sql: no memory for a session");
    return rc;
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

/* ---- kept statements ---------------------------------------------------------------- */

/* Of a statement's text; nobody gains from collisions in his own cache. */
static uint64_t session_hash(const char *p, size_t size)
{
    uint64_t hash = size, word;

    for (; size >= sizeof(word); p += sizeof(word), size -= sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    word = 0;
    memcpy(&word, p, size);
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static void session_statement_free(struct vt_statement *statement)
{
    (void)sqlite3_finalize(statement->stmt);
    vt_query_settle();
    if (statement->text != NULL)
        kv_mem_free(KV_MEM_CLIENT, statement->text, statement->text_size + 1);
    kv_mem_free(KV_MEM_CLIENT, statement, sizeof(*statement));
}

/* Out of the bucket and the list. */
static void session_cache_take(struct vt_session *session,
                               struct vt_statement *statement)
{
    struct vt_statement **link =
        &session->bucket[statement->hash % VT_CACHE_BUCKETS];

    while (*link != statement) link = &(*link)->chain;
    *link = statement->chain;
    if (statement->older != NULL) statement->older->newer = statement->newer;
    if (statement->newer != NULL) statement->newer->older = statement->older;
    if (session->newest == statement) session->newest = statement->older;
    if (session->oldest == statement) session->oldest = statement->newer;
    statement->chain = statement->older = statement->newer = NULL;
    session->cached--;
}

static void session_cache_put(struct vt_session *session,
                              struct vt_statement *statement)
{
    struct vt_statement **link =
        &session->bucket[statement->hash % VT_CACHE_BUCKETS];

    if (session->cached == VT_CACHE_MAX) {
        struct vt_statement *last = session->oldest;
        session_cache_take(session, last);
        session_statement_free(last);
    }
    statement->chain = *link;
    *link = statement;
    statement->older = session->newest;
    if (session->newest != NULL) session->newest->newer = statement;
    session->newest = statement;
    if (session->oldest == NULL) session->oldest = statement;
    session->cached++;
}

void vt_statements_forget(struct vt_session *session)
{
    while (session->oldest != NULL) {
        struct vt_statement *last = session->oldest;
        session_cache_take(session, last);
        session_statement_free(last);
    }
}

static struct vt_statement *session_cache_find(struct vt_session *session,
                                               const char *sql, size_t size,
                                               uint64_t hash)
{
    struct vt_statement *found = session->bucket[hash % VT_CACHE_BUCKETS];

    for (; found != NULL; found = found->chain)
        if (found->hash == hash && found->size == size &&
            memcmp(found->text, sql, size) == 0) {
            session_cache_take(session, found);
            return found;
        }
    return NULL;
}

/* ---- prepare -------------------------------------------------------------------------- */

/* Begin a turn: clock, flags, budget. */
static struct vt_budget *session_enter(struct vt_session *session, bool fresh)
{
    if (fresh) {
        uint64_t deadline = session->limits.deadline_ms;
        session->failure.rc = KVSQL_OK;
        session->timed_out = false;
        session->budget.over = session->budget.late = false;
        session->budget.refused = false;
        /* A door's client may leave before its statement begins: what it said
         * holds until the door sets the limits of the next request. */
        if (session->limits.trusted)
            atomic_store_explicit(&session->cancel, false,
                                  memory_order_relaxed);
        session->budget.deadline_ns =
            deadline > 0 ? kv_os_mono_ns() + deadline * 1000000 : 0;
    }
    return vt_budget_enter(&session->budget);
}

/* Forget what the authorizer saw of the statement before. */
static void session_unsee(struct vt_session *session, const char *sql,
                          size_t size)
{
    session->saw_delete = session->denied = session->joins = false;
    session->read_table[0] = 0;
    vt_reads_start(session, sql, size);
}

/* Whether [p, end) holds blanks, semicolons and comments only. */
static bool session_blank(const char *p, const char *end)
{
    while (p < end) {
        if (strchr(" \t\r\n\f;", *p) != NULL && *p != 0) {
            p++;
        } else if (end - p >= 2 && p[0] == '-' && p[1] == '-') {
            while (p < end && *p != '\n') p++;
        } else if (end - p >= 2 && p[0] == '/' && p[1] == '*') {
            for (p += 2; p < end && !(end - p >= 2 && p[0] == '*' &&
                                      p[1] == '/');)
                p++;
            p += end - p >= 2 ? 2 : end - p;
        } else {
            return false;
        }
    }
    return true;
}

static kvsql_rc session_compile(struct vt_session *session, const char *sql,
                                size_t size, sqlite3_stmt **stmt,
                                const char **rest, struct kvsql_error *err)
{
    int rc;

    *stmt = NULL;
    if (size > INT32_MAX || memchr(sql, 0, size) != NULL) /* Q7 */
        return kv_fail(err, KVSQL_SYNTAX,
                       "the SQL text holds a NUL byte or is too long");
    session_unsee(session, sql, size);
    rc = sqlite3_prepare_v3(session->sql, sql, (int)size,
                            SQLITE_PREPARE_PERSISTENT, stmt, rest);
    if (rc == SQLITE_OK) return KVSQL_OK;
    return vt_sqlite_error(session, rc, true, err);
}

/* Wrap a compiled statement. Swallows stmt. */
static struct vt_statement *session_wrap(struct vt_session *session,
                                         sqlite3_stmt *stmt, const char *sql,
                                         size_t size, bool keep)
{
    struct vt_statement *statement =
        kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*statement));

    if (statement == NULL) {
        (void)sqlite3_finalize(stmt);
        return NULL;
    }
    statement->session = session;
    statement->stmt = stmt;
    statement->size = size;
    statement->text_size = size < VT_CACHE_SQL_MAX ? size : VT_CACHE_SQL_MAX;
    statement->text = kv_mem_dup(KV_MEM_CLIENT, sql, statement->text_size);
    /* without the text it is not kept: no harm */
    statement->keep =
        keep && statement->text != NULL && statement->text_size == size;
    if (statement->keep) statement->hash = session_hash(sql, size);
    return statement;
}

const char *vt_statement_text(const struct vt_statement *statement,
                              size_t *size)
{
    *size = statement->text != NULL ? statement->text_size : 0;
    return statement->text != NULL ? statement->text : "";
}

static kvsql_rc session_prepare(struct vt_session *session, const char *sql,
                                size_t size, size_t *tail,
                                struct vt_statement **out,
                                struct kvsql_error *err)
{
    const char *rest = sql;
    sqlite3_stmt *stmt;
    bool whole;
    kvsql_rc rc = session_compile(session, sql, size, &stmt, &rest, err);

    if (rc != KVSQL_OK) return rc;
    whole = session_blank(rest, sql + size);
    if (tail == NULL && !whole) {
        (void)sqlite3_finalize(stmt);
        session->error_offset = (int)(rest - sql);
        return kv_fail(err, KVSQL_SYNTAX,
                       "one statement at a time: there is more text behind "
                       "the first");
    }
    if (tail != NULL) *tail = whole ? size : (size_t)(rest - sql);
    if (stmt == NULL) return KVSQL_OK;
    *out = session_wrap(session, stmt, sql, size, whole);
    if (*out == NULL)
        return kv_fail(err, KVSQL_NOMEM, "sql: no memory for a statement");
    return KVSQL_OK;
}

/* Tables that other sessions declared or dropped. */
static kvsql_rc session_learn(struct vt_session *session,
                              struct kvsql_error *err)
{
    struct vt_budget *before;
    uint64_t seen;
    kvsql_rc rc;

    if (session->db == NULL || session->active != NULL ||
        KV_LIKELY(kv_defs_hint(session->db) == session->defs_seen))
        return KVSQL_OK;
    before = session_enter(session, true);
    seen = session->defs_seen;
    rc = vt_defs_learn(session, err);
    if (session->defs_seen != seen) vt_statements_forget(session);
    vt_budget_leave(before);
    return rc;
}

static _Atomic uint64_t session_statements;

uint64_t vt_statement_count(void)
{
    return atomic_load_explicit(&session_statements, memory_order_relaxed);
}

kvsql_rc vt_prepare(struct vt_session *session, const char *sql, size_t size,
                    size_t *tail, struct vt_statement **statement,
                    struct kvsql_error *err)
{
    struct vt_budget *before;
    kvsql_rc rc;

    *statement = NULL;
    session->error_offset = -1;
    rc = session_learn(session, err);
    if (rc != KVSQL_OK) return rc;
    if (size <= VT_CACHE_SQL_MAX) {
        *statement = session_cache_find(session, sql, size,
                                        session_hash(sql, size));
        if (*statement != NULL) {
            if (tail != NULL) *tail = size;
            atomic_fetch_add_explicit(&session_statements, 1,
                                      memory_order_relaxed);
            return KVSQL_OK;
        }
    }
    before = session_enter(session, session->active == NULL);
    rc = session_prepare(session, sql, size, tail, statement, err);
    vt_budget_leave(before);
    if (*statement != NULL)
        atomic_fetch_add_explicit(&session_statements, 1,
                                  memory_order_relaxed);
    return rc;
}

int vt_error_offset(const struct vt_session *session)
{
    return session->error_offset;
}

int vt_param_count(const struct vt_statement *statement)
{
    return sqlite3_bind_parameter_count(statement->stmt);
}

int vt_param_index(const struct vt_statement *statement, const char *name)
{
    int count = sqlite3_bind_parameter_count(statement->stmt);

    for (int i = 1; i <= count; i++) {
        const char *own = sqlite3_bind_parameter_name(statement->stmt, i);
        if (own != NULL && own[0] != '?' && strcmp(own + 1, name) == 0)
            return i;
    }
    return 0;
}

kvsql_rc vt_bind(struct vt_statement *statement, int index,
                 const struct vt_value *value, struct kvsql_error *err)
{
    struct vt_session *session = statement->session;
    struct vt_budget *before = session_enter(session, session->active == NULL);
    const void *p = value->p != NULL ? (const void *)value->p : "";
    int rc = SQLITE_OK;

    switch (value->kind) {
    case VT_NULL: rc = sqlite3_bind_null(statement->stmt, index); break;
    case VT_INTEGER:
        rc = sqlite3_bind_int64(statement->stmt, index, value->integer);
        break;
    case VT_REAL:
        rc = sqlite3_bind_double(statement->stmt, index, value->real);
        break;
    case VT_TEXT:
        rc = sqlite3_bind_text64(statement->stmt, index, p, value->size,
                                 SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
    case VT_BLOB:
        rc = sqlite3_bind_blob64(statement->stmt, index, p, value->size,
                                 SQLITE_TRANSIENT);
        break;
    }
    vt_budget_leave(before);
    if (rc == SQLITE_OK) return KVSQL_OK;
    if (rc == SQLITE_RANGE)
        return kv_fail(err, KVSQL_RANGE,
                       "the statement has %d parameters, there is no number "
                       "%d",
                       vt_param_count(statement), index);
    return vt_sqlite_error(session, rc, false, err);
}

/* ---- running ----------------------------------------------------------------------------- */

bool vt_is_readonly(const struct vt_statement *statement)
{
    return sqlite3_stmt_readonly(statement->stmt) != 0;
}

int vt_column_count(const struct vt_statement *statement)
{
    return sqlite3_column_count(statement->stmt);
}

const char *vt_column_name(const struct vt_statement *statement, int column)
{
    const char *name = sqlite3_column_name(statement->stmt, column);

    return name != NULL ? name : "";
}

const char *vt_column_type(const struct vt_statement *statement, int column)
{
    const char *type = sqlite3_column_decltype(statement->stmt, column);

    return type != NULL ? type : "";
}

/* The statement no longer runs: reset it, let pins go. */
static void session_end(struct vt_statement *statement)
{
    struct vt_session *session = statement->session;

    (void)sqlite3_reset(statement->stmt); /* its result was seen by step */
    statement->running = false;
    session->active = NULL;
    vt_query_end(session);
    session->changes = sqlite3_changes64(session->sql);
    vt_read_end(session);
}

/* Count a row against the limits; false when it is one too many. */
static bool session_row_fits(struct vt_statement *statement)
{
    const struct vt_limits *limits = &statement->session->limits;
    int columns = sqlite3_data_count(statement->stmt);

    statement->rows++;
    atomic_store_explicit(&statement->session->seen.rows, statement->rows,
                          memory_order_relaxed);
    for (int i = 0; i < columns; i++) {
        int type = sqlite3_column_type(statement->stmt, i);
        statement->bytes += 8;
        if (type == SQLITE_TEXT || type == SQLITE_BLOB)
            statement->bytes +=
                (uint64_t)sqlite3_column_bytes(statement->stmt, i);
    }
    return (limits->row_max == 0 || statement->rows <= limits->row_max) &&
           (limits->byte_max == 0 || statement->bytes <= limits->byte_max);
}

static void session_start(struct vt_statement *statement)
{
    struct vt_session *session = statement->session;

    KV_ASSERT(session->active == NULL); /* one running statement */
    session->active = statement;
    session->statement++;
    /* SQLite may prepare it anew */
    session_unsee(session, sqlite3_sql(statement->stmt), SIZE_MAX);
    statement->running = true;
    statement->truncated = false;
    statement->rows = statement->bytes = 0;
    vt_query_begin(session, statement);
}

/* One call of SQLite, and what follows from it but for the gate. */
static kvsql_rc session_turn(struct vt_statement *statement, bool *row,
                             struct kvsql_error *err)
{
    struct vt_session *session = statement->session;
    kvsql_rc result = KVSQL_OK;
    int rc;

    *row = false;
    rc = sqlite3_step(statement->stmt);
    if (rc == SQLITE_ROW) {
        *row = session_row_fits(statement);
        if (*row) return KVSQL_OK;
        statement->truncated = true;
    } else if (rc != SQLITE_DONE) {
        result = vt_sqlite_error(session, rc, false, err);
    }
    session_end(statement);
    return result;
}

kvsql_rc vt_step(struct vt_statement *statement, bool *row,
                 struct kvsql_error *err)
{
    struct vt_session *session = statement->session;
    bool fresh = !statement->running;
    struct vt_budget *before = session_enter(session, fresh);
    struct kvsql_error gate;
    kvsql_rc rc, waited;

    if (fresh) session_start(statement);
    rc = session_turn(statement, row, err);
    vt_budget_leave(before);
    if (*row || statement->running) return rc;
    rc = vt_defs_store(session, rc, err);
    waited = vt_txn_gate(session, &gate);
    if (rc != KVSQL_OK || waited == KVSQL_OK) return rc;
    return kv_fail(err, waited, "%s", gate.text);
}

uint64_t vt_byte_max(const struct vt_session *session)
{
    return session->limits.byte_max;
}

bool vt_truncated(const struct vt_statement *statement)
{
    return statement->truncated;
}

void vt_column(const struct vt_statement *statement, int column,
               struct vt_value *out)
{
    sqlite3_stmt *stmt = statement->stmt;

    *out = (struct vt_value){.kind = VT_NULL, .p = (const uint8_t *)""};
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
        out->kind = VT_INTEGER;
        out->integer = sqlite3_column_int64(stmt, column);
        break;
    case SQLITE_FLOAT:
        out->kind = VT_REAL;
        out->real = sqlite3_column_double(stmt, column);
        break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        out->kind = sqlite3_column_type(stmt, column) == SQLITE_TEXT ? VT_TEXT
                                                                     : VT_BLOB;
        out->size = (size_t)sqlite3_column_bytes(stmt, column);
        if (out->size > 0) out->p = sqlite3_column_blob(stmt, column);
        break;
    default: break;
    }
}

void vt_finish(struct vt_statement *statement)
{
    struct vt_session *session;
    struct vt_budget *before;
    struct kvsql_error err;

    if (statement == NULL) return;
    session = statement->session;
    before = vt_budget_enter(&session->budget);
    if (statement->running) session_end(statement);
    (void)sqlite3_clear_bindings(statement->stmt);
    if (statement->keep)
        session_cache_put(session, statement);
    else
        session_statement_free(statement);
    vt_budget_leave(before);
    /* Rows left unread may have seen what is not released yet; nobody will
     * ask again, and a failed wal shows at the next statement. */
    if (session->active == NULL && vt_txn_gate(session, &err) != KVSQL_OK)
        session->failure = err;
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
    kvsql_rc result = KVSQL_OK, waited;
    int rc = SQLITE_OK;

    KV_ASSERT(session->active == NULL);
    before = session_enter(session, true);
    session->internal = true;
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

kvsql_rc vt_begin(struct vt_session *session, struct kvsql_error *err)
{
    const kvsql_rc rc = session_learn(session, err); /* not inside of it */

    return rc == KVSQL_OK ? session_own(session, &session->begin, "BEGIN", err)
                          : rc;
}

kvsql_rc vt_commit(struct vt_session *session, struct kvsql_error *err)
{
    kvsql_rc rc = session_own(session, &session->commit, "COMMIT", err);

    if (rc != KVSQL_OK) vt_rollback(session);
    return rc;
}

void vt_rollback(struct vt_session *session)
{
    struct kvsql_error err;

    if (sqlite3_get_autocommit(session->sql)) return;
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

void vt_session_plan_off(struct vt_session *session, bool off)
{
    session->plan_off = off;
    vt_statements_forget(session);
}

sqlite3 *vt_session_sqlite(struct vt_session *session)
{
    return session->sql;
}
