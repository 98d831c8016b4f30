/* key.c - /v1/keys/{key}: one key of any type with its value.
 *
 * Both are read by SQL in one transaction of a worker's session, so they are of
 * one state and a large value never holds the store; the value is handed on
 * while it is read.
 *
 * Thread: workers. */
#include "http/key.h"

#include <stdio.h>
#include <string.h>

#include "http/prefer.h"
#include "kvsql/base/text.h"

#define KEY_PEEK_ELEMENTS 20
#define KEY_PEEK_BYTES 4096

struct vt_value http_key_bound(bool blob, const void *p, size_t size)
{
    return (struct vt_value){.kind = blob ? VT_BLOB : VT_TEXT,
                             .p = size ? p : (const uint8_t *)"",
                             .size = size};
}

static kvsql_rc key_query(struct http_key_read *one, const char *sql,
                           struct vt_statement **statement,
                           struct kvsql_error *err)
{
    *statement = NULL;
    kvsql_rc rc = vt_prepare(one->session, sql, strlen(sql), NULL, statement,
                             err);
    return rc == KVSQL_OK ? vt_bind(*statement, 1, &one->key, err) : rc;
}

static void key_bytes(struct http_key_read *one, const struct vt_value *value)
{
    struct kv_buf *out = &one->request->answer.body;
    size_t size = value->size;

    if (one->peek && size > KEY_PEEK_BYTES) {
        size = KEY_PEEK_BYTES;
        if (value->kind == VT_TEXT)
            size = kv_utf8_prefix(value->p, size);
        one->cut = true;
    }
    http_json_bytes(out, value->p, size, value->kind == VT_BLOB);
}

/* One element, in the shape of its type. */
static void key_element(struct http_key_read *one,
                         const struct vt_statement *statement)
{
    struct kv_buf *out = &one->request->answer.body;
    struct vt_value first, second;
    bool hash = strcmp(one->type, "hash") == 0;

    vt_column(statement, 0, &first);
    if (strcmp(one->type, "zset") == 0) {
        kv_buf_text(out, "{\"member\":");
        key_bytes(one, &first);
        kv_buf_text(out, ",\"score\":");
        vt_column(statement, 1, &second);
        http_json_double(out, second.real, false);
        kv_buf_byte(out, '}');
        return;
    }
    if (hash && one->pairs)
        kv_buf_byte(out, '[');
    key_bytes(one, &first);
    if (hash) {
        kv_buf_byte(out, one->pairs ? ',' : ':');
        vt_column(statement, 1, &second);
        key_bytes(one, &second);
        vt_column(statement, 2, &second);
        one->times = one->times || second.kind == VT_INTEGER;
    }
    if (hash && one->pairs)
        kv_buf_byte(out, ']');
}

/* A field with its time. */
static void key_time(struct http_key_read *one,
                     const struct vt_statement *statement)
{
    struct kv_buf *out = &one->request->answer.body;
    struct vt_value field, time;

    vt_column(statement, 0, &field);
    vt_column(statement, 1, &time);
    if (one->pairs)
        kv_buf_byte(out, '[');
    key_bytes(one, &field);
    kv_buf_byte(out, one->pairs ? ',' : ':');
    http_json_int(out, time.integer);
    if (one->pairs)
        kv_buf_byte(out, ']');
}

const char *http_key_sql(const char *type)
{
    static const struct {
        const char *type, *sql;
    } rows[] = {
        {"string", HTTP_KEY_STRING},
        {"hash", "SELECT field, value, expires_at FROM hashes WHERE key = ?1 "
                 "ORDER BY field"},
        {"list", "SELECT value FROM lists WHERE key = ?1 ORDER BY idx"},
        {"set", "SELECT member FROM sets WHERE key = ?1 ORDER BY member"},
        {"zset", "SELECT member, score FROM zsets WHERE key = ?1 "
                 "ORDER BY score, member"},
    };

    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(type, rows[i].type) == 0)
            return rows[i].sql;
    return NULL;
}

