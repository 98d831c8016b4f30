/* admin.c - the small subcommands: snapshot, check, config, version.
 *
 * Thread: the main thread. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/progress.h"
#include "cli/remote.h"
#include "cli/target.h"
#include "http/http.h"
#include "http/json.h"
#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/lock.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

#define ADMIN_ANSWER_MAX (1u << 20)
#define ADMIN_WATCH_MS 100

/* Options of a subcommand; true when there is nothing more to do. */
static bool admin_options(struct cli_settings *settings, unsigned scope,
                          int argc, char **argv, unsigned operands_max,
                          int *code)
{
    struct kvsql_error err;

    *code = CLI_DONE;
    if (cli_settings_load(settings, scope, argc, argv, &err) != KVSQL_OK) {
        *code = cli_settings_refuse(&err);
        return true;
    }
    if (settings->help) {
        cli_help(scope);
        return true;
    }
    if (settings->operand_count > operands_max) {
        *code = cli_refuse(CLI_USAGE, "one word too many: '%s'",
                           settings->operand[operands_max]);
        return true;
    }
    return false;
}

/* ---- version ------------------------------------------------------------------ */

int cli_version(int argc, char **argv)
{
    struct cli_settings settings;
    int code;

    if (!admin_options(&settings, CLI_IN_VERSION, argc, argv, 0, &code)) {
        const char *format =
            cli_flag(&settings, CLI_OPT_JSON)
                ? "{\"kvsql\":\"%s\",\"sqlite\":\"%s\",\"libmicrohttpd\":"
                  "\"%s\",\"libcurl\":\"%s\",\"compiler\":\"%s\"}\n"
                : "kvsql %s\nsqlite %s\nlibmicrohttpd %s\nlibcurl "
                  "%s\ncompiler %s\n";

        printf(format, KVSQL_VERSION, vt_sqlite_version(),
               http_library_version(), cli_remote_library(), __VERSION__);
    }
    cli_settings_fini(&settings);
    return code;
}

/* ---- config ------------------------------------------------------------------- */

static void admin_config_line(const struct cli_settings *settings, unsigned id,
                              bool origin)
{
    static const char *const layers[] = {"built-in", "file", "environment",
                                         "command line", "CONFIG SET"};
    const struct cli_option *row = cli_option_row(id);
    const char *value = settings->value[id];
    const bool secret = row->kind == CLI_SECRET && value[0] != '\0';
    const bool quote = value[0] == '\0' || strpbrk(value, " \"'#") != NULL;
    const bool pairs = row->kind == CLI_SAVE || row->kind == CLI_WORDS ||
                       row->kind == CLI_LIMITS || row->kind == CLI_PERCENTS;

    if (secret)
        printf("# %s is set", row->name);
    else if (quote && !(pairs && value[0] != '\0'))
        printf("%s \"%s\"", row->name, value);
    else
        printf("%s %s", row->name, value);
    if (origin)
        printf("   # %s", layers[settings->layer[id]]);
    putchar('\n');
}

int cli_config(int argc, char **argv)
{
    struct cli_settings settings;
    int code;

    if (admin_options(&settings, CLI_IN_CONFIG, argc, argv, 2, &code)) {
        cli_settings_fini(&settings);
        return code;
    }
    const char *verb =
        settings.operand_count > 0 ? settings.operand[0] : "dump";
    if (strcmp(verb, "dump") == 0) {
        for (unsigned i = 0; cli_option_row(i) != NULL; i++)
            if ((cli_option_row(i)->scope & CLI_IN_SERVE) != 0 &&
                (cli_option_row(i)->where & CLI_FROM_FILE) != 0 &&
                ((cli_option_row(i)->where & CLI_REMEMBERED) == 0 ||
                 settings.layer[i] != CLI_LAYER_BUILTIN))
                admin_config_line(&settings, i,
                                  cli_flag(&settings, CLI_OPT_ORIGIN));
    } else if (strcmp(verb, "check") == 0) {
        puts("ok");
    } else {
        code = cli_refuse(CLI_USAGE, "config %s: it is check or dump", verb);
    }
    cli_settings_fini(&settings);
    return code;
}

/* ---- snapshot ----------------------------------------------------------------- */

/* One row of one column into a buffer. */
struct admin_cell {
    char text[4096];
};

static kvsql_rc admin_begin(void *arg, unsigned columns,
                            const char *const *names, struct kvsql_error *err)
{
    (void)arg;
    (void)columns;
    (void)names;
    (void)err;
    return KVSQL_OK;
}

