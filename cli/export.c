/* export.c - `kvsql export`: every key as a line of NDJSON, or every element
 * as a line of CSV; the forms stand in import_rows.c, which reads them back. A
 * large key takes several lines of NDJSON, so that a line stays a request.
 *
 * Keys come in pages of key order by SQL, each page continuing behind the last
 * key of the one before; the values of a page come by one pipeline.
 *
 * Thread: the main thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/progress.h"
#include "cli/target.h"
#include "http/json.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define EXPORT_PAGE 500
#define EXPORT_TEXT_MAX (64u << 20)
#define EXPORT_LINE_COUNT 5000       /* elements of one line */
#define EXPORT_LINE_SIZE (256u << 10) /* bytes after which a line ends */

struct export_key {
    size_t at, size; /* in keys */
    enum kv_type type;
    int64_t expires_at;
    bool blob;
    bool timed; /* a hash with fields that expire */
};

/* When fields of one hash expire, in the order of SQL. */
struct export_times {
    struct kv_buf bytes; /* of the fields */
    struct kv_buf rows;  /* a struct export_time each */
    size_t count;
};
struct export_time {
    size_t at, size; /* in bytes */
    bool blob;
    int64_t ms;
};

struct export_run {
    struct cli_target *target;
    const char *prefix;
    bool csv;
    struct kv_buf keys; /* bytes of the page's keys */
    struct export_key page[EXPORT_PAGE];
    unsigned count;
    struct kv_buf last; /* the last key, and whether it is a BLOB */
    bool last_blob, begun;
    struct cmd_words batch;
    struct cmd_reply replies;
    struct kv_buf line;
    struct export_times times;
    struct kv_buf line_times; /* JSON of those of the line */
    uint64_t exported, listed;
    uint64_t total; /* keys, by the first look */
    struct cli_progress progress;
};

/* ---- a page of keys --------------------------------------------------------------- */

static kvsql_rc export_begin(void *arg, unsigned columns,
                             const char *const *names, struct kvsql_error *err)
{
    (void)arg;
    (void)columns;
    (void)names;
    (void)err;
    return KVSQL_OK;
}

static enum kv_type export_type(const struct vt_value *value)
{
    for (int i = KV_STRING; i <= KV_ZSET; i++) {
        const char *name = kv_type_name((enum kv_type)i);

        if (strlen(name) == value->size &&
            memcmp(name, value->p, value->size) == 0)
            return (enum kv_type)i;
    }
    return KV_NONE;
}

static kvsql_rc export_row(void *arg, unsigned columns,
                           const struct vt_value *values,
                           struct kvsql_error *err)
{
    struct export_run *run = arg;

    if (columns != 4 || run->count == EXPORT_PAGE)
        return kv_fail(err, KVSQL_CORRUPT, "the list of keys has another form");
    run->page[run->count++] = (struct export_key){
        .at = run->keys.size,
        .size = values[0].size,
        .type = export_type(&values[1]),
        .expires_at = values[2].kind == VT_INTEGER ? values[2].integer : 0,
        .blob = values[0].kind == VT_BLOB,
        .timed = values[3].integer != 0};
    kv_buf_add(&run->keys, values[0].p, values[0].size);
    kv_buf_reset(&run->last, 1u << 16);
    kv_buf_add(&run->last, values[0].p, values[0].size);
    run->last_blob = values[0].kind == VT_BLOB;
    return kv_buf_result(&run->keys, "a page of keys", err);
}

