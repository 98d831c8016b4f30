/* pubsub.c - publish and subscribe: see pubsub.h.
 *
 * Channels, patterns and channels of shards are three tables of names with the
 * addresses of their ears. A message whose ticket is open, and before which none
 * waits, is given at once. Else it is put behind the others, and the gate is asked for the first of
 * them; when that opens, all that may go are given. A message whose batch was
 * undone is dropped, and so is the answer to its sender. One that is sent inside
 * a txn is held until that commits, and is dropped when it is taken back.
 *
 * Always true:
 *   PS1  `asked`: the waiter is at the gate, or who took it from there has not
 *        come back; only he looks at the waiter.
 *   PS2  Messages are given in the order of the queue, and by one thread at a
 *        time: under the lock.
 *
 * Thread: any. */
#include "command/pubsub.h"

#include <string.h>

#include "command/context.h"
#include "command/keyset.h"
#include "kvsql/base/lock.h"
#include "kvsql/base/text.h"

#define PUBSUB_WAIT_MS 5000 /* for the store */
#define PUBSUB_TEXT_MAX ((size_t)2 << 30) /* of a message */
#define PUBSUB_TEXT_KEEP ((size_t)4 << 10)

/* A message that waits. */
struct pubsub_letter {
    struct pubsub_letter *next;
    kvsql *db;
    const struct kv_txn *txn; /* of one that is held */
    struct kv_ticket ticket;
    enum cmd_pubsub_kind kind;
    size_t channel_size, payload_size;
    uint8_t bytes[]; /* channel, payload */
};

static struct {
    struct kv_lock lock;
    struct cmd_keyset tables[CMD_PUBSUB_KINDS]; /* -> addresses of ears */
    uint64_t number; /* of what was told last */
    uint64_t made;   /* ... and of what is in `text`, 0 = nothing */
    struct kv_buf text;
    struct pubsub_letter *first, **last;
    struct pubsub_letter *held; /* of txns that are open; the newest first */
    size_t waiting; /* bytes of the letters */
    bool asked;     /* PS1 */
    struct kv_waiter waiter;
} pubsub = {.lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                     .rank = KV_RANK_COMMAND},
            .last = &pubsub.first};

/* ---- who hears ---------------------------------------------------------------- */

/* The lock is held, and a table had `before` names. */
static void pubsub_show(enum cmd_pubsub_kind kind, uint64_t before)
{
    static const enum cmd_gauge gauges[CMD_PUBSUB_KINDS] = {
        CMD_GAUGE_PUBSUB_CHANNELS, CMD_GAUGE_PUBSUB_PATTERNS,
        CMD_GAUGE_PUBSUB_SHARDS};

    if (pubsub.tables[kind].keys != before)
        cmd_gauge_add(gauges[kind],
                      (int64_t)(pubsub.tables[kind].keys - before));
}

/* The lock is held: nobody listens. */
static bool pubsub_is_deserted(void)
{
    return pubsub.tables[CMD_PUBSUB_CHANNEL].keys == 0 &&
           pubsub.tables[CMD_PUBSUB_PATTERN].keys == 0 &&
           pubsub.tables[CMD_PUBSUB_SHARD].keys == 0;
}

bool cmd_pubsub_add(struct cmd_ear *ear, kvsql_slice name,
                    enum cmd_pubsub_kind kind)
{
    struct cmd_keyset *table = &pubsub.tables[kind];

    kv_lock_take(&pubsub.lock);
    const uint64_t before = table->keys;
    const bool good = cmd_keyset_add(table, name, (uintptr_t)ear) != NULL;
    pubsub_show(kind, before);
    kv_lock_drop(&pubsub.lock);
    return good;
}

void cmd_pubsub_remove(struct cmd_ear *ear, kvsql_slice name,
                       enum cmd_pubsub_kind kind)
{
    struct cmd_keyset *table = &pubsub.tables[kind];

