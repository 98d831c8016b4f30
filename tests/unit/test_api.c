/* test_api.c - the public C API: does every call keep what kvsql.h says, with
 * each result it names? */
#include "kvsql/kvsql.h"

#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvsql/base/mem.h"

static kvsql *db;
static struct kvsql_error err;
static char dir[64];

#define OK(call)                                                              \
    do {                                                                      \
        err.text[0] = '\0';                                                   \
        const kvsql_rc ok_rc = (call);                                        \
        ck_assert_msg(ok_rc == KVSQL_OK, "%s: %d %s", #call, ok_rc,           \
                      err.text);                                              \
    } while (0)
/* The call gives `rc`, and a sentence that holds `words`. */
#define FAILS(want, words, call)                                              \
    do {                                                                      \
        err.text[0] = '\0';                                                   \
        ck_assert_int_eq((call), (want));                                     \
        ck_assert_msg(strstr(err.text, (words)) != NULL, "%s", err.text);     \
        ck_assert_int_eq(err.rc, (want));                                     \
    } while (0)
#define NOTFOUND(call) ck_assert_int_eq((call), KVSQL_NOTFOUND)

static void set_up(void)
{
    OK(kvsql_open(NULL, NULL, &db, &err));
}

static void tear_down(void)
{
    OK(kvsql_close(db, &err));
}

static void set_up_dir(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/test_api.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    OK(kvsql_open(dir, NULL, &db, &err));
}

