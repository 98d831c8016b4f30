/* wire.c - the REST of kvsql as a client speaks it.
 *
 * SQL goes to /v1/sql and /v1/batch, commands to /pipeline (answers asked for
 * as RESP2, which carries any bytes) and /multi-exec. An answer of SQL may be
 * larger than what one JSON parse takes, so the outer object is walked by
 * hopping over values, and each row is parsed by itself.
 *
 * Thread: the owner's. */
#include "cli/wire.h"

#include <stdio.h>
#include <string.h>

#include "http/json.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define WIRE_COLUMNS_MAX 2000 /* SQLite's own limit of columns */
#define WIRE_BODY_MAX ((size_t)2 << 30)
#define WIRE_BATCH_MAX ((size_t)1 << 20) /* http-max-body's default */

/* ---- hopping over JSON -------------------------------------------------------- */

struct wire_span {
    uint8_t *p, *end;
};

static bool wire_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static uint8_t *wire_blank(uint8_t *p, const uint8_t *end)
{
    while (p < end && wire_space(*p))
        p++;
    return p;
}

/* Behind the string that begins at p; `end` when it does not end. */
static uint8_t *wire_string_end(uint8_t *p, uint8_t *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : end;
}

/* Behind the string, array or object that begins at p. */
static uint8_t *wire_value_end(uint8_t *p, uint8_t *end)
{
    unsigned depth = 0;

    while (p < end) {
        if (*p == '"') {
            p = wire_string_end(p, end);
            if (depth == 0)
                return p;
            continue;
        }
        if (*p == '[' || *p == '{')
            depth++;
        else if ((*p == ']' || *p == '}') && --depth == 0)
            return p + 1;
        p++;
    }
    return end;
}

/* The next element of the array (or member of the object) whose inside `*p`
 * walks; false at its end. */
static bool wire_next(uint8_t **p, uint8_t *end, struct wire_span *out)
{
    uint8_t *at = wire_blank(*p, end);

    if (at < end && *at == ',')
        at = wire_blank(at + 1, end);
    if (at >= end || *at == ']' || *at == '}')
        return false;
    out->p = at;
    if (*at == '"' || *at == '[' || *at == '{') {
        out->end = wire_value_end(at, end);
    } else { /* a number or a word: up to what ends it */
        while (at < end && *at != ',' && *at != ']' && *at != '}' &&
               !wire_space(*at))
            at++;
        out->end = at;
    }
    *p = out->end;
    return out->end > out->p;
}

/* The value of member `name` of the object in `object`. */
static bool wire_member(struct wire_span object, const char *name,
                        struct wire_span *out)
{
    uint8_t *p = wire_blank(object.p, object.end);
    const size_t size = strlen(name);
    struct wire_span key;

    if (p >= object.end || *p != '{')
        return false;
    p++;
    while (wire_next(&p, object.end, &key)) {
        p = wire_blank(p, object.end);
        if (p >= object.end || *p != ':')
            return false;
        p++;
        if (!wire_next(&p, object.end, out))
            return false;
        if ((size_t)(key.end - key.p) == size + 2 &&
            memcmp(key.p + 1, name, size) == 0)
            return true;
    }
    return false;
}

static bool wire_is(struct wire_span span, const char *word)
{
    const size_t size = strlen(word);

    return (size_t)(span.end - span.p) == size &&
           memcmp(span.p, word, size) == 0;
}

static kvsql_rc wire_garbled(struct kvsql_error *err, const char *what)
{
    return kv_fail(err, KVSQL_CORRUPT,
                   "the server's answer is not what %s gives; is it kvsql?",
                   what);
}

/* ---- errors ------------------------------------------------------------------- */

static void wire_copy(char *out, size_t out_size,
                      const struct http_json_token *token)
{
    const size_t n = token->size < out_size - 1 ? token->size : out_size - 1;

    memcpy(out, token->p, n);
    out[n] = '\0';
}

static kvsql_rc wire_code(const struct http_json_token *token)
{
    const struct kv_error_row *row;

    for (unsigned i = 0; (row = kv_error_at(i)) != NULL; i++)
        if (strlen(row->name) == token->size &&
            memcmp(row->name, token->p, token->size) == 0)
            return row->rc;
    return KVSQL_INVALID;
}

