/* test_base_os.c - the real system in a temporary directory; locks, threads;
 * messages for people. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kvsql/base/diag.h"
#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"
#include "tests/lib/unit.h"

/* ---- files ------------------------------------------------------------------ */

static const struct kv_os *os;
static char path[64];
static int dir;

static void begin(void)
{
    os = kv_os_real();
    (void)snprintf(path, sizeof(path), "/tmp/kvsql-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    ck_assert_int_eq(os->dir_open(os->arg, path, false, &dir), 0);
}

static void remove_one(void *arg, const char *name)
{
    (void)arg;
    (void)unlinkat(dir, name, 0);
    (void)unlinkat(dir, name, AT_REMOVEDIR);
}

static void end(void)
{
    ck_assert_int_eq(os->dir_list(os->arg, dir, remove_one, NULL), 0);
    os->dir_close(os->arg, dir);
    (void)rmdir(path);
}

START_TEST(a_file_is_written_read_cut_and_renamed)
{
    char got[8] = {0};
    int file;

    begin();
    ck_assert_int_eq(os->open(os->arg, dir, "a", KV_OS_READ, &file), -ENOENT);
    ck_assert_int_eq(os->open(os->arg, dir, "a",
                              KV_OS_WRITE | KV_OS_CREATE | KV_OS_EXCLUSIVE,
                              &file),
                     0);
    ck_assert_int_eq(os->write_at(os->arg, file, "hello", 5, 3), 5);
    ck_assert_int_eq(os->size(os->arg, file), 8);
    ck_assert_int_eq(os->read_at(os->arg, file, got, 8, 0), 8);
    ck_assert_mem_eq(got, "\0\0\0hello", 8);
    ck_assert_int_eq(os->read_at(os->arg, file, got, 8, 6), 2);
    ck_assert_int_eq(os->read_at(os->arg, file, got, 8, 99), 0);
    ck_assert_int_eq(os->truncate(os->arg, file, 4), 0);
    ck_assert_int_eq(os->size(os->arg, file), 4);
    const int rc = os->preallocate(os->arg, file, 0, 65536);
    ck_assert(rc == 0 || rc == -EOPNOTSUPP || rc == -ENOSYS);
    ck_assert_int_eq(os->size(os->arg, file), 4);
    ck_assert_int_eq(os->sync(os->arg, file), 0);
    ck_assert_int_eq(os->data_sync(os->arg, file), 0);
    os->close(os->arg, file);
    ck_assert_int_eq(os->rename(os->arg, dir, "a", dir, "b"), 0);
    ck_assert_int_eq(os->dir_sync(os->arg, dir), 0);
    ck_assert_int_eq(os->open(os->arg, dir, "b", KV_OS_READ, &file), 0);
    ck_assert_int_eq(os->write_at(os->arg, file, "x", 1, 0), -EBADF);
    os->close(os->arg, file);
    ck_assert_int_eq(os->open(os->arg, dir, "b",
                              KV_OS_WRITE | KV_OS_CREATE | KV_OS_EXCLUSIVE,
                              &file),
                     -EEXIST);
    ck_assert_int_eq(
        os->open(os->arg, dir, "b", KV_OS_WRITE | KV_OS_TRUNCATE, &file), 0);
    ck_assert_int_eq(os->size(os->arg, file), 0);
    os->close(os->arg, file);
    ck_assert_int_eq(os->remove(os->arg, dir, "b"), 0);
    ck_assert_int_eq(os->remove(os->arg, dir, "b"), -ENOENT);
    end();
}
END_TEST

static void count_one(void *arg, const char *name)
{
    ck_assert(strcmp(name, "x") == 0 || strcmp(name, "sub") == 0);
    ++*(int *)arg;
}

START_TEST(directories_are_made_and_listed_again_and_again)
{
    char sub[128];
    int file, inner;

    begin();
    ck_assert_int_eq(os->open(os->arg, dir, "x", KV_OS_WRITE | KV_OS_CREATE,
                              &file),
                     0);
    os->close(os->arg, file);
    ck_assert_int_eq(os->dir_make(os->arg, dir, "sub"), 0);
    ck_assert_int_eq(os->dir_make(os->arg, dir, "sub"), 0);
    for (int i = 0; i < 2; i++) {
        int names = 0;

        ck_assert_int_eq(os->dir_list(os->arg, dir, count_one, &names), 0);
        ck_assert_int_eq(names, 2);
    }
    (void)snprintf(sub, sizeof(sub), "%s/none", path);
    ck_assert_int_eq(os->dir_open(os->arg, sub, false, &inner), -ENOENT);
    (void)snprintf(sub, sizeof(sub), "%s/x", path);
    ck_assert_int_eq(os->dir_open(os->arg, sub, false, &inner), -ENOTDIR);
    (void)snprintf(sub, sizeof(sub), "%s/made", path);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(os->dir_open(os->arg, sub, true, &inner), 0);
        os->dir_close(os->arg, inner);
    }
    ck_assert_uint_gt(os->space_free(os->arg, dir), 0);
    end();
}
END_TEST

