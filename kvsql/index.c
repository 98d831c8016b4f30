/* index.c - indexes of declared tables: kept with every change of a hash, built
 * by the keeper (sql.md KH3, KH6).
 *
 * An index is a tree of entries in the root, beside the keys: views, undo and
 * rollback know it as they know those. live.indexes leads from the name of each
 * to its kv_tree, whose root[1] holds the entries:
 *
 *   value of each column (datum.h) | class of the key | key behind the prefix
 *
 * Entries are a function of one hash. Before a hash changes, the function is
 * asked of what is there and of what will be, and the difference goes into the
 * tree; that happens where all changes pass (collection.c, kv_key_remove, SET
 * and RENAME over a hash). A hash whose fields expire has an entry for each
 * state that time alone will bring: who reads compares it with the row.
 *
 * The store does not know what a definition says, nor how SQL reads a text: a
 * typist does, handed over by vtab/. Until one is there nothing is kept, so
 * replay and loading cost nothing; then the keeper makes the trees that the
 * definitions ask for and walks the keys in slices, putting what is not there
 * yet. Writers keep such a tree from its birth on.
 *
 * Always true:
 *   IX1  an entry in a tree is one that its hash has now.
 *   IX2  in a complete tree (KV_INDEX_COMPLETE) every hash behind the prefix has
 *        all its entries; that flag is part of the root, like the entries.
 *   IX3  trees of live.indexes are those of live.defs, when a typist is there
 *        and the keeper was.
 *
 * index_schema.c has what definitions say, index_build.c the keeper's part.
 *
 * Thread: the holder of the store lock; reading a view any. */
#include "kvsql/index.h"

#include <stdio.h>
#include <string.h>

#include "kvsql/base/num.h"
#include "kvsql/datum.h"

/* ---- the entries of a hash ------------------------------------------------------ */

/* What the columns of an index hold. */
struct index_row {
    struct kv_val val[KV_INDEX_COLUMNS_MAX];
    struct kv_datum datum[KV_INDEX_COLUMNS_MAX];
    uint64_t deadline[KV_INDEX_COLUMNS_MAX]; /* 0: none, or no value */
};

/* Column i of the hash, NULL for none, with the change made to it. */
static bool index_column(const struct kv_store *store,
                         const struct kv_index *index, unsigned i,
                         const struct kv_cell *hash,
                         const struct kv_element *change,
                         struct index_row *row)
{
    const struct kv_typist *const typist = &store->schema.typist;
    const struct kv_key *const field = &index->column[i].field;
    struct kv_val *const val = &row->val[i];
    bool there;

    row->deadline[i] = 0;
    row->datum[i].kind = KV_DATUM_NULL;
    if (change != NULL && kv_key_compare(field, change->key) == 0) {
        there = change->value != NULL;
        row->deadline[i] = there ? change->deadline : 0;
        if (there)
            kv_val_bytes(val, change->value->p, change->value->size,
                         change->value->cls, false);
    } else {
        there = hash != NULL &&
                kv_cell_field(hash, field, &row->deadline[i], val);
    }
    return !there || typist->type(typist->arg, index->column[i].affinity, val,
                                  &row->datum[i]);
}

/* The entry of the time when what expires at `time` has gone. */
static void index_put_entry(const struct kv_index *index,
                            const struct index_row *row, uint64_t time,
                            const struct kv_key *key, struct kv_buf *out)
{
    static const struct kv_datum none = {.kind = KV_DATUM_NULL};
    const size_t begin = out->size;

    kv_buf_u32(out, 0);
    for (unsigned i = 0; i < index->columns; i++)
        kv_datum_put(out, row->deadline[i] != 0 && row->deadline[i] <= time
                              ? &none
                              : &row->datum[i]);
    kv_buf_byte(out, (uint8_t)(KV_DATUM_KEY + key->cls));
    kv_buf_add(out, key->p + index->prefix.size,
               key->size - index->prefix.size);
    if (!out->failed)
        kv_u32_put(out->p + begin, (uint32_t)(out->size - begin - 4));
}

/* { u32 size, entry }... of the hash, changed by `change` (or NULL); none for
 * no hash. */
