/* fakevfs.c - SQLite's files through a kv_os table.
 *
 * A file is a handle of the table; each call of SQLite is one call of it, so
 * that "fail the n-th" and "cut after the n-th" count what SQLite does, too.
 *
 * Thread: see the header. */
#include "tests/lib/fakevfs.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct fakevfs_file {
    sqlite3_file base;
    const struct kv_os *os;
    int handle;
};

static sqlite3_vfs fakevfs;
static sqlite3_vfs *fakevfs_before;

static struct fakevfs_file *fakevfs_of(sqlite3_file *file)
{
    return (struct fakevfs_file *)file;
}

static int fakevfs_code(int64_t result, int code)
{
    return result >= 0 ? SQLITE_OK : result == -ENOSPC ? SQLITE_FULL : code;
}

/* ---- a file ------------------------------------------------------------------ */

static int fakevfs_close(sqlite3_file *file)
{
    struct fakevfs_file *own = fakevfs_of(file);

    own->os->close(own->os->arg, own->handle);
    return SQLITE_OK;
}

static int fakevfs_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
    struct fakevfs_file *own = fakevfs_of(file);
    const int64_t got = own->os->read_at(own->os->arg, own->handle, p,
                                         (size_t)n, (uint64_t)at);

    if (got < 0)
        return SQLITE_IOERR_READ;
    if (got == n)
        return SQLITE_OK;
    memset((char *)p + got, 0, (size_t)(n - got));
    return SQLITE_IOERR_SHORT_READ;
}

static int fakevfs_write(sqlite3_file *file, const void *p, int n,
                         sqlite3_int64 at)
{
    struct fakevfs_file *own = fakevfs_of(file);

    return fakevfs_code(own->os->write_at(own->os->arg, own->handle, p,
                                          (size_t)n, (uint64_t)at),
                        SQLITE_IOERR_WRITE);
}

static int fakevfs_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct fakevfs_file *own = fakevfs_of(file);

    return fakevfs_code(own->os->truncate(own->os->arg, own->handle,
                                          (uint64_t)size),
                        SQLITE_IOERR_TRUNCATE);
}

static int fakevfs_sync(sqlite3_file *file, int flags)
{
    struct fakevfs_file *own = fakevfs_of(file);

    (void)flags;
    return fakevfs_code(own->os->sync(own->os->arg, own->handle),
                        SQLITE_IOERR_FSYNC);
}

static int fakevfs_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct fakevfs_file *own = fakevfs_of(file);

    *size = own->os->size(own->os->arg, own->handle);
    return fakevfs_code(*size, SQLITE_IOERR_FSTAT);
}

static int fakevfs_lock(sqlite3_file *file, int level)
{
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int fakevfs_reserved(sqlite3_file *file, int *out)
{
    (void)file;
    *out = 0;
    return SQLITE_OK;
}

static int fakevfs_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int fakevfs_sector(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int fakevfs_device(sqlite3_file *file)
{
    (void)file;
    return 0;
}

static const sqlite3_io_methods fakevfs_methods = {
    .iVersion = 1,
    .xClose = fakevfs_close,
    .xRead = fakevfs_read,
    .xWrite = fakevfs_write,
    .xTruncate = fakevfs_truncate,
    .xSync = fakevfs_sync,
    .xFileSize = fakevfs_size,
    .xLock = fakevfs_lock,
    .xUnlock = fakevfs_lock,
    .xCheckReservedLock = fakevfs_reserved,
    .xFileControl = fakevfs_control,
    .xSectorSize = fakevfs_sector,
    .xDeviceCharacteristics = fakevfs_device};

/* ---- the file system ------------------------------------------------------------ */

static int fakevfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file,
                        int flags, int *flags_out)
{
    struct fakevfs_file *own = fakevfs_of(file);
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    char dir[512];
    int handle;

    *own = (struct fakevfs_file){.os = vfs->pAppData};
    if (slash == NULL || (size_t)(slash - path) >= sizeof dir)
        return SQLITE_CANTOPEN;
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = 0;
    if (own->os->dir_open(own->os->arg, dir, false, &handle) < 0)
        return SQLITE_CANTOPEN;
    const int rc = own->os->open(
        own->os->arg, handle, slash + 1,
        flags & SQLITE_OPEN_READWRITE ? KV_OS_WRITE : KV_OS_READ,
        &own->handle);
    own->os->dir_close(own->os->arg, handle);
    if (rc < 0)
        return SQLITE_CANTOPEN;
    own->base.pMethods = &fakevfs_methods;
    if (flags_out != NULL)
        *flags_out = flags;
    return SQLITE_OK;
}

static int fakevfs_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
    (void)vfs;
    (void)path;
    (void)sync;
    return SQLITE_IOERR_DELETE_NOENT;
}

static int fakevfs_access(sqlite3_vfs *vfs, const char *path, int flags,
                          int *out)
{
    (void)vfs;
    (void)path;
    (void)flags;
    *out = 0;
    return SQLITE_OK;
}

static int fakevfs_path(sqlite3_vfs *vfs, const char *path, int size,
                        char *out)
{
    (void)vfs;
    if (strncmp(path, "./", 2) == 0)
        path += 2;
    if (strlen(path) >= (size_t)size)
        return SQLITE_CANTOPEN;
    memcpy(out, path, strlen(path) + 1);
    return SQLITE_OK;
}

void fakevfs_in(const struct kv_os *os)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);

    if (real == NULL || real == &fakevfs)
        abort();
    fakevfs_before = real;
    fakevfs = *real; /* clock and randomness */
    fakevfs.iVersion = 1;
    fakevfs.pNext = NULL;
    fakevfs.zName = "fakeos";
    fakevfs.szOsFile = (int)sizeof(struct fakevfs_file);
    fakevfs.pAppData = (void *)(uintptr_t)os;
    fakevfs.xOpen = fakevfs_open;
    fakevfs.xDelete = fakevfs_delete;
    fakevfs.xAccess = fakevfs_access;
    fakevfs.xFullPathname = fakevfs_path;
    if (sqlite3_vfs_register(&fakevfs, 1) != SQLITE_OK)
        abort();
}

void fakevfs_out(void)
{
    if (sqlite3_vfs_unregister(&fakevfs) != SQLITE_OK ||
        sqlite3_vfs_register(fakevfs_before, 1) != SQLITE_OK)
        abort();
}
