/* track_tell.c - what clients that track are told: messages, and the changes
 * of a batch as the store tells of them.
 *
 *   begin   take the lock
 *   key     who has it in the table is told, and the key taken out; for BCAST
 *           it is kept
 *   done    who watches it while it is absent is marked; who waits for it is told
 *   end     each prefix's keys in one message; drop the lock
 *
 * A batch with more keys than such a message lists has all keys taken for
 * changed: so FLUSHALL says it, too.
 *
 * Thread: the holder of the store lock, or of cmd_track.lock alone. */
#include <stdlib.h>
#include <string.h>

#include "command/await.h"
#include "command/track_private.h"

#define TRACK_FILTER_MAX 64         /* prefixes that are tried for each key */
#define TRACK_TEXT_MAX ((size_t)4 << 20)
#define TRACK_TEXT_KEEP ((size_t)4 << 10)

#define TRACK_HEAD_3 ">2\r\n$10\r\ninvalidate\r\n"
#define TRACK_HEAD_2                                                          \
    "*3\r\n$7\r\nmessage\r\n$20\r\n" CMD_TRACK_CHANNEL "\r\n"

_Thread_local uint64_t cmd_track_writer;

/* A key that the batch has changed, in batch_bytes. */
struct track_changed {
    uint32_t offset, size;
    bool upkeep;
};

/* ---- the buffers -------------------------------------------------------- */

void cmd_track_buffers(void)
{
    if (!cmd_track.ready) {
        cmd_track.ready = true;
        kv_buf_init(&cmd_track.batch_bytes, KV_MEM_CLIENT,
                    CMD_TRACK_BATCH_SIZE);
        kv_buf_init(&cmd_track.batch, KV_MEM_CLIENT,
                    CMD_TRACK_BATCH_MAX * sizeof(struct track_changed));
        kv_buf_init(&cmd_track.body, KV_MEM_CLIENT, TRACK_TEXT_MAX);
        kv_buf_init(&cmd_track.text[0], KV_MEM_CLIENT, TRACK_TEXT_MAX);
        kv_buf_init(&cmd_track.text[1], KV_MEM_CLIENT, TRACK_TEXT_MAX);
    }
}

void cmd_track_buffers_end(void)
{
    if (cmd_track.ready) {
        cmd_track.ready = false;
        kv_buf_fini(&cmd_track.batch_bytes);
        kv_buf_fini(&cmd_track.batch);
        kv_buf_fini(&cmd_track.body);
        kv_buf_fini(&cmd_track.text[0]);
        kv_buf_fini(&cmd_track.text[1]);
    }
}

/* ---- messages ----------------------------------------------------------- */

static void track_message(bool null)
{
    cmd_track.body_null = null;
    cmd_track.made[0] = cmd_track.made[1] = false;
    kv_buf_reset(&cmd_track.body, TRACK_TEXT_KEEP);
}

static void track_message_key(const void *p, size_t size)
{
    kv_buf_printf(&cmd_track.body, "$%zu\r\n", size);
    kv_buf_add(&cmd_track.body, p, size);
    kv_buf_text(&cmd_track.body, "\r\n");
}

void cmd_track_message_one(kvsql_slice key)
{
    track_message(false);
    kv_buf_text(&cmd_track.body, "*1\r\n");
    track_message_key(key.p, key.size);
}

/* The message in a protocol, NULL without memory. */
static const struct kv_buf *track_text(unsigned resp)
{
    const unsigned form = resp == 3;
    struct kv_buf *text = &cmd_track.text[form];

    if (!cmd_track.made[form]) {
        cmd_track.made[form] = true;
        kv_buf_reset(text, TRACK_TEXT_KEEP);
        kv_buf_text(text, form ? TRACK_HEAD_3 : TRACK_HEAD_2);
        if (cmd_track.body_null) {
            kv_buf_text(text, form ? "_\r\n" : "$-1\r\n");
        } else {
            kv_buf_add(text, cmd_track.body.p, cmd_track.body.size);
        }
    }
    return text->failed || cmd_track.body.failed ? NULL : text;
}

/* What a client did itself is told behind the answer to it. */
static void track_push(const struct cmd_client *client, struct cmd_client *to,
                       const struct kv_buf *text, unsigned resp,
                       uint64_t position)
{
    const struct cmd_push push = {
        .p = text->p,
        .size = text->size,
        .position = to == client && to->id == cmd_track_writer
                        ? CMD_PUSH_BEHIND
                        : position,
        .resp = (uint8_t)resp};

    to->door->push(to, &push);
}

