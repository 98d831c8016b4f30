/* test_client.c - connections as commands see them: SQL, names, pauses, replies in
 * both protocols, who is shown. */
#include "tests/lib/client_fx.h"

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
    tcase_add_test(tests, a_long_read_sees_what_its_pipeline_wrote);
    tcase_add_test(tests, a_pause_holds_writes_or_all);
    tcase_add_test(tests, the_slow_log_keeps_no_password_of_sql);
    tcase_add_test(tests, monitor_shows_commands_but_no_password);
    tcase_add_test(tests, a_subcommand_is_found_behind_its_bare_container);
    tcase_add_test(tests,
                   a_client_that_does_not_touch_leaves_keys_as_old_as_they_are);
    tcase_add_test(tests, one_keyspace);
}

int main(void)
{
    return unit_run("client", add);
}
