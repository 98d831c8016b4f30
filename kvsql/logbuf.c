/* logbuf.c - a list of chunks of frames between the writers and the files.
 *
 * A chunk holds whole frames, so each group of the log thread is one write per
 * chunk, straight from here. One emptied chunk is kept for the next: under a
 * steady load nothing is allocated. A batch larger than a chunk gets a chunk
 * of its own size.
 *
 * Thread: see logbuf.h. */
#include "kvsql/logbuf.h"

#include <string.h>

#include "kvsql/base/mem.h"

#define LOGBUF_CHUNK_MIN 4096
#define LOGBUF_CHUNK_MAX (256u << 10)

void kv_logbuf_init(struct kv_logbuf *buf, uint64_t last, uint64_t buffer_max)
{
    const uint64_t part = buffer_max / 16;

    *buf = (struct kv_logbuf){.last = last};
    buf->chunk_size = part < LOGBUF_CHUNK_MIN   ? LOGBUF_CHUNK_MIN
                      : part > LOGBUF_CHUNK_MAX ? LOGBUF_CHUNK_MAX
                                                : (size_t)part;
}

static void logbuf_free(struct kv_log_chunk *chunk)
{
    if (chunk != NULL) {
        kv_mem_free(KV_MEM_WAL, chunk, sizeof(*chunk) + chunk->cap);
    }
}

void kv_logbuf_fini(struct kv_logbuf *buf)
{
    while (buf->first != NULL) {
        struct kv_log_chunk *chunk = buf->first;

        buf->first = chunk->next;
        logbuf_free(chunk);
    }
    logbuf_free(buf->reserved);
    logbuf_free(buf->spare);
    *buf = (struct kv_logbuf){.first = NULL};
}

/* An empty chunk for `size` bytes: the spare one, or a new one. */
static struct kv_log_chunk *logbuf_chunk(struct kv_logbuf *buf, size_t size)
{
    struct kv_log_chunk *chunk = buf->spare;

    if (chunk != NULL && chunk->cap >= size) {
        buf->spare = NULL;
    } else {
        const size_t cap = size > buf->chunk_size ? size : buf->chunk_size;

        chunk = kv_mem_alloc(KV_MEM_WAL, sizeof(*chunk) + cap);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->cap = cap;
    }
    chunk->next = NULL;
    chunk->size = 0;
    chunk->last = 0;
    chunk->base = 0;
    return chunk;
}

static void logbuf_recycle(struct kv_logbuf *buf, struct kv_log_chunk *chunk)
{
    if (chunk != NULL && buf->spare == NULL && chunk->cap == buf->chunk_size) {
        buf->spare = chunk;
    } else {
        logbuf_free(chunk);
    }
}

static bool logbuf_fits(const struct kv_log_chunk *chunk, size_t size)
{
    return chunk != NULL && chunk->cap - chunk->size >= size;
}

bool kv_logbuf_reserve(struct kv_logbuf *buf, size_t size)
{
    const size_t need = KV_FRAME_HEADER_SIZE + size;
    struct kv_log_chunk *chunk = NULL;

    if (!logbuf_fits(buf->tail, need)) {
        chunk = logbuf_chunk(buf, need);
        if (chunk == NULL) {
            return false; /* the one before holds */
        }
    }
    kv_logbuf_cancel(buf);
    buf->reserved = chunk;
    buf->reservation = true;
    return true;
}

void kv_logbuf_cancel(struct kv_logbuf *buf)
{
    logbuf_recycle(buf, buf->reserved);
    buf->reserved = NULL;
    buf->reservation = false;
}

static void logbuf_link(struct kv_logbuf *buf, struct kv_log_chunk *chunk)
{
    if (buf->tail == NULL) {
        buf->first = chunk;
    } else {
        buf->tail->next = chunk;
    }
    buf->tail = chunk;
}

static void logbuf_put(struct kv_logbuf *buf, enum kv_frame_type type,
                       uint64_t position, int64_t time,
                       const uint8_t *payload, size_t size)
{
    struct kv_log_chunk *chunk = buf->tail;

    KV_ASSERT(logbuf_fits(chunk, KV_FRAME_HEADER_SIZE + size));
    uint8_t *frame = chunk->data + chunk->size;
    kv_frame_put(frame, type, position, time, (uint32_t)size);
    if (size > 0) {
        memcpy(frame + KV_FRAME_HEADER_SIZE, payload, size);
    }
    chunk->size += KV_FRAME_HEADER_SIZE + size;
    chunk->last = position;
    buf->bytes += KV_FRAME_HEADER_SIZE + size;
    buf->last = position;
}

void kv_logbuf_append(struct kv_logbuf *buf, uint64_t position,
                      const uint8_t *payload, size_t size)
{
    KV_ASSERT(buf->reservation);
    KV_ASSERT(position == buf->last + 1); /* B1, W3 */
    if (buf->reserved != NULL) {
        logbuf_link(buf, buf->reserved);
        buf->reserved = NULL;
    }
    buf->reservation = false;
    logbuf_put(buf, KV_FRAME_BATCH, position, 0, payload, size);
}

