/* test_expiry.c - keys and fields with a deadline, whatever the clock does: when
 * they vanish and when they go, in which order they come (TS10). A model with
 * random ones is in tests/model. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/keys_fx.h"

START_TEST(an_expired_key_is_invisible_at_once_and_removed_by_the_keeper)
{
    set("a", "1", clock_wall + 500);
    set("b", "2", 0);
    ck_assert(exists("a", NULL));
    ck_assert_uint_eq(info_now().keys_with_expiry, 1);
    pass_ms(500);
    ck_assert(!exists("a", NULL));
    ck_assert(exists("b", NULL));
    pass_ms(100);
    tick();
    ck_assert_uint_eq(info_now().keys, 1);
    ck_assert_uint_eq(info_now().expired_keys, 1);
    ck_assert_uint_eq(info_now().keys_with_expiry, 0);
}
END_TEST

START_TEST(many_expired_keys_go_and_those_without_deadline_stay)
{
    char key[32];

    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        set(key, "value", i % 3 == 0 ? 0 : clock_wall + 1 + i % 200);
    }
    pass_ms(400);
    tick();
    ck_assert_uint_eq(info_now().keys, 1667);
    ck_assert_uint_eq(info_now().keys_with_expiry, 0);
    kv_store_check(store);
}
END_TEST

START_TEST(expired_fields_vanish_in_small_and_large_hashes)
{
    char field[32];

    for (int large = 0; large < 2; large++) {
        const char *const key = large ? "large" : "small";
        const int count = large ? 1000 : 10;
        for (int i = 0; i < count; i++) {
            snprintf(field, sizeof(field), "f%d", i);
            hset(key, field, "v", i % 2 ? clock_wall + 300 : 0);
        }
        ck_assert(field_exists(key, "f1"));
        pass_ms(300);
        ck_assert(!field_exists(key, "f1"));
        ck_assert(field_exists(key, "f2"));
        pass_ms(100);
        tick();
        struct kv_item item;
        ck_assert(exists(key, &item));
        ck_assert_uint_eq(kv_item_length(&item), (uint64_t)count / 2);
    }
    ck_assert_uint_eq(info_now().expired_fields, 505);
    kv_store_check(store);
}
END_TEST

START_TEST(deleting_an_expired_field_finds_nothing)
{
    const struct kv_key k = text_key("h"), f = text_key("f");
    bool existed = true;

    hset("h", "f", "v", clock_wall + 10);
    hset("h", "other", "v", 0);
    pass_ms(10);
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_hdel(txn, &k, &f, &existed, &err), KVSQL_OK);
    ck_assert(!existed);
    commit(txn);
    ck_assert(field_exists("h", "other"));
}
END_TEST

START_TEST(a_hash_whose_last_field_expires_is_gone)
{
    hset("h", "only", "v", clock_wall + 10);
    ck_assert(exists("h", NULL));
    pass_ms(10);
    ck_assert(!exists("h", NULL)); /* at once */
    set("other", "v", 0);
    hset("h", "new", "v", 0);
    ck_assert(exists("h", NULL));
    ck_assert(!field_exists("h", "only"));
    hset("h", "new", "v", clock_wall + 10);
    pass_ms(200);
    tick();
    ck_assert(exists("other", NULL));
    const struct kv_key other = text_key("other");
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_del(txn, &other, NULL, &err), KVSQL_OK);
    commit(txn);
    ck_assert_uint_eq(info_now().keys, 0);
}
END_TEST

START_TEST(a_plain_write_drops_a_fields_ttl_and_keeping_keeps_it)
{
    struct kv_elem elem;
    struct kv_item item;
    struct kv_at at;
    const struct kv_key k = text_key("h"), f = text_key("f");

    hset("h", "f", "1", clock_wall + 1000);
    hset("h", "f", "2", KV_KEEP_EXPIRY);
    struct kv_txn *const txn = begin();
    kv_at_txn(txn, &at);
    ck_assert(kv_get(&at, &k, &item) && kv_elem_find(&at, &item, &f, &elem));
    ck_assert_int_eq(elem.expires_at, clock_wall + 1000);
    commit(txn);
    hset("h", "f", "3", 0);
    pass_ms(2000);
    ck_assert(field_exists("h", "f"));
}
END_TEST

