/* test_reply.c - replies: what is typed is read back, and both forms give the
 * same bytes of the protocol. */
#include "command/reply.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
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

/* ---- both forms, both protocols ------------------------------------------ */

/* What stands in the output before the reply. */
#define BEFORE "+before\r\n"

static void shape_scalars(struct cmd_reply *to)
{
    cmd_reply_array(to, 10);
    cmd_reply_null(to);
    cmd_reply_null_array(to);
    cmd_reply_status(to, "OK");
    cmd_reply_int(to, INT64_MIN);
    cmd_reply_int(to, 10);
    cmd_reply_bool(to, true);
    cmd_reply_bool(to, false);
    cmd_reply_text(to, "");
    cmd_reply_bulk(to, "ten bytes!", 10);
    cmd_reply_verbatim(to, "x", 1);
}

static void shape_doubles(struct cmd_reply *to)
{
    cmd_reply_array(to, 5);
    cmd_reply_double(to, 0.1);
    cmd_reply_double(to, -INFINITY);
    cmd_reply_double(to, 3);
    cmd_reply_double(to, 1e300);
    cmd_reply_double_as(to, 0.1, "0.10000000000000001", 19);
}

static void shape_aggregates(struct cmd_reply *to)
{
    cmd_reply_map(to, 2);
    cmd_reply_text(to, "set");
    cmd_reply_set(to, 2);
    cmd_reply_int(to, 1);
    cmd_reply_array(to, 0);
    cmd_reply_text(to, "pairs");
    cmd_reply_pairs(to, 2);
    cmd_reply_text(to, "m");
    cmd_reply_double(to, 1.5);
    cmd_reply_int(to, 7);
    cmd_reply_null(to);
}

static void shape_pairs_of_none(struct cmd_reply *to)
{
    cmd_reply_array(to, 2);
    cmd_reply_pairs(to, 0);
    cmd_reply_text(to, "after");
}

static void shape_counted_later(struct cmd_reply *to)
{
    const size_t map = cmd_reply_begin(to, CMD_REPLY_MAP);
    size_t inner;

    cmd_reply_text(to, "pairs");
    inner = cmd_reply_begin(to, CMD_REPLY_PAIRS);
    cmd_reply_text(to, "a");
    cmd_reply_int(to, 1);
    cmd_reply_text(to, "b");
    cmd_reply_int(to, 2);
    cmd_reply_end(to, inner, 2);
    cmd_reply_text(to, "set");
    inner = cmd_reply_begin(to, CMD_REPLY_SET);
    for (int i = 0; i < 12; i++) {
        cmd_reply_int(to, 3);
    }
    cmd_reply_end(to, inner, 12);
    cmd_reply_text(to, "array");
    inner = cmd_reply_begin(to, CMD_REPLY_ARRAY);
    cmd_reply_end(to, inner, 0);
    cmd_reply_end(to, map, 3);
}

static void shape_error(struct cmd_reply *to)
{
    cmd_reply_error(to, KVSQL_SYNTAX, "ERR %s", "a\r\nb");
}

static void shape_error_inside(struct cmd_reply *to)
{
    cmd_reply_array(to, 2);
    cmd_reply_error(to, KVSQL_SYNTAX, "ERR inside");
    cmd_reply_int(to, 1);
}

/* The handler has written much, and then says no. */
static void shape_given_up(struct cmd_reply *to)
{
    (void)cmd_reply_begin(to, CMD_REPLY_PAIRS);
    cmd_reply_text(to, "half of a pair");
    cmd_reply_reset(to);
    cmd_reply_error(to, KVSQL_NOTFOUND, "ERR no such key");
}

/* ... and then something else, which begins anew: no pair is open. */
static void shape_begun_anew(struct cmd_reply *to)
{
    (void)cmd_reply_begin(to, CMD_REPLY_PAIRS);
    cmd_reply_text(to, "half of a pair");
    cmd_reply_reset(to);
    cmd_reply_array(to, 1);
    cmd_reply_text(to, "v");
}

