/* store_private.h - struct kv_store and what the files of the core share.
 *
 * State of store.md 5.1. Everything here belongs to the holder of store->lock
 * but for what is marked atomic. */
#ifndef KVSQL_STORE_PRIVATE_H
#define KVSQL_STORE_PRIVATE_H

#include <stdatomic.h>

#include "kvsql/admin.h"
#include "kvsql/store.h"
#include "kvsql/tree.h"
#include "kvsql/undo.h"

/* Lists of retired blocks: chunks of entries, linked; nothing is allocated
 * when they are split, joined or emptied (I11). */
#define LIST_CHUNK_ENTRIES 254
struct kv_list_entry {
    void *block; /* NULL: a hole that an undo left */
    uint64_t stamp;
};
struct kv_list_chunk {
    struct kv_list_chunk *next, *prev;
    uint32_t from, to; /* entries in use */
    uint64_t unused;
    struct kv_list_entry entry[LIST_CHUNK_ENTRIES];
};
struct kv_list {
    struct kv_list_chunk *head, *tail;
    uint64_t count;
};

struct kv_view {
    struct kv_view *older, *newer;
    struct kv_store *store;
    struct kv_root root;
    uint64_t gen; /* like a block's word, low byte all ones */
    uint64_t pos, epoch;
    uint64_t record; /* place of its VIEW record in the undo log, 0 = none */
    uint64_t taken_ns;
    _Atomic(const char *) holder; /* who has it; NULL: not said */
    atomic_uint refs;
    uint64_t retained; /* bytes of blocks that it sees and live does not */
    atomic_int ended;  /* enum kv_view_end: its readers are to let go */
    bool own;     /* one reader's, never handed to others: a snapshot's */
    bool dropped; /* taken back by an undo */
    bool inside;  /* of a batch: never handed to others (UN4) */
    bool closing; /* its release has begun: not handed out again */
    bool passed;  /* an index is complete since: neither is this */
    bool lasting; /* LONG: an undo goes back to its root (long.c) */
    uint64_t era, reaped; /* LONG: of txn and store when it was taken */
    struct kv_list dead;
};

enum kv_view_end { KV_VIEW_ON, KV_VIEW_OLD, KV_VIEW_BIG };

/* Views that were ended and of which no message has told yet. */
struct kv_view_news {
    unsigned count;
    enum kv_view_end why; /* of the last */
    uint64_t bytes, age_ms;
};

/* Blocks that wait to be nodes again (shelf.c), by size / KV_SHELF_STEP. */
#define KV_SHELF_STEP 128u /* sizes from KV_SHELF_MIN on are multiples of it */
#define KV_SHELF_MIN 512u  /* malloc is quick below */
#define KV_SHELF_SIZES (KV_LEAF_MAX / KV_SHELF_STEP + 1)
#define KV_SHELF_BLOCKS 4 /* of one size at most */
struct kv_shelf_block {
    uint64_t gen;
    struct kv_shelf_block *next;
};
struct kv_shelf {
    struct kv_shelf_block *first[KV_SHELF_SIZES];
    uint8_t count[KV_SHELF_SIZES];
    bool taken; /* a block, since the keeper looked */
};

enum kv_undo_kind {
    UNDO_RANGE,
    UNDO_NEW,
    UNDO_DEAD,
    UNDO_REAP,
    UNDO_VIEW,
    UNDO_LONG,
    UNDO_VOID
};

struct kv_batch_mark {
    uint64_t position, undo;
    uint64_t keys, with_expiry; /* before it */
};

/* Where the next change goes, when it was looked up with others (warm.c): hints,
 * each good for the bytes or the score it was made for, as long as the tree has
 * that way (kv_tree_path_again). depth 0: not looked up. */
struct kv_hints {
    const uint8_t *key_p, *element_p;
    struct kv_path key, element; /* the key; its element, in the tree form */
    struct kv_path was, becomes; /* the element in a zset's tree by score ... */
    double score_was, score_becomes; /* ... with these */
};

