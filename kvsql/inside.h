/* inside.h - the second face of the library, for our own upper rooms.
 *
 * vtab/, command/ and the doors reach the store through this file alone: keys
 * and values as bytes with a class, views, typed reading, transactions whose
 * effects are ops, gates, snapshots, statistics.
 *
 *   reading   kv_pin -> kv_at_view -> kv_get / cursors -> kv_unpin
 *   writing   kv_txn_begin -> kv_at_txn + effects -> kv_txn_commit -> gate
 *
 * Times are wall milliseconds since the epoch; 0 means "no expiry". A key or
 * field whose time has come is invisible to everything here (T4).
 *
 * Thread: views may be read by any number of threads at once; a txn belongs
 * to the thread that began it and holds the store lock until its end. */
#ifndef KVSQL_INSIDE_H
#define KVSQL_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"
#include "kvsql/base/error.h"
#include "kvsql/base/text.h"
#include "kvsql/kvsql.h"

struct kv_store;
struct kv_root;
struct kv_node;
struct kv_tree;
struct kv_view;
struct kv_txn;
struct kv_os;

/* ---- keys and values ---------------------------------------------------- */

/* A key, field or member: bytes and their class, made once where an argument
 * is decoded (KO3). Borrowed. */
struct kv_key {
    const uint8_t *p;
    uint32_t size;
    uint8_t cls; /* enum kv_class */
};

KV_HEADER_INLINE struct kv_key kv_key_of(const void *p, size_t size)
{
    return (struct kv_key){.p = (const uint8_t *)(p ? p : ""),
                           .size = (uint32_t)size,
                           .cls = (uint8_t)kv_class_of(p, size)};
}

/* Order of KO1: TEXT before BLOB, memcmp inside, shorter first. */
KV_INTERNAL int kv_key_compare(const struct kv_key *a, const struct kv_key *b);

/* Bytes read from the store. `p` is never NULL. With `stable`, p points into
 * the store, p[size] is NUL, and it lives as long as the view is pinned (on a
 * txn: until the next change). Else p points into scratch[] (an integer) or
 * into the cursor's buffer (an assembled key): do not copy this struct by
 * value, and copy the bytes before the struct or cursor moves on. */
struct kv_val {
    const uint8_t *p;
    uint32_t size;
    uint8_t cls;   /* enum kv_class */
    bool stable;
    bool is_int;   /* the bytes are canonical decimal of `number` */
    int64_t number;
    char scratch[24];
};

enum kv_type {
    KV_NONE = 0,
    KV_STRING = 1,
    KV_HASH = 2,
    KV_LIST = 3,
    KV_SET = 4,
    KV_ZSET = 5,
    KV_STREAM = 6
};
/* "string", "hash", "list", "set", "zset", "stream"; "none" for KV_NONE. */
KV_INTERNAL const char *kv_type_name(enum kv_type type);

/* ---- where to read ------------------------------------------------------- */

/* A place to read from: a view, or the live tree inside a txn. Plain data,
 * may be copied; valid as long as the view or txn. */
struct kv_at {
    struct kv_store *store;
    const struct kv_root *root;
    uint64_t now;      /* store time, ms (DL2) */
    int64_t skew;      /* wall = store time + skew */
    uint64_t position; /* of the state read */
    bool live;
};

/* Pin the newest released state; may take a view, and waits until its position
 * is released (store.md 5.2). O(1). KVSQL_NOMEM; KVSQL_CLOSED. */
KV_INTERNAL kvsql_rc kv_pin(kvsql *db, struct kv_view **view,
                            struct kvsql_error *err) KV_MUST_USE;
/* The same, and where it reads as kv_at_view() says; what begins within some
 * microseconds shares one reading of the clock, as txns do. */
KV_INTERNAL kvsql_rc kv_pin_at(kvsql *db, struct kv_view **view,
                               struct kv_at *at, struct kvsql_error *err)
    KV_MUST_USE;
/* The same as kv_pin; KVSQL_BUSY when a txn holds the store for longer. */
KV_INTERNAL kvsql_rc kv_pin_within(kvsql *db, uint64_t timeout_ms,
                                   struct kv_view **view,
                                   struct kvsql_error *err) KV_MUST_USE;
/* One more pin of a view that somebody keeps pinned meanwhile, for another to
 * read. INTERRUPT: it has ended (kv_view_ended), or is older than an index that
 * its reader would look into. Any thread. */
KV_INTERNAL kvsql_rc kv_view_again(struct kv_view *view,
                                   struct kvsql_error *err) KV_MUST_USE;
/* Any thread; NULL is fine. */
KV_INTERNAL void kv_unpin(struct kv_view *view);
/* The caller holds the store lock. */
KV_INTERNAL void kv_unpin_locked(struct kv_view *view);
/* False, and it is still pinned, when that would have to wait. */
KV_INTERNAL bool kv_unpin_try(struct kv_view *view) KV_MUST_USE;
/* The same for one who may take long, a snapshot: the view is not shared, has
 * no age, and is ended for its size only when memory is short (EV3). */
KV_INTERNAL kvsql_rc kv_pin_own(kvsql *db, struct kv_view **view,
                                struct kvsql_error *err) KV_MUST_USE;
/* INTERRUPT, with a sentence for the reader: the view is past its limits
 * (kv_set_views), and is to be unpinned soon. It stays readable until then. A
 * long read asks now and then. Cheap; any thread that has it pinned. */
KV_INTERNAL kvsql_rc kv_view_ended(const struct kv_view *view,
                                   struct kvsql_error *err);
KV_INTERNAL uint64_t kv_view_position(const struct kv_view *view);
/* Number of a view, > 0; no other has it. */
KV_INTERNAL uint64_t kv_view_id(const struct kv_view *view);
/* Say who has it, for kv_view_list(); a static word. The last to say so stands. */
KV_INTERNAL void kv_view_hold(struct kv_view *view, const char *holder);
struct kv_view_info {
    uint64_t id, position, age_ms;
    unsigned pins;
    uint64_t bytes; /* that it sees and that writes have replaced */
    const char *holder; /* "" when nobody has said so */
};
/* Views that are pinned, oldest first; returns how many were filled. Takes the
 * store lock, unless `txn` (or NULL) is of this thread. */
