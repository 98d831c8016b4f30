/* await.c - ?wait=30s on what takes elements: :pop and :move of lists, :pop of
 * sorted sets.
 *
 * When there is no key, the request enters the queue for it (command/await.h) in
 * the transaction that looked, and its connection is suspended; no thread waits.
 * Whoever puts something there tells the watcher, who resumes it, and it looks
 * again in a transaction of its own. A key of another type, put there while it
 * waits, is none of what it waits for; at the first look it is an error. When the
 * time is over the answer is 204; when the client leaves, or the server stops, the
 * request ends and hands on what it may have been told of.
 *
 * Thread: the event loop's. */
#include "http/call.h"

#include "kvsql/base/os.h"

#define AWAIT_MAX_MS 60000

/* Under the store's lock. */
static void await_ready(struct cmd_waiter *waiter)
{
    http_watch_tell(waiter->arg);
}

/* The request is over before it was answered, or when it has been. */
static void await_drop(struct http_request *request)
{
    struct http_call *call = request->state;

    request->wait.drop = NULL;
    cmd_await_end(&call->waiter, true);
    http_call_end(call);
}

bool http_call_may_wait(struct http_call *call)
{
    struct http_request *request = call->request;
    kvsql_slice text = http_param(request, "wait");

    if (text.p == NULL || !(call->deed->flags & HTTP_CALL_WAITS))
        return true;
    if (!http_duration(text, &call->wait_ms))
        return http_call_refuse(call, HTTP_P_PARAMETER,
                                "wait is a number and one of ms, s, m, such "
                                "as 30s; at most 60 s are waited");
    if (call->wait_ms > AWAIT_MAX_MS)
        call->wait_ms = AWAIT_MAX_MS;
    if (request->body.size > HTTP_BODY_INLINE) { /* a worker has it */
        http_refuse_limit(request, HTTP_P_BODY, HTTP_BODY_INLINE,
                          "%zu bytes are too much for a request that waits",
                          request->body.size);
        call->refused = true;
        return false;
    }
    request->wait.until_ns =
        kv_os_mono_ns() + (uint64_t)call->wait_ms * 1000000;
    request->wait.again = http_call_again;
    call->waiter = (struct cmd_waiter){
        .key = call->key, .ready = await_ready, .arg = request};
    cmd_await_observe(atomic_load(&request->server->db));
    return true;
}

/* Is it time to end, and was it told of nothing meanwhile? What it was told of
 * is looked at once more in any case. */
static bool await_over(struct http_request *request)
{
    kv_lock_take(&request->lock);
    const bool over = request->wait.late;
    request->wait.told = false;
    kv_lock_drop(&request->lock);
    return over;
}

bool http_call_wait(struct http_call *call)
{
    struct http_request *request = call->request;
    const struct http_key *key = &call->before;
    const bool other = key->found && call->again &&
                       key->type != call->deed->type;

    if (call->wait_ms == 0)
        return false;
    const bool over = await_over(request);
    if ((key->found && !other) ||
        request->headers[HTTP_H_IF_MATCH].p != NULL)
        return false;
    if (over) {
        http_answer(request, 204, NULL);
        call->refused = true; /* nothing more is shown of it */
        return true;
    }
    if (other)
        cmd_await_end(&call->waiter, true); /* for whom it may be something */
    cmd_await_enter(&call->waiter);
    request->wait.drop = await_drop;
    call->waits = true;
    return true;
}

void http_call_waited(struct http_call *call)
{
    if (call->wait_ms == 0)
        return;
    call->request->wait.drop = NULL;
    cmd_await_end(&call->waiter, call->refused || call->prefer.dry ||
                                     call->after.found);
}
