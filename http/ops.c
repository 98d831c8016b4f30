/* ops.c - what operators ask: livez, readyz, metrics.
 *
 * Metrics are Prometheus text 0.0.4. Names end in their unit, labels come from
 * closed sets, and no key of a user is ever among them.
 *
 * Thread: the event loop's; everything here is cheap. */
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "command/jobs.h"
#include "command/stats.h"
#include "http/json.h"
#include "http/request.h"
#include "kvsql/admin.h"
#include "kvsql/base/diag.h"

/* ---- health ---------------------------------------------------------------- */

enum http_next http_do_livez(struct http_request *request)
{
    http_answer(request, 200, HTTP_TYPE_JSON);
    kv_buf_text(&request->answer.body, "{\"status\":\"ok\"}");
    return HTTP_NEXT_ANSWER;
}

static void ops_loading(struct http_request *request)
{
    struct http_server *server = request->server;
    struct cmd_loading loading;
    struct kv_progress progress;

    cmd_stats_loading_get(&loading);
    kv_lock_take(&server->watch_lock);
    progress = server->progress;
    kv_lock_drop(&server->watch_lock);
    if (progress.what == NULL)
        http_refuse(request, HTTP_P_LOADING,
                    "the data directory is still being read");
    else
        http_refuse(request, HTTP_P_LOADING,
                    "%s: %llu of %llu %s, %llu a second, %llu s left",
                    progress.what, (unsigned long long)progress.done,
                    (unsigned long long)progress.total,
                    strcmp(progress.what, "load") == 0 ? "keys" : "bytes",
                    (unsigned long long)(loading.running ? loading.per_s : 0),
                    (unsigned long long)(loading.running ? loading.eta_s : 1));
}

static uint64_t ops_snapshot_left(const struct kv_info *info)
{
    return cmd_stats_left(info->snapshot_done, info->snapshot_total,
                          info->snapshot_running_ms * 1000000);
}

static void ops_ready_jobs(struct kv_buf *out, enum cmd_job_kind kind,
                           const char *name)
{
    struct cmd_jobs jobs;

    cmd_jobs_get(kind, &jobs);
    if (jobs.running > 0)
        kv_buf_printf(out,
                      ",\"%s\":{\"running\":%llu,\"done\":%llu,"
                      "\"total\":%llu,\"left_s\":%llu}",
                      name, (unsigned long long)jobs.running,
                      (unsigned long long)jobs.done,
                      (unsigned long long)jobs.total,
                      (unsigned long long)jobs.left_s);
}

enum http_next http_do_readyz(struct http_request *request)
{
    kvsql *db = atomic_load(&request->server->db);
    struct kv_info info;

    if (atomic_load(&request->server->stopping)) {
        http_refuse(request, HTTP_P_STOPPING, "the server is being stopped");
        return HTTP_NEXT_ANSWER;
    }
    if (db == NULL) {
        ops_loading(request);
        return HTTP_NEXT_ANSWER;
    }
    kv_info_get(db, &info);
    if (strcmp(info.wal_state, "ok") != 0) {
        bool full = strcmp(info.wal_state, "full") == 0;
        http_fail(request, full ? KVSQL_BUSY : KVSQL_IO,
                  full ? "the disk of the data directory is full: reads work, "
                         "writes are refused"
                       : "the wal failed: reads work, writes are refused",
                  NULL);
        return HTTP_NEXT_ANSWER;
    }
    http_answer(request, 200, HTTP_TYPE_JSON);
    kv_buf_printf(&request->answer.body,
                  "{\"status\":\"ready\",\"keys\":%llu,\"position\":%llu",
                  (unsigned long long)info.keys,
                  (unsigned long long)info.position);
    if (info.snapshot_running)
        kv_buf_printf(&request->answer.body,
                      ",\"snapshot\":{\"done\":%llu,\"total\":%llu,"
                      "\"left_s\":%llu}",
                      (unsigned long long)info.snapshot_done,
                      (unsigned long long)info.snapshot_total,
                      (unsigned long long)ops_snapshot_left(&info));
    ops_ready_jobs(&request->answer.body, CMD_JOB_EXPORT, "exports");
    ops_ready_jobs(&request->answer.body, CMD_JOB_IMPORT, "imports");
    kv_buf_byte(&request->answer.body, '}');
    return HTTP_NEXT_ANSWER;
}

/* ---- metrics ------------------------------------------------------------------ */

static const char *const ops_tiers[HTTP_TIERS] = {"command", "resource",
                                                  "sql"};

static void ops_head(struct kv_buf *out, const char *name, const char *type,
                     const char *help)
{
    kv_buf_printf(out, "# HELP kvsql_%s %s\n# TYPE kvsql_%s %s\n", name, help,
                  name, type);
}

static void ops_one(struct kv_buf *out, const char *name, const char *type,
                    const char *help, uint64_t value)
{
    ops_head(out, name, type, help);
    kv_buf_printf(out, "kvsql_%s %llu\n", name, (unsigned long long)value);
}

