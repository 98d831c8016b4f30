/* index_build.c - indexes of hashes that are there already: the keeper walks
 * their keys in slices and puts the entries that are missing. Writers keep such
 * a tree from its birth on, so what they did in between is there, or is met.
 * And the check of all indexes against the hashes.
 *
 * Thread: the keeper's, under the store lock. */
#include "kvsql/index.h"

#include <string.h>

#define INDEX_SLICE_KEYS 1024 /* looked at by one slice of the keeper */
#define INDEX_SLICE_UNDO (256u << 10) /* bytes of undo log that it may fill */

/* ---- the keeper --------------------------------------------------------------------------- */

/* Forget how far the walk was: the state went back behind it, or there are
 * other definitions. */
static void index_restart(struct kv_store *store)
{
    store->schema.building = 0;
    store->schema.done = 0;
    store->schema.epoch = atomic_load(&store->epoch);
    store->schema.walked = store->live.defs_version;
    store->schema.at.size = 0;
}

/* All entries that the key's hash has in an index that is not complete. */
static bool index_build_key(struct kv_store *store,
                            const struct kv_index *index,
                            const struct kv_key *key,
                            const struct kv_cell *hash)
{
    struct kv_schema *const schema = &store->schema;

    kv_buf_reset(&schema->was, KV_INDEX_KEEP);
    return kv_index_entries(store, index, key, hash, NULL, &schema->will) &&
           kv_index_turn(store, index);
}

/* Put the walk behind schema.at, or at the first key of the prefix. */
static bool index_build_seek(const struct kv_store *store,
                             const struct kv_index *index,
                             struct kv_walk *walk)
{
    const struct kv_buf *const at = &store->schema.at;
    const struct kv_key *const prefix = &index->prefix;

    if (at->size > 0)
        return kv_walk_seek(walk, at->p[0], at->p + 1, (uint32_t)at->size - 1,
                            true);
    return kv_walk_seek(walk, 0, prefix->p, prefix->size, false);
}

/* The key where the walk is; false: no key of the index is left. One behind the
 * prefix in the first tree leads to the second one. */
static bool index_build_place(const struct kv_index *index,
                              struct kv_walk *walk,
                              uint8_t buffer[KV_KEY_BUFFER], struct kv_key *key)
{
    const struct kv_key *const prefix = &index->prefix;
    bool stable;

    while (walk->valid) {
        key->cls = walk->which;
        key->p = kv_tree_key(kv_walk_leaf(walk), kv_walk_index(walk), buffer,
                             &key->size, &stable);
        if (kv_index_covers(index, key))
            return true;
        const uint32_t size =
            key->size < prefix->size ? key->size : prefix->size;
        const bool before = memcmp(key->p, prefix->p, size) < 0 ||
                            (size < prefix->size &&
                             memcmp(key->p, prefix->p, size) == 0);
        if (!before && walk->which == 1)
            return false;
        (void)kv_walk_seek(walk, 1, prefix->p, prefix->size, false);
    }
    return false;
}

/* *more: the walk is not at its end. */
static bool index_build_slice(struct kv_store *store,
                              const struct kv_index *index, bool *more)
{
    struct kv_walk walk = {.root = {store->live.keys[0], store->live.keys[1]}};
    struct kv_buf *const at = &store->schema.at;
    const uint64_t begun = kv_undo_mark(store);
    uint8_t buffer[KV_KEY_BUFFER];
    struct kv_cell cell;
    struct kv_key key;

    (void)index_build_seek(store, index, &walk);
    for (unsigned n = 0; (*more = index_build_place(index, &walk, buffer,
                                                    &key)) == true;
         n++) {
        if (n == INDEX_SLICE_KEYS ||
            kv_undo_mark(store) - begun > INDEX_SLICE_UNDO)
            return true;
        entry_cell(kv_walk_leaf(&walk), kv_walk_index(&walk), &cell);
        if (cell.type == KV_HASH &&
            !index_build_key(store, index, &key, &cell))
            return false;
        kv_buf_cut(at, 0);
        kv_buf_byte(at, key.cls);
        kv_buf_add(at, key.p, key.size);
        if (at->failed)
            return false;
        (void)kv_walk_next(&walk);
    }
    return true;
}

