/* cursor.c - the two nested loops of a query: over keys, and inside it over the
 * elements of each key (table.h, elem.c).
 *
 * Keys come from intervals in one direction; an interval of one key is a
 * lookup. Rank of keys becomes an interval of keys at the start.
 *
 * Each loop of its own looks at the cancel flag (RD8).
 *
 * Thread: the session's; a view needs no lock. */
#include "vtab/table.h"

#include <string.h>

#define VCURSOR_RUN 16 /* keys compared with a bound before it is looked up */
#define VCURSOR_GROUP 16      /* keys of a list that are looked up together */
#define VCURSOR_GROUP_LEAST 4 /* ... of one that has so many */

void vt_cursor_init(struct vt_cursor *cursor)
{
    cursor->eof = true;
    cursor->aborted = cursor->copy = cursor->live = cursor->single = false;
    cursor->quick = cursor->keyless = cursor->ended = false;
    cursor->covering = false;
    cursor->plain = cursor->lazy = cursor->stale = cursor->asked = false;
    cursor->left = 0;
    cursor->give = 0;
    cursor->walking = cursor->elem_walking = false;
    vt_set_init(&cursor->keys);
    vt_set_init(&cursor->elems);
}

static void vcursor_unsettle(struct vt_cursor *cursor)
{
    int columns = cursor->table->def->columns;

    for (int i = 0; i < columns; i++)
        if (cursor->settled[i].owned)
            sqlite3_free((void *)(uintptr_t)cursor->settled[i].p);
    sqlite3_free(cursor->settled);
    cursor->settled = NULL;
}

/* What it made to walk. */
static inline void vcursor_forget(struct vt_cursor *cursor)
{
    if (cursor->settled != NULL) vcursor_unsettle(cursor);
    if (cursor->arms != NULL) vt_merge_free(cursor);
    if (cursor->due != NULL) vt_due_free(cursor);
    if (cursor->seeking) vt_seek_end(cursor);
    if (cursor->group != NULL) sqlite3_free(cursor->group);
    cursor->group = NULL;
}

void vt_cursor_fini(struct vt_cursor *cursor)
{
    vcursor_forget(cursor);
    vt_set_fini(&cursor->keys);
    vt_set_fini(&cursor->elems);
    if (cursor->points != NULL) sqlite3_free(cursor->points);
    cursor->points = NULL;
    vt_snap_drop(cursor->snap);
    cursor->snap = NULL;
}

int vt_cursor_nomem(struct vt_cursor *cursor)
{
    cursor->eof = true;
    return SQLITE_NOMEM;
}

int vt_cursor_interrupted(struct vt_cursor *cursor)
{
    cursor->eof = true;
    return SQLITE_INTERRUPT;
}

/* ---- the loop over keys ------------------------------------------------------------- */

/* What column 0 shows of a key. */
static struct kv_key vcursor_name(const struct vt_cursor *cursor,
                                  const struct kv_key *key)
{
    const struct kv_key *prefix = cursor->table->def->prefix;
    const uint32_t skip = prefix != NULL ? prefix->size : 0;

    return (struct kv_key){key->p + skip, key->size - skip, key->cls};
}

bool vt_cursor_glob(struct vt_cursor *cursor, const struct kv_key *pattern,
                    const struct kv_key *key, int *rc)
{
    bool stop = false, match;

    if (pattern->p == NULL) return true;
    if (key->cls != KV_TEXT) return false;
    match = vt_glob(cursor->table->session, pattern->p, pattern->size, key->p,
                    key->size, &stop);
    if (stop) *rc = vt_cursor_interrupted(cursor);
    return match;
}

static bool vcursor_type_fits(const struct vt_cursor *cursor,
                             const struct kv_item *item)
{
    enum kv_type type = cursor->table->def->type;

    return type == KV_NONE || item->type == type;
}

/* A pattern for the whole of column 0. */
static bool vcursor_key_glob(struct vt_cursor *cursor, const struct kv_key *key,
                             int *rc)
{
    struct kv_key name;

    if (cursor->key_glob.p == NULL) return true;
    name = vcursor_name(cursor, key);
    return vt_cursor_glob(cursor, &cursor->key_glob, &name, rc);
}