bool kv_index_entries(const struct kv_store *store,
                      const struct kv_index *index,
                      const struct kv_key *key, const struct kv_cell *hash,
                      const struct kv_element *change, struct kv_buf *out)
{
    struct index_row row;
    uint64_t time = 0;

    kv_buf_reset(out, KV_INDEX_KEEP);
    if (hash == NULL && change == NULL)
        return true;
    for (unsigned i = 0; i < index->columns; i++)
        if (!index_column(store, index, i, hash, change, &row))
            return false;
    for (;;) {
        uint64_t next = UINT64_MAX;
        index_put_entry(index, &row, time, key, out);
        for (unsigned i = 0; i < index->columns; i++)
            if (row.deadline[i] > time && row.deadline[i] < next)
                next = row.deadline[i];
        if (next == UINT64_MAX)
            return !out->failed;
        time = next;
    }
}

kvsql_slice kv_index_next_entry(const struct kv_buf *buf, size_t *place)
{
    const uint32_t size = kv_u32_get(buf->p + *place);
    const kvsql_slice entry = {buf->p + *place + 4, size};

    *place += 4 + (size_t)size;
    return entry;
}

static bool index_among(kvsql_slice entry, const struct kv_buf *buf)
{
    for (size_t place = 0; place < buf->size;) {
        const kvsql_slice other = kv_index_next_entry(buf, &place);
        if (other.size == entry.size &&
            memcmp(other.p, entry.p, entry.size) == 0)
            return true;
    }
    return false;
}

/* ---- trees ------------------------------------------------------------------------ */

struct kv_tree *kv_index_find(const struct kv_node *indexes,
                              const struct kv_key *id)
{
    const struct kv_node *leaf;
    struct kv_cell cell;
    uint32_t at;

    if (!kv_tree_find(indexes, id->p, id->size, &leaf, &at))
        return NULL;
    entry_cell(leaf, at, &cell);
    return cell.ptr;
}

/* The tree of an index, to be changed; *tree is NULL when there is none. */
bool kv_index_own(struct kv_store *store, const struct kv_key *id,
                  struct kv_tree **tree)
{
    struct kv_tree *found = kv_index_find(store->live.indexes, id);
    struct kv_path path;
    struct kv_cell cell;

    *tree = found;
    if (found == NULL || kv_owned(store, found)) /* I2: so is the way to it */
        return true;
    if (!kv_tree_own(store, &store->live.indexes, id->p, id->size, &path))
        return false;
    entry_cell(path.at[path.depth - 1].node, path.at[path.depth - 1].index,
               &cell);
    *tree = kv_block_copy(store, found);
    if (*tree == NULL)
        return false;
    kv_edit_ptr(store, (void *)(uintptr_t)cell.payload, *tree);
    kv_retire(store, found);
    return true;
}

/* Put or remove an entry; there may be nothing to do. */
static bool index_change(struct kv_store *store, struct kv_tree *tree,
                         kvsql_slice entry, bool put)
{
    const struct kv_cell none = {.form = KV_FORM_NONE, .cls = KV_BLOB};
    const int64_t before = store->delta_bytes;
    struct kv_cell old;
    bool found;

    if (put ? !kv_tree_put(store, &tree->root[KV_BLOB], KV_NODE_KEYED, entry.p,
                           (uint32_t)entry.size, &none, &old, &found)
            : !kv_tree_remove(store, &tree->root[KV_BLOB], entry.p,
                              (uint32_t)entry.size, &old, &found))
        return false;
    if (found != put) {
        kv_edit(store, &tree->count[KV_BLOB], sizeof(uint64_t));
        tree->count[KV_BLOB] += put ? 1 : UINT64_MAX;
    }
    kv_tree_bytes(store, tree, before);
    return true;
}

/* ---- STRICT --------------------------------------------------------------------------- */

/* Bytes of the values of an entry; 0: one of them is NULL, so it is like no
 * other. */
static size_t index_values(const struct kv_index *index, kvsql_slice entry)
{
    const uint8_t *const p = entry.p;
    size_t place = 0;

    for (unsigned i = 0; i < index->columns; i++) {
        if (p[place] == KV_DATUM_NONE)
            return 0;
        place += kv_datum_size(p + place, entry.size - place);
    }
    return place;
}

/* Whether the hash of an entry is there now and says what the entry says. Its
 * key goes into schema.rival. */
