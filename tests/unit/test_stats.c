/* test_stats.c - what is counted: SLOWLOG, LATENCY, INFO's statistics and
 * their reset. */
#include "command/stats.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "command/context.h"
#include "command/jobs.h"
#include "kvsql/admin.h"
#include "tests/lib/ask.h"
#include "tests/lib/unit.h"

static void setup_stats(void)
{
    setup();
    cmd_stats_reset();
    cmd_slowlog_clear();
    cmd_slowlog_limits(10000, 128);
    cmd_latency_limits(0, true);
    cmd_latency_percentiles("50 99 99.9");
    cmd_slowlog_origin(NULL, NULL);
}

static void teardown_stats(void)
{
    cmd_slowlog_limits(10000, 128);
    cmd_slowlog_clear();
    cmd_latency_limits(0, true);
    teardown();
}

/* How many entries SLOWLOG has, asked without leaving one. */
static const char *slow_length(void)
{
    cmd_slowlog_limits(-1, 128);
    return ask("SLOWLOG LEN");
}

START_TEST(slow_commands_are_kept_with_their_client)
{
    cmd_slowlog_origin("127.0.0.1:1", "me");
    cmd_slowlog_limits(0, 128);
    ASK("SET a 1", "+OK|");
    cmd_slowlog_origin(NULL, NULL);
    ASK("GET a", "$1|1|");
    ck_assert_str_eq(slow_length(), ":2|");
    ck_assert_ptr_nonnull(strstr(
        ask("SLOWLOG GET"), "*3|$3|SET|$1|a|$1|1|$11|127.0.0.1:1|$2|me|"));
    ck_assert_mem_eq(ask("SLOWLOG GET 1"), "*1|*6|:", 7);
    ck_assert_ptr_nonnull(
        strstr(ask("SLOWLOG GET 1"), "*2|$3|GET|$1|a|$0||$0||"));
    ASK("SLOWLOG RESET", "+OK|");
    ASK("SLOWLOG GET -1", "*0|");
}
END_TEST

START_TEST(the_slow_log_keeps_the_newest)
{
    cmd_slowlog_limits(0, 2);
    for (int i = 0; i < 5; i++)
        ASK("PING", "+PONG|");
    ASK("ECHO last", "$4|last|");
    ck_assert_str_eq(slow_length(), ":2|");
    ck_assert_ptr_nonnull(strstr(ask("SLOWLOG GET 1"), "$4|last|"));
    cmd_slowlog_limits(0, 0);
    ASK("PING", "+PONG|");
    ck_assert_str_eq(slow_length(), ":0|");
}
END_TEST

START_TEST(long_and_many_arguments_are_shortened)
{
    char line[4096] = "DEL";

    for (int i = 0; i < 40; i++)
        sprintf(line + strlen(line), " k%d", i);
    cmd_slowlog_limits(0, 128);
    (void)ask(line);
    memset(line, 'x', 300);
    memcpy(line, "ECHO ", 5);
    line[300] = '\0';
    (void)ask(line);
    cmd_slowlog_limits(-1, 128);
    ck_assert_ptr_nonnull(
        strstr(ask("SLOWLOG GET 2"), "*32|$3|DEL|$2|k0|"));
    ck_assert_ptr_nonnull(
        strstr(ask("SLOWLOG GET 2"), "|... (10 more arguments)|"));
    ck_assert_ptr_nonnull(
        strstr(ask("SLOWLOG GET 2"), "xxx... (167 more bytes)|"));
}
END_TEST

START_TEST(secrets_are_not_in_the_slow_log)
{
    cmd_slowlog_limits(0, 128);
    (void)ask("CONFIG SET hz 10 requirepass hidden");
    cmd_slowlog_limits(-1, 128);
    ck_assert_ptr_null(strstr(ask("SLOWLOG GET"), "hidden"));
    ck_assert_ptr_nonnull(
        strstr(ask("SLOWLOG GET"), "$11|requirepass|$10|(redacted)|"));
}
END_TEST

