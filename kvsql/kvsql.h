/* kvsql.h - an embeddable store of typed values, kept in memory and on disk.
 *
 * Keys are bytes; values are strings, hashes, lists, sets and sorted sets, as
 * Redis has them. Everything lies in memory, in order of the keys. Each change
 * goes to a write-ahead log (the wal) in a directory, and now and then the
 * whole store is written to a snapshot, an SQLite file that any sqlite3 opens.
 * Readers pin a view of the store, for as long as they like, and never hold up
 * a writer.
 *
 *     struct kvsql_error err;
 *     kvsql *db;
 *     kvsql_bytes value;
 *
 *     if (kvsql_open("data", NULL, &db, &err) != KVSQL_OK)
 *         return fail(err.text);
 *     if (kvsql_put(db, kvsql_text("greeting"), kvsql_text("hello"), 0, &err))
 *         return fail(err.text);
 *     if (kvsql_get(db, kvsql_text("greeting"), &value, &err) == KVSQL_OK) {
 *         printf("%s\n", (const char *)value.p);
 *         kvsql_bytes_free(&value);
 *     }
 *     return kvsql_close(db, &err);
 *
 * WHAT TO KNOW FIRST
 *
 * - All data must fit in memory. `maxmemory` makes writes fail with KVSQL_OOM
 *   before the machine does; with a `maxmemory_policy` keys are deleted first.
 * - One process at a time has a directory open; a second gets KVSQL_LOCKED.
 * - A write that was answered KVSQL_OK survives the death of the process. With
 *   KVSQL_FSYNC_ALWAYS it also survives a power cut; with EVERYSEC, the
 *   default, a power cut takes at most the last second; kvsql_sync() waits for
 *   what was written so far.
 * - A write that was answered KVSQL_IO or KVSQL_FULL was taken back: later
 *   reads do not see it. Whether it is there after a crash that follows is
 *   unknown; half of it never is.
 * - Order is SQLite's: keys that are text (valid UTF-8 without NUL) come
 *   before all others, then byte by byte. The same holds for fields and
 *   members.
 * - A key or field whose time has come is invisible at once, whether it has
 *   been removed from memory yet or not.
 *
 * HANDLES AND THEIR LIVES
 *
 *   kvsql         kvsql_open .. kvsql_close            the store
 *   kvsql_view    kvsql_view_pin .. kvsql_view_release one state, to read
 *   kvsql_txn     kvsql_begin .. kvsql_commit or
 *                 kvsql_rollback                       changes, all or none
 *   kvsql_cursor  kvsql_keys_open, kvsql_elems_open ..
 *                 kvsql_cursor_close                   a walk over a view
 *   sqlite3       kvsql_sql_register .. sqlite3_close  SQL (yours, not ours)
 *   kvsql_bytes   filled by a call .. kvsql_bytes_free a copy of a value
 *
 * A handle is never used again behind the call that ends it. A view or txn
 * that ends first ends its cursors: they answer KVSQL_ABORT and still want to
 * be closed. kvsql_close refuses with KVSQL_BUSY while a view, txn, cursor or
 * connection is open. docs/LIFECYCLE.md draws it.
 *
 * THREADS
 *
 * A kvsql may be used by any number of threads at once. Each other handle
 * belongs to one thread at a time; a txn to the thread that began it, until
 * its end. Views are cheap: threads that read the same state pin one each and
 * share the memory.
 *
 * A txn holds the one lock of writers. So a thread that has a txn open works
 * through it alone: calls that take a kvsql answer KVSQL_BUSY in that thread,
 * instead of waiting for ever. (Views and cursors may be given back there.)
 * Other threads that write wait for it.
 *
 * RESULTS
 *
 * Every call that can fail returns a kvsql_rc and takes an `err` that may be
 * NULL; when the result is not KVSQL_OK, err->text is one sentence that says
 * what was tried, on what, and what to do; only behind a KVSQL_NOTFOUND it may
 * be left as it was. The descriptions below name the results that have a
 * meaning of their own; these two groups come on top:
 *
 *   to read    KVSQL_NOMEM    nothing was copied.
 *              KVSQL_TOOBIG   the key is longer than KVSQL_KEY_MAX.
 *              KVSQL_INVALID  an argument that cannot be (a NULL with a size).
 *   to write   those, and: nothing has changed, and the txn goes on, with
 *              KVSQL_TOOBIG   a limit; err names it.
 *              KVSQL_WRONGTYPE the key holds a value of another type.
 *              KVSQL_NOMEM    no memory for the change.
 *              KVSQL_OOM      it would grow the store beyond maxmemory.
 *              KVSQL_FULL     the disk is full; writing resumes by itself.
 *              KVSQL_IO       the wal cannot be written; err names the cause.
 *              KVSQL_READONLY the store was opened with read_only.
 *
 * Cost is given in the number n of keys or of elements of the value. Nothing
 * here is signal-safe. Fork before kvsql_open, never between it and
 * kvsql_close. */
