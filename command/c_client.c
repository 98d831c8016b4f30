/* c_client.c - CLIENT: who is connected, and what a connection wants.
 *
 * Thread: the connection's; others are looked at under the registry's lock. */
#include <limits.h>
#include <string.h>

#include "command/client.h"
#include "command/context.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

#define CLIENT_LIST_MAX ((size_t)64 << 20)
#define CLIENT_IDS_MAX 1024 /* of CLIENT LIST ID */
#define CLIENT_NS 1000000000

/* ---- name and library --------------------------------------------------- */

void cmd_do_client_id(struct cmd_context *c)
{
    cmd_reply_int(c->reply, (int64_t)c->client->id);
}

void cmd_do_client_getname(struct cmd_context *c)
{
    const char *name = c->client->name;

    if (name[0] == '\0') {
        cmd_reply_null(c->reply);
    } else {
        cmd_reply_text(c->reply, name);
    }
}

void cmd_do_client_setname(struct cmd_context *c)
{
    if (!cmd_client_name_ok(c->argv[2])) {
        cmd_fail(c, KVSQL_INVALID, CMD_TEXT_CLIENT_NAME);
        return;
    }
    cmd_client_name_set(c->client, c->argv[2]);
    cmd_answer_ok(c);
}

void cmd_do_client_setinfo(struct cmd_context *c)
{
    const bool name = cmd_is(c, 2, "LIB-NAME");
    const kvsql_slice word = c->argv[3];
    char shown[96];
    char *to;

    if (!name && !cmd_is(c, 2, "LIB-VER")) {
        cmd_fail(c, KVSQL_SYNTAX, "ERR Unrecognized option '%s'",
                 kv_text_show(shown, sizeof(shown), c->argv[2].p,
                              c->argv[2].size));
        return;
    }
    if (!cmd_client_name_ok(word) || word.size > CMD_CLIENT_WORD_MAX) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR %s cannot contain spaces, newlines or special "
                 "characters.",
                 name ? "LIB-NAME" : "LIB-VER");
        return;
    }
    to = name ? c->client->lib_name : c->client->lib_version;
    cmd_registry_lock();
    memcpy(to, word.p, word.size);
    to[word.size] = '\0';
    cmd_registry_unlock();
    cmd_answer_ok(c);
}

/* ---- LIST and INFO ------------------------------------------------------ */

static void client_lower(struct kv_buf *out, const char *name)
{
    for (; *name != '\0'; name++) {
        kv_buf_byte(out, (uint8_t)(*name >= 'A' && *name <= 'Z' ? *name + 32
                                                                : *name));
    }
}

/* A letter for each thing that is so. */
static const char *client_flags(const struct cmd_client *client, char out[16])
{
    const unsigned track = atomic_load(&client->track.flags);
    const struct {
        char letter;
        bool is;
    } flags[] = {{'O', atomic_load(&client->monitor)},
                 {'P', atomic_load(&client->subscribed)},
                 {'x', atomic_load(&client->shown_queued) != UINT_MAX},
                 {'b', atomic_load(&client->blocked)},
                 {'t', (track & CMD_TRACK_ON) != 0},
                 {'R', (track & CMD_TRACK_BROKEN) != 0},
                 {'B', (track & CMD_TRACK_BCAST) != 0},
                 {'e', atomic_load(&client->no_evict)},
                 {'T', atomic_load(&client->no_touch)}};
    size_t n = 0;

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (flags[i].is) {
            out[n++] = flags[i].letter;
        }
    }
    if (n == 0) {
        out[n++] = 'N';
    }
    out[n] = '\0';
    return out;
}

/* One line; the registry's lock is held. */
static void client_line(struct kv_buf *out, struct cmd_client *client)
{
    const int64_t now = (int64_t)kv_os_mono_ns();
    const struct cmd_row *last = atomic_load(&client->last);
    const unsigned queued = atomic_load(&client->shown_queued);
    const unsigned track = atomic_load(&client->track.flags);
    const int64_t redirect = (int64_t)atomic_load(&client->track.redirect);
    struct cmd_client_facts facts = {0};
    char flags[16];

    client->door->facts(client, &facts);
    kv_buf_printf(out,
                  "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld "
                  "flags=%s db=0 sub=%u psub=%u ssub=%u multi=%d watch=%u ",
                  (unsigned long long)client->id, client->addr, client->laddr,
                  client->fd, client->name,
                  (long long)((now - client->created_ns) / CLIENT_NS),
                  (long long)((now - atomic_load(&client->used_ns)) /
                              CLIENT_NS),
                  client_flags(client, flags),
                  atomic_load(&client->shown_names[CMD_PUBSUB_CHANNEL]),
                  atomic_load(&client->shown_names[CMD_PUBSUB_PATTERN]),
                  atomic_load(&client->shown_names[CMD_PUBSUB_SHARD]),
                  queued == UINT_MAX ? -1 : (int)queued,
                  atomic_load(&client->shown_watched));
    kv_buf_printf(out,
                  "qbuf=%llu qbuf-free=%llu argv-mem=0 multi-mem=0 rbs=0 "
                  "rbp=0 obl=%llu oll=0 omem=%llu tot-mem=%llu events=r cmd=",
                  (unsigned long long)facts.query_size,
                  (unsigned long long)facts.query_room,
                  (unsigned long long)facts.output_size,
                  (unsigned long long)facts.output_size,
                  (unsigned long long)facts.memory);
    client_lower(out, last != NULL ? last->name : "NULL");
    kv_buf_printf(out,
                  " user=default redir=%lld resp=%u lib-name=%s lib-ver=%s "
                  "tot-cmds=%llu\n",
                  track == 0 ? -1LL : (long long)redirect,
                  atomic_load(&client->shown_resp), client->lib_name,
                  client->lib_version,
                  (unsigned long long)atomic_load(&client->commands));
}

