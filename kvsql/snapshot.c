/* snapshot.c - a view as an SQLite file, and back.
 *
 * Writing. The tables are filled by one statement each,
 *
 *     INSERT INTO hashes SELECT * FROM source_hashes
 *
 * where source_hashes is a virtual table of this file that walks the view:
 * SQLite pulls the rows, so nothing is bound or prepared per row, and since
 * every table has its own walk in key order, each b-tree only ever grows at
 * its right edge. Measured against 50 rows per prepared INSERT: 0.26 us of
 * CPU per row instead of 0.32 (docs/decisions has the table).
 *
 * Loading. `keys` leads: its rows come in the order of the store, and each
 * must find its rows in the table of its type, in the number it states, with
 * nothing between and nothing left at the end. So a file that passes holds no
 * key without a value, no value without a key and no wrong length.
 *
 * Always true:
 *   P2  the file never has a journal and is never in WAL mode.
 *   P4  application_id, user_version and kv_meta say what it is; the texts of
 *       the CREATE statements are the same in every file of one major format.
 *   P6  a file is read with immutable=1 and without mmap: no side file is
 *       looked at, and a file cut short gives an error, not SIGBUS.
 *   S1  what a row hands to SQLite as static lives until that row is stored:
 *       xColumn's bytes lie in the view or in the cursor, the b-tree copies
 *       them before SQLite asks for the next row.
 *
 * Thread: the caller's. SQLite is used without its mutexes: no connection
 * here is ever seen by two threads. */
#include "kvsql/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/crc32c.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"

#include <sqlite3.h>

#define SNAPSHOT_PROGRESS_KEYS 10000   /* a call of progress for so many */
#define SNAPSHOT_PATH_MAX 4096         /* bytes of a path */
#define SNAPSHOT_SHOW_SIZE 128         /* a key in a message */
#define SNAPSHOT_CHUNK (256u << 10)    /* bytes read at once for the CRC */
#define SNAPSHOT_ROW_MAX 1000000000    /* SQLite's limit of a row, bytes */

/* ---- the tables (sql.md 2.2) -------------------------------------------- */

/* In the order of enum kv_type, so that SNAPSHOT_STRINGS == KV_STRING. */
enum snapshot_table {
    SNAPSHOT_KEYS,
    SNAPSHOT_STRINGS,
    SNAPSHOT_HASHES,
    SNAPSHOT_LISTS,
    SNAPSHOT_SETS,
    SNAPSHOT_ZSETS,
    SNAPSHOT_FILLED, /* the tables from here on are always empty */
    SNAPSHOT_TABLES = 12
};
_Static_assert(SNAPSHOT_STRINGS == (int)KV_STRING &&
                   SNAPSHOT_HASHES == (int)KV_HASH &&
                   SNAPSHOT_LISTS == (int)KV_LIST &&
                   SNAPSHOT_SETS == (int)KV_SET &&
                   SNAPSHOT_ZSETS == (int)KV_ZSET,
               "a type and its table have one number");

static const struct snapshot_layout {
    const char *name;
    const char *create;  /* text of sqlite_master.sql */
    const char *declare; /* columns of the source, NULL where empty */
    const char *read;    /* what the loader asks, NULL where empty */
} snapshot_layouts[SNAPSHOT_TABLES] = {
#define SNAPSHOT_TABLE(name, create, declare, read)                           \
    {(name), (create), (declare), (read)},
#include "kvsql/snapshot.def"
#undef SNAPSHOT_TABLE
};

static const char snapshot_meta_create[] =
    "CREATE TABLE kv_meta(name TEXT NOT NULL PRIMARY KEY, value) "
    "WITHOUT ROWID";

static const char snapshot_view_create[] =
    "CREATE VIEW stream_entries AS\n"
    " SELECT key, ms||'-'||seq AS id, json_group_array(json_array(\n"
    "   iif(typeof(field)='text', field, "
    "json_object('$hex', hex(field))),\n"
    "   iif(typeof(value)='text', value, "
    "json_object('$hex', hex(value))))) AS fields\n"
    " FROM (SELECT * FROM streams ORDER BY key, ms, seq, n) "
    "GROUP BY key, ms, seq";

/* ---- results and paths -------------------------------------------------- */

/* SQLite's codes end here (STYLE 7). `db` may be NULL. */
static kvsql_rc snapshot_fail(struct kvsql_error *err, sqlite3 *db, int code,
                              const char *what, const char *path)
{
    int number = db == NULL ? 0 : sqlite3_system_errno(db);
    kvsql_rc rc = KVSQL_IO;

    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* a table or column that is not there */
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT: rc = KVSQL_CORRUPT; break;
    case SQLITE_NOMEM: rc = KVSQL_NOMEM; break;
    case SQLITE_FULL: rc = KVSQL_FULL; break;
    case SQLITE_TOOBIG: rc = KVSQL_TOOBIG; break;
    case SQLITE_IOERR:
        if (db != NULL && sqlite3_extended_errcode(db) == SQLITE_IOERR_NOMEM)
            rc = KVSQL_NOMEM;
        break;
    default: break;
    }
    return kv_fail(err, rc, "snapshot: cannot %s %s: %s%s%s", what, path,
                   db == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(db),
                   number == 0 ? "" : ": ",
                   number == 0 ? "" : kv_os_error(number));
}

/* "file:" URI of a path, so that neither ':memory:' nor '?' nor a leading
 * "//" can mean anything else than a file's name. */
static void snapshot_uri(struct kv_buf *uri, const char *path,
                         const char *query)
{
    static const char hex[] = "0123456789ABCDEF";

    kv_buf_text(uri, path[0] == '/' ? "file://" : "file:./");
    for (const char *p = path; *p != '\0'; p++) {
        uint8_t c = (uint8_t)*p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9') || c == '/' || c == '.' ||
                     c == '_' || c == '-';
        if (plain) {
            kv_buf_byte(uri, c);
            continue;
        }
        kv_buf_byte(uri, '%');
        kv_buf_byte(uri, (uint8_t)hex[c >> 4]);
        kv_buf_byte(uri, (uint8_t)hex[c & 15]);
    }
    kv_buf_text(uri, query);
    kv_buf_byte(uri, 0);
}

static kvsql_rc snapshot_open(const char *path, const char *query, int flags,
                              sqlite3 **db, struct kvsql_error *err)
{
    struct kv_buf uri;

    *db = NULL;
    kv_buf_init(&uri, KV_MEM_MISC, 3 * SNAPSHOT_PATH_MAX + 64);
    snapshot_uri(&uri, path, query);
    kvsql_rc rc = kv_buf_result(&uri, "the path of a snapshot", err);
    if (rc == KVSQL_OK) {
        int code = sqlite3_open_v2((const char *)uri.p, db,
                                   flags | SQLITE_OPEN_URI |
                                       SQLITE_OPEN_NOMUTEX |
                                       SQLITE_OPEN_PRIVATECACHE,
                                   NULL);
        if (code != SQLITE_OK)
            rc = snapshot_fail(err, *db, code, "open", path);
    }
    kv_buf_fini(&uri);
    return rc;
}