#ifndef KVSQL_H
#define KVSQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVSQL_VERSION "0.1.0"
#define KVSQL_VERSION_NUMBER 1000

#ifndef KVSQL_API
#define KVSQL_API __attribute__((visibility("default"), warn_unused_result))
#define KVSQL_API_VOID __attribute__((visibility("default")))
#endif

#ifndef KVSQL_RC_DEFINED
#define KVSQL_RC_DEFINED
typedef enum kvsql_rc {
    KVSQL_OK = 0,
    KVSQL_NOTFOUND = 1,
    KVSQL_EXISTS = 2,
    KVSQL_WRONGTYPE = 3,
    KVSQL_SYNTAX = 4,
    KVSQL_ARITY = 5,
    KVSQL_UNKNOWN = 6,
    KVSQL_NOTINT = 7,
    KVSQL_NOTFLOAT = 8,
    KVSQL_OVERFLOW = 9,
    KVSQL_RANGE = 10,
    KVSQL_CONSTRAINT = 11,
    KVSQL_INVALID = 12,
    KVSQL_TOOBIG = 13,
    KVSQL_READONLY = 14,
    KVSQL_NOMEM = 15,
    KVSQL_OOM = 16,
    KVSQL_FULL = 17,
    KVSQL_IO = 18,
    KVSQL_CORRUPT = 19,
    KVSQL_BUSY = 20,
    KVSQL_SNAPSHOT = 21,
    KVSQL_INTERRUPT = 22,
    KVSQL_AUTH = 23,
    KVSQL_LOADING = 24,
    KVSQL_CLOSED = 25,
    KVSQL_LOCKED = 26,
    KVSQL_NEWER = 27,
    KVSQL_ABORT = 28,
    KVSQL_INTERNAL = 29
} kvsql_rc;

#define KVSQL_ERROR_SIZE 512
struct kvsql_error {
    kvsql_rc rc;
    char text[KVSQL_ERROR_SIZE]; /* one sentence, NUL-terminated */
};
#endif

/* The handles; see "Handles and their lives" above. */
typedef struct kvsql kvsql;
typedef struct kvsql_view kvsql_view;
typedef struct kvsql_txn kvsql_txn;
typedef struct kvsql_cursor kvsql_cursor;

/* Bytes that someone else owns; valid for the call only unless said. */
typedef struct kvsql_slice {
    const void *p;
    size_t size;
} kvsql_slice;

/* Bytes that a call copied for you: p is never NULL after KVSQL_OK, p[size] is
 * NUL. Give them back with kvsql_bytes_free; change neither p nor size. */
typedef struct kvsql_bytes {
    void *p;
    size_t size;
} kvsql_bytes;

/* When the wal is synced to the disk. EVERYSEC: at most one second of writes
 * can be lost in a power cut. ALWAYS: none. NO: whatever the kernel has not
 * written. A kill of the process loses nothing under any of them. */
enum kvsql_fsync {
    KVSQL_FSYNC_EVERYSEC = 0,
    KVSQL_FSYNC_ALWAYS,
    KVSQL_FSYNC_NO
};

/* What happens to a write that grows a store over `maxmemory`. NOEVICTION: it
 * is refused with KVSQL_OOM. The others delete keys first: the least recently
 * used (LRU), the least often used (LFU), any (RANDOM), those that expire next
 * (TTL); ALLKEYS of all keys, VOLATILE of those with a time to live, and
 * KVSQL_OOM only when none is left. A deletion is a change like any other. */
enum kvsql_maxmemory_policy {
    KVSQL_NOEVICTION = 0,
    KVSQL_ALLKEYS_LRU,
    KVSQL_ALLKEYS_LFU,
    KVSQL_ALLKEYS_RANDOM,
    KVSQL_VOLATILE_LRU,
    KVSQL_VOLATILE_LFU,
    KVSQL_VOLATILE_RANDOM,
    KVSQL_VOLATILE_TTL
};

enum kvsql_type {
    KVSQL_TYPE_NONE = 0, /* no such key */
    KVSQL_TYPE_STRING = 1,
    KVSQL_TYPE_HASH = 2,
    KVSQL_TYPE_LIST = 3,
    KVSQL_TYPE_SET = 4,
    KVSQL_TYPE_ZSET = 5
};

/* The two ends of a list. */
enum kvsql_side { KVSQL_LEFT = 0, KVSQL_RIGHT = 1 };

#define KVSQL_KEY_MAX 65536              /* bytes of a key */
#define KVSQL_VALUE_MAX (512u << 20)     /* bytes of a value, field, member */

