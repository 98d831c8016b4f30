/* client.c - the connections: registry, rights, pauses, and the way of one
 * command of a connection.
 *
 *   cmd_client_run   find the row -> may it run at all? -> inside MULTI: put
 *                    it behind the others -> run it, or say CMD_WORK
 *
 * Always true:
 *   CL1  A command that answers CMD_WORK or CMD_HOLD has done nothing yet and
 *        left nothing in the reply.
 *   CL2  Names and library of a client change under the registry's lock only;
 *        what CLIENT LIST shows of it beyond that is atomic.
 *
 * Thread: as client.h says. */
#include "command/client.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "command/context.h"
#include "command/pubsub.h"
#include "command/track.h"
#include "command/traits.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"

/* ---- registry ----------------------------------------------------------- */

static struct kv_lock client_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                     .rank = KV_RANK_COMMAND};
static struct cmd_client *client_first, **client_last = &client_first;
static uint64_t client_next_id = 1;
static _Atomic unsigned client_count;
static _Atomic int client_monitors;
static struct cmd_monitor *client_ears; /* MONITOR of others; client_lock */

void cmd_registry_lock(void)
{
    kv_lock_take(&client_lock);
}

void cmd_registry_unlock(void)
{
    kv_lock_drop(&client_lock);
}

struct cmd_client *cmd_client_first(void)
{
    return client_first;
}

bool cmd_client_is_open(uint64_t id)
{
    const struct cmd_client *client;

    kv_lock_take(&client_lock);
    client = client_first;
    while (client != NULL && client->id != id) {
        client = client->next;
    }
    kv_lock_drop(&client_lock);
    return client != NULL;
}

unsigned cmd_client_count(void)
{
    return atomic_load_explicit(&client_count, memory_order_relaxed);
}

void cmd_monitor_change(int by)
{
    atomic_fetch_add(&client_monitors, by);
}

/* ---- the password ------------------------------------------------------- */

static struct kv_lock client_password_lock = {
    .mutex = PTHREAD_MUTEX_INITIALIZER, .rank = KV_RANK_COMMAND};
/* Padded with zero bytes: X4. */
static uint8_t client_password[CMD_PASSWORD_MAX];
static size_t client_password_size;

void cmd_password_set(const char *password)
{
    const size_t size =
        password == NULL ? 0 : strnlen(password, CMD_PASSWORD_MAX);

    kv_lock_take(&client_password_lock);
    memset(client_password, 0, sizeof(client_password));
    if (size > 0) {
        memcpy(client_password, password, size);
    }
    client_password_size = size;
    kv_lock_drop(&client_password_lock);
}

static bool client_password_wanted(void)
{
    kv_lock_take(&client_password_lock);
    const bool wanted = client_password_size > 0;
    kv_lock_drop(&client_password_lock);
    return wanted;
}

bool cmd_client_is_known(const struct cmd_client *client)
{
    return atomic_load_explicit(&client->authenticated,
                                memory_order_relaxed) ||
           !client_password_wanted();
}

int cmd_password_check(const kvsql_slice *user, kvsql_slice password)
{
    static const char name[] = "default";
    uint8_t given[CMD_PASSWORD_MAX] = {0};
    size_t differ;
    bool none;

    if (password.size > 0 && password.size <= sizeof(given)) {
        memcpy(given, password.p, password.size);
    }
    kv_lock_take(&client_password_lock);
    none = client_password_size == 0;
    differ = password.size ^ client_password_size;
    for (size_t i = 0; i < sizeof(given); i++) { /* every byte: X4 */
        differ |= (size_t)(given[i] ^ client_password[i]);
    }
    kv_lock_drop(&client_password_lock);
    if (user != NULL && (user->size != sizeof(name) - 1 ||
                         memcmp(user->p, name, user->size) != 0)) {
        return 0;
    }
    return none ? -1 : differ == 0;
}

/* Wrong passwords are counted, and told once a minute. */
#define CLIENT_TELL_NS 60000000000ull

