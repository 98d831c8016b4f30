/* test_wal.c - the wal as a promise: D1, D2, F1, F5, F6, R1-R3, W4, on a disk
 * in memory that loses power, fails and is damaged. What is written are the
 * numbers of tests/lib/run.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/op.h"
#include "kvsql/seg.h"
#include "tests/lib/rand.h"
#include "tests/lib/run.h"
#include "tests/lib/unit.h"

static void diag_drop(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

/* Open, put `count` numbers, stop. Failures are part of the game. */
static void run_script(struct run *run, int count)
{
    if (run_open(run) != KVSQL_OK) {
        return;
    }
    for (int i = 0; i < count; i++) {
        (void)run_put(run, i);
    }
    (void)run_close(run);
}

/* ---- power (D1, D2) ------------------------------------------------------------ */

/* Cut after every change of the script; returns how often an acknowledged
 * write was lost. */
static unsigned sweep_cuts(enum kvsql_fsync fsync)
{
    unsigned lost = 0;
    struct run run;

    run_init(&run, 1, fsync);
    run_script(&run, 40);
    const uint64_t changes = fakeos_changes(run.fake);
    ck_assert_uint_eq(run.acked, 40);
    ck_assert_uint_eq(fakeos_open_handles(run.fake), 0);
    run_fini(&run);
    for (uint64_t n = 0; n <= changes; n++) {
        run_init(&run, n + 100, fsync);
        fakeos_cut_after(run.fake, n);
        run_script(&run, 40);
        fakeos_restart(run.fake);
        ck_assert_msg(run_open(&run) == KVSQL_OK, "cut %llu: %s",
                      (unsigned long long)n, run.err.text);
        run_check(&run, "cut", n);
        lost += run_position(&run) < run.acked;
        run_fini(&run);
    }
    return lost;
}

START_TEST(always_loses_nothing_wherever_the_power_goes)
{
    ck_assert_uint_eq(sweep_cuts(KVSQL_FSYNC_ALWAYS), 0);
}
END_TEST

START_TEST(everysec_leaves_a_prefix_wherever_the_power_goes)
{
    (void)sweep_cuts(KVSQL_FSYNC_EVERYSEC);
}
END_TEST

/* The negative control of the two above: the power cut does take things. */
START_TEST(no_does_lose_acknowledged_writes_and_leaves_a_prefix)
{
    ck_assert_uint_gt(sweep_cuts(KVSQL_FSYNC_NO), 0);
}
END_TEST

START_TEST(a_killed_process_loses_nothing_under_any_policy)
{
    for (int policy = 0; policy < 3; policy++) {
        struct run run;

        run_init(&run, 7, (enum kvsql_fsync)policy);
        ck_assert_int_eq(run_open(&run), KVSQL_OK);
        for (int i = 0; i < 40; i++) {
            ck_assert_int_eq(run_put(&run, i), KVSQL_OK);
        }
        kvsql *dead = run.db; /* goes on writing into closed handles */
        fakeos_kill(run.fake);
        ck_assert_int_eq(run_open(&run), KVSQL_OK);
        ck_assert_uint_eq(run_position(&run), 40);
        run_check(&run, "policy", (uint64_t)policy);
        (void)kv_close(dead, NULL);
        run_fini(&run);
    }
}
END_TEST

/* ---- calls that fail (F1) --------------------------------------------------------- */

/* The n-th call of `kind` fails; then power off, on, and look. False when the
 * script has fewer such calls. */
static bool fault_once(enum kvsql_fsync fsync, enum fakeos_call kind, uint64_t n,
                       int error, bool persistent)
{
    struct run run;

    run_init(&run, n, fsync);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    const uint64_t before = fakeos_calls(run.fake, kind);
    fakeos_fail(run.fake, kind, n, error, persistent);
    for (int i = 0; i < 24; i++) {
        (void)run_put(&run, i);
    }
    const bool fired = fakeos_calls(run.fake, kind) - before >= n;
    fakeos_fail(run.fake, kind, 0, 0, false);
    if (fired && !persistent) {
        run_wait_state(&run, "ok");
        ck_assert_int_eq(run_put(&run, 24), KVSQL_OK);
    }
    (void)run_close(&run);
    fakeos_restart(run.fake);
    ck_assert_msg(run_open(&run) == KVSQL_OK, "call %d, %llu: %s", (int)kind,
                  (unsigned long long)n, run.err.text);
    run_check(&run, "fault", n);
    if (fsync == KVSQL_FSYNC_ALWAYS) {
        ck_assert_uint_ge(run_position(&run), run.acked);
    }
    run_fini(&run);
    return fired;
}

