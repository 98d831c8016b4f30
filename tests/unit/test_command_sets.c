/* test_command_sets.c - lists, sets and sorted sets: pops from several keys,
 * members by chance, sets made of sets; answers compared as RESP2 text. */
#include "command/command.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/ask.h"
#include "tests/lib/unit.h"

#define SYNTAX "-ERR syntax error|"
#define WRONGTYPE "-" CMD_TEXT_WRONGTYPE "|"

/* The kinds of the items of the answer to a line, a letter each. */
static const char *shape(const char *line)
{
    static const char letters[] = "nNsEidbvamtBp";
    static char text[256];
    struct cmd_item item;
    size_t offset = 0, size = 0;

    run_line(line);
    while (cmd_reply_next(&reply, &offset, &item)) {
        ck_assert_uint_lt(size + 1, sizeof(text));
        text[size++] = letters[item.kind];
    }
    text[size] = '\0';
    return text;
}

/* ---- pops from several keys --------------------------------------------- */

START_TEST(lmpop_takes_from_the_first_list_that_is_there)
{
    ASK("RPUSH b 1 2 3 4", ":4|");
    ASK("LMPOP 2 a b LEFT", "*2|$1|b|*1|$1|1|");
    ASK("LMPOP 2 a b right COUNT 2", "*2|$1|b|*2|$1|4|$1|3|");
    ASK("LMPOP 1 b LEFT COUNT 9", "*2|$1|b|*1|$1|2|");
    ASK("EXISTS b", ":0|");
    ASK("LMPOP 2 a b LEFT", "*-1|");
    ASK("SET s x", "+OK|");
    ASK("LMPOP 2 a s LEFT", WRONGTYPE);
}
END_TEST

START_TEST(zmpop_takes_from_the_first_sorted_set_that_is_there)
{
    ASK("ZADD b 1 x 2 y 3 z", ":3|");
    ASK("ZMPOP 2 a b MIN", "*2|$1|b|*1|*2|$1|x|$1|1|");
    ASK("ZMPOP 2 a b max COUNT 5",
        "*2|$1|b|*2|*2|$1|z|$1|3|*2|$1|y|$1|2|");
    ASK("EXISTS b", ":0|");
    ASK("ZMPOP 1 b MIN", "*-1|");
    ASK("SET s x", "+OK|");
    ASK("ZMPOP 2 b s MIN", WRONGTYPE);
}
END_TEST

START_TEST(pops_from_several_keys_say_what_is_wrong)
{
    static const char keys[] = "-ERR numkeys should be greater than 0|";
    static const char count[] = "-ERR count should be greater than 0|";

    ASK("LMPOP 0 a LEFT", keys);
    ASK("LMPOP x a LEFT", keys);
    ASK("LMPOP 2 a LEFT", SYNTAX);
    ASK("LMPOP 9223372036854775807 a LEFT", SYNTAX);
    ASK("LMPOP 1 a MIN", SYNTAX);
    ASK("LMPOP 1 a LEFT COUNT", SYNTAX);
    ASK("LMPOP 1 a LEFT COUNT 0", count);
    ASK("LMPOP 1 a LEFT COUNT x COUNT", count);
    ASK("LMPOP 1 a LEFT COUNT 1 COUNT 1", SYNTAX);
    ASK("ZMPOP -1 a MIN", keys);
    ASK("ZMPOP 1 a LEFT", SYNTAX);
    ASK("ZMPOP 1 a MIN FOO 1", SYNTAX);
}
END_TEST

/* ---- by chance ---------------------------------------------------------- */

/* Members of the answer, which are numbers below 200; each once. */
static unsigned count_members(const char *line, unsigned step, bool *seen)
{
    struct cmd_item item;
    size_t offset = 0;
    unsigned count = 0;

    memset(seen, 0, 200);
    run_line(line);
    ck_assert_int_eq(reply.rc, KVSQL_OK);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    for (unsigned i = 0; cmd_reply_next(&reply, &offset, &item); i++) {
        if (i % step == 0) {
            unsigned number = 0;

            for (size_t k = 0; k < item.size; k++) {
                number = 10 * number + (item.p[k] - '0');
            }
            ck_assert(number < 200 && !seen[number]);
            seen[number] = true;
            count++;
        }
    }
    return count;
}

static void fill(unsigned count)
{
    char line[64];

    for (unsigned i = 0; i < count; i++) {
        snprintf(line, sizeof(line), "SADD t %u", i);
        run_line(line);
        snprintf(line, sizeof(line), "ZADD z %u %u", i, i);
        run_line(line);
        snprintf(line, sizeof(line), "HSET h %u v", i);
        run_line(line);
    }
}

