/* test_json.c - the JSON lexer and writers of the HTTP door. */
#include <math.h>
#include <string.h>

#include "http/json.h"
#include "tests/lib/unit.h"

#define SLICE(s) (s), sizeof(s) - 1

static struct kvsql_error err;

/* Parse a copy; the copy is the caller's to free. */
static kvsql_rc parse(struct http_json *json, const char *text, size_t size,
                      uint8_t **copy)
{
    *copy = malloc(size + 1); /* exact size: sanitizers see what is over */
    ck_assert_ptr_nonnull(*copy);
    memcpy(*copy, text, size);
    return http_json_parse(json, *copy, size, &err);
}

START_TEST(what_rfc_8259_allows_is_read_and_the_rest_is_refused)
{
    static const struct {
        const char *p;
        size_t size;
        kvsql_rc rc;
    } rows[] = {
        {SLICE("null"), KVSQL_OK},
        {SLICE(" \t\r\n true \n"), KVSQL_OK},
        {SLICE("[]"), KVSQL_OK},
        {SLICE("{}"), KVSQL_OK},
        {SLICE("[1,-0,0.5,1e9,1E-9,1.5e+3]"), KVSQL_OK},
        {SLICE("{\"a\":{\"b\":[{},[]]},\"a\":1}"), KVSQL_OK},
        {SLICE("\"\\u0000\\ud83d\\ude00\\/\""), KVSQL_OK},
        {SLICE(""), KVSQL_SYNTAX},
        {SLICE("  "), KVSQL_SYNTAX},
        {SLICE("nul"), KVSQL_SYNTAX},
        {SLICE("True"), KVSQL_SYNTAX},
        {SLICE("NaN"), KVSQL_SYNTAX},
        {SLICE("Infinity"), KVSQL_SYNTAX},
        {SLICE("01"), KVSQL_SYNTAX},
        {SLICE("-"), KVSQL_SYNTAX},
        {SLICE("+1"), KVSQL_SYNTAX},
        {SLICE("1."), KVSQL_SYNTAX},
        {SLICE(".5"), KVSQL_SYNTAX},
        {SLICE("1e"), KVSQL_SYNTAX},
        {SLICE("1e+"), KVSQL_SYNTAX},
        {SLICE("0x10"), KVSQL_SYNTAX},
        {SLICE("1 x"), KVSQL_SYNTAX},
        {SLICE("[1,]"), KVSQL_SYNTAX},
        {SLICE("[,1]"), KVSQL_SYNTAX},
        {SLICE("[1 2]"), KVSQL_SYNTAX},
        {SLICE("[1"), KVSQL_SYNTAX},
        {SLICE("[1}"), KVSQL_SYNTAX},
        {SLICE("]"), KVSQL_SYNTAX},
        {SLICE("{1:2}"), KVSQL_SYNTAX},
        {SLICE("{\"a\"}"), KVSQL_SYNTAX},
        {SLICE("{\"a\":}"), KVSQL_SYNTAX},
        {SLICE("{\"a\":1,}"), KVSQL_SYNTAX},
        {SLICE("{\"a\" 1}"), KVSQL_SYNTAX},
        {SLICE("\"abc"), KVSQL_SYNTAX},
        {SLICE("\"a\\"), KVSQL_SYNTAX},
        {SLICE("\"\\x41\""), KVSQL_SYNTAX},
        {SLICE("\"\\u12\""), KVSQL_SYNTAX},
        {SLICE("\"\\u12g4\""), KVSQL_SYNTAX},
        {SLICE("\"\\ud800\""), KVSQL_SYNTAX},
        {SLICE("\"\\udc00\""), KVSQL_SYNTAX},
        {SLICE("\"\\ud800\\u0041\""), KVSQL_SYNTAX},
        {SLICE("\"a\nb\""), KVSQL_SYNTAX},
        {SLICE("\"a\0b\""), KVSQL_SYNTAX},
        {SLICE("\"\xff\""), KVSQL_SYNTAX},
        {SLICE("\"\xc0\x80\""), KVSQL_SYNTAX},
        {SLICE("\"\xed\xa0\x80\""), KVSQL_SYNTAX},
        {SLICE("\xef\xbb\xbf[]"), KVSQL_SYNTAX},
        {SLICE("[]\0"), KVSQL_SYNTAX},
        {SLICE("'a'"), KVSQL_SYNTAX},
        {SLICE("[1]/**/"), KVSQL_SYNTAX},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_json json;
        uint8_t *copy;
        kvsql_rc rc = parse(&json, rows[i].p, rows[i].size, &copy);
        ck_assert_msg(rc == rows[i].rc, "row %zu: %s: %d, not %d", i,
                      rows[i].p, rc, rows[i].rc);
        http_json_fini(&json);
        free(copy);
    }
}
END_TEST

