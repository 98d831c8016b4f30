/* api_fx.h - the fixture of a test program that is about the public API: `db`, in
 * memory or in a directory of its own, and calls that must not fail, or must.
 *
 * Thread: the test's. */
#ifndef TESTS_LIB_API_FX_H
#define TESTS_LIB_API_FX_H

#include "kvsql/kvsql.h"

#include <string.h>

#include "tests/lib/tempdir.h"
#include "tests/lib/unit.h"

static kvsql *db;
static struct kvsql_error err;
static char dir[TEMPDIR_MAX];

#define OK(call)                                                              \
    do {                                                                      \
        err.text[0] = '\0';                                                   \
        const kvsql_rc ok_rc = (call);                                        \
        ck_assert_msg(ok_rc == KVSQL_OK, "%s: %d %s", #call, ok_rc,           \
                      err.text);                                              \
    } while (0)
/* The call gives `rc`, and a sentence that holds `words`. */
#define FAILS(want, words, call)                                              \
    do {                                                                      \
        err.text[0] = '\0';                                                   \
        ck_assert_int_eq((call), (want));                                     \
        ck_assert_msg(strstr(err.text, (words)) != NULL, "%s", err.text);     \
        ck_assert_int_eq(err.rc, (want));                                     \
    } while (0)
#define NOTFOUND(call) ck_assert_int_eq((call), KVSQL_NOTFOUND)

static inline void api_fx_open(void)
{
    OK(kvsql_open(NULL, NULL, &db, &err));
}

static inline void api_fx_close(void)
{
    OK(kvsql_close(db, &err));
}

static inline void api_fx_open_dir(void)
{
    tempdir_make(dir, "test_api");
    OK(kvsql_open(dir, NULL, &db, &err));
}

static inline void api_fx_close_dir(void)
{
    OK(kvsql_close(db, &err));
    tempdir_remove(dir);
}

static inline kvsql_slice t(const char *text)
{
    return kvsql_text(text);
}

static inline void check_bytes(kvsql_bytes *bytes, const char *text)
{
    ck_assert_ptr_nonnull(bytes->p);
    ck_assert_uint_eq(bytes->size, strlen(text));
    ck_assert_str_eq(bytes->p, text); /* NUL behind them */
    kvsql_bytes_free(bytes);
    ck_assert_ptr_null(bytes->p);
    ck_assert_uint_eq(bytes->size, 0);
}

static inline void check_get(const char *key, const char *text)
{
    kvsql_bytes value;

    OK(kvsql_get(db, t(key), &value, &err));
    check_bytes(&value, text);
}

static inline kvsql_txn *begin(void)
{
    kvsql_txn *txn;

    OK(kvsql_begin(db, 1000, &txn, &err));
    return txn;
}

/* A list under "list" and a string under "string". */
static inline void some_values(void)
{
    kvsql_txn *txn = begin();

    OK(kvsql_list_push(txn, t("list"), KVSQL_RIGHT, t("a"), NULL, &err));
    OK(kvsql_list_push(txn, t("list"), KVSQL_RIGHT, t("b"), NULL, &err));
    OK(kvsql_list_push(txn, t("list"), KVSQL_RIGHT, t("c"), NULL, &err));
    OK(kvsql_txn_put(txn, t("string"), t("text"), 0, &err));
    OK(kvsql_commit(txn, &err));
}

#endif
