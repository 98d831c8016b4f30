/* test_slice.c - long replies on a view in slices: they are those that come in
 * one piece, whatever is written between two slices, and they end when their
 * client leaves, when their view is ended, when memory is short. */
#include "command/client.h"

#include "command/context.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/store.h"
#include "tests/lib/ask.h"
#include "tests/lib/unit.h"

#define ELEMENTS 20000 /* some slices of each reply */
#define OTHERS 5000 /* the set u begins there */
#define EXPIRED 1000   /* fields that are gone and not yet removed */

static void door_kill(struct cmd_client *to)
{
    (void)to;
}

static void door_push(struct cmd_client *to, const struct cmd_push *push)
{
    (void)to, (void)push;
}

static const struct cmd_door door = {.kill = door_kill, .push = door_push};
static struct cmd_client client;
static struct cmd_slice slice;
static atomic_bool cancelled;
static struct cmd_reply part;
static struct kv_buf bytes, whole;

static void slice_setup(void)
{
    setup();
    client = (struct cmd_client){.fd = -1};
    cmd_client_open(&client, &door);
    slice = (struct cmd_slice){.cancelled = &cancelled};
    atomic_store(&cancelled, false);
    kv_buf_init(&bytes, KV_MEM_CLIENT, 64 << 20);
    kv_buf_init(&whole, KV_MEM_MISC, 64 << 20);
}

static void slice_teardown(void)
{
    cmd_slice_end(&slice);
    kv_buf_fini(&bytes);
    kv_buf_fini(&whole);
    cmd_client_close(&client);
    teardown();
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_CLIENT), 0);
}

static void fill(void)
{
    struct kv_txn *txn;
    char text[32];

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    for (unsigned i = 0; i < ELEMENTS; i++) {
        const kvsql_slice value = {
            text, (size_t)snprintf(text, sizeof(text), "element:%06u", i)};
        const struct kv_key e = kv_key_of(value.p, value.size);
        struct kv_key key = kv_key_of("t", 1);
        const int64_t at =
            i < EXPIRED ? kv_now(db) + 1000 : 0;

        ck_assert_int_eq(kv_sadd(txn, &key, &e, NULL, &err), KVSQL_OK);
        key = kv_key_of("z", 1);
        ck_assert_int_eq(kv_zadd(txn, &key, &e, i / 2.0, NULL, &err),
                         KVSQL_OK);
        key = kv_key_of("l", 1);
        ck_assert_int_eq(kv_push(txn, &key, KV_RIGHT, value, &err), KVSQL_OK);
        key = kv_key_of("h", 1);
        ck_assert_int_eq(kv_hset(txn, &key, &e, value, at, NULL, &err),
                         KVSQL_OK);
        ck_assert_int_eq(kv_set(txn, &e, value, 0, &err), KVSQL_OK);
        key = kv_key_of("m", 1);
        for (unsigned k = 0; k < 2; k++) {
            ck_assert_int_eq(kv_push(txn, &key, KV_RIGHT,
                                     (kvsql_slice){"x", 1}, &err),
                             KVSQL_OK);
        }
    }
    for (unsigned i = OTHERS; i < OTHERS + ELEMENTS; i++) {
        const struct kv_key key = kv_key_of("u", 1);
        const struct kv_key e = kv_key_of(
            text, (size_t)snprintf(text, sizeof(text), "element:%06u", i));

        ck_assert_int_eq(kv_sadd(txn, &key, &e, NULL, &err), KVSQL_OK);
    }
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
    fakeos_advance(fake, 2000);
}

/* The first part of the answer to the line that is split. */
static void first(void)
{
    struct kv_ticket ticket;

    kv_buf_reset(&bytes, bytes.cap);
    cmd_reply_init_resp(&part, &bytes, client.resp);
    cmd_client_work(&client, db, NULL, args_count, args, &part, &ticket,
                    &slice);
}

