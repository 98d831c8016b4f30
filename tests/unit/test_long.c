/* test_long.c - transactions of any length (UN3): what they hold, and that they
 * go back, through the core and through SQL. Any order of events is the matter
 * of tests/model/test_store_views.c. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/store_fx.h"
#include "vtab/session.h"

#define KEYS 20000u
#define LIMIT (64u * 1024)

static void set(struct kv_txn *txn, unsigned n, unsigned round)
{
    char name[32], value[64];
    const int size = snprintf(name, sizeof(name), "user:%u:name", n % KEYS);
    const struct kv_key key = kv_key_of(name, (size_t)size);
    const int length =
        snprintf(value, sizeof(value), "%0*u", 30 + (int)(round % 3), n);

    ck_assert_int_eq(kv_set(txn, &key,
                            (kvsql_slice){.p = value, .size = (size_t)length},
                            0, &err),
                     KVSQL_OK);
}

static void settle(void)
{
    while (kv_store_tick(store))
        continue;
    kv_store_check(store);
    ck_assert_uint_eq(store->view_count, 0);
    ck_assert_uint_eq(store->bytes_retired, 0);
    ck_assert_uint_eq(store->bytes_live, kv_mem_bytes(KV_MEM_NODE));
}

static void setup(void)
{
    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    store_fx_open(kv_os_real());
    for (unsigned i = 0; i < KEYS;) {
        struct kv_txn *const txn = begin();
        for (unsigned k = 0; k < 100; k++)
            set(txn, i++, 0);
        ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
        settle();
    }
    store->undo_txn_max = LIMIT;
}

/* All keys in another order, `rounds` times; the most memory on the way. */
static void update_all(struct kv_txn *txn, unsigned rounds, uint64_t *data_max,
                       uint64_t *undo_max)
{
    *data_max = *undo_max = 0;
    for (unsigned round = 1; round <= rounds; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            kv_txn_step(txn);
            set(txn, i * 7919, round);
            const uint64_t data = kv_mem_bytes(KV_MEM_NODE);
            const uint64_t undo = kv_mem_bytes(KV_MEM_UNDO);
            *data_max = data > *data_max ? data : *data_max;
            *undo_max = undo > *undo_max ? undo : *undo_max;
        }
    }
}

START_TEST(a_long_transaction_holds_two_versions_and_a_short_log)
{
    const uint64_t before = kv_mem_bytes(KV_MEM_NODE);
    const uint64_t hash = kv_store_hash(store);
    uint64_t data, undo;

    for (unsigned round = 0; round < 2; round++) {
        struct kv_txn *const txn = begin();
        update_all(txn, 6, &data, &undo);
        ck_assert_uint_eq(txn->longs, 1);
        /* nodes half full; what was moved since the log was dropped last */
        ck_assert_uint_lt(data, 2 * before + before / 2 + LIMIT);
        /* the log, and 16 bytes per block that the LONG view holds */
        ck_assert_uint_lt(undo, 8 * LIMIT + before / 8);
        if (round == 0)
            kv_txn_rollback(txn);
        else
            ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
        ck_assert(round > 0 || kv_store_hash(store) == hash);
        settle();
    }
}
END_TEST

/* The control: a caller that never says where its boundaries are. */
START_TEST(a_transaction_without_steps_keeps_its_log)
{
    const uint64_t hash = kv_store_hash(store);
    struct kv_txn *const txn = begin();

    for (unsigned i = 0; i < KEYS; i++)
        set(txn, i * 7919, 1);
    ck_assert_uint_eq(txn->longs, 0);
    ck_assert_uint_gt(kv_mem_bytes(KV_MEM_UNDO), 20 * LIMIT);
    kv_txn_rollback(txn);
    ck_assert_uint_eq(kv_store_hash(store), hash);
    settle();
}
END_TEST

START_TEST(kept_marks_hold_a_view_each_until_they_are_released)
{
    struct kv_txn *const txn = begin();
    struct kv_mark mark[4];
    uint64_t hash[4], data, undo;

    for (unsigned i = 0; i < 4; i++) {
        mark[i] = kv_txn_mark(txn);
        hash[i] = kv_store_hash(store);
        kv_txn_keep(txn, &mark[i]);
        update_all(txn, 1, &data, &undo);
        ck_assert_uint_eq(txn->longs, i + 1);
    }
    kv_txn_keep(txn, &mark[2]); /* the last is released */
    ck_assert_uint_eq(txn->longs, 3);
    kv_txn_restore(txn, mark[2]);
    ck_assert_uint_eq(kv_store_hash(store), hash[2]);
    ck_assert_uint_eq(txn->longs, 2);
    update_all(txn, 1, &data, &undo);
    ck_assert_uint_eq(txn->longs, 3);
    kv_txn_keep(txn, &mark[0]);
    ck_assert_uint_eq(txn->longs, 1);
    kv_txn_restore(txn, mark[0]);
    ck_assert_uint_eq(kv_store_hash(store), hash[0]);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
    ck_assert_uint_eq(kv_store_hash(store), hash[0]);
    settle();
}
END_TEST

