/* test_db_snapshot.c - snapshots of an open store on a disk that loses power,
 * a process that is killed, calls that fail: P2, P5, W9, D1, D2.
 *
 * The script puts numbers and takes three snapshots, of which two are kept, so
 * that the third one drops the first with its segments. SQLite writes to the
 * disk in memory too, so every page counts as a change. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/db_private.h"
#include "tests/lib/fakevfs.h"
#include "tests/lib/run.h"
#include "tests/lib/unit.h"

#define SNAPSHOTS 3
#define PUTS 10 /* before each of them, and after the last */

static void diag_drop(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

static kvsql_rc snapshot_take(struct run *run)
{
    return kv_snapshot_run(run->db, NULL, NULL, NULL, &run->err);
}

/* Failures are part of the game. */
static void script_run(struct run *run)
{
    int number = 0;

    if (run_open(run) != KVSQL_OK)
        return;
    for (int i = 0; i <= SNAPSHOTS; i++) {
        for (int k = 0; k < PUTS; k++)
            (void)run_put(run, number++);
        if (i < SNAPSHOTS)
            (void)snapshot_take(run);
    }
    (void)run_close(run);
}

/* ---- what lies in the directory ------------------------------------------- */

static const char *snapshot_path(int index)
{
    static char path[64];

    snprintf(path, sizeof path, "data/snap-%016d.db", (index + 1) * PUTS);
    return path;
}

static bool is_named(struct fakeos *fake, const char *name)
{
    static char text[16384];
    const int64_t size =
        fakeos_peek(fake, "data/MANIFEST", text, sizeof text - 1, 0);

    text[size > 0 ? size : 0] = 0;
    return strstr(text, name) != NULL;
}

/* Of a directory after an accident: how far its newest snapshot had come. */
struct sight {
    unsigned half;     /* a .tmp */
    unsigned unnamed;  /* renamed, and the MANIFEST does not know it */
    unsigned leftover; /* dropped by the MANIFEST, and still there */
};

static void sight_add(struct sight *sight, struct fakeos *fake)
{
    char tmp[80];
    int newest = -1;

    for (int i = 0; i < SNAPSHOTS; i++)
        if (is_named(fake, snapshot_path(i) + strlen("data/")))
            newest = i;
    for (int i = 0; i < SNAPSHOTS; i++) {
        snprintf(tmp, sizeof tmp, "%s.tmp", snapshot_path(i));
        sight->half += fakeos_exists(fake, tmp);
        if (!fakeos_exists(fake, snapshot_path(i)) ||
            is_named(fake, snapshot_path(i) + strlen("data/")))
            continue;
        if (i > newest)
            sight->unnamed++;
        else
            sight->leftover++;
    }
}

static void check_name(struct run *run, const char *name)
{
    const bool ours = strncmp(name, "snap-", 5) == 0 ||
                      strncmp(name, "wal-", 4) == 0 ||
                      strstr(name, ".tmp") != NULL;

    ck_assert_msg(!ours || is_named(run->fake, name), "%s was left", name);
}

struct names {
    char text[64][48];
    int count;
};

static void names_add(void *arg, const char *name)
{
    struct names *names = arg;

    ck_assert_int_lt(names->count, 64);
    snprintf(names->text[names->count++], sizeof names->text[0], "%s", name);
}

/* Every file of ours is named, none is half. */
static void check_tidy(struct run *run)
{
    const struct kv_os *os = fakeos_os(run->fake);
    struct names names = {.count = 0};
    int dir;

    ck_assert_int_eq(os->dir_open(os->arg, "data", false, &dir), 0);
    ck_assert_int_eq(os->dir_list(os->arg, dir, names_add, &names), 0);
    os->dir_close(os->arg, dir);
    for (int i = 0; i < names.count; i++)
        check_name(run, names.text[i]);
}

/* It opens, is the state at one position, has all that was acknowledged, is
 * tidy, and goes on. */
static void check_survived(struct run *run, const char *what, uint64_t n)
{
    ck_assert_msg(run_open(run) == KVSQL_OK, "%s %llu: %s", what,
                  (unsigned long long)n, run->err.text);
    run_check(run, what, n);
    ck_assert_msg(run_position(run) >= run->acked, "%s %llu: %llu of %llu",
                  what, (unsigned long long)n,
                  (unsigned long long)run_position(run),
                  (unsigned long long)run->acked);
    check_tidy(run);
    for (uint64_t p = run_position(run) + 1; p <= run->last; p++)
        run->at[p] = run->before[p] = 0; /* never acknowledged, and gone */
    ck_assert_int_eq(run_put(run, 99), KVSQL_OK);
    ck_assert_msg(snapshot_take(run) == KVSQL_OK, "%s %llu: %s", what,
                  (unsigned long long)n, run->err.text);
    ck_assert_int_eq(run_close(run), KVSQL_OK);
    ck_assert_int_eq(run_open(run), KVSQL_OK);
    ck_assert_uint_eq(run_position(run), run->acked);
    run_check(run, what, n);
    check_tidy(run);
    ck_assert_int_eq(run_close(run), KVSQL_OK);
}

/* ---- accidents --------------------------------------------------------------- */

static void fixture_new(struct run *run, uint64_t seed)
{
    run_init(run, seed, KVSQL_FSYNC_ALWAYS);
    fakevfs_in(fakeos_os(run->fake));
}

static void fixture_end(struct run *run)
{
    run_fini(run);
    fakevfs_out();
}

static uint64_t script_changes(void)
{
    struct run run;

    fixture_new(&run, 1);
    script_run(&run);
    const uint64_t changes = fakeos_changes(run.fake);
    ck_assert_uint_eq(run.acked, (SNAPSHOTS + 1) * PUTS);
    ck_assert_uint_eq(fakeos_open_handles(run.fake), 0);
    ck_assert(!fakeos_exists(run.fake, snapshot_path(0)));
    ck_assert(fakeos_exists(run.fake, snapshot_path(1)));
    ck_assert(fakeos_exists(run.fake, snapshot_path(2)));
    ck_assert(!fakeos_exists(run.fake, "data/wal-0000000000000001"));
    fixture_end(&run);
    return changes;
}

START_TEST(a_kill_after_any_step_leaves_everything_acknowledged)
{
    const uint64_t changes = script_changes();
    struct sight sight = {0};

    for (uint64_t n = 0; n <= changes; n++) {
        struct run run;

        fixture_new(&run, n);
        fakeos_cut_after(run.fake, n);
        script_run(&run);
        fakeos_kill(run.fake);
        sight_add(&sight, run.fake);
        check_survived(&run, "kill", n);
        fixture_end(&run);
    }
    /* The sweep has been at the places that matter. */
    ck_assert_uint_gt(sight.half, 0);
    ck_assert_uint_gt(sight.unnamed, 0);
    ck_assert_uint_gt(sight.leftover, 0);
}
END_TEST

START_TEST(a_power_cut_after_any_step_leaves_everything_acknowledged)
{
    const uint64_t changes = script_changes();
    struct sight sight = {0};

    for (uint64_t n = 0; n <= changes; n++) {
        struct run run;

        fixture_new(&run, n + 7);
        fakeos_cut_after(run.fake, n);
        script_run(&run);
        fakeos_restart(run.fake);
        sight_add(&sight, run.fake);
        check_survived(&run, "cut", n);
        fixture_end(&run);
    }
    ck_assert_uint_gt(sight.half, 0);
    ck_assert_uint_gt(sight.unnamed, 0);
    ck_assert_uint_gt(sight.leftover, 0);
}
END_TEST

/* The control: on a disk that lies about directories the same sweep finds
 * stores that do not open, or have lost something. */
static int lying_dir_sync(void *arg, int dir)
{
    (void)arg;
    (void)dir;
    return 0;
}

START_TEST(a_disk_that_lies_about_names_is_found_out)
{
    const uint64_t changes = script_changes();
    unsigned lost = 0;

    for (uint64_t n = 0; n <= changes; n += 3) {
        struct run run;
        struct kv_os lying;

        fixture_new(&run, n + 7);
        lying = *fakeos_os(run.fake);
        lying.dir_sync = lying_dir_sync;
        fakeos_cut_after(run.fake, n);
        if (kv_open_os("data", &run.options, &lying, NULL, NULL, &run.db,
                       &run.err) == KVSQL_OK) {
            for (int i = 0; i < 2 * PUTS; i++) {
                (void)run_put(&run, i);
                if (i == PUTS)
                    (void)snapshot_take(&run);
            }
            (void)run_close(&run);
        }
        fakeos_restart(run.fake);
        lost += run_open(&run) != KVSQL_OK || run_position(&run) < run.acked;
        fixture_end(&run);
    }
    ck_assert_uint_gt(lost, 0);
}
END_TEST

/* ---- calls that fail -------------------------------------------------------------- */

/* The n-th call of `kind` from the third snapshot on fails, once or from then
 * on. False when there are fewer. */
static bool fault_run(enum fakeos_call kind, uint64_t n, int error,
                      bool persistent)
{
    struct run run;
    int number = 0;

    fixture_new(&run, n);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    for (int i = 0; i < SNAPSHOTS; i++) {
        for (int k = 0; k < PUTS; k++)
            ck_assert_int_eq(run_put(&run, number++), KVSQL_OK);
        if (i < SNAPSHOTS - 1)
            ck_assert_int_eq(snapshot_take(&run), KVSQL_OK);
    }
    const uint64_t before = fakeos_calls(run.fake, kind);
    fakeos_fail(run.fake, kind, n, error, persistent);
    const kvsql_rc taken = snapshot_take(&run);
    const bool fired = fakeos_calls(run.fake, kind) - before >= n;
    fakeos_fail(run.fake, kind, 0, 0, false);
    ck_assert_msg(taken == KVSQL_OK || fired, "%d %llu: %s", (int)kind,
                  (unsigned long long)n, run.err.text);
    /* Writes go on, and so does the next snapshot. */
    run_wait_state(&run, "ok");
    ck_assert_int_eq(run_put(&run, number++), KVSQL_OK);
    ck_assert_msg(snapshot_take(&run) == KVSQL_OK, "%d %llu: %s", (int)kind,
                  (unsigned long long)n, run.err.text);
    ck_assert_int_eq(run_put(&run, number++), KVSQL_OK);
    (void)run_close(&run);
    fakeos_restart(run.fake);
    check_survived(&run, "fault", n);
    fixture_end(&run);
    return fired;
}

static const enum fakeos_call fault_kinds[] = {
    FAKEOS_WRITE,    FAKEOS_SYNC, FAKEOS_DATA_SYNC, FAKEOS_RENAME, FAKEOS_OPEN,
    FAKEOS_DIR_SYNC, FAKEOS_READ, FAKEOS_REMOVE,    FAKEOS_DIR_OPEN};

START_TEST(no_call_that_fails_costs_more_than_one_snapshot)
{
    const enum fakeos_call kind = fault_kinds[_i];
    uint64_t n = 1;

    while (fault_run(kind, n, EIO, false))
        n++;
    ck_assert_uint_gt(n, 1); /* there is such a call */
    (void)fault_run(kind, 1, EIO, true);
    (void)fault_run(kind, 1, ENOSPC, true);
}
END_TEST

/* Whether MANIFEST names a snapshot nobody knows; that the disk is full for the
 * next segment is no doubt: the old one is used on (F5). */
START_TEST(a_doubt_about_one_manifest_is_none_about_the_next)
{
    struct kv_info info;
    struct run run;

    fixture_new(&run, 1);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_int_eq(run_put(&run, 0), KVSQL_OK);
    /* the next segment's, the file's, and that which enters it */
    fakeos_fail(run.fake, FAKEOS_RENAME, 3, EIO, false);
    ck_assert_int_eq(snapshot_take(&run), KVSQL_IO);
    ck_assert_int_eq(run_put(&run, 1), KVSQL_OK);
    fakeos_fail(run.fake, FAKEOS_RENAME, 1, ENOSPC, true);
    ck_assert_int_eq(snapshot_take(&run), KVSQL_FULL);
    kv_info_get(run.db, &info);
    ck_assert_str_eq(info.wal_state, "ok");
    ck_assert_int_eq(run_put(&run, 2), KVSQL_OK);
    fakeos_fail(run.fake, FAKEOS_RENAME, 0, 0, false);
    ck_assert_int_eq(snapshot_take(&run), KVSQL_OK);
    ck_assert_int_eq(run_close(&run), KVSQL_OK);
    fakeos_restart(run.fake);
    check_survived(&run, "doubt", 0);
    fixture_end(&run);
}
END_TEST

/* ---- reading one ------------------------------------------------------------------ */

/* What is told while it runs is what others find meanwhile. */
struct seen {
    kvsql *db;
    unsigned calls;
    uint64_t last;
};

static void seen_add(void *arg, const struct kv_progress *progress)
{
    struct seen *seen = arg;
    struct kv_info info;

    kv_info_get(seen->db, &info);
    ck_assert(info.snapshot_running);
    ck_assert_uint_eq(info.snapshot_done, progress->done);
    ck_assert_uint_eq(info.snapshot_total, progress->total);
    ck_assert_uint_ge(progress->done, seen->last);
    ck_assert_uint_le(progress->done, progress->total);
    seen->last = progress->done;
    seen->calls++;
}

START_TEST(a_snapshot_tells_how_far_it_is)
{
    const struct kvsql_options options = {.no_keeper = true};
    struct fakeos *fake = fakeos_new(1);
    struct kv_snapshot_info made;
    struct kvsql_error err;
    struct kv_info info;
    kvsql *db;
    int dir;

    const struct kv_os *os = fakeos_os(fake);
    ck_assert_int_eq(os->dir_open(os->arg, "data", true, &dir), 0);
    os->dir_close(os->arg, dir);
    fakevfs_in(os);
    ck_assert_int_eq(kv_open_os("data", &options, os, NULL, NULL, &db, &err),
                     KVSQL_OK);
    for (int i = 0; i < 25000; i++) {
        char key[16];
        const int size = snprintf(key, sizeof key, "k%d", i);
        ck_assert_int_eq(kvsql_put(db, (kvsql_slice){key, (size_t)size},
                                   (kvsql_slice){"v", 1}, 0, &err),
                         KVSQL_OK);
    }
    struct seen seen = {.db = db};
    ck_assert_int_eq(kv_snapshot_run(db, seen_add, &seen, &made, &err),
                     KVSQL_OK);
    ck_assert_uint_ge(seen.calls, 3);
    ck_assert_uint_eq(seen.last, 25000);
    kv_info_get(db, &info);
    ck_assert(!info.snapshot_running);
    ck_assert_uint_eq(info.snapshot_total, 0);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    fakevfs_out();
    fakeos_free(fake);
}
END_TEST

/* Who asked for one waits until it has begun: it must not find a removal. */
START_TEST(none_is_removed_between_the_wish_for_one_and_its_begin)
{
    struct kv_snapshot_info kept[4];
    struct run run;

    fixture_new(&run, 1);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(run_put(&run, i), KVSQL_OK);
        ck_assert_int_eq(snapshot_take(&run), KVSQL_OK);
    }
    ck_assert_uint_eq(kv_snapshot_list(run.db, kept, 4), 2);
    kv_lock_take(&run.db->lock);
    run.db->snapshot_wanted = true; /* its thread was not woken yet */
    kv_lock_drop(&run.db->lock);
    ck_assert_int_eq(kv_snapshot_remove(run.db, kept[1].file, &run.err),
                     KVSQL_BUSY);
    kv_lock_take(&run.db->lock);
    ck_assert(!run.db->snapshot_running);
    run.db->snapshot_wanted = false;
    kv_lock_drop(&run.db->lock);
    ck_assert_int_eq(kv_snapshot_remove(run.db, kept[1].file, &run.err),
                     KVSQL_OK);
    ck_assert_int_eq(run_close(&run), KVSQL_OK);
    fixture_end(&run);
}
END_TEST

