/* deadline.c - deadlines: removing what has expired (DL4), and keys in order of
 * deadline (DL5).
 *
 * Every slot on the way carries a lower bound of the deadlines below, so both
 * go straight to what they want. A bound may be too low (a deadline was raised
 * or removed); the removal computes such bounds anew when it meets them.
 *
 * Thread: kv_expire_some the keeper; kv_deadlines as reading. */
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/collection.h"
#include "kvsql/node_ops.h"

#define EXPIRE_KEYS_MAX 256   /* keys of one batch */
#define EXPIRE_FIELDS_MAX 256 /* fields of one visit of a hash */

struct deadline_place {
    const struct kv_node *leaf;
    uint32_t index;
    bool stale; /* the bound was too low: nothing below is due */
};

/* The first entry below root with a bound under the limit. */
static bool deadline_find(const struct kv_node *root, uint64_t limit,
                          struct deadline_place *place)
{
    const struct kv_node *node = root;

    place->stale = false;
    while (node != NULL && node->level > 0) {
        uint32_t i = 0;
        while (i < node->n &&
               bound_get(inner_slots(node)[i].min_exp) >= limit)
            i++;
        if (i == node->n) {
            if (node == root)
                return false;
            place->stale = true;
            i = 0;
            limit = BOUND_NONE;
        }
        node = inner_slots(node)[i].child;
    }
    if (node == NULL || node->n == 0)
        return false;
    place->leaf = node;
    for (uint32_t i = 0; !place->stale && i < node->n; i++) {
        if (kv_entry_bound(node, i) < limit) {
            place->index = i;
            return true;
        }
    }
    place->stale = true;
    place->index = 0;
    return node != root;
}

static bool deadline_rebound(struct kv_store *store, struct kv_node **root,
                             const struct kv_key *key)
{
    struct kv_path path;

    if (*root == NULL)
        return true;
    if (!kv_tree_own(store, root, key->p, key->size, &path))
        return false;
    kv_tree_rebound(store, &path);
    return true;
}

/* ---- fields ------------------------------------------------------------------ */

/* Key of an expired field of the hash, into buffer; false: none is due. */
static bool deadline_packed_field(const uint8_t *run, uint32_t size,
                                  uint64_t now, struct kv_key *field,
                                  uint8_t *buffer)
{
    struct kv_packed_item item;
    uint32_t offset = 2;

    while (kv_packed_at(KV_HASH, run, size, offset, &item)) {
        if (item.deadline != 0 && item.deadline <= now) {
            memcpy(buffer, item.key.p, item.key.size);
            *field = (struct kv_key){.p = buffer,
                                     .size = item.key.size,
                                     .cls = item.key.cls};
            return true;
        }
        offset = item.next;
    }
    return false;
}

/* Bounds inside the hash's tree, then the tree's own. */
static bool deadline_tree_rebound(struct kv_txn *txn, const struct kv_key *key)
{
    const uint64_t none = (UINT64_C(1) << 48) - 1;
    struct kv_collection c = {.txn = txn, .key = key, .type = KV_HASH};

    c.exists = kv_key_find(txn->store, key, &c.cell);
    if (!c.exists || c.cell.form != KV_FORM_TREE)
        return true;
    if (!kv_collection_own_path(&c))
        return false;
    uint64_t bound = kv_tree_bound(c.tree->root[0]);
    const uint64_t blob = kv_tree_bound(c.tree->root[1]);
    if (blob < bound)
        bound = blob;
    kv_edit(txn->store, (uint8_t *)c.tree + sizeof(*c.tree) - 8, 8);
    c.tree->min_exp = bound == BOUND_NONE ? none : bound << 6;
    return true;
}

static kvsql_rc deadline_tree_fields(struct kv_txn *txn,
                                     const struct kv_key *key, uint64_t limit,
                                     struct kvsql_error *err)
{
    uint8_t buffer[KV_KEY_BUFFER];
    struct kv_collection c = {.txn = txn, .key = key, .type = KV_HASH};
    struct deadline_place place;
    bool stable;

