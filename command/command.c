/* command.c - from argv to a row of the table, through a txn, to a reply.
 *
 * One command alone:
 *
 *   control (PING, INFO)   run, no txn
 *   all others             begin txn, mark, run, on error back to the mark,
 *                          commit: a failed command has changed nothing but
 *                          its reply still waits for the state it saw (D3)
 *   with others        what came in one go shares a txn: pipe.c
 *   CMD_LONG on much       the handler asks for a view (cmd_defer): the txn
 *                          ends, a view is pinned, the handler runs again
 *
 * Always true:
 *   CM1  A reply holds exactly one value when a function of this file returns.
 *   CM2  rc of the reply is KVSQL_OK, or the command has changed nothing.
 *
 * Thread: any; what is shared is the constant table and counters. */
#include "command/command.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "command/await.h"
#include "command/client.h"
#include "command/context.h"
#include "command/track.h"
#include "kvsql/base/os.h"

#define COMMAND_NAME_MAX 48
#define COMMAND_TEXT_CLIENT                                                   \
    "ERR this command is about a connection of the Redis protocol; here is "  \
    "none"

/* ---- the table ---------------------------------------------------------- */

static const struct cmd_row command_rows[] = {
#define CMD_ROW(name, arity, flags, first, last, step, group, since, run,     \
                complexity, syntax, summary)                                  \
    {(name), (arity), (flags), (first), (last), (step), (group), (summary),  \
     (complexity), (since), (syntax), (run)},
#define CMD_BOX(name, arity, flags, group, since, run, summary)               \
    {(name), (arity), (flags), 0, 0, 0, (group), (summary), "O(1)", (since),  \
     "", (run)},
#include "command/commands.def"
#undef CMD_ROW
#undef CMD_BOX
};
#define COMMAND_COUNT (sizeof(command_rows) / sizeof(command_rows[0]))

unsigned cmd_count(void)
{
    return (unsigned)COMMAND_COUNT;
}

const struct cmd_row *cmd_at(unsigned index)
{
    return index < COMMAND_COUNT ? &command_rows[index] : NULL;
}

/* Rows by the hash of their name: an open table of row index + 1, 0 is free;
 * and which rows are containers of the ones behind them. Made once, before the
 * first search. */
#define COMMAND_SLOTS 2048
static uint16_t command_slots[COMMAND_SLOTS];
static bool command_boxes[COMMAND_COUNT];
static pthread_once_t command_once = PTHREAD_ONCE_INIT;
_Static_assert(COMMAND_SLOTS >= 2 * COMMAND_COUNT, "slots stay half empty");

static unsigned command_hash(const char *name)
{
    uint32_t hash = 0;

    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)*name) * UINT32_C(0x01000193);
    }
    return (hash ^ hash >> 15) % COMMAND_SLOTS;
}

static void command_index(void)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const char *name = command_rows[i].name;
        const size_t size = strlen(name);
        unsigned slot = command_hash(name);

        while (command_slots[slot] != 0) {
            slot = (slot + 1) % COMMAND_SLOTS;
        }
        command_slots[slot] = (uint16_t)(i + 1);
        command_boxes[i] =
            i + 1 < COMMAND_COUNT &&
            strncmp(command_rows[i + 1].name, name, size) == 0 &&
            command_rows[i + 1].name[size] == '|';
    }
}

/* The row of an upper case name, or NULL. */
static const struct cmd_row *command_search(const char *name)
{
    const bool made = pthread_once(&command_once, command_index) == 0;

    KV_ASSERT(made);
    for (unsigned slot = command_hash(name); command_slots[slot] != 0;
         slot = (slot + 1) % COMMAND_SLOTS) {
        const struct cmd_row *row = &command_rows[command_slots[slot] - 1];

        if (strcmp(row->name, name) == 0) {
            return row;
        }
    }
    return NULL;
}

/* Append a name in upper case to out, which holds `used` bytes; 0 when it
 * cannot be one of ours: too long, or with a byte that no name has. */
