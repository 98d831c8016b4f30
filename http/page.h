/* page.h - results of statements in pages: `next` of a result that was cut, and
 * the statement that goes on behind it.
 *
 *   struct http_page page;
 *   http_page_init(&page, text)       can its result have pages?
 *   http_page_resume(&page, cursor)   the text that begins behind the cursor
 *   http_page_bind(&page, statement)  where its order stands in the result
 *   http_page_skip(&page, statement)  a row that the page before has shown
 *   http_page_note(&page, statement)  a row that is shown
 *   http_page_cursor(&page, out)      behind the last of them
 *   http_page_fini(&page)
 *
 * Thread: the worker that has the request. */
#ifndef KVSQL_HTTP_PAGE_H
#define KVSQL_HTTP_PAGE_H

#include "kvsql/base/buf.h"
#include "vtab/session.h"

#define HTTP_PAGE_TERMS 2 /* key, and what is unique in it */

struct http_page {
    kvsql_slice text; /* of the statement, without what follows it */
    unsigned terms;   /* of its order; 0: it has no pages */
    kvsql_slice names[HTTP_PAGE_TERMS];
    int columns[HTTP_PAGE_TERMS];
    uint64_t ties;    /* rows shown with the last values */
    uint64_t skip;    /* ... by the page before */
    struct kv_buf last[2], wrapped; /* values of the last row; of this one */
};

KV_INTERNAL void http_page_init(struct http_page *page, kvsql_slice text);
KV_INTERNAL void http_page_fini(struct http_page *page);
/* False: the cursor is none of this statement. */
KV_INTERNAL bool http_page_resume(struct http_page *page, kvsql_slice cursor);
KV_INTERNAL void http_page_bind(struct http_page *page,
                                const struct vt_statement *statement);
KV_INTERNAL bool http_page_skip(struct http_page *page,
                                const struct vt_statement *statement);
KV_INTERNAL void http_page_note(struct http_page *page,
                                const struct vt_statement *statement);
/* False: there is none. */
KV_INTERNAL bool http_page_cursor(const struct http_page *page,
                                  struct kv_buf *out);

#endif
