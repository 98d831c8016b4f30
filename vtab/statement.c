/* statement.c - statements of a session: kept by their text, bound, run.
 *
 * Statements are kept by their text, the least recently used goes (a prepare
 * costs as much as seven lookups). vt_step() is one turn: SQLite runs under
 * the budget and the deadline; when the statement is over, pins go, and outside
 * a transaction the turn waits at the gate, with the store lock long gone
 * (TX4). A statement that is one lookup needs no SQLite for it (point.c).
 *
 * Thread: the session's. */
#include "vtab/point.h"

#include <string.h>

/* Bytes of parameters that lie beside a statement, for each of them, at most;
 * what finds no room there SQLite copies for itself. */
#define STATEMENT_BOUND_EACH 32u
#define STATEMENT_BOUND_MIN 64u
#define STATEMENT_BOUND_MAX 4096u

struct vt_statement {
    struct vt_session *session;
    sqlite3_stmt *stmt;
    char *text; /* the first of it; NULL: there was no memory */
    size_t size, text_size;
    bool keep;  /* the text is whole, and all of the statement */
    uint64_t schema; /* of the session, when it was compiled */
    uint64_t hash;
    struct vt_statement *chain;        /* of a bucket */
    struct vt_statement *older, *newer; /* of the kept ones */
    bool running, truncated;
    uint64_t rows, bytes;
    /* Bytes of bound parameters. SQLite reads them here, so they stay until
     * vt_finish() clears the bindings. */
    uint8_t *bound;
    uint32_t bound_used, bound_size;
    bool bindings; /* SQLite has some */
    bool shapes;   /* it may change what names mean */
    bool counted;  /* SQLite counts what it changes */
    struct vt_params *aside; /* its parameters are bound here; NULL: in `stmt` */
    enum statement_by {
        STATEMENT_BY_SQLITE, STATEMENT_BY_POINT, STATEMENT_BY_SCAN,
        STATEMENT_BY_EDIT
    } by;          /* who runs it */
    struct vt_point point;
};

/* ---- kept statements -------------------------------------------------------- */

/* Of a statement's text; nobody gains from collisions in his own cache. */
static uint64_t statement_hash(const char *p, size_t size)
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

static void statement_free(struct vt_statement *statement)
{
    vt_point_forget(&statement->point);
    (void)sqlite3_finalize(statement->stmt);
    vt_query_settle();
    if (statement->text != NULL)
        kv_mem_free(KV_MEM_CLIENT, statement->text, statement->text_size + 1);
    kv_mem_free(KV_MEM_CLIENT, statement->bound, statement->bound_size);
    kv_mem_free(KV_MEM_CLIENT, statement, sizeof(*statement));
}

