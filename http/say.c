/* say.c - how a handler says its commands and shows their replies (call.h).
 *
 * Thread: the one that has the request. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "http/call.h"
#include "kvsql/base/text.h"

/* ---- saying -------------------------------------------------------------------- */

bool http_call_refuse(struct http_call *call, enum http_problem problem,
                      const char *format, ...)
{
    va_list args;

    va_start(args, format);
    http_refuse_args(call->request, problem, format, args);
    va_end(args);
    call->refused = true;
    return false;
}

bool http_call_fail(struct http_call *call, kvsql_rc rc, const char *detail,
                    const char *extra)
{
    http_fail(call->request, rc, detail, extra);
    call->refused = true;
    return false;
}

void http_fail_reply(struct http_request *request,
                     const struct cmd_reply *reply)
{
    kvsql_slice line = cmd_reply_line(reply);
    const char *p = line.p, *blank = memchr(p, ' ', line.size);
    kvsql_rc rc = reply->rc != KVSQL_OK ? reply->rc : KVSQL_TOOBIG;
    const char *word = kv_error_row(rc)->resp;
    char text[KVSQL_ERROR_SIZE];

    if (blank != NULL && (size_t)(blank - p) == strlen(word) &&
        memcmp(p, word, strlen(word)) == 0)
        line = (kvsql_slice){blank + 1, line.size - (size_t)(blank + 1 - p)};
    snprintf(text, sizeof text, "%.*s", (int)line.size, (const char *)line.p);
    http_fail(request, rc, text, NULL);
}

bool http_call_say(struct http_call *call, const kvsql_slice *words,
                   unsigned count, uint64_t more)
{
    struct http_command *command = &call->commands[call->count];
    kvsql_slice *argv =
        http_alloc(call->request, (count + more) * sizeof *argv);

    KV_ASSERT(call->count < HTTP_CALL_COMMANDS);
    if (argv == NULL)
        return http_call_fail(call, KVSQL_NOMEM, "no memory for the arguments",
                         NULL);
    memcpy(argv, words, count * sizeof *argv);
    *command = (struct http_command){.argc = count,
                                     .argc_max = count + (unsigned)more,
                                     .argv = argv};
    cmd_reply_init(&command->reply, HTTP_REPLY_MAX);
    if (call->count == 0) { /* has the memory that the request keeps */
        struct kv_buf *const kept = &call->request->reply.own;
        const struct kv_buf none = command->reply.own;
        command->reply.own = *kept;
        *kept = none;
    }
    call->count++;
    return true;
}

void http_call_unsay(struct http_call *call)
{
    struct cmd_reply *const reply = &call->commands[--call->count].reply;

    if (call->count == 0) {
        cmd_reply_reset(reply);
        call->request->reply.own = reply->own;
    } else {
        cmd_reply_fini(reply);
    }
}

void http_call_word(struct http_call *call, kvsql_slice word)
{
    struct http_command *command = &call->commands[call->count - 1];

    KV_ASSERT(command->argc < command->argc_max);
    command->argv[command->argc++] = word;
}

kvsql_slice http_call_body(const struct http_call *call)
{
    const struct kv_buf *body = &call->request->body;

    return (kvsql_slice){body->p ? (const void *)body->p : "", body->size};
}

kvsql_slice http_call_segment(const struct http_call *call, unsigned index)
{
    return call->request->segments[2 + index];
}

/* ---- showing -------------------------------------------------------------------- */

struct cmd_item http_call_item(const struct http_call *call, unsigned index)
{
    struct cmd_item item = {0};
    size_t offset = 0;

    KV_ASSERT(index < call->count);
    (void)cmd_reply_next(&call->commands[index].reply, &offset, &item);
    return item;
}

struct kv_buf *http_call_answer(struct http_call *call)
{
    http_answer(call->request, 200, HTTP_TYPE_JSON);
    return &call->request->answer.body;
}

void http_call_absent(struct http_call *call, const char *what,
                      kvsql_slice name)
{
    char shown[128], text[192];

    snprintf(text, sizeof text, "there is no %s '%s'", what,
             kv_text_show(shown, sizeof shown, name.p, name.size));
    (void)http_call_fail(call, KVSQL_NOTFOUND, text, NULL);
}

void http_call_raw(struct http_call *call, const struct cmd_item *item)
{
    bool text = kv_class_of(item->p, item->size) == KV_TEXT;

    http_answer(call->request, 200,
                text ? "text/plain; charset=utf-8"
                     : "application/octet-stream");
    kv_buf_add(&call->request->answer.body, item->p, item->size);
    http_answer_header(call->request, "Content-Security-Policy",
                       "default-src 'none'");
}

void http_call_number(struct http_call *call, const char *name)
{
    struct kv_buf *out = http_call_answer(call);

    kv_buf_printf(out, "{\"%s\":%lld}", name,
                  (long long)http_call_item(call, 0).number);
}

void http_call_removed(struct http_call *call, const char *what)
{
    if (http_call_item(call, 0).number == 0)
        http_call_absent(call, what, http_call_segment(call, 1));
    else
        http_answer(call->request, 204, NULL);
}
