/* manifest.c - reading, writing and replacing MANIFEST.
 *
 * The text is small, strict and complete: one line a thing, single blanks,
 * lower-case hexadecimal, in the order of the drawing in docs/FORMATS.md, and
 * a last line with the CRC32C of everything before it. Whatever is not exactly
 * that is refused with its line and offset: a file that decides which others
 * must exist is not a place for guesses.
 *
 * Replacing: MANIFEST.tmp, fsync, rename, fsync of the directory. Up to the
 * rename a failure means that nothing has happened, and so does a rename that
 * fails, but for EIO. From there until the directory is synced nobody knows
 * which of the two texts a power cut would leave, and `unsure` says so; M1 keeps
 * both of them true.
 *
 * Thread: see manifest.h. */
#include "kvsql/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kvsql/base/crc32c.h"
#include "kvsql/base/num.h"

#define MANIFEST_TMP KV_MANIFEST_NAME ".tmp"
#define MANIFEST_SIZE_MAX (16u << 20)
#define MANIFEST_MAJOR 1
#define MANIFEST_CRC_LINE 16 /* "crc32c 01234567\n" */
#define MANIFEST_SEGMENT_HEADER 64 /* no `end` lies before the first frame */

void kv_manifest_init(struct kv_manifest *manifest, const struct kv_os *os,
                      int dir)
{
    *manifest = (struct kv_manifest){.os = os, .dir = dir};
    kv_lock_init(&manifest->lock, KV_RANK_MANIFEST);
}

void kv_manifest_fini(struct kv_manifest *manifest)
{
    kv_mem_free(KV_MEM_MISC, manifest->segments,
                manifest->segment_cap * sizeof(*manifest->segments));
    manifest->segments = NULL;
    manifest->segment_count = manifest->segment_cap = 0;
    kv_lock_fini(&manifest->lock);
}

/* ---- parsing --------------------------------------------------------------- */

/* What is read so far. `line` shrinks from the left, word by word. */
struct manifest_parser {
    const char *text, *next, *end; /* next: behind the current line */
    const char *line;
    size_t line_size;
    unsigned line_number;
    struct kv_manifest *out;
    struct kvsql_error *err;
};

static kvsql_rc manifest_bad(const struct manifest_parser *parser,
                             const char *why)
{
    return kv_fail(parser->err, KVSQL_CORRUPT,
                   "wal.damaged file=" KV_MANIFEST_NAME
                   " offset=%zu line=%u why=\"%s\" hint=\"restore a copy, or "
                   "start with --repair to rebuild it from the other files\"",
                   (size_t)(parser->line - parser->text), parser->line_number,
                   why);
}

static bool manifest_line(struct manifest_parser *parser)
{
    const char *p = parser->next;
    const char *newline =
        p < parser->end ? memchr(p, '\n', (size_t)(parser->end - p)) : NULL;

    parser->line = p;
    parser->line_size = newline ? (size_t)(newline - p) : 0;
    if (newline == NULL) {
        return false;
    }
    parser->next = newline + 1;
    parser->line_number++;
    return true;
}

/* True when the line goes on with `word`, which is then taken off it. */
static bool manifest_take(struct manifest_parser *parser, const char *word)
{
    const size_t size = strlen(word);

    if (parser->line_size < size || memcmp(parser->line, word, size) != 0) {
        return false;
    }
    parser->line += size;
    parser->line_size -= size;
    return true;
}

/* Take everything up to the next blank, which stays. */
static kvsql_slice manifest_word(struct manifest_parser *parser)
{
    const char *p = parser->line;
    const char *blank = memchr(p, ' ', parser->line_size);
    const size_t size = blank ? (size_t)(blank - p) : parser->line_size;

    parser->line += size;
    parser->line_size -= size;
    return (kvsql_slice){.p = p, .size = size};
}

static bool manifest_number(struct manifest_parser *parser, const char *name,
                            uint64_t *value)
{
    if (!manifest_take(parser, name)) {
        return false;
    }
    const kvsql_slice word = manifest_word(parser);
    return kv_num_uint(word.p, word.size, value);
}

static bool manifest_hex(kvsql_slice word, uint8_t *out, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const char *p = word.p;

    if (word.size != 2 * size) {
        return false;
    }
    for (size_t i = 0; i < word.size; i++) {
        const char *digit = p[i] ? strchr(digits, p[i]) : NULL;
        if (digit == NULL) {
            return false;
        }
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | (digit - digits));
    }
    return true;
}