/* The next one, behind `whole`, to which it goes. */
static kvsql_rc next(void)
{
    kv_buf_add(&whole, bytes.p, bytes.size);
    kv_buf_reset(&bytes, bytes.cap);
    return cmd_client_more(&client, db, args_count, args, &part, &slice, &err);
}

/* All that the last test's lines would see is changed. */
static void change(unsigned n)
{
    char line[128];

    (void)snprintf(line, sizeof(line), "SREM t element:%06u element:%06u",
                   ELEMENTS - 1 - n, n * 100);
    run_line(line);
    (void)snprintf(line, sizeof(line), "SMOVE u t element:%06u",
                   OTHERS + ELEMENTS - 1 - n);
    run_line(line);
    (void)snprintf(line, sizeof(line), "ZADD z %u element:%06u", n,
                   ELEMENTS - 1 - n);
    run_line(line);
    run_line("LPOP l");
    run_line("RPUSH l new");
    run_line("LREM m -10 x");
    (void)snprintf(line, sizeof(line), "HSET h element:%06u new new%u v",
                   ELEMENTS - 1 - n, n);
    run_line(line);
    (void)snprintf(line, sizeof(line), "DEL element:%06u",
                   ELEMENTS - 1 - n * 10);
    run_line(line);
}

struct ask_row {
    const char *line;
    const char *begin2, *begin3; /* of the answer */
};

static const struct ask_row rows[] = {
    {"SMEMBERS t", "*20000\r\n", "~20000\r\n"},
    {"HGETALL h", "*38000\r\n", "%19000\r\n"},
    {"HKEYS h", "*19000\r\n", "*19000\r\n"},
    {"HVALS h", "*19000\r\n", "*19000\r\n"},
    {"LRANGE l 0 -1", "*20000\r\n", "*20000\r\n"},
    {"LRANGE l 500 -2", "*19499\r\n", "*19499\r\n"},
    {"ZRANGE z 0 -1 WITHSCORES", "*40000\r\n", "*20000\r\n*2\r\n"},
    {"ZREVRANGE z 10 -1", "*19990\r\n", "*19990\r\n"},
    {"ZRANGEBYSCORE z 5 +inf LIMIT 7 15000", "*15000\r\n", "*15000\r\n"},
    {"ZRANGE z + - BYLEX REV", "*20000\r\n", "*20000\r\n"},
    {"SUNION t u", "*25000\r\n", "~25000\r\n"},
    {"SUNION u nothing", "*20000\r\n", "~20000\r\n"},
    {"SINTER u t", "*15000\r\n", "~15000\r\n"},
    {"SDIFF t u nothing", "*5000\r\n", "~5000\r\n"},
    {"SDIFF t t", "*0\r\n", "~0\r\n"},
    {"ZUNION 2 z u", "*25000\r\n", "*25000\r\n"},
    {"ZUNION 2 u z AGGREGATE MAX WITHSCORES", "*50000\r\n",
     "*25000\r\n*2\r\n"},
    {"ZINTER 2 z t WEIGHTS -1 2", "*20000\r\n", "*20000\r\n"},
    {"ZDIFF 2 z u WITHSCORES", "*10000\r\n", "*5000\r\n*2\r\n"},
    {"SORT l ALPHA DESC", "*20000\r\n", "*20000\r\n"},
    {"SORT t ALPHA LIMIT 10 15000", "*15000\r\n", "*15000\r\n"},
    {"SORT_RO z BY nosort GET # GET * GET no*", "*60000\r\n",
     "*60000\r\n"},
    {"SORT l BY * ALPHA GET *", "*20000\r\n", "*20000\r\n"},
    {"GEOSEARCH z FROMLONLAT -179.9 -85 BYRADIUS 1000 KM DESC WITHDIST "
     "WITHCOORD",
     "*20000\r\n*3\r\n", "*20000\r\n*3\r\n"},
    {"GEORADIUS_RO z -179.9 -85 1000 KM", "*20000\r\n", "*20000\r\n"},
    {"LPOS m x COUNT 0", "*40000\r\n", "*40000\r\n"},
    {"KEYS *", "*20006\r\n", "*20006\r\n"},
    {"KEYS *[1357]", "*8000\r\n", "*8000\r\n"},
    {"KEYS element:00*", "*10000\r\n", "*10000\r\n"},
    {"KEYS nothing*", "*0\r\n", "*0\r\n"},
};

