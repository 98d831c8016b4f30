/* tree_put.c - inserting into the tree, and replacing what is there.
 *
 * A cell goes over the old one where it lies, or behind it in the heap; a fresh
 * entry into the free room of its node, or the node is built anew in a larger
 * block, or split and its second half inserted one level up.
 *
 * Thread: the holder of the store lock. */
#include "kvsql/tree_private.h"

/* ---- room in a node ------------------------------------------------------------ */

/* Bytes for a node that is changing and will go on: block sizes lie so close
 * above KV_LEAF_MAX / 2 that it would soon move again. */
static uint32_t tree_roomy(uint32_t size)
{
    const uint32_t step = KV_LEAF_MAX / 8;

    return size > KV_LEAF_MAX / 2 ? (size + step - 1) / step * step : size;
}

/* The same node in a larger block: slots count from its begin, the heap from
 * its end, so both are copied as they are. A run at the end of the node goes on
 * until it is full: twice the room at once. */
static bool tree_enlarge(struct kv_store *store, struct kv_node **root,
                         struct kv_path *path, unsigned d, uint32_t index,
                         uint32_t need)
{
    const struct kv_node *const node = path->at[d].node;
    const uint32_t front =
        (uint32_t)sizeof(*node) + node->n * node_slot_size(node);
    uint32_t size = front + node->used + need;

    if (node->run >= NODE_RUN && index == node->n && size < 2u * node->cap)
        size = 2u * node->cap < KV_LEAF_MAX ? 2u * node->cap : KV_LEAF_MAX;
    struct kv_node *const out =
        kv_node_new(store, tree_roomy(size), node->level, node->flags);
    if (out == NULL)
        return false;
    node_copy(out, out->cap, node);
    kv_tree_replace(store, root, path, d, out);
    return true;
}

/* Build the path's node anew with the fresh entry at `index` (replacing the
 * one there when `replace`) and this prefix; `live` bytes in all. */
static bool tree_rebuild(struct kv_store *store, struct kv_node **root,
                         struct kv_path *path, unsigned d, uint32_t index,
                         const struct kv_fresh *fresh, bool replace,
                         const struct kv_prefix *prefix, uint32_t live)
{
    const struct kv_node *const node = path->at[d].node;
    struct kv_node *const out =
        kv_node_make(store, node, prefix,
                     (replace ? tree_roomy(live) : live) -
                         (uint32_t)sizeof(*node) - prefix->size);
    if (out == NULL || !kv_node_add(store, out, node, 0, index))
        return false;
    kv_node_insert(store, out, index, fresh,
                   kv_node_fresh_size(out, fresh, out->plen), false);
    if (!kv_node_add(store, out, node, index + (replace ? 1 : 0), node->n))
        return false;
    out->hint = (uint16_t)(index + 1);
    out->run = node->hint == index && !replace && node->run < 255
                   ? (uint8_t)(node->run + 1)
                   : 0;
    kv_tree_replace(store, root, path, d, out);
    return true;
}

/* ---- a fresh entry, up to the root ----------------------------------------------- */

static const struct kv_prefix tree_bare = {.size = 0}; /* no prefix */

static bool tree_grow_root(struct kv_store *store, struct kv_node **root,
                           const struct kv_fresh *up)
{
    const struct kv_node *const left = *root;
    struct kv_fresh first = {.key = (const uint8_t *)"", .size = 0};
    struct kv_summary summary;
    const struct kv_node like = {.level = (uint8_t)(left->level + 1),
                                 .flags = left->flags};
    const uint32_t size = kv_node_fresh_size(&like, &first, 0) +
                          kv_node_fresh_size(&like, up, 0);
    struct kv_node *const node = kv_node_make(store, &like, &tree_bare, size);

    if (node == NULL)
        return false;
    kv_node_summary(left, &summary);
    first.slot.child = *root;
    first.slot.count = summary.count;
    first.slot.types = summary.types;
    bound_put(first.slot.min_exp, summary.bound);
    kv_node_insert(store, node, 0, &first,
                   kv_node_fresh_size(node, &first, 0), false);
    kv_node_insert(store, node, 1, up, kv_node_fresh_size(node, up, 0), false);
    kv_edit_ptr(store, root, node);
    return true;
}