static kvsql_rc snapshot_exec(sqlite3 *db, const char *sql, const char *what,
                              const char *path, struct kvsql_error *err)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? KVSQL_OK
                             : snapshot_fail(err, db, code, what, path);
}

static kvsql_rc snapshot_prepare(sqlite3 *db, const char *sql,
                                 const char *path, sqlite3_stmt **stmt,
                                 struct kvsql_error *err)
{
    int code = sqlite3_prepare_v2(db, sql, -1, stmt, NULL);

    return code == SQLITE_OK ? KVSQL_OK
                             : snapshot_fail(err, db, code, "read", path);
}

/* Open the directory of `path`; *name is the bare name behind it. */
static kvsql_rc snapshot_dir_open(const struct kv_os *os, const char *path,
                                  int *dir, const char **name,
                                  struct kvsql_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - path);
    char *copy = kv_mem_dup(KV_MEM_MISC, path, size);

    if (copy == NULL)
        return kv_fail(err, KVSQL_NOMEM, "snapshot: no memory for a path");
    *name = slash == NULL ? path : slash + 1;
    const char *text = slash == NULL ? "." : size == 0 ? "/" : copy;
    int result = os->dir_open(os->arg, text, false, dir);
    if (result < 0)
        (void)kv_fail(err, KVSQL_IO, "snapshot: cannot open directory %s: %s",
                      text, kv_os_error(-result));
    kv_mem_free(KV_MEM_MISC, copy, size + 1);
    return result < 0 ? KVSQL_IO : KVSQL_OK;
}

/* *size is that of the file; with `sync` it is fsynced first. */
static kvsql_rc snapshot_size(const struct kv_os *os, const char *path,
                              bool sync, uint64_t *size,
                              struct kvsql_error *err)
{
    const char *name;
    int dir, file;
    kvsql_rc rc = snapshot_dir_open(os, path, &dir, &name, err);

    if (rc != KVSQL_OK)
        return rc;
    int64_t result = os->open(os->arg, dir, name,
                              sync ? KV_OS_WRITE : KV_OS_READ, &file);
    if (result >= 0) {
        result = sync ? os->sync(os->arg, file) : 0;
        if (result >= 0)
            result = os->size(os->arg, file);
        os->close(os->arg, file);
    }
    os->dir_close(os->arg, dir);
    if (result < 0)
        return kv_fail(err, result == -ENOSPC ? KVSQL_FULL : KVSQL_IO,
                       "snapshot: cannot %s %s: %s", sync ? "sync" : "open",
                       path, kv_os_error((int)-result));
    *size = (uint64_t)result;
    return KVSQL_OK;
}

/* ---- writing: the source of rows ---------------------------------------- */

struct snapshot_writer {
    sqlite3 *db;
    const char *path;
    struct kv_at at;
    kv_progress_fn progress;
    void *progress_arg;
    uint64_t visited; /* keys, each once by `keys` and once by its type */
    uint64_t bytes;   /* of values and elements so far */
    uint64_t keys_removed;
    uint64_t rows[SNAPSHOT_TABLES];
    sqlite3_stmt *fix_length, *fix_remove;
    char failed_key[SNAPSHOT_SHOW_SIZE]; /* where a statement ended early */
    struct snapshot_source {
        struct snapshot_writer *writer;
        enum snapshot_table table;
    } sources[SNAPSHOT_FILLED];
};

struct snapshot_rows { /* the virtual table */
    sqlite3_vtab base;
    struct snapshot_source *source;
};

struct snapshot_cursor {
    sqlite3_vtab_cursor base;
    struct snapshot_writer *writer;
    enum snapshot_table table;
    bool valid;
    uint64_t seen; /* elements of the current key */
    struct kv_keys keys;
    struct kv_elems elems;
    struct kv_val value; /* of a string; its scratch lives here (S1) */
};

static int snapshot_rows_connect(sqlite3 *db, void *aux, int argc,
                                 const char *const *argv, sqlite3_vtab **out,
                                 char **message)
{
    struct snapshot_source *source = aux;
    struct snapshot_rows *rows = kv_mem_zalloc(KV_MEM_MISC, sizeof *rows);

    (void)argc;
    (void)argv;
    (void)message;
    if (rows == NULL)
        return SQLITE_NOMEM;
    int code =
        sqlite3_declare_vtab(db, snapshot_layouts[source->table].declare);
    if (code != SQLITE_OK) {
        kv_mem_free(KV_MEM_MISC, rows, sizeof *rows);
        return code;
    }
    rows->source = source;
    *out = &rows->base;
    return SQLITE_OK;
}

static int snapshot_rows_disconnect(sqlite3_vtab *base)
{
    kv_mem_free(KV_MEM_MISC, base, sizeof(struct snapshot_rows));
    return SQLITE_OK;
}

static int snapshot_rows_best(sqlite3_vtab *base, sqlite3_index_info *info)
{
    (void)base;
    info->estimatedCost = 1e6;
    return SQLITE_OK;
}

static int snapshot_rows_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out)
{
    struct snapshot_source *source = ((struct snapshot_rows *)base)->source;
    struct snapshot_cursor *cursor =
        kv_mem_zalloc(KV_MEM_MISC, sizeof *cursor);

    if (cursor == NULL)
        return SQLITE_NOMEM;
    cursor->writer = source->writer;
    cursor->table = source->table;
    *out = &cursor->base;
    return SQLITE_OK;
}

static int snapshot_rows_close(sqlite3_vtab_cursor *base)
{
    const struct snapshot_cursor *cursor = (struct snapshot_cursor *)base;

    if (cursor->valid)
        (void)kv_text_show(cursor->writer->failed_key, SNAPSHOT_SHOW_SIZE,
                           cursor->keys.key.p, cursor->keys.key.size);
    kv_mem_free(KV_MEM_MISC, base, sizeof(struct snapshot_cursor));
    return SQLITE_OK;
}

static int snapshot_bind(sqlite3_stmt *stmt, int index,
                         const struct kv_key *key)
{
    if (key->cls == KV_TEXT)
        return sqlite3_bind_text64(stmt, index, (const char *)key->p,
                                   key->size, SQLITE_STATIC, SQLITE_UTF8);
    return sqlite3_bind_blob64(stmt, index, key->p, key->size, SQLITE_STATIC);
}

/* Fields of the cursor's hash had expired and were left out, so the row in
 * `keys`, written earlier from the hash's length, says too many. Rare: the
 * keeper removes them within moments. */