struct kv_txn {
    struct kv_store *store;
    struct kv_buf ops;
    uint64_t count;
    size_t told;    /* bytes of ops that the observer knows (observe.c) */
    uint64_t base; /* undo mark of its begin */
    uint64_t keep; /* the newest mark that outlives a step */
    uint64_t keys, with_expiry; /* at its begin */
    unsigned longs;    /* LONG views of this txn (long.c) */
    uint64_t long_gen; /* generation of the first of them */
    uint64_t era;      /* counts how often its log was dropped */
    uint64_t now;
    int64_t skew;
    size_t prepared;   /* bytes of ops that the log has room for */
    bool open, replay;
    bool keep_bounds; /* a txn without ops whose bounds are worth keeping */
    bool lenient;     /* kv_txn_lenient */
    bool roomy;       /* a command runs that has its room: maxmemory waits */
    struct kv_path path; /* where the last lookup for a change led (store.c) */
    bool near; /* the change to come is of that key, or beside it */
    bool numbered; /* a replay of batches that get their positions */
    struct kv_hints *hints; /* of the change to come; NULL: none */
    kv_txn_ended *ended; /* NULL: nobody wants to hear of its end */
    const uint8_t *used_key; /* the key that was used last (LR3); by address */
    uint32_t used_size;
};

/* What the lru bytes of entries mean (lru.c). */
enum kv_lru_mode { KV_LRU_NONE, KV_LRU_CLOCK, KV_LRU_FREQ };

/* A key that may be evicted (evict.c). */
struct kv_victim {
    uint64_t score; /* the higher the sooner */
    uint8_t *key;
    uint32_t size, cap;
    uint8_t cls;
};
#define KV_VICTIMS_MAX 16

/* Counters that an undo takes back: changed by kv_edit alone, beside the root
 * they are all that is not a block. */
struct kv_tally {
    uint64_t with_expiry; /* keys that have a deadline */
    uint64_t expired_keys, expired_fields, evicted_keys;
};

/* An index of the live root (index.c). */
struct kv_index {
    struct kv_key prefix, id;
    unsigned columns, flags;
    struct {
        struct kv_key field;
        uint8_t affinity;
    } column[KV_INDEX_COLUMNS_MAX];
};

/* What the definitions say of indexes, and how far the keeper is with them. */
struct kv_schema {
    struct kv_typist typist; /* type NULL: no indexes are kept */
    uint64_t version;        /* defs_version of what is here; 0: none */
    struct kv_index *index;
    unsigned count, cap;
    struct kv_buf bytes;       /* specs and ids, into which `index` points */
    struct kv_buf was, will;   /* entries of one hash */
    const struct kv_key *held; /* this one's wait (kv_index_hold) ... */
    struct kv_buf before;      /* ... and were these: { u32 size, entries }... */
    const struct kv_index *clash; /* what a change was refused for ... */
    struct kv_buf rival;       /* ... and the key that was there; none: the index
                                  is not complete */
    uint64_t done, epoch;      /* all are complete: defs_version, and epoch */
    uint64_t walked;           /* defs_version for which the walk goes on ... */
    unsigned building;         /* ... at this number in `index` ... */
    struct kv_buf at;          /* ... and the key behind which it goes on */
};

struct kv_store {
    struct kv_lock lock;
    kvsql *db;
    const struct kv_os *os;
    struct kv_sink sink;

    struct kv_root live;
    uint64_t gen;     /* birth of new blocks, shifted by KV_GEN_SHIFT */
    uint64_t viewgen; /* word of the newest view, 0 = none */
    struct kv_view *oldest, *newest;
    uint64_t view_count;
    struct kv_view *view_spare; /* one struct, for the next */
    uint64_t view_age_ns, view_bytes_max; /* limits of a view, 0 = none (M8) */
    uint64_t views_ended;
    struct kv_view_news view_news;
    unsigned long_count; /* LONG views, unreleased batches included */
    struct kv_list dead, pend, reap;
    struct kv_shelf shelf;
    struct kv_list scrap; /* what a long txn may free by itself (long.c) */
    uint64_t reaped;      /* entries ever pushed on reap */
    struct kv_list_chunk *spare; /* chunks for room() */
    unsigned spare_count;
    unsigned spare_reserved; /* of them for the release of views (I11) */