/* An answer that is an error: problem+json, {"error":..} or a line of RESP. */
static kvsql_rc wire_refused(long status, struct kv_buf *answer,
                             struct cli_trouble *trouble)
{
    struct http_json json = {.tokens = NULL};
    struct kvsql_error *err = &trouble->error;
    struct kvsql_error why;
    kvsql_rc rc = status == 401 || status == 403 ? KVSQL_AUTH : KVSQL_INVALID;
    char text[KVSQL_ERROR_SIZE] = "";

    trouble->hint[0] = '\0';
    trouble->offset = -1;
    if (answer->size > 0 && answer->p[0] == '-') {
        const void *line_end = memchr(answer->p, '\r', answer->size);
        const size_t size = line_end != NULL
                                ? (size_t)((const uint8_t *)line_end -
                                           answer->p)
                                : answer->size;

        return kv_fail(err, rc, "%.*s", (int)size - 1, answer->p + 1);
    }
    if (answer->size > 0 && http_json_parse(&json, answer->p, answer->size,
                                            &why) == KVSQL_OK &&
        json.tokens[0].kind == HTTP_JSON_OBJECT) {
        uint32_t at = http_json_find(&json, 0, "detail");

        if (at == 0)
            at = http_json_find(&json, 0, "error");
        if (at != 0)
            wire_copy(text, sizeof text, &json.tokens[at]);
        at = http_json_find(&json, 0, "hint");
        if (at != 0)
            wire_copy(trouble->hint, sizeof trouble->hint, &json.tokens[at]);
        at = http_json_find(&json, 0, "code");
        if (at != 0)
            rc = wire_code(&json.tokens[at]);
        at = http_json_find(&json, 0, "offset");
        int64_t offset;
        if (at != 0 && kv_num_int(json.tokens[at].p, json.tokens[at].size,
                                  &offset))
            trouble->offset = (int)offset;
    }
    http_json_fini(&json);
    if (text[0] != '\0')
        return kv_fail(err, rc, "%s", text);
    return kv_fail(err, rc, "the server answered with HTTP status %ld",
                   status);
}

/* ---- SQL ---------------------------------------------------------------------- */

/* A value of a JSON row as SQL's. */
static bool wire_value(const struct http_json *json, uint32_t at,
                       struct kv_buf *blobs, struct vt_value *out)
{
    const struct http_json_token *token = &json->tokens[at];

    *out = (struct vt_value){.kind = VT_NULL};
    switch ((enum http_json_kind)token->kind) {
    case HTTP_JSON_NULL:
        return true;
    case HTTP_JSON_TRUE:
    case HTTP_JSON_FALSE:
        out->kind = VT_INTEGER;
        out->integer = token->kind == HTTP_JSON_TRUE;
        return true;
    case HTTP_JSON_NUMBER:
        out->kind = VT_INTEGER;
        if (kv_num_int(token->p, token->size, &out->integer))
            return true;
        out->kind = VT_REAL;
        return kv_num_double(token->p, token->size, &out->real);
    case HTTP_JSON_STRING:
        out->kind = VT_TEXT;
        out->p = token->p;
        out->size = token->size;
        return true;
    case HTTP_JSON_OBJECT: {
        const uint32_t text = http_json_find(json, at, "$base64");
        const size_t from = blobs->size;

        if (text == 0 ||
            !kv_base64_decode(blobs, (const char *)json->tokens[text].p,
                              json->tokens[text].size) ||
            blobs->failed)
            return false;
        out->kind = VT_BLOB;
        out->size = blobs->size - from;
        out->integer = (int64_t)from; /* becomes p when blobs stands still */
        return true;
    }
    case HTTP_JSON_ARRAY:
        break;
    }
    return false;
}

/* One row: a JSON array. */
static kvsql_rc wire_row(struct wire_span span, unsigned columns,
                         struct vt_value *values, struct kv_buf *blobs,
                         const struct cli_rows *rows, struct kvsql_error *err)
{
    struct http_json json = {.tokens = NULL};
    kvsql_rc rc =
        http_json_parse(&json, span.p, (size_t)(span.end - span.p), err);

    if (rc == KVSQL_OK && (json.tokens[0].kind != HTTP_JSON_ARRAY ||
                           json.tokens[0].count != columns))
        rc = wire_garbled(err, "/v1/sql");
    kv_buf_reset(blobs, 1u << 20);
    uint32_t at = 1;
    for (unsigned i = 0; i < columns && rc == KVSQL_OK; i++) {
        if (!wire_value(&json, at, blobs, &values[i]))
            rc = wire_garbled(err, "/v1/sql");
        at = json.tokens[at].next;
    }
    if (rc == KVSQL_OK) {
        for (unsigned i = 0; i < columns; i++)
            if (values[i].kind == VT_BLOB)
                values[i].p = (blobs->p != NULL ? blobs->p
                                                : (const uint8_t *)"") +
                              values[i].integer;
        rc = rows->row(rows->arg, columns, values, err);
    }
    http_json_fini(&json);
    return rc;
}

