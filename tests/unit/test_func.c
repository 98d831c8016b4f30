/* test_func.c - functions of SQL (sql.md 2.8): what they read, and the text
 * functions that stand in for those of SQLite. */
#include <stdio.h>

#include "tests/lib/rows_fx.h"

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

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_add_test(tests, functions_read_what_the_statement_reads);
    tcase_add_test(tests, kv_num_agrees_with_what_a_file_can_say);
    tcase_add_test(tests, kv_count_agrees_with_glob);
    tcase_add_test(tests, the_text_functions_are_those_of_sqlite);
}

int main(void)
{
    return unit_run("func", add);
}
