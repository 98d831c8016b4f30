/* sql.c - `kvsql sql`: opens the place, then runs one statement, a script from
 * standard input, or the shell.
 *
 * Thread: the main thread; the handler of SIGINT cancels what runs. */
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/remote.h"
#include "cli/shell.h"

static void sql_interrupt(int number)
{
    (void)number;
    cli_target_interrupt();
}

static void sql_signals(void)
{
    struct sigaction action = {.sa_handler = sql_interrupt};

    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
}

/* Is the word a place: a URL, or a file that is there or is called so? */
static bool sql_is_place(const char *word)
{
    const size_t size = strlen(word);
    struct stat info;

    if (strncmp(word, "http://", 7) == 0 || strncmp(word, "https://", 8) == 0)
        return true;
    if (size > 3 && strcmp(word + size - 3, ".db") == 0)
        return true;
    return strchr(word, ' ') == NULL && stat(word, &info) == 0 &&
           S_ISREG(info.st_mode);
}

static void sql_shell_init(struct cli_shell *shell,
                           const struct cli_settings *settings,
                           struct cli_target *target, bool interactive)
{
    const char *mode = cli_text(settings, CLI_OPT_MODE);
    const char *separator = cli_text(settings, CLI_OPT_SEPARATOR);

    shell->settings = settings;
    shell->target = target;
    shell->interactive = interactive;
    shell->keep_going = cli_flag(settings, CLI_OPT_KEEP_GOING);
    shell->row_max = cli_target_kind(target) == CLI_REMOTE
                         ? cli_number(settings, CLI_OPT_MAX_ROWS)
                         : 0;
    cli_print_init(&shell->print, stdout,
                   mode[0] != '\0' ? cli_mode_find(mode)
                   : isatty(STDOUT_FILENO) == 1 ? CLI_MODE_BOX
                                                : CLI_MODE_LIST);
    shell->print.headers = cli_flag(settings, CLI_OPT_HEADER);
    (void)snprintf(shell->print.null_text, PRINT_TEXT_MAX, "%.60s",
                   cli_text(settings, CLI_OPT_NULLVALUE));
    if (separator[0] != '\0')
        (void)snprintf(shell->print.separator, PRINT_TEXT_MAX, "%.60s",
                       separator);
    kv_buf_init(&shell->text, KV_MEM_CLIENT, SHELL_TEXT_MAX);
    kv_buf_init(&shell->collected, KV_MEM_CLIENT, SHELL_TEXT_MAX);
}

static void sql_shell_fini(struct cli_shell *shell)
{
    if (shell->print.out != stdout)
        (void)fclose(shell->print.out);
    cli_print_fini(&shell->print);
    kv_buf_fini(&shell->text);
    kv_buf_fini(&shell->collected);
}

/* Prompts until the end of input. Errors are told and do not end it. */
static kvsql_rc sql_interact(struct cli_shell *shell)
{
    struct cli_editor *editor = cli_editor_open();
    unsigned cancelled = 0;

    if (editor == NULL)
        return KVSQL_NOMEM;
    printf("kvsql %s at %s\n.help tells, .quit leaves\n", KVSQL_VERSION,
           cli_target_name(shell->target));
    while (!shell->quit) {
        size_t size = 0;
        const char *line = cli_editor_line(
            editor, shell->text.size > 0 ? "   ...> " : "kvsql> ", &size);

        if (line == NULL)
            break;
        if (cli_interrupted != 0) { /* Ctrl-C: drop the line; twice: leave */
            kv_buf_reset(&shell->text, SHELL_TEXT_MAX);
            if (++cancelled == 2)
                break;
            continue;
        }
        cancelled = 0;
        if (cli_shell_line(shell, line, size) != KVSQL_OK)
            shell->worst = KVSQL_OK; /* it was told */
        if (cli_interrupted != 0) /* what stands behind it on its line */
            kv_buf_reset(&shell->text, SHELL_TEXT_MAX);
    }
    cli_editor_close(editor);
    return KVSQL_OK;
}

static int sql_code(kvsql_rc rc)
{
    if (rc == KVSQL_OK)
        return CLI_DONE;
    if (rc == KVSQL_CLOSED)
        return CLI_UNREACHABLE;
    if (rc == KVSQL_INTERRUPT && cli_interrupted != 0)
        return CLI_INTERRUPTED;
    return rc == KVSQL_CORRUPT ? CLI_DAMAGED : CLI_FAILED;
}

static int sql_run(const struct cli_settings *settings, const char *place,
                   const char *statement)
{
    const bool interactive = statement == NULL && isatty(STDIN_FILENO) == 1 &&
                             isatty(STDOUT_FILENO) == 1;
    static struct cli_shell shell;
    struct cli_target *target;
    struct kvsql_error err;
    kvsql_rc rc = cli_target_open(settings, place, false, &target, &err);

    if (rc != KVSQL_OK)
        return cli_target_refuse(&err);
    sql_signals();
    sql_shell_init(&shell, settings, target, interactive);
    if (statement != NULL) {
        rc = cli_shell_line(&shell, statement, strlen(statement));
        if (rc == KVSQL_OK)
            rc = cli_shell_finish(&shell);
    } else {
        rc = interactive ? sql_interact(&shell) : cli_shell_file(&shell, stdin);
    }
    sql_shell_fini(&shell);
    const kvsql_rc closed = cli_target_close(shell.target, &err);
    if (rc == KVSQL_OK && closed != KVSQL_OK)
        return cli_refuse_error(&err);
    return sql_code(rc);
}

/* Words: [PLACE] [STATEMENT]. */
static int sql_words(const struct cli_settings *settings)
{
    const bool dir = cli_text(settings, CLI_OPT_PLACE_DIR)[0] != '\0';
    const char *statement = cli_text(settings, CLI_OPT_STATEMENT);
    const unsigned n = settings->operand_count;
    unsigned at = 0;
    const char *place = NULL;

    if (statement[0] == '\0')
        statement = NULL;
    if (!dir && n > 0 && sql_is_place(settings->operand[0]))
        place = settings->operand[at++];
    if (at < n && statement == NULL)
        statement = settings->operand[at++];
    if (at < n)
        return cli_refuse(CLI_USAGE,
                          "one word too many: '%s' (quote the statement)",
                          settings->operand[at]);
    return sql_run(settings, place, statement);
}

int cli_sql(int argc, char **argv)
{
    struct cli_settings settings;
    struct kvsql_error err;
    int code;

    if (cli_settings_load(&settings, CLI_IN_SQL, argc, argv, &err) !=
        KVSQL_OK) {
        code = cli_settings_refuse(&err);
    } else if (settings.help) {
        cli_help(CLI_IN_SQL);
        code = CLI_DONE;
    } else {
        code = sql_words(&settings);
    }
    cli_settings_fini(&settings);
    return code;
}
