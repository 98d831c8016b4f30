/* again.c - the answers that are kept, as bytes, and back (again.h).
 *
 *   u8 version | u64 digest of the request | varint status
 *   | text type | text cache | varint headers | { text name, text value }...
 *   | body to the end                          text: varint size | bytes
 *
 * The digest is of all that decides what is done: method, target, the headers
 * that change it, the body. It guards a client against its own mistake, not
 * against an attacker, who had all rights anyway.
 *
 * Thread: the one that has the request. */
#include "http/again.h"

#include <string.h>

#include "kvsql/base/num.h"

#define AGAIN_VERSION 1
#define AGAIN_KEY_MAX 255 /* bytes of a key */
#define AGAIN_ANSWER_MAX (1u << 20)
#define AGAIN_ANSWER_USUAL 1024 /* of one that is still to be made */
#define AGAIN_WAIT_MS 10000 /* for the store */
#define AGAIN_FNV_PRIME UINT64_C(0x100000001b3)
#define AGAIN_FNV_BASIS UINT64_C(0xcbf29ce484222325)

bool http_again_asked(const struct http_request *request)
{
    return request->headers[HTTP_H_AGAIN].p != NULL &&
           (request->method & (HTTP_POST | HTTP_PATCH)) != 0 &&
           request->tier != HTTP_TIER_COMMAND;
}

bool http_again_route(struct http_request *request)
{
    const size_t size = request->headers[HTTP_H_AGAIN].size;

    if (!http_again_asked(request))
        return true;
    if (strstr(request->route->takes, "Idempotency-Key") == NULL) {
        http_refuse(request, HTTP_P_AGAIN,
                    "this path does not take an Idempotency-Key");
        return false;
    }
    if (size >= 1 && size <= AGAIN_KEY_MAX)
        return true;
    http_refuse_limit(request, HTTP_P_AGAIN, AGAIN_KEY_MAX,
                      "an Idempotency-Key has 1 to %d bytes", AGAIN_KEY_MAX);
    return false;
}

/* ---- digest --------------------------------------------------------------------- */

/* FNV-1a, of the size too, so that parts do not run into each other. */
static uint64_t again_mix(uint64_t digest, const void *p, size_t size)
{
    const uint8_t *const bytes = p;
    const uint64_t length = size;

    for (unsigned i = 0; i < 8; i++)
        digest = (digest ^ ((length >> (8 * i)) & 255)) * AGAIN_FNV_PRIME;
    for (size_t i = 0; i < size; i++)
        digest = (digest ^ bytes[i]) * AGAIN_FNV_PRIME;
    return digest;
}

void http_again_more(struct http_request *request, const void *p, size_t size)
{
    const uint8_t *const bytes = p;
    uint64_t digest = request->digest;

    if (!http_again_asked(request))
        return;
    for (size_t i = 0; i < size; i++)
        digest = (digest ^ bytes[i]) * AGAIN_FNV_PRIME;
    request->digest = digest;
}

void http_again_ask(struct http_request *request)
{
    static const enum http_header_id headers[] = {
        HTTP_H_CONTENT_TYPE, HTTP_H_IF_MATCH, HTTP_H_IF_NONE_MATCH,
        HTTP_H_PREFER, HTTP_H_TTL};
    uint64_t digest = AGAIN_FNV_BASIS;

    if (!http_again_asked(request))
        return;
    digest = again_mix(digest, &request->method, sizeof request->method);
    for (unsigned i = 0; i < request->segment_count; i++)
        digest = again_mix(digest, request->segments[i].p,
                           request->segments[i].size);
    digest = again_mix(digest, request->route->pattern,
                       strlen(request->route->pattern));
    for (unsigned i = 0; i < request->param_count; i++) {
        const struct http_param *param = &request->params[i];
        if (http_is(param->name, "_token"))
            continue; /* who asks, not what */
        digest = again_mix(digest, param->name.p, param->name.size);
        digest = again_mix(digest, param->value.p, param->value.size);
    }
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        digest = again_mix(digest, request->headers[headers[i]].p,
                           request->headers[headers[i]].size);
    if (request->tier == HTTP_TIER_SQL) /* it may say the format of rows */
        digest = again_mix(digest, request->headers[HTTP_H_ACCEPT].p,
                           request->headers[HTTP_H_ACCEPT].size);
    request->digest = again_mix(digest, request->body.p, request->body.size);
}

/* ---- out of the store -------------------------------------------------------------- */

struct again_reader {
    struct http_request *request;
    const uint8_t *p, *end;
    bool good;
};

static uint64_t again_number(struct again_reader *reader)
{
    uint64_t number = 0;
    const size_t used = kv_varint_get(reader->p, reader->end, &number);

    reader->good = reader->good && used > 0;
    reader->p += used;
    return number;
}

