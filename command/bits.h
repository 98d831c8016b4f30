/* bits.h - rows of bits in memory, joined and counted: the loops of BITOP and
 * BITCOUNT. The file is compiled with -O3 (Makefile): they are memory's speed
 * once the compiler makes vectors of them.
 *
 * Thread: any. */
#ifndef KVSQL_COMMAND_BITS_H
#define KVSQL_COMMAND_BITS_H

#include <stddef.h>
#include <stdint.h>

#include "kvsql/inside.h"

enum cmd_bits {
    CMD_BITS_AND, CMD_BITS_OR, CMD_BITS_XOR,
    CMD_BITS_NOT,   /* of a single row */
    CMD_BITS_DIFF,  /* in the first and in no other */
    CMD_BITS_DIFF1, /* in another, and not in the first */
    CMD_BITS_ANDOR, /* in the first and in another */
    CMD_BITS_ONE,   /* in exactly one */
    CMD_BITS_COUNT
};

/* to[0, size) = `count` rows (> 0) joined, each zero behind its end. No row is
 * longer than `size`, and none overlaps `to`. */
KV_INTERNAL void cmd_bits_join(enum cmd_bits op, uint8_t *to, size_t size,
                               const struct kv_val *rows, unsigned count);
/* Bits that are set. */
KV_INTERNAL uint64_t cmd_bits_count(const uint8_t *p, size_t size);

#endif
