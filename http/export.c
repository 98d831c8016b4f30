/* export.c - /v1/export: keys with their values as NDJSON, a key on each line
 * (or as CSV, export_csv.c), in the form that `kvsql import` and /v1/import read.
 *
 *   {"key":K,"type":T,"value":V,"field_expires_at":{F:MS},"expires_at":MS}
 *
 * Times only where there are some; those of fields are pairs where the value is.
 *
 * All of it is one state: one SQL transaction, whose view is pinned until the
 * end, or the view that ?view= names. Blocks are handed on as they are made, so
 * that an export of any size takes the memory of one. It ends with
 * {"done":true,"keys":n}; a stream without that line was cut.
 *
 * Thread: workers. */
#include <string.h>

#include "command/jobs.h"
#include "http/key.h"
#include "kvsql/admin.h"
#include "kvsql/base/text.h"

#define EXPORT_DEADLINE_MS (24ull * 60 * 60 * 1000)

#define EXPORT_PAGE 256 /* keys that are looked up at a time */

struct export_key {
    size_t at, size; /* in names */
    char type[16];
    int64_t until;   /* expires_at, 0 = never */
};

struct export {
    struct http_request *request;
    struct vt_session *session;
    kvsql_slice prefix;
    struct export_key *page; /* EXPORT_PAGE */
    unsigned page_count;
    struct kv_buf names;  /* of the page */
    struct kv_buf behind; /* the name that the next page begins behind */
    bool over;            /* the prefix has ended */
    uint64_t count;
    bool csv;
    struct cmd_job job; /* keys */
};

/* ---- a page of keys ----------------------------------------------------------------- */

/* Names that begin so stand together, so the first one behind them ends it. */
static bool export_has(struct export *export, const struct vt_value *key)
{
    const kvsql_slice prefix = export->prefix;
    size_t size = prefix.size < key->size ? prefix.size : key->size;
    int order = size > 0 ? memcmp(key->p, prefix.p, size) : 0;

    export->over = order > 0;
    return order == 0 && key->size >= prefix.size;
}

static kvsql_rc export_remember(struct export *export,
                                const struct vt_statement *statement,
                                const struct vt_value *key,
                                struct kvsql_error *err)
{
    struct export_key *to = &export->page[export->page_count];
    struct vt_value type, until;

    vt_column(statement, 1, &type);
    vt_column(statement, 2, &until);
    *to = (struct export_key){
        .at = export->names.size,
        .size = key->size,
        .until = until.kind == VT_INTEGER ? until.integer : 0};
    if (type.size < sizeof to->type)
        memcpy(to->type, type.p, type.size);
    kv_buf_add(&export->names, key->p, key->size);
    export->page_count++;
    return kv_buf_result(&export->names, "a page of keys", err);
}

/* Keys of one class from `from` on; *more: the page was full. */
static kvsql_rc export_page(struct export *export, const char *sql,
                            const struct vt_value *from, bool *more,
                            struct kvsql_error *err)
{
    struct vt_statement *statement = NULL;
    struct vt_value key;
    bool row;
    kvsql_rc rc = vt_prepare(export->session, sql, strlen(sql), NULL,
                             &statement, err);

    *more = false;
    export->page_count = 0;
    kv_buf_reset(&export->names, HTTP_BLOCK);
    if (rc == KVSQL_OK)
        rc = vt_bind(statement, 1, from, err);
    while (rc == KVSQL_OK && !*more &&
           (rc = vt_step(statement, &row, err)) == KVSQL_OK && row) {
        vt_column(statement, 0, &key);
        bool has = export_has(export, &key);
        if (export->over)
            break;
        if (has)
            rc = export_remember(export, statement, &key, err);
        *more = export->page_count == EXPORT_PAGE;
    }
    if (statement != NULL)
        vt_finish(statement);
    return rc;
}

/* ---- lines ------------------------------------------------------------------------- */