/* The client whom its own should be told instead is gone. */
static void track_broken(struct cmd_client *client, uint64_t position)
{
    struct kv_buf text;

    atomic_fetch_or(&client->track.flags, CMD_TRACK_BROKEN);
    if (atomic_load(&client->shown_resp) < 3) {
        return; /* it has to ask */
    }
    kv_buf_init(&text, KV_MEM_CLIENT, TRACK_TEXT_KEEP);
    kv_buf_printf(&text, ">2\r\n$21\r\ntracking-redir-broken\r\n:%llu\r\n",
                  (unsigned long long)atomic_load(&client->track.redirect));
    if (text.failed) {
        client->door->kill(client); /* TK2 */
    } else {
        track_push(client, client, &text, 3, position);
    }
    kv_buf_fini(&text);
}

void cmd_track_send(struct cmd_client *client, uint64_t position)
{
    const bool other = atomic_load(&client->track.redirect) != 0;
    struct cmd_client *to = other ? client->track.to : client;
    const struct kv_buf *text;
    unsigned resp;

    if (to == NULL) {
        track_broken(client, position);
        return;
    }
    resp = atomic_load(&to->shown_resp);
    if (resp < 3 && !(other && atomic_load(&to->subscribed))) {
        return;
    }
    text = track_text(resp);
    if (text == NULL) {
        to->door->kill(to); /* TK2 */
    } else {
        track_push(client, to, text, resp, position);
    }
}

/* ---- what is told by the store ------------------------------------------ */

/* The client's own doing, of which it does not want to hear? Upkeep is
 * not. */
static bool track_is_own(const struct cmd_client *client, unsigned flags,
                         bool upkeep)
{
    return (flags & CMD_TRACK_NOLOOP) != 0 && client->id == cmd_track_writer &&
           !upkeep;
}

void cmd_track_invalidate(struct cmd_keyset_key *key, bool upkeep,
                             uint64_t position)
{
    const uint64_t *ids = cmd_keyset_ids(key);

    cmd_track_message_one((kvsql_slice){.p = key->bytes, .size = key->size});
    for (uint32_t i = 0; i < key->count; i++) {
        struct cmd_client *client = cmd_track_client(ids[i]);
        const unsigned flags =
            client == NULL ? 0 : atomic_load(&client->track.flags);

        if (flags != 0 && (flags & CMD_TRACK_BCAST) == 0 &&
            !track_is_own(client, flags, upkeep)) {
            cmd_track_send(client, position);
        }
    }
    cmd_keyset_drop(&cmd_track.tracked, key);
    (void)cmd_keyset_reap(&cmd_track.tracked, CMD_TRACK_REAP);
}

static bool track_begins(const uint8_t *p, size_t size,
                         const struct cmd_keyset_key *prefix)
{
    return size >= prefix->size && memcmp(p, prefix->bytes, prefix->size) == 0;
}

/* Is it a key for anybody with BCAST? With many prefixes all are taken for
 * one. */
static bool track_is_broadcast(kvsql_slice key)
{
    const struct cmd_keyset_key *prefix = cmd_track.prefixes.oldest;

    if (cmd_track.prefixes.keys > TRACK_FILTER_MAX) {
        return true;
    }
    while (prefix != NULL && !track_begins(key.p, key.size, prefix)) {
        prefix = prefix->newer;
    }
    return prefix != NULL;
}

static void track_batch_add(kvsql_slice key, bool upkeep)
{
    const struct track_changed changed = {
        .offset = (uint32_t)cmd_track.batch_bytes.size,
        .size = (uint32_t)key.size,
        .upkeep = upkeep};

    kv_buf_add(&cmd_track.batch_bytes, key.p, key.size);
    kv_buf_add(&cmd_track.batch, &changed, sizeof(changed));
    cmd_track.batch_flood =
        cmd_track.batch_bytes.failed || cmd_track.batch.failed;
}

/* All keys are gone. */
static void track_flush(void)
{
    cmd_keyset_clear(&cmd_track.tracked);
    if (cmd_track.count > 0) {
        cmd_track_buffers();
        track_message(true);
    }
    for (size_t i = 0; i < cmd_track.count; i++) {
        cmd_track_send(cmd_track.clients[i], cmd_track.position);
    }
}

void cmd_track_begin(uint64_t position)
{
    kv_lock_take(&cmd_track.lock);
    cmd_track.position = position;
    cmd_track.batch_flood = false;
}

void cmd_track_told(enum kv_observed change, kvsql_slice key)
{
    const bool upkeep = change == KV_OBSERVED_UPKEEP;
    struct cmd_keyset_key *found;

    if (change == KV_OBSERVED_FLUSH) {
        track_flush();
        return;
    }
    if (cmd_track.count == 0) {
        return;
    }
    cmd_track_buffers();
    found = cmd_keyset_find(&cmd_track.tracked, key);
    if (found != NULL) {
        cmd_track_invalidate(found, upkeep, cmd_track.position);
    }
    if (cmd_track.prefixes.keys > 0 && !cmd_track.batch_flood &&
        track_is_broadcast(key)) {
        track_batch_add(key, upkeep);
    }
}

/* Who watches the key while it is absent: it has come to be, and may go again.
 * So it does when it had expired and was not removed yet. */
