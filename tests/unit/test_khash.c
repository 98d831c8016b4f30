/* test_khash.c - kv_hash: hashes under a pattern as typed rows (sql.md 8).
 *
 * What a definition may say, what rows read and take. tests/sql/test_typed has
 * generated statements against a native table of the same declaration. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/rand.h"
#include "tests/lib/rows_fx.h"

#define SQL_MAX 4096

static char text[SQL_MAX];

static void khash_setup(void)
{
    fixture_setup();
    fx.literal = true;
}

#define USERS                                                                 \
    "CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, name TEXT,"    \
    " age INTEGER, score REAL, n NUMERIC, data BLOB)"

/* ---- definitions ----------------------------------------------------------- */

START_TEST(a_definition_that_cannot_be_kept_is_refused_in_a_sentence)
{
    static const char *const cases[][2] = {
        {"", "kv_hash: a pattern like 'user:{id}', the column id, and the "
             "others"},
        {"'u:{id}', id", "kv_hash: a column beside id is needed"},
        {"u, id, a", "kv_hash: the first argument is a pattern like "
                     "'user:{id}'"},
        {"'u:', id, a", "kv_hash: pattern 'u:': a prefix with one {column} at "
                        "its end"},
        {"'u:{id}:x', id, a", "kv_hash: pattern 'u:{id}:x': a prefix with one "
                              "{column} at its end"},
        {"'u:{a}{id}', id, a", "kv_hash: pattern 'u:{a}{id}': a prefix with "
                               "one {column} at its end"},
        {"'u:{}', id, a", "kv_hash: pattern 'u:{}': a prefix with one {column} "
                          "at its end"},
        {"'u:{id}', a, id", "kv_hash: column id of the pattern comes first"},
        {"'u:{id}', id INTEGER, a", "kv_hash: column id is a part of the key, "
                                    "and that is TEXT"},
        {"'u:{id}', id, a, A", "kv_hash: duplicate column A"},
        {"'u:{id}', id, key", "kv_hash: every table has a hidden column key of "
                              "its own"},
        {"'u:{id}', id, a NOT NULL", "kv_hash: column a: NOT is not possible, "
                                     "a column has a name and a type"},
        {"'u:{id}', id, a TEXT HIDDEN", "kv_hash: column a: HIDDEN is not "
                                        "possible, a column has a name and a "
                                        "type"},
        {"'u:{id}', id, a 'x'", "kv_hash: column a: ''x'' is no type"},
        {"'u:{id}', id, 5", "kv_hash: '5' is no column: a name and perhaps a "
                            "type"},
        {"'u:{id}', id, a, check (a)", "kv_hash: check (a) cannot be kept: a "
                                       "table has columns and indexes"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(text, SQL_MAX,
                       "CREATE VIRTUAL TABLE x USING kv_hash(%s)", cases[i][0]);
        ck_assert_int_ne(rows_run(&fx, fx.session, text), KVSQL_OK);
        ck_assert_str_eq(fx.err.text, cases[i][1]);
    }
    ok("CREATE VIRTUAL TABLE x USING kv_hash('o''x:{a b}', \"a b\", [index],"
       " `c``d` VARCHAR(20), e DOUBLE PRECISION)");
    ok("INSERT INTO x VALUES('7', 1, 2, 3)");
    GIVES("SELECT key, * FROM x", "'o'x:7'|'7'|'1'|'2'|3.0");
    GIVES("SELECT field FROM hashes", "'c`d'\n'e'\n'index'");
    FAILS("SELECT * FROM kv_hash", KVSQL_SYNTAX, "no such table: kv_hash");
}
END_TEST

START_TEST(a_definition_answers_with_its_position)
{
    const uint64_t before = vt_position(fx.session);

    ok("CREATE VIRTUAL TABLE u USING kv_hash('u:{id}', id, a)");
    ck_assert_uint_eq(vt_position(fx.session), before + 1);
    ok("INSERT INTO u(id, a) VALUES('1', '2')");
    ck_assert_uint_eq(vt_position(fx.session), before + 2);
    ok("DROP TABLE u");
    ck_assert_uint_eq(vt_position(fx.session), before + 3);
}
END_TEST

START_TEST(dropping_or_renaming_a_table_leaves_the_hashes_alone)
{
    ok("CREATE VIRTUAL TABLE temp.users USING kv_hash('user:{id}', id, name)");
    ok("INSERT INTO users(id, name) VALUES('1', 'Ann')");
    ok("ALTER TABLE users RENAME TO people");
    FAILS("INSERT INTO people(id, name) VALUES('1', 'Bob')", KVSQL_EXISTS,
          "UNIQUE constraint failed: people.id");
    ok("DELETE FROM people WHERE id = 2");
    ok("DROP TABLE people");
    GIVES("SELECT * FROM hashes", "'user:1'|'name'|'Ann'|NULL");
    ok(USERS);
    GIVES("SELECT id, name FROM users", "'1'|'Ann'");
}
END_TEST

/* ---- rows ------------------------------------------------------------------ */

START_TEST(values_are_read_as_a_native_column_of_the_type_has_them)
{
    ok(USERS);
    ok("INSERT INTO hashes(key, field, value) VALUES"
       " ('user:1', 'name', '041'), ('user:1', 'age', ' 041'),"
       " ('user:1', 'score', '41'), ('user:1', 'n', '4.10e1'),"
       " ('user:1', 'data', 'text'), ('user:2', 'name', x'ff'),"
       " ('user:2', 'age', 'abc'), ('user:2', 'score', '1e'),"
       " ('user:2', 'n', x'ff00'), ('user:2', 'data', ''),"
       " ('user:3', 'age', '9223372036854775808'), ('user:3', 'n', '-0'),"
       " ('user:3', 'score', '-0.0')");
    GIVES("SELECT * FROM users",
          "'1'|'041'|41|41.0|41|x'74657874'\n"
          "'2'|x'ff'|'abc'|'1e'|x'ff00'|x''\n"
          "'3'|NULL|9.2233720368547758e+18.0|0.0|0|NULL");
    ok("UPDATE users SET age = age, n = 41 WHERE id = '1'");
    GIVES("SELECT value FROM hashes WHERE key = 'user:1' AND field IN ('age',"
          " 'n')",
          "' 041'\n'4.10e1'");
}
END_TEST

START_TEST(a_real_that_is_written_reads_the_same_again)
{
    ok("CREATE VIRTUAL TABLE r USING kv_hash('r:{id}', id, x REAL)");
    GIVES("INSERT INTO r VALUES(1, 0.1 + 0.2), (2, 9e999), (3, -9e999),"
          " (4, 5e-324), (5, 1e22), (6, 3), (7, 1.7976931348623157e308)"
          " RETURNING 1",
          "1\n1\n1\n1\n1\n1\n1");
    GIVES("SELECT x = 0.1 + 0.2 FROM r WHERE id = '1'", "1");
    GIVES("SELECT value FROM hashes WHERE key IN ('r:2', 'r:3', 'r:5', 'r:6')",
          "'9e999'\n'-9e999'\n'1e+22'\n'3'");
    struct rand_state rand = rand_of(rand_seed("reals", 7));
    for (unsigned i = 0; i < 3000; i++) {
        struct vt_value v = {.kind = VT_REAL};
        struct vt_statement *statement;
        const char sql[] = "REPLACE INTO r VALUES(0, ?)";
        uint64_t bits = rand_next(&rand);
        size_t size;
        bool row;

        memcpy(&v.real, &bits, sizeof(bits));
        if (!(fabs(v.real) > 1e-280 && fabs(v.real) < 1e280)) continue;
        ck_assert_int_eq(vt_prepare(fx.session, sql, sizeof(sql) - 1, NULL,
                                    &statement, &fx.err),
                         KVSQL_OK);
        ck_assert_int_eq(vt_bind(statement, 1, &v, &fx.err), KVSQL_OK);
        ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
        vt_finish(statement);
        size = 0;
        rows_value(text, &size, &v, true);
        GIVES("SELECT x FROM r WHERE id = '0'", text);
    }
}
END_TEST

START_TEST(other_fields_are_shown_as_json_and_cannot_be_set)
{
    ok(USERS);
    ok("INSERT INTO hashes(key, field, value) VALUES"
       " ('user:1', 'name', 'Ann'), ('user:1', 'a\"b', 'c\\d' || char(10, 1)),"
       " ('user:1', x'ff', x'fe00'), ('user:2', 'x', '')");
    GIVES("SELECT id, key, _extra, json_valid(_extra) FROM users",
          "'1'|'user:1'|'{\"a\\\"b\":\"c\\\\d\\n\\u0001\","
          "\"$hex:FF\":{\"$hex\":\"FE00\"}}'|1\n"
          "'2'|'user:2'|'{\"x\":\"\"}'|1");
    GIVES("SELECT (SELECT json_group_object(field, value) FROM hashes h WHERE"
          " h.key = u.key AND typeof(field) = 'text' AND field <> 'name') ="
          " replace(_extra, ',\"$hex:FF\":{\"$hex\":\"FE00\"}', '') FROM users u",
          "1\n1");
    FAILS("UPDATE users SET _extra = '{}' WHERE id = '1'", KVSQL_CONSTRAINT,
          "users._extra cannot be set");
    FAILS("INSERT INTO users(id, name, key) VALUES(3, 'x', 'y')",
          KVSQL_CONSTRAINT, "users.key cannot be set");
    ok("UPDATE users SET name = 'Bob' FROM (SELECT 1) WHERE id = '2'");
    GIVES("SELECT name, _extra FROM users WHERE id = '2'",
          "'Bob'|'{\"x\":\"\"}'");
}
END_TEST

START_TEST(what_is_no_hash_or_has_another_prefix_is_no_row)
{
    ok(USERS);
    ok("INSERT INTO strings(key, value) VALUES('user:2', 'x'), ('a', 'y')");
    ok("INSERT INTO hashes(key, field, value) VALUES('user:', 'age', 1),"
       " ('user:1', 'age', 2), ('user;', 'age', 3), ('use', 'age', 4),"
       " (CAST('user:' AS BLOB) || x'ff', 'age', 5), (x'00', 'age', 6),"
       " ('user:\xc3\xa9', 'age', 7), (x'ff', 'age', 8)");
    GIVES("SELECT id, age FROM users",
          "''|1\n'1'|2\n'\xc3\xa9'|7\nx'ff'|5");
    GIVES("SELECT id FROM users ORDER BY id DESC",
          "x'ff'\n'\xc3\xa9'\n'1'\n''");
    GIVES("SELECT age FROM users WHERE id > ''", "2\n7\n5");
    GIVES("SELECT age FROM users WHERE id >= x''", "5");
    GIVES("SELECT age FROM users WHERE id < x''", "1\n2\n7");
    GIVES("SELECT count(*) FROM users", "4");
    FAILS("INSERT INTO users(id, name) VALUES('2', 'x')", KVSQL_WRONGTYPE,
          "WRONGTYPE key 'user:2' holds a string");
    FAILS("REPLACE INTO users(id, name) VALUES('2', 'x')", KVSQL_WRONGTYPE,
          "WRONGTYPE key 'user:2' holds a string");
    FAILS("UPDATE OR REPLACE users SET id = 2 WHERE id = '1'",
          KVSQL_WRONGTYPE, "WRONGTYPE key 'user:2' holds a string");
    ok("CREATE VIRTUAL TABLE every USING kv_hash('{k}', k, age INT)");
    GIVES("SELECT group_concat(age) FROM every", "'4,1,2,7,3,6,5,8'");
}
END_TEST

START_TEST(rows_are_inserted_replaced_changed_and_removed_as_hashes)
{
    ok(USERS);
    ok("INSERT INTO users(id, name, age) VALUES('1', 'Ann', 41), ('2', 'B', 2)");
    ok("INSERT INTO hashes(key, field, value) VALUES('user:1', 'x', 'y')");
    FAILS("INSERT INTO users(id, name) VALUES('1', 'x')", KVSQL_EXISTS,
          "UNIQUE constraint failed: users.id");
    FAILS("INSERT INTO users(id, name) VALUES(NULL, 'x')", KVSQL_CONSTRAINT,
          "NOT NULL constraint failed: users.id");
    FAILS("UPDATE users SET id = NULL", KVSQL_CONSTRAINT,
          "NOT NULL constraint failed: users.id");
    FAILS("INSERT INTO users(id) VALUES('3')", KVSQL_CONSTRAINT,
          "users: a row needs a value beside id, a hash has at least one "
          "field");
    ok("INSERT OR IGNORE INTO users(id, name) VALUES('1', 'x'), ('4', 'D')");
    ok("UPDATE users SET name = NULL, age = age + 1 WHERE id = '1'");
    GIVES("SELECT field, value FROM hashes WHERE key = 'user:1'",
          "'age'|'42'\n'x'|'y'");
    FAILS("UPDATE users SET id = '2' WHERE id = '1'", KVSQL_EXISTS,
          "UNIQUE constraint failed: users.id");
    ok("UPDATE OR REPLACE users SET id = '2', n = 7 WHERE id = '1'");
    GIVES("SELECT id, name, age, n, _extra FROM users",
          "'2'|NULL|42|7|'{\"x\":\"y\"}'\n'4'|'D'|NULL|NULL|NULL");
    ok("REPLACE INTO users(id, name) VALUES('2', 'New')");
    GIVES("SELECT id, name, age, n, _extra FROM users WHERE id = '2'",
          "'2'|'New'|NULL|NULL|NULL");
    ok("UPDATE users SET name = NULL WHERE id = '4'"); /* the last field */
    GIVES("SELECT key FROM keys", "'user:2'");
    ok("DELETE FROM users WHERE name = 'New'");
    GIVES("SELECT count(*) FROM keys", "0");
    (void)snprintf(text, SQL_MAX, "INSERT INTO users(id, name) VALUES("
                                    "printf('%%.*c', 65532, 'x'), 'y')");
    FAILS(text, KVSQL_TOOBIG,
          "a key is at most 65536 bytes, users.id makes it 65537");
}
END_TEST

START_TEST(rows_expire_and_fields_keep_their_time)
{
    ok(USERS);
    ok("INSERT INTO users(id, name, expires_at) VALUES('1', 'a', 1700000000500),"
       " ('2', 'b', NULL), ('3', 'c', 5)");
    GIVES("SELECT id, expires_at FROM users", "'1'|1700000000500\n'2'|NULL");
    ok("INSERT INTO hashes VALUES('user:2', 'age', 7, 1700000000300)");
    ok("UPDATE users SET age = 8, name = 'bb' WHERE id = '2'");
    GIVES("SELECT field, expires_at FROM hashes WHERE key = 'user:2'",
          "'age'|1700000000300\n'name'|NULL");
    fx.wall += 300;
    GIVES("SELECT id, age FROM users", "'1'|NULL\n'2'|NULL");
    fx.wall += 200;
    GIVES("SELECT id FROM users", "'2'");
    ok("INSERT INTO users(id, name) VALUES('1', 'again')");
    GIVES("SELECT id, expires_at FROM users WHERE id = '1'", "'1'|NULL");
    ok("UPDATE users SET expires_at = 1700000001000");
    ok("UPDATE users SET expires_at = NULL WHERE id = '1'");
    GIVES("SELECT id, expires_at FROM users", "'1'|NULL\n'2'|1700000001000");
    ok("UPDATE users SET expires_at = 1 WHERE id = '1'");
    FAILS("UPDATE users SET expires_at = 'soon'", KVSQL_CONSTRAINT,
          "users.expires_at is not a time in ms since the epoch");
    GIVES("SELECT key FROM keys", "'user:2'");
}
END_TEST

START_TEST(plans_name_the_key_column)
{
    static const char *const cases[][2] = {
        {"SELECT * FROM users WHERE id = '1'", "id=?"},
        {"SELECT * FROM users WHERE id IN ('1', '2')", "id IN"},
        {"SELECT * FROM users WHERE id > '1' AND age = 1", "id range"},
        {"SELECT * FROM users WHERE id GLOB 'a*' ORDER BY id", "id prefix"},
        {"SELECT * FROM users WHERE age = 1 ORDER BY id DESC", ""}};

    ok(USERS);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(text, SQL_MAX, "EXPLAIN QUERY PLAN %s", cases[i][0]);
        ok(text);
        ck_assert_ptr_nonnull(strstr(fx.text, cases[i][1]));
        ck_assert_ptr_null(strstr(fx.text, "TEMP B-TREE"));
    }
}
END_TEST

