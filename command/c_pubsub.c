/* c_pubsub.c - SUBSCRIBE and its kin, PUBLISH, PUBSUB.
 *
 * What a client has subscribed to is in tables of its own, which it has from the
 * first name on to the last; its ear is in those of pubsub.c with each name. What
 * is heard is left with its door.
 *
 * Always true:
 *   SB1  Each name is answered by a message of its own, so these commands answer
 *        several values in the protocol; CLIENT REPLY does not hold them back.
 *   SB2  The answer that a name is no longer subscribed to comes behind all
 *        messages that came by it (CMD_BEHIND_TICKET).
 *
 * Thread: the connection's; what hears runs in the thread that sends. */
#include "command/client.h"
#include "command/context.h"
#include "command/keyset.h"
#include "command/pubsub.h"
#include "kvsql/base/num.h"

#define PUBSUB_NAMES_MAX 1048576 /* of a kind, of one client */
#define PUBSUB_LIST_MAX ((size_t)1 << 30) /* bytes of names in an answer */

struct cmd_subscriber {
    struct cmd_ear ear; /* its first member */
    struct cmd_client *client;
    struct cmd_keyset names[CMD_PUBSUB_KINDS];
};

static const struct {
    const char *on, *off;
} pubsub_words[CMD_PUBSUB_KINDS] = {{"subscribe", "unsubscribe"},
                                    {"psubscribe", "punsubscribe"},
                                    {"ssubscribe", "sunsubscribe"}};

/* ---- hearing (the sender's thread) -------------------------------------------- */

static void pubsub_hear(struct cmd_ear *ear, const struct cmd_message *message)
{
    struct cmd_client *client = ((struct cmd_subscriber *)ear)->client;
    const kvsql_slice bytes = cmd_message_resp(message);
    const struct cmd_push push = {.p = bytes.p,
                                  .size = bytes.size,
                                  .position = message->position,
                                  .message = true};

    if (bytes.p == NULL) {
        client->door->kill(client); /* rather than to miss one unknown */
    } else {
        client->door->push(client, &push);
    }
}

/* ---- what a client has subscribed to ------------------------------------------- */

/* How many names an answer tells of: channels and patterns are counted
 * together. */
static uint64_t pubsub_total(const struct cmd_client *client,
                             enum cmd_pubsub_kind kind)
{
    const struct cmd_subscriber *own = client->subscriber;

    if (own == NULL) {
        return 0;
    }
    return kind == CMD_PUBSUB_SHARD ? own->names[CMD_PUBSUB_SHARD].keys
                                    : own->names[CMD_PUBSUB_CHANNEL].keys +
                                          own->names[CMD_PUBSUB_PATTERN].keys;
}

/* For all to see; with the last name the tables go. */
static void pubsub_settle(struct cmd_client *client)
{
    struct cmd_subscriber *own = client->subscriber;
    uint64_t total = 0;

    for (unsigned kind = 0; kind < CMD_PUBSUB_KINDS; kind++) {
        const uint64_t count = own != NULL ? own->names[kind].keys : 0;

        atomic_store(&client->shown_names[kind], (unsigned)count);
        total += count;
    }
    if (atomic_exchange(&client->subscribed, total > 0) != (total > 0)) {
        cmd_gauge_add(CMD_GAUGE_PUBSUB_CLIENTS, total > 0 ? 1 : -1);
    }
    if (own != NULL && total == 0) {
        for (unsigned kind = 0; kind < CMD_PUBSUB_KINDS; kind++) {
            cmd_keyset_clear(&own->names[kind]);
        }
        kv_mem_free(KV_MEM_CLIENT, own, sizeof(*own));
        client->subscriber = NULL;
    }
}

/* False: no memory, or too many. */
static bool pubsub_join(struct cmd_client *client, kvsql_slice name,
                        enum cmd_pubsub_kind kind)
{
    struct cmd_subscriber *own = client->subscriber;

    if (own == NULL) {
        own = kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*own));
        if (own == NULL) {
            return false;
        }
        own->ear.hear = pubsub_hear;
        own->client = client;
        client->subscriber = own;
    }
    if (cmd_keyset_find(&own->names[kind], name) != NULL) {
        return true;
    }
    if (own->names[kind].keys == PUBSUB_NAMES_MAX ||
        cmd_keyset_add(&own->names[kind], name, 0) == NULL) {
        return false;
    }
    if (!cmd_pubsub_add(&own->ear, name, kind)) {
        (void)cmd_keyset_remove(&own->names[kind], name, 0);
        return false;
    }
    return true;
}

