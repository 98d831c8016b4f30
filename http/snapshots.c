/* snapshots.c - /v1/snapshots: the files that are kept, and making one.
 *
 * Thread: the event loop's; a snapshot that is waited for, a worker's. */
#include <string.h>

#include "http/json.h"
#include "http/request.h"

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
    kv_buf_printf(out, "{\"running\":%s,\"last_ok\":%s,\"items\":[",
                  info.snapshot_running ? "true" : "false",
                  info.snapshot_last_ok ? "true" : "false");
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            kv_buf_byte(out, ',');
        snapshots_item(out, &kept[i]);
    }
    kv_buf_text(out, "]}");
    return HTTP_NEXT_ANSWER;
}

static void snapshots_wait(struct http_request *request,
                           struct http_worker *worker)
{
    kvsql *db = atomic_load(&request->server->db);
    struct kv_snapshot_info info;
    struct kvsql_error err;

    (void)worker;
    kvsql_rc rc = kv_snapshot_run(db, NULL, NULL, &info, &err);
    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return;
    }
    http_answer(request, 201, HTTP_TYPE_JSON);
    http_answer_header(request, "Location", "/v1/snapshots");
    snapshots_item(&request->answer.body, &info);
}

/* 202 at once, or with ?wait=1 201 when the file is there. */
enum http_next http_do_snapshots_make(struct http_request *request)
{
    kvsql *db = atomic_load(&request->server->db);
    kvsql_slice wait = http_param(request, "wait");
    struct kvsql_error err;

    if (wait.p != NULL && !http_is(wait, "1") && !http_is(wait, "0")) {
        http_refuse(request, HTTP_P_PARAMETER, "wait is 0 or 1");
        return HTTP_NEXT_ANSWER;
    }
    if (http_is(wait, "1")) {
        request->work = snapshots_wait;
        return HTTP_NEXT_WORK;
    }
    kvsql_rc rc = kv_snapshot_start(db, &err);
    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return HTTP_NEXT_ANSWER;
    }
    http_answer(request, 202, HTTP_TYPE_JSON);
    http_answer_header(request, "Location", "/v1/snapshots");
    kv_buf_text(&request->answer.body, "{\"status\":\"running\"}");
    return HTTP_NEXT_ANSWER;
}
