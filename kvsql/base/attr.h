/* attr.h - attributes and asserts that every file may use.
 *
 * KV_INTERNAL marks what other files of ours may call and strangers may not:
 * hidden in the shared library, static in the amalgamation.
 * KV_ASSERT stays on in release and must be cheap; KV_DEBUG_ASSERT may be
 * dear and is compiled in with -DKVSQL_DEBUG. */
#ifndef KVSQL_BASE_ATTR_H
#define KVSQL_BASE_ATTR_H

#include <stdint.h>

#ifdef KVSQL_AMALGAMATION
#define KV_INTERNAL static __attribute__((unused))
#define KV_INTERNAL_DATA static /* the declaration of a table of ours */
#else
#define KV_INTERNAL __attribute__((visibility("hidden")))
#define KV_INTERNAL_DATA extern __attribute__((visibility("hidden")))
#endif

/* A function in a header: a file that does not call it makes no mistake. */
#define KV_HEADER_INLINE static inline __attribute__((unused))
#define KV_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define KV_MUST_USE __attribute__((warn_unused_result))
#define KV_NORETURN __attribute__((noreturn))
/* For the few functions of so little work that a call would cost as much. */
#define KV_INLINE static inline __attribute__((always_inline))
/* The rare part of something quick: it would cost registers in there. */
#define KV_NOINLINE __attribute__((noinline))
#define KV_LIKELY(x) __builtin_expect(!!(x), 1)
#define KV_UNLIKELY(x) __builtin_expect(!!(x), 0)

KV_INTERNAL KV_NORETURN void kv_assert_failed(const char *file, int line,
                                              const char *expression);

#define KV_ASSERT(x)                                                          \
    (KV_LIKELY(x) ? (void)0 : kv_assert_failed(__FILE__, __LINE__, #x))
#ifdef KVSQL_DEBUG
#define KV_DEBUG_ASSERT(x) KV_ASSERT(x)
#else
#define KV_DEBUG_ASSERT(x) ((void)sizeof(x))
#endif

/* A boundary that tests must reach; `make coverage` lists those never hit. */
#ifdef KVSQL_PROBES
KV_INTERNAL void kv_probe_hit(const char *name);
#define KV_PROBE(name) kv_probe_hit(name)
#else
#define KV_PROBE(name) ((void)0)
#endif

#endif
