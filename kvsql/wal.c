/* wal.c - the wal from outside: opening, closing, the sink that takes batches
 * from the store, requests to the log thread, the gate, figures.
 *
 * Always true:
 *   L4  nothing is appended while the state is not ok: a change asks first
 *       (writable, reserve), under the store lock, and the undo of a fault
 *       takes the store lock after the state was set. So after that undo the
 *       buffer holds nothing but released frames.
 *   L5  a MANIFEST of an open wal has no `clean` line once the first frame can
 *       be written.
 *
 * Thread: any, unless said. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/wal_private.h"

#define WAL_SEGMENT_SIZE (64u << 20)
#define WAL_BUFFER_MAX (64u << 20)

/* ---- the sink ---------------------------------------------------------------- */

static kvsql_rc wal_state_fail(const struct kv_wal *wal,
                               struct kvsql_error *err)
{
    if (wal->state == WAL_OK) {
        return KVSQL_OK;
    }
    return kv_fail(err, wal->state_rc, "%s", wal->state_text);
}

static void wal_sink_wait_room(void *arg)
{
    struct kv_wal *wal = arg;

    if (KV_LIKELY(atomic_load_explicit(&wal->easy, memory_order_acquire))) {
        return;
    }
    kv_lock_take(&wal->lock);
    while (wal->buf.bytes >= wal->buffer_max && wal->state == WAL_OK &&
           !wal->stop) {
        kv_cond_wait(&wal->room, &wal->lock); /* F8 */
    }
    kv_lock_drop(&wal->lock);
}

static kvsql_rc wal_sink_writable(void *arg, struct kvsql_error *err)
{
    struct kv_wal *wal = arg;

    if (KV_LIKELY(atomic_load_explicit(&wal->easy, memory_order_acquire))) {
        return KVSQL_OK; /* and asked again before the batch ends */
    }
    kv_lock_take(&wal->lock);
    const kvsql_rc rc = wal_state_fail(wal, err); /* L4 */
    kv_lock_drop(&wal->lock);
    return rc;
}

static kvsql_rc wal_sink_reserve(void *arg, size_t size,
                                 struct kvsql_error *err)
{
    struct kv_wal *wal = arg;

    if (size > KV_WAL_FRAME_MAX) { /* D4 */
        return kv_fail(err, KVSQL_TOOBIG,
                       "wal: a batch of %zu bytes is over the limit of %u: "
                       "commit in smaller parts",
                       size, KV_WAL_FRAME_MAX);
    }
    kv_lock_take(&wal->lock);
    kvsql_rc rc = wal_state_fail(wal, err);
    if (rc == KVSQL_OK && !kv_logbuf_reserve(&wal->buf, size)) {
        rc = kv_fail(err, KVSQL_NOMEM,
                     "wal: no memory for a batch of %zu bytes", size);
    }
    kv_lock_drop(&wal->lock);
    return rc;
}

static void wal_sink_cancel(void *arg)
{
    struct kv_wal *wal = arg;

    kv_lock_take(&wal->lock);
    kv_logbuf_cancel(&wal->buf);
    kv_lock_drop(&wal->lock);
}

static void wal_sink_append(void *arg, uint64_t position, const uint8_t *ops,
                            size_t size, uint64_t count)
{
    struct kv_wal *wal = arg;

    (void)count;
    kv_lock_take(&wal->lock);
    kv_logbuf_append(&wal->buf, position, ops, size);
    kv_wal_note(wal);
    const bool wake =
        (wal->idle && (atomic_load(&wal->turns) == 0 ||
                       wal->buf.bytes > wal->buffer_max / 4)) ||
        position == wal->gather_to;
    kv_lock_drop(&wal->lock);
    if (wake) {
        kv_cond_wake_one(&wal->work);
    }
}

/* ---- turns of a door ----------------------------------------------------------- */

void kv_wal_turn_begin(struct kv_wal *wal)
{
    if (wal != NULL) {
        atomic_fetch_add(&wal->turns, 1);
    }
}