static void shape_parts(struct cmd_reply *to)
{
    struct cmd_reply part;

    cmd_reply_array(to, 3);
    if (cmd_reply_failed(to)) {
        return;
    }
    cmd_reply_part(&part, to);
    shape_pairs_of_none(&part);
    ck_assert(cmd_reply_part_end(&part, to) || cmd_reply_failed(to));
    if (cmd_reply_failed(to)) {
        return;
    }
    cmd_reply_part(&part, to);
    cmd_reply_array(&part, 3);
    cmd_reply_int(&part, 1);
    cmd_reply_reset(&part);
    cmd_reply_error(&part, KVSQL_WRONGTYPE, "ERR of a part");
    ck_assert(cmd_reply_part_end(&part, to) || cmd_reply_failed(to));
    if (cmd_reply_failed(to)) {
        return;
    }
    cmd_reply_part(&part, to);
    cmd_reply_set(&part, 1);
    cmd_reply_int(&part, 2);
    ck_assert(cmd_reply_part_end(&part, to) || cmd_reply_failed(to));
}

static const struct {
    void (*write)(struct cmd_reply *to);
    const char *resp2, *resp3;
    kvsql_rc rc;
} shapes[] = {
    {shape_scalars,
     "*10\r\n$-1\r\n*-1\r\n+OK\r\n:-9223372036854775808\r\n:10\r\n:1\r\n:0\r\n"
     "$0\r\n\r\n$10\r\nten bytes!\r\n$1\r\nx\r\n",
     "*10\r\n_\r\n_\r\n+OK\r\n:-9223372036854775808\r\n:10\r\n#t\r\n#f\r\n"
     "$0\r\n\r\n$10\r\nten bytes!\r\n=5\r\ntxt:x\r\n",
     KVSQL_OK},
    {shape_doubles,
     "*5\r\n$3\r\n0.1\r\n$4\r\n-inf\r\n$1\r\n3\r\n$6\r\n1e+300\r\n"
     "$19\r\n0.10000000000000001\r\n",
     "*5\r\n,0.1\r\n,-inf\r\n,3\r\n,1e+300\r\n,0.10000000000000001\r\n",
     KVSQL_OK},
    {shape_aggregates,
     "*4\r\n$3\r\nset\r\n*2\r\n:1\r\n*0\r\n$5\r\npairs\r\n*4\r\n$1\r\nm\r\n"
     "$3\r\n1.5\r\n:7\r\n$-1\r\n",
     "%2\r\n$3\r\nset\r\n~2\r\n:1\r\n*0\r\n$5\r\npairs\r\n*2\r\n*2\r\n$1\r\nm"
     "\r\n,1.5\r\n*2\r\n:7\r\n_\r\n",
     KVSQL_OK},
    {shape_pairs_of_none, "*2\r\n*0\r\n$5\r\nafter\r\n",
     "*2\r\n*0\r\n$5\r\nafter\r\n", KVSQL_OK},
    {shape_counted_later,
     "*6\r\n$5\r\npairs\r\n*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:2\r\n$3\r\nset"
     "\r\n*12\r\n:3\r\n:3\r\n:3\r\n:3\r\n:3\r\n:3\r\n:3\r\n:3\r\n:3\r\n:3\r\n"
     ":3\r\n:3\r\n$5\r\narray\r\n*0\r\n",
     "%3\r\n$5\r\npairs\r\n*2\r\n*2\r\n$1\r\na\r\n:1\r\n*2\r\n$1\r\nb\r\n:2"
     "\r\n$3\r\nset\r\n~12\r\n:3\r\n:3\r\n:3\r\n:3\r\n:3\r\n:3\r\n:3\r\n:3\r\n"
     ":3\r\n:3\r\n:3\r\n:3\r\n$5\r\narray\r\n*0\r\n",
     KVSQL_OK},
    {shape_error, "-ERR a  b\r\n", "-ERR a  b\r\n", KVSQL_SYNTAX},
    {shape_error_inside, "*2\r\n-ERR inside\r\n:1\r\n",
     "*2\r\n-ERR inside\r\n:1\r\n", KVSQL_OK},
    {shape_given_up, "-ERR no such key\r\n", "-ERR no such key\r\n",
     KVSQL_NOTFOUND},
    {shape_begun_anew, "*1\r\n$1\r\nv\r\n", "*1\r\n$1\r\nv\r\n", KVSQL_OK},
    {shape_parts,
     "*3\r\n*2\r\n*0\r\n$5\r\nafter\r\n-ERR of a part\r\n*1\r\n:2\r\n",
     "*3\r\n*2\r\n*0\r\n$5\r\nafter\r\n-ERR of a part\r\n~1\r\n:2\r\n",
     KVSQL_OK},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* out holds BEFORE, then `text`. */
static void expect_out(const char *text)
{
    kv_buf_byte(&out, 0);
    ck_assert(!out.failed);
    ck_assert_mem_eq(out.p, BEFORE, strlen(BEFORE));
    ck_assert_str_eq((const char *)out.p + strlen(BEFORE), text);
    ck_assert_uint_eq(out.size, strlen(BEFORE) + strlen(text) + 1);
}

/* A reply in the RESP form, behind BEFORE, in a buffer that must grow. */
static void begin_direct(struct cmd_reply *direct, unsigned resp)
{
    kv_buf_fini(&out);
    kv_buf_text(&out, BEFORE);
    cmd_reply_init_resp(direct, &out, resp);
}

START_TEST(each_shape_has_the_bytes_of_its_protocol_in_both_forms)
{
    for (size_t i = 0; i < SHAPES; i++) {
        for (unsigned resp = 2; resp <= 3; resp++) {
            const char *text = resp == 2 ? shapes[i].resp2 : shapes[i].resp3;
            struct cmd_reply direct;

            cmd_reply_reset(&reply);
            shapes[i].write(&reply);
            ck_assert_int_eq(reply.rc, shapes[i].rc);
            kv_buf_fini(&out);
            kv_buf_text(&out, BEFORE);
            cmd_reply_resp(&reply, resp, &out);
            expect_out(text);

            begin_direct(&direct, resp);
            shapes[i].write(&direct);
            ck_assert_int_eq(direct.rc, shapes[i].rc);
            ck_assert(cmd_reply_finish(&direct));
            expect_out(text);
        }
    }
}
END_TEST

START_TEST(bulks_of_every_size_are_whole_in_both_forms)
{
    char bytes[300], text[320];

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)('A' + i % 57);
    }
    for (size_t size = 0; size < sizeof(bytes); size++) {
        struct cmd_reply direct;

        (void)snprintf(text, sizeof(text), "$%zu\r\n%.*s\r\n", size,
                       (int)size, bytes);
        for (unsigned room = 0; room < 2; room++) {
            begin_direct(&direct, 2);
            if (room) {
                ck_assert(kv_buf_reserve(&out, 1024));
            }
            cmd_reply_bulk(&direct, bytes, size);
            expect_out(text);
        }
        cmd_reply_reset(&reply);
        cmd_reply_bulk(&reply, bytes, size);
        kv_buf_cut(&out, strlen(BEFORE));
        cmd_reply_resp(&reply, 3, &out);
        expect_out(text);
    }
}
END_TEST

