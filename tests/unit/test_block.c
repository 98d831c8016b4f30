/* test_block.c - pops that wait as commands see them: what they are told of, and
 * how they end. */
#include "tests/lib/client_fx.h"

#include "kvsql/store.h"

static void sink_append(void *arg, uint64_t position, const uint8_t *ops,
                        size_t size, uint64_t count)
{
    (void)arg;
    (void)position;
    (void)ops;
    (void)size;
    (void)count;
}

/* The client whose command ran last looks again. */
static bool again(struct cmd_client *client, bool over)
{
    kv_buf_reset(&out, out.cap);
    kv_buf_text(&out, BEFORE);
    cmd_reply_init_resp(&reply, &out, client->resp);
    return cmd_client_again(client, db, args_count, args, over, &reply,
                            &ticket);
}

START_TEST(what_an_undone_batch_had_taken_is_told_to_who_waits)
{
    const struct kv_sink lost = {.append = sink_append}, none = {.arg = NULL};
    struct kv_store *store = kv_db_store(db);

    says(&two, "RPUSH k x", ":1|");
    says(&two, "RPUSH l y", ":1|");
    kv_store_sink(store, &lost); /* from here on nothing is released */
    says(&two, "LPOP k", "$1|x|");
    ck_assert_int_eq(run(&one, "BLPOP none k 0"), CMD_WAIT);
    ck_assert_ptr_null(woken);
    kv_store_fail(store);
    kv_store_sink(store, &none);
    ck_assert_ptr_eq(woken, &one);
    ck_assert(again(&one, false));
    ck_assert_str_eq(answered(), "*2|$1|k|$1|x|");
    says(&two, "EXISTS k", ":0|");
}
END_TEST

START_TEST(who_is_told_of_nothing_by_an_undone_batch_waits_on)
{
    const struct kv_sink lost = {.append = sink_append}, none = {.arg = NULL};
    struct kv_store *store = kv_db_store(db);

    kv_store_sink(store, &lost);
    says(&two, "RPUSH l y", ":1|");
    ck_assert_int_eq(run(&one, "BLPOP k 0"), CMD_WAIT);
    kv_store_fail(store);
    kv_store_sink(store, &none);
    ck_assert(!again(&one, false));
    ck_assert(again(&one, true));
    ck_assert_str_eq(answered(), "*-1|");
}
END_TEST

START_TEST(without_room_the_end_of_the_time_is_no_error)
{
    ck_assert_int_eq(run(&one, "BLMOVE from to LEFT LEFT 1"), CMD_WAIT);
    kv_set_maxmemory(db, 1);
    ck_assert(!again(&one, false));
    ck_assert(again(&one, true));
    ck_assert_str_eq(answered(), "*-1|");
    kv_set_maxmemory(db, 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests,
                   what_an_undone_batch_had_taken_is_told_to_who_waits);
    tcase_add_test(tests, who_is_told_of_nothing_by_an_undone_batch_waits_on);
    tcase_add_test(tests, without_room_the_end_of_the_time_is_no_error);
}

int main(void)
{
    return unit_run("block", add);
}
