/* live.h - the options of the running server: CONFIG GET, SET and REWRITE from
 * any thread, and a reload, on the settings that it started with.
 *
 * Always true:
 *   LV1  settings of a running server are read and changed under the lock.
 *   LV2  what CONFIG SET set stays over all layers until the end, over a
 *        reload too.
 *
 * Thread: any, but for start and stop. */
#ifndef KVSQL_CLI_LIVE_H
#define KVSQL_CLI_LIVE_H

#include "cli/option.h"
#include "command/command.h"
#include "kvsql/base/lock.h"

struct cli_live {
    struct kv_lock lock;
    struct cli_settings *settings;
    kvsql *db;
};

/* Take over `settings` and apply all that can change at run time; fills the
 * config functions of `host`. */
KV_INTERNAL void cli_live_start(struct cli_live *live,
                                struct cli_settings *settings, kvsql *db,
                                struct cmd_host *host);
KV_INTERNAL void cli_live_stop(struct cli_live *live);
/* Replace the settings by `fresh`, read anew, and apply. */
KV_INTERNAL void cli_live_reload(struct cli_live *live,
                                 struct cli_settings *fresh);
/* The level of messages, before anything runs. */
KV_INTERNAL void cli_live_loglevel(const struct cli_settings *settings);

/* Write the values of CLI_LAYER_LIVE into the configuration file (rewrite.c):
 * comments and lines that did not change stay; by rename, so that a reader
 * sees the old file or the new one. */
KV_INTERNAL kvsql_rc cli_rewrite(const struct cli_settings *settings,
                                 struct kvsql_error *err);

#endif
