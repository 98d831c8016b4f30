/* intake.c - bodies that go to a worker as they come: see intake.h.
 *
 * Thread: as said at each function. */
#include "http/intake.h"

#include <microhttpd.h>
#include <sys/socket.h>

#include "kvsql/base/os.h"

#define INTAKE_FRESH_MAX 262144 /* bytes that wait for a worker */
#define INTAKE_BYTES_PER_MS 32  /* that a body has more time for (L3) */

bool http_intake_open(struct http_request *request,
                      void (*use)(struct http_request *, struct kv_buf *, bool),
                      void (*free)(void *), void *state)
{
    struct http_intake *intake = http_alloc(request, sizeof *intake);

    if (intake == NULL || !http_headers_own(request)) {
        http_fail(request, KVSQL_NOMEM, "no memory for the request", NULL);
        return false;
    }
    *intake = (struct http_intake){.use = use, .free = free, .state = state};
    kv_buf_init(&intake->piece, KV_MEM_CLIENT, SIZE_MAX / 2);
    kv_buf_init(&intake->fresh, KV_MEM_CLIENT, SIZE_MAX / 2);
    request->intake = intake;
    return true;
}

void http_intake_free(struct http_request *request)
{
    struct http_intake *intake = request->intake;

    if (intake == NULL)
        return;
    kv_buf_fini(&intake->piece);
    kv_buf_fini(&intake->fresh);
    intake->free(intake->state);
    request->intake = NULL;
}

/* The lock is held. There is something for a worker, if none is at it. */
static void intake_give(struct http_request *request)
{
    struct http_intake *intake = request->intake;

    if (intake->working || intake->answered)
        return;
    intake->working = http_work_give(request); /* IN1 */
    if (intake->working)
        return;
    http_refuse(request, HTTP_P_BUSY, "%u requests wait for a worker",
                HTTP_QUEUE_MAX);
    intake->answered = true; /* IN2 */
}

/* ---- a refusal before the end ------------------------------------------------------ */

static bool intake_head(void *to, const char *name, const char *value)
{
    if (value != NULL && value[0] != 0)
        kv_buf_printf(to, "%s: %s\r\n", name, value);
    return true;
}

/* Worker, without a lock: has what a refusal tells of been released? Waits. */
static bool intake_released(const struct http_request *request)
{
    struct kvsql_error err;

    return request->answer.status >= 400 &&
           (!request->has_ticket ||
            kv_gate_wait(atomic_load(&request->server->db), request->ticket,
                         &err) == KVSQL_OK);
}

/* Worker, the lock is held, so the socket is this request's: tell the refusal now,
 * if the body goes on. */