void kv_wal_turn_end(struct kv_wal *wal)
{
    if (wal == NULL) {
        return;
    }
    atomic_fetch_sub(&wal->turns, 1);
    kv_lock_take(&wal->lock);
    if (kv_logbuf_pending(&wal->buf)) {
        kv_wal_lend(wal);
    }
    const bool wake = wal->idle && kv_logbuf_pending(&wal->buf);
    kv_lock_drop(&wal->lock);
    if (wake) {
        kv_cond_wake_one(&wal->work);
    }
}

/* Somebody waits for what is in the buffer: it must not wait for a turn's end,
 * too. */
static void wal_wake(struct kv_wal *wal)
{
    kv_lock_take(&wal->lock);
    const bool wake = wal->idle && kv_logbuf_pending(&wal->buf);
    kv_lock_drop(&wal->lock);
    if (wake) {
        kv_cond_wake_one(&wal->work);
    }
}

/* ---- opening and closing ------------------------------------------------------ */

static void wal_init(struct kv_wal *wal, const struct kv_wal_config *config,
                     struct kv_manifest *manifest, struct kv_store *store)
{
    const uint64_t position = kv_store_position(store);

    wal->os = config->os;
    wal->dir = config->dir;
    wal->manifest = manifest;
    wal->store = store;
    wal->policy = config->fsync;
    wal->segment_size =
        config->segment_size ? config->segment_size : WAL_SEGMENT_SIZE;
    wal->buffer_max = config->buffer_max ? config->buffer_max : WAL_BUFFER_MAX;
    wal->written = wal->durable = wal->released = wal->marked = position;
    wal->timed = position;
    wal->timed_ns = kv_os_mono_ns();
    wal->active.file = wal->next.file = -1;
    kv_lock_init(&wal->lock, KV_RANK_WAL);
    kv_cond_init(&wal->work);
    kv_cond_init(&wal->sync_work);
    kv_cond_init(&wal->room);
    kv_cond_init(&wal->changed);
    kv_logbuf_init(&wal->buf, position, wal->buffer_max);
    kv_gate_init(&wal->gate, position, kv_store_epoch(store));
}

static void wal_free(struct kv_wal *wal)
{
    if (wal->active.file >= 0) {
        wal->os->close(wal->os->arg, wal->active.file);
    }
    if (wal->next.file >= 0) {
        wal->os->close(wal->os->arg, wal->next.file);
    }
    kv_gate_fini(&wal->gate);
    kv_logbuf_fini(&wal->buf);
    kv_cond_fini(&wal->changed);
    kv_cond_fini(&wal->room);
    kv_cond_fini(&wal->sync_work);
    kv_cond_fini(&wal->work);
    kv_lock_fini(&wal->lock);
    kv_mem_free(KV_MEM_WAL, wal, sizeof(*wal));
}

/* Go on in the segment that recovery has read and cut: its file ends where
 * the next frame goes. What was read may never have reached the disk, so it is
 * synced before anybody sees it. */
static kvsql_rc wal_open_active(struct kv_wal *wal,
                                const struct kv_manifest_segment *segment,
                                struct kvsql_error *err)
{
    struct kv_seg_header header = {.number = segment->number};
    uint8_t bytes[KV_SEG_HEADER_SIZE];
    char name[KV_SEG_NAME_SIZE];
    bool newer;

    kv_seg_name(name, segment->number);
    int rc = wal->os->open(wal->os->arg, wal->dir, name, KV_OS_WRITE,
                           &wal->active.file);
    if (rc < 0) {
        wal->active.file = -1;
        return kv_fail(err, KVSQL_IO, "wal: cannot open %s for writing: %s",
                       name, kv_os_error(-rc));
    }
    const int64_t size = wal->os->size(wal->os->arg, wal->active.file);
    const int64_t got = wal->os->read_at(wal->os->arg, wal->active.file, bytes,
                                         sizeof(bytes), 0);
    rc = wal->os->sync(wal->os->arg, wal->active.file);
    if (size < 0 || got < 0 || rc < 0) {
        const int64_t number = size < 0 ? size : got < 0 ? got : rc;

        return kv_fail(err, KVSQL_IO, "wal: cannot go on in %s: %s", name,
                       kv_os_error((int)-number));
    }
    if (got != KV_SEG_HEADER_SIZE ||
        kv_seg_header_get(bytes, &header, &newer) != NULL) {
        return kv_fail(err, KVSQL_CORRUPT,
                       "wal: %s has changed since it was checked", name);
    }
    wal->active.number = segment->number;
    wal->active.first = segment->first;
    wal->active.seed = header.crc;
    wal->active.tail = wal->active.synced_tail = (uint64_t)size;
    return KVSQL_OK;
}