static int snapshot_fix(struct snapshot_cursor *cursor)
{
    struct snapshot_writer *writer = cursor->writer;
    bool empty = cursor->seen == 0;
    sqlite3_stmt **stmt = empty ? &writer->fix_remove : &writer->fix_length;
    int code = SQLITE_OK;

    if (*stmt == NULL)
        code = sqlite3_prepare_v2(
            writer->db,
            empty ? "DELETE FROM keys WHERE key = ?1"
                  : "UPDATE keys SET length = ?2 WHERE key = ?1",
            -1, stmt, NULL);
    if (code == SQLITE_OK)
        code = snapshot_bind(*stmt, 1, &cursor->keys.key);
    if (code == SQLITE_OK && !empty)
        code = sqlite3_bind_int64(*stmt, 2, (sqlite3_int64)cursor->seen);
    if (code != SQLITE_OK)
        return code;
    (void)sqlite3_step(*stmt); /* reset reports what it said */
    code = sqlite3_reset(*stmt);
    if (code == SQLITE_OK)
        writer->keys_removed += empty;
    return code;
}

static void snapshot_report(const struct snapshot_writer *writer,
                            uint64_t done, uint64_t total)
{
    struct kv_progress progress = {.what = "snapshot",
                                   .done = done,
                                   .total = total,
                                   .bytes = writer->bytes};

    if (writer->progress != NULL)
        writer->progress(writer->progress_arg, &progress);
}

/* The keys cursor stands on a key, or is at its end: go to the first row from
 * there on. */
static int snapshot_rows_settle(struct snapshot_cursor *cursor)
{
    struct snapshot_writer *writer = cursor->writer;

    for (; cursor->valid; cursor->valid = kv_keys_next(&cursor->keys)) {
        if (++writer->visited % SNAPSHOT_PROGRESS_KEYS == 0)
            snapshot_report(writer, writer->visited / 2,
                            kv_count_all(&writer->at));
        if (cursor->table <= SNAPSHOT_STRINGS)
            break;
        cursor->seen = 0;
        kv_elems_init(&cursor->elems, &writer->at, &cursor->keys.item,
                      cursor->table == SNAPSHOT_LISTS ? KV_ELEMS_INDEX
                                                      : KV_ELEMS_KEY);
        if (kv_elems_first(&cursor->elems)) {
            cursor->seen = 1;
            break;
        }
        int code = snapshot_fix(cursor);
        if (code != SQLITE_OK)
            return code;
    }
    writer->rows[cursor->table] += cursor->valid;
    return SQLITE_OK;
}

static int snapshot_rows_filter(sqlite3_vtab_cursor *base, int number,
                                const char *text, int argc,
                                sqlite3_value **argv)
{
    struct snapshot_cursor *cursor = (struct snapshot_cursor *)base;
    unsigned types =
        cursor->table == SNAPSHOT_KEYS ? 0 : 1u << (unsigned)cursor->table;

    (void)number;
    (void)text;
    (void)argc;
    (void)argv;
    kv_keys_init(&cursor->keys, &cursor->writer->at, types);
    cursor->valid = kv_keys_first(&cursor->keys);
    return snapshot_rows_settle(cursor);
}

static int snapshot_rows_next(sqlite3_vtab_cursor *base)
{
    struct snapshot_cursor *cursor = (struct snapshot_cursor *)base;

    KV_ASSERT(cursor->valid);
    if (cursor->table > SNAPSHOT_STRINGS) {
        if (kv_elems_next(&cursor->elems)) {
            cursor->seen++;
            cursor->writer->rows[cursor->table]++;
            return SQLITE_OK;
        }
        if (cursor->seen != kv_item_length(&cursor->keys.item)) {
            KV_ASSERT(cursor->table == SNAPSHOT_HASHES);
            int code = snapshot_fix(cursor);
            if (code != SQLITE_OK)
                return code;
        }
    }
    cursor->valid = kv_keys_next(&cursor->keys);
    return snapshot_rows_settle(cursor);
}

static int snapshot_rows_eof(sqlite3_vtab_cursor *base)
{
    return !((struct snapshot_cursor *)base)->valid;
}

static int snapshot_rows_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    const struct snapshot_cursor *cursor = (struct snapshot_cursor *)base;

    *rowid = (sqlite3_int64)cursor->writer->rows[cursor->table];
    return SQLITE_OK;
}

static void snapshot_result(sqlite3_context *context, const uint8_t *p,
                            uint32_t size, uint8_t cls)
{
    if (cls == KV_TEXT) /* VA1 */
        sqlite3_result_text(context, (const char *)p, (int)size,
                            SQLITE_STATIC);
    else
        sqlite3_result_blob(context, p, (int)size, SQLITE_STATIC);
}

static void snapshot_result_val(struct snapshot_cursor *cursor,
                                sqlite3_context *context,
                                const struct kv_val *val)
{
    cursor->writer->bytes += val->size;
    snapshot_result(context, val->p, val->size, val->cls);
}

static void snapshot_result_time(sqlite3_context *context, int64_t time)
{
    if (time != 0)
        sqlite3_result_int64(context, time);
}

/* Column 1 and behind of one row; NULL where nothing is set. */
static void snapshot_rows_cell(struct snapshot_cursor *cursor,
                               sqlite3_context *context, int column)
{
    const struct kv_item *item = &cursor->keys.item;
    const struct kv_elem *elem = &cursor->elems.elem;

    switch (cursor->table) {
    case SNAPSHOT_KEYS:
        if (column == 1)
            sqlite3_result_text(context, kv_type_name(item->type), -1,
                                SQLITE_STATIC);
        else if (column == 2)
            sqlite3_result_int64(context,
                                 (sqlite3_int64)kv_item_length(item));
        else
            snapshot_result_time(context, item->expires_at);
        break;
    case SNAPSHOT_STRINGS:
        if (column == 1) {
            kv_item_string(item, &cursor->value);
            snapshot_result_val(cursor, context, &cursor->value);
        } else {
            snapshot_result_time(context, item->expires_at);
        }
        break;
    case SNAPSHOT_LISTS:
        if (column == 1)
            sqlite3_result_int64(context, (sqlite3_int64)elem->index);
        else
            snapshot_result_val(cursor, context, &elem->value);
        break;
    default: /* hashes, sets, zsets: field or member first */
        if (column == 1)
            snapshot_result_val(cursor, context, &elem->key);
        else if (cursor->table == SNAPSHOT_ZSETS)
            sqlite3_result_double(context, elem->score + 0.0); /* VA6 */
        else if (column == 2)
            snapshot_result_val(cursor, context, &elem->value);
        else
            snapshot_result_time(context, elem->expires_at);
        break;
    }
}

static int snapshot_rows_column(sqlite3_vtab_cursor *base,
                                sqlite3_context *context, int column)
{
    struct snapshot_cursor *cursor = (struct snapshot_cursor *)base;
    const struct kv_key *key = &cursor->keys.key;

    if (column == 0)
        snapshot_result(context, key->p, key->size, key->cls);
    else
        snapshot_rows_cell(cursor, context, column);
    return SQLITE_OK;
}

/* No xCreate: the table exists under its module's name, in no schema. */
static const sqlite3_module snapshot_module = {
    .iVersion = 0,
    .xConnect = snapshot_rows_connect,
    .xBestIndex = snapshot_rows_best,
    .xDisconnect = snapshot_rows_disconnect,
    .xOpen = snapshot_rows_open,
    .xClose = snapshot_rows_close,
    .xFilter = snapshot_rows_filter,
    .xNext = snapshot_rows_next,
    .xEof = snapshot_rows_eof,
    .xColumn = snapshot_rows_column,
    .xRowid = snapshot_rows_rowid,
};

