/* request.c - one request: its memory, its references, its waiting.
 *
 * The stream between a worker and the connection is one buffer with a reading
 * offset: the worker appends at the end and waits while HTTP_STREAM_MAX bytes
 * are unread, the event loop takes from the front. A client that reads nothing
 * for STREAM_STALL_MS loses it, so that no worker waits for ever (L1).
 *
 * Thread: as said at each function; shared fields are under the lock. */
#include <microhttpd.h>
#include <string.h>

#include "http/gzip.h"
#include "http/intake.h"
#include "http/request.h"
#include "kvsql/base/os.h"
#include "vtab/session.h"

#define REQUEST_BLOCK 4096    /* bytes of an arena block at least */
#define REQUEST_KEEP 16384    /* bytes of a buffer that the next one has, too */
#ifdef KV_MEM_HIDES
#define REQUEST_KEEPS false
#else
#define REQUEST_KEEPS true
#endif
#define STREAM_STALL_MS 10000

struct http_block {
    struct http_block *next;
    size_t size, used; /* of the whole block, this head included */
};

#define BLOCK_HEAD ((sizeof(struct http_block) + 15) & ~(size_t)15)

/* ---- from one request to the next ------------------------------------------------ */

static struct http_request *request_make(struct http_server *server)
{
    struct http_request *request =
        kv_mem_zalloc(KV_MEM_CLIENT, sizeof *request);

    if (request == NULL)
        return NULL;
    request->server = server;
    kv_lock_init(&request->lock, HTTP_RANK_REQUEST);
    kv_cond_init(&request->stream.room);
    kv_buf_init(&request->body, KV_MEM_CLIENT, server->body_max);
    kv_buf_init(&request->answer.body, KV_MEM_CLIENT, 8ull * HTTP_REPLY_MAX);
    kv_buf_init(&request->stream.queue, KV_MEM_CLIENT,
                HTTP_STREAM_MAX + 2ull * HTTP_REPLY_MAX);
    cmd_reply_init(&request->reply, HTTP_REPLY_MAX);
    return request;
}

static void request_free(struct http_request *request)
{
    while (request->arena != NULL) {
        struct http_block *block = request->arena;
        request->arena = block->next;
        kv_mem_free(KV_MEM_CLIENT, block, block->size);
    }
    http_kept_drop(&request->kept);
    cmd_reply_fini(&request->reply);
    kv_buf_fini(&request->body);
    kv_buf_fini(&request->answer.body);
    kv_buf_fini(&request->stream.queue);
    kv_cond_fini(&request->stream.room);
    kv_lock_fini(&request->lock);
    kv_mem_free(KV_MEM_CLIENT, request, sizeof *request);
}

/* One that was kept, or NULL. */
static struct http_request *request_spare(struct http_server *server)
{
    struct http_request *request = NULL;

    for (unsigned i = 0; i < HTTP_SPARES && request == NULL; i++)
        if (atomic_load_explicit(&server->spares[i], memory_order_relaxed))
            request = atomic_exchange_explicit(&server->spares[i], NULL,
                                               memory_order_acquire);
    return request;
}

/* Nobody has it any more: keep it, with some of its memory. False: it took much,
 * or there are enough. With ASan none is kept, so that it sees who still has
 * one. */
static bool request_keep(struct http_request *request)
{
    struct http_server *server = request->server;

    if (!REQUEST_KEEPS ||
        (request->arena != NULL && (request->arena->next != NULL ||
                                    request->arena->size > REQUEST_BLOCK)))
        return false;
    cmd_reply_reset(&request->reply);
    kv_buf_reset(&request->reply.own, REQUEST_KEEP);
    kv_buf_reset(&request->body, REQUEST_KEEP);
    kv_buf_reset(&request->answer.body, REQUEST_KEEP);
    kv_buf_reset(&request->stream.queue, 0);
    for (unsigned i = 0; i < HTTP_SPARES; i++) {
        struct http_request *none = NULL;
        if (atomic_compare_exchange_strong_explicit(
                &server->spares[i], &none, request, memory_order_release,
                memory_order_relaxed))
            return true;
    }
    return false;
}

