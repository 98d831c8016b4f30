/* print.h - rows and replies as text.
 *
 * The row modes have sqlite3's names and forms, so a pipe behind sqlite3 works
 * behind kvsql too. Modes with columns of equal width (box, column, markdown,
 * table) keep the rows until the end; the others print each at once.
 *
 * Thread: the owner's. */
#ifndef KVSQL_CLI_PRINT_H
#define KVSQL_CLI_PRINT_H

#include <stdio.h>

#include "cli/target.h"

#define PRINT_KEPT_MAX ((size_t)1 << 29) /* bytes of rows that are kept */
#define PRINT_TEXT_MAX 64                /* bytes of a separator, NULL text */

enum cli_mode {
    CLI_MODE_ASCII,
    CLI_MODE_BOX,
    CLI_MODE_COLUMN,
    CLI_MODE_CSV,
    CLI_MODE_HTML,
    CLI_MODE_INSERT,
    CLI_MODE_JSON,
    CLI_MODE_LINE,
    CLI_MODE_LIST,
    CLI_MODE_MARKDOWN,
    CLI_MODE_QUOTE,
    CLI_MODE_TABLE,
    CLI_MODE_TABS,
    CLI_MODES
};

struct cli_print {
    FILE *out;
    enum cli_mode mode;
    bool headers;
    char null_text[PRINT_TEXT_MAX], separator[PRINT_TEXT_MAX];
    char table[PRINT_TEXT_MAX]; /* of insert mode */
    /* the result that is printed */
    unsigned columns;
    uint64_t rows;
    struct kv_buf names; /* NUL-terminated, behind each other */
    struct kv_buf cells; /* per cell: u64 offset, u64 size, u64 kind */
    struct kv_buf text;
    struct kv_buf line;  /* of the modes that print at once */
};

KV_INTERNAL void cli_print_init(struct cli_print *print, FILE *out,
                                enum cli_mode mode);
KV_INTERNAL void cli_print_fini(struct cli_print *print);
/* CLI_MODES when there is no such mode. */
KV_INTERNAL enum cli_mode cli_mode_find(const char *name);
KV_INTERNAL const char *cli_mode_name(enum cli_mode mode);

/* The sink for cli_target_sql. */
KV_INTERNAL struct cli_rows cli_print_rows(struct cli_print *print);
/* Behind the last row: print what was kept, close brackets. */
KV_INTERNAL kvsql_rc cli_print_end(struct cli_print *print,
                                   struct kvsql_error *err) KV_MUST_USE;

/* One value of a reply from *offset on, in redis-cli's form: with types and
 * numbers for people when `typed`, else bare. KVSQL_OK also for an error
 * reply; *failed tells. */
KV_INTERNAL void cli_print_reply(FILE *out, const struct cmd_reply *reply,
                                 size_t *offset, bool typed, bool *failed);

/* SQLite's text of a REAL. */
#define CLI_REAL_TEXT_MAX 40
KV_INTERNAL const char *cli_real_text(char out[CLI_REAL_TEXT_MAX], double real);

#endif
