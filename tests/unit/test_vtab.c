/* test_vtab.c - sessions, transactions, errors, bindings, plans of the SQL
 * side (sql.md). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- sessions ------------------------------------------------------------------------------ */

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
    const struct vt_limits strict = {.deadline_ms = 200, .row_max = 3};
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
    FAILS("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)"
          " SELECT count(*) FROM c",
          KVSQL_INTERRUPT, "the statement ran into its deadline of 200 ms (sql-timeout)");
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

    vt_session_limits(fx.session, &(struct vt_limits){.deadline_ms = 60000});
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
                               "30 ms (sql-write-deadline): write less at once";
    const struct vt_limits limits = {.deadline_ms = 600000};
    static const char sql[] =
        "INSERT INTO lists(key, value) WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL"
        " SELECT n + 1 FROM c LIMIT 100000000) SELECT 'k', n FROM c";

    vt_limit_set(VT_LIMIT_WRITE, 30);
    vt_session_limits(fx.other, &limits);
    ck_assert_int_eq(rows_run(&fx, fx.other, sql), KVSQL_INTERRUPT);
    ck_assert_str_eq(fx.err.text, text);
    GIVES("SELECT count(*) FROM keys", "0");
    /* reading is no writing, however long it takes */
    ck_assert_int_eq(rows_run(&fx, fx.other,
                              "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT"
                              " n + 1 FROM c LIMIT 1000000) SELECT count(*)"
                              " FROM c"),
                     KVSQL_OK);
    /* a transaction as a whole; what ends it is never too late */
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
        ck_assert_str_eq(fx.err.text, text);
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
    GIVES("SELECT 1", "1");
}
END_TEST

/* ---- plans and functions --------------------------------------------------------------------- */

/* What EXPLAIN QUERY PLAN says of the table, behind the colon. */
static void plan(const char *sql, const char *text)
{
    char explain[512];
    const char *colon;

    (void)snprintf(explain, sizeof(explain), "EXPLAIN QUERY PLAN %s", sql);
    ok(explain);
    colon = strchr(fx.text, ':');
    ck_assert_ptr_nonnull(colon);
    ck_assert_str_eq(colon + 1, text);
}

START_TEST(plans_take_what_they_can)
{
    plan("SELECT * FROM strings WHERE key = ?", "key=?");
    plan("SELECT * FROM strings WHERE key IN (?, ?) ORDER BY key DESC",
         "key IN");
    plan("SELECT * FROM strings WHERE key = ? OR key = 'b' ORDER BY key",
         "key IN");
    plan("SELECT * FROM keys WHERE key > ? ORDER BY key", "key range");
    plan("SELECT * FROM keys WHERE key GLOB 'a*'", "key prefix");
    plan("SELECT * FROM keys WHERE key LIKE 'a%'", "key prefix");
    plan("SELECT * FROM keys WHERE key = ? COLLATE NOCASE", "");
    plan("SELECT * FROM keys WHERE rank BETWEEN 1 AND 2", "rank range");
    plan("SELECT * FROM keys WHERE expires_at < ? ORDER BY expires_at",
         "expires_at range");
    plan("SELECT * FROM hashes WHERE key = ? AND field = ?", "key=? field=?");
    plan("SELECT * FROM hashes WHERE field = ?", "field=?");
    plan("SELECT * FROM lists WHERE key = ? AND idx >= ? ORDER BY idx",
         "key=? idx range");
    plan("SELECT * FROM lists WHERE key = ? AND idx IN (1, 2)",
         "key=? idx IN");
    plan("SELECT * FROM zsets WHERE key = ? AND score > ? ORDER BY score DESC",
         "key=? score range");
    plan("SELECT * FROM zsets WHERE key = ? AND rank = 0", "key=? rank=?");
    plan("SELECT * FROM zsets WHERE key = ? ORDER BY score LIMIT 3", "key=?");
    plan("SELECT max(key) FROM keys", "");
}
END_TEST

