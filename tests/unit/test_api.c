/* test_api.c - the public C API: does every call keep what kvsql.h says, with
 * each result it names? Here the library, single calls, memory; test_api_txn,
 * test_api_types, test_api_dir have the others. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvsql/base/mem.h"
#include "tests/lib/api_fx.h"

/* ---- the library -------------------------------------------------------- */

START_TEST(version_and_results_have_names)
{
    ck_assert_str_eq(kvsql_version(), KVSQL_VERSION);
    ck_assert_uint_eq(kvsql_version_number(), KVSQL_VERSION_NUMBER);
    ck_assert_str_eq(kvsql_error_name(KVSQL_OK), "OK");
    ck_assert_str_eq(kvsql_error_name(KVSQL_WRONGTYPE), "WRONGTYPE");
    ck_assert_str_eq(kvsql_error_words(KVSQL_NOTFOUND), "no such key");
    ck_assert_uint_gt(strlen(kvsql_error_hint(KVSQL_NOTFOUND)), 10);
    ck_assert_str_eq(kvsql_error_name((kvsql_rc)12345), "INTERNAL");
}
END_TEST

START_TEST(closing_nothing_is_fine)
{
    kvsql_bytes bytes = {NULL, 0};

    OK(kvsql_close(NULL, &err));
    kvsql_view_release(NULL);
    kvsql_rollback(NULL);
    kvsql_cursor_close(NULL);
    kvsql_bytes_free(NULL);
    kvsql_bytes_free(&bytes);
}
END_TEST

/* Where there is a compiler of C++; the tests run in the root of the tree. */
START_TEST(the_header_is_good_cxx_as_well)
{
    if (system("command -v g++ >/dev/null 2>&1") != 0 ||
        access("kvsql/kvsql.h", R_OK) != 0)
        return;
    ck_assert_int_eq(system("g++ -I. -x c++ -std=c++11 -Wall -Wextra "
                            "-Wpedantic -Werror -fsyntax-only kvsql/kvsql.h"),
                     0);
}
END_TEST

/* ---- one call, one transaction ------------------------------------------ */

START_TEST(a_string_is_put_got_replaced_and_deleted)
{
    kvsql_bytes value;
    bool exists = true;

    NOTFOUND(kvsql_get(db, t("k"), &value, &err));
    ck_assert_ptr_null(value.p);
    OK(kvsql_put(db, t("k"), t("one"), 0, &err));
    check_get("k", "one");
    OK(kvsql_put(db, t("k"), t(""), 0, NULL));
    check_get("k", "");
    OK(kvsql_put(db, kvsql_blob("\0\xff", 2), kvsql_blob("\0x", 2), 0, &err));
    OK(kvsql_get(db, kvsql_blob("\0\xff", 2), &value, &err));
    ck_assert_uint_eq(value.size, 2);
    ck_assert_mem_eq(value.p, "\0x", 3);
    kvsql_bytes_free(&value);
    OK(kvsql_put(db, kvsql_blob(NULL, 0), t("of the empty key"), 0, &err));
    check_get("", "of the empty key");
    OK(kvsql_exists(db, t("k"), &exists, &err));
    ck_assert(exists);
    OK(kvsql_delete(db, t("k"), &err));
    NOTFOUND(kvsql_delete(db, t("k"), &err));
    OK(kvsql_exists(db, t("k"), &exists, &err));
    ck_assert(!exists);
}
END_TEST

START_TEST(a_large_value_comes_back_whole)
{
    static char text[200000];
    kvsql_bytes value;

    memset(text, 'x', sizeof text - 1);
    OK(kvsql_put(db, t("large"), t(text), 0, &err));
    OK(kvsql_get(db, t("large"), &value, &err));
    check_bytes(&value, text);
    OK(kvsql_put(db, t("int"), t("-42"), 0, &err));
    check_get("int", "-42");
}
END_TEST