/* The names of [{"name":..},..], each copied with a NUL into `text`. */
static kvsql_rc wire_names(struct wire_span span, struct kv_buf *text,
                           size_t *offsets, unsigned *columns,
                           struct kvsql_error *err)
{
    struct http_json json = {.tokens = NULL};
    kvsql_rc rc =
        http_json_parse(&json, span.p, (size_t)(span.end - span.p), err);

    *columns = 0;
    if (rc == KVSQL_OK && (json.tokens[0].kind != HTTP_JSON_ARRAY ||
                           json.tokens[0].count > WIRE_COLUMNS_MAX))
        rc = wire_garbled(err, "/v1/sql");
    for (uint32_t at = 1; rc == KVSQL_OK && *columns < json.tokens[0].count;
         at = json.tokens[at].next) {
        const uint32_t name = json.tokens[at].kind == HTTP_JSON_OBJECT
                                  ? http_json_find(&json, at, "name")
                                  : at;

        if (name == 0) {
            rc = wire_garbled(err, "/v1/sql");
            break;
        }
        offsets[(*columns)++] = text->size;
        kv_buf_add(text, json.tokens[name].p, json.tokens[name].size);
        kv_buf_byte(text, '\0');
    }
    http_json_fini(&json);
    return rc == KVSQL_OK ? kv_buf_result(text, "names of columns", err) : rc;
}

/* Scratch of one answer. */
struct wire_table {
    struct kv_buf names, blobs;
    size_t offsets[WIRE_COLUMNS_MAX];
    const char *name[WIRE_COLUMNS_MAX];
    struct vt_value values[WIRE_COLUMNS_MAX];
};

/* {"columns":[..],"rows":[..]} */
static kvsql_rc wire_rows(struct wire_span columns_span,
                          struct wire_span rows_span,
                          const struct cli_rows *rows, uint64_t *count,
                          struct kvsql_error *err)
{
    struct wire_table *table =
        kv_mem_alloc(KV_MEM_CLIENT, sizeof(struct wire_table));
    struct wire_span row;
    unsigned columns = 0;

    if (table == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for rows");
    kv_buf_init(&table->names, KV_MEM_CLIENT, WIRE_BODY_MAX);
    kv_buf_init(&table->blobs, KV_MEM_CLIENT, REMOTE_ANSWER_MAX);
    kvsql_rc rc = wire_names(columns_span, &table->names, table->offsets,
                             &columns, err);
    for (unsigned i = 0; i < columns; i++)
        table->name[i] = (const char *)table->names.p + table->offsets[i];
    if (rc == KVSQL_OK)
        rc = rows->begin(rows->arg, columns, table->name, err);
    uint8_t *p = rows_span.p + 1;
    while (rc == KVSQL_OK && wire_next(&p, rows_span.end, &row)) {
        rc = wire_row(row, columns, table->values, &table->blobs, rows, err);
        ++*count;
    }
    kv_buf_fini(&table->names);
    kv_buf_fini(&table->blobs);
    kv_mem_free(KV_MEM_CLIENT, table, sizeof *table);
    return rc;
}

static int64_t wire_int(struct wire_span span)
{
    int64_t number = 0;

    return kv_num_int(span.p, (size_t)(span.end - span.p), &number) ? number
                                                                    : 0;
}

/* An object with columns and rows, or changes, or both. */
static kvsql_rc wire_answer(struct wire_span object,
                            const struct cli_rows *rows,
                            struct cli_answer *answer,
                            struct kvsql_error *err)
{
    struct wire_span columns, list, span;

