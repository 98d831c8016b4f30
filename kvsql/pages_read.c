/* pages_read.c - rows of a b-tree of an SQLite file, in order.
 *
 * The formats are drawn in pages.c and pages_tree.c. A page is copied into its
 * step of the way down, and checked when a cell of it is asked for; a row that
 * lies in its cell whole is lent from there.
 *
 * Always true:
 *   PR1  nothing is read beyond the page, the cell or the row that says it is
 *        there: each size is held against what is left before it is used.
 *   PR2  pages that were written side by side lie side by side, so the file is
 *        read in larger parts, which all cursors share.
 *   PR3  every page has a cell, but the root of a table without rows. So
 *        what is read twice gives a row twice, and the caller, who looks at their
 *        order, stops. A way down has KV_PAGE_LEVELS_MAX pages at most, and a
 *        row as many bytes as the file.
 *
 * Thread: the caller's. */
#include "kvsql/pages_read.h"

#include <string.h>

#include "kvsql/base/mem.h"
#include "kvsql/seg.h"

#define PAGES_READ_CHUNK (64u << 10) /* bytes read at once; a page at least */
#define PAGES_READ_KEEP (256u << 10) /* bytes of a large row's buffer kept */
#define PAGES_READ_LEAF 10
#define PAGES_READ_INNER 2
#define PAGES_READ_CELL_MIN 4

/* ---- the file ------------------------------------------------------------------ */

static kvsql_rc pages_read_fail(const struct kv_page_file *file, int64_t result,
                                struct kvsql_error *err)
{
    return kv_fail(err, kv_seg_rc((int)-result),
                   "snapshot: cannot read %s: %s", file->path,
                   kv_os_error((int)-result));
}

/* What the header says; false: it is of another kind. */
static bool pages_read_header(struct kv_page_file *file, const uint8_t *h,
                              uint64_t size)
{
    const uint32_t page_size = kv_page_get_u16(h + 16);

    file->page_size = page_size == 1 ? 65536 : page_size;
    file->usable = file->page_size - h[20];
    file->count = kv_page_get_u32(h + 28);
    if (memcmp(h, "SQLite format 3", 16) != 0 || file->page_size < 512 ||
        (file->page_size & (file->page_size - 1)) != 0 || file->usable < 480 ||
        h[18] != 1 || h[19] != 1 || kv_page_get_u32(h + 56) != 1)
        return false;
    file->local_max = (file->usable - 12) * 64 / 255 - 23;
    file->local_min = (file->usable - 12) * 32 / 255 - 23;
    return (uint64_t)file->count * file->page_size == size;
}

kvsql_rc kv_page_file_open(struct kv_page_file *file, const struct kv_os *os,
                           int fd, const char *path, bool *known,
                           struct kvsql_error *err)
{
    uint8_t header[KV_PAGE_HEADER_SIZE];

    *file = (struct kv_page_file){.os = os, .path = path, .file = fd};
    *known = false;
    const int64_t size = os->size(os->arg, fd);
    const int64_t got =
        size < 0 ? size : os->read_at(os->arg, fd, header, sizeof(header), 0);
    if (got < 0)
        return pages_read_fail(file, got, err);
    if (got != sizeof(header) ||
        !pages_read_header(file, header, (uint64_t)size))
        return KVSQL_OK;
    file->chunks =
        kv_mem_alloc(KV_MEM_MISC, KV_PAGE_CHUNKS * PAGES_READ_CHUNK);
    if (file->chunks == NULL)
        return kv_fail(err, KVSQL_NOMEM, "snapshot: no memory for pages");
    *known = true;
    return KVSQL_OK;
}

void kv_page_file_fini(struct kv_page_file *file)
{
    kv_mem_free(KV_MEM_MISC, file->chunks, KV_PAGE_CHUNKS * PAGES_READ_CHUNK);
    if (file->file >= 0)
        file->os->close(file->os->arg, file->file);
    file->chunks = NULL;
    file->file = -1;
}

static kvsql_rc pages_read_damaged(struct kvsql_error *err)
{
    return kv_fail(err, KVSQL_CORRUPT, "snapshot: it is no table");
}