static void sweep_faults(enum kvsql_fsync fsync, int error)
{
    static const enum fakeos_call kinds[] = {
        FAKEOS_WRITE,  FAKEOS_DATA_SYNC, FAKEOS_SYNC,    FAKEOS_RENAME,
        FAKEOS_OPEN,   FAKEOS_TRUNCATE,  FAKEOS_DIR_SYNC};

    for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (uint64_t n = 1; n < 200; n += n < 6 ? 1 : 5) {
            if (!fault_once(fsync, kinds[k], n, error, false)) {
                break;
            }
        }
        (void)fault_once(fsync, kinds[k], 3, error, true);
    }
}

START_TEST(no_fault_of_the_disk_makes_always_lie)
{
    sweep_faults(KVSQL_FSYNC_ALWAYS, EIO);
}
END_TEST

START_TEST(no_fault_of_the_disk_makes_a_hole_under_everysec)
{
    sweep_faults(KVSQL_FSYNC_EVERYSEC, EIO);
}
END_TEST

START_TEST(a_failed_sync_under_everysec_loses_nothing_acknowledged)
{
    struct run run;

    run_init(&run, 3, KVSQL_FSYNC_EVERYSEC);
    run.options.wal_segment_size = 1 << 20;
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(run_put(&run, i), KVSQL_OK);
    }
    fakeos_fail(run.fake, FAKEOS_DATA_SYNC, 1, EIO, false);
    ck_assert_int_eq(kv_sync(run.db, 20, &run.err), KVSQL_OK); /* F4 */
    fakeos_restart(run.fake);
    kvsql *dead = run.db;
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_uint_eq(run_position(&run), 20);
    run_check(&run, "sync", 0);
    (void)kv_close(dead, NULL);
    run_fini(&run);
}
END_TEST

static void diag_count(void *arg, const char *line)
{
    *(int *)arg += strstr(line, "wal.sync") != NULL;
}

START_TEST(a_failed_sync_of_a_segment_that_is_full_is_said_and_loses_nothing)
{
    struct run run;
    int said = 0, number = 0;

    run_init(&run, 4, KVSQL_FSYNC_NO);
    kv_diag_sink(diag_count, &said);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    fakeos_fail(run.fake, FAKEOS_DATA_SYNC, 1, EIO, false);
    while (number < 40 || !fakeos_exists(run.fake, "data/wal-0000000000000003"))
        ck_assert_int_eq(run_put(&run, number++), KVSQL_OK);
    ck_assert_int_eq(kv_sync(run.db, (uint64_t)number, &run.err), KVSQL_OK);
    ck_assert_int_eq(said, 1);
    fakeos_restart(run.fake);
    kvsql *dead = run.db;
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_uint_eq(run_position(&run), (uint64_t)number);
    run_check(&run, "rotation", 0);
    (void)kv_close(dead, NULL);
    run_fini(&run);
    kv_diag_sink(NULL, NULL);
}
END_TEST

START_TEST(a_full_disk_refuses_writes_and_resumes_by_itself)
{
    struct run run;
    int i = 0;
    kvsql_rc rc;

    run_init(&run, 5, KVSQL_FSYNC_ALWAYS);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    fakeos_space(run.fake, 4096);
    while ((rc = run_put(&run, i)) == KVSQL_OK && i < 400) {
        i++;
    }
    ck_assert_int_eq(rc, KVSQL_FULL);
    run_wait_state(&run, "full");
    ck_assert_int_eq(run_put(&run, i), KVSQL_FULL);
    run_check(&run, "full", 0); /* reads work, and see only what is there */
    fakeos_space(run.fake, 1u << 30);
    run_wait_state(&run, "ok"); /* F6 */
    ck_assert_int_eq(run_put(&run, i), KVSQL_OK);
    ck_assert_int_eq(run_close(&run), KVSQL_OK);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_uint_eq(run_position(&run), run.acked);
    run_check(&run, "full", 1);
    run_fini(&run);
}
END_TEST

/* ---- turns of a door ----------------------------------------------------------------- */

static struct kv_ticket turn_put(struct run *run, int number)
{
    const struct kv_key key = kv_key_of("k", 1);
    const kvsql_slice value = {&number, sizeof(number)};
    struct kv_ticket ticket;
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(run->db, true, 0, &txn, &run->err),
                     KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, value, 0, &run->err), KVSQL_OK);
    ck_assert_int_eq(kv_txn_commit(txn, &ticket, &run->err), KVSQL_OK);
    return ticket;
}