/* ---- writing: the file -------------------------------------------------- */

/* Make the file, empty, 0600; it must not exist (P9). */
static kvsql_rc snapshot_create(const struct kv_os *os, const char *path,
                                struct kvsql_error *err)
{
    const char *name;
    int dir, file;
    kvsql_rc rc = snapshot_dir_open(os, path, &dir, &name, err);

    if (rc != KVSQL_OK)
        return rc;
    int result = os->open(os->arg, dir, name,
                          KV_OS_WRITE | KV_OS_CREATE | KV_OS_EXCLUSIVE, &file);
    if (result < 0)
        rc = kv_fail(err, result == -ENOSPC ? KVSQL_FULL : KVSQL_IO,
                     "snapshot: cannot make %s: %s", path,
                     kv_os_error(-result));
    else
        os->close(os->arg, file);
    os->dir_close(os->arg, dir);
    return rc;
}

/* journal_mode and synchronous are off because a file that is not finished is
 * thrown away; the one fsync comes behind the close. */
static kvsql_rc snapshot_setup(struct snapshot_writer *writer,
                               struct kvsql_error *err)
{
    char sql[320];

    (void)snprintf(sql, sizeof sql,
                   "PRAGMA page_size = 4096; PRAGMA encoding = 'UTF-8';"
                   "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                   "PRAGMA locking_mode = EXCLUSIVE; PRAGMA mmap_size = 0;"
                   "PRAGMA cache_size = -4096;"
                   "PRAGMA application_id = %d; PRAGMA user_version = %d;"
                   "BEGIN",
                   KV_SNAPSHOT_APPLICATION_ID, KV_SNAPSHOT_USER_VERSION);
    kvsql_rc rc = snapshot_exec(writer->db, sql, "begin", writer->path, err);
    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_TABLES; i++)
        rc = snapshot_exec(writer->db, snapshot_layouts[i].create,
                           "make the tables of", writer->path, err);
    if (rc == KVSQL_OK)
        rc = snapshot_exec(writer->db, snapshot_meta_create,
                           "make the tables of", writer->path, err);
    if (rc == KVSQL_OK)
        rc = snapshot_exec(writer->db, snapshot_view_create,
                           "make the tables of", writer->path, err);
    return rc;
}

static kvsql_rc snapshot_fill(struct snapshot_writer *writer,
                              enum snapshot_table table,
                              struct kvsql_error *err)
{
    const char *name = snapshot_layouts[table].name;
    struct snapshot_source *source = &writer->sources[table];
    char module[32], sql[96];

    *source = (struct snapshot_source){.writer = writer, .table = table};
    (void)snprintf(module, sizeof module, "source_%s", name);
    int code = sqlite3_create_module(writer->db, module, &snapshot_module,
                                     source);
    if (code == SQLITE_OK) {
        (void)snprintf(sql, sizeof sql, "INSERT INTO %s SELECT * FROM %s",
                       name, module);
        code = sqlite3_exec(writer->db, sql, NULL, NULL, NULL);
    }
    if (code == SQLITE_TOOBIG)
        return kv_fail(err, KVSQL_TOOBIG,
                       "snapshot: cannot write a row of key '%s': key, field "
                       "and value together pass %d bytes",
                       writer->failed_key, SNAPSHOT_ROW_MAX);
    if (code != SQLITE_OK)
        return snapshot_fail(err, writer->db, code, "write", writer->path);
    return KVSQL_OK;
}

/* One row of kv_meta; `text` NULL: the number. */
static kvsql_rc snapshot_meta_put(struct snapshot_writer *writer,
                                  sqlite3_stmt *stmt, const char *name,
                                  const char *text, int64_t number,
                                  struct kvsql_error *err)
{
    int code = sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);

    if (code == SQLITE_OK)
        code = text != NULL
                   ? sqlite3_bind_text(stmt, 2, text, -1, SQLITE_STATIC)
                   : sqlite3_bind_int64(stmt, 2, number);
    if (code == SQLITE_OK) {
        (void)sqlite3_step(stmt); /* reset reports what it said */
        code = sqlite3_reset(stmt);
    }
    return code == SQLITE_OK ? KVSQL_OK
                             : snapshot_fail(err, writer->db, code,
                                             "write kv_meta of", writer->path);
}

static kvsql_rc snapshot_meta(struct snapshot_writer *writer,
                              const char *store_id, struct kvsql_error *err)
{
    const struct snapshot_meta_row {
        const char *name, *text;
        int64_t number;
    } first[] = {
        {"created_at", NULL, kv_at_wall(&writer->at)},
        {"format", KV_SNAPSHOT_FORMAT, 0},
        {"position", NULL, (int64_t)writer->at.position},
        {"store_id", store_id, 0},
        {"written_by", "kvsql " KVSQL_VERSION, 0},
    };
    sqlite3_stmt *stmt = NULL;
    char name[40];
    kvsql_rc rc = snapshot_prepare(writer->db,
                                   "INSERT INTO kv_meta VALUES(?1, ?2)",
                                   writer->path, &stmt, err);

    for (size_t i = 0; rc == KVSQL_OK && i < sizeof first / sizeof *first; i++)
        rc = snapshot_meta_put(writer, stmt, first[i].name, first[i].text,
                               first[i].number, err);
    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_TABLES; i++) {
        (void)snprintf(name, sizeof name, "rows.%s", snapshot_layouts[i].name);
        rc = snapshot_meta_put(writer, stmt, name, NULL,
                               (int64_t)writer->rows[i], err);
    }
    (void)sqlite3_finalize(stmt);
    return rc;
}

static kvsql_rc snapshot_write_tables(struct snapshot_writer *writer,
                                      const char *store_id,
                                      struct kvsql_error *err)
{
    kvsql_rc rc = snapshot_setup(writer, err);

    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_FILLED; i++)
        rc = snapshot_fill(writer, (enum snapshot_table)i, err);
    (void)sqlite3_finalize(writer->fix_length);
    (void)sqlite3_finalize(writer->fix_remove);
    if (rc != KVSQL_OK)
        return rc;
    KV_ASSERT(writer->rows[SNAPSHOT_KEYS] >= writer->keys_removed);
    writer->rows[SNAPSHOT_KEYS] -= writer->keys_removed;
    /* One sort behind the rows is cheaper than keeping it in order. */
    rc = snapshot_exec(writer->db,
                       "CREATE INDEX zsets_score ON zsets(key, score, member)",
                       "make the index of", writer->path, err);
    if (rc == KVSQL_OK)
        rc = snapshot_meta(writer, store_id, err);
    if (rc == KVSQL_OK)
        rc = snapshot_exec(writer->db, "COMMIT", "finish", writer->path, err);
    return rc;
}

