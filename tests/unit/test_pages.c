/* test_pages.c - does SQLite read what was written as pages just as it reads
 * what it wrote itself, find it sound, and go on writing into it?
 *
 * A file has two tables of the same columns: `theirs` was filled by INSERT,
 * `mine` as pages. They are read side by side, value by value, and each row of
 * `mine` is looked up by its key, too, which goes through the inner pages. And
 * both are read as pages (pages_read.h), which gives the rows that were put. */
#include "kvsql/pages_read.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvsql/base/mem.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define FILE_NAME "t.db"
#define ROWS_MAX 5000
#define COLUMNS 4
#define BYTES_MAX (64u << 20)

/* ---- fixture: a directory, rows in memory --------------------------------- */

static char dir[64];
static struct kvsql_error err;
static struct kv_os os; /* the real one, or with calls that fail */

static struct row {
    struct kv_page_value values[COLUMNS];
} rows[ROWS_MAX];
static unsigned row_count;
static uint8_t *bytes; /* of the values */
static size_t bytes_used;

static int no_sync(void *arg, int file)
{
    (void)arg;
    (void)file;
    return 0;
}

static void set_up(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/test_pages.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
    os = *kv_os_real();
    os.sync = no_sync;
    bytes = malloc(BYTES_MAX);
    ck_assert_ptr_nonnull(bytes);
    bytes_used = row_count = 0;
}

static void tear_down(void)
{
    char command[128];

    free(bytes);
    ck_assert_int_eq(chdir("/"), 0);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static struct kv_page_value number_of(int64_t number)
{
    return (struct kv_page_value){.kind = KV_PAGE_INT, .number = number};
}

static struct kv_page_value real_of(double real)
{
    return (struct kv_page_value){.kind = KV_PAGE_REAL, .real = real};
}

/* Bytes that tell their place: letters as TEXT, with zeroes and high ones as
 * BLOB. */
static struct kv_page_value bytes_of(enum kv_page_kind kind, size_t size)
{
    uint8_t *const p = bytes + bytes_used;

    ck_assert_uint_le(bytes_used + size, BYTES_MAX);
    for (size_t i = 0; i < size; i++)
        p[i] = (uint8_t)(kind == KV_PAGE_TEXT ? 'a' + (i * 7 + i / 251) % 26
                                              : i * 31 + i / 256);
    bytes_used += size;
    return (struct kv_page_value){
        .kind = kind, .size = (uint32_t)size, .p = p};
}

/* Number `n` as text that is in order, and `more` bytes. */
static struct kv_page_value key_of(unsigned n, size_t more)
{
    char text[12];
    const struct kv_page_value key = bytes_of(KV_PAGE_TEXT, 8 + more);

    (void)snprintf(text, sizeof text, "%08u", n);
    memcpy(bytes + bytes_used - key.size, text, 8);
    return key;
}

static struct row *row_add(struct kv_page_value key)
{
    struct row *const row = &rows[row_count++];

    ck_assert_uint_le(row_count, ROWS_MAX);
    memset(row, 0, sizeof *row); /* KV_PAGE_NULL */
    row->values[0] = key;
    return row;
}

/* ---- SQLite's side ----------------------------------------------------------- */

static const char plain_columns[] =
    "(k PRIMARY KEY, a, b, c) WITHOUT ROWID";

static sqlite3 *db_open(void)
{
    sqlite3 *db;

    ck_assert_int_eq(sqlite3_open(FILE_NAME, &db), SQLITE_OK);
    return db;
}

static void db_do(sqlite3 *db, const char *sql)
{
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK,
                  "%s: %s", sql, sqlite3_errmsg(db));
}

static const char *db_ask(sqlite3 *db, const char *sql)
{
    static char answer[512];
    sqlite3_stmt *stmt;

    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK,
                  "%s: %s", sql, sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
    (void)snprintf(answer, sizeof answer, "%s",
                   (const char *)sqlite3_column_text(stmt, 0));
    (void)sqlite3_finalize(stmt);
    return answer;
}

static int64_t db_count(sqlite3 *db, const char *sql)
{
    return strtoll(db_ask(db, sql), NULL, 10);
}

static void db_bind(sqlite3_stmt *stmt, int index,
                    const struct kv_page_value *value)
{
    int code = SQLITE_OK;

    switch (value->kind) {
    case KV_PAGE_NULL: code = sqlite3_bind_null(stmt, index); break;
    case KV_PAGE_INT:
        code = sqlite3_bind_int64(stmt, index, value->number);
        break;
    case KV_PAGE_REAL:
    case KV_PAGE_SCORE:
        code = sqlite3_bind_double(stmt, index, value->real);
        break;
    case KV_PAGE_BLOB:
        code = sqlite3_bind_blob(stmt, index, value->p, (int)value->size,
                                 SQLITE_STATIC);
        break;
    case KV_PAGE_TEXT:
        code = sqlite3_bind_text(stmt, index, value->p, (int)value->size,
                                 SQLITE_STATIC);
        break;
    }
    ck_assert_int_eq(code, SQLITE_OK);
}