    for (unsigned n = 0; n < EXPIRE_FIELDS_MAX; n++) {
        c.exists = kv_key_find(txn->store, key, &c.cell);
        if (!c.exists || c.cell.form != KV_FORM_TREE)
            return KVSQL_OK;
        const struct kv_tree *const tree = c.cell.ptr;
        struct kv_key field = {.cls = KV_TEXT};
        if (!deadline_find(tree->root[0], limit, &place)) {
            field.cls = KV_BLOB;
            if (!deadline_find(tree->root[1], limit, &place))
                break;
        }
        field.p = kv_node_key(place.leaf, place.index, buffer, &field.size,
                              &stable);
        if (!place.stale) {
            const kvsql_rc rc = kv_hdel(txn, key, &field, NULL, err);
            if (rc != KVSQL_OK)
                return rc;
            continue;
        }
        if (!kv_collection_own_path(&c) ||
            !deadline_rebound(txn->store, &c.tree->root[field.cls], &field))
            return kv_fail(err, KVSQL_NOMEM, "expiry: no memory");
    }
    if (!deadline_tree_rebound(txn, key))
        return kv_fail(err, KVSQL_NOMEM, "expiry: no memory");
    return KVSQL_OK;
}

static kvsql_rc deadline_fields(struct kv_txn *txn, const struct kv_key *key,
                                uint64_t limit, struct kvsql_error *err)
{
    uint8_t buffer[KV_KEY_BUFFER];
    struct kv_cell cell;
    struct kv_key field;
    uint32_t size;

    for (unsigned n = 0; n < EXPIRE_FIELDS_MAX; n++) {
        if (!kv_key_find(txn->store, key, &cell) || cell.type != KV_HASH)
            return KVSQL_OK;
        if (cell.form == KV_FORM_TREE)
            return deadline_tree_fields(txn, key, limit, err);
        const uint8_t *const run = kv_cell_run(&cell, &size);
        if (!deadline_packed_field(run, size, txn->now, &field, buffer))
            return KVSQL_OK;
        const kvsql_rc rc = kv_hdel(txn, key, &field, NULL, err);
        if (rc != KVSQL_OK)
            return rc;
    }
    return KVSQL_OK;
}

/* ---- the keeper's batch ----------------------------------------------------------- */

/* The answer of an entry that is due goes, and its bounds are made anew. */
static kvsql_rc deadline_answer(struct kv_txn *txn, unsigned cls,
                                const struct deadline_place *place,
                                struct kvsql_error *err)
{
    uint8_t buffer[KV_KEY_BUFFER], name[KV_ANSWER_NAME_MAX];
    struct kv_key key = {.cls = (uint8_t)cls};
    kvsql_rc rc = KVSQL_OK;
    bool stable;

    key.p = kv_node_key(place->leaf, place->index, buffer, &key.size, &stable);
    KV_ASSERT(key.size <= sizeof(name)); /* kv_answer_keep */
    memcpy(name, key.p, key.size);
    key.p = name;
    if (!place->stale)
        rc = kv_answer_keep(txn, kv_slice_of(&key), (kvsql_slice){"", 0}, 0,
                            err);
    if (rc != KVSQL_OK)
        return rc;
    struct kv_tree *const tree = kv_answers_own(txn->store);
    if (tree == NULL || !deadline_rebound(txn->store, &tree->root[cls], &key))
        return kv_fail(err, KVSQL_NOMEM, "expiry: no memory");
    return KVSQL_OK;
}

static bool deadline_answer_due(const struct kv_store *store, uint64_t limit,
                                unsigned *cls, struct deadline_place *place)
{
    const struct kv_tree *const tree = store->live.answers;

    for (*cls = 0; tree != NULL && *cls < 2; ++*cls)
        if (deadline_find(tree->root[*cls], limit, place))
            return true;
    return false;
}

/* Answers that are due (AN1); *more: some are left. */
static kvsql_rc deadline_answers(struct kv_txn *txn, uint64_t limit,
                                 bool *more, struct kvsql_error *err)
{
    struct deadline_place place;
    kvsql_rc rc = KVSQL_OK;
    unsigned cls;

    *more = false;
    for (unsigned n = 0;
         rc == KVSQL_OK && deadline_answer_due(txn->store, limit, &cls, &place);
         n++) {
        if (n == EXPIRE_KEYS_MAX) {
            *more = true;
            return KVSQL_OK;
        }
        rc = deadline_answer(txn, cls, &place, err);
    }
    return rc;
}

