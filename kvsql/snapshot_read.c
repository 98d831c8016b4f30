/* snapshot_read.c - a store from its SQLite file.
 *
 * `keys` leads: its rows come in the order of the store, and each must find
 * its rows in the table of its type, in the number it states, with nothing
 * between and nothing left at the end. So a file that passes holds no key
 * without a value, no value without a key and no wrong length.
 *
 * Always true:
 *   P6  a file is read with immutable=1 and without mmap: no side file is
 *       looked at, and a file cut short gives an error, not SIGBUS. The rows of
 *       keys are read past SQLite (snapshot_source.c), which has checked what
 *       the file says of itself before.
 *
 * Thread: the caller's. */
#include "kvsql/admin.h"
#include "kvsql/snapshot_private.h"

#include <stdio.h>
#include <string.h>

#include "kvsql/base/mem.h"
#include "kvsql/load.h"

/* ---- rows to ops -------------------------------------------------------- */

struct snapshot_reader {
    sqlite3 *db;
    const char *path;
    struct kv_store *store;
    struct kv_load load;
    struct kvsql_error *err;
    struct snapshot_source source;
    struct kv_buf key_last, elem_last; /* for the order of rows */
    enum kv_type type_last;            /* of the last key */
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
                   reader->path, kv_snapshot_layouts[table].name,
                   kv_text_show(shown, sizeof shown, key->p, key->size), what);
}

/* The key read last, or none. */
static struct kv_key snapshot_key_last(const struct snapshot_reader *reader)
{
    const struct kv_buf *const last = &reader->key_last;

    return last->size > 0 ? (struct kv_key){.p = last->p + 1,
                                            .size = (uint32_t)(last->size - 1),
                                            .cls = last->p[0]}
                          : (struct kv_key){.p = (const uint8_t *)""};
}

static kvsql_rc snapshot_step(struct snapshot_reader *reader,
                              enum snapshot_table table)
{
    const kvsql_rc rc =
        kv_snapshot_source_step(&reader->source, table, reader->err);

    if (KV_LIKELY(rc != KVSQL_CORRUPT || !reader->source.paged))
        return rc;
    const struct kv_key last = snapshot_key_last(reader);
    return snapshot_damaged(reader, table, &last,
                            "a page at or behind it is not whole");
}

/* Bytes of a cell; false when it is neither TEXT nor BLOB, or its class is not
 * that of its bytes (VA1), or it is longer than `size_max`. They live until
 * the table's next step. */
static bool snapshot_cell(const struct kv_page_value *cell, size_t size_max,
                          struct kv_key *out)
{
    if ((cell->kind != KV_PAGE_TEXT && cell->kind != KV_PAGE_BLOB) ||
        cell->size > size_max || (cell->p == NULL && cell->size != 0))
        return false;
    *out = kv_key_of(cell->p, cell->size);
    return (out->cls == KV_TEXT) == (cell->kind == KV_PAGE_TEXT);
}

/* A time in ms, NULL = 0; false for anything else. */
static bool snapshot_cell_time(const struct kv_page_value *cell, int64_t *out)
{
    *out = cell->kind == KV_PAGE_INT ? cell->number : 0;
    return cell->kind == KV_PAGE_NULL ||
           (cell->kind == KV_PAGE_INT && *out > 0);
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
    if (KV_UNLIKELY(last->cap > SNAPSHOT_CHUNK))
        kv_buf_reset(last, SNAPSHOT_CHUNK);
    last->size = 0;
    if (KV_LIKELY(kv_buf_reserve(last, (size_t)key->size + 1))) {
        last->p[0] = key->cls;
        if (key->size > 0)
            memcpy(last->p + 1, key->p, key->size);
        last->size = (size_t)key->size + 1;
    }
    return true;
}

/* The type that a cell names; KV_NONE: none. `likely` is asked first: many keys
 * in a row have one type. */
static enum kv_type snapshot_cell_type(const struct kv_page_value *cell,
                                       enum kv_type likely)
{
    if (cell->kind != KV_PAGE_TEXT || cell->p == NULL)
        return KV_NONE;
    for (unsigned i = 0; i <= KV_STREAM; i++) {
        const unsigned type = i == 0 ? likely : i;
        const char *const name = kv_type_name(type);
        if (type != KV_NONE && strlen(name) == cell->size &&
            memcmp(name, cell->p, cell->size) == 0)
            return (enum kv_type)type;
    }
    return KV_NONE;
}