static bool vcursor_key_settle(struct vt_cursor *cursor, bool found, int *rc)
{
    const struct vt_range *range = &cursor->keys.ranges[cursor->key_range];
    bool desc = (cursor->plan & VT_PLAN_KEY_DESC) != 0;

    while (found) {
        if (!cursor->ended && vt_range_behind(range, &cursor->walk.key, desc))
            return false;
        if (vcursor_type_fits(cursor, &cursor->walk.item) &&
            vcursor_key_glob(cursor, &cursor->walk.key, rc)) {
            return *rc == SQLITE_OK;
        }
        if (*rc != SQLITE_OK) return false;
        if (vt_cursor_stop(cursor)) {
            *rc = vt_cursor_interrupted(cursor);
            return false;
        }
        found = desc ? kv_keys_prev(&cursor->walk)
                     : kv_keys_next(&cursor->walk);
    }
    return false;
}

/* Let the walk itself end at the upper bound. */
static void vcursor_key_end(struct vt_cursor *cursor)
{
    const struct vt_range *range = &cursor->keys.ranges[cursor->key_range];

    if (range->has_hi)
        kv_keys_end(&cursor->walk, &range->hi, range->hi_open);
    cursor->ended = true;
}

/* Keys of an IN list that were looked up together: their way down the tree
 * waits for memory together, too. */
struct vt_group {
    unsigned from, count; /* intervals, by their numbers */
    bool found[VCURSOR_GROUP];
    struct kv_item items[VCURSOR_GROUP];
};

/* Look up the next keys from interval key_range on. */
static void vcursor_group(struct vt_cursor *cursor)
{
    const struct vt_set *set = &cursor->keys;
    struct vt_group *group = cursor->group;
    struct kv_key keys[VCURSOR_GROUP];
    const struct vt_range *sought = &set->ranges[cursor->key_range];
    unsigned from = cursor->key_range, end = from + VCURSOR_GROUP;

    if (cursor->plan & VT_PLAN_KEY_DESC) {
        end = from + 1;
        from = end > VCURSOR_GROUP ? end - VCURSOR_GROUP : 0;
    }
    if (end > set->count) end = set->count;
    group->from = from;
    group->count = end - from;
    for (unsigned i = from; i < end; i++) /* an interval may be among them */
        keys[i - from] = set->ranges[i].point ? set->ranges[i].lo : sought->lo;
    kv_get_batch(&cursor->at, keys, group->items, group->found, end - from);
}

/* The item of interval key_range, which is one key; NULL: there is none. */
static const struct kv_item *vcursor_look_up(struct vt_cursor *cursor)
{
    const struct vt_range *range = &cursor->keys.ranges[cursor->key_range];
    struct vt_group *group = cursor->group;
    unsigned i;

    if (cursor->live || cursor->keys.count < VCURSOR_GROUP_LEAST ||
        (group == NULL &&
         (group = sqlite3_malloc64(sizeof(*group))) == NULL))
        return kv_get(&cursor->at, &range->lo, &cursor->looked_up)
                   ? &cursor->looked_up
                   : NULL;
    if (cursor->group == NULL) group->from = group->count = 0;
    cursor->group = group;
    if (cursor->key_range - group->from >= group->count) vcursor_group(cursor);
    i = cursor->key_range - group->from;
    return group->found[i] ? &group->items[i] : NULL;
}

static bool vcursor_key_enter(struct vt_cursor *cursor, int *rc)
{
    const struct vt_range *range = &cursor->keys.ranges[cursor->key_range];
    struct kv_keys *walk = &cursor->walk;
    bool found;

    cursor->walking = !range->point;
    if (range->point) {
        cursor->key = &range->lo;
        cursor->item = vcursor_look_up(cursor);
        return cursor->item != NULL &&
               vcursor_type_fits(cursor, cursor->item) &&
               vcursor_key_glob(cursor, &range->lo, rc);
    }
    cursor->key = &walk->key;
    cursor->item = &walk->item;
    cursor->ended = cursor->lazy = cursor->stale = false;
    cursor->run = 0;
    kv_keys_init(walk, &cursor->at, 0);
    if (cursor->plan & VT_PLAN_KEY_DESC)
        found = range->has_hi
                    ? kv_keys_seek_back(walk, &range->hi, range->hi_open)
                    : kv_keys_last(walk);
    else
        found = range->has_lo ? kv_keys_seek(walk, &range->lo, range->lo_open)
                              : kv_keys_first(walk);
    if (!vcursor_key_settle(cursor, found, rc)) return false;
    if (cursor->keyless || (cursor->quick && !range->has_hi))
        vcursor_key_end(cursor);
    cursor->lazy = cursor->plain && cursor->ended;
    return true;
}

