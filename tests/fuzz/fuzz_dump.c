/* fuzz_dump.c - what RESTORE is given: refused with nothing changed (DU2), or a
 * value whose own dump restores to the same. The checksum is put right. */
#include "kvsql/admin.h"
#include "kvsql/base/crc32c.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"
#include "kvsql/inside.h"
#include "tests/lib/fuzz.h"

static kvsql *db;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const struct kvsql_options options = {.no_keeper = true};
    struct kvsql_error err;

    (void)argc;
    (void)argv;
    fuzz_quiet();
    FUZZ_CHECK(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err) ==
               KVSQL_OK);
    return 0;
}

static bool dump(struct kv_txn *txn, const struct kv_key *key,
                 struct kv_buf *out)
{
    struct kv_item item;
    struct kv_at at;

    kv_at_txn(txn, &at);
    return kv_get(&at, key, &item) && kv_item_dump(&at, &item, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kv_key key = kv_key_of("k", 1), other = kv_key_of("o", 1);
    struct kv_buf payload, once, twice;
    struct kvsql_error err;
    struct kv_txn *txn;
    uint8_t crc[4];

    kv_buf_init(&payload, KV_MEM_MISC, size + 4);
    kv_buf_init(&once, KV_MEM_MISC, 64 << 20);
    kv_buf_init(&twice, KV_MEM_MISC, 64 << 20);
    kv_buf_add(&payload, data, size);
    kv_u32_put(crc, kv_crc32c(0, data, size));
    kv_buf_add(&payload, crc, 4);
    FUZZ_CHECK(kv_txn_begin(db, true, 0, &txn, &err) == KVSQL_OK);
    const kvsql_rc rc = kv_restore(
        txn, &key, (kvsql_slice){payload.p, payload.size}, 0, &err);
    FUZZ_CHECK(rc == KVSQL_OK || rc == KVSQL_CORRUPT || rc == KVSQL_NEWER ||
               rc == KVSQL_TOOBIG);
    const bool there = dump(txn, &key, &once);
    FUZZ_CHECK(rc == KVSQL_OK || !there);
    if (there) {
        FUZZ_CHECK(kv_restore(txn, &other, (kvsql_slice){once.p, once.size}, 0,
                              &err) == KVSQL_OK);
        FUZZ_CHECK(dump(txn, &other, &twice));
        FUZZ_CHECK(once.size == twice.size &&
                   memcmp(once.p, twice.p, once.size) == 0);
    }
    kv_txn_rollback(txn);
    kv_buf_fini(&payload);
    kv_buf_fini(&once);
    kv_buf_fini(&twice);
    return 0;
}