static kvsql_rc export_key(struct export *export, const struct export_key *key,
                           bool blob, struct kvsql_error *err)
{
    struct kv_buf *out = &export->request->answer.body;
    struct http_key_read read = {
        .request = export->request,
        .session = export->session,
        .key = http_key_bound(blob, export->names.p + key->at, key->size)};
    kvsql_rc rc;

    memcpy(read.type, key->type, sizeof read.type);
    export->count++;
    cmd_job_add(&export->job, 1);
    if (export->csv)
        return http_key_csv(&read, key->until, err);
    kv_buf_text(out, "{\"key\":");
    http_json_bytes(out, read.key.p, read.key.size, blob);
    kv_buf_text(out, ",\"type\":\"");
    kv_buf_text(out, read.type);
    kv_buf_byte(out, '"');
    rc = http_key_value(&read, err);
    if (rc == KVSQL_OK)
        rc = http_key_times(&read, err);
    if (key->until > 0)
        kv_buf_printf(out, ",\"expires_at\":%lld", (long long)key->until);
    kv_buf_text(out, "}\n");
    if (rc == KVSQL_OK && out->size >= HTTP_BLOCK &&
        !http_stream_push(export->request))
        rc = kv_fail(err, KVSQL_INTERRUPT, "the export was not taken");
    return rc;
}

/* The last name of the page, for the next one. */
static kvsql_rc export_turn(struct export *export, struct kvsql_error *err)
{
    const struct export_key *last = &export->page[export->page_count - 1];

    kv_buf_reset(&export->behind, KVSQL_KEY_MAX);
    kv_buf_add(&export->behind, export->names.p + last->at, last->size);
    return kv_buf_result(&export->behind, "a key", err);
}

/* Keys of one class, page by page. */
static kvsql_rc export_walk(struct export *export, bool blob,
                            struct kvsql_error *err)
{
    static const char *const sql[2][2] = {
        {"SELECT key, type, expires_at FROM keys WHERE key >= ?1 AND key < x'' "
         "ORDER BY key",
         "SELECT key, type, expires_at FROM keys WHERE key > ?1 AND key < x'' "
         "ORDER BY key"},
        {"SELECT key, type, expires_at FROM keys WHERE key >= ?1 ORDER BY key",
         "SELECT key, type, expires_at FROM keys WHERE key > ?1 ORDER BY key"}};
    size_t size = blob ? export->prefix.size
                       : kv_utf8_prefix(export->prefix.p, export->prefix.size);
    struct vt_value from = http_key_bound(blob, export->prefix.p, size);
    bool more = true, first = true;
    kvsql_rc rc = KVSQL_OK;

    export->over = false;
    while (rc == KVSQL_OK && more) {
        rc = export_page(export, sql[blob][!first], &from, &more, err);
        for (unsigned i = 0; rc == KVSQL_OK && i < export->page_count; i++)
            rc = export_key(export, &export->page[i], blob, err);
        if (rc == KVSQL_OK && more)
            rc = export_turn(export, err);
        from = http_key_bound(blob, export->behind.p, export->behind.size);
        first = false;
    }
    return rc;
}

/* What the client has is no export: the last line says so, too. */
static void export_broken(struct http_request *request, kvsql_rc rc,
                          const char *text)
{
    struct kv_buf *out = &request->answer.body;
    char id[65];

    kv_buf_text(out, "{\"error\":");
    http_problem_body(out, rc, text, http_request_id(request, id), NULL);
    kv_buf_text(out, "}\n");
}

/* How many keys it will be; of a part nobody knows. */
static uint64_t export_total(const struct export *export)
{
    struct kv_info info;

    if (export->prefix.size > 0)
        return 0;
    kv_info_get(atomic_load(&export->request->server->db), &info);
    return info.keys;
}

/* Lookups of strings go the short way if the session knows their statement before
 * the transaction begins (vtab/point.c). */