/* 1, 12, 123, ... in n nested arrays, each counted by array() or later. */
static void shape_deep(struct cmd_reply *to, bool later, unsigned levels)
{
    size_t places[4];
    const uint64_t counts[4] = {2, 12, 123, 1234};

    for (unsigned i = 0; i < levels; i++) {
        if (later) {
            places[i] = cmd_reply_begin(to, CMD_REPLY_MAP);
        } else {
            cmd_reply_map(to, counts[i]);
        }
        for (uint64_t j = 0; j < 2 * counts[i] - 1; j++) {
            cmd_reply_int(to, (int64_t)j);
        }
    }
    cmd_reply_text(to, "in the middle");
    for (unsigned i = levels; later && i > 0; i--) {
        cmd_reply_end(to, places[i - 1], counts[i - 1]);
    }
}

START_TEST(counts_known_later_are_as_if_known_at_once)
{
    struct kv_buf known;

    kv_buf_init(&known, KV_MEM_MISC, 1 << 20);
    for (unsigned levels = 1; levels <= 4; levels++) {
        for (unsigned resp = 2; resp <= 3; resp++) {
            struct cmd_reply direct;

            kv_buf_reset(&known, 0);
            kv_buf_text(&known, BEFORE);
            cmd_reply_init_resp(&direct, &known, resp);
            shape_deep(&direct, false, levels);
            begin_direct(&direct, resp);
            shape_deep(&direct, true, levels);
            ck_assert(!known.failed && !out.failed);
            ck_assert_uint_eq(out.size, known.size);
            ck_assert_mem_eq(out.p, known.p, known.size);

            cmd_reply_reset(&reply);
            shape_deep(&reply, true, levels);
            kv_buf_cut(&out, strlen(BEFORE));
            cmd_reply_resp(&reply, resp, &out);
            ck_assert_uint_eq(out.size, known.size);
            ck_assert_mem_eq(out.p, known.p, known.size);
        }
    }
    kv_buf_fini(&known);
}
END_TEST

