/* test_command.c - the table, the dispatch, and the verbs on a store without
 * files; commands are typed as lines, answers compared as RESP2 text. */
#include "command/command.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "command/context.h"
#include "tests/lib/ask.h"
#include "tests/lib/unit.h"

/* ---- the table ---------------------------------------------------------- */

START_TEST(rows_are_in_order_and_whole)
{
    for (unsigned i = 0; i < cmd_count(); i++) {
        const struct cmd_row *row = cmd_at(i);

        ck_assert(i == 0 || strcmp(cmd_at(i - 1)->name, row->name) < 0);
        ck_assert(row->run != NULL && row->arity != 0);
        ck_assert(row->summary[0] != '\0' && row->group[0] != '\0');
        ck_assert_ptr_eq(cmd_find_full(row->name, strlen(row->name)), row);
        ck_assert(((row->flags & CMD_WRITE) != 0) +
                      ((row->flags & CMD_READONLY) != 0) +
                      ((row->flags & CMD_CONTROL) != 0) ==
                  1);
    }
    ck_assert_ptr_null(cmd_at(cmd_count()));
}
END_TEST

/* What pipelines look up together (pipe.c) is an argument that is there. */
START_TEST(rows_that_name_an_element_have_it)
{
    const unsigned both = CMD_ELEMENT | CMD_ELEMENT_LAST;
    unsigned elements = 0, runs = 0;

    for (unsigned i = 0; i < cmd_count(); i++) {
        const struct cmd_row *row = cmd_at(i);
        const int least = row->arity < 0 ? -row->arity : row->arity;

        runs += (row->flags & CMD_RUN) != 0;
        if (row->flags & both) {
            ck_assert_msg((row->flags & both) != both, "%s", row->name);
            ck_assert_msg(row->first_key == 1 && row->last_key == 1 &&
                              least >= 3 && (row->flags & CMD_FAST),
                          "%s", row->name);
            elements++;
        }
    }
    ck_assert_uint_ge(elements, 21);
    ck_assert_uint_eq(runs, 1);
    ck_assert(cmd_find("GET", 3)->flags & CMD_RUN);
}
END_TEST

START_TEST(names_are_found_in_any_case)
{
    ck_assert_str_eq(cmd_find("gEt", 3)->name, "GET");
    ck_assert_ptr_null(cmd_find("GETX", 4));
    ck_assert_str_eq(cmd_find("gEt", 3)->name, "GET"); /* once more */
    ck_assert_str_eq(cmd_find("sEt", 3)->name, "SET");
    ck_assert_ptr_null(cmd_find("sE", 2));
    ck_assert_ptr_null(cmd_find("", 0));
    ck_assert_ptr_null(cmd_find("G\0T", 3));
    ck_assert_str_eq(cmd_nearest("HGTALL", 6), "HGETALL");
    ck_assert_ptr_null(cmd_nearest("xyzzyxyzzy", 10));
}
END_TEST

START_TEST(refusals_use_the_sentences_of_redis)
{
    ASK("nosuch a 'b c'",
        "-ERR unknown command 'nosuch', with args beginning with: 'a' 'b c' |");
    ASK("GET", "-ERR wrong number of arguments for 'get' command|");
    ASK("OBJECT foo", "-ERR unknown subcommand 'foo'. Try OBJECT HELP.|");
    ASK("OBJECT", "-ERR wrong number of arguments for 'object' command|");
    ASK("OBJECT ENCODING",
        "-ERR wrong number of arguments for 'object|encoding' command|");
    ASK("OBJECT|ENCODING a",
        "-ERR unknown command 'OBJECT|ENCODING', with args beginning with: "
        "'a' |");
}
END_TEST