static bool manifest_hex32(kvsql_slice word, uint32_t *out)
{
    uint8_t bytes[4];

    if (!manifest_hex(word, bytes, 4)) {
        return false;
    }
    *out = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
           (uint32_t)bytes[2] << 8 | bytes[3];
    return true;
}

/* "snap-<16 digits>.db", nothing else: the name is used to open files. */
static bool manifest_snapshot_name(kvsql_slice word, char out[40])
{
    const char *p = word.p;
    const size_t digits = word.size - 8;

    if (word.size < 8 + 16 || word.size > 8 + 20 ||
        memcmp(p, "snap-", 5) != 0 ||
        memcmp(p + word.size - 3, ".db", 3) != 0) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        if (p[5 + i] < '0' || p[5 + i] > '9') {
            return false;
        }
    }
    memcpy(out, p, word.size);
    out[word.size] = '\0';
    return true;
}

static kvsql_rc manifest_snapshot(struct manifest_parser *parser)
{
    struct kv_manifest *out = parser->out;
    struct kv_manifest_snapshot snapshot = {.name = ""};

    if (out->snapshot_count == KV_MANIFEST_SNAPSHOTS_MAX) {
        return manifest_bad(parser, "too many snapshots");
    }
    if (!manifest_snapshot_name(manifest_word(parser), snapshot.name) ||
        !manifest_number(parser, " size=", &snapshot.size) ||
        !manifest_take(parser, " crc32c=") ||
        !manifest_hex32(manifest_word(parser), &snapshot.crc) ||
        !manifest_number(parser, " position=", &snapshot.position) ||
        parser->line_size != 0) {
        return manifest_bad(parser, "not a snapshot line");
    }
    if (out->snapshot_count > 0 &&
        out->snapshots[out->snapshot_count - 1].position <=
            snapshot.position) {
        return manifest_bad(parser, "snapshots out of order");
    }
    out->snapshots[out->snapshot_count++] = snapshot;
    return KVSQL_OK;
}

/* Does `segment` join the list? (M2) */
static bool manifest_joins(const struct kv_manifest *manifest,
                           const struct kv_manifest_segment *segment)
{
    if (segment->first == 0 ||
        (segment->sealed && (segment->last < segment->first - 1 ||
                             segment->end < MANIFEST_SEGMENT_HEADER))) {
        return false;
    }
    if (manifest->segment_count == 0) {
        return true;
    }
    const struct kv_manifest_segment *before =
        &manifest->segments[manifest->segment_count - 1];
    return before->sealed && before->number < segment->number &&
           before->last + 1 == segment->first;
}

static kvsql_rc manifest_segment_push(struct kv_manifest *manifest,
                                      const struct kv_manifest_segment *segment,
                                      struct kvsql_error *err)
{
    if (manifest->segment_count == KV_MANIFEST_SEGMENTS_MAX) {
        return kv_fail(err, KVSQL_TOOBIG,
                       "manifest: %u segments are the most: take a snapshot",
                       KV_MANIFEST_SEGMENTS_MAX);
    }
    if (manifest->segment_count == manifest->segment_cap) {
        const unsigned cap = manifest->segment_cap ? 2 * manifest->segment_cap
                                                   : 16;
        struct kv_manifest_segment *segments = kv_mem_realloc(
            KV_MEM_MISC, manifest->segments,
            manifest->segment_cap * sizeof(*segments), cap * sizeof(*segments));

        if (segments == NULL) {
            return kv_fail(err, KVSQL_NOMEM,
                           "manifest: no memory for %u segments", cap);
        }
        manifest->segments = segments;
        manifest->segment_cap = cap;
    }
    manifest->segments[manifest->segment_count++] = *segment;
    return KVSQL_OK;
}

static kvsql_rc manifest_segment(struct manifest_parser *parser)
{
    struct kv_manifest_segment segment = {.sealed = false};
    const kvsql_slice digits = manifest_word(parser);
    size_t zeros = 0;

    while (zeros + 1 < digits.size && ((const char *)digits.p)[zeros] == '0') {
        zeros++;
    }
    bool good = digits.size >= 16 && digits.size <= 20 &&
                kv_num_uint((const char *)digits.p + zeros,
                            digits.size - zeros, &segment.number) &&
                manifest_number(parser, " first=", &segment.first);
    if (good && parser->line_size > 0) {
        segment.sealed = true;
        good = manifest_number(parser, " last=", &segment.last) &&
               manifest_number(parser, " end=", &segment.end) &&
               parser->line_size == 0;
    }
    if (!good) {
        return manifest_bad(parser, "not a segment line");
    }
    if (!manifest_joins(parser->out, &segment)) {
        return manifest_bad(parser, "segment does not join the one before");
    }
    return manifest_segment_push(parser->out, &segment, parser->err);
}

