/* option.c - the option table, and how the layers are laid over each other.
 *
 * The command line is read first, because it names the configuration file; it
 * is laid on top last. A value that was copied lives in a list until
 * cli_settings_fini; values of the command line and of the environment are
 * borrowed from the process.
 *
 * Thread: the main thread. */
#include "cli/option.h"

#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "command/command.h"
#include "kvsql/admin.h"
#include "kvsql/base/buf.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define OPTION_FILE_MAX (1u << 20) /* bytes of a configuration file */
#define OPTION_ENV_MAX 128         /* bytes of a name in the environment */
#define OPTION_NOTE_MAX 900        /* bytes of names in a message */
#define OPTION_SHORT_HELP 'h'
#define OPTION_SHORT_COMMAND 'c'
#define OPTION_LONG_HELP 1000      /* getopt value; others are 1001 + id */

extern char **environ;

struct cli_kept {
    struct cli_kept *next;
    size_t size; /* of the whole block */
    char text[];
};

#define F CLI_FROM_FILE
#define FE (CLI_FROM_FILE | CLI_FROM_ENV)
#define EL (CLI_FROM_ENV | CLI_FROM_LINE)
#define L CLI_FROM_LINE
#define FEL (CLI_FROM_FILE | CLI_FROM_ENV | CLI_FROM_LINE)
#define FER (FE | CLI_AT_RELOAD)
#define FELR (FEL | CLI_AT_RELOAD)
#define FELG (FEL | CLI_GUARDED)
#define FN (F | L | CLI_REMEMBERED)
#define FNG (FN | CLI_GUARDED)
#define FNR (FN | CLI_AT_RELOAD)
static const struct cli_option option_rows[] = {
#define CLI_OPTION(id, name, scope, kind, initial, argument, where, doc)      \
    {name, scope, kind, initial, argument, where, doc},
#define CLI_REDIS(id, name, kind, initial, argument, where)                   \
    {name, CLI_SERVING, kind, initial, argument, where, ""},
#include "cli/options.def"
#undef CLI_OPTION
#undef CLI_REDIS
};
#undef F
#undef FE
#undef EL
#undef L
#undef FEL
#undef FER
#undef FELR
#undef FELG
#undef FN
#undef FNG
#undef FNR

struct option_alias {
    const char *name;
    enum cli_option_id id;
};
static const struct option_alias option_aliases[] = {
#define CLI_OPTION(id, name, scope, kind, initial, argument, where, doc)
#define CLI_ALIAS(name, id) {name, CLI_OPT_##id},
#include "cli/options.def"
#undef CLI_OPTION
#undef CLI_ALIAS
};

/* Lines of a redis.conf that stop the start, and why. */
static const struct {
    const char *name, *why;
} option_refused[] = {
#define CLI_OPTION(id, name, scope, kind, initial, argument, where, doc)
#define CLI_REFUSED(name, why) {name, why},
#include "cli/options.def"
#undef CLI_OPTION
#undef CLI_REFUSED
};

#define OPTION_ALIASES (sizeof option_aliases / sizeof *option_aliases)
#define OPTION_REFUSED (sizeof option_refused / sizeof *option_refused)
#define OPTION_NAMES_MAX (CLI_OPT_COUNT + OPTION_ALIASES + 2)

const struct cli_option *cli_option_row(unsigned id)
{
    return id < CLI_OPT_COUNT ? &option_rows[id] : NULL;
}

/* ---- finding ------------------------------------------------------------------ */

const char *cli_option_alias(unsigned index, enum cli_option_id *id)
{
    if (index >= OPTION_ALIASES)
        return NULL;
    *id = option_aliases[index].id;
    return option_aliases[index].name;
}

int cli_option_find(const char *name, unsigned scope, unsigned where)
{
    for (int i = 0; i < CLI_OPT_COUNT; i++)
        if ((option_rows[i].scope & scope) != 0 &&
            (option_rows[i].where & where) != 0 &&
            strcasecmp(option_rows[i].name, name) == 0)
            return i;
    for (size_t i = 0; i < OPTION_ALIASES; i++) {
        const struct cli_option *row = &option_rows[option_aliases[i].id];

        if ((row->scope & scope) != 0 && (row->where & where) != 0 &&
            strcasecmp(option_aliases[i].name, name) == 0)
            return (int)option_aliases[i].id;
    }
    return -1;
}

