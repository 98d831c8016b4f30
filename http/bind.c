/* bind.c - parameters of a statement: from JSON, from the query of a URL.
 *
 * Thread: workers. */
#include <string.h>
#include <strings.h>

#include "http/sql.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

struct bind_oneing {
    struct vt_statement *statement;
    bool *bound; /* by index */
    int count;
    struct kvsql_error *err;
    struct kv_buf scratch; /* decoded base64 */
};

static void bind_text_value(kvsql_slice text, struct vt_value *out)
{
    bool blob = kv_class_of(text.p, text.size) == KV_BLOB; /* VA1 */

    *out = (struct vt_value){.kind = blob ? VT_BLOB : VT_TEXT,
                             .p = text.size ? text.p : (const uint8_t *)"",
                             .size = text.size};
}

static kvsql_rc bind_base64(struct bind_oneing *binding,
                           const struct http_json *json, uint32_t at,
                           struct vt_value *out)
{
    uint32_t text = http_json_find(json, at, "$base64");
    const struct http_json_token *token = &json->tokens[text];

    kv_buf_reset(&binding->scratch, SIZE_MAX);
    if (json->tokens[at].count != 1 || text == 0 ||
        token->kind != HTTP_JSON_STRING ||
        !kv_base64_decode(&binding->scratch, (const char *)token->p,
                          token->size))
        return kv_fail(binding->err, KVSQL_INVALID,
                       "a parameter is null, a truth value, a number, a "
                       "string or {\"$base64\":\"..\"}");
    if (binding->scratch.failed)
        return kv_fail(binding->err, KVSQL_NOMEM,
                       "no memory for a parameter");
    bind_text_value((kvsql_slice){binding->scratch.p, binding->scratch.size},
                   out);
    return KVSQL_OK;
}

static void bind_number_value(kvsql_slice text, struct vt_value *out)
{
    if (kv_num_int(text.p, text.size, &out->integer)) {
        out->kind = VT_INTEGER;
    } else if (kv_num_double(text.p, text.size, &out->real)) {
        out->kind = VT_REAL;
    } else {
        bind_text_value(text, out); /* more digits than a number may have */
    }
}

static kvsql_rc bind_json_value(struct bind_oneing *binding,
                               const struct http_json *json, uint32_t at,
                               struct vt_value *out)
{
    const struct http_json_token *token = &json->tokens[at];

    *out = (struct vt_value){.kind = VT_NULL};
    switch (token->kind) {
    case HTTP_JSON_NULL:
        return KVSQL_OK;
    case HTTP_JSON_FALSE:
    case HTTP_JSON_TRUE:
        *out = (struct vt_value){.kind = VT_INTEGER,
                                 .integer = token->kind == HTTP_JSON_TRUE};
        return KVSQL_OK;
    case HTTP_JSON_NUMBER:
        bind_number_value(http_json_slice(token), out);
        return KVSQL_OK;
    case HTTP_JSON_STRING:
        bind_text_value(http_json_slice(token), out);
        return KVSQL_OK;
    default:
        return bind_base64(binding, json, at, out);
    }
}

static kvsql_rc bind_one(struct bind_oneing *binding, int index,
                         const struct vt_value *value)
{
    if (index < 1 || index > binding->count)
        return kv_fail(binding->err, KVSQL_INVALID,
                       "the statement has %d parameter(s), number %d was "
                       "given",
                       binding->count, index);
    if (binding->bound[index])
        return kv_fail(binding->err, KVSQL_INVALID,
                       "parameter %d was given twice", index);
    binding->bound[index] = true;
    return vt_bind(binding->statement, index, value, binding->err);
}

/* A name with or without its sign, or a number. */
static kvsql_rc bind_index(struct bind_oneing *binding, kvsql_slice name,
                          int *index)
{
    char text[128], shown[64];
    const char *p = name.p;
    int64_t number;

    *index = 0;
    if (name.size > 1 && strchr(":@$?", p[0]) != NULL) {
        p++;
        name.size--;
    }
    if (kv_num_int(p, name.size, &number) && number >= 1 &&
        number <= binding->count) {
        *index = (int)number;
        return KVSQL_OK;
    }
    if (name.size > 0 && name.size < sizeof text &&
        memchr(p, 0, name.size) == NULL) {
        memcpy(text, p, name.size);
        text[name.size] = 0;
        *index = vt_param_index(binding->statement, text);
    }
    if (*index != 0)
        return KVSQL_OK;
    return kv_fail(binding->err, KVSQL_INVALID,
                   "the statement has no parameter '%s'",
                   kv_text_show(shown, sizeof shown, p, name.size));
}