static bool index_holds(struct kv_store *store, const struct kv_index *index,
                        kvsql_slice entry, size_t values)
{
    struct kv_schema *const schema = &store->schema;
    const uint8_t *const p = entry.p;
    struct index_row row;
    struct kv_cell cell;
    bool same = true;

    kv_buf_cut(&schema->rival, 0);
    kv_buf_add(&schema->rival, index->prefix.p, index->prefix.size);
    kv_buf_add(&schema->rival, p + values + 1, entry.size - values - 1);
    const struct kv_key key = {schema->rival.p, (uint32_t)schema->rival.size,
                               p[values]};
    if (schema->rival.failed || !kv_key_find(store, &key, &cell) ||
        cell.type != KV_HASH || kv_cell_hidden(&cell, store->txn.now))
        return false;
    for (unsigned i = 0; same && i < index->columns; i++)
        same = index_column(store, index, i, &cell, NULL, &row) &&
               (row.deadline[i] == 0 || row.deadline[i] > store->txn.now);
    return same;
}

/* Is there another hash with the values of this entry? */
static bool index_clashes(struct kv_store *store, const struct kv_index *index,
                          const struct kv_tree *tree, kvsql_slice entry)
{
    const size_t values = index_values(index, entry);
    struct kv_walk walk = {.root = {tree->root[KV_BLOB], NULL}};
    uint8_t buffer[KV_KEY_BUFFER];
    bool stable;

    if (values == 0 || tree->root[KV_BLOB] == NULL)
        return false;
    for (bool ok = kv_walk_seek(&walk, 0, entry.p, (uint32_t)values, false);
         ok; ok = kv_walk_next(&walk)) {
        uint32_t size;
        const uint8_t *const p = kv_tree_key(
            kv_walk_leaf(&walk), kv_walk_index(&walk), buffer, &size, &stable);
        if (size <= values || memcmp(p, entry.p, values) != 0 ||
            p[values] >= KV_DATUM_END)
            return false;
        if (size == entry.size && memcmp(p, entry.p, size) == 0)
            continue;
        if (index_holds(store, index, (kvsql_slice){p, size}, values))
            return true;
    }
    return false;
}

/* May the entry be put? Else schema.clash and rival say why not. No tree: the
 * keeper has not been here since the start. */
static bool index_admits(struct kv_store *store, const struct kv_index *index,
                         const struct kv_tree *tree, kvsql_slice entry)
{
    struct kv_schema *const schema = &store->schema;

    if ((index->flags & KV_INDEX_STRICT) == 0 || store->txn.lenient ||
        store->txn.replay || index_values(index, entry) == 0)
        return true;
    if (tree == NULL || (tree->flags & KV_INDEX_COMPLETE) == 0) {
        kv_buf_cut(&schema->rival, 0);
        schema->clash = index;
        return false;
    }
    if (index_clashes(store, index, tree, entry))
        schema->clash = index;
    return schema->clash == NULL;
}

kvsql_rc kv_index_refused(struct kv_store *store, struct kvsql_error *err)
{
    struct kv_schema *const schema = &store->schema;
    const struct kv_index *const index = schema->clash;
    const int table = (int)(index->id.size - KV_INDEX_ID_SIZE);
    char columns[256], shown[96];
    size_t size = 0;

    schema->clash = NULL;
    for (unsigned i = 0; i < index->columns && size + 1 < sizeof(columns); i++)
        size += (size_t)snprintf(columns + size, sizeof(columns) - size,
                                 "%s%.*s.%.*s", i > 0 ? ", " : "", table,
                                 (const char *)index->id.p,
                                 (int)index->column[i].field.size,
                                 (const char *)index->column[i].field.p);
    if (schema->rival.size == 0)
        return kv_fail(err, KVSQL_BUSY,
                       "UNIQUE of %s is not known to hold before its index is "
                       "complete; try again", columns);
    return kv_fail(err, KVSQL_CONSTRAINT,
                   "UNIQUE constraint failed: %s: key '%s' has the same",
                   columns,
                   kv_text_show(shown, sizeof(shown), schema->rival.p,
                                schema->rival.size));
}

void kv_txn_lenient(struct kv_txn *txn, bool lenient)
{
    txn->lenient = lenient;
}

/* A hash has an entry for a time to come. */
static bool index_note_states(struct kv_store *store, struct kv_tree *tree)
{
    if ((tree->flags & KV_INDEX_STATES) != 0)
        return true;
    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
    kv_edit(store, (uint8_t *)tree + sizeof(*tree) - 8, 8);
    tree->flags = (uint16_t)(tree->flags | KV_INDEX_STATES);
    return true;
}

