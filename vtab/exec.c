/* exec.c - commands in SQL that write: INSERT INTO kv_exec (sql.md 2.8).
 *
 *   INSERT INTO kv_exec(cmd) VALUES('LPUSH q a')               a line
 *   INSERT INTO kv_exec(cmd, a1, a2) VALUES('LPUSH', 'q', ?)   as it is
 *
 * A row is a command, a part of the transaction like any other row. It may
 * read and write keys; what is about connections or the server is refused. A
 * command that fails is an error of the statement and has changed nothing
 * (WR2). There is nothing to read in the table: kv_last() tells what the last
 * command said.
 *
 * Thread: the session's; it holds the store lock inside xUpdate (VS1). */
#include "vtab/module.h"
#include "vtab/table.h"

#define EXEC_ARGS 16 /* cmd, a1 .. a15 */

/* The words of one command. */
struct exec_words {
    struct kv_buf bytes; /* of a line */
    kvsql_slice *argv;
    unsigned argc;
    struct vt_input input[EXEC_ARGS];
    unsigned inputs; /* in use */
    kvsql_slice given[EXEC_ARGS];
};

/* ---- words ------------------------------------------------------------------------ */

#define EXEC_ARGV_SIZE (VT_COMMAND_ARGS_MAX * sizeof(kvsql_slice))

static void exec_words_fini(struct exec_words *words)
{
    for (unsigned i = 0; i < words->inputs; i++)
        vt_input_fini(&words->input[i]);
    if (words->argv != NULL && words->argv != words->given)
        kv_mem_free(KV_MEM_CLIENT, words->argv, EXEC_ARGV_SIZE);
    kv_buf_fini(&words->bytes);
}

static int exec_split(struct vt_table *table, struct exec_words *words)
{
    const struct kv_key *line = &words->input[0].key;
    struct kvsql_error err;
    kvsql_rc rc;

    kv_buf_init(&words->bytes, KV_MEM_CLIENT, KVSQL_VALUE_MAX);
    words->argv = kv_mem_alloc(KV_MEM_CLIENT, EXEC_ARGV_SIZE);
    if (words->argv == NULL) return SQLITE_NOMEM;
    rc = vt_host_get()->command_split((const char *)line->p, line->size,
                                      &words->bytes, words->argv,
                                      &words->argc, &err);
    if (rc == KVSQL_OK && words->argc == 0)
        rc = kv_fail(&err, KVSQL_SYNTAX, "kv_exec: there is no command in cmd");
    return rc == KVSQL_OK ? SQLITE_OK
                          : vt_fail(table->session, &table->base, &err);
}

static int exec_missing(struct vt_table *table, unsigned index)
{
    char name[8] = "cmd";

    if (index > 0)
        (void)sqlite3_snprintf(sizeof(name), name, "a%u", index);
    return vt_constraint(table->session, &table->base,
                         SQLITE_CONSTRAINT_NOTNULL,
                         "NOT NULL constraint failed: kv_exec.%s", name);
}

/* From the columns of a row: a line, or words that are taken as they are. */
static int exec_take(struct vt_table *table, sqlite3_value **column,
                     struct exec_words *words)
{
    unsigned count = EXEC_ARGS;

    while (count > 0 && sqlite3_value_type(column[count - 1]) == SQLITE_NULL)
        count--;
    for (unsigned i = 0; i < count || i == 0; i++) {
        if (sqlite3_value_type(column[i]) == SQLITE_NULL)
            return exec_missing(table, i);
        if (!vt_input_init(&words->input[i], column[i])) return SQLITE_NOMEM;
        words->inputs = i + 1;
        words->given[i] = (kvsql_slice){words->input[i].key.p,
                                        words->input[i].key.size};
    }
    if (count == 1) return exec_split(table, words);
    words->argv = words->given;
    words->argc = count;
    return SQLITE_OK;
}

/* ---- running ------------------------------------------------------------------------ */

size_t vt_answer_room(const struct vt_session *session)
{
    const struct vt_budget *budget = &session->budget;

    if (budget->size_max == 0) return KVSQL_VALUE_MAX;
    return budget->size < budget->size_max
               ? (size_t)(budget->size_max - budget->size)
               : 0;
}

