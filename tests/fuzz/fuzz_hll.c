/* fuzz_hll.c - any string as a HyperLogLog: it is read, described, merged, made
 * dense, and registers that the input chooses are raised. A value that is whole
 * stays so and holds what a plain array of registers does. */
#include "command/hll.h"
#include "tests/lib/fuzz.h"

#define STEPS_MAX 200

static void check_whole(const struct kv_buf *value, const uint8_t *plain)
{
    uint8_t registers[CMD_HLL_REGISTERS] = {0};

    FUZZ_CHECK(cmd_hll_valid(value->p, value->size));
    FUZZ_CHECK(cmd_hll_merge(value->p, value->size, registers));
    FUZZ_CHECK(memcmp(registers, plain, sizeof(registers)) == 0);
}

/* The input: sizes and bytes of the value, then a register and what it must be
 * at least, 3 bytes each. */
static void run(struct fuzz_input *input, struct kv_buf *value)
{
    uint8_t plain[CMD_HLL_REGISTERS] = {0};
    const bool whole = cmd_hll_merge(value->p, value->size, plain);
    const size_t sparse_max = (size_t)fuzz_byte(input) * 64;
    struct kv_buf text;

    kv_buf_init(&text, KV_MEM_MISC, 1 << 20);
    if (!cmd_hll_is_dense(value->p))
        cmd_hll_describe(value->p, value->size, &text);
    kv_buf_fini(&text);
    if (whole)
        (void)cmd_hll_estimate(plain);
    for (int step = 0; step < STEPS_MAX && input->size > 0; step++) {
        const unsigned index =
            ((unsigned)fuzz_byte(input) << 8 | fuzz_byte(input)) %
            CMD_HLL_REGISTERS;
        const unsigned least = 1 + fuzz_byte(input) % 51;
        bool raised;

        if (!cmd_hll_raise(value, index, least, sparse_max, &raised)) {
            FUZZ_CHECK(!whole);
            return;
        }
        if (value->failed)
            return;
        FUZZ_CHECK(!whole || raised == (plain[index] < least));
        if (whole && raised)
            plain[index] = (uint8_t)least;
    }
    if (whole)
        check_whole(value, plain);
    FUZZ_CHECK(cmd_hll_densify(value) || !whole || value->failed);
    if (whole && !value->failed)
        check_whole(value, plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    const size_t wanted =
        (size_t)fuzz_byte(&input) << 8 | fuzz_byte(&input);
    size_t got;
    const uint8_t *p = fuzz_bytes(&input, wanted, &got);
    uint8_t *exact = fuzz_copy(p, got);
    struct kv_buf value;

    kv_buf_init(&value, KV_MEM_MISC, CMD_HLL_SIZE_MAX);
    if (cmd_hll_valid(exact, got) && got <= CMD_HLL_SIZE_MAX) {
        kv_buf_add(&value, exact, got);
        FUZZ_CHECK(!value.failed);
        run(&input, &value);
    }
    kv_buf_fini(&value);
    free(exact);
    return 0;
}