/* Zeroes are the defaults. */
struct kvsql_options {
    enum kvsql_fsync fsync;
    uint64_t wal_segment_size; /* bytes; 0 = 64 MiB */
    uint64_t wal_buffer_max;   /* bytes; 0 = 64 MiB */
    uint64_t maxmemory;        /* bytes; 0 = no limit */
    enum kvsql_maxmemory_policy maxmemory_policy;
    unsigned maxmemory_samples; /* places looked at for keys to evict; 0 = 5 */
    unsigned snapshot_keep;    /* 0 = 2 */
    uint64_t wal_keep_ms;      /* how far back in time at least; 0 = as far as
                                  snapshot_keep goes */
    uint64_t snapshot_every_s; /* with at least one change; 0 = 3600 */
    /* ... or when the wal since then passes this; 0 = 1 GiB */
    uint64_t snapshot_wal_size;
    bool repair;               /* keep a clean prefix of a damaged directory */
    bool read_only;            /* no LOCK, no writes, no threads */
    bool no_keeper;            /* the caller ticks (tests) */
};

/* A slice of a C string, without its NUL; lives as long as the string. */
static inline kvsql_slice kvsql_text(const char *text)
{
    kvsql_slice slice;

    slice.p = text;
    slice.size = strlen(text);
    return slice;
}

/* A slice of any bytes. */
static inline kvsql_slice kvsql_blob(const void *p, size_t size)
{
    kvsql_slice slice;

    slice.p = p;
    slice.size = size;
    return slice;
}

/* ==== opening and closing ================================================ */

/* Open the store in a directory, which is made if it is not there: loads the
 * newest snapshot, replays the wal behind it, starts the threads that write
 * the wal, remove what expired and take snapshots.
 *
 * dir      path of the directory; copied. NULL or "" keeps the store in memory
 *          alone: no files, and nothing is left after kvsql_close.
 * options  NULL or zeroes are the defaults; copied.
 * db       set when the result is KVSQL_OK, else NULL.
 *
 * KVSQL_OK       every write that was acknowledged before is there.
 * KVSQL_LOCKED   another process has it open.
 * KVSQL_NOTFOUND the directory above it is not there; with read_only, it is
 *                not, or there is no store in it.
 * KVSQL_CORRUPT  a file is damaged; err names file and offset. Nothing was
 *                changed. `repair` in the options keeps a clean prefix.
 * KVSQL_NEWER    written by a later version; err names the format.
 * KVSQL_FULL, KVSQL_IO, KVSQL_NOMEM  nothing was changed.
 *
 * Any thread. Blocks for about a second per 100 MB of wal. */
KVSQL_API kvsql_rc kvsql_open(const char *dir,
                              const struct kvsql_options *options, kvsql **db,
                              struct kvsql_error *err);

/* Write and sync what is not yet on the disk, stop the threads, free all.
 *
 * db  may be NULL: nothing happens.
 *
 * KVSQL_OK    everything is durable; db is gone.
 * KVSQL_BUSY  a view, txn, cursor or connection is still open; nothing
 *             happened. Close it and call again.
 * KVSQL_FULL, KVSQL_IO  db is gone, but the newest writes could not be made
 *             durable; err says why. What the disk holds is a clean prefix.
 *
 * No other thread may use db any more. Blocks up to one sync, and for the
 * freeing: about a second for 10 million keys. */
KVSQL_API kvsql_rc kvsql_close(kvsql *db, struct kvsql_error *err);

/* KVSQL_VERSION and KVSQL_VERSION_NUMBER of the library that runs, which may
 * be another than the header's. Static text. Any thread; cannot fail. */
KVSQL_API const char *kvsql_version(void);
KVSQL_API unsigned kvsql_version_number(void);

/* Name ("NOTFOUND"), short words ("no such key") and hint ("check the key's
 * spelling ...") of a result. Static text; a number that is none of ours gives
 * those of KVSQL_INTERNAL. Any thread; cannot fail. */
KVSQL_API const char *kvsql_error_name(kvsql_rc rc);
KVSQL_API const char *kvsql_error_words(kvsql_rc rc);
KVSQL_API const char *kvsql_error_hint(kvsql_rc rc);

/* Free the bytes and set them to {NULL, 0}. NULL and {NULL, 0} are fine. Any
 * thread; cannot fail. */
KVSQL_API_VOID void kvsql_bytes_free(kvsql_bytes *bytes);

/* ==== one call, one transaction =============================================
 *
 * The calls most used, each a transaction of its own. They answer when the
 * change (for a reading: the state it saw) is as safe as `fsync` asks. What is
 * not here is three calls away: kvsql_begin, the change, kvsql_commit.
 *
 * On top of their own and the two groups above they can all answer
 *   KVSQL_BUSY  this thread has a txn open, or another held the lock for 5 s;
 *               nothing happened.
 *
 * Any thread. Block up to one write of the wal, with ALWAYS up to one sync. */

