/* snapshot_private.h - what the files of a snapshot share.
 *
 *   snapshot.c        the tables' texts, opening a file, its size and checksum
 *   snapshot_write.c  a view as a file: its schema, what is small, the order
 *   snapshot_rows.c   the rows of the view, as pages (pages.h)
 *   snapshot_read.c   a file as a store
 *   snapshot_source.c its rows, from pages or from SQLite
 *   snapshot_answers.c  answers that are kept, both ways
 *
 * Always true, whoever opens a file:
 *   P2  it never has a journal and is never in WAL mode.
 *   P4  application_id, user_version and kv_meta say what it is; the texts of
 *       the CREATE statements are the same in every file of one major format.
 *
 * Thread: the caller's. SQLite is used without its mutexes: no connection
 * here is ever seen by two threads. */
#ifndef KVSQL_SNAPSHOT_PRIVATE_H
#define KVSQL_SNAPSHOT_PRIVATE_H

#include "kvsql/admin.h"
#include "kvsql/pages_read.h"
#include "kvsql/snapshot.h"

#ifdef KVSQL_EXTENSION /* the loading process has the functions */
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#else
#include <sqlite3.h>
#endif

#define SNAPSHOT_PROGRESS_KEYS 10000   /* a call of progress for so many */
#define SNAPSHOT_PATH_MAX 4096         /* bytes of a path */
#define SNAPSHOT_SHOW_SIZE 128         /* a key in a message */
#define SNAPSHOT_CHUNK (256u << 10)    /* bytes read at once for the CRC */
#define SNAPSHOT_META_SIZE 80          /* of a text */

/* ---- the tables (sql.md 2.2) -------------------------------------------- */

/* In the order of enum kv_type, so that SNAPSHOT_STRINGS == KV_STRING. */
enum snapshot_table {
    SNAPSHOT_KEYS,
    SNAPSHOT_STRINGS,
    SNAPSHOT_HASHES,
    SNAPSHOT_LISTS,
    SNAPSHOT_SETS,
    SNAPSHOT_ZSETS,
    SNAPSHOT_FILLED, /* tables of keys; those from here on are always empty */
    SNAPSHOT_SCHEMA = 11, /* ... but for the definitions */
    SNAPSHOT_TABLES
};
_Static_assert((int)SNAPSHOT_TABLES == KV_SNAPSHOT_TABLES,
               "what inside.h says");
_Static_assert(SNAPSHOT_STRINGS == (int)KV_STRING &&
                   SNAPSHOT_HASHES == (int)KV_HASH &&
                   SNAPSHOT_LISTS == (int)KV_LIST &&
                   SNAPSHOT_SETS == (int)KV_SET &&
                   SNAPSHOT_ZSETS == (int)KV_ZSET,
               "a type and its table have one number");

struct snapshot_layout {
    const char *name;
    const char *create;  /* text of sqlite_master.sql */
    const char *read;    /* what the loader asks, NULL where empty */
};
KV_INTERNAL_DATA const struct snapshot_layout
    kv_snapshot_layouts[SNAPSHOT_TABLES];
/* Answers that are kept (snapshot_answers.c): a table of minor 1, which is not
 * there when there are none. */
#define SNAPSHOT_MINOR_ANSWERS 1
KV_INTERNAL bool kv_snapshot_has_answers(const struct kv_at *at);
KV_INTERNAL kvsql_rc kv_snapshot_put_answers(sqlite3 *db, const char *path,
                                             const struct kv_at *at,
                                             struct kvsql_error *err)
    KV_MUST_USE;
KV_INTERNAL kvsql_rc kv_snapshot_get_answers(sqlite3 *db, const char *path,
                                             struct kv_store *store,
                                             struct kvsql_error *err)
    KV_MUST_USE;
KV_INTERNAL_DATA const char kv_snapshot_meta_create[SNAPSHOT_META_SIZE];

/* ---- writing ------------------------------------------------------------ */

