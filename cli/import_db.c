/* import_db.c - the keys of an SQLite file: a snapshot, or a file that somebody
 * made with the tables of one (docs/FORMATS.md).
 *
 * The file is read twice. The first time only looks at each row, so that a file
 * with a row that no store can have changes nothing; then its declared tables
 * are made, and then its rows go in batches. A key replaces what was there.
 *
 * Thread: the main thread. */
#include "cli/import.h"

#include <stdio.h>
#include <string.h>

#include "kvsql/base/num.h"
#include "vtab/dbimport.h"

#define DB_TEXT_MAX (1u << 20) /* of a declaration */

/* ---- what is wrong is found first ------------------------------------------------ */

static kvsql_rc db_look(struct cli_import *import, struct vt_dbimport *file,
                        struct kvsql_error *err)
{
    struct cli_progress progress;
    struct vt_dbimport_row row = {.type = KV_STRING};
    struct vt_dbimport_def def = {.name = {"", 0}};
    kvsql_rc rc = KVSQL_OK;

    cli_progress_init(&progress, "import.checked", "checking", "rows");
    while (rc == KVSQL_OK && def.name.p != NULL)
        rc = vt_dbimport_define(file, &def, err);
    while (rc == KVSQL_OK && row.type != KV_NONE) {
        rc = vt_dbimport_next(file, &row, err);
        cli_progress_show(&progress, vt_dbimport_read(file),
                          vt_dbimport_read(file), import->file_size);
    }
    cli_progress_end(&progress);
    vt_dbimport_again(file);
    return rc;
}

/* ---- declared tables ----------------------------------------------------------- */

static kvsql_rc db_begin(void *arg, unsigned columns, const char *const *names,
                         struct kvsql_error *err)
{
    (void)arg;
    (void)columns;
    (void)names;
    (void)err;
    return KVSQL_OK;
}

static kvsql_rc db_text(void *arg, unsigned columns,
                        const struct vt_value *values, struct kvsql_error *err)
{
    struct kv_buf *text = arg;

    if (columns == 1 && values[0].kind == VT_TEXT)
        kv_buf_add(text, values[0].p, values[0].size);
    return kv_buf_result(text, "a declaration", err);
}

/* Run one statement; the text of its only cell to `text`. */
static kvsql_rc db_sql(struct cli_import *import, kvsql_slice sql,
                       const struct vt_value *param, struct kv_buf *text,
                       struct kvsql_error *err)
{
    const struct cli_rows rows = {db_begin, db_text, text};
    struct cli_answer answer;
    struct cli_trouble trouble;
    const kvsql_rc rc =
        cli_target_sql(import->target, sql.p, sql.size, param != NULL, param, 1,
                       &rows, &answer, &trouble);

    if (rc != KVSQL_OK)
        *err = trouble.error;
    return rc;
}

/* The table is made unless it is there as it is. */
static kvsql_rc db_define(struct cli_import *import,
                          const struct vt_dbimport_def *def,
                          struct kv_buf *text, struct kvsql_error *err)
{
    static const char sql[] = "SELECT sql FROM kv_schema WHERE name = ?";
    const struct vt_value name = {.kind = VT_TEXT,
                                  .p = def->name.p,
                                  .size = def->name.size};
    kvsql_rc rc;

    kv_buf_reset(text, DB_TEXT_MAX);
    rc = db_sql(import, (kvsql_slice){sql, sizeof sql - 1}, &name, text, err);
    if (rc != KVSQL_OK)
        return rc;
    if (text->size == 0)
        return db_sql(import, def->sql, NULL, text, err);
    if (text->size == def->sql.size &&
        memcmp(text->p, def->sql.p, text->size) == 0)
        return KVSQL_OK;
    return kv_fail(err, KVSQL_EXISTS,
                   "%s declares the table '%.*s', which is there and was "
                   "declared otherwise: drop one of them",
                   import->source, (int)def->name.size,
                   (const char *)def->name.p);
}

/* With another prefix the keys are not those of the declared tables. */
static kvsql_rc db_definitions(struct cli_import *import,
                               struct vt_dbimport *file,
                               struct kvsql_error *err)
{
    struct vt_dbimport_def def;
    struct kv_buf text;
    kvsql_rc rc;

    if (cli_text(import->settings, CLI_OPT_IMPORT_PREFIX)[0] != '\0')
        return KVSQL_OK;
    kv_buf_init(&text, KV_MEM_CLIENT, DB_TEXT_MAX);
    rc = vt_dbimport_define(file, &def, err);
    while (rc == KVSQL_OK && def.name.p != NULL) {
        rc = db_define(import, &def, &text, err);
        if (rc == KVSQL_OK)
            rc = vt_dbimport_define(file, &def, err);
    }
    kv_buf_fini(&text);
    return rc;
}

/* ---- rows ------------------------------------------------------------------------ */

struct db_rows {
    struct cli_import *import;
    struct kv_buf key; /* of the row before; its batch may have gone */
    int64_t expires_at;
    bool open;         /* a key was begun */
    bool command;      /* the command of its elements is the last of the batch */
};

static void db_word(struct cmd_words *batch, kvsql_slice word)
{
    cmd_words_word(batch, word.p, word.size);
}

static void db_time(struct cmd_words *batch, int64_t ms)
{
    char text[KV_INT_TEXT_MAX];

    cmd_words_word(batch, text, kv_num_format_int(text, ms));
}

static void db_command(struct db_rows *rows, const char *name)
{
    cmd_words_command(&rows->import->batch, name);
    cli_import_key(rows->import, "",
                   (kvsql_slice){rows->key.p, rows->key.size});
}

