/* views.c - /v1/views: making, listing, using and letting go of views (views.h).
 *
 * Always true:
 *   VW1  a view is pinned as long as its place is taken, and users or its lease
 *        keep it; `view` of a place with users does not change.
 *   VW2  nothing is pinned or unpinned under the lock: that may wait for the
 *        store's.
 *
 * An id is a number of ours, hidden a little: the high half counts, the low half
 * is of this start, so an id of another start is gone, not another's.
 *
 * Thread: any. */
#include "http/views.h"

#include <stdio.h>
#include <string.h>

#include "http/json.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

#define VIEWS_MOST 64        /* http-views unless said */
#define VIEWS_CAP 4096       /* and never more */
#define VIEWS_LEASE_MS 60000 /* http-view-lease unless said */

struct http_views {
    struct kv_lock lock; /* COMMAND */
    struct http_view *places;
    unsigned most;
    uint64_t lease_ms;
    uint32_t made; /* so far */
};

kvsql_rc http_views_start(struct http_server *server, unsigned most,
                          uint64_t lease_ms, struct kvsql_error *err)
{
    struct http_views *views = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *views);

    most = most == 0 ? VIEWS_MOST : most > VIEWS_CAP ? VIEWS_CAP : most;
    if (views != NULL)
        views->places =
            kv_mem_zalloc(KV_MEM_CLIENT, most * sizeof *views->places);
    if (views == NULL || views->places == NULL) {
        kv_mem_free(KV_MEM_CLIENT, views, sizeof *views);
        return kv_fail(err, KVSQL_NOMEM, "http: no memory to start");
    }
    kv_lock_init(&views->lock, KV_RANK_COMMAND);
    views->most = most;
    views->lease_ms = lease_ms > 0 ? lease_ms : VIEWS_LEASE_MS;
    server->views = views;
    return KVSQL_OK;
}

void http_views_stop(struct http_server *server)
{
    struct http_views *views = server->views;

    if (views == NULL)
        return;
    for (unsigned i = 0; i < views->most; i++) {
        KV_ASSERT(views->places[i].users == 0);
        kv_unpin(views->places[i].view);
    }
    kv_lock_fini(&views->lock);
    kv_mem_free(KV_MEM_CLIENT, views->places,
                views->most * sizeof *views->places);
    kv_mem_free(KV_MEM_CLIENT, views, sizeof *views);
    server->views = NULL;
}

/* ---- places --------------------------------------------------------------------- */

/* Is it to go: released, past its lease, or past the store's limits? Locked. */
static bool views_is_over(const struct http_view *place, uint64_t now)
{
    struct kvsql_error err;

    return place->released || now >= place->until_ns ||
           kv_view_ended(place->view, &err) != KVSQL_OK;
}

/* Take the view out of its place when nobody needs it any more: to be unpinned.
 * Locked. */
static struct kv_view *views_take(struct http_view *place, uint64_t now)
{
    struct kv_view *view = place->view;

    if (view == NULL || place->users > 0 || !views_is_over(place, now))
        return NULL;
    *place = (struct http_view){.view = NULL};
    return view;
}

/* The watcher does not wait for the store: what it cannot unpin now, it looks at
 * again with the next tick. */
void http_views_tick(struct http_server *server)
{
    struct http_views *views = server->views;

    for (unsigned i = 0; i < views->most; i++) {
        struct http_view *place = &views->places[i];
        kv_lock_take(&views->lock);
        const bool over = place->view != NULL && place->users == 0 &&
                          views_is_over(place, kv_os_mono_ns());
        if (over) {
            place->users = 1; /* this one */
            place->released = true;
        }
        kv_lock_drop(&views->lock);
        if (!over)
            continue;
        const bool gone = kv_unpin_try(place->view); /* VW1, VW2 */
        kv_lock_take(&views->lock);
        place->users = 0;
        if (gone)
            *place = (struct http_view){.view = NULL};
        kv_lock_drop(&views->lock);
    }
}

/* Locked. */
static struct http_view *views_find(struct http_views *views, kvsql_slice id,
                                    uint64_t now)
{
    for (unsigned i = 0; i < views->most; i++) {
        struct http_view *place = &views->places[i];
        if (place->view != NULL && http_is(id, place->id) &&
            !views_is_over(place, now))
            return place;
    }
    return NULL;
}

/* Could it be the id of a view, of whatever start? */
static bool views_is_id(kvsql_slice id)
{
    const uint8_t *p = id.p;

    for (size_t i = 0; i < id.size; i++)
        if (kv_num_hex(p[i]) < 0)
            return false;
    return id.size == HTTP_VIEW_ID_SIZE - 1;
}

/* ---- using ---------------------------------------------------------------------- */

/* May it be read still? */
static bool views_is_read(struct http_request *request)
{
    struct kv_view *view = request->view->view;
    struct kvsql_error err;

    if (kv_view_again(view, &err) == KVSQL_OK) {
        kv_unpin(view);
        return true;
    }
    http_view_leave(request);
    http_refuse(request, HTTP_P_VIEW_GONE, "%s", err.text);
    return false;
}

bool http_view_enter(struct http_request *request, kvsql_slice id)
{
    struct http_views *views = request->server->views;
    const uint64_t now = kv_os_mono_ns();

    KV_ASSERT(request->view == NULL);
    kv_lock_take(&views->lock);
    struct http_view *place = views_find(views, id, now);
    if (place != NULL) {
        place->users++;
        place->until_ns = now + views->lease_ms * 1000000;
    }
    kv_lock_drop(&views->lock);
    request->view = place;
    if (place != NULL)
        return views_is_read(request);
    if (views_is_id(id))
        http_refuse(request, HTTP_P_VIEW_GONE,
                    "this view is gone: its lease was over, or it was "
                    "released, or it held back too much");
    else
        http_refuse(request, HTTP_P_PARAMETER,
                    "a view has 16 hexadecimal digits");
    return false;
}

