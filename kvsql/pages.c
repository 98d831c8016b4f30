/* pages.c - the file that tables are written to as pages.
 *
 * Source of everything here: "Database File Format", https://sqlite.org/
 * fileformat2.html. Of the header:
 *
 *   offset size
 *    0     16  "SQLite format 3" and a NUL
 *   16      2  page size, 1 for 65536    18  1  19  1   1: rollback journal
 *   20      1  bytes at the end of each page that are not for us
 *   24      4  change counter            28  4  pages of the file
 *   44      4  schema format, 4          52  4  0: no auto-vacuum
 *   56      4  1: UTF-8                  92  4  change counter of the count
 *
 * Always true:
 *   PG1  pages are numbered in the order in which they are done, so the file
 *        is written from front to back, a chunk at a time; only roots, which
 *        SQLite made, and the header are written in place.
 *   PG2  the page with byte 2^30, where SQLite locks, is zero and in no tree.
 *
 * Thread: the caller's. */
#include "kvsql/pages.h"

#include <string.h>

#include "kvsql/base/mem.h"
#include "kvsql/seg.h"

#define PAGES_CHUNK (256u << 10)     /* bytes written at once */
#define PAGES_LOCK_BYTE (1u << 30)
#define PAGES_COUNT_MAX 0xfffffffeu

static kvsql_rc pages_fail(const struct kv_pages *pages, const char *what,
                           int64_t result, struct kvsql_error *err)
{
    return kv_fail(err, kv_seg_rc((int)-result),
                   "snapshot: cannot %s %s: %s", what, pages->path,
                   kv_os_error((int)-result));
}

/* What the header says, when it is that of a file we can go on with. */
static bool pages_header_read(struct kv_pages *pages, uint64_t size)
{
    const uint8_t *const h = pages->header;
    const uint32_t page_size = (uint32_t)h[16] << 8 | h[17];

    pages->page_size = page_size == 1 ? 65536 : page_size;
    pages->usable = pages->page_size - h[20];
    pages->count = kv_page_get_u32(h + 28);
    if (memcmp(h, "SQLite format 3", 16) != 0 || pages->page_size < 512 ||
        (pages->page_size & (pages->page_size - 1)) != 0 ||
        pages->usable < 480 || h[18] != 1 || h[19] != 1 || pages->count == 0 ||
        kv_page_get_u32(h + 24) != kv_page_get_u32(h + 92) ||
        kv_page_get_u32(h + 44) != 4 || kv_page_get_u32(h + 52) != 0 ||
        kv_page_get_u32(h + 56) != 1)
        return false;
    pages->local_max = (pages->usable - 12) * 64 / 255 - 23;
    pages->local_min = (pages->usable - 12) * 32 / 255 - 23;
    pages->lock_page = PAGES_LOCK_BYTE / pages->page_size + 1;
    return (uint64_t)pages->count * pages->page_size == size;
}

kvsql_rc kv_pages_open(struct kv_pages *pages, const struct kv_os *os,
                       int file, const char *path, struct kvsql_error *err)
{
    *pages = (struct kv_pages){.os = os, .path = path, .file = file};
    const int64_t size = os->size(os->arg, file);
    const int64_t got =
        size < 0 ? size
                 : os->read_at(os->arg, file, pages->header,
                               KV_PAGE_HEADER_SIZE, 0);

    if (got < 0)
        return pages_fail(pages, "read", got, err);
    if (got != KV_PAGE_HEADER_SIZE ||
        !pages_header_read(pages, (uint64_t)size))
        return kv_fail(err, KVSQL_CORRUPT,
                       "snapshot: cannot go on with %s: it is not as SQLite "
                       "made it", path);
    pages->chunk = kv_mem_alloc(KV_MEM_MISC, PAGES_CHUNK);
    if (pages->chunk == NULL)
        return kv_fail(err, KVSQL_NOMEM, "snapshot: no memory for pages");
    return KVSQL_OK;
}

void kv_pages_fini(struct kv_pages *pages)
{
    kv_mem_free(KV_MEM_MISC, pages->chunk, PAGES_CHUNK);
    if (pages->file >= 0)
        pages->os->close(pages->os->arg, pages->file);
    pages->chunk = NULL;
    pages->file = -1;
}

/* ---- pages at the end (PG1) ------------------------------------------------ */

static kvsql_rc pages_flush(struct kv_pages *pages, struct kvsql_error *err)
{
    const uint32_t size = pages->chunk_used;
    const uint64_t end = (uint64_t)pages->count * pages->page_size;
    const int64_t result =
        size == 0 ? 0
                  : pages->os->write_at(pages->os->arg, pages->file,
                                        pages->chunk, size, end - size);

    pages->chunk_used = 0;
    return result < 0 ? pages_fail(pages, "write", result, err) : KVSQL_OK;
}

static uint8_t *pages_take(struct kv_pages *pages, struct kvsql_error *err)
{
    if (pages->chunk_used + pages->page_size > PAGES_CHUNK &&
        pages_flush(pages, err) != KVSQL_OK)
        return NULL;
    if (pages->count == PAGES_COUNT_MAX) {
        (void)kv_fail(err, KVSQL_FULL, "snapshot: %s has as many pages as "
                      "SQLite can count", pages->path);
        return NULL;
    }
    uint8_t *const page = pages->chunk + pages->chunk_used;
    pages->chunk_used += pages->page_size;
    pages->count++;
    return page;
}

uint32_t kv_pages_number(const struct kv_pages *pages)
{
    const uint32_t number = pages->count + 1;

    return number + (number == pages->lock_page); /* PG2 */
}

uint8_t *kv_pages_next(struct kv_pages *pages, uint32_t *number,
                       struct kvsql_error *err)
{
    uint8_t *page = pages_take(pages, err);

    if (page != NULL && pages->count == pages->lock_page) { /* PG2 */
        memset(page, 0, pages->page_size);
        page = pages_take(pages, err);
    }
    *number = pages->count;
    return page;
}

kvsql_rc kv_pages_put(struct kv_pages *pages, uint32_t number,
                      const uint8_t *page, struct kvsql_error *err)
{
    const int64_t result = pages->os->write_at(
        pages->os->arg, pages->file, page, pages->page_size,
        (uint64_t)(number - 1) * pages->page_size);

    KV_ASSERT(number > 1 && number <= pages->count);
    return result < 0 ? pages_fail(pages, "write", result, err) : KVSQL_OK;
}

kvsql_rc kv_pages_finish(struct kv_pages *pages, uint64_t *size,
                         struct kvsql_error *err)
{
    const struct kv_os *const os = pages->os;
    uint8_t *const h = pages->header;
    const uint32_t changes = kv_page_get_u32(h + 24) + 1;
    const kvsql_rc rc = pages_flush(pages, err);

    if (rc != KVSQL_OK)
        return rc;
    kv_page_u32(h + 24, changes);
    kv_page_u32(h + 28, pages->count);
    kv_page_u32(h + 92, changes);
    const int64_t result =
        os->write_at(os->arg, pages->file, h, KV_PAGE_HEADER_SIZE, 0);
    if (result < 0)
        return pages_fail(pages, "write", result, err);
    const int synced = os->sync(os->arg, pages->file);
    if (synced < 0)
        return pages_fail(pages, "sync", synced, err);
    *size = (uint64_t)pages->count * pages->page_size;
    return KVSQL_OK;
}
