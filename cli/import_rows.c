/* import_rows.c - what `kvsql export` prints, read back: NDJSON and CSV.
 *
 * NDJSON, a key on each line:
 *   {"key":K,"type":T,"value":V,"expires_at":MS,"field_expires_at":{F:MS}}
 *   V   string: a string · hash: an object, or {"$pairs":[[f,v],..]} ·
 *       list, set: an array · zset: [{"member":m,"score":s},..] or [[m,s],..]
 *   bytes that are no text stand as {"$base64":".."}; numbers are taken by
 *   their source text. expires_at and field_expires_at may be absent. With
 *   "continue":true the elements are added to those of the lines before; a key
 *   of many elements takes several lines, and is not one batch then.
 *   {"done":true,..}, the last line of /v1/export, is passed over.
 *
 * CSV, RFC 4180, an element on each line, the elements of a key together:
 *   key,type,name,value,expires_at,field_expires_at
 *   name is the field or member (empty for strings and lists), value the
 *   string, the field's value, the element or the score; expires_at may be
 *   empty and counts on the first line of its key. The header line must be
 *   there, and may lack the last column. Text only: bytes that are none stand
 *   as base64:....
 *
 * A key replaces what was there. Large keys of CSV go in several batches too.
 * Thread: the main thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/import.h"
#include "http/json.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define ROWS_CSV_COLUMNS 6 /* the last may be absent */
#define ROWS_CSV_MAX (64u << 20)  /* bytes of one CSV record */
#define ROWS_BASE64 "base64:"

struct rows_reader {
    struct cli_import *import;
    char *input; /* getline's */
    size_t input_size;
    uint64_t line;
    struct kv_buf scratch; /* decoded bytes */
};

static kvsql_rc rows_wrong(const struct rows_reader *reader,
                           struct kvsql_error *err, const char *what)
{
    return kv_fail(err, KVSQL_SYNTAX, "%s:%llu: %s", reader->import->source,
                   (unsigned long long)reader->line, what);
}

/* One more line into input, without its end; *size -1 at the end. */
static kvsql_rc rows_line(struct rows_reader *reader, ssize_t *size,
                          struct kvsql_error *err)
{
    errno = 0;
    *size = getline(&reader->input, &reader->input_size, reader->import->file);
    if (*size < 0 && ferror(reader->import->file))
        return kv_fail(err, KVSQL_IO, "cannot read %s: %s",
                       reader->import->source, strerror(errno));
    if (*size < 0 && errno == ENOMEM)
        return kv_fail(err, KVSQL_NOMEM, "no memory for a line");
    if (*size < 0)
        return KVSQL_OK;
    reader->line++;
    reader->import->file_read += (uint64_t)*size;
    return KVSQL_OK;
}

/* ---- NDJSON ------------------------------------------------------------------- */

/* A value of the store from JSON into the batch. */
static bool rows_word(struct rows_reader *reader, const struct http_json *json,
                      uint32_t at)
{
    const struct http_json_token *token = &json->tokens[at];
    struct cli_batch *batch = &reader->import->batch;

    if (token->kind == HTTP_JSON_STRING || token->kind == HTTP_JSON_NUMBER) {
        cli_batch_word(batch, token->p, token->size);
        return true;
    }
    const uint32_t text = token->kind == HTTP_JSON_OBJECT && token->count == 1
                              ? http_json_find(json, at, "$base64")
                              : 0;
    kv_buf_reset(&reader->scratch, 1u << 20);
    if (text == 0 ||
        !kv_base64_decode(&reader->scratch, (const char *)json->tokens[text].p,
                          json->tokens[text].size))
        return false;
    cli_batch_word(batch, reader->scratch.p, reader->scratch.size);
    return true;
}

/* Two words from an array of two, swapped for ZADD. */
static bool rows_pair(struct rows_reader *reader, const struct http_json *json,
                      uint32_t at, bool swap)
{
    const struct http_json_token *pair = &json->tokens[at];

    if (pair->kind != HTTP_JSON_ARRAY || pair->count != 2)
        return false;
    const uint32_t first = at + 1, second = json->tokens[first].next;
    return rows_word(reader, json, swap ? second : first) &&
           rows_word(reader, json, swap ? first : second);
}

/* An element of a zset: {"member":m,"score":s} or [m,s]. */
static bool rows_scored(struct rows_reader *reader,
                        const struct http_json *json, uint32_t at)
{
    if (json->tokens[at].kind != HTTP_JSON_OBJECT)
        return rows_pair(reader, json, at, true);
    const uint32_t member = http_json_find(json, at, "member");
    const uint32_t score = http_json_find(json, at, "score");

    return member != 0 && score != 0 && rows_word(reader, json, score) &&
           rows_word(reader, json, member);
}

