/* snapshot_write.c - a view as an SQLite file.
 *
 * SQLite makes the file, its schema and what is small (definitions, answers
 * that are kept); it closes it, and the rows of the view and kv_meta, which
 * counts them, are written behind that as pages (pages.h). Measured for 5M
 * strings against INSERT from a virtual table over the view: a quarter of the
 * processor's time (docs/decisions/snapshot-writing.md).
 *
 * Thread: the caller's; reading a view takes no lock. */
#include "kvsql/admin.h"
#include "kvsql/snapshot_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/seg.h"

#define SNAPSHOT_INDEX_CREATE                                                 \
    "CREATE INDEX zsets_score ON zsets(key, score, member)"
#define SNAPSHOT_META_FIXED 5 /* rows of kv_meta that are not counts */
#define SNAPSHOT_NAME_SIZE 40 /* of a name in kv_meta */

static const char snapshot_view_create[] =
    "CREATE VIEW stream_entries AS\n"
    " SELECT key, ms||'-'||seq AS id, json_group_array(json_array(\n"
    "   iif(typeof(field)='text', field, "
    "json_object('$hex', hex(field))),\n"
    "   iif(typeof(value)='text', value, "
    "json_object('$hex', hex(value))))) AS fields\n"
    " FROM (SELECT * FROM streams ORDER BY key, ms, seq, n) "
    "GROUP BY key, ms, seq";

/* ---- what SQLite makes -------------------------------------------------- */

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
        rc = kv_fail(err, kv_seg_rc(-result), "snapshot: cannot make %s: %s",
                     path, kv_os_error(-result));
    else
        os->close(os->arg, file);
    os->dir_close(os->arg, dir);
    return rc;
}

/* journal_mode and synchronous are off because a file that is not finished is
 * thrown away; the one fsync comes behind the last page. */
static kvsql_rc snapshot_setup(struct snapshot_writer *writer,
                               struct kvsql_error *err)
{
    char sql[352];

    (void)snprintf(sql, sizeof sql,
                   "PRAGMA page_size = 4096; PRAGMA encoding = 'UTF-8';"
                   "PRAGMA auto_vacuum = NONE;"
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
        rc = kv_snapshot_exec(writer->db, SNAPSHOT_INDEX_CREATE,
                              "make the index of", writer->path, err);
    if (rc == KVSQL_OK)
        rc = kv_snapshot_exec(writer->db, snapshot_view_create,
                              "make the tables of", writer->path, err);
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
        writer->definitions++;
        rc = code == SQLITE_OK ? snapshot_def_view(writer, &def, err)
                               : kv_snapshot_fail(err, writer->db, code,
                                                  "write kv_schema of",
                                                  writer->path);
    }
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* Where the trees begin: SQLite gave each a root, which is empty. */
static kvsql_rc snapshot_roots(struct snapshot_writer *writer,
                               struct kvsql_error *err)
{
    sqlite3_stmt *stmt = NULL;
    kvsql_rc rc = kv_snapshot_prepare(
        writer->db,
        "SELECT rootpage FROM sqlite_master WHERE name = ?1 AND rootpage > 0",
        writer->path, &stmt, err);

    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_TREES; i++) {
        const char *const name = i == SNAPSHOT_TREE_SCORES ? "zsets_score"
                                 : i == SNAPSHOT_TREE_META ? "kv_meta"
                                 : kv_snapshot_layouts[i].name;
        int code = sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
        if (code == SQLITE_OK)
            code = sqlite3_step(stmt);
        if (code == SQLITE_ROW)
            kv_page_tree_init(&writer->trees[i], &writer->pages,
                              (uint32_t)sqlite3_column_int64(stmt, 0));
        else
            rc = kv_snapshot_fail(err, writer->db, code, "read the schema of",
                                  writer->path);
        (void)sqlite3_reset(stmt);
    }
    (void)sqlite3_finalize(stmt);
    return rc;
}

static kvsql_rc snapshot_schema(struct snapshot_writer *writer,
                                struct kvsql_error *err)
{
    kvsql_rc rc = snapshot_setup(writer, err);

    if (rc == KVSQL_OK)
        rc = snapshot_defs(writer, err);
    if (rc == KVSQL_OK && kv_snapshot_has_answers(&writer->at))
        rc = kv_snapshot_put_answers(writer->db, writer->path, &writer->at,
                                     err);
    if (rc == KVSQL_OK)
        rc = snapshot_roots(writer, err);
    if (rc == KVSQL_OK)
        rc = kv_snapshot_exec(writer->db, "COMMIT", "finish", writer->path,
                              err);
    return rc;
}

static kvsql_rc snapshot_make(const struct kv_os *os,
                              struct snapshot_writer *writer,
                              struct kvsql_error *err)
{
    kvsql_rc rc = snapshot_create(os, writer->path, err);

    if (rc != KVSQL_OK)
        return rc;
    rc = kv_snapshot_file(writer->path, "?mode=rw", SQLITE_OPEN_READWRITE,
                          &writer->db, err);
    if (rc == KVSQL_OK)
        rc = snapshot_schema(writer, err);
    const int code = sqlite3_close(writer->db); /* NULL is fine */
    KV_ASSERT(code == SQLITE_OK); /* every statement was finalized */
    writer->db = NULL;
    return rc;
}

/* ---- what is written as pages ------------------------------------------- */

struct snapshot_meta_row {
    char name[SNAPSHOT_NAME_SIZE];
    const char *text; /* NULL: the number */
    uint64_t number;
};

