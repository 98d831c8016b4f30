/* fakedisk.h - the disk behind fakeos: what is seen, what has reached the
 * platter, and what is on the way between them.
 *
 * A file has its bytes as seen and as on the disk, and the list of changes
 * since its last sync. Names work the same way: a table as seen, a table on
 * the disk, a list of changes between. A sync applies a list to the disk; a
 * cut applies as much of it as the generator says.
 *
 * Running out of memory ends the test.
 *
 * Thread: the caller's lock. */
#ifndef TESTS_LIB_FAKEDISK_H
#define TESTS_LIB_FAKEDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/os.h"
#include "tests/lib/rand.h"

#define FAKEDISK_SECTOR 512

struct fakedisk_bytes {
    uint8_t *p;
    size_t size, cap;
};

/* A write of `size` bytes, or with `bytes` NULL a truncation to `offset`. */
struct fakedisk_change {
    uint64_t offset;
    size_t size;
    uint8_t *bytes;
};

struct fakedisk_file {
    struct fakedisk_bytes now, disk;
    struct fakedisk_change *changes;
    size_t count, cap;
    int locked_by; /* handle, 0 = nobody */
};

/* A name in a directory; file NULL: free. */
struct fakedisk_name {
    int dir;
    char name[KV_OS_NAME_MAX + 1];
    struct fakedisk_file *file;
};

struct fakedisk_table {
    struct fakedisk_name *names;
    size_t count, cap;
};

/* The name `from` goes (when not empty), the name `to` is `file` (when not
 * empty); both at once. */
struct fakedisk_rename {
    int dir_from, dir_to;
    char from[KV_OS_NAME_MAX + 1], to[KV_OS_NAME_MAX + 1];
    struct fakedisk_file *file;
};

struct fakedisk_dir {
    char path[1024];
    int parent; /* whose sync makes it last; -1 = it lasts */
    bool gone;
};

struct fakedisk {
    struct fakedisk_dir *dirs;
    size_t dir_count, dir_cap;
    struct fakedisk_file **files;
    size_t file_count, file_cap;
    struct fakedisk_table now, disk;
    struct fakedisk_rename *renames;
    size_t rename_count, rename_cap;
    struct rand_state *rand;
};

void fakedisk_fini(struct fakedisk *disk);

/* Directory by path, -1 when there is none. */
int fakedisk_dir(const struct fakedisk *disk, const char *path);
/* `parent` -1: it lasts at once. */
int fakedisk_dir_make(struct fakedisk *disk, const char *path, int parent);
void fakedisk_dir_sync(struct fakedisk *disk, int dir);

struct fakedisk_file *fakedisk_find(const struct fakedisk *disk, int dir,
                                    const char *name);
struct fakedisk_file *fakedisk_make(struct fakedisk *disk, int dir,
                                    const char *name);
/* As fakedisk_rename; from and to may be "". */
void fakedisk_move(struct fakedisk *disk, int dir_from, const char *from,
                   int dir_to, const char *to, struct fakedisk_file *file);
/* All names, on the disk at once. */
void fakedisk_names_settle(struct fakedisk *disk);

void fakedisk_write(struct fakedisk_file *file, const void *p, size_t size,
                    uint64_t offset);
void fakedisk_truncate(struct fakedisk_file *file, uint64_t size);
void fakedisk_sync(struct fakedisk_file *file);
/* A sync that failed: some sectors are there, the rest is forgotten. */
void fakedisk_sync_lost(struct fakedisk *disk, struct fakedisk_file *file);
uint64_t fakedisk_used(const struct fakedisk *disk);

/* The power goes and comes back. */
void fakedisk_cut(struct fakedisk *disk);

#endif