static kvsql_rc export_page(struct export_run *run, struct kvsql_error *err)
{
#define EXPORT_ASK(where)                                                     \
    "SELECT key, type, expires_at, type = 'hash' AND EXISTS (SELECT 1 FROM "  \
    "hashes h WHERE h.key = keys.key AND h.expires_at IS NOT NULL) FROM "     \
    "keys " where "ORDER BY key LIMIT 500"
    const char *sql =
        run->begun ? EXPORT_ASK("WHERE key > ? ") : EXPORT_ASK("");
#undef EXPORT_ASK
    const struct cli_rows rows = {
        .begin = export_begin, .row = export_row, .arg = run};
    const struct vt_value behind = {.kind = run->last_blob ? VT_BLOB : VT_TEXT,
                                    .p = run->last.p != NULL
                                             ? run->last.p
                                             : (const uint8_t *)"",
                                    .size = run->last.size};
    struct vt_value param = behind;
    struct kv_buf copy;
    struct cli_answer answer;
    struct cli_trouble trouble;

    kv_buf_init(&copy, KV_MEM_CLIENT, EXPORT_TEXT_MAX);
    kv_buf_add(&copy, behind.p, behind.size);
    param.p = copy.p != NULL ? copy.p : (const uint8_t *)"";
    kv_buf_reset(&run->keys, 1u << 20);
    run->count = 0;
    const kvsql_rc rc =
        cli_target_sql(run->target, sql, strlen(sql), run->begun ? 1 : 0,
                       &param, EXPORT_PAGE, &rows, &answer, &trouble);
    kv_buf_fini(&copy);
    run->begun = true;
    if (rc != KVSQL_OK)
        *err = trouble.error;
    return rc;
}

/* ---- times of fields ---------------------------------------------------------------- */

static kvsql_rc export_time_row(void *arg, unsigned columns,
                                const struct vt_value *values,
                                struct kvsql_error *err)
{
    struct export_times *times = arg;

    if (columns != 2)
        return kv_fail(err, KVSQL_CORRUPT,
                       "the list of fields has another form");
    const struct export_time time = {.at = times->bytes.size,
                                     .size = values[0].size,
                                     .blob = values[0].kind == VT_BLOB,
                                     .ms = values[1].integer};
    kv_buf_add(&times->bytes, values[0].p, values[0].size);
    kv_buf_add(&times->rows, &time, sizeof time);
    times->count++;
    const kvsql_rc rc = kv_buf_result(&times->bytes, "names of fields", err);
    return rc == KVSQL_OK ? kv_buf_result(&times->rows, "times of fields", err)
                          : rc;
}

static const struct export_time *export_time(const struct export_times *times,
                                             size_t i)
{
    return (const struct export_time *)(const void *)times->rows.p + i;
}

/* The times of all fields of a key that have one, a page at a time. */
static kvsql_rc export_times_read(struct export_run *run,
                                  const struct export_key *key,
                                  struct kvsql_error *err)
{
    static const char sql[] =
        "SELECT field, expires_at FROM hashes WHERE key = ?1 AND expires_at IS "
        "NOT NULL AND (?2 IS NULL OR field > ?2) ORDER BY field LIMIT 1000";
    struct export_times *times = &run->times;
    const struct cli_rows rows = {
        .begin = export_begin, .row = export_time_row, .arg = times};
    struct vt_value params[2] = {{.kind = key->blob ? VT_BLOB : VT_TEXT,
                                  .p = run->keys.p + key->at,
                                  .size = key->size},
                                 {.kind = VT_NULL}};
    struct cli_answer answer = {.row_count = 1};
    struct cli_trouble trouble;
    struct kv_buf last;
    kvsql_rc rc = KVSQL_OK;

    kv_buf_init(&last, KV_MEM_CLIENT, EXPORT_TEXT_MAX);
    kv_buf_reset(&times->bytes, 1u << 20);
    kv_buf_reset(&times->rows, 1u << 20);
    times->count = 0;
    while (rc == KVSQL_OK && answer.row_count > 0) {
        rc = cli_target_sql(run->target, sql, sizeof sql - 1, 2, params, 1000,
                            &rows, &answer, &trouble);
        if (rc != KVSQL_OK || times->count == 0)
            break;
        const struct export_time *time = export_time(times, times->count - 1);
        kv_buf_reset(&last, 1u << 20);
        kv_buf_add(&last, times->bytes.p + time->at, time->size);
        rc = kv_buf_result(&last, "the name of a field", &trouble.error);
        params[1] = (struct vt_value){.kind = time->blob ? VT_BLOB : VT_TEXT,
                                      .p = last.p != NULL
                                               ? last.p
                                               : (const uint8_t *)"",
                                      .size = last.size};
    }
    kv_buf_fini(&last);
    if (rc != KVSQL_OK)
        *err = trouble.error;
    return rc;
}

