/* restore.c - kvsql restore: a data directory as it was, into a new one.
 *
 * Thread: the main thread. */
#include <stdio.h>
#include <string.h>

#include "cli/moment.h"
#include "cli/option.h"
#include "cli/progress.h"
#include "kvsql/admin.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"
#include "kvsql/inside.h"

static void restore_progress(void *arg, const struct kv_progress *progress)
{
    cli_progress_tell(arg, progress);
}

static void restore_say(const struct kv_restore *what,
                        const struct kv_restored *restored, bool as_json)
{
    char moment[CLI_MOMENT_MAX] = "";

    if (restored->at != 0)
        cli_moment_text(moment, restored->at);
    if (as_json)
        printf("{\"ok\":true,\"position\":%llu,\"keys\":%llu,\"at\":%s%s%s}\n",
               (unsigned long long)restored->position,
               (unsigned long long)restored->keys, moment[0] ? "\"" : "",
               moment[0] ? moment : "null", moment[0] ? "\"" : "");
    else
        printf("restored %s: position %llu%s%s, %llu keys\n", what->to,
               (unsigned long long)restored->position,
               moment[0] ? ", committed by " : "", moment,
               (unsigned long long)restored->keys);
}

static int restore_run(const struct kv_restore *what, bool as_json)
{
    struct cli_progress progress;
    struct kv_restored restored;
    struct kvsql_error err;

    cli_progress_init(&progress, "restore.progress", "restoring", "records");
    const kvsql_rc rc = kv_restore_dir(what, kv_os_real(), restore_progress,
                                       &progress, &restored, &err);
    cli_progress_end(&progress);
    if (rc != KVSQL_OK)
        return cli_refuse_error(&err);
    restore_say(what, &restored, as_json);
    return cli_flush_stdout() ? CLI_DONE : CLI_FAILED;
}

static int restore_settings(const struct cli_settings *settings)
{
    const char *at = cli_text(settings, CLI_OPT_RESTORE_AT);
    struct kv_restore what = {
        .from = cli_text(settings, CLI_OPT_RESTORE_FROM),
        .to = cli_text(settings, CLI_OPT_RESTORE_TO)};

    if (settings->operand_count > 0)
        return cli_refuse(CLI_USAGE, "one word too many: '%s'",
                          settings->operand[0]);
    if (what.from[0] == '\0' || what.to[0] == '\0')
        return cli_refuse(CLI_USAGE, "restore needs both directories: kvsql "
                                     "restore --from DIR --to NEWDIR");
    const bool number = kv_num_uint(at, strlen(at), &what.position);
    if (number ? what.position == 0
               : at[0] != '\0' && !cli_moment(at, &what.time))
        return cli_refuse(CLI_USAGE,
                          "--at %s: a position, from 1, or a time like "
                          "2026-01-31T18:30:00Z or 2026-01-31T18:30+01:00",
                          at);
    if (!number && at[0] != '\0' && what.time <= 0)
        what.time = 1; /* 0 is none, and no wal goes back so far */
    return restore_run(&what, cli_flag(settings, CLI_OPT_JSON));
}

int cli_restore(int argc, char **argv)
{
    struct cli_settings settings;
    struct kvsql_error err;
    int code = CLI_DONE;

    if (cli_settings_load(&settings, CLI_IN_RESTORE, argc, argv, &err) !=
        KVSQL_OK)
        code = cli_settings_refuse(&err);
    else if (settings.help)
        cli_help(CLI_IN_RESTORE);
    else
        code = restore_settings(&settings);
    cli_settings_fini(&settings);
    return code;
}
