/* snapshots.c - /v1/snapshots: the files that are kept, making one, a file.
 *
 * Thread: the event loop's; a snapshot that is waited for, a worker's. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command/stats.h"
#include "http/again.h"
#include "http/json.h"
#include "http/prefer.h"
#include "kvsql/admin.h"

#define SNAPSHOTS_MAX 64 /* listed */

static void snapshots_item(struct kv_buf *out,
                           const struct kv_snapshot_info *info)
{
    kv_buf_text(out, "{\"name\":");
    http_json_text(out, info->file);
    kv_buf_printf(out,
                  ",\"position\":%llu,\"created_at\":%lld,\"size\":%llu,"
                  "\"keys\":%llu,\"ms\":%llu}",
                  (unsigned long long)info->position,
                  (long long)info->created_at, (unsigned long long)info->size,
                  (unsigned long long)info->keys,
                  (unsigned long long)info->ms);
}

/* How far the one is that is being written, as members of an object. */
static void snapshots_progress(struct kv_buf *out, const struct kv_info *info)
{
    kv_buf_printf(out, "\"done\":%llu,\"total\":%llu,\"left_s\":%llu",
                  (unsigned long long)info->snapshot_done,
                  (unsigned long long)info->snapshot_total,
                  (unsigned long long)cmd_stats_left(
                      info->snapshot_done, info->snapshot_total,
                      info->snapshot_running_ms * 1000000));
}

enum http_next http_do_snapshots_list(struct http_request *request)
{
    kvsql *db = atomic_load(&request->server->db);
    struct kv_buf *out = &request->answer.body;
    struct kv_info info;
    struct kv_snapshot_info *kept =
        http_alloc(request, SNAPSHOTS_MAX * sizeof *kept);

    if (kept == NULL) {
        http_fail(request, KVSQL_NOMEM, "no memory for the list", NULL);
        return HTTP_NEXT_ANSWER;
    }
    unsigned count = kv_snapshot_list(db, kept, SNAPSHOTS_MAX);
    if (count > SNAPSHOTS_MAX)
        count = SNAPSHOTS_MAX;
    kv_info_get(db, &info);
    http_answer(request, 200, HTTP_TYPE_JSON);
    kv_buf_printf(out, "{\"running\":%s,",
                  info.snapshot_running ? "true" : "false");
    if (info.snapshot_running) {
        snapshots_progress(out, &info);
        kv_buf_byte(out, ',');
    }
    kv_buf_printf(out, "\"last_ok\":%s,\"items\":[",
                  info.snapshot_last_ok ? "true" : "false");
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            kv_buf_byte(out, ',');
        snapshots_item(out, &kept[i]);
    }
    kv_buf_text(out, "]}");
    return HTTP_NEXT_ANSWER;
}

static void snapshots_location(struct http_request *request, const char *name)
{
    http_answer_header(request, "Location", "/v1/snapshots%s%s",
                       name[0] != 0 ? "/" : "", name);
}

static void snapshots_running(struct http_request *request,
                              const struct kv_info *info, const char *name)
{
    http_answer(request, 202, HTTP_TYPE_JSON);
    snapshots_location(request, name);
    http_answer_header(request, "Retry-After", "1");
    kv_buf_text(&request->answer.body, "{\"status\":\"running\",");
    snapshots_progress(&request->answer.body, info);
    kv_buf_byte(&request->answer.body, '}');
}

/* 202 when it is known which state it is of, and so its name; with ?wait=1 201
 * when the file is there. */
static void snapshots_make(struct http_request *request)
{
    kvsql *db = atomic_load(&request->server->db);
    const bool wait = http_is(http_param(request, "wait"), "1");
    char name[KV_SNAPSHOT_NAME_SIZE] = "";
    struct kv_snapshot_info made;
    struct kvsql_error err;
    struct kv_info info;
    uint64_t position = 0;

    kvsql_rc rc = wait ? kv_snapshot_run(db, NULL, NULL, &made, &err)
                       : kv_snapshot_begin(db, &position, &err);
    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
    } else if (wait) {
        http_answer(request, 201, HTTP_TYPE_JSON);
        snapshots_location(request, made.file);
        snapshots_item(&request->answer.body, &made);
    } else {
        if (position > 0)
            kv_snapshot_name(position, name);
        kv_info_get(db, &info);
        snapshots_running(request, &info, name);
    }
}

/* With an Idempotency-Key: one. */
static void snapshots_once(struct http_request *request,
                           struct http_worker *worker)
{
    struct http_again_run run = {.next = NULL};

    (void)worker;
    if (http_again_begin(request, &run) && http_again_may(request)) {
        snapshots_make(request);
        http_again_did(request);
    }
    http_again_end(request->server, &run);
}

enum http_next http_do_snapshots_make(struct http_request *request)
{
    kvsql_slice wait = http_param(request, "wait");