    *answer = (struct cli_answer){.rows = false};
    if (wire_member(object, "changes", &span))
        answer->changes = wire_int(span);
    if (wire_member(object, "truncated", &span))
        answer->truncated = wire_is(span, "true");
    if (!wire_member(object, "columns", &columns))
        return KVSQL_OK;
    if (!wire_member(object, "rows", &list) || *list.p != '[')
        return wire_garbled(err, "/v1/sql");
    if (columns.end - columns.p <= 2)
        return KVSQL_OK;
    answer->rows = true;
    return wire_rows(columns, list, rows, &answer->row_count, err);
}

static void wire_param(struct kv_buf *body, const struct vt_value *value)
{
    switch (value->kind) {
    case VT_NULL:
        kv_buf_text(body, "null");
        return;
    case VT_INTEGER:
        http_json_int(body, value->integer);
        return;
    case VT_REAL:
        http_json_double(body, value->real, true);
        return;
    case VT_TEXT:
        http_json_string(body, value->p, value->size);
        return;
    case VT_BLOB:
        http_json_bytes(body, value->p, value->size, true);
        return;
    }
}

kvsql_rc cli_wire_sql(struct cli_remote *remote, const char *sql, size_t size,
                      unsigned param_count, const struct vt_value *params,
                      uint64_t row_max, const struct cli_rows *rows,
                      struct cli_answer *answer, struct cli_trouble *trouble)
{
    struct kvsql_error *err = &trouble->error;
    struct kv_buf body, out;
    long status = 0;

    kv_buf_init(&body, KV_MEM_CLIENT, WIRE_BODY_MAX);
    kv_buf_init(&out, KV_MEM_CLIENT, REMOTE_ANSWER_MAX);
    kv_buf_text(&body, "{\"sql\":");
    http_json_string(&body, sql, size);
    if (param_count > 0) {
        kv_buf_text(&body, ",\"params\":[");
        for (unsigned i = 0; i < param_count; i++) {
            if (i > 0)
                kv_buf_byte(&body, ',');
            wire_param(&body, &params[i]);
        }
        kv_buf_byte(&body, ']');
    }
    if (row_max > 0) {
        kv_buf_text(&body, ",\"max_rows\":");
        http_json_uint(&body, row_max);
    }
    kv_buf_byte(&body, '}');
    kvsql_rc rc = kv_buf_result(&body, "a statement", err);
    if (rc == KVSQL_OK)
        rc = cli_remote_request(remote, "/v1/sql", &body,
                                "Accept: application/json", &status, &out,
                                err);
    if (rc == KVSQL_OK && status != 200)
        rc = wire_refused(status, &out, trouble);
    else if (rc == KVSQL_OK)
        rc = wire_answer((struct wire_span){out.p, out.p + out.size}, rows,
                         answer, err);
    kv_buf_fini(&body);
    kv_buf_fini(&out);
    return rc;
}

/* {"results":[..]} of /v1/batch. */
static kvsql_rc wire_results(struct kv_buf *out, const struct cli_rows *rows,
                             int64_t *changes, struct kvsql_error *err)
{
    struct wire_span list, one;

    *changes = 0;
    if (!wire_member((struct wire_span){out->p, out->p + out->size}, "results",
                     &list) ||
        *list.p != '[')
        return wire_garbled(err, "/v1/batch");
    uint8_t *p = list.p + 1;
    kvsql_rc rc = KVSQL_OK;
    while (rc == KVSQL_OK && wire_next(&p, list.end, &one)) {
        struct cli_answer answer;

        rc = wire_answer(one, rows, &answer, err);
        *changes += answer.changes;
    }
    return rc;
}

kvsql_rc cli_wire_transaction(struct cli_remote *remote, unsigned count,
                              const kvsql_slice *statements, bool rollback,
                              const struct cli_rows *rows, int64_t *changes,
                              struct cli_trouble *trouble)
{
    struct kvsql_error *err = &trouble->error;
    struct kv_buf body, out;
    long status = 0;

