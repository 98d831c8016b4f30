/* test_hll.c - counting different elements: the bytes of both forms, the
 * estimate, and values that are none. */
#include <check.h>
#include <math.h>

#include "command/hll.h"
#include "tests/lib/ask.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define NOT_HLL                                                               \
    "-WRONGTYPE Key is not a valid HyperLogLog string value.|"
/* The rest of a header whose count is not known. */
#define STALE                                                                 \
    "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80"
#define CORRUPT "-INVALIDOBJ Corrupted HLL object detected|"

/* ---- the same bytes ----------------------------------------------------- */

/* Elements "<name><i>", first <= i <= last, one command each. */
static void add(const char *key, char name, unsigned first, unsigned last)
{
    char line[64];

    for (unsigned i = first; i <= last; i++) {
        snprintf(line, sizeof(line), "PFADD %s %c%u", key, name, i);
        (void)ask(line);
    }
}

/* FNV-1a of the value of a key, and its size. */
static uint64_t digest(const char *key, size_t *size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    struct cmd_item item;
    char line[64];
    size_t offset = 0;

    snprintf(line, sizeof(line), "GET %s", key);
    (void)ask(line);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    ck_assert_int_eq(item.kind, CMD_REPLY_BULK);
    for (size_t i = 0; i < item.size; i++) {
        hash = (hash ^ item.p[i]) * UINT64_C(0x100000001b3);
    }
    *size = item.size;
    return hash;
}

static void expect(const char *key, size_t size_wanted, uint64_t wanted)
{
    size_t size;
    const uint64_t is = digest(key, &size);

    ck_assert_uint_eq(size, size_wanted);
    ck_assert_uint_eq(is, wanted);
}

/* Sizes, digests and counts are those of a Redis 7.0.15 after the same. */
START_TEST(both_forms_have_the_bytes_of_redis)
{
    static const struct {
        unsigned elements;
        size_t size;
        uint64_t stale, counted;
        const char *count;
    } steps[] = {
        {1, 21, 0x1b699aaa20297359, 0xc289db5346bc3622, ":1|"},
        {10, 48, 0xfde2726d4b30377a, 0xb7851db8b93d86a9, ":10|"},
        {300, 713, 0x7f18249d9b923322, 0xc4e2065cc5fcc5cb, ":302|"},
        {1000, 1906, 0xf3bee9bce82aed5d, 0x8b59617dea27b6b9, ":1008|"},
        {1500, 2719, 0xbb3ad09c69c8028b, 0xe0297f41d991e22a, ":1509|"},
        {5000, 12304, 0x8d83a0b1d5688a28, 0x41d76289337963a7, ":4968|"},
        {20000, 12304, 0xa084bb997794209d, 0x7026b2cb88978990, ":19899|"},
    };
    unsigned done = 0;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        add("k", 'e', done + 1, steps[i].elements);
        done = steps[i].elements;
        expect("k", steps[i].size, steps[i].stale);
        ASK("PFCOUNT k", steps[i].count);
        expect("k", steps[i].size, steps[i].counted);
        ASK("PFCOUNT k", steps[i].count);
    }
}
END_TEST

START_TEST(merged_values_have_the_bytes_of_redis)
{
    add("a", 'a', 1, 400);
    add("b", 'b', 1, 400);
    add("k", 'e', 1, 20000);
    ASK("PFMERGE m a b", "+OK|");
    expect("m", 1561, 0x1a93e44166b87ed6);
    ASK("PFCOUNT m", ":805|");
    ASK("PFCOUNT a b nosuch", ":805|");
    ASK("PFCOUNT k", ":19899|"); /* in the bytes, no reader of k's count */
    ASK("PFMERGE m2 a k", "+OK|");
    expect("m2", 12304, 0x770f2dcd5e29cb03);
    ASK("PFCOUNT m2", ":20264|");
}
END_TEST

/* ---- answers ------------------------------------------------------------ */

START_TEST(adding_tells_whether_a_register_rose)
{
    ASK("PFADD a", ":1|");
    ASK("PFADD a", ":0|");
    ASK("PFCOUNT a nosuch", ":0|");
    ASK("PFADD a x y", ":1|");
    ASK("PFADD a x y", ":0|");
    ASK("PFADD a x z", ":1|");
    ASK("PFCOUNT a", ":3|");
    ASK("PFCOUNT nosuch", ":0|");
    ASK("TYPE a", "+string|");
    ASK("PFMERGE b", "+OK|");
    ASK("STRLEN b", ":18|");
}
END_TEST