    kv_lock_take(&pubsub.lock);
    const uint64_t before = table->keys;
    (void)cmd_keyset_remove(table, name, (uintptr_t)ear);
    pubsub_show(kind, before);
    if (pubsub.made != 0 && pubsub_is_deserted()) {
        kv_buf_fini(&pubsub.text);
        pubsub.made = 0;
    }
    kv_lock_drop(&pubsub.lock);
}

unsigned cmd_pubsub_ears(kvsql_slice name, enum cmd_pubsub_kind kind)
{
    kv_lock_take(&pubsub.lock);
    const struct cmd_keyset_key *key =
        cmd_keyset_find(&pubsub.tables[kind], name);
    const unsigned count = key != NULL ? key->count : 0;
    kv_lock_drop(&pubsub.lock);
    return count;
}

unsigned cmd_pubsub_list(enum cmd_pubsub_kind kind, kvsql_slice pattern,
                         struct kv_buf *out)
{
    unsigned count = 0;

    kv_lock_take(&pubsub.lock);
    for (const struct cmd_keyset_key *key = pubsub.tables[kind].oldest;
         key != NULL; key = key->newer) {
        if (pattern.p != NULL &&
            !kv_glob_match(pattern.p, pattern.size, key->bytes, key->size,
                           false))
            continue;
        kv_buf_u32(out, key->size);
        kv_buf_add(out, key->bytes, key->size);
        count++;
    }
    kv_lock_drop(&pubsub.lock);
    return count;
}

static bool pubsub_fits(const struct cmd_keyset_key *pattern,
                        kvsql_slice channel)
{
    return kv_glob_match(pattern->bytes, pattern->size, channel.p,
                         channel.size, false);
}

/* The first pattern that may fit what is sent to one of the kind. */
static const struct cmd_keyset_key *pubsub_pattern(enum cmd_pubsub_kind kind)
{
    return kind == CMD_PUBSUB_CHANNEL
               ? pubsub.tables[CMD_PUBSUB_PATTERN].oldest
               : NULL;
}

/* The lock is held. */
static unsigned pubsub_count(enum cmd_pubsub_kind kind, kvsql_slice channel)
{
    const struct cmd_keyset_key *key =
        cmd_keyset_find(&pubsub.tables[kind], channel);
    unsigned count = key != NULL ? key->count : 0;

    for (key = pubsub_pattern(kind); key != NULL; key = key->newer)
        if (pubsub_fits(key, channel))
            count += key->count;
    return count;
}

/* ---- giving ------------------------------------------------------------------- */

static void pubsub_bulk(struct kv_buf *out, kvsql_slice bytes)
{
    kv_buf_printf(out, "$%zu\r\n", bytes.size);
    kv_buf_add(out, bytes.p, bytes.size);
    kv_buf_text(out, "\r\n");
}

kvsql_slice cmd_message_resp(const struct cmd_message *message)
{
    static const char *const heads[CMD_PUBSUB_KINDS] = {
        "*3\r\n$7\r\nmessage\r\n", "*4\r\n$8\r\npmessage\r\n",
        "*3\r\n$8\r\nsmessage\r\n"};
    struct kv_buf *text = &pubsub.text;

    if (pubsub.made == 0)
        kv_buf_init(text, KV_MEM_CLIENT, PUBSUB_TEXT_MAX);
    if (pubsub.made != message->number) {
        pubsub.made = message->number;
        kv_buf_reset(text, PUBSUB_TEXT_KEEP);
        kv_buf_text(text, heads[message->kind]);
        if (message->pattern.p != NULL)
            pubsub_bulk(text, message->pattern);
        pubsub_bulk(text, message->channel);
        pubsub_bulk(text, message->payload);
    }
    return text->failed ? (kvsql_slice){NULL, 0}
                        : (kvsql_slice){text->p, text->size};
}

/* The lock is held. */
static void pubsub_tell(const struct cmd_keyset_key *key,
                        struct cmd_message *message)
{
    const uint64_t *ears = cmd_keyset_ids(key);

    message->number = ++pubsub.number;
    for (uint32_t i = 0; i < key->count; i++) {
        struct cmd_ear *ear = (void *)(uintptr_t)ears[i];
        ear->hear(ear, message);
    }
}

