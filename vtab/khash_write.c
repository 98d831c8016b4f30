/* khash_write.c - rows of kv_hash inserted, changed, removed (sql.md KH2).
 *
 * INSERT is a new hash with a field for each value; OR REPLACE is DEL and then
 * that: fields that are no columns go too. UPDATE is HSET and HDEL of what
 * changes, and RENAME of the key; fields keep their time to live. DELETE is
 * DEL. NULL is the absence of a field; a hash without fields is none.
 *
 * A value that a column already reads as is not written: '041' in an INTEGER
 * column stays '041' when 41 is set.
 *
 * Thread: the session's, inside xUpdate; it holds the store lock. */
#include "vtab/khash.h"

#include <string.h>

/* A whole key made of the prefix and what a value of column 0 says. */
struct khw_key {
    struct kv_key key;
    struct kv_buf buf;
};

static struct vt_khash *khw_table(const struct vt_write *write)
{
    return (struct vt_khash *)write->table;
}

/* Fails with TOOBIG like every command with such a key. */
static int khw_key_init(struct vt_write *write, sqlite3_value *value,
                        struct khw_key *out)
{
    const struct vt_khash *khash = khw_table(write);
    struct vt_input input;
    size_t size;

    kv_buf_init(&out->buf, KV_MEM_MISC, (size_t)KVSQL_KEY_MAX + 1);
    if (!vt_input_init(&input, value)) return SQLITE_NOMEM;
    size = khash->prefix.size + (size_t)input.key.size;
    if (size > KVSQL_KEY_MAX) {
        vt_input_fini(&input);
        (void)kv_fail(&write->err, KVSQL_TOOBIG,
                      "a key is at most %d bytes, %s.%s makes it %zu",
                      KVSQL_KEY_MAX, khash->name, khash->label[0], size);
        return vt_done(write, KVSQL_TOOBIG);
    }
    kv_buf_add(&out->buf, khash->prefix.p, khash->prefix.size);
    kv_buf_add(&out->buf, input.key.p, input.key.size);
    vt_input_fini(&input);
    if (out->buf.failed) return SQLITE_NOMEM;
    out->key = kv_key_of(out->buf.p, out->buf.size);
    return SQLITE_OK;
}

/* Hidden columns that show and take nothing: `cell` is what they show. */
static int khw_fixed(struct vt_write *write, int column,
                     const struct vt_cell *cell)
{
    if (vt_untouched(write, column) ||
        vt_typed_same(cell, write->column[column]))
        return SQLITE_OK;
    return vt_refuse(write, "%s.%s cannot be set", khw_table(write)->name,
                     vt_column_label(write->table->def, column));
}

/* ---- columns --------------------------------------------------------------- */

/* Fields that are set in one go. */
#define KHW_FIELDS 16
struct khw_fields {
    struct kv_field field[KHW_FIELDS];
    struct vt_input input[KHW_FIELDS];
    unsigned count;
};

static void khw_fields_clear(struct khw_fields *fields)
{
    while (fields->count > 0) vt_input_fini(&fields->input[--fields->count]);
}

static int khw_fields_set(struct vt_write *write, const struct kv_key *key,
                          struct khw_fields *fields)
{
    kvsql_rc rc = KVSQL_OK;
    unsigned created;

    if (fields->count > 0)
        rc = kv_hset_many(write->txn, key, fields->field, fields->count,
                          KV_KEEP_EXPIRY, &created, &write->err);
    khw_fields_clear(fields);
    return vt_done(write, rc);
}

/* The bytes of a column that is not NULL; there is room. */
static int khw_fields_add(struct vt_write *write, int column,
                          struct khw_fields *fields)
{
    const struct vt_khash_column *to = &khw_table(write)->column[column];
    struct vt_input *input = &fields->input[fields->count];
    int rc = vt_typed_input(&write->session->reals, to->affinity,
                            write->column[column], input);

