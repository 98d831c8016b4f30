/* snapshot.h - a view as an SQLite file, and back (reliability section 5,
 * tables of sql.md 2.2). Its three files are the only ones of kvsql/ that know
 * SQLite.
 *
 * Thread: the caller's; reading a view takes no lock. */
#ifndef KVSQL_SNAPSHOT_H
#define KVSQL_SNAPSHOT_H

#include "kvsql/admin.h"
#include "kvsql/manifest.h"
#include "kvsql/store.h"

#define KV_SNAPSHOT_APPLICATION_ID 0x6B767371 /* "kvsq", bytes 68..71 */
/* user_version = 1000 * major + minor of the format (V1), which
 * kv_snapshot_format() says as text; the minor is 1 with a table kv_answers. */
#define KV_SNAPSHOT_MAJOR 1
#define KV_SNAPSHOT_MINOR 0
#define KV_SNAPSHOT_USER_VERSION                                              \
    (KV_SNAPSHOT_MAJOR * 1000 + KV_SNAPSHOT_MINOR)

/* Write `view` to the file `path` (absolute or relative to the process; made
 * anew, must not exist): tables in key order, kv_meta, journal off, fsynced.
 * `store_id` 32 hex digits. Fills info but for file. */
KV_INTERNAL kvsql_rc kv_snapshot_write(const struct kv_view *view,
                                       const char *path, const char *store_id,
                                       kv_progress_fn progress, void *arg,
                                       struct kv_snapshot_info *info,
                                       struct kvsql_error *err) KV_MUST_USE;
/* Load the file into an empty store through load.h, check kv_meta, set the
 * position. immutable=1, read only, no mmap. KVSQL_CORRUPT. */
KV_INTERNAL kvsql_rc kv_snapshot_load(struct kv_store *store, const char *path,
                                      const char *store_id,
                                      kv_progress_fn progress, void *arg,
                                      struct kv_snapshot_info *info,
                                      struct kvsql_error *err) KV_MUST_USE;
/* CRC32C and size of a whole file (P3). */
KV_INTERNAL kvsql_rc kv_snapshot_checksum(const struct kv_os *os, int dir,
                                          const char *name, uint64_t *size,
                                          uint32_t *crc,
                                          struct kvsql_error *err) KV_MUST_USE;

#endif
