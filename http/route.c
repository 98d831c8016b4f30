/* route.c - from segments and method to a row of routes.def.
 *
 * Everything that no literal row takes is a command of tier 1, except names
 * that are reserved for us: those are 404 until something stands there.
 *
 * Thread: the event loop's. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/again.h"
#include "http/request.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

static const struct http_route route_rows[] = {
#define HTTP_ROUTE(methods, pattern, handler, rights, bodies, tier, takes,    \
                   asks, gives, summary)                                      \
    {methods,           pattern,                                              \
     http_do_##handler, HTTP_RIGHT_##rights,                                  \
     ROUTE_BODIES(bodies), HTTP_TIER_##tier, takes, asks, gives, summary},
#define ROUTE_BODIES(bodies) HTTP_BODY_##bodies
#include "http/routes.def"
#undef HTTP_ROUTE
};
#define ROUTE_COUNT (sizeof route_rows / sizeof *route_rows)

/* First segments that are never a command, and the tier of their errors. */
#define ROUTE_RESERVED(name, tier) {name, sizeof name - 1, HTTP_TIER_##tier}
static const struct route_reserved {
    const char *name;
    size_t size;
    enum http_tier tier;
} route_reserved[] = {
    ROUTE_RESERVED("v1", RESOURCE),
    ROUTE_RESERVED("_", RESOURCE),
    ROUTE_RESERVED("pipeline", COMMAND),
    ROUTE_RESERVED("multi-exec", COMMAND),
    ROUTE_RESERVED("subscribe", COMMAND),
    ROUTE_RESERVED("psubscribe", COMMAND),
    ROUTE_RESERVED("monitor", COMMAND),
    ROUTE_RESERVED("livez", RESOURCE),
    ROUTE_RESERVED("readyz", RESOURCE),
    ROUTE_RESERVED("healthz", RESOURCE),
    ROUTE_RESERVED("metrics", RESOURCE),
    ROUTE_RESERVED("openapi.json", RESOURCE),
    ROUTE_RESERVED("favicon.ico", RESOURCE),
    ROUTE_RESERVED("robots.txt", RESOURCE),
};

/* The row of a first segment, NULL when it is a command's. */
static const struct route_reserved *route_reserved_find(kvsql_slice segment)
{
    for (size_t i = 0; i < sizeof route_reserved / sizeof *route_reserved; i++)
        if (route_reserved[i].size == segment.size &&
            memcmp(route_reserved[i].name, segment.p, segment.size) == 0)
            return &route_reserved[i];
    return NULL;
}

const struct http_route *http_route_at(unsigned index)
{
    return index < ROUTE_COUNT ? &route_rows[index] : NULL;
}

const char *http_methods(unsigned mask, char *out, size_t size)
{
    static const char *const names[] = {"GET",   "HEAD",   "POST",   "PUT",
                                        "PATCH", "DELETE", "OPTIONS"};
    size_t used = 0;

    out[0] = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if ((mask & (1u << i)) && used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%s",
                                     used ? ", " : "", names[i]);
    return out;
}

/* Does a piece of a pattern, "name", "{name}" or "{name}:verb", take segment
 * i? With `any_verb` the verb may be another, or missing. */
static bool route_takes(const struct http_request *request, const char *piece,
                        size_t size, unsigned i, bool any_verb)
{
    const kvsql_slice *segment = &request->segments[i];
    const char *verb = piece[0] == '{' ? memchr(piece, ':', size) : NULL;

    if (piece[0] != '{')
        return segment->size == size && memcmp(segment->p, piece, size) == 0;
    if (verb == NULL || any_verb)
        return true;
    size -= (size_t)(verb - piece);
    return request->colon < segment->size &&
           segment->size - request->colon == size &&
           memcmp((const char *)segment->p + request->colon, verb, size) == 0;
}

