/* multi.c - MULTI, EXEC, DISCARD, WATCH: several commands as one batch.
 *
 * Commands behind MULTI are kept as bytes and run at EXEC in one txn: one
 * position, one record of the wal, and nobody sees a part of it. A command
 * that fails when it runs does not take back the others (D4), unless the
 * transaction began with MULTI ROLLBACK, or a statement of SQL took back all:
 * then EXEC is all or nothing.
 *
 * When SQL is among them, the txn is that of an SQL transaction, and the
 * statements see what the commands before them did, and the other way round.
 *
 * WATCH remembers versions (EN6). A position that was taken back may come
 * again, so watches also remember the epoch. A key that is absent has no
 * version; it is noted when one comes to be, so that its going again cannot
 * hide it (track.c).
 *
 * Thread: the connection's. */
#include <limits.h>
#include <string.h>

#include "command/client.h"
#include "command/context.h"
#include "command/track.h"
#include "kvsql/base/num.h"
#include "vtab/session.h"

#define MULTI_WAIT_MS 10000
#define MULTI_LOOK_BACK 16 /* watched keys that are looked at for a new one */

struct cmd_watch {
    uint8_t *key;
    uint32_t size;
    bool absent;
    uint64_t version;
};

/* ---- the queue ---------------------------------------------------------- */

static void multi_show(struct cmd_client *client)
{
    atomic_store_explicit(&client->shown_queued,
                          client->multi ? client->queued : UINT_MAX,
                          memory_order_relaxed);
}

bool cmd_queue_add(struct cmd_client *client, const struct cmd_row *row,
                   unsigned argc, const kvsql_slice *argv)
{
    struct kv_buf *queue = &client->queue;

    kv_buf_u32(queue, argc);
    for (unsigned i = 0; i < argc; i++) {
        kv_buf_u32(queue, (uint32_t)argv[i].size);
        kv_buf_add(queue, argv[i].p, argv[i].size);
    }
    if (queue->failed) {
        return false;
    }
    client->queued++;
    client->multi_sql |= row->run == cmd_do_sql;
    client->multi_grows |= (row->flags & CMD_DENYOOM) != 0;
    client->multi_writes |= (row->flags & CMD_WRITE) != 0;
    multi_show(client);
    return true;
}

void cmd_multi_end(struct cmd_client *client)
{
    kv_buf_reset(&client->queue, 0);
    client->queued = 0;
    client->multi = client->multi_failed = false;
    client->multi_rollback = client->multi_sql = client->multi_grows = false;
    client->multi_writes = false;
    multi_show(client);
}

/* Walks the queue: the next command's arguments, in an array that grows. */
struct multi_args {
    const uint8_t *p;
    kvsql_slice *argv;
    unsigned argc, cap;
};

static bool multi_args_next(struct multi_args *args)
{
    args->argc = kv_u32_get(args->p);
    args->p += 4;
    if (args->argc > args->cap) {
        kvsql_slice *grown = kv_mem_realloc(
            KV_MEM_CLIENT, args->argv, args->cap * sizeof(*grown),
            args->argc * sizeof(*grown));

        if (grown == NULL) {
            return false;
        }
        args->argv = grown;
        args->cap = args->argc;
    }
    for (unsigned i = 0; i < args->argc; i++) {
        const uint32_t size = kv_u32_get(args->p);

        args->argv[i] = (kvsql_slice){.p = args->p + 4, .size = size};
        args->p += 4 + size;
    }
    return true;
}

static void multi_args_fini(struct multi_args *args)
{
    kv_mem_free(KV_MEM_CLIENT, args->argv, args->cap * sizeof(*args->argv));
}

/* ---- MULTI and DISCARD -------------------------------------------------- */

void cmd_do_multi(struct cmd_context *c)
{
    struct cmd_client *client = c->client;

    if (c->argc > 2 || (c->argc == 2 && !cmd_is(c, 1, "ROLLBACK"))) {
        client->multi_failed |= client->multi;
        cmd_fail_arity(c);
        return;
    }
    if (client->multi) {
        cmd_fail(c, KVSQL_SYNTAX, "ERR MULTI calls can not be nested");
        return;
    }
    client->multi = true;
    client->multi_rollback = c->argc > 1;
    multi_show(client);
    cmd_answer_ok(c);
}

void cmd_do_discard(struct cmd_context *c)
{
    if (!c->client->multi) {
        cmd_fail(c, KVSQL_SYNTAX, "ERR DISCARD without MULTI");
        return;
    }
    cmd_multi_end(c->client);
    cmd_watch_end(c->client);
    cmd_answer_ok(c);
}

