/* seg.c - one segment file of the wal: names, header, frames, reading.
 *
 * A reader walks the frames through one block of memory, a MiB at a time, and
 * hands out payloads in place; only a frame larger than the block makes it
 * grow, and only after its size was held against the bytes that are really in
 * the file (W6).
 *
 * Always true of a segment that the MANIFEST names:
 *   S1  its header is whole and durable (W7).
 *   S2  the position grows by exactly one from batch to batch (W3).
 *   S3  bytes behind the last good frame are zero, or torn and never synced,
 *       or behind `end`; they are cut or ignored, never skipped over.
 *
 * Nothing read here is trusted or asserted.
 *
 * Thread: see seg.h. */
#include "kvsql/seg.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/crc32c.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"

#define SEG_MAGIC "KVSQLWAL"
#define SEG_BLOCK (1u << 20)
/* Bytes of values made to look like frames that a search may look through.
 * Behind it we cannot tell, and say "damaged": nothing is thrown away. */
#define SEG_SEARCH_MAX (4ull << 30)

static_assert(KV_WAL_FRAME_MAX <= UINT32_MAX - KV_FRAME_HEADER_SIZE,
              "the size of a frame fits in its field");

/* ---- names and headers ------------------------------------------------------ */

void kv_seg_name(char out[KV_SEG_NAME_SIZE], uint64_t number)
{
    (void)snprintf(out, KV_SEG_NAME_SIZE, "wal-%016" PRIu64, number);
}

bool kv_seg_number(const char *name, uint64_t *number)
{
    char again[KV_SEG_NAME_SIZE];
    const char *p = name + 4;

    if (strncmp(name, "wal-", 4) != 0 || *p == '\0') {
        return false;
    }
    while (*p == '0' && p[1] != '\0') {
        p++;
    }
    if (!kv_num_uint(p, strlen(p), number)) {
        return false;
    }
    kv_seg_name(again, *number);
    return strcmp(again, name) == 0;
}

void kv_seg_header_put(uint8_t out[KV_SEG_HEADER_SIZE],
                       struct kv_seg_header *header)
{
    memset(out, 0, KV_SEG_HEADER_SIZE);
    memcpy(out, SEG_MAGIC, 8);
    out[8] = KV_SEG_MAJOR;
    out[10] = KV_SEG_MINOR;
    kv_u32_put(out + 12, KV_SEG_HEADER_SIZE);
    memcpy(out + 16, header->store_id, 16);
    kv_u64_put(out + 32, header->number);
    kv_u64_put(out + 40, header->first);
    kv_u64_put(out + 48, (uint64_t)header->created);
    header->crc = kv_crc32c(0, out, 60);
    kv_u32_put(out + 60, header->crc);
}

const char *kv_seg_header_get(const uint8_t *in, struct kv_seg_header *header,
                              bool *newer)
{
    *newer = false;
    header->crc = kv_crc32c(0, in, 60);
    if (memcmp(in, SEG_MAGIC, 8) != 0) {
        return "magic";
    }
    if (header->crc != kv_u32_get(in + 60)) {
        return "header crc";
    }
    if ((in[8] | in[9] << 8) > KV_SEG_MAJOR) {
        *newer = true;
        return "newer format";
    }
    if (kv_u32_get(in + 12) != KV_SEG_HEADER_SIZE || kv_u32_get(in + 56) != 0) {
        return "header";
    }
    memcpy(header->store_id, in + 16, 16);
    header->number = kv_u64_get(in + 32);
    header->first = kv_u64_get(in + 40);
    header->created = (int64_t)kv_u64_get(in + 48);
    return header->first == 0 ? "first position" : NULL;
}

kvsql_rc kv_seg_rc(int number)
{
    return number == ENOSPC || number == EDQUOT || number == EFBIG ? KVSQL_FULL
                                                                   : KVSQL_IO;
}