static void db_insert(sqlite3 *db)
{
    sqlite3_stmt *stmt;

    ck_assert_int_eq(sqlite3_prepare_v2(db, "INSERT INTO theirs VALUES"
                                            "(?1, ?2, ?3, ?4)",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    for (unsigned i = 0; i < row_count; i++) {
        for (int j = 0; j < COLUMNS; j++)
            db_bind(stmt, j + 1, &rows[i].values[j]);
        ck_assert_int_eq(sqlite3_step(stmt), SQLITE_DONE);
        (void)sqlite3_reset(stmt);
    }
    (void)sqlite3_finalize(stmt);
}

/* The file with both tables, `theirs` filled by SQLite. */
static void db_make(int page_size, int reserve, const char *columns)
{
    char sql[512];

    (void)unlink(FILE_NAME);
    sqlite3 *const db = db_open();

    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES,
                               &reserve);
    (void)snprintf(sql, sizeof sql,
                   "PRAGMA page_size = %d; PRAGMA journal_mode = OFF;"
                   "PRAGMA synchronous = OFF; BEGIN;"
                   "CREATE TABLE theirs%s; CREATE TABLE mine%s",
                   page_size, columns, columns);
    db_do(db, sql);
    if (row_count > 0)
        db_insert(db);
    db_do(db, "COMMIT");
    (void)sqlite3_close(db);
}

static uint32_t db_root(const char *name)
{
    char sql[128];
    sqlite3 *const db = db_open();

    (void)snprintf(sql, sizeof sql,
                   "SELECT rootpage FROM sqlite_master WHERE name = '%s'",
                   name);
    const uint32_t root = (uint32_t)db_count(db, sql);
    (void)sqlite3_close(db);
    return root;
}

/* ---- our side ---------------------------------------------------------------- */

static struct kv_pages pages;
static struct kv_page_tree tree;

static kvsql_rc pages_begin(void)
{
    int here, file = -1;

    ck_assert_int_eq(os.dir_open(os.arg, ".", false, &here), 0);
    ck_assert_int_eq(os.open(os.arg, here, FILE_NAME, KV_OS_WRITE, &file), 0);
    os.dir_close(os.arg, here);
    return kv_pages_open(&pages, &os, file, FILE_NAME, &err);
}

/* Rows, end, header; *height is that of the tree. */
static kvsql_rc pages_fill(uint32_t root, unsigned *height)
{
    uint64_t size = 0;
    kvsql_rc rc = KVSQL_OK;

    kv_page_tree_init(&tree, &pages, root);
    for (unsigned i = 0; rc == KVSQL_OK && i < row_count; i++)
        rc = kv_page_tree_row(&tree, rows[i].values, COLUMNS, &err);
    if (rc == KVSQL_OK)
        rc = kv_page_tree_end(&tree, &err);
    if (rc == KVSQL_OK) {
        ck_assert_uint_eq(tree.rows, row_count);
        rc = kv_pages_finish(&pages, &size, &err);
    }
    *height = tree.height;
    kv_page_tree_fini(&tree);
    return rc;
}

/* Fill `mine`; its height. */
static unsigned mine_write(void)
{
    const uint32_t root = db_root("mine");
    unsigned height = 0;

    ck_assert_msg(pages_begin() == KVSQL_OK, "%s", err.text);
    ck_assert_msg(pages_fill(root, &height) == KVSQL_OK, "%s", err.text);
    kv_pages_fini(&pages);
    return height;
}

/* ---- comparing --------------------------------------------------------------- */

static void same_values(sqlite3_stmt *a, sqlite3_stmt *b, unsigned row)
{
    for (int i = 0; i < COLUMNS; i++) {
        const int type = sqlite3_column_type(a, i);
        const void *const p = sqlite3_column_blob(a, i);
        const void *const q = sqlite3_column_blob(b, i);
        const int size = sqlite3_column_bytes(a, i);
        ck_assert_msg(type == sqlite3_column_type(b, i) &&
                          size == sqlite3_column_bytes(b, i) &&
                          (size == 0 || memcmp(p, q, (size_t)size) == 0),
                      "row %u, column %d", row, i);
    }
}

static void db_same(sqlite3 *db)
{
    sqlite3_stmt *theirs, *mine, *found;
    unsigned n = 0;

    ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT * FROM theirs ORDER BY k",
                                        -1, &theirs, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT * FROM mine ORDER BY k",
                                        -1, &mine, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT * FROM mine WHERE k = ?1",
                                        -1, &found, NULL), SQLITE_OK);
    while (sqlite3_step(theirs) == SQLITE_ROW) {
        ck_assert_int_eq(sqlite3_step(mine), SQLITE_ROW);
        same_values(theirs, mine, n);
        (void)sqlite3_bind_value(found, 1, sqlite3_column_value(theirs, 0));
        ck_assert_int_eq(sqlite3_step(found), SQLITE_ROW);
        same_values(theirs, found, n++);
        (void)sqlite3_reset(found);
    }
    ck_assert_int_eq(sqlite3_step(mine), SQLITE_DONE);
    ck_assert_uint_eq(n, row_count);
    (void)sqlite3_finalize(theirs);
    (void)sqlite3_finalize(mine);
    (void)sqlite3_finalize(found);
}

