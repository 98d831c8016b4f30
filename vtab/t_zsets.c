/* t_zsets.c - the table zsets: one row for each member, with its score.
 *
 * A score is never NaN, and -0.0 reads as 0.0 (VA6), but for a session that
 * copies values as they are.
 *
 * Thread: the session's. */
#include "vtab/table.h"

#include <math.h>

enum zsets_column {
    ZSETS_KEY, ZSETS_MEMBER, ZSETS_SCORE, ZSETS_RANK, ZSETS_ID, ZSETS_INCR,
    ZSETS_COLUMNS
};

static void zsets_rank(struct vt_cursor *cursor, struct vt_cell *cell)
{
    const struct kv_val *val = &cursor->elem->key;
    struct kv_key member = {val->p, val->size, val->cls};
    uint64_t rank;

    if (kv_elem_rank(&cursor->at, cursor->item, &member, &rank))
        vt_cell_int(cell, (int64_t)rank);
}

static void zsets_column(struct vt_cursor *cursor, int column,
                         struct vt_cell *cell)
{
    switch ((enum zsets_column)column) {
    case ZSETS_KEY: vt_cell_key(cursor, cell); break;
    case ZSETS_MEMBER: vt_cell_val(cell, &cursor->elem->key); break;
    case ZSETS_SCORE:
        cell->kind = VT_CELL_REAL;
        cell->real = cursor->elem->score;
        if (!cursor->table->session->limits.exact)
            cell->real += 0.0; /* -0.0 + 0.0 is 0.0 */
        break;
    case ZSETS_RANK: zsets_rank(cursor, cell); break;
    case ZSETS_ID: vt_cell_id(cursor, cell); break;
    case ZSETS_INCR:
    case ZSETS_COLUMNS: break;
    }
}

/* What one row is to become. */
struct zsets_row {
    struct vt_input key, member;
    bool has_score, has_incr;
    double score, incr;
};

static int zsets_take(struct vt_write *write, struct zsets_row *row)
{
    bool real;
    int64_t integer;
    int rc = SQLITE_OK;

    if (!vt_untouched(write, ZSETS_KEY))
        rc = vt_take_bytes(write, ZSETS_KEY, &row->key);
    if (rc == SQLITE_OK && !vt_untouched(write, ZSETS_MEMBER))
        rc = vt_take_bytes(write, ZSETS_MEMBER, &row->member);
    row->has_incr = vt_given(write, ZSETS_INCR);
    if (rc == SQLITE_OK && row->has_incr)
        rc = vt_take_number(write, ZSETS_INCR, &real, &integer, &row->incr);
    if (rc != SQLITE_OK || vt_untouched(write, ZSETS_SCORE)) return rc;
    row->has_score = vt_given(write, ZSETS_SCORE);
    if (!row->has_score)
        return row->has_incr ? SQLITE_OK : vt_missing(write, ZSETS_SCORE);
    return vt_take_number(write, ZSETS_SCORE, &real, &integer, &row->score);
}

static int zsets_put(struct vt_write *write, const struct zsets_row *row,
                     double score)
{
    if (isnan(score))
        return vt_refuse(write, "zsets.score would be NaN");
    return vt_done(write, kv_zadd(write->txn, &row->key.key, &row->member.key,
                                  score, NULL, &write->err));
}

/* ZINCRBY */
static int zsets_incr(struct vt_write *write, const struct zsets_row *row,
                      double old)
{
    const double score = old + row->incr;
    const int rc = zsets_put(write, row, score);

    if (rc == SQLITE_OK)
        vt_say(write,
               &(struct vt_reply){.kind = VT_REPLY_REAL, .real = score + 0.0});
    return rc;
}

static int zsets_add(struct vt_write *write, const struct zsets_row *row)
{
    struct kv_item item;
    struct kv_elem old = {.score = 0};
    bool found = false, there;
    int rc = vt_take_item(write, &row->key.key, &item, &found);

    if (rc != SQLITE_OK) return rc;
    there = found && kv_elem_find(&write->at, &item, &row->member.key, &old);
    if (row->has_incr)
        return zsets_incr(write, row, there ? old.score : 0);
    if (there && !write->replace) return vt_duplicate(write);
    return zsets_put(write, row, row->score);
}

static int zsets_insert(struct vt_write *write)
{
    struct zsets_row row = {.has_score = false};
    int rc = vt_refuse_id(write);

    if (rc == SQLITE_OK) rc = zsets_take(write, &row);
    if (rc == SQLITE_OK && row.has_incr && row.has_score)
        rc = vt_refuse(write, "zsets: give score or incr, not both");
    if (rc == SQLITE_OK) rc = zsets_add(write, &row);
    vt_input_fini(&row.member);
    vt_input_fini(&row.key);
    return rc;
}

/* The row that `_id` names becomes `row`. */
static int zsets_change(struct vt_write *write, struct zsets_row *row,
                        const struct kv_key *old_key,
                        const struct kv_key *old_member)
{
    struct kv_item item;
    struct kv_elem old;
    bool found = false, moves;
    double score;
    int rc = vt_take_item(write, old_key, &item, &found);

    if (rc != SQLITE_OK || !found ||
        !kv_elem_find(&write->at, &item, old_member, &old))
        return rc;
    if (row->has_incr && row->has_score && row->score != old.score)
        return vt_refuse(write, "zsets: give score or incr, not both");
    score = row->has_incr    ? old.score + row->incr
            : row->has_score ? row->score
                             : old.score;
    moves = kv_key_compare(&row->key.key, old_key) != 0 ||
            kv_key_compare(&row->member.key, old_member) != 0;
    if (row->has_incr && !moves) return zsets_incr(write, row, old.score);
    row->has_incr = false;
    row->score = score;
    if (!moves) return zsets_put(write, row, score);
    rc = zsets_add(write, row);
    if (rc != SQLITE_OK) return rc;
    return vt_done(write, kv_zrem(write->txn, old_key, old_member, NULL,
                                  &write->err));
}

static int zsets_update(struct vt_write *write)
{
    struct zsets_row row = {.has_score = false};
    struct kv_key key, member;
    int rc = vt_refuse_id(write);

    if (rc == SQLITE_OK) rc = vt_take_id(write, &key, &member);
    if (rc != SQLITE_OK) return rc;
    row.key.key = key;
    row.member.key = member;
    rc = zsets_take(write, &row);
    if (rc == SQLITE_OK) rc = zsets_change(write, &row, &key, &member);
    vt_input_fini(&row.member);
    vt_input_fini(&row.key);
    return rc;
}

static int zsets_remove(struct vt_write *write)
{
    struct kv_key key, member;
    int rc = vt_take_id(write, &key, &member);

    if (rc != SQLITE_OK) return rc;
    return vt_done(write,
                   kv_zrem(write->txn, &key, &member, NULL, &write->err));
}

KV_INTERNAL const struct vt_def vt_zsets_def = {
    .name = "zsets", .type = KV_ZSET, .elem = VT_ELEM_KEY,
    .col_elem = ZSETS_MEMBER, .col_score = ZSETS_SCORE,
    .col_rank = ZSETS_RANK, .col_expires = -1, .col_id = ZSETS_ID,
    .columns = ZSETS_COLUMNS, .elem_name = "member",
    .unique = "zsets.key, zsets.member", .column = zsets_column,
    .insert = zsets_insert, .update = zsets_update, .remove = zsets_remove};