START_TEST(wrong_arguments_of_slowlog_are_refused)
{
    ASK("SLOWLOG GET x", "-ERR count should be greater than or equal to -1|");
    ASK("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1|");
    ASK("SLOWLOG GET 1 2",
        "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try "
        "SLOWLOG HELP.|");
}
END_TEST

START_TEST(events_have_a_history)
{
    cmd_latency_limits(5, true);
    cmd_latency_event("command", 4);
    ASK("LATENCY LATEST", "*0|");
    cmd_latency_event("command", 7);
    cmd_latency_event("command", 6);
    ck_assert_mem_eq(ask("LATENCY LATEST"), "*1|*4|$7|command|:", 18);
    ck_assert_ptr_nonnull(strstr(ask("LATENCY HISTORY COMMAND"), "|:7|"));
    ck_assert_ptr_nonnull(strstr(ask("LATENCY GRAPH command"),
                                 "command - high 7 ms, low "));
    ck_assert_ptr_nonnull(
        strstr(ask("LATENCY DOCTOR"), "command: 2 times since"));
    cmd_latency_store(KV_LATENCY_EXPIRE_CYCLE, 4999999);
    ASK("LATENCY HISTORY expire-cycle", "*0|"); /* below the threshold */
    for (unsigned i = 0; i < KV_LATENCY_COUNT; i++)
        cmd_latency_store((enum kv_latency)i, (100 + i) * UINT64_C(1000000));
    ck_assert_ptr_nonnull(strstr(ask("LATENCY HISTORY expire-cycle"), ":100|"));
    ck_assert_ptr_nonnull(
        strstr(ask("LATENCY DOCTOR"), "aof-fsync-always: 1 times since"));
    ck_assert_ptr_nonnull(strstr(ask("LATENCY GRAPH eviction-cycle"),
                                 "eviction-cycle - high 101 ms"));
    ASK("LATENCY RESET expire-cycle eviction-cycle eviction-del aof-write "
        "aof-write-alone aof-write-pending-fsync aof-fsync-always snapshot",
        ":8|");
    ASK("LATENCY RESET nosuch", ":0|");
    ASK("LATENCY RESET command", ":1|");
    ASK("LATENCY HISTORY command", "*0|");
    ASK("LATENCY GRAPH command",
        "-ERR No samples available for event 'command'|");
}
END_TEST

START_TEST(histograms_tell_percentiles)
{
    const struct cmd_row *row = cmd_find("GET", 3);
    const unsigned index = (unsigned)(row - cmd_at(0));

    for (int i = 0; i < 98; i++)
        cmd_latency_record(index, 3000, false);
    cmd_latency_record(index, 1000000, false);
    cmd_latency_record(index, 1000000, false);
    /* 3 us and 1 ms are in buckets that end at 3.071 and 1.048 */
    ck_assert_ptr_nonnull(
        strstr(ask("INFO latencystats"),
               "latency_percentiles_usec_get:p50=3.071,p99=1048.575,"
               "p99.9=1048.575"));
    ASK("LATENCY HISTOGRAM get",
        "*2|$3|get|*4|$5|calls|:100|$14|histogram_usec|*4|:4|:98|:1049|:100|");
    cmd_latency_percentiles("90");
    ck_assert_ptr_nonnull(strstr(ask("INFO latencystats"),
                                 "latency_percentiles_usec_get:p90=3.071|"));
    cmd_latency_limits(0, false);
    ASK("GET a", "$-1|");
    ck_assert_ptr_nonnull(strstr(ask("LATENCY HISTOGRAM get"), ":100|$14"));
}
END_TEST

START_TEST(every_time_has_a_bucket)
{
    const unsigned index = (unsigned)(cmd_find("GET", 3) - cmd_at(0));

    for (uint64_t ns = 1; ns != 0; ns <<= 1) {
        cmd_latency_record(index, ns - 1, false);
        cmd_latency_record(index, ns, false);
    }
    cmd_latency_record(index, UINT64_MAX, false);
    ck_assert_ptr_nonnull(strstr(ask("LATENCY HISTOGRAM get"),
                                 "$5|calls|:129|"));
}
END_TEST

