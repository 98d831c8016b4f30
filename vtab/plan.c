/* plan.c - what part of a table a query wants (sql.md section 3).
 *
 * The constraints SQLite offers fall into slots: the key, the element (field,
 * member, idx), score, rank and expires_at. A plan takes one slot for the loop
 * over keys and one for the loop over elements. LIMIT and OFFSET are never
 * taken (PL11), nor what compares with another collation (PL3).
 *
 * PL10: depends on nothing but its input and the size of the keyspace.
 *
 * Thread: the session's, inside prepare. */
#include "vtab/table.h"

#include <math.h>

#define VPLAN_KEYS_UNKNOWN 100000.0
#define VPLAN_ELEMS_PER_KEY 16.0
#define VPLAN_ARGS_MAX 16

/* Constraints on one column: indexes into aConstraint, -1 where none. */
struct vplan_slot {
    int eq, in, lo, hi, glob, like;
};
enum vplan_slot_name {
    VPLAN_KEY, VPLAN_ELEM, VPLAN_SCORE, VPLAN_RANK, VPLAN_EXPIRES, VPLAN_SLOTS
};

struct vplan {
    struct vt_table *table;
    sqlite3_index_info *info;
    struct vplan_slot slot[VPLAN_SLOTS];
    unsigned bits;
    int args;
    bool key_known; /* one key, exactly */
    const char *key_name, *key_text, *elem_name, *elem_text;
    double keys, elems, seeks; /* expected: keys walked, elements of each */
};

static bool vplan_bounded(const struct vplan_slot *slot)
{
    return slot->eq >= 0 || slot->lo >= 0 || slot->hi >= 0;
}

/* PL1: the value is known, and is no number; or no number is compared. */
static bool vplan_known(struct vplan *plan, int i, bool *number)
{
    sqlite3_value *value = NULL;
    int type;

    *number = false;
    if (plan->bits & VT_PLAN_TEXT) return true;
    if (sqlite3_vtab_rhs_value(plan->info, i, &value) != SQLITE_OK ||
        value == NULL)
        return false;
    type = sqlite3_value_type(value);
    *number = type == SQLITE_INTEGER || type == SQLITE_FLOAT;
    return !*number;
}

/* Whether a bound on score is exact (PL4). */
static bool vplan_score_known(struct vplan *plan, int i)
{
    const int64_t exact = (int64_t)1 << 53;
    sqlite3_value *value = NULL;
    int type;

    if (sqlite3_vtab_rhs_value(plan->info, i, &value) != SQLITE_OK ||
        value == NULL)
        return false;
    type = sqlite3_value_type(value);
    if (type == SQLITE_INTEGER) {
        int64_t n = sqlite3_value_int64(value);
        return n <= exact && n >= -exact;
    }
    return type == SQLITE_FLOAT;
}

static int vplan_slot_of(const struct vt_def *def, int column)
{
    if (column == 0) return VPLAN_KEY;
    if (column < 0) return -1;
    if (column == def->col_elem) return VPLAN_ELEM;
    if (column == def->col_score) return VPLAN_SCORE;
    if (column == def->col_rank) return VPLAN_RANK;
    if (column == def->col_expires) return VPLAN_EXPIRES;
    return -1;
}

/* An EQ that is really IN, and may be had in one call. */
static bool vplan_is_in(struct vplan *plan, int i, int slot)
{
    bool handled = slot == VPLAN_KEY || slot == VPLAN_ELEM;

    return handled && sqlite3_vtab_in(plan->info, i, -1);
}

/* An EQ that may be of a list of row values, and cannot be taken (texts.c). */
static bool vplan_row_value(struct vplan *plan, int i, int slot)
{
    bool number;

    return (slot == VPLAN_KEY || slot == VPLAN_ELEM) &&
           !vplan_known(plan, i, &number) &&
           vt_reads_rows_in(plan->table->session);
}

