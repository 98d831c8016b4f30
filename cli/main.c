/* main.c - `kvsql SUBCOMMAND`: finds the row of subcommands.def and goes there.
 *
 * A server is never started by accident: no subcommand prints the help. Links
 * named kvsql-server and kvsql-cli behave as `serve` and `sql`.
 *
 * Thread: main. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/option.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/text.h"

#define HELP_WIDTH 79
#define HELP_COLUMN 24 /* where the text of an option begins */
#define HELP_LINE_MAX 64
#define HELP_TEXT_MAX 1024

struct main_row {
    const char *name;
    unsigned scope;
    int (*run)(int argc, char **argv);
    const char *synopsis, *summary, *help;
};

static const struct main_row main_rows[] = {
#define CLI_SUBCOMMAND(name, scope, run, synopsis, summary, help)             \
    {name, scope, run, synopsis, summary, help},
#include "cli/subcommands.def"
#undef CLI_SUBCOMMAND
};
#define MAIN_ROWS (sizeof main_rows / sizeof *main_rows)

/* ---- help --------------------------------------------------------------------- */

/* Print `text` from column `at` on, broken at blanks, indented. */
static void main_wrap(const char *text, int at)
{
    int column = at;

    while (*text != '\0') {
        const int word = (int)strcspn(text, " ");

        if (column > at && column + 1 + word > HELP_WIDTH) {
            printf("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > at) {
            putchar(' ');
            column++;
        }
        printf("%.*s", word, text);
        column += word;
        at = HELP_COLUMN;
        text += word + (text[word] == ' ');
    }
    putchar('\n');
}

/* "a|b|c" as "a, b, c: what it does". */
static void main_help_choices(const struct cli_option *row)
{
    char text[HELP_TEXT_MAX];
    size_t n = 0;

    for (const char *p = row->argument; *p != '\0' && n + 3 < sizeof text;
         p++) {
        text[n++] = *p == '|' ? ',' : *p;
        if (*p == '|')
            text[n++] = ' ';
    }
    (void)snprintf(text + n, sizeof text - n, ": %s", row->doc);
    main_wrap(text, HELP_COLUMN);
}

static void main_help_option(const struct cli_option *row)
{
    char head[HELP_LINE_MAX];
    const bool value = row->argument[0] != '\0';
    const int n = snprintf(head, sizeof head, "  --%s%s%s", row->name,
                           value ? " " : "", row->argument);

    if (n >= HELP_COLUMN - 1)
        printf("  --%s\n%*s", row->name, HELP_COLUMN, "");
    else
        printf("%-*s", HELP_COLUMN, head);
    if (n >= HELP_COLUMN - 1 && value)
        main_help_choices(row);
    else
        main_wrap(row->doc, HELP_COLUMN);
    const bool shown = row->kind != CLI_FLAG && row->initial[0] != '\0';
    if (shown)
        printf("%*sdefault %s\n", HELP_COLUMN, "", row->initial);
}

void cli_help(unsigned scope)
{
    const struct main_row *row = main_rows;
    bool any = false;

    while (row->scope != scope)
        row++;
    printf("kvsql %s %s\n%s\n\n%s", row->name, row->synopsis, row->summary,
           row->help);
    for (unsigned i = 0; cli_option_row(i) != NULL; i++) {
        const struct cli_option *option = cli_option_row(i);

        if ((option->scope & scope) == 0 ||
            (option->where & CLI_FROM_LINE) == 0 ||
            (option->where & CLI_REMEMBERED) != 0)
            continue;
        if (!any)
            puts(row->help[0] != '\0' ? "\noptions" : "options");
        any = true;
        main_help_option(option);
    }
}

static void main_help(void)
{
    puts("kvsql SUBCOMMAND ...\n"
         "a typed store in memory, asked in SQL, HTTP and Redis commands\n"
         "\n"
         "  kvsql serve             start a server, data in ./kvsql-data\n"
         "  kvsql sql               ask it\n"
         "\n"
         "subcommands");
    for (size_t i = 0; i < MAIN_ROWS; i++)
        printf("  %-10s %s\n", main_rows[i].name, main_rows[i].summary);
    puts("\n`kvsql SUBCOMMAND --help` tells more. Exit codes: 0 done, 1 failed,"
         "\n2 wrong command line, 3 wrong configuration, 4 damaged data, 5 no"
         "\nserver answers.");
}

/* ---- dispatch ----------------------------------------------------------------- */

static const struct main_row *main_find(const char *name)
{
    for (size_t i = 0; i < MAIN_ROWS; i++)
        if (strcmp(main_rows[i].name, name) == 0)
            return &main_rows[i];
    return NULL;
}

static int main_unknown(const char *name)
{
    const char *names[MAIN_ROWS + 1];

    for (size_t i = 0; i < MAIN_ROWS; i++)
        names[i] = main_rows[i].name;
    names[MAIN_ROWS] = NULL;
    const int near = kv_text_nearest(name, names);
    if (near >= 0)
        return cli_refuse(CLI_USAGE,
                          "unknown subcommand '%s': did you mean %s?", name,
                          names[near]);
    return cli_refuse(CLI_USAGE, "unknown subcommand '%s': see kvsql help",
                      name);
}

int cli_help_command(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == '-') {
        main_help();
        return CLI_DONE;
    }
    const struct main_row *row = main_find(argv[1]);
    if (row == NULL)
        return main_unknown(argv[1]);
    cli_help(row->scope);
    return CLI_DONE;
}

/* The name that the program was called by, without folders. */
static const char *main_own_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* What the store says of its opening is for servers; a person who asks for
 * more has KVSQL_LOGLEVEL. */
static void main_quiet(void)
{
    if (getenv("KVSQL_LOGLEVEL") == NULL)
        kv_diag_level_set(KV_WARN);
}

static int main_run(int argc, char **argv)
{
    const char *own = argc > 0 ? main_own_name(argv[0]) : "kvsql";

    if (strcmp(own, "kvsql-server") == 0)
        return cli_serve(argc, argv);
    if (strcmp(own, "kvsql-cli") == 0) {
        main_quiet();
        return cli_sql(argc, argv);
    }
    if (argc < 2 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "--help") == 0) {
        main_help();
        return CLI_DONE;
    }
    if (strcmp(argv[1], "--version") == 0)
        return cli_version(1, argv + 1);
    const struct main_row *row = main_find(argv[1]);
    if (row != NULL && row->scope != CLI_IN_SERVE)
        main_quiet();
    return row != NULL ? row->run(argc - 1, argv + 1) : main_unknown(argv[1]);
}

int main(int argc, char **argv)
{
    /* Characters are UTF-8 whatever the user's language; numbers stay C. */
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL)
        (void)setlocale(LC_CTYPE, "");
    (void)signal(SIGPIPE, SIG_IGN);
    const int code = main_run(argc, argv);
    if (!cli_flush_stdout() && code == CLI_DONE)
        return cli_refuse(CLI_FAILED, "cannot write to standard output");
    return code;
}
