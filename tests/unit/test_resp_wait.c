/* test_resp_wait.c - how a loop waits: when it naps, when it looks again, when
 * it sleeps. */
#include "resp/door.h"

#include <check.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kvsql/base/os.h"
#include "tests/lib/unit.h"

#define MS 1000000ull
#define MOST 8

static struct resp_loop loop;
static struct resp_conn conn;
static struct epoll_event events[MOST];

/* A loop whose sockets are one eventfd, behind a turn that had something to
 * do. */
static void setup(void)
{
    struct epoll_event in = {.events = EPOLLIN, .data.ptr = &loop};

    loop = (struct resp_loop){.epoll = epoll_create1(EPOLL_CLOEXEC),
                              .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                              .now_ns = kv_os_mono_ns()};
    ck_assert_int_ge(loop.epoll, 0);
    ck_assert_int_eq(epoll_ctl(loop.epoll, EPOLL_CTL_ADD, loop.wake, &in), 0);
    resp_wait_init(&loop.wait, loop.now_ns);
    loop.wait.found = true;
    conn = (struct resp_conn){.loop = &loop};
}

static void teardown(void)
{
    (void)close(loop.epoll);
    (void)close(loop.wake);
}

static int wait_once(int rest_ms)
{
    return resp_wait(&loop, events, MOST, rest_ms);
}

struct nap_case {
    uint64_t elapsed_ns, reads, active, nap_ns;
};

static const struct nap_case nap_cases[] = {
    {10 * MS, 0, 0, 0},          /* nobody */
    {10 * MS, 1, 1, 0},          /* one, alone */
    {10 * MS, 300, 1, 0},        /* one that asks and asks */
    {10 * MS, 1000, 8, 0},       /* a nap would be a part of their time */
    {10 * MS, 1000, 31, 0},      /* only just */
    {10 * MS, 1000, 32, 20000},  /* 320 us each, 2 in a nap */
    {10 * MS, 1000, 50, 31250},
    {10 * MS, 1000, 80, 50000},  /* never longer */
    {10 * MS, 1000, 1000, 50000},
    {10 * MS, 400, 400, 50000},  /* 2 in 50 us */
    {10 * MS, 399, 399, 0},
    {3600000 * MS, 1000, 50, 0}, /* behind a silence */
    {UINT64_C(1) << 57, 1000, 1000, 0},
};

START_TEST(a_nap_is_a_small_part_of_a_clients_time_and_gathers)
{
    for (size_t i = 0; i < sizeof(nap_cases) / sizeof(nap_cases[0]); i++) {
        const struct nap_case *c = &nap_cases[i];

        ck_assert_msg(resp_wait_nap_ns(c->elapsed_ns, c->reads, c->active) ==
                          c->nap_ns,
                      "case %zu", i);
    }
}
END_TEST

START_TEST(who_is_active_is_counted_once_in_a_window)
{
    struct resp_conn other = {.loop = &loop};

    for (unsigned i = 0; i < 3; i++) {
        resp_wait_note(&conn);
    }
    resp_wait_note(&other);
    ck_assert_uint_eq(loop.wait.reads, 4);
    ck_assert_uint_eq(loop.wait.active, 2);
    loop.now_ns += 9 * MS;
    ck_assert_int_eq(wait_once(0), 0);
    ck_assert_uint_eq(loop.wait.active, 2);
    loop.now_ns += MS;
    ck_assert_int_eq(wait_once(0), 0);
    ck_assert_uint_eq(loop.wait.reads, 0);
    ck_assert_uint_eq(loop.wait.active, 0);
    resp_wait_note(&conn);
    ck_assert_uint_eq(loop.wait.active, 1);
}
END_TEST

/* 500 clients, 5,000 reads in 10 ms. */
START_TEST(many_clients_let_it_nap)
{
    loop.wait.reads = 5000;
    loop.wait.active = 500;
    loop.now_ns += 10 * MS;
    (void)wait_once(0);
    ck_assert_uint_eq(loop.wait.nap_ns, loop.wait.naps ? 50000 : 0);
    loop.wait.found = true;
    loop.wait.nap_ns = 20 * MS; /* to be seen */
    const uint64_t before = kv_os_mono_ns();
    ck_assert_int_eq(wait_once(1), 0);
    ck_assert_uint_ge(kv_os_mono_ns() - before, 20 * MS);
}
END_TEST

START_TEST(what_is_there_is_found_at_once)
{
    ck_assert_int_eq(eventfd_write(loop.wake, 1), 0);
    loop.wait.nap_ns = 3600000 * MS; /* it would not end */
    ck_assert_int_eq(wait_once(3600000), 1);
    ck_assert_ptr_eq(events[0].data.ptr, &loop);
    ck_assert(loop.wait.found);
    loop.wait.found = false; /* WT1 */
    ck_assert_int_eq(wait_once(3600000), 1);
}
END_TEST

START_TEST(the_log_and_what_is_left_to_send_forbid_a_nap)
{
    loop.wait.nap_ns = 3600000 * MS;
    loop.waiting = true; /* WT2 */
    ck_assert_int_eq(wait_once(1), 0);
    loop.waiting = false;
    loop.wait.found = true;
    ck_assert_int_eq(wait_once(0), 0);
}
END_TEST

START_TEST(it_sleeps_when_there_was_nothing)
{
    loop.wait.found = false;
    loop.wait.worth = 16;
    loop.wait.nap_ns = 3600000 * MS;
    for (unsigned i = 0; i < 70; i++) {
        ck_assert_int_eq(wait_once(1), 0);
        ck_assert(!loop.wait.found);
    }
    ck_assert_uint_eq(loop.wait.worth, 16); /* it has not looked again */
    ck_assert_uint_eq(loop.wait.skipped, 0);
}
END_TEST

START_TEST(it_looks_again_as_long_as_that_is_worth_it)
{
    static const unsigned worths[] = {13, 10, 7, 7, 7};

    loop.wait.worth = 16;
    for (unsigned i = 0; i < 5; i++) {
        loop.wait.found = true;
        ck_assert_int_eq(wait_once(1), 0);
        ck_assert_uint_eq(loop.wait.worth, worths[i]);
    }
    ck_assert_uint_eq(loop.wait.skipped, 2);
    for (unsigned i = 0; i < 64; i++) { /* once in so many turns, all the same */
        loop.wait.found = true;
        ck_assert_int_eq(wait_once(1), 0);
    }
    ck_assert_uint_eq(loop.wait.worth, 4);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_nap_is_a_small_part_of_a_clients_time_and_gathers);
    tcase_add_test(tests, who_is_active_is_counted_once_in_a_window);
    tcase_add_test(tests, many_clients_let_it_nap);
    tcase_add_test(tests, what_is_there_is_found_at_once);
    tcase_add_test(tests, the_log_and_what_is_left_to_send_forbid_a_nap);
    tcase_add_test(tests, it_sleeps_when_there_was_nothing);
    tcase_add_test(tests, it_looks_again_as_long_as_that_is_worth_it);
}

int main(void)
{
    return unit_run("resp_wait", add);
}
