/* wire_records.c - a batch of commands as lines for /v1/import, which takes
 * what no body of /v1/batch may hold: a value of any size.
 *
 *   DEL k, SET k v, PEXPIREAT k ms
 *   {"key":K,"type":"string","value":V,"expires_at":MS}
 *
 * A key whose commands are not begun by DEL goes on ("continue"). A line has
 * RECORD_WORDS words of elements at most, so that the server can read it.
 *
 * Thread: the owner's. */
#include <string.h>

#include "cli/wire.h"
#include "http/json.h"
#include "kvsql/base/num.h"

#define RECORD_WORDS 20000u

/* Where a batch is read. */
struct record {
    const struct cmd_words *batch;
    unsigned command; /* index */
    struct kv_buf *out;
};

static unsigned record_count(const struct record *record)
{
    return cmd_words_argv(record->batch, record->command, NULL, 0);
}

/* Word `index` of the command at hand. */
static kvsql_slice record_word(const struct record *record, unsigned index)
{
    const struct cmd_words *batch = record->batch;
    const uint64_t from =
        kv_u64_get(batch->starts.p + 8 * (size_t)record->command);
    const uint8_t *place = batch->places.p + 16 * (from + index);

    return (kvsql_slice){batch->bytes.p + kv_u64_get(place),
                         kv_u64_get(place + 8)};
}

static bool record_is(const struct record *record, unsigned index,
                      kvsql_slice text)
{
    const kvsql_slice word = record_word(record, index);

    return word.size == text.size &&
           (word.size == 0 || memcmp(word.p, text.p, word.size) == 0);
}

static bool record_is_command(const struct record *record, const char *name,
                              unsigned count)
{
    return record->command < cmd_words_count(record->batch) &&
           record_count(record) >= count &&
           record_is(record, 0, (kvsql_slice){name, strlen(name)});
}

/* The type of value that the command makes; NULL: it makes none. */
static const char *record_type(const struct record *record)
{
    static const char *const names[][2] = {{"SET", "string"},
                                           {"HSET", "hash"},
                                           {"RPUSH", "list"},
                                           {"SADD", "set"},
                                           {"ZADD", "zset"}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (record_is_command(record, names[i][0], 3))
            return names[i][1];
    return NULL;
}

/* ---- lines ----------------------------------------------------------------------- */

static void record_put(const struct record *record, unsigned index)
{
    const kvsql_slice word = record_word(record, index);

    http_json_bytes(record->out, word.p, word.size,
                    cli_wire_is_bytes(word.p, word.size));
}

/* {"key":K,"type":T,"continue":true,"value": */
static void record_begin(const struct record *record, const char *type,
                         bool fresh)
{
    kv_buf_text(record->out, "{\"key\":");
    record_put(record, 1);
    kv_buf_printf(record->out, ",\"type\":\"%s\"%s,\"value\":", type,
                  fresh ? "" : ",\"continue\":true");
}

/* The elements from word `from` up to `to`, `step` words each. */
static void record_elements(const struct record *record, const char *type,
                            unsigned from, unsigned to, unsigned step)
{
    struct kv_buf *out = record->out;
    const bool hash = strcmp(type, "hash") == 0;

    kv_buf_text(out, hash ? "{\"$pairs\":[" : "[");
    for (unsigned i = from; i < to; i += step) {
        if (i > from)
            kv_buf_byte(out, ',');
        if (step == 1) {
            record_put(record, i);
            continue;
        }
        kv_buf_byte(out, '[');
        record_put(record, hash ? i : i + 1); /* ZADD has the score first */
        kv_buf_byte(out, ',');
        record_put(record, hash ? i + 1 : i);
        kv_buf_byte(out, ']');
    }
    kv_buf_text(out, hash ? "]}" : "]");
}

/* The value that the command makes; the last line is left open. */
static bool record_value(const struct record *record, bool fresh)
{
    const char *type = record_type(record);
    const unsigned count = record_count(record);
    const unsigned step =
        strcmp(type, "hash") == 0 || strcmp(type, "zset") == 0 ? 2 : 1;

    if ((strcmp(type, "string") == 0 && count != 3) || (count - 2) % step != 0)
        return false; /* it has options */
    for (unsigned from = 2; from < count; from += RECORD_WORDS) {
        const unsigned to =
            count - from > RECORD_WORDS ? from + RECORD_WORDS : count;
        if (from > 2)
            kv_buf_text(record->out, "}\n");
        record_begin(record, type, fresh && from == 2);
        if (strcmp(type, "string") == 0)
            record_put(record, 2);
        else
            record_elements(record, type, from, to, step);
    }
    return true;
}

/* PEXPIREAT of `key` behind its value: a member of its line. */
static void record_time(struct record *record, kvsql_slice key)
{
    const bool there = record_is_command(record, "PEXPIREAT", 3) &&
                       record_count(record) == 3 && record_is(record, 1, key);

    if (there) {
        kv_buf_text(record->out, ",\"expires_at\":");
        record_put(record, 2);
        record->command++;
    }
    kv_buf_text(record->out, "}\n");
}

/* The time of one field, HPEXPIREAT k ms FIELDS 1 f: a line of its own. */
static void record_field_time(struct record *record)
{
    record_begin(record, "hash", false);
    kv_buf_text(record->out, "{},\"field_expires_at\":{\"$pairs\":[[");
    record_put(record, 5);
    kv_buf_byte(record->out, ',');
    record_put(record, 2);
    kv_buf_text(record->out, "]]}}\n");
}

/* The commands of one line, or of several; false: there is no such line. */
static bool record_line(struct record *record)
{
    const kvsql_slice key = record_word(record, 1);
    const bool deleted = record_is_command(record, "DEL", 2) &&
                         record_count(record) == 2;

    record->command += deleted;
    if (deleted && !(record_type(record) != NULL && record_is(record, 1, key))) {
        record->command--; /* nothing is put in its place */
        record_begin(record, "set", true);
        kv_buf_text(record->out, "[]}\n");
    } else if (record_type(record) != NULL) {
        if (!record_value(record, deleted))
            return false;
        record->command++;
        record_time(record, key);
        return true;
    } else if (record_is_command(record, "PEXPIREAT", 3)) {
        record_begin(record, "set", false);
        kv_buf_text(record->out, "[]");
        record_time(record, key);
        return true;
    } else if (record_is_command(record, "HPEXPIREAT", 6) &&
               record_count(record) == 6) {
        record_field_time(record);
    } else {
        return false;
    }
    record->command++;
    return true;
}

bool cli_wire_records(const struct cmd_words *batch, struct kv_buf *out)
{
    struct record record = {.batch = batch, .out = out};

    while (record.command < cmd_words_count(batch)) {
        if (record_count(&record) < 2 || !record_line(&record))
            return false;
    }
    return true;
}
