/* kvsql.h - an in-memory store of typed values with SQL, a wal and snapshots.
 */
#ifndef KVSQL_H
#define KVSQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVSQL_VERSION "0.1.0"
#define KVSQL_VERSION_NUMBER 1000

#ifndef KVSQL_API
#define KVSQL_API __attribute__((visibility("default"), warn_unused_result))
#define KVSQL_API_VOID __attribute__((visibility("default")))
#endif

#ifndef KVSQL_RC_DEFINED
#define KVSQL_RC_DEFINED
typedef enum kvsql_rc {
    KVSQL_OK = 0,
    KVSQL_NOTFOUND = 1,
    KVSQL_EXISTS = 2,
    KVSQL_WRONGTYPE = 3,
    KVSQL_SYNTAX = 4,
    KVSQL_ARITY = 5,
    KVSQL_UNKNOWN = 6,
    KVSQL_NOTINT = 7,
    KVSQL_NOTFLOAT = 8,
    KVSQL_OVERFLOW = 9,
    KVSQL_RANGE = 10,
    KVSQL_CONSTRAINT = 11,
    KVSQL_INVALID = 12,
    KVSQL_TOOBIG = 13,
    KVSQL_READONLY = 14,
    KVSQL_NOMEM = 15,
    KVSQL_OOM = 16,
    KVSQL_FULL = 17,
    KVSQL_IO = 18,
    KVSQL_CORRUPT = 19,
    KVSQL_BUSY = 20,
    KVSQL_SNAPSHOT = 21,
    KVSQL_INTERRUPT = 22,
    KVSQL_AUTH = 23,
    KVSQL_LOADING = 24,
    KVSQL_CLOSED = 25,
    KVSQL_LOCKED = 26,
    KVSQL_NEWER = 27,
    KVSQL_ABORT = 28,
    KVSQL_INTERNAL = 29
} kvsql_rc;

#define KVSQL_ERROR_SIZE 512
struct kvsql_error {
    kvsql_rc rc;
    char text[KVSQL_ERROR_SIZE]; /* one sentence, NUL-terminated */
};
#endif

/* One open store. Opaque; any thread. */
typedef struct kvsql kvsql;

/* Bytes that the caller owns; valid for the call only unless said. */
typedef struct kvsql_slice {
    const void *p;
    size_t size;
} kvsql_slice;

enum kvsql_fsync { KVSQL_FSYNC_EVERYSEC = 0, KVSQL_FSYNC_ALWAYS, KVSQL_FSYNC_NO };

#define KVSQL_KEY_MAX 65536              /* bytes of a key */
#define KVSQL_VALUE_MAX (512u << 20)     /* bytes of a value, field, member */

/* Zeroes are the defaults. */
struct kvsql_options {
    enum kvsql_fsync fsync;
    uint64_t wal_segment_size; /* bytes; 0 = 64 MiB */
    uint64_t wal_buffer_max;   /* bytes; 0 = 64 MiB */
    uint64_t maxmemory;        /* bytes; 0 = no limit */
    unsigned snapshot_keep;    /* 0 = 2 */
    uint64_t snapshot_every_s; /* with at least one change; 0 = 3600 */
    uint64_t snapshot_wal_size;/* ... or when the wal since then passes this; 0 = 1 GiB */
    bool repair;               /* keep a clean prefix of a damaged directory */
    bool read_only;            /* no LOCK, no writes, no threads */
    bool no_keeper;            /* the caller ticks (tests) */
};

#ifdef __cplusplus
}
#endif

#endif
