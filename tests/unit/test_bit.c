/* test_bit.c - bits and bit fields of strings. */
#include <check.h>
#include <stdlib.h>

#include "kvsql/base/mem.h"
#include "tests/lib/ask.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define WRONGTYPE                                                             \
    "-WRONGTYPE Operation against a key holding the wrong kind of value|"

/* ---- one bit ------------------------------------------------------------ */

START_TEST(a_bit_is_set_in_the_byte_where_it_lies)
{
    ASK("SETBIT a 7 1", ":0|");
    ASK("SETBIT a 16 1", ":0|");
    ASK("SETBIT a 7 0", ":1|");
    ASK("GETRANGE a 2 2", "$1|\x80|");
    ASK("STRLEN a", ":3|");
    ASK("GETBIT a 16", ":1|");
    ASK("GETBIT a 17", ":0|");
    ASK("GETBIT a 4294967295", ":0|");
    ASK("SETBIT b 9 0", ":0|");
    ASK("STRLEN b", ":2|");
}
END_TEST

START_TEST(offsets_and_bits_have_limits)
{
    ASK("SETBIT a 4294967296 1",
        "-ERR bit offset is not an integer or out of range|");
    ASK("SETBIT a -1 1", "-ERR bit offset is not an integer or out of range|");
    ASK("SETBIT a 0 2", "-ERR bit is not an integer or out of range|");
    ASK("RPUSH l x", ":1|");
    ASK("SETBIT l 0 1", WRONGTYPE);
    ASK("GETBIT l 0", WRONGTYPE);
    ASK("EXISTS a", ":0|");
}
END_TEST

START_TEST(a_bit_of_a_large_string_is_patched_in_place)
{
    uint64_t bytes;

    ASK("SETBIT a 80000000 1", ":0|");
    ASK("SETBIT a 1 1", ":0|");
    bytes = kv_mem_bytes(KV_MEM_NODE);
    for (unsigned i = 0; i < 100; i++) {
        ASK("SETBIT a 4000 1", ":0|");
        ASK("SETBIT a 4000 0", ":1|");
    }
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_NODE), bytes);
    ASK("BITCOUNT a", ":2|");
}
END_TEST

START_TEST(setting_a_bit_keeps_the_expiry)
{
    ASK("SET a x EX 100", "+OK|");
    ASK("SETBIT a 100 1", ":0|");
    ASK("BITFIELD a SET u8 0 255", "*1|:120|");
    ASK("TTL a", ":100|");
}
END_TEST

START_TEST(a_bit_that_is_as_wanted_is_no_change)
{
    const struct kv_key key = kv_key_of("a", 1);
    struct kv_txn *txn;
    struct kv_item item;
    struct kv_at at;
    uint64_t position;

    ASK("SETBIT a 3 1", ":0|");
    ck_assert_int_eq(kv_txn_begin(db, false, 0, &txn, &err), KVSQL_OK);
    kv_at_txn(txn, &at);
    position = at.position;
    ck_assert(kv_get(&at, &key, &item));
    kv_txn_rollback(txn);
    ASK("SETBIT a 3 1", ":1|");
    ASK("BITFIELD a SET u4 0 1 INCRBY u4 0 0", "*2|:1|:1|");
    ck_assert_int_eq(kv_txn_begin(db, false, 0, &txn, &err), KVSQL_OK);
    kv_at_txn(txn, &at);
    ck_assert_uint_eq(at.position, position);
    kv_txn_rollback(txn);
}
END_TEST

/* ---- counting and finding ----------------------------------------------- */

START_TEST(ranges_count_bytes_or_bits)
{
    ASK("SET a foobar", "+OK|");
    ASK("BITCOUNT a", ":26|");
    ASK("BITCOUNT a 1 1", ":6|");
    ASK("BITCOUNT a 5 30 BIT", ":17|");
    ASK("BITCOUNT a -2 -1 byte", ":7|");
    ASK("BITCOUNT a 3 1", ":0|");
    ASK("BITCOUNT a 1", "-ERR syntax error|");
    ASK("BITCOUNT a 0 1 FOO", "-ERR syntax error|");
    ASK("BITCOUNT nosuch 0 x FOO", ":0|");
}
END_TEST

