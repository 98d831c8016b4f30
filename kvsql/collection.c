/* collection.c - what hashes, sets and sorted sets share: the packed run while
 * small, the tree when large, and the step from one to the other (one way,
 * EN1).
 *
 * A change of the packed form writes a new run; a change of the tree form owns
 * the key's path, the kv_tree block and the element's path (store.md 5.1).
 *
 * Owning copies nothing while there is no view, so finding and owning are one
 * descent then. With a view it is looked first whether there is something to
 * change: nothing is copied for a command that changes nothing.
 *
 * Thread: the holder of the store lock. */
#include <string.h>

#include "kvsql/collection.h"
#include "kvsql/lru.h"

/* ---- the key's value ------------------------------------------------------- */

/* May a view see what is here now? */
static bool collection_is_seen(const struct kv_collection *c)
{
    return c->txn->store->newest != NULL;
}

kvsql_rc kv_collection_open(struct kv_collection *c, struct kv_txn *txn,
                            const struct kv_key *key, enum kv_type type,
                            struct kvsql_error *err)
{
    struct kv_node **const root = &txn->store->live.keys[key->cls];

    c->txn = txn; /* the paths are left as they are */
    c->key = key;
    c->type = type;
    c->exists = c->same = c->looked = c->there = c->owned = c->placed = false;
    c->score = 0;
    c->keyblob = NULL;
    c->tree = NULL;
    c->lead = NULL;
    c->cell.form = KV_FORM_NONE;
    c->cell.exp = 0;
    c->cell.ptr = NULL;
    if (collection_is_seen(c))
        return kv_change_find(txn, key, type, &c->exists, &c->cell, err);
    if (*root == NULL)
        return KVSQL_OK;
    const struct kv_path *const hint = kv_key_hint(txn, key);
    if (hint != NULL)
        c->path = *hint;
    if (hint != NULL ? !kv_tree_path_own(txn->store, root, &c->path)
                     : !kv_tree_own(txn->store, root, key->p, key->size,
                                    &c->path))
        return kv_fail(err, KVSQL_NOMEM,
                       "store: no memory for the change; nothing changed");
    if (!c->path.found) {
        c->placed = true;
        return KVSQL_OK;
    }
    const unsigned leaf = c->path.depth - 1;
    entry_cell(c->path.at[leaf].node, c->path.at[leaf].index, &c->cell);
    c->exists = true;
    const kvsql_rc rc =
        kv_change_check(txn, key, type, &c->exists, &c->cell, err);
    c->owned = c->exists;
    return rc;
}

bool kv_collection_is_tree(const struct kv_collection *c)
{
    return c->exists && c->cell.form == KV_FORM_TREE;
}

/* The cell that replaces the present one: same type and expiry. */
static struct kv_cell collection_cell(const struct kv_collection *c,
                                      enum kv_form form)
{
    return (struct kv_cell){.form = (uint8_t)form,
                            .type = (uint8_t)c->type,
                            .cls = KV_BLOB,
                            .exp = c->exists ? c->cell.exp : 0};
}

bool kv_collection_store(struct kv_collection *c, const uint8_t *run,
                         uint32_t size)
{
    struct kv_store *const store = c->txn->store;
    struct kv_cell cell = collection_cell(c, KV_FORM_PACKED);

    if (size <= KV_INLINE_MAX) {
        cell.payload = run;
        cell.size = size;
    } else {
        if (!kv_room(store, 0, 1))
            return false;
        struct kv_blob *const blob = kv_blob_new(store, size);
        if (blob == NULL)
            return false;
        memcpy(blob->d, run, size);
        cell.form = KV_FORM_PACKED_BLOB;
        cell.ptr = blob;
    }
    if (!c->owned && !c->placed)
        return kv_key_put(c->txn, c->key, &cell, false);
    c->owned = c->placed = false;
    return kv_key_put_at(c->txn, c->key, &c->path, &cell, false);
}

bool kv_collection_own(struct kv_collection *c)
{
    if (atomic_load(&c->txn->store->versions_from) != 0) {
        const struct kv_cell cell = c->cell; /* carries the new version */
        c->owned = false;
        if (!kv_key_put(c->txn, c->key, &cell, true))
            return false;
    }
    if (!kv_collection_own_path(c))
        return false;
    if (c->txn->store->lru_mode != KV_LRU_NONE) {
        const unsigned leaf = c->path.depth - 1;
        struct kv_cell cell;
        entry_cell(c->path.at[leaf].node, c->path.at[leaf].index, &cell);
        kv_lru_use(c->txn, c->key, cell.lru);
    }
    return true;
}

