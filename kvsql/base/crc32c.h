/* crc32c.h - CRC-32C (Castagnoli), reflected polynomial 0x82F63B78, as in
 * RFC 3720 B.4. Hardware (SSE4.2) behind a run-time check, table otherwise.
 * Thread: any. */
#ifndef KVSQL_BASE_CRC32C_H
#define KVSQL_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"

/* Continue `crc` (0 at the start) over `size` bytes. */
KV_INTERNAL uint32_t kv_crc32c(uint32_t crc, const void *p, size_t size);
/* The table form, for tests and other machines. */
KV_INTERNAL uint32_t kv_crc32c_table(uint32_t crc, const void *p, size_t size);

#endif
