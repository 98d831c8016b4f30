/* t_strings.c - the table strings: one row for each string.
 *
 * INSERT is SETNX, OR REPLACE is SET, UPDATE keeps the time to live unless it
 * names it. The command columns incr and append change the value that is
 * there, or make it (SB2).
 *
 * Thread: the session's. */
#include "vtab/table.h"

#include <string.h>

enum strings_column {
    STRINGS_KEY, STRINGS_VALUE, STRINGS_EXPIRES, STRINGS_RANK, STRINGS_INCR,
    STRINGS_APPEND, STRINGS_COLUMNS
};

static void strings_column(struct vt_cursor *cursor, int column,
                           struct vt_cell *cell)
{
    kvsql_slice bytes;

    switch ((enum strings_column)column) {
    case STRINGS_KEY: vt_cell_key(cursor, cell); break;
    case STRINGS_VALUE:
        if (kv_item_text(cursor->item, &bytes, &cell->cls)) {
            cell->kind = VT_CELL_BYTES;
            cell->p = bytes.p;
            cell->size = bytes.size;
            cell->keep = true;
            break;
        }
        kv_item_string(cursor->item, &cursor->found.value);
        vt_cell_val(cell, &cursor->found.value);
        break;
    case STRINGS_EXPIRES: vt_cell_time(cell, cursor->item->expires_at); break;
    case STRINGS_RANK:
        vt_cell_int(cell, (int64_t)kv_rank(&cursor->at, cursor->key));
        break;
    case STRINGS_INCR:
    case STRINGS_APPEND:
    case STRINGS_COLUMNS: break;
    }
}

/* Put `value` there, or nothing when its time has already come (2.4). */
static int strings_set(struct vt_write *write, const struct kv_key *key,
                       kvsql_slice value, int64_t expires_at)
{
    kvsql_rc rc = vt_time_past(write, expires_at)
                      ? kv_del(write->txn, key, NULL, &write->err)
                      : kv_set(write->txn, key, value, expires_at,
                               &write->err);

    return vt_done(write, rc);
}

/* The same, where no key may be. */
static int strings_set_new(struct vt_write *write, const struct kv_key *key,
                           kvsql_slice value, int64_t expires_at)
{
    struct kv_item item;
    bool found = false;
    int rc = vt_done(write, kv_set_new(write->txn, key, value, expires_at,
                                       &found, &write->err));

    if (rc != SQLITE_OK || !found) return rc;
    rc = vt_take_item(write, key, &item, &found); /* of another type? */
    return rc == SQLITE_OK ? vt_duplicate(write) : rc;
}

/* incr or append on the string `item` (NULL: none yet). */
static int strings_command(struct vt_write *write, const struct kv_key *key,
                           const struct kv_item *item)
{
    struct kv_val value = {.size = 0};
    char sum[VT_SUM_MAX];
    size_t size = 0;
    int rc;

    if (item != NULL) kv_item_string(item, &value);
    if (vt_given(write, STRINGS_APPEND)) {
        struct vt_input input;
        kvsql_rc done;
        if (vt_given(write, STRINGS_INCR))
            return vt_refuse(write, "strings: give incr or append, not both");
        rc = vt_take_bytes(write, STRINGS_APPEND, &input);
        if (rc != SQLITE_OK) return rc;
        const kvsql_slice bytes = {input.key.p, input.key.size};
        const uint64_t length = (uint64_t)value.size + bytes.size;
        /* Nothing appended to nothing is an empty string, not no string. */
        done = item != NULL ? kv_patch(write->txn, key, value.size, bytes,
                                       &write->err)
                            : kv_set(write->txn, key, bytes, 0, &write->err);
        vt_input_fini(&input);
        if (done == KVSQL_OK)
            vt_say(write, &(struct vt_reply){.kind = VT_REPLY_INT,
                                             .number = (int64_t)length});
        return vt_done(write, done);
    }
    rc = vt_take_sum(write, STRINGS_INCR, item != NULL ? &value : NULL, sum,
                     &size);
    if (rc != SQLITE_OK) return rc;
    rc = vt_done(write, kv_set(write->txn, key, (kvsql_slice){sum, size},
                               item != NULL ? item->expires_at : 0,
                               &write->err));
    if (rc == SQLITE_OK) vt_say_sum(write, STRINGS_INCR, sum, size);
    return rc;
}