static int exec_run(struct vt_table *table, const struct exec_words *words)
{
    struct vt_session *session = table->session;
    struct vt_answer answer;
    struct kvsql_error err;
    const struct vt_command command = {
        .db = session->db, .session = session, .txn = session->txn,
        .argc = words->argc, .argv = words->argv,
        .size_max = vt_answer_room(session), .take = vt_answer_take,
        .arg = &answer};

    vt_answer_init(&answer);
    if (vt_host_get()->command_run(&command, &err) != KVSQL_OK) {
        vt_answer_fini(&answer);
        return vt_fail(session, &table->base, &err);
    }
    vt_answer_fini(&session->last);
    session->last = answer;
    session->last_set = true;
    return SQLITE_OK;
}

/* The table has no rows, so nothing but INSERT comes here. */
static int exec_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                       sqlite3_int64 *rowid)
{
    struct vt_table *table = (struct vt_table *)vtab;
    struct exec_words words = {.argc = 0};
    int rc;

    KV_ASSERT(argc == 2 + EXEC_ARGS);
    KV_ASSERT(table->session->txn != NULL && table->joined); /* TX1 */
    *rowid = 0;
    if (vt_cancelled(table->session)) return SQLITE_INTERRUPT;
    if (!vt_cursors_settle(table->session)) return SQLITE_NOMEM;
    rc = exec_take(table, argv + 2, &words);
    if (rc == SQLITE_OK) rc = exec_run(table, &words);
    exec_words_fini(&words);
    return rc;
}

/* ---- the module -------------------------------------------------------------------- */

static int exec_connect(sqlite3 *sql, void *aux, int argc,
                        const char *const *argv, sqlite3_vtab **out,
                        char **error)
{
    const int rc = vt_connect((struct vt_session *)aux, vt_declare("kv_exec"),
                              VT_CONSTRAINTS | VT_DIRECTONLY,
                              sizeof(struct vt_table), out);

    (void)sql;
    (void)argc;
    (void)argv;
    (void)error;
    if (rc == SQLITE_OK)
        ((struct vt_table *)*out)->session = (struct vt_session *)aux;
    return rc;
}

static const sqlite3_module exec_module = {
    .iVersion = 2,
    .xConnect = exec_connect, /* no xCreate: eponymous only */
    VT_EMPTY_METHODS,
    .xDisconnect = vt_disconnect,
    .xUpdate = exec_update,
    .xBegin = vt_table_begin,
    .xSync = vt_table_sync,
    .xCommit = vt_table_commit,
    .xRollback = vt_table_rollback,
    .xSavepoint = vt_table_savepoint,
    .xRelease = vt_table_release,
    .xRollbackTo = vt_table_rollback_to};

/* kv_last(): what the last command of this session said, as JSON; NULL before
 * the first. */
static void exec_last(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const struct vt_session *session =
        (const struct vt_session *)sqlite3_user_data(context);
    struct kv_buf out;

    (void)argc;
    (void)argv;
    if (!session->last_set) return;
    kv_buf_init(&out, KV_MEM_CLIENT, KVSQL_VALUE_MAX);
    vt_answer_json(&session->last, &out);
    if (!out.failed)
        sqlite3_result_text64(context, (const char *)out.p, out.size,
                              SQLITE_TRANSIENT, SQLITE_UTF8);
    else if (out.too_big)
        sqlite3_result_error_toobig(context);
    else
        sqlite3_result_error_nomem(context);
    kv_buf_fini(&out);
}

int vt_exec_register(struct vt_session *session)
{
    int rc = SQLITE_OK;

    if (vt_host_get()->command_run == NULL) return SQLITE_OK;
    rc = sqlite3_create_module_v2(session->sql, "kv_exec", &exec_module,
                                  session, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function_v2(session->sql, "kv_last", 0,
                                        SQLITE_UTF8 | SQLITE_INNOCUOUS,
                                        session, exec_last, NULL, NULL, NULL);
    return rc;
}