static size_t command_fold(char out[COMMAND_NAME_MAX], size_t used,
                           const void *name, size_t size)
{
    const char *p = name;

    if (size == 0 || size >= COMMAND_NAME_MAX - used) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        const char ch = p[i] >= 'a' && p[i] <= 'z' ? (char)(p[i] - 32) : p[i];

        if ((ch < 'A' || ch > 'Z') && ch != '-' && ch != '_') {
            return 0;
        }
        out[used + i] = ch;
    }
    out[used + size] = '\0';
    return used + size;
}

/* Requests that follow each other mostly have the same name: the last one that
 * this thread found, as it was written. */
static _Thread_local struct {
    const struct cmd_row *row; /* NULL: none yet */
    size_t size;
    char name[COMMAND_NAME_MAX];
} command_last;

const struct cmd_row *cmd_find(const void *name, size_t size)
{
    const struct cmd_row *row;
    char upper[COMMAND_NAME_MAX];

    if (command_last.row != NULL && size == command_last.size &&
        memcmp(name, command_last.name, size) == 0) {
        return command_last.row;
    }
    row = command_fold(upper, 0, name, size) != 0 ? command_search(upper)
                                                  : NULL;
    if (row != NULL) {
        command_last.row = row;
        command_last.size = size;
        memcpy(command_last.name, name, size);
    }
    return row;
}

const struct cmd_row *cmd_find_full(const void *name, size_t size)
{
    const char *p = name;
    const char *bar = size > 0 ? memchr(p, '|', size) : NULL;
    char upper[COMMAND_NAME_MAX];
    size_t used;

    if (bar == NULL) {
        return cmd_find(name, size);
    }
    used = command_fold(upper, 0, p, (size_t)(bar - p));
    if (used == 0 || used + 1 >= COMMAND_NAME_MAX) {
        return NULL;
    }
    upper[used++] = '|';
    used = command_fold(upper, used, bar + 1, size - (size_t)(bar + 1 - p));
    return used == 0 ? NULL : command_search(upper);
}

const char *cmd_nearest(const void *name, size_t size)
{
    const char *names[COMMAND_COUNT + 1];
    char upper[COMMAND_NAME_MAX];
    int nearest;

    if (command_fold(upper, 0, name, size) == 0) {
        return NULL;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[i] = command_rows[i].name;
    }
    names[COMMAND_COUNT] = NULL;
    nearest = kv_text_nearest(upper, names);
    return nearest < 0 ? NULL : names[nearest];
}

/* ---- refusing ----------------------------------------------------------- */

/* Bytes of a client inside a sentence: at most `max` of them, control bytes
 * as \xHH, never more than out has room for. */
static size_t command_quote(char *out, size_t out_size, size_t used,
                            kvsql_slice bytes, size_t max)
{
    const uint8_t *p = bytes.p;
    const size_t size = bytes.size < max ? bytes.size : max;

    for (size_t i = 0; i < size && used + 5 < out_size; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f) {
            used += (size_t)snprintf(out + used, out_size - used, "\\x%02x",
                                     p[i]);
        } else {
            out[used++] = (char)p[i];
        }
    }
    out[used] = '\0';
    return used;
}

#define COMMAND_QUOTE_MAX 128 /* bytes of arguments in a sentence */

/* What a command belongs to that is to come (later.def), or NULL. */
static const char *command_later(kvsql_slice given)
{
    static const struct {
        const char *what, *names;
    } rows[] = {
#define CMD_LATER(what, names) {(what), (names)},
#include "command/later.def"
#undef CMD_LATER
    };
    char upper[COMMAND_NAME_MAX];
    const size_t size = command_fold(upper, 0, given.p, given.size);

    for (size_t i = 0; size > 0 && i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *p = rows[i].names;

        while (*p != '\0') {
            const size_t word = strcspn(p, " ");

            if (word == size && memcmp(p, upper, size) == 0) {
                return rows[i].what;
            }
            p += word + (p[word] != '\0');
        }
    }
    return NULL;
}

static kvsql_rc command_unknown(unsigned argc, const kvsql_slice *argv,
                                struct kvsql_error *err)
{
    char name[2 * COMMAND_QUOTE_MAX], args[2 * COMMAND_QUOTE_MAX];
    const char *later = command_later(argv[0]);
    size_t used = 0;

