/* undo.c - blocks of store memory, and the log of overwritten bytes.
 *
 * The log is one run of records, each followed by a 16-byte trailer so that it
 * can be walked from its end:
 *
 *   RANGE  old bytes | trailer {address, size, UNDO_RANGE}
 *   NEW, DEAD, REAP, VIEW, LONG, VOID   trailer {block, 0, kind}
 *
 * A mark is a place in the log; places grow for ever, undo_base is the place of
 * its first byte. Undoing restores bytes, not meanings (I5), allocates nothing
 * and cannot fail (I11).
 *
 * Thread: the holder of the store lock. */
#include <string.h>

#include "kvsql/node_ops.h"

#define UNDO_KEEP_MAX (2u << 20) /* bytes of log kept when it is empty: what a txn
                                    has reached before it is long (UN3) */

struct undo_trailer {
    void *p;
    uint32_t size;
    uint32_t kind;
};
_Static_assert(sizeof(struct undo_trailer) == KV_UNDO_TRAILER, "undo trailer");

/* A record with the n bytes at p in front of it. */
static inline void undo_append(struct kv_store *store, enum kv_undo_kind kind,
                               void *p, size_t n)
{
    const struct undo_trailer trailer = {
        .p = p, .size = (uint32_t)n, .kind = (uint32_t)kind};

    if (KV_UNLIKELY(store->undo_off)) /* and maybe without a buffer */
        return;
    uint8_t *const to = store->undo + store->undo_used;
    KV_ASSERT(store->undo_used + n + sizeof(trailer) <= store->undo_cap);
    bytes_copy(to, p, (uint32_t)n);
    memcpy(to + n, &trailer, sizeof(trailer));
    store->undo_used += n + sizeof(trailer);
}

/* ---- blocks ------------------------------------------------------------- */

uint32_t kv_size_class(uint32_t size)
{
    if (size <= 64)
        return 64;
    const unsigned top = 31u - (unsigned)__builtin_clz(size - 1);
    const uint32_t step = /* ST2; halves above a kilobyte, where rounding up
                             costs most */
        UINT32_C(1) << (size > 1024 ? top - 3 : top - 2);
    return (size + step - 1) & ~(step - 1);
}

static enum kv_block_kind block_kind(const void *block)
{
    return (enum kv_block_kind)(*(const uint64_t *)block & 7);
}

size_t kv_block_size(const void *block)
{
    switch (block_kind(block)) {
    case KV_BLOCK_NODE:
        return ((const struct kv_node *)block)->cap;
    case KV_BLOCK_TREE:
        return sizeof(struct kv_tree);
    case KV_BLOCK_BLOB:
        break;
    }
    return sizeof(struct kv_blob) + ((const struct kv_blob *)block)->cap;
}

void kv_block_free(void *block)
{
    const size_t size = kv_block_size(block);

#ifdef KVSQL_DEBUG
    memset(block, 0xDD, size); /* TS5 */
#endif
    kv_mem_free(KV_MEM_NODE, block, size);
}

bool kv_owned(const struct kv_store *store, const void *block)
{
    return kv_block_newer(block, store->viewgen);
}

static inline void *block_born(struct kv_store *store, size_t size,
                               enum kv_block_kind kind)
{
    void *block = kv_shelf_take(store, size);

    if (block == NULL)
        block = kv_mem_alloc(KV_MEM_NODE, size);
    if (block == NULL)
        return NULL;
    *(uint64_t *)block = store->gen | (uint64_t)kind;
    store->delta_bytes += (int64_t)size;
    store->bytes_live += size;
    undo_append(store, UNDO_NEW, block, 0);
    return block;
}

struct kv_node *kv_node_new(struct kv_store *store, uint32_t size,
                            uint8_t level, uint8_t flags)
{
    const uint32_t cap = kv_size_class(size);
    struct kv_node *const node = block_born(store, cap, KV_BLOCK_NODE);

    KV_ASSERT(cap <= KV_LEAF_MAX);
    if (node == NULL)
        return NULL;
    const uint64_t gen = node->gen;
    *node = (struct kv_node){
        .gen = gen, .cap = (uint16_t)cap, .level = level, .flags = flags};
    return node;
}

