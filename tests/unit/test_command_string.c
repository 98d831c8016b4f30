/* test_command_string.c - strings beyond what Redis 7.0 answers for: MSETEX,
 * DELEX, INCREX, SET IFEQ; and LCS. */
#include "tests/lib/ask.h"
#include "tests/lib/unit.h"

START_TEST(set_compares_with_what_is_there)
{
    ASK("SET a 1 IFEQ x", "$-1|");
    ASK("EXISTS a", ":0|");
    ASK("SET a 1 IFNE x", "+OK|");
    ASK("SET a 2 IFNE 1", "$-1|");
    ASK("SET a 2 IFEQ 1 EX 10", "+OK|");
    ASK("TTL a", ":10|");
    ASK("SET a 3 IFEQ 2 GET KEEPTTL", "$1|2|");
    ASK("TTL a", ":10|");
    ASK("SET a 4 IFEQ x GET", "$1|3|");
    ASK("GET a", "$1|3|");
    ASK("SADD t m", ":1|");
    ASK("SET t 1 IFNE x",
        "-WRONGTYPE Operation against a key holding the wrong kind of value|");
    ASK("SET a 1 NX IFEQ 3", "-ERR syntax error|");
    ASK("SET a 1 IFEQ 3 IFEQ 3", "-ERR syntax error|");
    ASK("SET a 1 IFEQ", "-ERR syntax error|");
    ASK("SET a 1 IFDEQ 3", "-ERR syntax error|");
}
END_TEST

START_TEST(many_keys_are_set_with_one_time_or_none)
{
    ASK("MSETEX 2 a 1 b 2 EX 10", ":1|");
    ASK("TTL b", ":10|");
    ASK("MSETEX 2 b 3 c 4 NX", ":0|");
    ASK("EXISTS c", ":0|");
    ASK("MSETEX 2 b 3 c 4 XX", ":0|");
    ASK("MSETEX 2 a 5 b 6 XX KEEPTTL", ":1|");
    ASK("MGET a b", "*2|$1|5|$1|6|");
    ASK("TTL a", ":10|");
    ASK("MSETEX 1 a 7", ":1|");
    ASK("TTL a", ":-1|");
    ASK("MSETEX 1 a 7 PXAT 1", ":1|");
    ASK("EXISTS a", ":0|");
    ASK("COMMAND GETKEYS MSETEX 2 a 1 b 2 EX 10", "*2|$1|a|$1|b|");
    ASK("COMMAND GETKEYS SORT l BY w:* GET g:* STORE d", "*2|$1|l|$1|d|");
    ASK("COMMAND GETKEYS HSETEX h FIELDS 1 a 1", "*1|$1|h|");
    ASK("MSETEX 0 a 1", "-ERR invalid numkeys value or out of range|");
    ASK("MSETEX x a 1", "-ERR invalid numkeys value or out of range|");
    ASK("MSETEX 2 a 1 b", "-ERR syntax error|");
    ASK("MSETEX 1 a 1 NX XX", "-ERR syntax error|");
    ASK("MSETEX 1 a 1 EX 0",
        "-ERR invalid expire time in 'msetex' command|");
}
END_TEST

START_TEST(keys_are_deleted_when_they_hold_a_value)
{
    ASK("MSET a 1 b 2", "+OK|");
    ASK("DELEX a IFEQ 2", ":0|");
    ASK("DELEX a IFNE 1", ":0|");
    ASK("DELEX a IFNE 2", ":1|");
    ASK("DELEX a IFEQ 1", ":0|");
    ASK("DELIFEQ b x", ":0|");
    ASK("DELIFEQ b 2", ":1|");
    ASK("RPUSH l x", ":1|");
    ASK("DELEX l IFEQ x",
        "-WRONGTYPE Operation against a key holding the wrong kind of value|");
    ASK("DELEX l", ":1|");
    ASK("DELEX l FOO x", "-ERR syntax error|");
    ASK("DELEX l IFEQ",
        "-ERR wrong number of arguments for 'delex' command|");
    ASK("DBSIZE", ":0|");
}
END_TEST

START_TEST(a_rate_limit_is_one_command)
{
    ASK("INCREX r UBOUND 2 EX 60 ENX", "*2|:1|:1|");
    ASK("TTL r", ":60|");
    fakeos_advance(fake, 10000);
    ASK("INCREX r UBOUND 2 EX 60 ENX", "*2|:2|:1|");
    ASK("TTL r", ":50|");
    ASK("INCREX r UBOUND 2 EX 60", "*2|:2|:0|");
    ASK("TTL r", ":50|");
    ASK("INCREX r BYINT -1", "*2|:1|:-1|");
    ASK("TTL r", ":50|");
    ASK("INCREX r PERSIST", "*2|:2|:1|");
    ASK("TTL r", ":-1|");
}
END_TEST