START_TEST(zeros_behind_the_end_count_only_without_an_end)
{
    ASK("SET a \"\\xff\\xff\"", "+OK|");
    ASK("BITPOS a 0", ":16|");
    ASK("BITPOS a 0 1", ":16|");
    ASK("BITPOS a 0 0 -1", ":-1|");
    ASK("BITPOS a 0 2", ":-1|");
    ASK("BITPOS a 1 9 12 BIT", ":9|");
    ASK("BITPOS nosuch 1", ":-1|");
    ASK("BITPOS nosuch 0", ":0|");
    ASK("BITPOS a 2", "-ERR The bit argument must be 1 or 0.|");
}
END_TEST

/* The number that `args` are answered with. */
static int run_for_int(void)
{
    struct kv_ticket ticket;

    cmd_run(db, args_count, args, true, &reply, &ticket);
    ck_assert_int_eq(reply_text()[0], ':');
    return atoi((const char *)out.p + 1);
}

static void number(kvsql_slice *arg, char text[32], const char *format,
                   unsigned n)
{
    *arg = (kvsql_slice){text, (size_t)snprintf(text, 32, format, n)};
}

/* Ranges of random strings, of words that are alike for the most part,
 * against a look at every bit. */
START_TEST(counts_and_places_agree_with_a_look_at_every_bit)
{
    struct rand_state r = rand_of(rand_seed("test_bit", 7));
    uint8_t bytes[700];
    char text[3][32];

    for (unsigned round = 0; round < 3000; round++) {
        const unsigned size = 1 + rand_below(&r, sizeof(bytes));
        const uint8_t base = rand_below(&r, 2) ? 0xff : 0;
        const unsigned first = rand_below(&r, size * 8);
        const unsigned last = first + rand_below(&r, size * 8 - first);
        const unsigned bit = rand_below(&r, 2);
        struct kv_ticket ticket;
        unsigned count = 0;
        int place = -1;

        memset(bytes, base, size);
        for (unsigned n = rand_below(&r, 4); n > 0; n--) {
            bytes[rand_below(&r, size)] = (uint8_t)rand_below(&r, 256);
        }
        for (unsigned i = first; i <= last; i++) {
            const unsigned is = bytes[i / 8] >> (7 - i % 8) & 1;

            count += is;
            place = place < 0 && is == bit ? (int)i : place;
        }
        args[0] = (kvsql_slice){"SET", 3};
        args[1] = (kvsql_slice){"a", 1};
        args[2] = (kvsql_slice){bytes, size};
        args_count = 3;
        cmd_run(db, args_count, args, true, &reply, &ticket);
        args[0] = (kvsql_slice){"BITCOUNT", 8};
        number(&args[2], text[0], "%u", first);
        number(&args[3], text[1], "%u", last);
        args[4] = (kvsql_slice){"BIT", 3};
        args_count = 5;
        ck_assert_int_eq(run_for_int(), (int)count);
        args[0] = (kvsql_slice){"BITPOS", 6};
        args[5] = args[4];
        args[4] = args[3];
        args[3] = args[2];
        number(&args[2], text[2], "%u", bit);
        args_count = 6;
        ck_assert_int_eq(run_for_int(), place);
    }
}
END_TEST

/* ---- BITOP -------------------------------------------------------------- */

