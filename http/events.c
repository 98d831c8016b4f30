/* events.c - /v1/events: the wal as an event stream, resumable.
 *
 *   event: hset
 *   data: {"position":7,"n":0,"op":"hset","type":"hash","key":"h","field":"f",
 *          "value":"v"}
 *   id: 7
 *
 * What an op is and what field and value hold is that of the table changes
 * (docs/SQL.md). The id stands with the last event of its batch, so that who
 * goes on behind it (Last-Event-ID) has all of a batch or sees it whole once
 * more. A value of more than EVENTS_VALUE bytes is left out, with its size.
 *
 * A worker opens the reading of the wal, then the event loop the stream.
 * A stream reads the wal by itself, in jobs of EVENTS_SLICE bytes for a worker.
 * Between two it rests:
 *   IDLE    it has told all that is released; the server's one waiter at the
 *           gate (struct http_tail) gives all of them a job when more is
 *   HUNGRY  its client has not yet read what it was told; the event loop gives
 *           it a job when it has
 *
 * Always true:
 *   EV1  `state` is BUSY while a job is queued or runs; only that touches the
 *        reader of the wal.
 *   EV2  While one is IDLE, the waiter is at the gate for a position that is not
 *        behind the next one it wants, or who was called from there gives it a
 *        job. So one that comes to rest beside a waiter for later has a job.
 *
 * Thread: as said at each function. */
#include <stdio.h>
#include <string.h>

#include "http/call.h"
#include "http/json.h"
#include "http/sse.h"
#include "kvsql/admin.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define HTTP_RANK_TAIL HTTP_RANK_WATCH
#define EVENTS_SLICE ((size_t)256 << 10)
#define EVENTS_VALUE 65536u
#define EVENTS_OPS 100000 /* of a slice, told of or not */

struct events;

/* Outlives its server while it waits at the gate. */
struct http_tail {
    struct kv_lock lock;
    atomic_uint refs;
    struct http_server *server; /* NULL: it has gone; guarded by lock */
    struct events *first;       /* all; guarded by lock */
    bool asked;                 /* EV2; guarded by lock */
    uint64_t wanted;            /* the position that is; guarded by lock */
    struct kv_waiter waiter;
};

enum events_state { EVENTS_BUSY, EVENTS_IDLE, EVENTS_HUNGRY };

struct events {
    struct http_sse sse;         /* the first member */
    struct events *next, **link; /* tail->first; guarded by its lock */
    enum events_state state;     /* guarded by its lock; EV1 */
    kvsql_slice prefix, types;   /* in the request */
    /* The job's: EV1. */
    struct kv_changes *changes;
    uint64_t position;  /* up to here all is told, or is to be read now */
    bool more;          /* it is not read to there yet */
    struct kv_buf held; /* the last event, whose batch may go on */
    uint64_t held_position;
};

/* ---- the tail ---------------------------------------------------------------------- */

kvsql_rc http_tail_new(struct http_server *server, struct kvsql_error *err)
{
    struct http_tail *tail = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *tail);

    if (tail == NULL)
        return kv_fail(err, KVSQL_NOMEM, "http: no memory to start");
    kv_lock_init(&tail->lock, HTTP_RANK_TAIL);
    atomic_init(&tail->refs, 1);
    tail->server = server;
    server->tail = tail;
    return KVSQL_OK;
}

static void tail_unref(struct http_tail *tail)
{
    if (atomic_fetch_sub(&tail->refs, 1) != 1)
        return;
    kv_lock_fini(&tail->lock);
    kv_mem_free(KV_MEM_CLIENT, tail, sizeof *tail);
}

void http_tail_leave(struct http_server *server)
{
    struct http_tail *tail = server->tail;

    if (tail == NULL)
        return;
    kv_lock_take(&tail->lock);
    tail->server = NULL;
    kv_lock_drop(&tail->lock);
    server->tail = NULL;
    tail_unref(tail);
}

/* The lock is held. A worker has it next; without room for the job the stream
 * ends, and its client comes again. */
