/* test_free.c - freeing what is huge, in small steps (TS9): DEL of a large
 * sorted set under writes, FLUSHALL, the release of a view after everything
 * was overwritten. Work is counted in blocks, not in time (bench/free measures
 * that): no tick frees or retires more than a few hundred blocks, and in the
 * end every counter is back. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/store_fx.h"

#define MEMBERS 30000u
#define KEYS 30000u
#define BATCH 5000u
#define FREED_MAX 384u /* blocks freed by one tick: its budget, one step more */
/* Entries that one tick puts on pend, or takes off the dead lists: the budgets
 * of releasing and reaping, and one leaf, which is not divided. */
#define MOVED_MAX (128u + 256u + KV_LEAF_MAX / 8)

static void setup(void)
{
    store_fx_open(kv_os_real());
}

/* Every value is a block. */
static void set(struct kv_txn *txn, unsigned n, size_t value_size)
{
    char name[32], value[256];
    const int size = snprintf(name, sizeof(name), "key:%u", n % KEYS);
    const struct kv_key key = kv_key_of(name, (size_t)size);

    memset(value, 'v', sizeof(value));
    ck_assert_int_eq(kv_set(txn, &key,
                            (kvsql_slice){.p = value, .size = value_size}, 0,
                            &err),
                     KVSQL_OK);
}

static void fill_keys(void)
{
    for (unsigned i = 0; i < KEYS;) {
        struct kv_txn *const txn = begin();
        for (unsigned k = 0; k < BATCH; k++)
            set(txn, i++, 200);
        commit(txn);
    }
}

static void fill_zset(void)
{
    const struct kv_key zset = kv_key_of("zset", 4);
    char name[400];

    for (unsigned i = 0; i < MEMBERS;) {
        struct kv_txn *const txn = begin();
        for (unsigned k = 0; k < BATCH; k++, i++) { /* EN4: a block each */
            const int n = snprintf(name, sizeof(name), "member:%0300u", i);
            const struct kv_key member = kv_key_of(name, (size_t)n);
            ck_assert_int_eq(
                kv_zadd(txn, &zset, &member, i * 7919 % MEMBERS, NULL, &err),
                KVSQL_OK);
        }
        commit(txn);
    }
}

static uint64_t dead(void)
{
    uint64_t count = store->dead.count;

    for (const struct kv_view *view = store->newest; view != NULL;
         view = view->older)
        count += view->dead.count;
    return count;
}

/* One tick within its bounds; true when there is more. */
static bool tick(void)
{
    const uint64_t blocks = kv_mem_blocks(KV_MEM_NODE);
    const uint64_t pend = store->pend.count, held = dead();
    const bool more = kv_store_tick(store);
    const uint64_t freed = blocks - kv_mem_blocks(KV_MEM_NODE);

    ck_assert_uint_le(freed, FREED_MAX);
    ck_assert_uint_le(store->pend.count + freed - pend, MOVED_MAX);
    ck_assert_uint_le(held, dead() + MOVED_MAX);
    return more;
}

static void settle(void)
{
    while (kv_store_tick(store))
        continue;
    ck_assert_uint_eq(store->bytes_retired, 0);
}

/* Ticks, with `writes` changes between two, until nothing is left to do. */
static unsigned drain(unsigned writes)
{
    unsigned ticks = 0;
    bool more = true;

    while (more) {
        if (writes > 0) {
            struct kv_txn *const txn = begin();
            for (unsigned i = 0; i < writes; i++)
                set(txn, ticks * 31 + i * 7, 210);
            commit(txn);
        }
        more = tick();
        ticks++;
        ck_assert_uint_lt(ticks, 100000);
    }
    ck_assert_uint_eq(store->bytes_retired, 0);
    ck_assert_uint_eq(store->pend.count + dead(), 0);
    ck_assert_uint_eq(store->reap.count, 0);
    ck_assert_uint_eq(store->bytes_live, kv_mem_bytes(KV_MEM_NODE));
    kv_store_check(store);
    return ticks;
}

START_TEST(deleting_a_large_sorted_set_under_writes_is_done_in_small_steps)
{
    const struct kv_key zset = kv_key_of("zset", 4);

    fill_keys();
    settle();
    const uint64_t before = kv_mem_blocks(KV_MEM_NODE);
    fill_zset();
    settle();
    const uint64_t blocks = kv_mem_blocks(KV_MEM_NODE) - before;
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_del(txn, &zset, NULL, &err), KVSQL_OK);
    commit(txn); /* O(1): all of it is there yet */
    ck_assert_uint_gt(kv_mem_blocks(KV_MEM_NODE), before + blocks / 2);
    ck_assert_uint_ge(drain(20), blocks / FREED_MAX);
    ck_assert_uint_lt(kv_mem_blocks(KV_MEM_NODE), before + before / 2);
}
END_TEST

