/* client.h - one connection of the Redis protocol, as commands see it.
 *
 * A client is what outlives a command: the protocol and name it chose, whether
 * it may do anything, its MULTI queue and its WATCHes. The door owns the
 * struct, and runs every command of the connection through cmd_client_run().
 * All open clients are in one registry, which CLIENT LIST, CLIENT KILL and
 * MONITOR walk.
 *
 * Two kinds of commands may take long, and the door's loop must not wait for
 * them: cmd_client_run() answers CMD_WORK for these, and the door calls
 * cmd_client_work() with the same arguments in a thread that may take its
 * time, before it looks at the next command of this connection.
 *
 * Thread: all but the registry's functions belong to whoever runs the
 * connection's commands at the moment, one thread at a time. */
#ifndef KVSQL_COMMAND_CLIENT_H
#define KVSQL_COMMAND_CLIENT_H

#include <stdatomic.h>

#include "command/command.h"
#include "command/pubsub.h"

struct vt_session;
struct cmd_client;
struct cmd_subscriber;
struct cmd_block;

#define CMD_CLIENT_ADDR_MAX 64
#define CMD_CLIENT_WORD_MAX 64   /* bytes of lib-name, lib-ver */
#define CMD_CLIENT_NAME_MAX 256  /* bytes of a name */
#define CMD_PASSWORD_MAX 256
/* Bytes of commands that one MULTI may hold (client-query-buffer-limit). */
#define CMD_QUEUE_SIZE_MAX ((size_t)1 << 30)
/* The channel of invalidations for clients of RESP2. */
#define CMD_TRACK_CHANNEL "__redis__:invalidate"
#define CMD_WATCH_MAX 65536 /* keys that one client may watch */

/* What the door knows of a connection. */
struct cmd_client_facts {
    uint64_t query_size, query_room; /* bytes of input held, room for more */
    uint64_t output_size;            /* bytes of replies that wait */
    uint64_t memory;                 /* all bytes that the connection holds */
};

/* Bytes that are no reply: MONITOR, invalidations. */
struct cmd_push {
    const void *p;
    size_t size;
    /* Replies that tell of the state at this position or later come behind it,
     * others that are made already before it; CMD_PUSH_BEHIND: it comes behind
     * the reply that is being made, whatever that tells of. */
    uint64_t position;
    uint8_t resp; /* of no use in another protocol; 0 = good in both */
    bool message; /* '*' in front is '>' in RESP3; of PUBLISH */
};
#define CMD_PUSH_BEHIND UINT64_MAX

/* What the door does for commands. Each is called with the registry's lock
 * or that of track.c held, from any thread, and must neither wait nor call
 * back. */
struct cmd_door {
    /* Close the connection soon. */
    void (*kill)(struct cmd_client *client);
    /* Send bytes between two replies, in the order of the calls. */
    void (*push)(struct cmd_client *client, const struct cmd_push *push);
    void (*facts)(struct cmd_client *client, struct cmd_client_facts *facts);
    /* Who waits (CMD_WAIT) is to look again soon, in the order of the calls;
     * under the store lock, too. NULL: no client may wait. */
    void (*wake)(struct cmd_client *client);
    /* Who waits is to wait no more: cmd_client_unblock() soon. */
    void (*unblock)(struct cmd_client *client, bool error);
};

enum cmd_mute { CMD_MUTE_NO, CMD_MUTE_ON, CMD_MUTE_NEXT, CMD_MUTE_THIS };

/* What CLIENT TRACKING has set; 0: it is off. */
enum cmd_track_flag {
    CMD_TRACK_ON = 1,
    CMD_TRACK_BCAST = 2,
    CMD_TRACK_OPTIN = 4,
    CMD_TRACK_OPTOUT = 8,
    CMD_TRACK_NOLOOP = 16,
    CMD_TRACK_CACHING = 32, /* CLIENT CACHING, for the command that follows */
    CMD_TRACK_BROKEN = 64   /* who was to be told is gone */
};

/* One client's tracking; all under the lock of track.c but for reading what is
 * atomic. */
struct cmd_tracking {
    _Atomic unsigned flags;
    _Atomic uint64_t redirect; /* id of who is told instead, 0 = itself */
    struct cmd_client *to;     /* that one; NULL: none, or it is gone */
    unsigned aimed;            /* how many redirect to this one */
    unsigned prefixes;         /* of BCAST */
};

#define CMD_AGAIN_MAX 16 /* bytes of a command's name that is remembered */

struct cmd_watch;

/* A request that is whole. */
struct cmd_request {
    unsigned argc;
    const kvsql_slice *argv;
};

