/* text.c - classes of bytes, globs, escaping, base64, near names.
 *
 * The class decides where a key stands in the order of the store, so the
 * reading of UTF-8 here is the strict one of the Unicode standard (table
 * 3-7): no overlong forms, no surrogates, nothing above U+10FFFF.
 *
 * Thread: any. */
#include "kvsql/base/text.h"

#include <string.h>

#include "kvsql/base/num.h"

#define TEXT_HIGH_BITS 0x8080808080808080u
#define TEXT_LOW_BITS 0x0101010101010101u
#define TEXT_WORD_MAX 64 /* bytes of a word that kv_text_nearest looks at */

/* ---- UTF-8 ---------------------------------------------------------------- */

/* Bytes of the character at p (size > 0), 0 when there is no valid one. */
static size_t text_utf8_char(const uint8_t *p, size_t size)
{
    const uint8_t first = p[0];
    uint8_t low = 0x80, high = 0xbf; /* of the second byte */
    size_t n;

    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    if (first < 0xe0) {
        n = 2;
    } else if (first < 0xf0) {
        n = 3;
        if (first == 0xe0)
            low = 0xa0; /* overlong */
        else if (first == 0xed)
            high = 0x9f; /* surrogates */
    } else {
        n = 4;
        if (first == 0xf0)
            low = 0x90; /* overlong */
        else if (first == 0xf4)
            high = 0x8f; /* above U+10FFFF */
    }
    if (size < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* Eight bytes of 01..7f? Where no high bit is set the test for a zero byte is
 * exact. */
static inline bool text_plain_word(uint64_t word)
{
    return ((word | (word - TEXT_LOW_BITS)) & TEXT_HIGH_BITS) == 0;
}

/* The same of less than eight bytes; loads that overlap take all of them. */
static inline bool text_plain_few(const uint8_t *p, size_t size)
{
    uint32_t low, high;

    if (size >= 4) {
        memcpy(&low, p, 4);
        memcpy(&high, p + size - 4, 4);
        return text_plain_word((uint64_t)high << 32 | low);
    }
    return size == 0 ||
           (p[0] - 1u < 0x7f && p[size / 2] - 1u < 0x7f &&
            p[size - 1] - 1u < 0x7f);
}

/* From the first byte that is not plain on, one character at a time. */
static enum kv_class text_class_rest(const uint8_t *at, size_t size)
{
    while (size > 0) {
        if (size >= 8 && text_plain_word(kv_u64_get(at))) {
            at += 8;
            size -= 8;
            continue;
        }
        const size_t n = *at == 0 ? 0 : text_utf8_char(at, size);
        if (n == 0)
            return KV_BLOB;
        at += n;
        size -= n;
    }
    return KV_TEXT;
}

enum kv_class kv_class_of(const void *p, size_t size)
{
    const uint8_t *const start = p;
    size_t done = 0;

    while (size - done >= 8 && text_plain_word(kv_u64_get(start + done)))
        done += 8;
    if (size - done < 8 && /* the end, together with what was seen before */
        (size >= 8 ? text_plain_word(kv_u64_get(start + size - 8))
                   : text_plain_few(start, size)))
        return KV_TEXT;
    return text_class_rest(start + done, size - done);
}

size_t kv_utf8_prefix(const void *p, size_t size)
{
    const uint8_t *at = p;
    size_t done = 0;

    while (done < size) {
        if (size - done >= 8 &&
            (kv_u64_get(at + done) & TEXT_HIGH_BITS) == 0) {
            done += 8;
            continue;
        }
        const size_t n = text_utf8_char(at + done, size - done);

        if (n == 0)
            break;
        done += n;
    }
    return done;
}

/* ---- globs ----------------------------------------------------------------- */

static uint8_t text_fold(uint8_t byte, bool fold)
{
    return fold && byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte;
}

/* The class that opens at pattern[*at] == '['; *at moves behind it. An
 * unclosed one ends with the pattern. */
static bool text_glob_class(const uint8_t *pattern, size_t size, size_t *at,
                            uint8_t byte, bool fold)
{
    size_t i = *at + 1;
    bool found = false;
    const bool negated = i < size && pattern[i] == '^';

    i += negated;
    byte = text_fold(byte, fold);
    while (i < size && pattern[i] != ']') {
        uint8_t low = pattern[i], high = low;

        if (low == '\\' && i + 1 < size) {
            low = high = pattern[++i];
        } else if (i + 2 < size && pattern[i + 1] == '-') {
            i += 2;
            high = pattern[i];
            if (low > high) {
                high = low;
                low = pattern[i];
            }
        }
        if (byte >= text_fold(low, fold) && byte <= text_fold(high, fold))
            found = true;
        i++;
    }
    *at = i < size ? i + 1 : size;
    return found != negated;
}

/* One element of the pattern that is not '*' against one byte; *at moves
 * behind the element. */
static bool text_glob_one(const uint8_t *pattern, size_t size, size_t *at,
                          uint8_t byte, bool fold)
{
    uint8_t want = pattern[*at];

    if (want == '?') {
        ++*at;
        return true;
    }
    if (want == '[')
        return text_glob_class(pattern, size, at, byte, fold);
    if (want == '\\' && *at + 1 < size)
        want = pattern[++*at];
    ++*at;
    return text_fold(want, fold) == text_fold(byte, fold);
}

/* When an element does not match, only the last '*' seen can take one byte
 * more: an earlier one could reach nothing that the last cannot. So two saved
 * positions are enough and nothing recurses. */
bool kv_glob_match(const uint8_t *pattern, size_t pattern_size,
                   const uint8_t *text, size_t text_size, bool fold_case)
{
    size_t p = 0, t = 0, star_p = 0, star_t = 0;
    bool star = false;

    while (t < text_size) {
        if (p < pattern_size && pattern[p] == '*') {
            while (p < pattern_size && pattern[p] == '*')
                p++;
            if (p == pattern_size)
                return true;
            star = true;
            star_p = p;
            star_t = t;
            continue;
        }
        if (p < pattern_size &&
            text_glob_one(pattern, pattern_size, &p, text[t], fold_case)) {
            t++;
            continue;
        }
        if (!star)
            return false;
        p = star_p;
        t = ++star_t;
    }
    while (p < pattern_size && pattern[p] == '*')
        p++;
    return p == pattern_size;
}

size_t kv_glob_prefix(const uint8_t *pattern, size_t pattern_size,
                      uint8_t *out, size_t out_size, bool *exact)
{
    size_t n = 0, i = 0;

    *exact = false;
    while (i < pattern_size) {
        uint8_t byte = pattern[i];

        if (byte == '*' || byte == '?' || byte == '[' || n == out_size)
            return n;
        if (byte == '\\' && i + 1 < pattern_size)
            byte = pattern[++i];
        out[n++] = byte;
        i++;
    }
    *exact = true;
    return n;
}

/* ---- escaping --------------------------------------------------------------- */

static const char text_hex[] = "0123456789abcdef";

/* Write byte as people see it into out[4]; returns 1 or 4. */
static size_t text_escape_byte(char out[4], uint8_t byte)
{
    if (byte >= 0x20 && byte < 0x7f && byte != '\\') {
        out[0] = (char)byte;
        return 1;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = text_hex[byte >> 4];
    out[3] = text_hex[byte & 15];
    return 4;
}

void kv_text_escape(struct kv_buf *buf, const void *p, size_t size, size_t max)
{
    const uint8_t *at = p;
    char out[4];

    for (size_t i = 0; i < size && i < max; i++)
        kv_buf_add(buf, out, text_escape_byte(out, at[i]));
    if (size > max)
        kv_buf_text(buf, "...");
}

const char *kv_text_show(char *out, size_t out_size, const void *p, size_t size)
{
    const uint8_t *at = p;
    size_t n = 0, dots = 0; /* dots: the last place where "..." fits behind */
    char bytes[4];

    KV_ASSERT(out_size >= 4);
    for (size_t i = 0; i < size; i++) {
        const size_t step = text_escape_byte(bytes, at[i]);

        if (n + step >= out_size) {
            memcpy(out + dots, "...", 4);
            return out;
        }
        memcpy(out + n, bytes, step);
        n += step;
        if (n + 4 <= out_size)
            dots = n;
    }
    out[n] = 0;
    return out;
}

/* ---- base64 ------------------------------------------------------------------ */

static const char text_base64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void kv_base64_encode(struct kv_buf *buf, const void *p, size_t size)
{
    const uint8_t *at = p;

    for (; size > 0; at += 3) {
        const size_t n = size < 3 ? size : 3;
        const uint32_t bits = (uint32_t)at[0] << 16 |
                              (n > 1 ? (uint32_t)at[1] << 8 : 0) |
                              (n > 2 ? (uint32_t)at[2] : 0);
        const char four[4] = {
            text_base64[bits >> 18],
            text_base64[(bits >> 12) & 63],
            n > 1 ? text_base64[(bits >> 6) & 63] : '=',
            n > 2 ? text_base64[bits & 63] : '=',
        };

        kv_buf_add(buf, four, sizeof(four));
        size -= n;
    }
}

/* The six bits of a character, or -1. */
static int text_base64_bits(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters into 1-3 bytes; 0 when they are not canonical. */
static size_t text_base64_group(uint8_t out[3], const char *p, bool last)
{
    const size_t n = !last || p[3] != '=' ? 3 : p[2] != '=' ? 2 : 1;
    uint32_t bits = 0;

    for (size_t i = 0; i < 4; i++) {
        const int six = i <= n ? text_base64_bits(p[i]) : 0;

        if (six < 0)
            return 0;
        bits = bits << 6 | (uint32_t)six;
    }
    out[0] = (uint8_t)(bits >> 16);
    out[1] = (uint8_t)(bits >> 8);
    out[2] = (uint8_t)bits;
    for (size_t i = n; i < 3; i++)
        if (out[i] != 0)
            return 0; /* bits behind the end */
    return n;
}

bool kv_base64_decode(struct kv_buf *buf, const char *p, size_t size)
{
    if (size % 4 != 0)
        return false;
    for (size_t i = 0; i < size; i += 4) {
        uint8_t out[3];
        const size_t n = text_base64_group(out, p + i, i + 4 == size);

        if (n == 0)
            return false;
        kv_buf_add(buf, out, n);
    }
    return true;
}

/* ---- near names --------------------------------------------------------------- */

/* Edit distance by one row of the table; both at most TEXT_WORD_MAX bytes. */
static size_t text_distance(const char *a, size_t a_size, const char *b,
                            size_t b_size)
{
    size_t row[TEXT_WORD_MAX + 1];

    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            const size_t above = row[j];
            size_t best = diagonal + (text_fold((uint8_t)a[i - 1], true) !=
                                      text_fold((uint8_t)b[j - 1], true));

            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b_size];
}

int kv_text_nearest(const char *word, const char *const *names)
{
    const size_t size = strlen(word);
    size_t best = 1 + size / 4 + 1;
    int found = -1;

    if (size > TEXT_WORD_MAX)
        return -1;
    for (int i = 0; names[i] != NULL; i++) {
        const size_t name_size = strlen(names[i]);

        if (name_size > TEXT_WORD_MAX)
            continue;
        const size_t distance = text_distance(word, size, names[i], name_size);
        if (distance < best) {
            best = distance;
            found = i;
        }
    }
    return found;
}