void cmd_auth_failed(const struct cmd_client *client)
{
    static _Atomic uint64_t told_ns, count;
    const uint64_t now = kv_os_mono_ns();
    uint64_t before = atomic_load(&told_ns);

    atomic_fetch_add(&count, 1);
    if ((before == 0 || now - before >= CLIENT_TELL_NS) &&
        atomic_compare_exchange_strong(&told_ns, &before, now)) {
        kv_diag(KV_WARN, "client.password",
                "addr=%s why=\"wrong password\" count=%llu", client->addr,
                (unsigned long long)atomic_load(&count));
    }
}

/* ---- opening and closing ------------------------------------------------ */

void cmd_client_open(struct cmd_client *client, const struct cmd_door *door)
{
    client->door = door;
    client->resp = 2;
    client->created_ns = (int64_t)kv_os_mono_ns();
    kv_buf_init(&client->queue, KV_MEM_CLIENT, CMD_QUEUE_SIZE_MAX);
    atomic_store(&client->authenticated, !client_password_wanted());
    atomic_store(&client->used_ns, client->created_ns);
    atomic_store(&client->shown_queued, UINT_MAX);
    atomic_store(&client->shown_resp, 2);
    kv_lock_take(&client_lock);
    client->id = client_next_id++;
    client->next = NULL;
    client->link = client_last;
    *client_last = client;
    client_last = &client->next;
    kv_lock_drop(&client_lock);
    atomic_fetch_add(&client_count, 1);
}

void cmd_client_close(struct cmd_client *client)
{
    kv_lock_take(&client_lock);
    *client->link = client->next;
    if (client->next != NULL) {
        client->next->link = client->link;
    } else {
        client_last = client->link;
    }
    kv_lock_drop(&client_lock);
    atomic_fetch_sub(&client_count, 1);
    if (atomic_load(&client->monitor)) {
        cmd_monitor_change(-1);
    }
    cmd_block_end(client);
    cmd_subscriber_end(client);
    cmd_track_close(client);
    cmd_multi_end(client);
    cmd_watch_end(client);
    kv_buf_fini(&client->queue);
}

/* ---- pauses ------------------------------------------------------------- */

static _Atomic uint64_t client_pause_until;
static atomic_bool client_pause_all;

void cmd_pause_set(uint64_t until_ns, bool all)
{
    atomic_store(&client_pause_all, all);
    atomic_store(&client_pause_until, until_ns);
}

uint64_t cmd_pause_ns(void)
{
    const uint64_t until =
        atomic_load_explicit(&client_pause_until, memory_order_relaxed);

    return until != 0 && kv_os_mono_ns() < until ? until : 0;
}

static bool client_is_exec(const struct cmd_row *row)
{
    return row->run == cmd_do_exec;
}

/* Commands about the connection itself go on, so that a pause can be ended. */
static bool client_is_held(const struct cmd_client *client,
                           const struct cmd_row *row)
{
    if (cmd_pause_ns() == 0 || (client->multi && !client_is_exec(row))) {
        return false;
    }
    if (row->flags & CMD_CLIENT) {
        return client_is_exec(row) && client->queued > 0;
    }
    return atomic_load(&client_pause_all) || (row->flags & CMD_WRITE) != 0;
}

/* ---- MONITOR ------------------------------------------------------------ */

void cmd_monitor_open(struct cmd_monitor *monitor)
{
    kv_lock_take(&client_lock);
    monitor->next = client_ears;
    monitor->link = &client_ears;
    if (client_ears != NULL) {
        client_ears->link = &monitor->next;
    }
    client_ears = monitor;
    kv_lock_drop(&client_lock);
    cmd_monitor_change(1);
}

void cmd_monitor_close(struct cmd_monitor *monitor)
{
    kv_lock_take(&client_lock);
    *monitor->link = monitor->next;
    if (monitor->next != NULL) {
        monitor->next->link = monitor->link;
    }
    kv_lock_drop(&client_lock);
    cmd_monitor_change(-1);
}

/* Bytes of one line that are shown; a longer command is cut with "...". */
#define CLIENT_MONITOR_MAX ((size_t)64 << 10)