bool kv_collection_own_path(struct kv_collection *c)
{
    struct kv_store *const store = c->txn->store;
    struct kv_node **const root = &store->live.keys[c->key->cls];
    struct kv_tree *tree = c->cell.ptr;

    if (!c->owned &&
        !kv_tree_own(store, root, c->key->p, c->key->size, &c->path))
        return false;
    KV_ASSERT(c->path.found);
    c->owned = true;
    if (!kv_owned(store, tree)) {
        struct kv_tree *const copy = kv_block_copy(store, tree);
        struct kv_cell cell;
        if (copy == NULL)
            return false;
        entry_cell(c->path.at[c->path.depth - 1].node,
                   c->path.at[c->path.depth - 1].index, &cell);
        kv_edit_ptr(store, (void *)(uintptr_t)cell.payload, copy);
        kv_retire(store, tree);
        tree = copy;
    }
    c->cell.ptr = tree;
    c->tree = tree;
    return true;
}

bool kv_collection_new_tree(struct kv_collection *c)
{
    struct kv_store *const store = c->txn->store;
    struct kv_cell cell = collection_cell(c, KV_FORM_TREE);

    if (!kv_room(store, 0, 1))
        return false;
    struct kv_tree *const tree = kv_tree_block_new(store);
    if (tree == NULL)
        return false;
    cell.ptr = tree;
    c->owned = c->placed = false;
    if (!kv_key_put(c->txn, c->key, &cell, false))
        return false;
    c->cell = cell;
    c->exists = true;
    return kv_collection_own(c);
}

void kv_tree_bytes(struct kv_store *store, struct kv_tree *tree,
                   int64_t before)
{
    const int64_t delta = store->delta_bytes - before;

    if (delta != 0) {
        kv_edit(store, &tree->bytes, sizeof(tree->bytes));
        tree->bytes += (uint64_t)delta;
    }
}

/* ---- the tree form ------------------------------------------------------------ */

static void collection_count(struct kv_store *store, struct kv_tree *tree,
                             unsigned cls, int change)
{
    kv_edit(store, &tree->count[cls], sizeof(tree->count[cls]));
    tree->count[cls] += (uint64_t)(int64_t)change;
}

/* The hint to this element in the tree form of the key; NULL: there is none. */
static struct kv_path *collection_hint(const struct kv_collection *c,
                                       const struct kv_key *element)
{
    struct kv_hints *const hints = c->txn->hints;

    return KV_UNLIKELY(hints != NULL) && hints->element_p == element->p
               ? &hints->element
               : NULL;
}

/* kv_tree_put() and kv_tree_remove(), along the lead while that is good. */
static bool collection_put_by(struct kv_store *store, struct kv_node **root,
                              uint8_t flags, struct kv_path *lead,
                              const struct kv_key *key,
                              const struct kv_cell *cell, struct kv_cell *old,
                              bool *found)
{
    if (lead == NULL || !kv_tree_path_again(*root, key->p, key->size, lead))
        return kv_tree_put(store, root, flags, key->p, key->size, cell, old,
                           found);
    *found = lead->found;
    return kv_tree_path_own(store, root, lead) &&
           kv_tree_put_at(store, root, lead, key->p, key->size, cell, old);
}

static bool collection_remove_by(struct kv_store *store, struct kv_node **root,
                                 struct kv_path *lead,
                                 const struct kv_key *key, struct kv_cell *old,
                                 bool *found)
{
    if (lead == NULL || !kv_tree_path_again(*root, key->p, key->size, lead) ||
        !lead->found)
        return kv_tree_remove(store, root, key->p, key->size, old, found);
    *found = true;
    return kv_tree_path_own(store, root, lead) &&
           kv_tree_remove_at(store, root, lead, old);
}

/* Add or remove an entry of the score tree (EN3); `key` is score and member. */
static bool collection_score(struct kv_collection *c, const uint8_t *key,
                             uint32_t member_size, double score, bool add)
{
    const struct kv_cell none = {.form = KV_FORM_NONE, .cls = KV_BLOB};
    struct kv_store *const store = c->txn->store;
    struct kv_hints *const hints = c->txn->hints;
    struct kv_node **const root = &c->tree->root[2];
    const struct kv_key at = {.p = key, .size = KV_SCORE_SIZE + member_size};
    struct kv_path *lead = NULL;
    struct kv_cell old;
    bool found;

    if (hints != NULL && c->hinted) {
        if (!add && hints->score_was == score)
            lead = &hints->was;
        if (add && hints->score_becomes == score)
            lead = &hints->becomes;
    }
    return add ? collection_put_by(store, root, KV_NODE_SCORE, lead, &at, &none,
                                   &old, &found)
               : collection_remove_by(store, root, lead, &at, &old, &found);
}