/* From the entries schema.was to schema.will. */
bool kv_index_turn(struct kv_store *store, const struct kv_index *index)
{
    const struct kv_buf *const was = &store->schema.was;
    const struct kv_buf *const will = &store->schema.will;
    struct kv_tree *tree;
    bool ok = true;

    if (was->size == will->size &&
        (was->size == 0 || memcmp(was->p, will->p, was->size) == 0))
        return true;
    if (!kv_index_own(store, &index->id, &tree))
        return false;
    for (size_t place = 0; ok && tree != NULL && place < was->size;) {
        const kvsql_slice entry = kv_index_next_entry(was, &place);
        if (!index_among(entry, will))
            ok = index_change(store, tree, entry, false);
    }
    if (tree != NULL && will->size > 0 &&
        4 + (size_t)kv_u32_get(will->p) < will->size)
        ok = ok && index_note_states(store, tree);
    for (size_t place = 0; ok && place < will->size;) {
        const kvsql_slice entry = kv_index_next_entry(will, &place);
        if (!index_among(entry, was))
            ok = index_admits(store, index, tree, entry) &&
                 (tree == NULL || index_change(store, tree, entry, true));
    }
    return ok;
}

/* A tree without entries; `complete` when it is to have none. */
bool kv_index_make(struct kv_store *store, const struct kv_index *index,
                   bool complete)
{
    struct kv_cell cell = {.form = KV_FORM_TREE, .cls = KV_BLOB}, old;
    bool found;

    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
    struct kv_tree *const tree = kv_tree_block_new(store);
    if (tree == NULL)
        return false;
    tree->flags = complete ? KV_INDEX_COMPLETE : 0;
    cell.ptr = tree;
    if (!kv_tree_put(store, &store->live.indexes, KV_NODE_KEYED, index->id.p,
                     index->id.size, &cell, &old, &found))
        return false;
    KV_ASSERT(!found);
    return true;
}

bool kv_index_drop(struct kv_store *store, const struct kv_key *id)
{
    struct kv_cell old;
    bool found;

    if (!kv_tree_remove(store, &store->live.indexes, id->p, id->size, &old,
                        &found))
        return false;
    if (found)
        kv_retire_tree(store, old.ptr);
    return true;
}

/* ---- changes of hashes --------------------------------------------------------------- */

static bool index_has_field(const struct kv_index *index,
                            const struct kv_key *field)
{
    for (unsigned i = 0; i < index->columns; i++)
        if (kv_key_compare(&index->column[i].field, field) == 0)
            return true;
    return false;
}

static bool index_is_held(const struct kv_schema *schema,
                          const struct kv_key *key)
{
    return schema->held != NULL && kv_key_compare(schema->held, key) == 0;
}

/* The hash under the key as it is now, expired or not; NULL: there is none. */
static const struct kv_cell *index_hash(struct kv_store *store,
                                        const struct kv_key *key,
                                        struct kv_cell *cell)
{
    return kv_key_find(store, key, cell) && cell->type == KV_HASH ? cell : NULL;
}

bool kv_index_hold(struct kv_txn *txn, const struct kv_key *key)
{
    struct kv_store *const store = txn->store;
    struct kv_schema *const schema = &store->schema;
    const struct kv_cell *hash;
    struct kv_cell cell;
    bool ok = true, any = false;

    KV_ASSERT(schema->held == NULL);
    if (store->live.defs == NULL || !kv_index_kept(store))
        return true;
    ok = kv_index_schema(store);
    hash = ok ? index_hash(store, key, &cell) : NULL;
    kv_buf_reset(&schema->before, KV_INDEX_KEEP);
    for (unsigned i = 0; ok && i < schema->count; i++) {
        if (!kv_index_covers(&schema->index[i], key))
            continue;
        any = true;
        ok = kv_index_entries(store, &schema->index[i], key, hash, NULL,
                           &schema->was);
        kv_buf_u32(&schema->before, (uint32_t)schema->was.size);
        kv_buf_add(&schema->before, schema->was.p, schema->was.size);
        ok = ok && !schema->before.failed;
    }
    if (ok && any)
        schema->held = key;
    return ok;
}

bool kv_index_release(struct kv_txn *txn, bool ok)
{
    struct kv_store *const store = txn->store;
    struct kv_schema *const schema = &store->schema;
    const struct kv_key *const key = schema->held;
    const struct kv_cell *hash;
    struct kv_cell cell;
    size_t place = 0;

    schema->held = NULL;
    if (key == NULL || !ok)
        return ok;
    hash = index_hash(store, key, &cell);
    for (unsigned i = 0; ok && i < schema->count; i++) {
        if (!kv_index_covers(&schema->index[i], key))
            continue;
        const kvsql_slice was = kv_index_next_entry(&schema->before, &place);
        kv_buf_reset(&schema->was, KV_INDEX_KEEP);
        kv_buf_add(&schema->was, was.p, was.size);
        ok = !schema->was.failed &&
             kv_index_entries(store, &schema->index[i], key, hash, NULL,
                              &schema->will) &&
             kv_index_turn(store, &schema->index[i]);
    }
    return ok;
}