    kv_buf_init(&body, KV_MEM_CLIENT, WIRE_BODY_MAX);
    kv_buf_init(&out, KV_MEM_CLIENT, REMOTE_ANSWER_MAX);
    kv_buf_text(&body, "{\"atomic\":true,\"ops\":[");
    for (unsigned i = 0; i < count; i++) {
        kv_buf_text(&body, i > 0 ? ",{\"sql\":" : "{\"sql\":");
        http_json_string(&body, statements[i].p, statements[i].size);
        kv_buf_byte(&body, '}');
    }
    kv_buf_text(&body, "]}");
    kvsql_rc rc = kv_buf_result(&body, "a transaction", err);
    if (rc == KVSQL_OK)
        rc = cli_remote_request(remote, "/v1/batch", &body,
                                rollback ? "Prefer: tx=rollback" : NULL,
                                &status, &out, err);
    if (rc == KVSQL_OK && status != 200)
        rc = wire_refused(status, &out, trouble);
    else if (rc == KVSQL_OK)
        rc = wire_results(&out, rows, changes, err);
    kv_buf_fini(&body);
    kv_buf_fini(&out);
    return rc;
}

/* ---- commands ----------------------------------------------------------------- */

/* As base64: bytes that are no text, and text of many control characters, which
 * JSON makes six times as long: a batch of an import must not outgrow what the
 * server takes. */
bool cli_wire_is_bytes(const uint8_t *p, size_t size)
{
    size_t controls = 0;

    for (size_t i = 0; i < size; i++)
        controls += p[i] < ' ';
    return controls > size / 16 || kv_utf8_prefix(p, size) != size;
}

/* Words of one command as a JSON array. */
static void wire_command(struct kv_buf *body, const struct cmd_words *batch,
                         unsigned command)
{
    const uint64_t from = kv_u64_get(batch->starts.p + 8 * (size_t)command);
    const unsigned n = cmd_words_argv(batch, command, NULL, 0);

    for (uint64_t i = from; i < from + n; i++) {
        const uint8_t *word = batch->places.p + 16 * i;
        const uint8_t *p = batch->bytes.p + kv_u64_get(word);
        const size_t size = kv_u64_get(word + 8);

        kv_buf_byte(body, i == from ? '[' : ',');
        http_json_bytes(body, p, size, cli_wire_is_bytes(p, size));
    }
    kv_buf_byte(body, ']');
}

/* Send `body` to `path`; an answer that is no 200 is the error. */
static kvsql_rc wire_post(struct cli_remote *remote, const char *path,
                          const char *header, const struct kv_buf *body,
                          long *status, struct kv_buf *out,
                          struct kvsql_error *err)
{
    struct cli_trouble trouble;
    kvsql_rc rc = kv_buf_result(body, "a batch", err);

    if (rc == KVSQL_OK)
        rc = cli_remote_request(remote, path, body, header, status, out, err);
    if (rc == KVSQL_OK && *status != 200) {
        rc = wire_refused(*status, out, &trouble);
        (void)kv_fail(err, rc, "%s", trouble.error.text);
    }
    return rc;
}

/* [[..],[..]]; {"ops":[[..],[..]]} for /v1/batch. */
static void wire_commands_body(const struct cmd_words *batch, bool ops,
                               struct kv_buf *body)
{
    kv_buf_text(body, ops ? "{\"ops\":[" : "[");
    for (unsigned i = 0; i < cmd_words_count(batch); i++) {
        if (i > 0)
            kv_buf_byte(body, ',');
        wire_command(body, batch, i);
    }
    kv_buf_text(body, ops ? "]}" : "]");
}

/* A line of RESP2 from p: its end (at CR), or NULL. */
static const uint8_t *wire_line(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *cr = memchr(p, '\r', (size_t)(end - p));

    return cr != NULL && cr + 1 < end && cr[1] == '\n' ? cr : NULL;
}

/* A bulk string, its length line ending at `cr`. The byte behind it, NULL when
 * it is cut short. */
static const uint8_t *wire_bulk(const uint8_t *cr, const uint8_t *end,
                                int64_t size, struct cmd_reply *replies)
{
    const uint8_t *p = cr + 2;

    if (size < 0) {
        cmd_reply_null(replies);
        return p;
    }
    if (end - p < 2 || size > end - p - 2)
        return NULL;
    cmd_reply_bulk(replies, p, (size_t)size);
    return p + size + 2;
}

kvsql_rc cli_wire_resp2(const uint8_t *p, size_t size,
                        struct cmd_reply *replies, struct kvsql_error *err)
{
    const uint8_t *const end = p + size;

