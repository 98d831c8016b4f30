/* test_session.c - sessions of SQL: parameters, one statement at a time, limits,
 * rights, statements that are ended from elsewhere. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/rows_fx.h"

START_TEST(parameters_are_bound_by_number_and_name)
{
    const char *sql = "SELECT ?1, :name, typeof(?1), @other";
    struct vt_value v = {.kind = VT_TEXT, .p = (const uint8_t *)"x", .size = 1};
    struct vt_statement *statement;

    ck_assert_int_eq(vt_prepare(fx.session, sql, strlen(sql), NULL, &statement,
                                &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_param_count(statement), 3);
    ck_assert_int_eq(vt_param_index(statement, "name"), 2);
    ck_assert_int_eq(vt_param_index(statement, "nobody"), 0);
    ck_assert_int_eq(vt_bind(statement, 2, &v, &fx.err), KVSQL_OK);
    v = (struct vt_value){.kind = VT_BLOB};
    ck_assert_int_eq(vt_bind(statement, 1, &v, &fx.err), KVSQL_OK);
    ck_assert_int_eq(vt_bind(statement, 4, &v, &fx.err), KVSQL_RANGE);
    ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
    ck_assert_str_eq(fx.text, "x''|x|blob|NULL");
    vt_finish(statement);
    GIVES(sql, "NULL|NULL|null|NULL"); /* kept, but not its bindings */
}
END_TEST

/* Short ones lie beside the statement, a long one SQLite copies: none of them
 * is the caller's own. */