START_TEST(wrong_arguments_are_refused_before_anything_happens)
{
    static char key[KVSQL_KEY_MAX + 1];
    kvsql_bytes value;
    kvsql_slice large = {key, sizeof key}, whole = {key, sizeof key - 1};
    kvsql_slice huge = {key, (size_t)KVSQL_VALUE_MAX + 1};
    kvsql_slice null = {NULL, 3};
    kvsql_cursor *cursor;
    kvsql_view *view;
    kvsql_txn *txn;

    memset(key, 'k', sizeof key);
    OK(kvsql_put(db, whole, t("v"), 0, &err));
    FAILS(KVSQL_TOOBIG, "the key has 65537 bytes, the limit is 65536",
          kvsql_put(db, large, t("v"), 0, &err));
    FAILS(KVSQL_TOOBIG, "the key", kvsql_get(db, large, &value, &err));
    FAILS(KVSQL_TOOBIG, "the value", kvsql_put(db, t("k"), huge, 0, &err));
    FAILS(KVSQL_INVALID, "NULL", kvsql_put(db, null, t("v"), 0, &err));
    FAILS(KVSQL_INVALID, "NULL", kvsql_put(db, t("k"), null, 0, &err));
    FAILS(KVSQL_OVERFLOW, "end of time",
          kvsql_put(db, t("k"), t("v"), UINT64_MAX, &err));
    FAILS(KVSQL_OVERFLOW, "end of time",
          kvsql_put(db, t("k"), t("v"), INT64_MAX, &err));
    txn = begin();
    FAILS(KVSQL_TOOBIG, "the field",
          kvsql_hash_set(txn, t("h"), huge, t("v"), 0, NULL, &err));
    FAILS(KVSQL_TOOBIG, "the value",
          kvsql_hash_set(txn, t("h"), t("f"), huge, 0, NULL, &err));
    FAILS(KVSQL_TOOBIG, "the member",
          kvsql_set_add(txn, t("h"), huge, NULL, &err));
    FAILS(KVSQL_INVALID, "", kvsql_zset_add(txn, t("z"), t("m"), (double)NAN,
                                            NULL, &err));
    ck_assert_uint_eq(kvsql_txn_count(txn), 0);
    kvsql_rollback(txn);
    OK(kvsql_view_pin(db, &view, &err));
    ck_assert_uint_eq(kvsql_view_count(view), 1);
    struct kvsql_range range = {.prefix = large};
    FAILS(KVSQL_TOOBIG, "the prefix",
          kvsql_keys_open(view, &range, &cursor, &err));
    ck_assert_ptr_null(cursor);
    range = (struct kvsql_range){.from = null, .has_from = true};
    FAILS(KVSQL_INVALID, "the lower bound",
          kvsql_keys_open(view, &range, &cursor, &err));
    kvsql_view_release(view);
}
END_TEST

START_TEST(time_to_live_is_kept_shown_and_taken_away)
{
    int64_t ttl = 0;
    kvsql_bytes value;

    NOTFOUND(kvsql_ttl(db, t("k"), &ttl, &err));
    ck_assert_int_eq(ttl, -2);
    NOTFOUND(kvsql_expire(db, t("k"), 5, &err));
    OK(kvsql_put(db, t("k"), t("v"), 0, &err));
    OK(kvsql_ttl(db, t("k"), &ttl, &err));
    ck_assert_int_eq(ttl, -1);
    OK(kvsql_expire(db, t("k"), 1000000, &err));
    OK(kvsql_ttl(db, t("k"), &ttl, &err));
    ck_assert_int_gt(ttl, 900000);
    ck_assert_int_le(ttl, 1000000);
    OK(kvsql_expire(db, t("k"), 0, &err));
    OK(kvsql_ttl(db, t("k"), &ttl, &err));
    ck_assert_int_eq(ttl, -1);
    FAILS(KVSQL_OVERFLOW, "end of time",
          kvsql_expire(db, t("k"), UINT64_MAX, &err));
    OK(kvsql_put(db, t("k"), t("v"), 1, &err));
    while (kvsql_get(db, t("k"), &value, &err) == KVSQL_OK)
        kvsql_bytes_free(&value); /* it is a millisecond */
    NOTFOUND(kvsql_ttl(db, t("k"), &ttl, &err));
}
END_TEST

START_TEST(an_integer_is_counted_and_keeps_its_expiry)
{
    int64_t value = 7, ttl = 0;

    OK(kvsql_incr(db, t("n"), 5, &value, &err));
    ck_assert_int_eq(value, 5);
    OK(kvsql_expire(db, t("n"), 1000000, &err));
    OK(kvsql_incr(db, t("n"), -7, &value, &err));
    ck_assert_int_eq(value, -2);
    OK(kvsql_incr(db, t("n"), 1, NULL, &err));
    check_get("n", "-1");
    OK(kvsql_ttl(db, t("n"), &ttl, &err));
    ck_assert_int_gt(ttl, 0);
    FAILS(KVSQL_OVERFLOW, "64 bits",
          kvsql_incr(db, t("n"), INT64_MIN, &value, &err));
    check_get("n", "-1");
    OK(kvsql_put(db, t("n"), t("9223372036854775807"), 0, &err));
    FAILS(KVSQL_OVERFLOW, "64 bits", kvsql_incr(db, t("n"), 1, &value, &err));
    OK(kvsql_put(db, t("n"), t("007"), 0, &err));
    FAILS(KVSQL_NOTINT, "integer", kvsql_incr(db, t("n"), 1, &value, &err));
    some_values();
    FAILS(KVSQL_WRONGTYPE, "key 'list' holds a list, not a string",
          kvsql_incr(db, t("list"), 1, &value, &err));
}
END_TEST