/* Everything but what is kept is as new. */
static void request_begin(struct http_request *request)
{
    const size_t first = offsetof(struct http_request, id);
    const size_t answer = offsetof(struct http_request, answer);
    const size_t status = offsetof(struct http_answer, status);

    memset((uint8_t *)request + first, 0, answer - first);
    memset((uint8_t *)&request->answer + status, 0,
           offsetof(struct http_answer, headers) - status);
    request->client_id[0] = 0;
    request->stream.offset = 0;
    request->stream.open = request->stream.ended = request->stream.cut = false;
    if (request->arena != NULL)
        request->arena->used = BLOCK_HEAD;
    atomic_store_explicit(&request->refs, 1, memory_order_relaxed);
}

struct http_request *http_request_new(struct http_server *server,
                                      const char *raw)
{
    struct http_request *request = request_spare(server);

    if (request == NULL)
        request = request_make(server);
    if (request == NULL)
        return NULL;
    request_begin(request);
    request->id = atomic_fetch_add_explicit(&server->id_next, 1,
                                            memory_order_relaxed);
    request->started_ns = kv_os_mono_ns();
    request->tier = HTTP_TIER_RESOURCE;
    request->raw = raw;
    request->raw_size = strlen(raw);
    request->target = request->target_inline;
    if (request->raw_size >= sizeof request->target_inline)
        request->target = http_alloc(request, request->raw_size + 1);
    if (request->target == NULL) {
        http_request_unref(request);
        return NULL;
    }
    memcpy(request->target, raw, request->raw_size + 1);
    request->target_size = request->raw_size;
    atomic_fetch_add(&server->stats.active, 1);
    return request;
}

void http_request_ref(struct http_request *request)
{
    atomic_fetch_add_explicit(&request->refs, 1, memory_order_relaxed);
}

static void request_state_free(struct http_request *request)
{
    http_intake_free(request);
    if (request->state_free != NULL)
        request->state_free(request->state);
    request->state_free = NULL;
}

/* The server may be gone when a gate lets go of the last reference, so
 * nothing of it is touched here. */
void http_request_unref(struct http_request *request)
{
    if (atomic_fetch_sub_explicit(&request->refs, 1, memory_order_acq_rel) != 1)
        return;
    http_gzip_free(request);
    request_state_free(request);
    http_answer_drop(request);
    request_free(request);
}

void http_request_done(struct http_request *request)
{
    if (atomic_load_explicit(&request->refs, memory_order_acquire) != 1) {
        http_request_unref(request);
        return;
    }
    http_gzip_free(request);
    request_state_free(request);
    http_answer_drop(request);
    if (!request_keep(request))
        request_free(request);
}

void http_requests_fini(struct http_server *server)
{
    struct http_request *request;

    while ((request = request_spare(server)) != NULL)
        request_free(request);
}

void *http_alloc(struct http_request *request, size_t size)
{
    struct http_block *block = request->arena;

    size = (size + 15) & ~(size_t)15;
    if (block == NULL || block->size - block->used < size) {
        size_t whole = BLOCK_HEAD + size;
        if (whole < REQUEST_BLOCK)
            whole = REQUEST_BLOCK;
        block = kv_mem_alloc(KV_MEM_CLIENT, whole);
        if (block == NULL)
            return NULL;
        *block = (struct http_block){
            .next = request->arena, .size = whole, .used = BLOCK_HEAD};
        request->arena = block;
    }
    void *p = (uint8_t *)block + block->used;
    block->used += size;
    return p;
}

/* ---- waiting --------------------------------------------------------------------- */

bool http_suspend(struct http_request *request, bool lost)
{
    KV_ASSERT(!request->suspended); /* H1 */
    if (request->gone || !http_watch_enter(request, lost))
        return false;
    request->suspended = true;
    atomic_fetch_add(&request->server->stats.waiting, 1);
    MHD_suspend_connection(request->connection);
    return true;
}

void http_wake(struct http_request *request)
{
    if (!request->suspended)
        return;
    request->suspended = false; /* H1 */
    atomic_fetch_sub(&request->server->stats.waiting, 1);
    http_watch_leave(request);
    MHD_resume_connection(request->connection);
}

void http_request_cancel(struct http_request *request)
{
    kv_lock_take(&request->lock);
    request->gone = true;
    if (request->session != NULL)
        vt_interrupt(request->session);
    kv_cond_wake_all(&request->stream.room);
    http_wake(request);
    kv_lock_drop(&request->lock);
}

/* ---- streams ---------------------------------------------------------------------- */

