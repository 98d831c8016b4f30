/* test_snapshot_faults.c - snapshots on a disk that fails, and without memory: the
 * n-th call or allocation, ours and those of SQLite. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "kvsql/admin.h"
#include "tests/lib/snapshot_fx.h"

/* A file system under SQLite whose n-th write or read fails. */
struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real;
};
static sqlite3_vfs *real_vfs;
static sqlite3_vfs faulty_vfs;
static uint64_t faulty_in; /* 0 = never */
static int faulty_code;
static bool faulty_fired;

static bool faulty_now(void)
{
    if (faulty_in == 0 || --faulty_in > 0)
        return false;
    faulty_fired = true;
    return true;
}

static sqlite3_file *faulty_real(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->real;
}

static int faulty_close(sqlite3_file *file)
{
    return faulty_real(file)->pMethods->xClose(faulty_real(file));
}

static int faulty_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
    return faulty_now() ? faulty_code
                        : faulty_real(file)->pMethods->xRead(
                              faulty_real(file), p, n, at);
}

static int faulty_write(sqlite3_file *file, const void *p, int n,
                        sqlite3_int64 at)
{
    return faulty_now() ? faulty_code
                        : faulty_real(file)->pMethods->xWrite(
                              faulty_real(file), p, n, at);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return faulty_real(file)->pMethods->xTruncate(faulty_real(file), size);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    return faulty_real(file)->pMethods->xSync(faulty_real(file), flags);
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return faulty_real(file)->pMethods->xFileSize(faulty_real(file), size);
}

static int faulty_lock(sqlite3_file *file, int level)
{
    return faulty_real(file)->pMethods->xLock(faulty_real(file), level);
}

static int faulty_unlock(sqlite3_file *file, int level)
{
    return faulty_real(file)->pMethods->xUnlock(faulty_real(file), level);
}

static int faulty_reserved(sqlite3_file *file, int *out)
{
    return faulty_real(file)->pMethods->xCheckReservedLock(faulty_real(file),
                                                           out);
}

static int faulty_control(sqlite3_file *file, int op, void *arg)
{
    return faulty_real(file)->pMethods->xFileControl(faulty_real(file), op,
                                                     arg);
}

static int faulty_sector(sqlite3_file *file)
{
    return faulty_real(file)->pMethods->xSectorSize(faulty_real(file));
}

static int faulty_device(sqlite3_file *file)
{
    return faulty_real(file)->pMethods->xDeviceCharacteristics(
        faulty_real(file));
}

static const sqlite3_io_methods faulty_methods = {
    .iVersion = 1,
    .xClose = faulty_close,
    .xRead = faulty_read,
    .xWrite = faulty_write,
    .xTruncate = faulty_truncate,
    .xSync = faulty_sync,
    .xFileSize = faulty_size,
    .xLock = faulty_lock,
    .xUnlock = faulty_unlock,
    .xCheckReservedLock = faulty_reserved,
    .xFileControl = faulty_control,
    .xSectorSize = faulty_sector,
    .xDeviceCharacteristics = faulty_device};

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file,
                       int flags, int *flags_out)
{
    struct faulty_file *faulty = (struct faulty_file *)file;

    (void)vfs;
    faulty->real = (sqlite3_file *)(faulty + 1);
    const int code =
        real_vfs->xOpen(real_vfs, name, faulty->real, flags, flags_out);
    faulty->base.pMethods =
        faulty->real->pMethods == NULL ? NULL : &faulty_methods;
    return code;
}

static void faulty_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    faulty_vfs = *real_vfs;
    faulty_vfs.pNext = NULL;
    faulty_vfs.zName = "faulty";
    faulty_vfs.szOsFile = (int)sizeof(struct faulty_file) + real_vfs->szOsFile;
    faulty_vfs.xOpen = faulty_open;
    ck_assert_int_eq(sqlite3_vfs_register(&faulty_vfs, 1), SQLITE_OK);
}

static const struct {
    int code;
    kvsql_rc rc;
} faults[] = {{SQLITE_FULL, KVSQL_FULL},
              {SQLITE_IOERR_WRITE, KVSQL_IO},
              {SQLITE_IOERR_NOMEM, KVSQL_NOMEM}};

