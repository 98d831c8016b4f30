/* fakeos.c - struct kv_os over fakedisk: handles, faults, power, clock.
 *
 * Every call enters through fakeos_enter(), which counts it, decides whether
 * it fails and whether the power is still there, and holds the lock until
 * fakeos_leave(). */
#include "tests/lib/fakeos.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fakedisk.h"

#define FAKEOS_START_WALL_MS 1767225600000 /* 2026-01-01T00:00:00Z */

struct fakeos_handle {
    bool open, is_dir, writable;
    int dir;
    struct fakedisk_file *file;
};

struct fakeos_fault {
    uint64_t in; /* calls until it strikes, 0 = off */
    int error;
    bool persistent;
};

struct fakeos {
    struct kv_os os;
    pthread_mutex_t lock;
    struct rand_state rand;
    struct fakedisk disk;
    struct fakeos_handle *handles; /* [0] is never used */
    size_t handle_count, handle_cap;
    struct fakeos_fault faults[FAKEOS_CALLS + 1];
    uint64_t calls[FAKEOS_CALLS + 1];
    uint64_t space, changes, cut_at; /* cut_at: changes allowed */
    bool cut;
    int64_t wall_ms;
    uint64_t boot_ns;
};

/* ---- entering ---------------------------------------------------------------- */

static int fakeos_strike(struct fakeos_fault *fault)
{
    if (fault->in == 0 || --fault->in > 0)
        return 0;
    if (fault->persistent)
        fault->in = 1;
    return -fault->error;
}

/* 0, or the error this call answers. Takes the lock either way. */
static int fakeos_enter(struct fakeos *fake, enum fakeos_call kind,
                        bool change)
{
    pthread_mutex_lock(&fake->lock);
    fake->calls[kind]++;
    fake->calls[FAKEOS_ANY]++;
    if (!fake->cut && change && fake->changes >= fake->cut_at)
        fake->cut = true;
    if (fake->cut)
        return -EIO;
    fake->changes += change;
    const int any = fakeos_strike(&fake->faults[FAKEOS_ANY]);
    const int rc = fakeos_strike(&fake->faults[kind]);
    return rc != 0 ? rc : any;
}

static int fakeos_leave(struct fakeos *fake, int rc)
{
    pthread_mutex_unlock(&fake->lock);
    return rc;
}

static struct fakeos_handle *fakeos_handle(struct fakeos *fake, int handle,
                                           bool is_dir)
{
    if (handle <= 0 || (size_t)handle >= fake->handle_count ||
        !fake->handles[handle].open ||
        fake->handles[handle].is_dir != is_dir)
        return NULL;
    return &fake->handles[handle];
}

/* Handles are never used again, so a stale one is always found out. */
static int fakeos_handle_new(struct fakeos *fake, struct fakeos_handle handle)
{
    if (fake->handle_count == fake->handle_cap) {
        fake->handle_cap = fake->handle_cap ? 2 * fake->handle_cap : 16;
        fake->handles = realloc(fake->handles, fake->handle_cap *
                                                   sizeof(*fake->handles));
        if (fake->handles == NULL)
            abort();
    }
    if (fake->handle_count == 0)
        fake->handles[fake->handle_count++] = (struct fakeos_handle){0};
    handle.open = true;
    fake->handles[fake->handle_count] = handle;
    return (int)fake->handle_count++;
}

static void fakeos_close_all(struct fakeos *fake)
{
    for (size_t i = 0; i < fake->handle_count; i++)
        fake->handles[i].open = false;
    for (size_t i = 0; i < fake->disk.file_count; i++)
        fake->disk.files[i]->locked_by = 0;
    memset(fake->faults, 0, sizeof(fake->faults));
    fake->cut_at = UINT64_MAX;
    fake->cut = false;
}

/* ---- directories --------------------------------------------------------------- */

static int fakeos_dir_open(void *arg, const char *path, bool create, int *out)
{
    struct fakeos *fake = arg;
    int rc = fakeos_enter(fake, FAKEOS_DIR_OPEN, false);

    *out = -1;
    if (rc < 0)
        return fakeos_leave(fake, rc);
    int dir = fakedisk_dir(&fake->disk, path);
    if (dir < 0 && create)
        dir = fakedisk_dir_make(&fake->disk, path, -1);
    if (dir < 0)
        return fakeos_leave(fake, -ENOENT);
    *out = fakeos_handle_new(
        fake, (struct fakeos_handle){.is_dir = true, .dir = dir});
    return fakeos_leave(fake, 0);
}

