/* elem.c - the inner loop of a query: over the elements of a key (table.h).
 *
 * Elements in key order come from intervals, like keys; list positions, ranks
 * and scores become a span of positions.
 *
 * Thread: the session's; a view needs no lock. */
#include "vtab/table.h"

/* From a place of elem_walk to the next element that the interval holds. */
static bool velem_settle(struct vt_cursor *cursor, bool found, int *rc)
{
    const struct vt_range *range = &cursor->elems.ranges[cursor->elem_range];
    bool desc = (cursor->plan & VT_PLAN_ELEM_DESC) != 0;

    while (found) {
        struct kv_key key = vt_val_key(&cursor->elem_walk.elem.key);
        if (vt_range_behind(range, &key, desc)) return false;
        if (vt_cursor_glob(cursor, &cursor->elem_glob, &key, rc)) {
            cursor->elem = &cursor->elem_walk.elem;
            return *rc == SQLITE_OK;
        }
        if (*rc != SQLITE_OK) return false;
        if (vt_cursor_stop(cursor)) {
            *rc = vt_cursor_interrupted(cursor);
            return false;
        }
        found = desc ? kv_elems_prev(&cursor->elem_walk)
                     : kv_elems_next(&cursor->elem_walk);
    }
    return false;
}

/* The first element of interval elem_range. */
static bool velem_enter(struct vt_cursor *cursor, int *rc)
{
    const struct vt_range *range = &cursor->elems.ranges[cursor->elem_range];
    struct kv_elems *walk = &cursor->elem_walk;
    bool found;

    if (range->point) {
        cursor->elem_walking = false;
        cursor->elem = &cursor->found;
        return kv_elem_find(&cursor->at, cursor->item, &range->lo,
                            &cursor->found) &&
               vt_cursor_glob(cursor, &cursor->elem_glob, &range->lo, rc);
    }
    cursor->elem_walking = true;
    kv_elems_init(walk, &cursor->at, cursor->item, KV_ELEMS_KEY);
    if (cursor->plan & VT_PLAN_ELEM_DESC)
        found = range->has_hi ? kv_elems_seek_key_back(walk, &range->hi,
                                                       range->hi_open)
                              : kv_elems_last(walk);
    else
        found = range->has_lo
                    ? kv_elems_seek_key(walk, &range->lo, range->lo_open)
                    : kv_elems_first(walk);
    return velem_settle(cursor, found, rc);
}

/* The next interval that holds an element. */
static bool velem_ranges(struct vt_cursor *cursor, int *rc)
{
    bool desc = (cursor->plan & VT_PLAN_ELEM_DESC) != 0;

    for (;;) {
        if (velem_enter(cursor, rc)) return true;
        if (*rc != SQLITE_OK) return false;
        if (desc ? cursor->elem_range == 0
                 : cursor->elem_range + 1 >= cursor->elems.count)
            return false;
        cursor->elem_range += desc ? -1u : 1u;
    }
}

/* Positions: of a list, or ranks of a zset, that the plan wants. */
static void velem_places(struct vt_cursor *cursor, int64_t *lo, int64_t *hi)
{
    int64_t last = (int64_t)kv_item_length(cursor->item) - 1;
    const struct vt_scores *scores = &cursor->scores;

    *lo = cursor->span.lo > 0 ? cursor->span.lo : 0;
    *hi = cursor->span.hi < last ? cursor->span.hi : last;
    if (!(cursor->plan & VT_PLAN_ELEM_SCORE)) return;
    if (scores->empty || scores->lo > scores->hi) {
        *hi = -1;
        return;
    }
    *lo = (int64_t)kv_elem_score_rank(&cursor->at, cursor->item, scores->lo,
                                      scores->lo_open);
    *hi = (int64_t)kv_elem_score_rank(&cursor->at, cursor->item, scores->hi,
                                      !scores->hi_open) -
          1;
}

