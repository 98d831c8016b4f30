/* serve.c - the server: the one place that knows every room and joins them.
 *
 *   options -> signals -> SQL, commands -> HTTP door (answers 503)
 *           -> store opened (recovery) -> door ready -> banner
 *           -> wait for a signal -> door closed -> store closed
 *
 * Signals are blocked in all threads and taken by the main thread in
 * sigwaitinfo, so no handler runs anywhere.
 *
 * Thread: main. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/live.h"
#include "cli/option.h"
#include "cli/progress.h"
#include "command/client.h"
#include "command/command.h"
#include "command/stats.h"
#include "http/http.h"
#include "resp/resp.h"
#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"
#include "vtab/session.h"

#define SERVE_NEVER_S ((uint64_t)UINT32_MAX) /* `save ""`: in 136 years */
#define SERVE_PATH_MAX 4096
#define SERVE_RELOAD_MAX 256 /* bytes of the message after a reload */

/* Each ends with a NUL; "" is none. */
struct serve_secrets {
    char token[HTTP_TOKEN_MAX + 2], token_readonly[HTTP_TOKEN_MAX + 2],
        password[HTTP_TOKEN_MAX + 2];
};

struct serve {
    struct cli_settings settings; /* running: under the lock of `live` */
    struct cli_live live;
    int argc; /* kept for a reload */
    char **argv;
    struct http_server *http;
    struct resp_server *resp;
    kvsql *db;
    struct cli_progress progress;
    sigset_t signals, stops;
    struct serve_secrets secrets; /* running: under the lock of `live` */
    struct resp_listening *listening; /* under it: for apply to take, or NULL */
};

/* ---- options -------------------------------------------------------------------- */

static void serve_store_options(const struct cli_settings *settings,
                                struct kvsql_options *options)
{
    const uint64_t every = cli_save_seconds(settings);

    *options = (struct kvsql_options){
        .fsync = cli_fsync(settings, CLI_OPT_APPENDFSYNC),
        .wal_segment_size = cli_number(settings, CLI_OPT_WAL_SEGMENT),
        .wal_buffer_max = cli_number(settings, CLI_OPT_WAL_BUFFER),
        .maxmemory = cli_number(settings, CLI_OPT_MAXMEMORY),
        .maxmemory_policy = cli_maxmemory_policy(settings),
        .maxmemory_samples =
            (unsigned)cli_number(settings, CLI_OPT_MAXMEMORY_SAMPLES),
        .snapshot_keep = (unsigned)cli_number(settings, CLI_OPT_SNAPSHOT_KEEP),
        .wal_keep_ms = cli_duration_ms(settings, CLI_OPT_WAL_KEEP),
        .snapshot_every_s = every > 0 ? every : SERVE_NEVER_S,
        .snapshot_wal_size = cli_number(settings, CLI_OPT_SNAPSHOT_WAL),
        .repair = cli_flag(settings, CLI_OPT_REPAIR)};
}

/* A secret from its file: the first line; nobody else may read the file. */
static kvsql_rc serve_secret(const struct cli_settings *settings,
                             enum cli_option_id id,
                             char out[HTTP_TOKEN_MAX + 2],
                             struct kvsql_error *err)
{
    const char *path = cli_text(settings, id);
    const char *name = cli_option_row(id)->name;
    struct stat info;

    out[0] = '\0';
    if (path[0] == '\0')
        return KVSQL_OK;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return kv_fail(err, KVSQL_SYNTAX, "%s: cannot read %s: %s", name, path,
                       strerror(errno));
    const bool got = fgets(out, HTTP_TOKEN_MAX + 2, file) != NULL;
    const bool open_to_others =
        fstat(fileno(file), &info) != 0 || (info.st_mode & 077) != 0;
    (void)fclose(file);
    out[strcspn(out, "\r\n")] = '\0';
    if (open_to_others)
        return kv_fail(err, KVSQL_SYNTAX,
                       "%s: others can read %s: chmod 600 %s", name, path,
                       path);
    if (!got || out[0] == '\0')
        return kv_fail(err, KVSQL_SYNTAX, "%s: %s is empty", name, path);
    if (strlen(out) > HTTP_TOKEN_MAX)
        return kv_fail(err, KVSQL_SYNTAX,
                       "%s: the first line of %s is longer than %d bytes",
                       name, path, HTTP_TOKEN_MAX);
    return KVSQL_OK;
}

