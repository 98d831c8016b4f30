/* answer.c - answers and refusals: how they look and how they leave.
 *
 * Tier 1 errors are {"error":"WORD sentence"}, the others problem+json
 * (RFC 9457) with a code and a hint from the two tables. Two answers are made
 * at start, for the time when there is no memory to make one (M3).
 *
 * Thread: the event loop's, or the worker that has the request. */
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command/stats.h"
#include "http/gzip.h"
#include "http/intake.h"
#include "http/json.h"
#include "http/request.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

static const struct answer_problem {
    unsigned status;
    const char *code, *title, *hint;
} answer_problems[HTTP_P_COUNT] = {
#define HTTP_PROBLEM_ROW(name, status, code, title, hint)                     \
    [HTTP_P_##name] = {status, code, title, hint},
#include "http/problems.def"
#undef HTTP_PROBLEM_ROW
};

#define ANSWER_SEND_MS 20000 /* and 1 s per 32 KiB (L3) */

static const char answer_out_of_memory[] =
    "{\"error\":\"OOM out of memory while answering\",\"status\":507}";
static const char answer_unavailable[] =
    "{\"error\":\"ERR the answer could not be made\",\"status\":503}";

/* ---- shapes ------------------------------------------------------------------ */

void http_answer(struct http_request *request, unsigned status,
                 const char *type)
{
    struct http_answer *answer = &request->answer;

    answer->status = status;
    answer->type = type;
    answer->header_count = 0;
    answer->cache = NULL;
    answer->link = NULL;
    http_answer_drop(request);
    request->head_stream = false;
    kv_buf_reset(&answer->body, HTTP_BLOCK);
}

void http_answer_file(struct http_request *request, int file, uint64_t first,
                      uint64_t size)
{
    struct http_answer *answer = &request->answer;

    http_answer_drop(request);
    answer->has_file = true;
    answer->file = file;
    answer->file_first = first;
    answer->file_size = size;
}

void http_answer_drop(struct http_request *request)
{
    if (request->answer.has_file)
        close(request->answer.file);
    request->answer.has_file = false;
}

void http_answer_header(struct http_request *request, const char *name,
                        const char *format, ...)
{
    struct http_answer *answer = &request->answer;
    const char *text = strchr(format, '%') == NULL ? format : NULL;
    va_list args;
    int size;

    KV_ASSERT(answer->header_count < HTTP_ANSWER_HEADERS);
    struct http_header *header = &answer->headers[answer->header_count];
    va_start(args, format);
    if (strcmp(format, "%s") == 0)
        text = va_arg(args, const char *);
    if (text != NULL) { /* most are, and printf is dear */
        size = (int)strnlen(text, sizeof header->value);
        memcpy(header->value, text,
               (size_t)size + ((size_t)size < sizeof header->value));
    } else {
        size = vsnprintf(header->value, sizeof header->value, format, args);
    }
    va_end(args);
    header->name = name;
    if (size > 0 && (size_t)size < sizeof header->value)
        answer->header_count++;
}

void http_answer_number(struct http_request *request, const char *name,
                        const char *before, uint64_t number)
{
    struct http_answer *answer = &request->answer;
    const size_t size = strlen(before);

    KV_ASSERT(answer->header_count < HTTP_ANSWER_HEADERS);
    struct http_header *header = &answer->headers[answer->header_count++];
    header->name = name;
    KV_ASSERT(size + KV_INT_TEXT_MAX <= sizeof header->value &&
              number <= INT64_MAX);
    memcpy(header->value, before, size);
    (void)kv_num_format_int(header->value + size, (int64_t)number);
}

void http_answer_next(struct http_request *request, kvsql_slice cursor)
{
    struct kv_buf out;

    kv_buf_init(&out, KV_MEM_CLIENT, HTTP_LINK_MAX);
    kv_buf_byte(&out, '<');
    for (unsigned i = 0; i < request->segment_count; i++) {
        kv_buf_byte(&out, '/');
        http_escape(&out, request->segments[i]);
    }
    kv_buf_byte(&out, '?');
    for (unsigned i = 0; i < request->param_count; i++) {
        const struct http_param *const param = &request->params[i];
        if (http_is(param->name, "cursor") || http_is(param->name, "_token"))
            continue;
        http_escape(&out, param->name);
        kv_buf_byte(&out, '=');
        http_escape(&out, param->value);
        kv_buf_byte(&out, '&');
    }
    kv_buf_text(&out, "cursor=");
    http_escape(&out, cursor);
    kv_buf_text(&out, ">; rel=\"next\"");
    kv_buf_byte(&out, 0);
    char *const text = out.failed ? NULL : http_alloc(request, out.size);
    if (text != NULL)
        memcpy(text, out.p, out.size);
    request->answer.link = text;
    kv_buf_fini(&out);
}

const char *http_request_id(const struct http_request *request, char out[65])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t id = request->server->id_base + request->id;

    if (request->client_id[0] != 0)
        return request->client_id;
    out[16] = 0;
    for (unsigned i = 16; i-- > 0; id >>= 4)
        out[i] = digits[id & 15];
    return out;
}

