/* edit.c - changes of strings by their keys, run without SQLite's machine.
 *
 *   DELETE FROM strings WHERE key = ?
 *   UPDATE strings SET value = ? WHERE key >= ? AND key < ?
 *
 * program.c has found that the statement is a plan of the table and one new value,
 * or none. For rows that are many SQLite asks for all columns of each, puts them
 * into a table of its own and takes them apart again, which is most of what it
 * takes (WR7); and while the plan's rows are read in a view of the batch, what is
 * changed first is copied. Here keys are collected from the live tree, some at a
 * time, and then changed: no value can be where its row is found, so those that
 * come later are still to come.
 *
 * Only what cannot be anything else is done here: with keys that are TEXT or BLOB
 * and a value that is not NULL; and where nobody has asked for the counts of
 * changes (counts.c). Whatever goes wrong is taken back, and SQLite runs the
 * statement from its begin: then errors, and what they end, are SQLite's.
 *
 * A statement outside of a transaction is one by itself: SQLite has begun nothing
 * and is told of nothing. In one that the table has joined SQLite tells it how that
 * goes on; where it has not, a range joins it first, by a statement of SQLite's that
 * changes nothing, and one key is left to SQLite, which takes no longer for it.
 *
 * Thread: the session's; it holds the store lock. */
#include "vtab/edit.h"

#include <string.h>

#define EDIT_KEYS 256              /* collected at a time */
#define EDIT_BYTES_MAX (64u << 10) /* ... and their bytes, but for the last */

struct vt_edit {
    struct vt_session *session;
    struct vt_table *table;
    unsigned plan, argc;
    bool removes;
    struct vt_params params; /* arguments, then the new value */
};

/* One run of it. */
struct edit_run {
    struct vt_edit *edit;
    struct vt_write write;
    struct vt_input value;
    int64_t changes;
    struct kv_buf bytes; /* of the keys in hand */
    struct kv_key key[EDIT_KEYS];
    unsigned count;
};

/* ---- life -------------------------------------------------------------------- */

bool vt_edit_fits(const struct vt_shape *shape)
{
    const unsigned may = VT_PLAN_EQ | VT_PLAN_LO | VT_PLAN_LO_OPEN |
                         VT_PLAN_HI | VT_PLAN_HI_OPEN | VT_PLAN_HI_KNOWN |
                         VT_PLAN_UNIQUE | VT_PLAN_BOUND | VT_PLAN_TEXT |
                         VT_PLAN_NO_KEY;

    if (shape->table->def != &vt_strings_def || (shape->plan & ~may) != 0)
        return false;
    return shape->kind == VT_SHAPE_DELETE ||
           (shape->kind == VT_SHAPE_UPDATE &&
            (int)shape->column[0] == shape->table->def->col_plain);
}

struct vt_edit *vt_edit_new(struct vt_session *session,
                            const struct vt_shape *shape)
{
    struct vt_edit *edit = kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*edit));

    if (edit == NULL) return NULL;
    edit->session = session;
    edit->table = shape->table;
    edit->plan = shape->plan;
    edit->argc = shape->argc;
    edit->removes = shape->kind == VT_SHAPE_DELETE;
    if (vt_params_init(&edit->params, session->sql, shape->param,
                       shape->argc + !edit->removes, shape->literals))
        return edit;
    vt_edit_free(edit);
    return NULL;
}

void vt_edit_free(struct vt_edit *edit)
{
    if (edit == NULL) return;
    vt_params_fini(&edit->params);
    kv_mem_free(KV_MEM_CLIENT, edit, sizeof(*edit));
}

struct vt_params *vt_edit_params(struct vt_edit *edit)
{
    return &edit->params;
}

/* ---- one row ----------------------------------------------------------------- */

static bool edit_row(struct edit_run *run, const struct kv_key *key)
{
    struct vt_write *write = &run->write;
    const kvsql_slice value = {run->value.key.p, run->value.key.size};
    struct kv_mark mark;
    bool found = false;
    int rc;

    if (vt_cancelled(write->session)) return false;
    kv_txn_step(write->txn);
    mark = kv_txn_mark(write->txn);
    rc = run->edit->removes ? vt_strings_remove(write, key, &found)
                            : vt_strings_change(write, key, value, &found);
    if (rc != SQLITE_OK) kv_txn_restore(write->txn, mark); /* WR2 */
    run->changes += found;
    return rc == SQLITE_OK;
}