    uint8_t *undo;
    size_t undo_used, undo_cap;
    uint64_t undo_base; /* place of undo[0]; places start at 1 */
    size_t undo_txn_max; /* bytes of log after which a txn is long (UN3) */
    bool undo_off;      /* nothing is recorded, to measure what that takes */
    bool running;       /* the newest insert was one of a run (ST6); a hint */
    bool unordered;     /* there may be sorted sets without order (order.c) */

    struct kv_batch_mark *marks; /* ring of unreleased batches */
    uint32_t mark_first, mark_count, mark_cap;

    uint64_t pos;
    atomic_uint_fast64_t released, epoch, position_hint;
    atomic_uint_fast64_t defs_hint; /* defs_version of the last batch */
    uint64_t defs_last; /* the last that was given; never taken back */
    _Atomic(const struct kv_observer *) observer; /* NULL: nobody (observe.c) */
    struct kv_txn txn;
    struct kv_schema schema;

    int64_t delta_bytes; /* blocks made less blocks retired, see tree->bytes */
    uint64_t bytes_live, bytes_retired;
    atomic_uint_fast64_t maxmemory;
    atomic_uint_fast64_t versions_from;
    atomic_int_fast64_t clock_offset; /* store time - boot time, ms */
    uint64_t clock_read_ns, clock_now; /* txn.c: the clock read last, by a txn */
    int64_t clock_skew;
    struct kv_tally tally;
    uint64_t commits, ops;

    enum kv_lru_mode lru_mode;
    uint32_t lfu_factor;  /* lfu-log-factor */
    uint32_t lfu_minutes; /* lfu-decay-time; 0: counters do not decay */
    bool lru_asked;       /* somebody asked how long a key was idle */
    bool lru_sweep;       /* the keeper is on its way through the keys */
    uint8_t lru_cls;      /* class of the key behind which it stands */
    struct kv_buf lru_at; /* that key, a NUL before it; empty: at the start */
    uint64_t random;      /* state of kv_random */

    enum kvsql_maxmemory_policy evict_policy;
    unsigned evict_samples; /* leaves looked at for new candidates */
    unsigned evict_age;     /* uses of evict_buffers since it was read */
    uint64_t evict_buffers; /* bytes of clients (M6) */
    struct kv_victim victims[KV_VICTIMS_MAX]; /* the best first */
    unsigned victim_count;

    _Atomic(kv_latency_fn) latency_note; /* kv_set_latency */
    atomic_uint_fast64_t latency_least;

    struct kv_path reap_path; /* the tree being freed */
    struct kv_tree *reap_tree;
    unsigned reap_root;

    atomic_uint_fast64_t unpin_wanted; /* views whose last pin went */
};

/* How long something takes: 0 when nobody wants to know. */
static inline uint64_t kv_latency_begin(const struct kv_store *store)
{
    return atomic_load_explicit(&store->latency_least, memory_order_relaxed) ==
                   UINT64_MAX
               ? 0
               : kv_os_mono_ns();
}
KV_INTERNAL void kv_latency_end(const struct kv_store *store,
                                enum kv_latency what, uint64_t begun);

/* undo.c */
#define KV_UNDO_TRAILER 16 /* bytes behind each record of the log */
static inline bool kv_room_is(const struct kv_store *store, size_t bytes,
                              unsigned blocks)
{
    return store->undo_used + bytes +
                   (size_t)blocks * 2 * KV_UNDO_TRAILER <=
               store->undo_cap &&
           store->spare_count >=
               2 + 2 * (blocks / LIST_CHUNK_ENTRIES) + store->spare_reserved;
}
KV_INTERNAL bool kv_room_make(struct kv_store *store, size_t bytes,
                              unsigned blocks) KV_MUST_USE;
/* See undo.h. */
KV_MUST_USE static inline bool kv_room(struct kv_store *store, size_t bytes,
                                       unsigned blocks)
{
    return KV_LIKELY(kv_room_is(store, bytes, blocks)) ||
           kv_room_make(store, bytes, blocks);
}
static inline uint64_t kv_undo_mark(const struct kv_store *store)
{
    return store->undo_base + store->undo_used;
}
/* Take back everything behind the mark; with stamps_max != UINT64_MAX stamps
 * are lowered to it (F2). Cannot fail. */
KV_INTERNAL void kv_undo_to(struct kv_store *store, uint64_t mark,
                            uint64_t stamps_max);