START_TEST(what_was_bound_stays_whatever_becomes_of_the_callers_bytes)
{
    static const char sql[] = "SELECT a.column1, ?1, ?2, length(?3) FROM "
                              "(VALUES (1), (2)) a";
    struct vt_statement *statement;
    uint8_t bytes[8192];

    ck_assert_int_eq(vt_prepare(fx.session, sql, sizeof(sql) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    for (int again = 0; again < 40; again++) {
        const struct vt_value v[] = {
            {.kind = VT_TEXT, .p = bytes, .size = 4},
            {.kind = VT_BLOB, .p = bytes, .size = 3},
            {.kind = VT_TEXT, .p = bytes, .size = sizeof(bytes)}};
        const int c = 'a' + again % 26;
        char row[64], expected[160];

        memset(bytes, c, sizeof(bytes));
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(vt_bind(statement, i + 1, &v[i], &fx.err),
                             KVSQL_OK);
        memset(bytes, '!', sizeof(bytes));
        ck_assert_int_eq(rows_drain(&fx, statement), KVSQL_OK);
        (void)snprintf(row, sizeof(row), "%c%c%c%c|x'%02x%02x%02x'|8192", c, c,
                       c, c, (unsigned)c, (unsigned)c, (unsigned)c);
        (void)snprintf(expected, sizeof(expected), "1|%s\n2|%s", row, row);
        ck_assert_str_eq(fx.text, expected);
    }
    vt_finish(statement);
}
END_TEST

START_TEST(one_statement_at_a_time_unless_the_tail_is_asked_for)
{
    const char *sql = "SELECT 1; -- one\nSELECT 2 /* two */ ; ";
    struct vt_statement *statement;
    size_t tail = 0;

    ck_assert_int_eq(rows_run(&fx, fx.session, sql), KVSQL_SYNTAX);
    GIVES("SELECT 1; -- nothing behind it /*", "1");
    ck_assert_int_eq(vt_prepare(fx.session, sql, strlen(sql), &tail, &statement,
                                &fx.err),
                     KVSQL_OK);
    vt_finish(statement);
    ck_assert_uint_eq(tail, 9);
    ck_assert_int_eq(vt_prepare(fx.session, sql + tail, strlen(sql) - tail,
                                &tail, &statement, &fx.err),
                     KVSQL_OK);
    ck_assert_uint_eq(tail, strlen(sql) - 9);
    vt_finish(statement);
    ck_assert_int_eq(vt_prepare(fx.session, " -- x", 5, NULL, &statement,
                                &fx.err),
                     KVSQL_OK);
    ck_assert_ptr_null(statement);
    ck_assert_int_eq(rows_run(&fx, fx.session, "SELECT nosuch FROM keys"),
                     KVSQL_SYNTAX);
    ck_assert_int_eq(vt_error_offset(fx.session), 7);
}
END_TEST

static struct vt_statement *first_row(const char *sql)
{
    struct vt_statement *statement;
    bool row;

    ck_assert_int_eq(vt_prepare(fx.session, sql, strlen(sql), NULL, &statement,
                                &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
    ck_assert(row);
    return statement;
}

/* Nothing happens to either of them. */
START_TEST(a_second_statement_waits_until_the_first_is_finished)
{
    static const char text[] = "another statement of this session is running: "
                               "read it to its end, or finish it, first";
    struct vt_statement *running;
    struct vt_value key;
    struct kv_txn *txn;
    bool row;

    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2)");
    running = first_row("SELECT key FROM keys");
    FAILS("INSERT INTO strings(key, value) VALUES('c', 3)", KVSQL_INVALID, text);
    FAILS("SELECT key FROM keys", KVSQL_INVALID, text); /* the same text */
    ck_assert_int_eq(vt_begin(fx.session, &fx.err), KVSQL_INVALID);
    ck_assert_int_eq(vt_step(running, &row, &fx.err), KVSQL_OK);
    vt_column(running, 0, &key);
    ck_assert(row && key.size == 1 && key.p[0] == 'b');
    ck_assert_int_eq(vt_step(running, &row, &fx.err), KVSQL_OK);
    ck_assert(!row);
    GIVES("SELECT key FROM keys", "a\nb"); /* it has ended: no need to finish */
    vt_finish(running);

    ck_assert_int_eq(vt_begin(fx.session, &fx.err), KVSQL_OK);
    ok("INSERT INTO strings(key, value) VALUES('c', 3)");
    running = first_row("SELECT key FROM keys");
    ck_assert_int_eq(vt_commit(fx.session, &fx.err), KVSQL_INVALID);
    ck_assert_str_eq(fx.err.text, text);
    ck_assert(vt_in_transaction(fx.session));
    vt_finish(running);
    ck_assert_int_eq(vt_commit(fx.session, &fx.err), KVSQL_OK);

    ck_assert_int_eq(vt_begin(fx.session, &fx.err), KVSQL_OK);
    running = first_row("SELECT key FROM keys WHERE key < 'c'");
    ck_assert_int_eq(vt_write(fx.session, &txn, &fx.err), KVSQL_INVALID);
    vt_rollback(fx.session);
    ck_assert(!vt_in_transaction(fx.session));
    GIVES("SELECT count(*) FROM keys", "3");
    vt_finish(running);
    GIVES("SELECT key FROM keys WHERE key < 'c'", "a\nb");
}
END_TEST

START_TEST(an_untrusted_session_is_held_to_what_is_listed)
{
    const struct vt_limits strict = {.deadline_ms = 600000, .row_max = 3},
                           hasty = {.deadline_ms = 200};
    static const char *const denied[] = {
        "ATTACH 'x' AS y", "CREATE TABLE t(a)", "SELECT printf('%d', 1)",
        "PRAGMA query_only=0", "BEGIN", "VACUUM", "SELECT load_extension('x')",
        "CREATE VIRTUAL TABLE f USING fts5(a)", "SELECT json_patch('{}', '{}')"};

    vt_session_limits(fx.session, &strict);
    for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
        ck_assert_msg(rows_run(&fx, fx.session, denied[i]) == KVSQL_AUTH, "%s: %s",
                      denied[i], fx.err.text);
    ok("INSERT INTO strings(key, value) VALUES(1,1), (2,2), (3,3), (4,4)");
    GIVES("SELECT key FROM strings", "1\n2\n3");
    vt_session_limits(fx.session, &hasty);
    FAILS("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)"
          " SELECT count(*) FROM c",
          KVSQL_INTERRUPT, "the statement ran into its deadline of 200 ms (sql-timeout)");
    vt_session_limits(fx.session, &strict);
    ck_assert_int_eq(vt_begin(fx.session, &fx.err), KVSQL_OK);
    ok("DELETE FROM strings WHERE key = 1");
    ck_assert_int_eq(vt_commit(fx.session, &fx.err), KVSQL_OK);
}
END_TEST

/* `count` times `piece` between `head` and `tail`; lives until the next. */
static const char *long_sql(const char *head, unsigned count, const char *piece,
                            const char *tail)
{
    static struct kv_buf sql;

    kv_buf_fini(&sql);
    kv_buf_init(&sql, KV_MEM_MISC, 8 << 20);
    kv_buf_text(&sql, head);
    for (unsigned i = 0; i < count; i++) kv_buf_text(&sql, piece);
    kv_buf_text(&sql, tail);
    kv_buf_byte(&sql, 0);
    ck_assert(!sql.failed);
    return (const char *)sql.p;
}

START_TEST(a_limit_that_is_met_is_named_with_its_value)
{
    const struct {
        const char *head, *piece, *tail;
        unsigned count;
        kvsql_rc rc;
        const char *end;
    } rows[] = {
        {"SELECT hex(zeroblob(", "1", "0000000))", 2, KVSQL_TOOBIG,
         "string or blob too big: the limit sql-max-value is 16777216"},
        {"SELECT 1 /*", "xxxxxxxxxxxxxxxx", "*/", 65536, KVSQL_TOOBIG,
         "statement too long: the limit sql-max-text is 1048576"},
        {"SELECT 1", ",1", "", 200, KVSQL_SYNTAX,
         "too many columns in result set: the limit sql-max-columns is 200"},
        {"SELECT 1 ORDER BY 1", ",1", "", 200, KVSQL_SYNTAX,
         "too many terms in ORDER BY clause: the limit sql-max-columns is 200"},
        {"SELECT 1", "+1", "", 100, KVSQL_SYNTAX,
         "(maximum depth 100): the limit sql-max-depth is 100"},
        {"SELECT 1", " UNION SELECT 1", "", 50, KVSQL_SYNTAX,
         "too many terms in compound SELECT: the limit sql-max-compound is 50"},
        {"SELECT 1 FROM keys WHERE key IN (length(key)", ",length(key)", ")",
         70000, KVSQL_TOOBIG, "too many steps: the limit sql-max-ops is 250000"},
        {"SELECT max(1", ",1", ")", 32, KVSQL_SYNTAX,
         "too many arguments on function max: the limit sql-max-args is 32"},
        {"SELECT 'a' LIKE '", "abcdefghijklmnop", "'", 63, KVSQL_INVALID,
         "pattern too complex: the limit sql-max-pattern is 1000"},
        {"SELECT ?10001", "", "", 0, KVSQL_SYNTAX,
         "between ?1 and ?10000: the limit sql-max-params is 10000"},
        {"SELECT group_concat(hex(randomblob(8000000))) FROM (SELECT 1",
         " UNION ALL SELECT 1", ")", 9, KVSQL_TOOBIG,
         "string or blob too big: the limit sql-max-value is 16777216"},
    };

    vt_session_limits(fx.session, &(struct vt_limits){.deadline_ms = 600000});
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kvsql_rc rc = rows_run(&fx, fx.session,
                             long_sql(rows[i].head, rows[i].count,
                                      rows[i].piece, rows[i].tail));
        size_t size = strlen(fx.err.text), end = strlen(rows[i].end);
        ck_assert_msg(rc == rows[i].rc, "%zu: %d %s", i, rc, fx.err.text);
        ck_assert_msg(size >= end && strcmp(fx.err.text + size - end,
                                            rows[i].end) == 0,
                      "%zu: %s", i, fx.err.text);
    }
}
END_TEST

START_TEST(a_limit_is_what_was_set_and_never_less_than_our_own_tables_need)
{
    vt_limit_set(VT_LIMIT_MEMORY, 1);
    vt_limit_set(VT_LIMIT_COLUMNS, 33);
    vt_limit_set(VT_LIMIT_DEPTH, UINT64_MAX);
    ck_assert_int_eq(vt_limit_get(VT_LIMIT_MEMORY), 1 << 20);
    ck_assert_int_eq(vt_limit_get(VT_LIMIT_DEPTH), INT32_MAX);
    vt_session_limits(fx.session, &(struct vt_limits){0});
    FAILS(long_sql("SELECT 1", 33, ",1", ""), KVSQL_SYNTAX,
          "too many columns in result set: the limit sql-max-columns is 33");
    FAILS("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT"
          " 100000) SELECT count(*) FROM (SELECT x, hex(zeroblob(100)) FROM c"
          " ORDER BY 2)",
          KVSQL_NOMEM,
          "the statement needs more bytes of memory than it may have: the "
          "limit sql-memory is 1048576");
    GIVES("SELECT count(*) FROM keys", "0"); /* and goes on */
    for (unsigned i = 0; i < VT_LIMIT_COUNT; i++)
        vt_limit_set((enum vt_limit_id)i, 0);
    ck_assert_int_eq(vt_limit_get(VT_LIMIT_COLUMNS), 200);
}
END_TEST

START_TEST(a_doubling_statement_ends_in_its_memory_or_time)
{
    const struct vt_limits strict = {.deadline_ms = 2000};
    char sql[4096] = "WITH a0 AS (SELECT 1 AS x)";
    size_t size = strlen(sql);
    kvsql_rc rc;

    for (int i = 1; i <= 26; i++)
        size += (size_t)snprintf(sql + size, sizeof(sql) - size,
                                 ", a%d AS (SELECT l.x FROM a%d l, a%d r)", i,
                                 i - 1, i - 1);
    (void)snprintf(sql + size, sizeof(sql) - size, " SELECT count(*) FROM a26");
    vt_session_limits(fx.session, &strict);
    rc = rows_run(&fx, fx.session, sql);
    ck_assert_msg(rc == KVSQL_NOMEM || rc == KVSQL_INTERRUPT, "%s",
                  fx.err.text);
    vt_session_limits(fx.session, &(struct vt_limits){.deadline_ms = 600000});
    GIVES("SELECT 1", "1");
}
END_TEST

/* TX10: whoever writes is waited for. */
START_TEST(a_value_that_is_too_long_hinders_those_who_ask_for_it_alone)
{
    ok("INSERT INTO strings(key, value) VALUES('big', zeroblob(20000)),"
       " ('small', 1)");
    vt_limit_set(VT_LIMIT_VALUE, 10000);
    vt_session_limits(fx.other, &(struct vt_limits){.deadline_ms = 0});
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "SELECT s.key, length, kv_len(s.key) FROM strings s"
                              " JOIN keys k ON k.key = s.key"),
                     KVSQL_OK);
    ck_assert_str_eq(fx.text, "big|20000|20000\nsmall|1|1");
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "SELECT value FROM strings WHERE key = 'small'"),
                     KVSQL_OK);
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "SELECT length(value) FROM strings"),
                     KVSQL_TOOBIG);
    ck_assert_str_eq(fx.err.text, "string or blob too big: the limit "
                                  "sql-max-value is 10000");
    ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT kv_get('big') IS NULL"),
                     KVSQL_TOOBIG);
    vt_limit_set(VT_LIMIT_VALUE, 0);
}
END_TEST