static void db_sound(sqlite3 *db)
{
    ck_assert_str_eq(db_ask(db, "PRAGMA integrity_check"), "ok");
    ck_assert_str_eq(db_ask(db, "PRAGMA quick_check"), "ok");
}

static bool same_value(const struct kv_page_value *put,
                       const struct kv_page_value *got)
{
    switch (put->kind) {
    case KV_PAGE_NULL: return got->kind == KV_PAGE_NULL;
    case KV_PAGE_INT:
        return got->kind == KV_PAGE_INT && got->number == put->number;
    case KV_PAGE_SCORE: /* of a column REAL, which the reader does not know */
        if (got->kind == KV_PAGE_INT)
            return (double)got->number == put->real;
        return got->kind == KV_PAGE_REAL && got->real == put->real;
    case KV_PAGE_REAL:
        return got->kind == KV_PAGE_REAL &&
               memcmp(&got->real, &put->real, sizeof(double)) == 0;
    case KV_PAGE_BLOB:
    case KV_PAGE_TEXT: break;
    }
    return got->kind == put->kind && got->size == put->size &&
           (put->size == 0 || memcmp(got->p, put->p, put->size) == 0);
}

static kvsql_rc read_begin(struct kv_page_file *file, bool *known)
{
    int here, fd = -1;

    ck_assert_int_eq(os.dir_open(os.arg, ".", false, &here), 0);
    ck_assert_int_eq(os.open(os.arg, here, FILE_NAME, KV_OS_READ, &fd), 0);
    os.dir_close(os.arg, here);
    return kv_page_file_open(file, &os, fd, FILE_NAME, known, &err);
}

/* The rows of a table, of which the first `columns` values are looked at. */
static kvsql_rc read_table(uint32_t root, unsigned columns)
{
    struct kv_page_cursor cursor;
    struct kv_page_file file;
    bool known;
    kvsql_rc rc = read_begin(&file, &known);

    if (rc != KVSQL_OK) {
        kv_page_file_fini(&file);
        return rc;
    }
    ck_assert(known);
    kv_page_cursor_init(&cursor, &file, root, columns);
    for (unsigned i = 0; rc == KVSQL_OK && i <= row_count; i++) {
        rc = kv_page_cursor_next(&cursor, &err);
        if (rc != KVSQL_OK)
            break;
        ck_assert_int_eq(cursor.at_row, i < row_count);
        for (unsigned j = 0; j < columns && i < row_count; j++)
            ck_assert_msg(same_value(&rows[i].values[j], &cursor.values[j]),
                          "row %u, column %u", i, j);
    }
    if (rc == KVSQL_OK)
        ck_assert_uint_eq(cursor.rows, row_count);
    kv_page_cursor_fini(&cursor);
    kv_page_file_fini(&file);
    return rc;
}

static void check_read(void)
{
    ck_assert_int_eq(read_table(db_root("mine"), COLUMNS), KVSQL_OK);
    ck_assert_int_eq(read_table(db_root("theirs"), COLUMNS), KVSQL_OK);
    ck_assert_int_eq(read_table(db_root("mine"), 1), KVSQL_OK);
}

/* Both tables agree, the file is sound, and stays so when SQLite takes out and
 * puts in every third row. */
static void check_file(void)
{
    sqlite3 *const db = db_open();

    db_do(db, "PRAGMA cell_size_check = 1; PRAGMA synchronous = OFF");
    db_sound(db);
    db_same(db);
    db_do(db, "CREATE TEMP TABLE third AS SELECT k FROM (SELECT k, row_number() "
              "OVER (ORDER BY k) AS n FROM theirs) WHERE n % 3 = 0;"
              "DELETE FROM mine WHERE k IN (SELECT k FROM third)");
    db_sound(db);
    db_do(db, "INSERT INTO mine SELECT * FROM theirs WHERE k IN "
              "(SELECT k FROM third)");
    db_sound(db);
    db_same(db);
    (void)sqlite3_close(db);
}

static unsigned check_rows(int page_size, int reserve, const char *columns)
{
    db_make(page_size, reserve, columns);
    const unsigned height = mine_write();

    check_read();
    check_file();
    check_read();
    return height;
}

/* ---- tests ------------------------------------------------------------------- */

static const int page_sizes[] = {512, 1024, 4096, 65536};

