/* dbimport.c - the portable tables of an SQLite file, read with suspicion (P8).
 *
 * The table of each type is read in the order of the store, and beside it
 * `keys`, if the file has it, in the same order: a key of this type that the
 * table does not have, and one of the table that `keys` gives another type,
 * are errors. A key that `keys` does not name is taken: whoever adds a row to
 * a copy of a snapshot need not think of `keys`. Lengths are counted anew.
 *
 * Always true:
 *   DI1  only stored columns of real tables are read: no view, no virtual
 *        table, no generated column, so no expression of the file is run.
 *   DI2  a name (key, field, member) is TEXT or BLOB as the store's bytes are,
 *        so that no two of a file are one of the store. Numbers stand only
 *        where they can mean one thing: as values and scores.
 *   DI3  the file is read in one transaction of SQLite: what another process
 *        does to it meanwhile is not seen.
 *
 * Thread: the owner's. */
#include "vtab/dbimport.h"

#include <stdio.h>
#include <string.h>

#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"
#include "vtab/sqlite.h"

#define DBIMPORT_ID 0x6B767371 /* application_id of a snapshot */
#define DBIMPORT_MAJOR 1       /* of its format */
#define DBIMPORT_SQL_MAX 512
#define DBIMPORT_SHOW_SIZE 96
#define DBIMPORT_DEF_MAX (1u << 20) /* bytes of a declaration */

/* The columns of a table: key first, then what its rows are ordered by. */
struct dbimport_shape {
    const char *table;
    const char *order;   /* second column, "" none: one row for each key */
    const char *columns; /* third, "" none */
    bool times;          /* may have expires_at */
};
static const struct dbimport_shape dbimport_shapes[] = {
    [KV_NONE] = {"keys", "", "type", true},
    [KV_STRING] = {"strings", "", "value", true},
    [KV_HASH] = {"hashes", "field", "value", true},
    [KV_LIST] = {"lists", "idx", "value", false},
    [KV_SET] = {"sets", "member", "", false},
    [KV_ZSET] = {"zsets", "member", "score", false}};
#define DBIMPORT_TABLES (KV_ZSET + 1)

enum { DBIMPORT_KEY, DBIMPORT_ORDER, DBIMPORT_VALUE, DBIMPORT_TIME,
       DBIMPORT_ROWID };

struct vt_dbimport {
    sqlite3 *db;
    const char *path;
    bool has[DBIMPORT_TABLES];
    bool rowid[DBIMPORT_TABLES];
    bool has_time[DBIMPORT_TABLES];
    bool has_schema;
    uint64_t rows, read;
    sqlite3_stmt *defs, *keys, *stmt; /* stmt reads the table of `type` */
    enum kv_type type;                /* KV_NONE: not begun */
    uint64_t ordinal;                 /* of the row of stmt */
    bool at_key;                      /* keys stands on a row */
    struct kv_buf key, order;         /* cells of the row before: class, bytes */
    int64_t order_index;              /* of a list */
    int64_t key_time;                 /* of the row of keys */
    int64_t expires_at;               /* of the key, by `keys` */
    struct kvsql_error *err;
    char number[KV_DOUBLE_TEXT_MAX];
};

/* ---- errors ------------------------------------------------------------------- */

static kvsql_rc dbimport_failed(const struct vt_dbimport *file, int code)
{
    kvsql_rc rc = KVSQL_IO;

    code &= 0xFF;
    if (code == SQLITE_NOMEM || file->db == NULL)
        return kv_fail(file->err, KVSQL_NOMEM, "no memory to read %s",
                       file->path);
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        rc = KVSQL_CORRUPT;
    else if (code == SQLITE_ERROR || code == SQLITE_TOOBIG)
        rc = KVSQL_INVALID;
    return kv_fail(file->err, rc, "cannot read %s: %s", file->path,
                   sqlite3_errmsg(file->db));
}

/* The key in the first column, for people. */
static const char *dbimport_show(sqlite3_stmt *stmt,
                                 char shown[DBIMPORT_SHOW_SIZE])
{
    const void *p = sqlite3_column_blob(stmt, 0);

    return kv_text_show(shown, DBIMPORT_SHOW_SIZE, p != NULL ? p : "",
                        (size_t)sqlite3_column_bytes(stmt, 0));
}