static bool strings_has_command(struct vt_write *write)
{
    return vt_given(write, STRINGS_INCR) || vt_given(write, STRINGS_APPEND);
}

static int strings_insert_command(struct vt_write *write,
                                  const struct kv_key *key)
{
    struct kv_item item;
    bool found = false;
    int rc;

    if (vt_given(write, STRINGS_VALUE))
        return vt_refuse(write, "strings: give value, or incr, or append");
    if (vt_given(write, STRINGS_EXPIRES))
        return vt_refuse(write, "strings: incr and append keep expires_at");
    rc = vt_take_item(write, key, &item, &found);
    if (rc != SQLITE_OK) return rc;
    return strings_command(write, key, found ? &item : NULL);
}

static int strings_insert_value(struct vt_write *write,
                                const struct kv_key *key)
{
    struct vt_input value;
    int64_t expires_at = 0;
    kvsql_slice bytes;
    int rc = vt_take_bytes(write, STRINGS_VALUE, &value);

    if (rc != SQLITE_OK) return rc;
    bytes = (kvsql_slice){value.key.p, value.key.size};
    rc = vt_take_time(write, STRINGS_EXPIRES, &expires_at);
    if (rc == SQLITE_OK)
        rc = write->replace ? strings_set(write, key, bytes, expires_at)
                            : strings_set_new(write, key, bytes, expires_at);
    vt_input_fini(&value);
    return rc;
}

static int strings_insert(struct vt_write *write)
{
    struct vt_input key;
    int rc = vt_take_bytes(write, STRINGS_KEY, &key);

    if (rc != SQLITE_OK) return rc;
    rc = strings_has_command(write) ? strings_insert_command(write, &key.key)
                                    : strings_insert_value(write, &key.key);
    vt_input_fini(&key);
    return rc;
}

/* Whether the value that arrived is the one that is there (UPDATE FROM hands
 * all columns back, WR4). */
static bool strings_same(const struct vt_input *value,
                         const struct kv_item *item)
{
    struct kv_val old;

    kv_item_string(item, &old);
    return old.size == value->key.size &&
           memcmp(old.p, value->key.p, old.size) == 0;
}

/* Free the target name, or refuse. */
static int strings_rename(struct vt_write *write, const struct kv_key *from,
                          const struct kv_key *to)
{
    struct kv_item other;
    bool found = false;
    int rc;

    if (!write->replace) {
        rc = vt_take_item(write, to, &other, &found);
        if (rc != SQLITE_OK) return rc;
        if (found) return vt_duplicate(write);
    }
    return vt_done(write, kv_rename(write->txn, from, to, &write->err));
}

/* The value of the string that was found; its time has not come. */
static int strings_set_found(struct vt_write *write, const struct kv_key *key,
                             kvsql_slice value, int64_t expires_at)
{
    if (vt_time_past(write, expires_at))
        return strings_set(write, key, value, expires_at);
    return vt_done(write, kv_set_found(write->txn, key, value, expires_at,
                                       &write->err));
}

/* What UPDATE says about one row. */
struct strings_change {
    struct vt_input from, to, value;
    bool moves, has_value, timed;
    int64_t expires_at;
};

static int strings_change_take(struct vt_write *write,
                               struct strings_change *change)
{
    int rc = SQLITE_OK;

    change->to.dup = change->value.dup = NULL;
    if (!vt_input_init(&change->from, write->old_key)) return SQLITE_NOMEM;
    change->to.key = change->from.key;
    change->moves = !vt_untouched(write, STRINGS_KEY);
    change->has_value = !vt_untouched(write, STRINGS_VALUE);
    change->timed = !vt_untouched(write, STRINGS_EXPIRES);
    if (change->moves) rc = vt_take_bytes(write, STRINGS_KEY, &change->to);
    if (rc == SQLITE_OK && change->has_value)
        rc = vt_take_bytes(write, STRINGS_VALUE, &change->value);
    if (rc == SQLITE_OK && change->timed)
        rc = vt_take_time(write, STRINGS_EXPIRES, &change->expires_at);
    return rc;
}