KV_INTERNAL unsigned kv_view_list(kvsql *db, struct kv_txn *txn,
                                  struct kv_view_info *out, unsigned max);
/* Start reading a view, with `now` taken here (T3). */
KV_INTERNAL void kv_at_view(const struct kv_view *view, struct kv_at *at);
/* Wall ms of at->now. */
KV_INTERNAL int64_t kv_at_wall(const struct kv_at *at);

/* Wall ms now, from the handle's clock. */
KV_INTERNAL int64_t kv_now(kvsql *db);

/* ---- keys ---------------------------------------------------------------- */

/* A key that was found. Plain data, may be copied; valid as long as the at it
 * came from (on a txn: until the next change). */
struct kv_item {
    enum kv_type type;
    int64_t expires_at; /* wall ms, 0 = never */
    uint64_t version;   /* EN6; filled by kv_item_version */
    uint64_t gen;       /* private from here */
    const uint8_t *entry;
    const uint8_t *lru;
    const uint8_t *payload;
    const struct kv_tree *tree;
    uint32_t payload_size;
    uint8_t form, cls;
};

/* False when the key is absent or expired. O(log n). */
KV_INTERNAL bool kv_get(const struct kv_at *at, const struct kv_key *key,
                        struct kv_item *item);
/* The same in a txn, for a key that is to be changed: its change need not look
 * for it again. `near`: the key before it, looked for or changed last, is likely
 * to lie beside it, or is the same. */
KV_INTERNAL bool kv_txn_get(struct kv_txn *txn, const struct kv_key *key,
                            bool near, struct kv_item *item);
#define KV_BATCH_MAX 32
/* n <= KV_BATCH_MAX keys at once, prefetched (store.md section 6); found[i]
 * tells. */
KV_INTERNAL void kv_get_batch(const struct kv_at *at, const struct kv_key *keys,
                              struct kv_item *items, bool *found, unsigned n);
/* The same walk with the results dropped: warms the cache. */
KV_INTERNAL void kv_warm_batch(const struct kv_at *at,
                               const struct kv_key *keys, unsigned n);

/* Bytes of a string, else number of elements (expired fields included until
 * they are removed). O(1). */
KV_INTERNAL uint64_t kv_item_length(const struct kv_item *item);
/* Bytes of memory of the key and its value, estimated. O(1). */
KV_INTERNAL uint64_t kv_item_memory(const struct kv_item *item,
                                    uint32_t key_size);
/* Bytes of memory that the key takes, its value and its share of the nodes
 * included: the sum over all keys is the memory of the data. False when the
 * key is absent or expired. O(log n). */
KV_INTERNAL bool kv_key_memory(const struct kv_at *at, const struct kv_key *key,
                               uint64_t *bytes);
/* Redis's name of the encoding: "int", "embstr", "listpack", ... */
KV_INTERNAL const char *kv_item_encoding(const struct kv_item *item);
/* Version of the key (EN6). Starts version keeping at the first question, so
 * it takes the store lock unless `at` is a txn's. */
KV_INTERNAL uint64_t kv_item_version(const struct kv_at *at,
                                     const struct kv_item *item);
/* A command uses the key: LRU and LFU take note, at most once for each command.
 * Only on a txn; nothing on a view. */
KV_INTERNAL void kv_item_note(const struct kv_at *at, const struct kv_key *key,
                              const struct kv_item *item);
KV_HEADER_INLINE void
kv_item_use(const struct kv_at *at, const struct kv_key *key,
            const struct kv_item *item)
{
    if (KV_UNLIKELY(item->lru != NULL)) /* its entry has the bytes */
        kv_item_note(at, key, item);
}
/* Seconds since the key was used; kept from the first question on, so the first
 * answer may be 0. NOTFOUND; INVALID under an LFU policy, with Redis's
 * sentence; NOMEM. */
KV_INTERNAL kvsql_rc kv_item_idle(struct kv_txn *txn, const struct kv_key *key,
                                  uint64_t *idle, struct kvsql_error *err);
/* Milliseconds, in whole seconds, since the key of an item was used, seen from
 * `at`; below 0: not known. All keys note it from the first question on, which
 * takes the store lock unless `at` is a txn's. */
KV_INTERNAL int64_t kv_item_idle_at(const struct kv_at *at,
                                    const struct kv_item *item);
/* The counter of an LFU policy. NOTFOUND; INVALID under any other policy. */
KV_INTERNAL kvsql_rc kv_item_freq(struct kv_txn *txn, const struct kv_key *key,
                                  uint64_t *freq, struct kvsql_error *err);
/* The same two of an item, seen from `at`, which may be a view: reading it is no
 * use of the key. What is not known yet is 0, or that of a new key. INVALID as
 * above. A first question takes the store lock unless `at` is a txn's. */
KV_INTERNAL kvsql_rc kv_item_idle_seen(const struct kv_at *at,
                                       const struct kv_item *item,
                                       uint64_t *idle,
                                       struct kvsql_error *err);
KV_INTERNAL kvsql_rc kv_item_freq_seen(const struct kv_at *at,
                                       const struct kv_item *item,
                                       uint64_t *freq,
                                       struct kvsql_error *err);
/* How long the key has not been used, in seconds, and how often it was, 0 to
 * 255; below 0: not known. The one that the policy of maxmemory asks for is
 * noted, if it asks at all. */
KV_INTERNAL void kv_item_used(struct kv_txn *txn, const struct kv_key *key,
                              int64_t idle, int64_t freq);
