/* test_client.c - connections as commands see them: transactions, watches,
 * names, pauses, replies in both protocols; commands are typed as lines. */
#include "command/client.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "command/context.h"
#include "command/track_private.h"
#include "kvsql/admin.h"
#include "kvsql/store.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/unit.h"
#include "vtab/session.h"

static struct fakeos *fake;
static kvsql *db;
static struct cmd_client one, two;
static struct vt_session *session;
static struct cmd_reply reply;
static struct kv_ticket ticket;
static struct kv_buf line_buf, out, pushed;
static struct kvsql_error err;
static kvsql_slice args[CMD_LINE_ARGS_MAX];
static unsigned args_count;
static const struct cmd_client *killed;
/* What a client was told of keys since it was asked, with `|` for CR LF. */
static struct kv_buf told_one, told_two;

static void door_kill(struct cmd_client *client)
{
    killed = client;
}

static void door_push(struct cmd_client *client, const struct cmd_push *push)
{
    if (push->resp == 0) {
        kv_buf_add(&pushed, push->p, push->size);
        return;
    }
    ck_assert_uint_gt(push->position, 0);
    for (size_t i = 0; i < push->size; i++) {
        const char ch = ((const char *)push->p)[i];

        if (ch != '\r') {
            kv_buf_byte(client == &one ? &told_one : &told_two,
                        ch == '\n' ? '|' : (uint8_t)ch);
        }
    }
}

static void door_facts(struct cmd_client *client,
                       struct cmd_client_facts *facts)
{
    (void)client;
    *facts = (struct cmd_client_facts){.query_size = 7};
}

static const struct cmd_door door = {
    .kill = door_kill, .push = door_push, .facts = door_facts};

static void client_new(struct cmd_client *client, const char *addr)
{
    memset(client, 0, sizeof(*client));
    (void)snprintf(client->addr, sizeof(client->addr), "%s", addr);
    (void)snprintf(client->laddr, sizeof(client->laddr), "127.0.0.1:6379");
    cmd_client_open(client, &door);
}