kvsql_rc kv_snapshot_write(const struct kv_view *view, const char *path,
                           const char *store_id, kv_progress_fn progress,
                           void *arg, struct kv_snapshot_info *info,
                           struct kvsql_error *err)
{
    uint64_t began_ns = kv_os_mono_ns();
    const struct kv_os *os = kv_store_os(kv_view_store(view));
    struct snapshot_writer writer = {
        .path = path, .progress = progress, .progress_arg = arg};

    KV_ASSERT(strlen(store_id) == 32);
    *info = (struct kv_snapshot_info){.size = 0};
    kv_at_view(view, &writer.at);
    kvsql_rc rc = snapshot_create(os, path, err);
    if (rc != KVSQL_OK)
        return rc;
    rc = snapshot_open(path, "?mode=rw", SQLITE_OPEN_READWRITE, &writer.db,
                       err);
    if (rc == KVSQL_OK)
        rc = snapshot_write_tables(&writer, store_id, err);
    int code = sqlite3_close(writer.db); /* NULL is fine */
    KV_ASSERT(code == SQLITE_OK); /* every statement was finalized */
    if (rc == KVSQL_OK)
        rc = snapshot_size(os, path, true, &info->size, err);
    if (rc != KVSQL_OK)
        return rc;
    info->position = kv_view_position(view);
    info->created_at = kv_at_wall(&writer.at);
    info->keys = writer.rows[SNAPSHOT_KEYS];
    info->ms = (kv_os_mono_ns() - began_ns) / 1000000;
    snapshot_report(&writer, info->keys, info->keys);
    return KVSQL_OK;
}

/* ---- reading ------------------------------------------------------------ */

struct snapshot_reader {
    sqlite3 *db;
    const char *path;
    struct kv_store *store;
    struct kvsql_error *err;
    sqlite3_stmt *stmts[SNAPSHOT_FILLED];
    bool at_row[SNAPSHOT_FILLED];
    uint64_t rows[SNAPSHOT_FILLED]; /* read so far */
    struct kv_buf key_last, elem_last; /* for the order of rows */
    uint64_t bytes;
};

/* A row of `keys`, checked. */
struct snapshot_key {
    struct kv_key key;
    enum kv_type type;
    uint64_t length;
    int64_t expires_at;
};

static kvsql_rc snapshot_damaged(const struct snapshot_reader *reader,
                                 enum snapshot_table table,
                                 const struct kv_key *key, const char *what)
{
    char shown[SNAPSHOT_SHOW_SIZE];

    return kv_fail(reader->err, KVSQL_CORRUPT,
                   "snapshot: %s is damaged: table %s, key '%s': %s; restore "
                   "a copy",
                   reader->path, snapshot_layouts[table].name,
                   kv_text_show(shown, sizeof shown, key->p, key->size), what);
}

static kvsql_rc snapshot_step(struct snapshot_reader *reader,
                              enum snapshot_table table)
{
    int code = sqlite3_step(reader->stmts[table]);

    reader->at_row[table] = code == SQLITE_ROW;
    if (code == SQLITE_DONE)
        return KVSQL_OK;
    if (code != SQLITE_ROW)
        return snapshot_fail(reader->err, reader->db, code, "read",
                             reader->path);
    reader->rows[table]++;
    return KVSQL_OK;
}

/* sqlite3_column_value gives an unprotected value, which is as good as any on
 * a connection without mutexes, and half the calls of sqlite3_column_x. */

/* Bytes of a cell; false when it is neither TEXT nor BLOB, or its class is not
 * that of its bytes (VA1), or it is longer than `size_max`. They live until
 * the statement's next step. */
static bool snapshot_cell(sqlite3_stmt *stmt, int column, size_t size_max,
                          struct kv_key *out)
{
    sqlite3_value *cell = sqlite3_column_value(stmt, column);
    int type = sqlite3_value_type(cell);
    const void *p = sqlite3_value_blob(cell);
    size_t size = (size_t)sqlite3_value_bytes(cell);

    if ((type != SQLITE_TEXT && type != SQLITE_BLOB) || size > size_max ||
        (p == NULL && size != 0))
        return false;
    *out = kv_key_of(p, size);
    return (out->cls == KV_TEXT) == (type == SQLITE_TEXT);
}

/* A time in ms, NULL = 0; false for anything else. */
static bool snapshot_cell_time(sqlite3_stmt *stmt, int column, int64_t *out)
{
    sqlite3_value *cell = sqlite3_column_value(stmt, column);
    int type = sqlite3_value_type(cell);

    *out = sqlite3_value_int64(cell);
    return type == SQLITE_NULL || (type == SQLITE_INTEGER && *out > 0);
}

/* True when `key` is behind the last one, which it then becomes. */
static bool snapshot_ascends(struct kv_buf *last, const struct kv_key *key)
{
    if (last->size > 0) {
        struct kv_key old = {.p = last->p + 1,
                             .size = (uint32_t)(last->size - 1),
                             .cls = last->p[0]};
        if (kv_key_compare(&old, key) >= 0)
            return false;
    }
    kv_buf_reset(last, SNAPSHOT_CHUNK);
    kv_buf_byte(last, key->cls);
    kv_buf_add(last, key->p, key->size);
    return true;
}

/* The current row of `keys`. */
static kvsql_rc snapshot_read_key(struct snapshot_reader *reader,
                                  struct snapshot_key *out)
{
    sqlite3_stmt *stmt = reader->stmts[SNAPSHOT_KEYS];
    const char *name = (const char *)sqlite3_column_text(stmt, 1);
    int64_t length = sqlite3_column_int64(stmt, 2);

    *out = (struct snapshot_key){.key = {.p = (const uint8_t *)""}};
    if (!snapshot_cell(stmt, 0, KVSQL_KEY_MAX, &out->key))
        return snapshot_damaged(reader, SNAPSHOT_KEYS, &out->key,
                                "the key is not in the form of its bytes");
    if (!snapshot_ascends(&reader->key_last, &out->key))
        return snapshot_damaged(reader, SNAPSHOT_KEYS, &out->key,
                                "the keys are out of order");
    for (unsigned type = KV_STRING; type <= KV_STREAM; type++)
        if (name != NULL && strcmp(name, kv_type_name(type)) == 0)
            out->type = type;
    if (out->type == KV_NONE)
        return snapshot_damaged(reader, SNAPSHOT_KEYS, &out->key,
                                "its type is unknown");
    if (out->type == KV_STREAM)
        return kv_fail(reader->err, KVSQL_NEWER,
                       "snapshot: %s holds streams; use a later kvsql",
                       reader->path);
    if (sqlite3_column_type(stmt, 2) != SQLITE_INTEGER || length < 0 ||
        (length == 0 && out->type != KV_STRING))
        return snapshot_damaged(reader, SNAPSHOT_KEYS, &out->key,
                                "its length is not a count");
    out->length = (uint64_t)length;
    if (!snapshot_cell_time(stmt, 3, &out->expires_at))
        return snapshot_damaged(reader, SNAPSHOT_KEYS, &out->key,
                                "its expiry is not a time");
    return kv_buf_result(&reader->key_last, "a key of a snapshot",
                         reader->err);
}

