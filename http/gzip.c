/* gzip.c - compressing with zlib, and the headers that tell of it (gzip.h).
 *
 * Level 1: our answers are text that repeats itself, for which the first level
 * has most of the gain at a quarter of the cost. zlib's memory, a quarter of a
 * MiB for each stream, is ours like all other.
 *
 * Thread: the one that has the request. */
#include "http/gzip.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define GZIP_LEVEL 1
#define GZIP_WINDOW (15 + 16) /* 32 KiB; + 16: with gzip's head and end */
#define GZIP_MEMORY 8
#define GZIP_STEP 16384 /* bytes of output at a time */
#define GZIP_HEAD 16    /* before each block of zlib: its size */

/* ---- asked? ------------------------------------------------------------------- */

/* Behind blanks and the bytes of `more`. */
static const char *gzip_skip(const char *p, const char *end, const char *more)
{
    while (p < end && (*p == ' ' || *p == '\t' ||
                       (*p != 0 && strchr(more, *p) != NULL)))
        p++;
    return p;
}

/* "q=0", "q=0.0": not wanted, also with blanks that do not belong there. `p`
 * stands behind the coding's name. */
static bool gzip_refused(const char *p, const char *end)
{
    p = gzip_skip(p, end, ";");
    if (p == end || (*p != 'q' && *p != 'Q'))
        return false;
    p = gzip_skip(p + 1, end, "");
    if (p == end || *p != '=')
        return false;
    p = gzip_skip(p + 1, end, "0.");
    return p == end || *p < '1' || *p > '9';
}

bool http_takes_gzip(const struct http_request *request)
{
    const kvsql_slice accept = request->headers[HTTP_H_ACCEPT_ENCODING];
    const char *p = accept.p, *end = p + accept.size;

    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma ? comma : end, *name;
        while (p < stop && (*p == ' ' || *p == '\t'))
            p++;
        for (name = p; p < stop && *p != ';' && *p != ' ' && *p != '\t'; p++)
            ;
        if (http_is_fold((kvsql_slice){name, (size_t)(p - name)}, "gzip"))
            return !gzip_refused(p, stop);
        p = stop + 1;
    }
    return false;
}

static bool gzip_has(const struct http_answer *answer, const char *name)
{
    for (unsigned i = 0; i < answer->header_count; i++)
        if (strcmp(answer->headers[i].name, name) == 0)
            return true;
    return false;
}

/* May an answer of this kind be compressed, whatever the client takes? A part
 * of a value is a part of its plain bytes, a file goes from its descriptor. */
static bool gzip_fits(const struct http_request *request)
{
    const struct http_answer *answer = &request->answer;

    return request->tier != HTTP_TIER_COMMAND && !answer->has_file &&
           answer->status != 206 && answer->status != 416 &&
           answer->type != NULL && !gzip_has(answer, "Content-Encoding");
}

bool http_gzip_wanted(const struct http_request *request)
{
    return request->headers[HTTP_H_ACCEPT_ENCODING].p != NULL &&
           request->answer.body.size >= HTTP_GZIP_MIN &&
           !request->answer.body.failed && gzip_fits(request) &&
           http_takes_gzip(request);
}

/* ---- zlib ----------------------------------------------------------------------- */

static void *gzip_alloc(void *arg, unsigned count, unsigned size)
{
    const size_t whole = (size_t)count * size + GZIP_HEAD;
    uint8_t *const p = kv_mem_alloc(KV_MEM_CLIENT, whole);

    (void)arg;
    if (p == NULL)
        return NULL;
    memcpy(p, &whole, sizeof whole);
    return p + GZIP_HEAD;
}

static void gzip_free(void *arg, void *block)
{
    uint8_t *const p = (uint8_t *)block - GZIP_HEAD;
    size_t whole;

    (void)arg;
    memcpy(&whole, p, sizeof whole);
    kv_mem_free(KV_MEM_CLIENT, p, whole);
}

static bool gzip_begin(z_stream *stream)
{
    *stream = (z_stream){.zalloc = gzip_alloc, .zfree = gzip_free};
    return deflateInit2(stream, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW,
                        GZIP_MEMORY, Z_DEFAULT_STRATEGY) == Z_OK;
}

/* Append `size` bytes, compressed, to `out`; false: it has no room. */
static bool gzip_put(z_stream *stream, const uint8_t *p, size_t size, int flush,
                     struct kv_buf *out)
{
    int code;