/* Part `number` of the file; *size bytes of it are there (PR2). */
static kvsql_rc pages_read_chunk(struct kv_page_file *file, uint32_t number,
                                 const uint8_t **chunk, uint32_t *size,
                                 struct kvsql_error *err)
{
    const uint32_t slot = number % KV_PAGE_CHUNKS;
    uint8_t *const to = file->chunks + (size_t)slot * PAGES_READ_CHUNK;

    if (file->chunk_size[slot] == 0 || file->chunk_of[slot] != number) {
        file->chunk_size[slot] = 0;
        const int64_t got = file->os->read_at(
            file->os->arg, file->file, to, PAGES_READ_CHUNK,
            (uint64_t)number * PAGES_READ_CHUNK);
        if (got < 0)
            return pages_read_fail(file, got, err);
        file->chunk_of[slot] = number;
        file->chunk_size[slot] = (uint32_t)got;
    }
    *chunk = to;
    *size = file->chunk_size[slot];
    return KVSQL_OK;
}

/* Lends the page until the next call. */
static kvsql_rc pages_read_page(struct kv_page_file *file, uint32_t number,
                                const uint8_t **page, struct kvsql_error *err)
{
    const uint32_t each = PAGES_READ_CHUNK / file->page_size;
    const uint8_t *chunk = NULL;
    uint32_t size = 0;

    if (number < 2 || number > file->count) /* page 1 is the schema's */
        return pages_read_damaged(err);
    const kvsql_rc rc =
        pages_read_chunk(file, (number - 1) / each, &chunk, &size, err);
    if (rc != KVSQL_OK)
        return rc;
    const uint32_t at = (number - 1) % each * file->page_size;
    if (at + file->page_size > size) /* cut short since */
        return pages_read_damaged(err);
    *page = chunk + at;
    return KVSQL_OK;
}

/* ---- numbers and rows ------------------------------------------------------------ */

/* A varint that ends before `end`; NULL: it does not. */
static const uint8_t *pages_read_varint_long(const uint8_t *p,
                                             const uint8_t *end,
                                             uint64_t *value)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++) {
        if (p == end)
            return NULL;
        v = v << 7 | (*p & 127);
        if ((*p++ & 128) == 0) {
            *value = v;
            return p;
        }
    }
    if (p == end)
        return NULL;
    *value = v << 8 | *p; /* the ninth has eight bits */
    return p + 1;
}

KV_INLINE const uint8_t *pages_read_varint(const uint8_t *p,
                                           const uint8_t *end, uint64_t *value)
{
    if (KV_LIKELY(p < end && *p < 128)) {
        *value = *p;
        return p + 1;
    }
    return pages_read_varint_long(p, end, value);
}

