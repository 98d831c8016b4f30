/* pipe.c - commands that came in one go: one lock, one batch, one search.
 *
 * A connection that sends several requests before it reads a reply has them run
 * in one txn, up to some number and some time. Each command still has its own
 * mark, so what fails is taken back alone; none of them is to be seen by
 * others before the ones in front of it, and all are one batch of the log.
 *
 *   first command   begin; the keys of the next ones are looked up together,
 *                   level by level, so that the waits for memory overlap
 *   each            run; room in the log for all that was done so far
 *   last            commit: all that could fail was done before (TX3)
 *
 * What the lookups found serves a read as long as nothing has changed since,
 * and else has warmed the cache for its command, reads and writes alike. When
 * all commands name one collection, its elements are looked up, too.
 *
 * Always true:
 *   PI1  While the txn is open, the log has room for it as it is.
 *   PI2  A command for whose ops there is no room has left nothing in the txn:
 *        it runs again, alone, and fails for itself.
 *
 * Thread: the one that runs the pipeline. */
#include <string.h>

#include "command/await.h"
#include "command/client.h"
#include "command/context.h"
#include "command/track.h"
#include "kvsql/base/os.h"

#define PIPE_MAX 32 /* commands that are run under one lock; others wait */

void cmd_pipe_end(struct cmd_pipe *pipe)
{
    struct kvsql_error err;

    if (pipe->txn != NULL) {
        if (cmd_track_is_on()) {
            cmd_track_as(pipe->client);
        }
        const kvsql_rc rc = kv_txn_commit(pipe->txn, NULL, &err);

        KV_ASSERT(rc == KVSQL_OK); /* PI1 */
        pipe->txn = NULL;
        pipe->count = 0;
        pipe->near.count = 0;
    }
}

/* ---- looking ahead ------------------------------------------------------ */

/* Names and keys of a pipeline mostly differ in their last byte. */
static bool pipe_same(kvsql_slice a, kvsql_slice b)
{
    const uint8_t *p = a.p, *q = b.p;

    return a.size == b.size &&
           (a.size == 0 || (p[a.size - 1] == q[a.size - 1] &&
                            memcmp(p, q, a.size) == 0));
}

/* Where the running command stands among those that were looked up. */
static size_t pipe_place(const struct cmd_pipe *pipe)
{
    return pipe->near.count > 0
               ? (size_t)(pipe->next - 1 - pipe->near.first)
               : 0;
}

/* The argument of a request of the row that names an element, or 0. */
static unsigned pipe_element(const struct cmd_row *row, unsigned argc)
{
    if (row->flags & CMD_ELEMENT) {
        return 2;
    }
    return row->flags & CMD_ELEMENT_LAST ? argc - 1 : 0;
}

/* Look up the elements that the next `n` requests name, all of one key, and that
 * of the same row. */
static void pipe_look_elements(const struct cmd_context *c,
                               const struct kv_at *at,
                               const struct cmd_request *next, unsigned n)
{
    struct cmd_near *near = &c->pipe->near;
    const struct kv_key key = kv_key_of(next->argv[1].p, next->argv[1].size);
    const unsigned element = pipe_element(c->row, next->argc);
    struct kv_key keys[CMD_NEAR_MAX];
    struct kv_item item;

    if (element == 0 || !kv_get(at, &key, &item)) {
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        const kvsql_slice arg =
            next[i].argv[element < next[i].argc ? element : 1];

        keys[i] = kv_key_of(arg.p, arg.size);
    }
    kv_look_elems(&item, keys, near->there, n);
    if (item.type != KV_SET || item.lru != NULL) {
        memset(near->there, false, n); /* it was for the cache alone */
    }
}

/* Look up the keys of `count` of the requests, those at `place`. */
static void pipe_look_keys(struct cmd_near *near, const struct kv_at *at,
                           const uint8_t *place, unsigned count)
{
    struct kv_key keys[CMD_NEAR_MAX];
    struct kv_item items[CMD_NEAR_MAX];
    bool found[CMD_NEAR_MAX];

    KV_ASSERT(count > 0 && count <= near->count);
    if (count == near->count) { /* all */
        kv_get_batch(at, near->key, near->item, near->found, count);
        memset(near->known, true, count);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        keys[i] = near->key[place[i]];
    }
    kv_get_batch(at, keys, items, found, count);
    for (unsigned i = 0; i < count; i++) {
        near->known[place[i]] = true;
        near->found[place[i]] = found[i];
        if (found[i]) {
            near->item[place[i]] = items[i];
        }
    }
}

