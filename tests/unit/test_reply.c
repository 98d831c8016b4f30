/* test_reply.c - replies: what is written is read back, and its RESP2 form. */
#include "command/reply.h"

#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/lib/unit.h"

static struct cmd_reply reply;
static struct kv_buf out;

static void setup(void)
{
    cmd_reply_init(&reply, 1 << 20);
    kv_buf_init(&out, KV_MEM_MISC, 1 << 20);
}

static void teardown(void)
{
    cmd_reply_fini(&reply);
    kv_buf_fini(&out);
}

static void expect_resp2(const char *text)
{
    kv_buf_reset(&out, 1 << 20);
    cmd_reply_resp2(&reply, &out);
    kv_buf_byte(&out, 0);
    ck_assert_str_eq((const char *)out.p, text);
}

START_TEST(each_kind_is_read_back_as_it_was_written)
{
    struct cmd_item item;
    size_t offset = 0;

    cmd_reply_array(&reply, 3);
    cmd_reply_int(&reply, INT64_MIN);
    cmd_reply_double(&reply, -0.5);
    cmd_reply_bulk(&reply, "a\0b", 3);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    ck_assert_int_eq(item.kind, CMD_REPLY_ARRAY);
    ck_assert_int_eq(item.number, 3);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    ck_assert_int_eq(item.number, INT64_MIN);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    ck_assert(item.kind == CMD_REPLY_DOUBLE && item.real == -0.5);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    ck_assert_uint_eq(item.size, 3);
    ck_assert_mem_eq(item.p, "a\0b", 3);
    ck_assert(!cmd_reply_next(&reply, &offset, &item));
}
END_TEST

START_TEST(resp2_of_scalars_is_that_of_redis)
{
    cmd_reply_array(&reply, 8);
    cmd_reply_null(&reply);
    cmd_reply_null_array(&reply);
    cmd_reply_status(&reply, "OK");
    cmd_reply_int(&reply, -7);
    cmd_reply_bool(&reply, true);
    cmd_reply_double(&reply, 0.1);
    cmd_reply_text(&reply, "");
    cmd_reply_verbatim(&reply, "x", 1);
    expect_resp2("*8\r\n$-1\r\n*-1\r\n+OK\r\n:-7\r\n:1\r\n$3\r\n0.1\r\n"
                 "$0\r\n\r\n$1\r\nx\r\n");
}
END_TEST

START_TEST(maps_and_pairs_are_flat_in_resp2)
{
    cmd_reply_map(&reply, 1);
    cmd_reply_text(&reply, "f");
    cmd_reply_pairs(&reply, 1);
    cmd_reply_text(&reply, "m");
    cmd_reply_double(&reply, INFINITY);
    expect_resp2("*2\r\n$1\r\nf\r\n*2\r\n$1\r\nm\r\n$3\r\ninf\r\n");
}
END_TEST

START_TEST(a_double_is_shown_as_it_was_told)
{
    struct cmd_item item;
    size_t offset = 0;

    cmd_reply_double_as(&reply, 0.1, "0.10000000000000001", 19);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    ck_assert(item.kind == CMD_REPLY_DOUBLE && item.real == 0.1);
    expect_resp2("$19\r\n0.10000000000000001\r\n");
    kv_buf_reset(&out, out.cap);
    cmd_reply_resp(&reply, 3, &out);
    kv_buf_byte(&out, 0);
    ck_assert_str_eq((const char *)out.p, ",0.10000000000000001\r\n");
}
END_TEST

START_TEST(a_count_can_be_filled_in_later)
{
    const size_t outer = cmd_reply_begin(&reply, CMD_REPLY_SET);

    cmd_reply_int(&reply, 1);
    cmd_reply_int(&reply, 2);
    cmd_reply_end(&reply, outer, 2);
    expect_resp2("*2\r\n:1\r\n:2\r\n");
}
END_TEST

START_TEST(an_error_is_one_line_and_sets_rc)
{
    cmd_reply_error(&reply, KVSQL_SYNTAX, "ERR %s", "a\r\nb");
    ck_assert_int_eq(reply.rc, KVSQL_SYNTAX);
    expect_resp2("-ERR a  b\r\n");
    cmd_reply_reset(&reply);
    ck_assert_int_eq(reply.rc, KVSQL_OK);
}
END_TEST

START_TEST(an_error_inside_an_array_is_not_the_reply_s_own)
{
    cmd_reply_array(&reply, 1);
    cmd_reply_error(&reply, KVSQL_SYNTAX, "ERR inside");
    ck_assert_int_eq(reply.rc, KVSQL_OK);
}
END_TEST

START_TEST(a_reply_that_does_not_fit_reads_as_one_error)
{
    struct cmd_reply small;
    struct cmd_item item;
    size_t offset = 0;

    cmd_reply_init(&small, 16);
    cmd_reply_array(&small, 1);
    cmd_reply_text(&small, "longer than sixteen bytes");
    ck_assert(cmd_reply_next(&small, &offset, &item));
    ck_assert_int_eq(item.kind, CMD_REPLY_ERROR);
    ck_assert(!cmd_reply_next(&small, &offset, &item));
    cmd_reply_fini(&small);
}
END_TEST

START_TEST(a_reply_without_memory_reads_as_one_error)
{
    struct cmd_item item;
    size_t offset = 0;

    kv_mem_fail_at(1, 0);
    cmd_reply_status(&reply, "OK");
    kv_mem_fail_at(0, 0);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    ck_assert_int_eq(item.kind, CMD_REPLY_ERROR);
    ck_assert_mem_eq(item.p, "OOM", 3);
    ck_assert(!cmd_reply_next(&reply, &offset, &item));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, each_kind_is_read_back_as_it_was_written);
    tcase_add_test(tests, resp2_of_scalars_is_that_of_redis);
    tcase_add_test(tests, maps_and_pairs_are_flat_in_resp2);
    tcase_add_test(tests, a_double_is_shown_as_it_was_told);
    tcase_add_test(tests, a_count_can_be_filled_in_later);
    tcase_add_test(tests, an_error_is_one_line_and_sets_rc);
    tcase_add_test(tests, an_error_inside_an_array_is_not_the_reply_s_own);
    tcase_add_test(tests, a_reply_that_does_not_fit_reads_as_one_error);
    tcase_add_test(tests, a_reply_without_memory_reads_as_one_error);
}

int main(void)
{
    return unit_run("reply", add_tests);
}
