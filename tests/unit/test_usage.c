/* test_usage.c - what MEMORY USAGE says of one key. */
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/store_private.h"
#include "tests/lib/unit.h"

static kvsql *db;
static struct kvsql_error err;

static void setup(void)
{
    const struct kvsql_options options = {.no_keeper = true};

    ck_assert_int_eq(
        kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err),
        KVSQL_OK);
}

static void teardown(void)
{
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
}

static struct kv_key number_key(char text[64], const char *format, unsigned i)
{
    return kv_key_of(text, (size_t)snprintf(text, 64, format, i));
}

static void put_string(struct kv_txn *txn, const struct kv_key *key,
                       size_t size)
{
    static const char bytes[5000] = "x";

    ck_assert_int_eq(kv_set(txn, key, (kvsql_slice){bytes, size}, 0, &err),
                     KVSQL_OK);
}

/* Keys of every form: inline, blob, packed, tree, long keys, with expiry. */
static void fill(unsigned keys)
{
    struct kv_txn *txn;
    char text[64], member[64];
    char wide[400];

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    for (unsigned i = 0; i < keys; i++) {
        struct kv_key key = number_key(text, "key:%u", i * 7919 % keys);
        put_string(txn, &key, i % 300);
        if (i % 3 == 0)
            ck_assert_int_eq(kv_expire(txn, &key, kv_now(db) + 1000000, &err),
                             KVSQL_OK);
        memset(wide, 'w', sizeof(wide));
        memcpy(wide, text, strlen(text));
        key = kv_key_of(wide, sizeof(wide));
        put_string(txn, &key, 20);
        key = number_key(text, "big:%u", i % 10);
        const struct kv_key m = number_key(member, "member of a set %u", i);
        ck_assert_int_eq(kv_sadd(txn, &key, &m, NULL, &err), KVSQL_OK);
        ck_assert_int_eq(kv_zadd(txn, &key, &m, i, NULL, &err),
                         KVSQL_WRONGTYPE);
        key = number_key(text, "rank:%u", i % 10);
        ck_assert_int_eq(kv_zadd(txn, &key, &m, i, NULL, &err), KVSQL_OK);
    }
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

START_TEST(the_shares_of_all_keys_are_the_memory_of_the_data)
{
    struct kv_view *view;
    struct kv_keys keys;
    struct kv_info info;
    struct kv_at at;
    uint64_t sum = 0, bytes, count = 0;

    fill(2000);
    kv_info_get(db, &info);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    kv_keys_init(&keys, &at, 0);
    for (bool ok = kv_keys_first(&keys); ok; ok = kv_keys_next(&keys)) {
        ck_assert(kv_key_memory(&at, &keys.key, &bytes));
        sum += bytes;
        count++;
    }
    kv_unpin(view);
    ck_assert_uint_eq(count, 4020);
    ck_assert_uint_le(sum, info.memory_data + count); /* rounded, each */
    ck_assert_uint_ge(sum, info.memory_data - count);
}
END_TEST

START_TEST(an_absent_and_an_expired_key_take_nothing)
{
    struct kv_txn *txn;
    struct kv_at at;
    uint64_t bytes;
    const struct kv_key key = kv_key_of("a", 1), other = kv_key_of("b", 1);

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    kv_at_txn(txn, &at);
    ck_assert(!kv_key_memory(&at, &key, &bytes));
    put_string(txn, &key, 10);
    ck_assert(kv_key_memory(&at, &key, &bytes));
    ck_assert(!kv_key_memory(&at, &other, &bytes));
    ck_assert_int_eq(
        kv_set(txn, &key, (kvsql_slice){"x", 1}, kv_at_wall(&at) + 1, &err),
        KVSQL_OK);
    at.now += 1;
    ck_assert(!kv_key_memory(&at, &key, &bytes));
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}
END_TEST

/* The memory that counts as data after a change that is kept or taken back. */
static uint64_t data_after(kvsql_rc (*change)(struct kv_txn *txn), bool keep)
{
    struct kv_txn *txn;
    struct kv_info info;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(change(txn), KVSQL_OK);
    if (keep)
        ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
    else
        kv_txn_rollback(txn);
    kv_info_get(db, &info);
    return info.memory_data;
}

static kvsql_rc change_del(struct kv_txn *txn)
{
    const struct kv_key key = kv_key_of("rank:1", 6);

    return kv_del(txn, &key, NULL, &err);
}

static kvsql_rc change_flush(struct kv_txn *txn)
{
    return kv_flush(txn, &err);
}

START_TEST(a_removed_collection_is_no_data_from_then_on)
{
    struct kv_info info;

    fill(2000);
    kv_info_get(db, &info);
    const uint64_t full = info.memory_data;
    ck_assert_uint_eq(data_after(change_del, false), full);
    const uint64_t less = data_after(change_del, true);
    ck_assert_uint_lt(less, full - 2000); /* before anything was freed */
    ck_assert_uint_eq(data_after(change_flush, false), less);
    ck_assert_uint_eq(data_after(change_flush, true), 0);
    while (kv_store_tick(kv_db_store(db)))
        continue;
    kv_info_get(db, &info);
    ck_assert_uint_eq(info.memory_data, 0);
    ck_assert_uint_eq(info.memory_retired, 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, the_shares_of_all_keys_are_the_memory_of_the_data);
    tcase_add_test(tests, a_removed_collection_is_no_data_from_then_on);
    tcase_add_test(tests, an_absent_and_an_expired_key_take_nothing);
}

int main(void)
{
    return unit_run("usage", add);
}
