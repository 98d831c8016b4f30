/* tvf.c - commands in SQL that read: kv('ZRANGE', 'z', 0, -1) (sql.md 2.8).
 *
 * The arguments are the hidden columns a0 to a15; a command runs at xFilter,
 * where the statement reads (RD1, RD3), and its reply is kept by the cursor, so
 * nothing can change under it. One row is one value, with its path when the
 * reply is nested. Only commands that the table of commands says are reads.
 *
 * Thread: the session's. */
#include "vtab/module.h"
#include "vtab/table.h"

#include <string.h>

enum tvf_column { TVF_I, TVF_VALUE, TVF_TYPE, TVF_PATH, TVF_ARG0 };
#define TVF_ARGS 16

struct tvf_table {
    sqlite3_vtab base;
    struct vt_session *session;
};

struct tvf_cursor {
    sqlite3_vtab_cursor base;
    sqlite3_value *arg[TVF_ARGS];
    struct vt_answer answer;
    int64_t counted; /* bytes of it in the session's budget */
    struct vt_answer_walk walk;
    int64_t row;
    bool eof;
};

static int tvf_connect(sqlite3 *sql, void *aux, int argc,
                       const char *const *argv, sqlite3_vtab **out,
                       char **error)
{
    struct vt_session *session = (struct vt_session *)aux;
    const int rc = vt_connect(session, vt_declare("kv"), VT_INNOCUOUS,
                              sizeof(struct tvf_table), out);

    (void)sql;
    (void)argc;
    (void)argv;
    (void)error;
    if (rc == SQLITE_OK)
        ((struct tvf_table *)*out)->session = session;
    return rc;
}

/* ---- planning -------------------------------------------------------------------- */

static int tvf_refuse(struct tvf_table *table, const char *text)
{
    struct kvsql_error err;

    (void)kv_fail(&err, KVSQL_INVALID, "%s", text);
    return vt_failed(table->session, &table->base, SQLITE_ERROR, &err);
}

/* Every argument is needed before the command can run: a plan that does not
 * know one yet is none (SQLITE_CONSTRAINT). */
static int tvf_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    struct tvf_table *table = (struct tvf_table *)vtab;
    int at[TVF_ARGS], count = 0;

    for (int i = 0; i < TVF_ARGS; i++) at[i] = -1;
    for (int i = 0; i < info->nConstraint; i++) {
        const int arg = info->aConstraint[i].iColumn - TVF_ARG0;
        if (arg < 0 || info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
            continue;
        if (!info->aConstraint[i].usable) return SQLITE_CONSTRAINT;
        if (at[arg] < 0) at[arg] = i;
        if (arg >= count) count = arg + 1;
    }
    if (count == 0)
        return tvf_refuse(table, "kv: name a command: kv('GET', 'key')");
    for (int i = 0; i < count; i++) {
        if (at[i] < 0) return tvf_refuse(table, "kv: an argument is left out");
        info->aConstraintUsage[at[i]].argvIndex = i + 1;
        info->aConstraintUsage[at[i]].omit = 1; /* PL13: 16 at most */
    }
    info->idxNum = count;
    info->idxStr = (char *)(uintptr_t)"command"; /* PL7: static */
    info->orderByConsumed = info->nOrderBy == 1 &&
                            info->aOrderBy[0].iColumn == TVF_I &&
                            !info->aOrderBy[0].desc;
    info->estimatedCost = 100;
    info->estimatedRows = 25;
    return vt_plan_tell(table->session, info);
}

/* ---- cursors ---------------------------------------------------------------------- */

static int tvf_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    struct tvf_cursor *cursor = sqlite3_malloc64(sizeof(*cursor));

    (void)vtab;
    if (cursor == NULL) return SQLITE_NOMEM;
    memset(cursor, 0, sizeof(*cursor));
    vt_answer_init(&cursor->answer);
    cursor->eof = true;
    *out = &cursor->base;
    return SQLITE_OK;
}

static void tvf_clear(struct tvf_cursor *cursor)
{
    struct tvf_table *table = (struct tvf_table *)cursor->base.pVtab;

    for (int i = 0; i < TVF_ARGS; i++) {
        sqlite3_value_free(cursor->arg[i]);
        cursor->arg[i] = NULL;
    }
    vt_answer_fini(&cursor->answer);
    vt_answer_init(&cursor->answer);
    if (table != NULL) table->session->budget.size -= cursor->counted;
    cursor->counted = 0;
    cursor->row = 0;
    cursor->eof = true;
}