/* "no such path" -> "no-such-path" */
static void answer_slug(struct kv_buf *out, const char *title)
{
    for (; *title; title++)
        kv_buf_byte(out, *title == ' ' ? '-' : (uint8_t)*title);
}

static void answer_problem(struct kv_buf *out, const char *slug, unsigned status,
                           const char *title, const char *code,
                           const char *hint, const char *detail,
                           const char *id, const char *extra)
{
    kv_buf_text(out, "{\"type\":\"/problems/");
    answer_slug(out, slug);
    kv_buf_text(out, "\",\"title\":");
    http_json_text(out, title);
    kv_buf_printf(out, ",\"status\":%u,\"detail\":", status);
    http_json_text(out, detail);
    kv_buf_text(out, ",\"instance\":");
    http_json_text(out, id);
    kv_buf_text(out, ",\"code\":");
    http_json_text(out, code);
    kv_buf_text(out, ",\"hint\":");
    http_json_text(out, hint);
    if (extra != NULL)
        kv_buf_text(out, extra);
    kv_buf_byte(out, '}');
}

void http_problem_body(struct kv_buf *out, kvsql_rc rc, const char *detail,
                       const char *id, const char *extra)
{
    const struct kv_error_row *row = kv_error_row(rc);
    const char *slug = rc == KVSQL_NOTFOUND    ? "not found"
                       : rc == KVSQL_WRONGTYPE ? "wrong type"
                                               : row->words;

    answer_problem(out, slug, (unsigned)row->http, row->words, row->name,
                   row->hint, detail, id, extra);
}

static void answer_error(struct http_request *request, const char *word,
                         const char *detail)
{
    struct kv_buf *out = &request->answer.body;
    char line[KVSQL_ERROR_SIZE + 64];

    snprintf(line, sizeof line, "%s %s", word, detail);
    kv_buf_text(out, "{\"error\":");
    http_json_text(out, line);
    kv_buf_byte(out, '}');
}

void http_refuse_with(struct http_request *request, enum http_problem problem,
                      const char *detail, const char *extra)
{
    const struct answer_problem *row = &answer_problems[problem];
    char id[65];

    if (request->tier == HTTP_TIER_COMMAND) {
        bool own = problem == HTTP_P_TOKEN || problem == HTTP_P_RIGHT ||
                   problem == HTTP_P_LOADING;
        http_answer(request, row->status, HTTP_TYPE_JSON);
        answer_error(request, own ? row->code : "ERR", detail);
    } else {
        http_answer(request, row->status, HTTP_TYPE_PROBLEM);
        answer_problem(&request->answer.body, row->title, row->status,
                       row->title, row->code, row->hint, detail,
                       http_request_id(request, id), extra);
    }
    if (row->status == 401)
        http_answer_header(request, "WWW-Authenticate", "Bearer");
    if (row->status == 503)
        http_answer_header(request, "Retry-After", "1");
}

void http_refuse_args(struct http_request *request, enum http_problem problem,
                      const char *format, va_list args)
{
    char detail[KVSQL_ERROR_SIZE];

    vsnprintf(detail, sizeof detail, format, args);
    http_refuse_with(request, problem, detail, NULL);
}

void http_refuse(struct http_request *request, enum http_problem problem,
                 const char *format, ...)
{
    va_list args;

    va_start(args, format);
    http_refuse_args(request, problem, format, args);
    va_end(args);
}