/* SQLite offers an interval of `op` on the column, compared so. */
static bool vplan_offered(const struct vplan *plan, int column, int op,
                          const char *collation)
{
    for (int i = 0; i < plan->info->nConstraint; i++)
        if (plan->info->aConstraint[i].iColumn == column &&
            plan->info->aConstraint[i].op == op &&
            sqlite3_stricmp(sqlite3_vtab_collation(plan->info, i),
                            collation) == 0)
            return true;
    return false;
}

/* A GLOB or LIKE that is SQLite's own, or ours: in a connection that is not
 * our own another may stand in its place. SQLite adds the interval of a
 * pattern to its own only. One that matches BLOBs finds more than we do (EX2). */
static bool vplan_own_match(const struct vplan *plan, int i, bool glob)
{
    const int column = plan->info->aConstraint[i].iColumn;
    const char *collation = glob ? "BINARY" : "NOCASE";

    if (plan->table->session->guest == NULL) return true;
    return sqlite3_compileoption_used("LIKE_DOESNT_MATCH_BLOBS") &&
           vplan_offered(plan, column, SQLITE_INDEX_CONSTRAINT_GE, collation) &&
           vplan_offered(plan, column, SQLITE_INDEX_CONSTRAINT_LT, collation);
}

static void plan_offer(struct vplan *plan, int i)
{
    const struct sqlite3_index_constraint *c = &plan->info->aConstraint[i];
    const struct vt_def *def = plan->table->def;
    int slot = vplan_slot_of(def, c->iColumn);
    struct vplan_slot *s;
    int *place = NULL;

    if (!c->usable || slot < 0) return;
    if (sqlite3_stricmp(sqlite3_vtab_collation(plan->info, i), "BINARY") != 0)
        return; /* PL3 */
    s = &plan->slot[slot];
    switch (c->op) {
    case SQLITE_INDEX_CONSTRAINT_IS:
        if (slot == VPLAN_EXPIRES) return; /* NULL IS NULL */
        place = &s->eq;
        break;
    case SQLITE_INDEX_CONSTRAINT_EQ:
        place = vplan_is_in(plan, i, slot) ? &s->in : &s->eq;
        if (place == &s->eq && vplan_row_value(plan, i, slot)) return;
        break;
    case SQLITE_INDEX_CONSTRAINT_GT:
    case SQLITE_INDEX_CONSTRAINT_GE: place = &s->lo; break;
    case SQLITE_INDEX_CONSTRAINT_LT:
    case SQLITE_INDEX_CONSTRAINT_LE: place = &s->hi; break;
    case SQLITE_INDEX_CONSTRAINT_GLOB:
        if (!vplan_own_match(plan, i, true)) return;
        place = &s->glob;
        break;
    case SQLITE_INDEX_CONSTRAINT_LIKE:
        if (!vplan_own_match(plan, i, false)) return;
        place = &s->like;
        break;
    default: return;
    }
    if (*place < 0) *place = i;
}

static void vplan_read(struct vplan *plan)
{
    for (int i = 0; i < VPLAN_SLOTS; i++)
        plan->slot[i] = (struct vplan_slot){-1, -1, -1, -1, -1, -1};
    if (plan->table->session->plan_off) return;
    for (int i = 0; i < plan->info->nConstraint; i++) plan_offer(plan, i);
}

/* Take constraint i as the next argument. */
static void vplan_take(struct vplan *plan, int i, bool omit)
{
    plan->info->aConstraintUsage[i].argvIndex = ++plan->args;
    plan->info->aConstraintUsage[i].omit = omit;
}