START_TEST(a_second_lock_on_a_file_is_refused)
{
    int first, second;

    begin();
    ck_assert_int_eq(os->open(os->arg, dir, "LOCK", KV_OS_WRITE | KV_OS_CREATE,
                              &first),
                     0);
    ck_assert_int_eq(os->open(os->arg, dir, "LOCK", KV_OS_WRITE, &second), 0);
    ck_assert_int_eq(os->lock(os->arg, first), 0);
    ck_assert_int_eq(os->lock(os->arg, second), -EWOULDBLOCK);
    os->close(os->arg, first);
    ck_assert_int_eq(os->lock(os->arg, second), 0);
    os->close(os->arg, second);
    end();
}
END_TEST

START_TEST(clocks_run_and_random_bytes_differ)
{
    uint8_t a[16], b[16];

    os = kv_os_real();
    const uint64_t before = kv_os_mono_ns();
    const uint64_t boot = os->boot_ns(os->arg);
    kv_os_sleep_ms(2);
    ck_assert_uint_ge(kv_os_mono_ns() - before, 2000000);
    ck_assert_uint_ge(os->boot_ns(os->arg) - boot, 2000000);
    ck_assert_int_gt(os->wall_ms(os->arg), 1700000000000);
    os->random(os->arg, a, sizeof(a));
    os->random(os->arg, b, sizeof(b));
    ck_assert_mem_ne(a, b, sizeof(a));
    ck_assert_str_eq(kv_os_error(ENOENT), "No such file or directory");
    ck_assert_int_eq(kv_os_pid(), (int)getpid());
}
END_TEST

START_TEST(the_quick_clock_keeps_pace)
{
    const uint64_t before = kv_os_mono_ns();
    const uint64_t start = kv_os_quick_ns();
    const uint64_t behind = kv_os_mono_ns();

    kv_os_sleep_ms(20);
    const uint64_t inner = kv_os_mono_ns() - behind;
    const uint64_t quick = kv_os_quick_ns() - start;
    const uint64_t outer = kv_os_mono_ns() - before;
    ck_assert_uint_ge(quick, inner - inner / 50);
    ck_assert_uint_le(quick, outer + outer / 50);
}
END_TEST

/* ---- locks, threads ----------------------------------------------------------- */

struct meeting {
    struct kv_lock lock;
    struct kv_cond cond;
    int turns;
};

static void *take_turns(void *arg)
{
    struct meeting *m = arg;

    for (int i = 0; i < 100; i++) {
        kv_lock_take(&m->lock);
        while (m->turns % 2 == 0)
            kv_cond_wait(&m->cond, &m->lock);
        m->turns++;
        kv_cond_wake_all(&m->cond);
        kv_lock_drop(&m->lock);
    }
    return NULL;
}

START_TEST(two_threads_take_turns)
{
    struct meeting m = {.turns = 0};
    struct kv_thread thread;
    struct kvsql_error err;

    kv_lock_init(&m.lock, KV_RANK_WAL);
    kv_cond_init(&m.cond);
    ck_assert_int_eq(kv_thread_start(&thread, "a-name-that-is-too-long",
                                     take_turns, &m, &err),
                     KVSQL_OK);
    for (int i = 0; i < 100; i++) {
        kv_lock_take(&m.lock);
        while (m.turns % 2 == 1)
            (void)kv_cond_wait_within(&m.cond, &m.lock, 10000);
        m.turns++;
        kv_cond_wake_one(&m.cond);
        kv_lock_drop(&m.lock);
    }
    kv_thread_join(&thread);
    kv_thread_join(&thread); /* not running: nothing */
    ck_assert_int_eq(m.turns, 200);
    kv_cond_fini(&m.cond);
    kv_lock_fini(&m.lock);
}
END_TEST

static void *try_lock(void *arg)
{
    struct kv_lock *lock = arg;
    const uint64_t start = kv_os_mono_ns();

    if (kv_lock_take_within(lock, 0))
        return "took a held lock at once";
    if (kv_lock_take_within(lock, 20))
        return "took a held lock";
    if (kv_os_mono_ns() - start < 20000000)
        return "did not wait";
    return NULL;
}