START_TEST(an_older_snapshot_can_be_removed_and_a_failure_costs_nothing)
{
    struct kv_snapshot_info kept[4];
    struct run run;

    fixture_new(&run, 1);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(run_put(&run, i), KVSQL_OK);
        ck_assert_int_eq(snapshot_take(&run), KVSQL_OK);
    }
    ck_assert_uint_eq(kv_snapshot_list(run.db, kept, 4), 2);
    ck_assert_int_eq(kv_snapshot_remove(run.db, kept[0].file, &run.err),
                     KVSQL_CONSTRAINT);
    ck_assert_int_eq(kv_snapshot_remove(run.db, "MANIFEST", &run.err),
                     KVSQL_NOTFOUND);
    fakeos_fail(run.fake, FAKEOS_WRITE, 1, EIO, false);
    ck_assert_int_eq(kv_snapshot_remove(run.db, kept[1].file, &run.err),
                     KVSQL_IO);
    fakeos_fail(run.fake, FAKEOS_WRITE, 0, 0, false);
    ck_assert_uint_eq(kv_snapshot_list(run.db, kept, 4), 2);
    ck_assert_int_eq(kv_snapshot_remove(run.db, kept[1].file, &run.err),
                     KVSQL_OK);
    ck_assert(!is_named(run.fake, kept[1].file));
    ck_assert_uint_eq(kv_snapshot_list(run.db, kept, 4), 1);
    ck_assert_int_eq(run_put(&run, 2), KVSQL_OK);
    ck_assert_int_eq(run_close(&run), KVSQL_OK);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    run_check(&run, "after a removal", 0);
    ck_assert_int_eq(run_close(&run), KVSQL_OK);
    fixture_end(&run);
}
END_TEST

