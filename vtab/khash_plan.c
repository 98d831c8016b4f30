/* khash_plan.c - whether a query is better read by an index (sql.md KH4).
 *
 * vt_plan() has said what the key column gives; here each index that is
 * complete says what it gives: the columns that are compared for equality, from
 * the first on, then one list or range, and perhaps the order that is wanted.
 * The cheapest has it. Rows are counted by their ranks where all values are
 * known, else entries are sampled for how many are alike.
 *
 * PL1 to PL4 hold for each column by its affinity: with a column that is not
 * TEXT every comparison is exact. Behind a TEXT column whose right-hand side
 * might be compared as a number nothing is, for the intervals may end there.
 *
 * Thread: the session's, inside prepare. */
#include "vtab/khash.h"

#include <math.h>
#include <string.h>

#define KPLAN_ROW_COST 5.0 /* an entry and the hash that it leads to */
#define KPLAN_SAMPLES 3
#define KPLAN_LIST 25.0    /* values in a list */
#define KPLAN_ARGS_MAX (KV_INDEX_COLUMNS_MAX + 2)

struct kplan {
    struct vt_khash *khash;
    sqlite3_index_info *info;
    const struct kv_at *at;
    const struct vt_khash_index *index;
    struct kv_item entries;
    unsigned bits;
    int arg[KPLAN_ARGS_MAX]; /* constraints in the order of arguments */
    bool omit[KPLAN_ARGS_MAX];
    int args, equal;
    bool text;   /* numbers are compared as text (PL6) */
    bool loose;  /* nothing is exact from here on */
    bool ordered;
    double rows, cost;
};

/* ---- constraints ----------------------------------------------------------- */

static bool kplan_is_text(const struct kplan *plan, int column)
{
    return plan->khash->column[column].affinity == VT_AFFINITY_TEXT;
}

/* PL1 */
static bool kplan_known(const struct kplan *plan, int i)
{
    sqlite3_value *value = NULL;

    if (plan->text) return true;
    if (sqlite3_vtab_rhs_value(plan->info, i, &value) != SQLITE_OK ||
        value == NULL)
        return false;
    return sqlite3_value_type(value) != SQLITE_INTEGER &&
           sqlite3_value_type(value) != SQLITE_FLOAT;
}

/* The first constraint of one of two kinds on the column, or -1. */
static int kplan_find(const struct kplan *plan, int column, int op, int other,
                      int third)
{
    for (int i = 0; i < plan->info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &plan->info->aConstraint[i];
        if (c->usable && c->iColumn == column &&
            (c->op == op || c->op == other || c->op == third) &&
            sqlite3_stricmp(sqlite3_vtab_collation(plan->info, i), "BINARY") ==
                0)
            return i;
    }
    return -1;
}

/* An EQ that may be of a list of row values, and cannot be taken (texts.c). */
static bool kplan_row_value(const struct kplan *plan, int column, int i)
{
    return i >= 0 &&
           plan->info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_EQ &&
           kplan_is_text(plan, column) &&
           !sqlite3_vtab_in(plan->info, i, -1) && !kplan_known(plan, i) &&
           vt_reads_rows_in(plan->khash->table.session);
}

static void kplan_take(struct kplan *plan, int column, int i, bool list)
{
    const bool known = !kplan_is_text(plan, column) || kplan_known(plan, i);

    plan->omit[plan->args] = known && !plan->loose && !list;
    plan->arg[plan->args++] = i;
    plan->loose = plan->loose || !known;
}

