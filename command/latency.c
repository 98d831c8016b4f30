/* latency.c - how long commands take: a histogram of each, and LATENCY's
 * events.
 *
 * A histogram has 8 buckets for each power of two from 128 ns to 137 s, so a
 * percentile is right to 12 %; a call adds 1 to one of them. It is 2 KB, in
 * memory that is touched only by commands that ran (twice that for the twins).
 *
 * An event is a few constant names with the last LATENCY_SAMPLES of each, one
 * a second at most, the longest of the second.
 *
 * Thread: any; events are under latency_lock, the rest is atomic. */
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "command/context.h"
#include "command/inspect.h"
#include "kvsql/admin.h"
#include "kvsql/base/lock.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

#define LATENCY_ROWS_MAX 512
#define LATENCY_SUBS 8        /* buckets of a power of two */
#define LATENCY_SUB_BITS 3
#define LATENCY_FIRST_BIT 7   /* 128 ns */
#define LATENCY_LAST_BIT 37
#define LATENCY_BUCKETS                                                       \
    ((LATENCY_LAST_BIT - LATENCY_FIRST_BIT) * LATENCY_SUBS)
#define LATENCY_PERCENTS_MAX 16
#define LATENCY_EVENTS_MAX 16
#define LATENCY_SAMPLES 160
#define LATENCY_TEXT_MAX ((size_t)64 << 10)

/* Twins, as in stats.c: [1] is written under the store lock alone, so it needs
 * no locked add. */
static _Atomic uint64_t latency_rows[2][LATENCY_ROWS_MAX][LATENCY_BUCKETS];
static _Atomic uint64_t latency_threshold_ms; /* 0: none */
static _Atomic bool latency_off;              /* latency-tracking no */

struct latency_sample {
    int64_t time; /* s */
    uint64_t ms;
};
struct latency_event {
    const char *name;
    uint64_t max_ms, count; /* since the last reset */
    unsigned used, next;
    struct latency_sample samples[LATENCY_SAMPLES];
};
static struct latency_event latency_events[LATENCY_EVENTS_MAX];
static unsigned latency_event_count;
static double latency_percents[LATENCY_PERCENTS_MAX] = {50, 99, 99.9};
static unsigned latency_percent_count = 3;
static struct kv_lock latency_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                      .rank = KV_RANK_COMMAND};

/* ---- histograms ---------------------------------------------------------- */

static unsigned latency_bucket(uint64_t ns)
{
    const uint64_t least = UINT64_C(1) << LATENCY_FIRST_BIT;
    const uint64_t most = (UINT64_C(1) << LATENCY_LAST_BIT) - 1;
    unsigned bit;

    ns = ns < least ? least : ns > most ? most : ns;
    bit = 63u - (unsigned)__builtin_clzll(ns);
    return (bit - LATENCY_FIRST_BIT) * LATENCY_SUBS +
           (unsigned)(ns >> (bit - LATENCY_SUB_BITS) & (LATENCY_SUBS - 1));
}

/* The longest time that a bucket counts. */
static uint64_t latency_bucket_end(unsigned bucket)
{
    const unsigned bit = LATENCY_FIRST_BIT + bucket / LATENCY_SUBS;

    return ((uint64_t)(LATENCY_SUBS + bucket % LATENCY_SUBS + 1)
            << (bit - LATENCY_SUB_BITS)) -
           1;
}

static void latency_add(_Atomic uint64_t *count, uint64_t n)
{
    atomic_store_explicit(
        count, atomic_load_explicit(count, memory_order_relaxed) + n,
        memory_order_relaxed);
}

void cmd_latency_record(unsigned index, uint64_t ns, bool held)
{
    _Atomic uint64_t *count;

    KV_ASSERT(index < LATENCY_ROWS_MAX);
    if (atomic_load_explicit(&latency_off, memory_order_relaxed)) {
        return;
    }
    count = &latency_rows[held][index][latency_bucket(ns)];
    if (held) {
        latency_add(count, 1);
    } else {
        atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    }
}