START_TEST(keys_are_joined_bit_by_bit)
{
    ASK("SET a \"\\x66\\x61\\x0f\"", "+OK|");
    ASK("SET b \"\\x66\\x03\"", "+OK|");
    ASK("BITOP AND d a b", ":3|");
    ASK("BITFIELD_RO d GET u24 0", "*1|:6684928|"); /* 66 01 00 */
    ASK("BITOP or d a b nosuch", ":3|");
    ASK("BITFIELD_RO d GET u24 0", "*1|:6710031|"); /* 66 63 0f */
    ASK("BITOP XOR d a b", ":3|");
    ASK("BITFIELD_RO d GET u24 0", "*1|:25103|"); /* 00 62 0f */
    ASK("BITOP NOT d b", ":2|");
    ASK("BITFIELD_RO d GET u16 0", "*1|:39420|"); /* 99 fc */
    ASK("BITOP AND d nosuch", ":0|");
    ASK("EXISTS d", ":0|");
    ASK("BITOP AND a a nosuch", ":3|");
    ASK("BITCOUNT a", ":0|");
}
END_TEST

START_TEST(the_later_operations_tell_the_first_key_from_the_others)
{
    ASK("SET x \"\\xf0\\xff\"", "+OK|");
    ASK("SET y \"\\xcc\"", "+OK|");
    ASK("SET z \"\\xaa\"", "+OK|");
    ASK("BITOP DIFF d x y z", ":2|");
    ASK("BITFIELD_RO d GET u16 0", "*1|:4351|"); /* 10 ff */
    ASK("BITOP DIFF1 d x y z", ":2|");
    ASK("BITFIELD_RO d GET u16 0", "*1|:3584|"); /* 0e 00 */
    ASK("BITOP ANDOR d x y z", ":2|");
    ASK("BITFIELD_RO d GET u16 0", "*1|:57344|"); /* e0 00 */
    ASK("BITOP ONE d x y z", ":2|");
    ASK("BITFIELD_RO d GET u16 0", "*1|:5887|"); /* 16 ff */
    ASK("BITOP ONE d x", ":2|");
    ASK("BITFIELD_RO d GET u16 0", "*1|:61695|");
    ASK("BITOP DIFF d x",
        "-ERR BITOP DIFF must be called with at least two source keys.|");
    ASK("BITOP NOT d x y",
        "-ERR BITOP NOT must be called with a single source key.|");
    ASK("BITOP FOO d x", "-ERR syntax error|");
    ASK("SADD t m", ":1|");
    ASK("BITOP AND d x t", WRONGTYPE);
}
END_TEST

/* What an operation makes of the bits of `count` bytes, the first key's first:
 * one bit after the other, as their definition says. */
static uint8_t join_bytes(unsigned op, const uint8_t *bytes, unsigned count)
{
    uint8_t result = 0;

    for (unsigned bit = 0; bit < 8; bit++) {
        const bool first = bytes[0] >> bit & 1;
        unsigned set = 0;

        for (unsigned i = 0; i < count; i++) {
            set += bytes[i] >> bit & 1;
        }
        const bool others = set > first;
        const bool on[] = {set == count,     set > 0,          set % 2 == 1,
                           !first,           first && !others, others && !first,
                           first && others, set == 1};
        result |= (uint8_t)(on[op] << bit);
    }
    return result;
}

#define JOIN_KEYS 4
#define JOIN_SIZE ((size_t)70000) /* some blocks of bits.c */

static void set_bytes(const char *key, const uint8_t *p, size_t size)
{
    struct kv_ticket ticket;

    args[0] = (kvsql_slice){"SET", 3};
    args[1] = (kvsql_slice){key, strlen(key)};
    args[2] = (kvsql_slice){p, size};
    cmd_run(db, 3, args, true, &reply, &ticket);
    ck_assert_int_eq(reply.rc, KVSQL_OK);
}

/* Bytes of the string at key d, and how many. */
static const uint8_t *joined(size_t *size)
{
    struct kv_ticket ticket;
    struct cmd_item item;
    size_t offset = 0;

    split("GET d");
    cmd_run(db, args_count, args, true, &reply, &ticket);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    *size = item.kind == CMD_REPLY_BULK ? item.size : 0;
    return item.p;
}

/* Every operation on rows of any length, short and long, aligned or not,
 * absent ones among them, against one bit after the other; the result may be
 * one of its own sources. */