START_TEST(a_table_without_rows_is_as_it_was)
{
    ck_assert_uint_eq(check_rows(page_sizes[_i], 0, plain_columns), 0);
    sqlite3 *const db = db_open();
    db_do(db, "INSERT INTO mine VALUES(1, 2, 3, 4)");
    db_sound(db);
    ck_assert_str_eq(db_ask(db, "SELECT k||a||b||c FROM mine"), "1234");
    (void)sqlite3_close(db);
}
END_TEST

START_TEST(every_kind_of_value_comes_back)
{
    static const int64_t numbers[] = {
        0, 1, 2, -1, 127, 128, -128, -129, 32767, 32768, -32768, -32769,
        8388607, 8388608, -8388608, -8388609, 2147483647, 2147483648,
        -2147483648, -2147483649, 140737488355327, 140737488355328,
        -140737488355328, -140737488355329, INT64_MAX, INT64_MIN};
    static const double reals[] = {0.0, -0.0, 1.0, -1.5, 1e300, 5e-324,
                                   INFINITY, -INFINITY, 140737488355328.0};
    const size_t number_count = sizeof numbers / sizeof *numbers;
    const size_t real_count = sizeof reals / sizeof *reals;

    for (unsigned i = 0; i < number_count * real_count; i++) {
        struct row *const row = row_add(key_of(i, 0));
        row->values[1] = number_of(numbers[i % number_count]);
        row->values[2] = real_of(reals[i % real_count]);
        if (i % 3 != 0)
            row->values[3] =
                bytes_of(i % 3 == 1 ? KV_PAGE_TEXT : KV_PAGE_BLOB, i % 70);
    }
    (void)check_rows(page_sizes[_i], 0, plain_columns);
}
END_TEST

/* A column REAL keeps whole numbers as integers, and gives them as REAL. */
START_TEST(whole_scores_are_kept_as_sqlite_keeps_them)
{
    static const double scores[] = {
        0.0, -0.0, 1, 2, -1, 0.5, 127, 128, 1e15, 140737488355327.0,
        140737488355328.0, -140737488355328.0, -140737488355329.0, 1e300,
        -1e300, INFINITY, -INFINITY};

    for (unsigned i = 0; i < sizeof scores / sizeof *scores; i++)
        row_add(key_of(i, 0))->values[1] = (struct kv_page_value){
            .kind = KV_PAGE_SCORE, .real = scores[i]};
    (void)check_rows(1024, 0, "(k PRIMARY KEY, a REAL, b, c) WITHOUT ROWID");
    sqlite3 *const db = db_open(); /* the same bytes, page for page? */
    ck_assert_str_eq(db_ask(db, "SELECT group_concat(typeof(a)) FROM mine "
                                "WHERE k < '00000003'"), "real,real,real");
    (void)sqlite3_close(db);
}
END_TEST

/* Sizes of a row around what fits into its cell, and around what an overflow
 * page takes: one row each, and among others. */
START_TEST(rows_of_every_size_around_the_limits_come_back)
{
    const int page_size = page_sizes[_i % 4], reserve = _i < 4 ? 0 : 32;
    const unsigned usable = (unsigned)(page_size - reserve);
    const unsigned most = (usable - 12) * 64 / 255 - 23;
    const unsigned least = (usable - 12) * 32 / 255 - 23;
    const unsigned around[] = {least, most, most + 8, usable - 4, usable,
                               least + usable - 4, most + usable - 4,
                               least + 2 * (usable - 4), 3 * usable};
    unsigned n = 0;

    for (size_t i = 0; i < sizeof around / sizeof *around; i++)
        for (unsigned size = around[i] - 20; size < around[i] + 6; size++) {
            struct row *const row = row_add(key_of(n, 0));
            row->values[1] = bytes_of(n % 2 ? KV_PAGE_TEXT : KV_PAGE_BLOB,
                                      size > 14 ? size - 14 : 0);
            if (n++ % 5 == 0) /* numbers behind the border of a page */
                row->values[3] = number_of(INT64_MIN + n);
        }
    (void)check_rows(page_size, reserve, plain_columns);
}
END_TEST

START_TEST(large_values_come_back)
{
    static const size_t sizes[] = {1, 100, 4095, 4096, 4097, 65536, 262144,
                                   262145, 1048576, 3000000};

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct row *const row = row_add(key_of(i, i % 2 ? sizes[i] : 0));
        row->values[1] = bytes_of(KV_PAGE_BLOB, sizes[i]);
        row->values[2] = number_of(i);
        row->values[3] = bytes_of(KV_PAGE_TEXT, i);
    }
    (void)check_rows(page_sizes[_i], 0, plain_columns);
}
END_TEST

/* Numbers of rows, close together: each page has been the last one, full and
 * with a row that waits, on each level. */
