/* json.c - the JSON lexer, and objects as it leaves them.
 *
 * The lexer is one loop with a stack of at most HTTP_JSON_DEPTH_MAX open
 * containers; it never recurses. Whether the text is UTF-8 is settled once at
 * the start, so that the loop meets whole characters only.
 *
 * Always true:
 *   J1  a token's subtree is the run [index + 1, next).
 *   J2  decoding a string never makes it longer: \u0000 takes six bytes for
 *       one, a pair of surrogates twelve for four. So it is done in place,
 *       behind the reader, and the bytes still to read stay as they were.
 *
 * Thread: the request's. */
#include "http/json.h"

#include <string.h>

#include "http/json_scan.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define JSON_TOKENS_FIRST 32

/* What may come next. */
enum json_state {
    JSON_VALUE,          /* a value */
    JSON_VALUE_OR_CLOSE, /* just behind '[' */
    JSON_NAME,           /* a name, behind ',' in an object */
    JSON_NAME_OR_CLOSE,  /* just behind '{' */
    JSON_COMMA_OR_CLOSE, /* behind a value in a container */
    JSON_END             /* behind the root */
};

struct json_reader {
    struct http_json *json;
    uint8_t *start, *at, *end;
    uint32_t stack[HTTP_JSON_DEPTH_MAX];
    unsigned depth;
    enum json_state state;
    struct kvsql_error *err;
};

static kvsql_rc json_bad(const struct json_reader *reader, const uint8_t *where,
                         const char *what)
{
    return kv_fail(reader->err, KVSQL_SYNTAX, "JSON: %s at byte %zu", what,
                   (size_t)(where - reader->start));
}

static kvsql_rc json_grow(struct json_reader *reader)
{
    struct http_json *json = reader->json;
    uint32_t cap = json->cap ? json->cap * 2 : JSON_TOKENS_FIRST;

    if (json->count >= json->most)
        return kv_fail(reader->err, KVSQL_TOOBIG,
                       "JSON: more than %u elements; send fewer at a time",
                       json->most);
    if (cap > json->most)
        cap = json->most;
    struct http_json_token *tokens = kv_mem_realloc(
        KV_MEM_CLIENT, json->tokens, json->cap * sizeof *tokens,
        cap * sizeof *tokens);
    if (tokens == NULL)
        return kv_fail(reader->err, KVSQL_NOMEM, "JSON: no memory for tokens");
    json->tokens = tokens;
    json->cap = cap;
    return KVSQL_OK;
}

static kvsql_rc json_add(struct json_reader *reader, enum http_json_kind kind,
                         const uint8_t *p, size_t size)
{
    struct http_json *json = reader->json;

    if (json->count == json->cap) {
        kvsql_rc rc = json_grow(reader);
        if (rc != KVSQL_OK)
            return rc;
    }
    json->tokens[json->count] = (struct http_json_token){
        .p = p,
        .size = (uint32_t)size,
        .next = json->count + 1,
        .kind = (uint8_t)kind,
    };
    json->count++;
    return KVSQL_OK;
}

/* ---- strings ------------------------------------------------------------- */