bool kv_index_field_slow(const struct kv_collection *c,
                         const struct kv_element *e)
{
    struct kv_store *const store = c->txn->store;
    struct kv_schema *const schema = &store->schema;
    const struct kv_cell *const hash = c->exists ? &c->cell : NULL;

    if (!kv_index_kept(store))
        return true;
    bool ok = kv_index_schema(store);
    if (index_is_held(schema, c->key))
        return true;
    for (unsigned i = 0; ok && i < schema->count; i++) {
        const struct kv_index *const index = &schema->index[i];
        if (!kv_index_covers(index, c->key) ||
            (c->exists && !index_has_field(index, e->key)))
            continue;
        ok = kv_index_entries(store, index, c->key, hash, NULL, &schema->was) &&
             kv_index_entries(store, index, c->key, hash, e, &schema->will) &&
             kv_index_turn(store, index);
    }
    return ok;
}

bool kv_index_between_slow(struct kv_store *store, const struct kv_key *key,
                           const struct kv_cell *was,
                           const struct kv_cell *will)
{
    struct kv_schema *const schema = &store->schema;

    if (!kv_index_kept(store))
        return true;
    bool ok = kv_index_schema(store);
    if (index_is_held(schema, key))
        return true;
    for (unsigned i = 0; ok && i < schema->count; i++) {
        const struct kv_index *const index = &schema->index[i];
        if (!kv_index_covers(index, key))
            continue;
        ok = kv_index_entries(store, index, key, was, NULL, &schema->was) &&
             kv_index_entries(store, index, key, will, NULL, &schema->will) &&
             kv_index_turn(store, index);
    }
    return ok;
}

bool kv_index_gone_slow(struct kv_store *store, const struct kv_key *key)
{
    const struct kv_schema *const schema = &store->schema;
    struct kv_cell cell;
    unsigned i = 0;

    if (!kv_index_kept(store))
        return true;
    if (!kv_index_schema(store))
        return false;
    while (i < schema->count && !kv_index_covers(&schema->index[i], key))
        i++;
    return i == schema->count || !kv_key_find(store, key, &cell) ||
           cell.type != KV_HASH ||
           kv_index_between_slow(store, key, &cell, NULL);
}

bool kv_index_came(struct kv_store *store, const struct kv_key *key,
                   const struct kv_cell *cell)
{
    return cell->type != KV_HASH || kv_index_between(store, key, NULL, cell);
}

/* ---- reading ---------------------------------------------------------------------------------- */

bool kv_index_get(const struct kv_at *at, const struct kv_key *id,
                  struct kv_item *item)
{
    const struct kv_tree *const tree = kv_index_find(at->root->indexes, id);

    if (tree == NULL || (tree->flags & KV_INDEX_COMPLETE) == 0)
        return false;
    *item = (struct kv_item){
        .type = KV_SET, .form = KV_FORM_TREE, .tree = tree};
    return true;
}

bool kv_index_state(const struct kv_at *at, const struct kv_key *id,
                    struct kv_index_state *state)
{
    const struct kv_tree *const tree = kv_index_find(at->root->indexes, id);

    if (tree == NULL)
        return false;
    *state = (struct kv_index_state){
        .entries = tree->count[KV_BLOB],
        .bytes = sizeof(*tree) + tree->bytes,
        .complete = (tree->flags & KV_INDEX_COMPLETE) != 0};
    return true;
}

bool kv_index_single(const struct kv_item *entries)
{
    return (entries->tree->flags & KV_INDEX_STATES) == 0;
}

bool kv_none_due(const struct kv_at *at)
{
    for (unsigned cls = 0; cls < 2; cls++)
        if (at->root->keys[cls] != NULL &&
            kv_tree_bound(at->root->keys[cls]) <= at->now >> 6)
            return false;
    return true;
}

bool kv_item_fields_expire(const struct kv_item *item)
{
    const uint64_t none = (UINT64_C(1) << 48) - 1;

    if (item->form == KV_FORM_TREE)
        return item->tree->min_exp != none;
    return kv_packed_deadline(item->payload, item->payload_size) != 0;
}
