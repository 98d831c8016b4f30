/* rows.c - the three shapes of rows.
 *
 * Always true: a stream that did not reach its end is cut without the last
 * chunk, so that no client takes a part for the whole. NDJSON says it in words
 * besides. A truncated CSV has no place to say it once its head is sent;
 * then it is cut as well.
 *
 * Thread: the worker that has the request. */
#include "http/rows.h"

#include <string.h>

#include "http/json.h"
#include "kvsql/base/num.h"

#define ROWS_EXACT_MAX 9007199254740991 /* 2^53 - 1 */

void http_rows_value(struct kv_buf *out, const struct vt_value *value,
                     bool big_text)
{
    bool big = value->kind == VT_INTEGER && big_text &&
               (value->integer > ROWS_EXACT_MAX ||
                value->integer < -ROWS_EXACT_MAX);

    switch (value->kind) {
    case VT_NULL:
        kv_buf_text(out, "null");
        break;
    case VT_INTEGER:
        if (big)
            kv_buf_byte(out, '"');
        http_json_int(out, value->integer);
        if (big)
            kv_buf_byte(out, '"');
        break;
    case VT_REAL:
        http_json_double(out, value->real, true);
        break;
    case VT_TEXT:
    case VT_BLOB:
        http_json_bytes(out, value->p, value->size, value->kind == VT_BLOB);
        break;
    }
}

/* ---- CSV ------------------------------------------------------------------------ */

void http_csv_text(struct kv_buf *out, const uint8_t *p, size_t size,
                   bool empty)
{
    bool quote = size == 0 && empty;

    for (size_t i = 0; !quote && i < size; i++)
        quote = p[i] == '"' || p[i] == ',' || p[i] == '\r' || p[i] == '\n';
    if (!quote) {
        kv_buf_add(out, p, size);
        return;
    }
    kv_buf_byte(out, '"');
    for (size_t i = 0, from = 0; i <= size; i++) {
        if (i < size && p[i] != '"')
            continue;
        kv_buf_add(out, p + from, i - from);
        if (i < size)
            kv_buf_text(out, "\"\"");
        from = i + 1;
    }
    kv_buf_byte(out, '"');
}

static void rows_csv_value(struct kv_buf *out, const struct vt_value *value)
{
    static const char digits[] = "0123456789abcdef";
    char text[KV_DOUBLE_TEXT_MAX];
    size_t size;

    switch (value->kind) {
    case VT_NULL:
        break;
    case VT_INTEGER:
        http_json_int(out, value->integer);
        break;
    case VT_REAL:
        size = kv_num_format_double(text, value->real);
        kv_buf_add(out, text, size);
        if (strcspn(text, ".en") == size) /* 3 is 3.0; inf stays */
            kv_buf_text(out, ".0");
        break;
    case VT_TEXT:
        http_csv_text(out, value->p, value->size, true);
        break;
    case VT_BLOB:
        kv_buf_text(out, "X'");
        for (size_t i = 0; i < value->size; i++) {
            kv_buf_byte(out, (uint8_t)digits[value->p[i] >> 4]);
            kv_buf_byte(out, (uint8_t)digits[value->p[i] & 15]);
        }
        kv_buf_byte(out, '\'');
        break;
    }
}

/* ---- begin ---------------------------------------------------------------------- */

static void rows_json_columns(struct http_rows *rows, struct kv_buf *out)
{
    kv_buf_text(out, "{\"columns\":[");
    for (int i = 0; i < rows->columns; i++) {
        const char *type = vt_column_type(rows->statement, i);
        kv_buf_text(out, i ? ",{\"name\":" : "{\"name\":");
        http_json_text(out, vt_column_name(rows->statement, i));
        kv_buf_text(out, ",\"type\":");
        if (type[0] != 0)
            http_json_text(out, type);
        else
            kv_buf_text(out, "null");
        kv_buf_byte(out, '}');
    }
    kv_buf_text(out, "],\"rows\":[");
}

void http_rows_begin(struct http_rows *rows)
{
    static const char *const types[] = {
        [HTTP_ROWS_JSON] = HTTP_TYPE_JSON,
        [HTTP_ROWS_NDJSON] = "application/x-ndjson",
        [HTTP_ROWS_CSV] = "text/csv; charset=utf-8; header=present"};
    struct kv_buf *out = &rows->request->answer.body;

    http_answer(rows->request, 200, types[rows->format]);
    rows->columns = vt_column_count(rows->statement);
    if (rows->columns == 0)
        return;
    if (rows->format == HTTP_ROWS_JSON)
        rows_json_columns(rows, out);
    if (rows->format != HTTP_ROWS_CSV)
        return;
    for (int i = 0; i < rows->columns; i++) {
        const char *name = vt_column_name(rows->statement, i);
        if (i > 0)
            kv_buf_byte(out, ',');
        http_csv_text(out, (const uint8_t *)name, strlen(name), true);
    }
    kv_buf_text(out, "\r\n");
}

/* ---- rows ------------------------------------------------------------------------ */

static void rows_json_row(struct http_rows *rows, struct kv_buf *out)
{
    bool object = rows->format == HTTP_ROWS_NDJSON;
    struct vt_value value;

    if (!object && rows->count > 0)
        kv_buf_byte(out, ',');
    kv_buf_byte(out, object ? '{' : '[');
    for (int i = 0; i < rows->columns; i++) {
        if (i > 0)
            kv_buf_byte(out, ',');
        if (object) {
            http_json_text(out, vt_column_name(rows->statement, i));
            kv_buf_byte(out, ':');
        }
        vt_column(rows->statement, i, &value);
        http_rows_value(out, &value, rows->big_text);
    }
    kv_buf_text(out, object ? "}\n" : "]");
}