static bool index_complete(struct kv_store *store, const struct kv_key *id)
{
    struct kv_tree *tree;

    if (!kv_index_own(store, id, &tree) || tree == NULL ||
        !kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
    kv_edit(store, (uint8_t *)tree + sizeof(*tree) - 8, 8);
    tree->flags = (uint16_t)(tree->flags | KV_INDEX_COMPLETE);
    /* whoever plans or reads from now on does so by it, though no position has
     * passed */
    kv_edit(store, &store->live.defs_version, sizeof(uint64_t));
    store->live.defs_version = ++store->defs_last;
    store->schema.version = store->schema.walked = store->live.defs_version;
    atomic_store(&store->defs_hint, store->live.defs_version);
    for (struct kv_view *view = store->newest; view != NULL; view = view->older)
        view->passed = true;
    return true;
}

/* One slice; *more: all is not done. False: no memory, nothing is lost. */
static bool index_build(struct kv_store *store, bool *more)
{
    struct kv_schema *const schema = &store->schema;

    *more = true;
    if (!kv_index_schema(store))
        return false;
    for (; schema->building < schema->count; schema->building++) {
        const struct kv_index *const index = &schema->index[schema->building];
        const struct kv_tree *const tree =
            kv_index_find(store->live.indexes, &index->id);
        bool left = false;
        if (tree != NULL && (tree->flags & KV_INDEX_COMPLETE) != 0)
            continue;
        if (tree == NULL && !kv_index_make(store, index, false))
            return false;
        if (!index_build_slice(store, index, &left))
            return false;
        if (left)
            return true;
        if (!index_complete(store, &index->id))
            return false;
        schema->at.size = 0;
        schema->building++;
        return true;
    }
    *more = false;
    schema->done = schema->version;
    return true;
}

/* Is there anything to do? Under the lock. */
static bool index_wanted(struct kv_store *store)
{
    const struct kv_schema *const schema = &store->schema;

    if (!kv_index_kept(store) || store->live.defs == NULL)
        return false;
    return schema->done != store->live.defs_version ||
           schema->epoch != atomic_load(&store->epoch);
}

bool kv_index_build_some(struct kv_store *store)
{
    struct kvsql_error err;
    struct kv_txn *txn;
    bool more = false;

    kv_lock_take(&store->lock);
    const bool wanted = index_wanted(store);
    kv_lock_drop(&store->lock);
    if (!wanted || kv_txn_begin(store->db, true, 0, &txn, &err) != KVSQL_OK)
        return false;
    if (store->schema.epoch != atomic_load(&store->epoch) ||
        store->schema.walked != store->live.defs_version)
        index_restart(store);
    txn->lenient = true; /* what is there is there */
    if (!index_build(store, &more)) {
        kv_txn_rollback(txn); /* entries were put behind schema.at, perhaps */
        kv_lock_take(&store->lock);
        index_restart(store);
        kv_lock_drop(&store->lock);
        return false;
    }
    txn->keep_bounds = true;
    return kv_txn_commit(txn, NULL, &err) == KVSQL_OK && more;
}

/* ---- checking ----------------------------------------------------------------------------------- */

/* Entries of one hash: how many there are, and how many of them are in the
 * tree. */
static void index_check_key(struct kv_store *store,
                            const struct kv_index *index,
                            const struct kv_tree *tree,
                            const struct kv_key *key,
                            const struct kv_cell *hash, uint64_t *entries,
                            uint64_t *present)
{
    struct kv_buf *const buf = &store->schema.will;
    const struct kv_node *leaf;
    uint32_t at;

    if (!kv_index_entries(store, index, key, hash, NULL, buf))
        return; /* no memory: nothing is said of it */
    for (size_t place = 0; place < buf->size; ++*entries) {
        const kvsql_slice entry = kv_index_next_entry(buf, &place);
        *present += kv_tree_find(tree->root[KV_BLOB], entry.p,
                                 (uint32_t)entry.size, &leaf, &at);
    }
}

void kv_index_check(struct kv_store *store)
{
    uint8_t buffer[KV_KEY_BUFFER];
    struct kv_cell cell;
    struct kv_key key;

    if (!kv_index_kept(store) || !kv_index_schema(store))
        return;
    for (unsigned i = 0; i < store->schema.count; i++) {
        const struct kv_index *const index = &store->schema.index[i];
        const struct kv_tree *const tree =
            kv_index_find(store->live.indexes, &index->id);
        struct kv_walk walk = {
            .root = {store->live.keys[0], store->live.keys[1]}};
        uint64_t entries = 0, present = 0;
        if (tree == NULL)
            continue;
        (void)kv_walk_seek(&walk, 0, index->prefix.p, index->prefix.size,
                           false);
        for (; index_build_place(index, &walk, buffer, &key);
             (void)kv_walk_next(&walk)) {
            entry_cell(kv_walk_leaf(&walk), kv_walk_index(&walk), &cell);
            if (cell.type == KV_HASH)
                index_check_key(store, index, tree, &key, &cell, &entries,
                                &present);
        }
        KV_ASSERT(present == tree->count[KV_BLOB]); /* IX1 */
        KV_ASSERT((tree->flags & KV_INDEX_COMPLETE) == 0 ||
                  present == entries); /* IX2 */
    }
}
