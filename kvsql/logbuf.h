/* logbuf.h - frames in memory: what is not written yet, and what is written
 * and not yet durable, so that it can be written again (F2, F4).
 *
 *   chunk -> chunk -> chunk          bytes of a chunk are bytes of the file
 *   |durable.. written..|next ...|
 *
 * Writers append at the tail; the log thread writes from `next` on. Both hold
 * the wal's lock for every call here; the log thread alone may touch the bytes
 * between `next` and what it was given by kv_logbuf_run without it, for no
 * byte in front of the tail is ever moved.
 *
 * Always true:
 *   B1  positions ascend; only marks repeat the one before.
 *   B2  a chunk goes only when all of it is written and its last position is
 *       durable. */
#ifndef KVSQL_LOGBUF_H
#define KVSQL_LOGBUF_H

#include "kvsql/seg.h"

struct kv_log_chunk {
    struct kv_log_chunk *next;
    size_t cap, size;
    uint64_t last; /* position of its last frame */
    uint64_t base; /* place of data[0] in the segment, modulo 2^64 */
    uint8_t data[];
};

struct kv_logbuf {
    struct kv_log_chunk *first, *tail;
    struct kv_log_chunk *next; /* holds the next byte to write, NULL = first */
    size_t next_at;
    struct kv_log_chunk *reserved, *spare;
    bool reservation; /* a batch has room and has not arrived yet */
    size_t chunk_size;
    uint64_t bytes; /* of all frames held */
    uint64_t last;  /* position of the last batch ever appended */
};

KV_INTERNAL void kv_logbuf_init(struct kv_logbuf *buf, uint64_t last,
                                uint64_t buffer_max);
KV_INTERNAL void kv_logbuf_fini(struct kv_logbuf *buf);

/* Room for one frame of `size` bytes of payload; replaces the last room. False
 * when there is no memory. */
KV_INTERNAL bool kv_logbuf_reserve(struct kv_logbuf *buf, size_t size)
    KV_MUST_USE;
KV_INTERNAL void kv_logbuf_cancel(struct kv_logbuf *buf);
/* The batch that room was made for. */
KV_INTERNAL void kv_logbuf_append(struct kv_logbuf *buf, uint64_t position,
                                  const uint8_t *payload, size_t size);
/* A mark of this time, wall ms; false when there is no room for it now. */
KV_INTERNAL bool kv_logbuf_mark(struct kv_logbuf *buf, int64_t time);

struct kv_log_run {
    uint8_t *p;
    size_t size;
    uint64_t last; /* position of its last frame */
};
/* Bytes of one chunk that wait to be written, to go to `offset`; false when
 * there are none. */
KV_INTERNAL bool kv_logbuf_run(struct kv_logbuf *buf, uint64_t offset,
                               struct kv_log_run *run);
KV_INTERNAL void kv_logbuf_written(struct kv_logbuf *buf, size_t size);
KV_INTERNAL bool kv_logbuf_pending(const struct kv_logbuf *buf);

/* Everything behind `position` is to be written (again). */
KV_INTERNAL void kv_logbuf_rewind(struct kv_logbuf *buf, uint64_t position);
/* Frames behind `position` never were. */
KV_INTERNAL void kv_logbuf_discard(struct kv_logbuf *buf, uint64_t position);
/* Frames up to `position` are durable. */
KV_INTERNAL void kv_logbuf_forget(struct kv_logbuf *buf, uint64_t position);
/* Where in the segment the first written frame behind `position` (>= durable)
 * stands; `tail` when there is none. */
KV_INTERNAL uint64_t kv_logbuf_offset(const struct kv_logbuf *buf,
                                      uint64_t position, uint64_t tail);

#endif
