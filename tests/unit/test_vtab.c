/* test_vtab.c - what statements mean, and transactions of them (sql.md 2.5, 6). */
#include "tests/lib/rows_fx.h"

/* ---- what statements mean (2.5) ------------------------------------------------------- */

START_TEST(inserting_a_string_twice_is_a_duplicate_and_replace_is_set)
{
    ok("INSERT INTO strings(key, value, expires_at) VALUES('k', 1, 1800000000000)");
    FAILS("INSERT INTO strings(key, value) VALUES('k', 2)", KVSQL_EXISTS,
          "UNIQUE constraint failed: strings.key");
    GIVES("SELECT * FROM strings", "k|1|1800000000000");
    ok("REPLACE INTO strings(key, value) VALUES('k', 3)");
    GIVES("SELECT * FROM strings", "k|3|NULL");
    ok("INSERT INTO hashes(key, field, value) VALUES('h', 'f', 'v')");
    ok("REPLACE INTO strings(key, value) VALUES('h', 4)");
    GIVES("SELECT key, type FROM keys", "h|string\nk|string");
}
END_TEST

START_TEST(a_key_of_another_type_is_refused_by_name)
{
    ok("INSERT INTO lists(key, value) VALUES('k', 'a')");
    FAILS("INSERT INTO strings(key, value) VALUES('k', 2)", KVSQL_WRONGTYPE,
          "WRONGTYPE key 'k' holds a list");
    FAILS("REPLACE INTO sets VALUES('k', 'm')", KVSQL_WRONGTYPE,
          "WRONGTYPE key 'k' holds a list");
    ok("INSERT OR IGNORE INTO sets VALUES('k', 'm'), ('s', 'm')");
    GIVES("SELECT * FROM sets", "s|m");
}
END_TEST

START_TEST(not_null_columns_refuse_null)
{
    FAILS("INSERT INTO strings(key, value) VALUES(NULL, 2)", KVSQL_CONSTRAINT,
          "NOT NULL constraint failed: strings.key");
    FAILS("INSERT INTO hashes(key, field) VALUES('h', 'f')", KVSQL_CONSTRAINT,
          "NOT NULL constraint failed: hashes.value");
    ok("INSERT INTO zsets VALUES('z', 'm', 1)");
    FAILS("UPDATE zsets SET score = NULL", KVSQL_CONSTRAINT,
          "NOT NULL constraint failed: zsets.score");
    FAILS("INSERT INTO zsets VALUES('z', 'n', 'many')", KVSQL_CONSTRAINT,
          "zsets.score is not a number");
}
END_TEST

START_TEST(bytes_keep_their_class_and_the_empty_value_is_text)
{
    ok("INSERT INTO strings(key, value) VALUES(x'6b31', x'ff'), ('k2', x''),"
       " (x'00', 'a'), (5, 1.5)");
    GIVES("SELECT key, typeof(key), value, typeof(value) FROM strings",
          "5|text|1.5|text\nk1|text|x'ff'|blob\nk2|text||text\n"
          "x'00'|blob|a|text");
    GIVES("SELECT count(*) FROM strings WHERE key = x'6b31'", "0");
}
END_TEST

START_TEST(deleting_list_rows_renumbers_and_means_the_statements_view)
{
    ok("INSERT INTO lists(key, value) VALUES('l', 0), ('l', 1), ('l', 2),"
       " ('l', 3), ('l', 4), ('l', 5), ('m', 0), ('m', 1)");
    ok("DELETE FROM lists WHERE idx IN (0, 2, 4)");
    ck_assert_int_eq(vt_changes(fx.session), 4);
    GIVES("SELECT * FROM lists", "l|0|1\nl|1|3\nl|2|5\nm|0|1");
    ok("DELETE FROM lists WHERE key = 'l' AND value <> 3");
    GIVES("SELECT * FROM lists", "l|0|3\nm|0|1");
}
END_TEST

