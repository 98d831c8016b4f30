/* dot.c - lines for the shell itself, with sqlite3's names where it has them.
 *
 * Thread: the main thread. */
#include <errno.h>
#include <string.h>

#include "cli/shell.h"
#include "command/command.h"
#include "kvsql/base/text.h"

#define DOT_ARGS_MAX 16
#define DOT_ARG_MAX 1024
#define DOT_SQL_MAX 8192

struct dot_call {
    struct cli_shell *shell;
    unsigned argc;
    char argv[DOT_ARGS_MAX][DOT_ARG_MAX];
};

struct dot_row {
    const char *name, *arguments, *summary;
    unsigned least, most; /* arguments */
    kvsql_rc (*run)(struct dot_call *call);
};
#define DOT_ROWS 17
static const struct dot_row dot_rows[DOT_ROWS + 1];

static kvsql_rc dot_wrong(struct cli_shell *shell, const char *format,
                          const char *word)
{
    struct cli_trouble trouble = {.offset = -1};

    (void)kv_fail(&trouble.error, KVSQL_INVALID, format, word);
    (void)snprintf(trouble.hint, sizeof trouble.hint, ".help lists them");
    return cli_shell_trouble(shell, &trouble, "", 0);
}

static kvsql_rc dot_bool(struct dot_call *call, bool *value)
{
    const char *word = call->argv[1];

    if (strcmp(word, "on") == 0 || strcmp(word, "yes") == 0)
        *value = true;
    else if (strcmp(word, "off") == 0 || strcmp(word, "no") == 0)
        *value = false;
    else
        return dot_wrong(call->shell, "'%s' is not on or off", word);
    return KVSQL_OK;
}

static kvsql_rc dot_mode(struct dot_call *call)
{
    struct cli_print *print = &call->shell->print;

    if (call->argc == 1) {
        fprintf(print->out, "%s\n", cli_mode_name(print->mode));
        return KVSQL_OK;
    }
    const enum cli_mode mode = cli_mode_find(call->argv[1]);
    if (mode == CLI_MODES)
        return dot_wrong(call->shell, "no mode '%s'", call->argv[1]);
    print->mode = mode;
    if (call->argc == 3)
        (void)snprintf(print->table, sizeof print->table, "%.60s",
                       call->argv[2]);
    return KVSQL_OK;
}

static kvsql_rc dot_headers(struct dot_call *call)
{
    return dot_bool(call, &call->shell->print.headers);
}

static kvsql_rc dot_timer(struct dot_call *call)
{
    return dot_bool(call, &call->shell->timer);
}

static kvsql_rc dot_nullvalue(struct dot_call *call)
{
    (void)snprintf(call->shell->print.null_text, PRINT_TEXT_MAX, "%.60s",
                   call->argv[1]);
    return KVSQL_OK;
}

static kvsql_rc dot_separator(struct dot_call *call)
{
    (void)snprintf(call->shell->print.separator, PRINT_TEXT_MAX, "%.60s",
                   call->argv[1]);
    return KVSQL_OK;
}

static kvsql_rc dot_quit(struct dot_call *call)
{
    call->shell->quit = true;
    return KVSQL_OK;
}

/* A statement of the shell's own. */
static kvsql_rc dot_sql(struct dot_call *call, const char *sql)
{
    return cli_shell_sql(call->shell, sql, strlen(sql));
}

static kvsql_rc dot_tables(struct dot_call *call)
{
    if (cli_target_kind(call->shell->target) == CLI_FILE)
        return dot_sql(call, "SELECT name AS tbl FROM sqlite_schema WHERE type "
                             "IN ('table','view') ORDER BY name");
    return dot_sql(call, "SELECT tbl, group_concat(name, ', ') AS columns FROM "
                         "(SELECT tbl, name FROM kv_columns WHERE NOT hidden "
                         "ORDER BY tbl, cid) GROUP BY tbl ORDER BY tbl");
}

/* The argument as an SQL literal behind `before`. */
static kvsql_rc dot_quoted(struct dot_call *call, const char *before,
                           const char *behind)
{
    char sql[DOT_SQL_MAX];
    size_t n = (size_t)snprintf(sql, sizeof sql, "%s'", before);

    for (const char *p = call->argv[1]; *p != '\0' && n + 4 < sizeof sql;
         p++) {
        if (*p == '\'')
            sql[n++] = '\'';
        sql[n++] = *p;
    }
    (void)snprintf(sql + n, sizeof sql - n, "'%s", behind);
    return dot_sql(call, sql);
}

