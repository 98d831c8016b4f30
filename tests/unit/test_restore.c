/* test_restore.c - a data directory as it was at a position or a time, written
 * into a new one; what it refuses; what fails on the way. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/moment.h"
#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/mem.h"
#include "kvsql/db_private.h"
#include "tests/lib/fakevfs.h"
#include "tests/lib/run.h"
#include "tests/lib/unit.h"

#define ROUND 10      /* puts between two closes */
#define ROUND_MS 10000

static struct run run, copy;
static struct kv_restored restored;
static int64_t began; /* wall ms */

static void diag_drop(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

static void setup(void)
{
    run_init(&run, 7, KVSQL_FSYNC_ALWAYS);
    run.options.snapshot_keep = 2;
    began = fakeos_os(run.fake)->wall_ms(fakeos_os(run.fake)->arg);
    fakevfs_in(fakeos_os(run.fake));
    kv_diag_sink(diag_drop, NULL);
}

static void teardown(void)
{
    kv_diag_sink(NULL, NULL);
    run_fini(&run);
    fakevfs_out();
}

/* Rounds of puts, each followed by a close; a snapshot before the rounds of
 * `snapshots` (a bit each). */
static void history(unsigned rounds, unsigned snapshots)
{
    for (unsigned i = 0; i < rounds; i++) {
        ck_assert_int_eq(run_open(&run), KVSQL_OK);
        if (snapshots >> i & 1)
            ck_assert_int_eq(
                kv_snapshot_run(run.db, NULL, NULL, NULL, &run.err), KVSQL_OK);
        for (int k = 0; k < ROUND; k++)
            ck_assert_int_eq(run_put(&run, (int)i * ROUND + k), KVSQL_OK);
        ck_assert_int_eq(run_close(&run), KVSQL_OK);
        fakeos_advance(run.fake, ROUND_MS);
    }
}

static kvsql_rc restore_to(const char *to, uint64_t position, int64_t time)
{
    const struct kv_restore what = {
        .from = "data", .to = to, .position = position, .time = time};

    return kv_restore_dir(&what, fakeos_os(run.fake), NULL, NULL, &restored,
                          &run.err);
}

static kvsql_rc open_copy(const char *dir)
{
    copy = run;
    copy.options.read_only = false;
    return kv_open_os(dir, &copy.options, fakeos_os(copy.fake), NULL, NULL,
                      &copy.db, &copy.err);
}

/* What was restored to `dir` is the state at the position, and a store that
 * goes on. */
static void check_copy(const char *dir, uint64_t position)
{
    struct kv_info info;

    ck_assert_uint_eq(restored.position, position);
    for (int again = 0; again < 2; again++) {
        ck_assert_msg(open_copy(dir) == KVSQL_OK, "%s", copy.err.text);
        kv_info_get(copy.db, &info);
        ck_assert_uint_eq(info.position, position + (uint64_t)again);
        ck_assert_uint_eq(info.keys, position < RUN_KEYS ? position + again
                                                         : RUN_KEYS);
        copy.at[position + 1] = 1000 + 1; /* what the copy has put */
        ck_assert(run_is_prefix(&copy, false));
        if (again == 0)
            ck_assert_int_eq(run_put(&copy, 1000), KVSQL_OK);
        run.at[position + 1] = copy.at[position + 1];
        ck_assert_int_eq(run_close(&copy), KVSQL_OK);
    }
}

/* The same, and the history of the old directory stays as it is noted. */
static void check_restored(const char *dir, uint64_t position)
{
    const int noted = run.at[position + 1];

    check_copy(dir, position);
    run.at[position + 1] = noted;
}

START_TEST(every_position_back_to_the_oldest_snapshot_can_be_restored)
{
    char dir[32];

    history(5, 1 << 1 | 1 << 2 | 1 << 3); /* kept: 20, 30 */
    for (uint64_t p = 1; p <= 5 * ROUND + 1; p++) {
        snprintf(dir, sizeof(dir), "to-%d", (int)p);
        const kvsql_rc rc = restore_to(dir, p, 0);
        if (p < 2 * ROUND || p > 5 * ROUND) {
            ck_assert_int_eq(rc, KVSQL_INVALID);
            ck_assert_ptr_nonnull(
                strstr(run.err.text, p > ROUND ? p > 5 * ROUND
                                     ? "ends at position 50" : "oldest"
                                     : "oldest"));
            continue;
        }
        ck_assert_msg(rc == KVSQL_OK, "%d: %s", (int)p, run.err.text);
        check_restored(dir, p);
    }
    ck_assert_int_eq(restore_to("all", 0, 0), KVSQL_OK);
    check_restored("all", 5 * ROUND);
    ck_assert_uint_eq(fakeos_open_handles(run.fake), 0);
}
END_TEST

START_TEST(without_a_snapshot_the_wal_alone_is_enough)
{
    history(2, 0);
    ck_assert_int_eq(restore_to("one", 1, 0), KVSQL_OK);
    check_restored("one", 1);
    ck_assert_int_eq(restore_to("some", 13, 0), KVSQL_OK);
    check_restored("some", 13);
}
END_TEST

/* The segments behind a snapshot tell when it was made. */
START_TEST(a_time_just_behind_the_oldest_snapshot_is_that_snapshot)
{
    history(3, 1 << 1 | 1 << 2);
    ck_assert_int_eq(restore_to("to", 0, began + ROUND_MS), KVSQL_OK);
    check_restored("to", 2 * ROUND);
    ck_assert_int_eq(restore_to("early", 0, began + ROUND_MS - 1),
                     KVSQL_INVALID);
}
END_TEST

START_TEST(a_time_is_the_last_position_that_was_committed_by_then)
{
    char dir[32];

    history(4, 0);
    for (int i = 0; i < 4; i++) {
        const int64_t written = began + i * ROUND_MS;
        snprintf(dir, sizeof(dir), "to-%d", i);
        ck_assert_msg(restore_to(dir, 0, written + ROUND_MS / 2) == KVSQL_OK,
                      "%s", run.err.text);
        ck_assert_int_eq(restored.at, written);
        check_restored(dir, (uint64_t)(i + 1) * ROUND);
        if (i == 0)
            continue;
        /* the very moment before the round */
        snprintf(dir, sizeof(dir), "before-%d", i);
        ck_assert_int_eq(restore_to(dir, 0, written - 1), KVSQL_OK);
        check_restored(dir, (uint64_t)i * ROUND);
    }
    ck_assert_int_eq(restore_to("early", 0, began - 1), KVSQL_INVALID);
    ck_assert_ptr_nonnull(strstr(run.err.text, "does not go back"));
}
END_TEST

/* The clock shows the second round a time before the first. */
START_TEST(of_a_clock_that_was_put_back_the_last_showing_counts)
{
    history(1, 0);
    fakeos_wall_set(run.fake, began - 5 * ROUND_MS);
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_int_eq(run_put(&run, ROUND), KVSQL_OK);
    ck_assert_int_eq(run_close(&run), KVSQL_OK);
    ck_assert_int_eq(restore_to("to", 0, began + 1), KVSQL_OK);
    check_restored("to", ROUND + 1);
    ck_assert_int_eq(restored.at, began - 5 * ROUND_MS);
}
END_TEST

/* Nothing is synced here, so no pause leaves a mark: those are of the load. */
START_TEST(under_load_the_wal_tells_the_time_once_a_second)
{
    const uint64_t begin = kv_os_mono_ns();

    run.options.fsync = KVSQL_FSYNC_NO;
    ck_assert_int_eq(run_open(&run), KVSQL_OK);
    ck_assert_int_eq(run_put(&run, 0), KVSQL_OK);
    fakeos_advance(run.fake, ROUND_MS);
    while (kv_os_mono_ns() - begin < 1100000000)
        kv_os_sleep_ms(5);
    ck_assert_int_eq(run_put(&run, 1), KVSQL_OK);
    /* the directory is open, and stays so */
    ck_assert_int_eq(restore_to("to", 0, began + ROUND_MS), KVSQL_OK);
    ck_assert_int_eq(restored.at, began + ROUND_MS);
    check_restored("to", 2);
    /* a machine that stood still has had a second before the first put */
    const kvsql_rc rc = restore_to("before", 0, began + ROUND_MS - 1);
    if (rc == KVSQL_OK) {
        ck_assert_int_eq(restored.at, began);
    } else {
        ck_assert_int_eq(rc, KVSQL_INVALID);
        ck_assert_ptr_nonnull(strstr(run.err.text, "nothing had been written"));
    }
    ck_assert_int_eq(run_put(&run, 2), KVSQL_OK);
}
END_TEST

/* With wal_keep_ms the directory goes back so far, whatever snapshot_keep says,
 * and does not grow without end. */
START_TEST(the_directory_goes_back_as_far_as_wal_keep_says)
{
    const int rounds = 20, wanted = 6;
    char dir[32];

    run.options.snapshot_keep = 1;
    run.options.wal_keep_ms = wanted * ROUND_MS;
    for (int i = 0; i < rounds; i++) {
        struct kv_snapshot_info list[KV_MANIFEST_SNAPSHOTS_MAX];
        ck_assert_int_eq(run_open(&run), KVSQL_OK);
        ck_assert_int_eq(run_put(&run, i), KVSQL_OK);
        ck_assert_int_eq(kv_snapshot_run(run.db, NULL, NULL, NULL, &run.err),
                         KVSQL_OK);
        ck_assert_uint_le(kv_snapshot_list(run.db, list,
                                           KV_MANIFEST_SNAPSHOTS_MAX), 6);
        ck_assert_int_eq(run_close(&run), KVSQL_OK);
        for (int back = 0; back <= (i < wanted ? i : wanted); back++) {
            snprintf(dir, sizeof(dir), "to-%d-%d", i, back);
            ck_assert_msg(
                restore_to(dir, 0, began + (i - back) * ROUND_MS) == KVSQL_OK,
                "%d back of %d: %s", back, i, run.err.text);
            ck_assert_uint_eq(restored.position, (uint64_t)(i - back) + 1);
        }
        if (i > wanted * 2) { /* ... and not for ever */
            snprintf(dir, sizeof(dir), "old-%d", i);
            ck_assert_int_eq(
                restore_to(dir, 0, began + (i - wanted * 2) * ROUND_MS),
                KVSQL_INVALID);
        }
        fakeos_advance(run.fake, ROUND_MS);
    }
    ck_assert_int_eq(restore_to("end", rounds - wanted, 0), KVSQL_OK);
    check_restored("end", rounds - wanted);
}
END_TEST

START_TEST(of_the_snapshots_those_stay_that_lead_back)
{
    static const struct {
        int64_t at[8];
        unsigned count, keep;
        uint64_t span;
        const char *kept;
    } rows[] = {
        {{90, 80, 70}, 3, 2, 0, "110"},         {{90}, 1, 2, 40, "1"},
        {{90, 80, 70}, 3, 1, 40, "111"},        {{90, 80, 50}, 3, 1, 40, "111"},
        {{90, 80, 60, 50}, 4, 1, 40, "1110"},   {{95, 94, 93, 92}, 4, 1, 40, "1001"},
        {{95, 94, 93, 60, 50}, 5, 3, 40, "11110"},
        {{95, 70, 69, 65, 55}, 5, 1, 40, "10011"},
        {{95, INT64_MIN, 80}, 3, 1, 40, "110"}, {{10, 90, 95}, 3, 1, 40, "100"}};
    bool kept[8];
    char text[9];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kv_history_keep(rows[i].at, rows[i].count, rows[i].keep,
                        100 - (int64_t)rows[i].span, rows[i].span, kept);
        for (unsigned k = 0; k < rows[i].count; k++)
            text[k] = kept[k] ? '1' : '0';
        text[rows[i].count] = '\0';
        ck_assert_msg(strcmp(text, rows[i].kept) == 0, "%d: %s", (int)i, text);
    }
}
END_TEST

