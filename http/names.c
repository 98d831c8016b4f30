/* names.c - no object says the same name twice.
 *
 * Readers of JSON differ in which of two they take, so neither is taken. A few
 * names are compared with each other; many are sorted, which no choice of names
 * makes slow.
 *
 * Thread: the request's. */
#include <stdlib.h>
#include <string.h>

#include "http/json.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/text.h"

#define NAMES_FEW 16

static int names_order(const void *a, const void *b)
{
    const struct http_json_token *x = *(const struct http_json_token *const *)a,
                                 *y = *(const struct http_json_token *const *)b;

    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->size > 0 ? memcmp(x->p, y->p, x->size) : 0;
}

static kvsql_rc names_twice(const struct http_json_token *name,
                            struct kvsql_error *err)
{
    char shown[64];

    return kv_fail(err, KVSQL_INVALID, "JSON: member \"%s\" stands twice",
                   kv_text_show(shown, sizeof shown, name->p, name->size));
}

static kvsql_rc names_check(const struct http_json_token **names,
                            uint32_t count, struct kvsql_error *err)
{
    if (count > NAMES_FEW)
        qsort(names, count, sizeof *names, names_order);
    for (uint32_t i = 1; i < count; i++) {
        const uint32_t first = count > NAMES_FEW ? i - 1 : 0;
        for (uint32_t j = first; j < i; j++)
            if (names_order(&names[j], &names[i]) == 0)
                return names_twice(names[i], err);
    }
    return KVSQL_OK;
}

kvsql_rc http_json_once(const struct http_json *json, uint32_t object,
                        struct kvsql_error *err)
{
    const struct http_json_token *const tokens = json->tokens;
    const uint32_t count = tokens[object].count;
    const struct http_json_token *few[NAMES_FEW], **names = few;
    uint32_t i = object + 1;

    if (count < 2)
        return KVSQL_OK;
    if (count > NAMES_FEW)
        names = kv_mem_alloc(KV_MEM_CLIENT, count * sizeof *names);
    if (names == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for the names of an object");
    for (uint32_t n = 0; n < count; n++, i = tokens[i + 1].next)
        names[n] = &tokens[i];
    const kvsql_rc rc = names_check(names, count, err);
    if (names != few)
        kv_mem_free(KV_MEM_CLIENT, names, count * sizeof *names);
    return rc;
}
