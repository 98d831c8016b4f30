/* value.c - what the value of an option may be, what is said of one that is
 * none, and how CONFIG GET gives it.
 *
 * Thread: any; nothing is shared. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/option.h"
#include "kvsql/base/num.h"

#define VALUE_EVENTS "AKEg$lshzxetdmn" /* classes of keyspace events */
#define VALUE_CLASSES 3                /* of clients, with limits each */
#define VALUE_NUMBER_MAX 64            /* bytes of a number */

/* True when `word` is one of "a|b|c". */
static bool value_choice(const char *choices, const char *word)
{
    const size_t size = strlen(word);

    for (const char *p = choices; size > 0;) {
        const size_t n = strcspn(p, "|");

        if (n == size && memcmp(p, word, n) == 0)
            return true;
        if (p[n] == '\0')
            return false;
        p += n + 1;
    }
    return false;
}

static bool value_bool(const char *text, bool *value)
{
    *value = strcmp(text, "yes") == 0;
    return *value || strcmp(text, "no") == 0;
}

size_t cli_value_word(const char **text, const char **word)
{
    *word = *text + strspn(*text, " \t");
    const size_t n = strcspn(*word, " \t");
    *text = *word + n;
    return n;
}

bool cli_value_save(const char *text, uint64_t *seconds)
{
    uint64_t fewest = UINT64_MAX;

    *seconds = 0;
    if (strcmp(text, "\"\"") == 0)
        return true;
    for (;;) {
        const char *a, *b;
        uint64_t s, changes;
        const size_t a_size = cli_value_word(&text, &a);

        if (a_size == 0)
            return true;
        const size_t b_size = cli_value_word(&text, &b);
        if (!kv_num_uint(a, a_size, &s) || s == 0 || s > UINT32_MAX ||
            !kv_num_uint(b, b_size, &changes) || changes == 0)
            return false;
        if (changes < fewest) {
            fewest = changes;
            *seconds = s;
        }
    }
}


/* ---- ranges, percentiles -------------------------------------------------------- */

static void value_range(const struct cli_option *row, int64_t *low,
                        int64_t *high)
{
    const char *dots = strstr(row->argument, "..");
    const bool good =
        dots != NULL &&
        kv_num_int(row->argument, (size_t)(dots - row->argument), low) &&
        kv_num_int(dots + 2, strlen(dots + 2), high);

    KV_ASSERT(good); /* our own table, tested */
}

static bool value_in_range(const struct cli_option *row, const char *text)
{
    int64_t low, high, number;

    value_range(row, &low, &high);
    return kv_num_int(text, strlen(text), &number) && number >= low &&
           number <= high;
}

/* A size, in the range of the row when it has one; *outside tells that it is a
 * size but not there. */
static bool value_sized(const struct cli_option *row, const char *text,
                        bool *outside)
{
    int64_t low = 0, high = INT64_MAX;
    uint64_t number;

    *outside = false;
    if (!kv_num_size(text, &number))
        return false;
    if (strstr(row->argument, "..") == NULL)
        return true;
    value_range(row, &low, &high);
    *outside = number < (uint64_t)low || number > (uint64_t)high;
    return !*outside;
}

/* Numbers from 0 to 100; *outside tells that one is a number but not there. */
static bool value_percents(const char *text, bool *outside)
{
    const char *word;
    size_t size;

    while ((size = cli_value_word(&text, &word)) > 0) {
        double number;

        if (!kv_num_double(word, size, &number))
            return false;
        if (!(number >= 0 && number <= 100)) {
            if (outside != NULL)
                *outside = true;
            return false;
        }
    }
    return true;
}

/* ---- limits of client classes ------------------------------------------------------ */

static const char *const value_classes[VALUE_CLASSES] = {"normal", "slave",
                                                         "pubsub"};
struct value_limits {
    uint64_t numbers[VALUE_CLASSES][3]; /* hard, soft bytes; seconds */
};

static bool value_size(const char *p, size_t size, uint64_t *bytes)
{
    char text[VALUE_NUMBER_MAX];

    if (size >= sizeof text)
        return false;
    memcpy(text, p, size);
    text[size] = '\0';
    return kv_num_size(text, bytes);
}

static int value_class(const char *p, size_t size)
{
    if (size == 7 && strncasecmp(p, "replica", size) == 0)
        return 1;
    for (int i = 0; i < VALUE_CLASSES; i++)
        if (strlen(value_classes[i]) == size &&
            strncasecmp(p, value_classes[i], size) == 0)
            return i;
    return -1;
}

/* Read "CLASS HARD SOFT SECONDS ..." over Redis's defaults; NULL, or what is
 * wrong by Redis's words. */
