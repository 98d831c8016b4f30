/* test_evict.c - maxmemory and its policies: who goes, who stays, when a write
 * is refused (EV1-EV3, TS11). */
#include "tests/lib/evict_fx.h"

/* ---- refusing ----------------------------------------------------------------- */

START_TEST(without_eviction_growing_is_refused_and_the_rest_works)
{
    for (unsigned i = 0; i < 100; i++)
        put(i, 0);
    ASK("RPUSH list a b c", ":3|");
    kv_set_maxmemory(db, 1000);
    ASK("SET new 1",
        "-OOM command not allowed when used memory > 'maxmemory'.|");
    ASK("RPUSH list d",
        "-OOM command not allowed when used memory > 'maxmemory'.|");
    ASK("LPOP list", "$1|a|");
    ASK("GET key:5000", "$-1|");
    ASK("EXPIRE key:3 100", ":1|");
    ASK("RENAME key:3 key:other", "+OK|");
    ASK("DEL key:4", ":1|");
    ck_assert_uint_eq(info_now().evicted_keys, 0);
    ck_assert_uint_eq(info_now().keys, 100);
    kv_set_maxmemory(db, 0);
    ASK("SET new 1", "+OK|");
}
END_TEST

/* Redis's own assignment of the flag, of all its commands (7.0.15, and later
 * ones that came since): whether we have them yet or not. */
START_TEST(the_commands_that_may_grow_the_store_are_those_of_redis)
{
    static const char all[] =
        " "
        "APPEND BITFIELD BITOP BLMOVE BRPOPLPUSH COPY DECR DECRBY "
        "FUNCTION FUNCTION|LOAD FUNCTION|RESTORE GEOADD GEORADIUS "
        "GEORADIUSBYMEMBER GEOSEARCHSTORE GETSET HINCRBY HINCRBYFLOAT "
        "HMSET HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT INCREX "
        "LINSERT LMOVE LPUSH LPUSHX LSET MSET MSETEX MSETNX PFADD "
        "PFDEBUG PFMERGE PSETEX RESTORE RESTORE-ASKING RPOPLPUSH RPUSH "
        "RPUSHX SADD SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE "
        "SINTERSTORE SORT SUNIONSTORE XADD XGROUP XGROUP|CREATE "
        "XGROUP|CREATECONSUMER XSETID ZADD ZDIFFSTORE ZINCRBY "
        "ZINTERSTORE ZRANGESTORE ZUNIONSTORE ";
    char name[64];

    for (unsigned i = 0; cmd_at(i) != NULL; i++) {
        (void)snprintf(name, sizeof(name), " %s ", cmd_at(i)->name);
        ck_assert_msg((strstr(all, name) != NULL) ==
                          ((cmd_at(i)->flags & CMD_DENYOOM) != 0),
                      "%s: add or drop the flag D in commands.def", name);
    }
}
END_TEST

START_TEST(effects_outside_of_commands_meet_the_same_limit)
{
    const struct kv_key key = kv_key_of("new", 3);
    struct kv_txn *txn;

    put_big(0, 0);
    kv_set_maxmemory(db, 100);
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                     KVSQL_OOM);
    ck_assert_int_eq(kv_del(txn, &key, NULL, &err), KVSQL_OK);
    kv_txn_rollback(txn);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    kv_set_maxmemory(db, used_now() - 50);
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                     KVSQL_OK);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
    ASK("EXISTS key:0", ":0|");
    ck_assert_uint_eq(info_now().evicted_keys, 1);
}
END_TEST

START_TEST(a_command_that_had_its_room_is_not_stopped_half_way)
{
    char line[8192] = "HSET wide";

    for (unsigned i = 0; i < 300; i++) {
        const size_t size = strlen(line);
        (void)snprintf(line + size, sizeof(line) - size, " field:%u v%u", i,
                       i);
    }
    put(0, 0);
    kv_set_maxmemory(db, used_now() + 200);
    ASK(line, ":300|");
    ASK("SET a 1",
        "-OOM command not allowed when used memory > 'maxmemory'.|");
}
END_TEST