START_TEST(a_lock_that_is_held_is_given_up_in_time)
{
    struct kv_lock lock;
    pthread_t thread;
    void *wrong = NULL;

    kv_lock_init(&lock, KV_RANK_STORE);
    kv_lock_take(&lock);
    ck_assert_int_eq(pthread_create(&thread, NULL, try_lock, &lock), 0);
    ck_assert_int_eq(pthread_join(thread, &wrong), 0);
    ck_assert_msg(wrong == NULL, "%s", (const char *)wrong);
    kv_lock_drop(&lock);
    ck_assert(kv_lock_take_within(&lock, UINT64_MAX));
    kv_lock_drop(&lock);
    kv_lock_fini(&lock);
}
END_TEST

START_TEST(a_condition_nobody_wakes_is_given_up_in_time)
{
    struct kv_lock lock;
    struct kv_cond cond;

    kv_lock_init(&lock, KV_RANK_STORE);
    kv_cond_init(&cond);
    kv_lock_take(&lock);
    const uint64_t start = kv_os_mono_ns();
    while (kv_cond_wait_within(&cond, &lock, 20))
        continue; /* woken for nothing */
    ck_assert_uint_ge(kv_os_mono_ns() - start, 20000000);
    kv_lock_drop(&lock);
    kv_cond_fini(&cond);
    kv_lock_fini(&lock);
}
END_TEST

#ifdef KVSQL_DEBUG
START_TEST(locks_taken_in_the_wrong_order_stop_a_debug_build)
{
    struct kv_lock low, high;

    kv_lock_init(&low, KV_RANK_STORE);
    kv_lock_init(&high, KV_RANK_WAL);
    kv_lock_take(&low);
    kv_lock_take(&high);
    kv_lock_drop(&low);
    kv_lock_take(&low);
}
END_TEST
#endif

/* ---- messages -------------------------------------------------------------------- */

static char last_line[4096];

static void keep_line(void *arg, const char *line)
{
    ++*(int *)arg;
    (void)snprintf(last_line, sizeof(last_line), "%s", line);
}

/* The line behind its time. */
static const char *line_text(void)
{
    ck_assert_uint_gt(strlen(last_line), 25);
    ck_assert_int_eq(last_line[10], 'T');
    ck_assert_int_eq(last_line[23], 'Z');
    return last_line + 25;
}

START_TEST(facts_of_a_message_cannot_be_forged)
{
    int lines = 0;

    kv_diag_sink(keep_line, &lines);
    kv_diag(KV_INFO, "snapshot.done", "keys=%u ms=%d", 12408u, 310);
    ck_assert_str_eq(line_text(), "info snapshot.done keys=12408 ms=310");
    kv_diag(KV_WARN, "a.b", "who=%s n=%d", "x admin=1", 2);
    ck_assert_str_eq(line_text(), "warn a.b who=\"x admin=1\" n=2");
    kv_diag(KV_WARN, "a.b", "who=%s", "x\n2026 error c.d\x1b[1m");
    ck_assert_str_eq(line_text(),
                     "warn a.b who=\"x\\x0a2026 error c.d\\x1b[1m\"");
    kv_diag(KV_WARN, "a.b", "who=%s", "\xff\xc3\xa9");
    ck_assert_str_eq(line_text(), "warn a.b who=\\xff\xc3\xa9");
    kv_diag(KV_WARN, "a.b", "who=\"%s\" n=%d", "q\" n=3 \\", 4);
    ck_assert_str_eq(line_text(), "warn a.b who=\"q\\\" n=3 \\\\\" n=4");
    kv_diag(KV_WARN, "a.b", "error=cannot open %s n=%d", "f", 5);
    ck_assert_str_eq(line_text(), "warn a.b error=\"cannot open f\" n=5");
    kv_diag(KV_WARN, "a.b", "who=%s", "");
    ck_assert_str_eq(line_text(), "warn a.b who=\"\"");
    kv_diag(KV_WARN, "a.b", "%s", "");
    ck_assert_str_eq(line_text(), "warn a.b");
    ck_assert_int_eq(lines, 8);
    kv_diag_sink(NULL, NULL);
}
END_TEST

