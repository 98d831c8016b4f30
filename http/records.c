/* records.c - where records begin and end, and what their forms share: see
 * records.h.
 *
 * Thread: the owner's. */
#include "http/records.h"

#include <string.h>

#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define RECORDS_KEEP ((size_t)1 << 20) /* bytes kept between records */

void http_records_init(struct http_records *records, struct cmd_words *words,
                       bool csv, size_t size_max, const char *option)
{
    *records = (struct http_records){
        .words = words, .csv = csv, .size_max = size_max, .option = option};
    kv_buf_init(&records->text, KV_MEM_CLIENT, HTTP_RECORDS_TEXT_MAX);
    kv_buf_init(&records->key, KV_MEM_CLIENT, size_max);
    kv_buf_init(&records->until, KV_MEM_CLIENT, size_max);
}

void http_records_fini(struct http_records *records)
{
    kv_buf_fini(&records->text);
    kv_buf_fini(&records->key);
    kv_buf_fini(&records->until);
}

/* ---- bytes ----------------------------------------------------------------------- */

void http_records_take(struct http_records *records, struct kv_buf *from)
{
    struct kv_buf *text = &records->text;

    KV_ASSERT(!records->held); /* cells lie in the text */
    if (records->at == text->size && !text->failed && !from->failed) {
        const struct kv_buf used = *text;

        *text = *from;
        *from = used;
        kv_buf_reset(from, RECORDS_KEEP);
        records->at = records->seen = 0;
        return;
    }
    if (records->at > 0) {
        memmove(text->p, text->p + records->at, text->size - records->at);
        text->size -= records->at;
        records->seen -= records->at;
        records->at = 0;
    }
    text->failed = text->failed || from->failed;
    kv_buf_add(text, from->p, from->size);
    kv_buf_reset(from, RECORDS_KEEP);
}

/* Behind the end of the record at `at`, or 0: it is not there yet. */
static size_t records_end(struct http_records *records)
{
    const uint8_t *const p = records->text.p;
    const size_t size = records->text.size;
    size_t i = records->seen;

    if (!records->csv) {
        const uint8_t *end =
            size > i ? memchr(p + i, '\n', size - i) : NULL;
        records->seen = size;
        return end != NULL ? (size_t)(end - p) + 1 : 0;
    }
    for (; i < size; i++) {
        if (p[i] == '"')
            records->quoted = !records->quoted;
        else if (p[i] == '\n' && !records->quoted)
            return i + 1;
    }
    records->seen = size;
    return 0;
}

static uint64_t records_count_lines(const uint8_t *p, size_t size)
{
    const uint8_t *const end = p + size;
    uint64_t count = 0;

    while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        count++;
        p++;
    }
    return count;
}

static kvsql_rc records_too_big(const struct http_records *records,
                                bool whole, size_t size,
                                struct kvsql_error *err)
{
    return kv_fail(err, KVSQL_TOOBIG,
                   "the record has %s%zu bytes, at most %zu are taken%s%s",
                   whole ? "" : "more than ", size, records->size_max,
                   records->option != NULL ? ": raise " : "",
                   records->option != NULL ? records->option : "");
}

/* Is there anything but blanks? */
static bool records_is_empty(const uint8_t *p, size_t size)
{
    while (size > 0 && (p[size - 1] == ' ' || p[size - 1] == '\t' ||
                        p[size - 1] == '\r' || p[size - 1] == '\n'))
        size--;
    return size == 0;
}

/* The next record that is not empty; *size 0: none is whole. */
static kvsql_rc records_find(struct http_records *records, bool end,
                             uint8_t **p, size_t *size,
                             struct kvsql_error *err)
{
    const kvsql_rc rc = kv_buf_result(&records->text, "a record", err);

    *size = 0;
    while (rc == KVSQL_OK) {
        const size_t at = records->at;
        size_t next = records_end(records);
        const bool whole = next != 0 || end;

        records->line = records->lines + 1;
        if (next == 0)
            next = records->text.size;
        if (next - at > records->size_max)
            return records_too_big(records, whole, next - at, err);
        if (!whole || next == at)
            return KVSQL_OK;
        if (records->quoted)
            return kv_fail(err, KVSQL_SYNTAX, "a quote is never closed");
        records->at = records->seen = next;
        records->lines +=
            records_count_lines(records->text.p + at, next - at);
        if (records_is_empty(records->text.p + at, next - at))
            continue;
        *p = records->text.p + at;
        *size = next - at;
        return KVSQL_OK;
    }
    return rc;
}

kvsql_rc http_records_next(struct http_records *records, bool end,
                           enum http_record *what, struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    *what = HTTP_RECORD_NONE;
    while (rc == KVSQL_OK && *what == HTTP_RECORD_NONE) {
        uint8_t *p = NULL;
        size_t size = 0;

        if (!records->held) {
            rc = records_find(records, end, &p, &size, err);
            if (rc != KVSQL_OK || (size == 0 && !end))
                return rc;
        }
        if (records->csv)
            rc = http_records_row(records, p, size, what, err);
        else if (size > 0)
            rc = http_records_line(records, p, size, what, err);
        if (size == 0)
            break; /* the end, or what was held */
    }
    if (rc == KVSQL_OK)
        rc = kv_buf_result(&records->key, "a key", err);
    return rc == KVSQL_OK ? cmd_words_result(records->words, err) : rc;
}

void http_records_cut(struct http_records *records)
{
    records->command = NULL;
}

/* ---- words ----------------------------------------------------------------------- */

const char *http_records_command(kvsql_slice type)
{
    static const char *const names[][2] = {{"string", "SET"},
                                           {"hash", "HSET"},
                                           {"list", "RPUSH"},
                                           {"set", "SADD"},
                                           {"zset", "ZADD"}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i][0]) == type.size &&
            memcmp(names[i][0], type.p, type.size) == 0)
            return names[i][1];
    return NULL;
}

/* A word that begins with the prefix, which is all of it yet. */
static void records_prefix(struct http_records *records)
{
    cmd_words_word(records->words, records->prefix.p, records->prefix.size);
}

void http_records_begin(struct http_records *records, const char *command,
                        kvsql_slice key)
{
    cmd_words_command(records->words, command);
    records_prefix(records);
    kv_buf_add(&records->words->bytes, key.p, key.size);
    cmd_words_grow(records->words, key.size);
}

bool http_records_base64(struct http_records *records, kvsql_slice text,
                         bool key)
{
    struct kv_buf *bytes = &records->words->bytes;

    if (key)
        records_prefix(records);
    else
        cmd_words_word(records->words, NULL, 0);
    const size_t before = bytes->size;
    if (!kv_base64_decode(bytes, text.p, text.size))
        return bytes->failed; /* which shows when the words are looked at */
    cmd_words_grow(records->words, bytes->size - before);
    return true;
}

kvsql_rc http_records_time(kvsql_slice text, struct kvsql_error *err)
{
    int64_t ms;

    if (kv_num_int(text.p, text.size, &ms) && ms > 0)
        return KVSQL_OK;
    return kv_fail(err, KVSQL_SYNTAX,
                   "a time is a whole number of milliseconds from 1 on");
}
