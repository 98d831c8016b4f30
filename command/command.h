/* command.h - verbs: from argv to a typed reply.
 *
 * commands.def is the one table (name, arity, flags, key positions, group,
 * summary, complexity, since); this file finds the row, checks arity, runs the
 * handler inside a txn and answers. A command runs without a connection: a
 * script or a batch is the same call inside one txn.
 *
 * Thread: any; one cmd_context per caller at a time. */
#ifndef KVSQL_COMMAND_COMMAND_H
#define KVSQL_COMMAND_COMMAND_H

#include "command/reply.h"
#include "kvsql/inside.h"

enum cmd_flag {
    CMD_WRITE = 1,      /* may change data */
    CMD_READONLY = 2,
    CMD_FAST = 4,
    CMD_ADMIN = 8,
    CMD_LONG = 16,      /* may run long: runs on a view, outside the lock */
    CMD_NO_MULTI = 32,  /* not inside a batch */
    CMD_NO_REST = 64,   /* refused over REST (rest.md 3.4) */
    CMD_CONTROL = 128,  /* needs no txn: PING, INFO, SAVE ... */
    CMD_CLIENT = 256,   /* needs a connection: refused over REST */
    CMD_NO_AUTH = 512,  /* before the password, too */
    CMD_LOADING = 1024, /* while loading, too */
    CMD_AT_ONCE = 2048, /* runs inside MULTI, is not queued: EXEC */
    CMD_WORKER = 4096,  /* runs long: never on an event loop */
    CMD_DENYOOM = 8192, /* may grow the store: not over maxmemory */
    CMD_NO_TOUCH = 16384, /* looking at a key is no use of it (LRU, LFU) */
    CMD_ELEMENT = 32768,  /* argument 2 names an element of the key, which is
                             argument 1: pipelines look these up together */
    CMD_ELEMENT_LAST = 65536, /* ... the last argument names it */
    CMD_RUN = 131072,     /* a run of them is answered at once: GET */
    CMD_BLOCKING = 262144 /* may wait until something is there: BLPOP */
};

struct cmd_context; /* one call; see command.c */

struct cmd_row {
    const char *name;  /* upper case */
    int arity;         /* with the name; negative = at least */
    unsigned flags;
    int first_key, last_key, step; /* 0 = none; last_key -1 = last argument */
    const char *group, *summary, *complexity, *since, *syntax;
    void (*run)(struct cmd_context *context);
};

/* argv[0] is the name, any case; NULL when there is no such command. */
KV_INTERNAL const struct cmd_row *cmd_find(const void *name, size_t size);
/* Row `index` in order of name, NULL behind the last. */
KV_INTERNAL const struct cmd_row *cmd_at(unsigned index);
/* Nearest name for "did you mean", or NULL. */
KV_INTERNAL const char *cmd_nearest(const void *name, size_t size);

/* The options of the program, for CONFIG. Errors are whole lines, prefix
 * first. Any thread; `rewrite` writes a file and is not called inside a txn. */
#define CMD_CONFIG_PAIRS_MAX 256
struct cmd_config {
    void *arg;
    /* Parameter `index`: "" for none here, NULL behind the last. */
    const char *(*name)(void *arg, unsigned index);
    /* Append its value. */
    void (*get)(void *arg, unsigned index, struct kv_buf *out);
    /* Append the value that it has when nobody gives one; true: `set` takes
     * it. */
    bool (*initial)(void *arg, unsigned index, struct kv_buf *out);
    /* `count` names, each followed by its value; all or none. `txn` is the one
     * that the caller is in, or NULL. Taking the txn back does not take back
     * what was set. */
    kvsql_rc (*set)(void *arg, struct kv_txn *txn, unsigned count,
                    const kvsql_slice *pairs, struct kvsql_error *err);
    kvsql_rc (*rewrite)(void *arg, struct kvsql_error *err);
};

enum cmd_debug { CMD_DEBUG_NO, CMD_DEBUG_LOCAL, CMD_DEBUG_YES };

/* Facts about the program that commands show and lower rooms do not know, and
 * what it can do for them; filled in cli/serve.c. Zeroes are fine. */
struct cmd_host {
    struct cmd_config config; /* name NULL: there is none */
    uint16_t http_port, port;
    const char *config_file, *executable, *sqlite_version;
    enum cmd_debug debug; /* who may run DEBUG */
    /* Stop the program soon and in order; with `save`, after a snapshot. */
    kvsql_rc (*shutdown)(void *arg, bool save, struct kvsql_error *err);
    void *shutdown_arg;
    int64_t started_at; /* wall ms */
};
KV_INTERNAL void cmd_host_set(const struct cmd_host *host);
/* The port of the Redis protocol, when it has changed. Any thread. */
KV_INTERNAL void cmd_host_port_set(uint16_t port);