static bool vcursor_key_ranges(struct vt_cursor *cursor, int *rc)
{
    bool desc = (cursor->plan & VT_PLAN_KEY_DESC) != 0;

    for (;;) {
        if (vcursor_key_enter(cursor, rc)) return true;
        if (*rc != SQLITE_OK) return false;
        if (desc ? cursor->key_range == 0
                 : cursor->key_range + 1 >= cursor->keys.count)
            return false;
        cursor->key_range += desc ? -1u : 1u;
    }
}

static bool vcursor_key_due(struct vt_cursor *cursor, int *rc)
{
    bool found = false;

    if (*rc == SQLITE_OK) *rc = vt_due_next(cursor, &found);
    return *rc == SQLITE_OK && found;
}

static bool vcursor_key_entry(struct vt_cursor *cursor, int *rc)
{
    bool found = false;

    if (*rc == SQLITE_OK) *rc = vt_seek_next(cursor, &found);
    return *rc == SQLITE_OK && found;
}

static bool vcursor_key_first(struct vt_cursor *cursor, int *rc)
{
    if (cursor->seeking) {
        *rc = vt_seek_start(cursor);
        return vcursor_key_entry(cursor, rc);
    }
    if (cursor->plan & VT_PLAN_KEY_TIME) {
        *rc = vt_due_start(cursor);
        return vcursor_key_due(cursor, rc);
    }
    if (cursor->keys.count == 0) return false;
    if (cursor->group != NULL) cursor->group->count = 0; /* of other keys */
    cursor->key_range =
        cursor->plan & VT_PLAN_KEY_DESC ? cursor->keys.count - 1 : 0;
    return vcursor_key_ranges(cursor, rc);
}

/* The next interval that holds a key. */
static bool vcursor_key_on(struct vt_cursor *cursor, int *rc)
{
    bool desc = (cursor->plan & VT_PLAN_KEY_DESC) != 0;

    if (desc ? cursor->key_range == 0
             : cursor->key_range + 1 >= cursor->keys.count)
        return false;
    cursor->key_range += desc ? -1u : 1u;
    return vcursor_key_ranges(cursor, rc);
}

static bool vcursor_key_next(struct vt_cursor *cursor, int *rc)
{
    bool desc = (cursor->plan & VT_PLAN_KEY_DESC) != 0;

    if (cursor->plan & VT_PLAN_KEY_TIME) return vcursor_key_due(cursor, rc);
    if (cursor->walking) {
        bool found = desc ? kv_keys_prev(&cursor->walk)
                          : kv_keys_next(&cursor->walk);
        if (vcursor_key_settle(cursor, found, rc)) return true;
        if (*rc != SQLITE_OK) return false;
    }
    return vcursor_key_on(cursor, rc);
}

/* ---- both ------------------------------------------------------------------------------ */

/* From the current key to the next row. */
static int vcursor_row(struct vt_cursor *cursor, bool key)
{
    int rc = SQLITE_OK;

    for (; key; key = vcursor_key_next(cursor, &rc)) {
        if (cursor->table->def->elem == VT_ELEM_NONE) return rc;
        if (vt_elem_first(cursor, &rc) || rc != SQLITE_OK) break;
        if (vt_cursor_stop(cursor)) return vt_cursor_interrupted(cursor);
    }
    if (!key || rc != SQLITE_OK) cursor->eof = true;
    return rc;
}

/* Behind the upper bound? Compares keys for a few rows; when more of them
 * follow, the walk learns where to end. */
static bool vcursor_quick_end(struct vt_cursor *cursor)
{
    if (vt_range_behind(&cursor->keys.ranges[cursor->key_range],
                       &cursor->walk.key, false))
        return true;
    if (++cursor->run == VCURSOR_RUN) vcursor_key_end(cursor);
    return false;
}

