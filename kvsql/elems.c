/* elems.c - reading the elements of collections: lookups, ranks, cursors, for
 * the packed and the tree form alike.
 *
 * Expired fields of hashes are invisible. A zset by score walks root[2], whose
 * keys are 8 order-preserving bytes of the score and the member (EN3).
 *
 * Thread: any on a view; on a txn the holder of the store lock. */
#include <string.h>

#include "kvsql/packed.h"
#include "kvsql/plist.h"
#include "kvsql/store_private.h"

static bool elems_expired(const struct kv_at *at, uint64_t deadline)
{
    return deadline != 0 && deadline <= at->now;
}

static void elems_from_packed(const struct kv_at *at, enum kv_type type,
                              const struct kv_packed_item *item,
                              struct kv_elem *out)
{
    const struct kv_val *const from = &item->key;
    struct kv_val *const to = type == KV_LIST ? &out->value : &out->key;

    *to = *from;
    if (from->p == (const uint8_t *)from->scratch)
        to->p = (const uint8_t *)to->scratch;
    if (type == KV_HASH) {
        out->value = item->value;
        if (item->value.p == (const uint8_t *)item->value.scratch)
            out->value.p = (const uint8_t *)out->value.scratch;
    }
    out->score = item->score;
    out->expires_at = kv_time_show(item->deadline, at->skew);
}

static void elems_from_cell(const struct kv_at *at, enum kv_type type,
                            const struct kv_cell *cell, struct kv_elem *out)
{
    if (type == KV_HASH) {
        kv_cell_read(cell, &out->value);
        out->expires_at = kv_time_show(cell->exp, at->skew);
    } else if (type == KV_ZSET) {
        out->score = kv_score_read(cell->payload);
    }
}

static void elems_key(struct kv_elem *out, const struct kv_key *key)
{
    kv_val_bytes(&out->key, key->p, key->size, key->cls, false);
}

/* Does the hash have a field that is still there? Asked only when one of them
 * is due. */
static bool elems_any_field(const struct kv_cell *cell, uint64_t now)
{
    const struct kv_at at = {.now = now};
    struct kv_elems elems;
    struct kv_item item;

    kv_item_of(cell, 0, &item);
    kv_elems_init(&elems, &at, &item, KV_ELEMS_KEY);
    return kv_elems_first(&elems);
}

bool kv_cell_due(const struct kv_cell *cell, uint64_t now)
{
    if (cell->exp != 0 && cell->exp <= now)
        return true;
    return cell->type == KV_HASH && kv_cell_field_bound(cell) <= now >> 6 &&
           !elems_any_field(cell, now);
}

bool kv_entry_due(const struct kv_node *leaf, uint32_t index, uint64_t now)
{
    struct kv_cell cell;

    entry_cell(leaf, index, &cell);
    return kv_cell_due(&cell, now);
}

bool kv_elem_find(const struct kv_at *at, const struct kv_item *item,
                  const struct kv_key *key, struct kv_elem *out)
{
    struct kv_packed_item packed;
    const struct kv_node *leaf;
    struct kv_cell cell;
    uint32_t index;

    KV_ASSERT(item->type == KV_HASH || item->type == KV_SET ||
              item->type == KV_ZSET);
    if (item->form != KV_FORM_TREE) {
        if (!kv_packed_find(item->type, item->payload, item->payload_size, key,
                            &packed) ||
            elems_expired(at, packed.deadline))
            return false;
        if (out != NULL)
            elems_from_packed(at, item->type, &packed, out);
        return true;
    }
    if (!kv_tree_find(item->tree->root[key->cls], key->p, key->size, &leaf,
                      &index))
        return false;
    entry_cell(leaf, index, &cell);
    if (elems_expired(at, cell.exp))
        return false;
    if (out != NULL) {
        elems_key(out, key);
        elems_from_cell(at, item->type, &cell, out);
    }
    return true;
}

void kv_look_elems(const struct kv_item *item, const struct kv_key *keys,
                   bool *there, unsigned n)
{
    if (item->form == KV_FORM_TREE && item->type != KV_LIST)
        kv_look_roots(item->tree->root, keys, there, n);
    else
        memset(there, false, n * sizeof(*there));
}

bool kv_elem_at(const struct kv_at *at, const struct kv_item *item,
                uint64_t index, struct kv_elem *out)
{
    struct kv_packed_item packed;

    KV_ASSERT(item->type == KV_LIST);
    out->index = index;
    out->expires_at = 0;
    if (item->form == KV_FORM_TREE)
        return kv_plist_get(item->tree, index, &out->value);
    if (index >= kv_packed_count(item->payload) ||
        !kv_packed_index(KV_LIST, item->payload, item->payload_size,
                         (uint32_t)index, &packed))
        return false;
    elems_from_packed(at, KV_LIST, &packed, out);
    return true;
}

