/* warm.c - where the next ops of a replay will go is looked up ahead.
 *
 * A replay is one op after the other, each at another place of a store that is
 * larger than any cache: the processor waits for memory most of the time. Here
 * the keys of many ops to come are looked up together, level by level, so that
 * the waits overlap; then the fields, members and scores in those that are trees.
 * All of it is a hint: each op goes the way that was found while that is good, and
 * an op may be one that is never run.
 *
 * Thread: the one that replays. */
#include "kvsql/replay.h"

#include <string.h>

#include "kvsql/store_private.h"

struct warm {
    struct kv_node *roots[KV_BATCH_MAX];
    const uint8_t *keys[KV_BATCH_MAX];
    uint32_t sizes[KV_BATCH_MAX];
    struct kv_path *paths[KV_BATCH_MAX];
    unsigned n;
};

static void warm_add(struct warm *warm, struct kv_node *const *roots,
                     const struct kv_key *key, struct kv_path *path)
{
    warm->paths[warm->n] = path;
    warm->roots[warm->n] = roots[key->cls];
    warm->keys[warm->n] = key->p;
    warm->sizes[warm->n] = key->size;
    warm->n++;
}

static void warm_look(struct warm *warm)
{
    if (warm->n > 0)
        kv_tree_path_batch(warm->roots, warm->keys, warm->sizes, warm->n,
                           warm->paths);
}

/* The cell where the path leads; false: there is none. */
static bool warm_cell(const struct kv_path *path, struct kv_cell *cell)
{
    if (path->found)
        entry_cell(path->at[path->depth - 1].node,
                   path->at[path->depth - 1].index, cell);
    return path->found;
}

/* A packed run is looked through before it changes; its first bytes have come with
 * the entry. */
static void warm_payload(const struct kv_cell *cell)
{
    for (uint32_t at = 64; at < cell->size + 63; at += 64)
        __builtin_prefetch(cell->payload + at);
}

/* The type of which the op changes an element that is found by its bytes. The
 * key may have another yet: an op in between makes it anew. */
static enum kv_type warm_type(const struct kv_op *op)
{
    switch (op->kind) {
    case KV_OP_HSET:
    case KV_OP_HDEL:
    case KV_OP_HEXPIRE:
        return KV_HASH;
    case KV_OP_SADD:
    case KV_OP_SREM:
        return KV_SET;
    case KV_OP_ZADD:
    case KV_OP_ZREM:
        return KV_ZSET;
    default:
        return KV_NONE;
    }
}

/* Places in trees of scores: those that members have, and those they get. */
struct warm_scores {
    struct warm at;
    uint8_t bytes[KV_BATCH_MAX][KV_SCORE_SIZE + KV_MEMBER_INLINE_MAX];
};

static void warm_score(struct warm_scores *scores, struct kv_node *root,
                       double score, const struct kv_key *member,
                       struct kv_path *path)
{
    struct warm *at = &scores->at;
    uint8_t *key = scores->bytes[at->n];

    if (member->size > KV_MEMBER_INLINE_MAX)
        return;
    kv_score_key(key, score);
    if (member->size > 0)
        memcpy(key + KV_SCORE_SIZE, member->p, member->size);
    at->roots[at->n] = root;
    at->keys[at->n] = key;
    at->sizes[at->n] = KV_SCORE_SIZE + (uint32_t)member->size;
    at->paths[at->n] = path;
    at->n++;
}

/* Elements were looked for: number of[i] has the tree tree[i]. */
struct warm_elements {
    struct warm at;
    unsigned of[KV_BATCH_MAX];
    const struct kv_tree *tree[KV_BATCH_MAX];
};

static void warm_look_scores(const struct warm_elements *elements,
                             const struct kv_replay_op *ops,
                             struct kv_hints *hints)
{
    struct warm_scores was, becomes;

    was.at.n = becomes.at.n = 0;
    for (unsigned i = 0; i < elements->at.n; i++) {
        const struct kv_replay_op *const r = &ops[elements->of[i]];
        struct kv_hints *const hint = &hints[elements->of[i]];
        struct kv_node *const root = elements->tree[i]->root[2];
        struct kv_cell cell;

        if ((r->op.kind != KV_OP_ZADD && r->op.kind != KV_OP_ZREM) ||
            kv_order_waits(elements->tree[i]))
            continue;
        if (warm_cell(&hint->element, &cell) && cell.size == KV_SCORE_SIZE)
            warm_score(&was, root, hint->score_was = kv_score_read(cell.payload),
                       &r->a, &hint->was);
        if (r->op.kind == KV_OP_ZADD)
            warm_score(&becomes, root, hint->score_becomes = r->op.score, &r->a,
                       &hint->becomes);
    }
    warm_look(&was.at);
    warm_look(&becomes.at);
}

void kv_store_warm(struct kv_store *store, const struct kv_replay_op *ops,
                   unsigned n, struct kv_hints *hints)
{
    struct warm keys = {.n = 0};
    struct warm_elements elements;

    KV_ASSERT(n <= KV_BATCH_MAX);
    elements.at.n = 0;
    for (unsigned i = 0; i < n; i++) {
        hints[i].key_p = ops[i].key.p;
        hints[i].element_p = ops[i].a.p;
        hints[i].element.depth = hints[i].was.depth = hints[i].becomes.depth =
            0;
        warm_add(&keys, store->live.keys, &ops[i].key, &hints[i].key);
    }
    warm_look(&keys);
    for (unsigned i = 0; i < n; i++) {
        const unsigned at = elements.at.n;
        struct kv_cell cell;

        if (!warm_cell(&hints[i].key, &cell))
            continue;
        if (cell.form == KV_FORM_TREE && cell.type == warm_type(&ops[i].op)) {
            elements.of[at] = i;
            elements.tree[at] = cell.ptr;
            warm_add(&elements.at, elements.tree[at]->root, &ops[i].a,
                     &hints[i].element);
        } else if (entry_has_ptr(cell.form)) {
            __builtin_prefetch(cell.ptr);
        } else {
            warm_payload(&cell);
        }
    }
    warm_look(&elements.at);
    warm_look_scores(&elements, ops, hints);
}
