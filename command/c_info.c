/* c_info.c - INFO: the state of the server as `name:value` lines.
 *
 * Names are those that clients and monitors of Redis parse, then our own; a
 * fact that we do not have has no line. Nothing here walks over keys.
 *
 * Thread: any. */
#include "command/context.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

#define INFO_SIZE_MAX ((size_t)256 << 10)
/* What we claim to be to clients that look; our own is KVSQL_VERSION. */
#define INFO_REDIS_VERSION "7.2.4"

struct info_facts {
    struct kv_info kv;
    int64_t now; /* wall ms */
    uint64_t memory_used, memory_rss;
    struct kv_buf out;
};

#define INFO_U(value) ((unsigned long long)(value))

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

/* Commands a second, over the time since a question at least one second
 * ago. */
static uint64_t info_ops_per_second(void)
{
    static _Atomic uint64_t sampled_ns, sampled_calls, rate;
    const uint64_t now = kv_os_mono_ns(), calls = cmd_stats_calls();
    uint64_t then = atomic_load(&sampled_ns);

    if (now - then >= UINT64_C(1000000000) &&
        atomic_compare_exchange_strong(&sampled_ns, &then, now)) {
        const uint64_t before = atomic_exchange(&sampled_calls, calls);

        if (then != 0) {
            atomic_store(&rate, (uint64_t)((double)(calls - before) * 1e9 /
                                           (double)(now - then)));
        }
    }
    return atomic_load(&rate);
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
                  "redis_mode:standalone\r\n");
    if (uname(&name) == 0) {
        kv_buf_printf(&f->out, "os:%s %s %s\r\n", name.sysname, name.release,
                      name.machine);
    }
    kv_buf_printf(&f->out,
                  "arch_bits:%u\r\nprocess_id:%d\r\nrun_id:%.32s%.8s\r\n"
                  "tcp_port:%u\r\nhttp_port:%u\r\n"
                  "uptime_in_seconds:%lld\r\nuptime_in_days:%lld\r\n"
                  "hz:10\r\nexecutable:%s\r\nconfig_file:%s\r\n"
                  "kvsql_version:" KVSQL_VERSION "\r\n",
                  (unsigned)(sizeof(void *) * 8), kv_os_pid(),
                  f->kv.store_id, f->kv.start_id, host->port, host->http_port,
                  (long long)up_s, (long long)(up_s / 86400),
                  host->executable != NULL ? host->executable : "",
                  host->config_file != NULL ? host->config_file : "");
}

static void info_memory(struct info_facts *f)
{
    kv_buf_printf(&f->out, "used_memory:%llu\r\n", INFO_U(f->memory_used));
    info_human(&f->out, "used_memory_human", f->memory_used);
    if (f->memory_rss != 0) {
        kv_buf_printf(&f->out, "used_memory_rss:%llu\r\n",
                      INFO_U(f->memory_rss));
        info_human(&f->out, "used_memory_rss_human", f->memory_rss);
        kv_buf_printf(&f->out, "mem_fragmentation_ratio:%.2f\r\n",
                      f->memory_used == 0 ? 0.0
                                          : (double)f->memory_rss /
                                                (double)f->memory_used);
    }
    kv_buf_printf(&f->out,
                  "used_memory_dataset:%llu\r\n"
                  "total_system_memory:%llu\r\n"
                  "maxmemory:%llu\r\nmaxmemory_policy:noeviction\r\n"
                  "mem_allocator:libc\r\n"
                  "memory_retired:%llu\r\nmemory_undo:%llu\r\n"
                  "memory_wal:%llu\r\nview_count:%llu\r\n"
                  "view_retained_bytes:%llu\r\nview_oldest_ms:%llu\r\n",
                  INFO_U(f->kv.memory_data),
                  INFO_U((uint64_t)sysconf(_SC_PHYS_PAGES) *
                         (uint64_t)sysconf(_SC_PAGESIZE)),
                  INFO_U(f->kv.memory_max), INFO_U(f->kv.memory_retired),
                  INFO_U(f->kv.memory_undo), INFO_U(f->kv.memory_wal),
                  INFO_U(f->kv.views), INFO_U(f->kv.memory_views),
                  INFO_U(f->kv.views_oldest_ms));
}