static void events_give(struct events *events)
{
    events->state = EVENTS_BUSY; /* EV1 */
    if (!http_work_give(events->sse.request))
        http_sse_end(&events->sse);
}

/* The log thread, or who found it open: what is idle goes on. */
static void tail_done(struct kv_waiter *waiter, kvsql_rc rc)
{
    struct http_tail *tail = waiter->arg;

    kv_lock_take(&tail->lock);
    tail->asked = false;
    for (struct events *events = tail->first;
         events != NULL && tail->server != NULL && rc != KVSQL_CLOSED;
         events = events->next)
        if (events->state == EVENTS_IDLE) /* undone: it asks anew */
            events_give(events);
    kv_lock_drop(&tail->lock);
    tail_unref(tail);
}

/* Worker: the stream is at the end of what was released when its job began. */
static void tail_wait(struct http_tail *tail, struct events *events, kvsql *db,
                      uint64_t epoch)
{
    const uint64_t wanted = events->position + 1;

    kv_lock_take(&tail->lock);
    const bool ask = !tail->asked;
    events->state = EVENTS_IDLE;
    if (ask) {
        tail->asked = true;
        tail->wanted = wanted;
        tail->waiter = (struct kv_waiter){
            .ticket = {.position = wanted, .epoch = epoch},
            .done = tail_done,
            .arg = tail};
    } else if (tail->wanted > wanted) {
        events_give(events); /* more was released meanwhile: EV2 */
    }
    kv_lock_drop(&tail->lock);
    if (!ask)
        return;
    atomic_fetch_add(&tail->refs, 1);
    if (kv_gate_watch(db, &tail->waiter))
        tail_done(&tail->waiter, KVSQL_OK);
}

/* ---- events ------------------------------------------------------------------------- */

/* Is the name one of "a,b,c"? */
static bool events_named(kvsql_slice types, const char *name)
{
    const size_t size = strlen(name);
    const char *p = types.p;

    if (p == NULL)
        return true;
    for (const char *const end = p + types.size; p <= end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma != NULL ? comma : end;
        if ((size_t)(stop - p) == size && memcmp(p, name, size) == 0)
            return true;
        p = stop + 1;
    }
    return false;
}

/* A change of all keys is for everybody. */
static bool events_wanted(const struct events *events,
                          const struct kv_change *change)
{
    const kvsql_slice prefix = events->prefix, key = change->key;

    if (!events_named(events->types, change->op))
        return false;
    if (!change->has_key)
        return prefix.size == 0 || strcmp(change->op, "flush") == 0;
    return key.size >= prefix.size &&
           (prefix.size == 0 || memcmp(key.p, prefix.p, prefix.size) == 0);
}

static void events_value(struct kv_buf *out, const char *name,
                         const struct kv_change_value *value)
{
    const kvsql_slice bytes = value->bytes;

    if (value->kind == KV_CHANGE_NULL)
        return;
    if (value->kind == KV_CHANGE_BYTES && bytes.size > EVENTS_VALUE) {
        kv_buf_printf(out, ",\"%s_size\":%zu", name, bytes.size);
        return;
    }
    kv_buf_printf(out, ",\"%s\":", name);
    if (value->kind == KV_CHANGE_INT)
        http_json_int(out, value->integer);
    else if (value->kind == KV_CHANGE_REAL)
        http_json_double(out, value->real, false);
    else
        http_json_bytes(out, bytes.p, bytes.size,
                        kv_class_of(bytes.p, bytes.size) == KV_BLOB);
}

static void events_put(struct kv_buf *out, const struct kv_change *change)
{
    const struct kv_change_value key = {.kind = KV_CHANGE_BYTES,
                                        .bytes = change->key};

    kv_buf_printf(out,
                  "event: %s\ndata: {\"position\":%llu,\"n\":%llu,"
                  "\"op\":\"%s\"",
                  change->op, (unsigned long long)change->position,
                  (unsigned long long)change->n, change->op);
    if (change->type != KV_NONE)
        kv_buf_printf(out, ",\"type\":\"%s\"", kv_type_name(change->type));
    if (change->has_key)
        events_value(out, "key", &key);
    events_value(out, "field", &change->field);
    events_value(out, "value", &change->value);
    if (change->expires_at != 0) {
        kv_buf_text(out, ",\"expires_at\":");
        http_json_int(out, change->expires_at);
    }
    kv_buf_text(out, "}\n");
}