/* Either the whole reply, or one error, or nothing at all, and then it says
 * so; or, of parts, the error of one that failed. True: there was memory. */
static bool write_without_memory(size_t i, unsigned resp, unsigned nth,
                                 bool persistent)
{
    const char *text = resp == 2 ? shapes[i].resp2 : shapes[i].resp3;
    struct cmd_reply direct;
    bool failed, whole;

    begin_direct(&direct, resp);
    kv_mem_fail_at(nth, persistent);
    shapes[i].write(&direct);
    whole = cmd_reply_finish(&direct);
    failed = kv_mem_failed();
    kv_mem_fail_at(0, 0);
    if (!whole) {
        ck_assert(failed && out.failed);
        ck_assert_uint_eq(out.size, strlen(BEFORE));
        kv_buf_cut(&out, out.size);
        expect_out("");
    } else if (!failed || shapes[i].write == shape_begun_anew ||
               shapes[i].write == shape_given_up) {
        expect_out(text); /* what was given up may have failed */
    } else if (shapes[i].write != shape_parts) {
        ck_assert_int_eq(direct.rc, KVSQL_NOMEM);
        expect_out("-OOM no memory for the reply\r\n");
    } else {
        kv_buf_byte(&out, 0);
        ck_assert_ptr_nonnull(strstr((const char *)out.p, "-OOM no memory"));
        ck_assert(out.p[strlen(BEFORE)] == '*' ||
                  out.size == strlen(BEFORE "-OOM no memory for the reply\r\n") + 1);
    }
    return !failed;
}

START_TEST(without_memory_a_reply_is_one_error_or_nothing)
{
    for (size_t i = 0; i < SHAPES; i++) {
        for (unsigned resp = 2; resp <= 3; resp++) {
            for (int persistent = 0; persistent < 2; persistent++) {
                unsigned nth = 1;

                while (!write_without_memory(i, resp, nth, persistent)) {
                    nth++;
                }
            }
        }
    }
}
END_TEST

START_TEST(a_reply_that_passes_the_limit_is_one_error)
{
    struct cmd_reply direct;

    kv_buf_fini(&out);
    kv_buf_init(&out, KV_MEM_MISC, 200);
    begin_direct(&direct, 2);
    for (int i = 0; i < 100; i++) {
        cmd_reply_text(&direct, "value");
    }
    ck_assert(cmd_reply_failed(&direct));
    ck_assert_mem_eq(cmd_reply_line(&direct).p, "ERR the reply is larger", 23);
    ck_assert(cmd_reply_finish(&direct));
    ck_assert_int_eq(direct.rc, KVSQL_TOOBIG);
    expect_out("-ERR the reply is larger than this door's limit; ask for less "
               "at a time\r\n");
}
END_TEST