/* It may not be there. */
static void pubsub_leave(struct cmd_client *client, kvsql_slice name,
                         enum cmd_pubsub_kind kind)
{
    struct cmd_subscriber *own = client->subscriber;

    if (own != NULL && cmd_keyset_find(&own->names[kind], name) != NULL) {
        cmd_pubsub_remove(&own->ear, name, kind);
        (void)cmd_keyset_remove(&own->names[kind], name, 0);
    }
}

/* The first name of a kind; p NULL: there is none. */
static kvsql_slice pubsub_first(const struct cmd_client *client,
                                enum cmd_pubsub_kind kind)
{
    const struct cmd_keyset_key *key =
        client->subscriber != NULL ? client->subscriber->names[kind].oldest
                                   : NULL;

    return key != NULL ? (kvsql_slice){key->bytes, key->size}
                       : (kvsql_slice){NULL, 0};
}

void cmd_subscriber_end(struct cmd_client *client)
{
    for (unsigned kind = 0; kind < CMD_PUBSUB_KINDS; kind++) {
        kvsql_slice name;

        while ((name = pubsub_first(client, kind)).p != NULL) {
            pubsub_leave(client, name, kind);
        }
    }
    pubsub_settle(client);
}

/* ---- SUBSCRIBE and UNSUBSCRIBE --------------------------------------------------- */

static void pubsub_answer(struct cmd_context *c, const char *what,
                          kvsql_slice name, uint64_t count)
{
    cmd_reply_push(c->reply, 3);
    cmd_reply_text(c->reply, what);
    if (name.p != NULL) {
        cmd_reply_bulk(c->reply, name.p, name.size);
    } else {
        cmd_reply_null(c->reply);
    }
    cmd_reply_int(c->reply, (int64_t)count);
    c->client->tells = c->client->mute != CMD_MUTE_NO; /* SB1 */
}

/* What is subscribed to is not taken back with a transaction. False:
 * answered. */
static bool pubsub_may(struct cmd_context *c)
{
    if (c->txn != NULL && c->client->multi_rollback) {
        cmd_fail(c, KVSQL_AUTH,
                 "ERR subscriptions are not taken back: not inside MULTI "
                 "ROLLBACK");
        return false;
    }
    return true;
}

static void pubsub_subscribe(struct cmd_context *c, enum cmd_pubsub_kind kind)
{
    if (!pubsub_may(c)) {
        return;
    }
    for (unsigned i = 1; i < c->argc; i++) {
        if (!pubsub_join(c->client, c->argv[i], kind)) {
            c->client->closing = true; /* what was answered is no more */
            cmd_fail(c, KVSQL_NOMEM,
                     "OOM no memory for a subscription, or it is more than "
                     "%d",
                     PUBSUB_NAMES_MAX);
            break;
        }
        pubsub_answer(c, pubsub_words[kind].on, c->argv[i],
                      pubsub_total(c->client, kind));
    }
    pubsub_settle(c->client);
}

static void pubsub_unsubscribe(struct cmd_context *c,
                               enum cmd_pubsub_kind kind)
{
    struct cmd_client *client = c->client;
    const char *const what = pubsub_words[kind].off;
    kvsql_slice name = pubsub_first(client, kind);

    if (!pubsub_may(c)) {
        return;
    }
    if (c->txn == NULL) {
        *c->ticket = CMD_BEHIND_TICKET; /* SB2 */
    }
    for (unsigned i = 1; i < c->argc; i++) {
        pubsub_leave(client, c->argv[i], kind);
        pubsub_answer(c, what, c->argv[i], pubsub_total(client, kind));
    }
    if (c->argc == 1 && name.p == NULL) {
        pubsub_answer(c, what, name, pubsub_total(client, kind));
    }
    while (c->argc == 1 && name.p != NULL) {
        pubsub_answer(c, what, name, pubsub_total(client, kind) - 1);
        pubsub_leave(client, name, kind);
        name = pubsub_first(client, kind);
    }
    pubsub_settle(client);
}

void cmd_do_subscribe(struct cmd_context *c)
{
    pubsub_subscribe(c, CMD_PUBSUB_CHANNEL);
}

void cmd_do_psubscribe(struct cmd_context *c)
{
    pubsub_subscribe(c, CMD_PUBSUB_PATTERN);
}

void cmd_do_ssubscribe(struct cmd_context *c)
{
    pubsub_subscribe(c, CMD_PUBSUB_SHARD);
}

