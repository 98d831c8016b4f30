/* snapshot_source.c - the rows of a snapshot, table by table, for its loader.
 *
 * A file that kvsql wrote is read as pages. What SQLite reads and pages_read.c
 * does not, is read by statements, which takes longer: one that was given a wal or
 * another encoding.
 *
 * Thread: the caller's. */
#include "kvsql/snapshot_private.h"

#include <string.h>

static const unsigned source_columns[SNAPSHOT_FILLED] = {
    [SNAPSHOT_KEYS] = 4,  [SNAPSHOT_STRINGS] = 3, [SNAPSHOT_HASHES] = 4,
    [SNAPSHOT_LISTS] = 3, [SNAPSHOT_SETS] = 2,    [SNAPSHOT_ZSETS] = 3};

/* ---- opening ---------------------------------------------------------------- */

/* The first page of a table's b-tree. */
static kvsql_rc source_root(const struct snapshot_source *source,
                            enum snapshot_table table, uint32_t *root,
                            struct kvsql_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int64_t number = 0;
    kvsql_rc rc = kv_snapshot_prepare(
        source->db,
        "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = ?1",
        source->path, &stmt, err);

    if (rc == KVSQL_OK) {
        int code = sqlite3_bind_text(stmt, 1, kv_snapshot_layouts[table].name,
                                     -1, SQLITE_STATIC);
        if (code == SQLITE_OK)
            code = sqlite3_step(stmt);
        if (code == SQLITE_ROW)
            number = sqlite3_column_int64(stmt, 0);
        else
            rc = kv_snapshot_fail(err, source->db, code, "read", source->path);
    }
    (void)sqlite3_finalize(stmt);
    *root = number > 0 && number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
    return rc;
}

static kvsql_rc source_file(struct snapshot_source *source,
                            const struct kv_os *os, struct kvsql_error *err)
{
    const char *name;
    int dir, fd;
    kvsql_rc rc = kv_snapshot_dir(os, source->path, &dir, &name, err);

    if (rc != KVSQL_OK)
        return rc;
    const int result = os->open(os->arg, dir, name, KV_OS_READ, &fd);
    os->dir_close(os->arg, dir);
    if (result < 0)
        return kv_fail(err, KVSQL_IO, "snapshot: cannot open %s: %s",
                       source->path, kv_os_error(-result));
    return kv_page_file_open(&source->file, os, fd, source->path,
                             &source->paged, err);
}

kvsql_rc kv_snapshot_source_open(struct snapshot_source *source, sqlite3 *db,
                                 const struct kv_os *os, const char *path,
                                 struct kvsql_error *err)
{
    *source = (struct snapshot_source){.db = db, .path = path};
    source->file.file = -1;
    kvsql_rc rc = source_file(source, os, err);

    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_FILLED; i++) {
        uint32_t root;
        if (!source->paged) {
            rc = kv_snapshot_prepare(db, kv_snapshot_layouts[i].read, path,
                                     &source->stmts[i], err);
            continue;
        }
        rc = source_root(source, (enum snapshot_table)i, &root, err);
        if (rc == KVSQL_OK)
            kv_page_cursor_init(&source->cursors[i], &source->file, root,
                                source_columns[i]);
    }
    return rc;
}

void kv_snapshot_source_close(struct snapshot_source *source)
{
    if (source->db == NULL)
        return;
    for (int i = 0; i < SNAPSHOT_FILLED; i++) {
        (void)sqlite3_finalize(source->stmts[i]);
        if (source->cursors[i].file != NULL)
            kv_page_cursor_fini(&source->cursors[i]);
    }
    kv_page_file_fini(&source->file);
    source->db = NULL;
}

/* ---- rows -------------------------------------------------------------------- */

/* sqlite3_column_value gives an unprotected value, which is as good as any on
 * a connection without mutexes, and half the calls of sqlite3_column_x. */
static void source_value(sqlite3_stmt *stmt, int column,
                         struct kv_page_value *out)
{
    sqlite3_value *const cell = sqlite3_column_value(stmt, column);
    const int type = sqlite3_value_type(cell);

    out->size = 0;
    switch (type) {
    case SQLITE_INTEGER:
        out->kind = KV_PAGE_INT;
        out->number = sqlite3_value_int64(cell);
        break;
    case SQLITE_FLOAT:
        out->kind = KV_PAGE_REAL;
        out->real = sqlite3_value_double(cell);
        break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        out->kind = type == SQLITE_TEXT ? KV_PAGE_TEXT : KV_PAGE_BLOB;
        out->p = sqlite3_value_blob(cell);
        out->size = (uint32_t)sqlite3_value_bytes(cell);
        break;
    default:
        out->kind = KV_PAGE_NULL;
        break;
    }
}

static kvsql_rc source_step_sqlite(struct snapshot_source *source,
                                   enum snapshot_table table,
                                   struct kvsql_error *err)
{
    sqlite3_stmt *const stmt = source->stmts[table];
    const int code = sqlite3_step(stmt);

    source->row[table] = NULL;
    if (code == SQLITE_DONE)
        return KVSQL_OK;
    if (code != SQLITE_ROW)
        return kv_snapshot_fail(err, source->db, code, "read", source->path);
    source->row[table] = source->values[table];
    source->rows[table]++;
    for (unsigned i = 0; i < source_columns[table]; i++)
        source_value(stmt, (int)i, &source->values[table][i]);
    return KVSQL_OK;
}

kvsql_rc kv_snapshot_source_step(struct snapshot_source *source,
                                 enum snapshot_table table,
                                 struct kvsql_error *err)
{
    struct kv_page_cursor *const cursor = &source->cursors[table];

    if (KV_UNLIKELY(!source->paged))
        return source_step_sqlite(source, table, err);
    const kvsql_rc rc = kv_page_cursor_next(cursor, err);
    source->rows[table] = cursor->rows;
    source->row[table] =
        rc == KVSQL_OK && cursor->at_row ? cursor->values : NULL;
    if (table == SNAPSHOT_ZSETS && source->row[table] != NULL) {
        struct kv_page_value *const score = &cursor->values[2];
        if (score->kind == KV_PAGE_INT) { /* of a column REAL */
            score->kind = KV_PAGE_REAL;
            score->real = (double)score->number;
        }
    }
    return rc;
}