/* The name nearest to `name`, or NULL. */
static const char *option_nearest(const char *name, unsigned scope,
                                  unsigned where)
{
    const char *names[OPTION_NAMES_MAX];
    size_t n = 0;

    for (int i = 0; i < CLI_OPT_COUNT; i++)
        if ((option_rows[i].scope & scope) != 0 &&
            (option_rows[i].where & where) != 0)
            names[n++] = option_rows[i].name;
    for (size_t i = 0; i < OPTION_ALIASES; i++) {
        const struct cli_option *row = &option_rows[option_aliases[i].id];

        if ((row->scope & scope) != 0 && (row->where & where) != 0)
            names[n++] = option_aliases[i].name;
    }
    if (where == CLI_FROM_LINE)
        names[n++] = "help";
    names[n] = NULL;
    const int found = kv_text_nearest(name, names);
    return found < 0 ? NULL : names[found];
}

static struct cli_kept *option_copy(const char *p, size_t size)
{
    const size_t block = sizeof(struct cli_kept) + size + 1;
    struct cli_kept *text = kv_mem_alloc(KV_MEM_MISC, block);

    if (text == NULL)
        return NULL;
    text->size = block;
    memcpy(text->text, p, size);
    text->text[size] = '\0';
    return text;
}

/* A copy of `size` bytes that lives as long as the settings. */
static const char *option_keep(struct cli_settings *settings, const char *p,
                               size_t size)
{
    struct cli_kept *text = option_copy(p, size);

    if (text == NULL)
        return NULL;
    text->next = settings->texts;
    settings->texts = text;
    return text->text;
}

static kvsql_rc option_set(struct cli_settings *settings, int id,
                           const char *text, enum cli_layer layer,
                           struct kvsql_error *err)
{
    const kvsql_rc rc = cli_value_check(&option_rows[id], text, err);

    if (rc == KVSQL_OK) {
        settings->value[id] = text;
        settings->layer[id] = layer;
    }
    return rc;
}

/* ---- the configuration file --------------------------------------------------- */

static kvsql_rc option_file(struct cli_settings *settings, const char *path,
                            unsigned depth, struct kvsql_error *err);

/* Set option `id` from the words behind its name, joined by blanks. A second
 * line of `save` or of client-output-buffer-limit adds to those before, as in
 * redis.conf. */
static kvsql_rc option_line_set(struct cli_settings *settings, int id,
                                unsigned argc, const kvsql_slice *argv,
                                struct kvsql_error *err)
{
    const enum cli_kind kind = option_rows[id].kind;
    const bool adds = kind == CLI_SAVE || kind == CLI_LIMITS;
    const bool many = adds || kind == CLI_WORDS || kind == CLI_PERCENTS;
    struct kv_buf joined;

    if (argc < 2 || (argc > 2 && !many))
        return kv_fail(err, KVSQL_SYNTAX, "%s takes %s, here are %u",
                       option_rows[id].name, many ? "values" : "one value",
                       argc - 1);
    kv_buf_init(&joined, KV_MEM_MISC, OPTION_FILE_MAX);
    if (adds && settings->layer[id] == CLI_LAYER_FILE && argv[1].size > 0 &&
        settings->value[id][0] != '\0') {
        kv_buf_text(&joined, settings->value[id]);
        kv_buf_byte(&joined, ' ');
    }
    for (unsigned i = 1; i < argc; i++) {
        if (i > 1)
            kv_buf_byte(&joined, ' ');
        kv_buf_add(&joined, argv[i].p, argv[i].size);
    }
    kvsql_rc rc = kv_buf_result(&joined, "an option's value", err);
    if (rc == KVSQL_OK && joined.size > 0 &&
        memchr(joined.p, '\0', joined.size) != NULL) /* by an escape */
        rc = kv_fail(err, KVSQL_SYNTAX, "%s: a value cannot hold a NUL byte",
                     option_rows[id].name);
    if (rc == KVSQL_OK) {
        const char *text = option_keep(
            settings, joined.p != NULL ? (const char *)joined.p : "",
            joined.size);

        rc = text == NULL
                 ? kv_fail(err, KVSQL_NOMEM, "no memory for an option")
                 : option_set(settings, id, text, CLI_LAYER_FILE, err);
    }
    kv_buf_fini(&joined);
    return rc;
}

