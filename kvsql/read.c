/* read.c - finding keys, walking them, counting them: inside.h's reading side
 * for the keyspace. Expired keys are invisible here (T4).
 *
 * Thread: any on a view; on a txn the holder of the store lock. */
#include <string.h>

#include "kvsql/packed.h"
#include "kvsql/store_private.h"

const char *kv_type_name(enum kv_type type)
{
    static const char *const name[] = {"none", "string", "hash",  "list",
                                       "set",  "zset",   "stream"};

    return (unsigned)type < sizeof(name) / sizeof(name[0]) ? name[type]
                                                           : "none";
}

int kv_key_compare(const struct kv_key *a, const struct kv_key *b)
{
    const uint32_t n = a->size < b->size ? a->size : b->size;

    if (a->cls != b->cls)
        return a->cls < b->cls ? -1 : 1;
    const int c = n > 0 ? memcmp(a->p, b->p, n) : 0;
    if (c != 0)
        return c;
    return a->size < b->size ? -1 : a->size > b->size;
}

void kv_at_view(const struct kv_view *view, struct kv_at *at)
{
    *at = (struct kv_at){.store = view->store,
                         .root = &view->root,
                         .position = view->pos};
    at->now = kv_store_clock(view->store, &at->skew);
}

int64_t kv_at_wall(const struct kv_at *at)
{
    return (int64_t)at->now + at->skew;
}

/* Is the entry at e a string in the leaf, without deadline, version and lru
 * bytes, its key in the leaf, too? Most are. */
static inline bool read_plain(const uint8_t *e)
{
    const unsigned form = e[1] & (META_FORM | META_EXP | META_KEYBLOB);

    return e[2] == KV_STRING &&
           (form == KV_FORM_BYTES || form == KV_FORM_INT);
}

/* The item of a plain entry. */
static inline void read_plain_item(const uint8_t *e, struct kv_item *item)
{
    const uint8_t *const tail = e + (e[0] > 4 ? e[0] - 1 : 3);

    *item = (struct kv_item){.type = KV_STRING,
                             .payload = tail + 1,
                             .payload_size = *tail,
                             .form = e[1] & META_FORM,
                             .cls = (e[1] >> META_CLASS_SHIFT) & 3};
}

/* The item of a leaf's entry; false when it is hidden or of no type in the
 * mask (0 = all). */
static bool read_item(const struct kv_at *at, const struct kv_node *leaf,
                      uint32_t index, unsigned types, struct kv_item *item)
{
    struct kv_cell cell;

    entry_cell(leaf, index, &cell);
    if (types != 0 && !(types & (1u << cell.type)))
        return false;
    if (kv_entry_hidden(leaf, index, &cell, at->now))
        return false;
    kv_item_of(&cell, at->skew, item);
    return true;
}

/* The same for all types, most entries being plain. */
static inline bool read_any(const struct kv_at *at, const struct kv_node *leaf,
                            uint32_t index, struct kv_item *item)
{
    const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[index].off);

    if (KV_UNLIKELY(!read_plain(e)))
        return read_item(at, leaf, index, 0, item);
    read_plain_item(e, item);
    return true;
}

bool kv_get(const struct kv_at *at, const struct kv_key *key,
            struct kv_item *item)
{
    const struct kv_node *leaf;
    uint32_t index;

    return kv_tree_find(at->root->keys[key->cls], key->p, key->size, &leaf,
                        &index) &&
           read_any(at, leaf, index, item);
}

bool kv_txn_get(struct kv_txn *txn, const struct kv_key *key, bool near,
                struct kv_item *item)
{
    struct kv_at at;

    txn->near = near;
    const struct kv_path *const path = kv_key_path(txn, key);
    if (!path->found)
        return false;
    kv_at_txn(txn, &at);
    return read_any(&at, path->at[path->depth - 1].node,
                    path->at[path->depth - 1].index, item);
}

struct read_batch {
    const struct kv_node *roots[KV_BATCH_MAX];
    const uint8_t *keys[KV_BATCH_MAX];
    uint32_t sizes[KV_BATCH_MAX];
    const struct kv_node *leaves[KV_BATCH_MAX];
    uint32_t indexes[KV_BATCH_MAX];
};

