/* test_lib_fakeos.c - is the fake disk as cruel as fakeos.h says, and not
 * more? Each promise C1-C3, faults, space, locks, clock. */
#include <errno.h>
#include <string.h>

#include "tests/lib/fakeos.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define SEEDS 200

struct disk {
    struct fakeos *fake;
    const struct kv_os *os;
    int dir;
};

static struct disk disk_new(uint64_t seed)
{
    struct disk d = {.fake = fakeos_new(seed)};

    d.os = fakeos_os(d.fake);
    ck_assert_int_eq(d.os->dir_open(d.os->arg, "data", true, &d.dir), 0);
    return d;
}

static int disk_open(struct disk *d, const char *name, int flags)
{
    int file;

    ck_assert_int_eq(d->os->open(d->os->arg, d->dir, name, flags, &file), 0);
    return file;
}

static void disk_write(struct disk *d, int file, char c, size_t size,
                       uint64_t offset)
{
    char bytes[4096];

    ck_assert_uint_le(size, sizeof(bytes));
    memset(bytes, c, size);
    ck_assert_int_eq(d->os->write_at(d->os->arg, file, bytes, size, offset),
                     (int64_t)size);
}

/* A file of 1024 'a' whose bytes and name are on the disk. */
static int disk_settled(struct disk *d)
{
    const int file = disk_open(d, "f", KV_OS_WRITE | KV_OS_CREATE);

    disk_write(d, file, 'a', 1024, 0);
    ck_assert_int_eq(d->os->sync(d->os->arg, file), 0);
    ck_assert_int_eq(d->os->dir_sync(d->os->arg, d->dir), 0);
    return file;
}

START_TEST(what_was_synced_survives_every_cut)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk d = disk_new(seed);
        char got[1024];

        (void)disk_settled(&d);
        fakeos_restart(d.fake);
        ck_assert_int_eq(fakeos_peek(d.fake, "data/f", got, 1024, 0), 1024);
        for (size_t i = 0; i < sizeof(got); i++)
            ck_assert_int_eq(got[i], 'a');
        fakeos_free(d.fake);
    }
}
END_TEST

START_TEST(unsynced_bytes_are_dropped_torn_by_sector_or_kept)
{
    unsigned old = 0, new = 0, torn = 0, reordered = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk d = disk_new(seed);
        const int file = disk_settled(&d);
        char got[1024];

        disk_write(&d, file, 'b', 1024, 0);
        fakeos_restart(d.fake);
        ck_assert_int_eq(fakeos_peek(d.fake, "data/f", got, 1024, 0), 1024);
        for (size_t i = 0; i < sizeof(got); i++)
            ck_assert_int_eq(got[i], got[i - i % 512]);
        old += got[0] == 'a' && got[512] == 'a';
        new += got[0] == 'b' && got[512] == 'b';
        torn += got[0] == 'b' && got[512] == 'a';
        reordered += got[0] == 'a' && got[512] == 'b';
        fakeos_free(d.fake);
    }
    ck_assert_uint_gt(old, 0);
    ck_assert_uint_gt(new, 0);
    ck_assert_uint_gt(torn, 0);
    ck_assert_uint_gt(reordered, 0);
}
END_TEST

START_TEST(a_sector_never_skips_an_earlier_write)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk d = disk_new(seed);
        const int file = disk_settled(&d);
        char got[2];

        disk_write(&d, file, 'x', 1, 0);
        disk_write(&d, file, 'y', 1, 1);
        fakeos_restart(d.fake);
        ck_assert_int_eq(fakeos_peek(d.fake, "data/f", got, 2, 0), 2);
        ck_assert(got[1] != 'y' || got[0] == 'x');
        fakeos_free(d.fake);
    }
}
END_TEST

START_TEST(an_unsynced_size_may_be_lost_or_come_without_its_bytes)
{
    unsigned short_size = 0, zeros = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk d = disk_new(seed);
        const int file = disk_settled(&d);
        char got = 1;

        disk_write(&d, file, 'b', 1024, 1024);
        fakeos_restart(d.fake);
        short_size += fakeos_file_size(d.fake, "data/f") == 1024;
        if (fakeos_peek(d.fake, "data/f", &got, 1, 1024) == 1) {
            ck_assert(got == 'b' || got == 0);
            zeros += got == 0;
        }
        fakeos_free(d.fake);
    }
    ck_assert_uint_gt(short_size, 0);
    ck_assert_uint_gt(zeros, 0);
}
END_TEST

