/* target.c - the request's target: segments and parameters.
 *
 * The path is split on raw '/' and each segment is decoded once, so %2F and
 * %00 are data, and "." and ".." are names like others. Nothing is ever
 * normalised: a path that looks like another one is another one.
 *
 * Thread: the event loop's. */
#include <string.h>
#include <strings.h>

#include "http/request.h"
#include "kvsql/base/num.h"

bool http_percent(char *p, size_t *size, bool plus)
{
    size_t out = 0;

    for (size_t i = 0; i < *size; i++) {
        char c = p[i];
        if (c == '%') {
            const bool whole = *size - i >= 3;
            const int high = whole ? kv_num_hex((uint8_t)p[i + 1]) : -1;
            const int low = whole ? kv_num_hex((uint8_t)p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        p[out++] = c;
    }
    *size = out;
    return true;
}

void http_escape(struct kv_buf *out, kvsql_slice text)
{
    const uint8_t *const p = text.p;

    for (size_t i = 0; i < text.size; i++) {
        const bool plain = (p[i] >= '0' && p[i] <= '9') ||
                           (p[i] >= 'a' && p[i] <= 'z') ||
                           (p[i] >= 'A' && p[i] <= 'Z') ||
                           (p[i] != 0 && strchr("-_.~", p[i]) != NULL);
        if (plain)
            kv_buf_byte(out, p[i]);
        else
            kv_buf_printf(out, "%%%02X", p[i]);
    }
}

static unsigned target_count(const char *p, size_t size, char separator)
{
    unsigned count = 1;

    for (size_t i = 0; i < size; i++)
        count += p[i] == separator;
    return count;
}

/* The piece before the next separator; moves p and size behind it. */
static char *target_next(char **p, size_t *size, char separator, size_t *piece)
{
    char *first = *p, *found = memchr(first, separator, *size);

    *piece = found ? (size_t)(found - first) : *size;
    *p = first + *piece + (found != NULL);
    *size -= *piece + (found != NULL);
    return first;
}

/* Where the last raw ':' stands once the piece is decoded. */
static size_t target_colon(const char *p, size_t size)
{
    size_t colon = SIZE_MAX, out = 0;

    if (memchr(p, ':', size) == NULL)
        return colon;
    for (size_t i = 0; i < size; i++, out++) {
        if (p[i] == ':')
            colon = out;
        else if (p[i] == '%')
            i += 2;
    }
    return colon;
}

static bool target_path(struct http_request *request, char *p, size_t size)
{
    if (size > 0 && p[size - 1] == '/')
        size--; /* one trailing slash is dropped */
    if (size == 0)
        return true;
    p++;
    size--;
    unsigned count = target_count(p, size, '/');
    request->segments = request->parts_inline.segments;
    if (count > HTTP_PARTS_INLINE)
        request->segments =
            http_alloc(request, count * sizeof *request->segments);
    if (request->segments == NULL) {
        http_fail(request, KVSQL_NOMEM, "http: no memory for the path", NULL);
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        size_t piece;
        char *first = target_next(&p, &size, '/', &piece);
        request->colon = target_colon(first, piece);
        if (!http_percent(first, &piece, false)) {
            http_refuse(request, HTTP_P_REQUEST,
                        "a %% in the path without two hexadecimal digits");
            return false;
        }
        request->segments[request->segment_count++] =
            (kvsql_slice){first, piece};
    }
    return true;
}

static bool target_pair(struct http_request *request, char *p, size_t size)
{
    char *equal = memchr(p, '=', size);
    size_t name = equal ? (size_t)(equal - p) : size;
    size_t value = equal ? size - name - 1 : 0;

    if (!http_percent(p, &name, true) ||
        (equal && !http_percent(equal + 1, &value, true))) {
        http_refuse(request, HTTP_P_REQUEST,
                    "a %% in the query without two hexadecimal digits");
        return false;
    }
    request->params[request->param_count++] = (struct http_param){
        .name = {p, name}, .value = {equal ? equal + 1 : NULL, value}};
    return true;
}

static bool target_query(struct http_request *request, char *p, size_t size)
{
    if (size == 0)
        return true;
    unsigned count = target_count(p, size, '&');
    request->params = http_alloc(request, count * sizeof *request->params);
    if (request->params == NULL) {
        http_fail(request, KVSQL_NOMEM, "http: no memory for the query", NULL);
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        size_t piece;
        char *first = target_next(&p, &size, '&', &piece);
        if (piece > 0 && !target_pair(request, first, piece))
            return false;
    }
    return true;
}

bool http_target(struct http_request *request)
{
    char *p = request->target;
    size_t size = request->target_size;

    request->colon = SIZE_MAX;
    if (size == 1 && p[0] == '*' && request->method == HTTP_OPTIONS)
        return true;
    if (size == 0 || p[0] != '/') {
        http_refuse(request, HTTP_P_REQUEST, "a target that does not begin "
                                             "with '/'");
        return false;
    }
    char *question = memchr(p, '?', size);
    size_t path = question ? (size_t)(question - p) : size;
    return target_path(request, p, path) &&
           (question == NULL ||
            target_query(request, question + 1, size - path - 1));
}

kvsql_slice http_param(const struct http_request *request, const char *name)
{
    for (unsigned i = 0; i < request->param_count; i++)
        if (http_is(request->params[i].name, name)) {
            kvsql_slice value = request->params[i].value;
            return value.p ? value : (kvsql_slice){"", 0};
        }
    return (kvsql_slice){NULL, 0};
}