/* The table that is read first. */
static void leads(const char *sql, const char *name)
{
    char explain[512], scan[64];

    (void)snprintf(explain, sizeof(explain), "EXPLAIN QUERY PLAN %s", sql);
    (void)snprintf(scan, sizeof(scan), "SCAN %s ", name);
    ok(explain);
    const char *found = strstr(fx.text, "SCAN ");
    ck_assert_msg(found != NULL && strncmp(found, scan, strlen(scan)) == 0,
                  "%s: %s", sql, fx.text);
}

/* Ranges of literals are counted: the smaller one is the outer loop. */
START_TEST(a_range_of_literals_is_known_by_its_rows)
{
    ok("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n LIMIT "
       "1000) INSERT INTO strings(key, value) SELECT printf('many:%04d', i), i "
       "FROM n");
    ok("INSERT INTO strings(key, value) VALUES('few:1', 'a'), ('few:2', 'b')");
    leads("SELECT 1 FROM strings a, strings b WHERE a.key GLOB 'many:*' AND "
          "b.key GLOB 'few:*' AND a.value=b.value",
          "b");
    leads("SELECT 1 FROM strings b, strings a WHERE a.key GLOB 'few:*' AND "
          "b.key GLOB 'many:*' AND a.value=b.value",
          "a");
    leads("SELECT 1 FROM strings a, strings b WHERE a.key>='many:0001' AND "
          "b.key>='many:0990' AND a.value=b.value",
          "b");
    ok("BEGIN");
    ok("DELETE FROM strings WHERE key>='many:0003'");
    ok("INSERT INTO strings(key, value) VALUES('few:3', ''), ('few:4', ''), "
       "('few:5', ''), ('few:6', '')");
    leads("SELECT 1 FROM strings a, strings b WHERE a.key GLOB 'many:*' AND "
          "b.key GLOB 'few:?' AND b.key GLOB 'few:*' AND a.value=b.value",
          "a");
    ok("ROLLBACK");
}
END_TEST

/* PL6: whether SQLite looks at the rows again. */
static bool rechecked(const char *sql)
{
    char explain[512];

    ck_assert_int_lt(snprintf(explain, sizeof(explain), "EXPLAIN %s", sql),
                     (int)sizeof(explain));
    ok(explain);
    return strstr(fx.text, "|Ne|") != NULL || strstr(fx.text, "|Le|") != NULL ||
           strstr(fx.text, "|Ge|") != NULL;
}

START_TEST(only_what_compares_text_alone_is_not_looked_at_again)
{
    ok("INSERT INTO strings(key, value) VALUES('7', 'a'), ('007', 'b'), "
       "('7.0', 'c'), ('x', 'd')");
    ok("CREATE TABLE texts(t TEXT, n INTEGER, any)");
    ok("INSERT INTO texts VALUES('7', 7, 7)");
    ok("CREATE VIEW numbers AS SELECT n FROM texts");
    ck_assert(!rechecked("SELECT value FROM strings WHERE key=?"));
    ck_assert(!rechecked("SELECT value FROM strings WHERE key>=? AND key<?"));
    ck_assert(!rechecked("SELECT value FROM texts, strings WHERE key=t"));
    ck_assert(rechecked("SELECT value FROM strings, texts WHERE key=? AND "
                        "n IS NOT NULL"));
    ck_assert(rechecked("SELECT value FROM texts, strings WHERE key=n"));
    GIVES("SELECT value FROM strings WHERE key=7", "a");
    GIVES("SELECT value FROM strings WHERE key IN (7, 'x')", "a\nd");
    GIVES("SELECT value FROM texts, strings WHERE key=t", "a");
    GIVES("SELECT count(*) FROM texts, strings WHERE key=n", "3");
    GIVES("SELECT count(*) FROM numbers, strings WHERE key=n", "3");
    GIVES("SELECT count(*) FROM strings WHERE key=(SELECT n FROM texts)", "3");
    GIVES("SELECT count(*) FROM strings WHERE key=CAST('7' AS INTEGER)", "3");
    GIVES("WITH w(n) AS (VALUES(CAST('7' AS INTEGER))) SELECT count(*) FROM w, "
          "strings WHERE key=n",
          "3");
    GIVES("UPDATE strings SET value='e' WHERE key=7", "");
    GIVES("SELECT value FROM strings WHERE key IN ('7', '7.0')", "e\nc");
    /* one name in two schemas */
    ok("CREATE TABLE both(n INTEGER)");
    ok("INSERT INTO both VALUES(7)");
    ok("CREATE TEMP TABLE both(n TEXT)");
    GIVES("SELECT count(*) FROM main.both AS b, strings WHERE key=b.n", "3");
    ok("CREATE TABLE turned(n TEXT)");
    ok("CREATE TEMP TABLE turned(n INTEGER)");
    ok("INSERT INTO turned VALUES(7)");
    GIVES("SELECT count(*) FROM turned AS b, strings WHERE key=b.n", "3");
    /* a table of the session's own with the name of one of ours */
    ok("CREATE TEMP TABLE sets(key INTEGER, member TEXT)");
    ok("INSERT INTO sets VALUES(7, 'm')");
    GIVES("SELECT count(*) FROM sets, strings ON strings.key=sets.key", "3");
}
END_TEST

