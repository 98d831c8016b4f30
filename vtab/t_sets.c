/* t_sets.c - the table sets: one row for each member.
 *
 * Thread: the session's. */
#include "vtab/table.h"

enum sets_column { SETS_KEY, SETS_MEMBER, SETS_ID, SETS_COLUMNS };

static void sets_column(struct vt_cursor *cursor, int column,
                        struct vt_cell *cell)
{
    switch ((enum sets_column)column) {
    case SETS_KEY: vt_cell_key(cursor, cell); break;
    case SETS_MEMBER: vt_cell_val(cell, &cursor->elem->key); break;
    case SETS_ID: vt_cell_id(cursor, cell); break;
    case SETS_COLUMNS: break;
    }
}

/* Add the member; without OR REPLACE it must not be there. */
static int sets_add(struct vt_write *write, const struct kv_key *key,
                    const struct kv_key *member)
{
    struct kv_item item;
    bool found = false;
    int rc = vt_take_item(write, key, &item, &found);

    if (rc != SQLITE_OK) return rc;
    if (found && !write->replace &&
        kv_elem_find(&write->at, &item, member, NULL))
        return vt_duplicate(write);
    return vt_done(write,
                   kv_sadd(write->txn, key, member, NULL, &write->err));
}

static int sets_insert(struct vt_write *write)
{
    struct vt_input key, member = {.dup = NULL};
    int rc = vt_refuse_id(write);

    if (rc == SQLITE_OK) rc = vt_take_bytes(write, SETS_KEY, &key);
    if (rc != SQLITE_OK) return rc;
    rc = vt_take_bytes(write, SETS_MEMBER, &member);
    if (rc == SQLITE_OK) rc = sets_add(write, &key.key, &member.key);
    vt_input_fini(&member);
    vt_input_fini(&key);
    return rc;
}

/* A move: the new place first, so that a key never vanishes in between and
 * loses its time to live. */
static int sets_update(struct vt_write *write)
{
    struct vt_input key = {.dup = NULL}, member = {.dup = NULL};
    struct kv_key old_key, old_member;
    int rc = vt_refuse_id(write);

    if (rc == SQLITE_OK) rc = vt_take_id(write, &old_key, &old_member);
    if (rc != SQLITE_OK) return rc;
    key.key = old_key;
    member.key = old_member;
    if (!vt_untouched(write, SETS_KEY))
        rc = vt_take_bytes(write, SETS_KEY, &key);
    if (rc == SQLITE_OK && !vt_untouched(write, SETS_MEMBER))
        rc = vt_take_bytes(write, SETS_MEMBER, &member);
    if (rc == SQLITE_OK && (kv_key_compare(&key.key, &old_key) != 0 ||
                            kv_key_compare(&member.key, &old_member) != 0)) {
        rc = sets_add(write, &key.key, &member.key);
        if (rc == SQLITE_OK)
            rc = vt_done(write, kv_srem(write->txn, &old_key, &old_member,
                                        NULL, &write->err));
    }
    vt_input_fini(&member);
    vt_input_fini(&key);
    return rc;
}

static int sets_remove(struct vt_write *write)
{
    struct kv_key key, member;
    int rc = vt_take_id(write, &key, &member);

    if (rc != SQLITE_OK) return rc;
    return vt_done(write,
                   kv_srem(write->txn, &key, &member, NULL, &write->err));
}

KV_INTERNAL const struct vt_def vt_sets_def = {
    .name = "sets", .type = KV_SET, .elem = VT_ELEM_KEY,
    .col_elem = SETS_MEMBER, .col_score = -1, .col_rank = -1,
    .col_expires = -1, .col_id = SETS_ID, .columns = SETS_COLUMNS,
    .elem_name = "member", .unique = "sets.key, sets.member",
    .column = sets_column, .insert = sets_insert, .update = sets_update,
    .remove = sets_remove};