static void fakeos_dir_close(void *arg, int dir)
{
    struct fakeos *fake = arg;

    pthread_mutex_lock(&fake->lock);
    struct fakeos_handle *handle = fakeos_handle(fake, dir, true);
    if (handle != NULL)
        handle->open = false;
    pthread_mutex_unlock(&fake->lock);
}

static int fakeos_dir_sync(void *arg, int dir)
{
    struct fakeos *fake = arg;
    int rc = fakeos_enter(fake, FAKEOS_DIR_SYNC, true);
    const struct fakeos_handle *handle = fakeos_handle(fake, dir, true);

    if (rc == 0 && handle == NULL)
        rc = -EBADF;
    if (rc == 0)
        fakedisk_dir_sync(&fake->disk, handle->dir);
    return fakeos_leave(fake, rc);
}

/* The names are copied first: each() may call us. */
static int fakeos_dir_list(void *arg, int dir,
                           void (*each)(void *each_arg, const char *name),
                           void *each_arg)
{
    struct fakeos *fake = arg;
    int rc = fakeos_enter(fake, FAKEOS_DIR_LIST, false);
    const struct fakeos_handle *handle = fakeos_handle(fake, dir, true);
    const struct fakedisk_table *table = &fake->disk.now;

    if (rc == 0 && handle == NULL)
        rc = -EBADF;
    if (rc < 0)
        return fakeos_leave(fake, rc);
    const size_t most = table->count + fake->disk.dir_count + 1;
    char(*names)[KV_OS_NAME_MAX + 1] = calloc(most, sizeof(*names));
    size_t count = 0;
    if (names == NULL)
        abort();
    for (size_t i = 0; i < table->count; i++)
        if (table->names[i].file != NULL && table->names[i].dir == handle->dir)
            (void)snprintf(names[count++], sizeof(*names), "%s",
                           table->names[i].name);
    const char *parent = fake->disk.dirs[handle->dir].path;
    for (size_t i = 0; i < fake->disk.dir_count; i++) {
        const char *path = fake->disk.dirs[i].path;
        const char *slash = strrchr(path, '/');

        if (!fake->disk.dirs[i].gone && slash != NULL &&
            (size_t)(slash - path) == strlen(parent) &&
            strncmp(path, parent, strlen(parent)) == 0)
            (void)snprintf(names[count++], sizeof(*names), "%.255s", slash + 1);
    }
    (void)fakeos_leave(fake, 0);
    for (size_t i = 0; i < count; i++)
        each(each_arg, names[i]);
    free(names);
    return 0;
}

static int fakeos_dir_make(void *arg, int dir, const char *name)
{
    struct fakeos *fake = arg;
    int rc = fakeos_enter(fake, FAKEOS_DIR_MAKE, true);
    const struct fakeos_handle *handle = fakeos_handle(fake, dir, true);
    char path[1024];

    if (rc == 0 && handle == NULL)
        rc = -EBADF;
    if (rc < 0)
        return fakeos_leave(fake, rc);
    const int n = snprintf(path, sizeof(path), "%s/%s",
                           fake->disk.dirs[handle->dir].path, name);
    if (n < 0 || (size_t)n >= sizeof(path))
        rc = -ENAMETOOLONG;
    else if (fakedisk_dir(&fake->disk, path) < 0)
        (void)fakedisk_dir_make(&fake->disk, path, handle->dir);
    return fakeos_leave(fake, rc);
}

/* ---- files ---------------------------------------------------------------------- */

static int fakeos_open_locked(struct fakeos *fake, int dir, const char *name,
                              int flags, int *out)
{
    const struct fakeos_handle *handle = fakeos_handle(fake, dir, true);

    if (handle == NULL)
        return -EBADF;
    const int in = handle->dir;
    struct fakedisk_file *file = fakedisk_find(&fake->disk, in, name);
    if (file == NULL && !(flags & KV_OS_CREATE))
        return -ENOENT;
    if (file != NULL && (flags & KV_OS_CREATE) && (flags & KV_OS_EXCLUSIVE))
        return -EEXIST;
    if (file == NULL)
        file = fakedisk_make(&fake->disk, in, name);
    else if ((flags & KV_OS_TRUNCATE) && file->now.size > 0)
        fakedisk_truncate(file, 0);
    *out = fakeos_handle_new(
        fake, (struct fakeos_handle){.dir = in,
                                     .file = file,
                                     .writable = (flags & KV_OS_WRITE) != 0});
    return 0;
}