START_TEST(an_inserted_idx_pushes_sets_or_is_refused)
{
    ok("INSERT INTO lists VALUES('l', NULL, 'a'), ('l', 1, 'b'), ('l', -1, 'z')");
    GIVES("SELECT idx, value FROM lists", "0|z\n1|a\n2|b");
    FAILS("INSERT INTO lists VALUES('l', 1, 'c')", KVSQL_EXISTS,
          "UNIQUE constraint failed: lists.key, lists.idx");
    ok("REPLACE INTO lists VALUES('l', 1, 'c')");
    FAILS("INSERT INTO lists VALUES('l', 4, 'x')", KVSQL_CONSTRAINT,
          "lists.idx 4 is beyond the list, which has 3 elements");
    FAILS("UPDATE lists SET idx = 0 WHERE idx = 1", KVSQL_CONSTRAINT,
          "lists.key and lists.idx cannot be set: delete the row and insert "
          "it elsewhere");
    ok("UPDATE lists SET value = value || '!' WHERE idx > 0");
    GIVES("SELECT idx, value FROM lists", "0|z\n1|c!\n2|b!");
}
END_TEST

START_TEST(command_columns_change_the_value_that_is_there)
{
    ok("INSERT INTO strings(key, incr) VALUES('n', 1), ('n', 41), ('f', 0.5)");
    ok("INSERT INTO strings(key, append) VALUES('s', 'a'), ('s', 'b')");
    ok("INSERT INTO hashes(key, field, incr) VALUES('h', 'f', 2), ('h', 'f', 3)");
    ok("INSERT INTO zsets(key, member, incr) VALUES('z', 'm', 2), ('z', 'm', 3)");
    ok("UPDATE strings SET incr = 10 WHERE key = 'n'");
    GIVES("SELECT key, value FROM strings", "f|0.5\nn|52\ns|ab");
    GIVES("SELECT value FROM hashes", "5");
    GIVES("SELECT score FROM zsets", "5");
    FAILS("INSERT INTO strings(key, incr) VALUES('s', 1)", KVSQL_NOTINT,
          "strings.value: not an integer");
    FAILS("INSERT INTO strings(key, incr) VALUES('n', 9223372036854775807)",
          KVSQL_OVERFLOW, "strings.value: increment would overflow");
}
END_TEST

/* A debug build asserts that its locks are taken in order. */
START_TEST(the_lists_of_the_server_are_read_while_a_transaction_writes)
{
    ok("BEGIN");
    ok("INSERT INTO strings(key, value) VALUES('k', 1)");
    GIVES("SELECT count(*) FROM snapshots", "0");
    GIVES("SELECT value FROM stats WHERE name = 'keys'", "1");
    ok("COMMIT");
}
END_TEST

START_TEST(keys_rename_expire_and_go)
{
    ok("INSERT INTO sets VALUES('a', 'm')");
    ok("INSERT INTO strings(key, value) VALUES('b', 1)");
    FAILS("UPDATE keys SET key = 'b' WHERE key = 'a'", KVSQL_EXISTS,
          "UNIQUE constraint failed: keys.key");
    ok("UPDATE OR REPLACE keys SET key = 'b', expires_at = 1700000005000"
       " WHERE key = 'a'");
    GIVES("SELECT key, type, ttl FROM keys", "b|set|5000");
    fx.wall += 5001;
    GIVES("SELECT count(*) FROM keys", "0");
    ok("INSERT INTO strings(key, value) VALUES('b', 2)");
    ok("UPDATE keys SET expires_at = 1 WHERE key = 'b'");
    GIVES("SELECT count(*) FROM keys", "0");
    FAILS("INSERT INTO keys(key, type, length) VALUES('x', 'set', 1)",
          KVSQL_CONSTRAINT,
          "insert into strings, hashes, lists, sets, zsets or streams");
}
END_TEST

