/* fuzz_redis.c - what a server that is imported from may answer: any bytes give
 * items that lie within them, then an error; never more memory than came. */
#include <sys/socket.h>
#include <unistd.h>

#include "cli/redis.h"
#include "tests/lib/fuzz.h"

#define INPUT_MAX 65536 /* a socket takes it without a reader */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cli_redis_item item;
    struct kvsql_error err;
    size_t seen = 0;
    kvsql_rc rc;
    int pair[2];

    if (size > INPUT_MAX || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 0;
    FUZZ_CHECK(size == 0 || send(pair[1], data, size, 0) == (ssize_t)size);
    (void)close(pair[1]);
    struct cli_redis *redis = cli_redis_of(pair[0]);
    FUZZ_CHECK(redis != NULL);
    while ((rc = cli_redis_next(redis, &item, &err)) == KVSQL_OK) {
        if (item.kind == CLI_REDIS_BULK || item.kind == CLI_REDIS_STATUS ||
            item.kind == CLI_REDIS_ERROR)
            seen += item.bytes.size;
        FUZZ_CHECK(seen <= size);
        FUZZ_CHECK(item.kind != CLI_REDIS_ARRAY || item.number >= 0);
    }
    FUZZ_CHECK(rc == KVSQL_IO || rc == KVSQL_CORRUPT);
    FUZZ_CHECK(kv_mem_bytes(KV_MEM_CLIENT) < 2 * size + (512u << 10));
    cli_redis_close(redis);
    FUZZ_CHECK(kv_mem_bytes(KV_MEM_CLIENT) == 0);
    return 0;
}