static int seg_create_file(const struct kv_os *os, int dir, const char *name,
                           const uint8_t *header, int *file, const char **step)
{
    const int flags = KV_OS_WRITE | KV_OS_CREATE | KV_OS_EXCLUSIVE;

    *step = "create";
    int rc = os->open(os->arg, dir, name, flags, file);
    if (rc < 0) {
        return rc;
    }
    *step = "write the header of";
    const int64_t written =
        os->write_at(os->arg, *file, header, KV_SEG_HEADER_SIZE, 0);
    rc = written < 0 ? (int)written : 0;
    if (rc == 0) {
        *step = "sync";
        rc = os->data_sync(os->arg, *file);
    }
    if (rc == 0) {
        *step = "sync the directory of";
        rc = os->dir_sync(os->arg, dir);
    }
    if (rc < 0) {
        os->close(os->arg, *file);
        /* It is named by no MANIFEST and has no frame: if it stays, the next
         * start removes it. */
        (void)os->remove(os->arg, dir, name);
    }
    return rc;
}

kvsql_rc kv_seg_create(const struct kv_os *os, int dir,
                       struct kv_seg_header *header, int *file,
                       struct kvsql_error *err)
{
    uint8_t bytes[KV_SEG_HEADER_SIZE];
    char name[KV_SEG_NAME_SIZE];
    const char *step;

    kv_seg_name(name, header->number);
    kv_seg_header_put(bytes, header);
    const int rc = seg_create_file(os, dir, name, bytes, file, &step);
    if (rc < 0) {
        *file = -1;
        return kv_fail(err, rc == -EEXIST ? KVSQL_EXISTS : kv_seg_rc(-rc),
                       "wal: cannot %s %s: %s", step, name, kv_os_error(-rc));
    }
    return KVSQL_OK;
}

/* ---- frames ----------------------------------------------------------------- */

void kv_frame_put(uint8_t *frame, enum kv_frame_type type, uint64_t position,
                  int64_t time, uint32_t size)
{
    kv_u32_put(frame + 4, size);
    kv_u64_put(frame + 8, position);
    kv_u64_put(frame + 24,
               type == KV_FRAME_MARK ? (uint64_t)time : KV_FRAME_TERM);
    kv_u32_put(frame + 32, (uint32_t)type);
}

void kv_frame_seal(uint8_t *frame, uint32_t seed, uint64_t synced)
{
    const size_t size = KV_FRAME_HEADER_SIZE - 4 + kv_u32_get(frame + 4);

    kv_u64_put(frame + 16, synced);
    kv_u32_put(frame, kv_crc32c(seed, frame + 4, size));
}

void kv_frame_get(const uint8_t *frame, struct kv_frame *out)
{
    out->crc = kv_u32_get(frame);
    out->size = kv_u32_get(frame + 4);
    out->position = kv_u64_get(frame + 8);
    out->synced = kv_u64_get(frame + 16);
    out->type = kv_u32_get(frame + 32);
    out->time = out->type == KV_FRAME_MARK ? (int64_t)kv_u64_get(frame + 24)
                                           : 0;
    out->payload = frame + KV_FRAME_HEADER_SIZE;
}

/* ---- reading ---------------------------------------------------------------- */

/* Make [offset, offset + size) of the file stand in the block; the caller has
 * checked that the file is that long. */
