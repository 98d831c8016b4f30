/* option.h - the options of one run: from options.def, a configuration file,
 * the environment and the command line, each value with the layer it came
 * from.
 *
 * A value is kept as text and has been checked when it is set, so the getters
 * cannot fail. Secrets never reach a message.
 *
 * Thread: the main thread; read-only once loaded. */
#ifndef KVSQL_CLI_OPTION_H
#define KVSQL_CLI_OPTION_H

#include "cli/cli.h"
#include "kvsql/base/buf.h"

enum cli_scope {
    CLI_IN_SERVE = 1,
    CLI_IN_SQL = 2,
    CLI_IN_IMPORT = 4,
    CLI_IN_EXPORT = 8,
    CLI_IN_SNAPSHOT = 16,
    CLI_IN_CHECK = 32,
    CLI_IN_CONFIG = 64,
    CLI_IN_VERSION = 128,
    CLI_IN_HELP = 256,
    CLI_IN_RESTORE = 512
};
#define CLI_SERVING (CLI_IN_SERVE | CLI_IN_CONFIG)
#define CLI_PLACES (CLI_IN_SQL | CLI_IN_IMPORT | CLI_IN_EXPORT)
#define CLI_CLIENTS (CLI_PLACES | CLI_IN_SNAPSHOT)
#define CLI_FACTS                                                             \
    (CLI_IN_VERSION | CLI_IN_SNAPSHOT | CLI_IN_CHECK | CLI_IN_RESTORE)

enum cli_kind {
    CLI_TEXT,
    CLI_WORDS,    /* several words with blanks between */
    CLI_UINT,
    CLI_PORT,     /* 0 to 65535 */
    CLI_SIZE,     /* bytes, with kb mb gb k m g */
    CLI_DURATION, /* with ms s m h d; bare numbers are seconds; 0 is none, but
                     where it is the default */
    CLI_CHOICE,   /* one of the words in `argument`, '|' between */
    CLI_SAVE,     /* SECONDS CHANGES, several pairs, or nothing */
    CLI_RANGE,    /* a number in LOW..HIGH of `argument` */
    CLI_PERCENTS, /* numbers from 0 to 100 */
    CLI_EVENTS,   /* classes of keyspace events, a letter each */
    CLI_LIMITS,   /* CLASS HARD SOFT SECONDS, several times */
    CLI_SECRET,   /* text that is never shown */
    CLI_FLAG
};

/* Where an option may be set. */
enum cli_where {
    CLI_FROM_FILE = 1,
    CLI_FROM_ENV = 2,
    CLI_FROM_LINE = 4,
    CLI_AT_RELOAD = 8,
    CLI_REMEMBERED = 16, /* a parameter of Redis without a meaning here */
    CLI_GUARDED = 32     /* CONFIG SET: protected */
};

/* Layers, the later wins. */
enum cli_layer {
    CLI_LAYER_BUILTIN,
    CLI_LAYER_FILE,
    CLI_LAYER_ENV,
    CLI_LAYER_LINE,
    CLI_LAYER_LIVE /* CONFIG SET */
};

enum cli_option_id {
#define CLI_OPTION(id, name, scope, kind, initial, argument, where, doc)      \
    CLI_OPT_##id,
#define CLI_REDIS(id, name, kind, initial, argument, where) CLI_OPT_##id,
#include "cli/options.def"
#undef CLI_OPTION
#undef CLI_REDIS
    CLI_OPT_COUNT
};

struct cli_option {
    const char *name;
    unsigned scope;
    enum cli_kind kind;
    const char *initial, *argument;
    unsigned where;
    const char *doc;
};

#define CLI_OPERANDS_MAX 8
#define CLI_INCLUDE_MAX 8 /* depth of `include` */

struct cli_kept; /* a copied value, in a list */

struct cli_settings {
    unsigned scope;
    const char *value[CLI_OPT_COUNT];
    enum cli_layer layer[CLI_OPT_COUNT];
    const char *operand[CLI_OPERANDS_MAX]; /* words that are no options */
    unsigned operand_count;
    bool help; /* -h or --help was among them */
    struct cli_kept *texts;
    struct cli_kept *live[CLI_OPT_COUNT]; /* values of CLI_LAYER_LIVE */
};

