/* pubsub.h - publish and subscribe: who hears of which channel, and messages on
 * their way (pubsub.c).
 *
 * A message is given to whoever has subscribed to its channel, or to a pattern
 * that fits, at the moment it is published; nobody keeps it. It leaves no
 * earlier than the state that its sender may have seen is released (D3), and
 * messages leave in the order in which they were published; those of a
 * transaction when it commits, and never when it is taken back.
 *
 * Thread: any. */
#ifndef KVSQL_COMMAND_PUBSUB_H
#define KVSQL_COMMAND_PUBSUB_H

#include "kvsql/inside.h"

#define CMD_PUBSUB_WAITING ((size_t)32 << 20) /* bytes of messages that wait */

/* What one can subscribe to. Channels of shards are a world of their own: to
 * these goes what SPUBLISH sends, and no pattern fits. */
enum cmd_pubsub_kind {
    CMD_PUBSUB_CHANNEL,
    CMD_PUBSUB_PATTERN,
    CMD_PUBSUB_SHARD,
    CMD_PUBSUB_KINDS
};

struct cmd_message {
    kvsql_slice channel, payload;
    kvsql_slice pattern; /* that fits; p NULL: the channel was named */
    enum cmd_pubsub_kind kind; /* what was subscribed to */
    uint64_t position; /* of the state that its sender may have seen */
    uint64_t number;   /* the same for all who hear the same of it */
};

/* Who hears; the owner's, from the first cmd_pubsub_add until
 * cmd_pubsub_remove was called for each name. */
struct cmd_ear {
    /* Under the lock of pubsub.c, in any thread: must neither wait nor call
     * back, and may take locks of rank POST. */
    void (*hear)(struct cmd_ear *ear, const struct cmd_message *message);
};

/* Inside `hear`: the message as RESP2 says it, made once for all who hear the
 * same; RESP3 says '>' for the first byte. p NULL: no memory. */
KV_INTERNAL kvsql_slice cmd_message_resp(const struct cmd_message *message);

/* Subscribe to a channel, or to a pattern as KEYS has it; twice is once. False:
 * no memory. */
KV_INTERNAL bool cmd_pubsub_add(struct cmd_ear *ear, kvsql_slice name,
                                enum cmd_pubsub_kind kind) KV_MUST_USE;
/* No more; it is not called any more behind that. */
KV_INTERNAL void cmd_pubsub_remove(struct cmd_ear *ear, kvsql_slice name,
                                   enum cmd_pubsub_kind kind);
/* How many ears a name has. */
KV_INTERNAL unsigned cmd_pubsub_ears(kvsql_slice name,
                                     enum cmd_pubsub_kind kind);
/* Add the names that fit `pattern` (p NULL: all) to `out`, each as u32 size and
 * bytes, in order of age; how many. O(names). */
KV_INTERNAL unsigned cmd_pubsub_list(enum cmd_pubsub_kind kind,
                                     kvsql_slice pattern, struct kv_buf *out);
/* Send a message to a channel, or to one of the shards'. `db` NULL: it is still
 * loading, and nothing is waited for. `txn` is the one that is open, with which
 * it goes, or NULL: none is. *ticket is
 * what the message waits for, and the answer to its sender should, too.
 * *receivers: how many it is for; an ear counts for its channel and for each
 * pattern. BUSY, CLOSED: of the store; OOM: too many messages wait; NOMEM. In
 * these cases nobody gets it. O(receivers + patterns). */
KV_INTERNAL kvsql_rc cmd_pubsub_publish(kvsql *db, struct kv_txn *txn,
                                        enum cmd_pubsub_kind kind,
                                        kvsql_slice channel,
                                        kvsql_slice payload,
                                        struct kv_ticket *ticket,
                                        unsigned *receivers,
                                        struct kvsql_error *err) KV_MUST_USE;

/* ---- MONITOR by others than clients (client.c) -------------------------------- */

struct cmd_monitor {
    /* The same of a command that is run: its line without + and CR LF. */
    void (*hear)(struct cmd_monitor *monitor, kvsql_slice line);
    struct cmd_monitor *next, **link;
};
KV_INTERNAL void cmd_monitor_open(struct cmd_monitor *monitor);
KV_INTERNAL void cmd_monitor_close(struct cmd_monitor *monitor);

#endif