/* Lower and upper bound of a slot; `exact` bounds need no second look. */
static void vplan_take_bounds(struct vplan *plan, const struct vplan_slot *slot,
                             int shift, bool numeric, bool score)
{
    const struct sqlite3_index_constraint *c = plan->info->aConstraint;
    bool number, known;

    if (slot->lo >= 0) {
        known = numeric ? !score || vplan_score_known(plan, slot->lo)
                        : vplan_known(plan, slot->lo, &number);
        plan->bits |= (unsigned)VT_PLAN_LO << shift;
        if (c[slot->lo].op == SQLITE_INDEX_CONSTRAINT_GT)
            plan->bits |= (unsigned)VT_PLAN_LO_OPEN << shift;
        vplan_take(plan, slot->lo, known);
    }
    if (slot->hi >= 0) {
        known = numeric ? !score || vplan_score_known(plan, slot->hi)
                        : vplan_known(plan, slot->hi, &number);
        plan->bits |= (unsigned)VT_PLAN_HI << shift;
        if (c[slot->hi].op == SQLITE_INDEX_CONSTRAINT_LT)
            plan->bits |= (unsigned)VT_PLAN_HI_OPEN << shift;
        if (known) plan->bits |= (unsigned)VT_PLAN_HI_KNOWN << shift;
        vplan_take(plan, slot->hi, known);
    }
}

/* Share of the rows that bounds leave. */
static double vplan_share(const struct vplan_slot *slot)
{
    if (slot->glob >= 0) return 1.0 / 32;
    if (slot->lo >= 0 && slot->hi >= 0) return 1.0 / 16;
    if (slot->like >= 0) return 1.0 / 16;
    return slot->lo >= 0 || slot->hi >= 0 ? 1.0 / 4 : 1.0;
}

/* A TEXT slot: key, field, member. Returns the share of rows left, or 0 for a
 * single one; *text says what it is. */
static double vplan_take_text(struct vplan *plan, const struct vplan_slot *slot,
                             int shift, bool *known, bool *number,
                             const char **text)
{
    *known = *number = false;
    if (slot->eq >= 0) {
        *known = vplan_known(plan, slot->eq, number);
        plan->bits |= (unsigned)VT_PLAN_EQ << shift;
        vplan_take(plan, slot->eq, *known);
        *text = "=?";
        return 0;
    }
    if (slot->in >= 0) {
        (void)sqlite3_vtab_in(plan->info, slot->in, 1);
        plan->bits |= (unsigned)VT_PLAN_IN << shift;
        vplan_take(plan, slot->in, (plan->bits & VT_PLAN_TEXT) != 0);
        *text = " IN";
        return 1.0 / 64;
    }
    vplan_take_bounds(plan, slot, shift, false, false);
    if (slot->glob >= 0) {
        plan->bits |= (unsigned)VT_PLAN_GLOB << shift;
        vplan_take(plan, slot->glob, true);
    }
    if (slot->like >= 0) {
        plan->bits |= (unsigned)VT_PLAN_LIKE << shift;
        vplan_take(plan, slot->like, false);
    }
    *text = slot->glob >= 0 || slot->like >= 0 ? " prefix"
            : slot->lo >= 0 || slot->hi >= 0   ? " range"
                                               : NULL;
    return vplan_share(slot);
}

/* A numeric slot: rank, expires_at, idx, score. */
static double vplan_take_number(struct vplan *plan, const struct vplan_slot *slot,
                               int shift, bool score, const char **text)
{
    if (slot->eq >= 0) {
        plan->bits |= (unsigned)VT_PLAN_EQ << shift;
        vplan_take(plan, slot->eq, !score || vplan_score_known(plan, slot->eq));
        *text = "=?";
        return score ? 1.0 / 32 : 0;
    }
    if (slot->in >= 0) {
        (void)sqlite3_vtab_in(plan->info, slot->in, 1);
        plan->bits |= (unsigned)VT_PLAN_IN << shift;
        vplan_take(plan, slot->in, true);
        *text = " IN";
        return 1.0 / 64;
    }
    vplan_take_bounds(plan, slot, shift, true, score);
    *text = slot->lo >= 0 || slot->hi >= 0 ? " range" : NULL;
    return vplan_share(slot);
}

/* The known value of constraint i, or NULL. */
static sqlite3_value *vplan_value(const struct vplan *plan, int i)
{
    sqlite3_value *value = NULL;

    if (sqlite3_vtab_rhs_value(plan->info, i, &value) != SQLITE_OK) return NULL;
    return value;
}