/* Something is wrong with the row that `stmt` stands on. */
static kvsql_rc dbimport_wrong(const struct vt_dbimport *file,
                               enum kv_type table, sqlite3_stmt *stmt,
                               const char *what)
{
    char shown[DBIMPORT_SHOW_SIZE], row[DBIMPORT_SHOW_SIZE] = "";

    if (file->rowid[table])
        (void)snprintf(row, sizeof row, "rowid %lld, ",
                       (long long)sqlite3_column_int64(stmt, DBIMPORT_ROWID));
    else if (stmt == file->stmt)
        (void)snprintf(row, sizeof row, "row %llu by key, ",
                       (unsigned long long)file->ordinal);
    return kv_fail(file->err, KVSQL_INVALID, "%s: table %s, %skey '%s': %s",
                   file->path, dbimport_shapes[table].table, row,
                   dbimport_show(stmt, shown), what);
}

/* ---- cells -------------------------------------------------------------------- */

/* Bytes of a TEXT or BLOB cell; a sentence when it is neither. */
static const char *dbimport_bytes(sqlite3_stmt *stmt, int column,
                                  kvsql_slice *out)
{
    const int type = sqlite3_column_type(stmt, column);
    const void *p = type == SQLITE_TEXT
                        ? (const void *)sqlite3_column_text(stmt, column)
                        : sqlite3_column_blob(stmt, column);

    *out = (kvsql_slice){p != NULL ? p : "",
                         (size_t)sqlite3_column_bytes(stmt, column)};
    if (type == SQLITE_NULL) return "is NULL";
    if (type != SQLITE_TEXT && type != SQLITE_BLOB)
        return "is a number: CAST it AS TEXT";
    if (type == SQLITE_TEXT && kv_utf8_prefix(out->p, out->size) != out->size)
        return "is TEXT that is not UTF-8: CAST it AS BLOB";
    return NULL;
}

/* A name: of the class that the store gives its bytes (DI2). */
static const char *dbimport_name(sqlite3_stmt *stmt, int column,
                                 kvsql_slice *out)
{
    const char *wrong = dbimport_bytes(stmt, column, out);
    const bool blob = sqlite3_column_type(stmt, column) == SQLITE_BLOB;

    if (wrong != NULL || blob == (kv_class_of(out->p, out->size) == KV_BLOB))
        return wrong;
    return blob ? "is a BLOB of text: CAST it AS TEXT"
                : "is TEXT with a NUL: CAST it AS BLOB";
}

/* A value: numbers as their text. */
static const char *dbimport_value(struct vt_dbimport *file, kvsql_slice *out)
{
    switch (sqlite3_column_type(file->stmt, DBIMPORT_VALUE)) {
    case SQLITE_INTEGER:
        *out = (kvsql_slice){
            file->number,
            kv_num_format_int(file->number,
                              sqlite3_column_int64(file->stmt,
                                                   DBIMPORT_VALUE))};
        return NULL;
    case SQLITE_FLOAT:
        *out = (kvsql_slice){
            file->number,
            kv_num_format_double(file->number,
                                 sqlite3_column_double(file->stmt,
                                                       DBIMPORT_VALUE))};
        return NULL;
    default: return dbimport_bytes(file->stmt, DBIMPORT_VALUE, out);
    }
}

static const char *dbimport_time(sqlite3_stmt *stmt, int64_t *out)
{
    const int type = sqlite3_column_type(stmt, DBIMPORT_TIME);

    *out = sqlite3_column_int64(stmt, DBIMPORT_TIME);
    return type == SQLITE_NULL || (type == SQLITE_INTEGER && *out > 0)
               ? NULL
               : "expires_at is no time in ms since 1970, from 1 on";
}

/* The order of a cell and what was kept of one: SQLite's, by class and bytes. */
static int dbimport_compare(const struct kv_buf *kept, sqlite3_stmt *stmt,
                            int column)
{
    const uint8_t cls = sqlite3_column_type(stmt, column) == SQLITE_BLOB;
    const void *p = sqlite3_column_blob(stmt, column);
    const size_t size = (size_t)sqlite3_column_bytes(stmt, column);
    const size_t kept_size = kept->size - 1;
    const size_t least = size < kept_size ? size : kept_size;

    if (kept->p[0] != cls) return kept->p[0] < cls ? -1 : 1;
    const int order = least > 0 ? memcmp(kept->p + 1, p, least) : 0;
    return order != 0 ? order : (kept_size > size) - (kept_size < size);
}

