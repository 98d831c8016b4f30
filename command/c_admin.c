/* c_admin.c - commands about the server as a whole that are not its options,
 * statistics or users: ROLE, SHUTDOWN, DEBUG, WAIT, and what kvsql answers where
 * Redis has replicas, modules, a cluster or scripts.
 *
 * Thread: the caller's of cmd_run(). */
#include <stdio.h>
#include <string.h>

#include "command/client.h"
#include "command/context.h"
#include "kvsql/admin.h"
#include "kvsql/base/os.h"

/* ---- replicas that are not there ----------------------------------------- */

void cmd_do_role(struct cmd_context *c)
{
    struct kv_info info;

    cmd_info_get(c, &info);
    cmd_reply_array(c->reply, 3);
    cmd_reply_text(c->reply, "master");
    cmd_reply_int(c->reply, (int64_t)info.position);
    cmd_reply_array(c->reply, 0);
}

void cmd_do_replicaof(struct cmd_context *c)
{
    int64_t port;

    if (cmd_is(c, 1, "NO") && cmd_is(c, 2, "ONE")) {
        cmd_answer_ok(c);
    } else if (cmd_int_within(c, 2, 0, UINT16_MAX, &port,
                              "ERR Invalid master port")) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR kvsql does not replicate from Redis; `kvsql import "
                 "--from HOST:PORT` copies its data");
    }
}

void cmd_do_failover(struct cmd_context *c)
{
    unsigned i = 1;
    int64_t number;

    if (c->argc == 2 && cmd_is(c, 1, "ABORT")) {
        cmd_fail(c, KVSQL_INVALID, "ERR No failover in progress.");
        return;
    }
    while (i < c->argc) {
        if (cmd_is(c, i, "TO") && i + 2 < c->argc) {
            if (!cmd_int(c, i + 2, &number, NULL)) {
                return;
            }
            i += 3;
        } else if (cmd_is(c, i, "TIMEOUT") && i + 1 < c->argc) {
            if (!cmd_int(c, i + 1, &number, NULL)) {
                return;
            }
            if (number <= 0) {
                cmd_fail(c, KVSQL_RANGE,
                         "ERR FAILOVER timeout must be greater than 0");
                return;
            }
            i += 2;
        } else if (cmd_is(c, i, "FORCE")) {
            i++;
        } else {
            cmd_fail_syntax(c);
            return;
        }
    }
    cmd_fail(c, KVSQL_INVALID, "ERR FAILOVER requires connected replicas.");
}

/* What opens a replication link: answered once, then the connection goes. */
void cmd_do_sync(struct cmd_context *c)
{
    cmd_fail(c, KVSQL_INVALID,
             "ERR SYNC is not supported; use kvsql snapshot or GET "
             "/v1/snapshots/latest.db");
    if (c->client != NULL) {
        c->client->closing = true;
    }
}

/* ---- waiting for safety --------------------------------------------------- */

/* Longest wait for replicas that cannot come. */
#define ADMIN_WAIT_MAX_MS 5000

static bool admin_timeout(struct cmd_context *c, unsigned index,
                          int64_t *timeout_ms)
{
    if (!cmd_int(c, index, timeout_ms,
                 "ERR timeout is not an integer or out of range")) {
        return false;
    }
    if (*timeout_ms < 0) {
        cmd_fail(c, KVSQL_RANGE, "ERR timeout is negative");
        return false;
    }
    return true;
}

/* There are no replicas, so a wait for some ends with the timeout. */
static void admin_wait_replicas(const struct cmd_context *c, int64_t replicas,
                                int64_t timeout_ms)
{
    if (replicas > 0 && c->txn == NULL) {
        kv_os_sleep_ms(timeout_ms == 0 || timeout_ms > ADMIN_WAIT_MAX_MS
                           ? ADMIN_WAIT_MAX_MS
                           : (uint64_t)timeout_ms);
    }
}

void cmd_do_wait(struct cmd_context *c)
{
    int64_t replicas, timeout_ms;

    if (cmd_int(c, 1, &replicas, NULL) && admin_timeout(c, 2, &timeout_ms)) {
        admin_wait_replicas(c, replicas, timeout_ms);
        cmd_reply_int(c->reply, 0);
    }
}

/* Is what this connection wrote last (without one: everything so far) on the
 * disk? Outside a batch the log thread is asked for it. */
static bool admin_durable(struct cmd_context *c)
{
    struct kv_info info;
    uint64_t position;

    cmd_info_get(c, &info);
    position = c->client != NULL ? c->client->last_write.position
                                 : info.position;
    if (info.durable >= position) {
        return true;
    }
    return c->txn == NULL && kv_sync(c->db, position, &c->err) == KVSQL_OK;
}