static int snapshot_meta_compare(const void *a, const void *b)
{
    return strcmp(((const struct snapshot_meta_row *)a)->name,
                  ((const struct snapshot_meta_row *)b)->name);
}

static kvsql_rc snapshot_meta_put(struct snapshot_writer *writer,
                                  const struct snapshot_meta_row *meta,
                                  struct kvsql_error *err)
{
    struct kv_page_value row[2] = {
        {.kind = KV_PAGE_TEXT,
         .size = (uint32_t)strlen(meta->name),
         .p = meta->name},
        {.kind = KV_PAGE_INT, .number = (int64_t)meta->number}};

    if (meta->text != NULL)
        row[1] = (struct kv_page_value){.kind = KV_PAGE_TEXT,
                                        .size = (uint32_t)strlen(meta->text),
                                        .p = meta->text};
    return kv_page_tree_row(&writer->trees[SNAPSHOT_TREE_META], row, 2, err);
}

static kvsql_rc snapshot_meta(struct snapshot_writer *writer,
                              const char *store_id, struct kvsql_error *err)
{
    struct snapshot_meta_row rows[SNAPSHOT_META_FIXED + SNAPSHOT_TABLES] = {
        {"created_at", NULL, (uint64_t)kv_at_wall(&writer->at)},
        {"format", kv_snapshot_format(&writer->at), 0},
        {"position", NULL, writer->at.position},
        {"store_id", store_id, 0},
        {"written_by", "kvsql " KVSQL_VERSION, 0},
    };
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    kvsql_rc rc = KVSQL_OK;

    for (int i = 0; i < SNAPSHOT_TABLES; i++) {
        struct snapshot_meta_row *const row = &rows[SNAPSHOT_META_FIXED + i];
        (void)snprintf(row->name, sizeof(row->name), "rows.%s",
                       kv_snapshot_layouts[i].name);
        row->number = i < SNAPSHOT_FILLED ? writer->trees[i].rows
                      : i == SNAPSHOT_SCHEMA ? writer->definitions : 0;
    }
    qsort(rows, count, sizeof(rows[0]), snapshot_meta_compare);
    for (size_t i = 0; rc == KVSQL_OK && i < count; i++)
        rc = snapshot_meta_put(writer, &rows[i], err);
    return rc;
}

static kvsql_rc snapshot_open_pages(const struct kv_os *os,
                                    struct snapshot_writer *writer,
                                    struct kvsql_error *err)
{
    const char *name;
    int dir, file;
    const kvsql_rc rc = kv_snapshot_dir(os, writer->path, &dir, &name, err);

    if (rc != KVSQL_OK)
        return rc;
    const int opened = os->open(os->arg, dir, name, KV_OS_WRITE, &file);
    os->dir_close(os->arg, dir);
    if (opened < 0)
        return kv_fail(err, kv_seg_rc(-opened),
                       "snapshot: cannot open %s: %s", writer->path,
                       kv_os_error(-opened));
    return kv_pages_open(&writer->pages, os, file, writer->path, err);
}

static kvsql_rc snapshot_fill(const struct kv_os *os,
                              struct snapshot_writer *writer,
                              const char *store_id, uint64_t *size,
                              struct kvsql_error *err)
{
    kvsql_rc rc = snapshot_open_pages(os, writer, err);

    if (rc == KVSQL_OK)
        rc = kv_snapshot_rows(writer, err);
    if (rc == KVSQL_OK)
        rc = snapshot_meta(writer, store_id, err);
    for (int i = 0; rc == KVSQL_OK && i < SNAPSHOT_TREES; i++)
        rc = kv_page_tree_end(&writer->trees[i], err);
    if (rc == KVSQL_OK)
        rc = kv_pages_finish(&writer->pages, size, err);
    for (int i = 0; i < SNAPSHOT_TREES; i++)
        kv_page_tree_fini(&writer->trees[i]);
    kv_pages_fini(&writer->pages);
    return rc;
}

/* ---- the whole ---------------------------------------------------------- */

void kv_snapshot_tell(const struct snapshot_writer *writer, uint64_t done,
                      uint64_t total)
{
    const struct kv_progress progress = {.what = "snapshot",
                                         .done = done,
                                         .total = total,
                                         .bytes = writer->bytes};

    if (writer->progress != NULL)
        writer->progress(writer->progress_arg, &progress);
}

kvsql_rc kv_snapshot_write(const struct kv_view *view, const char *path,
                           const char *store_id, kv_progress_fn progress,
                           void *arg, struct kv_snapshot_info *info,
                           struct kvsql_error *err)
{
    const uint64_t began_ns = kv_os_mono_ns();
    const struct kv_os *const os = kv_store_os(kv_view_store(view));
    struct snapshot_writer writer = {.path = path,
                                     .view = view,
                                     .progress = progress,
                                     .progress_arg = arg,
                                     .pages = {.file = -1}};

    KV_ASSERT(strlen(store_id) == 32);
    *info = (struct kv_snapshot_info){.size = 0};
    kv_at_view(view, &writer.at);
    kvsql_rc rc = snapshot_make(os, &writer, err);
    if (rc == KVSQL_OK)
        rc = snapshot_fill(os, &writer, store_id, &info->size, err);
    if (rc != KVSQL_OK)
        return rc;
    info->position = kv_view_position(view);
    info->created_at = kv_at_wall(&writer.at);
    info->keys = writer.trees[SNAPSHOT_TREE_KEYS].rows;
    info->ms = (kv_os_mono_ns() - began_ns) / 1000000;
    kv_snapshot_tell(&writer, info->keys, info->keys);
    return KVSQL_OK;
}