void cmd_latency_add(unsigned index, uint64_t ns, unsigned count)
{
    KV_ASSERT(index < LATENCY_ROWS_MAX);
    if (!atomic_load_explicit(&latency_off, memory_order_relaxed)) {
        latency_add(&latency_rows[true][index][latency_bucket(ns)], count);
    }
}

/* Calls of a row in a bucket. */
static uint64_t latency_count(unsigned index, unsigned bucket)
{
    return atomic_load_explicit(&latency_rows[0][index][bucket],
                                memory_order_relaxed) +
           atomic_load_explicit(&latency_rows[1][index][bucket],
                                memory_order_relaxed);
}

/* The sum becomes 0; the twin is its writer's alone. */
void cmd_latency_reset_histograms(void)
{
    for (unsigned i = 0; i < cmd_count(); i++) {
        for (unsigned b = 0; b < LATENCY_BUCKETS; b++) {
            if (latency_count(i, b) != 0) {
                atomic_store_explicit(
                    &latency_rows[0][i][b],
                    0 - atomic_load_explicit(&latency_rows[1][i][b],
                                             memory_order_relaxed),
                    memory_order_relaxed);
            }
        }
    }
}

static uint64_t latency_total(unsigned index,
                              uint64_t counts[LATENCY_BUCKETS])
{
    uint64_t total = 0;

    for (unsigned b = 0; b < LATENCY_BUCKETS; b++) {
        counts[b] = latency_count(index, b);
        total += counts[b];
    }
    return total;
}

/* Microseconds below which `percent` of the calls were. */
static double latency_percentile(const uint64_t counts[LATENCY_BUCKETS],
                                 uint64_t total, double percent)
{
    const double wanted = (double)total * percent / 100;
    uint64_t sum = 0;
    unsigned b = 0;

    for (; b < LATENCY_BUCKETS - 1; b++) {
        sum += counts[b];
        if (sum > 0 && (double)sum >= wanted) {
            break;
        }
    }
    return (double)latency_bucket_end(b) / 1000;
}

void cmd_latency_each(void (*take)(void *arg,
                                   const struct cmd_latency_row *row),
                      void *arg)
{
    for (unsigned i = 0; i < cmd_count(); i++) {
        uint64_t counts[LATENCY_BUCKETS];
        const uint64_t total = latency_total(i, counts);
        const struct cmd_latency_row row = {
            .name = cmd_at(i)->name,
            .calls = total,
            .p50_us = latency_percentile(counts, total, 50),
            .p99_us = latency_percentile(counts, total, 99),
            .max_us = latency_percentile(counts, total, 100)};

        if (total > 0) {
            take(arg, &row);
        }
    }
}

void cmd_latency_percentiles(const char *text)
{
    unsigned count = 0;

    kv_lock_take(&latency_lock);
    while (count < LATENCY_PERCENTS_MAX) {
        const char *word = text + strspn(text, " ");
        const size_t size = strcspn(word, " ");

        if (size == 0 ||
            !kv_num_double(word, size, &latency_percents[count])) {
            break;
        }
        text = word + size;
        count++;
    }
    latency_percent_count = count;
    kv_lock_drop(&latency_lock);
}

void cmd_latency_write(struct kv_buf *out)
{
    double percents[LATENCY_PERCENTS_MAX];
    unsigned count;

    kv_lock_take(&latency_lock);
    count = latency_percent_count;
    memcpy(percents, latency_percents, sizeof(percents));
    kv_lock_drop(&latency_lock);
    for (unsigned i = 0; i < cmd_count(); i++) {
        uint64_t counts[LATENCY_BUCKETS];
        const uint64_t total = latency_total(i, counts);

        if (total == 0 || count == 0) {
            continue;
        }
        kv_buf_text(out, "latency_percentiles_usec_");
        cmd_name_lower(cmd_at(i), out);
        for (unsigned p = 0; p < count; p++) {
            char number[KV_DOUBLE_TEXT_MAX];
            const size_t size = kv_num_format_double(number, percents[p]);

            kv_buf_printf(out, "%cp%.*s=%.3f", p == 0 ? ':' : ',', (int)size,
                          number,
                          latency_percentile(counts, total, percents[p]));
        }
        kv_buf_text(out, "\r\n");
    }
}