/* Keys that were looked up before their commands ran (pipe.c). */
#define CMD_NEAR_MAX 16
struct cmd_near {
    const struct cmd_request *first;
    unsigned count; /* requests from there, 0 = none */
    uint64_t mark;  /* of the undo log when they were found */
    struct kv_key key[CMD_NEAR_MAX];   /* of each; p NULL: none */
    bool known[CMD_NEAR_MAX];          /* it was looked for ... */
    bool found[CMD_NEAR_MAX];          /* ... and is there */
    struct kv_item item[CMD_NEAR_MAX];
    bool there[CMD_NEAR_MAX];          /* the member of the set, too */
};

struct cmd_client {
    uint64_t id;
    const struct cmd_door *door;
    char addr[CMD_CLIENT_ADDR_MAX], laddr[CMD_CLIENT_ADDR_MAX];
    int fd;
    int64_t created_ns;
    struct cmd_client *next, **link; /* registry */

    /* the connection's */
    uint8_t resp; /* 2 or 3 */
    bool closing; /* nothing more is read; close when the replies are sent */
    bool multi, multi_failed, multi_rollback, multi_sql, multi_grows,
        multi_writes;
    enum cmd_mute mute; /* CLIENT REPLY */
    bool tells;         /* ... and the answer is sent all the same */
    struct kv_buf queue; /* MULTI: u32 argc, argc times (u32 size, bytes) */
    unsigned queued;
    struct cmd_watch *watched;
    unsigned watch_count, watch_cap;
    unsigned watch_absent; /* of them, keys that were not there (track.c) */
    atomic_bool watch_touched; /* one of these has come to be since */
    uint64_t watch_epoch;
    struct kv_ticket last_write; /* what WAITAOF waits for */
    const struct cmd_row *again;  /* the last row found, to be found quickly */
    char again_name[CMD_AGAIN_MAX];
    size_t again_size;

    /* written by the connection under the registry's lock, read under it */
    char name[CMD_CLIENT_NAME_MAX + 1];
    char lib_name[CMD_CLIENT_WORD_MAX + 1], lib_version[CMD_CLIENT_WORD_MAX + 1];

    struct cmd_tracking track;
    struct cmd_subscriber *subscriber; /* NULL: of nothing (c_pubsub.c) */
    struct cmd_block *block; /* what it waits for, or NULL (block.c) */

    /* read by anybody */
    atomic_bool subscribed; /* to anything */
    _Atomic unsigned shown_names[CMD_PUBSUB_KINDS]; /* ... to so many */
    atomic_bool authenticated, monitor, no_evict, no_touch;
    atomic_bool blocked, unblocking; /* it waits; and was told to wait no more */
    _Atomic int64_t used_ns;  /* monotonic, of the last input: the door's */
    _Atomic(const struct cmd_row *) last;  /* the last command */
    _Atomic unsigned shown_queued, shown_watched; /* UINT_MAX: no MULTI */
    _Atomic uint8_t shown_resp;
    _Atomic uint64_t commands;
};

/* What commands that came in one go share: one txn, so the store is locked
 * once and the log gets one batch for several of them; and lookups of the keys
 * of those that are still to come, made together (pipe.c). Zeroed at the
 * start, but for most_ns; owned by whoever runs the pipeline, which says before each command
 * what follows it, and ends it before it waits for anything, and at the end. */
struct cmd_pipe {
    const struct cmd_request *next; /* behind the one that runs */
    unsigned left;                  /* so many */
    struct kv_txn *txn;             /* open, or NULL */
    const struct cmd_client *client; /* whose */
    bool write;                     /* it may write */
    unsigned count, count_max;      /* commands in it, and that may be */
    uint64_t begun_ns, last_ns;     /* its begin, the last command's end */
    uint64_t most_ns;               /* about so long others may wait */
    struct kv_mark sure;            /* up to here the log has room */
    struct cmd_near near;
};
/* Commit. The tickets that its commands gave hold from here on. */
KV_INTERNAL void cmd_pipe_end(struct cmd_pipe *pipe);

enum cmd_next {
    CMD_DONE, /* the reply is there */
    CMD_WORK, /* call cmd_client_work(), from a thread that may take long */
    CMD_HOLD, /* CLIENT PAUSE: try again when cmd_pause_ns() says */
    CMD_WAIT  /* nothing is there: cmd_client_again() when the door is told to
                 wake it, or at cmd_client_until() */
};

/* Enter the registry; gives an id. `client` is zeroed by the caller but for
 * fd, addr, laddr; it stays where it is until cmd_client_close(). */
KV_INTERNAL void cmd_client_open(struct cmd_client *client,
                                 const struct cmd_door *door);