/* When a field expires; 0 never. */
static int64_t export_times_find(const struct export_times *times,
                                 kvsql_slice field)
{
    const struct kv_key key = kv_key_of(field.p, field.size);
    size_t low = 0, high = times->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct export_time *time = export_time(times, middle);
        const struct kv_key other =
            kv_key_of(times->bytes.p + time->at, time->size);
        const int order = kv_key_compare(&key, &other);

        if (order == 0)
            return time->ms;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return 0;
}

/* ---- values ----------------------------------------------------------------------- */

static void export_ask(struct export_run *run, const struct export_key *key)
{
    static const char *const names[] = {
        [KV_STRING] = "GET",    [KV_HASH] = "HGETALL", [KV_LIST] = "LRANGE",
        [KV_SET] = "SMEMBERS", [KV_ZSET] = "ZRANGE"};

    cmd_words_command(&run->batch, names[key->type]);
    cmd_words_word(&run->batch, run->keys.p + key->at, key->size);
    if (key->type == KV_LIST || key->type == KV_ZSET) {
        cmd_words_word(&run->batch, "0", 1);
        cmd_words_word(&run->batch, "-1", 2);
    }
    if (key->type == KV_ZSET)
        cmd_words_word(&run->batch, "WITHSCORES", 10);
}

static bool export_wanted(const struct export_run *run,
                          const struct export_key *key)
{
    const size_t size = strlen(run->prefix);

    return key->type != KV_NONE && key->size >= size &&
           memcmp(run->keys.p + key->at, run->prefix, size) == 0;
}

/* The text of a leaf; doubles in `number`. */
static kvsql_slice export_text(const struct cmd_item *item,
                               char number[KV_DOUBLE_TEXT_MAX])
{
    if (item->kind == CMD_REPLY_DOUBLE)
        return (kvsql_slice){number, kv_num_format_double(number, item->real)};
    if (item->kind == CMD_REPLY_INT)
        return (kvsql_slice){
            number, (size_t)snprintf(number, KV_DOUBLE_TEXT_MAX, "%lld",
                                     (long long)item->number)};
    return (kvsql_slice){item->p, item->size};
}

/* Bytes as JSON: text, or {"$base64":..}. */
static void export_json(struct kv_buf *line, kvsql_slice bytes)
{
    http_json_bytes(line, bytes.p, bytes.size,
                    kv_class_of(bytes.p, bytes.size) == KV_BLOB);
}

/* The number of leaves of a key's reply; arrays of pairs are one level more in
 * RESP3's shape and flat in RESP2's, so leaves are counted, not arrays. */
static bool export_leaf(struct export_run *run, size_t *offset,
                        struct cmd_item *item, uint64_t *pending)
{
    while (*pending > 0 && cmd_reply_next(&run->replies, offset, item)) {
        --*pending;
        if (item->kind == CMD_REPLY_ARRAY || item->kind == CMD_REPLY_SET)
            *pending += (uint64_t)item->number;
        else if (item->kind == CMD_REPLY_MAP ||
                 item->kind == CMD_REPLY_PAIRS)
            *pending += 2 * (uint64_t)item->number;
        else
            return true;
    }
    return false;
}

