/* target.c - a place that can be asked.
 *
 *   server      SQL and commands travel by HTTP (wire.c)
 *   directory   the store is opened in this process
 *   file        SQLite reads a snapshot; there are no commands
 *
 * Thread: the main thread; cli_target_interrupt from a signal handler. */
#include "cli/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/wire.h"
#include "command/command.h"
#include "kvsql/admin.h"
#include "kvsql/base/os.h"

#define TARGET_TOKEN_MAX 512
#define TARGET_COLUMNS_MAX 2000
#define TARGET_ARGS_MAX (1u << 20) /* words of one command */

struct cli_target {
    enum cli_target_kind kind;
    struct cli_remote *remote;
    kvsql *db;
    bool write;
    struct vt_session *session;
    const char *name; /* borrowed from the command line */
};

/* The session that a signal handler may interrupt. */
static struct vt_session *volatile target_running;

/* ---- opening ------------------------------------------------------------------ */

static bool target_is_url(const char *place)
{
    return strncmp(place, "http://", 7) == 0 ||
           strncmp(place, "https://", 8) == 0;
}

/* The token: the first line of --token-file, else KVSQL_TOKEN. */
static kvsql_rc target_token(const struct cli_settings *settings,
                             char token[TARGET_TOKEN_MAX],
                             struct kvsql_error *err)
{
    const char *path = cli_text(settings, CLI_OPT_CLIENT_TOKEN);
    const char *variable = getenv("KVSQL_TOKEN");

    token[0] = '\0';
    if (path[0] == '\0') {
        if (variable != NULL && strlen(variable) >= TARGET_TOKEN_MAX)
            return kv_fail(err, KVSQL_INVALID, "KVSQL_TOKEN is too long");
        if (variable != NULL)
            (void)snprintf(token, TARGET_TOKEN_MAX, "%s", variable);
        return KVSQL_OK;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(token, TARGET_TOKEN_MAX, file) == NULL) {
        if (file != NULL)
            (void)fclose(file);
        return kv_fail(err, KVSQL_IO, "cannot read a token from %s", path);
    }
    (void)fclose(file);
    token[strcspn(token, "\r\n")] = '\0';
    return KVSQL_OK;
}

static kvsql_rc target_open_remote(struct cli_target *target,
                                   const struct cli_settings *settings,
                                   const char *url, struct kvsql_error *err)
{
    char token[TARGET_TOKEN_MAX];
    kvsql_rc rc = target_token(settings, token, err);

    if (rc == KVSQL_OK)
        rc = cli_remote_open(url, token, &target->remote, err);
    if (rc == KVSQL_OK)
        target->name = cli_remote_url(target->remote);
    return rc;
}

static kvsql_rc target_open_directory(struct cli_target *target,
                                      const struct cli_settings *settings,
                                      const char *dir, bool write,
                                      struct kvsql_error *err)
{
    struct kvsql_options options = {.read_only = !write};
    const struct vt_limits limits = {.trusted = true, .read_only = !write};

    if (settings->scope == CLI_IN_IMPORT)
        options.fsync = cli_fsync(settings, CLI_OPT_IMPORT_FSYNC);
    target->name = dir;
    target->write = write;
    cli_join_sql();
    kvsql_rc rc = vt_start(err);
    if (rc == KVSQL_OK)
        rc = kv_open_os(dir, &options, kv_os_real(), NULL, NULL, &target->db,
                        err);
    if (rc == KVSQL_OK)
        rc = vt_session_open(target->db, &limits, &target->session, err);
    return rc;
}

static kvsql_rc target_open_file(struct cli_target *target, const char *path,
                                 struct kvsql_error *err)
{
    kvsql_rc rc = vt_start(err);

    target->name = path;
    if (rc == KVSQL_OK)
        rc = vt_session_open_file(path, &target->session, err);
    return rc;
}

/* Close what is open and free; the result is that of the store. */
static kvsql_rc target_free(struct cli_target *target, struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    if (target->session != NULL)
        vt_session_close(target->session);
    if (target->db != NULL)
        rc = kv_close(target->db, err);
    cli_remote_close(target->remote);
    kv_mem_free(KV_MEM_CLIENT, target, sizeof *target);
    return rc;
}