START_TEST(a_reply_in_slices_is_the_one_that_comes_whole)
{
    const struct ask_row *const row = &rows[_i / 2];
    const unsigned resp = 2 + _i % 2;
    const char *const begin = resp == 2 ? row->begin2 : row->begin3;
    struct kv_buf expected;
    unsigned parts = 1;

    fill();
    run_line(row->line);
    kv_buf_init(&expected, KV_MEM_MISC, 64 << 20);
    cmd_reply_resp(&reply, resp, &expected);
    client.resp = (uint8_t)resp;
    split(row->line);
    for (first(); slice.more != NULL; parts++) {
        ck_assert_uint_ge(bytes.size, CMD_SLICE_SIZE);
        ck_assert_uint_lt(bytes.size, CMD_SLICE_SIZE + 1000);
        change(parts);
        split(row->line);
        ck_assert_int_eq(next(), KVSQL_OK);
    }
    kv_buf_add(&whole, bytes.p, bytes.size);
    ck_assert_uint_eq(parts > 1, expected.size >= CMD_SLICE_SIZE + 1000);
    ck_assert_uint_eq(whole.size, expected.size);
    ck_assert_mem_eq(whole.p, expected.p, whole.size);
    ck_assert_mem_eq(whole.p, begin, strlen(begin));
    ck_assert_ptr_null(slice.view);
    ck_assert_ptr_null(slice.state);
    kv_buf_fini(&expected);
}
END_TEST

/* Each begins with '$'; of a pair both, or the member and a number. */
static unsigned bulks(const struct kv_buf *buf)
{
    unsigned count = 0;

    for (size_t i = 0; i < buf->size; i++) {
        count += buf->p[i] == '$';
    }
    return count;
}

START_TEST(draws_come_in_slices)
{
    static const struct ask_row draws[] = {
        {"SRANDMEMBER t -50000", "*50000\r\n", "*50000\r\n"},
        {"HRANDFIELD h -25000 WITHVALUES", "*50000\r\n", "*25000\r\n*2\r\n"},
        {"ZRANDMEMBER z -50000", "*50000\r\n", "*50000\r\n"},
    };

    fill();
    for (unsigned i = 0; i < 6; i++) {
        const struct ask_row *const row = &draws[i / 2];

        client.resp = (uint8_t)(2 + i % 2);
        kv_buf_reset(&whole, whole.cap);
        split(row->line);
        for (first(); slice.more != NULL;) {
            ck_assert_uint_lt(bytes.size, CMD_SLICE_SIZE + 1000);
            change(i);
            split(row->line);
            ck_assert_int_eq(next(), KVSQL_OK);
        }
        kv_buf_add(&whole, bytes.p, bytes.size);
        const char *const begin = i % 2 == 0 ? row->begin2 : row->begin3;
        ck_assert_mem_eq(whole.p, begin, strlen(begin));
        ck_assert_uint_eq(bulks(&whole), 50000);
        ck_assert_uint_gt(whole.size, 2 * CMD_SLICE_SIZE);
    }
}
END_TEST

START_TEST(a_reply_in_slices_counts_as_one_call)
{
    fill();
    run_line("CONFIG RESETSTAT");
    split("LRANGE l 0 -1");
    for (first(); slice.more != NULL;) {
        ck_assert_ptr_null(strstr(ask("INFO commandstats"), "cmdstat_lrange"));
        split("LRANGE l 0 -1");
        ck_assert_int_eq(next(), KVSQL_OK);
    }
    ck_assert_ptr_nonnull(
        strstr(ask("INFO commandstats"), "cmdstat_lrange:calls=1,"));
}
END_TEST