/* SQLite looks at what a list of row values found as if the list had no
 * affinity: where it has numbers, nothing may be looked up by it. */
START_TEST(a_list_of_row_values_finds_what_is_equal_as_a_number)
{
    ok("INSERT INTO sets(key, member) VALUES('7', 'm'), ('007', 'm'),"
       " ('8', 'm'), ('x', '007')");
    ok("CREATE TEMP TABLE t(k INTEGER, m TEXT, n INTEGER)");
    ok("INSERT INTO t VALUES(7, 'm', 7)");
    GIVES("SELECT key FROM sets WHERE (key, member) IN (SELECT k, m FROM t)",
          "007\n7");
    GIVES("SELECT key FROM sets WHERE (key, member)in(SELECT k, m FROM t)",
          "007\n7");
    GIVES("SELECT key FROM sets WHERE (key, member) /**/ IN"
          " (VALUES(CAST(7 AS INT), 'm'), (CAST(9 AS INT), 'm'))", "007\n7");
    GIVES("SELECT key FROM sets WHERE (member, key) IN"
          " (SELECT n, 'x' FROM t)", "x");
    GIVES("SELECT key FROM sets WHERE (key, member) NOT IN"
          " (SELECT k, m FROM t)", "8\nx");
    ok("INSERT INTO strings(key, value) VALUES('07', 'v'), ('+7', 'w')");
    GIVES("SELECT value FROM strings WHERE (key, value) IN"
          " (SELECT k, 'v' FROM t)", "v");
    ok("CREATE VIRTUAL TABLE people USING kv_hash('p:{id}', id, code TEXT,"
       " age INTEGER, INDEX(code))");
    ok("INSERT INTO people(id, code, age) VALUES('1', '007', 40)");
    GIVES("SELECT id FROM people WHERE (code, age) IN (SELECT n, '40' FROM t)",
          "1");
    GIVES("SELECT id FROM people WHERE (id, age) IN"
          " (SELECT CAST('01' AS INT), 40)", "1");
    /* what is known is looked up as ever, and a list of single values */
    ok("EXPLAIN QUERY PLAN SELECT key FROM sets WHERE key = 'a' AND"
       " (key, member) IN (SELECT k, m FROM t)");
    ck_assert_ptr_nonnull(strstr(fx.text, ":key=?\n"));
    ok("EXPLAIN QUERY PLAN SELECT key FROM sets WHERE key IN (SELECT k FROM t)");
    ck_assert_ptr_nonnull(strstr(fx.text, ":key IN\n"));
    ok("EXPLAIN QUERY PLAN SELECT key FROM t JOIN sets ON key = k");
    ck_assert_ptr_nonnull(strstr(fx.text, ":key=?"));
    ok("CREATE TEMP VIEW found AS SELECT key FROM sets WHERE (key, member) IN"
       " (SELECT k, m FROM t)");
    GIVES("SELECT * FROM found", "007\n7"); /* its text says nothing */
}
END_TEST