static void export_json_element(struct kv_buf *line, enum kv_type type,
                                uint64_t index, kvsql_slice a, kvsql_slice b)
{
    if (index > 0)
        kv_buf_byte(line, ',');
    if (type == KV_HASH) {
        kv_buf_byte(line, '[');
        export_json(line, a);
        kv_buf_byte(line, ',');
        export_json(line, b);
        kv_buf_byte(line, ']');
    } else if (type == KV_ZSET) {
        kv_buf_byte(line, '[');
        export_json(line, a);
        kv_buf_byte(line, ',');
        http_json_string(line, b.p, b.size);
        kv_buf_byte(line, ']');
    } else {
        export_json(line, a);
    }
}

static void export_csv_cell(struct kv_buf *line, kvsql_slice cell)
{
    const char *p = cell.p;

    if (kv_class_of(cell.p, cell.size) == KV_BLOB ||
        (cell.size >= 7 && memcmp(cell.p, "base64:", 7) == 0)) {
        kv_buf_text(line, "base64:");
        kv_base64_encode(line, cell.p, cell.size);
        return;
    }
    if (cell.size == 0 || memchr(p, '"', cell.size) == NULL) {
        bool quote = false;

        for (size_t i = 0; i < cell.size; i++)
            quote = quote || p[i] == ',' || p[i] == '\n' || p[i] == '\r';
        if (!quote) {
            kv_buf_add(line, p, cell.size);
            return;
        }
    }
    kv_buf_byte(line, '"');
    for (size_t i = 0; i < cell.size; i++) {
        if (p[i] == '"')
            kv_buf_byte(line, '"');
        kv_buf_byte(line, (uint8_t)p[i]);
    }
    kv_buf_byte(line, '"');
}

static void export_csv_element(struct export_run *run,
                               const struct export_key *key, kvsql_slice a,
                               kvsql_slice b)
{
    const kvsql_slice none = {"", 0};
    const bool named = key->type == KV_HASH || key->type == KV_SET ||
                       key->type == KV_ZSET;
    const char *type = kv_type_name(key->type);

    export_csv_cell(&run->line,
                    (kvsql_slice){run->keys.p + key->at, key->size});
    kv_buf_printf(&run->line, ",%s,", type);
    export_csv_cell(&run->line, named ? a : none);
    kv_buf_byte(&run->line, ',');
    export_csv_cell(&run->line, named ? b : a);
    kv_buf_byte(&run->line, ',');
    if (key->expires_at > 0)
        kv_buf_printf(&run->line, "%lld", (long long)key->expires_at);
    kv_buf_byte(&run->line, ',');
    const int64_t ms = key->timed ? export_times_find(&run->times, a) : 0;
    if (ms > 0)
        kv_buf_printf(&run->line, "%lld", (long long)ms);
    kv_buf_text(&run->line, "\r\n");
}

/* The time of a field for the end of its line. */
static void export_json_time(struct export_run *run,
                             const struct export_key *key, kvsql_slice field)
{
    const int64_t ms = key->timed ? export_times_find(&run->times, field) : 0;

    if (ms == 0)
        return;
    kv_buf_byte(&run->line_times, run->line_times.size == 0 ? '[' : ',');
    kv_buf_byte(&run->line_times, '[');
    export_json(&run->line_times, field);
    kv_buf_printf(&run->line_times, ",%lld]", (long long)ms);
}

static void export_head(struct export_run *run, const struct export_key *key,
                        bool more)
{
    static const char *const open[] = {[KV_STRING] = "",
                                       [KV_HASH] = "{\"$pairs\":[",
                                       [KV_LIST] = "[",
                                       [KV_SET] = "[",
                                       [KV_ZSET] = "["};

    kv_buf_text(&run->line, "{\"key\":");
    export_json(&run->line,
                (kvsql_slice){run->keys.p + key->at, key->size});
    kv_buf_printf(&run->line, ",\"type\":\"%s\"%s,\"value\":%s",
                  kv_type_name(key->type), more ? ",\"continue\":true" : "",
                  open[key->type]);
}