/* No stamp of a list is larger than stamp_max from here on. */
KV_INTERNAL void kv_undo_lower(struct kv_store *store, uint64_t stamp_max);
/* Forget the log of released batches. */
KV_INTERNAL void kv_undo_trim(struct kv_store *store);
KV_INTERNAL void kv_undo_record(struct kv_store *store, enum kv_undo_kind kind,
                                void *p);
/* Change the kind of a record that has no bytes. */
KV_INTERNAL void kv_undo_turn(struct kv_store *store, uint64_t record,
                              enum kv_undo_kind kind);
/* A block of a removed tree (reap): no DEAD record, and its bytes have been
 * counted as dead since the tree was removed. */
KV_INTERNAL void kv_retire_reaped(struct kv_store *store, void *block);
/* Bytes counted as live, until now as dead. */
KV_INTERNAL void kv_undo_count_back(struct kv_store *store, uint64_t size);
KV_INTERNAL void kv_block_free(void *block);
KV_INTERNAL void kv_undo_fini(struct kv_store *store);

/* shelf.c */
/* Keep a block that nobody reaches; false: it is to be freed. */
KV_INTERNAL bool kv_shelf_put(struct kv_store *store, void *block,
                              size_t size);
/* Give all back; takes and drops the lock. */
KV_INTERNAL void kv_shelf_clear(struct kv_store *store);
/* Keeper: the same, unless blocks were taken since the last call; then true.
 * Takes and drops the lock. */
KV_INTERNAL bool kv_shelf_tick(struct kv_store *store);
/* A block of just this size, or NULL. */
static inline void *kv_shelf_take(struct kv_store *store, size_t size)
{
    struct kv_shelf *const shelf = &store->shelf;
    const size_t of = size / KV_SHELF_STEP;

    if (size % KV_SHELF_STEP != 0 || of >= KV_SHELF_SIZES ||
        shelf->first[of] == NULL)
        return NULL;
    struct kv_shelf_block *const block = shelf->first[of];
    shelf->first[of] = block->next;
    shelf->count[of]--;
    shelf->taken = true;
    store->bytes_retired -= size;
    kv_mem_show(block, size);
    return block;
}

/* list.c */
/* One more chunk at the tail. */
KV_INTERNAL void kv_list_extend(struct kv_store *store, struct kv_list *list);
static inline void kv_list_push(struct kv_store *store, struct kv_list *list,
                                void *block, uint64_t stamp)
{
    if (KV_UNLIKELY(list->tail == NULL ||
                    list->tail->to == LIST_CHUNK_ENTRIES))
        kv_list_extend(store, list);
    list->tail->entry[list->tail->to++] =
        (struct kv_list_entry){.block = block, .stamp = stamp};
    list->count++;
}
KV_INTERNAL bool kv_list_pop(struct kv_store *store, struct kv_list *list,
                             struct kv_list_entry *entry, uint64_t stamp_max);
/* The newest place of the list, a hole perhaps; NULL: there is none. */
KV_INTERNAL const struct kv_list_entry *kv_list_last(
    const struct kv_list *list);
KV_INTERNAL void kv_list_drop_last(struct kv_store *store,
                                   struct kv_list *list);
/* Give the first chunk of the list back. */
KV_INTERNAL void kv_list_drop_head(struct kv_store *store,
                                   struct kv_list *list);
KV_INTERNAL void kv_list_join(struct kv_list *to, struct kv_list *from);
KV_INTERNAL struct kv_list_chunk *kv_list_chunk_new(void);
KV_INTERNAL void kv_list_chunk_free(struct kv_list_chunk *chunk);
KV_INTERNAL void kv_list_give(struct kv_store *store,
                              struct kv_list_chunk *chunk);

/* view.c */
KV_INTERNAL struct kv_view *kv_view_take(struct kv_store *store, bool inside);
/* Release views without pins, oldest first, moving at most `budget` blocks. */
KV_INTERNAL bool kv_view_release_some(struct kv_store *store, unsigned budget);
/* Free all views, which have no pins, and all retired blocks: the store is
 * closed. Allocates nothing and cannot fail (M4). */
KV_INTERNAL void kv_view_close(struct kv_store *store);
/* A block of `size` bytes is retired: the newest views see it, those born no
 * earlier than it (I1). */
