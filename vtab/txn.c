/* txn.c - where a session reads, and the one transaction it writes in
 * (sql.md sections 4 and 6).
 *
 * Reading: the first read of a statement, or of an explicit transaction, pins
 * a released view; all later reads share it until the end (RD1). The first
 * write takes the store lock and moves reading to the batch's own state: a
 * lookup of one entry goes to the live tree, a range to a view of the batch
 * (UN4, RD4).
 *
 * Writing: SQLite calls each table that takes part; the first call does the
 * work for all. Savepoint numbers arrive with gaps, repeats and -1 (TX5-TX7):
 *
 *   base      the state before the batch
 *   save[n]   the state when savepoint n was opened
 *   depth     how many of them stand
 *
 * A table that joins late is told the newest number alone; the gap below was
 * opened before anything changed, so it is filled with base (TX5).
 *
 * Thread: the session's; it holds the store lock while txn != NULL (VS1). */
#include "vtab/guest.h"
#include "vtab/table.h"

#include "kvsql/base/os.h"

#define VTXN_SLICE_MS 20 /* between looks at `cancel` while a lock is waited for */

/* ---- reading ---------------------------------------------------------------- */

/* Let others see which view is held, and since when; 0: none. */
static void vtxn_show(struct vt_session *session, uint64_t view)
{
    if (view != 0)
        atomic_store_explicit(&session->seen.view_ns, kv_os_quick_ns(),
                              memory_order_relaxed);
    atomic_store_explicit(&session->seen.view, view, memory_order_relaxed);
}

static kvsql_rc vtxn_pin(struct vt_session *session, struct kvsql_error *err)
{
    kvsql_rc rc;

    KV_ASSERT(session->txn == NULL); /* VS1 */
    if (session->limits.view == NULL) {
        rc = kv_pin_at(session->db, &session->pin, &session->pin_at, err);
    } else {
        rc = kv_view_again(session->limits.view, err);
        session->pin = session->limits.view;
        session->pin_at = *session->limits.at;
    }
    if (rc != KVSQL_OK) {
        session->pin = NULL;
        return rc;
    }
    vtxn_show(session, kv_view_id(session->pin));
    session->keys_hint = kv_count_all(&session->pin_at);
    session->position = kv_view_position(session->pin);
    return KVSQL_OK;
}

static void vtxn_snap_forget(struct vt_session *session)
{
    vt_snap_drop(session->snap);
    session->snap = NULL;
}

/* A view of the batch as it is now; the last one when nothing changed since. */
static kvsql_rc vtxn_snap(struct vt_session *session, struct vt_snap **out,
                         struct kvsql_error *err)
{
    uint64_t count = kv_txn_count(session->txn);
    struct vt_snap *snap;
    kvsql_rc rc;

    if (session->snap == NULL || session->snap->count != count) {
        vtxn_snap_forget(session);
        snap = kv_mem_zalloc(KV_MEM_VIEW, sizeof(*snap));
        if (snap == NULL)
            return kv_fail(err, KVSQL_NOMEM, "sql: no memory for a view");
        rc = kv_txn_view(session->txn, &snap->view, err);
        if (rc != KVSQL_OK) {
            kv_mem_free(KV_MEM_VIEW, snap, sizeof(*snap));
            return rc;
        }
        snap->refs = 1;
        snap->count = count;
        session->snap = snap;
    }
    session->snap->refs++;
    *out = session->snap;
    return KVSQL_OK;
}

void vt_snap_drop(struct vt_snap *snap)
{
    if (snap == NULL) return;
    KV_ASSERT(snap->refs > 0);
    if (--snap->refs > 0) return;
    if (snap->store != NULL) {
        vt_guest_unpin(snap);
        return;
    }
    kv_unpin(snap->view);
    kv_mem_free(KV_MEM_VIEW, snap, sizeof(*snap));
}

kvsql_rc vt_read_at(struct vt_session *session, bool single, struct kv_at *at,
                    struct vt_snap **snap, struct kvsql_error *err)
{
    kvsql_rc rc;

    *snap = NULL;
    if (session->txn == NULL && session->guest != NULL)
        return vt_guest_read(session, single ? NULL : snap, at, err);
    if (session->txn == NULL) {
        if (session->pin == NULL) {
            rc = vtxn_pin(session, err);
            if (rc != KVSQL_OK) return rc;
        }
        *at = session->pin_at;
        return KVSQL_OK;
    }
    kv_at_txn(session->txn, at);
    if (!single) {
        uint64_t now = at->now;
        rc = vtxn_snap(session, snap, err);
        if (rc != KVSQL_OK) return rc;
        kv_at_view((*snap)->view, at);
        at->now = now; /* one clock for the batch (T3) */
    }
    session->keys_hint = kv_count_all(at);
    return KVSQL_OK;
}

