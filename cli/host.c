/* host.c - what SQL may know of the rooms above it: the table of functions that
 * vtab/ declares, filled.
 *
 * Thread: the sessions'; what is shared is constant. */
#include <assert.h>

#include "cli/cli.h"
#include "command/command.h"
#include "command/embed.h"
#include "command/inspect.h"
#include "kvsql/base/buf.h"
#include "vtab/session.h"

#define HOST_WORDS_MAX ((size_t)64 << 10) /* bytes of a slow command */

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

static kvsql_rc host_stopped(void *arg, struct kvsql_error *err)
{
    const struct vt_command *command = arg;

    return vt_command_stopped(command, err);
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
                                    .arg = (void *)(uintptr_t)command,
                                    .stopped = host_stopped};

    return cmd_embed_run(&embed, err);
}

/* ---- lists ------------------------------------------------------------------------ */

static void host_text_or_null(struct vt_rows *rows, const char *text)
{
    if (text != NULL)
        vt_row_text(rows, text);
    else
        vt_row_null(rows);
}

static void host_client(void *arg, const struct cmd_client_row *client)
{
    struct vt_rows *rows = arg;

    vt_row(rows);
    vt_row_int(rows, (int64_t)client->id);
    vt_row_text(rows, client->addr);
    vt_row_text(rows, client->resp == 3 ? "resp3" : "resp2");
    vt_row_text(rows, client->name);
    host_text_or_null(rows, client->user);
    vt_row_int(rows, client->age_s);
    vt_row_int(rows, client->idle_s);
    host_text_or_null(rows, client->command);
    vt_row_int(rows, (int64_t)client->in_size);
    vt_row_int(rows, (int64_t)client->out_size);
    vt_row_null(rows); /* view_age */
}

static void host_clients(struct vt_rows *rows)
{
    cmd_client_each(host_client, rows);
}

static void host_client_kill(uint64_t id)
{
    (void)cmd_client_kill(id);
}

/* A word as redis-cli takes it. */
static void host_word(struct kv_buf *out, kvsql_slice word)
{
    const uint8_t *p = word.p;
    bool plain = word.size > 0;

    for (size_t i = 0; i < word.size; i++)
        plain = plain && p[i] > ' ' && p[i] < 0x7f && p[i] != '"' &&
                p[i] != '\'' && p[i] != '\\';
    if (plain) {
        kv_buf_add(out, word.p, word.size);
        return;
    }
    kv_buf_byte(out, '"');
    for (size_t i = 0; i < word.size; i++)
        if (p[i] == '"' || p[i] == '\\')
            kv_buf_printf(out, "\\%c", p[i]);
        else if (p[i] < ' ' || p[i] >= 0x7f)
            kv_buf_printf(out, "\\x%02x", p[i]);
        else
            kv_buf_byte(out, p[i]);
    kv_buf_byte(out, '"');
}

static void host_slow(void *arg, const struct cmd_slow_row *row)
{
    struct vt_rows *rows = arg;
    struct kv_buf words;

    kv_buf_init(&words, KV_MEM_CLIENT, HOST_WORDS_MAX);
    for (unsigned i = 0; i < row->argc; i++) {
        if (i > 0)
            kv_buf_byte(&words, ' ');
        host_word(&words, row->arg(row, i));
    }
    vt_row(rows);
    vt_row_int(rows, (int64_t)row->id);
    vt_row_int(rows, row->time_s * 1000);
    vt_row_int(rows, (int64_t)row->us);
    vt_row_text(rows, row->addr);
    if (words.failed) /* shown without its words */
        vt_row_null(rows);
    else
        vt_row_bytes(rows, words.p, words.size);
    kv_buf_fini(&words);
}

static void host_slowlog(struct vt_rows *rows)
{
    cmd_slowlog_each(host_slow, rows);
}

static void host_latency_row(void *arg, const struct cmd_latency_row *row)
{
    struct vt_rows *rows = arg;

    vt_row(rows);
    vt_row_text(rows, row->name);
    vt_row_int(rows, (int64_t)row->calls);
    vt_row_real(rows, row->p50_us);
    vt_row_real(rows, row->p99_us);
    vt_row_real(rows, row->max_us);
}

static void host_latency(struct vt_rows *rows)
{
    cmd_latency_each(host_latency_row, rows);
}

static void host_config_row(void *arg, const struct cmd_config_row *row)
{
    struct vt_rows *rows = arg;

    vt_row(rows);
    vt_row_text(rows, row->name);
    vt_row_bytes(rows, row->value.p, row->value.size);
    vt_row_bytes(rows, row->initial.p, row->initial.size);
    vt_row_int(rows, row->changes);
}

static bool host_config(struct vt_rows *rows)
{
    return cmd_config_each(host_config_row, rows);
}

static_assert(VT_COMMAND_ARGS_MAX == CMD_LINE_ARGS_MAX,
              "room for the words of a line");

void cli_join_sql(void)
{
    static const struct vt_host host = {.command_row = host_command_row,
                                        .command_run = host_command_run,
                                        .command_split = cmd_split,
                                        .clients = host_clients,
                                        .client_kill = host_client_kill,
                                        .slowlog = host_slowlog,
                                        .latency = host_latency,
                                        .config = host_config,
                                        .config_set = cmd_config_set};

    vt_host_set(&host);
}