/* requirepass goes before requirepass-file. */
static kvsql_rc serve_password(const struct cli_settings *settings,
                               char out[HTTP_TOKEN_MAX + 2],
                               struct kvsql_error *err)
{
    const char *text = cli_text(settings, CLI_OPT_REQUIREPASS);
    const kvsql_rc rc =
        serve_secret(settings, CLI_OPT_REQUIREPASS_FILE, out, err);

    if (rc != KVSQL_OK || text[0] == '\0')
        return rc;
    if (strlen(text) > HTTP_TOKEN_MAX)
        return kv_fail(err, KVSQL_SYNTAX,
                       "requirepass is longer than %d bytes", HTTP_TOKEN_MAX);
    (void)snprintf(out, HTTP_TOKEN_MAX + 2, "%s", text);
    return KVSQL_OK;
}

static kvsql_rc serve_secrets_read(const struct cli_settings *settings,
                                   struct serve_secrets *out,
                                   struct kvsql_error *err)
{
    kvsql_rc rc =
        serve_secret(settings, CLI_OPT_TOKEN_FILE, out->token, err);

    if (rc == KVSQL_OK)
        rc = serve_secret(settings, CLI_OPT_TOKEN_RO_FILE,
                          out->token_readonly, err);
    return rc == KVSQL_OK ? serve_password(settings, out->password, err) : rc;
}

/* Words of a list option, NULL-terminated, pointing into `text`. */
static kvsql_rc serve_words(const char *name, const char *value, char *text,
                            const char **words, struct kvsql_error *err)
{
    size_t n = 0;

    if (strlen(value) >= SERVE_PATH_MAX)
        return kv_fail(err, KVSQL_SYNTAX, "%s is too long", name);
    memcpy(text, value, strlen(value) + 1);
    for (char *p = text; *p != '\0';) {
        p += strspn(p, " \t");
        const size_t size = strcspn(p, " \t");
        const bool last = p[size] == '\0';

        if (size == 0)
            break;
        if (n == HTTP_HOSTS_MAX)
            return kv_fail(err, KVSQL_SYNTAX, "%s: more than %d names", name,
                           HTTP_HOSTS_MAX);
        words[n++] = p;
        p[size] = '\0';
        p += size + !last;
    }
    words[n] = NULL;
    return KVSQL_OK;
}

/* ---- starting ------------------------------------------------------------------- */

/* The options stand in the order of vtab/limits.def. */
static void serve_limits(const struct cli_settings *settings)
{
    static_assert(CLI_OPT_SQL_WRITE_DEADLINE - CLI_OPT_SQL_MEMORY ==
                      VT_LIMIT_COUNT - 1,
                  "an option for each limit of SQL");
    for (unsigned i = 0; i < VT_LIMIT_WRITE; i++)
        vt_limit_set((enum vt_limit_id)i,
                     cli_number(settings, CLI_OPT_SQL_MEMORY + i));
    vt_limit_set(VT_LIMIT_WRITE,
                 cli_duration_ms(settings, CLI_OPT_SQL_WRITE_DEADLINE));
}

