/* keys_fx.h - the fixture of a test program that is about keys of a store in
 * memory, whose clock stands until the test moves it: words for keys and for what
 * is often done to them.
 *
 * Thread: the test's. */
#ifndef TESTS_LIB_KEYS_FX_H
#define TESTS_LIB_KEYS_FX_H

#include <string.h>

#include "kvsql/admin.h"
#include "tests/lib/clock_fx.h"
#include "tests/lib/store_fx.h"

static inline void keys_fx_open(void)
{
    clock_start(1000000);
    store_fx_open(&clock_os);
}

static inline struct kv_key text_key(const char *text)
{
    return kv_key_of(text, strlen(text));
}

static inline kvsql_slice text_slice(const char *text)
{
    return (kvsql_slice){.p = text, .size = strlen(text)};
}

static inline void set(const char *key, const char *value, int64_t expires_at)
{
    const struct kv_key k = text_key(key);
    struct kv_txn *const txn = begin();

    ck_assert_int_eq(kv_set(txn, &k, text_slice(value), expires_at, &err),
                     KVSQL_OK);
    commit(txn);
}

static inline void hset(const char *key, const char *field, const char *value,
                 int64_t expires_at)
{
    const struct kv_key k = text_key(key), f = text_key(field);
    struct kv_txn *const txn = begin();

    ck_assert_int_eq(
        kv_hset(txn, &k, &f, text_slice(value), expires_at, NULL, &err),
        KVSQL_OK);
    commit(txn);
}

static inline bool exists(const char *key, struct kv_item *item)
{
    const struct kv_key k = text_key(key);
    struct kv_txn *const txn = begin();
    struct kv_item ignored;
    struct kv_at at;

    kv_at_txn(txn, &at);
    const bool found = kv_get(&at, &k, item != NULL ? item : &ignored);
    commit(txn);
    return found;
}

static inline bool field_exists(const char *key, const char *field)
{
    const struct kv_key k = text_key(key), f = text_key(field);
    struct kv_txn *const txn = begin();
    struct kv_item item;
    struct kv_at at;

    kv_at_txn(txn, &at);
    const bool found =
        kv_get(&at, &k, &item) && kv_elem_find(&at, &item, &f, NULL);
    commit(txn);
    return found;
}

static inline void tick(void)
{
    while (kv_store_tick(store))
        continue;
}

static inline struct kv_info info_now(void)
{
    struct kv_info info;

    memset(&info, 0, sizeof(info));
    kv_store_info(store, &info);
    return info;
}

#endif