bool kv_tree_fresh_blob(struct kv_store *store, const struct kv_node *node,
                        uint32_t plen, struct kv_fresh *fresh)
{
    if (node->level == 0 && (node->flags & (KV_NODE_SCORE | KV_NODE_MEMBER))) {
        const uint32_t skip = leaf_blob_skip(node);
        const uintptr_t at =
            (uintptr_t)fresh->key - skip - offsetof(struct kv_blob, d);
        if (fresh->size + skip > KV_SUFFIX_MAX)
            fresh->keyblob = (struct kv_blob *)at;
        return true;
    }
    if (fresh->size - plen <= KV_SUFFIX_MAX)
        return true;
    fresh->keyblob = kv_blob_new(store, fresh->size);
    if (fresh->keyblob == NULL)
        return false;
    memcpy(fresh->keyblob->d, fresh->key, fresh->size);
    return true;
}

/* The root takes in a fresh entry and more room: when its keys have more in
 * common than its prefix it is built anew instead, *done. But few tell little of
 * those that will come, and a run will leave that again (T1). */
static bool tree_tighten(struct kv_store *store, struct kv_node **root,
                         struct kv_path *path, uint32_t index,
                         const struct kv_fresh *fresh, bool *done)
{
    struct kv_node *const node = path->at[0].node;
    const struct tree_sequence seq = {.node = node,
                                      .fresh = fresh,
                                      .index = index,
                                      .count = node->n + 1u,
                                      .plen = node->plen};
    struct tree_part all = {.from = 0, .to = seq.count};

    *done = false;
    if (seq.count < SEQUENCE_FEW || (node->level == 0 && node->run >= NODE_RUN))
        return true;
    all.prefix.own = true;
    all.prefix.size = kv_tree_common(&seq, &all, &all.prefix.p);
    if (all.prefix.size <= node->plen)
        return true;
    *done = true;
    return tree_rebuild(store, root, path, 0, index, fresh, false, &all.prefix,
                        (uint32_t)sizeof(*node) + all.prefix.size +
                            kv_tree_part_bytes(&seq, 0, seq.count,
                                               all.prefix.size));
}

/* A fresh key that does not share the prefix of node number d (T1): the node
 * gets a shorter prefix when it has the room, else the key one of its own. */
static bool tree_insert_outside(struct kv_store *store, struct kv_node **root,
                                struct kv_path *path, unsigned d,
                                uint32_t index, struct kv_fresh *fresh,
                                struct kv_fresh *up, uint8_t *key_buffer,
                                bool *split)
{
    struct kv_node *const node = path->at[d].node;
    const uint32_t plen = tree_lcp(node_prefix(node), node->plen, fresh->key,
                                   fresh->size);
    const struct kv_prefix prefix = {
        .p = node_prefix(node), .size = plen, .own = plen > 0};

    if (!kv_tree_fresh_blob(store, node, plen, fresh))
        return false;
    const uint32_t live = (uint32_t)sizeof(*node) + plen +
                          kv_node_items_size(node, 0, node->n, plen) +
                          kv_node_fresh_size(node, fresh, plen);
    if (live <= KV_LEAF_MAX)
        return tree_rebuild(store, root, path, d, index, fresh, false, &prefix,
                            live);
    const struct tree_sequence seq = {.node = node,
                                      .fresh = fresh,
                                      .index = index,
                                      .count = node->n + 1u,
                                      .plen = plen};
    *split = true;
    return kv_tree_split(store, root, path, d, &seq, up, key_buffer);
}

/* Insert the fresh entry into node number d: in place, into a larger node, or
 * by a split, whose second half *up must go one level up (*split). */