KV_INTERNAL void cmd_client_close(struct cmd_client *client);

/* Run one command of the connection. With CMD_DONE `reply` holds one value,
 * *ticket what it must wait for; cmd_client_speaks() tells whether it is sent.
 * `db` NULL: still loading. `pipe` may be NULL; it may be open behind the
 * call, and then the store is locked. */
KV_INTERNAL enum cmd_next cmd_client_run(struct cmd_client *client, kvsql *db,
                                         struct cmd_pipe *pipe,
                                         unsigned argc,
                                         const kvsql_slice *argv,
                                         struct cmd_reply *reply,
                                         struct kv_ticket *ticket);
/* When the waiting of a client that waits is over: monotonic ns; 0: never. */
KV_INTERNAL uint64_t cmd_client_until(const struct cmd_client *client);
/* Look whether what it waits for is there now; with the same arguments, and no
 * txn open. True: `reply` is there; always with `over`, when its time is. */
KV_INTERNAL bool cmd_client_again(struct cmd_client *client, kvsql *db,
                                  unsigned argc, const kvsql_slice *argv,
                                  bool over, struct cmd_reply *reply,
                                  struct kv_ticket *ticket);
/* It waits no more, and is answered with that. */
KV_INTERNAL void cmd_client_unblock(struct cmd_client *client, bool error,
                                    struct cmd_reply *reply);
/* Behind a GET that the pipe ran: answer the GETs that follow it at once, as far
 * as they were looked up, and nothing has to be asked before each of them. They
 * wait for what it waited for, which is open; there are no replies that wait.
 * How many it were: pipe->next and ->left are behind them. */
KV_INTERNAL unsigned cmd_client_gets(struct cmd_client *client,
                                     struct cmd_pipe *pipe,
                                     struct cmd_reply *reply);

/* A reply that goes on: the door's, zeroed but for `cancelled` at the start. */
#define CMD_SLICE_SIZE ((size_t)256 << 10) /* bytes of a slice, about */
struct cmd_context;
struct cmd_slice {
    const atomic_bool *cancelled; /* the client has left: stop soon */
    const struct cmd_row *row;
    bool (*more)(struct cmd_context *c, void *state); /* NULL: it is whole */
    void *state;
    size_t state_size;
    void (*fini)(void *state); /* what it holds, or NULL */
    struct kv_view *view; /* pinned while more is set */
    struct kv_at at;
    uint64_t ns; /* that it took so far */
};
/* The next part of a reply, behind what its buffer holds, while slice->more is
 * set; the same arguments as before. An error: it stays a part (SL1), and
 * slice->more is not set any more. */
KV_INTERNAL kvsql_rc cmd_client_more(struct cmd_client *client, kvsql *db,
                                     unsigned argc, const kvsql_slice *argv,
                                     struct cmd_reply *reply,
                                     struct cmd_slice *slice,
                                     struct kvsql_error *err);
/* Whether the view of a reply that rests was ended (INTERRUPT). */
KV_INTERNAL kvsql_rc cmd_slice_ended(const struct cmd_slice *slice,
                                     struct kvsql_error *err);
/* Nothing more is wanted. Any thread, as long as no part is being made. */
KV_INTERNAL void cmd_slice_end(struct cmd_slice *slice);

/* The rest of a command that answered CMD_WORK. `session` is for the SQL of
 * this call; no transaction of it is open before or after. With `slice`, which
 * may be NULL, the reply may be the first part of one that goes on. */
KV_INTERNAL void cmd_client_work(struct cmd_client *client, kvsql *db,
                                 struct vt_session *session, unsigned argc,
                                 const kvsql_slice *argv,
                                 struct cmd_reply *reply,
                                 struct kv_ticket *ticket,
                                 struct cmd_slice *slice);

/* Whether the reply of the command that just ran is to be sent. */
static inline bool cmd_client_speaks(const struct cmd_client *client)
{
    return client->mute == CMD_MUTE_NO || client->tells;
}

/* Monotonic ns at which a pause ends; 0 when there is none. Any thread. */
KV_INTERNAL uint64_t cmd_pause_ns(void);

/* The password that AUTH asks for, "" or NULL = none. At start, or at a
 * change of the configuration: connections keep what they have. Any thread. */
KV_INTERNAL void cmd_password_set(const char *password);

/* Has the connection given the password, or is none asked for? */
KV_INTERNAL bool cmd_client_is_known(const struct cmd_client *client);

/* maxclients, for INFO. Any thread. */
KV_INTERNAL void cmd_clients_max_set(uint64_t count);

/* How many clients there are. Any thread. */
KV_INTERNAL unsigned cmd_client_count(void);

#endif