/* Rank in root[2] of the place (score, member). */
static uint64_t elems_score_place(const struct kv_tree *tree, double score,
                                  const struct kv_key *member)
{
    uint8_t small[KV_SCORE_SIZE + KV_KEY_BUFFER];
    bool found;

    /* a member that does not fit in the buffer is compared by its beginning:
     * then walk on to it */
    const uint32_t n =
        member->size <= KV_KEY_BUFFER ? member->size : KV_KEY_BUFFER;
    kv_score_key(small, score);
    if (n > 0)
        memcpy(small + KV_SCORE_SIZE, member->p, n);
    uint64_t rank =
        kv_tree_rank(tree->root[2], small, KV_SCORE_SIZE + n, &found);
    if (n == member->size)
        return rank;
    struct kv_walk walk = {.root = {tree->root[2], NULL}};
    for (bool ok = kv_walk_rank(&walk, rank); ok; ok = kv_walk_next(&walk)) {
        uint8_t buffer[KV_KEY_BUFFER];
        uint32_t size;
        bool stable;
        const uint8_t *const key = kv_tree_key(
            kv_walk_leaf(&walk), kv_walk_index(&walk), buffer, &size, &stable);
        if (size == KV_SCORE_SIZE + member->size &&
            memcmp(key, small, KV_SCORE_SIZE) == 0 &&
            memcmp(key + KV_SCORE_SIZE, member->p, member->size) == 0)
            break;
        rank++;
    }
    return rank;
}

bool kv_elem_rank(const struct kv_at *at, const struct kv_item *item,
                  const struct kv_key *member, uint64_t *rank)
{
    struct kv_packed_item packed;
    struct kv_elem elem;
    uint32_t offset = 2;

    KV_ASSERT(item->type == KV_ZSET);
    if (item->form == KV_FORM_TREE) {
        if (!kv_elem_find(at, item, member, &elem))
            return false;
        *rank = elems_score_place(item->tree, elem.score, member);
        return true;
    }
    for (*rank = 0; kv_packed_at(KV_ZSET, item->payload, item->payload_size,
                                 offset, &packed);
         ++*rank) {
        if (packed.key.size == member->size &&
            memcmp(packed.key.p, member->p, member->size) == 0)
            return true;
        offset = packed.next;
    }
    return false;
}

uint64_t kv_elem_score_rank(const struct kv_at *at, const struct kv_item *item,
                            double score, bool inclusive)
{
    struct kv_packed_item packed;
    uint8_t key[KV_SCORE_SIZE];
    uint32_t offset = 2;
    uint64_t rank = 0;
    bool found;

    (void)at;
    if (item->form != KV_FORM_TREE) {
        while (kv_packed_at(KV_ZSET, item->payload, item->payload_size, offset,
                            &packed) &&
               (packed.score < score ||
                (inclusive && packed.score == score))) {
            rank++;
            offset = packed.next;
        }
        return rank;
    }
    kv_score_key(key, score);
    if (inclusive) { /* the next score's bytes; past +inf nothing follows */
        unsigned i = KV_SCORE_SIZE;
        while (i-- > 0 && ++key[i] == 0)
            continue;
    }
    return kv_tree_rank(item->tree->root[2], key, KV_SCORE_SIZE, &found);
}

uint64_t kv_elem_key_rank(const struct kv_at *at, const struct kv_item *item,
                          const struct kv_key *key)
{
    bool found;

    if (item->form == KV_FORM_TREE) {
        const uint64_t rank = kv_tree_rank(item->tree->root[key->cls], key->p,
                                           key->size, &found);
        return rank + (key->cls == KV_BLOB ? item->tree->count[0] : 0);
    }
    struct kv_elems elems;
    uint64_t rank = 0;
    kv_elems_init(&elems, at, item, KV_ELEMS_KEY);
    for (bool ok = kv_elems_first(&elems); ok; ok = kv_elems_next(&elems)) {
        const struct kv_key mine = {.p = elems.elem.key.p,
                                    .size = elems.elem.key.size,
                                    .cls = elems.elem.key.cls};
        if (kv_key_compare(&mine, key) >= 0)
            break;
        rank++;
    }
    return rank;
}

/* ---- cursor ----------------------------------------------------------------- */

