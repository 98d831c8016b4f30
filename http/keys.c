/* keys.c - /v1/keys: the list of keys.
 *
 * It is read by SQL on a worker's session, so a page never holds the store. A
 * page walks keys in order from where the last
 * one ended: TEXT keys first, BLOB keys behind them. With a prefix that makes
 * two walks, one in each class, both ended by the first key behind the prefix.
 *
 * A cursor is opaque: base64url of a letter for the class and the last key.
 *
 * Thread: workers. */
#include <stdio.h>
#include <string.h>

#include "http/cursor.h"
#include "http/key.h"
#include "http/value.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define KEYS_LIMIT 100        /* items of a page unless said */
#define KEYS_LIMIT_MAX 1000
#define KEYS_SCAN_MAX 10000   /* keys looked at for one page */

enum keys_order { KEYS_BY_KEY, KEYS_BY_SIZE, KEYS_BY_TTL };

/* One of the best so far. */
struct keys_best {
    int64_t rank;   /* the greater, the better */
    uint64_t number; /* of those that were seen: the first of equals is better */
    struct kv_buf item;
};

struct keys_page {
    struct http_request *request;
    struct vt_session *session;
    kvsql_slice prefix, match, type;
    uint64_t limit, found, scanned;
    struct kv_buf last; /* the cursor's bytes: class letter, key */
    bool more;
    bool text_only; /* this walk ends where the BLOB keys begin */
    enum keys_order order;
    struct keys_best *best; /* a heap, the worst first; not BY_KEY */
    uint64_t best_count;
    uint64_t position;
    uint8_t literal[KV_KEY_BUFFER]; /* prefix of the pattern */
};

/* ---- one page --------------------------------------------------------------------- */

enum keys_verdict { KEYS_TAKE, KEYS_SKIP, KEYS_STOP };

static enum keys_verdict keys_judge(const struct keys_page *page,
                                    const struct vt_value *key)
{
    size_t size = page->prefix.size < key->size ? page->prefix.size
                                                : key->size;
    int order = size ? memcmp(key->p, page->prefix.p, size) : 0;

    if (page->text_only && key->kind == VT_BLOB)
        return KEYS_STOP;
    if (order < 0 || (order == 0 && key->size < page->prefix.size))
        return KEYS_SKIP;
    if (order > 0)
        return KEYS_STOP;
    if (page->match.p != NULL &&
        !kv_glob_match(page->match.p, page->match.size, key->p, key->size,
                       false))
        return KEYS_SKIP;
    return KEYS_TAKE;
}

static void keys_item(struct kv_buf *out, const struct vt_statement *statement,
                      const struct vt_value *key)
{
    static const char *const names[] = {NULL, "type", "ttl_ms", "size",
                                        "version"};
    struct vt_value value;

    kv_buf_text(out, "{\"key\":");
    http_json_bytes(out, key->p, key->size, key->kind == VT_BLOB);
    for (int i = 1; i < 5; i++) {
        kv_buf_printf(out, ",\"%s\":", names[i]);
        vt_column(statement, i, &value);
        http_rows_value(out, &value, false);
    }
    kv_buf_byte(out, '}');
}

/* ---- the best of all ---------------------------------------------------------------- */

static bool keys_worse(const struct keys_best *a, const struct keys_best *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->number > b->number;
}

static void keys_swap(struct keys_page *page, uint64_t a, uint64_t b)
{
    struct keys_best kept = page->best[a];

    page->best[a] = page->best[b];
    page->best[b] = kept;
}

/* The one at `i` may be better than those below it. */
static void keys_sink(struct keys_page *page, uint64_t i, uint64_t count)
{
    for (;;) {
        uint64_t worst = i;
        for (uint64_t k = 2 * i + 1; k <= 2 * i + 2 && k < count; k++)
            if (keys_worse(&page->best[k], &page->best[worst]))
                worst = k;
        if (worst == i)
            return;
        keys_swap(page, i, worst);
        i = worst;
    }
}