static bool tree_insert_at(struct kv_store *store, struct kv_node **root,
                           struct kv_path *path, unsigned d, uint32_t index,
                           struct kv_fresh *fresh, bool replace,
                           struct kv_fresh *up, uint8_t *key_buffer,
                           bool *split)
{
    struct kv_node *const node = path->at[d].node;
    bool done = false;

    *split = false;
    if (node_outside(node, fresh->key, fresh->size))
        return tree_insert_outside(store, root, path, d, index, fresh, up,
                                   key_buffer, split);
    if (fresh->keyblob == NULL &&
        !kv_tree_fresh_blob(store, node, node->plen, fresh))
        return false;
    const uint32_t need = kv_node_fresh_size(node, fresh, node->plen);
    uint32_t live = node_live(node) + need;
    if (!replace && node_free(node) >= need) {
        kv_node_insert(store, node, index, fresh, need, true);
        return true;
    }
    if (!replace && live + node->garb <= KV_LEAF_MAX &&
        node->garb <= node->used / 8) {
        if (d == 0 && !tree_tighten(store, root, path, index, fresh, &done))
            return false;
        if (done)
            return true;
        if (!tree_enlarge(store, root, path, d, index, need))
            return false;
        kv_node_insert(store, path->at[d].node, index, fresh, need, false);
        return true;
    }
    if (replace)
        live -= kv_node_item_size(node, index, node->plen);
    const struct kv_prefix prefix = node_prefix_of(node);
    if (live <= KV_LEAF_MAX)
        return tree_rebuild(store, root, path, d, index, fresh, replace,
                            &prefix, live);
    const struct tree_sequence seq = {.node = node,
                                      .fresh = fresh,
                                      .index = index,
                                      .count = node->n + (replace ? 0u : 1u),
                                      .bytes = live - node->plen -
                                               (uint32_t)sizeof(*node),
                                      .plen = node->plen,
                                      .replace = replace};
    *split = true;
    return kv_tree_split(store, root, path, d, &seq, up, key_buffer);
}

/* Carry a split of node number d upwards until a parent has room. *d is the
 * level whose ancestors still count the old way. */
static bool tree_carry(struct kv_store *store, struct kv_node **root,
                       struct kv_path *path, unsigned *d, struct kv_fresh *up,
                       uint8_t *key_buffer)
{
    uint8_t other_buffer[KV_KEY_BUFFER];
    uint8_t *mine = key_buffer, *other = other_buffer;
    bool split = true;

    while (split && *d > 0) {
        const unsigned parent = --*d;
        const uint32_t index = path->at[parent].index;
        struct kv_fresh next = {.key = NULL};

        kv_tree_slot_update(store,
                         &inner_slots(path->at[parent].node)[index]);
        if (!tree_insert_at(store, root, path, parent, index + 1, up, false,
                            &next, other, &split))
            return false;
        if (split) {
            *up = next;
            uint8_t *const swap = mine;
            mine = other;
            other = swap;
        }
    }
    if (!split)
        return true;
    const struct kv_node like = {.level = (uint8_t)((*root)->level + 1)};
    return kv_tree_fresh_blob(store, &like, 0, up) &&
           tree_grow_root(store, root, up);
}

/* Overwrite the entry's cell `old`, whose bytes begin at `tail`, in place when
 * nothing but its bytes changes. */
static bool tree_overwrite(struct kv_store *store, struct kv_node *leaf,
                           uint32_t index, const uint8_t *tail,
                           const struct kv_cell *old,
                           const struct kv_cell *cell)
{
    uint8_t *const e =
        (uint8_t *)leaf + leaf->cap - leaf_slots(leaf)[index].off;
    uint8_t *const place = e + (tail - e);
    const uint8_t meta =
        (uint8_t)(cell_meta(cell) | (e[1] & META_KEYBLOB));
    const bool typed = node_typed(leaf);
    const uint8_t type = cell_type(cell);
    const bool alike = meta == e[1] && (!typed || type == e[2]);
    /* of the same form the size of the payload tells that of the tail */
    if (alike ? cell->size != old->size
              : cell_tail_size(cell) != cell_tail_size(old))
        return false;
    if (!alike) {
        kv_edit(store, e + 1, typed ? 2 : 1);
        e[1] = meta;
        if (typed)
            e[2] = type;
    }
    const uint32_t size = cell_tail_size(cell);
    if (size > 0) { /* a member that is there already has nothing to write */
        kv_edit(store, place, size);
        cell_write_tail(place, cell);
    }
    return true;
}

/* Replace the entry in place with a longer or shorter one if the heap has
 * room: append the new bytes, leave the old as garbage. */
