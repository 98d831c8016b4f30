/* register.c - our tables in a connection of the program that has a store open:
 * kvsql_sql_register() (sql.md EX6).
 *
 * Connections to a store share what guest.h keeps for them, a vt_store. It is
 * made with the first of them and goes with the last:
 *
 *   connection --> registered --> kvsql
 *     a session of guest.c, found by nobody: it knows where it belongs
 *
 * A connection counts as a handle of the store, so that kvsql_close() waits for
 * it (A2).
 *
 * Thread: any; a connection one at a time. */
#include "vtab/guest.h"

#include "kvsql/admin.h"
#include "kvsql/base/mem.h"

struct registered {
    struct registered *next;
    struct vt_store shared;
    kvsql *db;
    unsigned connections; /* 0: it is no longer in the list */
};

/* Never held while something waits for a store's lock. */
static struct kv_lock register_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                       .rank = KV_RANK_COMMAND};
static struct registered *register_first; /* under the lock */

/* What the connections of `db` share, one more of them; `fresh` when this is
 * the first. */
static struct registered *register_claim(kvsql *db, struct registered *fresh)
{
    struct registered *found;

    kv_lock_take(&register_lock);
    for (found = register_first; found != NULL && found->db != db;)
        found = found->next;
    if (found == NULL) {
        found = fresh;
        found->next = register_first;
        register_first = found;
    }
    found->connections++;
    kv_lock_drop(&register_lock);
    return found;
}

static void register_free(struct registered *registered)
{
    vt_store_fini(&registered->shared);
    kv_mem_free(KV_MEM_MISC, registered, sizeof(*registered));
}

/* A connection is gone, or could not be made one. */
static void register_left(void *arg)
{
    struct registered *registered = (struct registered *)arg;
    struct registered **link = &register_first;
    kvsql *db = registered->db;
    bool last;

    kv_lock_take(&register_lock);
    KV_ASSERT(registered->connections > 0);
    last = --registered->connections == 0;
    while (last && *link != registered) link = &(*link)->next;
    if (last) *link = registered->next;
    kv_lock_drop(&register_lock);
    if (last) register_free(registered);
    kv_handles_add(db, -1); /* from here on it may be closed */
}

kvsql_rc kvsql_sql_register(kvsql *db, struct sqlite3 *sql,
                            struct kvsql_error *err)
{
    struct registered *fresh, *registered;
    kvsql_rc rc = KVSQL_OK;

    if (db == NULL || sql == NULL)
        return kv_fail(err, KVSQL_INVALID,
                       "sql: there is no %s to register with",
                       db == NULL ? "store" : "connection");
    rc = vt_guest_fit(err);
    if (rc == KVSQL_OK) rc = kv_txn_none_here(err);
    if (rc != KVSQL_OK) return rc;
    fresh = kv_mem_zalloc(KV_MEM_MISC, sizeof(*fresh));
    if (fresh == NULL)
        return kv_fail(err, KVSQL_NOMEM, "sql: no memory for a connection");
    fresh->db = db;
    vt_store_init(&fresh->shared);
    kv_handles_add(db, 1);
    registered = register_claim(db, fresh);
    if (registered != fresh) register_free(fresh);
    return vt_guest_open(sql, db, &registered->shared, false, register_left,
                         registered, err);
}
