/* test_listen.c - the addresses of a door: several, optional ones, all of them,
 * one port, and what is said of those that cannot be had. */
#include "kvsql/base/listen.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/unit.h"

static struct kvsql_error err;
static struct kv_listeners door;

static void setup(void)
{
    door = (struct kv_listeners){.door = "door",
                                 .option = "door-port",
                                 .secret = "word",
                                 .secret_option = "word-file"};
}

static void teardown(void)
{
    kv_listen_close(&door);
}

static kvsql_rc bind_to(const char *addresses, uint16_t port, bool secret)
{
    return kv_listen(&door, addresses, port, secret, &err);
}

/* Can somebody come in? */
static bool answers(const char *address, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(inet_pton(AF_INET, address, &to.sin_addr), 1);
    const bool good =
        connect(fd, (const struct sockaddr *)&to, sizeof to) == 0;
    (void)close(fd);
    return good;
}

static bool has_v6(void)
{
    struct kv_listeners other = {.door = "other"};
    const kvsql_rc rc = kv_listen(&other, "::1", 0, false, &err);

    kv_listen_close(&other);
    return rc == KVSQL_OK;
}

START_TEST(each_address_is_listened_on_with_one_port)
{
    ck_assert_int_eq(bind_to("  127.0.0.1 127.0.0.2\t127.0.0.3 ", 0, false),
                     KVSQL_OK);
    ck_assert_uint_eq(door.count, 3);
    ck_assert_str_eq(door.at[1].address, "127.0.0.2");
    ck_assert_uint_ne(door.port, 0);
    for (unsigned i = 0; i < door.count; i++)
        ck_assert(answers(door.at[i].address, door.port));
    ck_assert(!answers("127.0.0.4", door.port));
    ck_assert(!kv_listen_exposed(&door));
    ck_assert_str_eq(kv_listen_local(&door), "127.0.0.1");
}
END_TEST

START_TEST(both_families_share_the_port)
{
    if (!has_v6())
        return; /* then there is nothing to be shared */
    ck_assert_int_eq(bind_to("127.0.0.1 -::1", 0, false), KVSQL_OK);
    ck_assert_uint_eq(door.count, 2);
    ck_assert_str_eq(door.at[1].address, "[::1]");
    kv_listen_close(&door);
    ck_assert_int_eq(bind_to("* ::*", 0, true), KVSQL_OK);
    ck_assert(door.at[0].wildcard && door.at[1].wildcard);
    ck_assert(kv_listen_exposed(&door));
    ck_assert_str_eq(kv_listen_local(&door), "127.0.0.1");
    kv_listen_close(&door);
    ck_assert_int_eq(bind_to("::", 0, true), KVSQL_OK);
    ck_assert_str_eq(kv_listen_local(&door), "[::1]");
}
END_TEST

START_TEST(a_star_is_every_address_of_ipv4)
{
    ck_assert_int_eq(bind_to("*", 0, true), KVSQL_OK);
    ck_assert_str_eq(door.at[0].address, "0.0.0.0");
    ck_assert(answers("127.0.0.1", door.port));
    ck_assert(answers("127.0.0.9", door.port));
}
END_TEST

START_TEST(only_optional_addresses_may_be_missing)
{
    ck_assert_int_eq(bind_to("-192.0.2.1 127.0.0.2", 0, true), KVSQL_OK);
    ck_assert_uint_eq(door.count, 1);
    ck_assert_str_eq(kv_listen_local(&door), "127.0.0.2");
    kv_listen_close(&door);
    ck_assert_int_eq(bind_to("127.0.0.1 192.0.2.1", 0, true), KVSQL_IO);
    ck_assert_str_eq(
        err.text,
        "door: 192.0.2.1 is no address of this machine; see ip addr");
    ck_assert_uint_eq(door.count, 0);
    ck_assert_int_eq(bind_to("-192.0.2.1", 0, true), KVSQL_IO); /* none left */
    ck_assert_ptr_nonnull(strstr(err.text, "192.0.2.1 is no address"));
}
END_TEST

START_TEST(a_port_that_is_taken_is_told_with_the_address)
{
    struct kv_listeners other = {.door = "other", .option = "other-port"};

    ck_assert_int_eq(bind_to("127.0.0.2", 0, false), KVSQL_OK);
    ck_assert_int_eq(
        kv_listen(&other, "127.0.0.1 127.0.0.2", door.port, false, &err),
        KVSQL_IO);
    ck_assert_ptr_nonnull(strstr(err.text, " on 127.0.0.2 is in use by "));
    ck_assert_ptr_nonnull(strstr(err.text, "--other-port"));
    ck_assert(!answers("127.0.0.1", door.port)); /* nothing is left open */
}
END_TEST

START_TEST(no_address_and_no_secret_are_refused)
{
    static const char *const wrong[] = {
        "", "  ", "-", "example.org", "127.0.0.1 1.2.3", "*:*",
        "1111111111111111111111111111111111111111111111111111111111111111111"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_int_eq(bind_to(wrong[i], 0, true), KVSQL_INVALID);
    ck_assert_int_eq(bind_to("", 0, true), KVSQL_INVALID);
    ck_assert_str_eq(err.text, "door: bind has no address");
    ck_assert_int_eq(bind_to("127.0.0.1 -192.0.2.1", 0, false),
                     KVSQL_INVALID); /* X1, whether it is here or not */
    ck_assert_str_eq(err.text,
                     "door: will not listen on 192.0.2.1 without a word: set "
                     "word-file, or bind to 127.0.0.1");
    ck_assert_int_eq(bind_to("127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4 "
                             "127.0.0.5 127.0.0.6 127.0.0.7 127.0.0.8 "
                             "127.0.0.9 127.0.1.1 127.0.1.2 127.0.1.3 "
                             "127.0.1.4 127.0.1.5 127.0.1.6 127.0.1.7 "
                             "127.0.1.8",
                             0, false),
                     KVSQL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "more than 16 addresses"));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, each_address_is_listened_on_with_one_port);
    tcase_add_test(tests, both_families_share_the_port);
    tcase_add_test(tests, a_star_is_every_address_of_ipv4);
    tcase_add_test(tests, only_optional_addresses_may_be_missing);
    tcase_add_test(tests, a_port_that_is_taken_is_told_with_the_address);
    tcase_add_test(tests, no_address_and_no_secret_are_refused);
}

int main(void)
{
    return unit_run("listen", add_tests);
}
