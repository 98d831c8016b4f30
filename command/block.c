/* block.c - pops that wait until something is there: BLPOP and its kin.
 *
 * A handler looks at its keys in a txn; when nothing is there it stands in the
 * queues of all of them (await.h), and the txn ends. The door keeps the arguments,
 * runs nothing else of the connection, and asks again when it is told that
 * something was put there: the same handler looks in a txn of its own, now at the
 * key of which it was told first that has something, and takes what is there, or
 * waits on at its old place. Nothing is ever taken for a connection but by its own
 * thread, so nothing is lost when it goes.
 *
 * Always true:
 *   BK1  client->block is set from the look that found nothing to the answer.
 *   BK2  Who was told says at its end whether something is left in the key, by
 *        what it saw in the same txn; so the next one in the queue is told. Of what
 *        it was told behind its look it says that something is left.
 *   BK3  Who did not look at what is there, for others were told of it, asks once
 *        it stands in the queue whether they still are to look.
 *   BK4  Who tells it to wait no more holds the registry's lock, and sees that it
 *        waits; so nothing of that is left behind the end for what it waits for
 *        next.
 *
 * Thread: the connection's; what tells runs in the thread that changed the key. */
#include <math.h>

#include "command/await.h"
#include "command/client.h"
#include "command/context.h"
#include "command/track.h"
#include "kvsql/base/os.h"

#define BLOCK_NS_PER_MS 1000000ull
/* Longer is for ever: a hundred years. */
#define BLOCK_MS_MAX ((uint64_t)100 * 366 * 86400 * 1000)

struct block_key {
    struct cmd_waiter waiter;
    uint64_t seen; /* when it was told, as the last look saw it; 0: not */
    bool left;     /* BK2 */
};

struct cmd_block {
    struct cmd_client *client;
    const struct cmd_row *row;
    enum kv_type type; /* what it waits for */
    uint64_t until_ns; /* 0: for ever */
    size_t size;       /* of all this, with the bytes of the keys behind */
    unsigned count;
    unsigned come; /* the key to take from, or count: there is none */
    struct block_key keys[];
};

/* ---- waiting ------------------------------------------------------------- */

static void block_ready(struct cmd_waiter *waiter)
{
    struct cmd_client *client = waiter->arg;

    client->door->wake(client);
}

static struct cmd_block *block_new(const struct cmd_context *c,
                                   const struct cmd_wait *w)
{
    size_t size = sizeof(struct cmd_block) + w->keys * sizeof(struct block_key);
    struct cmd_block *block;
    uint8_t *bytes;

    for (unsigned i = 0; i < w->keys; i++) {
        size += c->argv[w->first + i].size;
    }
    block = kv_mem_zalloc(KV_MEM_CLIENT, size);
    if (block == NULL) {
        return NULL;
    }
    block->client = c->client;
    block->row = c->row;
    block->type = w->type;
    block->size = size;
    block->count = w->keys;
    block->until_ns =
        w->timeout_ms == 0
            ? 0
            : kv_os_mono_ns() + w->timeout_ms * BLOCK_NS_PER_MS;
    bytes = (uint8_t *)&block->keys[w->keys];
    for (unsigned i = 0; i < w->keys; i++) {
        const kvsql_slice key = c->argv[w->first + i];

        if (key.size > 0) {
            memcpy(bytes, key.p, key.size);
        }
        block->keys[i].waiter = (struct cmd_waiter){
            .key = {bytes, key.size}, .ready = block_ready, .arg = c->client};
        bytes += key.size;
    }
    return block;
}

/* What is in the key, of whatever type? In the txn. False: nothing. */
static bool block_get(const struct cmd_context *c, kvsql_slice name,
                      struct kv_item *item)
{
    const struct kv_key key = kv_key_of(name.p, name.size);
    struct kv_at at;

    kv_at_txn(c->txn, &at);
    return kv_get(&at, &key, item);
}

static bool block_is_there(const struct cmd_context *c, kvsql_slice name)
{
    struct kv_item item;

    return block_get(c, name, &item);
}