static void intake_tell(struct http_request *request)
{
    struct http_intake *intake = request->intake;
    const struct http_answer *answer = &request->answer;
    const int fd = request->conn->fd;
    struct kv_buf text;

    if (intake->ended || intake->told_ns != 0 || request->gone)
        return;
    request->close = true;
    kv_buf_init(&text, KV_MEM_CLIENT, 2 * HTTP_BLOCK);
    kv_buf_printf(&text, "HTTP/1.1 %u %s\r\n", answer->status,
                  MHD_get_reason_phrase_for(answer->status));
    (void)http_answer_heads(request, intake_head, &text);
    kv_buf_printf(&text, "Content-Length: %zu\r\n\r\n", answer->body.size);
    kv_buf_add(&text, answer->body.p, answer->body.size);
    if (!text.failed && !answer->body.failed &&
        send(fd, text.p, text.size, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
        (void)shutdown(fd, SHUT_WR);
        intake->told_ns = kv_os_mono_ns();
        request->sent_status = answer->status;
        request->sent_bytes = answer->body.size;
    }
    kv_buf_fini(&text);
}

/* ---- event loop ------------------------------------------------------------------- */

/* Milliseconds that the rest of the body may take; 0: it is too late. The time
 * in which it had to wait for us is not its own. Behind a refusal it has no more
 * than a small one. */
static uint64_t intake_left_ms(const struct http_request *request,
                               uint64_t told_ns)
{
    const struct http_intake *intake = request->intake;
    const uint64_t since_ns = told_ns != 0
                                  ? told_ns
                                  : request->started_ns + intake->held_ns;
    const uint64_t took_ms = (kv_os_mono_ns() - since_ns) / 1000000;
    const uint64_t most_ms =
        request->server->body_ms +
        (told_ns != 0 ? 0 : intake->size / INTAKE_BYTES_PER_MS);

    return took_ms < most_ms ? most_ms - took_ms : 0;
}

static void intake_let_go(struct http_intake *intake)
{
    if (intake->held_at_ns == 0)
        return;
    intake->held_ns += kv_os_mono_ns() - intake->held_at_ns;
    intake->held_at_ns = 0;
}

enum http_intake_step http_intake_piece(struct http_request *request,
                                        const char *piece, size_t *size)
{
    struct http_intake *intake = request->intake;
    bool good = true, held = false;

    intake_let_go(intake);
    kv_lock_take(&request->lock);
    if (request->gone) {
        good = false;
    } else if (intake->working && !intake->answered &&
               intake->fresh.size >= INTAKE_FRESH_MAX) {
        held = good = http_suspend(request, true);
    } else {
        if (!intake->answered) {
            kv_buf_add(&intake->fresh, piece, *size);
            intake_give(request);
        }
        intake->size += *size;
        *size = 0;
    }
    const uint64_t told_ns = intake->told_ns;
    kv_lock_drop(&request->lock);
    if (!good)
        return HTTP_INTAKE_GONE;
    if (held)
        intake->held_at_ns = kv_os_mono_ns();
    const uint64_t left_ms = held ? 0 : intake_left_ms(request, told_ns);
    http_watch_deadline(request->conn, left_ms);
    return held || left_ms > 0 ? HTTP_INTAKE_WAIT : HTTP_INTAKE_GONE;
}

enum http_intake_step http_intake_end(struct http_request *request)
{
    struct http_intake *intake = request->intake;
    enum http_intake_step step = HTTP_INTAKE_GONE;

    kv_lock_take(&request->lock);
    intake->ended = true;
    if (!request->gone && intake->told_ns == 0) { /* IN3 */
        intake_give(request); /* the last job, if none runs to see the end */
        if (intake->working)
            step = http_suspend(request, true) ? HTTP_INTAKE_WAIT
                                               : HTTP_INTAKE_GONE;
        else
            step = HTTP_INTAKE_DONE;
    }
    if (step == HTTP_INTAKE_GONE)
        request->gone = true;
    kv_lock_drop(&request->lock);
    return step;
}

/* ---- worker ----------------------------------------------------------------------- */

/* Take what came; false: nobody wants it used. *end: the body ends with it. */
static bool intake_take(struct http_request *request, bool *end)
{
    struct http_intake *intake = request->intake;

    kv_lock_take(&request->lock);
    const bool wanted = !request->gone;
    const struct kv_buf piece = intake->piece;
    *end = intake->ended;
    intake->piece = intake->fresh;
    intake->fresh = piece;
    kv_buf_reset(&intake->fresh, 2 * INTAKE_FRESH_MAX);
    if (!*end)
        http_wake(request); /* there is room */
    kv_lock_drop(&request->lock);
    return wanted;
}

/* The job is done: the next one, or the answer, or more of the body. */
static void intake_done(struct http_request *request, bool wanted, bool end)
{
    struct http_intake *intake = request->intake;
    const bool released = !end && intake_released(request);

    kv_lock_take(&request->lock);
    intake->answered = request->answer.status != 0;
    intake->working = false;
    if (released)
        intake_tell(request);
    KV_ASSERT(!wanted || !end || intake->answered);
    if (wanted && (intake->fresh.size > 0 || intake->ended))
        intake_give(request);
    if (!intake->working && intake->ended)
        request->work_done = true;
    if (!intake->working)
        http_wake(request);
    kv_lock_drop(&request->lock);
}

void http_intake_work(struct http_request *request)
{
    bool end;
    const bool wanted = intake_take(request, &end);

    if (wanted)
        request->intake->use(request, &request->intake->piece, end);
    intake_done(request, wanted, end);
    http_request_unref(request); /* H3: the job's */
}