static void setup(void)
{
    const struct kvsql_options options = {.no_keeper = true};

    fake = fakeos_new(1);
    ck_assert_int_eq(kv_open_os("", &options, fakeos_os(fake), NULL, NULL, &db,
                                &err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(vt_session_open(db, &(struct vt_limits){0}, &session,
                                     &err),
                     KVSQL_OK);
    kv_buf_init(&line_buf, KV_MEM_MISC, 1 << 20);
    kv_buf_init(&out, KV_MEM_MISC, 64 << 20);
    kv_buf_init(&pushed, KV_MEM_MISC, 1 << 20);
    kv_buf_init(&told_one, KV_MEM_MISC, 8 << 20);
    kv_buf_init(&told_two, KV_MEM_MISC, 8 << 20);
    client_new(&one, "127.0.0.1:1");
    client_new(&two, "127.0.0.1:2");
    killed = NULL;
}

static void teardown(void)
{
    cmd_client_close(&one);
    cmd_client_close(&two);
    cmd_password_set(NULL);
    cmd_pause_set(0, false);
    vt_session_close(session);
    kv_buf_fini(&line_buf);
    kv_buf_fini(&out);
    kv_buf_fini(&pushed);
    kv_buf_fini(&told_one);
    kv_buf_fini(&told_two);
    cmd_track_limit(1000000);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    fakeos_free(fake);
}

/* What stands in the output before each reply. */
#define BEFORE "+before\r\n"

/* The next command's n-th allocation fails; 0 is none. */
static unsigned fail_at;

static enum cmd_next run(struct cmd_client *client, const char *line)
{
    enum cmd_next next;

    ck_assert_int_eq(cmd_split(line, strlen(line), &line_buf, args,
                               &args_count, &err),
                     KVSQL_OK);
    kv_buf_reset(&out, out.cap);
    kv_buf_text(&out, BEFORE);
    cmd_reply_init_resp(&reply, &out, client->resp);
    kv_mem_fail_at(fail_at, 0);
    fail_at = 0;
    next = cmd_client_run(client, db, NULL, args_count, args, &reply, &ticket);
    if (next != CMD_DONE) {
        ck_assert_uint_eq(out.size, strlen(BEFORE)); /* CL1 */
    }
    if (next == CMD_WORK) {
        cmd_client_work(client, db, session, args_count, args, &reply,
                        &ticket, NULL);
        next = CMD_DONE;
    }
    return next;
}

/* The answer that stands in `out`, with `|` for CR LF. */
static const char *answered(void)
{
    static char text[8192];
    size_t n = 0;

    ck_assert(cmd_reply_finish(&reply));
    ck_assert_mem_eq(out.p, BEFORE, strlen(BEFORE));
    for (size_t i = strlen(BEFORE); i < out.size && n + 1 < sizeof(text); i++) {
        if (out.p[i] == '\r') {
            continue;
        }
        text[n++] = out.p[i] == '\n' ? '|' : (char)out.p[i];
    }
    text[n] = '\0';
    return text;
}

/* The answer in the client's protocol. */
static const char *ask(struct cmd_client *client, const char *line)
{
    ck_assert_int_eq(run(client, line), CMD_DONE);
    return answered();
}
#define says(client, line, answer) ck_assert_str_eq(ask(client, line), answer)

/* ---- transactions -------------------------------------------------------- */

START_TEST(commands_behind_multi_run_together)
{
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "INCR a", "+QUEUED|");
    says(&two, "GET a", "$-1|");
    says(&one, "EXEC", "*2|+OK|:2|");
    says(&two, "GET a", "$1|2|");
    says(&one, "EXEC", "-ERR EXEC without MULTI|");
    says(&one, "DISCARD", "-ERR DISCARD without MULTI|");
}
END_TEST

START_TEST(a_command_that_fails_undoes_nothing_but_itself)
{
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a x", "+QUEUED|");
    says(&one, "INCR a", "+QUEUED|");
    says(&one, "SET b y", "+QUEUED|");
    says(&one, "EXEC",
         "*3|+OK|-ERR value is not an integer or out of range|+OK|");
    says(&one, "MGET a b", "*2|$1|x|$1|y|");
}
END_TEST

START_TEST(multi_rollback_is_all_or_nothing)
{
    says(&one, "MULTI ROLLBACK", "+OK|");
    says(&one, "SET a x", "+QUEUED|");
    says(&one, "INCR a", "+QUEUED|");
    says(&one, "EXEC",
         "-EXECABORT Transaction rolled back because of command 2: ERR value "
         "is not an integer or out of range|");
    says(&one, "EXISTS a", ":0|");
    says(&one, "MULTI ROLLBACK", "+OK|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "INCR a", "+QUEUED|");
    says(&one, "EXEC", "*2|+OK|:2|");
}
END_TEST

/* Long enough for the output to grow with it. */
#define LONG_VALUE                                                            \
    "0123456789012345678901234567890123456789012345678901234567890123456789"

/* Whether the answer is whole: one line of an error, or two values. */
static bool is_exec_of_two(const char *answer)
{
    const size_t size = strlen(answer);

    if (answer[0] == '-') {
        return strchr(answer, '|') == answer + size - 1;
    }
    return strncmp(answer, "*2|", 3) == 0 &&
           (strcmp(answer + 3, "+OK|$70|" LONG_VALUE "|") == 0 ||
            strstr(answer + 3, "-OOM ") != NULL);
}

START_TEST(without_memory_exec_is_still_one_answer)
{
    for (unsigned n = 1;; n++) {
        const char *answer;
        bool failed;

        says(&one, "DEL a", strcmp(ask(&two, "EXISTS a"), ":1|") == 0
                                ? ":1|"
                                : ":0|");
        says(&one, "MULTI", "+OK|");
        says(&one, "SET a " LONG_VALUE, "+QUEUED|");
        says(&one, "GET a", "+QUEUED|");
        kv_buf_fini(&out); /* it must grow */
        fail_at = n;
        (void)run(&one, "EXEC");
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        answer = answered();
        ck_assert_msg(is_exec_of_two(answer), "%s", answer);
        if (!failed) {
            ck_assert_str_eq(answer, "*2|+OK|$70|" LONG_VALUE "|");
            return;
        }
        if (answer[0] == '-') {
            says(&two, "EXISTS a", ":0|");
        }
    }
}
END_TEST

START_TEST(an_error_before_exec_discards_it)
{
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a", "-ERR wrong number of arguments for 'set' command|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "EXEC", "-EXECABORT Transaction discarded because of previous "
                       "errors.|");
    says(&one, "EXISTS a", ":0|");
    says(&one, "MULTI", "+OK|");
    says(&one, "MULTI", "-ERR MULTI calls can not be nested|");
    says(&one, "WATCH a", "-ERR WATCH inside MULTI is not allowed|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "DISCARD", "+OK|");
    says(&one, "EXISTS a", ":0|");
}
END_TEST

START_TEST(a_watched_key_that_changes_stops_exec)
{
    says(&one, "SET a 1", "+OK|");
    says(&one, "WATCH a nothing", "+OK|");
    says(&two, "SET a 2", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a 3", "+QUEUED|");
    says(&one, "EXEC", "*-1|");
    says(&one, "GET a", "$1|2|");

    says(&one, "WATCH nothing", "+OK|");
    says(&two, "SET nothing 1", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*-1|");

    says(&one, "WATCH a", "+OK|");
    says(&two, "GET a", "$1|2|");
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*0|");

    says(&one, "WATCH a", "+OK|");
    says(&two, "SET a 9", "+OK|");
    says(&one, "UNWATCH", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*0|");
}
END_TEST

START_TEST(what_leaves_a_watched_key_as_it_is_may_stop_exec)
{
    static const char *const lines[] = {"APPEND s \"\"", "LTRIM l 0 -1",
                                        "SET none v PXAT 1",
                                        "MSETEX 1 none v EXAT 1"};

    says(&one, "SET s v EX 100", "+OK|");
    says(&one, "RPUSH l a b", ":2|");
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        says(&one, "WATCH s l none", "+OK|");
        (void)ask(&two, lines[i]);
        says(&one, "MULTI", "+OK|");
        says(&one, "EXEC", "*-1|");
    }
    says(&one, "GET s", "$1|v|");
    says(&one, "TTL s", ":100|");
    says(&one, "LRANGE l 0 -1", "*2|$1|a|$1|b|");
    says(&one, "EXISTS none", ":0|");
}
END_TEST

/* The answer tells of a change that the log may not have yet. */
START_TEST(an_exec_that_did_nothing_waits_for_what_it_saw)
{
    static const char *const second[] = {"PING", "SQL \"SELECT 1\""};
    struct kv_info info;

    for (unsigned i = 0; i < 2; i++) {
        says(&one, "WATCH a", "+OK|");
        says(&two, "SET a x", "+OK|");
        kv_info_get(db, &info);
        says(&one, "MULTI", "+OK|");
        says(&one, second[i], "+QUEUED|");
        says(&one, "EXEC", "*-1|");
        ck_assert_uint_eq(ticket.position, info.position);
        ck_assert_uint_eq(ticket.epoch, info.epoch);
        says(&one, "MULTI ROLLBACK", "+OK|");
        says(&one, second[i], "+QUEUED|");
        says(&one, "SET b 1", "+QUEUED|");
        says(&one, "INCR a", "+QUEUED|");
        ck_assert(strncmp(ask(&one, "EXEC"), "-EXECABORT", 10) == 0);
        ck_assert_uint_eq(ticket.position, info.position);
        ck_assert_uint_eq(ticket.epoch, info.epoch);
    }
}
END_TEST

START_TEST(a_watched_key_that_expires_counts_as_changed)
{
    says(&one, "SET a 1 PX 50", "+OK|");
    says(&one, "WATCH a", "+OK|");
    fakeos_advance(fake, 100);
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*-1|");
}
END_TEST

/* Whatever is done to the absent key `a` by others, it is absent at the end:
 * does EXEC run? */
static void absent_is(const char *const *lines, const char *answer)
{
    says(&one, "WATCH other a", "+OK|");
    for (unsigned i = 0; lines[i] != NULL; i++) {
        (void)ask(&two, lines[i]);
    }
    says(&two, "EXISTS a", ":0|");
    says(&one, "MULTI", "+OK|");
    ck_assert_str_eq(ask(&one, "EXEC"), answer);
    (void)ask(&two, "FLUSHALL");
}

START_TEST(a_watched_key_that_came_and_went_counts_as_changed)
{
    static const char *const changed[][6] = {
        {"SET a 1", "DEL a"},
        {"HSET a f v", "HDEL a f"},
        {"SADD a m", "SPOP a"},
        {"RPUSH a x", "LPOP a"},
        {"ZADD a 1 m", "ZPOPMIN a"},
        {"SET b 1", "RENAME b a", "RENAME a b"},
        {"SET b 1", "COPY b a", "DEL a"},
        {"SET a 1", "FLUSHALL"},
        {"MULTI", "SET a 1", "DEL a", "EXEC"},
        {"SET a 1", "EXPIRE a 0"},
        {"SQL \"INSERT INTO strings(key, value) VALUES('a', 1)\"",
         "SQL \"DELETE FROM keys WHERE key = 'a'\""}};
    static const char *const same[][6] = {
        {"GET a"},
        {"DEL a"},
        {"FLUSHALL"},
        {"SET b 1", "DEL b"},
        {"LPUSHX a 1"},
        {"MULTI ROLLBACK", "SET a 1", "INCR a", "LPUSH a x", "EXEC"}};

    for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++) {
        absent_is(changed[i], "*-1|");
    }
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        absent_is(same[i], "*0|");
    }
}
END_TEST

START_TEST(a_watched_key_that_came_and_expired_counts_as_changed)
{
    says(&one, "WATCH a", "+OK|");
    says(&two, "SET a 1 PX 50", "+OK|");
    fakeos_advance(fake, 100);
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*-1|");
    /* it is there no more, though nobody has removed it */
    says(&one, "WATCH a", "+OK|");
    (void)kv_store_tick(kv_db_store(db));
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*0|");
    /* nor are its fields */
    says(&two, "HSET a f v g w", ":2|");
    says(&two, "HPEXPIRE a 50 FIELDS 2 f g", "*2|:1|:1|");
    fakeos_advance(fake, 100);
    says(&one, "WATCH a", "+OK|");
    (void)kv_store_tick(kv_db_store(db));
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*0|");
    /* ... and whoever makes it anew removes it first */
    says(&two, "RPUSH a 1", ":1|");
    says(&two, "PEXPIRE a 50", ":1|");
    fakeos_advance(fake, 100);
    says(&one, "WATCH a", "+OK|");
    says(&two, "RPUSH a 2", ":1|");
    says(&two, "DEL a", ":1|");
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*-1|");
}
END_TEST

START_TEST(a_watch_that_has_ended_is_told_nothing)
{
    says(&one, "WATCH a b", "+OK|");
    says(&two, "WATCH b", "+OK|");
    says(&one, "UNWATCH", "+OK|");
    says(&one, "SET a 1", "+OK|");
    says(&one, "SET b 1", "+OK|");
    says(&one, "DEL a b", ":2|");
    says(&one, "WATCH a", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*0|");
    says(&two, "MULTI", "+OK|");
    says(&two, "EXEC", "*-1|");
    ck_assert_uint_eq(one.watch_absent + two.watch_absent, 0);
}
END_TEST

START_TEST(without_memory_an_absent_key_is_watched_or_watch_fails)
{
    for (unsigned n = 1;; n++) {
        bool failed;

        says(&one, "UNWATCH", "+OK|");
        fail_at = n;
        (void)run(&one, "WATCH a");
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        if (answered()[0] != '+') {
            ck_assert_uint_eq(one.watch_absent, 0);
        } else {
            says(&two, "SET a 1", "+OK|");
            says(&two, "DEL a", ":1|");
            says(&one, "MULTI", "+OK|");
            says(&one, "EXEC", "*-1|");
        }
        if (!failed) {
            return;
        }
    }
}
END_TEST

/* ---- tracking ------------------------------------------------------------ */

static const char *told(struct kv_buf *buf)
{
    static char text[2048];

    ck_assert_uint_lt(buf->size, sizeof(text));
    if (buf->size > 0) {
        memcpy(text, buf->p, buf->size);
    }
    text[buf->size] = '\0';
    kv_buf_reset(buf, 0);
    return text;
}

#define TOLD(keys) ">2|$10|invalidate|" keys
#define TOLD_A TOLD("*1|$1|a|")
#define hears(buf, what) ck_assert_str_eq(told(&(buf)), what)

static void tracking(struct cmd_client *client, const char *line)
{
    (void)ask(client, "HELLO 3");
    says(client, line, "+OK|");
}

START_TEST(a_client_is_told_once_of_a_key_that_it_read)
{
    tracking(&one, "CLIENT TRACKING ON");
    says(&two, "SET a 1", "+OK|");
    hears(told_one, "");
    says(&one, "GET a", "$1|1|");
    says(&one, "GET a", "$1|1|");
    says(&two, "SET b 2", "+OK|");
    hears(told_one, "");
    says(&two, "SET a 2", "+OK|");
    hears(told_one, TOLD_A);
    says(&two, "SET a 3", "+OK|");
    hears(told_one, "");
    says(&one, "MGET a none", "*2|$1|3|_|");
    says(&one, "SET none 1", "+OK|");
    hears(told_one, TOLD("*1|$4|none|"));
    says(&two, "FLUSHALL", "+OK|");
    hears(told_one, TOLD("_|"));
    hears(told_two, "");
    says(&one, "GET a", "_|");
    says(&one, "CLIENT TRACKING OFF", "+OK|");
    says(&two, "SET a 1", "+OK|");
    hears(told_one, "");
}
END_TEST

/* Each line changes `a` once more; the first reads are of different types. */
START_TEST(a_client_is_told_whatever_way_a_change_came)
{
    static const char *const lines[][2] = {
        {"GET a", "SET a 1"},
        {"STRLEN a", "APPEND a x"},
        {"TTL a", "PEXPIRE a 100000"},
        {"TTL a", "PERSIST a"},
        {"EXISTS a", "RENAME a b"},
        {"TYPE a", "COPY b a"},
        {"GET a", "GETDEL a"},
        {"HGET a f", "HSET a f v"},
        {"HGETALL a", "HDEL a f"},
        {"SINTERCARD 2 a b", "SADD a m"},
        {"ZUNION 2 c a", "SPOP a"},
        {"SORT_RO a", "RPUSH a 1 2 3"},
        {"LRANGE a 0 -1", "LREM a 0 2"},
        {"LLEN a", "DEL a"},
        {"ZRANGE a 0 -1", "ZADD a 1 m"},
        {"ZCARD a", "ZREMRANGEBYRANK a 0 0"},
        {"GET a", "SQL \"INSERT INTO strings(key, value) VALUES('a', 1)\""},
        {"GET a", "SQL \"UPDATE strings SET value = 2 WHERE key = 'a'\""},
        {"GET a", "SQL \"DELETE FROM keys WHERE key = 'a'\""}};

    tracking(&one, "CLIENT TRACKING ON");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        (void)ask(&one, lines[i][0]);
        hears(told_one, "");
        (void)ask(&two, lines[i][1]);
        ck_assert_msg(strcmp(told(&told_one), TOLD_A) == 0, "%s", lines[i][1]);
    }
}
END_TEST

START_TEST(a_batch_is_told_of_when_it_is_done)
{
    tracking(&one, "CLIENT TRACKING ON");
    (void)ask(&one, "MGET a b c");
    says(&two, "MULTI", "+OK|");
    says(&two, "RPUSH a 1 2 3", "+QUEUED|");
    says(&two, "SET b 1", "+QUEUED|");
    says(&two, "DEL a", "+QUEUED|");
    hears(told_one, "");
    says(&two, "EXEC", "*3|:3|+OK|:1|");
    hears(told_one, TOLD_A TOLD("*1|$1|b|"));
    says(&two, "MULTI ROLLBACK", "+OK|");
    says(&two, "SET c 1", "+QUEUED|");
    says(&two, "LPUSH c 1", "+QUEUED|");
    ck_assert(strncmp(ask(&two, "EXEC"), "-EXECABORT", 10) == 0);
    hears(told_one, "");
    says(&one, "MULTI", "+OK|");
    says(&one, "GET a", "+QUEUED|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "EXEC", "*2|_|+OK|");
    hears(told_one, TOLD_A);
}
END_TEST

START_TEST(a_client_is_told_of_keys_that_expire_or_are_evicted)
{
    struct kv_info info;

    tracking(&one, "CLIENT TRACKING ON NOLOOP");
    says(&one, "SET a 1 PX 50", "+OK|");
    says(&one, "GET a", "$1|1|");
    fakeos_advance(fake, 100);
    (void)kv_store_tick(kv_db_store(db));
    hears(told_one, TOLD_A);
    says(&one, "SET a 1", "+OK|");
    says(&one, "GET a", "$1|1|");
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_RANDOM, 0);
    kv_info_get(db, &info);
    kv_set_maxmemory(db, info.memory_data / 2);
    (void)ask(&one, "SET b 1"); /* its own command, but not its own doing */
    hears(told_one, TOLD_A);
    kv_set_maxmemory(db, 0);
}
END_TEST

START_TEST(noloop_is_about_what_a_client_does_itself)
{
    tracking(&one, "CLIENT TRACKING ON NOLOOP");
    tracking(&two, "CLIENT TRACKING ON");
    (void)ask(&one, "GET a");
    (void)ask(&two, "GET a");
    says(&one, "SET a 1", "+OK|");
    hears(told_one, "");
    hears(told_two, TOLD_A);
    says(&two, "SET a 1", "+OK|"); /* the first change took it out */
    hears(told_one, "");
    (void)ask(&one, "GET a");
    says(&two, "SET a 1", "+OK|");
    hears(told_one, TOLD_A);
    hears(told_two, "");
}
END_TEST

START_TEST(what_a_transaction_reads_behind_its_change_is_tracked)
{
    tracking(&one, "CLIENT TRACKING ON NOLOOP");
    tracking(&two, "CLIENT TRACKING ON");
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "GET a", "+QUEUED|");
    says(&one, "EXEC", "*2|+OK|$1|1|");
    says(&two, "MULTI", "+OK|");
    says(&two, "SET a 2", "+QUEUED|");
    says(&two, "GET a", "+QUEUED|");
    says(&two, "EXEC", "*2|+OK|$1|2|");
    hears(told_one, TOLD_A);
    hears(told_two, "");
    says(&one, "SET a 3", "+OK|");
    hears(told_one, "");
    hears(told_two, TOLD_A);
}
END_TEST

START_TEST(optin_and_optout_choose_the_commands_that_are_tracked)
{
    tracking(&one, "CLIENT TRACKING ON OPTIN");
    says(&one, "GET a", "_|");
    says(&two, "SET a 1", "+OK|");
    hears(told_one, "");
    says(&one, "CLIENT CACHING YES", "+OK|");
    says(&one, "CLIENT TRACKINGINFO",
         "%3|$5|flags|~3|$2|on|$5|optin|$11|caching-yes|$8|redirect|:0|"
         "$8|prefixes|*0|");
    says(&one, "MULTI", "+OK|");
    says(&one, "GET a", "+QUEUED|");
    says(&one, "GET b", "+QUEUED|");
    says(&one, "EXEC", "*2|$1|1|_|");
    says(&one, "GET c", "_|");
    says(&two, "MSET a 1 b 1 c 1", "+OK|");
    hears(told_one, TOLD_A TOLD("*1|$1|b|"));
    says(&one, "CLIENT CACHING NO",
         "-ERR CLIENT CACHING NO is only valid when tracking is enabled in "
         "OPTOUT mode.|");
    says(&one, "CLIENT TRACKING OFF", "+OK|");
    says(&one, "CLIENT TRACKING ON OPTOUT", "+OK|");
    says(&one, "CLIENT CACHING NO", "+OK|");
    says(&one, "GET a", "$1|1|");
    says(&one, "GET b", "$1|1|");
    says(&two, "MSET a 1 b 1", "+OK|");
    hears(told_one, TOLD("*1|$1|b|"));
}
END_TEST

START_TEST(bcast_tells_of_every_key_with_a_prefix)
{
    tracking(&one, "CLIENT TRACKING ON BCAST PREFIX u: PREFIX b NOLOOP");
    says(&two, "MSET u:2 1 x 1 u:1 1 b 1 u:2 2", "+OK|");
    hears(told_one, TOLD("*1|$1|b|") TOLD("*2|$3|u:1|$3|u:2|"));
    says(&two, "MULTI", "+OK|");
    says(&two, "SADD u:3 1 2 3", "+QUEUED|");
    says(&two, "RENAME u:3 u:4", "+QUEUED|");
    says(&two, "EXEC", "*2|:3|+OK|");
    hears(told_one, TOLD("*2|$3|u:3|$3|u:4|"));
    says(&one, "SET u:1 1", "+OK|");
    hears(told_one, "");
    says(&one, "CLIENT TRACKINGINFO",
         "%3|$5|flags|~3|$2|on|$5|bcast|$6|noloop|$8|redirect|:0|"
         "$8|prefixes|*2|$1|b|$2|u:|");
    says(&one, "CLIENT TRACKING ON BCAST PREFIX u",
         "-ERR Prefix 'u' overlaps with an existing prefix 'u:'. Prefixes for "
         "a single client must not overlap.|");
    says(&one, "CLIENT TRACKING ON BCAST PREFIX v PREFIX vv",
         "-ERR Prefix 'v' overlaps with another provided prefix 'vv'. "
         "Prefixes for a single client must not overlap.|");
    ck_assert_uint_eq(cmd_track_totals_get().prefixes, 2);
    tracking(&two, "CLIENT TRACKING ON BCAST");
    says(&one, "SET u:1 1", "+OK|");
    hears(told_one, "");
    hears(told_two, TOLD("*1|$3|u:1|"));
    says(&one, "CLIENT TRACKING OFF", "+OK|");
    ck_assert_uint_eq(cmd_track_totals_get().prefixes, 1);
}
END_TEST

START_TEST(a_batch_that_is_too_long_to_list_is_all_keys)
{
    tracking(&one, "CLIENT TRACKING ON BCAST PREFIX u");
    says(&two,
         "SQL \"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n "
         "WHERE i < 16384) INSERT INTO strings(key, value) "
         "SELECT 'u' || i, i FROM n\"",
         ":16385|");
    hears(told_one, TOLD("_|"));
    says(&two, "SET u1 1", "+OK|");
    hears(told_one, TOLD("*1|$2|u1|"));
}
END_TEST

START_TEST(another_client_can_be_told_instead)
{
    char line[80], broken[80];

    (void)ask(&two, "HELLO 3");
    (void)snprintf(line, sizeof(line), "CLIENT TRACKING ON REDIRECT %llu",
                   (unsigned long long)two.id);
    says(&one, line, "+OK|");
    (void)snprintf(broken, sizeof(broken), ":%llu|",
                   (unsigned long long)two.id);
    says(&one, "CLIENT GETREDIR", broken);
    says(&one, "GET a", "$-1|");
    says(&one, "SET a 1", "+OK|");
    hears(told_one, "");
    hears(told_two, TOLD_A);
    /* RESP2: only who has subscribed */
    (void)ask(&two, "HELLO 2");
    says(&one, "GET a", "$1|1|");
    says(&one, "SET a 1", "+OK|");
    hears(told_two, "");
    says(&two, "SUBSCRIBE __redis__:invalidate",
         "*3|$9|subscribe|$20|__redis__:invalidate|:1|");
    says(&one, "GET a", "$1|1|");
    says(&one, "SET a 1", "+OK|");
    hears(told_two, "*3|$7|message|$20|__redis__:invalidate|*1|$1|a|");
    says(&two, "GET a", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / "
                        "(P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
                        "this context|");
    says(&two, "PING", "*2|$4|pong|$0||");
    says(&one, "FLUSHALL", "+OK|");
    hears(told_two, "*3|$7|message|$20|__redis__:invalidate|$-1|");
    says(&two, "UNSUBSCRIBE",
         "*3|$11|unsubscribe|$20|__redis__:invalidate|:0|");
    says(&two, "GET a", "$-1|");
}
END_TEST

START_TEST(a_client_hears_that_the_other_one_is_gone)
{
    char line[80], broken[80];
    const unsigned long long id = two.id;

    (void)ask(&one, "HELLO 3");
    (void)snprintf(line, sizeof(line), "CLIENT TRACKING ON REDIRECT %llu", id);
    says(&one, line, "+OK|");
    (void)snprintf(broken, sizeof(broken), ">2|$21|tracking-redir-broken|:%llu|",
                   id);
    cmd_client_close(&two);
    client_new(&two, "127.0.0.1:3");
    says(&one, "GET a", "_|");
    says(&two, "SET a 1", "+OK|");
    hears(told_one, broken);
    ck_assert(strstr(ask(&one, "CLIENT TRACKINGINFO"), "broken_redirect") !=
              NULL);
    ck_assert(strstr(ask(&one, "CLIENT INFO"), "flags=tR ") != NULL);
    says(&one, line, "-ERR The client ID you want redirect to does not exist|");
    says(&one, "RESET", "+RESET|");
    says(&one, "CLIENT GETREDIR", ":-1|");
    ck_assert(strstr(ask(&one, "CLIENT INFO"), "flags=N ") != NULL);
}
END_TEST

START_TEST(options_that_do_not_go_together_are_refused)
{
    says(&one, "CLIENT TRACKING MAYBE", "-ERR syntax error|");
    says(&one, "CLIENT TRACKING ON FOO", "-ERR syntax error|");
    says(&one, "CLIENT TRACKING ON PREFIX a",
         "-ERR PREFIX option requires BCAST mode to be enabled|");
    says(&one, "CLIENT TRACKING ON BCAST OPTIN",
         "-ERR OPTIN and OPTOUT are not compatible with BCAST|");
    says(&one, "CLIENT TRACKING ON OPTIN OPTOUT",
         "-ERR You can't specify both OPTIN mode and OPTOUT mode|");
    says(&one, "CLIENT TRACKING ON REDIRECT 0",
         "-ERR The client ID you want redirect to does not exist|");
    says(&one, "CLIENT TRACKING ON REDIRECT x",
         "-ERR value is not an integer or out of range|");
    says(&one, "CLIENT TRACKING ON OPTIN", "+OK|");
    says(&one, "CLIENT TRACKING ON BCAST",
         "-ERR You can't switch BCAST mode on/off before disabling tracking "
         "for this client, and then re-enabling it with a different mode.|");
    says(&one, "CLIENT TRACKING ON OPTOUT",
         "-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking "
         "for this client, and then re-enabling it with a different mode.|");
    says(&one, "CLIENT CACHING MAYBE", "-ERR syntax error|");
    says(&one, "CLIENT TRACKING OFF", "+OK|");
}
END_TEST

START_TEST(more_keys_than_the_limit_are_told_of_as_changed)
{
    cmd_track_limit(2);
    tracking(&one, "CLIENT TRACKING ON NOLOOP");
    (void)ask(&one, "MGET a b");
    hears(told_one, "");
    ck_assert_uint_eq(cmd_track_totals_get().keys, 2);
    (void)ask(&one, "GET c");
    hears(told_one, TOLD_A);
    ck_assert_uint_eq(cmd_track_totals_get().keys, 2);
    ck_assert_uint_eq(cmd_track_totals_get().items, 2);
    ck_assert(strstr(ask(&two, "INFO stats"),
                     "tracking_total_keys:2|tracking_total_items:2|"
                     "tracking_total_prefixes:0|") != NULL);
    ck_assert(strstr(ask(&two, "INFO clients"), "tracking_clients:1|") !=
              NULL);
    says(&two, "FLUSHALL", "+OK|");
    ck_assert_uint_eq(cmd_track_totals_get().keys, 0);
}
END_TEST

/* All memory goes with the last who tracks, and when it is tidied. */
START_TEST(nothing_is_left_of_tracking)
{
    const uint64_t before = kv_mem_bytes(KV_MEM_CLIENT);
    char line[64];

    for (unsigned round = 0; round < 3; round++) {
        tracking(&one, "CLIENT TRACKING ON");
        tracking(&two, "CLIENT TRACKING ON");
        for (unsigned i = 0; i < 1000; i++) {
            (void)snprintf(line, sizeof(line), "GET key:%u", i);
            (void)ask(&one, line);
            (void)ask(&two, line);
        }
        ck_assert_uint_eq(cmd_track_totals_get().items, 2000);
        if (round == 1) {
            says(&one, "FLUSHALL", "+OK|");
        }
        says(&one, "CLIENT TRACKING OFF", "+OK|");
        says(&two, "RESET", "+RESET|");
    }
    cmd_track_tidy();
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_CLIENT), before);
}
END_TEST