START_TEST(members_by_chance_are_different_and_as_many_as_asked)
{
    static const char *const lines[] = {"SRANDMEMBER t %u",
                                        "ZRANDMEMBER z %u",
                                        "HRANDFIELD h %u"};
    static const unsigned counts[] = {1, 2, 10, 24, 25, 100, 199, 200, 500};
    bool seen[200];
    char line[64];

    fill(200);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 9; k++) {
            snprintf(line, sizeof(line), lines[i], counts[k]);
            ck_assert_uint_eq(count_members(line, 1, seen),
                              counts[k] < 200 ? counts[k] : 200);
        }
    }
    ck_assert_uint_eq(count_members("ZRANDMEMBER z 20 WITHSCORES", 2, seen),
                      20);
    ASK("ZCARD z", ":200|");
}
END_TEST

START_TEST(every_member_has_its_chance)
{
    unsigned hits[200] = {0};
    bool seen[200];

    fill(200);
    for (unsigned i = 0; i < 2000; i++) {
        ck_assert_uint_eq(count_members("SRANDMEMBER t 10", 1, seen), 10);
        for (unsigned k = 0; k < 200; k++) {
            hits[k] += seen[k];
        }
    }
    /* 100 expected, sigma below 10: seven of them for 200 members. */
    for (unsigned k = 0; k < 200; k++) {
        ck_assert_uint_gt(hits[k], 30);
        ck_assert_uint_lt(hits[k], 170);
    }
}
END_TEST

START_TEST(a_popped_member_is_gone)
{
    bool seen[200];

    fill(200);
    ck_assert_uint_eq(count_members("SPOP t 50", 1, seen), 50);
    ASK("SCARD t", ":150|");
    for (unsigned i = 0; i < 200; i++) {
        char line[64];

        snprintf(line, sizeof(line), "SISMEMBER t %u", i);
        ASK(line, seen[i] ? ":0|" : ":1|");
    }
    ck_assert_uint_eq(count_members("SPOP t 1000", 1, seen), 150);
    ASK("EXISTS t", ":0|");
    ASK("SPOP t", "$-1|");
    ASK("SPOP t 3", "*0|");
}
END_TEST

START_TEST(draws_with_a_negative_count_may_repeat)
{
    ASK("SADD t a", ":1|");
    ASK("ZADD z 1.5 a", ":1|");
    ASK("SRANDMEMBER t -3", "*3|$1|a|$1|a|$1|a|");
    ASK("ZRANDMEMBER z -2 withscores", "*4|$1|a|$3|1.5|$1|a|$3|1.5|");
    ASK("ZRANDMEMBER z 0", "*0|");
    ASK("ZRANDMEMBER none 5 WITHSCORES", "*0|");
    ASK("ZRANDMEMBER none", "$-1|");
    ASK("ZRANDMEMBER z 1 FOO", SYNTAX);
    ASK("ZRANDMEMBER z 1 WITHSCORES x", SYNTAX);
    ASK("ZRANDMEMBER z x FOO", "-" CMD_TEXT_NOTINT "|");
    ASK("ZRANDMEMBER z 9223372036854775807 WITHSCORES",
        "-ERR value is out of range|");
    ASK("ZRANDMEMBER t", WRONGTYPE);
}
END_TEST

/* ---- sets made of sets -------------------------------------------------- */

static void fill_sources(void)
{
    ASK("ZADD a 1 x 2 y 3 z", ":3|");
    ASK("ZADD b 10 y 20 z 30 w", ":3|");
    ASK("SADD s z y", ":2|");
}

START_TEST(scores_are_combined_as_asked)
{
    fill_sources();
    ASK("ZUNION 2 a b WITHSCORES",
        "*8|$1|x|$1|1|$1|y|$2|12|$1|z|$2|23|$1|w|$2|30|");
    ASK("ZUNION 2 a b WEIGHTS 2 -1 AGGREGATE MIN WITHSCORES",
        "*8|$1|w|$3|-30|$1|z|$3|-20|$1|y|$3|-10|$1|x|$1|2|");
    ASK("ZINTER 2 a b AGGREGATE max WITHSCORES", "*4|$1|y|$2|10|$1|z|$2|20|");
    ASK("ZINTER 3 a b s WITHSCORES", "*4|$1|y|$2|13|$1|z|$2|24|");
    ASK("ZDIFF 2 a s WITHSCORES", "*2|$1|x|$1|1|");
    ASK("ZDIFF 2 a a", "*0|");
    ASK("ZINTER 2 a none", "*0|");
    ASK("ZUNION 1 s WITHSCORES", "*4|$1|y|$1|1|$1|z|$1|1|");
}
END_TEST