/* TX8: more savepoints than there is room for are like no memory, on which SQLite
 * ends the transaction. */
START_TEST(savepoints_have_a_maximum)
{
    ok("BEGIN");
    ok("INSERT INTO strings(key, value) VALUES('a', 1)");
    for (int i = 0; i < VT_SAVE_MAX; i++) ok("SAVEPOINT s");
    ck_assert_int_eq(rows_run(&fx, fx.session, "SAVEPOINT s"), KVSQL_NOMEM);
    ck_assert(!vt_in_transaction(fx.session));
    GIVES("SELECT count(*) FROM strings", "0");
    ok("BEGIN");
    ok("INSERT INTO strings(key, value) VALUES('a', 1)");
    for (int i = 0; i < VT_SAVE_MAX; i++) ok("SAVEPOINT s");
    ok("INSERT INTO strings(key, value) VALUES('b', 2)");
    ok("ROLLBACK TO s");
    ok("COMMIT");
    GIVES("SELECT key FROM strings", "a");
}
END_TEST

START_TEST(a_client_holds_the_store_no_longer_than_it_may)
{
    static const char text[] = "the transaction held the store for longer than "
                               "%u ms (sql-write-deadline): write less at once";
    char said[sizeof(text) + 10];
    const struct vt_limits limits = {.deadline_ms = 600000};
    static const char sql[] =
        "INSERT INTO lists(key, value) WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL"
        " SELECT n + 1 FROM c LIMIT 100000000) SELECT 'k', n FROM c";

    vt_limit_set(VT_LIMIT_WRITE, 30);
    vt_session_limits(fx.other, &limits);
    ck_assert_int_eq(rows_run(&fx, fx.other, sql), KVSQL_INTERRUPT);
    (void)snprintf(said, sizeof(said), text, 30);
    ck_assert_str_eq(fx.err.text, said);
    GIVES("SELECT count(*) FROM keys", "0");
    /* reading is no writing, however long it takes */
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT"
                              " n + 1 FROM c LIMIT 1000000) SELECT count(*)"
                              " FROM c"),
                     KVSQL_OK);
    /* a transaction as a whole; what ends it is never too late */
    vt_limit_set(VT_LIMIT_WRITE, 600000);
    (void)snprintf(said, sizeof(said), text, 600000);
    for (int commit = 0; commit < 2; commit++) {
        ck_assert_int_eq(vt_begin(fx.other, &fx.err), KVSQL_OK);
        ck_assert_int_eq(rows_run(&fx, fx.other, "INSERT INTO strings(key, value)"
                                                 " VALUES('a', 1)"),
                         KVSQL_OK);
        ck_assert_uint_gt(fx.other->write_until_ns, 0);
        fx.other->write_until_ns = 1;
        if (commit) {
            ck_assert_int_eq(vt_commit(fx.other, &fx.err), KVSQL_OK);
            continue;
        }
        ck_assert_int_eq(rows_run(&fx, fx.other, sql), KVSQL_INTERRUPT);
        ck_assert_str_eq(fx.err.text, said);
        vt_rollback(fx.other);
        GIVES("SELECT count(*) FROM keys", "0");
    }
    GIVES("SELECT key FROM keys", "a");
    ck_assert_uint_eq(fx.other->write_until_ns, 0);
    vt_limit_set(VT_LIMIT_WRITE, 0);
}
END_TEST

