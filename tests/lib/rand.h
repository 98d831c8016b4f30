/* rand.h - a small deterministic generator for tests (splitmix64).
 *
 * The seed comes from KVSQL_SEED, else from the test; it is printed once, so
 * a failing run can be had again.
 *
 * Thread: the owner of the struct. */
#ifndef TESTS_LIB_RAND_H
#define TESTS_LIB_RAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct rand_state {
    uint64_t state;
};

static inline struct rand_state rand_of(uint64_t seed)
{
    return (struct rand_state){.state = seed};
}

/* Seed of this run: KVSQL_SEED when it is set, else `otherwise`. Printed. */
static inline uint64_t rand_seed(const char *test, uint64_t otherwise)
{
    const char *text = getenv("KVSQL_SEED");
    const uint64_t seed = text ? strtoull(text, NULL, 0) : otherwise;

    printf("%s: KVSQL_SEED=%llu\n", test, (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

static inline uint64_t rand_next(struct rand_state *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 .. n-1; n > 0. */
static inline uint64_t rand_below(struct rand_state *r, uint64_t n)
{
    return rand_next(r) % n;
}

/* low .. high, both included. */
static inline uint64_t rand_between(struct rand_state *r, uint64_t low,
                                    uint64_t high)
{
    return low + rand_below(r, high - low + 1);
}

/* True once in n. */
static inline bool rand_one_in(struct rand_state *r, uint64_t n)
{
    return rand_below(r, n) == 0;
}

static inline void rand_bytes(struct rand_state *r, void *p, size_t size)
{
    uint8_t *at = p;

    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)rand_next(r);
}

#endif
