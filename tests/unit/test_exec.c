/* test_exec.c - commands inside SQL: kv_exec, kv_last(), kv() (sql.md 2.8), the
 * hidden columns that the store answers. */
#include <string.h>

#include "cli/cli.h"
#include "kvsql/admin.h"
#include "tests/lib/rows_fx.h"

static struct vt_host fx_host; /* the host as it was */

START_TEST(a_line_is_split_as_redis_cli_does_and_arguments_are_not)
{
    ok("INSERT INTO kv_exec(cmd) VALUES('SET \"a b\" \"x\\ty\"')");
    GIVES("SELECT key, hex(value) FROM strings", "a b|780979");
    ok("INSERT INTO kv_exec(cmd, a1, a2) VALUES('SET', '\"a b\"', 'x\\ty')");
    GIVES("SELECT key, value FROM strings WHERE key LIKE '\"%'",
          "\"a b\"|x\\ty");
    ok("INSERT INTO kv_exec(cmd, a1, a2) VALUES('set', x'ff00', 1.5)");
    GIVES("SELECT key, value FROM strings WHERE typeof(key) = 'blob'",
          "x'ff00'|1.5");
    ok("INSERT INTO kv_exec(cmd) VALUES('FLUSHDB')");
    GIVES("SELECT count(*) FROM keys", "0");
    FAILS("INSERT INTO kv_exec(cmd) VALUES('SET \"a')", KVSQL_SYNTAX,
          "ERR Protocol error: unbalanced quotes in request");
    FAILS("INSERT INTO kv_exec(cmd) VALUES('  ')", KVSQL_SYNTAX,
          "kv_exec: there is no command in cmd");
    FAILS("INSERT INTO kv_exec(cmd) VALUES(NULL)", KVSQL_CONSTRAINT,
          "NOT NULL constraint failed: kv_exec.cmd");
    FAILS("INSERT INTO kv_exec(cmd, a2) VALUES('GET', 'k')", KVSQL_CONSTRAINT,
          "NOT NULL constraint failed: kv_exec.a1");
    GIVES("SELECT count(*) FROM kv_exec", "0");
}
END_TEST

START_TEST(a_command_is_a_part_of_the_transaction)
{
    ok("BEGIN");
    ok("INSERT INTO kv_exec(cmd) VALUES('LPUSH q a'), ('LPUSH q b')");
    GIVES("SELECT kv_last()", "2");
    ok("SAVEPOINT s");
    ok("INSERT INTO kv_exec(cmd, a1, a2) VALUES('LPUSH', 'q', 'c')");
    GIVES("SELECT value FROM lists", "c\nb\na");
    ok("ROLLBACK TO s");
    GIVES("SELECT value FROM lists", "b\na");
    GIVES("SELECT value FROM kv('LRANGE', 'q', 0, -1)", "b\na");
    ok("ROLLBACK");
    GIVES("SELECT count(*) FROM keys", "0");
    ok("BEGIN");
    ok("CREATE TEMP TABLE t(x)");
    ok("INSERT INTO kv_exec(cmd) VALUES('SET k 1')");
    ok("INSERT INTO t VALUES(1)");
    ok("COMMIT");
    GIVES("SELECT kv_get('k'), (SELECT count(*) FROM t)", "1|1");
    ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT kv_get('k')"), KVSQL_OK);
    ck_assert_str_eq(fx.text, "1");
}
END_TEST

/* Rows come from a statement that reads what the command changes. */
START_TEST(commands_for_every_row_of_a_reading_see_one_state)
{
    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2), ('c', 3)");
    ok("INSERT INTO kv_exec(cmd, a1, a2) SELECT 'RENAME', key, key || '1'"
       " FROM keys");
    GIVES("SELECT key, value FROM strings", "a1|1\nb1|2\nc1|3");
    ok("INSERT INTO kv_exec(cmd) SELECT 'FLUSHALL' FROM keys");
    GIVES("SELECT count(*) FROM keys", "0");
}
END_TEST