/* True when the row that the table stands on is one of `key`. */
static bool snapshot_row_of(const struct snapshot_reader *reader,
                            enum snapshot_table table,
                            const struct kv_key *key)
{
    sqlite3_stmt *stmt = reader->stmts[table];

    if (!reader->at_row[table])
        return false;
    sqlite3_value *cell = sqlite3_column_value(stmt, 0);
    int type = sqlite3_value_type(cell);
    const void *p = sqlite3_value_blob(cell);
    return (size_t)sqlite3_value_bytes(cell) == key->size &&
           type == (key->cls == KV_TEXT ? SQLITE_TEXT : SQLITE_BLOB) &&
           (key->size == 0 || (p != NULL && memcmp(p, key->p, key->size) == 0));
}

/* The string of `key` -> SET. */
static kvsql_rc snapshot_load_string(struct snapshot_reader *reader,
                                     const struct snapshot_key *key)
{
    sqlite3_stmt *stmt = reader->stmts[SNAPSHOT_STRINGS];
    struct kv_key value;
    int64_t expires_at;

    if (!snapshot_row_of(reader, SNAPSHOT_STRINGS, &key->key))
        return snapshot_damaged(reader, SNAPSHOT_STRINGS, &key->key,
                                "it is not there though keys names it");
    if (!snapshot_cell(stmt, 1, KVSQL_VALUE_MAX, &value))
        return snapshot_damaged(reader, SNAPSHOT_STRINGS, &key->key,
                                "the value is not in the form of its bytes");
    if (value.size != key->length ||
        !snapshot_cell_time(stmt, 2, &expires_at) ||
        expires_at != key->expires_at)
        return snapshot_damaged(reader, SNAPSHOT_STRINGS, &key->key,
                                "length or expiry differ from those in keys");
    struct kv_op op = {.kind = KV_OP_SET,
                       .key = {key->key.p, key->key.size},
                       .a = {value.p, value.size},
                       .time = expires_at};
    reader->bytes += value.size;
    kvsql_rc rc = kv_store_load(reader->store, &op, reader->err);
    return rc != KVSQL_OK ? rc : snapshot_step(reader, SNAPSHOT_STRINGS);
}

/* Fill `op` from the current row of an element table; says what is wrong, or
 * NULL. `index` is the number of the row within its key. */
static const char *snapshot_read_elem(struct snapshot_reader *reader,
                                      enum snapshot_table table,
                                      uint64_t index, struct kv_op *op)
{
    static const enum kv_op_kind kinds[SNAPSHOT_FILLED] = {
        [SNAPSHOT_HASHES] = KV_OP_HSET,
        [SNAPSHOT_LISTS] = KV_OP_PUSH,
        [SNAPSHOT_SETS] = KV_OP_SADD,
        [SNAPSHOT_ZSETS] = KV_OP_ZADD};
    sqlite3_stmt *stmt = reader->stmts[table];
    struct kv_key elem, value;

    op->kind = kinds[table];
    if (table == SNAPSHOT_LISTS) {
        if (sqlite3_column_type(stmt, 1) != SQLITE_INTEGER ||
            sqlite3_column_int64(stmt, 1) != (sqlite3_int64)index)
            return "idx does not count from 0 without a gap";
        if (!snapshot_cell(stmt, 2, KVSQL_VALUE_MAX, &value))
            return "a value is not in the form of its bytes";
        op->index = KV_RIGHT;
        op->a = (kvsql_slice){value.p, value.size};
        return NULL;
    }
    if (!snapshot_cell(stmt, 1, KVSQL_VALUE_MAX, &elem))
        return "a field or member is not in the form of its bytes";
    if (!snapshot_ascends(&reader->elem_last, &elem))
        return "fields or members are out of order";
    op->a = (kvsql_slice){elem.p, elem.size};
    if (table == SNAPSHOT_ZSETS) {
        op->score = sqlite3_column_double(stmt, 2);
        if (sqlite3_column_type(stmt, 2) != SQLITE_FLOAT)
            return "a score is not a number";
    } else if (table == SNAPSHOT_HASHES) {
        if (!snapshot_cell(stmt, 2, KVSQL_VALUE_MAX, &value))
            return "a value is not in the form of its bytes";
        op->b = (kvsql_slice){value.p, value.size};
        if (!snapshot_cell_time(stmt, 3, &op->time))
            return "the expiry of a field is not a time";
    }
    return NULL;
}

/* The elements of `key`, exactly key->length of them. */
static kvsql_rc snapshot_load_elems(struct snapshot_reader *reader,
                                    const struct snapshot_key *key)
{
    enum snapshot_table table = (enum snapshot_table)key->type;
    struct kv_op op = {.key = {key->key.p, key->key.size}};

    kv_buf_reset(&reader->elem_last, SNAPSHOT_CHUNK);
    for (uint64_t i = 0; i < key->length; i++) {
        if (!snapshot_row_of(reader, table, &key->key))
            return snapshot_damaged(reader, table, &key->key,
                                    "it has fewer rows than keys says");
        const char *wrong = snapshot_read_elem(reader, table, i, &op);
        if (wrong != NULL)
            return snapshot_damaged(reader, table, &key->key, wrong);
        kvsql_rc rc = kv_buf_result(&reader->elem_last,
                                    "an element of a snapshot", reader->err);
        reader->bytes += op.a.size + op.b.size;
        if (rc == KVSQL_OK)
            rc = kv_store_load(reader->store, &op, reader->err);
        if (rc == KVSQL_OK)
            rc = snapshot_step(reader, table);
        if (rc != KVSQL_OK)
            return rc;
    }
    if (key->expires_at == 0)
        return KVSQL_OK;
    op = (struct kv_op){.kind = KV_OP_EXPIRE,
                        .key = op.key,
                        .time = key->expires_at};
    return kv_store_load(reader->store, &op, reader->err);
}

/* ---- reading: what the file says of itself (P4, V1) --------------------- */

