/* guest.h - sessions in connections that are not our own: of the process that
 * has loaded the extension, or of an embedder (sql.md 10, RD2, TX4).
 *
 * Such a connection prepares and steps by itself, so nobody stands outside of a
 * step. What our own sessions do there is done here by what SQLite tells us:
 *
 *   - A view is pinned when a cursor begins to read while no other does. In an
 *     explicit transaction it is kept to its end; that end is told by a small
 *     table in temp that takes part in the transaction.
 *   - A cursor holds the view it reads, the session the last two of them: rows
 *     may point into a view whose cursor is closed (RD5).
 *   - A commit waits at the gate itself, with the lock long gone.
 *
 * Connections share a store, and one thread may have several of them. While one
 * writes it holds the store lock; a second that waits for it in the same thread
 * would wait for itself, so it gets SQLITE_BUSY (GU1; the same beside a
 * kvsql_txn of the thread), and a view that ends
 * meanwhile is put aside and unpinned when the lock is free (GU2).
 *
 * Thread: a session's; a vt_store any. */
#ifndef KVSQL_VTAB_GUEST_H
#define KVSQL_VTAB_GUEST_H

#include "kvsql/base/lock.h"
#include "vtab/state.h"

/* A store that connections of this process share. */
struct vt_store {
    struct kv_lock lock; /* all below */
    struct kv_cond turn; /* nobody writes any more */
    const struct vt_session *writer;
    pthread_t thread;     /* in which it began */
    struct vt_snap *late; /* views to unpin (GU2) */
};
KV_INTERNAL void vt_store_init(struct vt_store *store);
/* No session of it is left. */
KV_INTERNAL void vt_store_fini(struct vt_store *store);

/* EX2: KVSQL_INVALID, this SQLite is not fit for our tables. */
KV_INTERNAL kvsql_rc vt_guest_fit(struct kvsql_error *err) KV_MUST_USE;

/* Put our tables and functions into `sql`. They live as long as the connection;
 * left(arg) is called when the last of them has gone (also when this fails
 * half way, and then perhaps only when the connection is closed). `db` and
 * `store` live until then. KVSQL_INVALID: it has those of a store; KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc vt_guest_open(sqlite3 *sql, kvsql *db,
                                   struct vt_store *store, bool read_only,
                                   void (*left)(void *arg), void *arg,
                                   struct kvsql_error *err) KV_MUST_USE;

/* One more that knows the session; it says vt_unshare when it goes. Returns
 * the session. */
KV_INTERNAL struct vt_session *vt_share(struct vt_session *session);
KV_INTERNAL void vt_unshare(void *session);

/* The rest is for txn.c and those who ask the store something; it does nothing
 * for sessions of our own. */

/* Wait until no other connection writes: KVSQL_BUSY, at once where that would
 * not end (GU1). */
KV_INTERNAL kvsql_rc vt_guest_turn(struct vt_session *session,
                                   struct kvsql_error *err) KV_MUST_USE;
/* Where the connection reads outside a write; *snap (may be NULL: for this
 * call only) is what the caller must drop. */
KV_INTERNAL kvsql_rc vt_guest_read(struct vt_session *session,
                                   struct vt_snap **snap, struct kv_at *at,
                                   struct kvsql_error *err) KV_MUST_USE;
/* The session has the store lock; it has it no more. */
KV_INTERNAL void vt_guest_writes(struct vt_session *session);
KV_INTERNAL void vt_guest_wrote(struct vt_session *session);
/* The pinned view is not the one to read from here on. */
KV_INTERNAL void vt_guest_aside(struct vt_session *session);
/* Wait for what was committed (TX4). */
KV_INTERNAL void vt_guest_gate(struct vt_session *session);
/* The last one that held the view has dropped it. */
KV_INTERNAL void vt_guest_unpin(struct vt_snap *snap);

#endif
