/* c_info.c - INFO: the state of the server as `name:value` lines.
 *
 * Names are those that clients and monitors of Redis parse, then our own; a
 * fact that we do not have has no line. Nothing here walks over keys.
 *
 * Thread: any. */
#include "command/client.h"
#include "command/context.h"
#include "command/jobs.h"
#include "command/track.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "kvsql/admin.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"
#include "vtab/session.h"

#define INFO_SIZE_MAX ((size_t)256 << 10)
/* What we claim to be to clients that look; our own is KVSQL_VERSION. */
#define INFO_REDIS_VERSION "7.2.4"

struct info_facts {
    struct kv_info kv;
    int64_t now; /* wall ms */
    uint64_t memory_used, memory_rss;
    char id[41];  /* 40 hex digits */
    bool loading; /* there is no store yet: kv is empty */
    struct kv_buf out;
};

#define INFO_U(value) ((unsigned long long)(value))
#define INFO_G(gauge) ((long long)cmd_gauge_get(gauge))

static _Atomic uint64_t info_clients_max;

void cmd_clients_max_set(uint64_t count)
{
    atomic_store_explicit(&info_clients_max, count, memory_order_relaxed);
}

static double info_percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : 100 * (double)part / (double)whole;
}

/* Resident bytes of the process, from Linux's /proc; 0 = not to be had. */
static uint64_t info_rss(void)
{
    const struct kv_os *os = kv_os_real();
    char text[128];
    const char *blank;
    uint64_t pages = 0;
    int dir, file;
    int64_t size;

    if (os->dir_open(os->arg, "/proc/self", false, &dir) < 0) {
        return 0;
    }
    if (os->open(os->arg, dir, "statm", KV_OS_READ, &file) >= 0) {
        size = os->read_at(os->arg, file, text, sizeof(text) - 1, 0);
        text[size > 0 ? size : 0] = '\0';
        blank = strchr(text, ' ');
        if (blank != NULL) {
            const size_t rest = strcspn(blank + 1, " ");

            (void)kv_num_uint(blank + 1, rest, &pages);
        }
        os->close(os->arg, file);
    }
    os->dir_close(os->arg, dir);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A size for people: "1.50M". */
static void info_human(struct kv_buf *out, const char *name, uint64_t bytes)
{
    static const char units[] = "BKMGTP";
    double value = (double)bytes;
    unsigned unit = 0;

    while (value >= 1024 && units[unit + 1] != '\0') {
        value /= 1024;
        unit++;
    }
    kv_buf_printf(out, unit == 0 ? "%s:%.0f%c\r\n" : "%s:%.2f%c\r\n", name,
                  value, units[unit]);
}

/* ---- sections ----------------------------------------------------------- */

static void info_server(struct info_facts *f)
{
    const struct cmd_host *host = cmd_host_get();
    const int64_t up_s =
        host->started_at != 0 ? (f->now - host->started_at) / 1000 : 0;
    struct utsname name;

    kv_buf_printf(&f->out,
                  "redis_version:" INFO_REDIS_VERSION "\r\n"
                  "redis_git_sha1:00000000\r\nredis_git_dirty:0\r\n"
                  "redis_mode:standalone\r\n");
    if (uname(&name) == 0) {
        kv_buf_printf(&f->out, "os:%s %s %s\r\n", name.sysname, name.release,
                      name.machine);
    }
    kv_buf_printf(&f->out,
                  "arch_bits:%u\r\nmultiplexing_api:epoll\r\n"
                  "process_id:%d\r\nprocess_supervised:no\r\n"
                  "run_id:%s\r\ntcp_port:%u\r\nhttp_port:%u\r\n"
                  "server_time_usec:%lld\r\n"
                  "uptime_in_seconds:%lld\r\nuptime_in_days:%lld\r\n"
                  "hz:10\r\nconfigured_hz:10\r\nexecutable:%s\r\n"
                  "config_file:%s\r\nio_threads_active:0\r\n"
                  "kvsql_version:" KVSQL_VERSION "\r\nsqlite_version:%s\r\n",
                  (unsigned)(sizeof(void *) * 8), kv_os_pid(), f->id,
                  cmd_host_port(), host->http_port,
                  (long long)f->now * 1000, (long long)up_s,
                  (long long)(up_s / 86400),
                  host->executable != NULL ? host->executable : "",
                  host->config_file != NULL ? host->config_file : "",
                  host->sqlite_version != NULL ? host->sqlite_version : "");
}

static void info_clients(struct info_facts *f)
{
    kv_buf_printf(&f->out,
                  "connected_clients:%u\r\ncluster_connections:0\r\n"
                  "maxclients:%llu\r\nblocked_clients:%lld\r\n"
                  "tracking_clients:%lld\r\npubsub_clients:%lld\r\n"
                  "clients_in_timeout_table:0\r\n"
                  "http_connections:%lld\r\nsql_queries_running:%lld\r\n",
                  cmd_client_count(),
                  INFO_U(atomic_load_explicit(&info_clients_max,
                                              memory_order_relaxed)),
                  INFO_G(CMD_GAUGE_BLOCKED), INFO_G(CMD_GAUGE_TRACKING),
                  INFO_G(CMD_GAUGE_PUBSUB_CLIENTS),
                  INFO_G(CMD_GAUGE_HTTP_CONNECTIONS),
                  INFO_G(CMD_GAUGE_SQL_RUNNING));
}

static void info_memory(struct info_facts *f)
{
    const uint64_t peak = cmd_stats_peak(f->memory_used);
    const uint64_t system = (uint64_t)sysconf(_SC_PHYS_PAGES) *
                            (uint64_t)sysconf(_SC_PAGESIZE);

    kv_buf_printf(&f->out, "used_memory:%llu\r\n", INFO_U(f->memory_used));
    info_human(&f->out, "used_memory_human", f->memory_used);
    if (f->memory_rss != 0) {
        kv_buf_printf(&f->out, "used_memory_rss:%llu\r\n",
                      INFO_U(f->memory_rss));
        info_human(&f->out, "used_memory_rss_human", f->memory_rss);
        kv_buf_printf(&f->out, "mem_fragmentation_bytes:%lld\r\n",
                      (long long)f->memory_rss - (long long)f->memory_used);
        kv_buf_printf(&f->out, "mem_fragmentation_ratio:%.2f\r\n",
                      f->memory_used == 0 ? 0.0
                                          : (double)f->memory_rss /
                                                (double)f->memory_used);
    }
    kv_buf_printf(&f->out, "used_memory_peak:%llu\r\n", INFO_U(peak));
    info_human(&f->out, "used_memory_peak_human", peak);
    info_human(&f->out, "maxmemory_human", f->kv.memory_max);
    info_human(&f->out, "total_system_memory_human", system);
    kv_buf_printf(&f->out,
                  "used_memory_peak_perc:%.2f%%\r\n"
                  "used_memory_overhead:%llu\r\n"
                  "used_memory_startup:0\r\n"
                  "used_memory_dataset:%llu\r\n"
                  "used_memory_dataset_perc:%.2f%%\r\n"
                  "total_system_memory:%llu\r\n"
                  "maxmemory:%llu\r\nmaxmemory_policy:%s\r\n"
                  "used_memory_lua:0\r\nused_memory_scripts:0\r\n"
                  "number_of_cached_scripts:0\r\n"
                  "number_of_functions:0\r\nnumber_of_libraries:0\r\n"
                  "mem_not_counted_for_evict:%llu\r\n"
                  "mem_clients_slaves:0\r\nmem_clients_normal:%llu\r\n"
                  "mem_aof_buffer:%llu\r\nmem_allocator:libc\r\n"
                  "active_defrag_running:0\r\nlazyfree_pending_objects:0\r\n"
                  "lazyfreed_objects:0\r\n"
                  "memory_retired:%llu\r\nmemory_undo:%llu\r\n"
                  "memory_wal:%llu\r\nview_count:%llu\r\n"
                  "view_retained_bytes:%llu\r\nview_oldest_ms:%llu\r\n"
                  "views_ended:%llu\r\n",
                  info_percent(f->memory_used, peak),
                  INFO_U(f->memory_used - f->kv.memory_data),
                  INFO_U(f->kv.memory_data),
                  info_percent(f->kv.memory_data, f->memory_used),
                  INFO_U(system), INFO_U(f->kv.memory_max),
                  f->kv.maxmemory_policy, INFO_U(f->kv.memory_wal),
                  INFO_U(f->kv.memory_clients), INFO_U(f->kv.memory_wal),
                  INFO_U(f->kv.memory_retired),
                  INFO_U(f->kv.memory_undo), INFO_U(f->kv.memory_wal),
                  INFO_U(f->kv.views), INFO_U(f->kv.views_retained),
                  INFO_U(f->kv.views_oldest_ms), INFO_U(f->kv.views_ended));
}

static void info_loading(struct info_facts *f)
{
    struct cmd_loading loading;

    cmd_stats_loading_get(&loading);
    kv_buf_printf(&f->out,
                  "loading:1\r\nasync_loading:0\r\n"
                  "rdb_changes_since_last_save:0\r\n"
                  "rdb_bgsave_in_progress:0\r\naof_enabled:1\r\n"
                  "aof_rewrite_in_progress:0\r\n"
                  "loading_start_time:%lld\r\nloading_total_bytes:%llu\r\n"
                  "loading_loaded_bytes:%llu\r\nloading_loaded_perc:%.2f\r\n"
                  "loading_eta_seconds:%llu\r\n"
                  "loading_stage:%s\r\nloading_per_sec:%llu\r\n",
                  (long long)loading.started_at, INFO_U(loading.total),
                  INFO_U(loading.done),
                  info_percent(loading.done, loading.total),
                  INFO_U(loading.running ? loading.eta_s : 1),
                  loading.running ? loading.what : "begin",
                  INFO_U(loading.running ? loading.per_s : 0));
}

static void info_jobs(struct info_facts *f, enum cmd_job_kind kind,
                      const char *name, const char *what)
{
    struct cmd_jobs jobs;

    cmd_jobs_get(kind, &jobs);
    kv_buf_printf(&f->out,
                  "%ss_running:%llu\r\n%s_%s_processed:%llu\r\n"
                  "%s_%s_total:%llu\r\n%s_per_sec:%llu\r\n"
                  "%s_eta_seconds:%llu\r\n",
                  name, INFO_U(jobs.running), name, what, INFO_U(jobs.done),
                  name, what, INFO_U(jobs.total), name, INFO_U(jobs.per_s),
                  name, INFO_U(jobs.left_s));
}

static void info_persistence(struct info_facts *f)
{
    const bool files = f->kv.dir != NULL && f->kv.dir[0] != '\0';

    if (f->loading) {
        info_loading(f);
        return;
    }
    kv_buf_printf(&f->out,
                  "loading:0\r\nasync_loading:0\r\n"
                  "rdb_changes_since_last_save:%llu\r\n"
                  "rdb_bgsave_in_progress:%d\r\n"
                  "rdb_last_save_time:%lld\r\n"
                  "rdb_last_bgsave_status:%s\r\n"
                  "rdb_last_bgsave_time_sec:%lld\r\n"
                  "rdb_current_bgsave_time_sec:%lld\r\nrdb_saves:%llu\r\n"
                  "aof_enabled:%d\r\naof_rewrite_in_progress:0\r\n"
                  "aof_rewrite_scheduled:0\r\naof_last_rewrite_time_sec:-1\r\n"
                  "aof_current_rewrite_time_sec:-1\r\n"
                  "aof_last_bgrewrite_status:ok\r\n"
                  "rdb_last_cow_size:0\r\naof_last_cow_size:0\r\n"
                  "module_fork_in_progress:0\r\n"
                  "module_fork_last_cow_size:0\r\n"
                  "aof_last_write_status:%s\r\n"
                  "wal_position:%llu\r\nwal_durable_position:%llu\r\n"
                  "wal_policy:%s\r\nwal_state:%s\r\nwal_segments:%llu\r\n"
                  "wal_size:%llu\r\nwal_syncs:%llu\r\n"
                  "snapshot_position:%llu\r\nsnapshot_count:%llu\r\n"
                  "current_save_keys_processed:%llu\r\n"
                  "current_save_keys_total:%llu\r\n"
                  "current_save_eta_seconds:%llu\r\n"
                  "current_save_per_sec:%llu\r\n",
                  INFO_U(f->kv.position - f->kv.snapshot_position),
                  f->kv.snapshot_running,
                  (long long)(f->kv.snapshot_at != 0
                                  ? f->kv.snapshot_at
                                  : cmd_host_get()->started_at) /
                      1000,
                  f->kv.snapshot_last_ok || f->kv.snapshot_count == 0 ? "ok"
                                                                      : "err",
                  f->kv.snapshot_count == 0
                      ? -1LL
                      : (long long)f->kv.snapshot_ms / 1000,
                  f->kv.snapshot_running
                      ? (long long)f->kv.snapshot_running_ms / 1000
                      : -1LL,
                  INFO_U(f->kv.snapshot_count), files, strcmp(f->kv.wal_state, "ok") == 0 ? "ok" : "err",
                  INFO_U(f->kv.position), INFO_U(f->kv.durable),
                  f->kv.wal_policy, f->kv.wal_state,
                  INFO_U(f->kv.wal_segments), INFO_U(f->kv.wal_size),
                  INFO_U(f->kv.wal_syncs), INFO_U(f->kv.snapshot_position),
                  INFO_U(f->kv.snapshot_count), INFO_U(f->kv.snapshot_done),
                  INFO_U(f->kv.snapshot_total),
                  INFO_U(cmd_stats_left(f->kv.snapshot_done,
                                        f->kv.snapshot_total,
                                        f->kv.snapshot_running_ms * 1000000)),
                  INFO_U(f->kv.snapshot_running_ms == 0
                             ? 0
                             : f->kv.snapshot_done * 1000 /
                                   f->kv.snapshot_running_ms));
    info_jobs(f, CMD_JOB_EXPORT, "export", "keys");
    info_jobs(f, CMD_JOB_IMPORT, "import", "bytes");
}

/* Counters of the store go on over CONFIG RESETSTAT: what they were then. */
static _Atomic uint64_t info_expired_before, info_fields_before,
    info_statements_before, info_evicted_before;

void cmd_info_reset(const struct kv_info *info)
{
    info_expired_before = info->expired_keys;
    info_fields_before = info->expired_fields;
    info_statements_before = vt_statement_count();
    info_evicted_before = info->evicted_keys;
}

static void info_stats(struct info_facts *f)
{
    const struct cmd_track_totals tracked = cmd_track_totals_get();

    kv_buf_printf(
        &f->out,
        "total_connections_received:%llu\r\n"
        "total_commands_processed:%llu\r\n"
        "instantaneous_ops_per_sec:%llu\r\n"
        "total_net_input_bytes:%llu\r\ntotal_net_output_bytes:%llu\r\n"
        "instantaneous_input_kbps:%.2f\r\n"
        "instantaneous_output_kbps:%.2f\r\n"
        "rejected_connections:%llu\r\nsync_full:0\r\nsync_partial_ok:0\r\n"
        "sync_partial_err:0\r\nexpired_keys:%llu\r\n"
        "expired_stale_perc:0.00\r\nexpired_time_cap_reached_count:0\r\n"
        "evicted_keys:%llu\r\nevicted_clients:0\r\n"
        "keyspace_hits:%llu\r\nkeyspace_misses:%llu\r\n",
        INFO_U(cmd_stat_get(CMD_STAT_CONNECTIONS)), INFO_U(cmd_stats_calls()),
        INFO_U(cmd_stats_rate(CMD_RATE_CALLS)),
        INFO_U(cmd_stat_get(CMD_STAT_NET_IN)),
        INFO_U(cmd_stat_get(CMD_STAT_NET_OUT)),
        (double)cmd_stats_rate(CMD_RATE_NET_IN) / 1024,
        (double)cmd_stats_rate(CMD_RATE_NET_OUT) / 1024,
        INFO_U(cmd_stat_get(CMD_STAT_REJECTED)),
        INFO_U(f->kv.expired_keys - info_expired_before),
        INFO_U(f->kv.evicted_keys - info_evicted_before),
        INFO_U(cmd_stats_hits()), INFO_U(cmd_stats_misses()));
    kv_buf_printf(
        &f->out,
        "pubsub_channels:%lld\r\npubsub_patterns:%lld\r\n"
        "pubsubshard_channels:%lld\r\nlatest_fork_usec:0\r\n"
        "total_forks:0\r\nmigrate_cached_sockets:0\r\n"
        "slave_expires_tracked_keys:0\r\nactive_defrag_hits:0\r\n"
        "active_defrag_misses:0\r\nactive_defrag_key_hits:0\r\n"
        "active_defrag_key_misses:0\r\ntracking_total_keys:%llu\r\n"
        "tracking_total_items:%llu\r\ntracking_total_prefixes:%llu\r\n"
        "unexpected_error_replies:0\r\ntotal_error_replies:%llu\r\n"
        "dump_payload_sanitizations:0\r\ntotal_reads_processed:%llu\r\n"
        "total_writes_processed:%llu\r\nio_threaded_reads_processed:0\r\n"
        "io_threaded_writes_processed:0\r\nexpired_fields:%llu\r\n"
        "commits:%llu\r\nops:%llu\r\nhttp_requests_total:%llu\r\n"
        "sql_statements_total:%llu\r\n",
        INFO_G(CMD_GAUGE_PUBSUB_CHANNELS), INFO_G(CMD_GAUGE_PUBSUB_PATTERNS),
        INFO_G(CMD_GAUGE_PUBSUB_SHARDS), INFO_U(tracked.keys),
        INFO_U(tracked.items), INFO_U(tracked.prefixes),
        INFO_U(cmd_stats_errors()),
        INFO_U(cmd_stat_get(CMD_STAT_READS)),
        INFO_U(cmd_stat_get(CMD_STAT_WRITES)),
        INFO_U(f->kv.expired_fields - info_fields_before),
        INFO_U(f->kv.commits), INFO_U(f->kv.ops),
        INFO_U(cmd_stat_get(CMD_STAT_HTTP_REQUESTS)),
        INFO_U(vt_statement_count() - info_statements_before));
}

static void info_replication(struct info_facts *f)
{
    kv_buf_printf(&f->out,
                  "role:master\r\nconnected_slaves:0\r\n"
                  "master_failover_state:no-failover\r\n"
                  "master_replid:%s\r\nmaster_replid2:%040d\r\n"
                  "master_repl_offset:%llu\r\nsecond_repl_offset:-1\r\n"
                  "repl_backlog_active:0\r\nrepl_backlog_size:0\r\n"
                  "repl_backlog_first_byte_offset:0\r\n"
                  "repl_backlog_histlen:0\r\n",
                  f->id, 0, INFO_U(f->kv.position));
}

static void info_cpu(struct info_facts *f)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return;
    }
    kv_buf_printf(&f->out,
                  "used_cpu_sys:%lld.%06lld\r\nused_cpu_user:%lld.%06lld\r\n"
                  "used_cpu_sys_children:0.000000\r\n"
                  "used_cpu_user_children:0.000000\r\n",
                  (long long)usage.ru_stime.tv_sec,
                  (long long)usage.ru_stime.tv_usec,
                  (long long)usage.ru_utime.tv_sec,
                  (long long)usage.ru_utime.tv_usec);
}