static bool tree_replace_in_heap(struct kv_store *store, struct kv_node *leaf,
                                 uint32_t index, const struct kv_fresh *fresh)
{
    const uint32_t slot_size = (uint32_t)sizeof(struct kv_leaf_slot);
    const uint32_t need =
        kv_node_fresh_size(leaf, fresh, leaf->plen) - slot_size;
    const uint32_t old = kv_node_item_size(leaf, index, leaf->plen) - slot_size;

    if (node_free(leaf) < need)
        return false;
    struct kv_entry entry;
    entry_open(leaf, index, &entry);
    const uint32_t frame = (uint32_t)(entry.tail - entry.start);
    kv_edit(store, leaf, sizeof(*leaf)); /* I5 */
    kv_edit(store, &leaf_slots(leaf)[index], slot_size);
    leaf->used = (uint16_t)(leaf->used + need);
    leaf->garb = (uint16_t)(leaf->garb + old);
    uint8_t *const p = (uint8_t *)leaf + leaf->cap - leaf->used;
    memcpy(p, entry.start, frame);
    p[1] = (uint8_t)(cell_meta(fresh->cell) | (p[1] & META_KEYBLOB));
    if (node_typed(leaf))
        p[2] = cell_type(fresh->cell);
    cell_write_tail(p + frame, fresh->cell);
    leaf_slots(leaf)[index].off = leaf->used;
    return true;
}

/* Make the entry longer where it is: what lies below it in the heap makes room.
 * Bytes that others point to would move, so only a replay does that, which points
 * to none but the cell's. It saves the garbage, and the rebuilding of the leaf. */
KV_NOINLINE static bool tree_grow_entry(struct kv_store *store,
                                        struct kv_node *leaf, uint32_t index,
                                        const uint8_t *tail,
                                        const struct kv_cell *old,
                                        const struct kv_cell *cell)
{
    struct kv_leaf_slot *const slot = leaf_slots(leaf);
    const uint32_t off = slot[index].off, n = leaf->n;
    const uint8_t *const e = entry_at(leaf, off);
    uint8_t *const low = (uint8_t *)leaf + leaf->cap - leaf->used;
    const uint32_t size = cell_tail_size(cell), was = cell_tail_size(old);
    const uint32_t front = (uint32_t)(tail - low), more = size - was;
    const uintptr_t at = (uintptr_t)cell->payload, block = (uintptr_t)leaf;

    if (size <= was || node_free(leaf) < more || cell->lru != NULL ||
        (uint8_t)(cell_meta(cell) | (e[1] & META_KEYBLOB)) != e[1] ||
        (node_typed(leaf) && cell_type(cell) != e[2]) ||
        (at >= block && at < block + leaf->cap))
        return false;
    kv_edit(store, leaf, sizeof(*leaf) + n * sizeof(*slot)); /* I5 */
    kv_edit(store, low, front + was);
    memmove(low - more, low, front);
    cell_write_tail(low + front - more, cell);
    for (uint32_t i = 0; i < n; i++)
        slot[i].off = (uint16_t)(slot[i].off + (slot[i].off >= off ? more : 0));
    leaf->used = (uint16_t)(leaf->used + more);
    KV_PROBE("tree: an entry grew where it was");
    return true;
}

static bool tree_first(struct kv_store *store, struct kv_node **root,
                       uint8_t flags, const uint8_t *key, uint32_t size,
                       const struct kv_cell *cell)
{
    const struct kv_node like = {.level = 0, .flags = flags};
    struct kv_fresh fresh = {.key = key, .size = size, .cell = cell};

    if (!kv_tree_fresh_blob(store, &like, 0, &fresh))
        return false;
    struct kv_node *const leaf = kv_node_make(
        store, &like, &tree_bare, kv_node_fresh_size(&like, &fresh, 0));
    if (leaf == NULL)
        return false;
    kv_node_insert(store, leaf, 0, &fresh, kv_node_fresh_size(leaf, &fresh, 0),
                   false);
    kv_edit_ptr(store, root, leaf);
    return true;
}

/* The fresh entry does not fit where the path leads: into a larger leaf, or two.
 * *d is the level whose ancestors still count the old way. */