START_TEST(without_memory_a_client_does_not_keep_what_it_read)
{
    for (unsigned n = 1;; n++) {
        bool failed, kept;

        tracking(&one, "CLIENT TRACKING ON");
        ck_assert(kv_buf_reserve(&told_one, 1024)); /* not what fails here */
        kv_buf_reset(&told_one, told_one.cap);
        killed = NULL;
        fail_at = n;
        (void)run(&one, "GET a");
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        kept = strcmp(answered(), "_|") == 0 && told_one.size == 0 &&
               killed == NULL;
        kv_buf_reset(&told_one, told_one.cap);
        kv_mem_fail_at(n, 0);
        cmd_track_begin(1);
        cmd_track_told(KV_OBSERVED_PUT, (kvsql_slice){.p = "a", .size = 1});
        cmd_track_end();
        failed |= kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        ck_assert(!kept || told_one.size > 0 || killed == &one);
        says(&one, "CLIENT TRACKING OFF", "+OK|");
        if (!failed) {
            return;
        }
    }
}
END_TEST

/* ---- SQL ----------------------------------------------------------------- */

START_TEST(rows_are_arrays_or_maps)
{
    says(&one, "HSET h f v", ":1|");
    says(&one, "SQL \"SELECT key, 2 AS n, NULL FROM hashes\"",
         "*1|*3|$1|h|:2|$-1|");
    one.resp = 3;
    says(&one, "SQL \"SELECT key, 0.5 AS n FROM hashes WHERE key = ?\" h",
         "*1|%2|$3|key|$1|h|$1|n|,0.5|");
    says(&one, "SQL \"UPDATE hashes SET value = ?\" w", ":1|");
    says(&one, "HGET h f", "$1|w|");
    ck_assert(strstr(ask(&one, "SQL \"SELECT 1 FROM nothing\""), "nothing") !=
              NULL);
    says(&one, "SQL \"SELECT ?\"",
         "-ERR the statement has 1 parameters, 0 were given|");
}
END_TEST