/* The directory now belongs to this wal: take `clean` out, tell what is
 * durable (L5). */
static kvsql_rc wal_open_manifest(struct kv_wal *wal, struct kvsql_error *err)
{
    struct kv_manifest *manifest = wal->manifest;

    kv_lock_take(&manifest->lock);
    manifest->has_clean = false;
    manifest->durable = wal->durable;
    const kvsql_rc rc = kv_manifest_write(manifest, err);
    kv_wal_count(wal);
    kv_lock_drop(&manifest->lock);
    return rc;
}

static kvsql_rc wal_open_files(struct kv_wal *wal, struct kvsql_error *err)
{
    struct kv_manifest *manifest = wal->manifest;
    const unsigned count = manifest->segment_count;
    const struct kv_manifest_segment *last =
        count > 0 ? &manifest->segments[count - 1] : NULL;
    kvsql_rc rc;

    if (last != NULL && !last->sealed) {
        rc = wal_open_active(wal, last, err);
        if (rc == KVSQL_OK) {
            rc = wal_open_manifest(wal, err);
        }
    } else {
        wal->active.number = last ? last->number : 0;
        kv_lock_take(&wal->lock);
        rc = kv_wal_switch(wal, err);
        kv_lock_drop(&wal->lock);
    }
    if (rc == KVSQL_OK) {
        kv_wal_reserve_make(wal);
        wal->reserve_wanted = wal->reserve_present;
    }
    return rc;
}

static void wal_stop_sync(struct kv_wal *wal)
{
    kv_lock_take(&wal->lock);
    wal->sync_stop = true;
    kv_cond_wake_all(&wal->sync_work);
    kv_lock_drop(&wal->lock);
    kv_thread_join(&wal->sync_thread);
}

kvsql_rc kv_wal_open(const struct kv_wal_config *config,
                     struct kv_manifest *manifest, struct kv_store *store,
                     struct kv_wal **out, struct kvsql_error *err)
{
    struct kv_wal *wal = kv_mem_zalloc(KV_MEM_WAL, sizeof(*wal));

    *out = NULL;
    if (wal == NULL) {
        return kv_fail(err, KVSQL_NOMEM, "wal: no memory to open it");
    }
    wal_init(wal, config, manifest, store);
    kvsql_rc rc = wal_open_files(wal, err);
    if (rc == KVSQL_OK) {
        rc = kv_thread_start(&wal->sync_thread, "kv-sync", kv_wal_sync_thread,
                             wal, err);
    }
    if (rc == KVSQL_OK) {
        rc = kv_thread_start(&wal->log_thread, "kv-log", kv_wal_log_thread,
                             wal, err);
        if (rc != KVSQL_OK) {
            wal_stop_sync(wal);
        }
    }
    if (rc != KVSQL_OK) {
        wal_free(wal);
        return rc;
    }
    const struct kv_sink sink = {.arg = wal,
                                 .wait_room = wal_sink_wait_room,
                                 .writable = wal_sink_writable,
                                 .reserve = wal_sink_reserve,
                                 .cancel = wal_sink_cancel,
                                 .append = wal_sink_append};
    kv_store_sink(store, &sink);
    *out = wal;
    return KVSQL_OK;
}

/* The last lines of an orderly stop: everything is durable and says so. */
static kvsql_rc wal_close_manifest(struct kv_wal *wal, struct kvsql_error *err)
{
    struct kv_manifest *manifest = wal->manifest;

    kv_lock_take(&manifest->lock);
    manifest->durable = manifest->clean = wal->durable;
    manifest->has_clean = true;
    const kvsql_rc rc = kv_manifest_write(manifest, err);
    if (rc != KVSQL_OK) {
        manifest->has_clean = false;
    }
    kv_lock_drop(&manifest->lock);
    return rc;
}

