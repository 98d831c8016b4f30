/* test_base_text.c - classes, globs, escaping, base64, near names. */
#include <string.h>
#include <strings.h>

#include "kvsql/base/mem.h"
#include "kvsql/base/text.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define SLICE(s) (s), sizeof(s) - 1

START_TEST(text_is_strict_utf8_without_nul)
{
    static const struct {
        const char *p;
        size_t size;
        enum kv_class cls;
    } rows[] = {
        {SLICE(""), KV_TEXT},
        {SLICE("plain"), KV_TEXT},
        {SLICE("a longer key than eight bytes"), KV_TEXT},
        {SLICE("\x01\x7f"), KV_TEXT},
        {SLICE("a\0b"), KV_BLOB},
        {SLICE("01234567\0"), KV_BLOB},
        {SLICE("0123\0""567"), KV_BLOB},
        {SLICE("\xc2\x80"), KV_TEXT},             /* U+0080 */
        {SLICE("\xdf\xbf"), KV_TEXT},             /* U+07FF */
        {SLICE("\xe0\xa0\x80"), KV_TEXT},         /* U+0800 */
        {SLICE("\xed\x9f\xbf"), KV_TEXT},         /* U+D7FF */
        {SLICE("\xee\x80\x80"), KV_TEXT},         /* U+E000 */
        {SLICE("\xef\xbf\xbf"), KV_TEXT},         /* U+FFFF */
        {SLICE("\xf0\x90\x80\x80"), KV_TEXT},     /* U+10000 */
        {SLICE("\xf4\x8f\xbf\xbf"), KV_TEXT},     /* U+10FFFF */
        {SLICE("\x80"), KV_BLOB},                 /* lone continuation */
        {SLICE("\xc0\x80"), KV_BLOB},             /* overlong NUL */
        {SLICE("\xc1\xbf"), KV_BLOB},             /* overlong */
        {SLICE("\xe0\x9f\xbf"), KV_BLOB},         /* overlong */
        {SLICE("\xf0\x8f\xbf\xbf"), KV_BLOB},     /* overlong */
        {SLICE("\xed\xa0\x80"), KV_BLOB},         /* surrogate */
        {SLICE("\xed\xbf\xbf"), KV_BLOB},         /* surrogate */
        {SLICE("\xf4\x90\x80\x80"), KV_BLOB},     /* above U+10FFFF */
        {SLICE("\xf5\x80\x80\x80"), KV_BLOB},
        {SLICE("\xff"), KV_BLOB},
        {SLICE("\xe2\x82"), KV_BLOB},             /* cut short */
        {SLICE("\xe2\x82\x41"), KV_BLOB},
        {SLICE("abcdefg\xc3\xa9 hij"), KV_TEXT},  /* across eight bytes */
        {SLICE("abcdefg\xc3"), KV_BLOB},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        ck_assert_msg(kv_class_of(rows[i].p, rows[i].size) == rows[i].cls,
                      "row %zu", i);
}
END_TEST

START_TEST(the_class_of_random_bytes_agrees_with_the_prefix)
{
    struct rand_state r = rand_of(rand_seed("text", 2));

    for (int i = 0; i < 50000; i++) {
        static const uint8_t bytes[] = {0,    'a',  0x7f, 0x80, 0xbf, 0xc3,
                                        0xe2, 0xed, 0xf0, 0xf4, 0x90, 'b'};
        uint8_t text[20];
        const size_t size = rand_below(&r, sizeof(text) + 1);

        for (size_t n = 0; n < size; n++)
            text[n] = rand_one_in(&r, 4)
                          ? bytes[rand_below(&r, sizeof(bytes))]
                          : (uint8_t)rand_between(&r, 'a', 'z');
        const bool text_class = kv_utf8_prefix(text, size) == size &&
                                memchr(text, 0, size) == NULL;
        ck_assert_int_eq(kv_class_of(text, size), text_class ? KV_TEXT : KV_BLOB);
    }
}
END_TEST

START_TEST(the_utf8_prefix_ends_before_the_first_bad_byte)
{
    ck_assert_uint_eq(kv_utf8_prefix("ab\xff", 3), 2);
    ck_assert_uint_eq(kv_utf8_prefix("a\0b", 3), 3);
    ck_assert_uint_eq(kv_utf8_prefix("\xe2\x82\xac\xe2\x82", 5), 3);
    ck_assert_uint_eq(kv_utf8_prefix("", 0), 0);
}
END_TEST

static bool glob(const char *pattern, const char *text, bool fold)
{
    return kv_glob_match((const uint8_t *)pattern, strlen(pattern),
                         (const uint8_t *)text, strlen(text), fold);
}

/* Each row was also asked of redis-server 7.0.15 by KEYS. */
START_TEST(globs_match_as_redis_matches)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } rows[] = {
        {"*", "", true},           {"", "", true},
        {"", "a", false},          {"*", "anything", true},
        {"a*c", "abbbc", true},    {"a*c", "abbbcd", false},
        {"a**c", "ac", true},      {"h?llo", "hello", true},
        {"h?llo", "hllo", false},  {"h[ae]llo", "hallo", true},
        {"h[ae]llo", "hillo", false}, {"h[^e]llo", "hallo", true},
        {"h[^e]llo", "hello", false}, {"h[a-b]llo", "hbllo", true},
        {"h[b-a]llo", "hallo", true}, {"h[a-b]llo", "hcllo", false},
        {"a\\*", "a*", true},      {"a\\*", "ab", false},
        {"a[\\]]", "a]", true},    {"a[]b", "ab", false},
        {"[abc", "b", true},       {"[abc", "d", false},
        {"[^]x", "zx", true},      {"a\\", "a\\", true},
        {"[a-", "-", true},        {"[a-]", "a", true},
        {"*a*b*c*", "xxaxxbxxcxx", true}, {"*a*b*c*", "xxaxxcxxbxx", false},
        {"?", "", false},          {"[", "[", false},
        {"a?*", "a", false},       {"a*?", "ab", true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        ck_assert_msg(glob(rows[i].pattern, rows[i].text, false) ==
                          rows[i].match,
                      "%s against %s", rows[i].pattern, rows[i].text);
    ck_assert(glob("HeL[L-M]o", "hello", true));
    ck_assert(!glob("HeLLo", "hello", false));
}
END_TEST

START_TEST(a_pattern_of_100000_stars_takes_no_time)
{
    enum { STARS = 100000 };
    char *pattern = malloc(2 * STARS + 1);
    char text[1001];

    ck_assert_ptr_nonnull(pattern);
    memset(pattern, '*', STARS);
    memset(text, 'a', sizeof(text));
    ck_assert(kv_glob_match((uint8_t *)pattern, STARS, (uint8_t *)text, 1000,
                            false));
    pattern[STARS] = 'b';
    ck_assert(!kv_glob_match((uint8_t *)pattern, STARS + 1, (uint8_t *)text,
                             1000, false));
    for (int i = 0; i < STARS; i++)
        memcpy(pattern + 2 * i, "*a", 2);
    ck_assert(!kv_glob_match((uint8_t *)pattern, 2 * STARS, (uint8_t *)text,
                             1000, false));
    free(pattern);
}
END_TEST

START_TEST(the_literal_prefix_of_a_pattern_is_found)
{
    static const struct {
        const char *pattern, *prefix;
        bool exact;
    } rows[] = {
        {"user:*", "user:", false}, {"user", "user", true},
        {"a\\*b", "a*b", true},     {"a\\*b?", "a*b", false},
        {"[ab]", "", false},        {"", "", true},
        {"a\\", "a\\", true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t out[32];
        bool exact = !rows[i].exact;
        const size_t n =
            kv_glob_prefix((const uint8_t *)rows[i].pattern,
                           strlen(rows[i].pattern), out, sizeof(out), &exact);

        ck_assert_uint_eq(n, strlen(rows[i].prefix));
        ck_assert_mem_eq(out, rows[i].prefix, n);
        ck_assert(exact == rows[i].exact);
    }
    uint8_t two[2];
    bool exact = true;
    ck_assert_uint_eq(kv_glob_prefix((const uint8_t *)"abc", 3, two, 2, &exact),
                      2);
    ck_assert(!exact);
}
END_TEST

static void expect(struct kv_buf *buf, const char *text)
{
    ck_assert(!buf->failed);
    ck_assert_uint_eq(buf->size, strlen(text));
    if (buf->size > 0)
        ck_assert_mem_eq(buf->p, text, buf->size);
    kv_buf_reset(buf, 0);
}

START_TEST(bytes_are_shown_without_harm)
{
    struct kv_buf buf;
    char out[8];

    kv_buf_init(&buf, KV_MEM_MISC, 1000);
    kv_text_escape(&buf, SLICE("a\n\xff\\b\0"), 100);
    expect(&buf, "a\\x0a\\xff\\x5cb\\x00");
    kv_text_escape(&buf, SLICE("abcdef"), 3);
    expect(&buf, "abc...");
    ck_assert_str_eq(kv_text_show(out, sizeof(out), SLICE("abc")), "abc");
    ck_assert_str_eq(kv_text_show(out, sizeof(out), SLICE("abcdefg")),
                     "abcdefg");
    ck_assert_str_eq(kv_text_show(out, sizeof(out), SLICE("abcdefgh")),
                     "abcd...");
    ck_assert_str_eq(kv_text_show(out, sizeof(out), SLICE("\n\n")), "\\x0a...");
    kv_buf_fini(&buf);
}
END_TEST

START_TEST(base64_is_that_of_the_rfc)
{
    static const char *const rows[][2] = {
        {"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},
        {"foo", "Zm9v"},  {"foob", "Zm9vYg=="},  {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    struct kv_buf buf;

    kv_buf_init(&buf, KV_MEM_MISC, 1000);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kv_base64_encode(&buf, rows[i][0], strlen(rows[i][0]));
        expect(&buf, rows[i][1]);
        ck_assert(kv_base64_decode(&buf, rows[i][1], strlen(rows[i][1])));
        expect(&buf, rows[i][0]);
    }
    kv_base64_encode(&buf, "\xfb\xff\xfe", 3);
    expect(&buf, "+//+");
    kv_buf_fini(&buf);
}
END_TEST

START_TEST(base64_that_is_not_canonical_is_refused)
{
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zg==Zg==", "Zh==", "Zm9=", "Zg=a", "====",
        "=g==", "Z===", "Zm 9", "Zm9\n", "Zm9-", "Zm9_", "Zm9vZ===",
    };
    struct kv_buf buf;

    kv_buf_init(&buf, KV_MEM_MISC, 1000);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!kv_base64_decode(&buf, bad[i], strlen(bad[i])), "%s",
                      bad[i]);
    kv_buf_fini(&buf);
}
END_TEST

START_TEST(a_near_name_is_found_and_a_far_one_is_not)
{
    static const char *const names[] = {"serve", "snapshot", "import", NULL};
    char word[200];

    ck_assert_int_eq(kv_text_nearest("sevre", names), 0);
    ck_assert_int_eq(kv_text_nearest("SNAPSHT", names), 1);
    ck_assert_int_eq(kv_text_nearest("imprt", names), 2);
    ck_assert_int_eq(kv_text_nearest("help", names), -1);
    ck_assert_int_eq(kv_text_nearest("", names), -1);
    memset(word, 's', sizeof(word) - 1);
    word[sizeof(word) - 1] = 0;
    ck_assert_int_eq(kv_text_nearest(word, names), -1);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, text_is_strict_utf8_without_nul);
    tcase_add_test(tests, the_class_of_random_bytes_agrees_with_the_prefix);
    tcase_add_test(tests, the_utf8_prefix_ends_before_the_first_bad_byte);
    tcase_add_test(tests, globs_match_as_redis_matches);
    tcase_add_test(tests, a_pattern_of_100000_stars_takes_no_time);
    tcase_add_test(tests, the_literal_prefix_of_a_pattern_is_found);
    tcase_add_test(tests, bytes_are_shown_without_harm);
    tcase_add_test(tests, base64_is_that_of_the_rfc);
    tcase_add_test(tests, base64_that_is_not_canonical_is_refused);
    tcase_add_test(tests, a_near_name_is_found_and_a_far_one_is_not);
}

int main(void)
{
    return unit_run("base_text", add);
}
