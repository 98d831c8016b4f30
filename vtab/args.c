/* args.c - the arguments of xFilter, as sets of keys and spans of numbers.
 *
 * Order of the arguments: EQ or IN, lower bound, upper bound, GLOB, LIKE of
 * the loop over keys, then the same of the loop over elements (plan.c).
 *
 * Thread: the session's. */
#include "vtab/table.h"

#include <stdlib.h>

/* The arguments not read yet. */
struct vargs {
    struct vt_cursor *cursor;
    sqlite3_value **argv;
    int left;
};

static sqlite3_value *vargs_next(struct vargs *args)
{
    KV_ASSERT(args->left > 0);
    args->left--;
    return *args->argv++;
}

/* A pattern: its text, or nothing for NULL and BLOB, which match nothing. */
static int vargs_pattern(struct vargs *args, struct vt_set *set, bool glob,
                        struct kv_key *keep)
{
    sqlite3_value *value = vargs_next(args);
    int type = sqlite3_value_type(value);
    struct vt_input input;
    bool ok, exact;

    if (type == SQLITE_NULL || type == SQLITE_BLOB) {
        set->count = 0;
        return SQLITE_OK;
    }
    if (!vt_input_init(&input, value)) return SQLITE_NOMEM;
    if (glob)
        ok = vt_set_glob(set, &input.key, &exact) &&
             (exact || vt_set_keep(set, &input.key, keep));
    else
        ok = vt_set_like(set, &input.key);
    vt_input_fini(&input);
    return ok ? SQLITE_OK : SQLITE_NOMEM;
}