START_TEST(strings_are_decoded_exactly_and_numbers_keep_their_text)
{
    static const char text[] =
        "[\"a\\u0000b\\n\\u00e9\\ud83d\\ude00\\\"\",9007199254740993,1e21,10.0]";
    static const char first[] = "a\0b\n\xc3\xa9\xf0\x9f\x98\x80\"";
    static const char *const numbers[] = {"9007199254740993", "1e21", "10.0"};
    struct http_json json;
    uint8_t *copy;

    ck_assert_int_eq(parse(&json, SLICE(text), &copy), KVSQL_OK);
    ck_assert_uint_eq(json.tokens[0].count, 4);
    ck_assert_uint_eq(json.tokens[0].next, 5);
    ck_assert_uint_eq(json.tokens[1].size, sizeof first - 1);
    ck_assert_mem_eq(json.tokens[1].p, first, sizeof first - 1);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(json.tokens[2 + i].kind, HTTP_JSON_NUMBER);
        ck_assert_uint_eq(json.tokens[2 + i].size, strlen(numbers[i]));
        ck_assert_mem_eq(json.tokens[2 + i].p, numbers[i],
                         strlen(numbers[i]));
    }
    http_json_fini(&json);
    free(copy);
}
END_TEST

START_TEST(depth_and_count_have_limits)
{
    char deep[2 * (HTTP_JSON_DEPTH_MAX + 1)];
    size_t size = 2 * (size_t)HTTP_JSON_TOKENS_MAX + 1;
    char *wide = malloc(size);
    struct http_json json;
    uint8_t *copy;

    for (unsigned depth = HTTP_JSON_DEPTH_MAX; depth < 66; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        kvsql_rc rc = parse(&json, deep, 2 * depth, &copy);
        ck_assert_int_eq(rc, depth > HTTP_JSON_DEPTH_MAX ? KVSQL_TOOBIG
                                                         : KVSQL_OK);
        http_json_fini(&json);
        free(copy);
    }
    for (size_t i = 0; i < size; i++)
        wide[i] = i % 2 ? '0' : ',';
    wide[0] = '[';
    wide[size - 1] = ']';
    ck_assert_int_eq(parse(&json, wide, size, &copy), KVSQL_TOOBIG);
    free(copy);
    free(wide);
}
END_TEST

START_TEST(members_are_found_by_exact_name_and_strangers_are_named)
{
    static const char *const names[] = {"sql", "params", NULL};
    struct http_json json;
    uint8_t *copy;

    ck_assert_int_eq(
        parse(&json, SLICE("{\"params\":[[1],{}],\"sql\":\"x\"}"), &copy),
        KVSQL_OK);
    ck_assert_uint_eq(http_json_find(&json, 0, "Sql"), 0);
    uint32_t at = http_json_find(&json, 0, "sql");
    ck_assert_uint_ne(at, 0);
    ck_assert_mem_eq(json.tokens[at].p, "x", 1);
    ck_assert_int_eq(http_json_only(&json, 0, names, &err), KVSQL_OK);
    http_json_fini(&json);
    free(copy);

    ck_assert_int_eq(parse(&json, SLICE("{\"sql\":1,\"Sql\":2}"), &copy),
                     KVSQL_OK);
    ck_assert_int_eq(http_json_only(&json, 0, names, &err), KVSQL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "Sql"));
    http_json_fini(&json);
    free(copy);

    ck_assert_int_eq(parse(&json, SLICE("{\"sql\":1,\"sql\":2}"), &copy),
                     KVSQL_OK);
    ck_assert_int_eq(http_json_only(&json, 0, names, &err), KVSQL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "twice"));
    http_json_fini(&json);
    free(copy);
}
END_TEST

static void check_string(const char *p, size_t size, const char *want)
{
    struct kv_buf out;

    kv_buf_init(&out, KV_MEM_CLIENT, 1000);
    http_json_string(&out, p, size);
    ck_assert_uint_eq(out.size, strlen(want));
    ck_assert_mem_eq(out.p, want, out.size);
    kv_buf_fini(&out);
}