/* Many arguments: the command, a key, then what elements are called, with some
 * that are not there. */
static const struct ask_row many_rows[] = {
    {"MGET", "*20001\r\n", "*20001\r\n"},
    {"HMGET h", "*20000\r\n", "*20000\r\n"},
    {"ZMSCORE z", "*20000\r\n", "*20000\r\n"},
    {"SMISMEMBER u", "*20000\r\n", "*20000\r\n"},
    {"GEOPOS z", "*20000\r\n*2\r\n", "*20000\r\n*2\r\n"},
    {"GEOHASH z", "*20000\r\n", "*20000\r\n"},
};
static kvsql_slice many[ELEMENTS + 2];
static char many_names[ELEMENTS][16];

static unsigned many_args(const char *line)
{
    unsigned count = ELEMENTS + 2;

    split(line);
    many[0] = args[0];
    many[1] = args_count > 1 ? args[1] : (kvsql_slice){"t", 1};
    for (unsigned i = 0; i < ELEMENTS; i++) {
        many[i + 2] = (kvsql_slice){
            many_names[i],
            (size_t)snprintf(many_names[i], sizeof(many_names[i]),
                             i % 100 == 99 ? "none:%u" : "element:%06u", i)};
    }
    return count;
}

static void many_in_slices(const struct ask_row *row, unsigned resp)
{
    const char *const begin = resp == 2 ? row->begin2 : row->begin3;
    struct kv_buf expected;
    struct kv_ticket ticket;
    unsigned parts = 1, count;

    kv_buf_reset(&whole, whole.cap);
    kv_buf_reset(&bytes, bytes.cap);
    count = many_args(row->line);
    cmd_run(db, count, many, true, &reply, &ticket);
    kv_buf_init(&expected, KV_MEM_MISC, 64 << 20);
    cmd_reply_resp(&reply, resp, &expected);
    client.resp = (uint8_t)resp;
    cmd_reply_init_resp(&part, &bytes, resp);
    cmd_client_work(&client, db, NULL, count, many, &part, &ticket, &slice);
    for (; slice.more != NULL; parts++) {
        ck_assert_uint_lt(bytes.size, CMD_SLICE_SIZE + 1000);
        change(parts);
        count = many_args(row->line);
        kv_buf_add(&whole, bytes.p, bytes.size);
        kv_buf_reset(&bytes, bytes.cap);
        ck_assert_int_eq(cmd_client_more(&client, db, count, many, &part,
                                         &slice, &err),
                         KVSQL_OK);
    }
    kv_buf_add(&whole, bytes.p, bytes.size);
    ck_assert_uint_eq(parts > 1, expected.size >= CMD_SLICE_SIZE + 1000);
    ck_assert_uint_eq(whole.size, expected.size);
    ck_assert_mem_eq(whole.p, expected.p, whole.size);
    ck_assert_mem_eq(whole.p, begin, strlen(begin));
    ck_assert_ptr_null(slice.view);
    kv_buf_fini(&expected);
}

START_TEST(many_values_that_are_asked_for_come_in_slices)
{
    fill();
    for (size_t i = 0; i < sizeof(many_rows) / sizeof(many_rows[0]); i++) {
        many_in_slices(&many_rows[i], 2);
        many_in_slices(&many_rows[i], 3);
    }
}
END_TEST

/* ---- ends ------------------------------------------------------------------ */

START_TEST(who_has_left_gets_no_more)
{
    fill();
    split("SMEMBERS t");
    first();
    ck_assert(slice.more != NULL);
    atomic_store(&cancelled, true);
    ck_assert_int_eq(next(), KVSQL_INTERRUPT);
    ck_assert_uint_eq(bytes.size, 0);
    ck_assert(slice.more == NULL);
    ck_assert_ptr_null(slice.view);
}
END_TEST