/* Big endian, two's complement, 1 to 8 bytes. */
static int64_t pages_read_int(const uint8_t *p, uint32_t size)
{
    uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0;

    for (uint32_t i = 0; i < size; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

static void pages_read_real(const uint8_t *p, struct kv_page_value *value)
{
    const uint64_t bits = (uint64_t)pages_read_int(p, 8);
    double real;

    memcpy(&real, &bits, sizeof(real));
    if (real != real) { /* as SQLite has it */
        value->kind = KV_PAGE_NULL;
        return;
    }
    value->kind = KV_PAGE_REAL;
    value->real = real;
}

/* A value that is no bytes, of `type` < 12; the caller has its bytes at p. */
static void pages_read_number(const uint8_t *p, uint64_t type, uint32_t size,
                              struct kv_page_value *value)
{
    value->kind = KV_PAGE_INT;
    value->size = 0;
    if (type == 0 || type >= 10) /* 10 and 11 are nothing to SQLite, too */
        value->kind = KV_PAGE_NULL;
    else if (type == 7)
        pages_read_real(p, value);
    else
        value->number =
            type >= 8 ? (int64_t)type - 8 : pages_read_int(p, size);
}

/* The values of a row of `size` bytes; false: it is none. */
static bool pages_read_row(struct kv_page_cursor *cursor, const uint8_t *row,
                           uint32_t size)
{
    static const uint8_t sizes[12] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};
    uint64_t head;
    const uint8_t *p = pages_read_varint(row, row + size, &head);

    if (p == NULL || head > size || head < (uint64_t)(p - row))
        return false;
    const uint8_t *const head_end = row + head;
    const uint8_t *at = head_end;
    uint32_t left = size - (uint32_t)head;
    for (unsigned i = 0; i < cursor->columns; i++) {
        struct kv_page_value *const value = &cursor->values[i];
        uint64_t type = 0;
        if (p < head_end) {
            p = pages_read_varint(p, head_end, &type);
            if (p == NULL)
                return false;
        }
        const uint64_t bytes = type < 12 ? sizes[type] : (type - 12) / 2;
        if (bytes > left) /* PR1 */
            return false;
        if (type >= 12) {
            value->kind = type % 2 == 0 ? KV_PAGE_BLOB : KV_PAGE_TEXT;
            value->size = (uint32_t)bytes;
            value->p = at;
        } else {
            pages_read_number(at, type, (uint32_t)bytes, value);
        }
        at += bytes;
        left -= (uint32_t)bytes;
    }
    return true;
}

/* The bytes of a row behind its first `local`, from overflow page `number` on,
 * into cursor->row. */
static kvsql_rc pages_read_overflow(struct kv_page_cursor *cursor,
                                    uint32_t number, uint32_t left,
                                    struct kvsql_error *err)
{
    struct kv_page_file *const file = cursor->file;
    const uint32_t room = file->usable - 4;

    while (left > 0) {
        const uint8_t *page;
        const uint32_t part = left < room ? left : room;
        const kvsql_rc rc = pages_read_page(file, number, &page, err);
        if (rc != KVSQL_OK)
            return rc;
        kv_buf_add(&cursor->row, page + 4, part);
        number = kv_page_get_u32(page);
        left -= part;
    }
    return kv_buf_result(&cursor->row, "a row of a snapshot", err);
}

/* A row that does not lie in its cell whole: `local` bytes of it at p, and the
 * number of a page behind them. */
static kvsql_rc pages_read_large(struct kv_page_cursor *cursor,
                                 const uint8_t *p, uint32_t payload,
                                 uint32_t local, struct kvsql_error *err)
{
    kv_buf_reset(&cursor->row, PAGES_READ_KEEP);
    (void)kv_buf_reserve(&cursor->row, payload);
    kv_buf_add(&cursor->row, p, local);
    kvsql_rc rc = kv_buf_result(&cursor->row, "a row of a snapshot", err);
    if (rc == KVSQL_OK)
        rc = pages_read_overflow(cursor, kv_page_get_u32(p + local),
                                 payload - local, err);
    if (rc == KVSQL_OK && !pages_read_row(cursor, cursor->row.p, payload))
        rc = pages_read_damaged(err);
    return rc;
}

/* ---- pages of the way down ------------------------------------------------------- */

static uint32_t pages_read_front(const struct kv_page_step *step)
{
    return step->leaf ? 8 : 12;
}

/* Where cell `index` begins; NULL: not in the page. */
static const uint8_t *pages_read_cell(const struct kv_page_cursor *cursor,
                                      const struct kv_page_step *step,
                                      uint32_t index)
{
    const uint32_t front = pages_read_front(step);
    const uint32_t at = kv_page_get_u16(step->page + front + 2 * index);

    return at >= front + 2 * step->cells &&
                   at + PAGES_READ_CELL_MIN <= cursor->file->usable
               ? step->page + at
               : NULL;
}

/* The row of cell `index`. */
static kvsql_rc pages_read_give(struct kv_page_cursor *cursor,
                                const struct kv_page_step *step,
                                uint32_t index, struct kvsql_error *err)
{
    const struct kv_page_file *const file = cursor->file;
    const uint8_t *const end = step->page + file->usable;
    const uint8_t *p = pages_read_cell(cursor, step, index);
    uint64_t payload;

    if (p == NULL)
        return pages_read_damaged(err);
    p = pages_read_varint(step->leaf ? p : p + 4, end, &payload);
    if (p == NULL || payload > KV_PAGE_ROW_MAX ||
        payload > (uint64_t)file->count * file->usable) /* PR3 */
        return pages_read_damaged(err);
    cursor->at_row = true;
    cursor->rows++;
    if (KV_LIKELY(payload <= file->local_max)) {
        if (payload > (uint64_t)(end - p) || /* PR1 */
            !pages_read_row(cursor, p, (uint32_t)payload))
            return pages_read_damaged(err);
        return KVSQL_OK;
    }
    const uint32_t part =
        file->local_min +
        ((uint32_t)payload - file->local_min) % (file->usable - 4);
    const uint32_t local = part <= file->local_max ? part : file->local_min;
    if (local + 4 > (uint64_t)(end - p)) /* PR1 */
        return pages_read_damaged(err);
    return pages_read_large(cursor, p, (uint32_t)payload, local, err);
}

/* One page further down. */
static kvsql_rc pages_read_push(struct kv_page_cursor *cursor, uint32_t number,
                                struct kvsql_error *err)
{
    const struct kv_page_file *const file = cursor->file;
    const uint8_t *page;

    if (cursor->depth == KV_PAGE_LEVELS_MAX) /* PR3 */
        return pages_read_damaged(err);
    const kvsql_rc rc = pages_read_page(cursor->file, number, &page, err);
    if (rc != KVSQL_OK)
        return rc;
    struct kv_page_step *const step = &cursor->steps[cursor->depth];
    if (step->page == NULL) {
        step->page = kv_mem_alloc(KV_MEM_MISC, file->page_size);
        if (step->page == NULL)
            return kv_fail(err, KVSQL_NOMEM, "snapshot: no memory for pages");
    }
    memcpy(step->page, page, file->page_size);
    step->leaf = page[0] == PAGES_READ_LEAF;
    step->cells = kv_page_get_u16(page + 3);
    step->next = 0;
    if ((!step->leaf && page[0] != PAGES_READ_INNER) ||
        pages_read_front(step) + 2 * step->cells > file->usable ||
        (step->cells == 0 && !(step->leaf && cursor->depth == 0))) /* PR3 */
        return pages_read_damaged(err);
    cursor->depth++;
    return KVSQL_OK;
}

/* The page left of the next cell of an inner page, or right of its last. */
static kvsql_rc pages_read_child(const struct kv_page_cursor *cursor,
                                 const struct kv_page_step *step,
                                 uint32_t *number, struct kvsql_error *err)
{
    const uint8_t *const p = step->next < step->cells
                                 ? pages_read_cell(cursor, step, step->next)
                                 : step->page + 8;

    if (p == NULL)
        return pages_read_damaged(err);
    *number = kv_page_get_u32(p);
    return KVSQL_OK;
}

/* From an inner page whose last cell was given, or none, to the leaf with what
 * comes next. */
static kvsql_rc pages_read_down(struct kv_page_cursor *cursor,
                                struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    while (rc == KVSQL_OK && !cursor->steps[cursor->depth - 1].leaf) {
        uint32_t number = 0;
        rc = pages_read_child(cursor, &cursor->steps[cursor->depth - 1],
                              &number, err);
        if (rc == KVSQL_OK)
            rc = pages_read_push(cursor, number, err);
    }
    return rc;
}

/* ---- the cursor ------------------------------------------------------------------ */

void kv_page_cursor_init(struct kv_page_cursor *cursor,
                         struct kv_page_file *file, uint32_t root,
                         unsigned columns)
{
    KV_ASSERT(columns <= KV_PAGE_VALUES_MAX);
    *cursor = (struct kv_page_cursor){
        .file = file, .root = root, .columns = columns};
    kv_buf_init(&cursor->row, KV_MEM_MISC, KV_PAGE_ROW_MAX);
}

void kv_page_cursor_fini(struct kv_page_cursor *cursor)
{
    for (unsigned i = 0; i < KV_PAGE_LEVELS_MAX; i++)
        if (cursor->steps[i].page != NULL)
            kv_mem_free(KV_MEM_MISC, cursor->steps[i].page,
                        cursor->file->page_size);
    kv_buf_fini(&cursor->row);
    *cursor = (struct kv_page_cursor){.root = 0};
}

/* The rows of an inner page stand between those of its children. */
kvsql_rc kv_page_cursor_next(struct kv_page_cursor *cursor,
                             struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    cursor->at_row = false;
    if (cursor->root != 0) {
        rc = pages_read_push(cursor, cursor->root, err);
        cursor->root = 0;
    }
    if (rc == KVSQL_OK && cursor->depth > 0)
        rc = pages_read_down(cursor, err);
    if (rc != KVSQL_OK)
        return rc;
    while (cursor->depth > 0) {
        struct kv_page_step *const step = &cursor->steps[cursor->depth - 1];
        if (KV_LIKELY(step->next < step->cells))
            return pages_read_give(cursor, step, step->next++, err);
        cursor->depth--;
    }
    return KVSQL_OK;
}