START_TEST(statements_and_commands_share_a_transaction)
{
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a 5", "+QUEUED|");
    says(&one, "SQL \"UPDATE strings SET value = value + 1\"", "+QUEUED|");
    says(&one, "INCR a", "+QUEUED|");
    says(&one, "SQL \"SELECT value FROM strings\"", "+QUEUED|");
    says(&one, "EXEC", "*4|+OK|:1|:7|*1|*1|$1|7|");
    says(&one, "MULTI ROLLBACK", "+OK|");
    says(&one, "SQL \"UPDATE strings SET value = 1\"", "+QUEUED|");
    says(&one, "LPUSH a x", "+QUEUED|");
    ck_assert(strncmp(ask(&one, "EXEC"), "-EXECABORT", 10) == 0);
    says(&one, "GET a", "$1|7|");
}
END_TEST

START_TEST(a_statement_that_takes_back_all_ends_exec)
{
    says(&two, "SET there 1", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "SET before 1", "+QUEUED|");
    says(&one,
         "SQL \"INSERT OR ROLLBACK INTO strings(key, value) "
         "VALUES('there', 2)\"",
         "+QUEUED|");
    says(&one, "SET behind 1", "+QUEUED|");
    ck_assert_ptr_nonnull(strstr(ask(&one, "EXEC"),
                                 "-EXECABORT Transaction rolled back because "
                                 "of command 2: "));
    says(&one, "MGET before there behind", "*3|$-1|$1|1|$-1|");
}
END_TEST