    while (p != NULL && p < end) {
        const uint8_t *cr = wire_line(p, end);
        char text[KVSQL_ERROR_SIZE];
        int64_t number = 0;

        if (cr == NULL)
            break;
        const char kind = (char)*p++;
        const size_t n = (size_t)(cr - p);
        const bool numeric = kind == ':' || kind == '$' || kind == '*';
        if (numeric && !kv_num_int(p, n, &number))
            break;
        if (!numeric)
            (void)snprintf(text, sizeof text, "%.*s", (int)n, (const char *)p);
        p = cr + 2;
        if (kind == '+')
            cmd_reply_status(replies, text);
        else if (kind == '-')
            cmd_reply_error(replies, KVSQL_INVALID, "%s", text);
        else if (kind == ':')
            cmd_reply_int(replies, number);
        else if (kind == '*' && number < 0)
            cmd_reply_null_array(replies);
        else if (kind == '*')
            cmd_reply_array(replies, (uint64_t)number);
        else
            p = kind == '$' ? wire_bulk(cr, end, number, replies) : NULL;
    }
    return p == end ? kv_buf_result(replies->buf, "replies", err)
                    : wire_garbled(err, "RESP2");
}

kvsql_rc cli_wire_pipeline(struct cli_remote *remote,
                           const struct cmd_words *batch,
                           struct cmd_reply *replies, struct kvsql_error *err)
{
    struct kv_buf body, out;
    long status = 0;
    kvsql_rc rc = cmd_words_result(batch, err);

    kv_buf_init(&body, KV_MEM_CLIENT, WIRE_BODY_MAX);
    kv_buf_init(&out, KV_MEM_CLIENT, REMOTE_ANSWER_MAX);
    if (rc == KVSQL_OK) {
        wire_commands_body(batch, false, &body);
        rc = wire_post(remote, "/pipeline", "Upstash-Response-Format: resp2",
                       &body, &status, &out, err);
    }
    if (rc == KVSQL_OK)
        rc = cli_wire_resp2(out.p, out.size, replies, err);
    kv_buf_fini(&body);
    kv_buf_fini(&out);
    return rc;
}

/* All or nothing: the first command that fails is what the server refuses.
 * What a server takes in no such body goes as lines of an import, a key in a
 * batch. */
kvsql_rc cli_wire_batch(struct cli_remote *remote,
                        const struct cmd_words *batch, struct kvsql_error *err)
{
    struct kv_buf body, out;
    long status = 0;
    kvsql_rc rc = cmd_words_result(batch, err);

    if (rc != KVSQL_OK)
        return rc;
    kv_buf_init(&body, KV_MEM_CLIENT, WIRE_BODY_MAX);
    kv_buf_init(&out, KV_MEM_CLIENT, REMOTE_ANSWER_MAX);
    wire_commands_body(batch, true, &body);
    if (body.size <= WIRE_BATCH_MAX && !body.failed)
        rc = wire_post(remote, "/v1/batch", NULL, &body, &status, &out, err);
    else
        status = 413; /* it would be told so */
    if (status == 413) {
        kv_buf_reset(&body, 0);
        kv_buf_reset(&out, 0);
        if (cli_wire_records(batch, &body))
            rc = wire_post(remote, "/v1/import", NULL, &body, &status, &out,
                           err);
        else
            rc = kv_fail(err, KVSQL_TOOBIG,
                         "a batch has more bytes than the server's "
                         "http-max-body takes");
    }
    kv_buf_fini(&body);
    kv_buf_fini(&out);
    return rc;
}

kvsql_rc cli_wire_snapshots(struct cli_remote *remote, struct kv_buf *answer,
                            struct kvsql_error *err)
{
    struct cli_trouble trouble;
    long status = 0;
    kvsql_rc rc = cli_remote_request(remote, "/v1/snapshots", NULL, NULL,
                                     &status, answer, err);

    if (rc == KVSQL_OK && status != 200) {
        rc = wire_refused(status, answer, &trouble);
        (void)kv_fail(err, rc, "%s", trouble.error.text);
    }
    return rc;
}

kvsql_rc cli_wire_snapshot(struct cli_remote *remote, struct kv_buf *answer,
                           struct kvsql_error *err)
{
    struct cli_trouble trouble;
    struct kv_buf body;
    long status = 0;

    kv_buf_init(&body, KV_MEM_CLIENT, 16);
    kv_buf_text(&body, "{}");
    kvsql_rc rc = cli_remote_request(remote, "/v1/snapshots?wait=1", &body,
                                     NULL, &status, answer, err);
    if (rc == KVSQL_OK && status != 201) {
        rc = wire_refused(status, answer, &trouble);
        (void)kv_fail(err, rc, "%s", trouble.error.text);
    }
    kv_buf_fini(&body);
    return rc;
}