/* Value of a string. */
KV_INTERNAL void kv_item_string(const struct kv_item *item, struct kv_val *out);
/* Its bytes alone, where they lie. False: it is a number, and not written out. */
KV_INTERNAL bool kv_item_bytes(const struct kv_item *item, kvsql_slice *out);
/* The same, and false when their class is not known either (EN5). */
KV_INTERNAL bool kv_item_text(const struct kv_item *item, kvsql_slice *out,
                              unsigned *cls);

struct kv_buf;
/* Append the value as bytes for kv_restore(), its expiry not included (format:
 * docs/FORMATS.md). False: nothing is left of it, every field has expired. */
KV_INTERNAL bool kv_item_dump(const struct kv_at *at,
                              const struct kv_item *item, struct kv_buf *out);

/* Keys in the whole keyspace (expired ones that are not removed included). */
KV_INTERNAL uint64_t kv_count_all(const struct kv_at *at);
/* Keys before `key` in KO1 order, whether `key` exists or not. O(log n). */
KV_INTERNAL uint64_t kv_rank(const struct kv_at *at, const struct kv_key *key);
/* Keys with lo <= key < hi, exact for unexpired keys (kv_count of sql.md 2.8);
 * hi NULL = no upper bound. O(log n) + expired keys in the range. */
KV_INTERNAL uint64_t kv_count_range(const struct kv_at *at,
                                    const struct kv_key *lo,
                                    const struct kv_key *hi);

/* ---- cursor over keys, in KO1 order -------------------------------------- */

#define KV_HEIGHT_MAX 12
#define KV_KEY_BUFFER 1024 /* an assembled key: prefix <= 512 + suffix <= 240 */

struct kv_cursor_step {
    const struct kv_node *node;
    uint32_t index;
};

/* Walks one tree family (two roots, or one). Private but for the size. */
struct kv_walk {
    const struct kv_node *root[2];
    struct kv_cursor_step path[KV_HEIGHT_MAX];
    uint8_t depth, which; /* which root */
    bool valid;
};

/* No memory is owned: there is no close. On a txn a cursor is invalid after
 * any change; seek again. */
struct kv_keys {
    struct kv_at at;
    struct kv_walk walk;
    unsigned types;     /* mask 1 << kv_type of what is wanted; 0 = all */
    struct kv_key key;  /* current key: assembled in buffer, or in the store */
    struct kv_item item;
    bool key_stable;    /* key.p points into the store */
    const struct kv_node *prefix_of; /* private: whose prefix is in buffer */
    const uint8_t *plain; /* private: the string of kv_keys_next_plain() */
    const struct kv_node *end_leaf;  /* private: where kv_keys_end() put it */
    uint32_t end_index;
    uint8_t buffer[KV_KEY_BUFFER];
};

KV_INTERNAL void kv_keys_init(struct kv_keys *keys, const struct kv_at *at,
                              unsigned types);
/* Each places the cursor and fills key and item; false when nothing is there.
 * Expired keys and other types are skipped in the direction of the seek. */
KV_INTERNAL bool kv_keys_first(struct kv_keys *keys);
KV_INTERNAL bool kv_keys_last(struct kv_keys *keys);
/* First key >= `key` (> with `after`). */
KV_INTERNAL bool kv_keys_seek(struct kv_keys *keys, const struct kv_key *key,
                              bool after);
/* Last key <= `key` (< with `before`). */
KV_INTERNAL bool kv_keys_seek_back(struct kv_keys *keys,
                                   const struct kv_key *key, bool before);
/* The key of 0-based rank (expired ones count, and are skipped forwards). */
KV_INTERNAL bool kv_keys_seek_rank(struct kv_keys *keys, uint64_t rank);
KV_INTERNAL bool kv_keys_next(struct kv_keys *keys);
/* The same, but `key` need not be filled: it holds nothing of use until the
 * next seek. For who reads items alone; a third cheaper. */
KV_INTERNAL bool kv_keys_next_item(struct kv_keys *keys);
/* The same for who may want nothing of the row: when the next key lies in the
 * same leaf and is a string without a deadline, step on it, and fill neither
 * key nor item. False: nothing was done, it is for kv_keys_next(). Not at the
 * end, not in a walk by types. */
KV_INTERNAL bool kv_keys_next_plain(struct kv_keys *keys);
/* Of such a string: its bytes, when they are TEXT and written out; its key
 * alone, in keys->key as ever; or key and item after all. */
KV_INTERNAL bool kv_keys_plain_text(const struct kv_keys *keys,
                                    kvsql_slice *out);
KV_INTERNAL const struct kv_key *kv_keys_plain_key(struct kv_keys *keys);
KV_INTERNAL void kv_keys_plain_fill(struct kv_keys *keys);
/* Step over keys of the types in the mask (0: all) that follow in the same
 * leaf, where it is cheap to know that they are and have not expired: on to the
 * last of them. Returns how many they are. Key and item hold nothing of use
 * then. For who counts. */
KV_INTERNAL uint32_t kv_keys_run(struct kv_keys *keys, unsigned types);
/* Let kv_keys_next() and its like end before the first key > `key`
 * (>= with `before`), until the next seek; the cursor stands before it.
 * O(log n): cheaper than to compare each key when many follow. */
KV_INTERNAL void kv_keys_end(struct kv_keys *keys, const struct kv_key *key,
                             bool before);
KV_INTERNAL bool kv_keys_prev(struct kv_keys *keys);

/* Keys with a deadline in [from, to] wall ms, in order of deadline (DL5).
 * Calls each(arg, key, item) until it returns false. KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc kv_deadlines(const struct kv_at *at, int64_t from,
                                  int64_t to,
                                  bool (*each)(void *arg,
                                               const struct kv_key *key,
                                               const struct kv_item *item),
                                  void *arg, struct kvsql_error *err);

/* ---- elements of collections --------------------------------------------- */

/* One element. Which parts are filled depends on the type:
 *   hash   key = field, value, expires_at      set   key = member
 *   zset   key = member, score                 list  value, index */
struct kv_elem {
    struct kv_val key;
    struct kv_val value;
    double score;
    int64_t expires_at; /* field TTL, wall ms, 0 = none */
    uint64_t index;     /* list */
};

