/* bits.c - rows of bits in memory, joined and counted.
 *
 * A join goes block by block, and each block through all rows: a row is read
 * once and the result is written once, whatever the number of rows; what the
 * rows before made of the block waits for the next in the cache. DIFF, DIFF1
 * and ANDOR gather the other rows first and meet the first one at the end, so
 * rows are taken from the last to the first.
 *
 * Thread: any. */
#include "command/bits.h"

#include <string.h>

#include "kvsql/base/num.h"

#define BITS_BLOCK ((size_t)16 << 10) /* bytes; with the row's, in the cache */

/* ---- joining ------------------------------------------------------------ */

/* Loops that a compiler makes vectors of. */
#define BITS_LOOP(name, expression)                                           \
    static void name(uint8_t *restrict to, const uint8_t *restrict from,      \
                     size_t size)                                             \
    {                                                                         \
        for (size_t i = 0; i < size; i++) {                                   \
            const uint8_t a = to[i], b = from[i];                             \
                                                                              \
            to[i] = (uint8_t)(expression);                                    \
        }                                                                     \
    }

BITS_LOOP(bits_and, a & b)
BITS_LOOP(bits_or, a | b)
BITS_LOOP(bits_xor, a ^ b)
BITS_LOOP(bits_less, a & ~b)  /* what is there already, but not in the row */
BITS_LOOP(bits_diff, b & ~a)  /* in the row, but not there already */

static void bits_not(uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        p[i] = (uint8_t)~p[i];
    }
}

/* twice |= to & from, for bits that come once more. */
static void bits_again(uint8_t *restrict twice, const uint8_t *restrict to,
                       const uint8_t *restrict from, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        twice[i] |= to[i] & from[i];
    }
}

/* The first row, with what the others made; the row has `size` bytes of the
 * `all` of the block. */
static void bits_meet(enum cmd_bits op, uint8_t *to, const uint8_t *from,
                      size_t size, size_t all)
{
    if (op == CMD_BITS_DIFF1) {
        bits_less(to, from, size);
        return;
    }
    if (op == CMD_BITS_DIFF) {
        bits_diff(to, from, size);
    } else {
        bits_and(to, from, size);
    }
    memset(to + size, 0, all - size);
}

/* One more row into what those before made. */
static void bits_fold(enum cmd_bits op, uint8_t *to, const uint8_t *from,
                      size_t size, size_t all)
{
    switch (op) {
    case CMD_BITS_AND:
        bits_and(to, from, size);
        memset(to + size, 0, all - size);
        return;
    case CMD_BITS_XOR:
        bits_xor(to, from, size);
        return;
    default:
        bits_or(to, from, size);
        return;
    }
}

/* Bytes of a row at `at`, at most `size`. */
static size_t bits_there(const struct kv_val *row, size_t at, size_t size)
{
    const size_t left = row->size > at ? row->size - at : 0;

    return left < size ? left : size;
}

/* Block [at, at + size) of all rows, at to. */
static void bits_block(enum cmd_bits op, uint8_t *to, size_t at, size_t size,
                       const struct kv_val *rows, unsigned count)
{
    const bool meets = op == CMD_BITS_DIFF || op == CMD_BITS_DIFF1 ||
                       op == CMD_BITS_ANDOR;
    uint8_t twice[BITS_BLOCK];
    unsigned i = count - 1;
    size_t there = bits_there(&rows[i], at, size);

    memcpy(to, rows[i].p + (there > 0 ? at : 0), there);
    memset(to + there, 0, size - there);
    if (op == CMD_BITS_ONE) {
        memset(twice, 0, size);
    }
    while (i-- > 0) {
        const uint8_t *from;

        there = bits_there(&rows[i], at, size);
        from = rows[i].p + (there > 0 ? at : 0);
        if (op == CMD_BITS_ONE) {
            bits_again(twice, to, from, there);
        }
        if (meets && i == 0) {
            bits_meet(op, to, from, there, size);
        } else {
            bits_fold(op, to, from, there, size);
        }
    }
    if (op == CMD_BITS_ONE) {
        bits_less(to, twice, size);
    } else if (op == CMD_BITS_NOT) {
        bits_not(to, size);
    }
}

void cmd_bits_join(enum cmd_bits op, uint8_t *to, size_t size,
                   const struct kv_val *rows, unsigned count)
{
    KV_ASSERT(count > 0 && (op != CMD_BITS_NOT || count == 1));
    for (size_t at = 0; at < size; at += BITS_BLOCK) {
        const size_t left = size - at;

        bits_block(op, to + at, at, left < BITS_BLOCK ? left : BITS_BLOCK,
                   rows, count);
    }
}

/* ---- counting ----------------------------------------------------------- */

#define BITS_EACH_2 UINT64_C(0x5555555555555555)
#define BITS_EACH_4 UINT64_C(0x3333333333333333)
#define BITS_EACH_8 UINT64_C(0x0f0f0f0f0f0f0f0f)
#define BITS_EACH_16 UINT64_C(0x00ff00ff00ff00ff)
#define BITS_SUM_16 UINT64_C(0x0001000100010001)
#define BITS_RUN 31 /* words whose counts fit in a byte: 31 * 8 < 256 */

/* Bits that are set in whole words. Counts stay side by side in the bytes of a
 * word for a run, and are added across once at its end. */
static uint64_t bits_count_words(const uint8_t *p, size_t words)
{
    uint64_t count = 0;

    while (words > 0) {
        const size_t run = words < BITS_RUN ? words : BITS_RUN;
        uint64_t sum = 0;

        for (size_t i = 0; i < run; i++) {
            uint64_t w = kv_u64_get(p + i * 8);

            w -= (w >> 1) & BITS_EACH_2;
            w = (w & BITS_EACH_4) + ((w >> 2) & BITS_EACH_4);
            sum += (w + (w >> 4)) & BITS_EACH_8;
        }
        sum = (sum & BITS_EACH_16) + ((sum >> 8) & BITS_EACH_16);
        count += (sum * BITS_SUM_16) >> 48;
        p += run * 8;
        words -= run;
    }
    return count;
}

uint64_t cmd_bits_count(const uint8_t *p, size_t size)
{
    uint64_t count = bits_count_words(p, size / 8);

    for (size_t i = size / 8 * 8; i < size; i++) {
        count += (uint64_t)__builtin_popcount(p[i]);
    }
    return count;
}
