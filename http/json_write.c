/* json_write.c - JSON as it is written: straight into a buffer, nothing twice.
 *
 * Strings leave as UTF-8 whatever their bytes are: what is no character becomes
 * U+FFFD, as browsers and the Unicode standard count them.
 *
 * Thread: the request's. */
#include "http/json.h"

#include <string.h>

#include "http/json_scan.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

/* Bytes of the character at p, or of the maximal part that is bad (*good
 * false): as browsers and the Unicode standard count U+FFFD. */
static size_t json_character(const uint8_t *p, size_t left, bool *good)
{
    static const uint8_t low[] = {0x80, 0xA0, 0x80, 0x80, 0x90, 0x80, 0x80};
    static const uint8_t high[] = {0xBF, 0xBF, 0x9F, 0xBF, 0xBF, 0xBF, 0x8F};
    uint8_t c = p[0];
    size_t need;
    unsigned row = 0;

    *good = false;
    if (c < 0x80) {
        *good = true;
        return 1;
    }
    if (c < 0xC2 || c > 0xF4)
        return 1;
    if (c < 0xE0) {
        need = 2;
    } else if (c < 0xF0) {
        need = 3;
        row = c == 0xE0 ? 1 : c == 0xED ? 2 : 3;
    } else {
        need = 4;
        row = c == 0xF0 ? 4 : c == 0xF4 ? 6 : 5;
    }
    for (size_t i = 1; i < need; i++) {
        if (i >= left)
            return i;
        uint8_t least = i == 1 ? low[row] : 0x80;
        uint8_t most = i == 1 ? high[row] : 0xBF;
        if (p[i] < least || p[i] > most)
            return i;
    }
    *good = true;
    return need;
}

/* A byte below 0x80 that may not stand for itself. */
static void json_put_escape(struct kv_buf *out, uint8_t c)
{
    static const char plain[] = "\b\f\n\r\t\"\\", name[] = "bfnrt\"\\";
    const char *which = c ? memchr(plain, c, sizeof plain - 1) : NULL;

    if (which != NULL) {
        kv_buf_byte(out, '\\');
        kv_buf_byte(out, (uint8_t)name[which - plain]);
    } else {
        kv_buf_printf(out, "\\u%04x", c);
    }
}

/* The string at p, from its byte `from` on, which is not plain. */
static void json_put_rest(struct kv_buf *out, const uint8_t *p, size_t size,
                          size_t i)
{
    size_t from = 0;

    while (i < size) {
        bool good;
        const size_t n = json_character(p + i, size - i, &good);
        const bool line = n == 3 && good && memcmp(p + i, "\xE2\x80", 2) == 0 &&
                          (p[i + 2] == 0xA8 || p[i + 2] == 0xA9);
        if (!good || n == 1 || line) {
            kv_buf_add(out, p + from, i - from);
            if (!good)
                kv_buf_text(out, "\xEF\xBF\xBD");
            else if (line)
                kv_buf_text(out, p[i + 2] == 0xA8 ? "\\u2028" : "\\u2029");
            else
                json_put_escape(out, p[i]);
            from = i + n;
        }
        i += n;
        i += http_json_plain_run(p + i, size - i);
    }
    kv_buf_add(out, p + from, size - from);
    kv_buf_byte(out, '"');
}

void http_json_string(struct kv_buf *out, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    const size_t plain = http_json_plain_run(p, size);

    if (!kv_buf_reserve(out, size + 2))
        return;
    out->p[out->size++] = '"';
    if (plain < size) {
        json_put_rest(out, p, size, plain);
        return;
    }
    if (size > 0)
        memcpy(out->p + out->size, p, size);
    out->size += size;
    out->p[out->size++] = '"';
}

void http_json_utf8(struct kv_buf *out, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;

    for (size_t i = 0, n; i < size; i += n) {
        bool good;
        n = json_character(p + i, size - i, &good);
        if (good)
            kv_buf_add(out, p + i, n);
        else
            kv_buf_text(out, "\xEF\xBF\xBD");
    }
}

void http_json_text(struct kv_buf *out, const char *text)
{
    http_json_string(out, text, strlen(text));
}

void http_json_int(struct kv_buf *out, int64_t value)
{
    char text[KV_INT_TEXT_MAX];

    kv_buf_add(out, text, kv_num_format_int(text, value));
}

void http_json_uint(struct kv_buf *out, uint64_t value)
{
    if (value <= INT64_MAX)
        http_json_int(out, (int64_t)value);
    else
        kv_buf_printf(out, "%llu", (unsigned long long)value);
}

void http_json_double(struct kv_buf *out, double value, bool real)
{
    char text[KV_DOUBLE_TEXT_MAX];
    size_t size = kv_num_format_double(text, value);
    bool finite = memchr(text, 'n', size) == NULL; /* inf, nan */

    if (!finite) {
        http_json_string(out, text, size);
        return;
    }
    kv_buf_add(out, text, size);
    if (real && strcspn(text, ".e") == size)
        kv_buf_text(out, ".0");
}

void http_json_base64(struct kv_buf *out, const void *p, size_t size)
{
    kv_buf_byte(out, '"');
    kv_base64_encode(out, p, size);
    kv_buf_byte(out, '"');
}

void http_json_bytes(struct kv_buf *out, const void *p, size_t size, bool blob)
{
    if (!blob) {
        http_json_string(out, p, size);
        return;
    }
    kv_buf_text(out, "{\"$base64\":");
    http_json_base64(out, p, size);
    kv_buf_byte(out, '}');
}