bool http_rows_add(struct http_rows *rows)
{
    struct kv_buf *out = &rows->request->answer.body;
    struct vt_value value;

    if (rows->format != HTTP_ROWS_CSV) {
        rows_json_row(rows, out);
    } else {
        for (int i = 0; i < rows->columns; i++) {
            if (i > 0)
                kv_buf_byte(out, ',');
            vt_column(rows->statement, i, &value);
            rows_csv_value(out, &value);
        }
        kv_buf_text(out, "\r\n");
    }
    if (rows->plan != NULL)
        http_plan_step(rows);
    rows->count++;
    if (out->failed)
        return false;
    return out->size < HTTP_BLOCK || rows->whole ||
           http_stream_push(rows->request);
}

/* ---- end -------------------------------------------------------------------------- */

static void rows_json_end(struct http_rows *rows, bool truncated,
                          int64_t changes, uint64_t position,
                          uint64_t elapsed_ms)
{
    struct kv_buf *out = &rows->request->answer.body;

    if (rows->columns > 0) {
        kv_buf_text(out, "],\"row_count\":");
        http_json_uint(out, rows->count);
        kv_buf_text(out, truncated ? ",\"truncated\":true,\"next\":null,"
                                   : ",\"truncated\":false,\"next\":null,");
    } else {
        kv_buf_byte(out, '{');
    }
    if (rows->plan != NULL)
        http_plan_end(rows);
    if (changes >= 0)
        kv_buf_printf(out, "\"changes\":%lld,", (long long)changes);
    kv_buf_text(out, "\"position\":");
    http_json_uint(out, position);
    kv_buf_text(out, ",\"elapsed_ms\":");
    http_json_uint(out, elapsed_ms);
    kv_buf_byte(out, '}');
}

static void rows_ndjson_end(struct http_rows *rows, bool truncated,
                            int64_t changes, uint64_t position)
{
    struct kv_buf *out = &rows->request->answer.body;

    kv_buf_printf(out, "{\"done\":true,\"rows\":%llu",
                  (unsigned long long)rows->count);
    if (truncated)
        kv_buf_text(out, ",\"truncated\":true");
    if (changes >= 0)
        kv_buf_printf(out, ",\"changes\":%lld", (long long)changes);
    kv_buf_printf(out, ",\"position\":%llu}\n", (unsigned long long)position);
}

/* The end of a result that was cut and goes on: with the cursor of its next page,
 * and its Link if there is still time. False: it has none. */
static bool rows_json_cut(struct http_rows *rows, uint64_t position,
                          uint64_t elapsed_ms)
{
    struct http_request *request = rows->request;
    struct kv_buf *out = &request->answer.body;
    struct kv_buf cursor;

    kv_buf_init(&cursor, KV_MEM_CLIENT, HTTP_BLOCK);
    const bool good =
        rows->page != NULL && http_page_cursor(rows->page, &cursor);
    if (good) {
        kv_buf_printf(out,
                      "],\"row_count\":%llu,\"truncated\":true,\"next\":\"",
                      (unsigned long long)rows->count);
        kv_buf_add(out, cursor.p, cursor.size);
        kv_buf_printf(out, "\",\"position\":%llu,\"elapsed_ms\":%llu}",
                      (unsigned long long)position,
                      (unsigned long long)elapsed_ms);
        if (request->method != HTTP_POST && !http_stream_is_open(request))
            http_answer_next(request, (kvsql_slice){cursor.p, cursor.size});
    }
    kv_buf_fini(&cursor);
    return good;
}

/* The last block, when blocks have left before. */
static void rows_flush(struct http_request *request, bool cut)
{
    if (!http_stream_is_open(request))
        return;
    bool pushed = http_stream_push(request);
    kv_lock_take(&request->lock);
    request->stream.cut = cut || !pushed;
    kv_lock_drop(&request->lock);
}

void http_rows_end(struct http_rows *rows, bool truncated, int64_t changes,
                   uint64_t position, uint64_t elapsed_ms)
{
    struct http_request *request = rows->request;

    if (rows->format == HTTP_ROWS_JSON &&
        !(truncated && rows_json_cut(rows, position, elapsed_ms)))
        rows_json_end(rows, truncated, changes, position, elapsed_ms);
    else if (rows->format == HTTP_ROWS_NDJSON)
        rows_ndjson_end(rows, truncated, changes, position);
    bool open = http_stream_is_open(request);
    if (!open)
        http_answer_number(request, "X-KVSQL-Position", "", position);
    if (!open && truncated)
        http_answer_header(request, "X-KVSQL-Truncated", "rows=%llu",
                           (unsigned long long)rows->count);
    rows_flush(request, truncated && rows->format == HTTP_ROWS_CSV);
}

void http_rows_fail(struct http_rows *rows, kvsql_rc rc, const char *detail,
                    const char *extra)
{
    struct http_request *request = rows->request;
    struct kv_buf *out = &request->answer.body;
    char id[65];

    if (!http_stream_is_open(request)) {
        http_fail(request, rc, detail, extra);
        return;
    }
    if (rows->format == HTTP_ROWS_NDJSON) {
        kv_buf_text(out, "{\"error\":");
        http_problem_body(out, rc, detail, http_request_id(request, id),
                          extra);
        kv_buf_text(out, "}\n");
    }
    rows_flush(request, true);
}

void http_rows_close(struct http_request *request, kvsql_rc rc,
                     const char *detail)
{
    if (http_stream_is_open(request))
        rows_flush(request, rc != KVSQL_OK);
    else if (rc != KVSQL_OK)
        http_fail(request, rc, detail, NULL);
}