/* "kvsql-manifest 1", then perhaps ".minor". */
static kvsql_rc manifest_version(struct manifest_parser *parser)
{
    uint64_t major, minor = 0;

    if (!manifest_line(parser) || !manifest_take(parser, "kvsql-manifest ")) {
        return manifest_bad(parser, "not a MANIFEST");
    }
    const kvsql_slice word = manifest_word(parser);
    const char *dot = memchr(word.p, '.', word.size);
    const size_t size = dot ? (size_t)(dot - (const char *)word.p) : word.size;
    if (!kv_num_uint(word.p, size, &major) || parser->line_size != 0 ||
        (dot && !kv_num_uint(dot + 1, word.size - size - 1, &minor))) {
        return manifest_bad(parser, "not a version");
    }
    if (major > MANIFEST_MAJOR) {
        return kv_fail(parser->err, KVSQL_NEWER,
                       "manifest: " KV_MANIFEST_NAME " has format %" PRIu64
                       ", kvsql " KVSQL_VERSION " knows %d: needs a newer kvsql",
                       major, MANIFEST_MAJOR);
    }
    return KVSQL_OK;
}

static kvsql_rc manifest_head(struct manifest_parser *parser)
{
    const kvsql_rc rc = manifest_version(parser);

    if (rc != KVSQL_OK) {
        return rc;
    }
    if (!manifest_line(parser) || !manifest_take(parser, "store ") ||
        !manifest_hex(manifest_word(parser), parser->out->store_id, 16) ||
        parser->line_size != 0) {
        return manifest_bad(parser, "not a store line");
    }
    if (!manifest_line(parser) ||
        !manifest_take(parser, "written-by kvsql ")) {
        return manifest_bad(parser, "not a written-by line");
    }
    return KVSQL_OK;
}

static kvsql_rc manifest_tail(struct manifest_parser *parser)
{
    struct kv_manifest *out = parser->out;

    if (!manifest_number(parser, "durable ", &out->durable) ||
        parser->line_size != 0) {
        return manifest_bad(parser, "not a durable line");
    }
    if (parser->next == parser->end) {
        return KVSQL_OK;
    }
    out->has_clean = manifest_line(parser) &&
                     manifest_number(parser, "clean ", &out->clean) &&
                     parser->line_size == 0;
    if (!out->has_clean || parser->next != parser->end) {
        return manifest_bad(parser, "not a clean line");
    }
    return KVSQL_OK;
}

static kvsql_rc manifest_lines(struct manifest_parser *parser)
{
    kvsql_rc rc = manifest_head(parser);

    while (rc == KVSQL_OK) {
        if (!manifest_line(parser)) {
            return manifest_bad(parser, "no durable line");
        }
        if (manifest_take(parser, "snapshot ")) {
            rc = parser->out->segment_count > 0
                     ? manifest_bad(parser, "snapshot behind segments")
                     : manifest_snapshot(parser);
        } else if (manifest_take(parser, "segment wal-")) {
            rc = manifest_segment(parser);
        } else {
            return manifest_tail(parser);
        }
    }
    return rc;
}

/* The last line, and that it is true of all before it. */
static kvsql_rc manifest_crc(struct manifest_parser *parser)
{
    const size_t size = (size_t)(parser->end - parser->text);
    uint32_t stated;

    parser->line = parser->text;
    if (size < MANIFEST_CRC_LINE) {
        return manifest_bad(parser, "too short");
    }
    const char *last = parser->end - MANIFEST_CRC_LINE;
    parser->line = last;
    if (memcmp(last, "crc32c ", 7) != 0 || parser->end[-1] != '\n' ||
        !manifest_hex32((kvsql_slice){last + 7, 8}, &stated)) {
        return manifest_bad(parser, "no crc32c line at the end");
    }
    const uint32_t found = kv_crc32c(0, parser->text, size - MANIFEST_CRC_LINE);
    if (found != stated) {
        return kv_fail(parser->err, KVSQL_CORRUPT,
                       "wal.damaged file=" KV_MANIFEST_NAME
                       " offset=0 expected_crc=%08" PRIx32
                       " found_crc=%08" PRIx32
                       " hint=\"restore a copy, or start with --repair to "
                       "rebuild it from the other files\"",
                       stated, found);
    }
    parser->end = last;
    return KVSQL_OK;
}