/* Whether `b` is the outer loop of a join without an index. */
static bool outer(const char *sql)
{
    const char *a, *b;

    (void)snprintf(text, SQL_MAX, "EXPLAIN QUERY PLAN %s", sql);
    ok(text);
    a = strstr(fx.text, "SCAN a ");
    b = strstr(fx.text, "SCAN b ");
    ck_assert(a != NULL && b != NULL);
    return b < a;
}

START_TEST(a_table_is_known_by_the_rows_behind_its_prefix)
{
    ok(USERS);
    ok("CREATE VIRTUAL TABLE pets USING kv_hash('pet:{id}', id, name)");
    ok("WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i+1 FROM n LIMIT"
       " 500) INSERT INTO users(id, name) SELECT i, i FROM n");
    ok("INSERT INTO pets VALUES('1', 'a'), ('2', 'b')");
    ck_assert(outer("SELECT 1 FROM users a, pets b WHERE a.name = b.name"));
    ck_assert(!outer("SELECT 1 FROM pets a, users b WHERE a.name = b.name"));
    ck_assert(outer("SELECT 1 FROM users a, users b WHERE a.name = b.name AND"
                    " a.id > '11' AND b.id > '598'"));
}
END_TEST

START_TEST(a_table_takes_part_in_the_transaction_of_the_session)
{
    ok(USERS);
    ok("BEGIN");
    ok("INSERT INTO users(id, name) VALUES('1', 'a')");
    ok("SAVEPOINT s");
    ok("INSERT INTO strings(key, value) VALUES('s', '1')");
    ok("UPDATE users SET name = 'b', id = '2'");
    GIVES("SELECT id, name FROM users", "'2'|'b'");
    ok("ROLLBACK TO s");
    GIVES("SELECT id, name FROM users", "'1'|'a'");
    ok("INSERT INTO hashes(key, field, value) VALUES('user:1', 'age', '5')");
    GIVES("SELECT id, name, age FROM users WHERE id = '1'", "'1'|'a'|5");
    ok("COMMIT");
    ok("BEGIN");
    ok("DELETE FROM users");
    ok("ROLLBACK");
    GIVES("SELECT id, name, age FROM users", "'1'|'a'|5");
    GIVES("SELECT count(*) FROM strings", "0");
}
END_TEST