static int vargs_in(struct vt_set *set, sqlite3_value *list)
{
    sqlite3_value *value = NULL;
    int rc = sqlite3_vtab_in_first(list, &value);

    for (; rc == SQLITE_OK; rc = sqlite3_vtab_in_next(list, &value))
        if (!vt_set_equal(set, value)) return SQLITE_NOMEM;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* A slot of TEXT. */
static int vargs_text(struct vargs *args, unsigned bits, struct vt_set *set,
                     struct kv_key *glob)
{
    int rc = SQLITE_OK;

    if (bits & (VT_PLAN_EQ | VT_PLAN_IN)) {
        vt_set_reset(set);
        if (bits & VT_PLAN_IN)
            rc = vargs_in(set, vargs_next(args));
        else if (!vt_set_equal(set, vargs_next(args)))
            rc = SQLITE_NOMEM;
        vt_set_sort(set);
        return rc;
    }
    vt_set_all(set);
    if (bits & VT_PLAN_LO &&
        !vt_set_above(set, vargs_next(args), (bits & VT_PLAN_LO_OPEN) != 0))
        return SQLITE_NOMEM;
    if (bits & VT_PLAN_HI &&
        !vt_set_below(set, vargs_next(args), (bits & VT_PLAN_HI_OPEN) != 0,
                      (bits & VT_PLAN_HI_KNOWN) != 0))
        return SQLITE_NOMEM;
    if (bits & VT_PLAN_GLOB) rc = vargs_pattern(args, set, true, glob);
    if (rc == SQLITE_OK && bits & VT_PLAN_LIKE)
        rc = vargs_pattern(args, set, false, NULL);
    return rc;
}

static int vargs_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* idx IN (...): the whole numbers among the elements. */
static int vargs_points(struct vt_cursor *cursor, sqlite3_value *list)
{
    sqlite3_value *value = NULL;
    unsigned cap = 0, kept = 0;
    int rc = sqlite3_vtab_in_first(list, &value);

    for (; rc == SQLITE_OK; rc = sqlite3_vtab_in_next(list, &value)) {
        struct vt_number number;
        struct vt_span span;
        if (!vt_number_get(value, &number)) return SQLITE_NOMEM;
        vt_span_all(&span);
        vt_span_narrow(&span, SQLITE_INDEX_CONSTRAINT_EQ, &number);
        if (span.lo != span.hi || span.lo < 0) continue;
        if (cursor->point_count == cap) {
            int64_t *grown;
            cap = cap > 0 ? cap * 2 : 16;
            grown = sqlite3_realloc64(cursor->points, cap * sizeof(*grown));
            if (grown == NULL) return SQLITE_NOMEM;
            cursor->points = grown;
        }
        cursor->points[cursor->point_count++] = span.lo;
    }
    if (rc != SQLITE_DONE) return rc;
    if (cursor->point_count == 0) return SQLITE_OK;
    qsort(cursor->points, cursor->point_count, sizeof(int64_t), vargs_compare);
    for (unsigned i = 1; i < cursor->point_count; i++)
        if (cursor->points[i] != cursor->points[kept])
            cursor->points[++kept] = cursor->points[i];
    cursor->point_count = kept + 1;
    return SQLITE_OK;
}

/* One bound of a numeric slot. */
static int vargs_bound(struct vargs *args, int op, struct vt_span *span,
                      struct vt_scores *scores)
{
    struct vt_number number;

    if (!vt_number_get(vargs_next(args), &number)) return SQLITE_NOMEM;
    if (scores != NULL)
        vt_scores_narrow(scores, op, &number);
    else
        vt_span_narrow(span, op, &number);
    return SQLITE_OK;
}

/* A numeric slot. */
static int vargs_number(struct vargs *args, unsigned bits, struct vt_span *span,
                       struct vt_scores *scores)
{
    int rc = SQLITE_OK;

    if (bits & VT_PLAN_IN) return vargs_points(args->cursor, vargs_next(args));
    if (bits & VT_PLAN_EQ)
        return vargs_bound(args, SQLITE_INDEX_CONSTRAINT_EQ, span, scores);
    if (bits & VT_PLAN_LO)
        rc = vargs_bound(args,
                        bits & VT_PLAN_LO_OPEN ? SQLITE_INDEX_CONSTRAINT_GT
                                               : SQLITE_INDEX_CONSTRAINT_GE,
                        span, scores);
    if (rc == SQLITE_OK && bits & VT_PLAN_HI)
        rc = vargs_bound(args,
                        bits & VT_PLAN_HI_OPEN ? SQLITE_INDEX_CONSTRAINT_LT
                                               : SQLITE_INDEX_CONSTRAINT_LE,
                        span, scores);
    return rc;
}

int vt_cursor_args(struct vt_cursor *cursor, int argc, sqlite3_value **argv)
{
    const unsigned mask = (1u << VT_PLAN_ELEM) - 1;
    struct vargs args = {.cursor = cursor, .argv = argv, .left = argc};
    unsigned keys = cursor->plan & mask;
    unsigned elems = cursor->plan >> VT_PLAN_ELEM & mask;
    const struct vt_def *def = cursor->table->def;
    int rc;

    cursor->key_glob = cursor->elem_glob = (struct kv_key){.p = NULL};
    cursor->point_count = 0;
    cursor->keys.bound = cursor->elems.bound =
        (cursor->plan & VT_PLAN_BOUND) != 0;
    cursor->keys.text = cursor->elems.text =
        (cursor->plan & VT_PLAN_TEXT) != 0;
    vt_span_all(&cursor->span);
    vt_scores_all(&cursor->scores);
    if (cursor->plan & (VT_PLAN_KEY_RANK | VT_PLAN_KEY_TIME))
        rc = vargs_number(&args, keys, &cursor->span, NULL);
    else
        rc = vargs_text(&args, keys, &cursor->keys, &cursor->key_glob);
    if (rc != SQLITE_OK || def->elem == VT_ELEM_NONE) return rc;
    if (cursor->plan & VT_PLAN_ELEM_SCORE)
        return vargs_number(&args, elems, NULL, &cursor->scores);
    if (cursor->plan & VT_PLAN_ELEM_RANK || def->elem == VT_ELEM_INDEX)
        return vargs_number(&args, elems, &cursor->span, NULL);
    return vargs_text(&args, elems, &cursor->elems, &cursor->elem_glob);
}