START_TEST(a_batch_evicts_before_it_and_never_what_it_wrote)
{
    const kvsql_slice set[] = {{"SET", 3}, {"mine", 4}, {"1", 1}};
    const kvsql_slice get[] = {{"GET", 3}, {"mine", 4}};
    const kvsql_slice *const argv[] = {set, set, get};
    const unsigned argc[] = {3, 3, 2};
    struct cmd_reply replies[3];
    struct kv_ticket ticket;
    unsigned failed;

    for (unsigned i = 0; i < 3; i++)
        cmd_reply_init(&replies[i], 1 << 20);
    for (unsigned i = 0; i < 20; i++)
        put_big(i, 0);
    kv_set_maxmemory(db, 1000);
    ck_assert_int_eq(cmd_run_batch(db, 3, argc, argv, false, replies, &failed,
                                   &ticket, &err),
                     KVSQL_OOM);
    ck_assert_str_eq(err.text,
                     "EXECABORT Transaction discarded because of: OOM command "
                     "not allowed when used memory > 'maxmemory'.");
    ck_assert_uint_eq(info_now().keys, 20);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_RANDOM, 0);
    kv_set_maxmemory(db, used_now() - 5 * VALUE_BIG + 1);
    ck_assert_int_eq(cmd_run_batch(db, 3, argc, argv, false, replies, &failed,
                                   &ticket, &err),
                     KVSQL_OK);
    ck_assert_int_eq(replies[2].rc, KVSQL_OK);
    ASK("GET mine", "$1|1|");
    ck_assert_uint_eq(info_now().evicted_keys, 5);
    for (unsigned i = 0; i < 3; i++)
        cmd_reply_fini(&replies[i]);
}
END_TEST

/* ---- who goes ------------------------------------------------------------------ */

/* Keys 0, 1, ... one a second, then every key of the lower half with an odd
 * number is read. So the least recently used are the even ones of the lower
 * half, in order; then the upper half; then the odd ones. */
static void fill_lru(bool shuffled)
{
    for (unsigned i = 0; i < KEYS; i++) {
        put(shuffled ? i * 7919 % KEYS : i, 0);
        pass_ms(1000);
    }
    for (unsigned i = 1; i < KEYS / 2; i += 2) {
        const unsigned k = shuffled ? i * 7919 % KEYS : i;
        ck_assert_str_ne(ask_key("GET key:%u", k), "$-1|");
        pass_ms(1000);
    }
}

/* Of `gone` evicted keys, those that a perfect policy would have kept. */
static unsigned lru_mistakes(bool shuffled, unsigned *gone)
{
    unsigned mistakes = 0;

    *gone = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        if (is_there("EXISTS key:%u", shuffled ? i * 7919 % KEYS : i))
            continue;
        ++*gone;
        mistakes += i >= KEYS / 2 || i % 2 == 1;
    }
    return mistakes;
}

static void check_lru(bool shuffled)
{
    unsigned gone;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    fill_lru(shuffled);
    squeeze(info_now().memory_data / 8);
    const unsigned mistakes = lru_mistakes(shuffled, &gone);
    ck_assert_uint_eq(gone, info_now().evicted_keys);
    ck_assert_uint_gt(gone, KEYS / 10);
    ck_assert_uint_lt(gone, KEYS / 5); /* no more than was asked for */
    ck_assert_msg(mistakes <= gone / 20, "%u of %u", mistakes, gone);
}

START_TEST(allkeys_lru_evicts_what_was_not_used_for_long)
{
    check_lru(true);
}
END_TEST

START_TEST(allkeys_lru_is_good_when_neighbours_are_of_one_age_too)
{
    check_lru(false);
}
END_TEST

START_TEST(volatile_lru_evicts_only_keys_with_a_time_to_live)
{
    kv_set_maxmemory_policy(db, KVSQL_VOLATILE_LRU, 0);
    for (unsigned i = 0; i < KEYS; i++) {
        put(i, i % 8 == 0 ? clock_wall + 100000000 : 0);
        pass_ms(1000);
    }
    squeeze(info_now().memory_data / 16);
    const uint64_t evicted = info_now().evicted_keys;
    ck_assert_uint_gt(evicted, KEYS / 20);
    ck_assert_uint_eq(info_now().keys, KEYS - evicted);
    unsigned old = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        const bool there = is_there("EXISTS key:%u", i);
        ck_assert(there || i % 8 == 0);
        old += !there && i < KEYS * 5 / 8;
    }
    ck_assert_uint_ge(old, evicted * 9 / 10);
    squeeze(info_now().memory_data / 2); /* more than they can give */
    ck_assert_uint_eq(info_now().keys, KEYS - KEYS / 8);
    ck_assert_uint_eq(info_now().keys_with_expiry, 0);
    ASK("SET new 1",
        "-OOM command not allowed when used memory > 'maxmemory'.|");
}
END_TEST

