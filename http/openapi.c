/* openapi.c - /openapi.json: the table of routes as an OpenAPI 3.1 document.
 *
 * Nothing is said twice: paths, methods, parameters, bodies and answers come
 * from routes.def, params.def and schemas.def. Which errors an operation can
 * answer follows from its row: openapi_error() is the one place.
 *
 * Thread: the event loop's; some hundred microseconds. */
#include <stdio.h>
#include <string.h>

#include "http/json.h"
#include "http/request.h"
#include "kvsql/kvsql.h"

static const struct openapi_param {
    const char *name, *where, *text, *schema;
} openapi_params[] = {
#define HTTP_PARAM(name, where, text, ...) {name, where, text, #__VA_ARGS__},
#include "http/params.def"
#undef HTTP_PARAM
};
#define OPENAPI_PARAMS (sizeof openapi_params / sizeof *openapi_params)

static const struct openapi_schema {
    const char *name, *schema;
} openapi_schemas[] = {
#define HTTP_SCHEMA(name, ...) {#name, #__VA_ARGS__},
#include "http/schemas.def"
#undef HTTP_SCHEMA
};
#define OPENAPI_SCHEMAS (sizeof openapi_schemas / sizeof *openapi_schemas)

#define OPENAPI_LICENSE "MIT"

/* Media types of bodies that are no JSON. */
static const struct {
    const char *name, *types[2];
} openapi_media[] = {
    {"html", {"text/html", NULL}},
    {"asset", {"text/javascript", "text/css"}},
    {"icon", {"image/svg+xml", NULL}},
    {"bytes", {"text/plain", "application/octet-stream"}},
    {"text", {"text/plain", NULL}},
    {"ndjson", {"application/x-ndjson", NULL}},
    {"csv", {"text/csv", NULL}},
    {"events", {"text/event-stream", NULL}},
    {"sqlite", {"application/vnd.sqlite3", NULL}},
    {"resp2", {"application/octet-stream", NULL}},
};

static const struct {
    enum http_method method;
    const char *name;
} openapi_methods[] = {{HTTP_GET, "get"},     {HTTP_HEAD, "head"},
                       {HTTP_POST, "post"},   {HTTP_PUT, "put"},
                       {HTTP_PATCH, "patch"}, {HTTP_DELETE, "delete"}};
#define OPENAPI_METHODS (sizeof openapi_methods / sizeof *openapi_methods)

/* The next word of a list apart by blanks; moves `list` behind it. */
static kvsql_slice openapi_word(const char **list)
{
    const char *first = *list + strspn(*list, " ");
    size_t size = strcspn(first, " ");

    *list = first + size;
    return (kvsql_slice){first, size};
}

static void openapi_comma(struct kv_buf *out)
{
    if (out->size > 0 && strchr("{[,", out->p[out->size - 1]) == NULL)
        kv_buf_byte(out, ',');
}

/* ---- an operation ----------------------------------------------------------------- */

/* "/v1/lists/{key}:push" is "v1_lists_key_push". */
static void openapi_id(struct kv_buf *out, const char *method,
                       const char *pattern)
{
    bool gap = true;

    kv_buf_printf(out, "\"operationId\":\"%s", method);
    for (const char *p = pattern; *p != 0; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') ||
                     *p == '_';
        if (plain && gap)
            kv_buf_byte(out, '_');
        if (plain)
            kv_buf_byte(out, (uint8_t)*p);
        gap = !plain;
        if (strcmp(p, "**") == 0)
            kv_buf_text(out, "_rest");
    }
    kv_buf_byte(out, '"');
}

