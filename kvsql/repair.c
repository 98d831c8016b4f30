/* repair.c - --repair: a clean prefix instead of a refusal (R3), and a MANIFEST
 * made anew from the files it named.
 *
 * Nothing is deleted: what is damaged, and what can no longer follow, is moved
 * to damaged/<ms>/. The good frames of the segment with the damage are copied
 * into a segment of their own with the discipline of W7, then one MANIFEST
 * makes the prefix the whole truth, then the files move. A crash between any
 * two steps leaves a directory that the same repair brings to the same end:
 * before the MANIFEST the copy is a file that nobody names, after it the
 * damaged files are.
 *
 * Thread: the opener's; nobody else has the directory. */
#include "kvsql/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/diag.h"
#include "kvsql/base/num.h"
#include "kvsql/snapshot.h"

#define REPAIR_PATH_MAX 4096
#define REPAIR_BLOCK (1u << 20)
#define REPAIR_NAME_TRIES 100

/* ---- damaged/ -------------------------------------------------------------------- */

kvsql_rc kv_damaged_open(const struct kv_wal_config *config, int *dir,
                         struct kvsql_error *err)
{
    const struct kv_os *os = config->os;
    char path[REPAIR_PATH_MAX];

    const int size = snprintf(path, sizeof(path), "%s/" KV_DAMAGED_DIR
                              "/%" PRId64, config->path, os->wall_ms(os->arg));
    if (size < 0 || (size_t)size >= sizeof(path)) {
        return kv_fail(err, KVSQL_TOOBIG, "wal: the path %s is too long",
                       config->path);
    }
    int rc = os->dir_make(os->arg, config->dir, KV_DAMAGED_DIR);
    if (rc == 0) {
        rc = os->dir_sync(os->arg, config->dir);
    }
    if (rc == 0) {
        rc = os->dir_open(os->arg, path, true, dir);
    }
    if (rc < 0) {
        return kv_fail(err, kv_seg_rc(-rc), "wal: cannot make %s: %s", path,
                       kv_os_error(-rc));
    }
    return KVSQL_OK;
}

/* `name`, or name.1, name.2, ... when there is one already. */
static int repair_free_name(const struct kv_os *os, int dir, const char *name,
                            char out[KV_OS_NAME_MAX + 1])
{
    for (unsigned i = 0; i < REPAIR_NAME_TRIES; i++) {
        int file;

        (void)snprintf(out, KV_OS_NAME_MAX + 1, i ? "%s.%u" : "%s", name, i);
        const int rc = os->open(os->arg, dir, out, KV_OS_READ, &file);
        if (rc == -ENOENT) {
            return 0;
        }
        if (rc < 0) {
            return rc;
        }
        os->close(os->arg, file);
    }
    return -EEXIST;
}

kvsql_rc kv_damaged_move(const struct kv_wal_config *config, const char *name,
                         struct kvsql_error *err)
{
    const struct kv_os *os = config->os;
    char to[KV_OS_NAME_MAX + 1];
    int dir;

    const kvsql_rc opened = kv_damaged_open(config, &dir, err);
    if (opened != KVSQL_OK) {
        return opened;
    }
    int rc = repair_free_name(os, dir, name, to);
    if (rc == 0) {
        rc = os->rename(os->arg, config->dir, name, dir, to);
        rc = rc == -ENOENT ? 0 : rc; /* gone already: nothing to keep */
    }
    if (rc == 0) {
        rc = os->dir_sync(os->arg, dir);
    }
    if (rc == 0) {
        rc = os->dir_sync(os->arg, config->dir);
    }
    os->dir_close(os->arg, dir);
    if (rc < 0) {
        return kv_fail(err, kv_seg_rc(-rc),
                       "wal: cannot move %s to " KV_DAMAGED_DIR ": %s", name,
                       kv_os_error(-rc));
    }
    return KVSQL_OK;
}

/* ---- the good frames of a damaged segment -------------------------------------------- */

struct repair_copy {
    const struct kv_os *os;
    int file;
    uint32_t seed;
    uint64_t at;
    struct kv_buf block;
};

static int repair_flush(struct repair_copy *copy)
{
    if (copy->block.failed) {
        return -ENOMEM;
    }
    const int64_t rc = copy->os->write_at(copy->os->arg, copy->file,
                                          copy->block.p, copy->block.size,
                                          copy->at);
    copy->at += copy->block.size;
    kv_buf_reset(&copy->block, REPAIR_BLOCK);
    return rc < 0 ? (int)rc : 0;
}

