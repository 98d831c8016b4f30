/* test_command_hash.c - fields with their time: HGETEX, HSETEX, HGETDEL,
 * HSCAN NOVALUES. */
#include "tests/lib/ask.h"
#include "tests/lib/unit.h"

START_TEST(fields_are_read_and_get_a_time)
{
    ASK("HSET h a 1 b 2", ":2|");
    ASK("HGETEX h FIELDS 3 a x b", "*3|$1|1|$-1|$1|2|");
    ASK("HTTL h FIELDS 2 a b", "*2|:-1|:-1|");
    ASK("HGETEX h EX 10 FIELDS 2 a x", "*2|$1|1|$-1|");
    ASK("HTTL h FIELDS 2 a b", "*2|:10|:-1|");
    ASK("HGETEX h PERSIST FIELDS 2 a b", "*2|$1|1|$1|2|");
    ASK("HTTL h FIELDS 1 a", "*1|:-1|");
    ASK("HGETEX h PX 500 FIELDS 1 b", "*1|$1|2|");
    fakeos_advance(fake, 501);
    ASK("HGETALL h", "*2|$1|a|$1|1|");
    ASK("HGETEX h EXAT 0 FIELDS 1 a", "*1|$1|1|");
    ASK("EXISTS h", ":0|");
    ASK("HGETEX h EX 1 FIELDS 1 a", "*1|$-1|");
}
END_TEST

START_TEST(fields_are_set_with_a_time)
{
    ASK("HSETEX h EX 10 FIELDS 2 a 1 b 2", ":1|");
    ASK("HTTL h FIELDS 2 a b", "*2|:10|:10|");
    ASK("HSETEX h KEEPTTL FIELDS 1 a 3", ":1|");
    ASK("HTTL h FIELDS 1 a", "*1|:10|");
    ASK("HSETEX h FIELDS 1 a 3", ":1|");
    ASK("HTTL h FIELDS 1 a", "*1|:-1|");
    ASK("HSETEX h FNX FIELDS 2 c 1 a 9", ":0|");
    ASK("HEXISTS h c", ":0|");
    ASK("HSETEX h FXX FIELDS 2 c 1 a 9", ":0|");
    ASK("HSETEX h FNX PX 50 FIELDS 1 c 1", ":1|");
    ASK("HPTTL h FIELDS 1 c", "*1|:50|");
    ASK("HSETEX h FXX PXAT 1 FIELDS 3 a 1 b 1 c 1", ":1|");
    ASK("EXISTS h", ":0|");
}
END_TEST

START_TEST(fields_are_taken)
{
    ASK("HSET h a 1 b 2", ":2|");
    ASK("HGETDEL h FIELDS 3 a a x", "*3|$1|1|$-1|$-1|");
    ASK("HGETALL h", "*2|$1|b|$1|2|");
    ASK("HGETDEL h FIELDS 1 b", "*1|$1|2|");
    ASK("EXISTS h", ":0|");
    ASK("HGETDEL h FIELDS 1 b", "*1|$-1|");
}
END_TEST

START_TEST(they_say_what_is_wrong)
{
    ASK("SET s 1", "+OK|");
    ASK("HGETEX s FIELDS 1 a",
        "-WRONGTYPE Operation against a key holding the wrong kind of value|");
    ASK("HGETDEL s FIELDS 1 a",
        "-WRONGTYPE Operation against a key holding the wrong kind of value|");
    ASK("HSETEX s FIELDS 1 a 1",
        "-WRONGTYPE Operation against a key holding the wrong kind of value|");
    ASK("HGETEX h EX 1 PX 1 FIELDS 1 a", "-ERR syntax error|");
    ASK("HGETEX h FNX FIELDS 1 a", "-ERR syntax error|");
    ASK("HSETEX h FNX FXX FIELDS 1 a 1", "-ERR syntax error|");
    ASK("HSETEX h EX -1 FIELDS 1 a 1",
        "-ERR invalid expire time, must be >= 0|");
    ASK("HSETEX h FIELDS 2 a 1 b",
        "-ERR The `numfields` parameter must match the number of arguments|");
    ASK("HGETDEL h FOO 1 a",
        "-ERR Mandatory argument FIELDS is missing or not at the right "
        "position|");
    ASK("HGETEX h FIELDS 0 a",
        "-ERR Parameter `numFields` should be greater than 0|");
    ASK("HGETEX h EX 1 PERSIST x",
        "-ERR syntax error|");
}
END_TEST

START_TEST(a_scan_of_fields_may_leave_the_values_out)
{
    ASK("HSET h a 1 b 2", ":2|");
    ASK("HSCAN h 0", "*2|$1|0|*4|$1|a|$1|1|$1|b|$1|2|");
    ASK("HSCAN h 0 NOVALUES", "*2|$1|0|*2|$1|a|$1|b|");
    ASK("HSCAN h 0 NOVALUES MATCH b", "*2|$1|0|*1|$1|b|");
    ASK("SSCAN h 0 NOVALUES",
        "-WRONGTYPE Operation against a key holding the wrong kind of value|");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, fields_are_read_and_get_a_time);
    tcase_add_test(tests, fields_are_set_with_a_time);
    tcase_add_test(tests, fields_are_taken);
    tcase_add_test(tests, they_say_what_is_wrong);
    tcase_add_test(tests, a_scan_of_fields_may_leave_the_values_out);
}

int main(void)
{
    return unit_run("command_hash", add_tests);
}