START_TEST(a_kept_snapshot_is_opened_by_its_name)
{
    struct kv_snapshot_info info, first;
    struct run run;
    uint8_t head[16];
    int file;

    fixture_new(&run, 1);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_int_eq(kv_snapshot_open(run.db, "latest.db", &file, &info,
                                      &run.err),
                     KVSQL_NOTFOUND);
    ck_assert_int_eq(run_put(&run, 1), KVSQL_OK);
    ck_assert_int_eq(kv_snapshot_run(run.db, NULL, NULL, &first, &run.err),
                     KVSQL_OK);
    ck_assert_int_eq(run_put(&run, 2), KVSQL_OK);
    ck_assert_int_eq(snapshot_take(&run), KVSQL_OK);

    const struct kv_os *os = fakeos_os(run.fake);
    const unsigned before = fakeos_open_handles(run.fake);
    ck_assert_int_eq(kv_snapshot_open(run.db, first.file, &file, &info,
                                      &run.err),
                     KVSQL_OK);
    ck_assert_uint_eq(info.position, first.position);
    ck_assert_uint_eq(info.size, first.size);
    ck_assert_int_eq(os->read_at(os->arg, file, head, sizeof head, 0), 16);
    ck_assert_mem_eq(head, "SQLite format 3", 16);
    os->close(os->arg, file);
    ck_assert_int_eq(kv_snapshot_open(run.db, "latest.db", &file, &info,
                                      &run.err),
                     KVSQL_OK);
    ck_assert_uint_gt(info.position, first.position);
    os->close(os->arg, file);

    static const char *const others[] = {"", "MANIFEST", "../data/MANIFEST",
                                         "snap-0000000000000001"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_int_eq(kv_snapshot_open(run.db, others[i], &file, &info,
                                          &run.err),
                         KVSQL_NOTFOUND);
    fakeos_fail(run.fake, FAKEOS_OPEN, 1, EIO, false);
    ck_assert_int_eq(kv_snapshot_open(run.db, first.file, &file, &info,
                                      &run.err),
                     KVSQL_IO);
    fakeos_fail(run.fake, FAKEOS_OPEN, 1, ENOENT, false);
    ck_assert_int_eq(kv_snapshot_open(run.db, first.file, &file, &info,
                                      &run.err),
                     KVSQL_NOTFOUND);
    fakeos_fail(run.fake, FAKEOS_OPEN, 0, 0, false);
    ck_assert_uint_eq(fakeos_open_handles(run.fake), before);
    ck_assert_int_eq(run_close(&run), KVSQL_OK);
    fixture_end(&run);
}
END_TEST

static void add(TCase *tests)
{
    kv_diag_sink(diag_drop, NULL);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_kill_after_any_step_leaves_everything_acknowledged);
    tcase_add_test(tests,
                   a_power_cut_after_any_step_leaves_everything_acknowledged);
    tcase_add_test(
        tests, an_older_snapshot_can_be_removed_and_a_failure_costs_nothing);
    tcase_add_test(tests,
                   none_is_removed_between_the_wish_for_one_and_its_begin);
    tcase_add_test(tests, a_kept_snapshot_is_opened_by_its_name);
    tcase_add_test(tests, a_snapshot_tells_how_far_it_is);
    tcase_add_test(tests, a_disk_that_lies_about_names_is_found_out);
    tcase_add_test(tests, a_doubt_about_one_manifest_is_none_about_the_next);
    tcase_add_loop_test(tests, no_call_that_fails_costs_more_than_one_snapshot,
                        0, sizeof fault_kinds / sizeof *fault_kinds);
}

int main(void)
{
    return unit_run("db_snapshot", add);
}