START_TEST(strings_are_written_as_json_whatever_their_bytes)
{
    check_string(SLICE(""), "\"\"");
    check_string(SLICE("a\"\\\b\f\n\r\t/"), "\"a\\\"\\\\\\b\\f\\n\\r\\t/\"");
    check_string(SLICE("\0\x1f\x7f"), "\"\\u0000\\u001f\x7f\"");
    check_string(SLICE("\xc3\xa9\xf0\x9f\x98\x80"),
                 "\"\xc3\xa9\xf0\x9f\x98\x80\"");
    check_string(SLICE("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"),
                 "\"\\u2028\\u2029\xe2\x80\xaa\"");
    /* One U+FFFD per maximal bad part. */
    check_string(SLICE("a\xf0\x9f\x98" "b"), "\"a\xef\xbf\xbd" "b\"");
    check_string(SLICE("\xff\xfe"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    check_string(SLICE("\xed\xa0\x80"),
                 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    check_string(SLICE("\xe2\x82"), "\"\xef\xbf\xbd\"");
}
END_TEST

START_TEST(numbers_and_blobs_are_written_exactly)
{
    struct kv_buf out;

    kv_buf_init(&out, KV_MEM_CLIENT, 1000);
    http_json_int(&out, INT64_MIN);
    kv_buf_byte(&out, ' ');
    http_json_uint(&out, UINT64_MAX);
    kv_buf_byte(&out, ' ');
    http_json_double(&out, 0.1, false);
    kv_buf_byte(&out, ' ');
    http_json_double(&out, 3, false);
    kv_buf_byte(&out, ' ');
    http_json_double(&out, 3, true);
    kv_buf_byte(&out, ' ');
    http_json_double(&out, -INFINITY, true);
    kv_buf_byte(&out, ' ');
    http_json_bytes(&out, "\xff\0", 2, true);
    kv_buf_byte(&out, 0);
    ck_assert_str_eq((char *)out.p,
                     "-9223372036854775808 18446744073709551615 0.1 3 3.0 "
                     "\"-inf\" {\"$base64\":\"/wA=\"}");
    kv_buf_fini(&out);
}
END_TEST

START_TEST(what_is_written_reads_back_equal)
{
    struct {
        uint64_t x;
    } state = {0x9E3779B97F4A7C15u};
    char bytes[40];

    for (int round = 0; round < 20000; round++) {
        struct kv_buf out;
        struct http_json json;
        size_t size = 0;
        while (size < 30) {
            state.x = state.x * 6364136223846793005u + 1442695040888963407u;
            unsigned pick = (unsigned)(state.x >> 33);
            if (pick % 5 == 0) {
                memcpy(bytes + size, "\xf0\x9f\x98\x80", 4);
                size += 4;
            } else {
                bytes[size++] = (char)(pick / 5 % 128);
            }
        }
        kv_buf_init(&out, KV_MEM_CLIENT, 1000);
        http_json_string(&out, bytes, size);
        ck_assert_int_eq(http_json_parse(&json, out.p, out.size, &err),
                         KVSQL_OK);
        ck_assert_uint_eq(json.tokens[0].size, size);
        ck_assert_mem_eq(json.tokens[0].p, bytes, size);
        http_json_fini(&json);
        kv_buf_fini(&out);
    }
}
END_TEST

START_TEST(damaged_texts_are_answered_and_never_overrun)
{
    static const char text[] =
        "{\"ops\":[[\"SET\",\"k\\u00e9\\ud83d\\ude00\",-1.5e+10,true,null],"
        "{\"sql\":\"\\\"\\\\\",\"params\":{}}]}";
    uint64_t x = 88172645463325252u;

    for (int round = 0; round < 50000; round++) {
        char damaged[sizeof text];
        struct http_json json;
        uint8_t *copy;
        memcpy(damaged, text, sizeof text);
        for (int i = 0; i < 2; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            damaged[x % (sizeof text - 1)] = (char)(x >> 40);
        }
        kvsql_rc rc = parse(&json, damaged, x % sizeof text, &copy);
        ck_assert(rc == KVSQL_OK || rc == KVSQL_SYNTAX);
        if (rc == KVSQL_OK)
            ck_assert_uint_eq(json.tokens[0].next, json.count);
        http_json_fini(&json);
        free(copy);
    }
}
END_TEST

START_TEST(no_memory_is_a_result)
{
    struct http_json json;
    uint8_t *copy;

    kv_mem_fail_at(1, 0);
    ck_assert_int_eq(parse(&json, SLICE("[1]"), &copy), KVSQL_NOMEM);
    kv_mem_fail_at(0, 0);
    free(copy);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests,
                   what_rfc_8259_allows_is_read_and_the_rest_is_refused);
    tcase_add_test(tests,
                   strings_are_decoded_exactly_and_numbers_keep_their_text);
    tcase_add_test(tests, depth_and_count_have_limits);
    tcase_add_test(tests,
                   members_are_found_by_exact_name_and_strangers_are_named);
    tcase_add_test(tests, strings_are_written_as_json_whatever_their_bytes);
    tcase_add_test(tests, numbers_and_blobs_are_written_exactly);
    tcase_add_test(tests, what_is_written_reads_back_equal);
    tcase_add_test(tests, damaged_texts_are_answered_and_never_overrun);
    tcase_add_test(tests, no_memory_is_a_result);
}

int main(void)
{
    return unit_run("json", add);
}
