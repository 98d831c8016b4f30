/* prefer.c - headers and parameters that any request on a key may have.
 *
 * A tag is strong: it is the version of the key, which is the position of its
 * last change, and the random id of this start of the server, so that it never
 * comes again, not even after positions were lost.
 *
 * Thread: the one that has the request. */
#include "http/prefer.h"

#include <stdio.h>
#include <string.h>

#include "http/gzip.h"
#include "kvsql/base/num.h"

#define PREFER_TTL_MAX INT64_C(3153600000000) /* ms: a hundred years */
#define PREFER_APPLIED_SIZE 160

/* ---- Prefer ------------------------------------------------------------------- */

/* The piece before the next comma, trimmed; moves `list` behind it. */
static kvsql_slice prefer_next(kvsql_slice *list)
{
    const char *p = list->p, *comma = memchr(p, ',', list->size);
    size_t size = comma ? (size_t)(comma - p) : list->size;
    kvsql_slice piece = {p, size};

    size += comma != NULL;
    *list = (kvsql_slice){p + size, list->size - size};
    while (piece.size > 0 && strchr(" \t", *(const char *)piece.p) != NULL)
        piece = (kvsql_slice){(const char *)piece.p + 1, piece.size - 1};
    while (piece.size > 0 &&
           strchr(" \t", ((const char *)piece.p)[piece.size - 1]) != NULL)
        piece.size--;
    return piece;
}

static bool prefer_word(struct http_request *request, kvsql_slice word,
                        struct http_prefer *prefer)
{
    static const char most[] = "max-affected=";
    const size_t skip = sizeof most - 1;

    if (http_is_fold(word, "return=minimal")) {
        prefer->result = HTTP_RETURN_MINIMAL;
    } else if (http_is_fold(word, "return=representation")) {
        prefer->result = HTTP_RETURN_REPRESENTATION;
    } else if (http_is_fold(word, "return=previous")) {
        prefer->result = HTTP_RETURN_PREVIOUS;
    } else if (http_is_fold(word, "tx=rollback")) {
        prefer->dry = true;
    } else if (word.size >= skip &&
               http_is_fold((kvsql_slice){word.p, skip}, most)) {
        prefer->has_most = kv_num_uint((const char *)word.p + skip,
                                       word.size - skip, &prefer->most);
        if (!prefer->has_most) {
            http_refuse(request, HTTP_P_PARAMETER,
                        "Prefer: max-affected is a whole number");
            return false;
        }
    }
    return true;
}

bool http_prefer_read(struct http_request *request, struct http_prefer *prefer)
{
    kvsql_slice list = request->headers[HTTP_H_PREFER];

    *prefer = (struct http_prefer){0};
    while (list.p != NULL && list.size > 0)
        if (!prefer_word(request, prefer_next(&list), prefer))
            return false;
    return true;
}

bool http_prefer_lenient(const struct http_request *request)
{
    kvsql_slice list = request->headers[HTTP_H_PREFER];
    bool lenient = false;

    if (list.p == NULL || strstr(request->route->takes, "Prefer") == NULL)
        return false;
    while (list.size > 0) {
        const kvsql_slice word = prefer_next(&list);
        if (http_is_fold(word, "handling=strict"))
            return false;
        lenient = lenient || http_is_fold(word, "handling=lenient");
    }
    return lenient;
}

kvsql_rc http_prefer_only(const struct http_request *request,
                          const struct http_json *json, uint32_t object,
                          const char *const *names, struct kvsql_error *err)
{
    return http_prefer_lenient(request)
               ? KVSQL_OK
               : http_json_only(json, object, names, err);
}

/* ---- telling ------------------------------------------------------------------ */

/* One more word of the list in `text`; `end` is where it ends. */
static char *prefer_tell(char *text, char *end, const char *word)
{
    const size_t size = strlen(word);

    if (size == 0)
        return end;
    KV_ASSERT(end - text + 2 + size < PREFER_APPLIED_SIZE);
    if (end > text) {
        memcpy(end, ", ", 2);
        end += 2;
    }
    memcpy(end, word, size + 1);
    return end + size;
}

void http_prefer_applied(struct http_request *request,
                         const struct http_prefer *prefer, const char *result)
{
    char most[48], text[PREFER_APPLIED_SIZE], *end = text;

    if (request->headers[HTTP_H_PREFER].p == NULL && result[0] == 0)
        return; /* as most */
    end = prefer_tell(text, end, result);
    if (prefer->has_most) {
        (void)snprintf(most, sizeof most, "max-affected=%llu",
                       (unsigned long long)prefer->most);
        end = prefer_tell(text, end, most);
    }
    if (prefer->dry)
        end = prefer_tell(text, end, "tx=rollback");
    if (http_prefer_lenient(request))
        end = prefer_tell(text, end, "handling=lenient");
    if (end > text)
        http_answer_header(request, "Preference-Applied", "%s", text);
}

