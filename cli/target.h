/* target.h - a place that can be asked: a running server, a data directory
 * that no server has open, or a snapshot file; by SQL and by commands.
 *
 * Thread: the main thread; cli_target_interrupt from a signal handler. */
#ifndef KVSQL_CLI_TARGET_H
#define KVSQL_CLI_TARGET_H

#include "cli/option.h"
#include "command/reply.h"
#include "command/words.h"
#include "vtab/session.h"

#define TARGET_BATCH_MAX ((size_t)1 << 30) /* bytes of the words of one batch */
#define TARGET_REPLY_MAX ((size_t)1 << 30)
#define TARGET_HINT_MAX 256

enum cli_target_kind { CLI_REMOTE, CLI_DIRECTORY, CLI_FILE };

struct cli_target; /* one at a time in a process */

/* What an error says besides its sentence. */
struct cli_trouble {
    struct kvsql_error error;
    char hint[TARGET_HINT_MAX]; /* what to do; may be "" */
    int offset;                 /* byte of the SQL text, or -1 */
};

/* Open the place that `settings` and `place` name: --dir, else a URL, else a
 * file; NULL is the server at KVSQL_URL or CLI_URL_DEFAULT. A directory is
 * opened read only unless `write`. */
KV_INTERNAL kvsql_rc cli_target_open(const struct cli_settings *settings,
                                     const char *place, bool write,
                                     struct cli_target **target,
                                     struct kvsql_error *err) KV_MUST_USE;
/* KVSQL_IO, KVSQL_FULL: the end of the wal of a directory that was written
 * could not be made durable. */
KV_INTERNAL kvsql_rc cli_target_close(struct cli_target *target,
                                      struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL enum cli_target_kind cli_target_kind(
    const struct cli_target *target);
/* URL, directory or file, for people. */
KV_INTERNAL const char *cli_target_name(const struct cli_target *target);
/* End what runs with KVSQL_INTERRUPT, and what would follow; from a signal
 * handler. cli_target_resume: that is over, a new line was asked for. */
KV_INTERNAL void cli_target_interrupt(void);
KV_INTERNAL void cli_target_resume(void);
/* Print the error and give the exit code: CLI_UNREACHABLE when no server
 * answers. */
KV_INTERNAL int cli_target_refuse(const struct kvsql_error *err);

/* ---- SQL ---------------------------------------------------------------------- */

/* Where rows go. `names` live for the call; values until the next row. */
struct cli_rows {
    kvsql_rc (*begin)(void *arg, unsigned columns, const char *const *names,
                      struct kvsql_error *err);
    kvsql_rc (*row)(void *arg, unsigned columns, const struct vt_value *values,
                    struct kvsql_error *err);
    void *arg;
};

struct cli_answer {
    bool rows;          /* the statement gives rows */
    bool truncated;     /* a limit cut them */
    uint64_t row_count;
    int64_t changes;    /* when it gives no rows */
};

/* Run one statement. `row_max` 0 = no limit of ours. The rows of a failed
 * statement may have been given in part. */
KV_INTERNAL kvsql_rc cli_target_sql(struct cli_target *target, const char *sql,
                                    size_t size, unsigned param_count,
                                    const struct vt_value *params,
                                    uint64_t row_max,
                                    const struct cli_rows *rows,
                                    struct cli_answer *answer,
                                    struct cli_trouble *trouble) KV_MUST_USE;

/* Statements as one transaction, on a server: all, or with the first error
 * nothing. With `rollback` they are run and taken back. What each answers goes
 * to `rows`; *changes is the sum. */
KV_INTERNAL kvsql_rc cli_target_transaction(struct cli_target *target,
                                            unsigned count,
                                            const kvsql_slice *statements,
                                            bool rollback,
                                            const struct cli_rows *rows,
                                            int64_t *changes,
                                            struct cli_trouble *trouble)
    KV_MUST_USE;
/* True when a session keeps a transaction open between statements. */
KV_INTERNAL bool cli_target_has_session(const struct cli_target *target);
KV_INTERNAL bool cli_target_in_transaction(const struct cli_target *target);

/* Have a server make a snapshot and wait for it; its JSON is appended. */
KV_INTERNAL kvsql_rc cli_target_snapshot(struct cli_target *target,
                                         struct kv_buf *answer,
                                         struct kvsql_error *err) KV_MUST_USE;

/* What a server says of its snapshots, and of one that is being written:
 * {"running":..,"done":..,"total":..,..}, appended. */
KV_INTERNAL kvsql_rc cli_target_snapshots(struct cli_target *target,
                                          struct kv_buf *answer,
                                          struct kvsql_error *err) KV_MUST_USE;

/* ---- commands ----------------------------------------------------------------- */

/* Run each by itself; `replies` gets one value for each, in order, error
 * replies included. */
KV_INTERNAL kvsql_rc cli_target_pipeline(struct cli_target *target,
                                         const struct cmd_words *batch,
                                         struct cmd_reply *replies,
                                         struct kvsql_error *err) KV_MUST_USE;
/* Run all as one atomic batch, and wait until it is acknowledged: safe by the
 * policy of the store. An error of any command is the result. */
KV_INTERNAL kvsql_rc cli_target_batch(struct cli_target *target,
                                      const struct cmd_words *batch,
                                      struct kvsql_error *err) KV_MUST_USE;

#endif