/* A count of elements or bytes; false for anything else. */
static bool snapshot_cell_length(const struct kv_page_value *cell,
                                 uint64_t *length)
{
    *length = cell->kind == KV_PAGE_INT ? (uint64_t)cell->number : 0;
    return cell->kind == KV_PAGE_INT && cell->number >= 0;
}

/* The current row of `keys`. */
static kvsql_rc snapshot_read_key(struct snapshot_reader *reader,
                                  struct snapshot_key *out)
{
    const struct kv_page_value *const row = reader->source.row[SNAPSHOT_KEYS];

    *out = (struct snapshot_key){.key = {.p = (const uint8_t *)""}};
    if (!snapshot_cell(&row[0], KVSQL_KEY_MAX, &out->key))
        return snapshot_damaged(reader, SNAPSHOT_KEYS, &out->key,
                                "the key is not in the form of its bytes");
    if (!snapshot_ascends(&reader->key_last, &out->key))
        return snapshot_damaged(reader, SNAPSHOT_KEYS, &out->key,
                                "the keys are out of order");
    out->type = snapshot_cell_type(&row[1], reader->type_last);
    reader->type_last = out->type;
    if (out->type == KV_NONE)
        return snapshot_damaged(reader, SNAPSHOT_KEYS, &out->key,
                                "its type is unknown");
    if (out->type == KV_STREAM)
        return kv_fail(reader->err, KVSQL_NEWER,
                       "snapshot: %s holds streams; use a later kvsql",
                       reader->path);
    if (!snapshot_cell_length(&row[2], &out->length) ||
        (out->length == 0 && out->type != KV_STRING))
        return snapshot_damaged(reader, SNAPSHOT_KEYS, &out->key,
                                "its length is not a count");
    if (!snapshot_cell_time(&row[3], &out->expires_at))
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
    const struct kv_page_value *const cell = reader->source.row[table];

    return cell != NULL &&
           cell->kind == (key->cls == KV_TEXT ? KV_PAGE_TEXT : KV_PAGE_BLOB) &&
           cell->size == key->size &&
           (key->size == 0 ||
            (cell->p != NULL && bytes_equal(cell->p, key->p, key->size)));
}

/* The string of `key`. */
static kvsql_rc snapshot_load_string(struct snapshot_reader *reader,
                                     const struct snapshot_key *key)
{
    const struct kv_page_value *const row =
        reader->source.row[SNAPSHOT_STRINGS];
    struct kv_key value;
    int64_t expires_at;

    if (!snapshot_row_of(reader, SNAPSHOT_STRINGS, &key->key))
        return snapshot_damaged(reader, SNAPSHOT_STRINGS, &key->key,
                                "it is not there though keys names it");
    if (!snapshot_cell(&row[1], KVSQL_VALUE_MAX, &value))
        return snapshot_damaged(reader, SNAPSHOT_STRINGS, &key->key,
                                "the value is not in the form of its bytes");
    if (value.size != key->length ||
        !snapshot_cell_time(&row[2], &expires_at) ||
        expires_at != key->expires_at)
        return snapshot_damaged(reader, SNAPSHOT_STRINGS, &key->key,
                                "length or expiry differ from those in keys");
    reader->bytes += value.size;
    const kvsql_rc rc = kv_load_string(&reader->load, &key->key, &value,
                                       expires_at, reader->err);
    return rc != KVSQL_OK ? rc : snapshot_step(reader, SNAPSHOT_STRINGS);
}

/* Fill `elem` from the current row of an element table; says what is wrong, or
 * NULL. `index` is the number of the row within its key. */
static const char *snapshot_read_elem(struct snapshot_reader *reader,
                                      enum snapshot_table table,
                                      uint64_t index,
                                      struct kv_load_elem *elem)
{
    const struct kv_page_value *const row = reader->source.row[table];

