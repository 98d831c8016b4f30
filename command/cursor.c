/* cursor.c - the numbers that SCAN, HSCAN, SSCAN and ZSCAN hand out.
 *
 * A cursor says where in the order of names (keys, fields, members) a scan
 * goes on; never a rank: what is deleted or added elsewhere cannot make it skip
 * anything. It is a number below 2^53, because clients keep it in a double.
 *
 *   0 < n < 2^52   a path (cursor_path.c) of bytes alone: the place itself.
 *                  Nothing is kept.
 *   n >= 2^52      2^52 | id, 21 bits | path, 31 bits
 *
 * A path of the second kind says roughly where: its group of names may be
 * large, and its jumps may be misled. So the exact name is kept in a table of
 * the last CURSOR_SLOTS of them. When the table does not have it any more,
 * behind a restart above all, the path alone leads to the same place or to one
 * before it: names may come twice, as SCAN allows, but none is missed. See
 * docs/decisions/scan-cursor.md.
 *
 * Always true (lock held):
 *   CU1  slots oldest .. next - 1 hold names, all others are empty.
 *   CU2  bytes is the sum of their sizes and at most CURSOR_BYTES_MAX.
 *
 * Thread: any. */
#include "command/cursor.h"

#include <string.h>

#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"

#define CURSOR_SLOTS 4096u
#define CURSOR_BYTES_MAX ((size_t)16 << 20)
#define CURSOR_TABLE (UINT64_C(1) << 52)
#define CURSOR_PATH_BITS 31
#define CURSOR_ID_MASK ((UINT64_C(1) << 21) - 1)
#define CURSOR_PATH_MASK ((UINT64_C(1) << CURSOR_PATH_BITS) - 1)

struct cursor_slot {
    void *p; /* size + 1 bytes */
    size_t size;
    uint64_t cursor; /* whose name it is */
};

static struct kv_lock cursor_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                     .rank = KV_RANK_COMMAND};
static struct {
    struct cursor_slot slots[CURSOR_SLOTS];
    uint64_t oldest, next; /* ids, but for the bits above 21 */
    size_t bytes;
    bool started;
} cursor_table;

_Static_assert(CMD_CURSOR_NAME_MAX <= CURSOR_BYTES_MAX, "one name must fit");
_Static_assert((CURSOR_ID_MASK + 1) % CURSOR_SLOTS == 0,
               "an id tells its slot");

/* Lock held. */
static void cursor_drop_oldest(void)
{
    struct cursor_slot *slot =
        &cursor_table.slots[cursor_table.oldest % CURSOR_SLOTS];

    KV_ASSERT(slot->p != NULL); /* CU1 */
    cursor_table.bytes -= slot->size;
    kv_mem_free(KV_MEM_MISC, slot->p, slot->size + 1);
    *slot = (struct cursor_slot){0};
    cursor_table.oldest++;
}

/* Lock held. Begin to count where no earlier process of ours is likely to
 * have counted. */
static void cursor_start(void)
{
    const struct kv_os *os = kv_os_real();
    uint64_t start = 0;

    os->random(os->arg, &start, sizeof(start));
    cursor_table.oldest = cursor_table.next = start & CURSOR_ID_MASK;
    cursor_table.started = true;
}

/* Keep a name under a new cursor with this path. */
static kvsql_rc cursor_keep(const struct kv_key *name, uint64_t path,
                            uint64_t *cursor)
{
    void *const copy = kv_mem_dup(KV_MEM_MISC, name->p, name->size);

    if (copy == NULL) {
        return KVSQL_NOMEM;
    }
    kv_lock_take(&cursor_lock);
    if (!cursor_table.started) {
        cursor_start();
    }
    while (cursor_table.next - cursor_table.oldest == CURSOR_SLOTS ||
           cursor_table.bytes + name->size > CURSOR_BYTES_MAX) { /* CU2 */
        cursor_drop_oldest();
    }
    *cursor = CURSOR_TABLE |
              (cursor_table.next & CURSOR_ID_MASK) << CURSOR_PATH_BITS | path;
    cursor_table.slots[cursor_table.next % CURSOR_SLOTS] =
        (struct cursor_slot){.p = copy, .size = name->size, .cursor = *cursor};
    cursor_table.bytes += name->size;
    cursor_table.next++;
    kv_lock_drop(&cursor_lock);
    return KVSQL_OK;
}

kvsql_rc cmd_cursor_make(const struct cmd_names *names,
                         const struct kv_key *last, const struct kv_key *next,
                         uint64_t *cursor)
{
    *cursor = cmd_path_exact(last, next);
    if (*cursor != 0) {
        KV_ASSERT(*cursor < CURSOR_TABLE);
        return KVSQL_OK;
    }
    KV_ASSERT(last->size <= CMD_CURSOR_NAME_MAX);
    return cursor_keep(last, cmd_path_rough(names, last, next), cursor);
}

/* The name that is kept for a cursor. */
static bool cursor_recall(uint64_t cursor, struct kv_buf *out)
{
    const uint64_t id = (cursor - CURSOR_TABLE) >> CURSOR_PATH_BITS;
    const struct cursor_slot *slot = &cursor_table.slots[id % CURSOR_SLOTS];
    bool found;

    kv_lock_take(&cursor_lock);
    found = slot->p != NULL && slot->cursor == cursor;
    if (found) {
        kv_buf_add(out, slot->p, slot->size);
    }
    kv_lock_drop(&cursor_lock);
    return found;
}

void cmd_cursor_find(const struct cmd_names *names, uint64_t cursor,
                     struct kv_buf *out, struct cmd_place *place)
{
    if (cursor >= CURSOR_TABLE && cursor < 2 * CURSOR_TABLE &&
        cursor_recall(cursor, out)) {
        *place = (struct cmd_place){.cls = kv_class_of(out->p, out->size),
                                    .behind = true};
    } else if (cursor >= CURSOR_TABLE) {
        cmd_path_follow(names, cursor & CURSOR_PATH_MASK, true, out, place);
    } else {
        cmd_path_follow(names, cursor, false, out, place);
    }
}

void cmd_cursor_clear(void)
{
    kv_lock_take(&cursor_lock);
    while (cursor_table.oldest < cursor_table.next) {
        cursor_drop_oldest();
    }
    cursor_table.started = false;
    kv_lock_drop(&cursor_lock);
}