static void read_batch_run(struct kv_node *const *roots,
                           const struct kv_key *keys, unsigned n,
                           struct read_batch *batch, bool *found)
{
    KV_ASSERT(n <= KV_BATCH_MAX);
    if (n == 0)
        return;
    for (unsigned i = 0; i < n; i++) {
        batch->roots[i] = roots[keys[i].cls];
        batch->keys[i] = keys[i].p;
        batch->sizes[i] = keys[i].size;
    }
    kv_tree_find_batch(batch->roots, batch->keys, batch->sizes, n,
                       batch->leaves, batch->indexes, found);
}

void kv_get_batch(const struct kv_at *at, const struct kv_key *keys,
                  struct kv_item *items, bool *found, unsigned n)
{
    struct read_batch batch;

    read_batch_run(at->root->keys, keys, n, &batch, found);
    for (unsigned i = 0; i < n; i++)
        found[i] = found[i] && read_any(at, batch.leaves[i], batch.indexes[i],
                                        &items[i]);
}

void kv_look_roots(struct kv_node *const *roots, const struct kv_key *keys,
                   bool *found, unsigned n)
{
    struct read_batch batch;

    read_batch_run(roots, keys, n, &batch, found);
}

void kv_warm_batch(const struct kv_at *at, const struct kv_key *keys,
                   unsigned n)
{
    bool found[KV_BATCH_MAX];

    kv_look_roots(at->root->keys, keys, found, n);
}

/* ---- facts of an item -------------------------------------------------------- */

uint64_t kv_item_length(const struct kv_item *item)
{
    struct kv_val value;

    if (item->type == KV_STRING) {
        if (item->form != KV_FORM_INT)
            return item->payload_size;
        kv_item_string(item, &value);
        return value.size;
    }
    if (item->form == KV_FORM_TREE)
        return item->tree->count[0] + item->tree->count[1];
    return item->payload[1];
}

uint64_t kv_item_memory(const struct kv_item *item, uint32_t key_size)
{
    uint64_t bytes = sizeof(struct kv_leaf_slot) + 4 + key_size +
                     (item->expires_at != 0 ? 6 : 0);

    if (item->form == KV_FORM_TREE)
        return bytes + 8 + sizeof(struct kv_tree) + item->tree->bytes;
    if (item->form == KV_FORM_BLOB || item->form == KV_FORM_PACKED_BLOB)
        return bytes + 8 +
               kv_block_size((const void *)item->entry);
    return bytes + item->payload_size;
}

static bool read_packed_ints(const struct kv_item *item)
{
    struct kv_packed_item one;
    uint32_t offset = 2;

    while (kv_packed_at(KV_SET, item->payload, item->payload_size, offset,
                        &one)) {
        if (!one.key.is_int)
            return false;
        offset = one.next;
    }
    return true;
}

const char *kv_item_encoding(const struct kv_item *item)
{
    const bool tree = item->form == KV_FORM_TREE;
    const bool big =
        tree || (item->type != KV_STRING && (item->payload[0] & KV_PACKED_BIG));

    switch (item->type) {
    case KV_STRING:
        if (item->form == KV_FORM_INT)
            return "int";
        return item->payload_size <= 44 ? "embstr" : "raw";
    case KV_HASH:
        return big ? "hashtable" : "listpack";
    case KV_LIST:
        return tree ? "quicklist" : "listpack";
    case KV_SET:
        if (!tree && read_packed_ints(item))
            return "intset";
        return "hashtable";
    case KV_ZSET:
        return big ? "skiplist" : "listpack";
    case KV_STREAM:
        return "stream";
    case KV_NONE:
        break;
    }
    return "none";
}

uint64_t kv_item_version(const struct kv_at *at, const struct kv_item *item)
{
    struct kv_store *const store = at->store;
    uint64_t from = atomic_load(&store->versions_from);

    if (from == 0) { /* the first question: keep versions from now on (EN6) */
        if (!at->live)
            kv_lock_take(&store->lock);
        from = at->live ? store->pos + 1 : store->pos;
        atomic_store(&store->versions_from, from > 0 ? from : 1);
        if (!at->live)
            kv_lock_drop(&store->lock);
    }
    if (item->gen == 0) /* no version of its own */
        return from < at->position ? from : at->position;
    return item->version > at->position ? 0 : item->version;
}

