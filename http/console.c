/* console.c - the console: its page, its files, and the ways that lead there.
 *
 * The page is /_/, asked for anew each time; its files stand below a name made
 * of their bytes, and may be kept for good. The page holds no data and no
 * secret, so it is open to all: what it shows it asks for under /v1, with the
 * token that its user gives it.
 *
 * Always true:
 *   C1  nothing here takes a byte of what is stored, and no file has a path:
 *       a name is one of the table, or there is no such thing.
 *
 * Thread: the event loop's. */
#include "http/console.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "http/gzip.h"
#include "http/prefer.h"

#define CONSOLE_PAGE_CACHE "no-cache"
#define CONSOLE_FILE_CACHE "public, max-age=31536000, immutable"

/* No script, style or picture but ours, no frame around us, and no text that
 * becomes a page by a slip of our own. */
#define CONSOLE_POLICY                                                        \
    "default-src 'none'; script-src 'self'; style-src 'self'; "               \
    "img-src 'self'; connect-src 'self'; base-uri 'none'; "                   \
    "form-action 'none'; frame-ancestors 'none'"
static_assert(sizeof CONSOLE_POLICY <= sizeof((struct http_header *)0)->value,
              "the policy fits a header");

/* ---- files ---------------------------------------------------------------------- */

static const struct http_console_file *console_find(kvsql_slice name)
{
    const struct http_console_file *file = http_console_files;

    while (file->name != NULL && !http_is(name, file->name))
        file++;
    return file->name != NULL ? file : NULL;
}

static void console_send(struct http_request *request,
                         const struct http_console_file *file,
                         const char *cache)
{
    bool gzip = http_takes_gzip(request);
    char etag[HTTP_ETAG_SIZE];

    snprintf(etag, sizeof etag, "\"%s%s\"", file->hash, gzip ? "-gzip" : "");
    bool same = http_etag_in(request->headers[HTTP_H_IF_NONE_MATCH], etag,
                             false);
    http_answer(request, same ? 304 : 200, same ? NULL : file->type);
    request->answer.cache = cache;
    http_answer_header(request, "ETag", "%s", etag);
    http_answer_header(request, "Vary", "Accept-Encoding");
    http_answer_header(request, "Content-Security-Policy", CONSOLE_POLICY);
    http_answer_header(request, "Referrer-Policy", "no-referrer");
    http_answer_header(request, "Cross-Origin-Opener-Policy", "same-origin");
    http_answer_header(request, "Cross-Origin-Resource-Policy", "same-origin");
    if (same)
        return;
    if (gzip)
        http_answer_header(request, "Content-Encoding", "gzip");
    kv_buf_add(&request->answer.body, gzip ? file->gzip : file->plain,
               gzip ? file->gzip_size : file->plain_size);
}

/* /_/ is the page, /_/VERSION/NAME a file of it. */
enum http_next http_do_console(struct http_request *request)
{
    const kvsql_slice *segments = request->segments;
    const struct http_console_file *file = NULL;

    if (request->segment_count == 1) {
        console_send(request, &http_console_files[0], CONSOLE_PAGE_CACHE);
        return HTTP_NEXT_ANSWER;
    }
    if (request->segment_count == 3 &&
        http_is(segments[1], http_console_version))
        file = console_find(segments[2]);
    if (file != NULL)
        console_send(request, file, CONSOLE_FILE_CACHE);
    else
        http_refuse(request, HTTP_P_PATH, "the console is at /_/; it has no "
                                          "such file");
    return HTTP_NEXT_ANSWER;
}

/* ---- ways there ------------------------------------------------------------------ */

/* Browsers ask for it unasked, for any page of ours. */
enum http_next http_do_favicon(struct http_request *request)
{
    const struct http_console_file *file =
        console_find((kvsql_slice){"icon.svg", 8});

    KV_ASSERT(file != NULL);
    console_send(request, file, "public, max-age=86400");
    return HTTP_NEXT_ANSWER;
}

enum http_next http_do_robots(struct http_request *request)
{
    http_answer(request, 200, "text/plain; charset=utf-8");
    request->answer.cache = "public, max-age=86400";
    kv_buf_text(&request->answer.body, "User-agent: *\nDisallow: /\n");
    return HTTP_NEXT_ANSWER;
}

/* Who opens the server's address in a browser wants the console; a program has
 * mistaken the method. */
enum http_next http_do_root(struct http_request *request)
{
    kvsql_slice accept = request->headers[HTTP_H_ACCEPT];

    if (accept.p != NULL &&
        memmem(accept.p, accept.size, "text/html", 9) != NULL) {
        http_answer(request, 303, NULL);
        http_answer_header(request, "Location", "/_/");
        return HTTP_NEXT_ANSWER;
    }
    if (request->rights == HTTP_RIGHT_NONE) {
        http_refuse(request, HTTP_P_TOKEN, "invalid or missing auth token");
        return HTTP_NEXT_ANSWER;
    }
    http_refuse(request, HTTP_P_METHOD,
                "this path knows POST, PUT, OPTIONS; in a browser it leads to "
                "the console");
    http_answer_header(request, "Allow", "POST, PUT, OPTIONS");
    return HTTP_NEXT_ANSWER;
}
