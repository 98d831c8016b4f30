/* records_csv.c - a record of CSV becomes the commands of its element: see
 * records.h.
 *
 * The time of a key comes behind its last element, for what has expired already
 * must not be made again by the next one. So the first element of another key
 * ends the one before, and is held until that was given.
 *
 * Thread: the owner's. */
#include <string.h>

#include "http/records.h"

static const char row_mark[] = "base64:";
#define ROW_MARK (sizeof row_mark - 1)

enum { ROW_KEY, ROW_TYPE, ROW_NAME, ROW_VALUE, ROW_UNTIL, ROW_FIELD_UNTIL };

static kvsql_rc row_wrong(struct kvsql_error *err, const char *what)
{
    return kv_fail(err, KVSQL_SYNTAX, "%s", what);
}

/* ---- cells ----------------------------------------------------------------------- */

/* Split the record at p in place: what quotes mean is written over them. */
static void row_split(struct http_records *records, uint8_t *p, size_t size)
{
    uint8_t *to = p, *from = p, *const end = p + size;
    bool quoted = false;

    records->columns = 0;
    for (uint8_t *at = p; at <= end; at++) {
        const bool over = at == end || (!quoted && *at == '\n') ||
                          (!quoted && *at == '\r' && end - at == 2 &&
                           at[1] == '\n');
        if (over || (!quoted && *at == ',')) {
            if (records->columns < HTTP_RECORDS_COLUMNS)
                records->cells[records->columns] =
                    (kvsql_slice){from, (size_t)(to - from)};
            records->columns++;
            from = to;
            if (over)
                return;
        } else if (quoted && *at == '"' && at + 1 < end && at[1] == '"') {
            *to++ = *at++;
        } else if (*at == '"') {
            quoted = !quoted;
        } else {
            *to++ = *at;
        }
    }
}

/* The first record names the columns. */
static kvsql_rc row_header(struct http_records *records,
                           struct kvsql_error *err)
{
    static const char *const names[HTTP_RECORDS_COLUMNS] = {
        "key", "type", "name", "value", "expires_at", "field_expires_at"};
    bool good = records->columns <= HTTP_RECORDS_COLUMNS &&
                records->columns + 1 >= HTTP_RECORDS_COLUMNS;

    for (unsigned i = 0; good && i < records->columns; i++)
        good = records->cells[i].size == strlen(names[i]) &&
               memcmp(records->cells[i].p, names[i], strlen(names[i])) == 0;
    records->wanted = records->columns;
    return good ? KVSQL_OK
                : row_wrong(err, "the first line is key,type,name,value,"
                                 "expires_at,field_expires_at");
}

static bool row_is_base64(kvsql_slice cell)
{
    return cell.size >= ROW_MARK && memcmp(cell.p, row_mark, ROW_MARK) == 0;
}

/* A cell as a word. */
static kvsql_rc row_word(struct http_records *records, unsigned column,
                         struct kvsql_error *err)
{
    const kvsql_slice cell = records->cells[column];

    if (!row_is_base64(cell)) {
        cmd_words_word(records->words, cell.p, cell.size);
        return KVSQL_OK;
    }
    const kvsql_slice text = {(const uint8_t *)cell.p + ROW_MARK,
                              cell.size - ROW_MARK};
    return http_records_base64(records, text, false)
               ? KVSQL_OK
               : row_wrong(err, "a cell is no base64");
}

/* A command and the key of the element at hand, which was kept. */
static kvsql_rc row_begin(struct http_records *records, const char *command,
                          struct kvsql_error *err)
{
    const kvsql_slice key = {records->key.p != NULL ? records->key.p
                                                    : (const uint8_t *)"",
                             records->key.size};

    if (!row_is_base64(key)) {
        http_records_begin(records, command, key);
        return KVSQL_OK;
    }
    const kvsql_slice text = {(const uint8_t *)key.p + ROW_MARK,
                              key.size - ROW_MARK};
    cmd_words_command(records->words, command);
    return http_records_base64(records, text, true)
               ? KVSQL_OK
               : row_wrong(err, "the key is no base64");
}

/* ---- keys ------------------------------------------------------------------------ */

/* The key before is complete. */
static kvsql_rc row_end(struct http_records *records, struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    records->open = false;
    records->command = NULL;
    if (records->until.size == 0)
        return kv_buf_result(&records->until, "a time", err);
    rc = row_begin(records, "PEXPIREAT", err);
    cmd_words_word(records->words, records->until.p, records->until.size);
    return rc;
}

