/* t_lists.c - the table lists: one row for each element.
 *
 * Every idx of one statement means the statement's view, but removing an
 * element renumbers those behind it. So a DELETE keeps the positions it has
 * removed from the list at hand as runs, and takes those before a position off
 * it (2.5). Rows of one list come together: SQLite keeps what it will delete
 * in the order of _id.
 *
 * Thread: the session's. */
#include "vtab/table.h"

#include <string.h>

enum lists_column { LISTS_KEY, LISTS_IDX, LISTS_VALUE, LISTS_ID, LISTS_COLUMNS };

static void lists_column(struct vt_cursor *cursor, int column,
                         struct vt_cell *cell)
{
    switch ((enum lists_column)column) {
    case LISTS_KEY: vt_cell_key(cursor, cell); break;
    case LISTS_IDX: vt_cell_int(cell, cursor->place); break;
    case LISTS_VALUE: vt_cell_val(cell, &cursor->elem->value); break;
    case LISTS_ID: vt_cell_id(cursor, cell); break;
    case LISTS_COLUMNS: break;
    }
}

/* ---- positions removed so far ------------------------------------------------------ */

/* Begin anew when the statement or the list is another. False: no memory. */
static bool lists_gaps_for(struct vt_session *session, const struct kv_key *key)
{
    struct vt_gaps *gaps = &session->gaps;

    if (gaps->statement == session->statement &&
        gaps->key.size == key->size &&
        memcmp(gaps->key.p ? (const void *)gaps->key.p : "", key->p,
               key->size) == 0)
        return true;
    gaps->statement = session->statement;
    gaps->count = 0;
    kv_buf_reset(&gaps->key, VT_CACHE_SQL_MAX);
    kv_buf_add(&gaps->key, key->p, key->size);
    if (!gaps->key.failed) return true;
    gaps->statement = 0;
    return false;
}

/* Where position `idx` of the view is now; false when it is gone. *run is the
 * number of runs before it. */
static bool lists_translate(const struct vt_gaps *gaps, uint64_t idx,
                            uint64_t *now, unsigned *run)
{
    uint64_t before = 0;
    unsigned i = 0;

    for (; i < gaps->count && gaps->runs[i].first <= idx; i++) {
        if (idx - gaps->runs[i].first < gaps->runs[i].count) return false;
        before += gaps->runs[i].count;
    }
    *now = idx - before;
    *run = i;
    return true;
}

/* Room for one more run. */
static bool lists_gaps_room(struct vt_gaps *gaps)
{
    unsigned cap = gaps->cap > 0 ? gaps->cap * 2 : 16;
    struct vt_gap *grown;

    if (gaps->count < gaps->cap) return true;
    grown = kv_mem_realloc(KV_MEM_MISC, gaps->runs,
                           gaps->cap * sizeof(*grown), cap * sizeof(*grown));
    if (grown == NULL) return false;
    gaps->runs = grown;
    gaps->cap = cap;
    return true;
}

/* Note that `idx`, which lies behind `run` runs, is gone. */
static void lists_gaps_add(struct vt_gaps *gaps, uint64_t idx, unsigned run)
{
    struct vt_gap *runs = gaps->runs;
    bool joins_left = run > 0 && runs[run - 1].first + runs[run - 1].count ==
                                     idx;
    bool joins_right = run < gaps->count && runs[run].first == idx + 1;

    if (joins_left && joins_right) {
        runs[run - 1].count += 1 + runs[run].count;
        memmove(runs + run, runs + run + 1,
                (gaps->count - run - 1) * sizeof(*runs));
        gaps->count--;
    } else if (joins_left) {
        runs[run - 1].count++;
    } else if (joins_right) {
        runs[run].first = idx;
        runs[run].count++;
    } else {
        KV_ASSERT(gaps->count < gaps->cap);
        memmove(runs + run + 1, runs + run,
                (gaps->count - run) * sizeof(*runs));
        runs[run] = (struct vt_gap){idx, 1};
        gaps->count++;
    }
}

/* ---- rows ------------------------------------------------------------------------------ */

static int lists_push(struct vt_write *write, const struct kv_key *key,
                      enum kv_side side, kvsql_slice value)
{
    return vt_done(write,
                   kv_push(write->txn, key, side, value, &write->err));
}

/* Where an INSERT goes: -1 the head, else an index. */
static int lists_take_idx(struct vt_write *write, int64_t length,
                          int64_t *idx)
{
    struct vt_number number;
    struct vt_span span;

    *idx = length;
    if (!vt_given(write, LISTS_IDX)) return SQLITE_OK;
    if (!vt_number_get(write->column[LISTS_IDX], &number)) return SQLITE_NOMEM;
    vt_span_all(&span);
    vt_span_narrow(&span, SQLITE_INDEX_CONSTRAINT_EQ, &number);
    if (number.kind == VT_NUM_ABOVE || span.lo != span.hi)
        return vt_refuse(write, "lists.idx is not a whole number");
    *idx = span.lo;
    if (*idx < -1 || *idx > length)
        return vt_refuse(write,
                         "lists.idx %lld is beyond the list, which has %lld "
                         "elements",
                         (long long)*idx, (long long)length);
    return SQLITE_OK;
}

