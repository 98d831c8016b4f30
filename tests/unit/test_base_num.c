/* test_base_num.c - numbers in and out at their edges. */
#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/base/num.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

static bool int_of(const char *text, int64_t *out)
{
    return kv_num_int(text, strlen(text), out);
}

START_TEST(canonical_integers_are_read_up_to_both_ends)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"7", 7},
        {"-1", -1},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char text[KV_INT_TEXT_MAX];
        int64_t got = 99;

        ck_assert_msg(int_of(good[i].text, &got), "%s", good[i].text);
        ck_assert_int_eq(got, good[i].value);
        ck_assert_uint_eq(kv_num_format_int(text, got), strlen(good[i].text));
        ck_assert_str_eq(text, good[i].text);
    }
}
END_TEST

START_TEST(integers_of_every_length_are_written_and_read_back)
{
    for (int64_t power = 1;; power *= 10) {
        for (int64_t value = power - 2; value <= power + 2; value++) {
            for (int sign = -1; sign <= 1; sign += 2) {
                char text[KV_INT_TEXT_MAX], expected[32];
                int64_t got = 99;
                const int size = snprintf(expected, sizeof(expected), "%lld",
                                          (long long)(sign * value));

                ck_assert_int_eq(kv_num_format_int(text, sign * value), size);
                ck_assert_str_eq(text, expected);
                ck_assert(int_of(text, &got));
                ck_assert_int_eq(got, sign * value);
            }
        }
        if (power > INT64_MAX / 10)
            break;
    }
}
END_TEST

START_TEST(other_forms_of_integers_are_refused)
{
    static const char *const bad[] = {
        "", "-", "-0", "+7", "007", "00", "-01", " 1", "1 ", "1.0", "1e3",
        "0x10", "9223372036854775808", "-9223372036854775809",
        "18446744073709551616", "99999999999999999999999", "--1", "1-", "a",
    };
    int64_t got = 99;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!int_of(bad[i], &got), "%s", bad[i]);
    ck_assert(!kv_num_int("1\0", 2, &got));
    ck_assert_int_eq(got, 99);
}
END_TEST

START_TEST(unsigned_integers_reach_their_end)
{
    uint64_t got = 0;

    ck_assert(kv_num_uint("18446744073709551615", 20, &got));
    ck_assert(got == UINT64_MAX);
    ck_assert(!kv_num_uint("18446744073709551616", 20, &got));
    ck_assert(!kv_num_uint("-1", 2, &got));
    ck_assert(!kv_num_uint("", 0, &got));
}
END_TEST

START_TEST(doubles_are_read_in_the_forms_that_are_meant)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"1", 1},
        {"-1.5", -1.5},
        {"+3", 3},
        {".5", 0.5},
        {"5.", 5},
        {"1e3", 1000},
        {"1E-3", 0.001},
        {"inf", INFINITY},
        {"+inf", INFINITY},
        {"-Infinity", -INFINITY},
        {"1.7976931348623157e308", DBL_MAX},
        {"4.9406564584124654e-324", 4.9406564584124654e-324},
        {"0e999999", 0},
    };
    static const char *const bad[] = {
        "", " 1", "1 ", "nan", "-nan", "NaN", "0x1p3", "0x10", "1e400",
        "-1e400", "1e-400", "1,5", "1.5.5", "e5", "--1", "+-1", "in", "infi",
        "infinityy", "1e", "1\n", "nan(1)",
    };
    double got = 0;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(kv_num_double(good[i].text, strlen(good[i].text), &got),
                      "%s", good[i].text);
        ck_assert_msg(got == good[i].value, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!kv_num_double(bad[i], strlen(bad[i]), &got), "%s",
                      bad[i]);
    ck_assert(!kv_num_double("1\0", 2, &got));
}
END_TEST

START_TEST(short_decimals_are_the_nearest_doubles)
{
    static const char *const bad[] = {".", "-.", "-", "+", "1..2", "-1-2"};
    char text[32];
    double got = 0;

    for (uint64_t i = 0; i < 20000; i++) {
        const uint64_t mixed = i * UINT64_C(0x9E3779B97F4A7C15) >> 14;
        const int size = snprintf(text, sizeof(text), "%s%llu",
                                  i % 3 == 0 ? "-" : "",
                                  (unsigned long long)(mixed >> i % 50));

        if (i % 5 != 0) { /* a point before one of the digits, or behind */
            const int at = size - (int)(i % (uint64_t)size);

            memmove(text + at + 1, text + at, (size_t)(size - at) + 1);
            text[at] = '.';
        }
        ck_assert_msg(kv_num_double(text, strlen(text), &got), "%s", text);
        ck_assert_msg(got == strtod(text, NULL), "%s", text);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!kv_num_double(bad[i], strlen(bad[i]), &got), "%s",
                      bad[i]);
    ck_assert(kv_num_double("-0", 2, &got) && signbit(got));
}
END_TEST

START_TEST(a_number_of_512_bytes_is_read_and_a_longer_one_refused)
{
    char text[513];
    double got = 0;

    memset(text, '0', sizeof(text));
    text[0] = '1';
    text[1] = '.';
    ck_assert(kv_num_double(text, 512, &got));
    ck_assert(got == 1.0);
    ck_assert(!kv_num_double(text, 513, &got));
}
END_TEST