bool http_prefer_beyond(struct http_request *request,
                        const struct http_prefer *prefer, uint64_t count)
{
    http_refuse_limit(request, HTTP_P_AFFECTED, prefer->most,
                      "%llu changes, more than max-affected allows; nothing "
                      "was changed",
                      (unsigned long long)count);
    return false;
}

/* ---- tags --------------------------------------------------------------------- */

void http_etag(const struct http_request *request, uint64_t version,
               char out[HTTP_ETAG_SIZE])
{
    const char *const start = request->server->start_id;
    const size_t size = strlen(start);
    char *at = out + 2;

    KV_ASSERT(version <= INT64_MAX &&
              2 + KV_INT_TEXT_MAX + size + 2 <= HTTP_ETAG_SIZE);
    memcpy(out, "\"v", 2);
    at += kv_num_format_int(at, (int64_t)version);
    *at++ = '-';
    memcpy(at, start, size);
    memcpy(at + size, "\"", 2);
}

/* Is it the tag of the same, compressed (gzip.h)? */
static bool prefer_is_packed(kvsql_slice tag, const char *etag)
{
    static const char end[] = HTTP_GZIP_TAG "\"";
    const size_t size = strlen(etag) - 1; /* up to its last quote */

    return tag.size == size + sizeof end - 1 &&
           memcmp(tag.p, etag, size) == 0 &&
           memcmp((const char *)tag.p + size, end, sizeof end - 1) == 0;
}

static bool prefer_tags(kvsql_slice list, const char *etag, bool strong,
                        bool packed)
{
    if (http_is(list, "*"))
        return true;
    while (list.p != NULL && list.size > 0) { /* a tag of ours has no comma */
        kvsql_slice tag = prefer_next(&list);
        if (!strong && tag.size > 2 && memcmp(tag.p, "W/", 2) == 0)
            tag = (kvsql_slice){(const char *)tag.p + 2, tag.size - 2};
        if (http_is(tag, etag) || (packed && prefer_is_packed(tag, etag)))
            return true;
    }
    return false;
}

bool http_etag_in(kvsql_slice list, const char *etag, bool strong)
{
    return prefer_tags(list, etag, strong, false);
}

bool http_version_in(kvsql_slice list, const char *etag, bool strong)
{
    return prefer_tags(list, etag, strong, true);
}

/* ---- ranges --------------------------------------------------------------------- */

struct http_range http_range_of(const struct http_request *request)
{
    kvsql_slice text = request->headers[HTTP_H_RANGE];
    struct http_range range = {0};
    const char *p = text.p, *dash;

    if (text.p == NULL || text.size < 8 || memcmp(p, "bytes=", 6) != 0 ||
        memchr(p, ',', text.size) != NULL)
        return range;
    p += 6;
    dash = memchr(p, '-', text.size - 6);
    if (dash == NULL)
        return range;
    const size_t before = (size_t)(dash - p);
    const size_t behind = text.size - 6 - before - 1;
    range.suffix = before == 0;
    range.open = behind == 0;
    range.asked =
        (range.suffix || kv_num_uint(p, before, &range.first)) &&
        (range.open ? !range.suffix
                    : kv_num_uint(dash + 1, behind, &range.last)) &&
        (range.suffix || range.open || range.first <= range.last) &&
        range.first <= INT64_MAX && range.last <= INT64_MAX;
    return range;
}

void http_range_fit(const struct http_range *range, uint64_t length,
                    uint64_t *first, uint64_t *size)
{
    *first = range->suffix ? (range->last < length ? length - range->last : 0)
                           : range->first;
    if (*first > length || (range->suffix && range->last == 0))
        *first = length;
    *size = length - *first;
    if (!range->suffix && !range->open && range->last - range->first < *size)
        *size = range->last - range->first + 1;
}

/* ---- times to live -------------------------------------------------------------- */

bool http_duration(kvsql_slice text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1},         {"s", 1000},        {"m", 60000},
                 {"h", 3600000},    {"d", 86400000}};
    const char *p = text.p;
    size_t digits = 0;
    uint64_t number;

    while (digits < text.size && p[digits] >= '0' && p[digits] <= '9')
        digits++;
    if (digits == 0 || !kv_num_uint(p, digits, &number) || number == 0)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (http_is((kvsql_slice){p + digits, text.size - digits},
                    units[i].unit) &&
            number <= (uint64_t)(PREFER_TTL_MAX / units[i].ms)) {
            *ms = (int64_t)number * units[i].ms;
            return true;
        }
    return false;
}

bool http_ttl_asked(struct http_request *request, int64_t *ms)
{
    kvsql_slice text = http_param(request, "ttl");

    *ms = 0;
    if (text.p == NULL)
        text = request->headers[HTTP_H_TTL];
    if (text.p == NULL || http_duration(text, ms))
        return true;
    http_refuse(request, HTTP_P_PARAMETER,
                "a time to live is a number and one of ms, s, m, h, d, such "
                "as 30s");
    return false;
}