START_TEST(a_container_means_its_subcommands)
{
    (void)ask("COMMAND COUNT");
    ck_assert_ptr_nonnull(
        strstr(ask("LATENCY HISTOGRAM command"), "$13|command|count|"));
}
END_TEST

START_TEST(sections_are_chosen)
{
    cmd_stat_add(CMD_STAT_CONNECTIONS, 3);
    cmd_gauge_add(CMD_GAUGE_BLOCKED, 2);
    cmd_gauge_add(CMD_GAUGE_BLOCKED, -1);
    ck_assert_ptr_nonnull(
        strstr(ask("INFO stats"), "total_connections_received:3|"));
    ck_assert_ptr_nonnull(strstr(ask("INFO clients"), "blocked_clients:1|"));
    ck_assert_ptr_null(strstr(ask("INFO clients"), "# Stats"));
    ck_assert_ptr_nonnull(strstr(ask("INFO clients stats"), "# Stats"));
    ck_assert_ptr_null(strstr(ask("INFO"), "# Commandstats"));
    ck_assert_ptr_nonnull(strstr(ask("INFO all"), "# Commandstats"));
    ck_assert_ptr_nonnull(strstr(ask("INFO everything"), "# Latencystats"));
    ASK("INFO nosuch", "$0||");
    cmd_gauge_add(CMD_GAUGE_BLOCKED, -1);
}
END_TEST

START_TEST(resetstat_puts_counters_to_zero)
{
    ASK("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: |");
    cmd_stat_add(CMD_STAT_NET_IN, 3);
    ASK("GET a", "$-1|");
    ASK("CONFIG RESETSTAT", "+OK|");
    ck_assert_ptr_nonnull(strstr(ask("INFO all"), "total_error_replies:0|"));
    ck_assert_ptr_nonnull(strstr(ask("INFO all"), "total_net_input_bytes:0|"));
    ck_assert_ptr_nonnull(strstr(ask("INFO all"), "keyspace_misses:0|"));
    ck_assert_ptr_null(strstr(ask("INFO all"), "cmdstat_get:"));
    ck_assert_ptr_null(strstr(ask("INFO all"), "percentiles_usec_get:"));
}
END_TEST

START_TEST(rates_are_sampled)
{
    cmd_stats_sample(NULL);
    cmd_stat_add(CMD_STAT_NET_IN, 1000000000);
    kv_os_sleep_ms(2);
    cmd_stats_sample(db);
    ck_assert_uint_gt(cmd_stats_rate(CMD_RATE_NET_IN), 0);
    for (int i = 0; i < 16; i++) {
        kv_os_sleep_ms(1);
        cmd_stats_sample(db);
    }
    ck_assert_uint_eq(cmd_stats_rate(CMD_RATE_NET_IN), 0);
}
END_TEST

/* Control commands inside a batch hold the store's lock already. */
START_TEST(facts_are_told_inside_a_batch)
{
    static const char *const lines[] = {
        "INFO everything",   "LASTSAVE",      "ROLE",       "MEMORY STATS",
        "MEMORY DOCTOR",     "WAIT 1 100000", "WAITAOF 0 1 100000",
        "CONFIG RESETSTAT",  "SLOWLOG LEN",   "COMMAND COUNT", "TIME"};

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct kv_txn *txn;

        ck_assert_int_eq(kv_txn_begin(db, true, 1000, &txn, &err), KVSQL_OK);
        split(lines[i]);
        ck_assert_int_eq(cmd_run_in(txn, args_count, args, &reply), KVSQL_OK);
        kv_txn_rollback(txn);
    }
}
END_TEST

