/* mem.h - the only door to malloc.
 *
 * Every block is freed with the size it was asked for, so nothing depends on
 * malloc_usable_size. Each block is counted under a kind; the counters are
 * atomic, relaxed. Tests make the n-th call fail (kv_mem_fail_at).
 *
 * Thread: any. */
#ifndef KVSQL_BASE_MEM_H
#define KVSQL_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"

enum kv_mem_kind {
    KV_MEM_MISC,   /* everything not below */
    KV_MEM_NODE,   /* nodes, kv_tree, blobs: the data */
    KV_MEM_UNDO,   /* undo log, lists of retired blocks */
    KV_MEM_VIEW,   /* kv_view structs */
    KV_MEM_WAL,    /* log buffers */
    KV_MEM_CLIENT, /* buffers of doors and replies */
    KV_MEM_KINDS
};

/* `size` bytes (> 0), 16-aligned, not cleared; NULL when there are none. */
KV_INTERNAL void *kv_mem_alloc(enum kv_mem_kind kind, size_t size) KV_MUST_USE;
/* The same, cleared. */
KV_INTERNAL void *kv_mem_zalloc(enum kv_mem_kind kind, size_t size) KV_MUST_USE;
/* Grow or shrink; on NULL the old block is untouched. p may be NULL with
 * size_old 0. */
KV_INTERNAL void *kv_mem_realloc(enum kv_mem_kind kind, void *p,
                                 size_t size_old, size_t size) KV_MUST_USE;
/* p may be NULL. `size` and `kind` are those of the allocation. */
KV_INTERNAL void kv_mem_free(enum kv_mem_kind kind, void *p, size_t size);
/* Copy of `size` bytes and one NUL behind; freed with size + 1. */
KV_INTERNAL void *kv_mem_dup(enum kv_mem_kind kind, const void *p,
                             size_t size) KV_MUST_USE;

/* AddressSanitizer: `size` bytes at p are not to be touched until they are shown
 * again or freed. Otherwise nothing. */
#if defined(__SANITIZE_ADDRESS__)
#define KV_MEM_HIDES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KV_MEM_HIDES 1
#endif
#endif
#ifdef KV_MEM_HIDES
void __asan_poison_memory_region(void const volatile *p, size_t size);
void __asan_unpoison_memory_region(void const volatile *p, size_t size);
#define kv_mem_hide(p, size) __asan_poison_memory_region(p, size)
#define kv_mem_show(p, size) __asan_unpoison_memory_region(p, size)
#else
#define kv_mem_hide(p, size) ((void)(p), (void)(size))
#define kv_mem_show(p, size) ((void)(p), (void)(size))
#endif

/* Bytes and blocks in use of one kind. */
KV_INTERNAL uint64_t kv_mem_bytes(enum kv_mem_kind kind);
KV_INTERNAL uint64_t kv_mem_blocks(enum kv_mem_kind kind);

/* Tests: let the n-th allocation of the calling thread from now on fail (1 =
 * the next), once, or with `persistent` it and all after it. 0 turns it off. */
KV_INTERNAL void kv_mem_fail_at(uint64_t n, int persistent);
/* True when a failure armed by kv_mem_fail_at has happened. */
KV_INTERNAL int kv_mem_failed(void);

#endif