START_TEST(a_name_needs_the_sync_of_its_directory)
{
    unsigned lost = 0, kept = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk d = disk_new(seed);
        const int file = disk_open(&d, "f", KV_OS_WRITE | KV_OS_CREATE);

        disk_write(&d, file, 'a', 10, 0);
        ck_assert_int_eq(d.os->sync(d.os->arg, file), 0);
        fakeos_restart(d.fake);
        if (fakeos_exists(d.fake, "data/f"))
            kept++;
        else
            lost++;
        fakeos_free(d.fake);
    }
    ck_assert_uint_gt(lost, 0);
    ck_assert_uint_gt(kept, 0);
}
END_TEST

START_TEST(a_rename_is_never_seen_halfway)
{
    unsigned before = 0, after = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk d = disk_new(seed);

        (void)disk_settled(&d);
        ck_assert_int_eq(d.os->rename(d.os->arg, d.dir, "f", d.dir, "g"), 0);
        fakeos_restart(d.fake);
        const bool f = fakeos_exists(d.fake, "data/f");
        const bool g = fakeos_exists(d.fake, "data/g");
        ck_assert(f != g);
        before += f;
        after += g;
        fakeos_free(d.fake);
    }
    ck_assert_uint_gt(before, 0);
    ck_assert_uint_gt(after, 0);
}
END_TEST

START_TEST(a_synced_rename_survives_and_replaces)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk d = disk_new(seed);
        char got = 0;

        (void)disk_settled(&d);
        const int tmp = disk_open(&d, "tmp", KV_OS_WRITE | KV_OS_CREATE);
        disk_write(&d, tmp, 'z', 1, 0);
        ck_assert_int_eq(d.os->data_sync(d.os->arg, tmp), 0);
        ck_assert_int_eq(d.os->rename(d.os->arg, d.dir, "tmp", d.dir, "f"), 0);
        ck_assert_int_eq(d.os->dir_sync(d.os->arg, d.dir), 0);
        fakeos_restart(d.fake);
        ck_assert_int_eq(fakeos_peek(d.fake, "data/f", &got, 1, 0), 1);
        ck_assert_int_eq(got, 'z');
        ck_assert(!fakeos_exists(d.fake, "data/tmp"));
        fakeos_free(d.fake);
    }
}
END_TEST

START_TEST(after_the_cut_nothing_answers_and_nothing_moves)
{
    struct disk d = disk_new(1);
    const int file = disk_settled(&d);
    char byte = 'q';

    fakeos_cut_after(d.fake, 1);
    disk_write(&d, file, 'b', 1, 0);
    ck_assert(!fakeos_is_cut(d.fake));
    ck_assert_int_eq(d.os->sync(d.os->arg, file), -EIO);
    ck_assert(fakeos_is_cut(d.fake));
    ck_assert_int_eq(d.os->read_at(d.os->arg, file, &byte, 1, 0), -EIO);
    ck_assert_int_eq(d.os->write_at(d.os->arg, file, "c", 1, 0), -EIO);
    fakeos_restart(d.fake);
    ck_assert(!fakeos_is_cut(d.fake));
    ck_assert_int_eq(d.os->read_at(d.os->arg, file, &byte, 1, 0), -EBADF);
    ck_assert_int_eq(fakeos_peek(d.fake, "data/f", &byte, 1, 0), 1);
    ck_assert(byte == 'a' || byte == 'b');
    fakeos_free(d.fake);
}
END_TEST

START_TEST(a_killed_process_loses_nothing_but_its_handles)
{
    struct disk d = disk_new(1);
    const int file = disk_settled(&d);
    char byte = 0;

    disk_write(&d, file, 'b', 1, 0);
    ck_assert_int_eq(d.os->lock(d.os->arg, file), 0);
    fakeos_kill(d.fake);
    ck_assert_uint_eq(fakeos_open_handles(d.fake), 0);
    ck_assert_int_eq(fakeos_peek(d.fake, "data/f", &byte, 1, 0), 1);
    ck_assert_int_eq(byte, 'b');
    ck_assert_int_eq(d.os->dir_open(d.os->arg, "data", false, &d.dir), 0);
    const int again = disk_open(&d, "f", KV_OS_WRITE);
    ck_assert_int_eq(d.os->lock(d.os->arg, again), 0);
    fakeos_free(d.fake);
}
END_TEST

