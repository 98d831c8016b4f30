/* wal_thread.c - the log thread: what it does when; faults and their end.
 *
 * The thread repeats one step: look at what there is to do, do the most urgent
 * thing, look again; when there is nothing it sleeps until a writer, a request
 * or the next deadline wakes it. Group commit is what happens by itself: while
 * one group is written and synced, the next one gathers in the buffer. Under
 * always that next one waits a little for the writers of the first.
 *
 *   always     write, fdatasync here, then release: D2
 *   everysec   write, release; the sync thread syncs what is 0.65 s old; when
 *              the oldest unsynced frame is 1.0 s old, releasing stops until
 *              the sync has returned: D5
 *   no         write, release; synced when half the buffer waits for it, or
 *              when it is as old as the kernel would let it get
 *
 * Faults (F1-F6). What is not released is undone, the writers get the error,
 * and the state says why writes are refused, until a try to get out succeeds:
 * for a full disk a mark that can be written and synced, else a fresh segment.
 * Frames that were released and are not yet durable stay in memory and are
 * written again there.
 *
 * Thread: the log thread, and the sync thread in its own function. */
#include "kvsql/wal_private.h"

#include <inttypes.h>
#include <string.h>

#include "kvsql/base/diag.h"

#define WAL_MS 1000000ull
#define WAL_SYNC_EVERYSEC_NS (650 * WAL_MS)
#define WAL_HOLD_NS (1000 * WAL_MS)
#define WAL_SYNC_NO_NS (30000 * WAL_MS)
#define WAL_MARK_NS (100 * WAL_MS)
#define WAL_GATHER_MAX_NS 4000000u /* of a sync that waits for its group */
#define WAL_GATHER_REST 4
#define WAL_RETRY_FULL_MS 500
#define WAL_RETRY_MAX_MS 8000
#define WAL_ROTATE_AGAIN_NS (1000 * WAL_MS)

/* ---- releasing -------------------------------------------------------------- */

/* The one place that says up to where replies may go (D8). */
static uint64_t wal_releasable(const struct kv_wal *wal)
{
    uint64_t position = wal->durable;

    if (wal->policy != KVSQL_FSYNC_ALWAYS) {
        const bool hold = wal->policy == KVSQL_FSYNC_EVERYSEC &&
                          wal->oldest_ns != 0 &&
                          kv_os_mono_ns() - wal->oldest_ns >= WAL_HOLD_NS;

        position = hold ? wal->released : wal->written; /* D5 */
    }
    return position > wal->released ? position : wal->released;
}

static void wal_release(struct kv_wal *wal)
{
    const uint64_t position = wal_releasable(wal);

    if (position == wal->released) {
        return;
    }
    wal->released = position;
    kv_lock_drop(&wal->lock);
    kv_store_release_to(wal->store, position);
    kv_gate_advance(&wal->gate, position);
    kv_lock_take(&wal->lock);
}

/* ---- faults ----------------------------------------------------------------- */

static const char *const wal_state_event[] = {
    [WAL_OK] = "wal.ok", [WAL_FULL] = "wal.full", [WAL_FAILED] = "wal.failed"};

/* Note the state and its cause; say it when it changes (F5). */
static void wal_state_set(struct kv_wal *wal, kvsql_rc rc, const char *text)
{
    const enum wal_state state = rc == KVSQL_OK     ? WAL_OK
                                 : rc == KVSQL_FULL ? WAL_FULL
                                                    : WAL_FAILED;
    const bool changed = state != wal->state;

    wal->state = state;
    kv_wal_note(wal);
    wal->state_rc = rc;
    memset(wal->state_text, 0, sizeof(wal->state_text));
    memcpy(wal->state_text, text, strnlen(text, sizeof(wal->state_text) - 1));
    if (changed) {
        kv_diag(state == WAL_OK ? KV_INFO : KV_ERROR_LEVEL,
                wal_state_event[state], "position=%" PRIu64 " why=\"%s\"",
                wal->released, text);
    }
}

/* Writing has failed: refuse writes, take back what is not released (F2), tell
 * those who wait for it. Only out of the state ok can there be such. */