/* One row: calls, and how many took up to 1, 2, 4 ... microseconds. */
static bool latency_answer_row(struct cmd_context *c, unsigned index)
{
    uint64_t counts[LATENCY_BUCKETS], sum = 0, pairs = 0, shown = 0;
    const uint64_t total = latency_total(index, counts);
    struct kv_buf name;
    size_t place;

    if (total == 0) {
        return false;
    }
    kv_buf_init(&name, KV_MEM_CLIENT, 256);
    cmd_name_lower(cmd_at(index), &name);
    cmd_reply_bulk(c->reply, name.p, name.size);
    kv_buf_fini(&name);
    cmd_reply_map(c->reply, 2);
    cmd_reply_text(c->reply, "calls");
    cmd_reply_int(c->reply, (int64_t)total);
    cmd_reply_text(c->reply, "histogram_usec");
    place = cmd_reply_begin(c->reply, CMD_REPLY_MAP);
    for (unsigned b = 0; b < LATENCY_BUCKETS; b++) {
        sum += counts[b];
        if (b % LATENCY_SUBS == LATENCY_SUBS - 1 && b / LATENCY_SUBS >= 2 &&
            sum > shown) { /* the end of a power of two, from 1 us on */
            cmd_reply_int(c->reply,
                          (int64_t)((latency_bucket_end(b) + 500) / 1000));
            cmd_reply_int(c->reply, (int64_t)sum);
            shown = sum;
            pairs++;
        }
    }
    cmd_reply_end(c->reply, place, pairs);
    return true;
}

void cmd_do_latency_histogram(struct cmd_context *c)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_MAP);
    uint64_t count = 0;

    for (unsigned i = 2; i < c->argc; i++) {
        const struct cmd_row *row =
            cmd_find_full(c->argv[i].p, c->argv[i].size);
        const size_t size = row != NULL ? strlen(row->name) : 0;

        /* A container means its subcommands, too. */
        for (unsigned at = row != NULL ? (unsigned)(row - cmd_at(0)) : 0;
             row != NULL && cmd_at(at) != NULL &&
             (cmd_at(at) == row ||
              (strncmp(cmd_at(at)->name, row->name, size) == 0 &&
               cmd_at(at)->name[size] == '|'));
             at++) {
            count += latency_answer_row(c, at);
        }
    }
    for (unsigned i = 0; c->argc == 2 && i < cmd_count(); i++) {
        count += latency_answer_row(c, i);
    }
    cmd_reply_end(c->reply, place, count);
}

/* ---- events -------------------------------------------------------------- */

void cmd_latency_limits(uint64_t threshold_ms, bool tracking)
{
    atomic_store(&latency_threshold_ms, threshold_ms);
    atomic_store(&latency_off, !tracking);
}

uint64_t cmd_latency_threshold_ns(void)
{
    const uint64_t ms = atomic_load(&latency_threshold_ms);

    return ms == 0 || ms > UINT64_MAX / 1000000 ? UINT64_MAX : ms * 1000000;
}

/* Under the lock; NULL when there is none. */
static struct latency_event *latency_find(const char *name, size_t size)
{
    for (unsigned i = 0; i < latency_event_count; i++) {
        if (strlen(latency_events[i].name) == size &&
            strncasecmp(latency_events[i].name, name, size) == 0) {
            return &latency_events[i];
        }
    }
    return NULL;
}

