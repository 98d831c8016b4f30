/* rows.h - a store in memory with a clock of its own, two sessions, and rows of
 * statements as text: values by '|', rows by newline. rows_fx.h makes one of
 * them the fixture of a test program.
 *
 * Thread: the test's; `session` and `other` may be used by one thread each. */
#ifndef KVSQL_TESTS_LIB_ROWS_H
#define KVSQL_TESTS_LIB_ROWS_H

#include "kvsql/base/os.h"
#include "tests/lib/unit.h"
#include "vtab/state.h"

#define ROWS_TEXT_MAX 262144

struct rows {
    kvsql *db;
    struct vt_session *session, *other; /* trusted; not trusted */
    struct kv_os os;
    int64_t wall; /* ms; the clock */
    bool literal; /* values as SQL says them: 'text', 1.0 */
    char text[ROWS_TEXT_MAX];
    struct kvsql_error err;
};
/* A store without files. */
void rows_init(struct rows *rows);
/* One in `dir` of an operating system, whose clock is taken over. */
void rows_init_os(struct rows *rows, const char *dir, const struct kv_os *os,
                  const struct kvsql_options *options);
void rows_fini(struct rows *rows);
/* Run one statement; what it gives stands in rows->text. */
kvsql_rc rows_run(struct rows *rows, struct vt_session *session,
                  const char *sql);
/* The rows of a statement that is prepared, and perhaps bound. */
kvsql_rc rows_drain(struct rows *rows, struct vt_statement *statement);
/* Run one with parameters: values[from], the third behind that, and so on, around. */
kvsql_rc rows_ask(struct rows *rows, struct vt_session *session, const char *sql,
                  const struct vt_value *values, size_t count, size_t from);
/* How often SQLite has run a statement that is kept. */
int rows_runs(struct vt_session *session, const char *sql);
/* What stands between two values, and a value, behind out[*size] of
 * ROWS_TEXT_MAX. */
void rows_between(char *out, size_t *size, int column);
void rows_value(char *out, size_t *size, const struct vt_value *v,
                bool literal);
/* A column of a native row. */
void rows_native(sqlite3_stmt *stmt, int column, struct vt_value *v);
/* It must not fail. */
void rows_ok(struct rows *rows, const char *sql);

/* The statement gives these rows. */
#define ROWS_GIVES(rows, sql, expected)                                       \
    do {                                                                      \
        rows_ok((rows), (sql));                                               \
        ck_assert_str_eq((rows)->text, (expected));                           \
    } while (0)
/* The statement fails so. */
#define ROWS_FAILS(rows, sql, code, sentence)                                 \
    do {                                                                      \
        ck_assert_int_eq(rows_run((rows), (rows)->session, (sql)), (code));   \
        ck_assert_str_eq((rows)->err.text, (sentence));                       \
    } while (0)

#endif