kvsql_rc cli_target_open(const struct cli_settings *settings,
                         const char *place, bool write,
                         struct cli_target **target, struct kvsql_error *err)
{
    const char *dir = (settings->scope & CLI_PLACES) != 0
                          ? cli_text(settings, CLI_OPT_PLACE_DIR)
                          : "";
    struct cli_target *made =
        kv_mem_zalloc(KV_MEM_CLIENT, sizeof(struct cli_target));
    kvsql_rc rc;

    *target = NULL;
    if (made == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory");
    if (place == NULL && getenv("KVSQL_URL") != NULL)
        place = getenv("KVSQL_URL");
    if (place == NULL)
        place = CLI_URL_DEFAULT;
    if (dir[0] != '\0') {
        made->kind = CLI_DIRECTORY;
        rc = target_open_directory(made, settings, dir, write, err);
    } else if (target_is_url(place)) {
        made->kind = CLI_REMOTE;
        rc = target_open_remote(made, settings, place, err);
    } else {
        made->kind = CLI_FILE;
        rc = target_open_file(made, place, err);
    }
    if (rc != KVSQL_OK) {
        (void)target_free(made, NULL); /* the first error is what tells */
        return rc;
    }
    target_running = made->session;
    *target = made;
    return KVSQL_OK;
}

kvsql_rc cli_target_close(struct cli_target *target, struct kvsql_error *err)
{
    if (target == NULL)
        return KVSQL_OK;
    target_running = NULL;
    return target_free(target, err);
}

enum cli_target_kind cli_target_kind(const struct cli_target *target)
{
    return target->kind;
}

const char *cli_target_name(const struct cli_target *target)
{
    return target->name;
}

void cli_target_interrupt(void)
{
    struct vt_session *session = target_running;

    cli_interrupted = 1;
    if (session != NULL)
        vt_interrupt(session);
}

void cli_target_resume(void)
{
    if (target_running != NULL)
        vt_resume(target_running);
    cli_interrupted = 0;
}

int cli_target_refuse(const struct kvsql_error *err)
{
    if (err->rc == KVSQL_CLOSED)
        return cli_refuse(CLI_UNREACHABLE, "%s", err->text);
    return cli_refuse_error(err);
}

/* ---- SQL in this process -------------------------------------------------------- */

static kvsql_rc target_begin(struct vt_statement *statement,
                             const struct cli_rows *rows, unsigned columns,
                             struct kvsql_error *err)
{
    const size_t size = columns * sizeof(char *);
    const char **names = kv_mem_alloc(KV_MEM_CLIENT, size);

    if (names == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for names of columns");
    for (unsigned i = 0; i < columns; i++)
        names[i] = vt_column_name(statement, (int)i);
    const kvsql_rc rc = rows->begin(rows->arg, columns, names, err);
    kv_mem_free(KV_MEM_CLIENT, names, size);
    return rc;
}

static kvsql_rc target_steps(struct vt_statement *statement, unsigned columns,
                             uint64_t row_max, const struct cli_rows *rows,
                             struct cli_answer *answer,
                             struct kvsql_error *err)
{
    const size_t size = (columns + 1) * sizeof(struct vt_value);
    struct vt_value *values = kv_mem_alloc(KV_MEM_CLIENT, size);
    bool row = true;
    kvsql_rc rc = KVSQL_OK;

    if (values == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for a row");
    while (rc == KVSQL_OK) {
        rc = vt_step(statement, &row, err);
        if (rc != KVSQL_OK || !row)
            break;
        if (row_max > 0 && answer->row_count == row_max) {
            answer->truncated = true;
            break;
        }
        answer->row_count++;
        for (unsigned i = 0; i < columns; i++)
            vt_column(statement, (int)i, &values[i]);
        rc = rows->row(rows->arg, columns, values, err);
    }
    kv_mem_free(KV_MEM_CLIENT, values, size);
    return rc;
}

static kvsql_rc target_sql(struct cli_target *target, const char *sql,
                           size_t size, unsigned param_count,
                           const struct vt_value *params, uint64_t row_max,
                           const struct cli_rows *rows,
                           struct cli_answer *answer,
                           struct cli_trouble *trouble)
{
    struct kvsql_error *err = &trouble->error;
    struct vt_statement *statement = NULL;
    kvsql_rc rc = vt_prepare(target->session, sql, size, NULL, &statement,
                             err);