static int fakeos_open(void *arg, int dir, const char *name, int flags,
                       int *out)
{
    struct fakeos *fake = arg;
    int rc = fakeos_enter(fake, FAKEOS_OPEN,
                          (flags & (KV_OS_CREATE | KV_OS_TRUNCATE)) != 0);

    *out = -1;
    if (rc == 0 && strlen(name) > KV_OS_NAME_MAX)
        rc = -ENAMETOOLONG;
    if (rc == 0)
        rc = fakeos_open_locked(fake, dir, name, flags, out);
    return fakeos_leave(fake, rc);
}

static void fakeos_close(void *arg, int file)
{
    struct fakeos *fake = arg;

    pthread_mutex_lock(&fake->lock);
    struct fakeos_handle *handle = fakeos_handle(fake, file, false);
    if (handle != NULL) {
        if (handle->file->locked_by == file)
            handle->file->locked_by = 0;
        handle->open = false;
    }
    pthread_mutex_unlock(&fake->lock);
}

/* Enter a call on a file: *out, or the error. */
static int fakeos_on_file(struct fakeos *fake, enum fakeos_call kind,
                          bool change, bool write, int file,
                          struct fakedisk_file **out)
{
    const int rc = fakeos_enter(fake, kind, change);
    const struct fakeos_handle *handle = fakeos_handle(fake, file, false);

    *out = handle == NULL ? NULL : handle->file;
    if (rc < 0)
        return rc;
    return handle == NULL || (write && !handle->writable) ? -EBADF : 0;
}

static int64_t fakeos_size(void *arg, int file)
{
    struct fakeos *fake = arg;
    struct fakedisk_file *on;
    const int rc = fakeos_on_file(fake, FAKEOS_SIZE, false, false, file, &on);
    const int64_t size = rc < 0 ? rc : (int64_t)on->now.size;

    (void)fakeos_leave(fake, 0);
    return size;
}

static int64_t fakeos_copy_out(const struct fakedisk_file *file, void *p,
                               size_t size, uint64_t offset)
{
    const uint64_t have =
        offset < file->now.size ? file->now.size - offset : 0;
    const size_t n = size < have ? size : (size_t)have;

    if (n > 0)
        memcpy(p, file->now.p + offset, n);
    return (int64_t)n;
}

static int64_t fakeos_read_at(void *arg, int file, void *p, size_t size,
                              uint64_t offset)
{
    struct fakeos *fake = arg;
    struct fakedisk_file *on;
    const int rc = fakeos_on_file(fake, FAKEOS_READ, false, false, file, &on);
    const int64_t n = rc < 0 ? rc : fakeos_copy_out(on, p, size, offset);

    (void)fakeos_leave(fake, 0);
    return n;
}

/* Bytes of [offset, offset + size) that fit on the disk. */
static size_t fakeos_fits(const struct fakeos *fake,
                          const struct fakedisk_file *file, size_t size,
                          uint64_t offset)
{
    const uint64_t used = fakedisk_used(&fake->disk);
    const uint64_t room = fake->space > used ? fake->space - used : 0;
    const uint64_t end_max =
        room > UINT64_MAX - file->now.size ? UINT64_MAX : file->now.size + room;

    if (offset >= end_max)
        return 0;
    return size < end_max - offset ? size : (size_t)(end_max - offset);
}

static int64_t fakeos_write_at(void *arg, int file, const void *p, size_t size,
                               uint64_t offset)
{
    struct fakeos *fake = arg;
    struct fakedisk_file *on;
    int64_t rc = fakeos_on_file(fake, FAKEOS_WRITE, true, true, file, &on);
    size_t part = size;

    if (rc < 0) /* a part may be there, unless nothing moves any more */
        part = fake->cut || on == NULL || size == 0
                   ? 0
                   : rand_below(&fake->rand, size);
    else
        part = fakeos_fits(fake, on, size, offset);
    if (part > 0)
        fakedisk_write(on, p, part, offset);
    if (rc == 0)
        rc = part == size ? (int64_t)size : -ENOSPC;
    (void)fakeos_leave(fake, 0);
    return rc;
}

