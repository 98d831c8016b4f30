/* test_api_dir.c - the public C API: stores with a directory, and without. */
#include <stdio.h>

#include "tests/lib/api_fx.h"

START_TEST(what_was_written_is_there_after_opening_again)
{
    kvsql *second;
    uint64_t position;
    kvsql_view *view;

    some_values();
    OK(kvsql_put(db, t("k"), t("v"), 1000000, &err));
    FAILS(KVSQL_LOCKED, dir, kvsql_open(dir, NULL, &second, &err));
    ck_assert_ptr_null(second);
    OK(kvsql_view_pin(db, &view, &err));
    position = kvsql_view_position(view);
    kvsql_view_release(view);
    OK(kvsql_close(db, &err));
    OK(kvsql_open(dir, NULL, &db, &err));
    check_get("string", "text");
    check_get("k", "v");
    OK(kvsql_view_pin(db, &view, &err));
    ck_assert_uint_eq(kvsql_view_position(view), position);
    ck_assert_uint_eq(kvsql_view_count(view), 3);
    kvsql_view_release(view);
}
END_TEST

START_TEST(a_snapshot_is_written_and_opened)
{
    struct kvsql_snapshot_info info;
    struct kvsql_statistics statistics;

    some_values();
    OK(kvsql_snapshot(db, &info, &err));
    ck_assert_uint_eq(info.keys, 2);
    ck_assert_uint_gt(info.size, 4096);
    ck_assert_int_gt(info.created_at, 0);
    ck_assert_ptr_nonnull(strstr(info.file, "snap-"));
    OK(kvsql_statistics_get(db, &statistics, &err));
    ck_assert_uint_eq(statistics.snapshots, 1);
    ck_assert_uint_eq(statistics.snapshot_position, info.position);
    OK(kvsql_snapshot(db, NULL, NULL));
    OK(kvsql_put(db, t("later"), t("v"), 0, &err));
    OK(kvsql_close(db, &err));
    OK(kvsql_open(dir, NULL, &db, &err));
    check_get("string", "text");
    check_get("later", "v");
}
END_TEST

START_TEST(a_sync_makes_everything_durable_and_figures_say_so)
{
    struct kvsql_statistics statistics;

    for (int i = 0; i < 10; i++)
        OK(kvsql_incr(db, t("n"), 1, NULL, &err));
    OK(kvsql_expire(db, t("n"), 1000000, &err));
    OK(kvsql_sync(db, &err));
    OK(kvsql_statistics_get(db, &statistics, &err));
    ck_assert_uint_eq(statistics.position, 11);
    ck_assert_uint_ge(statistics.durable, 11);
    ck_assert_uint_eq(statistics.keys, 1);
    ck_assert_uint_eq(statistics.keys_with_expiry, 1);
    ck_assert_uint_ge(statistics.transactions, 11);
    ck_assert_uint_ge(statistics.changes, 11);
    ck_assert_uint_gt(statistics.memory, 0);
    ck_assert_uint_gt(statistics.wal_size, 0);
    ck_assert_uint_gt(statistics.wal_syncs, 0);
    ck_assert(statistics.writable);
}
END_TEST

START_TEST(a_store_opened_to_read_takes_no_writes)
{
    const struct kvsql_options options = {.read_only = true};
    kvsql *reader;
    kvsql_txn *txn;
    kvsql_bytes value;
    kvsql_view *view;

    some_values();
    OK(kvsql_snapshot(db, NULL, &err));
    OK(kvsql_put(db, t("later"), t("v"), 0, &err));
    OK(kvsql_close(db, &err));
    OK(kvsql_open(dir, &options, &reader, &err));
    OK(kvsql_get(reader, t("later"), &value, &err));
    check_bytes(&value, "v");
    OK(kvsql_view_pin(reader, &view, &err));
    ck_assert_uint_eq(kvsql_view_count(view), 3);
    kvsql_view_release(view);
    FAILS(KVSQL_READONLY, "", kvsql_put(reader, t("k"), t("v"), 0, &err));
    FAILS(KVSQL_READONLY, "", kvsql_delete(reader, t("later"), &err));
    OK(kvsql_begin(reader, 100, &txn, &err));
    FAILS(KVSQL_READONLY, "", kvsql_set_add(txn, t("s"), t("m"), NULL, &err));
    kvsql_rollback(txn);
    FAILS(KVSQL_READONLY, "", kvsql_snapshot(reader, NULL, &err));
    OK(kvsql_close(reader, &err));
    OK(kvsql_open(dir, NULL, &db, &err));
    check_get("later", "v");
}
END_TEST

START_TEST(a_damaged_directory_is_refused_and_named)
{
    char path[128];

    some_values();
    OK(kvsql_close(db, &err));
    (void)snprintf(path, sizeof path, "%s/MANIFEST", dir);
    FILE *file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 30, SEEK_SET), 0);
    const int byte = fgetc(file);
    ck_assert_int_eq(fseek(file, 30, SEEK_SET), 0);
    ck_assert_int_eq(fputc(byte ^ 1, file), byte ^ 1);
    ck_assert_int_eq(fclose(file), 0);
    FAILS(KVSQL_CORRUPT, "MANIFEST", kvsql_open(dir, NULL, &db, &err));
    ck_assert_ptr_null(db);
    file = fopen(path, "r+b");
    ck_assert_int_eq(fseek(file, 30, SEEK_SET), 0);
    ck_assert_int_eq(fputc(byte, file), byte);
    ck_assert_int_eq(fclose(file), 0);
    OK(kvsql_open(dir, NULL, &db, &err));
    check_get("string", "text");
}
END_TEST

START_TEST(a_directory_that_cannot_be_is_named)
{
    kvsql *other;

    FAILS(KVSQL_NOTFOUND, "/proc/none/such",
          kvsql_open("/proc/none/such", NULL, &other, &err));
    ck_assert_ptr_null(other);
    FAILS(KVSQL_IO, "/dev/null", kvsql_open("/dev/null", NULL, &other, &err));
    ck_assert_ptr_null(other);
}
END_TEST

START_TEST(a_store_without_a_directory_has_no_snapshot)
{
    kvsql *other;
    struct kvsql_statistics statistics;

    OK(kvsql_open("", NULL, &other, &err));
    OK(kvsql_put(other, t("k"), t("v"), 0, &err));
    OK(kvsql_sync(other, &err));
    FAILS(KVSQL_INVALID, "", kvsql_snapshot(other, NULL, &err));
    OK(kvsql_statistics_get(other, &statistics, &err));
    ck_assert_uint_eq(statistics.keys, 1);
    ck_assert(statistics.writable);
    OK(kvsql_close(other, &err));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, api_fx_open_dir, api_fx_close_dir);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, a_store_without_a_directory_has_no_snapshot);
    tcase_add_test(tests, a_directory_that_cannot_be_is_named);
    tcase_add_test(tests, what_was_written_is_there_after_opening_again);
    tcase_add_test(tests, a_snapshot_is_written_and_opened);
    tcase_add_test(tests, a_store_opened_to_read_takes_no_writes);
    tcase_add_test(tests, a_damaged_directory_is_refused_and_named);
    tcase_add_test(tests, a_sync_makes_everything_durable_and_figures_say_so);
}

int main(void)
{
    return unit_run("api of directories", add);
}
