/* fakedisk.c - see fakedisk.h.
 *
 * What a sector holds after a cut is what it held at some moment between the
 * last sync and the cut, because the kernel writes whole pages whenever it
 * likes: so of a file's changes each sector sees a beginning, of a length of
 * its own. The size is chosen in the same way. */
#include "tests/lib/fakedisk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *fakedisk_grow(void *p, size_t *cap, size_t count, size_t each)
{
    if (count < *cap)
        return p;
    *cap = *cap ? *cap * 2 : 16;
    p = realloc(p, *cap * each);
    if (p == NULL)
        abort();
    return p;
}

/* ---- bytes ----------------------------------------------------------------- */

static void fakedisk_resize(struct fakedisk_bytes *bytes, size_t size)
{
    if (size > bytes->cap) {
        bytes->cap = size < 2 * bytes->cap ? 2 * bytes->cap : size;
        bytes->p = realloc(bytes->p, bytes->cap);
        if (bytes->p == NULL)
            abort();
    }
    if (size > bytes->size)
        memset(bytes->p + bytes->size, 0, size - bytes->size);
    bytes->size = size;
}

static void fakedisk_apply(struct fakedisk_bytes *bytes,
                           const struct fakedisk_change *change)
{
    const uint64_t end = change->offset + change->size;

    if (change->bytes == NULL) {
        fakedisk_resize(bytes, change->offset);
        return;
    }
    if (end > bytes->size)
        fakedisk_resize(bytes, end);
    memcpy(bytes->p + change->offset, change->bytes, change->size);
}

/* The same for the one sector that begins at `start`; bytes->size is already
 * large enough for all of it. */
static void fakedisk_apply_sector(struct fakedisk_bytes *bytes, uint64_t start,
                                  const struct fakedisk_change *change)
{
    const uint64_t stop = start + FAKEDISK_SECTOR;
    uint64_t from = change->offset > start ? change->offset : start;
    uint64_t to = change->offset + change->size;

    if (change->bytes == NULL) {
        if (from < stop)
            memset(bytes->p + from, 0, stop - from);
        return;
    }
    if (to > stop)
        to = stop;
    if (from < to)
        memcpy(bytes->p + from, change->bytes + (from - change->offset),
               to - from);
}

static void fakedisk_forget(struct fakedisk_file *file)
{
    for (size_t i = 0; i < file->count; i++)
        free(file->changes[i].bytes);
    file->count = 0;
}

static void fakedisk_change(struct fakedisk_file *file, uint64_t offset,
                            const void *p, size_t size)
{
    struct fakedisk_change change = {.offset = offset, .size = size};

    if (p != NULL) {
        change.bytes = malloc(size);
        if (change.bytes == NULL)
            abort();
        memcpy(change.bytes, p, size);
    }
    file->changes = fakedisk_grow(file->changes, &file->cap, file->count,
                                  sizeof(change));
    file->changes[file->count++] = change;
    fakedisk_apply(&file->now, &change);
}

void fakedisk_write(struct fakedisk_file *file, const void *p, size_t size,
                    uint64_t offset)
{
    if (size > 0)
        fakedisk_change(file, offset, p, size);
}

void fakedisk_truncate(struct fakedisk_file *file, uint64_t size)
{
    fakedisk_change(file, size, NULL, 0);
}

void fakedisk_sync(struct fakedisk_file *file)
{
    for (size_t i = 0; i < file->count; i++)
        fakedisk_apply(&file->disk, &file->changes[i]);
    fakedisk_forget(file);
}

/* How much of `count` changes made it, by the kind of this cut. */
enum fakedisk_mode { MODE_NOTHING, MODE_ALL, MODE_BEGINNING, MODE_EACH, MODES };

/* Bring unsynced changes to the disk as `mode` says, and forget the rest. */
static void fakedisk_settle(struct fakedisk *disk, struct fakedisk_file *file,
                            enum fakedisk_mode mode)
{
    size_t kept = mode == MODE_ALL ? file->count : 0;
    uint64_t size_max = file->disk.size;
    struct fakedisk_bytes sized = {.size = file->disk.size};