static const char *value_limits(const char *text, struct value_limits *limits)
{
    static const struct value_limits defaults = {
        {{0, 0, 0}, {256 << 20, 64 << 20, 60}, {32 << 20, 8 << 20, 60}}};
    const char *word[4];
    size_t size[4];

    *limits = defaults;
    for (;;) {
        for (int i = 0; i < 4; i++)
            size[i] = cli_value_word(&text, &word[i]);
        if (size[0] == 0)
            return NULL;
        if (size[3] == 0)
            return "Wrong number of arguments in buffer limit configuration.";
        const int class = value_class(word[0], size[0]);
        if (class < 0)
            return "Invalid client class specified in buffer limit "
                   "configuration.";
        uint64_t *numbers = limits->numbers[class];
        if (!value_size(word[1], size[1], &numbers[0]) ||
            !value_size(word[2], size[2], &numbers[1]) ||
            !kv_num_uint(word[3], size[3], &numbers[2]) ||
            numbers[2] > INT32_MAX)
            return "Error in hard, soft or soft_seconds setting in buffer "
                   "limit configuration.";
    }
}

void cli_value_pubsub_limit(const char *text, uint64_t numbers[3])
{
    struct value_limits limits;

    (void)value_limits(text, &limits); /* checked */
    memcpy(numbers, limits.numbers[VALUE_CLASSES - 1],
           sizeof limits.numbers[0]);
}

/* ---- checking ----------------------------------------------------------------- */

kvsql_rc cli_value_check(const struct cli_option *row, const char *text,
                             struct kvsql_error *err)
{
    struct value_limits limits;
    uint64_t number;
    bool flag;

    switch (row->kind) {
    case CLI_TEXT:
    case CLI_WORDS:
    case CLI_SECRET:
        return KVSQL_OK;
    case CLI_UINT:
        if (kv_num_uint(text, strlen(text), &number) && number <= UINT32_MAX)
            return KVSQL_OK;
        return kv_fail(err, KVSQL_INVALID,
                       "%s: '%s' is not a number from 0 to %u", row->name,
                       text, UINT32_MAX);
    case CLI_PORT:
        if (kv_num_uint(text, strlen(text), &number) && number <= UINT16_MAX)
            return KVSQL_OK;
        return kv_fail(err, KVSQL_INVALID,
                       "%s: '%s' is not a port from 0 to 65535", row->name,
                       text);
    case CLI_SIZE:
        if (value_sized(row, text, &flag))
            return KVSQL_OK;
        if (flag)
            return kv_fail(err, KVSQL_INVALID, "%s: '%s' is not a size in %s",
                           row->name, text, row->argument);
        return kv_fail(err, KVSQL_INVALID,
                       "%s: '%s' is not a size like 512kb, 64mb or 2gb",
                       row->name, text);
    case CLI_DURATION:
        /* 0 is one where it is the default */
        if (kv_num_duration(text, 1000, &number) &&
            (number > 0 || strcmp(row->initial, "0") == 0))
            return KVSQL_OK;
        return kv_fail(err, KVSQL_INVALID,
                       "%s: '%s' is not a time like 500ms, 10s or 5m",
                       row->name, text);
    case CLI_CHOICE:
        if (value_choice(row->argument, text))
            return KVSQL_OK;
        return kv_fail(err, KVSQL_INVALID, "%s: '%s' is none of %s", row->name,
                       text, row->argument);
    case CLI_SAVE:
        if (cli_value_save(text, &number))
            return KVSQL_OK;
        return kv_fail(err, KVSQL_INVALID,
                       "%s: '%s' is not SECONDS CHANGES, like 3600 1",
                       row->name, text);
    case CLI_RANGE:
        if (value_in_range(row, text))
            return KVSQL_OK;
        return kv_fail(err, KVSQL_INVALID, "%s: '%s' is not a number in %s",
                       row->name, text, row->argument);
    case CLI_PERCENTS:
        if (value_percents(text, NULL))
            return KVSQL_OK;
        return kv_fail(err, KVSQL_INVALID,
                       "%s: '%s' is not numbers from 0 to 100", row->name,
                       text);
    case CLI_EVENTS:
        if (text[strspn(text, VALUE_EVENTS)] == '\0')
            return KVSQL_OK;
        return kv_fail(err, KVSQL_INVALID, "%s: '%s' has letters beside "
                       VALUE_EVENTS, row->name, text);
    case CLI_LIMITS:
        if (value_limits(text, &limits) == NULL)
            return KVSQL_OK;
        return kv_fail(err, KVSQL_INVALID,
                       "%s: '%s' is not CLASS HARD SOFT SECONDS", row->name,
                       text);
    case CLI_FLAG:
        if (value_bool(text, &flag))
            return KVSQL_OK;
        break;
    }
    return kv_fail(err, KVSQL_INVALID, "%s: '%s' is not yes or no", row->name,
                   text);
}

