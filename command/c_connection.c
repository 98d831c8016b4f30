/* c_connection.c - what a connection says about itself: HELLO, AUTH, SELECT,
 * QUIT, RESET, MONITOR.
 *
 * Thread: the connection's. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "command/client.h"
#include "command/context.h"
#include "command/track.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/num.h"

#define CONNECTION_VERSION "7.2.4" /* what clients compare */

/* ---- AUTH --------------------------------------------------------------- */

#define CONNECTION_TEXT_WRONGPASS                                             \
    "WRONGPASS invalid username-password pair or user is disabled."

/* True when the password is right; else answered. */
static bool connection_auth(struct cmd_context *c, const kvsql_slice *user,
                            kvsql_slice password)
{
    const int right = cmd_password_check(user, password);

    if (right == 0) {
        cmd_auth_failed(c->client);
        cmd_fail(c, KVSQL_AUTH, CONNECTION_TEXT_WRONGPASS);
        return false;
    }
    if (right < 0 && user == NULL) {
        cmd_fail(c, KVSQL_AUTH,
                 "ERR AUTH <password> called without any password configured "
                 "for the default user. Are you sure your configuration is "
                 "correct?");
        return false;
    }
    atomic_store(&c->client->authenticated, true);
    return true;
}

void cmd_do_auth(struct cmd_context *c)
{
    if (c->argc > 3) {
        cmd_fail_syntax(c);
    } else if (connection_auth(c, c->argc == 3 ? &c->argv[1] : NULL,
                               c->argv[c->argc - 1])) {
        cmd_answer_ok(c);
    }
}

/* ---- HELLO -------------------------------------------------------------- */

/* A name without blanks or control bytes, short enough. */
bool cmd_client_name_ok(kvsql_slice name)
{
    const uint8_t *p = name.p;

    for (size_t i = 0; i < name.size; i++) {
        if (p[i] < '!' || p[i] > '~') {
            return false;
        }
    }
    return name.size <= CMD_CLIENT_NAME_MAX;
}

void cmd_client_name_set(struct cmd_client *client, kvsql_slice name)
{
    cmd_registry_lock();
    if (name.size > 0) {
        memcpy(client->name, name.p, name.size);
    }
    client->name[name.size] = '\0';
    cmd_registry_unlock();
}

struct connection_hello {
    int64_t resp; /* 0 = as it is */
    const kvsql_slice *user, *password, *name;
};