static void keys_rise(struct keys_page *page, uint64_t i)
{
    while (i > 0 &&
           keys_worse(&page->best[i], &page->best[(i - 1) / 2])) {
        keys_swap(page, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

/* Of all keys, the `limit` largest, or those that expire first. */
static void keys_offer(struct keys_page *page,
                       const struct vt_statement *statement,
                       const struct vt_value *key)
{
    struct keys_best new = {.number = page->found++};
    struct vt_value value;

    vt_column(statement, page->order == KEYS_BY_SIZE ? 3 : 2, &value);
    if (value.kind != VT_INTEGER)
        return; /* it never expires */
    new.rank = page->order == KEYS_BY_SIZE ? value.integer : -value.integer;
    if (page->best_count == page->limit &&
        keys_worse(&new, &page->best[0]))
        return;
    kv_buf_init(&new.item, KV_MEM_CLIENT, 16u * KVSQL_KEY_MAX);
    keys_item(&new.item, statement, key);
    if (page->best_count < page->limit) {
        page->best[page->best_count] = new;
        keys_rise(page, page->best_count++);
        return;
    }
    kv_buf_fini(&page->best[0].item);
    page->best[0] = new;
    keys_sink(page, 0, page->best_count);
}

/* Into the answer, the best first. */
static void keys_best_show(struct keys_page *page)
{
    struct kv_buf *out = &page->request->answer.body;

    for (uint64_t left = page->best_count; left > 1; left--) {
        keys_swap(page, 0, left - 1); /* the worst to the end */
        keys_sink(page, 0, left - 1);
    }
    for (uint64_t i = 0; i < page->best_count; i++) {
        struct kv_buf *item = &page->best[i].item;
        if (i > 0)
            kv_buf_byte(out, ',');
        out->failed = out->failed || item->failed;
        kv_buf_add(out, item->p, item->size);
    }
}

/* ---- walking ------------------------------------------------------------------------- */

static void keys_take(struct keys_page *page,
                      const struct vt_statement *statement,
                      const struct vt_value *key)
{
    struct kv_buf *out = &page->request->answer.body;

    if (page->order != KEYS_BY_KEY) {
        keys_offer(page, statement, key);
        return;
    }
    if (page->found++ > 0)
        kv_buf_byte(out, ',');
    keys_item(out, statement, key);
}

/* Is there no room for one more? */
static bool keys_full(const struct keys_page *page)
{
    return page->order == KEYS_BY_KEY && (page->found == page->limit ||
                                          page->scanned == KEYS_SCAN_MAX);
}

/* Take rows until the page is full; false when the walk is over for good. */
static kvsql_rc keys_rows(struct keys_page *page,
                          struct vt_statement *statement, bool *full,
                          struct kvsql_error *err)
{
    struct vt_value key, type;
    kvsql_rc rc;
    bool row;

    *full = false;
    while ((rc = vt_step(statement, &row, err)) == KVSQL_OK && row) {
        vt_column(statement, 0, &key);
        enum keys_verdict verdict = keys_judge(page, &key);
        if (verdict == KEYS_STOP)
            break;
        if (keys_full(page)) {
            page->more = *full = true;
            break;
        }
        page->scanned++;
        vt_column(statement, 1, &type);
        if (page->type.p != NULL &&
            (type.size != page->type.size ||
             memcmp(type.p, page->type.p, type.size) != 0))
            verdict = KEYS_SKIP;
        if (verdict == KEYS_TAKE)
            keys_take(page, statement, &key);
        kv_buf_reset(&page->last, SIZE_MAX);
        kv_buf_byte(&page->last, key.kind == VT_BLOB ? 'b' : 't');
        kv_buf_add(&page->last, key.p, key.size);
    }
    page->position = vt_position(page->session);
    return rc;
}

/* One walk from `from` on (behind it with `after`). */
static kvsql_rc keys_walk(struct keys_page *page, const struct vt_value *from,
                          bool after, bool *full, struct kvsql_error *err)
{
    static const char at[] = "SELECT key, type, ttl, memory, version "
                             "FROM keys WHERE key >= ?1 ORDER BY key";
    static const char behind[] = "SELECT key, type, ttl, memory, version "
                                 "FROM keys WHERE key > ?1 ORDER BY key";
    struct vt_statement *statement = NULL;
    const char *sql = after ? behind : at;
    kvsql_rc rc = vt_prepare(page->session, sql, strlen(sql), NULL, &statement,
                             err);

    if (rc == KVSQL_OK)
        rc = vt_bind(statement, 1, from, err);
    if (rc == KVSQL_OK)
        rc = keys_rows(page, statement, full, err);
    if (statement != NULL)
        vt_finish(statement);
    return rc;
}

static kvsql_rc keys_page(struct keys_page *page, struct kvsql_error *err)
{
    bool resumed = page->last.size > 0, full = false;
    bool blob = resumed && page->last.p[0] == 'b';
    kvsql_rc rc = KVSQL_OK;
    struct kv_buf start = page->last; /* the walk writes a new one */
    struct vt_value from =
        http_key_bound(blob, start.p + 1, resumed ? start.size - 1 : 0);

    kv_buf_init(&page->last, KV_MEM_CLIENT, KVSQL_KEY_MAX + 1);
    if (!resumed) /* of a prefix that is no text, its text part */
        from = http_key_bound(false, page->prefix.p,
                          kv_utf8_prefix(page->prefix.p, page->prefix.size));
    page->text_only = !blob && page->prefix.size > 0;
    rc = keys_walk(page, &from, resumed, &full, err);
    if (rc == KVSQL_OK && !full && page->text_only) {
        page->text_only = false;
        from = http_key_bound(true, page->prefix.p, page->prefix.size);
        rc = keys_walk(page, &from, false, &full, err);
    }
    kv_buf_fini(&start);
    if (rc == KVSQL_OK && page->last.failed)
        rc = kv_fail(err, KVSQL_NOMEM, "no memory for a cursor");
    return rc;
}

/* Exact number of keys under the prefix, into the answer. */
static kvsql_rc keys_count(struct keys_page *page, struct kvsql_error *err)
{
    static const char sql[] = "SELECT kv_count(?1)";
    struct vt_statement *statement = NULL;
    struct vt_value value;
    struct kv_buf glob;
    bool row = false;

    kv_buf_init(&glob, KV_MEM_CLIENT, 2 * HTTP_URI_MAX + 2);
    http_value_pattern(&glob, page->prefix);
    kvsql_rc rc = glob.failed
                      ? kv_fail(err, KVSQL_NOMEM, "no memory for a pattern")
                      : vt_prepare(page->session, sql, sizeof sql - 1, NULL,
                                   &statement, err);
    value = http_key_bound(kv_class_of(glob.p, glob.size) == KV_BLOB, glob.p,
                       glob.size);
    if (rc == KVSQL_OK)
        rc = vt_bind(statement, 1, &value, err);
    if (rc == KVSQL_OK)
        rc = vt_step(statement, &row, err);
    if (rc == KVSQL_OK && row) {
        vt_column(statement, 0, &value);
        kv_buf_text(&page->request->answer.body, ",\"count\":");
        http_rows_value(&page->request->answer.body, &value, false);
    }
    if (statement != NULL)
        vt_finish(statement);
    kv_buf_fini(&glob);
    return rc;
}

static bool keys_order(struct keys_page *page, kvsql_slice order)
{
    struct http_request *request = page->request;

    if (http_is(order, "key"))
        return true;
    if (!http_is(order, "size") && !http_is(order, "ttl")) {
        http_refuse(request, HTTP_P_PARAMETER, "order is key, size or ttl");
        return false;
    }
    if (http_param(request, "cursor").size > 0) {
        http_refuse(request, HTTP_P_PARAMETER,
                    "a cursor goes with order=key: by size or ttl there is "
                    "one page");
        return false;
    }
    page->order = http_is(order, "size") ? KEYS_BY_SIZE : KEYS_BY_TTL;
    page->best = http_alloc(request, page->limit * sizeof *page->best);
    if (page->best == NULL)
        http_fail(request, KVSQL_NOMEM, "no memory for a page", NULL);
    return page->best != NULL;
}

static bool keys_asked(struct keys_page *page)
{
    struct http_request *request = page->request;
    kvsql_slice limit = http_param(request, "limit");
    kvsql_slice order = http_param(request, "order");
    kvsql_slice cursor = http_param(request, "cursor");
    bool exact;

    page->prefix = http_param(request, "prefix");
    page->match = http_param(request, "match");
    page->type = http_param(request, "type");
    page->limit = KEYS_LIMIT;
    if (page->type.p != NULL && http_value_type(page->type) == KV_NONE) {
        http_refuse(request, HTTP_P_PARAMETER,
                    "type is string, hash, list, set or zset");
        return false;
    }
    if (limit.p != NULL &&
        (!kv_num_uint(limit.p, limit.size, &page->limit) ||
         page->limit < 1 || page->limit > KEYS_LIMIT_MAX)) {
        http_refuse_limit(request, HTTP_P_PARAMETER, KEYS_LIMIT_MAX,
                          "limit is 1 to %d", KEYS_LIMIT_MAX);
        return false;
    }
    if (order.p != NULL && !keys_order(page, order))
        return false;
    if (cursor.p != NULL && cursor.size > 0 &&
        !(http_cursor_read(&page->last, cursor) &&
          (page->last.p[0] == 't' || page->last.p[0] == 'b'))) {
        http_refuse(request, HTTP_P_CURSOR, "this cursor is none of ours");
        return false;
    }
    if (page->prefix.p == NULL)
        page->prefix = (kvsql_slice){"", 0};
    if (page->prefix.size == 0 && page->match.p != NULL)
        page->prefix = (kvsql_slice){
            page->literal,
            kv_glob_prefix(page->match.p, page->match.size, page->literal,
                           sizeof page->literal, &exact)};
    return true;
}

static void keys_list(struct keys_page *page)
{
    struct http_request *request = page->request;
    struct kv_buf *out = &request->answer.body;
    struct kvsql_error err;

    http_answer(request, 200, HTTP_TYPE_JSON);
    kv_buf_text(out, "{\"items\":[");
    kvsql_rc rc = keys_page(page, &err);
    keys_best_show(page);
    kv_buf_text(out, "],\"next\":");
    if (page->more) {
        kv_buf_byte(out, '"');
        const size_t from = out->size;
        http_cursor_write(out, page->last.p, page->last.size);
        http_answer_next(request,
                         (kvsql_slice){out->p + from, out->size - from});
        kv_buf_byte(out, '"');
    } else {
        kv_buf_text(out, "null");
    }
    if (rc == KVSQL_OK && http_is(http_param(request, "count"), "1"))
        rc = keys_count(page, &err);
    kv_buf_byte(out, '}');
    http_answer_header(request, "X-KVSQL-Position", "%llu",
                       (unsigned long long)page->position);
    if (rc != KVSQL_OK)
        http_fail(request, rc, err.text, NULL);
}

static void keys_list_work(struct http_request *request,
                           struct http_worker *worker)
{
    struct vt_limits limits = {.read_only = true,
                               .deadline_ms = request->server->sql_deadline_ms,
                               .row_max = 4 * KEYS_SCAN_MAX,
                               .byte_max = request->server->sql_byte_max};
    struct keys_page *page = http_alloc(request, sizeof *page);

    if (page == NULL) {
        http_fail(request, KVSQL_NOMEM, "no memory for a page", NULL);
        return;
    }
    memset(page, 0, sizeof *page);
    page->request = request;
    kv_buf_init(&page->last, KV_MEM_CLIENT, KVSQL_KEY_MAX + 1);
    if (keys_asked(page)) {
        if (page->order != KEYS_BY_KEY) /* all are looked at */
            limits.row_max = limits.byte_max = UINT64_MAX / 2;
        page->session = http_sql_session(request, worker, &limits);
        if (page->session != NULL) {
            keys_list(page);
            http_sql_leave(request, worker);
        }
    }
    for (uint64_t i = 0; i < page->best_count; i++)
        kv_buf_fini(&page->best[i].item);
    kv_buf_fini(&page->last);
}

enum http_next http_do_keys_list(struct http_request *request)
{
    request->work = keys_list_work;
    return HTTP_NEXT_WORK;
}