/* The command that runs and those behind it. One that names the same key as
 * the first finds it as quickly itself. */
static void pipe_look(struct cmd_context *c)
{
    struct cmd_pipe *pipe = c->pipe;
    struct cmd_near *near = &pipe->near;
    const struct cmd_request *next = pipe->next - 1;
    const struct cmd_row *row = c->row;
    uint8_t place[CMD_NEAR_MAX];
    unsigned count = 0, alike = 1;
    struct kv_at at;

    near->first = next;
    near->count = pipe->left < CMD_NEAR_MAX ? pipe->left + 1 : CMD_NEAR_MAX;
    near->mark = kv_txn_undo(c->txn);
    for (unsigned i = 0; i < near->count; i++) {
        if (i > 0 && !pipe_same(next[i].argv[0], next[i - 1].argv[0])) {
            row = cmd_find(next[i].argv[0].p, next[i].argv[0].size);
        }
        near->key[i].p = NULL;
        near->known[i] = near->there[i] = false;
        if (row == NULL || row->first_key != 1 || next[i].argc < 2) {
            continue;
        }
        if (i > 0 && row == c->row &&
            pipe_same(next[i].argv[1], next->argv[1])) {
            alike += alike == i;
            continue;
        }
        near->key[i] = kv_key_of(next[i].argv[1].p, next[i].argv[1].size);
        place[count++] = (uint8_t)i;
    }
    kv_at_txn(c->txn, &at);
    if (count > 1) {
        pipe_look_keys(near, &at, place, count);
    }
    if (alike > 1) {
        pipe_look_elements(c, &at, next, alike);
    }
}

bool cmd_near_item(const struct cmd_context *c, const struct kv_item **item)
{
    const struct cmd_near *near = &c->pipe->near;
    const size_t i = (size_t)(c->near - near->key);

    *item = near->found[i] ? &near->item[i] : NULL;
    return near->known[i] && near->mark == kv_txn_undo(c->txn) &&
           (*item == NULL || (*item)->lru == NULL);
}

bool cmd_near_there(const struct cmd_context *c)
{
    const struct cmd_pipe *pipe = c->pipe;
    size_t i;

    if (pipe == NULL || c->txn == NULL || c->txn != pipe->txn) {
        return false;
    }
    i = pipe_place(pipe);
    return i < pipe->near.count && pipe->near.there[i] &&
           pipe->near.mark == kv_txn_undo(c->txn);
}

/* ---- running ------------------------------------------------------------ */

/* Only what is quick, and not alone. Who tracks keys is told of all at the
 * commit, before anybody can read it, or before this client does (TK4). */
static bool pipe_takes_write(const struct cmd_context *c)
{
    const unsigned flags = c->row->flags;

    return (flags & CMD_WRITE) != 0 &&
           (flags & (CMD_LONG | CMD_ADMIN | CMD_BLOCKING)) == 0 &&
           (c->pipe->left > 0 || c->pipe->txn != NULL);
}

static void pipe_find_near(struct cmd_context *c)
{
    struct cmd_pipe *pipe = c->pipe;
    size_t i = pipe_place(pipe);

    if (i >= pipe->near.count) {
        if (pipe->left == 0) {
            return;
        }
        pipe_look(c);
        i = 0;
    }
    c->near = pipe->near.key[i].p != NULL ? &pipe->near.key[i] : NULL;
}

/* An open txn for the command. False: there is none; answered. */
static bool pipe_open(struct cmd_context *c)
{
    struct cmd_pipe *pipe = c->pipe;
    const bool write = (c->row->flags & CMD_WRITE) != 0;
    kvsql_rc rc;

    cmd_pipe_end(pipe);
    rc = kv_txn_begin(c->db, write, COMMAND_WAIT_MS, &pipe->txn, &c->err);
    if (rc != KVSQL_OK) {
        pipe->txn = NULL;
        cmd_fail_rc(c, rc);
        return false;
    }
    pipe->write = write;
    /* Who waits is to have it before the next command looks. */
    pipe->count_max = write && cmd_await_is_on() ? 1 : PIPE_MAX;
    pipe->client = c->client;
    pipe->begun_ns = pipe->last_ns = kv_os_quick_ns();
    pipe->sure = kv_txn_mark(pipe->txn);
    return true;
}

