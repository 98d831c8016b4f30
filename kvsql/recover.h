/* recover.h - what reading back the wal and repairing it share. */
#ifndef KVSQL_RECOVER_H
#define KVSQL_RECOVER_H

#include "kvsql/seg.h"

#define KV_DAMAGED_DIR "damaged"

/* The first thing that is not as it must be. */
struct kv_damage {
    bool found;
    bool old; /* in a segment that nothing is read from any more */
    unsigned index;       /* of the segment in the manifest */
    uint64_t offset;      /* in its file; 0 = the whole file */
    uint64_t readable_to; /* position of the last good frame before it */
    uint64_t last;        /* highest position seen or named behind it */
    uint64_t bytes;       /* of files behind the good part */
    char text[KVSQL_ERROR_SIZE];
};

/* Names in a directory that are wanted(), each with its NUL, in `names`. */
KV_INTERNAL kvsql_rc kv_recover_list(const struct kv_wal_config *config,
                                     bool (*wanted)(const char *name),
                                     struct kv_buf *names,
                                     struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL bool kv_recover_is_snapshot(const char *name);
/* Make and open damaged/<ms>/. */
KV_INTERNAL kvsql_rc kv_damaged_open(const struct kv_wal_config *config,
                                     int *dir, struct kvsql_error *err)
    KV_MUST_USE;
/* Move a file of the directory there, and make that durable. */
KV_INTERNAL kvsql_rc kv_damaged_move(const struct kv_wal_config *config,
                                     const char *name, struct kvsql_error *err)
    KV_MUST_USE;
/* R3: keep what is good up to `keep`, the position of the store. */
KV_INTERNAL kvsql_rc kv_wal_repair(const struct kv_wal_config *config,
                                   struct kv_manifest *manifest,
                                   const struct kv_damage *damage,
                                   uint64_t keep, struct kvsql_error *err)
    KV_MUST_USE;

#endif