/* ---- many -------------------------------------------------------------------- */

/* The next keys of the interval, behind the last one that was in hand. */
static bool edit_collect(struct edit_run *run, const struct vt_range *range,
                         bool first)
{
    const struct kv_key last = run->count > 0 ? run->key[run->count - 1]
                                              : (struct kv_key){.size = 0};
    struct kv_keys keys;
    size_t place = 0;
    bool found;

    kv_keys_init(&keys, &run->write.at, 1u << KV_STRING);
    if (!first)
        found = kv_keys_seek(&keys, &last, true);
    else
        found = range->has_lo ? kv_keys_seek(&keys, &range->lo, range->lo_open)
                              : kv_keys_first(&keys);
    kv_buf_cut(&run->bytes, 0); /* the walk has left the last one behind */
    run->count = 0;
    for (; found && !vt_range_behind(range, &keys.key, false) &&
           run->count < EDIT_KEYS && run->bytes.size < EDIT_BYTES_MAX;
         found = kv_keys_next(&keys)) {
        run->key[run->count++] = keys.key;
        kv_buf_add(&run->bytes, keys.key.p, keys.key.size);
    }
    for (unsigned i = 0; i < run->count && !run->bytes.failed; i++) {
        run->key[i].p = run->bytes.p + place;
        place += run->key[i].size;
    }
    return !run->bytes.failed;
}

static bool edit_interval(struct edit_run *run, const struct vt_range *range)
{
    for (bool first = true;; first = false) {
        if (!edit_collect(run, range, first)) return false;
        if (run->count == 0) return true;
        for (unsigned i = 0; i < run->count; i++)
            if (!edit_row(run, &run->key[i])) return false;
    }
}

/* The keys that the plan's arguments mean, as a cursor has them (args.c). */
static bool edit_set(const struct vt_edit *edit, sqlite3_value **argv,
                     struct vt_set *set)
{
    const unsigned plan = edit->plan;
    bool ok = true;

    set->bound = (plan & VT_PLAN_BOUND) != 0;
    set->text = (plan & VT_PLAN_TEXT) != 0;
    vt_set_all(set);
    if (ok && plan & VT_PLAN_LO)
        ok = vt_set_above(set, *argv++, (plan & VT_PLAN_LO_OPEN) != 0);
    if (ok && plan & VT_PLAN_HI)
        ok = vt_set_below(set, *argv, (plan & VT_PLAN_HI_OPEN) != 0,
                          (plan & VT_PLAN_HI_KNOWN) != 0);
    return ok;
}

static bool edit_many(struct edit_run *run, sqlite3_value **argv)
{
    struct vt_set set;
    bool ok;

    vt_set_init(&set);
    ok = edit_set(run->edit, argv, &set);
    for (unsigned i = 0; ok && i < set.count; i++)
        ok = edit_interval(run, &set.ranges[i]);
    vt_set_fini(&set);
    return ok;
}

/* All of them, or nothing: the statement's own savepoint. */
static bool edit_all(struct edit_run *run, sqlite3_value **argv)
{
    struct vt_session *session = run->edit->session;
    const int depth = session->depth;
    bool ok;

    if (vt_txn_savepoint(session, depth) != SQLITE_OK) return false;
    kv_buf_init(&run->bytes, KV_MEM_CLIENT, KVSQL_VALUE_MAX);
    run->count = 0;
    ok = edit_many(run, argv);
    kv_buf_fini(&run->bytes);
    if (!ok) vt_txn_rollback_to(session, depth);
    vt_txn_release(session, depth);
    return ok;
}

/* ---- the statement ------------------------------------------------------------ */

static bool edit_is_bytes(sqlite3_value *value)
{
    const int type = sqlite3_value_type(value);

    return type == SQLITE_TEXT || type == SQLITE_BLOB;
}

bool vt_edit_may(const struct vt_edit *edit)
{
    const struct vt_session *session = edit->session;

    if (session->prepared || session->counts_asked || session->query_only ||
        session->limits.read_only || session->cursors != NULL)
        return false;
    return edit->table->joined || !(edit->plan & VT_PLAN_EQ) ||
           sqlite3_get_autocommit(session->sql) != 0;
}

