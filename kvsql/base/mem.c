/* mem.c - the only door to malloc: counting by kind, failing on demand.
 *
 * Counting must not cost a locked instruction for each block, so every thread
 * counts in a slot of its own and a reader adds the slots up. A slot outlives
 * its thread and is handed to a later one, counts and all; what one thread
 * allocates another may free, so a slot alone may be below zero, the sum is
 * not. A sum read while blocks change hands may miss the newest of them.
 *
 * Always true:
 *   M1  slot 0 is everybody's and changed by atomic addition; any other slot
 *       is written by the one thread that holds it.
 *   M2  a slot's counts are never reset.
 *
 * Thread: any. */
#include "kvsql/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEM_SLOTS 64 /* threads that count without sharing */
#define MEM_HUGE_MIN ((size_t)4 << 20) /* of a block that asks for huge pages */

struct mem_slot {
    _Alignas(64) atomic_bool taken;
    atomic_uint_least64_t bytes[KV_MEM_KINDS];
    atomic_uint_least64_t blocks[KV_MEM_KINDS];
};

static struct mem_slot mem_slots[MEM_SLOTS];
static pthread_key_t mem_key;
static pthread_once_t mem_key_once = PTHREAD_ONCE_INIT;
static bool mem_key_made;

static _Thread_local struct mem_slot *mem_mine; /* NULL: not chosen yet */
static _Thread_local uint64_t mem_fail_in;      /* 0: off */
static _Thread_local bool mem_fail_on, mem_fail_happened;

/* The thread ends: its slot is free for another. */
static void mem_slot_leave(void *arg)
{
    struct mem_slot *slot = arg;

    mem_mine = NULL;
    atomic_store_explicit(&slot->taken, false, memory_order_release);
}

static void mem_key_make(void)
{
    mem_key_made = pthread_key_create(&mem_key, mem_slot_leave) == 0;
}

static struct mem_slot *mem_slot_enter(void)
{
    mem_mine = &mem_slots[0];
    (void)pthread_once(&mem_key_once, mem_key_make);
    for (unsigned i = 1; mem_key_made && i < MEM_SLOTS; i++) {
        bool taken = false;

        if (!atomic_compare_exchange_strong(&mem_slots[i].taken, &taken, true))
            continue;
        if (pthread_setspecific(mem_key, &mem_slots[i]) == 0)
            mem_mine = &mem_slots[i];
        else
            atomic_store(&mem_slots[i].taken, false);
        break;
    }
    return mem_mine;
}

/* The thread's own slot is written by nobody else (M1): no locked addition. */
static inline void mem_add_mine(atomic_uint_least64_t *counter, uint64_t value)
{
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + value,
        memory_order_relaxed);
}

/* Count; `bytes` and `blocks` may be negative as two's complement. */
static inline void mem_count(enum kv_mem_kind kind, uint64_t bytes,
                             uint64_t blocks)
{
    struct mem_slot *slot = mem_mine;

    if (KV_UNLIKELY(slot == NULL))
        slot = mem_slot_enter();
    if (KV_LIKELY(slot != &mem_slots[0])) {
        mem_add_mine(&slot->bytes[kind], bytes);
        mem_add_mine(&slot->blocks[kind], blocks);
    } else {
        atomic_fetch_add_explicit(&slot->bytes[kind], bytes,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&slot->blocks[kind], blocks,
                                  memory_order_relaxed);
    }
}

/* True when this allocation must fail. */
static bool mem_must_fail(void)
{
    if (KV_LIKELY(mem_fail_in == 0))
        return false;
    if (--mem_fail_in > 0)
        return false;
    mem_fail_in = mem_fail_on ? 1 : 0;
    mem_fail_happened = true;
    return true;
}

/* The first touch of a page costs as much as copying it twice; a long block
 * asks for huge ones, of which there are 512 times fewer. Only a wish: the
 * system need not have any. It is for all pages of the block: what is one
 * mapping must stay one, or it cannot grow by being moved, and is copied. */
static void mem_wish(void *p, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t before = (uintptr_t)p % page;

    (void)madvise((uint8_t *)p - before,
                  (before + size + page - 1) / page * page, MADV_HUGEPAGE);
}

void *kv_mem_alloc(enum kv_mem_kind kind, size_t size)
{
    KV_ASSERT(size > 0);
    if (KV_UNLIKELY(mem_must_fail()))
        return NULL;
    void *p = malloc(size);
    if (p != NULL)
        mem_count(kind, size, 1);
    if (KV_UNLIKELY(size >= MEM_HUGE_MIN) && p != NULL)
        mem_wish(p, size);
    return p;
}

void *kv_mem_zalloc(enum kv_mem_kind kind, size_t size)
{
    KV_ASSERT(size > 0);
    if (KV_UNLIKELY(mem_must_fail()))
        return NULL;
    void *p = calloc(1, size);
    if (p != NULL)
        mem_count(kind, size, 1);
    return p;
}

void *kv_mem_realloc(enum kv_mem_kind kind, void *p, size_t size_old,
                     size_t size)
{
    KV_ASSERT(size > 0);
    KV_ASSERT((p == NULL) == (size_old == 0));
    if (KV_UNLIKELY(mem_must_fail()))
        return NULL;
    void *grown = realloc(p, size);
    if (grown != NULL)
        mem_count(kind, (uint64_t)size - size_old, p == NULL);
    if (KV_UNLIKELY(size >= MEM_HUGE_MIN) && grown != NULL)
        mem_wish(grown, size);
    return grown;
}

void kv_mem_free(enum kv_mem_kind kind, void *p, size_t size)
{
    if (p == NULL)
        return;
    mem_count(kind, 0 - (uint64_t)size, UINT64_MAX);
    free(p);
}

void *kv_mem_dup(enum kv_mem_kind kind, const void *p, size_t size)
{
    char *copy = kv_mem_alloc(kind, size + 1);

    if (copy == NULL)
        return NULL;
    if (size > 0)
        memcpy(copy, p, size);
    copy[size] = 0;
    return copy;
}

/* A block freed in one slot may be seen before its allocation in another. */
static uint64_t mem_never_negative(uint64_t sum)
{
    return sum > INT64_MAX ? 0 : sum;
}

uint64_t kv_mem_bytes(enum kv_mem_kind kind)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < MEM_SLOTS; i++)
        sum += atomic_load_explicit(&mem_slots[i].bytes[kind],
                                    memory_order_relaxed);
    return mem_never_negative(sum);
}

uint64_t kv_mem_blocks(enum kv_mem_kind kind)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < MEM_SLOTS; i++)
        sum += atomic_load_explicit(&mem_slots[i].blocks[kind],
                                    memory_order_relaxed);
    return mem_never_negative(sum);
}

void kv_mem_fail_at(uint64_t n, int persistent)
{
    mem_fail_in = n;
    mem_fail_on = persistent != 0;
    mem_fail_happened = false;
}

int kv_mem_failed(void)
{
    return mem_fail_happened;
}