    command_quote(name, sizeof(name), 0, argv[0], COMMAND_QUOTE_MAX);
    if (later != NULL) {
        return kv_fail(err, KVSQL_UNKNOWN,
                       "ERR unknown command '%s': %s are not in this version "
                       "of kvsql",
                       name, later);
    }
    args[0] = '\0';
    for (unsigned i = 1; i < argc && used < COMMAND_QUOTE_MAX; i++) {
        const size_t room = COMMAND_QUOTE_MAX - used;

        args[used++] = '\'';
        used = command_quote(args, sizeof(args) - 3, used, argv[i], room);
        args[used++] = '\'';
        args[used++] = ' ';
        args[used] = '\0';
    }
    return kv_fail(err, KVSQL_UNKNOWN,
                   "ERR unknown command '%s', with args beginning with: %s",
                   name, args);
}

/* The name of a row in small letters. */
static const char *command_lower(char out[COMMAND_NAME_MAX],
                                 const struct cmd_row *row)
{
    size_t i = 0;

    for (; row->name[i] != '\0'; i++) {
        const char ch = row->name[i];

        out[i] = ch >= 'A' && ch <= 'Z' ? (char)(ch + 32) : ch;
    }
    out[i] = '\0';
    return out;
}

static kvsql_rc command_arity(const struct cmd_row *row,
                              struct kvsql_error *err)
{
    char name[COMMAND_NAME_MAX];

    return kv_fail(err, KVSQL_ARITY,
                   "ERR wrong number of arguments for '%s' command",
                   command_lower(name, row));
}

bool cmd_arity_fits(const struct cmd_row *row, unsigned argc)
{
    return row->arity >= 0 ? argc == (unsigned)row->arity
                           : argc >= (unsigned)-row->arity;
}

kvsql_rc cmd_resolve(unsigned argc, const kvsql_slice *argv,
                     const struct cmd_row **row, struct kvsql_error *err)
{
    const struct cmd_row *found;
    char name[COMMAND_NAME_MAX], word[2 * COMMAND_QUOTE_MAX];
    size_t used;

    *row = NULL;
    if (argc == 0) {
        return kv_fail(err, KVSQL_SYNTAX, "ERR empty command");
    }
    found = cmd_find(argv[0].p, argv[0].size);
    if (found == NULL) {
        return command_unknown(argc, argv, err);
    }
    if (argc > 1 && command_boxes[found - command_rows]) {
        used = strlen(found->name);
        memcpy(name, found->name, used);
        name[used++] = '|';
        used = command_fold(name, used, argv[1].p, argv[1].size);
        if (used == 0 || command_search(name) == NULL) {
            command_quote(word, sizeof(word), 0, argv[1], COMMAND_QUOTE_MAX);
            return kv_fail(err, KVSQL_UNKNOWN,
                           "ERR unknown subcommand '%s'. Try %s HELP.", word,
                           found->name);
        }
        found = command_search(name);
    }
    *row = found;
    return cmd_arity_fits(found, argc) ? KVSQL_OK
                                           : command_arity(found, err);
}

const struct cmd_row *cmd_row_of(unsigned argc, const kvsql_slice *argv)
{
    const struct cmd_row *row;
    struct kvsql_error err;

    (void)cmd_resolve(argc, argv, &row, &err);
    return row;
}

kvsql_rc cmd_check_row(unsigned argc, const kvsql_slice *argv, bool in_batch,
                       bool over_rest, const struct cmd_row **row,
                       struct kvsql_error *err)
{
    const kvsql_rc rc = cmd_resolve(argc, argv, row, err);

    if (rc != KVSQL_OK) {
        return rc;
    }
    if (in_batch && ((*row)->flags & CMD_NO_MULTI)) {
        return kv_fail(err, KVSQL_AUTH,
                       "ERR Command not allowed inside a transaction");
    }
    if (over_rest && ((*row)->flags & (CMD_NO_REST | CMD_CLIENT))) {
        return kv_fail(err, KVSQL_AUTH,
                       "ERR Command is not available over REST: '%s'",
                       (*row)->name);
    }
    return KVSQL_OK;
}

