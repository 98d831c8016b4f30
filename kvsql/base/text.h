/* text.h - classes of bytes, globs, escaping, base64.
 *
 * TEXT is valid UTF-8 without U+0000 (no overlong forms, no surrogates,
 * <= U+10FFFF), everything else is BLOB (sql.md VA1, store.md KO1).
 * Thread: any. */
#ifndef KVSQL_BASE_TEXT_H
#define KVSQL_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/buf.h"

enum kv_class { KV_TEXT = 0, KV_BLOB = 1 };

/* Class of `size` bytes; empty is TEXT. */
KV_INTERNAL enum kv_class kv_class_of(const void *p, size_t size);
/* Bytes of the longest valid UTF-8 prefix (U+0000 counts as valid here). */
KV_INTERNAL size_t kv_utf8_prefix(const void *p, size_t size);

/* Redis's glob: * ? [a-z] [^a] \x. Iterative, linear memory (reliability
 * section 12). Bytes, not characters. */
KV_INTERNAL bool kv_glob_match(const uint8_t *pattern, size_t pattern_size,
                               const uint8_t *text, size_t text_size,
                               bool fold_case);
/* Length of the literal prefix of a pattern, unescaped into out (at most
 * out_size bytes); *exact is set when the whole pattern is literal. */
KV_INTERNAL size_t kv_glob_prefix(const uint8_t *pattern, size_t pattern_size,
                                  uint8_t *out, size_t out_size, bool *exact);

/* Append `size` bytes for people: printable ASCII as is, the rest as \xHH,
 * at most `max` input bytes, then "...". */
KV_INTERNAL void kv_text_escape(struct kv_buf *buf, const void *p, size_t size,
                                size_t max);
/* The same into a C string of out_size bytes, always NUL-terminated. */
KV_INTERNAL const char *kv_text_show(char *out, size_t out_size, const void *p,
                                     size_t size);

/* RFC 4648 with padding. decode: false on anything else than canonical
 * base64. */
KV_INTERNAL void kv_base64_encode(struct kv_buf *buf, const void *p,
                                  size_t size);
KV_INTERNAL bool kv_base64_decode(struct kv_buf *buf, const char *p,
                                  size_t size);

/* Index of the name in `names` (NULL-terminated) nearest to `word` by edit
 * distance <= 1 + strlen / 4, ignoring case, or -1. */
KV_INTERNAL int kv_text_nearest(const char *word, const char *const *names);

#endif
