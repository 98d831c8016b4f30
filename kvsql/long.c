/* long.c - transactions whose undo log would become too long (UN3).
 *
 * At a step of a txn (a boundary of commands or rows) whose log is over the
 * limit, a view is taken and the log gets a LONG record. From there on going
 * back means that the view's root becomes the live one and what is newer than
 * the view is freed; so what the log says of the changes behind the record is
 * dropped at every step. Only the step in hand is logged, for it may fail.
 *
 *   log   records | LONG L | VIEW ... of statements | the step in hand
 *
 * A mark that is kept behind L (a savepoint) needs its own way back: nothing is
 * dropped until, again over the limit, another LONG view follows it. When the
 * mark is released, that LONG view guards nothing that L does not guard: it
 * becomes a view without pins. So there are as many LONG views as savepoints
 * with much behind them, and one.
 *
 * Always true:
 *   LG1  the log behind the newest LONG record is complete (I5), or holds
 *        nothing but VIEW records when a step ends.
 *   LG2  in a txn with LONG views a retired block that no view sees lies on
 *        `scrap`, not on pend; its stamp, and that of the dead ones, is the era
 *        of its DEAD record. Dropping the log ends an era, taking a LONG view
 *        too: of the eras before, only those that a LONG view behind the first
 *        one ended are still in the log. A block on scrap of another era is
 *        freed: no root reaches it, no undo asks for it.
 *   LG3  while a LONG view stands nothing is reaped. So of the dead list, what
 *        the LONG view sees is what was retired behind its record, and the
 *        trees behind place `reaped` of the queue are those removed since.
 *   LG4  the first LONG view of a txn stands until its batch is released; the
 *        failure of the wal meets it (F2).
 *
 * Thread: the holder of the store lock. */
#include "kvsql/store_private.h"

#define LONG_RELEASE_BLOCKS 512 /* of views without pins, per step */

/* ---- taking back ------------------------------------------------------------ */

struct long_walk {
    struct kv_store *store;
    uint64_t gen;
    const struct kv_below *below;
};

/* Blocks that the view does not see go, the others stay as they are. */
static void long_free(const struct long_walk *walk, void *block)
{
    if (!kv_block_newer(block, walk->gen))
        return;
    walk->store->bytes_live -= kv_block_size(block);
    kv_block_free(block);
}

static void long_blob(void *arg, struct kv_blob *blob)
{
    long_free(arg, blob);
}

/* Everything newer than the view from this node downwards: below an older
 * block there is nothing (I2). */
static void long_free_nodes(struct long_walk *walk, struct kv_node *root)
{
    struct kv_path path;

    if (root == NULL || !kv_block_newer(root, walk->gen))
        return;
    path.depth = 1;
    path.at[0].node = root;
    path.at[0].index = 0;
    while (path.depth > 0) {
        struct kv_node *const node = path.at[path.depth - 1].node;
        const uint32_t index = path.at[path.depth - 1].index++;
        if (node->level > 0 && index < node->n) {
            struct kv_node *const child = kv_node_child(node, index);
            if (!kv_block_newer(child, walk->gen))
                continue;
            KV_ASSERT(path.depth < KV_HEIGHT_MAX); /* ST10 */
            path.at[path.depth].node = child;
            path.at[path.depth++].index = 0;
            continue;
        }
        kv_node_below(node, walk->below);
        long_free(walk, node);
        path.depth--;
    }
}

/* A collection, or the keyspace that a flush removed: trees nest once. */
static void long_tree(void *arg, struct kv_tree *tree)
{
    if (!kv_block_newer(tree, ((struct long_walk *)arg)->gen))
        return;
    for (unsigned i = 0; i < 3; i++)
        long_free_nodes(arg, tree->root[i]);
    long_free(arg, tree);
}

/* What the view sees is alive again; the rest was born and died since. */
static void long_unlist_dead(struct kv_store *store, uint64_t gen)
{
    struct kv_list_entry entry;

    while (kv_list_pop(store, &store->dead, &entry, UINT64_MAX)) {
        const size_t size = kv_block_size(entry.block);
        if (!kv_block_newer(entry.block, gen)) {
            kv_undo_count_back(store, size);
            kv_view_unretain(store, entry.block);
            continue;
        }
        store->bytes_retired -= size;
        kv_block_free(entry.block);
    }
}

/* Is the log of that era there, for a mark between two LONG views (LG2)? */
static bool long_era_stands(const struct kv_store *store, uint64_t era)
{
    unsigned behind_first = store->txn.longs - 1;

    for (const struct kv_view *view = store->newest; behind_first > 0;
         view = view->older) {
        if (!view->lasting)
            continue;
        if (view->era == era)
            return true;
        behind_first--;
    }
    return false;
}

static void long_free_last(struct kv_store *store)
{
    void *const block = kv_list_last(&store->scrap)->block;

    kv_list_drop_last(store, &store->scrap);
    if (block != NULL) {
        store->bytes_retired -= kv_block_size(block);
        kv_block_free(block);
    }
}

/* Trees that were removed since: the view's own live again (LG3). */
static void long_unreap(struct long_walk *walk, uint64_t reaped)
{
    struct kv_store *const store = walk->store;
    const struct kv_list_entry *last;

    for (; store->reaped > reaped; store->reaped--) {
        last = kv_list_last(&store->reap);
        KV_ASSERT(last != NULL);
        struct kv_tree *const tree = last->block;
        kv_list_drop_last(store, &store->reap);
        if (tree == NULL)
            continue; /* an undo took it off */
        kv_undo_count_back(store, sizeof(*tree) + tree->bytes);
        long_tree(walk, tree);
    }
}