static void ops_store(struct kv_buf *out, const struct kv_info *info)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"keys", "gauge", "Keys in the keyspace.", info->keys},
        {"keys_with_expiry", "gauge", "Keys that have a time to live.",
         info->keys_with_expiry},
        {"position", "gauge", "Position of the last batch.", info->position},
        {"position_released", "gauge", "Position up to which replies may go.",
         info->released},
        {"position_durable", "gauge", "Position up to which the wal is synced.",
         info->durable},
        {"commits_total", "counter", "Batches committed.", info->commits},
        {"ops_total", "counter", "Changes committed.", info->ops},
        {"expired_keys_total", "counter", "Keys removed past their time.",
         info->expired_keys},
        {"evicted_keys_total", "counter", "Keys removed to stay under maxmemory.",
         info->evicted_keys},
        {"expired_fields_total", "counter", "Fields removed past their time.",
         info->expired_fields},
        {"views", "gauge", "Views that are pinned.", info->views},
        {"wal_written_bytes_total", "counter", "Bytes written to the wal.",
         info->wal_bytes},
        {"wal_writes_total", "counter", "Writes to the wal.",
         info->wal_writes},
        {"wal_syncs_total", "counter", "Syncs of the wal.", info->wal_syncs},
        {"wal_segments", "gauge", "Segments of the wal on disk.",
         info->wal_segments},
        {"wal_size_bytes", "gauge", "Size of the wal on disk.",
         info->wal_size},
        {"snapshots_total", "counter", "Snapshots written since the start.",
         info->snapshot_count},
        {"snapshot_position", "gauge", "Position of the last snapshot.",
         info->snapshot_position},
        {"snapshot_running", "gauge", "1 while a snapshot is written.",
         info->snapshot_running},
        {"snapshot_done_keys", "gauge", "Keys that it has written.",
         info->snapshot_done},
        {"snapshot_total_keys", "gauge", "Keys that it has to write.",
         info->snapshot_total},
        {"snapshot_left_seconds", "gauge",
         "Seconds that it may still take; 0 if not known.",
         ops_snapshot_left(info)},
        {"snapshot_last_ok", "gauge", "1 if the last snapshot succeeded.",
         info->snapshot_last_ok},
        {"memory_max_bytes", "gauge", "The limit maxmemory, 0 for none.",
         info->memory_max},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ops_one(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
    ops_head(out, "snapshot_timestamp_seconds", "gauge",
             "When the last snapshot was written.");
    kv_buf_printf(out, "kvsql_snapshot_timestamp_seconds %lld.%03lld\n",
                  (long long)(info->snapshot_at / 1000),
                  (long long)(info->snapshot_at % 1000));
}

static void ops_labelled(struct kv_buf *out, const struct kv_info *info)
{
    const struct {
        const char *kind;
        uint64_t bytes;
    } memory[] = {{"data", info->memory_data},
                  {"retired", info->memory_retired},
                  {"undo", info->memory_undo},
                  {"views", info->memory_views},
                  {"wal", info->memory_wal},
                  {"clients", info->memory_clients},
                  {"misc", info->memory_misc}};
    static const char *const states[] = {"ok", "full", "failed"};

    ops_head(out, "memory_bytes", "gauge", "Memory in use, by kind.");
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        kv_buf_printf(out, "kvsql_memory_bytes{kind=\"%s\"} %llu\n",
                      memory[i].kind, (unsigned long long)memory[i].bytes);
    ops_head(out, "wal_state", "gauge", "1 for the state that the wal is in.");
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        kv_buf_printf(out, "kvsql_wal_state{state=\"%s\"} %d\n", states[i],
                      strcmp(info->wal_state, states[i]) == 0);
    ops_head(out, "build_info", "gauge", "1, with the version.");
    kv_buf_printf(out, "kvsql_build_info{version=\"%s\",libmicrohttpd=\"%s\"}"
                       " 1\n",
                  KVSQL_VERSION, MHD_get_version());
    ops_head(out, "messages_total", "counter", "Messages for people.");
    kv_buf_printf(out,
                  "kvsql_messages_total{level=\"warn\"} %llu\n"
                  "kvsql_messages_total{level=\"error\"} %llu\n",
                  (unsigned long long)kv_diag_count(KV_WARN),
                  (unsigned long long)kv_diag_count(KV_ERROR_LEVEL));
}