struct kv_tree *kv_tree_block_new(struct kv_store *store)
{
    struct kv_tree *const tree =
        block_born(store, sizeof(*tree), KV_BLOCK_TREE);

    if (tree == NULL)
        return NULL;
    const uint64_t gen = tree->gen;
    *tree = (struct kv_tree){.gen = gen};
    tree->min_exp = (UINT64_C(1) << 48) - 1;
    return tree;
}

struct kv_blob *kv_blob_new(struct kv_store *store, uint32_t len)
{
    const uint32_t cap = len + 1;
    struct kv_blob *const blob =
        block_born(store, sizeof(*blob) + cap, KV_BLOCK_BLOB);

    if (blob == NULL)
        return NULL;
    blob->len = len;
    blob->cap = cap;
    blob->d[len] = 0;
    return blob;
}

struct kv_node *kv_node_clone(struct kv_store *store,
                              const struct kv_node *node)
{
    struct kv_node *const copy = block_born(store, node->cap, KV_BLOCK_NODE);

    if (copy != NULL)
        node_copy(copy, node->cap, node);
    return copy;
}

void *kv_block_copy(struct kv_store *store, const void *block)
{
    const size_t size = kv_block_size(block);

    if (block_kind(block) == KV_BLOCK_NODE)
        return kv_node_clone(store, block);
    void *const copy = block_born(store, size, block_kind(block));
    if (copy != NULL) {
        const uint64_t gen = *(const uint64_t *)copy;
        memcpy(copy, block, size);
        *(uint64_t *)copy = gen;
    }
    return copy;
}

/* ---- recording ------------------------------------------------------------ */

bool kv_room_make(struct kv_store *store, size_t bytes, unsigned blocks)
{
    const size_t need = store->undo_used + bytes +
                        (size_t)blocks * 2 * KV_UNDO_TRAILER;
    const unsigned chunks =
        2 + 2 * (blocks / LIST_CHUNK_ENTRIES) + store->spare_reserved;

    if (need > store->undo_cap && !store->undo_off) {
        size_t cap = store->undo_cap > 0 ? store->undo_cap : 64 * 1024;
        while (cap < need)
            cap *= 2;
        void *const p = kv_mem_realloc(KV_MEM_UNDO, store->undo,
                                       store->undo_cap, cap);
        if (p == NULL)
            return false;
        store->undo = p;
        store->undo_cap = cap;
    }
    while (store->spare_count < chunks) {
        struct kv_list_chunk *const chunk = kv_list_chunk_new();
        if (chunk == NULL)
            return false;
        chunk->next = store->spare;
        store->spare = chunk;
        store->spare_count++;
    }
    return true;
}

void kv_undo_record(struct kv_store *store, enum kv_undo_kind kind, void *p)
{
    undo_append(store, kind, p, 0);
}

void kv_edit(struct kv_store *store, void *p, size_t n)
{
    undo_append(store, UNDO_RANGE, p, n);
}

/* The position whose release lets the block go: the batch's; between batches
 * the last one's, for pos + 1 might never come, and when a snapshot is loaded. */
static uint64_t undo_stamp(const struct kv_store *store)
{
    const struct kv_txn *const txn = &store->txn;

    return txn->open && (!txn->replay || txn->numbered) ? store->pos + 1
                                                        : store->pos;
}

/* From here on the bytes do not count as live. */
static void undo_count_dead(struct kv_store *store, uint64_t size)
{
    KV_ASSERT(store->bytes_live >= size);
    store->bytes_live -= size;
    store->bytes_retired += size;
}

void kv_undo_count_back(struct kv_store *store, uint64_t size)
{
    store->bytes_live += size;
    store->bytes_retired -= size;
}