static int lists_put(struct vt_write *write, const struct kv_key *key,
                     kvsql_slice value)
{
    struct kv_item item;
    bool found = false;
    int64_t length, idx = 0;
    int rc = vt_take_item(write, key, &item, &found);

    if (rc != SQLITE_OK) return rc;
    length = found ? (int64_t)kv_item_length(&item) : 0;
    rc = lists_take_idx(write, length, &idx);
    if (rc != SQLITE_OK) return rc;
    if (idx == -1) return lists_push(write, key, KV_LEFT, value);
    if (idx == length) return lists_push(write, key, KV_RIGHT, value);
    if (!write->replace) return vt_duplicate(write);
    return vt_done(write, kv_lset(write->txn, key, (uint64_t)idx, value,
                                  &write->err));
}

static int lists_insert(struct vt_write *write)
{
    struct vt_input key, value = {.dup = NULL};
    int rc = vt_refuse_id(write);

    if (rc == SQLITE_OK) rc = vt_take_bytes(write, LISTS_KEY, &key);
    if (rc != SQLITE_OK) return rc;
    rc = vt_take_bytes(write, LISTS_VALUE, &value);
    if (rc == SQLITE_OK)
        rc = lists_put(write, &key.key,
                       (kvsql_slice){value.key.p, value.key.size});
    vt_input_fini(&value);
    vt_input_fini(&key);
    return rc;
}

/* Key and position that `_id` names. */
static int lists_take_id(struct vt_write *write, struct kv_key *key,
                         uint64_t *idx)
{
    struct kv_key elem;
    int rc = vt_take_id(write, key, &elem);

    if (rc != SQLITE_OK) return rc;
    if (elem.size != 8) return vt_refuse(write, "lists._id names no row");
    *idx = 0;
    for (int i = 0; i < 8; i++) *idx = *idx << 8 | elem.p[i];
    return SQLITE_OK;
}

/* Key and idx must arrive as they are. */
static bool lists_stays(struct vt_write *write, const struct kv_key *key,
                        uint64_t idx)
{
    struct vt_input input;
    bool same;

    if (!vt_untouched(write, LISTS_IDX) &&
        (sqlite3_value_type(write->column[LISTS_IDX]) != SQLITE_INTEGER ||
         sqlite3_value_int64(write->column[LISTS_IDX]) != (int64_t)idx))
        return false;
    if (vt_untouched(write, LISTS_KEY)) return true;
    if (!vt_input_init(&input, write->column[LISTS_KEY])) return false;
    same = kv_key_compare(&input.key, key) == 0;
    vt_input_fini(&input);
    return same;
}

static int lists_update(struct vt_write *write)
{
    struct vt_input value = {.dup = NULL};
    struct kv_item item;
    struct kv_key key;
    uint64_t idx = 0;
    bool found = false;
    int rc = vt_refuse_id(write);

    if (rc == SQLITE_OK) rc = lists_take_id(write, &key, &idx);
    if (rc != SQLITE_OK) return rc;
    if (!lists_stays(write, &key, idx))
        return vt_refuse(write, "lists.key and lists.idx cannot be set: "
                                "delete the row and insert it elsewhere");
    if (vt_untouched(write, LISTS_VALUE)) return SQLITE_OK;
    rc = vt_take_bytes(write, LISTS_VALUE, &value);
    if (rc == SQLITE_OK) rc = vt_take_item(write, &key, &item, &found);
    if (rc == SQLITE_OK && found && idx < kv_item_length(&item))
        rc = vt_done(write, kv_lset(write->txn, &key, idx,
                                    (kvsql_slice){value.key.p,
                                                  value.key.size},
                                    &write->err));
    vt_input_fini(&value);
    return rc;
}

static int lists_remove(struct vt_write *write)
{
    struct vt_gaps *gaps = &write->session->gaps;
    struct kv_item item;
    struct kv_key key;
    uint64_t idx = 0, now = 0;
    unsigned run = 0;
    bool found = false;
    int rc = lists_take_id(write, &key, &idx);

    if (rc == SQLITE_OK) rc = vt_take_item(write, &key, &item, &found);
    if (rc != SQLITE_OK || !found) return rc;
    if (!lists_gaps_for(write->session, &key) || !lists_gaps_room(gaps))
        return SQLITE_NOMEM;
    if (!lists_translate(gaps, idx, &now, &run) ||
        now >= kv_item_length(&item))
        return SQLITE_OK;
    rc = vt_done(write,
                 kv_lremove(write->txn, &key, now, 1, &write->err));
    if (rc == SQLITE_OK) lists_gaps_add(gaps, idx, run);
    return rc;
}

KV_INTERNAL const struct vt_def vt_lists_def = {
    .name = "lists", .type = KV_LIST, .elem = VT_ELEM_INDEX,
    .col_elem = LISTS_IDX, .col_score = -1, .col_rank = -1,
    .col_expires = -1, .col_id = LISTS_ID, .columns = LISTS_COLUMNS,
    .elem_name = "idx", .unique = "lists.key, lists.idx",
    .column = lists_column, .insert = lists_insert, .update = lists_update,
    .remove = lists_remove};