/* Score and member of the entry, in its blob or in `small`. */
static const uint8_t *collection_score_key(const struct kv_key *member,
                                           double score,
                                           const struct kv_blob *keyblob,
                                           uint8_t small[KV_SUFFIX_MAX])
{
    if (keyblob != NULL)
        return keyblob->d;
    KV_ASSERT(member->size <= KV_MEMBER_INLINE_MAX); /* EN4 */
    kv_score_key(small, score);
    memcpy(small + KV_SCORE_SIZE, member->p, member->size);
    return small;
}

static struct kv_blob *collection_member_blob(struct kv_store *store,
                                              const struct kv_key *member,
                                              double score)
{
    struct kv_blob *const blob =
        kv_room(store, 0, 1) ? kv_blob_new(store, KV_SCORE_SIZE + member->size)
                             : NULL;

    if (blob != NULL) {
        kv_score_key(blob->d, score);
        memcpy(blob->d + KV_SCORE_SIZE, member->p, member->size);
    }
    return blob;
}

/* Write the new score into the member's blob, which the score tree does not
 * hold now. One that a view sees is copied, and the member's entry told. */
static bool collection_rescore(struct kv_store *store, struct kv_tree *tree,
                               const struct kv_key *member, double score,
                               struct kv_blob **keyblob)
{
    struct kv_blob *const blob = *keyblob;
    struct kv_path path;
    struct kv_entry entry;

    if (!kv_room(store, KV_SCORE_SIZE, 2))
        return false;
    if (kv_owned(store, blob)) {
        kv_edit(store, blob->d, KV_SCORE_SIZE); /* I5 */
        kv_score_key(blob->d, score);
        return true;
    }
    struct kv_blob *const copy = kv_block_copy(store, blob);
    if (copy == NULL || !kv_tree_own(store, &tree->root[member->cls], member->p,
                                     member->size, &path))
        return false;
    kv_score_key(copy->d, score);
    entry_open(path.at[path.depth - 1].node, path.at[path.depth - 1].index,
               &entry);
    kv_edit_ptr(store, (void *)(uintptr_t)entry.rest, copy);
    kv_retire(store, blob);
    *keyblob = copy;
    return true;
}

/* Bring the score tree up to date, which has another score of the member or
 * none; one that waits (OR1) stays away. A long member that is new gets the one
 * blob of both trees: *member is then the key that lies in it (EN4). */
static bool collection_put_score(struct kv_collection *c, double score,
                                 struct kv_key *member)
{
    struct kv_store *const store = c->txn->store;
    struct kv_tree *const tree = c->tree;
    const bool waits = kv_order_waits(tree);
    uint8_t small[KV_SUFFIX_MAX];
    struct kv_blob *blob = c->keyblob;

    if (c->there) {
        if (!waits &&
            !collection_score(
                c, collection_score_key(member, c->score, blob, small),
                member->size, c->score, false))
            return false;
        if (blob != NULL &&
            !collection_rescore(store, tree, member, score, &blob))
            return false;
    } else if (member->size > KV_MEMBER_INLINE_MAX) {
        blob = collection_member_blob(store, member, score);
        if (blob == NULL)
            return false;
        member->p = blob->d + KV_SCORE_SIZE;
    }
    return waits ||
           collection_score(c, collection_score_key(member, score, blob, small),
                            member->size, score, true);
}

static void collection_lower(struct kv_collection *c, uint64_t deadline)
{
    struct kv_store *const store = c->txn->store;
    const uint64_t none = (UINT64_C(1) << 48) - 1;

    if (deadline == 0)
        return;
    if (deadline < c->tree->min_exp) {
        /* min_exp shares its word with flags: announce the whole word */
        kv_edit(store, (uint8_t *)c->tree + sizeof(*c->tree) - 8, 8);
        c->tree->min_exp = deadline < none ? deadline : none - 1;
    }
    kv_tree_lower(store, &c->path, deadline);
}

/* The element in the tree form, if it is there. */
bool kv_collection_find(const struct kv_tree *tree, const struct kv_key *key,
                        struct kv_cell *cell)
{
    const struct kv_node *leaf;
    uint32_t index;

    if (!kv_tree_find(tree->root[key->cls], key->p, key->size, &leaf, &index))
        return false;
    entry_cell(leaf, index, cell);
    return true;
}

