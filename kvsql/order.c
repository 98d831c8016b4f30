/* order.c - sorted sets whose order waits for the end of a replay.
 *
 * A sorted set is two trees: its members with their scores, and scores with
 * members in order (EN3). While the wal is read back nobody asks for the order,
 * and to keep it is two thirds of what a change of a score costs: so a large set
 * that changes much lets its second tree go, and gets another when the last frame
 * is in. That is made of sorted scores: each goes behind the one before.
 *
 * To make a tree takes as long as some changes for each three members. How many are
 * to come is not known, so a set is let go by chance, the sooner the smaller it
 * is: it may be expected to have paid as much by then as the making takes, and
 * twice the least at most is paid in all.
 *
 * Always true:
 *   OR1  a set without order has members and no root[2]; only between the first
 *        kv_store_replay() and kv_store_replay_end() is there one.
 *   OR2  the blob of a long member (EN4) tells its score always.
 *
 * Thread: the one that replays. */
#include "kvsql/replay.h"

#include <string.h>

#include "kvsql/collection.h"
#include "kvsql/node_ops.h"
#include "kvsql/store_private.h"
#include "kvsql/tree.h"

#define ORDER_SET_MIN 512       /* members: below, its trees are in the cache */
#define ORDER_CHANCE 3          /* in as many changes as it has members */
#define ORDER_ITEMS_MAX (1u << 20) /* that are sorted at a time */
#define ORDER_ITEMS_MIN 256        /* when there is little memory */
#define ORDER_LOG_MAX (8u << 10)   /* bytes of undo log that stay in the cache */
#define ORDER_FREE 256             /* blocks that are freed at a time */
#define ORDER_AHEAD 12             /* members that are brought ahead */

/* ---- letting go ----------------------------------------------------------------- */

static void order_blob_bytes(void *arg, struct kv_blob *blob)
{
    *(uint64_t *)arg += kv_block_size(blob);
}

/* Bytes of the blocks that a tree by score has for itself. */
static uint64_t order_bytes(struct kv_node *root)
{
    uint64_t bytes = 0;
    const struct kv_below below = {.arg = &bytes, .blob = order_blob_bytes};
    struct kv_path path = {.depth = 1, .at = {{.node = root}}};

    while (path.depth > 0) {
        struct kv_node *const node = path.at[path.depth - 1].node;
        const uint32_t index = path.at[path.depth - 1].index++;
        if (node->level > 0 && index < node->n) {
            KV_ASSERT(path.depth < KV_HEIGHT_MAX);
            path.at[path.depth].node = kv_node_child(node, index);
            path.at[path.depth++].index = 0;
            continue;
        }
        kv_node_below(node, &below);
        bytes += node->cap;
        path.depth--;
    }
    return bytes;
}