/* Bytes of use are worth a log, but no LONG view of a batch that is none. */
START_TEST(a_long_transaction_that_changes_nothing_leaves_nothing)
{
    struct kv_txn *const txn = begin();
    uint64_t idle;

    for (unsigned i = 0; i < KEYS; i++) {
        char name[32];
        const int size = snprintf(name, sizeof(name), "user:%u:name", i);
        const struct kv_key key = kv_key_of(name, (size_t)size);
        kv_txn_step(txn);
        ck_assert_int_eq(kv_item_idle(txn, &key, &idle, &err), KVSQL_OK);
    }
    ck_assert_uint_gt(txn->longs, 0);
    ck_assert_uint_eq(kv_txn_count(txn), 0);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
    ck_assert_uint_eq(store->txn.longs, 0);
    settle();
    ck_assert_int_eq(kv_txn_commit(begin(), NULL, &err), KVSQL_OK);
}
END_TEST

/* ---- through SQL ---------------------------------------------------------------- */

static struct vt_session *session;

static int64_t run(const char *sql)
{
    struct vt_statement *statement;
    struct vt_value value;
    int64_t answer = -1;
    bool row = true;

    ck_assert_int_eq(
        vt_prepare(session, sql, strlen(sql), NULL, &statement, &err), KVSQL_OK);
    for (;;) {
        ck_assert_msg(vt_step(statement, &row, &err) == KVSQL_OK, "%s: %s", sql,
                      err.text);
        if (!row)
            break;
        vt_column(statement, 0, &value);
        answer = value.integer;
    }
    vt_finish(statement);
    return answer;
}

static int64_t marked(char c)
{
    char sql[96];

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM strings WHERE value LIKE '%%%c'", c);
    return run(sql);
}

START_TEST(sql_savepoints_in_a_long_transaction_go_back)
{
    const struct vt_limits limits = {.trusted = true};
    const uint64_t before = kv_mem_bytes(KV_MEM_NODE);
    const uint64_t hash = kv_store_hash(store);

    ck_assert_int_eq(vt_session_open(db, &limits, &session, &err), KVSQL_OK);
    (void)run("BEGIN");
    (void)run("UPDATE strings SET value = value || 'a'");
    (void)run("SAVEPOINT one");
    (void)run("UPDATE strings SET value = value || 'b'");
    (void)run("SAVEPOINT two");
    (void)run("DELETE FROM strings WHERE key LIKE '%1:name'");
    (void)run("UPDATE strings SET value = value || 'c'");
    ck_assert_uint_ge(store->txn.longs, 3);
    ck_assert_int_eq(marked('c'), KEYS - KEYS / 10);
    (void)run("ROLLBACK TO two");
    ck_assert_int_eq(marked('b'), KEYS);
    (void)run("UPDATE strings SET value = value || 'd'");
    (void)run("RELEASE two");
    ck_assert_int_eq(marked('d'), KEYS);
    (void)run("ROLLBACK TO one");
    ck_assert_int_eq(marked('a'), KEYS);
    for (unsigned i = 0; i < 5; i++) { /* each statement has its savepoint */
        (void)run("UPDATE strings SET value = value || 'e'");
        ck_assert_uint_lt(kv_mem_bytes(KV_MEM_NODE), 6 * before);
    }
    (void)run("RELEASE one");
    ck_assert_int_eq(marked('e'), KEYS);
    (void)run("ROLLBACK");
    ck_assert_uint_eq(kv_store_hash(store), hash);
    vt_session_close(session);
    settle();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, store_fx_close);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests,
                   a_long_transaction_holds_two_versions_and_a_short_log);
    tcase_add_test(tests, a_transaction_without_steps_keeps_its_log);
    tcase_add_test(tests,
                   a_long_transaction_that_changes_nothing_leaves_nothing);
    tcase_add_test(tests, kept_marks_hold_a_view_each_until_they_are_released);
    tcase_add_test(tests, sql_savepoints_in_a_long_transaction_go_back);
}

int main(void)
{
    return unit_run("long transactions", add);
}