    if (rc != SQLITE_OK) return rc;
    fields->field[fields->count++] = (struct kv_field){
        to->field, {input->key.p, input->key.size}};
    return SQLITE_OK;
}

/* Whether a column of the hash `item` (NULL: none) is to be what it is not. */
static int khw_differs(struct vt_write *write, const struct kv_item *item,
                       int column, bool *differs)
{
    const struct vt_khash_column *to = &khw_table(write)->column[column];
    struct vt_cell cell = {.kind = VT_CELL_NULL};
    struct kv_elem elem;
    int rc;

    *differs = true;
    if (item == NULL || !kv_elem_find(&write->at, item, &to->field, &elem))
        return SQLITE_OK;
    rc = vt_typed_cell(&write->session->reals, to->affinity, &elem.value,
                       &cell);
    *differs = rc == SQLITE_OK &&
               !vt_typed_same(&cell, write->column[column]);
    return rc;
}

/* ---- INSERT ---------------------------------------------------------------- */

static int khw_insert_check(struct vt_write *write)
{
    const struct vt_khash *khash = khw_table(write);
    const struct vt_cell null = {.kind = VT_CELL_NULL};
    int rc;

    if (sqlite3_value_type(write->column[0]) == SQLITE_NULL)
        return vt_missing(write, 0);
    rc = khw_fixed(write, khash->columns + VT_KHASH_KEY, &null);
    if (rc == SQLITE_OK)
        rc = khw_fixed(write, khash->columns + VT_KHASH_EXTRA, &null);
    if (rc != SQLITE_OK) return rc;
    for (int i = 1; i < khash->columns; i++)
        if (vt_given(write, i)) return SQLITE_OK;
    return vt_refuse(write, "%s: a row needs a value beside %s, a hash has at "
                            "least one field",
                     khash->name, khash->label[0]);
}

/* A change of one hash in several steps, whose entries in indexes are changed
 * once. */
static int khw_held(struct vt_write *write, const struct kv_key *key,
                    int (*change)(struct vt_write *write,
                                  const struct kv_key *key))
{
    int rc;

    if (!kv_index_hold(write->txn, key)) return SQLITE_NOMEM;
    rc = change(write, key);
    if (!kv_index_release(write->txn, rc == SQLITE_OK) && rc == SQLITE_OK)
        rc = SQLITE_NOMEM;
    return rc;
}

/* The first fields of a row that is to be new. */
static int khw_insert_first(struct vt_write *write, const struct kv_key *key,
                            struct khw_fields *fields)
{
    struct kv_item item;
    bool found = false;
    kvsql_rc done;
    int rc = SQLITE_OK;

    if (!write->replace) {
        done = kv_hset_new(write->txn, key, fields->field, fields->count,
                           &found, &write->err);
        khw_fields_clear(fields);
        if (done != KVSQL_OK || !found) return vt_done(write, done);
    }
    rc = vt_take_item(write, key, &item, &found); /* of another type? */
    if (rc == SQLITE_OK && !write->replace) rc = vt_duplicate(write);
    if (rc == SQLITE_OK && found)
        rc = vt_done(write, kv_del(write->txn, key, NULL, &write->err));
    return rc == SQLITE_OK ? khw_fields_set(write, key, fields) : rc;
}

/* All fields; there is one at least. */
static int khw_insert_fields(struct vt_write *write, const struct kv_key *key)
{
    const int columns = khw_table(write)->columns;
    struct khw_fields fields;
    bool first = true;
    int rc = SQLITE_OK;

    fields.count = 0;
    for (int i = 1; rc == SQLITE_OK && i < columns; i++) {
        if (vt_given(write, i)) rc = khw_fields_add(write, i, &fields);
        if (rc != SQLITE_OK || (fields.count < KHW_FIELDS && i + 1 < columns))
            continue;
        rc = first ? khw_insert_first(write, key, &fields)
                   : khw_fields_set(write, key, &fields);
        first = false;
    }
    khw_fields_clear(&fields);
    return rc;
}

