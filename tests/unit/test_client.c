/* test_client.c - connections as commands see them: transactions, watches,
 * names, pauses, replies in both protocols; commands are typed as lines. */
#include "command/client.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "command/context.h"
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

static void door_kill(struct cmd_client *client)
{
    killed = client;
}

static void door_push(struct cmd_client *client, const void *p, size_t size)
{
    (void)client;
    kv_buf_add(&pushed, p, size);
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
                        &ticket);
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

START_TEST(a_watched_key_that_expires_counts_as_changed)
{
    says(&one, "SET a 1 PX 50", "+OK|");
    says(&one, "WATCH a", "+OK|");
    fakeos_advance(fake, 100);
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*-1|");
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

START_TEST(monitor_shows_commands_but_no_password)
{
    says(&two, "MONITOR", "+OK|");
    says(&one, "SET a \"x \\\"\\n\\x01\"", "+OK|");
    says(&one, "AUTH default secret", "+OK|");
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
    tcase_add_test(tests, a_watched_key_that_expires_counts_as_changed);
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
