/* intake.c - bodies that go to a worker as they come: see intake.h.
 *
 * Thread: as said at each function. */
#include "http/intake.h"

#include "kvsql/base/os.h"

#define INTAKE_FRESH_MAX 262144 /* bytes that wait for a worker */
#define INTAKE_BYTES_PER_MS 32  /* that a body has more time for (L3) */

bool http_intake_open(struct http_request *request,
                      void (*use)(struct http_request *, struct kv_buf *, bool),
                      void (*free)(void *), void *state)
{
    struct http_intake *intake = http_alloc(request, sizeof *intake);

    if (intake == NULL) {
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

/* ---- event loop ------------------------------------------------------------------- */

/* Milliseconds that the rest of the body may take; 0: it is too late. The time
 * in which it had to wait for us is not its own. */
static uint64_t intake_left_ms(const struct http_request *request)
{
    const struct http_intake *intake = request->intake;
    const uint64_t took_ms =
        (kv_os_mono_ns() - request->started_ns - intake->held_ns) / 1000000;
    const uint64_t most_ms =
        request->server->body_ms + intake->size / INTAKE_BYTES_PER_MS;

    return took_ms < most_ms ? most_ms - took_ms : 0;
}

static void intake_released(struct http_intake *intake)
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

    intake_released(intake);
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
    kv_lock_drop(&request->lock);
    if (!good)
        return HTTP_INTAKE_GONE;
    if (held)
        intake->held_at_ns = kv_os_mono_ns();
    const uint64_t left_ms = held ? 0 : intake_left_ms(request);
    http_watch_deadline(request->conn, left_ms);
    return held || left_ms > 0 ? HTTP_INTAKE_WAIT : HTTP_INTAKE_GONE;
}

enum http_intake_step http_intake_end(struct http_request *request)
{
    struct http_intake *intake = request->intake;
    enum http_intake_step step = HTTP_INTAKE_GONE;

    kv_lock_take(&request->lock);
    intake->ended = true;
    if (!request->gone) {
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

    kv_lock_take(&request->lock);
    intake->answered = request->answer.status != 0;
    intake->working = false;
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
