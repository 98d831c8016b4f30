/* buf.c - a growing buffer with a maximum.
 *
 * Always true:
 *   B1  size <= size_max, size <= cap, cap <= size_max + 1 (the one byte is
 *       for the NUL that printf writes behind its text).
 *   B2  once an append is dropped all later ones are, so the content is
 *       always a clean beginning of what was asked for.
 *
 * Thread: the owner's. */
#include "kvsql/base/buf.h"

#include <stdio.h>
#include <string.h>

#include "kvsql/base/num.h"

#define BUF_CAP_MIN 64

void kv_buf_init(struct kv_buf *buf, enum kv_mem_kind kind, size_t size_max)
{
    KV_ASSERT(size_max < SIZE_MAX);
    *buf = (struct kv_buf){.size_max = size_max, .kind = kind};
}

void kv_buf_fini(struct kv_buf *buf)
{
    kv_mem_free(buf->kind, buf->p, buf->cap);
    *buf = (struct kv_buf){.size_max = buf->size_max, .kind = buf->kind};
}

void kv_buf_reset(struct kv_buf *buf, size_t keep_max)
{
    if (buf->cap > keep_max) {
        kv_buf_fini(buf);
        return;
    }
    buf->size = 0;
    buf->failed = false;
    buf->too_big = false;
}

/* Make cap >= size + more, where one of `more` may be a NUL's place. */
static bool buf_grow(struct kv_buf *buf, size_t more, size_t nul)
{
    size_t cap = buf->cap < BUF_CAP_MIN ? BUF_CAP_MIN : buf->cap;

    if (buf->failed)
        return false; /* B2 */
    if (more - nul > buf->size_max - buf->size) {
        buf->failed = true;
        buf->too_big = true;
        return false;
    }
    if (more <= buf->cap - buf->size)
        return true;
    while (cap < buf->size + more)
        cap = cap > buf->size_max / 2 ? buf->size_max + 1 : cap * 2;
    if (cap > buf->size_max + 1)
        cap = buf->size_max + 1; /* B1 */
    uint8_t *p = kv_mem_realloc(buf->kind, buf->p, buf->cap, cap);
    if (p == NULL) {
        buf->failed = true;
        return false;
    }
    buf->p = p;
    buf->cap = cap;
    return true;
}

bool kv_buf_reserve(struct kv_buf *buf, size_t size)
{
    return buf_grow(buf, size, 0);
}

void kv_buf_add(struct kv_buf *buf, const void *p, size_t size)
{
    if (size == 0 || !buf_grow(buf, size, 0))
        return;
    memcpy(buf->p + buf->size, p, size);
    buf->size += size;
}

void kv_buf_byte_more(struct kv_buf *buf, uint8_t byte)
{
    if (buf_grow(buf, 1, 0))
        buf->p[buf->size++] = byte;
}

void kv_buf_text(struct kv_buf *buf, const char *text)
{
    kv_buf_add(buf, text, strlen(text));
}

void kv_buf_printf(struct kv_buf *buf, const char *format, ...)
{
    va_list args, again;
    int n;

    if (buf->failed)
        return;
    va_start(args, format);
    va_copy(again, args);
    if (buf->p == NULL)
        n = vsnprintf(NULL, 0, format, args);
    else
        n = vsnprintf((char *)buf->p + buf->size, buf->cap - buf->size, format,
                      args);
    va_end(args);
    if (n < 0) {
        buf->failed = true;
    } else if (buf_grow(buf, (size_t)n + 1, 1)) {
        (void)vsnprintf((char *)buf->p + buf->size, (size_t)n + 1, format,
                        again);
        buf->size += (size_t)n;
    }
    va_end(again);
}

void kv_buf_varint(struct kv_buf *buf, uint64_t value)
{
    uint8_t bytes[10];

    kv_buf_add(buf, bytes, kv_varint_put(bytes, value));
}

void kv_buf_u32(struct kv_buf *buf, uint32_t value)
{
    uint8_t bytes[4];

    kv_u32_put(bytes, value);
    kv_buf_add(buf, bytes, sizeof(bytes));
}

void kv_buf_u64(struct kv_buf *buf, uint64_t value)
{
    uint8_t bytes[8];

    kv_u64_put(bytes, value);
    kv_buf_add(buf, bytes, sizeof(bytes));
}

kvsql_rc kv_buf_result(const struct kv_buf *buf, const char *what,
                       struct kvsql_error *err)
{
    if (!buf->failed)
        return KVSQL_OK;
    if (buf->too_big)
        return kv_fail(err, KVSQL_TOOBIG, "%s: more than %zu bytes", what,
                       buf->size_max);
    return kv_fail(err, KVSQL_NOMEM, "%s: no memory behind %zu bytes", what,
                   buf->size);
}
