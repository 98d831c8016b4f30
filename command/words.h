/* words.h - commands in a row, as import and export collect them: words behind
 * each other, nothing owned singly.
 *
 *   cmd_words_command(words, "SET"); cmd_words_word(words, p, size); ...
 *   cmd_words_result(words, &err)     was there memory for all of it?
 *   cmd_words_argv(words, i, argv, n) command i, good until the next word
 *
 * What does not fit is dropped and shows in cmd_words_result.
 *
 * Thread: the owner's. */
#ifndef KVSQL_COMMAND_WORDS_H
#define KVSQL_COMMAND_WORDS_H

#include "kvsql/base/buf.h"
#include "kvsql/kvsql.h"

struct cmd_words {
    struct kv_buf bytes;  /* of all words */
    struct kv_buf places; /* per word: u64 offset, u64 size */
    struct kv_buf starts; /* per command: u64 index of its first word */
};

/* `size_max`: bytes of all words at most. */
KV_INTERNAL void cmd_words_init(struct cmd_words *words, size_t size_max);
KV_INTERNAL void cmd_words_fini(struct cmd_words *words);
/* Forget all of them; some memory is kept for the next. */
KV_INTERNAL void cmd_words_reset(struct cmd_words *words);
/* A command begins; its words follow. The second form gives the first. */
KV_INTERNAL void cmd_words_begin(struct cmd_words *words);
KV_INTERNAL void cmd_words_command(struct cmd_words *words, const char *name);
KV_INTERNAL void cmd_words_word(struct cmd_words *words, const void *p,
                                size_t size);
/* The last word is longer: `size` bytes were added to words->bytes. */
KV_INTERNAL void cmd_words_grow(struct cmd_words *words, size_t size);
KV_INTERNAL unsigned cmd_words_count(const struct cmd_words *words);
/* Words of a command into argv, at most `max`; gives how many there are. */
KV_INTERNAL unsigned cmd_words_argv(const struct cmd_words *words,
                                    unsigned command, kvsql_slice *argv,
                                    unsigned max);
/* KVSQL_OK when nothing was dropped; NOMEM, TOOBIG. */
KV_INTERNAL kvsql_rc cmd_words_result(const struct cmd_words *words,
                                      struct kvsql_error *err) KV_MUST_USE;
/* Bytes that sending them takes, about. */
KV_INTERNAL size_t cmd_words_size(const struct cmd_words *words);

#endif