START_TEST(any_number_of_rows_makes_a_sound_tree)
{
    static const struct {
        unsigned size, most, height;
    } shapes[] = {{20, 700, 3}, {84, 900, 5}, {300, 400, 3}, {4, 2000, 3}};
    const unsigned most = shapes[_i].most;
    unsigned height = 0;

    for (unsigned n = 1; n <= most; n += 1 + n / 90) {
        bytes_used = row_count = 0;
        for (unsigned i = 0; i < n; i++)
            row_add(key_of(i, 0))->values[1] =
                bytes_of(KV_PAGE_TEXT, shapes[_i].size);
        db_make(512, 0, plain_columns);
        height = mine_write();
        sqlite3 *const db = db_open();
        ck_assert_str_eq(db_ask(db, "PRAGMA integrity_check"), "ok");
        db_same(db);
        (void)sqlite3_close(db);
    }
    ck_assert_uint_ge(height, shapes[_i].height);
    check_file();
}
END_TEST

/* A row of two bytes has a cell of four in a leaf, and an exact one above. */
START_TEST(the_smallest_row_is_sound_wherever_it_stands)
{
    for (int before = 0; before < 300; before++) {
        uint64_t size;
        bytes_used = 0;
        db_make(512, 0, "(k PRIMARY KEY) WITHOUT ROWID");
        const uint32_t root = db_root("mine");
        ck_assert_int_eq(pages_begin(), KVSQL_OK);
        kv_page_tree_init(&tree, &pages, root);
        for (int i = -before; i < 6; i++) { /* ..., 0, 1, '', then text */
            const struct kv_page_value value =
                i < 2 ? number_of(i)
                      : bytes_of(KV_PAGE_TEXT, i == 2 ? 0 : (size_t)i + 60);
            ck_assert_int_eq(kv_page_tree_row(&tree, &value, 1, &err),
                             KVSQL_OK);
        }
        ck_assert_int_eq(kv_page_tree_end(&tree, &err), KVSQL_OK);
        ck_assert_int_eq(kv_pages_finish(&pages, &size, &err), KVSQL_OK);
        kv_page_tree_fini(&tree);
        kv_pages_fini(&pages);
        sqlite3 *const db = db_open();
        db_sound(db);
        ck_assert_int_eq(db_count(db, "SELECT count(*) FROM mine"),
                         before + 6);
        (void)sqlite3_close(db);
    }
}
END_TEST

static struct kv_page_value random_value(struct rand_state *rand,
                                         unsigned page_size)
{
    static const int64_t near[] = {0, 1, 128, 32768, 8388608, 2147483648};

    switch (rand_below(rand, 8)) {
    case 0: return (struct kv_page_value){.kind = KV_PAGE_NULL};
    case 1:
        return number_of(near[rand_below(rand, 6)] *
                             (rand_one_in(rand, 2) ? 1 : -1) -
                         (int64_t)rand_below(rand, 2));
    case 2: return number_of((int64_t)rand_next(rand) >> rand_below(rand, 64));
    case 3: return real_of((double)rand_next(rand) / 1e9);
    case 4: return bytes_of(KV_PAGE_BLOB, rand_below(rand, 3 * page_size));
    case 5: return bytes_of(KV_PAGE_TEXT, rand_below(rand, page_size / 4));
    default: return bytes_of(KV_PAGE_TEXT, rand_below(rand, 60));
    }
}

START_TEST(random_tables_are_those_that_sqlite_makes)
{
    struct rand_state rand =
        rand_of(rand_seed("pages", 21 + (unsigned)_i));

    for (int round = 0; round < 12; round++) {
        const int page_size = page_sizes[rand_below(&rand, 3)];
        const unsigned count = (unsigned)rand_below(&rand, 1200);
        bytes_used = row_count = 0;
        for (unsigned i = 0; i < count; i++) {
            const size_t more = rand_one_in(&rand, 4) ? rand_below(&rand, 900)
                                                      : rand_below(&rand, 9);
            struct row *const row = row_add(key_of(i, more));
            for (int j = 1; j < COLUMNS; j++)
                row->values[j] = random_value(&rand, (unsigned)page_size);
        }
        (void)check_rows(page_size, rand_one_in(&rand, 3) ? 16 : 0,
                         plain_columns);
    }
}
END_TEST

/* Trees that grow side by side, as those of a snapshot do: a table, and an
 * index over it. */
