/* test_lru.c - how long and how often keys were used (EV2): the four bytes of an
 * entry, what counts as a use, and what is told of it. */
#include "tests/lib/evict_fx.h"

static uint64_t bytes_of_keys(enum kvsql_maxmemory_policy policy)
{
    kv_set_maxmemory_policy(db, policy, 0);
    ASK("FLUSHALL", "+OK|");
    while (kv_store_tick(kv_db_store(db)))
        continue;
    for (unsigned i = 0; i < 20000; i++)
        ck_assert_str_eq(ask_key("SET %08x:random abcdefgh", i * 2654435761u),
                         "+OK|");
    return info_now().memory_data;
}

START_TEST(a_policy_costs_4_bytes_a_key_and_only_while_it_lasts)
{
    const uint64_t none = bytes_of_keys(KVSQL_NOEVICTION);

    ck_assert_uint_eq(bytes_of_keys(KVSQL_ALLKEYS_RANDOM), none);
    ck_assert_uint_eq(bytes_of_keys(KVSQL_VOLATILE_TTL), none);
    const uint64_t lru = bytes_of_keys(KVSQL_ALLKEYS_LRU);
    ck_assert_uint_gt(lru, none + 20000);
    ck_assert_uint_le(lru, none + 20000 * 4);
    ck_assert_uint_eq(bytes_of_keys(KVSQL_VOLATILE_LFU), lru);
    kv_set_maxmemory_policy(db, KVSQL_NOEVICTION, 0);
    while (kv_store_tick(kv_db_store(db)))
        continue;
    kv_store_check(kv_db_store(db));
    for (unsigned i = 0; i < 20000; i += 100)
        ck_assert_str_eq(ask_key("GET %08x:random", i * 2654435761u),
                         "$8|abcdefgh|");
    ASK("OBJECT FREQ 00000000:random",
        "-ERR An LFU maxmemory policy is not selected, access frequency not "
        "tracked. Please note that when switching between policies at runtime "
        "LRU and LFU data will take some time to adjust.|");
}
END_TEST

/* Does the key's entry hold the bytes? */
static bool has_bytes(const char *name)
{
    struct kv_store *const store = kv_db_store(db);
    const struct kv_key key = kv_key_of(name, strlen(name));
    struct kv_cell cell;

    kv_lock_take(&store->lock);
    const bool found = kv_key_find(store, &key, &cell);
    kv_lock_drop(&store->lock);
    return found && cell.lru != NULL;
}

START_TEST(the_keeper_adds_resets_and_removes_them_with_the_policy)
{
    struct kv_view *view;

    for (unsigned i = 0; i < 2000; i++)
        put(i, i % 3 == 0 ? clock_wall + 1000000 : 0);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_str_eq(ask_key("SADD set member:%u", i), ":1|");
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    ck_assert(!has_bytes("key:0"));
    const uint64_t position = info_now().position;
    static const enum kvsql_maxmemory_policy steps[] = {
        KVSQL_ALLKEYS_LRU, KVSQL_ALLKEYS_LFU, KVSQL_VOLATILE_LFU,
        KVSQL_NOEVICTION};
    for (unsigned s = 0; s < 4; s++) {
        kv_set_maxmemory_policy(db, steps[s], 0);
        while (kv_store_tick(kv_db_store(db)))
            continue;
        kv_store_check(kv_db_store(db));
        ck_assert(has_bytes("key:0") == (steps[s] != KVSQL_NOEVICTION));
        ck_assert(has_bytes("key:1999") == (steps[s] != KVSQL_NOEVICTION));
        ck_assert(has_bytes("set") == (steps[s] != KVSQL_NOEVICTION));
        if (steps[s] == KVSQL_ALLKEYS_LFU)
            ASK("OBJECT FREQ key:77", ":5|");
    }
    ck_assert_uint_eq(info_now().position, position); /* no ops */
    ck_assert_uint_eq(info_now().keys, 2001);
    kv_unpin(view);
}
END_TEST

