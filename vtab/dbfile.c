/* dbfile.c - rows of a statement as an SQLite file, made in memory.
 *
 * The file is a database of its own in memory, with one table and one INSERT
 * that is bound anew for each row. Columns have no type, so that every value
 * keeps the one it has. All of it is one transaction.
 *
 * Thread: the session's. */
#include "vtab/dbfile.h"

#include <string.h>

#include "kvsql/base/mem.h"
#include "vtab/sqlite.h"

struct vt_dbfile {
    const struct vt_statement *statement;
    sqlite3 *db;
    sqlite3_stmt *insert;
    int columns;
};

static kvsql_rc dbfile_failed(const struct vt_dbfile *file, int code,
                              struct kvsql_error *err)
{
    code &= 0xFF;
    if (code == SQLITE_NOMEM || file->db == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for a file of the result");
    if (code == SQLITE_TOOBIG || code == SQLITE_FULL)
        return kv_fail(err, KVSQL_TOOBIG,
                       "the result is too large for a file: %s",
                       sqlite3_errmsg(file->db));
    return kv_fail(err, KVSQL_INTERNAL, "a file of the result: %s",
                   sqlite3_errmsg(file->db));
}

/* How many columns before this one have its name. */
static int dbfile_same(const struct vt_statement *statement, int column)
{
    const char *name = vt_column_name(statement, column);
    int same = 0;

    for (int i = 0; i < column; i++)
        same += sqlite3_stricmp(vt_column_name(statement, i), name) == 0;
    return same;
}

/* CREATE TABLE result("a","b","a:1"), and an INSERT of as many values. */
static void dbfile_sql(const struct vt_dbfile *file, struct kv_buf *create,
                       struct kv_buf *insert)
{
    kv_buf_text(create, "CREATE TABLE result(");
    kv_buf_text(insert, "INSERT INTO result VALUES(");
    for (int i = 0; i < file->columns; i++) {
        const int same = dbfile_same(file->statement, i);
        kv_buf_text(create, i > 0 ? ",\"" : "\"");
        for (const char *p = vt_column_name(file->statement, i); *p; p++) {
            if (*p == '"')
                kv_buf_byte(create, '"');
            kv_buf_byte(create, (uint8_t)*p);
        }
        if (same > 0)
            kv_buf_printf(create, ":%d", same);
        kv_buf_byte(create, '"');
        kv_buf_text(insert, i > 0 ? ",?" : "?");
    }
    kv_buf_byte(create, ')');
    kv_buf_byte(insert, ')');
    kv_buf_byte(create, 0);
    kv_buf_byte(insert, 0);
}

static int dbfile_begin(struct vt_dbfile *file)
{
    struct kv_buf create, insert;
    int code = SQLITE_NOMEM;

    kv_buf_init(&create, KV_MEM_CLIENT, 1u << 20);
    kv_buf_init(&insert, KV_MEM_CLIENT, 1u << 20);
    dbfile_sql(file, &create, &insert);
    if (!create.failed && !insert.failed) {
        code = sqlite3_open_v2(":memory:", &file->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                   SQLITE_OPEN_NOMUTEX,
                               NULL);
        if (code == SQLITE_OK)
            code = sqlite3_exec(file->db, "BEGIN", NULL, NULL, NULL);
        if (code == SQLITE_OK)
            code = sqlite3_exec(file->db, (const char *)create.p, NULL, NULL,
                                NULL);
        if (code == SQLITE_OK)
            code = sqlite3_prepare_v2(file->db, (const char *)insert.p, -1,
                                      &file->insert, NULL);
    }
    kv_buf_fini(&create);
    kv_buf_fini(&insert);
    return code;
}

kvsql_rc vt_dbfile_open(const struct vt_statement *statement,
                        struct vt_dbfile **out, struct kvsql_error *err)
{
    struct vt_dbfile *file;
    kvsql_rc rc = KVSQL_OK;
    int code;

    *out = NULL;
    if (vt_column_count(statement) == 0)
        return kv_fail(err, KVSQL_INVALID,
                       "the statement has no rows to make a file of");
    file = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *file);
    if (file == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for a file of the result");
    file->statement = statement;
    file->columns = vt_column_count(statement);
    code = dbfile_begin(file);
    if (code != SQLITE_OK)
        rc = dbfile_failed(file, code, err);
    if (rc != KVSQL_OK) {
        vt_dbfile_close(file);
        return rc;
    }
    *out = file;
    return KVSQL_OK;
}

/* The bytes stay where they are until the row is written. */
static int dbfile_bind(struct vt_dbfile *file, int column)
{
    struct vt_value value;

    vt_column(file->statement, column, &value);
    switch (value.kind) {
    case VT_NULL:
        return sqlite3_bind_null(file->insert, column + 1);
    case VT_INTEGER:
        return sqlite3_bind_int64(file->insert, column + 1, value.integer);
    case VT_REAL:
        return sqlite3_bind_double(file->insert, column + 1, value.real);
    case VT_TEXT:
        return sqlite3_bind_text64(file->insert, column + 1,
                                   (const char *)value.p, value.size,
                                   SQLITE_STATIC, SQLITE_UTF8);
    case VT_BLOB:
        return sqlite3_bind_blob64(file->insert, column + 1,
                                   value.p != NULL ? value.p
                                                   : (const uint8_t *)"",
                                   value.size, SQLITE_STATIC);
    }
    return SQLITE_ERROR;
}

kvsql_rc vt_dbfile_row(struct vt_dbfile *file, struct kvsql_error *err)
{
    int code = SQLITE_OK;

    for (int i = 0; code == SQLITE_OK && i < file->columns; i++)
        code = dbfile_bind(file, i);
    if (code == SQLITE_OK && sqlite3_step(file->insert) != SQLITE_DONE)
        code = sqlite3_errcode(file->db);
    (void)sqlite3_reset(file->insert);
    (void)sqlite3_clear_bindings(file->insert); /* they were borrowed */
    return code == SQLITE_OK ? KVSQL_OK : dbfile_failed(file, code, err);
}

kvsql_rc vt_dbfile_bytes(struct vt_dbfile *file, struct kv_buf *out,
                         struct kvsql_error *err)
{
    sqlite3_int64 size = 0;
    unsigned char *bytes;
    int code = sqlite3_exec(file->db, "COMMIT", NULL, NULL, NULL);

    if (code != SQLITE_OK)
        return dbfile_failed(file, code, err);
    bytes = sqlite3_serialize(file->db, "main", &size, 0);
    if (bytes == NULL)
        return dbfile_failed(file, SQLITE_NOMEM, err);
    kv_buf_add(out, bytes, (size_t)size);
    sqlite3_free(bytes);
    return kv_buf_result(out, "the file of the result", err);
}

void vt_dbfile_close(struct vt_dbfile *file)
{
    if (file == NULL)
        return;
    (void)sqlite3_finalize(file->insert);
    (void)sqlite3_close(file->db);
    kv_mem_free(KV_MEM_CLIENT, file, sizeof *file);
}
