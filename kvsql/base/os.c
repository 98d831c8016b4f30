/* os.c - the real operating system behind struct kv_os.
 *
 * The one file of the library that opens, reads, writes and syncs, and that
 * asks for the time and for random bytes. Directories and files are plain
 * descriptors; names are resolved against their directory's descriptor, so
 * moving the directory does not send later files elsewhere.
 *
 * A sync that failed is never tried again here: the kernel may have dropped
 * the pages, and a second call would say all is well.
 *
 * Thread: any; a file is used by one thread at a time. */
#include "kvsql/base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define OS_LINE_MAX 4096 /* PIPE_BUF: a pipe that is ready takes it whole */
#define OS_NAP_STEP_NS 1000 /* a nap may end so much later */

static int os_result(int rc)
{
    return rc < 0 ? -errno : rc;
}

/* ---- directories ----------------------------------------------------------- */

static int os_dir_sync(void *arg, int dir)
{
    int rc;

    (void)arg;
    do
        rc = fsync(dir);
    while (rc < 0 && errno == EINTR);
    return os_result(rc);
}

/* A directory just made survives a power cut once its parent is synced. */
static int os_parent_sync(int dir)
{
    const int parent = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (parent < 0)
        return -errno;
    const int rc = os_dir_sync(NULL, parent);
    close(parent);
    return rc;
}

static int os_dir_open(void *arg, const char *path, bool create, int *out)
{
    bool made = false;

    (void)arg;
    *out = -1;
    if (create) {
        made = mkdir(path, 0700) == 0;
        if (!made && errno != EEXIST)
            return -errno;
    }
    const int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    const int rc = made ? os_parent_sync(dir) : 0;
    if (rc < 0) {
        close(dir);
        return rc;
    }
    *out = dir;
    return 0;
}

static void os_dir_close(void *arg, int dir)
{
    (void)arg;
    close(dir);
}

static int os_dir_list(void *arg, int dir,
                       void (*each)(void *each_arg, const char *name),
                       void *each_arg)
{
    (void)arg;
    /* A fresh descriptor: a duplicate would share the reading position. */
    const int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return -errno;
    DIR *stream = fdopendir(copy);
    if (stream == NULL) {
        const int rc = -errno;

        close(copy);
        return rc;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(each_arg, entry->d_name);
    }
    const int rc = -errno;
    closedir(stream);
    return rc;
}