static kvsql_rc serve_door(struct serve *serve, struct kvsql_error *err)
{
    const struct cli_settings *settings = &serve->settings;
    const char *hosts[HTTP_HOSTS_MAX + 1], *origins[HTTP_HOSTS_MAX + 1];
    static char hosts_text[SERVE_PATH_MAX], origins_text[SERVE_PATH_MAX];
    kvsql_rc rc = serve_words("http-allowed-hosts",
                              cli_text(settings, CLI_OPT_ALLOWED_HOSTS),
                              hosts_text, hosts, err);

    if (rc == KVSQL_OK)
        rc = serve_words("cors-origin", cli_text(settings, CLI_OPT_CORS_ORIGIN),
                         origins_text, origins, err);
    if (rc != KVSQL_OK)
        return rc;
    serve_limits(settings);
    const uint64_t again = cli_number(settings, CLI_OPT_HTTP_AGAIN_MEMORY);
    const struct http_config config = {
        .bind = cli_text(settings, CLI_OPT_BIND),
        .port = (uint16_t)cli_number(settings, CLI_OPT_HTTP_PORT),
        .token = serve->secrets.token,
        .token_readonly = serve->secrets.token_readonly,
        .password = serve->secrets.password,
        .allowed_hosts = hosts,
        .cors_origins = origins,
        .body_max = cli_number(settings, CLI_OPT_HTTP_MAX_BODY),
        .record_max = (size_t)cli_number(settings, CLI_OPT_HTTP_MAX_RECORD),
        .stream_max = (unsigned)cli_number(settings, CLI_OPT_HTTP_MAX_STREAMS),
        .again_ttl_ms = cli_duration_ms(settings, CLI_OPT_HTTP_AGAIN_TTL),
        .again_byte_max = again > 0 ? again : 1, /* in 1 byte none fits */
        .view_max = (unsigned)cli_number(settings, CLI_OPT_HTTP_VIEWS),
        .view_lease_ms = cli_duration_ms(settings, CLI_OPT_HTTP_VIEW_LEASE),
        .threads = (unsigned)cli_number(settings, CLI_OPT_HTTP_THREADS),
        .sql_threads = (unsigned)cli_number(settings, CLI_OPT_SQL_THREADS),
        .connection_max = (unsigned)cli_number(settings, CLI_OPT_MAXCLIENTS),
        .sql_deadline_ms = cli_duration_ms(settings, CLI_OPT_SQL_TIMEOUT),
        .sql_row_max = cli_number(settings, CLI_OPT_SQL_MAX_ROWS),
        .sql_byte_max = cli_number(settings, CLI_OPT_SQL_MAX_BYTES)};
    return http_start(NULL, &config, &serve->http, err);
}

/* What may change while it runs. */
static struct resp_limit_set
serve_door_limits(const struct cli_settings *settings)
{
    uint64_t pubsub[3];

    cli_value_pubsub_limit(cli_text(settings, CLI_OPT_CLIENT_OUTPUT_BUFFER_LIMIT), pubsub);
    return (struct resp_limit_set){
        .connection_max = (unsigned)cli_number(settings, CLI_OPT_MAXCLIENTS),
        .idle_ms = cli_number(settings, CLI_OPT_TIMEOUT) * 1000,
        .keepalive_s = cli_number(settings, CLI_OPT_TCP_KEEPALIVE),
        .bulk_max = cli_number(settings, CLI_OPT_PROTO_MAX_BULK_LEN),
        .pubsub_hard = pubsub[0],
        .pubsub_soft = pubsub[1],
        .pubsub_soft_s = pubsub[2]};
}

static kvsql_rc serve_resp(struct serve *serve, struct kvsql_error *err)
{
    const struct cli_settings *settings = &serve->settings;
    const struct resp_config config = {
        .bind = cli_text(settings, CLI_OPT_BIND),
        .port = (uint16_t)cli_number(settings, CLI_OPT_PORT),
        .secret = serve->secrets.password[0] != '\0',
        .threads = (unsigned)cli_number(settings, CLI_OPT_IO_THREADS),
        .workers = (unsigned)cli_number(settings, CLI_OPT_SQL_THREADS),
        .connection_max = (unsigned)cli_number(settings, CLI_OPT_MAXCLIENTS),
        .idle_ms = cli_number(settings, CLI_OPT_TIMEOUT) * 1000,
        .keepalive_s = cli_number(settings, CLI_OPT_TCP_KEEPALIVE),
        .bulk_max = cli_number(settings, CLI_OPT_PROTO_MAX_BULK_LEN),
        .sql_deadline_ms = cli_duration_ms(settings, CLI_OPT_SQL_TIMEOUT),
        .sql_row_max = cli_number(settings, CLI_OPT_SQL_MAX_ROWS),
        .sql_byte_max = cli_number(settings, CLI_OPT_SQL_MAX_BYTES)};

    cmd_password_set(serve->secrets.password);
    const kvsql_rc rc = resp_start(&config, &serve->resp, err);
    if (rc == KVSQL_OK) {
        const struct resp_limit_set limits = serve_door_limits(settings);
        resp_set(serve->resp, &limits);
    }
    return rc;
}

/* ---- options at run time ---------------------------------------------------------- */