/* Is what it waits for in a key of which it was told? In the one that was told
 * first, then. */
static bool block_has_come(const struct cmd_context *c,
                           struct cmd_block *block)
{
    uint64_t first = UINT64_MAX;
    struct kv_item item;

    block->come = block->count;
    for (unsigned i = 0; i < block->count; i++) {
        const uint64_t told = block->keys[i].seen;

        if (told != 0 && told < first &&
            block_get(c, block->keys[i].waiter.key, &item) &&
            item.type == block->type) {
            first = told;
            block->come = i;
        }
    }
    return block->come < block->count;
}

/* Back to where it stood. What is there and is of another type may be for the next
 * one. */
static void block_stay(struct cmd_context *c, struct cmd_block *block)
{
    for (unsigned i = 0; i < block->count; i++) {
        struct cmd_waiter *waiter = &block->keys[i].waiter;

        if (block->keys[i].seen == 0) {
            continue;
        }
        if (block_is_there(c, waiter->key)) {
            cmd_await_end(waiter, true);
        }
        cmd_await_enter(waiter);
    }
}

/* `looked`: the last look was the end. */
static void block_end(struct cmd_client *client, bool looked)
{
    struct cmd_block *block = client->block;

    for (unsigned i = 0; i < block->count; i++) {
        struct block_key *key = &block->keys[i];

        cmd_await_end(&key->waiter,
                      !looked || key->seen == 0 || key->left); /* BK2 */
    }
    client->block = NULL;
    cmd_registry_lock(); /* BK4 */
    atomic_store(&client->blocked, false);
    cmd_registry_unlock();
    cmd_gauge_add(CMD_GAUGE_BLOCKED, -1);
    kv_mem_free(KV_MEM_CLIENT, block, block->size);
}

void cmd_block_end(struct cmd_client *client)
{
    if (client->block != NULL) {
        block_end(client, false);
    }
}

/* ---- for handlers -------------------------------------------------------- */

bool cmd_wait_timeout(struct cmd_context *c, unsigned index,
                      struct cmd_wait *w)
{
    long double seconds, ms;

    if (!cmd_real_parse(c->argv[index].p, c->argv[index].size, &seconds)) {
        cmd_fail(c, KVSQL_NOTFLOAT,
                 "ERR timeout is not a float or out of range");
        return false;
    }
    ms = ceill(seconds * 1000);
    if (ms < 0 || ms >= 0x1p63L) { /* as Redis says of both */
        cmd_fail(c, KVSQL_RANGE, "ERR timeout is negative");
        return false;
    }
    w->timeout_ms = ms > (long double)BLOCK_MS_MAX ? 0 : (uint64_t)ms;
    return true;
}

unsigned cmd_wait_key(const struct cmd_context *c, const struct cmd_wait *w,
                      unsigned n)
{
    const struct cmd_block *block = c->client != NULL ? c->client->block
                                                      : NULL;

    if (block != NULL) { /* one only: it is there */
        return n == 0 && block->come < block->count ? w->first + block->come
                                                    : 0;
    }
    return n < w->keys ? w->first + n : 0;
}

kvsql_rc cmd_wait_get(struct cmd_context *c, const struct cmd_wait *w,
                      const struct kv_key *key, struct kv_item *item)
{
    kvsql_rc rc;

    if (c->client != NULL && c->client->block != NULL) {
        return cmd_get(c, key, item) && item->type == w->type
                   ? KVSQL_OK
                   : KVSQL_NOTFOUND;
    }
    rc = cmd_get_type(c, key, w->type, item);
    return rc == KVSQL_OK &&
                   cmd_await_busy((kvsql_slice){key->p, key->size})
               ? KVSQL_NOTFOUND
               : rc;
}

/* A connection of its own, and no transaction around it. */
static bool block_may(const struct cmd_context *c)
{
    return c->client != NULL && !c->client->multi && c->embed == NULL &&
           c->client->door->wake != NULL;
}

