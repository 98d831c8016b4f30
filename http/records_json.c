/* records_json.c - a line of NDJSON becomes the commands of its key: see
 * records.h.
 *
 * Thread: the owner's. */
#include <string.h>

#include "http/records.h"

/* The line at hand. */
struct line {
    struct http_records *records;
    struct http_json json;
    uint32_t key, value, until, fields; /* tokens; 0: absent */
    struct kvsql_error *err;
};

static kvsql_rc line_wrong(const struct line *line, const char *what)
{
    return kv_fail(line->err, KVSQL_SYNTAX, "%s", what);
}

/* ---- words ----------------------------------------------------------------------- */

/* The text of {"$base64":".."} at `at`; p NULL: it is no such object. */
static kvsql_slice line_base64(const struct line *line, uint32_t at)
{
    const struct http_json *json = &line->json;
    const struct http_json_token *token = &json->tokens[at];
    const uint32_t text = token->kind == HTTP_JSON_OBJECT && token->count == 1
                              ? http_json_find(json, at, "$base64")
                              : 0;

    return text != 0 && json->tokens[text].kind == HTTP_JSON_STRING
               ? http_json_slice(&json->tokens[text])
               : (kvsql_slice){NULL, 0};
}

/* A value of the store as a word. */
static kvsql_rc line_word(const struct line *line, uint32_t at,
                          const char *what)
{
    const struct http_json_token *token = &line->json.tokens[at];
    const kvsql_slice text = line_base64(line, at);

    if (token->kind == HTTP_JSON_STRING || token->kind == HTTP_JSON_NUMBER) {
        cmd_words_word(line->records->words, token->p, token->size);
        return KVSQL_OK;
    }
    if (text.p != NULL && http_records_base64(line->records, text, false))
        return KVSQL_OK;
    return kv_fail(line->err, KVSQL_SYNTAX,
                   "%s is a string, a number or {\"$base64\":\"..\"}", what);
}

/* `command` and the key. */
static kvsql_rc line_begin(const struct line *line, const char *command)
{
    const struct http_json_token *token = &line->json.tokens[line->key];
    const kvsql_slice text = line_base64(line, line->key);

    if (token->kind == HTTP_JSON_STRING || token->kind == HTTP_JSON_NUMBER) {
        http_records_begin(line->records, command, http_json_slice(token));
        return KVSQL_OK;
    }
    cmd_words_command(line->records->words, command);
    if (text.p != NULL && http_records_base64(line->records, text, true))
        return KVSQL_OK;
    return line_wrong(line, "\"key\" is a string or {\"$base64\":\"..\"}");
}

/* Two words from an array of two; `swap`: the second first. */
static kvsql_rc line_pair(const struct line *line, uint32_t at, bool swap,
                          const char *shape)
{
    const struct http_json_token *tokens = line->json.tokens;

    if (tokens[at].kind != HTTP_JSON_ARRAY || tokens[at].count != 2)
        return line_wrong(line, shape);
    const uint32_t first = at + 1, second = tokens[first].next;
    kvsql_rc rc = line_word(line, swap ? second : first,
                            swap ? "a score" : "a field");
    return rc == KVSQL_OK ? line_word(line, swap ? first : second,
                                      swap ? "a member" : "a value")
                          : rc;
}

/* ---- values ---------------------------------------------------------------------- */

static const char line_hash_shape[] =
    "the value is an object, or {\"$pairs\":[[field,value],..]}";
static const char line_zset_shape[] =
    "the value is an array of {\"member\":..,\"score\":..} or [member,score]";

/* {"member":m,"score":s} or [m,s]. */
static kvsql_rc line_scored(const struct line *line, uint32_t at)
{
    const struct http_json *json = &line->json;

    if (json->tokens[at].kind != HTTP_JSON_OBJECT)
        return line_pair(line, at, true, line_zset_shape);
    const uint32_t member = http_json_find(json, at, "member");
    const uint32_t score = http_json_find(json, at, "score");

    if (member == 0 || score == 0 || json->tokens[at].count != 2)
        return line_wrong(line, line_zset_shape);
    kvsql_rc rc = line_word(line, score, "a score");
    return rc == KVSQL_OK ? line_word(line, member, "a member") : rc;
}

