/* test_info.c - the tables about kvsql itself (sql.md 2.7): queries, views,
 * clients, slowlog, latency; who may see them. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "command/client.h"
#include "command/stats.h"
#include "tests/lib/rows_fx.h"

/* ---- queries ----------------------------------------------------------------------- */

#define ENDLESS                                                               \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"         \
    " SELECT max(i), kv_exists('k') FROM n"

struct runner {
    pthread_t thread;
    const char *sql;
    struct vt_session *session;
    kvsql_rc rc;
    char text[KVSQL_ERROR_SIZE];
};

static void *runner_run(void *arg)
{
    struct runner *runner = arg;
    struct vt_statement *statement;
    struct kvsql_error err = {.text = ""};
    bool row = true;

    runner->rc = vt_prepare(runner->session, runner->sql,
                            strlen(runner->sql), NULL, &statement, &err);
    while (runner->rc == KVSQL_OK && row)
        runner->rc = vt_step(statement, &row, &err);
    vt_finish(statement);
    (void)snprintf(runner->text, sizeof(runner->text), "%s", err.text);
    return NULL;
}

/* Run it in another thread until it shows that it works. */
static void runner_start(struct runner *runner)
{
    *runner = (struct runner){.session = fx.other, .sql = ENDLESS};
    vt_session_limits(fx.other,
                      &(struct vt_limits){.deadline_ms = 600000,
                                          .user = "ann"});
    ck_assert_int_eq(pthread_create(&runner->thread, NULL, runner_run, runner),
                     0);
    do {
        ok("SELECT count(*) FROM queries WHERE vm_steps > 0"
           " AND sql LIKE 'WITH RECURSIVE%'");
    } while (strcmp(fx.text, "1") != 0);
}

START_TEST(a_query_is_shown_while_it_runs_and_deleting_it_ends_it)
{
    struct runner runner;

    /* the start is this wall clock's now less what has run of the machine's */
    GIVES("SELECT user, sql, rows, started BETWEEN 1699999880000 AND"
          " 1700000000000 FROM queries",
          "default|SELECT user, sql, rows, started BETWEEN 1699999880000 AND"
          " 1700000000000 FROM queries|0|1");
    runner_start(&runner);
    GIVES("SELECT user, rows, started <= 1700000000000 FROM queries"
          " WHERE sql LIKE 'WITH RECURSIVE%'",
          "ann|0|1");
    ok("DELETE FROM queries"); /* not this one itself */
    ck_assert_int_eq(pthread_join(runner.thread, NULL), 0);
    ck_assert_int_eq(runner.rc, KVSQL_INTERRUPT);
    ck_assert_str_eq(runner.text, "the statement was cancelled");
    GIVES("SELECT count(*) FROM queries", "1");
    /* what was cancelled was that one, not what its session compiles next */
    ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT key FROM keys"), KVSQL_OK);
}
END_TEST

/* A write that waits for another transaction can be ended, and does not wait
 * longer than it may. */
START_TEST(a_query_that_waits_for_the_store_is_ended_too)
{
    const struct vt_limits patient = {.deadline_ms = 600000},
                           hasty = {.deadline_ms = 1};
    struct runner runner = {.session = fx.other,
                            .sql = "REPLACE INTO strings(key, value)"
                                   " VALUES('k', 1)"};
    struct kv_txn *txn;

    do { /* a slow machine may give up before it is told to */
        vt_session_limits(fx.other, &patient);
        ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
        ck_assert_int_eq(
            pthread_create(&runner.thread, NULL, runner_run, &runner), 0);
        do {
            ok("SELECT count(*) FROM queries WHERE sql LIKE 'REPLACE%'");
        } while (strcmp(fx.text, "1") != 0);
        ok("DELETE FROM queries WHERE sql LIKE 'REPLACE%'");
        ck_assert_int_eq(pthread_join(runner.thread, NULL), 0);
        kv_txn_rollback(txn);
    } while (runner.rc == KVSQL_BUSY);
    ck_assert_int_eq(runner.rc, KVSQL_INTERRUPT);
    ck_assert_str_eq(runner.text, "the statement was cancelled");
    vt_session_limits(fx.other, &hasty);
    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    ck_assert_int_eq(pthread_create(&runner.thread, NULL, runner_run, &runner),
                     0);
    ck_assert_int_eq(pthread_join(runner.thread, NULL), 0);
    kv_txn_rollback(txn);
    ck_assert(runner.rc == KVSQL_BUSY || runner.rc == KVSQL_INTERRUPT);
    GIVES("SELECT count(*) FROM keys", "0");
}
END_TEST