/* Store `value` under `key`, replacing what was there, of whatever type.
 *
 * key     0..KVSQL_KEY_MAX bytes, any bytes; copied.
 * value   0..KVSQL_VALUE_MAX bytes; copied.
 * ttl_ms  milliseconds from now until the key vanishes; 0 keeps it.
 *
 * KVSQL_OK        visible to every later view, and as durable as the policy
 *                 says.
 * KVSQL_OVERFLOW  ttl_ms reaches beyond the end of time; nothing changed.
 * To write: any. KVSQL_WRONGTYPE does not occur.
 *
 * O(log n) plus the bytes copied. */
KVSQL_API kvsql_rc kvsql_put(kvsql *db, kvsql_slice key, kvsql_slice value,
                             uint64_t ttl_ms, struct kvsql_error *err);

/* Copy the string under `key`.
 *
 * value  filled when the result is KVSQL_OK, else {NULL, 0}. Give it back with
 *        kvsql_bytes_free.
 *
 * KVSQL_NOTFOUND   there is no such key.
 * KVSQL_WRONGTYPE  it holds no string.
 * To read: any. KVSQL_FULL, KVSQL_IO: what it saw was taken back; try again.
 *
 * O(log n) plus the bytes copied. */
KVSQL_API kvsql_rc kvsql_get(kvsql *db, kvsql_slice key, kvsql_bytes *value,
                             struct kvsql_error *err);

/* Remove a key and its value, of whatever type.
 *
 * KVSQL_NOTFOUND  there is no such key.
 * To write: any. KVSQL_WRONGTYPE does not occur.
 *
 * O(log n); a large value is freed later, in small steps. */
KVSQL_API kvsql_rc kvsql_delete(kvsql *db, kvsql_slice key,
                                struct kvsql_error *err);

/* Is there such a key? *exists is set when the result is KVSQL_OK.
 * To read: any. O(log n). */
KVSQL_API kvsql_rc kvsql_exists(kvsql *db, kvsql_slice key, bool *exists,
                                struct kvsql_error *err);

/* Let a key vanish in `ttl_ms` milliseconds; 0 takes its expiry away.
 *
 * KVSQL_NOTFOUND  there is no such key.
 * KVSQL_OVERFLOW  ttl_ms reaches beyond the end of time; nothing changed.
 * To write: any. KVSQL_WRONGTYPE does not occur. O(log n). */
KVSQL_API kvsql_rc kvsql_expire(kvsql *db, kvsql_slice key, uint64_t ttl_ms,
                                struct kvsql_error *err);

/* Milliseconds until a key vanishes, at least 1; -1 when it has no expiry.
 *
 * KVSQL_NOTFOUND  there is no such key; *ttl_ms is -2.
 * To read: any. O(log n). */
KVSQL_API kvsql_rc kvsql_ttl(kvsql *db, kvsql_slice key, int64_t *ttl_ms,
                             struct kvsql_error *err);

/* Type of the value under a key; KVSQL_TYPE_NONE when there is no such key.
 * To read: any. O(log n). */
KVSQL_API kvsql_rc kvsql_type(kvsql *db, kvsql_slice key,
                              enum kvsql_type *type, struct kvsql_error *err);

/* Add `by` to the decimal integer under `key`; an absent key counts as 0. The
 * expiry stays.
 *
 * value  the sum; may be NULL.
 *
 * KVSQL_NOTINT    the string is no decimal integer of 64 bits.
 * KVSQL_OVERFLOW  the sum is not; nothing changed.
 * To write: any. O(log n). */
KVSQL_API kvsql_rc kvsql_incr(kvsql *db, kvsql_slice key, int64_t by,
                              int64_t *value, struct kvsql_error *err);

/* ==== views: reading ========================================================
 *
 * All reading of values is done on a view: one that was pinned, or the one of
 * a txn (kvsql_txn_view). A pinned view never changes, costs nothing to hold
 * but the memory of what was overwritten since, and blocks nobody. The calls
 * below run in the view's thread, never block and give the results "to read"
 * on top of their own. */

/* Pin the newest state whose writes were acknowledged.
 *
 * view  set when the result is KVSQL_OK, else NULL.
 *
 * KVSQL_BUSY  this thread has a txn open: read through kvsql_txn_view.
 * KVSQL_NOMEM
 *
 * Any thread. O(1); waits until what it would show is as safe as `fsync`
 * asks. Expiry is judged by the time of this call, for all of the view. */
KVSQL_API kvsql_rc kvsql_view_pin(kvsql *db, kvsql_view **view,
                                  struct kvsql_error *err);

/* End the view and its cursors. NULL is fine; the view of a txn is not given
 * back. The view's thread. O(1): memory is freed later, in small steps. */
KVSQL_API_VOID void kvsql_view_release(kvsql_view *view);

/* Position of the state: the number of the last transaction in it. */
KVSQL_API uint64_t kvsql_view_position(const kvsql_view *view);

/* Keys in the view. Those that expired and were not yet removed count. O(1). */
KVSQL_API uint64_t kvsql_view_count(const kvsql_view *view);

