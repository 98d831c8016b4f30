/* num.c - numbers as text, strictly, and as small byte sequences.
 *
 * Nothing here looks at the locale of the process: a program that embeds the
 * library may have set one where a comma parts the digits.
 *
 * Thread: any. */
#include "kvsql/base/num.h"

#include <assert.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "what is on disk is little endian and read as it is");
static_assert(sizeof(double) == 8, "doubles are IEEE 754 binary64");

#define NUM_DOUBLE_INPUT_MAX 512
#define NUM_DIGITS_SAFE 19 /* as many never overflow 64 bits */

static locale_t num_locale; /* "C"; 0 when there is none */
static pthread_once_t num_locale_once = PTHREAD_ONCE_INIT;

static void num_locale_make(void)
{
    num_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    KV_ASSERT(num_locale != (locale_t)0);
}

/* Decimal digits without a leading zero; overflow fails. */
static bool num_digits(const uint8_t *p, size_t size, uint64_t *out)
{
    const size_t safe = size < NUM_DIGITS_SAFE ? size : NUM_DIGITS_SAFE;
    uint64_t value = 0;

    if (size == 0 || size > NUM_DIGITS_SAFE + 1 || (p[0] == '0' && size > 1))
        return false;
    for (size_t i = 0; i < safe; i++) {
        const unsigned digit = (unsigned)p[i] - '0';

        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    if (size > safe) {
        const unsigned digit = (unsigned)p[safe] - '0';

        if (digit > 9 ||
            __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    *out = value;
    return true;
}

bool kv_num_uint(const void *p, size_t size, uint64_t *out)
{
    return num_digits(p, size, out);
}

bool kv_num_int(const void *p, size_t size, int64_t *out)
{
    const uint8_t *at = p;
    uint64_t value;

    if (size == 0 || size >= KV_INT_TEXT_MAX)
        return false;
    if (at[0] != '-') {
        if (!num_digits(at, size, &value) || value > INT64_MAX)
            return false;
        *out = (int64_t)value;
        return true;
    }
    if (!num_digits(at + 1, size - 1, &value) || value == 0 ||
        value > (uint64_t)INT64_MAX + 1)
        return false;
    *out = (int64_t)(0 - value);
    return true;
}

/* True for the forms that strtod takes and we do not: hexadecimal, nan,
 * leading blanks. The letters of "inf" and "infinity" and of the exponent are
 * all that may stand in a number. */
static bool num_double_refused(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (strchr("0123456789+-.eEinftyINFTY", text[i]) == NULL ||
            text[i] == 0)
            return true;
    const char *digits = text + (text[0] == '+' || text[0] == '-');
    return strncasecmp(digits, "nan", 3) == 0;
}

/* The usual ones: a sign, at most 15 digits, a point among them. The digits and
 * the power of ten are exact then, so their quotient is the nearest double. */
static bool num_double_short(const uint8_t *p, size_t size, double *out)
{
    static const double powers[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,
                                    1e6, 1e7, 1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15};
    const size_t sign = p[0] == '-' || p[0] == '+';
    uint64_t value = 0;
    size_t point = size;

    if (size - sign > 15)
        return false;
    for (size_t i = sign; i < size; i++) {
        const unsigned digit = (unsigned)p[i] - '0';

        if (digit <= 9)
            value = value * 10 + digit;
        else if (p[i] == '.' && point == size)
            point = i;
        else
            return false;
    }
    if (size - sign == 0 || (point < size && size - sign == 1))
        return false; /* no digit */
    const double number =
        (double)value / powers[point < size ? size - point - 1 : 0];
    *out = p[0] == '-' ? -number : number;
    return true;
}

bool kv_num_double(const void *p, size_t size, double *out)
{
    char text[NUM_DOUBLE_INPUT_MAX + 1];
    char *end;

    if (size == 0 || size > NUM_DOUBLE_INPUT_MAX)
        return false;
    if (num_double_short(p, size, out))
        return true;
    memcpy(text, p, size);
    text[size] = 0;
    if (num_double_refused(text, size))
        return false;
    (void)pthread_once(&num_locale_once, num_locale_make);
    errno = 0;
    const double value = strtod_l(text, &end, num_locale);
    if (end != text + size || isnan(value))
        return false;
    if (errno == ERANGE && (isinf(value) || value == 0))
        return false;
    *out = value;
    return true;
}

static size_t num_digit_count(uint64_t value)
{
    size_t n = 1;

    for (; value >= 10000; value /= 10000)
        n += 4;
    return n + (value >= 10) + (value >= 100) + (value >= 1000);
}

/* Two digits at a time, from the last one back: a division each costs more
 * than all the rest. */
size_t kv_num_format_int(char out[KV_INT_TEXT_MAX], int64_t value)
{
    static const char pairs[] = "00010203040506070809"
                                "10111213141516171819"
                                "20212223242526272829"
                                "30313233343536373839"
                                "40414243444546474849"
                                "50515253545556575859"
                                "60616263646566676869"
                                "70717273747576777879"
                                "80818283848586878889"
                                "90919293949596979899";
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    const size_t size = num_digit_count(rest) + (value < 0);
    char *at = out + size;

    *at = 0;
    for (; rest >= 10; rest /= 100) {
        at -= 2;
        memcpy(at, pairs + 2 * (rest % 100), 2);
    }
    if (at - out == (value < 0) + 1)
        *--at = (char)('0' + rest);
    if (value < 0)
        *--at = '-';
    KV_ASSERT(at == out);
    return size;
}

/* The shortest %.Ng that reads back equal. */
static size_t num_format_general(char out[KV_DOUBLE_TEXT_MAX], double value)
{
    (void)pthread_once(&num_locale_once, num_locale_make);
    const locale_t before = uselocale(num_locale);
    int n = 0;

    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(out, KV_DOUBLE_TEXT_MAX, "%.*g", digits, value);
        if (digits == 17 || strtod_l(out, NULL, num_locale) == value)
            break;
    }
    (void)uselocale(before);
    KV_ASSERT(n > 0 && n < KV_DOUBLE_TEXT_MAX);
    return (size_t)n;
}

size_t kv_num_format_double(char out[KV_DOUBLE_TEXT_MAX], double value)
{
    const char *word = NULL;

    if (isinf(value))
        word = value > 0 ? "inf" : "-inf";
    else if (isnan(value))
        word = "nan";
    else if (value == 0 && signbit(value))
        word = "-0";
    if (word != NULL) {
        const size_t size = strlen(word);

        memcpy(out, word, size + 1);
        return size;
    }
    if (fabs(value) < 1e17 && value == trunc(value))
        return kv_num_format_int(out, (int64_t)value);
    return num_format_general(out, value);
}

/* Digits, then the name of a unit; *end is set behind the digits. */
static bool num_with_unit(const char *text, uint64_t *value, const char **unit)
{
    const size_t digits = strspn(text, "0123456789");

    *unit = text + digits;
    return num_digits((const uint8_t *)text, digits, value);
}

struct num_unit {
    const char *name;
    uint64_t factor;
};

static bool num_apply_unit(const struct num_unit *units, const char *unit,
                           uint64_t value, uint64_t *out)
{
    for (; units->name != NULL; units++)
        if (strcasecmp(unit, units->name) == 0)
            return !__builtin_mul_overflow(value, units->factor, out);
    return false;
}

bool kv_num_size(const char *text, uint64_t *bytes)
{
    static const struct num_unit units[] = {
        {"", 1},           {"b", 1},
        {"k", 1000},       {"kb", 1024},
        {"m", 1000000},    {"mb", 1024 * 1024},
        {"g", 1000000000}, {"gb", 1024 * 1024 * 1024},
        {NULL, 0},
    };
    const char *unit;
    uint64_t value;

    return num_with_unit(text, &value, &unit) &&
           num_apply_unit(units, unit, value, bytes);
}

bool kv_num_duration(const char *text, uint64_t unit_ms, uint64_t *ms)
{
    static const struct num_unit units[] = {
        {"ms", 1},       {"s", 1000},     {"m", 60000},
        {"h", 3600000},  {"d", 86400000}, {NULL, 0},
    };
    const char *unit;
    uint64_t value;

    if (!num_with_unit(text, &value, &unit))
        return false;
    if (*unit == 0)
        return !__builtin_mul_overflow(value, unit_ms, ms);
    return num_apply_unit(units, unit, value, ms);
}

size_t kv_varint_put(uint8_t *out, uint64_t value)
{
    size_t n = 0;

    while (value >= 0x80) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

size_t kv_varint_get(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
    uint64_t sum = 0;
    size_t n = 0;

    if (p < end && *p < 0x80) { /* most are small */
        *value = *p;
        return 1;
    }
    for (unsigned shift = 0; shift < 70 && p + n < end; shift += 7) {
        const uint8_t byte = p[n++];

        if (shift == 63 && byte > 1)
            return 0; /* more than 64 bits */
        sum |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        if (byte == 0 && n > 1)
            return 0; /* longer than needed */
        *value = sum;
        return n;
    }
    return 0;
}

size_t kv_varint_size(uint64_t value)
{
    const int bits = 64 - __builtin_clzll(value | 1);

    return (size_t)(bits + 6) / 7;
}