START_TEST(tables_and_indexes_grow_side_by_side)
{
    struct kv_page_tree index;
    uint64_t size;

    for (unsigned i = 0; i < 3000; i++) {
        struct row *const row = row_add(key_of(i, 0));
        row->values[1] = number_of(i / 7);
        row->values[2] = bytes_of(KV_PAGE_TEXT, i % 30);
    }
    db_make(1024, 0, plain_columns);
    sqlite3 *db = db_open();
    db_do(db, "CREATE INDEX a ON mine(a, k)");
    (void)sqlite3_close(db);
    const uint32_t root = db_root("mine"), other = db_root("a");
    ck_assert_int_eq(pages_begin(), KVSQL_OK);
    kv_page_tree_init(&tree, &pages, root);
    kv_page_tree_init(&index, &pages, other);
    for (unsigned i = 0; i < row_count; i++) {
        const struct kv_page_value entry[] = {rows[i].values[1],
                                              rows[i].values[0]};
        ck_assert_int_eq(
            kv_page_tree_row(&tree, rows[i].values, COLUMNS, &err), KVSQL_OK);
        ck_assert_int_eq(kv_page_tree_row(&index, entry, 2, &err), KVSQL_OK);
    }
    ck_assert_int_eq(kv_page_tree_end(&index, &err), KVSQL_OK);
    ck_assert_int_eq(kv_page_tree_end(&tree, &err), KVSQL_OK);
    ck_assert_int_eq(kv_pages_finish(&pages, &size, &err), KVSQL_OK);
    kv_page_tree_fini(&tree);
    kv_page_tree_fini(&index);
    kv_pages_fini(&pages);
    db = db_open();
    ck_assert_str_eq(db_ask(db, "SELECT group_concat(k+0) FROM mine "
                                "INDEXED BY a WHERE a = 300"),
                     "2100,2101,2102,2103,2104,2105,2106");
    (void)sqlite3_close(db);
    check_file();
}
END_TEST

/* PG2: SQLite locks a byte of the file, and never uses the page it is in. */
START_TEST(the_page_of_the_lock_is_left_out)
{
    const uint32_t lock_byte = 65536;
    unsigned height;

    (void)sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, lock_byte);
    for (unsigned i = 0; i < 100; i++)
        row_add(key_of(i, 0))->values[1] = /* once within a chain, once not */
            bytes_of(KV_PAGE_BLOB, _i == 0 ? 3000 : 700);
    db_make(1024, 0, plain_columns);
    sqlite3 *db = db_open();
    db_do(db, "DELETE FROM theirs; VACUUM");
    (void)sqlite3_close(db);
    const uint32_t root = db_root("mine");
    ck_assert_int_eq(pages_begin(), KVSQL_OK);
    ck_assert_uint_eq(pages.lock_page, (1u << 30) / 1024 + 1);
    pages.lock_page = lock_byte / 1024 + 1;
    ck_assert_uint_lt(pages.count, pages.lock_page);
    ck_assert_int_eq(pages_fill(root, &height), KVSQL_OK);
    ck_assert_uint_gt(pages.count, pages.lock_page);
    kv_pages_fini(&pages);
    db = db_open();
    db_sound(db);
    ck_assert_str_eq(db_ask(db, "SELECT sum(length(a)) FROM mine"),
                     _i == 0 ? "300000" : "70000");
    (void)sqlite3_close(db);
    (void)sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, 1 << 30);
}
END_TEST

START_TEST(a_row_that_sqlite_would_not_read_is_refused_alone)
{
    const struct kv_page_value large[COLUMNS] = {
        {.kind = KV_PAGE_TEXT, .size = KV_PAGE_ROW_MAX / 2, .p = "unread"},
        {.kind = KV_PAGE_TEXT, .size = KV_PAGE_ROW_MAX / 2, .p = "unread"}};
    uint64_t size;

    row_add(key_of(1, 0))->values[1] = number_of(7);
    db_make(4096, 0, plain_columns);
    const uint32_t root = db_root("mine");
    ck_assert_int_eq(pages_begin(), KVSQL_OK);
    kv_page_tree_init(&tree, &pages, root);
    ck_assert_int_eq(kv_page_tree_row(&tree, large, COLUMNS, &err),
                     KVSQL_TOOBIG);
    ck_assert_uint_eq(tree.rows, 0);
    ck_assert_int_eq(kv_page_tree_row(&tree, rows[0].values, COLUMNS, &err),
                     KVSQL_OK);
    ck_assert_int_eq(kv_page_tree_row(&tree, large, COLUMNS, &err),
                     KVSQL_TOOBIG);
    ck_assert_int_eq(kv_page_tree_end(&tree, &err), KVSQL_OK);
    ck_assert_int_eq(kv_pages_finish(&pages, &size, &err), KVSQL_OK);
    kv_page_tree_fini(&tree);
    kv_pages_fini(&pages);
    check_file();
}
END_TEST

