/* khash_unique.c - UNIQUE of kv_hash tables (sql.md KH5).
 *
 * A row is written first and then compared with the entries of the index: a
 * failed statement is taken back whole. NULL is like no other value. What others
 * wrote by commands may collide, and stays: only the row that is written has to
 * be the only one with its values, or with OR REPLACE becomes it. For a STRICT
 * index the store itself refuses such commands (kvsql/index.c).
 *
 * Thread: the session's, inside xUpdate; it holds the store lock. */
#include "vtab/khash.h"

#include <string.h>

struct unique {
    struct vt_write *write;
    const struct vt_khash_index *index;
    struct kv_item entries;
    struct kv_buf values, other; /* of the row; of another one */
    struct kv_buf text;          /* a key */
};

static struct vt_khash *unique_table(const struct vt_write *write)
{
    return (struct vt_khash *)write->table;
}

/* The values of the row under the key, into out; *none: there is no such row,
 * or one of them is NULL. */
static int unique_values(struct unique *u, const struct kv_key *key,
                         struct kv_buf *out, bool *none)
{
    struct kv_item item;
    int rc = SQLITE_OK;

    kv_buf_cut(out, 0);
    *none = !kv_get(&u->write->at, key, &item) || item.type != KV_HASH;
    for (int i = 0; rc == SQLITE_OK && !*none && i < u->index->columns; i++) {
        struct vt_cell cell = {.kind = VT_CELL_NULL};
        struct kv_datum datum;
        struct kv_elem elem;
        rc = vt_khash_cell(unique_table(u->write), &u->write->at, &item,
                           u->index->column[i], &elem, &cell);
        *none = cell.kind == VT_CELL_NULL;
        vt_typed_datum(&cell, &datum);
        kv_datum_put(out, &datum);
    }
    return rc == SQLITE_OK && out->failed ? SQLITE_NOMEM : rc;
}

/* The key of another row with the values, in u->text; *found. */
static int unique_find(struct unique *u, const struct kv_key *own,
                       struct kv_key *key, bool *found)
{
    const struct kv_key *prefix = &unique_table(u->write)->prefix;
    const struct kv_key from = {u->values.p, (uint32_t)u->values.size, KV_BLOB};
    struct kv_elems walk;
    int rc = SQLITE_OK;
    bool none;

    *found = false;
    kv_elems_init(&walk, &u->write->at, &u->entries, KV_ELEMS_KEY);
    for (bool ok = kv_elems_seek_key(&walk, &from, false);
         rc == SQLITE_OK && ok; ok = kv_elems_next(&walk)) {
        const struct kv_val *entry = &walk.elem.key;
        if (entry->size <= from.size ||
            memcmp(entry->p, from.p, from.size) != 0 ||
            entry->p[from.size] >= KV_DATUM_END)
            return SQLITE_OK;
        kv_buf_cut(&u->text, 0);
        kv_buf_add(&u->text, prefix->p, prefix->size);
        kv_buf_add(&u->text, entry->p + from.size + 1,
                   entry->size - from.size - 1);
        if (u->text.failed) return SQLITE_NOMEM;
        *key = (struct kv_key){u->text.p, (uint32_t)u->text.size,
                               entry->p[from.size]};
        if (kv_key_compare(key, own) == 0) continue;
        rc = unique_values(u, key, &u->other, &none);
        *found = rc == SQLITE_OK && !none &&
                 u->other.size == u->values.size &&
                 memcmp(u->other.p, u->values.p, u->values.size) == 0;
        if (*found) return SQLITE_OK;
    }
    return rc;
}

static int unique_failed(const struct unique *u)
{
    const struct vt_khash *khash = unique_table(u->write);
    sqlite3_str *names = sqlite3_str_new(NULL);
    char *text;
    int rc;

    for (int i = 0; i < u->index->columns; i++)
        sqlite3_str_appendf(names, "%s%s.%s", i > 0 ? ", " : "", khash->name,
                            khash->label[u->index->column[i]]);
    text = sqlite3_str_finish(names);
    if (text == NULL) return SQLITE_NOMEM;
    rc = vt_constraint(u->write->session, &u->write->table->base,
                       SQLITE_CONSTRAINT_UNIQUE,
                       "UNIQUE constraint failed: %s", text);
    sqlite3_free(text);
    return rc;
}

static int unique_check(struct unique *u, const struct kv_key *key)
{
    const struct kv_key id = {u->index->id.p, (uint32_t)u->index->id.size,
                              KV_BLOB};
    struct vt_write *write = u->write;
    struct kv_key other;
    bool none, found = true;
    int rc = unique_values(u, key, &u->values, &none);

    if (rc != SQLITE_OK || none) return rc;
    while (rc == SQLITE_OK && found) {
        if (!kv_index_get(&write->at, &id, &u->entries)) {
            (void)kv_fail(&write->err, KVSQL_BUSY,
                          "UNIQUE of table %s is not known to hold before its "
                          "index is complete; try again",
                          unique_table(write)->name);
            return vt_done(write, KVSQL_BUSY);
        }
        rc = unique_find(u, key, &other, &found);
        if (rc != SQLITE_OK || !found) return rc;
        if (!write->replace) return unique_failed(u);
        rc = vt_done(write, kv_del(write->txn, &other, NULL, &write->err));
    }
    return rc;
}

/* An UPDATE of other columns leaves what collides. */
static bool unique_touched(const struct unique *u)
{
    for (int i = 0; i < u->index->columns; i++)
        if (!vt_untouched(u->write, u->index->column[i])) return true;
    return false;
}

int vt_khash_unique(struct vt_write *write, const struct kv_key *key)
{
    const struct vt_khash *khash = unique_table(write);
    struct unique u = {.write = write};
    int rc = SQLITE_OK;

    kv_buf_init(&u.values, KV_MEM_MISC, SIZE_MAX / 4);
    kv_buf_init(&u.other, KV_MEM_MISC, SIZE_MAX / 4);
    kv_buf_init(&u.text, KV_MEM_MISC, KVSQL_KEY_MAX + 1);
    for (int i = 0; rc == SQLITE_OK && i < khash->indexes; i++) {
        u.index = &khash->index[i];
        if (u.index->flags & KV_INDEX_UNIQUE && unique_touched(&u))
            rc = unique_check(&u, key);
    }
    kv_buf_fini(&u.values);
    kv_buf_fini(&u.other);
    kv_buf_fini(&u.text);
    return rc;
}