static void info_modules(struct info_facts *f)
{
    (void)f; /* there are none; the section stands empty as in Redis */
}

static void info_commandstats(struct info_facts *f)
{
    cmd_stats_write_commands(&f->out);
}

static void info_latencystats(struct info_facts *f)
{
    cmd_latency_write(&f->out);
}

static void info_errorstats(struct info_facts *f)
{
    cmd_stats_write_errors(&f->out);
}

static void info_cluster(struct info_facts *f)
{
    kv_buf_text(&f->out, "cluster_enabled:0\r\n");
}

static void info_keyspace(struct info_facts *f)
{
    if (f->kv.keys > 0) {
        kv_buf_printf(&f->out, "db0:keys=%llu,expires=%llu,avg_ttl=0\r\n",
                      INFO_U(f->kv.keys), INFO_U(f->kv.keys_with_expiry));
    }
}

static const struct {
    const char *name, *title;
    void (*write)(struct info_facts *f);
    bool by_default;
} info_sections[] = {
    {"SERVER", "Server", info_server, true},
    {"CLIENTS", "Clients", info_clients, true},
    {"MEMORY", "Memory", info_memory, true},
    {"PERSISTENCE", "Persistence", info_persistence, true},
    {"STATS", "Stats", info_stats, true},
    {"REPLICATION", "Replication", info_replication, true},
    {"CPU", "CPU", info_cpu, true},
    {"MODULES", "Modules", info_modules, true},
    {"COMMANDSTATS", "Commandstats", info_commandstats, false},
    {"ERRORSTATS", "Errorstats", info_errorstats, true},
    {"LATENCYSTATS", "Latencystats", info_latencystats, false},
    {"CLUSTER", "Cluster", info_cluster, true},
    {"KEYSPACE", "Keyspace", info_keyspace, true},
};
#define INFO_SECTIONS (sizeof(info_sections) / sizeof(info_sections[0]))