static bool deadline_due(const struct kv_store *store, uint64_t limit)
{
    struct deadline_place place;

    unsigned cls;

    return deadline_find(store->live.keys[0], limit, &place) ||
           deadline_find(store->live.keys[1], limit, &place) ||
           deadline_answer_due(store, limit, &cls, &place);
}

static kvsql_rc deadline_batch(struct kv_txn *txn, uint64_t limit,
                               bool *more, struct kvsql_error *err)
{
    struct kv_store *const store = txn->store;
    uint8_t *const buffer = kv_mem_alloc(KV_MEM_MISC, KVSQL_KEY_MAX + 1);
    struct deadline_place place;
    struct kv_cell cell;
    kvsql_rc rc = KVSQL_OK;
    bool exists, stable;

    *more = true;
    if (buffer == NULL)
        return kv_fail(err, KVSQL_NOMEM, "expiry: no memory");
    for (unsigned n = 0; rc == KVSQL_OK && n < EXPIRE_KEYS_MAX; n++) {
        struct kv_key key = {.cls = KV_TEXT};
        if (!deadline_find(store->live.keys[0], limit, &place)) {
            key.cls = KV_BLOB;
            *more = deadline_find(store->live.keys[1], limit, &place);
            if (!*more)
                break;
        }
        const uint8_t *const p = kv_node_key(place.leaf, place.index, buffer,
                                             &key.size, &stable);
        if (stable)
            memcpy(buffer, p, key.size);
        key.p = buffer;
        if (!place.stale) {
            rc = kv_change_find(txn, &key, KV_NONE, &exists, &cell, err);
            if (rc == KVSQL_OK && exists)
                rc = deadline_fields(txn, &key, limit, err);
        }
        if (rc == KVSQL_OK &&
            !deadline_rebound(store, &store->live.keys[key.cls], &key))
            rc = kv_fail(err, KVSQL_NOMEM, "expiry: no memory");
    }
    kv_mem_free(KV_MEM_MISC, buffer, KVSQL_KEY_MAX + 1);
    return rc;
}

bool kv_expire_pending(struct kv_store *store)
{
    int64_t skew;
    const uint64_t now = kv_store_clock(store, &skew);

    kv_lock_take(&store->lock);
    const bool pending = deadline_due(store, (now >> 6) + 1);
    kv_lock_drop(&store->lock);
    return pending;
}

bool kv_expire_some(struct kv_store *store)
{
    struct kvsql_error err;
    struct kv_txn *txn;
    int64_t skew;
    bool more = false, answers = false;

    /* a bound that does not fit is saturated: it tells nothing, so what it
     * stands for is hidden when due, not removed */
    uint64_t limit = kv_store_clock(store, &skew) >> 6;
    if (limit >= BOUND_NONE)
        limit = BOUND_NONE - 1;
    kv_lock_take(&store->lock);
    const bool due = deadline_due(store, limit);
    kv_lock_drop(&store->lock);
    if (!due || kv_txn_begin(store->db, true, 0, &txn, &err) != KVSQL_OK)
        return false;
    const uint64_t begun = kv_latency_begin(store); /* the lock is held */
    if (deadline_batch(txn, limit, &more, &err) != KVSQL_OK ||
        deadline_answers(txn, limit, &answers, &err) != KVSQL_OK) {
        kv_txn_rollback(txn); /* tried again at the next tick */
        return false;
    }
    txn->keep_bounds = true;
    kv_observe_upkeep(txn);
    const kvsql_rc rc = kv_txn_commit(txn, NULL, &err);
    kv_latency_end(store, KV_LATENCY_EXPIRE_CYCLE, begun);
    return rc == KVSQL_OK && (more || answers);
}

/* ---- keys in order of deadline (DL5) ------------------------------------------------ */

struct deadline_item {
    uint64_t due;               /* store time ms; of a subtree: its bound */
    const struct kv_node *node; /* subtree, or leaf of the entry */
    uint32_t index;             /* entry, or DEADLINE_SUBTREE */
    uint32_t cls;
};
#define DEADLINE_SUBTREE UINT32_MAX

static struct deadline_item *deadline_heap(struct kv_buf *buf)
{
    return (struct deadline_item *)(void *)buf->p;
}

/* True when a goes before b: a subtree before an entry of equal deadline, ties
 * of entries by key. */
