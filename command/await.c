/* await.c - queues of those who wait for something in a key (await.h).
 *
 * A table of lists by a hash of the key. A list has waiters of several keys, in
 * order of their turns: who enters again is put where it stood. Lists are short:
 * they hold who waits, not what is there.
 *
 * Thread: any, under cmd_track's lock. */
#include "command/await.h"

#include <string.h>

#include "command/track_private.h"

#define AWAIT_LISTS 1024 /* a power of two */

static struct await_list {
    struct cmd_waiter *first, *last;
} await_lists[AWAIT_LISTS];
static uint64_t await_turn;
_Atomic unsigned cmd_await_count;

/* FNV-1a. */
static struct await_list *await_list(kvsql_slice key)
{
    const uint8_t *const p = key.p;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < key.size; i++) {
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    }
    return &await_lists[(hash ^ hash >> 32) & (AWAIT_LISTS - 1)];
}

static bool await_is(const struct cmd_waiter *waiter, kvsql_slice key)
{
    return waiter->key.size == key.size &&
           (key.size == 0 || memcmp(waiter->key.p, key.p, key.size) == 0);
}

static void await_unlink(struct cmd_waiter *waiter)
{
    struct await_list *const list = await_list(waiter->key);

    *(waiter->before != NULL ? &waiter->before->behind : &list->first) =
        waiter->behind;
    *(waiter->behind != NULL ? &waiter->behind->before : &list->last) =
        waiter->before;
    waiter->before = waiter->behind = NULL;
    waiter->queued = false;
    atomic_fetch_sub(&cmd_await_count, 1);
    cmd_track_want(-1);
}

static void await_link(struct cmd_waiter *waiter)
{
    struct await_list *const list = await_list(waiter->key);
    struct cmd_waiter *before = list->last;

    while (before != NULL && before->turn > waiter->turn) {
        before = before->before;
    }
    waiter->before = before;
    waiter->behind = before != NULL ? before->behind : list->first;
    *(before != NULL ? &before->behind : &list->first) = waiter;
    *(waiter->behind != NULL ? &waiter->behind->before : &list->last) = waiter;
    waiter->queued = true;
    atomic_fetch_add(&cmd_await_count, 1);
    cmd_track_want(1);
}

/* The first behind that turn who was not told yet is. */
static void await_tell(kvsql_slice key, uint64_t turn)
{
    struct cmd_waiter *waiter = await_list(key)->first;

    while (waiter != NULL && (waiter->turn <= turn || waiter->told != 0 ||
                              !await_is(waiter, key))) {
        waiter = waiter->behind;
    }
    if (waiter != NULL) {
        waiter->told = ++await_turn;
        waiter->ready(waiter);
    }
}

void cmd_await_observe(kvsql *db)
{
    cmd_track_observe(db);
}

void cmd_await_enter(struct cmd_waiter *waiter)
{
    kv_lock_take(&cmd_track.lock);
    waiter->told = 0;
    if (waiter->turn == 0) {
        waiter->turn = ++await_turn;
    }
    if (!waiter->queued) {
        await_link(waiter);
    }
    kv_lock_drop(&cmd_track.lock);
}

static bool await_busy(kvsql_slice key)
{
    const struct cmd_waiter *waiter = await_list(key)->first;

    while (waiter != NULL && (waiter->told == 0 || !await_is(waiter, key))) {
        waiter = waiter->behind;
    }
    return waiter != NULL;
}

bool cmd_await_busy(kvsql_slice key)
{
    if (!cmd_await_is_on()) {
        return false;
    }
    kv_lock_take(&cmd_track.lock);
    const bool busy = await_busy(key);
    kv_lock_drop(&cmd_track.lock);
    return busy;
}

void cmd_await_remind(kvsql_slice key)
{
    kv_lock_take(&cmd_track.lock);
    if (!await_busy(key)) {
        await_tell(key, 0);
    }
    kv_lock_drop(&cmd_track.lock);
}

uint64_t cmd_await_told_at(const struct cmd_waiter *waiter)
{
    kv_lock_take(&cmd_track.lock);
    const uint64_t told = waiter->told;
    kv_lock_drop(&cmd_track.lock);
    return told;
}

void cmd_await_end(struct cmd_waiter *waiter, bool left)
{
    kv_lock_take(&cmd_track.lock);
    if (waiter->queued) {
        await_unlink(waiter);
    }
    if (waiter->told != 0 && left) {
        await_tell(waiter->key, waiter->turn);
    }
    waiter->told = 0;
    kv_lock_drop(&cmd_track.lock);
}

void cmd_await_told(kvsql_slice key)
{
    await_tell(key, 0);
}

void cmd_await_undone(void)
{
    if (!cmd_await_is_on()) {
        return;
    }
    kv_lock_take(&cmd_track.lock);
    for (size_t i = 0; i < AWAIT_LISTS; i++) {
        for (const struct cmd_waiter *waiter = await_lists[i].first;
             waiter != NULL; waiter = waiter->behind) {
            if (!await_busy(waiter->key)) {
                await_tell(waiter->key, 0);
            }
        }
    }
    kv_lock_drop(&cmd_track.lock);
}
