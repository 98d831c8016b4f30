/* twin.c - both sides of a comparison; see twin.h.
 *
 * Thread: see the header. */
#include "tests/sql/twin.h"

#include <check.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "tests/lib/rows.h"

/* ---- rows ----------------------------------------------------------------- */

static void rows_free(struct twin_rows *rows)
{
    for (unsigned i = 0; i < rows->count; i++) free(rows->row[i]);
    rows->count = 0;
    rows->error = rows->duplicate = rows->null = false;
    rows->message[0] = 0;
}

static void rows_add(struct twin_rows *rows, const char *text)
{
    /* a ck_assert that holds is a write to a file */
    if (rows->count == TWIN_ROWS_MAX) ck_abort_msg("too many rows");
    rows->row[rows->count] = strdup(text);
    if (rows->row[rows->count++] == NULL) ck_abort_msg("no memory");
}

/* As it is, or as two digits. */
static void byte(char *out, size_t *size, uint8_t c)
{
    static const char digits[] = "0123456789abcdef";

    if (c >= 32 && c < 127) {
        out[(*size)++] = (char)c;
        return;
    }
    out[(*size)++] = digits[c >> 4];
    out[(*size)++] = digits[c & 15];
}

/* One value as text that tells its type. */
static void cell(char *out, size_t *size, const struct vt_value *v)
{
    const size_t left = GEN_TEXT_MAX - *size;
    int wrote = 0;

    switch (v->kind) {
    case VT_NULL: wrote = snprintf(out + *size, left, "NULL|"); break;
    case VT_INTEGER:
        wrote = snprintf(out + *size, left, "i%lld|", (long long)v->integer);
        break;
    case VT_REAL: wrote = snprintf(out + *size, left, "r%.17g|", v->real); break;
    default:
        wrote = snprintf(out + *size, left, v->kind == VT_TEXT ? "'" : "x");
        *size += (size_t)wrote;
        for (size_t i = 0; i < v->size && *size + 4 < GEN_TEXT_MAX; i++)
            byte(out, size, v->p[i]);
        wrote = snprintf(out + *size, GEN_TEXT_MAX - *size, "|");
        break;
    }
    *size += (size_t)wrote;
}

/* ---- our side --------------------------------------------------------------- */

static kvsql_rc ours_rows(struct vt_statement *statement,
                          struct twin_rows *rows, struct kvsql_error *err)
{
    char text[GEN_TEXT_MAX];
    bool row = false;
    kvsql_rc rc;

    while ((rc = vt_step(statement, &row, err)) == KVSQL_OK && row) {
        size_t size = 0;
        text[0] = 0;
        for (int i = 0; i < vt_column_count(statement); i++) {
            struct vt_value v;
            vt_column(statement, i, &v);
            cell(text, &size, &v);
        }
        rows_add(rows, text);
    }
    return rc;
}

static void ours_once(struct twin *twin, const char *sql,
                      struct twin_rows *rows)
{
    const struct gen *g = &twin->gen;
    struct vt_statement *statement;
    struct kvsql_error err = {.rc = KVSQL_OK};
    kvsql_rc rc = vt_prepare(twin->ours, sql, strlen(sql), NULL, &statement,
                             &err);

    rows_free(rows);
    for (unsigned i = 0; rc == KVSQL_OK && i < g->param_count; i++)
        rc = vt_bind(statement, (int)i + 1, &g->params[i], &err);
    if (rc == KVSQL_OK) rc = ours_rows(statement, rows, &err);
    vt_finish(statement);
    rows->error = rc != KVSQL_OK;
    rows->duplicate = rc == KVSQL_EXISTS;
    rows->null = rc == KVSQL_CONSTRAINT &&
                 strncmp(err.text, "NOT NULL", 8) == 0;
    if (rows->error)
        (void)snprintf(rows->message, sizeof(rows->message), "%s", err.text);
}

/* A statement that is asked for again may need no SQLite (vtab/point.c): the
 * rows are those of the second time. */