/* A text in the request's arena, NULL for an empty one. */
static const char *again_text(struct again_reader *reader)
{
    const uint64_t size = again_number(reader);

    if (!reader->good || size > (uint64_t)(reader->end - reader->p)) {
        reader->good = false;
        return NULL;
    }
    if (size == 0)
        return NULL;
    char *const text = http_alloc(reader->request, size + 1);
    if (text == NULL) {
        reader->good = false;
        return NULL;
    }
    memcpy(text, reader->p, size);
    text[size] = 0;
    reader->p += size;
    return text;
}

/* What is kept becomes the answer; false: these are no such bytes, or there is
 * no memory. */
static bool again_replay(struct http_request *request,
                         const struct kv_buf *kept)
{
    struct again_reader reader = {.request = request,
                                  .p = kept->p + 9,
                                  .end = kept->p + kept->size,
                                  .good = true};
    const unsigned status = (unsigned)again_number(&reader);
    const char *const type = again_text(&reader);
    const char *const cache = again_text(&reader);
    const uint64_t count = again_number(&reader);

    http_answer(request, status, type);
    request->answer.cache = cache;
    if (count >= HTTP_ANSWER_HEADERS)
        return false;
    for (uint64_t i = 0; reader.good && i < count; i++) {
        const char *const name = again_text(&reader);
        const char *const value = again_text(&reader);
        if (reader.good && name != NULL && value != NULL)
            http_answer_header(request, name, "%s", value);
    }
    if (!reader.good)
        return false;
    http_answer_header(request, "Idempotency-Replayed", "true");
    kv_buf_add(&request->answer.body, reader.p,
               (size_t)(reader.end - reader.p));
    return true;
}

/* The answer of the first: given, or refused. */
static void again_found(struct http_request *request, const struct kv_buf *kept)
{
    if (kept->failed) {
        http_fail(request, KVSQL_NOMEM, "no memory for the answer that is kept",
                  NULL);
    } else if (kept->size < 9 || kept->p[0] != AGAIN_VERSION) {
        http_refuse(request, HTTP_P_AGAIN,
                    "the answer of this key was kept by another version");
    } else if (kv_u64_get(kept->p + 1) != request->digest) {
        http_refuse(request, HTTP_P_AGAIN,
                    "another request came with this Idempotency-Key");
    } else if (!again_replay(request, kept)) {
        http_fail(request, KVSQL_NOMEM, "no memory for the answer that is kept",
                  NULL);
    }
}

bool http_again_is_kept(const struct http_request *request,
                        const struct kv_txn *txn)
{
    struct kv_buf kept;
    struct kv_at at;

    if (!http_again_asked(request))
        return false;
    kv_at_txn(txn, &at);
    kv_buf_init(&kept, KV_MEM_CLIENT, 2 * AGAIN_ANSWER_MAX);
    const bool found =
        kv_answer_get(&at, request->headers[HTTP_H_AGAIN], &kept);
    kv_buf_fini(&kept);
    return found;
}

bool http_again_fresh(struct http_request *request, const struct kv_txn *txn)
{
    struct kv_buf kept;
    struct kv_at at;

    if (!http_again_asked(request))
        return true;
    kv_at_txn(txn, &at);
    kv_buf_init(&kept, KV_MEM_CLIENT, 2 * AGAIN_ANSWER_MAX);
    const bool found =
        kv_answer_get(&at, request->headers[HTTP_H_AGAIN], &kept);
    if (found) {
        request->ticket = kv_txn_ticket(txn); /* what it tells of is in there */
        request->has_ticket = true;
        again_found(request, &kept);
    }
    kv_buf_fini(&kept);
    return !found;
}

/* ---- into the store ---------------------------------------------------------------- */

uint64_t http_again_position(const struct kv_txn *txn)
{
    return kv_txn_ticket(txn).position + (kv_txn_count(txn) == 0);
}

static void again_put_text(struct kv_buf *out, const char *text)
{
    const size_t size = text != NULL ? strlen(text) : 0;

    kv_buf_varint(out, size);
    kv_buf_add(out, text, size);
}

static void again_write(const struct http_request *request, struct kv_buf *out)
{
    const struct http_answer *answer = &request->answer;
    uint8_t digest[8];

    kv_u64_put(digest, request->digest);
    kv_buf_byte(out, AGAIN_VERSION);
    kv_buf_add(out, digest, sizeof digest);
    kv_buf_varint(out, answer->status);
    again_put_text(out, answer->type);
    again_put_text(out, answer->cache);
    kv_buf_varint(out, answer->header_count);
    for (unsigned i = 0; i < answer->header_count; i++) {
        again_put_text(out, answer->headers[i].name);
        again_put_text(out, answer->headers[i].value);
    }
    kv_buf_add(out, answer->body.p, answer->body.size);
    out->failed = out->failed || answer->body.failed;
}

