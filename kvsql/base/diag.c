/* diag.c - messages for people, one logfmt line each.
 *
 * A value may come from a client, so where one fact ends and the next begins
 * must not be read out of the formatted text. It is read out of the format: a
 * blank there that is followed by `name=` parts two facts. The facts are
 * formatted twice, once with those blanks as they are and once with another
 * byte in their place; the two texts differ exactly where facts meet.
 *
 * Thread: any. Lines are written under one lock, which is never held while
 * anything waits. */
#include "kvsql/base/diag.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"
#include "kvsql/base/text.h"

#define DIAG_LINE_MAX 2048  /* bytes of a line with its newline */
#define DIAG_FACTS_MAX 1024 /* bytes of the facts before escaping */
#define DIAG_FORMAT_MAX 256
#define DIAG_MARK '\x1f' /* any byte but a blank would do */

static struct {
    pthread_once_t once;
    struct kv_lock lock; /* sink, and that lines do not mix */
    void (*sink)(void *arg, const char *line);
    void *sink_arg;
    atomic_int level;
    atomic_uint_least64_t counts[4];
    atomic_uint_least64_t dropped;
} diag = {.once = PTHREAD_ONCE_INIT};

static const char *const diag_levels[] = {"debug", "info", "warn", "error"};

static void diag_start(void)
{
    const char *name = getenv("KVSQL_LOGLEVEL");

    kv_lock_init(&diag.lock, KV_RANK_DIAG);
    atomic_store(&diag.level, KV_INFO);
    for (int i = 0; name != NULL && i < 4; i++)
        if (strcasecmp(name, diag_levels[i]) == 0)
            atomic_store(&diag.level, i);
}

/* ---- the line ------------------------------------------------------------------ */

struct diag_line {
    char text[DIAG_LINE_MAX];
    size_t size;
};

/* Append, all or nothing; room for a newline and a NUL is kept. */
static void diag_add(struct diag_line *line, const char *p, size_t size)
{
    if (size > sizeof(line->text) - 2 - line->size)
        return;
    memcpy(line->text + line->size, p, size);
    line->size += size;
    line->text[line->size] = 0;
}

static void diag_add_time(struct diag_line *line)
{
    const int64_t ms = kv_os_real()->wall_ms(kv_os_real()->arg);
    const time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[40];

    if (gmtime_r(&seconds, &tm) == NULL)
        return;
    const size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    diag_add(line, text, n);
    const int m = snprintf(text, sizeof(text), ".%03dZ ", (int)(ms % 1000));
    diag_add(line, text, (size_t)m);
}

/* One byte or character of a value; `quoted` inside quotes. Returns how many
 * bytes of p it took. */
static size_t diag_add_char(struct diag_line *line, const char *p, size_t size,
                            size_t valid, bool quoted)
{
    const uint8_t byte = (uint8_t)p[0];
    char out[8];
    size_t n = 1;

    if (byte < 0x20 || byte == 0x7f || valid == 0) {
        diag_add(line, out,
                 (size_t)snprintf(out, sizeof(out), "\\x%02x", byte));
        return 1;
    }
    if (quoted && (byte == '"' || byte == '\\'))
        diag_add(line, "\\", 1);
    while (n < size && n < valid && ((uint8_t)p[n] & 0xc0) == 0x80)
        n++;
    diag_add(line, p, n);
    return n;
}

static bool diag_needs_quotes(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] == ' ' || p[i] == '"' || p[i] == '=' || p[i] == '\\')
            return true;
    return size == 0;
}

/* One fact, `name=value`. Quotes that the format put around the value are
 * ours to set again. */
