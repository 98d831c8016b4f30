/* error.h - the one result type, and the sentence that goes with it.
 *
 * Every function that can fail returns kvsql_rc. The place that knows most
 * writes the sentence with kv_fail(); callers pass it on unchanged. The rows
 * (name, words, HTTP status, RESP prefix, SQLite code) are in errors.def.
 *
 * Thread: any; nothing is shared. */
#ifndef KVSQL_BASE_ERROR_H
#define KVSQL_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"

#ifndef KVSQL_RC_DEFINED
#define KVSQL_RC_DEFINED
typedef enum kvsql_rc {
#define KV_ERROR(name, number, words, http, resp, sqlite, hint)               \
    KVSQL_##name = (number),
#include "kvsql/base/errors.def"
#undef KV_ERROR
} kvsql_rc;

#define KVSQL_ERROR_SIZE 512

/* A result and one sentence for a person, NUL-terminated, never longer than
 * KVSQL_ERROR_SIZE - 1 bytes, control bytes escaped. */
struct kvsql_error {
    kvsql_rc rc;
    char text[KVSQL_ERROR_SIZE];
};
#endif

/* One row of errors.def. All strings are static. */
struct kv_error_row {
    kvsql_rc rc;
    const char *name;  /* "NOTFOUND" */
    const char *words; /* short title: "no such key" */
    int http;          /* status */
    const char *resp;  /* prefix: "ERR", "WRONGTYPE", ... */
    const char *sqlite; /* name of the SQLite code: "SQLITE_CONSTRAINT_VTAB" */
    const char *hint;  /* what to do next */
};

/* Set *err (may be NULL) to rc and the formatted sentence; returns rc. */
KV_INTERNAL kvsql_rc kv_fail(struct kvsql_error *err, kvsql_rc rc,
                             const char *format, ...) KV_PRINTF(3, 4);

/* Row of `rc`; the row of INTERNAL for a number that is none of ours. */
KV_INTERNAL const struct kv_error_row *kv_error_row(kvsql_rc rc);

/* Row `index` of the table, or NULL behind the last: for docs and tests. */
KV_INTERNAL const struct kv_error_row *kv_error_at(unsigned index);

#endif
