/* upper.c - what the rooms above know, as rows: commands, clients, slowlog,
 * latency, config (sql.md 2.7). They fill vt_host; a table without its function
 * is not there.
 *
 * Thread: the session's. */
#include "vtab/info.h"
#include "vtab/value.h"

#include <string.h>

#define UPPER_VIEW_AGE 10 /* column of clients */

bool vt_has_commands(const struct vt_host *host)
{
    return host->command_row != NULL;
}

kvsql_rc vt_fill_commands(struct vt_rows *rows, struct vt_session *session,
                          struct kvsql_error *err)
{
    const struct vt_host *host = vt_host_get();
    const char *name, *group, *summary;
    int arity, first, last, step;
    unsigned flags;

    (void)session;
    (void)err;
    for (unsigned i = 0; host->command_row(i, &name, &arity, &flags, &first,
                                           &last, &step, &group, &summary);
         i++) {
        vt_row(rows);
        vt_row_text(rows, name);
        vt_row_int(rows, arity);
        vt_row_int(rows, flags);
        vt_row_int(rows, first);
        vt_row_int(rows, last);
        vt_row_int(rows, step);
        vt_row_text(rows, group);
        vt_row_text(rows, summary);
    }
    return KVSQL_OK;
}

bool vt_has_clients(const struct vt_host *host)
{
    return host->clients != NULL;
}

kvsql_rc vt_fill_clients(struct vt_rows *rows, struct vt_session *session,
                         struct kvsql_error *err)
{
    (void)err;
    vt_host_get()->clients(rows); /* with a place for the age in each row */
    vt_query_view_ages(session, rows, 0, UPPER_VIEW_AGE);
    return KVSQL_OK;
}

kvsql_rc vt_client_remove(struct vt_session *session, int64_t number,
                          struct kvsql_error *err)
{
    (void)session;
    (void)err;
    vt_host_get()->client_kill((uint64_t)number); /* it may have left */
    return KVSQL_OK;
}

bool vt_has_slowlog(const struct vt_host *host)
{
    return host->slowlog != NULL;
}

kvsql_rc vt_fill_slowlog(struct vt_rows *rows, struct vt_session *session,
                         struct kvsql_error *err)
{
    (void)session;
    (void)err;
    vt_host_get()->slowlog(rows);
    return KVSQL_OK;
}

bool vt_has_latency(const struct vt_host *host)
{
    return host->latency != NULL;
}

kvsql_rc vt_fill_latency(struct vt_rows *rows, struct vt_session *session,
                         struct kvsql_error *err)
{
    (void)session;
    (void)err;
    vt_host_get()->latency(rows);
    return KVSQL_OK;
}

/* ---- options ----------------------------------------------------------------------- */

enum upper_config { UPPER_NAME, UPPER_VALUE, UPPER_DEFAULT, UPPER_MUTABLE };
#define UPPER_CONFIG_COLUMNS 4

bool vt_has_config(const struct vt_host *host)
{
    return host->config != NULL && host->config_set != NULL;
}

kvsql_rc vt_fill_config(struct vt_rows *rows, struct vt_session *session,
                        struct kvsql_error *err)
{
    (void)session;
    return vt_host_get()->config(rows)
               ? KVSQL_OK
               : kv_fail(err, KVSQL_NOMEM, "no memory for a configuration");
}

/* Whether a column was given as it stands in the row. */
static bool upper_same(const struct vt_rows *rows, int64_t row, int column,
                       sqlite3_value *given)
{
    struct vt_value_at at;

    vt_rows_get(rows, (uint64_t)row, (unsigned)column, &at);
    if (at.kind == VT_INTEGER)
        return sqlite3_value_type(given) == SQLITE_INTEGER &&
               sqlite3_value_int64(given) == at.integer;
    return sqlite3_value_type(given) == SQLITE_TEXT &&
           (size_t)sqlite3_value_bytes(given) == at.size &&
           memcmp(at.size > 0 ? sqlite3_value_blob(given) : "", at.p,
                  at.size) == 0;
}

/* The row that is numbered by its place, with another value. */
static kvsql_rc upper_config_set(struct vt_session *session,
                                 const struct vt_rows *rows, int64_t row,
                                 sqlite3_value **column,
                                 struct kvsql_error *err)
{
    struct vt_value_at name;
    struct vt_input value;
    kvsql_rc rc;

    if (!upper_same(rows, row, UPPER_NAME, column[UPPER_NAME]) ||
        !upper_same(rows, row, UPPER_DEFAULT, column[UPPER_DEFAULT]) ||
        !upper_same(rows, row, UPPER_MUTABLE, column[UPPER_MUTABLE]))
        return kv_fail(err, KVSQL_CONSTRAINT,
                       "only config.value can be set");
    if (upper_same(rows, row, UPPER_VALUE, column[UPPER_VALUE]))
        return KVSQL_OK;
    if (sqlite3_value_type(column[UPPER_VALUE]) == SQLITE_NULL)
        return kv_fail(err, KVSQL_CONSTRAINT,
                       "NOT NULL constraint failed: config.value");
    if (!vt_input_init(&value, column[UPPER_VALUE]))
        return kv_fail(err, KVSQL_NOMEM, "no memory for a configuration");
    vt_rows_get(rows, (uint64_t)row, UPPER_NAME, &name);
    rc = vt_host_get()->config_set(
        session->txn, (kvsql_slice){name.p, name.size},
        (kvsql_slice){value.key.p, value.key.size}, err);
    vt_input_fini(&value);
    return rc;
}

kvsql_rc vt_config_update(struct vt_session *session, int64_t number,
                          sqlite3_value **column, struct kvsql_error *err)
{
    struct vt_rows rows;
    kvsql_rc rc;

    vt_rows_init(&rows, UPPER_CONFIG_COLUMNS);
    rc = vt_fill_config(&rows, session, err);
    if (rc == KVSQL_OK && vt_rows_failed(&rows))
        rc = kv_fail(err, KVSQL_NOMEM, "no memory for a configuration");
    if (rc == KVSQL_OK)
        rc = upper_config_set(session, &rows, number, column, err);
    vt_rows_fini(&rows);
    return rc;
}