START_TEST(a_flush_is_done_in_small_steps)
{
    fill_keys();
    fill_zset();
    settle();
    const uint64_t blocks = kv_mem_blocks(KV_MEM_NODE);
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_flush(txn, &err), KVSQL_OK);
    commit(txn);
    ck_assert_uint_gt(kv_mem_blocks(KV_MEM_NODE), blocks / 2);
    ck_assert_uint_ge(drain(0), blocks / FREED_MAX);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
}
END_TEST

START_TEST(a_view_behind_which_all_was_overwritten_goes_in_small_steps)
{
    struct kv_view *view;

    fill_keys();
    settle();
    const uint64_t before = kv_mem_blocks(KV_MEM_NODE);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    for (unsigned i = 0; i < KEYS;) {
        struct kv_txn *const txn = begin();
        for (unsigned k = 0; k < BATCH; k++)
            set(txn, i++ * 7919, 220);
        commit(txn);
    }
    while (kv_store_tick(store)) /* what the view does not hold */
        continue;
    ck_assert_uint_ge(store->dead.count, before); /* it holds all it saw */
    kv_unpin(view);
    ck_assert_uint_ge(drain(0), before / FREED_MAX);
    ck_assert_uint_eq(store->view_count, 0);
}
END_TEST

START_TEST(what_overwrites_left_goes_in_small_steps)
{
    fill_keys();
    settle();
    const uint64_t before = kv_mem_blocks(KV_MEM_NODE);
    for (unsigned i = 0; i < KEYS;) {
        struct kv_txn *const txn = begin();
        for (unsigned k = 0; k < BATCH; k++)
            set(txn, i++, 220);
        commit(txn);
    }
    ck_assert_uint_gt(store->pend.count, before / 2);
    ck_assert_uint_ge(drain(0), before / 2 / FREED_MAX);
}
END_TEST

/* Hashes and lists in packed and in tree form, long keys, an own definition. */
static void fill_others(void)
{
    struct kv_txn *const txn = begin();
    uint8_t bytes[300];
    char name[16];

    memset(bytes, 'x', sizeof(bytes));
    for (unsigned i = 0; i < 2000; i++) {
        const int n = snprintf(name, sizeof(name), "f%u", i);
        const struct kv_key field = kv_key_of(name, (size_t)n);
        const struct kv_key small = kv_key_of(bytes, 1 + i % sizeof(bytes));
        const struct kv_key hash = kv_key_of("hash", 4), list = kv_key_of("l", 1);
        ck_assert_int_eq(kv_hset(txn, &hash, &field, kv_slice_of(&small), 0,
                                 NULL, &err),
                         KVSQL_OK);
        ck_assert_int_eq(kv_push(txn, &list, KV_RIGHT, kv_slice_of(&small),
                                 &err),
                         KVSQL_OK);
        ck_assert_int_eq(kv_set_new(txn, &small, kv_slice_of(&field), 0,
                                    &(bool){false}, &err),
                         KVSQL_OK);
    }
    const struct kv_def def = {.name = {"d", 1}, .text = {"t", 1}};
    ck_assert_int_eq(kv_define(txn, &def, &err), KVSQL_OK);
    commit(txn);
}

/* M4: whatever waits to be freed, closing asks for no memory. The fixture looks
 * whether a block is left. */
START_TEST(closing_asks_for_no_memory)
{
    const struct kv_key zset = kv_key_of("zset", 4);
    struct kv_view *view;
    struct kv_txn *txn;

    fill_keys();
    fill_zset();
    fill_others();
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    txn = begin();
    if (_i == 1 || _i == 3) /* a tree that waits ... */
        ck_assert_int_eq(kv_del(txn, &zset, NULL, &err), KVSQL_OK);
    if (_i >= 2) /* ... one with trees in it ... */
        ck_assert_int_eq(kv_flush(txn, &err), KVSQL_OK);
    commit(txn);
    if (_i == 3) /* ... or one that has been begun */
        for (unsigned i = 0; i < 20; i++)
            ck_assert(kv_store_tick(store));
    if (_i == 4)
        fill_others(); /* beside what was flushed */
    kv_unpin(view);
    ck_assert_int_eq(store->reap_tree != NULL, _i == 3);
    kv_mem_fail_at(1, 1);
    store_fx_close();
    ck_assert(!kv_mem_failed());
    kv_mem_fail_at(0, 0);
    setup();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, store_fx_close);
    tcase_set_timeout(tests, 120);
    tcase_add_test(
        tests, deleting_a_large_sorted_set_under_writes_is_done_in_small_steps);
    tcase_add_test(tests, a_flush_is_done_in_small_steps);
    tcase_add_test(tests, what_overwrites_left_goes_in_small_steps);
    tcase_add_test(tests,
                   a_view_behind_which_all_was_overwritten_goes_in_small_steps);
    tcase_add_loop_test(tests, closing_asks_for_no_memory, 0, 5);
}

int main(void)
{
    return unit_run("freeing", add);
}
