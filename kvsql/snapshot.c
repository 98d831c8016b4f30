/* snapshot.c - a view as an SQLite file, and back: what writing and reading
 * share, and the checksum of a file.
 *
 * Thread: the caller's. */
#include "kvsql/admin.h"
#include "kvsql/snapshot_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/crc32c.h"
#include "kvsql/base/mem.h"

/* ---- the tables (sql.md 2.2) -------------------------------------------- */

KV_INTERNAL const struct snapshot_layout
    kv_snapshot_layouts[SNAPSHOT_TABLES] = {
#define SNAPSHOT_TABLE(name, create, read) {(name), (create), (read)},
#include "kvsql/snapshot.def"
#undef SNAPSHOT_TABLE
};

KV_INTERNAL const char kv_snapshot_meta_create[SNAPSHOT_META_SIZE] =
    "CREATE TABLE kv_meta(name TEXT NOT NULL PRIMARY KEY, value) "
    "WITHOUT ROWID";

const char *kv_snapshot_table(unsigned index)
{
    KV_ASSERT(index < KV_SNAPSHOT_TABLES);
    return kv_snapshot_layouts[index].name;
}

#define SNAPSHOT_STOP_EVERY 1024 /* keys and fields between questions */

/* What a count goes on with. */
struct snapshot_count {
    const struct kv_at *at;
    bool (*stop)(void *arg);
    void *arg;
    uint64_t steps;
    bool stopped;
};

static bool snapshot_count_on(struct snapshot_count *count)
{
    if (!count->stopped && ++count->steps % SNAPSHOT_STOP_EVERY == 0)
        count->stopped = count->stop(count->arg);
    return !count->stopped;
}

/* Rows of one key. Its length counts fields that have expired and are still to
 * be removed, too. */
static uint64_t snapshot_count_key(struct snapshot_count *count,
                                   const struct kv_item *item)
{
    struct kv_elems elems;
    uint64_t rows = 0;

    if (item->type == KV_STRING)
        return 1;
    if (item->type != KV_HASH || !kv_item_fields_expire(item))
        return kv_item_length(item);
    kv_elems_init(&elems, count->at, item, KV_ELEMS_KEY);
    for (bool valid = kv_elems_first(&elems);
         valid && snapshot_count_on(count); valid = kv_elems_next(&elems))
        rows++;
    return rows;
}

bool kv_snapshot_count(const struct kv_at *at, bool (*stop)(void *arg),
                       void *arg, uint64_t rows[KV_SNAPSHOT_TABLES])
{
    struct snapshot_count count = {.at = at, .stop = stop, .arg = arg};
    struct kv_keys keys;
    struct kv_def def;

    memset(rows, 0, KV_SNAPSHOT_TABLES * sizeof(*rows));
    kv_keys_init(&keys, at, 0);
    for (bool valid = kv_keys_first(&keys);
         valid && snapshot_count_on(&count); valid = kv_keys_next(&keys)) {
        const uint64_t found = snapshot_count_key(&count, &keys.item);

        rows[keys.item.type] += found;
        rows[SNAPSHOT_KEYS] += found > 0;
    }
    for (size_t place = 0; kv_def_next(at, &place, &def);)
        rows[SNAPSHOT_SCHEMA]++;
    return !count.stopped;
}

/* ---- results and paths -------------------------------------------------- */

kvsql_rc kv_snapshot_fail(struct kvsql_error *err, sqlite3 *db, int code,
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

kvsql_rc kv_snapshot_file(const char *path, const char *query, int flags,
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
            rc = kv_snapshot_fail(err, *db, code, "open", path);
    }
    kv_buf_fini(&uri);
    return rc;
}

kvsql_rc kv_snapshot_exec(sqlite3 *db, const char *sql, const char *what,
                          const char *path, struct kvsql_error *err)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? KVSQL_OK
                             : kv_snapshot_fail(err, db, code, what, path);
}

kvsql_rc kv_snapshot_prepare(sqlite3 *db, const char *sql,
                             const char *path, sqlite3_stmt **stmt,
                             struct kvsql_error *err)
{
    int code = sqlite3_prepare_v2(db, sql, -1, stmt, NULL);

    return code == SQLITE_OK ? KVSQL_OK
                             : kv_snapshot_fail(err, db, code, "read", path);
}

kvsql_rc kv_snapshot_dir(const struct kv_os *os, const char *path,
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

kvsql_rc kv_snapshot_size(const struct kv_os *os, const char *path,
                          uint64_t *size, struct kvsql_error *err)
{
    const char *name;
    int dir, file;
    kvsql_rc rc = kv_snapshot_dir(os, path, &dir, &name, err);

    if (rc != KVSQL_OK)
        return rc;
    int64_t result = os->open(os->arg, dir, name, KV_OS_READ, &file);
    if (result >= 0) {
        result = os->size(os->arg, file);
        os->close(os->arg, file);
    }
    os->dir_close(os->arg, dir);
    if (result < 0)
        return kv_fail(err, KVSQL_IO, "snapshot: cannot open %s: %s", path,
                       kv_os_error((int)-result));
    *size = (uint64_t)result;
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