/* Four hexadecimal digits at p, or -1. */
static int json_hex4(const uint8_t *p, const uint8_t *end)
{
    int value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = kv_num_hex(p[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static uint8_t *json_put_utf8(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (uint8_t)c;
    } else if (c < 0x800) {
        *out++ = (uint8_t)(0xC0 | (c >> 6));
        *out++ = (uint8_t)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *out++ = (uint8_t)(0xE0 | (c >> 12));
        *out++ = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
        *out++ = (uint8_t)(0x80 | (c & 0x3F));
    } else {
        *out++ = (uint8_t)(0xF0 | (c >> 18));
        *out++ = (uint8_t)(0x80 | ((c >> 12) & 0x3F));
        *out++ = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
        *out++ = (uint8_t)(0x80 | (c & 0x3F));
    }
    return out;
}

/* \uXXXX at reader->at, which stands behind the 'u'. */
static kvsql_rc json_unicode(struct json_reader *reader, uint8_t **out)
{
    uint8_t *p = reader->at;
    int high = json_hex4(p, reader->end);

    if (high < 0)
        return json_bad(reader, p, "\\u needs four hexadecimal digits");
    p += 4;
    uint32_t c = (uint32_t)high;
    if (c >= 0xDC00 && c <= 0xDFFF)
        return json_bad(reader, p - 6, "a lone surrogate");
    if (c >= 0xD800 && c <= 0xDBFF) {
        int low = -1;
        if (reader->end - p >= 6 && p[0] == '\\' && p[1] == 'u')
            low = json_hex4(p + 2, reader->end);
        if (low < 0xDC00 || low > 0xDFFF)
            return json_bad(reader, p - 6, "a lone surrogate");
        c = 0x10000 + ((c - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
        p += 6;
    }
    *out = json_put_utf8(*out, c);
    reader->at = p;
    return KVSQL_OK;
}

static kvsql_rc json_escape(struct json_reader *reader, uint8_t **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

    if (reader->end - reader->at < 2)
        return json_bad(reader, reader->end, "a string without its end");
    uint8_t c = reader->at[1];
    if (c == 'u') {
        reader->at += 2;
        return json_unicode(reader, out);
    }
    const char *which = c ? memchr(from, c, sizeof from - 1) : NULL;
    if (which == NULL)
        return json_bad(reader, reader->at, "an unknown escape");
    *(*out)++ = (uint8_t)to[which - from];
    reader->at += 2;
    return KVSQL_OK;
}

/* reader->at stands on the opening quote. */
static kvsql_rc json_read_string(struct json_reader *reader)
{
    uint8_t *first = ++reader->at, *p = first;

    p += http_json_plain_run(p, (size_t)(reader->end - p));
    while (p < reader->end && *p >= 0x80) /* checked to be UTF-8 */
        p += 1 + http_json_plain_run(p + 1, (size_t)(reader->end - p) - 1);
    uint8_t *out = p; /* J2: everything before it is in place already */
    reader->at = p;
    while (reader->at < reader->end && *reader->at != '"') {
        if (*reader->at == '\\') {
            kvsql_rc rc = json_escape(reader, &out);
            if (rc != KVSQL_OK)
                return rc;
            continue;
        }
        if (*reader->at < 0x20)
            return json_bad(reader, reader->at,
                            "a control byte in a string (escape it)");
        *out++ = *reader->at++;
    }
    if (reader->at == reader->end)
        return json_bad(reader, reader->end, "a string without its end");
    reader->at++;
    return json_add(reader, HTTP_JSON_STRING, first, (size_t)(out - first));
}

/* ---- the other values ----------------------------------------------------- */

static uint8_t *json_digits(uint8_t *p, const uint8_t *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static kvsql_rc json_read_number(struct json_reader *reader)
{
    uint8_t *first = reader->at, *p = first, *digits;
    const uint8_t *end = reader->end;

    if (*p == '-')
        p++;
    digits = p;
    p = json_digits(p, end);
    if (p == digits)
        return json_bad(reader, p, "a number needs a digit");
    if (*digits == '0' && p - digits > 1)
        return json_bad(reader, digits, "a number may not begin with 0");
    if (p < end && *p == '.') {
        digits = ++p;
        p = json_digits(p, end);
        if (p == digits)
            return json_bad(reader, p, "a number needs a digit behind its point");
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        digits = p;
        p = json_digits(p, end);
        if (p == digits)
            return json_bad(reader, p, "an exponent needs a digit");
    }
    reader->at = p;
    return json_add(reader, HTTP_JSON_NUMBER, first, (size_t)(p - first));
}

static kvsql_rc json_read_word(struct json_reader *reader)
{
    static const struct {
        const char *text;
        uint8_t size, kind;
    } words[] = {{"true", 4, HTTP_JSON_TRUE},
                 {"false", 5, HTTP_JSON_FALSE},
                 {"null", 4, HTTP_JSON_NULL}};
    size_t left = (size_t)(reader->end - reader->at);

    for (unsigned i = 0; i < 3; i++)
        if (left >= words[i].size &&
            memcmp(reader->at, words[i].text, words[i].size) == 0) {
            reader->at += words[i].size;
            return json_add(reader, words[i].kind, reader->at - words[i].size,
                            words[i].size);
        }
    return json_bad(reader, reader->at, "a value was expected");
}

/* ---- structure ------------------------------------------------------------ */

static kvsql_rc json_open(struct json_reader *reader, bool object)
{
    if (reader->depth == HTTP_JSON_DEPTH_MAX)
        return kv_fail(reader->err, KVSQL_TOOBIG,
                       "JSON: nested deeper than %d", HTTP_JSON_DEPTH_MAX);
    reader->stack[reader->depth++] = reader->json->count;
    reader->state = object ? JSON_NAME_OR_CLOSE : JSON_VALUE_OR_CLOSE;
    reader->at++;
    return json_add(reader, object ? HTTP_JSON_OBJECT : HTTP_JSON_ARRAY,
                    reader->at - 1, 1);
}

static void json_after_value(struct json_reader *reader)
{
    if (reader->depth == 0) {
        reader->state = JSON_END;
        return;
    }
    reader->json->tokens[reader->stack[reader->depth - 1]].count++;
    reader->state = JSON_COMMA_OR_CLOSE;
}

static void json_close(struct json_reader *reader)
{
    struct http_json *json = reader->json;

    reader->at++;
    json->tokens[reader->stack[--reader->depth]].next = json->count; /* J1 */
    json_after_value(reader);
}

static bool json_in_object(const struct json_reader *reader)
{
    return reader->json->tokens[reader->stack[reader->depth - 1]].kind ==
           HTTP_JSON_OBJECT;
}

static void json_blanks(struct json_reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' ||
            *reader->at == '\r'))
        reader->at++;
}

static kvsql_rc json_name(struct json_reader *reader)
{
    if (*reader->at == '}' && reader->state == JSON_NAME_OR_CLOSE) {
        json_close(reader);
        return KVSQL_OK;
    }
    if (*reader->at != '"')
        return json_bad(reader, reader->at, "a name in quotes was expected");
    kvsql_rc rc = json_read_string(reader);
    if (rc != KVSQL_OK)
        return rc;
    json_blanks(reader);
    if (reader->at == reader->end || *reader->at != ':')
        return json_bad(reader, reader->at, "':' was expected");
    reader->at++;
    reader->state = JSON_VALUE;
    return KVSQL_OK;
}

static kvsql_rc json_value(struct json_reader *reader)
{
    uint8_t c = *reader->at;
    kvsql_rc rc;

    if (c == ']' && reader->state == JSON_VALUE_OR_CLOSE) {
        json_close(reader);
        return KVSQL_OK;
    }
    if (c == '[' || c == '{')
        return json_open(reader, c == '{');
    if (c == '"')
        rc = json_read_string(reader);
    else if (c == '-' || (c >= '0' && c <= '9'))
        rc = json_read_number(reader);
    else
        rc = json_read_word(reader);
    if (rc == KVSQL_OK)
        json_after_value(reader);
    return rc;
}

static kvsql_rc json_comma(struct json_reader *reader)
{
    bool object = json_in_object(reader);

    if (*reader->at == (object ? '}' : ']')) {
        json_close(reader);
        return KVSQL_OK;
    }
    if (*reader->at != ',')
        return json_bad(reader, reader->at,
                        object ? "',' or '}' was expected"
                               : "',' or ']' was expected");
    reader->at++;
    reader->state = object ? JSON_NAME : JSON_VALUE;
    return KVSQL_OK;
}

static kvsql_rc json_step(struct json_reader *reader)
{
    switch (reader->state) {
    case JSON_VALUE:
    case JSON_VALUE_OR_CLOSE:
        return json_value(reader);
    case JSON_NAME:
    case JSON_NAME_OR_CLOSE:
        return json_name(reader);
    case JSON_COMMA_OR_CLOSE:
        return json_comma(reader);
    case JSON_END:
        break;
    }
    return json_bad(reader, reader->at, "something stands behind the value");
}

kvsql_rc http_json_parse(struct http_json *json, uint8_t *text, size_t size,
                         struct kvsql_error *err)
{
    return http_json_parse_most(json, text, size, HTTP_JSON_TOKENS_MAX, err);
}

kvsql_rc http_json_parse_most(struct http_json *json, uint8_t *text,
                              size_t size, uint32_t most,
                              struct kvsql_error *err)
{
    struct json_reader reader = {.json = json,
                                 .start = text,
                                 .at = text,
                                 .end = text + size,
                                 .err = err};
    kvsql_rc rc = KVSQL_OK;

    *json = (struct http_json){.most = most};
    if (size > UINT32_MAX)
        return kv_fail(err, KVSQL_TOOBIG, "JSON: longer than 4 GiB");
    size_t valid = kv_utf8_prefix(text, size);
    if (valid < size)
        return json_bad(&reader, text + valid, "bytes that are not UTF-8");
    json_blanks(&reader);
    while (rc == KVSQL_OK && reader.at < reader.end) {
        rc = json_step(&reader);
        if (reader.at < reader.end && *reader.at <= ' ')
            json_blanks(&reader);
    }
    if (rc == KVSQL_OK && reader.state != JSON_END)
        rc = json_bad(&reader, reader.end, "the text ends too early");
    if (rc != KVSQL_OK)
        http_json_fini(json);
    return rc;
}

void http_json_fini(struct http_json *json)
{
    kv_mem_free(KV_MEM_CLIENT, json->tokens,
                json->cap * sizeof *json->tokens);
    *json = (struct http_json){0};
}

/* ---- objects --------------------------------------------------------------- */

static bool json_is(const struct http_json_token *token, const char *text)
{
    return token->size == strlen(text) &&
           memcmp(token->p, text, token->size) == 0;
}

uint32_t http_json_find(const struct http_json *json, uint32_t object,
                        const char *name)
{
    const struct http_json_token *tokens = json->tokens;

    if (tokens[object].kind != HTTP_JSON_OBJECT)
        return 0;
    for (uint32_t i = object + 1; i < tokens[object].next;
         i = tokens[i + 1].next)
        if (json_is(&tokens[i], name))
            return i + 1;
    return 0;
}

kvsql_rc http_json_only(const struct http_json *json, uint32_t object,
                        const char *const *names, struct kvsql_error *err)
{
    const struct http_json_token *tokens = json->tokens;
    uint64_t seen = 0;
    char shown[64];

    for (uint32_t i = object + 1; i < tokens[object].next;
         i = tokens[i + 1].next) {
        unsigned which = 0;
        while (names[which] != NULL && !json_is(&tokens[i], names[which]))
            which++;
        KV_ASSERT(which < 64);
        const bool known = names[which] != NULL;
        if (!known || (seen & (UINT64_C(1) << which)) != 0) {
            kv_text_show(shown, sizeof shown, tokens[i].p, tokens[i].size);
            return kv_fail(err, KVSQL_INVALID,
                           known ? "JSON: member \"%s\" stands twice"
                                 : "JSON: unknown member \"%s\"",
                           shown);
        }
        seen |= UINT64_C(1) << which;
    }
    return KVSQL_OK;
}

kvsql_slice http_json_slice(const struct http_json_token *token)
{
    return (kvsql_slice){token->p, token->size};
}