START_TEST(few_volatile_keys_are_found_among_many)
{
    kv_set_maxmemory_policy(db, KVSQL_VOLATILE_RANDOM, 1);
    for (unsigned i = 0; i < KEYS; i++)
        put_size(i, i == 1234 ? VALUE_BIG : 1, clock_wall + 100000000);
    for (unsigned i = 0; i < KEYS; i++) /* their bounds stay behind */
        if (i != 1234)
            ck_assert_str_eq(ask_key("PERSIST key:%u", i), ":1|");
    kv_set_maxmemory(db, used_now() - 50);
    ASK("SET new 1", "+OK|");
    ASK("EXISTS key:1234", ":0|");
    ck_assert_uint_eq(info_now().keys, KEYS);
}
END_TEST

START_TEST(volatile_ttl_evicts_in_order_of_deadline)
{
    unsigned first = KEYS;

    kv_set_maxmemory_policy(db, KVSQL_VOLATILE_TTL, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i * 7919 % KEYS,
            i % 2 == 0 ? clock_wall + 1000000 + i * INT64_C(1000) : 0);
    squeeze(info_now().memory_data / 8);
    for (unsigned i = 0; i < KEYS && first == KEYS; i += 2)
        if (is_there("EXISTS key:%u", i * 7919 % KEYS))
            first = i;
    ck_assert_uint_eq(info_now().evicted_keys, first / 2);
    ck_assert_uint_eq(info_now().keys, KEYS - first / 2);
    ck_assert_uint_gt(first, KEYS / 8);
}
END_TEST

START_TEST(what_has_expired_goes_first_and_is_not_called_evicted)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < 40; i++)
        put_big(i, i == 39 ? clock_wall + 1 : 0);
    pass_ms(10);
    kv_set_maxmemory(db, used_now() - 50);
    ASK("SET new 1", "+OK|");
    ck_assert_uint_eq(info_now().evicted_keys, 0);
    ck_assert_uint_eq(info_now().expired_keys, 1);
    ck_assert_uint_eq(info_now().keys, 40);
}
END_TEST

START_TEST(allkeys_lfu_keeps_what_is_used_often)
{
    unsigned lost = 0;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LFU, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, 0);
    for (unsigned n = 0; n < 40; n++)
        for (unsigned i = 0; i < KEYS; i += 10)
            (void)ask_key("GET key:%u", i);
    squeeze(info_now().memory_data / 4);
    ck_assert_uint_gt(info_now().evicted_keys, KEYS / 5);
    for (unsigned i = 0; i < KEYS; i += 10)
        lost += !is_there("EXISTS key:%u", i);
    ck_assert_uint_eq(lost, 0);
}
END_TEST

START_TEST(volatile_lfu_keeps_what_is_used_often_and_what_lasts)
{
    kv_set_maxmemory_policy(db, KVSQL_VOLATILE_LFU, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, i % 2 == 0 ? clock_wall + 100000000 : 0);
    for (unsigned n = 0; n < 40; n++)
        for (unsigned i = 0; i < KEYS; i += 10)
            (void)ask_key("GET key:%u", i);
    squeeze(info_now().memory_data / 4);
    ck_assert_uint_gt(info_now().evicted_keys, KEYS / 5);
    for (unsigned i = 0; i < KEYS; i++)
        if (i % 10 == 0 || i % 2 == 1)
            ck_assert(is_there("EXISTS key:%u", i));
}
END_TEST

/* Each tenth of the keys loses about a tenth of what is lost. */
static void check_random(enum kvsql_maxmemory_policy policy, unsigned step)
{
    unsigned gone[10] = {0}, all = 0;

    kv_set_maxmemory_policy(db, policy, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, i % step == 0 ? clock_wall + 100000000 : 0);
    squeeze(info_now().memory_data / 4);
    for (unsigned i = 0; i < KEYS; i++) {
        const bool there = is_there("EXISTS key:%u", i);
        ck_assert(there || step == 1 || i % step == 0);
        gone[i / (KEYS / 10)] += !there;
        all += !there;
    }
    ck_assert_uint_gt(all, KEYS / 5);
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_uint_gt(gone[i], all / 10 * 7 / 10);
        ck_assert_uint_lt(gone[i], all / 10 * 13 / 10);
    }
}