/* No answer is longer than a slice: these are long because of what they read. */
static const char *const long_lines[] = {
    "HGETALL h", /* while the fields are counted */
    "LPOS l nothing",
    "LPOS l nothing RANK -1 COUNT 0",
    "LCS a b LEN",
    "LCS b a",
    "SORT l LIMIT 0 1",
    "SORT l ALPHA LIMIT 0 1",
    "SORT_RO l BY * ALPHA LIMIT 0 1",
    "SORT z BY nosort LIMIT 0 20000",
    "SINTER t u",
    "SINTERCARD 2 t u",
    "SDIFF t t",
    "SUNION t u",
    "ZUNION 2 z t",
    "ZINTER 2 z t",
    "ZDIFF 2 z z",
    "ZINTERCARD 2 z t",
    "GEOSEARCH z FROMLONLAT -179.9 -85 BYRADIUS 1000 KM COUNT 1",
    "KEYS *nothing",
};

static void is_not_worked_for(const char *line)
{
    split(line);
    first();
    ck_assert_int_eq(part.rc, KVSQL_INTERRUPT);
    ck_assert_uint_eq(bytes.size, 26);
    ck_assert_mem_eq(bytes.p, "-ERR the client has left\r\n", 26);
    ck_assert(slice.more == NULL);
}

START_TEST(who_has_left_is_not_worked_for)
{
    fill();
    run_line("SETRANGE a 50 x");
    run_line("SETRANGE b 50000 y");
    atomic_store(&cancelled, true);
    for (size_t i = 0; i < sizeof(long_lines) / sizeof(long_lines[0]); i++) {
        is_not_worked_for(long_lines[i]);
    }
}
END_TEST

static unsigned compared, compared_max;

static int compare_numbers(const void *a, const void *b, void *arg)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    ck_assert_ptr_eq(arg, &compared);
    if (++compared == compared_max) {
        atomic_store(&cancelled, true);
    }
    return x < y ? -1 : x > y;
}

static uint64_t numbers[ELEMENTS];

/* Sort numbers by chance, `count` of them. */
static bool sort_numbers(struct cmd_context *c, unsigned count, uint64_t *sum)
{
    cmd_context_init(c, db, 0, NULL, &part);
    kv_buf_reset(&bytes, bytes.cap);
    cmd_reply_init_resp(&part, &bytes, 2);
    c->slice = &slice;
    *sum = 0;
    for (unsigned i = 0; i < count; i++) {
        numbers[i] = i * UINT64_C(0x9E3779B97F4A7C15) >> 8 ^ count;
        *sum += numbers[i];
    }
    compared = 0;
    return cmd_sort(c, numbers, count, sizeof(numbers[0]), compare_numbers,
                    &compared);
}

START_TEST(who_leaves_while_it_is_sorted_ends_that)
{
    struct cmd_context c;
    uint64_t sum;

    compared_max = 2 * ELEMENTS;
    ck_assert(!sort_numbers(&c, ELEMENTS, &sum));
    ck_assert_int_eq(c.stopped, KVSQL_INTERRUPT);
    ck_assert(cmd_reply_failed(&part));
    ck_assert_uint_gt(compared, compared_max);
    ck_assert_uint_le(compared, compared_max + 64 * CMD_CHECK_EVERY);
}
END_TEST

START_TEST(what_is_sorted_is_in_order)
{
    struct cmd_context c;
    uint64_t sum;

    compared_max = 0;
    for (unsigned count = 0; count < ELEMENTS; count += 1 + count / 3) {
        ck_assert(sort_numbers(&c, count, &sum));
        for (unsigned i = 0; i < count; i++) {
            ck_assert(i == 0 || numbers[i - 1] <= numbers[i]);
            sum -= numbers[i];
        }
        ck_assert_uint_eq(sum, 0);
    }
}
END_TEST