/* The array of pairs of {"$pairs":[..]}, or 0. */
static uint32_t line_pairs(const struct line *line, uint32_t at)
{
    const struct http_json_token *tokens = line->json.tokens;
    const uint32_t pairs =
        tokens[at].count == 1 ? http_json_find(&line->json, at, "$pairs") : 0;

    return tokens[pairs].kind == HTTP_JSON_ARRAY ? pairs : 0;
}

static kvsql_rc line_hash(const struct line *line, uint32_t at)
{
    const struct http_json_token *tokens = line->json.tokens;
    const uint32_t pairs = line_pairs(line, at);
    uint32_t next = (pairs != 0 ? pairs : at) + 1;
    const uint32_t end = tokens[pairs != 0 ? pairs : at].next;
    kvsql_rc rc = KVSQL_OK;

    while (rc == KVSQL_OK && next < end) {
        if (pairs != 0) {
            rc = line_pair(line, next, false,
                           "an element of \"$pairs\" is [field,value]");
        } else {
            rc = line_word(line, next, "a field");
            next = tokens[next].next;
            if (rc == KVSQL_OK)
                rc = line_word(line, next, "the value of a field");
        }
        next = tokens[next].next;
    }
    return rc;
}

static kvsql_rc line_elements(const struct line *line, uint32_t at,
                              bool scored)
{
    const struct http_json_token *tokens = line->json.tokens;
    kvsql_rc rc = KVSQL_OK;

    for (uint32_t i = at + 1; rc == KVSQL_OK && i < tokens[at].next;
         i = tokens[i].next)
        rc = scored ? line_scored(line, i) : line_word(line, i, "a value");
    return rc;
}

/* The command that makes the value. An empty collection is none. */
static kvsql_rc line_value(const struct line *line, const char *command)
{
    const struct http_json_token *token = &line->json.tokens[line->value];
    const bool hash = strcmp(command, "HSET") == 0;
    const bool scored = strcmp(command, "ZADD") == 0;
    const uint32_t pairs = hash && token->kind == HTTP_JSON_OBJECT
                               ? line_pairs(line, line->value)
                               : 0;
    const uint32_t count = line->json.tokens[pairs ? pairs : line->value].count;
    const bool string = strcmp(command, "SET") == 0;

    if (hash && token->kind != HTTP_JSON_OBJECT)
        return line_wrong(line, line_hash_shape);
    if (!hash && !string && token->kind != HTTP_JSON_ARRAY)
        return line_wrong(line, scored ? line_zset_shape
                                       : "the value is an array of values");
    if (!string && count == 0)
        return KVSQL_OK;
    kvsql_rc rc = hash ? http_json_once(&line->json, line->value, line->err)
                       : KVSQL_OK;
    if (rc == KVSQL_OK)
        rc = line_begin(line, command);
    if (rc != KVSQL_OK)
        return rc;
    return string ? line_word(line, line->value, "the value of a string")
           : hash ? line_hash(line, line->value)
                  : line_elements(line, line->value, scored);
}

/* ---- times ----------------------------------------------------------------------- */

/* The token as a time, one word. */
static kvsql_rc line_time(const struct line *line, uint32_t at)
{
    const struct http_json_token *token = &line->json.tokens[at];
    const bool bare =
        token->kind == HTTP_JSON_NUMBER || token->kind == HTTP_JSON_STRING;
    const kvsql_slice text =
        bare ? http_json_slice(token) : (kvsql_slice){"", 0};
    const kvsql_rc rc = http_records_time(text, line->err);

    if (rc == KVSQL_OK)
        cmd_words_word(line->records->words, text.p, text.size);
    return rc;
}