/* A row whose time has come is not put; what is there goes all the same (2.4). */
static int khw_insert_past(struct vt_write *write, const struct kv_key *key)
{
    struct kv_item item;
    bool found = false;
    int rc = vt_take_item(write, key, &item, &found);

    if (rc != SQLITE_OK || !found) return rc;
    return write->replace
               ? vt_done(write, kv_del(write->txn, key, NULL, &write->err))
               : vt_duplicate(write);
}

static int khw_insert_at(struct vt_write *write, const struct kv_key *key)
{
    const int columns = khw_table(write)->columns;
    const bool steps = write->replace || columns - 1 > KHW_FIELDS;
    int64_t expires_at = 0;
    int rc = vt_take_time(write, columns + VT_KHASH_EXPIRES, &expires_at);

    if (rc != SQLITE_OK) return rc;
    if (vt_time_past(write, expires_at)) return khw_insert_past(write, key);
    rc = steps ? khw_held(write, key, khw_insert_fields)
               : khw_insert_fields(write, key);
    if (rc == SQLITE_OK && expires_at != 0)
        rc = vt_done(write, kv_expire(write->txn, key, expires_at,
                                      &write->err));
    return rc;
}

int vt_khash_insert(struct vt_write *write)
{
    struct khw_key to;
    int rc = khw_insert_check(write);

    if (rc != SQLITE_OK) return rc;
    rc = khw_key_init(write, write->column[0], &to);
    kv_txn_lenient(write->txn, true);
    if (rc == SQLITE_OK) rc = khw_insert_at(write, &to.key);
    if (rc == SQLITE_OK) rc = vt_khash_unique(write, &to.key);
    kv_txn_lenient(write->txn, false);
    kv_buf_fini(&to.buf);
    return rc;
}

/* ---- UPDATE ---------------------------------------------------------------- */

/* The hidden columns of the row `item` still say what they said. */
static int khw_update_check(struct vt_write *write, const struct kv_key *key,
                            const struct kv_item *item)
{
    struct vt_khash *khash = khw_table(write);
    const int extra = khash->columns + VT_KHASH_EXTRA;
    struct vt_cell cell = {.kind = VT_CELL_BYTES, .cls = key->cls, .p = key->p,
                           .size = key->size};
    struct kv_elem elem;
    int rc = khw_fixed(write, khash->columns + VT_KHASH_KEY, &cell);

    if (rc != SQLITE_OK || vt_untouched(write, extra)) return rc;
    cell = (struct vt_cell){.kind = VT_CELL_NULL};
    rc = vt_khash_cell(khash, &write->at, item, extra, &elem, &cell);
    if (rc != SQLITE_OK) return rc;
    rc = khw_fixed(write, extra, &cell);
    if (cell.owned) sqlite3_free((void *)(uintptr_t)cell.p);
    return rc;
}

/* RENAMENX; with OR REPLACE RENAME, of a hash. */
static int khw_move(struct vt_write *write, const struct kv_key *from,
                    const struct kv_key *to)
{
    struct kv_item item;
    bool found = false;
    int rc;

    if (kv_key_compare(from, to) == 0) return SQLITE_OK;
    rc = vt_take_item(write, to, &item, &found);
    if (rc != SQLITE_OK) return rc;
    if (found && !write->replace) return vt_duplicate(write);
    return vt_done(write, kv_rename(write->txn, from, to, &write->err));
}

/* Columns that get a value come first, for a hash that loses its last field is
 * gone. */
static int khw_update_set(struct vt_write *write, const struct kv_key *key)
{
    const int columns = khw_table(write)->columns;
    struct khw_fields fields;
    struct kv_item item;
    bool found = false, differs;
    int rc = SQLITE_OK;

    fields.count = 0;
    for (int i = 1; rc == SQLITE_OK && i < columns; i++) {
        if (!vt_given(write, i)) continue;
        if (fields.count == 0) /* nothing has changed since then */
            found = kv_txn_get(write->txn, key, true, &item);
        rc = khw_differs(write, found ? &item : NULL, i, &differs);
        if (rc == SQLITE_OK && differs) rc = khw_fields_add(write, i, &fields);
        if (rc == SQLITE_OK && fields.count == KHW_FIELDS)
            rc = khw_fields_set(write, key, &fields);
    }
    if (rc == SQLITE_OK) rc = khw_fields_set(write, key, &fields);
    khw_fields_clear(&fields);
    return rc;
}

