/* rows.h - a store in memory with a clock of its own, two sessions, and rows of
 * statements as text: values by '|', rows by newline.
 *
 * Thread: the test's; `session` and `other` may be used by one thread each. */
#ifndef KVSQL_TESTS_LIB_ROWS_H
#define KVSQL_TESTS_LIB_ROWS_H

#include "kvsql/base/os.h"
#include "tests/lib/unit.h"
#include "vtab/state.h"

#define ROWS_TEXT_MAX 65536

struct rows {
    kvsql *db;
    struct vt_session *session, *other; /* trusted; not trusted */
    struct kv_os os;
    int64_t wall; /* ms; the clock */
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