/* The event that was held goes; with its id, if it is the last of its batch. */
static void events_release(struct events *events, bool last,
                           struct kv_buf *out)
{
    if (events->held.size == 0 && !events->held.failed)
        return;
    out->failed = out->failed || events->held.failed;
    kv_buf_add(out, events->held.p, events->held.size);
    if (last)
        kv_buf_printf(out, "id: %llu\n",
                      (unsigned long long)events->held_position);
    kv_buf_byte(out, '\n');
    kv_buf_reset(&events->held, EVENTS_VALUE);
}

/* ---- jobs (a worker) ---------------------------------------------------------------- */

/* Read to the end of what may be, or a slice of it: events->more. */
static kvsql_rc events_read(struct events *events, struct kv_buf *out,
                            struct kvsql_error *err)
{
    struct kv_change change;
    bool found = true;

    for (unsigned i = 0; i < EVENTS_OPS && out->size < EVENTS_SLICE; i++) {
        const kvsql_rc rc =
            kv_changes_next(events->changes, &change, &found, err);
        events->more = rc == KVSQL_OK && found;
        if (!events->more) {
            events_release(events, true, out); /* a batch ends there */
            return rc;
        }
        if (change.position != events->held_position)
            events_release(events, true, out);
        if (!events_wanted(events, &change))
            continue;
        events_release(events, false, out);
        events->held_position = change.position;
        events_put(&events->held, &change);
    }
    return KVSQL_OK;
}

/* The stream cannot go on: its last event says why. */
static void events_broken(struct http_request *request, kvsql_rc rc,
                          const char *text)
{
    struct kv_buf out;
    char id[65];

    kv_buf_init(&out, KV_MEM_CLIENT, HTTP_BLOCK);
    kv_buf_text(&out, "event: error\ndata: ");
    http_problem_body(&out, rc, text, http_request_id(request, id), NULL);
    kv_buf_text(&out, "\n\n");
    kv_lock_take(&request->lock);
    request->stream.cut = true;
    kv_lock_drop(&request->lock);
    http_stream_put(request, out.p, out.size, true);
    kv_buf_fini(&out);
}

/* More is there: now, or when its client has read. */
static void events_more(struct http_request *request, struct events *events)
{
    struct http_tail *tail = request->server->tail;

    kv_lock_take(&request->lock);
    kv_lock_take(&tail->lock);
    if (request->gone)
        events->state = EVENTS_BUSY; /* for ever */
    else if (http_stream_unread(request) < HTTP_BLOCK)
        events_give(events);
    else
        events->state = EVENTS_HUNGRY;
    kv_lock_drop(&tail->lock);
    kv_lock_drop(&request->lock);
}

/* Event loop, the request's lock is held. */
static void events_drained(struct http_request *request)
{
    struct http_tail *tail = request->server->tail;
    struct events *events = request->state;

    kv_lock_take(&tail->lock);
    if (events->state == EVENTS_HUNGRY)
        events_give(events);
    kv_lock_drop(&tail->lock);
}

static void events_job(struct http_request *request, struct http_worker *worker)
{
    kvsql *db = atomic_load(&request->server->db);
    struct events *events = request->state;
    struct kvsql_error err;
    struct kv_info info;
    struct kv_buf out;

    (void)worker;
    kv_info_get(db, &info);
    if (!events->more && info.released > events->position) {
        kv_changes_more(events->changes, info.released);
        events->position = info.released;
    }
    kv_buf_init(&out, KV_MEM_CLIENT, HTTP_STREAM_MAX);
    const kvsql_rc rc = events_read(events, &out, &err);
    if (out.size > 0 || out.failed)
        http_stream_put(request, out.failed ? NULL : out.p, out.size, false);
    kv_buf_fini(&out);
    if (rc != KVSQL_OK)
        events_broken(request, rc, err.text);
    else if (events->more)
        events_more(request, events);
    else
        tail_wait(request->server->tail, events, db, info.epoch);
}