/* ---- WATCH -------------------------------------------------------------- */

static void multi_show_watched(struct cmd_client *client)
{
    atomic_store_explicit(&client->shown_watched, client->watch_count,
                          memory_order_relaxed);
}

void cmd_watch_end(struct cmd_client *client)
{
    for (unsigned i = 0; i < client->watch_count; i++) {
        const struct cmd_watch *watch = &client->watched[i];

        if (watch->absent) {
            cmd_absent_forget(client, (kvsql_slice){.p = watch->key,
                                                    .size = watch->size});
        }
        kv_mem_free(KV_MEM_CLIENT, watch->key, watch->size + 1);
    }
    kv_mem_free(KV_MEM_CLIENT, client->watched,
                client->watch_cap * sizeof(*client->watched));
    client->watched = NULL;
    client->watch_count = client->watch_cap = 0;
    multi_show_watched(client);
}

/* *absent: it has no version. */
static uint64_t multi_version(const struct kv_at *at, const struct kv_key *key,
                              bool *absent)
{
    struct kv_item item;

    *absent = !kv_get(at, key, &item);
    return *absent ? 0 : kv_item_version(at, &item);
}

/* Among the last few only: watching a key twice costs room, not meaning, for
 * the older version still tells of every change. */
static bool multi_is_watched(const struct cmd_client *client,
                             const struct kv_key *key)
{
    const unsigned count = client->watch_count;
    const unsigned first = count > MULTI_LOOK_BACK ? count - MULTI_LOOK_BACK : 0;

    for (unsigned i = first; i < count; i++) {
        if (client->watched[i].size == key->size &&
            memcmp(client->watched[i].key, key->p, key->size) == 0) {
            return true;
        }
    }
    return false;
}

static bool multi_watch_room(struct cmd_client *client)
{
    const unsigned cap = client->watch_cap > 0 ? client->watch_cap * 2 : 8;
    struct cmd_watch *grown;

    if (client->watch_count < client->watch_cap) {
        return true;
    }
    grown = kv_mem_realloc(KV_MEM_CLIENT, client->watched,
                           client->watch_cap * sizeof(*grown),
                           cap * sizeof(*grown));
    if (grown == NULL) {
        return false;
    }
    client->watched = grown;
    client->watch_cap = cap;
    return true;
}

/* Watch one more key; a key keeps its first version. */
static bool multi_watch(struct cmd_context *c, const struct kv_key *key)
{
    struct cmd_client *client = c->client;
    struct cmd_watch *watch;

    if (multi_is_watched(client, key)) {
        return true;
    }
    if (client->watch_count == CMD_WATCH_MAX) {
        cmd_fail(c, KVSQL_TOOBIG, "ERR a client may watch %d keys",
                 CMD_WATCH_MAX);
        return false;
    }
    if (!multi_watch_room(client)) {
        cmd_fail_nomem(c);
        return false;
    }
    watch = &client->watched[client->watch_count];
    watch->key = kv_mem_dup(KV_MEM_CLIENT, key->p, key->size);
    if (watch->key == NULL) {
        cmd_fail_nomem(c);
        return false;
    }
    watch->size = key->size;
    watch->version = multi_version(&c->at, key, &watch->absent);
    if (watch->absent &&
        !cmd_absent_watch(client,
                          (kvsql_slice){.p = key->p, .size = key->size})) {
        kv_mem_free(KV_MEM_CLIENT, watch->key, watch->size + 1);
        cmd_fail_nomem(c);
        return false;
    }
    client->watch_count++;
    return true;
}

/* Under the lock: the versions that the keys have now. */
static void multi_watch_all(struct cmd_context *c, const struct kv_txn *txn)
{
    struct cmd_client *client = c->client;

    kv_at_txn(txn, &c->at);
    if (client->watch_count == 0) {
        client->watch_epoch = kv_txn_epoch(txn);
    }
    for (unsigned i = 1; i < c->argc; i++) {
        const struct kv_key key = cmd_key(c, i);

        if (!multi_watch(c, &key)) {
            return;
        }
    }
    cmd_answer_ok(c);
}