    if (rc != KVSQL_OK)
        trouble->offset = vt_error_offset(target->session);
    if (rc != KVSQL_OK || statement == NULL)
        return rc;
    const unsigned columns = (unsigned)vt_column_count(statement);
    for (unsigned i = 0; i < param_count && rc == KVSQL_OK; i++)
        rc = vt_bind(statement, (int)i + 1, &params[i], err);
    answer->rows = columns > 0;
    if (rc == KVSQL_OK && columns > 0)
        rc = target_begin(statement, rows, columns, err);
    if (rc == KVSQL_OK)
        rc = target_steps(statement, columns, row_max, rows, answer, err);
    if (rc == KVSQL_OK && vt_truncated(statement))
        answer->truncated = true;
    vt_finish(statement);
    answer->changes = vt_changes(target->session);
    return rc;
}

kvsql_rc cli_target_sql(struct cli_target *target, const char *sql,
                        size_t size, unsigned param_count,
                        const struct vt_value *params, uint64_t row_max,
                        const struct cli_rows *rows, struct cli_answer *answer,
                        struct cli_trouble *trouble)
{
    *answer = (struct cli_answer){.rows = false};
    *trouble = (struct cli_trouble){.offset = -1};
    if (target->kind == CLI_REMOTE)
        return cli_wire_sql(target->remote, sql, size, param_count, params,
                            row_max, rows, answer, trouble);
    return target_sql(target, sql, size, param_count, params, row_max, rows,
                      answer, trouble);
}

kvsql_rc cli_target_transaction(struct cli_target *target, unsigned count,
                                const kvsql_slice *statements, bool rollback,
                                const struct cli_rows *rows, int64_t *changes,
                                struct cli_trouble *trouble)
{
    *trouble = (struct cli_trouble){.offset = -1};
    KV_ASSERT(target->kind == CLI_REMOTE); /* others have a session */
    return cli_wire_transaction(target->remote, count, statements, rollback,
                                rows, changes, trouble);
}

kvsql_rc cli_target_snapshot(struct cli_target *target, struct kv_buf *answer,
                             struct kvsql_error *err)
{
    KV_ASSERT(target->kind == CLI_REMOTE);
    return cli_wire_snapshot(target->remote, answer, err);
}

kvsql_rc cli_target_snapshots(struct cli_target *target, struct kv_buf *answer,
                              struct kvsql_error *err)
{
    KV_ASSERT(target->kind == CLI_REMOTE);
    return cli_wire_snapshots(target->remote, answer, err);
}

bool cli_target_has_session(const struct cli_target *target)
{
    return target->session != NULL;
}

bool cli_target_in_transaction(const struct cli_target *target)
{
    return target->session != NULL && vt_in_transaction(target->session);
}

/* ---- commands in this process ------------------------------------------------------ */

static kvsql_rc target_pipeline(struct cli_target *target,
                                const struct cmd_words *batch,
                                struct cmd_reply *replies,
                                struct kvsql_error *err)
{
    static kvsql_slice argv[CMD_LINE_ARGS_MAX];
    struct cmd_reply one;
    kvsql_rc rc = cmd_words_result(batch, err);