static void wal_degrade(struct kv_wal *wal, kvsql_rc rc, const char *text)
{
    const bool first = wal->state == WAL_OK;

    wal_state_set(wal, rc, text);
    if (!first) {
        return;
    }
    kv_lock_drop(&wal->lock);
    kv_store_fail(wal->store);
    const uint64_t epoch = kv_store_epoch(wal->store);
    kv_lock_take(&wal->lock);
    /* Nobody can have appended since: a change asks for the state first. */
    if (wal->active.file >= 0) {
        wal->active.tail =
            kv_logbuf_offset(&wal->buf, wal->released, wal->active.tail);
    }
    kv_logbuf_discard(&wal->buf, wal->released);
    wal->timed = wal->timed < wal->released ? wal->timed : wal->released;
    kv_wal_note(wal);
    if (wal->written > wal->released) {
        wal->written = wal->released;
    }
    kv_lock_drop(&wal->lock);
    kv_gate_end_epoch(&wal->gate, epoch, rc);
    kv_lock_take(&wal->lock);
    kv_cond_wake_all(&wal->room);
    kv_cond_wake_all(&wal->changed);
}

static void wal_retry_in(struct kv_wal *wal, uint64_t ms)
{
    wal->retry_ns = kv_os_mono_ns() + ms * WAL_MS;
}

static void wal_append_failed(struct kv_wal *wal, int number)
{
    const kvsql_rc rc = kv_seg_rc(number);
    struct kvsql_error err;

    (void)kv_fail(&err, rc, "wal: cannot write segment %" PRIu64 ": %s",
                  wal->active.number, kv_os_error(number));
    wal_degrade(wal, rc, err.text);
    wal->backoff_ms = WAL_RETRY_FULL_MS;
    if (rc == KVSQL_FULL) {
        kv_lock_drop(&wal->lock);
        kv_wal_reserve_drop(wal);
        kv_lock_take(&wal->lock);
        wal->reseat = kv_wal_cut(wal) < 0;
        wal_retry_in(wal, WAL_RETRY_FULL_MS);
    } else {
        wal->reseat = true; /* F3 */
        wal_retry_in(wal, 0);
    }
}

/* F4. Under `always` nothing that this sync covers was said to be done, so it
 * is undone; else it is written again from memory, and if that works nobody
 * has lost anything. */
static void wal_sync_failed(struct kv_wal *wal, int number)
{
    struct kvsql_error err, again;

    KV_PROBE("wal: a sync failed");
    wal->active.poisoned = true;
    wal->reseat = true;
    (void)kv_fail(&err, KVSQL_IO, "wal: cannot sync segment %" PRIu64 ": %s",
                  wal->active.number, kv_os_error(number));
    kv_diag(KV_WARN, "wal.sync", "durable=%" PRIu64 " why=\"%s\"",
            wal->durable, err.text);
    if (wal->state == WAL_OK && wal->policy != KVSQL_FSYNC_ALWAYS) {
        if (kv_wal_switch(wal, &again) == KVSQL_OK) {
            wal_release(wal);
            return;
        }
        err = again;
    }
    wal_degrade(wal, err.rc == KVSQL_FULL ? KVSQL_FULL : KVSQL_IO, err.text);
    wal->backoff_ms = WAL_RETRY_FULL_MS;
    wal_retry_in(wal, wal->policy == KVSQL_FSYNC_ALWAYS ? 0
                                                        : WAL_RETRY_FULL_MS);
}

/* ---- getting out of a fault -------------------------------------------------- */

/* The same segment again: what is pending, at least a mark, and a sync (F6). */
static kvsql_rc wal_again(struct kv_wal *wal, struct kvsql_error *err)
{
    if (!kv_logbuf_pending(&wal->buf)) {
        (void)kv_wal_mark(wal); /* no memory: the sync tells too */
    }
    int rc = kv_wal_write_pending(wal);
    if (rc < 0) {
        wal->reseat =
            kv_seg_rc(-rc) != KVSQL_FULL || kv_wal_cut(wal) < 0;
    } else {
        rc = kv_wal_sync_now(wal);
        wal->reseat = rc < 0;
    }
    if (rc < 0) {
        return kv_fail(err, kv_seg_rc(-rc),
                       "wal: cannot write segment %" PRIu64 ": %s",
                       wal->active.number, kv_os_error(-rc));
    }
    return KVSQL_OK;
}

/* F7: the state `full` is left only with the reserve in place again. */
static bool wal_reserve_back(struct kv_wal *wal)
{
    if (wal->state == WAL_FULL && wal->reserve_wanted) {
        kv_lock_drop(&wal->lock);
        kv_wal_reserve_make(wal);
        kv_lock_take(&wal->lock);
        return wal->reserve_present;
    }
    return true;
}