/* Field, member. False when absent or expired. `out` may be NULL. O(log n). */
KV_INTERNAL bool kv_elem_find(const struct kv_at *at, const struct kv_item *item,
                              const struct kv_key *key, struct kv_elem *out);
/* Look up n <= KV_BATCH_MAX fields or members together, in the tree form;
 * there[i] tells, and does not look at deadlines of fields. In the packed form
 * none is said to be there. */
KV_INTERNAL void kv_look_elems(const struct kv_item *item,
                               const struct kv_key *keys, bool *there,
                               unsigned n);
/* List element by 0-based index. O(log n). */
KV_INTERNAL bool kv_elem_at(const struct kv_at *at, const struct kv_item *item,
                            uint64_t index, struct kv_elem *out);
/* Rank of a zset member in score order (Redis's: score, then bytes). */
KV_INTERNAL bool kv_elem_rank(const struct kv_at *at,
                              const struct kv_item *item,
                              const struct kv_key *member, uint64_t *rank);
/* Elements of a zset with a score below `score` (or <= with `inclusive`). */
KV_INTERNAL uint64_t kv_elem_score_rank(const struct kv_at *at,
                                        const struct kv_item *item,
                                        double score, bool inclusive);
/* Elements of hash, set, zset before `key` in KO1 order. */
KV_INTERNAL uint64_t kv_elem_key_rank(const struct kv_at *at,
                                      const struct kv_item *item,
                                      const struct kv_key *key);

enum kv_elem_order {
    KV_ELEMS_KEY,   /* hash, set, zset: KO1 order of field or member */
    KV_ELEMS_SCORE, /* zset: score, then bytes of the member */
    KV_ELEMS_INDEX  /* list */
};

#define KV_PACKED_COUNT_MAX 128

/* Cursor over the elements of one item. Owns no memory; same life as the item.
 * Expired fields are skipped. */
struct kv_elems {
    struct kv_at at;
    struct kv_item item;
    enum kv_elem_order order;
    struct kv_walk walk;              /* tree form */
    uint16_t sorted[KV_PACKED_COUNT_MAX]; /* packed form: offsets in order */
    uint32_t packed_count, packed_index;
    uint64_t index;                   /* list: current; leaf offset private */
    uint32_t leaf_offset;
    bool valid;
    struct kv_elem elem;              /* the current element */
    uint8_t buffer[KV_KEY_BUFFER];
};

KV_INTERNAL void kv_elems_init(struct kv_elems *elems, const struct kv_at *at,
                               const struct kv_item *item,
                               enum kv_elem_order order);
KV_INTERNAL bool kv_elems_first(struct kv_elems *elems);
KV_INTERNAL bool kv_elems_last(struct kv_elems *elems);
KV_INTERNAL bool kv_elems_next(struct kv_elems *elems);
KV_INTERNAL bool kv_elems_prev(struct kv_elems *elems);
/* The element of 0-based rank in the cursor's order (list: the index). */
KV_INTERNAL bool kv_elems_seek_rank(struct kv_elems *elems, uint64_t rank);
/* List: the values from the cursor on, at most `max`, which is more than 0; it
 * goes on to the one behind them. Returns how many, 0 at the end. */
KV_INTERNAL uint32_t kv_elems_values(struct kv_elems *elems, struct kv_val *out,
                                     uint32_t max);
/* KEY order: first element >= key (> with after). */
KV_INTERNAL bool kv_elems_seek_key(struct kv_elems *elems,
                                   const struct kv_key *key, bool after);
/* KEY order: last element <= key (< with before). */
KV_INTERNAL bool kv_elems_seek_key_back(struct kv_elems *elems,
                                        const struct kv_key *key, bool before);

/* ---- transactions ---------------------------------------------------------- */

/* What a reply waits for: position and the epoch of the state it saw. */
struct kv_ticket {
    uint64_t position;
    uint64_t epoch;
};

/* Begin a batch: takes the store lock. With `write`, first waits for room in
 * the log buffer (F8). KVSQL_BUSY after timeout_ms; KVSQL_CLOSED. A txn that
 * makes no change is a read of the live tree and costs nothing to commit. */
KV_INTERNAL kvsql_rc kv_txn_begin(kvsql *db, bool write, uint64_t timeout_ms,
                                  struct kv_txn **txn, struct kvsql_error *err)
    KV_MUST_USE;
/* All that can fail: limits, encoding, room in the wal (TX3). On failure the
 * txn is still open, and what an earlier call made sure of still is: restore to
 * a mark of that time, or roll back. Optional: commit does it itself. */
KV_INTERNAL kvsql_rc kv_txn_prepare(struct kv_txn *txn, struct kvsql_error *err)
    KV_MUST_USE;
/* KVSQL_FULL, KVSQL_IO, KVSQL_READONLY: no change of this txn would be taken
 * now. Each change asks by itself; this is for who runs all or nothing. */
KV_INTERNAL kvsql_rc kv_txn_writable(const struct kv_txn *txn,
                                     struct kvsql_error *err) KV_MUST_USE;
/* Hand the ops to the wal, publish, unlock; the txn is gone. On failure
 * (never after a successful prepare) everything is undone and unlocked.
 * *ticket (may be NULL) is what the reply must wait for. */
KV_INTERNAL kvsql_rc kv_txn_commit(struct kv_txn *txn, struct kv_ticket *ticket,
                                   struct kvsql_error *err);
/* Undo everything, unlock; the txn is gone. Cannot fail. */
KV_INTERNAL void kv_txn_rollback(struct kv_txn *txn);
/* Call `ended` once when the txn ends, with its ticket, or with NULL when it was
 * taken back. Under the store lock: it must not wait, nor use the txn but as a
 * name. The last one said is called. NULL: it is told of an end now, for what was
 * done is taken back though the txn is to be committed. */
typedef void kv_txn_ended(const struct kv_txn *txn,
                          const struct kv_ticket *ticket);