static void client_quote(struct kv_buf *out, kvsql_slice arg)
{
    const uint8_t *p = arg.p;

    kv_buf_text(out, " \"");
    for (size_t i = 0; i < arg.size && !out->failed; i++) {
        switch (p[i]) {
        case '\\':
        case '"':
            kv_buf_printf(out, "\\%c", p[i]);
            break;
        case '\n':
            kv_buf_text(out, "\\n");
            break;
        case '\r':
            kv_buf_text(out, "\\r");
            break;
        case '\t':
            kv_buf_text(out, "\\t");
            break;
        case '\a':
            kv_buf_text(out, "\\a");
            break;
        case '\b':
            kv_buf_text(out, "\\b");
            break;
        default:
            if (p[i] >= 0x20 && p[i] < 0x7f) {
                kv_buf_byte(out, p[i]);
            } else {
                kv_buf_printf(out, "\\x%02x", p[i]);
            }
        }
    }
    kv_buf_byte(out, '"');
}

static void client_monitor_line(const struct cmd_context *c,
                                struct kv_buf *out)
{
    static const kvsql_slice secret = {"(redacted)", 10};
    const int64_t now = kv_now(c->db);
    const char *addr = cmd_slowlog_addr(c);

    kv_buf_printf(out, "+%lld.%03lld000 [0 %s]", (long long)(now / 1000),
                  (long long)(now % 1000), addr != NULL ? addr : "local");
    for (unsigned i = 0; i < c->argc && !out->failed; i++) {
        client_quote(out, cmd_is_secret(c, i) ? secret : c->argv[i]);
    }
    if (out->failed) {
        out->failed = out->too_big = false;
        out->size_max += 8;
        kv_buf_text(out, "...");
    }
    kv_buf_text(out, "\r\n");
}

void cmd_monitor_feed(const struct cmd_context *c)
{
    struct kv_buf line;

    if (KV_LIKELY(atomic_load_explicit(&client_monitors,
                                       memory_order_relaxed) == 0) ||
        c->db == NULL || (c->row->flags & CMD_ADMIN) != 0) {
        return;
    }
    kv_buf_init(&line, KV_MEM_CLIENT, CLIENT_MONITOR_MAX);
    client_monitor_line(c, &line);
    if (!line.failed) {
        const struct cmd_push push = {.p = line.p, .size = line.size,
                                      .position = CMD_PUSH_BEHIND};

        kv_lock_take(&client_lock);
        for (struct cmd_client *to = client_first; to != NULL;
             to = to->next) {
            if (atomic_load(&to->monitor)) {
                to->door->push(to, &push);
            }
        }
        for (struct cmd_monitor *ear = client_ears; ear != NULL;
             ear = ear->next) {
            ear->hear(ear, (kvsql_slice){line.p + 1, line.size - 3});
        }
        kv_lock_drop(&client_lock);
    }
    kv_buf_fini(&line);
}

/* ---- one command -------------------------------------------------------- */

static void client_step_mute(struct cmd_client *client)
{
    if (KV_LIKELY(client->mute == CMD_MUTE_NO)) {
        return;
    }
    client->tells = false;
    if (client->mute == CMD_MUTE_NEXT) {
        client->mute = CMD_MUTE_THIS;
    } else if (client->mute == CMD_MUTE_THIS) {
        client->mute = CMD_MUTE_NO;
    }
}

static void client_note(struct cmd_client *client, const struct cmd_row *row)
{
    if (KV_UNLIKELY(atomic_load_explicit(&client->track.flags,
                                         memory_order_relaxed) &
                    CMD_TRACK_CACHING)) {
        cmd_track_step(client);
    }
    atomic_store_explicit(&client->last, row, memory_order_relaxed);
    atomic_store_explicit( /* one writer */
        &client->commands,
        atomic_load_explicit(&client->commands, memory_order_relaxed) + 1,
        memory_order_relaxed);
}