/* ---- counting ------------------------------------------------------------------- */

uint64_t kv_count_all(const struct kv_at *at)
{
    return at->root->count[0] + at->root->count[1];
}

uint64_t kv_rank(const struct kv_at *at, const struct kv_key *key)
{
    bool found;
    const uint64_t rank =
        kv_tree_rank(at->root->keys[key->cls], key->p, key->size, &found);

    return rank + (key->cls == KV_BLOB ? at->root->count[0] : 0);
}

struct read_step {
    const struct kv_node *node;
    uint64_t base; /* rank of its first entry that is still to come */
    uint32_t index;
};

/* Expired keys below `node` with rank in [from, to), its first entry having
 * rank `base`. Bounded by the deadline bounds (DL4's walk). */
static uint64_t count_expired(const struct kv_at *at,
                              const struct kv_node *node, uint64_t base,
                              uint64_t from, uint64_t to)
{
    struct read_step stack[KV_HEIGHT_MAX];
    unsigned depth = 0;
    uint64_t count = 0;
    struct kv_cell cell;

    if (node == NULL)
        return 0;
    stack[depth++] = (struct read_step){.node = node, .base = base};
    while (depth > 0) {
        struct read_step *const top = &stack[depth - 1];
        if (top->index >= top->node->n) {
            depth--;
            continue;
        }
        const uint32_t i = top->index++;
        if (top->node->level == 0) {
            const uint64_t rank = top->base + i;
            if (rank < from || rank >= to)
                continue;
            entry_cell(top->node, i, &cell);
            count += kv_cell_hidden(&cell, at->now);
            continue;
        }
        const struct kv_inner_slot *const slot = &inner_slots(top->node)[i];
        const uint64_t first = top->base;
        top->base += slot->count;
        if (first < to && first + slot->count > from &&
            bound_get(slot->min_exp) <= at->now >> 6)
            stack[depth++] =
                (struct read_step){.node = slot->child, .base = first};
    }
    return count;
}

uint64_t kv_count_range(const struct kv_at *at, const struct kv_key *lo,
                        const struct kv_key *hi)
{
    const uint64_t from = kv_rank(at, lo);
    const uint64_t to = hi != NULL ? kv_rank(at, hi) : kv_count_all(at);

    if (to <= from)
        return 0;
    return to - from -
           count_expired(at, at->root->keys[0], 0, from, to) -
           count_expired(at, at->root->keys[1], at->root->count[0], from, to);
}

/* ---- cursor over keys -------------------------------------------------------------- */

void kv_keys_init(struct kv_keys *keys, const struct kv_at *at, unsigned types)
{
    keys->at = *at;
    keys->types = types;
    keys->walk.root[0] = at->root->keys[0]; /* the path is filled by a seek */
    keys->walk.root[1] = at->root->keys[1];
    keys->walk.depth = 0;
    keys->walk.valid = false;
    keys->key_stable = false;
    keys->end_leaf = NULL;
}

/* The walk stands on an entry: is it wanted? Fills key and item. */
static bool keys_wanted(struct kv_keys *keys)
{
    const struct kv_node *const leaf = kv_walk_leaf(&keys->walk);
    const uint32_t index = kv_walk_index(&keys->walk);

    if (!(keys->types == 0
              ? read_any(&keys->at, leaf, index, &keys->item)
              : read_item(&keys->at, leaf, index, keys->types, &keys->item)))
        return false;
    keys->key.p = kv_tree_key(leaf, index, keys->buffer, &keys->key.size,
                              &keys->key_stable);
    keys->key.cls = keys->walk.which;
    keys->prefix_of = leaf;
    if (keys->key_stable)
        keys->prefix_of = NULL;
    else
        keys->buffer[keys->key.size] = 0;
    return true;
}

/* The key of a plain entry in the leaf of the entry before, whose prefix is in
 * the buffer already: only the suffix is written. False, nothing done: it is
 * longer, or in another leaf. */
