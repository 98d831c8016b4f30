/* pages.h - tables of an SQLite file, written page by page.
 *
 * Rows that come in the order of their table need no database to be stored:
 * b-trees that only grow at their right edge are filled from left to right and
 * never read. SQLite makes the file and its schema first; then tables WITHOUT
 * ROWID and indexes that are still empty are filled here, any number of them
 * side by side, and the file is again one that SQLite made.
 *
 *     kv_pages_open(&pages, os, file, path, err)
 *     kv_page_tree_init(&tree, &pages, rootpage of sqlite_schema)
 *     kv_page_tree_row(&tree, values, count, err)     in order, each key once
 *     kv_page_tree_end(&tree, err)
 *     kv_pages_finish(&pages, &size, err)
 *     kv_page_tree_fini(&tree), kv_pages_fini(&pages)     also after a failure
 *
 * A file that was not finished is not one. Nobody else has it open meanwhile.
 * `err` is never NULL here.
 *
 * Thread: the caller's. */
#ifndef KVSQL_PAGES_H
#define KVSQL_PAGES_H

#include "kvsql/base/error.h"
#include "kvsql/base/os.h"

#define KV_PAGE_ROW_MAX 1000000000 /* bytes of a row that SQLite reads */
#define KV_PAGE_VALUES_MAX 8       /* of a row */
#define KV_PAGE_LEVELS_MAX 20      /* SQLite's own limit of a cursor */
#define KV_PAGE_HEADER_SIZE 100    /* of the file */

enum kv_page_kind {
    KV_PAGE_NULL,
    KV_PAGE_INT,
    KV_PAGE_REAL,
    KV_PAGE_SCORE, /* a REAL of a column REAL: whole ones are kept as INT */
    KV_PAGE_BLOB,
    KV_PAGE_TEXT /* UTF-8 */
};

/* One value; the bytes are lent for the call. */
struct kv_page_value {
    enum kv_page_kind kind;
    uint32_t size; /* of p, of TEXT and BLOB */
    union {
        const void *p;
        int64_t number;
        double real;
    };
};

/* A file that is being appended to. */
struct kv_pages {
    const struct kv_os *os;
    const char *path; /* lent, for messages */
    int file;         /* -1: not open */
    uint32_t page_size;
    uint32_t usable;    /* of a page */
    uint32_t local_max; /* bytes of a row in its cell, and ... */
    uint32_t local_min; /* ... when the rest is in overflow pages */
    uint32_t count;     /* pages so far */
    uint32_t lock_page; /* the one that is never used */
    uint8_t *chunk;     /* the last pages, still to be written */
    uint32_t chunk_used; /* bytes */
    uint8_t header[KV_PAGE_HEADER_SIZE];
};

/* A page being filled, and the row that did not fit. */
struct kv_page_level {
    uint8_t *page;    /* NULL: none yet */
    uint8_t *waiting; /* behind the page */
    uint32_t waiting_size; /* 0: none waits */
    uint32_t count;   /* cells */
    uint32_t top;     /* the newest cell */
    uint32_t last_size; /* of that cell */
};

/* A b-tree that is being filled: level 0 has the leaves. */
struct kv_page_tree {
    struct kv_pages *pages;
    uint32_t root; /* its page, empty until the end */
    uint32_t height;
    uint64_t rows;
    struct kv_page_level levels[KV_PAGE_LEVELS_MAX];
};

/* Go on with a file that SQLite made and closed: rollback journal, UTF-8, no
 * auto-vacuum. Takes `file`, open for writing, in any case; `path` is for
 * messages and lent. KVSQL_CORRUPT: it is another one; KVSQL_IO, KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc kv_pages_open(struct kv_pages *pages,
                                   const struct kv_os *os, int file,
                                   const char *path,
                                   struct kvsql_error *err) KV_MUST_USE;
/* Write what is left, the header with the new number of pages, and sync.
 * *size: bytes of the file. */
KV_INTERNAL kvsql_rc kv_pages_finish(struct kv_pages *pages, uint64_t *size,
                                     struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void kv_pages_fini(struct kv_pages *pages);

KV_INTERNAL void kv_page_tree_init(struct kv_page_tree *tree,
                                   struct kv_pages *pages, uint32_t root);
/* The next row, its columns in the order in which the b-tree has them: those
 * of its key first. It must be behind the last one, which is not checked.
 * KVSQL_TOOBIG: it passes KV_PAGE_ROW_MAX; nothing was written, the sentence is
 * the caller's. KVSQL_FULL, KVSQL_IO, KVSQL_NOMEM: the file is lost. */
KV_INTERNAL kvsql_rc kv_page_tree_row(struct kv_page_tree *tree,
                                      const struct kv_page_value *values,
                                      unsigned count,
                                      struct kvsql_error *err) KV_MUST_USE;
/* No more rows. */
KV_INTERNAL kvsql_rc kv_page_tree_end(struct kv_page_tree *tree,
                                      struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void kv_page_tree_fini(struct kv_page_tree *tree);

/* ---- between the files of pages ------------------------------------ */

/* Room for the next page of the file, to be filled at once, and its number;
 * NULL: err says why. It may be that of the last page. */
KV_INTERNAL uint8_t *kv_pages_next(struct kv_pages *pages, uint32_t *number,
                                   struct kvsql_error *err) KV_MUST_USE;
/* The number that the next page will have. */
KV_INTERNAL uint32_t kv_pages_number(const struct kv_pages *pages);
/* Write a page that was in the file before it was opened here. */
KV_INTERNAL kvsql_rc kv_pages_put(struct kv_pages *pages, uint32_t number,
                                  const uint8_t *page,
                                  struct kvsql_error *err) KV_MUST_USE;

KV_HEADER_INLINE void kv_page_u16(uint8_t *p, uint32_t value)
{
    const uint16_t swapped = __builtin_bswap16((uint16_t)value);
    __builtin_memcpy(p, &swapped, 2);
}
KV_HEADER_INLINE void kv_page_u32(uint8_t *p, uint32_t value)
{
    const uint32_t swapped = __builtin_bswap32(value);
    __builtin_memcpy(p, &swapped, 4);
}
KV_HEADER_INLINE uint32_t kv_page_get_u16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}
KV_HEADER_INLINE uint32_t kv_page_get_u32(const uint8_t *p)
{
    uint32_t value;

    __builtin_memcpy(&value, p, 4);
    return __builtin_bswap32(value);
}

#endif
