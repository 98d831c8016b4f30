/* fuzz_pages.c - a b-tree of an SQLite file that somebody has worked on, read
 * as pages (PR1, PR3): it is refused, or gives rows; and where SQLite reads it to
 * its end, too, the same ones.
 *
 * A good file is made once, of small pages: rows of all sizes, inner pages,
 * overflow pages. The input is places and bytes to put there: u24 place, u8
 * byte. Places with the highest bit are those of pages' heads. */
#include <sqlite3.h>

#include "kvsql/pages_read.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/fuzz.h"

#define COLUMNS 4
#define PAGE_SIZE 512
#define HEAD_SIZE 32 /* of a page: its header, places of cells */
#define ROWS_MAX 600 /* there are 300: a row may be there again and again */

static struct fakeos *fake;
static uint8_t *good;
static sqlite3_int64 good_size;
static uint32_t root;

static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt;

    FUZZ_CHECK(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
               sqlite3_step(stmt) == SQLITE_ROW);
    const int64_t number = sqlite3_column_int64(stmt, 0);
    FUZZ_CHECK(sqlite3_finalize(stmt) == SQLITE_OK);
    return number;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char sql[] =
        "PRAGMA page_size = 512; CREATE TABLE t(k TEXT PRIMARY KEY, a, b, c) "
        "WITHOUT ROWID; WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 300) INSERT INTO t SELECT printf('%04d', i), i * i * i * i "
        "- 1000000, CASE i % 3 WHEN 0 THEN i / 7.0 WHEN 1 THEN NULL ELSE 'x' "
        "END, CASE WHEN i % 40 = 0 THEN zeroblob(i * 9) ELSE printf('%.*c', i "
        "% 90, 'y') END FROM n";
    sqlite3 *db;
    int dir;

    (void)argc;
    (void)argv;
    fuzz_quiet();
    fake = fakeos_new(1);
    const struct kv_os *os = fakeos_os(fake);
    FUZZ_CHECK(os->dir_open(os->arg, "data", true, &dir) == 0);
    os->dir_close(os->arg, dir);
    FUZZ_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    FUZZ_CHECK(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
    root = (uint32_t)ask(db, "SELECT rootpage FROM sqlite_master");
    good = sqlite3_serialize(db, "main", &good_size, 0);
    FUZZ_CHECK(good != NULL && good_size > 40 * PAGE_SIZE);
    (void)sqlite3_close(db);
    return 0;
}

static bool same_value(const struct kv_page_value *mine, sqlite3_value *theirs)
{
    const int type = sqlite3_value_type(theirs);
    const void *p;
    double real;

    switch (mine->kind) {
    case KV_PAGE_NULL: return type == SQLITE_NULL;
    case KV_PAGE_INT:
        return type == SQLITE_INTEGER &&
               sqlite3_value_int64(theirs) == mine->number;
    case KV_PAGE_REAL:
    case KV_PAGE_SCORE:
        real = sqlite3_value_double(theirs);
        return type == SQLITE_FLOAT && memcmp(&real, &mine->real, 8) == 0;
    case KV_PAGE_BLOB:
    case KV_PAGE_TEXT: break;
    }
    p = sqlite3_value_blob(theirs);
    return type == (mine->kind == KV_PAGE_TEXT ? SQLITE_TEXT : SQLITE_BLOB) &&
           sqlite3_value_bytes(theirs) == (int)mine->size &&
           (mine->size == 0 || memcmp(p, mine->p, mine->size) == 0);
}

/* The values are all there, and those that SQLite has, if it has a row. */
static void check_row(const struct kv_page_cursor *cursor, sqlite3_stmt *stmt)
{
    for (int i = 0; i < COLUMNS; i++) {
        const struct kv_page_value *const value = &cursor->values[i];
        if (value->kind >= KV_PAGE_BLOB)
            free(fuzz_copy(value->p, value->size));
        FUZZ_CHECK(stmt == NULL ||
                   same_value(value, sqlite3_column_value(stmt, i)));
    }
}