START_TEST(allkeys_random_takes_from_everywhere)
{
    check_random(KVSQL_ALLKEYS_RANDOM, 1);
}
END_TEST

START_TEST(volatile_random_takes_from_all_that_expires)
{
    check_random(KVSQL_VOLATILE_RANDOM, 2);
}
END_TEST

START_TEST(huge_values_leave_room_at_once_and_one_is_enough)
{
    char line[128];

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_RANDOM, 0);
    for (unsigned k = 0; k < 10; k++)
        for (unsigned i = 0; i < 2000; i++) {
            (void)snprintf(line, sizeof(line), "SADD set:%u member:%u", k, i);
            ASK(line, ":1|");
        }
    kv_set_maxmemory(db, used_now() - 100);
    ASK("SET new 1", "+OK|");
    ck_assert_uint_eq(info_now().evicted_keys, 1);
    ck_assert_uint_eq(info_now().keys, 10);
}
END_TEST

START_TEST(long_keys_are_evicted_too)
{
    static char name[3000];
    struct kv_txn *txn;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    memset(name, 'k', sizeof(name));
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(name + 1000, 8, "%06u", i);
        name[1006] = 'x';
        const struct kv_key key = kv_key_of(name, 1000 + i * 10);
        ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
        ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                         KVSQL_OK);
        ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
    }
    squeeze(info_now().memory_data / 2);
    ck_assert_uint_lt(info_now().keys, 150);
    ck_assert_uint_gt(info_now().keys, 50);
    kv_store_check(kv_db_store(db));
}
END_TEST

/* ---- views ---------------------------------------------------------------------- */

/* A view is pinned and everything overwritten: the view holds as much again. */
static struct kv_view *pin_and_overwrite(void)
{
    struct kv_view *view;

    for (unsigned i = 0; i < KEYS; i++)
        put(i, 0);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, 0);
    ck_assert_uint_gt(info_now().memory_retired, info_now().memory_data / 2);
    return view;
}

START_TEST(memory_that_a_view_holds_evicts_no_live_key)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    struct kv_view *const view = pin_and_overwrite();
    kv_set_maxmemory(db, used_now() + info_now().memory_retired / 2);
    while (kv_store_tick(kv_db_store(db)))
        continue;
    ASK("SET new 1", "+OK|");
    ck_assert_uint_eq(info_now().evicted_keys, 0);
    ck_assert_uint_eq(info_now().keys, KEYS + 1);
    /* below what is live keys go, and no more than that asks for */
    squeeze(info_now().memory_data / 8);
    ck_assert_uint_gt(info_now().evicted_keys, KEYS / 10);
    ck_assert_uint_lt(info_now().evicted_keys, KEYS / 5);
    kv_unpin(view);
}
END_TEST

START_TEST(without_eviction_a_view_over_the_limit_refuses_until_it_goes)
{
    struct kv_view *const view = pin_and_overwrite();

    kv_set_maxmemory(db, used_now() + info_now().memory_retired / 2);
    ASK("SET new 1",
        "-OOM command not allowed when used memory > 'maxmemory'.|");
    ck_assert_uint_eq(info_now().keys, KEYS);
    kv_unpin(view);
    ASK("SET new 1", "+OK|"); /* the first write gives the view's memory up */
}
END_TEST

/* ---- batches --------------------------------------------------------------------- */

START_TEST(an_eviction_is_taken_back_with_its_batch)
{
    const struct kv_key key = kv_key_of("new", 3);
    struct kv_txn *txn;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < 200; i++)
        put(i, 0);
    kv_set_maxmemory(db, used_now() - 1000);
    const uint64_t hash = kv_store_hash(kv_db_store(db));
    const uint64_t data = info_now().memory_data;
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                     KVSQL_OK);
    ck_assert_uint_gt(kv_txn_count(txn), 5);
    kv_txn_rollback(txn);
    ck_assert_uint_eq(info_now().evicted_keys, 0);
    ck_assert_uint_eq(info_now().memory_data, data);
    ck_assert_uint_eq(info_now().keys, 200);
    ck_assert(kv_store_hash(kv_db_store(db)) == hash);
}
END_TEST

