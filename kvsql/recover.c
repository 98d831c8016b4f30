/* recover.c - reading the wal back: judging frames, replaying, cutting a torn
 * tail, tidying up.
 *
 * One pass does all the reading: each frame is checked and at once replayed
 * into the store, which is only memory and is thrown away when something worse
 * turns up behind it. Nothing on disk is touched before the last byte was
 * judged (R1).
 *
 * Torn or damaged (W4)? File systems write unsynced pages in any order, so a
 * bad frame in the active segment may honestly be followed by good ones. It is
 * damage when anybody who knew says that its position had been synced: a later
 * good frame, or the MANIFEST. Else it is the tail that never became durable,
 * and nobody was told that it had.
 *
 * Thread: the opener's; nobody else has the directory. */
#include "kvsql/admin.h"
#include "kvsql/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/diag.h"
#include "kvsql/replay.h"

#define RECOVER_EVENT "wal.damaged"
#define RECOVER_NAMES_MAX (64u << 20)
#define RECOVER_PROGRESS (16u << 20) /* bytes between two calls of progress */
#define RECOVER_COPY (1u << 20)
#define RECOVER_FRAMES 256 /* that go into the store together */

struct recover {
    const struct kv_wal_config *config;
    struct kv_manifest *manifest;
    struct kv_store *store; /* NULL: judge only */
    struct kv_wal_report *report;
    kv_progress_fn progress;
    void *progress_arg;
    uint64_t bytes_total, bytes_told;
    uint64_t position; /* last good and replayed, or held to be */
    uint64_t tail, torn_end; /* of the active segment: cut [tail, torn_end) */
    bool cut;
    struct kv_damage damage;
    unsigned held; /* of `frame`: good ones on their way into the store */
    struct kv_frame frame[RECOVER_FRAMES];
};

/* ---- saying what is wrong (R2) ------------------------------------------------ */

/* Note the damage, in one line. `detail` is "expected...=... found...=...". */
static kvsql_rc recover_damaged(struct recover *r, unsigned index,
                                uint64_t offset, const char *detail,
                                uint64_t readable_to, uint64_t later,
                                struct kvsql_error *err)
{
    struct kv_damage *damage = &r->damage;
    char name[KV_SEG_NAME_SIZE];

    kv_seg_name(name, r->manifest->segments[index].number);
    damage->found = true;
    damage->index = index;
    damage->offset = offset;
    damage->readable_to = readable_to;
    for (unsigned i = index; i < r->manifest->segment_count; i++) {
        const uint64_t last = r->manifest->segments[i].last;
        damage->last = last > damage->last ? last : damage->last;
    }
    (void)kv_fail(err, KVSQL_CORRUPT,
                  RECOVER_EVENT " file=%s offset=%" PRIu64 " position=%" PRIu64
                  " %s readable_to=%" PRIu64 " later_frames=%" PRIu64
                  " hint=\"restore a copy, or start with --repair to keep "
                  "positions up to %" PRIu64 "\"",
                  name, offset, readable_to + 1, detail, readable_to, later,
                  readable_to);
    if (err != NULL) {
        memcpy(damage->text, err->text, sizeof(damage->text));
    }
    return KVSQL_CORRUPT;
}

static void recover_detail(char out[128], const struct kv_seg_reader *reader)
{
    if (strcmp(reader->why, "crc") == 0) {
        (void)snprintf(out, 128,
                       "expected_crc=%08" PRIx64 " found_crc=%08" PRIx64,
                       reader->expected, reader->found);
    } else {
        (void)snprintf(out, 128,
                       "why=%s expected=%" PRIu64 " found=%" PRIu64,
                       reader->why, reader->expected, reader->found);
    }
}

/* ---- headers (W1) --------------------------------------------------------------- */