/* ... and then those that become NULL. */
static int khw_update_fields(struct vt_write *write, const struct kv_key *key)
{
    const struct vt_khash *khash = khw_table(write);
    int rc = khw_update_set(write, key);

    for (int i = 1; rc == SQLITE_OK && i < khash->columns; i++)
        if (!vt_untouched(write, i) && !vt_given(write, i))
            rc = vt_done(write, kv_hdel(write->txn, key,
                                        &khash->column[i].field, NULL,
                                        &write->err));
    return rc;
}

/* Whether fields change in several steps. */
static bool khw_steps(struct vt_write *write)
{
    const int columns = khw_table(write)->columns;
    int given = 0, none = 0;

    for (int i = 1; i < columns; i++) {
        given += vt_given(write, i);
        none += !vt_untouched(write, i) && !vt_given(write, i);
    }
    return given > KHW_FIELDS || none > 1 || (none > 0 && given > 0);
}

static int khw_update_at(struct vt_write *write, const struct kv_key *from,
                         const struct kv_key *to)
{
    const int expires = khw_table(write)->columns + VT_KHASH_EXPIRES;
    const bool timed = !vt_untouched(write, expires);
    int64_t expires_at = 0, before;
    struct kv_item item;
    bool found = false;
    int rc = vt_take_item(write, from, &item, &found);

    if (rc != SQLITE_OK || !found) return rc;
    before = item.expires_at;
    rc = khw_update_check(write, from, &item);
    if (rc == SQLITE_OK && timed)
        rc = vt_take_time(write, expires, &expires_at);
    if (rc == SQLITE_OK) rc = khw_move(write, from, to);
    if (rc == SQLITE_OK)
        rc = khw_steps(write) ? khw_held(write, to, khw_update_fields)
                              : khw_update_fields(write, to);
    if (rc != SQLITE_OK || !timed || expires_at == before ||
        !kv_get(&write->at, to, &item))
        return rc;
    return vt_done(write,
                   kv_expire(write->txn, to, expires_at, &write->err));
}

int vt_khash_update(struct vt_write *write)
{
    const bool moves = !vt_untouched(write, 0);
    struct khw_key from, to;
    int rc;

    if (moves && sqlite3_value_type(write->column[0]) == SQLITE_NULL)
        return vt_missing(write, 0);
    kv_buf_init(&to.buf, KV_MEM_MISC, KVSQL_KEY_MAX);
    rc = khw_key_init(write, write->old_key, &from);
    if (rc == SQLITE_OK && moves)
        rc = khw_key_init(write, write->column[0], &to);
    kv_txn_lenient(write->txn, true);
    if (rc == SQLITE_OK)
        rc = khw_update_at(write, &from.key, moves ? &to.key : &from.key);
    if (rc == SQLITE_OK)
        rc = vt_khash_unique(write, moves ? &to.key : &from.key);
    kv_txn_lenient(write->txn, false);
    kv_buf_fini(&to.buf);
    kv_buf_fini(&from.buf);
    return rc;
}

/* ---- DELETE ---------------------------------------------------------------- */

int vt_khash_remove(struct vt_write *write)
{
    struct kv_item item;
    struct khw_key from;
    bool found = false;
    int rc = khw_key_init(write, write->old_key, &from);

    if (rc == SQLITE_OK) rc = vt_take_item(write, &from.key, &item, &found);
    if (rc == SQLITE_OK && found)
        rc = vt_done(write, kv_del(write->txn, &from.key, NULL, &write->err));
    kv_buf_fini(&from.buf);
    return rc;
}
