/* lists.c - what the rooms above know, as rows: commands, clients, slowlog,
 * latency (sql.md 2.7). They fill vt_host; a table without its function is not
 * there.
 *
 * Thread: the session's. */
#include "vtab/info.h"

#define LISTS_VIEW_AGE 10 /* column of clients */

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
    vt_query_view_ages(session, rows, 0, LISTS_VIEW_AGE);
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