void cmd_latency_event(const char *name, uint64_t ms)
{
    const struct kv_os *os = kv_os_real();
    const int64_t time = os->wall_ms(os->arg) / 1000;
    const uint64_t threshold = atomic_load(&latency_threshold_ms);
    struct latency_event *event;
    struct latency_sample *last;

    if (threshold == 0 || ms < threshold) {
        return;
    }
    kv_lock_take(&latency_lock);
    event = latency_find(name, strlen(name));
    if (event == NULL) {
        KV_ASSERT(latency_event_count < LATENCY_EVENTS_MAX);
        event = &latency_events[latency_event_count++];
        *event = (struct latency_event){.name = name};
    }
    last = &event->samples[(event->next + LATENCY_SAMPLES - 1) %
                           LATENCY_SAMPLES];
    event->count++;
    event->max_ms = ms > event->max_ms ? ms : event->max_ms;
    if (event->used > 0 && last->time == time) {
        last->ms = ms > last->ms ? ms : last->ms;
    } else {
        event->samples[event->next] = (struct latency_sample){time, ms};
        event->next = (event->next + 1) % LATENCY_SAMPLES;
        event->used += event->used < LATENCY_SAMPLES;
    }
    kv_lock_drop(&latency_lock);
}

/* By Redis's names where it has one: the wal is its append-only file, and a
 * write while a sync runs is told apart. */
void cmd_latency_store(enum kv_latency what, uint64_t ns)
{
    static const char *const names[KV_LATENCY_COUNT] = {
        [KV_LATENCY_EXPIRE_CYCLE] = "expire-cycle",
        [KV_LATENCY_EVICTION_CYCLE] = "eviction-cycle",
        [KV_LATENCY_EVICTION_DEL] = "eviction-del",
        [KV_LATENCY_WAL_WRITE] = "aof-write",
        [KV_LATENCY_WAL_WRITE_ALONE] = "aof-write-alone",
        [KV_LATENCY_WAL_WRITE_SYNCING] = "aof-write-pending-fsync",
        [KV_LATENCY_WAL_SYNC] = "aof-fsync-always",
        [KV_LATENCY_SNAPSHOT] = "snapshot"};

    cmd_latency_event(names[what], ns / 1000000);
}

/* Sample `index` from the oldest on. */
static struct latency_sample latency_at(const struct latency_event *event,
                                        unsigned index)
{
    return event->samples[(event->next + LATENCY_SAMPLES - event->used +
                           index) %
                          LATENCY_SAMPLES];
}

void cmd_do_latency_latest(struct cmd_context *c)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    uint64_t count = 0;

    kv_lock_take(&latency_lock);
    for (unsigned i = 0; i < latency_event_count; i++) {
        const struct latency_event *event = &latency_events[i];
        struct latency_sample last;

        if (event->used == 0) {
            continue;
        }
        last = latency_at(event, event->used - 1);
        cmd_reply_array(c->reply, 4);
        cmd_reply_text(c->reply, event->name);
        cmd_reply_int(c->reply, last.time);
        cmd_reply_int(c->reply, (int64_t)last.ms);
        cmd_reply_int(c->reply, (int64_t)event->max_ms);
        count++;
    }
    kv_lock_drop(&latency_lock);
    cmd_reply_end(c->reply, place, count);
}

void cmd_do_latency_history(struct cmd_context *c)
{
    const struct latency_event *event;

    kv_lock_take(&latency_lock);
    event = latency_find(c->argv[2].p, c->argv[2].size);
    cmd_reply_array(c->reply, event != NULL ? event->used : 0);
    for (unsigned i = 0; event != NULL && i < event->used; i++) {
        const struct latency_sample sample = latency_at(event, i);

        cmd_reply_array(c->reply, 2);
        cmd_reply_int(c->reply, sample.time);
        cmd_reply_int(c->reply, (int64_t)sample.ms);
    }
    kv_lock_drop(&latency_lock);
}

static bool latency_named(const struct cmd_context *c, const char *name)
{
    for (unsigned i = 2; i < c->argc; i++) {
        if (strlen(name) == c->argv[i].size &&
            strncasecmp(name, c->argv[i].p, c->argv[i].size) == 0) {
            return true;
        }
    }
    return c->argc == 2;
}

void cmd_do_latency_reset(struct cmd_context *c)
{
    int64_t count = 0;

    kv_lock_take(&latency_lock);
    for (unsigned i = 0; i < latency_event_count; i++) {
        struct latency_event *event = &latency_events[i];

        if (event->used > 0 && latency_named(c, event->name)) {
            *event = (struct latency_event){.name = event->name};
            count++;
        }
    }
    kv_lock_drop(&latency_lock);
    cmd_reply_int(c->reply, count);
}

