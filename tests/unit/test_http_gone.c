/* test_http_gone.c - a worker goes on with what a client asked that is gone.
 *
 * The store is held by the test, so the worker stands between what it has begun
 * and what it still reads of the request. Meanwhile the library's buffer of the
 * connection goes, and the next client's bytes come to where it was.
 *
 * Thread: the test's. */
#include "tests/lib/http_fx.h"

#include "tests/lib/tempdir.h"

#define MAKE(path, key)                                                        \
    "POST /v1/" path " HTTP/1.1\r\n" HOST "Idempotency-Key: " key "\r\n"       \
    "Content-Length: 0\r\n\r\n"

/* Whether a worker is at one that has an Idempotency-Key. */
static bool runs(void)
{
    kv_lock_take(&server->queue_lock);
    const bool some = server->again_runs != NULL;
    kv_lock_drop(&server->queue_lock);
    return some;
}

START_TEST(what_a_worker_reads_of_a_request_outlives_its_client)
{
    char dir[TEMPDIR_MAX];
    struct kv_txn *txn;

    tempdir_make(dir, "test_http_gone");
    start_in(dir, KVSQL_FSYNC_NO);
    ck_assert_int_eq(kv_txn_begin(db, true, PATIENCE_S * 1000, &txn, &err),
                     KVSQL_OK);
    const int leaves = dial();
    say_text(leaves, MAKE("snapshots", "first"));
    while (!runs())
        kv_os_sleep_ms(1);
    close(leaves);
    while (atomic_load(&server->stats.connected) > 0)
        kv_os_sleep_ms(1);
    const int next = dial();
    say_text(next, MAKE("snapshotz", "other"));
    ck_assert_int_eq(status_of(hear_one(next)), 404);
    kv_txn_rollback(txn);
    while (runs())
        kv_os_sleep_ms(1);
    say_text(next, MAKE("snapshots", "first"));
    ck_assert_int_eq(status_of(hear_one(next)), 202);
    ck_assert_uint_eq(count_of(reply, "Idempotency-Replayed: true"), 1);
    close(next);
    stop();
    tempdir_remove(dir);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, what_a_worker_reads_of_a_request_outlives_its_client);
}

int main(void)
{
    return unit_run("http_gone", add);
}
