/* words.c - commands in a row: see words.h.
 *
 * Words stand behind each other in one buffer; two more hold where each word
 * and each command begins. Nothing is owned singly.
 *
 * Thread: the owner's. */
#include "command/words.h"

#include <string.h>

#include "kvsql/base/num.h"

#define WORDS_COUNT_MAX (1u << 23)
#define WORDS_KEEP ((size_t)1 << 20) /* bytes kept between batches */

void cmd_words_init(struct cmd_words *words, size_t size_max)
{
    kv_buf_init(&words->bytes, KV_MEM_CLIENT, size_max);
    kv_buf_init(&words->places, KV_MEM_CLIENT, 16 * WORDS_COUNT_MAX);
    kv_buf_init(&words->starts, KV_MEM_CLIENT, 8 * WORDS_COUNT_MAX);
}

void cmd_words_fini(struct cmd_words *words)
{
    kv_buf_fini(&words->bytes);
    kv_buf_fini(&words->places);
    kv_buf_fini(&words->starts);
}

void cmd_words_reset(struct cmd_words *words)
{
    kv_buf_reset(&words->bytes, WORDS_KEEP);
    kv_buf_reset(&words->places, WORDS_KEEP);
    kv_buf_reset(&words->starts, WORDS_KEEP);
}

void cmd_words_begin(struct cmd_words *words)
{
    kv_buf_u64(&words->starts, words->places.size / 16);
}

void cmd_words_command(struct cmd_words *words, const char *name)
{
    cmd_words_begin(words);
    cmd_words_word(words, name, strlen(name));
}

void cmd_words_word(struct cmd_words *words, const void *p, size_t size)
{
    kv_buf_u64(&words->places, words->bytes.size);
    kv_buf_u64(&words->places, size);
    kv_buf_add(&words->bytes, p, size);
}

void cmd_words_grow(struct cmd_words *words, size_t size)
{
    if (words->places.failed)
        return;
    uint8_t *word = words->places.p + words->places.size - 8;
    kv_u64_put(word, kv_u64_get(word) + size);
}

unsigned cmd_words_count(const struct cmd_words *words)
{
    return (unsigned)(words->starts.size / 8);
}

size_t cmd_words_size(const struct cmd_words *words)
{
    return words->bytes.size + words->places.size / 4;
}

unsigned cmd_words_argv(const struct cmd_words *words, unsigned command,
                         kvsql_slice *argv, unsigned max)
{
    const uint64_t all = words->places.size / 16;
    const uint64_t from = kv_u64_get(words->starts.p + 8 * (size_t)command);
    const uint64_t to =
        command + 1 < cmd_words_count(words)
            ? kv_u64_get(words->starts.p + 8 * ((size_t)command + 1))
            : all;

    for (uint64_t i = from; i < to && i - from < max; i++) {
        const uint8_t *word = words->places.p + 16 * i;

        argv[i - from] = (kvsql_slice){words->bytes.p + kv_u64_get(word),
                                       kv_u64_get(word + 8)};
    }
    return (unsigned)(to - from);
}

kvsql_rc cmd_words_result(const struct cmd_words *words,
                          struct kvsql_error *err)
{
    kvsql_rc rc = kv_buf_result(&words->bytes, "the words of a batch", err);

    if (rc == KVSQL_OK)
        rc = kv_buf_result(&words->places, "the words of a batch", err);
    if (rc == KVSQL_OK)
        rc = kv_buf_result(&words->starts, "the commands of a batch", err);
    return rc;
}