static void wal_retry(struct kv_wal *wal)
{
    struct kvsql_error err = {.rc = KVSQL_FULL};
    kvsql_rc rc = KVSQL_FULL;

    if (!wal_reserve_back(wal)) {
        wal_retry_in(wal, WAL_RETRY_FULL_MS);
        return;
    }
    rc = wal->reseat || wal->next.file >= 0 ? kv_wal_switch(wal, &err)
                                            : wal_again(wal, &err);
    if (rc == KVSQL_OK) {
        wal_state_set(wal, KVSQL_OK, "writing works again");
        wal_release(wal);
        return;
    }
    if (rc == KVSQL_FULL) {
        kv_lock_drop(&wal->lock);
        kv_wal_reserve_drop(wal);
        kv_lock_take(&wal->lock);
        wal->backoff_ms = WAL_RETRY_FULL_MS;
    }
    wal_degrade(wal, rc == KVSQL_FULL ? KVSQL_FULL : KVSQL_IO, err.text);
    wal_retry_in(wal, wal->backoff_ms);
    if (wal->backoff_ms < WAL_RETRY_MAX_MS && rc != KVSQL_FULL) {
        wal->backoff_ms *= 2;
    }
}

/* ---- the ordinary steps ------------------------------------------------------ */

/* A group is durable that took `took_ns` to sync and has `count` batches. Their
 * writers come again at once, as a rule, and would miss the sync of those who
 * wrote meanwhile: two halves of the writers, by turns, with a sync each. So
 * that sync waits a little until they are there, too, for no longer than half
 * of what a sync takes. A writer that is alone waits for nobody. */
static void wal_gather_begin(struct kv_wal *wal, uint64_t count,
                             uint64_t took_ns)
{
    const uint64_t wait =
        took_ns / 2 < WAL_GATHER_MAX_NS ? took_ns / 2 : WAL_GATHER_MAX_NS;

    wal->gather_to = 0;
    if (wal->gather_rest > 0) {
        wal->gather_rest--;
        return;
    }
    wal->gather_from = wal->buf.last;
    if (count + (wal->buf.last - wal->written) > 1) {
        wal->gather_to = wal->buf.last + count;
        wal->gather_until = kv_os_mono_ns() + wait;
    }
}

/* True when it has waited for more of the group. */
static bool wal_gather(struct kv_wal *wal)
{
    const uint64_t now = kv_os_mono_ns();

    if (wal->gather_to == 0) {
        return false;
    }
    const bool whole = wal->buf.last >= wal->gather_to;
    if (!whole && now < wal->gather_until && !wal->stop &&
        wal->policy == KVSQL_FSYNC_ALWAYS &&
        wal->sync_wanted <= wal->durable &&
        wal->buf.bytes <= wal->buffer_max / 4) {
        (void)kv_cond_wait_briefly(&wal->work, &wal->lock,
                                   wal->gather_until - now);
        return true;
    }
    const uint64_t came = wal->buf.last - wal->gather_from;
    if (!whole && came < (wal->gather_to - wal->gather_from) / 2) {
        wal->gather_rest = WAL_GATHER_REST; /* they take their time */
    }
    wal->gather_to = 0;
    return false;
}

static void wal_group(struct kv_wal *wal)
{
    const uint64_t durable = wal->durable;
    uint64_t took_ns = 0;
    int rc = kv_wal_write_pending(wal);

    if (rc < 0) {
        wal_append_failed(wal, -rc);
        return;
    }
    if (wal->policy == KVSQL_FSYNC_ALWAYS && wal->written > wal->durable &&
        !wal->sync_asked) {
        took_ns = kv_os_mono_ns();
        rc = kv_wal_sync_now(wal);
        took_ns = kv_os_mono_ns() - took_ns;
        if (rc < 0) {
            wal_sync_failed(wal, -rc);
            return;
        }
        wal_gather_begin(wal, wal->durable - durable, took_ns);
    }
    wal_release(wal);
}