/* As the calls of the same name above, on one state. kvsql_view_get copies
 * (KVSQL_NOTFOUND, KVSQL_WRONGTYPE); kvsql_view_ttl answers KVSQL_NOTFOUND;
 * kvsql_view_type gives KVSQL_TYPE_NONE. O(log n) plus the bytes copied. */
KVSQL_API kvsql_rc kvsql_view_get(kvsql_view *view, kvsql_slice key,
                                  kvsql_bytes *value, struct kvsql_error *err);
KVSQL_API kvsql_rc kvsql_view_type(kvsql_view *view, kvsql_slice key,
                                   enum kvsql_type *type,
                                   struct kvsql_error *err);
KVSQL_API kvsql_rc kvsql_view_ttl(kvsql_view *view, kvsql_slice key,
                                  int64_t *ttl_ms, struct kvsql_error *err);

/* Bytes of a string, elements of any other value; *length is 0 when there is
 * no such key. Fields of a hash that expired and were not yet removed count.
 * O(log n). */
KVSQL_API kvsql_rc kvsql_view_length(kvsql_view *view, kvsql_slice key,
                                     uint64_t *length,
                                     struct kvsql_error *err);

/* Copy one field of a hash.
 *
 * KVSQL_NOTFOUND   there is no such key or field; *value is {NULL, 0}.
 * KVSQL_WRONGTYPE  the key holds no hash.
 * O(log n) plus the bytes copied. */
KVSQL_API kvsql_rc kvsql_hash_get(kvsql_view *view, kvsql_slice key,
                                  kvsql_slice field, kvsql_bytes *value,
                                  struct kvsql_error *err);

/* Is `member` in the set? *contains is false when there is no such key.
 * KVSQL_WRONGTYPE. O(log n). */
KVSQL_API kvsql_rc kvsql_set_contains(kvsql_view *view, kvsql_slice key,
                                      kvsql_slice member, bool *contains,
                                      struct kvsql_error *err);

/* Score of a member of a sorted set; its rank, from 0, in the order of score
 * and then bytes. KVSQL_NOTFOUND: no such key or member. KVSQL_WRONGTYPE.
 * O(log n). */
KVSQL_API kvsql_rc kvsql_zset_score(kvsql_view *view, kvsql_slice key,
                                    kvsql_slice member, double *score,
                                    struct kvsql_error *err);
KVSQL_API kvsql_rc kvsql_zset_rank(kvsql_view *view, kvsql_slice key,
                                   kvsql_slice member, uint64_t *rank,
                                   struct kvsql_error *err);

/* Copy one element of a list.
 *
 * index  0.. from the left; -1, -2, .. from the right.
 *
 * KVSQL_NOTFOUND   there is no such key.
 * KVSQL_RANGE      the list is shorter.
 * KVSQL_WRONGTYPE  the key holds no list.
 * In all three *value is {NULL, 0}. O(log n) plus the bytes copied. */
KVSQL_API kvsql_rc kvsql_list_get(kvsql_view *view, kvsql_slice key,
                                  int64_t index, kvsql_bytes *value,
                                  struct kvsql_error *err);

/* ==== cursors: reading in order ========================================== */

/* Which keys; zeroes are all of them. What is given must all hold. */
struct kvsql_range {
    kvsql_slice prefix;   /* keys that begin with these bytes */
    kvsql_slice from, to; /* from <= key < to, in the order of keys */
    bool has_from, has_to;
    enum kvsql_type type; /* of this type; KVSQL_TYPE_NONE: of any */
};

/* A key met by a cursor. The slice lives until the cursor's next step. */
struct kvsql_key {
    kvsql_slice key;
    enum kvsql_type type;
    uint64_t length;    /* as kvsql_view_length */
    int64_t expires_at; /* ms since the epoch, 0 = never */
};

/* An element met by a cursor. The slices live until the cursor's next step. */
struct kvsql_elem {
    kvsql_slice name;   /* field of a hash, member of a set or sorted set */
    kvsql_slice value;  /* of a field, of a list's element */
    double score;       /* sorted set */
    uint64_t index;     /* list */
    int64_t expires_at; /* of a field, ms since the epoch, 0 = never */
};

/* Walk over keys in their order.
 *
 * view    must stay while the cursor is used; when it ends, the cursor ends.
 *         On the view of a txn the cursor shows the state of this moment,
 *         whatever the txn changes later; kvsql_restore ends it.
 * range   copied, with its bytes. NULL: all keys.
 * cursor  set when the result is KVSQL_OK, else NULL.
 *
 * KVSQL_OK  the cursor stands before the first key: call kvsql_keys_next.
 * O(log n). */
KVSQL_API kvsql_rc kvsql_keys_open(kvsql_view *view,
                                   const struct kvsql_range *range,
                                   kvsql_cursor **cursor,
                                   struct kvsql_error *err);

