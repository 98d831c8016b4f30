/* lock.c - ranked mutexes, conditions on the monotonic clock, threads.
 *
 * A debug build keeps, for each thread, the ranks it holds and asserts that a
 * lock is taken only above all of them; so a deadlock of two locks fails in
 * the first test that takes them in the wrong order, not in the one run where
 * two threads meet.
 *
 * What pthreads answers here can only be wrong by our own fault (a lock not
 * initialised, dropped by a stranger), so it is asserted, not passed on.
 *
 * Thread: any. */
#include "kvsql/base/lock.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#ifdef __linux__
#include <sys/resource.h>
#include <sys/syscall.h>
#endif
#include <time.h>
#include <unistd.h>

#include "kvsql/base/os.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LOCK_TIMED_BY_WALL 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define LOCK_TIMED_BY_WALL 1
#endif

/* Longer waits are cut to this, so that adding to the clock never wraps. */
/* How long a thread runs once it has begun, although another one wakes up: the
 * system's own slice is about 3 ms. */
#define LOCK_SLICE_BACK_NS 200000ull
#define LOCK_SLICE_QUICK_NS 500000ull
#define LOCK_WAIT_MAX_MS (365ull * 24 * 3600 * 1000)

/* ---- ranks -------------------------------------------------------------------- */

#ifdef KVSQL_DEBUG

#define LOCK_HELD_MAX 16

static _Thread_local enum kv_lock_rank lock_held[LOCK_HELD_MAX];
static _Thread_local unsigned lock_held_count;

static void lock_rank_check(enum kv_lock_rank rank)
{
    for (unsigned i = 0; i < lock_held_count; i++)
        KV_ASSERT(lock_held[i] < rank);
    KV_ASSERT(lock_held_count < LOCK_HELD_MAX);
}

static void lock_rank_push(enum kv_lock_rank rank)
{
    lock_held[lock_held_count++] = rank;
}

static void lock_rank_pop(enum kv_lock_rank rank)
{
    unsigned i = lock_held_count;

    while (i > 0 && lock_held[i - 1] != rank)
        i--;
    KV_ASSERT(i > 0); /* dropped by the thread that took it */
    for (; i < lock_held_count; i++)
        lock_held[i - 1] = lock_held[i];
    lock_held_count--;
}

#else

static void lock_rank_check(enum kv_lock_rank rank)
{
    (void)rank;
}

static void lock_rank_push(enum kv_lock_rank rank)
{
    (void)rank;
}

static void lock_rank_pop(enum kv_lock_rank rank)
{
    (void)rank;
}

#endif

/* ---- locks -------------------------------------------------------------------- */

/* The moment `timeout_ms` from `now_ns`. */
static struct timespec lock_moment(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
                             .tv_nsec = (long)(ns % 1000000000u)};
}

static struct timespec lock_deadline(uint64_t now_ns, uint64_t timeout_ms)
{
    if (timeout_ms > LOCK_WAIT_MAX_MS)
        timeout_ms = LOCK_WAIT_MAX_MS;
    return lock_moment(now_ns + timeout_ms * 1000000u);
}

/* Wait for the mutex on the monotonic clock. ThreadSanitizer knows nothing of
 * pthread_mutex_clocklock and would call what such a lock guards a race; its
 * builds wait on the wall clock, whose function it knows. */
static int lock_wait(pthread_mutex_t *mutex, uint64_t timeout_ms)
{
#ifdef LOCK_TIMED_BY_WALL
    const struct kv_os *const os = kv_os_real();
    const struct timespec end = lock_deadline(
        (uint64_t)(os->wall_ms(os->arg) + 1) * 1000000u, timeout_ms);

    return pthread_mutex_timedlock(mutex, &end);
#else
    const struct timespec end = lock_deadline(kv_os_mono_ns(), timeout_ms);

    return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &end);
#endif
}

void kv_lock_init(struct kv_lock *lock, enum kv_lock_rank rank)
{
    lock->rank = rank;
    KV_ASSERT(pthread_mutex_init(&lock->mutex, NULL) == 0);
}

void kv_lock_fini(struct kv_lock *lock)
{
    KV_ASSERT(pthread_mutex_destroy(&lock->mutex) == 0);
}

void kv_lock_take(struct kv_lock *lock)
{
    lock_rank_check(lock->rank);
    KV_ASSERT(pthread_mutex_lock(&lock->mutex) == 0);
    lock_rank_push(lock->rank);
}