static int fakeos_truncate(void *arg, int file, uint64_t size)
{
    struct fakeos *fake = arg;
    struct fakedisk_file *on;
    const int rc =
        fakeos_on_file(fake, FAKEOS_TRUNCATE, true, true, file, &on);

    if (rc == 0)
        fakedisk_truncate(on, size);
    return fakeos_leave(fake, rc);
}

static int fakeos_preallocate(void *arg, int file, uint64_t offset,
                              uint64_t size)
{
    struct fakeos *fake = arg;
    struct fakedisk_file *on;
    int rc =
        fakeos_on_file(fake, FAKEOS_PREALLOCATE, false, true, file, &on);

    if (rc == 0 && fakeos_fits(fake, on, size, offset) < size)
        rc = -ENOSPC;
    return fakeos_leave(fake, rc);
}

static int fakeos_sync_any(struct fakeos *fake, enum fakeos_call kind,
                           int file)
{
    struct fakedisk_file *on;
    const int rc = fakeos_on_file(fake, kind, true, false, file, &on);

    if (rc == 0)
        fakedisk_sync(on);
    else if (on != NULL && !fake->cut)
        fakedisk_sync_lost(&fake->disk, on);
    return fakeos_leave(fake, rc);
}

static int fakeos_sync(void *arg, int file)
{
    return fakeos_sync_any(arg, FAKEOS_SYNC, file);
}

static int fakeos_data_sync(void *arg, int file)
{
    return fakeos_sync_any(arg, FAKEOS_DATA_SYNC, file);
}

static int fakeos_rename(void *arg, int dir, const char *from, int dir_to,
                         const char *to)
{
    struct fakeos *fake = arg;
    int rc = fakeos_enter(fake, FAKEOS_RENAME, true);
    const struct fakeos_handle *a = fakeos_handle(fake, dir, true);
    const struct fakeos_handle *b = fakeos_handle(fake, dir_to, true);

    if (rc == 0 && (a == NULL || b == NULL))
        rc = -EBADF;
    struct fakedisk_file *file =
        rc == 0 ? fakedisk_find(&fake->disk, a->dir, from) : NULL;
    if (rc == 0 && file == NULL)
        rc = -ENOENT;
    if (rc == 0)
        fakedisk_move(&fake->disk, a->dir, from, b->dir, to, file);
    return fakeos_leave(fake, rc);
}

static int fakeos_remove(void *arg, int dir, const char *name)
{
    struct fakeos *fake = arg;
    int rc = fakeos_enter(fake, FAKEOS_REMOVE, true);
    const struct fakeos_handle *handle = fakeos_handle(fake, dir, true);

    if (rc == 0 && handle == NULL)
        rc = -EBADF;
    if (rc == 0 && fakedisk_find(&fake->disk, handle->dir, name) == NULL)
        rc = -ENOENT;
    if (rc == 0)
        fakedisk_move(&fake->disk, handle->dir, name, handle->dir, "", NULL);
    return fakeos_leave(fake, rc);
}

static int fakeos_lock(void *arg, int file)
{
    struct fakeos *fake = arg;
    struct fakedisk_file *on;
    int rc = fakeos_on_file(fake, FAKEOS_LOCK, false, false, file, &on);

    if (rc == 0 && on->locked_by != 0 && on->locked_by != file)
        rc = -EWOULDBLOCK;
    if (rc == 0)
        on->locked_by = file;
    return fakeos_leave(fake, rc);
}

static uint64_t fakeos_space_free(void *arg, int dir)
{
    struct fakeos *fake = arg;

    (void)dir;
    pthread_mutex_lock(&fake->lock);
    const uint64_t used = fakedisk_used(&fake->disk);
    const uint64_t free_bytes = fake->space > used ? fake->space - used : 0;
    pthread_mutex_unlock(&fake->lock);
    return free_bytes;
}

/* ---- clock, randomness ------------------------------------------------------------ */

static int64_t fakeos_wall_ms(void *arg)
{
    struct fakeos *fake = arg;

    pthread_mutex_lock(&fake->lock);
    const int64_t ms = fake->wall_ms;
    pthread_mutex_unlock(&fake->lock);
    return ms;
}