static inline bool keys_plain_key(struct kv_keys *keys,
                                  const struct kv_node *leaf,
                                  const struct kv_leaf_slot *slot,
                                  const uint8_t *e)
{
    const uint32_t head = __builtin_bswap32(slot->head), klen = e[0];
    uint8_t *const p = keys->buffer + leaf->plen;

    if (leaf != keys->prefix_of || klen > 4 + BYTES_FEW)
        return false;
    memcpy(p, &head, 4); /* the buffer has room for all four */
    if (klen > 4)
        bytes_copy_few(p + 4, e + 3, klen - 4);
    p[klen] = 0;
    keys->key.size = leaf->plen + klen;
    return true;
}

/* Key and item of such an entry. False, nothing done: it is of another kind. */
static inline bool keys_plain(struct kv_keys *keys, const struct kv_node *leaf,
                              uint32_t index)
{
    const struct kv_leaf_slot slot = leaf_slots(leaf)[index];
    const uint8_t *const e = entry_at(leaf, slot.off);

    if (!read_plain(e) || !keys_plain_key(keys, leaf, &slot, e))
        return false;
    read_plain_item(e, &keys->item);
    return true;
}

static inline bool keys_plain_item(struct kv_keys *keys,
                                   const struct kv_node *leaf, uint32_t index)
{
    const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[index].off);

    if (!read_plain(e))
        return false;
    read_plain_item(e, &keys->item);
    return true;
}

static inline bool keys_step(struct kv_keys *keys)
{
    return keys->types != 0 ? kv_walk_next_typed(&keys->walk, keys->types)
                            : kv_walk_next(&keys->walk);
}

/* Does the walk stand where kv_keys_end() said? */
static inline bool keys_at_end(const struct kv_keys *keys)
{
    return kv_walk_leaf(&keys->walk) == keys->end_leaf &&
           kv_walk_index(&keys->walk) >= keys->end_index;
}

static bool keys_forward(struct kv_keys *keys, bool valid)
{
    while (valid) {
        if (KV_UNLIKELY(keys_at_end(keys))) {
            keys->walk.valid = false;
            return false;
        }
        if (keys_wanted(keys))
            return true;
        valid = keys_step(keys);
    }
    return false;
}

static bool keys_backward(struct kv_keys *keys, bool valid)
{
    while (valid) {
        if (keys_wanted(keys))
            return true;
        valid = kv_walk_prev(&keys->walk);
    }
    return false;
}

/* The first entry that is wanted from where a seek came down. The leaf may lie
 * where another one lay when the cursor was placed before. */
static bool keys_placed(struct kv_keys *keys, bool valid)
{
    keys->prefix_of = keys->end_leaf = NULL;
    return keys_forward(keys, valid);
}

bool kv_keys_first(struct kv_keys *keys)
{
    return keys_placed(keys, kv_walk_first(&keys->walk));
}

bool kv_keys_last(struct kv_keys *keys)
{
    keys->prefix_of = NULL;
    return keys_backward(keys, kv_walk_last(&keys->walk));
}

bool kv_keys_seek(struct kv_keys *keys, const struct kv_key *key, bool after)
{
    return keys_placed(keys, kv_walk_seek(&keys->walk, key->cls, key->p,
                                          key->size, after));
}

bool kv_keys_seek_back(struct kv_keys *keys, const struct kv_key *key,
                       bool before)
{
    keys->prefix_of = NULL;
    return keys_backward(keys, kv_walk_seek_back(&keys->walk, key->cls, key->p,
                                                 key->size, before));
}

bool kv_keys_seek_rank(struct kv_keys *keys, uint64_t rank)
{
    return keys_placed(keys, kv_walk_rank(&keys->walk, rank));
}

/* What kv_keys_next() does at other times. */
static bool keys_next_any(struct kv_keys *keys)
{
    return keys->walk.valid && keys_forward(keys, keys_step(keys));
}

/* In the leaf of the entry before, which stays the rule. */
static inline bool keys_next_near(struct kv_keys *keys, bool with_key)
{
    struct kv_walk *const walk = &keys->walk;

    if (KV_UNLIKELY(!walk->valid || keys->types != 0))
        return keys_next_any(keys);
    struct kv_cursor_step *const step = &walk->path[walk->depth - 1];
    const uint32_t index = step->index + 1;
    if (KV_UNLIKELY(index >= step->node->n ||
                    (step->node == keys->end_leaf &&
                     index >= keys->end_index) ||
                    !(with_key ? keys_plain(keys, step->node, index)
                               : keys_plain_item(keys, step->node, index))))
        return keys_next_any(keys);
    step->index = index;
    return true;
}