kvsql_rc kv_manifest_parse(struct kv_manifest *manifest, const char *text,
                           size_t size, struct kvsql_error *err)
{
    struct kv_manifest *out = kv_mem_zalloc(KV_MEM_MISC, sizeof(*out));
    if (out == NULL) {
        return kv_fail(err, KVSQL_NOMEM, "manifest: no memory to read it");
    }
    struct manifest_parser parser = {.text = text, .next = text, .line = text,
                                     .end = text + size, .out = out,
                                     .err = err};

    kvsql_rc rc = manifest_crc(&parser);
    if (rc == KVSQL_OK) {
        rc = manifest_lines(&parser);
    }
    struct kv_manifest_segment *unused = out->segments;
    unsigned unused_cap = out->segment_cap;
    if (rc == KVSQL_OK) {
        unused = manifest->segments;
        unused_cap = manifest->segment_cap;
        manifest->segments = out->segments;
        manifest->segment_count = out->segment_count;
        manifest->segment_cap = out->segment_cap;
        memcpy(manifest->store_id, out->store_id, sizeof(out->store_id));
        memcpy(manifest->snapshots, out->snapshots, sizeof(out->snapshots));
        manifest->snapshot_count = out->snapshot_count;
        manifest->durable = out->durable;
        manifest->clean = out->clean;
        manifest->has_clean = out->has_clean;
        manifest->unsure = manifest->unsure_last = false;
    }
    kv_mem_free(KV_MEM_MISC, unused, unused_cap * sizeof(*unused));
    kv_mem_free(KV_MEM_MISC, out, sizeof(*out));
    return rc;
}

/* The bytes of the open file; the caller frees *size + 1 bytes. */
static kvsql_rc manifest_load(const struct kv_os *os, int file, char **text,
                              size_t *size, struct kvsql_error *err)
{
    const int64_t found = os->size(os->arg, file);

    if (found < 0) {
        return kv_fail(err, KVSQL_IO, "manifest: cannot look at "
                       KV_MANIFEST_NAME ": %s", kv_os_error((int)-found));
    }
    if (found > MANIFEST_SIZE_MAX) {
        return kv_fail(err, KVSQL_CORRUPT,
                       "wal.damaged file=" KV_MANIFEST_NAME
                       " offset=%u why=\"longer than any MANIFEST\" "
                       "hint=\"restore a copy, or start with --repair\"",
                       MANIFEST_SIZE_MAX);
    }
    *size = (size_t)found;
    *text = kv_mem_alloc(KV_MEM_MISC, *size + 1);
    if (*text == NULL) {
        return kv_fail(err, KVSQL_NOMEM, "manifest: no memory to read it");
    }
    const int64_t got = os->read_at(os->arg, file, *text, *size, 0);
    if (got != found) {
        kv_mem_free(KV_MEM_MISC, *text, *size + 1);
        *text = NULL;
        return kv_fail(err, KVSQL_IO, "manifest: cannot read "
                       KV_MANIFEST_NAME ": %s",
                       got < 0 ? kv_os_error((int)-got) : "it became shorter");
    }
    return KVSQL_OK;
}

kvsql_rc kv_manifest_read(struct kv_manifest *manifest, struct kvsql_error *err)
{
    const struct kv_os *os = manifest->os;
    char *text = NULL;
    size_t size = 0;
    int file;

    const int opened = os->open(os->arg, manifest->dir, KV_MANIFEST_NAME,
                                KV_OS_READ, &file);
    if (opened == -ENOENT) {
        return kv_fail(err, KVSQL_NOTFOUND,
                       "manifest: there is no " KV_MANIFEST_NAME);
    }
    if (opened < 0) {
        return kv_fail(err, KVSQL_IO, "manifest: cannot open "
                       KV_MANIFEST_NAME ": %s", kv_os_error(-opened));
    }
    kvsql_rc rc = manifest_load(os, file, &text, &size, err);
    os->close(os->arg, file);
    if (rc == KVSQL_OK) {
        rc = kv_manifest_parse(manifest, text, size, err);
        kv_mem_free(KV_MEM_MISC, text, size + 1);
    }
    return rc;
}

/* ---- writing --------------------------------------------------------------- */