/* Pairs of a hash: of an object, or of {"$pairs":[..]}. */
static bool rows_hash(struct rows_reader *reader, const struct http_json *json,
                      uint32_t at)
{
    const uint32_t pairs = json->tokens[at].kind == HTTP_JSON_OBJECT
                               ? http_json_find(json, at, "$pairs")
                               : 0;
    const struct http_json_token *list = &json->tokens[pairs ? pairs : at];
    uint32_t next = (pairs ? pairs : at) + 1;

    if (list->kind !=
            (pairs != 0 ? HTTP_JSON_ARRAY : HTTP_JSON_OBJECT) ||
        list->count == 0)
        return false;
    for (uint32_t i = 0; i < list->count; i++) {
        if (pairs != 0) {
            if (!rows_pair(reader, json, next, false))
                return false;
        } else {
            if (!rows_word(reader, json, next))
                return false;
            next = json->tokens[next].next;
            if (!rows_word(reader, json, next))
                return false;
        }
        next = json->tokens[next].next;
    }
    return true;
}

static bool rows_elements(struct rows_reader *reader,
                          const struct http_json *json, uint32_t at,
                          bool scored)
{
    const struct http_json_token *list = &json->tokens[at];
    uint32_t next = at + 1;

    if (list->kind != HTTP_JSON_ARRAY || list->count == 0)
        return false;
    for (uint32_t i = 0; i < list->count; i++) {
        if (scored ? !rows_scored(reader, json, next)
                   : !rows_word(reader, json, next))
            return false;
        next = json->tokens[next].next;
    }
    return true;
}

struct rows_key {
    const struct http_json *json;
    uint32_t key;
};

/* A key with the prefix, as the next word. */
static bool rows_key_word(struct rows_reader *reader, struct rows_key key)
{
    struct cli_batch *batch = &reader->import->batch;
    const uint8_t *p = key.json->tokens[key.key].p;
    size_t size = key.json->tokens[key.key].size;

    if (key.json->tokens[key.key].kind == HTTP_JSON_OBJECT) {
        const uint32_t text = http_json_find(key.json, key.key, "$base64");

        kv_buf_reset(&reader->scratch, 1u << 20);
        if (text == 0 || !kv_base64_decode(
                             &reader->scratch,
                             (const char *)key.json->tokens[text].p,
                             key.json->tokens[text].size))
            return false;
        p = reader->scratch.p;
        size = reader->scratch.size;
    } else if (key.json->tokens[key.key].kind != HTTP_JSON_STRING) {
        return false;
    }
    cli_import_key(reader->import, "", (kvsql_slice){p, size});
    return !batch->bytes.failed;
}

/* The command that makes a value of `type`; NULL for another word. */
static const char *rows_command(const void *type, size_t size)
{
    static const char *const names[][2] = {{"string", "SET"},
                                           {"hash", "HSET"},
                                           {"list", "RPUSH"},
                                           {"set", "SADD"},
                                           {"zset", "ZADD"}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i][0]) == size && memcmp(names[i][0], type, size) == 0)
            return names[i][1];
    return NULL;
}

/* Field times: {"f":ms,..}, or {"$pairs":[[f,ms],..]}. */
static bool rows_field_times(struct rows_reader *reader, struct rows_key key,
                             uint32_t at)
{
    const struct http_json *json = key.json;
    const struct http_json_token *tokens = json->tokens;
    struct cli_batch *batch = &reader->import->batch;

    if (tokens[at].kind != HTTP_JSON_OBJECT)
        return false;
    const uint32_t found =
        tokens[at].count == 1 ? http_json_find(json, at, "$pairs") : 0;
    const bool pairs = tokens[found].kind == HTTP_JSON_ARRAY;
    const uint32_t list = pairs ? found : at;
    uint32_t next = list + 1;

    for (uint32_t i = 0; i < tokens[list].count; i++) {
        if (pairs &&
            (tokens[next].kind != HTTP_JSON_ARRAY || tokens[next].count != 2))
            return false;
        next += pairs;
        const uint32_t value = tokens[next].next;

        cli_batch_command(batch, "HPEXPIREAT");
        if (!rows_key_word(reader, key) || !rows_word(reader, json, value))
            return false;
        cli_batch_word(batch, "FIELDS", 6);
        cli_batch_word(batch, "1", 1);
        if (!rows_word(reader, json, next))
            return false;
        next = tokens[value].next;
    }
    return true;
}