void twin_ours(struct twin *twin, const char *sql, struct twin_rows *rows)
{
    ours_once(twin, sql, rows);
    if (strncmp(sql, "SELECT", 6) == 0) ours_once(twin, sql, rows);
}

/* ---- the native side ----------------------------------------------------------- */

static void native_bind(const struct gen *g, sqlite3_stmt *stmt)
{
    for (unsigned i = 0; i < g->param_count; i++) {
        const struct vt_value *p = &g->params[i];
        const int at = (int)i + 1;
        switch (p->kind) {
        case VT_NULL: sqlite3_bind_null(stmt, at); break;
        case VT_INTEGER: sqlite3_bind_int64(stmt, at, p->integer); break;
        case VT_REAL: sqlite3_bind_double(stmt, at, p->real); break;
        case VT_TEXT:
            sqlite3_bind_text(stmt, at, (const char *)p->p, (int)p->size,
                              SQLITE_STATIC);
            break;
        case VT_BLOB:
            sqlite3_bind_blob(stmt, at, p->p, (int)p->size, SQLITE_STATIC);
            break;
        }
    }
}

static void native_row(sqlite3_stmt *stmt, char *text)
{
    size_t size = 0;

    text[0] = 0;
    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
        struct vt_value v;
        rows_native(stmt, i, &v);
        cell(text, &size, &v);
    }
}

void twin_native(struct twin *twin, const char *sql, struct twin_rows *rows)
{
    sqlite3_stmt *stmt = NULL;
    char text[GEN_TEXT_MAX];
    int rc = sqlite3_prepare_v2(twin->native, sql, -1, &stmt, NULL);

    rows_free(rows);
    if (rc == SQLITE_OK) {
        native_bind(&twin->gen, stmt);
        while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
            native_row(stmt, text);
            rows_add(rows, text);
        }
    }
    rows->error = rc != SQLITE_DONE;
    rows->duplicate = rc == SQLITE_CONSTRAINT_PRIMARYKEY ||
                      rc == SQLITE_CONSTRAINT_ROWID;
    rows->null = rc == SQLITE_CONSTRAINT_NOTNULL;
    if (rows->error)
        (void)snprintf(rows->message, sizeof(rows->message), "%s",
                       sqlite3_errmsg(twin->native));
    (void)sqlite3_finalize(stmt);
}

/* ---- comparing ------------------------------------------------------------------ */

static int row_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show(const char *name, const struct twin_rows *rows)
{
    printf("%s: %u rows%s%s\n", name, rows->count, rows->error ? ", " : "",
           rows->message);
    for (unsigned i = 0; i < rows->count && i < 12; i++)
        printf("    %s\n", rows->row[i]);
}

static void fail_with(struct twin *twin, const char *sql)
{
    const struct gen *g = &twin->gen;

    printf("step %llu: %s\n", (unsigned long long)g->step, sql);
    for (unsigned i = 0; i < g->param_count; i++)
        printf("  ?%u kind %d int %lld real %g text '%.*s'\n", i + 1,
               (int)g->params[i].kind, (long long)g->params[i].integer,
               g->params[i].real, (int)g->params[i].size,
               g->params[i].p ? (const char *)g->params[i].p : "");
    show("ours", &twin->a);
    show("native", &twin->b);
    fflush(stdout);
    ck_abort_msg("ours and native differ");
}

static bool equal(struct twin *twin)
{
    const struct twin_rows *a = &twin->a, *b = &twin->b;
    bool same = a->error == b->error && a->duplicate == b->duplicate &&
                a->null == b->null && a->count == b->count;

    for (unsigned i = 0; same && i < a->count; i++)
        same = strcmp(a->row[i], b->row[i]) == 0;
    return same;
}

static void sort(struct twin_rows *rows)
{
    qsort(rows->row, rows->count, sizeof(char *), row_compare);
}

/* SQLite takes `key = 7` for a constant and drops ORDER BY key, though '7' and
 * '7 ' are both equal to it; so does max(key). Where native rows differ, a
 * native query whose order cannot be dropped decides. */