/* A pattern means all files that match it, in order of name; none is fine, as
 * in Redis. */
static kvsql_rc option_include(struct cli_settings *settings, const char *path,
                               unsigned depth, struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;
    glob_t found;

    if (strpbrk(path, "*?[") == NULL)
        return option_file(settings, path, depth, err);
    if (glob(path, 0, NULL, &found) != 0)
        return KVSQL_OK;
    for (size_t i = 0; i < found.gl_pathc && rc == KVSQL_OK; i++)
        rc = option_file(settings, found.gl_pathv[i], depth, err);
    globfree(&found);
    return rc;
}

/* One line, already split. `name` is NUL-terminated argv[0]. */
static kvsql_rc option_line(struct cli_settings *settings, const char *name,
                            unsigned argc, const kvsql_slice *argv,
                            unsigned depth, struct kvsql_error *err)
{
    const int id = cli_option_find(name, settings->scope, CLI_FROM_FILE);

    if (id >= 0)
        return option_line_set(settings, id, argc, argv, err);
    if (strcmp(name, "include") == 0) {
        if (argc != 2)
            return kv_fail(err, KVSQL_SYNTAX, "include takes one file");
        const char *path = option_keep(settings, argv[1].p, argv[1].size);
        if (path == NULL)
            return kv_fail(err, KVSQL_NOMEM, "no memory for a file name");
        return option_include(settings, path, depth + 1, err);
    }
    for (size_t i = 0; i < OPTION_REFUSED; i++)
        if (strcasecmp(name, option_refused[i].name) == 0)
            return kv_fail(err, KVSQL_SYNTAX, "%s: %s", name,
                           option_refused[i].why);
    if (cli_option_find(name, settings->scope, CLI_FROM_LINE) >= 0)
        return kv_fail(err, KVSQL_SYNTAX,
                       "%s is for the command line only, as --%s", name, name);
    const char *near = option_nearest(name, settings->scope, CLI_FROM_FILE);
    if (near != NULL)
        return kv_fail(err, KVSQL_SYNTAX,
                       "unknown option '%s': did you mean %s?", name, near);
    return kv_fail(err, KVSQL_SYNTAX,
                   "unknown option '%s': see docs/CONFIG.md", name);
}

static kvsql_rc option_parse(struct cli_settings *settings, const char *text,
                             const char *file, unsigned depth,
                             struct kvsql_error *err)
{
    kvsql_slice argv[CMD_LINE_ARGS_MAX];
    struct kv_buf words;
    unsigned line = 0;
    kvsql_rc rc = KVSQL_OK;

    kv_buf_init(&words, KV_MEM_MISC, OPTION_FILE_MAX);
    while (*text != '\0' && rc == KVSQL_OK) {
        struct kvsql_error why = {.rc = KVSQL_OK};
        const size_t size = strcspn(text, "\n");
        const size_t blank = strspn(text, " \t\r");
        unsigned argc = 0;

        line++;
        if (blank < size && text[blank] != '#') {
            kv_buf_reset(&words, OPTION_FILE_MAX);
            rc = cmd_split(text, size, &words, argv, &argc, &why);
            if (rc == KVSQL_OK && argc > 0) {
                const char *name =
                    option_keep(settings, argv[0].p, argv[0].size);

                rc = name == NULL
                         ? kv_fail(&why, KVSQL_NOMEM, "no memory for a line")
                         : option_line(settings, name, argc, argv, depth,
                                       &why);
            }
        }
        if (rc != KVSQL_OK)
            rc = kv_fail(err, rc == KVSQL_NOMEM ? rc : KVSQL_SYNTAX,
                         "%s:%u: %s", file, line, why.text);
        text += size + (text[size] == '\n');
    }
    kv_buf_fini(&words);
    return rc;
}

kvsql_rc cli_settings_parse(struct cli_settings *settings, const char *text,
                            const char *name, struct kvsql_error *err)
{
    return option_parse(settings, text, name, 0, err);
}