START_TEST(a_disk_that_fails_anywhere_is_said_and_later_it_works)
{
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info;
    kvsql_rc rc = KVSQL_IO;
    uint64_t n;

    fill(db);
    faulty_install();
    faulty_code = faults[_i].code;
    for (n = 1; rc != KVSQL_OK; n++) {
        (void)unlink("snap.db");
        faulty_fired = false;
        faulty_in = n;
        rc = write_file(db, "snap.db", &info);
        faulty_in = 0;
        ck_assert_msg(rc == (faulty_fired ? faults[_i].rc : KVSQL_OK),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
    }
    ck_assert_uint_gt(n, 20);
    ck_assert_int_eq(load_file(copy, "snap.db", STORE_ID, &info), KVSQL_OK);
    check_same(db, copy);
    store_end(copy);
    store_end(db);
}
END_TEST

/* The same below the pages, which do not go through SQLite. */
static uint64_t failing_in; /* 0 = never */
static int failing_with;
static bool failing_fired;

static bool failing_now(void)
{
    if (failing_in == 0 || --failing_in > 0)
        return false;
    failing_fired = true;
    return true;
}

static int64_t failing_write(void *arg, int file, const void *p, size_t size,
                             uint64_t at)
{
    return failing_now() ? -failing_with
                         : kv_os_real()->write_at(arg, file, p, size, at);
}

static int failing_open(void *arg, int at, const char *name, int flags,
                        int *out)
{
    return failing_now() ? -failing_with
                         : kv_os_real()->open(arg, at, name, flags, out);
}

static int failing_sync(void *arg, int file)
{
    return failing_now() ? -failing_with : kv_os_real()->sync(arg, file);
}

static const struct {
    int number;
    kvsql_rc rc;
} failures[] = {{ENOSPC, KVSQL_FULL}, {EIO, KVSQL_IO}, {EDQUOT, KVSQL_FULL}};

START_TEST(a_page_that_cannot_be_written_is_said_and_later_it_works)
{
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info;
    kvsql_rc rc = KVSQL_IO;
    uint64_t n;

    fill(db);
    clock_os.write_at = failing_write;
    clock_os.open = failing_open;
    clock_os.sync = failing_sync;
    failing_with = failures[_i].number;
    for (n = 1; rc != KVSQL_OK; n++) {
        (void)unlink("snap.db");
        failing_fired = false;
        failing_in = n;
        rc = write_file(db, "snap.db", &info);
        failing_in = 0;
        ck_assert_msg(rc == (failing_fired ? failures[_i].rc : KVSQL_OK),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
        if (failing_fired)
            ck_assert_ptr_nonnull(strstr(err.text, "snap.db"));
    }
    ck_assert_uint_gt(n, 10); /* two opened, roots, pages, header, synced */
    ck_assert_int_eq(load_file(copy, "snap.db", STORE_ID, &info), KVSQL_OK);
    check_same(db, copy);
    store_end(copy);
    store_end(db);
}
END_TEST

START_TEST(a_disk_that_cannot_be_read_is_no_damage)
{
    kvsql *db = store_new();
    struct kv_snapshot_info info;
    kvsql_rc rc = KVSQL_IO;
    uint64_t n;

    fill(db);
    write_ok(db, "snap.db");
    faulty_install();
    faulty_code = SQLITE_IOERR_READ;
    for (n = 1; rc != KVSQL_OK; n++) {
        kvsql *copy = store_new();
        faulty_fired = false;
        faulty_in = n;
        rc = load_file(copy, "snap.db", STORE_ID, &info);
        faulty_in = 0;
        ck_assert_msg(rc == (faulty_fired ? KVSQL_IO : KVSQL_OK),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
        store_end(copy);
    }
    ck_assert_uint_gt(n, 5);
    store_end(db);
}
END_TEST

START_TEST(no_allocation_of_ours_is_needed_silently)
{
    kvsql *db = store_new();
    struct kv_snapshot_info info;
    struct kv_view *view;
    uint64_t n = 0;
    kvsql_rc rc = KVSQL_NOMEM;

    fill(db);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    while (rc != KVSQL_OK) {
        const uint64_t bytes = kv_mem_bytes(KV_MEM_MISC);
        (void)unlink("snap.db");
        kv_mem_fail_at(++n, 0);
        rc = kv_snapshot_write(view, "snap.db", STORE_ID, NULL, NULL, &info,
                               &err);
        ck_assert_int_eq(rc, kv_mem_failed() ? KVSQL_NOMEM : KVSQL_OK);
        kv_mem_fail_at(0, 0);
        ck_assert_uint_eq(kv_mem_bytes(KV_MEM_MISC), bytes);
        ck_assert_uint_lt(n, 1000);
    }
    kv_unpin(view);
    ck_assert_uint_gt(n, 10);
    for (n = 1, rc = KVSQL_NOMEM; rc != KVSQL_OK; n += 1 + n / 50) {
        kvsql *copy = store_new();
        kv_mem_fail_at(n, 0);
        rc = load_file(copy, "snap.db", STORE_ID, &info);
        ck_assert_int_eq(rc, kv_mem_failed() ? KVSQL_NOMEM : KVSQL_OK);
        kv_mem_fail_at(0, 0);
        store_end(copy);
    }
    ck_assert_uint_gt(n, 10);
    store_end(db);
}
END_TEST

/* SQLite's own allocations fail: the n-th from arming on. */
static sqlite3_mem_methods sqlite_memory;
static uint64_t sqlite_fail_in;
static bool sqlite_failed;

static bool sqlite_fails(void)
{
    if (sqlite_fail_in == 0 || --sqlite_fail_in > 0)
        return false;
    sqlite_failed = true;
    return true;
}

static void *failing_malloc(int size)
{
    return sqlite_fails() ? NULL : sqlite_memory.xMalloc(size);
}

static void *failing_realloc(void *p, int size)
{
    return sqlite_fails() ? NULL : sqlite_memory.xRealloc(p, size);
}

static void failing_memory_install(void)
{
    sqlite3_mem_methods methods;

    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory) != SQLITE_OK)
        abort();
    methods = sqlite_memory;
    methods.xMalloc = failing_malloc;
    methods.xRealloc = failing_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
        abort();
}

START_TEST(no_allocation_of_sqlite_is_needed_silently)
{
    kvsql *db = store_new();
    struct kv_snapshot_info info;
    kvsql_rc rc = KVSQL_NOMEM;
    uint64_t n;

    fill(db);
    write_ok(db, "first.db"); /* what SQLite allocates once is there now */
    for (n = 1; rc != KVSQL_OK; n += 1 + n / 40) {
        (void)unlink("snap.db");
        sqlite_failed = false;
        sqlite_fail_in = n;
        rc = write_file(db, "snap.db", &info);
        sqlite_fail_in = 0;
        ck_assert_msg(rc == KVSQL_OK || (rc == KVSQL_NOMEM && sqlite_failed),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
    }
    ck_assert_uint_gt(n, 40);
    ck_assert_str_eq(ask("snap.db", "PRAGMA integrity_check"), "ok");
    for (n = 1, rc = KVSQL_NOMEM; rc != KVSQL_OK; n += 1 + n / 40) {
        kvsql *copy = store_new();
        sqlite_failed = false;
        sqlite_fail_in = n;
        rc = load_file(copy, "snap.db", STORE_ID, &info);
        sqlite_fail_in = 0;
        ck_assert_msg(rc == KVSQL_OK || (rc == KVSQL_NOMEM && sqlite_failed),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
        store_end(copy);
    }
    ck_assert_uint_gt(n, 100);
    store_end(db);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests,
                        a_disk_that_fails_anywhere_is_said_and_later_it_works,
                        0, (int)(sizeof faults / sizeof *faults));
    tcase_add_loop_test(
        tests, a_page_that_cannot_be_written_is_said_and_later_it_works, 0,
        (int)(sizeof failures / sizeof *failures));
    tcase_add_test(tests, a_disk_that_cannot_be_read_is_no_damage);
    tcase_add_test(tests, no_allocation_of_ours_is_needed_silently);
    tcase_add_test(tests, no_allocation_of_sqlite_is_needed_silently);
}

int main(void)
{
    failing_memory_install();
    return unit_run("snapshots and faults", add);
}