START_TEST(a_file_that_is_not_as_sqlite_made_it_is_not_gone_on_with)
{
    static const char *const strangers[] = {
        "PRAGMA auto_vacuum = FULL; CREATE TABLE t(a)",
        "PRAGMA encoding = 'UTF-16'; CREATE TABLE t(a)",
        "CREATE TABLE t(a); PRAGMA journal_mode = WAL", ""};

    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        (void)unlink(FILE_NAME);
        sqlite3 *const db = db_open();
        db_do(db, strangers[i]);
        (void)sqlite3_close(db);
        (void)fclose(fopen(FILE_NAME, "ab"));
        ck_assert_int_eq(pages_begin(), KVSQL_CORRUPT);
        ck_assert_ptr_nonnull(strstr(err.text, FILE_NAME));
        kv_pages_fini(&pages);
    }
    db_make(4096, 0, plain_columns);
    ck_assert_int_eq(truncate(FILE_NAME, 4096 + 100), 0);
    ck_assert_int_eq(pages_begin(), KVSQL_CORRUPT);
    kv_pages_fini(&pages);
}
END_TEST

/* ---- faults ---------------------------------------------------------------------- */

static unsigned fail_in; /* 0: never */
static int fail_with;
static bool fail_fired;

static bool fails(void)
{
    if (fail_in == 0 || --fail_in > 0)
        return false;
    return fail_fired = true;
}

static int64_t failing_read(void *arg, int file, void *p, size_t size,
                            uint64_t at)
{
    return fails() ? -fail_with
                   : kv_os_real()->read_at(arg, file, p, size, at);
}

static int64_t failing_write(void *arg, int file, const void *p, size_t size,
                             uint64_t at)
{
    return fails() ? -fail_with
                   : kv_os_real()->write_at(arg, file, p, size, at);
}

static int64_t failing_size(void *arg, int file)
{
    return fails() ? -fail_with : kv_os_real()->size(arg, file);
}

static int failing_sync(void *arg, int file)
{
    return fails() ? -fail_with : kv_os_real()->sync(arg, file);
}

static void rows_of_faults(void)
{
    for (unsigned i = 0; i < 1500; i++)
        row_add(key_of(i, 0))->values[1] =
            bytes_of(KV_PAGE_TEXT, i % 100 == 0 ? 20000 : i % 200);
}

START_TEST(a_call_that_fails_is_told_and_nothing_is_left_open)
{
    static const struct {
        int number;
        kvsql_rc rc;
    } faults[] = {{ENOSPC, KVSQL_FULL}, {EIO, KVSQL_IO}, {EDQUOT, KVSQL_FULL}};
    const uint64_t before = kv_mem_bytes(KV_MEM_MISC);
    kvsql_rc rc = KVSQL_IO;
    unsigned n = 0, height;

    os.read_at = failing_read;
    os.write_at = failing_write;
    os.size = failing_size;
    os.sync = failing_sync;
    fail_with = faults[_i].number;
    rows_of_faults();
    db_make(4096, 0, plain_columns);
    const uint32_t root = db_root("mine");
    while (rc != KVSQL_OK) {
        bytes_used = row_count = 0;
        rows_of_faults();
        db_make(4096, 0, plain_columns);
        fail_fired = false;
        fail_in = ++n;
        rc = pages_begin();
        if (rc == KVSQL_OK)
            rc = pages_fill(root, &height);
        fail_in = 0;
        kv_pages_fini(&pages);
        ck_assert_int_eq(rc, fail_fired ? faults[_i].rc : KVSQL_OK);
        if (fail_fired)
            ck_assert_ptr_nonnull(strstr(err.text, FILE_NAME));
        ck_assert_uint_eq(kv_mem_bytes(KV_MEM_MISC), before);
    }
    ck_assert_uint_ge(n, 7); /* size, read, two chunks, root, header, sync */
    check_file();
}
END_TEST

START_TEST(no_memory_is_told_and_none_is_lost)
{
    const uint64_t before = kv_mem_bytes(KV_MEM_MISC);
    kvsql_rc rc = KVSQL_NOMEM;
    unsigned n = 0, height;

    rows_of_faults();
    db_make(512, 0, plain_columns);
    const uint32_t root = db_root("mine");
    while (rc != KVSQL_OK) {
        db_make(512, 0, plain_columns);
        kv_mem_fail_at(++n, 0);
        rc = pages_begin();
        if (rc == KVSQL_OK)
            rc = pages_fill(root, &height);
        ck_assert_int_eq(rc, kv_mem_failed() ? KVSQL_NOMEM : KVSQL_OK);
        kv_mem_fail_at(0, 0);
        kv_pages_fini(&pages);
        ck_assert_uint_eq(kv_mem_bytes(KV_MEM_MISC), before);
    }
    ck_assert_uint_ge(n, 4); /* the chunk, and each level */
    check_file();
}
END_TEST

/* What another program may have made of a file. */
START_TEST(a_file_of_another_kind_is_left_to_sqlite)
{
    static const char *const sql[] = {"PRAGMA journal_mode = WAL",
                                      "PRAGMA encoding = 'UTF-16le'"};
    struct kv_page_file file;
    bool known = true;

    for (unsigned i = 0; i < 2; i++) {
        (void)unlink(FILE_NAME);
        sqlite3 *const db = db_open();
        db_do(db, sql[i]);
        db_do(db, "CREATE TABLE u(a)");
        (void)sqlite3_close(db);
        ck_assert_int_eq(read_begin(&file, &known), KVSQL_OK);
        ck_assert(!known);
        kv_page_file_fini(&file);
    }
    ck_assert_int_eq(truncate(FILE_NAME, 50), 0);
    ck_assert_int_eq(read_begin(&file, &known), KVSQL_OK);
    ck_assert(!known);
    kv_page_file_fini(&file);
}
END_TEST