START_TEST(the_last_element_takes_the_key_with_it_and_a_move_keeps_its_ttl)
{
    ok("INSERT INTO hashes(key, field, value) VALUES('h', 'f', 'v')");
    ok("UPDATE keys SET expires_at = 1800000000000 WHERE key = 'h'");
    ok("UPDATE hashes SET field = 'g' WHERE key = 'h'");
    GIVES("SELECT key, length, expires_at FROM keys", "h|1|1800000000000");
    ok("DELETE FROM hashes");
    GIVES("SELECT count(*) FROM keys", "0");
}
END_TEST

START_TEST(update_from_hands_every_column_back_and_changes_what_it_names)
{
    ok("CREATE TEMP TABLE d(k, v)");
    ok("INSERT INTO d VALUES('h', 'new')");
    ok("INSERT INTO hashes(key, field, value) VALUES('h', 'f', 'old'),"
       " ('i', 'f', 'old')");
    ok("INSERT INTO lists(key, value) VALUES('l', 'old')");
    ok("INSERT INTO strings(key, value) VALUES('s', 'old')");
    ok("UPDATE hashes SET value = d.v FROM d WHERE d.k = hashes.key");
    ok("UPDATE lists SET value = d.v FROM d");
    ok("UPDATE strings SET value = d.v FROM d");
    GIVES("SELECT key, value FROM hashes UNION ALL SELECT key, value FROM lists"
          " UNION ALL SELECT key, value FROM strings",
          "h|new\ni|old\nl|new\ns|new");
}
END_TEST

/* WR5, WR6: what SQLite offers to virtual tables, too. */
START_TEST(rows_are_changed_in_order_up_to_a_limit_and_inserts_return_them)
{
    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2), ('c', 3),"
       " ('d', 4)");
    ok("DELETE FROM strings ORDER BY key DESC LIMIT 1");
    ok("UPDATE strings SET value = value || '!' WHERE key > 'a'"
       " ORDER BY value DESC LIMIT 1");
    ok("DELETE FROM strings ORDER BY key LIMIT 1 OFFSET 1");
    GIVES("SELECT key, value FROM strings", "a|1\nc|3!");
    GIVES("INSERT INTO strings(key, value) VALUES('e', 5), ('f', x'36')"
          " RETURNING key, value, typeof(value)",
          "e|5|text\nf|x'36'|blob"); /* before it becomes '6' */
    GIVES("SELECT typeof(value) FROM strings WHERE key = 'f'", "text");
    FAILS("DELETE FROM strings RETURNING key", KVSQL_SYNTAX,
          "DELETE RETURNING is not available on virtual tables");
    FAILS("INSERT INTO strings(key, value) VALUES('a', 1)"
          " ON CONFLICT DO NOTHING", KVSQL_SYNTAX,
          "UPSERT not implemented for virtual table \"strings\"");
    ok("CREATE TEMP TABLE log(what)");
    ok("CREATE TEMP VIEW door AS SELECT key, value FROM strings");
    ok("CREATE TEMP TRIGGER t INSTEAD OF INSERT ON door BEGIN"
       " INSERT OR REPLACE INTO strings(key, value) VALUES(new.key, new.value);"
       " INSERT INTO lists(key, value) VALUES('seen', new.key); END");
    ok("CREATE TEMP TRIGGER u AFTER INSERT ON log BEGIN"
       " DELETE FROM strings WHERE key = new.what; END");
    ok("INSERT INTO door VALUES('a', 'new'), ('g', 'h')");
    ok("INSERT INTO log VALUES('c'), ('none')");
    GIVES("SELECT key, value FROM strings", "a|new\ne|5\nf|6\ng|h");
    GIVES("SELECT value FROM lists", "a\ng");
}
END_TEST