static int repair_copy_frame(struct repair_copy *copy,
                             const struct kv_frame *frame)
{
    struct kv_buf *block = &copy->block;

    if (!kv_buf_reserve(block, KV_FRAME_HEADER_SIZE + (size_t)frame->size)) {
        return -ENOMEM;
    }
    uint8_t *to = block->p + block->size;
    kv_frame_put(to, (enum kv_frame_type)frame->type, frame->position,
                 frame->time, frame->size);
    memcpy(to + KV_FRAME_HEADER_SIZE, frame->payload, frame->size);
    kv_frame_seal(to, copy->seed, frame->synced);
    block->size += KV_FRAME_HEADER_SIZE + frame->size;
    return block->size >= REPAIR_BLOCK ? repair_flush(copy) : 0;
}

static kvsql_rc repair_copy_frames(struct repair_copy *copy,
                                   struct kv_seg_reader *from, uint64_t end,
                                   struct kvsql_error *err)
{
    struct kv_frame frame;
    int rc = 0;

    from->limit = end;
    while (rc == 0) {
        const enum kv_scan scan = kv_seg_next(from, &frame, err);

        if (scan == KV_SCAN_ERROR) {
            return from->rc;
        }
        if (scan != KV_SCAN_FRAME) {
            break; /* the end, as it was found before */
        }
        rc = repair_copy_frame(copy, &frame);
    }
    if (rc == 0 && copy->block.size > 0) {
        rc = repair_flush(copy);
    }
    if (rc == 0) {
        rc = copy->os->sync(copy->os->arg, copy->file);
    }
    if (rc < 0) {
        return kv_fail(err, rc == -ENOMEM ? KVSQL_NOMEM : kv_seg_rc(-rc),
                       "wal: cannot copy the good frames: %s",
                       kv_os_error(-rc));
    }
    return KVSQL_OK;
}

/* Copy the frames before the damage into a new segment; its number is above
 * all there are. */
static kvsql_rc repair_prefix(const struct kv_wal_config *config,
                              const struct kv_manifest *manifest,
                              const struct kv_damage *damage, uint64_t *number,
                              struct kvsql_error *err)
{
    const struct kv_manifest_segment *segment =
        &manifest->segments[damage->index];
    struct repair_copy copy = {.os = config->os, .at = KV_SEG_HEADER_SIZE};
    struct kv_seg_header header = {.first = segment->first};
    struct kv_seg_reader from;

    kvsql_rc rc = kv_seg_open(&from, config->os, config->dir, segment->number,
                              err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    memcpy(header.store_id, manifest->store_id, sizeof(header.store_id));
    header.created = from.header.created;
    header.number = manifest->segments[manifest->segment_count - 1].number;
    do {
        header.number++;
        rc = kv_seg_create(config->os, config->dir, &header, &copy.file, err);
    } while (rc == KVSQL_EXISTS);
    if (rc == KVSQL_OK) {
        copy.seed = header.crc;
        kv_buf_init(&copy.block, KV_MEM_WAL,
                    2 * (size_t)REPAIR_BLOCK + KV_WAL_FRAME_MAX);
        rc = repair_copy_frames(&copy, &from, damage->offset, err);
        kv_buf_fini(&copy.block);
        config->os->close(config->os->arg, copy.file);
    }
    *number = header.number;
    kv_seg_close(&from);
    return rc;
}

/* ---- the new truth --------------------------------------------------------------------- */

/* Older snapshots that no wal leads away from any more. */
static void repair_snapshots(struct kv_manifest *manifest, uint64_t keep,
                             struct kv_buf *gone)
{
    const uint64_t from = manifest->segment_count > 0
                              ? manifest->segments[0].first - 1
                              : keep;
    unsigned kept = 0;

    for (unsigned i = 0; i < manifest->snapshot_count; i++) {
        const struct kv_manifest_snapshot *snapshot = &manifest->snapshots[i];

        if (snapshot->position >= from && snapshot->position <= keep) {
            manifest->snapshots[kept++] = *snapshot;
        } else {
            kv_buf_add(gone, snapshot->name, strlen(snapshot->name) + 1);
        }
    }
    manifest->snapshot_count = kept;
}

static void repair_gone(struct kv_buf *gone,
                        const struct kv_manifest *manifest, unsigned from,
                        unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char name[KV_SEG_NAME_SIZE];

        kv_seg_name(name, manifest->segments[i].number);
        kv_buf_add(gone, name, strlen(name) + 1);
    }
}

/* Change the list of the manifest to the prefix; the names that fall out go to
 * `gone`. */
static kvsql_rc repair_list(const struct kv_wal_config *config,
                            struct kv_manifest *manifest,
                            const struct kv_damage *damage, uint64_t keep,
                            struct kv_buf *gone, struct kvsql_error *err)
{
    const unsigned index = damage->index, count = manifest->segment_count;
    const uint64_t first = manifest->segments[index].first;
    const bool prefix = !damage->old &&
                        damage->offset > KV_SEG_HEADER_SIZE &&
                        damage->readable_to == keep && keep >= first;
    const bool joins = prefix || (index > 0 && keep + 1 == first);
    uint64_t number = 0;
    kvsql_rc rc = KVSQL_OK;