static void client_answer_lines(struct cmd_context *c, struct kv_buf *out)
{
    if (out->failed) {
        cmd_fail_nomem(c);
    } else {
        cmd_reply_verbatim(c->reply, out->p != NULL ? (void *)out->p : "",
                           out->size);
    }
    kv_buf_fini(out);
}

void cmd_do_client_info(struct cmd_context *c)
{
    struct kv_buf out;

    kv_buf_init(&out, KV_MEM_CLIENT, CLIENT_LIST_MAX);
    cmd_registry_lock();
    client_line(&out, c->client);
    cmd_registry_unlock();
    client_answer_lines(c, &out);
}

enum client_kind { CLIENT_ANY, CLIENT_NORMAL, CLIENT_PUBSUB, CLIENT_OTHER };

/* A word behind TYPE. There are no replicas or masters. */
static bool client_kind(struct cmd_context *c, unsigned index,
                        enum client_kind *kind)
{
    char shown[96];

    if (cmd_is(c, index, "NORMAL")) {
        *kind = CLIENT_NORMAL;
    } else if (cmd_is(c, index, "MASTER") || cmd_is(c, index, "REPLICA") ||
               cmd_is(c, index, "SLAVE")) {
        *kind = CLIENT_OTHER;
    } else if (cmd_is(c, index, "PUBSUB")) {
        *kind = CLIENT_PUBSUB;
    } else {
        cmd_fail(c, KVSQL_INVALID, "ERR Unknown client type '%s'",
                 kv_text_show(shown, sizeof(shown), c->argv[index].p,
                              c->argv[index].size));
        return false;
    }
    return true;
}

static bool client_is_kind(const struct cmd_client *client,
                           enum client_kind kind)
{
    const bool subscribed = atomic_load(&client->subscribed);

    return kind == CLIENT_ANY ||
           kind == (subscribed ? CLIENT_PUBSUB : CLIENT_NORMAL);
}

static bool client_ids(struct cmd_context *c, unsigned first,
                       int64_t ids[CLIENT_IDS_MAX], unsigned *count)
{
    *count = 0;
    for (unsigned i = first; i < c->argc; i++) {
        if (*count == CLIENT_IDS_MAX) {
            cmd_fail(c, KVSQL_TOOBIG, "ERR at most %d ids", CLIENT_IDS_MAX);
            return false;
        }
        if (!cmd_int_within(c, i, 1, INT64_MAX, &ids[*count],
                            "ERR Invalid client ID")) {
            return false;
        }
        ++*count;
    }
    return true;
}

static bool client_id_listed(uint64_t id, const int64_t *ids, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if ((uint64_t)ids[i] == id) {
            return true;
        }
    }
    return false;
}

void cmd_do_client_list(struct cmd_context *c)
{
    int64_t ids[CLIENT_IDS_MAX];
    enum client_kind kind = CLIENT_ANY;
    unsigned id_count = 0;
    bool by_id = false;
    struct kv_buf out;

    if (c->argc == 4 && cmd_is(c, 2, "TYPE")) {
        if (!client_kind(c, 3, &kind)) {
            return;
        }
    } else if (c->argc > 3 && cmd_is(c, 2, "ID")) {
        by_id = true;
        if (!client_ids(c, 3, ids, &id_count)) {
            return;
        }
    } else if (c->argc != 2) {
        cmd_fail_syntax(c);
        return;
    }
    kv_buf_init(&out, KV_MEM_CLIENT, CLIENT_LIST_MAX);
    cmd_registry_lock();
    for (struct cmd_client *client = cmd_client_first(); client != NULL;
         client = client->next) {
        if (client_is_kind(client, kind) &&
            (!by_id || client_id_listed(client->id, ids, id_count))) {
            client_line(&out, client);
        }
    }
    cmd_registry_unlock();
    client_answer_lines(c, &out);
}