bool kv_keys_next(struct kv_keys *keys)
{
    return keys_next_near(keys, true);
}

bool kv_keys_next_item(struct kv_keys *keys)
{
    return keys_next_near(keys, false);
}

bool kv_keys_next_plain(struct kv_keys *keys)
{
    struct kv_walk *const walk = &keys->walk;
    struct kv_cursor_step *const step = &walk->path[walk->depth - 1];
    const struct kv_node *const leaf = step->node;
    const uint32_t index = step->index + 1;

    if (KV_UNLIKELY(index >=
                    (leaf == keys->end_leaf ? keys->end_index : leaf->n)))
        return false;
    const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[index].off);
    if (KV_UNLIKELY(!read_plain(e)))
        return false;
    keys->plain = e;
    step->index = index;
    return true;
}

bool kv_keys_plain_text(const struct kv_keys *keys, kvsql_slice *out)
{
    const uint8_t *const e = keys->plain;
    const uint8_t *const tail = e + (e[0] > 4 ? e[0] - 1 : 3);

    if ((e[1] & META_FORM) != KV_FORM_BYTES ||
        ((e[1] >> META_CLASS_SHIFT) & 3) != KV_TEXT)
        return false;
    *out = (kvsql_slice){tail + 1, *tail};
    return true;
}

void kv_keys_plain_fill(struct kv_keys *keys)
{
    const struct kv_node *const leaf = kv_walk_leaf(&keys->walk);
    const uint32_t index = kv_walk_index(&keys->walk);
    bool filled = keys_plain(keys, leaf, index);

    if (!filled)
        filled = keys_wanted(keys);
    KV_ASSERT(filled); /* plain: of every type, and never hidden */
}

const struct kv_key *kv_keys_plain_key(struct kv_keys *keys)
{
    const struct kv_node *const leaf = kv_walk_leaf(&keys->walk);
    const struct kv_leaf_slot slot =
        leaf_slots(leaf)[kv_walk_index(&keys->walk)];

    if (!keys_plain_key(keys, leaf, &slot, keys->plain))
        kv_keys_plain_fill(keys);
    return &keys->key;
}

/* Are all entries of the leaf of these types, and none has expired? The inner
 * node above tells. */
static bool keys_leaf_all(const struct kv_keys *keys, unsigned types)
{
    const struct kv_walk *const walk = &keys->walk;

    if (walk->depth < 2)
        return false;
    const struct kv_cursor_step *const up = &walk->path[walk->depth - 2];
    const struct kv_inner_slot *const slot = &inner_slots(up->node)[up->index];
    return !(slot->types & ~types) &&
           bound_get(slot->min_exp) > keys->at.now >> 6;
}

uint32_t kv_keys_run(struct kv_keys *keys, unsigned types)
{
    struct kv_walk *const walk = &keys->walk;
    struct kv_cursor_step *const step = &walk->path[walk->depth - 1];
    uint32_t end, count = 0;

    types = types == 0 ? ~0u : types;
    if (!walk->valid || keys->types != 0 || !(types & 1u << KV_STRING))
        return 0;
    end = step->node == keys->end_leaf ? keys->end_index : step->node->n;
    if (keys_leaf_all(keys, types))
        count = step->index + 1 < end ? end - step->index - 1 : 0;
    else
        while (step->index + count + 1 < end &&
               read_plain(entry_at(
                   step->node,
                   leaf_slots(step->node)[step->index + count + 1].off)))
            count++;
    step->index += count;
    return count;
}

void kv_keys_end(struct kv_keys *keys, const struct kv_key *key, bool before)
{
    struct kv_walk end = {.root = {keys->walk.root[0], keys->walk.root[1]}};

    KV_ASSERT(keys->types == 0); /* a walk by type may step over the end */
    if (kv_walk_seek(&end, key->cls, key->p, key->size, !before)) {
        keys->end_leaf = kv_walk_leaf(&end);
        keys->end_index = kv_walk_index(&end);
    }
}

bool kv_keys_prev(struct kv_keys *keys)
{
    if (!keys->walk.valid)
        return false;
    return keys_backward(keys, kv_walk_prev(&keys->walk));
}