/* The lock is held: PS2. */
static void pubsub_give(const struct cmd_message *sent)
{
    struct cmd_message message = *sent;
    const struct cmd_keyset_key *key =
        cmd_keyset_find(&pubsub.tables[sent->kind], sent->channel);

    if (key != NULL)
        pubsub_tell(key, &message);
    message.kind = CMD_PUBSUB_PATTERN;
    for (key = pubsub_pattern(sent->kind); key != NULL; key = key->newer) {
        if (!pubsub_fits(key, sent->channel))
            continue;
        message.pattern = (kvsql_slice){key->bytes, key->size};
        pubsub_tell(key, &message);
    }
}

static size_t pubsub_size(const struct pubsub_letter *letter)
{
    return sizeof *letter + letter->channel_size + letter->payload_size;
}

/* The lock is held. The first letter leaves: `rc` is what became of its batch. */
static void pubsub_pop(kvsql_rc rc)
{
    struct pubsub_letter *letter = pubsub.first;
    const size_t size = pubsub_size(letter);

    pubsub.first = letter->next;
    if (pubsub.first == NULL)
        pubsub.last = &pubsub.first;
    pubsub.waiting -= size;
    if (rc == KVSQL_OK)
        pubsub_give(&(struct cmd_message){
            .channel = {letter->bytes, letter->channel_size},
            .payload = {letter->bytes + letter->channel_size,
                        letter->payload_size},
            .kind = letter->kind,
            .position = letter->ticket.position});
    kv_mem_free(KV_MEM_CLIENT, letter, size);
}

static void pubsub_ask(void);

static void pubsub_done(struct kv_waiter *waiter, kvsql_rc rc)
{
    (void)waiter;
    kv_lock_take(&pubsub.lock);
    pubsub_pop(rc);
    kv_lock_drop(&pubsub.lock);
    pubsub_ask();
}

/* Who has `asked` (PS1): wait for the first letter; those that may go are
 * given. */
static void pubsub_ask(void)
{
    for (;;) {
        kv_lock_take(&pubsub.lock);
        const struct pubsub_letter *letter = pubsub.first;
        kvsql *const db = letter != NULL ? letter->db : NULL;
        pubsub.asked = letter != NULL;
        if (letter != NULL)
            pubsub.waiter = (struct kv_waiter){.ticket = letter->ticket,
                                               .done = pubsub_done};
        kv_lock_drop(&pubsub.lock);
        if (db == NULL || !kv_gate_watch(db, &pubsub.waiter))
            return;
        kv_lock_take(&pubsub.lock);
        pubsub_pop(KVSQL_OK);
        kv_lock_drop(&pubsub.lock);
    }
}

/* ---- sending ------------------------------------------------------------------ */

/* What the state is that the sender may have seen. */
static kvsql_rc pubsub_ticket(kvsql *db, const struct kv_txn *txn,
                              struct kv_ticket *ticket,
                              struct kvsql_error *err)
{
    struct kv_txn *mine;

    *ticket = CMD_NO_TICKET;
    if (db == NULL)
        return KVSQL_OK; /* of none: it is loading */
    if (txn != NULL) {
        *ticket = kv_txn_ticket(txn);
        return KVSQL_OK;
    }
    const kvsql_rc rc = kv_txn_begin(db, false, PUBSUB_WAIT_MS, &mine, err);
    return rc == KVSQL_OK ? kv_txn_commit(mine, ticket, err) : rc;
}

/* The lock is held. Behind the others. */
static void pubsub_put(struct pubsub_letter *letter)
{
    letter->next = NULL;
    *pubsub.last = letter;
    pubsub.last = &letter->next;
}

/* The lock is held. With `txn` until that ends. */
static kvsql_rc pubsub_queue(kvsql *db, const struct kv_txn *txn,
                             struct kv_ticket ticket,
                             const struct cmd_message *message,
                             struct kvsql_error *err)
{
    const kvsql_slice channel = message->channel, payload = message->payload;
    const size_t size =
        sizeof(struct pubsub_letter) + channel.size + payload.size;