/* PL6, of one table that has other columns than text. */
START_TEST(what_reads_one_table_once_compares_its_text_as_text)
{
    ck_assert(!rechecked("SELECT * FROM strings WHERE key=?")); /* the first */
    ok("INSERT INTO strings(key, value, expires_at) VALUES"
       "('1900000000000.0', 'a', 1900000000000), ('7', 'b', NULL), "
       "('007', 'c', NULL), ('7.0', 'd', 1900000000000)");
    ck_assert(!rechecked("SELECT * FROM strings WHERE key=?"));
    ck_assert(!rechecked("SELECT s.key, expires_at FROM main.Strings AS s "
                         "WHERE key=? ORDER BY rank"));
    ck_assert(!rechecked("SELECT * FROM strings WHERE key=? AND expires_at IS "
                         "NULL"));
    ck_assert(rechecked("SELECT * FROM strings WHERE key=? AND expires_at=?"));
    ck_assert(rechecked("SELECT * FROM strings WHERE key=CAST(? AS TEXT)"));
    ck_assert(rechecked("SELECT a.value FROM strings a, strings b WHERE "
                        "a.key=b.expires_at"));
    GIVES("SELECT value, expires_at FROM strings WHERE key=7", "b|NULL");
    GIVES("SELECT value, expires_at FROM strings WHERE key IN (7, 8)",
          "b|NULL");
    GIVES("SELECT count(expires_at), count(*) FROM strings WHERE key<=7",
          "1|3");
    /* a number that takes the place of a column */
    GIVES("SELECT value FROM strings WHERE key=expires_at", "a");
    GIVES("SELECT value FROM strings WHERE key=expires_at AND "
          "expires_at=1900000000000",
          "a");
    GIVES("SELECT expires_at AS e, value FROM strings WHERE key=e AND "
          "e=1900000000000",
          "1900000000000|a");
    GIVES("SELECT value FROM strings WHERE 1900000000000=expires_at AND "
          "expires_at=key",
          "a");
    GIVES("SELECT b.value FROM strings a, strings b WHERE b.key=a.expires_at "
          "AND a.key='7.0'",
          "a");
    GIVES("SELECT count(*) FROM strings WHERE key IN (SELECT expires_at FROM "
          "strings)",
          "1");
    GIVES("SELECT count(*) FROM strings WHERE key=CAST('7' AS INTEGER)", "3");
}
END_TEST

START_TEST(a_walk_ends_at_its_upper_bound_however_many_rows_it_has)
{
    char sql[160];

    ok("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n LIMIT "
       "3000) INSERT INTO strings(key, value) SELECT printf('k%04d', i), 'v' "
       "FROM n");
    ok("UPDATE strings SET expires_at=1700000000000+50000 WHERE key IN "
       "('k0100', 'k1999', 'k2000', 'k2001')");
    ok("INSERT INTO sets(key, member) VALUES('k1500x', 'm'), ('k1999x', 'm')");
    for (int round = 0; round < 2; round++) {
        for (int n = 0; n < 3000; n += n < 40 ? 1 : 487) {
            (void)snprintf(sql, sizeof(sql),
                           "SELECT count(*), count(key), sum(length(value)), "
                           "max(key) FROM strings WHERE key<'k%04d'",
                           n);
            const int gone = round ? (n > 100) + (n > 1999) + (n > 2000) +
                                         (n > 2001)
                                   : 0;
            char wanted[80];
            if (n == 0)
                (void)snprintf(wanted, sizeof(wanted), "0|0|NULL|NULL");
            else
                (void)snprintf(wanted, sizeof(wanted), "%d|%d|%d|k%04d",
                               n - gone, n - gone, n - gone, n - 1);
            GIVES(sql, wanted);
            (void)snprintf(sql, sizeof(sql),
                           "SELECT count(*) FROM strings WHERE key<'k%04d'", n);
            (void)snprintf(wanted, sizeof(wanted), "%d", n - gone);
            GIVES(sql, wanted);
        }
        GIVES("SELECT count(*) FROM strings WHERE key GLOB 'k1*'",
              round ? "999" : "1000");
        GIVES("SELECT count(*) FROM keys WHERE key GLOB 'k1*'",
              round ? "1001" : "1002");
        GIVES("SELECT count(*) FROM strings WHERE key>='k0100' AND key<='k0100'",
              round ? "0" : "1");
        fx.wall += 60000;
    }
}
END_TEST