/* Step to the next key.
 *
 * key  may be NULL.
 *
 * KVSQL_NOTFOUND  there are no more; stays so.
 * KVSQL_ABORT     the cursor's view or txn has ended.
 * KVSQL_INVALID   it is a cursor over elements.
 * O(1), and O(log n) where keys of other types lie between. */
KVSQL_API kvsql_rc kvsql_keys_next(kvsql_cursor *cursor, struct kvsql_key *key,
                                   struct kvsql_error *err);

/* The string under the key that the cursor stands on, without a copy.
 *
 * value  lives until the cursor's next step.
 *
 * KVSQL_NOTFOUND   the cursor stands on no key.
 * KVSQL_WRONGTYPE  the key holds no string.
 * KVSQL_ABORT, KVSQL_INVALID as above. O(1). */
KVSQL_API kvsql_rc kvsql_keys_value(kvsql_cursor *cursor, kvsql_slice *value,
                                    struct kvsql_error *err);

/* Walk over the elements of one value: fields and members in their order, a
 * list by index.
 *
 * view      as in kvsql_keys_open.
 * by_score  a sorted set in the order of score, then bytes.
 *
 * KVSQL_OK         the cursor stands before the first element.
 * KVSQL_NOTFOUND   there is no such key.
 * KVSQL_WRONGTYPE  it holds a string; or by_score, and it holds no sorted set.
 * O(log n). */
KVSQL_API kvsql_rc kvsql_elems_open(kvsql_view *view, kvsql_slice key,
                                    bool by_score, kvsql_cursor **cursor,
                                    struct kvsql_error *err);

/* Step to the next element: as kvsql_keys_next. */
KVSQL_API kvsql_rc kvsql_elems_next(kvsql_cursor *cursor,
                                    struct kvsql_elem *elem,
                                    struct kvsql_error *err);

/* Free a cursor. NULL is fine. The view's thread; cannot fail. */
KVSQL_API_VOID void kvsql_cursor_close(kvsql_cursor *cursor);

/* ==== transactions ==========================================================
 *
 * Changes that come together: all of them survive a crash, and are seen by
 * others, or none. Between kvsql_begin and the end the thread holds the lock of
 * writers, so there are no conflicts and nothing to retry; keep it short. */

/* Begin a transaction.
 *
 * timeout_ms  how long to wait for the lock, 0 = as long as it takes.
 * txn         set when the result is KVSQL_OK, else NULL.
 *
 * KVSQL_BUSY  another thread held the lock all the time; or this thread
 *             has a txn open already, here or on another store.
 * KVSQL_NOMEM
 *
 * Blocks up to timeout_ms, and while the wal's buffer is full. */
KVSQL_API kvsql_rc kvsql_begin(kvsql *db, uint64_t timeout_ms, kvsql_txn **txn,
                               struct kvsql_error *err);

/* End a transaction, and keep what it did. The txn is gone in every case.
 *
 * KVSQL_OK      visible to every later view, and as durable as `fsync` says.
 * KVSQL_TOOBIG  the changes are too large for one record of the wal (256 MiB);
 *               all were undone.
 * KVSQL_NOMEM   all were undone.
 * KVSQL_FULL, KVSQL_IO  the wal could not take them; all were undone. Whether
 *               they are there after a crash that follows is unknown.
 *
 * Blocks up to one write of the wal, with ALWAYS up to one sync; the lock is
 * free meanwhile. */
KVSQL_API kvsql_rc kvsql_commit(kvsql_txn *txn, struct kvsql_error *err);

/* End a transaction, and undo what it did. NULL is fine. Cannot fail. Costs
 * what the changes cost. */
KVSQL_API_VOID void kvsql_rollback(kvsql_txn *txn);

/* The txn's own state, with its changes, for the reading calls above. Lives as
 * long as the txn; it is not given back. */
KVSQL_API kvsql_view *kvsql_txn_view(kvsql_txn *txn);

/* A place to go back to. Plain bytes; of use in its txn only. */
typedef struct kvsql_savepoint {
    uint64_t private_[3];
} kvsql_savepoint;

/* Remember the state of now. O(1); any number, nested in any way. It is kept
 * to the end of the txn: with large changes behind each of many savepoints, a
 * txn holds a copy of what changed per savepoint, without them one in all. */
KVSQL_API kvsql_savepoint kvsql_savepoint_set(kvsql_txn *txn);

/* Undo what the txn did since the savepoint, which stays good; later ones are
 * void. Ends the txn's cursors. Cannot fail. */
KVSQL_API_VOID void kvsql_restore(kvsql_txn *txn, kvsql_savepoint savepoint);

/* Changes so far; 0 means that the txn has changed nothing. */
KVSQL_API uint64_t kvsql_txn_count(const kvsql_txn *txn);

/* ==== transactions: changes =================================================
 *
 * Each gives the results "to write" on top of its own, runs in the txn's
 * thread, and never blocks. A collection is made by its first element and
 * vanishes with its last. Bytes are copied. */