bool http_view_asked(struct http_request *request)
{
    const kvsql_slice id = http_param(request, "view");

    return id.p == NULL || http_view_enter(request, id);
}

void http_view_leave(struct http_request *request)
{
    struct http_views *views = request->server->views;
    struct http_view *place = request->view;

    if (place == NULL)
        return;
    request->view = NULL;
    const uint64_t now = kv_os_mono_ns();
    kv_lock_take(&views->lock);
    place->users--;
    if (!place->released)
        place->until_ns = now + views->lease_ms * 1000000;
    struct kv_view *view = views_take(place, now);
    kv_lock_drop(&views->lock);
    kv_unpin(view); /* VW2 */
}

/* ---- showing -------------------------------------------------------------------- */

/* Locked. */
static void views_show(struct kv_buf *out, const struct http_views *views,
                       const struct http_view *place, uint64_t now)
{
    const uint64_t left =
        place->until_ns > now ? (place->until_ns - now) / 1000000 : 0;

    kv_buf_printf(out,
                  "{\"id\":\"%s\",\"position\":%llu,\"created_at\":%lld,"
                  "\"lease_ms\":%llu,\"left_ms\":%llu,\"users\":%u}",
                  place->id, (unsigned long long)place->at.position,
                  (long long)place->made_at,
                  (unsigned long long)views->lease_ms,
                  (unsigned long long)left, place->users);
}

enum http_next http_do_views_list(struct http_request *request)
{
    struct http_views *views = request->server->views;
    struct kv_buf *out = &request->answer.body;
    const uint64_t now = kv_os_mono_ns();
    bool first = true;

    http_answer(request, 200, HTTP_TYPE_JSON);
    kv_buf_text(out, "{\"items\":[");
    kv_lock_take(&views->lock);
    for (unsigned i = 0; i < views->most; i++) {
        const struct http_view *place = &views->places[i];
        if (place->view == NULL || views_is_over(place, now))
            continue;
        if (!first)
            kv_buf_byte(out, ',');
        first = false;
        views_show(out, views, place, now);
    }
    kv_lock_drop(&views->lock);
    kv_buf_text(out, "]}");
    return HTTP_NEXT_ANSWER;
}

/* Of the view that the request uses. */
static void views_answer(struct http_request *request, unsigned status)
{
    struct http_views *views = request->server->views;

    http_answer(request, status, HTTP_TYPE_JSON);
    kv_lock_take(&views->lock);
    views_show(&request->answer.body, views, request->view, kv_os_mono_ns());
    kv_lock_drop(&views->lock);
    http_answer_header(request, "X-KVSQL-Position", "%llu",
                       (unsigned long long)request->view->at.position);
}

static void views_get(struct http_request *request, struct http_worker *worker)
{
    (void)worker;
    if (http_view_enter(request, request->segments[2]))
        views_answer(request, 200);
    http_view_leave(request);
}

enum http_next http_do_views_get(struct http_request *request)
{
    request->work = views_get; /* letting go of one may wait */
    return HTTP_NEXT_WORK;
}

/* ---- making, releasing ---------------------------------------------------------- */

/* A free place for a view that is pinned, used by the request; false: there is
 * none. */
static bool views_place(struct http_request *request, struct kv_view *view,
                        const struct kv_at *at)
{
    struct http_server *server = request->server;
    struct http_views *views = server->views;

    kv_lock_take(&views->lock);
    for (unsigned i = 0; i < views->most && request->view == NULL; i++) {
        struct http_view *place = &views->places[i];
        if (place->view != NULL)
            continue;
        *place = (struct http_view){.view = view, .at = *at, .users = 1};
        place->made_at = kv_at_wall(at);
        snprintf(place->id, sizeof place->id, "%08x%.8s", ++views->made,
                 server->start_id);
        place->until_ns = kv_os_mono_ns() + views->lease_ms * 1000000;
        request->view = place;
    }
    kv_lock_drop(&views->lock);
    return request->view != NULL;
}

static void views_make(struct http_request *request,
                       struct http_worker *worker)
{
    struct http_server *server = request->server;
    struct kvsql_error err;
    struct kv_view *view;
    struct kv_at at;

    (void)worker;
    http_views_tick(server);
    const kvsql_rc rc =
        kv_pin_at(atomic_load(&server->db), &view, &at, &err);
    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return;
    }
    kv_view_hold(view, "http");
    if (!views_place(request, view, &at)) {
        kv_unpin(view);
        http_refuse_limit(request, HTTP_P_VIEWS, server->views->most,
                          "%u views are held", server->views->most);
        return;
    }
    views_answer(request, 201);
    http_answer_header(request, "Location", "/v1/views/%s", request->view->id);
    http_view_leave(request);
}

enum http_next http_do_views_make(struct http_request *request)
{
    request->work = views_make;
    return HTTP_NEXT_WORK;
}

static void views_release(struct http_request *request,
                          struct http_worker *worker)
{
    struct http_views *views = request->server->views;

    (void)worker;
    if (!http_view_enter(request, request->segments[2]))
        return;
    kv_lock_take(&views->lock);
    request->view->released = true;
    kv_lock_drop(&views->lock);
    http_view_leave(request);
    http_answer(request, 204, NULL);
}

enum http_next http_do_views_delete(struct http_request *request)
{
    request->work = views_release;
    return HTTP_NEXT_WORK;
}
