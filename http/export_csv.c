/* export_csv.c - an export as CSV, an element on each line, in the form of
 * `kvsql export` and `kvsql import`:
 *
 *   key,type,name,value,expires_at,field_expires_at
 *
 * `name` is the field of a hash, the member of a set or sorted set; `value` of
 * a sorted set the score. What is no text is base64:BYTES, and so is a text that
 * begins like that. CSV has no last line that tells the end: a stream that did
 * not reach it is cut without its last chunk.
 *
 * Thread: workers. */
#include <string.h>

#include "http/key.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

static const char csv_mark[] = "base64:";
#define CSV_MARK (sizeof csv_mark - 1)

void http_csv_head(struct kv_buf *out)
{
    kv_buf_text(out, "key,type,name,value,expires_at,field_expires_at\r\n");
}

static void csv_cell(struct kv_buf *out, const struct vt_value *value)
{
    char text[KV_DOUBLE_TEXT_MAX];

    if (value->kind == VT_REAL) {
        kv_buf_add(out, text, kv_num_format_double(text, value->real));
    } else if (value->kind == VT_BLOB ||
               (value->size >= CSV_MARK &&
                memcmp(value->p, csv_mark, CSV_MARK) == 0)) {
        kv_buf_text(out, csv_mark);
        kv_base64_encode(out, value->p, value->size);
    } else {
        http_csv_text(out, value->p, value->size, false);
    }
}

/* What a line has beside the key, of the columns of http_key_sql(). */
struct csv_line {
    struct vt_value field, value, until;
};

static void csv_columns(const struct vt_statement *statement, const char *type,
                        struct csv_line *line)
{
    static const struct vt_value none = {
        .kind = VT_TEXT, .p = (const uint8_t *)""};
    const bool hash = strcmp(type, "hash") == 0;

    *line = (struct csv_line){none, none, {.kind = VT_NULL}};
    if (hash || strcmp(type, "zset") == 0) {
        vt_column(statement, 0, &line->field);
        vt_column(statement, 1, &line->value);
    } else if (strcmp(type, "set") == 0) {
        vt_column(statement, 0, &line->field);
    } else {
        vt_column(statement, 0, &line->value);
    }
    if (hash)
        vt_column(statement, 2, &line->until);
}

static void csv_put(struct http_key_read *read, int64_t until,
                    const struct vt_statement *statement)
{
    struct kv_buf *const out = &read->request->answer.body;
    struct csv_line line;

    csv_columns(statement, read->type, &line);
    csv_cell(out, &read->key);
    kv_buf_printf(out, ",%s,", read->type);
    csv_cell(out, &line.field);
    kv_buf_byte(out, ',');
    csv_cell(out, &line.value);
    kv_buf_byte(out, ',');
    if (until > 0)
        http_json_int(out, until);
    kv_buf_byte(out, ',');
    if (line.until.kind == VT_INTEGER)
        http_json_int(out, line.until.integer);
    kv_buf_text(out, "\r\n");
}

kvsql_rc http_key_csv(struct http_key_read *read, int64_t until,
                      struct kvsql_error *err)
{
    const char *const sql = http_key_sql(read->type);
    struct vt_statement *statement = NULL;
    bool row = true;

    if (sql == NULL)
        return KVSQL_OK;
    kvsql_rc rc = vt_prepare(read->session, sql, strlen(sql), NULL, &statement,
                             err);
    if (rc == KVSQL_OK)
        rc = vt_bind(statement, 1, &read->key, err);
    while (rc == KVSQL_OK && row) {
        rc = vt_step(statement, &row, err);
        if (rc != KVSQL_OK || !row)
            break;
        csv_put(read, until, statement);
        if (read->request->answer.body.size >= HTTP_BLOCK &&
            !http_stream_push(read->request))
            rc = kv_fail(err, KVSQL_INTERRUPT, "the export was not taken");
    }
    if (statement != NULL)
        vt_finish(statement);
    return rc;
}