kvsql_rc kv_wal_close(struct kv_wal *wal, struct kvsql_error *err)
{
    static const struct kv_sink none = {.arg = NULL};

    kv_lock_take(&wal->lock);
    if (wal->state == WAL_OK && wal->buf.last > wal->timed) {
        (void)kv_wal_mark(wal); /* when it ended; no need of its own */
    }
    wal->stop = true;
    kv_wal_note(wal);
    kv_cond_wake_all(&wal->work);
    kv_cond_wake_all(&wal->room);
    kv_lock_drop(&wal->lock);
    kv_thread_join(&wal->log_thread);
    wal_stop_sync(wal);
    kv_gate_close(&wal->gate);
    kv_store_sink(wal->store, &none);

    kvsql_rc rc = wal_state_fail(wal, err);
    if (rc == KVSQL_OK && wal->durable == wal->buf.last) {
        rc = wal_close_manifest(wal, err);
    }
    kv_wal_reserve_drop(wal);
    wal_free(wal);
    return rc;
}

/* ---- requests ------------------------------------------------------------------ */

void kv_wal_set_fsync(struct kv_wal *wal, enum kvsql_fsync policy)
{
    kv_lock_take(&wal->lock);
    wal->policy = policy;
    kv_cond_wake_all(&wal->work);
    kv_lock_drop(&wal->lock);
}

kvsql_rc kv_wal_sync(struct kv_wal *wal, uint64_t position,
                     struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    kv_lock_take(&wal->lock);
    if (position > wal->buf.last) {
        position = wal->buf.last;
    }
    if (position > wal->sync_wanted) {
        wal->sync_wanted = position;
    }
    kv_cond_wake_all(&wal->work);
    while (rc == KVSQL_OK && wal->durable < position) {
        rc = wal_state_fail(wal, err);
        if (rc == KVSQL_OK && wal->stopped) {
            rc = kv_fail(err, KVSQL_CLOSED, "wal: it is being closed");
        }
        if (rc == KVSQL_OK) {
            kv_cond_wait(&wal->changed, &wal->lock);
        }
    }
    kv_lock_drop(&wal->lock);
    return rc;
}

kvsql_rc kv_wal_rotate(struct kv_wal *wal, struct kvsql_error *err)
{
    kvsql_rc rc;

    kv_lock_take(&wal->lock);
    const uint64_t ticket = ++wal->rotate_asked;
    kv_cond_wake_all(&wal->work);
    for (;;) {
        if (wal->rotate_done >= ticket) {
            rc = wal->rotate_rc == KVSQL_OK
                     ? KVSQL_OK
                     : kv_fail(err, wal->rotate_rc, "%s", wal->rotate_text);
            break;
        }
        rc = wal_state_fail(wal, err);
        if (rc == KVSQL_OK && wal->stopped) {
            rc = kv_fail(err, KVSQL_CLOSED, "wal: it is being closed");
        }
        if (rc != KVSQL_OK) {
            break;
        }
        kv_cond_wait(&wal->changed, &wal->lock);
    }
    kv_lock_drop(&wal->lock);
    return rc;
}

/* Take the first `count` segments out of the MANIFEST; their numbers go to
 * gone[]. On failure the list is as before. */
static kvsql_rc wal_trim_manifest(struct kv_manifest *manifest, uint64_t *gone,
                                  unsigned count, struct kvsql_error *err)
{
    struct kv_manifest_segment *list = manifest->segments;

    manifest->segments = list + count;
    manifest->segment_count -= count;
    const kvsql_rc rc = kv_manifest_write(manifest, err);
    manifest->segments = list;
    manifest->segment_count += count;
    if (rc != KVSQL_OK) {
        return rc;
    }
    for (unsigned i = 0; i < count; i++) {
        gone[i] = list[i].number;
    }
    manifest->segment_count -= count;
    memmove(list, list + count, manifest->segment_count * sizeof(*list));
    return KVSQL_OK;
}

kvsql_rc kv_wal_trim(struct kv_wal *wal, uint64_t position,
                     struct kvsql_error *err)
{
    struct kv_manifest *manifest = wal->manifest;
    uint64_t *gone = NULL;
    kvsql_rc rc = KVSQL_OK;
    unsigned count = 0;

