/* fuzz_number.c - numbers as text: what is accepted reads back equal when it is
 * written; varints have one form. */
#include "kvsql/base/num.h"
#include "tests/lib/fuzz.h"

static void check_decimal(const uint8_t *p, size_t size)
{
    char text[KV_DOUBLE_TEXT_MAX];
    int64_t number;
    uint64_t big;
    double real, again;

    if (kv_num_int(p, size, &number)) {
        FUZZ_CHECK(kv_num_format_int(text, number) == size &&
                   memcmp(text, p, size) == 0);
        FUZZ_CHECK(number < 0 || (kv_num_uint(p, size, &big) &&
                                  big == (uint64_t)number));
    }
    if (kv_num_double(p, size, &real)) {
        const size_t n = kv_num_format_double(text, real);
        FUZZ_CHECK(n < sizeof text && text[n] == 0);
        FUZZ_CHECK(kv_num_double(text, n, &again) && again == real);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size), form[10];
    char *text = fuzz_text(data, size);
    uint64_t value;

    check_decimal(copy, size);
    (void)kv_num_size(text, &value);
    (void)kv_num_duration(text, 1000, &value);
    const size_t used = kv_varint_get(copy, copy + size, &value);
    if (used > 0) {
        FUZZ_CHECK(used <= size && kv_varint_size(value) == used);
        FUZZ_CHECK(kv_varint_put(form, value) == used &&
                   memcmp(form, copy, used) == 0);
    }
    free(text);
    free(copy);
    return 0;
}