kvsql_rc cmd_check(unsigned argc, const kvsql_slice *argv, bool in_batch,
                   bool over_rest, struct kvsql_error *err)
{
    const struct cmd_row *row;

    return cmd_check_row(argc, argv, in_batch, over_rest, &row, err);
}

/* ---- running ------------------------------------------------------------ */

static struct cmd_host command_host;

static _Atomic unsigned command_port; /* may change while it runs */

void cmd_host_set(const struct cmd_host *host)
{
    command_host = *host;
    atomic_store(&command_port, host->port);
}

void cmd_host_port_set(uint16_t port)
{
    atomic_store(&command_port, port);
}

unsigned cmd_host_port(void)
{
    return atomic_load(&command_port);
}

const struct cmd_host *cmd_host_get(void)
{
    return &command_host;
}

void cmd_refuse(struct cmd_reply *reply, const struct cmd_row *row,
                const struct kvsql_error *err)
{
    cmd_reply_reset(reply);
    cmd_reply_error(reply, err->rc, "%s", err->text);
    cmd_stats_error(err->text, strlen(err->text));
    if (row != NULL) {
        cmd_stats_reject((unsigned)(row - command_rows));
    }
}

/* One value, or one error: CM1. */
static inline void command_settle(struct cmd_context *c)
{
    const struct kv_buf *buf = c->reply->buf;

    KV_ASSERT(buf->size > c->reply->start || buf->failed || c->deferred);
    if (KV_UNLIKELY(c->stopped != KVSQL_OK)) {
        cmd_fail_rc(c, c->stopped);
    }
    if (buf->failed) {
        c->reply->rc = buf->too_big ? KVSQL_TOOBIG : KVSQL_NOMEM;
    }
    if (KV_UNLIKELY(c->reply->rc != KVSQL_OK)) {
        const kvsql_slice line = cmd_reply_line(c->reply);

        cmd_stats_error(line.p, line.size);
    }
}

bool cmd_room(struct cmd_context *c)
{
    const bool grows = (c->row->flags & CMD_DENYOOM) != 0 && !c->has_room;
    const kvsql_rc rc = kv_txn_command(c->txn, grows, &c->err);

    if (KV_LIKELY(rc == KVSQL_OK)) {
        return true;
    }
    cmd_fail_rc(c, rc);
    command_settle(c);
    cmd_stats_reject((unsigned)(c->row - command_rows));
    return false;
}

/* A reading of the clock takes its time, too: where commands follow each other,
 * one begins where the other ends. */
void cmd_call(struct cmd_context *c)
{
    const bool piped =
        c->pipe != NULL && c->txn != NULL && c->txn == c->pipe->txn;
    const uint64_t start = piped ? c->pipe->last_ns : kv_os_quick_ns();
    uint64_t end, ns;

    if (cmd_track_is_on() && c->view == NULL) {
        cmd_track_call(c);
    }
    c->row->run(c);
    if (c->deferred) {
        if (c->waits) {
            cmd_stats_call((unsigned)(c->row - command_rows),
                           kv_os_quick_ns() - start, false, true);
        }
        return;
    }
    if (KV_UNLIKELY(c->slice != NULL && c->slice->more != NULL)) {
        c->slice->row = c->row;
        c->slice->ns = kv_os_quick_ns() - start;
        return; /* counted when it is whole */
    }
    command_settle(c);
    end = kv_os_quick_ns();
    ns = end - start;
    if (piped) {
        c->pipe->last_ns = end;
    }
    cmd_stats_call((unsigned)(c->row - command_rows), ns,
                   c->reply->rc != KVSQL_OK, c->txn != NULL);
    if (KV_UNLIKELY(ns >= atomic_load_explicit(&cmd_slow_ns,
                                               memory_order_relaxed))) {
        cmd_slow(c, ns);
    }
}

void cmd_call_more(struct cmd_context *c)
{
    struct cmd_slice *slice = c->slice;
    const uint64_t start = kv_os_quick_ns();
    const bool whole = slice->more(c, slice->state);

    slice->ns += kv_os_quick_ns() - start;
    if (!whole && !cmd_reply_failed(c->reply)) {
        return;
    }
    cmd_stats_call((unsigned)(c->row - command_rows), slice->ns,
                   cmd_reply_failed(c->reply), false);
    if (slice->ns >= atomic_load_explicit(&cmd_slow_ns,
                                          memory_order_relaxed)) {
        cmd_slow(c, slice->ns);
    }
    cmd_slice_end(slice);
}