START_TEST(a_read_only_session_refuses_writes)
{
    const struct vt_limits limits = {.trusted = true, .read_only = true};

    vt_session_limits(fx.session, &limits);
    ck_assert_int_eq(
        rows_run(&fx, fx.session, "INSERT INTO strings(key, value) VALUES(1, 1)"),
        KVSQL_READONLY);
    GIVES("SELECT count(*) FROM keys", "0");
}
END_TEST

static void *interrupt_later(void *arg)
{
    kv_os_sleep_ms(50);
    vt_interrupt((struct vt_session *)arg);
    return NULL;
}

START_TEST(another_thread_can_end_a_statement)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, interrupt_later,
                                    fx.session),
                     0);
    FAILS("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)"
          " SELECT count(*) FROM c",
          KVSQL_INTERRUPT, "the statement was cancelled");
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    vt_resume(fx.session);
    GIVES("SELECT 1", "1");
}
END_TEST

/* It may come when a statement is prepared and has not begun, or between two. */
START_TEST(a_statement_that_is_to_end_before_it_begins_does_not_begin)
{
    static const char sql[] = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL"
                              " SELECT x + 1 FROM c LIMIT 1000000)"
                              " SELECT count(*) FROM c";
    struct vt_session *sessions[] = {fx.session, fx.other};
    const struct vt_limits limits = {.trusted = true};
    struct vt_statement *statement;
    bool row;

    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(vt_prepare(sessions[i], sql, sizeof(sql) - 1, NULL,
                                    &statement, &fx.err),
                         KVSQL_OK);
        vt_interrupt(sessions[i]);
        ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_INTERRUPT);
        vt_finish(statement);
        ck_assert_int_eq(rows_run(&fx, sessions[i], sql), KVSQL_INTERRUPT);
        vt_resume(sessions[i]);
        ck_assert_int_eq(rows_run(&fx, sessions[i], sql), KVSQL_OK);
    }
    ok("BEGIN");
    ok("INSERT INTO strings(key, value) VALUES('a', 1)");
    vt_interrupt(fx.session);
    vt_rollback(fx.session); /* it takes back whatever was asked */
    ck_assert(!vt_in_transaction(fx.session));
    vt_session_limits(fx.session, &limits); /* another asks from here on */
    GIVES("SELECT count(*) FROM strings", "0");
}
END_TEST