/* Parameters of the path, then those that the row takes. */
static void openapi_takes(struct kv_buf *out, const struct http_route *row)
{
    const char *list = row->takes;
    kvsql_slice word;

    kv_buf_text(out, ",\"parameters\":[");
    for (const char *p = row->pattern; (p = strchr(p, '{')) != NULL; p++) {
        openapi_comma(out);
        kv_buf_printf(out,
                      "{\"name\":\"%.*s\",\"in\":\"path\",\"required\":true,"
                      "\"schema\":{\"type\":\"string\"}}",
                      (int)strcspn(p + 1, "}"), p + 1);
    }
    if (strstr(row->pattern, "**") != NULL) {
        openapi_comma(out);
        kv_buf_text(out, "{\"name\":\"rest\",\"in\":\"path\",\"required\":"
                         "true,\"schema\":{\"type\":\"string\"}}");
    }
    while ((word = openapi_word(&list)).size > 0) {
        openapi_comma(out);
        kv_buf_printf(out, "{\"$ref\":\"#/components/parameters/%.*s\"}",
                      (int)word.size, (const char *)word.p);
    }
    kv_buf_byte(out, ']');
}

/* Index in openapi_media of a body that is no JSON, or -1. */
static int openapi_raw(kvsql_slice name)
{
    for (size_t i = 0; i < sizeof openapi_media / sizeof *openapi_media; i++)
        if (http_is(name, openapi_media[i].name))
            return (int)i;
    return -1;
}

/* The next name of "Added|List"; moves `names` behind it. */
static kvsql_slice openapi_name(kvsql_slice *names)
{
    const char *p = names->p, *bar = memchr(p, '|', names->size);
    size_t size = bar ? (size_t)(bar - p) : names->size;
    kvsql_slice name = {p, size};

    size += bar != NULL;
    *names = (kvsql_slice){p + size, names->size - size};
    return name;
}

/* "content" of one or more names: schemas are JSON, those of openapi_media are
 * themselves. */
static void openapi_content(struct kv_buf *out, kvsql_slice names)
{
    kvsql_slice list = names;
    unsigned json = 0;

    kv_buf_text(out, "\"content\":{");
    while (list.size > 0) {
        int raw = openapi_raw(openapi_name(&list));
        json += raw < 0;
        for (unsigned k = 0; raw >= 0 && k < 2; k++) {
            const char *type = openapi_media[raw].types[k];
            if (type == NULL)
                continue;
            openapi_comma(out);
            kv_buf_printf(out, "\"%s\":{\"schema\":{\"type\":\"string\"}}",
                          type);
        }
    }
    if (json > 0) {
        openapi_comma(out);
        kv_buf_printf(out, "\"application/json\":{\"schema\":%s",
                      json > 1 ? "{\"anyOf\":[" : "");
        while (names.size > 0) {
            kvsql_slice name = openapi_name(&names);
            if (openapi_raw(name) >= 0)
                continue;
            if (json > 1)
                openapi_comma(out);
            kv_buf_printf(out, "{\"$ref\":\"#/components/schemas/%.*s\"}",
                          (int)name.size, (const char *)name.p);
        }
        kv_buf_text(out, json > 1 ? "]}}" : "}");
    }
    kv_buf_byte(out, '}');
}

static void openapi_asks(struct kv_buf *out, const struct http_route *row,
                         enum http_method method)
{
    if (row->asks[0] == 0 || !(method & (HTTP_POST | HTTP_PUT | HTTP_PATCH)))
        return;
    kv_buf_text(out, ",\"requestBody\":{");
    openapi_content(out, (kvsql_slice){row->asks, strlen(row->asks)});
    kv_buf_byte(out, '}');
}