START_TEST(nothing_is_torn_or_lost_when_an_allocation_fails)
{
    static const char *const statements[] = {
        "INSERT INTO users(id, name, age, score) VALUES('3', 'c', 1, 0.1 + 0.2)",
        "REPLACE INTO users(id, score) SELECT id, 1.5 FROM users",
        "UPDATE OR REPLACE users SET id = '2', name = NULL, age = 1e17"
        " WHERE id = '1'",
        "DELETE FROM users WHERE score > 0",
        "SELECT *, _extra, key FROM users WHERE id GLOB '[12]*' OR score = 2.5",
        "CREATE VIRTUAL TABLE temp.u2 USING kv_hash('u:{id}', id, \"a b\" INT)"};
    static const char *const rows = "'1'|'a'|2.5|'{\"x\":\"y\"}'\n"
                                    "'2'|'b'|3.5|NULL";

    ok(USERS);
    ok("INSERT INTO users(id, name, score) VALUES('1', 'a', 2.5),"
       " ('2', 'b', 3.5)");
    ok("INSERT INTO hashes(key, field, value) VALUES('user:1', 'x', 'y')");
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        int failed = 1;
        for (uint64_t n = 1; failed; n++) {
            kvsql_rc rc;
            ok("BEGIN");
            kv_mem_fail_at(n, 0);
            rc = rows_run(&fx, fx.session, statements[i]);
            failed = kv_mem_failed();
            kv_mem_fail_at(0, 0);
            ck_assert_msg(rc == KVSQL_OK || (failed && rc == KVSQL_NOMEM),
                          "%s: %s", statements[i], fx.err.text);
            if (vt_in_transaction(fx.session)) ok("ROLLBACK");
            GIVES("SELECT id, name, score, _extra FROM users", rows);
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, khash_setup, fixture_teardown);
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, a_definition_answers_with_its_position);
    tcase_add_test(tests,
                   a_definition_that_cannot_be_kept_is_refused_in_a_sentence);
    tcase_add_test(tests,
                   dropping_or_renaming_a_table_leaves_the_hashes_alone);
    tcase_add_test(tests,
                   values_are_read_as_a_native_column_of_the_type_has_them);
    tcase_add_test(tests, a_real_that_is_written_reads_the_same_again);
    tcase_add_test(tests, other_fields_are_shown_as_json_and_cannot_be_set);
    tcase_add_test(tests, what_is_no_hash_or_has_another_prefix_is_no_row);
    tcase_add_test(
        tests, rows_are_inserted_replaced_changed_and_removed_as_hashes);
    tcase_add_test(tests, rows_expire_and_fields_keep_their_time);
    tcase_add_test(tests, plans_name_the_key_column);
    tcase_add_test(tests, a_table_is_known_by_the_rows_behind_its_prefix);
    tcase_add_test(tests,
                   a_table_takes_part_in_the_transaction_of_the_session);
    tcase_add_test(tests, nothing_is_torn_or_lost_when_an_allocation_fails);
}

int main(void)
{
    return unit_run("khash", add);
}