START_TEST(infinities_that_cancel_give_zero)
{
    ASK("ZADD p inf m", ":1|");
    ASK("ZADD n -inf m", ":1|");
    ASK("ZUNION 2 p n WITHSCORES", "*2|$1|m|$1|0|");
    ASK("ZINTER 2 p n WITHSCORES", "*2|$1|m|$1|0|");
    ASK("ZUNION 1 p WEIGHTS 0 WITHSCORES", "*2|$1|m|$1|0|");
}
END_TEST

START_TEST(results_are_stored_in_place_of_what_was_there)
{
    fill_sources();
    ASK("SET to text", "+OK|");
    ASK("ZUNIONSTORE to 2 a b WEIGHTS 1 0", ":4|");
    ASK("ZRANGE to 0 -1 WITHSCORES",
        "*8|$1|w|$1|0|$1|x|$1|1|$1|y|$1|2|$1|z|$1|3|");
    ASK("ZINTERSTORE a 2 a b", ":2|");
    ASK("ZRANGE a 0 -1 WITHSCORES", "*4|$1|y|$2|12|$1|z|$2|23|");
    ASK("ZDIFFSTORE to 2 s a", ":0|");
    ASK("EXISTS to", ":0|");
    ASK("SUNIONSTORE b s s", ":2|");
    ASK("TYPE b", "+set|");
}
END_TEST

START_TEST(intersections_are_counted_up_to_a_limit)
{
    fill_sources();
    ASK("ZINTERCARD 2 a b", ":2|");
    ASK("ZINTERCARD 2 a b LIMIT 1", ":1|");
    ASK("ZINTERCARD 2 a b LIMIT 0", ":2|");
    ASK("ZINTERCARD 2 a none", ":0|");
    ASK("ZINTERCARD 2 a b LIMIT -1", "-ERR LIMIT can't be negative|");
    ASK("ZINTERCARD 2 a b WITHSCORES", SYNTAX);
    ASK("ZINTERCARD 0 a", "-ERR at least 1 input key is needed for "
                          "'zintercard' command|");
    ASK("SINTERCARD 2 s s LIMIT 1", ":1|");
}
END_TEST

START_TEST(set_algebra_says_what_is_wrong)
{
    fill_sources();
    ASK("RPUSH l x", ":1|");
    ASK("ZUNION 0 a", "-ERR at least 1 input key is needed for 'zunion' "
                      "command|");
    ASK("ZUNION x a", "-" CMD_TEXT_NOTINT "|");
    ASK("ZUNION 3 a b", SYNTAX);
    ASK("ZUNION 2 a l FOO", WRONGTYPE);
    ASK("SUNION s a", WRONGTYPE);
    ASK("ZUNION 2 a b WEIGHTS 1", SYNTAX);
    ASK("ZUNION 2 a b WEIGHTS 1 x", "-ERR weight value is not a float|");
    ASK("ZUNION 2 a b AGGREGATE", SYNTAX);
    ASK("ZUNION 2 a b AGGREGATE FOO", SYNTAX);
    ASK("ZUNIONSTORE to 2 a b WITHSCORES", SYNTAX);
    ASK("ZDIFF 2 a b WEIGHTS 1 1", SYNTAX);
    ASK("ZDIFF 2 a b AGGREGATE SUM", SYNTAX);
    ASK("ZINTERSTORE to 2 a l", WRONGTYPE);
}
END_TEST

START_TEST(a_union_of_many_sets_is_their_union)
{
    char line[4096];
    size_t size = (size_t)snprintf(line, sizeof(line), "SUNION");
    bool seen[200];

    for (unsigned i = 0; i < 100; i++) {
        char add[64];

        snprintf(add, sizeof(add), "SADD many:%u %u %u %u", i, i, i + 1,
                 2 * i);
        run_line(add);
        size += (size_t)snprintf(line + size, sizeof(line) - size,
                                 " many:%u", i);
    }
    /* 0 .. 100, and the even ones up to 198 */
    ck_assert_uint_eq(count_members(line, 1, seen), 101 + 49);
    for (unsigned i = 0; i < 200; i++) {
        ck_assert(seen[i] == (i <= 100 || i % 2 == 0));
    }
}
END_TEST