START_TEST(what_is_no_place_for_it_is_refused_and_left_alone)
{
    history(2, 1 << 1);
    const int64_t size = fakeos_file_size(run.fake, "data/MANIFEST");
    ck_assert_int_eq(restore_to("data", 5, 0), KVSQL_INVALID);
    ck_assert_ptr_nonnull(strstr(run.err.text, "data is not empty"));
    ck_assert_int_eq(fakeos_file_size(run.fake, "data/MANIFEST"), size);
    ck_assert_int_eq(restore_to("to", 12, 0), KVSQL_OK);
    check_restored("to", 12);
    ck_assert_int_eq(restore_to("to", 12, 0), KVSQL_INVALID);
    ck_assert_int_eq(fakeos_open_handles(run.fake), 0);
}
END_TEST

START_TEST(a_directory_without_a_store_or_without_a_write_is_said)
{
    const struct kv_restore none = {.from = "none", .to = "to"};

    ck_assert_int_eq(kv_restore_dir(&none, fakeos_os(run.fake), NULL, NULL,
                                    &restored, &run.err),
                     KVSQL_NOTFOUND);
    history(1, 0);
    const struct kv_restore empty = {.from = "to", .to = "to2"};
    ck_assert_int_eq(kv_restore_dir(&empty, fakeos_os(run.fake), NULL, NULL,
                                    &restored, &run.err),
                     KVSQL_NOTFOUND); /* no MANIFEST */
    ck_assert_int_eq(open_copy("new"), KVSQL_OK);
    ck_assert_int_eq(run_close(&copy), KVSQL_OK);
    const struct kv_restore fresh = {.from = "new", .to = "to3"};
    ck_assert_int_eq(kv_restore_dir(&fresh, fakeos_os(run.fake), NULL, NULL,
                                    &restored, &run.err),
                     KVSQL_INVALID);
    ck_assert_ptr_nonnull(strstr(run.err.text, "nothing has been written"));
}
END_TEST