static bool same_with_order_kept(struct twin *twin, const char *sql)
{
    char kept[GEN_TEXT_MAX];
    bool order = false;
    size_t n = 0;

    for (const char *p = sql; *p != 0 && n + 2 < sizeof(kept); p++) {
        order = order || strncmp(p, "ORDER BY a.", 11) == 0;
        kept[n++] = *p;
        if ((order && strncmp(p, " a.", 3) == 0) ||
            strncmp(p, "(a.", 3) == 0)
            kept[n++] = '+';
    }
    kept[n] = 0;
    twin_native(twin, kept, &twin->b);
    if ((strstr(sql, " LIMIT ") != NULL && strstr(sql, "a.key ") != NULL) ||
        strstr(sql, " OVER (") != NULL)
        twin_ours(twin, kept, &twin->a); /* which of equals: SQLite's choice */
    if (twin->gen.loose) {
        sort(&twin->a);
        sort(&twin->b);
    }
    return equal(twin);
}

/* SQLite's optimizer may lose a row: the Bloom filter of an automatic index
 * does not know RTRIM. Without it SQLite does what the words say. */
static bool same_without_optimizer(struct twin *twin, const char *sql)
{
    bool same;

    sqlite3_test_control(SQLITE_TESTCTRL_OPTIMIZATIONS, twin->native, ~0);
    twin_native(twin, sql, &twin->b);
    sqlite3_test_control(SQLITE_TESTCTRL_OPTIMIZATIONS, twin->native, 0);
    if (twin->gen.loose) sort(&twin->b);
    same = equal(twin);
    twin->judged += same;
    return same;
}

void twin_compare(struct twin *twin, const char *sql)
{
    if (twin->gen.loose) {
        sort(&twin->a);
        sort(&twin->b);
    }
    if (equal(twin) || same_without_optimizer(twin, sql)) return;
    if (!same_with_order_kept(twin, sql)) fail_with(twin, sql);
}

void twin_both(struct twin *twin, const char *sql)
{
    twin_ours(twin, sql, &twin->a);
    twin_native(twin, sql, &twin->b);
    twin_compare(twin, sql);
}

void twin_do(struct twin *twin, const char *sql)
{
    gen_begin(&twin->gen);
    twin_both(twin, sql);
    ck_assert_msg(!twin->a.error, "%s: %s", sql, twin->a.message);
}

/* ---- contents ---------------------------------------------------------------------- */

static const char *const schema =
    "CREATE TABLE keys(key TEXT NOT NULL PRIMARY KEY, type TEXT NOT NULL,"
    " length INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID;"
    "CREATE TABLE strings(key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL,"
    " expires_at INTEGER) WITHOUT ROWID;"
    "CREATE TABLE hashes(key TEXT NOT NULL, field TEXT NOT NULL,"
    " value TEXT NOT NULL, expires_at INTEGER, PRIMARY KEY(key, field))"
    " WITHOUT ROWID;"
    "CREATE TABLE lists(key TEXT NOT NULL, idx INTEGER NOT NULL,"
    " value TEXT NOT NULL, PRIMARY KEY(key, idx)) WITHOUT ROWID;"
    "CREATE TABLE sets(key TEXT NOT NULL, member TEXT NOT NULL,"
    " PRIMARY KEY(key, member)) WITHOUT ROWID;"
    "CREATE TABLE zsets(key TEXT NOT NULL, member TEXT NOT NULL,"
    " score REAL NOT NULL, PRIMARY KEY(key, member)) WITHOUT ROWID;";

static void native_exec(struct twin *twin, const char *sql)
{
    char *error = NULL;
    const int rc = sqlite3_exec(twin->native, sql, NULL, NULL, &error);

    ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, error ? error : "");
}

/* A clock that stands still: expires_at is shown as it was given. */
static int64_t twin_wall(void *arg)
{
    (void)arg;
    return 1700000000000;
}

static uint64_t twin_boot(void *arg)
{
    (void)arg;
    return 1000000000000u;
}

