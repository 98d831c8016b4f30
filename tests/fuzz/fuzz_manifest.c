/* fuzz_manifest.c - MANIFEST: what is accepted is written again and means the
 * same. The crc32c line is put behind the input, or nothing would get past it;
 * an input that has one of its own is read as it is. */
#include "kvsql/base/crc32c.h"
#include "kvsql/manifest.h"
#include "tests/lib/fuzz.h"

static void check_again(const struct kv_manifest *manifest)
{
    struct kv_manifest again;
    struct kvsql_error err;
    struct kv_buf once, twice;

    kv_buf_init(&once, KV_MEM_MISC, 64 << 20);
    kv_buf_init(&twice, KV_MEM_MISC, 64 << 20);
    kv_manifest_init(&again, manifest->os, -1);
    kv_manifest_format(manifest, &once);
    FUZZ_CHECK(!once.failed);
    FUZZ_CHECK(kv_manifest_parse(&again, (const char *)once.p, once.size,
                                 &err) == KVSQL_OK);
    kv_manifest_format(&again, &twice);
    FUZZ_CHECK(once.size == twice.size &&
               memcmp(once.p, twice.p, once.size) == 0);
    kv_manifest_fini(&again);
    kv_buf_fini(&once);
    kv_buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kv_manifest manifest;
    struct kvsql_error err;
    struct kv_buf text;
    const bool own = size > 16 && memcmp(data + size - 16, "crc32c ", 7) == 0;

    kv_buf_init(&text, KV_MEM_MISC, size + 64);
    kv_buf_add(&text, data, size);
    if (!own)
        kv_buf_printf(&text, "crc32c %08x\n",
                      (unsigned)kv_crc32c(0, data, size));
    uint8_t *copy = fuzz_copy(text.p, text.size);
    kv_manifest_init(&manifest, kv_os_real(), -1);
    const kvsql_rc rc = kv_manifest_parse(&manifest, (const char *)copy,
                                          text.size, &err);
    FUZZ_CHECK(rc == KVSQL_OK || rc == KVSQL_CORRUPT || rc == KVSQL_NEWER);
    if (rc == KVSQL_OK)
        check_again(&manifest);
    kv_manifest_fini(&manifest);
    kv_buf_fini(&text);
    free(copy);
    return 0;
}