/* The next row of a table without elements, read forwards. */
static int vcursor_quick_next(struct vt_cursor *cursor)
{
    if (cursor->counting) {
        const enum kv_type type = cursor->table->def->type;
        cursor->left =
            kv_keys_run(&cursor->walk, type == KV_NONE ? 0 : 1u << type);
        if (cursor->left > 0) {
            cursor->left--;
            return SQLITE_OK;
        }
    }
    bool found = cursor->keyless ? kv_keys_next_item(&cursor->walk)
                                 : kv_keys_next(&cursor->walk);
    int rc = SQLITE_OK;

    cursor->stale = false;
    if (KV_LIKELY(found) && vcursor_type_fits(cursor, &cursor->walk.item) &&
        (cursor->ended || !vcursor_quick_end(cursor))) {
        cursor->lazy = cursor->plain && cursor->ended && !cursor->asked;
        cursor->asked = false;
        return SQLITE_OK;
    }
    cursor->lazy = false;
    if (!vcursor_key_settle(cursor, found, &rc) &&
        (rc != SQLITE_OK || !vcursor_key_on(cursor, &rc)))
        cursor->eof = true;
    return rc;
}

int vt_cursor_next(struct vt_cursor *cursor)
{
    int rc = SQLITE_OK;

    if (cursor->quick && cursor->walking) return vcursor_quick_next(cursor);
    if (cursor->aborted) return SQLITE_ABORT;
    if (cursor->seeking) {
        bool found;
        rc = vt_seek_next(cursor, &found);
        cursor->eof = !found;
        return rc;
    }
    if (cursor->live || cursor->single) { /* it was the only row */
        cursor->eof = true;
        return SQLITE_OK;
    }
    if (cursor->arms != NULL) return vt_merge_next(cursor);
    if (cursor->table->def->elem != VT_ELEM_NONE) {
        if (vt_elem_next(cursor, &rc)) return SQLITE_OK;
        if (rc != SQLITE_OK) return rc;
    }
    rc = SQLITE_OK;
    if (!vcursor_key_next(cursor, &rc)) {
        cursor->eof = true;
        return rc;
    }
    return vcursor_row(cursor, true);
}

/* Ranks lo..hi of the keyspace, as an interval of keys. Expired keys count,
 * so the key at a rank stands for the first visible one from there on. */
static bool vcursor_rank_range(struct vt_cursor *cursor)
{
    int64_t count = (int64_t)kv_count_all(&cursor->at);
    int64_t lo = cursor->span.lo > 0 ? cursor->span.lo : 0;
    int64_t hi = cursor->span.hi < count ? cursor->span.hi : count - 1;

    vt_set_all(&cursor->keys);
    kv_keys_init(&cursor->walk, &cursor->at, 0);
    if (lo > hi || !kv_keys_seek_rank(&cursor->walk, (uint64_t)lo)) {
        cursor->keys.count = 0;
        return true;
    }
    if (!vt_set_between(&cursor->keys, &cursor->walk.key, NULL)) return false;
    if (hi + 1 >= count ||
        !kv_keys_seek_rank(&cursor->walk, (uint64_t)hi + 1))
        return true;
    return vt_set_between(&cursor->keys, NULL, &cursor->walk.key);
}

/* Keys equal to a computed number, as text or as number, become points; the
 * intervals of PL2 hold more. Rows that SQLite would not look at again must
 * not be offered twice (PL5), and merging needs to know the keys. */
static int vcursor_resolve(struct vt_cursor *cursor)
{
    struct vt_set points;
    int rc = SQLITE_OK;
    bool ok = true;

    vt_set_init(&points);
    cursor->plan &= ~(unsigned)VT_PLAN_KEY_DESC;
    for (cursor->key_range = 0;
         ok && rc == SQLITE_OK && cursor->key_range < cursor->keys.count;
         cursor->key_range++) {
        bool found = vcursor_key_enter(cursor, &rc);
        while (ok && found && rc == SQLITE_OK) {
            const struct kv_key name = vcursor_name(cursor, cursor->key);
            struct vt_number number;
            if (!cursor->walking ||
                (name.cls == KV_TEXT &&
                 vt_number_of_text(name.p, name.size, &number) &&
                 vt_number_equal(&number, &cursor->keys.number)))
                ok = vt_set_point(&points, cursor->key);
            found = cursor->walking && kv_keys_next(&cursor->walk);
            found = vcursor_key_settle(cursor, found, &rc);
        }
    }
    if (ok && rc == SQLITE_OK) {
        vt_set_sort(&points);
        vt_set_reset(&cursor->keys);
        for (unsigned i = 0; ok && i < points.count; i++)
            ok = vt_set_point(&cursor->keys, &points.ranges[i].lo);
    }
    vt_set_fini(&points);
    if (!ok) return vt_cursor_nomem(cursor);
    return rc;
}