/* PL5: one pass looks at one row. */
START_TEST(a_number_that_means_two_keys_is_changed_by_its_text_alone)
{
    static const char ambiguous[] = "ambiguous number, compare with text: "
                                    "several keys of strings are equal to it";

    ok("INSERT INTO strings(key, value) VALUES('7', 'a'), ('007', 'b')");
    ok("CREATE TEMP TABLE t(n INTEGER)");
    ok("INSERT INTO t VALUES(7), (8)");
    FAILS("DELETE FROM strings WHERE key = (SELECT n FROM t LIMIT 1)",
          KVSQL_INVALID, ambiguous);
    FAILS("UPDATE strings SET value = 'c' WHERE key = (SELECT n FROM t LIMIT 1)",
          KVSQL_INVALID, ambiguous);
    GIVES("SELECT key, value FROM strings", "007|b\n7|a");
    ok("DELETE FROM strings WHERE key = (SELECT n || '' FROM t LIMIT 1)");
    GIVES("SELECT key FROM strings", "007");
    ok("DELETE FROM strings WHERE key = (SELECT n FROM t LIMIT 1)");
    GIVES("SELECT count(*) FROM strings", "0"); /* it means one now */
}
END_TEST

START_TEST(a_delete_that_reads_another_table_of_ours_sees_one_state)
{
    ok("INSERT INTO strings(key, value) VALUES('a', 'b'), ('b', 'c'), ('c', 'a')");
    ok("DELETE FROM keys WHERE key IN (SELECT value FROM strings WHERE key < 'c')");
    GIVES("SELECT key FROM keys", "a");
    ok("INSERT INTO sets SELECT 'new', key FROM keys WHERE key IN ('a', 'new')");
    GIVES("SELECT member FROM sets", "a");
}
END_TEST

/* ---- transactions (section 6) ------------------------------------------------------------ */

START_TEST(a_savepoint_told_late_is_filled_with_the_beginning)
{ /* TX5 */
    ok("BEGIN");
    ok("SAVEPOINT a");
    ok("SAVEPOINT b");
    ok("INSERT INTO strings(key, value) VALUES('x', 1)");
    ok("RELEASE b");
    ok("INSERT INTO strings(key, value) VALUES('y', 1)");
    ok("SAVEPOINT c");
    ok("ROLLBACK TO a");
    GIVES("SELECT count(*) FROM strings", "0");
    ok("COMMIT");
    GIVES("SELECT count(*) FROM strings", "0");
}
END_TEST

START_TEST(rolling_back_to_the_outermost_savepoint_undoes_all)
{ /* TX6: xRollbackTo(-1) */
    ok("INSERT INTO strings(key, value) VALUES('before', 1)");
    ok("SAVEPOINT a");
    ok("INSERT INTO strings(key, value) VALUES('x', 1)");
    ok("ROLLBACK TO a");
    GIVES("SELECT key FROM strings", "before");
    ok("INSERT INTO strings(key, value) VALUES('y', 1)");
    ok("RELEASE a");
    GIVES("SELECT key FROM strings", "before\ny");
}
END_TEST

START_TEST(a_failing_statement_keeps_the_earlier_ones_of_its_transaction)
{ /* TX7 */
    ok("BEGIN");
    ok("INSERT INTO strings(key, value) VALUES('a', 1)");
    FAILS("INSERT INTO strings(key, value) VALUES('b', 1), ('a', 2)",
          KVSQL_EXISTS, "UNIQUE constraint failed: strings.key");
    ok("INSERT INTO sets VALUES('s', 'm')");
    ok("COMMIT");
    GIVES("SELECT key FROM keys", "a\ns");
}
END_TEST

/* SQLite begins nothing with a table that was made in the transaction, and tells it
 * of no savepoint before it. */
START_TEST(a_table_made_in_a_transaction_is_written_to_behind_it)
{
    static const char *const writes[] = {
        "INSERT INTO aside(key, value) VALUES('k', 1)", "DELETE FROM aside",
        "UPDATE aside SET value = 2"};

    ok("INSERT INTO strings(key, value) VALUES('a', 1)");
    for (int joined = 0; joined < 2; joined++) {
        ok("BEGIN");
        if (joined) ok("DELETE FROM strings WHERE 0");
        ok("CREATE VIRTUAL TABLE temp.aside USING strings");
        for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
            FAILS(writes[i], KVSQL_INVALID,
                  "strings: a table that is made in a transaction is written to "
                  "when that is over");
        GIVES("SELECT key FROM aside", "a");
        ok("COMMIT");
        ok(writes[0]);
        ok("DELETE FROM aside WHERE key = 'k'");
        ok("DROP TABLE aside");
    }
}
END_TEST