bool vt_peek_at(struct vt_session *session, struct kv_at *at,
                struct kv_view **view)
{
    struct kvsql_error err;

    *view = NULL;
    if (session->txn != NULL) {
        kv_at_txn(session->txn, at);
        return true;
    }
    if (session->pin != NULL) {
        *at = session->pin_at;
        return true;
    }
    if (session->guest != NULL) return false; /* GU1: it might wait */
    if (kv_pin(session->db, view, &err) != KVSQL_OK) return false;
    kv_at_view(*view, at);
    return true;
}

void vt_read_end(struct vt_session *session)
{
    session->row_used = 0;
    vtxn_snap_forget(session);
    if (session->txn != NULL) return; /* unpinning takes the lock we hold */
    kv_unpin(session->stale);
    session->stale = NULL;
    if (session->pin == NULL) vtxn_show(session, 0);
    if (session->pin == NULL || !sqlite3_get_autocommit(session->sql)) return;
    kv_unpin(session->pin);
    session->pin = NULL;
    vtxn_show(session, 0);
}

/* ---- the transaction ---------------------------------------------------------- */

static bool vtxn_seen_expired(void *arg, const struct kv_key *key,
                             const struct kv_item *item)
{
    (void)key;
    (void)item;
    *(bool *)arg = true;
    return false;
}

/* TX9: what this transaction has read must still be so. */
static kvsql_rc vtxn_check_read(struct vt_session *session,
                               struct kvsql_error *err)
{
    struct kv_at live;
    bool expired = false;
    kvsql_rc rc = KVSQL_OK;

    if (session->pin == NULL) return KVSQL_OK;
    kv_at_txn(session->txn, &live);
    if (live.position == session->pin_at.position) {
        int64_t from = kv_at_wall(&session->pin_at), to = kv_at_wall(&live);
        if (to > from)
            rc = kv_deadlines(&session->pin_at, from + 1, to,
                              vtxn_seen_expired, &expired, err);
        if (rc != KVSQL_OK || !expired) return rc;
    }
    return kv_fail(err, KVSQL_SNAPSHOT,
                   "the store moved on since this transaction read: begin the "
                   "transaction with a write");
}

/* Milliseconds that a write may wait for the store lock, at least 1. */
static uint64_t vtxn_patience(const struct vt_session *session)
{
    uint64_t now, left = VT_BUSY_MS;

    if (session->budget.deadline_ns == 0) return left;
    now = kv_os_mono_ns();
    if (now >= session->budget.deadline_ns) return 1;
    now = (session->budget.deadline_ns - now) / 1000000 + 1;
    return now < left ? now : left;
}

/* Begin the batch. The wait for the lock ends early when the statement is to
 * end (RD8). */
static kvsql_rc vtxn_lock(struct vt_session *session, struct kvsql_error *err)
{
    const uint64_t patience = vtxn_patience(session);
    uint64_t waited = 0, slice;
    kvsql_rc rc;

    do {
        slice = patience - waited < VTXN_SLICE_MS ? patience - waited
                                                  : VTXN_SLICE_MS;
        rc = kv_txn_begin(session->db, true, slice, &session->txn, err);
        waited += slice;
    } while (rc == KVSQL_BUSY && waited < patience && !vt_cancelled(session));
    if (rc == KVSQL_BUSY)
        rc = waited < patience
                 ? kv_fail(err, KVSQL_INTERRUPT, "the statement was cancelled")
                 : kv_fail(err, rc,
                           "another transaction holds the store for longer "
                           "than %llu ms; try again",
                           (unsigned long long)patience);
    if (rc != KVSQL_OK) session->txn = NULL;
    return rc;
}

/* TX10: others wait from here on. */
static void vtxn_limit(struct vt_session *session)
{
    if (session->limits.trusted) return;
    session->write_until_ns =
        kv_os_mono_ns() + (uint64_t)vt_limit_get(VT_LIMIT_WRITE) * 1000000;
    vt_write_deadline(session);
}

int vt_txn_begin(struct vt_session *session, sqlite3_vtab *vtab)
{
    struct kvsql_error err;
    kvsql_rc rc;

    if (session->joined > 0) {
        session->joined++;
        return SQLITE_OK;
    }
    KV_ASSERT(session->txn == NULL);
    if (session->limits.read_only) {
        rc = kv_fail(&err, KVSQL_READONLY, "this session only reads");
        return vt_fail(session, vtab, &err);
    }
    rc = vt_guest_turn(session, &err);
    if (rc == KVSQL_OK) rc = vtxn_lock(session, &err);
    if (rc != KVSQL_OK) return vt_fail(session, vtab, &err);
    vt_guest_writes(session);
    rc = vtxn_check_read(session, &err);
    if (rc != KVSQL_OK) {
        kv_txn_rollback(session->txn);
        session->txn = NULL;
        vt_guest_wrote(session);
        return vt_fail(session, vtab, &err);
    }
    vt_guest_aside(session);
    KV_ASSERT(session->stale == NULL);
    session->stale = session->pin;
    session->pin = NULL;
    session->joined = 1;
    session->prepared = false;
    session->depth = 0;
    vtxn_limit(session);
    session->base = kv_txn_mark(session->txn);
    return SQLITE_OK;
}

