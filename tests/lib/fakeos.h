/* fakeos.h - an operating system for tests: a disk in memory that loses power,
 * a clock that is set, calls that fail when told.
 *
 *   struct fakeos *fake = fakeos_new(seed);
 *   fakeos_cut_after(fake, n);            the power goes after n changes
 *   kv_open_os("data", &options, fakeos_os(fake), ...); write; close
 *   fakeos_restart(fake);                 what survived is the disk now
 *   kv_open_os(...); compare with what was acknowledged
 *
 * Changes are the calls that alter or sync the disk: write_at, truncate, sync,
 * data_sync, dir_sync, rename, remove, dir_make, and an open that creates or
 * truncates. A scripted run is cut after every one of them by counting them
 * once with fakeos_changes().
 *
 * What survives a cut:
 *   C1  bytes and size of a file as its last successful sync saw them;
 *   C2  names as the last successful dir_sync of their directory saw them (a
 *       file that was synced but whose name was not may be gone);
 *   C3  of everything later the seed decides: all, nothing, a beginning, or
 *       each sector of 512 bytes and each name by itself. A sector holds what
 *       it held at some moment since the sync. A rename is never seen halfway.
 * After a sync that failed the unsynced bytes still read back, but no later
 * sync brings them to the disk: the kernel has forgotten that they are dirty.
 *
 * Thread: any; one lock inside. */
#ifndef TESTS_LIB_FAKEOS_H
#define TESTS_LIB_FAKEOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/os.h"

struct fakeos;

enum fakeos_call {
    FAKEOS_DIR_OPEN,
    FAKEOS_DIR_SYNC,
    FAKEOS_DIR_LIST,
    FAKEOS_DIR_MAKE,
    FAKEOS_OPEN,
    FAKEOS_SIZE,
    FAKEOS_READ,
    FAKEOS_WRITE,
    FAKEOS_TRUNCATE,
    FAKEOS_PREALLOCATE,
    FAKEOS_SYNC,
    FAKEOS_DATA_SYNC,
    FAKEOS_RENAME,
    FAKEOS_REMOVE,
    FAKEOS_LOCK,
    FAKEOS_CALLS,
    FAKEOS_ANY = FAKEOS_CALLS /* for fakeos_fail and fakeos_calls */
};

/* An empty disk without a limit, the wall clock at 2026-01-01T00:00:00Z. */
struct fakeos *fakeos_new(uint64_t seed);
void fakeos_free(struct fakeos *fake);
const struct kv_os *fakeos_os(struct fakeos *fake);

/* ---- faults -------------------------------------------------------------- */

/* Let the n-th call of `kind` from now on (1 = the next) fail with `error`
 * (EIO, ENOSPC, ...), once, or with `persistent` it and all after it. n 0
 * turns it off. A write that fails may have written a part. */
void fakeos_fail(struct fakeos *fake, enum fakeos_call kind, uint64_t n,
                 int error, bool persistent);
/* Calls of `kind` so far. */
uint64_t fakeos_calls(struct fakeos *fake, enum fakeos_call kind);
/* Room for `bytes` in all files together; more answers -ENOSPC. */
void fakeos_space(struct fakeos *fake, uint64_t bytes);

/* ---- power --------------------------------------------------------------- */

/* Changes so far. */
uint64_t fakeos_changes(struct fakeos *fake);
/* Off after `n` more changes: from then on every call answers -EIO and alters
 * nothing. 0 = now. */
void fakeos_cut_after(struct fakeos *fake, uint64_t n);
bool fakeos_is_cut(struct fakeos *fake);
/* Power off (if it is not yet) and on: C1-C3. Handles and locks are gone, no
 * fault is armed. */
void fakeos_restart(struct fakeos *fake);
/* The process is killed, the system stays: all that was written survives.
 * Handles and locks are gone, no fault is armed. */
void fakeos_kill(struct fakeos *fake);

/* ---- clock --------------------------------------------------------------- */

/* Set the wall clock, which may jump; the boot clock stays. */
void fakeos_wall_set(struct fakeos *fake, int64_t wall_ms);
/* Time goes by, on both clocks. */
void fakeos_advance(struct fakeos *fake, uint64_t ms);

/* ---- looking and damaging ------------------------------------------------ */

/* `path` is "dir/name", dir as it was opened. */
/* A file or a directory. */
bool fakeos_exists(struct fakeos *fake, const char *path);
/* Size, or -1. */
int64_t fakeos_file_size(struct fakeos *fake, const char *path);
/* Bytes read, or -1. */
int64_t fakeos_peek(struct fakeos *fake, const char *path, void *p,
                    size_t size, uint64_t offset);
/* Change bytes as seen and on the disk at once (grows the file when needed);
 * makes the file when it is not there, its directory must be. */
bool fakeos_poke(struct fakeos *fake, const char *path, const void *p,
                 size_t size, uint64_t offset);
/* Set the size as seen and on the disk at once. */
bool fakeos_resize(struct fakeos *fake, const char *path, uint64_t size);
/* Remove as seen and on the disk at once. */
bool fakeos_erase(struct fakeos *fake, const char *path);
/* Handles of files and directories not closed: leaks. */
unsigned fakeos_open_handles(struct fakeos *fake);

#endif