START_TEST(a_query_that_has_ended_is_not_mistaken_for_the_next)
{
    ok("SELECT id FROM queries");
    ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT 1"), KVSQL_OK);
    ok("DELETE FROM queries WHERE id < 1000000");
    ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT key FROM keys"), KVSQL_OK);
    FAILS("UPDATE queries SET rows = 1", KVSQL_CONSTRAINT,
          "rows of queries cannot be changed");
    FAILS("INSERT INTO queries(id) VALUES(1)", KVSQL_CONSTRAINT,
          "rows of queries cannot be inserted");
}
END_TEST

START_TEST(a_text_that_is_not_kept_is_shown_cut)
{
    static char sql[40000];
    const int size = snprintf(sql, sizeof(sql), "SELECT length(sql) FROM "
                              "queries --%*s", 30000, "x");

    ck_assert_int_gt(size, 30000);
    GIVES(sql, "16384");
    GIVES(sql, "16384");
}
END_TEST

/* ---- views -------------------------------------------------------------------------- */

START_TEST(a_view_names_those_who_hold_it)
{
    ok("INSERT INTO strings(key, value) VALUES('k', 1)");
    GIVES("SELECT pins, position, holder LIKE 'query %', bytes, age_ms >= 0"
          " FROM strings CROSS JOIN views",
          "1|1|1|0|1");
    ok("BEGIN");
    GIVES("SELECT kv_get('k')", "1");
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "REPLACE INTO strings(key, value)"
                              " SELECT 'k', group_concat(kv_len('k'))"
                              " FROM kv_columns"),
                     KVSQL_OK);
    ok("SELECT id FROM queries");
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "SELECT position, pins, bytes > 0, holder"
                              " FROM views"),
                     KVSQL_OK);
    ck_assert_str_eq(fx.text, "1|1|1|transaction");
    ok("COMMIT");
    GIVES("SELECT count(*) FROM views", "0");
    ok("BEGIN");
    ok("REPLACE INTO strings(key, value) VALUES('k', 2)");
    GIVES("SELECT count(*) FROM views", "0");
    ok("COMMIT");
}
END_TEST

/* ---- clients ------------------------------------------------------------------------- */

static unsigned killed;

static void door_kill(struct cmd_client *client)
{
    (void)client;
    killed++;
}

static void door_push(struct cmd_client *client, const struct cmd_push *push)
{
    (void)client;
    (void)push;
}

static void door_facts(struct cmd_client *client,
                       struct cmd_client_facts *facts)
{
    (void)client;
    *facts = (struct cmd_client_facts){.query_size = 7, .output_size = 9};
}