void twin_open(struct twin *twin, const char *test, uint64_t seed)
{
    static struct kv_os os;
    const struct vt_limits limits = {.trusted = true};
    const struct kvsql_options options = {.fsync = KVSQL_FSYNC_NO};
    struct kvsql_error err;

    os = *kv_os_real();
    os.wall_ms = twin_wall;
    os.boot_ns = twin_boot;
    memset(twin, 0, sizeof(*twin));
    twin->gen.rand = rand_of(rand_seed(test, seed));
    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(
        kv_open_os("", &options, &os, NULL, NULL, &twin->db, &err), KVSQL_OK);
    ck_assert_int_eq(vt_session_open(twin->db, &limits, &twin->ours, &err),
                     KVSQL_OK);
    ck_assert_int_eq(sqlite3_open(":memory:", &twin->native), SQLITE_OK);
    sqlite3_extended_result_codes(twin->native, 1);
    native_exec(twin, schema);
    twin_do(twin, "CREATE TEMP TABLE t(id INTEGER PRIMARY KEY, i INTEGER,"
                  " r REAL, x TEXT, n NUMERIC, b BLOB, u)");
    twin_do(twin, "INSERT INTO t(i, r, x, n, b, u) VALUES"
                  " (7, 7.0, '7', '007', x'37', 7), (10, 1e1, '10', '1e1',"
                  " x'ff', '10'), (-5, 0.5, 'a', 'a', x'3700', 7.0),"
                  " (NULL, NULL, NULL, NULL, NULL, NULL),"
                  " (0, 9e999, '007', 0.5, 'user:1', 'user:1'),"
                  " (1, 1.5, 'Inf', 1, 7, '+7')");
}

void twin_close(struct twin *twin)
{
    struct kvsql_error err;

    rows_free(&twin->a);
    rows_free(&twin->b);
    vt_session_close(twin->ours);
    ck_assert_int_eq(sqlite3_close(twin->native), SQLITE_OK);
    ck_assert_int_eq(kv_close(twin->db, &err), KVSQL_OK);
}

void twin_empty(struct twin *twin)
{
    twin_do(twin, "DELETE FROM t WHERE id > 6");
    twin_ours(twin, "DELETE FROM keys", &twin->a);
    ck_assert_msg(!twin->a.error, "%s", twin->a.message);
    native_exec(twin, "DELETE FROM strings; DELETE FROM hashes;"
                      "DELETE FROM lists; DELETE FROM sets;"
                      "DELETE FROM zsets; DELETE FROM keys");
}

void twin_fill(struct twin *twin)
{
    struct gen *g = &twin->gen;

    twin_empty(twin);
    for (unsigned i = 0; i < gen_keys(); i++) {
        const enum gen_table_id table = 1 + gen_below(g, GEN_TABLES - 1);
        const unsigned rows = 1 + gen_below(g, gen_one_in(g, 10) ? 30 : 4);
        for (unsigned n = 0; n < (table == GEN_STRINGS ? 1 : rows); n++) {
            gen_fill(g, table, i, n);
            twin_both(twin, g->sql);
            ck_assert_msg(!twin->a.error, "%s: %s", g->sql, twin->a.message);
        }
    }
    native_exec(
        twin,
        "INSERT INTO keys SELECT key, 'string', length(CAST(value AS BLOB)),"
        " expires_at FROM strings;"
        "INSERT INTO keys SELECT key, 'hash', count(*), NULL FROM hashes"
        " GROUP BY key;"
        "INSERT INTO keys SELECT key, 'list', count(*), NULL FROM lists"
        " GROUP BY key;"
        "INSERT INTO keys SELECT key, 'set', count(*), NULL FROM sets"
        " GROUP BY key;"
        "INSERT INTO keys SELECT key, 'zset', count(*), NULL FROM zsets"
        " GROUP BY key;");
}

bool twin_more(struct twin *twin, uint64_t steps)
{
    const char *text = getenv("KVSQL_SQL_STEPS");

    twin->gen.step++;
    return twin->gen.step <= (text != NULL ? strtoull(text, NULL, 0) : steps);
}