START_TEST(loading_is_told)
{
    struct kv_progress progress = {.what = "replay", .done = 25, .total = 100};
    struct cmd_loading loading;

    cmd_stats_loading(&progress);
    cmd_stats_loading_get(&loading);
    ck_assert(loading.running);
    ck_assert_uint_eq(loading.total, 100);
    ck_assert_uint_ge(loading.eta_s, 1);
    ck_assert_str_eq(loading.what, "replay");
    progress = (struct kv_progress){.what = "load", .done = 1, .total = 9};
    cmd_stats_loading(&progress);
    cmd_stats_loading_get(&loading);
    ck_assert_str_eq(loading.what, "load");
    ck_assert_uint_eq(loading.done, 1);
    cmd_stats_loading(NULL);
    cmd_stats_loading_get(&loading);
    ck_assert(!loading.running);
}
END_TEST

START_TEST(jobs_are_told_together)
{
    struct cmd_job one = {.next = NULL}, two = {.next = NULL}, other = {.next = NULL};
    struct cmd_jobs jobs;

    cmd_job_begin(&one, CMD_JOB_EXPORT, 100);
    cmd_job_begin(&two, CMD_JOB_EXPORT, 10);
    cmd_job_begin(&other, CMD_JOB_IMPORT, 0);
    cmd_job_add(&one, 25);
    cmd_job_add(&two, 15); /* more than there were at first */
    cmd_jobs_get(CMD_JOB_EXPORT, &jobs);
    ck_assert_uint_eq(jobs.running, 2);
    ck_assert_uint_eq(jobs.done, 40);
    ck_assert_uint_eq(jobs.total, 115);
    ck_assert_uint_ge(jobs.left_s, 1);
    ck_assert_uint_gt(jobs.per_s, 0);
    cmd_job_end(&one);
    cmd_job_end(&one);
    cmd_jobs_get(CMD_JOB_EXPORT, &jobs);
    ck_assert_uint_eq(jobs.running, 1);
    ck_assert_uint_eq(jobs.total, 15);
    ck_assert_uint_eq(jobs.left_s, 0);
    cmd_jobs_get(CMD_JOB_IMPORT, &jobs);
    ck_assert_uint_eq(jobs.running, 1);
    ck_assert_uint_eq(jobs.total, 0); /* not known */
    ck_assert_ptr_nonnull(strstr(ask("INFO persistence"),
                                 "|exports_running:1|export_keys_processed:15|"
                                 "export_keys_total:15|"));
    ck_assert_ptr_nonnull(strstr(ask("INFO persistence"), "|imports_running:1|"));
    cmd_job_end(&two);
    cmd_job_end(&other);
    cmd_jobs_get(CMD_JOB_IMPORT, &jobs);
    ck_assert_uint_eq(jobs.running, 0);
}
END_TEST

START_TEST(the_rest_takes_as_long_as_what_was_done)
{
    ck_assert_uint_eq(cmd_stats_left(25, 100, 10000000000), 31);
    ck_assert_uint_eq(cmd_stats_left(0, 100, 10000000000), 0);
    ck_assert_uint_eq(cmd_stats_left(100, 100, 10000000000), 0);
    ck_assert_uint_eq(cmd_stats_left(200, 100, 10000000000), 0);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup_stats, teardown_stats);
    tcase_add_test(tests, slow_commands_are_kept_with_their_client);
    tcase_add_test(tests, the_slow_log_keeps_the_newest);
    tcase_add_test(tests, long_and_many_arguments_are_shortened);
    tcase_add_test(tests, secrets_are_not_in_the_slow_log);
    tcase_add_test(tests, wrong_arguments_of_slowlog_are_refused);
    tcase_add_test(tests, events_have_a_history);
    tcase_add_test(tests, histograms_tell_percentiles);
    tcase_add_test(tests, every_time_has_a_bucket);
    tcase_add_test(tests, a_container_means_its_subcommands);
    tcase_add_test(tests, sections_are_chosen);
    tcase_add_test(tests, resetstat_puts_counters_to_zero);
    tcase_add_test(tests, rates_are_sampled);
    tcase_add_test(tests, facts_are_told_inside_a_batch);
    tcase_add_test(tests, loading_is_told);
    tcase_add_test(tests, jobs_are_told_together);
    tcase_add_test(tests, the_rest_takes_as_long_as_what_was_done);
}

int main(void)
{
    return unit_run("stats", add_tests);
}