/* What the doors take over. Under the locks of `live`. */
static void serve_apply(void *arg, const struct cli_settings *settings)
{
    struct serve *serve = arg;
    const struct resp_limit_set limits = serve_door_limits(settings);

    if (serve->listening != NULL) {
        resp_listen_take(serve->resp, serve->listening);
        serve->listening = NULL;
        cmd_host_port_set(resp_port(serve->resp));
    }
    resp_set(serve->resp, &limits);
    cmd_clients_max_set(limits.connection_max);
    const char *password =
        settings->layer[CLI_OPT_REQUIREPASS] == CLI_LAYER_LIVE
            ? cli_text(settings, CLI_OPT_REQUIREPASS)
            : serve->secrets.password;
    cmd_password_set(password);
    http_password_set(serve->http, password);
}

/* Values that this server cannot have now. */
static const char *serve_refuse(void *arg, enum cli_option_id id,
                                const char *text, char *out, size_t size)
{
    const struct serve *serve = arg;
    uint64_t number;

    if (id == CLI_OPT_REQUIREPASS && strlen(text) > HTTP_TOKEN_MAX) {
        (void)snprintf(out, size, "it is longer than %d bytes",
                       HTTP_TOKEN_MAX);
        return out;
    }
    if (id == CLI_OPT_REQUIREPASS && text[0] == '\0' &&
        resp_is_exposed(serve->resp)) { /* X1 */
        (void)snprintf(out, size, "a server outside loopback needs one");
        return out;
    }
    if (id == CLI_OPT_MAXCLIENTS && kv_num_uint(text, strlen(text), &number) &&
        resp_connections_possible((unsigned)number) < number) {
        (void)snprintf(out, size,
                       "The operating system is not able to handle the "
                       "specified number of clients, try with %u",
                       resp_connections_possible((unsigned)number));
        return out;
    }
    return NULL;
}

/* Sockets of another port, at the addresses of `bind`. Those are listened on
 * already, so a secret is there where one has to be (X1). */
static kvsql_rc serve_listen(struct serve *serve, uint64_t port,
                             struct resp_listening **out,
                             struct kvsql_error *err)
{
    char bind[SERVE_PATH_MAX];

    *out = NULL;
    if (port != 0 && port == resp_port(serve->resp))
        return KVSQL_OK;
    kv_lock_take(&serve->live.lock);
    (void)snprintf(bind, sizeof bind, "%s",
                   cli_text(&serve->settings, CLI_OPT_BIND));
    kv_lock_drop(&serve->live.lock);
    return resp_listen(bind, (uint16_t)port, resp_is_exposed(serve->resp), out,
                       err);
}

static const char *serve_prepare(void *arg, enum cli_option_id id,
                                 const char *text, void **made, char *out,
                                 size_t size)
{
    struct resp_listening *listening;
    struct kvsql_error err;
    uint64_t port;

    if (id != CLI_OPT_PORT || !kv_num_uint(text, strlen(text), &port))
        return NULL;
    if (serve_listen(arg, port, &listening, &err) == KVSQL_OK) {
        *made = listening;
        return NULL;
    }
    kv_diag(KV_WARN, "config.port", "error=\"%s\"", err.text);
    (void)snprintf(out, size,
                   "Unable to listen on this port. Check server logs.");
    return out;
}

static void serve_drop(void *arg, void *made)
{
    (void)arg;
    resp_listen_drop(made);
}

static void serve_offer(void *arg, void *made)
{
    struct serve *serve = arg;

    resp_listen_drop(serve->listening);
    serve->listening = made;
}

/* ---- the store -------------------------------------------------------------------- */

/* Recovery tells how far it is. A signal to stop ends it at once: what is on
 * disk is as whole as after any kill. */
static void serve_loading(void *arg, const struct kv_progress *progress)
{
    static const struct timespec no_wait = {0};
    struct serve *serve = arg;

    if (sigtimedwait(&serve->stops, NULL, &no_wait) > 0) {
        cli_progress_end(&serve->progress);
        kv_diag(KV_INFO, "server.stopped", "while=loading");
        _exit(CLI_DONE);
    }
    http_loading(serve->http, progress);
    cmd_stats_loading(progress);
    cli_progress_tell(&serve->progress, progress);
}

