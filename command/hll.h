/* hll.h - HyperLogLog: how many different elements were seen, in 12 KiB, with
 * a standard error of 0.81 %.
 *
 * A value is a string that Redis understands, byte for byte:
 *
 *   offset 0   "HYLL"
 *          4   u8 form: 0 dense, 1 sparse
 *          5   3 bytes, zero
 *          8   u64 count as of the last question; its highest bit set means
 *              that registers have changed since
 *         16   the registers
 *
 *   dense    16,384 registers of 6 bits, the lowest bits of a byte first
 *   sparse   runs of equal registers, in order:
 *              00nnnnnn            n + 1 zeros
 *              01nnnnnn nnnnnnnn   n + 1 zeros, high byte first
 *              1vvvvvnn            n + 1 times v + 1
 *
 * Thread: any; everything is the caller's. */
#ifndef KVSQL_COMMAND_HLL_H
#define KVSQL_COMMAND_HLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/buf.h"

#define CMD_HLL_REGISTERS 16384
#define CMD_HLL_HEADER 16
#define CMD_HLL_COUNT_AT 8 /* the cached count, 8 bytes */
#define CMD_HLL_DENSE_SIZE (CMD_HLL_HEADER + CMD_HLL_REGISTERS * 6 / 8)
/* Above this many bytes a sparse value becomes dense, unless told otherwise. */
#define CMD_HLL_SPARSE_MAX 3000
/* Bytes of a value: no sparse one has more runs than registers. */
#define CMD_HLL_SIZE_MAX (CMD_HLL_HEADER + 2 * CMD_HLL_REGISTERS)

/* Bytes above which sparse values become dense from now on (c_hll.c). */
KV_INTERNAL void cmd_hll_sparse_max_set(uint64_t bytes);
KV_INTERNAL uint64_t cmd_hll_sparse_max(void);

/* The header is one, and the size fits it. Runs are looked at by those who
 * read them. */
KV_INTERNAL bool cmd_hll_valid(const uint8_t *p, size_t size);
KV_INTERNAL bool cmd_hll_is_dense(const uint8_t *p);

/* False: registers have changed since it was counted. */
KV_INTERNAL bool cmd_hll_cached(const uint8_t *p, uint64_t *count);
KV_INTERNAL void cmd_hll_cache(uint8_t *p, uint64_t count);
KV_INTERNAL void cmd_hll_forget(uint8_t *p);

/* The register of an element, and what it must be at least. */
KV_INTERNAL unsigned cmd_hll_place(const void *element, size_t size,
                                   unsigned *value);
KV_INTERNAL unsigned cmd_hll_dense_get(const uint8_t *p, unsigned index);
KV_INTERNAL void cmd_hll_dense_set(uint8_t *p, unsigned index, unsigned value);
/* The bytes that setting a register would change, and where they lie. */
KV_INTERNAL size_t cmd_hll_dense_part(const uint8_t *p, unsigned index,
                                      unsigned value, uint8_t part[2],
                                      size_t *size);

/* An empty sparse value. What does not fit sets buf->failed. */
KV_INTERNAL void cmd_hll_new(struct kv_buf *buf);
/* Raise a register to `value`; a sparse value that would pass `sparse_max`
 * bytes becomes dense. *raised tells whether it was lower. False: damaged. */
KV_INTERNAL bool cmd_hll_raise(struct kv_buf *buf, unsigned index,
                               unsigned value, size_t sparse_max,
                               bool *raised);
/* Make a sparse value dense. False: damaged, or buf->failed. */
KV_INTERNAL bool cmd_hll_densify(struct kv_buf *buf);
/* Raise each of `registers` to what a value has. False: damaged. */
KV_INTERNAL bool cmd_hll_merge(const uint8_t *p, size_t size,
                               uint8_t registers[CMD_HLL_REGISTERS]);
/* How many different elements made these registers, about. */
KV_INTERNAL uint64_t
cmd_hll_estimate(const uint8_t registers[CMD_HLL_REGISTERS]);
/* The runs of a sparse value as text, "Z:5 v:1,2 z:3", damaged or not. */
KV_INTERNAL void cmd_hll_describe(const uint8_t *p, size_t size,
                                  struct kv_buf *out);
/* Count known sets in both forms; NULL, or what is wrong. */
KV_INTERNAL const char *cmd_hll_self_test(void);

#endif