START_TEST(a_command_that_fails_is_an_error_and_changes_nothing)
{
    ok("INSERT INTO strings(key, value) VALUES('s', 'x')");
    FAILS("INSERT INTO kv_exec(cmd) VALUES('LPUSH s a')", KVSQL_WRONGTYPE,
          "WRONGTYPE Operation against a key holding the wrong kind of value");
    FAILS("INSERT INTO kv_exec(cmd) VALUES('SET t 1'), ('INCR s')",
          KVSQL_NOTINT, "ERR value is not an integer or out of range");
    GIVES("SELECT key FROM keys", "s");
    ok("BEGIN");
    ok("INSERT INTO kv_exec(cmd) VALUES('SET t 1')");
    FAILS("INSERT INTO kv_exec(cmd) VALUES('SET u 1'), ('INCR s')",
          KVSQL_NOTINT, "ERR value is not an integer or out of range");
    GIVES("SELECT key FROM keys", "s\nt");
    ok("INSERT OR IGNORE INTO kv_exec(cmd) VALUES('INCR s'), ('SET u 1')");
    ok("COMMIT");
    GIVES("SELECT key FROM keys", "s\nt\nu");
    FAILS("INSERT INTO kv_exec(cmd) VALUES('GETT s')", KVSQL_UNKNOWN,
          "ERR unknown command 'GETT', with args beginning with: 's' ");
    FAILS("INSERT INTO kv_exec(cmd) VALUES('GET')", KVSQL_ARITY,
          "ERR wrong number of arguments for 'get' command");
}
END_TEST

START_TEST(what_is_not_about_keys_is_refused)
{
    static const char *const refused[] = {
        "PING", "MULTI", "EXEC", "CONFIG SET maxmemory 1", "SAVE",
        "SHUTDOWN", "CLIENT LIST", "SQL 'SELECT 1'", "DEBUG OBJECT k",
        "WATCH k", "AUTH x", "PFDEBUG GETREG k", "INFO", "WAIT 0 0"};
    char sql[128];

    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        sqlite3_snprintf(sizeof(sql), sql,
                         "INSERT INTO kv_exec(cmd) VALUES(%Q)", refused[i]);
        ck_assert_int_eq(rows_run(&fx, fx.session, sql), KVSQL_AUTH);
        ck_assert_ptr_nonnull(
            strstr(fx.err.text, "' is not available in SQL: it is not about "
                                "keys"));
    }
    FAILS("SELECT * FROM kv('PING')", KVSQL_AUTH,
          "'PING' is not available in SQL: it is not about keys");
    FAILS("SELECT * FROM kv('DEL', 'k')", KVSQL_AUTH,
          "'DEL' may change data: INSERT INTO kv_exec runs it");
}
END_TEST

START_TEST(kv_last_is_the_last_reply_as_json)
{
    GIVES("SELECT kv_last()", "NULL");
    ok("INSERT INTO kv_exec(cmd, a1, a2) VALUES('SET', 'k', '\"\\' || char(1))");
    GIVES("SELECT kv_last()", "\"OK\"");
    ok("INSERT INTO kv_exec(cmd) VALUES('GET k')");
    GIVES("SELECT kv_last(), length(kv_last() ->> '$')",
          "\"\\\"\\\\\\u0001\"|3");
    ok("INSERT INTO kv_exec(cmd) VALUES('GET none')");
    GIVES("SELECT kv_last()", "null");
    ok("INSERT INTO kv_exec(cmd) VALUES('ZADD z 1.5 a 7 b inf c'),"
       " ('ZRANGE z 0 -1 WITHSCORES')");
    GIVES("SELECT kv_last()", "[\"a\",1.5,\"b\",7.0,\"c\",\"inf\"]");
    ok("INSERT INTO kv_exec(cmd, a1, a2) VALUES('SET', 'bin', x'00ff')");
    ok("INSERT INTO kv_exec(cmd) VALUES('MGET k bin none')");
    GIVES("SELECT kv_last() -> 1, json_type(kv_last(), '$[2]')",
          "{\"$hex\":\"00FF\"}|null");
    ok("INSERT INTO kv_exec(cmd) VALUES('LRANGE none 0 -1')");
    GIVES("SELECT kv_last()", "[]");
    ok("INSERT INTO kv_exec(cmd) VALUES('SCAN 0 MATCH no*')");
    GIVES("SELECT kv_last()", "[\"0\",[]]");
    ok("INSERT INTO kv_exec(cmd) VALUES('GEOADD g 13 38 p'), "
       "('GEOPOS g p none')");
    GIVES("SELECT json_array_length(kv_last() -> 0), kv_last() -> 1",
          "2|null");
    vt_session_limits(fx.session, &(struct vt_limits){.trusted = true});
    GIVES("SELECT kv_last()", "NULL");
}
END_TEST