START_TEST(clients_are_listed_and_deleting_one_kills_it)
{
    static const struct cmd_door door = {
        .kill = door_kill, .push = door_push, .facts = door_facts};
    static struct cmd_client one, two;
    char sql[128];

    killed = 0;
    one = (struct cmd_client){.addr = "127.0.0.1:1", .resp = 3};
    two = (struct cmd_client){.addr = "127.0.0.1:2", .resp = 2};
    cmd_client_open(&one, &door);
    cmd_client_open(&two, &door);
    atomic_store(&one.shown_resp, 3);
    atomic_store(&one.authenticated, true);
    atomic_store(&two.authenticated, false);
    GIVES("SELECT addr, proto, name, user, idle >= 0, cmd, in_bytes, out_bytes,"
          " view_age FROM clients ORDER BY id",
          "127.0.0.1:1|resp3||default|1|NULL|7|9|NULL\n"
          "127.0.0.1:2|resp2||NULL|1|NULL|7|9|NULL");
    vt_session_limits(fx.session, &(struct vt_limits){.trusted = true,
                                                      .client = one.id});
    ok("INSERT INTO strings(key, value) VALUES('k', 1)");
    GIVES("SELECT addr, view_age >= 0 FROM strings CROSS JOIN clients"
          " ORDER BY id",
          "127.0.0.1:1|1\n127.0.0.1:2|NULL");
    sqlite3_snprintf(sizeof(sql), sql, "DELETE FROM clients WHERE id = %llu",
                     (unsigned long long)one.id);
    ok(sql);
    ck_assert_uint_eq(killed, 1);
    ok("BEGIN");
    ok("DELETE FROM keys WHERE 0");
    ok("DELETE FROM clients"); /* under the store's lock, too */
    ok("COMMIT");
    ck_assert_uint_eq(killed, 3);
    cmd_client_close(&one);
    cmd_client_close(&two);
    GIVES("SELECT count(*) FROM clients", "0");
}
END_TEST

/* ---- slow commands --------------------------------------------------------------------- */

START_TEST(slow_commands_are_listed_as_redis_cli_takes_them)
{
    cmd_slowlog_limits(0, 128);
    cmd_slowlog_clear();
    ok("INSERT INTO kv_exec(cmd, a1, a2) VALUES('SET', 'a b', x'ff22')");
    cmd_slowlog_limits(-1, 128);
    GIVES("SELECT at, client, command, duration_us >= 0 FROM slowlog",
          "1700000000000||SET \"a b\" \"\\xff\\\"\"|1");
    ok("INSERT INTO kv_exec(cmd) SELECT command FROM slowlog");
    GIVES("SELECT hex(value) FROM strings", "FF22");
    cmd_slowlog_clear();
    GIVES("SELECT count(*) FROM slowlog", "0");
}
END_TEST

START_TEST(latency_has_a_row_for_each_command_that_ran)
{
    ok("INSERT INTO kv_exec(cmd) VALUES('GETRANGE k 0 1'), ('GETRANGE k 0 1')");
    GIVES("SELECT command, calls >= 2, p50_us > 0, p99_us >= p50_us,"
          " max_us >= p99_us, typeof(max_us) FROM latency"
          " WHERE command = 'GETRANGE'",
          "GETRANGE|1|1|1|1|real");
}
END_TEST

/* ---- options ---------------------------------------------------------------------------- */

static char option[2][32];

static const char *option_name(void *arg, unsigned index)
{
    static const char *const names[] = {"one", "", "two", NULL};

    (void)arg;
    return names[index];
}

static void option_get(void *arg, unsigned index, struct kv_buf *out)
{
    (void)arg;
    kv_buf_text(out, option[index / 2]);
}

static bool option_initial(void *arg, unsigned index, struct kv_buf *out)
{
    (void)arg;
    kv_buf_text(out, "0");
    return index == 0;
}

static kvsql_rc option_set(void *arg, struct kv_txn *txn, unsigned count,
                           const kvsql_slice *pairs, struct kvsql_error *err)
{
    (void)arg;
    (void)count;
    if (memcmp(pairs[0].p, "one", 3) != 0)
        return kv_fail(err, KVSQL_INVALID,
                       "ERR CONFIG SET failed (possibly related to argument "
                       "'two') - can't set immutable config");
    (void)snprintf(option[0], sizeof(option[0]), "%.*s%s",
                   (int)pairs[1].size, (const char *)pairs[1].p,
                   txn != NULL ? " in txn" : "");
    return KVSQL_OK;
}

