/* stats.c - counters of the command layer: calls, time, errors, hits.
 *
 * Relaxed atomics, one block for each row of the table; INFO reads them. A
 * command inside a txn holds the store lock, so it may count without a locked
 * instruction, in a twin of the counter that nobody else writes; the sum of
 * both is what is shown. (A program with several stores has several locks, and
 * may lose a count where two meet: no door does that.)
 *
 * Errors are counted by prefix, of which there are at most STATS_ERRORS_MAX:
 * prefixes come from our own sentences, never from a client's bytes.
 *
 * Thread: any. */
#include "command/context.h"

#include <stdatomic.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"

#define STATS_ROWS_MAX 512
#define STATS_ERRORS_MAX 32
#define STATS_PREFIX_MAX 24

struct stats_counter {
    _Atomic uint64_t shared;
    _Atomic uint64_t held; /* written under the store lock only */
};
struct stats_row {
    struct stats_counter calls, ns, failed, rejected;
};
static struct stats_row stats_rows[STATS_ROWS_MAX];

struct stats_error {
    char prefix[STATS_PREFIX_MAX];
    _Atomic uint64_t count;
};
/* A slot is claimed once, under the lock, and never changes its prefix. */
static struct stats_error stats_errors[STATS_ERRORS_MAX];
static _Atomic unsigned stats_errors_used;
static struct kv_lock stats_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                           .rank = KV_RANK_COMMAND};

static struct stats_counter stats_error_count, stats_hits, stats_misses;
static _Atomic uint64_t stats_memory_peak;
static _Atomic uint64_t stats_counters[CMD_STAT_COUNT];
static _Atomic int64_t stats_gauges[CMD_GAUGE_COUNT];

#define STATS_SAMPLES 16
/* Written by the sampler alone. */
static struct {
    uint64_t at_ns, calls, net_in, net_out;
} stats_last;
static uint64_t stats_samples[CMD_RATE_COUNT][STATS_SAMPLES];
static unsigned stats_sample_next;
static _Atomic uint64_t stats_rates[CMD_RATE_COUNT];

/* Of the start, under stats_lock. */
static struct cmd_loading stats_loading;
static uint64_t stats_loading_ns;

static void stats_add(struct stats_counter *counter, uint64_t n, bool held)
{
    if (held) {
        atomic_store_explicit(
            &counter->held,
            atomic_load_explicit(&counter->held, memory_order_relaxed) + n,
            memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&counter->shared, n, memory_order_relaxed);
    }
}

static uint64_t stats_read(const struct stats_counter *counter)
{
    return atomic_load_explicit(&counter->shared, memory_order_relaxed) +
           atomic_load_explicit(&counter->held, memory_order_relaxed);
}

/* The sum becomes 0; the twin is its writer's alone. */
static void stats_zero(struct stats_counter *counter)
{
    atomic_store_explicit(
        &counter->shared,
        0 - atomic_load_explicit(&counter->held, memory_order_relaxed),
        memory_order_relaxed);
}

void cmd_stats_call(unsigned index, uint64_t ns, bool failed, bool held)
{
    struct stats_row *row = &stats_rows[index];

    KV_ASSERT(index < STATS_ROWS_MAX);
    stats_add(&row->calls, 1, held);
    stats_add(&row->ns, ns, held);
    cmd_latency_record(index, ns, held);
    if (failed) {
        stats_add(&row->failed, 1, held);
    }
}

void cmd_stats_gets(unsigned index, unsigned count, unsigned hits, uint64_t ns)
{
    struct stats_row *row = &stats_rows[index];

    KV_ASSERT(index < STATS_ROWS_MAX && hits <= count && count > 0);
    stats_add(&row->calls, count, true);
    stats_add(&row->ns, ns, true);
    stats_add(&stats_hits, hits, true);
    stats_add(&stats_misses, count - hits, true);
    cmd_latency_add(index, ns / count, count);
}

void cmd_stats_reject(unsigned index)
{
    KV_ASSERT(index < STATS_ROWS_MAX);
    stats_add(&stats_rows[index].rejected, 1, false);
}

/* The slot of a prefix, or NULL. */
static struct stats_error *stats_error_find(const char *prefix, size_t size)
{
    const unsigned used = atomic_load(&stats_errors_used);

    for (unsigned i = 0; i < used; i++) {
        struct stats_error *slot = &stats_errors[i];

        if (strlen(slot->prefix) == size &&
            memcmp(slot->prefix, prefix, size) == 0) {
            return slot;
        }
    }
    return NULL;
}

static struct stats_error *stats_error_claim(const char *prefix, size_t size)
{
    struct stats_error *slot;