START_TEST(a_statement_cannot_end_the_transaction)
{
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a 5", "+QUEUED|");
    says(&one, "SQL COMMIT", "+QUEUED|");
    says(&one, "SET b 5", "+QUEUED|");
    ck_assert(strstr(ask(&one, "EXEC"), "-NOPERM") != NULL);
    says(&one, "MGET a b", "*2|$1|5|$1|5|");
}
END_TEST

/* ---- the connection ------------------------------------------------------ */

START_TEST(hello_chooses_the_protocol)
{
    ck_assert(strncmp(ask(&one, "HELLO"), "*14|$6|server|$5|redis|", 23) == 0);
    ck_assert(strncmp(ask(&one, "HELLO 3"), "%7|", 3) == 0);
    says(&one, "GET nothing", "_|");
    says(&one, "HELLO 4", "-NOPROTO unsupported protocol version|");
    says(&one, "HELLO x",
         "-ERR Protocol version is not an integer or out of range|");
    says(&one, "HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'|");
    says(&one, "RESET", "+RESET|");
    says(&one, "GET nothing", "$-1|");
}
END_TEST

START_TEST(nothing_works_before_the_password)
{
    cmd_password_set("secret");
    cmd_client_close(&one);
    client_new(&one, "127.0.0.1:1");
    says(&one, "GET a", "-NOAUTH Authentication required.|");
    says(&one, "AUTH wrong",
         "-WRONGPASS invalid username-password pair or user is disabled.|");
    says(&one, "AUTH somebody secret",
         "-WRONGPASS invalid username-password pair or user is disabled.|");
    says(&one, "HELLO 3 AUTH default wrong SETNAME x",
         "-WRONGPASS invalid username-password pair or user is disabled.|");
    ck_assert_uint_eq(one.resp, 2);
    ck_assert(strncmp(ask(&one, "HELLO 3"), "-NOAUTH HELLO", 13) == 0);
    says(&one, "AUTH default secret", "+OK|");
    says(&one, "GET a", "$-1|");
    says(&one, "RESET", "+RESET|");
    says(&one, "GET a", "-NOAUTH Authentication required.|");
    cmd_password_set("");
    says(&one, "AUTH x",
         "-ERR AUTH <password> called without any password configured for the "
         "default user. Are you sure your configuration is correct?|");
    says(&one, "AUTH default x", "+OK|");
}
END_TEST