START_TEST(replies_have_the_shapes_of_resp3)
{
    fill_sources();
    ck_assert_str_eq(shape("ZUNION 1 s WITHSCORES"), "pbdbd");
    ck_assert_str_eq(shape("ZUNION 1 s"), "abb");
    ck_assert_str_eq(shape("ZRANDMEMBER a 3 WITHSCORES"), "pbdbdbd");
    ck_assert_str_eq(shape("ZRANDMEMBER a"), "b");
    ck_assert_str_eq(shape("ZRANDMEMBER none"), "n");
    ck_assert_str_eq(shape("SRANDMEMBER s 2"), "abb");
    ck_assert_str_eq(shape("SUNION s"), "tbb");
    ck_assert_str_eq(shape("ZPOPMIN a"), "abd");
    ck_assert_str_eq(shape("ZPOPMIN a 1"), "pbd");
    ck_assert_str_eq(shape("ZMPOP 1 a MIN"), "abaabd");
    ck_assert_str_eq(shape("ZMPOP 1 a MIN"), "N");
    ck_assert_str_eq(shape("SPOP s 2"), "tbb");
    ck_assert_str_eq(shape("SPOP s 2"), "t");
    ck_assert_str_eq(shape("ZRANK a x WITHSCORE"), "N");
}
END_TEST

START_TEST(long_results_are_made_on_a_view)
{
    char line[64];

    for (unsigned i = 0; i < 2 * CMD_LIVE_MAX; i++) {
        snprintf(line, sizeof(line), "ZADD z %u m%u", i, i);
        run_line(line);
        snprintf(line, sizeof(line), "SADD t m%u", i);
        run_line(line);
    }
    ck_assert_mem_eq(ask("ZUNION 2 z t WITHSCORES"), "*4096|$2|m0|$1|1|", 17);
    ck_assert_mem_eq(ask("ZINTER 2 z t"), "*2048|$2|m0|$2|m1|", 18);
    ASK("ZDIFF 2 z t", "*0|");
    ASK("ZINTERCARD 2 z t", ":2048|");
    ck_assert_mem_eq(ask("ZRANDMEMBER z 2000"), "*2000|", 6);
    ck_assert_mem_eq(ask("SRANDMEMBER t -2000"), "*2000|", 6);
    ASK("ZUNIONSTORE u 2 z t", ":2048|");
    for (unsigned i = 0; i < 2 * CMD_LIVE_MAX; i++) {
        snprintf(line, sizeof(line), "RPUSH l %u", i % 2000);
        run_line(line);
    }
    ASK("LPOS l 40 COUNT 0", "*2|:40|:2040|");
    ASK("LPOS l 40 RANK 2", ":2040|");
    ASK("LPOS l 40 RANK -1 MAXLEN 8", ":2040|");
    ASK("LPOS l 40 RANK 2 MAXLEN 2000", "$-1|");
}
END_TEST

/* ---- allocations -------------------------------------------------------- */

static void fail_each(const char *line)
{
    for (unsigned n = 1;; n++) {
        bool failed;

        ck_assert_uint_lt(n, 1000);
        kv_mem_fail_at(n, 0);
        run_line(line);
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        if (!failed || reply.rc == KVSQL_OK) {
            return;
        }
        ck_assert_int_eq(reply.rc, KVSQL_NOMEM);
        ASK("ZCARD z", ":64|");
        ASK("SCARD t", ":64|");
        ASK("LLEN l", ":2|");
        ASK("EXISTS u", ":0|");
    }
}

START_TEST(every_allocation_may_fail)
{
    fill(64);
    ASK("RPUSH l a b", ":2|");
    fail_each("ZUNION 2 z t WITHSCORES");
    fail_each("ZINTERCARD 2 z t");
    fail_each("SRANDMEMBER t 3");
    fail_each("ZUNIONSTORE u 2 z t");
    run_line("DEL u");
    fail_each("SPOP t 4");
    run_line("DEL t");
    fill(64);
    fail_each("ZMPOP 1 z MIN COUNT 5");
    fill(64);
    fail_each("LMPOP 1 l LEFT");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, lmpop_takes_from_the_first_list_that_is_there);
    tcase_add_test(tests, zmpop_takes_from_the_first_sorted_set_that_is_there);
    tcase_add_test(tests, pops_from_several_keys_say_what_is_wrong);
    tcase_add_test(tests,
                   members_by_chance_are_different_and_as_many_as_asked);
    tcase_add_test(tests, every_member_has_its_chance);
    tcase_add_test(tests, a_popped_member_is_gone);
    tcase_add_test(tests, draws_with_a_negative_count_may_repeat);
    tcase_add_test(tests, scores_are_combined_as_asked);
    tcase_add_test(tests, infinities_that_cancel_give_zero);
    tcase_add_test(tests, results_are_stored_in_place_of_what_was_there);
    tcase_add_test(tests, intersections_are_counted_up_to_a_limit);
    tcase_add_test(tests, set_algebra_says_what_is_wrong);
    tcase_add_test(tests, a_union_of_many_sets_is_their_union);
    tcase_add_test(tests, replies_have_the_shapes_of_resp3);
    tcase_add_test(tests, long_results_are_made_on_a_view);
    tcase_add_test(tests, every_allocation_may_fail);
}

int main(void)
{
    return unit_run("command_sets", add_tests);
}