START_TEST(a_step_back_of_the_wall_clock_never_lengthens_a_ttl)
{
    set("a", "1", clock_wall + 1000);
    clock_wall -= 7200 * 1000; /* T1 */
    struct kv_item item;
    ck_assert(exists("a", &item));
    ck_assert_int_eq(item.expires_at - clock_wall, 1000);
    clock_boot += 1001 * UINT64_C(1000000);
    clock_wall += 1001;
    ck_assert(!exists("a", NULL));
}
END_TEST

START_TEST(a_time_is_shown_as_it_was_given_though_the_clocks_jitter)
{
    struct kv_item item;

    set("a", "1", clock_wall + 100000);
    const int64_t given = clock_wall + 100000;
    for (int i = 0; i < 50; i++) {
        clock_wall += i % 3 - 1; /* read a little early, a little late */
        clock_boot += (uint64_t)(i % 2) * 1000000;
        ck_assert(exists("a", &item));
        ck_assert_int_eq(item.expires_at, given);
    }
}
END_TEST

START_TEST(a_step_forward_expires)
{
    set("a", "1", clock_wall + 1000);
    clock_wall += 7200 * 1000;
    ck_assert(!exists("a", NULL));
}
END_TEST

static int64_t deadlines_seen[64];
static unsigned deadlines_count;

static bool deadline_each(void *arg, const struct kv_key *key,
                          const struct kv_item *item)
{
    (void)arg;
    (void)key;
    deadlines_seen[deadlines_count++] = item->expires_at;
    return deadlines_count < 50;
}

START_TEST(keys_come_in_order_of_deadline)
{
    struct kv_view *view;
    struct kv_at at;
    char key[32];

    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        set(key, "v", i % 2 ? 0 : clock_wall + 1 + (i * 7919) % 100000);
    }
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    deadlines_count = 0;
    ck_assert_int_eq(kv_deadlines(&at, clock_wall + 100, clock_wall + 100001,
                                  deadline_each, NULL, &err),
                     KVSQL_OK);
    ck_assert_uint_eq(deadlines_count, 50);
    ck_assert_int_ge(deadlines_seen[0], clock_wall + 100);
    for (unsigned i = 1; i < deadlines_count; i++)
        ck_assert_int_le(deadlines_seen[i - 1], deadlines_seen[i]);
    kv_unpin(view);
}
END_TEST

START_TEST(counts_of_a_range_leave_out_what_has_expired)
{
    const struct kv_key lo = text_key("key:"), hi = text_key("key;");
    struct kv_view *view;
    struct kv_at at;
    char key[32];

    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        set(key, "v", i < 100 ? clock_wall + 10 : 0);
    }
    set("other", "v", 0);
    pass_ms(100);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    ck_assert_uint_eq(kv_count_all(&at), 1001);
    ck_assert_uint_eq(kv_count_range(&at, &lo, &hi), 900);
    ck_assert_uint_eq(kv_count_range(&at, &lo, NULL), 901);
    kv_unpin(view);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, keys_fx_open, store_fx_close);
    tcase_set_timeout(tests, 300);
    tcase_add_test(
        tests, an_expired_key_is_invisible_at_once_and_removed_by_the_keeper);
    tcase_add_test(tests,
                   many_expired_keys_go_and_those_without_deadline_stay);
    tcase_add_test(tests, expired_fields_vanish_in_small_and_large_hashes);
    tcase_add_test(tests, deleting_an_expired_field_finds_nothing);
    tcase_add_test(tests, a_hash_whose_last_field_expires_is_gone);
    tcase_add_test(tests,
                   a_plain_write_drops_a_fields_ttl_and_keeping_keeps_it);
    tcase_add_test(tests,
                   a_step_back_of_the_wall_clock_never_lengthens_a_ttl);
    tcase_add_test(tests,
                   a_time_is_shown_as_it_was_given_though_the_clocks_jitter);
    tcase_add_test(tests, a_step_forward_expires);
    tcase_add_test(tests, keys_come_in_order_of_deadline);
    tcase_add_test(tests, counts_of_a_range_leave_out_what_has_expired);
}

int main(void)
{
    return unit_run("expiry", add);
}
