/* shell.c - statements, commands and lines of `kvsql sql`.
 *
 * A line that begins with a word of SQL opens a statement, which ends with its
 * `;`; a line that begins with `.` is for the shell; any other is a command.
 * A server takes a transaction as one request, so BEGIN collects statements
 * there until COMMIT sends them, or ROLLBACK has them run and taken back.
 *
 * Thread: the main thread. */
#include "cli/shell.h"

#include <stdlib.h>
#include <string.h>

#include "cli/remote.h"
#include "command/command.h"
#include "kvsql/base/os.h"

kvsql_rc cli_shell_trouble(struct cli_shell *shell,
                           const struct cli_trouble *trouble, const char *sql,
                           size_t size)
{
    const kvsql_rc rc = trouble->error.rc;
    const char *hint = trouble->hint[0] != '\0' ? trouble->hint
                                                : kv_error_row(rc)->hint;

    fflush(shell->print.out);
    fprintf(stderr, "error: %s\n", trouble->error.text);
    if (trouble->offset >= 0 && (size_t)trouble->offset <= size) {
        size_t from = (size_t)trouble->offset, to = from;

        while (from > 0 && sql[from - 1] != '\n')
            from--;
        while (to < size && sql[to] != '\n')
            to++;
        fprintf(stderr, "  %.*s\n  %*s^\n", (int)(to - from), sql + from,
                (int)((size_t)trouble->offset - from), "");
    }
    if (hint[0] != '\0' && rc != KVSQL_CLOSED)
        fprintf(stderr, "  hint: %s\n", hint);
    if (shell->worst == KVSQL_OK)
        shell->worst = rc;
    return rc;
}

static kvsql_rc shell_error(struct cli_shell *shell,
                            const struct kvsql_error *err)
{
    const struct cli_trouble trouble = {.error = *err, .offset = -1};

    return cli_shell_trouble(shell, &trouble, "", 0);
}

/* Ctrl-C came while nothing ran that it could end: what follows it does not
 * begin. */
static kvsql_rc shell_going_on(struct cli_shell *shell)
{
    struct kvsql_error err;

    if (cli_interrupted == 0)
        return KVSQL_OK;
    (void)kv_fail(&err, KVSQL_INTERRUPT, "interrupted: the rest was not run");
    return shell_error(shell, &err);
}

/* Behind a result: .once ends, the time is told. */
static void shell_done(struct cli_shell *shell, uint64_t began_ns)
{
    if (shell->timer)
        fprintf(shell->print.out, "time: %.3f s\n",
                (double)(kv_os_mono_ns() - began_ns) / 1e9);
    fflush(shell->print.out);
    if (shell->once && shell->print.out != stdout) {
        (void)fclose(shell->print.out);
        shell->print.out = stdout;
    }
    shell->once = false;
}

/* ---- transactions on a server ----------------------------------------------------- */

static kvsql_rc shell_collect(struct cli_shell *shell, const char *sql,
                              size_t size)
{
    struct kvsql_error err;

    if (shell->collected_count == SHELL_STATEMENTS_MAX) {
        (void)kv_fail(&err, KVSQL_TOOBIG,
                      "more than %d statements in a transaction",
                      SHELL_STATEMENTS_MAX);
        return shell_error(shell, &err);
    }
    kv_buf_add(&shell->collected, sql, size);
    if (kv_buf_result(&shell->collected, "a transaction", &err) != KVSQL_OK)
        return shell_error(shell, &err);
    shell->ends[shell->collected_count++] = shell->collected.size;
    return KVSQL_OK;
}

/* Rows of each statement of a transaction: print_end must come between. */
struct shell_results {
    struct cli_print *print;
    bool open;
};

static kvsql_rc shell_results_begin(void *arg, unsigned columns,
                                    const char *const *names,
                                    struct kvsql_error *err)
{
    struct shell_results *results = arg;
    const struct cli_rows rows = cli_print_rows(results->print);
    kvsql_rc rc = KVSQL_OK;

    if (results->open)
        rc = cli_print_end(results->print, err);
    results->open = true;
    return rc == KVSQL_OK ? rows.begin(rows.arg, columns, names, err) : rc;
}

static kvsql_rc shell_results_row(void *arg, unsigned columns,
                                  const struct vt_value *values,
                                  struct kvsql_error *err)
{
    struct shell_results *results = arg;
    const struct cli_rows rows = cli_print_rows(results->print);

    return rows.row(rows.arg, columns, values, err);
}