/* NULL, or what the header of an open segment has that the MANIFEST has not. */
static const char *recover_foreign(const struct kv_manifest *manifest,
                                   const struct kv_manifest_segment *segment,
                                   const struct kv_seg_reader *reader)
{
    if (memcmp(reader->header.store_id, manifest->store_id, 16) != 0) {
        return "why=\"of another store\"";
    }
    if (reader->header.first != segment->first) {
        return "why=\"first position differs from MANIFEST\"";
    }
    if (segment->sealed && reader->limit < segment->end) {
        return "why=\"shorter than MANIFEST says\"";
    }
    return NULL;
}

/* Open a named segment. KVSQL_CORRUPT with the damage noted. */
static kvsql_rc recover_open(struct recover *r, unsigned index,
                             struct kv_seg_reader *reader,
                             struct kvsql_error *err)
{
    const struct kv_manifest_segment *segment = &r->manifest->segments[index];
    const uint64_t before = segment->first - 1;
    struct kvsql_error cause = {.rc = KVSQL_OK};
    const char *why;

    const kvsql_rc rc = kv_seg_open(reader, r->config->os, r->config->dir,
                                    segment->number, &cause);
    if (rc == KVSQL_NOTFOUND) {
        return recover_damaged(r, index, 0, "why=\"the file is gone\"", before,
                               0, err);
    }
    if (rc == KVSQL_CORRUPT) {
        char detail[128];
        const char *text = strchr(cause.text, ':');

        (void)snprintf(detail, sizeof(detail), "why=\"%.100s\"",
                       text ? text + 2 : cause.text);
        return recover_damaged(r, index, 0, detail, before, 0, err);
    }
    if (rc != KVSQL_OK) {
        return kv_fail(err, rc, "%s", cause.text);
    }
    why = recover_foreign(r->manifest, segment, reader);
    if (why != NULL) {
        const uint64_t offset =
            segment->sealed && reader->limit < segment->end ? reader->limit : 0;

        kv_seg_close(reader);
        return recover_damaged(r, index, offset, why, before, 0, err);
    }
    if (segment->sealed) {
        reader->limit = segment->end;
    }
    return KVSQL_OK;
}

static kvsql_rc recover_headers(struct recover *r, struct kvsql_error *err)
{
    for (unsigned i = 0; i < r->manifest->segment_count; i++) {
        struct kv_seg_reader reader;
        const kvsql_rc rc = recover_open(r, i, &reader, err);

        if (rc != KVSQL_OK) {
            return rc;
        }
        kv_seg_close(&reader);
    }
    return KVSQL_OK;
}

static void recover_say(const struct kv_damage *damage)
{
    kv_diag(KV_ERROR_LEVEL, RECOVER_EVENT, "%s",
            damage->text + sizeof(RECOVER_EVENT));
}

kvsql_rc kv_wal_headers(const struct kv_wal_config *config,
                        struct kv_manifest *manifest, struct kvsql_error *err)
{
    struct recover r = {.config = config, .manifest = manifest};
    struct kvsql_error own = {.rc = KVSQL_OK};
    const kvsql_rc rc = recover_headers(&r, err ? err : &own);

    if (r.damage.found) {
        recover_say(&r.damage);
    }
    return rc;
}

/* ---- frames ------------------------------------------------------------------------ */

static void recover_progress(struct recover *r, bool last)
{
    if (r->progress != NULL &&
        (last || r->report->bytes - r->bytes_told >= RECOVER_PROGRESS)) {
        const struct kv_progress progress = {.what = "replay",
                                             .done = r->report->bytes,
                                             .total = r->bytes_total,
                                             .bytes = r->report->bytes};

        r->bytes_told = r->report->bytes;
        r->progress(r->progress_arg, &progress);
    }
}

/* Decode every op of a payload (W6). */
static kvsql_rc recover_decode(const struct kv_frame *frame, uint64_t *ops,
                               struct kvsql_error *err)
{
    const uint8_t *p = frame->payload, *end = p + frame->size;
    struct kv_op op;