/* Segments are small: the last ones are behind position 25 by far. */
START_TEST(damage_behind_the_position_does_not_matter_and_before_it_does)
{
    uint64_t number = 0;
    char path[64];

    history(5, 1 << 1);
    for (uint64_t i = 1; i < 40; i++) {
        snprintf(path, sizeof(path), "data/wal-%016d", (int)i);
        number = fakeos_exists(run.fake, path) ? i : number;
    }
    snprintf(path, sizeof(path), "data/wal-%016d", (int)number);
    fakeos_poke(run.fake, path, "damage", 6, 20); /* in its header */
    ck_assert_int_eq(run_open(&run), KVSQL_CORRUPT);
    ck_assert_int_eq(restore_to("to", 25, 0), KVSQL_OK);
    check_restored("to", 25);
    ck_assert_int_eq(restore_to("time", 0, began + ROUND_MS + 1), KVSQL_OK);
    check_restored("time", 2 * ROUND);
    ck_assert_int_eq(restore_to("last", 5 * ROUND, 0), KVSQL_CORRUPT);
    ck_assert_ptr_nonnull(strstr(run.err.text, path + 5));
    ck_assert_ptr_nonnull(strstr(run.err.text, "offset=0"));
}
END_TEST

/* Whatever fails: no store or a whole one, and the old one is as it was. */
static void check_failed(const char *dir, uint64_t n)
{
    const struct kvsql_options options = {.read_only = true,
                                          .no_keeper = true};
    kvsql *db;
    const kvsql_rc rc = kv_open_os(dir, &options, fakeos_os(run.fake), NULL,
                                   NULL, &db, &run.err);

    if (rc == KVSQL_OK) {
        copy = run;
        copy.db = db;
        ck_assert_uint_eq(run_position(&copy), 15);
        ck_assert(run_is_prefix(&copy, false));
        ck_assert_int_eq(kv_close(db, &run.err), KVSQL_OK);
    }
    /* a snapshot that no MANIFEST names is no store either, and says so */
    ck_assert_msg(rc == KVSQL_OK || rc == KVSQL_NOTFOUND ||
                      (rc == KVSQL_CORRUPT &&
                       strstr(run.err.text, "MANIFEST") != NULL &&
                       strstr(run.err.text, "absent") != NULL),
                  "%d: %d %s", (int)n, rc, run.err.text);
}