void cmd_catch_up(kvsql *db)
{
    struct kv_ticket ticket = CMD_NO_TICKET;
    struct kvsql_error err;
    struct kv_txn *txn;

    if (kv_txn_begin(db, false, COMMAND_WAIT_MS, &txn, &err) == KVSQL_OK &&
        kv_txn_commit(txn, &ticket, &err) == KVSQL_OK) {
        /* If it was undone, so is what was seen of it. */
        (void)kv_gate_wait(db, ticket, &err);
    }
}

void cmd_execute_at(struct cmd_context *c, const struct kv_at *at)
{
    KV_ASSERT(c->txn == NULL && (c->row->flags & CMD_READONLY) != 0);
    c->view = at;
    cmd_call(c);
    c->view = NULL;
}

void cmd_execute_view(struct cmd_context *c)
{
    struct kv_view *view = NULL;
    struct kv_at at;
    kvsql_rc rc;

    if (cmd_track_is_on()) {
        cmd_track_call(c);
    }
    cmd_catch_up(c->db);
    rc = kv_pin(c->db, &view, &c->err);
    c->deferred = false;
    c->may_defer = false;
    cmd_reply_reset(c->reply);
    if (rc != KVSQL_OK) {
        cmd_fail_rc(c, rc);
        return;
    }
    kv_view_hold(view, "command");
    kv_at_view(view, &at);
    c->view = &at;
    c->pinned = view;
    cmd_call(c);
    c->view = NULL;
    c->pinned = NULL;
    if (c->slice != NULL && c->slice->more != NULL) {
        c->slice->view = view;
        c->slice->at = at;
        return;
    }
    kv_unpin(view);
}

static bool command_alone(struct cmd_context *c, struct kv_ticket *ticket)
{
    const bool write = (c->row->flags & CMD_WRITE) != 0;
    struct kv_mark mark;
    kvsql_rc rc;

    if (c->row->flags & CMD_CONTROL) {
        cmd_call(c);
        return true;
    }
    if (c->row->flags & CMD_BLOCKING) {
        cmd_await_observe(c->db);
    }
    rc = kv_txn_begin(c->db, write, COMMAND_WAIT_MS, &c->txn, &c->err);
    if (rc != KVSQL_OK) {
        c->txn = NULL;
        cmd_fail_rc(c, rc);
        return true;
    }
    c->may_defer = (c->row->flags & CMD_LONG) != 0;
    if (cmd_room(c)) {
        mark = kv_txn_mark(c->txn); /* evictions stay */
        cmd_call(c);
        if (c->reply->rc != KVSQL_OK && write) {
            kv_txn_restore(c->txn, mark); /* CM2 */
        }
    }
    rc = kv_txn_commit(c->txn, ticket, &c->err);
    c->txn = NULL;
    if (rc != KVSQL_OK) {
        cmd_fail_rc(c, rc);
        if (c->waits) {
            cmd_block_end(c->client);
        }
        c->deferred = false;
    }
    return !c->deferred;
}

bool cmd_execute(struct cmd_context *c, struct kv_ticket *ticket)
{
    if (c->pipe != NULL) {
        const enum cmd_piped piped = cmd_pipe_run(c, ticket);

        if (KV_LIKELY(piped != CMD_PIPED_NOT)) {
            return piped == CMD_PIPED_DONE;
        }
    }
    return command_alone(c, ticket);
}

/* "NOPERM ... run the 'config|set' command" */
static void command_no_permission(const struct cmd_row *row,
                                  struct kvsql_error *err)
{
    char name[COMMAND_NAME_MAX];

    (void)kv_fail(err, KVSQL_AUTH,
                  "NOPERM this user has no permissions to run the '%s' command",
                  command_lower(name, row));
}