    while (p < end) {
        const kvsql_rc rc = kv_op_decode(&p, end, &op, err);

        if (rc != KVSQL_OK) {
            return rc;
        }
        *ops += 1;
    }
    return KVSQL_OK;
}

/* Ops that are none, or that the state before them does not take, or no memory
 * for them: `frame` is not in the store. */
static kvsql_rc recover_refused(struct recover *r, unsigned index,
                                const struct kv_seg_reader *reader,
                                const struct kv_frame *frame, kvsql_rc rc,
                                const char *cause, struct kvsql_error *err)
{
    const uint64_t offset =
        reader->block_at + (uint64_t)(frame->payload - reader->block) -
        KV_FRAME_HEADER_SIZE;
    char detail[128];

    r->position = frame->position - 1;
    if (rc == KVSQL_NEWER || rc == KVSQL_NOMEM) {
        return kv_fail(err, rc,
                       "wal: cannot replay position %" PRIu64
                       " at offset %" PRIu64 " of segment %" PRIu64 ": %s",
                       frame->position, offset, reader->header.number, cause);
    }
    (void)snprintf(detail, sizeof(detail), "why=\"%.100s\"", cause);
    return recover_damaged(r, index, offset, detail, r->position, 0, err);
}

/* Let the store have the frames that are held. */
static kvsql_rc recover_apply(struct recover *r, unsigned index,
                              const struct kv_seg_reader *reader,
                              struct kvsql_error *err)
{
    struct kvsql_error cause = {.rc = KVSQL_OK};
    kvsql_rc rc = KVSQL_OK;
    unsigned done = 0;

    if (r->store != NULL) {
        rc = kv_store_replay(r->store, r->frame, r->held, &done, &cause);
    } else {
        while (done < r->held && rc == KVSQL_OK) {
            rc = recover_decode(&r->frame[done], &r->report->ops, &cause);
            done += rc == KVSQL_OK;
        }
    }
    r->held = 0;
    return rc == KVSQL_OK ? KVSQL_OK
                          : recover_refused(r, index, reader, &r->frame[done],
                                            rc, cause.text, err);
}

/* A good frame: count it, and hold it if it is new to the store. */
static void recover_frame(struct recover *r, const struct kv_frame *frame)
{
    r->report->frames++;
    r->report->bytes += KV_FRAME_HEADER_SIZE + (uint64_t)frame->size;
    recover_progress(r, false);
    if (frame->type == KV_FRAME_BATCH && frame->position > r->position) {
        r->frame[r->held++] = *frame;
        r->position = frame->position;
    }
}

/* What follows the last good frame was never synced: it is to be cut off. */
static void recover_torn(struct recover *r, const struct kv_seg_reader *reader,
                         const char *detail, uint64_t frames)
{
    r->cut = true;
    r->tail = r->torn_end = reader->offset;
    r->report->torn_bytes = reader->limit - reader->offset;
    kv_diag(KV_WARN, "wal.torn",
            "file=wal-%016" PRIu64 " offset=%" PRIu64 " position=%" PRIu64
            " %s readable_to=%" PRIu64 " later_frames=%" PRIu64
            " bytes=%" PRIu64 " hint=\"%s\"",
            reader->header.number, reader->offset, reader->position + 1, detail,
            reader->position, frames, r->report->torn_bytes,
            "never synced, so never promised: it is cut off");
}

/* A bad frame in the active segment: torn, or damaged? (W4) */
static kvsql_rc recover_bad(struct recover *r, unsigned index,
                            struct kv_seg_reader *reader,
                            struct kvsql_error *err)
{
    const struct kv_manifest *manifest = r->manifest;
    const bool sealed = manifest->segments[index].sealed;
    uint64_t synced, frames, last;
    char detail[128];