void cmd_track_done(enum kv_observed change, kvsql_slice key)
{
    const bool put = change == KV_OBSERVED_PUT;
    const struct cmd_keyset_key *found =
        put ? cmd_keyset_find(&cmd_track.absent, key) : NULL;

    if (put) {
        cmd_await_told(key);
    }
    for (uint32_t i = 0; found != NULL && i < found->count; i++) {
        struct cmd_client *client =
            (struct cmd_client *)(uintptr_t)cmd_keyset_ids(found)[i];

        atomic_store(&client->watch_touched, true);
    }
}

/* ---- BCAST: a batch at its end ------------------------------------------ */

static int track_changed_order(const void *left, const void *right)
{
    const struct track_changed *a = left, *b = right;
    const uint8_t *bytes = cmd_track.batch_bytes.p;

    return cmd_keyset_order(bytes + a->offset, a->size, bytes + b->offset,
                            b->size);
}

/* Sorted, each key once; how many. What was upkeep among other changes
 * is told to everybody. */
static size_t track_batch_sort(void)
{
    struct track_changed *all = (void *)cmd_track.batch.p;
    const size_t count = cmd_track.batch.size / sizeof(*all);
    size_t kept = 0;

    if (count > 1) {
        qsort(all, count, sizeof(*all), track_changed_order);
    }
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && track_changed_order(&all[kept - 1], &all[i]) == 0) {
            all[kept - 1].upkeep |= all[i].upkeep;
        } else {
            all[kept++] = all[i];
        }
    }
    return kept;
}

/* The keys with the prefix: those from *first on, how many. */
static size_t track_batch_range(const struct cmd_keyset_key *prefix,
                                size_t count, size_t *first)
{
    const struct track_changed *all = (const void *)cmd_track.batch.p;
    const uint8_t *bytes = cmd_track.batch_bytes.p;
    size_t low = 0, high = count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (cmd_keyset_order(bytes + all[middle].offset, all[middle].size,
                        prefix->bytes, prefix->size) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *first = low;
    while (low < count &&
           track_begins(bytes + all[low].offset, all[low].size, prefix)) {
        low++;
    }
    return low - *first;
}

/* A message of `n` of the batch's keys; with `upkeep` of those that are. False:
 * there are none. */
static bool track_batch_message(size_t first, size_t n, bool upkeep)
{
    const struct track_changed *all = (const void *)cmd_track.batch.p;
    size_t count = 0;

    for (size_t i = first; i < first + n; i++) {
        count += !upkeep || all[i].upkeep;
    }
    track_message(false);
    kv_buf_printf(&cmd_track.body, "*%zu\r\n", count);
    for (size_t i = first; i < first + n; i++) {
        if (!upkeep || all[i].upkeep) {
            track_message_key(cmd_track.batch_bytes.p + all[i].offset,
                              all[i].size);
        }
    }
    return count > 0;
}

/* To all that have the prefix but the writer; its own part is what was
 * upkeep. */
static void track_batch_send(const struct cmd_keyset_key *prefix, size_t first,
                             size_t n)
{
    const uint64_t *ids = cmd_keyset_ids(prefix);
    struct cmd_client *writer = NULL;
    bool any = track_batch_message(first, n, false);

    for (uint32_t i = 0; i < prefix->count && any; i++) {
        struct cmd_client *client = cmd_track_client(ids[i]);
        const unsigned flags =
            client == NULL ? 0 : atomic_load(&client->track.flags);

        if (flags != 0 && track_is_own(client, flags, false)) {
            writer = client;
        } else if (flags != 0) {
            cmd_track_send(client, cmd_track.position);
        }
    }
    any = writer != NULL && track_batch_message(first, n, true);
    if (any) {
        cmd_track_send(writer, cmd_track.position);
    }
}

/* More keys than can be listed: all keys, to all with BCAST. */
static void track_batch_null(void)
{
    track_message(true);
    for (size_t i = 0; i < cmd_track.count; i++) {
        if (atomic_load(&cmd_track.clients[i]->track.flags) & CMD_TRACK_BCAST) {
            cmd_track_send(cmd_track.clients[i], cmd_track.position);
        }
    }
}

void cmd_track_end(void)
{
    if (cmd_track.batch_flood) {
        track_batch_null();
    } else if (cmd_track.ready && cmd_track.batch.size > 0) {
        const size_t count = track_batch_sort();

        for (const struct cmd_keyset_key *prefix = cmd_track.prefixes.oldest;
             prefix != NULL; prefix = prefix->newer) {
            size_t first;
            const size_t n = track_batch_range(prefix, count, &first);

            if (n > 0) {
                track_batch_send(prefix, first, n);
            }
        }
    }
    if (cmd_track.ready) {
        kv_buf_reset(&cmd_track.batch, TRACK_TEXT_KEEP);
        kv_buf_reset(&cmd_track.batch_bytes, TRACK_TEXT_KEEP);
    }
    kv_lock_drop(&cmd_track.lock);
}

