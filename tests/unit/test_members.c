/* test_members.c - long members of sorted sets: one blob for both trees (EN4).
 *
 * The blob is owned by the tree by member and borrowed by the tree by score;
 * kv_store_check compares the pointers. Any order of events is the matter of
 * tests/model. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/store_fx.h"

#define LONG 1000u
#define COUNT 500u

static struct kv_key zset;

static void setup(void)
{
    store_fx_open(kv_os_real());
    zset = kv_key_of("zset", 4);
}

static void settle(void)
{
    while (kv_store_tick(store))
        continue;
    kv_store_check(store);
    ck_assert_uint_eq(store->bytes_retired, 0);
    ck_assert_uint_eq(store->bytes_live, kv_mem_bytes(KV_MEM_NODE));
}

static void teardown(void)
{
    settle();
    store_fx_close();
}

/* Member n: all but its last digits are alike, so that a prefix would make the
 * suffix short; odd ones are of class BLOB. */
static struct kv_key member(uint8_t buffer[LONG + 1], unsigned n)
{
    char digits[16];

    snprintf(digits, sizeof(digits), "%08u", n);
    memset(buffer, 'm', LONG);
    memcpy(buffer + LONG - 8, digits, 8);
    if (n % 2)
        buffer[LONG - 9] = 0xff;
    return kv_key_of(buffer, LONG);
}

static void add_all(struct kv_txn *txn, double by)
{
    uint8_t buffer[LONG + 1];

    for (unsigned i = 0; i < COUNT; i++) {
        const struct kv_key m = member(buffer, i);
        ck_assert_int_eq(kv_zadd(txn, &zset, &m, i * by, NULL, &err),
                         KVSQL_OK);
    }
}

static void fill(void)
{
    struct kv_txn *const txn = begin();

    add_all(txn, 1);
    commit(txn);
    settle();
}

/* Members by score, up to down when `by` was negative. */
static void expect_order(const struct kv_at *at, bool down)
{
    uint8_t buffer[LONG + 1];
    struct kv_elems elems;
    struct kv_item item;
    unsigned n = 0;

    ck_assert(kv_get(at, &zset, &item));
    kv_elems_init(&elems, at, &item, KV_ELEMS_SCORE);
    for (bool ok = kv_elems_first(&elems); ok; ok = kv_elems_next(&elems)) {
        const unsigned i = down ? COUNT - 1 - n : n;
        const struct kv_key m = member(buffer, i);
        ck_assert_uint_eq(elems.elem.key.size, m.size);
        ck_assert_int_eq(memcmp(elems.elem.key.p, m.p, m.size), 0);
        ck_assert(elems.elem.score == (down ? -1.0 * i : 1.0 * i));
        n++;
    }
    ck_assert_uint_eq(n, COUNT);
}

START_TEST(a_long_member_is_there_once)
{
    const uint64_t payload = COUNT * LONG;
    struct kv_at at;

    fill();
    ck_assert_uint_gt(kv_mem_bytes(KV_MEM_NODE), payload);
    ck_assert_uint_lt(kv_mem_bytes(KV_MEM_NODE), payload + payload / 2);
    struct kv_txn *const txn = begin();
    kv_at_txn(txn, &at);
    expect_order(&at, false);
    commit(txn);
}
END_TEST

START_TEST(a_new_score_is_written_into_the_blob_when_no_view_sees_it)
{
    struct kv_at at;

    fill();
    const uint64_t blocks = kv_mem_blocks(KV_MEM_NODE);
    struct kv_txn *const txn = begin();
    const uint64_t hash = kv_store_hash(store);
    const struct kv_mark mark = kv_txn_mark(txn);
    add_all(txn, -1);
    /* no copy of a member on the way, though nothing is freed yet */
    ck_assert_uint_lt(kv_mem_bytes(KV_MEM_NODE), 2 * COUNT * LONG);
    kv_at_txn(txn, &at);
    expect_order(&at, true);
    kv_txn_restore(txn, mark);
    ck_assert_uint_eq(kv_store_hash(store), hash);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), blocks);
    expect_order(&at, false);
    add_all(txn, -1);
    commit(txn);
}
END_TEST