#define TURNS 3000 /* SQLite looks at its caller every so many steps of a kept one */

/* Whoever is gone while a transaction stands leaves none behind. */
START_TEST(what_begins_or_ends_a_transaction_is_done_whatever_was_asked)
{
    struct vt_session *sessions[] = {fx.session, fx.other};

    for (size_t i = 0; i < 2; i++)
        for (int turn = 0; turn < TURNS; turn++) {
            vt_interrupt(sessions[i]);
            ck_assert_int_eq(vt_begin(sessions[i], &fx.err), KVSQL_OK);
            vt_resume(sessions[i]);
            ck_assert_int_eq(rows_run(&fx, sessions[i],
                                      "INSERT OR REPLACE INTO strings(key, "
                                      "value) VALUES('a', 1)"),
                             KVSQL_OK);
            vt_interrupt(sessions[i]);
            if (turn % 2 == 0)
                vt_rollback(sessions[i]);
            else
                ck_assert_int_eq(vt_commit(sessions[i], &fx.err), KVSQL_OK);
            ck_assert(!vt_in_transaction(sessions[i]));
            vt_resume(sessions[i]);
        }
}
END_TEST

START_TEST(a_transaction_is_taken_back_without_memory)
{
    ok("BEGIN");
    ok("INSERT INTO strings(key, value) VALUES('a', 1)");
    kv_mem_fail_at(1, 1);
    vt_rollback(fx.session);
    kv_mem_fail_at(0, 0);
    ck_assert(!vt_in_transaction(fx.session));
    GIVES("SELECT count(*) FROM strings", "0");
}
END_TEST