/* Statuses of errors that a row can have with a method. */
static bool openapi_error(const struct http_route *row, enum http_method method,
                          unsigned status)
{
    bool key = strstr(row->pattern, "{key}") != NULL;
    bool root = strcmp(row->gives, "303") == 0; /* of browsers alone */
    bool command = row->tier == HTTP_TIER_COMMAND;
    bool body = (method & (HTTP_POST | HTTP_PUT | HTTP_PATCH)) != 0;
    bool writes = command || row->tier == HTTP_TIER_SQL ||
                  !(method & (HTTP_GET | HTTP_HEAD));

    switch (status) {
    case 400:
    case 403:
    case 421:
    case 503:
        return true;
    case 401:
        return row->rights != HTTP_RIGHT_NONE || root;
    case 404:
        return strchr(row->pattern, '{') != NULL ||
               strcmp(row->pattern, "/_/**") == 0;
    case 405:
    case 406:
    case 504:
        return row->tier == HTTP_TIER_SQL || (root && status == 405) ||
               (status == 406 && strcmp(row->pattern, "/v1/export") == 0) ||
               (status == 504 && (strcmp(row->pattern, "/v1/keys") == 0 ||
                                  strcmp(row->pattern, "/v1/export") == 0));
    case 409:
        return key || row->tier == HTTP_TIER_SQL ||
               (row->bodies & HTTP_BODY_STREAM) != 0 ||
               strcmp(row->asks, "Purge") == 0 ||
               (method == HTTP_DELETE && strstr(row->pattern, "{name}"));
    case 410:
        return strstr(row->takes, "Last-Event-ID") != NULL ||
               strstr(row->takes, "view") != NULL ||
               strcmp(row->pattern, "/v1/views/{id}") == 0;
    case 412:
        return strstr(row->takes, "If-Match") != NULL ||
               strcmp(row->asks, "Batch") == 0;
    case 413:
        return body || key || row->tier == HTTP_TIER_SQL;
    case 415:
        return method == HTTP_POST;
    case 422:
        return !command && (method & (HTTP_POST | HTTP_PATCH));
    case 416:
        return strstr(row->takes, "If-Range") != NULL;
    case 507:
        return writes || key;
    default:
        return false;
    }
}

/* The component that tells of an error. Where commands are answered as RESP2 when
 * asked, so are their own errors, which are 400 or of the server. */
static const char *openapi_error_name(const struct http_route *row,
                                      enum http_method method, unsigned status)
{
    if (method == HTTP_HEAD)
        return "Bare";
    if (row->tier != HTTP_TIER_COMMAND)
        return "Problem";
    return (status == 400 || status >= 500) &&
                   strstr(row->takes, "Upstash-Response-Format") != NULL
               ? "CommandError"
               : "Error";
}

static void openapi_gives(struct kv_buf *out, const struct http_route *row,
                          enum http_method method)
{
    const char *list = row->gives;
    kvsql_slice word;

    kv_buf_text(out, ",\"responses\":{");
    while ((word = openapi_word(&list)).size > 0) {
        const char *text = word.p;
        openapi_comma(out);
        kv_buf_printf(out, "\"%.3s\":{\"description\":\"%s\"", text,
                      text[0] == '2'                     ? "Done"
                      : strncmp(text, "303", 3) == 0 ? "Elsewhere"
                                                     : "Not modified");
        if (word.size > 4 && method != HTTP_HEAD) {
            kv_buf_byte(out, ',');
            openapi_content(out, (kvsql_slice){text + 4, word.size - 4});
        }
        kv_buf_byte(out, '}');
    }
    for (unsigned status = 400; status < 510; status++)
        if (openapi_error(row, method, status)) {
            openapi_comma(out);
            kv_buf_printf(out,
                          "\"%u\":{\"$ref\":\"#/components/responses/%s\"}",
                          status, openapi_error_name(row, method, status));
        }
    kv_buf_byte(out, '}');
}

static void openapi_operation(struct kv_buf *out, const struct http_route *row,
                              enum http_method method, const char *name)
{
    static const char *const tags[HTTP_TIERS] = {"commands", "resources",
                                                 "sql"};

    openapi_comma(out);
    kv_buf_printf(out, "\"%s\":{\"tags\":[\"%s\"],", name, tags[row->tier]);
    openapi_id(out, name, row->pattern);
    kv_buf_text(out, ",\"summary\":");
    http_json_text(out, row->summary);
    openapi_takes(out, row);
    openapi_asks(out, row, method);
    openapi_gives(out, row, method);
    if (row->rights == HTTP_RIGHT_NONE)
        kv_buf_text(out, ",\"security\":[{}]");
    kv_buf_printf(out, ",\"x-rights\":\"%s\"}",
                  row->rights == HTTP_RIGHT_ALL    ? "all"
                  : row->rights == HTTP_RIGHT_READ ? "read"
                                                   : "none");
}

/* ---- the document ------------------------------------------------------------------ */

