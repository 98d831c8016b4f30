/* args.c - what all handlers share: arguments, errors, reading, numbers.
 *
 * Everything here is for one running command (context.h). The sentences are
 * Redis's, byte for byte: clients compare them.
 *
 * Thread: the caller's of cmd_run(); the random state is the thread's own. */
#include "command/context.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "command/client.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

/* ---- saying no ---------------------------------------------------------- */

void cmd_fail(struct cmd_context *c, kvsql_rc rc, const char *format, ...)
{
    char line[KVSQL_ERROR_SIZE + 64];
    va_list args;

    va_start(args, format);
    if (vsnprintf(line, sizeof(line), format, args) < 0) {
        line[0] = '\0';
    }
    va_end(args);
    cmd_reply_reset(c->reply);
    cmd_reply_error(c->reply, rc, "%s", line);
}

void cmd_fail_rc(struct cmd_context *c, kvsql_rc rc)
{
    switch (rc) {
    case KVSQL_WRONGTYPE:
        cmd_fail(c, rc, CMD_TEXT_WRONGTYPE);
        return;
    case KVSQL_OOM:
        cmd_fail(c, rc,
                 "OOM command not allowed when used memory > 'maxmemory'.");
        return;
    case KVSQL_NOTFOUND:
        cmd_fail(c, rc, "ERR no such key");
        return;
    default:
        cmd_fail(c, rc, "%s %s", kv_error_row(rc)->resp, c->err.text);
        return;
    }
}

void cmd_fail_syntax(struct cmd_context *c)
{
    cmd_fail(c, KVSQL_SYNTAX, CMD_TEXT_SYNTAX);
}

const char *cmd_name(const struct cmd_context *c, char out[CMD_NAME_MAX])
{
    const char *name = c->row->name;
    size_t i = 0;

    for (; name[i] != '\0' && i + 1 < CMD_NAME_MAX; i++) {
        const char ch = name[i];

        out[i] = ch >= 'A' && ch <= 'Z' ? (char)(ch + 32) : ch;
    }
    out[i] = '\0';
    return out;
}

void cmd_fail_arity(struct cmd_context *c)
{
    char name[CMD_NAME_MAX];

    cmd_fail(c, KVSQL_ARITY, "ERR wrong number of arguments for '%s' command",
             cmd_name(c, name));
}

void cmd_fail_expire(struct cmd_context *c)
{
    char name[CMD_NAME_MAX];

    cmd_fail(c, KVSQL_INVALID, "ERR invalid expire time in '%s' command",
             cmd_name(c, name));
}

void cmd_fail_nomem(struct cmd_context *c)
{
    cmd_fail(c, KVSQL_NOMEM, "OOM no memory to run the command");
}

/* ---- arguments ---------------------------------------------------------- */

struct kv_key cmd_key(const struct cmd_context *c, unsigned index)
{
    if (c->near != NULL && c->near->p == c->argv[index].p) {
        return *c->near;
    }
    return kv_key_of(c->argv[index].p, c->argv[index].size);
}

bool cmd_letters_are(const char *p, const char *word, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char ch =
            p[i] >= 'a' && p[i] <= 'z' ? (char)(p[i] - 32) : p[i];

        if (ch != word[i]) {
            return false;
        }
    }
    return true;
}

bool cmd_int(struct cmd_context *c, unsigned index, int64_t *out,
             const char *text)
{
    if (kv_num_int(c->argv[index].p, c->argv[index].size, out)) {
        return true;
    }
    cmd_fail(c, KVSQL_NOTINT, "%s", text != NULL ? text : CMD_TEXT_NOTINT);
    return false;
}

bool cmd_int_within(struct cmd_context *c, unsigned index, int64_t low,
                    int64_t high, int64_t *out, const char *text)
{
    if (!cmd_int(c, index, out, text)) {
        return false;
    }
    if (*out >= low && *out <= high) {
        return true;
    }
    if (text != NULL) {
        cmd_fail(c, KVSQL_RANGE, "%s", text);
    } else {
        cmd_fail(c, KVSQL_RANGE,
                 "ERR value is out of range, value must between %lld and %lld",
                 (long long)low, (long long)high);
    }
    return false;
}

bool cmd_double(struct cmd_context *c, unsigned index, double *out,
                const char *text)
{
    if (kv_num_double(c->argv[index].p, c->argv[index].size, out)) {
        return true;
    }
    cmd_fail(c, KVSQL_NOTFLOAT, "%s", text != NULL ? text : CMD_TEXT_NOTFLOAT);
    return false;
}

