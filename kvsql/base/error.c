/* error.c - the table of results, the sentence of a failure, failed asserts.
 *
 * The sentence is formatted aside and then copied with everything that is not
 * printable UTF-8 escaped, so an argument may be the very text that is being
 * replaced, and whatever a client sent cannot forge a line for people.
 *
 * Thread: any; nothing is shared. */
#include "kvsql/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/base/os.h"
#include "kvsql/base/text.h"

static const struct kv_error_row error_rows[] = {
#define KV_ERROR(name, number, words, http, resp, sqlite, hint)               \
    {KVSQL_##name, #name, words, http, resp, sqlite, hint},
#include "kvsql/base/errors.def"
#undef KV_ERROR
};

#define ERROR_ROWS (sizeof(error_rows) / sizeof(error_rows[0]))

/* Copy `text` into out[out_size]: control bytes and bytes that are not UTF-8
 * become \xHH; what does not fit is left out whole, never half a character. */
static void error_copy(char *out, size_t out_size, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = (const uint8_t *)text;
    const size_t size = strlen(text);
    size_t n = 0, valid = kv_utf8_prefix(p, size), i = 0;

    while (i < size) {
        size_t step = 1;

        if (i >= valid)
            valid = i + kv_utf8_prefix(p + i, size - i);
        const bool plain = i < valid && p[i] >= 0x20 && p[i] != 0x7f;
        while (plain && i + step < valid && (p[i + step] & 0xc0) == 0x80)
            step++;
        if (n + (plain ? step : 4) >= out_size)
            break;
        if (plain) {
            memcpy(out + n, p + i, step);
            n += step;
        } else {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = digits[p[i] >> 4];
            out[n++] = digits[p[i] & 15];
        }
        i += step;
    }
    out[n] = 0;
}

kvsql_rc kv_fail(struct kvsql_error *err, kvsql_rc rc, const char *format, ...)
{
    char text[2 * KVSQL_ERROR_SIZE];
    va_list args;

    if (err == NULL)
        return rc;
    va_start(args, format);
    if (vsnprintf(text, sizeof(text), format, args) < 0)
        text[0] = 0;
    va_end(args);
    error_copy(err->text, sizeof(err->text), text);
    err->rc = rc;
    return rc;
}

const struct kv_error_row *kv_error_row(kvsql_rc rc)
{
    const int number = (int)rc;

    if (number >= 0 && (size_t)number < ERROR_ROWS &&
        error_rows[number].rc == rc)
        return &error_rows[number];
    return &error_rows[KVSQL_INTERNAL];
}

const struct kv_error_row *kv_error_at(unsigned index)
{
    return index < ERROR_ROWS ? &error_rows[index] : NULL;
}

void kv_assert_failed(const char *file, int line, const char *expression)
{
    char text[KVSQL_ERROR_SIZE];
    const int n = snprintf(text, sizeof(text),
                           "kvsql: assert failed at %s:%d: %s; "
                           "please report this\n",
                           file, line, expression);

    if (n > 0)
        (void)kv_os_stderr(text, (size_t)n < sizeof(text) ? (size_t)n
                                                          : sizeof(text) - 1);
    abort();
}