static int os_dir_make(void *arg, int dir, const char *name)
{
    (void)arg;
    return mkdirat(dir, name, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

/* ---- files ------------------------------------------------------------------ */

static int os_open(void *arg, int dir, const char *name, int flags, int *out)
{
    int how = O_CLOEXEC | (flags & KV_OS_WRITE ? O_RDWR : O_RDONLY);
    int file;

    (void)arg;
    if (flags & KV_OS_CREATE)
        how |= O_CREAT;
    if (flags & KV_OS_EXCLUSIVE)
        how |= O_EXCL;
    if (flags & KV_OS_TRUNCATE)
        how |= O_TRUNC;
    do
        file = openat(dir, name, how, 0600);
    while (file < 0 && errno == EINTR);
    *out = file;
    return file < 0 ? -errno : 0;
}

static void os_close(void *arg, int file)
{
    (void)arg;
    close(file); /* never again on EINTR: the descriptor is gone */
}

static int64_t os_size(void *arg, int file)
{
    struct stat st;

    (void)arg;
    return fstat(file, &st) < 0 ? -errno : (int64_t)st.st_size;
}

static int64_t os_read_at(void *arg, int file, void *p, size_t size,
                          uint64_t offset)
{
    size_t done = 0;

    (void)arg;
    while (done < size) {
        const ssize_t n = pread(file, (char *)p + done, size - done,
                                (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int64_t)done;
}

static int64_t os_write_at(void *arg, int file, const void *p, size_t size,
                           uint64_t offset)
{
    size_t done = 0;

    (void)arg;
    while (done < size) {
        const ssize_t n = pwrite(file, (const char *)p + done, size - done,
                                 (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        done += (size_t)n;
    }
    return (int64_t)done;
}

static int os_truncate(void *arg, int file, uint64_t size)
{
    int rc;

    (void)arg;
    do
        rc = ftruncate(file, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return os_result(rc);
}

static int os_preallocate(void *arg, int file, uint64_t offset, uint64_t size)
{
    int rc;

    (void)arg;
    do
        rc = fallocate(file, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return os_result(rc);
}

static int os_sync(void *arg, int file)
{
    int rc;

    (void)arg;
    do
        rc = fsync(file);
    while (rc < 0 && errno == EINTR);
    return os_result(rc);
}

static int os_data_sync(void *arg, int file)
{
    int rc;

    (void)arg;
    do
        rc = fdatasync(file);
    while (rc < 0 && errno == EINTR);
    return os_result(rc);
}

static int os_rename(void *arg, int dir, const char *from, int dir_to,
                     const char *to)
{
    (void)arg;
    return os_result(renameat(dir, from, dir_to, to));
}

static int os_remove(void *arg, int dir, const char *name)
{
    (void)arg;
    return os_result(unlinkat(dir, name, 0));
}

static int os_lock(void *arg, int file)
{
    int rc;

    (void)arg;
    do
        rc = flock(file, LOCK_EX | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    return os_result(rc);
}

static uint64_t os_space_free(void *arg, int dir)
{
    struct statvfs st;

    (void)arg;
    if (fstatvfs(dir, &st) < 0)
        return UINT64_MAX;
    return (uint64_t)st.f_bavail * st.f_frsize;
}

/* ---- clock, randomness ------------------------------------------------------- */

static uint64_t os_clock_ns(clockid_t clock)
{
    struct timespec now;

    KV_ASSERT(clock_gettime(clock, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int64_t os_wall_ms(void *arg)
{
    (void)arg;
    return (int64_t)(os_clock_ns(CLOCK_REALTIME) / 1000000u);
}

static uint64_t os_boot_ns(void *arg)
{
    (void)arg;
    return os_clock_ns(CLOCK_BOOTTIME);
}

static void os_random(void *arg, void *p, size_t size)
{
    size_t done = 0;

    (void)arg;
    while (done < size) {
        const ssize_t n = getrandom((char *)p + done, size - done, 0);

        if (n < 0 && errno == EINTR)
            continue;
        KV_ASSERT(n > 0);
        done += (size_t)n;
    }
}

static const struct kv_os os_table = {
    .dir_open = os_dir_open,
    .dir_close = os_dir_close,
    .dir_sync = os_dir_sync,
    .dir_list = os_dir_list,
    .dir_make = os_dir_make,
    .open = os_open,
    .close = os_close,
    .size = os_size,
    .read_at = os_read_at,
    .write_at = os_write_at,
    .truncate = os_truncate,
    .preallocate = os_preallocate,
    .sync = os_sync,
    .data_sync = os_data_sync,
    .rename = os_rename,
    .remove = os_remove,
    .lock = os_lock,
    .space_free = os_space_free,
    .wall_ms = os_wall_ms,
    .boot_ns = os_boot_ns,
    .random = os_random,
};

const struct kv_os *kv_os_real(void)
{
    return &os_table;
}

uint64_t kv_os_mono_ns(void)
{
    return os_clock_ns(CLOCK_MONOTONIC);
}

#if defined(__x86_64__)

#define OS_TICK_PROBE_NS 200000 /* how long ticks are counted to know them */
#define OS_TICK_PAIRS 8

/* Nanoseconds per tick times 2^32; 0 is not known yet, OS_TICK_NONE: this
 * processor's ticks do not keep pace with time. */
#define OS_TICK_NONE UINT64_MAX
static _Atomic uint64_t os_tick_scale;

/* Time and ticks at one moment: the closest of some readings, for a thread may
 * lose its processor between the two. */
static uint64_t os_tick_pair(uint64_t *ticks)
{
    uint64_t ns = 0, gap = UINT64_MAX;

    for (unsigned i = 0; i < OS_TICK_PAIRS; i++) {
        const uint64_t before = kv_os_mono_ns();
        const uint64_t now = __builtin_ia32_rdtsc();
        const uint64_t after = kv_os_mono_ns();

        if (after - before < gap) {
            gap = after - before;
            ns = before + gap / 2;
            *ticks = now;
        }
    }
    return ns;
}

static uint64_t os_tick_probe(void)
{
    unsigned a, b, c, d;
    uint64_t start = 0, end = 0;

    if (__get_cpuid(0x80000007, &a, &b, &c, &d) == 0 || (d & 1u << 8) == 0)
        return OS_TICK_NONE;
    const uint64_t start_ns = os_tick_pair(&start);
    while (kv_os_mono_ns() - start_ns < OS_TICK_PROBE_NS)
        continue;
    const uint64_t end_ns = os_tick_pair(&end);
    const double scale = (double)(end_ns - start_ns) / (double)(end - start) *
                         4294967296.0;
    /* below a gigahertz the products of the reading would not fit */
    return end > start && scale < 4294967296.0 ? (uint64_t)scale
                                               : OS_TICK_NONE;
}

uint64_t kv_os_quick_ns(void)
{
    uint64_t scale = atomic_load_explicit(&os_tick_scale,
                                          memory_order_relaxed);

    if (KV_UNLIKELY(scale == 0)) {
        const uint64_t probed = os_tick_probe();
        /* one scale for ever: two would tear differences apart */
        if (atomic_compare_exchange_strong(&os_tick_scale, &scale, probed))
            scale = probed;
    }
    if (scale == OS_TICK_NONE)
        return kv_os_mono_ns();
    const uint64_t ticks = __builtin_ia32_rdtsc();
    /* the upper and the lower half apart: 96 bits of product */
    return (ticks >> 32) * scale + ((ticks & UINT32_MAX) * scale >> 32);
}

#else

uint64_t kv_os_quick_ns(void)
{
    return kv_os_mono_ns();
}

#endif

void kv_os_sleep_ms(uint64_t ms)
{
    struct timespec rest = {.tv_sec = (time_t)(ms / 1000),
                            .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
        continue;
}

#ifdef __linux__
bool kv_os_nap_fine(void)
{
    struct timespec step;

    return clock_getres(CLOCK_MONOTONIC, &step) == 0 && step.tv_sec == 0 &&
           step.tv_nsec <= OS_NAP_STEP_NS &&
           prctl(PR_SET_TIMERSLACK, OS_NAP_STEP_NS, 0, 0, 0) == 0;
}
#else
bool kv_os_nap_fine(void)
{
    return false;
}
#endif

void kv_os_nap(uint64_t ns)
{
    const struct timespec rest = {.tv_sec = (time_t)(ns / 1000000000),
                                  .tv_nsec = (long)(ns % 1000000000)};

    (void)nanosleep(&rest, NULL);
}

int kv_os_pid(void)
{
    return (int)getpid();
}

const char *kv_os_error(int number)
{
    static _Thread_local char os_error_text[128];

    return strerror_r(number, os_error_text, sizeof(os_error_text));
}

bool kv_os_stderr(const char *p, size_t size)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (size > OS_LINE_MAX || poll(&ready, 1, 0) != 1 ||
        (ready.revents & POLLOUT) == 0)
        return false;
    return write(STDERR_FILENO, p, size) > 0;
}

/* ---- probes ------------------------------------------------------------------- */

#ifdef KVSQL_PROBES

/* Append the name to the file that KVSQL_PROBE_FILE names; `make coverage` reads
 * it. Each hit is a line: this build is for counting, not for speed. */
void kv_probe_hit(const char *name)
{
    const char *path = getenv("KVSQL_PROBE_FILE");
    char line[256];
    const size_t size = strlen(name);

    if (path == NULL || size >= sizeof(line))
        return;
    memcpy(line, name, size);
    line[size] = '\n';
    const int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    KV_ASSERT(write(file, line, size + 1) == (ssize_t)size + 1);
    close(file);
}

#endif
