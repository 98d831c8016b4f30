/* plan.c - EXPLAIN QUERY PLAN in words: what SQLite says of each step, the text
 * that our tables gave it for the way they chose (vtab/plan.c), and how many rows
 * they expect behind the "~" (struct vt_limits, estimates).
 *
 *   SCAN strings VIRTUAL TABLE INDEX 268435584:key prefix ~12
 *     -> range scan of strings by key prefix, about 12 rows
 *
 * What is not of these shapes stands as SQLite says it.
 *
 * estimate_rows is how many rows the statement goes through: the loops of one
 * SELECT are within each other, so theirs are multiplied; the arms of a compound,
 * of an OR and of a recursion come one after the other, so theirs are added.
 * Subqueries that are values, and LIMIT, do not count.
 *
 * Thread: workers. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "http/json.h"
#include "http/rows.h"
#include "kvsql/base/num.h"

#define PLAN_STEPS_MAX 65536 /* bytes of all steps */
#define PLAN_NODES 1024      /* steps that are counted */
#define PLAN_ROWS_MAX 9e15   /* an integer in every client */

struct plan_node {
    int64_t id;
    int parent;      /* before this one; -1: the statement */
    double rows;     /* of the step by itself, times those within it */
    double arms;     /* added; 0: none */
    bool arm, value; /* one of its parent's arms; it does not count there */
};

struct http_plan {
    struct kv_buf steps; /* JSON strings with commas between */
    unsigned count;
    struct plan_node nodes[PLAN_NODES];
};

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

struct http_plan *http_plan_new(struct http_request *request)
{
    struct http_plan *plan = http_alloc(request, sizeof *plan);

    if (plan == NULL) {
        http_fail(request, KVSQL_NOMEM, "no memory for a plan", NULL);
        return NULL;
    }
    plan->count = 0;
    kv_buf_init(&plan->steps, KV_MEM_CLIENT, PLAN_STEPS_MAX);
    return plan;
}

void http_plan_fini(struct http_plan *plan)
{
    if (plan != NULL)
        kv_buf_fini(&plan->steps);
}

/* ---- words ----------------------------------------------------------------------- */

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

/* The "~N" at the end of what our table said, which *end is moved before; false:
 * it said none. */
static bool plan_expected(const char *p, const char **end, uint64_t *rows)
{
    const char *const mark = memrchr(p, '~', (size_t)(*end - p));

    if (mark == NULL ||
        !kv_num_uint(mark + 1, (size_t)(*end - mark - 1), rows))
        return false;
    *end = mark > p && mark[-1] == ' ' ? mark - 1 : mark;
    return true;
}

/* What the table of a step said, behind its plan's number; NULL: it is none of a
 * virtual table. *at: the end of the table's name. */
static const char *plan_said(const char *p, const char *end, const char **at)
{
    static const char mark[] = " VIRTUAL TABLE INDEX ";

    *at = memmem(p, (size_t)(end - p), mark, sizeof mark - 1);
    const char *colon =
        *at != NULL ? memchr(*at, ':', (size_t)(end - *at)) : NULL;
    return colon != NULL ? colon + 1 : NULL;
}

/* A step over a virtual table; false: it is none. */
static bool plan_table(struct kv_buf *out, const char *p, const char *end)
{
    const char *at;
    const char *const text = plan_said(p, end, &at);
    const char *name = memchr(p, ' ', (size_t)(end - p));
    uint64_t rows;

    if (text == NULL || name == NULL || ++name > at)
        return false;
    const bool expected = plan_expected(text, &end, &rows);
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
    if (expected)
        kv_buf_printf(out, ", about %llu row%s", (unsigned long long)rows,
                      rows == 1 ? "" : "s");
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

/* ---- how many rows ----------------------------------------------------------------- */

static bool plan_begins(const struct vt_value *detail, const char *word)
{
    const size_t size = strlen(word);

    return detail->size >= size && memcmp(detail->p, word, size) == 0;
}

static bool plan_is_arm(const struct vt_value *detail)
{
    static const char *const arms[] = {
        "LEFT-MOST SUBQUERY", "UNION", "INTERSECT", "EXCEPT", "LEFT",  "RIGHT",
        "SETUP",              "RECURSIVE STEP",     "INDEX "};

    for (unsigned i = 0; i < sizeof arms / sizeof *arms; i++)
        if (plan_begins(detail, arms[i]))
            return true;
    return false;
}

static void plan_count(struct http_plan *plan, const struct vt_value row[4])
{
    const struct vt_value *detail = &row[3];
    const char *const p = (const char *)detail->p, *end = p + detail->size, *at;
    const char *const said = plan_said(p, end, &at);
    uint64_t rows;

    if (plan->count == PLAN_NODES)
        return;
    struct plan_node *node = &plan->nodes[plan->count];
    *node = (struct plan_node){
        .id = row[0].integer,
        .rows = 1,
        .parent = (int)plan->count - 1,
        .arm = plan_is_arm(detail),
        .value = memmem(p, detail->size, "SCALAR SUBQUERY", 15) != NULL ||
                 memmem(p, detail->size, "LIST SUBQUERY", 13) != NULL};
    while (node->parent >= 0 &&
           plan->nodes[node->parent].id != row[1].integer)
        node->parent--;
    if (said != NULL && plan_expected(said, &end, &rows))
        node->rows = (double)rows;
    plan->count++;
}

/* Each step stands behind the one it is within, so from the end on all of what is
 * within a step is known when it is reached. */
static double plan_rows(struct http_plan *plan)
{
    struct plan_node whole = {.rows = 1};

    for (unsigned i = plan->count; i-- > 0;) {
        const struct plan_node *node = &plan->nodes[i];
        struct plan_node *to =
            node->parent < 0 ? &whole : &plan->nodes[node->parent];
        const double rows = node->rows * (node->arms > 0 ? node->arms : 1);

        if (node->arm)
            to->arms += rows;
        else if (!node->value)
            to->rows *= rows;
    }
    return fmin(whole.rows * (whole.arms > 0 ? whole.arms : 1), PLAN_ROWS_MAX);
}

void http_plan_step(struct http_rows *rows)
{
    struct http_plan *plan = rows->plan;
    struct vt_value row[4];
    struct kv_buf words;

    if (rows->columns != 4)
        return;
    for (int i = 0; i < 4; i++)
        vt_column(rows->statement, i, &row[i]);
    if (row[3].kind != VT_TEXT)
        return;
    plan_count(plan, row);
    kv_buf_init(&words, KV_MEM_CLIENT, PLAN_STEPS_MAX);
    plan_words(&words, (const char *)row[3].p, row[3].size);
    if (plan->steps.size > 0)
        kv_buf_byte(&plan->steps, ',');
    http_json_bytes(&plan->steps, words.p, words.size, false);
    plan->steps.failed = plan->steps.failed || words.failed;
    kv_buf_fini(&words);
}

void http_plan_end(struct http_rows *rows)
{
    struct kv_buf *out = &rows->request->answer.body;
    struct http_plan *plan = rows->plan;

    kv_buf_text(out, "\"plan\":[");
    kv_buf_add(out, plan->steps.p, plan->steps.size);
    kv_buf_text(out, "],\"estimate_rows\":");
    http_json_uint(out, (uint64_t)plan_rows(plan));
    kv_buf_byte(out, ',');
    out->failed = out->failed || plan->steps.failed;
}
