/* test_wal_room.c - batches that wait for the disk: there are no more than
 * wal-buffer-max allows (F8), none is larger than a frame (D4); and tickets that
 * are older than the gate remembers (D6). */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/gate.h"
#include "kvsql/wal.h"
#include "tests/lib/run.h"
#include "tests/lib/unit.h"

#define BUFFER (64u << 10)
#define VALUE (10u << 10)
#define PUTS 30

static void diag_drop(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

/* ---- a disk whose syncs wait ------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool closed;
    int (*sync)(void *arg, int file);
} door = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, NULL};

static void door_set(bool closed)
{
    (void)pthread_mutex_lock(&door.lock);
    door.closed = closed;
    (void)pthread_cond_broadcast(&door.cond);
    (void)pthread_mutex_unlock(&door.lock);
}

static int waiting_sync(void *arg, int file)
{
    (void)pthread_mutex_lock(&door.lock);
    while (door.closed)
        (void)pthread_cond_wait(&door.cond, &door.lock);
    (void)pthread_mutex_unlock(&door.lock);
    return door.sync(arg, file);
}

static struct run run;
static struct kv_os waiting_os;
static _Atomic unsigned put_count;
static char value[VALUE];

static void waiting_open(uint64_t buffer)
{
    run_init(&run, 3, KVSQL_FSYNC_NO);
    run.options.wal_segment_size = 64 << 20;
    run.options.wal_buffer_max = buffer;
    waiting_os = *fakeos_os(run.fake);
    door.sync = waiting_os.data_sync;
    waiting_os.data_sync = waiting_sync;
    ck_assert_int_eq(kv_open_os("data", &run.options, &waiting_os, NULL, NULL,
                                &run.db, &run.err), KVSQL_OK);
    atomic_store(&put_count, 0);
    door_set(true);
}

static void *put_all(void *arg)
{
    const struct kv_key key = kv_key_of("k", 1);
    struct kvsql_error err;

    for (unsigned i = 0; i < PUTS; i++) {
        struct kv_ticket ticket;
        struct kv_txn *txn;

        ck_assert_int_eq(kv_txn_begin(run.db, true, 0, &txn, &err), KVSQL_OK);
        ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){value, VALUE}, 0, &err),
                         KVSQL_OK);
        ck_assert_int_eq(kv_txn_commit(txn, &ticket, &err), KVSQL_OK);
        atomic_fetch_add(&put_count, 1);
    }
    return arg;
}

static uint64_t memory(void)
{
    struct kv_info info;

    kv_info_get(run.db, &info);
    return info.memory_wal;
}

/* Everything is there after all. */
static void check_all(void)
{
    ck_assert_int_eq(kv_sync(run.db, UINT64_MAX, &run.err), KVSQL_OK);
    ck_assert_uint_eq(run_position(&run), PUTS);
    ck_assert_int_eq(run_close(&run), KVSQL_OK);
    fakeos_restart(run.fake); /* the power goes: it was synced */
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_uint_eq(run_position(&run), PUTS);
    run_fini(&run);
}

START_TEST(writers_wait_when_too_much_waits_for_the_disk)
{
    pthread_t writer;

    waiting_open(BUFFER);
    ck_assert_int_eq(pthread_create(&writer, NULL, put_all, NULL), 0);
    while (memory() < BUFFER)
        kv_os_sleep_ms(1);
    for (int i = 0; i < 50; i++) {
        ck_assert_uint_le(memory(), BUFFER + VALUE + 200);
        ck_assert_uint_le(atomic_load(&put_count), BUFFER / VALUE + 1);
        kv_os_sleep_ms(1);
    }
    door_set(false);
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    check_all();
}
END_TEST

/* The control: with more room nobody waits for the same disk. */
START_TEST(writers_do_not_wait_while_there_is_room)
{
    waiting_open(64 * BUFFER);
    (void)put_all(NULL);
    ck_assert_uint_ge(memory(), (uint64_t)PUTS * VALUE);
    door_set(false);
    check_all();
}
END_TEST

/* ---- a batch that is too large ------------------------------------------------------ */

#define LARGE (56u << 20)

START_TEST(a_batch_over_the_limit_is_refused_and_nothing_of_it_is_left)
{
    char *large = calloc(1, LARGE);
    struct kv_ticket ticket;
    struct kv_txn *txn;

    ck_assert_ptr_nonnull(large);
    run_init(&run, 4, KVSQL_FSYNC_ALWAYS);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_int_eq(run_put(&run, 0), KVSQL_OK);
    ck_assert_int_eq(kv_txn_begin(run.db, true, 0, &txn, &run.err), KVSQL_OK);
    kvsql_rc rc = KVSQL_OK;
    for (unsigned i = 0; rc == KVSQL_OK && i <= KV_WAL_FRAME_MAX / LARGE; i++) {
        const struct kv_key key = kv_key_of("k1", 2);
        rc = kv_set(txn, &key, (kvsql_slice){large, LARGE}, 0, &run.err);
    }
    if (rc == KVSQL_OK)
        rc = kv_txn_commit(txn, &ticket, &run.err);
    else
        kv_txn_rollback(txn);
    ck_assert_int_eq(rc, KVSQL_TOOBIG);
    ck_assert_ptr_nonnull(strstr(run.err.text, "over the limit"));
    ck_assert_int_eq(run_put(&run, 2), KVSQL_OK); /* the position after the first */
    ck_assert_uint_eq(run_position(&run), 2);
    run_check(&run, "after", 0);
    ck_assert_int_eq(run_close(&run), KVSQL_OK);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    run_check(&run, "opened again", 0);
    run_fini(&run);
    free(large);
}
END_TEST

/* ---- old tickets --------------------------------------------------------------------- */

START_TEST(a_ticket_of_long_ago_is_not_known_any_more)
{
    struct kv_gate gate;

    kv_gate_init(&gate, 10, 1);
    for (uint64_t epoch = 2; epoch < 2 + KV_GATE_ENDS; epoch++) {
        kv_gate_end_epoch(&gate, epoch, KVSQL_FULL);
        ck_assert_int_eq(kv_gate_check(&gate, (struct kv_ticket){11, 1}),
                         KVSQL_FULL);
        ck_assert_int_eq(kv_gate_check(&gate, (struct kv_ticket){10, 1}),
                         KVSQL_OK);
    }
    kv_gate_end_epoch(&gate, 2 + KV_GATE_ENDS, KVSQL_FULL);
    ck_assert_int_eq(kv_gate_check(&gate, (struct kv_ticket){11, 1}), KVSQL_IO);
    ck_assert_int_eq(kv_gate_check(&gate, (struct kv_ticket){11, 2}),
                     KVSQL_FULL);
    kv_gate_close(&gate);
    kv_gate_fini(&gate);
}
END_TEST

static void add(TCase *tests)
{
    kv_diag_sink(diag_drop, NULL);
    tcase_add_test(tests, writers_wait_when_too_much_waits_for_the_disk);
    tcase_add_test(tests, writers_do_not_wait_while_there_is_room);
    tcase_add_test(tests,
                   a_batch_over_the_limit_is_refused_and_nothing_of_it_is_left);
    tcase_add_test(tests, a_ticket_of_long_ago_is_not_known_any_more);
}

int main(void)
{
    return unit_run("wal_room", add);
}