/* Another key begins. */
static kvsql_rc row_open(struct http_records *records, struct kvsql_error *err)
{
    const kvsql_slice key = records->cells[ROW_KEY];
    const kvsql_slice time = records->cells[ROW_UNTIL];
    kvsql_rc rc = time.size > 0 ? http_records_time(time, err) : KVSQL_OK;

    if (rc != KVSQL_OK)
        return rc;
    kv_buf_reset(&records->key, KVSQL_KEY_MAX);
    kv_buf_add(&records->key, key.p, key.size);
    kv_buf_reset(&records->until, KVSQL_KEY_MAX);
    kv_buf_add(&records->until, time.p, time.size);
    records->open = true;
    records->begun = records->line;
    records->command = NULL;
    return row_begin(records, "DEL", err);
}

static bool row_is_other(const struct http_records *records)
{
    const kvsql_slice key = records->cells[ROW_KEY];

    return key.size != records->key.size ||
           (key.size > 0 && memcmp(key.p, records->key.p, key.size) != 0);
}

/* ---- elements -------------------------------------------------------------------- */

static kvsql_rc row_field_time(struct http_records *records,
                               struct kvsql_error *err)
{
    const kvsql_slice time = records->cells[ROW_FIELD_UNTIL];
    kvsql_rc rc = http_records_time(time, err);

    if (rc == KVSQL_OK)
        rc = row_begin(records, "HPEXPIREAT", err);
    if (rc != KVSQL_OK)
        return rc;
    cmd_words_word(records->words, time.p, time.size);
    cmd_words_word(records->words, "FIELDS", 6);
    cmd_words_word(records->words, "1", 1);
    records->command = NULL;
    return row_word(records, ROW_NAME, err);
}

/* The words of the element, behind its command. */
static kvsql_rc row_element_words(struct http_records *records,
                                  const char *command, struct kvsql_error *err)
{
    const bool scored = strcmp(command, "ZADD") == 0;
    const bool named = scored || strcmp(command, "HSET") == 0 ||
                       strcmp(command, "SADD") == 0;
    kvsql_rc rc = KVSQL_OK;

    if (scored)
        rc = row_word(records, ROW_VALUE, err);
    if (rc == KVSQL_OK && named)
        rc = row_word(records, ROW_NAME, err);
    if (rc == KVSQL_OK && !scored && strcmp(command, "SADD") != 0)
        rc = row_word(records, ROW_VALUE, err);
    return rc;
}

static kvsql_rc row_element(struct http_records *records,
                            struct kvsql_error *err)
{
    const char *command = http_records_command(records->cells[ROW_TYPE]);
    kvsql_rc rc = KVSQL_OK;

    if (command == NULL)
        return row_wrong(err, "type is string, hash, list, set or zset");
    if (records->command != command) /* a static text */
        rc = row_begin(records, command, err);
    records->command = strcmp(command, "SET") != 0 ? command : NULL;
    if (rc == KVSQL_OK)
        rc = row_element_words(records, command, err);
    if (rc == KVSQL_OK && records->wanted == HTTP_RECORDS_COLUMNS &&
        records->cells[ROW_FIELD_UNTIL].size > 0)
        rc = row_field_time(records, err);
    return rc;
}

kvsql_rc http_records_row(struct http_records *records, uint8_t *p,
                          size_t size, enum http_record *what,
                          struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    *what = HTTP_RECORD_NONE;
    if (!records->held && p == NULL) {
        *what = records->open ? HTTP_RECORD_KEY : HTTP_RECORD_NONE;
        return records->open ? row_end(records, err) : KVSQL_OK;
    }
    if (!records->held) {
        row_split(records, p, size);
        if (records->wanted == 0)
            return row_header(records, err);
        if (records->columns != records->wanted)
            return row_wrong(err, "the record has not as many columns as the "
                                  "first line");
    }
    records->held = records->open && row_is_other(records);
    if (records->held) {
        *what = HTTP_RECORD_KEY;
        return row_end(records, err);
    }
    if (!records->open)
        rc = row_open(records, err);
    if (rc == KVSQL_OK)
        rc = row_element(records, err);
    *what = HTTP_RECORD_PART;
    return rc;
}