static int strings_change_apply(struct vt_write *write,
                                struct strings_change *change)
{
    const struct kv_key *key = &change->to.key;
    struct kv_item item;
    bool found = false, command;
    int64_t expires_at;
    int rc = vt_take_item(write, &change->from.key, &item, &found);

    if (rc != SQLITE_OK || !found) return rc;
    expires_at = change->timed ? change->expires_at : item.expires_at;
    if (change->has_value && strings_same(&change->value, &item))
        change->has_value = false;
    command = strings_has_command(write);
    if (command && change->has_value)
        return vt_refuse(write, "strings: give value, or incr, or append");
    change->timed = change->timed && expires_at != item.expires_at;
    change->moves = change->moves &&
                    kv_key_compare(&change->from.key, key) != 0;
    if (change->moves) {
        rc = strings_rename(write, &change->from.key, key);
        if (rc != SQLITE_OK) return rc;
    }
    if (change->has_value) {
        const kvsql_slice value = {change->value.key.p, change->value.key.size};
        return change->moves
                   ? strings_set(write, key, value, expires_at)
                   : strings_set_found(write, key, value, expires_at);
    }
    if (command) {
        rc = vt_take_item(write, key, &item, &found);
        if (rc == SQLITE_OK) rc = strings_command(write, key, &item);
    }
    if (rc == SQLITE_OK && change->timed)
        rc = vt_done(write, kv_expire(write->txn, key, expires_at,
                                      &write->err));
    return rc;
}

static int strings_update(struct vt_write *write)
{
    struct strings_change change;
    int rc = strings_change_take(write, &change);

    if (rc == SQLITE_OK) rc = strings_change_apply(write, &change);
    vt_input_fini(&change.value);
    vt_input_fini(&change.to);
    vt_input_fini(&change.from);
    return rc;
}

static int strings_remove(struct vt_write *write)
{
    struct vt_input input;
    struct kv_item item;
    kvsql_rc done;
    bool found;
    int rc;

    if (!vt_input_init(&input, write->old_key)) return SQLITE_NOMEM;
    done = kv_del_as(write->txn, &input.key, KV_STRING, NULL, &write->err);
    rc = done == KVSQL_WRONGTYPE /* it says so, too, in words of a table */
             ? vt_take_item(write, &input.key, &item, &found)
             : vt_done(write, done);
    vt_input_fini(&input);
    return rc;
}

/* ---- without columns of SQLite's (edit.c) ----------------------------------- */

/* The string under the key; false: there is none. */
static bool strings_find(struct vt_write *write, const struct kv_key *key,
                         struct kv_item *item)
{
    return kv_txn_get(write->txn, key, true, item) && item->type == KV_STRING;
}

int vt_strings_change(struct vt_write *write, const struct kv_key *key,
                      kvsql_slice value, bool *found)
{
    struct kv_item item;
    struct kv_val old;

    *found = strings_find(write, key, &item);
    if (!*found) return SQLITE_OK;
    kv_item_string(&item, &old);
    if (old.size == value.size && memcmp(old.p, value.p, old.size) == 0)
        return SQLITE_OK;
    return strings_set_found(write, key, value, item.expires_at);
}

int vt_strings_remove(struct vt_write *write, const struct kv_key *key,
                      bool *found)
{
    struct kv_item item;

    *found = strings_find(write, key, &item);
    if (!*found) return SQLITE_OK;
    return vt_done(write, kv_del_as(write->txn, key, KV_STRING, NULL,
                                    &write->err));
}

KV_INTERNAL const struct vt_def vt_strings_def = {
    .name = "strings", .type = KV_STRING, .elem = VT_ELEM_NONE,
    .col_elem = -1, .col_score = -1, .col_rank = STRINGS_RANK,
    .col_expires = -1, .col_id = -1, .columns = STRINGS_COLUMNS,
    .col_plain = STRINGS_VALUE,
    .keyless = 1u << STRINGS_VALUE | 1u << STRINGS_EXPIRES,
    .elem_name = "", .unique = "strings.key",
    .column = strings_column, .insert = strings_insert,
    .update = strings_update, .remove = strings_remove};