/* ---- KILL --------------------------------------------------------------- */

struct client_filter {
    int64_t id, max_age_s;           /* 0 = any */
    const kvsql_slice *addr, *laddr; /* NULL = any */
    enum client_kind kind;
    bool other_user, skip_me;
};

static bool client_same(const kvsql_slice *wanted, const char *text)
{
    return wanted == NULL || (wanted->size == strlen(text) &&
                              memcmp(wanted->p, text, wanted->size) == 0);
}

static bool client_matches(const struct client_filter *filter,
                           const struct cmd_client *client,
                           const struct cmd_client *me)
{
    const int64_t age =
        ((int64_t)kv_os_mono_ns() - client->created_ns) / CLIENT_NS;

    return client_same(filter->addr, client->addr) &&
           client_same(filter->laddr, client->laddr) &&
           (filter->id == 0 || (uint64_t)filter->id == client->id) &&
           (filter->max_age_s == 0 || age >= filter->max_age_s) &&
           client_is_kind(client, filter->kind) && !filter->other_user &&
           !(filter->skip_me && client == me);
}

/* Close what matches; this connection itself behind its reply. */
static uint64_t client_kill(const struct client_filter *filter,
                            struct cmd_client *me)
{
    uint64_t killed = 0;

    cmd_registry_lock();
    for (struct cmd_client *client = cmd_client_first(); client != NULL;
         client = client->next) {
        if (!client_matches(filter, client, me)) {
            continue;
        }
        if (client == me) {
            me->closing = true;
        } else {
            client->door->kill(client);
        }
        killed++;
    }
    cmd_registry_unlock();
    return killed;
}

/* One pair "filter value"; false, and answered, when it is none. */
static bool client_filter_pair(struct cmd_context *c, unsigned i,
                               struct client_filter *filter)
{
    const kvsql_slice *value = &c->argv[i + 1];
    char shown[96];

    if (cmd_is(c, i, "ID")) {
        return cmd_int_within(c, i + 1, 1, INT64_MAX, &filter->id,
                              "ERR client-id should be greater than 0");
    }
    if (cmd_is(c, i, "MAXAGE")) {
        return cmd_int_within(c, i + 1, 1, INT64_MAX, &filter->max_age_s,
                              "ERR maxage should be greater than 0");
    }
    if (cmd_is(c, i, "TYPE")) {
        return client_kind(c, i + 1, &filter->kind);
    }
    if (cmd_is(c, i, "ADDR")) {
        filter->addr = value;
    } else if (cmd_is(c, i, "LADDR")) {
        filter->laddr = value;
    } else if (cmd_is(c, i, "USER")) {
        filter->other_user = !cmd_is(c, i + 1, "DEFAULT");
        if (filter->other_user) {
            cmd_fail(c, KVSQL_NOTFOUND, "ERR No such user '%s'",
                     kv_text_show(shown, sizeof(shown), value->p,
                                  value->size));
            return false;
        }
    } else if (cmd_is(c, i, "SKIPME")) {
        filter->skip_me = cmd_is(c, i + 1, "YES");
        if (!filter->skip_me && !cmd_is(c, i + 1, "NO")) {
            cmd_fail_syntax(c);
            return false;
        }
    } else {
        cmd_fail_syntax(c);
        return false;
    }
    return true;
}

void cmd_do_client_kill(struct cmd_context *c)
{
    struct client_filter filter = {.skip_me = true};

    if (c->argc == 3) {
        filter = (struct client_filter){.addr = &c->argv[2]};
        if (client_kill(&filter, c->client) == 0) {
            cmd_fail(c, KVSQL_NOTFOUND, "ERR No such client");
        } else {
            cmd_answer_ok(c);
        }
        return;
    }
    if (c->argc % 2 != 0) {
        cmd_fail_syntax(c);
        return;
    }
    for (unsigned i = 2; i < c->argc; i += 2) {
        if (!client_filter_pair(c, i, &filter)) {
            return;
        }
    }
    cmd_reply_int(c->reply, (int64_t)client_kill(&filter, c->client));
}

/* ---- what the connection wants ------------------------------------------ */

/* "ON" or "OFF" behind the subcommand. */
static bool client_switch(struct cmd_context *c, bool *on)
{
    *on = cmd_is(c, 2, "ON");
    if (*on || cmd_is(c, 2, "OFF")) {
        return true;
    }
    cmd_fail_syntax(c);
    return false;
}

void cmd_do_client_no_evict(struct cmd_context *c)
{
    bool on;

    if (client_switch(c, &on)) {
        atomic_store(&c->client->no_evict, on);
        cmd_answer_ok(c);
    }
}

