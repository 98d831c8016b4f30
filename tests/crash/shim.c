/* shim.c - stands between a program and its files (LD_PRELOAD): lets the n-th
 * call fail, or the n-th allocation, moves the wall clock, and writes down what is
 * done, so that a power cut can be played afterwards at any moment.
 *
 *   KVSQL_SHIM_DIR   what lies below this directory is watched, nothing else
 *   KVSQL_SHIM_CTL   file of SHIM_WORDS u64, mapped by both sides:
 *                      0 kinds that may fail, a bit each   1 n, counted down
 *                      2 errno; SHIM_SHORT: half of it is done; SHIM_LIE: it is
 *                        said to be done, and is not; SHIM_DIE: the program is
 *                        killed
 *                      3 not 0: for good
 *                      4 how many have failed              5 records so far
 *                      6 ms that the wall clock is off, signed
 *                      7 us that each write and each sync takes longer
 *                      8.. calls of each kind
 *   KVSQL_SHIM_LOG   file that gets a record for each change; without it none
 *
 *   record   u64 size of all, u64 ns (monotonic), u32 kind, u32 fd, u64 a,
 *            u64 b, then text or bytes; little endian
 *
 * A write is noted before it is done, a sync before and, when it has succeeded,
 * behind; names are changed and noted under one lock. The settings are copied
 * at load, before a program can overwrite its environment.
 *
 * Thread: any. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SHIM_WORDS 64
#define SHIM_SHORT 9999
#define SHIM_LIE 9998
#define SHIM_DIE 9997
#define SHIM_FDS 4096

enum shim_kind {
    SHIM_WRITE, SHIM_FSYNC, SHIM_FDATASYNC, SHIM_OPEN, SHIM_RENAME,
    SHIM_TRUNCATE, SHIM_ALLOCATE, SHIM_UNLINK, SHIM_MKDIR, SHIM_MALLOC
};
enum shim_record {
    REC_OPEN, REC_CREATE, REC_WRITE, REC_TRUNCATE, REC_SYNC, REC_SYNCED,
    REC_RENAME, REC_UNLINK, REC_DIR, REC_MKDIR
};
enum shim_word { CTL_KINDS, CTL_N, CTL_ERRNO, CTL_GOOD, CTL_FIRED, CTL_RECORDS,
                 CTL_CLOCK, CTL_SLOW, CTL_CALLS = 8 };

static char shim_dir[PATH_MAX];
static size_t shim_dir_size;
static uint64_t *shim_ctl;
static int shim_log = -1;
static pthread_mutex_t shim_lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t shim_fd[SHIM_FDS]; /* 0 not watched, 1 file, 2 directory */

#define SHIM_REAL(name, type)                                                 \
    static type real;                                                         \
    if (real == NULL) real = (type)(uintptr_t)dlsym(RTLD_NEXT, name)

typedef int (*open_fn)(const char *, int, ...);
typedef int (*openat_fn)(int, const char *, int, ...);
typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef int (*fd_fn)(int);
typedef int (*truncate_fn)(int, off_t);
typedef int (*allocate_fn)(int, int, off_t, off_t);
typedef int (*renameat_fn)(int, const char *, int, const char *);
typedef int (*unlinkat_fn)(int, const char *, int);
typedef int (*mkdirat_fn)(int, const char *, mode_t);

static ssize_t shim_real_write(int fd, const void *p, size_t size)
{
    SHIM_REAL("write", write_fn);
    return real(fd, p, size);
}

