/* fuzz_glob.c - globs: "pattern NUL text". The prefix that a scan seeks to and
 * the match agree; a pattern that is exact matches itself alone. */
#include "kvsql/base/text.h"
#include "tests/lib/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = memchr(data, 0, size);
    const size_t pattern_size = nul != NULL ? (size_t)(nul - data) : size;
    const size_t text_size = size - pattern_size - (nul != NULL);
    uint8_t *pattern = fuzz_copy(data, pattern_size);
    uint8_t *text = fuzz_copy(data + size - text_size, text_size);
    uint8_t *prefix = malloc(pattern_size + 1);
    bool exact = false;

    FUZZ_CHECK(prefix != NULL);
    const bool match =
        kv_glob_match(pattern, pattern_size, text, text_size, false);
    const size_t n = kv_glob_prefix(pattern, pattern_size, prefix,
                                    pattern_size, &exact);
    FUZZ_CHECK(n <= pattern_size);
    (void)kv_glob_match(pattern, pattern_size, text, text_size, true);
    if (match)
        FUZZ_CHECK(text_size >= n && memcmp(text, prefix, n) == 0);
    if (exact)
        FUZZ_CHECK(match ==
                   (text_size == n && memcmp(text, prefix, n) == 0));
    free(pattern);
    free(text);
    free(prefix);
    return 0;
}
