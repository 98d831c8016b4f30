/* test_http_prefer.c - what headers and parameters mean: tags, Prefer, times. */
#include <string.h>

#include "http/prefer.h"
#include "tests/lib/unit.h"

static kvsql_slice slice(const char *text)
{
    return (kvsql_slice){text, strlen(text)};
}

START_TEST(durations_are_a_number_and_a_unit)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"1ms", 1},      {"30s", 30000},     {"2m", 120000},
                {"1h", 3600000}, {"36500d", 3153600000000}};
    static const char *const bad[] = {
        "",    "s",     "0s",     "-1s",    "+1s",    "1.5s",
        "30",  "1 s",   "1S",     "1sec",   "36501d", "1y",
        "ms1", "9223372036854775807s", "99999999999999999999s"};
    int64_t ms;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_msg(http_duration(slice(good[i].text), &ms), "%s",
                      good[i].text);
        ck_assert_int_eq(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!http_duration(slice(bad[i]), &ms), "%s", bad[i]);
    ck_assert(!http_duration((kvsql_slice){"1s\0", 3}, &ms));
}
END_TEST

START_TEST(a_tag_is_one_of_the_list_and_not_a_part_of_one)
{
    static const char tag[] = "\"v7-ab\"";

    ck_assert(http_etag_in(slice("*"), tag, true));
    ck_assert(http_etag_in(slice("\"v7-ab\""), tag, true));
    ck_assert(http_etag_in(slice("\"x\" ,\t\"v7-ab\" "), tag, true));
    ck_assert(http_etag_in(slice(",, \"v7-ab\",,"), tag, true));
    ck_assert(!http_etag_in(slice("W/\"v7-ab\""), tag, true));
    ck_assert(http_etag_in(slice("W/\"v7-ab\""), tag, false));
    ck_assert(!http_etag_in(slice("v7-ab"), tag, false));
    ck_assert(!http_etag_in(slice("\"v7-abc\""), tag, false));
    ck_assert(!http_etag_in(slice("\"v17-ab\""), tag, false));
    ck_assert(!http_etag_in(slice("\"\"v7-ab\"\""), tag, false));
    ck_assert(!http_etag_in(slice(""), tag, false));
    ck_assert(!http_etag_in((kvsql_slice){NULL, 0}, tag, false));
}
END_TEST

START_TEST(prefer_is_a_list_of_words)
{
    static struct http_request request;
    struct http_prefer prefer;

    ck_assert(http_prefer_read(&request, &prefer));
    ck_assert_int_eq(prefer.result, HTTP_RETURN_DEFAULT);
    request.headers[HTTP_H_PREFER] =
        slice("handling=strict,Return=Previous , tx=rollback,max-affected=12");
    ck_assert(http_prefer_read(&request, &prefer));
    ck_assert_int_eq(prefer.result, HTTP_RETURN_PREVIOUS);
    ck_assert(prefer.dry && prefer.has_most);
    ck_assert_uint_eq(prefer.most, 12);
    request.headers[HTTP_H_PREFER] = slice("max-affected=");
    kv_buf_init(&request.answer.body, KV_MEM_CLIENT, 4096);
    request.tier = HTTP_TIER_COMMAND;
    ck_assert(!http_prefer_read(&request, &prefer));
    ck_assert_uint_eq(request.answer.status, 400);
    kv_buf_fini(&request.answer.body);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, durations_are_a_number_and_a_unit);
    tcase_add_test(tests, a_tag_is_one_of_the_list_and_not_a_part_of_one);
    tcase_add_test(tests, prefer_is_a_list_of_words);
}

int main(void)
{
    return unit_run("http_prefer", add);
}