START_TEST(a_real_without_memory_for_its_text_is_not_stored)
{
    const struct vt_value real = {.kind = VT_REAL, .real = 3};
    static const char *const writes[] = {
        "REPLACE INTO strings(key, value) VALUES('k', ?)",
        "REPLACE INTO hashes(key, field, value) VALUES('h', 'f', ?)",
        "REPLACE INTO u(id, name) VALUES('i', ?)"};
    static const char *const reads[] = {
        "SELECT value FROM strings WHERE key = 'k'",
        "SELECT value FROM hashes WHERE key = 'h'", "SELECT name FROM u"};

    ok("CREATE VIRTUAL TABLE u USING kv_hash('u:{id}', id, name TEXT)");
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        kvsql_rc rc = KVSQL_NOMEM;
        ck_assert_int_eq(rows_ask(&fx, fx.session, writes[i], &real, 1, 0),
                         KVSQL_OK);
        for (uint64_t n = 1; rc != KVSQL_OK; n++) {
            ck_assert_uint_lt(n, 1000);
            kv_mem_fail_at(n, 0);
            rc = rows_ask(&fx, fx.session, writes[i], &real, 1, 0);
            kv_mem_fail_at(0, 0);
            GIVES(reads[i], "3.0");
        }
    }
}
END_TEST

START_TEST(a_transaction_of_the_session_commits_or_vanishes_whole)
{
    ck_assert_int_eq(vt_begin(fx.session, &fx.err), KVSQL_OK);
    ok("INSERT INTO strings(key, value) VALUES('a', 1)");
    ok("INSERT INTO sets VALUES('s', 'm')");
    ck_assert(vt_in_transaction(fx.session));
    vt_rollback(fx.session);
    ck_assert(!vt_in_transaction(fx.session));
    GIVES("SELECT count(*) FROM keys", "0");
    ck_assert_int_eq(vt_begin(fx.session, &fx.err), KVSQL_OK);
    ok("INSERT INTO strings(key, value) VALUES('a', 1)");
    ck_assert_int_eq(vt_commit(fx.session, &fx.err), KVSQL_OK);
    ck_assert_int_eq(rows_run(&fx, fx.other, "SELECT key FROM keys"), KVSQL_OK);
    ck_assert_str_eq(fx.text, "a");
}
END_TEST

START_TEST(a_transaction_reads_the_same_again_and_may_not_write_on_old_reading)
{ /* RD1, TX9 */
    ok("INSERT INTO strings(key, value) VALUES('a', 1)");
    ok("BEGIN");
    GIVES("SELECT value FROM strings", "1");
    ck_assert_int_eq(rows_run(&fx, fx.other, "UPDATE strings SET value = 2"),
                     KVSQL_OK);
    GIVES("SELECT value FROM strings", "1");
    ck_assert_int_eq(rows_run(&fx, fx.session, "UPDATE strings SET value = 3"),
                     KVSQL_SNAPSHOT);
    ok("ROLLBACK");
    GIVES("SELECT value FROM strings", "2");
    ok("BEGIN");
    ok("DELETE FROM keys WHERE 0"); /* locks: reading is now of the newest */
    GIVES("SELECT value FROM strings", "2");
    ok("UPDATE strings SET value = value + 1");
    GIVES("SELECT value FROM strings", "3");
    ok("COMMIT");
}
END_TEST

START_TEST(a_row_expiring_between_reading_and_writing_is_noticed)
{
    ok("INSERT INTO strings(key, value, expires_at)"
       " VALUES('a', 1, 1700000000100)");
    ok("BEGIN");
    GIVES("SELECT count(*) FROM strings", "1");
    fx.wall += 200;
    ck_assert_int_eq(rows_run(&fx, fx.session, "INSERT INTO sets VALUES('s', 'm')"),
                     KVSQL_SNAPSHOT);
    ok("ROLLBACK");
}
END_TEST