KV_INTERNAL void kv_txn_at_end(struct kv_txn *txn, kv_txn_ended *ended);

/* A place to go back to. O(1); nested in any way. Good until the txn steps
 * (kv_txn_step), or as long as it is kept (kv_txn_keep). */
struct kv_mark {
    uint64_t undo;
    uint64_t ops_size;
    uint64_t ops_count;
};
KV_INTERNAL struct kv_mark kv_txn_mark(const struct kv_txn *txn);
/* mark.undo alone: while it is the same, so is the store, within one txn. */
KV_INTERNAL uint64_t kv_txn_undo(const struct kv_txn *txn);
KV_INTERNAL void kv_txn_restore(struct kv_txn *txn, struct kv_mark mark);
/* `newest` and the marks that were kept before it stay good; those behind it
 * are forgotten. NULL: all are, but for the begin. Said anew whenever a
 * savepoint is set or released, at a boundary like kv_txn_step. */
KV_INTERNAL void kv_txn_keep(struct kv_txn *txn, const struct kv_mark *newest);
/* Between two commands or rows: marks that are not kept are void, and so is
 * whatever points into the live tree. A txn with a long log trades it for a
 * view here (UN3), so one of any length is taken back in memory that is at
 * most twice the store's. Cannot fail. O(1) amortised. */
KV_INTERNAL void kv_txn_step(struct kv_txn *txn);

/* Read the live tree with the batch's own changes; one `now` for the batch. */
KV_INTERNAL void kv_at_txn(const struct kv_txn *txn, struct kv_at *at);
KV_INTERNAL kvsql *kv_txn_db(const struct kv_txn *txn);
/* Epoch of the state that the txn reads (struct kv_ticket). */
KV_INTERNAL uint64_t kv_txn_epoch(const struct kv_txn *txn);
/* What a reply waits for that tells of the state the txn reads: its own batch,
 * once it has changed something, which then has to be committed. */
KV_INTERNAL struct kv_ticket kv_txn_ticket(const struct kv_txn *txn);
/* Ops so far: 0 means nothing has changed. */
KV_INTERNAL uint64_t kv_txn_count(const struct kv_txn *txn);

/* A view of the batch's own state, for a statement that reads while it writes
 * (UN4). Not released, never handed to others; unpin before commit. */
KV_INTERNAL kvsql_rc kv_txn_view(struct kv_txn *txn, struct kv_view **view,
                                 struct kvsql_error *err) KV_MUST_USE;

/* A command begins: with `grows` there must be room, and keys are evicted for it
 * first (EV3). KVSQL_OOM: there is none. Until kv_txn_command_done the effects
 * do not look at maxmemory again; without a command each looks by itself. */