START_TEST(bounds_stop_or_saturate)
{
    ASK("INCREX a BYINT 7 UBOUND 5", "*2|:0|:0|");
    ASK("EXISTS a", ":0|");
    ASK("INCREX a BYINT 7 UBOUND 5 SATURATE", "*2|:5|:5|");
    ASK("INCREX a BYINT -9 LBOUND -2 UBOUND 5 SATURATE", "*2|:-2|:-7|");
    ASK("INCREX a BYINT -9 LBOUND -2", "*2|:-2|:0|");
    ASK("SET a 9223372036854775807", "+OK|");
    ASK("INCREX a", "-ERR increment or decrement would overflow|");
    ASK("INCREX a UBOUND 9223372036854775807", "*2|:9223372036854775807|:0|");
    ASK("SET a -9223372036854775808", "+OK|");
    ASK("INCREX a LBOUND 1 SATURATE",
        "-ERR increment or decrement would overflow|");
    ASK("GET a", "$20|-9223372036854775808|");
    ASK("SET f 1.5", "+OK|");
    ASK("INCREX f BYFLOAT 0.25", "*2|$4|1.75|$4|0.25|");
    ASK("INCREX f BYFLOAT 5 UBOUND 2.5 SATURATE", "*2|$3|2.5|$4|0.75|");
    ASK("INCREX f", "-ERR value is not an integer or out of range|");
    ASK("INCREX a LBOUND 2 UBOUND 1", "-ERR LBOUND is greater than UBOUND|");
    ASK("INCREX a ENX", "-ERR syntax error|");
    ASK("INCREX a BYINT 1 BYFLOAT 1", "-ERR syntax error|");
    ASK("INCREX a BYFLOAT x", "-ERR value is not a valid float|");
}
END_TEST

START_TEST(common_subsequences_are_found)
{
    ASK("MSET a ohmytext b mynewtext e ''", "+OK|");
    ASK("LCS a b", "$6|mytext|");
    ASK("LCS a b LEN", ":6|");
    ASK("LCS a b IDX",
        "*4|$7|matches|*2|*2|*2|:4|:7|*2|:5|:8|*2|*2|:2|:3|*2|:0|:1|$3|len|"
        ":6|");
    ASK("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
        "*4|$7|matches|*1|*3|*2|:4|:7|*2|:5|:8|:4|$3|len|:6|");
    ASK("LCS a e", "$0||");
    ASK("LCS a nosuch LEN", ":0|");
    ASK("LCS e e IDX", "*4|$7|matches|*0|$3|len|:0|");
    ASK("SADD t m", ":1|");
    ASK("LCS a t", "-ERR The specified keys must contain string values|");
    fail_each_allocation("LCS a b", "GET a", "$8|ohmytext|");
}
END_TEST

START_TEST(a_long_common_subsequence_is_found_on_a_view)
{
    static const char *const chunk = "abcdefghijklmnopqrstuvwxyz0123456789";

    for (unsigned i = 0; i < 100; i++) {
        ck_assert_int_eq(reply.rc, KVSQL_OK);
        char line[100];

        snprintf(line, sizeof(line), "APPEND a %s", chunk);
        (void)ask(line);
        snprintf(line, sizeof(line), "APPEND b %sx", chunk);
        (void)ask(line);
    }
    ASK("LCS a b LEN", ":3600|");
    ck_assert_mem_eq(ask("LCS a b"), "$3600|abcdef", 12);
    ASK("SETRANGE a 20000 x", ":20001|");
    ASK("SETRANGE b 20000 x", ":20001|");
    ASK("LCS a b",
        "-ERR Insufficient memory, transient memory for LCS exceeds "
        "proto-max-bulk-len|");
}
END_TEST

START_TEST(nothing_moves_to_another_database)
{
    ASK("SET a 1", "+OK|");
    ASK("MOVE a 0", "-ERR source and destination objects are the same|");
    ASK("MOVE a 1", "-ERR DB index is out of range|");
    ASK("MOVE a x", "-ERR value is not an integer or out of range|");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, set_compares_with_what_is_there);
    tcase_add_test(tests, many_keys_are_set_with_one_time_or_none);
    tcase_add_test(tests, keys_are_deleted_when_they_hold_a_value);
    tcase_add_test(tests, a_rate_limit_is_one_command);
    tcase_add_test(tests, bounds_stop_or_saturate);
    tcase_add_test(tests, common_subsequences_are_found);
    tcase_add_test(tests, a_long_common_subsequence_is_found_on_a_view);
    tcase_add_test(tests, nothing_moves_to_another_database);
}

int main(void)
{
    return unit_run("command_string", add_tests);
}
