/* test_undo.c - what is taken back: by marks, by a wal that lost it, under views,
 * and when an allocation fails (TS8). */
#include <stdio.h>
#include <string.h>

#include "tests/lib/keys_fx.h"

/* ---- undo ------------------------------------------------------------------------------ */

static void sink_append(void *arg, uint64_t position, const uint8_t *ops,
                        size_t size, uint64_t count)
{
    (void)arg;
    (void)position;
    (void)ops;
    (void)size;
    (void)count;
}

START_TEST(what_the_wal_lost_is_taken_back_byte_for_byte)
{
    const struct kv_sink sink = {.append = sink_append};
    char key[32];

    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        set(key, "value", 0);
        hset("hash", key, "value", 0);
    }
    const uint64_t position = kv_store_position(store);
    const uint64_t before = kv_store_hash(store);
    const struct kv_sink none = {.arg = NULL};
    kv_store_sink(store, &sink); /* from here on nothing is released */
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "key:%d", i * 3);
        set(key, "another value that is longer", clock_wall + 100);
        hset("hash", key, "x", 0);
        if (i == 200) {
            struct kv_txn *const txn = begin();
            ck_assert_int_eq(kv_flush(txn, &err), KVSQL_OK);
            commit(txn);
        }
    }
    ck_assert_uint_eq(kv_store_released(store), position);
    const uint64_t epoch = kv_store_epoch(store);
    kv_store_fail(store); /* F2 */
    ck_assert_uint_eq(kv_store_hash(store), before);
    ck_assert_uint_eq(kv_store_position(store), position);
    ck_assert_uint_eq(kv_store_epoch(store), epoch + 1);
    kv_store_check(store);
    kv_store_sink(store, &none);
    set("again", "works", 0);
}
END_TEST

START_TEST(marks_nest_and_what_is_taken_back_leaves_no_op)
{
    const struct kv_key k = text_key("l");
    struct kv_mark mark[5];
    uint64_t hash[5];

    struct kv_txn *const txn = begin();
    for (int i = 0; i < 5; i++) {
        mark[i] = kv_txn_mark(txn);
        hash[i] = kv_store_hash(store);
        for (int n = 0; n < 60; n++)
            ck_assert_int_eq(
                kv_push(txn, &k, n % 2 ? KV_LEFT : KV_RIGHT,
                        text_slice("an item of some length"), &err),
                KVSQL_OK);
    }
    kv_txn_restore(txn, mark[3]);
    ck_assert_uint_eq(kv_store_hash(store), hash[3]);
    ck_assert_uint_eq(kv_txn_count(txn), 180);
    kv_txn_restore(txn, mark[1]);
    ck_assert_uint_eq(kv_store_hash(store), hash[1]);
    kv_txn_restore(txn, mark[0]);
    ck_assert_uint_eq(kv_store_hash(store), hash[0]);
    ck_assert_uint_eq(kv_txn_count(txn), 0);
    commit(txn);
    ck_assert_uint_eq(kv_store_position(store), 0);
}
END_TEST

START_TEST(a_flush_under_a_view_frees_everything_in_the_end)
{
    struct kv_view *view;
    struct kv_keys keys;
    struct kv_at at;
    char key[32];
    unsigned n = 0;

    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        set(key, "value", 0);
        hset("hash", key, "a value that is longer than one hundred and twenty "
                          "eight bytes, so that it becomes a block of its own "
                          "outside of the leaf that names it ........",
             0);
    }
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_flush(txn, &err), KVSQL_OK);
    commit(txn);
    tick();
    kv_at_view(view, &at);
    kv_keys_init(&keys, &at, 0);
    for (bool ok = kv_keys_first(&keys); ok; ok = kv_keys_next(&keys))
        n++;
    ck_assert_uint_eq(n, 2001);
    kv_unpin(view);
    tick();
    tick();
    ck_assert_uint_eq(info_now().keys, 0);
    ck_assert_uint_eq(info_now().memory_retired, 0);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
}
END_TEST

