/* test_multi.c - MULTI, EXEC and WATCH as commands see them. */
#include "tests/lib/client_fx.h"

#include "kvsql/store.h"

START_TEST(commands_behind_multi_run_together)
{
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "INCR a", "+QUEUED|");
    says(&two, "GET a", "$-1|");
    says(&one, "EXEC", "*2|+OK|:2|");
    says(&two, "GET a", "$1|2|");
    says(&one, "EXEC", "-ERR EXEC without MULTI|");
    says(&one, "DISCARD", "-ERR DISCARD without MULTI|");
}
END_TEST

START_TEST(a_command_that_fails_undoes_nothing_but_itself)
{
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a x", "+QUEUED|");
    says(&one, "INCR a", "+QUEUED|");
    says(&one, "SET b y", "+QUEUED|");
    says(&one, "EXEC",
         "*3|+OK|-ERR value is not an integer or out of range|+OK|");
    says(&one, "MGET a b", "*2|$1|x|$1|y|");
}
END_TEST

START_TEST(multi_rollback_is_all_or_nothing)
{
    says(&one, "MULTI ROLLBACK", "+OK|");
    says(&one, "SET a x", "+QUEUED|");
    says(&one, "INCR a", "+QUEUED|");
    says(&one, "EXEC",
         "-EXECABORT Transaction rolled back because of command 2: ERR value "
         "is not an integer or out of range|");
    says(&one, "EXISTS a", ":0|");
    says(&one, "MULTI ROLLBACK", "+OK|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "INCR a", "+QUEUED|");
    says(&one, "EXEC", "*2|+OK|:2|");
}
END_TEST

/* Long enough for the output to grow with it. */
#define LONG_VALUE                                                            \
    "0123456789012345678901234567890123456789012345678901234567890123456789"

/* Whether the answer is whole: one line of an error, or two values. */
static bool is_exec_of_two(const char *answer)
{
    const size_t size = strlen(answer);

    if (answer[0] == '-') {
        return strchr(answer, '|') == answer + size - 1;
    }
    return strncmp(answer, "*2|", 3) == 0 &&
           (strcmp(answer + 3, "+OK|$70|" LONG_VALUE "|") == 0 ||
            strstr(answer + 3, "-OOM ") != NULL);
}

START_TEST(without_memory_exec_is_still_one_answer)
{
    for (unsigned n = 1;; n++) {
        const char *answer;
        bool failed;

        says(&one, "DEL a", strcmp(ask(&two, "EXISTS a"), ":1|") == 0
                                ? ":1|"
                                : ":0|");
        says(&one, "MULTI", "+OK|");
        says(&one, "SET a " LONG_VALUE, "+QUEUED|");
        says(&one, "GET a", "+QUEUED|");
        kv_buf_fini(&out); /* it must grow */
        fail_at = n;
        (void)run(&one, "EXEC");
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        answer = answered();
        ck_assert_msg(is_exec_of_two(answer), "%s", answer);
        if (!failed) {
            ck_assert_str_eq(answer, "*2|+OK|$70|" LONG_VALUE "|");
            return;
        }
        if (answer[0] == '-') {
            says(&two, "EXISTS a", ":0|");
        }
    }
}
END_TEST

START_TEST(an_error_before_exec_discards_it)
{
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a", "-ERR wrong number of arguments for 'set' command|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "EXEC", "-EXECABORT Transaction discarded because of previous "
                       "errors.|");
    says(&one, "EXISTS a", ":0|");
    says(&one, "MULTI", "+OK|");
    says(&one, "MULTI", "-ERR MULTI calls can not be nested|");
    says(&one, "WATCH a", "-ERR WATCH inside MULTI is not allowed|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "DISCARD", "+OK|");
    says(&one, "EXISTS a", ":0|");
}
END_TEST

START_TEST(a_watched_key_that_changes_stops_exec)
{
    says(&one, "SET a 1", "+OK|");
    says(&one, "WATCH a nothing", "+OK|");
    says(&two, "SET a 2", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a 3", "+QUEUED|");
    says(&one, "EXEC", "*-1|");
    says(&one, "GET a", "$1|2|");

    says(&one, "WATCH nothing", "+OK|");
    says(&two, "SET nothing 1", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*-1|");

    says(&one, "WATCH a", "+OK|");
    says(&two, "GET a", "$1|2|");
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*0|");

    says(&one, "WATCH a", "+OK|");
    says(&two, "SET a 9", "+OK|");
    says(&one, "UNWATCH", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*0|");
}
END_TEST

START_TEST(what_leaves_a_watched_key_as_it_is_may_stop_exec)
{
    static const char *const lines[] = {"APPEND s \"\"", "LTRIM l 0 -1",
                                        "SET none v PXAT 1",
                                        "MSETEX 1 none v EXAT 1"};

    says(&one, "SET s v EX 100", "+OK|");
    says(&one, "RPUSH l a b", ":2|");
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        says(&one, "WATCH s l none", "+OK|");
        (void)ask(&two, lines[i]);
        says(&one, "MULTI", "+OK|");
        says(&one, "EXEC", "*-1|");
    }
    says(&one, "GET s", "$1|v|");
    says(&one, "TTL s", ":100|");
    says(&one, "LRANGE l 0 -1", "*2|$1|a|$1|b|");
    says(&one, "EXISTS none", ":0|");
}
END_TEST

/* The answer tells of a change that the log may not have yet. */
START_TEST(an_exec_that_did_nothing_waits_for_what_it_saw)
{
    static const char *const second[] = {"PING", "SQL \"SELECT 1\""};
    struct kv_info info;

    for (unsigned i = 0; i < 2; i++) {
        says(&one, "WATCH a", "+OK|");
        says(&two, "SET a x", "+OK|");
        kv_info_get(db, &info);
        says(&one, "MULTI", "+OK|");
        says(&one, second[i], "+QUEUED|");
        says(&one, "EXEC", "*-1|");
        ck_assert_uint_eq(ticket.position, info.position);
        ck_assert_uint_eq(ticket.epoch, info.epoch);
        says(&one, "MULTI ROLLBACK", "+OK|");
        says(&one, second[i], "+QUEUED|");
        says(&one, "SET b 1", "+QUEUED|");
        says(&one, "INCR a", "+QUEUED|");
        ck_assert(strncmp(ask(&one, "EXEC"), "-EXECABORT", 10) == 0);
        ck_assert_uint_eq(ticket.position, info.position);
        ck_assert_uint_eq(ticket.epoch, info.epoch);
    }
}
END_TEST

START_TEST(a_watched_key_that_expires_counts_as_changed)
{
    says(&one, "SET a 1 PX 50", "+OK|");
    says(&one, "WATCH a", "+OK|");
    fakeos_advance(fake, 100);
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*-1|");
}
END_TEST

/* Whatever is done to the absent key `a` by others, it is absent at the end:
 * does EXEC run? */
static void absent_is(const char *const *lines, const char *answer)
{
    says(&one, "WATCH other a", "+OK|");
    for (unsigned i = 0; lines[i] != NULL; i++) {
        (void)ask(&two, lines[i]);
    }
    says(&two, "EXISTS a", ":0|");
    says(&one, "MULTI", "+OK|");
    ck_assert_str_eq(ask(&one, "EXEC"), answer);
    (void)ask(&two, "FLUSHALL");
}

START_TEST(a_watched_key_that_came_and_went_counts_as_changed)
{
    static const char *const changed[][6] = {
        {"SET a 1", "DEL a"},
        {"HSET a f v", "HDEL a f"},
        {"SADD a m", "SPOP a"},
        {"RPUSH a x", "LPOP a"},
        {"ZADD a 1 m", "ZPOPMIN a"},
        {"SET b 1", "RENAME b a", "RENAME a b"},
        {"SET b 1", "COPY b a", "DEL a"},
        {"SET a 1", "FLUSHALL"},
        {"MULTI", "SET a 1", "DEL a", "EXEC"},
        {"SET a 1", "EXPIRE a 0"},
        {"SQL \"INSERT INTO strings(key, value) VALUES('a', 1)\"",
         "SQL \"DELETE FROM keys WHERE key = 'a'\""}};
    static const char *const same[][6] = {
        {"GET a"},
        {"DEL a"},
        {"FLUSHALL"},
        {"SET b 1", "DEL b"},
        {"LPUSHX a 1"},
        {"MULTI ROLLBACK", "SET a 1", "INCR a", "LPUSH a x", "EXEC"}};

    for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++) {
        absent_is(changed[i], "*-1|");
    }
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        absent_is(same[i], "*0|");
    }
}
END_TEST

START_TEST(a_watched_key_that_came_and_expired_counts_as_changed)
{
    says(&one, "WATCH a", "+OK|");
    says(&two, "SET a 1 PX 50", "+OK|");
    fakeos_advance(fake, 100);
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*-1|");
    /* it is there no more, though nobody has removed it */
    says(&one, "WATCH a", "+OK|");
    (void)kv_store_tick(kv_db_store(db));
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*0|");
    /* nor are its fields */
    says(&two, "HSET a f v g w", ":2|");
    says(&two, "HPEXPIRE a 50 FIELDS 2 f g", "*2|:1|:1|");
    fakeos_advance(fake, 100);
    says(&one, "WATCH a", "+OK|");
    (void)kv_store_tick(kv_db_store(db));
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*0|");
    /* ... and whoever makes it anew removes it first */
    says(&two, "RPUSH a 1", ":1|");
    says(&two, "PEXPIRE a 50", ":1|");
    fakeos_advance(fake, 100);
    says(&one, "WATCH a", "+OK|");
    says(&two, "RPUSH a 2", ":1|");
    says(&two, "DEL a", ":1|");
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*-1|");
}
END_TEST

START_TEST(a_watch_that_has_ended_is_told_nothing)
{
    says(&one, "WATCH a b", "+OK|");
    says(&two, "WATCH b", "+OK|");
    says(&one, "UNWATCH", "+OK|");
    says(&one, "SET a 1", "+OK|");
    says(&one, "SET b 1", "+OK|");
    says(&one, "DEL a b", ":2|");
    says(&one, "WATCH a", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "EXEC", "*0|");
    says(&two, "MULTI", "+OK|");
    says(&two, "EXEC", "*-1|");
    ck_assert_uint_eq(one.watch_absent + two.watch_absent, 0);
}
END_TEST

START_TEST(without_memory_an_absent_key_is_watched_or_watch_fails)
{
    for (unsigned n = 1;; n++) {
        bool failed;

        says(&one, "UNWATCH", "+OK|");
        fail_at = n;
        (void)run(&one, "WATCH a");
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        if (answered()[0] != '+') {
            ck_assert_uint_eq(one.watch_absent, 0);
        } else {
            says(&two, "SET a 1", "+OK|");
            says(&two, "DEL a", ":1|");
            says(&one, "MULTI", "+OK|");
            says(&one, "EXEC", "*-1|");
        }
        if (!failed) {
            return;
        }
    }
}
END_TEST


/* ---- transactions that are refused --------------------------------------- */

START_TEST(a_refused_exec_ends_the_transaction)
{
    says(&one, "WATCH a", "+OK|");
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "EXEC now", "-EXECABORT Transaction discarded because of: wrong "
                          "number of arguments for 'exec' command|");
    says(&one, "EXEC", "-ERR EXEC without MULTI|");
    says(&one, "EXISTS a", ":0|");
    says(&one, "EXEC now", "-EXECABORT Transaction discarded because of: wrong "
                          "number of arguments for 'exec' command|");
}
END_TEST