/* The batches of a turn are one write; who waits in the middle does not wait
 * for its end. */
START_TEST(a_turn_is_written_as_one_and_holds_nobody_up)
{
    for (int policy = 0; policy < 3; policy++) {
        struct kv_info before, after;
        struct kv_ticket ticket;
        struct run run;

        run_init(&run, 9, (enum kvsql_fsync)policy);
        run.options.wal_segment_size = 1 << 20;
        ck_assert_int_eq(run_open(&run), KVSQL_OK);
        ck_assert_int_eq(run_put(&run, 0), KVSQL_OK);
        kv_info_get(run.db, &before);
        kv_turn_begin(run.db);
        for (int i = 0; i < 100; i++) {
            ticket = turn_put(&run, i);
        }
        kv_turn_end(run.db);
        ck_assert_int_eq(kv_gate_wait(run.db, ticket, &run.err), KVSQL_OK);
        kv_info_get(run.db, &after);
        /* a mark of the log's own may be a second one */
        ck_assert_uint_le(after.wal_writes - before.wal_writes, 2);
        kv_turn_begin(run.db);
        ticket = turn_put(&run, 1);
        ck_assert_int_eq(kv_gate_wait(run.db, ticket, &run.err), KVSQL_OK);
        kv_turn_end(run.db);
        ck_assert_int_eq(run_close(&run), KVSQL_OK);
        run_fini(&run);
    }
}
END_TEST

/* ---- damage (G4, R2, R3) ------------------------------------------------------------ */

static const char *const damaged_files[] = {
    "data/MANIFEST", "data/wal-0000000000000001", "data/wal-0000000000000002",
    "data/wal-0000000000000003"};

/* Harm a closed directory. False when the place is not there. */
static bool damage(struct run *run, unsigned file, unsigned how, uint64_t at)
{
    static const uint8_t zero[24];
    const char *path = damaged_files[file];
    const int64_t size = fakeos_file_size(run->fake, path);
    uint8_t byte;

    if ((int64_t)at >= size) {
        return false;
    }
    switch (how) {
    case 0:
        ck_assert_int_eq(fakeos_peek(run->fake, path, &byte, 1, at), 1);
        byte ^= 0x10;
        return fakeos_poke(run->fake, path, &byte, 1, at);
    case 1:
        return fakeos_resize(run->fake, path, at);
    default:
        return fakeos_poke(run->fake, path, zero,
                           (uint64_t)size - at < 24 ? (size_t)size - at : 24,
                           at);
    }
}

START_TEST(damage_is_refused_by_file_and_offset_or_harmless)
{
    unsigned refused = 0;

    for (unsigned file = 0; file < 4; file++) {
        for (unsigned how = 0; how < 3; how++) {
            for (uint64_t at = 0; at < 1200; at += 61) {
                struct run run;

                run_init(&run, 9, KVSQL_FSYNC_ALWAYS);
                run_script(&run, 50);
                if (!damage(&run, file, how, at)) {
                    run_fini(&run);
                    break;
                }
                const kvsql_rc rc = run_open(&run);
                if (rc == KVSQL_OK) { /* nothing that counts was hit */
                    ck_assert_uint_eq(run_position(&run), 50);
                    run_check(&run, "damage", at);
                    run_fini(&run);
                    continue;
                }
                refused++;
                ck_assert_int_eq(rc, KVSQL_CORRUPT);
                ck_assert_ptr_nonnull(strstr(run.err.text, "file="));
                ck_assert_ptr_nonnull(strstr(run.err.text, "offset="));
                ck_assert_int_eq(kv_check("data", fakeos_os(run.fake), false,
                                          NULL, NULL, NULL, &run.err),
                                 KVSQL_CORRUPT);
                run.options.repair = true;
                ck_assert_msg(run_open(&run) == KVSQL_OK, "%u %u %llu: %s",
                              file, how, (unsigned long long)at, run.err.text);
                run_check(&run, "repair", at);
                const uint64_t kept = run_position(&run);
                ck_assert_int_eq(run_close(&run), KVSQL_OK);
                ck_assert_int_eq(run_open(&run), KVSQL_OK); /* twice: same */
                ck_assert_uint_eq(run_position(&run), kept);
                run.options.repair = false;
                ck_assert_int_eq(run_close(&run), KVSQL_OK);
                ck_assert_msg(run_open(&run) == KVSQL_OK, "%s", run.err.text);
                ck_assert_uint_eq(run_position(&run), kept);
                ck_assert_int_eq(run_put(&run, 77), KVSQL_OK);
                run_fini(&run);
            }
        }
    }
    ck_assert_uint_gt(refused, 50);
}
END_TEST

