/* sse.c - event streams: see sse.h.
 *
 * Thread: as said there. */
#include "http/sse.h"

#include <sys/eventfd.h>

#include "http/json.h"
#include "kvsql/base/os.h"

#define SSE_BEAT_NS UINT64_C(15000000000)
#define SSE_KEEP ((size_t)4096) /* bytes of an inbox that is kept */

/* ---- the inbox -------------------------------------------------------------------- */

/* sse_lock is held. Have the watcher look at it. */
static void sse_post(struct http_sse *sse)
{
    struct http_server *server = sse->request->server;

    if (sse->posted)
        return;
    sse->posted = true;
    sse->post_next = server->sse_post;
    server->sse_post = sse;
    if (sse->post_next == NULL)
        (void)eventfd_write(server->post, 1);
}

/* sse_lock is held. */
static void sse_add(struct http_sse *sse, const void *p, size_t size,
                    bool failed)
{
    kv_buf_add(&sse->inbox, p, size);
    sse->over = sse->over || failed || sse->inbox.failed; /* SE1 */
    sse->put_ns = kv_os_mono_ns();
    sse_post(sse);
}

void http_sse_put(struct http_sse *sse, const struct kv_buf *text)
{
    struct http_server *server = sse->request->server;

    kv_lock_take(&server->sse_lock);
    sse_add(sse, text->p, text->size, text->failed);
    kv_lock_drop(&server->sse_lock);
}

void http_sse_end(struct http_sse *sse)
{
    struct http_server *server = sse->request->server;

    kv_lock_take(&server->sse_lock);
    sse->ended = true;
    sse_post(sse);
    kv_lock_drop(&server->sse_lock);
}

void http_sse_data(struct kv_buf *out, const struct kv_buf *text)
{
    const uint8_t *p = text->p, *const end = p + text->size;

    out->failed = out->failed || text->failed;
    while (p <= end && !out->failed) {
        const uint8_t *line = p;
        while (p < end && *p != '\r' && *p != '\n')
            p++;
        kv_buf_text(out, "data: ");
        http_json_utf8(out, line, (size_t)(p - line));
        kv_buf_byte(out, '\n');
        if (p + 1 < end && p[0] == '\r' && p[1] == '\n')
            p++;
        p++;
    }
}

/* ---- the watcher ------------------------------------------------------------------ */

void http_sse_carry(struct http_server *server)
{
    eventfd_t count;

    (void)eventfd_read(server->post, &count);
    for (;;) {
        kv_lock_take(&server->sse_lock);
        struct http_sse *sse = server->sse_post;
        if (sse == NULL)
            break;
        struct http_request *request = sse->request;
        struct kv_buf inbox = sse->inbox;
        const bool over = sse->over, ended = sse->ended;
        server->sse_post = sse->post_next;
        sse->posted = false;
        kv_buf_init(&sse->inbox, inbox.kind, inbox.size_max);
        http_request_ref(request);
        kv_lock_drop(&server->sse_lock);
        const void *p = inbox.p != NULL ? inbox.p : (const void *)"";
        http_stream_put(request, over ? NULL : p, inbox.size, ended); /* SE1 */
        kv_buf_fini(&inbox);
        http_request_unref(request);
    }
    kv_lock_drop(&server->sse_lock);
}

void http_sse_beat(struct http_server *server)
{
    static const char ping[] = ": ping\n\n";
    const uint64_t now = kv_os_mono_ns();

    kv_lock_take(&server->sse_lock);
    for (struct http_sse *sse = server->sse_first; sse != NULL;
         sse = sse->next)
        if (now - sse->put_ns >= SSE_BEAT_NS && now > sse->put_ns)
            sse_add(sse, ping, sizeof ping - 1, false);
    kv_lock_drop(&server->sse_lock);
}

void http_sse_stop(struct http_server *server)
{
    kv_lock_take(&server->sse_lock);
    server->sse_stopped = true;
    for (struct http_sse *sse = server->sse_first; sse != NULL;
         sse = sse->next) {
        sse->ended = true;
        sse_post(sse);
    }
    kv_lock_drop(&server->sse_lock);
}

/* ---- open and close ---------------------------------------------------------------- */

/* Into the list, if there is room. */
static bool sse_enter(struct http_sse *sse)
{
    struct http_server *server = sse->request->server;

    kv_lock_take(&server->sse_lock);
    const bool stopped = server->sse_stopped;
    const bool room = server->sse_count < server->sse_max;
    if (room && !stopped) {
        sse->next = server->sse_first;
        sse->link = &server->sse_first;
        if (sse->next != NULL)
            sse->next->link = &sse->next;
        server->sse_first = sse;
        server->sse_count++;
        atomic_fetch_add(&server->stats.streams, 1);
    }
    kv_lock_drop(&server->sse_lock);
    if (stopped)
        http_refuse(sse->request, HTTP_P_STOPPING, "no stream begins any more");
    else if (!room)
        http_refuse(sse->request, HTTP_P_BUSY,
                    "%u event streams are open; http-max-streams says how many "
                    "may be",
                    server->sse_max);
    return room && !stopped;
}

bool http_sse_open(struct http_request *request, struct http_sse *sse,
                   kvsql_slice text, void (*leave)(struct http_sse *sse))
{
    if (request->method == HTTP_HEAD) {
        http_answer(request, 200, HTTP_SSE_TYPE);
        request->head_stream = true;
        return false;
    }
    sse->request = request;
    sse->leave = leave;
    sse->put_ns = kv_os_mono_ns();
    kv_buf_init(&sse->inbox, KV_MEM_CLIENT, HTTP_STREAM_MAX);
    kv_buf_add(&sse->inbox, text.p, text.size);
    if (sse->inbox.failed) {
        http_fail(request, KVSQL_NOMEM, "no memory for a stream", NULL);
        return false;
    }
    if (!sse_enter(sse)) {
        kv_buf_fini(&sse->inbox);
        return false;
    }
    http_answer(request, 200, HTTP_SSE_TYPE);
    request->sse = sse;
    kv_lock_take(&request->lock);
    request->stream.open = true;
    request->stream.ended = false; /* a worker was asked before */
    kv_lock_drop(&request->lock);
    http_sse_put(sse, &(struct kv_buf){.p = NULL}); /* what it begins with */
    return true;
}

void http_sse_close(struct http_request *request)
{
    struct http_server *server = request->server;
    struct http_sse *sse = request->sse;

    if (sse == NULL)
        return;
    sse->leave(sse);
    kv_lock_take(&server->sse_lock);
    *sse->link = sse->next;
    if (sse->next != NULL)
        sse->next->link = sse->link;
    server->sse_count--;
    atomic_fetch_sub(&server->stats.streams, 1);
    for (struct http_sse **at = &server->sse_post; *at != NULL;
         at = &(*at)->post_next)
        if (*at == sse) {
            *at = sse->post_next;
            break;
        }
    kv_lock_drop(&server->sse_lock);
    kv_buf_fini(&sse->inbox);
    request->sse = NULL;
}
