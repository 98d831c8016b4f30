/* track.c - who is told when a key changes: the switches of CLIENT TRACKING,
 * the keys that were read, and WATCH of absent keys. What is told, and how:
 * track_tell.c.
 *
 * Thread: any, under the lock. */
#include "command/track.h"

#include <string.h>

#include "command/await.h"
#include "command/syntax.h"
#include "command/track_private.h"

#define TRACK_KEYS_MAX 1000000 /* tracking-table-max-keys at first */
#define TRACK_EVICT_MAX 100    /* keys that go at a time */
#define TRACK_TIDY 1024        /* dead keys freed under one lock */
#define TRACK_TIDY_MAX 64      /* ... so many times */

_Atomic unsigned cmd_track_clients;
static _Atomic unsigned track_wanted; /* clients, and who watches absent keys */
static _Atomic uint64_t track_keys_max = TRACK_KEYS_MAX;
struct cmd_track_state cmd_track = {
    .lock = {.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = KV_RANK_TRACK}};

/* ---- clients by id ------------------------------------------------------ */

static size_t track_place(uint64_t id)
{
    size_t low = 0, high = cmd_track.count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (cmd_track.clients[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct cmd_client *cmd_track_client(uint64_t id)
{
    const size_t at = track_place(id);

    return at < cmd_track.count && cmd_track.clients[at]->id == id
               ? cmd_track.clients[at]
               : NULL;
}

/* Room for one more. */
static bool track_room(void)
{
    const size_t cap = cmd_track.cap > 0 ? 2 * cmd_track.cap : 8;
    struct cmd_client **grown;

    if (cmd_track.count < cmd_track.cap) {
        return true;
    }
    grown = kv_mem_realloc(KV_MEM_CLIENT, cmd_track.clients,
                           cmd_track.cap * sizeof(struct cmd_client *),
                           cap * sizeof(struct cmd_client *));
    if (grown == NULL) {
        return false;
    }
    cmd_track.clients = grown;
    cmd_track.cap = cap;
    return true;
}

static void track_enter(struct cmd_client *client)
{
    const size_t at = track_place(client->id);

    KV_ASSERT(cmd_track.count < cmd_track.cap);
    memmove(cmd_track.clients + at + 1, cmd_track.clients + at,
            (cmd_track.count - at) * sizeof(struct cmd_client *));
    cmd_track.clients[at] = client;
    cmd_track.count++;
    atomic_fetch_add(&cmd_track_clients, 1);
    atomic_fetch_add(&track_wanted, 1);
    cmd_gauge_add(CMD_GAUGE_TRACKING, 1);
}

/* With the last one all that it was for goes. */
static void track_exit(struct cmd_client *client)
{
    const size_t at = track_place(client->id);

    KV_ASSERT(at < cmd_track.count &&
              cmd_track.clients[at] == client); /* TK3 */
    cmd_track.count--;
    memmove(cmd_track.clients + at, cmd_track.clients + at + 1,
            (cmd_track.count - at) * sizeof(struct cmd_client *));
    atomic_fetch_sub(&cmd_track_clients, 1);
    atomic_fetch_sub(&track_wanted, 1);
    cmd_gauge_add(CMD_GAUGE_TRACKING, -1);
    if (cmd_track.count == 0) {
        kv_mem_free(KV_MEM_CLIENT, cmd_track.clients,
                    cmd_track.cap * sizeof(struct cmd_client *));
        cmd_track.clients = NULL;
        cmd_track.cap = 0;
        cmd_keyset_clear(&cmd_track.tracked);
        cmd_track_buffers_end();
    }
}

static const struct kv_observer track_observer = {.wanted = &track_wanted,
                                                  .begin = cmd_track_begin,
                                                  .key = cmd_track_told,
                                                  .done = cmd_track_done,
                                                  .end = cmd_track_end,
                                                  .undone = cmd_await_undone};

void cmd_track_want(int more)
{
    atomic_fetch_add(&track_wanted, (unsigned)more);
}

void cmd_track_observe(kvsql *db)
{
    kv_observe(db, &track_observer);
}

/* ---- one command -------------------------------------------------------- */

void cmd_track_as(const struct cmd_client *client)
{
    cmd_track_writer = client != NULL ? client->id : 0;
}

void cmd_track_step(struct cmd_client *client)
{
    const struct cmd_row *before = atomic_load(&client->last);

    if (!client->multi &&
        (before == NULL || strncmp(before->name, "CLIENT|", 7) != 0)) {
        atomic_fetch_and(&client->track.flags, ~(unsigned)CMD_TRACK_CACHING);
    }
}

/* Keys beyond the limit, the oldest first, are as if they had changed: nobody
 * is to keep what we do not know of. */
static void track_evict(void)
{
    const uint64_t most =
        atomic_load_explicit(&track_keys_max, memory_order_relaxed);

    for (unsigned i = 0;
         most != 0 && cmd_track.tracked.keys > most && i < TRACK_EVICT_MAX;
         i++) {
        cmd_track_invalidate(cmd_track.tracked.oldest, true, CMD_PUSH_BEHIND);
    }
}

static void track_read_key(struct cmd_client *client, kvsql_slice key)
{
    if (cmd_keyset_add(&cmd_track.tracked, key, client->id) == NULL) {
        cmd_track_message_one(key); /* not to be kept */
        cmd_track_send(client, CMD_PUSH_BEHIND);
    }
    track_evict();
}

struct track_reading {
    struct cmd_client *client;
    const kvsql_slice *argv;
};

static void track_read_each(void *arg, unsigned spec, unsigned index)
{
    const struct track_reading *reading = arg;

    (void)spec;
    track_read_key(reading->client, reading->argv[index]);
}

/* The keys of a command, which stand at fixed places mostly. */
static void track_read_keys(struct cmd_client *client,
                            const struct cmd_context *c)
{
    const struct cmd_row *row = c->row;
    struct track_reading reading = {.client = client, .argv = c->argv};
    const int last =
        row->last_key < 0 ? (int)c->argc + row->last_key : row->last_key;
    struct cmd_syntax syntax;

    if (row->first_key == 0) {
        cmd_syntax_read(row, &syntax);
        if (syntax.spec_count > 0) {
            (void)cmd_syntax_keys(&syntax, c->argc, c->argv, track_read_each,
                                  &reading);
        }
        return;
    }
    for (int i = row->first_key; i <= last && i < (int)c->argc;
         i += row->step) {
        track_read_key(client, c->argv[i]);
    }
}

void cmd_track_call(const struct cmd_context *c)
{
    struct cmd_client *client = c->client;
    const unsigned flags =
        client == NULL
            ? 0
            : atomic_load_explicit(&client->track.flags, memory_order_relaxed);
    const bool caching = (flags & CMD_TRACK_CACHING) != 0;

    cmd_track_as(client);
    if (flags == 0 || (flags & CMD_TRACK_BCAST) != 0 ||
        (c->row->flags & CMD_READONLY) == 0 ||
        ((flags & CMD_TRACK_OPTIN) != 0 && !caching) ||
        ((flags & CMD_TRACK_OPTOUT) != 0 && caching)) {
        return;
    }
    if (c->txn != NULL) {
        kv_txn_tell(c->txn); /* TK4 */
    }
    kv_lock_take(&cmd_track.lock);
    cmd_track_buffers();
    track_read_keys(client, c);
    (void)cmd_keyset_reap(&cmd_track.tracked, CMD_TRACK_REAP);
    kv_lock_drop(&cmd_track.lock);
}

/* ---- switches ----------------------------------------------------------- */

/* Whom the client redirects to, or nobody. */
static void track_aim(struct cmd_client *client, struct cmd_client *to,
                      uint64_t redirect)
{
    if (client->track.to != NULL) {
        client->track.to->track.aimed--;
    }
    client->track.to = to;
    if (to != NULL) {
        to->track.aimed++;
    }
    atomic_store(&client->track.redirect, redirect);
}

static struct cmd_client *track_find(uint64_t id)
{
    struct cmd_client *client;

    cmd_registry_lock();
    client = cmd_client_first();
    while (client != NULL && client->id != id) {
        client = client->next;
    }
    cmd_registry_unlock();
    return client;
}

static void track_prefixes_drop(struct cmd_client *client)
{
    struct cmd_keyset_key *prefix = cmd_track.prefixes.oldest;

    while (prefix != NULL && client->track.prefixes > 0) {
        struct cmd_keyset_key *newer = prefix->newer;

        client->track.prefixes -= cmd_keyset_remove(
            &cmd_track.prefixes,
            (kvsql_slice){.p = prefix->bytes, .size = prefix->size},
            client->id);
        prefix = newer;
    }
}

/* All, or none. None of them is the client's already, but for a single one. */
static bool track_prefixes_add(struct cmd_client *client,
                               const kvsql_slice *prefixes, unsigned count)
{
    const uint64_t before = cmd_track.prefixes.items;

    for (unsigned i = 0; i < count; i++) {
        if (cmd_keyset_add(&cmd_track.prefixes, prefixes[i], client->id) ==
            NULL) {
            while (i-- > 0) {
                (void)cmd_keyset_remove(&cmd_track.prefixes, prefixes[i],
                                        client->id);
            }
            return false;
        }
        cmd_keyset_settle(&cmd_track.prefixes);
    }
    client->track.prefixes += (unsigned)(cmd_track.prefixes.items - before);
    return true;
}

static kvsql_rc track_start(struct cmd_client *client, unsigned flags,
                            uint64_t redirect, const kvsql_slice *prefixes,
                            unsigned count)
{
    const unsigned before = atomic_load(&client->track.flags);
    const bool off = before == 0;
    struct cmd_client *to = redirect != 0 ? track_find(redirect) : NULL;

    if (redirect != 0 && to == NULL) {
        return KVSQL_NOTFOUND;
    }
    if ((off && !track_room()) ||
        !track_prefixes_add(client, prefixes, count)) {
        return KVSQL_NOMEM;
    }
    track_aim(client, to, redirect);
    atomic_store(&client->track.flags,
                 CMD_TRACK_ON | flags | (before & CMD_TRACK_CACHING));
    if (off) {
        track_enter(client);
    }
    return KVSQL_OK;
}

kvsql_rc cmd_track_start(kvsql *db, struct cmd_client *client, unsigned flags,
                         uint64_t redirect, const kvsql_slice *prefixes,
                         unsigned prefix_count)
{
    kvsql_rc rc;

    cmd_track_observe(db);
    kv_lock_take(&cmd_track.lock);
    rc = track_start(client, flags, redirect, prefixes, prefix_count);
    kv_lock_drop(&cmd_track.lock);
    return rc;
}

static void track_stop(struct cmd_client *client)
{
    if (atomic_load(&client->track.flags) == 0) {
        return;
    }
    track_prefixes_drop(client);
    track_aim(client, NULL, 0);
    atomic_store(&client->track.flags, 0);
    track_exit(client);
}

void cmd_track_stop(struct cmd_client *client)
{
    kv_lock_take(&cmd_track.lock);
    track_stop(client);
    kv_lock_drop(&cmd_track.lock);
}

void cmd_track_close(struct cmd_client *client)
{
    kv_lock_take(&cmd_track.lock);
    track_stop(client);
    for (size_t i = 0; i < cmd_track.count && client->track.aimed > 0; i++) {
        struct cmd_client *from = cmd_track.clients[i];

        if (from->track.to == client) {
            from->track.to = NULL; /* the id stays: it is broken */
            client->track.aimed--;
        }
    }
    kv_lock_drop(&cmd_track.lock);
}

/* ---- prefixes of one client --------------------------------------------- */

/* The client's first prefix behind `after` (NULL: of all), in order. */
static const struct cmd_keyset_key *
track_prefix_next(const struct cmd_client *client,
                  const struct cmd_keyset_key *after)
{
    const struct cmd_keyset_key *at =
        after != NULL ? after->newer : cmd_track.prefixes.oldest;

    while (at != NULL && !cmd_keyset_has(at, client->id)) {
        at = at->newer;
    }
    return at;
}

/* Is one the beginning of the other? */
static bool track_overlap(const struct cmd_keyset_key *prefix,
                          kvsql_slice other)
{
    const size_t size = prefix->size < other.size ? prefix->size : other.size;

    return size == 0 || memcmp(prefix->bytes, other.p, size) == 0;
}

bool cmd_track_overlaps(const struct cmd_client *client, kvsql_slice prefix,
                        struct kv_buf *out)
{
    const struct cmd_keyset_key *at = NULL;

    kv_lock_take(&cmd_track.lock);
    do {
        at = track_prefix_next(client, at);
    } while (at != NULL && !track_overlap(at, prefix));
    if (at != NULL) {
        kv_buf_add(out, at->bytes, at->size);
    }
    kv_lock_drop(&cmd_track.lock);
    return at != NULL;
}

unsigned cmd_track_prefixes(const struct cmd_client *client,
                            struct kv_buf *out)
{
    const struct cmd_keyset_key *at = NULL;
    unsigned count = 0;

    kv_lock_take(&cmd_track.lock);
    while ((at = track_prefix_next(client, at)) != NULL) {
        kv_buf_u32(out, at->size);
        kv_buf_add(out, at->bytes, at->size);
        count++;
    }
    kv_lock_drop(&cmd_track.lock);
    return count;
}

/* ---- WATCH of absent keys ----------------------------------------------- */

static uint64_t track_address(struct cmd_client *client)
{
    return (uint64_t)(uintptr_t)client;
}

bool cmd_absent_watch(struct cmd_client *client, kvsql_slice key)
{
    bool noted;

    kv_lock_take(&cmd_track.lock);
    noted = cmd_keyset_add(&cmd_track.absent, key, track_address(client)) !=
            NULL;
    kv_lock_drop(&cmd_track.lock);
    if (noted && client->watch_absent++ == 0) {
        atomic_store(&client->watch_touched, false);
        atomic_fetch_add(&track_wanted, 1);
    }
    return noted;
}

void cmd_absent_forget(struct cmd_client *client, kvsql_slice key)
{
    kv_lock_take(&cmd_track.lock);
    (void)cmd_keyset_remove(&cmd_track.absent, key, track_address(client));
    if (cmd_track.absent.keys == 0) {
        cmd_keyset_clear(&cmd_track.absent);
    }
    kv_lock_drop(&cmd_track.lock);
    if (--client->watch_absent == 0) {
        atomic_fetch_sub(&track_wanted, 1);
    }
}

/* ---- the table ---------------------------------------------------------- */

void cmd_track_limit(uint64_t keys)
{
    atomic_store(&track_keys_max, keys);
}

struct cmd_track_totals cmd_track_totals_get(void)
{
    kv_lock_take(&cmd_track.lock);
    const struct cmd_track_totals totals = {
        .keys = cmd_track.tracked.keys,
        .items = cmd_track.tracked.items,
        .prefixes = cmd_track.prefixes.keys};
    kv_lock_drop(&cmd_track.lock);
    return totals;
}

void cmd_track_tidy(void)
{
    bool more = true;

    for (unsigned i = 0; i < TRACK_TIDY_MAX && more; i++) {
        kv_lock_take(&cmd_track.lock);
        more = cmd_keyset_reap(&cmd_track.tracked, TRACK_TIDY);
        kv_lock_drop(&cmd_track.lock);
    }
}