static kvsql_rc shell_send(struct cli_shell *shell, bool rollback)
{
    static kvsql_slice statements[SHELL_STATEMENTS_MAX];
    struct shell_results results = {.print = &shell->print};
    const struct cli_rows rows = {.begin = shell_results_begin,
                                  .row = shell_results_row,
                                  .arg = &results};
    const unsigned count = shell->collected_count;
    struct cli_trouble trouble = {.offset = -1};
    int64_t changes = 0;
    size_t from = 0;

    for (unsigned i = 0; i < count; i++) {
        statements[i] = (kvsql_slice){shell->collected.p + from,
                                      shell->ends[i] - from};
        from = shell->ends[i];
    }
    shell->collecting = false;
    shell->collected_count = 0;
    if (count == 0)
        return KVSQL_OK;
    kvsql_rc rc = cli_target_transaction(shell->target, count, statements,
                                         rollback, &rows, &changes, &trouble);
    if (rc == KVSQL_OK && results.open)
        rc = cli_print_end(&shell->print, &trouble.error);
    kv_buf_reset(&shell->collected, SHELL_TEXT_MAX);
    if (rc != KVSQL_OK)
        return cli_shell_trouble(shell, &trouble, "", 0);
    if (shell->interactive)
        fprintf(shell->print.out, "%s: %lld changed\n",
                rollback ? "rolled back" : "committed", (long long)changes);
    return KVSQL_OK;
}

/* BEGIN, COMMIT, ROLLBACK and what stands between them, on a server. */
static bool shell_transaction(struct cli_shell *shell, const char *sql,
                              size_t size, kvsql_rc *rc)
{
    *rc = KVSQL_OK;
    if (!shell->collecting) {
        if (!cli_statement_begins(sql, size, "begin"))
            return false;
        shell->collecting = true;
        shell->collected_count = 0;
        kv_buf_reset(&shell->collected, SHELL_TEXT_MAX);
        return true;
    }
    if (cli_statement_begins(sql, size, "commit") ||
        cli_statement_begins(sql, size, "end"))
        *rc = shell_send(shell, false);
    else if (cli_statement_begins(sql, size, "rollback") &&
             memmem(sql, size, " TO ", 4) == NULL &&
             memmem(sql, size, " to ", 4) == NULL)
        *rc = shell_send(shell, true);
    else
        *rc = shell_collect(shell, sql, size);
    return true;
}

/* ---- one statement, one command ---------------------------------------------------- */

kvsql_rc cli_shell_sql(struct cli_shell *shell, const char *sql, size_t size)
{
    const uint64_t began = kv_os_mono_ns();
    const struct cli_rows rows = cli_print_rows(&shell->print);
    struct cli_answer answer;
    struct cli_trouble trouble;
    kvsql_rc rc = shell_going_on(shell);

    if (rc != KVSQL_OK)
        return rc;
    if (!cli_target_has_session(shell->target) &&
        shell_transaction(shell, sql, size, &rc))
        return rc;
    rc = cli_target_sql(shell->target, sql, size, 0, NULL, shell->row_max,
                        &rows, &answer, &trouble);
    if (rc == KVSQL_OK && answer.rows)
        rc = cli_print_end(&shell->print, &trouble.error);
    if (rc != KVSQL_OK)
        return cli_shell_trouble(shell, &trouble, sql, size);
    if (shell->interactive && !answer.rows && answer.changes > 0)
        fprintf(shell->print.out, "%lld changed\n", (long long)answer.changes);
    if (answer.truncated) {
        fflush(shell->print.out);
        fprintf(stderr, "cut after %llu rows: --max-rows, LIMIT, or WHERE key "
                        "> the last one\n",
                (unsigned long long)answer.row_count);
    }
    shell_done(shell, began);
    return KVSQL_OK;
}

/* A command that empties the store is asked for once more on a terminal. */
static bool shell_sure(const struct cli_shell *shell, kvsql_slice name)
{
    char answer[8];

    if (!shell->interactive || name.size < 7 ||
        strncasecmp(name.p, "flush", 5) != 0)
        return true;
    fputs("This removes all keys. Type yes: ", stdout);
    fflush(stdout);
    return fgets(answer, sizeof answer, stdin) != NULL &&
           strcmp(answer, "yes\n") == 0;
}

