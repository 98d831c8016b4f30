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

enum cli_scope {
    CLI_IN_SERVE = 1,
    CLI_IN_SQL = 2,
    CLI_IN_IMPORT = 4,
    CLI_IN_EXPORT = 8,
    CLI_IN_SNAPSHOT = 16,
    CLI_IN_CHECK = 32,
    CLI_IN_CONFIG = 64,
    CLI_IN_VERSION = 128,
    CLI_IN_HELP = 256
};
#define CLI_SERVING (CLI_IN_SERVE | CLI_IN_CONFIG)
#define CLI_PLACES (CLI_IN_SQL | CLI_IN_IMPORT | CLI_IN_EXPORT)
#define CLI_CLIENTS (CLI_PLACES | CLI_IN_SNAPSHOT)
#define CLI_FACTS (CLI_IN_VERSION | CLI_IN_SNAPSHOT | CLI_IN_CHECK)

enum cli_kind {
    CLI_TEXT,
    CLI_WORDS,    /* several words with blanks between */
    CLI_UINT,
    CLI_PORT,     /* 0 to 65535 */
    CLI_SIZE,     /* bytes, with kb mb gb k m g */
    CLI_DURATION, /* with ms s m h d; bare numbers are seconds */
    CLI_CHOICE,   /* one of the words in `argument`, '|' between */
    CLI_SAVE,     /* SECONDS CHANGES, several pairs, or nothing */
    CLI_SECRET,   /* text that is never shown */
    CLI_FLAG
};

/* Where an option may be set. */
enum cli_where {
    CLI_FROM_FILE = 1,
    CLI_FROM_ENV = 2,
    CLI_FROM_LINE = 4,
    CLI_AT_RELOAD = 8
};

/* Layers, the later wins. */
enum cli_layer {
    CLI_LAYER_BUILTIN,
    CLI_LAYER_FILE,
    CLI_LAYER_ENV,
    CLI_LAYER_LINE
};

enum cli_option_id {
#define CLI_OPTION(id, name, scope, kind, initial, argument, where, doc)      \
    CLI_OPT_##id,
#include "cli/options.def"
#undef CLI_OPTION
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
};

/* Row `id`; NULL behind the last. */
KV_INTERNAL const struct cli_option *cli_option_row(unsigned id);

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

/* Getters. */
KV_INTERNAL const char *cli_text(const struct cli_settings *settings,
                                 enum cli_option_id id);
KV_INTERNAL uint64_t cli_number(const struct cli_settings *settings,
                                enum cli_option_id id);
KV_INTERNAL uint64_t cli_duration_ms(const struct cli_settings *settings,
                                     enum cli_option_id id);
KV_INTERNAL bool cli_flag(const struct cli_settings *settings,
                          enum cli_option_id id);
KV_INTERNAL enum kvsql_fsync cli_fsync(const struct cli_settings *settings,
                                       enum cli_option_id id);
/* Seconds of the `save` pair that counts; 0 when there is none. */
KV_INTERNAL uint64_t cli_save_seconds(const struct cli_settings *settings);

/* The parser of the file, for tests: lines of `text` from a file called
 * `name`. */
KV_INTERNAL kvsql_rc cli_settings_parse(struct cli_settings *settings,
                                        const char *text, const char *name,
                                        struct kvsql_error *err) KV_MUST_USE;
/* All defaults of `scope`, nothing read. */
KV_INTERNAL void cli_settings_init(struct cli_settings *settings,
                                   unsigned scope);

#endif
