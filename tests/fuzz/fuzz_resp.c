/* fuzz_resp.c - requests of the Redis protocol: in whatever pieces they come,
 * the same requests are read, and the same end.
 *
 *   byte    bit 0: before the password; 1-3: how many sizes of pieces follow;
 *           4-7: requests at a time
 *   bytes   the sizes
 *   bytes   the stream
 */
#include "tests/lib/fuzz.h"
#include "tests/lib/requests.h"

#define TOLD_MAX ((size_t)64 << 20)
/* An argument takes 16 bytes, twice that as the array grows, and comes in 6. */
#define MEMORY_MAX(size) (((size_t)256 << 10) + 16 * (size))

static const struct resp_limits open_limits = {
    .args_max = 100000, .bulk_max = 1 << 20, .inline_max = 4096};
static const struct resp_limits closed_limits = {
    .args_max = 16, .bulk_max = 64, .inline_max = 256, .anonymous = true};

static void read_as(struct requests r, const uint8_t *p, size_t size,
                    struct kv_buf *told)
{
    kv_buf_init(told, KV_MEM_MISC, TOLD_MAX);
    requests_read(&r, p, size, told);
    FUZZ_CHECK(r.wrong == NULL);
    FUZZ_CHECK(!told->failed);
}

static void check_memory(const struct resp_limits *limits, const uint8_t *p,
                         size_t size)
{
    const uint64_t before = kv_mem_bytes(KV_MEM_CLIENT);
    struct resp_parser parser;
    struct kvsql_error err;
    size_t used = 0;

    resp_parser_init(&parser);
    (void)resp_parse(&parser, limits, p, size, &used, &err);
    FUZZ_CHECK(kv_mem_bytes(KV_MEM_CLIENT) - before <= MEMORY_MAX(size));
    resp_parser_fini(&parser);
    FUZZ_CHECK(kv_mem_bytes(KV_MEM_CLIENT) == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {.p = data, .size = size};
    struct requests r = {0};
    struct kv_buf whole, parts, anew;
    const uint8_t mode = fuzz_byte(&in);

    r.limits = mode & 1 ? &closed_limits : &open_limits;
    r.sizes = fuzz_bytes(&in, mode >> 1 & 7, &r.size_count);
    read_as((struct requests){.limits = r.limits}, in.p, in.size, &whole);
    read_as(r, in.p, in.size, &parts);
    r.anew = true;
    r.run = 1 + (mode >> 4) * (RESP_RUN_MAX - 1) / 15;
    read_as(r, in.p, in.size, &anew);
    FUZZ_CHECK(whole.size == parts.size && whole.size == anew.size);
    FUZZ_CHECK(whole.size == 0 ||
               (memcmp(whole.p, parts.p, whole.size) == 0 &&
                memcmp(whole.p, anew.p, whole.size) == 0));
    check_memory(r.limits, in.p, in.size);
    kv_buf_fini(&whole);
    kv_buf_fini(&parts);
    kv_buf_fini(&anew);
    return 0;
}