bool kv_lock_take_within(struct kv_lock *lock, uint64_t timeout_ms)
{
    lock_rank_check(lock->rank);
    int rc = pthread_mutex_trylock(&lock->mutex);
    if (rc == EBUSY && timeout_ms > 0)
        rc = lock_wait(&lock->mutex, timeout_ms);
    KV_ASSERT(rc == 0 || rc == EBUSY || rc == ETIMEDOUT);
    if (rc == 0)
        lock_rank_push(lock->rank);
    return rc == 0;
}

void kv_lock_drop(struct kv_lock *lock)
{
    lock_rank_pop(lock->rank);
    KV_ASSERT(pthread_mutex_unlock(&lock->mutex) == 0);
}

/* ---- conditions ----------------------------------------------------------------- */

void kv_cond_init(struct kv_cond *cond)
{
    pthread_condattr_t attr;

    KV_ASSERT(pthread_condattr_init(&attr) == 0);
    KV_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    KV_ASSERT(pthread_cond_init(&cond->cond, &attr) == 0);
    pthread_condattr_destroy(&attr);
}

void kv_cond_fini(struct kv_cond *cond)
{
    KV_ASSERT(pthread_cond_destroy(&cond->cond) == 0);
}

void kv_cond_wait(struct kv_cond *cond, struct kv_lock *lock)
{
    KV_ASSERT(pthread_cond_wait(&cond->cond, &lock->mutex) == 0);
}

bool kv_cond_wait_within(struct kv_cond *cond, struct kv_lock *lock,
                         uint64_t timeout_ms)
{
    const struct timespec end = lock_deadline(kv_os_mono_ns(), timeout_ms);
    const int rc = pthread_cond_timedwait(&cond->cond, &lock->mutex, &end);

    KV_ASSERT(rc == 0 || rc == ETIMEDOUT);
    return rc == 0;
}

bool kv_cond_wait_briefly(struct kv_cond *cond, struct kv_lock *lock,
                          uint64_t timeout_ns)
{
    KV_ASSERT(timeout_ns <= 1000000000u);
    const struct timespec end = lock_moment(kv_os_mono_ns() + timeout_ns);
    const int rc = pthread_cond_timedwait(&cond->cond, &lock->mutex, &end);

    KV_ASSERT(rc == 0 || rc == ETIMEDOUT);
    return rc == 0;
}

void kv_cond_wake_one(struct kv_cond *cond)
{
    KV_ASSERT(pthread_cond_signal(&cond->cond) == 0);
}

void kv_cond_wake_all(struct kv_cond *cond)
{
    KV_ASSERT(pthread_cond_broadcast(&cond->cond) == 0);
}

/* ---- threads -------------------------------------------------------------------- */

kvsql_rc kv_thread_start(struct kv_thread *thread, const char *name,
                         void *(*run)(void *), void *arg,
                         struct kvsql_error *err)
{
    sigset_t all, before;
    char short_name[16];

    thread->running = false;
    sigfillset(&all);
    KV_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    const int rc = pthread_create(&thread->thread, NULL, run, arg);
    KV_ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (rc != 0)
        return kv_fail(err, KVSQL_NOMEM,
                       "thread: cannot start \"%s\": %s; raise the limit of "
                       "threads or of memory",
                       name, kv_os_error(rc));
    thread->running = true;
    (void)snprintf(short_name, sizeof(short_name), "%s", name);
    /* A name that cannot be set only makes ps less clear. */
    (void)pthread_setname_np(thread->thread, short_name);
    return KVSQL_OK;
}

#ifdef __linux__

/* The kernel's struct sched_attr in its first form; glibc has none yet. */
struct lock_sched {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; /* ns */
};

/* Of the calling thread alone, unless somebody has chosen a policy for us. Where
 * it does not work, older kernels take no slice, nothing is lost. */
static void lock_sched(int policy, int steps, uint64_t slice_ns)
{
    if (sched_getscheduler(0) != SCHED_OTHER)
        return;
    const int before = getpriority(PRIO_PROCESS, 0);
    const struct lock_sched attr = {
        .size = sizeof(attr),
        .policy = (uint32_t)policy,
        .nice = before + steps < 19 ? before + steps : 19,
        .runtime = slice_ns};

    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

void kv_thread_step_back(enum kv_thread_back steps)
{
    lock_sched(SCHED_BATCH, (int)steps, LOCK_SLICE_BACK_NS);
}

void kv_thread_be_quick(void)
{
    lock_sched(SCHED_OTHER, 0, LOCK_SLICE_QUICK_NS);
}

#else /* elsewhere it would be the whole process */

void kv_thread_step_back(enum kv_thread_back steps)
{
    (void)steps;
}

void kv_thread_be_quick(void)
{
}

#endif

void kv_thread_join(struct kv_thread *thread)
{
    if (!thread->running)
        return;
    KV_ASSERT(pthread_join(thread->thread, NULL) == 0);
    thread->running = false;
}
