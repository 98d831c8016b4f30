/* view.c - taking, pinning, releasing views; freeing what nobody reaches.
 *
 * The protocol of store.md 5.2. A view is a root and a generation: a block is
 * visible to it iff its birth is not later (I1, I2). `dead` of a view holds the
 * blocks visible to the view before it and not to it; of the store, those
 * visible to the newest view and not to live (I3).
 *
 * What a view holds back is counted for each: the bytes of blocks that it sees
 * and live does not. A view that is too old, or holds back too much, is ended
 * (M8, VW6): it is not handed out again, and its readers, who look at it now
 * and then (kv_view_ended), give up and let go. Nothing is taken from them.
 *
 * Thread: pin and unpin any; the rest the holder of the store lock. */
#include <string.h>

#include "kvsql/store_private.h"

#define VIEW_GC_STEP 128
#define VIEW_PATIENT UINT64_MAX /* wait for the lock without an end */

#define VIEW_SHARE_PART 8 /* handed out in the first 1/8 of its time only */

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

/* ---- what a view holds back ------------------------------------------------- */

void kv_view_unretain(struct kv_store *store, const void *block)
{
    const uint64_t size = kv_block_size(block);

    for (struct kv_view *view = store->newest;
         view != NULL && !kv_block_newer(block, view->gen); view = view->older)
        view->retained -= size < view->retained ? size : view->retained;
}

/* LONG views and those inside a batch are their transaction's, which has a
 * bound of its own; the lock's holder would wait for itself. */
static enum kv_view_end view_end_of(const struct kv_store *store,
                                    const struct kv_view *view, bool full,
                                    uint64_t now)
{
    if (view->lasting || view->inside || atomic_load(&view->refs) == 0 ||
        atomic_load(&view->ended) != KV_VIEW_ON)
        return KV_VIEW_ON;
    if (store->view_bytes_max != 0 && view->retained > store->view_bytes_max &&
        (full || !view->own))
        return KV_VIEW_BIG;
    if (store->view_age_ns != 0 && !view->own &&
        now - view->taken_ns > store->view_age_ns)
        return KV_VIEW_OLD;
    return KV_VIEW_ON;
}

void kv_view_end_some(struct kv_store *store, bool full)
{
    struct kv_view_news *const news = &store->view_news;

    if (KV_LIKELY(store->oldest == NULL))
        return;
    const uint64_t now = kv_os_mono_ns();
    for (struct kv_view *view = store->oldest; view != NULL;
         view = view->newer) {
        const enum kv_view_end why = view_end_of(store, view, full, now);
        if (why == KV_VIEW_ON)
            continue;
        atomic_store(&view->ended, why);
        store->views_ended++;
        news->count++;
        news->why = why;
        news->bytes = view->retained;
        news->age_ms = (now - view->taken_ns) / 1000000;
    }
}

kvsql_rc kv_view_ended(const struct kv_view *view, struct kvsql_error *err)
{
    switch ((enum kv_view_end)atomic_load_explicit(&view->ended,
                                                   memory_order_relaxed)) {
    case KV_VIEW_OLD:
        return kv_fail(err, KVSQL_INTERRUPT,
                       "reading took longer than view-max-age allows: its "
                       "view of the store was given up; ask for less at a "
                       "time");
    case KV_VIEW_BIG:
        return kv_fail(err, KVSQL_INTERRUPT,
                       "writes replaced more of what is read than "
                       "view-max-bytes allows: its view of the store was "
                       "given up; ask for less at a time");
    case KV_VIEW_ON:
        break;
    }
    return KVSQL_OK;
}

void kv_store_set_views_held(struct kv_store *store, uint64_t age_ms,
                             uint64_t bytes)
{
    store->view_age_ns =
        age_ms > UINT64_MAX / 1000000 ? UINT64_MAX : age_ms * 1000000;
    store->view_bytes_max = bytes;
}

void kv_store_set_views(struct kv_store *store, uint64_t age_ms,
                        uint64_t bytes)
{
    kv_lock_take(&store->lock);
    kv_store_set_views_held(store, age_ms, bytes);
    kv_lock_drop(&store->lock);
}

/* ---- release ---------------------------------------------------------------- */

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
    const bool free = stamp <= atomic_load(&store->released); /* I4 */
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
            else if (!free || !kv_shelf_put(store, entry.block,
                                            kv_block_size(entry.block)))
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

/* Retired blocks that nobody will look at again. */
static void view_free_list(struct kv_store *store, struct kv_list *list)
{
    struct kv_list_entry entry;

    while (kv_list_pop(store, list, &entry, UINT64_MAX))
        kv_block_free(entry.block);
}

void kv_view_close(struct kv_store *store)
{
    struct kv_view *view;

    while ((view = store->oldest) != NULL) {
        KV_ASSERT(atomic_load(&view->refs) == 0 || view->lasting);
        view_free_list(store, &view->dead);
        view_unlink(store, view);
        view_free(view);
    }
    kv_mem_free(KV_MEM_VIEW, store->view_spare, sizeof(*store->view_spare));
    view_free_list(store, &store->dead);
    view_free_list(store, &store->pend);
    KV_ASSERT(store->scrap.count == 0); /* no txn is open */
    view_free_list(store, &store->scrap); /* its holes */
}