static bool connection_hello_version(struct cmd_context *c,
                                     struct connection_hello *hello)
{
    if (c->argc == 1) {
        return true;
    }
    if (!kv_num_int(c->argv[1].p, c->argv[1].size, &hello->resp)) {
        cmd_fail(c, KVSQL_NOTINT,
                 "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (hello->resp != 2 && hello->resp != 3) {
        cmd_fail(c, KVSQL_INVALID, "NOPROTO unsupported protocol version");
        return false;
    }
    return true;
}

static bool connection_hello_options(struct cmd_context *c,
                                     struct connection_hello *hello)
{
    for (unsigned i = 2; i < c->argc; i++) {
        const unsigned more = c->argc - i - 1;

        if (cmd_is(c, i, "AUTH") && more >= 2) {
            hello->user = &c->argv[i + 1];
            hello->password = &c->argv[i + 2];
            i += 2;
        } else if (cmd_is(c, i, "SETNAME") && more >= 1) {
            hello->name = &c->argv[++i];
            if (!cmd_client_name_ok(*hello->name)) {
                cmd_fail(c, KVSQL_INVALID, CMD_TEXT_CLIENT_NAME);
                return false;
            }
        } else {
            char shown[96];

            cmd_fail(c, KVSQL_SYNTAX, "ERR Syntax error in HELLO option '%s'",
                     kv_text_show(shown, sizeof(shown), c->argv[i].p,
                                  c->argv[i].size));
            return false;
        }
    }
    return true;
}

static void connection_answer_hello(struct cmd_context *c)
{
    struct cmd_reply *reply = c->reply;

    cmd_reply_map(reply, 7);
    cmd_reply_text(reply, "server");
    cmd_reply_text(reply, "redis");
    cmd_reply_text(reply, "version");
    cmd_reply_text(reply, CONNECTION_VERSION);
    cmd_reply_text(reply, "proto");
    cmd_reply_int(reply, c->client->resp);
    cmd_reply_text(reply, "id");
    cmd_reply_int(reply, (int64_t)c->client->id);
    cmd_reply_text(reply, "mode");
    cmd_reply_text(reply, "standalone");
    cmd_reply_text(reply, "role");
    cmd_reply_text(reply, "master");
    cmd_reply_text(reply, "modules");
    cmd_reply_array(reply, 0);
}

/* This reply is the first in the protocol that it tells. */
static void connection_resp(struct cmd_context *c, unsigned resp)
{
    struct cmd_client *client = c->client;

    cmd_reply_speak(c->reply, resp);
    client->resp = (uint8_t)resp;
    atomic_store_explicit(&client->shown_resp, (uint8_t)resp,
                          memory_order_relaxed);
}

void cmd_do_hello(struct cmd_context *c)
{
    struct connection_hello hello = {0};

    if (!connection_hello_version(c, &hello) ||
        !connection_hello_options(c, &hello)) {
        return;
    }
    if (hello.password != NULL &&
        !connection_auth(c, hello.user, *hello.password)) {
        return;
    }
    if (!cmd_client_is_known(c->client)) {
        cmd_fail(c, KVSQL_AUTH,
                 "NOAUTH HELLO must be called with the client already "
                 "authenticated, otherwise the HELLO <proto> AUTH <user> "
                 "<pass> option can be used to authenticate the client and "
                 "select the RESP protocol version at the same time");
        return;
    }
    if (hello.name != NULL) {
        cmd_client_name_set(c->client, *hello.name);
    }
    if (hello.resp != 0) {
        connection_resp(c, (unsigned)hello.resp);
    }
    connection_answer_hello(c);
}

/* ---- SELECT, QUIT, RESET ------------------------------------------------ */

/* A refused SELECT is the first thing that users of `/1` in a URL see; the
 * first one is worth a message. */
static void connection_select_hint(const struct cmd_client *client)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;

    if (!atomic_flag_test_and_set(&told)) {
        kv_diag(KV_WARN, "client.select",
                "addr=%s hint=\"there is one keyspace, number 0: use a key "
                "prefix, and /0 in the URL\"",
                client->addr);
    }
}

void cmd_do_select(struct cmd_context *c)
{
    int64_t index;

    if (!cmd_int_within(c, 1, INT_MIN, INT_MAX, &index, NULL)) {
        return;
    }
    if (index != 0) {
        if (c->client != NULL) {
            connection_select_hint(c->client);
        }
        cmd_fail(c, KVSQL_RANGE, "ERR DB index is out of range");
        return;
    }
    cmd_answer_ok(c);
}

void cmd_do_quit(struct cmd_context *c)
{
    c->client->closing = true;
    cmd_answer_ok(c);
}

void cmd_do_reset(struct cmd_context *c)
{
    struct cmd_client *client = c->client;

    cmd_multi_end(client);
    cmd_watch_end(client);
    cmd_track_stop(client);
    if (client->subscriber != NULL) {
        cmd_subscriber_end(client);
        *c->ticket = CMD_BEHIND_TICKET;
    }
    if (atomic_exchange(&client->monitor, false)) {
        cmd_monitor_change(-1);
    }
    connection_resp(c, 2);
    cmd_client_name_set(client, (kvsql_slice){.p = "", .size = 0});
    if (client->mute != CMD_MUTE_THIS) { /* SKIP is about this one's reply */
        client->mute = CMD_MUTE_NO;
    }
    atomic_store(&client->no_evict, false);
    atomic_store(&client->no_touch, false);
    atomic_store(&client->authenticated,
                 cmd_password_check(NULL, (kvsql_slice){.p = "", .size = 0}) <
                     0);
    cmd_reply_status(c->reply, "RESET");
}

void cmd_do_monitor(struct cmd_context *c)
{
    if (c->client->multi) {
        cmd_fail(c, KVSQL_AUTH,
                 "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    if (!atomic_exchange(&c->client->monitor, true)) {
        cmd_monitor_change(1);
    }
    cmd_answer_ok(c);
}