START_TEST(doubles_are_written_short_and_whole_numbers_plainly)
{
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {3, "3"},
        {-17, "-17"},
        {0, "0"},
        {-0.0, "-0"},
        {99999999999999984.0, "99999999999999984"},
        {1e17, "1e+17"},
        {1e300, "1e+300"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[KV_DOUBLE_TEXT_MAX];

        ck_assert_uint_eq(kv_num_format_double(text, rows[i].value),
                          strlen(rows[i].text));
        ck_assert_str_eq(text, rows[i].text);
    }
}
END_TEST

START_TEST(any_double_reads_back_as_itself)
{
    struct rand_state r = rand_of(rand_seed("num", 1));

    for (int i = 0; i < 20000; i++) {
        const uint64_t bits = rand_next(&r);
        char text[KV_DOUBLE_TEXT_MAX];
        double value, again = 0;

        memcpy(&value, &bits, sizeof(value));
        if (isnan(value))
            continue;
        const size_t size = kv_num_format_double(text, value);
        ck_assert_msg(kv_num_double(text, size, &again), "%s", text);
        ck_assert_mem_eq(&value, &again, sizeof(value));
    }
}
END_TEST

START_TEST(the_locale_of_the_process_changes_nothing)
{
    char text[KV_DOUBLE_TEXT_MAX];
    double got = 0;

    /* A locale with a comma, where there is one; the answers are the same. */
    (void)(setlocale(LC_ALL, "de_DE.UTF-8") || setlocale(LC_ALL, ""));
    (void)kv_num_format_double(text, 1.5);
    ck_assert_str_eq(text, "1.5");
    ck_assert(kv_num_double("1.5", 3, &got));
    ck_assert(got == 1.5);
}
END_TEST

START_TEST(sizes_and_times_take_their_units)
{
    uint64_t got = 0;

    ck_assert(kv_num_size("100", &got) && got == 100);
    ck_assert(kv_num_size("512k", &got) && got == 512000);
    ck_assert(kv_num_size("64mb", &got) && got == 64u << 20);
    ck_assert(kv_num_size("1GB", &got) && got == 1u << 30);
    ck_assert(kv_num_size("2g", &got) && got == 2000000000u);
    ck_assert(!kv_num_size("", &got));
    ck_assert(!kv_num_size("mb", &got));
    ck_assert(!kv_num_size("1tb", &got));
    ck_assert(!kv_num_size("-1", &got));
    ck_assert(!kv_num_size("1 mb", &got));
    ck_assert(!kv_num_size("18446744073709551615kb", &got));
    ck_assert(kv_num_duration("250ms", 1, &got) && got == 250);
    ck_assert(kv_num_duration("3", 1000, &got) && got == 3000);
    ck_assert(kv_num_duration("2m", 1, &got) && got == 120000);
    ck_assert(kv_num_duration("1h", 1, &got) && got == 3600000);
    ck_assert(kv_num_duration("7d", 1, &got) && got == 604800000);
    ck_assert(!kv_num_duration("7w", 1, &got));
    ck_assert(!kv_num_duration("18446744073709551615", 1000, &got));
}
END_TEST

START_TEST(varints_go_round_at_every_length)
{
    for (unsigned bits = 0; bits <= 64; bits++)
        for (int d = -1; d <= 1; d++) {
            const uint64_t value =
                (bits == 64 ? 0 : 1ull << bits) + (uint64_t)(int64_t)d;
            uint8_t bytes[10];
            uint64_t got = 0;
            const size_t size = kv_varint_put(bytes, value);

            ck_assert_uint_eq(size, kv_varint_size(value));
            ck_assert_uint_eq(kv_varint_get(bytes, bytes + size, &got), size);
            ck_assert(got == value);
            for (size_t n = 0; n < size; n++)
                ck_assert_uint_eq(kv_varint_get(bytes, bytes + n, &got), 0);
        }
}
END_TEST

START_TEST(varints_that_are_too_long_are_refused)
{
    static const uint8_t padded[] = {0x81, 0x00};
    static const uint8_t wide[] = {0xff, 0xff, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                      0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
    uint64_t got = 0;

    ck_assert_uint_eq(kv_varint_get(padded, padded + 2, &got), 0);
    ck_assert_uint_eq(kv_varint_get(wide, wide + 10, &got), 0);
    ck_assert_uint_eq(kv_varint_get(endless, endless + 12, &got), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, canonical_integers_are_read_up_to_both_ends);
    tcase_add_test(tests, integers_of_every_length_are_written_and_read_back);
    tcase_add_test(tests, other_forms_of_integers_are_refused);
    tcase_add_test(tests, unsigned_integers_reach_their_end);
    tcase_add_test(tests, doubles_are_read_in_the_forms_that_are_meant);
    tcase_add_test(tests,
                   a_number_of_512_bytes_is_read_and_a_longer_one_refused);
    tcase_add_test(tests, short_decimals_are_the_nearest_doubles);
    tcase_add_test(tests, doubles_are_written_short_and_whole_numbers_plainly);
    tcase_add_test(tests, any_double_reads_back_as_itself);
    tcase_add_test(tests, the_locale_of_the_process_changes_nothing);
    tcase_add_test(tests, sizes_and_times_take_their_units);
    tcase_add_test(tests, varints_go_round_at_every_length);
    tcase_add_test(tests, varints_that_are_too_long_are_refused);
}

int main(void)
{
    return unit_run("base_num", add);
}