START_TEST(kv_last_is_what_a_command_column_made_too)
{
    ok("INSERT INTO strings(key, incr) VALUES('n', 1), ('n2', 41)");
    GIVES("SELECT kv_last()", "41");
    ok("UPDATE strings SET incr = 1 WHERE key = 'n2'");
    GIVES("SELECT kv_last(), kv_get('n2')", "42|42");
    ok("UPDATE strings SET incr = 0.5 WHERE key = 'n2'");
    GIVES("SELECT kv_last()", "\"42.5\""); /* as INCRBYFLOAT says it */
    ok("INSERT INTO strings(key, append) VALUES('a', 'xy'), ('a2', 'xyz')");
    ok("UPDATE strings SET append = '!' WHERE key = 'a'");
    GIVES("SELECT kv_last()", "3");
    ok("INSERT INTO hashes(key, field, incr) VALUES('h', 'f', 5)");
    ok("UPDATE hashes SET incr = -7 WHERE key = 'h'");
    GIVES("SELECT kv_last()", "-2");
    ok("INSERT INTO zsets(key, member, incr) VALUES('z', 'm', 1.5)");
    ok("UPDATE zsets SET incr = 1 WHERE key = 'z'");
    GIVES("SELECT kv_last()", "2.5");
    FAILS("UPDATE strings SET incr = 1 WHERE key = 'a'", KVSQL_NOTINT,
          "strings.value: not an integer");
    GIVES("SELECT kv_last()", "2.5"); /* of the last that was done */
}
END_TEST

START_TEST(kv_gives_a_row_for_each_value_of_a_reply)
{
    ok("INSERT INTO zsets VALUES('z', 'a', 1), ('z', 'b', 2.5)");
    ok("INSERT INTO strings(key, value) VALUES('a', 'one')");
    GIVES("SELECT * FROM kv('ZRANGE', 'z', 0, -1)",
          "0|a|string|$[0]\n1|b|string|$[1]");
    GIVES("SELECT i, value, typeof(value), type, path"
          " FROM kv('ZRANGE', 'z', '0', '-1', 'WITHSCORES')",
          "0|a|text|string|$[0]\n1|1|real|real|$[1]\n2|b|text|string|$[2]\n"
          "3|2.5|real|real|$[3]");
    GIVES("SELECT * FROM kv('GET', 'a')", "0|one|string|$");
    GIVES("SELECT * FROM kv('GET', 'none')", "0|NULL|null|$");
    GIVES("SELECT * FROM kv('TYPE', 'a')", "0|string|status|$");
    GIVES("SELECT * FROM kv('ZCARD', 'z')", "0|2|integer|$");
    GIVES("SELECT * FROM kv('ZRANGE', 'none', 0, -1)", "");
    GIVES("SELECT * FROM kv('SCAN', 0, 'MATCH', 'no*')",
          "0|0|string|$[0]\n1|NULL|array|$[1]");
    GIVES("SELECT value, path FROM kv('SCAN', 0) WHERE path LIKE '$[1]%'",
          "a|$[1][0]\nz|$[1][1]");
    GIVES("SELECT i FROM kv('ZRANGE', 'z', 0, -1) ORDER BY i DESC", "1\n0");
    GIVES("SELECT a0, a1, a3, a4 FROM kv('ZRANGE', 'z', 0, -1) LIMIT 1",
          "ZRANGE|z|-1|NULL");
    GIVES("SELECT value FROM kv WHERE a0 = 'GET' AND a1 IN ('a', 'none')",
          "one\nNULL");
    GIVES("SELECT k.key, v.value FROM keys k, kv('TYPE', k.key) v",
          "a|string\nz|zset");
    GIVES("SELECT * FROM kv('GET', NULL)", "");
}
END_TEST

