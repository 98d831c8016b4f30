/* c_server.c - the server itself: PING, TIME, FLUSHALL, SAVE.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/client.h"
#include "command/context.h"

#include "kvsql/admin.h"
#include "kvsql/base/num.h"

void cmd_do_ping(struct cmd_context *c)
{
    const struct cmd_client *client = c->client;

    if (c->argc > 2) {
        cmd_fail_arity(c);
    } else if (client != NULL && client->resp == 2 &&
               atomic_load(&client->subscribed)) {
        cmd_reply_array(c->reply, 2);
        cmd_reply_text(c->reply, "pong");
        cmd_reply_bulk(c->reply, c->argc > 1 ? c->argv[1].p : "",
                       c->argc > 1 ? c->argv[1].size : 0);
    } else if (c->argc == 2) {
        cmd_reply_bulk(c->reply, c->argv[1].p, c->argv[1].size);
    } else {
        cmd_reply_status(c->reply, "PONG");
    }
}

void cmd_do_echo(struct cmd_context *c)
{
    cmd_reply_bulk(c->reply, c->argv[1].p, c->argv[1].size);
}

void cmd_do_time(struct cmd_context *c)
{
    const int64_t now = kv_now(c->db);
    char text[KV_INT_TEXT_MAX];

    cmd_reply_array(c->reply, 2);
    cmd_reply_bulk(c->reply, text, kv_num_format_int(text, now / 1000));
    cmd_reply_bulk(c->reply, text,
                   kv_num_format_int(text, now % 1000 * 1000));
}

void cmd_do_flushall(struct cmd_context *c)
{
    if (c->argc > 2 ||
        (c->argc == 2 && !cmd_is(c, 1, "ASYNC") && !cmd_is(c, 1, "SYNC"))) {
        cmd_fail_syntax(c);
    } else if (cmd_ok(c, kv_flush(c->txn, &c->err))) {
        cmd_answer_ok(c);
    }
}

/* ---- snapshots ---------------------------------------------------------- */

static void server_save_failed(struct cmd_context *c, kvsql_rc rc)
{
    if (rc == KVSQL_BUSY) {
        cmd_fail(c, rc, "ERR Background save already in progress");
    } else {
        cmd_fail_rc(c, rc);
    }
}

void cmd_do_save(struct cmd_context *c)
{
    struct kv_snapshot_info info;
    const kvsql_rc rc = kv_snapshot_run(c->db, NULL, NULL, &info, &c->err);

    if (rc != KVSQL_OK) {
        server_save_failed(c, rc);
    } else {
        cmd_answer_ok(c);
    }
}

void cmd_do_bgsave(struct cmd_context *c)
{
    kvsql_rc rc;

    if (c->argc > 2 || (c->argc == 2 && !cmd_is(c, 1, "SCHEDULE"))) {
        cmd_fail_syntax(c);
        return;
    }
    rc = kv_snapshot_start(c->db, &c->err);
    if (rc != KVSQL_OK) {
        server_save_failed(c, rc);
    } else {
        cmd_reply_status(c->reply, "Background saving started");
    }
}

void cmd_do_lastsave(struct cmd_context *c)
{
    struct kv_info info;

    cmd_info_get(c, &info);
    cmd_reply_int(c->reply, (info.snapshot_at != 0
                                 ? info.snapshot_at
                                 : cmd_host_get()->started_at) /
                                1000);
}