kvsql_rc cli_settings_no_nul(const void *text, size_t size, const char *name,
                             struct kvsql_error *err)
{
    const char *p = text;
    const char *nul = size > 0 ? memchr(p, '\0', size) : NULL;
    unsigned line = 1;

    if (nul == NULL)
        return KVSQL_OK;
    for (; p < nul; p++)
        line += *p == '\n';
    return kv_fail(err, KVSQL_SYNTAX,
                   "%s:%u: a NUL byte: this is not a text file", name, line);
}

/* Read `path` ("-" is standard input) whole into buf, NUL-terminated. */
static kvsql_rc option_slurp(const char *path, struct kv_buf *buf,
                             struct kvsql_error *err)
{
    const bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    char block[4096];

    if (file == NULL)
        return kv_fail(err, KVSQL_SYNTAX, "cannot read %s: %s", path,
                       strerror(errno));
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;)
        kv_buf_add(buf, block, n);
    const bool failed = ferror(file) != 0;
    if (!standard && fclose(file) != 0)
        return kv_fail(err, KVSQL_SYNTAX, "cannot read %s", path);
    if (failed)
        return kv_fail(err, KVSQL_SYNTAX, "cannot read %s: %s", path,
                       strerror(errno));
    if (cli_settings_no_nul(buf->p, buf->size, path, err) != KVSQL_OK)
        return KVSQL_SYNTAX;
    kv_buf_byte(buf, '\0');
    return kv_buf_result(buf, "a configuration file", err);
}

static kvsql_rc option_file(struct cli_settings *settings, const char *path,
                            unsigned depth, struct kvsql_error *err)
{
    struct kv_buf buf;

    if (depth > CLI_INCLUDE_MAX)
        return kv_fail(err, KVSQL_SYNTAX,
                       "include is nested more than %d deep at %s",
                       CLI_INCLUDE_MAX, path);
    kv_buf_init(&buf, KV_MEM_MISC, OPTION_FILE_MAX);
    kvsql_rc rc = option_slurp(path, &buf, err);
    if (rc == KVSQL_OK)
        rc = option_parse(settings, (const char *)buf.p, path, depth, err);
    kv_buf_fini(&buf);
    return rc;
}

/* One message for all lines that mean nothing here. */
static void option_note(const struct cli_settings *settings)
{
    char names[OPTION_NOTE_MAX] = "";
    size_t size = 0;
    unsigned count = 0;

    for (int i = 0; i < CLI_OPT_COUNT; i++)
        if ((option_rows[i].where & CLI_REMEMBERED) != 0 &&
            settings->layer[i] == CLI_LAYER_FILE) {
            const char *name = option_rows[i].name;

            count++;
            if (size + strlen(name) + 2 < sizeof names)
                size += (size_t)snprintf(names + size, sizeof names - size,
                                         "%s%s", size > 0 ? " " : "", name);
        }
    if (count > 0)
        kv_diag(KV_INFO, "config.remembered",
                "count=%u note=\"without meaning here\" options=\"%s\"", count,
                names);
}

/* ---- the environment ---------------------------------------------------------- */

/* "KVSQL_HTTP_PORT=" -> "http-port"; false for a name that is too long. */
static bool option_env_name(const char *variable, size_t size,
                            char out[OPTION_ENV_MAX])
{
    if (size >= OPTION_ENV_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        const char c = variable[i];

        out[i] = c == '_' ? '-'
                 : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a')
                                        : c;
    }
    out[size] = '\0';
    return true;
}

/* Variables of ours that are not options: tests and clients read them. */
static bool option_env_other(const char *name)
{
    return strcmp(name, "token") == 0 || strcmp(name, "url") == 0 ||
           strcmp(name, "require-all") == 0;
}

/* Lay the environment over what is there. */
static kvsql_rc option_environment(struct cli_settings *settings,
                                   struct kvsql_error *err)
{
    for (char **p = environ; *p != NULL; p++) {
        const char *equals = strchr(*p, '=');
        char name[OPTION_ENV_MAX];

        if (equals == NULL || strncmp(*p, "KVSQL_", 6) != 0 ||
            !option_env_name(*p + 6, (size_t)(equals - *p) - 6, name))
            continue;
        const int id = cli_option_find(name, settings->scope, CLI_FROM_ENV);
        if (id < 0) {
            if (!option_env_other(name))
                kv_diag(KV_WARN, "config.environment",
                        "unknown=KVSQL_... option=%s", name);
            continue;
        }
        struct kvsql_error why;
        const kvsql_rc rc =
            option_set(settings, id, equals + 1, CLI_LAYER_ENV, &why);
        if (rc != KVSQL_OK)
            return kv_fail(err, KVSQL_SYNTAX, "environment: %s", why.text);
    }
    return KVSQL_OK;
}