/* As the one-call forms above. */
KVSQL_API kvsql_rc kvsql_txn_put(kvsql_txn *txn, kvsql_slice key,
                                 kvsql_slice value, uint64_t ttl_ms,
                                 struct kvsql_error *err);
KVSQL_API kvsql_rc kvsql_txn_delete(kvsql_txn *txn, kvsql_slice key,
                                    struct kvsql_error *err);
KVSQL_API kvsql_rc kvsql_txn_expire(kvsql_txn *txn, kvsql_slice key,
                                    uint64_t ttl_ms, struct kvsql_error *err);
KVSQL_API kvsql_rc kvsql_txn_incr(kvsql_txn *txn, kvsql_slice key, int64_t by,
                                  int64_t *value, struct kvsql_error *err);

/* Give a value another key, with its expiry; what `to` held is gone.
 * KVSQL_NOTFOUND: there is no `from`. O(log n). */
KVSQL_API kvsql_rc kvsql_txn_rename(kvsql_txn *txn, kvsql_slice from,
                                    kvsql_slice to, struct kvsql_error *err);

/* Remove every key. O(1); the memory is freed later, in small steps. */
KVSQL_API kvsql_rc kvsql_txn_flush(kvsql_txn *txn, struct kvsql_error *err);

/* Set one field of a hash. The field's own expiry is dropped.
 *
 * ttl_ms   milliseconds until the field vanishes; 0 keeps it.
 * created  whether it is new; may be NULL.
 *
 * KVSQL_OVERFLOW  ttl_ms reaches beyond the end of time. O(log n). */
KVSQL_API kvsql_rc kvsql_hash_set(kvsql_txn *txn, kvsql_slice key,
                                  kvsql_slice field, kvsql_slice value,
                                  uint64_t ttl_ms, bool *created,
                                  struct kvsql_error *err);

/* Remove one field of a hash. KVSQL_NOTFOUND: no such key or field.
 * O(log n). */
KVSQL_API kvsql_rc kvsql_hash_delete(kvsql_txn *txn, kvsql_slice key,
                                     kvsql_slice field,
                                     struct kvsql_error *err);

/* Put a member in a set. *created (may be NULL): it was not there. O(log n). */
KVSQL_API kvsql_rc kvsql_set_add(kvsql_txn *txn, kvsql_slice key,
                                 kvsql_slice member, bool *created,
                                 struct kvsql_error *err);

/* Take a member out of a set. KVSQL_NOTFOUND: no such key or member.
 * O(log n). */
KVSQL_API kvsql_rc kvsql_set_remove(kvsql_txn *txn, kvsql_slice key,
                                    kvsql_slice member,
                                    struct kvsql_error *err);

/* Set the score of a member of a sorted set; infinities are fine.
 * *created (may be NULL): it was not there. KVSQL_INVALID: not a number.
 * O(log n). */
KVSQL_API kvsql_rc kvsql_zset_add(kvsql_txn *txn, kvsql_slice key,
                                  kvsql_slice member, double score,
                                  bool *created, struct kvsql_error *err);

/* Take a member out of a sorted set. KVSQL_NOTFOUND: no such key or member.
 * O(log n). */
KVSQL_API kvsql_rc kvsql_zset_remove(kvsql_txn *txn, kvsql_slice key,
                                     kvsql_slice member,
                                     struct kvsql_error *err);

/* Put an element at one end of a list. *length (may be NULL) is the list's
 * then. O(log n). */
KVSQL_API kvsql_rc kvsql_list_push(kvsql_txn *txn, kvsql_slice key,
                                   enum kvsql_side side, kvsql_slice value,
                                   uint64_t *length, struct kvsql_error *err);

/* Take the element at one end of a list; *value (may be NULL) is a copy.
 * KVSQL_NOTFOUND: there is no such key; *value is {NULL, 0}. O(log n). */
KVSQL_API kvsql_rc kvsql_list_pop(kvsql_txn *txn, kvsql_slice key,
                                  enum kvsql_side side, kvsql_bytes *value,
                                  struct kvsql_error *err);

/* Replace one element of a list; `index` as in kvsql_list_get.
 * KVSQL_NOTFOUND: no such key. KVSQL_RANGE: the list is shorter. O(log n). */
KVSQL_API kvsql_rc kvsql_list_set(kvsql_txn *txn, kvsql_slice key,
                                  int64_t index, kvsql_slice value,
                                  struct kvsql_error *err);

/* Remove `count` elements from `index` on, as far as there are any.
 * KVSQL_NOTFOUND: no such key. KVSQL_RANGE: the list is shorter than index.
 * O(log n + count). */
KVSQL_API kvsql_rc kvsql_list_remove(kvsql_txn *txn, kvsql_slice key,
                                     int64_t index, uint64_t count,
                                     struct kvsql_error *err);

/* ==== SQL in a connection of your own ======================================= */

struct sqlite3; /* SQLite's connection: its header is not needed here */