START_TEST(a_name_has_no_blanks)
{
    says(&one, "CLIENT GETNAME", "$-1|");
    says(&one, "CLIENT SETNAME worker-1", "+OK|");
    says(&one, "CLIENT GETNAME", "$8|worker-1|");
    says(&one, "CLIENT SETNAME \"a b\"",
         "-ERR Client names cannot contain spaces, newlines or special "
         "characters.|");
    says(&one, "CLIENT SETINFO LIB-NAME lib", "+OK|");
    says(&one, "CLIENT SETINFO LIB-NAME \"l b\"",
         "-ERR LIB-NAME cannot contain spaces, newlines or special "
         "characters.|");
    says(&one, "CLIENT SETINFO FOO x", "-ERR Unrecognized option 'FOO'|");
    ck_assert(strstr(ask(&two, "CLIENT LIST"), "name=worker-1 ") != NULL);
    ck_assert(strstr(ask(&two, "CLIENT INFO"),
                     "cmd=client|info user=default redir=-1 resp=2 "
                     "lib-name= lib-ver=") != NULL);
}
END_TEST

START_TEST(hello_inside_multi_changes_the_protocol_from_there_on)
{
    const char *answer;

    says(&one, "MULTI", "+OK|");
    says(&one, "GET nothing", "+QUEUED|");
    says(&one, "HELLO 3", "+QUEUED|");
    says(&one, "GET nothing", "+QUEUED|");
    answer = ask(&one, "EXEC");
    ck_assert(strncmp(answer, "*3|$-1|%7|$6|server|", 20) == 0);
    ck_assert_str_eq(answer + strlen(answer) - 3, "|_|");
}
END_TEST