/* Is there room for so many bytes more? */
static bool again_room(struct http_request *request, const struct kv_txn *txn,
                       size_t size)
{
    const uint64_t most = request->server->again_byte_max;
    struct kv_at at;

    kv_at_txn(txn, &at);
    if (size <= AGAIN_ANSWER_MAX && kv_answers_size(&at) + size <= most)
        return true;
    if (size > AGAIN_ANSWER_MAX)
        http_refuse_limit(request, HTTP_P_AGAIN, AGAIN_ANSWER_MAX,
                    "the answer has more than the %u bytes that are kept; ask "
                    "for less, as with Prefer: return=minimal",
                    AGAIN_ANSWER_MAX);
    else
        http_refuse_limit(request, HTTP_P_AGAIN_FULL, most,
                    "the answers that are kept have %llu of %llu bytes; "
                    "nothing was done",
                    (unsigned long long)kv_answers_size(&at),
                    (unsigned long long)most);
    return false;
}

bool http_again_keep(struct http_request *request, struct kv_txn *txn)
{
    struct kvsql_error err;
    struct kv_buf kept;
    struct kv_at at;
    bool good;

    if (!http_again_asked(request) || request->answer.status >= 400)
        return true;
    kv_at_txn(txn, &at);
    kv_buf_init(&kept, KV_MEM_CLIENT, 2 * AGAIN_ANSWER_MAX);
    again_write(request, &kept);
    good = again_room(request, txn, kept.too_big ? SIZE_MAX / 2 : kept.size);
    if (good) {
        const int64_t until =
            kv_at_wall(&at) + (int64_t)request->server->again_ttl_ms;
        kvsql_rc rc =
            kept.failed
                ? kv_fail(&err, KVSQL_NOMEM,
                          "no memory for the answer to be kept")
                : kv_answer_keep(txn, request->headers[HTTP_H_AGAIN],
                                 (kvsql_slice){kept.p, kept.size}, until, &err);
        good = rc == KVSQL_OK;
        if (!good)
            http_fail(request, rc, err.text, NULL);
    }
    kv_buf_fini(&kept);
    return good;
}

/* ---- what is no transaction -------------------------------------------------------- */

bool http_again_begin(struct http_request *request, struct http_again_run *run)
{
    struct http_server *server = request->server;
    const kvsql_slice name = request->headers[HTTP_H_AGAIN];
    bool alone = true;

    if (!http_again_asked(request))
        return true;
    void *copy = http_alloc(request, name.size + 1);
    if (copy == NULL) {
        http_fail(request, KVSQL_NOMEM, "no memory for the request", NULL);
        return false;
    }
    memcpy(copy, name.p, name.size);
    kv_lock_take(&server->queue_lock);
    for (struct http_again_run *other = server->again_runs; other != NULL;
         other = other->next)
        alone = alone && !(other->name.size == name.size &&
                           memcmp(other->name.p, name.p, name.size) == 0);
    if (alone) {
        run->name = (kvsql_slice){copy, name.size};
        run->next = server->again_runs;
        server->again_runs = run;
    }
    kv_lock_drop(&server->queue_lock);
    if (!alone)
        http_refuse(request, HTTP_P_AGAIN_RUNS,
                    "a request with this Idempotency-Key still runs");
    return alone;
}

void http_again_end(struct http_server *server, struct http_again_run *run)
{
    if (run->name.p == NULL)
        return;
    kv_lock_take(&server->queue_lock);
    for (struct http_again_run **at = &server->again_runs; *at != NULL;
         at = &(*at)->next)
        if (*at == run) {
            *at = run->next;
            break;
        }
    kv_lock_drop(&server->queue_lock);
    run->name = (kvsql_slice){NULL, 0};
}

bool http_again_may(struct http_request *request)
{
    struct kvsql_error err;
    struct kv_txn *txn;

    if (!http_again_asked(request))
        return true;
    const kvsql_rc rc = kv_txn_begin(atomic_load(&request->server->db), true,
                                     AGAIN_WAIT_MS, &txn, &err);
    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return false;
    }
    const bool may = http_again_fresh(request, txn) &&
                     again_room(request, txn, AGAIN_ANSWER_USUAL);
    kv_txn_rollback(txn);
    return may;
}

void http_again_did(struct http_request *request)
{
    struct kvsql_error err;
    struct kv_txn *txn;

    if (!http_again_asked(request) || request->answer.status >= 400)
        return;
    kvsql_rc rc = kv_txn_begin(atomic_load(&request->server->db), true,
                               AGAIN_WAIT_MS, &txn, &err);
    if (rc == KVSQL_OK && !http_again_keep(request, txn)) {
        kv_txn_rollback(txn);
        return;
    }
    if (rc == KVSQL_OK)
        rc = kv_txn_commit(txn, &request->ticket, &err);
    request->has_ticket = rc == KVSQL_OK;
    if (rc != KVSQL_OK)
        http_fail(request, rc, err.text, NULL);
}
