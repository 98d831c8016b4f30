/* answers.c - answers that are kept for requests that may be sent again.
 *
 * A client that lost the answer of a write sends it again, under the name that
 * it gave the first one, and gets what the first one got. So the answer is an
 * op beside the effect: both are there, or none, after a crash, too.
 *
 * All of them are one tree like that of a hash, name -> answer, each with its
 * deadline. It hangs in the root, so views, undo and rollback know it as they
 * know keys; but it is no key, and no command and no table of SQL meets it. A
 * flush of the keys leaves it.
 *
 * Always true:
 *   AN1  past its deadline an answer is not there; the keeper removes it soon
 *        after, by an op (deadline.c).
 *
 * Thread: reading any, of a pinned view; changing the holder of the lock. */
#include "kvsql/collection.h"

static struct kv_key answers_key(kvsql_slice name)
{
    return kv_key_of(name.p, name.size);
}

bool kv_answer_get(const struct kv_at *at, kvsql_slice name, struct kv_buf *out)
{
    const struct kv_tree *const tree = at->root->answers;
    const struct kv_key key = answers_key(name);
    struct kv_cell cell;
    struct kv_val value;

    if (tree == NULL || !kv_collection_find(tree, &key, &cell) ||
        kv_cell_hidden(&cell, at->now)) /* AN1 */
        return false;
    kv_cell_read(&cell, &value);
    kv_buf_add(out, value.p, value.size);
    return true;
}

uint64_t kv_answers_size(const struct kv_at *at)
{
    const struct kv_tree *const tree = at->root->answers;

    return tree != NULL ? sizeof(*tree) + tree->bytes : 0;
}

struct kv_tree *kv_answers_own(struct kv_store *store)
{
    struct kv_tree *const old = store->live.answers;
    struct kv_tree *tree;

    if (old != NULL && kv_owned(store, old))
        return old;
    if (!kv_room(store, KV_ROOM_STEP, KV_ROOM_BLOCKS))
        return NULL;
    tree = old != NULL ? kv_block_copy(store, old) : kv_tree_block_new(store);
    if (tree == NULL)
        return NULL;
    kv_edit_ptr(store, &store->live.answers, tree);
    if (old != NULL)
        kv_retire(store, old);
    return tree;
}

static void answers_count(struct kv_store *store, struct kv_tree *tree,
                          unsigned cls, int change)
{
    kv_edit(store, &tree->count[cls], sizeof(tree->count[cls]));
    tree->count[cls] += (uint64_t)(int64_t)change;
}

static bool answers_put(struct kv_store *store, const struct kv_key *key,
                        const struct kv_key *answer, uint64_t deadline)
{
    struct kv_tree *const tree = kv_answers_own(store);
    const int64_t before = store->delta_bytes;
    struct kv_cell cell = {.form = KV_FORM_NONE, .cls = KV_BLOB}, old;
    bool found;

    if (tree == NULL || !kv_cell_value(store, answer, &cell))
        return false;
    cell.exp = deadline;
    if (!kv_tree_put(store, &tree->root[key->cls], KV_NODE_KEYED, key->p,
                     key->size, &cell, &old, &found))
        return false;
    if (found)
        kv_cell_drop(store, &old);
    else
        answers_count(store, tree, key->cls, 1);
    kv_tree_bytes(store, tree, before);
    return true;
}

static bool answers_remove(struct kv_store *store, const struct kv_key *key)
{
    struct kv_tree *const tree = kv_answers_own(store);
    const int64_t before = store->delta_bytes;
    struct kv_cell old;
    bool found;

    if (tree == NULL || !kv_tree_remove(store, &tree->root[key->cls], key->p,
                                        key->size, &old, &found))
        return false;
    if (found) {
        kv_cell_drop(store, &old);
        answers_count(store, tree, key->cls, -1);
    }
    kv_tree_bytes(store, tree, before);
    return true;
}

kvsql_rc kv_answer_keep(struct kv_txn *txn, kvsql_slice name,
                        kvsql_slice answer, int64_t expires_at,
                        struct kvsql_error *err)
{
    const struct kv_op op = {
        .kind = KV_OP_ANSWER, .key = name, .a = answer, .time = expires_at};
    const struct kv_key key = answers_key(name);
    const struct kv_key value = kv_key_of(answer.p, answer.size);
    struct kv_mark mark;

    if (name.size > KV_ANSWER_NAME_MAX)
        return kv_fail(err, KVSQL_TOOBIG,
                       "the name of an answer has at most %u bytes",
                       KV_ANSWER_NAME_MAX);
    const kvsql_rc rc =
        kv_change_begin(txn, &key, answer.size, answer.size > 0, &mark, err);
    if (rc != KVSQL_OK)
        return rc;
    return kv_change_end(txn, &mark,
                         answer.size > 0
                             ? answers_put(txn->store, &key, &value,
                                           kv_time_keep(expires_at, txn->skew))
                             : answers_remove(txn->store, &key),
                         &op, err);
}

/* ---- all of them ------------------------------------------------------------- */

bool kv_answers_next(const struct kv_at *at, struct kv_walk *walk,
                     struct kv_answer *out)
{
    const struct kv_tree *const tree = at->root->answers;

    if (tree == NULL)
        return false;
    const bool begun = walk->root[0] != NULL || walk->root[1] != NULL;
    if (!begun)
        *walk = (struct kv_walk){.root = {tree->root[0], tree->root[1]}};
    bool ok = begun ? kv_walk_next(walk) : kv_walk_first(walk);
    for (; ok; ok = kv_walk_next(walk)) {
        struct kv_cell cell;
        bool stable;
        entry_cell(kv_walk_leaf(walk), kv_walk_index(walk), &cell);
        if (kv_cell_hidden(&cell, at->now))
            continue;
        out->key.p = kv_tree_key(kv_walk_leaf(walk), kv_walk_index(walk),
                                 out->buffer, &out->key.size, &stable);
        out->key.cls = (uint8_t)walk->which;
        kv_cell_read(&cell, &out->value);
        out->expires_at = kv_time_show(cell.exp, at->skew);
        return true;
    }
    return false;
}