__attribute__((constructor)) static void shim_load(void)
{
    const char *dir = getenv("KVSQL_SHIM_DIR"), *ctl = getenv("KVSQL_SHIM_CTL"),
               *log = getenv("KVSQL_SHIM_LOG");

    SHIM_REAL("open", open_fn);
    if (dir == NULL || ctl == NULL)
        return;
    shim_dir_size = strlen(dir);
    memcpy(shim_dir, dir, shim_dir_size + 1);
    const int fd = real(ctl, O_RDWR | O_CLOEXEC);
    void *words = mmap(NULL, SHIM_WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED,
                       fd, 0);
    shim_ctl = words == MAP_FAILED ? NULL : words;
    if (log != NULL)
        shim_log = real(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* ---- what fails ------------------------------------------------------------------ */

/* Count the call; true with errno set when it is to fail. */
static bool shim_fails(enum shim_kind kind, bool *half)
{
    *half = false;
    if (shim_ctl == NULL)
        return false;
    __atomic_add_fetch(&shim_ctl[CTL_CALLS + kind], 1, __ATOMIC_SEQ_CST);
    if ((__atomic_load_n(&shim_ctl[CTL_KINDS], __ATOMIC_SEQ_CST) >> kind & 1) == 0)
        return false;
    const uint64_t n = __atomic_fetch_sub(&shim_ctl[CTL_N], 1, __ATOMIC_SEQ_CST);
    const bool good = shim_ctl[CTL_GOOD] != 0;
    if (n != 1 && !(good && (n == 0 || n > UINT64_MAX / 2)))
        return false;
    __atomic_add_fetch(&shim_ctl[CTL_FIRED], 1, __ATOMIC_SEQ_CST);
    if (shim_ctl[CTL_ERRNO] == SHIM_DIE)
        (void)kill(getpid(), SIGKILL);
    *half = shim_ctl[CTL_ERRNO] >= SHIM_LIE;
    errno = *half ? 0 : (int)shim_ctl[CTL_ERRNO];
    return true;
}

/* Before a write or a sync: a disk that takes its time. */
static void shim_wait(void)
{
    const uint64_t us =
        shim_ctl == NULL ? 0 : __atomic_load_n(&shim_ctl[CTL_SLOW], __ATOMIC_SEQ_CST);
    const struct timespec time = {(time_t)(us / 1000000),
                                  (long)(us % 1000000) * 1000};

    if (us != 0)
        (void)nanosleep(&time, NULL);
}

/* Of a write that is done by half, or not at all. */
static size_t shim_part(size_t size)
{
    return shim_ctl[CTL_ERRNO] == SHIM_LIE ? 0 : (size + 1) / 2;
}

/* ---- what is noted ------------------------------------------------------------------ */

static void shim_note(enum shim_record kind, int fd, uint64_t a, uint64_t b,
                      const void *p, size_t size)
{
    struct {
        uint64_t size, ns;
        uint32_t kind, fd;
        uint64_t a, b;
    } head = {sizeof(head) + size, 0, (uint32_t)kind, (uint32_t)fd, a, b};
    struct timespec now;
    const int saved = errno;

    if (shim_log < 0)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    head.ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    const struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)p, size}};
    if (writev(shim_log, parts, size > 0 ? 2 : 1) != (ssize_t)head.size)
        abort(); /* no room for the log: nothing can be judged */
    __atomic_add_fetch(&shim_ctl[CTL_RECORDS], 1, __ATOMIC_SEQ_CST);
    errno = saved;
}

static void shim_note_name(enum shim_record kind, int fd, const char *one,
                           const char *two)
{
    char text[2 * PATH_MAX + 2];
    const int size = snprintf(text, sizeof(text), "%s%c%s", one, '\n', two);

    shim_note(kind, fd, 0, 0, text, (size_t)size);
}

/* The path below the watched directory: "" for itself, NULL for none. */
static const char *shim_below(const char *path)
{
    if (shim_dir_size == 0 || strncmp(path, shim_dir, shim_dir_size) != 0)
        return NULL;
    if (path[shim_dir_size] == '\0')
        return path + shim_dir_size;
    return path[shim_dir_size] == '/' ? path + shim_dir_size + 1 : NULL;
}

/* Where a name of a directory leads, as an absolute path. */
static void shim_resolve(int dir, const char *name, char out[PATH_MAX])
{
    char link[64], base[PATH_MAX] = "";
    ssize_t size;

    if (name[0] == '/') {
        (void)snprintf(out, PATH_MAX, "%s", name);
        return;
    }
    if (dir == AT_FDCWD) {
        if (getcwd(base, sizeof(base)) == NULL) base[0] = '\0';
    } else {
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
        size = readlink(link, base, sizeof(base) - 1);
        base[size > 0 ? size : 0] = '\0';
    }
    if ((size_t)snprintf(out, PATH_MAX, "%s/%s", base, name) >= PATH_MAX)
        out[0] = '\0';
}