START_TEST(types_are_named_and_a_wrong_one_is_refused)
{
    enum kvsql_type type = KVSQL_TYPE_ZSET;
    kvsql_bytes value;

    OK(kvsql_type(db, t("k"), &type, &err));
    ck_assert_int_eq(type, KVSQL_TYPE_NONE);
    some_values();
    OK(kvsql_type(db, t("list"), &type, &err));
    ck_assert_int_eq(type, KVSQL_TYPE_LIST);
    OK(kvsql_type(db, t("string"), &type, &err));
    ck_assert_int_eq(type, KVSQL_TYPE_STRING);
    FAILS(KVSQL_WRONGTYPE, "key 'list' holds a list, not a string",
          kvsql_get(db, t("list"), &value, &err));
    OK(kvsql_put(db, t("list"), t("now a string"), 0, &err));
    check_get("list", "now a string");
}
END_TEST

/* ---- memory ------------------------------------------------------------- */

START_TEST(over_maxmemory_writes_are_refused_and_reads_go_on)
{
    const struct kvsql_options options = {.maxmemory = 1 << 20};
    kvsql *small;
    kvsql_rc rc = KVSQL_OK;
    bool exists = false;
    char key[32];

    OK(kvsql_open("", &options, &small, &err));
    for (int i = 0; i < 100000 && rc == KVSQL_OK; i++) {
        (void)snprintf(key, sizeof key, "key %d", i);
        rc = kvsql_put(small, t(key), t("some value of a few bytes"), 0, &err);
    }
    ck_assert_int_eq(rc, KVSQL_OOM);
    ck_assert_ptr_nonnull(strstr(err.text, "maxmemory"));
    OK(kvsql_exists(small, t("key 0"), &exists, &err));
    ck_assert(exists);
    OK(kvsql_delete(small, t("key 0"), &err));
    OK(kvsql_close(small, &err));
}
END_TEST

/* Every call that allocates, in one row; the first result that is not fine. */
static kvsql_rc call_all(void)
{
    kvsql_txn *txn = NULL;
    kvsql_view *view = NULL;
    kvsql_cursor *cursor = NULL;
    kvsql_bytes value = {NULL, 0};
    const struct kvsql_range range = {
        .prefix = t("l"), .from = t("a"), .has_from = true};
    kvsql_rc rc = kvsql_get(db, t("string"), &value, &err);

    kvsql_bytes_free(&value);
    if (rc == KVSQL_OK)
        rc = kvsql_view_pin(db, &view, &err);
    if (rc == KVSQL_OK)
        rc = kvsql_keys_open(view, &range, &cursor, &err);
    if (rc == KVSQL_OK)
        rc = kvsql_keys_next(cursor, NULL, &err);
    kvsql_cursor_close(cursor);
    kvsql_view_release(view);
    if (rc == KVSQL_OK)
        rc = kvsql_begin(db, 1000, &txn, &err);
    if (rc != KVSQL_OK)
        return rc;
    cursor = NULL;
    rc = kvsql_txn_put(txn, t("new"), t("v"), 0, &err);
    if (rc == KVSQL_OK)
        rc = kvsql_list_pop(txn, t("list"), KVSQL_LEFT, &value, &err);
    kvsql_bytes_free(&value);
    if (rc == KVSQL_OK)
        rc = kvsql_elems_open(kvsql_txn_view(txn), t("list"), false, &cursor,
                              &err);
    kvsql_cursor_close(cursor);
    if (rc == KVSQL_OK)
        return kvsql_commit(txn, &err);
    kvsql_rollback(txn);
    return rc;
}

START_TEST(no_allocation_is_needed_silently)
{
    kvsql_rc rc = KVSQL_NOMEM;
    uint64_t n = 0;

    some_values();
    while (rc != KVSQL_OK) {
        const uint64_t bytes = kv_mem_bytes(KV_MEM_CLIENT);
        kv_mem_fail_at(++n, 0);
        rc = call_all();
        const bool failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        ck_assert_msg(rc == KVSQL_OK || (failed && rc == KVSQL_NOMEM),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
        ck_assert_uint_eq(kv_mem_bytes(KV_MEM_CLIENT), bytes);
        if (failed && rc == KVSQL_OK)
            rc = KVSQL_NOMEM; /* done without it: go on */
        ck_assert_uint_lt(n, 10000);
        if (rc != KVSQL_OK) /* as it was */
            some_values();
    }
    ck_assert_uint_gt(n, 8);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, api_fx_open, api_fx_close);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, version_and_results_have_names);
    tcase_add_test(tests, closing_nothing_is_fine);
    tcase_add_test(tests, the_header_is_good_cxx_as_well);
    tcase_add_test(tests, a_string_is_put_got_replaced_and_deleted);
    tcase_add_test(tests, a_large_value_comes_back_whole);
    tcase_add_test(tests, wrong_arguments_are_refused_before_anything_happens);
    tcase_add_test(tests, time_to_live_is_kept_shown_and_taken_away);
    tcase_add_test(tests, an_integer_is_counted_and_keeps_its_expiry);
    tcase_add_test(tests, types_are_named_and_a_wrong_one_is_refused);
    tcase_add_test(tests, over_maxmemory_writes_are_refused_and_reads_go_on);
    tcase_add_test(tests, no_allocation_is_needed_silently);
}

int main(void)
{
    return unit_run("api", add);
}
