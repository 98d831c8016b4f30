/* snapshot_write.c - a view as an SQLite file.
 *
 * The tables are filled by one statement each,
 *
 *     INSERT INTO hashes SELECT * FROM source_hashes
 *
 * where source_hashes is a virtual table of this file that walks the view:
 * SQLite pulls the rows, so nothing is bound or prepared per row, and since
 * every table has its own walk in key order, each b-tree only ever grows at
 * its right edge. Measured against 50 rows per prepared INSERT: 0.26 us of
 * CPU per row instead of 0.32 (docs/decisions has the table).
 *
 * Always true:
 *   S1  what a row hands to SQLite as static lives until that row is stored:
 *       xColumn's bytes lie in the view or in the cursor, the b-tree copies
 *       them before SQLite asks for the next row.
 *
 * Thread: the caller's; reading a view takes no lock. */
#include "kvsql/snapshot_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"

#define SNAPSHOT_ROW_MAX 1000000000    /* SQLite's limit of a row, bytes */

static const char snapshot_view_create[] =
    "CREATE VIEW stream_entries AS\n"
    " SELECT key, ms||'-'||seq AS id, json_group_array(json_array(\n"
    "   iif(typeof(field)='text', field, "
    "json_object('$hex', hex(field))),\n"
    "   iif(typeof(value)='text', value, "
    "json_object('$hex', hex(value))))) AS fields\n"
    " FROM (SELECT * FROM streams ORDER BY key, ms, seq, n) "
    "GROUP BY key, ms, seq";

/* ---- the source of rows ------------------------------------------------- */

struct snapshot_writer {
    sqlite3 *db;
    const char *path;
    const struct kv_view *view;
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
        sqlite3_declare_vtab(db, kv_snapshot_layouts[source->table].declare);
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
    struct kvsql_error ignored;

    KV_ASSERT(cursor->valid);
    if (kv_view_ended(cursor->writer->view, &ignored) != KVSQL_OK)
        return SQLITE_INTERRUPT;
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

/* ---- the file ----------------------------------------------------------- */

/* Make the file, empty, 0600; it must not exist (P9). */
static kvsql_rc snapshot_create(const struct kv_os *os, const char *path,
                                struct kvsql_error *err)
{
    const char *name;
    int dir, file;
    kvsql_rc rc = kv_snapshot_dir(os, path, &dir, &name, err);

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
                   KV_SNAPSHOT_APPLICATION_ID,
                   KV_SNAPSHOT_USER_VERSION +
                       (kv_snapshot_has_answers(&writer->at)
                            ? SNAPSHOT_MINOR_ANSWERS : 0));
    kvsql_rc rc = kv_snapshot_exec(writer->db, sql, "begin", writer->path, err);
    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_TABLES; i++)
        rc = kv_snapshot_exec(writer->db, kv_snapshot_layouts[i].create,
                              "make the tables of", writer->path, err);
    if (rc == KVSQL_OK)
        rc = kv_snapshot_exec(writer->db, kv_snapshot_meta_create,
                              "make the tables of", writer->path, err);
    if (rc == KVSQL_OK)
        rc = kv_snapshot_exec(writer->db, snapshot_view_create,
                              "make the tables of", writer->path, err);
    return rc;
}

static kvsql_rc snapshot_fill(struct snapshot_writer *writer,
                              enum snapshot_table table,
                              struct kvsql_error *err)
{
    const char *name = kv_snapshot_layouts[table].name;
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
    if (code == SQLITE_INTERRUPT)
        return kv_view_ended(writer->view, err);
    if (code == SQLITE_TOOBIG)
        return kv_fail(err, KVSQL_TOOBIG,
                       "snapshot: cannot write a row of key '%s': key, field "
                       "and value together pass %d bytes",
                       writer->failed_key, SNAPSHOT_ROW_MAX);
    if (code != SQLITE_OK)
        return kv_snapshot_fail(err, writer->db, code, "write", writer->path);
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
                             : kv_snapshot_fail(err, writer->db, code,
                                                "write kv_meta of",
                                                writer->path);
}