/* Does the pattern take the segments? */
static bool route_fits(const struct http_request *request, const char *pattern,
                       bool any_verb)
{
    const unsigned count = request->segment_count;
    unsigned i = 0;

    while (*pattern == '/' && pattern[1] != 0) {
        const char *piece = pattern + 1;
        size_t size = 0;
        while (piece[size] != 0 && piece[size] != '/')
            size++;
        pattern = piece + size;
        if (size == 2 && memcmp(piece, "**", 2) == 0)
            return i < count;
        if (i == count)
            return false;
        if (!route_takes(request, piece, size, i, any_verb))
            return false;
        i++;
    }
    return i == count;
}

enum http_tier http_tier_of(const char *raw)
{
    const struct route_reserved *row;
    size_t size = 0;

    if (raw[0] != '/')
        return HTTP_TIER_RESOURCE;
    for (raw++; raw[size] != 0 && raw[size] != '/' && raw[size] != '?';)
        size++;
    row = route_reserved_find((kvsql_slice){raw, size});
    return row != NULL ? row->tier : HTTP_TIER_COMMAND;
}

/* Is the row below /v1? */
static inline bool route_is_ours(const struct http_route *row)
{
    return row->pattern[1] == 'v' && row->pattern[2] == '1';
}

/* The segment by which a row is told apart: the first, below /v1 the second. */
static kvsql_slice route_room(const struct http_route *row)
{
    const char *p = row->pattern + (route_is_ours(row) ? sizeof "/v1/" - 1 : 1);

    return (kvsql_slice){p, strcspn(p, "/")};
}

/* The chain of a room: its size, its first and its last letter tell. */
static uint8_t route_chain(kvsql_slice room)
{
    const uint8_t *p = room.p;

    return room.size == 0
               ? 0
               : (uint8_t)(room.size * 32 + p[0] * 3 + p[room.size - 1]);
}

void http_routes_init(struct http_routes *routes)
{
    static_assert(ROUTE_COUNT < HTTP_ROUTES_MAX, "a byte numbers the rows");
    memset(routes->first, HTTP_ROUTES_MAX, sizeof routes->first);
    for (unsigned i = ROUTE_COUNT; i-- > 0;) {
        const struct http_route *row = &route_rows[i];
        KV_ASSERT(*(const char *)route_room(row).p != '{');
        uint8_t *first = &routes->first[route_is_ours(row)]
                                       [route_chain(route_room(row))];
        routes->next[i] = *first;
        *first = (uint8_t)i;
    }
}

/* A POST that names no verb of its path: which there are. False: the path has
 * none. */
static bool route_verbs(struct http_request *request)
{
    char names[128] = "";
    size_t used = 0;

    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        const char *verb = strstr(route_rows[i].pattern, "}:");
        if (verb != NULL && route_fits(request, route_rows[i].pattern, true))
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
                                     used ? " " : "", verb + 1);
        KV_ASSERT(used < sizeof names);
    }
    if (used > 0)
        http_refuse(request, HTTP_P_PATH,
                    "POST names a verb behind the key, one of %s", names);
    return used > 0;
}

/* The verb is no part of the name. */
static void route_cut_verb(struct http_request *request)
{
    if (strstr(request->route->pattern, "}:") != NULL)
        request->segments[request->segment_count - 1].size = request->colon;
}

/* What tells the rows apart that may take the request. All literal rows begin
 * with a reserved name; others fall to the row of commands. */
static kvsql_slice route_asked(const struct http_request *request,
                               const struct route_reserved *reserved, bool ours)
{
    if (reserved == NULL && request->segment_count > 0)
        return (kvsql_slice){"**", 2};
    return request->segment_count > ours ? request->segments[ours]
                                         : (kvsql_slice){"", 0};
}

/* Fill route and tier; answers the mask of methods that the path knows, as far as
 * it was looked at. */
static unsigned route_match(struct http_request *request)
{
    const struct route_reserved *reserved =
        request->segment_count > 0 ? route_reserved_find(request->segments[0])
                                   : NULL;
    const struct http_routes *routes = &request->server->routes;
    const bool ours = reserved == &route_reserved[0]; /* "v1" */
    const kvsql_slice room = route_asked(request, reserved, ours);
    unsigned allowed = 0;

    if (reserved != NULL)
        request->tier = reserved->tier;

    for (unsigned i = routes->first[ours][route_chain(room)];
         i != HTTP_ROUTES_MAX && request->route == NULL; i = routes->next[i]) {
        const struct http_route *row = &route_rows[i];
        if (!route_fits(request, row->pattern, false))
            continue;
        request->tier = row->tier;
        allowed |= row->methods;
        if (row->methods & request->method)
            request->route = row;
    }
    return allowed;
}