static bool order_is_worth(const struct kv_txn *txn, const struct kv_tree *tree)
{
    const uint64_t count = tree->count[0] + tree->count[1];
    uint64_t dice = txn->store->pos + txn->count * UINT64_C(0x9e3779b97f4a7c15);

    if (count < ORDER_SET_MIN || txn->store->newest != NULL)
        return false;
    dice = (dice ^ dice >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return (dice >> 20) % count < ORDER_CHANCE;
}

bool kv_order_let_go(struct kv_txn *txn, struct kv_tree *tree)
{
    struct kv_store *const store = txn->store;

    if (kv_order_waits(tree) || !order_is_worth(txn, tree))
        return true;
    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return false;
    struct kv_tree *const gone = kv_tree_block_new(store);
    if (gone == NULL)
        return false;
    gone->root[2] = tree->root[2];
    gone->bytes = order_bytes(gone->root[2]);
    KV_ASSERT(gone->bytes < tree->bytes);
    kv_edit(store, &tree->bytes, sizeof(tree->bytes));
    tree->bytes -= gone->bytes;
    kv_edit_ptr(store, &tree->root[2], NULL);
    kv_retire_tree(store, gone);
    store->unordered = true;
    KV_PROBE("order: let go");
    return true;
}

/* ---- sorting ---------------------------------------------------------------------- */

struct order_item {
    uint64_t score; /* its order-preserving bytes, as a number */
    const struct kv_node *leaf; /* of members ... */
    uint32_t index;             /* ... and the place in it */
};

struct order {
    struct kv_store *store;
    struct kv_tree *tree;
    struct order_item *items, *spare; /* room for `cap` each */
    uint32_t cap, n;
    struct kv_path path; /* where the one before went */
    bool edge;           /* that is behind all, and the next may go there, too */
    const uint8_t *last; /* the key of the one before ... */
    uint32_t last_size;
    unsigned turn;       /* ... in this buffer, if in one */
    uint8_t buffer[2][KV_SCORE_SIZE + KV_KEY_BUFFER];
};

/* The members that come next, as many as there is room for; false: there are no
 * more. */
static bool order_collect(struct order *o, struct kv_walk *walk)
{
    for (o->n = 0; o->n < o->cap && walk->valid; (void)kv_walk_next(walk)) {
        struct order_item *const item = &o->items[o->n++];
        struct kv_cell cell;
        uint8_t score[KV_SCORE_SIZE];
        item->leaf = kv_walk_leaf(walk);
        item->index = kv_walk_index(walk);
        entry_cell(item->leaf, item->index, &cell);
        kv_score_key(score, kv_score_read(cell.payload));
        memcpy(&item->score, score, sizeof(score));
        item->score = __builtin_bswap64(item->score);
    }
    return o->n > 0;
}

/* One byte of the scores; those that are alike stay as they are. */
static void order_sort_byte(struct order *o, unsigned byte,
                            const uint32_t *counts)
{
    const unsigned shift = 8 * byte;
    uint32_t to[256], sum = 0;

    if (counts[o->items[0].score >> shift & 255] == o->n)
        return; /* all the same */
    for (unsigned i = 0; i < 256; i++) {
        to[i] = sum;
        sum += counts[i];
    }
    for (uint32_t i = 0; i < o->n; i++)
        o->spare[to[o->items[i].score >> shift & 255]++] = o->items[i];
    struct order_item *const swap = o->items;
    o->items = o->spare;
    o->spare = swap;
}

static void order_sort(struct order *o)
{
    uint32_t counts[8][256];

    memset(counts, 0, sizeof(counts));
    for (uint32_t i = 0; i < o->n; i++)
        for (unsigned byte = 0; byte < 8; byte++)
            counts[byte][o->items[i].score >> 8 * byte & 255]++;
    for (unsigned byte = 0; byte < 8; byte++)
        order_sort_byte(o, byte, counts[byte]);
}

/* ---- the tree made anew --------------------------------------------------------------- */

/* Score and member as they lie in the member's blob, or in a buffer that stays
 * until the next but one. */
static const uint8_t *order_key(struct order *o, const struct order_item *item,
                                uint32_t *size)
{
    uint8_t *const buffer = o->buffer[o->turn ^= 1];
    struct kv_entry entry;
    bool stable;

    entry_open(item->leaf, item->index, &entry);
    if (entry.keyblob != NULL) { /* OR2 */
        *size = entry.keyblob->len;
        return entry.keyblob->d;
    }
    (void)kv_node_key(item->leaf, item->index, buffer + KV_SCORE_SIZE, size,
                      &stable);
    const uint64_t score = __builtin_bswap64(item->score);
    memcpy(buffer, &score, sizeof(score));
    *size += KV_SCORE_SIZE;
    return buffer;
}

static bool order_is_edge(const struct kv_path *path)
{
    const unsigned leaf = path->depth - 1;

    for (unsigned d = 0; d < leaf; d++)
        if (path->at[d].index + 1u < path->at[d].node->n)
            return false;
    return path->at[leaf].index == path->at[leaf].node->n;
}

static bool order_is_behind(const struct order *o, const uint8_t *key,
                            uint32_t size)
{
    const uint32_t n = size < o->last_size ? size : o->last_size;
    const int order = bytes_order(o->last, key, n);

    return order < 0 || (order == 0 && o->last_size < size);
}

static bool order_put(struct order *o, const uint8_t *key, uint32_t size)
{
    const struct kv_cell none = {.form = KV_FORM_NONE, .cls = KV_BLOB};
    struct kv_node **const root = &o->tree->root[2];
    struct kv_path *const path = &o->path;
    struct kv_cell old;
    bool found;

    if (*root == NULL)
        return kv_tree_put(o->store, root, KV_NODE_SCORE, key, size, &none,
                           &old, &found);
    if (!o->edge || !order_is_behind(o, key, size)) {
        (void)kv_tree_path(*root, key, size, path);
        KV_ASSERT(!path->found);
        o->edge = order_is_edge(path);
    }
    const unsigned leaf = path->depth - 1;
    const struct kv_node *const node = path->at[leaf].node;
    const uint32_t n = node->n;
    if (!kv_tree_put_at(o->store, root, path, key, size, &none, &old))
        return false;
    /* in place, so that the path is good: and then it is behind all again */
    o->edge = o->edge && path->at[leaf].node == node && node->n == n + 1;
    path->at[leaf].index = n + 1;
    path->found = false;
    return true;
}

/* What was made so far is not taken back any more. */
static void order_keep(struct kv_store *store)
{
    void *block[ORDER_FREE];
    unsigned n;

    kv_undo_trim(store);
    store->txn.base = store->txn.keep = kv_undo_mark(store);
    do {
        n = kv_view_collect(store, block, ORDER_FREE);
        for (unsigned i = 0; i < n; i++)
            kv_block_free(block[i]);
    } while (n == ORDER_FREE);
}

static bool order_put_all(struct order *o)
{
    for (uint32_t i = 0; i < o->n; i++) {
        const int64_t before = o->store->delta_bytes;
        uint32_t size;
        if (i + 2 * ORDER_AHEAD < o->n) {
            const struct order_item *const far = &o->items[i + 2 * ORDER_AHEAD];
            __builtin_prefetch(&leaf_slots(far->leaf)[far->index]);
            __builtin_prefetch(far->leaf);
        }
        if (i + ORDER_AHEAD < o->n) {
            const struct order_item *const near = &o->items[i + ORDER_AHEAD];
            __builtin_prefetch(
                entry_at(near->leaf, leaf_slots(near->leaf)[near->index].off));
        }
        const uint8_t *const key = order_key(o, &o->items[i], &size);
        if (!order_put(o, key, size))
            return false;
        o->last = key;
        o->last_size = size;
        kv_tree_bytes(o->store, o->tree, before);
        if (o->store->undo_used > ORDER_LOG_MAX)
            order_keep(o->store);
    }
    return true;
}

static bool order_make(struct kv_store *store, struct kv_tree *tree)
{
    const uint64_t count = tree->count[0] + tree->count[1];
    struct order o = {.store = store, .tree = tree};
    struct order_item *memory = NULL;
    struct kv_walk walk = {.root = {tree->root[0], tree->root[1]}};
    bool ok = true;

    KV_ASSERT(kv_owned(store, tree));
    o.cap = count < ORDER_ITEMS_MAX ? (uint32_t)count : ORDER_ITEMS_MAX;
    while ((memory = kv_mem_alloc(KV_MEM_MISC,
                                  2 * o.cap * sizeof(*memory))) == NULL &&
           o.cap > ORDER_ITEMS_MIN)
        o.cap /= 2;
    if (memory == NULL)
        return false;
    o.items = memory;
    o.spare = memory + o.cap;
    (void)kv_walk_first(&walk);
    while (ok && order_collect(&o, &walk)) {
        order_sort(&o);
        o.edge = false;
        ok = order_put_all(&o);
    }
    kv_mem_free(KV_MEM_MISC, memory, 2 * o.cap * sizeof(*memory));
    return ok;
}

kvsql_rc kv_store_replay_end(struct kv_store *store, struct kvsql_error *err)
{
    struct kv_walk walk = {
        .root = {store->live.keys[0], store->live.keys[1]}};
    bool ok = true;

    if (!store->unordered)
        return KVSQL_OK;
    kv_lock_take(&store->lock);
    kvsql_rc rc = kv_txn_open(store, true, err);
    if (rc == KVSQL_OK) {
        for (bool more = kv_walk_first(&walk); more && ok;
             more = kv_walk_next_typed(&walk, 1u << KV_ZSET)) {
            struct kv_cell cell;
            entry_cell(kv_walk_leaf(&walk), kv_walk_index(&walk), &cell);
            if (cell.type == KV_ZSET && cell.form == KV_FORM_TREE &&
                kv_order_waits(cell.ptr))
                ok = order_make(store, cell.ptr);
        }
        if (!ok) {
            kv_undo_to(store, store->txn.base, UINT64_MAX);
            rc = kv_fail(err, KVSQL_NOMEM,
                         "store: no memory for the order of a sorted set");
        }
        order_keep(store);
        store->unordered = !ok;
        store->txn.open = false;
    }
    kv_lock_drop(&store->lock);
    return rc;
}