START_TEST(a_statement_view_inside_a_txn_does_not_see_later_changes)
{
    const struct kv_key a = text_key("a"), b = text_key("b");
    struct kv_view *view;
    struct kv_item item;
    struct kv_at at;

    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_set(txn, &a, text_slice("1"), 0, &err), KVSQL_OK);
    ck_assert_int_eq(kv_txn_view(txn, &view, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &b, text_slice("1"), 0, &err), KVSQL_OK);
    kv_at_view(view, &at);
    ck_assert(kv_get(&at, &a, &item));
    ck_assert(!kv_get(&at, &b, &item));
    kv_unpin(view);
    commit(txn);
    tick();
    ck_assert_uint_eq(info_now().views, 0);
}
END_TEST

/* ---- memory that fails (TS8) ---------------------------------------------------------- */

static kvsql_rc many_effects(struct kv_txn *txn, int round)
{
    char name[64], value[300];
    struct kv_key k, e;
    kvsql_rc rc = KVSQL_OK;

    memset(value, 'v', sizeof(value));
    for (int i = 0; rc == KVSQL_OK && i < 40; i++) {
        const size_t size = (size_t)((i * 37 + round) % 300);
        snprintf(name, sizeof(name), "key:%d", i * 7 % 50);
        k = text_key(name);
        e = text_key(i % 2 ? name : "element");
        const kvsql_slice v = {.p = value, .size = size};
        struct kv_field field[] = {{e, v}, {text_key("x"), v}, {k, v}};
        bool existed;
        unsigned created;
        switch (i % 7) {
        case 0:
            rc = kv_set(txn, &k, v, 0, &err);
            break;
        case 5:
            k = text_key(i % 3 ? "hash" : "another");
            rc = kv_hset_many(txn, &k, field, 3, 0, &created, &err);
            break;
        case 6:
            k = text_key(i % 2 ? "third" : name);
            rc = kv_hset_new(txn, &k, field, 3, &existed, &err);
            break;
        case 1:
            k = text_key("hash");
            rc = kv_hset(txn, &k, &e, v, i % 3 ? 0 : 1u << 30, NULL, &err);
            break;
        case 2:
            k = text_key("zset");
            rc = kv_zadd(txn, &k, &e, i, NULL, &err);
            break;
        case 3:
            k = text_key("list");
            rc = kv_push(txn, &k, i % 2 ? KV_LEFT : KV_RIGHT, v, &err);
            break;
        default:
            rc = kv_del(txn, &k, NULL, &err);
            break;
        }
    }
    return rc;
}

START_TEST(when_the_nth_allocation_fails_the_store_is_as_before)
{
    struct kv_view *view;
    unsigned failures = 0;

    for (int i = 0; i < 30; i++) {
        struct kv_txn *const txn = begin();
        ck_assert_int_eq(many_effects(txn, i), KVSQL_OK);
        commit(txn);
    }
    for (uint64_t n = 1;; n++) {
        if (n % 2) /* so that paths are copied */
            ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
        const uint64_t before = kv_store_hash(store);
        struct kv_txn *const txn = begin();
        kv_mem_fail_at(n, n % 3 == 0);
        const kvsql_rc rc = many_effects(txn, (int)n);
        const bool hit = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        kv_txn_rollback(txn);
        ck_assert_uint_eq(kv_store_hash(store), before);
        kv_store_check(store);
        if (n % 2)
            kv_unpin(view);
        if (!hit) {
            ck_assert_int_eq(rc, KVSQL_OK);
            break;
        }
        ck_assert_int_eq(rc, KVSQL_NOMEM);
        failures++;
        kv_store_tick(store);
    }
    ck_assert_uint_gt(failures, 10);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, keys_fx_open, store_fx_close);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, what_the_wal_lost_is_taken_back_byte_for_byte);
    tcase_add_test(tests,
                   marks_nest_and_what_is_taken_back_leaves_no_op);
    tcase_add_test(tests, a_flush_under_a_view_frees_everything_in_the_end);
    tcase_add_test(
        tests, a_statement_view_inside_a_txn_does_not_see_later_changes);
    tcase_add_test(tests,
                   when_the_nth_allocation_fails_the_store_is_as_before);
}

int main(void)
{
    return unit_run("undo", add);
}