/* Cursors that read the batch's own state end here; what they hold may be
 * taken back (UN4). */
static void vtxn_end_cursors(struct vt_session *session)
{
    vt_cursors_abort(session);
    vtxn_snap_forget(session);
}

int vt_txn_prepare(struct vt_session *session, sqlite3_vtab *vtab)
{
    struct kvsql_error err;

    if (session->txn == NULL || session->prepared) return SQLITE_OK;
    vtxn_end_cursors(session);
    if (kv_txn_prepare(session->txn, &err) != KVSQL_OK)
        return vt_fail(session, vtab, &err);
    session->prepared = true;
    return SQLITE_OK;
}

/* The txn is gone: forget it. */
static void vtxn_done(struct vt_session *session)
{
    session->txn = NULL;
    session->joined = 0;
    session->depth = 0;
    session->prepared = false;
    session->write_until_ns = 0;
    vt_guest_wrote(session);
}

void vt_txn_commit(struct vt_session *session)
{
    struct kvsql_error err;
    kvsql_rc rc;

    if (session->txn == NULL) return;
    KV_ASSERT(session->prepared); /* TX3: nothing fails from here */
    rc = kv_txn_commit(session->txn, &session->ticket, &err);
    KV_ASSERT(rc == KVSQL_OK);
    session->ticket_set = true;
    session->position = session->ticket.position;
    vtxn_done(session);
    vt_guest_gate(session);
}

void vt_txn_rollback(struct vt_session *session)
{
    struct kvsql_error err;

    if (session->txn == NULL) return;
    vtxn_end_cursors(session);
    if (session->prepared) {
        kv_txn_rollback(session->txn);
        vtxn_done(session);
        return;
    }
    /* Rows read from the live tree still have to wait for its position (RD6):
     * a batch without changes gives the ticket. */
    kv_txn_restore(session->txn, session->base);
    kv_txn_at_end(session->txn, NULL);
    if (kv_txn_commit(session->txn, &session->ticket, &err) == KVSQL_OK)
        session->ticket_set = true;
    vtxn_done(session);
    vt_guest_gate(session);
}

/* Room for save[0..n]. */
static bool vtxn_save_room(struct vt_session *session, int n)
{
    int cap = session->save_cap > 0 ? session->save_cap : 16;
    struct kv_mark *grown;

    if (n >= VT_SAVE_MAX) return false;
    if (n < session->save_cap) return true;
    while (cap <= n) cap *= 2;
    grown = kv_mem_realloc(KV_MEM_UNDO, session->save,
                           (size_t)session->save_cap * sizeof(*grown),
                           (size_t)cap * sizeof(*grown));
    if (grown == NULL) return false;
    session->save = grown;
    session->save_cap = cap;
    return true;
}

/* The marks that stand are the ones to come back to. */
static void vtxn_keep(struct vt_session *session)
{
    kv_txn_keep(session->txn, session->depth > 0
                                  ? &session->save[session->depth - 1]
                                  : &session->base);
}

int vt_txn_savepoint(struct vt_session *session, int n)
{
    if (session->txn == NULL || n < session->depth) return SQLITE_OK; /* TX7 */
    if (!vtxn_save_room(session, n)) return SQLITE_NOMEM;
    while (session->depth < n) session->save[session->depth++] = session->base;
    session->save[session->depth++] = kv_txn_mark(session->txn);
    vtxn_keep(session);
    return SQLITE_OK;
}

void vt_txn_release(struct vt_session *session, int n)
{
    int keep = n > 0 ? n : 0;

    if (session->txn == NULL) return;
    if (session->depth <= keep) return;
    session->depth = keep;
    vtxn_keep(session);
}

void vt_txn_rollback_to(struct vt_session *session, int n)
{
    if (session->txn == NULL) return;
    if (n >= session->depth) return; /* opened after the last change of ours */
    vtxn_end_cursors(session);
    if (n < 0) { /* TX6 */
        kv_txn_restore(session->txn, session->base);
        session->depth = 0;
    } else {
        kv_txn_restore(session->txn, session->save[n]);
        session->depth = n + 1;
    }
    vtxn_keep(session);
}

kvsql_rc vt_txn_gate(struct vt_session *session, struct kvsql_error *err)
{
    if (!session->ticket_set) return KVSQL_OK;
    KV_ASSERT(session->txn == NULL); /* no lock across a wait (TX4) */
    session->ticket_set = false;
    return kv_gate_wait(session->db, session->ticket, err);
}