/* Commands of one line; false when its shape is wrong. */
static bool rows_object(struct rows_reader *reader,
                        const struct http_json *json)
{
    struct cli_batch *batch = &reader->import->batch;
    const struct rows_key key = {json, http_json_find(json, 0, "key")};
    const uint32_t type = http_json_find(json, 0, "type");
    const uint32_t value = http_json_find(json, 0, "value");
    const uint32_t expires = http_json_find(json, 0, "expires_at");
    const uint32_t fields = http_json_find(json, 0, "field_expires_at");

    const uint32_t more = http_json_find(json, 0, "continue");

    if (key.key == 0 || type == 0 || value == 0)
        return false;
    const char *command =
        rows_command(json->tokens[type].p, json->tokens[type].size);
    if (command == NULL)
        return false;
    if (more == 0 || json->tokens[more].kind != HTTP_JSON_TRUE) {
        cli_batch_command(batch, "DEL");
        if (!rows_key_word(reader, key))
            return false;
    }
    cli_batch_command(batch, command);
    if (!rows_key_word(reader, key))
        return false;
    const bool good =
        strcmp(command, "SET") == 0    ? rows_word(reader, json, value)
        : strcmp(command, "HSET") == 0 ? rows_hash(reader, json, value)
                                       : rows_elements(
                                             reader, json, value,
                                             strcmp(command, "ZADD") == 0);
    if (!good || (fields != 0 && !rows_field_times(reader, key, fields)))
        return false;
    if (expires == 0 || json->tokens[expires].kind == HTTP_JSON_NULL)
        return true;
    cli_batch_command(batch, "PEXPIREAT");
    return rows_key_word(reader, key) && rows_word(reader, json, expires);
}

/* The last line of an export of a server: it is whole. */
static bool rows_is_end(const struct http_json *json)
{
    const uint32_t done = http_json_find(json, 0, "done");

    return done != 0 && json->tokens[done].kind == HTTP_JSON_TRUE &&
           http_json_find(json, 0, "key") == 0;
}

static kvsql_rc rows_json_line(struct rows_reader *reader, size_t size,
                               struct kvsql_error *err)
{
    struct http_json json = {.tokens = NULL};
    struct kvsql_error why;
    kvsql_rc rc =
        http_json_parse(&json, (uint8_t *)reader->input, size, &why);

    if (rc != KVSQL_OK)
        rc = kv_fail(err, rc, "%s:%llu: %s", reader->import->source,
                     (unsigned long long)reader->line, why.text);
    else if (json.tokens[0].kind != HTTP_JSON_OBJECT ||
             !(rows_is_end(&json) || rows_object(reader, &json)))
        rc = rows_wrong(reader, err,
                        "not {\"key\":..,\"type\":..,\"value\":..} with a "
                        "value of that type: kvsql export shows the "
                        "form");
    if (rc == KVSQL_OK && !rows_is_end(&json)) {
        const uint32_t key = http_json_find(&json, 0, "key");

        rc = cli_import_record(reader->import,
                               http_json_slice(&json.tokens[key]), err);
    }
    http_json_fini(&json);
    return rc;
}

static void rows_init(struct rows_reader *reader, struct cli_import *import)
{
    *reader = (struct rows_reader){.import = import};
    kv_buf_init(&reader->scratch, KV_MEM_CLIENT, ROWS_CSV_MAX);
}

static void rows_fini(struct rows_reader *reader)
{
    kv_buf_fini(&reader->scratch);
    free(reader->input); /* getline's block */
}

kvsql_rc cli_import_ndjson(struct cli_import *import, struct kvsql_error *err)
{
    struct rows_reader reader;
    ssize_t size = 0;
    kvsql_rc rc = KVSQL_OK;

    rows_init(&reader, import);
    while (rc == KVSQL_OK) {
        rc = rows_line(&reader, &size, err);
        if (rc != KVSQL_OK || size < 0)
            break;
        if ((size_t)size > strspn(reader.input, " \t\r\n"))
            rc = rows_json_line(&reader, (size_t)size, err);
    }
    rows_fini(&reader);
    return rc;
}

/* ---- CSV ---------------------------------------------------------------------- */

struct rows_csv {
    struct rows_reader reader;
    struct kv_buf text;  /* of the record, cells behind each other */
    size_t start[ROWS_CSV_COLUMNS + 1];
    unsigned columns;
    unsigned wanted;     /* columns of the header; 0: not seen */
    struct kv_buf key;   /* of the record before */
    struct kv_buf until; /* its expires_at */
    bool quoted;         /* inside quotes over the end of a line */
    bool open;           /* a key has been begun */
    const char *command; /* the last of the batch, if it takes elements */
};