    kv_lock_take(&stats_lock);
    slot = stats_error_find(prefix, size);
    if (slot == NULL && stats_errors_used < STATS_ERRORS_MAX) {
        slot = &stats_errors[stats_errors_used];
        memcpy(slot->prefix, prefix, size);
        atomic_fetch_add(&stats_errors_used, 1); /* publishes the prefix */
    }
    kv_lock_drop(&stats_lock);
    return slot;
}

void cmd_stats_error(const char *line, size_t size)
{
    const char *blank = memchr(line, ' ', size);
    const size_t prefix_size = blank != NULL ? (size_t)(blank - line) : size;
    struct stats_error *slot;

    stats_add(&stats_error_count, 1, false);
    if (prefix_size == 0 || prefix_size >= STATS_PREFIX_MAX) {
        return;
    }
    slot = stats_error_find(line, prefix_size);
    if (slot == NULL) {
        slot = stats_error_claim(line, prefix_size);
    }
    if (slot != NULL) {
        atomic_fetch_add_explicit(&slot->count, 1, memory_order_relaxed);
    }
}

void cmd_stats_lookup(const struct cmd_context *c, bool hit)
{
    stats_add(hit ? &stats_hits : &stats_misses, 1, c->txn != NULL);
}

void cmd_stat_add(enum cmd_stat stat, uint64_t n)
{
    KV_ASSERT(stat < CMD_STAT_COUNT);
    atomic_fetch_add_explicit(&stats_counters[stat], n, memory_order_relaxed);
}

uint64_t cmd_stat_get(enum cmd_stat stat)
{
    return atomic_load_explicit(&stats_counters[stat], memory_order_relaxed);
}

void cmd_gauge_add(enum cmd_gauge gauge, int64_t n)
{
    KV_ASSERT(gauge < CMD_GAUGE_COUNT);
    atomic_fetch_add_explicit(&stats_gauges[gauge], n, memory_order_relaxed);
}

int64_t cmd_gauge_get(enum cmd_gauge gauge)
{
    return atomic_load_explicit(&stats_gauges[gauge], memory_order_relaxed);
}

uint64_t cmd_stats_calls(void)
{
    uint64_t calls = 0;

    for (unsigned i = 0; i < cmd_count(); i++) {
        calls += stats_read(&stats_rows[i].calls);
    }
    return calls;
}

uint64_t cmd_stats_errors(void)
{
    return stats_read(&stats_error_count);
}

uint64_t cmd_stats_hits(void)
{
    return stats_read(&stats_hits);
}

uint64_t cmd_stats_misses(void)
{
    return stats_read(&stats_misses);
}