START_TEST(kv_needs_its_arguments_and_says_what_a_command_says)
{
    FAILS("SELECT * FROM kv", KVSQL_INVALID,
          "kv: name a command: kv('GET', 'key')");
    FAILS("SELECT * FROM kv WHERE a0 = 'GET' AND a2 = 'x'", KVSQL_INVALID,
          "kv: an argument is left out");
    /* each needs the other first */
    FAILS("SELECT * FROM kv x JOIN kv y ON x.a0 = y.value AND y.a0 = x.value",
          KVSQL_SYNTAX, "no query solution");
    ok("INSERT INTO strings(key, value) VALUES('s', 'x')");
    FAILS("SELECT * FROM kv('LRANGE', 's', 0, -1)", KVSQL_WRONGTYPE,
          "WRONGTYPE Operation against a key holding the wrong kind of value");
    FAILS("SELECT * FROM kv('GET')", KVSQL_ARITY,
          "ERR wrong number of arguments for 'get' command");
}
END_TEST

START_TEST(a_reading_command_reads_where_the_statement_reads)
{
    ok("INSERT INTO strings(key, value) VALUES('k', 1)");
    ok("BEGIN");
    GIVES("SELECT value FROM kv('GET', 'k')", "1");
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "REPLACE INTO strings(key, value)"
                              " VALUES('k', 2)"),
                     KVSQL_OK);
    GIVES("SELECT value FROM kv('GET', 'k')", "1");
    ok("COMMIT");
    GIVES("SELECT value FROM kv('GET', 'k')", "2");
    ok("BEGIN");
    ok("REPLACE INTO strings(key, value) VALUES('k', 3)");
    GIVES("SELECT value FROM kv('GET', 'k')", "3");
    ok("ROLLBACK");
    GIVES("SELECT value FROM kv('GET', 'k')", "2");
}
END_TEST

START_TEST(views_and_triggers_may_read_by_kv_but_not_run_kv_exec)
{
    ok("INSERT INTO strings(key, value) VALUES('k', 1)");
    ok("CREATE TEMP VIEW v AS SELECT value FROM kv('GET', 'k')");
    GIVES("SELECT * FROM v", "1");
    ok("CREATE TEMP TABLE t(x)");
    ok("CREATE TEMP TRIGGER r AFTER INSERT ON t BEGIN"
       " INSERT INTO kv_exec(cmd) VALUES('DEL k'); END");
    FAILS("INSERT INTO t VALUES(1)", KVSQL_SYNTAX,
          "unsafe use of virtual table \"kv_exec\"");
    GIVES("SELECT kv_get('k')", "1");
}
END_TEST

START_TEST(a_remote_session_runs_commands_and_a_read_only_one_reads)
{
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "INSERT INTO kv_exec(cmd) VALUES('SET k 1')"),
                     KVSQL_OK);
    vt_session_limits(fx.other, &(struct vt_limits){.read_only = true});
    ck_assert_int_eq(
        rows_run(&fx, fx.other, "SELECT value FROM kv('GET', 'k')"), KVSQL_OK);
    ck_assert_str_eq(fx.text, "1");
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "INSERT INTO kv_exec(cmd) VALUES('GET k')"),
                     KVSQL_READONLY);
}
END_TEST

/* A client leaves, or time runs out, when a command has just begun. */
static struct vt_session *leaving;
static bool leaving_late;

static kvsql_rc leave_and_run(const struct vt_command *command,
                              struct kvsql_error *err)
{
    if (leaving == NULL || leaving != command->session)
        return fx_host.command_run(command, err);
    if (leaving_late)
        leaving->budget.deadline_ns = 1;
    else
        vt_interrupt(leaving);
    return fx_host.command_run(command, err);
}

