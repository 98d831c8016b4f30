/* fuzz.h - what every target of tests/fuzz shares.
 *
 * A target is one function that gets bytes and must come back: no crash, no
 * leak, nothing undefined, and whatever FUZZ_CHECK says of the answer. Input
 * that is given on is copied to a block of its exact size, so that a sanitizer
 * sees the first byte read behind it. A store is closed before the target comes
 * back: its pointers are packed, so that what it still holds looks like a leak.
 *
 * Thread: the fuzzer's. */
#ifndef TESTS_LIB_FUZZ_H
#define TESTS_LIB_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/base/diag.h"

/* The target. Always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Once before it. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define FUZZ_CHECK(fact)                                                      \
    do {                                                                      \
        if (!(fact)) {                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__,      \
                    #fact);                                                   \
            abort();                                                          \
        }                                                                     \
    } while (0)

static inline void fuzz_drop(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

/* Messages for people are not wanted here. */
static inline void fuzz_quiet(void)
{
    kv_diag_sink(fuzz_drop, NULL);
}

/* A copy of exactly `size` bytes; free() it. */
static inline uint8_t *fuzz_copy(const void *p, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    FUZZ_CHECK(copy != NULL);
    memcpy(copy, p, size);
    return copy;
}

/* The same with a NUL behind it. */
static inline char *fuzz_text(const void *p, size_t size)
{
    char *copy = malloc(size + 1);

    FUZZ_CHECK(copy != NULL);
    memcpy(copy, p, size);
    copy[size] = 0;
    return copy;
}

/* Input taken from the front in pieces. */
struct fuzz_input {
    const uint8_t *p;
    size_t size;
};

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->p++;
}

/* At most `most` bytes; *size of them. */
static inline const uint8_t *fuzz_bytes(struct fuzz_input *input, size_t most,
                                        size_t *size)
{
    const uint8_t *p = input->p;

    *size = most < input->size ? most : input->size;
    input->p += *size;
    input->size -= *size;
    return p;
}

#endif
