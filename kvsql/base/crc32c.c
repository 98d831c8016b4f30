/* crc32c.c - CRC-32C by table, eight bytes a step, or by the processor.
 *
 * The tables are computed once, at first use. On x86-64 the crc32 instruction
 * does eight bytes in three cycles; it is asked for at run time, so one build
 * serves every machine.
 *
 * Thread: any. */
#include "kvsql/base/crc32c.h"

#include <pthread.h>

#include "kvsql/base/num.h"

#define CRC32C_POLYNOMIAL 0x82f63b78u

static uint32_t crc32c_tables[8][256];
static pthread_once_t crc32c_once = PTHREAD_ONCE_INIT;

static void crc32c_make(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (CRC32C_POLYNOMIAL & (0 - (crc & 1)));
        crc32c_tables[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++) {
            const uint32_t before = crc32c_tables[t - 1][i];

            crc32c_tables[t][i] =
                (before >> 8) ^ crc32c_tables[0][before & 255];
        }
}

uint32_t kv_crc32c_table(uint32_t crc, const void *p, size_t size)
{
    const uint8_t *at = p;

    (void)pthread_once(&crc32c_once, crc32c_make);
    crc = ~crc;
    for (; size >= 8; at += 8, size -= 8) {
        const uint64_t word = kv_u64_get(at) ^ crc;

        crc = 0;
        for (unsigned i = 0; i < 8; i++)
            crc ^= crc32c_tables[7 - i][(word >> (8 * i)) & 255];
    }
    for (; size > 0; at++, size--)
        crc = (crc >> 8) ^ crc32c_tables[0][(crc ^ *at) & 255];
    return ~crc;
}

#ifdef __x86_64__

__attribute__((target("sse4.2"))) static uint32_t
crc32c_hardware(uint32_t crc, const void *p, size_t size)
{
    const uint8_t *at = p;
    uint64_t sum = ~crc;

    for (; size >= 8; at += 8, size -= 8)
        sum = __builtin_ia32_crc32di(sum, kv_u64_get(at));
    for (; size > 0; at++, size--)
        sum = __builtin_ia32_crc32qi((uint32_t)sum, *at);
    return ~(uint32_t)sum;
}

uint32_t kv_crc32c(uint32_t crc, const void *p, size_t size)
{
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_hardware(crc, p, size);
    return kv_crc32c_table(crc, p, size);
}

#else

uint32_t kv_crc32c(uint32_t crc, const void *p, size_t size)
{
    return kv_crc32c_table(crc, p, size);
}

#endif