START_TEST(levels_hide_and_count_messages)
{
    int lines = 0;
    const uint64_t infos = kv_diag_count(KV_INFO);

    kv_diag_sink(keep_line, &lines);
    kv_diag_level_set(KV_WARN);
    kv_diag(KV_INFO, "a", "n=%d", 1);
    ck_assert_int_eq(lines, 0);
    kv_diag(KV_ERROR_LEVEL, "a", "n=%d", 1);
    ck_assert_int_eq(lines, 1);
    ck_assert_str_eq(line_text(), "error a n=1");
    kv_diag_level_set(KV_DEBUG);
    kv_diag(KV_DEBUG, "a", "n=%d", 1);
    kv_diag(KV_INFO, "a", "n=%d", 1);
    ck_assert_int_eq(lines, 3);
    ck_assert_uint_eq(kv_diag_count(KV_INFO), infos + 1);
    ck_assert_uint_eq(kv_diag_count(KV_ERROR_LEVEL), 1);
    kv_diag_sink(NULL, NULL);
}
END_TEST

START_TEST(a_message_too_long_loses_its_end_and_nothing_else)
{
    int lines = 0;
    char big[5000];

    memset(big, '\n', sizeof(big));
    big[sizeof(big) - 1] = 0;
    kv_diag_sink(keep_line, &lines);
    kv_diag(KV_INFO, "a", "text=%s", big);
    ck_assert_int_eq(lines, 1);
    ck_assert_uint_lt(strlen(last_line), 2048);
    kv_diag_sink(NULL, NULL);
}
END_TEST

START_TEST(a_line_that_would_block_is_dropped_and_counted)
{
    int ends[2];
    char byte = 'x';

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    while (write(ends[1], &byte, 1) == 1)
        continue;
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, 0), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    kv_diag(KV_WARN, "a", "n=%d", 1);
    ck_assert_uint_eq(kv_diag_dropped(), 1);
    char drain[65536];
    ck_assert_int_gt((int)read(ends[0], drain, sizeof(drain)), 0);
    kv_diag(KV_WARN, "a", "n=%d", 2);
    ck_assert_uint_eq(kv_diag_dropped(), 1);
}
END_TEST

#ifdef __linux__
static void *step_back(void *arg)
{
    int *to = arg;

    kv_thread_be_quick();
    to[0] = getpriority(PRIO_PROCESS, 0);
    kv_thread_step_back(KV_BACK_WORK);
    to[1] = getpriority(PRIO_PROCESS, 0);
    to[2] = sched_getscheduler(0);
    return NULL;
}

START_TEST(a_thread_steps_back_and_no_other_does)
{
    const int before = getpriority(PRIO_PROCESS, 0);
    const int policy = sched_getscheduler(0);
    const int back = before + KV_BACK_WORK < 19 ? before + KV_BACK_WORK : 19;
    struct kvsql_error err;
    struct kv_thread thread;
    int now[3];

    ck_assert_int_eq(kv_thread_start(&thread, "back", step_back, now, &err),
                     KVSQL_OK);
    kv_thread_join(&thread);
    ck_assert_int_eq(now[0], before);
    if (policy == SCHED_OTHER) { /* else it was chosen for us */
        ck_assert_int_eq(now[1], back);
        ck_assert_int_eq(now[2], SCHED_BATCH);
    } else {
        ck_assert_int_eq(now[1], before);
        ck_assert_int_eq(now[2], policy);
    }
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), before);
    ck_assert_int_eq(sched_getscheduler(0), policy);
}
END_TEST
#endif

static void add(TCase *tests)
{
#ifdef __linux__
    tcase_add_test(tests, a_thread_steps_back_and_no_other_does);
#endif
    tcase_add_test(tests, a_file_is_written_read_cut_and_renamed);
    tcase_add_test(tests, the_quick_clock_keeps_pace);
    tcase_add_test(tests, directories_are_made_and_listed_again_and_again);
    tcase_add_test(tests, a_second_lock_on_a_file_is_refused);
    tcase_add_test(tests, clocks_run_and_random_bytes_differ);
    tcase_add_test(tests, two_threads_take_turns);
    tcase_add_test(tests, a_lock_that_is_held_is_given_up_in_time);
    tcase_add_test(tests, a_condition_nobody_wakes_is_given_up_in_time);
#ifdef KVSQL_DEBUG
    tcase_add_test_raise_signal(
        tests, locks_taken_in_the_wrong_order_stop_a_debug_build, SIGABRT);
#endif
    tcase_add_test(tests, facts_of_a_message_cannot_be_forged);
    tcase_add_test(tests, levels_hide_and_count_messages);
    tcase_add_test(tests, a_message_too_long_loses_its_end_and_nothing_else);
    tcase_add_test(tests, a_line_that_would_block_is_dropped_and_counted);
}

int main(void)
{
    return unit_run("base_os", add);
}
