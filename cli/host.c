/* host.c - what SQL may know of the rooms above it: the table of functions that
 * vtab/ declares, filled.
 *
 * Thread: the sessions'; what is shared is constant. */
#include <assert.h>

#include "cli/cli.h"
#include "command/command.h"
#include "command/embed.h"
#include "vtab/session.h"

/* ---- commands --------------------------------------------------------------------- */

static bool host_command_row(unsigned index, const char **name, int *arity,
                             unsigned *flags, int *first_key, int *last_key,
                             int *step, const char **group,
                             const char **summary)
{
    const struct cmd_row *row = cmd_at(index);

    if (row == NULL)
        return false;
    *name = row->name;
    *arity = row->arity;
    *flags = row->flags;
    *first_key = row->first_key;
    *last_key = row->last_key;
    *step = row->step;
    *group = row->group;
    *summary = row->summary;
    return true;
}

/* One item of a reply in the words of SQL. */
static bool host_item(void *arg, const struct cmd_item *item)
{
    const struct vt_command *command = arg;
    struct vt_reply out = {.number = item->number,
                           .real = item->real,
                           .p = item->p,
                           .size = item->size};

    switch (item->kind) {
    case CMD_REPLY_NULL:
    case CMD_REPLY_NULL_ARRAY: out.kind = VT_REPLY_NULL; break;
    case CMD_REPLY_STATUS:
    case CMD_REPLY_ERROR: out.kind = VT_REPLY_STATUS; break;
    case CMD_REPLY_INT: out.kind = VT_REPLY_INT; break;
    case CMD_REPLY_BOOL: out.kind = VT_REPLY_BOOL; break;
    case CMD_REPLY_DOUBLE: out.kind = VT_REPLY_REAL; break;
    case CMD_REPLY_BULK:
    case CMD_REPLY_VERBATIM: out.kind = VT_REPLY_STRING; break;
    case CMD_REPLY_MAP:
    case CMD_REPLY_PAIRS: out.number *= 2; out.kind = VT_REPLY_ARRAY; break;
    case CMD_REPLY_ARRAY:
    case CMD_REPLY_SET: out.kind = VT_REPLY_ARRAY; break;
    }
    return command->take(command->arg, &out);
}

static kvsql_rc host_command_run(const struct vt_command *command,
                                 struct kvsql_error *err)
{
    const struct cmd_embed embed = {.db = command->db,
                                    .txn = command->txn,
                                    .at = command->at,
                                    .argc = command->argc,
                                    .argv = command->argv,
                                    .size_max = command->size_max,
                                    .take = host_item,
                                    .arg = (void *)(uintptr_t)command};

    return cmd_embed_run(&embed, err);
}

static_assert(VT_COMMAND_ARGS_MAX == CMD_LINE_ARGS_MAX,
              "room for the words of a line");

void cli_join_sql(void)
{
    static const struct vt_host host = {.command_row = host_command_row,
                                        .command_run = host_command_run,
                                        .command_split = cmd_split};

    vt_host_set(&host);
}
