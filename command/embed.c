/* embed.c - commands inside SQL: as a part of a transaction, or as a read where
 * a statement reads.
 *
 * Only what reads or writes keys is run; connections, the server and its
 * settings are no business of a statement. The reply is handed out item by item
 * before the caller knows that all went well: when it cannot keep one, the
 * command is taken back (CM2).
 *
 * Thread: the session's. */
#include "command/embed.h"

#include "command/context.h"

/* None of these is about keys alone. */
#define EMBED_NEVER                                                           \
    (CMD_CONTROL | CMD_CLIENT | CMD_ADMIN | CMD_NO_MULTI | CMD_AT_ONCE)

static kvsql_rc embed_check(const struct cmd_embed *embed,
                            const struct cmd_row *row,
                            struct kvsql_error *err)
{
    if ((row->flags & EMBED_NEVER) != 0 ||
        (row->flags & (CMD_WRITE | CMD_READONLY)) == 0) {
        return kv_fail(err, KVSQL_AUTH,
                       "'%s' is not available in SQL: it is not about keys",
                       row->name);
    }
    if (embed->txn == NULL && (row->flags & CMD_WRITE) != 0) {
        return kv_fail(err, KVSQL_AUTH,
                       "'%s' may change data: INSERT INTO kv_exec runs it",
                       row->name);
    }
    return KVSQL_OK;
}

/* The reply to the caller; it may keep all of it or nothing. */
static kvsql_rc embed_hand_out(const struct cmd_context *c,
                               struct kvsql_error *err)
{
    const struct cmd_embed *embed = c->embed;
    const struct cmd_reply *reply = c->reply;
    struct cmd_item item;
    size_t offset = 0;

    if (c->stopped != KVSQL_OK) { /* the statement's end, in its own words */
        return kv_fail(err, c->stopped, "%s", c->err.text);
    }
    if (reply->rc != KVSQL_OK) {
        const kvsql_slice line = cmd_reply_line(reply);

        return kv_fail(err, reply->rc, "%.*s", (int)line.size,
                       (const char *)line.p);
    }
    while (cmd_reply_next(reply, &offset, &item)) {
        if (!embed->take(embed->arg, &item)) {
            return kv_fail(err, KVSQL_NOMEM, "no memory for a reply");
        }
    }
    return KVSQL_OK;
}

kvsql_rc cmd_embed_run(const struct cmd_embed *embed, struct kvsql_error *err)
{
    struct cmd_context c;
    struct cmd_reply reply;
    kvsql_rc rc;

    cmd_reply_init(&reply, embed->size_max);
    cmd_context_init(&c, embed->db, embed->argc, embed->argv, &reply);
    c.embed = embed;
    rc = cmd_resolve(embed->argc, embed->argv, &c.row, err);
    if (rc == KVSQL_OK) {
        rc = embed_check(embed, c.row, err);
    }
    if (rc != KVSQL_OK) {
        cmd_refuse(&reply, c.row, err);
    } else if (embed->txn != NULL) {
        c.txn = embed->txn;
        (void)cmd_execute_in(&c);
        rc = embed_hand_out(&c, err);
        if (rc != KVSQL_OK && reply.rc == KVSQL_OK) {
            kv_txn_restore(c.txn, c.began); /* CM2 */
        }
    } else {
        c.read_only = true;
        cmd_execute_at(&c, embed->at);
        rc = embed_hand_out(&c, err);
    }
    cmd_reply_fini(&reply);
    return rc;
}
