/* queries.c - what every session runs now, for the table `queries`, and who
 * holds a view (sql.md 2.7, RU7).
 *
 * A session publishes its running statement by one atomic pointer, so a
 * statement pays no lock. Those who look take the registry's lock; a statement
 * is freed only after its session has taken that lock once (vt_query_settle),
 * so what a look has found stays there as long as the look.
 *
 * A query is cancelled by its number: one that ended meanwhile is not mistaken
 * for the next of its session.
 *
 * Sessions in connections that are not our own (guest.h) are in the registry,
 * too; what they run is not known.
 *
 * Thread: enter to settle the session's; the rest any. */
#include "vtab/info.h"

#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"

#include <stdio.h>
#include <string.h>

static struct vt_session *queries_first; /* under the lock */
static struct kv_lock queries_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                      .rank = KV_RANK_COMMAND};
static _Atomic uint64_t queries_number;

/* ---- of a session ------------------------------------------------------------------ */

void vt_query_enter(struct vt_session *session)
{
    struct vt_seen *seen = &session->seen;

    kv_lock_take(&queries_lock);
    seen->next = queries_first;
    seen->link = &queries_first;
    if (seen->next != NULL) seen->next->seen.link = &seen->next;
    queries_first = session;
    kv_lock_drop(&queries_lock);
}

void vt_query_leave(struct vt_session *session)
{
    struct vt_seen *seen = &session->seen;

    kv_lock_take(&queries_lock);
    if (seen->link != NULL) { /* a neighbour may be setting it */
        *seen->link = seen->next;
        if (seen->next != NULL) seen->next->seen.link = seen->link;
        seen->link = NULL;
    }
    kv_lock_drop(&queries_lock);
}

bool vt_query_knows(const sqlite3 *sql)
{
    const struct vt_session *at;

    kv_lock_take(&queries_lock);
    for (at = queries_first; at != NULL && at->sql != sql;) at = at->seen.next;
    kv_lock_drop(&queries_lock);
    return at != NULL;
}

void vt_query_begin(struct vt_session *session, struct vt_statement *statement)
{
    struct vt_seen *seen = &session->seen;
    const uint64_t number = 1 + atomic_fetch_add_explicit(
                                    &queries_number, 1, memory_order_relaxed);

    atomic_store_explicit(&seen->query, number, memory_order_relaxed);
    atomic_store_explicit(&seen->started_ns, kv_os_quick_ns(),
                          memory_order_relaxed);
    atomic_store_explicit(&seen->rows, 0, memory_order_relaxed);
    atomic_store_explicit(&seen->steps, 0, memory_order_relaxed);
    atomic_store_explicit(&seen->statement, statement, memory_order_release);
}

void vt_query_end(struct vt_session *session)
{
    atomic_store_explicit(&session->seen.statement, NULL,
                          memory_order_release);
}

void vt_query_settle(void)
{
    kv_lock_take(&queries_lock);
    kv_lock_drop(&queries_lock);
}

/* ---- of all ------------------------------------------------------------------------ */

static uint64_t queries_load(_Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

static const char *queries_user(struct vt_session *session)
{
    const char *user = atomic_load_explicit(&session->seen.user,
                                            memory_order_relaxed);

    return user != NULL ? user : "default";
}

kvsql_rc vt_fill_queries(struct vt_rows *rows, struct vt_session *session,
                         struct kvsql_error *err)
{
    const int64_t wall = kv_now(session->db);
    const uint64_t now = kv_os_quick_ns();

    (void)err;
    kv_lock_take(&queries_lock);
    for (struct vt_session *at = queries_first; at != NULL;
         at = at->seen.next) {
        struct vt_statement *statement =
            atomic_load_explicit(&at->seen.statement, memory_order_acquire);
        const uint64_t started = queries_load(&at->seen.started_ns);
        const char *text;
        size_t size;

        if (at->db != session->db || statement == NULL) continue;
        text = vt_statement_text(statement, &size);
        vt_row(rows);
        vt_row_int(rows, (int64_t)queries_load(&at->seen.query));
        vt_row_text(rows, queries_user(at));
        vt_row_bytes(rows, text, size);
        vt_row_int(rows, now > started
                             ? wall - (int64_t)((now - started) / 1000000)
                             : wall);
        vt_row_int(rows, (int64_t)queries_load(&at->seen.rows));
        vt_row_int(rows, (int64_t)queries_load(&at->seen.steps));
    }
    kv_lock_drop(&queries_lock);
    return KVSQL_OK;
}

/* DELETE FROM queries: the statement ends soon; itself it does not end. */
kvsql_rc vt_query_remove(struct vt_session *session, int64_t number,
                         struct kvsql_error *err)
{
    (void)err;
    kv_lock_take(&queries_lock);
    for (struct vt_session *at = queries_first; at != NULL;
         at = at->seen.next)
        if (at != session && at->db == session->db &&
            queries_load(&at->seen.query) == (uint64_t)number)
            atomic_store_explicit(&at->seen.cancelled, (uint64_t)number,
                                  memory_order_relaxed);
    kv_lock_drop(&queries_lock);
    return KVSQL_OK;
}

const char *vt_query_holder(const struct vt_session *session,
                            const struct kv_view_info *view, char *out,
                            size_t size)
{
    size_t used = (size_t)snprintf(out, size, "%s", view->holder);

    kv_lock_take(&queries_lock);
    for (struct vt_session *at = queries_first; at != NULL;
         at = at->seen.next) {
        const bool runs = atomic_load_explicit(&at->seen.statement,
                                               memory_order_acquire) != NULL;
        if (at->db != session->db ||
            queries_load(&at->seen.view) != view->id || used + 32 > size)
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s",
                                 used > 0 ? ", " : "",
                                 runs ? "query " : "transaction");
        if (runs)
            used += (size_t)snprintf(
                out + used, size - used, "%llu",
                (unsigned long long)queries_load(&at->seen.query));
    }
    kv_lock_drop(&queries_lock);
    return out;
}

void vt_query_view_ages(const struct vt_session *session, struct vt_rows *rows,
                        unsigned from, unsigned to)
{
    const uint64_t now = kv_os_quick_ns();
    struct vt_value_at id;

    if (vt_rows_failed(rows)) return;
    kv_lock_take(&queries_lock);
    for (struct vt_session *at = queries_first; at != NULL;
         at = at->seen.next) {
        const uint64_t since = queries_load(&at->seen.view_ns);
        if (at->db != session->db || queries_load(&at->seen.view) == 0 ||
            queries_load(&at->seen.client) == 0)
            continue;
        for (uint64_t row = 0; row < rows->count; row++) {
            vt_rows_get(rows, row, from, &id);
            if ((uint64_t)id.integer == queries_load(&at->seen.client))
                vt_rows_set_int(rows, row, to,
                                now > since
                                    ? (int64_t)((now - since) / 1000000)
                                    : 0);
        }
    }
    kv_lock_drop(&queries_lock);
}