START_TEST(options_are_rows_and_setting_a_value_is_config_set)
{
    const struct cmd_host host = {
        .config = {.name = option_name, .get = option_get,
                   .initial = option_initial, .set = option_set}};
    const struct cmd_host none = {.port = 0};

    GIVES("SELECT count(*) FROM config", "0");
    (void)snprintf(option[0], sizeof(option[0]), "1");
    (void)snprintf(option[1], sizeof(option[1]), "2");
    cmd_host_set(&host);
    GIVES("SELECT * FROM config", "one|1|0|1\ntwo|2|0|0");
    ok("UPDATE config SET value = 5 WHERE name = 'one'");
    GIVES("SELECT value, typeof(value) FROM config WHERE name = 'one'",
          "5|text");
    FAILS("UPDATE config SET value = 5 WHERE name = 'two'", KVSQL_INVALID,
          "ERR CONFIG SET failed (possibly related to argument 'two') - can't "
          "set immutable config");
    FAILS("UPDATE config SET value = 5, name = 'one' WHERE name = 'two'",
          KVSQL_CONSTRAINT, "only config.value can be set");
    FAILS("UPDATE config SET mutable = 1 WHERE name = 'two'",
          KVSQL_CONSTRAINT, "only config.value can be set");
    FAILS("UPDATE config SET value = NULL WHERE name = 'one'",
          KVSQL_CONSTRAINT, "NOT NULL constraint failed: config.value");
    FAILS("DELETE FROM config", KVSQL_CONSTRAINT,
          "rows of config cannot be deleted");
    ok("UPDATE config SET value = default_value WHERE value <> default_value"
       " AND mutable");
    GIVES("SELECT value FROM config", "0\n2");
    ok("BEGIN");
    ok("REPLACE INTO strings(key, value) VALUES('k', 1)");
    ok("UPDATE config SET value = 6 WHERE name = 'one'");
    ok("ROLLBACK"); /* what was set stays */
    GIVES("SELECT value FROM config", "6 in txn\n2");
    for (uint64_t n = 1, failed = 1; failed; n++) {
        kv_mem_fail_at(n, 0);
        kvsql_rc rc = rows_run(&fx, fx.session,
                               "UPDATE config SET value = '7' || name"
                               " WHERE name = 'one'");
        failed = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        ck_assert(failed || rc == KVSQL_OK);
    }
    GIVES("SELECT value FROM config", "7one\n2");
    cmd_host_set(&none);
}
END_TEST

/* ---- who may ------------------------------------------------------------------------------ */

START_TEST(only_an_administrator_sees_clients_queries_and_slow_commands)
{
    static const char *const closed[] = {
        "SELECT * FROM clients", "SELECT count(*) FROM queries",
        "DELETE FROM queries WHERE id = 1", "SELECT command FROM slowlog",
        "DELETE FROM clients", "SELECT value FROM config",
        "UPDATE config SET value = '1' WHERE name = 'none'"};
    static const char *const open[] = {
        "SELECT * FROM latency", "SELECT * FROM views", "SELECT * FROM stats",
        "SELECT * FROM snapshots"};

    for (unsigned pass = 0; pass < 2; pass++) {
        vt_session_limits(fx.other, &(struct vt_limits){0});
        for (size_t i = 0; i < sizeof(closed) / sizeof(*closed); i++)
            ck_assert_int_eq(rows_run(&fx, fx.other, closed[i]), KVSQL_AUTH);
        for (size_t i = 0; i < sizeof(open) / sizeof(*open); i++)
            ck_assert_int_eq(rows_run(&fx, fx.other, open[i]), KVSQL_OK);
        /* the tables are connected now, and the session is used again */
        vt_session_limits(fx.other, &(struct vt_limits){.admin = true});
        for (size_t i = 0; i < sizeof(closed) / sizeof(*closed); i++)
            ck_assert_int_eq(rows_run(&fx, fx.other, closed[i]), KVSQL_OK);
    }
    vt_session_limits(fx.other,
                      &(struct vt_limits){.admin = true, .read_only = true});
    ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT * FROM queries"),
                     KVSQL_OK);
    ck_assert_int_eq(rows_run(&fx, fx.other, "DELETE FROM queries"),
                     KVSQL_READONLY);
}
END_TEST