    if (file->count == 0)
        return;
    if (mode != MODE_EACH) {
        if (mode == MODE_BEGINNING)
            kept = rand_below(disk->rand, file->count + 1);
        for (size_t i = 0; i < kept; i++)
            fakedisk_apply(&file->disk, &file->changes[i]);
        fakedisk_forget(file);
        return;
    }
    /* The size it had at some moment. */
    kept = rand_below(disk->rand, file->count + 1);
    for (size_t i = 0; i < file->count; i++) {
        const struct fakedisk_change *c = &file->changes[i];
        const uint64_t end = c->offset + c->size;

        if (i < kept && (c->bytes == NULL || end > sized.size))
            sized.size = end;
        if (end > size_max)
            size_max = end;
    }
    size_max += FAKEDISK_SECTOR - size_max % FAKEDISK_SECTOR;
    fakedisk_resize(&file->disk, size_max);
    for (uint64_t at = 0; at < size_max; at += FAKEDISK_SECTOR) {
        kept = rand_below(disk->rand, file->count + 1);
        for (size_t i = 0; i < kept; i++)
            fakedisk_apply_sector(&file->disk, at, &file->changes[i]);
    }
    fakedisk_resize(&file->disk, sized.size);
    fakedisk_forget(file);
}

void fakedisk_sync_lost(struct fakedisk *disk, struct fakedisk_file *file)
{
    fakedisk_settle(disk, file,
                    rand_one_in(disk->rand, 2) ? MODE_NOTHING : MODE_EACH);
}

/* ---- names ----------------------------------------------------------------- */

static struct fakedisk_name *fakedisk_lookup(const struct fakedisk_table *table,
                                             int dir, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->names[i].file != NULL && table->names[i].dir == dir &&
            strcmp(table->names[i].name, name) == 0)
            return &table->names[i];
    return NULL;
}

static void fakedisk_set(struct fakedisk_table *table, int dir,
                         const char *name, struct fakedisk_file *file)
{
    struct fakedisk_name *slot = fakedisk_lookup(table, dir, name);

    for (size_t i = 0; slot == NULL && i < table->count; i++)
        if (table->names[i].file == NULL)
            slot = &table->names[i];
    if (slot == NULL) {
        table->names = fakedisk_grow(table->names, &table->cap, table->count,
                                     sizeof(*slot));
        slot = &table->names[table->count++];
    }
    slot->dir = dir;
    slot->file = file;
    (void)snprintf(slot->name, sizeof(slot->name), "%s", name);
}

static void fakedisk_rename_apply(struct fakedisk_table *table,
                                  const struct fakedisk_rename *change)
{
    struct fakedisk_name *old =
        fakedisk_lookup(table, change->dir_from, change->from);

    if (old != NULL)
        old->file = NULL;
    if (change->to[0] != 0)
        fakedisk_set(table, change->dir_to, change->to, change->file);
}

void fakedisk_move(struct fakedisk *disk, int dir_from, const char *from,
                   int dir_to, const char *to, struct fakedisk_file *file)
{
    struct fakedisk_rename change = {
        .dir_from = dir_from, .dir_to = dir_to, .file = file};

    (void)snprintf(change.from, sizeof(change.from), "%s", from);
    (void)snprintf(change.to, sizeof(change.to), "%s", to);
    disk->renames = fakedisk_grow(disk->renames, &disk->rename_cap,
                                  disk->rename_count, sizeof(change));
    disk->renames[disk->rename_count++] = change;
    fakedisk_rename_apply(&disk->now, &change);
}

void fakedisk_names_settle(struct fakedisk *disk)
{
    for (size_t i = 0; i < disk->rename_count; i++)
        fakedisk_rename_apply(&disk->disk, &disk->renames[i]);
    disk->rename_count = 0;
}

struct fakedisk_file *fakedisk_find(const struct fakedisk *disk, int dir,
                                    const char *name)
{
    const struct fakedisk_name *found =
        fakedisk_lookup(&disk->now, dir, name);

    return found == NULL ? NULL : found->file;
}

struct fakedisk_file *fakedisk_make(struct fakedisk *disk, int dir,
                                    const char *name)
{
    struct fakedisk_file *file = calloc(1, sizeof(*file));

    if (file == NULL)
        abort();
    disk->files = fakedisk_grow(disk->files, &disk->file_cap,
                                disk->file_count, sizeof(struct fakedisk_file *));
    disk->files[disk->file_count++] = file;
    fakedisk_move(disk, dir, "", dir, name, file);
    return file;
}

/* ---- directories ------------------------------------------------------------ */

int fakedisk_dir(const struct fakedisk *disk, const char *path)
{
    for (size_t i = 0; i < disk->dir_count; i++)
        if (!disk->dirs[i].gone && strcmp(disk->dirs[i].path, path) == 0)
            return (int)i;
    return -1;
}