/* Waits for nothing: no state was seen. */
#define CMD_NO_TICKET                                                         \
    ((struct kv_ticket){.position = 0, .epoch = UINT64_MAX})
/* The same; but messages that were there for the client go before it. */
#define CMD_BEHIND_TICKET                                                     \
    ((struct kv_ticket){.position = UINT64_MAX - 1, .epoch = UINT64_MAX})

/* Run one command in a batch of its own. Always leaves exactly one value in
 * `reply` (an error reply included). *ticket is what the reply must wait for
 * before it leaves (D2, D3); the caller waits at the gate (kv_gate_*).
 * `limit_write` false refuses commands flagged CMD_WRITE (read-only doors). */
KV_INTERNAL void cmd_run(kvsql *db, unsigned argc, const kvsql_slice *argv,
                         bool allow_write, struct cmd_reply *reply,
                         struct kv_ticket *ticket);

/* Run one command inside an open txn (REST transaction, kv_exec, scripts).
 * Returns KVSQL_OK or the error of its reply; a failed command has changed
 * nothing (its own mark, UN1). */
KV_INTERNAL kvsql_rc cmd_run_in(struct kv_txn *txn, unsigned argc,
                                const kvsql_slice *argv,
                                struct cmd_reply *reply);

/* Run one command that only reads at a place of the caller's, a view: nothing
 * is locked, and all that is read there is of one state. Always leaves one
 * value in `reply`, and gives the result of its error. AUTH: the command does
 * not only read. `at` belongs to `db`. */
KV_INTERNAL kvsql_rc cmd_run_at(kvsql *db, const struct kv_at *at,
                                unsigned argc, const kvsql_slice *argv,
                                struct cmd_reply *reply);

/* cmd_run() with the row that cmd_check_row() gave; it may write. `pipe` may be
 * NULL; else the request is the one in front of pipe->next, and its txn may be
 * open behind the call: then the store is locked (client.h). */
struct cmd_pipe;
KV_INTERNAL void cmd_run_row(kvsql *db, struct cmd_pipe *pipe,
                             const struct cmd_row *row, unsigned argc,
                             const kvsql_slice *argv, struct cmd_reply *reply,
                             struct kv_ticket *ticket);

/* The row that argv means, subcommands included, whatever their number; NULL:
 * there is none. */
KV_INTERNAL const struct cmd_row *cmd_row_of(unsigned argc,
                                             const kvsql_slice *argv);

/* Check without running: KVSQL_OK, UNKNOWN, ARITY, AUTH (not in a batch, not
 * over REST), with Redis's sentence in err->text ("ERR unknown command ..."). */
KV_INTERNAL kvsql_rc cmd_check(unsigned argc, const kvsql_slice *argv,
                               bool in_batch, bool over_rest,
                               struct kvsql_error *err);
/* The same; *row is what argv means. */
KV_INTERNAL kvsql_rc cmd_check_row(unsigned argc, const kvsql_slice *argv,
                                   bool in_batch, bool over_rest,
                                   const struct cmd_row **row,
                                   struct kvsql_error *err);

/* A list of commands as one batch: all the ops are one wal record. With
 * `rollback` the first failing command undoes all and *failed is its index;
 * else Redis's MULTI rule (D4). replies[i] is filled for each that ran. */
KV_INTERNAL kvsql_rc cmd_run_batch(kvsql *db, unsigned count,
                                   const unsigned *argc,
                                   const kvsql_slice *const *argv,
                                   bool rollback, struct cmd_reply *replies,
                                   unsigned *failed, struct kv_ticket *ticket,
                                   struct kvsql_error *err);

/* Where a member with a score stands in a sorted set, or would stand: numbers of
 * members, for pages that go on behind the one before. */
struct cmd_zset_place {
    uint64_t length;        /* of all */
    uint64_t below, within; /* with a lower score; with this one, too */
    uint64_t before, upto;  /* before it in order of score, bytes; it, too, if
                               it is there */
};
/* False: there is no sorted set. O(log n). */
KV_INTERNAL bool cmd_zset_place(const struct kv_at *at, kvsql_slice key,
                                double score, kvsql_slice member,
                                struct cmd_zset_place *place);

/* Split a line the way redis-cli does (quotes, escapes). argv slices point
 * into `buf`. KVSQL_SYNTAX: unbalanced quotes. */
#define CMD_LINE_ARGS_MAX 1024
KV_INTERNAL kvsql_rc cmd_split(const char *line, size_t size,
                               struct kv_buf *buf, kvsql_slice *argv,
                               unsigned *argc, struct kvsql_error *err);

#endif