START_TEST(a_part_that_passes_the_limit_is_an_error_among_the_others)
{
    struct cmd_reply direct, part;

    kv_buf_fini(&out);
    kv_buf_init(&out, KV_MEM_MISC, 200);
    begin_direct(&direct, 3);
    cmd_reply_array(&direct, 2);
    cmd_reply_part(&part, &direct);
    for (int i = 0; i < 100; i++) {
        cmd_reply_text(&part, "value");
    }
    ck_assert(cmd_reply_part_end(&part, &direct));
    ck_assert_int_eq(part.rc, KVSQL_TOOBIG);
    ck_assert_int_eq(direct.rc, KVSQL_OK);
    cmd_reply_part(&part, &direct);
    cmd_reply_int(&part, 1);
    ck_assert(cmd_reply_part_end(&part, &direct));
    expect_out("*2\r\n-ERR the reply is larger than this door's limit; ask for "
               "less at a time\r\n:1\r\n");
}
END_TEST

START_TEST(the_line_of_an_error_is_there_in_both_forms)
{
    struct cmd_reply direct, part;
    struct cmd_reply *forms[2] = {&reply, &direct};

    begin_direct(&direct, 2);
    for (int i = 0; i < 2; i++) {
        kvsql_slice line;

        cmd_reply_array(forms[i], 1);
        cmd_reply_part(&part, forms[i]);
        cmd_reply_error(&part, KVSQL_WRONGTYPE, "ERR of %s", "a part");
        line = cmd_reply_line(&part);
        ck_assert_uint_eq(line.size, 13);
        ck_assert_mem_eq(line.p, "ERR of a part", 13);
        ck_assert(cmd_reply_part_end(&part, forms[i]));
        cmd_reply_reset(forms[i]);
        cmd_reply_error(forms[i], KVSQL_WRONGTYPE, "ERR of all");
        line = cmd_reply_line(forms[i]);
        ck_assert_uint_eq(line.size, 10);
        ck_assert_mem_eq(line.p, "ERR of all", 10);
    }
}
END_TEST

START_TEST(the_last_bulk_can_be_read_in_both_forms)
{
    struct cmd_reply direct;

    begin_direct(&direct, 2);
    cmd_reply_text(&direct, "member");
    ck_assert_mem_eq(cmd_reply_last(&direct, 6), "member", 6);
    cmd_reply_text(&reply, "member");
    ck_assert_mem_eq(cmd_reply_last(&reply, 6), "member", 6);
}
END_TEST

START_TEST(a_reply_can_go_over_to_the_other_protocol)
{
    struct cmd_reply direct, part;

    begin_direct(&direct, 2);
    cmd_reply_array(&direct, 3);
    cmd_reply_null(&direct);
    cmd_reply_part(&part, &direct);
    cmd_reply_speak(&part, 3);
    cmd_reply_null(&part);
    ck_assert(cmd_reply_part_end(&part, &direct));
    cmd_reply_null(&direct);
    expect_out("*3\r\n$-1\r\n_\r\n_\r\n");
    cmd_reply_speak(&reply, 3);
    ck_assert_uint_eq(reply.resp, 0);
}
END_TEST

/* ---- what is typed ------------------------------------------------------- */

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
    tcase_add_test(tests,
                   each_shape_has_the_bytes_of_its_protocol_in_both_forms);
    tcase_add_test(tests, bulks_of_every_size_are_whole_in_both_forms);
    tcase_add_test(tests, counts_known_later_are_as_if_known_at_once);
    tcase_add_test(tests, without_memory_a_reply_is_one_error_or_nothing);
    tcase_add_test(tests, a_reply_that_passes_the_limit_is_one_error);
    tcase_add_test(tests,
                   a_part_that_passes_the_limit_is_an_error_among_the_others);
    tcase_add_test(tests, the_line_of_an_error_is_there_in_both_forms);
    tcase_add_test(tests, the_last_bulk_can_be_read_in_both_forms);
    tcase_add_test(tests, a_reply_can_go_over_to_the_other_protocol);
    tcase_add_test(tests, a_double_is_shown_as_it_was_told);
    tcase_add_test(tests, an_error_is_one_line_and_sets_rc);
    tcase_add_test(tests, an_error_inside_an_array_is_not_the_reply_s_own);
    tcase_add_test(tests, a_reply_that_does_not_fit_reads_as_one_error);
    tcase_add_test(tests, a_reply_without_memory_reads_as_one_error);
}

int main(void)
{
    return unit_run("reply", add_tests);
}
