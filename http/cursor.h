/* cursor.h - cursors of pages: what `next` holds, and comes back as `cursor`.
 *
 * Thread: any. */
#ifndef KVSQL_HTTP_CURSOR_H
#define KVSQL_HTTP_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/buf.h"
#include "kvsql/kvsql.h"

/* Append the bytes as letters that an address takes as they are. */
KV_INTERNAL void http_cursor_write(struct kv_buf *out, const uint8_t *p,
                                   size_t size);
/* Append the bytes of a cursor, one at least; false: it is none, or there is no
 * memory. */
KV_INTERNAL bool http_cursor_read(struct kv_buf *out, kvsql_slice text);

#endif
