/* live.h - the options of the running server: CONFIG GET, SET and REWRITE from
 * any thread, and a reload, on the settings that it started with.
 *
 * Always true:
 *   LV1  settings of a running server are read under the lock, which comes
 *        behind the store's, and changed under both: inside a txn, the caller's
 *        or one of their own. So CONFIG may stand in a transaction, and two
 *        changes cannot end in a mixture.
 *   LV2  what CONFIG SET set stays over all layers until the end, over a
 *        reload too.
 *   LV3  a file is read and written under neither, but under rewrite_lock; what
 *        goes into it is copied first.
 *
 * Thread: any, but for start and stop. */
#ifndef KVSQL_CLI_LIVE_H
#define KVSQL_CLI_LIVE_H

#include "cli/option.h"
#include "command/command.h"
#include "kvsql/base/lock.h"

/* What the doors do about options; filled in serve.c. Called under both locks
 * but for prepare and drop. */
struct cli_live_doors {
    void *arg;
    /* Take over what can change; cheap, and cannot fail. */
    void (*apply)(void *arg, const struct cli_settings *settings);
    /* May CONFIG SET give this value, which has been checked, to the option?
     * NULL, or why not, in `out`. */
    const char *(*refuse)(void *arg, enum cli_option_id id, const char *text,
                          char *out, size_t size);
    /* Make what a value needs and what may fail, of one option at most: NULL
     * and *made, which may stay NULL; or why not, in `out`. Outside of the
     * locks, but for a CONFIG SET in a transaction. */
    const char *(*prepare)(void *arg, enum cli_option_id id, const char *text,
                           void **made, char *out, size_t size);
    /* Nothing comes of it; or it is there for the apply that follows. */
    void (*drop)(void *arg, void *made);
    void (*offer)(void *arg, void *made);
};

struct cli_live {
    struct kv_lock lock, rewrite_lock;
    struct cli_settings *settings;
    kvsql *db;
    struct cli_live_doors doors; /* zeroes: there are none */
};

/* Take over `settings` and apply all that can change at run time; fills the
 * config functions of `host`. `doors` may be NULL. */
KV_INTERNAL void cli_live_start(struct cli_live *live,
                                struct cli_settings *settings, kvsql *db,
                                const struct cli_live_doors *doors,
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
