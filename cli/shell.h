/* shell.h - the state of `kvsql sql`, shared by the loop, the statements and
 * the dot commands.
 *
 * Thread: the main thread. */
#ifndef KVSQL_CLI_SHELL_H
#define KVSQL_CLI_SHELL_H

#include "cli/print.h"

#define SHELL_TEXT_MAX (16u << 20)   /* bytes of one statement */
#define SHELL_STATEMENTS_MAX 1000    /* in one collected transaction */
#define SHELL_READ_MAX 8             /* depth of .read */

struct cli_shell {
    const struct cli_settings *settings;
    struct cli_target *target;
    struct cli_print print;
    bool interactive; /* prompts, redis-cli's typed replies */
    bool timer, keep_going;
    bool once;        /* .once: back to stdout behind the next result */
    bool quit;
    unsigned reading; /* depth of .read */
    kvsql_rc worst;   /* first error, for the exit code */
    uint64_t row_max;
    struct kv_buf text; /* of a statement that has not ended */
    /* BEGIN on a server: statements are collected and sent at COMMIT */
    bool collecting;
    struct kv_buf collected;
    size_t ends[SHELL_STATEMENTS_MAX];
    unsigned collected_count;
};

/* Take in one line of input (without its end). */
KV_INTERNAL kvsql_rc cli_shell_line(struct cli_shell *shell, const char *line,
                                    size_t size) KV_MUST_USE;
/* What is left in `text` is a statement without `;`: run it. */
KV_INTERNAL kvsql_rc cli_shell_finish(struct cli_shell *shell) KV_MUST_USE;
/* One whole SQL statement and its result. */
KV_INTERNAL kvsql_rc cli_shell_sql(struct cli_shell *shell, const char *sql,
                                   size_t size) KV_MUST_USE;
/* A line of commands. */
KV_INTERNAL kvsql_rc cli_shell_command(struct cli_shell *shell,
                                       const char *line, size_t size)
    KV_MUST_USE;
/* ".name argument ..." */
KV_INTERNAL kvsql_rc cli_shell_dot(struct cli_shell *shell, const char *line,
                                   size_t size) KV_MUST_USE;
/* Lines of a file until its end or .quit. */
KV_INTERNAL kvsql_rc cli_shell_file(struct cli_shell *shell, FILE *file)
    KV_MUST_USE;
/* Say what went wrong; gives the result back. */
KV_INTERNAL kvsql_rc cli_shell_trouble(struct cli_shell *shell,
                                       const struct cli_trouble *trouble,
                                       const char *sql, size_t size);

/* Does the text begin as SQL? */
KV_INTERNAL bool cli_statement_is_sql(const char *text, size_t size);
/* Blanks, comments and semicolons alone? */
KV_INTERNAL bool cli_statement_is_empty(const char *text, size_t size);
/* Bytes up to and with the `;` that ends the first statement; 0 when it has
 * not ended. Quotes, comments and bodies of triggers are seen. */
KV_INTERNAL size_t cli_statement_end(const char *text, size_t size);
/* Is the first word of the text `word` (lower case)? */
KV_INTERNAL bool cli_statement_begins(const char *text, size_t size,
                                      const char *word);

/* Lines from a person: with editing and a history where libedit is there. */
struct cli_editor;
KV_INTERNAL struct cli_editor *cli_editor_open(void);
KV_INTERNAL void cli_editor_close(struct cli_editor *editor);
/* The next line without its end, valid until the next call; NULL at the end of
 * input; an empty line when Ctrl-C took it back. */
KV_INTERNAL const char *cli_editor_line(struct cli_editor *editor,
                                        const char *prompt, size_t *size);

#endif