static kvsql_rc serve_open(struct serve *serve, struct kvsql_error *err)
{
    struct kvsql_options options;

    serve_store_options(&serve->settings, &options);
    cli_progress_init(&serve->progress, "load.progress", "loading", "records");
    const kvsql_rc rc =
        kv_open_os(cli_text(&serve->settings, CLI_OPT_DIR), &options,
                   kv_os_real(), serve_loading, serve, &serve->db, err);
    cmd_stats_loading(NULL);
    cli_progress_end(&serve->progress);
    return rc == KVSQL_OK ? vt_indexes_keep(serve->db, err) : rc;
}

/* Descriptors: as many as the system gives (L9). */
static void serve_raise_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        kv_diag(KV_WARN, "server.files", "error=\"%s\"",
                kv_os_error(errno));
}

static void serve_signals(struct serve *serve)
{
    sigemptyset(&serve->stops);
    sigaddset(&serve->stops, SIGTERM);
    sigaddset(&serve->stops, SIGINT);
    serve->signals = serve->stops;
    sigaddset(&serve->signals, SIGHUP);
    sigaddset(&serve->signals, SIGUSR1);
    sigaddset(&serve->signals, SIGUSR2);
    (void)pthread_sigmask(SIG_BLOCK, &serve->signals, NULL);
}

static void serve_banner(const struct serve *serve)
{
    const char *resp = resp_address(serve->resp);
    const bool usual = strcmp(resp, "127.0.0.1") == 0;
    const bool six = resp[0] == '[';
    const char *own = program_invocation_name;
    char keys[CLI_COUNT_TEXT_MAX], position[CLI_COUNT_TEXT_MAX];
    struct kv_info info;
    char url[128];

    kv_info_get(serve->db, &info);
    /* Words that tools which start a Redis server wait for. */
    printf("kvsql %s  PID: %d  Server initialized\n"
           "Ready to accept connections\n",
           KVSQL_VERSION, kv_os_pid());
    (void)snprintf(url, sizeof url, "http://%s:%u", http_address(serve->http),
                   http_port(serve->http));
    printf("kvsql %s  data %s (%s keys, position %s)  fsync %s\n",
           KVSQL_VERSION, cli_text(&serve->settings, CLI_OPT_DIR),
           cli_count_text(keys, info.keys),
           cli_count_text(position, info.position), info.wal_policy);
    printf("  set      curl %s/set/hello -H 'Content-Type: "
           "application/octet-stream' --data-binary world\n",
           url);
    printf("  get      curl %s/get/hello\n", url);
    printf("  redis    redis-cli%s%.*s -p %u\n", usual ? "" : " -h ",
           usual ? 0 : (int)strlen(resp) - 2 * six, resp + six,
           resp_port(serve->resp));
    if (strcmp(url, CLI_URL_DEFAULT) == 0)
        printf("  sql      %s sql 'SELECT * FROM keys'\n", own);
    else
        printf("  sql      %s sql %s 'SELECT * FROM keys'\n", own, url);
    printf("  console  %s/_/\n", url);
    printf("ready in %.2f s. Ctrl-C stops.\n",
           cli_progress_seconds(&serve->progress));
    fflush(stdout);
}

/* ---- running -------------------------------------------------------------------- */

static void serve_statistics(kvsql *db)
{
    struct kv_info info;

    kv_info_get(db, &info);
    kv_diag(KV_INFO, "server.statistics",
            "keys=%llu position=%llu durable=%llu data_bytes=%llu views=%llu "
            "commits=%llu wal_bytes=%llu wal_syncs=%llu snapshots=%llu",
            (unsigned long long)info.keys, (unsigned long long)info.position,
            (unsigned long long)info.durable,
            (unsigned long long)info.memory_data,
            (unsigned long long)info.views, (unsigned long long)info.commits,
            (unsigned long long)info.wal_bytes,
            (unsigned long long)info.wal_syncs,
            (unsigned long long)info.snapshot_count);
}

/* The secrets of the layers that are read anew, their files, too. */
static kvsql_rc serve_reload_secrets(struct serve *serve,
                                     const struct cli_settings *fresh,
                                     struct kvsql_error *err)
{
    struct serve_secrets secrets;
    kvsql_rc rc = serve_secrets_read(fresh, &secrets, err);