static kvsql_rc dot_schema(struct dot_call *call)
{
    if (cli_target_kind(call->shell->target) == CLI_FILE)
        return dot_sql(call, "SELECT sql FROM sqlite_schema WHERE sql IS NOT "
                             "NULL ORDER BY name");
    if (call->argc == 1)
        return dot_sql(call, "SELECT tbl, name, type, pk, hidden, doc FROM "
                             "kv_columns ORDER BY tbl, cid");
    return dot_quoted(call,
                      "SELECT name, type, pk, hidden, doc FROM kv_columns "
                      "WHERE tbl = ",
                      " ORDER BY cid");
}

static kvsql_rc dot_peek(struct dot_call *call)
{
    static const char *const parts[][2] = {
        {"SELECT type, length, expires_at FROM keys WHERE key = ", ""},
        {"SELECT substr(value, 1, 4096) AS value FROM strings WHERE key = ",
         ""},
        {"SELECT field, substr(value, 1, 200) AS value FROM hashes WHERE key "
         "= ",
         " ORDER BY field LIMIT 20"},
        {"SELECT idx, substr(value, 1, 200) AS value FROM lists WHERE key = ",
         " ORDER BY idx LIMIT 20"},
        {"SELECT member FROM sets WHERE key = ", " ORDER BY member LIMIT 20"},
        {"SELECT member, score FROM zsets WHERE key = ",
         " ORDER BY score, member LIMIT 20"}};
    kvsql_rc rc = KVSQL_OK;

    for (size_t i = 0; i < sizeof parts / sizeof *parts && rc == KVSQL_OK; i++)
        rc = dot_quoted(call, parts[i][0], parts[i][1]);
    return rc;
}

static kvsql_rc dot_keys(struct dot_call *call)
{
    char pattern[DOT_ARG_MAX];

    (void)snprintf(pattern, sizeof pattern, "%.1000s", call->argv[1]);
    (void)snprintf(call->argv[1], DOT_ARG_MAX, "%.1000s*", pattern);
    return dot_quoted(call,
                      "SELECT key, type, length, expires_at FROM keys WHERE "
                      "key GLOB ",
                      " ORDER BY key LIMIT 100");
}

static kvsql_rc dot_redirect(struct dot_call *call, bool once)
{
    struct cli_print *print = &call->shell->print;

    if (print->out != stdout)
        (void)fclose(print->out);
    print->out = stdout;
    if (call->argc == 1 || strcmp(call->argv[1], "stdout") == 0)
        return KVSQL_OK;
    FILE *file = fopen(call->argv[1], "we");
    if (file == NULL)
        return dot_wrong(call->shell, "cannot write %s", call->argv[1]);
    print->out = file;
    call->shell->once = once;
    return KVSQL_OK;
}

static kvsql_rc dot_output(struct dot_call *call)
{
    return dot_redirect(call, false);
}

static kvsql_rc dot_once(struct dot_call *call)
{
    return dot_redirect(call, true);
}

static kvsql_rc dot_read(struct dot_call *call)
{
    if (call->shell->reading == SHELL_READ_MAX)
        return dot_wrong(call->shell, ".read is nested too deep at %s",
                         call->argv[1]);
    FILE *file = fopen(call->argv[1], "re");
    if (file == NULL)
        return dot_wrong(call->shell, "cannot read %s", call->argv[1]);
    call->shell->reading++;
    const kvsql_rc rc = cli_shell_file(call->shell, file);
    call->shell->reading--;
    (void)fclose(file);
    return rc;
}

static kvsql_rc dot_show(struct dot_call *call)
{
    const struct cli_shell *shell = call->shell;

    fprintf(shell->print.out,
            "place      %s\nmode       %s\nheaders    %s\nnullvalue  \"%s\"\n"
            "separator  \"%s\"\ntimer      %s\n",
            cli_target_name(shell->target), cli_mode_name(shell->print.mode),
            shell->print.headers ? "on" : "off", shell->print.null_text,
            shell->print.separator, shell->timer ? "on" : "off");
    return KVSQL_OK;
}

static kvsql_rc dot_connect(struct dot_call *call)
{
    struct cli_shell *shell = call->shell;
    struct cli_target *target;
    struct kvsql_error err;

    if (cli_target_has_session(shell->target))
        return dot_wrong(shell,
                         "%s is open in this process; leave and start again",
                         cli_target_name(shell->target));
    if (cli_target_open(shell->settings, call->argv[1], false, &target,
                        &err) != KVSQL_OK)
        return dot_wrong(shell, "%s", err.text);
    const kvsql_rc rc = cli_target_close(shell->target, &err);
    shell->target = target;
    return rc;
}