START_TEST(clients_are_found_and_closed)
{
    says(&one, "CLIENT KILL 127.0.0.1:9", "-ERR No such client|");
    says(&one, "CLIENT KILL 127.0.0.1:2", "+OK|");
    ck_assert_ptr_eq(killed, &two);
    killed = NULL;
    says(&one, "CLIENT KILL TYPE normal", ":1|");
    ck_assert_ptr_eq(killed, &two);
    says(&one, "CLIENT KILL ADDR 127.0.0.1:1", ":0|");
    says(&one, "CLIENT KILL ADDR 127.0.0.1:1 SKIPME no", ":1|");
    ck_assert(one.closing);
    says(&one, "CLIENT KILL FOO bar", "-ERR syntax error|");
}
END_TEST

START_TEST(replies_can_be_turned_off)
{
    ck_assert_int_eq(run(&one, "CLIENT REPLY SKIP"), CMD_DONE);
    ck_assert(!cmd_client_speaks(&one));
    ck_assert_int_eq(run(&one, "PING"), CMD_DONE);
    ck_assert(!cmd_client_speaks(&one));
    ck_assert_int_eq(run(&one, "PING"), CMD_DONE);
    ck_assert(cmd_client_speaks(&one));
    ck_assert_int_eq(run(&one, "CLIENT REPLY OFF"), CMD_DONE);
    ck_assert_int_eq(run(&one, "PING"), CMD_DONE);
    ck_assert_int_eq(run(&one, "PING"), CMD_DONE);
    ck_assert(!cmd_client_speaks(&one));
    says(&one, "CLIENT REPLY ON", "+OK|");
    ck_assert(cmd_client_speaks(&one));
}
END_TEST

/* ---- transactions that are refused --------------------------------------- */

START_TEST(a_refused_exec_ends_the_transaction)
{
    says(&one, "WATCH a", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "EXEC now", "-EXECABORT Transaction discarded because of: wrong "
                          "number of arguments for 'exec' command|");
    says(&one, "EXEC", "-ERR EXEC without MULTI|");
    says(&one, "EXISTS a", ":0|");
    says(&one, "EXEC now", "-EXECABORT Transaction discarded because of: wrong "
                          "number of arguments for 'exec' command|");
}
END_TEST

START_TEST(multi_with_other_words_is_refused)
{
    says(&one, "MULTI x", "-ERR wrong number of arguments for 'multi' command|");
    says(&one, "MULTI ROLLBACK x",
        "-ERR wrong number of arguments for 'multi' command|");
    says(&one, "EXEC", "-ERR EXEC without MULTI|");
    says(&one, "MULTI", "+OK|");
    says(&one, "MULTI x", "-ERR wrong number of arguments for 'multi' command|");
    says(&one, "EXEC", "-EXECABORT Transaction discarded because of previous "
                      "errors.|");
}
END_TEST

/* A view that somebody else holds is as new as what was released; what the
 * same connection has just written is not, before its turn ends. */
START_TEST(a_long_read_sees_what_its_pipeline_wrote)
{
    const struct kvsql_options options = {.no_keeper = true,
                                          .fsync = KVSQL_FSYNC_ALWAYS};
    kvsql *const other = db;
    struct vt_session *const other_session = session;
    struct kv_view *view;

    ck_assert_int_eq(kv_open_os("/data", &options, fakeos_os(fake), NULL, NULL,
                                &db, &err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_session_open(db, &(struct vt_limits){0}, &session,
                                     &err),
                     KVSQL_OK);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
        kv_turn_begin(db);
        says(&one, "INCR n", i == 0 ? ":1|" : i == 1 ? ":2|" : ":3|");
        if (i % 2 == 0) {
            says(&one, "SQL 'SELECT value FROM strings'",
                i == 0 ? "*1|*1|$1|1|" : "*1|*1|$1|3|");
        } else {
            says(&one, "RENAME n other", "+OK|");
            says(&one, "SCAN 0 COUNT 100000", "*2|$1|0|*1|$5|other|");
            says(&one, "RENAME other n", "+OK|");
        }
        kv_turn_end(db);
        kv_unpin(view);
    }
    vt_session_close(session);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    session = other_session;
    db = other;
}
END_TEST

START_TEST(a_pause_holds_writes_or_all)
{
    says(&one, "CLIENT PAUSE 60000 WRITE", "+OK|");
    ck_assert_int_eq(run(&two, "SET a 1"), CMD_HOLD);
    says(&two, "GET a", "$-1|");
    says(&two, "MULTI", "+OK|");
    says(&two, "SET a 1", "+QUEUED|");
    ck_assert_int_eq(run(&two, "EXEC"), CMD_HOLD);
    says(&one, "CLIENT PAUSE 60000", "+OK|");
    ck_assert_int_eq(run(&one, "GET a"), CMD_HOLD);
    says(&one, "CLIENT UNPAUSE", "+OK|");
    says(&two, "EXEC", "*1|+OK|");
}
END_TEST

/* UPDATE config is CONFIG SET. */
#define SQL_SECRET                                                            \
    "SQL \"UPDATE Config SET value=? WHERE name=?\" secret requirepass"