void kv_elems_init(struct kv_elems *elems, const struct kv_at *at,
                   const struct kv_item *item, enum kv_elem_order order)
{
    elems->at = *at;
    elems->item = *item;
    elems->order = order;
    elems->valid = false;
    elems->packed_count = elems->packed_index = 0;
    elems->index = 0;
    elems->leaf_offset = 0;
    elems->elem.score = 0;
    elems->elem.expires_at = 0;
    elems->elem.index = 0;
    kv_val_bytes(&elems->elem.key, (const uint8_t *)"", 0, KV_TEXT, true);
    kv_val_bytes(&elems->elem.value, (const uint8_t *)"", 0, KV_TEXT, true);
    elems->walk = (struct kv_walk){.valid = false};
    if (item->form != KV_FORM_TREE) {
        elems->packed_count =
            kv_packed_sort(item->type, item->payload, item->payload_size,
                           order == KV_ELEMS_SCORE, elems->sorted);
    } else if (order == KV_ELEMS_SCORE) {
        elems->walk.root[0] = item->tree->root[2];
    } else if (order == KV_ELEMS_KEY) {
        elems->walk.root[0] = item->tree->root[0];
        elems->walk.root[1] = item->tree->root[1];
    }
}

static void elems_zero_sign(const struct kv_tree *tree, struct kv_elem *elem)
{
    const struct kv_node *leaf;
    struct kv_cell cell;
    uint32_t index;

    if (kv_tree_find(tree->root[elem->key.cls], elem->key.p, elem->key.size,
                     &leaf, &index)) {
        entry_cell(leaf, index, &cell);
        elem->score = kv_score_read(cell.payload);
    }
}

static bool elems_fill_walk(struct kv_elems *elems)
{
    const struct kv_node *const leaf = kv_walk_leaf(&elems->walk);
    const uint32_t index = kv_walk_index(&elems->walk);
    struct kv_elem *const out = &elems->elem;
    struct kv_cell cell;
    uint32_t size;
    bool stable;
    const uint8_t *key =
        kv_tree_key(leaf, index, elems->buffer, &size, &stable);

    if (elems->order == KV_ELEMS_SCORE) {
        out->score = kv_score_of_key(key);
        kv_val_bytes(&out->key, key + KV_SCORE_SIZE, size - KV_SCORE_SIZE,
                     (uint8_t)kv_class_of(key + KV_SCORE_SIZE, size - KV_SCORE_SIZE),
                     stable);
        if (out->score == 0) /* the member tree keeps the sign (EN3) */
            elems_zero_sign(elems->item.tree, out);
    } else if (elems->item.type == KV_SET) { /* its entries are keys */
        kv_val_bytes(&out->key, key, size, elems->walk.which, stable);
    } else {
        entry_cell(leaf, index, &cell);
        if (elems_expired(&elems->at, cell.exp))
            return false;
        kv_val_bytes(&out->key, key, size, elems->walk.which, stable);
        elems_from_cell(&elems->at, elems->item.type, &cell, out);
    }
    if (!stable)
        elems->buffer[size] = 0;
    return true;
}

static bool elems_fill_packed(struct kv_elems *elems)
{
    struct kv_packed_item packed;

    if (!kv_packed_at(elems->item.type, elems->item.payload,
                      elems->item.payload_size,
                      elems->sorted[elems->packed_index], &packed) ||
        elems_expired(&elems->at, packed.deadline))
        return false;
    elems_from_packed(&elems->at, elems->item.type, &packed, &elems->elem);
    elems->elem.index = elems->packed_index;
    return true;
}

static bool elems_fill_list(struct kv_elems *elems)
{
    kv_plist_item(&elems->walk, elems->leaf_offset, &elems->elem.value);
    elems->elem.index = elems->index;
    return true;
}

static bool elems_is_packed(const struct kv_elems *elems)
{
    return elems->item.form != KV_FORM_TREE;
}

static bool elems_is_list(const struct kv_elems *elems)
{
    return elems->order == KV_ELEMS_INDEX && !elems_is_packed(elems);
}

/* One step; false at the end. */
static bool elems_step(struct kv_elems *elems, bool forward)
{
    if (elems_is_packed(elems)) {
        if (forward ? elems->packed_index + 1 >= elems->packed_count
                    : elems->packed_index == 0)
            return false;
        elems->packed_index += forward ? 1u : (uint32_t)-1;
        return true;
    }
    if (elems_is_list(elems)) {
        if (!(forward ? kv_plist_next(&elems->walk, &elems->leaf_offset)
                      : kv_plist_prev(&elems->walk, &elems->leaf_offset)))
            return false;
        elems->index += forward ? 1u : UINT64_MAX;
        return true;
    }
    return forward ? kv_walk_next(&elems->walk) : kv_walk_prev(&elems->walk);
}

/* The cursor stands somewhere (or not, `ok`): fill, skipping expired fields. */
static bool elems_settle(struct kv_elems *elems, bool ok, bool forward)
{
    while (ok) {
        const bool filled = elems_is_packed(elems) ? elems_fill_packed(elems)
                            : elems_is_list(elems) ? elems_fill_list(elems)
                                                   : elems_fill_walk(elems);
        if (filled)
            return elems->valid = true;
        ok = elems_step(elems, forward);
    }
    return elems->valid = false;
}