static void leave(bool late)
{
    struct vt_host host;

    if (fx_host.command_run == NULL) fx_host = *vt_host_get();
    host = fx_host;
    host.command_run = leave_and_run;
    vt_host_set(&host);
    leaving_late = late;
}

/* Elements of every type, more than a loop does between two looks. */
static void fill_long(void)
{
    static const char *const fill[] = {
        "INSERT INTO sets(key, member) SELECT 's', n FROM n",
        "INSERT INTO sets(key, member) SELECT 't', n + 1 FROM n",
        "INSERT INTO lists(key, value) SELECT 'l', a.n % 7 FROM n a, n b"
        " WHERE b.n < 8", /* values are taken in groups */
        "INSERT INTO zsets(key, member, score) SELECT 'z', n, n FROM n",
        "INSERT INTO hashes(key, field, value) SELECT 'h', n, n FROM n",
        "INSERT INTO strings(key, value) SELECT 'k' || n, n FROM n",
        "INSERT INTO kv_exec(cmd, a1, a2, a3, a4)"
        " SELECT 'GEOADD', 'g', n / 100000.0, 1, n FROM n",
        "INSERT INTO strings(key, value)"
        " VALUES('a', replace(hex(zeroblob(2500)), '0', 'x')),"
        " ('b', replace(hex(zeroblob(2500)), '0', 'y'))"};

    ok("CREATE TEMP VIEW n AS WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL"
       " SELECT n + 1 FROM c LIMIT 5000) SELECT n FROM c");
    for (size_t i = 0; i < sizeof(fill) / sizeof(*fill); i++) ok(fill[i]);
}

/* A command by itself would run to its end: it ends with its statement, and
 * what it has changed is taken back. */
static void ends_early(const char *line, bool late)
{
    char sql[256];

    sqlite3_snprintf(sizeof(sql), sql, "INSERT INTO kv_exec(cmd) VALUES(%Q)",
                     line);
    leave(late);
    leaving = fx.other;
    vt_session_limits(fx.other, &(struct vt_limits){.deadline_ms = 777});
    ck_assert_msg(rows_run(&fx, fx.other, sql) == KVSQL_INTERRUPT, "%s: %s",
                  line, fx.err.text);
    leaving = NULL;
    ck_assert_str_eq(fx.err.text,
                     late ? "the statement ran into its deadline of 777 ms "
                            "(sql-timeout)"
                          : "the statement was cancelled");
    GIVES("SELECT (SELECT count(*) FROM keys), (SELECT count(*) FROM sets),"
          " (SELECT count(*) FROM lists), (SELECT count(*) FROM zsets)",
          "5008|10000|40000|10000"); /* as fill_long() leaves it */
}

START_TEST(a_long_command_ends_with_its_statement)
{
    static const char *const lines[] = {
        "SUNIONSTORE u s t", "SINTERSTORE u s t", "SDIFFSTORE u s t",
        "SINTERCARD 2 s t", "SUNION s t", "SMEMBERS s", "SPOP s 4000",
        "SORT l", "SORT l STORE u", "SORT l BY nosort STORE u",
        "LREM l 0 3", "LPOS l none", "LINSERT l BEFORE none x",
        "LPOP l 39000", "RPOP l 39000", "LRANGE l 0 -1",
        "ZUNIONSTORE u 2 z s", "ZINTERSTORE u 2 z s", "ZDIFFSTORE u 2 z t",
        "ZRANGESTORE u z 0 -1", "ZPOPMIN z 4000", "ZPOPMAX z 4000",
        "ZREMRANGEBYRANK z 0 4000", "ZREMRANGEBYSCORE z 0 4000",
        "ZREMRANGEBYLEX z - +", "ZRANGE z 0 -1", "HGETALL h", "KEYS *",
        "GEOSEARCHSTORE u g FROMLONLAT 0 1 BYRADIUS 100 km",
        "GEOSEARCH g FROMLONLAT 0 1 BYRADIUS 100 km", "LCS a b"};

    fill_long();
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        ends_early(lines[i], i % 2 != 0);
    leaving = fx.other; /* a read of a view */
    vt_session_limits(fx.other, &(struct vt_limits){0});
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "SELECT value FROM kv('SINTERCARD', 2, 's', 't')"),
                     KVSQL_INTERRUPT);
    leaving = NULL;
    vt_session_limits(fx.other, &(struct vt_limits){0});
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "SELECT value FROM kv('SINTERCARD', 2, 's', 't')"),
                     KVSQL_OK);
    ck_assert_str_eq(fx.text, "4999");
    vt_host_set(&fx_host);
}
END_TEST