static void diag_add_fact(struct diag_line *line, const char *p, size_t size)
{
    const char *equals = memchr(p, '=', size);
    const char *value = equals == NULL ? p : equals + 1;
    size_t value_size = size - (size_t)(value - p);
    size_t valid = 0;

    diag_add(line, " ", 1);
    diag_add(line, p, (size_t)(value - p));
    if (value_size >= 2 && value[0] == '"' && value[value_size - 1] == '"') {
        value++;
        value_size -= 2;
    }
    const bool quoted = diag_needs_quotes(value, value_size);
    if (quoted)
        diag_add(line, "\"", 1);
    for (size_t i = 0; i < value_size;) {
        if (i >= valid)
            valid = i + kv_utf8_prefix(value + i, value_size - i);
        i += diag_add_char(line, value + i, value_size - i,
                           valid > i ? valid - i : 0, quoted);
    }
    if (quoted)
        diag_add(line, "\"", 1);
}

/* True when the blank at format[i] parts two facts. */
static bool diag_parts(const char *format, size_t i)
{
    size_t n = 0;

    if (format[i] != ' ')
        return false;
    n = strspn(format + i + 1, "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
    return n > 0 && format[i + 1 + n] == '=';
}

static void diag_add_facts(struct diag_line *line, const char *facts,
                           const char *marked)
{
    const size_t size = strlen(facts);
    size_t start = 0;

    if (size == 0)
        return;
    for (size_t i = 0; i <= size; i++)
        if (i == size || facts[i] != marked[i]) {
            diag_add_fact(line, facts + start, i - start);
            start = i + 1;
        }
}

/* ---- calls ----------------------------------------------------------------------- */

/* Send a finished line to the sink or to stderr. */
static void diag_send(struct diag_line *line)
{
    kv_lock_take(&diag.lock);
    void (*const sink)(void *, const char *) = diag.sink;
    void *const arg = diag.sink_arg;
    bool sent = true;

    if (sink == NULL) {
        line->text[line->size++] = '\n';
        sent = kv_os_stderr(line->text, line->size);
    }
    kv_lock_drop(&diag.lock);
    if (sink != NULL)
        sink(arg, line->text);
    if (!sent)
        atomic_fetch_add(&diag.dropped, 1);
}

void kv_diag(enum kv_diag_level level, const char *event, const char *format,
             ...)
{
    char marks[DIAG_FORMAT_MAX], facts[DIAG_FACTS_MAX], marked[DIAG_FACTS_MAX];
    struct diag_line line = {.size = 0};
    va_list args, again;

    (void)pthread_once(&diag.once, diag_start);
    if ((int)level < atomic_load(&diag.level))
        return;
    const size_t format_size = strlen(format);
    KV_ASSERT(format_size < sizeof(marks));
    for (size_t i = 0; i <= format_size; i++)
        marks[i] = diag_parts(format, i) ? DIAG_MARK : format[i];
    va_start(args, format);
    va_copy(again, args);
    if (vsnprintf(facts, sizeof(facts), format, args) < 0 ||
        vsnprintf(marked, sizeof(marked), marks, again) < 0)
        facts[0] = marked[0] = 0;
    va_end(again);
    va_end(args);

    diag_add_time(&line);
    diag_add(&line, diag_levels[level], strlen(diag_levels[level]));
    diag_add(&line, " ", 1);
    diag_add(&line, event, strlen(event));
    diag_add_facts(&line, facts, marked);
    diag_send(&line);
    atomic_fetch_add(&diag.counts[level], 1);
}

void kv_diag_level_set(enum kv_diag_level level)
{
    (void)pthread_once(&diag.once, diag_start);
    atomic_store(&diag.level, (int)level);
}

uint64_t kv_diag_count(enum kv_diag_level level)
{
    return atomic_load(&diag.counts[level]);
}

uint64_t kv_diag_dropped(void)
{
    return atomic_load(&diag.dropped);
}

void kv_diag_sink(void (*sink)(void *arg, const char *line), void *arg)
{
    (void)pthread_once(&diag.once, diag_start);
    kv_lock_take(&diag.lock);
    diag.sink = sink;
    diag.sink_arg = arg;
    kv_lock_drop(&diag.lock);
}