static void export_tail(struct export_run *run, const struct export_key *key)
{
    kv_buf_text(&run->line, key->type == KV_STRING ? ""
                            : key->type == KV_HASH ? "]}"
                                                   : "]");
    if (run->line_times.size > 0) {
        kv_buf_text(&run->line, ",\"field_expires_at\":{\"$pairs\":");
        kv_buf_add(&run->line, run->line_times.p, run->line_times.size);
        kv_buf_text(&run->line, "]}");
    }
    kv_buf_reset(&run->line_times, 1u << 20);
    if (key->expires_at > 0)
        kv_buf_printf(&run->line, ",\"expires_at\":%lld",
                      (long long)key->expires_at);
    kv_buf_text(&run->line, "}\n");
}

/* Elements of one key's reply into the line. False when the key has changed
 * its type meanwhile. *count is 0 when it has gone. */
static bool export_elements(struct export_run *run,
                            const struct export_key *key, size_t *offset,
                            uint64_t *count)
{
    const bool pairs = key->type == KV_HASH || key->type == KV_ZSET;
    uint64_t pending = 1, of_line = 0;
    size_t line_from = run->line.size;
    struct cmd_item one, two;

    *count = 0;
    while (export_leaf(run, offset, &one, &pending)) {
        char a_number[KV_DOUBLE_TEXT_MAX], b_number[KV_DOUBLE_TEXT_MAX];
        kvsql_slice a, b = {"", 0};

        if (one.kind == CMD_REPLY_ERROR)
            return false;
        if (one.kind == CMD_REPLY_NULL)
            continue;
        a = export_text(&one, a_number);
        if (pairs && !export_leaf(run, offset, &two, &pending))
            return false;
        if (pairs)
            b = export_text(&two, b_number);
        if (run->csv) {
            export_csv_element(run, key, a, b);
        } else {
            if (of_line == EXPORT_LINE_COUNT ||
                run->line.size - line_from > EXPORT_LINE_SIZE) {
                export_tail(run, key);
                line_from = run->line.size;
                of_line = 0;
                export_head(run, key, true);
            }
            export_json_element(&run->line, key->type, of_line++, a, b);
            export_json_time(run, key, a);
        }
        ++*count;
    }
    return true;
}

static kvsql_rc export_values(struct export_run *run, struct kvsql_error *err)
{
    size_t offset = 0;

    for (unsigned i = 0; i < run->count; i++) {
        const struct export_key *key = &run->page[i];
        uint64_t count;

        if (!export_wanted(run, key))
            continue;
        kv_buf_reset(&run->line, 1u << 20);
        kv_buf_reset(&run->line_times, 1u << 20);
        kvsql_rc rc =
            key->timed ? export_times_read(run, key, err) : KVSQL_OK;
        if (rc != KVSQL_OK)
            return rc;
        if (!run->csv)
            export_head(run, key, false);
        if (!export_elements(run, key, &offset, &count) || count == 0)
            continue; /* went away, or became another, since it was listed */
        if (!run->csv)
            export_tail(run, key);
        rc = kv_buf_result(&run->line, "a line", err);
        if (rc == KVSQL_OK)
            rc = kv_buf_result(&run->line_times, "a line", err);
        if (rc != KVSQL_OK)
            return rc;
        if (fwrite(run->line.p, 1, run->line.size, stdout) != run->line.size)
            return kv_fail(err, KVSQL_IO, "cannot write to standard output: %s",
                           strerror(errno));
        run->exported++;
    }
    return KVSQL_OK;
}

static kvsql_rc export_total(struct export_run *run, struct kvsql_error *err)
{
    struct cmd_item item;
    size_t offset = 0;

    cmd_words_reset(&run->batch);
    cmd_words_command(&run->batch, "DBSIZE");
    const kvsql_rc rc =
        cli_target_pipeline(run->target, &run->batch, &run->replies, err);
    if (rc == KVSQL_OK && cmd_reply_next(&run->replies, &offset, &item) &&
        item.kind == CMD_REPLY_INT)
        run->total = (uint64_t)item.number;
    return rc;
}