static uint64_t fakeos_boot_ns(void *arg)
{
    struct fakeos *fake = arg;

    pthread_mutex_lock(&fake->lock);
    const uint64_t ns = fake->boot_ns;
    pthread_mutex_unlock(&fake->lock);
    return ns;
}

static void fakeos_random(void *arg, void *p, size_t size)
{
    struct fakeos *fake = arg;

    pthread_mutex_lock(&fake->lock);
    rand_bytes(&fake->rand, p, size);
    pthread_mutex_unlock(&fake->lock);
}

/* ---- what tests call ---------------------------------------------------------------- */

struct fakeos *fakeos_new(uint64_t seed)
{
    struct fakeos *fake = calloc(1, sizeof(*fake));

    if (fake == NULL)
        abort();
    fake->os = (struct kv_os){
        .arg = fake,
        .dir_open = fakeos_dir_open,
        .dir_close = fakeos_dir_close,
        .dir_sync = fakeos_dir_sync,
        .dir_list = fakeos_dir_list,
        .dir_make = fakeos_dir_make,
        .open = fakeos_open,
        .close = fakeos_close,
        .size = fakeos_size,
        .read_at = fakeos_read_at,
        .write_at = fakeos_write_at,
        .truncate = fakeos_truncate,
        .preallocate = fakeos_preallocate,
        .sync = fakeos_sync,
        .data_sync = fakeos_data_sync,
        .rename = fakeos_rename,
        .remove = fakeos_remove,
        .lock = fakeos_lock,
        .space_free = fakeos_space_free,
        .wall_ms = fakeos_wall_ms,
        .boot_ns = fakeos_boot_ns,
        .random = fakeos_random,
    };
    pthread_mutex_init(&fake->lock, NULL);
    fake->rand = rand_of(seed);
    fake->disk.rand = &fake->rand;
    fake->space = UINT64_MAX;
    fake->cut_at = UINT64_MAX;
    fake->wall_ms = FAKEOS_START_WALL_MS;
    fake->boot_ns = 1000000000;
    return fake;
}

void fakeos_free(struct fakeos *fake)
{
    if (fake == NULL)
        return;
    fakedisk_fini(&fake->disk);
    pthread_mutex_destroy(&fake->lock);
    free(fake->handles);
    free(fake);
}

const struct kv_os *fakeos_os(struct fakeos *fake)
{
    return &fake->os;
}

void fakeos_fail(struct fakeos *fake, enum fakeos_call kind, uint64_t n,
                 int error, bool persistent)
{
    pthread_mutex_lock(&fake->lock);
    fake->faults[kind] = (struct fakeos_fault){
        .in = n, .error = error, .persistent = persistent};
    pthread_mutex_unlock(&fake->lock);
}

uint64_t fakeos_calls(struct fakeos *fake, enum fakeos_call kind)
{
    pthread_mutex_lock(&fake->lock);
    const uint64_t calls = fake->calls[kind];
    pthread_mutex_unlock(&fake->lock);
    return calls;
}

void fakeos_space(struct fakeos *fake, uint64_t bytes)
{
    pthread_mutex_lock(&fake->lock);
    fake->space = bytes;
    pthread_mutex_unlock(&fake->lock);
}

uint64_t fakeos_changes(struct fakeos *fake)
{
    pthread_mutex_lock(&fake->lock);
    const uint64_t changes = fake->changes;
    pthread_mutex_unlock(&fake->lock);
    return changes;
}

void fakeos_cut_after(struct fakeos *fake, uint64_t n)
{
    pthread_mutex_lock(&fake->lock);
    fake->cut_at = fake->changes + n;
    fake->cut = n == 0;
    pthread_mutex_unlock(&fake->lock);
}

bool fakeos_is_cut(struct fakeos *fake)
{
    pthread_mutex_lock(&fake->lock);
    const bool cut = fake->cut;
    pthread_mutex_unlock(&fake->lock);
    return cut;
}

void fakeos_restart(struct fakeos *fake)
{
    pthread_mutex_lock(&fake->lock);
    fakedisk_cut(&fake->disk);
    fakeos_close_all(fake);
    pthread_mutex_unlock(&fake->lock);
}