static void info_persistence(struct info_facts *f)
{
    const bool files = f->kv.dir[0] != '\0';

    kv_buf_printf(&f->out,
                  "loading:0\r\nasync_loading:0\r\n"
                  "rdb_changes_since_last_save:%llu\r\n"
                  "rdb_bgsave_in_progress:%d\r\n"
                  "rdb_last_save_time:%lld\r\n"
                  "rdb_last_bgsave_status:%s\r\n"
                  "rdb_last_bgsave_time_sec:%lld\r\n"
                  "aof_enabled:%d\r\naof_rewrite_in_progress:0\r\n"
                  "aof_last_write_status:%s\r\n"
                  "wal_position:%llu\r\nwal_durable_position:%llu\r\n"
                  "wal_policy:%s\r\nwal_state:%s\r\nwal_segments:%llu\r\n"
                  "wal_size:%llu\r\nwal_syncs:%llu\r\n"
                  "snapshot_position:%llu\r\nsnapshot_count:%llu\r\n",
                  INFO_U(f->kv.position - f->kv.snapshot_position),
                  f->kv.snapshot_running, (long long)f->kv.snapshot_at / 1000,
                  f->kv.snapshot_last_ok || f->kv.snapshot_count == 0 ? "ok"
                                                                      : "err",
                  f->kv.snapshot_count == 0
                      ? -1LL
                      : (long long)f->kv.snapshot_ms / 1000,
                  files, strcmp(f->kv.wal_state, "ok") == 0 ? "ok" : "err",
                  INFO_U(f->kv.position), INFO_U(f->kv.durable),
                  f->kv.wal_policy, f->kv.wal_state,
                  INFO_U(f->kv.wal_segments), INFO_U(f->kv.wal_size),
                  INFO_U(f->kv.wal_syncs), INFO_U(f->kv.snapshot_position),
                  INFO_U(f->kv.snapshot_count));
}

static void info_stats(struct info_facts *f)
{
    kv_buf_printf(&f->out,
                  "total_commands_processed:%llu\r\n"
                  "instantaneous_ops_per_sec:%llu\r\n"
                  "expired_keys:%llu\r\nevicted_keys:0\r\n"
                  "keyspace_hits:%llu\r\nkeyspace_misses:%llu\r\n"
                  "total_error_replies:%llu\r\nexpired_fields:%llu\r\n"
                  "commits:%llu\r\nops:%llu\r\n",
                  INFO_U(cmd_stats_calls()), INFO_U(info_ops_per_second()),
                  INFO_U(f->kv.expired_keys), INFO_U(cmd_stats_hits()),
                  INFO_U(cmd_stats_misses()), INFO_U(cmd_stats_errors()),
                  INFO_U(f->kv.expired_fields), INFO_U(f->kv.commits),
                  INFO_U(f->kv.ops));
}

static void info_replication(struct info_facts *f)
{
    kv_buf_printf(&f->out,
                  "role:master\r\nconnected_slaves:0\r\n"
                  "master_replid:%.32s%.8s\r\nmaster_repl_offset:%llu\r\n",
                  f->kv.store_id, f->kv.start_id, INFO_U(f->kv.position));
}

static void info_cpu(struct info_facts *f)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return;
    }
    kv_buf_printf(&f->out,
                  "used_cpu_sys:%lld.%06lld\r\nused_cpu_user:%lld.%06lld\r\n",
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
    {"MEMORY", "Memory", info_memory, true},
    {"PERSISTENCE", "Persistence", info_persistence, true},
    {"STATS", "Stats", info_stats, true},
    {"REPLICATION", "Replication", info_replication, true},
    {"CPU", "CPU", info_cpu, true},
    {"MODULES", "Modules", info_modules, true},
    {"COMMANDSTATS", "Commandstats", info_commandstats, false},
    {"ERRORSTATS", "Errorstats", info_errorstats, true},
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

void cmd_do_info(struct cmd_context *c)
{
    struct info_facts f;

    kv_info_get(c->db, &f.kv);
    f.now = kv_now(c->db);
    f.memory_used = f.kv.memory_data + f.kv.memory_retired +
                    f.kv.memory_undo + f.kv.memory_views + f.kv.memory_wal +
                    f.kv.memory_clients + f.kv.memory_misc;
    f.memory_rss = info_rss();
    kv_buf_init(&f.out, KV_MEM_CLIENT, INFO_SIZE_MAX);
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