/* The path of row `index` with all its methods, unless an earlier row had it. */
static void openapi_path(struct kv_buf *out, unsigned index)
{
    const char *pattern = http_route_at(index)->pattern;
    const char *rest = strstr(pattern, "**");
    const struct http_route *row;

    for (unsigned i = 0; i < index; i++)
        if (strcmp(http_route_at(i)->pattern, pattern) == 0)
            return;
    openapi_comma(out);
    kv_buf_printf(out, "\"%.*s%s\":{",
                  (int)(rest ? rest - pattern : (ptrdiff_t)strlen(pattern)),
                  pattern, rest ? "{rest}" : "");
    for (unsigned i = index; (row = http_route_at(i)) != NULL; i++)
        for (unsigned k = 0; k < OPENAPI_METHODS; k++)
            if (strcmp(row->pattern, pattern) == 0 &&
                (row->methods & openapi_methods[k].method))
                openapi_operation(out, row, openapi_methods[k].method,
                                  openapi_methods[k].name);
    kv_buf_byte(out, '}');
}

static void openapi_components(struct kv_buf *out)
{
    kv_buf_text(out, "\"components\":{\"securitySchemes\":{\"token\":{\"type\":"
                     "\"http\",\"scheme\":\"bearer\"}},\"parameters\":{");
    for (size_t i = 0; i < OPENAPI_PARAMS; i++) {
        const struct openapi_param *param = &openapi_params[i];
        openapi_comma(out);
        kv_buf_printf(out, "\"%s\":{\"name\":\"%s\",\"in\":\"%s\","
                           "\"description\":",
                      param->name, param->name, param->where);
        http_json_text(out, param->text);
        kv_buf_printf(out, ",\"schema\":%s}", param->schema);
    }
    kv_buf_text(out, "},\"schemas\":{");
    for (size_t i = 0; i < OPENAPI_SCHEMAS; i++) {
        openapi_comma(out);
        kv_buf_printf(out, "\"%s\":%s", openapi_schemas[i].name,
                      openapi_schemas[i].schema);
    }
    kv_buf_text(
        out,
        "},\"responses\":{\"Problem\":{\"description\":\"A problem (RFC 9457)\","
        "\"content\":{\"application/problem+json\":{\"schema\":{\"$ref\":"
        "\"#/components/schemas/Problem\"}}}},\"Error\":{\"description\":"
        "\"An error\",\"content\":{\"application/json\":{\"schema\":{\"$ref\":"
        "\"#/components/schemas/Error\"}}}},\"CommandError\":{"
        "\"description\":\"An error; of a command also as RESP2\",\"content\":{"
        "\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/"
        "Error\"}},\"application/octet-stream\":{\"schema\":{\"type\":"
        "\"string\"}}}},\"Bare\":{\"description\":"
        "\"An error without a body\"}}}");
}

enum http_next http_do_openapi(struct http_request *request)
{
    struct kv_buf *out = &request->answer.body;

    http_answer(request, 200, HTTP_TYPE_JSON);
    request->answer.cache = "no-cache";
    kv_buf_printf(out,
                  "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"kvsql\","
                  "\"version\":\"%s\",\"description\":\"Redis commands, typed "
                  "resources and SQL over one store. A request line or headers "
                  "that are malformed or too long (400, 414, 431, 505) may be "
                  "answered with a page of text.\",\"license\":{\"name\":"
                  "\"%s\",\"identifier\":\"%s\"}},\"servers\":[{\"url\":\"/\"}],"
                  "\"security\":[{\"token\":[]},{}],\"tags\":["
                  "{\"name\":\"commands\",\"description\":\"Commands of Redis "
                  "as JSON\"},{\"name\":\"resources\",\"description\":\"Keys "
                  "and values, and the server\"},{\"name\":\"sql\","
                  "\"description\":\"Statements and batches\"}],\"paths\":{",
                  kvsql_version(), OPENAPI_LICENSE, OPENAPI_LICENSE);
    for (unsigned i = 0; http_route_at(i) != NULL; i++)
        openapi_path(out, i);
    kv_buf_text(out, "},");
    openapi_components(out);
    kv_buf_byte(out, '}');
    return HTTP_NEXT_ANSWER;
}