/* When the next sync is due: 0 = never, 1 = now. */
static uint64_t wal_sync_at(const struct kv_wal *wal)
{
    if (wal->sync_asked || wal->written == wal->durable || wal->reseat ||
        wal->next.file >= 0) {
        return 0;
    }
    if (wal->policy == KVSQL_FSYNC_ALWAYS || wal->stop ||
        wal->sync_wanted > wal->durable ||
        wal->buf.bytes > wal->buffer_max / 2) {
        return 1;
    }
    const uint64_t age = wal->policy == KVSQL_FSYNC_EVERYSEC
                             ? WAL_SYNC_EVERYSEC_NS
                             : WAL_SYNC_NO_NS;
    return wal->oldest_ns + age;
}

static void wal_sync_begin(struct kv_wal *wal)
{
    if (wal->policy == KVSQL_FSYNC_ALWAYS || wal->stop) {
        const int rc = kv_wal_sync_now(wal);

        if (rc < 0) {
            wal_sync_failed(wal, -rc);
        } else {
            wal_release(wal);
        }
        return;
    }
    wal->sync_asked = true;
    wal->sync_file = wal->active.file;
    wal->sync_position = wal->written;
    wal->sync_tail = wal->active.tail;
    kv_cond_wake_one(&wal->sync_work);
}

static void wal_sync_end(struct kv_wal *wal)
{
    wal->sync_done = wal->sync_asked = false;
    if (wal->sync_result < 0) {
        wal_sync_failed(wal, -wal->sync_result);
        return;
    }
    /* Some of what it covers may have been taken back meanwhile. */
    const uint64_t position = wal->sync_position < wal->written
                                  ? wal->sync_position
                                  : wal->written;
    const uint64_t tail = wal->sync_tail < wal->active.tail ? wal->sync_tail
                                                            : wal->active.tail;
    kv_wal_synced(wal, position, tail);
    if (wal->state == WAL_OK) {
        wal_release(wal);
    }
}

/* When a rotation is due: 0 = never, 1 = now. */
static uint64_t wal_rotate_at(const struct kv_wal *wal)
{
    const bool asked = wal->rotate_asked != wal->rotate_done;
    const bool large = wal->active.tail >= wal->segment_size &&
                       wal->written >= wal->active.first &&
                       kv_logbuf_pending(&wal->buf);

    if (wal->sync_asked || (!asked && !large)) {
        return 0;
    }
    return asked || wal->rotate_ns == 0 ? 1 : wal->rotate_ns;
}

static void wal_rotate(struct kv_wal *wal)
{
    const uint64_t asked = wal->rotate_asked;
    const bool empty = wal->written < wal->active.first &&
                       !kv_logbuf_pending(&wal->buf);
    struct kvsql_error err = {.rc = KVSQL_OK};
    const kvsql_rc rc = empty ? KVSQL_OK : kv_wal_switch(wal, &err);

    wal->rotate_done = asked;
    wal->rotate_rc = rc;
    memcpy(wal->rotate_text, err.text, sizeof(wal->rotate_text));
    kv_cond_wake_all(&wal->changed);
    wal->rotate_ns = 0;
    if (rc == KVSQL_OK) {
        wal_release(wal);
        return;
    }
    wal->rotate_ns = kv_os_mono_ns() + WAL_ROTATE_AGAIN_NS;
    if (wal->active.poisoned || wal->next.file >= 0 ||
        wal->written < wal->released) {
        wal->reseat = wal->reseat || wal->active.poisoned;
        wal_degrade(wal, rc == KVSQL_FULL ? KVSQL_FULL : KVSQL_IO, err.text);
        wal->backoff_ms = WAL_RETRY_FULL_MS;
        wal_retry_in(wal, wal->backoff_ms);
        return;
    }
    kv_diag(KV_WARN, "wal.rotate",
            "segment=%" PRIu64 " why=\"%s\" hint=\"%s\"", wal->active.number,
            err.text, "the old segment is used on; it is tried again");
}

/* When a mark is due (W5): 0 = never. */
static uint64_t wal_mark_at(const struct kv_wal *wal)
{
    return wal->durable > wal->marked && wal->durable == wal->buf.last &&
                   wal->synced_ns != 0
               ? wal->synced_ns + WAL_MARK_NS
               : 0;
}

/* ---- the loop ----------------------------------------------------------------- */

static bool wal_due(uint64_t at, uint64_t now)
{
    return at != 0 && at <= now;
}

