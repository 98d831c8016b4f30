/* fuzz_records.c - records of an import: in whatever pieces they come, they are
 * the same commands, or the same error at the same line; what is read stays
 * inside what was given. The first byte says the form, the second the pieces. */
#include "http/records.h"
#include "tests/lib/fuzz.h"

#define RECORD_MAX 4096

/* What a reading gave: the words of all commands, and how it ended. */
struct reading {
    struct cmd_words words;
    kvsql_rc rc;
    uint64_t line, keys;
};

static void read_some(struct reading *reading, struct http_records *records,
                      bool end)
{
    enum http_record what = HTTP_RECORD_PART;
    struct kvsql_error err;

    while (reading->rc == KVSQL_OK && what != HTTP_RECORD_NONE) {
        reading->rc = http_records_next(records, end, &what, &err);
        reading->line = records->line;
        reading->keys += what == HTTP_RECORD_KEY;
    }
}

static void read_all(struct reading *reading, const uint8_t *data, size_t size,
                     bool csv, size_t step)
{
    struct http_records records;
    struct kv_buf piece;

    *reading = (struct reading){.rc = KVSQL_OK};
    cmd_words_init(&reading->words, 64 << 20);
    http_records_init(&records, &reading->words, csv, RECORD_MAX, "option");
    records.prefix = (kvsql_slice){"p", 1};
    kv_buf_init(&piece, KV_MEM_CLIENT, HTTP_RECORDS_TEXT_MAX);
    for (size_t at = 0; reading->rc == KVSQL_OK && at < size; at += step) {
        kv_buf_add(&piece, data + at, size - at < step ? size - at : step);
        http_records_take(&records, &piece);
        read_some(reading, &records, false);
    }
    read_some(reading, &records, true);
    kv_buf_fini(&piece);
    http_records_fini(&records);
}

static void same(const struct kv_buf *a, const struct kv_buf *b)
{
    FUZZ_CHECK(a->size == b->size &&
               (a->size == 0 || memcmp(a->p, b->p, a->size) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading whole, parts;

    if (size < 2)
        return 0;
    const bool csv = data[0] & 1;
    const size_t step = 1 + data[1] % 67;
    read_all(&whole, data + 2, size - 2, csv, size);
    read_all(&parts, data + 2, size - 2, csv, step);
    FUZZ_CHECK(whole.rc == KVSQL_OK || whole.rc == KVSQL_SYNTAX ||
               whole.rc == KVSQL_INVALID || whole.rc == KVSQL_TOOBIG);
    FUZZ_CHECK(whole.rc == parts.rc && whole.keys == parts.keys);
    FUZZ_CHECK(whole.line == parts.line);
    if (whole.rc == KVSQL_OK) {
        same(&whole.words.bytes, &parts.words.bytes);
        same(&whole.words.places, &parts.words.places);
        same(&whole.words.starts, &parts.words.starts);
    }
    cmd_words_fini(&whole.words);
    cmd_words_fini(&parts.words);
    return 0;
}