bool kv_logbuf_mark(struct kv_logbuf *buf, int64_t time)
{
    if (buf->reservation) {
        return false; /* its room is not ours */
    }
    if (!logbuf_fits(buf->tail, KV_FRAME_HEADER_SIZE)) {
        struct kv_log_chunk *chunk = logbuf_chunk(buf, KV_FRAME_HEADER_SIZE);

        if (chunk == NULL) {
            return false;
        }
        logbuf_link(buf, chunk);
    }
    logbuf_put(buf, KV_FRAME_MARK, buf->last, time, NULL, 0);
    return true;
}

/* The chunk with the next byte to write, or NULL. */
static struct kv_log_chunk *logbuf_next(const struct kv_logbuf *buf, size_t *at)
{
    struct kv_log_chunk *chunk = buf->next ? buf->next : buf->first;

    *at = buf->next ? buf->next_at : 0;
    while (chunk != NULL && *at == chunk->size) {
        chunk = chunk->next;
        *at = 0;
    }
    return chunk;
}

bool kv_logbuf_run(struct kv_logbuf *buf, uint64_t offset,
                   struct kv_log_run *run)
{
    size_t at;
    struct kv_log_chunk *chunk = logbuf_next(buf, &at);

    if (chunk == NULL) {
        return false;
    }
    buf->next = chunk;
    buf->next_at = at;
    chunk->base = offset - at;
    *run = (struct kv_log_run){.p = chunk->data + at, .size = chunk->size - at,
                               .last = chunk->last};
    return true;
}

void kv_logbuf_written(struct kv_logbuf *buf, size_t size)
{
    buf->next_at += size;
    KV_ASSERT(buf->next != NULL && buf->next_at <= buf->next->size);
}

bool kv_logbuf_pending(const struct kv_logbuf *buf)
{
    size_t at;

    return logbuf_next(buf, &at) != NULL;
}

/* Bytes in front of the first frame of the chunk behind `position`. */
static size_t logbuf_upto(const struct kv_log_chunk *chunk, uint64_t position)
{
    struct kv_frame frame;
    size_t at = 0;

    while (at < chunk->size) {
        kv_frame_get(chunk->data + at, &frame);
        if (frame.position > position) {
            break;
        }
        at += KV_FRAME_HEADER_SIZE + frame.size;
    }
    return at;
}

/* The chunk with the first frame behind `position`, or NULL. */
static struct kv_log_chunk *logbuf_find(const struct kv_logbuf *buf,
                                        uint64_t position)
{
    struct kv_log_chunk *chunk = buf->first;

    while (chunk != NULL && (chunk->size == 0 || chunk->last <= position)) {
        chunk = chunk->next;
    }
    return chunk;
}

void kv_logbuf_rewind(struct kv_logbuf *buf, uint64_t position)
{
    struct kv_log_chunk *chunk = logbuf_find(buf, position);

    if (chunk == NULL) {
        buf->next = buf->tail;
        buf->next_at = buf->tail ? buf->tail->size : 0;
        return;
    }
    buf->next = chunk;
    buf->next_at = logbuf_upto(chunk, position);
}

void kv_logbuf_discard(struct kv_logbuf *buf, uint64_t position)
{
    struct kv_log_chunk *chunk = logbuf_find(buf, position);

    KV_ASSERT(!buf->reservation);
    KV_ASSERT(position <= buf->last);
    buf->last = position;
    if (chunk == NULL) {
        return;
    }
    const size_t keep = logbuf_upto(chunk, position);
    /* `next` can stand in a chunk that goes: then all before it was written. */
    bool next_gone = buf->next == chunk && buf->next_at > keep;
    struct kv_log_chunk *gone = chunk->next;
    buf->bytes -= chunk->size - keep;
    chunk->size = keep;
    chunk->last = position;
    chunk->next = NULL;
    buf->tail = chunk;
    while (gone != NULL) {
        struct kv_log_chunk *after = gone->next;

        next_gone = next_gone || buf->next == gone;
        buf->bytes -= gone->size;
        logbuf_recycle(buf, gone);
        gone = after;
    }
    if (next_gone) {
        buf->next = chunk;
        buf->next_at = keep;
    }
}

void kv_logbuf_forget(struct kv_logbuf *buf, uint64_t position)
{
    size_t at;

    while (buf->first != NULL && buf->first->last <= position) {
        struct kv_log_chunk *chunk = buf->first;

        if (logbuf_next(buf, &at) == chunk) {
            return; /* B2 */
        }
        if (chunk == buf->tail && buf->reservation && buf->reserved == NULL) {
            return; /* a batch has room in it */
        }
        buf->bytes -= chunk->size;
        if (buf->next == chunk) {
            buf->next = NULL; /* = the chunk that is first now */
            buf->next_at = 0;
        }
        buf->first = chunk->next;
        if (buf->first == NULL) {
            buf->tail = NULL;
        }
        logbuf_recycle(buf, chunk);
    }
}

uint64_t kv_logbuf_offset(const struct kv_logbuf *buf, uint64_t position,
                          uint64_t tail)
{
    const struct kv_log_chunk *found = logbuf_find(buf, position);
    size_t next_at;
    const struct kv_log_chunk *next = logbuf_next(buf, &next_at);

    if (found == NULL) {
        return tail;
    }
    const size_t at = logbuf_upto(found, position);
    if (next == found && at >= next_at) {
        return tail;
    }
    for (const struct kv_log_chunk *c = next; c != NULL && c != found;) {
        c = c->next;
        if (c == found) {
            return tail; /* behind everything written */
        }
    }
    return found->base + at;
}