START_TEST(tables_about_the_server_are_not_for_views_and_triggers)
{
    ok("CREATE VIEW v AS SELECT * FROM queries");
    FAILS("SELECT * FROM v", KVSQL_SYNTAX,
          "unsafe use of virtual table \"queries\"");
    ok("CREATE VIEW w AS SELECT name FROM stats WHERE name = 'keys'");
    GIVES("SELECT * FROM w", "keys");
}
END_TEST

/* What kv_columns lists can be asked, and the other way round. */
START_TEST(kv_columns_lists_the_tables_that_are_there)
{
    const struct vt_host none = {.command_row = NULL};
    static const char missing[] =
        "SELECT DISTINCT tbl FROM kv_columns WHERE tbl NOT IN (SELECT name"
        " FROM pragma_module_list) ORDER BY 1";

    GIVES(missing, "");
    GIVES("SELECT count(DISTINCT tbl) FROM kv_columns WHERE tbl IN"
          " ('kv', 'kv_exec', 'clients', 'config', 'queries', 'changes')",
          "6");
    vt_session_close(fx.session);
    vt_host_set(&none);
    ck_assert_int_eq(vt_session_open(fx.db, &(struct vt_limits){.trusted = true},
                                     &fx.session, &fx.err),
                     KVSQL_OK);
    GIVES(missing, "");
    GIVES("SELECT count(DISTINCT tbl) FROM kv_columns WHERE tbl IN"
          " ('kv', 'kv_exec', 'clients', 'config', 'queries', 'changes')",
          "2");
    FAILS("SELECT * FROM kv('GET', 'k')", KVSQL_SYNTAX,
          "no such table: kv");
}
END_TEST

START_TEST(kv_meta_says_what_a_file_of_the_statements_view_would_say)
{
    static const char rows[] = "SELECT substr(name, 6) || '=' || value FROM"
                               " kv_meta WHERE name GLOB 'rows.*' AND value > 0"
                               " ORDER BY name";

    GIVES("SELECT group_concat(name, ' ') FROM kv_meta",
          "created_at format position store_id written_by rows.keys"
          " rows.strings rows.hashes rows.lists rows.sets rows.zsets"
          " rows.streams rows.stream_state rows.stream_groups"
          " rows.stream_consumers rows.stream_pending rows.kv_schema");
    GIVES("SELECT value FROM kv_meta WHERE name = 'format'", "1.0");
    GIVES("SELECT typeof(value), count(*), sum(value) FROM kv_meta"
          " WHERE name LIKE 'rows.%'", "integer|12|0");
    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2)");
    ok("INSERT INTO strings(key, value, expires_at) SELECT 'gone', 1, value + 50"
       " FROM kv_meta WHERE name = 'created_at'");
    ok("INSERT INTO lists(key, value) VALUES('l', 1), ('l', 2), ('l', 3)");
    ok("INSERT INTO sets(key, member) VALUES('s', 1), ('s', 2)");
    ok("INSERT INTO zsets(key, member, score) VALUES('z', 1, 1)");
    ok("INSERT INTO hashes(key, field, value) VALUES('h', 1, 1), ('h', 2, 2)");
    ok("INSERT INTO hashes(key, field, value, expires_at) SELECT 'h' || n, 'f',"
       " 1, value + 50 FROM kv_meta, (SELECT '' AS n UNION SELECT 2)"
       " WHERE name = 'created_at'");
    GIVES(rows, "hashes=4\nkeys=8\nlists=3\nsets=2\nstrings=3\nzsets=1");
    fx.wall += 60; /* hidden at once, whenever they are removed */
    GIVES(rows, "hashes=2\nkeys=6\nlists=3\nsets=2\nstrings=2\nzsets=1");
    ok("BEGIN");
    ok("DELETE FROM keys WHERE key = 'l'");
    GIVES(rows, "hashes=2\nkeys=5\nsets=2\nstrings=2\nzsets=1");
    ok("COMMIT");
    ok("CREATE VIRTUAL TABLE people USING kv_hash('p:{id}', id, name)");
    GIVES(rows, "hashes=2\nkeys=5\nkv_schema=1\nsets=2\nstrings=2\nzsets=1");
}
END_TEST