/* The same for the elements of the one key of a unique plan. */
static int vcursor_resolve_elems(struct vt_cursor *cursor)
{
    struct vt_set points;
    int rc = SQLITE_OK;
    bool ok = true, found;

    cursor->item = &cursor->looked_up;
    if (cursor->keys.count != 1 ||
        !kv_get(&cursor->at, &cursor->keys.ranges[0].lo, &cursor->looked_up) ||
        !vcursor_type_fits(cursor, &cursor->looked_up))
        return SQLITE_OK;
    vt_set_init(&points);
    found = vt_elem_first(cursor, &rc);
    for (; ok && found; found = vt_elem_next(cursor, &rc)) {
        struct kv_key key = vt_val_key(&cursor->elem->key);
        struct vt_number number;
        if (!cursor->elem_walking)
            key = cursor->elems.ranges[cursor->elem_range].lo;
        if (!cursor->elem_walking ||
            (key.cls == KV_TEXT &&
             vt_number_of_text(key.p, key.size, &number) &&
             vt_number_equal(&number, &cursor->elems.number)))
            ok = vt_set_point(&points, &key);
    }
    if (ok && rc == SQLITE_OK) {
        vt_set_reset(&cursor->elems);
        for (unsigned i = 0; ok && i < points.count; i++)
            ok = vt_set_point(&cursor->elems, &points.ranges[i].lo);
    }
    vt_set_fini(&points);
    return ok ? rc : vt_cursor_nomem(cursor);
}

static int vcursor_ambiguous(struct vt_cursor *cursor)
{
    cursor->eof = true;
    return vt_constraint(cursor->table->session, &cursor->table->base,
                         SQLITE_ERROR,
                         "ambiguous number, compare with text: several keys "
                         "of %s are equal to it",
                         cursor->table->def->name);
}

static bool vcursor_single(const struct vt_cursor *cursor)
{
    const struct vt_def *def = cursor->table->def;

    if (cursor->plan & (VT_PLAN_KEY_RANK | VT_PLAN_KEY_TIME)) return false;
    if (cursor->keys.count != 1 || !cursor->keys.ranges[0].point) return false;
    if (def->elem == VT_ELEM_NONE) return true;
    if (def->elem == VT_ELEM_INDEX)
        return !vt_cursor_by_points(cursor) && cursor->span.lo == cursor->span.hi;
    return !cursor->by_place && cursor->elems.count == 1 &&
           cursor->elems.ranges[0].point;
}

/* Computed numbers, where a superset will not do. */
static int vcursor_numbers(struct vt_cursor *cursor)
{
    unsigned plan = cursor->plan;
    int rc = SQLITE_OK;

    if (plan & (VT_PLAN_KEY_RANK | VT_PLAN_KEY_TIME)) return SQLITE_OK;
    if (!cursor->keys.numeric || !(plan & (VT_PLAN_UNIQUE | VT_PLAN_MERGE)))
        return SQLITE_OK;
    rc = vcursor_resolve(cursor);
    cursor->plan = plan;
    if (rc == SQLITE_OK && plan & VT_PLAN_UNIQUE && cursor->keys.count > 1)
        return vcursor_ambiguous(cursor);
    return rc;
}

static int vcursor_elem_numbers(struct vt_cursor *cursor)
{
    int rc;

    if (!(cursor->plan & VT_PLAN_UNIQUE) || cursor->by_place ||
        cursor->table->def->elem == VT_ELEM_NONE || !cursor->elems.numeric)
        return SQLITE_OK;
    rc = vcursor_resolve_elems(cursor);
    if (rc == SQLITE_OK && cursor->elems.count > 1)
        return vcursor_ambiguous(cursor);
    return rc;
}

