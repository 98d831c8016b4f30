/* sets.c - /v1/sets/{key}, its members, and what is made of several sets.
 *
 * Thread: the one that has the request. */
#include <string.h>

#include "http/value.h"

/* ---- all members ------------------------------------------------------------------ */

static bool sets_get(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("SMEMBERS"), call->key);
}

static void sets_got(struct http_call *call)
{
    http_value_answer(call, KV_SET, &call->commands[0].reply);
}

HTTP_DEED(sets_get, .type = KV_SET, .flags = HTTP_CALL_WIDE, .say = sets_get,
          .show = sets_got)

static bool sets_put(struct http_call *call)
{
    return http_value_replace(call, KV_SET, 0);
}

HTTP_DEED(sets_put, .type = KV_SET,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .say = sets_put)

static bool sets_add(struct http_call *call)
{
    const kvsql_slice words[] = {HTTP_WORD("SADD"), call->key};

    return http_value_each(call, http_value_place(call, "members"), words, 2);
}

static void sets_added(struct http_call *call)
{
    http_call_number(call, "added");
}

HTTP_DEED(sets_add, .type = KV_SET,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON |
                   HTTP_CALL_WHOLE,
          .members = (const char *const[]){"members", NULL}, .say = sets_add,
          .show = sets_added)

static bool sets_pop(struct http_call *call)
{
    kvsql_slice count = HTTP_WORD("1");

    return http_value_option(call, "count", &count) &&
           HTTP_SAY(call, HTTP_WORD("SPOP"), call->key, count);
}

static void sets_popped(struct http_call *call)
{
    http_value_list(call, "members");
}

HTTP_DEED(sets_pop, .type = KV_SET,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_JSON | HTTP_CALL_WHOLE,
          .members = (const char *const[]){"count", NULL}, .say = sets_pop,
          .show = sets_popped)

/* ---- {"with":[keys],"store":key} ----------------------------------------------------- */

/* The command of the two that stores, or the one that answers. */
static bool sets_algebra(struct http_call *call, const char *read,
                         const char *store)
{
    kvsql_slice to = {NULL, 0};

    if (!http_value_option(call, "store", &to))
        return false;
    call->reads = to.p == NULL;
    const kvsql_slice reading[] = {{read, strlen(read)}, call->key};
    const kvsql_slice storing[] = {{store, strlen(store)}, to, call->key};
    return http_value_each(call, http_value_place(call, "with"),
                           to.p != NULL ? storing : reading,
                           to.p != NULL ? 3 : 2);
}

static void sets_made(struct http_call *call)
{
    if (http_call_item(call, 0).kind == CMD_REPLY_INT)
        http_call_number(call, "stored");
    else
        http_value_list(call, "members");
}

#define SETS_ALGEBRA(name, read)                                              \
    static bool sets_say_##name(struct http_call *call)                       \
    {                                                                         \
        return sets_algebra(call, read, read "STORE");                        \
    }                                                                         \
    HTTP_DEED(sets_##name, .type = KV_SET,                                    \
              .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_JSON,   \
              .members = (const char *const[]){"with", "store", NULL},        \
              .say = sets_say_##name, .show = sets_made)
SETS_ALGEBRA(union, "SUNION")
SETS_ALGEBRA(inter, "SINTER")
SETS_ALGEBRA(diff, "SDIFF")

/* ---- one member -------------------------------------------------------------------- */

static bool sets_member_get(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("SISMEMBER"), call->key,
                    http_call_segment(call, 1));
}

static void sets_member_told(struct http_call *call)
{
    http_call_removed(call, "member");
}

HTTP_DEED(sets_member_get, .type = KV_SET, .say = sets_member_get,
          .show = sets_member_told)

static bool sets_member_put(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("SADD"), call->key,
                    http_call_segment(call, 1));
}

HTTP_DEED(sets_member_put, .type = KV_SET,
          .flags = HTTP_CALL_WRITES | HTTP_CALL_MAKES | HTTP_CALL_ELEMENT,
          .say = sets_member_put)

static bool sets_member_delete(struct http_call *call)
{
    return HTTP_SAY(call, HTTP_WORD("SREM"), call->key,
                    http_call_segment(call, 1));
}

HTTP_DEED(sets_member_delete, .type = KV_SET, .flags = HTTP_CALL_WRITES,
          .say = sets_member_delete, .show = sets_member_told)