kvsql_rc cli_shell_command(struct cli_shell *shell, const char *line,
                           size_t size)
{
    static kvsql_slice argv[CMD_LINE_ARGS_MAX];
    const uint64_t began = kv_os_mono_ns();
    struct cmd_words batch;
    struct cmd_reply reply;
    struct kvsql_error err;
    struct kv_buf words;
    unsigned argc = 0;
    size_t offset = 0;
    bool failed = false;
    kvsql_rc rc = shell_going_on(shell);

    if (rc != KVSQL_OK)
        return rc;
    kv_buf_init(&words, KV_MEM_CLIENT, SHELL_TEXT_MAX);
    cmd_words_init(&batch, TARGET_BATCH_MAX);
    cmd_reply_init(&reply, TARGET_REPLY_MAX);
    rc = cmd_split(line, size, &words, argv, &argc, &err);
    if (rc == KVSQL_OK && argc > 0 && shell_sure(shell, argv[0])) {
        cmd_words_begin(&batch);
        for (unsigned i = 0; i < argc; i++)
            cmd_words_word(&batch, argv[i].p, argv[i].size);
        rc = cli_target_pipeline(shell->target, &batch, &reply, &err);
        if (rc == KVSQL_OK)
            cli_print_reply(shell->print.out, &reply, &offset,
                            shell->interactive, &failed);
    }
    if (rc != KVSQL_OK)
        (void)shell_error(shell, &err);
    else if (failed && shell->worst == KVSQL_OK)
        shell->worst = KVSQL_INVALID;
    cmd_reply_fini(&reply);
    cmd_words_fini(&batch);
    kv_buf_fini(&words);
    shell_done(shell, began);
    return rc == KVSQL_OK && failed ? KVSQL_INVALID : rc;
}

/* ---- lines ------------------------------------------------------------------------ */

/* Run the statements in `text` that have ended; keep the rest. */
static kvsql_rc shell_statements(struct cli_shell *shell)
{
    const char *text = (const char *)shell->text.p;
    size_t at = 0, end;
    kvsql_rc rc = KVSQL_OK;

    while ((end = cli_statement_end(text + at, shell->text.size - at)) > 0) {
        const kvsql_rc one = cli_statement_is_empty(text + at, end)
                                 ? KVSQL_OK
                                 : cli_shell_sql(shell, text + at, end);

        at += end;
        if (one != KVSQL_OK)
            rc = one;
        if (one != KVSQL_OK && (cli_interrupted != 0 ||
                                (!shell->keep_going && !shell->interactive)))
            break;
    }
    while (at < shell->text.size && strchr(" \t\r\n", text[at]) != NULL)
        at++;
    if (at > 0) {
        memmove(shell->text.p, shell->text.p + at, shell->text.size - at);
        shell->text.size -= at;
    }
    return rc;
}

kvsql_rc cli_shell_line(struct cli_shell *shell, const char *line, size_t size)
{
    const size_t blank = strspn(line, " \t\r");
    struct kvsql_error err;

    if (shell->text.size == 0) {
        if (blank >= size || line[blank] == '#')
            return KVSQL_OK;
        if (line[blank] == '.')
            return cli_shell_dot(shell, line + blank, size - blank);
        if (!cli_statement_is_sql(line, size))
            return cli_shell_command(shell, line + blank, size - blank);
    }
    kv_buf_add(&shell->text, line, size);
    kv_buf_byte(&shell->text, '\n');
    if (kv_buf_result(&shell->text, "a statement", &err) != KVSQL_OK) {
        kv_buf_fini(&shell->text);
        kv_buf_init(&shell->text, KV_MEM_CLIENT, SHELL_TEXT_MAX);
        return shell_error(shell, &err);
    }
    return shell_statements(shell);
}

kvsql_rc cli_shell_finish(struct cli_shell *shell)
{
    kvsql_rc rc = KVSQL_OK;

    if (!cli_statement_is_empty((const char *)shell->text.p, shell->text.size))
        rc = cli_shell_sql(shell, (const char *)shell->text.p,
                           shell->text.size);
    kv_buf_reset(&shell->text, SHELL_TEXT_MAX);
    if (rc == KVSQL_OK && shell->collecting && shell->collected_count > 0) {
        struct kvsql_error err;

        (void)kv_fail(&err, KVSQL_ABORT,
                      "the input ended inside a transaction; nothing of it "
                      "was sent");
        rc = shell_error(shell, &err);
    }
    return rc;
}

kvsql_rc cli_shell_file(struct cli_shell *shell, FILE *file)
{
    char *input = NULL;
    size_t input_size = 0;
    ssize_t size;
    kvsql_rc rc = KVSQL_OK;

    while (!shell->quit && cli_interrupted == 0 &&
           (size = getline(&input, &input_size, file)) >= 0) {
        while (size > 0 && (input[size - 1] == '\n' || input[size - 1] == '\r'))
            input[--size] = '\0';
        const kvsql_rc one = cli_shell_line(shell, input, (size_t)size);
        if (one != KVSQL_OK)
            rc = one;
        if (one != KVSQL_OK && (cli_interrupted != 0 || !shell->keep_going))
            break;
    }
    free(input); /* getline's block */
    if (cli_interrupted != 0)
        return rc == KVSQL_INTERRUPT ? rc : shell_going_on(shell);
    if (rc == KVSQL_OK || shell->keep_going) {
        const kvsql_rc last = cli_shell_finish(shell);

        if (last != KVSQL_OK)
            rc = last;
    }
    return rc;
}
