/* embed.h - commands inside SQL: kv_exec and kv() (embed.c). */
#ifndef KVSQL_COMMAND_EMBED_H
#define KVSQL_COMMAND_EMBED_H

#include "command/command.h"

/* Gets each item of the reply; false: no memory. */
typedef bool (*cmd_embed_fn)(void *arg, const struct cmd_item *item);

struct cmd_embed {
    kvsql *db;
    struct kv_txn *txn;     /* run as a part of it; or NULL, and then only */
    const struct kv_at *at; /* reads are run, here */
    unsigned argc;
    const kvsql_slice *argv;
    size_t size_max;        /* bytes of the reply */
    cmd_embed_fn take;
    void *arg;
    /* NULL, or asked now and then by commands that are long: KVSQL_OK, or why
     * this one is to end. */
    kvsql_rc (*stopped)(void *arg, struct kvsql_error *err);
};

/* Not KVSQL_OK: nothing has changed; err has the whole error line. */
KV_INTERNAL kvsql_rc cmd_embed_run(const struct cmd_embed *embed,
                                   struct kvsql_error *err);

#endif