START_TEST(a_view_that_is_ended_ends_the_reply)
{
    struct kvsql_error why;

    kv_set_views(db, 0, 1000);
    fill();
    split("ZRANGE z 0 -1");
    first();
    ck_assert(slice.more != NULL);
    ck_assert_int_eq(cmd_slice_ended(&slice, &why), KVSQL_OK);
    change(1);
    while (kv_store_tick(kv_db_store(db))) {
    }
    ck_assert_int_eq(cmd_slice_ended(&slice, &why), KVSQL_INTERRUPT);
    split("ZRANGE z 0 -1");
    ck_assert_int_eq(next(), KVSQL_INTERRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "view-max-bytes"));
    ck_assert(slice.more == NULL);
}
END_TEST

START_TEST(a_reply_that_rests_can_be_dropped)
{
    fill();
    split("KEYS *");
    first();
    ck_assert(slice.more != NULL);
    cmd_slice_end(&slice);
    ck_assert(slice.more == NULL);
    cmd_slice_end(&slice); /* nothing is left to do */
}
END_TEST

/* ---- memory ---------------------------------------------------------------- */

START_TEST(any_block_may_be_refused)
{
    static const char *const lines[] = {"SMEMBERS t", "HGETALL h", "KEYS *",
                                        "LRANGE l 0 -1",
                                        "ZRANGE z 0 -1 WITHSCORES",
                                        "SUNION t u",
                                        "ZUNION 2 z t",
                                        "SORT l ALPHA GET * GET #",
                                        "GEOSEARCH z FROMLONLAT -179.9 -85 "
                                        "BYRADIUS 1 KM ASC",
                                        "LPOS m x COUNT 0"};
    const char *const line = lines[_i];
    bool through = false;

    fill();
    for (unsigned n = 1; !through; n++) {
        kvsql_rc rc = KVSQL_OK;

        ck_assert_uint_lt(n, 1000);
        kv_buf_fini(&bytes);
        kv_buf_reset(&whole, whole.cap);
        split(line);
        kv_mem_fail_at(n, 0);
        first();
        if (part.rc != KVSQL_OK || part.buf->failed) {
            ck_assert(slice.more == NULL);
            ck_assert(cmd_reply_finish(&part));
            ck_assert_int_eq(bytes.p[0], '-');
        }
        while (slice.more != NULL && rc == KVSQL_OK) {
            kv_buf_add(&whole, bytes.p, bytes.size);
            kv_buf_fini(&bytes);
            rc = cmd_client_more(&client, db, args_count, args, &part, &slice,
                                 &err);
        }
        ck_assert(rc == KVSQL_OK || rc == KVSQL_NOMEM);
        through = !kv_mem_failed();
        kv_mem_fail_at(0, 0);
        ck_assert_ptr_null(slice.state);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, slice_setup, slice_teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, a_reply_in_slices_is_the_one_that_comes_whole, 0,
                        2 * (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_test(tests, many_values_that_are_asked_for_come_in_slices);
    tcase_add_test(tests, draws_come_in_slices);
    tcase_add_test(tests, a_reply_in_slices_counts_as_one_call);
    tcase_add_test(tests, who_has_left_gets_no_more);
    tcase_add_test(tests, who_has_left_is_not_worked_for);
    tcase_add_test(tests, who_leaves_while_it_is_sorted_ends_that);
    tcase_add_test(tests, what_is_sorted_is_in_order);
    tcase_add_test(tests, a_view_that_is_ended_ends_the_reply);
    tcase_add_test(tests, a_reply_that_rests_can_be_dropped);
    tcase_add_loop_test(tests, any_block_may_be_refused, 0, 10);
}

int main(void)
{
    return unit_run("slice", add_tests);
}