/* Read side by side, as long as SQLite can (`db` is not NULL). */
static void read_both(sqlite3 *db, struct kv_page_file *file)
{
    struct kv_page_cursor cursor;
    struct kvsql_error err;
    sqlite3_stmt *stmt = NULL;
    kvsql_rc rc = KVSQL_OK;
    int code = SQLITE_ERROR;

    if (db != NULL)
        code = sqlite3_prepare_v2(db, "SELECT k, a, b, c FROM t", -1, &stmt,
                                  NULL) == SQLITE_OK
                   ? SQLITE_ROW
                   : SQLITE_ERROR;
    kv_page_cursor_init(&cursor, file, root, COLUMNS);
    for (unsigned n = 0; n < ROWS_MAX; n++) {
        rc = kv_page_cursor_next(&cursor, &err);
        if (code == SQLITE_ROW)
            code = sqlite3_step(stmt);
        if (rc != KVSQL_OK)
            break;
        FUZZ_CHECK(code != SQLITE_ROW || cursor.at_row);
        FUZZ_CHECK(code != SQLITE_DONE || !cursor.at_row);
        if (!cursor.at_row)
            break;
        check_row(&cursor, code == SQLITE_ROW ? stmt : NULL);
    }
    FUZZ_CHECK(rc == KVSQL_OK || rc == KVSQL_CORRUPT);
    kv_page_cursor_fini(&cursor);
    (void)sqlite3_finalize(stmt);
}

/* A connection that reads the bytes, of which it takes a copy. */
static sqlite3 *db_of(const uint8_t *bytes)
{
    uint8_t *const copy = sqlite3_malloc64((uint64_t)good_size);
    sqlite3 *db;

    FUZZ_CHECK(copy != NULL);
    memcpy(copy, bytes, (size_t)good_size);
    FUZZ_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    FUZZ_CHECK(sqlite3_deserialize(db, "main", copy, good_size, good_size,
                                   SQLITE_DESERIALIZE_FREEONCLOSE |
                                       SQLITE_DESERIALIZE_READONLY) ==
               SQLITE_OK);
    (void)sqlite3_exec(db, "PRAGMA cell_size_check = 1", NULL, NULL, NULL);
    return db;
}

static size_t place_of(struct fuzz_input *input)
{
    size_t place = fuzz_byte(input);

    place = place << 8 | fuzz_byte(input);
    place = place << 8 | fuzz_byte(input);
    if (place >> 23)
        place = place / HEAD_SIZE * PAGE_SIZE + place % HEAD_SIZE;
    return place % (size_t)good_size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint8_t *const bytes = fuzz_copy(good, (size_t)good_size);
    const struct kv_os *os = fakeos_os(fake);
    struct kv_page_file file;
    struct kvsql_error err;
    bool known, schema = true; /* is SQLite's as it was? */
    int dir, fd;

    while (input.size >= 4) {
        const size_t place = place_of(&input);
        bytes[place] = fuzz_byte(&input);
        schema &= place >= PAGE_SIZE;
    }
    FUZZ_CHECK(
        fakeos_poke(fake, "data/t.db", bytes, (size_t)good_size, 0));
    FUZZ_CHECK(fakeos_resize(fake, "data/t.db", (size_t)good_size));
    FUZZ_CHECK(os->dir_open(os->arg, "data", false, &dir) == 0);
    FUZZ_CHECK(os->open(os->arg, dir, "t.db", KV_OS_READ, &fd) == 0);
    os->dir_close(os->arg, dir);
    FUZZ_CHECK(kv_page_file_open(&file, os, fd, "t.db", &known, &err) ==
               KVSQL_OK);
    sqlite3 *const db = db_of(bytes);
    if (known)
        read_both(schema ? db : NULL, &file);
    (void)sqlite3_close(db);
    kv_page_file_fini(&file);
    FUZZ_CHECK(fakeos_open_handles(fake) == 0);
    free(bytes);
    return 0;
}