static inline void undo_list_retired(struct kv_store *store, void *block,
                                     size_t size)
{
    const bool in_long = store->txn.longs > 0;
    const uint64_t stamp =
        in_long ? store->txn.era : undo_stamp(store); /* LG2 */

    if (!kv_owned(store, block)) {
        kv_list_push(store, &store->dead, block, stamp);
        kv_view_retain(store, block, size);
    } else {
        kv_list_push(store, in_long ? &store->scrap : &store->pend, block,
                     stamp);
    }
}

void kv_retire_reaped(struct kv_store *store, void *block)
{
    undo_list_retired(store, block, kv_block_size(block));
}

void kv_retire(struct kv_store *store, void *block)
{
    const size_t size = kv_block_size(block);

    undo_append(store, UNDO_DEAD, block, 0);
    store->delta_bytes -= (int64_t)size;
    undo_count_dead(store, size);
    undo_list_retired(store, block, size);
}

void kv_retire_tree(struct kv_store *store, struct kv_tree *tree)
{
    kv_undo_record(store, UNDO_REAP, tree);
    undo_count_dead(store, sizeof(*tree) + tree->bytes);
    kv_list_push(store, &store->reap, tree, undo_stamp(store));
    store->reaped++;
}

void kv_undo_turn(struct kv_store *store, uint64_t record,
                  enum kv_undo_kind to)
{
    const uint32_t kind = (uint32_t)to;

    if (record < store->undo_base + sizeof(struct undo_trailer) ||
        record > store->undo_base + store->undo_used)
        return; /* forgotten already */
    memcpy(store->undo + (record - store->undo_base) -
               sizeof(struct undo_trailer) +
               offsetof(struct undo_trailer, kind),
           &kind, sizeof(kind));
}

void kv_undo_trim(struct kv_store *store)
{
    const uint64_t released = atomic_load(&store->released);

    while (store->mark_count > 0 &&
           store->marks[store->mark_first].position <= released) {
        store->mark_first = (store->mark_first + 1) % store->mark_cap;
        store->mark_count--;
    }
    if (store->long_count > 0)
        kv_long_release(store);
    if (store->mark_count == 0) {
        store->undo_base += store->undo_used;
        store->undo_used = 0;
        if (store->undo_cap > UNDO_KEEP_MAX) {
            kv_mem_free(KV_MEM_UNDO, store->undo, store->undo_cap);
            store->undo = NULL;
            store->undo_cap = 0;
        }
        return;
    }
    const size_t gone =
        (size_t)(store->marks[store->mark_first].undo - store->undo_base);
    if (gone > 64 * 1024 && gone > store->undo_used / 2) {
        memmove(store->undo, store->undo + gone, store->undo_used - gone);
        store->undo_base += gone;
        store->undo_used -= gone;
    }
}

/* ---- taking back ------------------------------------------------------------ */

/* Make holes where blocks with KV_BACK stand, from the tail, until `count`
 * are found. */
static uint64_t undo_unlist(struct kv_list *list, uint64_t count)
{
    for (struct kv_list_chunk *chunk = list->tail; chunk != NULL && count > 0;
         chunk = chunk->prev) {
        for (uint32_t i = chunk->to; i-- > chunk->from && count > 0;) {
            void *const block = chunk->entry[i].block;
            if (block == NULL || !(*(uint64_t *)block & KV_BACK))
                continue;
            chunk->entry[i].block = NULL;
            list->count--;
            count--;
        }
    }
    return count;
}

static void undo_lower_stamps(struct kv_list *list, uint64_t stamp_max)
{
    for (struct kv_list_chunk *chunk = list->tail; chunk != NULL;
         chunk = chunk->prev) {
        for (uint32_t i = chunk->to; i-- > chunk->from;) {
            if (chunk->entry[i].stamp <= stamp_max)
                return; /* I9 */
            chunk->entry[i].stamp = stamp_max;
        }
    }
}

void kv_undo_lower(struct kv_store *store, uint64_t stamp_max)
{
    undo_lower_stamps(&store->pend, stamp_max);
    undo_lower_stamps(&store->reap, stamp_max);
}

