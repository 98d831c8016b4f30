/* streams.c - who listens to channels and to commands: /subscribe, /psubscribe
 * and /monitor, as the clients of Upstash read them, and /v1/channels.
 *
 *   data: subscribe,chat,1                   data: "OK"
 *   data: message,chat,hello                 data: 1700000000.000000 [0 ..] "get"
 *   data: pmessage,c*,chat,hello
 *
 *   event: publish
 *   data: {"channel":"chat","payload":"hello"}
 *
 * There is no way to unsubscribe but to leave.
 *
 * Thread: the event loop's; what hears runs in the thread that sends. */
#include <string.h>

#include "command/pubsub.h"
#include "command/stats.h"
#include "http/call.h"
#include "http/json.h"
#include "http/sse.h"
#include "kvsql/base/text.h"

#define STREAMS_NAMES 128 /* channels of one stream */
#define STREAMS_EVENT (2 * HTTP_STREAM_MAX) /* bytes of an event */

struct streams {
    struct http_sse sse;
    struct cmd_ear ear;
    struct cmd_monitor monitor;
    kvsql_slice *names; /* in the arena */
    unsigned count;
    bool pattern, resource;
};

/* ---- hearing (the sender's thread) ------------------------------------------------- */

static struct streams *streams_of(struct cmd_ear *ear)
{
    return (struct streams *)((char *)ear - offsetof(struct streams, ear));
}

/* message,CHANNEL,PAYLOAD or pmessage,PATTERN,CHANNEL,PAYLOAD. */
static void streams_line(const struct cmd_message *message, struct kv_buf *out)
{
    struct kv_buf text;

    kv_buf_init(&text, KV_MEM_CLIENT, STREAMS_EVENT);
    kv_buf_text(&text, message->pattern.p != NULL ? "pmessage," : "message,");
    if (message->pattern.p != NULL) {
        kv_buf_add(&text, message->pattern.p, message->pattern.size);
        kv_buf_byte(&text, ',');
    }
    kv_buf_add(&text, message->channel.p, message->channel.size);
    kv_buf_byte(&text, ',');
    kv_buf_add(&text, message->payload.p, message->payload.size);
    http_sse_data(out, &text);
    kv_buf_fini(&text);
}

static void streams_bytes(struct kv_buf *out, kvsql_slice bytes)
{
    http_json_bytes(out, bytes.p, bytes.size,
                    kv_class_of(bytes.p, bytes.size) == KV_BLOB);
}

static void streams_json(const struct cmd_message *message, struct kv_buf *out)
{
    kv_buf_text(out, "event: publish\ndata: {\"channel\":");
    streams_bytes(out, message->channel);
    if (message->pattern.p != NULL) {
        kv_buf_text(out, ",\"pattern\":");
        streams_bytes(out, message->pattern);
    }
    kv_buf_text(out, ",\"payload\":");
    streams_bytes(out, message->payload);
    kv_buf_text(out, "}\n");
}

static void streams_hear(struct cmd_ear *ear, const struct cmd_message *message)
{
    struct streams *streams = streams_of(ear);
    struct kv_buf event;

    kv_buf_init(&event, KV_MEM_CLIENT, STREAMS_EVENT);
    if (streams->resource)
        streams_json(message, &event);
    else
        streams_line(message, &event);
    kv_buf_byte(&event, '\n');
    http_sse_put(&streams->sse, &event);
    kv_buf_fini(&event);
}

static void streams_monitor(struct cmd_monitor *monitor, kvsql_slice line)
{
    struct streams *streams =
        (struct streams *)((char *)monitor - offsetof(struct streams, monitor));
    struct kv_buf event;

    kv_buf_init(&event, KV_MEM_CLIENT, STREAMS_EVENT);
    kv_buf_text(&event, "data: ");
    kv_buf_add(&event, line.p, line.size);
    kv_buf_text(&event, "\n\n");
    http_sse_put(&streams->sse, &event);
    kv_buf_fini(&event);
}

/* ---- joining and leaving ------------------------------------------------------------ */

static enum cmd_pubsub_kind streams_kind(const struct streams *streams)
{
    return streams->pattern ? CMD_PUBSUB_PATTERN : CMD_PUBSUB_CHANNEL;
}

static void streams_leave(struct http_sse *sse)
{
    struct streams *streams = (struct streams *)sse; /* its first member */

    for (unsigned i = 0; i < streams->count; i++)
        cmd_pubsub_remove(&streams->ear, streams->names[i],
                          streams_kind(streams));
}

static void streams_leave_monitor(struct http_sse *sse)
{
    cmd_monitor_close(&((struct streams *)sse)->monitor);
}

/* Subscribe to the names; a name that cannot be had ends the stream, which a
 * client would otherwise take for a silent channel. */
static void streams_join(struct streams *streams, const kvsql_slice *names,
                         unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!cmd_pubsub_add(&streams->ear, names[i], streams_kind(streams))) {
            http_sse_end(&streams->sse);
            return;
        }
        streams->count = i + 1;
    }
}

static struct streams *streams_new(struct http_request *request)
{
    struct streams *streams = http_alloc(request, sizeof *streams);