const char *http_limit(uint64_t limit, char out[HTTP_LIMIT_SIZE])
{
    snprintf(out, HTTP_LIMIT_SIZE, ",\"limit\":%llu",
             (unsigned long long)limit);
    return out;
}

void http_refuse_limit(struct http_request *request, enum http_problem problem,
                       uint64_t limit, const char *format, ...)
{
    char detail[KVSQL_ERROR_SIZE], extra[HTTP_LIMIT_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    http_refuse_with(request, problem, detail, http_limit(limit, extra));
}

unsigned http_rc_status(kvsql_rc rc)
{
    return (unsigned)kv_error_row(rc)->http;
}

unsigned http_command_status(kvsql_rc rc)
{
    const unsigned status = http_rc_status(rc);

    return status >= 500 ? status : 400;
}

void http_fail(struct http_request *request, kvsql_rc rc, const char *detail,
               const char *extra)
{
    unsigned status = http_rc_status(rc);
    char id[65];

    if (request->tier == HTTP_TIER_COMMAND) {
        http_answer(request, status == 413 ? 413 : http_command_status(rc),
                    HTTP_TYPE_JSON);
        answer_error(request, kv_error_row(rc)->resp, detail);
    } else {
        http_answer(request, status, HTTP_TYPE_PROBLEM);
        http_problem_body(&request->answer.body, rc, detail,
                          http_request_id(request, id), extra);
    }
    if (status == 503)
        http_answer_header(request, "Retry-After", "1");
    if (status == 405)
        http_answer_header(request, "Allow", "POST");
}

/* ---- leaving ------------------------------------------------------------------- */

static ssize_t answer_reader(void *arg, uint64_t offset, char *out, size_t max)
{
    struct http_request *request = arg;

    (void)offset;
    int64_t got = http_stream_read(request, out, max);
    if (got == HTTP_STREAM_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (got == HTTP_STREAM_CUT)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    return (ssize_t)got;
}

static bool answer_add(void *response, const char *name, const char *value)
{
    if (value == NULL || value[0] == 0)
        return true;
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool answer_cors(const struct http_request *request,
                        bool (*add)(void *to, const char *name,
                                    const char *value),
                        void *to)
{
    kvsql_slice origin = request->headers[HTTP_H_ORIGIN];
    char text[256];

    if (request->cors == NULL || origin.size >= sizeof text)
        return true;
    memcpy(text, origin.p, origin.size);
    text[origin.size] = 0;
    return add(to, "Access-Control-Allow-Origin", text) &&
           add(to, "Vary", "Origin") &&
           add(to, "Access-Control-Expose-Headers",
               "ETag, Idempotency-Replayed, Link, Location, "
               "Preference-Applied, Retry-After, upstash-sync-token, "
               "X-KVSQL-Position, X-KVSQL-TTL-Remaining-Ms, "
               "X-KVSQL-Truncated, X-Request-Id");
}

static const char *answer_cache(const struct http_answer *answer)
{
    return answer->cache ? answer->cache : "no-store";
}

bool http_answer_heads(const struct http_request *request,
                       bool (*add)(void *to, const char *name,
                                   const char *value),
                       void *to)
{
    const struct http_answer *answer = &request->answer;
    char id[65];
    bool good = add(to, "Content-Type", answer->type) &&
                add(to, "X-Content-Type-Options", "nosniff") &&
                add(to, "Cache-Control", answer_cache(answer)) &&
                add(to, "Link", answer->link) &&
                add(to, "X-Request-Id", http_request_id(request, id)) &&
                answer_cors(request, add, to);

    for (unsigned i = 0; good && i < answer->header_count; i++)
        good = add(to, answer->headers[i].name, answer->headers[i].value);
    if (good && (request->close || atomic_load(&request->server->stopping)))
        good = add(to, "Connection", "close");
    return good;
}

/* The library closes the file with the response. */
static struct MHD_Response *answer_file(struct http_answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(
        answer->file_size, answer->file, answer->file_first);

    if (response != NULL)
        answer->has_file = false;
    return response;
}

static struct MHD_Response *answer_make(struct http_request *request,
                                        bool open)
{
    struct kv_buf *body = &request->answer.body;
    struct MHD_Response *response;

    if (request->answer.has_file)
        response = answer_file(&request->answer);
    else if (open)
        response = MHD_create_response_from_callback(
            MHD_SIZE_UNKNOWN, HTTP_BLOCK, answer_reader, request, NULL);
    else if (request->head_stream) /* HEAD: the reader is never called */
        response = MHD_create_response_from_callback(
            MHD_SIZE_UNKNOWN, 1, answer_reader, request, NULL);
    else /* the bytes live as long as the request, which outlives this */
        response = MHD_create_response_from_buffer(
            body->size, body->size ? (void *)body->p : (void *)(uintptr_t)"",
            MHD_RESPMEM_PERSISTENT);
    /* Without this the library ends HEAD of an unknown length with a last chunk,
     * which would be taken for the next answer. */
    bool good = response != NULL &&
                (!request->head_stream ||
                 MHD_set_response_options(response,
                                          MHD_RF_HTTP_1_0_COMPATIBLE_STRICT,
                                          MHD_RO_END) == MHD_YES);
    if (response != NULL &&
        !(good && http_answer_heads(request, answer_add, response))) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return response;
}

/* ---- plain answers ------------------------------------------------------------- */

void http_kept_drop(struct http_kept *kept)
{
    if (kept->response != NULL)
        MHD_destroy_response(kept->response);
    *kept = (struct http_kept){.response = NULL};
}

/* Known bytes, and few and short headers? */
static bool answer_is_plain(const struct http_request *request)
{
    const struct http_answer *answer = &request->answer;

    if (answer->body.size == 0 || answer->body.failed || answer->has_file ||
        request->head_stream || answer->header_count > HTTP_KEPT_HEADERS ||
        answer->link != NULL || request->cors != NULL || request->close ||
        strlen(answer_cache(answer)) >= HTTP_KEPT_VALUE ||
        atomic_load(&request->server->stopping))
        return false;
    for (unsigned i = 0; i < answer->header_count; i++)
        if (strlen(answer->headers[i].value) >= HTTP_KEPT_VALUE)
            return false;
    return true;
}

/* The response has a header of this value now. */
static void answer_remember(struct http_kept *kept, const char *name,
                            struct http_kept_value *value, const char *text)
{
    const char *const stored = MHD_get_response_header(kept->response, name);

    value->size = strlen(text);
    KV_ASSERT(value->size < HTTP_KEPT_VALUE);
    memcpy(value->text, text, value->size + 1);
    value->stored = stored != NULL && strcmp(stored, text) == 0
                        ? (char *)(uintptr_t)stored
                        : NULL;
}

/* Exchange the value of a header of the response that is kept. Nobody but this
 * request has the response, whose last answer has left; so a value of the same
 * length is written over the copy that the library made for it, where it would
 * look for the header, free it, and make another. */
static bool answer_change(struct http_kept *kept, const char *name,
                          struct http_kept_value *value, const char *to)
{
    const size_t size = strlen(to);

    if (size == value->size && memcmp(value->text, to, size) == 0)
        return true;
    if (size == value->size && value->stored != NULL) {
        memcpy(value->stored, to, size);
        memcpy(value->text, to, size);
        return true;
    }
    if (MHD_del_response_header(kept->response, name, value->text) !=
            MHD_YES ||
        !answer_add(kept->response, name, to))
        return false;
    answer_remember(kept, name, value, to);
    return true;
}

/* Is the response that is kept one for this answer, but for values? */
static bool answer_is_like(const struct http_kept *kept,
                           const struct http_answer *answer)
{
    bool like = kept->response != NULL && kept->p == answer->body.p &&
                kept->size == answer->body.size && kept->type == answer->type &&
                kept->count == answer->header_count;

    for (unsigned i = 0; like && i < kept->count; i++)
        like = kept->names[i] == answer->headers[i].name;
    return like;
}

static bool answer_take_over(struct http_request *request)
{
    const struct http_answer *answer = &request->answer;
    struct http_kept *kept = &request->kept;
    char id[65];
    bool good = answer_is_like(kept, answer) &&
                answer_change(kept, "X-Request-Id", &kept->id,
                              http_request_id(request, id)) &&
                answer_change(kept, "Cache-Control", &kept->cache,
                              answer_cache(answer));

    for (unsigned i = 0; good && i < kept->count; i++)
        good = answer_change(kept, kept->names[i], &kept->values[i],
                             answer->headers[i].value);
    return good;
}

/* A plain answer, by a response that stays with the request. NULL: none. */
static struct MHD_Response *answer_plain(struct http_request *request)
{
    const struct http_answer *answer = &request->answer;
    struct http_kept *kept = &request->kept;
    char id[65];

    if (answer_take_over(request))
        return kept->response;
    http_kept_drop(kept);
    kept->response = answer_make(request, false);
    if (kept->response == NULL)
        return NULL;
    kept->p = answer->body.p;
    kept->size = answer->body.size;
    kept->type = answer->type;
    kept->count = answer->header_count;
    answer_remember(kept, "X-Request-Id", &kept->id,
                    http_request_id(request, id));
    answer_remember(kept, "Cache-Control", &kept->cache,
                    answer_cache(answer));
    for (unsigned i = 0; i < kept->count; i++) {
        kept->names[i] = answer->headers[i].name;
        answer_remember(kept, kept->names[i], &kept->values[i],
                        answer->headers[i].value);
    }
    return kept->response;
}

/* Static words for when the answer could not be made. */
static bool answer_last_words(struct http_request *request, bool too_big)
{
    struct http_server *server = request->server;

    request->sent_status = too_big ? 503 : 507;
    return MHD_queue_response(request->connection, request->sent_status,
                              server->last_words[!too_big]) == MHD_YES;
}

bool http_send(struct http_request *request)
{
    const struct http_answer *answer = &request->answer;
    bool open = http_stream_is_open(request), queued;
    struct MHD_Response *response = NULL;
    uint64_t size = open               ? 0
                    : answer->has_file ? answer->file_size
                                       : answer->body.size;

    KV_ASSERT(answer->status != 0);
    http_gzip_heads(request, open);
    const bool plain = !open && answer_is_plain(request);
    if (plain)
        response = answer_plain(request);
    else if (open || !answer->body.failed)
        response = answer_make(request, open);
    request->phase = HTTP_PHASE_SENT;
    http_watch_deadline(request->conn, ANSWER_SEND_MS + size / 32);
    if (response == NULL)
        return answer_last_words(request, !open && answer->body.too_big);
    request->sent_status = answer->status;
    request->sent_bytes = size;
    queued = MHD_queue_response(request->connection, answer->status,
                                response) == MHD_YES;
    if (!plain)
        MHD_destroy_response(response);
    return queued;
}

static struct MHD_Response *answer_static(const char *text, size_t size)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        size, (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);

    if (response != NULL &&
        (!answer_add(response, "Content-Type", HTTP_TYPE_JSON) ||
         !answer_add(response, "X-Content-Type-Options", "nosniff") ||
         !answer_add(response, "Cache-Control", "no-store") ||
         !answer_add(response, "Connection", "close"))) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return response;
}

kvsql_rc http_last_words(struct http_server *server, struct kvsql_error *err)
{
    server->last_words[0] =
        answer_static(answer_unavailable, sizeof answer_unavailable - 1);
    server->last_words[1] =
        answer_static(answer_out_of_memory, sizeof answer_out_of_memory - 1);
    if (server->last_words[0] == NULL || server->last_words[1] == NULL)
        return kv_fail(err, KVSQL_NOMEM, "http: no memory to start");
    return KVSQL_OK;
}

void http_stats_done(struct http_request *request, uint64_t now_ns)
{
    static const uint64_t bounds_us[HTTP_LATENCY_BUCKETS] = {
        500,    1000,   2500,    5000,    10000,   25000,   50000,
        100000, 250000, 500000,  1000000, 2500000, 5000000, 10000000};
    struct http_stats *stats = &request->server->stats;
    unsigned kind = request->sent_status / 100, i = 0;
    uint64_t ns = now_ns - request->started_ns;

    while (i < HTTP_LATENCY_BUCKETS && ns > bounds_us[i] * 1000)
        i++;
    atomic_fetch_add_explicit(&stats->latency[request->tier][i], 1,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->latency_ns[request->tier], ns,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(
        &stats->requests[request->tier][kind < 6 ? kind : 0], 1,
        memory_order_relaxed);
    cmd_stat_add(CMD_STAT_HTTP_REQUESTS, 1);
    atomic_fetch_add_explicit(&stats->bytes_in,
                              request->intake != NULL ? request->intake->size
                                                      : request->body.size,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->bytes_out, request->sent_bytes,
                              memory_order_relaxed);
}