    if (table == SNAPSHOT_LISTS) {
        if (row[1].kind != KV_PAGE_INT || row[1].number != (int64_t)index)
            return "idx does not count from 0 without a gap";
        return snapshot_cell(&row[2], KVSQL_VALUE_MAX, &elem->value)
                   ? NULL
                   : "a value is not in the form of its bytes";
    }
    if (!snapshot_cell(&row[1], KVSQL_VALUE_MAX, &elem->key))
        return "a field or member is not in the form of its bytes";
    if (!snapshot_ascends(&reader->elem_last, &elem->key))
        return "fields or members are out of order";
    if (table == SNAPSHOT_ZSETS) {
        if (row[2].kind != KV_PAGE_REAL)
            return "a score is not a number";
        elem->score = row[2].real;
    } else if (table == SNAPSHOT_HASHES) {
        if (!snapshot_cell(&row[2], KVSQL_VALUE_MAX, &elem->value))
            return "a value is not in the form of its bytes";
        if (!snapshot_cell_time(&row[3], &elem->expires_at))
            return "the expiry of a field is not a time";
    }
    return NULL;
}

/* The elements of `key`, exactly key->length of them. */
static kvsql_rc snapshot_load_elems(struct snapshot_reader *reader,
                                    const struct snapshot_key *key)
{
    const enum snapshot_table table = (enum snapshot_table)key->type;
    struct kv_load_elem elem = {.score = 0};

    kv_buf_reset(&reader->elem_last, SNAPSHOT_CHUNK);
    kv_load_elems(&reader->load, &key->key, key->type);
    for (uint64_t i = 0; i < key->length; i++) {
        if (!snapshot_row_of(reader, table, &key->key))
            return snapshot_damaged(reader, table, &key->key,
                                    "it has fewer rows than keys says");
        const char *wrong = snapshot_read_elem(reader, table, i, &elem);
        if (wrong != NULL)
            return snapshot_damaged(reader, table, &key->key, wrong);
        kvsql_rc rc = kv_buf_result(&reader->elem_last,
                                    "an element of a snapshot", reader->err);
        reader->bytes += elem.key.size + elem.value.size;
        if (rc == KVSQL_OK)
            rc = kv_load_elem(&reader->load, &elem, reader->err);
        if (rc == KVSQL_OK)
            rc = snapshot_step(reader, table);
        if (rc != KVSQL_OK)
            return rc;
    }
    return kv_load_elems_end(&reader->load, key->expires_at, reader->err);
}

/* ---- what the file says of itself (P4, V1) ------------------------------ */

