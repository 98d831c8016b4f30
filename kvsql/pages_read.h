/* pages_read.h - tables of an SQLite file, read page by page.
 *
 * The rows of tables WITHOUT ROWID, in the order of their b-trees; SQLite's own
 * way takes five times as long. Any bytes may stand in the file: what is not a
 * b-tree is KVSQL_CORRUPT. That rows are in order is the caller's to check, and
 * with that a walk comes to an end (PR3).
 *
 *     kv_page_file_open(&file, os, fd, path, &known, err)   !known: not our kind
 *     kv_page_cursor_init(&cursor, &file, rootpage, columns)
 *     kv_page_cursor_next(&cursor, err)     while cursor.at_row
 *     kv_page_cursor_fini(&cursor), kv_page_file_fini(&file)    in any case
 *
 * Several cursors may go through a file side by side. `err` is never NULL here.
 *
 * Thread: the caller's. */
#ifndef KVSQL_PAGES_READ_H
#define KVSQL_PAGES_READ_H

#include "kvsql/base/buf.h"
#include "kvsql/pages.h"

#define KV_PAGE_CHUNKS 16 /* read parts of a file that are kept */

/* A file that is being read. */
struct kv_page_file {
    const struct kv_os *os;
    const char *path; /* lent, for messages */
    int file;         /* -1: not open */
    uint32_t page_size;
    uint32_t usable;    /* of a page */
    uint32_t local_max; /* as in struct kv_pages */
    uint32_t local_min;
    uint32_t count;     /* pages */
    uint8_t *chunks;
    uint32_t chunk_of[KV_PAGE_CHUNKS];   /* which part is there ... */
    uint32_t chunk_size[KV_PAGE_CHUNKS]; /* ... and how much of it; 0: none */
};

struct kv_page_step {
    uint8_t *page; /* a copy; NULL: none yet */
    uint32_t cells, next; /* of them the next to give */
    bool leaf;
};

/* A walk over the rows of one b-tree. */
struct kv_page_cursor {
    struct kv_page_file *file;
    uint32_t root; /* 0: it was begun */
    unsigned columns;
    bool at_row;
    uint64_t rows; /* given so far */
    struct kv_page_value values[KV_PAGE_VALUES_MAX]; /* until the next call */
    unsigned depth;
    struct kv_page_step steps[KV_PAGE_LEVELS_MAX];
    struct kv_buf row; /* one with overflow pages */
};

/* Takes `fd`, open for reading, in any case. !*known: SQLite may read it, this
 * code does not: another encoding, or written with a wal. KVSQL_CORRUPT,
 * KVSQL_IO, KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc kv_page_file_open(struct kv_page_file *file,
                                       const struct kv_os *os, int fd,
                                       const char *path, bool *known,
                                       struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void kv_page_file_fini(struct kv_page_file *file);

/* `columns`: how many values of a row are wanted; those that it lacks are NULL,
 * the others are not looked at. */
KV_INTERNAL void kv_page_cursor_init(struct kv_page_cursor *cursor,
                                     struct kv_page_file *file, uint32_t root,
                                     unsigned columns);
/* The next row, or !at_row behind the last. A REAL that is no number is NULL, as
 * SQLite has it; whole ones of a column REAL come as INT. KVSQL_CORRUPT: this is
 * no table, which the caller says; KVSQL_IO, KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc kv_page_cursor_next(struct kv_page_cursor *cursor,
                                         struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void kv_page_cursor_fini(struct kv_page_cursor *cursor);

#endif