/* key = ? is all that the plan says, of a table without elements, and the value
 * stands for one key, whatever the comparison (PL2). */
static bool vcursor_is_point(const struct vt_cursor *cursor, unsigned plan,
                             sqlite3_value *const *argv)
{
    const unsigned about = ((1u << VT_PLAN_ELEM) - 1) | VT_PLAN_KEY_RANK |
                           VT_PLAN_KEY_TIME | VT_PLAN_KEY_INDEX;
    const struct vt_def *def = cursor->table->def;
    int type;

    if ((plan & about) != VT_PLAN_EQ || def->elem != VT_ELEM_NONE ||
        def->prefix != NULL)
        return false;
    type = sqlite3_value_type(argv[0]);
    return type == SQLITE_TEXT || type == SQLITE_BLOB;
}

/* The state that the plan's rows are read from. */
static int vcursor_read(struct vt_cursor *cursor)
{
    struct vt_session *session = cursor->table->session;
    struct vt_snap *before = cursor->snap, *snap;
    struct kvsql_error err;

    cursor->copy = session->txn != NULL; /* VS3 */
    cursor->give = cursor->copy ? 0 : cursor->table->def->col_plain;
    cursor->live = cursor->copy && !cursor->seeking &&
                   (cursor->single || vcursor_single(cursor));
    if (before != NULL && before->store == NULL) { /* else it reads on: RD2 */
        vt_snap_drop(before);
        before = cursor->snap = NULL;
    }
    if (session->pin != NULL && !cursor->copy && session->guest == NULL) {
        cursor->at = session->pin_at; /* what the next call says, too */
        return SQLITE_OK;
    }
    if (vt_read_at(session, cursor->live, &cursor->at, &snap, &err) != KVSQL_OK)
        return vt_fail(session, &cursor->table->base, &err);
    vt_snap_drop(before);
    cursor->snap = snap;
    return SQLITE_OK;
}

static bool vcursor_keep(struct vt_cursor *cursor)
{
    struct kv_key *key = &cursor->sought;

    if (key->size > VT_SOUGHT_MAX) {
        vt_set_reset(&cursor->keys);
        return vt_set_keep(&cursor->keys, key, key);
    }
    if (key->size > 0) memcpy(cursor->sought_bytes, key->p, key->size);
    key->p = cursor->sought_bytes;
    return true;
}

/* The one row of vcursor_is_point(). Its key is kept, unless it is never asked
 * for: a row of the live tree may have to be saved whole. */
static int vcursor_point(struct vt_cursor *cursor, sqlite3_value *value)
{
    const struct vt_session *session = cursor->table->session;
    const bool keep = session->txn != NULL || !(cursor->plan & VT_PLAN_NO_KEY);
    struct kv_key *key = &cursor->sought;
    int rc = vcursor_read(cursor);

    if (rc != SQLITE_OK) return rc;
    if (!vt_key_of_value(value, key) || (keep && !vcursor_keep(cursor)))
        return vt_cursor_nomem(cursor);
    cursor->quick = cursor->counting = cursor->walking = false;
    cursor->lazy = cursor->stale = false;
    cursor->left = 0;
    cursor->key = keep ? key : NULL;
    cursor->item = &cursor->looked_up;
    cursor->eof = !(cursor->live ? kv_txn_get(session->txn, key, false,
                                              &cursor->looked_up)
                                 : kv_get(&cursor->at, key,
                                          &cursor->looked_up)) ||
                  !vcursor_type_fits(cursor, &cursor->looked_up);
    return SQLITE_OK;
}