static bool info_wanted(const struct cmd_context *c, unsigned section)
{
    if (c->argc == 1) {
        return info_sections[section].by_default;
    }
    for (unsigned i = 1; i < c->argc; i++) {
        if (cmd_is(c, i, "ALL") || cmd_is(c, i, "EVERYTHING") ||
            cmd_is(c, i, info_sections[section].name) ||
            (cmd_is(c, i, "DEFAULT") && info_sections[section].by_default)) {
            return true;
        }
    }
    return false;
}

static void info_facts_get(struct info_facts *f, struct cmd_context *c)
{
    const struct kv_os *os = kv_os_real();

    *f = (struct info_facts){.loading = c->db == NULL};
    if (f->loading) {
        f->now = os->wall_ms(os->arg);
    } else {
        cmd_info_get(c, &f->kv);
        f->now = kv_now(c->db);
    }
    if (f->loading) {
        memset(f->id, '0', sizeof(f->id) - 1);
    } else {
        (void)snprintf(f->id, sizeof(f->id), "%.32s%.8s", f->kv.store_id,
                       f->kv.start_id);
    }
    f->memory_used = cmd_stats_memory(&f->kv);
    f->memory_rss = info_rss();
    kv_buf_init(&f->out, KV_MEM_CLIENT, INFO_SIZE_MAX);
}

void cmd_do_info(struct cmd_context *c)
{
    struct info_facts f;

    info_facts_get(&f, c);
    for (unsigned i = 0; i < INFO_SECTIONS; i++) {
        if (info_wanted(c, i)) {
            kv_buf_printf(&f.out, "%s# %s\r\n", f.out.size > 0 ? "\r\n" : "",
                          info_sections[i].title);
            info_sections[i].write(&f);
        }
    }
    if (f.out.failed) {
        cmd_fail_nomem(c);
    } else {
        cmd_reply_verbatim(c->reply, f.out.p, f.out.size);
    }
    kv_buf_fini(&f.out);
}