static void tear_down_dir(void)
{
    char command[128];

    OK(kvsql_close(db, &err));
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static kvsql_slice t(const char *text)
{
    return kvsql_text(text);
}

static void check_bytes(kvsql_bytes *bytes, const char *text)
{
    ck_assert_ptr_nonnull(bytes->p);
    ck_assert_uint_eq(bytes->size, strlen(text));
    ck_assert_str_eq(bytes->p, text); /* NUL behind them */
    kvsql_bytes_free(bytes);
    ck_assert_ptr_null(bytes->p);
    ck_assert_uint_eq(bytes->size, 0);
}

static void check_get(const char *key, const char *text)
{
    kvsql_bytes value;

    OK(kvsql_get(db, t(key), &value, &err));
    check_bytes(&value, text);
}

static kvsql_txn *begin(void)
{
    kvsql_txn *txn;

    OK(kvsql_begin(db, 1000, &txn, &err));
    return txn;
}

/* A list under "list" and a string under "string". */
static void some_values(void)
{
    kvsql_txn *txn = begin();

    OK(kvsql_list_push(txn, t("list"), KVSQL_RIGHT, t("a"), NULL, &err));
    OK(kvsql_list_push(txn, t("list"), KVSQL_RIGHT, t("b"), NULL, &err));
    OK(kvsql_list_push(txn, t("list"), KVSQL_RIGHT, t("c"), NULL, &err));
    OK(kvsql_txn_put(txn, t("string"), t("text"), 0, &err));
    OK(kvsql_commit(txn, &err));
}

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

/* ---- transactions ------------------------------------------------------- */

START_TEST(a_transaction_is_seen_inside_and_kept_or_undone_whole)
{
    kvsql_bytes value;
    kvsql_txn *txn = begin();

    OK(kvsql_txn_put(txn, t("a"), t("1"), 0, &err));
    OK(kvsql_txn_put(txn, t("b"), t("2"), 0, &err));
    OK(kvsql_view_get(kvsql_txn_view(txn), t("a"), &value, &err));
    check_bytes(&value, "1");
    ck_assert_uint_eq(kvsql_txn_count(txn), 2);
    kvsql_rollback(txn);
    NOTFOUND(kvsql_get(db, t("a"), &value, &err));

    txn = begin();
    OK(kvsql_txn_put(txn, t("a"), t("1"), 1000000, &err));
    OK(kvsql_txn_put(txn, t("c"), t("3"), 0, &err));
    OK(kvsql_txn_rename(txn, t("a"), t("c"), &err));
    NOTFOUND(kvsql_txn_rename(txn, t("a"), t("d"), &err));
    NOTFOUND(kvsql_txn_delete(txn, t("a"), &err));
    NOTFOUND(kvsql_txn_expire(txn, t("a"), 4, &err));
    OK(kvsql_commit(txn, &err));
    check_get("c", "1");
    NOTFOUND(kvsql_get(db, t("a"), &value, &err));
}
END_TEST

START_TEST(savepoints_nest_and_can_be_used_twice)
{
    kvsql_bytes value;
    kvsql_txn *txn = begin();

    OK(kvsql_txn_put(txn, t("k"), t("1"), 0, &err));
    kvsql_savepoint outer = kvsql_savepoint_set(txn);
    OK(kvsql_txn_put(txn, t("k"), t("2"), 0, &err));
    kvsql_savepoint inner = kvsql_savepoint_set(txn);
    OK(kvsql_txn_delete(txn, t("k"), &err));
    kvsql_restore(txn, inner);
    OK(kvsql_view_get(kvsql_txn_view(txn), t("k"), &value, &err));
    check_bytes(&value, "2");
    kvsql_restore(txn, outer);
    OK(kvsql_view_get(kvsql_txn_view(txn), t("k"), &value, &err));
    check_bytes(&value, "1");
    OK(kvsql_txn_put(txn, t("k"), t("3"), 0, &err));
    kvsql_restore(txn, outer);
    ck_assert_uint_eq(kvsql_txn_count(txn), 1);
    OK(kvsql_commit(txn, &err));
    check_get("k", "1");
}
END_TEST

START_TEST(a_flush_removes_every_key)
{
    kvsql_view *view;
    kvsql_txn *txn;

    some_values();
    txn = begin();
    OK(kvsql_txn_flush(txn, &err));
    OK(kvsql_commit(txn, &err));
    OK(kvsql_view_pin(db, &view, &err));
    ck_assert_uint_eq(kvsql_view_count(view), 0);
    kvsql_view_release(view);
}
END_TEST

START_TEST(the_thread_of_a_transaction_works_through_it_alone)
{
    struct kvsql_statistics statistics;
    struct kvsql_snapshot_info info;
    enum kvsql_type type;
    kvsql_bytes value;
    kvsql_view *view, *pinned;
    kvsql_cursor *cursor;
    kvsql_txn *second;
    kvsql *other;
    int64_t number;
    bool yes;

    some_values();
    OK(kvsql_view_pin(db, &pinned, &err));
    OK(kvsql_keys_open(pinned, NULL, &cursor, &err));
    kvsql_txn *txn = begin();
    FAILS(KVSQL_BUSY, "transaction", kvsql_begin(db, 5, &second, &err));
    ck_assert_ptr_null(second);
    FAILS(KVSQL_BUSY, "thread", kvsql_put(db, t("k"), t("v"), 0, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_get(db, t("k"), &value, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_delete(db, t("k"), &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_exists(db, t("k"), &yes, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_expire(db, t("k"), 1, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_ttl(db, t("k"), &number, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_type(db, t("k"), &type, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_incr(db, t("k"), 1, &number, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_view_pin(db, &view, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_sync(db, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_snapshot(db, &info, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_statistics_get(db, &statistics, &err));
    FAILS(KVSQL_BUSY, "thread", kvsql_open(NULL, NULL, &other, &err));
    ck_assert_ptr_null(other);
    FAILS(KVSQL_BUSY, "still open", kvsql_close(db, &err));
    OK(kvsql_keys_next(cursor, NULL, &err)); /* reading goes on */
    kvsql_cursor_close(cursor);
    kvsql_view_release(pinned); /* and may be given back here */
    OK(kvsql_txn_put(txn, t("k"), t("v"), 0, &err));
    OK(kvsql_commit(txn, &err));
    check_get("k", "v");
}
END_TEST

static void *begin_elsewhere(void *arg)
{
    kvsql_txn *txn;
    struct kvsql_error mine;
    kvsql_rc *rc = arg;

    *rc = kvsql_begin(db, 20, &txn, &mine);
    if (*rc == KVSQL_OK)
        kvsql_rollback(txn);
    return NULL;
}

START_TEST(another_threads_transaction_is_waited_for_so_long_and_no_longer)
{
    pthread_t thread;
    kvsql_rc rc = KVSQL_OK;
    kvsql_txn *txn = begin();

    ck_assert_int_eq(pthread_create(&thread, NULL, begin_elsewhere, &rc), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(rc, KVSQL_BUSY);
    kvsql_rollback(txn);
    ck_assert_int_eq(pthread_create(&thread, NULL, begin_elsewhere, &rc), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(rc, KVSQL_OK);
}
END_TEST

static void *count_up(void *arg)
{
    for (int i = 0; i < 500; i++)
        if (kvsql_incr(db, kvsql_text("shared"), 1, NULL, NULL) != KVSQL_OK)
            *(bool *)arg = true;
    return NULL;
}

START_TEST(threads_share_the_store_without_losing_a_change)
{
    pthread_t threads[4];
    bool failed[4] = {false};

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, count_up, &failed[i]), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert(!failed[i]);
    }
    check_get("shared", "2000");
}
END_TEST

START_TEST(the_store_does_not_close_while_a_handle_is_open)
{
    kvsql_view *view;
    kvsql_cursor *cursor;
    kvsql_txn *txn = begin();

    FAILS(KVSQL_BUSY, "1 views, transactions", kvsql_close(db, &err));
    kvsql_rollback(txn);
    OK(kvsql_view_pin(db, &view, &err));
    OK(kvsql_keys_open(view, NULL, &cursor, &err));
    FAILS(KVSQL_BUSY, "2 views, transactions", kvsql_close(db, &err));
    kvsql_view_release(view);
    FAILS(KVSQL_ABORT, "has ended", kvsql_keys_next(cursor, NULL, &err));
    FAILS(KVSQL_BUSY, "1 views, transactions", kvsql_close(db, &err));
    kvsql_cursor_close(cursor);
}
END_TEST

/* ---- views and cursors -------------------------------------------------- */

START_TEST(a_view_never_changes)
{
    kvsql_view *view, *later;
    kvsql_bytes value;
    enum kvsql_type type;
    uint64_t length = 9;
    int64_t ttl = 0;

    some_values();
    OK(kvsql_view_pin(db, &view, &err));
    OK(kvsql_delete(db, t("list"), &err));
    OK(kvsql_put(db, t("string"), t("changed"), 500000, &err));
    OK(kvsql_view_pin(db, &later, &err));
    ck_assert_uint_eq(kvsql_view_count(view), 2);
    ck_assert_uint_eq(kvsql_view_count(later), 1);
    ck_assert_uint_eq(kvsql_view_position(later),
                      kvsql_view_position(view) + 2);
    OK(kvsql_view_get(view, t("string"), &value, &err));
    check_bytes(&value, "text");
    OK(kvsql_view_get(later, t("string"), &value, &err));
    check_bytes(&value, "changed");
    OK(kvsql_view_type(view, t("list"), &type, &err));
    ck_assert_int_eq(type, KVSQL_TYPE_LIST);
    OK(kvsql_view_type(later, t("list"), &type, &err));
    ck_assert_int_eq(type, KVSQL_TYPE_NONE);
    OK(kvsql_view_length(view, t("list"), &length, &err));
    ck_assert_uint_eq(length, 3);
    OK(kvsql_view_length(later, t("list"), &length, &err));
    ck_assert_uint_eq(length, 0);
    OK(kvsql_view_ttl(view, t("string"), &ttl, &err));
    ck_assert_int_eq(ttl, -1);
    OK(kvsql_view_ttl(later, t("string"), &ttl, &err));
    ck_assert_int_gt(ttl, 0);
    NOTFOUND(kvsql_view_ttl(later, t("list"), &ttl, &err));
    FAILS(KVSQL_WRONGTYPE, "holds a list",
          kvsql_view_get(view, t("list"), &value, &err));
    NOTFOUND(kvsql_view_get(view, t("none"), &value, &err));
    kvsql_view_release(later);
    kvsql_view_release(view);
}
END_TEST

/* The keys that a range gives, joined by blanks; \xff is shown as '!'. */
static const char *keys_of(kvsql_view *view, const struct kvsql_range *range)
{
    static char text[512];
    kvsql_cursor *cursor;
    struct kvsql_key key;
    size_t used = 0;
    kvsql_rc rc;

    OK(kvsql_keys_open(view, range, &cursor, &err));
    while ((rc = kvsql_keys_next(cursor, &key, &err)) == KVSQL_OK) {
        ck_assert_uint_lt(used + key.key.size + 2, sizeof text);
        if (used > 0)
            text[used++] = ' ';
        for (size_t i = 0; i < key.key.size; i++) {
            const char c = ((const char *)key.key.p)[i];
            text[used++] = c == '\xff' ? '!' : c;
        }
    }
    ck_assert_int_eq(rc, KVSQL_NOTFOUND);
    NOTFOUND(kvsql_keys_next(cursor, &key, &err)); /* stays at its end */
    text[used] = '\0';
    kvsql_cursor_close(cursor);
    return text;
}

START_TEST(keys_come_in_order_within_their_bounds)
{
    static const char *const names[] = {"b",    "a",  "ab", "a\xff", "ab\xff",
                                        "\xff", "b1", "c",  "b\xff"};
    kvsql_txn *txn = begin();
    kvsql_view *view;
    struct kvsql_range range = {.prefix = {NULL, 0}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        OK(kvsql_txn_put(txn, t(names[i]), t("v"), 0, &err));
    OK(kvsql_set_add(txn, t("bset"), t("m"), NULL, &err));
    OK(kvsql_commit(txn, &err));
    OK(kvsql_view_pin(db, &view, &err));
    ck_assert_str_eq(keys_of(view, NULL),
                     "a ab b b1 bset c ab! a! b! !");
    range.prefix = t("a");
    ck_assert_str_eq(keys_of(view, &range), "a ab ab! a!");
    range.prefix = t("b1");
    ck_assert_str_eq(keys_of(view, &range), "b1");
    range.prefix = t("x");
    ck_assert_str_eq(keys_of(view, &range), "");
    range = (struct kvsql_range){.from = t("b"), .has_from = true};
    ck_assert_str_eq(keys_of(view, &range), "b b1 bset c ab! a! b! !");
    range.type = KVSQL_TYPE_SET;
    ck_assert_str_eq(keys_of(view, &range), "bset");
    range = (struct kvsql_range){.to = t("b1"), .has_to = true};
    ck_assert_str_eq(keys_of(view, &range), "a ab b");
    range.has_from = true;
    range.from = t("ab");
    ck_assert_str_eq(keys_of(view, &range), "ab b");
    range = (struct kvsql_range){.from = t("ab\xff"), .has_from = true};
    ck_assert_str_eq(keys_of(view, &range), "ab! a! b! !");
    range.to = t("b\xff");
    range.has_to = true;
    ck_assert_str_eq(keys_of(view, &range), "ab! a!");
    range = (struct kvsql_range){
        .prefix = t("b"), .from = t("b1"), .has_from = true};
    ck_assert_str_eq(keys_of(view, &range), "b1 bset b!");
    range = (struct kvsql_range){.from = t("c"), .has_from = true,
                                 .to = t("b"), .has_to = true};
    ck_assert_str_eq(keys_of(view, &range), "");
    kvsql_view_release(view);
}
END_TEST

START_TEST(a_cursor_tells_type_length_expiry_and_value)
{
    kvsql_view *view;
    kvsql_cursor *cursor;
    struct kvsql_key key;
    kvsql_slice value;

    some_values();
    OK(kvsql_put(db, t("timed"), t("12345"), 1000000, &err));
    OK(kvsql_view_pin(db, &view, &err));
    OK(kvsql_keys_open(view, NULL, &cursor, &err));
    NOTFOUND(kvsql_keys_value(cursor, &value, &err));
    OK(kvsql_keys_next(cursor, &key, &err));
    ck_assert_int_eq(key.type, KVSQL_TYPE_LIST);
    ck_assert_uint_eq(key.length, 3);
    ck_assert_int_eq(key.expires_at, 0);
    FAILS(KVSQL_WRONGTYPE, "holds a list",
          kvsql_keys_value(cursor, &value, &err));
    OK(kvsql_keys_next(cursor, NULL, &err));
    OK(kvsql_keys_value(cursor, &value, &err));
    ck_assert_uint_eq(value.size, 4);
    ck_assert_mem_eq(value.p, "text", 4);
    OK(kvsql_keys_next(cursor, &key, &err));
    ck_assert_int_gt(key.expires_at, 0);
    ck_assert_uint_eq(key.length, 5);
    OK(kvsql_keys_value(cursor, &value, &err));
    ck_assert_mem_eq(value.p, "12345", 5);
    NOTFOUND(kvsql_keys_next(cursor, &key, &err));
    NOTFOUND(kvsql_keys_value(cursor, &value, &err));
    FAILS(KVSQL_INVALID, "keys", kvsql_elems_next(cursor, NULL, &err));
    kvsql_cursor_close(cursor);
    OK(kvsql_elems_open(view, t("list"), false, &cursor, &err));
    FAILS(KVSQL_INVALID, "elements", kvsql_keys_next(cursor, NULL, &err));
    FAILS(KVSQL_INVALID, "elements", kvsql_keys_value(cursor, &value, &err));
    kvsql_cursor_close(cursor);
    kvsql_view_release(view);
}
END_TEST

START_TEST(a_cursor_of_a_transaction_shows_the_moment_it_was_opened)
{
    kvsql_cursor *cursor, *second;
    struct kvsql_key key;
    struct kvsql_elem elem;
    kvsql_savepoint savepoint;
    int seen = 0;

    some_values();
    kvsql_txn *txn = begin();
    kvsql_view *view = kvsql_txn_view(txn);
    OK(kvsql_txn_put(txn, t("mine"), t("v"), 0, &err));
    OK(kvsql_keys_open(view, NULL, &cursor, &err));
    OK(kvsql_elems_open(view, t("list"), false, &second, &err));
    while (kvsql_keys_next(cursor, &key, &err) == KVSQL_OK) {
        OK(kvsql_txn_delete(txn, key.key, &err));
        seen++;
    }
    ck_assert_int_eq(seen, 3);
    OK(kvsql_elems_next(second, &elem, &err));
    ck_assert_mem_eq(elem.value.p, "a", 1);
    kvsql_cursor_close(cursor);
    savepoint = kvsql_savepoint_set(txn);
    kvsql_restore(txn, savepoint);
    FAILS(KVSQL_ABORT, "has ended", kvsql_elems_next(second, &elem, &err));
    OK(kvsql_keys_open(view, NULL, &cursor, &err));
    NOTFOUND(kvsql_keys_next(cursor, &key, &err));
    OK(kvsql_commit(txn, &err));
    FAILS(KVSQL_ABORT, "has ended", kvsql_keys_next(cursor, &key, &err));
    kvsql_cursor_close(cursor);
    kvsql_cursor_close(second);
}
END_TEST

/* ---- collections -------------------------------------------------------- */

START_TEST(a_hash_sets_gets_walks_and_deletes_fields)
{
    kvsql_txn *txn = begin();
    kvsql_view *view = kvsql_txn_view(txn);
    kvsql_cursor *cursor;
    struct kvsql_elem elem;
    kvsql_bytes value;
    bool created = false;

    OK(kvsql_hash_set(txn, t("h"), t("f"), t("1"), 0, &created, &err));
    ck_assert(created);
    OK(kvsql_hash_set(txn, t("h"), t("f"), t("2"), 0, &created, &err));
    ck_assert(!created);
    OK(kvsql_hash_set(txn, t("h"), t("e"), t("3"), 1000000, NULL, &err));
    FAILS(KVSQL_OVERFLOW, "end of time",
          kvsql_hash_set(txn, t("h"), t("e"), t("3"), UINT64_MAX, NULL, &err));
    OK(kvsql_hash_get(view, t("h"), t("f"), &value, &err));
    check_bytes(&value, "2");
    NOTFOUND(kvsql_hash_get(view, t("h"), t("none"), &value, &err));
    NOTFOUND(kvsql_hash_get(view, t("none"), t("f"), &value, &err));
    OK(kvsql_elems_open(view, t("h"), false, &cursor, &err));
    OK(kvsql_elems_next(cursor, &elem, &err));
    ck_assert_mem_eq(elem.name.p, "e", 1);
    ck_assert_mem_eq(elem.value.p, "3", 1);
    ck_assert_int_gt(elem.expires_at, 0);
    OK(kvsql_elems_next(cursor, &elem, &err));
    ck_assert_mem_eq(elem.name.p, "f", 1);
    ck_assert_int_eq(elem.expires_at, 0);
    NOTFOUND(kvsql_elems_next(cursor, &elem, &err));
    NOTFOUND(kvsql_elems_next(cursor, &elem, &err));
    kvsql_cursor_close(cursor);
    OK(kvsql_hash_delete(txn, t("h"), t("f"), &err));
    NOTFOUND(kvsql_hash_delete(txn, t("h"), t("f"), &err));
    OK(kvsql_txn_put(txn, t("s"), t("v"), 0, &err));
    FAILS(KVSQL_WRONGTYPE, "", kvsql_hash_set(txn, t("s"), t("f"), t("v"), 0,
                                              NULL, &err));
    FAILS(KVSQL_WRONGTYPE, "", kvsql_hash_delete(txn, t("s"), t("f"), &err));
    FAILS(KVSQL_WRONGTYPE, "key 's' holds a string, not a hash",
          kvsql_hash_get(view, t("s"), t("f"), &value, &err));
    FAILS(KVSQL_WRONGTYPE, "key 's' holds a string",
          kvsql_elems_open(view, t("s"), false, &cursor, &err));
    NOTFOUND(kvsql_elems_open(view, t("none"), false, &cursor, &err));
    ck_assert_ptr_null(cursor);
    OK(kvsql_hash_delete(txn, t("h"), t("e"), &err)); /* the last one */
    NOTFOUND(kvsql_txn_delete(txn, t("h"), &err));
    OK(kvsql_commit(txn, &err));
}
END_TEST

START_TEST(a_set_adds_tells_and_removes_members)
{
    kvsql_txn *txn = begin();
    kvsql_view *view = kvsql_txn_view(txn);
    bool yes = false;

    OK(kvsql_set_add(txn, t("s"), t("m"), &yes, &err));
    ck_assert(yes);
    OK(kvsql_set_add(txn, t("s"), t("m"), &yes, &err));
    ck_assert(!yes);
    OK(kvsql_set_contains(view, t("s"), t("m"), &yes, &err));
    ck_assert(yes);
    OK(kvsql_set_contains(view, t("s"), t("n"), &yes, &err));
    ck_assert(!yes);
    OK(kvsql_set_contains(view, t("none"), t("n"), &yes, &err));
    ck_assert(!yes);
    OK(kvsql_txn_put(txn, t("k"), t("v"), 0, &err));
    FAILS(KVSQL_WRONGTYPE, "not a set",
          kvsql_set_contains(view, t("k"), t("n"), &yes, &err));
    FAILS(KVSQL_WRONGTYPE, "", kvsql_set_add(txn, t("k"), t("n"), NULL, &err));
    FAILS(KVSQL_WRONGTYPE, "", kvsql_set_remove(txn, t("k"), t("n"), &err));
    NOTFOUND(kvsql_set_remove(txn, t("s"), t("n"), &err));
    OK(kvsql_set_remove(txn, t("s"), t("m"), &err));
    NOTFOUND(kvsql_set_remove(txn, t("s"), t("m"), &err));
    kvsql_rollback(txn);
}
END_TEST

START_TEST(a_sorted_set_scores_ranks_and_walks_both_ways)
{
    kvsql_txn *txn = begin();
    kvsql_view *view = kvsql_txn_view(txn);
    kvsql_cursor *cursor;
    struct kvsql_elem elem;
    double score = 0;
    uint64_t rank = 9;
    bool created = false;

    OK(kvsql_zset_add(txn, t("z"), t("a"), 3, &created, &err));
    ck_assert(created);
    OK(kvsql_zset_add(txn, t("z"), t("b"), -INFINITY, NULL, &err));
    OK(kvsql_zset_add(txn, t("z"), t("c"), 2.5, NULL, &err));
    OK(kvsql_zset_add(txn, t("z"), t("a"), 3.5, &created, &err));
    ck_assert(!created);
    OK(kvsql_zset_score(view, t("z"), t("a"), &score, &err));
    ck_assert_double_eq(score, 3.5);
    OK(kvsql_zset_rank(view, t("z"), t("a"), &rank, &err));
    ck_assert_uint_eq(rank, 2);
    OK(kvsql_zset_rank(view, t("z"), t("b"), &rank, &err));
    ck_assert_uint_eq(rank, 0);
    NOTFOUND(kvsql_zset_score(view, t("z"), t("x"), &score, &err));
    NOTFOUND(kvsql_zset_rank(view, t("z"), t("x"), &rank, &err));
    NOTFOUND(kvsql_zset_rank(view, t("none"), t("x"), &rank, &err));
    OK(kvsql_elems_open(view, t("z"), true, &cursor, &err));
    OK(kvsql_elems_next(cursor, &elem, &err));
    ck_assert_mem_eq(elem.name.p, "b", 1);
    OK(kvsql_elems_next(cursor, &elem, &err));
    ck_assert_mem_eq(elem.name.p, "c", 1);
    ck_assert_double_eq(elem.score, 2.5);
    kvsql_cursor_close(cursor);
    OK(kvsql_elems_open(view, t("z"), false, &cursor, &err));
    OK(kvsql_elems_next(cursor, &elem, &err));
    ck_assert_mem_eq(elem.name.p, "a", 1);
    kvsql_cursor_close(cursor);
    OK(kvsql_zset_remove(txn, t("z"), t("a"), &err));
    NOTFOUND(kvsql_zset_remove(txn, t("z"), t("a"), &err));
    OK(kvsql_set_add(txn, t("s"), t("m"), NULL, &err));
    FAILS(KVSQL_WRONGTYPE, "not a zset",
          kvsql_elems_open(view, t("s"), true, &cursor, &err));
    FAILS(KVSQL_WRONGTYPE, "not a zset",
          kvsql_zset_score(view, t("s"), t("m"), &score, &err));
    FAILS(KVSQL_WRONGTYPE, "",
          kvsql_zset_add(txn, t("s"), t("m"), 1, NULL, &err));
    FAILS(KVSQL_WRONGTYPE, "", kvsql_zset_remove(txn, t("s"), t("m"), &err));
    kvsql_rollback(txn);
}
END_TEST

START_TEST(a_list_pushes_pops_and_indexes_from_both_ends)
{
    kvsql_txn *txn = begin();
    kvsql_view *view = kvsql_txn_view(txn);
    kvsql_bytes value;
    uint64_t length = 0;

    OK(kvsql_list_push(txn, t("l"), KVSQL_RIGHT, t("b"), &length, &err));
    OK(kvsql_list_push(txn, t("l"), KVSQL_LEFT, t("a"), &length, &err));
    OK(kvsql_list_push(txn, t("l"), KVSQL_RIGHT, t("c"), &length, &err));
    ck_assert_uint_eq(length, 3);
    OK(kvsql_list_get(view, t("l"), 0, &value, &err));
    check_bytes(&value, "a");
    OK(kvsql_list_get(view, t("l"), -1, &value, &err));
    check_bytes(&value, "c");
    FAILS(KVSQL_RANGE, "index 3 is outside of list 'l', which has 3",
          kvsql_list_get(view, t("l"), 3, &value, &err));
    FAILS(KVSQL_RANGE, "", kvsql_list_get(view, t("l"), -4, &value, &err));
    FAILS(KVSQL_RANGE, "",
          kvsql_list_get(view, t("l"), INT64_MIN, &value, &err));
    NOTFOUND(kvsql_list_get(view, t("none"), 0, &value, &err));
    OK(kvsql_list_set(txn, t("l"), -2, t("B"), &err));
    FAILS(KVSQL_RANGE, "", kvsql_list_set(txn, t("l"), 3, t("B"), &err));
    NOTFOUND(kvsql_list_set(txn, t("none"), 0, t("B"), &err));
    OK(kvsql_list_pop(txn, t("l"), KVSQL_LEFT, &value, &err));
    check_bytes(&value, "a");
    OK(kvsql_list_pop(txn, t("l"), KVSQL_RIGHT, &value, &err));
    check_bytes(&value, "c");
    OK(kvsql_list_get(view, t("l"), 0, &value, &err));
    check_bytes(&value, "B");
    OK(kvsql_list_pop(txn, t("l"), KVSQL_RIGHT, NULL, &err));
    NOTFOUND(kvsql_list_pop(txn, t("l"), KVSQL_RIGHT, &value, &err));
    for (int i = 0; i < 10; i++)
        OK(kvsql_list_push(txn, t("l"), KVSQL_RIGHT, t("x"), &length, &err));
    OK(kvsql_list_remove(txn, t("l"), 2, 3, &err));
    OK(kvsql_list_remove(txn, t("l"), 0, 0, &err));
    OK(kvsql_list_remove(txn, t("l"), -2, 99, &err));
    OK(kvsql_view_length(view, t("l"), &length, &err));
    ck_assert_uint_eq(length, 5);
    FAILS(KVSQL_RANGE, "", kvsql_list_remove(txn, t("l"), 5, 1, &err));
    OK(kvsql_list_remove(txn, t("l"), 0, UINT64_MAX, &err));
    NOTFOUND(kvsql_list_remove(txn, t("l"), 0, 1, &err));
    OK(kvsql_txn_put(txn, t("s"), t("v"), 0, &err));
    FAILS(KVSQL_WRONGTYPE, "not a list",
          kvsql_list_get(view, t("s"), 0, &value, &err));
    FAILS(KVSQL_WRONGTYPE, "",
          kvsql_list_push(txn, t("s"), KVSQL_LEFT, t("v"), NULL, &err));
    FAILS(KVSQL_WRONGTYPE, "",
          kvsql_list_pop(txn, t("s"), KVSQL_LEFT, &value, &err));
    kvsql_rollback(txn);
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

/* ---- with a directory --------------------------------------------------- */

START_TEST(what_was_written_is_there_after_opening_again)
{
    kvsql *second;
    uint64_t position;
    kvsql_view *view;

    some_values();
    OK(kvsql_put(db, t("k"), t("v"), 1000000, &err));
    FAILS(KVSQL_LOCKED, dir, kvsql_open(dir, NULL, &second, &err));
    ck_assert_ptr_null(second);
    OK(kvsql_view_pin(db, &view, &err));
    position = kvsql_view_position(view);
    kvsql_view_release(view);
    OK(kvsql_close(db, &err));
    OK(kvsql_open(dir, NULL, &db, &err));
    check_get("string", "text");
    check_get("k", "v");
    OK(kvsql_view_pin(db, &view, &err));
    ck_assert_uint_eq(kvsql_view_position(view), position);
    ck_assert_uint_eq(kvsql_view_count(view), 3);
    kvsql_view_release(view);
}
END_TEST

START_TEST(a_snapshot_is_written_and_opened)
{
    struct kvsql_snapshot_info info;
    struct kvsql_statistics statistics;

    some_values();
    OK(kvsql_snapshot(db, &info, &err));
    ck_assert_uint_eq(info.keys, 2);
    ck_assert_uint_gt(info.size, 4096);
    ck_assert_int_gt(info.created_at, 0);
    ck_assert_ptr_nonnull(strstr(info.file, "snap-"));
    OK(kvsql_statistics_get(db, &statistics, &err));
    ck_assert_uint_eq(statistics.snapshots, 1);
    ck_assert_uint_eq(statistics.snapshot_position, info.position);
    OK(kvsql_snapshot(db, NULL, NULL));
    OK(kvsql_put(db, t("later"), t("v"), 0, &err));
    OK(kvsql_close(db, &err));
    OK(kvsql_open(dir, NULL, &db, &err));
    check_get("string", "text");
    check_get("later", "v");
}
END_TEST

START_TEST(a_sync_makes_everything_durable_and_figures_say_so)
{
    struct kvsql_statistics statistics;

    for (int i = 0; i < 10; i++)
        OK(kvsql_incr(db, t("n"), 1, NULL, &err));
    OK(kvsql_expire(db, t("n"), 1000000, &err));
    OK(kvsql_sync(db, &err));
    OK(kvsql_statistics_get(db, &statistics, &err));
    ck_assert_uint_eq(statistics.position, 11);
    ck_assert_uint_ge(statistics.durable, 11);
    ck_assert_uint_eq(statistics.keys, 1);
    ck_assert_uint_eq(statistics.keys_with_expiry, 1);
    ck_assert_uint_ge(statistics.transactions, 11);
    ck_assert_uint_ge(statistics.changes, 11);
    ck_assert_uint_gt(statistics.memory, 0);
    ck_assert_uint_gt(statistics.wal_size, 0);
    ck_assert_uint_gt(statistics.wal_syncs, 0);
    ck_assert(statistics.writable);
}
END_TEST

START_TEST(a_store_opened_to_read_takes_no_writes)
{
    const struct kvsql_options options = {.read_only = true};
    kvsql *reader;
    kvsql_txn *txn;
    kvsql_bytes value;
    kvsql_view *view;

    some_values();
    OK(kvsql_snapshot(db, NULL, &err));
    OK(kvsql_put(db, t("later"), t("v"), 0, &err));
    OK(kvsql_close(db, &err));
    OK(kvsql_open(dir, &options, &reader, &err));
    OK(kvsql_get(reader, t("later"), &value, &err));
    check_bytes(&value, "v");
    OK(kvsql_view_pin(reader, &view, &err));
    ck_assert_uint_eq(kvsql_view_count(view), 3);
    kvsql_view_release(view);
    FAILS(KVSQL_READONLY, "", kvsql_put(reader, t("k"), t("v"), 0, &err));
    FAILS(KVSQL_READONLY, "", kvsql_delete(reader, t("later"), &err));
    OK(kvsql_begin(reader, 100, &txn, &err));
    FAILS(KVSQL_READONLY, "", kvsql_set_add(txn, t("s"), t("m"), NULL, &err));
    kvsql_rollback(txn);
    FAILS(KVSQL_READONLY, "", kvsql_snapshot(reader, NULL, &err));
    OK(kvsql_close(reader, &err));
    OK(kvsql_open(dir, NULL, &db, &err));
    check_get("later", "v");
}
END_TEST

START_TEST(a_damaged_directory_is_refused_and_named)
{
    char path[128];

    some_values();
    OK(kvsql_close(db, &err));
    (void)snprintf(path, sizeof path, "%s/MANIFEST", dir);
    FILE *file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 30, SEEK_SET), 0);
    const int byte = fgetc(file);
    ck_assert_int_eq(fseek(file, 30, SEEK_SET), 0);
    ck_assert_int_eq(fputc(byte ^ 1, file), byte ^ 1);
    ck_assert_int_eq(fclose(file), 0);
    FAILS(KVSQL_CORRUPT, "MANIFEST", kvsql_open(dir, NULL, &db, &err));
    ck_assert_ptr_null(db);
    file = fopen(path, "r+b");
    ck_assert_int_eq(fseek(file, 30, SEEK_SET), 0);
    ck_assert_int_eq(fputc(byte, file), byte);
    ck_assert_int_eq(fclose(file), 0);
    OK(kvsql_open(dir, NULL, &db, &err));
    check_get("string", "text");
}
END_TEST

START_TEST(a_directory_that_cannot_be_is_named)
{
    kvsql *other;

    FAILS(KVSQL_NOTFOUND, "/proc/none/such",
          kvsql_open("/proc/none/such", NULL, &other, &err));
    ck_assert_ptr_null(other);
    FAILS(KVSQL_IO, "/dev/null", kvsql_open("/dev/null", NULL, &other, &err));
    ck_assert_ptr_null(other);
}
END_TEST

START_TEST(a_store_without_a_directory_has_no_snapshot)
{
    kvsql *other;
    struct kvsql_statistics statistics;

    OK(kvsql_open("", NULL, &other, &err));
    OK(kvsql_put(other, t("k"), t("v"), 0, &err));
    OK(kvsql_sync(other, &err));
    FAILS(KVSQL_INVALID, "", kvsql_snapshot(other, NULL, &err));
    OK(kvsql_statistics_get(other, &statistics, &err));
    ck_assert_uint_eq(statistics.keys, 1);
    ck_assert(statistics.writable);
    OK(kvsql_close(other, &err));
}
END_TEST

static void add_memory_tests(Suite *suite)
{
    TCase *const tc = tcase_create("memory");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, version_and_results_have_names);
    tcase_add_test(tc, closing_nothing_is_fine);
    tcase_add_test(tc, the_header_is_good_cxx_as_well);
    tcase_add_test(tc, a_string_is_put_got_replaced_and_deleted);
    tcase_add_test(tc, a_large_value_comes_back_whole);
    tcase_add_test(tc, wrong_arguments_are_refused_before_anything_happens);
    tcase_add_test(tc, time_to_live_is_kept_shown_and_taken_away);
    tcase_add_test(tc, an_integer_is_counted_and_keeps_its_expiry);
    tcase_add_test(tc, types_are_named_and_a_wrong_one_is_refused);
    tcase_add_test(tc, a_transaction_is_seen_inside_and_kept_or_undone_whole);
    tcase_add_test(tc, savepoints_nest_and_can_be_used_twice);
    tcase_add_test(tc, a_flush_removes_every_key);
    tcase_add_test(tc, the_thread_of_a_transaction_works_through_it_alone);
    tcase_add_test(
        tc, another_threads_transaction_is_waited_for_so_long_and_no_longer);
    tcase_add_test(tc, threads_share_the_store_without_losing_a_change);
    tcase_add_test(tc, the_store_does_not_close_while_a_handle_is_open);
    tcase_add_test(tc, a_view_never_changes);
    tcase_add_test(tc, keys_come_in_order_within_their_bounds);
    tcase_add_test(tc, a_cursor_tells_type_length_expiry_and_value);
    tcase_add_test(tc,
                   a_cursor_of_a_transaction_shows_the_moment_it_was_opened);
    tcase_add_test(tc, a_hash_sets_gets_walks_and_deletes_fields);
    tcase_add_test(tc, a_set_adds_tells_and_removes_members);
    tcase_add_test(tc, a_sorted_set_scores_ranks_and_walks_both_ways);
    tcase_add_test(tc, a_list_pushes_pops_and_indexes_from_both_ends);
    tcase_add_test(tc, over_maxmemory_writes_are_refused_and_reads_go_on);
    tcase_add_test(tc, no_allocation_is_needed_silently);
    tcase_add_test(tc, a_store_without_a_directory_has_no_snapshot);
    tcase_add_test(tc, a_directory_that_cannot_be_is_named);
    suite_add_tcase(suite, tc);
}

int main(void)
{
    Suite *const suite = suite_create("api");
    TCase *const tc = tcase_create("directory");

    add_memory_tests(suite);
    tcase_add_checked_fixture(tc, set_up_dir, tear_down_dir);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, what_was_written_is_there_after_opening_again);
    tcase_add_test(tc, a_snapshot_is_written_and_opened);
    tcase_add_test(tc, a_store_opened_to_read_takes_no_writes);
    tcase_add_test(tc, a_damaged_directory_is_refused_and_named);
    tcase_add_test(tc, a_sync_makes_everything_durable_and_figures_say_so);
    suite_add_tcase(suite, tc);

    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