START_TEST(joined_keys_agree_with_a_join_of_every_bit)
{
    static const char *const names[] = {"AND", "OR", "XOR", "NOT", "DIFF",
                                        "DIFF1", "ANDOR", "ONE"};
    static uint8_t bytes[JOIN_KEYS][JOIN_SIZE];
    struct rand_state r = rand_of(rand_seed("test_bit", 8));

    for (unsigned round = 0; round < 400; round++) {
        const unsigned op = rand_below(&r, 8);
        const unsigned count = op == 3 ? 1 : 2 + rand_below(&r, JOIN_KEYS - 1);
        size_t sizes[JOIN_KEYS], longest = 0, size;
        char line[64];
        int used = snprintf(line, sizeof(line), "BITOP %s d", names[op]);

        for (unsigned i = 0; i < count; i++) {
            const char *const key = (const char *[]){"a", "b", "c", "d"}[i];

            sizes[i] = rand_below(&r, 4) == 0 ? rand_below(&r, JOIN_SIZE)
                                              : rand_below(&r, 200);
            memset(bytes[i], 0, sizeof(bytes[i]));
            for (size_t k = 0; k < sizes[i]; k++) {
                bytes[i][k] = (uint8_t)rand_below(&r, 256);
            }
            if (sizes[i] == 0) {
                snprintf(line + used, sizeof(line) - (size_t)used, " none");
                used += 5;
            } else {
                set_bytes(key, bytes[i], sizes[i]);
                used += snprintf(line + used, sizeof(line) - (size_t)used,
                                 " %s", key);
            }
            longest = sizes[i] > longest ? sizes[i] : longest;
        }
        char answer[32];
        snprintf(answer, sizeof(answer), ":%zu|", longest);
        ASK(line, answer);
        const uint8_t *const p = joined(&size);
        ck_assert_uint_eq(size, longest);
        size_t good = 0;
        while (good < size) {
            const uint8_t column[] = {bytes[0][good], bytes[1][good],
                                      bytes[2][good], bytes[3][good]};

            if (p[good] != join_bytes(op, column, count)) {
                break;
            }
            good++;
        }
        ck_assert_uint_eq(good, size);
    }
}
END_TEST

START_TEST(a_join_of_numbers_and_of_many_keys)
{
    char line[4096];
    int used = snprintf(line, sizeof(line), "BITOP ONE d");

    ASK("SET n 12", "+OK|"); /* 31 32 */
    ASK("SET m 1", "+OK|");  /* 31 */
    ASK("BITOP XOR d n m", ":2|");
    ASK("BITFIELD_RO d GET u16 0", "*1|:50|");
    for (unsigned i = 0; i < 300; i++) {
        used += snprintf(line + used, sizeof(line) - (size_t)used, " k%u", i);
    }
    for (unsigned i = 0; i < 300; i++) {
        char set[40];

        snprintf(set, sizeof(set), "SETBIT k%u %u 1", i, i * 5);
        ASK(set, ":0|");
    }
    ASK("SETBIT k7 5 1", ":0|"); /* k1 has it, too */
    ASK(line, ":187|");
    ASK("BITCOUNT d", ":299|");
    ASK("GETBIT d 5", ":0|");
}
END_TEST

/* ---- BITFIELD ----------------------------------------------------------- */

START_TEST(fields_hold_numbers_of_any_width)
{
    ASK("BITFIELD a SET i5 100 -3 GET i5 100 GET u5 100 GET i64 37",
        "*4|:0|:-3|:29|:1|");
    ASK("BITFIELD a SET i64 3 -9223372036854775808 GET i64 3",
        "*2|:0|:-9223372036854775808|");
    ASK("BITFIELD b SET u63 #1 9223372036854775807 GET u63 63",
        "*2|:0|:9223372036854775807|");
    ASK("STRLEN b", ":16|");
    ASK("BITFIELD a", "*0|");
    ASK("BITFIELD nosuch GET u8 0", "*1|:0|");
    ASK("EXISTS nosuch", ":0|");
}
END_TEST