/* The last view was dropped. What a reap retired while it was there has no
 * DEAD record and still waits for that view: nobody will release it. */
static void undo_orphans(struct kv_store *store, uint64_t stamp)
{
    for (struct kv_list_chunk *chunk = store->dead.head; chunk != NULL;
         chunk = chunk->next)
        for (uint32_t i = chunk->from; i < chunk->to; i++)
            chunk->entry[i].stamp = stamp; /* I9: no stamp is larger */
    kv_list_join(&store->pend, &store->dead);
}

static void undo_unreap(struct kv_store *store, const struct kv_tree *tree)
{
    for (struct kv_list_chunk *chunk = store->reap.tail; chunk != NULL;
         chunk = chunk->prev) {
        for (uint32_t i = chunk->to; i-- > chunk->from;) {
            if (chunk->entry[i].block != tree)
                continue;
            chunk->entry[i].block = NULL;
            store->reap.count--;
            kv_undo_count_back(store, sizeof(*tree) + tree->bytes);
            return;
        }
    }
    KV_ASSERT(!"a tree that is being taken back is on the queue");
}

static void undo_one(struct kv_store *store, const struct undo_trailer *trailer,
                     const uint8_t *bytes)
{
    switch ((enum kv_undo_kind)trailer->kind) {
    case UNDO_RANGE:
        memcpy(trailer->p, bytes, trailer->size);
        break;
    case UNDO_NEW: {
        const size_t size = kv_block_size(trailer->p);
        store->bytes_live -= size;
        store->delta_bytes -= (int64_t)size;
        kv_block_free(trailer->p);
        break;
    }
    case UNDO_DEAD: {
        const size_t size = kv_block_size(trailer->p);
        *(uint64_t *)trailer->p &= ~KV_BACK;
        kv_undo_count_back(store, size);
        kv_view_unretain(store, trailer->p);
        store->delta_bytes += (int64_t)size;
        break;
    }
    case UNDO_REAP:
        undo_unreap(store, trailer->p);
        break;
    case UNDO_VIEW:
        kv_view_drop(store, trailer->p);
        break;
    case UNDO_LONG:
        kv_long_undo(store, trailer->p);
        break;
    case UNDO_VOID:
        break;
    }
}

void kv_undo_to(struct kv_store *store, uint64_t mark, uint64_t stamps_max)
{
    struct undo_trailer trailer;
    uint64_t back = 0;

    KV_ASSERT(mark >= store->undo_base);
    const size_t stop = (size_t)(mark - store->undo_base);
    KV_ASSERT(stop <= store->undo_used);
    for (size_t at = store->undo_used; at > stop;) {
        memcpy(&trailer, store->undo + at - sizeof(trailer), sizeof(trailer));
        at -= sizeof(trailer) + trailer.size;
        if (trailer.kind == UNDO_DEAD) {
            *(uint64_t *)trailer.p |= KV_BACK;
            back++;
        }
    }
    back = undo_unlist(&store->scrap, back);
    back = undo_unlist(&store->pend, back);
    back = undo_unlist(&store->dead, back);
    for (struct kv_view *view = store->newest; view != NULL && back > 0;
         view = view->older)
        back = undo_unlist(&view->dead, back);
    KV_ASSERT(back == 0); /* I3 */
    if (stamps_max != UINT64_MAX)
        kv_undo_lower(store, stamps_max);
    while (store->undo_used > stop) {
        memcpy(&trailer, store->undo + store->undo_used - sizeof(trailer),
               sizeof(trailer));
        store->undo_used -= sizeof(trailer) + trailer.size;
        undo_one(store, &trailer, store->undo + store->undo_used);
    }
    if (store->newest == NULL && stamps_max != UINT64_MAX)
        undo_orphans(store, stamps_max);
}

void kv_undo_fini(struct kv_store *store)
{
    kv_mem_free(KV_MEM_UNDO, store->undo, store->undo_cap);
    store->undo = NULL;
    store->undo_cap = store->undo_used = 0;
}