START_TEST(a_burst_that_fills_the_wal_evicts_nothing)
{
    put(0, 0);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    kv_set_maxmemory(db, used_now() + 10000);
    void *const buffer = kv_mem_alloc(KV_MEM_WAL, 1 << 20);
    ck_assert_ptr_nonnull(buffer);
    while (kv_store_tick(kv_db_store(db)))
        continue;
    for (unsigned i = 0; i < 100; i++)
        ASK("SET a 1", "+OK|");
    kv_mem_free(KV_MEM_WAL, buffer, 1 << 20);
    ck_assert_uint_eq(info_now().evicted_keys, 0);
}
END_TEST

START_TEST(what_was_evicted_stays_away_after_a_restart)
{
    char dir[] = "/tmp/test_evict.XXXXXX";
    char command[64];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    open_store(dir);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, 0);
    squeeze(info_now().memory_data / 4);
    ck_assert_int_eq(kv_sync(db, info_now().position, &err), KVSQL_OK);
    const uint64_t keys = info_now().keys;
    ck_assert_uint_lt(keys, KEYS * 4 / 5);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    open_store(dir);
    ck_assert_uint_eq(info_now().keys, keys);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    open_store("");
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(when_the_nth_allocation_fails_the_store_is_whole)
{
    const struct kv_key key = kv_key_of("new", 3);
    struct kv_txn *txn;
    bool failed = true;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < 300; i++)
        put(i, 0);
    kv_set_maxmemory(db, used_now() - 2000);
    const uint64_t hash = kv_store_hash(kv_db_store(db));
    for (unsigned n = 1; failed; n++) {
        ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
        kv_mem_fail_at(n, 0);
        const kvsql_rc rc =
            kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err);
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        ck_assert(rc == KVSQL_OK || rc == KVSQL_NOMEM || rc == KVSQL_OOM);
        kv_txn_rollback(txn);
        ck_assert(kv_store_hash(kv_db_store(db)) == hash);
        ck_assert_uint_lt(n, 1000);
    }
}
END_TEST
static void add_who_goes(TCase *tests)
{
    tcase_add_test(tests, allkeys_lru_evicts_what_was_not_used_for_long);
    tcase_add_test(tests,
                   allkeys_lru_is_good_when_neighbours_are_of_one_age_too);
    tcase_add_test(tests, volatile_lru_evicts_only_keys_with_a_time_to_live);
    tcase_add_test(tests, few_volatile_keys_are_found_among_many);
    tcase_add_test(tests, volatile_ttl_evicts_in_order_of_deadline);
    tcase_add_test(tests,
                   what_has_expired_goes_first_and_is_not_called_evicted);
    tcase_add_test(tests, allkeys_lfu_keeps_what_is_used_often);
    tcase_add_test(tests, volatile_lfu_keeps_what_is_used_often_and_what_lasts);
    tcase_add_test(tests, allkeys_random_takes_from_everywhere);
    tcase_add_test(tests, volatile_random_takes_from_all_that_expires);
    tcase_add_test(tests, huge_values_leave_room_at_once_and_one_is_enough);
    tcase_add_test(tests, long_keys_are_evicted_too);
}

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests,
                   without_eviction_growing_is_refused_and_the_rest_works);
    tcase_add_test(tests,
                   the_commands_that_may_grow_the_store_are_those_of_redis);
    tcase_add_test(tests, effects_outside_of_commands_meet_the_same_limit);
    tcase_add_test(tests, a_command_that_had_its_room_is_not_stopped_half_way);
    tcase_add_test(tests, a_batch_evicts_before_it_and_never_what_it_wrote);
    add_who_goes(tests);
    tcase_add_test(tests, memory_that_a_view_holds_evicts_no_live_key);
    tcase_add_test(tests,
                   without_eviction_a_view_over_the_limit_refuses_until_it_goes);
    tcase_add_test(tests, an_eviction_is_taken_back_with_its_batch);
    tcase_add_test(tests, a_burst_that_fills_the_wal_evicts_nothing);
    tcase_add_test(tests, what_was_evicted_stays_away_after_a_restart);
    tcase_add_test(tests, when_the_nth_allocation_fails_the_store_is_whole);
}

int main(void)
{
    return unit_run("evict", add);
}