/* Put the store's tables and functions into a connection that the program has
 * opened: keys, strings, hashes, lists, sets, zsets, changes, kv_hash, kv_get()
 * and the others of docs/SQL.md, beside the tables that the connection has
 * already. An ordinary table of the same name comes first. One store in a
 * connection; any number of connections on a store.
 *
 *     sqlite3 *sql;
 *
 *     if (sqlite3_open(":memory:", &sql) != SQLITE_OK ||
 *         kvsql_sql_register(db, sql, &err) != KVSQL_OK)
 *         return fail(err.text);
 *     sqlite3_exec(sql, "SELECT key, value FROM strings", ...);
 *     sqlite3_close(sql);
 *
 * The tables live as long as the connection. It is a handle: close it first.
 *
 * A statement reads one state; a transaction (BEGIN .. COMMIT, savepoints too)
 * holds for the store's tables and for those of the connection. From its first
 * write on a transaction has the lock of writers, as a kvsql_txn has it: end it
 * in the thread in which it began, where calls that take a kvsql answer
 * KVSQL_BUSY meanwhile. A statement that would wait for a kvsql_txn, or for
 * another connection, of its own thread gets SQLITE_BUSY at once. COMMIT returns
 * when the change is as safe as `fsync` asks. No limits of time, memory or rows
 * and no rights: whoever has the connection may do everything. A list of row
 * values with numbers, `(key, field) IN (SELECT 7, ..)`, finds keys that are
 * written as the number is, '7' and not '007' as in ordinary tables: CAST them
 * to TEXT, or join (docs/decisions/row-values.md).
 *
 * sql  open, of SQLite 3.38 or later with threads; not in use meanwhile.
 *
 * KVSQL_OK       the tables are there.
 * KVSQL_INVALID  an argument is NULL, SQLite is too old, or the connection has
 *                a store's tables already, perhaps by the loadable extension.
 * KVSQL_BUSY     this thread has a txn open.
 * KVSQL_NOMEM    no memory; the connection may have some tables: close it.
 *
 * Any thread. Does not block. */
KVSQL_API kvsql_rc kvsql_sql_register(kvsql *db, struct sqlite3 *sql,
                                      struct kvsql_error *err);

/* ==== durability, snapshots, statistics ================================== */

/* Wait until every transaction that has ended is on the disk, whatever the
 * policy.
 *
 * KVSQL_OK  a power cut takes none of them. At once in a store without files.
 * KVSQL_FULL, KVSQL_IO  they could not be made durable; err says why.
 * KVSQL_BUSY  this thread has a txn open.
 *
 * Any thread. Blocks up to two syncs. */
KVSQL_API kvsql_rc kvsql_sync(kvsql *db, struct kvsql_error *err);

struct kvsql_snapshot_info {
    char file[64];      /* bare name in the directory of the store */
    uint64_t position;  /* of the state written */
    int64_t created_at; /* ms since the epoch */
    uint64_t size;      /* bytes */
    uint64_t keys;
    uint64_t ms;        /* time it took */
};

/* Write a snapshot of the newest state, now and in this thread. Writers go on.
 *
 * info  may be NULL.
 *
 * KVSQL_OK       the file is complete and synced; segments of the wal that no
 *                kept snapshot needs are gone.
 * KVSQL_BUSY     another is being written; or this thread has a txn open.
 * KVSQL_INVALID  the store has no directory.
 * KVSQL_READONLY the store was opened with read_only.
 * KVSQL_FULL, KVSQL_IO, KVSQL_NOMEM, KVSQL_TOOBIG  the last one stays.
 *
 * Any thread. Blocks for about a second per 2 million small keys. */
KVSQL_API kvsql_rc kvsql_snapshot(kvsql *db, struct kvsql_snapshot_info *info,
                                  struct kvsql_error *err);

struct kvsql_statistics {
    uint64_t keys, keys_with_expiry;
    uint64_t position;  /* of the last transaction */
    uint64_t durable;   /* of the last one known to be on the disk */
    uint64_t memory;    /* bytes of data, of what views hold, of the undo log */
    uint64_t memory_max;/* 0 = no limit */
    uint64_t views;     /* versions kept in memory, besides the newest */
    uint64_t expired_keys, expired_fields;
    uint64_t transactions, changes;
    uint64_t wal_size;  /* bytes of the wal in the directory */
    uint64_t wal_syncs;
    uint64_t snapshots; /* written since kvsql_open */
    uint64_t snapshot_position;
    bool writable;      /* false: full disk, failed wal, or read_only */
};

/* Figures of this moment, for people and dashboards.
 *
 * KVSQL_BUSY  this thread has a txn open; nothing was filled.
 * Any thread. Cheap: no walk over keys. */
KVSQL_API kvsql_rc kvsql_statistics_get(kvsql *db,
                                        struct kvsql_statistics *statistics,
                                        struct kvsql_error *err);

#ifdef __cplusplus
}
#endif

#endif