    if (pubsub.waiting > 0 && size > CMD_PUBSUB_WAITING - pubsub.waiting)
        return kv_fail(err, KVSQL_OOM,
                       "OOM too many messages wait for what was written "
                       "before them");
    struct pubsub_letter *letter = kv_mem_alloc(KV_MEM_CLIENT, size);
    if (letter == NULL)
        return kv_fail(err, KVSQL_NOMEM, "OOM no memory for a message");
    *letter = (struct pubsub_letter){.db = db,
                                     .ticket = ticket,
                                     .kind = message->kind,
                                     .channel_size = channel.size,
                                     .payload_size = payload.size};
    if (channel.size > 0)
        memcpy(letter->bytes, channel.p, channel.size);
    if (payload.size > 0)
        memcpy(letter->bytes + channel.size, payload.p, payload.size);
    pubsub.waiting += size;
    if (txn != NULL) {
        letter->txn = txn;
        letter->next = pubsub.held;
        pubsub.held = letter;
    } else {
        pubsub_put(letter);
    }
    return KVSQL_OK;
}

/* The lock is held. Has somebody to ask for the first one? Who called does. */
static bool pubsub_asks(void)
{
    const bool ask = pubsub.first != NULL && !pubsub.asked;

    pubsub.asked = pubsub.asked || ask;
    return ask;
}

/* The lock is held. Take those of a txn out of the held ones, the oldest
 * first. */
static struct pubsub_letter *pubsub_take(const struct kv_txn *txn)
{
    struct pubsub_letter *taken = NULL, **at = &pubsub.held;

    while (*at != NULL) {
        struct pubsub_letter *letter = *at;
        if (letter->txn != txn) {
            at = &letter->next;
            continue;
        }
        *at = letter->next;
        letter->next = taken;
        taken = letter;
    }
    return taken;
}

/* A txn with letters has ended: they go, or are dropped. */
static void pubsub_ended(const struct kv_txn *txn,
                         const struct kv_ticket *ticket)
{
    kv_lock_take(&pubsub.lock);
    struct pubsub_letter *letter = pubsub_take(txn);
    while (letter != NULL) {
        struct pubsub_letter *const next = letter->next;
        if (ticket != NULL) {
            letter->ticket = *ticket;
            pubsub_put(letter);
        } else {
            const size_t size = pubsub_size(letter);
            pubsub.waiting -= size;
            kv_mem_free(KV_MEM_CLIENT, letter, size);
        }
        letter = next;
    }
    const bool ask = pubsub_asks();
    kv_lock_drop(&pubsub.lock);
    if (ask)
        pubsub_ask();
}

kvsql_rc cmd_pubsub_publish(kvsql *db, struct kv_txn *txn,
                            enum cmd_pubsub_kind kind, kvsql_slice channel,
                            kvsql_slice payload, struct kv_ticket *ticket,
                            unsigned *receivers, struct kvsql_error *err)
{
    bool ask = false;
    kvsql_rc rc = pubsub_ticket(db, txn, ticket, err);
    const struct cmd_message message = {.channel = channel,
                                        .payload = payload,
                                        .kind = kind,
                                        .position = ticket->position};

    *receivers = 0;
    if (rc != KVSQL_OK)
        return rc;
    const bool open = db == NULL || kv_gate_open(db, *ticket);
    kv_lock_take(&pubsub.lock);
    const unsigned count = pubsub_count(kind, channel);
    if (count > 0 && open && txn == NULL && pubsub.first == NULL)
        pubsub_give(&message);
    else if (count > 0)
        rc = pubsub_queue(db, txn, *ticket, &message, err);
    if (rc == KVSQL_OK)
        *receivers = count;
    if (rc == KVSQL_OK && count > 0 && txn != NULL)
        kv_txn_at_end(txn, pubsub_ended);
    ask = pubsub_asks();
    kv_lock_drop(&pubsub.lock);
    if (ask)
        pubsub_ask();
    return rc;
}