START_TEST(a_disk_that_fails_anywhere_leaves_no_half_store)
{
    static const int errors[] = {EIO, ENOSPC};
    char dir[32];

    history(2, 1 << 1);
    for (unsigned kind = 0; kind < 4; kind++) {
        bool failed = true;
        for (uint64_t n = 1; failed; n++) {
            snprintf(dir, sizeof(dir), "to-%d-%d", (int)kind, (int)n);
            fakeos_fail(run.fake, FAKEOS_ANY, n, errors[kind % 2], kind >= 2);
            failed = restore_to(dir, 15, 0) != KVSQL_OK;
            fakeos_fail(run.fake, FAKEOS_ANY, 0, 0, false);
            ck_assert_uint_eq(fakeos_open_handles(run.fake), 0);
            check_failed(dir, n);
            ck_assert(n < 2000);
        }
    }
}
END_TEST

START_TEST(an_allocation_that_fails_leaves_no_half_store)
{
    char dir[32];
    int failed = 1;

    history(2, 1 << 1);
    for (uint64_t n = 1; failed; n++) {
        snprintf(dir, sizeof(dir), "to-%d", (int)n);
        kv_mem_fail_at(n, 0);
        const kvsql_rc rc = restore_to(dir, 15, 0);
        failed = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        ck_assert(failed || rc == KVSQL_OK);
        ck_assert(rc == KVSQL_OK || rc == KVSQL_NOMEM);
        check_failed(dir, n);
    }
}
END_TEST