static size_t request_unread(const struct http_stream *stream)
{
    return stream->queue.size - stream->offset;
}

/* The lock is held. Nobody reads: give up, and hang up soon, for the library
 * waits until the socket takes more. */
static void request_cut(struct http_request *request)
{
    request->gone = true;
    if (request->connection != NULL)
        http_watch_deadline(request->conn, 1);
}

/* Worker. Wait until there is room; false when nobody reads any more. */
static bool request_room(struct http_request *request)
{
    struct http_stream *stream = &request->stream;

    while (!request->gone && request_unread(stream) >= HTTP_STREAM_MAX) {
        size_t before = request_unread(stream);
        if (!kv_cond_wait_within(&stream->room, &request->lock,
                                 STREAM_STALL_MS) &&
            request_unread(stream) == before) {
            request->gone = true; /* the reader is cut off */
            http_wake(request);
        }
    }
    return !request->gone;
}

/* Forget what is sent, when that is most of it. */
static void request_compact(struct http_stream *stream)
{
    size_t unread = request_unread(stream);

    if (stream->offset == 0 || stream->offset < unread)
        return;
    if (unread > 0)
        memmove(stream->queue.p, stream->queue.p + stream->offset, unread);
    stream->queue.size = unread;
    stream->offset = 0;
}

bool http_stream_push(struct http_request *request)
{
    struct http_stream *stream = &request->stream;
    struct kv_buf *block = &request->answer.body;

    if (request->method == HTTP_HEAD && !block->failed) {
        request->head_stream = true;
        kv_buf_reset(block, 2 * HTTP_BLOCK);
        return true;
    }
    /* Only this thread opens it. */
    const bool packed = !block->failed && http_gzip_block(request, !stream->open);
    kv_lock_take(&request->lock);
    bool good = packed && request_room(request) && !block->failed;
    if (good) {
        request_compact(stream);
        kv_buf_add(&stream->queue, block->p, block->size);
        good = !stream->queue.failed;
        stream->open = true;
    }
    if (stream->open) {
        request->work_done = true;
        http_wake(request);
    }
    kv_lock_drop(&request->lock);
    kv_buf_reset(block, 2 * HTTP_BLOCK);
    return good;
}

size_t http_stream_unread(const struct http_request *request)
{
    return request_unread(&request->stream);
}

void http_stream_put(struct http_request *request, const void *p, size_t size,
                     bool end)
{
    struct http_stream *stream = &request->stream;

    kv_lock_take(&request->lock);
    if (request_unread(stream) == 0) {
        kv_buf_reset(&stream->queue, HTTP_BLOCK);
        stream->offset = 0;
    }
    if (p == NULL || request_unread(stream) + size > HTTP_STREAM_MAX) {
        request_cut(request);
    } else if (!request->gone) {
        request_compact(stream);
        kv_buf_add(&stream->queue, p, size);
        request->gone = stream->queue.failed;
        stream->ended = stream->ended || end;
    }
    http_wake(request);
    kv_lock_drop(&request->lock);
}

bool http_stream_is_open(struct http_request *request)
{
    kv_lock_take(&request->lock);
    bool open = request->stream.open;
    kv_lock_drop(&request->lock);
    return open;
}

int64_t http_stream_read(struct http_request *request, char *out, size_t size)
{
    struct http_stream *stream = &request->stream;
    int64_t got = HTTP_STREAM_CUT;

    kv_lock_take(&request->lock);
    size_t unread = request_unread(stream);
    if (request->gone || (unread == 0 && stream->ended && stream->cut)) {
        got = HTTP_STREAM_CUT;
    } else if (unread > 0) {
        size_t n = unread < size ? unread : size;
        memcpy(out, stream->queue.p + stream->offset, n);
        stream->offset += n;
        got = (int64_t)n;
        if (request->drained != NULL && unread - n < HTTP_BLOCK)
            request->drained(request);
        request->sent_bytes += n;
        kv_cond_wake_one(&stream->room);
        http_watch_deadline(request->conn, STREAM_STALL_MS + 5000);
    } else if (stream->ended) {
        got = HTTP_STREAM_END;
    } else if (http_suspend(request, true)) {
        http_watch_deadline(request->conn, 0);
        got = HTTP_STREAM_WAIT;
    }
    kv_lock_drop(&request->lock);
    return got;
}
