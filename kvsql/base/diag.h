/* diag.h - messages for people: stderr, one line each, logfmt.
 *
 *   2026-11-22T05:41:10.123Z info snapshot.done keys=12408 ms=310
 *
 * The event name is fixed and searchable; facts are key=value, quoted when
 * needed, control bytes escaped; no secrets and no values of users' keys.
 * `error` means someone must act. Never blocks: a line that would block is
 * dropped and counted.
 *
 * Thread: any. */
#ifndef KVSQL_BASE_DIAG_H
#define KVSQL_BASE_DIAG_H

#include <stdint.h>

#include "kvsql/base/attr.h"

enum kv_diag_level { KV_DEBUG, KV_INFO, KV_WARN, KV_ERROR_LEVEL };

/* `format` makes the facts: "keys=%u file=%s". */
KV_INTERNAL void kv_diag(enum kv_diag_level level, const char *event,
                         const char *format, ...) KV_PRINTF(3, 4);
/* Messages below `level` are dropped. Default KV_INFO; the environment
 * variable KVSQL_LOGLEVEL (debug, info, warn, error) is read at first use. */
KV_INTERNAL void kv_diag_level_set(enum kv_diag_level level);
/* Messages so far of one level, and lines dropped. */
KV_INTERNAL uint64_t kv_diag_count(enum kv_diag_level level);
KV_INTERNAL uint64_t kv_diag_dropped(void);
/* Tests: send whole lines to `sink` instead of stderr (NULL undoes it). */
KV_INTERNAL void kv_diag_sink(void (*sink)(void *arg, const char *line),
                              void *arg);

#endif