    kv_lock_take(&manifest->lock);
    while (count < manifest->segment_count && manifest->segments[count].sealed &&
           manifest->segments[count].last <= position) {
        count++;
    }
    if (count > 0) {
        gone = kv_mem_alloc(KV_MEM_MISC, count * sizeof(*gone));
        rc = gone == NULL
                 ? kv_fail(err, KVSQL_NOMEM, "wal: no memory to trim")
                 : wal_trim_manifest(manifest, gone, count, err);
        kv_wal_count(wal);
    }
    kv_lock_drop(&manifest->lock);
    for (unsigned i = 0; rc == KVSQL_OK && i < count; i++) {
        char name[KV_SEG_NAME_SIZE];

        kv_seg_name(name, gone[i]);
        const int removed = wal->os->remove(wal->os->arg, wal->dir, name); /* W9 */
        if (removed < 0) {
            kv_diag(KV_WARN, "wal.trim", "file=%s why=\"%s\"", name,
                    kv_os_error(-removed));
        }
    }
    kv_mem_free(KV_MEM_MISC, gone, count * sizeof(*gone));
    return rc;
}

/* ---- the gate, figures ---------------------------------------------------------- */

/* In words, what became of a batch that was undone. */
static kvsql_rc wal_gate_fail(kvsql_rc rc, struct kvsql_error *err)
{
    if (rc == KVSQL_CLOSED) {
        return kv_fail(err, rc, "wal: closed before the change was durable");
    }
    return kv_fail(err, rc,
                   "wal: the change could not be written%s and was undone; "
                   "after a crash right now it may be there",
                   rc == KVSQL_FULL ? " (disk full)" : "");
}

bool kv_wal_gate_open(struct kv_wal *wal, struct kv_store *store,
                      struct kv_ticket ticket)
{
    if (wal == NULL) {
        return ticket.position <= kv_store_released(store);
    }
    return kv_gate_check(&wal->gate, ticket) == KVSQL_OK;
}

kvsql_rc kv_wal_gate_state(struct kv_wal *wal, struct kv_ticket ticket,
                           struct kvsql_error *err)
{
    const kvsql_rc rc =
        wal == NULL ? KVSQL_OK : kv_gate_check(&wal->gate, ticket);

    return rc == KVSQL_OK || rc == KVSQL_BUSY ? rc : wal_gate_fail(rc, err);
}

kvsql_rc kv_wal_gate_wait(struct kv_wal *wal, struct kv_store *store,
                          struct kv_ticket ticket, struct kvsql_error *err)
{
    if (wal == NULL) {
        KV_ASSERT(ticket.position <= kv_store_released(store));
        return KVSQL_OK;
    }
    wal_wake(wal);
    const kvsql_rc rc = kv_gate_await(&wal->gate, ticket);
    return rc == KVSQL_OK ? rc : wal_gate_fail(rc, err);
}

bool kv_wal_gate_watch(struct kv_wal *wal, struct kv_store *store,
                       struct kv_waiter *waiter)
{
    if (wal == NULL) {
        KV_ASSERT(waiter->ticket.position <= kv_store_released(store));
        return true;
    }
    const kvsql_rc rc = kv_gate_enter(&wal->gate, waiter);
    if (rc == KVSQL_BUSY) {
        wal_wake(wal);
    } else if (rc != KVSQL_OK) {
        kv_lock_take(&wal->lock); /* undone already: the log thread says so */
        wal->tell = true;
        kv_cond_wake_all(&wal->work);
        kv_lock_drop(&wal->lock);
    }
    return rc == KVSQL_OK;
}

void kv_wal_info(struct kv_wal *wal, struct kv_info *info)
{
    static const char *const states[] = {"ok", "full", "failed"};
    static const char *const policies[] = {"everysec", "always", "no"};

    kv_lock_take(&wal->lock);
    info->durable = wal->durable;
    info->wal_segments = wal->segments;
    info->wal_size = wal->sealed_size + wal->active.tail;
    info->wal_bytes = wal->bytes;
    info->wal_syncs = wal->syncs;
    info->wal_writes = wal->writes;
    info->wal_state = states[wal->state];
    info->wal_policy = policies[wal->policy];
    info->memory_wal = wal->buf.bytes;
    kv_lock_drop(&wal->lock);
}