/* What changes TEMP has SQLite compile all anew, ROLLBACK, too. */
START_TEST(a_transaction_that_made_a_table_is_taken_back_without_memory)
{
    static const char *const makes[] = {"CREATE TEMP TABLE aside(n)",
                                        "DROP TABLE other",
                                        "ALTER TABLE other ADD COLUMN m"};

    ok("INSERT INTO strings(key, value) VALUES('k', 1)");
    ok("CREATE TEMP TABLE other(n)");
    for (size_t i = 0; i < sizeof(makes) / sizeof(makes[0]); i++) {
        ck_assert_int_eq(vt_begin(fx.session, &fx.err), KVSQL_OK);
        ok("UPDATE strings SET value = 2");
        ok(makes[i]);
        kv_mem_fail_at(1, 1);
        vt_rollback(fx.session);
        kv_mem_fail_at(0, 0);
        ck_assert(!vt_in_transaction(fx.session));
        GIVES("SELECT value FROM strings", "1");
        GIVES("SELECT count(*) FROM sqlite_temp_schema", "1");
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_add_test(tests, parameters_are_bound_by_number_and_name);
    tcase_add_test(
        tests, what_was_bound_stays_whatever_becomes_of_the_callers_bytes);
    tcase_add_test(tests, one_statement_at_a_time_unless_the_tail_is_asked_for);
    tcase_add_test(tests,
                   a_second_statement_waits_until_the_first_is_finished);
    tcase_add_test(tests, an_untrusted_session_is_held_to_what_is_listed);
    tcase_add_test(tests, a_limit_that_is_met_is_named_with_its_value);
    tcase_add_test(
        tests, a_limit_is_what_was_set_and_never_less_than_our_own_tables_need);
    tcase_add_test(tests, a_doubling_statement_ends_in_its_memory_or_time);
    tcase_add_test(
        tests, a_value_that_is_too_long_hinders_those_who_ask_for_it_alone);
    tcase_add_test(tests, savepoints_have_a_maximum);
    tcase_add_test(tests, a_client_holds_the_store_no_longer_than_it_may);
    tcase_add_test(tests, a_read_only_session_refuses_writes);
    tcase_add_test(tests, another_thread_can_end_a_statement);
    tcase_add_test(tests,
                   a_statement_that_is_to_end_before_it_begins_does_not_begin);
    tcase_add_test(
        tests, what_begins_or_ends_a_transaction_is_done_whatever_was_asked);
    tcase_add_test(tests, a_transaction_is_taken_back_without_memory);
    tcase_add_test(tests,
                   a_transaction_that_made_a_table_is_taken_back_without_memory);
}

int main(void)
{
    return unit_run("session", add);
}