/* ---- the request (event loop) --------------------------------------------------------- */

static void events_leave(struct http_sse *sse)
{
    struct http_tail *tail = sse->request->server->tail;
    struct events *events = (struct events *)sse;

    kv_lock_take(&tail->lock);
    *events->link = events->next;
    if (events->next != NULL)
        events->next->link = events->link;
    kv_lock_drop(&tail->lock);
}

static void events_free(void *state)
{
    struct events *events = state;

    kv_changes_close(events->changes);
    kv_buf_fini(&events->held);
}

static void events_join(struct http_request *request, struct events *events)
{
    struct http_tail *tail = request->server->tail;

    kv_lock_take(&tail->lock);
    events->next = tail->first;
    events->link = &tail->first;
    if (events->next != NULL)
        events->next->link = &events->next;
    tail->first = events;
    events_give(events);
    kv_lock_drop(&tail->lock);
}

/* From which position on? False: refused. */
static bool events_after(struct http_request *request, uint64_t released,
                         uint64_t *after)
{
    kvsql_slice text = request->headers[HTTP_H_LAST_EVENT];
    char extra[64];

    if (text.size == 0)
        text = http_param(request, "after");
    *after = released;
    if (text.p == NULL)
        return true;
    if (!kv_num_uint(text.p, text.size, after)) {
        http_refuse(request, HTTP_P_CURSOR, "a position is a whole number");
        return false;
    }
    const uint64_t oldest =
        kv_changes_oldest(atomic_load(&request->server->db));
    if (*after == released || (*after < released && *after + 1 >= oldest))
        return true;
    (void)snprintf(extra, sizeof extra,
                   ",\"position\":%llu,\"oldest\":%llu",
                   (unsigned long long)released,
                   (unsigned long long)(oldest == UINT64_MAX ? 0 : oldest));
    http_refuse_with(request, HTTP_P_GONE,
                     *after > released ? "this store has not come to this "
                                         "position"
                                       : "the wal is not kept so far back",
                     extra);
    return false;
}

/* The reader of the wal, or a refusal. A worker's: to ask which files there are
 * is to wait for who changes that, and so for a disk. */
static void events_open(struct http_request *request,
                        struct http_worker *worker)
{
    kvsql *db = atomic_load(&request->server->db);
    struct events *events = request->state;
    struct kvsql_error err;
    struct kv_info info;

    (void)worker;
    kv_info_get(db, &info);
    if (!events_after(request, info.released, &events->position))
        return;
    const kvsql_rc rc = kv_changes_open(db, events->position + 1,
                                        events->position, &events->changes,
                                        &err);
    if (rc == KVSQL_RANGE)
        http_refuse(request, HTTP_P_GONE, "%s", err.text);
    else if (rc != KVSQL_OK)
        http_fail(request, rc, err.text, NULL);
}

/* It is open: the stream begins. */
static enum http_next events_begin(struct http_request *request)
{
    static const char first[] = "retry: 2000\n\n";
    struct events *events = request->state;

    if (!http_sse_open(request, &events->sse, HTTP_WORD(""), events_leave))
        return HTTP_NEXT_ANSWER;
    http_stream_put(request, first, sizeof first - 1, false);
    request->listens = true;
    request->work = events_job;
    request->drained = events_drained;
    events_join(request, events);
    return HTTP_NEXT_ANSWER;
}

enum http_next http_do_events(struct http_request *request)
{
    struct events *events = http_alloc(request, sizeof *events);

    if (events == NULL) {
        http_fail(request, KVSQL_NOMEM, "no memory for a stream", NULL);
        return HTTP_NEXT_ANSWER;
    }
    *events = (struct events){.prefix = http_param(request, "prefix"),
                              .types = http_param(request, "types")};
    kv_buf_init(&events->held, KV_MEM_CLIENT, HTTP_STREAM_MAX);
    request->state = events;
    request->state_free = events_free;
    request->work = events_open;
    request->then = events_begin;
    return HTTP_NEXT_WORK;
}