START_TEST(idle_times_are_true_and_looking_is_no_use)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    ASK("SET a 1", "+OK|");
    ASK("HSET h f v", ":1|");
    pass_ms(5000);
    ASK("OBJECT IDLETIME a", ":5|");
    ASK("EXISTS a", ":1|");
    ASK("TYPE a", "+string|");
    ASK("TTL a", ":-1|");
    ASK("OBJECT ENCODING a", "$3|int|");
    (void)ask("MEMORY USAGE a");
    ASK("OBJECT IDLETIME a", ":5|");
    ASK("OBJECT IDLETIME nokey", "$-1|");
    ASK("GET a", "$1|1|");
    ASK("OBJECT IDLETIME a", ":0|");
    pass_ms(7000);
    ASK("MGET a", "*1|$1|1|");
    ASK("TOUCH h", ":1|");
    ASK("OBJECT IDLETIME a", ":0|");
    ASK("OBJECT IDLETIME h", ":0|");
    pass_ms(90000);
    ASK("OBJECT IDLETIME h", ":90|");
    ASK("HSET h f w", ":0|");
    ASK("OBJECT IDLETIME h", ":0|");
    pass_ms(1000);
    ASK("RENAME a b", "+OK|");
    ASK("OBJECT IDLETIME b", ":0|");
}
END_TEST

START_TEST(large_collections_are_used_by_their_writes)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < 500; i++) {
        (void)ask_key("SADD set member:%u", i);
        (void)ask_key("RPUSH list item:%u", i);
    }
    pass_ms(3000);
    ASK("SADD set x", ":1|");
    ASK("OBJECT IDLETIME set", ":0|");
    ASK("OBJECT IDLETIME list", ":3|");
    ASK("RPUSH list x", ":501|");
    ASK("OBJECT IDLETIME list", ":0|");
}
END_TEST

START_TEST(reading_a_view_is_no_use)
{
    const struct kv_key key = kv_key_of("a", 1);
    struct kv_view *view;
    struct kv_item item;
    struct kv_at at;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    ASK("SET a 1", "+OK|");
    pass_ms(4000);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    ck_assert(kv_get(&at, &key, &item));
    kv_item_use(&at, &key, &item);
    kv_unpin(view);
    ASK("OBJECT IDLETIME a", ":4|");
}
END_TEST

START_TEST(without_a_policy_idle_times_are_kept_from_the_first_question_on)
{
    ASK("SET a 1", "+OK|");
    ASK("SET b 1", "+OK|");
    pass_ms(5000);
    ck_assert(!has_bytes("a"));
    ASK("OBJECT IDLETIME a", ":0|");
    pass_ms(5000);
    ASK("OBJECT IDLETIME a", ":5|");
    ASK("GET a", "$1|1|");
    ASK("OBJECT IDLETIME a", ":0|");
    ck_assert(!has_bytes("b")); /* nobody asked */
    ASK("SET b 2", "+OK|");
    pass_ms(2000);
    ASK("OBJECT IDLETIME b", ":2|");
    kv_store_check(kv_db_store(db));
}
END_TEST

START_TEST(the_counter_grows_with_use_decays_and_outlives_the_value)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LFU, 0);
    ASK("OBJECT FREQ nokey", "$-1|");
    ASK("SET a 1", "+OK|");
    ASK("OBJECT FREQ a", ":5|");
    ASK("OBJECT IDLETIME a",
        "-ERR An LFU maxmemory policy is selected, idle time not tracked. "
        "Please note that when switching between policies at runtime LRU and "
        "LFU data will take some time to adjust.|");
    for (unsigned i = 0; i < 1000; i++)
        (void)ask("GET a");
    const long used = strtol(ask("OBJECT FREQ a") + 1, NULL, 10);
    ck_assert_int_gt(used, 12); /* 5 + sqrt(2 x 1000 / 10) = 19 */
    ck_assert_int_lt(used, 28);
    pass_ms(3 * 60000);
    ck_assert_int_eq(strtol(ask("OBJECT FREQ a") + 1, NULL, 10), used - 3);
    ASK("SET a 2", "+OK|");
    const long written = strtol(ask("OBJECT FREQ a") + 1, NULL, 10);
    ck_assert(written == used - 3 || written == used - 2);
    ASK("RENAME a b", "+OK|");
    ck_assert_int_ge(strtol(ask("OBJECT FREQ b") + 1, NULL, 10), written);
    pass_ms(INT64_C(300) * 60000);
    ASK("OBJECT FREQ b", ":0|");
}
END_TEST

static void set_lfu(uint32_t factor, uint32_t minutes)
{
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, false, 0, &txn, &err), KVSQL_OK);
    kv_txn_set_lfu(txn, factor, minutes);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

