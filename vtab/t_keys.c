/* t_keys.c - the table keys: one row for each key of any type.
 *
 * DELETE is DEL, UPDATE of expires_at EXPIRE or PERSIST, UPDATE of key
 * RENAMENX, with OR REPLACE RENAME. Keys come into being in the other tables.
 *
 * Thread: the session's. */
#include "vtab/table.h"

#include <string.h>

enum keys_column {
    KEYS_KEY, KEYS_TYPE, KEYS_LENGTH, KEYS_EXPIRES, KEYS_RANK, KEYS_TTL,
    KEYS_MEMORY, KEYS_ENCODING, KEYS_IDLE, KEYS_VERSION, KEYS_COLUMNS
};

/* NULL: not known. */
static void keys_cell_idle(struct vt_cursor *cursor, struct vt_cell *cell)
{
    struct kv_at at = cursor->at;
    int64_t idle;

    if (cursor->copy) kv_at_txn(cursor->table->session->txn, &at);
    idle = kv_item_idle_at(&at, cursor->item);
    if (idle >= 0) vt_cell_int(cell, idle);
}

static void keys_column(struct vt_cursor *cursor, int column,
                        struct vt_cell *cell)
{
    const struct kv_item *item = cursor->item;
    struct kv_at at = cursor->at;

    switch ((enum keys_column)column) {
    case KEYS_KEY: vt_cell_key(cursor, cell); break;
    case KEYS_TYPE: vt_cell_text(cell, kv_type_name(item->type)); break;
    case KEYS_LENGTH: vt_cell_int(cell, (int64_t)kv_item_length(item)); break;
    case KEYS_EXPIRES: vt_cell_time(cell, item->expires_at); break;
    case KEYS_RANK:
        vt_cell_int(cell, (int64_t)kv_rank(&at, cursor->key));
        break;
    case KEYS_TTL:
        if (item->expires_at != 0)
            vt_cell_int(cell, item->expires_at - kv_at_wall(&at));
        break;
    case KEYS_MEMORY:
        vt_cell_int(cell, (int64_t)kv_item_memory(item, cursor->key->size));
        break;
    case KEYS_ENCODING: vt_cell_text(cell, kv_item_encoding(item)); break;
    case KEYS_IDLE:
        keys_cell_idle(cursor, cell);
        break;
    case KEYS_VERSION:
        if (cursor->copy) kv_at_txn(cursor->table->session->txn, &at);
        vt_cell_int(cell, (int64_t)kv_item_version(&at, item));
        break;
    case KEYS_COLUMNS: break;
    }
}

static int keys_insert(struct vt_write *write)
{
    return vt_refuse(write, "insert into strings, hashes, lists, sets, zsets "
                            "or streams");
}

/* Whether a column that cannot be set holds what it held. */
static bool keys_same(struct vt_write *write, const struct kv_item *item)
{
    sqlite3_value *type = write->column[KEYS_TYPE];
    sqlite3_value *length = write->column[KEYS_LENGTH];
    const char *name = kv_type_name(item->type);

    if (!vt_untouched(write, KEYS_TYPE)) {
        int size = sqlite3_value_bytes(type);
        const void *p = sqlite3_value_blob(type);
        if ((size_t)size != strlen(name) || p == NULL ||
            memcmp(p, name, (size_t)size) != 0)
            return false;
    }
    return vt_untouched(write, KEYS_LENGTH) ||
           (sqlite3_value_type(length) == SQLITE_INTEGER &&
            sqlite3_value_int64(length) == (int64_t)kv_item_length(item));
}

/* Move to another name. */
static int keys_rename(struct vt_write *write, const struct kv_key *from,
                       const struct kv_key *to)
{
    struct kv_item other;

    if (kv_key_compare(from, to) == 0) return SQLITE_OK;
    if (!write->replace && kv_get(&write->at, to, &other))
        return vt_duplicate(write);
    return vt_done(write, kv_rename(write->txn, from, to, &write->err));
}

static int keys_update(struct vt_write *write)
{
    struct vt_input from, to;
    struct kv_item item;
    int64_t expires_at = 0, before;
    bool found = false, timed = !vt_untouched(write, KEYS_EXPIRES);
    int rc;

    if (!vt_input_init(&from, write->old_key)) return SQLITE_NOMEM;
    to = (struct vt_input){.key = from.key};
    rc = vt_untouched(write, KEYS_KEY) ? SQLITE_OK
                                       : vt_take_bytes(write, KEYS_KEY, &to);
    if (rc == SQLITE_OK && timed)
        rc = vt_take_time(write, KEYS_EXPIRES, &expires_at);
    if (rc == SQLITE_OK) rc = vt_take_item(write, &from.key, &item, &found);
    if (rc == SQLITE_OK && found && !keys_same(write, &item))
        rc = vt_refuse(write, "keys.type and keys.length cannot be set");
    before = found ? item.expires_at : 0;
    if (rc == SQLITE_OK && found)
        rc = keys_rename(write, &from.key, &to.key);
    if (rc == SQLITE_OK && found && timed && expires_at != before)
        rc = vt_done(write, kv_expire(write->txn, &to.key, expires_at,
                                      &write->err));
    vt_input_fini(&to);
    vt_input_fini(&from);
    return rc;
}

static int keys_remove(struct vt_write *write)
{
    struct vt_input input;
    kvsql_rc rc;

    if (!vt_input_init(&input, write->old_key)) return SQLITE_NOMEM;
    rc = kv_del(write->txn, &input.key, NULL, &write->err);
    vt_input_fini(&input);
    return vt_done(write, rc);
}

KV_INTERNAL const struct vt_def vt_keys_def = {
    .name = "keys", .type = KV_NONE, .elem = VT_ELEM_NONE,
    .col_elem = -1, .col_score = -1, .col_rank = KEYS_RANK,
    .col_expires = KEYS_EXPIRES, .col_id = -1, .columns = KEYS_COLUMNS,
    .keyless = 1u << KEYS_TYPE | 1u << KEYS_LENGTH | 1u << KEYS_EXPIRES |
               1u << KEYS_TTL | 1u << KEYS_ENCODING,
    .elem_name = "", .unique = "keys.key",
    .column = keys_column, .insert = keys_insert, .update = keys_update,
    .remove = keys_remove};