    if (streams == NULL) {
        http_fail(request, KVSQL_NOMEM, "no memory for a stream", NULL);
        return NULL;
    }
    *streams = (struct streams){.ear.hear = streams_hear,
                                .monitor.hear = streams_monitor};
    return streams;
}

/* ---- tier 1 ------------------------------------------------------------------------- */

static bool streams_has(const kvsql_slice *names, unsigned count,
                        kvsql_slice name)
{
    for (unsigned i = 0; i < count; i++)
        if (names[i].size == name.size &&
            (name.size == 0 || memcmp(names[i].p, name.p, name.size) == 0))
            return true;
    return false;
}

/* What it begins with: each name, and how many different ones they are. */
static void streams_greet(const struct streams *streams, unsigned count,
                          struct kv_buf *out)
{
    unsigned different = 0;

    for (unsigned i = 0; i < count; i++) {
        struct kv_buf text;
        different += !streams_has(streams->names, i, streams->names[i]);
        kv_buf_init(&text, KV_MEM_CLIENT, STREAMS_EVENT);
        kv_buf_text(&text, streams->pattern ? "psubscribe," : "subscribe,");
        kv_buf_add(&text, streams->names[i].p, streams->names[i].size);
        kv_buf_printf(&text, ",%u", different);
        http_sse_data(out, &text);
        kv_buf_byte(out, '\n');
        kv_buf_fini(&text);
    }
}

static void streams_monitor_open(struct http_request *request)
{
    struct streams *streams;

    if (request->rights < HTTP_RIGHT_ALL) {
        http_fail(request, KVSQL_AUTH,
                  "this user has no permissions to run the 'monitor' command",
                  NULL);
        return;
    }
    streams = streams_new(request);
    if (streams != NULL && http_sse_open(request, &streams->sse,
                                         HTTP_WORD("data: \"OK\"\n\n"),
                                         streams_leave_monitor))
        cmd_monitor_open(&streams->monitor);
}

/* /subscribe/{ch}/.. and /psubscribe/{pattern}/..; one trailing / is none. */
static void streams_subscribe(struct http_request *request)
{
    struct streams *streams = streams_new(request);
    unsigned count = request->segment_count - 1;
    struct kv_buf hello;

    if (streams == NULL)
        return;
    streams->names = request->segments + 1;
    streams->pattern = http_is(request->segments[0], "psubscribe");
    if (count > 1 && streams->names[count - 1].size == 0)
        count--;
    if (count > STREAMS_NAMES) {
        http_refuse(request, HTTP_P_PARAMETER, "at most %d channels",
                    STREAMS_NAMES);
        return;
    }
    kv_buf_init(&hello, KV_MEM_CLIENT, STREAMS_EVENT);
    streams_greet(streams, count, &hello);
    if (hello.failed)
        http_fail(request, KVSQL_NOMEM, "no memory for a stream", NULL);
    else if (http_sse_open(request, &streams->sse,
                           (kvsql_slice){hello.p, hello.size}, streams_leave))
        streams_join(streams, streams->names, count);
    kv_buf_fini(&hello);
}

enum http_next http_do_stream(struct http_request *request)
{
    if (http_is(request->segments[0], "monitor"))
        streams_monitor_open(request);
    else
        streams_subscribe(request);
    return HTTP_NEXT_ANSWER;
}

/* ---- /v1/channels ------------------------------------------------------------------- */

enum http_next http_do_channels_get(struct http_request *request)
{
    struct streams *streams = streams_new(request);

    if (streams == NULL)
        return HTTP_NEXT_ANSWER;
    streams->names = request->segments + 2;
    streams->pattern = http_is(http_param(request, "pattern"), "1");
    streams->resource = true;
    if (http_sse_open(request, &streams->sse,
                      HTTP_WORD("retry: 2000\n\n"), streams_leave))
        streams_join(streams, streams->names, 1);
    return HTTP_NEXT_ANSWER;
}

enum http_next http_do_channels_publish(struct http_request *request)
{
    const struct kv_buf *body = &request->body;
    const kvsql_slice argv[] = {
        HTTP_WORD("PUBLISH"), request->segments[2],
        {body->p != NULL ? (const void *)body->p : "", body->size}};
    struct cmd_item item = {0};
    struct cmd_reply reply;
    size_t offset = 0;

    cmd_reply_init(&reply, HTTP_BLOCK);
    cmd_slowlog_origin("http", NULL);
    cmd_run(atomic_load(&request->server->db), 3, argv, true, &reply,
            &request->ticket);
    if (reply.rc == KVSQL_OK && !cmd_reply_failed(&reply)) {
        (void)cmd_reply_next(&reply, &offset, &item);
        request->has_ticket = true;
        http_answer(request, 200, HTTP_TYPE_JSON);
        kv_buf_printf(&request->answer.body, "{\"receivers\":%lld}",
                      (long long)item.number);
    } else {
        http_fail_reply(request, &reply);
    }
    cmd_reply_fini(&reply);
    return HTTP_NEXT_ANSWER;
}