    if (wait.p != NULL && !http_is(wait, "1") && !http_is(wait, "0")) {
        http_refuse(request, HTTP_P_PARAMETER, "wait is 0 or 1");
        return HTTP_NEXT_ANSWER;
    }
    request->work = snapshots_once;
    return HTTP_NEXT_WORK;
}

/* ---- a file ----------------------------------------------------------------------- */

#define SNAPSHOTS_NAME_MAX 64

/* The range that is asked for, of this file if If-Range names one. False: there
 * is no such part. */
static bool snapshots_part(struct http_request *request, const char *etag,
                           uint64_t length, uint64_t *first, uint64_t *size)
{
    kvsql_slice given = request->headers[HTTP_H_IF_RANGE];
    struct http_range range = http_range_of(request);

    *first = 0;
    *size = length;
    if (!range.asked || (given.p != NULL && !http_is(given, etag)))
        return true;
    http_range_fit(&range, length, first, size);
    return *size > 0;
}

/* The file leaves from its descriptor, so that one of any size costs no
 * memory; whoever removes it meanwhile takes nothing away. */
static void snapshots_send(struct http_request *request, int file,
                           const struct kv_snapshot_info *info)
{
    const unsigned long long length = info->size;
    char etag[HTTP_ETAG_SIZE];
    uint64_t first, size;
    bool part;

    snprintf(etag, sizeof etag, "\"snap-%llu-%s\"",
             (unsigned long long)info->position, request->server->store_id);
    part = snapshots_part(request, etag, info->size, &first, &size);
    if (http_etag_in(request->headers[HTTP_H_IF_NONE_MATCH], etag, false)) {
        http_answer(request, 304, NULL);
        close(file);
    } else if (!part) {
        http_refuse(request, HTTP_P_RANGE, "the file has %llu bytes", length);
        http_answer_header(request, "Content-Range", "bytes */%llu", length);
        close(file);
        return;
    } else {
        http_answer(request, size < info->size ? 206 : 200,
                    "application/vnd.sqlite3");
        http_answer_file(request, file, first, size);
        http_answer_header(request, "Accept-Ranges", "bytes");
        http_answer_header(request, "Content-Disposition",
                           "attachment; filename=\"%s\"", info->file);
        if (size < info->size)
            http_answer_header(request, "Content-Range", "bytes %llu-%llu/%llu",
                               (unsigned long long)first,
                               (unsigned long long)(first + size - 1), length);
    }
    request->answer.cache = "no-cache";
    http_answer_header(request, "ETag", "%s", etag);
    http_answer_header(request, "X-KVSQL-Position", "%llu",
                       (unsigned long long)info->position);
}

/* The name in the path, as text; one that is none of ours is found nowhere. */
static void snapshots_name(const struct http_request *request,
                           char name[SNAPSHOTS_NAME_MAX])
{
    const kvsql_slice segment = request->segments[2];

    name[0] = 0;
    if (segment.size < SNAPSHOTS_NAME_MAX &&
        memchr(segment.p, 0, segment.size) == NULL)
        snprintf(name, SNAPSHOTS_NAME_MAX, "%.*s", (int)segment.size,
                 (const char *)segment.p);
}

/* Is it the one that is being written? Then that is the answer. */
static bool snapshots_is_running(struct http_request *request,
                                 const char *name)
{
    char now[KV_SNAPSHOT_NAME_SIZE];
    struct kv_info info;

    kv_info_get(atomic_load(&request->server->db), &info);
    kv_snapshot_name(info.snapshot_of, now);
    if (!info.snapshot_running || info.snapshot_of == 0 ||
        strcmp(name, now) != 0)
        return false;
    snapshots_running(request, &info, name);
    return true;
}

static void snapshots_file(struct http_request *request,
                           struct http_worker *worker)
{
    kvsql *db = atomic_load(&request->server->db);
    struct kv_snapshot_info info;
    struct kvsql_error err;
    char name[SNAPSHOTS_NAME_MAX];
    int file;

    (void)worker;
    snapshots_name(request, name);
    kvsql_rc rc = kv_snapshot_open(db, name, &file, &info, &err);
    if (rc == KVSQL_NOTFOUND && snapshots_is_running(request, name))
        return;
    if (rc != KVSQL_OK)
        http_fail(request, rc, err.text, NULL);
    else
        snapshots_send(request, file, &info);
}

static void snapshots_remove(struct http_request *request,
                             struct http_worker *worker)
{
    kvsql *db = atomic_load(&request->server->db);
    struct kvsql_error err;
    char name[SNAPSHOTS_NAME_MAX];

    (void)worker;
    snapshots_name(request, name);
    kvsql_rc rc = kv_snapshot_remove(db, name, &err);
    if (rc != KVSQL_OK)
        http_fail(request, rc, err.text, NULL);
    else
        http_answer(request, 204, NULL);
}

enum http_next http_do_snapshots_delete(struct http_request *request)
{
    request->work = snapshots_remove;
    return HTTP_NEXT_WORK;
}

enum http_next http_do_snapshots_get(struct http_request *request)
{
    request->work = snapshots_file;
    return HTTP_NEXT_WORK;
}