static kvsql_rc admin_row(void *arg, unsigned columns,
                          const struct vt_value *values,
                          struct kvsql_error *err)
{
    struct admin_cell *cell = arg;

    (void)err;
    if (columns > 0 && values[0].kind == VT_TEXT)
        (void)snprintf(cell->text, sizeof cell->text, "%.*s",
                       (int)values[0].size, (const char *)values[0].p);
    return KVSQL_OK;
}

/* Where the server keeps its data. */
static kvsql_rc admin_data_dir(struct cli_target *target,
                               struct admin_cell *cell,
                               struct kvsql_error *err)
{
    static const char sql[] = "SELECT value FROM stats WHERE name = 'dir'";
    const struct cli_rows rows = {
        .begin = admin_begin, .row = admin_row, .arg = cell};
    struct cli_answer answer;
    struct cli_trouble trouble;

    cell->text[0] = '\0';
    const kvsql_rc rc = cli_target_sql(target, sql, strlen(sql), 0, NULL, 1,
                                       &rows, &answer, &trouble);
    if (rc != KVSQL_OK)
        *err = trouble.error;
    return rc;
}

/* Print {"name":..,"position":..} as it came, or the path. */
static kvsql_rc admin_snapshot_show(struct kv_buf *answer, const char *dir,
                                    bool as_json, struct kvsql_error *err)
{
    struct http_json json = {.tokens = NULL};

    if (as_json) {
        printf("%.*s\n", (int)answer->size, (const char *)answer->p);
        return KVSQL_OK;
    }
    kvsql_rc rc = http_json_parse(&json, answer->p, answer->size, err);
    const uint32_t name =
        rc == KVSQL_OK && json.tokens[0].kind == HTTP_JSON_OBJECT
            ? http_json_find(&json, 0, "name")
            : 0;
    if (rc == KVSQL_OK && name == 0)
        rc = kv_fail(err, KVSQL_CORRUPT,
                     "the server's answer names no snapshot; is it kvsql?");
    if (rc == KVSQL_OK)
        printf("%s/%.*s\n", dir, (int)json.tokens[name].size,
               (const char *)json.tokens[name].p);
    http_json_fini(&json);
    return rc;
}

/* How far the server is, asked by a thread of its own while the answer is
 * waited for. It ends with the first question after `over`. */
struct admin_watch {
    const struct cli_settings *settings;
    const char *place;
    _Atomic bool over;
};

static uint64_t admin_number(const struct http_json *json, const char *name)
{
    const uint32_t at = http_json_find(json, 0, name);
    uint64_t number = 0;

    return at != 0 && json->tokens[at].kind == HTTP_JSON_NUMBER &&
                   kv_num_uint((const char *)json->tokens[at].p,
                               json->tokens[at].size, &number)
               ? number
               : 0;
}

static void admin_snapshot_ask(struct cli_target *target,
                               struct cli_progress *progress)
{
    struct http_json json = {.tokens = NULL};
    struct kv_buf answer;
    struct kvsql_error err;

    kv_buf_init(&answer, KV_MEM_CLIENT, ADMIN_ANSWER_MAX);
    if (cli_target_snapshots(target, &answer, &err) == KVSQL_OK &&
        http_json_parse(&json, answer.p, answer.size, &err) == KVSQL_OK &&
        json.tokens[0].kind == HTTP_JSON_OBJECT)
        cli_progress_tell(progress, &(struct kv_progress){
                                        .what = "snapshot",
                                        .done = admin_number(&json, "done"),
                                        .total = admin_number(&json, "total")});
    http_json_fini(&json);
    kv_buf_fini(&answer);
}

static void *admin_snapshot_watch(void *arg)
{
    struct admin_watch *watch = arg;
    struct cli_progress progress;
    struct cli_target *target;
    struct kvsql_error err;

    if (cli_target_open(watch->settings, watch->place, false, &target, &err) !=
        KVSQL_OK)
        return NULL; /* the one who waits says what is wrong */
    cli_progress_init(&progress, "snapshot.progress", "writing", "keys");
    while (!atomic_load(&watch->over)) {
        kv_os_sleep_ms(ADMIN_WATCH_MS);
        if (!atomic_load(&watch->over))
            admin_snapshot_ask(target, &progress);
    }
    cli_progress_end(&progress);
    return cli_target_close(target, &err) == KVSQL_OK ? watch : NULL;
}

