/* warm.c - what the next ops of a replay will touch is fetched into the cache.
 *
 * A replay is one op after the other, each at another place of a store that is
 * larger than any cache: the processor waits for memory most of the time. Here
 * the keys of many ops to come are looked up together, level by level, so that
 * the waits overlap; then the fields, members and scores in those that are trees.
 * All of it is a hint: what was found is dropped, and an op may be one that is never
 * run.
 *
 * Thread: the one that replays. */
#include "kvsql/replay.h"

#include <string.h>

#include "kvsql/store_private.h"

struct warm {
    const struct kv_node *roots[KV_BATCH_MAX];
    const uint8_t *keys[KV_BATCH_MAX];
    uint32_t sizes[KV_BATCH_MAX];
    const struct kv_node *leaves[KV_BATCH_MAX];
    uint32_t indexes[KV_BATCH_MAX];
    bool found[KV_BATCH_MAX];
    unsigned n;
};

static void warm_add(struct warm *warm, struct kv_node *const *roots,
                     const struct kv_key *key)
{
    warm->roots[warm->n] = roots[key->cls];
    warm->keys[warm->n] = key->p;
    warm->sizes[warm->n] = key->size;
    warm->n++;
}

static void warm_look(struct warm *warm)
{
    if (warm->n > 0)
        kv_tree_find_batch(warm->roots, warm->keys, warm->sizes, warm->n,
                           warm->leaves, warm->indexes, warm->found);
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
                       double score, const struct kv_key *member)
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
    at->n++;
}

/* Elements were looked for: op[i] is that of element i, tree[i] its tree. */
struct warm_elements {
    struct warm at;
    const struct kv_replay_op *op[KV_BATCH_MAX];
    const struct kv_tree *tree[KV_BATCH_MAX];
};

static void warm_look_scores(const struct warm_elements *elements)
{
    struct warm_scores was, becomes;

    was.at.n = becomes.at.n = 0;
    for (unsigned i = 0; i < elements->at.n; i++) {
        const struct kv_replay_op *const r = elements->op[i];
        const struct kv_op *const op = &r->op;
        struct kv_node *root = elements->tree[i]->root[2];
        struct kv_cell cell;

        if (op->kind != KV_OP_ZADD && op->kind != KV_OP_ZREM)
            continue;
        if (elements->at.found[i]) {
            entry_cell(elements->at.leaves[i], elements->at.indexes[i], &cell);
            if (cell.size == KV_SCORE_SIZE)
                warm_score(&was, root, kv_score_read(cell.payload),
                           &r->a);
        }
        if (op->kind == KV_OP_ZADD)
            warm_score(&becomes, root, op->score, &r->a);
    }
    warm_look(&was.at);
    warm_look(&becomes.at);
}

void kv_store_warm(struct kv_store *store, const struct kv_replay_op *ops,
                   unsigned n)
{
    struct warm keys = {.n = 0};
    struct warm_elements elements;

    KV_ASSERT(n <= KV_BATCH_MAX);
    elements.at.n = 0;
    for (unsigned i = 0; i < n; i++)
        warm_add(&keys, store->live.keys, &ops[i].key);
    warm_look(&keys);
    for (unsigned i = 0; i < n; i++) {
        struct kv_cell cell;

        if (!keys.found[i])
            continue;
        entry_cell(keys.leaves[i], keys.indexes[i], &cell);
        if (cell.form == KV_FORM_TREE && cell.type == warm_type(&ops[i].op)) {
            elements.op[elements.at.n] = &ops[i];
            elements.tree[elements.at.n] = cell.ptr;
            warm_add(&elements.at, elements.tree[elements.at.n]->root,
                     &ops[i].a);
        } else if (entry_has_ptr(cell.form)) {
            __builtin_prefetch(cell.ptr);
        }
    }
    warm_look(&elements.at);
    warm_look_scores(&elements);
}