/* Keys of a list are looked up in groups; every third of these is there, and
 * one is longer than what is kept together. */
static void list_of_keys(char *sql, size_t size, const char *order)
{
    size_t used = (size_t)snprintf(
        sql, size, "SELECT count(*), min(key), max(key), group_concat(value) "
                   "FROM (SELECT key, value FROM strings WHERE key IN (");

    for (int i = 99; i >= 0; i--)
        used += (size_t)snprintf(sql + used, size - used, "'k%02d', ", i);
    (void)snprintf(sql + used, size - used,
                   "printf('%%.*c', 2000, 'x'), x'ff') ORDER BY key %s)",
                   order);
}

START_TEST(a_long_list_of_keys_is_found_whole_in_both_directions)
{
    char sql[4096];

    ok("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE "
       "i < 99) INSERT INTO strings(key, value) SELECT printf('k%02d', i), i "
       "FROM n WHERE i % 3 = 0");
    ok("INSERT INTO strings(key, value) VALUES (printf('%.*c', 2000, 'x'), "
       "'long'), (x'ff', 'blob')");
    ok("INSERT INTO sets(key, member) VALUES ('k01', 'a')");
    for (int writing = 0; writing < 2; writing++) {
        list_of_keys(sql, sizeof(sql), "");
        ok(sql);
        ck_assert_ptr_nonnull(strstr(fx.text, "36|k00|x'ff'|0,3,6,9,12,15,18"));
        ck_assert_ptr_nonnull(strstr(fx.text, ",96,99,long,blob"));
        list_of_keys(sql, sizeof(sql), "DESC");
        ok(sql);
        ck_assert_ptr_nonnull(strstr(fx.text, "|blob,long,99,96,93"));
        ck_assert_ptr_nonnull(strstr(fx.text, ",9,6,3,0"));
        if (writing > 0) break;
        ok("BEGIN");
        ok("UPDATE strings SET value = value WHERE key = 'k00'");
    }
    ok("ROLLBACK");
}
END_TEST

/* Rows that nobody looks at are stepped over; the same rows, all of which are
 * looked at, say what should come. */
START_TEST(a_scan_gives_what_it_is_asked_for_wherever_that_is)
{
    static const char *const wanted[] = {
        "value", "key", "expires_at", "rank",
        "CASE WHEN value LIKE '%7' THEN key ELSE value END",
        "CASE WHEN length(value) > 3 THEN expires_at ELSE value END",
        "key || value", "CASE WHEN key LIKE '%7' THEN key ELSE value END",
        "CASE WHEN value LIKE '%1' THEN expires_at ELSE key END",
        "CASE WHEN value LIKE '%3' THEN key || value || rank END"};
    static const char *const from[] = {"strings",
                                       "strings WHERE key > 'k100'",
                                       "strings WHERE key < 'k300'"};
    char sql[512];

    ok("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE "
       "i < 399) INSERT INTO strings(key, value, expires_at) SELECT "
       "printf('k%03d', i), CASE i % 5 WHEN 0 THEN i WHEN 1 THEN 'v' || i "
       "WHEN 2 THEN CAST('b' || i AS BLOB) || x'ff' WHEN 3 THEN printf('%.*c', "
       "i, 'x') || i ELSE '' END, iif(i % 11 = 0, 1800000000000 + i, NULL) "
       "FROM n");
    ok("INSERT INTO sets(key, member) VALUES ('k200x', 'b')");
    ok("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE "
       "i < 9) INSERT INTO strings(key, value) SELECT printf('k150%0*d', 9 * i "
       "+ 1, i), 'long' FROM n"); /* keys are not always copied in one go */
    for (size_t f = 0; f < sizeof(from) / sizeof(from[0]); f++)
        for (size_t w = 0; w < sizeof(wanted) / sizeof(wanted[0]); w++) {
            char *expected;
            (void)snprintf(sql, sizeof(sql),
                           "WITH m AS MATERIALIZED (SELECT key, value, "
                           "expires_at, rank FROM %s) SELECT count(*), "
                           "group_concat(ifnull(hex(%s), '-')) FROM m",
                           from[f], wanted[w]);
            ok(sql);
            expected = strdup(fx.text);
            ck_assert_ptr_nonnull(expected);
            (void)snprintf(sql, sizeof(sql),
                           "SELECT count(*), group_concat(ifnull(hex(%s), "
                           "'-')) FROM %s",
                           wanted[w], from[f]);
            ok(sql);
            ck_assert_str_eq(fx.text, expected);
            free(expected);
        }
}
END_TEST