/* It is a walk over all keys: it ends with its statement. */
START_TEST(counting_the_rows_of_kv_meta_can_be_cancelled)
{
    ok("INSERT INTO strings(key, value) WITH RECURSIVE c(n) AS (SELECT 0 UNION"
       " ALL SELECT n + 1 FROM c LIMIT 2000) SELECT n, n FROM c");
    vt_session_limits(fx.other, &(struct vt_limits){.deadline_ms = 0});
    vt_interrupt(fx.other);
    ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT count(*) FROM kv_meta"),
                     KVSQL_OK);
    ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT value FROM kv_meta"),
                     KVSQL_INTERRUPT);
    ck_assert_str_eq(fx.err.text, "the statement was cancelled");
    vt_session_limits(fx.other, &(struct vt_limits){.deadline_ms = 0});
    ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT value FROM kv_meta"),
                     KVSQL_OK);
}
END_TEST

START_TEST(no_list_leaves_memory_behind_when_an_allocation_fails)
{
    static const char *const statements[] = {
        "SELECT * FROM queries", "SELECT * FROM views, stats",
        "SELECT * FROM slowlog", "SELECT * FROM latency",
        "SELECT * FROM kv_columns", "DELETE FROM queries",
        "DELETE FROM clients WHERE id = 1"};

    cmd_slowlog_limits(0, 128);
    ok("INSERT INTO kv_exec(cmd) VALUES('SET k 1')");
    cmd_slowlog_limits(-1, 128);
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        int failed = 1;
        for (uint64_t n = 1; failed; n++) {
            kv_mem_fail_at(n, 0);
            kvsql_rc rc = rows_run(&fx, fx.session, statements[i]);
            failed = kv_mem_failed();
            kv_mem_fail_at(0, 0);
            ck_assert_msg(failed || rc == KVSQL_OK, "%s: %s", statements[i],
                          fx.err.text);
        }
    }
    cmd_slowlog_clear();
}
END_TEST

static void add(TCase *tests)
{
    cli_join_sql();
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests,
                   a_query_is_shown_while_it_runs_and_deleting_it_ends_it);
    tcase_add_test(tests, a_query_that_waits_for_the_store_is_ended_too);
    tcase_add_test(tests, a_query_that_has_ended_is_not_mistaken_for_the_next);
    tcase_add_test(tests, a_text_that_is_not_kept_is_shown_cut);
    tcase_add_test(tests, a_view_names_those_who_hold_it);
    tcase_add_test(tests, clients_are_listed_and_deleting_one_kills_it);
    tcase_add_test(tests, slow_commands_are_listed_as_redis_cli_takes_them);
    tcase_add_test(tests, latency_has_a_row_for_each_command_that_ran);
    tcase_add_test(tests,
                   options_are_rows_and_setting_a_value_is_config_set);
    tcase_add_test(
        tests, only_an_administrator_sees_clients_queries_and_slow_commands);
    tcase_add_test(tests,
                   tables_about_the_server_are_not_for_views_and_triggers);
    tcase_add_test(tests, kv_columns_lists_the_tables_that_are_there);
    tcase_add_test(tests,
                   kv_meta_says_what_a_file_of_the_statements_view_would_say);
    tcase_add_test(tests, counting_the_rows_of_kv_meta_can_be_cancelled);
    tcase_add_test(tests,
                   no_list_leaves_memory_behind_when_an_allocation_fails);
}

int main(void)
{
    return unit_run("info", add);
}
