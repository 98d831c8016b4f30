/* t_hashes.c - the table hashes: one row for each field.
 *
 * expires_at is the field's own time to live. OR REPLACE is HSET: it drops
 * the field's time to live unless the row gives one.
 *
 * Thread: the session's. */
#include "vtab/table.h"

#include <string.h>

enum hashes_column {
    HASHES_KEY, HASHES_FIELD, HASHES_VALUE, HASHES_EXPIRES, HASHES_ID,
    HASHES_INCR, HASHES_COLUMNS
};

static void hashes_column(struct vt_cursor *cursor, int column,
                          struct vt_cell *cell)
{
    switch ((enum hashes_column)column) {
    case HASHES_KEY: vt_cell_key(cursor, cell); break;
    case HASHES_FIELD: vt_cell_val(cell, &cursor->elem->key); break;
    case HASHES_VALUE: vt_cell_val(cell, &cursor->elem->value); break;
    case HASHES_EXPIRES: vt_cell_time(cell, cursor->elem->expires_at); break;
    case HASHES_ID: vt_cell_id(cursor, cell); break;
    case HASHES_INCR:
    case HASHES_COLUMNS: break;
    }
}

/* What one row is to become. */
struct hashes_row {
    struct vt_input key, field, value;
    bool has_value, timed;
    int64_t expires_at;
};

static int hashes_take(struct vt_write *write, struct hashes_row *row)
{
    int rc = SQLITE_OK;

    if (!vt_untouched(write, HASHES_KEY))
        rc = vt_take_bytes(write, HASHES_KEY, &row->key);
    if (rc == SQLITE_OK && !vt_untouched(write, HASHES_FIELD))
        rc = vt_take_bytes(write, HASHES_FIELD, &row->field);
    row->timed = !vt_untouched(write, HASHES_EXPIRES);
    if (rc == SQLITE_OK && row->timed)
        rc = vt_take_time(write, HASHES_EXPIRES, &row->expires_at);
    if (rc != SQLITE_OK || vt_untouched(write, HASHES_VALUE)) return rc;
    if (!vt_given(write, HASHES_VALUE) && vt_given(write, HASHES_INCR))
        return SQLITE_OK;
    rc = vt_take_bytes(write, HASHES_VALUE, &row->value);
    row->has_value = rc == SQLITE_OK;
    return rc;
}

static void hashes_row_fini(struct hashes_row *row)
{
    vt_input_fini(&row->value);
    vt_input_fini(&row->field);
    vt_input_fini(&row->key);
}

/* Put the value there, or nothing when its time has already come (2.4). */
static int hashes_put(struct vt_write *write, const struct kv_key *key,
                      const struct kv_key *field, kvsql_slice value,
                      int64_t expires_at)
{
    kvsql_rc rc = vt_time_past(write, expires_at)
                      ? kv_hdel(write->txn, key, field, NULL, &write->err)
                      : kv_hset(write->txn, key, field, value, expires_at,
                                NULL, &write->err);

    return vt_done(write, rc);
}

/* HINCRBY, HINCRBYFLOAT: on the field `old`, or on none. */
static int hashes_incr(struct vt_write *write, const struct kv_key *key,
                       const struct kv_key *field, const struct kv_elem *old)
{
    char sum[VT_SUM_MAX];
    size_t size = 0;
    int rc = vt_take_sum(write, HASHES_INCR, old != NULL ? &old->value : NULL,
                         sum, &size);

    if (rc != SQLITE_OK) return rc;
    rc = hashes_put(write, key, field, (kvsql_slice){sum, size},
                    old != NULL ? old->expires_at : 0);
    if (rc == SQLITE_OK) vt_say_sum(write, HASHES_INCR, sum, size);
    return rc;
}

static int hashes_add(struct vt_write *write, const struct hashes_row *row)
{
    const struct kv_key *key = &row->key.key, *field = &row->field.key;
    struct kv_item item;
    struct kv_elem old;
    bool found = false;
    int rc = vt_take_item(write, key, &item, &found);

    if (rc != SQLITE_OK) return rc;
    found = found && kv_elem_find(&write->at, &item, field, &old);
    if (vt_given(write, HASHES_INCR)) {
        if (row->has_value || vt_given(write, HASHES_EXPIRES))
            return vt_refuse(write, "hashes: give incr alone, it keeps "
                                    "expires_at");
        return hashes_incr(write, key, field, found ? &old : NULL);
    }
    if (found && !write->replace) return vt_duplicate(write);
    return hashes_put(write, key, field,
                      (kvsql_slice){row->value.key.p, row->value.key.size},
                      row->expires_at);
}