/* ---- content type ------------------------------------------------------------ */

static unsigned route_body_type(kvsql_slice type)
{
    const char *p = type.p;
    size_t size = 0;

    while (size < type.size && p[size] != ';' && p[size] != ' ' &&
           p[size] != '\t')
        size++;
    kvsql_slice name = {p, size};
    if (type.p == NULL || size == 0 || http_is_fold(name, "text/plain") ||
        http_is_fold(name, "application/x-www-form-urlencoded") ||
        http_is_fold(name, "multipart/form-data"))
        return HTTP_BODY_NONE; /* a browser sends these without asking */
    if (http_is_fold(name, "application/json"))
        return HTTP_BODY_JSON;
    if (http_is_fold(name, "application/sql"))
        return HTTP_BODY_SQL;
    return HTTP_BODY_BYTES;
}

/* X7: a body that a web page could send unasked is taken only beside an
 * Authorization header, which makes the browser ask first. */
static bool route_type(struct http_request *request)
{
    const struct http_route *route = request->route;
    kvsql_slice type = request->headers[HTTP_H_CONTENT_TYPE];
    bool command = route->tier == HTTP_TIER_COMMAND;
    bool header = request->headers[HTTP_H_AUTHORIZATION].p != NULL;

    request->body_type = route_body_type(type);
    if (request->method != HTTP_POST || (command && header))
        return true;
    if (route->bodies == HTTP_BODY_NONE)
        return type.p == NULL || request->body_type != HTTP_BODY_NONE;
    if (request->body_type & route->bodies)
        return true;
    /* A path of tier 1 takes any bytes, JSON among them. */
    return (route->bodies & HTTP_BODY_BYTES) &&
           request->body_type != HTTP_BODY_NONE;
}

/* What may be sent here, of which one is what a browser asks before it sends it. */
static void route_type_refuse(struct http_request *request)
{
    const unsigned bodies = request->route->bodies;

    if (bodies == HTTP_BODY_NONE)
        http_refuse(request, HTTP_P_TYPE,
                    "this path takes no body: leave Content-Type out");
    else if (bodies & HTTP_BODY_STREAM)
        http_refuse(request, HTTP_P_TYPE,
                    "send Content-Type: application/x-ndjson or text/csv");
    else
        http_refuse(request, HTTP_P_TYPE, "send Content-Type: %s%s%s",
                    bodies & HTTP_BODY_JSON    ? "application/json"
                    : bodies & HTTP_BODY_BYTES ? "application/octet-stream"
                                               : "application/sql",
                    (bodies & HTTP_BODY_JSON) && (bodies & HTTP_BODY_BYTES)
                        ? " or application/octet-stream"
                        : "",
                    (bodies & HTTP_BODY_JSON) && (bodies & HTTP_BODY_SQL)
                        ? " or application/sql"
                        : "");
}

static bool route_length(struct http_request *request)
{
    kvsql_slice length = request->headers[HTTP_H_CONTENT_LENGTH];
    uint64_t size = 0;

    for (size_t i = 0; i < length.size; i++) /* 1-15 digits, by the guard */
        size = size * 10 + (uint64_t)(((const char *)length.p)[i] - '0');
    request->content_length = size;
    if (size <= request->server->body_max ||
        (request->route->bodies & HTTP_BODY_STREAM) != 0)
        return true;
    http_refuse_limit(request, HTTP_P_BODY, request->server->body_max,
                      "%llu bytes, at most %llu are taken",
                      (unsigned long long)size,
                      (unsigned long long)request->server->body_max);
    return false;
}

/* ---- parameters ----------------------------------------------------------------- */