static void ops_door(struct kv_buf *out, const struct http_stats *stats)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"http_connections", "gauge", "Connections now.", stats->connected},
        {"http_connections_total", "counter", "Connections accepted.",
         stats->connections},
        {"http_requests_active", "gauge", "Requests now.", stats->active},
        {"http_requests_waiting", "gauge", "Requests that wait now.",
         stats->waiting},
        {"http_event_streams", "gauge", "Event streams that are open now.",
         stats->streams},
        {"http_refused_total", "counter", "Requests of bad framing.",
         stats->refused},
        {"http_reaped_total", "counter", "Connections past a deadline.",
         stats->reaped},
        {"http_lost_total", "counter", "Clients that left while we worked.",
         stats->lost},
        {"http_received_bytes_total", "counter", "Bytes of bodies received.",
         stats->bytes_in},
        {"http_sent_bytes_total", "counter", "Bytes of bodies answered.",
         stats->bytes_out},
        {"sql_rows_total", "counter", "Rows answered to SQL.",
         stats->sql_rows},
        {"sql_truncated_total", "counter", "Results cut at a limit.",
         stats->sql_truncated},
        {"sql_running", "gauge", "Sessions of SQL that work now.",
         stats->sql_running},
        {"sql_interrupted_total", "counter",
         "Of them, those whose client left.", stats->sql_interrupted},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ops_one(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
    ops_head(out, "http_requests_total", "counter",
             "Requests answered, by tier and class of status.");
    for (unsigned tier = 0; tier < HTTP_TIERS; tier++)
        for (unsigned kind = 2; kind < 6; kind++)
            kv_buf_printf(
                out, "kvsql_http_requests_total{tier=\"%s\",status=\"%uxx\"}"
                     " %llu\n",
                ops_tiers[tier], kind,
                (unsigned long long)stats->requests[tier][kind]);
}

static void ops_latency(struct kv_buf *out, const struct http_stats *stats)
{
    static const char *const bounds[HTTP_LATENCY_BUCKETS + 1] = {
        "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
        "0.25",   "0.5",   "1",      "2.5",   "5",    "10",    "+Inf"};
    static const char name[] = "kvsql_http_request_duration_seconds";

    ops_head(out, "http_request_duration_seconds", "histogram",
             "From the request line to the last byte handed on.");
    for (unsigned tier = 0; tier < HTTP_TIERS; tier++) {
        uint64_t sum = 0, ns = stats->latency_ns[tier];
        for (unsigned i = 0; i <= HTTP_LATENCY_BUCKETS; i++) {
            sum += stats->latency[tier][i];
            kv_buf_printf(out, "%s_bucket{tier=\"%s\",le=\"%s\"} %llu\n", name,
                          ops_tiers[tier], bounds[i], (unsigned long long)sum);
        }
        kv_buf_printf(out, "%s_sum{tier=\"%s\"} %llu.%09llu\n", name,
                      ops_tiers[tier], (unsigned long long)(ns / 1000000000),
                      (unsigned long long)(ns % 1000000000));
        kv_buf_printf(out, "%s_count{tier=\"%s\"} %llu\n", name,
                      ops_tiers[tier], (unsigned long long)sum);
    }
}

/* How far the start is: of keys of the snapshot, then of bytes of the wal. */
static void ops_start(struct kv_buf *out, bool open)
{
    static const char *const stages[] = {"load", "replay"};
    struct cmd_loading loading;

    cmd_stats_loading_get(&loading);
    ops_one(out, "loading", "gauge", "1 while the data directory is read.",
            !open || loading.running); /* what it reads it may not know yet */
    if (!loading.running)
        return;
    ops_head(out, "loading_stage", "gauge", "1 for what is read now.");
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        kv_buf_printf(out, "kvsql_loading_stage{stage=\"%s\"} %d\n", stages[i],
                      strcmp(loading.what, stages[i]) == 0);
    ops_one(out, "loading_done", "gauge", "Keys or bytes of it that are read.",
            loading.done);
    ops_one(out, "loading_total", "gauge", "Keys or bytes that it has.",
            loading.total);
    ops_one(out, "loading_left_seconds", "gauge", "Seconds it may still take.",
            loading.eta_s);
}

/* How far the exports and imports of clients are. */
static void ops_jobs(struct kv_buf *out)
{
    struct cmd_jobs exports, imports;

    cmd_jobs_get(CMD_JOB_EXPORT, &exports);
    cmd_jobs_get(CMD_JOB_IMPORT, &imports);
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"exports_running", "Exports that run.", exports.running},
        {"export_done_keys", "Keys that they have written.", exports.done},
        {"export_total_keys", "Keys that they will write; 0 if not known.",
         exports.total},
        {"export_left_seconds", "Seconds that the longest may still take.",
         exports.left_s},
        {"imports_running", "Imports that run.", imports.running},
        {"import_done_bytes", "Bytes of them that are used.", imports.done},
        {"import_total_bytes", "Bytes that they have; 0 if not known.",
         imports.total},
        {"import_left_seconds", "Seconds that the longest may still take.",
         imports.left_s},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ops_one(out, rows[i].name, "gauge", rows[i].help, rows[i].value);
}

enum http_next http_do_metrics(struct http_request *request)
{
    struct kv_buf *out = &request->answer.body;
    struct kv_info info;

    kvsql *db = atomic_load(&request->server->db);

    http_answer(request, 200, "text/plain; version=0.0.4; charset=utf-8");
    ops_start(out, db != NULL);
    if (db != NULL) {
        kv_info_get(db, &info);
        ops_store(out, &info);
        ops_labelled(out, &info);
        ops_jobs(out);
    }
    ops_door(out, &request->server->stats);
    ops_latency(out, &request->server->stats);
    return HTTP_NEXT_ANSWER;
}
