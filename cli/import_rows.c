/* import_rows.c - what `kvsql export` prints, read back: NDJSON and CSV, whose
 * forms stand in http/records.h.
 *
 * A key replaces what was there. Large keys go in several batches.
 * Thread: the main thread. */
#include <errno.h>
#include <string.h>

#include "cli/import.h"
#include "http/records.h"

#define ROWS_RECORD_MAX ((size_t)1 << 30) /* bytes of a record */
#define ROWS_READ ((size_t)256 << 10)     /* bytes read at a time */

/* What is read next; *end: there is no more. */
static kvsql_rc rows_read(struct cli_import *import, struct kv_buf *piece,
                          bool *end, struct kvsql_error *err)
{
    if (!kv_buf_reserve(piece, ROWS_READ))
        return kv_fail(err, KVSQL_NOMEM, "no memory to read");
    errno = 0;
    piece->size = fread(piece->p, 1, ROWS_READ, import->file);
    if (ferror(import->file))
        return kv_fail(err, KVSQL_IO, "cannot read %s: %s", import->source,
                       strerror(errno));
    import->file_read += piece->size;
    *end = piece->size == 0;
    return KVSQL_OK;
}

/* The commands of a record are in the batch. */
static kvsql_rc rows_given(struct cli_import *import,
                           const struct http_records *records,
                           enum http_record what, struct kvsql_error *err)
{
    const kvsql_slice key = {records->key.p, records->key.size};

    if (what == HTTP_RECORD_KEY)
        return cli_import_record(import, key, err);
    if (what == HTTP_RECORD_PART && cli_import_full(import))
        return cli_import_flush(import, err);
    return KVSQL_OK;
}

/* All records that are whole. */
static kvsql_rc rows_take(struct cli_import *import,
                          struct http_records *records, bool end,
                          struct kvsql_error *err)
{
    enum http_record what = HTTP_RECORD_PART;
    struct kvsql_error why;
    bool read = false;
    kvsql_rc rc = KVSQL_OK;

    while (rc == KVSQL_OK && what != HTTP_RECORD_NONE) {
        rc = http_records_next(records, end, &what, &why);
        read = rc == KVSQL_OK;
        if (read)
            rc = rows_given(import, records, what, &why);
        if (cmd_words_count(&import->batch) == 0)
            http_records_cut(records); /* they were sent */
    }
    if (rc == KVSQL_OK)
        return rc;
    if (read && rc != KVSQL_TOOBIG) { /* not of the record, but of its batch */
        *err = why;
        return rc;
    }
    return kv_fail(err, rc, "%s:%llu: %s", import->source,
                   (unsigned long long)records->line, why.text);
}

static kvsql_rc rows_import(struct cli_import *import, bool csv,
                            struct kvsql_error *err)
{
    const char *const prefix =
        cli_text(import->settings, CLI_OPT_IMPORT_PREFIX);
    struct http_records records;
    struct kv_buf piece;
    bool end = false;
    kvsql_rc rc = KVSQL_OK;

    http_records_init(&records, &import->batch, csv, ROWS_RECORD_MAX, NULL);
    records.prefix = (kvsql_slice){prefix, strlen(prefix)};
    kv_buf_init(&piece, KV_MEM_CLIENT, HTTP_RECORDS_TEXT_MAX);
    while (rc == KVSQL_OK && !end) {
        rc = rows_read(import, &piece, &end, err);
        if (rc != KVSQL_OK)
            break;
        http_records_take(&records, &piece);
        rc = rows_take(import, &records, end, err);
    }
    kv_buf_fini(&piece);
    http_records_fini(&records);
    return rc;
}

kvsql_rc cli_import_ndjson(struct cli_import *import, struct kvsql_error *err)
{
    return rows_import(import, false, err);
}

kvsql_rc cli_import_csv(struct cli_import *import, struct kvsql_error *err)
{
    return rows_import(import, true, err);
}
