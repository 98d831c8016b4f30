/* buf.h - a growing buffer of bytes that cannot be made without a maximum.
 *
 * Growth doubles; what does not fit or cannot be allocated sets `failed` and
 * is dropped, so a run of appends needs one check at the end.
 *
 * Thread: the owner's. */
#ifndef KVSQL_BASE_BUF_H
#define KVSQL_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/error.h"
#include "kvsql/base/mem.h"

struct kv_buf {
    uint8_t *p;       /* NULL until the first append */
    size_t size;      /* bytes in use */
    size_t cap;       /* bytes allocated */
    size_t size_max;  /* size never passes it */
    enum kv_mem_kind kind;
    bool failed;      /* an append was dropped */
    bool too_big;     /* ... because of size_max (else no memory) */
};

KV_INTERNAL void kv_buf_init(struct kv_buf *buf, enum kv_mem_kind kind,
                             size_t size_max);
KV_INTERNAL void kv_buf_fini(struct kv_buf *buf);
/* Forget the content, keep the memory up to `keep_max` bytes. */
KV_INTERNAL void kv_buf_reset(struct kv_buf *buf, size_t keep_max);
/* Back to the first `size` bytes, which were whole: nothing has failed. */
KV_HEADER_INLINE void kv_buf_cut(struct kv_buf *buf, size_t size)
{
    buf->size = size;
    buf->failed = buf->too_big = false;
}
/* Room for `size` more bytes; false (and failed set) when there is none. */
KV_INTERNAL bool kv_buf_reserve(struct kv_buf *buf, size_t size);
KV_INTERNAL void kv_buf_add(struct kv_buf *buf, const void *p, size_t size);
KV_INTERNAL void kv_buf_byte_more(struct kv_buf *buf, uint8_t byte);
KV_HEADER_INLINE void kv_buf_byte(struct kv_buf *buf, uint8_t byte)
{
    if (KV_LIKELY(buf->size + 1 < buf->cap && !buf->failed)) /* B1 */
        buf->p[buf->size++] = byte;
    else
        kv_buf_byte_more(buf, byte);
}
KV_INTERNAL void kv_buf_text(struct kv_buf *buf, const char *text);
KV_INTERNAL void kv_buf_printf(struct kv_buf *buf, const char *format, ...)
    KV_PRINTF(2, 3);
KV_INTERNAL void kv_buf_varint(struct kv_buf *buf, uint64_t value);
KV_INTERNAL void kv_buf_u32(struct kv_buf *buf, uint32_t value); /* little endian */
KV_INTERNAL void kv_buf_u64(struct kv_buf *buf, uint64_t value); /* little endian */
/* KVSQL_OK, or NOMEM or TOOBIG with `what` in the sentence. */
KV_INTERNAL kvsql_rc kv_buf_result(const struct kv_buf *buf, const char *what,
                                   struct kvsql_error *err) KV_MUST_USE;

#endif
