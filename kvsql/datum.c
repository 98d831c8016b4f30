/* datum.c - SQL values as bytes: see datum.h.
 *
 * Thread: any. */
#include "kvsql/datum.h"

#include <math.h>
#include <string.h>

#include "kvsql/store_private.h"

#define DATUM_NUMBER 0x10
#define DATUM_TEXT KV_DATUM_IS_TEXT
#define DATUM_BLOB 0x30
#define DATUM_MORE 0xf8

/* The largest double that is not above n; *rest is what is missing. */
static double datum_below(int64_t n, uint32_t *rest)
{
    double below = (double)n;

    if (below >= 9223372036854775808.0 || (int64_t)below > n)
        below = nextafter(below, -INFINITY);
    *rest = (uint32_t)(n - (int64_t)below);
    return below;
}

static void datum_put_number(struct kv_buf *buf, double real, uint32_t rest)
{
    uint8_t out[11] = {DATUM_NUMBER};

    kv_score_key(out + 1, real);
    out[9] = (uint8_t)(DATUM_MORE | rest >> 8);
    out[10] = (uint8_t)rest;
    kv_buf_add(buf, out, rest > 0 ? 11 : 9);
}

static void datum_put_blob(struct kv_buf *buf, const uint8_t *p, size_t size)
{
    kv_buf_byte(buf, DATUM_BLOB);
    while (size > 0) {
        const uint8_t *const nul = memchr(p, 0, size);
        const size_t run = nul != NULL ? (size_t)(nul - p) + 1 : size;
        kv_buf_add(buf, p, run);
        if (nul != NULL)
            kv_buf_byte(buf, 1);
        p += run;
        size -= run;
    }
    kv_buf_add(buf, "\0", 2);
}

void kv_datum_put(struct kv_buf *buf, const struct kv_datum *datum)
{
    uint32_t rest = 0;

    switch (datum->kind) {
    case KV_DATUM_NULL:
        kv_buf_byte(buf, KV_DATUM_NONE);
        return;
    case KV_DATUM_INT:
        if (datum->integer <= INT64_C(1) << 53 &&
            datum->integer >= -(INT64_C(1) << 53)) {
            datum_put_number(buf, (double)datum->integer, 0);
        } else {
            const double below = datum_below(datum->integer, &rest);
            datum_put_number(buf, below, rest);
        }
        return;
    case KV_DATUM_REAL:
        datum_put_number(buf, datum->real, 0);
        return;
    case KV_DATUM_TEXT:
        kv_buf_byte(buf, DATUM_TEXT);
        kv_buf_add(buf, datum->p, datum->size);
        kv_buf_byte(buf, 0);
        return;
    case KV_DATUM_BLOB:
        datum_put_blob(buf, datum->p, datum->size);
        return;
    }
}

/* Of a BLOB from its second byte on, the end included. */
static size_t datum_blob_size(const uint8_t *p, size_t size)
{
    size_t i = 0;

    while (i + 1 < size) {
        const uint8_t *const nul = memchr(p + i, 0, size - i - 1);
        if (nul == NULL)
            return 0;
        i = (size_t)(nul - p) + 2;
        if (nul[1] == 0)
            return i;
    }
    return 0;
}

size_t kv_datum_size(const uint8_t *p, size_t size)
{
    const uint8_t *nul;
    size_t n;

    if (size == 0)
        return 0;
    switch (p[0]) {
    case KV_DATUM_NONE:
        return 1;
    case DATUM_NUMBER:
        n = size > 9 && p[9] >= DATUM_MORE ? 11 : 9;
        return n <= size ? n : 0;
    case DATUM_TEXT:
        nul = memchr(p + 1, 0, size - 1);
        return nul != NULL ? (size_t)(nul - p) + 1 : 0;
    case DATUM_BLOB:
        n = datum_blob_size(p + 1, size - 1);
        return n > 0 ? n + 1 : 0;
    default:
        return 0;
    }
}

bool kv_datum_number(const uint8_t *p, size_t size, double *real,
                     uint32_t *rest)
{
    if (size < 9 || p[0] != DATUM_NUMBER)
        return false;
    *real = kv_score_of_key(p + 1);
    *rest = size > 10 && p[9] >= DATUM_MORE ? (p[9] & 7u) << 8 | p[10] : 0;
    return true;
}
