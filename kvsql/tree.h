/* tree.h - the one structure of the store: a counted, prefix-truncated, slotted
 * B+tree whose entries lie inside the leaves (store.md section 2).
 *
 * A tree is a pointer to its root node (NULL = empty). Keys are bytes in memcmp
 * order, shorter first. Each slot of an inner node carries the count below it,
 * the mask of types that may occur, and a lower bound of deadlines.
 *
 * Reading needs no lock on a view. Changing follows undo.h: the memory that
 * holds the root pointer must be owned; the path is owned on the way down.
 * A change that answers false (no memory) may be half done: the caller takes it
 * back with its undo mark.
 *
 * Thread: reading any, changing the holder of the store lock. */
#ifndef KVSQL_TREE_H
#define KVSQL_TREE_H

#include "kvsql/entry.h"

struct kv_path {
    unsigned depth; /* nodes: at[0] is the root, at[depth - 1] the leaf */
    bool found;
    struct {
        struct kv_node *node;
        uint32_t index;
    } at[KV_HEIGHT_MAX];
};

/* Leaf and slot of the key. O(log n). */
KV_INTERNAL bool kv_tree_find(const struct kv_node *root, const uint8_t *key,
                              uint32_t size, const struct kv_node **leaf,
                              uint32_t *index);
/* n <= KV_BATCH_MAX lookups level by level, prefetching (section 6). */
KV_INTERNAL void kv_tree_find_batch(const struct kv_node *const *roots,
                                    const uint8_t *const *keys,
                                    const uint32_t *sizes, unsigned n,
                                    const struct kv_node **leaves,
                                    uint32_t *indexes, bool *found);
/* The same as kv_tree_path() for each, *paths[i]. */
KV_INTERNAL void kv_tree_path_batch(struct kv_node *const *roots,
                                    const uint8_t *const *keys,
                                    const uint32_t *sizes, unsigned n,
                                    struct kv_path *const *paths);
/* Entries before the key. */
KV_INTERNAL uint64_t kv_tree_rank(const struct kv_node *root,
                                  const uint8_t *key, uint32_t size,
                                  bool *found);
KV_INTERNAL uint64_t kv_tree_count(const struct kv_node *root);
/* Full key of slot `index` of a leaf or keyed inner node: in the store
 * (*stable) or assembled in buffer. */
KV_INTERNAL const uint8_t *kv_tree_key(const struct kv_node *node,
                                       uint32_t index,
                                       uint8_t buffer[KV_KEY_BUFFER],
                                       uint32_t *size, bool *stable);

/* Insert or replace. *found: the key was there, and *old is its former cell
 * (ptr of pointer forms is good; the caller retires what it pointed to).
 * `flags` are those of new nodes. With KV_NODE_SCORE and KV_NODE_MEMBER a key
 * that is new and long lies in a kv_blob, behind its header or its score: the
 * entry points to that one (EN4). False: no memory. */
KV_INTERNAL bool kv_tree_put(struct kv_store *store, struct kv_node **root,
                             uint8_t flags, const uint8_t *key, uint32_t size,
                             const struct kv_cell *cell, struct kv_cell *old,
                             bool *found) KV_MUST_USE;
/* The same along a path that kv_tree_own gave, since when nothing of the tree
 * was moved; path->found is *found. The path is good no longer. */
KV_INTERNAL bool kv_tree_put_at(struct kv_store *store, struct kv_node **root,
                                struct kv_path *path, const uint8_t *key,
                                uint32_t size, const struct kv_cell *cell,
                                struct kv_cell *old) KV_MUST_USE;
/* Remove; *found tells, *old as above. */
KV_INTERNAL bool kv_tree_remove(struct kv_store *store, struct kv_node **root,
                                const uint8_t *key, uint32_t size,
                                struct kv_cell *old, bool *found) KV_MUST_USE;
/* Give back what the leaf where the key would lie has beyond its need: keys that
 * were removed leave room behind for others, mostly. */
KV_INTERNAL bool kv_tree_fit(struct kv_store *store, struct kv_node **root,
                             const uint8_t *key, uint32_t size) KV_MUST_USE;
/* The right edge of a tree that is filled in order (ST9), held open. The tree is
 * nobody else's meanwhile; while the edge is there, its slots do not count what
 * was appended last. An edge of zeroes knows nothing. */
struct kv_tree_edge {
    struct kv_path path; /* to the last entry; depth 0: not known */
    uint32_t added;      /* entries that the slots above it do not tell of ... */
    uint8_t types;       /* ... their types ... */
    uint64_t bound;      /* ... and the lowest bound of their deadlines */
};
/* Put an entry behind all others, as kv_tree_put() would; that it belongs there
 * is not checked. False, no memory: the entry is not there, the edge holds. What
 * it did is not for an undo. O(1) but for one key in so many as fill a leaf. */