/* May the row run now, for this client? */
static kvsql_rc client_may(const struct cmd_client *client, const kvsql *db,
                           const struct cmd_row *row, struct kvsql_error *err)
{
    if ((row->flags & CMD_NO_AUTH) == 0 &&
        !cmd_client_is_known(client)) { /* X14 */
        return kv_fail(err, KVSQL_AUTH, "NOAUTH Authentication required.");
    }
    if (db == NULL && (row->flags & CMD_LOADING) == 0) {
        return kv_fail(err, KVSQL_LOADING,
                       "LOADING Redis is loading the dataset in memory");
    }
    if (atomic_load_explicit(&client->subscribed, memory_order_relaxed) &&
        client->resp == 2 && !cmd_may_subscriber(row)) {
        char name[CMD_NAME_MAX];
        const struct cmd_context c = {.row = row};

        return kv_fail(err, KVSQL_INVALID,
                       "ERR Can't execute '%s': only (P|S)SUBSCRIBE / "
                       "(P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
                       "this context",
                       cmd_name(&c, name));
    }
    if (client->multi && (row->flags & CMD_NO_MULTI)) {
        return kv_fail(err, KVSQL_AUTH,
                       "ERR Command not allowed inside a transaction");
    }
    return KVSQL_OK;
}

/* Behind MULTI: QUEUED, or why not. */
static void client_enqueue(struct cmd_client *client, struct cmd_context *c)
{
    if (cmd_queue_add(client, c->row, c->argc, c->argv)) {
        cmd_reply_status(c->reply, "QUEUED");
        return;
    }
    client->multi_failed = true;
    cmd_fail(c, KVSQL_TOOBIG,
             "ERR the transaction is larger than client-query-buffer-limit "
             "(%zu bytes), or memory is short; it will be discarded",
             CMD_QUEUE_SIZE_MAX);
}

static bool client_is_work(const struct cmd_client *client,
                           const struct cmd_row *row)
{
    return (row->flags & CMD_WORKER) != 0 ||
           (client_is_exec(row) && client->multi_sql);
}

void cmd_client_ran(struct cmd_client *client, const struct cmd_row *row,
                    const struct kv_ticket *ticket)
{
    if (((row->flags & CMD_WRITE) || client_is_exec(row)) &&
        ticket->epoch != UINT64_MAX) {
        client->last_write = *ticket;
    }
}

/* Pipelines mostly say one command over and over, and in the same letters. */
static const struct cmd_row *client_again(const struct cmd_client *client,
                                          unsigned argc,
                                          const kvsql_slice *argv)
{
    const struct cmd_row *row = client->again;

    if (row == NULL || argc == 0 || argv[0].size != client->again_size ||
        memcmp(argv[0].p, client->again_name, client->again_size) != 0 ||
        !cmd_arity_fits(row, argc)) {
        return NULL;
    }
    return row;
}

static kvsql_rc client_resolve(struct cmd_client *client,
                               struct cmd_context *c, struct kvsql_error *err)
{
    kvsql_rc rc;

    c->row = client_again(client, c->argc, c->argv);
    if (c->row != NULL) {
        return KVSQL_OK;
    }
    rc = cmd_resolve(c->argc, c->argv, &c->row, err);
    if (rc == KVSQL_OK && c->argv[0].size <= CMD_AGAIN_MAX &&
        strlen(c->row->name) == c->argv[0].size && /* no subcommand */
        !cmd_traits_is_box(c->row)) {              /* nor one to come */
        client->again = c->row;
        client->again_size = c->argv[0].size;
        memcpy(client->again_name, c->argv[0].p, c->argv[0].size);
    }
    return rc;
}

/* An EXEC that is refused ends its transaction, and says so. */
static void client_refuse_exec(struct cmd_client *client,
                               struct kvsql_error *err)
{
    const struct kvsql_error why = *err;
    const bool plain = strncmp(why.text, "ERR ", 4) == 0;

    (void)kv_fail(err, KVSQL_ABORT,
                  "EXECABORT Transaction discarded because of: %s",
                  why.text + (plain ? 4 : 0));
    cmd_multi_end(client);
    cmd_watch_end(client);
}