/* Do the most urgent thing; false when there is none. */
static bool wal_step(struct kv_wal *wal)
{
    const uint64_t now = kv_os_mono_ns();

    if (wal->tell) {
        wal->tell = false;
        kv_lock_drop(&wal->lock);
        kv_gate_tell(&wal->gate);
        kv_lock_take(&wal->lock);
    } else if (wal->sync_done) {
        wal_sync_end(wal);
    } else if (wal_due(wal_sync_at(wal), now)) {
        wal_sync_begin(wal);
    } else if (wal->state != WAL_OK) {
        if (wal->sync_asked || now < wal->retry_ns) {
            return false;
        }
        wal_retry(wal);
    } else if (wal_due(wal_rotate_at(wal), now)) {
        wal_rotate(wal);
    } else if (kv_logbuf_pending(&wal->buf)) {
        if (!wal_gather(wal)) {
            wal_group(wal);
        }
    } else if (wal_due(wal_mark_at(wal), now) && !wal->stop) {
        if (!kv_wal_mark(wal)) {
            wal->synced_ns = now; /* a batch is on its way; later */
        }
    } else {
        return false;
    }
    return true;
}

static uint64_t wal_earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* When there will be something to do by itself: 0 = never. */
static uint64_t wal_next_at(const struct kv_wal *wal)
{
    uint64_t at = wal->state != WAL_OK && !wal->sync_asked ? wal->retry_ns : 0;

    at = wal_earlier(at, wal_sync_at(wal));
    if (wal->state == WAL_OK) {
        at = wal_earlier(at, wal_rotate_at(wal));
        at = wal_earlier(at, wal_mark_at(wal));
    }
    return at;
}

static void wal_sleep(struct kv_wal *wal)
{
    const uint64_t now = kv_os_mono_ns();

    wal->sleep_ns = wal_next_at(wal);
    wal->idle = true;
    if (wal->sleep_ns == 0) {
        kv_cond_wait(&wal->work, &wal->lock);
    } else if (wal->sleep_ns > now) {
        (void)kv_cond_wait_within(&wal->work, &wal->lock,
                                  (wal->sleep_ns - now + WAL_MS - 1) / WAL_MS);
    }
    while (wal->lent) {
        wal->roused = true;
        kv_cond_wait(&wal->work, &wal->lock);
    }
    wal->idle = false;
}

/* The log thread sleeps, and the only thing to do is what a turn has written:
 * doing it here saves two switches of threads. Not while a sync runs beside,
 * which some file systems let writes wait for. What comes next by itself is
 * the log thread's again. */
void kv_wal_lend(struct kv_wal *wal)
{
    if (!wal->idle || wal->lent || wal->state != WAL_OK ||
        wal->policy == KVSQL_FSYNC_ALWAYS || wal->sync_asked || wal->tell ||
        wal->stop || wal->reseat ||
        wal_due(wal_rotate_at(wal), kv_os_mono_ns())) {
        return;
    }
    wal->lent = true;
    wal_group(wal);
    wal->lent = false;
    const uint64_t at = wal_next_at(wal);
    if (wal->roused || wal->state != WAL_OK ||
        (at != 0 && (wal->sleep_ns == 0 || at < wal->sleep_ns))) {
        wal->roused = false;
        kv_cond_wake_all(&wal->work);
    }
}

void *kv_wal_log_thread(void *arg)
{
    struct kv_wal *wal = arg;

    kv_lock_take(&wal->lock);
    for (;;) {
        if (wal_step(wal)) {
            continue;
        }
        if (wal->stop && !wal->sync_asked) {
            break;
        }
        wal_sleep(wal);
    }
    wal->stopped = true;
    kv_cond_wake_all(&wal->changed);
    kv_lock_drop(&wal->lock);
    return NULL;
}

void *kv_wal_sync_thread(void *arg)
{
    struct kv_wal *wal = arg;

    kv_lock_take(&wal->lock);
    while (!wal->sync_stop) {
        if (!wal->sync_asked || wal->sync_done) {
            kv_cond_wait(&wal->sync_work, &wal->lock);
            continue;
        }
        const int file = wal->sync_file;
        kv_lock_drop(&wal->lock);
        const int rc = wal->os->data_sync(wal->os->arg, file);
        kv_lock_take(&wal->lock);
        wal->sync_result = rc;
        wal->sync_done = true;
        kv_cond_wake_one(&wal->work);
    }
    kv_lock_drop(&wal->lock);
    return NULL;
}