static int tvf_close(sqlite3_vtab_cursor *base)
{
    struct tvf_cursor *cursor = (struct tvf_cursor *)base;

    tvf_clear(cursor);
    vt_answer_fini(&cursor->answer);
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int tvf_run(struct tvf_cursor *cursor, unsigned argc,
                   const kvsql_slice *argv)
{
    struct tvf_table *table = (struct tvf_table *)cursor->base.pVtab;
    struct vt_session *session = table->session;
    struct vt_snap *snap;
    struct kv_at at;
    struct kvsql_error err;
    kvsql_rc rc = vt_read_at(session, true, &at, &snap, &err);
    const struct vt_command command = {
        .db = session->db, .session = session, .at = &at, .argc = argc,
        .argv = argv, .size_max = vt_answer_room(session),
        .take = vt_answer_take, .arg = &cursor->answer};

    if (rc == KVSQL_OK) rc = vt_host_get()->command_run(&command, &err);
    if (rc != KVSQL_OK) return vt_fail(session, &table->base, &err);
    cursor->counted = (int64_t)cursor->answer.items.cap;
    session->budget.size += cursor->counted;
    return SQLITE_OK;
}

static int tvf_next(sqlite3_vtab_cursor *base);

static int tvf_filter(sqlite3_vtab_cursor *base, int plan, const char *text,
                      int argc, sqlite3_value **argv)
{
    struct tvf_cursor *cursor = (struct tvf_cursor *)base;
    struct vt_input input[TVF_ARGS];
    kvsql_slice words[TVF_ARGS];
    int rc = SQLITE_OK, made = 0;

    (void)plan;
    (void)text;
    KV_ASSERT(argc > 0 && argc <= TVF_ARGS);
    tvf_clear(cursor);
    for (int i = 0; i < argc; i++) /* equal to NULL is nothing */
        if (sqlite3_value_type(argv[i]) == SQLITE_NULL) return SQLITE_OK;
    for (; rc == SQLITE_OK && made < argc; made++) {
        cursor->arg[made] = sqlite3_value_dup(argv[made]);
        if (cursor->arg[made] == NULL ||
            !vt_input_init(&input[made], cursor->arg[made])) {
            rc = SQLITE_NOMEM;
            break;
        }
        words[made] = (kvsql_slice){input[made].key.p, input[made].key.size};
    }
    if (rc == SQLITE_OK) rc = tvf_run(cursor, (unsigned)argc, words);
    while (made > 0) vt_input_fini(&input[--made]);
    if (rc != SQLITE_OK) return rc;
    vt_answer_start(&cursor->walk, &cursor->answer);
    cursor->row = -1;
    return tvf_next(base);
}

static int tvf_next(sqlite3_vtab_cursor *base)
{
    struct tvf_cursor *cursor = (struct tvf_cursor *)base;
    const struct tvf_table *table = (const struct tvf_table *)base->pVtab;

    cursor->row++;
    cursor->eof = !vt_answer_next(&cursor->walk);
    if (cursor->row % VT_CHECK_EVERY == VT_CHECK_EVERY - 1 &&
        vt_cancelled(table->session))
        return SQLITE_INTERRUPT; /* RD8 */
    return SQLITE_OK;
}

static int tvf_eof(sqlite3_vtab_cursor *base)
{
    return ((const struct tvf_cursor *)base)->eof;
}

static void tvf_value(sqlite3_context *context, const struct vt_reply *item)
{
    switch (item->kind) {
    case VT_REPLY_NULL:
    case VT_REPLY_ARRAY: break; /* NULL */
    case VT_REPLY_INT:
    case VT_REPLY_BOOL: sqlite3_result_int64(context, item->number); break;
    case VT_REPLY_REAL:
        sqlite3_result_double(context, item->real + 0.0); /* VA6 */
        break;
    case VT_REPLY_STATUS:
    case VT_REPLY_STRING:
        vt_result_bytes(context, item->p, item->size,
                        kv_class_of(item->p, item->size), false);
        break;
    }
}

static int tvf_column(sqlite3_vtab_cursor *base, sqlite3_context *context,
                      int column)
{
    static const char *const types[] = {
        [VT_REPLY_NULL] = "null",      [VT_REPLY_STATUS] = "status",
        [VT_REPLY_STRING] = "string",  [VT_REPLY_INT] = "integer",
        [VT_REPLY_REAL] = "real",      [VT_REPLY_BOOL] = "boolean",
        [VT_REPLY_ARRAY] = "array"};
    const struct tvf_cursor *cursor = (const struct tvf_cursor *)base;
    const struct vt_reply *item = &cursor->walk.item;
    char path[VT_ANSWER_PATH_MAX];

    switch (column) {
    case TVF_I: sqlite3_result_int64(context, cursor->row); break;
    case TVF_VALUE: tvf_value(context, item); break;
    case TVF_TYPE:
        sqlite3_result_text(context, types[item->kind], -1, SQLITE_STATIC);
        break;
    case TVF_PATH:
        sqlite3_result_text(context, path,
                            (int)vt_answer_path(&cursor->walk, path),
                            SQLITE_TRANSIENT);
        break;
    default:
        if (cursor->arg[column - TVF_ARG0] != NULL)
            sqlite3_result_value(context, cursor->arg[column - TVF_ARG0]);
        break;
    }
    return SQLITE_OK;
}

static int tvf_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    *rowid = ((const struct tvf_cursor *)base)->row;
    return SQLITE_OK;
}

static const sqlite3_module tvf_module = {
    .iVersion = 1,
    .xConnect = tvf_connect, /* no xCreate: eponymous only */
    .xBestIndex = tvf_best_index,
    .xDisconnect = vt_disconnect,
    .xOpen = tvf_open,
    .xClose = tvf_close,
    .xFilter = tvf_filter,
    .xNext = tvf_next,
    .xEof = tvf_eof,
    .xColumn = tvf_column,
    .xRowid = tvf_rowid};

int vt_tvf_register(struct vt_session *session)
{
    if (vt_host_get()->command_run == NULL) return SQLITE_OK;
    return sqlite3_create_module_v2(session->sql, "kv", &tvf_module, session,
                                    NULL);
}