enum cmd_next cmd_client_run(struct cmd_client *client, kvsql *db,
                             struct cmd_pipe *pipe, unsigned argc,
                             const kvsql_slice *argv, struct cmd_reply *reply,
                             struct kv_ticket *ticket)
{
    struct cmd_context c;
    struct kvsql_error err;
    kvsql_rc rc;

    cmd_context_init(&c, db, argc, argv, reply);
    c.client = client;
    c.ticket = ticket;
    c.pipe = pipe;
    *ticket = CMD_NO_TICKET;
    cmd_reply_reset(reply);
    rc = client_resolve(client, &c, &err);
    if (rc == KVSQL_OK) {
        rc = client_may(client, db, c.row, &err);
    }
    if (rc == KVSQL_OK && client_is_held(client, c.row)) {
        return CMD_HOLD;
    }
    client_step_mute(client);
    if (rc != KVSQL_OK) {
        client->multi_failed |= client->multi;
        if (c.row != NULL && client_is_exec(c.row)) {
            client_refuse_exec(client, &err);
        }
        client_note(client, c.row);
        cmd_refuse(reply, c.row, &err);
        return CMD_DONE;
    }
    client_note(client, c.row);
    if (client->multi && (c.row->flags & CMD_AT_ONCE) == 0) {
        client_enqueue(client, &c);
        return CMD_DONE;
    }
    if ((c.row->flags & CMD_AT_ONCE) == 0) {
        cmd_monitor_feed(&c);
    }
    if (client_is_work(client, c.row)) {
        return CMD_WORK;
    }
    if (!cmd_execute(&c, ticket)) {
        cmd_reply_reset(reply);
        return c.waits ? CMD_WAIT : CMD_WORK; /* CL1: on a view */
    }
    if ((c.row->flags & CMD_AT_ONCE) != 0 && !client_is_exec(c.row)) {
        cmd_monitor_feed(&c); /* RESET ends one; EXEC tells of itself */
    }
    cmd_client_ran(client, c.row, ticket);
    return CMD_DONE;
}

/* A run of GETs is over in a few microseconds, with the store locked: what a
 * command asks first (the password, MULTI, a pause) was asked for the one in
 * front, and its time is an equal share. */
unsigned cmd_client_gets(struct cmd_client *client, struct cmd_pipe *pipe,
                         struct cmd_reply *reply)
{
    const struct cmd_row *row = client->again;
    unsigned count;

    if (pipe->txn == NULL || pipe->left == 0 || row == NULL ||
        !(row->flags & CMD_RUN) || client->multi || cmd_track_is_on() ||
        atomic_load_explicit(&client->last, memory_order_relaxed) != row ||
        atomic_load_explicit(&client_monitors, memory_order_relaxed) != 0 ||
        atomic_load_explicit(&client_pause_until, memory_order_relaxed) != 0) {
        return 0;
    }
    count = cmd_pipe_gets(pipe, row, reply);
    atomic_store_explicit( /* one writer */
        &client->commands,
        atomic_load_explicit(&client->commands, memory_order_relaxed) + count,
        memory_order_relaxed);
    return count;
}

void cmd_client_work(struct cmd_client *client, kvsql *db,
                     struct vt_session *session, unsigned argc,
                     const kvsql_slice *argv, struct cmd_reply *reply,
                     struct kv_ticket *ticket, struct cmd_slice *slice)
{
    struct cmd_context c = {.db = db, .argc = argc, .argv = argv,
                            .reply = reply, .client = client,
                            .session = session, .ticket = ticket};
    struct kvsql_error err;

    *ticket = CMD_NO_TICKET;
    cmd_reply_reset(reply);
    if (cmd_resolve(argc, argv, &c.row, &err) != KVSQL_OK) {
        cmd_refuse(reply, c.row, &err);
        return;
    }
    /* It has asked for a view: SORT without STORE, too, which may write. */
    if ((c.row->flags & CMD_CONTROL) == 0) {
        c.slice = slice;
        cmd_execute_view(&c);
        return;
    }
    if (c.row->run == cmd_do_sql) {
        cmd_catch_up(db);
    }
    (void)cmd_execute(&c, ticket);
    cmd_client_ran(client, c.row, ticket);
}
