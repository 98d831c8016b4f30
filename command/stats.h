/* stats.h - what the doors count for INFO, and what they tell of themselves.
 *
 * Counters only grow (until CONFIG RESETSTAT); gauges go up and down with what
 * they count. All are relaxed atomics: cheap enough for every packet.
 *
 * Thread: any. */
#ifndef KVSQL_COMMAND_STATS_H
#define KVSQL_COMMAND_STATS_H

#include <stdint.h>

#include "kvsql/admin.h"
#include "kvsql/inside.h"

enum cmd_stat {
    CMD_STAT_CONNECTIONS,    /* accepted, of the Redis protocol */
    CMD_STAT_REJECTED,       /* refused: maxclients */
    CMD_STAT_NET_IN,         /* bytes */
    CMD_STAT_NET_OUT,
    CMD_STAT_READS,          /* calls that read from a connection */
    CMD_STAT_WRITES,
    CMD_STAT_HTTP_REQUESTS,
    CMD_STAT_COUNT
};
KV_INTERNAL void cmd_stat_add(enum cmd_stat stat, uint64_t n);
KV_INTERNAL uint64_t cmd_stat_get(enum cmd_stat stat);

enum cmd_gauge {
    CMD_GAUGE_BLOCKED,         /* clients that wait in BLPOP and its kin */
    CMD_GAUGE_TRACKING,        /* clients with CLIENT TRACKING on */
    CMD_GAUGE_PUBSUB_CLIENTS,
    CMD_GAUGE_PUBSUB_CHANNELS, /* channels with a subscriber */
    CMD_GAUGE_PUBSUB_PATTERNS,
    CMD_GAUGE_PUBSUB_SHARDS,
    CMD_GAUGE_HTTP_CONNECTIONS,
    CMD_GAUGE_SQL_RUNNING,
    CMD_GAUGE_COUNT
};
KV_INTERNAL void cmd_gauge_add(enum cmd_gauge gauge, int64_t n);
KV_INTERNAL int64_t cmd_gauge_get(enum cmd_gauge gauge);

/* Rates of the last 1.6 seconds: somebody calls cmd_stats_sample() every
 * CMD_SAMPLE_MS. `db` may be NULL. */
#define CMD_SAMPLE_MS 100
enum cmd_rate { CMD_RATE_CALLS, CMD_RATE_NET_IN, CMD_RATE_NET_OUT,
                CMD_RATE_COUNT };
KV_INTERNAL void cmd_stats_sample(kvsql *db);
/* A second. */
KV_INTERNAL uint64_t cmd_stats_rate(enum cmd_rate rate);
/* The most memory that was ever seen in use, `used` now included. */
KV_INTERNAL uint64_t cmd_stats_peak(uint64_t used);
/* All memory in use, as INFO counts it. */
KV_INTERNAL uint64_t cmd_stats_memory(const struct kv_info *info);

/* Seconds that the rest may take when `done` took `ns`; 0 not known. */
KV_INTERNAL uint64_t cmd_stats_left(uint64_t done, uint64_t total, uint64_t ns);

/* How far the start is, for INFO; NULL: it is over. */
KV_INTERNAL void cmd_stats_loading(const struct kv_progress *progress);
struct cmd_loading {
    bool running;
    const char *what;   /* of kv_progress: "load" counts keys, "replay" bytes */
    int64_t started_at; /* wall s */
    uint64_t done, total, eta_s, per_s;
};
KV_INTERNAL void cmd_stats_loading_get(struct cmd_loading *loading);

/* ---- slow commands (slowlog.c, latency.c) ------------------------------------- */

/* Who runs the commands of this thread from now on, for SLOWLOG; borrowed
 * until the next call. NULL: nobody that has an address. */
KV_INTERNAL void cmd_slowlog_origin(const char *addr, const char *name);
/* slowlog-log-slower-than in microseconds (negative: none), slowlog-max-len. */
KV_INTERNAL void cmd_slowlog_limits(int64_t slower_us, uint64_t length_max);
/* Forget all entries and free what they hold. */
KV_INTERNAL void cmd_slowlog_clear(void);
struct cmd_context;
/* Whether argument `index` is shown to nobody: passwords, and a statement about
 * the table config, which sets them. */
KV_INTERNAL bool cmd_is_secret(const struct cmd_context *c, unsigned index);
/* Who runs it: its client's address or the thread's origin; may be NULL. */
KV_INTERNAL const char *cmd_slowlog_addr(const struct cmd_context *c);

/* latency-monitor-threshold in ms (0: none), latency-tracking. */
KV_INTERNAL void cmd_latency_limits(uint64_t threshold_ms, bool tracking);
/* latency-tracking-info-percentiles: numbers with blanks between, checked. */
KV_INTERNAL void cmd_latency_percentiles(const char *text);
KV_INTERNAL uint64_t cmd_latency_threshold_ns(void);
/* What the store measures: for kv_set_latency(). */
KV_INTERNAL void cmd_latency_store(enum kv_latency what, uint64_t ns);
/* Something took `ms`; kept when the threshold says so. `event` is one of a
 * few constant names. */
KV_INTERNAL void cmd_latency_event(const char *event, uint64_t ms);

#endif