void cmd_do_waitaof(struct cmd_context *c)
{
    int64_t local, replicas, timeout_ms;
    struct kv_info info;
    bool durable;

    if (!cmd_int_within(c, 1, 0, 1, &local, NULL) ||
        !cmd_int_within(c, 2, 0, INT64_MAX, &replicas, NULL) ||
        !admin_timeout(c, 3, &timeout_ms)) {
        return;
    }
    cmd_info_get(c, &info);
    if (local > 0 && info.dir[0] == '\0') {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR WAITAOF cannot be used when numlocal is set but "
                 "appendonly is disabled.");
        return;
    }
    durable = info.dir[0] != '\0' && admin_durable(c);
    admin_wait_replicas(c, replicas, timeout_ms);
    cmd_reply_array(c->reply, 2);
    cmd_reply_int(c->reply, durable);
    cmd_reply_int(c->reply, 0);
}

/* ---- SHUTDOWN ------------------------------------------------------------ */

/* Stops in order. NOW and FORCE ask for what is always so: nothing waits for
 * replicas, and the wal has what a failed snapshot lacks. */
void cmd_do_shutdown(struct cmd_context *c)
{
    const struct cmd_host *host = cmd_host_get();
    bool save = false, nosave = false, abort = false, other = false;

    for (unsigned i = 1; i < c->argc; i++) {
        if (cmd_is(c, i, "SAVE")) {
            save = true;
        } else if (cmd_is(c, i, "NOSAVE")) {
            nosave = true;
        } else if (cmd_is(c, i, "ABORT")) {
            abort = true;
        } else if (cmd_is(c, i, "NOW") || cmd_is(c, i, "FORCE")) {
            other = true;
        } else {
            cmd_fail_syntax(c);
            return;
        }
    }
    if ((save && nosave) || (abort && (save || nosave || other))) {
        cmd_fail_syntax(c);
    } else if (abort) {
        cmd_fail(c, KVSQL_INVALID, "ERR No shutdown in progress.");
    } else if (host->shutdown == NULL) {
        cmd_fail(c, KVSQL_INVALID, "ERR this program does not stop on demand");
    } else if (cmd_ok(c, host->shutdown(host->shutdown_arg, save, &c->err))) {
        cmd_answer_ok(c);
        if (c->client != NULL) { /* as Redis: the end is the answer */
            c->client->mute = CMD_MUTE_ON;
            c->client->closing = true;
        }
    }
}

void cmd_do_bgrewriteaof(struct cmd_context *c)
{
    const kvsql_rc rc = kv_snapshot_start(c->db, &c->err);

    if (rc == KVSQL_BUSY) {
        cmd_fail(c, rc,
                 "ERR Background append only file rewriting already in "
                 "progress");
    } else if (cmd_ok(c, rc)) {
        cmd_reply_status(c->reply,
                         "Background append only file rewriting started");
    }
}

/* ---- one keyspace, no modules, no cluster, no scripts ---------------------- */

void cmd_do_swapdb(struct cmd_context *c)
{
    int64_t first, second;

    if (!cmd_int(c, 1, &first, "ERR invalid first DB index") ||
        !cmd_int(c, 2, &second, "ERR invalid second DB index")) {
        return;
    }
    if (first != 0 || second != 0) {
        cmd_fail(c, KVSQL_RANGE, "ERR DB index is out of range");
    } else {
        cmd_answer_ok(c);
    }
}

void cmd_do_module_list(struct cmd_context *c)
{
    cmd_reply_array(c->reply, 0);
}

void cmd_do_cluster(struct cmd_context *c)
{
    cmd_fail(c, KVSQL_INVALID,
             "ERR This instance has cluster support disabled");
}

void cmd_do_script_exists(struct cmd_context *c)
{
    cmd_reply_array(c->reply, c->argc - 2);
    for (unsigned i = 2; i < c->argc; i++) {
        cmd_reply_int(c->reply, 0);
    }
}

static void admin_flush(struct cmd_context *c, const char *why)
{
    if (c->argc > 3 ||
        (c->argc == 3 && !cmd_is(c, 2, "SYNC") && !cmd_is(c, 2, "ASYNC"))) {
        cmd_fail(c, KVSQL_SYNTAX, "%s", why);
    } else {
        cmd_answer_ok(c);
    }
}