START_TEST(a_power_cut_on_the_way_leaves_no_half_store)
{
    bool cut = true;
    char dir[32];

    history(2, 1 << 1);
    for (uint64_t n = 0; cut; n++) {
        snprintf(dir, sizeof(dir), "to-%d", (int)n);
        if (n > 0)
            fakeos_cut_after(run.fake, n);
        (void)restore_to(dir, 15, 0);
        cut = n == 0 || fakeos_is_cut(run.fake);
        fakeos_restart(run.fake);
        check_failed(dir, n);
    }
}
END_TEST

START_TEST(a_moment_is_read_with_its_zone_and_nothing_else_is_one)
{
    static const struct {
        const char *text;
        int64_t wall_ms; /* -1: it is none */
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-31T18:30:00Z", 1769884200000},
        {"2026-01-31 18:30Z", 1769884200000},
        {"2026-01-31t18:30:00.25z", 1769884200250},
        {"2026-01-31T18:30:00.0009Z", 1769884200000},
        {"2026-01-31T19:30:00+01:00", 1769884200000},
        {"2026-01-31T13:00:00-05:30", 1769884200000},
        {"2024-02-29T00:00Z", 1709164800000},
        {"2023-02-29T00:00Z", -1}, {"2026-01-31T18:30:00", -1},
        {"2026-01-31", -1}, {"2026-13-01T00:00Z", -1},
        {"2026-00-01T00:00Z", -1}, {"2026-01-32T00:00Z", -1},
        {"2026-01-31T24:00Z", -1}, {"2026-01-31T18:60Z", -1},
        {"2026-01-31T18:30:00.Z", -1}, {"2026-01-31T18:30:00Zx", -1},
        {"2026-01-31T18:30:00+1:00", -1}, {"2026-01-31T18:30:00+24:00", -1},
        {"1969-12-31T23:59:59Z", -1}, {"yesterday", -1}, {"", -1}};
    char text[CLI_MOMENT_MAX];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t wall_ms = -1;
        const bool is = cli_moment(rows[i].text, &wall_ms);
        ck_assert_msg(is == (rows[i].wall_ms != -1), "%s", rows[i].text);
        if (is)
            ck_assert_int_eq(wall_ms, rows[i].wall_ms);
    }
    cli_moment_text(text, 1769884200250);
    ck_assert_str_eq(text, "2026-01-31T18:30:00.250Z");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(
        tests, every_position_back_to_the_oldest_snapshot_can_be_restored);
    tcase_add_test(tests, without_a_snapshot_the_wal_alone_is_enough);
    tcase_add_test(tests,
                   a_time_just_behind_the_oldest_snapshot_is_that_snapshot);
    tcase_add_test(tests,
                   a_time_is_the_last_position_that_was_committed_by_then);
    tcase_add_test(tests,
                   of_a_clock_that_was_put_back_the_last_showing_counts);
    tcase_add_test(tests, under_load_the_wal_tells_the_time_once_a_second);
    tcase_add_test(tests, the_directory_goes_back_as_far_as_wal_keep_says);
    tcase_add_test(tests, of_the_snapshots_those_stay_that_lead_back);
    tcase_add_test(tests,
                   what_is_no_place_for_it_is_refused_and_left_alone);
    tcase_add_test(tests,
                   a_directory_without_a_store_or_without_a_write_is_said);
    tcase_add_test(
        tests, damage_behind_the_position_does_not_matter_and_before_it_does);
    tcase_add_test(tests, a_disk_that_fails_anywhere_leaves_no_half_store);
    tcase_add_test(tests, an_allocation_that_fails_leaves_no_half_store);
    tcase_add_test(tests, a_power_cut_on_the_way_leaves_no_half_store);
    tcase_add_test(tests,
                   a_moment_is_read_with_its_zone_and_nothing_else_is_one);
}

int main(void)
{
    return unit_run("restore", add);
}