START_TEST(a_command_that_reads_runs_on_a_view_of_its_caller)
{
    struct kv_view *view;
    struct kv_at at;

    ASK("RPUSH l a b", ":2|");
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    ASK("RPUSH l c", ":3|");
    split("LRANGE l 0 -1");
    ck_assert_int_eq(cmd_run_at(db, &at, args_count, args, &reply), KVSQL_OK);
    ck_assert_str_eq(reply_text(), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    split("GET l");
    ck_assert_int_eq(cmd_run_at(db, &at, args_count, args, &reply),
                     KVSQL_WRONGTYPE);
    split("NOSUCH l");
    ck_assert_int_eq(cmd_run_at(db, &at, args_count, args, &reply),
                     KVSQL_UNKNOWN);
    split("DEL l");
    ck_assert_int_eq(cmd_run_at(db, &at, args_count, args, &reply),
                     KVSQL_AUTH);
    split("INFO");
    ck_assert_int_eq(cmd_run_at(db, &at, args_count, args, &reply),
                     KVSQL_AUTH);
    kv_unpin(view);
    ASK("LLEN l", ":3|");
}
END_TEST

START_TEST(memory_usage_takes_samples_as_redis_does)
{
    ASK("MEMORY USAGE a", "$-1|");
    ASK("SET a 1", "+OK|");
    ck_assert(strtol(ask("MEMORY USAGE a") + 1, NULL, 10) > 60);
    ck_assert(strtol(ask("MEMORY USAGE a SAMPLES 0") + 1, NULL, 10) > 60);
    ASK("MEMORY USAGE a SAMPLES -1", "-ERR syntax error|");
    ASK("MEMORY USAGE a SAMPLES x",
        "-ERR value is not an integer or out of range|");
    ASK("MEMORY USAGE a SAMPLES", "-ERR syntax error|");
    ASK("MEMORY USAGE a foo", "-ERR syntax error|");
    ASK("MEMORY USAGE",
        "-ERR wrong number of arguments for 'memory|usage' command|");
    ASK("MEMORY foo", "-ERR unknown subcommand 'foo'. Try MEMORY HELP.|");
}
END_TEST

START_TEST(an_unknown_command_shows_128_bytes_of_arguments_at_most)
{
    char line[2000];

    memcpy(line, "nosuch ", 7);
    memset(line + 7, 'x', sizeof(line) - 8);
    line[sizeof(line) - 1] = '\0';
    ck_assert_uint_lt(strlen(ask(line)), 250);
}
END_TEST

START_TEST(check_knows_batches_and_rest)
{
    split("BGSAVE");
    ck_assert_int_eq(cmd_check(args_count, args, false, true, &err),
                     KVSQL_OK);
    ck_assert_int_eq(cmd_check(args_count, args, true, false, &err),
                     KVSQL_AUTH);
    split("GET a b");
    ck_assert_int_eq(cmd_check(args_count, args, false, false, &err),
                     KVSQL_ARITY);
    ck_assert_int_eq(cmd_check(0, args, false, false, &err), KVSQL_SYNTAX);
}
END_TEST

START_TEST(a_door_that_only_reads_refuses_writes)
{
    struct kv_ticket ticket;

    split("SET a 1");
    cmd_run(db, args_count, args, false, &reply, &ticket);
    ck_assert_int_eq(reply.rc, KVSQL_READONLY);
    ASK("EXISTS a", ":0|");
}
END_TEST

/* ---- lines -------------------------------------------------------------- */

START_TEST(a_line_is_split_with_quotes_and_escapes)
{
    split(" set  \"a\\x41\\n\\\"\" 'it\\'s' x\"y z\" \"\" ");
    ck_assert_uint_eq(args_count, 5);
    ck_assert_uint_eq(args[1].size, 4);
    ck_assert_mem_eq(args[1].p, "aA\n\"", 4);
    ck_assert_mem_eq(args[2].p, "it's", 4);
    ck_assert_mem_eq(args[3].p, "xy z", 4);
    ck_assert_uint_eq(args[4].size, 0);
}
END_TEST

START_TEST(unbalanced_quotes_are_refused)
{
    ck_assert_int_eq(cmd_split("get \"a", 6, &line_buf, args, &args_count,
                               &err),
                     KVSQL_SYNTAX);
    ck_assert_int_eq(cmd_split("get 'a'b", 8, &line_buf, args, &args_count,
                               &err),
                     KVSQL_SYNTAX);
}
END_TEST

/* ---- atomicity ---------------------------------------------------------- */

START_TEST(a_failing_command_changes_nothing)
{
    ASK("SET s x", "+OK|");
    ASK("SADD t a b", ":2|");
    ASK("SUNIONSTORE t t s",
        "-WRONGTYPE Operation against a key holding the wrong kind of value|");
    ASK("SCARD t", ":2|");
    ASK("ZADD z 1 a x b", "-ERR value is not a valid float|");
    ASK("EXISTS z", ":0|");
    ASK("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command|");
    ASK("EXISTS h", ":0|");
}
END_TEST

START_TEST(a_batch_stands_when_one_command_fails_and_falls_with_rollback)
{
    const kvsql_slice set[] = {{"SET", 3}, {"a", 1}, {"x", 1}};
    const kvsql_slice incr[] = {{"INCR", 4}, {"a", 1}};
    const kvsql_slice *const argv[] = {set, incr};
    const unsigned argc[] = {3, 2};
    struct cmd_reply replies[2];
    struct kv_ticket ticket;
    unsigned failed;

    cmd_reply_init(&replies[0], 1 << 20);
    cmd_reply_init(&replies[1], 1 << 20);
    ck_assert_int_eq(cmd_run_batch(db, 2, argc, argv, true, replies, &failed,
                                   &ticket, &err),
                     KVSQL_NOTINT);
    ck_assert_uint_eq(failed, 1);
    ck_assert_str_eq(err.text, "ERR value is not an integer or out of range");
    ASK("EXISTS a", ":0|");
    ck_assert_int_eq(cmd_run_batch(db, 2, argc, argv, false, replies, &failed,
                                   &ticket, &err),
                     KVSQL_OK);
    ck_assert_int_eq(replies[0].rc, KVSQL_OK);
    ck_assert_int_eq(replies[1].rc, KVSQL_NOTINT);
    ASK("GET a", "$1|x|");
    cmd_reply_fini(&replies[0]);
    cmd_reply_fini(&replies[1]);
}
END_TEST

START_TEST(a_batch_with_an_unknown_command_does_not_begin)
{
    const kvsql_slice set[] = {{"SET", 3}, {"a", 1}, {"x", 1}};
    const kvsql_slice *const argv[] = {set, set};
    const unsigned argc[] = {3, 2};
    struct cmd_reply replies[2];
    struct kv_ticket ticket;
    unsigned failed;

    ck_assert_int_eq(cmd_run_batch(db, 2, argc, argv, false, replies, &failed,
                                   &ticket, &err),
                     KVSQL_ABORT);
    ck_assert_uint_eq(failed, 1);
    ck_assert_str_eq(err.text,
                     "EXECABORT Transaction discarded because of: ERR wrong "
                     "number of arguments for 'set' command");
    ASK("EXISTS a", ":0|");
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    ASK("SADD t a b c", ":3|");
    ASK("ZADD z 1 a 2 b", ":2|");
    fail_each_allocation("MSET x 1 y 2", "EXISTS x y", ":0|");
    fail_each_allocation("HSET h a 1 b 2 c 3", "EXISTS h", ":0|");
    fail_each_allocation("SUNIONSTORE u t", "EXISTS u", ":0|");
    fail_each_allocation("COPY z zz", "EXISTS zz", ":0|");
    fail_each_allocation("ZREMRANGEBYRANK z 0 0", "ZCARD z", ":2|");
    fail_each_allocation("SPOP t 2", "SCARD t", ":3|");
}
END_TEST

/* ---- time --------------------------------------------------------------- */

START_TEST(fields_expire_and_keep_or_lose_their_time)
{
    ASK("HSET h a 1 b 2 c 3", ":3|");
    ASK("HEXPIRE h 10 FIELDS 2 a nosuch", "*2|:1|:-2|");
    ASK("HEXPIRE h 5 GT FIELDS 1 a", "*1|:0|");
    ASK("HTTL h FIELDS 3 a b x", "*3|:10|:-1|:-2|");
    ASK("HINCRBY h a 1", ":2|");
    ASK("HPTTL h FIELDS 1 a", "*1|:10000|");
    ASK("HSET h a 9", ":0|");
    ASK("HTTL h FIELDS 1 a", "*1|:-1|");
    ASK("HPEXPIRE h 20 FIELDS 1 a", "*1|:1|");
    ASK("HPERSIST h FIELDS 3 a b x", "*3|:1|:-1|:-2|");
    ASK("HPEXPIRE h 20 FIELDS 1 a", "*1|:1|");
    fakeos_advance(fake, 21);
    ASK("HGET h a", "$-1|");
    ASK("HKEYS h", "*2|$1|b|$1|c|");
    ASK("HSET g x 1 y 2", ":2|");
    ASK("HEXPIRE g 0 FIELDS 2 x y", "*2|:2|:2|");
    ASK("EXISTS g", ":0|");
}
END_TEST

START_TEST(field_expiry_says_what_is_wrong)
{
    ASK("HEXPIRE h 10 FOO 1 a b",
        "-ERR Mandatory argument FIELDS is missing or not at the right "
        "position|");
    ASK("HEXPIRE h 10 FIELDS 2 a",
        "-ERR The `numfields` parameter must match the number of arguments|");
    ASK("HEXPIRE h 10 FIELDS 0 a",
        "-ERR Parameter `numFields` should be greater than 0|");
    ASK("HEXPIRE h -1 FIELDS 1 a",
        "-ERR invalid expire time, must be >= 0|");
    ASK("HEXPIRE h 9223372036854775807 FIELDS 1 a",
        "-ERR invalid expire time in 'hexpire' command|");
}
END_TEST

START_TEST(keys_expire_at_the_time_of_the_store)
{
    ASK("SET a 1 PX 50", "+OK|");
    ASK("PTTL a", ":50|");
    ASK("INCR a", ":2|");
    ASK("PTTL a", ":50|");
    fakeos_advance(fake, 51);
    ASK("GET a", "$-1|");
    ASK("SET a 1 PXAT 1", "+OK|");
    ASK("EXISTS a", ":0|");
}
END_TEST

/* ---- much --------------------------------------------------------------- */

START_TEST(a_pattern_finds_keys_of_both_classes)
{
    ASK("MSET a:1 x \"a:\\xff\" x \"a:\\x00\" x b x \"\\xff\" x", "+OK|");
    ck_assert_mem_eq(ask("KEYS a:*"), "*3|", 3);
    ck_assert_mem_eq(ask("SCAN 0 MATCH a:* COUNT 100"), "*2|$1|0|*3|", 11);
    ck_assert_mem_eq(ask("KEYS *"), "*5|", 3);
    ASK("KEYS b", "*1|$1|b|");
}
END_TEST

START_TEST(large_collections_are_read_on_a_view)
{
    char line[64];

    for (unsigned i = 0; i < 3 * CMD_LIVE_MAX; i++) {
        snprintf(line, sizeof(line), "RPUSH l %u", i);
        (void)ask(line);
        snprintf(line, sizeof(line), "SADD t %u", i);
        (void)ask(line);
        snprintf(line, sizeof(line), "ZADD z %u m%u", i, i);
        (void)ask(line);
        snprintf(line, sizeof(line), "HSET h %u v", i);
        (void)ask(line);
    }
    ck_assert_mem_eq(ask("LRANGE l 0 -1"), "*3072|$1|0|$1|1|", 16);
    ck_assert_mem_eq(ask("SMEMBERS t"), "*3072|", 6);
    ck_assert_mem_eq(ask("ZRANGE z 0 -1 WITHSCORES"), "*6144|$2|m0|$1|0|", 17);
    ck_assert_mem_eq(ask("HGETALL h"), "*6144|", 6);
    ck_assert_mem_eq(ask("SUNION t t"), "*3072|", 6);
    ASK("SINTERCARD 2 t t", ":3072|");
    ASK("ZRANGEBYSCORE z (3070 +inf", "*1|$5|m3071|");
    ASK("LREM l 0 5", ":1|");
    ASK("LINDEX l 5", "$1|6|");
    ck_assert_mem_eq(ask("HSCAN h 0 COUNT 10"), "*2|$", 4);
    ck_assert_ptr_nonnull(strstr((const char *)out.p, "|*20|"));
}
END_TEST

/* ---- beyond Redis 7.0, and the server ----------------------------------- */

START_TEST(ranks_come_with_scores_when_asked)
{
    ASK("ZADD z 1 a 2.5 b", ":2|");
    ASK("ZRANK z b WITHSCORE", "*2|:1|$3|2.5|");
    ASK("ZREVRANK z b WITHSCORE", "*2|:0|$3|2.5|");
    ASK("ZRANK z x WITHSCORE", "*-1|");
    ASK("ZRANK z b FOO", "-ERR syntax error|");
    ASK("ZADD z 0.1 c", ":1|");
    ASK("ZSCORE z c", "$3|0.1|");
}
END_TEST

START_TEST(info_shows_what_clients_parse)
{
    ASK("SET a 1 EX 100", "+OK|");
    ck_assert_ptr_nonnull(strstr(ask("INFO"), "|redis_version:7.2.4|"));
    ck_assert_ptr_nonnull(
        strstr((const char *)out.p, "|db0:keys=1,expires=1,avg_ttl=0|"));
    ck_assert_ptr_nonnull(strstr((const char *)out.p, "|loading:0|"));
    ck_assert_ptr_null(strstr((const char *)out.p, "cmdstat_set"));
    ck_assert_ptr_nonnull(strstr(ask("INFO commandstats"), "|cmdstat_set:"));
    ck_assert_ptr_null(strstr((const char *)out.p, "redis_version"));
    (void)ask("GET");
    ck_assert_ptr_nonnull(strstr(ask("INFO errorstats"), "errorstat_ERR:"));
}
END_TEST

START_TEST(a_store_without_files_says_that_it_cannot_save)
{
    ck_assert_int_eq(ask("SAVE")[0], '-');
    ck_assert_int_eq(ask("BGSAVE")[0], '-');
    ASK("BGSAVE FOO", "-ERR syntax error|");
}
END_TEST

/* Nobody shall look for a mistake of his own. */
START_TEST(a_command_of_a_later_version_is_named_as_such)
{
    ASK("xadd k 0", "-ERR unknown command 'xadd': streams are "
                     "not in this version of kvsql|");
    ASK("XADD s * f v", "-ERR unknown command 'XADD': streams are not in "
                        "this version of kvsql|");
    ASK("EVAL x 0", "-ERR unknown command 'EVAL': scripts and functions are "
                    "not in this version of kvsql|");
    ASK("BLPO k 0", "-ERR unknown command 'BLPO', with args beginning with: "
                    "'k' '0' |");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, rows_are_in_order_and_whole);
    tcase_add_test(tests, a_command_of_a_later_version_is_named_as_such);
    tcase_add_test(tests, rows_that_name_an_element_have_it);
    tcase_add_test(tests, names_are_found_in_any_case);
    tcase_add_test(tests, refusals_use_the_sentences_of_redis);
    tcase_add_test(tests,
                   an_unknown_command_shows_128_bytes_of_arguments_at_most);
    tcase_add_test(tests, check_knows_batches_and_rest);
    tcase_add_test(tests, a_door_that_only_reads_refuses_writes);
    tcase_add_test(tests, a_line_is_split_with_quotes_and_escapes);
    tcase_add_test(tests, unbalanced_quotes_are_refused);
    tcase_add_test(tests, a_failing_command_changes_nothing);
    tcase_add_test(
        tests, a_batch_stands_when_one_command_fails_and_falls_with_rollback);
    tcase_add_test(tests, a_batch_with_an_unknown_command_does_not_begin);
    tcase_add_test(tests, every_allocation_may_fail);
    tcase_add_test(tests, fields_expire_and_keep_or_lose_their_time);
    tcase_add_test(tests, field_expiry_says_what_is_wrong);
    tcase_add_test(tests, keys_expire_at_the_time_of_the_store);
    tcase_add_test(tests, a_pattern_finds_keys_of_both_classes);
    tcase_add_test(tests, large_collections_are_read_on_a_view);
    tcase_add_test(tests, a_command_that_reads_runs_on_a_view_of_its_caller);
    tcase_add_test(tests, memory_usage_takes_samples_as_redis_does);
    tcase_add_test(tests, ranks_come_with_scores_when_asked);
    tcase_add_test(tests, info_shows_what_clients_parse);
    tcase_add_test(tests, a_store_without_files_says_that_it_cannot_save);
}

int main(void)
{
    return unit_run("command", add_tests);
}