static inline void kv_view_retain(struct kv_store *store, const void *block,
                                  size_t size)
{
    for (struct kv_view *view = store->newest;
         view != NULL && !kv_block_newer(block, view->gen); view = view->older)
        view->retained += size;
}
/* An undo brings it back. */
KV_INTERNAL void kv_view_unretain(struct kv_store *store, const void *block);
/* End the views that are over their limits (M8); with `full`, those of
 * snapshots, too (EV3). */
KV_INTERNAL void kv_view_end_some(struct kv_store *store, bool full);
/* VIEW record met by an undo. */
KV_INTERNAL void kv_view_drop(struct kv_store *store, struct kv_view *view);
/* Take at most `max` blocks that nobody can reach; the caller frees them after
 * unlocking. Others go on the shelf. */
KV_INTERNAL unsigned kv_view_collect(struct kv_store *store, void **block,
                                     unsigned max);
/* Free blocks that nobody can reach, at most `budget`. Takes and drops the
 * lock itself. */
KV_INTERNAL bool kv_view_gc(struct kv_store *store, unsigned budget);

/* long.c: transactions whose log would become too long (UN3). */
/* A boundary of the open txn, its log over the limit or LONG views there. */
KV_INTERNAL void kv_long_step(struct kv_store *store);
/* LONG record met by an undo. */
KV_INTERNAL void kv_long_undo(struct kv_store *store, struct kv_view *view);
/* The txn ends, committed or taken back: nothing of it is freed early from
 * here on. */
KV_INTERNAL void kv_long_end(struct kv_store *store);
/* Give back the LONG views of batches that are released. */
KV_INTERNAL void kv_long_release(struct kv_store *store);

/* deadline.c: delete what has expired, as ordinary batches; takes the lock
 * itself. True when there is more to do now. */
KV_INTERNAL bool kv_expire_some(struct kv_store *store);
/* Bounds of deadlines are in steps of so many ms: what has expired is hidden at
 * once and removed a step later at most. */
#define KV_EXPIRE_STEP_MS 64
/* Is there something that has expired, or will within a step? Takes the lock. */
KV_INTERNAL bool kv_expire_pending(struct kv_store *store);

/* answers.c */
/* The tree of the live answers, to be changed; NULL: no memory. */
KV_INTERNAL struct kv_tree *kv_answers_own(struct kv_store *store);
/* One after the other, of a state that does not change; `walk` begins as zero.
 * False: there is none any more. */
struct kv_answer {
    struct kv_key key;
    struct kv_val value;
    int64_t expires_at;
    uint8_t buffer[KV_KEY_BUFFER]; /* the key may lie here */
};
KV_INTERNAL bool kv_answers_next(const struct kv_at *at, struct kv_walk *walk,
                                 struct kv_answer *out);

/* index.c: before and behind changes of a hash; nothing without a definition.
 * A definition has no trees between the start and the keeper's first tick, and
 * its STRICT indexes hold then, too.
 * False: no memory, the change is to be taken back. */
/* The hash under the key goes, or something else takes its place. */
KV_INTERNAL bool kv_index_gone_slow(struct kv_store *store,
                                    const struct kv_key *key) KV_MUST_USE;
KV_MUST_USE static inline bool kv_index_gone(struct kv_store *store,
                                             const struct kv_key *key)
{
    return KV_LIKELY(store->live.defs == NULL) ||
           kv_index_gone_slow(store, key);
}
/* The hash under the key is another from now on; NULL: there is none. */
KV_INTERNAL bool kv_index_between_slow(struct kv_store *store,
                                       const struct kv_key *key,
                                       const struct kv_cell *was,
                                       const struct kv_cell *will) KV_MUST_USE;
KV_MUST_USE static inline bool kv_index_between(struct kv_store *store,
                                                const struct kv_key *key,
                                                const struct kv_cell *was,
                                                const struct kv_cell *will)
{
    return KV_LIKELY(store->live.defs == NULL) ||
           kv_index_between_slow(store, key, was, will);
}
/* A hash has come with the key. */
KV_INTERNAL bool kv_index_came(struct kv_store *store, const struct kv_key *key,
                               const struct kv_cell *cell) KV_MUST_USE;
