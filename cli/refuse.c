/* refuse.c - saying no: one sentence on stderr, and the exit code that goes with
 * it.
 *
 * Thread: main. */
#include <stdarg.h>
#include <stdio.h>

#include "cli/cli.h"

int cli_refuse(enum cli_exit code, const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fputs("kvsql: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return (int)code;
}

int cli_refuse_error(const struct kvsql_error *err)
{
    const struct kv_error_row *row = kv_error_row(err->rc);

    if (err->rc == KVSQL_CORRUPT || err->rc == KVSQL_NEWER)
        return cli_refuse(CLI_DAMAGED, "%s", err->text);
    if (err->rc == KVSQL_INTERRUPT)
        return cli_refuse(CLI_INTERRUPTED, "%s", err->text);
    if (err->rc == KVSQL_NOMEM)
        return cli_refuse(CLI_FAILED, "%s (%s)", err->text, row->hint);
    return cli_refuse(CLI_FAILED, "%s", err->text);
}

bool cli_flush_stdout(void)
{
    return fflush(stdout) == 0 && ferror(stdout) == 0;
}