/* The plan's arguments, and how its rows will be walked. */
static int vcursor_prepare(struct vt_cursor *cursor, int argc,
                           sqlite3_value **argv)
{
    const unsigned bits = cursor->plan;
    const struct vt_def *def = cursor->table->def;
    unsigned plan = bits;
    int rc;

    if (plan & VT_PLAN_KEY_INDEX) {
        cursor->plan = plan = VT_PLAN_KEY_INDEX;
        rc = vt_seek_args(cursor, bits, argv);
    } else {
        rc = vt_cursor_args(cursor, argc, argv);
    }
    if (rc != SQLITE_OK) return rc;
    if (!cursor->seeking && def->prefix != NULL &&
        !vt_set_prefix(&cursor->keys, def->prefix))
        return vt_cursor_nomem(cursor);
    rc = vcursor_read(cursor);
    if (rc != SQLITE_OK) return rc;
    cursor->quick = !cursor->live && !cursor->seeking &&
                    def->elem == VT_ELEM_NONE &&
                    !(plan & (VT_PLAN_KEY_DESC | VT_PLAN_KEY_TIME)) &&
                    cursor->key_glob.p == NULL;
    cursor->keyless = cursor->quick && plan & VT_PLAN_NO_KEY;
    cursor->counting = cursor->keyless && plan & VT_PLAN_BARE;
    cursor->plain = cursor->quick && !cursor->copy && !cursor->counting &&
                    (def->type == KV_STRING || def->type == KV_NONE);
    cursor->lazy = cursor->stale = cursor->asked = false;
    cursor->left = 0;
    if (plan & VT_PLAN_KEY_RANK && !vcursor_rank_range(cursor))
        return vt_cursor_nomem(cursor);
    if (!cursor->seeking) rc = vcursor_numbers(cursor);
    return rc == SQLITE_OK ? vcursor_elem_numbers(cursor) : rc;
}

int vt_cursor_filter(struct vt_cursor *cursor, unsigned plan, int argc,
                     sqlite3_value **argv)
{
    bool key;
    int rc;

    vcursor_forget(cursor);
    cursor->plan = plan;
    cursor->eof = cursor->aborted = cursor->live = cursor->covering = false;
    cursor->single = vcursor_is_point(cursor, plan, argv);
    if (cursor->single) return vcursor_point(cursor, argv[0]);
    cursor->by_place = cursor->table->def->elem == VT_ELEM_INDEX ||
                       plan & VT_PLAN_BY_SCORE;
    rc = vcursor_prepare(cursor, argc, argv);
    if (rc != SQLITE_OK) return rc;
    if (cursor->plan & VT_PLAN_MERGE && cursor->keys.count > 1)
        return vt_merge_start(cursor);
    key = vcursor_key_first(cursor, &rc);
    return rc != SQLITE_OK ? rc : vcursor_row(cursor, key);
}

/* ---- changes under open cursors ------------------------------------------------------- */

void vt_cursors_abort(struct vt_session *session)
{
    struct vt_cursor *cursor = session->cursors;

    for (; cursor != NULL; cursor = cursor->next) {
        if (!cursor->copy) continue;
        cursor->aborted = true;
        cursor->quick = cursor->lazy = cursor->stale = false;
        cursor->left = 0;
        vt_snap_drop(cursor->snap);
        cursor->snap = NULL;
    }
}

static bool vcursor_settle(struct vt_cursor *cursor)
{
    const struct vt_def *def = cursor->table->def;
    struct vt_cell *cells;

    cells = sqlite3_malloc64((sqlite3_uint64)def->columns * sizeof(*cells));
    if (cells == NULL) return false;
    memset(cells, 0, (size_t)def->columns * sizeof(*cells));
    for (int i = 0; i < def->columns; i++) {
        struct vt_cell *cell = &cells[i];
        uint8_t *copy;
        def->column(cursor, i, cell);
        if (cell->kind != VT_CELL_BYTES || cell->owned) continue;
        copy = sqlite3_malloc64(cell->size + 1);
        if (copy == NULL) {
            cell->kind = VT_CELL_NULL;
            cursor->settled = cells;
            vcursor_unsettle(cursor);
            return false;
        }
        memcpy(copy, cell->p, cell->size);
        copy[cell->size] = 0;
        cell->p = copy;
        cell->owned = true;
    }
    cursor->settled = cells;
    return true;
}

bool vt_cursors_settle(struct vt_session *session)
{
    struct vt_cursor *cursor = session->cursors;

    for (; cursor != NULL; cursor = cursor->next)
        if (cursor->live && !cursor->eof && !cursor->aborted &&
            cursor->settled == NULL && !vcursor_settle(cursor))
            return false;
    return true;
}
