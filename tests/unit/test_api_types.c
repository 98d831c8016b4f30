/* test_api_types.c - the public C API: hashes, sets, sorted sets, lists. */
#include <math.h>
#include <stdio.h>

#include "tests/lib/api_fx.h"

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

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, api_fx_open, api_fx_close);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, a_hash_sets_gets_walks_and_deletes_fields);
    tcase_add_test(tests, a_set_adds_tells_and_removes_members);
    tcase_add_test(tests, a_sorted_set_scores_ranks_and_walks_both_ways);
    tcase_add_test(tests, a_list_pushes_pops_and_indexes_from_both_ends);
}

int main(void)
{
    return unit_run("api of types", add);
}