START_TEST(the_slow_log_keeps_no_password_of_sql)
{
    cmd_slowlog_limits(0, 128);
    (void)ask(&one, SQL_SECRET);
    (void)ask(&one, "SQL \"SELECT ?\" seen");
    cmd_slowlog_limits(-1, 128);
    ck_assert_ptr_null(strstr(ask(&one, "SLOWLOG GET"), "secret"));
    ck_assert_ptr_nonnull(strstr(ask(&one, "SLOWLOG GET"), "|seen|"));
    ck_assert_ptr_nonnull(
        strstr(ask(&one, "SLOWLOG GET"),
               "|$3|SQL|$10|(redacted)|$10|(redacted)|$10|(redacted)|"));
    cmd_slowlog_clear();
}
END_TEST

START_TEST(monitor_shows_commands_but_no_password)
{
    says(&two, "MONITOR", "+OK|");
    says(&one, "SET a \"x \\\"\\n\\x01\"", "+OK|");
    says(&one, "AUTH default secret", "+OK|");
    (void)ask(&one, SQL_SECRET);
    kv_buf_byte(&pushed, 0);
    ck_assert_ptr_nonnull(strstr((char *)pushed.p,
                                 " [0 127.0.0.1:1] \"SET\" \"a\" "
                                 "\"x \\\"\\n\\x01\"\r\n"));
    ck_assert_ptr_null(strstr((char *)pushed.p, "secret"));
}
END_TEST

START_TEST(a_subcommand_is_found_behind_its_bare_container)
{
    ck_assert_int_eq(ask(&one, "COMMAND")[0], '*');
    says(&one, "COMMAND GETKEYS GET a", "*1|$1|a|");
    says(&one, "COMMAND FOO", "-ERR unknown subcommand 'FOO'. "
                              "Try COMMAND HELP.|");
}
END_TEST

/* IDLETIME is kept from the first question on. */
START_TEST(a_client_that_does_not_touch_leaves_keys_as_old_as_they_are)
{
    says(&one, "SET a 1", "+OK|");
    says(&one, "OBJECT IDLETIME a", ":0|");
    fakeos_advance(fake, 50000);
    says(&two, "CLIENT NO-TOUCH ON", "+OK|");
    says(&two, "GET a", "$1|1|");
    says(&one, "OBJECT IDLETIME a", ":50|");
    says(&two, "TOUCH a", ":1|");
    says(&one, "OBJECT IDLETIME a", ":0|");
    fakeos_advance(fake, 50000);
    says(&two, "CLIENT NO-TOUCH OFF", "+OK|");
    says(&two, "GET a", "$1|1|");
    says(&one, "OBJECT IDLETIME a", ":0|");
}
END_TEST

START_TEST(one_keyspace)
{
    says(&one, "SELECT 0", "+OK|");
    says(&one, "SELECT 1", "-ERR DB index is out of range|");
    says(&one, "SELECT a", "-ERR value is not an integer or out of range|");
    says(&one, "SELECT 2147483648",
         "-ERR value is out of range, value must between -2147483648 and "
         "2147483647|");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, commands_behind_multi_run_together);
    tcase_add_test(tests, a_command_that_fails_undoes_nothing_but_itself);
    tcase_add_test(tests, multi_rollback_is_all_or_nothing);
    tcase_add_test(tests, without_memory_exec_is_still_one_answer);
    tcase_add_test(tests, an_error_before_exec_discards_it);
    tcase_add_test(tests, a_watched_key_that_changes_stops_exec);
    tcase_add_test(tests, what_leaves_a_watched_key_as_it_is_may_stop_exec);
    tcase_add_test(tests, an_exec_that_did_nothing_waits_for_what_it_saw);
    tcase_add_test(tests, a_watched_key_that_expires_counts_as_changed);
    tcase_add_test(tests, a_watched_key_that_came_and_went_counts_as_changed);
    tcase_add_test(tests,
                   a_watched_key_that_came_and_expired_counts_as_changed);
    tcase_add_test(tests, a_watch_that_has_ended_is_told_nothing);
    tcase_add_test(tests,
                   without_memory_an_absent_key_is_watched_or_watch_fails);
    tcase_add_test(tests, a_client_is_told_once_of_a_key_that_it_read);
    tcase_add_test(tests, a_client_is_told_whatever_way_a_change_came);
    tcase_add_test(tests, a_batch_is_told_of_when_it_is_done);
    tcase_add_test(tests, a_client_is_told_of_keys_that_expire_or_are_evicted);
    tcase_add_test(tests, noloop_is_about_what_a_client_does_itself);
    tcase_add_test(tests,
                   what_a_transaction_reads_behind_its_change_is_tracked);
    tcase_add_test(tests,
                   optin_and_optout_choose_the_commands_that_are_tracked);
    tcase_add_test(tests, bcast_tells_of_every_key_with_a_prefix);
    tcase_add_test(tests, a_batch_that_is_too_long_to_list_is_all_keys);
    tcase_add_test(tests, another_client_can_be_told_instead);
    tcase_add_test(tests, a_client_hears_that_the_other_one_is_gone);
    tcase_add_test(tests, options_that_do_not_go_together_are_refused);
    tcase_add_test(tests, more_keys_than_the_limit_are_told_of_as_changed);
    tcase_add_test(tests, nothing_is_left_of_tracking);
    tcase_add_test(tests, without_memory_a_client_does_not_keep_what_it_read);
    tcase_add_test(tests, rows_are_arrays_or_maps);
    tcase_add_test(tests, statements_and_commands_share_a_transaction);
    tcase_add_test(tests, a_statement_that_takes_back_all_ends_exec);
    tcase_add_test(tests, a_statement_cannot_end_the_transaction);
    tcase_add_test(tests, hello_chooses_the_protocol);
    tcase_add_test(tests, nothing_works_before_the_password);
    tcase_add_test(tests, a_name_has_no_blanks);
    tcase_add_test(tests,
                   hello_inside_multi_changes_the_protocol_from_there_on);
    tcase_add_test(tests, clients_are_found_and_closed);
    tcase_add_test(tests, replies_can_be_turned_off);
    tcase_add_test(tests, a_refused_exec_ends_the_transaction);
    tcase_add_test(tests, multi_with_other_words_is_refused);
    tcase_add_test(tests, a_long_read_sees_what_its_pipeline_wrote);
    tcase_add_test(tests, a_pause_holds_writes_or_all);
    tcase_add_test(tests, the_slow_log_keeps_no_password_of_sql);
    tcase_add_test(tests, monitor_shows_commands_but_no_password);
    tcase_add_test(tests, a_subcommand_is_found_behind_its_bare_container);
    tcase_add_test(
        tests, a_client_that_does_not_touch_leaves_keys_as_old_as_they_are);
    tcase_add_test(tests, one_keyspace);
}

int main(void)
{
    return unit_run("client", add);
}