START_TEST(the_expiry_stays)
{
    ASK("PFADD a x", ":1|");
    ASK("EXPIRE a 100", ":1|");
    add("a", 'e', 1, 3000);
    ASK("STRLEN a", ":12304|");
    ASK("PFMERGE a a", "+OK|");
    ASK("PFCOUNT a", ":2980|");
    ASK("TTL a", ":100|");
}
END_TEST

START_TEST(other_strings_are_refused)
{
    ASK("SET a \"HYLL\\x02aaaaaaaaaaaaaaaa\"", "+OK|");
    ASK("PFADD a x", NOT_HLL);
    ASK("SET a \"HYLL\\x00aaaaaaaaaaaaaaaa\"", "+OK|");
    ASK("PFCOUNT a", NOT_HLL);
    ASK("SET a \"HYLL\\x01\"", "+OK|");
    ASK("PFMERGE b a", NOT_HLL);
    ASK("SADD s x", ":1|");
    ASK("PFADD s x",
        "-WRONGTYPE Operation against a key holding the wrong kind of value|");
    ASK("EXISTS b", ":0|");
}
END_TEST

START_TEST(damaged_runs_are_refused_and_left_alone)
{
    ASK("PFADD b x", ":1|");
    /* 1 zero of 16,384; then one register too many. */
    ASK("SET a \"HYLL\\x01" STALE "\\x00\"", "+OK|");
    ck_assert_str_eq(ask("PFADD a 1 2 3"), CORRUPT);
    ASK("PFCOUNT a", CORRUPT);
    ASK("PFCOUNT a b", CORRUPT);
    ASK("PFMERGE b a", CORRUPT);
    ASK("PFMERGE a b", CORRUPT);
    ASK("PFDEBUG TODENSE a", CORRUPT);
    ASK("STRLEN a", ":17|");
    ASK("SET a \"HYLL\\x01" STALE "\\x7f\\xff\\x00\"",
        "+OK|");
    ASK("PFCOUNT a", CORRUPT);
    ASK("PFDEBUG GETREG a", CORRUPT);
    ASK("PFCOUNT b", ":1|");
}
END_TEST

START_TEST(a_value_from_elsewhere_is_understood)
{
    /* Registers 0..3 are 2, as one run; the count is not known. */
    ASK("SET a \"HYLL\\x01" STALE "\\x87\\x7f\\xfb\"",
        "+OK|");
    ASK("PFCOUNT a", ":4|");
    ASK("PFDEBUG DECODE a", "$13|v:2,4 Z:16380|");
    ASK("PFDEBUG ENCODING a", "+sparse|");
    ASK("PFDEBUG TODENSE a", ":1|");
    ASK("PFDEBUG TODENSE a", ":0|");
    ASK("PFDEBUG ENCODING a", "+dense|");
    ASK("PFDEBUG DECODE a", "-ERR HLL encoding is not sparse|");
    ASK("PFCOUNT a", ":4|");
    ck_assert_mem_eq(ask("PFDEBUG GETREG a"), "*16384|:2|:2|:2|:2|:0|", 22);
    ASK("PFDEBUG FOO a", "-ERR Unknown PFDEBUG subcommand 'FOO'|");
    ASK("PFDEBUG GETREG nosuch", "-ERR The specified key does not exist|");
}
END_TEST

START_TEST(the_maximum_of_the_sparse_form_can_be_set)
{
    cmd_hll_sparse_max_set(100);
    add("a", 'e', 1, 20);
    ASK("PFDEBUG ENCODING a", "+sparse|");
    add("a", 'e', 21, 60);
    ASK("PFDEBUG ENCODING a", "+dense|");
    cmd_hll_sparse_max_set(CMD_HLL_SPARSE_MAX);
}
END_TEST

/* ---- inside ------------------------------------------------------------- */