/* Narrow the set by the slot's bounds; false when one of them is not known. */
static bool vplan_known_range(const struct vplan *plan,
                              const struct vplan_slot *slot,
                              struct vt_set *set)
{
    sqlite3_value *lo = NULL, *hi = NULL, *glob = NULL;
    struct vt_input pattern;
    bool exact, ok;

    if (slot->lo >= 0 && (lo = vplan_value(plan, slot->lo)) == NULL)
        return false;
    if (slot->hi >= 0 && (hi = vplan_value(plan, slot->hi)) == NULL)
        return false;
    if (slot->glob >= 0 && (glob = vplan_value(plan, slot->glob)) == NULL)
        return false;
    if (lo != NULL && !vt_set_above(set, lo, false)) return false;
    if (hi != NULL && !vt_set_below(set, hi, true, true)) return false;
    if (glob == NULL) return true;
    if (sqlite3_value_type(glob) != SQLITE_TEXT) return false;
    if (!vt_input_init(&pattern, glob)) return false;
    ok = vt_set_glob(set, &pattern.key, &exact);
    vt_input_fini(&pattern);
    return ok;
}

/* Keys in the intervals, by their ranks: expired ones and other types too. */
static uint64_t vplan_count(const struct kv_at *at, const struct vt_set *set)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < set->count; i++) {
        const struct vt_range *range = &set->ranges[i];
        const uint64_t lo = range->has_lo ? kv_rank(at, &range->lo) : 0;
        const uint64_t hi = range->has_hi ? kv_rank(at, &range->hi)
                                          : kv_count_all(at);
        count += hi > lo ? hi - lo : 0;
    }
    return count;
}

/* Exactly how many keys a range of literals holds, or a table that has those
 * behind a prefix; `guess` where bounds are parameters. */
static double vplan_range_keys(struct vplan *plan,
                               const struct vplan_slot *slot, double guess)
{
    const struct kv_key *prefix = plan->table->def->prefix;
    struct kv_view *view;
    struct kv_at at;
    struct vt_set set;

    if (prefix == NULL && slot->lo < 0 && slot->hi < 0 && slot->glob < 0)
        return guess;
    vt_set_init(&set);
    vt_set_all(&set);
    if (vplan_known_range(plan, slot, &set) &&
        (prefix == NULL || vt_set_prefix(&set, prefix)) &&
        vt_peek_at(plan->table->session, &at, &view)) {
        guess = (double)vplan_count(&at, &set);
        kv_unpin(view);
    }
    vt_set_fini(&set);
    return guess;
}

/* Keys of the store, as last seen. */
static double vplan_total(struct vt_session *session)
{
    struct kv_view *view;
    struct kv_at at;

    if ((session->keys_hint == 0 || session->limits.estimates) &&
        vt_peek_at(session, &at, &view)) {
        session->keys_hint = kv_count_all(&at);
        kv_unpin(view);
    }
    return session->keys_hint > 0 || session->limits.estimates
               ? (double)session->keys_hint
               : VPLAN_KEYS_UNKNOWN;
}

static bool vplan_key_free(const struct vplan_slot *key)
{
    return key->eq < 0 && key->in < 0;
}

