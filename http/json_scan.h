/* json_scan.h - the bytes of a string that stand for themselves, eight at a time.
 *
 * Thread: any. */
#ifndef KVSQL_HTTP_JSON_SCAN_H
#define KVSQL_HTTP_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/num.h"

#define HTTP_JSON_LOW UINT64_C(0x0101010101010101)
#define HTTP_JSON_HIGH UINT64_C(0x8080808080808080)

/* ASCII, and nothing that a string of JSON escapes. */
static inline bool http_json_is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The high bit of each zero byte; above the lowest of them also of others. */
static inline uint64_t http_json_zeroes(uint64_t word)
{
    return (word - HTTP_JSON_LOW) & ~word & HTTP_JSON_HIGH;
}

/* How many bytes from p on are plain. */
static inline size_t http_json_plain_run(const uint8_t *p, size_t size)
{
    size_t done = 0;

    while (size - done >= 8) {
        const uint64_t word = kv_u64_get(p + done); /* the first byte lowest */
        const uint64_t marks =
            ((word - HTTP_JSON_LOW * 0x20) & ~word & HTTP_JSON_HIGH) |
            http_json_zeroes(word ^ HTTP_JSON_LOW * '"') |
            http_json_zeroes(word ^ HTTP_JSON_LOW * '\\') |
            (word & HTTP_JSON_HIGH);
        if (marks != 0)
            return done + (size_t)__builtin_ctzll(marks) / 8;
        done += 8;
    }
    while (done < size && http_json_is_plain(p[done]))
        done++;
    return done;
}

#endif
