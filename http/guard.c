/* guard.c - framing and headers, looked at once for every request.
 *
 * The library lets through what must not pass: two lengths, a length beside
 * chunks (the rest is then served as a second request), NUL bytes that cut a
 * value or the target, folded lines glued onto names, bare LF line ends. All
 * of it is refused here, in the first call, which also ends the connection.
 *
 * Some of it can only be seen behind a value, in the connection's buffer:
 *
 *     N a m e : blank v a l u e CR LF N e x t
 *                     ^p        ^0 ^0 ^p[size + 2]
 *
 * The library writes zeroes over the line end. So p[size + 1] is not 0 when a
 * NUL stood inside the value or the line ended in a bare LF, and p[size + 2]
 * is a blank when the next line is folded. A NUL that is the value's very
 * last byte is not seen. The layout is nobody's promise: tests/unit/test_http
 * sends all of these to the linked library, and the server warns about a
 * version that is not the tested one.
 *
 * Thread: the event loop's. */
#include <microhttpd.h>
#include <string.h>
#include <strings.h>

#include "http/request.h"
#include "kvsql/base/num.h"

/* Of a header that stands on several lines: the first counts, or it is refused,
 * or the lines are one list (RFC 9110). */
enum guard_again { GUARD_FIRST, GUARD_ONCE, GUARD_LIST };

/* Headers we read. */
#define GUARD_HEADER(name, again) {name, sizeof name - 1, GUARD_##again}
static const struct {
    const char *name;
    uint8_t size;
    uint8_t again; /* enum guard_again */
} guard_headers[HTTP_H_COUNT] = {
    [HTTP_H_ACCEPT] = GUARD_HEADER("accept", LIST),
    [HTTP_H_ACCEPT_ENCODING] = GUARD_HEADER("accept-encoding", LIST),
    [HTTP_H_AGAIN] = GUARD_HEADER("idempotency-key", ONCE),
    [HTTP_H_AUTHORIZATION] = GUARD_HEADER("authorization", ONCE),
    [HTTP_H_CONTENT_LENGTH] = GUARD_HEADER("content-length", ONCE),
    [HTTP_H_CONTENT_TYPE] = GUARD_HEADER("content-type", ONCE),
    [HTTP_H_CORS_METHOD] = GUARD_HEADER("access-control-request-method", FIRST),
    [HTTP_H_HOST] = GUARD_HEADER("host", ONCE),
    [HTTP_H_IF_MATCH] = GUARD_HEADER("if-match", ONCE),
    [HTTP_H_IF_NONE_MATCH] = GUARD_HEADER("if-none-match", ONCE),
    [HTTP_H_IF_RANGE] = GUARD_HEADER("if-range", ONCE),
    [HTTP_H_LAST_EVENT] = GUARD_HEADER("last-event-id", FIRST),
    [HTTP_H_ORIGIN] = GUARD_HEADER("origin", ONCE),
    [HTTP_H_PREFER] = GUARD_HEADER("prefer", LIST),
    [HTTP_H_RANGE] = GUARD_HEADER("range", ONCE),
    [HTTP_H_REQUEST_ID] = GUARD_HEADER("x-request-id", FIRST),
    [HTTP_H_SEC_FETCH_SITE] = GUARD_HEADER("sec-fetch-site", ONCE),
    [HTTP_H_TRANSFER_ENCODING] = GUARD_HEADER("transfer-encoding", ONCE),
    [HTTP_H_ENCODING] = GUARD_HEADER("upstash-encoding", ONCE),
    [HTTP_H_FORMAT] = GUARD_HEADER("upstash-response-format", ONCE),
    [HTTP_H_TTL] = GUARD_HEADER("x-kvsql-ttl", ONCE),
};

struct guard_walk {
    struct http_request *request;
    const char *wrong; /* first thing found, or NULL */
    unsigned count;
};

static bool guard_token(const char *p, size_t size)
{
    if (size == 0)
        return false;
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)p[i];
        if ((unsigned)(c | 0x20) - 'a' < 26 || c == '-' ||
            (unsigned)c - '0' < 10) /* nearly all */
            continue;
        if (c == 0 || strchr("!#$%&'*+.^_`|~", c) == NULL)
            return false;
    }
    return true;
}

static bool guard_value(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return false;
    }
    return true;
}

static kvsql_slice guard_trim(const char *p, size_t size)
{
    while (size > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        size--;
    }
    while (size > 0 && (p[size - 1] == ' ' || p[size - 1] == '\t'))
        size--;
    return (kvsql_slice){p, size};
}

/* One more line of a list: "a", then "a, b". False: no memory. */
static bool guard_join(struct http_request *request, kvsql_slice *list,
                       kvsql_slice more)
{
    static const char comma[] = ", ";
    const size_t size = list->size + sizeof comma - 1 + more.size;
    char *const text = http_alloc(request, size);

    if (text == NULL)
        return false;
    memcpy(text, list->p, list->size);
    memcpy(text + list->size, comma, sizeof comma - 1);
    memcpy(text + size - more.size, more.p, more.size);
    *list = (kvsql_slice){text, size};
    return true;
}

/* Index in guard_headers, or HTTP_H_COUNT. */
static unsigned guard_known(kvsql_slice name)
{
    static const char misspelt[] = "upstash-reponse-format";

    for (unsigned i = 0; i < HTTP_H_COUNT; i++)
        if (name.size == guard_headers[i].size &&
            strncasecmp(name.p, guard_headers[i].name, name.size) == 0)
            return i;
    /* The service's own examples have it so. */
    return name.size == sizeof misspelt - 1 && http_is_fold(name, misspelt)
               ? HTTP_H_FORMAT
               : HTTP_H_COUNT;
}