/* Is the name among the row's parameters? Its headers begin with a capital. */
static bool route_knows(const struct http_route *route, kvsql_slice name)
{
    const char *p = name.p;

    for (const char *at = route->takes; *at != 0;) {
        const size_t size = strcspn(at, " ");
        if (size == name.size && *at >= 'a' && *at <= 'z' &&
            memcmp(at, p, size) == 0)
            return true;
        at += size + (at[size] == ' ');
    }
    return http_is(name, "_token") ||
           (name.size > 2 && p[0] == 'p' && p[1] == '.' &&
            strstr(route->takes, "p.name") != NULL);
}

/* Does a name stand before the parameter, too? Those of a statement are counted
 * where they are bound. */
static bool route_twice(const struct http_request *request, unsigned index)
{
    const kvsql_slice name = request->params[index].name;

    if (memchr(name.p, '.', name.size) != NULL)
        return false;
    for (unsigned i = 0; i < index; i++)
        if (request->params[i].name.size == name.size &&
            memcmp(request->params[i].name.p, name.p, name.size) == 0)
            return true;
    return false;
}

/* A parameter that is misspelt is no parameter that is not there, and of two no
 * one knows which is meant. */
static bool route_params(struct http_request *request)
{
    char shown[64];

    if (!route_is_ours(request->route))
        return true;
    for (unsigned i = 0; i < request->param_count; i++) {
        const kvsql_slice name = request->params[i].name;
        const bool known = route_knows(request->route, name);
        if (known && !route_twice(request, i))
            continue;
        http_refuse(request, HTTP_P_PARAMETER,
                    known ? "the parameter %s stands twice"
                          : "this path has no parameter %s",
                    kv_text_show(shown, sizeof shown, name.p, name.size));
        return false;
    }
    return true;
}

/* ---- OPTIONS -------------------------------------------------------------------- */

static void route_options(struct http_request *request, unsigned allowed)
{
    char methods[80];

    if (allowed == 0)
        allowed = HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_PUT | HTTP_PATCH |
                  HTTP_DELETE; /* OPTIONS * */
    http_methods(allowed | HTTP_OPTIONS, methods, sizeof methods);
    http_answer(request, 204, NULL);
    http_answer_header(request, "Allow", "%s", methods);
    if (request->cors == NULL ||
        request->headers[HTTP_H_CORS_METHOD].p == NULL)
        return;
    http_answer_header(request, "Access-Control-Allow-Methods", "%s", methods);
    /* One list on two lines: a value has 191 bytes at most. */
    http_answer_header(request, "Access-Control-Allow-Headers",
                       "authorization, content-type, if-match, if-none-match, "
                       "if-range, idempotency-key, last-event-id, prefer, "
                       "range, x-kvsql-ttl, x-request-id");
    http_answer_header(request, "Access-Control-Allow-Headers",
                       "upstash-encoding, upstash-response-format, "
                       "upstash-sync-token, upstash-telemetry-platform, "
                       "upstash-telemetry-runtime, upstash-telemetry-sdk");
    http_answer_header(request, "Access-Control-Max-Age", "600");
}

bool http_route(struct http_request *request)
{
    char methods[80];
    unsigned allowed = route_match(request);

    if (!http_access(request))
        return false;
    if (allowed == 0 && !(request->method == HTTP_OPTIONS &&
                          request->target[0] == '*')) {
        http_refuse(request, HTTP_P_PATH, "nothing stands at this path");
        return false;
    }
    if (request->method == HTTP_OPTIONS) {
        route_options(request, allowed);
        return false;
    }
    if (request->route == NULL && request->method == HTTP_POST &&
        route_verbs(request))
        return false;
    if (request->route == NULL) {
        http_methods(allowed | HTTP_OPTIONS, methods, sizeof methods);
        http_refuse(request, HTTP_P_METHOD, "this path knows %s", methods);
        http_answer_header(request, "Allow", "%s", methods);
        return false;
    }
    if (request->route->rights > request->rights) {
        http_refuse(request, HTTP_P_RIGHT, "the read-only token may not do "
                                           "this");
        return false;
    }
    if (!route_type(request)) {
        route_type_refuse(request);
        return false;
    }
    if (!route_params(request) || !http_again_route(request))
        return false;
    route_cut_verb(request);
    return route_length(request);
}