unsigned cmd_switches(const struct cmd_context *c, unsigned index,
                      const struct cmd_switch *switches, unsigned count)
{
    for (unsigned i = 0; i < count && index < c->argc;) {
        const kvsql_slice arg = c->argv[index];

        if (i == 0 && (arg.size == 0 ||
                       (((const char *)arg.p)[0] | 0x20) < 'a')) {
            break; /* mostly a number, and no word begins so */
        }
        if (cmd_is(c, index, switches[i].word)) {
            *switches[i].on = true;
            index++;
            i = 0;
        } else {
            i++;
        }
    }
    return index;
}

bool cmd_pop_parse(struct cmd_context *c, enum kv_type type, int64_t *count,
                   struct kv_item *item, kvsql_rc *rc)
{
    const struct kv_key key = cmd_key(c, 1);

    if (c->argc == 3 &&
        !cmd_int_within(c, 2, 0, INT64_MAX, count,
                        "ERR value is out of range, must be positive")) {
        return false;
    }
    *rc = cmd_get_type(c, &key, type, item);
    return *rc != KVSQL_WRONGTYPE;
}

bool cmd_mpop_parse(struct cmd_context *c, unsigned index, const char *low,
                    const char *high, struct cmd_mpop *m)
{
    int64_t keys, count = 1;
    unsigned where;

    if (!cmd_int_within(c, index, 1, INT64_MAX, &keys,
                        "ERR numkeys should be greater than 0")) {
        return false;
    }
    if (keys >= (int64_t)(c->argc - index - 1)) {
        cmd_fail_syntax(c);
        return false;
    }
    where = index + 1 + (unsigned)keys;
    *m = (struct cmd_mpop){.first = index + 1, .keys = (unsigned)keys,
                           .high = cmd_is(c, where, high)};
    if (!m->high && !cmd_is(c, where, low)) {
        cmd_fail_syntax(c);
        return false;
    }
    for (unsigned i = where + 1; i < c->argc; i += 2) {
        if (i > where + 1 || i + 1 == c->argc || !cmd_is(c, i, "COUNT")) {
            cmd_fail_syntax(c);
            return false;
        }
        if (!cmd_int_within(c, i + 1, 1, INT64_MAX, &count,
                            "ERR count should be greater than 0")) {
            return false;
        }
    }
    m->count = (uint64_t)count;
    return true;
}

/* ---- reading ------------------------------------------------------------ */

/* CLIENT NO-TOUCH: only TOUCH itself counts as a use, as in Redis. */
static bool args_no_touch(const struct cmd_context *c)
{
    return c->client != NULL &&
           atomic_load_explicit(&c->client->no_touch, memory_order_relaxed) &&
           strcmp(c->row->name, "TOUCH") != 0;
}

static void args_at(struct cmd_context *c)
{
    if (c->txn != NULL) {
        kv_at_txn(c->txn, &c->at);
    } else {
        KV_ASSERT(c->view != NULL);
        c->at = *c->view;
    }
}

static void args_use(const struct cmd_context *c, const struct kv_key *key,
                     const struct kv_item *item)
{
    if (KV_UNLIKELY(item->lru != NULL) && /* else nobody keeps it */
        !(c->row->flags & CMD_NO_TOUCH) && !args_no_touch(c)) {
        kv_item_use(&c->at, key, item);
    }
}

bool cmd_get(struct cmd_context *c, const struct kv_key *key,
             struct kv_item *item)
{
    const struct kv_item *near;
    bool found;

    args_at(c);
    if (c->near == NULL || c->near->p != key->p || !cmd_near_item(c, &near)) {
        found = kv_get(&c->at, key, item);
    } else {
        found = near != NULL;
        if (found) {
            *item = *near;
        }
    }
    if (found) {
        args_use(c, key, item);
    }
    if (c->row->flags & CMD_READONLY) {
        cmd_stats_lookup(c, found);
    }
    return found;
}

void cmd_get_batch(struct cmd_context *c, unsigned first, unsigned step,
                   unsigned n, struct kv_item *items, bool *found)
{
    struct kv_key keys[KV_BATCH_MAX];

    KV_ASSERT(n <= KV_BATCH_MAX);
    for (unsigned i = 0; i < n; i++) {
        keys[i] = cmd_key(c, first + i * step);
    }
    args_at(c);
    kv_get_batch(&c->at, keys, items, found, n);
    for (unsigned i = 0; i < n; i++) {
        if (found[i]) {
            args_use(c, &keys[i], &items[i]);
        }
        if (c->row->flags & CMD_READONLY) {
            cmd_stats_lookup(c, found[i]);
        }
    }
}

kvsql_rc cmd_get_type(struct cmd_context *c, const struct kv_key *key,
                      enum kv_type type, struct kv_item *item)
{
    if (!cmd_get(c, key, item)) {
        return KVSQL_NOTFOUND;
    }
    if (item->type != type) {
        cmd_fail_rc(c, KVSQL_WRONGTYPE);
        return KVSQL_WRONGTYPE;
    }
    return KVSQL_OK;
}