static int shim_kind_of(int fd)
{
    return fd >= 0 && fd < SHIM_FDS ? shim_fd[fd] : 0;
}

static bool shim_watched(int fd)
{
    return shim_kind_of(fd) == 1;
}

/* ---- opening and closing ------------------------------------------------------------- */

static int shim_open(int dir, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    bool half;
    SHIM_REAL("openat", openat_fn);

    shim_resolve(dir, name, path);
    const char *below = shim_below(path);
    if (below == NULL || strchr(below, '\n') != NULL)
        return real(dir, name, flags, mode);
    if ((flags & O_DIRECTORY) == 0 && shim_fails(SHIM_OPEN, &half)) {
        if (!half) return -1;
    }
    (void)pthread_mutex_lock(&shim_lock);
    const bool made = (flags & O_CREAT) != 0 &&
                      faccessat(dir, name, F_OK, 0) != 0;
    const int fd = real(dir, name, flags, mode);
    if (fd >= 0 && fd < SHIM_FDS) {
        struct stat st;
        const bool is_dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
        shim_fd[fd] = is_dir ? 2 : 1;
        shim_note_name(is_dir ? REC_DIR : made ? REC_CREATE : REC_OPEN, fd, below,
                       "");
        if (!is_dir && (flags & O_TRUNC) != 0)
            shim_note(REC_TRUNCATE, fd, 0, 0, NULL, 0);
    }
    (void)pthread_mutex_unlock(&shim_lock);
    return fd;
}

int openat(int dir, const char *name, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return shim_open(dir, name, flags, mode);
}

int openat64(int dir, const char *name, int flags, ...)
    __attribute__((alias("openat")));

int open(const char *name, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return shim_open(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...) __attribute__((alias("open")));

int close(int fd)
{
    SHIM_REAL("close", fd_fn);

    if (fd >= 0 && fd < SHIM_FDS)
        shim_fd[fd] = 0;
    return real(fd);
}

/* ---- bytes ----------------------------------------------------------------------------- */

ssize_t write(int fd, const void *p, size_t size)
{
    bool half;

    if (!shim_watched(fd))
        return shim_real_write(fd, p, size);
    shim_wait();
    if (shim_fails(SHIM_WRITE, &half)) {
        if (!half) return -1;
        if (shim_part(size) == 0) return (ssize_t)size;
        size = shim_part(size);
    }
    shim_note(REC_WRITE, fd, (uint64_t)lseek(fd, 0, SEEK_CUR), size, p, size);
    return shim_real_write(fd, p, size);
}

ssize_t pwrite(int fd, const void *p, size_t size, off_t offset)
{
    bool half;
    SHIM_REAL("pwrite", pwrite_fn);

    if (!shim_watched(fd))
        return real(fd, p, size, offset);
    shim_wait();
    if (shim_fails(SHIM_WRITE, &half)) {
        if (!half) return -1;
        if (shim_part(size) == 0) return (ssize_t)size;
        size = shim_part(size);
    }
    shim_note(REC_WRITE, fd, (uint64_t)offset, size, p, size);
    return real(fd, p, size, offset);
}

ssize_t pwrite64(int fd, const void *p, size_t size, off_t offset)
    __attribute__((alias("pwrite")));

int ftruncate(int fd, off_t size)
{
    bool half;
    SHIM_REAL("ftruncate", truncate_fn);

    if (!shim_watched(fd))
        return real(fd, size);
    if (shim_fails(SHIM_TRUNCATE, &half) && !half)
        return -1;
    shim_note(REC_TRUNCATE, fd, (uint64_t)size, 0, NULL, 0);
    return real(fd, size);
}

int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    bool half;
    SHIM_REAL("fallocate", allocate_fn);

    if (shim_watched(fd) && shim_fails(SHIM_ALLOCATE, &half) && !half)
        return -1;
    return real(fd, mode, offset, size); /* keeps the size: nothing to note */
}

int fallocate64(int fd, int mode, off_t offset, off_t size)
    __attribute__((alias("fallocate")));