/* ---- the command line --------------------------------------------------------- */

/* What the command line said, before it is laid on top. */
struct option_words {
    const char *value[CLI_OPT_COUNT];
};

/* Why getopt_long did not take a word. */
static kvsql_rc option_line_wrong(const struct cli_settings *settings,
                                  char **argv, bool missing,
                                  struct kvsql_error *err)
{
    const char *word = argv[optind - 1];
    char name[OPTION_ENV_MAX];

    if (strncmp(word, "--", 2) != 0)
        return kv_fail(err, KVSQL_INVALID,
                       missing ? "-%c needs a value" : "unknown option -%c",
                       optopt);
    word += 2;
    (void)option_env_name(word, strcspn(word, "="), name);
    if (strcspn(word, "=") >= OPTION_ENV_MAX)
        return kv_fail(err, KVSQL_INVALID, "unknown option --%.40s...", word);
    const int id = cli_option_find(name, settings->scope, CLI_FROM_LINE);
    if (id >= 0 && missing)
        return kv_fail(err, KVSQL_INVALID, "--%s needs a value: %s", name,
                       option_rows[id].argument);
    if (id >= 0)
        return kv_fail(err, KVSQL_INVALID, "--%s takes no value", name);
    if (cli_option_find(name, settings->scope, CLI_FROM_FILE) >= 0)
        return kv_fail(err, KVSQL_INVALID,
                       "--%s is not for the command line, where others can "
                       "read it: put it into a file",
                       name);
    const char *near = option_nearest(name, settings->scope, CLI_FROM_LINE);
    if (near != NULL)
        return kv_fail(err, KVSQL_INVALID,
                       "unknown option --%s: did you mean --%s?", name, near);
    return kv_fail(err, KVSQL_INVALID, "unknown option --%s: see --help",
                   name);
}

/* Has the option no value on the command line? What a file may hold has one,
 * as with redis-server: --appendonly no. */
static bool option_is_bare(const struct cli_option *row)
{
    return row->kind == CLI_FLAG && (row->where & CLI_FROM_FILE) == 0;
}

/* The table for getopt_long. */
static void option_getopt_rows(unsigned scope, struct option *rows)
{
    size_t n = 0;

    for (int i = 0; i < CLI_OPT_COUNT; i++)
        if ((option_rows[i].scope & scope) != 0 &&
            (option_rows[i].where & CLI_FROM_LINE) != 0)
            rows[n++] = (struct option){
                .name = option_rows[i].name,
                .has_arg = option_is_bare(&option_rows[i])
                               ? no_argument
                               : required_argument,
                .val = OPTION_LONG_HELP + 1 + i};
    for (size_t i = 0; i < OPTION_ALIASES; i++)
        if ((option_rows[option_aliases[i].id].scope & scope) != 0)
            rows[n++] = (struct option){
                .name = option_aliases[i].name,
                .has_arg = required_argument,
                .val = OPTION_LONG_HELP + 1 + (int)option_aliases[i].id};
    rows[n++] = (struct option){.name = "help", .val = OPTION_LONG_HELP};
    rows[n] = (struct option){.name = NULL};
}

/* Was the option that getopt_long just took written out? A beginning that is
 * unique today may not be so tomorrow, so it is not accepted. */
static bool option_whole(char **argv, const char *name)
{
    const bool apart = optarg != NULL && optarg == argv[optind - 1];
    const char *word = argv[optind - 1 - apart] + 2;
    const size_t size = strcspn(word, "=");

    if (strlen(name) == size && memcmp(word, name, size) == 0)
        return true;
    optind -= apart; /* option_line_wrong looks at argv[optind - 1] */
    return false;
}