START_TEST(functions_read_what_the_statement_reads)
{
    ok("INSERT INTO strings(key, value, expires_at)"
       " VALUES('a', 'v', 1700000001000)");
    ok("INSERT INTO hashes(key, field, value) VALUES('h', 'f', x'ff')");
    ok("INSERT INTO zsets VALUES('z', 'one', 1), ('z', 'two', 2)");
    GIVES("SELECT kv_get('a'), kv_get('h'), kv_get('no'), kv_hget('h', 'f'),"
          " kv_type('z'), kv_type('no'), kv_ttl('a'), kv_ttl('h')",
          "v|NULL|NULL|x'ff'|zset|NULL|1000|NULL");
    GIVES("SELECT kv_len('z'), kv_len('a'), kv_exists('h'), kv_exists('no'),"
          " kv_zscore('z', 'two'), kv_zrank('z', 'two'), kv_zrank('z', 'no')",
          "2|1|1|0|2|1|NULL");
    ok("BEGIN");
    ok("INSERT INTO strings(key, value) VALUES('b', 'w')");
    GIVES("SELECT kv_get('b')", "w");
    ok("ROLLBACK");
    GIVES("SELECT kv_get('b')", "NULL");
    GIVES("SELECT kv_num('10'), kv_num('007'), kv_num('1e3'), kv_num('x'),"
          " kv_num(' -0.5 '), kv_num('1.'), kv_key(x'61'), kv_key(x'ff'),"
          " hex(kv_text(x'61ff'))",
          "10|NULL|1000|NULL|-0.5|NULL|a|x'ff'|61EFBFBD");
}
END_TEST

/* TB4: the same in a file, where there is no kv_num. */
START_TEST(kv_num_agrees_with_what_a_file_can_say)
{
    static const char *const texts[] = {
        "10", "-10", "007", "0", "-0", "1e3", "1E+3", "1e", "1.5", ".5", "5.",
        "-", "", " 7", "7 ", "+7", "0x10", "inf", "nan", "true", "null",
        "\"7\"", "9223372036854775807", "9223372036854775808", "1e400",
        "12 34", "1_000", "--1", "0.0", "-0.0", "1.e3", "[1]", "10\n"};
    char sql[256];

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        sqlite3_snprintf(
            sizeof(sql), sql,
            "INSERT OR REPLACE INTO strings(key, value) VALUES(%d, '%q')",
            (int)i, texts[i]);
        ok(sql);
    }
    ok("INSERT INTO strings(key, value) VALUES('blob', x'ff')");
    GIVES("SELECT value, kv_num(value), n FROM (SELECT value, CASE WHEN"
          " typeof(value) = 'text' AND json_valid(value) AND"
          " json_type(value) IN ('integer', 'real') THEN value + 0 END AS n"
          " FROM strings) WHERE kv_num(value) IS NOT n OR"
          " typeof(kv_num(value)) <> typeof(n)",
          "");
    GIVES("SELECT kv_num('10'), kv_num('007'), kv_num('1e3'), kv_num(x'31')",
          "10|NULL|1000|NULL");
}
END_TEST