static kvsql_rc seg_fetch(struct kv_seg_reader *reader, uint64_t offset,
                          size_t size, const uint8_t **out,
                          struct kvsql_error *err)
{
    if (offset >= reader->block_at &&
        offset + size <= reader->block_at + reader->block_size) {
        *out = reader->block + (offset - reader->block_at);
        return KVSQL_OK;
    }
    if (size > reader->block_cap) {
        const size_t cap = size > reader->block_want ? size
                                                     : reader->block_want;
        uint8_t *block = kv_mem_alloc(KV_MEM_WAL, cap);

        if (block == NULL) {
            return reader->rc = kv_fail(err, KVSQL_NOMEM,
                           "wal: needs more memory: no %zu bytes to read a "
                           "frame", cap);
        }
        kv_mem_free(KV_MEM_WAL, reader->block, reader->block_cap);
        reader->block = block;
        reader->block_cap = cap;
    }
    const uint64_t left = reader->limit - offset;
    const size_t want = left < reader->block_cap ? (size_t)left
                                                 : reader->block_cap;
    reader->block_size = 0;
    const int64_t got = reader->os->read_at(reader->os->arg, reader->file,
                                            reader->block, want, offset);
    if (got < 0 || (size_t)got < size) {
        char name[KV_SEG_NAME_SIZE];

        kv_seg_name(name, reader->header.number);
        return reader->rc = kv_fail(err, KVSQL_IO,
                       "wal: cannot read %s at offset %" PRIu64 ": %s", name,
                       offset,
                       got < 0 ? kv_os_error((int)-got)
                               : "the file became shorter");
    }
    reader->block_at = offset;
    reader->block_size = (size_t)got;
    *out = reader->block;
    return KVSQL_OK;
}

static kvsql_rc seg_open_bad(uint64_t number, const char *why, uint64_t size,
                             struct kvsql_error *err)
{
    char name[KV_SEG_NAME_SIZE];

    kv_seg_name(name, number);
    return kv_fail(err, KVSQL_CORRUPT, "%s: bad %s in %" PRIu64 " bytes", name,
                   why, size);
}

static kvsql_rc seg_open_header(struct kv_seg_reader *reader, uint64_t number,
                                struct kvsql_error *err)
{
    uint8_t bytes[KV_SEG_HEADER_SIZE];
    bool newer;

    if (reader->limit < KV_SEG_HEADER_SIZE) {
        return seg_open_bad(number, "size", reader->limit, err);
    }
    reader->header.number = number;
    const int64_t got = reader->os->read_at(reader->os->arg, reader->file,
                                            bytes, sizeof(bytes), 0);
    if (got < 0) {
        return kv_fail(err, KVSQL_IO,
                       "wal: cannot read the header of segment %" PRIu64
                       ": %s", number, kv_os_error((int)-got));
    }
    if (got < KV_SEG_HEADER_SIZE) {
        return seg_open_bad(number, "size", (uint64_t)got, err);
    }
    const char *why = kv_seg_header_get(bytes, &reader->header, &newer);
    if (newer) {
        return kv_fail(err, KVSQL_NEWER,
                       "wal: segment %" PRIu64 " was written by a newer "
                       "version, kvsql " KVSQL_VERSION " cannot read it",
                       number);
    }
    if (why == NULL && reader->header.number != number) {
        why = "segment number";
    }
    if (why != NULL) {
        return seg_open_bad(number, why, reader->limit, err);
    }
    reader->offset = KV_SEG_HEADER_SIZE;
    reader->position = reader->header.first - 1;
    return KVSQL_OK;
}

kvsql_rc kv_seg_open(struct kv_seg_reader *reader, const struct kv_os *os,
                     int dir, uint64_t number, struct kvsql_error *err)
{
    char name[KV_SEG_NAME_SIZE];

    *reader = (struct kv_seg_reader){.os = os, .file = -1,
                                     .block_want = SEG_BLOCK};
    kv_seg_name(name, number);
    const int opened = os->open(os->arg, dir, name, KV_OS_READ, &reader->file);
    if (opened < 0) {
        reader->file = -1;
        return kv_fail(err, opened == -ENOENT ? KVSQL_NOTFOUND : KVSQL_IO,
                       "wal: cannot open %s: %s", name, kv_os_error(-opened));
    }
    const int64_t size = os->size(os->arg, reader->file);
    kvsql_rc rc = KVSQL_OK;
    if (size < 0) {
        rc = kv_fail(err, KVSQL_IO, "wal: cannot look at %s: %s", name,
                     kv_os_error((int)-size));
    } else {
        reader->limit = (uint64_t)size;
        rc = seg_open_header(reader, number, err);
    }
    if (rc != KVSQL_OK) {
        kv_seg_close(reader);
    }
    return rc;
}

