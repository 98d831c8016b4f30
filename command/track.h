/* track.h - who is told when a key changes: CLIENT TRACKING, and WATCH of keys
 * that are absent.
 *
 * The store tells of every batch which keys it changed (kv_observe), under its
 * lock. A client that tracks is in the table with each key that it was told the
 * value of, from before that value was read; the first change takes the key
 * out and tells the client. With BCAST it is told of every key that has one of
 * its prefixes. As long as nobody asks, all this costs a command one load.
 *
 * A watched key that exists has a version to compare; one that is absent has
 * none, and may come and go unseen. So these are in a table of their own.
 *
 * Thread: any; one lock, KV_RANK_TRACK, below the store's. */
#ifndef KVSQL_COMMAND_TRACK_H
#define KVSQL_COMMAND_TRACK_H

#include <stdatomic.h>

#include "command/client.h"
#include "command/context.h"

#define CMD_TRACK_PREFIX_MAX 64 /* prefixes of one client */

/* Clients that track. */
extern _Atomic unsigned cmd_track_clients;
static inline bool cmd_track_is_on(void)
{
    return KV_UNLIKELY(atomic_load_explicit(&cmd_track_clients,
                                            memory_order_relaxed) != 0);
}

/* ---- one command -------------------------------------------------------- */

/* What this thread changes from now on is the doing of this client (NOLOOP);
 * NULL: of nobody who tracks. */
KV_INTERNAL void cmd_track_as(const struct cmd_client *client);
/* A command of the client begins, client->last is the one before: is CLIENT
 * CACHING still to be heeded? Through MULTI it is, to the end of EXEC. */
KV_INTERNAL void cmd_track_step(struct cmd_client *client);
/* What c changes is its client's doing. Its keys are remembered, if it only
 * reads them and the client tracks. Under the store lock, or before the view is
 * pinned that will be read. */
KV_INTERNAL void cmd_track_call(const struct cmd_context *c);

/* ---- switches ----------------------------------------------------------- */

/* New options replace the old ones; prefixes are added. `redirect` 0: to
 * itself. NOTFOUND: no such client. NOMEM: nothing has changed. */
KV_INTERNAL kvsql_rc cmd_track_start(kvsql *db, struct cmd_client *client,
                                     unsigned flags, uint64_t redirect,
                                     const kvsql_slice *prefixes,
                                     unsigned prefix_count) KV_MUST_USE;
/* Fine when it is off. */
KV_INTERNAL void cmd_track_stop(struct cmd_client *client);
/* The client closes: it is told nothing, and nobody can redirect to it. */
KV_INTERNAL void cmd_track_close(struct cmd_client *client);
/* One prefix of the client that overlaps with `prefix`: is the other's
 * beginning, or begins with it; copied to `out`. False: there is none. */
KV_INTERNAL bool cmd_track_overlaps(const struct cmd_client *client,
                                    kvsql_slice prefix, struct kv_buf *out);
/* The client's prefixes in order, as u32 size and bytes; how many. */
KV_INTERNAL unsigned cmd_track_prefixes(const struct cmd_client *client,
                                        struct kv_buf *out);

/* ---- WATCH of absent keys ----------------------------------------------- */

/* Before the txn that watches. */
KV_INTERNAL void cmd_track_observe(kvsql *db);
/* Inside it: client->watch_touched when the key comes to be. False: no
 * memory. */
KV_INTERNAL bool cmd_absent_watch(struct cmd_client *client,
                                  kvsql_slice key) KV_MUST_USE;
KV_INTERNAL void cmd_absent_forget(struct cmd_client *client, kvsql_slice key);

/* ---- the table ---------------------------------------------------------- */

/* tracking-table-max-keys; 0: no limit. Any thread. */
KV_INTERNAL void cmd_track_limit(uint64_t keys);
struct cmd_track_totals {
    uint64_t keys, items, prefixes;
};
KV_INTERNAL struct cmd_track_totals cmd_track_totals_get(void);
/* Free something of what nobody needs any more. Now and then, any thread, no
 * lock held. */
KV_INTERNAL void cmd_track_tidy(void);

#endif