    recover_detail(detail, reader);
    const kvsql_rc rc = kv_seg_search(reader, &synced, &frames, &last, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    if (manifest->durable > synced) {
        synced = manifest->durable;
    }
    if (manifest->has_clean && manifest->clean > synced) {
        synced = manifest->clean;
    }
    if (sealed || synced > reader->position) {
        r->damage.last =
            last > synced || synced == UINT64_MAX ? last : synced;
        r->damage.bytes = reader->limit - reader->offset;
        return recover_damaged(r, index, reader->offset, detail,
                               reader->position, frames, err);
    }
    KV_PROBE("recover: torn tail");
    recover_torn(r, reader, detail, frames);
    r->torn_end = reader->limit;
    return KVSQL_OK;
}

/* Where the frames end, is that where they must? */
static kvsql_rc recover_end(struct recover *r, unsigned index,
                            const struct kv_seg_reader *reader,
                            struct kvsql_error *err)
{
    const struct kv_manifest_segment *segment = &r->manifest->segments[index];
    char detail[128];

    if (segment->sealed) {
        if (reader->offset == segment->end &&
            reader->position == segment->last) {
            return KVSQL_OK;
        }
        (void)snprintf(detail, sizeof(detail),
                       "why=\"ends early\" expected=%" PRIu64
                       " found=%" PRIu64,
                       segment->last, reader->position);
        return recover_damaged(r, index, reader->offset, detail,
                               reader->position, 0, err);
    }
    r->tail = r->torn_end = reader->offset;
    if (reader->offset < reader->limit) {
        /* Room that is taken ahead lies behind the end of a file: these were
         * frames whose bytes have not reached the disk. None is worth keeping. */
        recover_torn(r, reader, "why=zeroes", 0);
    }
    return KVSQL_OK;
}

/* All that is asked for was read. */
static bool recover_enough(const struct recover *r)
{
    return r->config->to != 0 && r->position >= r->config->to;
}

static kvsql_rc recover_reached(const struct recover *r,
                                struct kvsql_error *err)
{
    return recover_enough(r)
               ? KVSQL_OK
               : kv_fail(err, KVSQL_INVALID,
                         "the wal in %s ends at position %" PRIu64
                         ": there is no position %" PRIu64,
                         r->config->path, r->position, r->config->to);
}

static kvsql_rc recover_segment(struct recover *r, unsigned index,
                                struct kvsql_error *err)
{
    struct kv_seg_reader reader;
    struct kv_frame frame;
    enum kv_scan scan;