void cmd_wait(struct cmd_context *c, const struct cmd_wait *w)
{
    struct cmd_block *block;

    if (!block_may(c)) {
        if (w->single) {
            cmd_reply_null(c->reply);
        } else {
            cmd_reply_null_array(c->reply);
        }
        return;
    }
    block = c->client->block;
    if (block != NULL) {
        block_stay(c, block);
        c->waits = c->deferred = true;
        return;
    }
    block = block_new(c, w);
    if (block == NULL) {
        cmd_fail_nomem(c);
        return;
    }
    c->client->block = block;
    atomic_store(&c->client->unblocking, false);
    atomic_store(&c->client->blocked, true);
    cmd_gauge_add(CMD_GAUGE_BLOCKED, 1);
    for (unsigned i = 0; i < block->count; i++) {
        cmd_await_enter(&block->keys[i].waiter);
    }
    for (unsigned i = 0; i < block->count; i++) { /* BK3 */
        if (block_is_there(c, block->keys[i].waiter.key)) {
            cmd_await_remind(block->keys[i].waiter.key);
        }
    }
    c->waits = c->deferred = true;
}

/* ---- again ---------------------------------------------------------------- */

uint64_t cmd_client_until(const struct cmd_client *client)
{
    return client->block != NULL ? client->block->until_ns : 0;
}

/* One look, in a txn. */
static void block_look(struct cmd_context *c, struct cmd_block *block)
{
    kvsql_rc rc =
        kv_txn_begin(c->db, true, COMMAND_WAIT_MS, &c->txn, &c->err);

    for (unsigned i = 0; i < block->count; i++) {
        block->keys[i].seen = 0;
    }
    if (rc != KVSQL_OK) {
        c->txn = NULL;
        cmd_fail_rc(c, rc);
        return;
    }
    for (unsigned i = 0; i < block->count; i++) {
        block->keys[i].seen = cmd_await_told_at(&block->keys[i].waiter);
    }
    if (!block_has_come(c, block)) { /* nor is there need of room */
        block_stay(c, block);
        c->waits = true;
    } else if (cmd_room(c)) {
        const struct kv_mark mark = kv_txn_mark(c->txn); /* evictions stay */

        if (cmd_track_is_on()) {
            cmd_track_call(c);
        }
        c->row->run(c);
        if (c->reply->rc != KVSQL_OK) {
            kv_txn_restore(c->txn, mark); /* CM2 */
        }
    }
    for (unsigned i = 0; i < block->count; i++) { /* BK2 */
        block->keys[i].left =
            block->keys[i].seen != 0 &&
            block_is_there(c, block->keys[i].waiter.key);
    }
    rc = kv_txn_commit(c->txn, c->ticket, &c->err);
    c->txn = NULL;
    if (rc != KVSQL_OK) {
        c->waits = false;
        cmd_fail_rc(c, rc);
        for (unsigned i = 0; i < block->count; i++) {
            block->keys[i].seen = 0; /* others may have more luck */
        }
    }
}

bool cmd_client_again(struct cmd_client *client, kvsql *db, unsigned argc,
                      const kvsql_slice *argv, bool over,
                      struct cmd_reply *reply, struct kv_ticket *ticket)
{
    struct cmd_block *block = client->block;
    struct cmd_context c;

    KV_ASSERT(block != NULL); /* BK1 */
    cmd_context_init(&c, db, argc, argv, reply);
    c.client = client;
    c.row = block->row;
    c.ticket = ticket;
    *ticket = CMD_NO_TICKET;
    cmd_reply_reset(reply);
    block_look(&c, block);
    if (c.waits && !over) {
        return false;
    }
    if (c.waits) {
        cmd_reply_null_array(reply);
    } else {
        cmd_client_ran(client, block->row, ticket);
    }
    block_end(client, true);
    return true;
}

void cmd_client_unblock(struct cmd_client *client, bool error,
                        struct cmd_reply *reply)
{
    cmd_block_end(client);
    cmd_reply_reset(reply);
    if (error) {
        cmd_reply_error(reply, KVSQL_ABORT,
                        "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    } else {
        cmd_reply_null_array(reply);
    }
}