int fakedisk_dir_make(struct fakedisk *disk, const char *path, int parent)
{
    struct fakedisk_dir dir = {.parent = parent};

    (void)snprintf(dir.path, sizeof(dir.path), "%s", path);
    disk->dirs = fakedisk_grow(disk->dirs, &disk->dir_cap, disk->dir_count,
                               sizeof(dir));
    disk->dirs[disk->dir_count++] = dir;
    return (int)disk->dir_count - 1;
}

/* Changes of names that touch `dir` go to the disk, and with them the earlier
 * ones that touch a directory which those touch. */
void fakedisk_dir_sync(struct fakedisk *disk, int dir)
{
    bool *touched = calloc(disk->dir_count, sizeof(bool));
    bool *taken = calloc(disk->rename_count + 1, sizeof(bool));
    size_t left = 0;

    if (touched == NULL || taken == NULL)
        abort();
    touched[dir] = true;
    for (size_t i = disk->rename_count; i > 0; i--) {
        const struct fakedisk_rename *r = &disk->renames[i - 1];

        taken[i - 1] = touched[r->dir_from] || touched[r->dir_to];
        if (taken[i - 1])
            touched[r->dir_from] = touched[r->dir_to] = true;
    }
    for (size_t i = 0; i < disk->rename_count; i++)
        if (taken[i])
            fakedisk_rename_apply(&disk->disk, &disk->renames[i]);
        else
            disk->renames[left++] = disk->renames[i];
    disk->rename_count = left;
    for (size_t i = 0; i < disk->dir_count; i++)
        if (disk->dirs[i].parent == dir)
            disk->dirs[i].parent = -1;
    free(touched);
    free(taken);
}

/* ---- the whole -------------------------------------------------------------- */

uint64_t fakedisk_used(const struct fakedisk *disk)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < disk->now.count; i++)
        if (disk->now.names[i].file != NULL)
            sum += disk->now.names[i].file->now.size;
    return sum;
}

static void fakedisk_cut_names(struct fakedisk *disk, enum fakedisk_mode mode)
{
    size_t kept = mode == MODE_NOTHING ? 0 : disk->rename_count;

    if (mode == MODE_BEGINNING)
        kept = rand_below(disk->rand, disk->rename_count + 1);
    for (size_t i = 0; i < kept; i++)
        if (mode != MODE_EACH || rand_one_in(disk->rand, 2))
            fakedisk_rename_apply(&disk->disk, &disk->renames[i]);
    disk->rename_count = 0;
    for (size_t i = 0; i < disk->dir_count; i++)
        if (disk->dirs[i].parent >= 0) {
            disk->dirs[i].gone = mode != MODE_ALL && rand_one_in(disk->rand, 2);
            disk->dirs[i].parent = -1;
        }
    for (size_t i = 0; i < disk->disk.count; i++)
        if (disk->dirs[disk->disk.names[i].dir].gone)
            disk->disk.names[i].file = NULL;
}

void fakedisk_cut(struct fakedisk *disk)
{
    const enum fakedisk_mode mode =
        (enum fakedisk_mode)rand_below(disk->rand, MODES);

    fakedisk_cut_names(disk, mode);
    disk->now.count = 0;
    for (size_t i = 0; i < disk->disk.count; i++)
        if (disk->disk.names[i].file != NULL)
            fakedisk_set(&disk->now, disk->disk.names[i].dir,
                         disk->disk.names[i].name, disk->disk.names[i].file);
    for (size_t i = 0; i < disk->file_count; i++) {
        struct fakedisk_file *file = disk->files[i];

        fakedisk_settle(disk, file, mode);
        fakedisk_resize(&file->now, file->disk.size);
        if (file->disk.size > 0)
            memcpy(file->now.p, file->disk.p, file->disk.size);
        file->locked_by = 0;
    }
}

void fakedisk_fini(struct fakedisk *disk)
{
    for (size_t i = 0; i < disk->file_count; i++) {
        fakedisk_forget(disk->files[i]);
        free(disk->files[i]->changes);
        free(disk->files[i]->now.p);
        free(disk->files[i]->disk.p);
        free(disk->files[i]);
    }
    free(disk->files);
    free(disk->dirs);
    free(disk->now.names);
    free(disk->disk.names);
    free(disk->renames);
}