    for (unsigned i = 0; i < cmd_words_count(batch) && rc == KVSQL_OK; i++) {
        struct kv_ticket ticket = {0};
        const unsigned argc =
            cmd_words_argv(batch, i, argv, CMD_LINE_ARGS_MAX);

        if (argc > CMD_LINE_ARGS_MAX) {
            rc = kv_fail(err, KVSQL_TOOBIG, "more than %d words in a command",
                         CMD_LINE_ARGS_MAX);
            break;
        }
        cmd_reply_part(&one, replies);
        cmd_run(target->db, argc, argv, target->write, &one, &ticket);
        rc = kv_gate_wait(target->db, ticket, err);
        if (!cmd_reply_part_end(&one, replies))
            break;
    }
    return rc == KVSQL_OK ? kv_buf_result(replies->buf, "replies", err) : rc;
}

kvsql_rc cli_target_pipeline(struct cli_target *target,
                             const struct cmd_words *batch,
                             struct cmd_reply *replies,
                             struct kvsql_error *err)
{
    if (target->kind == CLI_REMOTE)
        return cli_wire_pipeline(target->remote, batch, replies, err);
    if (target->kind == CLI_FILE)
        return kv_fail(err, KVSQL_INVALID,
                       "commands need a server or a data directory; %s is a "
                       "snapshot, ask it in SQL",
                       target->name);
    return target_pipeline(target, batch, replies, err);
}

/* What cmd_run_batch wants, in blocks of this process. */
struct target_call {
    unsigned *argc;
    kvsql_slice *words;
    const kvsql_slice **argv;
    struct cmd_reply *replies;
    size_t count, word_count, replies_made;
};

static void target_call_fini(struct target_call *call)
{
    for (size_t i = 0; i < call->replies_made; i++)
        cmd_reply_fini(&call->replies[i]);
    kv_mem_free(KV_MEM_CLIENT, call->argc, call->count * sizeof *call->argc);
    kv_mem_free(KV_MEM_CLIENT, call->argv, call->count * sizeof *call->argv);
    kv_mem_free(KV_MEM_CLIENT, call->replies,
                call->count * sizeof *call->replies);
    kv_mem_free(KV_MEM_CLIENT, call->words,
                call->word_count * sizeof *call->words);
}

static kvsql_rc target_call_init(struct target_call *call,
                                 const struct cmd_words *batch,
                                 struct kvsql_error *err)
{
    *call = (struct target_call){.count = cmd_words_count(batch),
                                 .word_count = batch->places.size / 16};
    call->argc = kv_mem_alloc(KV_MEM_CLIENT, call->count * sizeof *call->argc);
    call->argv = kv_mem_alloc(KV_MEM_CLIENT, call->count * sizeof *call->argv);
    call->replies =
        kv_mem_alloc(KV_MEM_CLIENT, call->count * sizeof *call->replies);
    call->words =
        kv_mem_alloc(KV_MEM_CLIENT, call->word_count * sizeof *call->words);
    if (call->argc == NULL || call->argv == NULL || call->replies == NULL ||
        call->words == NULL) {
        target_call_fini(call);
        return kv_fail(err, KVSQL_NOMEM, "no memory for a batch");
    }
    kvsql_slice *at = call->words;
    for (size_t i = 0; i < call->count; i++) {
        call->argc[i] = cmd_words_argv(batch, (unsigned)i, at,
                                        TARGET_ARGS_MAX);
        call->argv[i] = at;
        at += call->argc[i];
        cmd_reply_init(&call->replies[i], TARGET_REPLY_MAX);
        call->replies_made++;
    }
    return KVSQL_OK;
}

/* The first error among the replies. */
static kvsql_rc target_call_result(const struct target_call *call,
                                   struct kvsql_error *err)
{
    for (size_t i = 0; i < call->count; i++) {
        struct cmd_item item;
        size_t offset = 0;

        if (cmd_reply_next(&call->replies[i], &offset, &item) &&
            item.kind == CMD_REPLY_ERROR)
            return kv_fail(err, call->replies[i].rc, "%.*s", (int)item.size,
                           (const char *)item.p);
    }
    return KVSQL_OK;
}

static kvsql_rc target_batch(struct cli_target *target,
                             const struct cmd_words *batch,
                             struct kvsql_error *err)
{
    struct target_call call;
    struct kv_ticket ticket = {0};
    unsigned failed;
    kvsql_rc rc = cmd_words_result(batch, err);

    if (rc == KVSQL_OK)
        rc = target_call_init(&call, batch, err);
    if (rc != KVSQL_OK)
        return rc;
    rc = cmd_run_batch(target->db, (unsigned)call.count, call.argc, call.argv,
                       true, call.replies, &failed, &ticket, err);
    if (rc == KVSQL_OK)
        rc = target_call_result(&call, err);
    if (rc == KVSQL_OK)
        rc = kv_gate_wait(target->db, ticket, err);
    target_call_fini(&call);
    return rc;
}

kvsql_rc cli_target_batch(struct cli_target *target,
                          const struct cmd_words *batch,
                          struct kvsql_error *err)
{
    if (cmd_words_count(batch) == 0)
        return KVSQL_OK;
    if (target->kind == CLI_REMOTE)
        return cli_wire_batch(target->remote, batch, err);
    KV_ASSERT(target->kind == CLI_DIRECTORY);
    return target_batch(target, batch, err);
}
