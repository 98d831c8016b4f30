/* syntax.h - the syntax column of commands.def as a tree of arguments, and
 * where the keys of a command are.
 *
 *   key value [NX | XX] [EX seconds | PX milliseconds | KEEPTTL]
 *
 * Words without small letters are tokens, others are values; [ ] may be left
 * out, < | > is a choice, [x ...] behind x repeats it. A token owns the values
 * behind it up to the next token or bracket.
 *
 * Thread: any; nothing is shared. */
#ifndef KVSQL_COMMAND_SYNTAX_H
#define KVSQL_COMMAND_SYNTAX_H

#include "command/command.h"

enum cmd_arg_kind {
    CMD_ARG_VALUE,  /* one word of the client's */
    CMD_ARG_TOKEN,  /* the token alone */
    CMD_ARG_ONEOF,
    CMD_ARG_BLOCK
};
#define CMD_ARG_OPTIONAL 1u
#define CMD_ARG_MULTIPLE 2u
#define CMD_ARG_MULTIPLE_TOKEN 4u
#define CMD_ARG_NONE UINT8_MAX

struct cmd_arg {
    enum cmd_arg_kind kind;
    unsigned flags;
    kvsql_slice name;    /* of a value; of a token its own text */
    kvsql_slice token;   /* before the value or block; size 0 = none */
    uint8_t child, next; /* indexes into args[], CMD_ARG_NONE */
    uint8_t spec;        /* index of its key spec, CMD_ARG_NONE */
};

#define CMD_SYNTAX_ARGS_MAX 120
#define CMD_KEY_SPECS_MAX 4

enum cmd_key_begin { CMD_KEYS_AT_INDEX, CMD_KEYS_AT_TOKEN };

/* Where keys begin, and which arguments from there are keys. */
struct cmd_key_spec {
    enum cmd_key_begin begin;
    int index;         /* AT_INDEX: of the first key or of numkeys; AT_TOKEN:
                          where the search starts */
    kvsql_slice token; /* AT_TOKEN */
    bool counted;      /* argument `index` says how many follow it */
    int last, step;    /* last key: 0 the first one, -1 the last argument, -2
                          the one before, n > 0 = n behind the first */
    int limit;         /* 2: keys are the first half of the rest */
};

struct cmd_syntax {
    struct cmd_arg args[CMD_SYNTAX_ARGS_MAX];
    struct cmd_key_spec specs[CMD_KEY_SPECS_MAX];
    unsigned count, spec_count;
    uint8_t first;
    bool failed; /* does not read as a syntax, or is too long */
    const struct cmd_row *row; /* whose it is */
};

/* Read the syntax of a row. */
KV_INTERNAL void cmd_syntax_read(const struct cmd_row *row,
                                 struct cmd_syntax *syntax);
/* True when keys are not at places that first, last and step tell. */
KV_INTERNAL bool cmd_syntax_movable(const struct cmd_syntax *syntax);
/* The type of a value by Redis's names: "string", "integer", "key" ... */
KV_INTERNAL const char *cmd_arg_type(const struct cmd_arg *arg);
/* The same for the documentation of a row, where a name may mean another thing
 * than elsewhere. */
KV_INTERNAL const char *cmd_arg_type_in(const struct cmd_row *row,
                                        const struct cmd_arg *arg);

/* Call each(arg, spec, index) for every key of argv, by argument. False: the
 * arguments do not fit (numkeys is none, too few). */
KV_INTERNAL bool cmd_syntax_keys(const struct cmd_syntax *syntax,
                                 unsigned argc, const kvsql_slice *argv,
                                 void (*each)(void *arg, unsigned spec,
                                              unsigned index),
                                 void *arg);

#endif