START_TEST(a_view_keeps_the_old_score_of_a_long_member)
{
    struct kv_view *view;
    struct kv_at at;

    fill();
    const uint64_t before = kv_mem_bytes(KV_MEM_NODE);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    struct kv_txn *txn = begin();
    add_all(txn, -1);
    commit(txn);
    kv_store_check(store);
    kv_at_view(view, &at);
    expect_order(&at, false);
    txn = begin();
    kv_at_txn(txn, &at);
    expect_order(&at, true);
    add_all(txn, 1); /* the copies are ours: in place again */
    commit(txn);
    kv_at_view(view, &at);
    expect_order(&at, false);
    kv_unpin(view);
    settle();
    ck_assert_uint_lt(kv_mem_bytes(KV_MEM_NODE), before + before / 10);
}
END_TEST

START_TEST(removing_long_members_frees_each_once)
{
    uint8_t buffer[LONG + 1];
    struct kv_txn *txn;
    bool existed;

    for (unsigned round = 0; round < 2; round++) { /* one by one; DEL: reap */
        fill();
        txn = begin();
        const uint64_t hash = kv_store_hash(store);
        for (unsigned i = 0; round == 0 && i < COUNT; i++) {
            const struct kv_key m = member(buffer, (i * 7) % COUNT);
            ck_assert_int_eq(kv_zrem(txn, &zset, &m, &existed, &err),
                             KVSQL_OK);
            ck_assert(existed);
        }
        if (round == 1)
            ck_assert_int_eq(kv_del(txn, &zset, NULL, &err), KVSQL_OK);
        kv_txn_restore(txn, (struct kv_mark){.undo = txn->base});
        ck_assert_uint_eq(kv_store_hash(store), hash);
        for (unsigned i = 0; round == 0 && i < COUNT; i++) {
            const struct kv_key m = member(buffer, i);
            ck_assert_int_eq(kv_zrem(txn, &zset, &m, NULL, &err), KVSQL_OK);
        }
        if (round == 1)
            ck_assert_int_eq(kv_del(txn, &zset, NULL, &err), KVSQL_OK);
        commit(txn);
        settle();
        ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
    }
}
END_TEST

/* TS8: adding and moving a long member, under a view and without. */
START_TEST(a_long_member_without_memory_changes_nothing)
{
    uint8_t buffer[LONG + 1];
    struct kv_view *view = NULL;

    fill();
    for (unsigned pinned = 0; pinned < 2; pinned++) {
        if (pinned)
            ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
        for (unsigned add = 0; add < 2; add++) {
            const struct kv_key m = member(buffer, add ? COUNT + 1 : 77);
            kvsql_rc rc = KVSQL_NOMEM;
            for (uint64_t n = 1; rc != KVSQL_OK; n++) {
                struct kv_txn *const txn = begin();
                const uint64_t hash = kv_store_hash(store);
                kv_mem_fail_at(n, 0);
                rc = kv_zadd(txn, &zset, &m, -5, NULL, &err);
                kv_mem_fail_at(0, 0);
                ck_assert(rc == KVSQL_OK || rc == KVSQL_NOMEM);
                if (rc != KVSQL_OK)
                    ck_assert_uint_eq(kv_store_hash(store), hash);
                else
                    ck_assert_uint_gt(n, pinned + add);
                kv_txn_rollback(txn);
                kv_store_check(store);
            }
        }
    }
    kv_unpin(view);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_long_member_is_there_once);
    tcase_add_test(tests,
                   a_new_score_is_written_into_the_blob_when_no_view_sees_it);
    tcase_add_test(tests, a_view_keeps_the_old_score_of_a_long_member);
    tcase_add_test(tests, removing_long_members_frees_each_once);
    tcase_add_test(tests, a_long_member_without_memory_changes_nothing);
}

int main(void)
{
    return unit_run("members", add);
}