static int hashes_insert(struct vt_write *write)
{
    struct hashes_row row = {.has_value = false};
    int rc = vt_refuse_id(write);

    if (rc == SQLITE_OK) rc = hashes_take(write, &row);
    if (rc == SQLITE_OK) rc = hashes_add(write, &row);
    hashes_row_fini(&row);
    return rc;
}

/* Move `old` to another place: add, then remove, so that a key never vanishes
 * in between. The value is copied first when it is the store's. */
static int hashes_move(struct vt_write *write, const struct hashes_row *row,
                       const struct kv_key *old_key,
                       const struct kv_key *old_field,
                       const struct kv_elem *old)
{
    struct kv_item item;
    kvsql_slice value = {row->value.key.p, row->value.key.size};
    uint8_t *copy = NULL;
    bool found = false;
    int rc = vt_take_item(write, &row->key.key, &item, &found);

    if (rc != SQLITE_OK) return rc;
    if (found && !write->replace &&
        kv_elem_find(&write->at, &item, &row->field.key, NULL))
        return vt_duplicate(write);
    if (!row->has_value) {
        copy = kv_mem_dup(KV_MEM_MISC, old->value.p, old->value.size);
        if (copy == NULL) return SQLITE_NOMEM;
        value = (kvsql_slice){copy, old->value.size};
    }
    rc = hashes_put(write, &row->key.key, &row->field.key, value,
                    row->timed ? row->expires_at : old->expires_at);
    if (copy != NULL) kv_mem_free(KV_MEM_MISC, copy, value.size + 1);
    if (rc != SQLITE_OK) return rc;
    return vt_done(write, kv_hdel(write->txn, old_key, old_field, NULL,
                                  &write->err));
}

/* The row that `_id` names becomes `row`. */
static int hashes_change(struct vt_write *write, struct hashes_row *row,
                         const struct kv_key *old_key,
                         const struct kv_key *old_field)
{
    bool incr = vt_given(write, HASHES_INCR), found = false, moves;
    struct kv_item item;
    struct kv_elem old;
    int64_t expires_at;
    int rc = vt_take_item(write, old_key, &item, &found);

    if (rc != SQLITE_OK || !found ||
        !kv_elem_find(&write->at, &item, old_field, &old))
        return rc;
    if (row->has_value && row->value.key.size == old.value.size &&
        memcmp(row->value.key.p, old.value.p, old.value.size) == 0)
        row->has_value = false;
    expires_at = row->timed ? row->expires_at : old.expires_at;
    moves = kv_key_compare(&row->key.key, old_key) != 0 ||
            kv_key_compare(&row->field.key, old_field) != 0;
    if (incr && (row->has_value || moves || expires_at != old.expires_at))
        return vt_refuse(write, "hashes: give incr alone, it changes the "
                                "value only");
    if (incr) return hashes_incr(write, old_key, old_field, &old);
    if (moves) return hashes_move(write, row, old_key, old_field, &old);
    if (row->has_value)
        return hashes_put(write, old_key, old_field,
                          (kvsql_slice){row->value.key.p,
                                        row->value.key.size},
                          expires_at);
    if (expires_at == old.expires_at) return SQLITE_OK;
    return vt_done(write, kv_hexpire(write->txn, old_key, old_field,
                                     expires_at, &write->err));
}

static int hashes_update(struct vt_write *write)
{
    struct hashes_row row = {.has_value = false};
    struct kv_key key, field;
    int rc = vt_refuse_id(write);

    if (rc == SQLITE_OK) rc = vt_take_id(write, &key, &field);
    if (rc != SQLITE_OK) return rc;
    row.key.key = key;
    row.field.key = field;
    rc = hashes_take(write, &row);
    if (rc == SQLITE_OK) rc = hashes_change(write, &row, &key, &field);
    hashes_row_fini(&row);
    return rc;
}

static int hashes_remove(struct vt_write *write)
{
    struct kv_key key, field;
    int rc = vt_take_id(write, &key, &field);

    if (rc != SQLITE_OK) return rc;
    return vt_done(write,
                   kv_hdel(write->txn, &key, &field, NULL, &write->err));
}

KV_INTERNAL const struct vt_def vt_hashes_def = {
    .name = "hashes", .type = KV_HASH, .elem = VT_ELEM_KEY,
    .col_elem = HASHES_FIELD, .col_score = -1, .col_rank = -1,
    .col_expires = -1, .col_id = HASHES_ID, .columns = HASHES_COLUMNS,
    .elem_name = "field", .unique = "hashes.key, hashes.field",
    .column = hashes_column, .insert = hashes_insert,
    .update = hashes_update, .remove = hashes_remove};
