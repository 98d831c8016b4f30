/* test_shelf.c - released blocks of large nodes are used again. */
#include "tests/lib/store_fx.h"

#define SIZE 1500u
#define CAP 1536u

static void setup(void)
{
    store_fx_open(kv_os_real());
}

/* A batch that changes a key and makes `count` nodes of `size` bytes, which it
 * retires again; node[] are they. */
static void make_and_retire(struct kv_node **node, unsigned count,
                            uint32_t size)
{
    const struct kv_key key = kv_key_of("k", 1);
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                     KVSQL_OK);
    ck_assert(kv_room(store, 4096, 2 * count));
    for (unsigned i = 0; i < count; i++) {
        node[i] = kv_node_new(store, size, 0, 0);
        ck_assert_ptr_nonnull(node[i]);
    }
    for (unsigned i = 0; i < count; i++)
        kv_retire(store, node[i]);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

static void counts_agree(void)
{
    ck_assert_uint_eq(store->bytes_live + store->bytes_retired,
                      kv_mem_bytes(KV_MEM_NODE));
}

START_TEST(a_released_block_is_the_next_of_its_size)
{
    struct kv_node *first, *other, *again;

    make_and_retire(&first, 1, SIZE);
    ck_assert_uint_eq(store->bytes_retired, CAP); /* SH2 */
    counts_agree();
    make_and_retire(&other, 1, SIZE / 2);
    ck_assert_ptr_ne(other, first);
    make_and_retire(&again, 1, SIZE);
    ck_assert_ptr_eq(again, first);
    counts_agree();
}
END_TEST

START_TEST(a_few_of_each_size_are_kept_and_small_ones_are_not)
{
    struct kv_node *node[3 * KV_SHELF_BLOCKS];

    make_and_retire(node, 3 * KV_SHELF_BLOCKS, SIZE);
    ck_assert_uint_eq(store->bytes_retired, KV_SHELF_BLOCKS * CAP);
    counts_agree();
    make_and_retire(node, 1, KV_SHELF_MIN - KV_SHELF_STEP);
    ck_assert_uint_eq(store->bytes_retired, KV_SHELF_BLOCKS * CAP);
    counts_agree();
}
END_TEST

START_TEST(the_keeper_gives_back_what_nobody_takes)
{
    struct kv_node *node[2];

    make_and_retire(node, 2, SIZE);
    make_and_retire(node, 1, SIZE); /* one was taken */
    ck_assert(kv_store_tick(store));
    ck_assert_uint_eq(store->bytes_retired, 2 * CAP);
    ck_assert(!kv_store_tick(store));
    ck_assert_uint_eq(store->bytes_retired, 0); /* SH3 */
    counts_agree();
}
END_TEST

START_TEST(what_a_batch_retires_waits_for_its_release)
{
    const struct kv_key key = kv_key_of("k", 1);
    struct kv_txn *txn;
    struct kv_node *node;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                     KVSQL_OK);
    ck_assert(kv_room(store, 4096, 4));
    node = kv_node_new(store, SIZE, 0, 0);
    ck_assert_ptr_nonnull(node);
    kv_retire(store, node);
    struct kv_node *const other = kv_node_new(store, SIZE, 0, 0);
    ck_assert_ptr_nonnull(other);
    ck_assert_ptr_ne(other, node); /* SH1 */
    kv_txn_rollback(txn);          /* both are gone: neither was there before */
    ck_assert_uint_eq(store->bytes_retired, 0);
    counts_agree();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, store_fx_close);
    tcase_add_test(tests, a_released_block_is_the_next_of_its_size);
    tcase_add_test(tests, a_few_of_each_size_are_kept_and_small_ones_are_not);
    tcase_add_test(tests, the_keeper_gives_back_what_nobody_takes);
    tcase_add_test(tests, what_a_batch_retires_waits_for_its_release);
}

int main(void)
{
    return unit_run("shelf", add);
}