/* The loop over keys. */
static void vplan_keys(struct vplan *plan, bool *known, bool *number)
{
    const struct vt_def *def = plan->table->def;
    const struct vplan_slot *key = &plan->slot[VPLAN_KEY];
    const double total = vplan_total(plan->table->session);
    const char *text = NULL;
    double share;

    *known = *number = false;
    plan->key_name = def->labels != NULL ? def->labels[0] : "key";
    if (vplan_key_free(key) && def->elem == VT_ELEM_NONE &&
        vplan_bounded(&plan->slot[VPLAN_RANK])) {
        plan->bits |= VT_PLAN_KEY_RANK;
        plan->key_name = "rank";
        share = vplan_take_number(plan, &plan->slot[VPLAN_RANK], 0, false, &text);
    } else if (vplan_key_free(key) && key->lo < 0 && key->hi < 0 &&
               key->glob < 0 && vplan_bounded(&plan->slot[VPLAN_EXPIRES])) {
        plan->bits |= VT_PLAN_KEY_TIME;
        plan->key_name = "expires_at";
        share = vplan_take_number(plan, &plan->slot[VPLAN_EXPIRES], 0, false,
                                 &text);
    } else {
        share = vplan_take_text(plan, key, 0, known, number, &text);
        plan->key_known = *known;
    }
    plan->keys = share > 0 ? total * share : 1;
    if (plan->bits & VT_PLAN_IN)
        plan->keys = 25;
    else if (share > 0 &&
             !(plan->bits & (VT_PLAN_KEY_RANK | VT_PLAN_KEY_TIME)))
        plan->keys = vplan_range_keys(plan, key, plan->keys);
    plan->seeks = log2(total + 2);
    plan->key_text = text;
}

/* SQLite asks for this element order first. */
static bool vplan_wants_score(const struct vplan *plan)
{
    const struct vt_def *def = plan->table->def;
    int n = plan->info->nOrderBy;

    if (n > 0 && def->col_score >= 0) {
        int i = plan->info->aOrderBy[0].iColumn == 0 && n > 1 ? 1 : 0;
        int column = plan->info->aOrderBy[i].iColumn;
        return column == def->col_score || column == def->col_rank;
    }
    return false;
}

/* The loop over elements. */
static void vplan_elems(struct vplan *plan, bool *known, bool *number)
{
    const struct vt_def *def = plan->table->def;
    const struct vplan_slot *elem = &plan->slot[VPLAN_ELEM];
    const struct vplan_slot *score = &plan->slot[VPLAN_SCORE];
    const struct vplan_slot *rank = &plan->slot[VPLAN_RANK];
    const char *text = NULL;
    double share = 1;

    *known = *number = false;
    plan->elem_name = def->elem_name;
    if (def->elem == VT_ELEM_NONE) {
        plan->elems = 1;
        return;
    }
    if (def->elem == VT_ELEM_INDEX) {
        *known = elem->eq >= 0;
        share = vplan_take_number(plan, elem, VT_PLAN_ELEM, false, &text);
    } else if (elem->eq >= 0 || elem->in >= 0 || def->col_score < 0) {
        share = vplan_take_text(plan, elem, VT_PLAN_ELEM, known, number, &text);
    } else if (vplan_bounded(rank)) {
        plan->bits |= VT_PLAN_ELEM_RANK | VT_PLAN_BY_SCORE;
        plan->elem_name = "rank";
        share = vplan_take_number(plan, rank, VT_PLAN_ELEM, false, &text);
    } else if (vplan_bounded(score)) {
        plan->bits |= VT_PLAN_ELEM_SCORE | VT_PLAN_BY_SCORE;
        plan->elem_name = "score";
        share = vplan_take_number(plan, score, VT_PLAN_ELEM, true, &text);
    } else if (elem->lo < 0 && elem->hi < 0 && elem->glob < 0 &&
               elem->like < 0 && vplan_wants_score(plan)) {
        plan->bits |= VT_PLAN_BY_SCORE;
    } else {
        share = vplan_take_text(plan, elem, VT_PLAN_ELEM, known, number, &text);
    }
    plan->elems = share > 0 ? VPLAN_ELEMS_PER_KEY * share : 1;
    plan->elem_text = text;
}

/* ORDER BY of a table without elements. */
static bool vplan_order_keys(struct vplan *plan)
{
    const struct sqlite3_index_info *info = plan->info;
    const struct vt_def *def = plan->table->def;
    int column = info->aOrderBy[0].iColumn;

    if (plan->bits & VT_PLAN_KEY_TIME) {
        if (column != def->col_expires || info->aOrderBy[0].desc) return false;
        if (info->nOrderBy == 1) return true;
        return info->aOrderBy[1].iColumn == 0 && !info->aOrderBy[1].desc;
    }
    if (column != 0 && column != def->col_rank) return false;
    if (info->aOrderBy[0].desc) plan->bits |= VT_PLAN_KEY_DESC;
    return true;
}

