/* due.c - keys in order of their deadline, for keys.expires_at.
 *
 * The store hands deadlines to a callback (DL5); a cursor wants one row at a
 * time. So they are fetched in portions that grow fourfold: the search begins
 * anew for each, and their number stays logarithmic. A portion begins behind
 * the last key of the one before.
 *
 * Thread: the session's. */
#include "vtab/table.h"

#include <string.h>

#define DUE_FIRST_PORTION 64

struct due_row {
    struct kv_key key;
    struct kv_item item;
};

struct vt_due {
    struct vt_cursor *cursor;
    struct due_row *rows;
    unsigned count, cap, next;
    struct vt_set bytes, before; /* keys of this portion, the last one's end */
    struct kv_key last_key;
    int64_t last_at;
    bool has_last, more, stopped, nomem;
};

static bool due_each(void *arg, const struct kv_key *key,
                     const struct kv_item *item)
{
    struct vt_due *due = (struct vt_due *)arg;
    struct due_row *row;

    if (vt_cursor_stop(due->cursor)) {
        due->stopped = true;
        return false;
    }
    if (due->has_last && item->expires_at == due->last_at &&
        kv_key_compare(key, &due->last_key) <= 0)
        return true;
    if (due->count == due->cap) {
        due->more = true;
        return false;
    }
    row = &due->rows[due->count];
    if (!vt_set_keep(&due->bytes, key, &row->key)) {
        due->nomem = true;
        return false;
    }
    row->item = *item;
    due->count++;
    return true;
}

/* The next portion. */
static int due_fetch(struct vt_due *due)
{
    struct vt_session *session = due->cursor->table->session;
    const struct vt_span *span = &due->cursor->span;
    struct kvsql_error err;
    struct due_row *rows;
    int64_t from = span->lo;
    kvsql_rc rc;

    if (due->has_last) {
        vt_set_reset(&due->before);
        if (!vt_set_keep(&due->before, &due->rows[due->count - 1].key,
                         &due->last_key))
            return SQLITE_NOMEM;
        from = due->last_at;
    }
    due->cap = due->cap > 0 ? due->cap * 4 : DUE_FIRST_PORTION;
    rows = sqlite3_realloc64(due->rows,
                             (sqlite3_uint64)due->cap * sizeof(*rows));
    if (rows == NULL) return SQLITE_NOMEM;
    due->rows = rows;
    vt_set_reset(&due->bytes);
    due->count = due->next = 0;
    due->more = false;
    rc = kv_deadlines(&due->cursor->at, from, span->hi, due_each, due, &err);
    if (rc != KVSQL_OK)
        return vt_fail(session, &due->cursor->table->base, &err);
    if (due->nomem) return SQLITE_NOMEM;
    if (due->stopped) return SQLITE_INTERRUPT;
    return SQLITE_OK;
}

int vt_due_start(struct vt_cursor *cursor)
{
    struct vt_due *due;

    if (cursor->span.lo > cursor->span.hi) return SQLITE_OK;
    due = sqlite3_malloc64(sizeof(*due));
    if (due == NULL) return SQLITE_NOMEM;
    memset(due, 0, sizeof(*due));
    due->cursor = cursor;
    vt_set_init(&due->bytes);
    vt_set_init(&due->before);
    cursor->due = due;
    return due_fetch(due);
}

int vt_due_next(struct vt_cursor *cursor, bool *found)
{
    struct vt_due *due = cursor->due;

    *found = false;
    if (due == NULL) return SQLITE_OK;
    if (due->next == due->count && due->more) {
        int rc;
        due->has_last = true;
        due->last_at = due->rows[due->count - 1].item.expires_at;
        rc = due_fetch(due);
        if (rc != SQLITE_OK) return rc;
    }
    if (due->next == due->count) return SQLITE_OK;
    cursor->key = &due->rows[due->next].key;
    cursor->item = &due->rows[due->next].item;
    due->next++;
    *found = true;
    return SQLITE_OK;
}

void vt_due_free(struct vt_cursor *cursor)
{
    struct vt_due *due = cursor->due;

    if (due == NULL) return;
    vt_set_fini(&due->bytes);
    vt_set_fini(&due->before);
    sqlite3_free(due->rows);
    sqlite3_free(due);
    cursor->due = NULL;
}