static kvsql_rc snapshot_meta(struct snapshot_writer *writer,
                              const char *store_id, struct kvsql_error *err)
{
    const struct snapshot_meta_row {
        const char *name, *text;
        int64_t number;
    } first[] = {
        {"created_at", NULL, kv_at_wall(&writer->at)},
        {"format", kv_snapshot_format(&writer->at), 0},
        {"position", NULL, (int64_t)writer->at.position},
        {"store_id", store_id, 0},
        {"written_by", "kvsql " KVSQL_VERSION, 0},
    };
    sqlite3_stmt *stmt = NULL;
    char name[40];
    kvsql_rc rc = kv_snapshot_prepare(writer->db,
                                      "INSERT INTO kv_meta VALUES(?1, ?2)",
                                      writer->path, &stmt, err);

    for (size_t i = 0; rc == KVSQL_OK && i < sizeof first / sizeof *first; i++)
        rc = snapshot_meta_put(writer, stmt, first[i].name, first[i].text,
                               first[i].number, err);
    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_TABLES; i++) {
        (void)snprintf(name, sizeof name, "rows.%s",
                       kv_snapshot_layouts[i].name);
        rc = snapshot_meta_put(writer, stmt, name, NULL,
                               (int64_t)writer->rows[i], err);
    }
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* The view of a definition. One that cannot be made, say because a table has
 * its name, is left out: kv_schema has what counts. */
static kvsql_rc snapshot_def_view(struct snapshot_writer *writer,
                                  const struct kv_def *def,
                                  struct kvsql_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(writer->db, (const char *)def->view.p,
                                  (int)def->view.size, &stmt, NULL);

    if (code == SQLITE_OK && stmt != NULL) {
        (void)sqlite3_step(stmt); /* reset reports what it said */
        code = sqlite3_reset(stmt);
    }
    (void)sqlite3_finalize(stmt);
    if (code == SQLITE_OK || code == SQLITE_ERROR)
        return KVSQL_OK;
    return kv_snapshot_fail(err, writer->db, code, "write a view of",
                            writer->path);
}

/* kv_schema, and a view for each of its rows. */
static kvsql_rc snapshot_defs(struct snapshot_writer *writer,
                              struct kvsql_error *err)
{
    sqlite3_stmt *stmt = NULL;
    struct kv_def def;
    size_t place = 0;
    kvsql_rc rc = kv_snapshot_prepare(writer->db,
                                      "INSERT INTO kv_schema VALUES(?1, ?2)",
                                      writer->path, &stmt, err);

    while (rc == KVSQL_OK && kv_def_next(&writer->at, &place, &def)) {
        int code = sqlite3_bind_text(stmt, 1, def.name.p, (int)def.name.size,
                                     SQLITE_STATIC);
        if (code == SQLITE_OK)
            code = sqlite3_bind_text(stmt, 2, def.text.p, (int)def.text.size,
                                     SQLITE_STATIC);
        if (code == SQLITE_OK) {
            (void)sqlite3_step(stmt); /* reset reports what it said */
            code = sqlite3_reset(stmt);
        }
        writer->rows[SNAPSHOT_SCHEMA]++;
        rc = code == SQLITE_OK ? snapshot_def_view(writer, &def, err)
                               : kv_snapshot_fail(err, writer->db, code,
                                                  "write kv_schema of",
                                                  writer->path);
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
    rc = kv_snapshot_exec(writer->db,
                          "CREATE INDEX zsets_score ON "
                          "zsets(key, score, member)",
                          "make the index of", writer->path, err);
    if (rc == KVSQL_OK)
        rc = snapshot_defs(writer, err);
    if (rc == KVSQL_OK && kv_snapshot_has_answers(&writer->at))
        rc = kv_snapshot_put_answers(writer->db, writer->path, &writer->at,
                                     err);
    if (rc == KVSQL_OK)
        rc = snapshot_meta(writer, store_id, err);
    if (rc == KVSQL_OK)
        rc = kv_snapshot_exec(writer->db, "COMMIT", "finish", writer->path,
                              err);
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
        .path = path, .view = view, .progress = progress, .progress_arg = arg};

    KV_ASSERT(strlen(store_id) == 32);
    *info = (struct kv_snapshot_info){.size = 0};
    kv_at_view(view, &writer.at);
    kvsql_rc rc = snapshot_create(os, path, err);
    if (rc != KVSQL_OK)
        return rc;
    rc = kv_snapshot_file(path, "?mode=rw", SQLITE_OPEN_READWRITE, &writer.db,
                          err);
    if (rc == KVSQL_OK)
        rc = snapshot_write_tables(&writer, store_id, err);
    int code = sqlite3_close(writer.db); /* NULL is fine */
    KV_ASSERT(code == SQLITE_OK); /* every statement was finalized */
    if (rc == KVSQL_OK)
        rc = kv_snapshot_size(os, path, true, &info->size, err);
    if (rc != KVSQL_OK)
        return rc;
    info->position = kv_view_position(view);
    info->created_at = kv_at_wall(&writer.at);
    info->keys = writer.rows[SNAPSHOT_KEYS];
    info->ms = (kv_os_mono_ns() - began_ns) / 1000000;
    snapshot_report(&writer, info->keys, info->keys);
    return KVSQL_OK;
}