/* The key is complete: its time, and count it. */
static kvsql_rc db_end(struct db_rows *rows, struct kvsql_error *err)
{
    if (!rows->open)
        return KVSQL_OK;
    rows->open = rows->command = false;
    if (rows->expires_at > 0) {
        db_command(rows, "PEXPIREAT");
        db_time(&rows->import->batch, rows->expires_at);
    }
    return cli_import_record(rows->import,
                             (kvsql_slice){rows->key.p, rows->key.size}, err);
}

static kvsql_rc db_key(struct db_rows *rows, const struct vt_dbimport_row *row,
                       struct kvsql_error *err)
{
    kvsql_rc rc = db_end(rows, err);

    if (rc != KVSQL_OK)
        return rc;
    kv_buf_reset(&rows->key, 1u << 20);
    kv_buf_add(&rows->key, row->key.p, row->key.size);
    rows->open = true;
    rows->expires_at = row->expires_at;
    if (row->type != KV_STRING) /* SET takes the place of any */
        db_command(rows, "DEL");
    return kv_buf_result(&rows->key, "a key", err);
}

static void db_field_time(struct db_rows *rows,
                          const struct vt_dbimport_row *row)
{
    struct cmd_words *batch = &rows->import->batch;

    db_command(rows, "HPEXPIREAT");
    db_time(batch, row->field_expires_at);
    cmd_words_word(batch, "FIELDS", 6);
    cmd_words_word(batch, "1", 1);
    db_word(batch, row->name);
    rows->command = false;
}

static kvsql_rc db_row(struct db_rows *rows, const struct vt_dbimport_row *row,
                       struct kvsql_error *err)
{
    static const char *const names[] = {[KV_STRING] = "SET",
                                        [KV_HASH] = "HSET",
                                        [KV_LIST] = "RPUSH",
                                        [KV_SET] = "SADD",
                                        [KV_ZSET] = "ZADD"};
    struct cmd_words *batch = &rows->import->batch;
    char number[KV_DOUBLE_TEXT_MAX];
    kvsql_rc rc = row->first ? db_key(rows, row, err) : KVSQL_OK;

    if (rc != KVSQL_OK)
        return rc;
    if (!row->first && cli_import_full(rows->import)) {
        rc = cli_import_flush(rows->import, err);
        rows->command = false;
    }
    if (!rows->command)
        db_command(rows, names[row->type]);
    rows->command = true;
    if (row->type == KV_ZSET)
        cmd_words_word(batch, number,
                       kv_num_format_double(number, row->score));
    if (row->type == KV_HASH || row->type == KV_SET || row->type == KV_ZSET)
        db_word(batch, row->name);
    if (row->type != KV_SET && row->type != KV_ZSET)
        db_word(batch, row->value);
    if (row->type == KV_HASH && row->field_expires_at > 0)
        db_field_time(rows, row);
    return rc;
}

static kvsql_rc db_rows(struct cli_import *import, struct vt_dbimport *file,
                        struct kvsql_error *err)
{
    struct db_rows rows = {.import = import};
    struct vt_dbimport_row row = {.type = KV_STRING};
    kvsql_rc rc = KVSQL_OK;

    kv_buf_init(&rows.key, KV_MEM_CLIENT, (size_t)KVSQL_KEY_MAX);
    while (rc == KVSQL_OK) {
        rc = vt_dbimport_next(file, &row, err);
        if (rc != KVSQL_OK || row.type == KV_NONE)
            break;
        import->file_read = vt_dbimport_read(file);
        rc = db_row(&rows, &row, err);
    }
    if (rc == KVSQL_OK)
        rc = db_end(&rows, err);
    kv_buf_fini(&rows.key);
    return rc;
}

bool cli_import_is_db(struct cli_import *import)
{
    static const char magic[16] = "SQLite format 3";
    uint8_t head[sizeof magic + 2];
    const bool is =
        fread(head, 1, sizeof head, import->file) == sizeof head &&
        memcmp(head, magic, sizeof magic) == 0;

    rewind(import->file);
    if (is) { /* of a page, big endian; 1 is 65536 */
        import->page_size = (unsigned)head[16] << 8 | head[17];
        if (import->page_size <= 1)
            import->page_size = 65536;
    }
    return is;
}

/* SQLite takes a last page that is cut as if zeroes followed. */
static kvsql_rc db_check_size(const struct cli_import *import,
                              struct kvsql_error *err)
{
    return import->file_size % import->page_size == 0
               ? KVSQL_OK
               : kv_fail(err, KVSQL_CORRUPT,
                         "%s is damaged: its %llu bytes are no whole pages of "
                         "%u; was it copied in full?",
                         import->source, (unsigned long long)import->file_size,
                         import->page_size);
}

kvsql_rc cli_import_db(struct cli_import *import, struct kvsql_error *err)
{
    struct vt_dbimport *file = NULL;
    kvsql_rc rc = db_check_size(import, err);

    if (rc == KVSQL_OK)
        rc = vt_start(err);
    if (rc == KVSQL_OK)
        rc = vt_dbimport_open(import->source, &file, err);
    if (rc == KVSQL_OK) {
        import->file_size = vt_dbimport_rows(file);
        rc = db_look(import, file, err);
    }
    if (rc == KVSQL_OK)
        rc = db_definitions(import, file, err);
    if (rc == KVSQL_OK)
        rc = db_rows(import, file, err);
    vt_dbimport_close(file);
    return rc;
}