/* The first column of the only row of `sql`; NOTFOUND when there is none. */
static kvsql_rc snapshot_ask(struct snapshot_reader *reader, const char *sql,
                             const char *argument, sqlite3_stmt **stmt)
{
    kvsql_rc rc =
        snapshot_prepare(reader->db, sql, reader->path, stmt, reader->err);

    if (rc != KVSQL_OK)
        return rc;
    int code = SQLITE_OK;
    if (argument != NULL)
        code = sqlite3_bind_text(*stmt, 1, argument, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(*stmt);
    if (code == SQLITE_DONE)
        return KVSQL_NOTFOUND;
    return code == SQLITE_ROW ? KVSQL_OK
                              : snapshot_fail(reader->err, reader->db, code,
                                              "read", reader->path);
}

static kvsql_rc snapshot_ask_int(struct snapshot_reader *reader,
                                 const char *sql, const char *argument,
                                 int64_t *out)
{
    sqlite3_stmt *stmt = NULL;
    kvsql_rc rc = snapshot_ask(reader, sql, argument, &stmt);

    *out = rc == KVSQL_OK ? sqlite3_column_int64(stmt, 0) : -1;
    if (rc == KVSQL_NOTFOUND ||
        (rc == KVSQL_OK && (sqlite3_column_type(stmt, 0) != SQLITE_INTEGER ||
                            *out < 0)))
        rc = kv_fail(reader->err, KVSQL_CORRUPT,
                     "snapshot: %s is damaged: kv_meta has no valid %s",
                     reader->path, argument == NULL ? "header" : argument);
    (void)sqlite3_finalize(stmt);
    return rc;
}

static kvsql_rc snapshot_check_header(struct snapshot_reader *reader)
{
    int64_t id = 0, version = 0;
    kvsql_rc rc =
        snapshot_ask_int(reader, "PRAGMA application_id", NULL, &id);

    if (rc == KVSQL_OK)
        rc = snapshot_ask_int(reader, "PRAGMA user_version", NULL, &version);
    if (rc != KVSQL_OK)
        return rc;
    if (id != KV_SNAPSHOT_APPLICATION_ID)
        return kv_fail(reader->err, KVSQL_CORRUPT,
                       "snapshot: %s is no snapshot of kvsql: application_id "
                       "is %lld, not %d",
                       reader->path, (long long)id,
                       KV_SNAPSHOT_APPLICATION_ID);
    if (version / 1000 > KV_SNAPSHOT_MAJOR)
        return kv_fail(reader->err, KVSQL_NEWER,
                       "snapshot: %s has format %lld.%lld, this kvsql %s "
                       "reads up to %d.x; use a later kvsql",
                       reader->path, (long long)(version / 1000),
                       (long long)(version % 1000), KVSQL_VERSION,
                       KV_SNAPSHOT_MAJOR);
    if (version < 1000)
        return kv_fail(reader->err, KVSQL_CORRUPT,
                       "snapshot: %s is damaged: user_version is %lld",
                       reader->path, (long long)version);
    return KVSQL_OK;
}

/* SQLite takes a last page that is cut as if zeroes followed. */
static kvsql_rc snapshot_check_size(struct snapshot_reader *reader,
                                    uint64_t size)
{
    int64_t stated = 0;
    kvsql_rc rc = snapshot_ask_int(reader,
                                   "SELECT page_count * page_size FROM "
                                   "pragma_page_count, pragma_page_size",
                                   NULL, &stated);

    if (rc == KVSQL_OK && (uint64_t)stated != size)
        rc = kv_fail(reader->err, KVSQL_CORRUPT,
                     "snapshot: %s is damaged: it has %llu bytes, its header "
                     "says %lld; restore a copy",
                     reader->path, (unsigned long long)size,
                     (long long)stated);
    return rc;
}

/* The table is a real one with exactly our columns and order (P8). */
static kvsql_rc snapshot_check_table(struct snapshot_reader *reader,
                                     const char *name, const char *create)
{
    sqlite3_stmt *stmt = NULL;
    kvsql_rc rc = snapshot_ask(reader,
                               "SELECT sql FROM sqlite_master WHERE name = ?1"
                               " AND type = 'table' AND rootpage > 0",
                               name, &stmt);
    const char *sql =
        rc == KVSQL_OK ? (const char *)sqlite3_column_text(stmt, 0) : NULL;

    if (rc == KVSQL_NOTFOUND ||
        (rc == KVSQL_OK && (sql == NULL || strcmp(sql, create) != 0)))
        rc = kv_fail(reader->err, KVSQL_CORRUPT,
                     "snapshot: %s is damaged: table %s is missing or has "
                     "other columns",
                     reader->path, name);
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* The tables that this version cannot load hold nothing. */
static kvsql_rc snapshot_check_empty(struct snapshot_reader *reader,
                                     const char *name)
{
    char sql[64];
    sqlite3_stmt *stmt = NULL;

    (void)snprintf(sql, sizeof sql, "SELECT 1 FROM %s LIMIT 1", name);
    kvsql_rc rc = snapshot_ask(reader, sql, NULL, &stmt);
    if (rc == KVSQL_OK)
        rc = kv_fail(reader->err, KVSQL_NEWER,
                     "snapshot: %s has rows in %s, which this kvsql %s cannot "
                     "load; use a later kvsql",
                     reader->path, name, KVSQL_VERSION);
    else if (rc == KVSQL_NOTFOUND)
        rc = KVSQL_OK;
    (void)sqlite3_finalize(stmt);
    return rc;
}

static kvsql_rc snapshot_check_tables(struct snapshot_reader *reader)
{
    kvsql_rc rc = snapshot_check_header(reader);

    if (rc == KVSQL_OK)
        rc = snapshot_check_table(reader, "kv_meta", snapshot_meta_create);
    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_TABLES; i++) {
        rc = snapshot_check_table(reader, snapshot_layouts[i].name,
                                  snapshot_layouts[i].create);
        if (rc == KVSQL_OK && i >= SNAPSHOT_FILLED)
            rc = snapshot_check_empty(reader, snapshot_layouts[i].name);
    }
    return rc;
}

static const char snapshot_meta_ask[] =
    "SELECT value FROM kv_meta WHERE name = ?1";

/* `store_id` "" takes the file of any store. */
static kvsql_rc snapshot_check_store(struct snapshot_reader *reader,
                                     const char *store_id)
{
    sqlite3_stmt *stmt = NULL;
    kvsql_rc rc = snapshot_ask(reader, snapshot_meta_ask, "store_id", &stmt);
    const char *found =
        rc == KVSQL_OK ? (const char *)sqlite3_column_text(stmt, 0) : NULL;

    if (rc == KVSQL_NOTFOUND ||
        (rc == KVSQL_OK && (found == NULL || strlen(found) != 32)))
        rc = kv_fail(reader->err, KVSQL_CORRUPT,
                     "snapshot: %s is damaged: kv_meta has no store_id",
                     reader->path);
    else if (rc == KVSQL_OK && store_id[0] != '\0' &&
             strcmp(found, store_id) != 0)
        rc = kv_fail(reader->err, KVSQL_CORRUPT,
                     "snapshot: %s belongs to store %.40s, not to %s",
                     reader->path, found, store_id);
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* ---- reading: the walk -------------------------------------------------- */

static kvsql_rc snapshot_reader_open(struct snapshot_reader *reader)
{
    kvsql_rc rc = snapshot_open(reader->path, "?mode=ro&immutable=1",
                                SQLITE_OPEN_READONLY, &reader->db,
                                reader->err);

    if (rc != KVSQL_OK)
        return rc;
    (void)sqlite3_db_config(reader->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(reader->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0,
                            NULL);
    (void)sqlite3_db_config(reader->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    (void)sqlite3_db_config(reader->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    rc = snapshot_exec(reader->db,
                       "PRAGMA mmap_size = 0; PRAGMA cell_size_check = 1;"
                       "PRAGMA query_only = 1; PRAGMA cache_size = -1024",
                       "open", reader->path, reader->err);
    if (rc == KVSQL_OK)
        rc = snapshot_check_tables(reader);
    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_FILLED; i++)
        rc = snapshot_prepare(reader->db, snapshot_layouts[i].read,
                              reader->path, &reader->stmts[i], reader->err);
    return rc;
}

static void snapshot_reader_close(struct snapshot_reader *reader)
{
    for (int i = 0; i < SNAPSHOT_FILLED; i++)
        (void)sqlite3_finalize(reader->stmts[i]);
    int code = sqlite3_close(reader->db); /* NULL is fine */
    KV_ASSERT(code == SQLITE_OK);         /* every statement is finalized */
    kv_buf_fini(&reader->key_last);
    kv_buf_fini(&reader->elem_last);
}

/* All rows of all tables, led by `keys`. */
static kvsql_rc snapshot_load_all(struct snapshot_reader *reader,
                                  uint64_t total, kv_progress_fn progress,
                                  void *arg)
{
    kvsql_rc rc = KVSQL_OK;

    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_FILLED; i++)
        rc = snapshot_step(reader, (enum snapshot_table)i);
    while (rc == KVSQL_OK && reader->at_row[SNAPSHOT_KEYS]) {
        struct snapshot_key key;
        uint64_t done = reader->rows[SNAPSHOT_KEYS];
        rc = snapshot_read_key(reader, &key);
        if (rc == KVSQL_OK)
            rc = key.type == KV_STRING ? snapshot_load_string(reader, &key)
                                       : snapshot_load_elems(reader, &key);
        if (rc == KVSQL_OK)
            rc = snapshot_step(reader, SNAPSHOT_KEYS);
        if (rc == KVSQL_OK && progress != NULL &&
            (done % SNAPSHOT_PROGRESS_KEYS == 0 || done == total))
            progress(arg, &(struct kv_progress){.what = "load",
                                                .done = done,
                                                .total = total,
                                                .bytes = reader->bytes});
    }
    return rc;
}

/* No table has rows that `keys` did not lead to. */
static kvsql_rc snapshot_check_ends(struct snapshot_reader *reader)
{
    for (int i = 0; i < SNAPSHOT_FILLED; i++) {
        struct kv_key key = {.p = (const uint8_t *)""};
        if (!reader->at_row[i])
            continue;
        (void)snapshot_cell(reader->stmts[i], 0, KVSQL_KEY_MAX, &key);
        return snapshot_damaged(reader, (enum snapshot_table)i, &key,
                                "it has more rows than keys says");
    }
    return KVSQL_OK;
}

/* The tables have as many rows as kv_meta says. */
static kvsql_rc snapshot_check_counts(struct snapshot_reader *reader)
{
    kvsql_rc rc = snapshot_check_ends(reader);

    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_FILLED; i++) {
        char name[40];
        int64_t stated = 0;
        (void)snprintf(name, sizeof name, "rows.%s", snapshot_layouts[i].name);
        rc = snapshot_ask_int(reader, snapshot_meta_ask, name, &stated);
        if (rc == KVSQL_OK && (uint64_t)stated != reader->rows[i])
            rc = kv_fail(reader->err, KVSQL_CORRUPT,
                         "snapshot: %s is damaged: table %s has %llu rows, "
                         "kv_meta says %lld; restore a copy",
                         reader->path, snapshot_layouts[i].name,
                         (unsigned long long)reader->rows[i],
                         (long long)stated);
    }
    return rc;
}

kvsql_rc kv_snapshot_load(struct kv_store *store, const char *path,
                          const char *store_id, kv_progress_fn progress,
                          void *arg, struct kv_snapshot_info *info,
                          struct kvsql_error *err)
{
    uint64_t began_ns = kv_os_mono_ns();
    int64_t position = 0, created_at = 0, keys = 0;
    uint64_t size = 0;
    struct snapshot_reader reader = {.path = path, .store = store, .err = err};

    *info = (struct kv_snapshot_info){.size = 0};
    kv_buf_init(&reader.key_last, KV_MEM_MISC, KVSQL_KEY_MAX + 1);
    kv_buf_init(&reader.elem_last, KV_MEM_MISC, (size_t)KVSQL_VALUE_MAX + 1);
    kvsql_rc rc = snapshot_size(kv_store_os(store), path, false, &size, err);
    if (rc == KVSQL_OK)
        rc = snapshot_reader_open(&reader);
    if (rc == KVSQL_OK)
        rc = snapshot_check_size(&reader, size);
    if (rc == KVSQL_OK)
        rc = snapshot_check_store(&reader, store_id);
    if (rc == KVSQL_OK)
        rc = snapshot_ask_int(&reader, snapshot_meta_ask, "position",
                              &position);
    if (rc == KVSQL_OK)
        rc = snapshot_ask_int(&reader, snapshot_meta_ask, "created_at",
                              &created_at);
    if (rc == KVSQL_OK)
        rc = snapshot_ask_int(&reader, snapshot_meta_ask, "rows.keys", &keys);
    if (rc == KVSQL_OK)
        rc = snapshot_load_all(&reader, (uint64_t)keys, progress, arg);
    if (rc == KVSQL_OK)
        rc = snapshot_check_counts(&reader);
    snapshot_reader_close(&reader);
    if (rc != KVSQL_OK)
        return rc;
    kv_store_set_position(store, (uint64_t)position);
    *info = (struct kv_snapshot_info){
        .position = (uint64_t)position,
        .created_at = created_at,
        .size = size,
        .keys = (uint64_t)keys,
        .ms = (kv_os_mono_ns() - began_ns) / 1000000};
    return KVSQL_OK;
}

/* ---- the checksum of a file (P3) ---------------------------------------- */

kvsql_rc kv_snapshot_checksum(const struct kv_os *os, int dir,
                              const char *name, uint64_t *size, uint32_t *crc,
                              struct kvsql_error *err)
{
    int file;
    int result = os->open(os->arg, dir, name, KV_OS_READ, &file);

    if (result < 0)
        return kv_fail(err, result == -ENOENT ? KVSQL_NOTFOUND : KVSQL_IO,
                       "snapshot: cannot open %s: %s", name,
                       kv_os_error(-result));
    uint8_t *chunk = kv_mem_alloc(KV_MEM_MISC, SNAPSHOT_CHUNK);
    int64_t got = chunk == NULL ? -ENOMEM : 1;
    *size = 0;
    *crc = 0;
    while (got > 0) {
        got = os->read_at(os->arg, file, chunk, SNAPSHOT_CHUNK, *size);
        if (got > 0) {
            *crc = kv_crc32c(*crc, chunk, (size_t)got);
            *size += (uint64_t)got;
        }
    }
    kv_mem_free(KV_MEM_MISC, chunk, SNAPSHOT_CHUNK);
    os->close(os->arg, file);
    if (got < 0)
        return kv_fail(err, got == -ENOMEM ? KVSQL_NOMEM : KVSQL_IO,
                       "snapshot: cannot read %s at %llu: %s", name,
                       (unsigned long long)*size, kv_os_error((int)-got));
    return KVSQL_OK;
}