void cmd_do_client_no_touch(struct cmd_context *c)
{
    bool on;

    if (client_switch(c, &on)) {
        atomic_store(&c->client->no_touch, on);
        cmd_answer_ok(c);
    }
}

/* The answers of OFF and SKIP are the first that are not sent. */
void cmd_do_client_reply(struct cmd_context *c)
{
    struct cmd_client *client = c->client;

    if (cmd_is(c, 2, "ON")) {
        client->mute = CMD_MUTE_NO;
    } else if (cmd_is(c, 2, "OFF")) {
        client->mute = CMD_MUTE_ON;
    } else if (cmd_is(c, 2, "SKIP")) {
        if (client->mute != CMD_MUTE_ON) {
            client->mute = CMD_MUTE_NEXT;
        }
    } else {
        cmd_fail_syntax(c);
        return;
    }
    cmd_answer_ok(c);
}

void cmd_do_client_pause(struct cmd_context *c)
{
    int64_t ms;

    if (c->argc > 4 || (c->argc == 4 && !cmd_is(c, 3, "WRITE") &&
                        !cmd_is(c, 3, "ALL"))) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR CLIENT PAUSE mode must be WRITE or ALL");
        return;
    }
    if (!kv_num_int(c->argv[2].p, c->argv[2].size, &ms)) {
        cmd_fail(c, KVSQL_NOTINT,
                 "ERR timeout is not an integer or out of range");
        return;
    }
    if (ms < 0 || ms > INT64_MAX / 1000000 / 2) {
        cmd_fail(c, KVSQL_RANGE,
                 ms < 0 ? "ERR timeout is negative"
                        : "ERR timeout is out of range");
        return;
    }
    cmd_pause_set(kv_os_mono_ns() + (uint64_t)ms * 1000000,
                  c->argc == 3 || cmd_is(c, 3, "ALL"));
    cmd_answer_ok(c);
}

void cmd_do_client_unpause(struct cmd_context *c)
{
    cmd_pause_set(0, false);
    cmd_answer_ok(c);
}

/* False: there is none, or it does not wait. */
static bool client_unblock(uint64_t id, bool error)
{
    bool waits = false;

    cmd_registry_lock();
    for (struct cmd_client *client = cmd_client_first(); client != NULL;
         client = client->next) {
        if (client->id == id && atomic_load(&client->blocked) &&
            !atomic_exchange(&client->unblocking, true)) {
            client->door->unblock(client, error);
            waits = true;
        }
    }
    cmd_registry_unlock();
    return waits;
}

void cmd_do_client_unblock(struct cmd_context *c)
{
    int64_t id;

    if (c->argc > 4 || (c->argc == 4 && !cmd_is(c, 3, "TIMEOUT") &&
                        !cmd_is(c, 3, "ERROR"))) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    } else if (cmd_int(c, 2, &id, NULL)) {
        cmd_reply_int(c->reply, client_unblock((uint64_t)id,
                                               cmd_is(c, 3, "ERROR")));
    }
}

/* Words of newer servers' clients that ask for nothing we would do
 * differently. */
void cmd_do_client_accept(struct cmd_context *c)
{
    cmd_answer_ok(c);
}

void cmd_do_client_help(struct cmd_context *c)
{
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GETNAME, SETNAME <name>",
        "    The name of this connection.",
        "CACHING (YES|NO)",
        "    Whether the next command is tracked, with OPTIN or OPTOUT.",
        "GETREDIR, TRACKINGINFO",
        "    State of tracking.",
        "ID, INFO",
        "    Number, and the line of LIST, of this connection.",
        "KILL <ip:port> | <option> <value> [...]",
        ("    Close connections. Options: ADDR LADDR ID TYPE USER SKIPME "
         "MAXAGE."),
        "LIST [TYPE type | ID id ...]",
        "    A line for each connection.",
        "NO-EVICT (ON|OFF), NO-TOUCH (ON|OFF)",
        "    How this connection is treated.",
        "PAUSE <ms> [WRITE|ALL], UNPAUSE",
        "    Hold commands of all clients.",
        "REPLY (ON|OFF|SKIP)",
        "    Whether replies are sent.",
        "SETINFO (LIB-NAME|LIB-VER) <word>",
        "    Name and version of the client library.",
        ("TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] "
         "[OPTIN] [OPTOUT] [NOLOOP]"),
        "    Tell when a key changes that was read, or that has a prefix.",
        "UNBLOCK <id> [TIMEOUT|ERROR]",
        "    End the waiting of a connection.",
        "HELP",
        "    These lines."};

    cmd_reply_array(c->reply, sizeof(lines) / sizeof(lines[0]));
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        cmd_reply_status(c->reply, lines[i]);
    }
}