void kv_seg_close(struct kv_seg_reader *reader)
{
    if (reader->file >= 0) {
        reader->os->close(reader->os->arg, reader->file);
    }
    kv_mem_free(KV_MEM_WAL, reader->block, reader->block_cap);
    reader->file = -1;
    reader->block = NULL;
    reader->block_cap = reader->block_size = 0;
}

static enum kv_scan seg_bad(struct kv_seg_reader *reader, const char *why,
                            uint64_t expected, uint64_t found)
{
    reader->why = why;
    reader->expected = expected;
    reader->found = found;
    return KV_SCAN_BAD;
}

/* Nothing but zeroes up to the limit: no frame, and none behind it. */
static kvsql_rc seg_zero_rest(struct kv_seg_reader *reader, bool *zero,
                              struct kvsql_error *err)
{
    uint64_t at = reader->offset;

    *zero = true;
    while (at < reader->limit && *zero) {
        const uint64_t left = reader->limit - at;
        const size_t size = left < SEG_BLOCK ? (size_t)left : SEG_BLOCK;
        const uint8_t *p;
        const kvsql_rc rc = seg_fetch(reader, at, size, &p, err);

        if (rc != KVSQL_OK) {
            return rc;
        }
        *zero = p[0] == 0 && memcmp(p, p + 1, size - 1) == 0;
        at += size;
    }
    return KVSQL_OK;
}

/* What a frame with a good CRC must still agree with. */
static enum kv_scan seg_check_fields(struct kv_seg_reader *reader,
                                     const struct kv_frame *frame)
{
    if (frame->type != KV_FRAME_BATCH && frame->type != KV_FRAME_MARK) {
        return seg_bad(reader, "type", KV_FRAME_BATCH, frame->type);
    }
    const uint64_t position =
        reader->position + (frame->type == KV_FRAME_BATCH ? 1 : 0);
    if (frame->position != position) {
        return seg_bad(reader, "position", position, frame->position);
    }
    if (frame->type == KV_FRAME_MARK && frame->size != 0) {
        return seg_bad(reader, "size", 0, frame->size);
    }
    return KV_SCAN_FRAME;
}

/* The frame at p, whole in memory, against its CRC. */
static enum kv_scan seg_crc(struct kv_seg_reader *reader, const uint8_t *p,
                            const struct kv_frame *frame)
{
    const uint32_t crc = kv_crc32c(reader->header.crc, p + 4,
                                   KV_FRAME_HEADER_SIZE + (size_t)frame->size -
                                       4);

    return crc == frame->crc ? KV_SCAN_FRAME
                             : seg_bad(reader, "crc", frame->crc, crc);
}

static enum kv_scan seg_frame_at(struct kv_seg_reader *reader, uint64_t offset,
                                 struct kv_frame *frame,
                                 struct kvsql_error *err)
{
    const uint64_t left = reader->limit - offset;
    const uint8_t *p;

    if (left < KV_FRAME_HEADER_SIZE) {
        return seg_bad(reader, "short", KV_FRAME_HEADER_SIZE, left);
    }
    if (seg_fetch(reader, offset, KV_FRAME_HEADER_SIZE, &p, err) != KVSQL_OK) {
        return KV_SCAN_ERROR;
    }
    kv_frame_get(p, frame);
    if (frame->size > KV_WAL_FRAME_MAX ||
        frame->size > left - KV_FRAME_HEADER_SIZE) { /* W6 */
        return seg_bad(reader, "size", left - KV_FRAME_HEADER_SIZE,
                       frame->size);
    }
    const size_t size = KV_FRAME_HEADER_SIZE + (size_t)frame->size;
    if (seg_fetch(reader, offset, size, &p, err) != KVSQL_OK) {
        return KV_SCAN_ERROR;
    }
    kv_frame_get(p, frame);
    return seg_crc(reader, p, frame);
}

/* The frame is good: the reader goes behind it. */
static void seg_pass(struct kv_seg_reader *reader, const struct kv_frame *frame)
{
    reader->offset += KV_FRAME_HEADER_SIZE + (uint64_t)frame->size;
    reader->position = frame->position;
}