    if (prefix) {
        rc = repair_prefix(config, manifest, damage, &number, err);
        if (rc != KVSQL_OK) {
            return rc;
        }
    }
    if (damage->old) { /* it and those before it; the rest joins as it did */
        repair_gone(gone, manifest, 0, index + 1);
        manifest->segment_count -= index + 1;
        memmove(manifest->segments, manifest->segments + index + 1,
                manifest->segment_count * sizeof(*manifest->segments));
        repair_snapshots(manifest, UINT64_MAX, gone);
        return KVSQL_OK;
    }
    repair_gone(gone, manifest, joins ? index : 0, count);
    manifest->segment_count = joins ? index : 0;
    if (prefix) {
        rc = kv_manifest_add_segment(manifest, number, first, err);
    }
    repair_snapshots(manifest, keep, gone);
    manifest->durable = keep;
    manifest->has_clean = false;
    return rc;
}

kvsql_rc kv_wal_repair(const struct kv_wal_config *config,
                       struct kv_manifest *manifest,
                       const struct kv_damage *damage, uint64_t keep,
                       struct kvsql_error *err)
{
    struct kv_buf gone;
    unsigned files = 0;

    kv_buf_init(&gone, KV_MEM_MISC, 64u << 20);
    kvsql_rc rc = repair_list(config, manifest, damage, keep, &gone, err);
    if (rc == KVSQL_OK) {
        rc = kv_buf_result(&gone, "wal: the names of damaged files", err);
    }
    if (rc == KVSQL_OK) {
        rc = kv_manifest_write(manifest, err);
    }
    for (size_t at = 0; rc == KVSQL_OK && at < gone.size;) {
        const char *name = (const char *)gone.p + at;

        rc = kv_damaged_move(config, name, err);
        files++;
        at += strlen(name) + 1;
    }
    kv_buf_fini(&gone);
    if (rc == KVSQL_OK && damage->old) {
        kv_diag(KV_WARN, "wal.repaired", "lost=0 files=%u moved_to=%s", files,
                KV_DAMAGED_DIR);
    } else if (rc == KVSQL_OK) {
        kv_diag(KV_WARN, "wal.repaired",
                "kept_to=%" PRIu64 " lost_from=%" PRIu64 " lost_to=%" PRIu64
                " bytes=%" PRIu64 " files=%u moved_to=%s",
                keep, keep + 1, damage->last > keep ? damage->last : keep + 1,
                damage->bytes, files, KV_DAMAGED_DIR);
    }
    return rc;
}

/* ---- a MANIFEST made anew ---------------------------------------------------------------- */

static bool repair_is_segment(const char *name)
{
    uint64_t number;

    return kv_seg_number(name, &number);
}

/* The lowest number above `after` among the names; false when there is none. */
static bool repair_next(const struct kv_buf *names, uint64_t after,
                        uint64_t *next)
{
    bool found = false;

    for (size_t at = 0; at < names->size;) {
        const char *name = (const char *)names->p + at;
        uint64_t number;

        if (kv_seg_number(name, &number) && number > after &&
            (!found || number < *next)) {
            *next = number;
            found = true;
        }
        at += strlen(name) + 1;
    }
    return found;
}

/* Seal the last segment of the list where the next one begins. False when its
 * frames do not reach that far: the list ends here. */