/* A row of fewer columns than are asked for ends with NULL. */
START_TEST(columns_that_a_row_lacks_are_null)
{
    row_add(key_of(1, 0))->values[1] = number_of(7);
    db_make(4096, 0, plain_columns);
    sqlite3 *const db = db_open();
    db_do(db, "DROP TABLE mine; CREATE TABLE mine(k PRIMARY KEY, a) "
              "WITHOUT ROWID; INSERT INTO mine VALUES('00000001', 7)");
    (void)sqlite3_close(db);
    ck_assert_int_eq(read_table(db_root("mine"), COLUMNS), KVSQL_OK);
}
END_TEST

static int64_t reads_left;

static int64_t nth_read_fails(void *arg, int file, void *p, size_t size,
                              uint64_t offset)
{
    return reads_left-- == 0
               ? -EIO
               : kv_os_real()->read_at(arg, file, p, size, offset);
}

START_TEST(a_page_that_cannot_be_read_is_no_damage)
{
    kvsql_rc rc = KVSQL_IO;
    int64_t n = 0;

    for (unsigned i = 0; i < 2000; i++)
        row_add(key_of(i, i % 50 == 0 ? 9000 : 40));
    db_make(512, 0, plain_columns);
    const uint32_t root = db_root("theirs");
    os.read_at = nth_read_fails;
    for (; rc != KVSQL_OK; n++) {
        reads_left = n;
        rc = read_table(root, COLUMNS);
        ck_assert_int_eq(rc, reads_left < 0 ? KVSQL_IO : KVSQL_OK);
        ck_assert(rc == KVSQL_OK || strstr(err.text, FILE_NAME) != NULL);
    }
    ck_assert_int_gt(n, 5);
}
END_TEST

START_TEST(no_memory_to_read_is_told_and_none_is_lost)
{
    kvsql_rc rc = KVSQL_NOMEM;
    uint64_t n = 0;

    for (unsigned i = 0; i < 600; i++)
        row_add(key_of(i, i % 50 == 0 ? 90000 : 40));
    db_make(512, 0, plain_columns);
    const uint32_t root = db_root("theirs");
    const uint64_t before = kv_mem_bytes(KV_MEM_MISC);
    while (rc != KVSQL_OK) {
        kv_mem_fail_at(++n, 0);
        rc = read_table(root, COLUMNS);
        ck_assert_int_eq(rc, kv_mem_failed() ? KVSQL_NOMEM : KVSQL_OK);
        kv_mem_fail_at(0, 0);
        ck_assert_uint_eq(kv_mem_bytes(KV_MEM_MISC), before);
    }
    ck_assert_uint_gt(n, 4);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 600);
    tcase_add_loop_test(tests, a_table_without_rows_is_as_it_was, 0, 4);
    tcase_add_loop_test(tests, every_kind_of_value_comes_back, 0, 4);
    tcase_add_test(tests, whole_scores_are_kept_as_sqlite_keeps_them);
    tcase_add_loop_test(tests,
                        rows_of_every_size_around_the_limits_come_back, 0, 8);
    tcase_add_loop_test(tests, large_values_come_back, 0, 4);
    tcase_add_loop_test(tests, any_number_of_rows_makes_a_sound_tree, 0, 4);
    tcase_add_test(tests, the_smallest_row_is_sound_wherever_it_stands);
    tcase_add_loop_test(tests, random_tables_are_those_that_sqlite_makes, 0,
                        3);
    tcase_add_test(tests, tables_and_indexes_grow_side_by_side);
    tcase_add_loop_test(tests, the_page_of_the_lock_is_left_out, 0, 2);
    tcase_add_test(tests, a_row_that_sqlite_would_not_read_is_refused_alone);
    tcase_add_test(
        tests, a_file_that_is_not_as_sqlite_made_it_is_not_gone_on_with);
    tcase_add_loop_test(
        tests, a_call_that_fails_is_told_and_nothing_is_left_open, 0, 3);
    tcase_add_test(tests, no_memory_is_told_and_none_is_lost);
    tcase_add_test(tests, a_file_of_another_kind_is_left_to_sqlite);
    tcase_add_test(tests, columns_that_a_row_lacks_are_null);
    tcase_add_test(tests, a_page_that_cannot_be_read_is_no_damage);
    tcase_add_test(tests, no_memory_to_read_is_told_and_none_is_lost);
}

int main(void)
{
    return unit_run("pages", add_tests);
}