START_TEST(the_nth_call_fails_once_or_for_good)
{
    struct disk d = disk_new(1);
    const int file = disk_settled(&d);

    fakeos_fail(d.fake, FAKEOS_WRITE, 2, ENOSPC, false);
    disk_write(&d, file, 'b', 1, 0);
    ck_assert_int_eq(d.os->write_at(d.os->arg, file, "c", 1, 0), -ENOSPC);
    disk_write(&d, file, 'd', 1, 0);
    fakeos_fail(d.fake, FAKEOS_ANY, 1, EIO, true);
    ck_assert_int_eq(d.os->size(d.os->arg, file), -EIO);
    ck_assert_int_eq(d.os->sync(d.os->arg, file), -EIO);
    fakeos_fail(d.fake, FAKEOS_ANY, 0, 0, false);
    ck_assert_int_eq(d.os->size(d.os->arg, file), 1024);
    fakeos_free(d.fake);
}
END_TEST

START_TEST(a_sync_after_a_failed_sync_brings_nothing_back)
{
    unsigned lost = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk d = disk_new(seed);
        const int file = disk_settled(&d);
        char byte = 0;

        disk_write(&d, file, 'b', 1, 0);
        fakeos_fail(d.fake, FAKEOS_SYNC, 1, EIO, false);
        ck_assert_int_eq(d.os->sync(d.os->arg, file), -EIO);
        ck_assert_int_eq(d.os->sync(d.os->arg, file), 0);
        ck_assert_int_eq(d.os->read_at(d.os->arg, file, &byte, 1, 0), 1);
        ck_assert_int_eq(byte, 'b');
        fakeos_restart(d.fake);
        ck_assert_int_eq(fakeos_peek(d.fake, "data/f", &byte, 1, 0), 1);
        lost += byte == 'a';
        fakeos_free(d.fake);
    }
    ck_assert_uint_gt(lost, 0);
}
END_TEST

START_TEST(a_full_disk_takes_what_fits)
{
    struct disk d = disk_new(1);
    const int file = disk_settled(&d);
    const char bytes[100] = {0};

    fakeos_space(d.fake, 1050);
    ck_assert_uint_eq(d.os->space_free(d.os->arg, d.dir), 26);
    ck_assert_int_eq(d.os->write_at(d.os->arg, file, bytes, 100, 1024),
                     -ENOSPC);
    ck_assert_int_eq(d.os->size(d.os->arg, file), 1050);
    disk_write(&d, file, 'c', 1024, 0); /* what is there may be overwritten */
    ck_assert_int_eq(d.os->preallocate(d.os->arg, file, 0, 4096), -ENOSPC);
    fakeos_space(d.fake, UINT64_MAX);
    disk_write(&d, file, 'c', 100, 1024);
    ck_assert_int_eq(d.os->preallocate(d.os->arg, file, 0, 4096), 0);
    ck_assert_int_eq(d.os->size(d.os->arg, file), 1124);
    fakeos_free(d.fake);
}
END_TEST

START_TEST(a_lock_keeps_others_out_until_it_is_closed)
{
    struct disk d = disk_new(1);
    const int first = disk_settled(&d);
    const int second = disk_open(&d, "f", KV_OS_WRITE);

    ck_assert_int_eq(d.os->lock(d.os->arg, first), 0);
    ck_assert_int_eq(d.os->lock(d.os->arg, second), -EWOULDBLOCK);
    d.os->close(d.os->arg, first);
    ck_assert_int_eq(d.os->lock(d.os->arg, second), 0);
    fakeos_free(d.fake);
}
END_TEST

static void count_name(void *arg, const char *name)
{
    ck_assert(strcmp(name, "f") == 0 || strcmp(name, "sub") == 0);
    ++*(int *)arg;
}

START_TEST(flags_of_open_and_directories_behave)
{
    struct disk d = disk_new(1);
    int file = disk_settled(&d), names = 0, sub;

    ck_assert_int_eq(d.os->open(d.os->arg, d.dir, "g", KV_OS_READ, &file),
                     -ENOENT);
    ck_assert_int_eq(d.os->open(d.os->arg, d.dir, "f",
                                KV_OS_CREATE | KV_OS_EXCLUSIVE, &file),
                     -EEXIST);
    file = disk_open(&d, "f", KV_OS_READ);
    ck_assert_int_eq(d.os->write_at(d.os->arg, file, "x", 1, 0), -EBADF);
    file = disk_open(&d, "f", KV_OS_WRITE | KV_OS_TRUNCATE);
    ck_assert_int_eq(d.os->size(d.os->arg, file), 0);
    ck_assert_int_eq(d.os->dir_make(d.os->arg, d.dir, "sub"), 0);
    ck_assert_int_eq(d.os->dir_make(d.os->arg, d.dir, "sub"), 0);
    ck_assert_int_eq(d.os->dir_list(d.os->arg, d.dir, count_name, &names), 0);
    ck_assert_int_eq(names, 2);
    ck_assert_int_eq(d.os->dir_open(d.os->arg, "data/sub", false, &sub), 0);
    ck_assert_int_eq(d.os->rename(d.os->arg, d.dir, "f", sub, "f"), 0);
    ck_assert(fakeos_exists(d.fake, "data/sub/f"));
    ck_assert_int_eq(d.os->remove(d.os->arg, sub, "f"), 0);
    ck_assert_int_eq(d.os->remove(d.os->arg, sub, "f"), -ENOENT);
    ck_assert_int_eq(d.os->dir_open(d.os->arg, "none", false, &sub), -ENOENT);
    fakeos_free(d.fake);
}
END_TEST