START_TEST(a_reply_longer_than_the_session_may_have_is_refused)
{
    ok("INSERT INTO strings(key, value) VALUES('big', zeroblob(4000000))");
    vt_limit_set(VT_LIMIT_MEMORY, 2000000);
    vt_session_limits(fx.other, &(struct vt_limits){0});
    ck_assert_int_eq(
        rows_run(&fx, fx.other, "SELECT length(value) FROM kv('GET', 'big')"),
        KVSQL_TOOBIG);
    vt_limit_set(VT_LIMIT_MEMORY, 0);
    vt_session_limits(fx.other, &(struct vt_limits){0});
    ck_assert_int_eq(
        rows_run(&fx, fx.other, "SELECT length(value) FROM kv('GET', 'big')"),
        KVSQL_OK);
    ck_assert_str_eq(fx.text, "4000000");
    ck_assert_int_lt(fx.other->budget.size, 2000000);
}
END_TEST

START_TEST(idle_is_kept_from_the_first_question_on)
{
    ok("INSERT INTO strings(key, value) VALUES('old', 1)");
    GIVES("SELECT idle FROM keys", "NULL");
    fx.wall += 1000;
    ok("INSERT INTO strings(key, value) VALUES('new', 1)");
    fx.wall += 5000;
    GIVES("SELECT key, idle FROM keys", "new|5000\nold|NULL");
    ok("INSERT INTO kv_exec(cmd) VALUES('GET new')");
    fx.wall += 2000;
    GIVES("SELECT idle FROM keys WHERE key = 'new'", "2000");
    ok("BEGIN");
    ok("REPLACE INTO strings(key, value) VALUES('new', 2)");
    GIVES("SELECT key, idle FROM keys", "new|0\nold|NULL");
    ok("COMMIT");
}
END_TEST

START_TEST(how_a_key_was_used_is_seen_by_kv_and_asking_is_no_use)
{
    static const char idle[] =
        "SELECT value FROM kv('OBJECT', 'IDLETIME', 'k')";
    static const char freq[] = "SELECT value FROM kv('OBJECT', 'FREQ', 'k')";
    static const char no_freq[] =
        "ERR An LFU maxmemory policy is not selected, access frequency not "
        "tracked. Please note that when switching between policies at runtime "
        "LRU and LFU data will take some time to adjust.";
    static const char no_idle[] =
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please "
        "note that when switching between policies at runtime LRU and LFU data "
        "will take some time to adjust.";

    GIVES("SELECT type FROM kv('OBJECT', 'IDLETIME', 'k')", "null");
    ok("INSERT INTO strings(key, value) VALUES('k', 1)");
    GIVES(idle, "0"); /* the first question: kept from here on */
    ok("INSERT INTO kv_exec(cmd) VALUES('GET k')");
    ok("REPLACE INTO strings(key, value) VALUES('k', 2)");
    fx.wall += 5000;
    GIVES(idle, "5");
    GIVES("SELECT value FROM kv('GET', 'k')", "2"); /* of a view: no use */
    GIVES(idle, "5");
    ok("BEGIN");
    ok("INSERT INTO kv_exec(cmd) VALUES('OBJECT IDLETIME k')");
    GIVES("SELECT kv_last()", "5");
    GIVES(idle, "5"); /* the transaction's own state */
    ok("COMMIT");
    FAILS(freq, KVSQL_INVALID, no_freq);

    ok("DELETE FROM keys");
    kv_set_maxmemory_policy(fx.db, KVSQL_ALLKEYS_LFU, 5);
    ok("INSERT INTO strings(key, value) VALUES('k', 3)");
    GIVES(freq, "5"); /* of a new key */
    for (int i = 0; i < 200; i++) ok("INSERT INTO kv_exec(cmd) VALUES('GET k')");
    ok("INSERT INTO kv_exec(cmd) VALUES('OBJECT FREQ k')");
    GIVES("SELECT value > 5, value = CAST(kv_last() AS INT)"
          " FROM kv('OBJECT', 'FREQ', 'k')", "1|1");
    fx.wall += 200 * 60000;
    GIVES(freq, "0"); /* one for each minute is gone */
    FAILS(idle, KVSQL_INVALID, no_idle);
    GIVES("SELECT idle FROM keys", "NULL");
}
END_TEST

