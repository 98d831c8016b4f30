/* call.h - a request on one key: what a handler says, and what is done for it.
 *
 * A handler of /v1/strings, /v1/hashes ... is a struct http_deed: the type of
 * key it is for, how its request becomes commands, how their replies become
 * the answer. All that they share is done here, in one txn, so that it is one
 * decision about one state:
 *
 *   body -> commands            (say; refused before anything is locked)
 *   the key as it is            absent 404, another type 409, If-Match 412,
 *                               If-None-Match 304
 *   commands, then the TTL      an error takes all of it back
 *   the key as it is now        ETag, X-KVSQL-TTL-Remaining-Ms
 *   commit, or Prefer: tx=rollback
 *   replies -> answer           (show)
 *
 * A reading that would copy much is done by a worker on a view instead, and a
 * worker runs commands that may take long.
 *
 * Thread: the one that has the request. */
#ifndef KVSQL_HTTP_CALL_H
#define KVSQL_HTTP_CALL_H

#include "command/await.h"
#include "command/command.h"
#include "http/json.h"
#include "http/prefer.h"
#include "http/request.h"

#define HTTP_CALL_COMMANDS 4 /* of one request at most */

enum http_call_flag {
    HTTP_CALL_WRITES = 1,
    HTTP_CALL_MAKES = 2,   /* an absent key is no 404 */
    HTTP_CALL_JSON = 4,    /* the body is a JSON value */
    HTTP_CALL_WIDE = 8,    /* reads all of the value, or much of it */
    HTTP_CALL_WHOLE = 16,  /* Prefer: return= can give the whole value */
    HTTP_CALL_ELEMENT = 32, /* the first reply says: 1 made, 0 was there */
    HTTP_CALL_WAITS = 64    /* ?wait=: until there is something to take */
};

struct http_call;

struct http_deed {
    enum kv_type type; /* that the key must have; KV_NONE: any */
    unsigned flags;
    /* Members of the body's object, NULL-terminated; NULL: `say` looks. */
    const char *const *members;
    /* Add the commands. False: refused. */
    bool (*say)(struct http_call *call);
    /* What is to be known of the key before the commands run: their words may
     * still change. False: refused. NULL: nothing. */
    bool (*aim)(struct http_call *call, const struct kv_at *at);
    /* Make the body of the answer from the replies, with http_answer() first;
     * it may refuse. NULL: there is none. */
    void (*show)(struct http_call *call);
};

struct http_command {
    unsigned argc, argc_max;
    kvsql_slice *argv;
    struct cmd_reply reply;
};

/* A key at one moment. */
struct http_key {
    bool found;
    enum kv_type type;
    uint64_t version; /* 0: changed in the txn that is open */
    int64_t ttl_ms;   /* < 0: none */
    uint64_t memory, length;
};

struct http_call {
    struct http_request *request;
    const struct http_deed *deed;
    kvsql_slice key;
    struct http_json json;
    struct http_prefer prefer;
    int64_t ttl_ms; /* asked for; 0: not */
    uint64_t cache; /* seconds that the answer may be kept; 0: not */
    struct http_command commands[HTTP_CALL_COMMANDS];
    unsigned count;
    struct http_key before, after;
    struct cmd_reply whole; /* for Prefer: return= */
    bool has_whole, refused;
    void *own;  /* the handler's, in the arena */
    int64_t wait_ms;  /* at most so long for something to take; 0: not at all */
    struct cmd_waiter waiter;
    bool waits, again; /* nothing was there; it is not the first look */
    bool reads; /* said so: nothing is written after all, of several keys */
};

/* await.c: ?wait= of the request. False: refused. */
KV_INTERNAL bool http_call_may_wait(struct http_call *call);
/* In the open txn, the key as it is: is there nothing to take, and does the
 * request wait for it? Then it is in the queue when this returns, or its time is
 * over and it is answered; the txn is to be rolled back. */
KV_INTERNAL bool http_call_wait(struct http_call *call);
/* The call has looked and waits no more: let the next one have what is left. */
KV_INTERNAL void http_call_waited(struct http_call *call);
/* call.c: look again. */
KV_INTERNAL enum http_next http_call_again(struct http_request *request);
/* Free what the call holds. */
KV_INTERNAL void http_call_end(struct http_call *call);

/* Do it. The request's second segment is the key. */
KV_INTERNAL enum http_next http_call_run(struct http_request *request,
                                         const struct http_deed *deed);

/* The handler of a row of routes.def. */
#define HTTP_DEED(name, ...)                                                  \
    static const struct http_deed name##_deed = {__VA_ARGS__};                \
    enum http_next http_do_##name(struct http_request *request)               \
    {                                                                         \
        return http_call_run(request, &name##_deed);                          \
    }

/* ---- saying ----------------------------------------------------------------- */

#define HTTP_WORD(text) ((kvsql_slice){(text), sizeof(text) - 1})

/* A command of these words, with room for `more`. False: refused (no memory).
 */
KV_INTERNAL bool http_call_say(struct http_call *call,
                               const kvsql_slice *words, unsigned count,
                               uint64_t more);
#define HTTP_SAY_MORE(call, more, ...)                                        \
    http_call_say(call, (const kvsql_slice[]){__VA_ARGS__},                   \
                  sizeof((const kvsql_slice[]){__VA_ARGS__}) /                \
                      sizeof(kvsql_slice),                                    \
                  more)
#define HTTP_SAY(call, ...) HTTP_SAY_MORE(call, 0, __VA_ARGS__)
/* Take the last command back, with its reply. */
KV_INTERNAL void http_call_unsay(struct http_call *call);
/* One more word of the last command. */
KV_INTERNAL void http_call_word(struct http_call *call, kvsql_slice word);
/* Refuse with a problem of the door. Always false. */
KV_INTERNAL bool http_call_refuse(struct http_call *call,
                                  enum http_problem problem,
                                  const char *format, ...) KV_PRINTF(3, 4);
/* The same with a result of the store; `extra` as http_fail() takes it. */
KV_INTERNAL bool http_call_fail(struct http_call *call, kvsql_rc rc,
                                const char *detail, const char *extra);
/* The error of a reply as the answer; its first word, which the problem has as
 * its code, is left out: "ERR no such key". */
KV_INTERNAL void http_fail_reply(struct http_request *request,
                                 const struct cmd_reply *reply);
/* The raw body. */
KV_INTERNAL kvsql_slice http_call_body(const struct http_call *call);
/* Segment `index` behind the key. */
KV_INTERNAL kvsql_slice http_call_segment(const struct http_call *call,
                                          unsigned index);

/* ---- showing ---------------------------------------------------------------- */

/* First item of the reply of command `index`. */
KV_INTERNAL struct cmd_item http_call_item(const struct http_call *call,
                                           unsigned index);
/* Begin a JSON answer of status 200 and give its body. */
KV_INTERNAL struct kv_buf *http_call_answer(struct http_call *call);
/* What was asked for is not in the key: 404. */
KV_INTERNAL void http_call_absent(struct http_call *call, const char *what,
                                  kvsql_slice name);
/* The first reply says whether the element of the path was there: 204, else
 * 404. */
KV_INTERNAL void http_call_removed(struct http_call *call, const char *what);
/* An item as raw bytes: 200. */
KV_INTERNAL void http_call_raw(struct http_call *call,
                               const struct cmd_item *item);
/* {"NAME":n} of the first reply, an integer. */
KV_INTERNAL void http_call_number(struct http_call *call, const char *name);

#endif