/* Is an empty value of it a mistake, such as a variable of a shell that is not
 * set? Not of a text that may be one, or of a beginning, which all have. */
static bool option_names_something(const struct cli_option *row)
{
    return row->kind == CLI_TEXT && strcmp(row->argument, "TEXT") != 0 &&
           strcmp(row->argument, "PREFIX") != 0;
}

static kvsql_rc option_operands(struct cli_settings *settings, int argc,
                                char **argv, struct kvsql_error *err)
{
    for (int i = optind; i < argc; i++) {
        if (settings->operand_count == CLI_OPERANDS_MAX)
            return kv_fail(err, KVSQL_INVALID, "too many words: '%s'",
                           argv[i]);
        if (argv[i][0] == '\0')
            return kv_fail(err, KVSQL_INVALID,
                           "word %d is empty: is a variable not set?",
                           i - optind + 1);
        settings->operand[settings->operand_count++] = argv[i];
    }
    return KVSQL_OK;
}

static kvsql_rc option_command_line(struct cli_settings *settings, int argc,
                                    char **argv, struct option_words *words,
                                    struct kvsql_error *err)
{
    struct option rows[OPTION_NAMES_MAX];
    const char *letters = (settings->scope & CLI_IN_SQL) ? ":hc:" : ":h";

    option_getopt_rows(settings->scope, rows);
    optind = 0; /* begin anew, also in a second call of a test */
    opterr = 0;
    for (;;) {
        int row = -1;
        const int got = getopt_long(argc, argv, letters, rows, &row);

        if (got == -1)
            break;
        const bool part = row >= 0 && got != '?' && got != ':' &&
                          !option_whole(argv, rows[row].name);
        if (part || got == '?' || got == ':')
            return option_line_wrong(settings, argv, got == ':', err);
        if (got == OPTION_SHORT_HELP || got == OPTION_LONG_HELP) {
            settings->help = true;
            continue;
        }
        const int id = got == OPTION_SHORT_COMMAND
                           ? (int)CLI_OPT_STATEMENT
                           : got - OPTION_LONG_HELP - 1;
        struct kvsql_error why;
        words->value[id] =
            option_is_bare(&option_rows[id]) ? "yes" : optarg;
        if (cli_value_check(&option_rows[id], words->value[id], &why) != KVSQL_OK)
            return kv_fail(err, KVSQL_INVALID, "--%s", why.text);
        if (words->value[id][0] == '\0' &&
            option_names_something(&option_rows[id]))
            return kv_fail(err, KVSQL_INVALID,
                           "--%s needs a value that is not empty: %s",
                           option_rows[id].name, option_rows[id].argument);
    }
    return option_operands(settings, argc, argv, err);
}

/* The configuration file: --config, KVSQL_CONFIG, or the first word of
 * `serve`, the second of `config dump`. */
static const char *option_config_path(struct cli_settings *settings,
                                      const struct option_words *words)
{
    const unsigned at = settings->scope == CLI_IN_CONFIG ? 1 : 0;

    if (words->value[CLI_OPT_CONFIG] != NULL)
        return words->value[CLI_OPT_CONFIG];
    if (settings->operand_count > at)
        return settings->operand[at];
    return getenv("KVSQL_CONFIG");
}

void cli_settings_init(struct cli_settings *settings, unsigned scope)
{
    *settings = (struct cli_settings){.scope = scope};
    for (int i = 0; i < CLI_OPT_COUNT; i++)
        settings->value[i] = option_rows[i].initial;
}

kvsql_rc cli_settings_load(struct cli_settings *settings, unsigned scope,
                           int argc, char **argv, struct kvsql_error *err)
{
    struct option_words words = {.value = {NULL}};
    kvsql_rc rc;

    cli_settings_init(settings, scope);
    rc = option_command_line(settings, argc, argv, &words, err);
    if (rc != KVSQL_OK || settings->help)
        return rc;
    if ((scope & CLI_SERVING) != 0) {
        const char *path = option_config_path(settings, &words);

        if (path != NULL && path[0] != '\0') {
            settings->value[CLI_OPT_CONFIG] = path;
            rc = option_file(settings, path, 0, err);
            if (rc == KVSQL_OK)
                option_note(settings);
        }
        if (rc == KVSQL_OK)
            rc = option_environment(settings, err);
    }
    for (int i = 0; i < CLI_OPT_COUNT && rc == KVSQL_OK; i++)
        if (words.value[i] != NULL) {
            settings->value[i] = words.value[i];
            settings->layer[i] = CLI_LAYER_LINE;
        }
    return rc;
}

