/* test_resp_push.c - messages between replies: what may come before which
 * reply. */
#include "resp/door.h"

#include <check.h>
#include <string.h>

#include "tests/lib/unit.h"

static struct resp_loop loop;
static struct resp_conn conn;
static struct kv_buf out;

static void setup(void)
{
    kv_lock_init(&loop.post_lock, KV_RANK_POST);
    conn = (struct resp_conn){.loop = &loop, .client.resp = 3};
    kv_buf_init(&conn.post_push, KV_MEM_CLIENT, RESP_PUSH_MAX);
    kv_buf_init(&conn.post_behind, KV_MEM_CLIENT, RESP_PUSH_MAX);
    kv_buf_init(&out, KV_MEM_CLIENT, RESP_PUSH_MAX);
}

static void teardown(void)
{
    kv_buf_fini(&conn.post_push);
    kv_buf_fini(&conn.post_behind);
    kv_buf_fini(&out);
    kv_lock_fini(&loop.post_lock);
}

static void add_message(const char *text, uint64_t position, uint8_t resp)
{
    const struct cmd_push push = {.p = text, .size = strlen(text),
                                  .position = position, .resp = resp};

    kv_lock_take(&loop.post_lock);
    resp_push_add(&conn, &push);
    kv_lock_drop(&loop.post_lock);
}

/* What comes before a reply of this position, and whether more is to come that
 * might before a later one. */
static void takes(uint64_t position, const char *text, bool more)
{
    resp_push_take(&conn, position, &out);
    ck_assert_uint_eq(out.size, strlen(text));
    ck_assert(out.size == 0 || memcmp(out.p, text, out.size) == 0);
    ck_assert_int_eq(atomic_load(&conn.pushed), more);
    kv_buf_reset(&out, 0);
}

START_TEST(a_line_of_monitor_holds_nothing_back)
{
    add_message("m", CMD_PUSH_BEHIND, 0);
    ck_assert(!atomic_load(&conn.pushed)); /* no reply has to look */
    add_message("4", 4, 3);
    add_message("n", CMD_PUSH_BEHIND, 0);
    add_message("5", 5, 3);
    add_message("7", 7, 3);
    takes(3, "", true);
    takes(5, "45", true);
    takes(7, "7", false);
    takes(CMD_PUSH_BEHIND, "mn", false);
    takes(CMD_PUSH_BEHIND, "", false);
}
END_TEST

START_TEST(at_the_end_of_a_turn_all_is_taken)
{
    add_message("m", CMD_PUSH_BEHIND, 0);
    add_message("2", 2, 3);
    takes(CMD_PUSH_BEHIND, "2m", false);
}
END_TEST

START_TEST(what_the_protocol_has_no_words_for_is_left_out)
{
    add_message("two", 1, 2);
    add_message("three", 2, 3);
    add_message("two", CMD_PUSH_BEHIND, 2);
    takes(2, "three", false);
    takes(CMD_PUSH_BEHIND, "", false);
}
END_TEST

START_TEST(a_workers_reply_has_a_copy)
{
    add_message("m", CMD_PUSH_BEHIND, 0);
    add_message("1", 1, 3);
    resp_push_copy(&conn, &out);
    ck_assert_uint_eq(out.size, 1);
    ck_assert_mem_eq(out.p, "1", 1);
    kv_buf_reset(&out, 0);
    takes(CMD_PUSH_BEHIND, "1m", false);
}
END_TEST

/* A message without its beginning is worse than none. */
START_TEST(without_memory_the_connection_is_to_be_closed)
{
    static const uint64_t positions[] = {1, CMD_PUSH_BEHIND};

    for (unsigned i = 0; i < 2; i++) {
        teardown();
        setup();
        kv_mem_fail_at(1, 0);
        add_message("lost", positions[i], 0);
        kv_mem_fail_at(0, 0);
        ck_assert(resp_push_failed(&conn));
        add_message("whole", positions[i], 0);
        resp_push_take(&conn, CMD_PUSH_BEHIND, &out);
        ck_assert_uint_eq(out.size, 0);
        ck_assert(resp_push_failed(&conn));
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_line_of_monitor_holds_nothing_back);
    tcase_add_test(tests, at_the_end_of_a_turn_all_is_taken);
    tcase_add_test(tests, what_the_protocol_has_no_words_for_is_left_out);
    tcase_add_test(tests, a_workers_reply_has_a_copy);
    tcase_add_test(tests, without_memory_the_connection_is_to_be_closed);
}

int main(void)
{
    return unit_run("resp_push", add);
}