bool kv_cell_field(const struct kv_cell *hash, const struct kv_key *field,
                   uint64_t *deadline, struct kv_val *value)
{
    struct kv_packed_item item;
    struct kv_cell cell;
    uint32_t size;

    if (hash->form == KV_FORM_TREE) {
        if (!kv_collection_find(hash->ptr, field, &cell))
            return false;
        *deadline = cell.exp;
        kv_cell_read(&cell, value);
        return true;
    }
    const uint8_t *const run = kv_cell_run(hash, &size);
    if (!kv_packed_find(KV_HASH, run, size, field, &item))
        return false;
    *deadline = item.deadline;
    *value = item.value;
    if (item.value.p == (const uint8_t *)item.value.scratch)
        value->p = (const uint8_t *)value->scratch;
    return true;
}

/* The score that the member has, and its blob, if it is there; and the way to
 * it. */
static void collection_look(struct kv_collection *c,
                            const struct kv_tree *tree,
                            const struct kv_key *member)
{
    struct kv_node *const root = tree->root[member->cls];
    struct kv_cell cell;

    if (c->looked)
        return;
    c->looked = true;
    c->score = 0;
    c->keyblob = NULL;
    c->lead = collection_hint(c, member);
    c->hinted = c->lead != NULL;
    if (c->lead == NULL ||
        !kv_tree_path_again(root, member->p, member->size, c->lead)) {
        c->lead = &c->looked_at;
        (void)kv_tree_path(root, member->p, member->size, c->lead);
    }
    c->there = c->lead->found;
    if (c->there) {
        const unsigned d = c->lead->depth - 1;
        const struct kv_node *const leaf = c->lead->at[d].node;
        entry_cell(leaf, c->lead->at[d].index, &cell);
        c->score = kv_score_read(cell.payload);
        c->keyblob = entry_keyblob(leaf, c->lead->at[d].index);
    }
}

/* Is the element in the tree already, just so? A set without a view finds out
 * by the put itself. */
static bool collection_tree_has(struct kv_collection *c,
                                const struct kv_element *e)
{
    struct kv_cell cell;

    if (c->type == KV_ZSET) {
        collection_look(c, c->cell.ptr, e->key);
        return c->there && c->score == e->score;
    }
    return c->type == KV_SET && collection_is_seen(c) &&
           kv_collection_find(c->cell.ptr, e->key, &cell);
}

bool kv_collection_put_tree(struct kv_collection *c,
                            const struct kv_element *e, bool *created)
{
    struct kv_store *const store = c->txn->store;
    struct kv_tree *const tree = c->tree;
    struct kv_cell cell = {.form = KV_FORM_NONE, .cls = KV_BLOB}, old;
    struct kv_key key = *e->key;
    uint8_t flags = KV_NODE_KEYED;
    bool found;

    if (KV_UNLIKELY(c->txn->numbered) && c->type == KV_ZSET &&
        !kv_order_let_go(c->txn, tree))
        return false;
    const int64_t before = store->delta_bytes;
    if (c->type == KV_HASH) {
        if (!kv_cell_value(store, e->value, &cell))
            return false;
        cell.exp = e->deadline;
        c->lead = collection_hint(c, e->key);
    } else if (c->type == KV_SET) {
        c->lead = collection_hint(c, e->key);
    } else if (c->type == KV_ZSET) {
        collection_look(c, tree, e->key);
        if (!collection_put_score(c, e->score, &key))
            return false;
        flags = KV_NODE_MEMBER;
        cell.form = KV_FORM_BYTES;
        cell.size = sizeof(e->score);
        cell.payload = (const uint8_t *)&e->score;
    }
    if (!collection_put_by(store, &tree->root[key.cls], flags, c->lead, &key,
                           &cell, &old, &found))
        return false;
    if (found)
        kv_cell_drop(store, &old);
    else
        collection_count(store, tree, key.cls, 1);
    kv_tree_bytes(store, tree, before);
    collection_lower(c, e->deadline);
    *created = !found;
    c->same = found && c->type == KV_SET;
    return true;
}

/* From the packed run to a tree. The run is read from a copy, for the old one
 * is retired on the way. */
static bool collection_convert(struct kv_collection *c)
{
    uint8_t copy[KV_PACKED_BUFFER];
    struct kv_packed_item item;
    uint32_t size = 0, offset = 2;
    bool created;

    if (c->exists) {
        const uint8_t *const run = kv_cell_run(&c->cell, &size);
        memcpy(copy, run, size);
    }
    if (!kv_collection_new_tree(c))
        return false;
    while (size > 0 && kv_packed_at(c->type, copy, size, offset, &item)) {
        const struct kv_key key = {
            .p = item.key.p, .size = item.key.size, .cls = item.key.cls};
        const struct kv_key value = {.p = item.value.p,
                                     .size = item.value.size,
                                     .cls = item.value.cls};
        const struct kv_element e = {.key = &key,
                                     .value = &value,
                                     .deadline = item.deadline,
                                     .score = item.score};
        c->looked = false;
        if (!kv_collection_put_tree(c, &e, &created))
            return false;
        offset = item.next;
    }
    return true;
}