void cli_settings_drop_live(struct cli_settings *settings,
                            enum cli_option_id id)
{
    struct cli_kept *kept = settings->live[id];

    if (kept != NULL)
        kv_mem_free(KV_MEM_MISC, kept, kept->size);
    settings->live[id] = NULL;
}

kvsql_rc cli_settings_set_live(struct cli_settings *settings,
                               enum cli_option_id id, const char *text,
                               struct kvsql_error *err)
{
    struct cli_kept *kept = option_copy(text, strlen(text));

    if (kept == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for an option");
    settings->value[id] = kept->text;
    settings->layer[id] = CLI_LAYER_LIVE;
    cli_settings_drop_live(settings, id);
    settings->live[id] = kept;
    return KVSQL_OK;
}

void cli_settings_fini(struct cli_settings *settings)
{
    for (int i = 0; i < CLI_OPT_COUNT; i++)
        cli_settings_drop_live(settings, (enum cli_option_id)i);
    while (settings->texts != NULL) {
        struct cli_kept *text = settings->texts;

        settings->texts = text->next;
        kv_mem_free(KV_MEM_MISC, text, text->size);
    }
}

int cli_settings_refuse(const struct kvsql_error *err)
{
    if (err->rc == KVSQL_INVALID)
        return cli_refuse(CLI_USAGE, "%s", err->text);
    fprintf(stderr, "*** FATAL CONFIG FILE ERROR (kvsql %s) ***\n",
            KVSQL_VERSION);
    return cli_refuse(CLI_CONFIG, "%s", err->text);
}

/* ---- getters ------------------------------------------------------------------ */

const char *cli_text(const struct cli_settings *settings,
                     enum cli_option_id id)
{
    return settings->value[id];
}

uint64_t cli_number(const struct cli_settings *settings, enum cli_option_id id)
{
    const char *text = settings->value[id];
    uint64_t number = 0;
    const bool good = option_rows[id].kind == CLI_SIZE
                          ? kv_num_size(text, &number)
                          : kv_num_uint(text, strlen(text), &number);

    KV_ASSERT(good); /* was checked when it was set */
    return number;
}

int64_t cli_integer(const struct cli_settings *settings, enum cli_option_id id)
{
    const char *text = settings->value[id];
    int64_t number = 0;
    const bool good = kv_num_int(text, strlen(text), &number);

    KV_ASSERT(good); /* was checked when it was set */
    return number;
}

uint64_t cli_duration_ms(const struct cli_settings *settings,
                         enum cli_option_id id)
{
    uint64_t ms = 0;
    const bool good = kv_num_duration(settings->value[id], 1000, &ms);

    KV_ASSERT(good); /* was checked when it was set */
    return ms;
}

bool cli_flag(const struct cli_settings *settings, enum cli_option_id id)
{
    return strcmp(settings->value[id], "yes") == 0;
}

enum kvsql_fsync cli_fsync(const struct cli_settings *settings,
                           enum cli_option_id id)
{
    const char *text = settings->value[id];

    if (strcmp(text, "always") == 0)
        return KVSQL_FSYNC_ALWAYS;
    return strcmp(text, "no") == 0 ? KVSQL_FSYNC_NO : KVSQL_FSYNC_EVERYSEC;
}

enum kvsql_maxmemory_policy cli_maxmemory_policy(
    const struct cli_settings *settings)
{
    enum kvsql_maxmemory_policy policy = KVSQL_NOEVICTION;

    /* the option takes no other words than these */
    (void)kv_maxmemory_policy_of(settings->value[CLI_OPT_MAXMEMORY_POLICY],
                                 &policy);
    return policy;
}

uint64_t cli_save_seconds(const struct cli_settings *settings)
{
    uint64_t seconds = 0;
    const bool good = cli_value_save(settings->value[CLI_OPT_SAVE], &seconds);

    KV_ASSERT(good); /* was checked when it was set */
    return seconds;
}
