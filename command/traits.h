/* traits.h - flags, categories and tips of a row by Redis's names, from
 * commands.def and traits.def together; for COMMAND and ACL.
 *
 * Thread: any; constant. */
#ifndef KVSQL_COMMAND_TRAITS_H
#define KVSQL_COMMAND_TRAITS_H

#include "command/syntax.h"

struct cmd_traits {
    const char *name, *flags, *categories, *tips, *keys;
};

struct cmd_deprecated {
    const char *name, *since, *replaced_by;
};
/* NULL: it is not. */
KV_INTERNAL const struct cmd_deprecated *cmd_traits_deprecated(
    const struct cmd_row *row);
/* Is it for tests and for running servers only? */
KV_INTERNAL bool cmd_traits_is_system(const struct cmd_row *row);

/* Never NULL: a command without a row has empty texts. */
KV_INTERNAL const struct cmd_traits *cmd_traits_of(const struct cmd_row *row);
/* The next of some words; NULL behind the last. *text moves on. */
KV_INTERNAL const char *cmd_traits_word(const char **text, size_t *size);
/* Flag `n` that the row has, in Redis's order; NULL behind the last. */
KV_INTERNAL const char *cmd_traits_flag(const struct cmd_row *row,
                                        bool movable, unsigned n);
/* Category `n` that the row has, without '@'; NULL behind the last. */
KV_INTERNAL const char *cmd_traits_category(const struct cmd_row *row,
                                            unsigned n);
/* Category `n` of all there are; NULL behind the last. */
KV_INTERNAL const char *cmd_traits_categories(unsigned n);
/* What is done to the keys of spec `spec`: words. */
KV_INTERNAL kvsql_slice cmd_traits_keys(const struct cmd_row *row,
                                        unsigned spec);
/* Subcommands stand behind their container in the table. */
KV_INTERNAL bool cmd_traits_is_sub(const struct cmd_row *row);
KV_INTERNAL bool cmd_traits_is_sub_of(const struct cmd_row *row,
                                      const struct cmd_row *box);
KV_INTERNAL bool cmd_traits_is_box(const struct cmd_row *row);

#endif