/* In the txn: what it retired behind the LONG record is gone for good, the log
 * goes on where it was (an era that comes again holds too much at most). */
static void long_back(struct kv_store *store, uint64_t era)
{
    const bool first = store->txn.longs == 1;
    const struct kv_list_entry *last;

    while ((last = kv_list_last(&store->scrap)) != NULL &&
           (first || last->block == NULL || last->stamp > era))
        long_free_last(store);
    store->txn.era = era;
}

void kv_long_undo(struct kv_store *store, struct kv_view *view)
{
    struct long_walk walk = {.store = store, .gen = view->gen};
    const struct kv_below below = {
        .arg = &walk, .blob = long_blob, .tree = long_tree};

    KV_ASSERT(view->lasting && store->newest == view);
    walk.below = &below;
    for (unsigned cls = 0; cls < 2; cls++)
        long_free_nodes(&walk, store->live.keys[cls]);
    long_free_nodes(&walk, store->live.indexes);
    if (store->live.answers != NULL)
        long_tree(&walk, store->live.answers);
    if (store->live.defs != NULL &&
        kv_block_newer(store->live.defs, view->gen))
        long_blob(&walk, store->live.defs);
    store->live = view->root;
    long_unlist_dead(store, view->gen);
    long_unreap(&walk, view->reaped);
    store->long_count--;
    if (store->txn.longs > 0) {
        long_back(store, view->era);
        store->txn.longs--;
    }
    atomic_store(&view->refs, 0);
    kv_view_drop(store, view);
}

/* ---- going on ------------------------------------------------------------------ */

static struct kv_view *long_older(struct kv_view *view)
{
    while (view != NULL && !view->lasting)
        view = view->older;
    return view;
}

/* No mark needs the view any more: one without pins, to be released. */
static void long_retire_view(struct kv_store *store, struct kv_view *view)
{
    view->lasting = false;
    store->long_count--;
    atomic_store(&view->refs, 0);
    atomic_fetch_add(&store->unpin_wanted, 1);
}

/* The newest LONG view of the txn, after those that guard no mark went. */
static struct kv_view *long_top(struct kv_store *store)
{
    struct kv_txn *const txn = &store->txn;
    struct kv_view *top = long_older(store->newest);

    while (txn->longs > 1) {
        struct kv_view *const before = long_older(top->older);
        if (before->record <= txn->keep)
            break;
        kv_undo_turn(store, top->record, UNDO_VIEW);
        long_retire_view(store, top);
        txn->longs--;
        top = before;
    }
    return top;
}

/* Drop what the log says behind the LONG record, views apart. */
static void long_drop_log(struct kv_store *store, const struct kv_view *top)
{
    const struct kv_list_entry *last;

    KV_ASSERT(top->record >= store->undo_base);
    store->undo_used = (size_t)(top->record - store->undo_base);
    for (struct kv_view *view = top->newer; view != NULL; view = view->newer) {
        kv_undo_record(store, UNDO_VIEW, view); /* where one was before */
        view->record = kv_undo_mark(store);
    }
    store->txn.era++;
    while ((last = kv_list_last(&store->scrap)) != NULL &&
           (last->block == NULL || !long_era_stands(store, last->stamp)))
        long_free_last(store);
}

/* Without memory the log simply goes on; the next step tries again. */
static void long_take(struct kv_store *store)
{
    struct kv_txn *const txn = &store->txn;

    if (!kv_room(store, sizeof(store->tally), 2))
        return;
    kv_edit(store, &store->tally, sizeof(store->tally));
    struct kv_view *const view = kv_view_take(store, true);
    if (view == NULL)
        return;
    kv_undo_turn(store, view->record, UNDO_LONG);
    view->lasting = true;
    view->reaped = store->reaped;
    view->era = txn->era++;
    atomic_store(&view->refs, 1);
    store->long_count++;
    if (txn->longs++ == 0)
        txn->long_gen = view->gen;
}

void kv_long_step(struct kv_store *store)
{
    struct kv_txn *const txn = &store->txn;
    uint64_t from = txn->base;

    if (txn->longs > 0) {
        struct kv_view *const top = long_top(store);
        if (txn->keep < top->record)
            long_drop_log(store, top);
        from = top->record;
    }
    if (kv_undo_mark(store) - from > store->undo_txn_max)
        long_take(store);
    if (txn->longs > 0 && atomic_load(&store->unpin_wanted) > 0)
        (void)kv_view_release_some(store, LONG_RELEASE_BLOCKS);
}

void kv_long_end(struct kv_store *store)
{
    struct kv_txn *const txn = &store->txn;

    if (txn->longs > 0) { /* committed: one way back is left, to the begin */
        txn->keep = txn->base;
        long_drop_log(store, long_top(store));
        txn->longs = 0;
    }
    KV_ASSERT(store->scrap.count == 0); /* LG2: no era stands */
    kv_undo_lower(store, store->pos); /* of views released on the way */
    txn->long_gen = 0;
}

void kv_long_release(struct kv_store *store)
{
    const uint64_t released = atomic_load(&store->released);

    for (struct kv_view *view = store->newest; view != NULL; view = view->older)
        if (view->lasting && view->pos <= released)
            long_retire_view(store, view);
}