void cmd_do_watch(struct cmd_context *c)
{
    struct kv_txn *txn;
    kvsql_rc rc;

    if (c->client->multi) {
        cmd_fail(c, KVSQL_SYNTAX, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    cmd_track_observe(c->db);
    rc = kv_txn_begin(c->db, false, MULTI_WAIT_MS, &txn, &c->err);
    if (rc == KVSQL_OK) {
        multi_watch_all(c, txn);
        rc = kv_txn_commit(txn, c->ticket, &c->err);
    }
    if (rc != KVSQL_OK) {
        cmd_fail_rc(c, rc);
    }
    multi_show_watched(c->client);
}

void cmd_do_unwatch(struct cmd_context *c)
{
    cmd_watch_end(c->client);
    cmd_answer_ok(c);
}

/* Under the lock: is each watched key as it was? */
static bool multi_holds(const struct cmd_client *client,
                        const struct kv_txn *txn)
{
    struct kv_at at;

    if (client->watch_count == 0) {
        return true;
    }
    if (client->watch_epoch != kv_txn_epoch(txn)) {
        return false; /* trap 10 */
    }
    if (client->watch_absent > 0 && atomic_load(&client->watch_touched)) {
        return false;
    }
    kv_at_txn(txn, &at);
    for (unsigned i = 0; i < client->watch_count; i++) {
        const struct cmd_watch *watch = &client->watched[i];
        const struct kv_key key = kv_key_of(watch->key, watch->size);

        bool absent;

        if (multi_version(&at, &key, &absent) != watch->version) {
            return false;
        }
    }
    return true;
}

/* ---- EXEC --------------------------------------------------------------- */

/* One run of EXEC. */
struct multi_run {
    struct cmd_context *c;
    struct multi_args args;
    struct cmd_reply part;
    struct cmd_later later; /* commands whose work is not the store's */
    struct kv_ticket seen; /* the state that was found */
    kvsql_rc rc;        /* of the command that ends a ROLLBACK transaction */
    unsigned failed;    /* its index, from 1 */
};

/* The command in run->args, inside the transaction. */
static void multi_run_one(struct multi_run *run, struct kv_txn *txn)
{
    struct cmd_context one = {.db = run->c->db, .argc = run->args.argc,
                              .argv = run->args.argv, .reply = &run->part,
                              .client = run->c->client,
                              .session = run->c->session,
                              .has_room = true,
                              .later = &run->later,
                              .ticket = run->c->ticket};
    struct kvsql_error err;
    kvsql_rc rc = cmd_resolve(one.argc, one.argv, &one.row, &err);

    if (rc == KVSQL_OK && run->c->client->multi_sql &&
        one.row->run != cmd_do_sql) {
        rc = vt_write(one.session, &txn, &err);
        if (rc != KVSQL_OK) {
            cmd_fail(&one, rc, "%s %s", kv_error_row(rc)->resp, err.text);
            return;
        }
    }
    if (rc != KVSQL_OK) {
        cmd_refuse(one.reply, one.row, &err);
        return;
    }
    cmd_monitor_feed(&one);
    if (one.row->run == cmd_do_sql) {
        cmd_do_sql(&one);
        return;
    }
    one.txn = txn;
    (void)cmd_execute_in(&one);
}

/* Has a statement taken back all? OR ROLLBACK does, and so does one that is
 * short of memory or time. */
static bool multi_is_over(const struct multi_run *run)
{
    return run->c->client->multi_sql && !vt_in_transaction(run->c->session);
}

/* All of them; false: a ROLLBACK transaction is over, a statement took it back,
 * or there is no room for the replies. */
static bool multi_run_all(struct multi_run *run, struct kv_txn *txn)
{
    struct cmd_client *client = run->c->client;
    struct cmd_reply *reply = run->c->reply;

    cmd_reply_array(reply, client->queued);
    run->args.p = client->queue.p;
    for (unsigned i = 0; i < client->queued; i++) {
        if (cmd_reply_failed(reply) || !multi_args_next(&run->args)) {
            run->rc = KVSQL_NOMEM;
            return false;
        }
        cmd_reply_part(&run->part, reply);
        multi_run_one(run, txn);
        if (run->part.rc != KVSQL_OK &&
            (client->multi_rollback || multi_is_over(run))) {
            run->rc = run->part.rc;
            run->failed = i + 1;
            return false;
        }
        if (!cmd_reply_part_end(&run->part, reply)) {
            run->rc = reply->buf->too_big ? KVSQL_TOOBIG : KVSQL_NOMEM;
            return false;
        }
    }
    return true;
}

/* The transaction was taken back: say which command did it, and why. That tells
 * of the state it found, and waits for it (D3). */
static void multi_answer_rollback(struct multi_run *run)
{
    kvsql_slice line;

    *run->c->ticket = run->seen;

    if (run->failed == 0) {
        cmd_fail(run->c, run->rc,
                 "EXECABORT Transaction rolled back: no memory for its "
                 "replies");
        return;
    }
    line = cmd_reply_line(&run->part);
    cmd_fail(run->c, run->rc,
             "EXECABORT Transaction rolled back because of command %u: %.*s",
             run->failed, (int)line.size, (const char *)line.p);
}

/* Room for all of them, and a disk that takes them; false: there is none,
 * answered. */
static bool multi_room(struct multi_run *run, struct kv_txn *txn)
{
    struct cmd_context *c = run->c;
    struct kvsql_error why;
    kvsql_rc rc = c->client->multi_writes ? kv_txn_writable(txn, &why)
                                          : KVSQL_OK;

    if (rc != KVSQL_OK) {
        cmd_fail(c, rc, "EXECABORT Transaction discarded because of: %s %s",
                 kv_error_row(rc)->resp, why.text);
        return false;
    }
    rc = cmd_make_room(txn, c->client->multi_grows, &c->err);
    if (rc != KVSQL_OK) {
        cmd_fail(c, rc, "%s", c->err.text);
    }
    return rc == KVSQL_OK;
}

static void multi_exec_commands(struct multi_run *run)
{
    struct cmd_context *c = run->c;
    struct kv_txn *txn;
    kvsql_rc rc = kv_txn_begin(c->db, true, MULTI_WAIT_MS, &txn, &c->err);

    if (rc != KVSQL_OK) {
        cmd_fail_rc(c, rc);
        return;
    }
    run->seen = kv_txn_ticket(txn);
    if (!multi_holds(c->client, txn)) {
        cmd_reply_null_array(c->reply);
    } else if (!multi_room(run, txn)) {
        kv_txn_rollback(txn);
        return;
    } else if (!multi_run_all(run, txn)) {
        kv_txn_rollback(txn);
        multi_answer_rollback(run);
        return;
    }
    rc = kv_txn_commit(txn, c->ticket, &c->err);
    if (rc != KVSQL_OK) {
        cmd_fail_rc(c, rc);
    } else {
        cmd_later_run(&run->later, c->reply);
    }
}

/* A commit of the session waits at the gate itself. */
static void multi_exec_sql(struct multi_run *run)
{
    struct cmd_context *c = run->c;
    struct kv_txn *txn;
    kvsql_rc rc = vt_begin(c->session, &c->err);

    if (rc == KVSQL_OK) {
        rc = vt_write(c->session, &txn, &c->err);
    }
    if (rc != KVSQL_OK) {
        vt_rollback(c->session);
        cmd_fail_rc(c, rc);
        return;
    }
    run->seen = kv_txn_ticket(txn);
    if (!multi_holds(c->client, txn)) {
        vt_rollback(c->session);
        *c->ticket = run->seen; /* of a change that may not be safe (D3) */
        cmd_reply_null_array(c->reply);
        return;
    }
    if (!multi_room(run, txn)) {
        vt_rollback(c->session);
        return;
    }
    if (!multi_run_all(run, txn)) {
        vt_rollback(c->session);
        multi_answer_rollback(run);
        return;
    }
    rc = vt_commit(c->session, &c->err);
    if (rc != KVSQL_OK) {
        vt_rollback(c->session);
        cmd_fail_rc(c, rc);
    } else {
        cmd_later_run(&run->later, c->reply);
    }
}

static void multi_exec(struct cmd_context *c)
{
    struct cmd_client *client = c->client;
    struct multi_run run = {.c = c};

    if (!client->multi) {
        cmd_fail(c, KVSQL_SYNTAX, "ERR EXEC without MULTI");
        return;
    }
    if (client->multi_failed) {
        cmd_fail(c, KVSQL_ABORT,
                 "EXECABORT Transaction discarded because of previous "
                 "errors.");
    } else {
        if (client->multi_sql) {
            multi_exec_sql(&run);
        } else {
            multi_exec_commands(&run);
        }
        multi_args_fini(&run.args);
        cmd_later_fini(&run.later);
    }
    cmd_multi_end(client);
    cmd_watch_end(client);
}

/* Behind its commands for those who MONITOR, as Redis shows it. */
void cmd_do_exec(struct cmd_context *c)
{
    multi_exec(c);
    cmd_monitor_feed(c);
}