/* What is written as pages: the tables of keys, and behind them others. */
enum snapshot_tree {
    SNAPSHOT_TREE_KEYS,
    SNAPSHOT_TREE_STRINGS,
    SNAPSHOT_TREE_HASHES,
    SNAPSHOT_TREE_LISTS,
    SNAPSHOT_TREE_SETS,
    SNAPSHOT_TREE_ZSETS,
    SNAPSHOT_TREE_SCORES, /* the index zsets_score */
    SNAPSHOT_TREE_META,   /* kv_meta */
    SNAPSHOT_TREES
};
_Static_assert((int)SNAPSHOT_TREE_KEYS == SNAPSHOT_KEYS &&
                   (int)SNAPSHOT_TREE_SCORES == SNAPSHOT_FILLED,
               "a table and its tree have one number");

struct snapshot_writer {
    sqlite3 *db; /* NULL from when the pages are written */
    const char *path;
    const struct kv_view *view;
    struct kv_at at;
    kv_progress_fn progress;
    void *progress_arg;
    uint64_t bytes;   /* of values and elements so far */
    uint64_t definitions; /* rows of kv_schema */
    struct kv_pages pages;
    struct kv_page_tree trees[SNAPSHOT_TREES];
};

/* All rows of the view, into the trees of the tables of keys. */
KV_INTERNAL kvsql_rc kv_snapshot_rows(struct snapshot_writer *writer,
                                      struct kvsql_error *err) KV_MUST_USE;
/* How far it is, in keys. */
KV_INTERNAL void kv_snapshot_tell(const struct snapshot_writer *writer,
                                  uint64_t done, uint64_t total);

/* ---- reading ------------------------------------------------------------ */

#define SNAPSHOT_COLUMNS_MAX 4

/* Rows of the tables of keys, each table at one of its own. From pages
 * (pages_read.h), or from statements when the file is of a kind that only SQLite
 * reads. */
struct snapshot_source {
    sqlite3 *db;
    const char *path;
    bool paged;
    struct kv_page_file file;
    struct kv_page_cursor cursors[SNAPSHOT_FILLED];
    sqlite3_stmt *stmts[SNAPSHOT_FILLED];
    struct kv_page_value values[SNAPSHOT_FILLED][SNAPSHOT_COLUMNS_MAX];
    struct kv_page_value *row[SNAPSHOT_FILLED]; /* NULL: there is none */
    uint64_t rows[SNAPSHOT_FILLED];             /* read so far */
};

/* `db` has the file open, and its tables are as they should be. */
KV_INTERNAL kvsql_rc kv_snapshot_source_open(struct snapshot_source *source,
                                             sqlite3 *db,
                                             const struct kv_os *os,
                                             const char *path,
                                             struct kvsql_error *err)
    KV_MUST_USE;
/* The next row; what the last one lent is gone. KVSQL_CORRUPT when paged: the
 * sentence is the caller's. */
KV_INTERNAL kvsql_rc kv_snapshot_source_step(struct snapshot_source *source,
                                             enum snapshot_table table,
                                             struct kvsql_error *err)
    KV_MUST_USE;
/* One of zeroes, too; before the connection is closed. */
KV_INTERNAL void kv_snapshot_source_close(struct snapshot_source *source);

/* ---- results and files -------------------------------------------------- */

/* SQLite's codes end here (STYLE 7). `db` may be NULL. */
KV_INTERNAL kvsql_rc kv_snapshot_fail(struct kvsql_error *err, sqlite3 *db,
                                      int code, const char *what,
                                      const char *path);
KV_INTERNAL kvsql_rc kv_snapshot_file(const char *path, const char *query,
                                      int flags, sqlite3 **db,
                                      struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc kv_snapshot_exec(sqlite3 *db, const char *sql,
                                      const char *what, const char *path,
                                      struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc kv_snapshot_prepare(sqlite3 *db, const char *sql,
                                         const char *path, sqlite3_stmt **stmt,
                                         struct kvsql_error *err) KV_MUST_USE;
/* Open the directory of `path`; *name is the bare name behind it. */
KV_INTERNAL kvsql_rc kv_snapshot_dir(const struct kv_os *os, const char *path,
                                     int *dir, const char **name,
                                     struct kvsql_error *err) KV_MUST_USE;
/* *size is that of the file. */
KV_INTERNAL kvsql_rc kv_snapshot_size(const struct kv_os *os, const char *path,
                                      uint64_t *size,
                                      struct kvsql_error *err) KV_MUST_USE;

#endif