/* Column number `at` of the index; false: what is wanted of it ends there. */
static bool kplan_column(struct kplan *plan, int at)
{
    const int column = plan->index->column[at];
    const struct sqlite3_index_constraint *c = plan->info->aConstraint;
    const int i = kplan_find(plan, column, SQLITE_INDEX_CONSTRAINT_EQ,
                             SQLITE_INDEX_CONSTRAINT_IS,
                             SQLITE_INDEX_CONSTRAINT_ISNULL);
    int lo, hi;

    if (kplan_row_value(plan, column, i)) return false;
    if (i >= 0 && c[i].op == SQLITE_INDEX_CONSTRAINT_EQ &&
        sqlite3_vtab_in(plan->info, i, -1)) {
        plan->bits |= VT_SEEK_IN;
        kplan_take(plan, column, i, true);
        return false;
    }
    if (i >= 0) {
        if (c[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
            plan->bits |= 1u << (VT_SEEK_IS_SHIFT + at);
        kplan_take(plan, column, i, false);
        plan->equal++;
        return true;
    }
    lo = kplan_find(plan, column, SQLITE_INDEX_CONSTRAINT_GT,
                    SQLITE_INDEX_CONSTRAINT_GE, -1);
    hi = kplan_find(plan, column, SQLITE_INDEX_CONSTRAINT_LT,
                    SQLITE_INDEX_CONSTRAINT_LE, -1);
    if (lo >= 0) {
        plan->bits |= VT_SEEK_LO;
        if (c[lo].op == SQLITE_INDEX_CONSTRAINT_GT)
            plan->bits |= VT_SEEK_LO_OPEN;
    }
    if (hi >= 0) {
        plan->bits |= VT_SEEK_HI;
        if (c[hi].op == SQLITE_INDEX_CONSTRAINT_LT)
            plan->bits |= VT_SEEK_HI_OPEN;
        if (kplan_known(plan, hi)) plan->bits |= VT_SEEK_HI_KNOWN;
    }
    {
        const bool loose = plan->loose; /* both are of one column */
        bool after = loose;
        if (lo >= 0) kplan_take(plan, column, lo, false);
        after = after || plan->loose;
        plan->loose = loose;
        if (hi >= 0) kplan_take(plan, column, hi, false);
        plan->loose = plan->loose || after;
    }
    return false;
}

/* ---- order ----------------------------------------------------------------- */

/* Whether column `at` of the order is the key, which every index ends in. */
static bool kplan_is_key(const struct kplan *plan, int column)
{
    return column == 0 || column == plan->khash->columns + VT_KHASH_KEY;
}

static void kplan_order(struct kplan *plan)
{
    const sqlite3_index_info *info = plan->info;
    const bool desc = info->nOrderBy > 0 && info->aOrderBy[0].desc;
    int at = plan->equal;

    plan->ordered = false;
    for (int i = 0; i < info->nOrderBy; i++) {
        const int column = info->aOrderBy[i].iColumn;
        bool fixed = false;
        for (int k = 0; k < plan->equal; k++)
            fixed = fixed || plan->index->column[k] == column;
        if (fixed && plan->equal > 0 && !plan->loose) continue;
        if ((info->aOrderBy[i].desc != 0) != desc) return;
        if (at == plan->index->columns) {
            if (!kplan_is_key(plan, column)) return;
            break; /* no two rows have the same one */
        }
        if (plan->index->column[at++] != column) return;
    }
    plan->ordered = info->nOrderBy > 0;
    if (!plan->ordered) return;
    if (desc) plan->bits |= VT_SEEK_DESC;
    if (plan->equal > 0) plan->bits |= VT_SEEK_SORT;
}

/* ---- costs ----------------------------------------------------------------- */

/* Rows by the values of all arguments; false: not all are known. */
static bool kplan_count(struct kplan *plan)
{
    sqlite3_value *values[KPLAN_ARGS_MAX];
    struct vt_seek seek;
    bool ok;

    if (plan->bits & VT_SEEK_IN) return false;
    for (int i = 0; i < plan->args; i++) {
        values[i] = NULL;
        if (sqlite3_vtab_rhs_value(plan->info, plan->arg[i], &values[i]) !=
                SQLITE_OK ||
            values[i] == NULL)
            return false;
    }
    vt_seek_init(&seek);
    vt_seek_begin(&seek, plan->khash, plan->bits);
    ok = vt_seek_arms(&seek, false, true, values) == SQLITE_OK;
    if (ok) plan->rows = (double)vt_seek_count(&seek, plan->at, &plan->entries);
    vt_seek_fini(&seek);
    return ok;
}

/* How many entries begin with the same `columns` values as the one of that
 * rank. */
static double kplan_alike(struct kplan *plan, uint64_t rank, int columns)
{
    struct kv_elems walk;
    struct kv_buf end;
    struct kv_key lo, hi;
    uint64_t from, to;
    size_t size = 0;

    kv_elems_init(&walk, plan->at, &plan->entries, KV_ELEMS_KEY);
    if (!kv_elems_seek_rank(&walk, rank)) return 1;
    for (int i = 0; i < columns; i++)
        size += kv_datum_size(walk.elem.key.p + size,
                              walk.elem.key.size - size);
    kv_buf_init(&end, KV_MEM_MISC, SIZE_MAX / 4);
    kv_buf_add(&end, walk.elem.key.p, size);
    kv_buf_byte(&end, KV_DATUM_END);
    if (end.failed) {
        kv_buf_fini(&end);
        return 1;
    }
    lo = (struct kv_key){end.p, (uint32_t)size, KV_BLOB};
    hi = (struct kv_key){end.p, (uint32_t)size + 1, KV_BLOB};
    from = kv_elem_key_rank(plan->at, &plan->entries, &lo);
    to = kv_elem_key_rank(plan->at, &plan->entries, &hi);
    kv_buf_fini(&end);
    return to > from ? (double)(to - from) : 1;
}

static void kplan_guess(struct kplan *plan, uint64_t total)
{
    const int columns = plan->equal + (plan->bits & VT_SEEK_IN ? 1 : 0);
    const unsigned range = plan->bits & (VT_SEEK_LO | VT_SEEK_HI);

    plan->rows = (double)total;
    if (columns > 0 && total > 0) {
        plan->rows = 0;
        for (unsigned i = 0; i < KPLAN_SAMPLES; i++)
            plan->rows += kplan_alike(plan, total * (2 * i + 1) /
                                                (2 * KPLAN_SAMPLES), columns) /
                          KPLAN_SAMPLES;
    }
    if (plan->bits & VT_SEEK_IN) plan->rows *= KPLAN_LIST;
    if (range != 0)
        plan->rows /= range == (VT_SEEK_LO | VT_SEEK_HI) ? 16 : 4;
    if (plan->rows > (double)total) plan->rows = (double)total;
}

static void kplan_cost(struct kplan *plan)
{
    const uint64_t total = kv_item_length(&plan->entries);

    if (!kplan_count(plan)) kplan_guess(plan, total);
    plan->cost = log2((double)total + 2) + plan->rows * KPLAN_ROW_COST;
    if (plan->info->nOrderBy > 0 && !plan->ordered)
        plan->cost += plan->rows * log2(plan->rows + 2);
}

/* ---- one index ------------------------------------------------------------- */

/* What index number `number` gives; false: nothing that is wanted. */
static bool kplan_try(struct kplan *plan, int number)
{
    const struct vt_khash_index *index = &plan->khash->index[number];
    const struct kv_key id = {index->id.p, (uint32_t)index->id.size, KV_BLOB};
    int at = 0;

    plan->index = index;
    plan->bits = (unsigned)number;
    plan->args = plan->equal = 0;
    plan->loose = false;
    if (!kv_index_get(plan->at, &id, &plan->entries)) return false;
    while (at < index->columns && kplan_column(plan, at)) at++;
    plan->bits |= (unsigned)plan->equal << VT_SEEK_EQUAL_SHIFT;
    kplan_order(plan);
    if (plan->args == 0 && !plan->ordered) return false;
    kplan_cost(plan);
    return true;
}

/* "index city, age: city=? and age>?" */
static char *kplan_text(const struct kplan *plan)
{
    const struct vt_khash *khash = plan->khash;
    const struct sqlite3_index_constraint *c = plan->info->aConstraint;
    sqlite3_str *out = sqlite3_str_new(NULL);

    sqlite3_str_appendall(out, "index ");
    for (int i = 0; i < plan->index->columns; i++)
        sqlite3_str_appendf(out, "%s%s", i > 0 ? ", " : "",
                            khash->label[plan->index->column[i]]);
    for (int i = 0; i < plan->args; i++) {
        const int op = c[plan->arg[i]].op;
        const char *text = op == SQLITE_INDEX_CONSTRAINT_EQ   ? "=?"
                           : op == SQLITE_INDEX_CONSTRAINT_GT ? ">?"
                           : op == SQLITE_INDEX_CONSTRAINT_GE ? ">=?"
                           : op == SQLITE_INDEX_CONSTRAINT_LT ? "<?"
                           : op == SQLITE_INDEX_CONSTRAINT_LE ? "<=?"
                                                              : " IS ?";
        if (plan->bits & VT_SEEK_IN && i + 1 == plan->args) text = " IN";
        sqlite3_str_appendf(out, "%s%s%s", i > 0 ? " and " : ": ",
                            khash->label[c[plan->arg[i]].iColumn], text);
    }
    return sqlite3_str_finish(out);
}

/* Whether nothing is asked for but what entries have. */
static bool kplan_covers(const struct kplan *plan)
{
    const int key = plan->khash->columns + VT_KHASH_KEY;
    uint64_t columns = 1 | (uint64_t)1 << (key < 63 ? key : 0);

    for (int i = 0; i < plan->index->columns; i++)
        if (plan->index->column[i] < 63)
            columns |= (uint64_t)1 << plan->index->column[i];
    return (plan->info->colUsed & ~columns) == 0;
}

/* In the place of what vt_plan() took. */
static int kplan_use(struct kplan *plan, unsigned base)
{
    sqlite3_index_info *info = plan->info;
    const unsigned keep = VT_PLAN_BOUND | VT_PLAN_TEXT;
    char *text = kplan_text(plan);

    if (text == NULL) return SQLITE_NOMEM;
    if (kplan_covers(plan)) plan->bits |= VT_SEEK_COVER;
    for (int i = 0; i < info->nConstraint; i++) {
        info->aConstraintUsage[i].argvIndex = 0;
        info->aConstraintUsage[i].omit = 0;
    }
    for (int i = 0; i < plan->args; i++) {
        info->aConstraintUsage[plan->arg[i]].argvIndex = i + 1;
        info->aConstraintUsage[plan->arg[i]].omit = plan->omit[i];
    }
    if (plan->bits & VT_SEEK_IN)
        (void)sqlite3_vtab_in(info, plan->arg[plan->args - 1], 1);
    if (info->needToFreeIdxStr) sqlite3_free(info->idxStr);
    info->idxStr = text;
    info->needToFreeIdxStr = 1;
    info->idxNum = (int)(VT_PLAN_KEY_INDEX | plan->bits | (base & keep));
    info->idxFlags = 0;
    info->orderByConsumed = plan->ordered;
    info->estimatedCost = plan->cost;
    info->estimatedRows =
        plan->rows < 1 ? 1 : (sqlite3_int64)plan->rows;
    return SQLITE_OK;
}

int vt_khash_plan(struct vt_khash *khash, sqlite3_index_info *info)
{
    struct vt_session *session = khash->table.session;
    const unsigned base = (unsigned)info->idxNum;
    struct kplan plan = {.khash = khash, .info = info};
    struct kplan best = {.cost = info->estimatedCost};
    struct kv_view *view;
    struct kv_at at;
    int rc = SQLITE_OK;

    if (session->plan_off || base & (VT_PLAN_EQ | VT_PLAN_IN)) return SQLITE_OK;
    if (!vt_peek_at(session, &at, &view)) return SQLITE_OK;
    plan.at = &at;
    plan.text = (base & VT_PLAN_TEXT) != 0;
    if (info->nOrderBy > 0 && !info->orderByConsumed)
        best.cost += (double)info->estimatedRows *
                     log2((double)info->estimatedRows + 2);
    for (int i = 0; i < khash->indexes; i++)
        if (kplan_try(&plan, i) && plan.cost < best.cost) best = plan;
    kv_unpin(view);
    if (best.index != NULL) rc = kplan_use(&best, base);
    return rc;
}
