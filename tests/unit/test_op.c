/* test_op.c - ops to bytes and back; nothing that is not an op passes. */
#include <string.h>

#include "kvsql/op.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

static const enum kv_op_kind kinds[] = {
    KV_OP_DEL,  KV_OP_SET,  KV_OP_PATCH,   KV_OP_EXPIRE, KV_OP_RENAME,
    KV_OP_HSET, KV_OP_HDEL, KV_OP_HEXPIRE, KV_OP_ZADD,   KV_OP_ZREM,
    KV_OP_PUSH, KV_OP_LINSERT, KV_OP_LSET, KV_OP_LREMOVE, KV_OP_FLUSH,
    KV_OP_SADD, KV_OP_SREM, KV_OP_DEFINE, KV_OP_ANSWER};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct kv_op sample(enum kv_op_kind kind)
{
    return (struct kv_op){.kind = kind, .key = {"key\0x", 5},
                          .a = {"first", 5}, .b = {"second", 6},
                          .time = -12345678901, .index = kind == KV_OP_PUSH,
                          .count = 1u << 20, .score = -0.5};
}

static struct kv_buf encoded(enum kv_op_kind kind)
{
    const struct kv_op op = sample(kind);
    struct kv_buf buf;

    kv_buf_init(&buf, KV_MEM_MISC, 1u << 20);
    kv_op_encode(&buf, &op);
    ck_assert(!buf.failed);
    return buf;
}

START_TEST(every_kind_comes_back_and_encodes_the_same)
{
    for (unsigned i = 0; i < KINDS; i++) {
        struct kv_buf buf = encoded(kinds[i]), again;
        const uint8_t *p = buf.p;
        struct kv_op op;

        ck_assert_int_eq(kv_op_decode(&p, buf.p + buf.size, &op, NULL),
                         KVSQL_OK);
        ck_assert_ptr_eq(p, buf.p + buf.size);
        ck_assert_int_eq(op.kind, kinds[i]);
        kv_buf_init(&again, KV_MEM_MISC, 1u << 20);
        kv_op_encode(&again, &op);
        ck_assert_uint_eq(again.size, buf.size);
        ck_assert_mem_eq(again.p, buf.p, buf.size);
        kv_buf_fini(&again);
        kv_buf_fini(&buf);
    }
}
END_TEST

START_TEST(a_set_has_the_bytes_of_the_drawing)
{
    static const uint8_t drawn[] = {2, 1, 'k', 2, 'v', 'w', 7, 1,
                                    0, 0,  0,  0, 0,  0};
    const struct kv_op op = {.kind = KV_OP_SET, .key = {"k", 1},
                             .a = {"vw", 2}, .time = 0x107};
    struct kv_buf buf;

    kv_buf_init(&buf, KV_MEM_MISC, 1024);
    kv_op_encode(&buf, &op);
    ck_assert_uint_eq(buf.size, sizeof(drawn));
    ck_assert_mem_eq(buf.p, drawn, sizeof(drawn));
    kv_buf_fini(&buf);
}
END_TEST

START_TEST(every_cut_of_an_op_is_refused)
{
    for (unsigned i = 0; i < KINDS; i++) {
        struct kv_buf buf = encoded(kinds[i]);

        for (size_t size = 0; size < buf.size; size++) {
            const uint8_t *p = buf.p;
            struct kv_op op;

            ck_assert_int_eq(kv_op_decode(&p, buf.p + size, &op, NULL),
                             KVSQL_CORRUPT);
            ck_assert_ptr_eq(p, buf.p);
        }
        kv_buf_fini(&buf);
    }
}
END_TEST

START_TEST(an_unknown_kind_is_named_as_newer)
{
    const uint8_t bytes[] = {0, 9, 21, 255};

    for (unsigned i = 0; i < sizeof(bytes); i++) {
        const uint8_t *p = &bytes[i];
        struct kvsql_error err;
        struct kv_op op;

        ck_assert_int_eq(kv_op_decode(&p, p + 1, &op, &err), KVSQL_NEWER);
        ck_assert_ptr_nonnull(strstr(err.text, "newer"));
    }
}
END_TEST

START_TEST(random_bytes_never_read_beyond_their_end)
{
    struct rand_state r = rand_of(rand_seed("op", 4711));

    for (unsigned i = 0; i < 300000; i++) {
        uint8_t bytes[40];
        const size_t size = rand_below(&r, sizeof(bytes)) + 1;
        const uint8_t *p = bytes;
        struct kv_op op;

        rand_bytes(&r, bytes, size);
        bytes[0] = (uint8_t)rand_below(&r, 21);
        if (kv_op_decode(&p, bytes + size, &op, NULL) == KVSQL_OK) {
            ck_assert(p > bytes && p <= bytes + size);
            ck_assert(op.key.size <= size && op.a.size <= size);
        } else {
            ck_assert_ptr_eq(p, bytes);
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, every_kind_comes_back_and_encodes_the_same);
    tcase_add_test(tests, a_set_has_the_bytes_of_the_drawing);
    tcase_add_test(tests, every_cut_of_an_op_is_refused);
    tcase_add_test(tests, an_unknown_kind_is_named_as_newer);
    tcase_add_test(tests, random_bytes_never_read_beyond_their_end);
}

int main(void)
{
    return unit_run("op", add);
}