/* ORDER BY of a table with elements: key, then element, all one way. */
static bool vplan_order_elems(struct vplan *plan)
{
    const struct sqlite3_index_info *info = plan->info;
    const struct vt_def *def = plan->table->def;
    bool by_score = (plan->bits & VT_PLAN_BY_SCORE) != 0;
    bool desc = info->aOrderBy[0].desc;
    int i = 0, column;

    if (info->aOrderBy[0].iColumn == 0)
        i++;
    else if (!(plan->bits & VT_PLAN_EQ))
        return false; /* elements come in order within one key only */
    if (i < info->nOrderBy) {
        column = info->aOrderBy[i].iColumn;
        if (info->aOrderBy[i].desc != desc) return false;
        if (by_score ? column != def->col_score && column != def->col_rank
                     : column != def->col_elem)
            return false;
        if (column == def->col_score && i + 1 < info->nOrderBy) return false;
        if (desc) plan->bits |= VT_PLAN_ELEM_DESC;
    }
    if (i == 0 && !plan->key_known) plan->bits |= VT_PLAN_MERGE;
    if (desc) plan->bits |= VT_PLAN_KEY_DESC;
    return true;
}

static void vplan_order(struct vplan *plan)
{
    sqlite3_index_info *info = plan->info;
    const struct vt_def *def = plan->table->def;
    int distinct = sqlite3_vtab_distinct(info);

    if (info->nOrderBy < 1 || plan->table->session->plan_off) return;
    info->orderByConsumed = def->elem == VT_ELEM_NONE ? vplan_order_keys(plan)
                                                      : vplan_order_elems(plan);
    if (info->orderByConsumed && def->elem != VT_ELEM_NONE && distinct >= 2 &&
        info->nOrderBy == 1 && info->aOrderBy[0].iColumn == 0 &&
        info->colUsed == 1 && plan->elem_text == NULL)
        plan->bits |= VT_PLAN_FIRST;
}

/* Whether the table is the one that an UPDATE or a DELETE names: in a guest
 * nobody says of a DELETE. */
static bool vplan_changes(const struct vplan *plan)
{
    const struct vt_session *session = plan->table->session;

    if (session->guest == NULL && !session->target) return false;
    return plan->info->colUsed == ~(sqlite3_uint64)0 || session->saw_delete;
}

/* PL5: one row at most, and SQLite may rely on it. */
static void vplan_unique(struct vplan *plan, bool key_known, bool key_number,
                        bool elem_known, bool elem_number)
{
    const struct vt_def *def = plan->table->def;
    bool elems = def->elem != VT_ELEM_NONE;
    bool whole = (plan->bits & VT_PLAN_EQ) &&
                 !(plan->bits & (VT_PLAN_KEY_RANK | VT_PLAN_KEY_TIME));
    bool changes = vplan_changes(plan);

    if (elems)
        whole = whole && (plan->bits & VT_PLAN_EQ << VT_PLAN_ELEM) &&
                !(plan->bits & (VT_PLAN_ELEM_RANK | VT_PLAN_ELEM_SCORE));
    if (!whole || key_number || elem_number) return;
    if (!(key_known && (elem_known || !elems)) && !changes) return;
    plan->info->idxFlags |= SQLITE_INDEX_SCAN_UNIQUE;
    plan->bits |= VT_PLAN_UNIQUE;
}

/* Whether a row's key will be asked for: itself, its rank, what depends on its
 * size. A constraint that SQLite looks at again has its column in colUsed; the
 * key by which DELETE names its row has not. */