    if (rc == KVSQL_OK && secrets.password[0] == '\0' &&
        resp_is_exposed(serve->resp)) /* X1 */
        rc = kv_fail(err, KVSQL_INVALID,
                     "requirepass: a server outside loopback needs one");
    if (rc == KVSQL_OK) {
        kv_lock_take(&serve->live.lock);
        serve->secrets = secrets;
        kv_lock_drop(&serve->live.lock);
        http_tokens_set(serve->http, secrets.token, secrets.token_readonly);
    }
    explicit_bzero(&secrets, sizeof secrets);
    return rc;
}

/* Another port in the layers that are read anew; not over one that CONFIG SET
 * set. */
static kvsql_rc serve_reload_port(struct serve *serve,
                                  const struct cli_settings *fresh,
                                  struct resp_listening **out,
                                  struct kvsql_error *err)
{
    const uint64_t port = cli_number(fresh, CLI_OPT_PORT);

    kv_lock_take(&serve->live.lock);
    const bool same =
        serve->settings.layer[CLI_OPT_PORT] == CLI_LAYER_LIVE ||
        port == cli_number(&serve->settings, CLI_OPT_PORT);
    kv_lock_drop(&serve->live.lock);
    return same ? KVSQL_OK : serve_listen(serve, port, out, err);
}

/* Read the layers again and take over what may change at run time; a wrong
 * file changes nothing. */
static void serve_reload(struct serve *serve)
{
    struct resp_listening *listening = NULL;
    struct cli_settings fresh;
    struct kvsql_error err;
    kvsql_rc rc = cli_settings_load(&fresh, CLI_IN_SERVE, serve->argc,
                                    serve->argv, &err);

    if (rc == KVSQL_OK)
        rc = serve_reload_port(serve, &fresh, &listening, &err);
    if (rc == KVSQL_OK)
        rc = serve_reload_secrets(serve, &fresh, &err);
    if (rc != KVSQL_OK) {
        kv_diag(KV_ERROR_LEVEL, "config.reload", "error=\"%s\"", err.text);
        resp_listen_drop(listening);
        cli_settings_fini(&fresh);
        return;
    }
    if (listening != NULL) {
        kv_lock_take(&serve->live.lock);
        serve_offer(serve, listening);
        kv_lock_drop(&serve->live.lock);
    }
    cli_live_reload(&serve->live, &fresh);
    char text[SERVE_RELOAD_MAX];
    kv_lock_take(&serve->live.lock);
    (void)snprintf(text, sizeof text,
                   "fsync=%s maxmemory=%s maxmemory_policy=%s loglevel=%s",
                   cli_text(&serve->settings, CLI_OPT_APPENDFSYNC),
                   cli_text(&serve->settings, CLI_OPT_MAXMEMORY),
                   cli_text(&serve->settings, CLI_OPT_MAXMEMORY_POLICY),
                   cli_text(&serve->settings, CLI_OPT_LOGLEVEL));
    kv_lock_drop(&serve->live.lock);
    kv_diag(KV_INFO, "config.reload", "%s", text);
}

/* Until TERM or INT. */
static void serve_wait(struct serve *serve)
{
    for (;;) {
        struct kvsql_error err;
        static const struct timespec sample = {
            .tv_nsec = CMD_SAMPLE_MS * 1000000L};
        const int got = sigtimedwait(&serve->signals, NULL, &sample);

        cmd_stats_sample(serve->db);

        if (got == SIGTERM || got == SIGINT)
            return;
        if (got == SIGUSR2)
            serve_statistics(serve->db);
        else if (got == SIGHUP)
            serve_reload(serve);
        else if (got == SIGUSR1 &&
                 kv_snapshot_start(serve->db, &err) != KVSQL_OK)
            kv_diag(KV_WARN, "snapshot.refused", "error=\"%s\"", err.text);
    }
}

/* In order; a second signal ends the process at once, which loses nothing of
 * what was acknowledged, as no kill does. */
static int serve_stop(struct serve *serve)
{
    struct kvsql_error err;

    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    (void)pthread_sigmask(SIG_UNBLOCK, &serve->stops, NULL);
    kv_diag(KV_INFO, "server.stopping", "pid=%d", kv_os_pid());
    resp_stop(serve->resp);
    serve->resp = NULL;
    http_stop(serve->http);
    serve->http = NULL;
    const struct cmd_host no_host = {.port = 0};
    cmd_host_set(&no_host);
    cli_live_stop(&serve->live);
    const kvsql_rc rc = kv_close(serve->db, &err);
    serve->db = NULL;
    if (rc != KVSQL_OK)
        return cli_refuse_error(&err);
    kv_diag(KV_INFO, "server.stopped", "pid=%d", kv_os_pid());
    return CLI_DONE;
}

