/* store_fx.h - the fixture of a test program that is about a store in memory
 * without a keeper: `db`, its store, and transactions that must not fail.
 *
 * Thread: the test's. */
#ifndef KVSQL_TESTS_LIB_STORE_FX_H
#define KVSQL_TESTS_LIB_STORE_FX_H

#include "kvsql/admin.h"
#include "kvsql/store_private.h"
#include "tests/lib/unit.h"

static kvsql *db;
static struct kv_store *store;
static struct kvsql_error err;

static inline void store_fx_open(const struct kv_os *os)
{
    const struct kvsql_options options = {.no_keeper = true};

    ck_assert_int_eq(kv_open_os("", &options, os, NULL, NULL, &db, &err),
                     KVSQL_OK);
    store = kv_db_store(db);
}

/* Close it; no node, no view and no undo is left. */
static inline void store_fx_close(void)
{
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_VIEW), 0);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_UNDO), 0);
}

static inline struct kv_txn *begin(void)
{
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    return txn;
}

static inline void commit(struct kv_txn *txn)
{
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

#endif
