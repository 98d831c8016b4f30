/* test_latency.c - what the store measures of itself. */
#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command/command.h"
#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "kvsql/inside.h"
#include "tests/lib/unit.h"

#define VALUE_SIZE 100000u
#define PATIENCE_MS 120000u

static kvsql *db;
static struct kvsql_error err;
static char dir[64];
static atomic_uint seen[KV_LATENCY_COUNT];

static void note(enum kv_latency what, uint64_t ns)
{
    ck_assert_uint_lt(what, KV_LATENCY_COUNT);
    ck_assert_uint_lt(ns, UINT64_C(1) << 62);
    atomic_fetch_add(&seen[what], 1);
}

static void setup(void)
{
    const struct kvsql_options options = {.fsync = KVSQL_FSYNC_ALWAYS};

    for (unsigned i = 0; i < KV_LATENCY_COUNT; i++)
        atomic_store(&seen[i], 0);
    snprintf(dir, sizeof dir, "/tmp/test_latency.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(kv_open_os(dir, &options, kv_os_real(), NULL, NULL, &db,
                                &err),
                     KVSQL_OK);
}

static void teardown(void)
{
    char line[128];

    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    /* nobody writes any more */
    ck_assert_uint_eq(atomic_load(&seen[KV_LATENCY_WAL_WRITE]),
                      atomic_load(&seen[KV_LATENCY_WAL_WRITE_ALONE]) +
                          atomic_load(&seen[KV_LATENCY_WAL_WRITE_SYNCING]));
    snprintf(line, sizeof line, "rm -rf %s", dir);
    ck_assert_int_eq(system(line), 0);
}

static void put(const char *name, uint32_t size, int64_t ttl_ms)
{
    static char value[VALUE_SIZE];
    const struct kv_key key = kv_key_of(name, strlen(name));
    struct kv_ticket ticket;
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){value, size},
                            ttl_ms > 0 ? kv_now(db) + ttl_ms : 0, &err),
                     KVSQL_OK);
    ck_assert_int_eq(kv_txn_commit(txn, &ticket, &err), KVSQL_OK);
    ck_assert_int_eq(kv_gate_wait(db, ticket, &err), KVSQL_OK);
}

/* Until it was seen. */
static void await(enum kv_latency what)
{
    const uint64_t begun = kv_os_mono_ns();

    while (atomic_load(&seen[what]) == 0) {
        ck_assert_msg(kv_os_mono_ns() - begun < PATIENCE_MS * UINT64_C(1000000),
                      "event %d does not come", (int)what);
        usleep(1000);
    }
}

START_TEST(everything_that_is_asked_for_is_told)
{
    struct kv_snapshot_info snapshot;
    struct kv_info info;
    struct kv_txn *txn;

    kv_set_latency(db, note, 0);
    put("a", 10, 100); /* still to come when it is set */
    await(KV_LATENCY_WAL_WRITE);
    await(KV_LATENCY_WAL_SYNC);
    await(KV_LATENCY_EXPIRE_CYCLE);
    ck_assert_uint_eq(atomic_load(&seen[KV_LATENCY_EVICTION_CYCLE]), 0);
    for (unsigned i = 0; i < 20; i++) {
        char name[8];

        snprintf(name, sizeof name, "b%u", i);
        put(name, VALUE_SIZE, 0);
    }
    ck_assert_int_eq(kv_txn_begin(db, false, 0, &txn, &err), KVSQL_OK);
    kv_txn_set_policy(txn, KVSQL_ALLKEYS_RANDOM, 0);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
    kv_info_get(db, &info);
    kv_set_maxmemory(db, info.memory_data / 2);
    await(KV_LATENCY_EVICTION_CYCLE); /* the keeper's */
    await(KV_LATENCY_EVICTION_DEL);
    ck_assert_int_eq(kv_snapshot_run(db, NULL, NULL, &snapshot, &err),
                     KVSQL_OK);
    ck_assert_uint_eq(atomic_load(&seen[KV_LATENCY_SNAPSHOT]), 1);
}
END_TEST

START_TEST(nothing_is_told_below_the_threshold_or_without_one)
{
    put("a", 10, 0);
    kv_set_latency(db, note, UINT64_MAX - 1);
    put("a", 20, 0);
    kv_set_latency(db, NULL, 0);
    put("a", 30, 0);
    for (unsigned i = 0; i < KV_LATENCY_COUNT; i++)
        ck_assert_uint_eq(atomic_load(&seen[i]), 0);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 2 * PATIENCE_MS / 1000);
    tcase_add_test(tests, everything_that_is_asked_for_is_told);
    tcase_add_test(tests, nothing_is_told_below_the_threshold_or_without_one);
}

int main(void)
{
    return unit_run("latency", add_tests);
}
