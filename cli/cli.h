/* cli.h - what the files of the program share: exit codes, the subcommands,
 * and how a refusal is said.
 *
 * Thread: the main thread, unless said. */
#ifndef KVSQL_CLI_CLI_H
#define KVSQL_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/error.h"
#include "kvsql/kvsql.h"

/* Exit codes, part of the program's face. */
enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,      /* the operation failed */
    CLI_USAGE = 2,       /* the command line is wrong */
    CLI_CONFIG = 3,      /* the configuration is wrong */
    CLI_DAMAGED = 4,     /* data on disk is damaged */
    CLI_UNREACHABLE = 5, /* no server answers */
    CLI_INTERRUPTED = 130
};

#define CLI_URL_DEFAULT "http://127.0.0.1:8080"

/* Each subcommand gets the words behind its name, and gives the exit code. */
#define CLI_SUBCOMMAND(name, scope, run, synopsis, summary, help)             \
    KV_INTERNAL int run(int argc, char **argv);
#include "cli/subcommands.def"
#undef CLI_SUBCOMMAND

/* Print "kvsql: sentence" to stderr and give back `code`. */
KV_INTERNAL int cli_refuse(enum cli_exit code, const char *format, ...)
    KV_PRINTF(2, 3);
/* The same for an error of the library, with the hint of its row. The code is
 * CLI_DAMAGED for damage, CLI_USAGE for an invalid argument of the command
 * line when `usage`, else CLI_FAILED. */
KV_INTERNAL int cli_refuse_error(const struct kvsql_error *err);

/* Help of the subcommand in `scope` on stdout. */
KV_INTERNAL void cli_help(unsigned scope);

/* Let SQL sessions run commands: kv(), kv_exec, the table commands. Before the
 * first session of the process. */
KV_INTERNAL void cli_join_sql(void);

/* Flush stdout and say whether all that was printed has arrived. */
KV_INTERNAL bool cli_flush_stdout(void);

#endif