/* {"field":ms,..}, or {"$pairs":[[field,ms],..]}. */
static kvsql_rc line_field_times(const struct line *line)
{
    const struct http_json_token *tokens = line->json.tokens;
    struct cmd_words *words = line->records->words;

    if (tokens[line->fields].kind != HTTP_JSON_OBJECT)
        return line_wrong(line, "\"field_expires_at\" is an object");
    const uint32_t pairs = line_pairs(line, line->fields);
    const uint32_t list = pairs != 0 ? pairs : line->fields;
    kvsql_rc rc = http_json_once(&line->json, line->fields, line->err);

    for (uint32_t next = list + 1; rc == KVSQL_OK && next < tokens[list].next;) {
        if (pairs != 0 && (tokens[next].kind != HTTP_JSON_ARRAY ||
                           tokens[next].count != 2))
            return line_wrong(line,
                              "an element of \"$pairs\" is [field,time]");
        const uint32_t field = next + (pairs != 0);
        const uint32_t time = tokens[field].next;

        rc = line_begin(line, "HPEXPIREAT");
        if (rc == KVSQL_OK)
            rc = line_time(line, time);
        cmd_words_word(words, "FIELDS", 6);
        cmd_words_word(words, "1", 1);
        if (rc == KVSQL_OK)
            rc = line_word(line, field, "a field");
        next = tokens[time].next;
    }
    return rc;
}

/* ---- the line -------------------------------------------------------------------- */

/* Its members; *command NULL: it is the last one of an export. */
static kvsql_rc line_members(struct line *line, const char **command,
                             bool *more)
{
    static const char *const names[] = {
        "key", "type", "value", "expires_at", "field_expires_at", "continue",
        NULL};
    const struct http_json *json = &line->json;

    *command = NULL;
    if (json->tokens[0].kind != HTTP_JSON_OBJECT)
        return line_wrong(line, "a line is an object");
    const uint32_t done = http_json_find(json, 0, "done");
    if (done != 0 && json->tokens[done].kind == HTTP_JSON_TRUE)
        return KVSQL_OK;
    const kvsql_rc rc = http_json_only(json, 0, names, line->err);
    if (rc != KVSQL_OK)
        return rc;
    const uint32_t type = http_json_find(json, 0, "type");
    const uint32_t cont = http_json_find(json, 0, "continue");
    line->key = http_json_find(json, 0, "key");
    line->value = http_json_find(json, 0, "value");
    line->until = http_json_find(json, 0, "expires_at");
    line->fields = http_json_find(json, 0, "field_expires_at");
    if (line->key == 0 || type == 0 || line->value == 0)
        return line_wrong(line, "\"key\", \"type\" and \"value\" must be "
                                "there: kvsql export shows the form");
    *more = json->tokens[cont].kind == HTTP_JSON_TRUE;
    if (json->tokens[type].kind == HTTP_JSON_STRING)
        *command = http_records_command(http_json_slice(&json->tokens[type]));
    return *command != NULL
               ? KVSQL_OK
               : line_wrong(line,
                            "\"type\" is string, hash, list, set or zset");
}

/* Its commands, in their order: the time comes last, for what has expired
 * already must not be made again. */
static kvsql_rc line_commands(const struct line *line, const char *command,
                              bool more)
{
    kvsql_rc rc = more ? KVSQL_OK : line_begin(line, "DEL");

    if (rc == KVSQL_OK)
        rc = line_value(line, command);
    if (rc == KVSQL_OK && line->fields != 0)
        rc = line_field_times(line);
    if (rc == KVSQL_OK && line->until != 0 &&
        line->json.tokens[line->until].kind != HTTP_JSON_NULL) {
        rc = line_begin(line, "PEXPIREAT");
        if (rc == KVSQL_OK)
            rc = line_time(line, line->until);
    }
    return rc;
}

kvsql_rc http_records_line(struct http_records *records, uint8_t *p,
                           size_t size, enum http_record *what,
                           struct kvsql_error *err)
{
    struct line line = {.records = records, .err = err};
    const char *command = NULL;
    bool more = false;
    kvsql_rc rc = http_json_parse_most(&line.json, p, size,
                                       HTTP_JSON_RECORD_TOKENS, err);

    *what = HTTP_RECORD_NONE;
    if (rc == KVSQL_OK)
        rc = line_members(&line, &command, &more);
    if (rc == KVSQL_OK && command != NULL) {
        rc = line_commands(&line, command, more);
        const kvsql_slice key = http_json_slice(&line.json.tokens[line.key]);
        kv_buf_reset(&records->key, KVSQL_KEY_MAX);
        kv_buf_add(&records->key, key.p, key.size);
        *what = HTTP_RECORD_KEY;
    }
    http_json_fini(&line.json);
    return rc;
}