    kvsql_rc rc = recover_open(r, index, &reader, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    if (!r->manifest->segments[index].sealed) {
        r->bytes_total += reader.limit;
    }
    r->tail = reader.limit;
    do {
        scan = kv_seg_next(&reader, &frame, err);
        if (scan == KV_SCAN_FRAME) {
            do {
                recover_frame(r, &frame);
            } while (r->held < RECOVER_FRAMES && !recover_enough(r) &&
                     kv_seg_more(&reader, &frame));
            rc = recover_apply(r, index, &reader, err);
        }
    } while (scan == KV_SCAN_FRAME && rc == KVSQL_OK && !recover_enough(r));
    if (scan == KV_SCAN_ERROR) {
        rc = reader.rc;
    } else if (scan == KV_SCAN_BAD) {
        rc = recover_bad(r, index, &reader, err);
    } else if (scan == KV_SCAN_END) {
        rc = recover_end(r, index, &reader, err);
    }
    kv_seg_close(&reader);
    return rc;
}

/* The first segment that is needed behind `position`; all when judging. */
static unsigned recover_first(const struct recover *r)
{
    const struct kv_manifest *manifest = r->manifest;
    unsigned i = 0;

    while (r->store != NULL && i < manifest->segment_count &&
           manifest->segments[i].sealed &&
           manifest->segments[i].last <= r->position) {
        i++;
    }
    return i;
}

/* The end of the wal against what the MANIFEST knows to be durable. */
static kvsql_rc recover_last(struct recover *r, struct kvsql_error *err)
{
    const struct kv_manifest *manifest = r->manifest;
    uint64_t known = manifest->durable;
    char detail[128];

    if (manifest->has_clean && manifest->clean > known) {
        known = manifest->clean;
    }
    if (r->position >= known) {
        return KVSQL_OK;
    }
    if (manifest->segment_count == 0) {
        return kv_fail(err, KVSQL_CORRUPT,
                       RECOVER_EVENT " file=" KV_MANIFEST_NAME
                       " offset=0 why=\"names no segment\" expected=%" PRIu64
                       " found=%" PRIu64 " hint=\"restore a copy\"",
                       known, r->position);
    }
    (void)snprintf(detail, sizeof(detail),
                   "why=\"the wal ends early\" expected=%" PRIu64
                   " found=%" PRIu64,
                   known, r->position);
    r->damage.last = known;
    return recover_damaged(r, manifest->segment_count - 1, r->tail, detail,
                           r->position, 0, err);
}

static kvsql_rc recover_read(struct recover *r, struct kvsql_error *err)
{
    struct kv_manifest *manifest = r->manifest;
    const unsigned first = recover_first(r);
    kvsql_rc rc = KVSQL_OK;

    if (r->store == NULL && manifest->segment_count > 0) {
        r->position = manifest->segments[0].first - 1;
    } else if (r->store == NULL && manifest->snapshot_count > 0) {
        r->position = manifest->snapshots[0].position;
    }
    if (first < manifest->segment_count &&
        manifest->segments[first].first > r->position + 1) {
        return recover_damaged(r, first, 0,
                               "why=\"a hole between snapshot and wal\"",
                               r->position, 0, err);
    }
    for (unsigned i = first; i < manifest->segment_count; i++) {
        const struct kv_manifest_segment *segment = &manifest->segments[i];

        r->bytes_total += segment->end;
    }
    for (unsigned i = first; rc == KVSQL_OK && !recover_enough(r) &&
                             i < manifest->segment_count; i++) {
        rc = recover_segment(r, i, err);
    }
    recover_progress(r, true);
    if (rc == KVSQL_OK && r->config->to != 0) {
        return recover_reached(r, err);
    }
    return rc == KVSQL_OK ? recover_last(r, err) : rc;
}

/* ---- cutting and tidying -------------------------------------------------------------- */

static kvsql_rc recover_keep_tail(struct recover *r, int file, const char *name,
                                  struct kvsql_error *err)
{
    const struct kv_os *os = r->config->os;
    char kept[KV_SEG_NAME_SIZE + 32];
    uint8_t *block = NULL;
    int dir = -1, copy = -1, done = 0;