/* One of no connection of ours, whose row is known and may be run. */
static void command_run(struct cmd_context *c, struct kv_ticket *ticket)
{
    struct kvsql_error err;

    if ((c->row->flags & CMD_CLIENT) != 0) {
        (void)kv_fail(&err, KVSQL_AUTH, COMMAND_TEXT_CLIENT);
        cmd_refuse(c->reply, c->row, &err);
        return;
    }
    cmd_monitor_feed(c);
    if (!cmd_execute(c, ticket)) {
        cmd_execute_view(c);
    }
}

void cmd_run(kvsql *db, unsigned argc, const kvsql_slice *argv,
             bool allow_write, struct cmd_reply *reply,
             struct kv_ticket *ticket)
{
    struct cmd_context c;
    const struct cmd_row *row;
    struct kvsql_error err;

    cmd_context_init(&c, db, argc, argv, reply);
    c.read_only = !allow_write;
    /* Waits for nothing until a state was seen. */
    *ticket = CMD_NO_TICKET;
    c.ticket = ticket;
    cmd_reply_reset(reply);
    if (cmd_resolve(argc, argv, &row, &err) != KVSQL_OK) {
        cmd_refuse(reply, row, &err);
        return;
    }
    if ((row->flags & CMD_WRITE) && !allow_write) {
        (void)kv_fail(&err, KVSQL_READONLY,
                      "READONLY You can't write here: this way in only reads.");
        cmd_refuse(reply, row, &err);
        return;
    }
    if ((row->flags & CMD_ADMIN) && !allow_write) {
        command_no_permission(row, &err);
        cmd_refuse(reply, row, &err);
        return;
    }
    c.row = row;
    command_run(&c, ticket);
}

void cmd_run_row(kvsql *db, struct cmd_pipe *pipe, const struct cmd_row *row,
                 unsigned argc, const kvsql_slice *argv,
                 struct cmd_reply *reply, struct kv_ticket *ticket)
{
    struct cmd_context c;

    cmd_context_init(&c, db, argc, argv, reply);
    c.row = row;
    c.pipe = pipe;
    *ticket = CMD_NO_TICKET;
    c.ticket = ticket;
    cmd_reply_reset(reply);
    command_run(&c, ticket);
}

kvsql_rc cmd_execute_in(struct cmd_context *c)
{
    struct kvsql_error err;
    kvsql_rc rc = KVSQL_OK;

    if (c->row->flags & CMD_NO_MULTI) {
        rc = kv_fail(&err, KVSQL_AUTH,
                     "ERR Command not allowed inside a transaction");
    } else if ((c->row->flags & CMD_CLIENT) && c->client == NULL) {
        rc = kv_fail(&err, KVSQL_AUTH, COMMAND_TEXT_CLIENT);
    }
    if (rc != KVSQL_OK) {
        cmd_refuse(c->reply, c->row, &err);
        return rc;
    }
    kv_txn_step(c->txn);
    if (cmd_room(c)) {
        c->began = kv_txn_mark(c->txn); /* evictions stay */
        cmd_call(c);
        if (c->reply->rc != KVSQL_OK) {
            kv_txn_restore(c->txn, c->began); /* CM2 */
        }
    }
    kv_txn_command_done(c->txn);
    return c->reply->rc;
}

static kvsql_rc command_run_in(struct kv_txn *txn, unsigned argc,
                               const kvsql_slice *argv, bool has_room,
                               struct cmd_reply *reply)
{
    struct cmd_context c;
    struct kvsql_error err;

    cmd_context_init(&c, kv_txn_db(txn), argc, argv, reply);
    c.txn = txn;
    c.has_room = has_room;
    cmd_reply_reset(reply);
    if (cmd_resolve(argc, argv, &c.row, &err) != KVSQL_OK) {
        cmd_refuse(reply, c.row, &err);
        return reply->rc;
    }
    cmd_monitor_feed(&c);
    return cmd_execute_in(&c);
}

kvsql_rc cmd_run_in(struct kv_txn *txn, unsigned argc, const kvsql_slice *argv,
                    struct cmd_reply *reply)
{
    return command_run_in(txn, argc, argv, false, reply);
}

