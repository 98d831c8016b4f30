/* cursor.c - the numbers that SCAN, HSCAN, SSCAN and ZSCAN hand out.
 *
 * A cursor stands behind a name (a key, field or member), never at a rank:
 * what is deleted or added elsewhere cannot make a scan skip anything. It is a
 * number below 2^53, because clients keep it in a double.
 *
 *   0 < n < 2^51   the name itself, at most 6 bytes:
 *                  (size + 1) << 48 | bytes, the first one highest
 *   n >= 2^52      2^52 + number of a place in a table of the last
 *                  CURSOR_SLOTS names, which counts up from a random start
 *
 * A cursor that the table no longer has, or that we never gave, begins at the
 * start: names may come twice, as SCAN allows, but none is missed. See
 * docs/decisions/scan-cursor.md.
 *
 * Always true (lock held):
 *   CU1  slots oldest .. next - 1 hold names, all others are empty.
 *   CU2  bytes is the sum of their sizes and at most CURSOR_BYTES_MAX.
 *
 * Thread: any. */
#include "command/context.h"

#include <string.h>

#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"

#define CURSOR_SLOTS 4096u
#define CURSOR_BYTES_MAX ((size_t)16 << 20)
#define CURSOR_SHORT_MAX 6
#define CURSOR_SHORT_SHIFT 48
#define CURSOR_TABLE (UINT64_C(1) << 52)

struct cursor_slot {
    void *p; /* size + 1 bytes */
    size_t size;
};

static struct kv_lock cursor_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                     .rank = KV_RANK_COMMAND};
static struct {
    struct cursor_slot slots[CURSOR_SLOTS];
    uint64_t oldest, next; /* numbers, modulo 2^52 never in practice */
    size_t bytes;
    bool started;
} cursor_table;

_Static_assert(CMD_CURSOR_NAME_MAX <= CURSOR_BYTES_MAX, "one name must fit");

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
 * have counted, with room for 2^50 cursors. */
static void cursor_start(void)
{
    const struct kv_os *os = kv_os_real();
    uint64_t start = 0;

    os->random(os->arg, &start, sizeof(start));
    cursor_table.oldest = cursor_table.next = start >> 13;
    cursor_table.started = true;
}

kvsql_rc cmd_cursor_make(const void *name, size_t size, uint64_t *cursor)
{
    void *copy;

    if (size <= CURSOR_SHORT_MAX) {
        uint8_t bytes[8] = {0};

        bytes[1] = (uint8_t)(size + 1);
        if (size > 0) {
            memcpy(bytes + 2, name, size);
        }
        memcpy(cursor, bytes, sizeof(*cursor));
        *cursor = __builtin_bswap64(*cursor);
        return KVSQL_OK;
    }
    KV_ASSERT(size <= CMD_CURSOR_NAME_MAX);
    copy = kv_mem_dup(KV_MEM_MISC, name, size);
    if (copy == NULL) {
        return KVSQL_NOMEM;
    }
    kv_lock_take(&cursor_lock);
    if (!cursor_table.started) {
        cursor_start();
    }
    while (cursor_table.next - cursor_table.oldest == CURSOR_SLOTS ||
           cursor_table.bytes + size > CURSOR_BYTES_MAX) { /* CU2 */
        cursor_drop_oldest();
    }
    cursor_table.slots[cursor_table.next % CURSOR_SLOTS] =
        (struct cursor_slot){.p = copy, .size = size};
    cursor_table.bytes += size;
    *cursor = CURSOR_TABLE + cursor_table.next++;
    kv_lock_drop(&cursor_lock);
    return KVSQL_OK;
}

/* A name that the cursor itself holds. */
static bool cursor_find_short(uint64_t cursor, struct kv_buf *out)
{
    const uint64_t size = (cursor >> CURSOR_SHORT_SHIFT) - 1;
    uint8_t bytes[8];

    if (cursor >> CURSOR_SHORT_SHIFT == 0 || size > CURSOR_SHORT_MAX) {
        return false;
    }
    cursor = __builtin_bswap64(cursor);
    memcpy(bytes, &cursor, sizeof(bytes));
    for (size_t i = 2 + (size_t)size; i < sizeof(bytes); i++) {
        if (bytes[i] != 0) {
            return false; /* not one that we give */
        }
    }
    kv_buf_add(out, bytes + 2, (size_t)size);
    return true;
}

bool cmd_cursor_find(uint64_t cursor, struct kv_buf *out)
{
    uint64_t number;
    bool found;

    if (cursor < CURSOR_TABLE) {
        return cursor_find_short(cursor, out);
    }
    number = cursor - CURSOR_TABLE;
    kv_lock_take(&cursor_lock);
    found = cursor_table.started && number >= cursor_table.oldest &&
            number < cursor_table.next;
    if (found) {
        const struct cursor_slot *slot =
            &cursor_table.slots[number % CURSOR_SLOTS];

        kv_buf_add(out, slot->p, slot->size);
    }
    kv_lock_drop(&cursor_lock);
    return found;
}

void cmd_cursor_clear(void)
{
    kv_lock_take(&cursor_lock);
    while (cursor_table.oldest < cursor_table.next) {
        cursor_drop_oldest();
    }
    kv_lock_drop(&cursor_lock);
}