void kv_manifest_format(const struct kv_manifest *manifest, struct kv_buf *buf)
{
    const size_t from = buf->size;

    kv_buf_text(buf, "kvsql-manifest 1\nstore ");
    for (unsigned i = 0; i < sizeof(manifest->store_id); i++) {
        kv_buf_printf(buf, "%02x", manifest->store_id[i]);
    }
    kv_buf_text(buf, "\nwritten-by kvsql " KVSQL_VERSION "\n");
    for (unsigned i = 0; i < manifest->snapshot_count; i++) {
        const struct kv_manifest_snapshot *snapshot = &manifest->snapshots[i];

        kv_buf_printf(buf,
                      "snapshot %s size=%" PRIu64 " crc32c=%08" PRIx32
                      " position=%" PRIu64 "\n",
                      snapshot->name, snapshot->size, snapshot->crc,
                      snapshot->position);
    }
    for (unsigned i = 0; i < manifest->segment_count; i++) {
        const struct kv_manifest_segment *segment = &manifest->segments[i];

        kv_buf_printf(buf, "segment wal-%016" PRIu64 " first=%" PRIu64,
                      segment->number, segment->first);
        if (segment->sealed) {
            kv_buf_printf(buf, " last=%" PRIu64 " end=%" PRIu64, segment->last,
                          segment->end);
        }
        kv_buf_text(buf, "\n");
    }
    kv_buf_printf(buf, "durable %" PRIu64 "\n", manifest->durable);
    if (manifest->has_clean) {
        kv_buf_printf(buf, "clean %" PRIu64 "\n", manifest->clean);
    }
    if (!buf->failed) {
        kv_buf_printf(buf, "crc32c %08" PRIx32 "\n",
                      kv_crc32c(0, buf->p + from, buf->size - from));
    }
}

bool kv_manifest_changed(struct kv_manifest *manifest)
{
    struct kv_buf before, after;
    struct kvsql_error ignored;

    kv_buf_init(&before, KV_MEM_MISC, MANIFEST_SIZE_MAX);
    kv_buf_init(&after, KV_MEM_MISC, MANIFEST_SIZE_MAX);
    kv_manifest_format(manifest, &before);
    const kvsql_rc rc = kv_manifest_read(manifest, &ignored);
    kv_manifest_format(manifest, &after);
    const bool changed = rc == KVSQL_OK && !before.failed && !after.failed &&
                         (before.size != after.size ||
                          memcmp(before.p, after.p, before.size) != 0);
    kv_buf_fini(&before);
    kv_buf_fini(&after);
    return changed;
}

/* MANIFEST.tmp with the text, synced. The kernel's answer to F: full or not. */
static int manifest_write_tmp(const struct kv_manifest *manifest,
                              const struct kv_buf *buf, const char **step)
{
    const struct kv_os *os = manifest->os;
    int file;

    *step = "open";
    int rc = os->open(os->arg, manifest->dir, MANIFEST_TMP,
                      KV_OS_WRITE | KV_OS_CREATE | KV_OS_TRUNCATE, &file);
    if (rc < 0) {
        return rc;
    }
    *step = "write";
    const int64_t written = os->write_at(os->arg, file, buf->p, buf->size, 0);
    rc = written < 0 ? (int)written : 0;
    if (rc == 0) {
        *step = "sync";
        rc = os->sync(os->arg, file);
    }
    os->close(os->arg, file);
    return rc;
}

static kvsql_rc manifest_write_failed(int number, const char *step,
                                      struct kvsql_error *err)
{
    const bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;

    return kv_fail(err, full ? KVSQL_FULL : KVSQL_IO,
                   "manifest: cannot %s " MANIFEST_TMP ": %s", step,
                   kv_os_error(number));
}

kvsql_rc kv_manifest_write(struct kv_manifest *manifest,
                           struct kvsql_error *err)
{
    const struct kv_os *os = manifest->os;
    const char *step = "format";
    struct kv_buf buf;