unsigned kv_view_collect(struct kv_store *store, void **block, unsigned max)
{
    const uint64_t released = atomic_load(&store->released);
    struct kv_list_entry entry;
    unsigned n = 0;

    while (n < max && kv_list_pop(store, &store->pend, &entry, released)) {
        const size_t size = kv_block_size(entry.block); /* I4, I9 */
        if (kv_shelf_put(store, entry.block, size))
            continue;
        store->bytes_retired -= size;
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

/* ---- pins ------------------------------------------------------------------- */

/* A view of all that is released, fit for one more reader; NULL: there is none.
 * One that is old already would end soon after its reader has begun. */
static struct kv_view *view_shared(const struct kv_store *store)
{
    const uint64_t released = atomic_load(&store->released);
    const uint64_t age = store->view_age_ns / VIEW_SHARE_PART;
    struct kv_view *v = store->oldest;

    while (v != NULL && (v->inside || v->closing || v->own || v->passed ||
                         v->pos < released ||
                         atomic_load(&v->ended) != KV_VIEW_ON ||
                         (age != 0 && kv_os_mono_ns() - v->taken_ns > age)))
        v = v->newer;
    return v;
}

/* Under the store lock. */
static void view_at(const struct kv_view *view, struct kv_at *at)
{
    struct kv_store *const store = view->store;

    kv_txn_clock(store);
    *at = (struct kv_at){.store = store,
                         .root = &view->root,
                         .now = store->clock_now,
                         .skew = store->clock_skew,
                         .position = view->pos};
}

static kvsql_rc view_pin(kvsql *db, bool own, uint64_t timeout_ms,
                         struct kv_view **view, struct kv_at *at,
                         struct kvsql_error *err)
{
    struct kv_store *const store = kv_db_store(db);

    for (;;) {
        if (timeout_ms == VIEW_PATIENT)
            kv_lock_take(&store->lock);
        else if (!kv_lock_take_within(&store->lock, timeout_ms))
            return kv_fail(err, KVSQL_BUSY,
                           "another transaction holds the store for longer "
                           "than %llu ms; try again",
                           (unsigned long long)timeout_ms);
        struct kv_view *v = own ? NULL : view_shared(store);
        if (v == NULL) {
            v = kv_view_take(store, false);
            if (v != NULL)
                v->own = own;
        }
        if (v == NULL) {
            kv_lock_drop(&store->lock);
            return kv_fail(err, KVSQL_NOMEM, "store: no memory for a view");
        }
        atomic_fetch_add(&v->refs, 1);
        if (at != NULL)
            view_at(v, at);
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

kvsql_rc kv_pin(kvsql *db, struct kv_view **view, struct kvsql_error *err)
{
    return view_pin(db, false, VIEW_PATIENT, view, NULL, err);
}

kvsql_rc kv_pin_at(kvsql *db, struct kv_view **view, struct kv_at *at,
                   struct kvsql_error *err)
{
    return view_pin(db, false, VIEW_PATIENT, view, at, err);
}

kvsql_rc kv_pin_within(kvsql *db, uint64_t timeout_ms, struct kv_view **view,
                       struct kvsql_error *err)
{
    return view_pin(db, false, timeout_ms, view, NULL, err);
}

kvsql_rc kv_pin_own(kvsql *db, struct kv_view **view, struct kvsql_error *err)
{
    return view_pin(db, true, VIEW_PATIENT, view, NULL, err);
}

kvsql_rc kv_view_again(struct kv_view *view, struct kvsql_error *err)
{
    struct kv_store *const store = view->store;

    kvsql_rc rc = kv_view_ended(view, err);
    if (rc != KVSQL_OK)
        return rc;
    kv_lock_take(&store->lock);
    if (view->passed)
        rc = kv_fail(err, KVSQL_INTERRUPT,
                     "the view is older than an index that was built since; "
                     "make another");
    else
        atomic_fetch_add(&view->refs, 1);
    kv_lock_drop(&store->lock);
    return rc;
}

/* Under the store lock. */
static void view_unpin(struct kv_store *store, struct kv_view *view)
{
    if (atomic_fetch_sub(&view->refs, 1) != 1)
        return;
    if (view->dropped)
        view_free(view);
    else
        atomic_fetch_add(&store->unpin_wanted, 1);
}

void kv_unpin(struct kv_view *view)
{
    if (view == NULL)
        return;
    struct kv_store *const store = view->store;
    const bool inside = view->inside; /* then the caller holds the lock */

    if (!inside)
        kv_lock_take(&store->lock);
    view_unpin(store, view);
    if (!inside)
        kv_lock_drop(&store->lock);
}

void kv_unpin_locked(struct kv_view *view)
{
    view_unpin(view->store, view);
}

bool kv_unpin_try(struct kv_view *view)
{
    struct kv_store *const store = view->store;

    KV_ASSERT(!view->inside);
    if (!kv_lock_take_within(&store->lock, 0))
        return false;
    view_unpin(store, view);
    kv_lock_drop(&store->lock);
    return true;
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
            .bytes = v->retained,
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