static int shim_sync(int fd, enum shim_kind kind, fd_fn real)
{
    bool half;

    if (shim_kind_of(fd) == 0)
        return real(fd);
    shim_wait();
    if (shim_fails(kind, &half)) {
        if (!half) return -1;
        if (shim_ctl[CTL_ERRNO] == SHIM_LIE) return 0;
    }
    static uint64_t count; /* several threads may sync the same file */
    const uint64_t token = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    shim_note(REC_SYNC, fd, token, 0, NULL, 0);
    const int rc = real(fd);
    if (rc == 0)
        shim_note(REC_SYNCED, fd, token, 0, NULL, 0);
    return rc;
}

int fsync(int fd)
{
    SHIM_REAL("fsync", fd_fn);
    return shim_sync(fd, SHIM_FSYNC, real);
}

int fdatasync(int fd)
{
    SHIM_REAL("fdatasync", fd_fn);
    return shim_sync(fd, SHIM_FDATASYNC, real);
}

/* ---- memory --------------------------------------------------------------------------- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

static bool shim_no_memory(void)
{
    bool half;

    if (!shim_fails(SHIM_MALLOC, &half))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return shim_no_memory() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return shim_no_memory() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    return shim_no_memory() ? NULL : __libc_realloc(p, size);
}

/* ---- the wall clock ---------------------------------------------------------------------- */

typedef int (*clock_fn)(clockid_t, struct timespec *);

int clock_gettime(clockid_t clock, struct timespec *now)
{
    SHIM_REAL("clock_gettime", clock_fn);
    const int rc = real(clock, now);

    if (rc == 0 && shim_ctl != NULL &&
        (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        const int64_t off = (int64_t)__atomic_load_n(&shim_ctl[CTL_CLOCK],
                                                     __ATOMIC_SEQ_CST);
        now->tv_sec += off / 1000; /* whole seconds are asked for */
    }
    return rc;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec spec;
    const int rc = clock_gettime(CLOCK_REALTIME, &spec);

    (void)zone;
    now->tv_sec = spec.tv_sec;
    now->tv_usec = spec.tv_nsec / 1000;
    return rc;
}

time_t time(time_t *out)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

/* ---- names ------------------------------------------------------------------------------- */

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    char one[PATH_MAX], two[PATH_MAX];
    bool half;
    SHIM_REAL("renameat", renameat_fn);

    shim_resolve(from_dir, from, one);
    shim_resolve(to_dir, to, two);
    const char *below = shim_below(one), *above = shim_below(two);
    if (below == NULL || above == NULL)
        return real(from_dir, from, to_dir, to);
    if (shim_fails(SHIM_RENAME, &half) && !half)
        return -1;
    (void)pthread_mutex_lock(&shim_lock);
    const int rc = real(from_dir, from, to_dir, to);
    if (rc == 0)
        shim_note_name(REC_RENAME, 0, below, above);
    (void)pthread_mutex_unlock(&shim_lock);
    return rc;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dir, const char *name, int flags)
{
    char path[PATH_MAX];
    bool half;
    SHIM_REAL("unlinkat", unlinkat_fn);

    shim_resolve(dir, name, path);
    const char *below = shim_below(path);
    if (below == NULL)
        return real(dir, name, flags);
    if (shim_fails(SHIM_UNLINK, &half) && !half)
        return -1;
    (void)pthread_mutex_lock(&shim_lock);
    const int rc = real(dir, name, flags);
    if (rc == 0)
        shim_note_name(REC_UNLINK, 0, below, "");
    (void)pthread_mutex_unlock(&shim_lock);
    return rc;
}

int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

int mkdirat(int dir, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    bool half;
    SHIM_REAL("mkdirat", mkdirat_fn);

    shim_resolve(dir, name, path);
    const char *below = shim_below(path);
    if (below != NULL && shim_fails(SHIM_MKDIR, &half) && !half)
        return -1;
    (void)pthread_mutex_lock(&shim_lock);
    const int rc = real(dir, name, mode);
    if (rc == 0 && below != NULL)
        shim_note_name(REC_MKDIR, 0, below, "");
    (void)pthread_mutex_unlock(&shim_lock);
    return rc;
}
