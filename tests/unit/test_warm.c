/* test_warm.c - what is fetched ahead of a replay changes nothing, whatever the
 * ops are; frames ahead are told as far as they are there. */
#include <stdio.h>
#include <string.h>

#include "kvsql/op.h"
#include "kvsql/seg.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/rand.h"
#include "tests/lib/store_fx.h"

#define ELEMENTS 3000 /* a tree */

static void setup(void)
{
    store_fx_open(kv_os_real());
}

static struct kv_key text(char out[64], const char *format, int i)
{
    const int size = snprintf(out, 64, format, i);

    return kv_key_of(out, (size_t)size);
}

/* Keys of all types, small ones and trees. */
static void fill(void)
{
    static const char *const names[] = {"large", "small"};
    char one[64], two[64];
    struct kv_txn *txn = begin();

    for (int k = 0; k < 2; k++)
        for (int i = 0; i < (k == 0 ? ELEMENTS : 3); i++) {
            const struct kv_key element = text(one, "element:%d", i);
            const kvsql_slice value = {element.p, element.size};
            snprintf(two, sizeof two, "%s:%d", names[k], i);
            struct kv_key key = kv_key_of(two, strlen(two));

            ck_assert_int_eq(kv_set(txn, &key, value, 0, &err), KVSQL_OK);
            key = text(two, k == 0 ? "hash" : "h%d", 0);
            ck_assert_int_eq(kv_hset(txn, &key, &element, value, 0, NULL, &err),
                             KVSQL_OK);
            key = text(two, k == 0 ? "set" : "s%d", 0);
            ck_assert_int_eq(kv_sadd(txn, &key, &element, NULL, &err),
                             KVSQL_OK);
            key = text(two, k == 0 ? "zset" : "z%d", 0);
            ck_assert_int_eq(kv_zadd(txn, &key, &element, i / 7.0, NULL, &err),
                             KVSQL_OK);
            key = text(two, k == 0 ? "list" : "l%d", 0);
            ck_assert_int_eq(kv_push(txn, &key, KV_RIGHT, value, &err),
                             KVSQL_OK);
        }
    commit(txn);
}

START_TEST(nothing_changes_whatever_the_ops_are)
{
    static const char *const names[] = {"hash", "set", "zset", "list", "h0",
                                        "s0", "z0", "l0", "large:7", "none",
                                        ""};
    static char element[KV_BATCH_MAX][64];
    static uint8_t longest[2000];
    struct kv_op ops[KV_BATCH_MAX];
    struct rand_state rand = rand_of(rand_seed("test_warm", 1));

    fill();
    const uint64_t before = kv_store_hash(store);
    for (int round = 0; round < 2000; round++) {
        const unsigned n = (unsigned)rand_below(&rand, KV_BATCH_MAX + 1);

        for (unsigned i = 0; i < n; i++) {
            const char *key = names[rand_below(&rand, 11)];
            const struct kv_key field =
                text(element[i], "element:%d",
                     (int)rand_below(&rand, 2 * ELEMENTS));

            ops[i] = (struct kv_op){
                .kind = (enum kv_op_kind)(1 + rand_below(&rand, 19)),
                .key = {key, strlen(key)},
                .a = rand_below(&rand, 10) == 0
                         ? (kvsql_slice){longest, sizeof longest}
                         : (kvsql_slice){field.p, field.size},
                .score = (double)rand_below(&rand, 1000)};
        }
        kv_store_warm(store, ops, n);
    }
    ck_assert_uint_eq(kv_store_hash(store), before);
    kv_store_check(store);
}
END_TEST

/* A segment whose last frame is cut by the end of what was read. */
START_TEST(frames_ahead_are_those_that_are_there)
{
    uint8_t block[3 * KV_FRAME_HEADER_SIZE + 100];
    struct kv_seg_reader reader = {
        .block = block, .block_at = 64, .block_size = sizeof block};
    uint64_t at = 64;
    uint32_t size = 0;

    memset(block, 0xdd, sizeof block);
    kv_frame_put(block, KV_FRAME_BATCH, 1, 0, 10);
    kv_frame_put(block + KV_FRAME_HEADER_SIZE + 10, KV_FRAME_MARK, 1, 5, 0);
    kv_frame_put(block + 2 * KV_FRAME_HEADER_SIZE + 10, KV_FRAME_BATCH, 2, 0,
                 91);
    ck_assert_ptr_eq(kv_seg_ahead(&reader, &at, &size),
                     block + KV_FRAME_HEADER_SIZE);
    ck_assert_uint_eq(size, 10);
    ck_assert_ptr_nonnull(kv_seg_ahead(&reader, &at, &size));
    ck_assert_uint_eq(size, 0);
    const uint64_t last = at;
    ck_assert_ptr_null(kv_seg_ahead(&reader, &at, &size));
    ck_assert_uint_eq(at, last);
    kv_frame_put(block + 2 * KV_FRAME_HEADER_SIZE + 10, KV_FRAME_BATCH, 2, 0,
                 90);
    ck_assert_ptr_nonnull(kv_seg_ahead(&reader, &at, &size));
    ck_assert_uint_eq(at, 64 + sizeof block);
    ck_assert_ptr_null(kv_seg_ahead(&reader, &at, &size));
    at = 63;
    ck_assert_ptr_null(kv_seg_ahead(&reader, &at, &size));
    at = UINT64_MAX - 3;
    ck_assert_ptr_null(kv_seg_ahead(&reader, &at, &size));
    reader.block_size = 0;
    at = 64;
    ck_assert_ptr_null(kv_seg_ahead(&reader, &at, &size));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, store_fx_close);
    tcase_add_test(tests, nothing_changes_whatever_the_ops_are);
    tcase_add_test(tests, frames_ahead_are_those_that_are_there);
}

int main(void)
{
    return unit_run("warm", add);
}