bool kv_elems_seek_rank(struct kv_elems *elems, uint64_t rank)
{
    bool ok;

    if (elems_is_packed(elems)) {
        ok = rank < elems->packed_count;
        elems->packed_index = (uint32_t)rank;
    } else if (elems_is_list(elems)) {
        ok = kv_plist_seek(elems->item.tree, rank, &elems->walk,
                           &elems->leaf_offset);
        elems->index = rank;
    } else {
        ok = kv_walk_rank(&elems->walk, rank);
    }
    return elems_settle(elems, ok, true);
}

bool kv_elems_first(struct kv_elems *elems)
{
    if (elems_is_packed(elems) || elems_is_list(elems))
        return kv_elems_seek_rank(elems, 0);
    return elems_settle(elems, kv_walk_first(&elems->walk), true);
}

bool kv_elems_last(struct kv_elems *elems)
{
    const uint64_t count = kv_item_length(&elems->item);
    bool ok = count > 0;

    if (elems_is_packed(elems)) {
        elems->packed_index = elems->packed_count - 1;
    } else if (elems_is_list(elems)) {
        elems->index = count - 1;
        ok = ok && kv_plist_seek(elems->item.tree, count - 1, &elems->walk,
                                 &elems->leaf_offset);
    } else {
        ok = kv_walk_last(&elems->walk);
    }
    return elems_settle(elems, ok, false);
}

bool kv_elems_next(struct kv_elems *elems)
{
    return elems->valid && elems_settle(elems, elems_step(elems, true), true);
}

bool kv_elems_prev(struct kv_elems *elems)
{
    return elems->valid &&
           elems_settle(elems, elems_step(elems, false), false);
}

uint32_t kv_elems_values(struct kv_elems *elems, struct kv_val *out,
                         uint32_t max)
{
    uint32_t count = 0;

    KV_ASSERT(elems->order == KV_ELEMS_INDEX);
    if (!elems->valid)
        return 0;
    if (elems_is_list(elems)) {
        count = kv_plist_read(&elems->walk, &elems->leaf_offset, out, max);
        elems->index += count;
        (void)elems_settle(elems, elems->walk.valid, true);
        return count;
    }
    const uint32_t left = elems->packed_count - elems->packed_index;
    const uint8_t *p = elems->item.payload + elems->sorted[elems->packed_index];
    for (; count < left && count < max; count++)
        p += kv_packed_item_read(p, &out[count]);
    elems->packed_index += count;
    (void)elems_settle(elems, count < left, true);
    return count;
}

/* Packed, KEY order: number of elements before `key`, and whether the next one
 * equals it. */
static uint32_t elems_packed_place(struct kv_elems *elems,
                                   const struct kv_key *key, bool *equal)
{
    uint32_t low = 0, high = elems->packed_count;
    struct kv_packed_item packed;

    *equal = false;
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        (void)kv_packed_at(elems->item.type, elems->item.payload,
                           elems->item.payload_size, elems->sorted[mid],
                           &packed);
        const struct kv_key mine = {.p = packed.key.p,
                                    .size = packed.key.size,
                                    .cls = packed.key.cls};
        const int c = kv_key_compare(&mine, key);
        if (c < 0) {
            low = mid + 1;
        } else {
            *equal = *equal || c == 0;
            high = mid;
        }
    }
    return low;
}

bool kv_elems_seek_key(struct kv_elems *elems, const struct kv_key *key,
                       bool after)
{
    bool equal, ok;

    KV_ASSERT(elems->order == KV_ELEMS_KEY);
    if (elems_is_packed(elems)) {
        uint32_t at = elems_packed_place(elems, key, &equal);
        if (equal && after)
            at++;
        elems->packed_index = at;
        ok = at < elems->packed_count;
    } else {
        ok = kv_walk_seek(&elems->walk, key->cls, key->p, key->size, after);
    }
    return elems_settle(elems, ok, true);
}

bool kv_elems_seek_key_back(struct kv_elems *elems, const struct kv_key *key,
                            bool before)
{
    bool equal, ok;

    KV_ASSERT(elems->order == KV_ELEMS_KEY);
    if (elems_is_packed(elems)) {
        uint32_t at = elems_packed_place(elems, key, &equal);
        if (equal && !before)
            at++;
        ok = at > 0;
        elems->packed_index = ok ? at - 1 : 0;
    } else {
        ok = kv_walk_seek_back(&elems->walk, key->cls, key->p, key->size,
                               before);
    }
    return elems_settle(elems, ok, false);
}