static bool tree_put_moved(struct kv_store *store, struct kv_node **root,
                           struct kv_path *path, unsigned *d,
                           struct kv_fresh *fresh)
{
    uint8_t key_buffer[KV_KEY_BUFFER];
    struct kv_fresh up = {.key = NULL};
    bool split = false;

    return tree_insert_at(store, root, path, *d, path->at[*d].index, fresh,
                          path->found, &up, key_buffer, &split) &&
           (!split || tree_carry(store, root, path, d, &up, key_buffer));
}

/* Put the cell at the end of the path: over the entry there, which is too short
 * or too long for it, or (!path->found) as a new one. */
static bool tree_put_entry(struct kv_store *store, struct kv_node **root,
                           struct kv_path *path, const uint8_t *key,
                           uint32_t size, const struct kv_cell *cell)
{
    struct kv_fresh fresh = {.key = key, .size = size, .cell = cell};
    unsigned d = path->depth - 1;
    struct kv_node *const leaf = path->at[d].node;
    const uint32_t index = path->at[d].index;
    const uint8_t types =
        (uint8_t)(node_typed(leaf) ? 1u << cell->type : 0);
    const uint64_t bound = tree_cell_bound(leaf->flags, cell);
    bool done = false;

    if (path->found) {
        /* the blob is shared with the entry that goes: only read here */
        fresh.keyblob = entry_keyblob(leaf, index);
        done = tree_replace_in_heap(store, leaf, index, &fresh);
    } else if (!node_outside(leaf, key, size)) {
        if (!kv_tree_fresh_blob(store, leaf, leaf->plen, &fresh))
            return false;
        const uint32_t need = kv_node_fresh_size(leaf, &fresh, leaf->plen);
        done = node_free(leaf) >= need;
        if (done)
            kv_node_insert(store, leaf, index, &fresh, need, true);
    }
    if (!done && !tree_put_moved(store, root, path, &d, &fresh))
        return false;
    store->running = path->at[path->depth - 1].node->run >= NODE_RUN;
    kv_tree_add_up(store, path, d, path->found ? 0 : 1, types, bound);
    return true;
}

/* Insert or replace where the owned path leads. */
static bool tree_put_at(struct kv_store *store, struct kv_node **root,
                        struct kv_path *path, const uint8_t *key,
                        uint32_t size, const struct kv_cell *cell,
                        struct kv_cell *old)
{
    if (!path->found)
        return tree_put_entry(store, root, path, key, size, cell);
    store->running = false;
    struct kv_node *const leaf = path->at[path->depth - 1].node;
    const uint32_t index = path->at[path->depth - 1].index;
    const uint8_t *const tail = entry_cell(leaf, index, old);
    if (!tree_overwrite(store, leaf, index, tail, old, cell) &&
        !(KV_UNLIKELY(store->txn.numbered) &&
          tree_grow_entry(store, leaf, index, tail, old, cell)))
        return tree_put_entry(store, root, path, key, size, cell);
    if (old->type != cell->type || cell->exp != 0 || cell->type == KV_HASH)
        kv_tree_add_up(store, path, path->depth - 1, 0,
                    (uint8_t)(node_typed(leaf) ? 1u << cell->type : 0),
                    tree_cell_bound(leaf->flags, cell));
    return true;
}

bool kv_tree_put(struct kv_store *store, struct kv_node **root, uint8_t flags,
                 const uint8_t *key, uint32_t size, const struct kv_cell *cell,
                 struct kv_cell *old, bool *found)
{
    struct kv_path path;

    *found = false;
    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
    if (*root == NULL)
        return tree_first(store, root, flags, key, size, cell);
    if (!kv_tree_descend(store, root, key, size, &path))
        return false;
    *found = path.found;
    return tree_put_at(store, root, &path, key, size, cell, old);
}

bool kv_tree_put_at(struct kv_store *store, struct kv_node **root,
                    struct kv_path *path, const uint8_t *key, uint32_t size,
                    const struct kv_cell *cell, struct kv_cell *old)
{
    return kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS) &&
           tree_put_at(store, root, path, key, size, cell, old);
}
