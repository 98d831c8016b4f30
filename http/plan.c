/* plan.c - EXPLAIN QUERY PLAN in words: what SQLite says of each step, and the
 * text that our tables gave it for the way they chose (vtab/plan.c).
 *
 *   SCAN strings VIRTUAL TABLE INDEX 268435584:key prefix
 *     -> range scan of strings by key prefix
 *
 * What is not of these shapes stands as SQLite says it.
 *
 * Thread: workers. */
#include <string.h>
#include <strings.h>

#include "http/json.h"
#include "http/rows.h"

#define PLAN_STEPS_MAX 65536 /* bytes of all steps */

bool http_plan_asked(kvsql_slice text)
{
    static const char *const words[] = {"EXPLAIN", "QUERY", "PLAN"};
    const char *p = text.p, *const end = p + text.size;

    for (unsigned i = 0; i < 3; i++) {
        const size_t size = strlen(words[i]);
        while (p < end && strchr(" \t\r\n", *p) != NULL && *p != 0)
            p++;
        if ((size_t)(end - p) < size || strncasecmp(p, words[i], size) != 0)
            return false;
        p += size;
    }
    return true;
}

void http_plan_init(struct kv_buf *plan)
{
    kv_buf_init(plan, KV_MEM_CLIENT, PLAN_STEPS_MAX);
}

/* "key=? score range" -> "key and score range" */
static void plan_columns(struct kv_buf *out, const char *p, const char *end)
{
    while (p < end) {
        if (end - p >= 2 && memcmp(p, "=?", 2) == 0) {
            p += 2;
            if (p < end && *p == ' ')
                kv_buf_text(out, " and ");
            p += p < end && *p == ' ';
        } else {
            kv_buf_byte(out, (uint8_t)*p++);
        }
    }
}

/* A step over one of our tables; false: it is none. */
static bool plan_table(struct kv_buf *out, const char *p, const char *end)
{
    static const char mark[] = " VIRTUAL TABLE INDEX ";
    const size_t size = (size_t)(end - p);
    const char *const at = memmem(p, size, mark, sizeof mark - 1);
    const char *name = memchr(p, ' ', size);
    const char *text = at ? memchr(at, ':', (size_t)(end - at)) : NULL;

    if (at == NULL || name == NULL || text == NULL || ++name > at)
        return false;
    text++;
    const size_t rest = (size_t)(end - text);
    const bool range = memmem(text, rest, " range", 6) != NULL ||
                       memmem(text, rest, " prefix", 7) != NULL;
    kv_buf_text(out, rest == 0 ? "full scan of "
                     : range   ? "range scan of "
                               : "look-up in ");
    kv_buf_add(out, name, (size_t)(at - name));
    if (rest > 0)
        kv_buf_text(out, " by ");
    plan_columns(out, text, end);
    return true;
}

static void plan_words(struct kv_buf *out, const char *p, size_t size)
{
    static const char sort[] = "USE TEMP B-TREE FOR ";

    if (size > sizeof sort - 1 && memcmp(p, sort, sizeof sort - 1) == 0) {
        kv_buf_text(out, "sort for ");
        kv_buf_add(out, p + sizeof sort - 1, size - (sizeof sort - 1));
    } else if (!plan_table(out, p, p + size)) {
        kv_buf_add(out, p, size);
    }
}

void http_plan_step(struct http_rows *rows)
{
    struct vt_value detail;
    struct kv_buf words;

    if (rows->columns != 4)
        return;
    vt_column(rows->statement, 3, &detail);
    if (detail.kind != VT_TEXT)
        return;
    kv_buf_init(&words, KV_MEM_CLIENT, PLAN_STEPS_MAX);
    plan_words(&words, (const char *)detail.p, detail.size);
    if (rows->plan->size > 0)
        kv_buf_byte(rows->plan, ',');
    http_json_bytes(rows->plan, words.p, words.size, false);
    rows->plan->failed = rows->plan->failed || words.failed;
    kv_buf_fini(&words);
}