static void vplan_key_used(struct vplan *plan)
{
    const struct vt_def *def = plan->table->def;

    if ((plan->info->colUsed & ~def->keyless) == 0 &&
        !plan->table->session->saw_delete &&
        plan->table->session->guest == NULL) { /* it may be a DELETE */
        plan->bits |= VT_PLAN_NO_KEY;
        if (plan->info->colUsed == 0 && def->elem == VT_ELEM_NONE)
            plan->bits |= VT_PLAN_BARE; /* count(*) */
    }
}

/* A list of keys is one call, its keys are looked up in groups: so it costs less
 * than a cursor for each, which is how SQLite reads `key=? OR key=?` else. */
static void vplan_cost(struct vplan *plan)
{
    const bool list = plan->bits & VT_PLAN_IN &&
                      plan->table->def->elem == VT_ELEM_NONE;
    double rows = plan->keys * plan->elems;

    plan->info->estimatedRows = rows < 1 ? 1 : (sqlite3_int64)rows;
    plan->info->estimatedCost =
        plan->seeks + plan->keys * (1 + plan->elems) * (list ? 0.125 : 1);
}

/* What EXPLAIN QUERY PLAN shows behind the colon. */
static int vplan_text(struct vplan *plan)
{
    const char *key = plan->key_text, *elem = plan->elem_text;
    char *text;

    if (key == NULL && elem == NULL) return SQLITE_OK;
    text = sqlite3_mprintf("%s%s%s%s%s", key != NULL ? plan->key_name : "",
                           key != NULL ? key : "",
                           key != NULL && elem != NULL ? " " : "",
                           elem != NULL ? plan->elem_name : "",
                           elem != NULL ? elem : "");
    if (text == NULL) return SQLITE_NOMEM;
    plan->info->idxStr = text;
    plan->info->needToFreeIdxStr = 1;
    return SQLITE_OK;
}

/* A column of numbers that is equal to something: SQLite may put what it is
 * equal to where it is compared with a column of text, and keep its affinity. */
static bool vplan_equal_number(const struct vplan *plan)
{
    const struct sqlite3_index_constraint *c = plan->info->aConstraint;

    for (int i = 0; i < plan->info->nConstraint; i++)
        if ((c[i].op == SQLITE_INDEX_CONSTRAINT_EQ ||
             c[i].op == SQLITE_INDEX_CONSTRAINT_IS) &&
            (c[i].iColumn < 0 || !vt_table_text(plan->table, c[i].iColumn)))
            return true;
    return false;
}

/* PL6: how numbers, or parameters, are compared with columns of text. */
static bool vplan_text_only(const struct vplan *plan,
                            enum vt_reads_verdict verdict)
{
    switch (verdict) {
    case VT_READS_TEXT: return true;
    case VT_READS_SINGLE: return !vplan_equal_number(plan);
    case VT_READS_UNKNOWN:
    case VT_READS_MIXED: break;
    }
    return false;
}

int vt_plan(struct vt_table *table, sqlite3_index_info *info)
{
    struct vplan plan = {.table = table, .info = info};
    bool key_known, key_number, elem_known, elem_number;

    if (vt_cancelled(table->session)) return SQLITE_INTERRUPT;
    if (!table->session->plan_off &&
        vplan_text_only(&plan, vt_reads_numbers(table->session)))
        plan.bits |= VT_PLAN_TEXT;
    vplan_read(&plan);
    vplan_keys(&plan, &key_known, &key_number);
    vplan_elems(&plan, &elem_known, &elem_number);
    vplan_order(&plan);
    vplan_unique(&plan, key_known, key_number, elem_known, elem_number);
    vplan_key_used(&plan);
    vplan_cost(&plan);
    KV_ASSERT(plan.args < VPLAN_ARGS_MAX); /* PL13 */
    table->session->saw_plan = true;
    if (!(plan.bits & VT_PLAN_TEXT) &&
        !vplan_text_only(&plan, vt_reads_bound(table->session)))
        plan.bits |= VT_PLAN_BOUND;
    info->idxNum = (int)plan.bits;
    return vplan_text(&plan);
}
