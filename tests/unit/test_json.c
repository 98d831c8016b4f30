/* test_json.c - the JSON lexer and writers of the HTTP door. cJSON, which others
 * wrote, is the second opinion on the lexer (docs/decisions/json-reading.md). */
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "http/json.h"
#include "tests/lib/rand.h"
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

/* ---- a second opinion ------------------------------------------------------ */

#define MADE_DEPTH 6
#define MADE_ROUNDS 30000

/* A value in any JSON spelling; below MADE_DEPTH no containers. */
static void make_value(struct kv_buf *out, struct rand_state *rand, int depth)
{
    static const char *const scalars[] = {
        "null", "true", "false", "0", "-0", "-17", "9007199254740993",
        "1234567890123456789", "0.30000000000000004", "1e21", "-2.5E-7",
        "\"\"", "\"a b\"", "\"\\u00e9\\ud83d\\ude00\"", "\"\xc3\xa9\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""};
    static const char *const blanks[] = {"", "", " ", "\n", "\t ", "\r\n"};
    const unsigned pick = (unsigned)rand_below(rand, 4);

    kv_buf_text(out, blanks[rand_below(rand, 6)]);
    if (depth == MADE_DEPTH || pick < 2) {
        kv_buf_text(out, scalars[rand_below(rand, sizeof scalars /
                                                      sizeof *scalars)]);
    } else {
        const unsigned count = (unsigned)rand_below(rand, 5);
        kv_buf_byte(out, pick == 2 ? '[' : '{');
        for (unsigned i = 0; i < count; i++) {
            if (i > 0)
                kv_buf_byte(out, ',');
            if (pick == 3)
                kv_buf_printf(out, "\"n%u\" :",
                              (unsigned)rand_below(rand, 1000));
            make_value(out, rand, depth + 1);
        }
        kv_buf_byte(out, pick == 2 ? ']' : '}');
    }
    kv_buf_text(out, blanks[rand_below(rand, 6)]);
}

/* Is the value of these tokens the one that cJSON has? */
static void check_same(const struct http_json *json, uint32_t at,
                       const cJSON *other)
{
    static const int kinds[] = {
        [HTTP_JSON_NULL] = cJSON_NULL,     [HTTP_JSON_FALSE] = cJSON_False,
        [HTTP_JSON_TRUE] = cJSON_True,     [HTTP_JSON_NUMBER] = cJSON_Number,
        [HTTP_JSON_STRING] = cJSON_String, [HTTP_JSON_ARRAY] = cJSON_Array,
        [HTTP_JSON_OBJECT] = cJSON_Object};
    const struct http_json_token *token = &json->tokens[at];
    const cJSON *child;
    char number[64];

    ck_assert_int_eq(other->type & 0xff, kinds[token->kind]);
    if (token->kind == HTTP_JSON_STRING) {
        ck_assert_uint_eq(token->size, strlen(other->valuestring));
        ck_assert_mem_eq(token->p, other->valuestring, token->size);
    } else if (token->kind == HTTP_JSON_NUMBER) {
        snprintf(number, sizeof number, "%.*s", (int)token->size,
                 (const char *)token->p);
        ck_assert_double_eq(strtod(number, NULL), other->valuedouble);
    } else if (token->kind >= HTTP_JSON_ARRAY) {
        ck_assert_int_eq(cJSON_GetArraySize(other), (int)token->count);
        at++;
        cJSON_ArrayForEach(child, other) {
            if (token->kind == HTTP_JSON_OBJECT) {
                ck_assert_uint_eq(json->tokens[at].size,
                                  strlen(child->string));
                ck_assert_mem_eq(json->tokens[at].p, child->string,
                                 json->tokens[at].size);
                at++;
            }
            check_same(json, at, child);
            at = json->tokens[at].next;
        }
        ck_assert_uint_eq(at, token->next);
    }
}

/* cJSON takes more than the RFC, never less: what the lexer accepts it accepts,
 * and means the same. Half of the documents have a byte changed. */
START_TEST(what_is_read_means_to_cjson_the_same)
{
    struct rand_state rand = rand_of(rand_seed("json", 1));
    unsigned agreed = 0, refused = 0;

    for (int round = 0; round < MADE_ROUNDS; round++) {
        struct kv_buf text;
        struct http_json json;
        uint8_t *copy;

        kv_buf_init(&text, KV_MEM_CLIENT, 1 << 20);
        make_value(&text, &rand, 0);
        if (round % 2)
            text.p[rand_below(&rand, text.size)] =
                (uint8_t)"[]{},:\"\\0-.eE+ tx"[rand_below(&rand, 17)];
        kv_buf_byte(&text, 0);
        cJSON *other = cJSON_ParseWithLengthOpts((const char *)text.p,
                                                 text.size, NULL, 1);
        kvsql_rc rc = parse(&json, (const char *)text.p, text.size - 1, &copy);
        if (rc == KVSQL_OK) {
            ck_assert_msg(other != NULL, "%s", (const char *)text.p);
            check_same(&json, 0, other);
            agreed++;
        } else {
            ck_assert_msg(round % 2, "%s: %s", (const char *)text.p, err.text);
            refused += other == NULL;
        }
        cJSON_Delete(other);
        http_json_fini(&json);
        free(copy);
        kv_buf_fini(&text);
    }
    ck_assert_uint_ge(agreed, MADE_ROUNDS / 2);
    ck_assert_uint_gt(refused, MADE_ROUNDS / 8);
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
    tcase_add_test(tests, what_is_read_means_to_cjson_the_same);
    tcase_add_test(tests, no_memory_is_a_result);
}

int main(void)
{
    return unit_run("json", add);
}