START_TEST(the_counter_follows_lfu_log_factor_and_lfu_decay_time)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LFU, 0);
    ASK("SET a 1", "+OK|");
    set_lfu(0, 1); /* each use counts */
    for (unsigned i = 0; i < 50; i++)
        ASK("GET a", "$1|1|");
    ASK("OBJECT FREQ a", ":55|");
    set_lfu(2147483647, 7); /* hardly any does */
    for (unsigned i = 0; i < 50; i++)
        ASK("GET a", "$1|1|");
    ASK("OBJECT FREQ a", ":55|");
    pass_ms(INT64_C(20) * 60000);
    ASK("OBJECT FREQ a", ":53|");
    set_lfu(10, 0); /* no decay */
    pass_ms(INT64_C(200) * 60000);
    ASK("OBJECT FREQ a", ":55|");
}
END_TEST

START_TEST(candidates_are_kept_while_the_policy_stays)
{
    struct kv_store *const store = kv_db_store(db);

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, 0);
    squeeze(info_now().memory_data / 4);
    const unsigned count = store->victim_count;
    ck_assert_uint_gt(count, 0);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 7);
    ck_assert_uint_eq(store->victim_count, count);
    ck_assert_uint_eq(store->evict_samples, 7);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_RANDOM, 7);
    ck_assert_uint_eq(store->victim_count, 0);
}
END_TEST

/* "hello", as DUMP gives it. */
#define RESTORE_HELLO                                                          \
    "RESTORE r 0 \"KVD\\x01\\x01\\x02\\x00\\x05hello\\x00\\x00\\x00\\x00"           \
    "\\x00\\x00\\x00\\x00\\xc3\\x63\\x0b\\x5d\" REPLACE "

START_TEST(a_restored_key_has_the_use_that_is_said_of_it)
{
    ASK(RESTORE_HELLO "IDLETIME 1000", "+OK|"); /* nothing is noted yet */
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LFU, 0);
    ASK(RESTORE_HELLO "FREQ 100", "+OK|");
    ASK("OBJECT FREQ r", ":100|");
    ASK(RESTORE_HELLO "FREQ 255", "+OK|");
    ASK("OBJECT FREQ r", ":255|");
    ASK("DEL r", ":1|");
    ASK(RESTORE_HELLO "IDLETIME 1000", "+OK|");
    ASK("OBJECT FREQ r", ":5|");
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    ASK(RESTORE_HELLO "IDLETIME 1000", "+OK|");
    ASK("OBJECT IDLETIME r", ":1000|");
    pass_ms(5000);
    ASK("OBJECT IDLETIME r", ":1005|");
    ASK(RESTORE_HELLO "IDLETIME 9223372036854775807", "+OK|");
    ASK("OBJECT IDLETIME r", ":8388607|"); /* the most that is told */
    ASK(RESTORE_HELLO "FREQ 100", "+OK|");
    ASK("OBJECT IDLETIME r", ":0|");
    ASK("GET r", "$5|hello|");
}
END_TEST

START_TEST(one_command_uses_a_key_once)
{
    struct kv_store *const store = kv_db_store(db);

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LFU, 0);
    ASK("HSET h f 1", ":1|");
    ASK("OBJECT FREQ h", ":5|");
    /* the first use counts always, later ones by chance: 11 rolls at least */
    ASK("HINCRBY h f 1", ":2|");
    ASK("OBJECT FREQ h", ":6|");
    store->random = 1;
    const uint64_t before = store->random;
    ASK("HSET h f 1 g 2 i 3 j 4", ":3|");
    uint64_t x = before; /* one step of the generator, no more */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    ck_assert_uint_eq(store->random, x);
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_policy_costs_4_bytes_a_key_and_only_while_it_lasts);
    tcase_add_test(tests,
                   the_keeper_adds_resets_and_removes_them_with_the_policy);
    tcase_add_test(tests, idle_times_are_true_and_looking_is_no_use);
    tcase_add_test(tests, large_collections_are_used_by_their_writes);
    tcase_add_test(tests, reading_a_view_is_no_use);
    tcase_add_test(
        tests, without_a_policy_idle_times_are_kept_from_the_first_question_on);
    tcase_add_test(tests,
                   the_counter_grows_with_use_decays_and_outlives_the_value);
    tcase_add_test(tests,
                   the_counter_follows_lfu_log_factor_and_lfu_decay_time);
    tcase_add_test(tests, candidates_are_kept_while_the_policy_stays);
    tcase_add_test(tests, a_restored_key_has_the_use_that_is_said_of_it);
    tcase_add_test(tests, one_command_uses_a_key_once);
}

int main(void)
{
    return unit_run("lru", add);
}