static kvsql_rc export_learn(struct export *export, struct kvsql_error *err)
{
    struct vt_statement *statement = NULL;
    kvsql_rc rc = KVSQL_OK;

    for (unsigned i = 0; rc == KVSQL_OK && i < 2; i++) { /* kept, then known */
        rc = vt_prepare(export->session, HTTP_KEY_STRING,
                        sizeof HTTP_KEY_STRING - 1, NULL, &statement, err);
        if (rc == KVSQL_OK)
            vt_finish(statement);
    }
    return rc;
}

static void export_run(struct export *export)
{
    struct http_request *request = export->request;
    struct kvsql_error err;
    kvsql_rc rc = export_learn(export, &err);

    if (rc == KVSQL_OK)
        rc = vt_begin(export->session, &err);

    http_answer(request, 200, export->csv
                                  ? "text/csv; charset=utf-8; header=present"
                                  : "application/x-ndjson");
    if (export->csv)
        http_csv_head(&request->answer.body);
    if (request->method == HTTP_HEAD && rc == KVSQL_OK) {
        request->head_stream = true; /* all of it would be made for nobody */
        return;
    }
    cmd_job_begin(&export->job, CMD_JOB_EXPORT, export_total(export));
    if (rc == KVSQL_OK)
        rc = export_walk(export, false, &err);
    if (rc == KVSQL_OK)
        rc = export_walk(export, true, &err);
    cmd_job_end(&export->job);
    if (rc == KVSQL_OK && !export->csv)
        kv_buf_printf(&request->answer.body, "{\"done\":true,\"keys\":%llu}\n",
                      (unsigned long long)export->count);
    else if (rc != KVSQL_OK && !export->csv && http_stream_is_open(request))
        export_broken(request, rc, err.text);
    http_rows_close(request, rc, rc == KVSQL_OK ? NULL : err.text);
}

static void export_begin(struct http_request *request,
                         struct http_worker *worker)
{
    const struct vt_limits limits = {.read_only = true,
                                     .exact = true,
                                     .deadline_ms = EXPORT_DEADLINE_MS,
                                     .row_max = UINT64_MAX / 2,
                                     .byte_max = UINT64_MAX / 2};
    kvsql_slice prefix = http_param(request, "prefix");
    kvsql_slice format = http_param(request, "format");
    struct export export = {
        .request = request,
        .csv = http_is(format, "csv"),
        .prefix = prefix.p != NULL ? prefix : (kvsql_slice){"", 0}};

    if (format.p != NULL && !export.csv && !http_is(format, "ndjson")) {
        http_refuse(request, HTTP_P_ACCEPT, "an export is ndjson or csv");
        return;
    }
    export.page = http_alloc(request, EXPORT_PAGE * sizeof *export.page);
    if (export.page == NULL) {
        http_fail(request, KVSQL_NOMEM, "no memory for an export", NULL);
        return;
    }
    kv_buf_init(&export.names, KV_MEM_CLIENT,
                (uint64_t)EXPORT_PAGE * KVSQL_KEY_MAX);
    kv_buf_init(&export.behind, KV_MEM_CLIENT, KVSQL_KEY_MAX);
    export.session = http_sql_session(request, worker, &limits);
    if (export.session != NULL) {
        export_run(&export);
        http_sql_leave(request, worker);
    }
    kv_buf_fini(&export.names);
    kv_buf_fini(&export.behind);
}

/* An export lasts as long as its reader likes: a worker is left for others. */
static void export_work(struct http_request *request,
                        struct http_worker *worker)
{
    struct http_server *server = request->server;
    const unsigned most =
        server->worker_count > 1 ? server->worker_count - 1 : 1;

    if (atomic_fetch_add(&server->exports, 1) < most)
        export_begin(request, worker);
    else
        http_refuse(request, HTTP_P_BUSY, "%u exports are running", most);
    atomic_fetch_sub(&server->exports, 1);
}

enum http_next http_do_export(struct http_request *request)
{
    request->work = export_work;
    return HTTP_NEXT_WORK;
}
