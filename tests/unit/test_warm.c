/* test_warm.c - what is fetched ahead of a replay changes nothing, whatever the
 * ops are; frames ahead are told of as far as they are there. */
#include <stdio.h>
#include <string.h>

#include "kvsql/replay.h"
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

/* A hint to a key is the way that a search by itself goes. */
static void check_hints(const struct kv_replay_op *ops, unsigned n,
                        const struct kv_hints *hints)
{
    struct kv_path path;

    for (unsigned i = 0; i < n; i++) {
        const struct kv_path *const hint = &hints[i].key;
        (void)kv_tree_path(store->live.keys[ops[i].key.cls], ops[i].key.p,
                           ops[i].key.size, &path);
        ck_assert_uint_eq(hint->depth, path.depth);
        ck_assert(hint->found == path.found);
        for (unsigned d = 0; d < path.depth; d++) {
            ck_assert_ptr_eq(hint->at[d].node, path.at[d].node);
            ck_assert_uint_eq(hint->at[d].index, path.at[d].index);
        }
    }
}

START_TEST(nothing_changes_whatever_the_ops_are)
{
    static const char *const names[] = {"hash", "set", "zset", "list", "h0",
                                        "s0", "z0", "l0", "large:7", "none",
                                        ""};
    static char element[KV_BATCH_MAX][64];
    static uint8_t longest[2000];
    static struct kv_hints hints[KV_BATCH_MAX];
    struct kv_replay_op ops[KV_BATCH_MAX];
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

            ops[i] = (struct kv_replay_op){
                .op = {.kind = (enum kv_op_kind)(1 + rand_below(&rand, 19)),
                       .score = (double)rand_below(&rand, 1000)},
                .key = kv_key_of(key, strlen(key)),
                .a = rand_below(&rand, 10) == 0
                         ? kv_key_of(longest, sizeof longest)
                         : field};
        }
        kv_store_warm(store, ops, n, hints);
        check_hints(ops, n, hints);
    }
    ck_assert_uint_eq(kv_store_hash(store), before);
    kv_store_check(store);
}
END_TEST

/* What was read ends within a frame: that one is not told of, nor one that is
 * not as it should be; the reader stays where it is then. */
START_TEST(more_frames_are_those_that_are_good_and_there)
{
    uint8_t block[3 * KV_FRAME_HEADER_SIZE + 100];
    struct kv_seg_reader reader = {.header = {.crc = 77},
                                   .block = block,
                                   .block_at = 64,
                                   .block_size = sizeof block,
                                   .offset = 64,
                                   .limit = 100000};
    uint8_t *const second = block + KV_FRAME_HEADER_SIZE + 10;
    uint8_t *const third = second + KV_FRAME_HEADER_SIZE;
    struct kv_frame frame;

    memset(block, 0xdd, sizeof block);
    kv_frame_put(block, KV_FRAME_BATCH, 1, 0, 10);
    kv_frame_put(second, KV_FRAME_MARK, 1, 5, 0);
    kv_frame_put(third, KV_FRAME_BATCH, 2, 0, 91);
    kv_frame_seal(block, 77, 0);
    kv_frame_seal(second, 77, 0);
    ck_assert(kv_seg_more(&reader, &frame));
    ck_assert_ptr_eq(frame.payload, block + KV_FRAME_HEADER_SIZE);
    ck_assert_uint_eq(frame.size, 10);
    ck_assert(kv_seg_more(&reader, &frame));
    ck_assert_uint_eq(frame.type, KV_FRAME_MARK);
    const uint64_t last = reader.offset;
    ck_assert(!kv_seg_more(&reader, &frame)); /* one byte is not there */
    kv_frame_put(third, KV_FRAME_BATCH, 2, 0, 90);
    kv_frame_seal(third, 78, 0);
    ck_assert(!kv_seg_more(&reader, &frame)); /* of another segment */
    kv_frame_put(third, KV_FRAME_BATCH, 3, 0, 90);
    kv_frame_seal(third, 77, 0);
    ck_assert(!kv_seg_more(&reader, &frame)); /* a position is left out */
    kv_frame_put(third, KV_FRAME_BATCH, 2, 0, 90);
    kv_frame_seal(third, 77, 0);
    reader.limit = last + 36;
    ck_assert(!kv_seg_more(&reader, &frame)); /* behind what counts */
    reader.limit = 100000;
    ck_assert_uint_eq(reader.offset, last);
    ck_assert_uint_eq(reader.position, 1);
    ck_assert(kv_seg_more(&reader, &frame));
    ck_assert_uint_eq(reader.offset, 64 + sizeof block);
    ck_assert_uint_eq(reader.position, 2);
    ck_assert(!kv_seg_more(&reader, &frame));
    reader.offset = 63;
    ck_assert(!kv_seg_more(&reader, &frame));
    reader.offset = UINT64_MAX - 3;
    ck_assert(!kv_seg_more(&reader, &frame));
    reader.block_size = 0;
    reader.offset = 64;
    ck_assert(!kv_seg_more(&reader, &frame));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, store_fx_close);
    tcase_set_timeout(tests, 600);
    tcase_add_test(tests, nothing_changes_whatever_the_ops_are);
    tcase_add_test(tests, more_frames_are_those_that_are_good_and_there);
}

int main(void)
{
    return unit_run("warm", add);
}