    stream->next_in = (uint8_t *)(uintptr_t)p; /* zlib does not write there */
    stream->avail_in = (unsigned)size;
    do {
        if (!kv_buf_reserve(out, GZIP_STEP))
            return false;
        stream->next_out = out->p + out->size;
        stream->avail_out = GZIP_STEP;
        code = deflate(stream, flush);
        KV_ASSERT(code != Z_STREAM_ERROR);
        out->size += GZIP_STEP - stream->avail_out;
    } while (stream->avail_out == 0);
    return true;
}

/* ---- headers ---------------------------------------------------------------------- */

/* "v7-x" becomes "v7-x-gzip". */
static void gzip_tag(struct http_request *request)
{
    struct http_answer *answer = &request->answer;

    for (unsigned i = 0; i < answer->header_count; i++) {
        char *const value = answer->headers[i].value;
        const size_t size = strlen(value);
        if (strcmp(answer->headers[i].name, "ETag") == 0 && size > 0 &&
            size + sizeof HTTP_GZIP_TAG <= sizeof answer->headers[i].value)
            snprintf(value + size - 1, sizeof HTTP_GZIP_TAG + 1, "%s\"",
                     HTTP_GZIP_TAG);
    }
}

static void gzip_tell(struct http_request *request)
{
    http_answer_header(request, "Content-Encoding", "gzip");
    gzip_tag(request);
}

void http_gzip_heads(struct http_request *request, bool open)
{
    static const char tag[] = HTTP_GZIP_TAG "\"";
    const kvsql_slice none = request->headers[HTTP_H_IF_NONE_MATCH];
    const struct http_answer *answer = &request->answer;
    const bool same = answer->status == 304;

    /* HEAD of what GET would stream: the words of that. */
    if (request->head_stream && gzip_fits(request) && http_takes_gzip(request))
        gzip_tell(request);
    open = open || request->head_stream;
    if (request->tier == HTTP_TIER_COMMAND || gzip_has(answer, "Vary") ||
        !(open || same || answer->body.size >= HTTP_GZIP_MIN ||
          gzip_has(answer, "Content-Encoding")))
        return;
    if (!gzip_fits(request) && !same && !gzip_has(answer, "Content-Encoding"))
        return;
    if (same && none.p != NULL &&
        memmem(none.p, none.size, tag, sizeof tag - 1) != NULL)
        gzip_tag(request); /* what the client has is that one */
    http_answer_header(request, "Vary", "Accept-Encoding");
}

/* ---- whole answers ------------------------------------------------------------------ */

void http_gzip_answer(struct http_request *request)
{
    struct kv_buf *const body = &request->answer.body;
    struct kv_buf packed;
    z_stream stream;

    if (!http_gzip_wanted(request) || body->size > UINT32_MAX ||
        !gzip_begin(&stream))
        return;
    /* One byte fewer at least, else it is not worth while. */
    kv_buf_init(&packed, KV_MEM_CLIENT, body->size + GZIP_STEP - 1);
    const bool good = gzip_put(&stream, body->p, body->size, Z_FINISH,
                               &packed) &&
                      packed.size < body->size;
    (void)deflateEnd(&stream);
    if (!good) {
        kv_buf_fini(&packed);
        return;
    }
    packed.size_max = body->size_max; /* the next request has it, too */
    kv_buf_fini(body);
    *body = packed;
    gzip_tell(request);
}

/* ---- streams ------------------------------------------------------------------------ */

static bool gzip_open(struct http_request *request)
{
    z_stream *const stream = http_alloc(request, sizeof *stream);

    if (stream == NULL || !gzip_begin(stream))
        return false;
    request->gzip = stream;
    gzip_tell(request);
    return true;
}

bool http_gzip_block(struct http_request *request, bool first)
{
    struct kv_buf *const block = &request->answer.body;
    struct kv_buf packed;

    if (first && gzip_fits(request) && http_takes_gzip(request) &&
        !gzip_open(request))
        return false;
    if (request->gzip == NULL)
        return true;
    kv_buf_init(&packed, KV_MEM_CLIENT, block->size_max);
    if (!gzip_put(request->gzip, block->p, block->size, Z_SYNC_FLUSH,
                  &packed)) {
        kv_buf_fini(&packed);
        return false;
    }
    kv_buf_fini(block);
    *block = packed;
    return true;
}

void http_gzip_end(struct http_request *request)
{
    struct http_stream *const stream = &request->stream;

    if (request->gzip == NULL || !stream->open || stream->cut)
        return;
    if (!gzip_put(request->gzip, NULL, 0, Z_FINISH, &stream->queue))
        stream->cut = true;
}

void http_gzip_free(struct http_request *request)
{
    if (request->gzip != NULL)
        (void)deflateEnd(request->gzip);
    request->gzip = NULL;
}