/* A hash with a field that is no text cannot be an object, nor one whose field
 * could be taken for a form of ours (value.c). */
static kvsql_rc key_shape(struct http_key_read *one, struct kvsql_error *err)
{
    struct vt_statement *statement;
    bool row = false;

    if (strcmp(one->type, "hash") != 0)
        return KVSQL_OK;
    one->pairs = http_is(http_param(one->request, "shape"), "pairs");
    kvsql_rc rc = key_query(one,
                             "SELECT 1 FROM hashes WHERE key = ?1 "
                             "AND field >= x'' UNION ALL "
                             "SELECT 1 FROM hashes WHERE key = ?1 "
                             "AND field >= '$' AND field < '%' LIMIT 1",
                             &statement, err);
    if (rc == KVSQL_OK)
        rc = vt_step(statement, &row, err);
    one->pairs = one->pairs || row;
    if (statement != NULL)
        vt_finish(statement);
    return rc;
}

static void key_brackets(struct http_key_read *one, bool open)
{
    struct kv_buf *out = &one->request->answer.body;

    if (strcmp(one->type, "string") == 0)
        return;
    if (strcmp(one->type, "hash") == 0 && one->pairs)
        kv_buf_text(out, open ? "{\"$pairs\":[" : "]}");
    else if (strcmp(one->type, "hash") == 0)
        kv_buf_byte(out, open ? '{' : '}');
    else
        kv_buf_byte(out, open ? '[' : ']');
}

/* All rows of a statement, handed on as they become blocks. */
static kvsql_rc key_rows(struct http_key_read *one, const char *sql,
                         void (*put)(struct http_key_read *one,
                                     const struct vt_statement *statement),
                         struct kvsql_error *err)
{
    struct kv_buf *out = &one->request->answer.body;
    struct vt_statement *statement = NULL;
    uint64_t count = 0;
    bool row = false;
    kvsql_rc rc = key_query(one, sql, &statement, err);

    key_brackets(one, true);
    while (rc == KVSQL_OK && (rc = vt_step(statement, &row, err)) == KVSQL_OK &&
           row) {
        if (one->peek && count == KEY_PEEK_ELEMENTS) {
            one->cut = true;
            break;
        }
        if (count++ > 0)
            kv_buf_byte(out, ',');
        put(one, statement);
        if (out->size >= HTTP_BLOCK && !http_stream_push(one->request)) {
            rc = kv_fail(err, KVSQL_INTERRUPT, "the answer was not taken");
            break;
        }
    }
    if (rc == KVSQL_OK && vt_truncated(statement))
        rc = kv_fail(err, KVSQL_TOOBIG,
                     "the value has more than the %llu bytes of one answer; "
                     "read it in parts by commands",
                     (unsigned long long)one->request->server->sql_byte_max);
    if (statement != NULL)
        vt_finish(statement);
    key_brackets(one, false);
    return rc;
}

kvsql_rc http_key_value(struct http_key_read *one, struct kvsql_error *err)
{
    struct kv_buf *out = &one->request->answer.body;
    const char *sql = http_key_sql(one->type);

    kvsql_rc rc = key_shape(one, err);

    kv_buf_text(out, ",\"value\":");
    if (rc == KVSQL_OK && sql != NULL)
        return key_rows(one, sql, key_element, err);
    kv_buf_text(out, "null");
    return rc;
}

kvsql_rc http_key_times(struct http_key_read *one, struct kvsql_error *err)
{
    if (!one->times)
        return KVSQL_OK;
    kv_buf_text(&one->request->answer.body, ",\"field_expires_at\":");
    return key_rows(one,
                    "SELECT field, expires_at FROM hashes WHERE key = ?1 AND "
                    "expires_at IS NOT NULL ORDER BY field",
                    key_time, err);
}