/* SHUTDOWN: the main thread ends as it does on TERM. */
static kvsql_rc serve_shutdown(void *arg, bool save, struct kvsql_error *err)
{
    const struct serve *serve = arg;
    struct kv_snapshot_info info;
    const kvsql_rc rc =
        save ? kv_snapshot_run(serve->db, NULL, NULL, &info, err) : KVSQL_OK;

    if (rc == KVSQL_OK)
        (void)kill(getpid(), SIGTERM);
    return rc;
}

static enum cmd_debug serve_debug(const struct cli_settings *settings)
{
    const char *who = cli_text(settings, CLI_OPT_DEBUG_COMMAND);

    return strcasecmp(who, "yes") == 0     ? CMD_DEBUG_YES
           : strcasecmp(who, "local") == 0 ? CMD_DEBUG_LOCAL
                                           : CMD_DEBUG_NO;
}

/* What commands may know of the program. */
static void serve_host(struct serve *serve, struct cmd_host *host)
{
    const struct kv_os *os = kv_os_real();

    *host = (struct cmd_host){
        .http_port = http_port(serve->http),
        .port = resp_port(serve->resp),
        .config_file = cli_text(&serve->settings, CLI_OPT_CONFIG),
        .executable = program_invocation_name,
        .sqlite_version = vt_sqlite_version(),
        .debug = serve_debug(&serve->settings),
        .shutdown = serve_shutdown,
        .shutdown_arg = serve,
        .started_at = os->wall_ms(os->arg)};
    cmd_host_set(host);
}

static int serve_run(struct serve *serve)
{
    struct cmd_host host;
    struct kvsql_error err;
    kvsql_rc rc = serve_secrets_read(&serve->settings, &serve->secrets, &err);

    if (rc != KVSQL_OK)
        return cli_settings_refuse(&err);
    cli_live_loglevel(&serve->settings);
    serve_raise_files();
    serve_signals(serve);
    cli_join_sql();
    rc = vt_start(&err);
    if (rc == KVSQL_OK)
        rc = serve_door(serve, &err);
    if (rc == KVSQL_OK)
        rc = serve_resp(serve, &err);
    if (rc == KVSQL_INVALID) {
        http_stop(serve->http);
        return cli_refuse(CLI_CONFIG, "%s", err.text);
    }
    if (rc == KVSQL_OK) {
        serve_host(serve, &host);
        rc = serve_open(serve, &err);
    }
    if (rc != KVSQL_OK) {
        resp_stop(serve->resp);
        http_stop(serve->http);
        return cli_refuse_error(&err);
    }
    const struct cli_live_doors doors = {
        .arg = serve, .apply = serve_apply, .refuse = serve_refuse,
        .prepare = serve_prepare, .drop = serve_drop, .offer = serve_offer};
    cli_live_start(&serve->live, &serve->settings, serve->db, &doors, &host);
    cmd_host_set(&host);
    http_ready(serve->http, serve->db);
    resp_ready(serve->resp, serve->db);
    serve_banner(serve);
    serve_wait(serve);
    return serve_stop(serve);
}

int cli_serve(int argc, char **argv)
{
    struct serve serve = {.argc = argc, .argv = argv};
    struct kvsql_error err;
    kvsql_rc rc = cli_settings_load(&serve.settings, CLI_IN_SERVE, argc, argv,
                                    &err);
    int code;

    if (rc == KVSQL_OK && serve.settings.operand_count > 1)
        rc = kv_fail(&err, KVSQL_INVALID, "serve takes one CONFIG, here is "
                     "'%s' too", serve.settings.operand[1]);
    if (rc != KVSQL_OK)
        code = cli_settings_refuse(&err);
    else if (serve.settings.help) {
        cli_help(CLI_IN_SERVE);
        code = CLI_DONE;
    } else {
        code = serve_run(&serve);
    }
    cli_settings_fini(&serve.settings);
    return code;
}