START_TEST(multi_with_other_words_is_refused)
{
    says(&one, "MULTI x", "-ERR wrong number of arguments for 'multi' command|");
    says(&one, "MULTI ROLLBACK x",
        "-ERR wrong number of arguments for 'multi' command|");
    says(&one, "EXEC", "-ERR EXEC without MULTI|");
    says(&one, "MULTI", "+OK|");
    says(&one, "MULTI x", "-ERR wrong number of arguments for 'multi' command|");
    says(&one, "EXEC", "-EXECABORT Transaction discarded because of previous "
                      "errors.|");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, commands_behind_multi_run_together);
    tcase_add_test(tests, a_command_that_fails_undoes_nothing_but_itself);
    tcase_add_test(tests, multi_rollback_is_all_or_nothing);
    tcase_add_test(tests, without_memory_exec_is_still_one_answer);
    tcase_add_test(tests, an_error_before_exec_discards_it);
    tcase_add_test(tests, a_watched_key_that_changes_stops_exec);
    tcase_add_test(tests, what_leaves_a_watched_key_as_it_is_may_stop_exec);
    tcase_add_test(tests, an_exec_that_did_nothing_waits_for_what_it_saw);
    tcase_add_test(tests, a_watched_key_that_expires_counts_as_changed);
    tcase_add_test(tests, a_watched_key_that_came_and_went_counts_as_changed);
    tcase_add_test(tests,
                   a_watched_key_that_came_and_expired_counts_as_changed);
    tcase_add_test(tests, a_watch_that_has_ended_is_told_nothing);
    tcase_add_test(tests,
                   without_memory_an_absent_key_is_watched_or_watch_fails);
    tcase_add_test(tests, a_refused_exec_ends_the_transaction);
    tcase_add_test(tests, multi_with_other_words_is_refused);
}

int main(void)
{
    return unit_run("multi", add);
}