void cmd_do_unsubscribe(struct cmd_context *c)
{
    pubsub_unsubscribe(c, CMD_PUBSUB_CHANNEL);
}

void cmd_do_punsubscribe(struct cmd_context *c)
{
    pubsub_unsubscribe(c, CMD_PUBSUB_PATTERN);
}

void cmd_do_sunsubscribe(struct cmd_context *c)
{
    pubsub_unsubscribe(c, CMD_PUBSUB_SHARD);
}

bool cmd_may_subscriber(const struct cmd_row *row)
{
    return row->run == cmd_do_subscribe || row->run == cmd_do_unsubscribe ||
           row->run == cmd_do_psubscribe || row->run == cmd_do_punsubscribe ||
           row->run == cmd_do_ssubscribe || row->run == cmd_do_sunsubscribe ||
           row->run == cmd_do_ping || row->run == cmd_do_quit ||
           row->run == cmd_do_reset;
}

/* ---- PUBLISH --------------------------------------------------------------------- */

static void pubsub_publish(struct cmd_context *c, enum cmd_pubsub_kind kind)
{
    struct kv_ticket ticket = CMD_NO_TICKET;
    unsigned receivers;
    const kvsql_rc rc =
        cmd_pubsub_publish(c->db, c->txn, kind, c->argv[1], c->argv[2],
                           &ticket, &receivers, &c->err);

    if (rc != KVSQL_OK) {
        cmd_fail_rc(c, rc);
        return;
    }
    if (c->txn == NULL && c->ticket != NULL) {
        *c->ticket = ticket;
    }
    cmd_reply_int(c->reply, receivers);
}

void cmd_do_publish(struct cmd_context *c)
{
    pubsub_publish(c, CMD_PUBSUB_CHANNEL);
}

void cmd_do_spublish(struct cmd_context *c)
{
    pubsub_publish(c, CMD_PUBSUB_SHARD);
}

/* ---- PUBSUB ----------------------------------------------------------------------- */

/* The names that the third argument fits, or all. */
static void pubsub_channels(struct cmd_context *c, enum cmd_pubsub_kind kind)
{
    const kvsql_slice pattern =
        c->argc > 2 ? c->argv[2] : (kvsql_slice){NULL, 0};
    struct kv_buf names;

    if (c->argc > 3) {
        cmd_fail(c, KVSQL_ARITY,
                 "ERR unknown subcommand or wrong number of arguments for "
                 "'%.*s'. Try PUBSUB HELP.",
                 (int)c->argv[1].size, (const char *)c->argv[1].p);
        return;
    }
    kv_buf_init(&names, KV_MEM_CLIENT, PUBSUB_LIST_MAX);
    const unsigned count = cmd_pubsub_list(kind, pattern, &names);
    if (names.failed) {
        cmd_fail_nomem(c);
    } else {
        const uint8_t *p = names.p;

        cmd_reply_array(c->reply, count);
        for (unsigned i = 0; i < count; i++) {
            const uint32_t size = kv_u32_get(p);

            cmd_reply_bulk(c->reply, p + 4, size);
            p += 4 + size;
        }
    }
    kv_buf_fini(&names);
}

static void pubsub_numbers(struct cmd_context *c, enum cmd_pubsub_kind kind)
{
    cmd_reply_array(c->reply, 2 * (uint64_t)(c->argc - 2));
    for (unsigned i = 2; i < c->argc; i++) {
        cmd_reply_bulk(c->reply, c->argv[i].p, c->argv[i].size);
        cmd_reply_int(c->reply, cmd_pubsub_ears(c->argv[i], kind));
    }
}

void cmd_do_pubsub_channels(struct cmd_context *c)
{
    pubsub_channels(c, CMD_PUBSUB_CHANNEL);
}

void cmd_do_pubsub_shardchannels(struct cmd_context *c)
{
    pubsub_channels(c, CMD_PUBSUB_SHARD);
}

void cmd_do_pubsub_numsub(struct cmd_context *c)
{
    pubsub_numbers(c, CMD_PUBSUB_CHANNEL);
}

void cmd_do_pubsub_shardnumsub(struct cmd_context *c)
{
    pubsub_numbers(c, CMD_PUBSUB_SHARD);
}

void cmd_do_pubsub_numpat(struct cmd_context *c)
{
    cmd_reply_int(c->reply, cmd_gauge_get(CMD_GAUGE_PUBSUB_PATTERNS));
}