KV_INTERNAL kvsql_rc kv_txn_command(struct kv_txn *txn, bool grows,
                                    struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void kv_txn_command_done(struct kv_txn *txn);

/* ---- effects: the only way to change anything --------------------------------
 *
 * Each applies to the live tree and appends one op. Results they share:
 *   KVSQL_OK         done (also when there was nothing to do)
 *   KVSQL_WRONGTYPE  the key holds another type; nothing changed
 *   KVSQL_TOOBIG     a limit; nothing changed
 *   KVSQL_NOMEM      nothing changed
 *   KVSQL_OOM        over maxmemory and the change would grow the store
 *   KVSQL_FULL, KVSQL_IO  the wal takes no writes now (F5)
 * A key that is expired is deleted first by an op of its own (T4). Collections
 * that become empty vanish. Bytes are copied. Out parameters may be NULL. */

/* The same as kv_set below, but only where no key is: else *existed, and nothing
 * changed. */
KV_INTERNAL kvsql_rc kv_set_new(struct kv_txn *txn, const struct kv_key *key,
                                kvsql_slice value, int64_t expires_at,
                                bool *existed, struct kvsql_error *err)
    KV_MUST_USE;
/* Whole value of a string; replaces any type and expiry. */
KV_INTERNAL kvsql_rc kv_set(struct kv_txn *txn, const struct kv_key *key,
                            kvsql_slice value, int64_t expires_at,
                            struct kvsql_error *err);
/* The same of a string that kv_txn_get has just found; nothing has changed since
 * then. */
KV_INTERNAL kvsql_rc kv_set_found(struct kv_txn *txn, const struct kv_key *key,
                                  kvsql_slice value, int64_t expires_at,
                                  struct kvsql_error *err) KV_MUST_USE;
/* The same of `size` bytes (> 0) that fill(arg, p) writes, where they will stay:
 * nothing is copied. `fill` may read what the store held before. */
KV_INTERNAL kvsql_rc kv_set_filled(struct kv_txn *txn,
                                   const struct kv_key *key, size_t size,
                                   struct kvsql_error *err,
                                   void (*fill)(void *arg, uint8_t *p),
                                   void *arg);
/* Add to the integer that a string is, 0 when the key is absent; keeps the
 * expiry. *sum is what it is then. NOTINT, OVERFLOW: nothing changed. */
KV_INTERNAL kvsql_rc kv_add(struct kv_txn *txn, const struct kv_key *key,
                            int64_t step, int64_t *sum,
                            struct kvsql_error *err);
/* Overwrite bytes [offset, offset + bytes.size), zero-filling a gap; creates
 * the key; keeps the expiry. offset == length appends. */
KV_INTERNAL kvsql_rc kv_patch(struct kv_txn *txn, const struct kv_key *key,
                              uint64_t offset, kvsql_slice bytes,
                              struct kvsql_error *err);
KV_INTERNAL kvsql_rc kv_del(struct kv_txn *txn, const struct kv_key *key,
                            bool *existed, struct kvsql_error *err);
/* The same; WRONGTYPE when the key holds another type. */
KV_INTERNAL kvsql_rc kv_del_as(struct kv_txn *txn, const struct kv_key *key,
                               enum kv_type type, bool *existed,
                               struct kvsql_error *err);
/* expires_at 0 = persist; in the past = delete. NOTFOUND. */
KV_INTERNAL kvsql_rc kv_expire(struct kv_txn *txn, const struct kv_key *key,
                               int64_t expires_at, struct kvsql_error *err);
/* Move value and expiry; replaces `to`. NOTFOUND. O(log n). */
KV_INTERNAL kvsql_rc kv_rename(struct kv_txn *txn, const struct kv_key *from,
                               const struct kv_key *to,
                               struct kvsql_error *err);
KV_INTERNAL kvsql_rc kv_flush(struct kv_txn *txn, struct kvsql_error *err);
/* A named text that belongs to the store, not to its keys; `view` is the text
 * of an SQL view that stands for it in a snapshot. */
struct kv_def {
    kvsql_slice name, text, view;
};
#define KV_DEFS_SIZE_MAX (1u << 20) /* bytes of all */
/* Set, or with an empty text remove, the definition of that name. */
KV_INTERNAL kvsql_rc kv_define(struct kv_txn *txn, const struct kv_def *def,
                               struct kvsql_error *err);
/* The definition behind *place, which begins as 0, in the order of names;
 * slices live as long as the state that is read. False: there is none. */
KV_INTERNAL bool kv_def_next(const struct kv_at *at, size_t *place,
                             struct kv_def *def);
/* A number that changes with the definitions, and when one of their indexes is
 * complete; the same of the last batch, which may not be released yet. Any
 * thread. */
KV_INTERNAL uint64_t kv_defs_version(const struct kv_at *at);
KV_INTERNAL uint64_t kv_defs_hint(kvsql *db);
/* Answers that are kept, by name, for requests that may be sent again; no keys,
 * and seen by no command and no statement (answers.c). */
#define KV_ANSWER_NAME_MAX 512
/* Append the answer of that name to `out`. False: there is none. O(log n). */
KV_INTERNAL bool kv_answer_get(const struct kv_at *at, kvsql_slice name,
                               struct kv_buf *out) KV_MUST_USE;
/* Keep the answer, of one byte at least, until that wall time in ms; an empty
 * one removes it. TOOBIG: the name. O(log n). */
KV_INTERNAL kvsql_rc kv_answer_keep(struct kv_txn *txn, kvsql_slice name,
                                    kvsql_slice answer, int64_t expires_at,
                                    struct kvsql_error *err) KV_MUST_USE;
/* Bytes that all of them take. */
KV_INTERNAL uint64_t kv_answers_size(const struct kv_at *at);
/* Copy value, expiry and the expiries of fields; replaces `to`. NOTFOUND.
 * O(elements). */
KV_INTERNAL kvsql_rc kv_copy(struct kv_txn *txn, const struct kv_key *from,
                             const struct kv_key *to, struct kvsql_error *err);
/* Put in what kv_item_dump() gave, under another key, in another store;
 * replaces what is there. CORRUPT: not such bytes, or damaged ones. */
KV_INTERNAL kvsql_rc kv_restore(struct kv_txn *txn, const struct kv_key *key,
                                kvsql_slice payload, int64_t expires_at,
                                struct kvsql_error *err);

/* The changes that follow are looked at by the caller himself: STRICT indexes
 * take what collides until he says false. */
KV_INTERNAL void kv_txn_lenient(struct kv_txn *txn, bool lenient);
/* Several changes of one hash are coming: its entries in indexes wait for the
 * release, and are changed once. `key` lives until then; nothing is taken back
 * and nothing else changes in between. False: no memory, nothing is held. */
KV_INTERNAL bool kv_index_hold(struct kv_txn *txn,
                               const struct kv_key *key) KV_MUST_USE;
/* With `ok` entries become what the hash says; false: no memory. Without, and
 * when that fails, the caller takes back all since the hold. */
KV_INTERNAL bool kv_index_release(struct kv_txn *txn, bool ok) KV_MUST_USE;

/* expires_at is the field's, wall ms; 0 = none, and drops one that was there;
 * KV_KEEP_EXPIRY keeps it. */
#define KV_KEEP_EXPIRY (-1)
KV_INTERNAL kvsql_rc kv_hset(struct kv_txn *txn, const struct kv_key *key,
                             const struct kv_key *field, kvsql_slice value,
                             int64_t expires_at, bool *created,
                             struct kvsql_error *err);
struct kv_field {
    struct kv_key name;
    kvsql_slice value;
};
/* Set n > 0 fields, as kv_hset would one after the other and with the same ops;
 * the hash, and its entries in indexes, change once. expires_at: 0 or
 * KV_KEEP_EXPIRY. *created: fields that were not there. All or nothing. */
KV_INTERNAL kvsql_rc kv_hset_many(struct kv_txn *txn, const struct kv_key *key,
                                  const struct kv_field *field, unsigned n,
                                  int64_t expires_at, unsigned *created,
                                  struct kvsql_error *err) KV_MUST_USE;
/* The same of a new hash, and only where no key is: else *existed, and nothing
 * changed. */
KV_INTERNAL kvsql_rc kv_hset_new(struct kv_txn *txn, const struct kv_key *key,
                                 const struct kv_field *field, unsigned n,
                                 bool *existed, struct kvsql_error *err)
    KV_MUST_USE;
KV_INTERNAL kvsql_rc kv_hdel(struct kv_txn *txn, const struct kv_key *key,
                             const struct kv_key *field, bool *existed,
                             struct kvsql_error *err);
/* NOTFOUND when key or field is absent; in the past = delete the field. */
KV_INTERNAL kvsql_rc kv_hexpire(struct kv_txn *txn, const struct kv_key *key,
                                const struct kv_key *field, int64_t expires_at,
                                struct kvsql_error *err);

KV_INTERNAL kvsql_rc kv_sadd(struct kv_txn *txn, const struct kv_key *key,
                             const struct kv_key *member, bool *created,
                             struct kvsql_error *err);
KV_INTERNAL kvsql_rc kv_srem(struct kv_txn *txn, const struct kv_key *key,
                             const struct kv_key *member, bool *existed,
                             struct kvsql_error *err);

/* Set the score (never NaN: INVALID). */
KV_INTERNAL kvsql_rc kv_zadd(struct kv_txn *txn, const struct kv_key *key,
                             const struct kv_key *member, double score,
                             bool *created, struct kvsql_error *err);
KV_INTERNAL kvsql_rc kv_zrem(struct kv_txn *txn, const struct kv_key *key,
                             const struct kv_key *member, bool *existed,
                             struct kvsql_error *err);

enum kv_side { KV_LEFT = 0, KV_RIGHT = 1 };
KV_INTERNAL kvsql_rc kv_push(struct kv_txn *txn, const struct kv_key *key,
                             enum kv_side side, kvsql_slice value,
                             struct kvsql_error *err);
/* The same; *length is how many elements there are then. */
KV_INTERNAL kvsql_rc kv_push_length(struct kv_txn *txn,
                                    const struct kv_key *key,
                                    enum kv_side side, kvsql_slice value,
                                    uint64_t *length,
                                    struct kvsql_error *err);
/* Insert so that it gets index `index` (0..length). NOTFOUND, RANGE. */
KV_INTERNAL kvsql_rc kv_linsert(struct kv_txn *txn, const struct kv_key *key,
                                uint64_t index, kvsql_slice value,
                                struct kvsql_error *err);
/* NOTFOUND, RANGE. */
KV_INTERNAL kvsql_rc kv_lset(struct kv_txn *txn, const struct kv_key *key,
                             uint64_t index, kvsql_slice value,
                             struct kvsql_error *err);
/* Remove `count` elements from `index` on (pops, trims, LREM). NOTFOUND,
 * RANGE. */
KV_INTERNAL kvsql_rc kv_lremove(struct kv_txn *txn, const struct kv_key *key,
                                uint64_t index, uint64_t count,
                                struct kvsql_error *err);

/* ---- indexes of declared tables (index.c) ----------------------------------- */

/* A value as SQL has it. Text has no NUL inside. */
enum kv_datum_kind {
    KV_DATUM_NULL,
    KV_DATUM_INT,
    KV_DATUM_REAL,
    KV_DATUM_TEXT,
    KV_DATUM_BLOB
};
struct kv_datum {
    enum kv_datum_kind kind;
    int64_t integer;
    double real; /* never NaN */
    const uint8_t *p;
    uint32_t size;
};
/* Bytes in which an entry of an index goes on: before the first value (NULL is
 * the smallest), behind the last, and what is above all of them (datum.h). */
#define KV_DATUM_NONE 0x05
#define KV_DATUM_KEY 0x00 /* + class; then the key behind the table's prefix */
#define KV_DATUM_END 0x80
#define KV_DATUM_IS_TEXT 0x20 /* first byte of a TEXT; a NUL is behind it */
/* Append the value as bytes in SQLite's order. */
KV_INTERNAL void kv_datum_put(struct kv_buf *buf, const struct kv_datum *datum);
/* Bytes of the value at p; 0: these are none, they end early. */
KV_INTERNAL size_t kv_datum_size(const uint8_t *p, size_t size);

/* What an index is made of, as bytes that are the same wherever they are made:
 *   varint size, prefix of the keys | u8 flags | u8 columns | { u8 affinity |
 *   varint size, field }...
 * An entry of it: a value for each column, KV_DATUM_KEY + class of the key, the
 * key behind the prefix. A hash has an entry for what its columns are now, and
 * one for each later moment at which some of its fields will have expired. */
enum kv_index_flag {
    KV_INDEX_UNIQUE = 1, /* who writes through SQL sees to it */
    KV_INDEX_STRICT = 2  /* ... and the store, for everybody */
};
#define KV_INDEX_COLUMNS_MAX 8
#define KV_INDEX_ID_SIZE 16
/* Name of index `number` of a table, made of `spec`; its bytes go into out.
 * Appends the table's name, a NUL, and KV_INDEX_ID_SIZE - 1 bytes. */
KV_INTERNAL void kv_index_id(struct kv_buf *out, kvsql_slice table,
                             unsigned number, kvsql_slice spec);

/* Who knows what definitions mean, and what the bytes in a field are as a value
 * of a column. Called under the store lock, by one thread at a time; calls
 * nothing of the store. */
struct kv_typist {
    /* Append { varint size, spec } for each index of the table. A definition
     * that cannot be understood has none. False: no memory. */
    bool (*indexes)(void *arg, const struct kv_def *def, struct kv_buf *specs);
    /* `datum` may point into `val`. False: no memory. */
    bool (*type)(void *arg, unsigned affinity, const struct kv_val *val,
                 struct kv_datum *datum);
    void (*free)(void *arg); /* when the store is closed */
    void *arg;
};
/* From now on the store keeps indexes. True: it is the first, and the store
 * frees it; else nothing happens. Any thread, outside of a txn. */
KV_INTERNAL bool kv_set_typist(kvsql *db, const struct kv_typist *typist);
KV_INTERNAL bool kv_has_typist(kvsql *db);

/* The entries of an index as members of a set, all of class BLOB: for kv_elems
 * in KEY order. False: there is no such index here, or it is not complete. */
KV_INTERNAL bool kv_index_get(const struct kv_at *at, const struct kv_key *id,
                              struct kv_item *item);
/* Whether each hash has one entry in what kv_index_get() gave, that of what it
 * is now. */
KV_INTERNAL bool kv_index_single(const struct kv_item *entries);
/* How far it is: false when it is not known here. */
struct kv_index_state {
    uint64_t entries, bytes;
    bool complete;
};
KV_INTERNAL bool kv_index_state(const struct kv_at *at, const struct kv_key *id,
                                struct kv_index_state *state);
/* The number at p; false: it is none. *rest: what an integer is above *real. */
KV_INTERNAL bool kv_datum_number(const uint8_t *p, size_t size, double *real,
                                 uint32_t *rest);
/* No key and no field that is there has expired; false: perhaps one has. O(1). */
KV_INTERNAL bool kv_none_due(const struct kv_at *at);
/* Whether fields of the hash expire, so that it has more than one entry. O(1). */
KV_INTERNAL bool kv_item_fields_expire(const struct kv_item *item);

/* ---- what changed ------------------------------------------------------------ */

enum kv_observed {
    KV_OBSERVED_PUT,    /* something was put there: the key is there now */
    KV_OBSERVED_REST,   /* less is there, or nothing, or for another time */
    KV_OBSERVED_UPKEEP, /* expired or evicted: nobody asked for it */
    KV_OBSERVED_FLUSH   /* all keys are gone; no key is named */
};
/* Who is told of every change, by whatever way in it came, in the order in
 * which changes were made, when the batch ends and before anybody can see it.
 * Under the store lock: it may take locks of a higher rank, and must not wait.
 * A batch that its log cannot take is told of all the same. */
struct kv_observer {
    const _Atomic unsigned *wanted; /* 0: nothing is told now */
    /* What follows, up to end, is in the batch of this position. */
    void (*begin)(uint64_t position);
    /* A key has changed: once, maybe before its batch ends (kv_txn_tell). */
    void (*key)(enum kv_observed change, kvsql_slice key);
    /* The same again for all keys of a batch, when it has ended; what was
     * upkeep is a change as any other. */
    void (*done)(enum kv_observed change, kvsql_slice key);
    void (*end)(void);
    /* Batches were undone: what they had taken away is there again. Whether or
     * not something is wanted; may be NULL. */
    void (*undone)(void);
};
/* From now on, for the life of db; there is one. Any thread, no lock. A read
 * of the live tree that begins behind this call is before every batch that is
 * not told of it. */
KV_INTERNAL void kv_observe(kvsql *db, const struct kv_observer *observer);
/* Tell now of what the txn has changed so far, for who asks for a key is not to
 * be told of changes before that. What is taken back later has been told of all
 * the same. */
KV_INTERNAL void kv_txn_tell(struct kv_txn *txn);

/* ---- gates (D2, D3) ---------------------------------------------------------- */

/* True when a reply with this ticket may go now. */
KV_INTERNAL bool kv_gate_open(kvsql *db, struct kv_ticket ticket);
/* KVSQL_OK: it may go. KVSQL_BUSY: not yet. KVSQL_FULL, KVSQL_IO,
 * KVSQL_CLOSED: never, the batch was undone. Does not wait. */
KV_INTERNAL kvsql_rc kv_gate_state(kvsql *db, struct kv_ticket ticket,
                                   struct kvsql_error *err);
/* Block until it may go. KVSQL_FULL, KVSQL_IO: the batch was undone. */
KV_INTERNAL kvsql_rc kv_gate_wait(kvsql *db, struct kv_ticket ticket,
                                  struct kvsql_error *err);
/* A door's turn: many batches, whose replies are looked at together behind
 * it. Between begin and end a batch does not wake the log thread; the end hands
 * over all of them, and writes them in the calling thread when the log thread
 * sleeps and the policy asks for no sync. Any thread, no txn open; turns of
 * several threads may overlap. */
KV_INTERNAL void kv_turn_begin(kvsql *db);
KV_INTERNAL void kv_turn_end(kvsql *db);
/* Owned by the caller until done() has run. */
struct kv_waiter {
    struct kv_waiter *next; /* private */
    struct kv_ticket ticket;
    void (*done)(struct kv_waiter *waiter, kvsql_rc rc); /* log thread */
    void *arg;
};
/* True: open already, done() will not be called. False: done() will be called
 * once, with KVSQL_OK, or FULL / IO when the batch was undone. */
KV_INTERNAL bool kv_gate_watch(kvsql *db, struct kv_waiter *waiter);

/* ---- changes: the wal as rows ------------------------------------------------ */

enum kv_change_kind {
    KV_CHANGE_NULL,
    KV_CHANGE_INT,
    KV_CHANGE_REAL,
    KV_CHANGE_BYTES
};
struct kv_change_value {
    enum kv_change_kind kind;
    int64_t integer;
    double real;
    kvsql_slice bytes;
};
/* One op; bytes live until the next call on the reader. */
struct kv_change {
    uint64_t position, n; /* of its batch; place in it, from 0 */
    int64_t since;        /* wall ms when its segment began: it is no older */
    const char *op;       /* "set", "hset", "del", ... */
    enum kv_type type;    /* KV_NONE: of any, or all */
    bool has_key;
    kvsql_slice key;
    int64_t expires_at;   /* that it gives to key or field, 0 = none */
    /* Element and value: what they hold depends on the op (docs/SQL.md). */
    struct kv_change_value field, value;
};
struct kv_changes;
/* Read the batches from `from` (0: the oldest that is kept) to `to`, which has
 * been released. Not inside a txn. RANGE: `from` is not kept any more, err
 * names what is; INVALID: a store without files; NOMEM. */
KV_INTERNAL kvsql_rc kv_changes_open(kvsql *db, uint64_t from, uint64_t to,
                                     struct kv_changes **changes,
                                     struct kvsql_error *err) KV_MUST_USE;
/* The next op; false at the end. RANGE, IO, NOMEM, CORRUPT, NEWER. */
KV_INTERNAL kvsql_rc kv_changes_next(struct kv_changes *changes,
                                     struct kv_change *change, bool *found,
                                     struct kvsql_error *err) KV_MUST_USE;
/* Read on up to `to`, which has been released, too, and is not before the last
 * one. Wherever the reading stands; behind its end, or that of a batch, what it
 * holds of files is given back. */
KV_INTERNAL void kv_changes_more(struct kv_changes *changes, uint64_t to);
KV_INTERNAL void kv_changes_close(struct kv_changes *changes);
/* First position that is kept; UINT64_MAX: none is. Any thread. */
KV_INTERNAL uint64_t kv_changes_oldest(kvsql *db);

#endif