/* Run the handler in the open txn; false: PI2. */
static bool pipe_call(struct cmd_context *c)
{
    struct kv_mark *sure = &c->pipe->sure;
    struct kvsql_error err;

    c->may_defer = (c->row->flags & CMD_LONG) != 0;
    if (!(c->row->flags & CMD_WRITE)) {
        cmd_call(c);
        if (KV_LIKELY(kv_txn_count(c->txn) == sure->ops_count)) {
            return true;
        }
    } else {
        if (cmd_room(c)) {
            const struct kv_mark mark = kv_txn_mark(c->txn);

            cmd_call(c);
            if (KV_UNLIKELY(c->reply->rc != KVSQL_OK)) {
                kv_txn_restore(c->txn, mark); /* CM2; evictions stay */
            }
        }
        kv_txn_command_done(c->txn);
    }
    if (KV_LIKELY(kv_txn_prepare(c->txn, &err) == KVSQL_OK)) {
        *sure = kv_txn_mark(c->txn);
        return true;
    }
    kv_txn_restore(c->txn, *sure);
    return false;
}

enum cmd_piped cmd_pipe_run(struct cmd_context *c, struct kv_ticket *ticket)
{
    struct cmd_pipe *pipe = c->pipe;
    const bool reads = (c->row->flags & CMD_READONLY) != 0;

    if (!reads && !pipe_takes_write(c)) {
        cmd_pipe_end(pipe);
        return CMD_PIPED_NOT;
    }
    /* F8: who writes waits for room first */
    if (KV_UNLIKELY(pipe->txn == NULL || (!reads && !pipe->write)) &&
        !pipe_open(c)) {
        return CMD_PIPED_DONE;
    }
    c->txn = pipe->txn;
    pipe_find_near(c);

    const bool done = pipe_call(c);

    *ticket = kv_txn_ticket(c->txn);
    c->txn = NULL;
    c->near = NULL;
    if (KV_UNLIKELY(!done)) {
        cmd_pipe_end(pipe);
        cmd_reply_reset(c->reply);
        c->deferred = false;
        return CMD_PIPED_NOT;
    }
    if (KV_UNLIKELY(c->deferred || ++pipe->count >= pipe->count_max ||
                    pipe->last_ns - pipe->begun_ns > pipe->most_ns)) {
        cmd_pipe_end(pipe);
    }
    return KV_UNLIKELY(c->deferred) ? CMD_PIPED_VIEW : CMD_PIPED_DONE;
}

/* ---- GETs in a row ------------------------------------------------------- */

#define PIPE_SLOW_NS 1000000ull /* who asks for less wants to see each */
#define PIPE_BYTES_MAX 4096     /* of a value; many large ones may have to wait
                                   until somebody reads them */

/* Answer the next request as a GET; false: it is none, or not that easy. */
static bool pipe_get(const struct cmd_pipe *pipe, struct cmd_reply *reply,
                     unsigned *hits)
{
    const struct cmd_near *near = &pipe->near;
    const struct cmd_request *next = pipe->next;
    const size_t i = (size_t)(next - near->first);
    kvsql_slice bytes;

    if (i >= near->count || !near->known[i] || next->argc != 2 ||
        !pipe_same(next->argv[0], next[-1].argv[0])) {
        return false;
    }
    if (!near->found[i]) {
        cmd_reply_null(reply);
        return true;
    }
    if (near->item[i].type != KV_STRING || near->item[i].lru != NULL ||
        !kv_item_bytes(&near->item[i], &bytes) ||
        bytes.size > PIPE_BYTES_MAX) {
        return false;
    }
    cmd_reply_bulk(reply, bytes.p, bytes.size);
    *hits += 1;
    return true;
}

unsigned cmd_pipe_gets(struct cmd_pipe *pipe, const struct cmd_row *row,
                       struct cmd_reply *reply)
{
    unsigned count = 0, hits = 0;
    uint64_t now;

    if (pipe->near.mark != kv_txn_undo(pipe->txn) ||
        atomic_load_explicit(&cmd_slow_ns, memory_order_relaxed) <
            PIPE_SLOW_NS) {
        return 0;
    }
    while (pipe->left > 0 && pipe_get(pipe, reply, &hits)) {
        if (KV_UNLIKELY(cmd_reply_failed(reply))) {
            cmd_reply_reset(reply); /* it says so by itself */
            break;
        }
        reply->start = reply->buf->size;
        pipe->next++;
        pipe->left--;
        count++;
    }
    if (count > 0) {
        now = kv_os_quick_ns();
        cmd_stats_gets((unsigned)(row - cmd_at(0)), count, hits,
                       now - pipe->last_ns);
        pipe->last_ns = now;
        pipe->count += count;
    }
    return count;
}
