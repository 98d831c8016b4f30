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

#include "kvsql/base/lock.h"

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
static struct kv_lock stats_errors_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                           .rank = KV_RANK_COMMAND};

static struct stats_counter stats_error_count, stats_hits, stats_misses;

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
    if (failed) {
        stats_add(&row->failed, 1, held);
    }
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

    kv_lock_take(&stats_errors_lock);
    slot = stats_error_find(prefix, size);
    if (slot == NULL && stats_errors_used < STATS_ERRORS_MAX) {
        slot = &stats_errors[stats_errors_used];
        memcpy(slot->prefix, prefix, size);
        atomic_fetch_add(&stats_errors_used, 1); /* publishes the prefix */
    }
    kv_lock_drop(&stats_errors_lock);
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
        for (const char *p = cmd_at(i)->name; *p != '\0'; p++) {
            kv_buf_byte(out, (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
        }
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
}