START_TEST(a_torn_tail_is_cut_and_kept_and_the_rest_survives)
{
    static const uint8_t torn[50] = {1, 2, 3};
    struct run run;

    run_init(&run, 11, KVSQL_FSYNC_ALWAYS);
    run.options.wal_segment_size = 1 << 20;
    run_script(&run, 10);
    const int64_t size = fakeos_file_size(run.fake, damaged_files[1]);
    ck_assert(fakeos_poke(run.fake, damaged_files[1], torn, sizeof(torn),
                          (uint64_t)size));
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_uint_eq(run_position(&run), 10);
    ck_assert_int_eq(fakeos_file_size(run.fake, damaged_files[1]), size);
    char kept[80]; /* the fake clock stands at 2026-01-01 */
    (void)snprintf(kept, sizeof(kept),
                   "data/damaged/1767225600000/wal-0000000000000001.tail-%lld",
                   (long long)size);
    ck_assert_int_eq(fakeos_file_size(run.fake, kept), sizeof(torn));
    run_fini(&run);
}
END_TEST

static void diag_torn(void *arg, const char *line)
{
    *(bool *)arg |= strstr(line, "wal.torn") != NULL &&
                    strstr(line, "offset=") != NULL &&
                    strstr(line, "readable_to=10") != NULL;
}

/* A file that has its size and not yet its bytes. */
START_TEST(a_tail_of_zeroes_is_cut_and_said)
{
    static const uint8_t zeroes[300];
    bool said = false;
    struct run run;

    run_init(&run, 11, KVSQL_FSYNC_ALWAYS);
    run.options.wal_segment_size = 1 << 20;
    run_script(&run, 10);
    const int64_t size = fakeos_file_size(run.fake, damaged_files[1]);
    ck_assert(fakeos_poke(run.fake, damaged_files[1], zeroes, sizeof(zeroes),
                          (uint64_t)size));
    kv_diag_sink(diag_torn, &said);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    kv_diag_sink(diag_drop, NULL);
    ck_assert(said);
    ck_assert_uint_eq(run_position(&run), 10);
    ck_assert_int_eq(fakeos_file_size(run.fake, damaged_files[1]), size);
    run_fini(&run);
}
END_TEST

/* A whole frame behind the last one, whose second op cannot be: k0 holds a
 * string, and is pushed to. */
static void put_impossible(struct run *run)
{
    static const char path[] = "data/wal-0000000000000001";
    uint8_t head[KV_SEG_HEADER_SIZE], frame[256];
    struct kv_seg_header header;
    struct kv_buf ops;
    bool newer;

    kv_buf_init(&ops, KV_MEM_MISC, sizeof(frame));
    kv_op_encode(&ops, &(struct kv_op){.kind = KV_OP_SET,
                                       .key = {"half", 4},
                                       .a = {"x", 1}});
    kv_op_encode(&ops, &(struct kv_op){.kind = KV_OP_PUSH,
                                       .key = {"k0", 2},
                                       .a = {"x", 1}});
    ck_assert_int_eq(fakeos_peek(run->fake, path, head, sizeof(head), 0),
                     sizeof(head));
    ck_assert_ptr_null(kv_seg_header_get(head, &header, &newer));
    kv_frame_put(frame, KV_FRAME_BATCH, run->acked + 1, 0, (uint32_t)ops.size);
    memcpy(frame + KV_FRAME_HEADER_SIZE, ops.p, ops.size);
    kv_frame_seal(frame, header.crc, run->acked);
    ck_assert(fakeos_poke(run->fake, path, frame,
                          KV_FRAME_HEADER_SIZE + ops.size,
                          (uint64_t)fakeos_file_size(run->fake, path)));
    kv_buf_fini(&ops);
}

START_TEST(ops_that_cannot_be_are_damage_and_no_half_of_them_is_kept)
{
    struct run run;

    run_init(&run, 11, KVSQL_FSYNC_ALWAYS);
    run_script(&run, 3);
    put_impossible(&run);
    ck_assert_int_eq(run_open(&run), KVSQL_CORRUPT);
    ck_assert_ptr_nonnull(strstr(run.err.text, "wal-0000000000000001"));
    ck_assert_ptr_nonnull(strstr(run.err.text, "position=4 "));
    ck_assert_ptr_nonnull(strstr(run.err.text, "holds a string, not a list"));
    run.options.repair = true;
    for (int i = 0; i < 2; i++) { /* repaired, and opened again */
        struct kv_info info;
        ck_assert_int_eq(run_open(&run), KVSQL_OK);
        ck_assert_uint_eq(run_position(&run), 3);
        run_check(&run, "repair", 0);
        kv_info_get(run.db, &info);
        ck_assert_uint_eq(info.keys, 3);
        ck_assert_int_eq(run_close(&run), KVSQL_OK);
        run.options.repair = false;
    }
    run_fini(&run);
}
END_TEST