bool cmd_touch(struct cmd_context *c, const struct kv_key *key,
               const struct kv_item *item)
{
    /* the deadline that it has: an op, so its version is a new one */
    return cmd_ok(c, kv_expire(c->txn, key, item->expires_at, &c->err));
}

int64_t cmd_wall(struct cmd_context *c)
{
    args_at(c);
    return kv_at_wall(&c->at);
}

bool cmd_defer(struct cmd_context *c, uint64_t count)
{
    if (!c->may_defer || count <= CMD_LIVE_MAX) {
        return false;
    }
    c->deferred = true;
    return true;
}

/* ---- replies ------------------------------------------------------------ */

void cmd_answer_length(struct cmd_context *c, enum kv_type type)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, &key, type, &item);

    if (rc != KVSQL_WRONGTYPE) {
        cmd_reply_int(c->reply,
                      rc == KVSQL_OK ? (int64_t)kv_item_length(&item) : 0);
    }
}

void cmd_answer_elements(struct cmd_context *c, cmd_element_fn effect)
{
    const struct kv_key key = cmd_key(c, 1);
    int64_t count = 0;

    for (unsigned i = 2; i < c->argc; i++) {
        const struct kv_key element = cmd_key(c, i);
        bool changed = false;

        if (!cmd_ok(c, effect(c->txn, &key, &element, &changed, &c->err))) {
            return;
        }
        count += changed;
    }
    cmd_reply_int(c->reply, count);
}

void cmd_answer_ok(struct cmd_context *c)
{
    cmd_reply_status(c->reply, "OK");
}

void cmd_answer_val(struct cmd_context *c, const struct kv_val *value)
{
    cmd_reply_bulk(c->reply, value->p, value->size);
}

/* ---- numbers ------------------------------------------------------------ */

/* strtold and printf follow the locale of the thread; numbers here do not. */
static locale_t args_locale;
static pthread_once_t args_locale_once = PTHREAD_ONCE_INIT;

static void args_locale_make(void)
{
    args_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* Skip digits; how many there were. */
static size_t args_digits(const char **p)
{
    const char *start = *p;

    while (**p >= '0' && **p <= '9') {
        (*p)++;
    }
    return (size_t)(*p - start);
}

/* True when the whole text is a decimal number or an infinity: strtold takes
 * more than we want, hexadecimal and blanks. */
static bool args_real_shape(const char *p)
{
    size_t digits;

    if (*p == '+' || *p == '-') {
        p++;
    }
    if (strcasecmp(p, "inf") == 0 || strcasecmp(p, "infinity") == 0) {
        return true;
    }
    digits = args_digits(&p);
    if (*p == '.') {
        p++;
        digits += args_digits(&p);
    }
    if (digits > 0 && (*p == 'e' || *p == 'E')) {
        p++;
        if (*p == '+' || *p == '-') {
            p++;
        }
        digits = args_digits(&p);
    }
    return digits > 0 && *p == '\0';
}

bool cmd_real_parse(const void *p, size_t size, long double *out)
{
    char text[CMD_REAL_TEXT_MAX];
    locale_t old;
    int error;

    if (size == 0 || size >= sizeof(text) || memchr(p, 0, size) != NULL) {
        return false;
    }
    memcpy(text, p, size);
    text[size] = '\0';
    if (!args_real_shape(text) ||
        pthread_once(&args_locale_once, args_locale_make) != 0 ||
        args_locale == (locale_t)0) {
        return false;
    }
    old = uselocale(args_locale);
    errno = 0;
    *out = strtold(text, NULL);
    error = errno;
    uselocale(old);
    return error != ERANGE || (isfinite(*out) && *out != 0);
}

size_t cmd_real_fixed(char out[CMD_REAL_TEXT_MAX], long double value,
                      unsigned decimals)
{
    locale_t old;
    int printed;

    KV_ASSERT(isfinite(value) && decimals <= 17);
    (void)pthread_once(&args_locale_once, args_locale_make);
    old = uselocale(args_locale); /* none was to be had: the thread's stays */
    printed = snprintf(out, CMD_REAL_TEXT_MAX, "%.*Lf", (int)decimals, value);
    uselocale(old);
    KV_ASSERT(printed > 0 && printed < CMD_REAL_TEXT_MAX);
    return (size_t)printed;
}

size_t cmd_real_format(char out[CMD_REAL_TEXT_MAX], long double value)
{
    size_t size = cmd_real_fixed(out, value, 17);

    while (out[size - 1] == '0') {
        size--;
    }
    if (out[size - 1] == '.') {
        size--;
    }
    if (size == 2 && memcmp(out, "-0", 2) == 0) {
        out[0] = '0';
        size = 1;
    }
    out[size] = '\0';
    return size;
}