static kvsql_rc bind_json(struct bind_oneing *binding,
                              const struct http_json *json, uint32_t params)
{
    const struct http_json_token *tokens = json->tokens;
    bool object = tokens[params].kind == HTTP_JSON_OBJECT;
    kvsql_rc rc = KVSQL_OK;
    int index = 0;

    if (!object && tokens[params].kind != HTTP_JSON_ARRAY)
        return kv_fail(binding->err, KVSQL_INVALID,
                       "\"params\" is an array or an object");
    if (object)
        rc = http_json_once(json, params, binding->err);
    for (uint32_t i = params + 1; rc == KVSQL_OK && i < tokens[params].next;
         i = tokens[i].next) {
        struct vt_value value;
        if (object) {
            rc = bind_index(binding, http_json_slice(&tokens[i]), &index);
            i++;
        } else {
            index++;
        }
        if (rc == KVSQL_OK)
            rc = bind_json_value(binding, json, i, &value);
        if (rc == KVSQL_OK)
            rc = bind_one(binding, index, &value);
    }
    return rc;
}

/* Digits, a point, digits, perhaps an exponent: 2.50, -1e9. */
static bool bind_is_decimal(kvsql_slice text)
{
    const char *p = text.p, *end = p + text.size;
    bool point = false;

    if (p < end && *p == '-')
        p++;
    if (p == end || *p < '0' || *p > '9' ||
        (*p == '0' && end - p > 1 && p[1] >= '0' && p[1] <= '9'))
        return false;
    for (; p < end; p++) {
        if (*p == '.' && p + 1 < end && p[1] >= '0' && p[1] <= '9')
            point = true;
        else if (*p == 'e' || *p == 'E' || *p == '+' || *p == '-')
            point = true;
        else if (*p < '0' || *p > '9')
            return false;
    }
    return point;
}

/* p.name=value or p.name:text=value; canonical numbers bind as numbers. */
static kvsql_rc bind_query(struct bind_oneing *binding,
                               const struct http_request *request)
{
    for (unsigned i = 0; i < request->param_count; i++) {
        kvsql_slice name = request->params[i].name;
        kvsql_slice text = request->params[i].value;
        const char *p = name.p;
        struct vt_value value = {0};
        int index;

        if (name.size < 3 || p[0] != 'p' || p[1] != '.')
            continue;
        name = (kvsql_slice){p + 2, name.size - 2};
        bool forced = name.size > 5 &&
                      memcmp(p + 2 + name.size - 5, ":text", 5) == 0;
        if (forced)
            name.size -= 5;
        if (!forced && kv_num_int(text.p, text.size, &value.integer))
            value.kind = VT_INTEGER;
        else if (!forced && bind_is_decimal(text) &&
                 kv_num_double(text.p, text.size, &value.real))
            value.kind = VT_REAL;
        else
            bind_text_value(text, &value);
        kvsql_rc rc = bind_index(binding, name, &index);
        if (rc == KVSQL_OK)
            rc = bind_one(binding, index, &value);
        if (rc != KVSQL_OK)
            return rc;
    }
    return KVSQL_OK;
}

static kvsql_rc bind_bound_all(const struct bind_oneing *binding)
{
    for (int i = 1; i <= binding->count; i++)
        if (!binding->bound[i])
            return kv_fail(binding->err, KVSQL_INVALID,
                           "parameter %d of %d was not given", i,
                           binding->count);
    return KVSQL_OK;
}

kvsql_rc http_sql_bind(struct http_request *request,
                       struct vt_statement *statement,
                       const struct http_json *json, uint32_t params,
                       bool query, struct kvsql_error *err)
{
    struct bind_oneing binding = {.statement = statement,
                                  .count = vt_param_count(statement),
                                  .err = err};
    size_t size = (size_t)binding.count + 1;
    kvsql_rc rc = KVSQL_OK;

    binding.bound = http_alloc(request, size);
    if (binding.bound == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for the parameters");
    memset(binding.bound, 0, size);
    kv_buf_init(&binding.scratch, KV_MEM_CLIENT, request->server->body_max);
    if (params != 0)
        rc = bind_json(&binding, json, params);
    if (rc == KVSQL_OK && query)
        rc = bind_query(&binding, request);
    if (rc == KVSQL_OK)
        rc = bind_bound_all(&binding);
    kv_buf_fini(&binding.scratch);
    return rc;
}
