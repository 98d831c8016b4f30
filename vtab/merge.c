/* merge.c - elements in order across several keys.
 *
 * `key = ? ORDER BY field` is planned as one key whose elements come in order.
 * When the value turns out to be a computed number, keys like '7' and '007'
 * are all equal to it (PL2), and their elements must come in one order. Each
 * key gets an arm, a copy of the cursor that walks its elements; the smallest
 * arm is the row.
 *
 * Arms share the parent's sets, which stay as they are meanwhile.
 *
 * Thread: the session's. */
#include "vtab/table.h"

#include <string.h>

struct vt_arm {
    struct vt_cursor cursor;
    bool valid;
};

/* < 0 when a comes before b in ascending order. */
static int merge_compare(const struct vt_cursor *a, const struct vt_cursor *b)
{
    struct kv_key x, y;

    if (a->table->def->elem == VT_ELEM_INDEX)
        return a->place < b->place ? -1 : a->place > b->place;
    if (a->by_place)
        return a->elem->score < b->elem->score
                   ? -1
                   : a->elem->score > b->elem->score;
    x = (struct kv_key){a->elem->key.p, a->elem->key.size, a->elem->key.cls};
    y = (struct kv_key){b->elem->key.p, b->elem->key.size, b->elem->key.cls};
    return kv_key_compare(&x, &y);
}

/* Make the first of the arms the row of the cursor. */
static int merge_pick(struct vt_cursor *cursor)
{
    bool desc = (cursor->plan & VT_PLAN_ELEM_DESC) != 0;
    const struct vt_arm *best = NULL;

    for (unsigned i = 0; i < cursor->arm_count; i++) {
        const struct vt_arm *arm = &cursor->arms[i];
        int order;
        if (!arm->valid) continue;
        order = best ? merge_compare(&arm->cursor, &best->cursor) : -1;
        if (best != NULL && desc) order = -order;
        if (best != NULL && order >= 0) continue;
        best = arm;
        cursor->arm = i;
    }
    cursor->eof = best == NULL;
    if (best == NULL) return SQLITE_OK;
    cursor->key = best->cursor.key;
    cursor->item = best->cursor.item;
    cursor->elem = best->cursor.elem;
    cursor->place = best->cursor.place;
    return SQLITE_OK;
}

int vt_merge_start(struct vt_cursor *cursor)
{
    enum kv_type type = cursor->table->def->type;
    unsigned count = cursor->keys.count;
    struct vt_arm *arms;
    int rc = SQLITE_OK;

    arms = sqlite3_malloc64(count * sizeof(*arms));
    if (arms == NULL) return vt_cursor_nomem(cursor);
    cursor->arms = NULL;
    cursor->arm_count = 0;
    for (unsigned i = 0; i < count && rc == SQLITE_OK; i++) {
        struct vt_arm *arm = &arms[i];
        memcpy(&arm->cursor, cursor, sizeof(*cursor));
        arm->cursor.key = &cursor->keys.ranges[i].lo;
        arm->cursor.item = &arm->cursor.looked_up;
        arm->valid = kv_get(&cursor->at, arm->cursor.key,
                            &arm->cursor.looked_up) &&
                     arm->cursor.item->type == type &&
                     vt_elem_first(&arm->cursor, &rc);
    }
    cursor->arms = arms;
    cursor->arm_count = count;
    if (rc != SQLITE_OK) {
        cursor->eof = true;
        return rc;
    }
    return merge_pick(cursor);
}

int vt_merge_next(struct vt_cursor *cursor)
{
    struct vt_arm *arm = &cursor->arms[cursor->arm];
    int rc = SQLITE_OK;

    arm->valid = vt_elem_next(&arm->cursor, &rc);
    if (rc != SQLITE_OK) {
        cursor->eof = true;
        return rc;
    }
    return merge_pick(cursor);
}

void vt_merge_free(struct vt_cursor *cursor)
{
    sqlite3_free(cursor->arms);
    cursor->arms = NULL;
    cursor->arm_count = 0;
}