    kvsql_rc rc = kv_damaged_open(r->config, &dir, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    (void)snprintf(kept, sizeof(kept), "%s.tail-%" PRIu64, name, r->tail);
    block = kv_mem_alloc(KV_MEM_WAL, RECOVER_COPY);
    done = block == NULL ? -ENOMEM
                         : os->open(os->arg, dir, kept,
                                    KV_OS_WRITE | KV_OS_CREATE, &copy);
    for (uint64_t at = r->tail; done >= 0 && at < r->torn_end;) {
        const uint64_t left = r->torn_end - at;
        const size_t size = left < RECOVER_COPY ? (size_t)left : RECOVER_COPY;
        int64_t moved = os->read_at(os->arg, file, block, size, at);

        if (moved == (int64_t)size) {
            moved = os->write_at(os->arg, copy, block, size, at - r->tail);
        }
        done = moved < 0 ? (int)moved : 0;
        at += size;
    }
    if (copy >= 0) {
        done = done < 0 ? done : os->sync(os->arg, copy);
        os->close(os->arg, copy);
    }
    done = done < 0 ? done : os->dir_sync(os->arg, dir);
    os->dir_close(os->arg, dir);
    kv_mem_free(KV_MEM_WAL, block, RECOVER_COPY);
    if (done < 0) {
        return kv_fail(err, kv_seg_rc(-done), "wal: cannot keep %s: %s", kept,
                       kv_os_error(-done));
    }
    return KVSQL_OK;
}

static kvsql_rc recover_cut(struct recover *r, struct kvsql_error *err)
{
    const struct kv_os *os = r->config->os;
    char name[KV_SEG_NAME_SIZE];
    struct kvsql_error kept;
    int file;

    kv_seg_name(name,
                r->manifest->segments[r->manifest->segment_count - 1].number);
    int rc = os->open(os->arg, r->config->dir, name, KV_OS_WRITE, &file);
    if (rc < 0) {
        return kv_fail(err, KVSQL_IO, "wal: cannot open %s to cut it: %s", name,
                       kv_os_error(-rc));
    }
    if (r->torn_end > r->tail &&
        recover_keep_tail(r, file, name, &kept) != KVSQL_OK) {
        /* A full disk must not keep the store from starting: what goes was
         * never promised to anybody. */
        kv_diag(KV_WARN, "wal.torn.kept", "why=\"%s\"", kept.text);
    }
    rc = os->truncate(os->arg, file, r->tail);
    if (rc == 0) {
        rc = os->sync(os->arg, file);
    }
    os->close(os->arg, file);
    if (rc < 0) {
        return kv_fail(err, kv_seg_rc(-rc),
                       "wal: cannot cut %s to %" PRIu64 " bytes: %s", name,
                       r->tail, kv_os_error(-rc));
    }
    return KVSQL_OK;
}

struct recover_names {
    struct kv_buf *out;
    bool (*wanted)(const char *name);
};

static void recover_name(void *arg, const char *name)
{
    struct recover_names *names = arg;

    if (names->wanted(name)) {
        kv_buf_add(names->out, name, strlen(name) + 1);
    }
}

kvsql_rc kv_recover_list(const struct kv_wal_config *config,
                         bool (*wanted)(const char *name), struct kv_buf *out,
                         struct kvsql_error *err)
{
    struct recover_names names = {.out = out, .wanted = wanted};