void cmd_do_script_flush(struct cmd_context *c)
{
    admin_flush(c, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
}

void cmd_do_function_flush(struct cmd_context *c)
{
    admin_flush(c, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
}

void cmd_do_lolwut(struct cmd_context *c)
{
    static const char art[] = "   _                   _\n"
                              "  | | ____   _____  ___| |\n"
                              "  | |/ /\\ \\ / / __|/ _ | |\n"
                              "  |   <  \\ V /\\__ \\ (_)| |\n"
                              "  |_|\\_\\  \\_/ |___/\\__, |_|\n"
                              "                      |_|\n"
                              "kvsql ver. " KVSQL_VERSION "\n";
    int64_t version;

    if (c->argc > 2 && cmd_is(c, 1, "VERSION") &&
        !cmd_int(c, 2, &version, NULL)) {
        return;
    }
    cmd_reply_verbatim(c->reply, art, sizeof(art) - 1);
}

/* ---- DEBUG --------------------------------------------------------------- */

#define ADMIN_SLEEP_MAX_S 3600.0

static bool admin_is_local(const struct cmd_client *client)
{
    return client != NULL && (strncmp(client->addr, "127.", 4) == 0 ||
                              strncmp(client->addr, "[::1]", 5) == 0 ||
                              strncmp(client->addr, "::1", 3) == 0 ||
                              client->addr[0] == '/');
}

/* Only this connection sleeps: the others go on. */
static void admin_debug_sleep(struct cmd_context *c)
{
    double seconds;

    if (!cmd_double(c, 2, &seconds, NULL)) {
        return;
    }
    if (!(seconds >= 0 && seconds <= ADMIN_SLEEP_MAX_S)) {
        cmd_fail(c, KVSQL_RANGE, "ERR a sleep is 0 to %.0f seconds",
                 ADMIN_SLEEP_MAX_S);
        return;
    }
    kv_os_sleep_ms((uint64_t)(seconds * 1000));
    cmd_answer_ok(c);
}

static void admin_debug_object(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 2);
    struct kv_view *view;
    struct kv_item item;
    struct kv_at at;
    char line[256];

    if (!cmd_ok(c, kv_pin(c->db, &view, &c->err))) {
        return;
    }
    kv_at_view(view, &at);
    if (!kv_get(&at, &key, &item)) {
        cmd_fail(c, KVSQL_NOTFOUND, "ERR no such key");
    } else {
        (void)snprintf(line, sizeof(line),
                       "Value at:0x0 refcount:1 encoding:%s "
                       "serializedlength:%llu lru:0 lru_seconds_idle:0",
                       kv_item_encoding(&item),
                       (unsigned long long)kv_item_memory(&item, key.size));
        cmd_reply_status(c->reply, line);
    }
    kv_unpin(view);
}

/* What tests of clients set and what has no meaning here. */
static bool admin_debug_nothing(const struct cmd_context *c)
{
    static const char *const names[] = {
        "SET-ACTIVE-EXPIRE", "JMAP", "SET-DISABLE-DENY-SCRIPTS",
        "QUICKLIST-PACKED-THRESHOLD", "REPLYBUFFER", "DICT-RESIZING",
        "PAUSE-CRON", "STRINGMATCH-LEN", "CHANGE-REPL-ID"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (cmd_is(c, 1, names[i])) {
            return true;
        }
    }
    return false;
}

static void admin_debug_help(struct cmd_context *c)
{
    static const char *const lines[] = {
        "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "OBJECT <key>", "    Shows how the value of a key is kept.",
        "SLEEP <seconds>", "    This connection waits; others do not.",
        "SET-ACTIVE-EXPIRE <0|1>", "    Changes nothing.",
        "HELP", "    Prints this help."};
    const unsigned count = sizeof(lines) / sizeof(lines[0]);

    cmd_reply_array(c->reply, count);
    for (unsigned i = 0; i < count; i++) {
        cmd_reply_status(c->reply, lines[i]);
    }
}

void cmd_do_debug(struct cmd_context *c)
{
    const enum cmd_debug allowed = cmd_host_get()->debug;

    if (allowed == CMD_DEBUG_NO ||
        (allowed == CMD_DEBUG_LOCAL && !admin_is_local(c->client))) {
        cmd_fail(c, KVSQL_AUTH,
                 "ERR DEBUG command not allowed. If the enable-debug-command "
                 "option is set to \"local\", you can run it from a local "
                 "connection, otherwise you need to set this option in the "
                 "configuration file, and then restart the server.");
    } else if (cmd_is(c, 1, "SLEEP") && c->argc == 3) {
        admin_debug_sleep(c);
    } else if (cmd_is(c, 1, "OBJECT") && c->argc == 3) {
        admin_debug_object(c);
    } else if (cmd_is(c, 1, "HELP") && c->argc == 2) {
        admin_debug_help(c);
    } else if (admin_debug_nothing(c)) {
        cmd_answer_ok(c);
    } else {
        cmd_fail(c, KVSQL_UNKNOWN,
                 "ERR unknown subcommand or wrong number of arguments for "
                 "'%.*s'. Try DEBUG HELP.",
                 (int)(c->argv[1].size < 128 ? c->argv[1].size : 128),
                 (const char *)c->argv[1].p);
    }
}