static enum MHD_Result guard_each(void *arg, enum MHD_ValueKind kind,
                                  const char *name, size_t name_size,
                                  const char *value, size_t value_size)
{
    struct guard_walk *walk = arg;
    kvsql_slice *known = walk->request->headers;

    if (kind != MHD_HEADER_KIND)
        return MHD_YES;
    walk->count++;
    if (value == NULL || !guard_token(name, name_size)) {
        walk->wrong = "a header name that is no token";
        return MHD_NO;
    }
    if (!guard_value(value, value_size)) {
        walk->wrong = "a control byte in a header";
        return MHD_NO;
    }
    if (value[value_size + 1] != 0) {
        walk->wrong = "a NUL byte or a bare line feed in a header";
        return MHD_NO;
    }
    if (value[value_size + 2] == ' ' || value[value_size + 2] == '\t') {
        walk->wrong = "a folded header";
        return MHD_NO;
    }
    unsigned which = guard_known((kvsql_slice){name, name_size});
    if (which == HTTP_H_COUNT)
        return MHD_YES;
    const kvsql_slice text = guard_trim(value, value_size);
    if (known[which].p == NULL)
        known[which] = text;
    else if (guard_headers[which].again == GUARD_ONCE)
        walk->wrong = "a header that may stand only once stands twice";
    else if (guard_headers[which].again == GUARD_LIST &&
             !guard_join(walk->request, &known[which], text))
        walk->wrong = "a list of more lines than there is memory for";
    return walk->wrong == NULL ? MHD_YES : MHD_NO;
}

bool http_headers_own(struct http_request *request)
{
    size_t size = 1;

    if (request->headers_own)
        return true;
    for (unsigned i = 0; i < HTTP_H_COUNT; i++)
        size += request->headers[i].size;
    char *text = http_alloc(request, size);
    if (text == NULL)
        return false;
    for (unsigned i = 0; i < HTTP_H_COUNT; i++) {
        kvsql_slice *const value = &request->headers[i];
        if (value->p == NULL)
            continue;
        memcpy(text, value->p, value->size);
        value->p = text;
        text += value->size;
    }
    request->headers_own = true;
    return true;
}

static bool guard_method(struct http_request *request, const char *method)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {{"GET", HTTP_GET},       {"HEAD", HTTP_HEAD},
                   {"POST", HTTP_POST},     {"PUT", HTTP_PUT},
                   {"PATCH", HTTP_PATCH},   {"DELETE", HTTP_DELETE},
                   {"OPTIONS", HTTP_OPTIONS}};

    for (unsigned i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(method, methods[i].name) == 0) {
            request->method = methods[i].method;
            return true;
        }
    return false;
}

static bool guard_length(kvsql_slice value)
{
    const char *p = value.p;

    for (size_t i = 0; i < value.size; i++)
        if (p[i] < '0' || p[i] > '9')
            return false;
    return value.size >= 1 && value.size <= 15;
}

/* What is wrong with length and transfer coding, or NULL. */
static const char *guard_framing(const struct http_request *request,
                                 const char *version)
{
    kvsql_slice length = request->headers[HTTP_H_CONTENT_LENGTH];
    kvsql_slice coding = request->headers[HTTP_H_TRANSFER_ENCODING];

    if (coding.p != NULL && length.p != NULL)
        return "both Content-Length and Transfer-Encoding";
    if (coding.p != NULL && strcmp(version, "HTTP/1.0") == 0)
        return "Transfer-Encoding in HTTP/1.0";
    if (coding.p != NULL && !http_is_fold(coding, "chunked"))
        return "a Transfer-Encoding other than chunked";
    if (length.p != NULL && !guard_length(length))
        return "a Content-Length that is not 1 to 15 digits";
    return NULL;
}

static void guard_client_id(struct http_request *request)
{
    kvsql_slice id = request->headers[HTTP_H_REQUEST_ID];

    if (id.p == NULL || id.size >= sizeof request->client_id ||
        !guard_token(id.p, id.size))
        return;
    memcpy(request->client_id, id.p, id.size);
    request->client_id[id.size] = 0;
}

bool http_guard(struct http_request *request, const char *url,
                const char *method, const char *version)
{
    struct guard_walk walk = {.request = request};

    /* The target was cut by a NUL when the version does not begin right
     * behind it. */
    if (url == NULL || version != request->raw + request->raw_size + 1) {
        http_refuse(request, HTTP_P_REQUEST, "a NUL byte in the target");
        return false;
    }
    (void)MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND,
                                      guard_each, &walk);
    guard_client_id(request);
    if (walk.wrong == NULL)
        walk.wrong = guard_framing(request, version);
    if (walk.wrong != NULL) {
        http_refuse(request, HTTP_P_REQUEST, "%s", walk.wrong);
    } else if (strcmp(version, "HTTP/1.1") != 0 &&
               strcmp(version, "HTTP/1.0") != 0) {
        http_refuse(request, HTTP_P_HTTPVERSION,
                    "the request's version is neither HTTP/1.1 nor HTTP/1.0");
    } else if (walk.count > HTTP_HEADERS_MAX) {
        http_refuse_limit(request, HTTP_P_HEADERS, HTTP_HEADERS_MAX,
                          "%u headers", walk.count);
    } else if (request->raw_size > HTTP_URI_MAX) {
        http_refuse_limit(request, HTTP_P_URI, HTTP_URI_MAX, "%zu bytes",
                          request->raw_size);
    } else if (!guard_method(request, method)) {
        http_refuse(request, HTTP_P_VERB, "the method is none of ours "
                                          "(names are upper case)");
    } else {
        return true;
    }
    return false;
}