    kv_buf_init(out, KV_MEM_MISC, RECOVER_NAMES_MAX);
    const int rc = config->os->dir_list(config->os->arg, config->dir,
                                        recover_name, &names);
    if (rc < 0) {
        return kv_fail(err, KVSQL_IO, "wal: cannot list %s: %s", config->path,
                       kv_os_error(-rc));
    }
    return kv_buf_result(out, "wal: the names of files", err);
}

bool kv_recover_is_snapshot(const char *name)
{
    const size_t size = strlen(name);

    return size > 8 && strncmp(name, "snap-", 5) == 0 &&
           strcmp(name + size - 3, ".db") == 0;
}

static bool recover_is_ours(const char *name)
{
    const size_t size = strlen(name);
    uint64_t number;

    return kv_seg_number(name, &number) || kv_recover_is_snapshot(name) ||
           (size > 4 && strcmp(name + size - 4, ".tmp") == 0);
}

static bool recover_named(const struct kv_manifest *manifest, const char *name)
{
    uint64_t number;

    if (kv_seg_number(name, &number)) {
        for (unsigned i = 0; i < manifest->segment_count; i++) {
            if (manifest->segments[i].number == number) {
                return true;
            }
        }
        return false;
    }
    for (unsigned i = 0; i < manifest->snapshot_count; i++) {
        if (strcmp(manifest->snapshots[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Is there anything behind the header of this segment? */
static bool recover_has_frames(const struct recover *r, const char *name)
{
    const struct kv_os *os = r->config->os;
    int file;

    if (os->open(os->arg, r->config->dir, name, KV_OS_READ, &file) < 0) {
        return true; /* not known to be empty */
    }
    const int64_t size = os->size(os->arg, file);
    os->close(os->arg, file);
    return size < 0 || size > KV_SEG_HEADER_SIZE;
}

/* A file of ours that nobody names: a leftover of a step that did not happen
 * is removed, everything that may hold somebody's data is moved away. */
static kvsql_rc recover_tidy_one(struct recover *r, const char *name,
                                 struct kvsql_error *err)
{
    const struct kv_os *os = r->config->os;
    const size_t size = strlen(name);
    const bool tmp = size > 4 && strcmp(name + size - 4, ".tmp") == 0;
    uint64_t number;

    if (tmp || (kv_seg_number(name, &number) && !recover_has_frames(r, name))) {
        const int rc = os->remove(os->arg, r->config->dir, name);

        if (rc < 0 && rc != -ENOENT) {
            return kv_fail(err, KVSQL_IO, "wal: cannot remove %s: %s", name,
                           kv_os_error(-rc));
        }
        kv_diag(KV_INFO, "wal.leftover", "file=%s action=removed", name);
        return KVSQL_OK;
    }
    kv_diag(KV_WARN, "wal.leftover", "file=%s action=\"moved to %s\"", name,
            KV_DAMAGED_DIR);
    return kv_damaged_move(r->config, name, err);
}

static kvsql_rc recover_tidy(struct recover *r, struct kvsql_error *err)
{
    struct kv_buf names;
    kvsql_rc rc = kv_recover_list(r->config, recover_is_ours, &names, err);

    for (size_t at = 0; rc == KVSQL_OK && at < names.size;) {
        const char *name = (const char *)names.p + at;

        if (!recover_named(r->manifest, name)) {
            rc = recover_tidy_one(r, name, err);
        }
        at += strlen(name) + 1;
    }
    kv_buf_fini(&names);
    return rc;
}

/* Repair what a start does not read, but looks at: headers of segments that a
 * snapshot has made superfluous. One at a time, the newest last. */
static kvsql_rc recover_old(struct recover *r, struct kvsql_error *err)
{
    kvsql_rc rc;

    for (;;) {
        r->damage = (struct kv_damage){.found = false};
        rc = recover_headers(r, err);
        if (!r->damage.found) {
            return rc;
        }
        r->damage.old = true;
        recover_say(&r->damage);
        rc = kv_wal_repair(r->config, r->manifest, &r->damage, r->position,
                           err);
        if (rc != KVSQL_OK) {
            return rc;
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------ */

kvsql_rc kv_wal_recover(const struct kv_wal_config *config,
                        struct kv_manifest *manifest, struct kv_store *store,
                        bool write, bool repair, kv_progress_fn progress,
                        void *progress_arg, struct kv_wal_report *report,
                        struct kvsql_error *err)
{
    struct kvsql_error own = {.rc = KVSQL_OK};
    struct recover r = {.config = config, .manifest = manifest, .store = store,
                        .report = report, .progress = progress,
                        .progress_arg = progress_arg,
                        .position = store ? kv_store_position(store) : 0};

    *report = (struct kv_wal_report){.frames = 0};
    err = err ? err : &own;
    kvsql_rc rc = recover_read(&r, err);
    report->position = r.position;
    if (r.damage.found) {
        recover_say(&r.damage);
    }
    if (store != NULL && (rc == KVSQL_OK || (r.damage.found && repair))) {
        const kvsql_rc ended = kv_store_replay_end(store, err);
        if (ended != KVSQL_OK) {
            return ended;
        }
    }
    if (r.damage.found && repair && write) {
        report->lost_from = r.position + 1;
        report->lost_to = r.damage.last > r.position ? r.damage.last
                                                     : r.position + 1;
        report->torn_bytes = r.damage.bytes;
        r.cut = false;
        rc = kv_wal_repair(config, manifest, &r.damage, r.position, err);
    }
    if (rc == KVSQL_OK && write && r.cut) {
        rc = recover_cut(&r, err);
    }
    if (rc == KVSQL_OK && repair && write) {
        rc = recover_old(&r, err);
    }
    if (rc == KVSQL_OK && write) {
        rc = recover_tidy(&r, err);
    }
    return rc;
}