/* Row `id`; NULL behind the last. */
KV_INTERNAL const struct cli_option *cli_option_row(unsigned id);
/* The id of an option of `scope` that may be set at `where`, by its name or a
 * second name in any case; -1. */
KV_INTERNAL int cli_option_find(const char *name, unsigned scope,
                                unsigned where);
/* Second name `index` and whose it is; NULL behind the last. */
KV_INTERNAL const char *cli_option_alias(unsigned index,
                                         enum cli_option_id *id);

/* Read the command line of the subcommand `scope`; for those that serve also
 * the environment and the configuration file before it. KVSQL_INVALID: the
 * command line is wrong (exit CLI_USAGE); KVSQL_SYNTAX: file or environment
 * are (exit CLI_CONFIG), err names file, line and the nearest name. */
KV_INTERNAL kvsql_rc cli_settings_load(struct cli_settings *settings,
                                       unsigned scope, int argc, char **argv,
                                       struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void cli_settings_fini(struct cli_settings *settings);

/* Print what is wrong with options, in the way of `rc` above, and give the
 * exit code. */
KV_INTERNAL int cli_settings_refuse(const struct kvsql_error *err);

/* Set a value, that has been checked, at run time. NOMEM: nothing changed. */
KV_INTERNAL kvsql_rc cli_settings_set_live(struct cli_settings *settings,
                                           enum cli_option_id id,
                                           const char *text,
                                           struct kvsql_error *err);

/* Free the copy of a value of CLI_LAYER_LIVE, if there is one. */
KV_INTERNAL void cli_settings_drop_live(struct cli_settings *settings,
                                        enum cli_option_id id);

/* ---- values (value.c) ------------------------------------------------------ */

/* Is `text` a value of the option? The sentence does not show secrets. */
KV_INTERNAL kvsql_rc cli_value_check(const struct cli_option *row,
                                     const char *text,
                                     struct kvsql_error *err);
/* What Redis says of a value that is none. */
KV_INTERNAL void cli_value_complain(const struct cli_option *row,
                                    const char *text, char *out, size_t size);
/* Append the value as CONFIG GET gives it: sizes in bytes, no secrets. */
KV_INTERNAL void cli_value_show(const struct cli_option *row, const char *text,
                                struct kv_buf *out);
/* What a value of client-output-buffer-limit says of who has subscribed: hard
 * and soft bytes, seconds. */
KV_INTERNAL void cli_value_pubsub_limit(const char *text,
                                        uint64_t numbers[3]);
/* Seconds of the `save` pair that counts, 0 for none; false: not pairs. */
KV_INTERNAL bool cli_value_save(const char *text, uint64_t *seconds);
/* The next word of *text, its size; 0 at the end. */
KV_INTERNAL size_t cli_value_word(const char **text, const char **word);

/* Getters. */
KV_INTERNAL const char *cli_text(const struct cli_settings *settings,
                                 enum cli_option_id id);
KV_INTERNAL uint64_t cli_number(const struct cli_settings *settings,
                                enum cli_option_id id);
KV_INTERNAL int64_t cli_integer(const struct cli_settings *settings,
                                enum cli_option_id id);
KV_INTERNAL uint64_t cli_duration_ms(const struct cli_settings *settings,
                                     enum cli_option_id id);
KV_INTERNAL bool cli_flag(const struct cli_settings *settings,
                          enum cli_option_id id);
KV_INTERNAL enum kvsql_fsync cli_fsync(const struct cli_settings *settings,
                                       enum cli_option_id id);
KV_INTERNAL enum kvsql_maxmemory_policy cli_maxmemory_policy(
    const struct cli_settings *settings);
/* Seconds of the `save` pair that counts; 0 when there is none. */
KV_INTERNAL uint64_t cli_save_seconds(const struct cli_settings *settings);

/* No NUL byte is in a file: SYNTAX names the line of the first. */
KV_INTERNAL kvsql_rc cli_settings_no_nul(const void *text, size_t size,
                                         const char *name,
                                         struct kvsql_error *err);
/* The parser of the file, for tests: lines of `text` from a file called
 * `name`. */
KV_INTERNAL kvsql_rc cli_settings_parse(struct cli_settings *settings,
                                        const char *text, const char *name,
                                        struct kvsql_error *err) KV_MUST_USE;
/* All defaults of `scope`, nothing read. */
KV_INTERNAL void cli_settings_init(struct cli_settings *settings,
                                   unsigned scope);

#endif
