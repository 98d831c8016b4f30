/* views.h - /v1/views: states of the store that clients hold, so that what they
 * read page by page is of one moment (rest.md 4.4).
 *
 * A view is a pin in O(1). It has a lease, which each use renews; one that nobody
 * uses for so long is let go, and so is one past the store's own limits
 * (view-max-age, view-max-bytes). A view that is gone is 410.
 *
 * Thread: any; the views' lock, which is held alone. */
#ifndef KVSQL_HTTP_VIEWS_H
#define KVSQL_HTTP_VIEWS_H

#include "http/request.h"

#define HTTP_VIEW_ID_SIZE 17 /* 16 hexadecimal digits and a NUL */

struct http_view {
    char id[HTTP_VIEW_ID_SIZE];
    struct kv_view *view; /* NULL: this place is free */
    struct kv_at at;      /* where it reads: one clock for all of it */
    int64_t made_at;      /* wall ms */
    /* Guarded by the lock. */
    uint64_t until_ns; /* its lease */
    unsigned users;    /* requests that read it */
    bool released;     /* goes with its last user */
};

KV_INTERNAL kvsql_rc http_views_start(struct http_server *server, unsigned most,
                                      uint64_t lease_ms,
                                      struct kvsql_error *err) KV_MUST_USE;
/* No request is left. */
KV_INTERNAL void http_views_stop(struct http_server *server);
/* Let go of those whose lease is over. Now and then. */
KV_INTERNAL void http_views_tick(struct http_server *server);
/* The request reads this view, until it leaves: request->view. False: refused,
 * it is gone. */
KV_INTERNAL bool http_view_enter(struct http_request *request, kvsql_slice id);
/* The same by ?view=; true when it has none. */
KV_INTERNAL bool http_view_asked(struct http_request *request);
/* Fine when it reads none. */
KV_INTERNAL void http_view_leave(struct http_request *request);

#endif