void fakeos_kill(struct fakeos *fake)
{
    pthread_mutex_lock(&fake->lock);
    fakeos_close_all(fake);
    pthread_mutex_unlock(&fake->lock);
}

void fakeos_wall_set(struct fakeos *fake, int64_t wall_ms)
{
    pthread_mutex_lock(&fake->lock);
    fake->wall_ms = wall_ms;
    pthread_mutex_unlock(&fake->lock);
}

void fakeos_advance(struct fakeos *fake, uint64_t ms)
{
    pthread_mutex_lock(&fake->lock);
    fake->wall_ms += (int64_t)ms;
    fake->boot_ns += ms * 1000000;
    pthread_mutex_unlock(&fake->lock);
}

/* Split "dir/name": the directory, or -1, and the name. */
static int fakeos_split(const struct fakeos *fake, const char *path,
                        const char **name)
{
    char dir[1024];
    const char *slash = strrchr(path, '/');

    if (slash == NULL || (size_t)(slash - path) >= sizeof(dir))
        return -1;
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = 0;
    *name = slash + 1;
    return fakedisk_dir(&fake->disk, dir);
}

static struct fakedisk_file *fakeos_at(const struct fakeos *fake,
                                       const char *path)
{
    const char *name;
    const int dir = fakeos_split(fake, path, &name);

    return dir < 0 ? NULL : fakedisk_find(&fake->disk, dir, name);
}

bool fakeos_exists(struct fakeos *fake, const char *path)
{
    pthread_mutex_lock(&fake->lock);
    const bool found = fakeos_at(fake, path) != NULL ||
                       fakedisk_dir(&fake->disk, path) >= 0;
    pthread_mutex_unlock(&fake->lock);
    return found;
}

int64_t fakeos_file_size(struct fakeos *fake, const char *path)
{
    pthread_mutex_lock(&fake->lock);
    const struct fakedisk_file *file = fakeos_at(fake, path);
    const int64_t size = file == NULL ? -1 : (int64_t)file->now.size;
    pthread_mutex_unlock(&fake->lock);
    return size;
}

int64_t fakeos_peek(struct fakeos *fake, const char *path, void *p,
                    size_t size, uint64_t offset)
{
    pthread_mutex_lock(&fake->lock);
    const struct fakedisk_file *file = fakeos_at(fake, path);
    const int64_t n =
        file == NULL ? -1 : fakeos_copy_out(file, p, size, offset);
    pthread_mutex_unlock(&fake->lock);
    return n;
}

bool fakeos_poke(struct fakeos *fake, const char *path, const void *p,
                 size_t size, uint64_t offset)
{
    const char *name;

    pthread_mutex_lock(&fake->lock);
    const int dir = fakeos_split(fake, path, &name);
    struct fakedisk_file *file = fakeos_at(fake, path);
    if (file == NULL && dir >= 0) {
        file = fakedisk_make(&fake->disk, dir, name);
        fakedisk_names_settle(&fake->disk);
    }
    if (file != NULL) {
        fakedisk_write(file, p, size, offset);
        fakedisk_sync(file);
    }
    pthread_mutex_unlock(&fake->lock);
    return file != NULL;
}

bool fakeos_resize(struct fakeos *fake, const char *path, uint64_t size)
{
    pthread_mutex_lock(&fake->lock);
    struct fakedisk_file *file = fakeos_at(fake, path);
    if (file != NULL) {
        fakedisk_truncate(file, size);
        fakedisk_sync(file);
    }
    pthread_mutex_unlock(&fake->lock);
    return file != NULL;
}

bool fakeos_erase(struct fakeos *fake, const char *path)
{
    const char *name;

    pthread_mutex_lock(&fake->lock);
    const int dir = fakeos_split(fake, path, &name);
    const bool found = fakeos_at(fake, path) != NULL;
    if (found) {
        fakedisk_move(&fake->disk, dir, name, dir, "", NULL);
        fakedisk_names_settle(&fake->disk);
    }
    pthread_mutex_unlock(&fake->lock);
    return found;
}

unsigned fakeos_open_handles(struct fakeos *fake)
{
    unsigned count = 0;

    pthread_mutex_lock(&fake->lock);
    for (size_t i = 0; i < fake->handle_count; i++)
        count += fake->handles[i].open;
    pthread_mutex_unlock(&fake->lock);
    return count;
}
