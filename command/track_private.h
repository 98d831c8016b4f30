/* track_private.h - what track.c and track_tell.c share.
 *
 * Always true:
 *   TK1  A client's key is in the table before its value is read, under the
 *        lock that reads it or before the view is pinned; so each change that
 *        the value does not show finds the key, and what is told of it comes
 *        behind the reply (struct cmd_push, and the door while a worker has
 *        the command).
 *   TK2  A client that cannot be told, for want of memory, is closed: nobody
 *        goes on with a value that has changed.
 *   TK3  clients[] is sorted by id, and holds all that track. to, aimed and
 *        what is in the tables of a client end before the client does.
 *
 *   TK4  A change is looked up in the table before what is read behind it is
 *        put there, within one txn, too: the store tells of what a txn has
 *        changed before it reads (kv_txn_tell). So a client that changes a key
 *        and then reads it has it in the table, NOLOOP or not. */
#ifndef KVSQL_COMMAND_TRACK_PRIVATE_H
#define KVSQL_COMMAND_TRACK_PRIVATE_H

#include "command/keyset.h"
#include "command/track.h"
#include "kvsql/base/buf.h"
#include "kvsql/base/lock.h"

#define CMD_TRACK_REAP 16 /* dead keys freed beside a live one */
#define CMD_TRACK_BATCH_MAX 16384 /* keys of a batch that BCAST lists */
#define CMD_TRACK_BATCH_SIZE ((size_t)1 << 20) /* ... their bytes */

struct cmd_track_state {
    struct kv_lock lock;
    struct cmd_client **clients; /* TK3 */
    size_t count, cap;
    struct cmd_keyset tracked;   /* key -> ids of clients */
    struct cmd_keyset prefixes;  /* prefix -> ids of clients with BCAST */
    struct cmd_keyset absent;    /* watched key -> addresses of clients */
    uint64_t position;           /* of the batch that is told of */
    struct kv_buf batch_bytes, batch; /* its keys, struct track_changed */
    bool batch_flood;            /* too many to list */
    struct kv_buf body, text[2]; /* a message, and whole in RESP2 and RESP3 */
    bool body_null, made[2], ready;
};
extern struct cmd_track_state cmd_track;
/* Id of the client whose command this thread runs; 0: of nobody who tracks. */
extern _Thread_local uint64_t cmd_track_writer;

/* track.c */
/* One more, or one less, who wants to be told of changes. */
KV_INTERNAL void cmd_track_want(int more);
KV_INTERNAL struct cmd_client *cmd_track_client(uint64_t id);

/* track_tell.c; the lock is held, but for begin. */
KV_INTERNAL void cmd_track_buffers(void);
KV_INTERNAL void cmd_track_buffers_end(void);
KV_INTERNAL void cmd_track_message_one(kvsql_slice key);
/* The message to a client that tracks. In RESP2 it can only go to another one,
 * that has subscribed. */
KV_INTERNAL void cmd_track_send(struct cmd_client *client, uint64_t position);
/* Tell those who have the key, and take it out. */
KV_INTERNAL void cmd_track_invalidate(struct cmd_keyset_key *key, bool upkeep,
                                      uint64_t position);
KV_INTERNAL void cmd_track_begin(uint64_t position);
KV_INTERNAL void cmd_track_told(enum kv_observed change, kvsql_slice key);
KV_INTERNAL void cmd_track_done(enum kv_observed change, kvsql_slice key);
KV_INTERNAL void cmd_track_end(void);


#endif