static bool deadline_before(const struct deadline_item *a,
                            const struct deadline_item *b)
{
    uint8_t a_buffer[KV_KEY_BUFFER], b_buffer[KV_KEY_BUFFER];
    struct kv_key x = {.cls = (uint8_t)a->cls}, y = {.cls = (uint8_t)b->cls};
    bool stable;

    if (a->due != b->due)
        return a->due < b->due;
    if (a->index == DEADLINE_SUBTREE || b->index == DEADLINE_SUBTREE)
        return a->index == DEADLINE_SUBTREE;
    x.p = kv_node_key(a->node, a->index, a_buffer, &x.size, &stable);
    y.p = kv_node_key(b->node, b->index, b_buffer, &y.size, &stable);
    return kv_key_compare(&x, &y) < 0;
}

static void deadline_push(struct kv_buf *buf, const struct deadline_item *item)
{
    kv_buf_add(buf, item, sizeof(*item));
    if (buf->failed)
        return;
    struct deadline_item *const heap = deadline_heap(buf);
    size_t i = buf->size / sizeof(*item) - 1;
    while (i > 0 && deadline_before(&heap[i], &heap[(i - 1) / 2])) {
        const struct deadline_item swap = heap[i];
        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = swap;
        i = (i - 1) / 2;
    }
}

static bool deadline_pop(struct kv_buf *buf, struct deadline_item *out)
{
    struct deadline_item *const heap = deadline_heap(buf);
    size_t n = buf->size / sizeof(*out), i = 0;

    if (n == 0)
        return false;
    *out = heap[0];
    heap[0] = heap[--n];
    buf->size = n * sizeof(*out);
    for (;;) {
        size_t least = i;
        for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < n; k++)
            if (deadline_before(&heap[k], &heap[least]))
                least = k;
        if (least == i)
            return true;
        const struct deadline_item swap = heap[i];
        heap[i] = heap[least];
        heap[least] = swap;
        i = least;
    }
}

static void deadline_open(struct kv_buf *buf, const struct deadline_item *item,
                          uint64_t to)
{
    const struct kv_node *const node = item->node;
    struct kv_cell cell;

    for (uint32_t i = 0; i < node->n; i++) {
        struct deadline_item next = {.cls = item->cls, .node = node, .index = i};
        if (node->level > 0) {
            const uint64_t bound = bound_get(inner_slots(node)[i].min_exp);
            if (bound == BOUND_NONE || bound << 6 > to)
                continue;
            next.due = bound << 6;
            next.node = inner_slots(node)[i].child;
            next.index = DEADLINE_SUBTREE;
        } else {
            entry_cell(node, i, &cell);
            if (cell.exp == 0 || cell.exp > to)
                continue;
            next.due = cell.exp;
        }
        deadline_push(buf, &next);
    }
}

kvsql_rc kv_deadlines(const struct kv_at *at, int64_t from, int64_t to,
                      bool (*each)(void *arg, const struct kv_key *key,
                                   const struct kv_item *item),
                      void *arg, struct kvsql_error *err)
{
    uint8_t buffer[KV_KEY_BUFFER];
    struct deadline_item item;
    struct kv_buf heap;
    struct kv_cell cell;
    struct kv_item found;
    bool stable, go = true;
    const uint64_t low = from > 0 ? kv_time_keep(from, at->skew) : 1;
    const uint64_t high = to > 0 ? kv_time_keep(to, at->skew) : 0;

    kv_buf_init(&heap, KV_MEM_MISC, SIZE_MAX / 4);
    for (uint32_t cls = 0; cls < 2; cls++) {
        const struct deadline_item root = {
            .node = at->root->keys[cls], .index = DEADLINE_SUBTREE, .cls = cls};
        if (root.node != NULL)
            deadline_open(&heap, &root, high);
    }
    while (go && !heap.failed && deadline_pop(&heap, &item)) {
        if (item.index == DEADLINE_SUBTREE) {
            deadline_open(&heap, &item, high);
            continue;
        }
        if (item.due < low || item.due <= at->now)
            continue;
        struct kv_key key = {.cls = (uint8_t)item.cls};
        key.p = kv_node_key(item.node, item.index, buffer, &key.size, &stable);
        entry_cell(item.node, item.index, &cell);
        kv_item_of(&cell, at->skew, &found);
        go = each(arg, &key, &found);
    }
    const kvsql_rc rc = kv_buf_result(&heap, "keys by deadline", err);
    kv_buf_fini(&heap);
    return rc;
}
