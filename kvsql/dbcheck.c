/* dbcheck.c - `kvsql check DIR`: read everything, change nothing (R4).
 *
 * It takes no lock and works beside a running server: what is not known to be
 * durable yet is not judged, and when something is amiss while the MANIFEST
 * has changed under the reader, it begins again.
 *
 * Thread: the caller's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/db.h"
#include "kvsql/manifest.h"
#include "kvsql/snapshot.h"
#include "kvsql/wal.h"

#define DBCHECK_TRIES 4
#define DBCHECK_LINE 640

struct dbcheck {
    struct kv_wal_config config;
    struct kv_manifest manifest;
    void (*report)(void *arg, const char *line);
    kv_progress_fn progress;
    void *arg;
};

static void dbcheck_say(const struct dbcheck *check, const char *line)
{
    if (check->report != NULL) {
        check->report(check->arg, line);
    }
}

/* Bytes of the snapshots before number `next`, of all. */
static void dbcheck_progress(const struct dbcheck *check, unsigned next)
{
    struct kv_progress progress = {.what = "verify"};

    for (unsigned i = 0; i < check->manifest.snapshot_count; i++) {
        progress.total += check->manifest.snapshots[i].size;
        progress.done += i < next ? check->manifest.snapshots[i].size : 0;
    }
    progress.bytes = progress.done;
    if (check->progress != NULL) {
        check->progress(check->arg, &progress);
    }
}

static kvsql_rc dbcheck_snapshots(struct dbcheck *check,
                                  struct kvsql_error *err)
{
    char line[DBCHECK_LINE];

    for (unsigned i = 0; i < check->manifest.snapshot_count; i++) {
        const struct kv_manifest_snapshot *snapshot =
            &check->manifest.snapshots[i];
        uint64_t size;
        uint32_t crc;

        dbcheck_progress(check, i);
        const kvsql_rc rc =
            kv_snapshot_checksum(check->config.os, check->config.dir,
                                 snapshot->name, &size, &crc, err);
        if (rc == KVSQL_NOTFOUND) {
            return kv_fail(err, KVSQL_CORRUPT,
                           "snapshot.damaged file=%s offset=0 why=\"the file "
                           "is gone\"", snapshot->name);
        }
        if (rc != KVSQL_OK) {
            return rc;
        }
        if (size != snapshot->size || crc != snapshot->crc) {
            return kv_fail(err, KVSQL_CORRUPT,
                           "snapshot.damaged file=%s offset=0 "
                           "expected_size=%" PRIu64 " found_size=%" PRIu64
                           " expected_crc=%08" PRIx32 " found_crc=%08" PRIx32,
                           snapshot->name, snapshot->size, size, snapshot->crc,
                           crc);
        }
        (void)snprintf(line, sizeof(line),
                       "ok file=%s position=%" PRIu64 " bytes=%" PRIu64,
                       snapshot->name, snapshot->position, size);
        dbcheck_say(check, line);
    }
    return KVSQL_OK;
}

static kvsql_rc dbcheck_once(struct dbcheck *check, struct kvsql_error *err)
{
    struct kv_wal_report report;
    char line[DBCHECK_LINE];

    kvsql_rc rc = kv_manifest_read(&check->manifest, err);
    if (rc == KVSQL_OK) {
        rc = kv_wal_headers(&check->config, &check->manifest, err);
    }
    if (rc == KVSQL_OK) {
        rc = dbcheck_snapshots(check, err);
    }
    if (rc == KVSQL_OK) {
        rc = kv_wal_recover(&check->config, &check->manifest, NULL, false,
                            false, check->progress, check->arg, &report, err);
    }
    if (rc == KVSQL_OK) {
        (void)snprintf(line, sizeof(line),
                       "ok segments=%u frames=%" PRIu64 " ops=%" PRIu64
                       " bytes=%" PRIu64 " position=%" PRIu64
                       " torn_bytes=%" PRIu64,
                       check->manifest.segment_count, report.frames, report.ops,
                       report.bytes, report.position, report.torn_bytes);
        dbcheck_say(check, line);
    }
    return rc;
}

static kvsql_rc dbcheck_repair(const char *dir, const struct kv_os *os,
                               kv_progress_fn progress, void *arg,
                               struct kvsql_error *err)
{
    const struct kvsql_options options = {.repair = true, .no_keeper = true};
    kvsql *db;
    const kvsql_rc rc = kv_open_os(dir, &options, os, progress, arg, &db, err);

    return rc == KVSQL_OK ? kv_close(db, err) : rc;
}

kvsql_rc kv_check(const char *dir, const struct kv_os *os, bool repair,
                  void (*report)(void *arg, const char *line),
                  kv_progress_fn progress, void *arg, struct kvsql_error *err)
{
    struct dbcheck check = {
        .report = report, .progress = progress, .arg = arg};
    kvsql_rc rc = KVSQL_OK;
    int handle;

    if (repair) {
        rc = dbcheck_repair(dir, os, progress, arg, err);
        if (rc != KVSQL_OK) {
            return rc;
        }
    }
    const int opened = os->dir_open(os->arg, dir, false, &handle);
    if (opened < 0) {
        return kv_fail(err, opened == -ENOENT ? KVSQL_NOTFOUND : KVSQL_IO,
                       "cannot open the data directory %s: %s", dir,
                       kv_os_error(-opened));
    }
    check.config =
        (struct kv_wal_config){.os = os, .dir = handle, .path = dir};
    kv_manifest_init(&check.manifest, os, handle);
    for (unsigned i = 0; i < DBCHECK_TRIES; i++) {
        rc = dbcheck_once(&check, err);
        if (rc == KVSQL_OK || !kv_manifest_changed(&check.manifest)) {
            break;
        }
    }
    kv_manifest_fini(&check.manifest);
    os->dir_close(os->arg, handle);
    return rc;
}