static kvsql_slice rows_cell(const struct rows_csv *csv, unsigned column)
{
    const uint8_t *p = csv->text.p != NULL ? csv->text.p : (const uint8_t *)"";

    return (kvsql_slice){p + csv->start[column],
                         csv->start[column + 1] - csv->start[column]};
}

static void rows_cell_end(struct rows_csv *csv)
{
    if (csv->columns < ROWS_CSV_COLUMNS)
        csv->start[csv->columns + 1] = csv->text.size;
    csv->columns++;
}

/* Take in one line of a record; true when the record is whole. */
static bool rows_csv_line(struct rows_csv *csv, const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (csv->quoted && p[i] == '"' && i + 1 < size && p[i + 1] == '"') {
            kv_buf_byte(&csv->text, '"');
            i++;
        } else if (p[i] == '"') {
            csv->quoted = !csv->quoted;
        } else if (csv->quoted) {
            kv_buf_byte(&csv->text, (uint8_t)p[i]);
        } else if (p[i] == ',') {
            rows_cell_end(csv);
        } else if (p[i] == '\n' || (p[i] == '\r' && i + 1 < size &&
                                    p[i + 1] == '\n')) {
            break;
        } else {
            kv_buf_byte(&csv->text, (uint8_t)p[i]);
        }
    }
    if (!csv->quoted)
        rows_cell_end(csv);
    return !csv->quoted;
}

/* The next record into text and start; *more false at the end. */
static kvsql_rc rows_csv_record(struct rows_csv *csv, bool *more,
                                struct kvsql_error *err)
{
    bool whole = false;

    kv_buf_reset(&csv->text, 1u << 20);
    csv->columns = 0;
    csv->start[0] = 0;
    *more = false;
    while (!whole) {
        ssize_t size;
        const kvsql_rc rc = rows_line(&csv->reader, &size, err);

        if (rc != KVSQL_OK)
            return rc;
        if (size < 0 && csv->quoted)
            return rows_wrong(&csv->reader, err, "a quote is never closed");
        if (size < 0)
            return KVSQL_OK;
        whole = rows_csv_line(csv, csv->reader.input, (size_t)size);
    }
    *more = true;
    if (csv->wanted != 0 && csv->columns != csv->wanted)
        return rows_wrong(&csv->reader, err,
                          "the record has not as many columns as the first "
                          "line");
    return kv_buf_result(&csv->text, "a CSV record", err);
}

/* A cell as a word of the batch. */
static bool rows_csv_word(struct rows_csv *csv, kvsql_slice cell, bool key)
{
    struct cli_import *import = csv->reader.import;
    const size_t mark = strlen(ROWS_BASE64);

    if (cell.size >= mark && memcmp(cell.p, ROWS_BASE64, mark) == 0) {
        struct kv_buf *scratch = &csv->reader.scratch;

        kv_buf_reset(scratch, 1u << 20);
        if (!kv_base64_decode(scratch, (const char *)cell.p + mark,
                              cell.size - mark))
            return false;
        cell = (kvsql_slice){scratch->p, scratch->size};
    }
    if (key)
        cli_import_key(import, "", cell);
    else
        cli_batch_word(&import->batch, cell.p, cell.size);
    return true;
}

/* The key of the record before is complete: its time comes last, for what has
 * expired already must not be made again by its next element. */
static kvsql_rc rows_csv_end(struct rows_csv *csv, struct kvsql_error *err)
{
    struct cli_import *import = csv->reader.import;
    const kvsql_slice key = {csv->key.p, csv->key.size};

    if (!csv->open)
        return KVSQL_OK;
    if (csv->until.size > 0) {
        cli_batch_command(&import->batch, "PEXPIREAT");
        if (!rows_csv_word(csv, key, true))
            return rows_wrong(&csv->reader, err, "the key is no base64");
        cli_batch_word(&import->batch, csv->until.p, csv->until.size);
    }
    return cli_import_record(import, key, err);
}

/* The key of this record is another than that of the one before. */
static kvsql_rc rows_csv_begin(struct rows_csv *csv, struct kvsql_error *err)
{
    struct cli_import *import = csv->reader.import;
    const kvsql_slice key = rows_cell(csv, 0), time = rows_cell(csv, 4);
    const kvsql_rc rc = rows_csv_end(csv, err);

    if (rc != KVSQL_OK)
        return rc;
    kv_buf_reset(&csv->key, 1u << 16);
    kv_buf_add(&csv->key, key.p, key.size);
    kv_buf_reset(&csv->until, 1u << 10);
    kv_buf_add(&csv->until, time.p, time.size);
    csv->open = true;
    csv->command = NULL;
    cli_batch_command(&import->batch, "DEL");
    if (!rows_csv_word(csv, key, true))
        return rows_wrong(&csv->reader, err, "the key is no base64");
    return csv->until.failed ? kv_buf_result(&csv->until, "a time", err)
                             : kv_buf_result(&csv->key, "a key", err);
}