static kvsql_rc export_all(struct export_run *run, struct kvsql_error *err)
{
    kvsql_rc rc;

    if (run->csv)
        fputs("key,type,name,value,expires_at,field_expires_at\r\n", stdout);
    rc = export_total(run, err);
    if (rc != KVSQL_OK)
        return rc;
    while ((rc = export_page(run, err)) == KVSQL_OK && run->count > 0) {
        cmd_words_reset(&run->batch);
        cmd_reply_reset(&run->replies);
        for (unsigned i = 0; i < run->count; i++)
            if (export_wanted(run, &run->page[i]))
                export_ask(run, &run->page[i]);
        if (cmd_words_count(&run->batch) > 0)
            rc = cli_target_pipeline(run->target, &run->batch, &run->replies,
                                     err);
        if (rc == KVSQL_OK && cmd_words_count(&run->batch) > 0)
            rc = export_values(run, err);
        run->listed += run->count;
        cli_progress_show(&run->progress, run->exported, run->listed,
                          run->total);
        if (rc != KVSQL_OK || run->count < EXPORT_PAGE)
            break;
    }
    return rc;
}

static int export_start(const struct cli_settings *settings)
{
    static struct export_run run;
    struct kvsql_error err, close_err;
    kvsql_rc rc = cli_target_open(
        settings, settings->operand_count > 0 ? settings->operand[0] : NULL,
        false, &run.target, &err);

    if (rc != KVSQL_OK)
        return cli_target_refuse(&err);
    run.prefix = cli_text(settings, CLI_OPT_EXPORT_PREFIX);
    run.csv = strcmp(cli_text(settings, CLI_OPT_EXPORT_FORMAT), "csv") == 0;
    kv_buf_init(&run.keys, KV_MEM_CLIENT, EXPORT_TEXT_MAX);
    kv_buf_init(&run.last, KV_MEM_CLIENT, EXPORT_TEXT_MAX);
    kv_buf_init(&run.line, KV_MEM_CLIENT, TARGET_REPLY_MAX);
    kv_buf_init(&run.line_times, KV_MEM_CLIENT, TARGET_REPLY_MAX);
    kv_buf_init(&run.times.bytes, KV_MEM_CLIENT, TARGET_REPLY_MAX);
    kv_buf_init(&run.times.rows, KV_MEM_CLIENT, TARGET_REPLY_MAX);
    cmd_words_init(&run.batch, TARGET_BATCH_MAX);
    cmd_reply_init(&run.replies, TARGET_REPLY_MAX);
    cli_progress_init(&run.progress, "export.progress", "exporting", "keys");
    rc = export_all(&run, &err);
    cli_progress_end(&run.progress);
    kv_buf_fini(&run.keys);
    kv_buf_fini(&run.last);
    kv_buf_fini(&run.line);
    kv_buf_fini(&run.line_times);
    kv_buf_fini(&run.times.bytes);
    kv_buf_fini(&run.times.rows);
    cmd_words_fini(&run.batch);
    cmd_reply_fini(&run.replies);
    const kvsql_rc closed = cli_target_close(run.target, &close_err);
    if (rc != KVSQL_OK)
        return cli_target_refuse(&err);
    return closed == KVSQL_OK ? CLI_DONE : cli_refuse_error(&close_err);
}

int cli_export(int argc, char **argv)
{
    struct cli_settings settings;
    struct kvsql_error err;
    int code;

    if (cli_settings_load(&settings, CLI_IN_EXPORT, argc, argv, &err) !=
        KVSQL_OK) {
        code = cli_settings_refuse(&err);
    } else if (settings.help) {
        cli_help(CLI_IN_EXPORT);
        code = CLI_DONE;
    } else if (settings.operand_count > 1) {
        code = cli_refuse(CLI_USAGE, "one word too many: '%s'",
                          settings.operand[1]);
    } else {
        code = export_start(&settings);
    }
    cli_settings_fini(&settings);
    return code;
}