/* The first column of the only row of `sql`; NOTFOUND when there is none. */
static kvsql_rc snapshot_ask(struct snapshot_reader *reader, const char *sql,
                             const char *argument, sqlite3_stmt **stmt)
{
    kvsql_rc rc =
        kv_snapshot_prepare(reader->db, sql, reader->path, stmt, reader->err);

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
                              : kv_snapshot_fail(reader->err, reader->db, code,
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

/* The tables that this version cannot load hold nothing, or nothing else than
 * `but`. */
static kvsql_rc snapshot_check_empty(struct snapshot_reader *reader,
                                     const char *name, const char *but)
{
    char sql[160];
    sqlite3_stmt *stmt = NULL;

    (void)snprintf(sql, sizeof sql, "SELECT 1 FROM %s %s LIMIT 1", name, but);
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
        rc = snapshot_check_table(reader, "kv_meta", kv_snapshot_meta_create);
    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_TABLES; i++) {
        rc = snapshot_check_table(reader, kv_snapshot_layouts[i].name,
                                  kv_snapshot_layouts[i].create);
        if (rc == KVSQL_OK && i >= SNAPSHOT_FILLED)
            rc = snapshot_check_empty(
                reader, kv_snapshot_layouts[i].name,
                i != SNAPSHOT_SCHEMA
                    ? ""
                    : "WHERE sql NOT GLOB 'CREATE VIRTUAL TABLE * USING "
                      "kv_hash(*'");
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

/* ---- the walk ----------------------------------------------------------- */

static kvsql_rc snapshot_reader_open(struct snapshot_reader *reader)
{
    kvsql_rc rc = kv_snapshot_file(reader->path, "?mode=ro&immutable=1",
                                   SQLITE_OPEN_READONLY, &reader->db,
                                   reader->err);

    if (rc != KVSQL_OK)
        return rc;
    (void)sqlite3_db_config(reader->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(reader->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0,
                            NULL);
    (void)sqlite3_db_config(reader->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    (void)sqlite3_db_config(reader->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    rc = kv_snapshot_exec(reader->db,
                          "PRAGMA mmap_size = 0; PRAGMA cell_size_check = 1;"
                          "PRAGMA query_only = 1; PRAGMA cache_size = -1024",
                          "open", reader->path, reader->err);
    if (rc == KVSQL_OK)
        rc = snapshot_check_tables(reader);
    if (rc == KVSQL_OK)
        rc = kv_snapshot_source_open(&reader->source, reader->db,
                                     kv_store_os(reader->store), reader->path,
                                     reader->err);
    return rc;
}

static void snapshot_reader_close(struct snapshot_reader *reader)
{
    kv_snapshot_source_close(&reader->source);
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

    kv_load_begin(&reader->load, reader->store);
    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_FILLED; i++)
        rc = snapshot_step(reader, (enum snapshot_table)i);
    while (rc == KVSQL_OK && reader->source.row[SNAPSHOT_KEYS] != NULL) {
        struct snapshot_key key;
        uint64_t done = reader->source.rows[SNAPSHOT_KEYS];
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
    const kvsql_rc ended =
        kv_load_end(&reader->load, rc == KVSQL_OK ? reader->err : NULL);
    return rc == KVSQL_OK ? ended : rc;
}

static kvsql_slice snapshot_text(sqlite3_stmt *stmt, int column)
{
    const char *const p = (const char *)sqlite3_column_text(stmt, column);

    return (kvsql_slice){
        .p = p != NULL ? p : "",
        .size = p != NULL ? (size_t)sqlite3_column_bytes(stmt, column) : 0};
}

/* Definitions, each with its view. */
static kvsql_rc snapshot_load_defs(struct snapshot_reader *reader)
{
    sqlite3_stmt *stmt = NULL;
    kvsql_rc rc = kv_snapshot_prepare(
        reader->db,
        "SELECT name, sql, (SELECT m.sql FROM sqlite_master m WHERE "
        "m.type = 'view' AND m.name = s.name) FROM kv_schema s",
        reader->path, &stmt, reader->err);
    int code = SQLITE_DONE;

    while (rc == KVSQL_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        const struct kv_op op = {.kind = KV_OP_DEFINE,
                                 .key = snapshot_text(stmt, 0),
                                 .a = snapshot_text(stmt, 1),
                                 .b = snapshot_text(stmt, 2)};
        rc = kv_store_load(reader->store, &op, reader->err);
    }
    if (rc == KVSQL_OK && code != SQLITE_DONE)
        rc = kv_snapshot_fail(reader->err, reader->db, code, "read",
                              reader->path);
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* No table has rows that `keys` did not lead to. */
static kvsql_rc snapshot_check_ends(struct snapshot_reader *reader)
{
    for (int i = 0; i < SNAPSHOT_FILLED; i++) {
        struct kv_key key = {.p = (const uint8_t *)""};
        if (reader->source.row[i] == NULL)
            continue;
        (void)snapshot_cell(reader->source.row[i], KVSQL_KEY_MAX, &key);
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
        (void)snprintf(name, sizeof name, "rows.%s",
                       kv_snapshot_layouts[i].name);
        rc = snapshot_ask_int(reader, snapshot_meta_ask, name, &stated);
        if (rc == KVSQL_OK && (uint64_t)stated != reader->source.rows[i])
            rc = kv_fail(reader->err, KVSQL_CORRUPT,
                         "snapshot: %s is damaged: table %s has %llu rows, "
                         "kv_meta says %lld; restore a copy",
                         reader->path, kv_snapshot_layouts[i].name,
                         (unsigned long long)reader->source.rows[i],
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
    kvsql_rc rc = kv_snapshot_size(kv_store_os(store), path, &size, err);
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
    if (rc == KVSQL_OK)
        rc = snapshot_load_defs(&reader);
    if (rc == KVSQL_OK)
        rc = kv_snapshot_get_answers(reader.db, path, store, err);
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