/* The values, as far as they are what they must be. */
static bool edit_take(struct edit_run *run, sqlite3_value **argv)
{
    const struct vt_edit *edit = run->edit;

    for (unsigned i = 0; i < edit->argc; i++)
        if (!edit_is_bytes(argv[i])) return false;
    if (edit->removes) return true;
    return sqlite3_value_type(argv[edit->argc]) != SQLITE_NULL &&
           vt_input_init(&run->value, argv[edit->argc]);
}

/* Let the table take part in the transaction of SQLite's that is open. The text
 * may mean another table, or none: then it does not. */
static kvsql_rc edit_join(struct vt_edit *edit, struct kvsql_error *err)
{
    static const char text[] = "DELETE FROM main.strings WHERE 0";
    struct vt_session *session = edit->session;
    kvsql_rc result = KVSQL_OK;
    int rc = SQLITE_OK;

    session->internal = true;
    vt_session_unsee(session, text, SIZE_MAX);
    if (session->join == NULL)
        rc = sqlite3_prepare_v3(session->sql, text, -1,
                                SQLITE_PREPARE_PERSISTENT, &session->join,
                                NULL);
    if (rc == SQLITE_OK)
        do /* a PRAGMA may make it count its rows */
            rc = sqlite3_step(session->join);
        while (rc == SQLITE_ROW);
    if (rc != SQLITE_DONE && rc != SQLITE_ERROR)
        result = vt_sqlite_error(session, rc, false, err);
    (void)sqlite3_reset(session->join);
    session->internal = false;
    return result;
}

/* *alone: there is no transaction of SQLite's, and the table has one now. */
static kvsql_rc edit_enter(struct vt_edit *edit, bool *alone,
                           struct kvsql_error *err)
{
    int rc;

    *alone = sqlite3_get_autocommit(edit->session->sql) != 0;
    if (edit->table->joined) return KVSQL_OK;
    if (!*alone) return edit_join(edit, err);
    rc = vt_table_begin(&edit->table->base);
    if (rc == SQLITE_OK) return KVSQL_OK;
    return vt_module_error(edit->session, &edit->table->base, rc, err);
}

/* The transaction of one that is alone is over; false: it has changed nothing. */
static bool edit_leave(struct vt_edit *edit, bool done)
{
    sqlite3_vtab *vtab = &edit->table->base;

    if (done && vt_table_sync(vtab) == SQLITE_OK)
        return vt_table_commit(vtab) == SQLITE_OK;
    (void)vt_table_rollback(vtab);
    return false;
}

static bool edit_make(struct edit_run *run, sqlite3_value **argv, bool alone)
{
    struct vt_edit *edit = run->edit;
    struct vt_session *session = edit->session;
    struct kv_key key;
    bool done;

    if (!edit->table->joined) return false;
    run->write.table = edit->table;
    run->write.session = session;
    run->write.txn = session->txn;
    run->write.replace = false;
    run->write.column = NULL;
    kv_at_txn(session->txn, &run->write.at);
    if (edit->plan & VT_PLAN_EQ)
        done = vt_key_of_value(argv[0], &key) && edit_row(run, &key);
    else
        done = edit_all(run, argv);
    return alone ? edit_leave(edit, done) : done;
}

kvsql_rc vt_edit_run(struct vt_edit *edit, bool *done, int64_t *changes,
                     struct kvsql_error *err)
{
    sqlite3_value *argv[VT_PARAMS_MAX];
    struct edit_run run; /* its keys are filled when they are needed */
    kvsql_rc rc = KVSQL_OK;
    bool alone;

    run.edit = edit;
    run.changes = *changes = 0;
    run.value.dup = NULL;
    *done = false;
    if (!vt_edit_may(edit)) return KVSQL_OK;
    if (vt_params_take(&edit->params, argv) == SQLITE_OK &&
        edit_take(&run, argv)) {
        rc = edit_enter(edit, &alone, err);
        if (rc == KVSQL_OK) *done = edit_make(&run, argv, alone);
        vt_input_fini(&run.value);
    }
    vt_params_drop(&edit->params);
    *changes = run.changes;
    if (*done || rc != KVSQL_OK) return rc;
    sqlite3_free(edit->table->base.zErrMsg); /* SQLite will hear it itself */
    edit->table->base.zErrMsg = NULL;
    edit->session->failure.rc = KVSQL_OK;
    return KVSQL_OK;
}
