/* num.h - numbers in and out, strict, without locale; small integers in bytes.
 *
 * Parsers consume the whole input or fail: no leading space, no '+' unless
 * said, overflow is a failure. Thread: any. */
#ifndef KVSQL_BASE_NUM_H
#define KVSQL_BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"

#define KV_INT_TEXT_MAX 21    /* "-9223372036854775808" and NUL */
#define KV_DOUBLE_TEXT_MAX 32

/* Canonical decimal int64 only: "-0", "007", "+7", "" fail. */
KV_INTERNAL bool kv_num_int(const void *p, size_t size, int64_t *out);
KV_INTERNAL bool kv_num_uint(const void *p, size_t size, uint64_t *out);
/* Decimal or exponent form, inf, +inf, -inf, infinity (any case), leading '+'
 * allowed; hexadecimal, nan, blanks refused. C locale. At most 512 bytes. */
KV_INTERNAL bool kv_num_double(const void *p, size_t size, double *out);
/* Returns the length; NUL-terminated. */
KV_INTERNAL size_t kv_num_format_int(char out[KV_INT_TEXT_MAX], int64_t value);
/* Shortest of %.15g %.16g %.17g that reads back equal; whole numbers below
 * 1e17 without exponent or ".0" as Redis prints them; "inf", "-inf". -0.0
 * gives "-0". Returns the length; NUL-terminated. */
KV_INTERNAL size_t kv_num_format_double(char out[KV_DOUBLE_TEXT_MAX],
                                        double value);
/* Sizes with suffix: "64mb", "1gb", "512k", "100"; kb = 1024, k = 1000 as in
 * redis.conf. */
KV_INTERNAL bool kv_num_size(const char *text, uint64_t *bytes);
/* Times with suffix ms s m h d; bare numbers are in `unit_ms`. */
KV_INTERNAL bool kv_num_duration(const char *text, uint64_t unit_ms,
                                 uint64_t *ms);

/* What a hexadecimal digit of either case stands for; -1: it is none. */
KV_HEADER_INLINE int kv_num_hex(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* LEB128. Put returns the bytes written (1-10); get returns the bytes read, 0
 * when [p, end) holds no whole canonical varint. */
KV_INTERNAL size_t kv_varint_put(uint8_t *out, uint64_t value);
KV_INTERNAL size_t kv_varint_get(const uint8_t *p, const uint8_t *end,
                                 uint64_t *value);
KV_INTERNAL size_t kv_varint_size(uint64_t value);

KV_HEADER_INLINE uint32_t kv_u32_get(const uint8_t *p)
{
    uint32_t v;
    __builtin_memcpy(&v, p, 4);
    return v; /* hosts are little endian; checked in num.c */
}
KV_HEADER_INLINE uint64_t kv_u64_get(const uint8_t *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, 8);
    return v;
}
KV_HEADER_INLINE void kv_u32_put(uint8_t *p, uint32_t v)
{
    __builtin_memcpy(p, &v, 4);
}
KV_HEADER_INLINE void kv_u64_put(uint8_t *p, uint64_t v)
{
    __builtin_memcpy(p, &v, 8);
}

#endif