/* All keys went, and with them the tree in live.indexes: new, empty ones. */
KV_INTERNAL bool kv_index_flush(struct kv_store *store) KV_MUST_USE;
/* The definition of the name goes, or has come. */
KV_INTERNAL bool kv_index_undefine(struct kv_store *store,
                                   kvsql_slice name) KV_MUST_USE;
KV_INTERNAL bool kv_index_define(struct kv_store *store,
                                 kvsql_slice name) KV_MUST_USE;
/* Keeper: a slice of what is not complete; takes the lock itself. True when
 * there is more to do now. */
KV_INTERNAL bool kv_index_build_some(struct kv_store *store);
/* A change was refused by a STRICT index: the sentence, and forget it. KVSQL_OK:
 * none was. */
KV_INTERNAL kvsql_rc kv_index_refused(struct kv_store *store,
                                      struct kvsql_error *err);
/* Asserts that indexes hold what the hashes say. */
KV_INTERNAL void kv_index_check(struct kv_store *store);
KV_INTERNAL void kv_index_fini(struct kv_store *store);

/* order.c */
/* Does the tree, of a sorted set, wait for its order (OR1)? */
static inline bool kv_order_waits(const struct kv_tree *tree)
{
    return tree->root[2] == NULL && tree->count[0] + tree->count[1] > 0;
}
/* A member of the sorted set, whose tree is owned, is about to be put by a replay:
 * its order goes if that is likely to be worth it. False: no memory. */
KV_INTERNAL bool kv_order_let_go(struct kv_txn *txn,
                                 struct kv_tree *tree) KV_MUST_USE;

/* evict.c */
/* Room for a change that grows the store: evicts while maxmemory is passed.
 * KVSQL_OOM: there is none to be had. Not between a look at a key and its
 * change. */
KV_INTERNAL kvsql_rc kv_evict_room(struct kv_txn *txn, struct kvsql_error *err);
/* Keeper: a slice of what is over maxmemory; takes the lock itself. True when
 * there is more to do now. */
KV_INTERNAL bool kv_evict_some(struct kv_store *store);
KV_INTERNAL void kv_evict_fini(struct kv_store *store);

/* reap.c: what lies below a node. */
struct kv_below {
    void *arg;
    void (*blob)(void *arg, struct kv_blob *blob);
    void (*tree)(void *arg, struct kv_tree *tree); /* a key's collection */
};
/* Call for each block but nodes that this node owns. */
KV_INTERNAL void kv_node_below(const struct kv_node *node,
                               const struct kv_below *below);
KV_INTERNAL struct kv_node *kv_node_child(const struct kv_node *node,
                                          uint32_t index);

/* reap.c: retire blocks of removed trees; true when there is more. */
KV_INTERNAL bool kv_reap_some(struct kv_store *store, unsigned budget);
/* Free all that the live root and removed trees hold: the store is closed, no
 * view is left. Allocates nothing and cannot fail (M4). O(keys). */
KV_INTERNAL void kv_reap_close(struct kv_store *store);

/* store.c */
KV_INTERNAL uint64_t kv_store_clock(struct kv_store *store, int64_t *skew);
static inline uint64_t kv_time_keep(int64_t wall, int64_t skew)
{
    int64_t kept;

    if (__builtin_sub_overflow(wall, skew, &kept))
        kept = INT64_MAX; /* the skew is never positive */
    return wall == 0 ? 0 : kept > 0 ? (uint64_t)kept : 1;
}
static inline int64_t kv_time_show(uint64_t kept, int64_t skew)
{
    return kept == 0 ? 0 : (int64_t)kept + skew;
}
/* A counter of the tally plus one, taken back with the batch. A change went
 * before: so there is room in the log. */
KV_INTERNAL void kv_store_count(struct kv_store *store, uint64_t *counter);
/* Put the key's cell into the live tree, with its version; *old (may be NULL)
 * is what was there. What the old cell held is retired unless `keep`. */
KV_INTERNAL bool kv_key_put(struct kv_txn *txn, const struct kv_key *key,
                            const struct kv_cell *cell, bool keep) KV_MUST_USE;
/* The same along the key's path, owned, since when no key was moved; NULL: it is
 * looked for. */