START_TEST(what_does_not_fit_wraps_saturates_or_fails)
{
    ASK("BITFIELD a INCRBY u2 100 5 OVERFLOW SAT INCRBY u2 102 5 "
        "OVERFLOW FAIL INCRBY u2 102 1 INCRBY u2 102 -3",
        "*4|:1|:3|$-1|:0|");
    ASK("BITFIELD b OVERFLOW SAT SET i8 0 -200 GET i8 0 SET u8 0 -1 GET u8 0",
        "*4|:0|:-128|:128|:255|");
    ASK("BITFIELD b OVERFLOW SAT SET i60 0 -9223372036854775808 GET i60 0",
        "*2|:-4503599627370496|:-576460752303423488|");
    ASK("BITFIELD c OVERFLOW SAT INCRBY i64 0 9223372036854775807 "
        "INCRBY i64 0 1 OVERFLOW WRAP INCRBY i64 0 1",
        "*3|:9223372036854775807|:9223372036854775807|"
        ":-9223372036854775808|");
    ASK("BITFIELD e OVERFLOW FAIL SET i1 0 1 SET i1 0 -1 GET i1 0",
        "*3|$-1|:0|:-1|");
    ASK("BITFIELD f OVERFLOW FAIL SET u2 30 9", "*1|$-1|");
    ASK("STRLEN f", ":4|");
}
END_TEST

START_TEST(a_bad_operation_undoes_the_others)
{
    ASK("BITFIELD a SET u8 0 1 SET u64 0 1",
        "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 "
        "is not supported but i64 is.|");
    ASK("BITFIELD a SET u8 0 1 OVERFLOW FOO",
        "-ERR Invalid OVERFLOW type specified|");
    ASK("BITFIELD a SET u8 0 1 GET u8", "-ERR syntax error|");
    ASK("BITFIELD a SET u8 0 x",
        "-ERR value is not an integer or out of range|");
    ASK("BITFIELD_RO a SET u8 0 1",
        "-ERR BITFIELD_RO only supports the GET subcommand|");
    ASK("BITFIELD a SET u8 #536870911 1 SET u8 4294967295 1",
        "-ERR string exceeds maximum allowed size (proto-max-bulk-len)|");
    ASK("EXISTS a", ":0|");
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    ASK("SET a abc", "+OK|");
    fail_each_allocation("SETBIT a 2000 1", "GET a", "$3|abc|");
    fail_each_allocation("BITOP ONE d a a", "EXISTS d", ":0|");
    ASK("SETBIT long 100000 1", ":0|");
    fail_each_allocation("BITOP OR d a long", "BITCOUNT d", ":0|");
    fail_each_allocation("BITFIELD f SET u8 0 1 SET u8 3000 1 INCRBY i9 4000 7",
                      "EXISTS f", ":0|");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_bit_is_set_in_the_byte_where_it_lies);
    tcase_add_test(tests, offsets_and_bits_have_limits);
    tcase_add_test(tests, a_bit_of_a_large_string_is_patched_in_place);
    tcase_add_test(tests, setting_a_bit_keeps_the_expiry);
    tcase_add_test(tests, a_bit_that_is_as_wanted_is_no_change);
    tcase_add_test(tests, ranges_count_bytes_or_bits);
    tcase_add_test(tests, zeros_behind_the_end_count_only_without_an_end);
    tcase_add_test(tests, counts_and_places_agree_with_a_look_at_every_bit);
    tcase_add_test(tests, keys_are_joined_bit_by_bit);
    tcase_add_test(tests,
                   the_later_operations_tell_the_first_key_from_the_others);
    tcase_add_test(tests, joined_keys_agree_with_a_join_of_every_bit);
    tcase_add_test(tests, a_join_of_numbers_and_of_many_keys);
    tcase_add_test(tests, fields_hold_numbers_of_any_width);
    tcase_add_test(tests, what_does_not_fit_wraps_saturates_or_fails);
    tcase_add_test(tests, a_bad_operation_undoes_the_others);
    tcase_add_test(tests, every_allocation_may_fail);
}

int main(void)
{
    return unit_run("bit", add_tests);
}