START_TEST(no_command_leaves_memory_or_changes_behind_when_an_allocation_fails)
{
    static const char *const statements[] = {
        "INSERT INTO kv_exec(cmd) VALUES('APPEND s x'), ('LRANGE l 0 -1')",
        "INSERT INTO kv_exec(cmd, a1, a2) SELECT 'RENAME', key, key || 'x' FROM keys",
        "SELECT i, value, type, path, a1 FROM kv('LRANGE', 'l', 0, -1)",
        "SELECT k.key, v.value FROM keys k, kv('TYPE', k.key) v",
        "SELECT kv_last()"};

    ok("INSERT INTO strings(key, value) VALUES('s', 1)");
    ok("INSERT INTO lists(key, value) VALUES('l', 1), ('l', 2), ('l', 3)");
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        int failed = 1;
        for (uint64_t n = 1; failed; n++) {
            ok("BEGIN");
            kv_mem_fail_at(n, 0);
            kvsql_rc rc = rows_run(&fx, fx.session, statements[i]);
            failed = kv_mem_failed();
            kv_mem_fail_at(0, 0);
            ck_assert_msg(failed || rc == KVSQL_OK, "%s: %s", statements[i],
                          fx.err.text);
            if (vt_in_transaction(fx.session)) ok("ROLLBACK");
            GIVES("SELECT key, value FROM strings", "s|1");
            GIVES("SELECT value FROM lists", "1\n2\n3");
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    cli_join_sql();
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests,
                   a_line_is_split_as_redis_cli_does_and_arguments_are_not);
    tcase_add_test(tests, a_command_is_a_part_of_the_transaction);
    tcase_add_test(tests, commands_for_every_row_of_a_reading_see_one_state);
    tcase_add_test(tests, a_command_that_fails_is_an_error_and_changes_nothing);
    tcase_add_test(tests, what_is_not_about_keys_is_refused);
    tcase_add_test(tests, kv_last_is_the_last_reply_as_json);
    tcase_add_test(tests, kv_last_is_what_a_command_column_made_too);
    tcase_add_test(tests, kv_gives_a_row_for_each_value_of_a_reply);
    tcase_add_test(tests, kv_needs_its_arguments_and_says_what_a_command_says);
    tcase_add_test(tests, a_reading_command_reads_where_the_statement_reads);
    tcase_add_test(tests,
                   views_and_triggers_may_read_by_kv_but_not_run_kv_exec);
    tcase_add_test(tests,
                   a_remote_session_runs_commands_and_a_read_only_one_reads);
    tcase_add_test(tests, a_long_command_ends_with_its_statement);
    tcase_add_test(tests,
                   a_reply_longer_than_the_session_may_have_is_refused);
    tcase_add_test(tests, idle_is_kept_from_the_first_question_on);
    tcase_add_test(tests, how_a_key_was_used_is_seen_by_kv_and_asking_is_no_use);
    tcase_add_test(
        tests,
        no_command_leaves_memory_or_changes_behind_when_an_allocation_fails);
}

int main(void)
{
    return unit_run("exec", add);
}