void cmd_name_lower(const struct cmd_row *row, struct kv_buf *out)
{
    for (const char *p = row->name; *p != '\0'; p++) {
        kv_buf_byte(out, (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
    }
}

void cmd_stats_write_commands(struct kv_buf *out)
{
    for (unsigned i = 0; i < cmd_count(); i++) {
        const struct stats_row *row = &stats_rows[i];
        const uint64_t calls = stats_read(&row->calls);
        const uint64_t usec = stats_read(&row->ns) / 1000;
        const uint64_t rejected = stats_read(&row->rejected);

        if (calls == 0 && rejected == 0) {
            continue;
        }
        kv_buf_text(out, "cmdstat_");
        cmd_name_lower(cmd_at(i), out);
        kv_buf_printf(out,
                      ":calls=%llu,usec=%llu,usec_per_call=%.2f,"
                      "rejected_calls=%llu,failed_calls=%llu\r\n",
                      (unsigned long long)calls, (unsigned long long)usec,
                      calls == 0 ? 0.0 : (double)usec / (double)calls,
                      (unsigned long long)rejected,
                      (unsigned long long)stats_read(&row->failed));
    }
}

void cmd_stats_write_errors(struct kv_buf *out)
{
    const unsigned used = atomic_load(&stats_errors_used);

    for (unsigned i = 0; i < used; i++) {
        kv_buf_printf(out, "errorstat_%s:count=%llu\r\n",
                      stats_errors[i].prefix,
                      (unsigned long long)atomic_load_explicit(
                          &stats_errors[i].count, memory_order_relaxed));
    }
}

/* ---- facts of the store -------------------------------------------------- */

void cmd_info_get(const struct cmd_context *c, struct kv_info *info)
{
    if (c->txn == NULL) {
        kv_info_get(c->db, info);
    } else {
        kv_info_get_in(c->txn, info);
    }
}

/* ---- sampling ------------------------------------------------------------ */

uint64_t cmd_stats_memory(const struct kv_info *info)
{
    return info->memory_data + info->memory_retired + info->memory_undo +
           info->memory_views + info->memory_wal + info->memory_clients +
           info->memory_misc;
}

uint64_t cmd_stats_peak(uint64_t used)
{
    uint64_t peak = atomic_load(&stats_memory_peak);

    while (used > peak && !atomic_compare_exchange_weak(&stats_memory_peak,
                                                        &peak, used)) {
    }
    return used > peak ? used : peak;
}

/* One more sample of a rate: the mean of the last ones is what is shown. */
static void stats_sample_rate(enum cmd_rate rate, uint64_t now, uint64_t *last,
                              uint64_t ns)
{
    uint64_t sum = 0;

    /* RESETSTAT may have put the counter back. */
    stats_samples[rate][stats_sample_next] =
        now >= *last ? (uint64_t)((double)(now - *last) * 1e9 / (double)ns)
                     : 0;
    *last = now;
    for (unsigned i = 0; i < STATS_SAMPLES; i++) {
        sum += stats_samples[rate][i];
    }
    atomic_store(&stats_rates[rate], sum / STATS_SAMPLES);
}

void cmd_stats_sample(kvsql *db)
{
    const uint64_t now = kv_os_mono_ns(), ns = now - stats_last.at_ns;
    struct kv_info info;

    if (stats_last.at_ns != 0 && ns > 0) {
        stats_sample_rate(CMD_RATE_CALLS, cmd_stats_calls(),
                          &stats_last.calls, ns);
        stats_sample_rate(CMD_RATE_NET_IN, cmd_stat_get(CMD_STAT_NET_IN),
                          &stats_last.net_in, ns);
        stats_sample_rate(CMD_RATE_NET_OUT, cmd_stat_get(CMD_STAT_NET_OUT),
                          &stats_last.net_out, ns);
        stats_sample_next = (stats_sample_next + 1) % STATS_SAMPLES;
    }
    stats_last.at_ns = now;
    if (db != NULL && stats_sample_next == 0) {
        kv_info_get(db, &info);
        (void)cmd_stats_peak(cmd_stats_memory(&info));
    }
}

uint64_t cmd_stats_rate(enum cmd_rate rate)
{
    return atomic_load(&stats_rates[rate]);
}

/* ---- loading ------------------------------------------------------------- */

uint64_t cmd_stats_left(uint64_t done, uint64_t total, uint64_t ns)
{
    if (done == 0 || total <= done)
        return 0;
    return 1 + (uint64_t)((double)ns / 1e9 * (double)(total - done) /
                          (double)done);
}

/* What is loaded and what is replayed count by themselves. */
static void stats_stage(struct cmd_loading *loading,
                        const struct kv_progress *progress, uint64_t now)
{
    const struct kv_os *os = kv_os_real();

    if (!loading->running)
        loading->started_at = os->wall_ms(os->arg) / 1000;
    if (!loading->running || loading->what != progress->what)
        stats_loading_ns = now;
    loading->running = true;
    loading->what = progress->what;
}

void cmd_stats_loading(const struct kv_progress *progress)
{
    const uint64_t now = kv_os_mono_ns();
    struct cmd_loading *loading = &stats_loading;

    kv_lock_take(&stats_lock);
    if (progress == NULL) {
        loading->running = false;
    } else {
        stats_stage(loading, progress, now);
        const uint64_t ns = now - stats_loading_ns;
        const uint64_t left =
            cmd_stats_left(progress->done, progress->total, ns);
        loading->done = progress->done;
        loading->total = progress->total;
        loading->eta_s = left == 0 ? 1 : left;
        loading->per_s = ns == 0 ? 0
                                 : (uint64_t)((double)progress->done * 1e9 /
                                              (double)ns);
    }
    kv_lock_drop(&stats_lock);
}

void cmd_stats_loading_get(struct cmd_loading *loading)
{
    kv_lock_take(&stats_lock);
    *loading = stats_loading;
    kv_lock_drop(&stats_lock);
}

void cmd_stats_reset(void)
{
    const unsigned used = atomic_load(&stats_errors_used);

    for (unsigned i = 0; i < cmd_count(); i++) {
        struct stats_row *row = &stats_rows[i];

        stats_zero(&row->calls);
        stats_zero(&row->ns);
        stats_zero(&row->failed);
        stats_zero(&row->rejected);
    }
    for (unsigned i = 0; i < used; i++) {
        atomic_store(&stats_errors[i].count, 0);
    }
    stats_zero(&stats_error_count);
    stats_zero(&stats_hits);
    stats_zero(&stats_misses);
    for (unsigned i = 0; i < CMD_STAT_COUNT; i++) {
        atomic_store(&stats_counters[i], 0);
    }
    cmd_latency_reset_histograms();
    atomic_store(&stats_memory_peak, 0);
}