/* The commands of one record. */
static kvsql_rc rows_csv_element(struct rows_csv *csv, struct kvsql_error *err)
{
    struct cli_batch *batch = &csv->reader.import->batch;
    const kvsql_slice type = rows_cell(csv, 1);
    const char *command = rows_command(type.p, type.size);

    if (command == NULL)
        return rows_wrong(&csv->reader, err,
                          "type is string, hash, list, set or zset");
    bool good = true;
    if (csv->command != command) { /* a static text */
        cli_batch_command(batch, command);
        good = rows_csv_word(csv, rows_cell(csv, 0), true);
    }
    csv->command = strcmp(command, "SET") != 0 ? command : NULL;
    if (strcmp(command, "ZADD") == 0) {
        good = good && rows_csv_word(csv, rows_cell(csv, 3), false) &&
               rows_csv_word(csv, rows_cell(csv, 2), false);
    } else {
        if (strcmp(command, "HSET") == 0 || strcmp(command, "SADD") == 0)
            good = good && rows_csv_word(csv, rows_cell(csv, 2), false);
        if (strcmp(command, "SADD") != 0)
            good = good && rows_csv_word(csv, rows_cell(csv, 3), false);
    }
    if (good && csv->wanted == ROWS_CSV_COLUMNS && rows_cell(csv, 5).size > 0) {
        cli_batch_command(batch, "HPEXPIREAT");
        good = rows_csv_word(csv, rows_cell(csv, 0), true) &&
               rows_csv_word(csv, rows_cell(csv, 5), false);
        cli_batch_word(batch, "FIELDS", 6);
        cli_batch_word(batch, "1", 1);
        good = good && rows_csv_word(csv, rows_cell(csv, 2), false);
        csv->command = NULL;
    }
    if (!good)
        return rows_wrong(&csv->reader, err, "a cell is no base64");
    if (!cli_import_full(csv->reader.import))
        return KVSQL_OK;
    csv->command = NULL;
    return cli_import_flush(csv->reader.import, err);
}

static kvsql_rc rows_csv_all(struct rows_csv *csv, struct kvsql_error *err)
{
    static const char header[] = "keytypenamevalueexpires_atfield_expires_at";
    const size_t least = strlen("keytypenamevalueexpires_at");
    bool more = true;
    kvsql_rc rc = rows_csv_record(csv, &more, err);

    if (rc == KVSQL_OK && more &&
        (csv->columns > ROWS_CSV_COLUMNS || csv->columns < 5 ||
         csv->text.size != (csv->columns == 5 ? least : strlen(header)) ||
         memcmp(csv->text.p, header, csv->text.size) != 0))
        return rows_wrong(&csv->reader, err,
                          "the first line is "
                          "key,type,name,value,expires_at,field_expires_at");
    csv->wanted = csv->columns;
    while (rc == KVSQL_OK && more) {
        rc = rows_csv_record(csv, &more, err);
        if (rc != KVSQL_OK || !more)
            break;
        const kvsql_slice key = rows_cell(csv, 0);
        const bool first =
            !csv->open || key.size != csv->key.size ||
            (key.size > 0 && memcmp(key.p, csv->key.p, key.size) != 0);
        if (first)
            rc = rows_csv_begin(csv, err);
        if (rc == KVSQL_OK)
            rc = rows_csv_element(csv, err);
    }
    return rc == KVSQL_OK ? rows_csv_end(csv, err) : rc;
}

kvsql_rc cli_import_csv(struct cli_import *import, struct kvsql_error *err)
{
    struct rows_csv csv = {.columns = 0};

    rows_init(&csv.reader, import);
    kv_buf_init(&csv.text, KV_MEM_CLIENT, ROWS_CSV_MAX);
    kv_buf_init(&csv.key, KV_MEM_CLIENT, ROWS_CSV_MAX);
    kv_buf_init(&csv.until, KV_MEM_CLIENT, ROWS_CSV_MAX);
    const kvsql_rc rc = rows_csv_all(&csv, err);
    kv_buf_fini(&csv.text);
    kv_buf_fini(&csv.key);
    kv_buf_fini(&csv.until);
    rows_fini(&csv.reader);
    return rc;
}
