/* rows.c - see rows.h. */
#include "kvsql/admin.h"
#include "tests/lib/rows.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The clock of the fixture that was made last. */
static const int64_t *rows_clock;

static int64_t rows_wall(void *arg)
{
    (void)arg;
    return __atomic_load_n(rows_clock, __ATOMIC_RELAXED);
}

static uint64_t rows_boot(void *arg)
{
    return (uint64_t)rows_wall(arg) * 1000000u;
}

void rows_init_os(struct rows *rows, const char *dir, const struct kv_os *os,
                  const struct kvsql_options *options)
{
    const struct vt_limits limits = {.trusted = true}, remote = {0};

    memset(rows, 0, sizeof(*rows));
    rows->wall = 1700000000000;
    rows_clock = &rows->wall;
    rows->os = *os;
    rows->os.wall_ms = rows_wall;
    rows->os.boot_ns = rows_boot;
    ck_assert_int_eq(vt_start(&rows->err), KVSQL_OK);
    ck_assert_int_eq(kv_open_os(dir, options, &rows->os, NULL, NULL,
                                &rows->db, &rows->err),
                     KVSQL_OK);
    ck_assert_int_eq(
        vt_session_open(rows->db, &limits, &rows->session, &rows->err),
        KVSQL_OK);
    ck_assert_int_eq(
        vt_session_open(rows->db, &remote, &rows->other, &rows->err),
        KVSQL_OK);
}

void rows_init(struct rows *rows)
{
    const struct kvsql_options options = {.no_keeper = true};

    rows_init_os(rows, "", kv_os_real(), &options);
}

void rows_fini(struct rows *rows)
{
    vt_session_close(rows->session);
    vt_session_close(rows->other);
    ck_assert_int_eq(kv_close(rows->db, &rows->err), KVSQL_OK);
}

static int rows_bytes(char *out, size_t left, const struct vt_value *v)
{
    int n = snprintf(out, left, "x'");

    for (size_t i = 0; i < v->size; i++)
        n += snprintf(out + n, left - (size_t)n, "%02x", v->p[i]);
    return n + snprintf(out + n, left - (size_t)n, "'");
}

static int rows_real(char *out, size_t left, double real, bool literal)
{
    const int n = snprintf(out, left, "%.17g", real);

    if (!literal || !isfinite(real) || real != floor(real)) return n;
    return n + snprintf(out + n, left - (size_t)n, ".0");
}

void rows_between(char *out, size_t *size, int column)
{
    if (*size > 0) out[(*size)++] = column == 0 ? '\n' : '|';
    out[*size] = 0;
}

void rows_value(char *out, size_t *size, const struct vt_value *v, bool literal)
{
    const size_t left = ROWS_TEXT_MAX - *size;
    int n = 0;

    out += *size;
    /* a ck_assert that holds is a write to a file */
    if (left <= 64 + v->size * 2) ck_abort_msg("too much text");
    switch (v->kind) {
    case VT_NULL: n = snprintf(out, left, "NULL"); break;
    case VT_INTEGER:
        n = snprintf(out, left, "%lld", (long long)v->integer);
        break;
    case VT_REAL: n = rows_real(out, left, v->real, literal); break;
    case VT_TEXT:
        n = snprintf(out, left, literal ? "'%.*s'" : "%.*s", (int)v->size,
                     (const char *)v->p);
        break;
    case VT_BLOB: n = rows_bytes(out, left, v); break;
    }
    *size += (size_t)n;
}

void rows_native(sqlite3_stmt *stmt, int column, struct vt_value *v)
{
    static const enum vt_value_kind kinds[] = {VT_NULL, VT_INTEGER, VT_REAL,
                                               VT_TEXT, VT_BLOB, VT_NULL};

    *v = (struct vt_value){.kind = kinds[sqlite3_column_type(stmt, column)]};
    if (v->kind == VT_INTEGER) v->integer = sqlite3_column_int64(stmt, column);
    if (v->kind == VT_REAL) v->real = sqlite3_column_double(stmt, column);
    if (v->kind == VT_TEXT || v->kind == VT_BLOB) {
        v->p = sqlite3_column_blob(stmt, column);
        v->size = (size_t)sqlite3_column_bytes(stmt, column);
    }
}

kvsql_rc rows_drain(struct rows *rows, struct vt_statement *statement)
{
    size_t size = 0;
    struct vt_value v;
    bool row;
    kvsql_rc rc;

    rows->text[0] = 0;
    while ((rc = vt_step(statement, &row, &rows->err)) == KVSQL_OK && row)
        for (int i = 0; i < vt_column_count(statement); i++) {
            vt_column(statement, i, &v);
            rows_between(rows->text, &size, i);
            rows_value(rows->text, &size, &v, rows->literal);
        }
    return rc;
}

kvsql_rc rows_run(struct rows *rows, struct vt_session *session,
                  const char *sql)
{
    struct vt_statement *statement;
    kvsql_rc rc = vt_prepare(session, sql, strlen(sql), NULL, &statement,
                             &rows->err);

    if (rc != KVSQL_OK)
        return rc;
    rc = rows_drain(rows, statement);
    vt_finish(statement);
    return rc;
}

kvsql_rc rows_ask(struct rows *rows, struct vt_session *session, const char *sql,
                  const struct vt_value *values, size_t count, size_t from)
{
    struct vt_statement *statement = NULL;
    kvsql_rc rc = vt_prepare(session, sql, strlen(sql), NULL, &statement,
                             &rows->err);

    rows->text[0] = 0;
    for (int i = 0; rc == KVSQL_OK && i < vt_param_count(statement); i++)
        rc = vt_bind(statement, i + 1, &values[(from + (size_t)i * 3) % count],
                     &rows->err);
    if (rc == KVSQL_OK) rc = rows_drain(rows, statement);
    vt_finish(statement);
    return rc;
}

int rows_runs(struct vt_session *session, const char *sql)
{
    sqlite3_stmt *stmt = sqlite3_next_stmt(session->sql, NULL);

    for (; stmt != NULL; stmt = sqlite3_next_stmt(session->sql, stmt))
        if (strcmp(sqlite3_sql(stmt), sql) == 0)
            return sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_RUN, 0);
    ck_abort_msg("not kept: %s", sql);
    return 0;
}

void rows_ok(struct rows *rows, const char *sql)
{
    const kvsql_rc rc = rows_run(rows, rows->session, sql);

    ck_assert_msg(rc == KVSQL_OK, "%s: %s", sql, rows->err.text);
}