#define LATENCY_GRAPH_COLUMNS 80
#define LATENCY_GRAPH_ROWS 4

/* The last samples as columns of '#', the tallest being the longest. */
static void latency_draw(const struct latency_event *event, struct kv_buf *out)
{
    const unsigned columns = event->used < LATENCY_GRAPH_COLUMNS
                                 ? event->used
                                 : LATENCY_GRAPH_COLUMNS;
    uint64_t high = 0, low = UINT64_MAX;

    for (unsigned i = event->used - columns; i < event->used; i++) {
        const uint64_t ms = latency_at(event, i).ms;

        high = ms > high ? ms : high;
        low = ms < low ? ms : low;
    }
    kv_buf_printf(out,
                  "%s - high %llu ms, low %llu ms (all time high %llu ms)\n",
                  event->name, (unsigned long long)high,
                  (unsigned long long)low, (unsigned long long)event->max_ms);
    for (unsigned row = LATENCY_GRAPH_ROWS; row > 0; row--) {
        for (unsigned i = event->used - columns; i < event->used; i++) {
            const uint64_t ms = latency_at(event, i).ms;

            kv_buf_byte(out, ms * LATENCY_GRAPH_ROWS > high * (row - 1) ? '#'
                                                                        : ' ');
        }
        kv_buf_byte(out, '\n');
    }
}

void cmd_do_latency_graph(struct cmd_context *c)
{
    const struct latency_event *event;
    struct kv_buf out;

    kv_buf_init(&out, KV_MEM_CLIENT, LATENCY_TEXT_MAX);
    kv_lock_take(&latency_lock);
    event = latency_find(c->argv[2].p, c->argv[2].size);
    if (event != NULL && event->used > 0) {
        latency_draw(event, &out);
    }
    kv_lock_drop(&latency_lock);
    if (out.failed) {
        cmd_fail_nomem(c);
    } else if (out.size == 0) {
        cmd_fail(c, KVSQL_NOTFOUND,
                 "ERR No samples available for event '%.*s'",
                 (int)(c->argv[2].size < 128 ? c->argv[2].size : 128),
                 (const char *)c->argv[2].p);
    } else {
        cmd_reply_verbatim(c->reply, out.p, out.size);
    }
    kv_buf_fini(&out);
}

static void latency_report(struct kv_buf *out)
{
    for (unsigned i = 0; i < latency_event_count; i++) {
        const struct latency_event *event = &latency_events[i];
        uint64_t sum = 0;

        for (unsigned s = 0; s < event->used; s++) {
            sum += latency_at(event, s).ms;
        }
        if (event->used > 0) {
            kv_buf_printf(out,
                          "%s: %llu times since the last reset, %llu ms on "
                          "average of the last %u, %llu ms at most.\n",
                          event->name, (unsigned long long)event->count,
                          (unsigned long long)(sum / event->used), event->used,
                          (unsigned long long)event->max_ms);
        }
    }
}

void cmd_do_latency_doctor(struct cmd_context *c)
{
    struct kv_buf out;

    kv_buf_init(&out, KV_MEM_CLIENT, LATENCY_TEXT_MAX);
    if (atomic_load(&latency_threshold_ms) == 0) {
        kv_buf_text(&out, "Latency monitoring is off. `CONFIG SET "
                          "latency-monitor-threshold <milliseconds>` turns it "
                          "on.\n");
    } else {
        kv_lock_take(&latency_lock);
        latency_report(&out);
        kv_lock_drop(&latency_lock);
        kv_buf_text(&out, out.size == 0
                              ? "Nothing took longer than "
                                "latency-monitor-threshold.\n"
                              : "\nSLOWLOG GET names the commands; INFO "
                                "latencystats has the usual times of each.\n");
    }
    if (out.failed) {
        cmd_fail_nomem(c);
    } else {
        cmd_reply_verbatim(c->reply, out.p, out.size);
    }
    kv_buf_fini(&out);
}