static bool velem_place_first(struct vt_cursor *cursor)
{
    enum kv_elem_order order = cursor->table->def->elem == VT_ELEM_INDEX
                                   ? KV_ELEMS_INDEX
                                   : KV_ELEMS_SCORE;
    int64_t lo, hi;

    velem_places(cursor, &lo, &hi);
    if (lo > hi) return false;
    if (cursor->table->def->elem == VT_ELEM_INDEX && lo == hi) {
        cursor->elem_walking = false;
        cursor->place = cursor->place_end = lo;
        cursor->elem = &cursor->found;
        return kv_elem_at(&cursor->at, cursor->item, (uint64_t)lo,
                          &cursor->found);
    }
    cursor->elem_walking = true;
    if (cursor->plan & VT_PLAN_ELEM_DESC) {
        cursor->place = hi;
        cursor->place_end = lo;
    } else {
        cursor->place = lo;
        cursor->place_end = hi;
    }
    kv_elems_init(&cursor->elem_walk, &cursor->at, cursor->item, order);
    cursor->elem = &cursor->elem_walk.elem;
    return kv_elems_seek_rank(&cursor->elem_walk, (uint64_t)cursor->place);
}

static bool velem_place_next(struct vt_cursor *cursor)
{
    if (!cursor->elem_walking || cursor->place == cursor->place_end)
        return false;
    if (cursor->plan & VT_PLAN_ELEM_DESC) {
        cursor->place--;
        return kv_elems_prev(&cursor->elem_walk);
    }
    cursor->place++;
    return kv_elems_next(&cursor->elem_walk);
}

/* idx IN (...): from point on. */
static bool velem_points(struct vt_cursor *cursor)
{
    bool desc = (cursor->plan & VT_PLAN_ELEM_DESC) != 0;

    for (; cursor->point < cursor->point_count; cursor->point++) {
        unsigned i = desc ? cursor->point_count - 1 - cursor->point
                          : cursor->point;
        if (kv_elem_at(&cursor->at, cursor->item,
                       (uint64_t)cursor->points[i], &cursor->found)) {
            cursor->elem = &cursor->found;
            cursor->place = cursor->points[i];
            cursor->point++;
            return true;
        }
    }
    return false;
}

bool vt_elem_first(struct vt_cursor *cursor, int *rc)
{
    if (cursor->plan & VT_PLAN_FIRST) {
        kv_elems_init(&cursor->elem_walk, &cursor->at, cursor->item,
                      cursor->table->def->elem == VT_ELEM_INDEX
                          ? KV_ELEMS_INDEX
                          : KV_ELEMS_KEY);
        cursor->elem = &cursor->elem_walk.elem;
        return kv_elems_first(&cursor->elem_walk);
    }
    if (vt_cursor_by_points(cursor)) {
        cursor->point = 0;
        return velem_points(cursor);
    }
    if (cursor->by_place) return velem_place_first(cursor);
    if (cursor->elems.count == 0) return false;
    cursor->elem_range = cursor->plan & VT_PLAN_ELEM_DESC
                             ? cursor->elems.count - 1
                             : 0;
    return velem_ranges(cursor, rc);
}

bool vt_elem_next(struct vt_cursor *cursor, int *rc)
{
    bool desc = (cursor->plan & VT_PLAN_ELEM_DESC) != 0;

    if (cursor->plan & VT_PLAN_FIRST) return false;
    if (vt_cursor_by_points(cursor)) return velem_points(cursor);
    if (cursor->by_place) return velem_place_next(cursor);
    if (cursor->elem_walking) {
        bool found = desc ? kv_elems_prev(&cursor->elem_walk)
                          : kv_elems_next(&cursor->elem_walk);
        if (velem_settle(cursor, found, rc)) return true;
        if (*rc != SQLITE_OK) return false;
    }
    if (desc ? cursor->elem_range == 0
             : cursor->elem_range + 1 >= cursor->elems.count)
        return false;
    cursor->elem_range += desc ? -1u : 1u;
    return velem_ranges(cursor, rc);
}