static kvsql_rc dot_help(struct dot_call *call)
{
    FILE *out = call->shell->print.out;

    for (const struct dot_row *row = dot_rows; row->name != NULL; row++)
        fprintf(out, ".%-10s %-14s %s\n", row->name, row->arguments,
                row->summary);
    fputs("\nSELECT ...;     SQL, ends with a semicolon\n"
          "HGETALL user:1  any other line is a command\n"
          "\nexamples\n"
          "  SELECT type, count(*), sum(memory) FROM keys GROUP BY type;\n"
          "  SELECT key, memory FROM keys ORDER BY memory DESC LIMIT 10;\n"
          "  SELECT key, ttl FROM keys WHERE ttl < 60000;\n",
          out);
    return KVSQL_OK;
}

static const struct dot_row dot_rows[DOT_ROWS + 1] = {
    {"connect", "URL|FILE.db", "ask another place", 1, 1, dot_connect},
    {"exit", "", "leave", 0, 0, dot_quit},
    {"headers", "on|off", "names of columns before rows", 1, 1, dot_headers},
    {"help", "", "this text", 0, 1, dot_help},
    {"keys", "PREFIX", "keys that begin so", 1, 1, dot_keys},
    {"mode", "[MODE [TABLE]]", "form of rows", 0, 2, dot_mode},
    {"nullvalue", "TEXT", "what NULL looks like", 1, 1, dot_nullvalue},
    {"once", "FILE", "the next result into FILE", 1, 1, dot_once},
    {"output", "[FILE]", "results into FILE, or back", 0, 1, dot_output},
    {"peek", "KEY", "type, time to live and the beginning of a value", 1, 1,
     dot_peek},
    {"quit", "", "leave", 0, 0, dot_quit},
    {"read", "FILE", "run the lines of FILE", 1, 1, dot_read},
    {"schema", "[TABLE]", "columns and what they hold", 0, 1, dot_schema},
    {"separator", "TEXT", "between columns in list mode", 1, 1, dot_separator},
    {"show", "", "the settings above", 0, 0, dot_show},
    {"tables", "", "the tables", 0, 0, dot_tables},
    {"timer", "on|off", "time of each statement", 1, 1, dot_timer},
    {NULL, NULL, NULL, 0, 0, NULL}};

static kvsql_rc dot_unknown(struct dot_call *call)
{
    const char *names[sizeof dot_rows / sizeof *dot_rows];
    struct cli_trouble trouble = {.offset = -1};
    size_t n = 0;

    for (const struct dot_row *row = dot_rows; row->name != NULL; row++)
        names[n++] = row->name;
    names[n] = NULL;
    const int near = kv_text_nearest(call->argv[0] + 1, names);
    if (near < 0)
        return dot_wrong(call->shell, "unknown '%s'", call->argv[0]);
    (void)kv_fail(&trouble.error, KVSQL_INVALID,
                  "unknown '%.60s': did you mean .%s?", call->argv[0],
                  names[near]);
    (void)snprintf(trouble.hint, sizeof trouble.hint, ".help lists them");
    return cli_shell_trouble(call->shell, &trouble, "", 0);
}

kvsql_rc cli_shell_dot(struct cli_shell *shell, const char *line, size_t size)
{
    static kvsql_slice argv[CMD_LINE_ARGS_MAX];
    struct dot_call call = {.shell = shell};
    struct kvsql_error err;
    struct kv_buf words;
    unsigned argc = 0;

    kv_buf_init(&words, KV_MEM_CLIENT, SHELL_TEXT_MAX);
    kvsql_rc rc = cmd_split(line, size, &words, argv, &argc, &err);
    call.argc = argc < DOT_ARGS_MAX ? argc : DOT_ARGS_MAX;
    for (unsigned i = 0; i < call.argc; i++)
        (void)snprintf(call.argv[i], DOT_ARG_MAX, "%.*s", (int)argv[i].size,
                       (const char *)argv[i].p);
    kv_buf_fini(&words);
    if (rc != KVSQL_OK)
        return dot_wrong(shell, "%s", err.text);
    for (const struct dot_row *row = dot_rows; row->name != NULL; row++) {
        if (strcmp(row->name, call.argv[0] + 1) != 0)
            continue;
        if (argc - 1 < row->least || argc - 1 > row->most)
            return dot_wrong(shell, "it is .%s", row->name);
        return row->run(&call);
    }
    return dot_unknown(&call);
}
