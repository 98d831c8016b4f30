/* test_wal_faults.c - faults of the disk that come one behind the other: a sync
 * fails and what is written again for it, too; the disk stays full; a batch is
 * given up whose room was reserved; a reply waits for what is undone already. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/seg.h"
#include "tests/lib/run.h"
#include "tests/lib/unit.h"

static struct run run;
static struct kv_os os;
static int (*real_sync)(void *arg, int file);
static atomic_uint sync_calls, sync_fails; /* a bit for each call */
static atomic_uint failed_events;

static int scripted_sync(void *arg, int file)
{
    const unsigned fails = atomic_load(&sync_fails);
    const unsigned call = fails == 0 ? 0 : atomic_fetch_add(&sync_calls, 1);

    return fails >> call & 1 ? -EIO : real_sync(arg, file);
}

/* Calls of data_sync from the next one on fail where the mask has a bit. */
static void fail_syncs(unsigned mask)
{
    atomic_store(&sync_calls, 0);
    atomic_store(&sync_fails, mask);
}

static void diag_note(void *arg, const char *line)
{
    (void)arg;
    if (strstr(line, "wal.failed") != NULL)
        atomic_fetch_add(&failed_events, 1);
}

static kvsql_rc open_scripted(void)
{
    return kv_open_os("data", &run.options, &os, NULL, NULL, &run.db, &run.err);
}

static void begin(enum kvsql_fsync fsync)
{
    kv_diag_sink(diag_note, NULL);
    run_init(&run, 7, fsync);
    run.options.wal_segment_size = 1 << 20;
    os = *fakeos_os(run.fake);
    real_sync = os.data_sync;
    os.data_sync = scripted_sync;
    fail_syncs(0);
    atomic_store(&failed_events, 0);
    ck_assert_int_eq(open_scripted(), KVSQL_OK);
}

/* The power goes; `position` and all before it is there. */
static void end(uint64_t position)
{
    fail_syncs(0);
    fakeos_restart(run.fake);
    kvsql *dead = run.db;
    ck_assert_int_eq(open_scripted(), KVSQL_OK);
    ck_assert_uint_eq(run_position(&run), position);
    run_check(&run, "faults", position);
    (void)kv_close(dead, NULL);
    run_fini(&run);
    kv_diag_sink(NULL, NULL);
}

/* F4: the sync of a segment fails; a new one is made, the acknowledged frames are
 * written into it, and its sync fails as well: read only, until a third takes
 * them. */
START_TEST(acknowledged_frames_are_written_until_a_segment_takes_them)
{
    begin(KVSQL_FSYNC_EVERYSEC);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(run_put(&run, i), KVSQL_OK);
    fail_syncs(1u << 0 | 1u << 2); /* 1 is that of the new one's header */
    const kvsql_rc rc = kv_sync(run.db, 10, &run.err);
    ck_assert(rc == KVSQL_OK || rc == KVSQL_IO); /* may be told of the fault */
    while (atomic_load(&sync_calls) < 5)
        sched_yield();
    run_wait_state(&run, "ok");
    ck_assert_uint_ge(atomic_load(&failed_events), 1);
    ck_assert_int_eq(kv_sync(run.db, 10, &run.err), KVSQL_OK);
    end(10);
}
END_TEST

/* F6: each try of a full disk fails, until there is room. */
START_TEST(a_disk_that_stays_full_is_tried_again_and_again)
{
    begin(KVSQL_FSYNC_ALWAYS);
    ck_assert_int_eq(run_put(&run, 0), KVSQL_OK);
    fakeos_fail(run.fake, FAKEOS_WRITE, 1, ENOSPC, true);
    const uint64_t before = fakeos_calls(run.fake, FAKEOS_WRITE);
    ck_assert_int_eq(run_put(&run, 1), KVSQL_FULL);
    run_wait_state(&run, "full");
    while (fakeos_calls(run.fake, FAKEOS_WRITE) < before + 3)
        sched_yield();
    ck_assert_int_eq(run_put(&run, 1), KVSQL_FULL);
    fakeos_fail(run.fake, FAKEOS_WRITE, 0, 0, false);
    run_wait_state(&run, "ok");
    ck_assert_int_eq(run_put(&run, 1), KVSQL_OK);
    end(2);
}
END_TEST

/* Room in the log is given back, and the batch behind it gets the position. */
START_TEST(a_batch_that_is_given_up_leaves_no_trace)
{
    const struct kv_key key = kv_key_of("k0", 2);
    struct kv_txn *txn;

    begin(KVSQL_FSYNC_ALWAYS);
    ck_assert_int_eq(run_put(&run, 0), KVSQL_OK);
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_int_eq(kv_txn_begin(run.db, true, 0, &txn, &run.err), KVSQL_OK);
        const struct kv_mark mark = kv_txn_mark(txn);
        ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"no", 2}, 0, &run.err),
                         KVSQL_OK);
        ck_assert_int_eq(kv_txn_prepare(txn, &run.err), KVSQL_OK);
        if (turn == 0) {
            kv_txn_rollback(txn);
        } else { /* all of it is taken back, and nothing is committed */
            kv_txn_restore(txn, mark);
            ck_assert_int_eq(kv_txn_commit(txn, NULL, &run.err), KVSQL_OK);
        }
        ck_assert_uint_eq(run_position(&run), (uint64_t)turn + 1);
        ck_assert_int_eq(run_put(&run, turn + 1), KVSQL_OK);
        ck_assert_uint_eq(run_position(&run), (uint64_t)turn + 2);
    }
    end(3);
}
END_TEST

static void told(struct kv_waiter *waiter, kvsql_rc rc)
{
    atomic_store((atomic_int *)waiter->arg, (int)rc);
}

/* It waits for a batch that is undone when it comes to the gate. */
START_TEST(who_comes_late_is_told_that_it_was_undone)
{
    const struct kv_key key = kv_key_of("k1", 2);
    struct kv_waiter waiter = {.done = told};
    atomic_int rc = -1;
    struct kv_txn *txn;

    begin(KVSQL_FSYNC_ALWAYS);
    ck_assert_int_eq(run_put(&run, 0), KVSQL_OK);
    fail_syncs(1);
    ck_assert_int_eq(kv_txn_begin(run.db, true, 0, &txn, &run.err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &run.err),
                     KVSQL_OK);
    ck_assert_int_eq(kv_txn_commit(txn, &waiter.ticket, &run.err), KVSQL_OK);
    ck_assert_int_eq(kv_gate_wait(run.db, waiter.ticket, &run.err), KVSQL_IO);
    waiter.arg = &rc;
    ck_assert(!kv_gate_watch(run.db, &waiter));
    while (atomic_load(&rc) == -1)
        sched_yield();
    ck_assert_int_eq(atomic_load(&rc), KVSQL_IO);
    run_wait_state(&run, "ok");
    end(1);
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, acknowledged_frames_are_written_until_a_segment_takes_them);
    tcase_add_test(tests, a_disk_that_stays_full_is_tried_again_and_again);
    tcase_add_test(tests, a_batch_that_is_given_up_leaves_no_trace);
    tcase_add_test(tests, who_comes_late_is_told_that_it_was_undone);
}

int main(void)
{
    return unit_run("wal_faults", add);
}