START_TEST(sparse_and_dense_registers_agree_with_plain_ones)
{
    struct rand_state r = rand_of(rand_seed("test_hll", 3));
    uint8_t plain[CMD_HLL_REGISTERS] = {0}, read[CMD_HLL_REGISTERS] = {0};
    struct kv_buf sparse;
    bool raised;

    kv_buf_init(&sparse, KV_MEM_MISC, CMD_HLL_SIZE_MAX);
    cmd_hll_new(&sparse);
    for (unsigned i = 0; i < 20000; i++) {
        /* Dense in places, so that runs are split and joined in all ways. */
        const unsigned index = (unsigned)rand_below(&r, 2) * 16000 +
                               (unsigned)rand_below(&r, 384);
        const unsigned value = 1 + (unsigned)rand_below(&r, 4);
        const bool rises = plain[index] < value;

        ck_assert(cmd_hll_raise(&sparse, index, value, CMD_HLL_SIZE_MAX,
                                &raised));
        ck_assert_int_eq(raised, rises);
        plain[index] = rises ? (uint8_t)value : plain[index];
    }
    ck_assert(!cmd_hll_is_dense(sparse.p));
    ck_assert(cmd_hll_merge(sparse.p, sparse.size, read));
    ck_assert_mem_eq(read, plain, sizeof(plain));
    ck_assert(cmd_hll_raise(&sparse, 16383, 33, CMD_HLL_SIZE_MAX, &raised));
    ck_assert(cmd_hll_is_dense(sparse.p)); /* 33 has no place in a run */
    plain[16383] = 33;
    for (unsigned i = 0; i < CMD_HLL_REGISTERS; i++) {
        ck_assert_uint_eq(cmd_hll_dense_get(sparse.p, i), plain[i]);
    }
    kv_buf_fini(&sparse);
}
END_TEST

START_TEST(the_estimate_is_near_from_one_to_a_billion_billion)
{
    uint8_t registers[CMD_HLL_REGISTERS] = {0};

    ck_assert_uint_eq(cmd_hll_estimate(registers), 0);
    registers[5] = 51;
    ck_assert_uint_eq(cmd_hll_estimate(registers), 1);
    for (unsigned i = 0; i < CMD_HLL_REGISTERS; i++) {
        registers[i] = 30; /* all alike: about m * 2^30 * 0.72 */
    }
    ck_assert(fabs((double)cmd_hll_estimate(registers) /
                       (CMD_HLL_REGISTERS * 0x1p30 * 0.7213475) -
                   1) < 0.001);
    ASK("PFSELFTEST", "+OK|");
}
END_TEST

START_TEST(a_door_that_only_reads_counts_and_keeps_nothing)
{
    struct kv_ticket ticket;
    size_t size;
    uint64_t before;

    ASK("PFADD a x", ":1|");
    before = digest("a", &size);
    split("PFCOUNT a");
    cmd_run(db, args_count, args, false, &reply, &ticket);
    ck_assert_str_eq(reply_text(), ":1\r\n");
    ck_assert_uint_eq(digest("a", &size), before);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    ASK("PFADD a x y z", ":1|");
    add("d", 'e', 1, 3000);
    fail_each_allocation("PFADD a 1 2 3 4 5 6 7 8", "STRLEN a", ":26|");
    fail_each_allocation("PFADD n 1 2 3", "EXISTS n", ":0|");
    fail_each_allocation("PFMERGE m a d", "EXISTS m", ":0|");
    fail_each_allocation("PFDEBUG TODENSE a", "PFDEBUG ENCODING a",
                         "+sparse|");
    fail_each_allocation("PFADD d q1 q2 q3", "PFCOUNT d", ":2980|");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, both_forms_have_the_bytes_of_redis);
    tcase_add_test(tests, merged_values_have_the_bytes_of_redis);
    tcase_add_test(tests, adding_tells_whether_a_register_rose);
    tcase_add_test(tests, the_expiry_stays);
    tcase_add_test(tests, other_strings_are_refused);
    tcase_add_test(tests, damaged_runs_are_refused_and_left_alone);
    tcase_add_test(tests, a_value_from_elsewhere_is_understood);
    tcase_add_test(tests, the_maximum_of_the_sparse_form_can_be_set);
    tcase_add_test(tests, sparse_and_dense_registers_agree_with_plain_ones);
    tcase_add_test(tests,
                   the_estimate_is_near_from_one_to_a_billion_billion);
    tcase_add_test(tests, a_door_that_only_reads_counts_and_keeps_nothing);
    tcase_add_test(tests, every_allocation_may_fail);
}

int main(void)
{
    return unit_run("hll", add_tests);
}