START_TEST(poked_damage_is_on_the_disk_at_once)
{
    struct disk d = disk_new(3);
    char byte = 0;

    (void)disk_settled(&d);
    ck_assert(fakeos_poke(d.fake, "data/f", "!", 1, 7));
    ck_assert(fakeos_resize(d.fake, "data/f", 8));
    ck_assert(fakeos_poke(d.fake, "data/new", "n", 1, 0));
    fakeos_restart(d.fake);
    ck_assert_int_eq(fakeos_file_size(d.fake, "data/f"), 8);
    ck_assert_int_eq(fakeos_peek(d.fake, "data/f", &byte, 1, 7), 1);
    ck_assert_int_eq(byte, '!');
    ck_assert_int_eq(fakeos_file_size(d.fake, "data/new"), 1);
    ck_assert(fakeos_erase(d.fake, "data/new"));
    fakeos_restart(d.fake);
    ck_assert(!fakeos_exists(d.fake, "data/new"));
    fakeos_free(d.fake);
}
END_TEST

START_TEST(the_clock_is_set_and_advanced)
{
    struct disk d = disk_new(1);
    const uint64_t boot = d.os->boot_ns(d.os->arg);

    fakeos_wall_set(d.fake, 5000);
    fakeos_advance(d.fake, 20);
    ck_assert_int_eq(d.os->wall_ms(d.os->arg), 5020);
    ck_assert_uint_eq(d.os->boot_ns(d.os->arg), boot + 20000000);
    fakeos_free(d.fake);
}
END_TEST

START_TEST(the_same_seed_gives_the_same_disk)
{
    char got[2][1024];

    for (int i = 0; i < 2; i++) {
        struct disk d = disk_new(42);
        const int file = disk_settled(&d);

        for (unsigned n = 0; n < 8; n++)
            disk_write(&d, file, (char)('b' + n), 700, 40 * n);
        fakeos_restart(d.fake);
        ck_assert_int_eq(fakeos_peek(d.fake, "data/f", got[i], 1024, 0), 1024);
        fakeos_free(d.fake);
    }
    ck_assert_mem_eq(got[0], got[1], 1024);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, what_was_synced_survives_every_cut);
    tcase_add_test(tests, unsynced_bytes_are_dropped_torn_by_sector_or_kept);
    tcase_add_test(tests, a_sector_never_skips_an_earlier_write);
    tcase_add_test(tests,
                   an_unsynced_size_may_be_lost_or_come_without_its_bytes);
    tcase_add_test(tests, a_name_needs_the_sync_of_its_directory);
    tcase_add_test(tests, a_rename_is_never_seen_halfway);
    tcase_add_test(tests, a_synced_rename_survives_and_replaces);
    tcase_add_test(tests, after_the_cut_nothing_answers_and_nothing_moves);
    tcase_add_test(tests, a_killed_process_loses_nothing_but_its_handles);
    tcase_add_test(tests, the_nth_call_fails_once_or_for_good);
    tcase_add_test(tests, a_sync_after_a_failed_sync_brings_nothing_back);
    tcase_add_test(tests, a_full_disk_takes_what_fits);
    tcase_add_test(tests, a_lock_keeps_others_out_until_it_is_closed);
    tcase_add_test(tests, flags_of_open_and_directories_behave);
    tcase_add_test(tests, poked_damage_is_on_the_disk_at_once);
    tcase_add_test(tests, the_clock_is_set_and_advanced);
    tcase_add_test(tests, the_same_seed_gives_the_same_disk);
}

int main(void)
{
    return unit_run("lib_fakeos", add);
}