/* Out of the bucket and the list. */
static void statement_cache_take(struct vt_session *session,
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

static void statement_cache_put(struct vt_session *session,
                              struct vt_statement *statement)
{
    struct vt_statement **link =
        &session->bucket[statement->hash % VT_CACHE_BUCKETS];

    if (session->cached == VT_CACHE_MAX) {
        struct vt_statement *last = session->oldest;
        statement_cache_take(session, last);
        statement_free(last);
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
        statement_cache_take(session, last);
        statement_free(last);
    }
}

/* A statement of this text. One that was compiled before the schema may have
 * changed goes: SQLite compiles it anew when it runs and sees that it must, which
 * is too late for its columns and its errors, and it does not see all. */
static struct vt_statement *statement_cache_find(struct vt_session *session,
                                               const char *sql, size_t size,
                                               uint64_t hash)
{
    struct vt_statement *found = session->bucket[hash % VT_CACHE_BUCKETS];

    for (; found != NULL; found = found->chain)
        if (found->hash == hash && found->size == size &&
            memcmp(found->text, sql, size) == 0) {
            statement_cache_take(session, found);
            if (KV_LIKELY(found->schema == session->schema)) return found;
            statement_free(found);
            return NULL;
        }
    return NULL;
}

/* ---- prepare -------------------------------------------------------------------------- */

void vt_session_unsee(struct vt_session *session, const char *sql, size_t size)
{
    session->saw_delete = session->denied = session->target = false;
    session->saw_plan = session->shapes = false;
    session->saw_rows = session->drops = false;
    vt_reads_start(session, sql, size);
}

/* Whether [p, end) holds blanks, semicolons and comments only. */
static bool statement_blank(const char *p, const char *end)
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

static kvsql_rc statement_compile(struct vt_session *session, const char *sql,
                                size_t size, sqlite3_stmt **stmt,
                                const char **rest, struct kvsql_error *err)
{
    int rc;

    *stmt = NULL;
    if (size > INT32_MAX || memchr(sql, 0, size) != NULL) /* Q7 */
        return kv_fail(err, KVSQL_SYNTAX,
                       "the SQL text holds a NUL byte or is too long");
    vt_session_unsee(session, sql, size);
    rc = sqlite3_prepare_v3(session->sql, sql, (int)size,
                            SQLITE_PREPARE_PERSISTENT, stmt, rest);
    if (rc == SQLITE_OK) return KVSQL_OK;
    return vt_sqlite_error(session, rc, true, err);
}

/* Wrap a compiled statement. Swallows stmt. */
static struct vt_statement *statement_wrap(struct vt_session *session,
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
    statement->shapes = session->shapes;
    statement->counted = session->saw_rows && !session->drops;
    statement->point.may = session->saw_plan && session->guest == NULL &&
                           sqlite3_stmt_isexplain(stmt) == 0 &&
                           sqlite3_bind_parameter_count(stmt) <= VT_PARAMS_MAX;
    statement->point.schema = UINT64_MAX;
    statement->schema = session->schema;
    statement->size = size;
    statement->text_size = size < VT_CACHE_SQL_MAX ? size : VT_CACHE_SQL_MAX;
    statement->text = kv_mem_dup(KV_MEM_CLIENT, sql, statement->text_size);
    /* without the text it is not kept: no harm */
    statement->keep =
        keep && statement->text != NULL && statement->text_size == size &&
        !session->limits.estimates;
    if (statement->keep) statement->hash = statement_hash(sql, size);
    return statement;
}

const char *vt_statement_text(const struct vt_statement *statement,
                              size_t *size)
{
    *size = statement->text != NULL ? statement->text_size : 0;
    return statement->text != NULL ? statement->text : "";
}

static kvsql_rc statement_prepare(struct vt_session *session, const char *sql,
                                size_t size, size_t *tail,
                                struct vt_statement **out,
                                struct kvsql_error *err)
{
    const char *rest = sql;
    sqlite3_stmt *stmt;
    bool whole;
    kvsql_rc rc = statement_compile(session, sql, size, &stmt, &rest, err);

    if (rc != KVSQL_OK) return rc;
    whole = statement_blank(rest, sql + size);
    if (tail == NULL && !whole) {
        (void)sqlite3_finalize(stmt);
        session->error_offset = (int)(rest - sql);
        return kv_fail(err, KVSQL_SYNTAX,
                       "one statement at a time: there is more text behind "
                       "the first");
    }
    if (tail != NULL) *tail = whole ? size : (size_t)(rest - sql);
    if (stmt == NULL) return KVSQL_OK;
    *out = statement_wrap(session, stmt, sql, size, whole);
    if (*out == NULL)
        return kv_fail(err, KVSQL_NOMEM, "sql: no memory for a statement");
    return KVSQL_OK;
}

static _Atomic uint64_t statement_prepared;

uint64_t vt_statement_count(void)
{
    return atomic_load_explicit(&statement_prepared, memory_order_relaxed);
}

kvsql_rc vt_prepare(struct vt_session *session, const char *sql, size_t size,
                    size_t *tail, struct vt_statement **statement,
                    struct kvsql_error *err)
{
    struct vt_budget *before;
    kvsql_rc rc;

    *statement = NULL;
    session->error_offset = -1;
    rc = vt_session_learn(session, err);
    if (rc != KVSQL_OK) return rc;
    if (size <= VT_CACHE_SQL_MAX && !session->limits.estimates) {
        *statement = statement_cache_find(session, sql, size,
                                        statement_hash(sql, size));
        if (*statement != NULL) {
            if (tail != NULL) *tail = size;
            rc = vt_point_learn(session, &(*statement)->point,
                                (*statement)->stmt, err);
            if (rc != KVSQL_OK) {
                statement_cache_put(session, *statement);
                *statement = NULL;
                return rc;
            }
            (*statement)->aside =
                vt_point_params(session, &(*statement)->point);
            atomic_fetch_add_explicit(&statement_prepared, 1,
                                      memory_order_relaxed);
            return KVSQL_OK;
        }
    }
    before = vt_session_enter(session, session->active == NULL);
    rc = statement_prepare(session, sql, size, tail, statement, err);
    vt_budget_leave(before);
    if (*statement != NULL)
        atomic_fetch_add_explicit(&statement_prepared, 1,
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

/* Room for `size` bytes until the bindings are cleared; NULL: there is none. */
static uint8_t *statement_bound(struct vt_statement *statement, size_t size)
{
    uint8_t *place;

    if (statement->bound == NULL) {
        uint32_t room = (uint32_t)vt_param_count(statement) *
                        STATEMENT_BOUND_EACH;
        if (room < STATEMENT_BOUND_MIN) room = STATEMENT_BOUND_MIN;
        if (room > STATEMENT_BOUND_MAX) room = STATEMENT_BOUND_MAX;
        statement->bound = kv_mem_alloc(KV_MEM_CLIENT, room);
        if (statement->bound == NULL) return NULL;
        statement->bound_size = room;
    }
    if (size > statement->bound_size - statement->bound_used) return NULL;
    place = statement->bound + statement->bound_used;
    statement->bound_used += (uint32_t)size;
    return place;
}

/* Bind a text or blob where it lies, copied to `p`, or (`p` NULL) let SQLite
 * copy it. */
static int statement_bind_bytes(sqlite3_stmt *stmt, int index,
                                const struct vt_value *value, uint8_t *p)
{
    const char *from = value->p != NULL ? (const char *)value->p : "";
    const bool copied = p != NULL;

    if (copied) from = value->size > 0 ? memcpy(p, from, value->size) : "";
    if (value->kind == VT_TEXT)
        return sqlite3_bind_text64(stmt, index, from, value->size,
                                   copied ? SQLITE_STATIC : SQLITE_TRANSIENT,
                                   SQLITE_UTF8);
    return sqlite3_bind_blob64(stmt, index, from, value->size,
                               copied ? SQLITE_STATIC : SQLITE_TRANSIENT);
}

/* The key of a statement that is one lookup, copied to `place`. */
static void statement_bind_point(struct vt_statement *statement,
                                 const struct vt_value *value, uint8_t *place)
{
    if (value->size > 0) memcpy(place, value->p, value->size);
    statement->point.key = (struct kv_key){
        place, (uint32_t)value->size,
        value->kind == VT_TEXT ? KV_TEXT : KV_BLOB};
    statement->point.bound = true;
}

static int statement_bind(struct vt_statement *statement, int index,
                          const struct vt_value *value)
{
    struct vt_session *session = statement->session;
    const bool bytes = value->kind == VT_TEXT || value->kind == VT_BLOB;
    uint8_t *place = bytes ? statement_bound(statement, value->size) : NULL;

    if (index == 1) statement->point.bound = false;
    if (place != NULL && index == 1 &&
        vt_point_ready(session, &statement->point)) {
        statement_bind_point(statement, value, place);
        return SQLITE_OK;
    }
    sqlite3_stmt *stmt = statement->aside != NULL ? statement->aside->stmt
                                                  : statement->stmt;
    statement->bindings = true;
    /* only a copy of SQLite's needs memory, and with it the clock */
    struct vt_budget *before =
        bytes && place == NULL
            ? vt_session_enter(session, session->active == NULL)
            : vt_budget_enter(&session->budget);
    int rc = SQLITE_OK;

    switch (value->kind) {
    case VT_NULL: rc = sqlite3_bind_null(stmt, index); break;
    case VT_INTEGER:
        rc = sqlite3_bind_int64(stmt, index, value->integer);
        break;
    case VT_REAL:
        rc = sqlite3_bind_double(stmt, index, value->real);
        break;
    case VT_TEXT:
    case VT_BLOB:
        rc = statement_bind_bytes(stmt, index, value, place);
        break;
    }
    vt_budget_leave(before);
    return rc;
}

kvsql_rc vt_bind(struct vt_statement *statement, int index,
                 const struct vt_value *value, struct kvsql_error *err)
{
    int rc;

    if (KV_UNLIKELY(statement->running)) /* as SQLite, whoever runs it */
        return kv_fail(err, KVSQL_INVALID,
                       "the statement runs: read it to its end, or finish it, "
                       "before its parameters change");
    rc = statement_bind(statement, index, value);
    if (KV_LIKELY(rc == SQLITE_OK)) return KVSQL_OK;
    if (rc == SQLITE_RANGE)
        return kv_fail(err, KVSQL_RANGE,
                       "the statement has %d parameters, there is no number "
                       "%d",
                       vt_param_count(statement), index);
    return vt_sqlite_error(statement->session, rc, false, err);
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

kvsql_rc vt_session_idle(const struct vt_session *session,
                         struct kvsql_error *err)
{
    if (KV_LIKELY(session->active == NULL)) return KVSQL_OK;
    return kv_fail(err, KVSQL_INVALID,
                   "another statement of this session is running: read it to "
                   "its end, or finish it, first");
}

/* The statement no longer runs: reset it, let pins go. */
static void statement_end(struct vt_statement *statement)
{
    struct vt_session *session = statement->session;

    if (statement->by == STATEMENT_BY_SQLITE)
        (void)sqlite3_reset(statement->stmt); /* step saw its result */
    else if (statement->by == STATEMENT_BY_SCAN)
        vt_scan_end(statement->point.scan);
    if (statement->by == STATEMENT_BY_SQLITE && statement->counted) {
        session->changes = sqlite3_changes64(session->sql);
        session->changes_own = false;
    }
    if (statement->shapes) {
        session->schema++; /* and each program of SQLite's has run out, perhaps */
        if (!sqlite3_get_autocommit(session->sql))
            (void)vt_session_keep_rollback(session);
    }
    statement->running = false;
    statement->by = STATEMENT_BY_SQLITE;
    session->active = NULL;
    vt_query_end(session);
    vt_read_end(session);
}

/* Bytes of a column, as the limit counts them. */
static uint64_t statement_column_bytes(const struct vt_statement *statement,
                                       int column)
{
    struct vt_value value;
    int type;

    if (statement->by != STATEMENT_BY_SQLITE) {
        vt_column(statement, column, &value);
        return 8 + value.size;
    }
    type = sqlite3_column_type(statement->stmt, column);
    return type == SQLITE_TEXT || type == SQLITE_BLOB
               ? 8 + (uint64_t)sqlite3_column_bytes(statement->stmt, column)
               : 8;
}

/* Count a row against the limits; false when it is one too many. */
static bool statement_row_fits(struct vt_statement *statement)
{
    const struct vt_limits *limits = &statement->session->limits;
    /* nobody else asks for the bytes */
    int columns = limits->byte_max > 0 ? sqlite3_column_count(statement->stmt)
                                       : 0;

    statement->rows++;
    atomic_store_explicit(&statement->session->seen.rows, statement->rows,
                          memory_order_relaxed);
    for (int i = 0; i < columns; i++)
        statement->bytes += statement_column_bytes(statement, i);
    return (limits->row_max == 0 || statement->rows <= limits->row_max) &&
           (limits->byte_max == 0 || statement->bytes <= limits->byte_max);
}

static void statement_start(struct vt_statement *statement)
{
    struct vt_session *session = statement->session;

    KV_ASSERT(session->active == NULL);
    session->active = statement;
    vt_session_settle(session);
    session->statement++;
    statement->running = true;
    statement->truncated = false;
    statement->rows = statement->bytes = 0;
    vt_query_begin(session, statement);
}

/* The first turn of a statement that is one lookup, as far as it goes without
 * SQLite. *done: it is over, or its row is there. */
static kvsql_rc statement_point(struct vt_statement *statement, bool *done,
                                bool *row, struct kvsql_error *err)
{
    struct vt_session *session = statement->session;
    struct vt_point *point = &statement->point;
    enum vt_point_found found = VT_POINT_SQLITE;
    kvsql_rc rc = KVSQL_OK;

    *done = false;
    if (session->txn == NULL && vt_point_ready(session, point))
        rc = vt_point_read(session, point, &found, err);
    if (rc == KVSQL_OK && found == VT_POINT_SQLITE) return KVSQL_OK;
    *done = true;
    statement->by = STATEMENT_BY_POINT;
    if (rc == KVSQL_OK && found == VT_POINT_ROW) {
        *row = statement_row_fits(statement);
        if (*row) return KVSQL_OK;
        statement->truncated = true;
    }
    statement_end(statement);
    return rc;
}

/* A row of a statement that is rows of one table, or its end. */
static kvsql_rc statement_scan_row(struct vt_statement *statement, bool *row,
                                   struct kvsql_error *err)
{
    const kvsql_rc rc = vt_scan_next(statement->point.scan, row, err);

    if (*row) {
        *row = statement_row_fits(statement);
        if (*row) return KVSQL_OK;
        statement->truncated = true;
    }
    statement_end(statement);
    return rc;
}

/* The first turn of one, as far as it goes without SQLite. */
static kvsql_rc statement_scan(struct vt_statement *statement, bool *done,
                               bool *row, struct kvsql_error *err)
{
    kvsql_rc rc;

    *done = false;
    if (statement->session->txn != NULL ||
        !vt_point_scans(statement->session, &statement->point))
        return KVSQL_OK;
    statement->by = STATEMENT_BY_SCAN;
    rc = vt_scan_start(statement->point.scan, done, err);
    if (rc == KVSQL_OK && *done)
        return statement_scan_row(statement, row, err);
    if (rc == KVSQL_OK) {
        statement->by = STATEMENT_BY_SQLITE;
        return KVSQL_OK;
    }
    *done = true;
    statement_end(statement);
    return rc;
}

/* A change that is made, if it can be, in its first turn. */
static kvsql_rc statement_edit(struct vt_statement *statement, bool *done,
                               struct kvsql_error *err)
{
    struct vt_session *session = statement->session;
    int64_t changes;
    kvsql_rc rc;

    *done = false;
    /* what was bound in SQLite is not asked back */
    if (!vt_point_edits(session, &statement->point) ||
        (statement->bindings && statement->aside == NULL))
        return KVSQL_OK;
    rc = vt_edit_run(statement->point.edit, done, &changes, err);
    if (!*done && rc == KVSQL_OK) return KVSQL_OK;
    *done = true;
    vt_count_own(session, changes);
    statement->by = STATEMENT_BY_EDIT;
    statement_end(statement);
    return rc;
}

/* SQLite begins to run it: it has the key, too, and may prepare it anew. */
static int statement_hand_over(struct vt_statement *statement)
{
    const struct kv_key *key = &statement->point.key;

    vt_session_unsee(statement->session, sqlite3_sql(statement->stmt),
                     SIZE_MAX);
    if (statement->aside != NULL) {
        statement->bindings = true;
        return vt_params_hand_over(statement->aside, statement->stmt);
    }
    if (!statement->point.bound) return SQLITE_OK;
    statement->bindings = true;
    return key->cls == KV_TEXT
               ? sqlite3_bind_text64(statement->stmt, 1, (const char *)key->p,
                                     key->size, SQLITE_STATIC, SQLITE_UTF8)
               : sqlite3_bind_blob64(statement->stmt, 1, key->p, key->size,
                                     SQLITE_STATIC);
}

/* One call of SQLite, and what follows from it but for the gate. */
static kvsql_rc statement_turn(struct vt_statement *statement, bool fresh,
                               bool *row, struct kvsql_error *err)
{
    struct vt_session *session = statement->session;
    kvsql_rc result = KVSQL_OK;
    bool done = statement->by == STATEMENT_BY_POINT;
    int rc = SQLITE_OK;

    *row = false;
    if (done) { /* there was one row */
        statement_end(statement);
        return KVSQL_OK;
    }
    if (statement->by == STATEMENT_BY_SCAN)
        return statement_scan_row(statement, row, err);
    if (fresh && statement->point.bound)
        result = statement_point(statement, &done, row, err);
    else if (fresh && statement->point.scan != NULL)
        result = statement_scan(statement, &done, row, err);
    else if (fresh && statement->point.edit != NULL)
        result = statement_edit(statement, &done, err);
    if (done) return result;
    if (fresh) rc = statement_hand_over(statement);
    if (rc == SQLITE_OK) rc = sqlite3_step(statement->stmt);
    if (rc == SQLITE_ROW) {
        *row = statement_row_fits(statement);
        if (*row) return KVSQL_OK;
        statement->truncated = true;
    } else if (rc != SQLITE_DONE) {
        result = vt_sqlite_error(session, rc, false, err);
    }
    statement_end(statement);
    return result;
}

kvsql_rc vt_step(struct vt_statement *statement, bool *row,
                 struct kvsql_error *err)
{
    struct vt_session *session = statement->session;
    bool fresh = !statement->running;
    struct vt_budget *before;
    struct kvsql_error gate;
    kvsql_rc rc, waited;

    *row = false;
    rc = fresh ? vt_session_idle(session, err) : KVSQL_OK;
    if (rc != KVSQL_OK) return rc;
    before = vt_session_enter(session, fresh);
    if (fresh) rc = vt_count_settle(session, err);
    if (rc == KVSQL_OK) {
        if (fresh) statement_start(statement);
        rc = statement_turn(statement, fresh, row, err);
    }
    vt_budget_leave(before);
    if (*row || statement->running) return rc;
    rc = vt_defs_store(session, rc, err);
    waited = vt_txn_gate(session, &gate);
    if (rc != KVSQL_OK || waited == KVSQL_OK) return rc;
    return kv_fail(err, waited, "%s", gate.text);
}

void vt_statement_stop(struct vt_session *session)
{
    struct vt_budget *before;

    if (session->active == NULL) return;
    before = vt_budget_enter(&session->budget);
    statement_end(session->active);
    vt_budget_leave(before);
}

uint64_t vt_byte_max(const struct vt_session *session)
{
    return session->limits.byte_max;
}

bool vt_truncated(const struct vt_statement *statement)
{
    return statement->truncated;
}

/* The session is one thread's at a time: so SQLite's value may be looked at
 * like one that is protected. */
void vt_column(const struct vt_statement *statement, int column,
               struct vt_value *out)
{
    sqlite3_value *value;
    int type;

    if (statement->by == STATEMENT_BY_SCAN) {
        vt_scan_column(statement->point.scan, column, out);
        return;
    }
    if (statement->by == STATEMENT_BY_POINT) {
        vt_point_column(&statement->point, column, out);
        return;
    }
    value = sqlite3_column_value(statement->stmt, column);
    type = sqlite3_value_type(value);
    *out = (struct vt_value){.kind = VT_NULL, .p = (const uint8_t *)""};
    switch (type) {
    case SQLITE_INTEGER:
        out->kind = VT_INTEGER;
        out->integer = sqlite3_value_int64(value);
        break;
    case SQLITE_FLOAT:
        out->kind = VT_REAL;
        out->real = sqlite3_value_double(value);
        break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        out->kind = type == SQLITE_TEXT ? VT_TEXT : VT_BLOB;
        out->size = (size_t)sqlite3_value_bytes(value);
        if (out->size > 0) out->p = sqlite3_value_blob(value);
        if (out->p != NULL) break;
        *out = (struct vt_value){.kind = VT_NULL, .p = (const uint8_t *)""};
        break;
    default: break;
    }
}

static void statement_unbind(struct vt_statement *statement)
{
    if (statement->aside != NULL) vt_params_unbind(statement->aside);
    (void)sqlite3_clear_bindings(statement->stmt);
}

void vt_finish(struct vt_statement *statement)
{
    struct vt_session *session;
    struct vt_budget *before;
    struct kvsql_error err;

    if (statement == NULL) return;
    session = statement->session;
    before = vt_budget_enter(&session->budget);
    if (statement->running) statement_end(statement);
    if (statement->bindings) statement_unbind(statement);
    statement->bindings = statement->point.bound = false;
    statement->aside = NULL;
    statement->bound_used = 0;
    if (statement->keep)
        statement_cache_put(session, statement);
    else
        statement_free(statement);
    vt_budget_leave(before);
    /* Rows left unread may have seen what is not released yet; nobody will
     * ask again, and a failed wal shows at the next statement. */
    if (session->active == NULL && vt_txn_gate(session, &err) != KVSQL_OK)
        session->failure = err;
}
