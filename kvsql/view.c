/* view.c - taking, pinning, releasing views; freeing what nobody reaches.
 *
 * The protocol of store.md 5.2. A view is a root and a generation: a block is
 * visible to it iff its birth is not later (I1, I2). `dead` of a view holds the
 * blocks visible to the view before it and not to it; of the store, those
 * visible to the newest view and not to live (I3).
 *
 * Thread: pin and unpin any; the rest the holder of the store lock. */
#include <string.h>

#include "kvsql/store_private.h"

#define VIEW_GC_STEP 128
#define VIEW_SAMPLE 4096 /* blocks that are measured for kv_view_list */

#define VIEW_SPARES 2 /* chunks that its release may need at once (I11) */

static void view_free(struct kv_view *view)
{
    kv_mem_free(KV_MEM_VIEW, view, sizeof(*view));
}

struct kv_view *kv_view_take(struct kv_store *store, bool inside)
{
    struct kv_view *view = store->view_spare;

    if (view == NULL)
        view = kv_mem_alloc(KV_MEM_VIEW, sizeof(*view));
    if (view == NULL)
        return NULL;
    store->view_spare = NULL;
    store->spare_reserved += VIEW_SPARES;
    if (!kv_room(store, 0, 1)) {
        store->spare_reserved -= VIEW_SPARES;
        view_free(view);
        return NULL;
    }
    *view = (struct kv_view){
        .older = store->newest,
        .store = store,
        .root = store->live,
        .gen = store->gen | ((UINT64_C(1) << KV_GEN_SHIFT) - 1),
        .pos = store->pos + (inside ? 1 : 0),
        .epoch = atomic_load(&store->epoch),
        .taken_ns = kv_os_mono_ns(),
        .inside = inside,
        .dead = store->dead};
    store->dead = (struct kv_list){.head = NULL};
    if (store->newest != NULL)
        store->newest->newer = view;
    else
        store->oldest = view;
    store->newest = view;
    store->view_count++;
    kv_undo_record(store, UNDO_VIEW, view);
    view->record = kv_undo_mark(store);
    store->viewgen = view->gen;
    store->gen += UINT64_C(1) << KV_GEN_SHIFT;
    return view;
}

static void view_unlink(struct kv_store *store, struct kv_view *view)
{
    if (view->older != NULL)
        view->older->newer = view->newer;
    else
        store->oldest = view->newer;
    if (view->newer != NULL)
        view->newer->older = view->older;
    else
        store->newest = view->older;
    view->older = view->newer = NULL;
    store->viewgen = store->newest != NULL ? store->newest->gen : 0;
    store->view_count--;
    store->spare_reserved -= VIEW_SPARES;
}

/* An undo went back before the view was taken: what is dead for it is dead for
 * live again. Pins that wait see `dropped`. */
void kv_view_drop(struct kv_store *store, struct kv_view *view)
{
    struct kv_list dead = view->dead;

    view->dead = (struct kv_list){.head = NULL};
    kv_list_join(&dead, &store->dead);
    store->dead = dead;
    view_unlink(store, view);
    view->dropped = true;
    if (atomic_load(&view->refs) == 0)
        view_free(view);
}

/* Move at most `budget` entries of N (see store.md 5.2) to where they belong.
 * What stays goes to the view's own list at once: it is visible to the older
 * view, so it must not be looked at again. True when N is empty. */
static bool view_sort_dead(struct kv_store *store, struct kv_view *view,
                           struct kv_list *from, unsigned budget)
{
    const uint64_t older_gen = view->older != NULL ? view->older->gen : 0;
    const uint64_t stamp = store->txn.open ? store->pos + 1 : store->pos;
    struct kv_list_chunk *chunk;

    for (; (chunk = from->head) != NULL; kv_list_drop_head(store, from)) {
        for (; chunk->from < chunk->to; chunk->from++) {
            const struct kv_list_entry entry = chunk->entry[chunk->from];
            if (entry.block == NULL)
                continue; /* a hole */
            if (budget-- == 0)
                return false;
            if (!kv_block_newer(entry.block, older_gen))
                kv_list_push(store, &view->dead, entry.block, entry.stamp);
            else if (store->txn.longs > 0 &&
                     kv_block_newer(entry.block, store->txn.long_gen))
                kv_list_push(store, &store->scrap, entry.block, entry.stamp);
            else
                kv_list_push(store, &store->pend, entry.block, stamp);
            from->count--;
        }
    }
    return true;
}

static bool view_release(struct kv_store *store, struct kv_view *view,
                         unsigned budget)
{
    struct kv_list *const from =
        view->newer != NULL ? &view->newer->dead : &store->dead;

    view->closing = true;
    if (KV_UNLIKELY(from->head != NULL) &&
        !view_sort_dead(store, view, from, budget))
        return false;
    kv_undo_turn(store, view->record, UNDO_VOID);
    *from = view->dead;
    view_unlink(store, view);
    if (store->view_spare == NULL)
        store->view_spare = view;
    else
        view_free(view);
    return true;
}

bool kv_view_release_some(struct kv_store *store, unsigned budget)
{
    struct kv_view *next;

    if (atomic_exchange(&store->unpin_wanted, 0) == 0)
        return false;
    if (!kv_room(store, 0, 1)) { /* later, when there is memory */
        atomic_fetch_add(&store->unpin_wanted, 1);
        return false;
    }
    for (struct kv_view *view = store->oldest; view != NULL; view = next) {
        next = view->newer;
        if (atomic_load(&view->refs) != 0)
            continue;
        if (!view_release(store, view, budget)) {
            atomic_fetch_add(&store->unpin_wanted, 1);
            return true;
        }
    }
    return false;
}