KV_INTERNAL bool kv_key_put_at(struct kv_txn *txn, const struct kv_key *key,
                               struct kv_path *path,
                               const struct kv_cell *cell,
                               bool keep) KV_MUST_USE;
KV_INTERNAL bool kv_key_remove(struct kv_txn *txn, const struct kv_key *key,
                               bool keep, bool *existed) KV_MUST_USE;
/* The key that was looked for last (kv_key_path) was found, and nothing but
 * indexes has changed since: own the way there, which is txn->path; and remove
 * the key. False: no memory. */
KV_INTERNAL bool kv_key_own_found(struct kv_txn *txn,
                                  const struct kv_key *key) KV_MUST_USE;
KV_INTERNAL bool kv_key_remove_found(struct kv_txn *txn,
                                     const struct kv_key *key) KV_MUST_USE;
KV_INTERNAL void kv_cell_drop(struct kv_store *store,
                              const struct kv_cell *cell);
/* The hint to the key, if it leads there or to where the key would be; or
 * NULL. */
KV_INTERNAL struct kv_path *kv_key_hint_slow(struct kv_txn *txn,
                                             const struct kv_key *key);
static inline struct kv_path *kv_key_hint(struct kv_txn *txn,
                                          const struct kv_key *key)
{
    return KV_LIKELY(txn->hints == NULL) || txn->hints->key_p != key->p
               ? NULL
               : kv_key_hint_slow(txn, key);
}
/* The path to the key in the live tree (txn->path), expired or not, found or
 * not; with txn->near the leaf of the last one is tried first. The next change
 * of what was found does not look again. */
KV_INTERNAL struct kv_path *kv_key_path(struct kv_txn *txn,
                                        const struct kv_key *key);
/* The key's cell in the live tree, expired or not. */
KV_INTERNAL bool kv_key_find(struct kv_store *store, const struct kv_key *key,
                             struct kv_cell *cell);
/* Field deadlines that a cell of a hash carries: bound, BOUND_NONE if none. */
KV_INTERNAL uint64_t kv_cell_field_bound(const struct kv_cell *cell);

/* value.c: values as cells and back. */
/* A cell for `value`: integer, inline, or a new blob. False: no memory. */
KV_INTERNAL bool kv_cell_value(struct kv_store *store,
                               const struct kv_key *value,
                               struct kv_cell *cell) KV_MUST_USE;
/* A cell for the number. Its bytes lie in the cell: do not copy it by value. */
KV_INTERNAL void kv_cell_int(struct kv_cell *cell, int64_t number);
KV_INTERNAL void kv_cell_read(const struct kv_cell *cell, struct kv_val *out);
/* The integer that a string is; false: it is none. */
KV_INTERNAL bool kv_cell_number(const struct kv_cell *cell, int64_t *number);
static inline void kv_item_of(const struct kv_cell *cell, int64_t skew, struct kv_item *item)
{
    const struct kv_blob *blob = cell->ptr;

    item->type = (enum kv_type)cell->type;
    item->expires_at = kv_time_show(cell->exp, skew);
    item->version = cell->ver;
    item->gen = cell->has_ver;
    item->entry = NULL;
    item->lru = cell->lru;
    item->form = cell->form;
    item->cls = cell->cls;
    item->tree = NULL;
    item->payload = cell->payload;
    item->payload_size = cell->size;
    if (cell->form == KV_FORM_TREE) {
        item->tree = cell->ptr;
    } else if (cell->form == KV_FORM_BLOB ||
               cell->form == KV_FORM_PACKED_BLOB) {
        item->payload = blob->d;
        item->payload_size = blob->len;
        item->entry = cell->ptr;
    }
}
KV_INTERNAL void kv_val_bytes(struct kv_val *out, const uint8_t *p,
                              uint32_t size, uint8_t cls, bool stable);
KV_INTERNAL double kv_score_read(const uint8_t *p);
/* Order-preserving bytes of a score (EN3), and back. */
KV_INTERNAL void kv_score_key(uint8_t out[8], double score);
KV_INTERNAL double kv_score_of_key(const uint8_t in[8]);

