/* test_api_txn.c - the public C API: transactions, views and cursors. */
#include <pthread.h>
#include <stdio.h>

#include "tests/lib/api_fx.h"

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

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, api_fx_open, api_fx_close);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, a_transaction_is_seen_inside_and_kept_or_undone_whole);
    tcase_add_test(tests, savepoints_nest_and_can_be_used_twice);
    tcase_add_test(tests, a_flush_removes_every_key);
    tcase_add_test(tests, the_thread_of_a_transaction_works_through_it_alone);
    tcase_add_test(
        tests, another_threads_transaction_is_waited_for_so_long_and_no_longer);
    tcase_add_test(tests, threads_share_the_store_without_losing_a_change);
    tcase_add_test(tests, the_store_does_not_close_while_a_handle_is_open);
    tcase_add_test(tests, a_view_never_changes);
    tcase_add_test(tests, keys_come_in_order_within_their_bounds);
    tcase_add_test(tests, a_cursor_tells_type_length_expiry_and_value);
    tcase_add_test(tests,
                   a_cursor_of_a_transaction_shows_the_moment_it_was_opened);
}

int main(void)
{
    return unit_run("api of transactions", add);
}