/* ---- both forms ------------------------------------------------------------------ */

/* Has the run of a sorted set the member already, with that score? */
static bool collection_has(const struct kv_collection *c, const uint8_t *run,
                           uint32_t size, const struct kv_element *e)
{
    struct kv_packed_item item;

    return c->type == KV_ZSET &&
           kv_packed_find(c->type, run, size, e->key, &item) &&
           item.score == e->score;
}

bool kv_collection_put(struct kv_collection *c, const struct kv_element *e,
                       bool *created)
{
    uint8_t empty[2], out[KV_PACKED_BUFFER];
    const bool fits =
        e->key->size <= KV_PACKED_ITEM_MAX &&
        (e->value == NULL || e->value->size <= KV_PACKED_ITEM_MAX);

    if (!kv_index_field(c, e))
        return false;
    if (!kv_collection_is_tree(c)) {
        uint32_t size = 0;
        const uint8_t *run = empty;
        if (c->exists)
            run = kv_cell_run(&c->cell, &size);
        else
            size = kv_packed_init(empty);
        if (collection_has(c, run, size, e)) {
            c->same = true;
            return true;
        }
        const uint32_t n =
            fits ? kv_packed_put(c->type, run, size, e->key, e->value,
                                 e->deadline, e->score, out, created)
                 : 0;
        if (n > 0 && c->type == KV_SET && !*created) {
            c->same = true;
            return true;
        }
        if (n > 0 && n <= KV_PACKED_SIZE_MAX)
            return kv_collection_store(c, out, n);
        if (!collection_convert(c))
            return false;
        c->looked = false;
    } else if (collection_tree_has(c, e)) {
        c->same = true;
        return true;
    } else if (!kv_collection_own(c)) {
        return false;
    }
    return kv_collection_put_tree(c, e, created);
}

static bool collection_remove_tree(struct kv_collection *c,
                                   const struct kv_key *key, bool *existed)
{
    struct kv_store *const store = c->txn->store;
    uint8_t small[KV_SUFFIX_MAX];
    struct kv_cell old;

    if (c->type == KV_ZSET) { /* its score leads to the other entry */
        collection_look(c, c->cell.ptr, key);
        if (!c->there)
            return true;
    } else if (collection_is_seen(c) &&
               !kv_collection_find(c->cell.ptr, key, &old)) {
        return true;
    } else {
        c->lead = collection_hint(c, key);
    }
    if (!kv_collection_own(c))
        return false;
    if (!kv_index_field(c, &(struct kv_element){.key = key}))
        return false;
    struct kv_tree *const tree = c->tree;
    const bool waits = kv_order_waits(tree);
    const int64_t before = store->delta_bytes;
    if (!collection_remove_by(store, &tree->root[key->cls], c->lead, key, &old,
                              existed))
        return false;
    if (!*existed)
        return true;
    if (c->type == KV_ZSET && !waits &&
        !collection_score(c,
                          collection_score_key(key, c->score, c->keyblob,
                                               small),
                          key->size, c->score, false))
        return false;
    kv_cell_drop(store, &old);
    collection_count(store, tree, key->cls, -1);
    kv_tree_bytes(store, tree, before);
    if (tree->count[0] + tree->count[1] == 0)
        return kv_key_remove(c->txn, c->key, false, NULL);
    return true;
}

bool kv_collection_remove(struct kv_collection *c, const struct kv_key *key,
                          bool *existed)
{
    struct kv_packed_item item;
    uint8_t out[KV_PACKED_BUFFER];
    uint32_t size;

    *existed = false;
    if (!c->exists)
        return true;
    if (kv_collection_is_tree(c))
        return collection_remove_tree(c, key, existed);
    const uint8_t *const run = kv_cell_run(&c->cell, &size);
    *existed = kv_packed_find(c->type, run, size, key, &item);
    if (!*existed)
        return true;
    if (kv_packed_count(run) == 1)
        return kv_key_remove(c->txn, c->key, false, NULL);
    if (!kv_index_field(c, &(struct kv_element){.key = key}))
        return false;
    return kv_collection_store(c, out, kv_packed_remove(run, size, &item, out));
}