static void dbimport_keep(struct kv_buf *kept, sqlite3_stmt *stmt, int column)
{
    kv_buf_reset(kept, 1u << 20);
    kv_buf_byte(kept, sqlite3_column_type(stmt, column) == SQLITE_BLOB);
    kv_buf_add(kept, sqlite3_column_blob(stmt, column),
               (size_t)sqlite3_column_bytes(stmt, column));
}

/* ---- the file as a whole -------------------------------------------------------- */

/* Prepare, bind `text` if there is one, and step; *row false at the end. */
static kvsql_rc dbimport_ask(struct vt_dbimport *file, const char *sql,
                             const char *text, sqlite3_stmt **stmt, bool *row)
{
    int code = sqlite3_prepare_v2(file->db, sql, -1, stmt, NULL);

    if (code == SQLITE_OK && text != NULL)
        code = sqlite3_bind_text(*stmt, 1, text, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_step(*stmt);
    *row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE
               ? KVSQL_OK
               : dbimport_failed(file, code);
}

static kvsql_rc dbimport_int(struct vt_dbimport *file, const char *sql,
                             const char *text, int64_t *out)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    const kvsql_rc rc = dbimport_ask(file, sql, text, &stmt, &row);

    *out = row ? sqlite3_column_int64(stmt, 0) : 0;
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* *is: there is a table of this name; a view or virtual table is an error. */
static kvsql_rc dbimport_table(struct vt_dbimport *file, const char *name,
                               bool *is)
{
    sqlite3_stmt *stmt = NULL;
    kvsql_rc rc = dbimport_ask(
        file,
        "SELECT type = 'table' AND rootpage > 0 FROM sqlite_schema WHERE "
        "type IN ('table', 'view') AND name = ?1 COLLATE NOCASE",
        name, &stmt, is);

    if (rc == KVSQL_OK && *is && sqlite3_column_int(stmt, 0) == 0)
        rc = kv_fail(file->err, KVSQL_INVALID,
                     "%s: %s is no table of its own: a view or virtual table "
                     "is not read",
                     file->path, name);
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* *is: the table has this column, stored. */
static kvsql_rc dbimport_column(struct vt_dbimport *file, const char *table,
                                const char *name, bool needed, bool *is)
{
    char sql[DBIMPORT_SQL_MAX];
    int64_t found;

    (void)snprintf(sql, sizeof sql,
                   "SELECT 1 + hidden FROM pragma_table_xinfo('%s') WHERE "
                   "name = ?1 COLLATE NOCASE",
                   table);
    const kvsql_rc rc = dbimport_int(file, sql, name, &found);
    *is = found == 1;
    if (rc != KVSQL_OK || *is || (found == 0 && !needed)) return rc;
    return kv_fail(file->err, KVSQL_INVALID,
                   found == 0 ? "%s: table %s has no column %s"
                              : "%s: table %s: column %s is generated, not "
                                "stored",
                   file->path, table, name);
}

static kvsql_rc dbimport_columns(struct vt_dbimport *file, enum kv_type table)
{
    const struct dbimport_shape *shape = &dbimport_shapes[table];
    const char *const names[] = {"key", shape->order, shape->columns};
    char sql[DBIMPORT_SQL_MAX];
    sqlite3_stmt *stmt = NULL;
    int64_t count;
    bool is = false;
    kvsql_rc rc = KVSQL_OK;

    for (size_t i = 0; rc == KVSQL_OK && i < 3; i++)
        if (names[i][0] != '\0')
            rc = dbimport_column(file, shape->table, names[i], true, &is);
    if (rc == KVSQL_OK && shape->times)
        rc = dbimport_column(file, shape->table, "expires_at", false,
                             &file->has_time[table]);
    if (rc == KVSQL_OK) /* another's rowid is not read (DI1) */
        rc = dbimport_column(file, shape->table, "rowid", false, &is);
    (void)snprintf(sql, sizeof sql, "SELECT rowid FROM %s", shape->table);
    file->rowid[table] =
        rc == KVSQL_OK && !is &&
        sqlite3_prepare_v2(file->db, sql, -1, &stmt, NULL) == SQLITE_OK;
    (void)sqlite3_finalize(stmt);
    if (rc != KVSQL_OK || table == KV_NONE) return rc;
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", shape->table);
    rc = dbimport_int(file, sql, NULL, &count);
    file->rows += (uint64_t)count;
    return rc;
}

/* A key in two tables of types; `keys` tells that for itself where it is. */
static kvsql_rc dbimport_apart(struct vt_dbimport *file)
{
    char sql[DBIMPORT_SQL_MAX] = "";
    sqlite3_stmt *stmt = NULL;
    char shown[DBIMPORT_SHOW_SIZE];
    size_t n = 0;
    bool row = false;

    for (enum kv_type type = KV_STRING; type <= KV_ZSET; type++)
        if (file->has[type])
            n += (size_t)snprintf(
                sql + n, sizeof sql - n, "%sSELECT DISTINCT key FROM %s",
                n == 0 ? "SELECT key FROM (" : " UNION ALL ",
                dbimport_shapes[type].table);
    (void)snprintf(sql + n, sizeof sql - n,
                   ") GROUP BY key COLLATE BINARY HAVING count(*) > 1 LIMIT 1");
    kvsql_rc rc = dbimport_ask(file, sql, NULL, &stmt, &row);
    if (rc == KVSQL_OK && row)
        rc = kv_fail(file->err, KVSQL_INVALID,
                     "%s: key '%s' is in more than one of the tables",
                     file->path,
                     dbimport_show(stmt, shown));
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* Every type that `keys` names has its table. */
static kvsql_rc dbimport_types(struct vt_dbimport *file)
{
    char sql[DBIMPORT_SQL_MAX] = "", shown[DBIMPORT_SHOW_SIZE];
    sqlite3_stmt *stmt = NULL;
    size_t n = (size_t)snprintf(sql, sizeof sql,
                                "SELECT key FROM keys WHERE type NOT IN (''");
    bool row = false;

    for (enum kv_type type = KV_STRING; type <= KV_ZSET; type++)
        if (file->has[type])
            n += (size_t)snprintf(sql + n, sizeof sql - n, ",'%s'",
                                  kv_type_name(type));
    (void)snprintf(sql + n, sizeof sql - n, ") LIMIT 1");
    kvsql_rc rc = dbimport_ask(file, sql, NULL, &stmt, &row);
    if (rc == KVSQL_OK && row)
        rc = kv_fail(file->err, KVSQL_INVALID,
                     "%s: table keys, key '%s': the file has no table of its "
                     "type",
                     file->path,
                     dbimport_show(stmt, shown));
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* Text is compared as its bytes stand in the file. */
static kvsql_rc dbimport_encoding(struct vt_dbimport *file)
{
    int64_t is;
    const kvsql_rc rc = dbimport_int(
        file, "SELECT encoding = 'UTF-8' FROM pragma_encoding", NULL, &is);

    return rc != KVSQL_OK || is != 0
               ? rc
               : kv_fail(file->err, KVSQL_INVALID,
                         "%s keeps its text as UTF-16: copy it by sqlite3's "
                         ".dump into a new file",
                         file->path);
}

/* What a snapshot of a later format may have. */
static kvsql_rc dbimport_newer(struct vt_dbimport *file)
{
    static const char *const streams[] = {"streams", "stream_state",
                                          "stream_groups"};
    char sql[DBIMPORT_SQL_MAX];
    int64_t id, version;
    bool is = false;
    kvsql_rc rc = dbimport_int(file, "PRAGMA application_id", NULL, &id);

    if (rc == KVSQL_OK)
        rc = dbimport_int(file, "PRAGMA user_version", NULL, &version);
    if (rc == KVSQL_OK && id == DBIMPORT_ID && version / 1000 > DBIMPORT_MAJOR)
        return kv_fail(file->err, KVSQL_NEWER,
                       "%s is a snapshot of format %lld.%lld, which this kvsql "
                       "cannot read; use a later one",
                       file->path, (long long)(version / 1000),
                       (long long)(version % 1000));
    for (size_t i = 0; rc == KVSQL_OK && i < 3; i++) {
        rc = dbimport_table(file, streams[i], &is);
        (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", streams[i]);
        if (rc == KVSQL_OK && is) rc = dbimport_int(file, sql, NULL, &version);
        if (rc == KVSQL_OK && is && version > 0)
            rc = kv_fail(file->err, KVSQL_NEWER,
                         "%s has rows in %s, which this kvsql cannot read; use "
                         "a later one",
                         file->path, streams[i]);
    }
    return rc;
}

static kvsql_rc dbimport_tables(struct vt_dbimport *file)
{
    bool any = false, is;
    kvsql_rc rc = dbimport_encoding(file);

    if (rc == KVSQL_OK) rc = dbimport_newer(file);
    for (enum kv_type i = KV_NONE; rc == KVSQL_OK && i < DBIMPORT_TABLES; i++) {
        rc = dbimport_table(file, dbimport_shapes[i].table, &file->has[i]);
        any = any || (file->has[i] && i != KV_NONE);
        if (rc == KVSQL_OK && file->has[i]) rc = dbimport_columns(file, i);
    }
    if (rc == KVSQL_OK)
        rc = dbimport_table(file, "kv_schema", &file->has_schema);
    if (rc == KVSQL_OK && file->has_schema)
        rc = dbimport_column(file, "kv_schema", "name", true, &is);
    if (rc == KVSQL_OK && file->has_schema)
        rc = dbimport_column(file, "kv_schema", "sql", true, &is);
    if (rc == KVSQL_OK && !any)
        rc = kv_fail(file->err, KVSQL_INVALID,
                     "%s has none of the tables strings, hashes, lists, sets, "
                     "zsets",
                     file->path);
    if (rc != KVSQL_OK) return rc;
    return file->has[KV_NONE] ? dbimport_types(file) : dbimport_apart(file);
}

static kvsql_rc dbimport_quick_check(struct vt_dbimport *file)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    kvsql_rc rc = dbimport_ask(file, "PRAGMA quick_check(1)", NULL, &stmt, &row);
    const char *said =
        row ? (const char *)sqlite3_column_text(stmt, 0) : NULL;

    if (rc == KVSQL_OK && (said == NULL || strcmp(said, "ok") != 0))
        rc = kv_fail(file->err, KVSQL_CORRUPT, "%s is damaged: %s", file->path,
                     said != NULL ? said : "SQLite's quick_check says nothing");
    (void)sqlite3_finalize(stmt);
    return rc;
}

static kvsql_rc dbimport_connect(struct vt_dbimport *file)
{
    static const int off[] = {SQLITE_DBCONFIG_TRUSTED_SCHEMA,
                              SQLITE_DBCONFIG_DQS_DML, SQLITE_DBCONFIG_DQS_DDL,
                              SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION,
                              SQLITE_DBCONFIG_ENABLE_TRIGGER,
                              SQLITE_DBCONFIG_ENABLE_VIEW};
    int code = sqlite3_open_v2(file->path, &file->db,
                               SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX |
                                   SQLITE_OPEN_PRIVATECACHE,
                               NULL);

    if (code != SQLITE_OK) return dbimport_failed(file, code);
    (void)sqlite3_db_config(file->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        (void)sqlite3_db_config(file->db, off[i], 0, NULL);
    (void)sqlite3_limit(file->db, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_limit(file->db, SQLITE_LIMIT_LENGTH,
                        (int)KVSQL_VALUE_MAX + (1 << 20));
    (void)sqlite3_limit(file->db, SQLITE_LIMIT_WORKER_THREADS, 0);
    code = sqlite3_exec(file->db,
                        "PRAGMA mmap_size=0; PRAGMA cell_size_check=1;"
                        "PRAGMA query_only=1; BEGIN;"
                        "SELECT count(*) FROM sqlite_schema",
                        NULL, NULL, NULL);
    return code == SQLITE_OK ? KVSQL_OK : dbimport_failed(file, code);
}

kvsql_rc vt_dbimport_open(const char *path, struct vt_dbimport **out,
                          struct kvsql_error *err)
{
    struct vt_dbimport *file = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *file);

    *out = NULL;
    if (file == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory to read %s", path);
    file->path = path;
    file->err = err;
    kv_buf_init(&file->key, KV_MEM_CLIENT, (size_t)KVSQL_KEY_MAX + 1);
    kv_buf_init(&file->order, KV_MEM_CLIENT, (size_t)KVSQL_VALUE_MAX + 1);
    kvsql_rc rc = dbimport_connect(file);
    if (rc == KVSQL_OK) rc = dbimport_quick_check(file);
    if (rc == KVSQL_OK) rc = dbimport_tables(file);
    if (rc != KVSQL_OK) {
        vt_dbimport_close(file);
        return rc;
    }
    *out = file;
    return KVSQL_OK;
}

/* ---- declared tables ------------------------------------------------------------- */

/* Behind a name: "..", or letters, digits and _. */
static const char *dbimport_behind_name(const char *sql)
{
    if (*sql != '"')
        return sql + strspn(sql, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789_");
    for (sql++; *sql != '\0'; sql++) {
        if (*sql != '"') continue;
        if (sql[1] != '"') return sql + 1;
        sql++;
    }
    return sql;
}

/* No comment or other module hides before the words that are looked for. */
static bool dbimport_declares(const char *sql)
{
    static const char begin[] = "CREATE VIRTUAL TABLE ";
    static const char end[] = " USING kv_hash(";

    if (sqlite3_strnicmp(sql, begin, sizeof begin - 1) != 0) return false;
    sql = dbimport_behind_name(sql + sizeof begin - 1);
    return sqlite3_strnicmp(sql, end, sizeof end - 1) == 0;
}

kvsql_rc vt_dbimport_define(struct vt_dbimport *file,
                            struct vt_dbimport_def *def,
                            struct kvsql_error *err)
{
    const kvsql_slice none = {NULL, 0};
    const char *wrong;
    bool row = false;
    kvsql_rc rc = KVSQL_OK;

    file->err = err;
    *def = (struct vt_dbimport_def){none, none};
    if (!file->has_schema) return KVSQL_OK;
    if (file->defs == NULL) {
        rc = dbimport_ask(file, "SELECT name, sql FROM kv_schema ORDER BY name",
                          NULL, &file->defs, &row);
    } else {
        const int code = sqlite3_step(file->defs);

        row = code == SQLITE_ROW;
        if (!row && code != SQLITE_DONE) rc = dbimport_failed(file, code);
    }
    if (rc != KVSQL_OK || !row) return rc;
    wrong = dbimport_bytes(file->defs, 0, &def->name);
    if (wrong == NULL) wrong = dbimport_bytes(file->defs, 1, &def->sql);
    if (wrong == NULL &&
        (def->sql.size > DBIMPORT_DEF_MAX ||
         strlen(def->sql.p) != def->sql.size ||
         !dbimport_declares(def->sql.p)))
        wrong = "declares no kv_hash table";
    if (wrong != NULL) {
        char shown[DBIMPORT_SHOW_SIZE];

        rc = kv_fail(err, KVSQL_INVALID, "%s: table kv_schema, name '%s': its "
                     "sql or name %s",
                     file->path,
                     kv_text_show(shown, sizeof shown, def->name.p,
                                  def->name.size), wrong);
    }
    return rc;
}

/* ---- rows ------------------------------------------------------------------------ */

/* Begin to read a table in the order of the store. */
static kvsql_rc dbimport_begin(struct vt_dbimport *file, enum kv_type table,
                               sqlite3_stmt **stmt)
{
    const struct dbimport_shape *shape = &dbimport_shapes[table];
    const bool ordered = shape->order[0] != '\0';
    char sql[DBIMPORT_SQL_MAX];

    (void)snprintf(
        sql, sizeof sql,
        "SELECT key, %s, %s, %s, %s FROM %s ORDER BY key COLLATE BINARY%s%s%s",
        ordered ? shape->order : "NULL",
        shape->columns[0] != '\0' ? shape->columns : "NULL",
        file->has_time[table] ? "expires_at" : "NULL",
        file->rowid[table] ? "rowid" : "NULL", shape->table,
        ordered ? ", " : "", shape->order,
        ordered && table != KV_LIST ? " COLLATE BINARY" : "");
    const int code = sqlite3_prepare_v2(file->db, sql, -1, stmt, NULL);
    return code == SQLITE_OK ? KVSQL_OK : dbimport_failed(file, code);
}

/* The next row of `keys`, checked. */
static kvsql_rc dbimport_step_keys(struct vt_dbimport *file)
{
    const int code = sqlite3_step(file->keys);
    kvsql_slice key, type;

    file->at_key = code == SQLITE_ROW;
    if (code == SQLITE_DONE) return KVSQL_OK;
    if (code != SQLITE_ROW) return dbimport_failed(file, code);
    if (dbimport_bytes(file->keys, DBIMPORT_KEY, &key) != NULL ||
        key.size > KVSQL_KEY_MAX)
        return dbimport_wrong(file, KV_NONE, file->keys,
                              "its key is no TEXT or BLOB of at most 65536 "
                              "bytes");
    if (dbimport_bytes(file->keys, DBIMPORT_VALUE, &type) != NULL)
        return dbimport_wrong(file, KV_NONE, file->keys, "it has no type");
    const char *wrong = dbimport_time(file->keys, &file->key_time);
    return wrong == NULL ? KVSQL_OK
                         : dbimport_wrong(file, KV_NONE, file->keys, wrong);
}

static bool dbimport_typed(struct vt_dbimport *file)
{
    const char *name = kv_type_name(file->type);
    kvsql_slice type;

    return dbimport_bytes(file->keys, DBIMPORT_VALUE, &type) == NULL &&
           type.size == strlen(name) && memcmp(type.p, name, type.size) == 0;
}

/* Take `keys` to the key that was just begun, or with `end` to its end. What it
 * passes must be of other types. */
static kvsql_rc dbimport_follow(struct vt_dbimport *file, bool end)
{
    kvsql_rc rc = KVSQL_OK;

    while (rc == KVSQL_OK && file->at_key) {
        const int order =
            end ? 1 : dbimport_compare(&file->key, file->keys, DBIMPORT_KEY);

        if (order < 0) return KVSQL_OK;
        if (order == 0 && !dbimport_typed(file))
            return dbimport_wrong(file, file->type, file->stmt,
                                  "table keys gives this key another type");
        if (order == 0) {
            file->expires_at = file->key_time;
            return dbimport_step_keys(file);
        }
        if (dbimport_typed(file))
            return dbimport_wrong(file, KV_NONE, file->keys,
                                  "the table of its type has no row of it: "
                                  "delete it here, too");
        rc = dbimport_step_keys(file);
    }
    return rc;
}

/* The row belongs to another key than the one before. */
static kvsql_rc dbimport_key(struct vt_dbimport *file,
                             struct vt_dbimport_row *row)
{
    row->first = true;
    file->expires_at = 0;
    dbimport_keep(&file->key, file->stmt, DBIMPORT_KEY);
    kv_buf_reset(&file->order, 1u << 20);
    kvsql_rc rc = kv_buf_result(&file->key, "a key", file->err);
    return rc == KVSQL_OK ? dbimport_follow(file, false) : rc;
}

/* Field, member or place: behind that of the row before. */
static const char *dbimport_element(struct vt_dbimport *file,
                                    struct vt_dbimport_row *row)
{
    const char *wrong;

    if (row->type == KV_LIST) {
        const int64_t index = sqlite3_column_int64(file->stmt, DBIMPORT_ORDER);

        if (sqlite3_column_type(file->stmt, DBIMPORT_ORDER) != SQLITE_INTEGER)
            return "is no integer";
        if (!row->first && index <= file->order_index)
            return "is there twice";
        file->order_index = index;
        return NULL;
    }
    wrong = dbimport_name(file->stmt, DBIMPORT_ORDER, &row->name);
    if (wrong != NULL) return wrong;
    if (row->name.size > KVSQL_VALUE_MAX) return "is too long";
    if (!row->first &&
        dbimport_compare(&file->order, file->stmt, DBIMPORT_ORDER) >= 0)
        return "is there twice";
    dbimport_keep(&file->order, file->stmt, DBIMPORT_ORDER);
    return NULL;
}

/* The cells of the row; a sentence for what is wrong. */
static const char *dbimport_cells(struct vt_dbimport *file,
                                  struct vt_dbimport_row *row, char *text,
                                  size_t text_size)
{
    const struct dbimport_shape *shape = &dbimport_shapes[row->type];
    const char *wrong = NULL, *column = shape->order;
    const int kind = sqlite3_column_type(file->stmt, DBIMPORT_VALUE);

    if (row->type != KV_STRING) wrong = dbimport_element(file, row);
    if (wrong == NULL) {
        column = shape->columns;
        if (row->type == KV_ZSET && kind != SQLITE_FLOAT &&
            kind != SQLITE_INTEGER)
            wrong = "is no number";
        else if (row->type == KV_ZSET)
            row->score = sqlite3_column_double(file->stmt, DBIMPORT_VALUE);
        else if (row->type != KV_SET)
            wrong = dbimport_value(file, &row->value);
        if (wrong == NULL && row->value.size > KVSQL_VALUE_MAX)
            wrong = "is too long";
    }
    if (wrong == NULL)
        return dbimport_time(file->stmt, &row->field_expires_at);
    (void)snprintf(text, text_size, "%s %s", column, wrong);
    return text;
}

static kvsql_rc dbimport_row(struct vt_dbimport *file,
                             struct vt_dbimport_row *row)
{
    char text[DBIMPORT_SHOW_SIZE];
    const bool begun = file->key.size > 0;
    kvsql_rc rc = KVSQL_OK;

    row->type = file->type;
    file->ordinal++;
    file->read++;
    const char *wrong = dbimport_name(file->stmt, DBIMPORT_KEY, &row->key);
    if (wrong == NULL && row->key.size > KVSQL_KEY_MAX)
        wrong = "is longer than 65536 bytes";
    if (wrong != NULL) {
        (void)snprintf(text, sizeof text, "key %s", wrong);
        return dbimport_wrong(file, row->type, file->stmt, text);
    }
    if (!begun || dbimport_compare(&file->key, file->stmt, DBIMPORT_KEY) != 0)
        rc = dbimport_key(file, row);
    else if (row->type == KV_STRING)
        return dbimport_wrong(file, row->type, file->stmt,
                              "the key is there twice");
    if (rc != KVSQL_OK) return rc;
    wrong = dbimport_cells(file, row, text, sizeof text);
    if (wrong != NULL)
        return dbimport_wrong(file, row->type, file->stmt, wrong);
    row->expires_at = file->expires_at;
    if (row->type == KV_STRING && file->has_time[KV_STRING])
        row->expires_at = row->field_expires_at;
    return kv_buf_result(&file->order, "a field or member", file->err);
}

/* The table of the next type: from here on stmt and keys read it. */
static kvsql_rc dbimport_table_begin(struct vt_dbimport *file)
{
    kvsql_rc rc = dbimport_begin(file, file->type, &file->stmt);

    file->ordinal = 0;
    file->at_key = false;
    kv_buf_reset(&file->key, 1u << 20);
    if (rc == KVSQL_OK && file->has[KV_NONE])
        rc = dbimport_begin(file, KV_NONE, &file->keys);
    return rc == KVSQL_OK && file->has[KV_NONE] ? dbimport_step_keys(file) : rc;
}

static void dbimport_table_end(struct vt_dbimport *file)
{
    (void)sqlite3_finalize(file->stmt);
    (void)sqlite3_finalize(file->keys);
    file->stmt = file->keys = NULL;
    file->at_key = false;
}

kvsql_rc vt_dbimport_next(struct vt_dbimport *file, struct vt_dbimport_row *row,
                          struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    *row = (struct vt_dbimport_row){.type = KV_NONE};
    file->err = err;
    while (rc == KVSQL_OK) {
        if (file->stmt == NULL) {
            while (file->type < KV_ZSET && !file->has[++file->type])
                continue;
            if (file->type > KV_ZSET || !file->has[file->type]) return rc;
            rc = dbimport_table_begin(file);
            if (rc != KVSQL_OK) return rc;
        }
        const int code = sqlite3_step(file->stmt);
        if (code == SQLITE_ROW) return dbimport_row(file, row);
        if (code != SQLITE_DONE) return dbimport_failed(file, code);
        rc = dbimport_follow(file, true);
        dbimport_table_end(file);
        if (file->type == KV_ZSET) file->type++; /* behind the last */
    }
    return rc;
}

void vt_dbimport_again(struct vt_dbimport *file)
{
    dbimport_table_end(file);
    (void)sqlite3_finalize(file->defs);
    file->defs = NULL;
    file->type = KV_NONE;
    file->read = 0;
}

uint64_t vt_dbimport_rows(const struct vt_dbimport *file)
{
    return file->rows;
}

uint64_t vt_dbimport_read(const struct vt_dbimport *file)
{
    return file->read;
}

void vt_dbimport_close(struct vt_dbimport *file)
{
    if (file == NULL) return;
    vt_dbimport_again(file);
    (void)sqlite3_close(file->db);
    kv_buf_fini(&file->key);
    kv_buf_fini(&file->order);
    kv_mem_free(KV_MEM_CLIENT, file, sizeof *file);
}