static kvsql_rc repair_seal(const struct kv_wal_config *config,
                            struct kv_manifest *manifest, uint64_t next_first,
                            bool *joined, struct kvsql_error *err)
{
    struct kv_manifest_segment *last =
        &manifest->segments[manifest->segment_count - 1];
    struct kv_seg_reader reader;
    struct kv_frame frame;
    enum kv_scan scan = KV_SCAN_END;

    const kvsql_rc rc = kv_seg_open(&reader, config->os, config->dir,
                                    last->number, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    while (reader.position + 1 < next_first) {
        scan = kv_seg_next(&reader, &frame, err);
        if (scan != KV_SCAN_FRAME) {
            break;
        }
    }
    const kvsql_rc failed = scan == KV_SCAN_ERROR ? reader.rc : KVSQL_OK;
    *joined = reader.position + 1 == next_first;
    if (*joined) {
        last->last = reader.position;
        last->end = reader.offset;
        last->sealed = true;
    }
    kv_seg_close(&reader);
    return failed;
}

static kvsql_rc repair_find_segments(const struct kv_wal_config *config,
                                     struct kv_manifest *manifest,
                                     const struct kv_buf *names,
                                     struct kvsql_error *err)
{
    uint64_t number = 0;
    bool joined = true;
    kvsql_rc rc = KVSQL_OK;

    while (rc == KVSQL_OK && joined && repair_next(names, number, &number)) {
        struct kv_seg_reader reader;
        struct kvsql_error cause;

        const kvsql_rc opened = kv_seg_open(&reader, config->os, config->dir,
                                            number, &cause);
        if (opened == KVSQL_CORRUPT) {
            kv_diag(KV_WARN, "wal.rebuild", "skipped=\"%s\"", cause.text);
            continue;
        }
        if (opened != KVSQL_OK) { /* it may be whole: nothing is known of it */
            return kv_fail(err, opened, "%s", cause.text);
        }
        const struct kv_seg_header header = reader.header;
        kv_seg_close(&reader);
        if (manifest->segment_count == 0) {
            memcpy(manifest->store_id, header.store_id, 16);
        } else if (memcmp(manifest->store_id, header.store_id, 16) != 0) {
            return kv_fail(err, KVSQL_CORRUPT,
                           "wal: segments of two stores lie in %s: take those "
                           "of the other one away",
                           config->path);
        } else {
            rc = repair_seal(config, manifest, header.first, &joined, err);
        }
        if (rc == KVSQL_OK && joined) {
            rc = kv_manifest_add_segment(manifest, number, header.first, err);
        }
    }
    if (rc == KVSQL_OK && manifest->segment_count == 0) {
        rc = kv_fail(err, KVSQL_CORRUPT,
                     "wal: no segment in %s has a good header, so nothing "
                     "tells which store this is: restore a copy, or read the "
                     "snapshots with sqlite3",
                     config->path);
    }
    return rc;
}

/* Enter a snapshot by its name, newest first. */
static kvsql_rc repair_snapshot(const struct kv_wal_config *config,
                                struct kv_manifest *manifest, const char *name,
                                struct kvsql_error *err)
{
    struct kv_manifest_snapshot snapshot = {.size = 0};
    const char *digits = name + 5;
    const char *end = strrchr(name, '.');
    unsigned at = 0;

    while (digits + 1 < end && *digits == '0') {
        digits++;
    }
    if (strlen(name) >= sizeof(snapshot.name) ||
        !kv_num_uint(digits, (size_t)(end - digits), &snapshot.position) ||
        manifest->snapshot_count == KV_MANIFEST_SNAPSHOTS_MAX) {
        return KVSQL_OK; /* not ours: it is moved away with the rest */
    }
    memcpy(snapshot.name, name, strlen(name) + 1);
    const kvsql_rc rc =
        kv_snapshot_checksum(config->os, config->dir, name, &snapshot.size,
                             &snapshot.crc, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    while (at < manifest->snapshot_count &&
           manifest->snapshots[at].position > snapshot.position) {
        at++;
    }
    memmove(&manifest->snapshots[at + 1], &manifest->snapshots[at],
            (manifest->snapshot_count - at) * sizeof(snapshot));
    manifest->snapshots[at] = snapshot;
    manifest->snapshot_count++;
    return KVSQL_OK;
}

kvsql_rc kv_wal_rebuild(const struct kv_wal_config *config,
                        struct kv_manifest *manifest, struct kvsql_error *err)
{
    struct kv_buf segments, snapshots;
    struct kvsql_error moved;

    kvsql_rc rc = kv_recover_list(config, repair_is_segment, &segments, err);
    if (rc == KVSQL_OK) {
        manifest->segment_count = manifest->snapshot_count = 0;
        manifest->durable = 0;
        manifest->has_clean = false;
        rc = repair_find_segments(config, manifest, &segments, err);
    }
    kv_buf_fini(&segments);
    if (rc != KVSQL_OK) {
        return rc;
    }
    rc = kv_recover_list(config, kv_recover_is_snapshot, &snapshots, err);
    for (size_t at = 0; rc == KVSQL_OK && at < snapshots.size;) {
        const char *name = (const char *)snapshots.p + at;

        rc = repair_snapshot(config, manifest, name, err);
        at += strlen(name) + 1;
    }
    kv_buf_fini(&snapshots);
    if (rc != KVSQL_OK) {
        return rc;
    }
    kv_diag(KV_WARN, "wal.rebuild", "segments=%u snapshots=%u hint=\"%s\"",
            manifest->segment_count, manifest->snapshot_count,
            "MANIFEST was made anew from the other files");
    if (kv_damaged_move(config, KV_MANIFEST_NAME, &moved) != KVSQL_OK) {
        return kv_fail(err, moved.rc, "%s", moved.text);
    }
    return KVSQL_OK;
}