KV_INTERNAL bool kv_tree_append(struct kv_store *store, struct kv_node **root,
                                struct kv_tree_edge *edge, uint8_t flags,
                                const uint8_t *key, uint32_t size,
                                const struct kv_cell *cell) KV_MUST_USE;
/* Let go of the edge: the tree is as any other. */
KV_INTERNAL void kv_tree_append_end(struct kv_tree_edge *edge);
/* The same when no more will come soon: the last leaf gives back what it has
 * beyond its need. False, no memory: it has not. */
KV_INTERNAL bool kv_tree_append_fit(struct kv_store *store,
                                    struct kv_node **root,
                                    struct kv_tree_edge *edge) KV_MUST_USE;

/* Own the path to a key, or to the place where it would be (`found`), so that
 * the payload may be edited. *root is not NULL. */
KV_INTERNAL bool kv_tree_own(struct kv_store *store, struct kv_node **root,
                             const uint8_t *key, uint32_t size,
                             struct kv_path *path) KV_MUST_USE;
/* The path to a key, or to the place where it would be (`found`), to look at
 * what is there and perhaps to own it; depth 0: the tree is empty. */
KV_INTERNAL bool kv_tree_path(struct kv_node *root, const uint8_t *key,
                              uint32_t size, struct kv_path *path);
/* The same when the key lies in the leaf where `path` led, which then leads to
 * it. False: it may lie elsewhere, or nowhere. Asks nothing of the path: it may
 * be of another time or tree. */
KV_INTERNAL bool kv_tree_path_near(struct kv_node *root, const uint8_t *key,
                                   uint32_t size, struct kv_path *path);
/* Does a path that led to this very key, or to where it would be, still? Then it
 * leads there, *found or not. False: that is not known. No block that was in the
 * tree then may have been freed since; depth 0: there is no path. */
KV_INTERNAL bool kv_tree_path_again(struct kv_node *root, const uint8_t *key,
                                    uint32_t size, struct kv_path *path);
/* Own a path from kv_tree_path(), since when nothing of the tree was moved. */
KV_INTERNAL bool kv_tree_path_own(struct kv_store *store, struct kv_node **root,
                                  struct kv_path *path) KV_MUST_USE;
/* Remove where an owned path has found something. It is good no longer. */
KV_INTERNAL bool kv_tree_remove_at(struct kv_store *store,
                                   struct kv_node **root, struct kv_path *path,
                                   struct kv_cell *old) KV_MUST_USE;
/* Lower the deadline bounds on an owned path. */
KV_INTERNAL void kv_tree_lower(struct kv_store *store, struct kv_path *path,
                               uint64_t exp);
/* Compute the bounds of an owned path anew from its leaf up (DL4). */
KV_INTERNAL void kv_tree_rebound(struct kv_store *store, struct kv_path *path);
/* Lowest bound below a node, BOUND_NONE if none. */
KV_INTERNAL uint64_t kv_tree_bound(const struct kv_node *node);
/* Bound that one leaf entry contributes, fields of a hash included. */
KV_INTERNAL uint64_t kv_entry_bound(const struct kv_node *leaf,
                                    uint32_t index);

/* A walk over one or two trees; see struct kv_walk. All answer walk->valid. */
KV_INTERNAL bool kv_walk_first(struct kv_walk *walk);
KV_INTERNAL bool kv_walk_last(struct kv_walk *walk);
/* First entry >= key in the tree `which`, or behind it in the next tree. */
KV_INTERNAL bool kv_walk_seek(struct kv_walk *walk, unsigned which,
                              const uint8_t *key, uint32_t size, bool after);
/* Last entry <= key. */
KV_INTERNAL bool kv_walk_seek_back(struct kv_walk *walk, unsigned which,
                                   const uint8_t *key, uint32_t size,
                                   bool before);
KV_INTERNAL bool kv_walk_rank(struct kv_walk *walk, uint64_t rank);
/* The path names a leaf and an index that may be behind its end: go on to the
 * first entry there is, in later leaves and the later tree. */
KV_INTERNAL bool kv_walk_settle(struct kv_walk *walk);
static inline bool kv_walk_next(struct kv_walk *walk)
{
    struct kv_cursor_step *const step = &walk->path[walk->depth - 1];

    return KV_LIKELY(++step->index < step->node->n) || kv_walk_settle(walk);
}
KV_INTERNAL bool kv_walk_prev(struct kv_walk *walk);
/* The same, skipping subtrees whose types have nothing of the mask. */
KV_INTERNAL bool kv_walk_next_typed(struct kv_walk *walk, unsigned types);
static inline const struct kv_node *kv_walk_leaf(const struct kv_walk *walk)
{
    return walk->path[walk->depth - 1].node;
}
static inline uint32_t kv_walk_index(const struct kv_walk *walk)
{
    return walk->path[walk->depth - 1].index;
}

#endif
