/* os.h - the seam to files, clock and randomness.
 *
 * The library reaches the operating system through one table of functions, so
 * a test can be the disk and the clock. Files are named relative to a
 * directory handle. All calls loop over EINTR; write and read loop over short
 * counts. Results: >= 0, or -errno.
 *
 * Thread: any; a file is used by one thread at a time. */
#ifndef KVSQL_BASE_OS_H
#define KVSQL_BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"

#define KV_OS_NAME_MAX 255

enum kv_os_open_flags {
    KV_OS_READ = 0,
    KV_OS_WRITE = 1,     /* read and write */
    KV_OS_CREATE = 2,    /* make it if absent, mode 0600 */
    KV_OS_EXCLUSIVE = 4, /* with CREATE: fail with -EEXIST if present */
    KV_OS_TRUNCATE = 8
};

struct kv_os {
    void *arg; /* passed to every call */

    /* Directories. open_dir makes the directory (0700) when `create` is set
     * and it is absent; *out is a handle for the calls below. */
    int (*dir_open)(void *arg, const char *path, bool create, int *out);
    void (*dir_close)(void *arg, int dir);
    int (*dir_sync)(void *arg, int dir);
    /* Calls each(name) for every entry but "." and "..", in any order. */
    int (*dir_list)(void *arg, int dir,
                    void (*each)(void *each_arg, const char *name),
                    void *each_arg);
    int (*dir_make)(void *arg, int dir, const char *name); /* 0700; 0 if there */

    /* Files. */
    int (*open)(void *arg, int dir, const char *name, int flags, int *out);
    void (*close)(void *arg, int file);
    int64_t (*size)(void *arg, int file);
    /* Bytes read; less than `size` only at the end of the file. */
    int64_t (*read_at)(void *arg, int file, void *p, size_t size,
                       uint64_t offset);
    /* Writes all; on failure some prefix may have been written. */
    int64_t (*write_at)(void *arg, int file, const void *p, size_t size,
                        uint64_t offset);
    int (*truncate)(void *arg, int file, uint64_t size);
    /* Best effort: -EOPNOTSUPP and friends are not a fault (W11). What size()
     * says does not change. */
    int (*preallocate)(void *arg, int file, uint64_t offset, uint64_t size);
    int (*sync)(void *arg, int file);      /* fsync */
    int (*data_sync)(void *arg, int file); /* fdatasync */
    int (*rename)(void *arg, int dir, const char *from, int dir_to,
                  const char *to);
    int (*remove)(void *arg, int dir, const char *name);
    /* flock(LOCK_EX|LOCK_NB): 0, or -EWOULDBLOCK. */
    int (*lock)(void *arg, int file);
    uint64_t (*space_free)(void *arg, int dir); /* bytes; ~0 = unknown */

    /* Clock and randomness. */
    int64_t (*wall_ms)(void *arg);       /* since the epoch, may jump */
    uint64_t (*boot_ns)(void *arg);      /* CLOCK_BOOTTIME, never back */
    void (*random)(void *arg, void *p, size_t size);
};

/* The real one. */
KV_INTERNAL const struct kv_os *kv_os_real(void);
/* Monotonic nanoseconds, for measuring and for timers. */
KV_INTERNAL uint64_t kv_os_mono_ns(void);
/* Nanoseconds for measuring alone, where each counts: differences are right to
 * some parts in a thousand; the zero is not that of another clock. */
KV_INTERNAL uint64_t kv_os_quick_ns(void);
/* Wait. */
KV_INTERNAL void kv_os_sleep_ms(uint64_t ms);
/* Wait for ns nanoseconds, or a little longer; a signal may end it early. */
KV_INTERNAL void kv_os_nap(uint64_t ns);
/* From here on naps of the calling thread end about when they should: to some
 * microseconds, if a processor is free. False: the system cannot, and one may
 * take milliseconds. */
KV_INTERNAL bool kv_os_nap_fine(void);
KV_INTERNAL int kv_os_pid(void);
/* Write to stderr unless that would wait: false when nothing was written. At
 * most 4096 bytes. */
KV_INTERNAL bool kv_os_stderr(const char *p, size_t size);
/* Text for an errno (positive), static or thread-local. */
KV_INTERNAL const char *kv_os_error(int number);

#endif
