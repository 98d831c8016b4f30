/* batch.c - commands in a row, as import and export send them.
 *
 * Words stand behind each other in one buffer; two more hold where each word
 * and each command begins. Nothing is owned singly.
 *
 * Thread: the owner's. */
#include "cli/target.h"

#include <string.h>

#include "kvsql/base/num.h"

#define BATCH_WORDS_MAX (1u << 20)
#define BATCH_KEEP ((size_t)1 << 20) /* bytes kept between batches */

void cli_batch_init(struct cli_batch *batch)
{
    kv_buf_init(&batch->bytes, KV_MEM_CLIENT, TARGET_BATCH_MAX);
    kv_buf_init(&batch->words, KV_MEM_CLIENT, 16 * BATCH_WORDS_MAX);
    kv_buf_init(&batch->starts, KV_MEM_CLIENT, 8 * BATCH_WORDS_MAX);
}

void cli_batch_fini(struct cli_batch *batch)
{
    kv_buf_fini(&batch->bytes);
    kv_buf_fini(&batch->words);
    kv_buf_fini(&batch->starts);
}

void cli_batch_reset(struct cli_batch *batch)
{
    kv_buf_reset(&batch->bytes, BATCH_KEEP);
    kv_buf_reset(&batch->words, BATCH_KEEP);
    kv_buf_reset(&batch->starts, BATCH_KEEP);
}

void cli_batch_begin(struct cli_batch *batch)
{
    kv_buf_u64(&batch->starts, batch->words.size / 16);
}

void cli_batch_command(struct cli_batch *batch, const char *name)
{
    cli_batch_begin(batch);
    cli_batch_word(batch, name, strlen(name));
}

void cli_batch_word(struct cli_batch *batch, const void *p, size_t size)
{
    kv_buf_u64(&batch->words, batch->bytes.size);
    kv_buf_u64(&batch->words, size);
    kv_buf_add(&batch->bytes, p, size);
}

void cli_batch_grow(struct cli_batch *batch, size_t size)
{
    if (batch->words.failed)
        return;
    uint8_t *word = batch->words.p + batch->words.size - 8;
    kv_u64_put(word, kv_u64_get(word) + size);
}

unsigned cli_batch_count(const struct cli_batch *batch)
{
    return (unsigned)(batch->starts.size / 8);
}

size_t cli_batch_size(const struct cli_batch *batch)
{
    return batch->bytes.size + batch->words.size / 4;
}

unsigned cli_batch_words(const struct cli_batch *batch, unsigned command,
                         kvsql_slice *argv, unsigned max)
{
    const uint64_t all = batch->words.size / 16;
    const uint64_t from = kv_u64_get(batch->starts.p + 8 * (size_t)command);
    const uint64_t to =
        command + 1 < cli_batch_count(batch)
            ? kv_u64_get(batch->starts.p + 8 * ((size_t)command + 1))
            : all;

    for (uint64_t i = from; i < to && i - from < max; i++) {
        const uint8_t *word = batch->words.p + 16 * i;

        argv[i - from] = (kvsql_slice){batch->bytes.p + kv_u64_get(word),
                                       kv_u64_get(word + 8)};
    }
    return (unsigned)(to - from);
}

kvsql_rc cli_batch_result(const struct cli_batch *batch,
                          struct kvsql_error *err)
{
    kvsql_rc rc = kv_buf_result(&batch->bytes, "the words of a batch", err);

    if (rc == KVSQL_OK)
        rc = kv_buf_result(&batch->words, "the words of a batch", err);
    if (rc == KVSQL_OK)
        rc = kv_buf_result(&batch->starts, "the commands of a batch", err);
    return rc;
}
