/* cursor.c - cursors of pages: bytes of ours, opaque to the client, as base64url
 * without its padding.
 *
 * Thread: any. */
#include "http/cursor.h"

#include "kvsql/base/text.h"

void http_cursor_write(struct kv_buf *out, const uint8_t *p, size_t size)
{
    const size_t from = out->size;

    kv_base64_encode(out, p, size);
    for (size_t i = from; i < out->size; i++) {
        if (out->p[i] == '+')
            out->p[i] = '-';
        else if (out->p[i] == '/')
            out->p[i] = '_';
    }
    while (out->size > from && out->p[out->size - 1] == '=')
        out->size--;
}

bool http_cursor_read(struct kv_buf *out, kvsql_slice text)
{
    struct kv_buf plain;
    const char *p = text.p;

    kv_buf_init(&plain, KV_MEM_CLIENT, text.size + 4);
    for (size_t i = 0; i < text.size; i++)
        kv_buf_byte(&plain, p[i] == '-'   ? '+'
                            : p[i] == '_' ? '/'
                                          : (uint8_t)p[i]);
    while (plain.size % 4 != 0)
        kv_buf_byte(&plain, '=');
    const bool good =
        !plain.failed &&
        kv_base64_decode(out, (const char *)plain.p, plain.size) &&
        !out->failed && out->size >= 1;
    kv_buf_fini(&plain);
    return good;
}