/* ---- memory ----------------------------------------------------------------- */

START_TEST(no_session_leaves_memory_behind_when_an_allocation_fails)
{
    static const char *const statements[] = {
        "INSERT INTO hashes SELECT 'h', key, value, NULL FROM strings",
        "UPDATE strings SET value = value || 'x', expires_at = NULL",
        "DELETE FROM lists WHERE idx IN (0, 2)",
        "SELECT key, rank, memory FROM keys WHERE key LIKE 'A%' ORDER BY key"};

    ok("INSERT INTO strings(key, value) VALUES('a', 1), ('b', 2)");
    ok("INSERT INTO lists(key, value) VALUES('l', 1), ('l', 2), ('l', 3)");
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        uint64_t n = 0;
        kvsql_rc rc = KVSQL_NOMEM;
        int failed = 1;
        ok("BEGIN");
        ok("DELETE FROM keys WHERE 0");
        while (failed) {
            ok("SAVEPOINT s");
            kv_mem_fail_at(++n, 0);
            rc = rows_run(&fx, fx.session, statements[i]);
            failed = kv_mem_failed();
            kv_mem_fail_at(0, 0);
            ck_assert_msg(failed || rc == KVSQL_OK, "%s: %s", statements[i],
                          fx.err.text);
            if (!vt_in_transaction(fx.session)) {
                ok("BEGIN");
                ok("DELETE FROM keys WHERE 0");
            } else {
                ok("ROLLBACK TO s");
                ok("RELEASE s");
            }
            GIVES("SELECT key, value FROM strings", "a|1\nb|2");
            GIVES("SELECT count(*) FROM lists", "3");
        }
        ok("COMMIT");
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_add_test(
        tests, inserting_a_string_twice_is_a_duplicate_and_replace_is_set);
    tcase_add_test(tests, a_key_of_another_type_is_refused_by_name);
    tcase_add_test(tests, not_null_columns_refuse_null);
    tcase_add_test(tests, bytes_keep_their_class_and_the_empty_value_is_text);
    tcase_add_test(
        tests, deleting_list_rows_renumbers_and_means_the_statements_view);
    tcase_add_test(tests, an_inserted_idx_pushes_sets_or_is_refused);
    tcase_add_test(tests, command_columns_change_the_value_that_is_there);
    tcase_add_test(
        tests, the_lists_of_the_server_are_read_while_a_transaction_writes);
    tcase_add_test(tests, keys_rename_expire_and_go);
    tcase_add_test(
        tests, the_last_element_takes_the_key_with_it_and_a_move_keeps_its_ttl);
    tcase_add_test(
        tests, update_from_hands_every_column_back_and_changes_what_it_names);
    tcase_add_test(
        tests, rows_are_changed_in_order_up_to_a_limit_and_inserts_return_them);
    tcase_add_test(
        tests, a_number_that_means_two_keys_is_changed_by_its_text_alone);
    tcase_add_test(tests,
                   a_delete_that_reads_another_table_of_ours_sees_one_state);
    tcase_add_test(tests, a_savepoint_told_late_is_filled_with_the_beginning);
    tcase_add_test(tests, rolling_back_to_the_outermost_savepoint_undoes_all);
    tcase_add_test(
        tests, a_failing_statement_keeps_the_earlier_ones_of_its_transaction);
    tcase_add_test(tests, a_table_made_in_a_transaction_is_written_to_behind_it);
    tcase_add_test(tests, a_real_without_memory_for_its_text_is_not_stored);
    tcase_add_test(tests,
                   a_transaction_of_the_session_commits_or_vanishes_whole);
    tcase_add_test(
        tests,
        a_transaction_reads_the_same_again_and_may_not_write_on_old_reading);
    tcase_add_test(tests,
                   a_row_expiring_between_reading_and_writing_is_noticed);
    tcase_add_test(
        tests, no_session_leaves_memory_behind_when_an_allocation_fails);
}

int main(void)
{
    return unit_run("vtab", add);
}