static kvsql_rc admin_snapshot_wait(const struct cli_settings *settings,
                                    const char *place,
                                    struct cli_target *target,
                                    struct kv_buf *answer,
                                    struct kvsql_error *err)
{
    struct admin_watch watch = {.settings = settings, .place = place};
    struct kv_thread thread;
    struct kvsql_error ignored;
    const bool watched = kv_thread_start(&thread, "watch", admin_snapshot_watch,
                                         &watch, &ignored) == KVSQL_OK;
    const kvsql_rc rc = cli_target_snapshot(target, answer, err);

    atomic_store(&watch.over, true);
    if (watched)
        kv_thread_join(&thread);
    return rc;
}

static int admin_snapshot(const struct cli_settings *settings)
{
    struct admin_cell dir;
    struct cli_target *target;
    struct kv_buf answer;
    struct kvsql_error err, close_err;
    const char *place =
        settings->operand_count > 0 ? settings->operand[0] : NULL;
    kvsql_rc rc = cli_target_open(settings, place, false, &target, &err);

    if (rc != KVSQL_OK)
        return cli_target_refuse(&err);
    kv_buf_init(&answer, KV_MEM_CLIENT, ADMIN_ANSWER_MAX);
    if (cli_target_kind(target) != CLI_REMOTE)
        rc = kv_fail(&err, KVSQL_INVALID, "snapshot asks a server: give a URL");
    if (rc == KVSQL_OK)
        rc = admin_data_dir(target, &dir, &err);
    if (rc == KVSQL_OK)
        rc = admin_snapshot_wait(settings, place, target, &answer, &err);
    if (rc == KVSQL_OK)
        rc = admin_snapshot_show(&answer, dir.text,
                                 cli_flag(settings, CLI_OPT_JSON), &err);
    kv_buf_fini(&answer);
    const kvsql_rc closed = cli_target_close(target, &close_err);
    if (rc != KVSQL_OK)
        return cli_target_refuse(&err);
    return closed == KVSQL_OK ? CLI_DONE : cli_refuse_error(&close_err);
}

int cli_snapshot(int argc, char **argv)
{
    struct cli_settings settings;
    int code;

    if (!admin_options(&settings, CLI_IN_SNAPSHOT, argc, argv, 1, &code))
        code = admin_snapshot(&settings);
    cli_settings_fini(&settings);
    return code;
}

/* ---- check -------------------------------------------------------------------- */

static void admin_check_progress(void *arg, const struct kv_progress *progress)
{
    cli_progress_tell(arg, progress);
}

/* What is good is said in one line at the end; --json has no other place. */
static void admin_check_good(void *arg, const char *line)
{
    (void)arg;
    kv_diag(KV_DEBUG, "check.good", "what=%s", line);
}

/* First every file by itself, older snapshots too (R4); then the directory is
 * loaded as a start would load it. */
static int admin_check(const struct cli_settings *settings, const char *dir)
{
    const bool repair = cli_flag(settings, CLI_OPT_CHECK_REPAIR);
    const struct kvsql_options options = {.read_only = true,
                                          .no_keeper = true};
    struct cli_progress progress;
    struct kvsql_error err;
    struct kv_info info;
    kvsql *db;

    cli_progress_init(&progress, "check.progress",
                      repair ? "repairing" : "checking", "bytes");
    kvsql_rc rc = kv_check(dir, kv_os_real(), repair, admin_check_good,
                           admin_check_progress, &progress, &err);
    cli_progress_end(&progress);
    if (rc != KVSQL_OK)
        return cli_refuse_error(&err);
    cli_progress_init(&progress, "check.progress", "loading", "bytes");
    rc = kv_open_os(dir, &options, kv_os_real(), admin_check_progress,
                             &progress, &db, &err);
    cli_progress_end(&progress);
    if (rc != KVSQL_OK)
        return cli_refuse_error(&err);
    kv_info_get(db, &info);
    printf(cli_flag(settings, CLI_OPT_JSON)
               ? "{\"ok\":true,\"keys\":%llu,\"position\":%llu,"
                 "\"snapshot_position\":%llu}\n"
               : "ok: %llu keys, position %llu, snapshot at %llu\n",
           (unsigned long long)info.keys, (unsigned long long)info.position,
           (unsigned long long)info.snapshot_position);
    rc = kv_close(db, &err);
    return rc == KVSQL_OK ? CLI_DONE : cli_refuse_error(&err);
}

int cli_check(int argc, char **argv)
{
    struct cli_settings settings;
    int code;

    if (!admin_options(&settings, CLI_IN_CHECK, argc, argv, 1, &code))
        code = settings.operand_count == 1
                   ? admin_check(&settings, settings.operand[0])
                   : cli_refuse(CLI_USAGE,
                                "check needs the data directory: kvsql check "
                                "DIR");
    cli_settings_fini(&settings);
    return code;
}