    manifest->unsure_last = false;
    kv_buf_init(&buf, KV_MEM_MISC, MANIFEST_SIZE_MAX);
    kv_manifest_format(manifest, &buf);
    kvsql_rc rc = kv_buf_result(&buf, "manifest: the text", err);
    if (rc != KVSQL_OK) {
        kv_buf_fini(&buf);
        return rc;
    }
    int done = manifest_write_tmp(manifest, &buf, &step);
    kv_buf_fini(&buf);
    if (done < 0) {
        /* Nothing has happened; what is left of the tmp file is removed at
         * the next start at the latest. */
        (void)os->remove(os->arg, manifest->dir, MANIFEST_TMP);
        return manifest_write_failed(-done, step, err);
    }
    step = "rename";
    done = os->rename(os->arg, manifest->dir, MANIFEST_TMP, manifest->dir,
                      KV_MANIFEST_NAME);
    if (done < 0 && done != -EIO) { /* by POSIX both names are as they were */
        (void)os->remove(os->arg, manifest->dir, MANIFEST_TMP);
        return manifest_write_failed(-done, step, err);
    }
    manifest->unsure = manifest->unsure_last = true;
    if (done == 0) {
        step = "sync the directory of";
        done = os->dir_sync(os->arg, manifest->dir);
    }
    if (done < 0) {
        KV_PROBE("manifest: unsure");
        return manifest_write_failed(-done, step, err);
    }
    manifest->unsure = manifest->unsure_last = false;
    return KVSQL_OK;
}

/* ---- changes --------------------------------------------------------------- */

kvsql_rc kv_manifest_add_segment(struct kv_manifest *manifest, uint64_t number,
                                 uint64_t first, struct kvsql_error *err)
{
    const struct kv_manifest_segment segment = {.number = number,
                                                .first = first};

    KV_ASSERT(manifest_joins(manifest, &segment)); /* M2 */
    return manifest_segment_push(manifest, &segment, err);
}

kvsql_rc kv_manifest_add_snapshot(struct kv_manifest *manifest,
                                  const struct kv_manifest_snapshot *snapshot,
                                  const bool *kept, char dropped[][40],
                                  unsigned *dropped_count, uint64_t *oldest,
                                  struct kvsql_error *err)
{
    struct kv_manifest_snapshot *list = manifest->snapshots;
    struct kv_manifest_snapshot before[KV_MANIFEST_SNAPSHOTS_MAX];

    KV_ASSERT(kept[0]);
    kv_lock_take(&manifest->lock);
    const unsigned count = manifest->snapshot_count;
    const uint64_t durable = manifest->durable;
    unsigned stay = 1;

    memcpy(before, list, sizeof(before));
    for (unsigned i = 0; i < count; i++) {
        KV_ASSERT(!kept[i + 1] || stay < KV_MANIFEST_SNAPSHOTS_MAX);
        if (kept[i + 1]) {
            list[stay++] = before[i];
        }
    }
    list[0] = *snapshot;
    manifest->snapshot_count = stay;
    /* The wal up to a snapshot is synced before the snapshot is entered. */
    if (durable < snapshot->position) {
        manifest->durable = snapshot->position;
    }
    const kvsql_rc rc = kv_manifest_write(manifest, err);
    *dropped_count = 0;
    if (rc != KVSQL_OK) {
        memcpy(list, before, sizeof(before));
        manifest->snapshot_count = count;
        manifest->durable = durable;
    } else {
        for (unsigned i = 0; i < count; i++) {
            if (!kept[i + 1]) {
                memcpy(dropped[(*dropped_count)++], before[i].name, 40);
            }
        }
        *oldest = list[stay - 1].position;
    }
    kv_lock_drop(&manifest->lock);
    return rc;
}

kvsql_rc kv_manifest_drop_snapshot(struct kv_manifest *manifest,
                                   const char *name, struct kvsql_error *err)
{
    struct kv_manifest_snapshot *const list = manifest->snapshots;
    unsigned at = 0;
    kvsql_rc rc;

    kv_lock_take(&manifest->lock);
    const unsigned count = manifest->snapshot_count;
    while (at < count && strcmp(list[at].name, name) != 0) {
        at++;
    }
    if (at == count) {
        rc = kv_fail(err, KVSQL_NOTFOUND, "there is no snapshot '%.64s'", name);
    } else if (at == 0) {
        rc = kv_fail(err, KVSQL_CONSTRAINT,
                     "%s is the newest snapshot, with which a start begins; "
                     "make another one first", name);
    } else {
        const struct kv_manifest_snapshot gone = list[at];
        memmove(&list[at], &list[at + 1], (count - at - 1) * sizeof(*list));
        manifest->snapshot_count = count - 1;
        rc = kv_manifest_write(manifest, err);
        if (rc != KVSQL_OK) {
            memmove(&list[at + 1], &list[at],
                    (count - at - 1) * sizeof(*list));
            list[at] = gone;
            manifest->snapshot_count = count;
        }
    }
    kv_lock_drop(&manifest->lock);
    return rc;
}