/* The answer's head and metadata. False: it is complete (304) or failed. */
static bool key_metadata(struct http_key_read *one,
                          const struct vt_statement *statement)
{
    static const char *const names[] = {"type", "ttl_ms", "size", "version",
                                        "length", "encoding", "idle_ms"};
    struct http_request *request = one->request;
    struct kv_buf *out = &request->answer.body;
    struct vt_value value;
    char etag[HTTP_ETAG_SIZE];

    vt_column(statement, 3, &value);
    http_etag(request, (uint64_t)value.integer, etag);
    bool same = http_version_in(request->headers[HTTP_H_IF_NONE_MATCH], etag,
                             false);
    http_answer(request, same ? 304 : 200, same ? NULL : HTTP_TYPE_JSON);
    request->answer.cache = "no-cache";
    http_answer_header(request, "ETag", "%s", etag);
    if (same)
        return false;
    kv_buf_text(out, "{\"key\":");
    http_json_bytes(out, one->key.p, one->key.size, one->key.kind == VT_BLOB);
    for (int i = 0; i < (one->peek ? 7 : 5); i++) {
        vt_column(statement, i, &value);
        kv_buf_printf(out, ",\"%s\":", names[i]);
        http_rows_value(out, &value, false);
        if (i == 0 && value.size < sizeof one->type)
            memcpy(one->type, value.p, value.size);
        if (i == 1 && value.kind == VT_INTEGER)
            http_answer_header(request, "X-KVSQL-TTL-Remaining-Ms", "%lld",
                               (long long)value.integer);
    }
    return true;
}

static kvsql_rc key_get(struct http_key_read *one, struct kvsql_error *err)
{
    static const char sql[] = "SELECT type, ttl, memory, version, length, "
                              "encoding, idle FROM keys WHERE key = ?1";
    struct vt_statement *statement;
    char shown[128];
    bool row = false, body = false;
    kvsql_rc rc = key_query(one, sql, &statement, err);

    if (rc == KVSQL_OK)
        rc = vt_step(statement, &row, err);
    if (rc == KVSQL_OK && row)
        body = key_metadata(one, statement);
    else if (rc == KVSQL_OK)
        rc = kv_fail(err, KVSQL_NOTFOUND, "there is no key '%s'",
                     kv_text_show(shown, sizeof shown, one->key.p,
                                  one->key.size));
    if (statement != NULL)
        vt_finish(statement);
    if (rc != KVSQL_OK || !body)
        return rc;
    rc = http_key_value(one, err);
    if (one->cut)
        kv_buf_text(&one->request->answer.body, ",\"truncated\":true");
    kv_buf_byte(&one->request->answer.body, '}');
    return rc;
}

/* Metadata and value are read of one state: one SQL transaction. */
static void key_get_work(struct http_request *request,
                          struct http_worker *worker)
{
    struct vt_limits limits = {.read_only = true,
                               .exact = true,
                               .deadline_ms = request->server->sql_deadline_ms,
                               .row_max = UINT64_MAX / 2,
                               .byte_max = request->server->sql_byte_max};
    kvsql_slice key = request->segments[2];
    struct http_key_read one = {.request = request};
    struct kvsql_error err;

    one.key = http_key_bound(kv_class_of(key.p, key.size) == KV_BLOB, key.p,
                         key.size);
    one.peek = http_is(http_param(request, "peek"), "1");
    one.session = http_sql_session(request, worker, &limits);
    if (one.session == NULL)
        return;
    kvsql_rc rc = vt_begin(one.session, &err);
    if (rc == KVSQL_OK) {
        rc = key_get(&one, &err);
        vt_rollback(one.session);
    }
    http_rows_close(request, rc, rc == KVSQL_OK ? NULL : err.text);
    http_sql_leave(request, worker);
}

enum http_next http_do_keys_get(struct http_request *request)
{
    request->work = key_get_work;
    return HTTP_NEXT_WORK;
}