kvsql_rc cmd_run_at(kvsql *db, const struct kv_at *at, unsigned argc,
                    const kvsql_slice *argv, struct cmd_reply *reply)
{
    struct cmd_context c;
    struct kvsql_error err;

    cmd_context_init(&c, db, argc, argv, reply);
    cmd_reply_reset(reply);
    if (cmd_resolve(argc, argv, &c.row, &err) != KVSQL_OK) {
        cmd_refuse(reply, c.row, &err);
        return reply->rc;
    }
    if ((c.row->flags & CMD_READONLY) == 0) {
        command_no_permission(c.row, &err);
        cmd_refuse(reply, c.row, &err);
        return reply->rc;
    }
    cmd_monitor_feed(&c);
    cmd_execute_at(&c, at);
    return reply->rc;
}

/* Errors that are there before anything runs. */
static kvsql_rc command_check_batch(unsigned count, const unsigned *argc,
                                    const kvsql_slice *const *argv,
                                    unsigned *failed, struct kvsql_error *err)
{
    struct kvsql_error why;

    for (unsigned i = 0; i < count; i++) {
        const kvsql_rc rc = cmd_check(argc[i], argv[i], true, false, &why);

        if (rc != KVSQL_OK) {
            *failed = i;
            return kv_fail(err, KVSQL_ABORT,
                           "EXECABORT Transaction discarded because of: %s",
                           why.text);
        }
    }
    return KVSQL_OK;
}

/* A batch that writes is refused whole while the disk takes no writes, as
 * Redis refuses to queue them. */
static kvsql_rc command_writable(const struct kv_txn *txn, unsigned count,
                                 const kvsql_slice *const *argv,
                                 unsigned *failed, struct kvsql_error *err)
{
    for (unsigned i = 0; i < count; i++) {
        if (cmd_find(argv[i][0].p, argv[i][0].size)->flags & CMD_WRITE) {
            const kvsql_rc rc = kv_txn_writable(txn, err);

            *failed = rc != KVSQL_OK ? i : count;
            return rc;
        }
    }
    return KVSQL_OK;
}

kvsql_rc cmd_make_room(struct kv_txn *txn, bool grows, struct kvsql_error *err)
{
    struct kvsql_error why;
    const kvsql_rc rc = kv_txn_command(txn, grows, &why);

    kv_txn_command_done(txn);
    return rc == KVSQL_OK ? rc
                          : kv_fail(err, rc,
                                    "EXECABORT Transaction discarded because "
                                    "of: %s %s",
                                    kv_error_row(rc)->resp, why.text);
}

static bool command_grows(unsigned count, const unsigned *argc,
                          const kvsql_slice *const *argv)
{
    const struct cmd_row *row;
    struct kvsql_error why;
    bool grows = false;

    for (unsigned i = 0; i < count && !grows; i++) {
        grows = cmd_resolve(argc[i], argv[i], &row, &why) == KVSQL_OK &&
                (row->flags & CMD_DENYOOM) != 0;
    }
    return grows;
}

kvsql_rc cmd_run_batch(kvsql *db, unsigned count, const unsigned *argc,
                       const kvsql_slice *const *argv, bool rollback,
                       struct cmd_reply *replies, unsigned *failed,
                       struct kv_ticket *ticket, struct kvsql_error *err)
{
    struct kv_txn *txn;
    kvsql_rc rc;

    *ticket = CMD_NO_TICKET;
    *failed = count;
    rc = command_check_batch(count, argc, argv, failed, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    rc = kv_txn_begin(db, true, COMMAND_WAIT_MS, &txn, err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    rc = command_writable(txn, count, argv, failed, err);
    if (rc == KVSQL_OK) {
        rc = cmd_make_room(txn, command_grows(count, argc, argv), err);
    }
    if (rc != KVSQL_OK) {
        kv_txn_rollback(txn);
        return rc;
    }
    for (unsigned i = 0; i < count; i++) {
        rc = command_run_in(txn, argc[i], argv[i], true, &replies[i]);
        if (rc != KVSQL_OK && rollback) {
            const kvsql_slice line = cmd_reply_line(&replies[i]);

            *failed = i;
            kv_txn_rollback(txn);
            return kv_fail(err, rc, "%.*s", (int)line.size,
                           (const char *)line.p);
        }
    }
    return kv_txn_commit(txn, ticket, err);
}