/* "a|b|c" as "a, b, c". */
static void value_choices(const struct cli_option *row, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s",
                                "argument(s) must be one of the following: ");

    for (const char *p = row->argument; *p != '\0' && n + 3 < size; p++) {
        out[n++] = *p == '|' ? ',' : *p;
        if (*p == '|')
            out[n++] = ' ';
    }
    out[n] = '\0';
}

static void value_complain_number(const struct cli_option *row,
                                  const char *text, char *out, size_t size)
{
    int64_t low = 0, high = row->kind == CLI_PORT ? UINT16_MAX : UINT32_MAX;
    int64_t number;

    if (row->kind == CLI_RANGE || row->kind == CLI_SIZE)
        value_range(row, &low, &high);
    if (row->kind != CLI_SIZE && !kv_num_int(text, strlen(text), &number))
        (void)snprintf(out, size, "argument couldn't be parsed into an "
                                  "integer");
    else
        (void)snprintf(out, size,
                       "argument must be between %lld and %lld inclusive",
                       (long long)low, (long long)high);
}

void cli_value_complain(const struct cli_option *row, const char *text,
                        char *out, size_t size)
{
    struct value_limits limits;
    const char *what = NULL;
    bool outside = false;

    switch (row->kind) {
    case CLI_CHOICE:
        value_choices(row, out, size);
        return;
    case CLI_UINT:
    case CLI_PORT:
    case CLI_RANGE:
        value_complain_number(row, text, out, size);
        return;
    case CLI_SIZE:
        (void)value_sized(row, text, &outside);
        if (outside) {
            value_complain_number(row, text, out, size);
            return;
        }
        what = "argument must be a memory value";
        break;
    case CLI_SAVE:
        what = "Invalid save parameters";
        break;
    case CLI_FLAG:
        what = "argument must be 'yes' or 'no'";
        break;
    case CLI_EVENTS:
        what = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
        break;
    case CLI_LIMITS:
        what = value_limits(text, &limits);
        break;
    case CLI_PERCENTS:
        (void)value_percents(text, &outside);
        what = outside ? "latency-tracking-info-percentiles parameters should "
                         "sit between [0.0,100.0]"
                       : "Invalid latency-tracking-info-percentiles "
                         "parameters";
        break;
    case CLI_DURATION:
        what = "argument must be a time like 500ms, 10s or 5m";
        break;
    case CLI_TEXT:
    case CLI_WORDS:
    case CLI_SECRET:
        break;
    }
    (void)snprintf(out, size, "%s", what != NULL ? what : "invalid value");
}

/* ---- showing ------------------------------------------------------------------ */

/* Letters of event classes in Redis's order, "A" for all of g to d. */
static void value_show_events(const char *text, struct kv_buf *out)
{
    static const char all[] = "g$lshzxetd";
    bool whole = strchr(text, 'A') != NULL;

    if (!whole) {
        whole = true;
        for (const char *p = all; *p != '\0'; p++)
            whole = whole && strchr(text, *p) != NULL;
    }
    if (whole)
        kv_buf_byte(out, 'A');
    for (const char *p = "g$lshzxetdnKEm"; *p != '\0'; p++)
        if (strchr(text, *p) != NULL &&
            !(whole && strchr(all, *p) != NULL))
            kv_buf_byte(out, (uint8_t)*p);
}

static void value_show_limits(const char *text, struct kv_buf *out)
{
    struct value_limits limits;

    (void)value_limits(text, &limits);
    for (int i = 0; i < VALUE_CLASSES; i++)
        kv_buf_printf(out, "%s%s %llu %llu %llu", i > 0 ? " " : "",
                      value_classes[i],
                      (unsigned long long)limits.numbers[i][0],
                      (unsigned long long)limits.numbers[i][1],
                      (unsigned long long)limits.numbers[i][2]);
}

void cli_value_show(const struct cli_option *row, const char *text,
                    struct kv_buf *out)
{
    uint64_t number = 0;

    switch (row->kind) {
    case CLI_SIZE:
        (void)kv_num_size(text, &number);
        kv_buf_printf(out, "%llu", (unsigned long long)number);
        return;
    case CLI_EVENTS:
        value_show_events(text, out);
        return;
    case CLI_LIMITS:
        value_show_limits(text, out);
        return;
    case CLI_SECRET:
        return;
    default:
        kv_buf_text(out, strcmp(text, "\"\"") == 0 ? "" : text);
        return;
    }
}