enum kv_scan kv_seg_next(struct kv_seg_reader *reader, struct kv_frame *frame,
                         struct kvsql_error *err)
{
    if (reader->offset >= reader->limit) {
        return KV_SCAN_END;
    }
    enum kv_scan result = seg_frame_at(reader, reader->offset, frame, err);
    if (result == KV_SCAN_FRAME) {
        result = seg_check_fields(reader, frame);
    }
    if (result == KV_SCAN_FRAME) {
        seg_pass(reader, frame);
        return KV_SCAN_FRAME;
    }
    if (result == KV_SCAN_BAD) {
        const char *why = reader->why;
        const uint64_t expected = reader->expected, found = reader->found;
        bool zero;

        if (seg_zero_rest(reader, &zero, err) != KVSQL_OK) {
            return KV_SCAN_ERROR;
        }
        return zero ? KV_SCAN_END : seg_bad(reader, why, expected, found);
    }
    return result;
}

bool kv_seg_more(struct kv_seg_reader *reader, struct kv_frame *frame)
{
    const uint64_t end = reader->block_at + reader->block_size;
    const uint64_t at = reader->offset;

    if (at < reader->block_at || end > reader->limit ||
        end < KV_FRAME_HEADER_SIZE || at > end - KV_FRAME_HEADER_SIZE) {
        return false;
    }
    const uint8_t *const p = reader->block + (at - reader->block_at);
    kv_frame_get(p, frame);
    if (frame->size > KV_WAL_FRAME_MAX ||
        frame->size > end - at - KV_FRAME_HEADER_SIZE ||
        seg_crc(reader, p, frame) != KV_SCAN_FRAME ||
        seg_check_fields(reader, frame) != KV_SCAN_FRAME) {
        return false;
    }
    seg_pass(reader, frame);
    return true;
}

/* Could a frame start with these bytes? Cheap, for it is asked of each byte;
 * the CRC decides. */
static bool seg_plausible(const struct kv_seg_reader *reader, const uint8_t *p,
                          uint64_t left)
{
    const uint32_t type = kv_u32_get(p + 32);
    struct kv_frame frame;

    if (type != KV_FRAME_BATCH && type != KV_FRAME_MARK) {
        return false;
    }
    kv_frame_get(p, &frame);
    return frame.size <= left - KV_FRAME_HEADER_SIZE &&
           frame.position >= reader->position &&
           frame.position - reader->position <=
               reader->limit / KV_FRAME_HEADER_SIZE &&
           frame.synced <= frame.position;
}

kvsql_rc kv_seg_search(struct kv_seg_reader *reader, uint64_t *synced,
                       uint64_t *frames, uint64_t *last,
                       struct kvsql_error *err)
{
    uint64_t at = reader->offset + 1, tried = 0;

    *synced = *frames = 0;
    *last = reader->position;
    while (at + KV_FRAME_HEADER_SIZE <= reader->limit) {
        struct kv_frame frame = {.size = 0};
        const uint8_t *p;
        const kvsql_rc rc =
            seg_fetch(reader, at, KV_FRAME_HEADER_SIZE, &p, err);

        if (rc != KVSQL_OK) {
            return rc;
        }
        if (!seg_plausible(reader, p, reader->limit - at)) {
            at++;
            continue;
        }
        if (tried > SEG_SEARCH_MAX) {
            *synced = UINT64_MAX;
            return KVSQL_OK;
        }
        const enum kv_scan result = seg_frame_at(reader, at, &frame, err);
        if (result == KV_SCAN_ERROR) {
            return reader->rc;
        }
        if (result != KV_SCAN_FRAME) {
            tried += frame.size;
            at++;
            continue;
        }
        KV_PROBE("seg: a good frame behind a bad one");
        *synced = frame.synced > *synced ? frame.synced : *synced;
        *last = frame.position > *last ? frame.position : *last;
        *frames += 1;
        at += KV_FRAME_HEADER_SIZE + (uint64_t)frame.size;
    }
    return KVSQL_OK;
}