unsigned kv_view_collect(struct kv_store *store, void **block, unsigned max)
{
    const uint64_t released = atomic_load(&store->released);
    struct kv_list_entry entry;
    unsigned n = 0;

    while (n < max && kv_list_pop(store, &store->pend, &entry, released)) {
        store->bytes_retired -= kv_block_size(entry.block); /* I4, I9 */
        block[n++] = entry.block;
    }
    return n;
}

bool kv_view_gc(struct kv_store *store, unsigned budget)
{
    void *block[VIEW_GC_STEP];
    unsigned n = VIEW_GC_STEP;

    while (n == VIEW_GC_STEP && budget > 0) {
        kv_lock_take(&store->lock);
        n = kv_view_collect(store, block, VIEW_GC_STEP);
        kv_lock_drop(&store->lock);
        for (unsigned i = 0; i < n; i++) /* MA3: outside the lock */
            kv_block_free(block[i]);
        budget -= n < budget ? n : budget;
    }
    return n == VIEW_GC_STEP;
}

kvsql_rc kv_pin(kvsql *db, struct kv_view **view, struct kvsql_error *err)
{
    struct kv_store *const store = kv_db_store(db);

    for (;;) {
        kv_lock_take(&store->lock);
        struct kv_view *v = store->oldest;
        const uint64_t released = atomic_load(&store->released);
        while (v != NULL && (v->inside || v->closing || v->pos < released))
            v = v->newer;
        if (v == NULL)
            v = kv_view_take(store, false);
        if (v == NULL) {
            kv_lock_drop(&store->lock);
            return kv_fail(err, KVSQL_NOMEM, "store: no memory for a view");
        }
        atomic_fetch_add(&v->refs, 1);
        kv_lock_drop(&store->lock);

        const struct kv_ticket ticket = {.position = v->pos,
                                         .epoch = v->epoch};
        const kvsql_rc rc = kv_gate_open(db, ticket)
                                ? KVSQL_OK
                                : kv_gate_wait(db, ticket, err);
        if (rc == KVSQL_OK) {
            *view = v;
            return KVSQL_OK;
        }
        kv_unpin(v);
        if (rc != KVSQL_FULL && rc != KVSQL_IO)
            return rc;
        /* its batch was taken back: look again (I7) */
    }
}

void kv_unpin(struct kv_view *view)
{
    if (view == NULL)
        return;
    struct kv_store *const store = view->store;
    const bool inside = view->inside; /* then the caller holds the lock */

    if (!inside)
        kv_lock_take(&store->lock);
    if (atomic_fetch_sub(&view->refs, 1) == 1) {
        if (view->dropped)
            view_free(view);
        else
            atomic_fetch_add(&store->unpin_wanted, 1);
    }
    if (!inside)
        kv_lock_drop(&store->lock);
}

const struct kv_store *kv_view_store(const struct kv_view *view)
{
    return view->store;
}

uint64_t kv_view_position(const struct kv_view *view)
{
    return view->pos;
}

uint64_t kv_view_id(const struct kv_view *view)
{
    return view->gen >> KV_GEN_SHIFT;
}

void kv_view_hold(struct kv_view *view, const char *holder)
{
    atomic_store_explicit(&view->holder, holder, memory_order_relaxed);
}

/* Bytes of the blocks that only this view and older ones see (I3): the first
 * VIEW_SAMPLE are looked at, the others taken to be like them. */
static uint64_t view_bytes(const struct kv_store *store,
                           const struct kv_view *view)
{
    const struct kv_list *const dead =
        view->newer != NULL ? &view->newer->dead : &store->dead;
    uint64_t bytes = 0, seen = 0;

    for (const struct kv_list_chunk *chunk = dead->head;
         chunk != NULL && seen < VIEW_SAMPLE; chunk = chunk->next)
        for (uint32_t i = chunk->from; i < chunk->to; i++)
            if (chunk->entry[i].block != NULL) {
                bytes += kv_block_size(chunk->entry[i].block);
                seen++;
            }
    if (seen == 0 || seen >= dead->count)
        return bytes;
    return (uint64_t)((double)bytes / (double)seen * (double)dead->count);
}

unsigned kv_view_list(kvsql *db, struct kv_txn *txn, struct kv_view_info *out,
                      unsigned max)
{
    struct kv_store *const store = kv_db_store(db);
    const uint64_t now = kv_os_mono_ns();
    unsigned n = 0;

    if (txn == NULL)
        kv_lock_take(&store->lock);
    for (const struct kv_view *v = store->oldest; v != NULL && n < max;
         v = v->newer) {
        const unsigned pins = atomic_load(&v->refs);
        const char *holder = atomic_load(&v->holder);

        if (pins == 0)
            continue;
        if (holder == NULL)
            holder = v->lasting ? "undo" : v->inside ? "transaction" : "";
        out[n++] = (struct kv_view_info){
            .id = kv_view_id(v),
            .position = v->pos,
            .age_ms = now > v->taken_ns ? (now - v->taken_ns) / 1000000 : 0,
            .pins = pins,
            .bytes = view_bytes(store, v),
            .holder = holder};
    }
    if (txn == NULL)
        kv_lock_drop(&store->lock);
    return n;
}

kvsql_rc kv_txn_view(struct kv_txn *txn, struct kv_view **view,
                     struct kvsql_error *err)
{
    struct kv_view *const v = kv_view_take(txn->store, true);

    if (v == NULL)
        return kv_fail(err, KVSQL_NOMEM, "store: no memory for a view");
    atomic_store(&v->refs, 1);
    *view = v;
    return KVSQL_OK;
}