START_TEST(kv_count_agrees_with_glob)
{
    static const char *const patterns[] = {"*", "k:*", "k:1", "k:[12]", "?*",
                                           "nothing*", "k:?"};
    char sql[256];

    ok("INSERT INTO strings(key, value) VALUES('k:1', 1), ('k:2', 2),"
       " ('k:30', 3), ('m', 4), (x'ff', 5)");
    ok("UPDATE keys SET expires_at = 1700000000001 WHERE key = 'k:2'");
    fx.wall += 10;
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        (void)snprintf(sql, sizeof(sql),
                       "SELECT kv_count('%s') - (SELECT count(*) FROM keys"
                       " WHERE key GLOB '%s')",
                       patterns[i], patterns[i]);
        GIVES(sql, "0");
    }
    GIVES("SELECT kv_count('k:*')", "2");
}
END_TEST

START_TEST(deadlines_come_in_order_in_portions)
{
    ok("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE"
       " x < 2000) INSERT INTO strings(key, value, expires_at)"
       " SELECT 'k' || x, x, 1700000001000 + (x * 7919 % 500) FROM c");
    GIVES("SELECT count(*), count(DISTINCT key) FROM keys WHERE"
          " expires_at >= 0",
          "2000|2000");
    GIVES("SELECT count(*) FROM (SELECT expires_at e, lag(expires_at) OVER"
          " () p FROM (SELECT expires_at FROM keys WHERE expires_at > 0 ORDER"
          " BY expires_at)) WHERE e < p",
          "0");
}
END_TEST

START_TEST(the_text_functions_are_those_of_sqlite)
{
    GIVES("SELECT instr('h\xc3\xa9llo', 'l'), instr(x'680065', x'65'),"
          " instr('a', ''), instr('abc', 'd'), replace('aXbX', 'X', 'yy'),"
          " replace('abc', '', 'x'), replace('aaa', 'aa', 'b')",
          "3|3|1|0|ayybyy|abc|ba");
    GIVES("SELECT trim('  a '), ltrim('xxa', 'x'), rtrim('a\xc3\xa9\xc3\xa9',"
          " '\xc3\xa9'), trim('xyaxy', 'yx'), trim('\xc3\xa9" "a', 'a\xc3\xa9'),"
          " '[' || trim('aa', 'a') || ']'",
          "a|a|a|a||[]");
    GIVES("SELECT 'aXc' LIKE 'A_C', 'a%c' LIKE 'a\\%c' ESCAPE '\\', 'abc' LIKE"
          " 'a\\%c' ESCAPE '\\', 'abc' GLOB '*[b-c]', 'abc' GLOB 'a[^b]c',"
          " 'a]c' GLOB 'a[]]c', x'61' LIKE 'a', NULL LIKE 'a'",
          "1|1|0|1|0|1|0|NULL");
}
END_TEST

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
    tcase_set_timeout(tests, 60);
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
    tcase_add_test(tests,
                   a_transaction_of_the_session_commits_or_vanishes_whole);
    tcase_add_test(
        tests,
        a_transaction_reads_the_same_again_and_may_not_write_on_old_reading);
    tcase_add_test(tests,
                   a_row_expiring_between_reading_and_writing_is_noticed);
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
    tcase_add_test(tests, plans_take_what_they_can);
    tcase_add_test(tests, a_range_of_literals_is_known_by_its_rows);
    tcase_add_test(tests,
                   only_what_compares_text_alone_is_not_looked_at_again);
    tcase_add_test(tests, what_reads_one_table_once_compares_its_text_as_text);
    tcase_add_test(tests,
                   a_list_of_row_values_finds_what_is_equal_as_a_number);
    tcase_add_test(tests,
                   a_walk_ends_at_its_upper_bound_however_many_rows_it_has);
    tcase_add_test(
        tests, a_long_list_of_keys_is_found_whole_in_both_directions);
    tcase_add_test(tests, a_scan_gives_what_it_is_asked_for_wherever_that_is);
    tcase_add_test(tests, functions_read_what_the_statement_reads);
    tcase_add_test(tests, kv_num_agrees_with_what_a_file_can_say);
    tcase_add_test(tests, kv_count_agrees_with_glob);
    tcase_add_test(tests, deadlines_come_in_order_in_portions);
    tcase_add_test(tests, the_text_functions_are_those_of_sqlite);
    tcase_add_test(
        tests, no_session_leaves_memory_behind_when_an_allocation_fails);
}

int main(void)
{
    return unit_run("vtab", add);
}