/* txn.c: the frame of every effect. */
/* Under the lock: the store's txn begins; `replay` of what was decided before.
 * KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc kv_txn_open(struct kv_store *store, bool replay,
                                 struct kvsql_error *err) KV_MUST_USE;
/* Limits, wal state, maxmemory; *mark is where kv_change_end goes back to. What
 * is to stand whatever comes (an expired key's deletion) is done before a new
 * kv_txn_mark(). */
KV_INTERNAL kvsql_rc kv_change_begin(struct kv_txn *txn,
                                     const struct kv_key *key, size_t size,
                                     bool grow, struct kv_mark *mark,
                                     struct kvsql_error *err) KV_MUST_USE;
/* Appends the op when ok, else takes everything back and answers NOMEM. */
KV_INTERNAL kvsql_rc kv_change_end(struct kv_txn *txn,
                                   const struct kv_mark *mark, bool ok,
                                   const struct kv_op *op,
                                   struct kvsql_error *err) KV_MUST_USE;
/* The begin of a change that makes the key: *existed when it is there, of
 * whatever type; then nothing has begun. *path leads to where it goes
 * (kv_tree_path_own is next); NULL: it may be another way, or something that has
 * expired is there. */
KV_INTERNAL kvsql_rc kv_change_new(struct kv_txn *txn, const struct kv_key *key,
                                   size_t size, bool *existed,
                                   struct kv_path **path, struct kv_mark *mark,
                                   struct kvsql_error *err) KV_MUST_USE;
/* Find the key for a change: an expired one is deleted first (T4). *exists;
 * KVSQL_WRONGTYPE when it holds another type than `type` (KV_NONE = any). */
KV_INTERNAL kvsql_rc kv_change_find(struct kv_txn *txn,
                                    const struct kv_key *key,
                                    enum kv_type type, bool *exists,
                                    struct kv_cell *cell,
                                    struct kvsql_error *err) KV_MUST_USE;
/* The same when the caller found the key: *exists becomes false when it had
 * expired. */
KV_INTERNAL kvsql_rc kv_change_check(struct kv_txn *txn,
                                     const struct kv_key *key,
                                     enum kv_type type, bool *exists,
                                     const struct kv_cell *cell,
                                     struct kvsql_error *err) KV_MUST_USE;
/* clock_now and clock_skew become right to TXN_CLOCK_NS, for what begins now.
 * Under the lock (txn.c). */
KV_INTERNAL void kv_txn_clock(struct kv_store *store);
/* Tell the observer of a batch that has its position (observe.c). */
KV_INTERNAL void kv_observe_done(const struct kv_txn *txn);
KV_INTERNAL void kv_observe_undone(struct kv_store *store);
/* Tell it now of what came behind a kv_txn_tell: it was nobody's doing. */
KV_INTERNAL void kv_observe_upkeep(struct kv_txn *txn);
static inline kvsql_slice kv_slice_of(const struct kv_key *key)
{
    return (kvsql_slice){.p = key->p, .size = key->size};
}

/* Is the key gone for readers at this store time: its own deadline has come, or
 * that of its last field (elems.c)? */
KV_INTERNAL bool kv_cell_due(const struct kv_cell *cell, uint64_t now);
static inline bool kv_cell_hidden(const struct kv_cell *cell, uint64_t now)
{
    return (cell->exp != 0 || cell->type == KV_HASH) && kv_cell_due(cell, now);
}
/* The same of a leaf's entry, taken apart in `cell` already. The cell is not
 * handed on, so that it can stay in registers. */
KV_INTERNAL bool kv_entry_due(const struct kv_node *leaf, uint32_t index,
                              uint64_t now);
static inline bool kv_entry_hidden(const struct kv_node *leaf, uint32_t index,
                                   const struct kv_cell *cell, uint64_t now)
{
    return (cell->exp != 0 || cell->type == KV_HASH) &&
           kv_entry_due(leaf, index, now);
}
/* The packed run of a cell, or NULL for the tree form (value.c). */
KV_INTERNAL const uint8_t *kv_cell_run(const struct kv_cell *cell,
                                       uint32_t *size);

/* Keys in two trees, by the class of each (read.c). */
KV_INTERNAL void kv_look_roots(struct kv_node *const *roots,
                               const struct kv_key *keys, bool *found,
                               unsigned n);

#endif