START_TEST(a_missing_segment_is_refused_by_name)
{
    struct run run;

    run_init(&run, 12, KVSQL_FSYNC_ALWAYS);
    run_script(&run, 50);
    ck_assert(fakeos_erase(run.fake, damaged_files[2]));
    ck_assert_int_eq(run_open(&run), KVSQL_CORRUPT);
    ck_assert_ptr_nonnull(strstr(run.err.text, "wal-0000000000000002"));
    run_fini(&run);
}
END_TEST

START_TEST(files_without_a_manifest_are_never_taken_for_a_new_store)
{
    struct run run;

    run_init(&run, 13, KVSQL_FSYNC_ALWAYS);
    run_script(&run, 50);
    ck_assert(fakeos_erase(run.fake, "data/MANIFEST"));
    ck_assert_int_eq(run_open(&run), KVSQL_CORRUPT);
    run.options.repair = true;
    ck_assert_msg(run_open(&run) == KVSQL_OK, "%s", run.err.text);
    ck_assert_uint_eq(run_position(&run), 50);
    run_check(&run, "rebuilt", 0);
    run_fini(&run);
}
END_TEST

START_TEST(a_second_open_of_a_directory_names_the_process)
{
    struct run run;
    kvsql *second;

    run_init(&run, 14, KVSQL_FSYNC_ALWAYS);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_int_eq(kv_open_os("data", &run.options, fakeos_os(run.fake), NULL,
                                NULL, &second, &run.err),
                     KVSQL_LOCKED);
    ck_assert_ptr_nonnull(strstr(run.err.text, "pid"));
    run_fini(&run);
}
END_TEST

START_TEST(reading_only_changes_nothing_and_refuses_writes)
{
    struct run run;

    run_init(&run, 15, KVSQL_FSYNC_ALWAYS);
    run_script(&run, 10);
    const uint64_t changes = fakeos_changes(run.fake);
    run.options.read_only = true;
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    run_check(&run, "read", 0);
    ck_assert_int_eq(run_put(&run, 1), KVSQL_READONLY);
    ck_assert_int_eq(run_close(&run), KVSQL_OK);
    ck_assert_uint_eq(fakeos_changes(run.fake), changes);
    run_fini(&run);
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, always_loses_nothing_wherever_the_power_goes);
    tcase_add_test(tests, everysec_leaves_a_prefix_wherever_the_power_goes);
    tcase_add_test(tests, no_does_lose_acknowledged_writes_and_leaves_a_prefix);
    tcase_add_test(tests, a_killed_process_loses_nothing_under_any_policy);
    tcase_add_test(tests, no_fault_of_the_disk_makes_always_lie);
    tcase_add_test(tests, no_fault_of_the_disk_makes_a_hole_under_everysec);
    tcase_add_test(tests,
                   a_failed_sync_under_everysec_loses_nothing_acknowledged);
    tcase_add_test(
        tests, a_failed_sync_of_a_segment_that_is_full_is_said_and_loses_nothing);
    tcase_add_test(tests, a_full_disk_refuses_writes_and_resumes_by_itself);
    tcase_add_test(tests, a_turn_is_written_as_one_and_holds_nobody_up);
    tcase_add_test(tests, damage_is_refused_by_file_and_offset_or_harmless);
    tcase_add_test(tests, a_torn_tail_is_cut_and_kept_and_the_rest_survives);
    tcase_add_test(tests, a_tail_of_zeroes_is_cut_and_said);
    tcase_add_test(tests,
                   ops_that_cannot_be_are_damage_and_no_half_of_them_is_kept);
    tcase_add_test(tests, a_missing_segment_is_refused_by_name);
    tcase_add_test(tests,
                   files_without_a_manifest_are_never_taken_for_a_new_store);
    tcase_add_test(tests, a_second_open_of_a_directory_names_the_process);
    tcase_add_test(tests, reading_only_changes_nothing_and_refuses_writes);
}

int main(void)
{
    kv_diag_sink(diag_drop, NULL);
    return unit_run("wal", add);
}
